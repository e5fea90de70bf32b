"""The exact engine: normal likelihood, normal or flat priors for the coefficients, any prior for the scale.

Given the noise scale s everything is linear and Gaussian, so one integral over s is left, exact up to floating-point
rounding. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...measurements.compressed import Groups
from ...priors.base import Flat
from ..given_scale import ConditionalPrior, GivenScale
from ..node_covariances import Factors, NodeCovariances, SharedBasis
from ..numerics.quadrature import on_lattice, peak_intervals, trapezoid
from ..posterior import Posterior, ScaleMasses
from ..problem import Problem
from ..propriety import check_proper, warn_of_no_noise
from ..settings import NotTrusted, SamplerSettings
from . import weightings
from .grouped import integrated
from .noise_integrals import LOWEST, AdditiveIntegrand, Nodes, ScaledIntegrand, Solved, scatter_at
from .scatter_integrals import over_scatter
from .weightings import Contradiction, contradiction

__all__ = ["refined"]

Array = NDArray[np.float64]

NAME = "exact"

_LOG_TWO_PI = float(np.log(2.0 * np.pi))


# An interval at whose ends the density has not fallen by this factor (its log) was put in the wrong place.
_FALLEN = 20.0


def why_not(problem: Problem) -> str | None:
    """Return why this engine can't take the problem, or None."""
    if not problem.likelihood.is_normal:
        return f"it takes the normal likelihood, not {problem.likelihood!r}"
    if problem.feature_errors is not None:
        return "it takes exact features, not errors in X, nor NaN"
    if problem.conditional_prior is None:
        return (
            "it takes priors that are Gaussian or flat, given their scale, not"
            f" coef_prior={problem.coef_prior!r} with intercept_prior={problem.intercept_prior!r}"
        )
    return None


def solve(problem: Problem, settings: SamplerSettings) -> Posterior:
    """Return the posterior in the model's units, (8) to (11).

    Parameters
    ----------
    problem : Problem
    settings : SamplerSettings
        Nothing is drawn: all that counts is whether to know roughly will do. Rows with similar errors may then share
        one under noise "additive".

    Raises
    ------
    ValueError
        Where the posterior is improper, or the problem is not one for this engine.

    Warns
    -----
    ConvergenceWarning
        Where the coefficients fit the target without error, so that nothing bounds the noise from below.
    """
    prior, reason = problem.conditional_prior, why_not(problem)
    if prior is None or reason is not None:
        raise ValueError(f"The exact engine can't take this: {reason}.")
    check_proper(problem)
    gaussian = problem.gaussian_prior
    if gaussian is None or problem.noise.combined or problem.groupings is not None:
        return _over_more(problem, prior, settings)
    if problem.noise.only_scatters:
        return _additive(problem, *gaussian, settings)
    if not problem.noise.has_scale:
        return _known(problem, *gaussian)
    given = problem.given_scale
    if given is None:  # for the type checker
        raise AssertionError
    return _scaled(problem, given)


def contradicted(problem: Problem, posterior: Posterior) -> Contradiction | None:
    """Return by how much the data contradict the scale of a fixed Normal prior; None where nothing hints at it.

    It is looked at closely where the noise is larger than what the coefficients could leave, or the target's
    coordinates are more than the prior lets expect, (10).
    """
    prior = problem.conditional_prior
    if prior is None or problem.noise.scatters or problem.groupings is not None:
        return None
    if not len(prior.mean) or not np.isfinite(prior.sigma).all() or posterior.log_evidence is None:
        return None
    given = problem.given_scale
    if given is None:
        return None
    square = float(posterior.weights @ np.square(posterior.noise_scale / problem.noise_unit))
    size = len(given.singular)
    freedom = problem.total_weight - size - given.n_flat
    seen = np.square(given.projected) / (square + np.square(given.singular))
    # A noise scale so many times larger (squared) than residuals, or coordinates so many standard deviations more
    # than expected, hint at a prior that is too narrow.
    inflated, surprising = 1.3, 4.0
    expected = seen.sum() < size + surprising * np.sqrt(2.0 * size)
    if expected and not (freedom > 0.0 and square * freedom > inflated * given.residual):
        return None
    log_total = posterior.log_evidence - problem.log_jacobian + 0.5 * problem.total_weight * _LOG_TWO_PI
    return contradiction(problem, prior, log_total)


