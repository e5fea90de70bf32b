"""Rows with a limit in the place of a feature's reading: a row for each of the readings that it may have been, (67).

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...measurements.compressed import Rows, taken
from ..numerics.importance_sampling import Sample
from ..problem import Problem
from ..structural.mixture import MixtureProblem
from ..structural.mixture_coordinates import Expansion
from ..structural.readings import readings_between

__all__ = ["FIRST_NODES", "MOST_NODES", "Ends", "expanded", "narrowed", "unresolved"]

Array = NDArray[np.float64]

Ends = tuple[Array, Array]

# Nodes of one reading at first, and at most.
FIRST_NODES, MOST_NODES = 32, 128

# Rows' log densities may be off by so much, all together.
_RESOLVED = 0.02

# Log densities so far below a row's highest are nothing, at so many points of the posterior.
_NOTHING, _POINTS = -18.0, 64

# A node's least part of its row in what is found before a fit.
_LEAST = 1e-9


def expanded(
    problem: Problem, n_nodes: int, wider: float = 1.0, ends: Ends | None = None
) -> tuple[Problem, Expansion | None]:
    """Return a problem without limits of readings, and which of its rows together are one of the data.

    Parameters
    ----------
    problem : Problem
    n_nodes : int
        Gauss-Legendre nodes of a reading.
    wider : float, default=1.0
        Factor by which the readings that are looked at reach further.
    ends : tuple of ndarray of shape (n, q), optional
        As `narrowed` returns them.

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
    mean, sd = np.transpose(moments)
    index, place, readings, log_weights = readings_between(limits, mean, sd, n_nodes, wider, ends)
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
    return like, Expansion(starts, log_weights, frequency, X[:, errors.noisy])


def unresolved(mixture: MixtureProblem, finer: MixtureProblem, found: Sample) -> list[str]:
    """Return why rows' densities are not to be trusted, by those of more nodes that reach further."""
    best = found.points[np.argsort(found.weights)[-4:]]
    densities = []
    for of in (mixture, finer):
        placed = of.placed(best[-1])
        densities.append(
            np.concatenate([placed.row_log_density(best, rows) for rows in placed.row_blocks()], axis=1)
        )
    off = float(np.max(np.abs(densities[0] - densities[1]) @ mixture.counted(slice(None))))
    if off < _RESOLVED:
        return []
    return [
        f"readings that X_censored says are limits are not resolved: rows' log densities are off by {off:.2g}"
    ]


def narrowed(finer: MixtureProblem, found: Sample) -> tuple[Ends, float]:
    """Return between which readings rows have any density where the posterior is, and by how much less that is.

    Parameters
    ----------
    finer : MixtureProblem
        With nodes that reach further than those of the fit.
    found : Sample
        Of the posterior.

    Returns
    -------
    ends : tuple of ndarray of shape (n, q)
    factor : float
        What is left of the lengths, in the mean.
    """
    expansion, rng = finer.expansion, np.random.default_rng(0)
    if expansion is None:
        raise AssertionError  # for the type checker
    points = found.points[rng.choice(len(found.points), _POINTS, p=found.weights / found.weights.sum())]
    placed, starts, readings = finer.placed(points[0]), expansion.starts, expansion.readings
    index = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(readings)))
    has_any = np.zeros(len(readings), dtype=bool)
    for rows in placed.row_blocks():
        of_each = placed.log_density_of_each(points, rows) + expansion.log_weights[rows]
        groups = expansion.groups(rows)
        highest = np.maximum.reduceat(of_each, starts[groups] - starts[groups.start], axis=1)
        has_any[rows] = (of_each > highest[:, index[rows] - groups.start] + _NOTHING).any(axis=0)
    lowest, highest = (of.reduceat(readings, starts) for of in (np.minimum, np.maximum))
    none = np.where(has_any, 0.0, np.inf)[:, None]
    low, high = np.minimum.reduceat(readings + none, starts), np.maximum.reduceat(readings - none, starts)
    # Nodes are nowhere farther apart than that.
    length, apart = highest - lowest, 2.0 / np.maximum(np.diff(starts, append=len(readings)), 2)[:, None]
    low, high = np.maximum(low - apart * length, lowest), np.minimum(high + apart * length, highest)
    cells = length > 0.0
    return (low, high), float(np.mean((high - low)[cells] / length[cells]))
