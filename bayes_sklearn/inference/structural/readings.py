"""Readings of features of which only a side was seen: nodes of what they may have been, (67)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...measurements.limits import ReadingLimits

__all__ = ["OF_NEW_ROW", "most_readings", "readings_between"]

Array = NDArray[np.float64]

# Nodes of a new row's reading.
OF_NEW_ROW = 32

# Nodes of each of two readings in one row, at least where there are as many of one.
_OF_TWO = 24

# Standard deviations of the readings within which they are looked for, and below the limit at least.
_FAR, _BEYOND = 7.5, 4.0


def readings_between(
    limits: ReadingLimits,
    mean: Array,
    sd: Array,
    n_nodes: int,
    wider: float = 1.0,
    ends: tuple[Array, Array] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.bool_], Array, Array]:
    """Return readings that rows may have had, and their weights in an integral over them.

    Parameters
    ----------
    limits : ReadingLimits
        Of n rows.
    mean, sd : ndarray of shape (q,) or (n, q)
        Of the readings.
    n_nodes : int
        Gauss-Legendre nodes of a reading, about half as many of each of two.
    wider : float, default=1.0
        Factor by which the readings that are looked at reach further.
    ends : tuple of ndarray of shape (n, q), optional
        The lowest and the highest readings that are looked at, if it is known where rows have any.

    Returns
    -------
    index : ndarray of shape (N,)
        Row of each of them, ascending; each row is there once at least.
    place : ndarray of shape (N, q)
        Whose cells are limits, ...
    readings : ndarray of shape (N, q)
        ... and readings in the place of these.
    log_weights : ndarray of shape (N,)
    """
    cells = limits.cells
    mean, sd = (np.broadcast_to(values, cells.shape) for values in (mean, sd))
    each = _nodes_of_each(limits, n_nodes)
    times = np.where(cells.any(axis=1), each ** cells.sum(axis=1), 1)
    index = np.repeat(np.arange(len(cells)), times)
    within = np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times)
    place, readings, log_weights = cells[index], np.zeros((len(index), cells.shape[1])), np.zeros(len(index))
    for size in np.unique(each[cells.any(axis=1)]):
        nodes, weights = np.polynomial.legendre.leggauss(int(size))
        digit = np.where(each[index] == size, within, 0)
        for j in np.flatnonzero(cells.any(axis=0)):
            own = np.flatnonzero(place[:, j] & (each[index] == size))
            side, limit, center, unit = (
                values[index[own], j] for values in (limits.side, limits.limit, mean, sd)
            )
            # From the limit to where readings hardly are, on the side that they lie on.
            which = digit[own] % size
            digit[own] //= size
            # In distances from the mean, positive where the limit is if readings on both sides of it may be.
            away, far = -side * (limit - center), wider * _FAR * unit
            low, high = np.minimum(-far, away - wider * _BEYOND * unit), np.minimum(away, far)
            if ends is not None:
                one, other = (-side * (end[index[own], j] - center) for end in ends)
                middle, half = 0.5 * (one + other), 0.5 * wider * np.abs(one - other)
                low, high = middle - half, np.minimum(away, middle + half)
            middle, half = 0.5 * (high + low), 0.5 * (high - low)
            readings[own, j] = center - side * (middle + half * nodes[which])
            log_weights[own] += np.log(half * weights[which])
    return index, place, readings, log_weights


def _nodes_of_each(limits: ReadingLimits, n_nodes: int) -> NDArray[np.intp]:
    """Return how many nodes each of a row's readings has, (n,)."""
    count = limits.cells.sum(axis=1)
    return np.where(count > 1, np.minimum(n_nodes, max(_OF_TWO, n_nodes // 2)), n_nodes)


def most_readings(limits: ReadingLimits) -> int:
    """Return the most nodes that a new row has."""
    count = limits.cells.sum(axis=1)
    return int((_nodes_of_each(limits, OF_NEW_ROW) ** count).max(initial=1))