def _over_more(problem: Problem, prior: ConditionalPrior, settings: SamplerSettings) -> Posterior:
    """Integrate over more than a noise scale: the prior's scale, its geometry, a scatter beside it, groups."""
    scatter: Array | None = None
    error_share: Array | None = None
    whole = None if problem.groupings is None else integrated(problem, prior)
    if whole is not None:
        found, totals, masses = whole.found, whole.totals, whole.masses
        scatter = whole.scales[found.weighting, 0] if problem.noise.scatters else None
    elif problem.noise.scatters:
        over = over_scatter(problem, prior, roughly=settings.roughly)
        found, totals, scatter, masses = over.found, over.totals, over.scatter, over.masses
    else:
        solved = weightings.solve(problem, prior, [weightings.weighting(problem)])
        found, totals = solved.found(np.zeros(1)), solved.totals
        masses = found.scale_masses
    noise_scale = found.noise_scale
    if problem.noise.only_scatters and scatter is not None:
        noise_scale, scatter = scatter, None
        masses = _masses_of(masses, "scatter")
    elif whole is None and prior.scale_prior is not None and problem.noise.has_scale:
        error_share = 1.0 / (1.0 + np.square((0.0 if scatter is None else scatter) / problem.scatter_unit))
        error_share = np.broadcast_to(error_share, noise_scale.shape)
    if scatter is not None:
        scatter = scatter * noise_scale
    if not problem.noise.has_scale:
        masses = _masses_of(masses)
    posterior = _posterior(
        problem, found.log_weights, noise_scale, found.location, found.covariances, None, 0.0
    )
    log_total = float(np.logaddexp.reduce(totals, axis=None))
    geometry = np.exp(np.logaddexp.reduce(totals, axis=0) - log_total)
    posterior = replace(
        posterior,
        log_evidence=_log_evidence(problem, log_total),
        scatter=scatter,
        prior_scale=found.prior_scale,
        geometry=None if len(geometry) == 1 else geometry,
        scale_masses=masses,
        error_share=error_share,
        effects=None if whole is None else whole.effects,
    )
    return posterior if whole is None else _trusted(posterior, whole.doubts)


def _trusted(posterior: Posterior, doubts: tuple[str, ...]) -> Posterior:
    """Return a posterior of points that pass their gates; raise `NotTrusted` for another."""
    if doubts:
        raise NotTrusted(
            "Importance sampling of the groups' standard deviations is not to be trusted here:"
            f" {' and '.join(doubts)}.",
            posterior,
            "fewer groupings or group_slopes",
        )
    return posterior


def solve_anyway(problem: Problem) -> Posterior:
    """Return the posterior whether it is trusted or not."""
    try:
        return solve(problem, SamplerSettings())
    except NotTrusted as doubt:
        return doubt.posterior


def _masses_of(
    masses: Mapping[str, tuple[Array, Array]], noise_scale: str = ""
) -> Mapping[str, tuple[Array, Array]]:
    """Return masses of which these, or none, are the noise scale's."""

    def find() -> Mapping[str, tuple[Array, Array]]:
        others = {name: found for name, found in masses.items() if name not in ("noise_scale", noise_scale)}
        return {**others, "noise_scale": masses[noise_scale]} if noise_scale in masses else others

    return ScaleMasses(find)


def _known(problem: Problem, prior_mean: Array, prior_sd: Array) -> Posterior:
    """Solve with s = 1: one node, nothing to integrate."""
    node = known_node(problem, prior_mean, prior_sd)
    constant = float(node.log_density[0])
    return _posterior(problem, np.zeros(1), node.noise_scale, node.location, node.covariances, None, constant)


def known_node(problem: Problem, prior_mean: Array, prior_sd: Array) -> Nodes:
    """Return the one node of noise "known"."""
    factor, log_error = problem.factor
    given, one = GivenScale.of(factor, prior_mean, prior_sd), np.ones(1)
    log_density = given.log_explained(one) - 0.5 * given.residual - log_error
    return Nodes(log_density, one, given.location(one), SharedBasis(given.basis, given.variances(one)))


def _scaled(problem: Problem, given: GivenScale) -> Posterior:
    """Integrate over log s: a node costs P operations, whatever the number of rows."""
    integrand = ScaledIntegrand(problem, given, problem.factor[1])
    log_scale, density, log_weights = integrand.lattice()
    # A density that has not fallen by this factor (its log) where the integral stops was cut off.
    cut_off = 10.0
    if log_scale.min() <= integrand.lower and density[log_scale.argmin()] > density.max() - cut_off:
        warn_of_no_noise()
    keep = _matter(log_weights, log_scale)
    nodes = integrand.nodes(log_scale[keep], density[keep])
    return _posterior(
        problem,
        log_weights[keep],
        nodes.noise_scale,
        nodes.location,
        nodes.covariances,
        nodes.log_density,
        integrand.constant,
    )


Integrand = ScaledIntegrand | AdditiveIntegrand


def integrand(problem: Problem) -> Integrand:
    """Return the integrand over the noise scale, of a problem that this engine takes and that has such a scale."""
    prior, reason = problem.gaussian_prior, why_not(problem)
    if prior is None or reason is not None:
        raise ValueError(f"The exact engine can't take this: {reason}.")
    if problem.noise.only_scatters:
        return AdditiveIntegrand(problem, *prior)
    factor, log_error = problem.factor
    return ScaledIntegrand(problem, GivenScale.of(factor, *prior), log_error)


