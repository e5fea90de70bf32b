"""What every adapter returns: slopes, and predictions of new measurements as far as the peer makes them.

SciPy is imported where it is needed: a peer's own imports are part of its first fit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tasks import Rows

__all__ = [
    "COVERAGE",
    "Distribution",
    "Drawn",
    "Fit",
    "Gaussian",
    "Point",
    "Prediction",
    "StudentT",
]

Array = NDArray[np.float64]

COVERAGE = 0.9
_SCORED = 1000  # draws


class Prediction(ABC):
    """Predictions of new measurements, row by row."""

    mean: Array
    """(n,)"""

    @abstractmethod
    def interval(self) -> Array | None:
        """Return equal-tailed 90% intervals, (n, 2), or None where the peer has none."""

    @abstractmethod
    def crps(self, y: Array) -> Array | None:
        """Return the continuous ranked probability score of each row, or None where there is no distribution."""


@dataclass(frozen=True, eq=False)
class Point(Prediction):
    """A number per row, and no uncertainty."""

    mean: Array

    def interval(self) -> None:
        return None

    def crps(self, y: Array) -> None:
        return None


@dataclass(frozen=True, eq=False)
class Gaussian(Prediction):
    """A mean and a standard deviation per row, taken as those of a normal distribution."""

    mean: Array
    std: Array

    def interval(self) -> Array:
        from scipy import stats

        return np.column_stack(stats.norm.interval(COVERAGE, self.mean, self.std))

    def crps(self, y: Array) -> Array:
        from scipy import stats

        z = (y - self.mean) / self.std
        density, below = stats.norm.pdf(z), stats.norm.cdf(z)
        return self.std * (z * (2.0 * below - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi))


@dataclass(frozen=True, eq=False)
class StudentT(Gaussian):
    """The prediction intervals of least squares; their score is that of the normal distribution as wide."""

    freedom: float

    def interval(self) -> Array:
        from scipy import stats

        return np.column_stack(stats.t.interval(COVERAGE, self.freedom, self.mean, self.std))


@dataclass(frozen=True, eq=False)
class Drawn(Prediction):
    """Draws of new measurements about their expectation, which is known without the noise of draws."""

    mean: Array
    draws: Array
    """(draws, n)"""

    def interval(self) -> Array:
        tails = [(1.0 - COVERAGE) / 2.0, (1.0 + COVERAGE) / 2.0]
        return np.quantile(self.draws, tails, axis=0).T

    def crps(self, y: Array) -> Array:
        """Return E|x - y| - E|x - x'| / 2, unbiased: x and x' are never the same draw."""
        ordered = np.sort(self.draws, axis=0)
        n = len(ordered)
        # The mean difference of pairs, by ranks.
        rank = 2.0 * np.arange(n)[:, None] - n + 1.0
        spread = (rank * ordered).sum(axis=0) / (n * (n - 1.0))
        return np.abs(self.draws - y).mean(axis=0) - spread


@dataclass(frozen=True, eq=False)
class Distribution(Prediction):
    """What `predict_distribution` returns."""

    distribution: Any

    @property
    def mean(self) -> Array:  # type: ignore[override]
        return self.distribution.mean()

    def interval(self) -> Array:
        return np.column_stack(self.distribution.interval(COVERAGE))

    def crps(self, y: Array) -> Array:
        # As for samplers: the exact score adds up pairs of nodes, thousands squared a row where features have errors.
        return Drawn(self.mean, self.distribution.sample(_SCORED, random_state=0).T).crps(y)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted peer. What takes time and is no part of a fit is found when it is asked for."""

    predict: Callable[[Rows], Prediction]
    slopes: Array | None = None
    """(p,) in the target's unit; None where the peer has no such slopes."""
    slope_interval: Callable[[], Array] | None = None
    """(p, 2) at 90%; None where the peer has none."""
    effective: Callable[[], tuple[float, float]] | None = None
    """Effective number of draws from the posterior, and the seconds that they took; None where there are none."""
    doubts: Callable[[], str] = str
    """Why the peer itself says that the fit is not to be trusted; empty where it does not."""
