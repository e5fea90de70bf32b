"""Mixtures of normal distributions, one a row: density, distribution function, quantiles and CRPS.

Every function takes the mixture's weights, (G,), and each row's component means and standard deviations, (n, G)
each or broadcastable to it. A standard deviation of zero is a point mass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr, ndtri

Array = NDArray[np.float64]

_LOG_ROOT_TWO_PI = 0.5 * np.log(2.0 * np.pi)
_INVERSE_ROOT_PI = 1.0 / np.sqrt(np.pi)
# Newton's steps on the normal scale settle in three to five; the bracket ends the rest.
_MAX_STEPS = 60
# Up to so many components the score takes them pair by pair.
_FEW = 128
# Of the quadrature: spacing in the narrowest component's sd (an error of about exp(-(pi / 0.75)^2)), the tails'
# reach, and the number of points from which on components are points themselves (an error of its inverse square).
_SPACING, _REACH, _MOST_POINTS = 0.75, 6.0, 2**20


def _standardised(value: Array, means: Array, sds: Array) -> tuple[Array, Array]:
    """Return (value - mean) / sd and the sd, point masses given a width far below rounding."""
    sds = np.maximum(sds, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        return (value[:, None] - means) / sds, sds


def log_density(value: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Return the log density of each row's mixture at its value, (n,)."""
    z, sds = _standardised(value, means, sds)
    with np.errstate(over="ignore"):
        terms = -0.5 * z**2 - np.log(sds) - _LOG_ROOT_TWO_PI
    return logsumexp(terms, b=weights, axis=1)


