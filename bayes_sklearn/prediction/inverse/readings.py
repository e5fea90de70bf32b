"""How likely several readings of one thing are, whose line is the same.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..distribution import PredictiveDistribution
from ..events import EventsPredictive
from ..line import LinearPredictive, noise_variance
from ..response import ResponsePredictive

__all__ = ["joint_log_density"]

Array = NDArray[np.float64]

# Where the line is spread about its mean at a node, under other likelihoods: multiples of its standard deviation.
_AWAY = np.linspace(-6.0, 6.0, 49)


def joint_log_density(forward: Sequence[PredictiveDistribution], y: Array) -> Array:
    """Return the log density of the readings of each row, (n,): given the line they are independent, (76).

    Parameters
    ----------
    forward : sequence of m PredictiveDistribution
        Of each reading, at the same n rows.
    y : ndarray of shape (m, n)
        The readings; NaN: there is none.
    """
    read = ~np.isnan(y)
    if len(forward) == 1:
        return np.where(read[0], forward[0].logpdf(np.where(read[0], y[0], 0.0)), 0.0)
    first = forward[0]
    if isinstance(first, EventsPredictive):
        rates = [one.rates for one in forward if isinstance(one, EventsPredictive)]
        exposures = np.array([one.exposure for one in forward if isinstance(one, EventsPredictive)])
        return joint_log_density(rates, y / exposures) - (read * np.log(exposures)).sum(axis=0)
    found = np.empty(y.shape[1])
    if isinstance(first, LinearPredictive):
        for rows in first.line.blocks():
            found[rows] = _normal(forward, y, read, rows)
    elif isinstance(first, ResponsePredictive):
        for rows in first.line.blocks():
            found[rows] = _given_line(forward, y, read, rows)
    else:
        raise TypeError("Several readings of one sample don't go with errors of features that y shares.")
    return found


def _normal(
    forward: Sequence[PredictiveDistribution], y: Array, read: NDArray[np.bool_], rows: slice
) -> Array:
    """Return what readings of normal noise are: their weighted mean, and how far they are from it."""
    line = forward[0].line  # type: ignore[attr-defined]
    lines, among = line.at(rows), np.arange(y.shape[1])[rows]
    precision, total, logs = (np.zeros((len(among), len(line.weights))) for _ in range(3))
    inverse = []
    for one, seen, values in zip(forward, read[:, rows], y[:, rows], strict=True):
        variance = noise_variance(one.noise, line.posterior, among)  # type: ignore[attr-defined]
        own = np.where(seen[:, None], 1.0 / variance, 0.0)
        inverse.append(own)
        precision += own
        total += own * np.where(seen, values, 0.0)[:, None]
        logs += np.where(seen[:, None], np.log(2.0 * np.pi * variance), 0.0)
    mean = total / precision
    square = sum(
        own * np.square(np.where(seen, values, 0.0)[:, None] - mean)
        for own, seen, values in zip(inverse, read[:, rows], y[:, rows], strict=True)
    )
    # The density of the readings given their mean, times what makes that of their mean a normal one.
    apart = -0.5 * (logs + square) + 0.5 * np.log(2.0 * np.pi / precision)
    if lines.each > 1:
        mean, precision, apart = (np.repeat(part, lines.each, axis=1) for part in (mean, precision, apart))
    variance = lines.variances + 1.0 / precision
    terms = apart - 0.5 * (np.square(mean - lines.means) / variance + np.log(2.0 * np.pi * variance))
    return _summed(terms, lines.weights)


def _given_line(
    forward: Sequence[PredictiveDistribution], y: Array, read: NDArray[np.bool_], rows: slice
) -> Array:
    """Return the readings' densities given the line's value, integrated over it."""
    lines = forward[0].line.at(rows)  # type: ignore[attr-defined]
    if not lines.are_spread:
        return _summed(_of_all(forward, y, read, rows, lines.means, lines.each), lines.weights)
    sds, parts = np.sqrt(lines.variances), []
    masses = np.exp(-0.5 * np.square(_AWAY))
    for away, mass in zip(_AWAY, masses / masses.sum(), strict=True):
        eta = lines.means + away * sds
        found = _of_all(forward, y, read, rows, eta, lines.each)
        parts.append(_summed(found, lines.weights) + np.log(mass))
    return np.asarray(logsumexp(parts, axis=0))


def _of_all(
    forward: Sequence[PredictiveDistribution],
    y: Array,
    read: NDArray[np.bool_],
    rows: slice,
    eta: Array,
    each: int,
) -> Array:
    """Return the summed log densities of the readings at a value of the line, (rows, G)."""
    total = np.zeros(eta.shape)
    for one, seen, values in zip(forward, read[:, rows], y[:, rows], strict=True):
        found = one.log_density_at(rows, eta, np.where(seen, values, 0.0), each)  # type: ignore[attr-defined]
        total += np.where(seen[:, None], found, 0.0)
    return total


def _summed(terms: Array, weights: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(logsumexp(terms + np.log(weights), axis=1))
