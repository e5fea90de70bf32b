"""The importance engine: features measured with error, other likelihoods, and priors that are not Gaussian.

With features measured with error all that is linear and Gaussian is integrated out.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from ...measurements.compressed import taken
from ...measurements.correlated.shared_readings import readings_of
from ...measurements.feature_errors import FeatureErrors
from ...measurements.missing import told_by
from ...priors.base import Flat, ScaleMixture
from ...priors.coefficients import Normal, PoweredCorrelation
from ...priors.scales import ScatterPrior
from ..given_scale import powered_roots
from ..groups.shared_readings import Within
from ..node_covariances import Factors, SharedBasis
from ..numerics.importance_sampling import Sample
from ..posterior import Posterior
from ..problem import RESOLUTION, Problem
from ..propriety import check_proper
from ..settings import NotTrusted, SamplerSettings, without_noise
from ..structural.mixture import MixtureProblem
from ..structural.model import StructuralProblem
from ..structural.normal_equations import (
    LogDensity,
    SlopePrior,
    cauchy_log_density,
    normal_log_density,
    signal_prior,
)
from ..structural.true_features import TrueFeatures
from ..structural.true_mixture import TrueMixture
from ..structural.wild import not_plainly_wild
from .expanded_rows import FIRST_NODES, MOST_NODES, Ends, expanded, narrowed, unresolved
from .mixture_nodes import most_likely_number, solve_mixture
from .regression_nodes import solve_regression
from .regression_priors import without_density
from .regression_rows import many_rows
from .structural_nodes import StructuralNodes, solve_structural
from .working_target import selection_of, unseen_bend, working_target

Array = NDArray[np.float64]

NAME = "importance"

# Fits, at most, until nodes lie where readings are.
_ROUNDS = 6


def why_not(problem: Problem) -> str | None:
    """Return why this engine can't take the problem, or None."""
    if problem.correlated is not None:
        return "it takes errors of y that are independent from row to row, not y_cov or y_shared_err"
    if problem.groupings is not None:
        return "it has no effects of groups (group_column)"
    if isinstance(problem.coef_prior, ScaleMixture):
        return (
            f"it doesn't take the scales of coef_prior={problem.coef_prior!r}, only densities in closed form"
        )
    if not problem.feature_errors_known and not integrates(problem):
        return (
            "noise='common' and x_error_dof go with the normal likelihood, and true features that are normal"
        )
    shared = problem.feature_errors is not None and problem.feature_errors.groups is not None
    if shared and not integrates(problem):
        return "beside rows that share readings (X_err_groups) priors are Normal, Flat or PoweredCorrelation"
    return without_density(problem) or many_rows(problem) or without_noise(problem)


def solve(problem: Problem, settings: SamplerSettings) -> Posterior:
    """Return the posterior in the model's units, (20) to (22).

    Raises
    ------
    ValueError
        Where the posterior is improper, or the problem is not one for this engine.
    NotTrusted
        Where the nodes are not.
    """
    reason = why_not(problem)
    if reason is not None:
        raise ValueError(f"The importance engine can't take this: {reason}.")
    check_proper(problem.gaussian_like())
    if problem.feature_errors is None:
        posterior, found = solve_regression(problem, settings.nodes, settings.seed)
        return _trusted(posterior, found)
    if integrates(problem):
        structural, units = structural_problem(problem)
        nodes = solve_structural(structural, seed=settings.seed)
        return _trusted(posterior_of(problem, nodes, units), nodes.sample)
    n_nodes, limits, ends = FIRST_NODES, problem.feature_errors.readings, None
    for _ in range(_ROUNDS):
        mixture, units = row_problem(problem, n_nodes, ends=ends)
        found, coarse = solve_mixture(mixture, settings.seed), []
        if limits is None:
            break
        finer = replace(row_problem(problem, 2 * n_nodes, 1.3, ends)[0], about=mixture)
        coarse = unresolved(mixture, finer, found)
        if not coarse:
            break
        ends, left = narrowed(finer, found)
        if left > 0.7:
            n_nodes = min(2 * n_nodes, MOST_NODES)
    posterior = mixture_posterior(problem, mixture, found.points, found.weights, units)
    if coarse and not found.doubts:
        remedy = "the rows alone whose readings were measured"  # chosen by features, they have the same line
        raise NotTrusted(f"Importance sampling is not to be trusted here: {coarse[0]}.", posterior, remedy)
    return _trusted(posterior, found, [*unseen_bend(mixture), *coarse])


