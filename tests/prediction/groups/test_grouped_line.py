"""Rows of groups: new groups are wide, and rows of one go together."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from people import fitted_people, people


def test_new_groups_are_wider_and_rows_of_one_go_together() -> None:
    model, frame = fitted_people(), people()[0]
    known, new = frame.head(4), frame.head(4).assign(person="nobody")
    wide = (
        model.predict(new, return_std=True, y_err=12.0)[1]
        / model.predict(known, return_std=True, y_err=12.0)[1]
    )
    assert (wide > 1.2).all()
    distribution = model.predict_distribution(new, y_err=12.0)
    covariance = distribution.covariance()
    assert_allclose(np.diag(covariance), distribution.var())
    drawn = np.cov(model.sample_y(new, 20_000, y_err=12.0))
    assert_allclose(drawn, covariance, atol=0.05 * covariance.max())  # as in test_labels
