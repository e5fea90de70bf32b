"""Densities of one variable, one per row, on grids that are fine where they are high: pieces about their peaks.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

__all__ = ["Grid", "Tabulated"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Points of n rows, each with M pieces side by side: ``center + unit sinh(t)`` at even t, (77)."""

    center: Array
    """(n, M)"""
    unit: Array
    """(n, M)"""
    start: Array
    """(n, M) t at the first point of a piece."""
    step: Array
    """(n, M) from point to point; 0: the piece is none."""
    size: int
    """Steps of a piece."""

    @classmethod
    def between(cls, low: Array, high: Array, center: Array, unit: Array, size: int) -> Self:
        """Return the grid of pieces between these places, (n, M) all."""
        start, stop = (np.arcsinh((edge - center) / unit) for edge in (low, high))
        return cls(center, unit, start, (stop - start) / size, size)

    def at(self, u: Array) -> tuple[Array, Array]:
        """Return places, and their slopes in u, (n, M, ...), at u from 0 to `size`."""
        more = (...,) + (None,) * (u.ndim - self.center.ndim)
        t = self.start[more] + self.step[more] * u
        unit = self.unit[more]
        return self.center[more] + unit * np.sinh(t), unit * self.step[more] * np.cosh(t)

    def u_of(self, x: Array, piece: NDArray[np.intp]) -> Array:
        """Return u of places, (n,), in a piece each."""
        row = np.arange(len(x))
        center, unit, start, step = (
            part[row, piece] for part in (self.center, self.unit, self.start, self.step)
        )
        return np.clip(
            (np.arcsinh((x - center) / unit) - start) / np.where(step > 0.0, step, 1.0), 0.0, self.size
        )

    @property
    def points(self) -> Array:
        """(n, M, size + 1) of each row, piece by piece."""
        return self.at(np.broadcast_to(np.arange(self.size + 1.0), (*self.center.shape, self.size + 1)))[0]


