"""Numbers of which doubles keep few digits: what varies beside a large offset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dgeqrf, dtpqrt

from .limits import Limits
from .messages import warn

__all__ = ["warn_of_rounding"]

# Variation of fewer roundings than this has fewer than three digits.
_FEW = 1e3


# Errors below so many roundings of what they are errors of.
_NONE = 1.0


def warn_of_rounding(state: Compressed, names: Sequence[str], *, errors_known: bool) -> None:
    """Warn of features and targets that vary by little more than their rounding.

    Parameters
    ----------
    state : Compressed
        Of the rows, under their known errors.
    names : sequence of str
        Of the features.
    errors_known : bool
        Whether the errors of the rows are known.

    Warns
    -----
    UserWarning
        Naming the columns, how many digits of their variation there are, and what to do.
    """
    step = np.finfo(np.float64).eps * np.abs(state.origin + state.mean)
    deviation = state.standard_deviation
    # What varies by less than a twentieth of a rounding is constant, but for the rounding of its mean.
    found = np.flatnonzero((deviation > 0.05 * step) & (deviation < _FEW * step))
    if len(found):
        labels = [f"feature {name!r}" for name in names] + ["y"]
        listed = ", ".join(labels[i] for i in found[:5]) + (" and others" if len(found) > 5 else "")
        digits = int(max(0.0, np.log10((deviation[found] / step[found]).min())))
        warn(
            f"Double precision keeps {digits if digits else 'no'} digit{'' if digits == 1 else 's'} of how {listed}"
            " varies, beside the offset: what is found of it is no better. Subtract the offset where the data are"
            " read, before they are rounded.",
        )
    # One over a typical error is the triangle's first entry.
    typical = np.sqrt(state.total_weight) / state.factor[0, 0]
    if errors_known and typical < _NONE * step[-1]:
        warn(
            f"y_err is smaller than the rounding of y: errors of {typical:.2g}, where double precision keeps y to"
            f" {step[-1]:.2g}. Check their unit, or subtract an offset from y where it is read.",
        )


Array = NDArray[np.float64]

# A block's working copy of the rows should stay in the processor's cache; long enough, though, that the calls
# and the triangle carried along are a small part of the work.
_BLOCK_NUMBERS = 2**17


@dataclass(frozen=True, eq=False)
class Rows:
    """A view of the user's table: nothing in it is a copy of `X`."""

    X: NDArray[np.floating]
    """(n, k) every column of the table, float64 or float32."""
    y: Array
    """(n,) target."""
    features: NDArray[np.intp] | None = None
    """Columns of `X` that are features; None: all of them."""
    frequency: Array | None = None
    """(n,) how often each row counts, zeros allowed; None: once each."""
    origin: Array | None = None
    """(p + 1,) what was taken from features and target beforehand, so that they keep their digits; None: nothing."""
    limits: Limits | None = None
    """Of targets that were not measured, in the place of which `y` has a limit; None: all were."""
    members: NDArray[np.intp] | None = None
    """(n, K) which group each row is of, in each way that they are grouped; None: in none."""

    @property
    def n_features(self) -> int:
        return self.X.shape[1] if self.features is None else len(self.features)

    def take(self, index: slice | NDArray[np.intp]) -> NDArray[np.floating]:
        """Return the features of some rows, (rows, p)."""
        block = self.X[index]
        return block if self.features is None else block[:, self.features]

    def here(self, place: Array) -> Array:
        """Return a place, (p + 1,) in the data's units, as this table has it: less the origin."""
        return place if self.origin is None else place - self.origin

    @property
    def used(self) -> NDArray[np.intp]:
        """Positions of the rows that count."""
        return np.arange(len(self.y)) if self.frequency is None else np.flatnonzero(self.frequency)

    def subset(self, index: NDArray[np.intp]) -> Rows:
        """Return these rows alone (copied)."""
        limits = None if self.limits is None else self.limits.take(index)
        frequency, members = taken(self.frequency, index), taken(self.members, index)
        return Rows(self.take(index), self.y[index], None, frequency, self.origin, limits, members)


def taken(values: Any, index: slice | NDArray[np.intp], ndim: int = 0) -> Any:
    """Return the values of some rows; what has no more than so many dimensions is one for all, or None."""
    return values[index] if isinstance(values, np.ndarray) and values.ndim > ndim else values


