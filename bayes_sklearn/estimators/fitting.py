"""From checked data to a fitted posterior: settle the errors of the target, build the Problem, have it solved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inference import choose, solve, solve_in_turn
from ..inference._compat import quietly
from ..inference.count_reweighting import (
    CountedRows,
    Line,
    Outside,
    Settled,
    Shares,
    outside_of,
    settle_errors,
)
from ..inference.exact.engine import refined
from ..inference.importance.engine import number_of_components
from ..inference.posterior import Posterior, line_mean_and_variance
from ..inference.problem import Problem
from ..inference.scaling import PriorUnits
from ..inference.settings import SamplerSettings
from ..inference.structural.true_features import TrueFeatures
from ..inference.under_scatters import Correlated
from ..likelihoods.additive import NormalLikelihood
from ..likelihoods.base import Likelihood
from ..likelihoods.noise import Noise
from ..likelihoods.parameters import Auxiliary
from ..measurements.compressed import Compressed, Rows
from ..measurements.correlated.shared_readings import Readings, readings_of
from ..measurements.feature_errors import FeatureErrors
from ..measurements.groups.labels import Groupings
from ..measurements.messages import remembered, warn
from ..measurements.missing import telling
from ..measurements.target_errors import CountErrors, TargetErrors, pooled_share
from ..priors.base import ScalePrior
from .errors.factors import likely_errors
from .groups.beside_errors import rough_coefficients, ungrouped, with_levels

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
    state: Compressed | None = None
    """Of the rows that those to fit stand for; None: they stand for themselves."""
    prior_units: PriorUnits | None = None
    """What priors are in units of; None: it follows from the rows to fit."""
    relative_to: float | None = None
    """Root mean square of errors that are known up to a factor; None: they are known outright, or not at all."""
    truncation: tuple[float, float] | None = None
    """Limits between which the target of every row that is in the table lies."""
    outliers: tuple[Auxiliary, ...] = ()
    """What is learned of wild readings of features; empty: none is wild."""
    groupings: Groupings | None = None
    """How rows hang together; None: they do not."""
    group_prior: ScalePrior | None = None
    """Of the standard deviation of each kind of the groups' effects."""
    error_freedom: Array | None = None
    """(q,) degrees of freedom with which each feature's errors are known; None: outright."""
    correlated: Correlated | None = None
    """What errors of the target have in common from row to row; None: nothing."""

    @property
    def takes_fitted_errors(self) -> bool:
        """Whether errors of shares are taken at the fitted ones."""
        return self.count_error == "fitted" and not self.likelihood.counted

    @property
    def overdispersed(self) -> bool:
        """Whether extra-binomial variation is estimated.

        Additive noise is such variation itself, and known errors leave no room for any; errors of features look like
        it, and so do groups.
        """
        return self.noise.only_multiplies and self.feature_errors is None and self.groupings is None

    def count_errors(self, pooled: float | None = None) -> CountErrors:
        """Return how counts give errors at first."""
        return CountErrors(self.error_floor, pooled)

    def problem(self, rows: Rows, standard_error: Array | float | None, like: Problem | None) -> Problem:
        """Return the problem of the rows with these errors; `like` is one of the same rows under others."""
        found = Problem.build(
            rows,
            standard_error,
            noise=self.noise,
            standardize=self.standardize,
            feature_errors=self.feature_errors,
            likelihood=self.likelihood,
            trials=self.trials,
            like=like,
            state=self.state,
            prior_units=self.prior_units,
            relative_to=self.relative_to,
            correlated=self.correlated,
            **self.priors,
        )
        if self.feature_errors is not None:
            found = replace(found, outliers=self.outliers, error_freedom=self.error_freedom)
        if self.groupings is not None and self.group_prior is not None:
            found = found.grouped(self.groupings, self.group_prior)
        if rows.limits is not None:
            found = found.censored(rows.limits)
        return found if self.truncation is None else found.selected(self.truncation)


class Attenuation(NamedTuple):
    """What errors of the features would do to a fit that knew nothing of them."""

    naive: Array
    """(p,) the coefficients that it would find."""
    reliability: Array
    """(p,) share of each measured feature's variance that is the true one's."""
    of_its_own: Array
    """(p,) the same given the exact features."""
    of_its_own_error: Array
    """(p,) posterior standard deviation of that."""
    hidden: NDArray[np.bool_]
    """(p,) whether errors are as large as the spread, or leave too little known of what is beside them."""


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
    factor, likely, of_features = likely_errors(model.noise, rows, errors, model.feature_errors)
    if factor == 1.0:
        return _fit(rows, errors, model, inference, settings)
    state = None if model.state is None else model.state.with_error(factor)
    found = _fit(rows, likely, replace(model, feature_errors=of_features, state=state), inference, settings)
    problem = replace(
        found.problem, feature_errors=model.feature_errors, standard_error=errors.standard_error
    )
    return found._replace(problem=problem, posterior=found.posterior.at_factor(factor))


