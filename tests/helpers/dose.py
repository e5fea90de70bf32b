"""A table with errors of one feature, "dose", and the fits of it that several tests compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose

from data import noisy_features
from plain import Regressor

X, Y, X_ERR, TRUE_X, Y_ERR = noisy_features()
N, P = X.shape
ONE = np.array([0.5, 0.0])
NAMES = ["dose", "age"]
FRAME = pd.DataFrame(X, columns=NAMES)
# What rounding may become: the search for the mode and four rounds of draws pass it on.
ROUNDING = 1e-6


def fitted(**data: Any) -> Regressor:
    return Regressor(random_state=0).fit(FRAME, Y, **data)


def found(model: Regressor) -> np.ndarray:
    """Everything a fit found, as one array."""
    return np.concatenate(
        [model.summary().to_numpy().ravel(), model.coef_, model.coef_std_, model.reliability_]
    )


def assert_same(one: Regressor, other: Regressor, tolerance: float = ROUNDING) -> None:
    assert_allclose(found(one), found(other), rtol=tolerance, atol=tolerance)


def monte_carlo_errors(one: Regressor, other: Regressor) -> np.ndarray:
    """Return how far apart two fits' coefficients are, in posterior standard deviations."""
    return np.abs(one.coef_ - other.coef_) / other.coef_std_
