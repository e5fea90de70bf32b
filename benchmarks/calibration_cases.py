"""The cases of calibrations that are read backwards."""

from __future__ import annotations

import numpy as np

from bayes_sklearn import BayesianErrorsInVariablesRegressor, inverse_predict

from .measure import Result, seconds

__all__ = ["inverse"]


def inverse(standards: int, readings: int, repeats: int) -> Result:
    """Time the distributions of the feature behind readings, and their intervals."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 10.0, standards)[:, None]
    model = BayesianErrorsInVariablesRegressor().fit(
        x, 1.0 + 2.0 * x[:, 0] + 0.3 * rng.normal(size=standards)
    )
    y = 1.0 + 2.0 * rng.uniform(1.0, 9.0, readings)
    return seconds(lambda: inverse_predict(model, y).interval(), repeats)
