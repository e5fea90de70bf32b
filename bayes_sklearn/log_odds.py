"""Logarithms of shares that are given by their log odds, with all digits in both tails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

__all__ = ["log_expit", "log_one_plus"]


def log_expit(eta: Array) -> Array:
    """Return log(1 / (1 + exp(-eta)))."""
    return np.minimum(eta, 0.0) - log_one_plus(eta)


def log_one_plus(eta: Array) -> Array:
    """Return log(1 + exp(-abs(eta)))."""
    size = np.abs(np.atleast_1d(eta))
    np.negative(size, out=size)
    np.exp(size, out=size)
    np.log1p(size, out=size)
    return size.reshape(np.shape(eta))
