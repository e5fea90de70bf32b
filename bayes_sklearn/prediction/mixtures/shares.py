"""Mixtures of distributions of shares, one a row: logit-normal and beta.

A component's share is kept along with what it leaves of one, so that neither end loses digits. Weights are (n, M).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import (
    betainc,
    betaln,
    digamma,
    expit,
    logit,
    ndtri,
    polygamma,
    xlog1py,
    xlogy,
)

from . import normal as mixtures
from .normal import Density, Mixture, average, by_lower_half, newton_on_normal_scale

__all__ = ["LEAST_DISPERSION", "BetaMixture", "LogitNormalMixture", "Pair", "Stacked"]

Array = NDArray[np.float64]

_ROOT_TWO_PI = np.sqrt(2.0 * np.pi)

# No float has its share beyond.
_LOGIT_END = 745.0

_LEGENDRE, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(64)

_REACH = 7.0

# Of the trapezoid rule for the spread of beta mixtures.
_SPACING, _BETA_REACH, _SHARE_END, _MOST_POINTS = 0.25, 10.0, 30.0, 1000

_TINY = 1e-300

LEAST_DISPERSION = 1e-10


@dataclass(frozen=True, eq=False)
class LogitNormalMixture:
    """Shares whose log odds are mixtures of normal distributions.

    Parameters
    ----------
    weights, means : ndarray of shape (n, M)
    sds : ndarray of shape (n, 1) or (n, M)
    """

    weights: Array
    means: Array
    sds: Array

    def log_density(self, value: Array) -> Array:
        inside = (value > 0.0) & (value < 1.0)
        share = np.where(inside, value, 0.5)
        density = mixtures.log_density(logit(share), self.weights, self.means, self.sds)
        return np.where(inside, density - np.log(share) - np.log1p(-share), -np.inf)

    def cdf(self, value: Array) -> Array:
        below = mixtures.cdf(logit(np.clip(value, 0.0, 1.0)), self.weights, self.means, self.sds)
        return np.where(value >= 1.0, 1.0, below)

    def quantile(self, probability: Array) -> Array:
        return expit(mixtures.quantile(probability, self.weights, self.means, self.sds))

    def crps(self, value: Array) -> Array:
        """Return the integrals of F^2 below the value and of (1 - F)^2 above it, by Gauss-Legendre rules."""
        lower = (self.means - _REACH * self.sds).min(axis=1)
        upper = (self.means + _REACH * self.sds).max(axis=1)
        middle = np.clip(logit(np.clip(value, 0.0, 1.0)), lower, upper)
        # Beyond the ends F is 0 or 1.
        score = np.maximum(expit(lower) - value, 0.0) + np.maximum(value - expit(upper), 0.0)
        for start, end, above in ((lower, middle, False), (middle, upper, True)):
            half = 0.5 * (end - start)
            for place, weight in zip(_LEGENDRE, _LEGENDRE_WEIGHTS, strict=True):
                x = start + half * (1.0 + place)
                probability = mixtures.cdf(x, self.weights, self.means, self.sds)
                square = np.square(1.0 - probability if above else probability)
                score += half * weight * square * expit(x) * expit(-x)
        return score


@dataclass(frozen=True, eq=False)
class BetaMixture:
    """Mixtures of beta distributions by mean share and dispersion: alpha = share (1 - rho) / rho.

    Parameters
    ----------
    weights, share, rest : ndarray of shape (n, M)
        `rest` is 1 - share.
    dispersion : ndarray of shape (n, M)
        rho, in [0, 1); below 1e-10 it is taken as that.
    """

    weights: Array
    share: Array
    rest: Array
    dispersion: Array

    @cached_property
    def _precision(self) -> Array:
        return (1.0 - self.dispersion) / np.maximum(self.dispersion, LEAST_DISPERSION)

    @cached_property
    def _alpha(self) -> Array:
        return np.maximum(self.share * self._precision, _TINY)

    @cached_property
    def _beta(self) -> Array:
        return np.maximum(self.rest * self._precision, _TINY)

    def log_density(self, value: Array) -> Array:
        inside = (value >= 0.0) & (value <= 1.0)
        y = np.where(inside, value, 0.5)[:, None]
        terms = xlogy(self._alpha - 1.0, y) + xlog1py(self._beta - 1.0, -y) - betaln(self._alpha, self._beta)
        highest = np.where((self.weights > 0.0), terms, -np.inf).max(axis=1)
        finite = np.isfinite(highest)
        with np.errstate(invalid="ignore"):
            total = average(np.exp(terms - np.where(finite, highest, 0.0)[:, None]), self.weights)
        # At 0 and 1 a component's density may be infinite, or all of them zero.
        density = np.where(finite, highest + np.log(np.where(finite, total, 1.0)), highest)
        return np.where(inside, density, -np.inf)

    def cdf(self, value: Array) -> Array:
        y = np.clip(value, 0.0, 1.0)[:, None]
        below = np.asarray(betainc(self._alpha, self._beta, y), dtype=np.float64)
        return np.minimum(average(below, self.weights), 1.0)

    def quantile(self, probability: Array) -> Array:
        """Solve on the scale of the log odds, mirrored by exchange of alpha and beta."""

        def solve(rows: NDArray[np.intp], sign: Array, tail: Array) -> Array:
            up = (sign > 0.0)[:, None]
            alpha, beta = self._alpha[rows], self._beta[rows]
            alpha, beta = np.where(up, alpha, beta), np.where(up, beta, alpha)
            weights, constant = self.weights[rows], betaln(alpha, beta)
            means, sds = _log_odds_moments(alpha, beta)
            mean = average(means, weights)
            sd = np.sqrt(average(np.square(sds) + np.square(means - mean[:, None]), weights))

            def evaluate(x: Array, here: NDArray[np.intp]) -> tuple[Array, Array]:
                a, b, column = alpha[here], beta[here], x[:, None]
                density = np.exp(
                    -a * np.logaddexp(0.0, -column) - b * np.logaddexp(0.0, column) - constant[here]
                )
                below = np.asarray(betainc(a, b, expit(column)), dtype=np.float64)
                return average(below, weights[here]), average(density, weights[here]) * _ROOT_TWO_PI

            end = np.full(len(rows), _LOGIT_END)
            return newton_on_normal_scale(ndtri(tail), mean + ndtri(tail) * sd, -end, end, evaluate)

        return expit(by_lower_half(np.broadcast_to(probability, len(self.weights)), solve))

    def crps(self, value: Array) -> Array:
        """Return the mean distance of a draw from the value, in closed form, less half that of two draws."""
        y = np.clip(value, 0.0, 1.0)[:, None]
        below = 2.0 * betainc(self._alpha, self._beta, y) - 1.0
        partial = 1.0 - 2.0 * betainc(self._alpha + 1.0, self._beta, y)
        to_value = average(y * below + self.share * partial, self.weights)
        return to_value + np.abs(value - y[:, 0]) - self._half_distance()

    def _half_distance(self) -> Array:
        """Return the integral of F (1 - F), by the trapezoid rule in the log odds.

        F itself, on the rule's points, is summed up from the density, with the first term of the Euler-Maclaurin
        formula: an incomplete beta function costs as much as fifty densities.
        """
        alpha, beta = self._alpha, self._beta
        means, sds = _log_odds_moments(alpha, beta)
        lower = np.clip((means - _BETA_REACH * sds).min(axis=1), -_SHARE_END, _SHARE_END)
        upper = np.clip((means + _BETA_REACH * sds).max(axis=1), -_SHARE_END, _SHARE_END)
        finest = _SPACING * np.minimum(sds.min(axis=1), 1.0)
        points = int(np.clip(np.ceil(((upper - lower) / finest).max()), 2, _MOST_POINTS))
        spacing = (upper - lower) / points
        constant = betaln(alpha, beta)
        summed, total = self.cdf(expit(lower)), np.zeros(len(means))
        for j in range(points + 1):
            x = lower + j * spacing
            log_share, log_rest = -np.logaddexp(0.0, -x), -np.logaddexp(0.0, x)
            share, rest = np.exp(log_share), np.exp(log_rest)
            terms = alpha * log_share[:, None]
            terms += beta * log_rest[:, None]
            terms -= constant
            terms = np.exp(terms, out=terms)
            terms *= self.weights
            density = terms.sum(axis=1)
            slope = np.einsum("nm,nm->n", terms, alpha) * rest - np.einsum("nm,nm->n", terms, beta) * share
            correction = spacing**2 / 12.0 * slope
            if j == 0:
                summed += correction
            else:
                summed += 0.5 * spacing * density
            probability = np.clip(summed - correction, 0.0, 1.0)
            summed += 0.5 * spacing * density
            total += probability * (1.0 - probability) * share * rest
        return total * spacing


def _log_odds_moments(alpha: Array, beta: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of the log odds of beta distributions."""
    return digamma(alpha) - digamma(beta), np.sqrt(polygamma(1, alpha) + polygamma(1, beta))


