"""Comparisons of two methods that were published, and the regressions that they were published with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

# Peak expiratory flow (l/min) of 17 people, twice by each meter: Bland & Altman 1986, The Lancet 327:307-310.
WRIGHT = np.array(
    [
        [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427],
        [490, 397, 512, 401, 470, 611, 415, 431, 638, 429, 420, 633, 275, 492, 165, 372, 421],
    ],
    dtype=np.float64,
).T
MINI_WRIGHT = np.array(
    [
        [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451],
        [525, 415, 508, 444, 500, 625, 460, 390, 642, 432, 420, 605, 227, 467, 268, 370, 443],
    ],
    dtype=np.float64,
).T

# Arsenate in 30 river waters (ug/l) by atomic absorption and by atomic emission, each with its standard error:
# Ripley & Thompson 1987, Analyst 112:377-383.
_ARSENATE = """
8.71 1.92 7.35 2.07   7.01 1.56 7.92 2.23   3.28 0.76 3.40 0.96   5.60 1.26 5.44 1.53   1.55 0.39 2.07 0.59
1.75 0.43 2.29 0.65   0.73 0.22 0.66 0.19   3.66 0.84 3.43 0.97   0.90 0.25 1.25 0.36   9.39 2.07 6.58 1.85
4.39 1.00 3.31 0.93   3.69 0.84 2.72 0.77   0.34 0.13 2.32 0.66   1.94 0.47 1.50 0.43   2.07 0.50 3.50 0.99
1.38 0.36 1.17 0.33   1.81 0.45 2.31 0.66   1.27 0.33 1.88 0.54   0.82 0.23 0.44 0.13   1.88 0.46 1.37 0.40
5.66 1.27 7.04 1.98   0.00 0.06 0.00 0.01   0.00 0.06 0.49 0.15   0.40 0.15 1.29 0.37   0.00 0.06 0.37 0.12
1.98 0.48 2.16 0.62  10.21 2.24 12.53 3.51  4.64 1.05 3.90 1.10   5.66 1.27 4.66 1.31  19.25 4.18 15.86 4.45
"""
ABSORPTION, ABSORPTION_ERROR, EMISSION, EMISSION_ERROR = (
    np.array(_ARSENATE.split(), dtype=np.float64).reshape(-1, 4).T
)

# Creatinine of 108 patients (mg/dl) in serum and plasma, R's package mcr: means, and sums of squares and products
# about them, of which Deming's regression is made.
CREATININE_MEANS = np.array([1.22111111, 1.2287963])
CREATININE_SQUARES = np.array([[22.24706667, 22.11294444], [22.11294444, 24.59674352]])


def with_moments(mean: Array, squares: Array, n: int) -> tuple[Array, Array]:
    """Return n values of two methods with these means, and sums of squares and products about them."""
    z = np.random.default_rng(0).normal(size=(n, 2))
    z -= z.mean(axis=0)
    z = z @ np.linalg.inv(np.linalg.cholesky(z.T @ z)).T @ np.linalg.cholesky(squares).T + mean
    return z[:, 0], z[:, 1]


class Line(NamedTuple):
    intercept: float
    slope: float
    intercept_limits: tuple[float, float] = (np.nan, np.nan)
    slope_limits: tuple[float, float] = (np.nan, np.nan)


def passing_bablok(x: Array, y: Array, coverage: float = 0.95) -> Line:
    """Return the line of Passing & Bablok 1983, J. Clin. Chem. Clin. Biochem. 21:709-720, with its limits."""
    n = len(x)
    i, j = np.triu_indices(n, 1)
    dx, dy = x[i] - x[j], y[i] - y[j]
    differ = (dx != 0.0) | (dy != 0.0)
    dx, dy = dx[differ], dy[differ]
    with np.errstate(divide="ignore"):
        slopes = np.where(dx == 0.0, np.copysign(np.inf, dy), dy / dx)
    slopes = np.sort(slopes[slopes != -1.0])
    count, shift = len(slopes), int((slopes < -1.0).sum())
    middle = [(count - 1) // 2 + shift, count // 2 + shift]
    slope = float(slopes[middle].mean())
    half = stats.norm.ppf(0.5 + 0.5 * coverage) * np.sqrt(n * (n - 1) * (2 * n + 5) / 18.0)
    first = round((count - half) / 2.0)
    low, high = float(slopes[first + shift - 1]), float(slopes[count - first + shift])

    def intercept(slope: float) -> float:
        return float(np.median(y - slope * x))

    return Line(intercept(slope), slope, (intercept(high), intercept(low)), (low, high))


def deming(x: Array, y: Array, ratio: float = 1.0) -> Line:
    """Return Deming's line; `ratio` is the variance of x's errors over that of y's (Linnet 1993)."""
    (xx, xy), (_, yy) = np.cov(x, y)
    over = yy * ratio - xx
    slope = (over + np.sqrt(over**2 + 4.0 * ratio * xy**2)) / (2.0 * ratio * xy)
    return Line(float(y.mean() - slope * x.mean()), float(slope))
