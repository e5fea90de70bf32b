"""The rows that the density of a regression under any likelihood is of."""

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


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in the model's units: the problem's own, or, beside limits, those that were measured in a few.

    Of rows with normal noise that is a multiple of known errors, or all there is, the triangle says all that there is
    to be said of the line, and their number the rest of the scale.
    """

    data: Observations
    frequency: Array | None
    design_blocks: Callable[[], Iterator[tuple[slice, Array]]]
    """Yields [1, x], or x without an intercept, a block of rows at a time."""
    spare: float = 0.0
    """Measured rows that lie on the line, whatever it is, ..."""
    constant: float = 0.0
    """... and the log density's part that depends on known errors alone."""

    @classmethod
    def of(cls, problem: Problem) -> Table:
        """Return the table of a problem."""
        limits, rows, data = problem.limits, problem.rows, problem.observations()
        plain = cls(data, rows.frequency, problem.design_blocks)
        few = problem.likelihood.population.is_normal and problem.truncation is None
        if limits is None or not (few and problem.noise.only_multiplies):
            return plain
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
        bounds = data.limits.take(censored) if data.limits is not None else None
        if bounds is None:  # for the type checker
            raise AssertionError
        none = np.full(width, np.inf)
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
        spare = float(of_measured.sum()) - width
        return cls(together, frequency, lambda: iter([(whole, design)]), spare, -log_error)

    @property
    def on_the_line(self) -> Observations:
        """One row of unit error that is where the line is."""
        return replace(self.data, y=np.zeros(1), standard_error=1.0, limits=None)
