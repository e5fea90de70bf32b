"""Sums of beta-binomial probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

__all__ = ["log_below"]

# Probabilities of counts are summed up until what is left is below this share; looked at every so many.
_LEFT, _EVERY = 1e-10, 32
_TINY = 1e-300


def log_below(share: Array, rest: Array, odds: Array, successes: int, failures: int) -> Array:
    """Return the log of the beta-binomial probability of fewer successes and half of so many, over that of so many.

    Parameters
    ----------
    share, rest, odds : ndarray
        The mean share, what it leaves of one, and dispersion / (1 - dispersion).
    """
    share = np.maximum(share, _TINY)
    term, total = np.ones_like(share), np.full_like(share, 0.5)
    # Towards the nearer end probabilities rise to one peak at most, or to the end: once so small, they stay so.
    # A sum that is too large for a number is that of all but a tail too small for one.
    with np.errstate(over="ignore"):
        for step in range(successes):
            j = successes - step
            ratio = (rest + odds * (failures + step)) / (share + odds * (j - 1.0))
            ratio *= j / (failures + step + 1.0)
            term *= ratio
            total += term
            if step % _EVERY == 0 and (term * j < _LEFT * total).all():
                break
    return np.log(total)
