"""Rows under many scatters: at once, and as a function of the scatter."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

from ...measurements.compressed import Groups, signed
from ...measurements.correlated.covariance import Covariance
from ..problem import Problem

__all__ = ["Beyond", "InterpolatedRows", "ScatteredRows"]

Array = NDArray[np.float64]


class Beyond(Exception):  # noqa: N818 - no error: rows are to be weighted some other way
    """A scatter is not in the interval, or the interval is too wide."""


class InterpolatedRows:
    """The rows of a problem divided by ``sqrt(error**2 + scatter**2)``, for any scatter of an interval.

    Products of weighted rows, and the sum of log errors, are analytic in ``log(scatter**2 + offset)`` but for a pole
    at each row's ``-error**2``, never on the interval: they are interpolated between Chebyshev points (Trefethen
    2013, Approximation Theory and Approximation Practice, theorem 8.2). The products are those of rows that the
    triangle at no scatter has made orthogonal, so that squares cost no digits.
    """

    def __init__(
        self,
        problem: Problem,
        lowest: float,
        highest: float,
        *,
        every: int = 1,
        tolerance: float = 1e-5,
        most: int = 64,
    ):
        """Pass over the rows.

        Parameters
        ----------
        problem : Problem
        lowest, highest : float
            Ends of the interval, in the model's units.
        every : int, default=1
            Take every so many-th row alone.
        tolerance : float, default=1e-5
            By about how much the log likelihood may be wrong, where it has changed by much.
        most : int, default=64
            Points of interpolation.

        Raises
        ------
        Beyond
            Where more points would be needed, or squares cost too many digits after all.
        """
        self._without_loadings, problem = problem.without_loadings, problem.with_loadings
        frequency = problem.rows.frequency
        error = np.asarray(problem.standard_error, dtype=np.float64)[::every]
        count = None if frequency is None else frequency[::every]
        self._problem = problem
        self.ends = lowest, highest
        """Of the interval."""
        self.total_weight = float(len(error) if count is None else count.sum())
        """Of the rows that are taken."""
        used = error if count is None else error[count > 0.0]
        if not len(used):
            raise Beyond
        ends = np.square(np.array([lowest, highest]) * problem.scaling.y_scale)
        self._offset, size = _coordinate(used, ends, tolerance, most)
        if size > most:
            raise Beyond
        size += size % 2  # one more costs nothing: BLAS takes odd numbers of columns slowly
        self._interval = np.log(ends + self._offset)
        half = 0.5 * float(np.diff(self._interval)[0])
        angle = np.pi * (np.arange(size) + 0.5) / size
        self._nodes = self._interval.mean() + half * np.cos(angle)
        self._signs = (-1.0) ** np.arange(size) * np.sin(angle)
        scatter = np.exp(self._nodes) - self._offset
        triangle = problem.state.factor
        # Columns that the others leave so small a share of are dependent on them.
        least_part = 1e-12
        dependent = np.diag(triangle) <= least_part * np.linalg.norm(triangle, axis=0)
        plain = triangle.copy()
        plain[dependent] = np.eye(len(plain))[dependent]
        white = np.asarray(dtrtri(plain)[0])
        white[:, dependent] = 0.0
        self._triangle = np.where(dependent[:, None], 0.0, problem.factor[0])
        self._products, self._logs = self._sums(error, count, scatter, white, every)
        self._products[:, dependent, dependent] = 1.0
        try:
            roots = np.linalg.cholesky(self._products)
        except np.linalg.LinAlgError as singular:
            raise Beyond from singular
        diagonal = np.diagonal(roots, axis1=1, axis2=2)[:, ~dependent]
        # Roots of products whose diagonals differ by more have lost too many digits.
        alike = 1e4
        if (diagonal.max(axis=1) > alike * diagonal.min(axis=1)).any():
            raise Beyond

    def _sums(
        self, error: Array, count: Array | None, scatter: Array, white: Array, every: int
    ) -> tuple[Array, Array]:
        """Return products of the rows that `white` makes orthogonal, and summed log errors, at each scatter."""
        rows, width, size = self._problem.rows, len(white), len(scatter)
        here = rows.here(self._problem.state.origin)
        products, logs = np.zeros((size, width, width)), np.zeros(size)
        # Numbers in hand at once.
        block_numbers = 2**16
        length = min(len(error), max(block_numbers // max(width, size), 256))
        plain, turned = np.ones((2, width, length))
        weights = np.empty((size, length))
        # Pairs of columns, so many at a time that their products are one of BLAS's.
        strips = _strips(width)
        pairs = np.empty((max(sum(width - i for i in strip) for strip in strips), length))
        for start in range(0, len(error), length):
            some = slice(start, min(start + length, len(error)))
            index = slice(every * start, every * some.stop, every)
            n = some.stop - start
            z, weight = turned[:, :n], weights[:, :n]
            np.subtract(rows.take(index).T, here[:-1, None], out=plain[1:-1, :n])
            np.subtract(rows.y[index], here[-1], out=plain[-1, :n])
            np.matmul(white.T, plain[:, :n], out=z)
            np.add(np.square(error[some]), scatter[:, None], out=weight)
            found = np.log(weight)
            logs += 0.5 * (found.sum(axis=1) if count is None else found @ count[some])
            np.reciprocal(weight, out=weight)
            if count is not None:
                weight *= count[some]
            for strip in strips:
                ends = np.cumsum([width - i for i in strip])
                for i, end in zip(strip, ends, strict=True):
                    np.multiply(z[i], z[i:], out=pairs[end - width + i : end, :n])
                sums = (pairs[: ends[-1], :n] @ weight.T).T
                for i, end in zip(strip, ends, strict=True):
                    products[:, i, i:] += sums[:, end - width + i : end]
        lower = np.tril_indices(width, -1)
        products[:, lower[0], lower[1]] = products[:, lower[1], lower[0]]
        return products, logs

    def compressed(self, scatters: Array) -> tuple[Array, Array]:
        """Return triangles of [1, x, y], (S, P + 1, P + 1), and summed log errors, (S,), in the model's units.

        Raises
        ------
        Beyond
            Where a scatter is not in the interval.
        """
        place = np.log(np.square(scatters * self._problem.scaling.y_scale) + self._offset)
        left, right = self._interval
        room = 1e-6 * (1.0 + right - left)
        if place.min() < left - room or place.max() > right + room:
            raise Beyond
        away = place[:, None] - self._nodes
        away[away == 0.0] = 1e-300
        shares = self._signs / away
        shares /= shares.sum(axis=1, keepdims=True)
        try:
            roots = np.linalg.cholesky(np.tensordot(shares, self._products, axes=1))
        except np.linalg.LinAlgError as singular:
            raise Beyond from singular
        log_errors = shares @ self._logs - self.total_weight * np.log(self._problem.error_unit)
        return self._without_loadings(roots.transpose(0, 2, 1) @ self._triangle, log_errors)


def _coordinate(error: Array, ends: Array, tolerance: float, most: int) -> tuple[float, int]:
    """Return an offset, and how many points it takes to interpolate all rows, or more than most.

    A row's error falls by a factor rho with every point: the sum of half axes of the ellipse about the interval that
    goes through its pole; with m points it is about rho^(1 - m) / (rho - 1). Close to the least error the logarithm
    is the better coordinate, far from it the square.
    """
    least = float(error.min()) ** 2
    # Rows that stand for all where the number of points is chosen.
    few = 200
    some = np.append(np.square(error[:: -(-len(error) // few)]), least)
    weight = np.append(np.full(len(some) - 1, len(error) / (len(some) - 1)), 1.0)
    best, fewest, sizes = least, most + 1, np.arange(3, most + 1)[:, None]
    for offset in least + np.append(0.0, ends[1] * np.array([0.25, 1.0, 4.0])):
        interval = np.log(ends + offset)
        half = max(0.5 * float(interval[1] - interval[0]), 1e-6)
        # A pole at minus infinity is none.
        pole = (np.log(np.maximum(np.abs(offset - some), 1e-300)) - interval.mean()) / half
        pole = pole + np.where(some > offset, 1j * np.pi / half, 0.0)
        log_factor = np.arccosh(np.maximum(0.5 * (np.abs(pole - 1.0) + np.abs(pole + 1.0)), 1.0))
        errors = np.exp((1.0 - sizes) * log_factor) @ (weight / np.maximum(np.expm1(log_factor), 1.0))
        size = 3 + int(np.count_nonzero(errors > tolerance))
        if size < fewest:
            best, fewest = float(offset), size
    return best, fewest


def _strips(width: int) -> list[list[int]]:
    """Return rows of an upper triangle, together where they are short."""
    strips: list[list[int]] = []
    room = 0
    # Pairs of columns that are multiplied together.
    pairs = 32
    for i in range(width):
        if width - i > room:
            strips.append([])
            room = max(width, pairs)
        strips[-1].append(i)
        room -= width - i
    return strips


class ScatteredRows:
    """The rows of a problem, or what stands for them, divided by ``sqrt(error**2 + scatter**2)``."""

    def __init__(self, problem: Problem, source: Groups | None):
        self._given, self._problem, self._source = problem, problem.with_loadings, source
        self.total_weight = problem.total_weight

    def compressed(self, scatters: Array) -> tuple[Array, Array]:
        """Return triangles of [1, x, y], (S, P + 1, P + 1), and summed log errors, (S,), in the model's units."""
        # Numbers of stacked rows, of one scatter and of those in hand at once: longer tables are passed over block
        # by block.
        longest, block_numbers = 2**16, 2**20
        turned = isinstance(self._given.correlated, Covariance)
        if turned or self._length * (self._problem.rows.n_features + 2) > longest:
            one_by_one = [self._given.factor_at(float(scatter), self._source) for scatter in scatters]
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
        return self._given.without_loadings(signed(triangles), log_errors)

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
