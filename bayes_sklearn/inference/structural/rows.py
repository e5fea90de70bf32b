"""The structural model's rows, gathered by their errors, and weighted sums over them (``structural.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..numerics.interpolation import chebyshev_points, chebyshev_weights, n_points

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """What is subtracted from w and y, so that sums of their squares keep their digits."""

    w: Array
    """(q, k + 1) of w: w0 = w (1, z)."""
    y: Array
    """(k + 1,) of y: y0 = y'(1, z) + m'w."""
    m: Array
    """(q,)"""

    @classmethod
    def of(cls, ones: Array, w: Array, y: Array, weight: Array, intercept: bool) -> Reference:
        """Return the regression of w on (1, z), and of y on (1, z, w), by weighted least squares."""
        width, q = ones.shape[1], w.shape[1]
        root = np.sqrt(weight)[:, None]
        # What there is no intercept for must not be taken out.
        first = int(not intercept)
        of_w, of_y = np.zeros((q, width)), np.zeros(width + q)
        of_w[:, first:] = np.linalg.lstsq(root * ones[:, first:], root * w)[0].T
        explained = np.column_stack([ones, w])
        of_y[first:] = np.linalg.lstsq(root * explained[:, first:], root[:, 0] * y)[0]
        return cls(of_w, of_y[:width], of_y[width:])


class PseudoRows(NamedTuple):
    """Rows of the same likelihood as all: for each kind of errors at most as many as there are columns."""

    rows: Array
    """(r, K) [1, z, w - w0, y - y0], times the root of how often each counts."""
    errors: Array
    """(r, E) U's upper triangle, c where given, e^2 and 1."""
    counts: Array
    """(r,) what the log determinant of each row's Omega counts; their sum is the total weight."""
    reference: Reference


