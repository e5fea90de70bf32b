"""The exact engine: normal likelihood, normal or flat priors for the coefficients, any prior for the scale.

Given the noise scale s everything is linear and Gaussian, so one integral over s is left, done to rounding.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import wrightomega

from . import exact_learned
from .compressed import Groups
from .conditional_prior import ConditionalPrior
from .given_scale import GivenScale
from .learned_scale import masses_below
from .posterior import Factors, NodeCovariances, Posterior, SharedBasis
from .problem import Problem, SamplerSettings
from .propriety import check_proper, warn_of_no_noise
from .quadrature import on_lattice, peak_intervals, trapezoid

Array = NDArray[np.float64]

NAME = "exact"

_LOG_TWO_PI = float(np.log(2.0 * np.pi))
# Numbers of stacked matrices that are in hand at once.
_BLOCK_NUMBERS = 2**20
# Nodes of less weight than this carry nothing that double precision could show.
_NEGLIGIBLE = 1e-15
# A density that has not fallen by this factor (its log) where the integral stops was cut off.
_CUT_OFF = 10.0
# An interval at whose ends the density has not fallen by this factor (its log) was put in the wrong place.
_FALLEN = 20.0
# exp(-u) at the left end: the scatter there is exp(-59) of what could be seen.
_LOWEST = -4.0


def why_not(problem: Problem) -> str | None:
    """Return why this engine can't take the problem, or None."""
    if not problem.likelihood.closed_form:
        return f"it takes the normal likelihood, not {problem.likelihood!r}"
    if problem.feature_errors is not None:
        return "it takes exact features, not errors in X"
    if problem.conditional_prior is None:
        return (
            "it takes priors that are Gaussian or flat, given their scale, not"
            f" coef_prior={problem.coef_prior!r} with intercept_prior={problem.intercept_prior!r}"
        )
    return None


def solve(problem: Problem, settings: SamplerSettings, *, approximate: bool = False) -> Posterior:
    """Return the posterior in the model's units, (8) to (11).

    Parameters
    ----------
    problem : Problem
    settings : SamplerSettings
        Not used: nothing is drawn.
    approximate : bool, default=False
        Whether rows with similar errors may share one under noise "additive": enough to know where the posterior is.

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
    if prior.scale_prior is not None and len(prior.mean):
        return _learned(problem, prior)
    gaussian = problem.gaussian_prior
    if gaussian is None:
        raise ValueError("The exact engine can't take this.")
    if problem.noise == "additive":
        return _additive(problem, *gaussian, approximate=approximate)
    method = _known if problem.noise == "known" else _scaled
    return method(problem, *gaussian)


class Nodes(NamedTuple):
    """Noise scales, and the Gaussians for B at them."""

    log_density: Array
    """(G,) of the integrand's coordinate given the data, up to a constant."""
    noise_scale: Array
    """(G,)"""
    location: Array
    """(G, P)"""
    covariances: NodeCovariances


class _Solved(NamedTuple):
    """The Gaussians for B at G noise scales, and how well they explain the data."""

    log_evidence: Array
    """(G,) log p(data | s) without the errors' determinant and the 2 pi of the rows."""
    location: Array
    """(G, P)"""
    root: Array
    """(G, P, P) F with F F' the covariance."""

    @classmethod
    def joined(cls, parts: Sequence[_Solved]) -> _Solved:
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


