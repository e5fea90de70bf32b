"""Effects of groups beside errors of features: coordinates that follow a fit to what is expected of true features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...importance.engine import Units
from ...problem import Problem
from ...structural.mixture import MixtureProblem
from ..rows import Approximation
from .graph import GroupsAt, layout_of
from .rough_fit import RoughFit, group_columns

__all__ = [
    "effects_beside_errors",
    "fit_beside_errors",
    "left_to_the_line",
    "n_group_columns",
    "with_effects",
]

Array = NDArray[np.float64]


def n_group_columns(problem: Problem) -> int:
    """Return how many of the rows' first columns say which groups they are of, and what slopes differ along."""
    return 0 if problem.groupings is None else sum(layout_of(problem).widths)


def fit_beside_errors(problem: Problem, mixture: MixtureProblem, units: Units) -> RoughFit:
    """Return about where effects are, by what is expected of true features as if they were that.

    Parameters
    ----------
    problem : Problem
    mixture : MixtureProblem
        The same, but for the groups.
    units : Units
    """
    rows, errors, used = problem.rows, problem.feature_errors, problem.rows.used
    if errors is None:
        raise AssertionError  # for the type checker
    X, scaling, q = np.array(rows.take(slice(None)), dtype=np.float64), problem.scaling, len(errors.noisy)
    unit = units.noisy * scaling.x_scale[errors.noisy]
    expected = (_expected(mixture, q) + mixture.center[1]) * unit + scaling.x_mean[errors.noisy]
    X[used[:, None], errors.noisy] = expected
    limits, frequency, unknown = problem.limits, rows.frequency, problem.unmeasured
    if unknown is not None:  # of targets of which nothing is known
        frequency = np.where(unknown[:, -1], 0.0, 1.0 if frequency is None else frequency)
        limits = None
    rows = replace(rows, X=X, features=None, frequency=frequency, limits=limits)
    exact = replace(problem.without_feature_errors(), rows=rows, limits=limits)
    return Approximation.with_groups(exact)[1]


def _expected(mixture: MixtureProblem, q: int) -> Array:
    """Return what is expected of the true features, (n, q), about the means, by moments of what was measured."""
    (rows, U), weight = mixture.likely_rows, mixture.frequency
    ones, w, root = rows[:, : -1 - q], rows[:, -1 - q : -1], np.sqrt(weight)[:, None]
    line = ones @ np.linalg.lstsq(root * ones, root * w)[0]
    away = w - line
    measured = (root * away).T @ (root * away) / weight.sum()
    values, vectors = np.linalg.eigh(measured - np.average(U, axis=0, weights=weight if len(U) > 1 else None))
    # However large errors are, something of what was measured is true.
    least = 0.05 * np.trace(measured) / q
    T = (vectors * np.maximum(values, least)) @ vectors.T
    return np.asarray(line + np.linalg.solve(T + U, away[:, :, None])[..., 0] @ T, dtype=np.float64)


def left_to_the_line(mixture: MixtureProblem, groups: RoughFit) -> Array:
    """Return a root of what effects leave of the line at the means beside what rows do, (1, d, 1), at points."""
    layout, found = groups.table.layout, np.zeros((1, mixture.size, 1))
    if mixture.data.intercept is not None:
        first = [layout.scales(k).start for k in range(len(layout.sizes))]
        variance = (np.square(groups.scales[first]) / layout.sizes).sum()
        if mixture.follows_mean:
            variance *= mixture.measured.information
        found[0, mixture.columns["line"].start] = np.sqrt(variance)
    return found


def effects_beside_errors(
    problem: Problem, groups: RoughFit, mixture: MixtureProblem, at: Array, units: Units
) -> tuple[dict[str, Array | float], Array]:
    """Return what `with_effects` takes, and the rows' first columns, (n, `n_group_columns`).

    Parameters
    ----------
    problem : Problem
    groups : RoughFit
    mixture : MixtureProblem
    at : ndarray of shape (k + 1 + q,)
        A place of the line at the means, beta and m.
    units : Units
    """
    errors, (z, w, y), k = problem.feature_errors, mixture.center, len(units.exact)
    if errors is None:
        raise AssertionError  # for the type checker
    first, noisy = int(problem.fit_intercept), errors.noisy
    exact = np.setdiff1d(np.arange(problem.rows.n_features), noisy)
    at = at[1 - first :]
    # B is linear in these.
    basis, start = np.zeros((len(at), len(at))), np.zeros(len(at))
    basis[first + exact, first + np.arange(k)] = 1.0 / units.exact
    basis[first + noisy, first + k + np.arange(len(noisy))] = 1.0 / units.noisy
    if first:
        basis[0] = np.concatenate([[1.0], -(z + units.origin / units.exact), -w])
        start[0] = y
    design = np.concatenate([block for _, block in problem.design_blocks()])
    columns = np.column_stack(group_columns(problem, design))[problem.rows.used]
    return groups.arrays(basis, start + basis @ at) | {"effects_at": at}, columns


def with_effects(
    problem: Problem, given: Mapping[str, Any], at: Any, u: Any, columns: Any
) -> tuple[Any, list[Any]]:
    """Return what effects add to the line, (n,), and logs of densities, in the PyMC model in hand.

    Parameters
    ----------
    problem : Problem
    given : mapping of str to TensorVariable
        As `effects_beside_errors` makes them.
    at : TensorVariable of shape (P,)
        The line at the means, where there is an intercept, beta and m.
    u : TensorVariable of shape (`n_coordinates`,)
    columns : TensorVariable of shape (`n_group_columns`, n)
    """
    terms: list[Any] = []
    line, log_density = GroupsAt.of(problem, given, u, 1.0, terms).line(at - given["effects_at"], columns)
    return line, [*terms, log_density]
