"""Mixtures of normal distributions, one per row: density, distribution function, quantiles and CRPS.

Every function takes the mixture's weights, (G,) for all rows or (n, G), and each row's component means and
standard deviations, (n, G) each or broadcastable to it. A standard deviation of zero is a point mass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr, ndtri

from .crps import crps
from .few_points import average

Array = NDArray[np.float64]

_LOG_ROOT_TWO_PI = 0.5 * np.log(2.0 * np.pi)

# The error before the last of Newton's steps, which squares it: of one that is bracketed, and of the first.
_SETTLED, _NEAR = 1e-5, 1e-4

# Up to so many components in all, finding their cumulants anew costs less than keeping them.
_CHEAP = 128


class Density(Protocol):
    """Densities of some rows, one per row."""

    def log_density(self, value: Array) -> Array:
        """Return the log density at each row's value, (n,)."""


class Mixture(Density, Protocol):
    """Distributions of some rows, one per row: what a family of mixtures has to know, at one value per row, (n,)."""

    def cdf(self, value: Array) -> Array:
        """Return the probability at or below each row's value, (n,)."""

    def at(self, value: Array) -> Array:
        """Return the probability of each row's value itself, (n,): none but of counts."""

    def quantile(self, probability: Array) -> Array:
        """Return the value at which each row's distribution function is its probability, (n,)."""

    def crps(self, value: Array) -> Array:
        """Return the continuous ranked probability score of each row at its value, (n,)."""


class Repeatable(ABC):
    """Mixtures that can be asked for several values of few rows at once."""

    @abstractmethod
    def repeated(self, times: int) -> Any:
        """Return the distributions of all rows, so many times one after the other."""


@dataclass(frozen=True, eq=False)
class NormalMixture(Repeatable):
    """The functions of this module as a `Mixture`."""

    weights: Array
    means: Array
    sds: Array

    def log_density(self, value: Array) -> Array:
        return log_density(value, self.weights, self.means, self.sds)

    def cdf(self, value: Array) -> Array:
        return cdf(value, self.weights, self.means, self.sds)

    def at(self, value: Array) -> Array:
        return np.zeros_like(value)

    def quantile(self, probability: Array) -> Array:
        return quantile(probability, self.weights, self.means, self.sds, self._cumulants)

    def crps(self, value: Array) -> Array:
        return crps(value, self.weights, self.means, self.sds)

    def repeated(self, times: int) -> NormalMixture:
        """Return the distributions of all rows, so many times one after the other."""
        rows = np.arange(times * len(self.means)) % len(self.means)
        weights = self.weights if self.weights.ndim == 1 else self.weights[rows]
        sds = self.sds if len(self.sds) != len(self.means) else self.sds[rows]
        found = NormalMixture(weights, self.means[rows], sds)
        if self.means.size > _CHEAP:
            # In the place of the property, which would compute them for every repetition.
            found.__dict__["_cumulants"] = tuple(part[rows] for part in self._cumulants)
        return found

    @cached_property
    def _cumulants(self) -> tuple[Array, Array, Array, Array]:
        return cumulants_of(self.weights, *np.broadcast_arrays(self.means, self.sds))


@dataclass(frozen=True, eq=False)
class Stacked:
    """Mixtures of several kinds, each for some of the rows."""

    n: int
    parts: tuple[tuple[NDArray[np.intp], Mixture], ...]

    def log_density(self, value: Array) -> Array:
        return self._join([(rows, part.log_density(value[rows])) for rows, part in self.parts])

    def cdf(self, value: Array) -> Array:
        return self._join([(rows, part.cdf(value[rows])) for rows, part in self.parts])

    def at(self, value: Array) -> Array:
        return self._join([(rows, part.at(value[rows])) for rows, part in self.parts])

    def quantile(self, probability: Array) -> Array:
        return self._join([(rows, part.quantile(probability[rows])) for rows, part in self.parts])

    def crps(self, value: Array) -> Array:
        return self._join([(rows, part.crps(value[rows])) for rows, part in self.parts])

    def _join(self, answers: list[tuple[NDArray[np.intp], Array]]) -> Array:
        joined = np.empty(self.n)
        for rows, answer in answers:
            joined[rows] = answer
        return joined


