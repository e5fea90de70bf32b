"""The continuous ranked probability score of mixtures of normal distributions, one per row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .few_points import average

Array = NDArray[np.float64]

_LOG_ROOT_TWO_PI = 0.5 * np.log(2.0 * np.pi)

_INVERSE_ROOT_PI = 1.0 / np.sqrt(np.pi)

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
