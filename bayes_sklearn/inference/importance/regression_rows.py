"""The rows that the density of a regression under any likelihood is of.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Observations
from ...measurements.compressed import compress
from ...measurements.limits import Limits
from ..problem import Problem

Array = NDArray[np.float64]

# Rows with normal noise beside a scatter above which NUTS, which has them as a series in the scatter, is as quick.
_MOST_ROWS = 20_000


def many_rows(problem: Problem) -> str | None:
    """Return why normal rows are too many, or None: they are few where one triangle, or one an error, says it all."""
    exact_and_normal = problem.feature_errors is None and problem.likelihood.is_normal
    if not exact_and_normal or not problem.noise.scatters or len(problem.rows.y) <= _MOST_ROWS:
        return None
    if not _groups_stand(problem):
        return (
            f"beside a scatter (noise={str(problem.noise)!r}) rows with errors of their own don't add up, and there"
            f" are more than {_MOST_ROWS} of them"
        )
    return None


def _groups_stand(problem: Problem) -> bool:
    """Return whether triangles, one for each value of the known errors, stand for the rows."""
    return problem.groups is not None and problem.groups.exact


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in the model's units: the problem's own, or a few that stand for those with normal noise.

    Of rows with normal noise that is a multiple of known errors, or all there is, the triangle says all that there is
    to be said of the line, and their number the rest of the scale, (34a). Beside a scatter one triangle does for each
    value of the errors.
    """

    data: Observations
    frequency: Array | None
    design_blocks: Callable[[], Iterator[tuple[slice, Array]]]
    """Yields [1, x], or x without an intercept, a block of rows at a time."""
    spare: Array | None = None
    """(m,) how many measured rows lie on the line, whatever it is, ..."""
    spare_error: Array | None = None
    """... (m,) with these errors, ..."""
    constant: float = 0.0
    """... and the log density's part that depends on known errors alone."""

    @classmethod
    def of(cls, problem: Problem) -> Table:
        """Return the table of a problem."""
        rows, noise = problem.rows, problem.noise
        plain = cls(problem.observations(), rows.frequency, problem.design_blocks)
        if not problem.likelihood.population.is_normal or problem.truncation is not None:
            return plain
        if problem.limits is not None:
            return cls._beside_limits(problem, plain) if noise.only_multiplies else plain
        if noise.scatters:
            return cls._of_groups(problem, plain) if _groups_stand(problem) else plain
        triangle, log_error = problem.factor
        width, first = len(triangle), int(not problem.fit_intercept)
        return cls._of_triangles(
            plain, triangle, first, np.ones(1), np.array([problem.total_weight - width]), -log_error
        )

    @classmethod
    def _of_triangles(
        cls, plain: Table, rows: Array, first: int, error: Array, spare: Array, constant: float
    ) -> Table:
        """Return the table of triangles, one on the other, whose rows have these errors."""
        whole, design = slice(0, len(rows)), rows[:, first:-1]
        data = replace(
            plain.data, y=rows[:, -1].copy(), standard_error=np.repeat(error, len(rows) // len(error))
        )
        return cls(data, None, lambda: iter([(whole, design)]), spare, error, constant)

    @classmethod
    def _of_groups(cls, problem: Problem, plain: Table) -> Table:
        """Return the table of rows gathered by their errors, where these are few."""
        groups = problem.groups
        if groups is None:  # for the type checker
            raise AssertionError
        width, error = groups.matrix.shape[1], groups.error / problem.error_unit
        triangles = [
            problem.scaling.factor(replace(groups.whole, factor=factor), 1.0)
            for factor in groups.matrix.reshape(-1, width, width)
        ]
        rows, first = np.concatenate(triangles), int(not problem.fit_intercept)
        return cls._of_triangles(plain, rows, first, error, groups.weight - width, 0.0)

    @classmethod
    def _beside_limits(cls, problem: Problem, plain: Table) -> Table:
        """Return the table of rows some of which were not measured: the others become few."""
        limits, rows, data = problem.limits, problem.rows, plain.data
        if limits is None or data.limits is None:  # for the type checker
            raise AssertionError
        every = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
        of_measured, censored = np.where(limits.censored, 0.0, every), np.flatnonzero(limits.censored)
        width = rows.n_features + 2
        if len(rows.y) - len(censored) < 4 * width:
            return plain
        error = 1.0 if problem.standard_error is None else problem.standard_error
        triangle, log_error = problem.in_model_units(compress(replace(rows, frequency=of_measured), error))
        first = int(not problem.fit_intercept)
        designs = [design[limits.censored[block]] for block, design in problem.design_blocks()]
        design = np.concatenate([triangle[:, first:-1], *designs])
        seen = data.take(censored)
        error = np.broadcast_to(np.asarray(seen.standard_error), seen.y.shape)
        bounds, none = data.limits.take(censored), np.full(width, np.inf)
        together = replace(
            data,
            y=np.append(triangle[:, -1], seen.y),
            standard_error=np.append(np.ones(width), error),
            limits=Limits(
                np.append(np.zeros(width, dtype=bool), bounds.censored),
                np.append(-none, bounds.lower),
                np.append(none, bounds.upper),
            ),
        )
        whole = slice(0, len(design))
        frequency = np.append(np.ones(width), every[censored])
        spare = np.array([float(of_measured.sum()) - width])
        return cls(together, frequency, lambda: iter([(whole, design)]), spare, np.ones(1), -log_error)

    @property
    def on_the_line(self) -> Observations:
        """(m,) rows that are where the line is, one for each error of those that lie there."""
        error = np.ones(1) if self.spare_error is None else self.spare_error
        return replace(self.data, y=np.zeros(len(error)), standard_error=error, limits=None)