@dataclass(frozen=True, eq=False)
class Compressed:
    """The sufficient state of a weighted table, (3): its size does not depend on the number of rows."""

    origin: Array
    """(p + 1,) what was subtracted from the features and the target before anything was squared."""
    factor: Array
    """(P + 1, P + 1) upper triangle R of the QR factorisation of the weighted [1, X - c, y - d]."""
    total_weight: float
    """N, the sum of the frequency weights."""
    n_rows: int
    """Rows with a positive weight."""
    log_error: float
    """Sum of frequency times log standard error."""
    mean: Array
    """(p + 1,) frequency-weighted mean of features and target, less the origin."""
    standard_deviation: Array
    """(p + 1,) frequency-weighted (population) standard deviation of features and target."""

    @classmethod
    def empty(cls, n_features: int) -> Compressed:
        """Return the state of no rows."""
        width = n_features + 2
        zeros = np.zeros((3, width - 1))
        return cls(zeros[0], np.zeros((width, width)), 0.0, 0, 0.0, zeros[1], zeros[2])

    @property
    def magnitude(self) -> Array:
        """(p + 1,) root mean square of features and target."""
        return np.hypot(self.origin + self.mean, self.standard_deviation)

    def with_error(self, standard_error: float) -> Compressed:
        """Return the state of the same rows with errors so many times as large."""
        log_error = self.log_error + self.total_weight * float(np.log(standard_error))
        return replace(self, factor=self.factor / standard_error, log_error=log_error)

    def about(self, origin: Array) -> Array:
        """Return the factor about another origin: the shift is a change in the first row alone, (6)."""
        factor = self.factor.copy()
        factor[0, 1:] += factor[0, 0] * (self.origin - origin)
        return factor


