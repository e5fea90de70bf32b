"""Numbers of events over exposures, whose rates are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .distribution import PredictiveDistribution
from .mixtures.normal import Mixture
from .response import ResponsePredictive

__all__ = ["EventsPredictive"]

Array = NDArray[np.float64]


class EventsPredictive(PredictiveDistribution):
    """Distribution of numbers of events over exposures, or of their means: that of rates times these.

    Parameters
    ----------
    rates : ResponsePredictive
    exposure : ndarray of shape (n,)
    """

    def __init__(self, rates: ResponsePredictive, exposure: Array):
        self.rates, self.exposure = rates, exposure
        self.index = rates.index

    def __len__(self) -> int:
        return len(self.rates)

    def mean(self) -> Array:
        return self.exposure * self.rates.mean()

    def var(self) -> Array:
        return np.square(self.exposure) * self.rates.var()

    def ppf(self, q: ArrayLike) -> Array:
        """Return the quantiles of probability q."""
        return _whole(self.rates.ppf(q) * self.exposure)

    def pit(self, y: ArrayLike) -> Array:
        """Return the probability of less than y and half of that of y itself."""
        return self._by_row(lambda mixture, value: mixture.cdf(value) - 0.5 * mixture.at(value), y)

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of, as `ResponsePredictive` has it."""
        square = np.square(self.exposure)
        return {name: square * part for name, part in self.rates.variance_parts.items()}

    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n)."""
        return self.rates.covariance() * np.outer(self.exposure, self.exposure)

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples), as `ResponsePredictive` has them."""
        return _whole(self.rates.sample(n_samples, random_state) * self.exposure[:, None])

    def _mixture(self, rows: slice) -> Mixture:
        return _Events(self.rates._mixture(rows), self.exposure[rows])

    @property
    def _width(self) -> int:
        return self.rates._width


@dataclass(frozen=True, eq=False)
class _Events:
    """A mixture of rates, times exposures, (n,)."""

    rates: Mixture
    exposure: Array

    def log_density(self, value: Array) -> Array:
        return self.rates.log_density(value / self.exposure) - np.log(self.exposure)

    def cdf(self, value: Array) -> Array:
        return self.rates.cdf(value / self.exposure)

    def at(self, value: Array) -> Array:
        return self.rates.at(value / self.exposure)

    def quantile(self, probability: Array) -> Array:
        return _whole(self.rates.quantile(probability) * self.exposure)

    def crps(self, value: Array) -> Array:
        return self.rates.crps(value / self.exposure) * self.exposure


def _whole(events: Array) -> Array:
    """Return numbers that miss whole ones by rounding as these."""
    whole = np.rint(events)
    return np.where(np.abs(events - whole) <= 4.0 * np.finfo(np.float64).eps * whole, whole, events)
