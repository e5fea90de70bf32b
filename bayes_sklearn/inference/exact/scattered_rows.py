"""Rows under many scatters at once, each of which weights them anew.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...measurements.compressed import Groups
from ..problem import Problem

__all__ = ["ScatteredRows"]

Array = NDArray[np.float64]


class ScatteredRows:
    """The rows of a problem, or what stands for them, divided by ``sqrt(error**2 + scatter**2)``."""

    def __init__(self, problem: Problem, source: Groups | None):
        self._problem, self._source = problem, source
        self.total_weight = problem.total_weight

    def compressed(self, scatters: Array) -> tuple[Array, Array]:
        """Return triangles of [1, x, y], (S, P + 1, P + 1), and summed log errors, (S,), in the model's units."""
        # Numbers of stacked rows, of one scatter and of those in hand at once: longer tables are passed over block
        # by block.
        longest, block_numbers = 2**16, 2**20
        if self._length * (self._problem.rows.n_features + 2) > longest:
            one_by_one = [self._problem.factor_at(float(scatter), self._source) for scatter in scatters]
            factors, logs = zip(*one_by_one, strict=True)
            return np.array(factors), np.array(logs)
        rows, error, weight = self._stacked
        width = rows.shape[1]
        triangles, log_errors = np.zeros((len(scatters), width, width)), np.empty(len(scatters))
        step = max(block_numbers // rows.size, 1)
        for start in range(0, len(scatters), step):
            some = slice(start, start + step)
            errors = np.hypot(error, scatters[some, None])
            # Heavy rows come first: that order keeps the digits, (5).
            found = np.asarray(np.linalg.qr(rows / errors[:, :, None], mode="r"))
            triangles[some, : found.shape[1]] = found
            log_errors[some] = np.log(errors) @ weight
        signs = np.where(np.diagonal(triangles, axis1=1, axis2=2) < 0.0, -1.0, 1.0)
        return triangles * signs[:, :, None], log_errors

    @property
    def _length(self) -> int:
        return len(self._problem.rows.y) if self._source is None else len(self._source.matrix)

    @cached_property
    def _stacked(self) -> tuple[Array, Array, Array]:
        """Rows of unit error, those of small error first, their errors, and how often each error counts."""
        problem, source = self._problem, self._source
        if source is not None:
            width = source.matrix.shape[1]
            rows = source.matrix.copy()
            # A triangle's first column has its first entry alone, so that a change of origin is that row's.
            origin = source.whole.origin
            error = np.repeat(source.error, width)
            weight = np.zeros(len(error))
            weight[::width] = source.weight
            rows[:, 1:] += rows[:, :1] * (origin - problem.scaling.mean)
        else:
            used = slice(None) if problem.rows.frequency is None else problem.rows.frequency > 0.0
            x = np.asarray(problem.rows.take(slice(None)), dtype=np.float64)[used]
            center = problem.rows.here(problem.scaling.mean)
            y = problem.rows.y[used]
            rows = np.column_stack([np.ones(len(y)), x - center[:-1], y - center[-1]])
            error = np.broadcast_to(
                np.asarray(problem.standard_error, dtype=np.float64), problem.rows.y.shape
            )[used]
            weight = np.ones(len(y)) if problem.rows.frequency is None else problem.rows.frequency[used]
            rows *= np.sqrt(weight)[:, None]
        rows[:, 1:] /= np.append(problem.scaling.x_scale, problem.scaling.y_scale)
        order = np.argsort(error, kind="stable")
        return rows[order], error[order] / problem.error_unit, weight[order]
