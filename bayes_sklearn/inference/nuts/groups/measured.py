"""Effects of groups beside errors of features: coordinates that follow a fit to what is expected of true features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...importance.engine import Units, row_problem
from ...problem import Problem
from ...structural.mixture import MixtureProblem
from ..rows import Approximation
from .graph import GroupsAt, layout_of, n_coordinates
from .levels import RoughLevels, levels_at, n_level_coordinates
from .rough_fit import RoughFit, group_columns

__all__ = [
    "BesideErrors",
    "effects_beside_errors",
    "n_group_columns",
    "n_group_coordinates",
    "with_groups",
]

Array = NDArray[np.float64]


def n_group_columns(problem: Problem) -> int:
    """Return how many of the rows' first columns say which groups they are of, and what slopes differ along."""
    return 0 if problem.groupings is None else sum(layout_of(problem).widths)


class BesideErrors(NamedTuple):
    """Where effects and levels are about, and a problem that takes them for known."""

    effects: RoughFit
    levels: RoughLevels
    mixture: MixtureProblem
    units: Units

    @classmethod
    def of(cls, problem: Problem) -> BesideErrors:
        """Return them by what is expected of true features, as if they were that."""
        errors, used, scaling = problem.feature_errors, problem.rows.used, problem.scaling
        if errors is None:
            raise AssertionError  # for the type checker
        mixture, units = row_problem(problem)
        levels, unit = RoughLevels.of(problem, mixture), units.noisy * scaling.x_scale[errors.noisy]
        X = np.array(problem.rows.take(slice(None)), dtype=np.float64)
        X[used[:, None], errors.noisy] -= levels.shift * unit
        rows = replace(problem.rows, X=X, features=None)
        mixture, units = row_problem(replace(problem, rows=rows))
        expected = _expected(mixture, len(unit)) + mixture.center[1] + levels.shift
        X[used[:, None], errors.noisy] = expected * unit + scaling.x_mean[errors.noisy]
        limits, frequency, unknown = problem.limits, rows.frequency, problem.unmeasured
        if unknown is not None:  # of targets of which nothing is known
            frequency = np.where(unknown[:, -1], 0.0, 1.0 if frequency is None else frequency)
            limits = None
        rows = replace(rows, frequency=frequency, limits=limits)
        exact = replace(problem.without_feature_errors(), rows=rows, limits=limits)
        effects = Approximation.with_groups(exact)[1]
        B = effects.rest[effects.table.layout.n_columns :]
        m = B[int(problem.fit_intercept) :][errors.noisy] * units.noisy
        shift = effects.shift[used] + levels.shift @ m
        return cls(effects, levels, replace(mixture, shift=shift), units)

    def beside(self) -> Array:
        """Return a root of the covariance, given them, of the line and features at the means, (1, d, 1 + q)."""
        mixture, layout = self.mixture, self.effects.table.layout
        q, columns, measured = mixture.data.n_noisy, mixture.columns, mixture.follows_mean
        found = np.zeros((1, mixture.size, 1 + q))
        if mixture.data.intercept is not None:
            first = [layout.scales(k).start for k in range(len(layout.sizes))]
            variance = (np.square(self.effects.scales[first]) / layout.sizes).sum()
            found[0, columns["line"].start, 0] = np.sqrt(
                variance * (mixture.measured.information if measured else 1.0)
            )
        of_levels = (np.square(self.levels.scales) / np.array(layout.sizes)[:, None]).sum(axis=0)
        of_levels *= self.levels.weight.sum(axis=0) if measured else 1.0
        found[0, columns["means"], 1:] = np.diag(np.sqrt(of_levels))
        return found


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


def n_group_coordinates(problem: Problem, q: int) -> int:
    """Return how many coordinates effects and levels have."""
    return n_coordinates(problem) + n_level_coordinates(problem, q)


def effects_beside_errors(
    problem: Problem, found: BesideErrors, at: Array
) -> tuple[dict[str, Array | float], Array]:
    """Return what `with_groups` takes, and the rows' first columns, (n, `n_group_columns`).

    Parameters
    ----------
    problem : Problem
    found : BesideErrors
    at : ndarray of shape (k + 1 + q,)
        A place of the line at the means, beta and m.
    """
    units, errors, (z, w, y) = found.units, problem.feature_errors, found.mixture.center
    if errors is None:
        raise AssertionError  # for the type checker
    first, noisy, k = int(problem.fit_intercept), errors.noisy, len(units.exact)
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
    arrays = found.effects.arrays(basis, start + basis @ at) | found.levels.arrays(problem, found.mixture)
    return arrays | {"effects_at": at}, columns


class OfGroups(NamedTuple):
    """What groups add, in PyTensor."""

    line: Any
    """(n,) to the line, beside what true features do."""
    features: list[Any]
    """q times (n,), to the true features."""
    terms: list[Any]
    """Log prior densities in the coordinates."""


def with_groups(
    problem: Problem, given: Mapping[str, Any], at: Any, features: tuple[Any, Any], u: Any, columns: Any
) -> OfGroups:
    """Return what groups add, in the PyMC model in hand.

    Parameters
    ----------
    problem : Problem
    given : mapping of str to TensorVariable
        As `effects_beside_errors` makes them.
    at : TensorVariable of shape (P,)
        The line at the means, where there is an intercept, beta and m.
    features : tuple of TensorVariable
        The true features' means, (q,), and slopes, (q, k).
    u : TensorVariable of shape (`n_group_coordinates`,)
    columns : TensorVariable of shape (`n_group_columns`, n)
    """
    terms: list[Any] = []
    n, count = n_coordinates(problem), len(layout_of(problem).sizes)
    line, log_density = GroupsAt.of(problem, given, u[:n], 1.0, terms).line(at - given["effects_at"], columns)
    added, of_levels = levels_at(problem, given, u[n:], *features, columns[:count].astype("int64"))
    return OfGroups(line, added, [*terms, log_density, of_levels])
