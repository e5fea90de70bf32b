"""Whether shares let flat coefficients run off to infinity: separation of successes from failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Array = NDArray[np.float64]
Blocks = Callable[[], Iterable[tuple[Array, Array, Array]]]

# Singular values of the rows with both outcomes, of columns of length one, below which a direction is free.
_FREE = 1e-10
# Rows have length one: a side on which none of them is further than this is no side, ...
_SIDE = 1e-4
# ... and one on the wrong side by less is on its boundary (the linear program's own tolerance is a tenth of this).
_WRONG = 1e-6
# Rows that the linear program begins with, and gets more of at a time.
_ROWS = 2000
_MAX_TURNS = 100


def is_separated(blocks: Blocks, size: int) -> bool:
    """Return whether the likelihood does not fall in some direction of the coefficients.

    Rows with both outcomes bound the coefficients along them from either side. Rows with one outcome alone leave
    free what has all of them on that outcome's side (Albert & Anderson 1984, Biometrika 71:1-10), which a linear
    program finds where there is such a direction (Konis 2007, Linear programming algorithms for detecting
    separated data in binary logistic regression models, University of Oxford). It is given a part of the rows, and
    then those that its solution has on the wrong side, until there are none or nothing is left but zero.

    Parameters
    ----------
    blocks : callable
        Returns (design, successes, failures) a block of rows at a time, (rows, size), (rows,) and (rows,).
    size : int
        Number of columns, which are linearly independent.
    """
    triangle = np.zeros((0, size))
    for design, successes, failures in blocks():
        both = (successes > 0.0) & (failures > 0.0)
        triangle = _triangle(triangle, design[both])
    free = _null_space(triangle, size)
    if free.shape[1] == 0:
        return False
    # A basis in which the rows are as alike in all directions as can be.
    triangle = np.zeros((0, free.shape[1]))
    for rows in _one_sided(blocks, free):
        triangle = _triangle(triangle, rows)
    basis = free @ np.linalg.pinv(triangle)
    total = sum((rows.sum(axis=0) for rows in _one_sided(blocks, basis, unit=True)), np.zeros(free.shape[1]))
    used = _worst(_one_sided(blocks, basis, unit=True), np.zeros(free.shape[1]), np.inf)
    for _ in range(_MAX_TURNS):
        solution = linprog(-total, A_ub=-used, b_ub=np.zeros(len(used)), bounds=(-1.0, 1.0), method="highs").x
        if solution is None or not np.abs(solution).max() > _SIDE:
            return False
        wrong = _worst(_one_sided(blocks, basis, unit=True), solution, -_WRONG)
        if not len(wrong):
            return any((rows @ solution > _SIDE).any() for rows in _one_sided(blocks, basis, unit=True))
        used = np.concatenate([used, wrong])
    return False


def _triangle(triangle: Array, rows: Array) -> Array:
    """Return the triangle of these rows and those before."""
    return np.asarray(np.linalg.qr(np.concatenate([triangle, rows]), mode="r"))


def _one_sided(blocks: Blocks, basis: Array, *, unit: bool = False) -> Iterator[Array]:
    """Yield the rows with one outcome, successes up and failures down, in a basis; with `unit` of length one."""
    for design, successes, failures in blocks():
        one = (successes > 0.0) != (failures > 0.0)
        rows = (design[one] * np.where(successes[one] > 0.0, 1.0, -1.0)[:, None]) @ basis
        if unit:
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows[norms[:, 0] > 0.0] / norms[norms[:, 0] > 0.0]
        yield rows


def _worst(blocks: Iterable[Array], direction: Array, most: float) -> Array:
    """Return the rows least far in a direction, no further than `most`, not more than a linear program should get."""
    worst = np.zeros((0, len(direction)))
    for rows in blocks:
        worst = np.concatenate([worst, rows[rows @ direction < most]])
        if len(worst) > _ROWS:
            worst = worst[np.argsort(worst @ direction, kind="stable")[:_ROWS]]
    return worst


def _null_space(triangle: Array, size: int) -> Array:
    """Return a basis, (size, k), of what rows of this triangle don't reach."""
    norms = np.linalg.norm(triangle, axis=0)
    norms = np.where(norms > 0.0, norms, 1.0)
    _, singular, right = np.linalg.svd(triangle / norms)
    reached = int(np.count_nonzero(singular > _FREE * size))
    return np.asarray(right[reached:].T / norms[:, None])
