"""Whether shares let flat coefficients run off to infinity: separation of successes from failures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Array = NDArray[np.float64]

# Singular values of the rows with both outcomes, of columns of length one, below which a direction is free.
_FREE = 1e-10
# Rows have length one: a side on which none of them is further than this is no side.
_SIDE = 1e-4


def separating_direction(blocks: Iterable[tuple[Array, Array, Array]], size: int) -> Array | None:
    """Return a direction of the coefficients in which the likelihood does not fall, or None.

    Rows with both outcomes bound the coefficients along them from either side. Rows with one outcome alone leave
    free what has all of them on that outcome's side (Albert & Anderson 1984, Biometrika 71:1-10), which a linear
    program finds where there is such a direction (Konis 2007, Linear programming algorithms for detecting
    separated data in binary logistic regression models, University of Oxford).

    Parameters
    ----------
    blocks : iterable of (design, successes, failures)
        A block of rows at a time, (rows, size), (rows,) and (rows,).
    size : int
        Number of columns, which are linearly independent.

    Returns
    -------
    ndarray of shape (size,) or None
        Of unit length.
    """
    triangle = np.zeros((0, size))
    one_sided = []
    for design, successes, failures in blocks:
        both = (successes > 0.0) & (failures > 0.0)
        if both.any():
            triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, design[both]]), mode="r"))
        sign = np.where(successes > 0.0, 1.0, -1.0)[~both, None]
        one_sided.append(design[~both] * sign)
    free = _null_space(triangle, size)
    rows = np.concatenate(one_sided) @ free
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > 1e-9 * norms.max(initial=0.0)]
    if free.shape[1] == 0 or not len(rows):
        return None
    # In a basis in which the rows are as alike in all directions as can be.
    basis = np.linalg.pinv(np.linalg.qr(rows, mode="r"))
    rows = rows @ basis
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = linprog(
        -rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1.0, 1.0), method="highs"
    )
    if found.x is None or not (rows @ found.x).max() > _SIDE:
        return None
    direction = free @ (basis @ found.x)
    return np.asarray(direction / np.linalg.norm(direction))


def _null_space(triangle: Array, size: int) -> Array:
    """Return a basis, (size, k), of what rows of this triangle don't reach."""
    if not len(triangle):
        return np.eye(size)
    norms = np.linalg.norm(triangle, axis=0)
    norms = np.where(norms > 0.0, norms, 1.0)
    _, singular, right = np.linalg.svd(triangle / norms)
    reached = int(np.count_nonzero(singular > _FREE * size))
    return np.asarray(right[reached:].T / norms[:, None])
