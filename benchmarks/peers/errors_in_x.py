"""odrpack's orthogonal distance regression and BCES: errors in x, and predictions that take x as it was read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .fits import COVERAGE, Fit, Point
from .tasks import Rows, Task

__all__ = ["bces", "orthogonal"]

Array = NDArray[np.float64]


def orthogonal(task: Task) -> Callable[[Rows], Fit]:
    from odrpack import odr_fit

    def line(x: Array, beta: Array) -> Array:
        return beta[0] + beta[1:] @ np.atleast_2d(x)

    def fit(train: Rows) -> Fit:
        exact = train.X_err == 0.0
        start = np.linalg.lstsq(np.column_stack([np.ones(len(train.y)), train.X]), train.y, rcond=None)[0]
        found = odr_fit(
            line,
            train.X.T,
            train.y,
            start,
            weight_x=1.0 / np.where(exact, 1.0, train.X_err).T ** 2,
            weight_y=1.0 / train.y_err**2,
            fix_x=exact.T,
            report="none",
        )
        freedom = len(train.y) - len(start)
        return Fit(
            predict=lambda rows: Point(line(rows.X.T, found.beta)),
            slopes=found.beta[1:],
            slope_interval=lambda: _limits(found.beta[1:], found.sd_beta[1:], freedom),
            doubts=lambda: "" if found.success else found.stopreason,
        )

    return fit


def bces(task: Task) -> Callable[[Rows], Fit]:
    """Fit BCES(Y|X), whose errors come from its formulas: its bootstrap is for small samples."""
    from bces.bces import bces as estimate

    def fit(train: Rows) -> Fit:
        x, x_err = train.X[:, 0], train.X_err[:, 0]
        slopes, offsets, slope_errors, _, _ = estimate(x, x_err, train.y, train.y_err, np.zeros(len(x)))
        slope, offset, error = slopes[:1], offsets[0], slope_errors[:1]
        return Fit(
            predict=lambda rows: Point(offset + rows.X @ slope),
            slopes=slope,
            slope_interval=lambda: _limits(slope, error, np.inf),
        )

    return fit


def _limits(value: Array, error: Array, freedom: float) -> Array:
    from scipy import stats

    return np.column_stack(stats.t.interval(COVERAGE, freedom, value, error))
