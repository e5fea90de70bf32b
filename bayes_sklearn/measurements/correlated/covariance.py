"""The covariance of the target's errors, (n, n), block by block.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse.csgraph import connected_components

from ..checks import as_floats, check_vector
from ..compressed import Compressed, Rows, compress, signed

__all__ = ["Covariance", "Turned", "columns_of"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]

# By how much of their rows' errors two entries may differ that should be the same.
_SYMMETRIC = 1e-8

# Rows and columns of tiles in which an array is held against its transpose: they stay in the processor's cache.
_TILE = 256


class Block(NamedTuple):
    """Blocks of one size, that share no error with other rows."""

    rows: Index
    """(S, b) positions."""
    matrix: Array
    """(S, b, b)"""


class Spectrum(NamedTuple):
    """The eigenvalues and eigenvectors of blocks of one size."""

    rows: Index
    values: Array
    """(S, b)"""
    vectors: Array
    """(S, b, b)"""


@dataclass(frozen=True, eq=False)
class Covariance:
    """A covariance of the errors of n rows: blocks, each of which is factored by itself."""

    blocks: tuple[Block, ...]
    """Of the rows that count."""
    standard_error: Array
    """(n,) of every row by itself."""

    @classmethod
    def of(cls, given: Any, n: int) -> Covariance:
        """Check an argument ``y_cov``.

        Raises
        ------
        TypeError, ValueError
            Where it is no covariance of n errors, but for its eigenvalues, which `checked` looks at.
        """
        is_sparse: bool = sparse.issparse(given)
        if is_sparse:
            if given.dtype.kind not in "biuf":
                raise TypeError(f"y_cov must have real numbers, got a sparse matrix of {given.dtype}.")
            matrix: Any = sparse.csr_array(given).astype(np.float64)
            numbers = matrix.data
        else:
            try:
                matrix = numbers = as_floats(given)
            except TypeError as reason:
                raise TypeError(
                    f"y_cov must be an array of numbers, or a scipy.sparse matrix: {reason}."
                ) from reason
        if matrix.shape != (n, n):
            raise ValueError(
                f"y_cov must have a row and a column for each of the {n} rows of X, ({n}, {n}), got"
                f" {matrix.shape}. It can't be split with the rows, as cross-validation does: y_err, y_err_column and"
                " y_shared_err can."
            )
        if not np.isfinite(numbers).all():
            raise ValueError("y_cov has NaN or infinity. Leave out rows whose errors are not known.")
        diagonal = matrix.diagonal()
        if not (diagonal > 0.0).all():
            row = int(np.flatnonzero(~(diagonal > 0.0))[0])
            raise ValueError(
                f"The diagonal of y_cov has the squared standard errors, and must be positive, got {diagonal[row]:g}"
                f" in row {row}."
            )
        error = check_vector(np.sqrt(diagonal), n, "The root of y_cov's diagonal", positive=True)
        _check_symmetric(matrix, error)
        return cls(tuple(_blocks(matrix, n)), error)

    def dense(self) -> Array:
        """Return it as one array, (n, n)."""
        whole = np.diag(np.square(self.standard_error))
        for rows, matrix in self.blocks:
            whole[rows[:, :, None], rows[:, None, :]] = matrix
        return whole

    def among(self, used: Index) -> Covariance:
        """Return the covariance of some rows' errors; positions stay those of all rows."""
        if len(used) == len(self.standard_error):
            return self
        counts = np.zeros(len(self.standard_error), dtype=bool)
        counts[used] = True
        found: list[Block] = []
        for rows, matrix in self.blocks:
            kept = counts[rows]
            whole = kept.all(axis=1)
            if whole.any():
                found.append(Block(rows[whole], matrix[whole]))
            for i in np.flatnonzero(kept.any(axis=1) & ~whole):
                some = kept[i]
                found.append(Block(rows[i][None, some], matrix[i][None][:, some][:, :, some]))
        return replace(self, blocks=tuple(found))

    def checked(self) -> Covariance:
        """Return this covariance; refuse one that is not positive definite.

        Raises
        ------
        ValueError
            With its smallest eigenvalue.
        """
        for block, root in zip(self.blocks, self._roots, strict=True):
            pivots = np.square(np.diagonal(root, axis1=1, axis2=2))
            rounding = 4.0 * block.rows.shape[1] * np.finfo(np.float64).eps
            if not (pivots > rounding * np.diagonal(block.matrix, axis1=1, axis2=2)).all():
                raise self._not_positive_definite()
        return self

    def _not_positive_definite(self) -> ValueError:
        values = np.concatenate([np.linalg.eigvalsh(matrix).ravel() for _, matrix in self.blocks])
        return ValueError(
            f"y_cov is not positive definite: its smallest eigenvalue is {values.min():.3g}, the largest"
            f" {values.max():.3g}. Errors that are right have none below zero; where one is zero but for rounding,"
            " add the variance of what every row has of its own to the diagonal."
        )

    @cached_property
    def _roots(self) -> tuple[Array, ...]:
        """The blocks' Cholesky factors, lower triangles."""
        try:
            return tuple(_root(matrix) for _, matrix in self.blocks)
        except np.linalg.LinAlgError:
            raise self._not_positive_definite() from None

    @cached_property
    def spectra(self) -> tuple[Spectrum, ...]:
        """The blocks' eigenvalues and eigenvectors."""
        return tuple(Spectrum(rows, *np.linalg.eigh(matrix)) for rows, matrix in self.blocks)

    @property
    def n_numbers(self) -> int:
        """How many numbers the blocks have."""
        return sum(block.matrix.size for block in self.blocks)

    @property
    def log_error(self) -> float:
        """Half of the log determinant: of independent errors the sum of their logs."""
        return float(sum(np.log(np.diagonal(root, axis1=1, axis2=2)).sum() for root in self._roots))

    @property
    def mean_precision(self) -> float:
        """The mean of the eigenvalues of the inverse."""
        square = np.concatenate([spectrum.values.ravel() for spectrum in self.spectra])
        return float(np.reciprocal(square).mean())

    def compress(self, rows: Rows, like: Compressed | None = None) -> Compressed:
        """Factor the rows, multiplied by an inverse root of the covariance, (69).

        Means and spreads are those of the rows as they are.
        """
        state = compress(rows, 1.0) if like is None else like
        columns = columns_of(rows, state.origin)
        white = np.concatenate(
            [_solved(root, columns[block.rows]) for root, block in zip(self._roots, self.blocks, strict=True)]
        )
        # Heavy rows come first: that order keeps the digits, (5).
        order = np.argsort(-np.abs(white).max(axis=1), kind="stable")
        return replace(state, factor=_triangle(white[order]), log_error=self.log_error)

    def turned(self, rows: Rows, origin: Array) -> Turned:
        """Return the rows in the covariance's principal directions, along which errors are independent."""
        columns = columns_of(rows, origin)
        square, along, _ = self.along(columns, columns.shape[1])
        order = np.argsort(square, kind="stable")
        return Turned(along[order], np.sqrt(square[order]))

    def along(self, columns: Array, split: int) -> tuple[Array, Array, Array]:
        """Return eigenvalues, (n,), and columns along the directions, (n, m), in two parts."""
        along = np.concatenate(
            [
                (vectors.transpose(0, 2, 1) @ columns[rows]).reshape(-1, columns.shape[1])
                for rows, _, vectors in self.spectra
            ]
        )
        values = np.concatenate([values.ravel() for _, values, _ in self.spectra])
        return values, along[:, :split], along[:, split:]

    def solved(self, columns: Array, scatter: float) -> tuple[Array, Array]:
        """Return the inverse of the covariance, a scatter added, times columns, (n, m), and its diagonal, (n,).

        Of rows that do not count they are zero.
        """
        inverse, product = np.zeros(len(columns)), np.zeros(columns.shape)
        for rows, values, vectors in self.spectra:
            weight = np.reciprocal(values + scatter**2)
            inverse[rows] = np.einsum("sij,sj->si", np.square(vectors), weight)
            along = vectors.transpose(0, 2, 1) @ columns[rows]
            product[rows] = vectors @ (weight[:, :, None] * along)
        return product, inverse


