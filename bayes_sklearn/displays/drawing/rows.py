"""Rows as displays see them: how often each counts, which are drawn, and what they say in groups."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...estimators.regressor import BayesianErrorsInVariablesRegressor
from ...measurements.checks import check_seed, check_vector
from ...prediction.distribution import PredictiveDistribution
from ...prediction.of_estimators import final_regressor
from ...validation.stated_errors import error_bars

__all__ = [
    "MOST_DRAWN",
    "RowWeights",
    "bounds_of",
    "complete_rows",
    "drawn_rows",
    "in_columns",
    "measured_alone",
    "stated_bars",
    "tenths",
]

Array = NDArray[np.float64]

MOST_DRAWN = 300
"""More rows than these cover each other."""


class RowWeights(NamedTuple):
    """How often each row counts; rows of weight 0 are left out."""

    used: NDArray[np.bool_]
    """(rows given,) which of them count."""
    weight: Array
    """(n,) of those that do."""

    @classmethod
    def of(cls, sample_weight: ArrayLike | None, n: int) -> RowWeights:
        """Check weights; None: every row counts once.

        Raises
        ------
        TypeError, ValueError
            Where they are not n numbers from 0, of which some are positive.
        """
        if sample_weight is None:
            return cls(np.ones(n, dtype=bool), np.ones(n))
        weight = check_vector(sample_weight, n, "sample_weight", scalar=False)
        used = weight > 0.0
        if not used.any():
            raise ValueError("sample_weight is 0 (row left out) in every row: there is nothing to draw.")
        return cls(used, weight[used])

    def where(self, seen: NDArray[np.bool_]) -> RowWeights:
        """Return the weights of those of all rows, (rows given,), of which something was measured."""
        weight = np.zeros(len(seen))
        weight[self.used] = self.weight
        return RowWeights.of(np.where(seen, weight, 0.0), len(seen))

    @property
    def total(self) -> float:
        return float(self.weight.sum())

    @property
    def n_effective(self) -> int:
        """Equally weighted rows whose share scatters as much, (62)."""
        return max(round(self.total**2 / float(self.weight @ self.weight)), 1)


def measured_alone(distribution: PredictiveDistribution, sample_weight: ArrayLike | None) -> ArrayLike | None:
    """Return weights that leave out rows of which nothing was measured: their count is 0."""
    if distribution.measured is None:
        return sample_weight
    n = len(distribution)
    weight = 1.0 if sample_weight is None else check_vector(sample_weight, n, "sample_weight", scalar=False)
    return weight * distribution.measured


def complete_rows(table: Any) -> NDArray[np.bool_]:
    """Return which rows lack nothing: those are drawn."""
    lacking = np.asarray(table.isna() if hasattr(table, "isna") else np.isnan(table))
    return np.asarray(~lacking.any(axis=1))


def drawn_rows(
    n: int, subsample: int | None, random_state: int | np.random.RandomState | None
) -> NDArray[np.intp]:
    """Return which of n rows are drawn: all, or as many as `subsample` says, taken at random."""
    if subsample is None or subsample >= n:
        return np.arange(n)
    return np.sort(check_seed(random_state).choice(n, subsample, replace=False))


def tenths(by: Array) -> list[NDArray[np.intp]]:
    """Return the rows of each tenth of them, in order of `by`; of fewer than ten rows each."""
    order = np.argsort(by, kind="stable")
    return np.array_split(order, min(10, len(by)))


def in_columns(y: Array) -> bool:
    """Return whether a few values make up most of y, as of outcomes 0 or 1 and of shares of few counts."""
    few, enough = 10, 20
    frequency = np.sort(np.unique(y, return_counts=True)[1])
    return len(y) > enough and frequency[-few:].sum() > 0.5 * len(y)


def bounds_of(estimator: Any, X: Any, counts: Any) -> tuple[float, float]:
    """Return between which numbers a target can be measured: shares between 0 and 1."""
    regressor, _ = final_regressor(estimator, X)
    if not isinstance(regressor, BayesianErrorsInVariablesRegressor):
        return -np.inf, np.inf
    link = regressor._fitted.likelihood.link
    of_shares = counts is not None or "count_column" in regressor._fitted.columns.special
    return (0.0, 1.0) if of_shares else (link.lower, link.upper)


def _within(y: Array, y_err: Array, bounds: tuple[float, float]) -> Array:
    """Return how far error bars reach down and up, (2, n): no further than measurements can be."""
    lower, upper = bounds
    return np.stack(
        [np.minimum(y_err, np.maximum(y - lower, 0.0)), np.minimum(y_err, np.maximum(upper - y, 0.0))]
    )


def stated_bars(
    estimator: Any, X: Any, y: Array, counts: Any, y_err: Any, **predict_params: Any
) -> Array | None:
    """Return how far error bars of measurements reach, (n,), or (2, n) where these have bounds; None: unknown."""
    bars = error_bars(estimator, X, counts, y_err, **predict_params)
    bounds = bounds_of(estimator, X, counts)
    return bars if bars is None or np.isinf(bounds).all() else _within(y, bars, bounds)
