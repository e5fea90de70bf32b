"""Tables of groups name what they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

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


def test_tables_name_what_they_are_of(fitted: tuple[Any, ...]) -> None:
    model = fitted[0]
    assert model.group_std_.index.tolist() == ["person", "person, days", "lab"]
    effects = model.group_effects_
    assert effects.index.names == ["grouping", "group", "term"]
    assert len(effects) == 12 + 12 + 4
    assert effects.columns.tolist() == ["mean", "sd", "lower_95%", "upper_95%"]
    assert "group_std[person, days]" in model.summary().index
    with pytest.raises(AttributeError, match="without group_column"):
        _ = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.5]], [0.0, 1.0, 2.0]).group_std_