def integrates(problem: Problem) -> bool:
    """Return whether all that is linear integrates out, (21)."""
    prior, intercept, errors = problem.coef_prior, problem.intercept_prior, problem.feature_errors
    rows_alike = problem.n_components == 1 and not problem.outliers and problem.truncation is None
    if not problem.likelihood.is_normal or not rows_alike or errors is None:
        return False
    if intercept is not None and intercept.gaussian("intercept_prior", 1) is None:
        return False
    none_exact = len(errors.noisy) == problem.rows.n_features
    return errors.readings is None and (none_exact or isinstance(prior, Flat | Normal | PoweredCorrelation))


def _trusted(posterior: Posterior, found: Sample, further: Sequence[str] = ()) -> Posterior:
    """Return a posterior whose nodes pass the gates; raise `NotTrusted` for another."""
    doubts = [*found.doubts, *further]
    if doubts:
        raise NotTrusted(f"Importance sampling is not to be trusted here: {' and '.join(doubts)}.", posterior)
    return posterior


def number_of_components(problem: Problem) -> int:
    """Return how many components of the true features' distribution the data speak for."""
    learned = isinstance(problem.coef_prior, PoweredCorrelation)
    pilot = problem if learned else problem.gaussian_like()
    check_proper(pilot.gaussian_like())
    return most_likely_number(row_problem(pilot)[0])


def row_problem(
    problem: Problem, n_nodes: int = FIRST_NODES, wider: float = 1.0, ends: Ends | None = None
) -> tuple[MixtureProblem, Units]:
    """Return the problem in the engine's own terms where no parameter integrates out.

    `n_nodes`, `wider` and `ends` are as for `expanded`, where readings are limits.
    """
    problem, expansion = expanded(problem, n_nodes, wider, ends)
    count, outliers = problem.n_components, problem.outliers
    used = slice(None) if problem.rows.frequency is None else problem.rows.used
    if problem.likelihood.is_normal:
        structural, units = structural_problem(problem)
        selection = selection_of(problem, used, ())
        return MixtureProblem(
            structural, count, None, None, count == 1, selection, outliers, expansion
        ), units
    working, target = working_target(problem, used)
    selection = selection_of(problem, used, target.auxiliary)
    pilot, units = structural_problem(working)
    data = structural_problem(problem)[0] if problem.likelihood.has_noise_scale else pilot
    return MixtureProblem(data, count, target, pilot, True, selection, outliers, expansion), units


class Units(NamedTuple):
    """From the model's units to the engine's, in which its priors of the true features' distribution are wide."""

    noisy: Array
    """(q,) units of the noisy features."""
    exact: Array
    """(k,) units of the exact ones, ..."""
    origin: Array
    """... and what is subtracted from them first, in the model's units."""


