"""How groups differ in true features: levels of those that are measured with error, in PyTensor, and about where.

Taken for one, rows whose true features are alike within groups would have errors corrected by a spread that no
group has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...problem import Problem
from ...structural.mixture import MixtureProblem
from ...structural.rows import pairs
from .graph import GroupScales
from .rough_fit import place_of, vanishing

__all__ = ["RoughLevels", "levels_at", "n_level_coordinates"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


def n_level_coordinates(problem: Problem, q: int) -> int:
    """Return how many coordinates levels and their standard deviations have."""
    return (
        0 if problem.groupings is None else q * (len(problem.groupings.sizes) + sum(problem.groupings.sizes))
    )


def levels_at(
    problem: Problem, given: Mapping[str, Any], u: Any, means: Any, slopes: Any, members: Any
) -> tuple[list[Any], Any]:
    """Return what levels add to the true features of rows, q times (n,), and the log density in the coordinates.

    They become the variables ``levels`` and ``level_scales`` of the PyMC model in hand.

    Parameters
    ----------
    problem : Problem
    given : mapping of str to TensorVariable
        As `RoughLevels.arrays` makes them.
    u : TensorVariable of shape (`n_level_coordinates`,)
    means : TensorVariable of shape (q,)
    slopes : TensorVariable of shape (q, k)
        Of the true features, in the exact ones.
    members : TensorVariable of shape (K, n)
        Whole numbers.
    """
    import pymc as pm
    import pytensor.tensor as pt

    sizes = () if problem.groupings is None else problem.groupings.sizes
    total, q = given["levels_information"].type.shape
    count, (k, _) = len(sizes) * q, (slopes.type.shape[1], q)
    scales = GroupScales.of(problem, given, u[:count], "level")
    of_group = scales.signed.reshape((len(sizes), q))[np.repeat(np.arange(len(sizes)), sizes)]
    pull = given["levels_pull"] - given["levels_information"] * means
    for j in range(k):
        pull = pull - given["levels_along"][j] * slopes[:, j]
    precision = 1.0 + given["levels_information"] * of_group**2
    standard = of_group * pull / precision + u[count:].reshape((total, q)) / pt.sqrt(precision)
    values = pm.Deterministic("levels", of_group * standard)
    added: list[Any] = [0.0] * q
    for of_sizes, first in enumerate(np.cumsum([0, *sizes[:-1]]).tolist()):
        for j in range(q):
            added[j] = added[j] + values[:, j][members[of_sizes] + first]
    log_density = -0.5 * (pt.square(standard) + pt.log(precision)).sum()
    return added, scales.log_density + log_density


@dataclass(frozen=True, eq=False)
class RoughLevels:
    """About where levels are, and what rows say of them; in the engine's units."""

    members: Index
    """(n, K) groups of the rows that are used."""
    sizes: tuple[int, ...]
    scales: Array
    """(K, q) standard deviations."""
    values: tuple[Array, ...]
    """(K,) times (J, q)."""
    weight: Array
    """(n, q) how much each reading tells of its group."""

    @classmethod
    def of(cls, problem: Problem, mixture: MixtureProblem) -> RoughLevels:
        """Return them by expectation-maximisation, a feature at a time."""
        groupings, members = problem.groupings, problem.rows.members
        if groupings is None or members is None:
            raise AssertionError  # for the type checker
        own, q = members[problem.rows.used], mixture.data.n_noisy
        rows, frequency = mixture.likely_rows[0], mixture.frequency
        errors = np.broadcast_to(mixture.errors, (len(rows), mixture.errors.shape[1]))
        U = errors[:, np.diagonal(pairs(q))]
        known = np.ones((len(rows), q)) if mixture.gaps is None else 1.0 - mixture.gaps[:, :q]
        ones, w = rows[:, : -1 - q], rows[:, -1 - q : -1]
        found = [
            _one_feature(ones, w[:, j], U[:, j], frequency * known[:, j], own, groupings.sizes)
            for j in range(q)
        ]
        values = tuple(np.column_stack([one[1][k] for one in found]) for k in range(len(groupings.sizes)))
        scales, weight = (np.column_stack([one[i] for one in found]) for i in (0, 2))
        return cls(own, groupings.sizes, scales, values, weight)

    @property
    def shift(self) -> Array:
        """(n, q) what they add to rows."""
        return np.asarray(sum(part[self.members[:, k]] for k, part in enumerate(self.values)))

    def arrays(self, problem: Problem, mixture: MixtureProblem) -> dict[str, Array | float]:
        """Return what `levels_at` takes; the problem's own readings are about its means."""
        q, k = mixture.data.n_noisy, mixture.data.z.shape[1]
        rows = mixture.rows
        z, w = rows[:, 1 : k + 1], rows[:, k + 1 : k + 1 + q] + self.shift

        def sums(values: Array) -> Array:
            """Of (n, q), over the rows of every group of each grouping."""
            parts = []
            for own, size in zip(self.members.T, self.sizes, strict=True):
                parts.append(np.column_stack([np.bincount(own, of, size) for of in values.T]))
            return np.concatenate(parts)

        information = sums(self.weight)
        ends = np.cumsum(self.sizes)[:-1]
        each = [np.median(part, axis=0) for part in np.split(information, ends)]
        unit = (2.0 / np.array(self.sizes)[:, None]) ** 0.25 / np.sqrt(np.maximum(each, 1e-300))
        seen = [
            (part * scale**2 / (1.0 + part * scale**2)).sum(axis=0)
            for part, scale in zip(np.split(information, ends), self.scales, strict=True)
        ]
        return {
            "levels_information": information,
            "levels_pull": sums(self.weight * w),
            "levels_along": np.array([sums(self.weight * z[:, [j]]) for j in range(k)]).reshape(
                k, sum(self.sizes), q
            ),
            "level_place": place_of(self.scales, unit, vanishing(problem)).ravel(),
            "level_unit": unit.ravel(),
            "level_spread": np.clip(1.0 / np.sqrt(2.0 * np.maximum(seen, 0.1)), 0.1, 1.0).ravel(),
        }