class Tabulated:
    """Distributions of n rows, as a `Mixture` has them, from log densities on a grid.

    The density is a cubic spline in the grid's coordinate, the distribution function its integral.

    Parameters
    ----------
    grid : Grid
    log_density : ndarray of shape (n, M, size + 1)
        But for a constant.
    """

    def __init__(self, grid: Grid, log_density: Array):
        self.grid, self._log_density = grid, log_density
        size = grid.size
        x, slope = grid.at(np.broadcast_to(np.arange(size + 1.0), log_density.shape))
        highest = log_density.max(axis=(1, 2), keepdims=True)
        density = np.exp(np.maximum(log_density - highest, -700.0)) * slope
        spline = CubicSpline(np.arange(size + 1.0), density, axis=2)
        # (5, size, n, M) and (n, M, size + 1)
        self._integral = spline.antiderivative().c
        below = np.concatenate([self._integral[-1], self._integral[:, -1].sum(axis=0)[None]])
        below = np.moveaxis(below, 0, 2)
        before = np.cumsum(below[:, :, -1], axis=1)
        self._total = before[:, -1]
        self._before = before - below[:, :, -1]
        """(n, M) of the pieces before."""
        self._below = np.maximum.accumulate((self._before[:, :, None] + below).reshape(len(x), -1), axis=1)
        self._x, self._density = x, density
        self._log_total = np.log(self._total) + highest[:, 0, 0]
        self._logs = CubicSpline(np.arange(size + 1.0), np.maximum(log_density - highest, -700.0), axis=2)
        self._highest = highest[:, 0, 0]

    def __len__(self) -> int:
        return len(self._total)

    def refined(self, size: int) -> Grid:
        """Return a grid for the same distributions, as fine in every piece as that is narrow there."""
        x, below, grid = self._x, self._below.reshape(self._x.shape), self.grid
        inside = below - self._before[:, :, None]
        whole = np.maximum(inside[:, :, -1:], np.finfo(np.float64).tiny)

        def place(share: float) -> Array:
            """Return about where a share of a piece's mass is below."""
            k = np.clip((inside <= share * whole).sum(axis=2) - 1, 0, grid.size - 1)[:, :, None]
            left, right = (np.take_along_axis(inside, k + more, axis=2) for more in (0, 1))
            part = (share * whole - left) / np.maximum(right - left, np.finfo(np.float64).tiny)
            at = np.take_along_axis(x, k, axis=2), np.take_along_axis(x, k + 1, axis=2)
            return (at[0] + np.clip(part, 0.0, 1.0) * (at[1] - at[0]))[:, :, 0]

        center, unit = place(0.5), 0.5 * (place(0.841) - place(0.159))
        least = 1e-12 * np.maximum(np.abs(center), x[:, :, -1] - x[:, :, 0])
        unit = np.maximum(unit, np.maximum(least, 1e-300))
        # From where there is something to where there is nothing again.
        nothing = -45.0
        seen = self._log_density - self._highest[:, None, None] > nothing
        seen |= ~seen.any(axis=2, keepdims=True)
        first = np.maximum(seen.argmax(axis=2) - 1, 0)
        last = np.minimum(grid.size + 1 - seen[:, :, ::-1].argmax(axis=2), grid.size)
        low, high = (np.take_along_axis(x, end[:, :, None], axis=2)[:, :, 0] for end in (first, last))
        return Grid.between(low, high, center, unit, size)

    def take(self, rows: slice) -> Self:
        """Return the distributions of some rows."""
        if rows == slice(0, len(self)):
            return self
        grid = self.grid
        own = Grid(grid.center[rows], grid.unit[rows], grid.start[rows], grid.step[rows], grid.size)
        return type(self)(own, self._log_density[rows])

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return 8 * self._x[0].size

    @property
    def mode(self) -> Array:
        """(n,) the points where densities are highest."""
        row = np.arange(len(self))
        place = self._log_density.reshape(len(self), -1).argmax(axis=1)
        return np.asarray(self._x.reshape(len(self), -1)[row, place])

    def expected(self, function: Callable[[Array], Array]) -> Array:
        """Return expected values of a function of places, (n, M, size + 1), of which it returns arrays."""
        seen = np.where(self._density > 0.0, self._x, self._x[:, :1, :1])
        return self._integrated(self._density * function(seen))

    def divergence(self, log_density: Callable[[Array], Array]) -> Array:
        """Return the Kullback-Leibler divergence from distributions of this log density, (n,), in nats."""
        used = self._density > 0.0
        own = np.where(used, self._log_density, 0.0) - self._log_total[:, None, None]
        other = np.where(used, log_density(np.where(used, self._x, self._x[:, :1, :1])), 0.0)
        return self._integrated(self._density * (own - other))

    def _integrated(self, values: Array) -> Array:
        spline = CubicSpline(np.arange(self.grid.size + 1.0), values, axis=2)
        return np.asarray(spline.integrate(0.0, self.grid.size).sum(axis=1) / self._total)

    def log_density(self, value: Array) -> Array:
        piece, inside = self._piece(value)
        u = self.grid.u_of(value, piece)
        found = _evaluate(self._logs.c, u, piece) + self._highest - self._log_total
        return np.where(inside, found, -np.inf)

    def cdf(self, value: Array) -> Array:
        piece, inside = self._piece(value)
        row = np.arange(len(value))
        found = self._before[row, piece] + _evaluate(self._integral, self.grid.u_of(value, piece), piece)
        above = value >= self._x[:, -1, -1]
        return np.where(inside, np.clip(found / self._total, 0.0, 1.0), above.astype(np.float64))

    def at(self, value: Array) -> Array:
        return np.zeros_like(value)

    def quantile(self, probability: Array) -> Array:
        row, size = np.arange(len(probability)), self.grid.size
        target = probability * self._total
        place = np.clip((self._below <= target[:, None]).sum(axis=1) - 1, 0, self._below.shape[1] - 2)
        piece = place // (size + 1)
        first = np.minimum(place - piece * (size + 1), size - 1).astype(np.float64)
        lower, upper = first, first + 1.0
        # An interval holds next to nothing, or is one in which the integral rises: it halves, and forty are enough.
        for _ in range(40):
            middle = 0.5 * (lower + upper)
            found = self._before[row, piece] + _evaluate(self._integral, middle, piece)
            low = found < target
            lower, upper = np.where(low, middle, lower), np.where(low, upper, middle)
        u = 0.5 * (lower + upper)
        center, unit, start, step = (
            part[row, piece] for part in (self.grid.center, self.grid.unit, self.grid.start, self.grid.step)
        )
        return center + unit * np.sinh(start + step * u)

    def crps(self, value: Array) -> Array:
        """Return the integral of ``(F - [x >= value])**2``."""
        x = np.concatenate([self._x.reshape(len(value), -1), value[:, None]], axis=1)
        below = np.clip(self._below / self._total[:, None], 0.0, 1.0)
        below = np.concatenate([below, self.cdf(value)[:, None]], axis=1)
        order = np.argsort(x, axis=1, kind="stable")
        x, below = np.take_along_axis(x, order, axis=1), np.take_along_axis(below, order, axis=1)
        first, second = below[:, :-1], below[:, 1:]
        above = 0.5 * (x[:, 1:] + x[:, :-1]) >= value[:, None]
        first, second = np.where(above, 1.0 - first, first), np.where(above, 1.0 - second, second)
        # Of a straight line from a to b the mean square is (a^2 + a b + b^2) / 3.
        square = (first * first + first * second + second * second) / 3.0
        return np.asarray((square * np.diff(x, axis=1)).sum(axis=1))

    def _piece(self, value: Array) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the piece that each value is in, and whether it is in any."""
        edges = self._x[:, 1:, 0]
        inside = (value >= self._x[:, 0, 0]) & (value <= self._x[:, -1, -1])
        return (value[:, None] >= edges).sum(axis=1), inside


def _evaluate(coefficients: Array, u: Array, piece: NDArray[np.intp]) -> Array:
    """Return splines, (k, size, n, M), at u of a piece each, (n,)."""
    interval = np.clip(u.astype(np.intp), 0, coefficients.shape[1] - 1)
    row, away = np.arange(len(u)), u - interval
    found = np.zeros(len(u))
    for coefficient in coefficients:
        found = found * away + coefficient[interval, row, piece]
    return found