def _fit(
    rows: Rows, errors: TargetErrors, model: Specification, inference: str, settings: SamplerSettings
) -> Fit:
    counts = errors.counts
    if counts is not None and model.takes_fitted_errors:
        return fit_shares(SharesInMemory(rows, counts, model), model, inference, settings)
    problem = settle(rows, errors, model, inference, settings)
    if problem.feature_errors is not None:
        return _with_feature_errors(problem, model.count_errors(), inference, settings)
    posterior, engine = solve_in_turn(problem, inference, settings)
    if engine == "exact" and model.state is None:  # the rows are there
        posterior = refined(problem, posterior)
    if counts is not None and not model.likelihood.counted:
        every = -(-len(rows.y) // 100_000)  # nothing else takes a pass over all of them
        frequency = None if rows.frequency is None else rows.frequency[::every]
        some = replace(rows, X=rows.X[::every], y=rows.y[::every], frequency=frequency)
        pooled = pooled_share(rows.y, counts, rows.frequency)
        _warn_of_shares_outside(posterior, outside_of(Line.of(posterior), some), pooled)
    return Fit(problem, posterior, engine, model.count_errors(), None)


def _warn_of_shares_outside(posterior: Posterior, outside: Outside, pooled: float) -> None:
    """Warn where a line is surely and notably below 0 or above 1 at rows of the fit."""
    # By more than so many standard deviations, and this part of the pooled share (or the failures, if fewer).
    surely, notably = 2.0, 0.05
    if outside.x is None:
        return
    row = Rows(outside.x[None, :], np.zeros(1))
    share, deviation = (float(found[0]) for found in line_mean_and_variance(posterior, row, root=True))
    by = max(-share, share - 1.0)
    if by > surely * deviation and by > notably * min(pooled, 1.0 - pooled):
        warn(
            f"The line lies outside 0 to 1 at {outside.n_rows} rows of the fit, at worst at {share:.2g} +-"
            f" {deviation:.1g}: a straight line is no good model of these shares. Use likelihood='beta_binomial' or"
            " 'binomial', whose shares stay inside.",
        )


class SharesInMemory(CountedRows):
    """Shares in one table."""

    def __init__(self, rows: Rows, counts: Array, model: Specification):
        self.pooled = pooled_share(rows.y, counts, rows.frequency)
        super().__init__(rows, counts, model.count_errors(self.pooled), self.pooled)
        self._model = model
        self._problem: Problem | None = None

    def problem(self) -> Problem:
        self._problem = self._model.problem(self.rows, self.standard_error, self._problem)
        return self._problem


def fit_shares(shares: Shares, model: Specification, inference: str, settings: SamplerSettings) -> Fit:
    """Fit shares whose errors are taken at the fitted ones, (13)."""
    engine, settled = _settle_shares(shares, model, inference, settings)
    problem, count_errors = settled.problem, settled.errors
    if problem.feature_errors is not None:
        problem = _with_components(problem, model)
        _warn_of_shares_outside(settled.posterior, shares.outside, shares.pooled)
        return _with_feature_errors(problem, count_errors, inference, settings)
    if engine == "exact":
        _warn_of_shares_outside(settled.posterior, shares.outside, shares.pooled)
        return Fit(problem, settled.posterior, engine, count_errors, None)
    problem = _kept(problem)
    posterior, engine = solve_in_turn(problem, inference, settings)

    def found_again(found: float) -> CountErrors:
        return replace(count_errors, overdispersion=found)

    for _ in range(_REFITS):
        moved, change = shares.move(
            Line.of(posterior), count_errors, 1.0, found_again if model.overdispersed else None
        )
        if change < _SETTLED:
            break
        count_errors, problem = moved, _kept(shares.problem())
        posterior = solve(problem, engine, settings)
    _warn_of_shares_outside(posterior, shares.outside, shares.pooled)
    return Fit(problem, posterior, engine, count_errors, None)


def _kept(problem: Problem) -> Problem:
    """Return the problem with errors of its own: those of the table are moved on."""
    error = problem.standard_error
    return replace(problem, standard_error=error.copy()) if isinstance(error, np.ndarray) else problem


def _with_feature_errors(
    problem: Problem, count_errors: CountErrors, inference: str, settings: SamplerSettings
) -> Fit:
    """Fit a model of features with errors, and say what they do.

    Count errors stay those of the fit without feature errors: its shares are what measured features let one expect.
    """
    posterior, engine = solve_in_turn(problem, inference, settings)
    true = posterior.true_features
    if true is None or problem.feature_errors is None:  # for the type checker
        raise AssertionError
    rows, errors, *_ = readings_of(problem.rows, problem.feature_errors, None)
    every = np.asarray(rows.take(slice(None)), dtype=np.float64)
    exact = every[:, true.exact]
    covariance = np.cov(exact.T, aweights=rows.frequency, ddof=0).reshape(len(true.exact), len(true.exact))
    mean, weights = telling(errors, rows).typical(rows.frequency), posterior.weights
    error, spread_of = np.diagonal(mean.covariance), with_levels(true, posterior)
    reliability, own, spread = np.ones(rows.n_features), np.ones(rows.n_features), np.zeros(rows.n_features)
    reliability[true.noisy] = weights @ spread_of.reliability(error, covariance)
    left = spread_of.reliability(error, np.zeros_like(covariance))
    own[true.noisy] = weights @ left
    spread[true.noisy] = np.sqrt(weights @ np.square(left - own[true.noisy]))
    without = problem.without_feature_errors().gaussian_like()
    engine_of = choose(without, "auto")
    with quietly(), remembered():  # a fit for comparison
        if without.groupings is not None and engine_of != "exact":
            naive = rough_coefficients(without)
        else:
            naive = solve(without, engine_of, replace(settings, nodes=1024, roughly=True)).mean[1:].copy()
    hidden = spread >= 0.3 * own  # too little is known of the reliability
    hidden[true.noisy] |= _likely(errors, posterior).exceed(every[:, true.noisy], rows.frequency)
    attenuation = Attenuation(naive, reliability, own, spread, hidden)
    return Fit(problem, posterior, engine, count_errors, attenuation)


def _likely(errors: FeatureErrors, posterior: Posterior) -> FeatureErrors:
    """Return errors of features as they are found, where they are known up to a factor."""
    true = posterior.true_features
    if not isinstance(true, TrueFeatures) or true.error_factor is None:
        return errors
    factor = posterior.weights @ true.error_factor
    return replace(errors, covariance=errors.covariance * factor[:, None] * factor)


def settle(
    rows: Rows, errors: TargetErrors, model: Specification, inference: str, settings: SamplerSettings
) -> Problem:
    """Return the problem to solve: errors of shares at the fitted ones need fits of their own.

    Those fits are exact ones: where the engine is another, with Gaussian priors about as wide.
    """
    counts, standard_error = errors.counts, errors.standard_error
    if counts is not None and model.takes_fitted_errors:
        shares = SharesInMemory(rows, counts, model)
        return _with_components(_settle_shares(shares, model, inference, settings)[1].problem, model)
    if counts is not None and not model.likelihood.counted:
        standard_error = model.count_errors().at_observed(rows.y, counts)
    return _with_components(model.problem(rows, standard_error, None), model)


def _settle_shares(
    shares: Shares, model: Specification, inference: str, settings: SamplerSettings
) -> tuple[str, Settled]:
    """Return the engine for the problem, and the problem with errors at the shares that exact fits find."""
    problem = shares.problem()
    engine = choose(problem, inference)

    def gaussian(problem: Problem) -> Posterior:
        return solve(problem if engine == "exact" else problem.exact_like(), "exact", settings)

    errors = model.count_errors(shares.pooled)
    return engine, settle_errors(shares, problem, gaussian, errors, overdispersed=model.overdispersed)


def _with_components(problem: Problem, model: Specification) -> Problem:
    """Return the problem with as many components of the true features' distribution as the model has."""
    if model.feature_errors is None or model.n_components == 1:
        return problem
    return replace(problem, n_components=model.n_components or number_of_components(problem))


def warn_of_readings(fitted: Fit, names: NDArray[Any]) -> None:
    """Warn of readings of features that are plainly not as normal true features and normal errors make them.

    Of skewed ones where a link bends the line: slopes lean on normal true features then. And of wild ones, which
    flatten the line: with the target, which tells what they should be, where its noise is normal.
    """
    problem, true, likelihood = fitted.problem, fitted.posterior.true_features, fitted.problem.likelihood
    if problem.feature_errors is None or not isinstance(true, TrueFeatures):
        return
    rows, errors, *_ = read = readings_of(problem.rows, problem.feature_errors, problem.standard_error)
    used, noisy = rows.used, errors.noisy
    X = np.asarray(rows.take(used), dtype=np.float64)
    # Of rows of which all was measured, with errors that leave something to be told.
    told = telling(errors, rows)
    lacking = told.take(used).unmeasured
    if lacking is not None:
        used, X = used[~lacking.any(axis=1)], X[~lacking.any(axis=1)]
    if rows.limits is not None:
        known = ~rows.limits.censored[used]
        used, X = used[known], X[known]
    weight = np.ones(len(used)) if rows.frequency is None else rows.frequency[used]
    if len(used) <= X.shape[1] + 1:
        return
    # Of what the exact features leave.
    exact, root = np.column_stack([np.ones(len(X)), np.delete(X, noisy, axis=1)]), np.sqrt(weight)[:, None]
    X, of_groups = ungrouped(problem, fitted.posterior, X, used)
    left = np.column_stack([X[:, noisy], rows.y[used] - of_groups])
    left -= exact @ np.linalg.lstsq(root * exact, root * left)[0]

    def moment(values: Array, power: int, weight: Array) -> Array:
        unit = np.sqrt(weight @ np.square(values) / weight.sum())
        found = weight @ (values / np.maximum(unit, np.finfo(np.float64).tiny)) ** power
        return np.asarray(found / weight.sum(), dtype=np.float64)

    def named(found: NDArray[np.intp], measure: str, values: Array) -> str:
        return ", ".join(f"{names[noisy[j]]!s} ({measure} {values[j]:.2f})" for j in found[:3])

    # So many standard errors are no chance.
    far, n = 4.0, len(X)
    skewness = moment(left[:, : len(noisy)], 3, weight)
    # At least so much matters.
    found = np.flatnonzero(np.abs(skewness) > max(far * np.sqrt(6.0 / n), 0.15))
    if len(found) and not likelihood.link.is_identity:
        warn(
            f"Readings of features with errors are skewed: {named(found, 'skewness', skewness)}. True features are"
            f" taken to be normal, on which slopes under {likelihood.name!r} lean: intervals may cover too little."
            " Use x_distribution='mixture'.",
        )
    if told.readings is not None:  # likely ones are as skewed as all, but know nothing of the others
        weight = weight * ~told.readings.cells[used].any(axis=1)
        n = int(np.count_nonzero(weight))
    kurtosis = moment(_given_the_others(fitted, true, left, used, read), 4, weight)
    # What was measured exactly is no error. Its logarithm is spread about evenly to both sides; where the target's is
    # larger the target is what is wild.
    measured = np.diagonal(told.typical(rows.frequency).covariance) > 0.0
    of_target = kurtosis[len(noisy) :].max(initial=0.0)
    least = max(3.0 * np.exp(far * np.sqrt(24.0 / n) / 3.0), of_target)
    found = np.flatnonzero((kurtosis[: len(noisy)] > least) & measured)
    if len(found):
        warn(
            f"Some readings of features with errors are wild: {named(found, 'kurtosis', kurtosis)}, which is 3 where"
            " errors are as stated. They flatten the line, and its intervals cover too little. Where the readings are"
            " wrong, use x_error_distribution='outliers'; where the true values are that far apart,"
            " x_distribution='mixture'.",
        )


def _given_the_others(
    fitted: Fit, true: TrueFeatures, left: Array, used: NDArray[np.intp], read: Readings
) -> Array:
    """Return what readings, and a normal target, are less their means given each other, by standard deviations.

    Parameters
    ----------
    left : ndarray of shape (n, q + 1)
        Readings and target less their regression on the exact features.
    used : ndarray of shape (n,)
        Which of `read` they are.
    """
    problem, posterior, errors = fitted.problem, fitted.posterior, read.errors
    q, weights, unit = len(errors.noisy), posterior.weights, true.x_scale[true.noisy]
    errors = _likely(errors, posterior).take(used)
    T = unit[:, None] * unit * np.tensordot(weights, true.variance, axes=1)
    covariance = T + errors.covariance
    if not problem.likelihood.is_normal:
        left = left[:, :q]
    else:
        m = posterior.mean[1:][true.noisy]
        values = {"noise_scale": weights @ posterior.noise_scale}
        if posterior.scatter is not None:
            values["scatter"] = weights @ posterior.scatter
        error = np.ones(1) if read.standard_error is None else np.asarray(read.standard_error)
        noise = problem.noise.variance(values, np.broadcast_to(error, read.rows.y.shape)[used])
        if read.apart is not None:
            noise = noise / read.apart.copies[used]
        whole = np.empty((len(noise), q + 1, q + 1))
        whole[:, :q, :q], whole[:, q, q] = covariance, m @ T @ m + noise
        whole[:, :q, q] = whole[:, q, :q] = T @ m
        covariance = whole
    precision = np.linalg.inv(covariance)
    away = (precision @ left[:, :, None])[..., 0]
    return np.asarray(away / np.sqrt(np.diagonal(precision, axis1=-2, axis2=-1)), dtype=np.float64)
