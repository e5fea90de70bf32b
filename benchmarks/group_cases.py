"""The cases of rows in groups."""

from __future__ import annotations

import numpy as np

from bayes_sklearn import BayesianErrorsInVariablesRegressor

from .measure import Result, seconds

__all__ = ["fit"]


def fit(rows: int, columns: int, groups: int, slopes: int, repeats: int) -> Result:
    """Time a fit with an intercept of each group, and slopes of some features."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, groups, rows)
    X = np.column_stack([rng.normal(size=(rows, columns)), group])
    y = X[:, :-1] @ rng.normal(size=columns) + rng.normal(size=groups)[group] + rng.normal(size=rows)
    for j in range(slopes):
        y += 0.3 * rng.normal(size=groups)[group] * X[:, j]
    model = BayesianErrorsInVariablesRegressor(group_column=columns, group_slopes=list(range(slopes)) or None)
    return seconds(lambda: model.fit(X, y), repeats)
