"""Persons on several days, measured in several laboratories, and a fit to them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from bayes_sklearn import BayesianErrorsInVariablesRegressor

__all__ = ["fitted_people", "people"]


def people() -> tuple[pd.DataFrame, Any, Any]:
    """Return features and labels, the target and its errors."""
    rng = np.random.default_rng(2)
    person, lab = np.repeat(np.arange(12), 6), rng.integers(0, 4, 72)
    frame = pd.DataFrame({"days": np.tile(np.arange(6.0), 12), "person": [f"p{i:02}" for i in person]})
    frame["lab"] = lab
    slope, own = 10.0 + 4.0 * rng.normal(size=12), 25.0 * rng.normal(size=12)
    y = 250.0 + slope[person] * frame["days"] + own[person] + 8.0 * rng.normal(size=4)[lab]
    error = np.full(72, 12.0)
    return frame, y + error * rng.normal(size=72), error


@cache
def fitted_people() -> Any:
    """Return a fit of persons' intercepts and slopes, and of laboratories' intercepts."""
    frame, y, error = people()
    model = BayesianErrorsInVariablesRegressor(
        group_column=["person", "lab"], group_slopes={"person": "days"}, noise="known", random_state=0
    )
    return model.fit(frame, y, y_err=error)
