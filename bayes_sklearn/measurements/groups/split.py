"""Rows of groups, split into what lies along each group's effects and what is left.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..compressed import eliminate

__all__ = ["Block", "Split", "split"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


class Block(NamedTuple):
    """Some rows."""

    group: Index
    """(n,) which group each is of."""
    weight: Array
    """(n,) frequency by squared error."""
    rows: Array
    """(n, C) columns; overwritten."""
    log_error: float
    """Summed logs of the errors."""


class Split(NamedTuple):
    """Rows of unit noise, split into what lies along each group's effects and what is left, (70)."""

    rest: Array
    """(J, r, C) of each group."""
    within: Array
    """(C, C) triangle."""
    log_error: float
    """Summed logs of the errors."""


def split(blocks: Callable[[], Iterator[Block]], n_groups: int, columns: Sequence[int], width: int) -> Split:
    """Project out one effect after the other, by the modified Gram-Schmidt method, all groups at once.

    Parameters
    ----------
    blocks : callable
        Yields the rows, a block at a time, whenever it is called.
    n_groups : int
    columns : sequence of int
        Those that multiply a group's effects, the intercept's first.
    width : int
        How many columns there are.
    """
    J, r = n_groups, len(columns)
    means, norms = np.zeros((r, J, width)), np.zeros((r, J))
    log_error = 0.0
    for k in range(r):
        log_error = 0.0
        sums, squares = np.zeros((J, width)), np.zeros(J)
        for own, weight, rows, logs in blocks():
            z = _less(own, rows, means[:k], columns)[:, k]
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
    for own, weight, rows, _ in blocks():
        _less(own, rows, means, columns)
        rows *= np.sqrt(weight)[:, None]
        triangle = eliminate(triangle, np.ascontiguousarray(rows.T))
    rest = np.ascontiguousarray((means * norms[:, :, None]).transpose(1, 0, 2))
    return Split(rest, np.zeros((width, width)) if triangle is None else np.asarray(triangle), log_error)


def _less(own: Index, rows: Array, means: Array, columns: Sequence[int]) -> Array:
    """Take from rows what lies along the first effects; return the directions left, (n, r)."""
    directions = rows[:, columns].copy()
    for k, mean in enumerate(means):
        z = directions[:, k, None].copy()
        here = mean[own]
        directions -= z * here[:, columns]
        here *= z
        rows -= here
    return directions