def compress(
    rows: Rows, standard_error: Array | float, scatter: float = 0.0, like: Compressed | None = None
) -> Compressed:
    """Factor the rows, each divided by ``sqrt(standard_error**2 + scatter**2)``.

    Parameters
    ----------
    rows : Rows
        The table.
    standard_error : float or ndarray of shape (n,)
        Known standard error of each target, in its unit; positive.
    scatter : float, default=0.0
        Standard deviation added in quadrature to every row's error.
    like : Compressed, optional
        A state of the same rows under other errors: what does not depend on errors is taken from it.

    Returns
    -------
    Compressed

    Notes
    -----
    Equation (3), a block of rows at a time (tall-skinny QR): the next block is eliminated against the triangle
    so far, so that no second copy of `X` exists and no condition number is squared.
    """
    n, width = rows.X.shape[0], rows.n_features + 2
    length = min(n, max(_BLOCK_NUMBERS // width, 4 * width))
    origin = _origin(rows, length) if like is None else like.origin
    here = rows.here(origin)
    # Columns of the block are rows of this buffer: LAPACK wants each of them contiguous.
    buffer = np.empty((width, length))
    triangle: Array | None = None
    moments, log_error = np.zeros((2, width)), 0.0
    for index, size in _blocks(rows, standard_error, scatter, length):
        block = buffer.reshape(-1)[: width * size].reshape(width, size)
        block[0] = 1.0
        np.subtract(rows.take(index).T, here[:-1, None], out=block[1:-1])
        np.subtract(rows.y[index], here[-1], out=block[-1])
        weight = None if rows.frequency is None else rows.frequency[index]
        if weight is not None:
            block *= np.sqrt(weight)
        if like is None:
            # Weighted by frequency alone, never by 1 / e**2, (4).
            moments[0] += block @ block[0]
            moments[1] += np.einsum("ij,ij->i", block, block)
        precision = _precision(standard_error, scatter, index)
        if np.ndim(precision):
            logs = np.log(precision)
            log_error -= float(logs.sum() if weight is None else weight @ logs)
        block *= precision
        triangle = eliminate(triangle, block)
    factor = signed(np.zeros((width, width)) if triangle is None else triangle)
    if like is not None:
        state = like
    else:
        # Not from the squares of roots: whole frequencies have a whole sum.
        total = float(n if rows.frequency is None else rows.frequency.sum())
        with np.errstate(over="ignore", invalid="ignore"):
            mean = moments[0, 1:] / total
            deviation = np.sqrt(np.maximum(moments[1, 1:] / total - mean**2, 0.0))
            _check_magnitude(origin, mean, deviation)
        n_rows = n if rows.frequency is None else int(np.count_nonzero(rows.frequency))
        state = Compressed(origin, factor, total, n_rows, 0.0, mean, deviation)
    if np.ndim(standard_error) == 0:
        log_error = 0.5 * float(np.log(np.square(standard_error) + scatter**2)) * state.total_weight
    return replace(state, factor=factor, log_error=log_error)


def _check_magnitude(origin: Array, mean: Array, deviation: Array) -> None:
    """Refuse numbers whose squares overflow or vanish."""
    magnitude = np.hypot(origin, np.hypot(mean, deviation))
    fine = (magnitude == 0.0) | ((magnitude > 1e-150) & (magnitude < 1e150))
    if not fine.all():
        name = "y" if fine[:-1].all() else "X"
        raise ValueError(f"{name} has numbers whose squares overflow or vanish: change its unit.")


def _precision(
    standard_error: Array | float, scatter: float, index: slice | NDArray[np.intp]
) -> Array | float:
    """Return one over the error of some rows, scatter included."""
    if not isinstance(standard_error, np.ndarray):
        return float(1.0 / np.hypot(standard_error, scatter))
    if scatter > 0.0:
        return np.reciprocal(np.sqrt(np.square(standard_error[index]) + scatter**2))
    return np.reciprocal(standard_error[index])


def eliminate(triangle: Array | None, block: Array) -> Array:
    """Return the triangle of [triangle; block'], in Fortran's order; both are overwritten."""
    width = len(block)
    if triangle is None:
        # The first rows are the first pivots. With rows of zeros in their place, a heavy row would be rounded where
        # it should vanish, and what is left of it would drown the light ones, (5).
        start = block[:, :width]
        triangle = np.zeros((width, width), order="F")
        triangle[: start.shape[1]] = start.T
        triangle = np.asfortranarray(np.triu(dgeqrf(triangle, overwrite_a=True)[0]))
        rest = block.shape[1] - start.shape[1]
        if not rest:
            return triangle
        # The other rows close up in the same memory, column by column: LAPACK wants it without gaps.
        memory = block.reshape(-1)
        for column in range(width):
            memory[column * rest : (column + 1) * rest] = block[column, width:]
        block = memory[: width * rest].reshape(width, rest)
    panel = min(width, 4 if width < 32 else 8 if width < 300 else 32)
    return np.asarray(dtpqrt(0, panel, triangle, block.T, overwrite_a=True, overwrite_b=True)[0])


def signed(triangle: Array) -> Array:
    """Return triangles whose diagonals are not negative, in C's order: the same in whatever order the rows came."""
    own = np.diagonal(triangle, axis1=-2, axis2=-1)
    return np.ascontiguousarray(np.where(own < 0.0, -1.0, 1.0)[..., None] * triangle)


def merge(first: Compressed, second: Compressed) -> Compressed:
    """Return the state of two tables' rows together, (6), about their weighted mean: the origin costs no digits.

    Means and deviations: Chan, Golub & LeVeque 1983, The American Statistician 37:242-247.
    """
    if not first.total_weight or not second.total_weight:
        return first if first.total_weight else second
    total = first.total_weight + second.total_weight
    share = second.total_weight / total
    moved = second.origin - first.origin
    apart = moved + (second.mean - first.mean)
    precision = second.factor[0, 0] ** 2 / (first.factor[0, 0] ** 2 + second.factor[0, 0] ** 2)
    weighted = [state.factor[0, 1:] / state.factor[0, 0] for state in (first, second)]
    origin = first.origin + (weighted[0] + precision * (moved + weighted[1] - weighted[0]))
    variance = (
        (1.0 - share) * first.standard_deviation**2
        + share * second.standard_deviation**2
        + share * (1.0 - share) * apart**2
    )
    # The heavier rows first: where scales differ widely, that order keeps the digits, (5).
    rows = np.concatenate([first.about(origin), second.about(origin)])
    rows = rows[np.argsort(-np.abs(rows).max(axis=1), kind="stable")]
    triangle = np.triu(dgeqrf(np.asfortranarray(rows), overwrite_a=True)[0][: len(origin) + 1])
    return Compressed(
        origin,
        signed(triangle),
        total,
        first.n_rows + second.n_rows,
        first.log_error + second.log_error,
        (first.origin - origin) + first.mean + share * apart,
        np.sqrt(variance),
    )


def _origin(rows: Rows, length: int) -> Array:
    """Return the mean of the first block: near the data is all it has to be."""
    index: slice | NDArray[np.intp] = slice(length)
    if rows.frequency is not None and not rows.frequency[:length].all():
        index = np.flatnonzero(rows.frequency)[:length]
    X, y = rows.take(index), rows.y[index]
    with np.errstate(over="ignore"):
        mean = np.append(X.mean(axis=0, dtype=np.float64), y.mean())
    _check_magnitude(mean, mean, mean)
    return mean if rows.origin is None else mean + rows.origin


def _blocks(
    rows: Rows, standard_error: Array | float, scatter: float, length: int
) -> Iterator[tuple[slice | NDArray[np.intp], int]]:
    """Yield the rows of each block: as they stand, or the heaviest first where scales differ widely, (5)."""
    n = rows.X.shape[0]
    order = _descending(rows, standard_error, scatter)
    for start in range(0, n, length):
        stop = min(start + length, n)
        yield (slice(start, stop) if order is None else order[start:stop]), stop - start


def _descending(rows: Rows, standard_error: Array | float, scatter: float) -> NDArray[np.intp] | None:
    """Return the order of descending row scale, or None where the scales are alike."""
    # Row scales that differ by more than this are factored in descending order, (5).
    ordered_above = 1e3
    spread = 1.0
    used = slice(None) if rows.frequency is None or rows.frequency.all() else rows.frequency > 0.0
    if isinstance(standard_error, np.ndarray):
        errors = standard_error[used]
        spread *= float(np.hypot(errors.max(), scatter) / np.hypot(errors.min(), scatter))
    if rows.frequency is not None:
        frequency = rows.frequency[used]
        spread *= float(np.sqrt(frequency.max() / frequency.min()))
    if spread <= ordered_above:
        return None
    scale = 1.0 / np.sqrt(np.square(standard_error) + scatter**2)
    if rows.frequency is not None:
        scale = scale * np.sqrt(rows.frequency)
    return np.argsort(-scale, kind="stable")


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows gathered by their standard error, each group compressed: one factorisation per group, not per row.

    For noise "additive" every value of the scatter weights the rows anew; rows with the same error keep the
    same weight, so their triangle stands for them.
    """

    matrix: Array
    """(m (P + 1), P + 1) the groups' triangles, stacked, of unit error."""
    error: Array
    """(m,) the groups' standard errors."""
    weight: Array
    """(m,) the groups' total frequency weights."""
    whole: Compressed
    """The state of all rows, for what does not depend on the scatter."""
    exact: bool
    """Whether every row's error is its group's."""

    def compress(self, scatter: float) -> Compressed:
        """Return the state of all rows at one scatter, as `compress` does from the rows themselves."""
        width = self.matrix.shape[1]
        error = np.hypot(self.error, scatter)
        order = np.argsort(error, kind="stable")
        scaled = self.matrix.reshape(-1, width, width)[order] / error[order, None, None]
        triangle = eliminate(None, np.ascontiguousarray(scaled.reshape(-1, width).T))
        return replace(
            self.whole,
            factor=signed(triangle),
            log_error=float(self.weight @ np.log(error)),
        )


def group(rows: Rows, standard_error: Array, whole: Compressed, max_groups: int) -> Groups:
    """Gather rows by standard error: exactly where few differ, else in bins.

    Parameters
    ----------
    rows : Rows
    standard_error : ndarray of shape (n,)
    whole : Compressed
        The state of all of `rows`; its origin is shared by every group.
    max_groups : int
        At most so many groups.

    Returns
    -------
    Groups
        With ``exact=False`` a group's error is the geometric mean of its rows'.
    """
    used = rows.used
    error = standard_error[used]
    values = distinct(error, max_groups)
    members = _similar(np.log(error), max_groups) if values is None else np.searchsorted(values, error)
    # A counting sort: rows stay in their order within a group, which memory likes.
    used = used[np.argsort(members.astype(np.uint16), kind="stable")]
    starts = np.cumsum(np.bincount(members))
    starts = np.unique(starts[(starts > 0) & (starts < len(used))])
    triangles, errors, weights = [], [], []
    for member in np.split(used, starts):
        part = compress(rows.subset(member), 1.0)
        triangles.append(part.about(whole.origin))
        errors.append(float(np.exp(np.log(standard_error[member]).mean())))
        weights.append(part.total_weight)
    return Groups(np.concatenate(triangles), np.array(errors), np.array(weights), whole, values is not None)


def distinct(values: Array, most: int) -> Array | None:
    """Return the distinct values in ascending order, or None where there are more than so many."""
    found = np.unique(values[: 16 * most])
    if len(found) <= most and (found[np.searchsorted(found[:-1], values)] != values).any():
        found = np.unique(values)
    return found if len(found) <= most else None


def _similar(log_error: Array, most: int) -> NDArray[np.intp]:
    """Return groups of rows, even in rank and in log error together: a few precise rows are a group of their own."""
    # Bins of log error in which ranks are counted.
    fine_bins = 4096
    lowest = float(log_error.min())
    place = (log_error - lowest) / (float(log_error.max()) - lowest)
    fine = np.minimum((place * fine_bins).astype(np.intp), fine_bins - 1)
    count = np.bincount(fine, minlength=fine_bins)
    rank = (np.cumsum(count) - 0.5 * count) / len(log_error)
    place += rank[fine]
    return np.minimum(place * (0.5 * most), most - 1).astype(np.intp)
