"""Noise "additive" without a pass over the rows for every value of the scatter: interpolate the compressed data.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """Functions of the scatter s: Chebyshev series in v = log((s^2 + e_0^2) / (1 + s^2 / e_1^2)) / 2, (16), (16a)."""

    coefficients: Array
    """(C, m) a column for each function."""
    smallest: float
    """e_0: v runs from log e_0 where there is no scatter."""
    middle: float
    half: float
    """Of the interval of v that the series holds in."""
    largest: float = np.inf
    """e_1: v runs to log e_1 as the scatter grows, where the functions have a limit; infinity: they have none."""

    @classmethod
    def fit(
        cls,
        functions: Callable[[float], Array],
        smallest: float,
        lower: float,
        upper: float,
        largest: float = np.inf,
    ) -> Series:
        """Interpolate at Chebyshev's points, more of them until the series has converged.

        Parameters
        ----------
        functions : callable
            From s to the values of the functions, (m,).
        smallest : float
            e_0, positive.
        lower, upper : float
            The range of s, lower from 0.
        largest : float, default=inf
            e_1, positive.
        """
        ends = position(np.array([lower, upper]), smallest, largest)
        middle, half = float(ends.mean()), float(max(0.5 * np.ptp(ends), 1e-12))
        # What the width of the strip in which the functions are analytic, pi, promises.
        ratio = float(np.exp(np.arcsinh(0.5 * np.pi / half)))
        # The number of nodes at which it is given up to reach the accuracy wanted.
        most = 128
        # The last coefficients, beside the largest, of a series that has converged.
        converged = 1e-11
        size = min(int(np.ceil(-np.log(converged) / np.log(ratio))) + 2, most)
        while True:
            points = np.cos(np.pi * (np.arange(size) + 0.5) / size)
            values = np.array([functions(float(s)) for s in at(middle + half * points, smallest, largest)])
            # Discrete orthogonality at the roots of T_size.
            coefficients = 2.0 / size * chebyshev.chebvander(points, size - 1).T @ values
            coefficients[0] *= 0.5
            magnitude = np.abs(coefficients).max(axis=0)
            if (np.abs(coefficients[-2:]) <= converged * magnitude.max()).all() or size >= most:
                return cls(coefficients, smallest, middle, half, largest)
            size *= 2

    def __call__(self, scatter: Array) -> Array:
        """Return the functions at each scatter, (G, m)."""
        v = position(scatter, self.smallest, self.largest)
        x = np.clip((v - self.middle) / self.half, -1.0, 1.0)
        return chebyshev.chebvander(x, len(self.coefficients) - 1) @ self.coefficients


def position(scatter: Array, smallest: float, largest: float = np.inf) -> Array:
    """Return v at each scatter."""
    # Times e_1, a scatter beside which it is nothing.
    endless = 1e9
    square = np.square(np.minimum(scatter, endless * largest))
    return np.asarray(0.5 * np.log((square + smallest**2) / (1.0 + square / largest**2)))


def at(v: Array, smallest: float, largest: float = np.inf) -> Array:
    """Return the scatter at each v: zero and infinity at the ends, and beyond them."""
    above = np.maximum(np.expm1(2.0 * (v - np.log(smallest))), 0.0)
    below = np.maximum(-np.expm1(2.0 * (v - np.log(largest))), 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(smallest * np.sqrt(above / below))