@dataclass(frozen=True, eq=False)
class Pair:
    """A mixture for the density, of many components, and one of few that stand for them for the rest."""

    many: Density
    few: Mixture

    def log_density(self, value: Array) -> Array:
        return self.many.log_density(value)

    def cdf(self, value: Array) -> Array:
        return self.few.cdf(value)

    def quantile(self, probability: Array) -> Array:
        return self.few.quantile(probability)

    def crps(self, value: Array) -> Array:
        return self.few.crps(value)


@dataclass(frozen=True, eq=False)
class Stacked:
    """Mixtures of several kinds, each for some of the rows."""

    n: int
    parts: tuple[tuple[NDArray[np.intp], Mixture], ...]

    def log_density(self, value: Array) -> Array:
        return self._join([(rows, part.log_density(value[rows])) for rows, part in self.parts])

    def cdf(self, value: Array) -> Array:
        return self._join([(rows, part.cdf(value[rows])) for rows, part in self.parts])

    def quantile(self, probability: Array) -> Array:
        return self._join([(rows, part.quantile(probability[rows])) for rows, part in self.parts])

    def crps(self, value: Array) -> Array:
        return self._join([(rows, part.crps(value[rows])) for rows, part in self.parts])

    def _join(self, answers: list[tuple[NDArray[np.intp], Array]]) -> Array:
        joined = np.empty(self.n)
        for rows, answer in answers:
            joined[rows] = answer
        return joined
