"""From checked data to a fitted posterior: settle the errors of the target, build the Problem, have it solved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import CountErrors, TargetErrors, observed_share, pooled_share
from .feature_errors import FeatureErrors
from .inference import (
    Noise,
    Posterior,
    Problem,
    Rows,
    SamplerSettings,
    choose,
    number_of_components,
    reweight,
    reweight_again,
    solve,
    solve_in_turn,
)
from .likelihoods import Likelihood, NormalLikelihood

Array = NDArray[np.float64]

# Refits by a sampler, whose fitted shares differ from those of the Gaussian approximation that errors are settled
# with, as long as they change errors by more than this (root mean square, relative).
_REFITS, _SETTLED = 3, 0.01


@dataclass(frozen=True, eq=False)
class Specification:
    """The model, as the estimator's parameters say it."""

    noise: Noise
    standardize: bool
    priors: dict[str, Any]
    """Arguments of `Problem.build`: ``coef_prior``, ``intercept_prior`` (None: no intercept), ``noise_prior``."""
    count_error: str
    error_floor: float
    feature_errors: FeatureErrors | None = None
    n_components: int | None = 1
    """Of the true features' distribution; None: as many as the data speak for."""
    likelihood: Likelihood = field(default_factory=NormalLikelihood)
    trials: Array | None = None
    """(n,) counts behind shares whose likelihood takes them; None: one each."""

    def problem(self, rows: Rows, standard_error: Array | float | None, like: Problem | None) -> Problem:
        """Return the problem of the rows with these errors; `like` is one of the same rows under others."""
        return Problem.build(
            rows,
            standard_error,
            noise=self.noise,
            standardize=self.standardize,
            feature_errors=self.feature_errors,
            likelihood=self.likelihood,
            trials=self.trials,
            like=like,
            **self.priors,
        )


class Attenuation(NamedTuple):
    """What errors of the features would do to a fit that knew nothing of them."""

    naive: Array
    """(p,) the coefficients that it would find."""
    reliability: Array
    """(p,) share of each measured feature's variance that is the true one's."""


class Fit(NamedTuple):
    """A fitted model, and what it was fitted to."""

    problem: Problem
    posterior: Posterior
    """On the data's scale."""
    engine: str
    count_errors: CountErrors
    attenuation: Attenuation | None
    """Where features have errors."""


def fit(
    rows: Rows, errors: TargetErrors, model: Specification, inference: str, settings: SamplerSettings
) -> Fit:
    """Fit a model; more than once where errors depend on the fit, (13).

    Raises
    ------
    ValueError
        Where the posterior is improper, or no engine (that is asked for) can take the problem.
    """
    settled = settle(rows, errors, model, inference, settings)
    problem = settled.problem
    if problem.feature_errors is not None:
        return _with_feature_errors(settled, inference, settings)
    if settled.posterior is not None:
        return Fit(problem, settled.posterior, choose(problem, inference), settled.count_errors, None)
    posterior, engine = solve_in_turn(problem, inference, settings)
    count_errors = settled.count_errors
    if errors.counts is None or model.count_error == "observed" or model.likelihood.takes_trials:
        return Fit(problem, posterior, engine, count_errors, None)
    standard_error = np.asarray(problem.standard_error)
    for _ in range(_REFITS):
        count_errors, standard_error, change = reweight_again(
            posterior, rows, errors.counts, count_errors, standard_error, overdispersed=_overdispersed(model)
        )
        if change < _SETTLED:
            break
        problem = model.problem(rows, standard_error, problem)
        posterior = solve(problem, engine, settings)
    return Fit(problem, posterior, engine, count_errors, None)


def _with_feature_errors(settled: Settled, inference: str, settings: SamplerSettings) -> Fit:
    """Fit a model of features with errors, and say what they do.

    Count errors stay those of the fit without feature errors: its shares are what measured features let one expect.
    """
    problem = settled.problem
    posterior, engine = solve_in_turn(problem, inference, settings)
    true, errors, rows = posterior.true_features, problem.feature_errors, problem.rows
    if true is None or errors is None:  # for the type checker
        raise AssertionError
    exact = np.asarray(rows.take(slice(None)), dtype=np.float64)[:, true.exact]
    covariance = np.cov(exact.T, aweights=rows.frequency, ddof=0).reshape(len(true.exact), len(true.exact))
    reliability = np.ones(rows.n_features)
    reliability[true.noisy] = true.reliability(
        posterior.weights, errors.mean_variance(rows.frequency), covariance
    )
    without = problem.without_feature_errors().gaussian_like()
    naive = solve(without, choose(without, "auto"), settings)
    return Fit(
        problem, posterior, engine, settled.count_errors, Attenuation(naive.mean[1:].copy(), reliability)
    )


class Settled(NamedTuple):
    """A problem whose errors are settled."""

    problem: Problem
    posterior: Posterior | None
    """Where settling them took fits by the engine itself: the last of them."""
    count_errors: CountErrors


def settle(
    rows: Rows, errors: TargetErrors, model: Specification, inference: str, settings: SamplerSettings
) -> Settled:
    """Return the problem to solve: errors of shares at the fitted ones need fits of their own.

    Those fits are exact ones: where the engine is another, with Gaussian priors about as wide.
    """
    settled = _with_errors(rows, errors, model, inference, settings)
    if model.feature_errors is None or model.n_components == 1:
        return settled
    if model.n_components is None and not model.likelihood.closed_form:
        raise ValueError(
            f"x_distribution='mixture' takes the normal likelihood, not {model.likelihood!r}: use"
            " x_distribution='normal'."
        )
    count = model.n_components or number_of_components(settled.problem)
    return settled._replace(problem=replace(settled.problem, n_components=count))


def _with_errors(
    rows: Rows, errors: TargetErrors, model: Specification, inference: str, settings: SamplerSettings
) -> Settled:
    """Return the problem with the target's errors settled."""
    count_errors = CountErrors(model.error_floor)
    if errors.counts is None or model.likelihood.takes_trials:
        return Settled(model.problem(rows, errors.standard_error, None), None, count_errors)
    counts = errors.counts
    if model.count_error == "observed":
        bernoulli = count_errors.bernoulli_variance(observed_share(rows.y, counts), counts)
        standard_error = count_errors.standard_error(bernoulli, counts)
        return Settled(model.problem(rows, standard_error, None), None, count_errors)
    pooled = pooled_share(rows.y, counts, rows.frequency)
    problem: Problem | None = None
    engine = ""

    def solve_at(standard_error: Array) -> Posterior:
        nonlocal problem, engine
        problem = model.problem(rows, standard_error, problem)
        engine = engine or choose(problem, inference)
        return solve(problem if engine == "exact" else problem.exact_like(), "exact", settings)

    posterior, _, count_errors = reweight(
        solve_at,
        rows,
        counts,
        replace(count_errors, pooled=pooled),
        pooled,
        overdispersed=_overdispersed(model),
    )
    if problem is None:  # for the type checker: every reweighting fits
        raise AssertionError
    return Settled(problem, posterior if engine == "exact" else None, count_errors)


def _overdispersed(model: Specification) -> bool:
    """Return whether extra-binomial variation is estimated.

    Additive noise is such variation itself, and known errors leave no room for any; errors of features look like it.
    """
    return model.noise == "scaled" and model.feature_errors is None