def structural_problem(problem: Problem) -> tuple[StructuralProblem, Units]:
    """Return the problem in the engine's own terms."""
    scaling, unmeasured = problem.scaling, problem.unmeasured
    rows, errors, own, apart = readings_of(problem.rows, _errors_of(problem), problem.standard_error)
    used = slice(None) if rows.frequency is None else rows.used
    errors = errors.take(used)
    p, noisy = rows.n_features, errors.noisy
    exact = np.setdiff1d(np.arange(p), noisy)
    center = rows.here(scaling.mean)
    table = np.asarray(rows.take(used), dtype=np.float64)
    X = (table - center[:-1]) / scaling.x_scale
    units = units_of(problem)
    unit = units.noisy
    in_data = unit * scaling.x_scale[noisy]

    covariance = errors.finite / (in_data[:, None] * in_data)
    with_target = None
    if errors.with_target is not None:
        with_target = errors.with_target / (in_data * scaling.y_scale)
    error: Array | float | None = None
    if own is not None:
        error = taken(np.asarray(own, dtype=np.float64), used) / problem.error_unit
    intercept, log_prior_intercept = _intercept(problem)
    w, z = X[:, noisy] / unit, (X[:, exact] - units.origin) / units.exact
    given = problem.prior_units
    mu_mean = None if given is None else (given.mean[noisy] - scaling.x_mean[noisy]) / in_data
    frequency = None if rows.frequency is None else rows.frequency[used]
    weight = np.ones(len(w)) if frequency is None else frequency
    within = None
    if apart is not None:
        unmeasured = errors.unmeasured_beside(None)
        z_unit, scatters = scaling.x_scale[exact] * units.exact, problem.noise.scatters
        within = Within.of(apart, z_unit, scaling.y_scale, problem.error_unit, scatters=scatters)
    told, likely = told_by(errors, table, rows.y[used], frequency)
    likely = w if likely is None else (likely - center[noisy]) / in_data
    plain = not_plainly_wild(likely, frequency) if problem.outliers else weight
    return StructuralProblem(
        z=z,
        w=w,
        y=(rows.y[used] - center[-1]) / scaling.y_scale,
        feature_covariance=covariance,
        slopes=_slope_prior(problem, units),
        log_prior_noise=problem.noise_prior.log_density,
        intercept=intercept,
        log_prior_intercept=log_prior_intercept,
        mu_mean=np.average(likely, axis=0, weights=plain) if mu_mean is None else mu_mean,
        z_mean=weight @ z / weight.sum(),
        frequency=frequency,
        cross_covariance=with_target,
        standard_error=error,
        noise=problem.noise,
        error_freedom=problem.error_freedom,
        log_prior_scatter=(
            ScatterPrior(problem.scatter_unit).log_density if problem.noise.combined else None
        ),
        resolution=_resolution(problem),
        unmeasured=None if unmeasured is None else unmeasured[used],
        mean_covariance=None if told is None else told / (in_data[:, None] * in_data),
        likely=None if likely is w else likely,
        within=within,
    ), units


def _intercept(problem: Problem) -> tuple[tuple[float, float] | None, LogDensity | None]:
    """Return mean and standard deviation of the intercept's prior, and, unless it is Gaussian, its log density."""
    prior = problem.intercept_prior
    if prior is None:
        return None, None
    mean, sd = prior.gaussian_like("intercept_prior", 1)
    parameters = prior.check("intercept_prior", 1)

    def density(values: Array) -> Array:
        return prior.coefficient_log_density(values[:, None], parameters)[:, 0]

    return (float(mean[0]), float(sd[0])), density if prior.gaussian("intercept_prior", 1) is None else None


def _resolution(problem: Problem) -> float:
    """Return the part of the target that is rounding, in the model's units; a constant one has no other."""
    state, unit = problem.state, problem.scaling.y_scale
    spread = float(state.standard_deviation[-1]) or unit
    magnitude = abs(float((state.mean + state.origin)[-1]))
    return max(RESOLUTION * spread, float(np.finfo(np.float64).eps) * magnitude) / unit


