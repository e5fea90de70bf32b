"""Events that were counted over exposures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INTERCEPT, COEF = 0.5, np.array([0.7, -0.3])


class Events(NamedTuple):
    """A table."""

    X: Array
    events: Array
    hours: Array

    @property
    def columns(self) -> Array:
        """(n, 3) the features, and the hours in a column."""
        return np.column_stack([self.X, self.hours])


def events(n: int = 120, seed: int = 3, dispersion: float = 0.0, intercept: float = INTERCEPT) -> Events:
    """Return two features, events, and the hours that they were counted over."""
    rng = np.random.default_rng(seed)
    X, hours = rng.normal(size=(n, 2)), rng.uniform(0.3, 20.0, n)
    rate = np.exp(intercept + X @ COEF)
    if dispersion:
        rate = rate * rng.gamma(1.0 / dispersion, dispersion, n)
    return Events(X, rng.poisson(rate * hours).astype(np.float64), hours)
