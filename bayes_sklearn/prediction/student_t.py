"""Predictions with heavy-tailed noise: mixtures of Student's t distributions.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, ndtri, stdtr, stdtrit

from ..inference.numerics.quadrature import gauss_rule
from ..inference.posterior import Posterior, row_blocks
from ..measurements.checks import check_n_samples
from .line import LinearPredictive, mean_parts, noise_variance
from .mixtures.few_points import gaussians, moments, spread_out, strata
from .mixtures.normal import Mixture, average, by_lower_half, newton_on_normal_scale
from .mixtures.shares import Pair, Stacked
from .mixtures.student_t import EveryNode, HeavyMixture, convolved, pooled_rule
from .noise import Parts

__all__ = ["StudentTMixture", "StudentTPredictive"]

Array = NDArray[np.float64]

# Where every node would cost an incomplete beta function: groups of nodes that are alike in their noise, and points
# of the line in each.
_GROUPS, _POINTS = 43, 3

# The line's standard deviation over the noise's scale, up to which three points of it do.
_RATIO = 0.35

# Where the line is wider: groups of nodes, and Gaussians for the line in each.
_WIDE_GROUPS, _GAUSSIANS = 20, 49

# Rows of a block; what is done group by group is then not lost in calls.
_BLOCK_ROWS = 64

# Of the quadrature of F (1 - F): its spacing, in the smallest scale, and what it leaves out of the tails.
_SPACING, _NORMAL_END, _LEFT_OUT, _MOST_POINTS = 0.5, 7.0, 1e-8, 2000

_ROOT_TWO_PI = np.sqrt(2.0 * np.pi)


@dataclass(frozen=True, eq=False)
class StudentTMixture:
    """Mixtures of Student's t distributions, one a row.

    Parameters
    ----------
    weights : ndarray of shape (G,) or (n, G)
    nu : ndarray of shape (G,)
    locations, scales : ndarray of shape (n, G)
        Scales are positive.
    groups : list of ndarray of intp, optional
        Groups of components alike in scale and nu. In all but the density, a few points with the distribution of a
        group's locations and the noise of one of its members stand for it.
    """

    weights: Array
    nu: Array
    locations: Array
    scales: Array
    groups: list[NDArray[np.intp]] | None = None

    def log_density(self, value: Array) -> Array:
        z = (value[:, None] - self.locations) / self.scales
        return logsumexp(_log_density(z, self.nu) - np.log(self.scales), b=self.weights, axis=1)

    def cdf(self, value: Array) -> Array:
        mixture = self._thinned()
        z = (value[:, None] - mixture.locations) / mixture.scales
        return np.minimum(_average(stdtr(mixture.nu, z), mixture.weights), 1.0)

    def quantile(self, probability: Array) -> Array:
        mixture = self._thinned()

        def solve(rows: NDArray[np.intp], sign: Array, tail: Array) -> Array:
            locations = mixture.locations[rows] * sign[:, None]
            weights = mixture.weights if mixture.weights.ndim == 1 else mixture.weights[rows]
            return StudentTMixture(weights, mixture.nu, locations, mixture.scales[rows])._lower_quantile(tail)

        return by_lower_half(np.broadcast_to(probability, len(self.locations)), solve)

    def _lower_quantile(self, tail: Array) -> Array:
        """Return quantiles of probabilities at or below 1/2, bracketed by the components' quantiles."""
        levels, level = np.unique(tail, return_inverse=True)
        quantiles = self.locations + self.scales * stdtrit(self.nu, levels[:, None])[level]

        def evaluate(x: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
            scales = self.scales[rows]
            z = (x[:, None] - self.locations[rows]) / scales
            weights = self.weights if self.weights.ndim == 1 else self.weights[rows]
            density = average(np.exp(_log_density(z, self.nu)) / scales, weights)
            return _average(stdtr(self.nu, z), weights), density * _ROOT_TWO_PI

        lower, upper = quantiles.min(axis=1), quantiles.max(axis=1)
        start = average(quantiles, self.weights)
        return newton_on_normal_scale(ndtri(tail), start, lower, upper, evaluate)

    def crps(self, value: Array) -> Array:
        """Return the mean distance of a draw from the value less half the mean distance of two draws, (n,).

        The first in closed form (Jordan, Krüger & Lerch 2019, J. Stat. Software 90(12), appendix A.2), the second as
        the integral of F (1 - F). Infinite where nu may be 1 or less.
        """
        mixture = self._thinned()
        nu = mixture.nu
        if (nu <= 1.0).any():
            return np.full(len(value), np.inf)
        z = (value[:, None] - mixture.locations) / mixture.scales
        distance = z * (2.0 * stdtr(nu, z) - 1.0)
        distance += 2.0 * np.exp(_log_density(z, nu)) * (nu + np.square(z)) / (nu - 1.0)
        return average(mixture.scales * distance, mixture.weights) - mixture._half_distance()

    def _half_distance(self) -> Array:
        """Return half the mean distance of two draws, (n,).

        The trapezoid rule in u, x = center + 2 scale sinh(u), in which the tails are exponential.
        """
        answer = np.empty(len(self.locations))
        every = np.broadcast_to(self.weights, self.locations.shape)
        center, lightest = average(self.locations, self.weights), self.nu.min() - 1.0
        for row, weights in enumerate(every):
            away, scales = self.locations[row] - center[row], self.scales[row]
            unit, farthest = 2.0 * scales.min(), np.abs(away).max()
            # Beyond the normal's end the tails are powers.
            end = np.arcsinh((farthest + _NORMAL_END * scales.max()) / unit) - np.log(_LEFT_OUT) / lightest
            spacing = max(0.5 * _SPACING * unit / np.hypot(farthest, unit), 2.0 * end / _MOST_POINTS)
            u = np.arange(-end, end + spacing, spacing)
            # Of F and 1 - F the smaller, so that the tails keep their digits.
            z = np.where(u > 0.0, -1.0, 1.0)[:, None] * (unit * np.sinh(u)[:, None] - away) / scales
            smaller = stdtr(self.nu, z) @ weights
            answer[row] = spacing * unit * float((smaller * (1.0 - smaller)) @ np.cosh(u))
        return answer

    def _thinned(self) -> StudentTMixture:
        """Return the mixture of the few components that stand for all, none of them without weight."""
        if self.groups is None:
            used = np.broadcast_to(self.weights, self.locations.shape).any(axis=0)
            if used.all():
                return self
            return StudentTMixture(
                self.weights[..., used], self.nu[used], self.locations[:, used], self.scales[:, used]
            )
        weights, locations, members, scales = [], [], [], []
        for nodes in self.groups:
            mass = self.weights[nodes].sum()
            points, masses = gauss_rule(self.locations[:, nodes], self.weights[nodes] / mass, _POINTS)
            weights.append(mass * masses)
            locations.append(points)
            below = np.cumsum(self.weights[nodes])
            members += [nodes[np.searchsorted(below, 0.5 * below[-1])]] * points.shape[1]
            scales += [self.scales[:, nodes] @ (self.weights[nodes] / mass)] * points.shape[1]
        return StudentTMixture(
            np.concatenate(weights, axis=1),
            self.nu[members],
            np.concatenate(locations, axis=1),
            np.column_stack(scales),
        )


def _average(values: object, weights: Array) -> Array:
    """Return each row's weighted sum of what a SciPy function returned."""
    return average(np.asarray(values, dtype=np.float64), weights)


def _log_density(z: Array, nu: Array) -> Array:
    """Return the log density of standard t distributions, (n, G)."""
    constant = gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * np.log(np.pi * nu)
    density = np.log1p(np.square(z) / nu)
    density *= -0.5 * (nu + 1.0)
    density += constant
    return density


class StudentTPredictive(LinearPredictive):
    """Distribution of new measurements with Student's t noise, (14) being its squared scale.

    Its variance is nu / (nu - 2) times that, and infinite where nu may be 2 or less. The mean is the line's, the
    center of symmetry, for every nu.

    Parameters
    ----------
    nu : float or ndarray of shape (G,)
        Degrees of freedom at the posterior's nodes.
    posterior, X, features, noise, seed, index, feature_error
        As for `LinearPredictive`; there has to be noise. For the line alone take `LinearPredictive`.
    """

    def __init__(
        self,
        nu: Array | float,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None,
        noise: Parts,
        seed: int,
        index: Any = None,
        feature_error: Array | None = None,
    ):
        super().__init__(posterior, X, features, noise, seed, index, feature_error)
        spread = bool(posterior.covariances.root(posterior.weights).any())
        self._prepare(nu, line_spread=feature_error is not None or spread)

    def _prepare(self, nu: Array | float, *, line_spread: bool) -> None:
        """Settle which points stand for the nodes; those at which the line is Gaussian become a quadrature rule's."""
        posterior = self._posterior
        weights = posterior.weights
        self._nu = np.broadcast_to(np.asarray(nu, dtype=np.float64), weights.shape)
        self._line_spread = line_spread
        self._nodes = np.arange(len(weights))
        if self._line_spread:
            _, weights, self._nodes = spread_out(
                np.zeros((0, len(weights))), np.zeros((0, len(weights))), weights
            )
        self._groups: list[NDArray[np.intp]] | None = None
        if len(weights) > _GROUPS * _POINTS:
            far, near = self._likeness()
            self._groups = strata(weights, far[self._nodes], near[self._nodes], _GROUPS)
            self._wide_groups = strata(posterior.weights, far, near, _WIDE_GROUPS)
        else:
            self._wide_groups = [np.array([node]) for node in np.flatnonzero(posterior.weights)]

    def _likeness(self) -> tuple[Array, Array]:
        """Return in what nodes of a group are alike, (G,) each; it is the same at every row.

        Far and near quantiles of the noise; beside a scatter, of that of a row to which both parts of it give alike,
        and of the part that multiplies errors.
        """
        posterior = self._posterior
        far, near = (stdtrit(self._nu, level) for level in (0.995, 0.75))
        if posterior.scatter is None:
            return posterior.noise_scale * far, posterior.noise_scale * near
        _, multiplied, scattered = posterior.noise_terms
        ratio = (posterior.weights @ scattered) / (posterior.weights @ multiplied)
        return np.sqrt(ratio * multiplied + scattered) * far, posterior.noise_scale * near

    @cached_property
    def _precisions(self) -> list[tuple[Array, Array]]:
        """Log precisions and their weights, of the noise of each of the groups for wide lines."""
        weights = self._posterior.weights
        return [
            pooled_rule(self._nu[nodes], weights[nodes] / weights[nodes].sum()) for nodes in self._wide_groups
        ]

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        check_n_samples(n_samples)
        rng = self._generator(random_state)
        coefficients, nodes = self._posterior.draw(n_samples, rng)
        answer = np.empty((len(self), n_samples))
        for rows in row_blocks(len(self), n_samples + coefficients.shape[1]):
            answer[rows] = self._drawn_line(rows, coefficients, nodes, rng)
            scale = np.sqrt(self._squared_scale(rows)[:, nodes])
            answer[rows] += scale * rng.standard_t(self._nu[nodes], scale.shape)
        return answer

    def _node_lines(self, rows: slice) -> tuple[Array, Array]:
        """Return the means and variances of the line at every node, (rows, G) each."""
        means, variances = self._posterior.linear(self._design(rows))
        return means, variances if self._feature_error is None else variances + self._feature_error

    def _drawn_line(
        self, rows: slice, coefficients: Array, nodes: NDArray[np.intp], rng: np.random.Generator
    ) -> Array:
        """Return draws of the line, (rows, draws), the coefficients at the nodes named being these."""
        line = self._design(rows) @ coefficients.T
        if self._feature_error is not None:
            line += np.sqrt(self._feature_error[nodes]) * rng.standard_normal(line.shape)
        return line

    def _mixture(self, rows: slice) -> Mixture:
        weights = self._posterior.weights
        locations, variances = self._node_lines(rows)
        scales = np.sqrt(self._squared_scale(rows))
        # Points that are few are a mixture of t distributions themselves.
        if not self._line_spread and self._groups is None:
            return StudentTMixture(weights, self._nu, locations, scales)
        spread = np.square(moments(locations, weights)[1])
        if self._line_spread:
            spread = spread + average(variances, weights)
        is_wide = spread > np.square(_RATIO * average(scales, weights))
        parts: list[tuple[NDArray[np.intp], Mixture]] = []
        for here, make in ((~is_wide, self._narrow), (is_wide, self._wide)):
            if here.any():
                within = variances[here] if self._line_spread else np.zeros((1, 1))
                parts.append((np.flatnonzero(here), make(locations[here], within, scales[here])))
        return parts[0][1] if len(parts) == 1 else Stacked(len(locations), tuple(parts))

    def _narrow(self, locations: Array, variances: Array, scales: Array) -> Mixture:
        """Return the distributions of rows at which the noise is wider than the line: points of it, with t noise."""
        weights, nu = self._posterior.weights, self._nu
        if self._line_spread:
            locations, weights, nodes = spread_out(locations, np.sqrt(variances), weights)
            scales, nu = scales[:, nodes], nu[nodes]
        return StudentTMixture(weights, nu, locations, scales, self._groups)

    def _wide(self, locations: Array, variances: Array, scales: Array) -> Mixture:
        """Return the distributions of other rows: Gaussians of the line, and noise that is a mixture of them."""
        variances = np.broadcast_to(variances, locations.shape)
        of_line, scale = [], []
        for nodes in self._wide_groups:
            weights = self._posterior.weights[nodes]
            mass = weights.sum()
            masses, centres, sds = gaussians(
                locations[:, nodes], variances[:, nodes], weights / mass, _GAUSSIANS
            )
            of_line.append((mass * masses, centres, sds))
            scale.append(scales[:, nodes] @ (weights / mass))
        lightest = float(self._nu[self._posterior.weights > 0.0].min())
        few = HeavyMixture(*convolved(of_line, self._precisions, scale), lightest)
        # Densities are of all nodes.
        if self._line_spread:
            everything = EveryNode(self._posterior.weights, self._nu, locations, variances, np.square(scales))
            return Pair(everything, few)
        return Pair(StudentTMixture(self._posterior.weights, self._nu, locations, scales), few)

    @property
    def _width(self) -> int:
        return 2**17 // _BLOCK_ROWS

    def _squared_scale(self, rows: slice) -> Array:
        """Return the squared scale of the noise at every node, (rows, G)."""
        return noise_variance(self._noise, self._posterior, range(len(self))[rows])

    def _noise_means(self) -> dict[str, Array | float]:
        """Return the posterior mean of each part of the noise's variance."""
        weights, nu = self._posterior.weights, self._nu
        used = weights > 0.0
        if (nu[used] <= 2.0).any():
            means = mean_parts(self._noise, self._posterior, weights)
            return {name: np.where(np.asarray(mean) > 0.0, np.inf, 0.0) for name, mean in means.items()}
        wider = np.zeros(len(weights))
        wider[used] = weights[used] * nu[used] / (nu[used] - 2.0)
        return mean_parts(self._noise, self._posterior, wider)
