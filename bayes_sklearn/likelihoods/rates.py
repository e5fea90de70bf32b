"""Events counted over an exposure: Poisson and negative binomial, logs of rates on the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc, gammainc, gammaincc, gammaln, xlogy

from ..priors.base import ScalePrior
from ..priors.coefficients import Normal
from ..priors.scales import HalfStudentT
from .base import Derivatives, Likelihood, Observations
from .links import LOG
from .noise import Noise
from .parameters import Auxiliary, FoldedRoot, given_prior
from .shares import BinomialLikelihood
from .special_functions import (
    few_points_of_log_odds,
    log_excess,
    log_product,
    log_product_graph,
    rising_derivatives,
)

__all__ = ["NegativeBinomialLikelihood", "PoissonLikelihood"]

Array = NDArray[np.float64]

# NumPy draws no larger counts.
_MOST_EVENTS = 9e18

# A dispersion of less is none, of up to a billion events.
_LEAST_DISPERSION = 1e-12

# Logs of numbers that are none, and numbers that are divided by; counts that leave few digits, and the log of what
# no mean is of its count.
_LARGE, _TINY, _MANY, _NEVER = 700.0, 1e-300, 1e5, 50.0


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
    """Events over an exposure, which come independently, (33b): the log of their rate follows the line.

    The number of events k has mean and variance mu = exposure * exp(line). Under an exposure of one the line is that
    of the log of the expected count.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> X, events, hours = [[0.0], [1.0], [2.0], [3.0]], [3, 8, 9, 44], [1.0, 1.5, 1.0, 2.0]
    >>> model = BayesianErrorsInVariablesRegressor(likelihood="poisson").fit(X, events, exposure=hours)
    >>> model.predict_interval([[2.0]], exposure=10.0).ravel().round(-1)
    array([ 70., 140.])
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
        events, size, place, constant = _counted(data)
        less_one = np.expm1 if np.max(size, initial=1.0) > _MANY else np.exp

        def log_density(eta: Array) -> Array:
            # By the log of the mean over the count: many events keep their digits.
            u = eta + place
            value = u * events
            beyond = u - _NEVER
            if beyond.max(initial=0.0) > 0.0:
                # Of means so far above the count a parabola will do: Newton's method comes back in a step.
                np.minimum(u, _NEVER, out=u)
                np.maximum(beyond, 0.0, out=beyond)
                less_one(u, out=u)
                u *= 1.0 + beyond + 0.5 * np.square(beyond)
            else:
                less_one(u, out=u)
            u *= size
            value -= u
            value += constant
            return value

        return log_density

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        at_most, _ = self.tails(eta, values, data)
        return np.maximum(at_most - 0.5 * np.exp(self.log_density(eta, values, data)), 0.0)

    def tails(self, eta: Array, values: Mapping[str, Array], data: Observations) -> tuple[Array, Array]:
        of = _events(data) + 1.0, _mean(eta, data)
        return gammaincc(*of), gammainc(*of)

    @property
    def given_underlying(self) -> Likelihood:
        return self

    def at_most(self, eta: Array, counts: Array, trials: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(gammaincc(counts + 1.0, np.exp(eta) * trials))

    def exceeding(self, counts: Array, trials: Array, narrow: Array) -> tuple[Array, Array]:
        # More than k events are counted where the (k + 1)th, whose expected number is Gamma(k + 1), has come.
        a = counts + 1.0
        sd = 1.0 / np.sqrt(a)
        if (sd <= np.minimum(narrow, np.sqrt(2.0))).all():
            points, masses = few_points_of_log_odds(a)
            return points - np.log(trials)[:, None], np.broadcast_to(masses, points.shape)
        # As far as its log's tails, exp(a u) and, at the most a bell's, exp(-a exp(u)), reach.
        low, high = 6.0 + 12.0 / (a * sd), 8.0
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
        events, size, place, _ = _counted(data)
        u = eta + place
        curvature = size * np.exp(np.minimum(u, _NEVER))
        slope = events - curvature * (1.0 + np.maximum(u - _NEVER, 0.0))
        return Derivatives(self.log_density(eta, {}, data), slope[None], -curvature[None, None], curvature)

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        import pymc as pm

        return "Poisson", {"mu": data.trials * pm.math.exp(eta)}

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        return data.trials * (data.y * eta - pt.exp(eta))

    def tails_graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> tuple[Any, Any]:
        import pytensor.tensor as pt

        of = data.y * data.trials + 1.0, data.trials * pt.exp(eta)
        return pt.gammaincc(*of), pt.gammainc(*of)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return data.trials * share


class NegativeBinomialLikelihood(_OfRates):
    """Events over an exposure, whose rate varies from row to row, by a gamma distribution about the line's, (33b).

    The number of events k has mean mu = exposure * exp(line) and variance mu + phi * mu**2. The dispersion phi is the
    squared coefficient of variation of the rates that underlie; 0 is Poisson's distribution, and PyMC's ``alpha`` is
    1 / phi. Rows of which hardly any event is expected say little of phi.

    Parameters
    ----------
    dispersion_prior : ScalePrior, default=None
        Prior of phi; None: ``HalfStudentT(3, 0.5)``, about even where rates vary by less than a half, with a tail
        that holds down no overdispersion that rows show.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, hours = rng.normal(size=(200, 1)), rng.uniform(1.0, 9.0, 200)
    >>> events = rng.poisson(rng.gamma(2.0, 0.5, 200) * hours * np.exp(1.0 + 0.5 * X[:, 0]))
    >>> model = BayesianErrorsInVariablesRegressor(likelihood="negative_binomial", random_state=0)
    >>> round(model.fit(X, events, exposure=hours).dispersion_, 1)
    0.5
    """

    name = "negative_binomial"
    takes_more = ", and at their exposures, or leave them out"

    def __init__(self, dispersion_prior: ScalePrior | None = None):
        self.dispersion_prior = dispersion_prior

    def check(self, argument: str) -> None:
        self._prior(f"{argument}__dispersion_prior")

    def _prior(self, key: str = "dispersion_prior") -> ScalePrior:
        default = HalfStudentT(3.0, 0.5)
        prior: ScalePrior = given_prior(
            self.dispersion_prior, default, ScalePrior, key, "HalfStudentT(3, 0.5)"
        )
        return prior

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        return (Auxiliary("dispersion", self._prior(), FoldedRoot(), 0.05),)

    def given(self, values: Mapping[str, Array], data: Observations) -> Callable[[Array], Array]:
        events, log_exposure = _events(data), np.log(data.trials)
        phi = np.maximum(values["dispersion"], _LEAST_DISPERSION)
        log_phi, more = np.log(phi), 1.0 / phi
        constant, some = _ways(phi, events, data), events + more
        # A third of the other logarithm's cost, where what it loses is multiplied by little.
        many_digits = float(more.max()) < 1e5

        def log_density(eta: Array) -> Array:
            # With x = phi mu: k log(x) - (k + 1 / phi) log(1 + x), by the log of x where that is large.
            line = eta + log_exposure
            t = line + log_phi
            value = line * events
            if np.max(t) < _LARGE:
                np.exp(t, out=t)
                if many_digits:
                    t += 1.0
                    np.log(t, out=t)
                else:
                    np.log1p(t, out=t)
            else:
                t = np.maximum(t, 0.0) + np.log1p(np.exp(-np.abs(t)))
            value -= t * some
            value += constant
            return value

        return log_density

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        at_most, _ = self.tails(eta, values, data)
        return np.maximum(at_most - 0.5 * np.exp(self.log_density(eta, values, data)), 0.0)

    def tails(self, eta: Array, values: Mapping[str, Array], data: Observations) -> tuple[Array, Array]:
        phi = np.maximum(values["dispersion"], _LEAST_DISPERSION)
        with np.errstate(over="ignore"):
            odds = phi * _mean(eta, data)
        of = _events(data) + 1.0, 1.0 / phi, 1.0 / (1.0 + 1.0 / np.maximum(odds, _TINY))
        return np.asarray(betaincc(*of)), np.asarray(betainc(*of))

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return mean / data.trials + values["dispersion"] * np.square(mean)

    @property
    def underlying(self) -> Likelihood:
        return _GammaLikelihood(self.dispersion_prior)

    @property
    def given_underlying(self) -> Likelihood:
        return PoissonLikelihood()

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        events = np.minimum(_drawn_rates(eta, values, rng) * data.trials, _MOST_EVENTS)
        return rng.poisson(events) / data.trials

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        events, mean, root = _events(data), _mean(eta, data), float(coordinates[0])
        phi = max(root**2, _LEAST_DISPERSION)
        x, (distinct, which) = phi * mean, _distinct(events, data)
        slope, bend_of_rising = (part[which] for part in rising_derivatives(np.array(phi), distinct)[1:3])
        rest = 1.0 / (1.0 + x)
        excess, bend = log_excess(x)
        in_eta, eta_eta = (events - mean) * rest, -mean * (1.0 + phi * events) * np.square(rest)
        # In the dispersion, then in its root; of log(1 + x) / phi what is left where both are small.
        in_phi = slope + np.square(mean) * (excess + rest) - events * mean * rest
        phi_phi = bend_of_rising + mean**3 * (bend - rest**2) + events * np.square(mean * rest)
        eta_phi = -(events - mean) * mean * np.square(rest)
        in_root, eta_root = 2.0 * root * in_phi, 2.0 * root * eta_phi
        return Derivatives(
            self.log_density(eta, {"dispersion": np.array(phi)}, data),
            np.array([in_eta, in_root]),
            np.array([[eta_eta, eta_root], [eta_root, 2.0 * in_phi + 4.0 * phi * phi_phi]]),
            mean * rest,
        )

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        import pymc as pm

        return "NegativeBinomial", {"mu": data.trials * pm.math.exp(eta), "alpha": 1.0 / values["dispersion"]}

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        events, phi = data.trials * data.y, values["dispersion"] + _LEAST_DISPERSION
        rising = log_product_graph(pt.ones_like(events), phi, events)
        return rising + events * eta - (events + 1.0 / phi) * pt.softplus(eta + pt.log(phi * data.trials))

    def tails_graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> tuple[Any, Any]:
        import pytensor.tensor as pt

        phi, more = values["dispersion"], data.y * data.trials + 1.0
        odds = phi * data.trials * pt.exp(eta)
        at_most = pt.betainc(1.0 / phi, more, 1.0 / (1.0 + odds))
        return at_most, pt.betainc(more, 1.0 / phi, odds / (1.0 + odds))

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        mean = data.trials * share
        return mean / (1.0 + values["dispersion"] * mean)


class _GammaLikelihood(NegativeBinomialLikelihood):
    """The rates that underlie: as if exposures were without end. What is new to them is what predictions ask."""

    per = None

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        shape = 1.0 / np.maximum(values["dispersion"], _LEAST_DISPERSION)
        # By the log of the rate over its mean, so that many events keep their digits.
        with np.errstate(divide="ignore", over="ignore"):
            u = np.log(data.y) - eta
            log_density = shape * (u - np.exp(u)) - eta - u
        return log_density + xlogy(shape, shape) - gammaln(shape)

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        shape = 1.0 / np.maximum(values["dispersion"], _LEAST_DISPERSION)
        with np.errstate(over="ignore"):
            return np.asarray(gammainc(shape, shape * data.y * np.exp(-eta)))

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return values["dispersion"] * np.square(mean)

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        return _drawn_rates(eta, values, rng)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return 1.0 / np.maximum(values["dispersion"], _LEAST_DISPERSION)


def _drawn_rates(eta: Array, values: Mapping[str, Array], rng: np.random.Generator) -> Array:
    """Return rates that vary about the line's."""
    phi = np.maximum(values["dispersion"], _LEAST_DISPERSION)
    with np.errstate(over="ignore"):
        return rng.gamma(1.0 / phi, phi, np.broadcast_shapes(np.shape(phi), np.shape(eta))) * np.exp(eta)


def _ways(phi: Array, events: Array, data: Observations) -> Array:
    """Return the log of prod_{j < k} (1 + j phi) / k!, once for all rows of as many events if phi is one number."""
    if events.ndim > 1 or (phi.ndim and phi.shape[-1] > 1):
        return log_product(np.ones(1), phi, events) - gammaln(events + 1.0)
    distinct, which = _distinct(events, data)
    ways = log_product(np.ones(1), phi, distinct) - gammaln(distinct + 1.0)
    return np.take(ways, which, axis=-1)


def _distinct(events: Array, data: Observations) -> tuple[Array, NDArray[np.intp]]:
    """Return the numbers of events that there are, in order, and which of them each row has."""
    if "distinct" not in data.found:
        data.found["distinct"] = np.unique(events, return_inverse=True)
    found: tuple[Array, NDArray[np.intp]] = data.found["distinct"]
    return found


def _events(data: Observations) -> Array:
    """Return the numbers of events; rates times exposures miss them by rounding."""
    return np.rint(data.y * data.trials)


def _mean(eta: Array, data: Observations) -> Array:
    """Return the expected numbers of events."""
    with np.errstate(over="ignore"):
        return np.exp(eta) * data.trials


def _counted(data: Observations) -> tuple[Array, Array, Array, Array]:
    """Return numbers of events, these but one for none, logs of exposures over these, and what depends on no line."""
    if "events" not in data.found:
        events = _events(data)
        size = np.maximum(events, 1.0)
        if np.max(size, initial=1.0) > _MANY:  # with the mean at the count; Stirling's series for many
            constant = np.where(events > 0.0, -0.5 * np.log(2.0 * np.pi * size) - 1.0 / (12.0 * size), -1.0)
            few = size < 100.0
            constant[few] = (events * np.log(size) - size - gammaln(events + 1.0))[few]
        else:
            constant = events * np.log(size) - gammaln(events + 1.0)
        data.found["events"] = events, size, np.log(data.trials) - np.log(size), constant
    found: tuple[Array, Array, Array, Array] = data.found["events"]
    return found