class Turned(NamedTuple):
    """Rows along directions in which errors are independent, those of small error first."""

    rows: Array
    """(n, P + 1) of [1, X - c, y - d]: of the first column not all are 1."""
    error: Array
    """(n,)"""

    def compress(self, scatter: float, like: Compressed) -> Compressed:
        """Return a state of the same rows with a scatter added to every error, (69a)."""
        error = np.hypot(self.error, scatter)
        factor = _triangle(self.rows / error[:, None])
        return replace(like, factor=factor, log_error=float(np.log(error).sum()))


def _root(matrix: Array) -> Array:
    """Return Cholesky factors, lower triangles; LAPACK's own is the faster for one."""
    if len(matrix) == 1:
        return np.asarray(cholesky(matrix[0].T, lower=True, check_finite=False), dtype=np.float64)[None]
    return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)


def columns_of(rows: Rows, origin: Array) -> Array:
    """Return [1, X, y] less an origin, (n, P + 1)."""
    columns = np.ones((len(rows.y), rows.n_features + 2))
    here = rows.here(origin)
    np.subtract(rows.take(slice(None)), here[:-1], out=columns[:, 1:-1])
    np.subtract(rows.y, here[-1], out=columns[:, -1])
    return columns


def _triangle(rows: Array) -> Array:
    """Return the square triangle of rows, however few."""
    width = rows.shape[1]
    triangle = np.zeros((width, width))
    found = np.asarray(np.linalg.qr(rows, mode="r"))
    triangle[: len(found)] = found
    return signed(triangle)