def cdf(value: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Return the distribution function of each row's mixture at its value, (n,)."""
    # Weights sum to one but for rounding.
    return np.minimum(ndtr(_standardised(value, means, sds)[0]) @ weights, 1.0)


def quantile(probability: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Return the value at which each row's distribution function is its probability, (n,).

    Newton's method on the normal scale, ndtri(cdf(x)) = ndtri(q): a straight line for one component and nearly
    so for a mixture, in the tails, too. The quantile lies between the components' quantiles, which bracket it.
    """
    probability = np.broadcast_to(np.asarray(probability, dtype=np.float64), len(means))
    # The upper half is solved as the lower half of the mirrored mixture, so that its tail keeps its digits.
    sign = np.where(probability > 0.5, -1.0, 1.0)
    tail = np.where(probability > 0.5, 1.0 - probability, probability)
    target = ndtri(tail)
    means, sds = np.broadcast_arrays(means * sign[:, None], sds)
    answer = np.where(probability == 0.0, -np.inf, np.inf)
    open_rows = np.flatnonzero((probability > 0.0) & (probability < 1.0))
    answer[open_rows] = sign[open_rows] * _lower_quantile(
        target[open_rows], weights, means[open_rows], sds[open_rows]
    )
    return answer


def _lower_quantile(target: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Solve ndtri(cdf(x)) = target for targets at or below zero."""
    component_quantiles = means + sds * target[:, None]
    lower, upper = component_quantiles.min(axis=1), component_quantiles.max(axis=1)
    mean = means @ weights
    sd = np.sqrt(np.square(sds) @ weights + np.square(means - mean[:, None]) @ weights)
    x = np.clip(mean + target * sd, lower, upper)
    answer = x.copy()
    rows = np.arange(len(x))
    for _ in range(_MAX_STEPS):
        z, widths = _standardised(x, means, sds)
        probability = ndtr(z) @ weights
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            near = np.exp(-0.5 * z**2) * weights
            slope = (near / widths).sum(axis=1)
            height = ndtri(probability)
            step = (target - height) * np.exp(-0.5 * height**2) / slope
        below = height < target
        lower, upper = np.where(below, x, lower), np.where(below, upper, x)
        proposal = x + step
        inside = (proposal >= lower) & (proposal <= upper)
        proposal = np.where(inside, proposal, 0.5 * (lower + upper))
        answer[rows] = proposal
        # Newton's error is squared by the step just taken; NaN, from a slope of zero, goes on.
        going = ~(np.abs(target - height) < 1e-6) & (upper > lower) & (proposal != x)
        if not going.any():
            break
        rows, x, target = rows[going], proposal[going], target[going]
        lower, upper = lower[going], upper[going]
        means, sds = means[going], sds[going]
    return answer


def crps(value: Array, weights: Array, means: Array, sds: Array) -> Array:
    """Return the continuous ranked probability score of each row's mixture at its value, (n,).

    The mean distance of a draw from the value less half the mean distance of two draws (Gneiting & Raftery 2007,
    J. Am. Stat. Assoc. 102, eq. 21): in closed form for few components, by quadrature for many.
    """
    means, sds = np.broadcast_arrays(means, sds)
    to_value = _mean_distance(value[:, None] - means, sds) @ weights
    between = _half_distance if len(weights) <= _FEW else _half_distance_of_many
    return to_value - between(weights, means, sds)


def _half_distance(weights: Array, means: Array, sds: Array) -> Array:
    """Return half the mean distance of two draws, pair by pair of the components.

    The closed form of Grimit, Gneiting, Berrocal & Johnson (2006, Q. J. R. Meteorol. Soc. 132, eq. 5).
    """
    between = np.zeros(len(means))
    # A column at a time: memory stays rows x components.
    for g in range(len(weights)):
        distance = _mean_distance(
            means[:, g : g + 1] - means[:, g + 1 :], np.hypot(sds[:, g : g + 1], sds[:, g + 1 :])
        )
        between += weights[g] * (distance @ weights[g + 1 :])
    return between + (sds @ np.square(weights)) * _INVERSE_ROOT_PI


def _half_distance_of_many(weights: Array, means: Array, sds: Array) -> Array:
    """Return half the mean distance of two draws, as the integral of F (1 - F).

    F is as smooth as the narrowest component, so that the trapezoid rule converges faster than exponentially in
    its sd over the spacing. Where there would be too many points, components are points themselves, and the sum
    is exact.
    """
    between = np.empty(len(means))
    lower, upper = (means - _REACH * sds).min(axis=1), (means + _REACH * sds).max(axis=1)
    spacing = _SPACING * sds.min(axis=1)
    for row in range(len(means)):
        if upper[row] - lower[row] <= _MOST_POINTS * spacing[row]:
            probability = _cdf_on_grid(weights, means[row], sds[row], lower[row], spacing[row])
            between[row] = spacing[row] * float((probability * (1.0 - probability)).sum())
        else:
            order = np.argsort(means[row])
            below = np.cumsum(weights[order])[:-1]
            between[row] = float((below * (1.0 - below)) @ np.diff(means[row, order]))
    return between


def _cdf_on_grid(weights: Array, means: Array, sds: Array, lower: float, spacing: float) -> Array:
    """Return one mixture's distribution function at lower, lower + spacing, and so on to where it is one.

    A component is evaluated only where it is neither 0 nor 1.
    """
    first = np.floor((means - _REACH * sds - lower) / spacing).astype(np.intp)
    window = np.arange(int(np.ceil(2.0 * _REACH * sds.max() / spacing)) + 2)
    points = first[:, None] + window
    values = ndtr((lower + points * spacing - means[:, None]) / sds[:, None]) * weights[:, None]
    size = int(points[:, -1].max()) + 2
    passed = np.bincount(points[:, -1] + 1, weights, size)
    return np.asarray(np.bincount(points.ravel(), values.ravel(), size) + np.cumsum(passed), dtype=np.float64)


def _mean_distance(difference: Array, sd: Array) -> Array:
    """Return E|X| for X normal with this mean and standard deviation."""
    z, sd = difference, np.maximum(sd, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        z = difference / sd
        return difference * (2.0 * ndtr(z) - 1.0) + 2.0 * sd * np.exp(-0.5 * z**2 - _LOG_ROOT_TWO_PI)
