"""Events counted over an exposure: Poisson and negative binomial, logs of rates on the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, gammaln

from ..priors.base import ScalePrior
from ..priors.coefficients import Normal
from .base import Derivatives, Likelihood, Observations
from .links import LOG
from .noise import Noise
from .parameters import Auxiliary
from .shares import BinomialLikelihood

__all__ = ["PoissonLikelihood"]

Array = NDArray[np.float64]

# NumPy draws no larger counts.
_MOST_EVENTS = 9e18


class _OfRates(Likelihood):
    """A likelihood of events over an exposure: the target is the rate, events / exposure."""

    link = LOG
    per: ClassVar[Literal["exposure"] | None] = "exposure"
    # About the log of all events over all exposure: a hundred times as many or as few are within two of these.
    intercept_prior = Normal(0.0, 2.5)
    # Rows without events bound the coefficients' scale from below alone.
    coef_prior = BinomialLikelihood.coef_prior

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return self.given(values, data)(eta)


class PoissonLikelihood(_OfRates):
    """Events over an exposure, which come independently: the log of their rate follows the line.

    The number of events k has mean and variance mu = exposure * exp(line). Under an exposure of one the line is that
    of the log of the expected count.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> X, events, hours = [[0.0], [1.0], [2.0], [3.0]], [3, 8, 9, 44], [1.0, 1.5, 1.0, 2.0]
    >>> model = BayesianErrorsInVariablesRegressor(likelihood="poisson").fit(X, events, exposure=hours)
    >>> model.predict_interval([[2.0]], exposure=10.0).ravel().round()
    array([ 80., 168.])
    """

    name = "poisson"
    takes_more = (
        ", or use likelihood='negative_binomial', under which counts vary by more than their mean explains"
    )

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        return ()

    def given(self, values: Mapping[str, Array], data: Observations) -> Callable[[Array], Array]:
        events, size, log_exposure, constant = _counted(data)
        place = log_exposure - np.log(size)

        def log_density(eta: Array) -> Array:
            # By the log of the mean over the count: sums of many events keep their digits.
            u = eta + place
            value = u * events
            with np.errstate(over="ignore"):  # a mean beyond all numbers: the density is zero
                np.exp(u, out=u)
                u *= size
            value -= u
            value += constant
            return value

        return log_density

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        at_most = gammaincc(_events(data) + 1.0, _mean(eta, data))
        return np.maximum(at_most - 0.5 * np.exp(self.log_density(eta, values, data)), 0.0)

    def exceeding(self, counts: Array, trials: Array, narrow: Array) -> tuple[Array, Array]:
        # More than k events are counted where the (k + 1)th, whose expected number is Gamma(k + 1), has come.
        a = counts + 1.0
        sd = 1.0 / np.sqrt(a)
        # As far as its log's tails, exp(a u) and exp(-a exp(u)), reach.
        low, high = 6.0 + 12.0 / (a * sd), np.minimum(8.0, np.log1p(40.0 / a) / sd + 2.0)
        spacing = 1.1 / np.hypot(1.0, sd / narrow)
        size = int(np.ceil(np.max((low + high) / spacing))) + 1
        z = -low[:, None] + (low + high)[:, None] * np.linspace(0.0, 1.0, size)
        u = sd[:, None] * z
        weights = np.exp(a[:, None] * (u - np.expm1(u)))
        points = np.log(a / trials)[:, None] + u
        return points, weights / weights.sum(axis=1, keepdims=True)

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return mean / data.trials

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        return rng.poisson(np.minimum(_mean(eta, data), _MOST_EVENTS)) / data.trials

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        expected, value = _mean(eta, data), self.log_density(eta, {}, data)
        return Derivatives(value, (_events(data) - expected)[None], -expected[None, None], expected)

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        import pymc as pm

        return "Poisson", {"mu": data.trials * pm.math.exp(eta)}

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        return data.trials * (data.y * eta - pt.exp(eta))

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return data.trials * share


def _events(data: Observations) -> Array:
    """Return the numbers of events; rates times exposures miss them by rounding."""
    return np.rint(data.y * data.trials)


def _mean(eta: Array, data: Observations) -> Array:
    """Return the expected numbers of events."""
    with np.errstate(over="ignore"):
        return np.exp(eta) * data.trials


def _counted(data: Observations) -> tuple[Array, Array, Array, Array]:
    """Return numbers of events, these but one for none, logs of exposures and what depends on these alone."""
    if "events" not in data.found:
        events = _events(data)
        size = np.maximum(events, 1.0)
        constant = events * np.log(size) - gammaln(events + 1.0)
        data.found["events"] = events, size, np.log(data.trials), constant
    found: tuple[Array, Array, Array, Array] = data.found["events"]
    return found