@dataclass(frozen=True, eq=False)
class GatheredRows:
    """Rows, those with the same errors summed into one group."""

    errors: Array
    """(groups, E) what Omega is linear in: U's upper triangle, c where given, e^2 and 1."""
    counts: Array
    """(groups,) summed frequencies."""
    rows: Array
    """(n, K) [1, z, w - w0, y - y0], times the root of the frequency."""
    gathered: Array | None
    """(groups, K (K + 1) / 2) summed products of the rows' entries; None where each row is a group."""
    reference: Reference

    @classmethod
    def of(cls, errors: Array, frequency: Array, rows: Array, reference: Reference) -> GatheredRows:
        """Gather rows by their errors, (n, E) or (1, E), where that leaves at most half as many."""
        n, n_columns = rows.shape
        if len(errors) == 1:
            square = rows.T @ rows
            return cls(errors, np.array([frequency.sum()]), rows, square[upper(n_columns)][None], reference)
        first, group = _gather(errors)
        if 2 * len(first) > n:
            return cls(errors, frequency, rows, None, reference)
        gathered = np.zeros((len(first), _n_pairs(n_columns)))
        gather_block = 2**16
        for block in _blocks(n, gather_block):
            products = _products(rows[block])
            for column in range(products.shape[1]):
                gathered[:, column] += np.bincount(group[block], products[:, column], len(first))
        counts = np.asarray(np.bincount(group, frequency, len(first)), dtype=np.float64)
        return cls(errors[first], counts, rows, gathered, reference)

    def interpolated(self, q: int) -> GatheredRows:
        """Return kinds of errors between which sums over all rows are interpolated, if they are half as many.

        Entries of inverses of Omega are ratios of polynomials in the variances of q features and of the target,
        without a pole where these are positive: in their logs they are analytic within pi of the real line. Where one
        is zero, or another column differs, there are kinds of their own.
        """
        row, column = upper(q)
        smooth = [*np.flatnonzero(row == column).tolist(), self.errors.shape[1] - 2]
        others = np.delete(self.errors, smooth, axis=1)
        first, kind = _gather(np.concatenate([others, self.errors[:, smooth] > 0.0], axis=1))
        if 4 * len(first) >= len(self.counts) or others[:, : len(row) - q].any():  # errors that go together
            return self
        own = np.split(np.argsort(kind, kind="stable"), np.cumsum(np.bincount(kind))[:-1])
        errors, counts, gathered = map(
            np.concatenate, zip(*(self._between(these, smooth) for these in own), strict=True)
        )
        if 2 * len(errors) > len(self.counts):
            return self
        return replace(self, errors=errors, counts=counts, gathered=gathered)

    def _between(self, own: NDArray[np.intp], smooth: Sequence[int]) -> tuple[Array, Array, Array]:
        """Return errors, counts and products that stand for those of some rows, if they are half as many."""
        errors = self.errors[own]
        columns = [column for column in smooth if errors[0, column] > 0.0]
        logs = [np.log(errors[:, column]) for column in columns]
        sizes = [n_points(values, np.pi) for values in logs]
        size = int(np.prod(sizes))
        if 2 * size > len(own):
            return errors, self.counts[own], self._products(own)
        within = [(values.min(), values.max(), n) for values, n in zip(logs, sizes, strict=True)]
        points = np.meshgrid(*(chebyshev_points(*ends) for ends in within), indexing="ij")
        found = np.repeat(errors[:1], size, axis=0)
        for of, at in zip(columns, points, strict=True):
            found[:, of] = np.exp(at.ravel())
        total = np.zeros((size, 1 + _n_pairs(self.rows.shape[1])))
        numbers = 2**17
        for block in _blocks(len(own), max(numbers // size, 1)):
            share = np.ones((len(own[block]), 1))
            for values, ends in zip(logs, within, strict=True):
                each = chebyshev_weights(values[block], *ends)
                share = (share[:, :, None] * each[:, None, :]).reshape(len(share), -1)
            total += share.T @ np.column_stack([self.counts[own[block]], self._products(own[block])])
        return found, total[:, 0], total[:, 1:]

    def _products(self, kinds: NDArray[np.intp]) -> Array:
        return _products(self.rows[kinds]) if self.gathered is None else self.gathered[kinds]

    def pseudo_rows(self) -> PseudoRows:
        """Return what a sampler needs of the rows."""
        if self.gathered is None:
            return PseudoRows(self.rows, self.errors, self.counts, self.reference)
        # Roots of the sums of squares and products, in units in which no column is small beside another.
        order = self.rows.shape[1]
        gram = self.gathered[:, pairs(order)]
        square = np.diagonal(gram, axis1=1, axis2=2)
        unit = np.sqrt(np.where(square > 0.0, square, 1.0))
        values, vectors = np.linalg.eigh(gram / (unit[:, :, None] * unit[:, None, :]))
        roots = np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.transpose(0, 2, 1) * unit[:, None, :]
        kept = values > order * np.finfo(np.float64).eps * values[:, -1:]
        kept[:, -1] = True
        kind = np.nonzero(kept)[0]
        counts = (self.counts / kept.sum(axis=1))[kind]
        return PseudoRows(roots[kept], self.errors[kind], counts, self.reference)

    def sums(self, omega: Array, m: Array, masks: slice | None = None) -> tuple[Array, Array]:
        """Return the products of [1, z, w, y] weighted by the inverse of each row's Omega.

        Parameters
        ----------
        omega : ndarray of shape (entries, G, E)
            Coefficients of the entries of Omega's upper triangle on the rows' errors, at G points.
        m : ndarray of shape (G, q)
        masks : slice, optional
            Where errors say which of (w, y) were not measured; None: all were.

        Returns
        -------
        sums : ndarray of shape (entries, G, K (K + 1) / 2)
            For each entry of the inverse the upper triangle of the summed products.
        log_determinant : ndarray of shape (G,)
            Summed over the rows; NaN where a difference loses too many digits.
        """
        n_points = omega.shape[1]
        sums, log_determinant = np.zeros((*omega.shape[:2], _n_pairs(self.rows.shape[1]))), np.zeros(n_points)
        # Numbers in the arrays of one block of rows and nodes: they should stay in the processor's cache.
        block_numbers = 2**16
        row_block = 512
        # A difference of numbers so many times as large has lost the digits that sums over rows need.
        lost = 1e11
        for block in _blocks(len(self.counts), row_block):
            errors, counts = self.errors[block].T, self.counts[block]
            products = _products(self.rows[block]) if self.gathered is None else self.gathered[block]
            for points in _blocks(n_points, max(block_numbers // (len(omega) * len(counts)), 1)):
                inverse = omega[:, points] @ errors
                gaps = None if masks is None or not errors[masks].any() else errors[masks]
                if gaps is not None:
                    leave_out(inverse, gaps, m[points])
                of_target = inverse[-1].copy()
                log_determinant[points] += np.log(negative_inverse(inverse)) @ counts
                # What w leaves of the target's variance is a difference: rounding, where next to nothing is left.
                log_determinant[points][(of_target * -inverse[-1] > lost).any(axis=1)] = np.nan
                if gaps is not None:
                    put_back(inverse, gaps, m[points])
                sums[:, points] -= inverse @ products
        return sums, log_determinant


def negative_inverse(matrices: Array) -> Array:
    """Turn symmetric matrices, given by the entries of their upper triangles, into minus their inverses, in place.

    Parameters
    ----------
    matrices : ndarray of shape (order * (order + 1) / 2, ...)
        Positive definite; written over.

    Returns
    -------
    ndarray of shape (...)
        Their determinants.
    """
    order = int(np.sqrt(2 * len(matrices)))
    entry = pairs(order)
    determinant: Array = matrices[0]
    # The sweep operator (Goodnight 1979, The American Statistician 33:149-158), one pivot after the other.
    for pivot in range(order):
        diagonal = matrices[entry[pivot, pivot]]
        determinant = diagonal.copy() if pivot == 0 else np.multiply(determinant, diagonal, out=determinant)
        inverse = np.reciprocal(diagonal)
        others = [index for index in range(order) if index != pivot]
        for i, a in enumerate(others):
            scaled = matrices[entry[a, pivot]] * inverse
            for b in others[i:]:
                matrices[entry[a, b]] -= scaled * matrices[entry[b, pivot]]
            matrices[entry[a, pivot]] = scaled
        np.negative(inverse, out=diagonal)
    return determinant


def leave_out(omega: Array, gaps: Array, m: Array) -> None:
    """Integrate over what was not measured in Omega, in place, (21a): there its inverse is that of the others and 1.

    Parameters
    ----------
    omega : ndarray of shape (entries, G, rows)
        Of (w, y - m'w), y - m'w less its part of features that were not measured from now on.
    gaps : ndarray of shape (q + 1, rows)
        1 where w or y was not measured, else 0.
    m : ndarray of shape (G, q)
    """
    q, place = len(gaps) - 1, pairs(len(gaps))
    entries = {(a, b): omega[place[a, b]] for a in range(q + 1) for b in range(a + 1)}
    for at, value in without_unmeasured([], entries, list(gaps), list(m.T[:, :, None]))[1].items():
        omega[place[at]] = value


def put_back(inverse: Array, gaps: Array, m: Array) -> None:
    """Turn the negative inverse of what `leave_out` has left into that for (w, y - m'w), in place.

    It takes no notice of what stands in the place of what was not measured.
    """
    q, place = len(gaps) - 1, pairs(len(gaps))
    inverse[place[q, q]] += gaps[q]
    for j in reversed(range(q)):
        by = gaps[j] * m[:, j, None]
        inverse[place[j, j]] += gaps[j] + by**2 * inverse[place[q, q]]
        for k in range(q + 1):
            if k != j:
                inverse[place[j, k]] += by * inverse[place[q, k]]


def without_unmeasured(
    residuals: Sequence[Any], covariance: Mapping[tuple[int, int], Any], gaps: Sequence[Any], m: Sequence[Any]
) -> tuple[list[Any], dict[tuple[int, int], Any]]:
    """Return variables along all rows without what was not measured; NumPy's or PyTensor's arrays.

    Parameters
    ----------
    residuals : sequence of arrays
        Of w and of y - m'w, or of nothing.
    covariance : mapping from (a, b), b <= a, to arrays
        Of w, y - m'w and further variables.
    gaps : sequence of q + 1 arrays
        1 where w or y was not measured, else 0.
    m : sequence of q arrays

    Returns
    -------
    residuals : list of arrays
        Of y - m'w less what m makes of features that were not measured, which have zero.
    covariance : dict from (a, b), b <= a, to arrays
        Of that, and of independent variables of variance one in the place of what was not measured.
    """
    left, entry, q = list(residuals), dict(covariance), len(m)
    order = max(entry)[0] + 1

    def at(a: int, b: int) -> tuple[int, int]:
        return max(a, b), min(a, b)

    for j in range(q):
        if isinstance(gaps[j], np.ndarray) and not gaps[j].any():
            continue
        by = gaps[j] * m[j]
        if left:
            left[q] = left[q] + by * left[j]
        entry[q, q] = entry[q, q] + by * (2.0 * entry[q, j] + by * entry[j, j])
        for k in range(order):
            if k not in (j, q):
                entry[at(k, q)] = entry[at(k, q)] + by * entry[at(k, j)]
        entry[q, j] = entry[q, j] * (1.0 - gaps[j])
        for k in range(order):
            if k not in (j, q):
                entry[at(k, j)] = entry[at(k, j)] * (1.0 - gaps[j])
        entry[j, j] = entry[j, j] * (1.0 - gaps[j]) + gaps[j]
        if left:
            left[j] = left[j] * (1.0 - gaps[j])
    for k in range(order):
        kept = entry[at(k, q)] * (1.0 - gaps[q])
        entry[at(k, q)] = kept + gaps[q] if k == q else kept
    if left:
        left[q] = left[q] * (1.0 - gaps[q])
    return left, entry


def given_measured(
    residuals: Sequence[Any], covariance: Mapping[tuple[int, int], Any], first: int
) -> tuple[Any, Any, list[Any], dict[tuple[int, int], Any]]:
    """Take variables along all rows apart: the first ones, and the others given them; NumPy's or PyTensor's arrays.

    Parameters
    ----------
    residuals : sequence of arrays
        All variables, less their means.
    covariance : mapping from (a, b), b <= a, to arrays
    first : int
        How many of the variables are given.

    Returns
    -------
    square, determinant : array
        r' Omega^-1 r and Omega's determinant, of the first ones.
    left : list of arrays
        The others, less their means given the first.
    rest : mapping from (a, b), b <= a, to arrays
        Their covariance given the first, numbered from zero.
    """
    left, entry, order = list(residuals), dict(covariance), len(residuals)
    square, determinant = None, None
    # L D L' = Omega: D are the pivots, and what is left of the residuals is L^-1 r.
    for pivot in range(first):
        diagonal, apart = entry[pivot, pivot], left[pivot]
        square = square + apart**2 / diagonal if pivot else apart**2 / diagonal
        determinant = determinant * diagonal if pivot else diagonal
        for a in range(pivot + 1, order):
            share = entry[a, pivot] / diagonal
            left[a] = left[a] - share * apart
            for b in range(pivot + 1, a + 1):
                entry[a, b] = entry[a, b] - share * entry[b, pivot]
    rest = {(a - first, b - first): entry[a, b] for a in range(first, order) for b in range(first, a + 1)}
    return square, determinant, left[first:], rest


def cholesky(matrices: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return Cholesky factors, (G, D, D), the identity in the place of one that does not exist, and which do."""
    exists: NDArray[np.bool_] = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    if exists.all():
        try:
            return np.asarray(np.linalg.cholesky(matrices), dtype=np.float64), exists
        except np.linalg.LinAlgError:  # one by one
            pass
    lower = np.broadcast_to(np.eye(matrices.shape[1]), matrices.shape).copy()
    try:
        lower[exists] = np.linalg.cholesky(matrices[exists])
    except np.linalg.LinAlgError:
        for index in np.flatnonzero(exists):
            try:
                lower[index] = np.linalg.cholesky(matrices[index])
            except np.linalg.LinAlgError:
                exists[index] = False
    return lower, exists


def forward(lower: Array, sides: Array) -> Array:
    """Return solutions of lower triangular systems, (G, D, D), of several right-hand sides, (G, D, S) or (D, S).

    One row of all of them after the other: LAPACK's calls cost more than what they do for matrices so small.
    """
    lower = lower.transpose(1, 2, 0)
    found = np.empty((*sides.shape[-2:], lower.shape[2]))
    found[:] = sides.transpose(1, 2, 0) if sides.ndim == 3 else sides[:, :, None]
    for row, diagonal in enumerate(np.ascontiguousarray(np.diagonal(lower).T)):
        found[row] /= diagonal
        if row + 1 < len(found):
            found[row + 1 :] -= lower[row + 1 :, row, None] * found[row]
    return np.ascontiguousarray(found.transpose(2, 0, 1))


def _gather(values: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first of each kind of equal rows, and of which kind each row is."""
    _, first, kind = np.unique(values @ np.sqrt(np.arange(2.0, 2.0 + values.shape[1])), True, True)
    if np.array_equal(values[first][kind], values):
        return first, kind
    _, first, kind = np.unique(values, True, True, axis=0)
    return first, kind.ravel()


def _products(rows: Array) -> Array:
    """Return the products of each pair of entries of a row, (n, pairs)."""
    a, b = upper(rows.shape[1])
    return rows[:, a] * rows[:, b]


def _n_pairs(order: int) -> int:
    return order * (order + 1) // 2


@cache
def upper(order: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the upper triangle's entries, in the order in which they are kept; read-only."""
    rows, columns = np.triu_indices(order)
    rows.flags.writeable = columns.flags.writeable = False
    return rows, columns


@cache
def pairs(order: int) -> NDArray[np.intp]:
    """Return where the upper triangle has the entry (a, b) of a symmetric matrix, (order, order); read-only."""
    where = np.zeros((order, order), dtype=np.intp)
    where[upper(order)] = np.arange(_n_pairs(order))
    where = np.maximum(where, where.T)
    where.flags.writeable = False
    return where


def _blocks(n: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