def _solved(root: Array, columns: Array) -> Array:
    """Return the inverses of lower triangles, (S, b, b), times columns, (S, b, m), as rows."""
    if root.shape[1] == 1:
        found = columns / root
    elif len(root) == 1:
        found = np.asarray(
            solve_triangular(root[0], columns[0], lower=True, check_finite=False), dtype=np.float64
        )
    else:
        found = np.asarray(np.linalg.solve(root, columns), dtype=np.float64)
    return found.reshape(-1, columns.shape[-1])


def _check_symmetric(matrix: Any, error: Array) -> None:
    """Refuse a matrix that is not its transpose."""
    for rows, columns, apart in _differences(matrix):
        far = apart > _SYMMETRIC * error[rows] * error[columns]
        if far.any():
            i, j = (int(np.broadcast_to(of, far.shape)[far][0]) for of in (rows, columns))
            raise ValueError(
                f"y_cov is not symmetric: it has {matrix[i, j]:.6g} in row {i} and column {j}, and"
                f" {matrix[j, i]:.6g} in row {j} and column {i}. Both are the covariance of these two errors."
            )


def _differences(matrix: Any) -> Iterator[tuple[Any, Any, Array]]:
    """Yield rows, columns, and by how much entries there differ from those of the transpose."""
    if not isinstance(matrix, np.ndarray):
        apart: Any = sparse.coo_array(matrix - matrix.T)
        yield apart.row, apart.col, np.abs(apart.data)
        return
    places = np.arange(len(matrix))
    for first in range(0, len(matrix), _TILE):
        for second in range(0, first + 1, _TILE):
            rows, columns = slice(first, first + _TILE), slice(second, second + _TILE)
            apart = np.abs(matrix[rows, columns] - matrix[columns, rows].T)
            yield places[rows, None], places[None, columns], apart


def _blocks(matrix: Any, n: int) -> Iterator[Block]:
    """Yield the blocks that a matrix has once rows are put in order, those of the same size together."""
    if isinstance(matrix, np.ndarray) and np.count_nonzero(matrix) == matrix.size:
        yield Block(np.arange(n)[None], matrix[None])
        return
    entries = sparse.coo_array(matrix)
    count, member = connected_components(entries, directed=False)
    sizes = np.bincount(member, minlength=count)
    order = np.argsort(member, kind="stable")
    first = np.cumsum(sizes) - sizes
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n) - np.repeat(first, sizes)
    for size in np.unique(sizes):
        some = np.flatnonzero(sizes == size)
        which = np.full(count, -1)
        which[some] = np.arange(len(some))
        here = which[member[entries.row]] >= 0
        row, column = entries.row[here], entries.col[here]
        found = np.zeros((len(some), size, size))
        found[which[member[row]], place[row], place[column]] = entries.data[here]
        yield Block(order[first[some, None] + np.arange(size)], found)
