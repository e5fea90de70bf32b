"""The exact engine: normal likelihood, normal or flat priors for the coefficients, any prior for the scale.

Given the noise scale s everything is linear and Gaussian, so one integral over s is left, done to rounding.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular, svd
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from .compressed import Groups
from .posterior import Factors, NodeCovariances, Posterior, SharedBasis
from .problem import Problem, check_proper
from .quadrature import peak_intervals, trapezoid

Array = NDArray[np.float64]

NAME = "exact"

_LOG_TWO_PI = float(np.log(2.0 * np.pi))
# Nodes of less weight than this carry nothing that double precision could show.
_NEGLIGIBLE = 1e-15
# A density that has not fallen by this factor (its log) where the integral stops was cut off.
_CUT_OFF = 7.0
# exp(-u) at the left end: the scatter there is exp(-59) of what could be seen.
_LOWEST = -4.0


def why_not(problem: Problem) -> str | None:
    """Return why this engine can't take the problem, or None."""
    if problem.gaussian_prior is None:
        return (
            f"it takes Gaussian and flat priors, not coef_prior={problem.coef_prior!r} with"
            f" intercept_prior={problem.intercept_prior!r}"
        )
    return None


def solve(problem: Problem) -> Posterior:
    """Return the posterior in the model's units, (8) to (11).

    Raises
    ------
    ValueError
        Where the posterior is improper, or the problem is not one for this engine.

    Warns
    -----
    ConvergenceWarning
        Where the coefficients fit the target without error, so that nothing bounds the noise from below.
    """
    prior = problem.gaussian_prior
    if prior is None:
        raise ValueError(f"The exact engine can't take this: {why_not(problem)}.")
    check_proper(problem)
    method = {"known": _known, "scaled": _scaled, "additive": _additive}[problem.noise]
    return method(problem, *prior)


@dataclass(frozen=True, eq=False)
class _Conditional:
    """p(B, data | s) for rows whose errors are s: a Gaussian in one basis for every s, (9)."""

    offset: Array
    """(P,) B where the basis' coordinates are zero."""
    basis: Array
    """(P, P), flat coordinates first."""
    singular: Array
    """(P - n_flat,) singular values of the whitened design."""
    projected: Array
    """(P - n_flat,) the target's coordinates along them."""
    residual: float
    """Squared length of the part of the target that no coefficients reach."""
    log_flat: float
    """Log volume of the flat coordinates."""
    n_flat: int

    @classmethod
    def of(cls, factor: Array, prior_mean: Array, prior_sd: Array) -> _Conditional:
        """Whiten by the prior, project out the flat columns, and take one SVD of what is left."""
        size = len(prior_sd)
        design: Array = factor[:, -1 - size : -1]
        target: Array = factor[:, -1]
        flat = np.isinf(prior_sd)
        sd = prior_sd[~flat]
        target = target - design[:, ~flat] @ prior_mean[~flat]
        whitened = design[:, ~flat] * sd
        offset, basis = np.where(flat, 0.0, prior_mean), np.zeros((size, size))
        n_flat, log_flat = int(flat.sum()), 0.0
        lift = np.zeros((n_flat, size - n_flat))
        if n_flat:
            stacked = np.column_stack([design[:, flat], whitened, target])
            triangle: Array = np.asarray(qr(stacked, mode="r", check_finite=False)[0])
            own = triangle[:n_flat, :n_flat]
            right_sides = np.column_stack([triangle[:n_flat, n_flat:], np.eye(n_flat)])
            solved = solve_triangular(own, right_sides, check_finite=False)
            lift, offset[flat] = -solved[:, : size - n_flat], solved[:, size - n_flat]
            basis[np.ix_(flat, np.arange(n_flat))] = solved[:, size - n_flat + 1 :]
            log_flat = -float(np.log(np.abs(np.diag(own))).sum())
            whitened, target = triangle[n_flat:, n_flat:-1], triangle[n_flat:, -1]
        left, singular, right = svd(whitened, full_matrices=False, check_finite=False)
        projected = left.T @ target
        residual = target - left @ projected
        normal = np.arange(n_flat, size)
        basis[np.ix_(~flat, normal)] = sd[:, None] * right.T
        basis[np.ix_(flat, normal)] = lift @ right.T
        square = float(residual @ residual)
        return cls(offset, basis, singular, projected, square, log_flat, n_flat)

    def log_evidence(self, variance: Array) -> Array:
        """Return log p(data | s) without the errors' determinant at each s**2, (10)."""
        v, squared = variance[:, None], self.singular**2
        penalty = np.log1p(squared / v).sum(axis=1) + (self.projected**2 / (squared + v)).sum(axis=1)
        flat = 0.5 * self.n_flat * (np.log(variance) + _LOG_TWO_PI) + self.log_flat
        return -0.5 * (penalty + self.residual / variance) + flat

    def location(self, variance: Array) -> Array:
        """Return the mean of B at each s**2, (G, P)."""
        coordinates = self.singular * self.projected / (self.singular**2 + variance[:, None])
        return self.offset + coordinates @ self.basis[:, self.n_flat :].T

    def variances(self, variance: Array) -> Array:
        """Return the variance of every coordinate of the basis at each s**2, (G, P)."""
        v = variance[:, None]
        return np.concatenate([np.repeat(v, self.n_flat, axis=1), v / (self.singular**2 + v)], axis=1)