def _solve_all(factors: Sequence[Array], prior_mean: Array, prior_sd: Array) -> _Solved:
    """Solve for rows of unit error: the prior's rows are stacked on the data's and eliminated, (9), (10)."""
    size = len(prior_sd)
    normal = np.isfinite(prior_sd)
    prior = np.diag(1.0 / prior_sd)[normal]
    target = prior @ np.where(normal, prior_mean, 0.0)
    rows = len(factors[0])
    parts = []
    for start in range(0, len(factors), block := max(1, _BLOCK_NUMBERS // (rows + size) ** 2)):
        some = factors[start : start + block]
        # The rows of the data first: where they are the heavier, that order keeps the digits, (5).
        stacked = np.empty((len(some), rows + len(prior), size + 1))
        for one, factor in zip(stacked, some, strict=True):
            one[:rows] = factor[:, -1 - size :]
        stacked[:, rows:, :size], stacked[:, rows:, size] = prior, target
        triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
        own = triangle[:, :size, :size]
        root = np.linalg.inv(own)
        diagonal = np.diagonal(own, axis1=1, axis2=2)
        log_volume = -np.log(np.abs(diagonal)).sum(axis=1) - np.log(prior_sd[normal]).sum()
        log_evidence = (
            log_volume
            + 0.5 * np.count_nonzero(~normal) * _LOG_TWO_PI
            - 0.5 * np.square(triangle[:, size:, size]).sum(axis=1)
        )
        parts.append(_Solved(log_evidence, np.einsum("gij,gj->gi", root, triangle[:, :size, size]), root))
    return _Solved.joined(parts)


def _learned(problem: Problem, prior: ConditionalPrior) -> Posterior:
    """Integrate over the scale of the prior and its geometry, too."""
    factor, log_error = problem.factor
    of = exact_learned.integrand(problem, prior, factor, noise=problem.noise != "known")
    lattice = of.lattice
    nodes, geometry = of.reduced(lattice), of.totals(lattice)
    log_total = float(np.logaddexp.reduce(geometry))
    posterior = _posterior(
        problem, nodes.log_weights, nodes.noise_scale, nodes.location, nodes.covariances, None, -log_error
    )
    return replace(
        posterior,
        log_evidence=_log_evidence(problem, log_total - log_error),
        prior_scale=nodes.prior_scale,
        geometry=None if len(geometry) == 1 else np.exp(geometry - log_total),
        scale_masses=masses_below(lattice),
    )


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


def _scaled(problem: Problem, prior_mean: Array, prior_sd: Array) -> Posterior:
    """Integrate over log s: a node costs P operations, whatever the number of rows."""
    integrand = ScaledIntegrand(problem, prior_mean, prior_sd)
    factor = problem.factor[0]
    magnitude = float(np.linalg.norm(factor[:, -1]) / np.sqrt(problem.total_weight))
    lower = integrand.lower
    upper = float(np.log(max(magnitude, np.exp(lower)))) + 3.0
    intervals = peak_intervals(integrand.log_density, lower, upper, problem.tail)
    log_scale, density, log_weights = trapezoid(integrand.log_density, intervals)
    if log_scale.min() <= integrand.lower and density[log_scale.argmin()] > density.max() - _CUT_OFF:
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


class ScaledIntegrand:
    """The integrand of (11) under noise "scaled", in u = log s."""

    def __init__(self, problem: Problem, prior_mean: Array, prior_sd: Array):
        factor, log_error = problem.factor
        self._conditional = GivenScale.of(factor, prior_mean, prior_sd)
        self._noise_prior = problem.noise_prior
        self._total_weight = N = problem.total_weight
        self._residual = residual = self._conditional.residual
        # The likelihood's own peak, -N log s - residual / (2 s**2), is of order N: taken about its top, it keeps its
        # digits for any N.
        self._top = 0.5 * float(np.log(residual / N)) if residual > 0.0 else 0.0
        self.constant = -N * self._top - log_error - (0.5 * N if residual > 0.0 else 0.0)
        """What the log density leaves out."""
        self.lower = float(np.log(problem.resolution()))
        """Nothing is below it."""

    def coordinate(self, noise_scale: Array) -> Array:
        """Return u at noise scales."""
        return np.log(noise_scale)

    def log_density(self, u: Array) -> Array:
        """Return the log density of u given the data, up to a constant."""
        scale, away = np.exp(u), u - self._top
        misfit = -self._total_weight * (away + (0.5 * np.expm1(-2.0 * away) if self._residual > 0.0 else 0.0))
        return misfit + self._conditional.log_explained(scale) + self._noise_prior.log_density(scale) + u

    def nodes(self, u: Array, log_density: Array | None = None) -> Nodes:
        """Return B's Gaussians; the density is computed where it is not known."""
        scale = np.exp(u)
        covariances = SharedBasis(self._conditional.basis, self._conditional.variances(scale))
        density = self.log_density(u) if log_density is None else log_density
        return Nodes(density, scale, self._conditional.location(scale), covariances)


class AdditiveIntegrand:
    """The integrand of (11) under noise "additive"; every value of s weights the rows anew, by a factorisation."""

    lower = _LOWEST
    """Nothing is below it."""

    def __init__(self, problem: Problem, prior_mean: Array, prior_sd: Array):
        self._problem, self._prior = problem, (prior_mean, prior_sd)
        # Below this the scatter is lost among the known errors, (11).
        self.lost = problem.visible_scatter
        groups = problem.groups
        self.exact_groups = groups if groups is not None and groups.exact else None
        """Where rows share few errors, what stands for them."""

    def coordinate(self, noise_scale: Array) -> Array:
        """Return u at noise scales: the inverse of `_scatter`."""
        away = np.log(noise_scale / self.lost)
        return np.asarray(away + wrightomega(-away), dtype=np.float64)

    def found(self, u: Array, source: Groups | None) -> tuple[Array, _Solved]:
        """Return the log density of u given the data, up to a constant, and B's Gaussians."""
        scale = _scatter(u, self.lost)
        factors, log_errors = zip(
            *(self._problem.factor_at(scatter, source) for scatter in scale), strict=True
        )
        solved = _solve_all(factors, *self._prior)
        prior = self._problem.noise_prior.log_density(scale)
        density = solved.log_evidence - log_errors + prior + np.log(scale) + np.log1p(np.exp(-u))
        return density, solved

    def nodes(self, u: Array) -> Nodes:
        """Return B's Gaussians and the density."""
        density, solved = self.found(u, self.exact_groups)
        return Nodes(density, _scatter(u, self.lost), solved.location, Factors(solved.root))


Integrand = ScaledIntegrand | AdditiveIntegrand


def integrand(problem: Problem) -> Integrand:
    """Return the integrand over the noise scale, of a problem that this engine takes and that has such a scale."""
    prior, reason = problem.gaussian_prior, why_not(problem)
    if prior is None or reason is not None:
        raise ValueError(f"The exact engine can't take this: {reason}.")
    return (
        AdditiveIntegrand(problem, *prior)
        if problem.noise == "additive"
        else ScaledIntegrand(problem, *prior)
    )


def _additive(problem: Problem, prior_mean: Array, prior_sd: Array, *, approximate: bool) -> Posterior:
    """Integrate over s where every value of it weights the rows anew: a node costs a factorisation."""
    integrand = AdditiveIntegrand(problem, prior_mean, prior_sd)
    groups = problem.groups
    rows = groups if approximate else integrand.exact_groups
    parts: list[_Solved] = []

    def log_density(u: Array, source: Groups | None) -> Array:
        values, found = integrand.found(u, source)
        parts.append(found)
        return values

    spread = np.hypot(problem.state.standard_deviation[-1], problem.state.mean[-1])
    upper = float(np.log(max(spread / problem.scaling.y_scale / integrand.lost, 1.0))) + 3.0
    # Where the nodes have to be is found on the groups, what they weigh on the rows.
    for source in (groups, rows):
        intervals = on_lattice(
            peak_intervals(partial(log_density, source=source), _LOWEST, upper, problem.tail)
        )
        parts.clear()
        u, density, log_weights = trapezoid(partial(log_density, source=rows), intervals, lattice=True)
        ends = np.isin(u, [end for interval in intervals for end in interval if end > _LOWEST])
        if source is rows or density[ends].max() < density.max() - _FALLEN:
            break
        parts.clear()
    nodes = _Solved.joined(parts)
    scale = _scatter(u, integrand.lost)
    keep = np.flatnonzero(_matter(log_weights, np.log(scale)))
    location, covariances = nodes.location[keep], Factors(nodes.root[keep])
    log_noise_density = density[keep] - np.log1p(np.exp(-u[keep]))
    return _posterior(problem, log_weights[keep], scale[keep], location, covariances, log_noise_density, 0.0)


def _scatter(u: Array, lost: float) -> Array:
    """Return the scatter at u: log s = log(lost) + u - exp(-u), (11).

    To the right it is log s; to the left s falls so fast that the flat density of a scatter too small to see,
    which would take many nodes in log s, takes few.
    """
    return lost * np.exp(u - np.exp(-u))


def _matter(log_weights: Array, log_scale: Array) -> NDArray[np.bool_]:
    """Return which nodes carry weight, or variance, that double precision could show."""
    beyond = np.maximum(log_scale - log_scale[log_weights.argmax()], 0.0)
    # A difference first: of the logs themselves, where they are huge, the rest would be rounding.
    return (log_weights - log_weights.max()) + 2.0 * beyond > np.log(_NEGLIGIBLE)


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
