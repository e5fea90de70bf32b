"""Rows of groups, with the effects of these integrated over: one row for each effect, and the triangle within groups.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ...measurements.compressed import eliminate, signed
from ...measurements.groups.cells import Cells
from ...measurements.groups.split import Block, split
from ..problem import Problem
from .effects import AtScales, Layout

__all__ = ["Along", "GroupedRows", "Marginal", "cells_of"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


class Along(NamedTuple):
    """Rows of [columns, 1, x, y], split, (70)."""

    rest: Array
    """(J, r, C) what lies along each group's effects."""
    within: Array
    """(C, C) triangle of what is left."""
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
        self._last = 0.0, Along(np.empty(0), np.empty(0), np.empty(0), 0.0)

    def split(self, scatter: float = 0.0) -> Along:
        """Return the rows under errors with a scatter added, in the model's units; the last one is remembered."""
        if not scatter:
            return self._plain
        if scatter != self._last[0]:
            self._last = scatter, self._split(scatter)
        return self._last[1]

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Return those of a problem, made once."""
        return problem.passed.setdefault("grouped rows", cls(problem))

    @cached_property
    def _plain(self) -> Along:
        return self._split(0.0)

    def _split(self, scatter: float) -> Along:
        layout, problem = self.layout, self._problem
        width = layout.n_columns + problem.rows.n_features + 2
        blocks, columns = partial(self._blocks, scatter), self._columns(layout.main)
        rest, within, log_error = split(blocks, layout.sizes[layout.main], columns, width)
        if not scatter:  # rows may stand for others of other errors
            log_error = problem.factor[1]
        return Along(rest, within, np.ascontiguousarray(rest.transpose(1, 2, 0)), log_error)

    def _columns(self, grouping: int) -> list[int]:
        """Return which columns of [columns, 1, x, y] multiply a grouping's effects."""
        first = self.layout.n_columns
        return [first, *(first + 1 + place for place in self.layout.slopes[grouping])]

    def _blocks(self, scatter: float) -> Iterator[Block]:
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
            yield Block(members[:, layout.main], weight / square, table, 0.5 * float(weight @ np.log(square)))

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

    def marginal(self, split: Along, ratios: Array) -> Marginal:
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


def cells_of(problem: Problem, origin: Array) -> Cells | None:
    """Return what a problem's rows add up to, divided by its known errors, where a fit has found it."""
    grouped: GroupedRows | None = problem.passed.get("grouped rows")
    if grouped is None or grouped.layout.n_columns:
        return None
    scaling, split = problem.scaling, grouped.split()
    to_data = np.diag(np.concatenate([[1.0], scaling.x_scale, [scaling.y_scale]]))
    to_data[0, 1:] = scaling.mean - origin
    to_data /= problem.error_unit
    groups = np.arange(grouped.layout.sizes[0])[:, None]
    return Cells(groups, grouped.layout.slopes[0], origin, split.rest @ to_data, split.within @ to_data)


def _lower(matrices: Array) -> Array:
    """Return lower triangles of small matrices, (r, r, J), whose products they are."""
    lower = np.zeros_like(matrices)
    for i in range(len(lower)):
        for j in range(i + 1):
            left = matrices[i, j] - (lower[i, :j] * lower[j, :j]).sum(axis=0)
            lower[i, j] = left / lower[j, j] if j < i else np.sqrt(left)
    return lower
