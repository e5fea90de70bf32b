"""Rows of groups, with the effects of these integrated over: one row for each effect, and the triangle within groups.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...measurements.compressed import eliminate, signed
from ..problem import Problem
from .effects import AtScales, Layout

__all__ = ["GroupedRows", "Marginal", "Split"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


class Split(NamedTuple):
    """Rows of unit noise, split into what lies along each group's effects and what is left, (70)."""

    rest: Array
    """(J, r, C) of [columns, 1, x, y]."""
    within: Array
    """(C, C) triangle."""
    along: Array
    """(r, C, J) the first of these in another order: what runs through groups is contiguous."""
    log_error: float
    """Summed logs of the errors."""


class Marginal(NamedTuple):
    """The rows with effects integrated over, given their scales' ratios to the noise, (71)."""

    factor: Array
    """(P + 1, P + 1) triangle of [1, x, y]."""
    log_weight: float
    others: AtScales | None


class GroupedRows:
    """The rows of a problem, split group by group."""

    def __init__(self, problem: Problem):
        groupings, members = problem.groupings, problem.rows.members
        if groupings is None or members is None:
            raise ValueError("The problem has no groups.")
        self.layout = Layout(groupings.sizes, groupings.slopes)
        self._problem, self._members = problem, members
        self._last = 0.0, Split(np.empty(0), np.empty(0), np.empty(0), 0.0)

    def split(self, scatter: float = 0.0) -> Split:
        """Return the rows under errors with a scatter added, in the model's units; the last one is remembered."""
        if not scatter:
            return self._plain
        if scatter != self._last[0]:
            self._last = scatter, self._split(scatter)
        return self._last[1]

    @cached_property
    def _plain(self) -> Split:
        return self._split(0.0)

    def _split(self, scatter: float) -> Split:
        """Project out one effect after the other, by the modified Gram-Schmidt method, all groups at once."""
        layout, J = self.layout, self.layout.sizes[self.layout.main]
        r, width = layout.widths[layout.main], layout.n_columns + self._problem.rows.n_features + 2
        means, norms = np.zeros((r, J, width)), np.zeros((r, J))
        columns = self._columns(layout.main)
        for k in range(r):
            log_error = 0.0
            sums, squares = np.zeros((J, width)), np.zeros(J)
            for own, weight, rows, logs in self._blocks(scatter):
                directions = self._less(own, rows, means[:k])
                z = directions[:, k]
                gather = sparse.csc_array(
                    (weight * z, own, np.arange(len(own) + 1, dtype=np.intp)), shape=(J, len(own))
                )
                sums += np.asarray(gather @ rows)
                squares += np.asarray(gather @ z)
                log_error += logs
            # A feature that does not vary within a group has no slope there, but for rounding.
            nothing, size = 1e-24, np.square(norms[0]) * (1.0 + np.square(means[0][:, columns[k]]))
            seen = squares > (nothing * size if k else 0.0)
            squares = np.where(seen, squares, 1.0)
            means[k] = np.where(seen[:, None], sums / squares[:, None], 0.0)
            norms[k] = np.where(seen, np.sqrt(squares), 0.0)
        triangle = None
        for own, weight, rows, _ in self._blocks(scatter):
            self._less(own, rows, means)
            rows *= np.sqrt(weight)[:, None]
            triangle = eliminate(triangle, np.ascontiguousarray(rows.T))
        rest = np.ascontiguousarray((means * norms[:, :, None]).transpose(1, 0, 2))
        within = np.zeros((width, width)) if triangle is None else np.asarray(triangle)
        return Split(rest, within, np.ascontiguousarray(rest.transpose(1, 2, 0)), log_error)

    def _less(self, own: Index, rows: Array, means: Array) -> Array:
        """Take from rows what lies along the first effects; return the directions left, (n, r)."""
        columns = self._columns(self.layout.main)
        directions = rows[:, columns].copy()
        for k, mean in enumerate(means):
            z = directions[:, k, None].copy()
            here = mean[own]
            directions -= z * here[:, columns]
            here *= z
            rows -= here
        return directions

    def _columns(self, grouping: int) -> list[int]:
        """Return which columns of [columns, 1, x, y] multiply a grouping's effects."""
        first = self.layout.n_columns
        return [first, *(first + 1 + place for place in self.layout.slopes[grouping])]

    def _blocks(self, scatter: float) -> Iterator[tuple[Index, Array, Array, float]]:
        """Yield groups, weights, rows of [columns, 1, x, y] and summed log errors, a block of rows at a time."""
        problem, layout = self._problem, self.layout
        rows, scaling = problem.rows, problem.scaling
        m, n = layout.n_columns, len(rows.y)
        width = m + rows.n_features + 2
        center = rows.here(scaling.mean)
        error = np.asarray(1.0 if problem.standard_error is None else problem.standard_error)
        # Numbers in hand at once; long enough that sums over groups are a small part of the work.
        length = max(2**17 // width, min(2 * layout.sizes[layout.main], n), 64)
        for start in range(0, n, length):
            block: slice | Index = slice(start, min(start + length, n))
            if rows.frequency is not None and not rows.frequency[block].all():
                block = start + np.flatnonzero(rows.frequency[start : start + length])
            members = self._members[block]
            if not len(members):
                continue
            table = np.zeros((len(members), width))
            table[:, m] = 1.0
            np.subtract(rows.take(block), center[:-1], out=table[:, m + 1 : -1])
            table[:, m + 1 : -1] /= scaling.x_scale
            table[:, -1] = (rows.y[block] - center[-1]) / scaling.y_scale
            if m:
                terms = [table[:, self._columns(k)] for k in range(len(layout.sizes))]
                layout.filled(table, members, terms)
            here = error[block] if error.ndim else np.full(len(members), float(error))
            square = np.square(here / problem.error_unit) + scatter**2
            weight = np.ones(len(members)) if rows.frequency is None else rows.frequency[block]
            yield members[:, layout.main], weight / square, table, 0.5 * float(weight @ np.log(square))

    @property
    def information(self) -> Array:
        """(scales,) about one over the standard error that the rows give an effect, in units of the noise."""
        layout, split = self.layout, self.split()
        found = np.empty(layout.n_scales)
        first = layout.n_columns
        for i, column in enumerate(self._columns(layout.main)):
            found[layout.scales(layout.main).start + i] = np.median(np.abs(split.rest[:, i, column]))
        square = np.square(split.within[:, :first]).sum(axis=0)
        square += np.square(split.rest[:, :, :first]).sum(axis=(0, 1))
        for scale in np.unique(layout.scale_of_column):
            found[scale] = np.sqrt(np.median(square[layout.scale_of_column == scale]))
        return found

    def marginal(self, split: Split, ratios: Array) -> Marginal:
        """Return the rows with the effects integrated over, at ratios of the scales to the noise, (scales,)."""
        layout = self.layout
        m, (J, r, width) = layout.n_columns, split.rest.shape
        scale = ratios[layout.scales(layout.main)]
        roots = split.along[:, self._columns(layout.main)] * scale[:, None]
        lower = _lower(np.einsum("ikg,jkg->ijg", roots, roots) + np.eye(r)[:, :, None])
        block = np.empty((width, r * J))
        for i, own in enumerate(lower):
            here = block[:, i * J : (i + 1) * J]
            np.divide(split.along[i], own[i], out=here)
            for k in range(i):
                here -= (own[k] / own[i]) * block[:, k * J : (k + 1) * J]
        log_weight = -float(np.log(np.diagonal(lower)).sum())
        triangle = eliminate(split.within.copy(order="F"), block)
        if not m:
            return Marginal(signed(triangle), log_weight - split.log_error, None)
        stacked = np.zeros((m + width, width))
        stacked[np.arange(m), np.arange(m)] = 1.0
        stacked[m:] = triangle
        stacked[m:, :m] *= ratios[layout.scale_of_column]
        found = np.asarray(np.linalg.qr(stacked, mode="r"))
        log_weight -= float(np.log(np.abs(np.diagonal(found)[:m])).sum())
        return Marginal(
            signed(found[m:, m:]), log_weight - split.log_error, AtScales(found[:m, :m], found[:m, m:])
        )


def _lower(matrices: Array) -> Array:
    """Return lower triangles of small matrices, (r, r, J), whose products they are."""
    lower = np.zeros_like(matrices)
    for i in range(len(lower)):
        for j in range(i + 1):
            left = matrices[i, j] - (lower[i, :j] * lower[j, :j]).sum(axis=0)
            lower[i, j] = left / lower[j, j] if j < i else np.sqrt(left)
    return lower
