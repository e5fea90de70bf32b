"""The scale of residuals that are normal or Student's: what an audit holds against 1.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..likelihoods.special_functions import log_rising

__all__ = ["Tails", "squared_scale"]

Array = NDArray[np.float64]

# 1 / nu that stands for normal residuals, the least nu that is looked for, and how many values in between are tried.
_NORMAL, _LEAST, _GRID = 1e-6, 0.5, 25

_STEPS, _EXACT = 200, 1e-10


class Tails(NamedTuple):
    """How heavy the tails of residuals are."""

    nu: float = np.inf
    """Degrees of freedom; infinite for normal residuals."""
    lowest: float | None = None
    """The least that they could have been where they were found from the residuals; None where they were given."""

    @classmethod
    def found(cls, residual: Array, weight: Array, lowest: float) -> Tails:
        """Return the most likely tails of residuals of any scale, by (56)."""
        square, every = np.square(residual), np.zeros(len(residual), dtype=np.intp)

        def best(q: float) -> float:
            scale = squared_scale(residual, weight, every, 1.0 / q)[0]
            return float(weight @ _log_density(square / scale, q) - 0.5 * weight.sum() * np.log(scale))

        lowest = max(lowest, _LEAST)
        q, _ = _highest(best, 1.0 / lowest)
        return cls(1.0 / q, lowest)

    @property
    def response(self) -> float:
        """By how much the scores' mean falls as the log of the squared scale grows, (55)."""
        return 1.0 if np.isinf(self.nu) else self.nu / (self.nu + 3.0)

    def scores(self, square: Array) -> Array:
        """Return what squared standardised residuals say of their scale; 1 on average, (55)."""
        return square if np.isinf(self.nu) else square * (self.nu + 1.0) / (self.nu + square)

    def degrees(self, residual: Array, weight: Array, scale: float) -> float:
        """Return how many normal residuals would tell the squared scale from 1 as well as these do, (57)."""
        # Scales nearer to each other than this (in their logarithm) do not tell apart by their likelihood.
        apart = 0.05
        away = np.log(scale)
        # A scale as good as 1 is held against one beside it.
        away = away if abs(away) > apart else np.copysign(apart, away)
        null = scale * np.exp(-away)
        square = np.square(residual)

        def log_likelihood(at: float, q: float) -> float:
            return float(weight @ _log_density(square / at, q) - 0.5 * weight.sum() * np.log(at))

        of_null = log_likelihood(null, 1.0 / self.nu)
        if self.lowest is not None:
            of_null = _highest(lambda q: log_likelihood(null, q), 1.0 / self.lowest)[1]
        ratio = 2.0 * (log_likelihood(scale, 1.0 / self.nu) - of_null)
        return max(ratio / (np.expm1(away) - away), 1.0)


def squared_scale(residual: Array, weight: Array, group: NDArray[np.intp], nu: float) -> Array:
    """Return the most likely squared scale of residuals by group, groups numbered from 0; the mean square if normal.

    The fixed point of (55) by expectation-maximisation with the weights' sum divided out, which hastens it (Kent,
    Tyler & Vardi 1994, Communications in Statistics - Simulation and Computation 23:441-453).
    """
    square = np.square(residual)
    total = np.bincount(group, weight)
    scale = np.asarray(np.bincount(group, weight * square) / total)
    if np.isinf(nu):
        return scale
    for _ in range(_STEPS):
        share = weight * (nu + 1.0) / (nu + square / scale[group])
        new = np.bincount(group, share * square) / np.bincount(group, share)
        done = np.abs(new - scale).max() <= _EXACT * scale.max()
        scale = new
        if done:
            break
    return scale


def _log_density(square: Array, q: float) -> Array:
    """Return Student's log density at squared values, less what is the same for every 1 / nu = q, (33)."""
    constant = float(log_rising(np.array(2.0 * q), np.array(0.5)))
    return constant - 0.5 * (1.0 / q + 1.0) * np.log1p(square * q)


def _highest(function: Callable[[float], float], most: float) -> tuple[float, float]:
    """Return where a function of 1 / nu is highest, and how high."""
    grid = np.geomspace(_NORMAL, most, _GRID)
    values = [function(q) for q in grid]
    i = int(np.argmax(values))
    if i == 0:
        return grid[0], values[0]
    around = (float(np.log(grid[i - 1])), float(np.log(grid[min(i + 1, _GRID - 1)])))
    found = optimize.minimize_scalar(
        lambda log: -function(float(np.exp(log))), bounds=around, method="bounded", options={"xatol": 1e-6}
    )
    best, height = float(np.exp(found.x)), -float(found.fun)
    return (best, height) if height > values[i] else (grid[i], values[i])
