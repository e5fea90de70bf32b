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

Array = NDArray[np.float64]

_LOG_ROOT_TWO_PI = 0.5 * np.log(2.0 * np.pi)

_INVERSE_ROOT_PI = 1.0 / np.sqrt(np.pi)

# The error before the last of Newton's steps, which squares it: of one that is bracketed, and of the first.
_SETTLED, _NEAR = 1e-5, 1e-4

# Up to so many components the score takes them pair by pair.
_FEW = 128

# Up to so many pairs, of all rows, at once.
_AT_ONCE = 2**12

# Of the quadrature: spacing in the narrowest component's sd (an error of about exp(-(pi / 0.75)^2)), the tails'
# reach, and the number of points from which on components are points themselves (an error of its inverse square).
_SPACING, _REACH, _MOST_POINTS = 0.75, 6.0, 2**20
# Wider components are evaluated 2 to this power times, or twice as often, within a standard deviation.
_FINE = 4

# The error, in mean standard deviations, at which components that weigh next to nothing are taken to be wider.
_WIDENED = 1e-9
# The relative error from which on components are not taken to be as wide as the grid resolves; beside others so many
# times as wide as its spacing, that changes the distance of two draws by its inverse square.
_WIDENED_AT_MOST, _MUCH_WIDER = 1e-6, 1000.0


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
        found = NormalMixture(weights, self.means[rows], self.sds[rows])
        if self.means.size > _FEW:
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


def average(values: Array, weights: Array) -> Array:
    """Return each row's weighted sum, (n,); weights are (G,) for all rows, or (n, G)."""
    return values @ weights if weights.ndim == 1 else np.einsum("ng,ng->n", values, weights)


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


