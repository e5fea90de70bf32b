"""Rows with a limit in the place of a feature's reading: a row for each of the readings that it may have been, (67).

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...measurements.compressed import Rows, taken
from ...measurements.limits import ReadingLimits
from ..numerics.importance_sampling import Sample
from ..problem import Problem
from ..structural.mixture import MixtureProblem
from ..structural.mixture_coordinates import Expansion

__all__ = ["FIRST_NODES", "MOST_NODES", "expanded", "readings_between", "unresolved"]

Array = NDArray[np.float64]

# Nodes of one reading at first, and at most; of two in one row so many each.
FIRST_NODES, MOST_NODES, _OF_TWO = 32, 128, 24

# Standard deviations of the readings within which they are looked for, and below the limit at least.
_FAR, _BEYOND = 7.5, 4.0

# Rows' log densities may be off by so much, all together.
_RESOLVED = 0.02

# A node's least part of its row in what is found before a fit.
_LEAST = 1e-9


def expanded(problem: Problem, n_nodes: int, wider: float = 1.0) -> tuple[Problem, Expansion | None]:
    """Return a problem without limits of readings, and which of its rows together are one of the data.

    Parameters
    ----------
    problem : Problem
    n_nodes : int
        Gauss-Legendre nodes of a reading.
    wider : float, default=1.0
        Factor by which the readings that are looked at reach further.

    Returns
    -------
    problem : Problem
        Nodes weigh in what is found before a fit as a normal distribution of readings has them.
    expansion : Expansion or None
        None: all readings were measured.
    """
    errors, rows = problem.feature_errors, problem.rows
    if errors is None or errors.readings is None:
        return problem, None
    used = rows.used
    of_used = errors.take(used)
    limits = of_used.readings
    if limits is None:
        raise AssertionError  # for the type checker
    frequency = np.ones(len(used)) if rows.frequency is None else rows.frequency[used]
    values = np.asarray(rows.take(used), dtype=np.float64)
    moments = limits.moments(values[:, errors.noisy], of_used.unmeasured, frequency)
    index, place, readings, log_weights = readings_between(limits, moments, n_nodes, wider)
    weights = np.exp(log_weights)
    for j, (mean, sd) in enumerate(moments):
        of_j = place[:, j]
        weights[of_j] *= np.exp(-0.5 * np.square((readings[of_j, j] - mean) / sd))
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    weights = weights / np.add.reduceat(weights, starts)[index]
    source = used[index]
    X = values[index]
    X[:, errors.noisy] = np.where(place, readings, X[:, errors.noisy])
    again = rows.subset(source)
    like = replace(
        problem,
        rows=Rows(
            X,
            again.y,
            None,
            np.maximum(weights, _LEAST) * frequency[index],
            rows.origin,
            again.limits,
        ),
        standard_error=taken(problem.standard_error, source),
        trials=taken(problem.trials, source),
        limits=None if problem.limits is None else problem.limits.take(source),
        feature_errors=replace(errors.take(source), readings=None),
    )
    return like, Expansion(starts, log_weights, frequency)


def readings_between(
    limits: ReadingLimits, moments: list[tuple[float, float]], n_nodes: int, wider: float = 1.0
) -> tuple[NDArray[np.intp], NDArray[np.bool_], Array, Array]:
    """Return readings that rows may have had, and their weights in an integral over them.

    Parameters
    ----------
    limits : ReadingLimits
        Of n rows.
    moments : list of tuple of float
        Mean and standard deviation of each feature's readings.
    n_nodes : int
    wider : float, default=1.0
        As for `expanded`.

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
    each = np.where(cells.sum(axis=1) > 1, np.minimum(n_nodes, max(_OF_TWO, n_nodes // 2)), n_nodes)
    times = np.where(cells.any(axis=1), each ** cells.sum(axis=1), 1)
    index = np.repeat(np.arange(len(cells)), times)
    within = np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times)
    place, readings, log_weights = cells[index], np.zeros((len(index), cells.shape[1])), np.zeros(len(index))
    for size in np.unique(each[cells.any(axis=1)]):
        nodes, weights = np.polynomial.legendre.leggauss(int(size))
        digit = np.where(each[index] == size, within, 0)
        for j, (mean, sd) in enumerate(moments):
            own = np.flatnonzero(place[:, j] & (each[index] == size))
            side, limit = limits.side[index[own], j], limits.limit[index[own], j]
            # From the limit to where readings hardly are, on the side that they lie on.
            which = digit[own] % size
            digit[own] //= size
            # In distances from the mean, positive where the limit is if readings on both sides of it may be.
            away, far = -side * (limit - mean), wider * _FAR * sd
            low, high = np.minimum(-far, away - wider * _BEYOND * sd), np.minimum(away, far)
            middle, half = 0.5 * (high + low), 0.5 * (high - low)
            readings[own, j] = mean - side * (middle + half * nodes[which])
            log_weights[own] += np.log(half * weights[which])
    return index, place, readings, log_weights


def unresolved(mixture: MixtureProblem, finer: MixtureProblem, found: Sample) -> list[str]:
    """Return why rows' densities are not to be trusted, by those of more nodes that reach further."""
    # The same points: what coordinates are about is that of the rows they were found with.
    own = ["center", "scaled", *(["measured"] if mixture.follows else [])]
    about = {name: getattr(mixture, name) for name in own}
    best = found.points[np.argsort(found.weights)[-4:]]
    densities = []
    for of in (mixture, finer):
        of.__dict__.update(about)
        placed = of.placed(best[-1])
        placed.__dict__.update(about)
        densities.append(
            np.concatenate([placed.row_log_density(best, rows) for rows in placed.row_blocks()], axis=1)
        )
    off = float(np.max(np.abs(densities[0] - densities[1]) @ mixture.counted(slice(None))))
    if off < _RESOLVED:
        return []
    return [
        f"readings that X_censored says are limits are not resolved: rows' log densities are off by {off:.2g}"
    ]