def _slope_prior(problem: Problem, units: Units) -> SlopePrior:
    """Return the coefficients' prior in the engine's units."""
    prior, p = problem.coef_prior, problem.rows.n_features
    noisy, unit = _errors_of(problem).noisy, units.noisy
    exact = np.setdiff1d(np.arange(p), noisy)
    parameters = prior.check("coef_prior", p)
    mean, sd = prior.gaussian_like("coef_prior", p)
    log_scale = None if prior.scale_prior is None else prior.scale_prior.log_density
    if isinstance(prior, PoweredCorrelation):
        # With one exact feature there is no correlation that the power could be of.
        powers = parameters["power"] if len(exact) > 1 else parameters["power"][:1]
        roots = powered_roots(problem.prior_design[:, exact], powers)
        signal = signal_prior(prior)
        log_density = cauchy_log_density if signal.cauchy else normal_log_density
        return SlopePrior(
            lambda values: log_density(values, signal.scale),
            mean[noisy],
            np.full(len(noisy), signal.scale),
            mean[exact],
            np.array([np.linalg.inv(units.exact[:, None] * sd[exact, None] * root) for root in roots]),
            log_scale if len(exact) else None,
            on_signal=True,
        )

    def density(of: NDArray[np.intp], unit: Array) -> LogDensity:
        own = {name: values[of] for name, values in parameters.items()}
        jacobian = -float(np.log(unit).sum())
        return lambda slopes: prior.coefficient_log_density(slopes / unit, own).sum(axis=1) + jacobian

    gaussian = prior.gaussian("coef_prior", p) is not None or isinstance(prior, Flat | Normal)
    return SlopePrior(
        density(noisy, unit),
        mean[noisy] * unit,
        sd[noisy] * unit,
        mean[exact] * units.exact,
        np.diag(1.0 / (sd[exact] * units.exact))[None],
        log_scale,
        None if gaussian or not len(exact) else density(exact, units.exact),
    )


def units_of(problem: Problem) -> Units:
    """Return units in which features spread by one."""
    state, scaling, noisy = problem.state, problem.scaling, _errors_of(problem).noisy
    exact = np.setdiff1d(np.arange(problem.rows.n_features), noisy)
    deviation = (problem.prior_units or state).standard_deviation[:-1] / scaling.x_scale
    if problem.outliers and problem.prior_units is None:
        used, frequency = problem.rows.used, problem.rows.frequency
        w = np.asarray(problem.rows.take(used), dtype=np.float64)[:, noisy]
        plain = not_plainly_wild(w, None if frequency is None else frequency[used])
        deviation[noisy] = np.cov(w.T, aweights=plain, ddof=0).reshape(len(noisy), -1).diagonal() ** 0.5
        deviation[noisy] /= scaling.x_scale[noisy]
    unit = np.where(deviation > 0.0, deviation, 1.0)
    origin = np.zeros(len(exact))
    if isinstance(problem.intercept_prior, Flat):  # under another the intercept is at zero
        origin = ((state.mean + state.origin)[:-1][exact] - scaling.x_mean[exact]) / scaling.x_scale[exact]
    return Units(unit[noisy], unit[exact], origin)


def posterior_of(problem: Problem, nodes: StructuralNodes, units: Units) -> Posterior:
    """Return the nodes as a posterior of B, with the true features' distribution beside it."""
    errors, p, unit = _errors_of(problem), problem.rows.n_features, units.noisy
    # (mu_j, Gamma_j.) and (alpha, beta) to (1, z) from (1, (z - origin) / unit).
    own = np.diag(np.append(1.0, 1.0 / units.exact))
    own[0, 1:] = -units.origin / units.exact
    to_model = np.kron(np.diag(np.append(unit, 1.0)), own)
    if not problem.fit_intercept:
        alpha = len(unit) * len(own)
        to_model = np.delete(np.delete(to_model, alpha, axis=0), alpha, axis=1)
    true = TrueFeatures(
        noisy=errors.noisy,
        n_features=p,
        intercept=problem.fit_intercept,
        coef=nodes.m / unit,
        variance=nodes.T * (unit[:, None] * unit),
        theta=nodes.theta @ to_model.T,
        root=to_model @ nodes.theta_root,
        x_mean=np.zeros(p),
        x_scale=np.ones(p),
        y_mean=0.0,
        y_scale=1.0,
        error_factor=nodes.error_factor,
    )
    location, factors, _ = true.coefficients()
    return Posterior(
        weights=nodes.sample.weights,
        location=location,
        covariances=Factors(factors),
        noise_scale=nodes.noise_scale,
        center=np.zeros(p),
        true_features=true,
        scatter=nodes.scatter if problem.noise.combined else None,
        prior_scale=nodes.tau if _learns_scale(problem) else None,
        geometry=_geometry(problem, nodes.geometry),
    )