def _standardised(value: Array, means: Array, sds: Array) -> tuple[Array, Array]:
    """Return (value - mean) / sd and the sd, point masses given a width far below rounding."""
    sds = np.maximum(sds, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        return (value[:, None] - means) / sds, sds


def log_density(value: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Return the log density of each row's mixture at its value, (n,)."""
    z, sds = _standardised(value, means, sds)
    with np.errstate(over="ignore", divide="ignore"):
        # As logarithms: weights near the smallest number would overflow where logsumexp divides by them.
        terms = -0.5 * z**2 - np.log(sds) - _LOG_ROOT_TWO_PI + np.log(weights)
    return logsumexp(terms, axis=1)


def cdf(value: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Return the distribution function of each row's mixture at its value, (n,)."""
    # Weights sum to one but for rounding.
    return np.minimum(average(ndtr(_standardised(value, means, sds)[0]), weights), 1.0)


def quantile(
    probability: Array, weights: Array, means: Array, sds: Array, cumulants: tuple[Array, ...] | None = None
) -> Array:
    """Return the value at which each row's distribution function is its probability, (n,).

    Newton's method on the normal scale, a straight line for one component and nearly so for a mixture, in the tails,
    too, from Cornish and Fisher's expansion: mostly a step is enough. Elsewhere the quantile is bracketed by those of
    the components.

    Parameters
    ----------
    probability : ndarray of shape (n,)
    weights, means, sds : ndarray
        As for all functions here.
    cumulants : tuple of four ndarrays of shape (n,), optional
        What `cumulants_of` returns of them.
    """
    if means.shape != sds.shape:
        means, sds = np.broadcast_arrays(means, sds)
    probability = np.broadcast_to(np.asarray(probability, dtype=np.float64), len(means))
    inside = (probability > 0.0) & (probability < 1.0)
    if not inside.all():
        answer, rows = np.where(probability <= 0.0, -np.inf, np.inf), np.flatnonzero(inside)
        if len(rows):
            own = weights if weights.ndim == 1 else weights[rows]
            answer[rows] = quantile(probability[rows], own, means[rows], sds[rows])
        return answer
    # The upper half is that of the mirrored distribution, so that its tail keeps its digits.
    sign = np.where(probability > 0.5, -1.0, 1.0)
    target = ndtri(np.minimum(probability, 1.0 - probability))
    of = cumulants if cumulants is not None else cumulants_of(weights, means, sds)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        start = of[0] + of[1] * cornish_fisher(sign * target, *of[2:])
        start = np.where(np.isfinite(start), start, of[0])
        below, slope = _tail_and_slope(start, sign, weights, means, sds)
        height = ndtri(below)
        step = sign * (target - height) * np.exp(-0.5 * np.square(height)) / slope
        answer = start + step
        # Newton's error is squared by the step just taken.
        short = ~((np.abs(target - height) < _NEAR) & (np.abs(step) < 2.0 * _NEAR * of[1]))
    if short.any():
        rows = np.flatnonzero(short)
        own = weights if weights.ndim == 1 else weights[rows]
        parts = sign[rows], target[rows], answer[rows], own, means[rows], sds[rows]
        answer[rows] = _bracketed_quantile(*parts)
    return answer


def cornish_fisher(z: Array, skewness: Array, excess: Array) -> Array:
    """Return standardised quantiles at normal scores of distributions with these third and fourth cumulants.

    Cornish & Fisher (1938, Revue de l'Institut International de Statistique 5:307-320). Cumulants that are large, of
    which it is no expansion, are taken for less.
    """
    skewness, excess = (
        np.minimum(np.maximum(of, -0.7), most) for of, most in ((skewness, 0.7), (excess, 2.0))
    )
    square = np.square(z)
    return (
        z
        + skewness * (square - 1.0) / 6.0
        + z * (excess * (square - 3.0) / 24.0 - np.square(skewness) * (2.0 * square - 5.0) / 36.0)
    )


def cumulants_of(weights: Array, means: Array, sds: Array) -> tuple[Array, Array, Array, Array]:
    """Return mean, standard deviation, skewness and excess kurtosis of each row, (n,) each, of (n, G) components."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = average(means, weights)
        away = means - mean[:, None]
        variances = np.square(sds)
        square = np.square(away)
        variance = average(square, weights) + average(variances, weights)
        # A node: x^3 + 3 x v, and x^4 + 6 x^2 v + 3 v^2 = (x^2 + 3 v)^2 - 6 v^2.
        inner = 3.0 * variances
        inner += square
        away *= inner
        third = average(away, weights)
        np.square(inner, out=inner)
        fourth = average(inner, weights) - 6.0 * average(np.square(variances, out=variances), weights)
        sd = np.sqrt(variance)
        whole = np.maximum(sd, np.finfo(np.float64).tiny)
        return mean, sd, third / whole / variance, fourth / variance / variance - 3.0


def _tail_and_slope(x: Array, sign: Array, weights: Array, means: Array, sds: Array) -> tuple[Array, Array]:
    """Return the probabilities below x, of sign -1 above it, and sqrt(2 pi) times the density, (n,) each."""
    sds = np.maximum(sds, np.finfo(np.float64).tiny)
    z = x[:, None] - means
    z /= sds
    if (sign < 0.0).any():
        z *= sign[:, None]
    below = average(ndtr(z), weights)
    np.square(z, out=z)
    z *= -0.5
    np.exp(z, out=z)
    z /= sds
    return below, average(z, weights)


def _bracketed_quantile(
    sign: Array, target: Array, start: Array, weights: Array, means: Array, sds: Array
) -> Array:
    """Return quantiles whose normal scores in the tail that is less are the target, (n,)."""
    means, sds = sign[:, None] * means, np.maximum(sds, np.finfo(np.float64).tiny)
    component_quantiles = means + sds * target[:, None]
    lower, upper = component_quantiles.min(axis=1), component_quantiles.max(axis=1)
    start = np.where(np.isfinite(start), sign * start, 0.5 * (lower + upper))

    def evaluate(x: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        everything = len(rows) == len(means)
        centres, widths = (means, sds) if everything else (means[rows], sds[rows])
        here = weights if weights.ndim == 1 or everything else weights[rows]
        return _tail_and_slope(x, np.ones(1), here, centres, widths)

    return sign * newton_on_normal_scale(target, start, lower, upper, evaluate)


def newton_on_normal_scale(
    target: Array,
    start: Array,
    lower: Array,
    upper: Array,
    evaluate: Callable[[Array, NDArray[np.intp]], tuple[Array, Array]],
) -> Array:
    """Solve ndtri(cdf(x)) = target by Newton's method, kept within a bracket that shrinks, (n,).

    Parameters
    ----------
    target, start, lower, upper : ndarray of shape (n,)
    evaluate : callable
        Of (x, rows): the distribution function at x of the rows named, and sqrt(2 pi) times the density.
    """
    # Newton's steps on the normal scale settle in two to five; the bracket ends the rest.
    max_steps = 60
    x = np.clip(start, lower, upper)
    answer = x.copy()
    rows = np.arange(len(x))
    for _ in range(max_steps):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            probability, slope = evaluate(x, rows)
            height = ndtri(probability)
            step = (target - height) * np.exp(-0.5 * height**2) / slope
            proposal = x + step
        below = height < target
        lower, upper = np.where(below, x, lower), np.where(below, upper, x)
        inside = (proposal >= lower) & (proposal <= upper)
        settled = np.abs(target - height) < _SETTLED
        # Between point masses the slope is zero and no step from a solution is any better: x stays.
        proposal = np.where(inside, proposal, np.where(settled, x, 0.5 * (lower + upper)))
        answer[rows] = proposal
        # Newton's error is squared by the step just taken; NaN, from a slope of zero, goes on.
        going = ~settled & (upper > lower) & (proposal != x)
        if not going.any():
            break
        rows, x, target = rows[going], proposal[going], target[going]
        lower, upper = lower[going], upper[going]
    return answer
