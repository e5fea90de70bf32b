"""What is integrated over the noise where the prior is Gaussian and fixed: (11), under each kind of noise.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import wrightomega

from ...measurements.compressed import Groups
from ..given_scale import LOG_TWO_PI, GivenScale, log_explained
from ..node_covariances import Factors, NodeCovariances, SharedBasis
from ..numerics.quadrature import DROP, even_lattices, gauss_rule, peak_intervals, trapezoid
from ..problem import Problem

__all__ = [
    "LOWEST",
    "AdditiveIntegrand",
    "Nodes",
    "ScaledIntegrand",
    "Solved",
    "scatter_at",
    "scatter_coordinate",
]

Array = NDArray[np.float64]


# exp(-u) at the left end: the scatter there is exp(-59) of what could be seen.
LOWEST = -4.0


class Nodes(NamedTuple):
    """Noise scales, and the Gaussians for B at them."""

    log_density: Array
    """(G,) of the integrand's coordinate given the data, up to a constant."""
    noise_scale: Array
    """(G,)"""
    location: Array
    """(G, P)"""
    covariances: NodeCovariances


class Solved(NamedTuple):
    """The Gaussians for B at G noise scales, and how well they explain the data."""

    log_evidence: Array
    """(G,) log p(data | s) without the errors' determinant and the 2 pi of the rows."""
    location: Array
    """(G, P)"""
    root: Array
    """(G, P, P) F with F F' the covariance."""

    @classmethod
    def joined(cls, parts: Sequence[Solved]) -> Solved:
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