def _additive(problem: Problem, prior_mean: Array, prior_sd: Array, settings: SamplerSettings) -> Posterior:
    """Integrate over s where every value of it weights the rows anew: a node costs a factorisation."""
    integrand = AdditiveIntegrand(problem, prior_mean, prior_sd)
    groups = problem.groups
    rows = groups if settings.roughly else integrand.exact_groups
    parts: list[Solved] = []

    def log_density(u: Array, source: Groups | None) -> Array:
        values, found = integrand.found(u, source)
        parts.append(found)
        return values

    spread = np.hypot(problem.state.standard_deviation[-1], problem.state.mean[-1])
    upper = float(np.log(max(spread / problem.scaling.y_scale / integrand.lost, 1.0))) + 3.0
    # Where the nodes have to be is found on the groups, what they weigh on the rows.
    for source in (groups, rows):
        intervals = on_lattice(
            peak_intervals(partial(log_density, source=source), LOWEST, upper, problem.tail)
        )
        parts.clear()
        u, density, log_weights = trapezoid(partial(log_density, source=rows), intervals, lattice=True)
        ends = np.isin(u, [end for interval in intervals for end in interval if end > LOWEST])
        if source is rows or density[ends].max() < density.max() - _FALLEN:
            break
        parts.clear()
    nodes = Solved.joined(parts)
    scale = scatter_at(u, integrand.lost)
    keep = np.flatnonzero(_matter(log_weights, np.log(scale)))
    location, covariances = nodes.location[keep], Factors(nodes.root[keep])
    log_noise_density = density[keep] - np.log1p(np.exp(-u[keep]))
    return _posterior(problem, log_weights[keep], scale[keep], location, covariances, log_noise_density, 0.0)


def _matter(log_weights: Array, log_scale: Array) -> NDArray[np.bool_]:
    """Return which nodes carry weight, or variance, that double precision could show."""
    beyond = np.maximum(log_scale - log_scale[log_weights.argmax()], 0.0)
    # Nodes of less weight than this carry nothing that double precision could show.
    negligible = 1e-15
    # A difference first: of the logs themselves, where they are huge, the rest would be rounding.
    return (log_weights - log_weights.max()) + 2.0 * beyond > np.log(negligible)


def _posterior(
    problem: Problem,
    log_weights: Array,
    noise_scale: Array,
    location: Array,
    covariances: NodeCovariances,
    log_noise_density: Array | None,
    constant: float,
) -> Posterior:
    """Normalise the nodes; give the intercept its place where the model has none.

    `constant` is what the log weights leave out of the log evidence.
    """
    weights = np.exp(log_weights - log_weights.max())
    total = float(weights.sum())
    p = problem.rows.n_features
    posterior = Posterior(
        weights=weights / total,
        location=location,
        covariances=covariances,
        noise_scale=noise_scale,
        center=np.zeros(p),
        log_noise_density=log_noise_density,
        log_evidence=_log_evidence(problem, float(np.log(total) + log_weights.max()) + constant),
    )
    if problem.fit_intercept:
        return posterior
    without = np.eye(p + 1, p, -1)
    return posterior.mapped(without, np.zeros(p + 1), 1.0, posterior.center)


def _log_evidence(problem: Problem, log_total: float) -> float | None:
    """Return the log marginal likelihood of the data's own target, None under an improper prior."""
    if not problem.priors_proper:
        return None
    return log_total - 0.5 * problem.total_weight * _LOG_TWO_PI + problem.log_jacobian


def refined(problem: Problem, posterior: Posterior) -> Posterior:
    """Return the posterior with its mean improved by one step, where columns with flat priors are nearly collinear.

    One step of iterative refinement (Björck 1967, BIT 7:257-278): least squares' mean is the same at every node.

    Parameters
    ----------
    problem : Problem
        With its rows in memory.
    posterior : Posterior
        On the data's scale.
    """
    flat = isinstance(problem.coef_prior, Flat) and (
        not problem.fit_intercept or isinstance(problem.intercept_prior, Flat)
    )
    together = problem.groupings is not None or problem.correlated is not None
    if not flat or problem.noise.scatters or together:
        return posterior
    rows, root = problem.rows, posterior.root
    square = float(posterior.weights @ np.square(posterior.noise_scale))
    precision = 1.0 if problem.standard_error is None else np.square(1.0 / problem.standard_error)
    weight = np.broadcast_to(precision * (1.0 if rows.frequency is None else rows.frequency), len(rows.y))
    spread = problem.state.standard_deviation[:-1]
    inflation = np.square(np.linalg.norm(root, axis=0)[1:] * spread) * weight.sum() / square
    # Variance inflation from which digits are missed, and rows that are looked at together.
    collinear, block_numbers = 1e4, 2**16
    if not inflation.size or not 1.0 < inflation.max() / collinear < np.inf:
        return posterior
    mean = posterior.mean.astype(np.longdouble)
    place = rows.here(np.append(posterior.center, posterior.mean[0])).astype(np.longdouble)
    pull = np.zeros(len(mean), dtype=np.longdouble)
    for first in range(0, len(rows.y), block_numbers):
        block = slice(first, first + block_numbers)
        away = rows.take(block).astype(np.longdouble) - place[:-1]
        residual = weight[block] * (rows.y[block].astype(np.longdouble) - place[-1] - away @ mean[1:])
        pull += np.append(residual.sum(), residual @ away)
    step = root.T @ (root @ pull.astype(np.float64)) / square
    return replace(posterior, location=posterior.location + step) if np.isfinite(step).all() else posterior