def _learns_scale(problem: Problem) -> bool:
    """Return whether the coefficients' prior has a scale that is found: (20a) has one of exact features alone."""
    errors, prior = problem.feature_errors, problem.coef_prior
    none_exact = errors is not None and len(errors.noisy) == problem.rows.n_features
    return prior.scale_prior is not None and not (none_exact and isinstance(prior, PoweredCorrelation))


def _geometry(problem: Problem, found: Array) -> Array | None:
    """Return the probabilities of the prior's geometries, if it has several: those that are alike share one."""
    prior = problem.coef_prior
    if not isinstance(prior, PoweredCorrelation):
        return None
    n_powers = len(prior.check("coef_prior", problem.rows.n_features)["power"])
    return None if n_powers == 1 else np.broadcast_to(found, n_powers) * (len(found) / n_powers)


def mixture_posterior(
    problem: Problem, mixture: MixtureProblem, points: Array, weights: Array, units: Units
) -> Posterior:
    """Return points of which no parameter integrates out as a posterior of B, with the true features beside it."""
    errors = _errors_of(problem)
    parts, (z, w, y) = mixture.taken_apart(points), mixture.center
    geometry = weights @ np.exp(log_softmax(mixture.log_slopes(parts), axis=1))
    # From lines about the means to lines at zero.
    beta = parts.line[:, 1:]
    intercept = float(problem.fit_intercept) * (y + parts.line[:, 0] - beta @ z - parts.m @ w)
    means = w + parts.means - (parts.slopes @ z)[:, None]
    further = {} if mixture.target is None else mixture.target.further(parts.auxiliary)
    if mixture.n_components == 1 and not mixture.outliers:
        of_w = np.concatenate([means.transpose(0, 2, 1), parts.slopes], axis=2).reshape(len(points), -1)
        theta = np.column_stack([of_w, intercept, beta] if problem.fit_intercept else [of_w, beta])
        nodes = StructuralNodes(
            sample=Sample(points, weights, np.nan, np.nan, np.nan),
            m=parts.m,
            noise_scale=parts.noise_scale,
            T=parts.covariances[:, 0],
            scatter=parts.scatter,
            tau=parts.tau,
            theta=theta,
            theta_root=np.zeros((*theta.shape, 0)),
            geometry=geometry,
            n_evaluations=len(points),
        )
        posterior = posterior_of(problem, nodes, units)
        return replace(posterior, covariances=_no_covariance(problem, points), auxiliary=further)
    # From (z - origin) / unit to z.
    away, unit, p = units.origin / units.exact, units.noisy, problem.rows.n_features
    true = TrueMixture(
        noisy=errors.noisy,
        n_features=p,
        coef=parts.m / unit,
        line_at_zero=np.column_stack([intercept - beta @ away, beta / units.exact]),
        means=(means - (parts.slopes @ away)[:, None]) * unit,
        slopes=parts.slopes * (unit[:, None] / units.exact),
        covariances=parts.covariances * (unit[:, None] * unit),
        log_shares=parts.log_shares,
        outliers=mixture.outliers_at(parts.auxiliary),
        x_mean=np.zeros(p),
        x_scale=np.ones(p),
        y_mean=0.0,
        y_scale=1.0,
    )
    return Posterior(
        weights=weights,
        location=true.coefficients()[0],
        covariances=_no_covariance(problem, points),
        noise_scale=parts.noise_scale,
        center=np.zeros(problem.rows.n_features),
        true_features=true,
        scatter=parts.scatter if problem.noise.combined else None,
        prior_scale=parts.tau if _learns_scale(problem) else None,
        geometry=_geometry(problem, geometry),
        auxiliary=further,
    )


def _errors_of(problem: Problem) -> FeatureErrors:
    if problem.feature_errors is None:
        raise ValueError("No feature has an error.")
    return problem.feature_errors


def _no_covariance(problem: Problem, points: Array) -> SharedBasis:
    """Return the covariance of nodes that are points."""
    return SharedBasis(np.zeros((problem.rows.n_features + 1, 0)), np.zeros((len(points), 0)))