def _known(problem: Problem, prior_mean: Array, prior_sd: Array) -> Posterior:
    """Solve with s = 1: one node, nothing to integrate."""
    factor, log_error = problem.factor()
    conditional = _Conditional.of(factor, prior_mean, prior_sd)
    one = np.ones(1)
    log_weights = conditional.log_evidence(one) - log_error
    covariances = SharedBasis(conditional.basis, conditional.variances(one))
    return _posterior(problem, log_weights, one, conditional.location(one), covariances, None)


def _scaled(problem: Problem, prior_mean: Array, prior_sd: Array) -> Posterior:
    """Integrate over log s: a node costs P operations, whatever the number of rows."""
    factor, log_error = problem.factor()
    conditional = _Conditional.of(factor, prior_mean, prior_sd)

    def log_density(log_scale: Array) -> Array:
        scale = np.exp(log_scale)
        evidence = conditional.log_evidence(scale**2) - problem.total_weight * log_scale
        return evidence - log_error + problem.noise_prior.log_density(scale) + log_scale

    lower = float(np.log(problem.resolution()))
    magnitude = float(np.linalg.norm(factor[:, -1]) / np.sqrt(problem.total_weight))
    upper = float(np.log(max(magnitude, np.exp(lower)))) + 3.0
    intervals = peak_intervals(log_density, lower, upper)
    log_scale, density, log_weights = trapezoid(log_density, intervals)
    if density[log_scale.argmin()] > density.max() - _CUT_OFF:
        warnings.warn(
            "The features fit the target without error (more columns than distinct rows?), so the data do not"
            " bound the noise from below: its scale is cut off at the resolution of the data, and the intervals"
            " are not to be trusted. Use fewer features, a narrower coef_prior, or give y_err.",
            ConvergenceWarning,
            stacklevel=2,
        )
    keep = _matter(log_weights)
    log_scale, log_weights, density = log_scale[keep], log_weights[keep], density[keep]
    variance = np.exp(2.0 * log_scale)
    covariances = SharedBasis(conditional.basis, conditional.variances(variance))
    location = conditional.location(variance)
    return _posterior(problem, log_weights, np.exp(log_scale), location, covariances, density)


def _additive(problem: Problem, prior_mean: Array, prior_sd: Array) -> Posterior:
    """Integrate over s where every value of it weights the rows anew: a node costs a factorisation."""
    groups = problem.grouped()
    factor, _ = problem.factor()
    # Below this the scatter is lost among the known errors, whose precision is the factor's first entry, (11).
    precision = float(factor[0, 0]) / np.sqrt(problem.total_weight)
    lost = (2.0 / problem.total_weight) ** 0.25 / precision
    solved: list[tuple[float, Array, Array]] = []

    def conditional_at(scale: float, source: Groups | None) -> tuple[_Conditional, float]:
        factor, log_error = problem.factor_at(scale, source)
        return _Conditional.of(factor, prior_mean, prior_sd), log_error

    def prior_density(u: Array, scale: Array) -> Array:
        return problem.noise_prior.log_density(scale) + np.log(scale) + np.log1p(np.exp(-u))

    def placing(u: Array) -> Array:
        scale = _scatter(u, lost)
        evidence = np.empty(len(u))
        for i, value in enumerate(scale):
            conditional, log_error = conditional_at(value, groups)
            evidence[i] = conditional.log_evidence(one)[0] - log_error
        return evidence + prior_density(u, scale)

    def log_density(u: Array) -> Array:
        scale = _scatter(u, lost)
        evidence = np.empty(len(u))
        for i, value in enumerate(scale):
            conditional, log_error = conditional_at(value, groups if groups.exact else None)
            evidence[i] = conditional.log_evidence(one)[0] - log_error
            root = conditional.basis * np.sqrt(conditional.variances(one)[0])
            solved.append((value, conditional.location(one)[0], root))
        return evidence + prior_density(u, scale)

    one = np.ones(1)
    spread = np.hypot(problem.state.standard_deviation[-1], problem.state.mean[-1])
    upper = float(np.log(max(spread / problem.scaling.y_scale / lost, 1.0))) + 3.0
    u, density, log_weights = trapezoid(log_density, peak_intervals(placing, _LOWEST, upper))
    keep = np.flatnonzero(_matter(log_weights))
    scale = np.array([solved[i][0] for i in keep])
    location = np.array([solved[i][1] for i in keep])
    covariances = Factors(np.array([solved[i][2] for i in keep]))
    log_noise_density = density[keep] - np.log1p(np.exp(-u[keep]))
    return _posterior(problem, log_weights[keep], scale, location, covariances, log_noise_density)


def _scatter(u: Array, lost: float) -> Array:
    """Return the scatter at u: log s = log(lost) + u - exp(-u), (11).

    To the right it is log s; to the left s falls so fast that the flat density of a scatter too small to see,
    which would take many nodes in log s, takes few.
    """
    return lost * np.exp(u - np.exp(-u))


def _matter(log_weights: Array) -> NDArray[np.bool_]:
    return log_weights > log_weights.max() + np.log(_NEGLIGIBLE)


def _posterior(
    problem: Problem,
    log_weights: Array,
    noise_scale: Array,
    location: Array,
    covariances: NodeCovariances,
    log_noise_density: Array | None,
) -> Posterior:
    """Normalise the nodes; give the intercept its place where the model has none."""
    log_total = float(logsumexp(log_weights))
    p = problem.rows.n_features
    posterior = Posterior(
        weights=np.exp(log_weights - log_total),
        location=location,
        covariances=covariances,
        noise_scale=noise_scale,
        center=np.zeros(p),
        log_noise_density=log_noise_density,
        log_evidence=_log_evidence(problem, log_total),
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