def crps(value: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Return the continuous ranked probability score of each row's mixture at its value, (n,).

    The mean distance of a draw from the value less half the mean distance of two draws (Gneiting & Raftery 2007,
    J. Am. Stat. Assoc. 102, eq. 21): in closed form for few components, by quadrature for many.
    """
    means, sds = np.broadcast_arrays(means, sds)
    to_value = average(mean_distance(value[:, None] - means, sds), weights)
    between = _half_distance if weights.shape[-1] <= _FEW else _half_distance_of_many
    return to_value - between(weights, means, sds)


def _half_distance(weights: Array, means: Array, sds: Array) -> Array:
    """Return half the mean distance of two draws, pair by pair of the components.

    The closed form of Grimit, Gneiting, Berrocal & Johnson (2006, Q. J. R. Meteorol. Soc. 132, eq. 5).
    """
    if means.size * weights.shape[-1] <= _AT_ONCE:
        apart = means[:, :, None] - means[:, None, :]
        distance = mean_distance(apart, np.hypot(sds[:, :, None], sds[:, None, :]))
        return 0.5 * np.einsum("...i,...j,...ij->...", weights, weights, distance)
    between = np.zeros(len(means))
    # A column at a time: memory stays rows x components.
    for g in range(weights.shape[-1]):
        distance = mean_distance(
            means[:, g : g + 1] - means[:, g + 1 :], np.hypot(sds[:, g : g + 1], sds[:, g + 1 :])
        )
        between += weights[..., g] * average(distance, weights[..., g + 1 :])
    return between + average(sds, np.square(weights)) * _INVERSE_ROOT_PI


def _half_distance_of_many(weights: Array, means: Array, sds: Array) -> Array:
    """Return half the mean distance of two draws, as the integral of F (1 - F)."""
    each = np.broadcast_to(weights, means.shape)
    return np.array([_between(*row) for row in zip(each, means, sds, strict=True)])


def _between(weights: Array, means: Array, sds: Array) -> float:
    """Return the integral of F (W - F), F being the weights below, W their sum.

    F is as smooth as the narrowest component, so that the trapezoid rule converges faster than exponentially in
    its sd over the spacing; components whose weight is next to nothing are widened. Where there would be too many
    points, and all components are narrow, they are points themselves, and the sum is exact; where some are wide, the
    narrow ones are taken to be as wide as the grid resolves, but among those not much wider, who have a finer grid.
    """
    finest = float((means + _REACH * sds).max() - (means - _REACH * sds).min()) / _MOST_POINTS
    step = _SPACING * _resolved(weights, sds)
    if step < finest and _SPACING * sds.max() <= finest:
        order = np.argsort(means)
        below = np.cumsum(weights[order])
        return float((below[:-1] * (below[-1] - below[:-1])) @ np.diff(means[order]))
    step = max(step, finest)
    widths = np.maximum(sds, step / _SPACING)

    def on_grid(some: Any) -> float:
        start = (means[some] - _REACH * widths[some]).min()
        below = _cdf_on_grid(weights[some], means[some], widths[some], start, step)
        return step * float((below * (weights[some].sum() - below)).sum())

    found = on_grid(slice(None))
    narrow, finer = sds < widths, sds < _MUCH_WIDER * step
    # Two draws of the narrow are at most the widening times sqrt(2 / pi) further apart.
    if np.square(weights[narrow].sum()) * step / _SPACING > _WIDENED_AT_MOST * found and not finer.all():
        found += _between(weights[finer], means[finer], sds[finer]) - on_grid(finer)
    return found


def _resolved(weights: Array, sds: Array) -> float:
    """Return the width that narrower components may be taken to have: they weigh next to nothing."""
    order = np.argsort(sds)
    weights, sds = weights[order], sds[order]
    moved = (np.cumsum(weights) - weights) * sds
    return float(sds[moved <= _WIDENED * (weights @ sds)].max())


def _cdf_on_grid(weights: Array, means: Array, sds: Array, lower: float, spacing: float) -> Array:
    """Return one mixture's distribution function at lower, lower + spacing, and so on to where it is one.

    A component is evaluated only where it is neither 0 nor 1, together with those about as wide: the widest of
    thousands may be a million times as wide as the narrowest. Those much wider than the spacing are evaluated at
    every so many points only, 16 or more to a standard deviation: cubics between these are right to 1e-7.
    """
    octave = np.frexp(sds)[1]
    parts = []
    for k in np.unique(octave):
        alike = octave == k
        every = 2 ** max(int(np.log2(0.5 * sds[alike].max() / spacing)) - _FINE, 0)
        parts.append((every, *_on_own_grid(weights[alike], means[alike], sds[alike], lower, every * spacing)))
    size = max(every * len(values) for every, values, _ in parts)
    probability = np.zeros(size)
    for every, values, rises in parts:
        t = np.arange(every)[:, None] / every
        basis = np.hstack([1 + 2 * t, t, 3 - 2 * t, t - 1]) * np.hstack(
            [(1 - t) ** 2, (1 - t) ** 2, t**2, t**2]
        )
        ends = np.stack([values[:-1], rises[:-1], values[1:], rises[1:]])
        fine = (basis @ ends).ravel(order="F")
        probability[: len(fine)] += fine
        probability[len(fine) :] += values[-1]
    return probability


def _on_own_grid(
    weights: Array, means: Array, sds: Array, lower: float, spacing: float
) -> tuple[Array, Array]:
    """Return the weights below grid points of components about as wide, and how much they rise in a spacing there."""
    first = np.floor((means - _REACH * sds - lower) / spacing).astype(np.intp)
    length = int(np.ceil(2.0 * _REACH * sds.max() / spacing)) + 2
    size = int(first.max()) + length + 1
    below, density, passed = np.zeros(size), np.zeros(size), np.zeros(size)
    for part in np.array_split(
        np.arange(len(means)), -(-len(means) * length // _MOST_POINTS)
    ):  # bounded memory
        points = first[part, None] + np.arange(length)
        z = (lower + points * spacing - means[part, None]) / sds[part, None]
        heights = np.exp(-0.5 * np.square(z) - _LOG_ROOT_TWO_PI) * (weights[part] / sds[part])[:, None]
        below += np.bincount(points.ravel(), (ndtr(z) * weights[part, None]).ravel(), size)
        density += np.bincount(points.ravel(), heights.ravel(), size)
        passed += np.bincount(points[:, -1] + 1, weights[part], size)
    return below + np.cumsum(passed), density * spacing


def mean_distance(difference: Array, sd: Array) -> Array:
    """Return E|X| for X normal with this mean and standard deviation."""
    z, sd = difference, np.maximum(sd, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        z = difference / sd
        return difference * (2.0 * ndtr(z) - 1.0) + 2.0 * sd * np.exp(-0.5 * z**2 - _LOG_ROOT_TWO_PI)
