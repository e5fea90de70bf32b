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

# The number of nodes at which it is given up to reach the accuracy wanted.
_MOST = 128
# The last coefficients, beside the largest, of a series that has converged.
_CONVERGED = 1e-11


@dataclass(frozen=True, eq=False)
class Series:
    """Functions of the scatter s as a Chebyshev series in v = log(s^2 + e_0^2) / 2, (16)."""

    coefficients: Array
    """(C, m) a column for each function."""
    smallest: float
    """e_0: v runs from log e_0 where there is no scatter."""
    middle: float
    half: float
    """Of the interval of v that the series holds in."""

    @classmethod
    def fit(cls, functions: Callable[[float], Array], smallest: float, lower: float, upper: float) -> Series:
        """Interpolate at Chebyshev's points, more of them until the series has converged.

        Parameters
        ----------
        functions : callable
            From s to the values of the functions, (m,).
        smallest : float
            e_0, positive.
        lower, upper : float
            The range of s, lower from 0.
        """
        ends = 0.5 * np.log(np.square([lower, upper]) + smallest**2)
        middle, half = float(ends.mean()), float(max(0.5 * np.ptp(ends), 1e-12))
        # What the width of the strip in which the functions are analytic, pi, promises.
        ratio = float(np.exp(np.arcsinh(0.5 * np.pi / half)))
        size = min(int(np.ceil(-np.log(_CONVERGED) / np.log(ratio))) + 2, _MOST)
        while True:
            points = np.cos(np.pi * (np.arange(size) + 0.5) / size)
            squares = np.exp(2.0 * (middle + half * points)) - smallest**2
            values = np.array([functions(float(s)) for s in np.sqrt(np.maximum(squares, 0.0))])
            # Discrete orthogonality at the roots of T_size.
            coefficients = 2.0 / size * chebyshev.chebvander(points, size - 1).T @ values
            coefficients[0] *= 0.5
            magnitude = np.abs(coefficients).max(axis=0)
            if (np.abs(coefficients[-2:]) <= _CONVERGED * magnitude.max()).all() or size >= _MOST:
                return cls(coefficients, smallest, middle, half)
            size *= 2

    def __call__(self, scatter: Array) -> Array:
        """Return the functions at each scatter, (G, m)."""
        v = 0.5 * np.log(np.square(scatter) + self.smallest**2)
        x = np.clip((v - self.middle) / self.half, -1.0, 1.0)
        return chebyshev.chebvander(x, len(self.coefficients) - 1) @ self.coefficients
