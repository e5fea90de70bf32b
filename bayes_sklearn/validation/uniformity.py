"""Whether numbers between 0 and 1 are uniform: a test of the whole distribution function, and the band it comes from.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["UniformBand", "uniform_band", "uniformity_p_value"]

Array = NDArray[np.float64]

# Places at which distribution functions are looked at.
_PLACES = 100

# Tail probabilities that differ by no more than this, relative to themselves, are the same.
_ROUNDING = 1e-9


class UniformBand(NamedTuple):
    """Where the empirical distribution function of uniform numbers is, all along at once."""

    places: Array
    """(K,) in (0, 1)."""
    lower: Array
    """(K,) least share of the numbers up to each place."""
    upper: Array
    """(K,) largest share."""


class _Places:
    """The places at which n numbers are counted, and how far out each count is at each of them, (65)."""

    def __init__(self, n: int):
        self.n, self.parts = n, min(max(n, 2), _PLACES)
        self.places = np.arange(1, self.parts) / self.parts
        counts = np.arange(n + 1)
        binomial = stats.binom(n, self.places[:, None])
        self.tail = 2.0 * np.minimum(binomial.cdf(counts), binomial.sf(counts - 1))
        """(K, n + 1) twice the smaller tail probability of each count."""

    def probability_inside(self, least: float) -> float:
        """Return the probability that no place has a count whose tail is below this, (66).

        Counts between places are independent Poisson variables given their sum: their distribution is that of a
        walk with the same steps everywhere.
        """
        step = stats.poisson.pmf(np.arange(self.n + 1), self.n / self.parts)
        step = step[: int(np.flatnonzero(step > 0.0)[-1]) + 1]
        walk = np.zeros(self.n + 1)
        walk[0] = 1.0
        for inside in self.tail >= least * (1.0 - _ROUNDING):
            walk = np.convolve(walk, step)[: self.n + 1] * inside
        last = walk[::-1][: len(step)] @ step[: self.n + 1]
        return min(float(last / stats.poisson.pmf(self.n, self.n)), 1.0)


def uniformity_p_value(values: Array) -> float:
    """Return how probable numbers as far from uniform are, of independent uniform ones, (65) and (66).

    The statistic is the least tail probability that the number of values up to a place has (binomial), over 99 evenly
    spaced places: against numbers that crowd at the ends or in the middle it is stronger than Kolmogorov & Smirnov's.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Between 0 and 1.

    References
    ----------
    .. [1] Säilynoja, Bürkner & Vehtari (2022), "Graphical test for discrete uniformity and its applications in
       goodness-of-fit evaluation and multiple sample comparison", Statistics and Computing 32:32.
    """
    at = _Places(len(values))
    counts = np.searchsorted(np.sort(values), at.places, side="right")
    least = float(at.tail[np.arange(len(at.places)), counts].min())
    # What lies farther in than this is inside; what is as far out is not.
    return min(max(1.0 - at.probability_inside(least * (1.0 + 3.0 * _ROUNDING)), 0.0), 1.0)


def uniform_band(n: int, level: float) -> UniformBand:
    """Return limits between which the distribution function of n uniform numbers is everywhere, with a probability.

    Parameters
    ----------
    n : int
    level : float
        The probability, which is at least that.
    """
    at = _Places(n)
    candidates = np.unique(at.tail)
    low, high = 0, len(candidates) - 1  # the lowest keeps all
    while low < high:
        middle = (low + high + 1) // 2
        if at.probability_inside(float(candidates[middle])) >= level:
            low = middle
        else:
            high = middle - 1
    inside = at.tail >= candidates[low] * (1.0 - _ROUNDING)
    lower = inside.argmax(axis=1)
    upper = n - inside[:, ::-1].argmax(axis=1)
    return UniformBand(at.places, lower / n, upper / n)
