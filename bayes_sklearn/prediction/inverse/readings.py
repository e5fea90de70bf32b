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
    y = np.where(read, y, 0.0)
    if len(forward) == 1:
        return np.where(read[0], forward[0].logpdf(y[0]), 0.0)
    events = [one for one in forward if isinstance(one, EventsPredictive)]
    linear = [one for one in forward if isinstance(one, LinearPredictive)]
    others = [one.rates for one in events] or [one for one in forward if isinstance(one, ResponsePredictive)]
    if not linear and not others:
        raise TypeError("Several readings of one sample don't go with errors of features that y shares.")
    found, line = np.empty(y.shape[1]), (linear or others)[0].line
    exposures = np.array([one.exposure for one in events]) if events else np.ones_like(y)
    for rows in line.blocks():
        here = y[:, rows] / exposures[:, rows], read[:, rows], rows
        found[rows] = _normal(linear, *here) if linear else _given_line(others, *here)
    return found - (read * np.log(exposures)).sum(axis=0)


def _normal(forward: Sequence[LinearPredictive], y: Array, read: NDArray[np.bool_], rows: slice) -> Array:
    """Return what readings of normal noise are: their weighted mean, and how far they are from it."""
    line = forward[0].line
    lines, among = line.at(rows), np.arange(len(line))[rows]
    variances = [noise_variance(one.noise, line.posterior, among) for one in forward]
    inverse = [seen[:, None] / variance for seen, variance in zip(read, variances, strict=True)]
    precision = np.sum(inverse, axis=0)
    mean = np.sum([own * values[:, None] for own, values in zip(inverse, y, strict=True)], axis=0) / precision
    apart = 0.5 * np.log(2.0 * np.pi / precision)
    for own, values, seen, variance in zip(inverse, y, read, variances, strict=True):
        # The density of the readings given their mean, times what makes that of their mean a normal one.
        apart -= 0.5 * own * np.square(values[:, None] - mean)
        apart -= 0.5 * seen[:, None] * np.log(2.0 * np.pi * variance)
    if lines.each > 1:
        mean, precision, apart = (np.repeat(part, lines.each, axis=1) for part in (mean, precision, apart))
    variance = lines.variances + 1.0 / precision
    terms = apart - 0.5 * (np.square(mean - lines.means) / variance + np.log(2.0 * np.pi * variance))
    return _summed(terms, lines.weights)


def _given_line(
    forward: Sequence[ResponsePredictive], y: Array, read: NDArray[np.bool_], rows: slice
) -> Array:
    """Return the readings' densities given the line's value, integrated over it."""
    lines = forward[0].line.at(rows)

    def of_all(eta: Array) -> Array:
        total = np.zeros(eta.shape)
        for one, seen, values in zip(forward, read, y, strict=True):
            total += np.where(seen[:, None], one.log_density_at(rows, eta, values, lines.each), 0.0)
        return _summed(total, lines.weights)

    if not lines.are_spread:
        return of_all(lines.means)
    sds, masses = np.sqrt(lines.variances), np.exp(-0.5 * np.square(_AWAY))
    parts = [
        of_all(lines.means + away * sds) + np.log(mass)
        for away, mass in zip(_AWAY, masses / masses.sum(), strict=True)
    ]
    return np.asarray(logsumexp(parts, axis=0))


def _summed(terms: Array, weights: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(logsumexp(terms + np.log(weights), axis=1))
