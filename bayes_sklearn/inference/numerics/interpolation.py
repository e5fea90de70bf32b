"""Sums over many values of smooth functions, from a few values."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray

Array = NDArray[np.float64]


def n_points(values: Array, distance: float) -> int:
    """Return how many Chebyshev points give a function up to rounding, values being where it is wanted.

    It is analytic where the imaginary part is below `distance`: the error falls by the largest Bernstein ellipse's
    radius with each point (Trefethen 2013, Approximation Theory and Approximation Practice, theorem 8.2).
    """
    half = 0.5 * float(np.ptp(values))
    if half == 0.0:
        return 1
    ratio, digits = distance / half, 12.5
    return 2 + int(np.ceil(digits * np.log(10.0) / np.arcsinh(ratio)))


def chebyshev_points(low: float, high: float, n: int) -> Array:
    """Return n points between two, (n,)."""
    return 0.5 * (low + high) + 0.5 * (high - low) * _unit_points(n)


def chebyshev_weights(values: Array, low: float, high: float, n: int) -> Array:
    """Return what a function's values at the n points between two count at others, (len(values), n)."""
    if n == 1:
        return np.ones((len(values), 1))
    # The discrete orthogonality of Chebyshev polynomials at their points.
    series = chebvander(_unit_points(n), n - 1).T * (2.0 / n)
    series[0] *= 0.5
    return np.asarray(chebvander((2.0 * values - (low + high)) / (high - low), n - 1) @ series)


def _unit_points(n: int) -> Array:
    return np.asarray(np.cos(np.pi * (np.arange(n) + 0.5) / n))
