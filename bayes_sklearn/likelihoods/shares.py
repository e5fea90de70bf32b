"""Shares k/n: binomial and beta-binomial successes, log odds of the line."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln, expit

from ..priors.base import ScalePrior, UnitPrior
from .base import Derivatives, Likelihood, Observations
from .links import LOGIT
from .noise import Noise
from .over_line.vectorised import exp_graph, log_one_plus_graph
from .parameters import Auxiliary, FoldedOdds
from .proportions import LOG_ODDS, SLOPES, TINY, BetaLikelihood, resolved_dispersion_prior, shapes_graph
from .special_functions import (
    counts_below,
    few_points_of_log_odds,
    log_beta_below,
    log_expit,
    log_one_less,
    log_one_plus,
    log_product,
    log_product_graph,
    log_rising,
    log_sum_of_counts,
    rising_derivatives,
    without_rounding,
)

__all__ = ["BetaBinomialLikelihood", "BinomialLikelihood", "counts"]

Array = NDArray[np.float64]


def counts(data: Observations) -> tuple[Array, Array]:
    """Return successes and failures of shares, (n,) each (of rates, counts alone), rounded where nearly whole.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods import Observations, counts
    >>> counts(Observations(np.array([0.1, 0.5]), trials=np.array([10.0, 4.0])))
    (array([1., 2.]), array([9., 2.]))
    """
    trials = np.asarray(data.trials, dtype=np.float64)
    successes = without_rounding(data.y * trials, trials)
    return successes, trials - successes


class _OfShares(Likelihood):
    """A likelihood of counts among trials."""

    link = LOGIT
    per: ClassVar[Literal["trials"] | None] = "trials"
    intercept_prior = LOG_ODDS
    coef_prior = SLOPES

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return self.given(values, data)(eta)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return data.trials * share * (1.0 - share)

    def log_between(
        self, eta: Array, values: Mapping[str, Array], data: Observations, lower: Array, upper: Array
    ) -> Array:
        trials = np.rint(data.trials)
        first, last = counts_below(lower, trials) + 1.0, counts_below(upper, trials)
        given = (eta, trials, np.maximum(first, 0.0), np.minimum(last, trials), *values.values())
        eta, trials, first, last, *parameters = np.broadcast_arrays(*given)
        of = dict(zip(values, parameters, strict=True))
        return np.where(first > last, -np.inf, np.minimum(self._log_among(eta, of, trials, first, last), 0.0))

    @abstractmethod
    def _log_among(
        self, eta: Array, values: Mapping[str, Array], trials: Array, first: Array, last: Array
    ) -> Array:
        """Return the log probability of counts from the first to the last, of one shape; anything of none."""


class BinomialLikelihood(_OfShares):
    """Counts among trials, each a success with the same probability, (31): the share's log odds follow the line.

    The target is the share, k / n. Shares that are rounded, so that k is not whole, are taken as they are, with gamma
    functions for factorials.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, BinomialLikelihood
    >>> X, shares, trials = [[0.0], [1.0], [2.0], [3.0]], [0.1, 0.3, 0.5, 0.8], [20, 10, 40, 20]
    >>> model = BayesianErrorsInVariablesRegressor(likelihood=BinomialLikelihood(), random_state=0)
    >>> model.fit(X, shares, trials).predict([[1.5]]).round(1)
    array([0.4])
    """

    name = "binomial"
    takes_more = (
        ", or use likelihood='beta_binomial', under which shares vary by more than their counts explain"
    )

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        return ()

    def given(self, values: Mapping[str, Array], data: Observations) -> Callable[[Array], Array]:
        (successes, failures, constant), trials = _counted(data), data.trials
        when_less, when_more = 0.5 * successes, 0.5 * failures

        def log_density(eta: Array) -> Array:
            # The counts of the other outcome stand alone where the line is large: nothing cancels.
            size = np.abs(eta)
            value = (eta - size) * when_less
            value += constant
            size += eta
            value -= size * when_more
            value -= log_one_plus(eta) * trials
            return value

        return log_density

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        data = _whole(data)
        successes, failures = counts(data)
        # Of all trials no more can be had; the function has no value there.
        at_most = betainc(np.maximum(failures, 1.0), successes + 1.0, expit(-eta))
        at_most = np.where(failures == 0.0, 1.0, at_most)
        return np.maximum(at_most - 0.5 * np.exp(self.log_density(eta, values, data)), 0.0)

    def _log_among(
        self, eta: Array, values: Mapping[str, Array], trials: Array, first: Array, last: Array
    ) -> Array:
        # By the tail that is less.
        below = 0.5 * (first + last) < trials * expit(eta)
        first, last = np.where(below, trials - last, first), np.where(below, trials - first, last)
        eta = np.where(below, -eta, eta)
        log_x, log_rest = log_expit(eta), log_expit(-eta)

        def at_least(count: Array) -> Array:
            inside = np.clip(count, 1.0, trials)
            log = log_beta_below(inside, trials - inside + 1.0, log_x, log_rest)
            return np.where(count > trials, -np.inf, np.where(count <= 0.0, 0.0, log))

        top = at_least(first)
        return top + log_one_less(np.maximum(top - at_least(last + 1.0), np.finfo(np.float64).tiny))

    @property
    def given_underlying(self) -> Likelihood:
        return self

    def at_most(self, eta: Array, counts: Array, trials: Array) -> Array:
        return np.asarray(betainc(trials - counts, counts + 1.0, expit(-eta)))

    def exceeding(self, counts: Array, trials: Array, narrow: Array) -> tuple[Array, Array]:
        # Of n uniform numbers more than k are below p: the (k + 1)th is, which is Beta(k + 1, n - k).
        a, b = counts + 1.0, trials - counts
        sd = np.sqrt(1.0 / a + 1.0 / b)
        if (sd <= np.minimum(narrow, np.sqrt(2.0))).all():
            points, masses = few_points_of_log_odds(a, b)
            return points, np.broadcast_to(masses, points.shape)
        # As far as its log odds' tails, exp(a u) and exp(-b u), reach; a product of two bells is as narrow as both.
        low, high = 6.0 + 12.0 / (a * sd), 6.0 + 12.0 / (b * sd)
        spacing = 1.1 / np.hypot(1.0, sd / narrow)
        size = int(np.ceil(np.max((low + high) / spacing))) + 1
        z = -low[:, None] + (low + high)[:, None] * np.linspace(0.0, 1.0, size)
        middle = np.log(a / b)
        points = middle[:, None] + sd[:, None] * z
        log_density = a[:, None] * (points - middle[:, None])
        log_density -= (a + b)[:, None] * np.log1p((a / (a + b))[:, None] * np.expm1(sd[:, None] * z))
        weights = np.exp(log_density)
        return points, weights / weights.sum(axis=1, keepdims=True)

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return mean * (1.0 - mean) / data.trials

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        return _drawn_shares(expit(eta), data, rng)

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        successes, failures = counts(data)
        share, rest = expit(eta), expit(-eta)
        curvature = (successes + failures) * share * rest
        gradient = successes * rest - failures * share
        value = self.log_density(eta, {}, data)
        return Derivatives(value, gradient[None], -curvature[None, None], curvature)

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        return "Binomial", {"n": data.trials, "logit_p": eta}

    def tails_graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> tuple[Any, Any]:
        import pytensor.tensor as pt

        successes = pt.minimum(data.y * data.trials, data.trials - 1.0)
        more, failures, every = successes + 1.0, data.trials - successes, pt.ge(data.y, 1.0)
        at_most = pt.betainc(failures, more, pt.sigmoid(-eta))
        return (
            pt.switch(every, 1.0, at_most),
            pt.switch(every, 0.0, pt.betainc(more, failures, pt.sigmoid(eta))),
        )

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        rest = log_one_plus_graph(exp_graph(-abs(eta))) - np.log(2.0)  # that depends on the data alone
        return data.trials * (data.y * eta - pt.maximum(eta, 0.0) - rest)


class BetaBinomialLikelihood(_OfShares):
    """Counts among trials whose share varies from row to row, by a beta distribution about the line's share, (31).

    With mean share mu and dispersion rho, the intraclass correlation of two trials of a row, the beta distribution
    has alpha = mu (1 - rho) / rho and beta = (1 - mu) (1 - rho) / rho. Rows of one trial say nothing of rho.

    Parameters
    ----------
    dispersion_prior : UnitPrior, default=None
        Prior of the dispersion; None: ``Beta(1, 9)``.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, Beta, BetaBinomialLikelihood
    >>> X, shares, trials = [[0.0], [1.0], [2.0], [3.0]], [0.1, 0.3, 0.5, 0.8], [20, 10, 40, 20]
    >>> likelihood = BetaBinomialLikelihood(dispersion_prior=Beta(1.0, 9.0))
    >>> model = BayesianErrorsInVariablesRegressor(likelihood=likelihood, random_state=0)
    >>> model.fit(X, shares, trials).predict([[1.5]]).round(1)
    array([0.4])
    """

    name = "beta_binomial"
    takes_more = " and at their counts, or leave them out"

    def __init__(self, dispersion_prior: UnitPrior | None = None):
        self.dispersion_prior = dispersion_prior

    def check(self, argument: str) -> None:
        resolved_dispersion_prior(self.dispersion_prior, f"{argument}__dispersion_prior")

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        prior = resolved_dispersion_prior(self.dispersion_prior, "dispersion_prior")
        return (Auxiliary("dispersion", prior, FoldedOdds(), 0.05),)

    def given(self, values: Mapping[str, Array], data: Observations) -> Callable[[Array], Array]:
        # Of shares as small as these all but the first success is the beta distribution's: the log is linear.
        least_log = -200.0
        successes, failures, constant = _counted(data)
        dispersion = np.asarray(values["dispersion"])
        odds = dispersion / (1.0 - dispersion)
        constant = constant - log_rising(odds, successes + failures)

        def log_density(eta: Array) -> Array:
            rest = np.exp(np.clip(eta, least_log, -least_log))
            share = 1.0 / (1.0 + rest)
            rest *= share
            value = log_product(rest, odds, successes)
            value += log_product(share, odds, failures)
            value += constant
            if np.max(np.abs(eta)) > -least_log:
                value += np.minimum(eta - least_log, 0.0) * (successes > 0.0)
                value += np.minimum(-eta - least_log, 0.0) * (failures > 0.0)
            return value

        return log_density

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        data = _whole(data)
        at_most = np.exp(self.log_between(eta, values, data, np.full_like(data.y, -1.0), data.y))
        return np.maximum(at_most - 0.5 * np.exp(self.log_density(eta, values, data)), 0.0)

    def _log_among(
        self, eta: Array, values: Mapping[str, Array], trials: Array, first: Array, last: Array
    ) -> Array:
        # What lies outside, where it is fewer counts, but for what it leaves too few digits of.
        outer = 2.0 * (last - first + 1.0) > trials + 1.0
        below = self._log_sum(eta, values, trials, np.zeros_like(first), np.where(outer, first - 1.0, -1.0))
        above = self._log_sum(eta, values, trials, np.where(outer, last, trials) + 1.0, trials)
        outside = np.minimum(np.logaddexp(below, above), 0.0)
        inner = ~outer | (outside > -0.01)
        inside = self._log_sum(eta, values, trials, first, np.where(inner, last, first - 1.0))
        return np.where(inner, inside, log_one_less(-outside))

    def _log_sum(
        self, eta: Array, values: Mapping[str, Array], trials: Array, first: Array, last: Array
    ) -> Array:
        """Return `_log_among`, -inf of none, by a sum from the likelier end to the other."""
        most = 690.0
        found = np.full(eta.shape, -np.inf)
        some = first <= last
        if not some.any():
            return found
        values = {name: value[some] for name, value in values.items()}
        eta, trials, first, last = (of[some] for of in (eta, trials, first, last))
        ends = [self.log_density(eta, values, Observations(k / trials, trials=trials)) for k in (first, last)]
        up = ends[0] > ends[1]
        line = np.clip(np.where(up, -eta, eta), -most, most)
        successes = np.where(up, trials - first, last)
        odds = values["dispersion"] / (1.0 - values["dispersion"])
        log = log_sum_of_counts(
            expit(line),
            expit(-line),
            odds,
            successes,
            trials - successes,
            last - first,
            np.exp(-np.abs(ends[0] - ends[1])),
        )
        found[some] = np.maximum(*ends) + log
        return found

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        dispersion = values["dispersion"]
        return mean * (1.0 - mean) * (dispersion + (1.0 - dispersion) / data.trials)

    @property
    def underlying(self) -> Likelihood:
        return BetaLikelihood(self.dispersion_prior)

    @property
    def given_underlying(self) -> Likelihood:
        return BinomialLikelihood()

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        dispersion = np.maximum(values["dispersion"], TINY)
        precision = (1.0 - dispersion) / dispersion
        alpha, beta = (np.maximum(expit(line) * precision, TINY) for line in (eta, -eta))
        return _drawn_shares(rng.beta(alpha, beta), data, rng)

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        successes, failures = counts(data)
        root = float(coordinates[0])
        odds = root**2
        log_share = log_expit(eta)
        log_rest = log_share - eta
        share, rest = np.exp(log_share), np.exp(log_rest)
        up = rising_derivatives(odds / share, successes)
        down = rising_derivatives(odds / rest, failures)
        both = rising_derivatives(np.full(np.shape(eta), odds), successes + failures)
        value = successes * log_share + failures * log_rest + up.value + down.value - both.value
        won, lost = successes - up.log_slope, failures - down.log_slope
        in_eta = won * rest - lost * share
        eta_eta = up.log_bend * rest**2 + down.log_bend * share**2 - share * rest * (won + lost)
        # In the odds of the dispersion, then in their root.
        in_odds = up.slope / share + down.slope / rest - both.slope
        eta_odds = down.cross * share / rest - up.cross * rest / share
        odds_odds = up.bend / share**2 + down.bend / rest**2 - both.bend
        in_root, eta_root = 2.0 * root * in_odds, 2.0 * root * eta_odds
        root_root = 2.0 * in_odds + 4.0 * odds * odds_odds
        trials = successes + failures
        correlated = 1.0 + odds * (trials - 1.0) / (1.0 + odds)
        curvature = trials * share * rest / np.maximum(correlated, 0.5)
        return Derivatives(
            value + _log_choose(successes, failures),
            np.array([in_eta, in_root]),
            np.array([[eta_eta, eta_root], [eta_root, root_root]]),
            curvature,
        )

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        return "BetaBinomial", {"n": data.trials, **shapes_graph(eta, values)}

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        successes = data.trials * data.y
        failures = data.trials - successes
        odds = values["dispersion"] / (1.0 - values["dispersion"])
        # One expression for the three: what it takes to compile goes with the number of operations.
        none = pt.zeros_like(pt.atleast_2d(eta))
        share = [pt.sigmoid(eta) + none, pt.sigmoid(-eta) + none, 1.0 + none[:1]]
        of = [successes + none, failures + none, data.trials + none[:1]]
        products = log_product_graph(pt.maximum(pt.concatenate(share), TINY), odds, pt.concatenate(of))
        k = none.shape[0]
        return (products[:k] + products[k : 2 * k] - products[2 * k]).reshape(eta.shape)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        correlated = 1.0 + (data.trials - 1.0) * values["dispersion"]
        return super().information(values, data, share) / correlated


def _whole(data: Observations) -> Observations:
    """Return shares of whole counts."""
    trials = np.broadcast_to(np.asarray(data.trials, dtype=np.float64), data.y.shape)
    return replace(data, y=np.rint(data.y * trials) / trials, trials=trials)


def _drawn_shares(probability: Array, data: Observations, rng: np.random.Generator) -> Array:
    """Return shares of successes among the rows' trials."""
    trials = np.maximum(np.rint(data.trials), 1.0)
    return rng.binomial(trials.astype(np.int64), probability) / trials


def _counted(data: Observations) -> tuple[Array, Array, Array]:
    """Return successes, failures and the log of the binomial coefficient, found once."""
    if "counted" not in data.found:
        successes, failures = counts(data)
        data.found["counted"] = successes, failures, _log_choose(successes, failures)
    found: tuple[Array, Array, Array] = data.found["counted"]
    return found


def _log_choose(successes: Array, failures: Array) -> Array:
    """Return the log of the binomial coefficient."""
    return -betaln(successes + 1.0, failures + 1.0) - np.log1p(successes + failures)
