"""Leave-one-group-out: the density of all targets of a group given those of the others, a refit per group.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..groups.effects import Effects, Open
from ..posterior import Posterior
from ..problem import Problem
from . import engine as exact

__all__ = ["GroupsLeftOut", "leave_one_group_out"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))


class GroupsLeftOut(NamedTuple):
    """What is known of groups without them."""

    groups: Index
    """(J,) positions of those of which rows count."""
    log_density: Array
    """(J,) of each group's targets together, given those of the others, in the data's unit."""
    log_density_with: Array
    """(J,) of a copy of each group's targets given all."""
    n_nodes: int
    location: Array
    """(P,) posterior mean of B given all rows, in the model's units."""


def leave_one_group_out(problem: Problem, grouping: int) -> GroupsLeftOut:
    """Return the log density of each group's targets given all rows of the others, (74).

    Parameters
    ----------
    problem : Problem
        One that the exact engine takes, with groups.
    grouping : int
        Which of the ways that rows are grouped in.

    Raises
    ------
    ValueError
        Where the posterior without one of the groups is improper.
    """
    rows = problem.rows
    if rows.members is None:
        raise ValueError("The problem has no groups.")
    frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
    whole = exact.solve_anyway(problem)
    groups = np.unique(rows.members[frequency > 0.0, grouping])
    found = np.empty((2, len(groups)))
    for place, group in enumerate(groups):
        own = rows.members[:, grouping] == group
        without = problem.weighted(np.where(own, 0.0, frequency))
        index = np.flatnonzero(own & (frequency > 0.0))
        for which, posterior in enumerate((exact.solve_anyway(without), whole)):
            found[which, place] = _log_density(problem, posterior, index, frequency[index])
    location = whole.weights @ whole.location
    kept = location[int(not problem.fit_intercept) :]
    return GroupsLeftOut(groups, found[0], found[1], len(whole.weights), kept)


def _log_density(problem: Problem, posterior: Posterior, rows: Index, frequency: Array) -> float:
    """Return the log density of some targets together under a posterior, in the data's unit."""
    effects, members, scaling = posterior.effects, problem.rows.members, problem.scaling
    if not isinstance(effects, Effects) or members is None:
        raise AssertionError  # for the type checker
    design = problem.design_at(rows)
    data = problem.observations().take(rows)
    square = np.square(np.broadcast_to(data.standard_error, len(rows)))
    logs = np.empty(len(posterior.weights))
    for part in range(effects.n_parts):
        given = effects.at(part, design, effects.layout.terms(design[:, 1:]), members[rows])
        for node in effects.nodes(part):
            nodes = np.array([node])
            root = given.design @ posterior.covariances.take(nodes).root(np.ones(1)).T
            beside = [effects.noise[node] * loadings for loadings in _columns(given.open)]
            variance = square if problem.noise.only_scatters else square * posterior.noise_scale[node] ** 2
            if problem.noise.only_scatters:
                variance = variance + posterior.noise_scale[node] ** 2
            elif posterior.scatter is not None:
                variance = variance + posterior.scatter[node] ** 2
            away = data.y - given.constant - given.design @ posterior.location[node]
            logs[node] = _log_normal(away, variance, np.concatenate([root, *beside], axis=1), frequency)
    unit = float(frequency.sum()) * float(np.log(scaling.y_scale))
    return float(logsumexp(np.log(posterior.weights) + logs)) - unit


def _columns(parts: tuple[Open, ...]) -> Iterator[Array]:
    """Yield what rows have of each standard normal number that the effects are multiples of, (n, q)."""
    for part in parts:
        loadings, group = part.loadings, part.group
        if group is None:
            yield loadings
            continue
        for label in np.unique(group):
            yield np.where((group == label)[:, None], loadings, 0.0)


def _log_normal(away: Array, variance: Array, root: Array, frequency: Array) -> float:
    """Return the log density of numbers whose covariance is ``diag(variance) + root @ root.T``, each so often."""
    weight = np.sqrt(frequency / variance)
    rows = np.column_stack([weight[:, None] * root, weight * away])
    stacked = np.concatenate([np.eye(root.shape[1], root.shape[1] + 1), rows])
    triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
    log_det = frequency @ np.log(variance) + 2.0 * np.log(np.abs(np.diagonal(triangle)[:-1])).sum()
    return -0.5 * float(log_det + frequency.sum() * _LOG_TWO_PI + np.square(triangle[-1, -1]))
