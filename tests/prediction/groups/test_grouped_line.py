"""Rows of groups: new groups are wide, and rows of one go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import BayesianErrorsInVariablesRegressor


def table() -> tuple[pd.DataFrame, Any, Any]:
    rng = np.random.default_rng(2)
    person, lab = np.repeat(np.arange(12), 6), rng.integers(0, 4, 72)
    frame = pd.DataFrame({"days": np.tile(np.arange(6.0), 12), "person": [f"p{i:02}" for i in person]})
    frame["lab"] = lab
    slope, own = 10.0 + 4.0 * rng.normal(size=12), 25.0 * rng.normal(size=12)
    y = 250.0 + slope[person] * frame["days"] + own[person] + 8.0 * rng.normal(size=4)[lab]
    error = np.full(72, 12.0)
    return frame, y + error * rng.normal(size=72), error


@pytest.fixture(scope="module")
def fitted() -> tuple[Any, ...]:
    frame, y, error = table()
    model = BayesianErrorsInVariablesRegressor(
        group_column=["person", "lab"], group_slopes={"person": "days"}, noise="known", random_state=0
    )
    return model.fit(frame, y, y_err=error), frame, y, error


def test_new_groups_are_wider_and_rows_of_one_go_together(fitted: tuple[Any, ...]) -> None:
    model, frame, _, _ = fitted
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