def _one_feature(
    ones: Array, w: Array, U: Array, frequency: Array, members: Index, sizes: tuple[int, ...]
) -> tuple[Array, list[Array], Array]:
    """Return standard deviations of levels, (K,), the levels, and how much each reading tells of its group's."""
    count, total = len(sizes), max(float(frequency.sum()), 1.0)
    spread = float(frequency @ np.square(w)) / total or 1.0
    squares, values = np.full(count, 0.25 * spread), [np.zeros(size) for size in sizes]
    T, steps = max(0.5 * spread - float(frequency @ U) / total, 0.05 * spread), 40
    weight = frequency / (T + U)
    for _ in range(steps):
        added = [values[k][members[:, k]] for k in range(count)]
        root = np.sqrt(weight)
        line = ones @ np.linalg.lstsq(root[:, None] * ones, root * (w - sum(added)))[0]
        open_ = np.zeros(len(w))
        for k in range(count):
            left = w - line - sum(added[:k]) - sum(added[k + 1 :])
            precision = np.bincount(members[:, k], weight, sizes[k]) + 1.0 / squares[k]
            values[k] = np.bincount(members[:, k], weight * left, sizes[k]) / precision
            added[k] = values[k][members[:, k]]
            open_ += 1.0 / precision[members[:, k]]
            squares[k] = max(float(np.mean(np.square(values[k]) + 1.0 / precision)), 1e-6 * spread)
        left = w - line - sum(added)
        T = max(float(frequency @ (np.square(left) + open_ - U)) / total, 0.05 * spread)
        weight = frequency / (T + U)
    for k in range(count):  # so that readings keep their mean
        values[k] = values[k] - frequency @ values[k][members[:, k]] / total
    return np.sqrt(squares), values, weight
