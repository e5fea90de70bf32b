"""Mixtures of Gaussians with Student's t noise added: a t distribution is a mixture of Gaussians of many widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from . import normal as mixtures
from .normal import average

__all__ = ["EveryNode", "HeavyMixture", "convolved"]

Array = NDArray[np.float64]

# Log precisions are evenly spaced, in units and in their standard deviations: the trapezoid rule then errs by less
# than 1e-3 of a t density. They reach as far up as the weight falls by so much in its log.
_SPACING, _SPACING_IN_SD, _UPPER_SDS, _FALL = 0.75, 1.25, 8.0, 72.0

# How far they reach down: to where so much is left out of the probability or of the mean distance, in its log, and,
# where they are nearly normal, so far in sds; no farther than the last.
_LEFT_OUT, _LOWER_SDS, _FARTHEST = 18.5, 14.0, 200.0

# For densities far out: those of measurements hundreds of scales from the line.
_OUTLYING = 12.0

# Of the quadrature of F (1 - F): its first spacing, its reach in the widest component's sd, how little it has to
# change, the number of points, and what a component has to add.
_STEP, _REACH, _SETTLED, _MOST_POINTS, _NEGLIGIBLE = 0.25, 7.0, 1e-5, 4000, 1e-8


def precision_rule(nu: Array, *, outlying: bool = False) -> tuple[Array, Array]:
    """Return log precisions and weights, (K, G) each, of the Gaussians that t distributions are mixtures of.

    The trapezoid rule for Gamma(nu / 2, nu / 2) in its log, which reaches far down: low precisions make the tails.

    Parameters
    ----------
    nu : ndarray of shape (G,)
    outlying : bool, default=False
        Whether to reach down for densities far out, rather than for probabilities and mean distances.
    """
    sd = np.sqrt(2.0 / nu)
    if outlying:
        lower = _OUTLYING + 2.0 * _LEFT_OUT / nu
    else:
        # The mean distance, where there is one, goes with precision^((nu - 1) / 2) down there.
        lower = 1.0 + 2.0 * _LEFT_OUT / np.where(nu > 1.0, nu - 1.0 + 1e-3, nu)
    lower = np.minimum(lower, np.where(nu > 30.0, _LOWER_SDS * sd, _FARTHEST))
    upper = np.minimum(1.0 + np.log1p(_FALL / nu), _UPPER_SDS * sd)
    count = int(np.ceil(np.max((lower + upper) / np.minimum(_SPACING, _SPACING_IN_SD * sd))))
    log_precision = np.linspace(-lower, upper, count + 1)
    return log_precision, _masses(log_precision, nu)


def _masses(log_precision: Array, nu: Array) -> Array:
    """Return weights of log precisions, (K, G), under their distributions; they sum to one."""
    # exp(u) - 1 - u keeps the digits that a large nu multiplies.
    weights = np.exp(-0.5 * nu * (np.expm1(log_precision) - log_precision))
    return np.asarray(weights / weights.sum(axis=0), dtype=np.float64)


def pooled_rule(nu: Array, weights: Array) -> tuple[Array, Array]:
    """Return log precisions and weights, (K,) each, of the Gaussians that a mixture of t distributions is one of.

    Parameters
    ----------
    nu, weights : ndarray of shape (G,)
        Of distributions that are alike; the weights sum to one.
    """
    ends = precision_rule(np.array([nu.min(), nu.max()]))[0]
    spacing = ends[1] - ends[0]
    count = int(np.ceil((ends[-1].max() - ends[0].min()) / spacing.min()))
    log_precision = np.linspace(ends[0].min(), ends[-1].max(), count + 1)
    masses = _masses(log_precision[:, None], nu)
    return log_precision, masses @ weights


def convolved(
    line: list[tuple[Array, Array, Array]], noise: list[tuple[Array, Array]], scales: list[Array]
) -> tuple[Array, Array, Array]:
    """Return weights, means and sds, (n, M) each, of mixtures of Gaussians with t noise added, each with its own.

    Parameters
    ----------
    line : list of (weights, means, sds)
        (n, M) each, sds also (n, 1).
    noise : list of (log precisions, weights)
        (K,) each.
    scales : list of ndarray of shape (n,)
    """
    found = []
    for (weights, means, sds), (log_precision, masses), scale in zip(line, noise, scales, strict=True):
        variances = np.square(scale)[:, None, None] * np.exp(-log_precision)
        variances = np.square(sds)[:, :, None] + variances
        shape = (*means.shape, len(masses))
        parts = weights[:, :, None] * masses, means[:, :, None], np.sqrt(variances)
        found.append([np.broadcast_to(part, shape).reshape(len(means), -1) for part in parts])
    joined = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return tuple(joined)  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class HeavyMixture(mixtures.NormalMixture):
    """Mixtures of normal distributions of very different widths.

    Parameters
    ----------
    weights, means, sds : ndarray of shape (n, M)
    lightest : float
        The least degrees of freedom; at 1 or less scores are infinite.
    """

    lightest: float

    def crps(self, value: Array) -> Array:
        if self.lightest <= 1.0:
            return np.full(len(value), np.inf)
        to_value = mixtures.mean_distance(value[:, None] - self.means, self.sds)
        return average(to_value, self.weights) - self._half_distance()

    def _half_distance(self) -> Array:
        """Return half the mean distance of two draws, (n,), as the integral of F (1 - F).

        The trapezoid rule in u, x = center + unit sinh(u): close where components are narrow, far where wide.
        """
        center = average(self.means, self.weights)
        # A mean distance: variances need not be.
        units = average(np.hypot(self.means - center[:, None], self.sds), self.weights)
        found = []
        for weights, means, sds, unit in zip(
            self.weights, self.means - center[:, None], self.sds, units, strict=True
        ):
            used = weights * np.maximum(sds / unit, 1.0) > _NEGLIGIBLE
            found.append(_half_distance(weights[used], means[used], sds[used], float(unit)))
        return np.array(found)


def _half_distance(weights: Array, means: Array, sds: Array, unit: float) -> float:
    """Return half the mean distance of two draws from one mixture, centred, in x = unit sinh(u)."""

    def summed(u: Array) -> float:
        total = 0.0
        # Few points at a time stay in the cache.
        for few in np.array_split(u, 1 + len(u) * len(sds) // 2**17):
            # Of F and 1 - F the smaller, so that the tails keep their digits.
            z: Array = np.where(few > 0.0, -1.0, 1.0)[:, None] * (unit * np.sinh(few)[:, None] - means)
            z /= sds
            ndtr(z, out=z)
            smaller = z @ weights
            total += float((smaller * (1.0 - smaller)) @ np.cosh(few))
        return total

    end = float(np.arcsinh((np.abs(means).max() + _REACH * sds.max()) / unit))
    return unit * _trapezoid(summed, end)


def _trapezoid(summed: Callable[[Array], float], end: float) -> float:
    """Return the integral from -end to end of what vanishes there, by the trapezoid rule, halved until it settles."""
    count = int(np.ceil(end / _STEP))
    step = end / count
    total = summed(np.linspace(-end, end, 2 * count + 1))
    answer = step * total
    while 2 * count < _MOST_POINTS:
        total += summed(np.linspace(-end + 0.5 * step, end - 0.5 * step, 2 * count))
        before, step, count = answer, 0.5 * step, 2 * count
        answer = step * total
        # Convergence is exponential: the last is far closer than it is to the one before.
        if abs(answer - before) < _SETTLED * answer:
            break
    return answer


@dataclass(frozen=True, eq=False)
class EveryNode:
    """Densities of Gaussians with t noise added, summed over nodes.

    Parameters
    ----------
    weights, nu : ndarray of shape (G,)
    means, variances, squared_scales : ndarray of shape (n, G)
    """

    weights: Array
    nu: Array
    means: Array
    variances: Array
    squared_scales: Array

    def log_density(self, value: Array) -> Array:
        squares = 0.5 * np.square(value[:, None] - self.means)
        total = np.full(len(value), -np.inf)
        for log_precision, masses in zip(*precision_rule(self.nu, outlying=True), strict=True):
            variances = self.squared_scales * np.exp(-log_precision)
            variances += self.variances
            exponents = squares / variances
            least = exponents.min(axis=1)
            exponents -= least[:, None]
            np.negative(exponents, out=exponents)
            np.exp(exponents, out=exponents)
            exponents /= np.sqrt(variances, out=variances)
            with np.errstate(divide="ignore"):
                np.logaddexp(total, np.log(exponents @ (self.weights * masses)) - least, out=total)
        return np.asarray(total - 0.5 * np.log(2.0 * np.pi), dtype=np.float64)