def _solve_all(factors: Sequence[Array], prior_mean: Array, prior_sd: Array) -> Solved:
    """Solve for rows of unit error: the prior's rows are stacked on the data's and eliminated, (9), (10)."""
    size = len(prior_sd)
    normal = np.isfinite(prior_sd)
    prior = np.diag(1.0 / prior_sd)[normal]
    target = prior @ np.where(normal, prior_mean, 0.0)
    rows = len(factors[0])
    parts = []
    # Numbers of stacked matrices that are in hand at once.
    block_numbers = 2**20
    for start in range(0, len(factors), block := max(1, block_numbers // (rows + size) ** 2)):
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
            + 0.5 * np.count_nonzero(~normal) * LOG_TWO_PI
            - 0.5 * np.square(triangle[:, size:, size]).sum(axis=1)
        )
        parts.append(Solved(log_evidence, np.einsum("gij,gj->gi", root, triangle[:, :size, size]), root))
    return Solved.joined(parts)


class ScaledIntegrand:
    """The integrand of (11) under noise "scaled", in u = log s."""

    def __init__(
        self,
        problem: Problem,
        given: GivenScale,
        log_error: float,
        log_ratios: Sequence[float] = (),
        lowest: float | None = None,
    ):
        """Take rows of unit error, perhaps with further scales that are multiples of s.

        Parameters
        ----------
        problem : Problem
        given : GivenScale
        log_error : float
            Summed logs of the errors.
        log_ratios : sequence of float, optional
            Logs of further scales by s, whose priors are the problem's: the density is one of their logs, too.
        lowest : float, optional
            Noise scale below which a residual is rounding, where it is not that of the known errors.
        """
        self._conditional, self.tail = given, problem.tail
        self._log_ratios, self._ratio_priors = log_ratios, problem.ratio_priors
        self._noise_prior = problem.noise_prior
        self._total_weight = N = problem.total_weight
        self._residual = residual = self._conditional.residual
        # The likelihood's own peak, -N log s - residual / (2 s**2), is of order N: taken about its top, it keeps its
        # digits for any N.
        self._top = 0.5 * float(np.log(residual / N)) if residual > 0.0 else 0.0
        self.constant = -N * self._top - log_error - (0.5 * N if residual > 0.0 else 0.0)
        """What the log density leaves out."""
        self.lower = float(np.log(problem.resolution() if lowest is None else lowest))
        """Nothing is below it."""

    def coordinate(self, noise_scale: Array) -> Array:
        """Return u at noise scales."""
        return np.log(noise_scale)

    def log_density(self, u: Array) -> Array:
        """Return the log density of u given the data, up to a constant."""
        scale, away = np.exp(u), u - self._top
        misfit = -self._total_weight * (away + (0.5 * np.expm1(-2.0 * away) if self._residual > 0.0 else 0.0))
        density = misfit + self._conditional.log_explained(scale) + self._noise_prior.log_density(scale) + u
        for prior, log_ratio in zip(self._ratio_priors, self._log_ratios, strict=False):
            density = density + prior.log_density(np.exp(log_ratio + u)) + log_ratio + u
        return np.asarray(density)

    @property
    def upper(self) -> float:
        """Where to stop looking for the density at first."""
        square = self._residual + float(np.square(self._conditional.projected).sum())
        return max(0.5 * float(np.log(max(square / self._total_weight, 1e-300))), self.lower) + 3.0

    def lattice(self) -> tuple[Array, Array, Array]:
        """Return log noise scales, log densities and log weights, (G,) each, whose sum is the integral."""
        u, values, resolved = even_lattices(
            self.log_density, np.array([self.lower]), np.array([self.upper]), self.tail
        )
        points, density = u[0], values[0]
        spacing = float(points[1] - points[0])
        # Even points do where there is one peak, wider than numbers are apart, within the bounds.
        if resolved[0] and spacing > 0.0 and max(density[0], density[-1]) < density.max() - 0.5 * DROP:
            return points, density, density + np.log(spacing)
        intervals = peak_intervals(self.log_density, self.lower, self.upper, self.tail)
        return trapezoid(self.log_density, intervals)

    def few(self) -> tuple[Array, Array]:
        """Return log noise scales of a Gauss rule, and their log weights, `constant` included."""
        log_scale, _, log_weights = self.lattice()
        return _few(log_scale[None], log_weights[None], np.array([self.constant]))[0]

    @staticmethod
    def few_of_each(integrands: Sequence[ScaledIntegrand]) -> list[tuple[Array, Array]]:
        """Return what `few` does for integrands of one problem, one by one only where even points do not do."""
        lower, upper = np.array([(one.lower, one.upper) for one in integrands]).T
        u, values, resolved = even_lattices(_together(integrands), lower, upper, integrands[0].tail)
        spacing = u[:, 1] - u[:, 0]
        resolved &= spacing > 0.0  # a peak may be narrower than numbers are apart
        log_weights = values + np.log(np.where(resolved, spacing, 1.0))[:, None]
        found = _few(u, log_weights, np.array([one.constant for one in integrands]))
        for i in np.flatnonzero(~resolved).tolist():
            found[i] = integrands[i].few()
        return found

    def nodes(self, u: Array, log_density: Array | None = None) -> Nodes:
        """Return B's Gaussians; the density is computed where it is not known."""
        scale = np.exp(u)
        covariances = SharedBasis(self._conditional.basis, self._conditional.variances(scale))
        density = self.log_density(u) if log_density is None else log_density
        return Nodes(density, scale, self._conditional.location(scale), covariances)


def _together(integrands: Sequence[ScaledIntegrand]) -> Callable[[Array], Array]:
    """Return the log densities of integrands of one problem, at a row of points each."""
    one, given = integrands[0], [each._conditional for each in integrands]
    singular, projected = np.array([(of.singular, of.projected) for of in given]).swapaxes(0, 1)[:, :, None]
    residual, log_flat, top = np.array(
        [(of.residual, of.log_flat, each._top) for of, each in zip(given, integrands, strict=True)]
    ).T[:, :, None]
    log_ratios = np.array([each._log_ratios for each in integrands]).T[:, :, None]

    def log_density(u: Array) -> Array:
        scale, away = np.exp(u), u - top
        density = np.where(residual > 0.0, away + 0.5 * np.expm1(-2.0 * away), away)
        density *= -one._total_weight
        density += log_explained(scale, singular, projected, given[0].n_flat) + log_flat
        density += one._noise_prior.log_density(scale) + u
        for prior, log_ratio in zip(one._ratio_priors, log_ratios, strict=False):
            density += prior.log_density(np.exp(log_ratio + u)) + (log_ratio + u)
        return np.asarray(density)

    return log_density


def _few(u: Array, log_weights: Array, constant: Array) -> list[tuple[Array, Array]]:
    """Return the points of a Gauss rule for each row of others, and their log weights."""
    total = np.logaddexp.reduce(log_weights, axis=1)[:, None]
    # Noise scales that stand for all.
    scales = 7
    points, shares = gauss_rule(u, np.exp(log_weights - total), scales)
    with np.errstate(divide="ignore"):
        return list(zip(points, np.log(shares) + (total + constant[:, None]), strict=True))


class AdditiveIntegrand:
    """The integrand of (11) under noise "additive"; every value of s weights the rows anew, by a factorisation."""

    lower = LOWEST
    """Nothing is below it."""

    def __init__(self, problem: Problem, prior_mean: Array, prior_sd: Array):
        self._problem, self._prior = problem, (prior_mean, prior_sd)
        # Below this the scatter is lost among the known errors, (11).
        self.lost = problem.visible_scatter
        groups = problem.groups
        self.exact_groups = groups if groups is not None and groups.exact else None
        """Where rows share few errors, what stands for them."""

    def coordinate(self, noise_scale: Array) -> Array:
        """Return u at noise scales."""
        return scatter_coordinate(noise_scale, self.lost)

    def found(self, u: Array, source: Groups | None) -> tuple[Array, Solved]:
        """Return the log density of u given the data, up to a constant, and B's Gaussians."""
        scale = scatter_at(u, self.lost)
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
        return Nodes(density, scatter_at(u, self.lost), solved.location, Factors(solved.root))


def scatter_at(u: Array, lost: Array | float) -> Array:
    """Return the scatter at u: log s = log(lost) + u - exp(-u), (11).

    To the right it is log s; to the left s falls so fast that the flat density of a scatter too small to see,
    which would take many nodes in log s, takes few.
    """
    return lost * np.exp(u - np.exp(-u))


def scatter_coordinate(scatter: Array, lost: float) -> Array:
    """Return u at scatters: the inverse of `scatter_at`."""
    away = np.log(scatter / lost)
    return np.asarray(away + wrightomega(-away), dtype=np.float64)
