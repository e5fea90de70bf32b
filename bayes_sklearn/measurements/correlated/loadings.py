"""Errors that rows share, beside those of their own: low rank plus diagonal.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import as_floats
from ..compressed import Compressed, Rows, compress, signed

__all__ = ["Loadings", "check_loadings", "eliminated", "shared_first"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Loadings:
    """What shared errors, each of a standard deviation of one, do to the rows: (n, k)."""

    values: Array

    @classmethod
    def of(cls, given: Any, n: int) -> Loadings:
        """Check an argument ``y_shared_err``."""
        return cls(check_loadings(given, n))

    @property
    def count(self) -> int:
        """How many shared errors there are."""
        return int(self.values.shape[1])

    def beside(self, rows: Rows) -> Rows:
        """Return rows that have them as further features."""
        features = rows.take(slice(None))
        return replace(rows, X=np.column_stack([features, self.values]), features=None)

    def compress(self, rows: Rows, standard_error: Array | float) -> Compressed:
        """Factor the rows, the shared errors eliminated, (69b)."""
        whole = compress(self.beside(rows), standard_error)
        k, width = self.count, rows.n_features + 2
        kept = np.delete(np.arange(width - 1 + k), slice(width - 2, width - 2 + k))
        origin = whole.origin.copy()
        origin[width - 2 : -1] = 0.0
        factor, more = eliminated(whole.about(origin), k)
        return replace(
            whole,
            origin=whole.origin[kept],
            factor=factor,
            log_error=whole.log_error + float(more),
            mean=whole.mean[kept],
            standard_deviation=whole.standard_deviation[kept],
        )

    def solved(
        self, columns: Array, standard_error: Array, frequency: Array | None, scatter: float
    ) -> tuple[Array, Array]:
        """Return the inverse of the covariance, a scatter added, times columns, (n, m), and its diagonal, (n,).

        Of a row that counts several times they are those of one of its copies.
        """
        precision = 1.0 / (np.square(standard_error) + scatter**2)
        weighted = precision[:, None] * self.values
        of_all = weighted if frequency is None else weighted * frequency[:, None]
        root = np.linalg.cholesky(np.eye(self.count) + of_all.T @ self.values)
        told = np.linalg.solve(root, weighted.T)
        product = precision[:, None] * columns - told.T @ np.linalg.solve(root, of_all.T @ columns)
        return product, precision - np.square(told).sum(axis=0)


def check_loadings(given: Any, n: int, count: int | None = None) -> Array:
    """Return an argument ``y_shared_err`` as an array, (n, k).

    Raises
    ------
    TypeError, ValueError
        Where it is none; k is given where it has to be as in fit.
    """
    try:
        values = as_floats(given)
    except TypeError as error:
        raise TypeError(f"y_shared_err must be an array of numbers: {error}.") from error
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != n or not values.shape[1]:
        raise ValueError(
            f"y_shared_err must have one row for each of the {n} rows of X, ({n},), or ({n}, k) of k shared errors,"
            f" got an array of shape {np.shape(given)}."
        )
    if count is not None and values.shape[1] != count:
        raise ValueError(
            f"y_shared_err has {values.shape[1]} columns, and the fit knew {count} shared errors: give one column for"
            " each, zeros where a row has no part in it."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "y_shared_err has NaN or infinity: give 0 where a row has no part in a shared error."
        )
    return values


def shared_first(factors: Array, count: int) -> Array:
    """Return triangles of [shared errors, 1, x, y], their prior's rows added, given rows of [1, x, shared, y].

    Parameters
    ----------
    factors : ndarray of shape (..., K, P + 1 + count)
        Rows of unit error.
    count : int
        How many shared errors there are.
    """
    width = factors.shape[-1]
    places = np.arange(width)
    order = np.concatenate([places[-1 - count : -1], places[: -1 - count], places[-1:]])
    prior = np.broadcast_to(np.eye(count, width), (*factors.shape[:-2], count, width))
    return np.asarray(np.linalg.qr(np.concatenate([prior, factors[..., order]], axis=-2), mode="r"))


def eliminated(factors: Array, count: int) -> tuple[Array, Array]:
    """Return triangles of [1, x, y], and what is added to the summed log errors, (...)."""
    triangle = shared_first(factors, count)
    own = np.diagonal(triangle[..., :count, :count], axis1=-2, axis2=-1)
    return signed(triangle[..., count:, count:]), np.log(np.abs(own)).sum(axis=-1)
