"""Predictions with heavy-tailed noise: mixtures of Student's t distributions.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, ndtri, stdtr, stdtrit

from .checks import check_n_samples
from .errors import Parts
from .inference.posterior import Posterior, row_blocks
from .mixtures import Mixture, by_lower_half, newton_on_normal_scale
from .predictive import LinearPredictive, column
from .reduction import matched, moments, spread_out, systematic

Array = NDArray[np.float64]

__all__ = ["StudentTMixture", "StudentTPredictive"]

# Nodes that stand for all where each would cost an incomplete beta function.
_FEW = 128
# Of the quadrature of F (1 - F): its spacing, in the smallest scale, and what it leaves out of the tails.
_SPACING, _LEFT_OUT, _MOST_POINTS = 0.75, 1e-8, 2000
_ROOT_TWO_PI = np.sqrt(2.0 * np.pi)


@dataclass(frozen=True, eq=False)
class StudentTMixture:
    """Mixtures of Student's t distributions, one a row.

    Parameters
    ----------
    weights, nu : ndarray of shape (G,)
    locations, scales : ndarray of shape (n, G)
        Scales are positive.
    few : ndarray of intp, optional
        Components that stand for all, with equal weights, in all but the density: the locations' mean and variance
        at each row are kept.
    """

    weights: Array
    nu: Array
    locations: Array
    scales: Array
    few: NDArray[np.intp] | None = None

    def log_density(self, value: Array) -> Array:
        z = (value[:, None] - self.locations) / self.scales
        return logsumexp(_log_density(z, self.nu) - np.log(self.scales), b=self.weights, axis=1)

    def cdf(self, value: Array) -> Array:
        mixture = self._thinned()
        z = (value[:, None] - mixture.locations) / mixture.scales
        return np.minimum(stdtr(mixture.nu, z) @ mixture.weights, 1.0)

    def quantile(self, probability: Array) -> Array:
        mixture = self._thinned()

        def solve(rows: NDArray[np.intp], sign: Array, tail: Array) -> Array:
            locations = mixture.locations[rows] * sign[:, None]
            return StudentTMixture(
                mixture.weights, mixture.nu, locations, mixture.scales[rows]
            )._lower_quantile(tail)

        return by_lower_half(np.broadcast_to(probability, len(self.locations)), solve)

    def _lower_quantile(self, tail: Array) -> Array:
        """Return quantiles of probabilities at or below 1/2, bracketed by the components' quantiles."""
        levels, level = np.unique(tail, return_inverse=True)
        quantiles = self.locations + self.scales * stdtrit(self.nu, levels[:, None])[level]

        def evaluate(x: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
            scales = self.scales[rows]
            z = (x[:, None] - self.locations[rows]) / scales
            density = (np.exp(_log_density(z, self.nu)) / scales) @ self.weights
            return stdtr(self.nu, z) @ self.weights, density * _ROOT_TWO_PI

        lower, upper = quantiles.min(axis=1), quantiles.max(axis=1)
        return newton_on_normal_scale(ndtri(tail), quantiles @ self.weights, lower, upper, evaluate)

    def crps(self, value: Array) -> Array:
        """Return the mean distance of a draw from the value less half the mean distance of two draws, (n,).

        The first in closed form (Jordan, Krüger & Lerch 2019, J. Stat. Software 90(12), appendix A.2), the second as
        the integral of F (1 - F). Infinite where nu may be 1 or less.
        """
        if (self.nu[self.weights > 0.0] <= 1.0).any():
            return np.full(len(value), np.inf)
        mixture = self._thinned()
        nu = mixture.nu
        z = (value[:, None] - mixture.locations) / mixture.scales
        distance = z * (2.0 * stdtr(nu, z) - 1.0)
        distance += 2.0 * np.exp(_log_density(z, nu)) * (nu + np.square(z)) / (nu - 1.0)
        to_value = (mixture.scales * distance) @ mixture.weights
        return to_value - mixture._half_distance()

    def _half_distance(self) -> Array:
        """Return half the mean distance of two draws, (n,).

        The trapezoid rule in u, x = center + scale sinh(u), in which the tails are exponential.
        """
        answer = np.empty(len(self.locations))
        center = self.locations @ self.weights
        used = self.weights > 0.0
        lightest = self.nu[used].min() - 1.0
        for row in range(len(answer)):
            away = self.locations[row, used] - center[row]
            scale, largest = self.scales[row, used].min(), self.scales[row, used].max()
            reach = np.hypot(np.abs(away).max(), scale)
            end = np.arcsinh((reach + largest) / scale) + np.log(1.0 / _LEFT_OUT) / lightest
            spacing = max(_SPACING * scale / reach, 2.0 * end / _MOST_POINTS)
            u = np.arange(-end, end + spacing, spacing)
            z = (scale * np.sinh(u)[:, None] - away) / self.scales[row, used]
            # Of F and 1 - F the smaller, so that the tails keep their digits.
            smaller = stdtr(self.nu[used], np.where(u > 0.0, -1.0, 1.0)[:, None] * z) @ self.weights[used]
            answer[row] = spacing * scale * float((smaller * (1.0 - smaller)) @ np.cosh(u))
        return answer

    def _thinned(self) -> StudentTMixture:
        """Return the mixture of the few components that stand for all."""
        if self.few is None:
            return self
        weights = np.full(len(self.few), 1.0 / len(self.few))
        mean, sd = moments(self.locations, self.weights)
        locations = matched(self.locations[:, self.few], weights, mean, sd)
        return StudentTMixture(weights, self.nu[self.few], locations, self.scales[:, self.few])


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
        self._nu = np.broadcast_to(np.asarray(nu, dtype=np.float64), posterior.weights.shape)
        weights = posterior.weights
        # Nodes at which the line itself is Gaussian become points of a quadrature rule.
        self._line_spread = feature_error is not None or bool(posterior.covariances.root(weights).any())
        self._nodes = np.arange(len(weights))
        if self._line_spread:
            _, weights, self._nodes = spread_out(
                np.zeros((0, len(weights))), np.zeros((0, len(weights))), weights
            )
        self._few: NDArray[np.intp] | None = None
        if len(weights) > _FEW:
            # Evenly spaced in far and near quantiles of the noise; the same at every row, none of which then depends
            # on others.
            far, near = (posterior.noise_scale * stdtrit(self._nu, level) for level in (0.995, 0.75))
            self._few = systematic(weights, far[self._nodes], near[self._nodes], _FEW)

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        check_n_samples(n_samples)
        rng = self._generator(random_state)
        coefficients, nodes = self._posterior.draw(n_samples, rng)
        answer = np.empty((len(self), n_samples))
        for rows in row_blocks(len(self), n_samples + coefficients.shape[1]):
            answer[rows] = self._design(rows) @ coefficients.T
            scale = np.sqrt(self._squared_scale(rows)[:, nodes])
            answer[rows] += scale * rng.standard_t(self._nu[nodes], scale.shape)
            if self._feature_error is not None:
                answer[rows] += np.sqrt(self._feature_error[nodes]) * rng.standard_normal(scale.shape)
        return answer

    def _mixture(self, rows: slice) -> Mixture:
        weights, nu = self._posterior.weights, self._nu
        locations, variances = self._posterior.linear(self._design(rows))
        scales = np.sqrt(self._squared_scale(rows))
        if self._line_spread:
            if self._feature_error is not None:
                variances = variances + self._feature_error
            locations, weights, nodes = spread_out(locations, np.sqrt(variances), weights)
            scales, nu = scales[:, nodes], nu[nodes]
        return StudentTMixture(weights, nu, locations, scales, self._few)

    @property
    def _width(self) -> int:
        return 8 * len(self._nodes)

    def _squared_scale(self, rows: slice) -> Array:
        """Return the squared scale of the noise at every node, (rows, G)."""
        total = np.zeros((len(range(len(self))[rows]), len(self._nu)))
        for fixed, multiplied in self._noise.values():
            total += column(fixed, rows) + column(multiplied, rows) * np.square(self._posterior.noise_scale)
        return total

    def _noise_means(self) -> Parts:
        """Return each part of the noise's variance as its posterior mean."""
        weights, nu = self._posterior.weights, self._nu
        used = weights > 0.0
        if (nu[used] <= 2.0).any():
            return {
                name: (_infinite(fixed), _infinite(multiplied))
                for name, (fixed, multiplied) in self._noise.items()
            }
        factor = weights[used] * nu[used] / (nu[used] - 2.0)
        squares = float(factor @ np.square(self._posterior.noise_scale[used]))
        return {
            name: (fixed * float(factor.sum()), multiplied * squares)
            for name, (fixed, multiplied) in self._noise.items()
        }


def _infinite(part: Array | float) -> Array | float:
    """Return infinity where a part of the noise is there, and zero where it is not."""
    return np.where(np.asarray(part) > 0.0, np.inf, 0.0)
