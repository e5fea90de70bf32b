"""Limits: targets and features of which only a side, or two limits between which they lie, was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from .checks import check_vector
from .labels import aligned, numbers
from .messages import shown

__all__ = [
    "Limits",
    "ReadingLimits",
    "Sides",
    "resolve_limits",
    "resolve_reading_limits",
    "resolve_truncation",
    "sides",
    "truncated_normal",
    "unknown_in",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Limits:
    """Of rows whose target was not measured: limits between which it lies. Immutable."""

    censored: NDArray[np.bool_]
    """(n,) which rows these are."""
    lower: Array
    """(n,) what their targets lie above, in the target's unit; may be infinite."""
    upper: Array
    """(n,) what they are at most."""

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """(n,) of which rows nothing is known."""
        return self.censored & np.isinf(self.lower) & np.isinf(self.upper)

    @property
    def say_nothing(self) -> bool:
        """Whether nothing is known of any of those targets."""
        return bool((self.unknown == self.censored).all())

    def take(self, index: slice | NDArray[Any]) -> Limits:
        """Return those of some rows."""
        return Limits(self.censored[index], self.lower[index], self.upper[index])

    def scaled(self, center: float | Array, unit: float | Array) -> Limits:
        """Return them about a center and in a unit of the target."""
        return Limits(self.censored, (self.lower - center) / unit, (self.upper - center) / unit)

    def holding(self, y: Array) -> Limits:
        """Return those of rows that are censored where their targets lie between limits, and else measured."""
        return Limits(self.censored & (y > self.lower) & (y <= self.upper), self.lower, self.upper)

    def moments(self, y: Array, frequency: Array | None) -> tuple[float, float]:
        """Return mean and standard deviation of the target, about those of a normal one of which this was seen.

        By twenty steps of the EM algorithm, from limits taken for values and brought to within what was measured.
        """
        every = np.where(self.unknown, 0.0, 1.0 if frequency is None else frequency)
        measured = y[~self.censored & (every > 0.0)]
        least, most = (measured.min(), measured.max()) if len(measured) else (-np.inf, np.inf)
        start = np.where(self.censored, np.clip(y, least, most), y)
        mean = float(np.average(start, weights=every))
        variance = float(np.average(np.square(start - mean), weights=every))
        lower, upper, weight = (of[self.censored] for of in (self.lower, self.upper, every))
        values, whole = y[~self.censored], every[~self.censored]
        for _ in range(20 if variance > 0.0 else 0):
            sd = np.sqrt(variance)
            a, b = (lower - mean) / sd, (upper - mean) / sd
            expected, left = truncated_normal(a, b)
            expected = mean + sd * expected
            mean = float((whole @ values + weight @ expected) / every.sum())
            within = whole @ np.square(values - mean) + weight @ (
                np.square(expected - mean) + variance * left
            )
            variance = float(within / every.sum())
        return mean, float(np.sqrt(variance))


@dataclass(frozen=True, eq=False)
class ReadingLimits:
    """Of features with errors: readings of which only a side was seen. Immutable."""

    side: Array
    """(n, q) -1: the reading lies at or below the limit, 0: it was measured, 1: it lies above."""
    limit: Array
    """(n, q) in the data's units, of readings that were measured any number."""

    def take(self, index: slice | NDArray[Any]) -> ReadingLimits:
        """Return those of some rows."""
        return ReadingLimits(self.side[index], self.limit[index])

    def holding(self, measured: Array) -> ReadingLimits:
        """Return those of other readings, (n, q), that lie on the same side, and else measured ones."""
        beyond = np.where(self.side < 0.0, measured <= self.limit, measured > self.limit)
        return ReadingLimits(np.where(beyond, self.side, 0.0), self.limit)

    @property
    def cells(self) -> NDArray[np.bool_]:
        """(n, q) which readings these are."""
        return self.side != 0.0

    def moments(
        self, measured: Array, lacking: NDArray[np.bool_] | None, frequency: Array | None
    ) -> list[tuple[float, float]]:
        """Return mean and standard deviation of each feature's readings, as `Limits.moments` does.

        Parameters
        ----------
        measured : ndarray of shape (n, q)
        lacking : ndarray of shape (n, q), optional
            Of which cells nothing is known; None: of none.
        frequency : ndarray of shape (n,), optional
            How often each row counts.
        """
        nothing = np.zeros(self.side.shape, dtype=bool) if lacking is None else lacking
        lower, upper = (np.where(self.side == s, self.limit, s * -np.inf) for s in (1.0, -1.0))
        found = []
        for j in range(self.side.shape[1]):
            limits = Limits(self.cells[:, j] | nothing[:, j], lower[:, j], upper[:, j])
            at = np.where(self.cells[:, j], self.limit[:, j], np.where(nothing[:, j], 0.0, measured[:, j]))
            found.append(limits.moments(at, frequency))
        return found

    def likely(self, measured: Array, lacking: NDArray[np.bool_] | None, frequency: Array | None) -> Array:
        """Return readings, (n, q), with likely values in the place of limits: the same every time.

        They are spread as a normal variable is on its side of the limit. No posterior depends on them.
        """
        found = np.array(measured, dtype=np.float64)
        for j, (mean, sd) in enumerate(self.moments(measured, lacking, frequency)):
            cells = np.flatnonzero(self.cells[:, j])
            # Evenly spread, whatever order the rows have.
            part = (0.5 + np.arange(len(cells)) * (np.sqrt(5.0) - 1.0) / 2.0) % 1.0
            limit, side = self.limit[cells, j], self.side[cells, j]
            depth = -side * (limit - mean) / sd if sd > 0.0 else np.zeros(len(cells))
            value = mean - side * sd * ndtri(np.maximum(part * ndtr(depth), 1e-300))
            found[cells, j] = np.where(side < 0.0, np.minimum(value, limit), np.maximum(value, limit))
        return found


def resolve_reading_limits(
    X: NDArray[np.floating], X_censored: object, names: Sequence[str]
) -> ReadingLimits | None:
    """Return what is known of all features' readings that were not measured; None: all were.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Features, NaN where nothing is known.
    X_censored : array-like of shape (n, p), or (n,) of one feature, or None
        -1: the reading lies at or below X, 0: it is X, 1: it lies above.
    names : sequence of str
        Names of the features.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.
    """
    if X_censored is None:
        return None
    given, meaning = aligned(X_censored, names, "X_censored"), "-1 (at or below X), 0 (measured) or 1 (above)"
    if np.asarray(given).dtype.kind == "b":
        raise TypeError(
            f"X_censored has to be {meaning} in every cell, got booleans, which don't say on which side."
        )
    side = numbers(given, "X_censored")
    n, p = X.shape
    side = side[:, None] if side.shape == (n,) and p == 1 else side
    if side.shape != (n, p):
        raise ValueError(
            f"X_censored has shape {side.shape}; there are {n} rows and {p} features: give one number per cell,"
            f" ({n}, {p})."
        )
    for broken, message in (
        (
            ~np.isin(side, (-1.0, 0.0, 1.0)),
            f"X_censored has to be {meaning}; it is {{:g}} in row {{}} of {{}}.",
        ),
        (
            (side != 0.0) & np.isnan(X),
            "X_censored is {:g} in row {} of {}, where X is NaN: X has to be the limit, or X_censored 0.",
        ),
    ):
        if broken.any():
            row, j = map(int, np.argwhere(broken)[0])
            raise ValueError(message.format(side[row, j], row, shown(names[j])))
    if not side.any():
        return None
    many = np.flatnonzero((side != 0.0).sum(axis=1) > 2)
    if len(many):
        raise ValueError(
            f"X_censored marks more than two readings of row {many[0]}, and in {len(many)} rows all together: leave"
            " these rows out. Chosen by their features, the others have the same line."
        )
    return ReadingLimits(side, np.where(side != 0.0, X, 0.0))


def unknown_in(limits: Limits | None, unknown: NDArray[np.bool_]) -> Limits:
    """Return limits with those of targets of which nothing is known: they lie anywhere."""
    none = np.zeros(len(unknown), dtype=bool), *np.full((2, len(unknown)), np.nan)
    censored, lower, upper = none if limits is None else (limits.censored, limits.lower, limits.upper)
    return Limits(censored | unknown, np.where(unknown, -np.inf, lower), np.where(unknown, np.inf, upper))


class Sides(NamedTuple):
    """Limits as graphs have them: numbers all, that have derivatives."""

    side: Any
    """(n,) 0: measured, -1: at most `upper`, 1: above `lower`, 2: between both, 3: anywhere."""
    lower: Any
    upper: Any

    @classmethod
    def of(cls, limits: Limits) -> Sides:
        """Return them with any numbers in the place of those that are not looked at."""
        below, above = np.isfinite(limits.upper), np.isfinite(limits.lower)
        side = np.where(below, np.where(above, 2.0, -1.0), np.where(above, 1.0, 3.0)) * limits.censored
        lower = np.where(above, limits.lower, np.where(below, limits.upper, 1.0) - 1.0)
        return cls(side, lower, np.where(below & (side != 0.0), limits.upper, lower + 1.0))


def resolve_limits(
    y: Array, y_censored: ArrayLike | None, y_upper: ArrayLike | None, y_censored_column: Array | None
) -> Limits | None:
    """Return what is known of targets that were not measured; None: all were.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Target, of rows that were not measured a limit.
    y_censored : array-like of shape (n,), optional
        -1: the target lies at or below y, 0: it is y, 1: it lies above.
    y_upper : array-like of shape (n,), optional
        Where it is not NaN, the target lies above y and at most there.
    y_censored_column : ndarray of shape (n,), optional
        A column of X in the place of `y_censored`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.
    """
    name, given = "y_censored", y_censored
    if y_censored_column is not None:
        if y_censored is not None:
            raise ValueError(
                "y_censored is given, but X holds it, too, in its y_censored_column: leave y_censored out."
            )
        name, given = "y_censored_column", y_censored_column
    n = len(y)
    side = np.zeros(n) if given is None else sides(given, n, name)
    upper = np.where(side < 0.0, y, np.inf)
    censored = side != 0.0
    if y_upper is not None:
        end = _upper(y_upper, n)
        stated = ~np.isnan(end)
        _refuse(
            stated & (end < y),
            "y_upper is below y{}: of a target between two limits y is the lower one. y_upper[{}] is",
            end,
        )
        _refuse(
            stated & (side < 0.0),
            f"y_upper is given where {name} is -1, {{}}: what lies below y has no limit above it. Leave one of them"
            " out (NaN in y_upper, or 0); y_upper[{}] is",
            end,
        )
        upper = np.where(stated, end, upper)
        censored = np.where(stated, end > y, censored)
    if not censored.any():
        return None
    return Limits(censored, np.where(side < 0.0, -np.inf, y), upper)


def sides(given: ArrayLike, n: int, name: str) -> Array:
    """Return -1, 0 and 1, checked."""
    if np.asarray(given).dtype.kind == "b":
        raise TypeError(
            f"{name} has to be -1 (the target lies below y), 0 (it was measured) or 1 (it lies above), got booleans,"
            " which don't say on which side."
        )
    side = check_vector(given, n, name, scalar=False, signed=True)
    _refuse(
        ~np.isin(side, (-1.0, 0.0, 1.0)),
        f"{name} has to be -1 (the target lies below y), 0 (it was measured) or 1 (it lies above){{}};"
        f" {name}[{{}}] is",
        side,
    )
    return side


def resolve_truncation(
    truncation: object,
    y: Array,
    used: NDArray[np.intp] | slice,
    limits: Limits | None,
    over: Array | float | None,
    *,
    counted: bool,
) -> tuple[tuple[float, float] | None, Limits | None]:
    """Return limits between which targets lie of rows in the table, and what is then known of those not measured.

    Parameters
    ----------
    truncation : object
        The estimator's parameter: a pair (lower, upper), either None or infinite; None: rows were not selected.
    y : ndarray of shape (n,)
    used : ndarray of intp or slice
        The rows that count.
    limits : Limits, optional
        What is known of targets that were not measured.
    over : float or ndarray of shape (n,), optional
        What targets are rates of events by, whose number is between the limits; None: targets are themselves.
    counted : bool
        Whether targets are counts, which may not be at the lower limit.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter.
    """
    if truncation is None:
        return None, limits
    said = f"truncation={shown(truncation)}"
    if not isinstance(truncation, tuple | list | np.ndarray) or len(truncation) != 2:
        raise TypeError(f"{said}: it has to be a pair (lower, upper), either of which may be None.")
    ends = [end if given is None else given for end, given in zip((-np.inf, np.inf), truncation, strict=True)]
    if any(isinstance(end, bool | np.bool_) or not isinstance(end, Real) for end in ends):
        raise TypeError(f"{said}: limits have to be numbers, or None.")
    lower, upper = (float(end) for end in ends)
    if not lower < upper:  # NaN, too
        raise ValueError(f"{said}: the lower limit has to be below the upper one.")
    if np.isinf(lower) and np.isinf(upper):
        return None, limits
    y = y if over is None else np.rint(y * over)
    measured = np.zeros(len(y), dtype=bool)
    measured[used] = True
    if limits is not None:
        measured &= ~limits.censored
    outside = measured & (((y <= lower) if counted else (y < lower)) | (y > upper))
    if outside.any():
        raise ValueError(
            f"{said}: y of {outside.sum()} rows is not between the limits, such as"
            f" {shown(float(y[outside][0]))}. Rows can be in the table only if their y is."
        )
    if limits is None:
        return (lower, upper), None
    unit = 1.0 if over is None else over
    within = Limits(
        limits.censored, np.maximum(limits.lower, lower / unit), np.minimum(limits.upper, upper / unit)
    )
    outside = limits.censored & ~(within.lower < within.upper)
    if outside.any():
        raise ValueError(
            f"{said}: of {outside.sum()} rows y_censored (or y_upper) says that y lies outside, such as row"
            f" {np.flatnonzero(outside)[0]}. Rows can be in the table only if their y is between these limits."
        )
    return (lower, upper), within


def _upper(given: ArrayLike, n: int) -> Array:
    """Return limits above, NaN where there is none."""
    try:
        upper = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"y_upper must be numbers, NaN where there is no such limit, got {shown(given)}."
        ) from None
    if upper.shape != (n,):
        raise ValueError(f"y_upper must have one value per row, shape ({n},), got shape {upper.shape}.")
    return upper


def truncated_normal(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Return means and variances of a standard normal variable between limits, about."""
    far = 30.0
    # The side on which distribution functions keep their digits.
    turned = lower > 0.0
    low = np.where(turned, np.maximum(-upper, -far), np.maximum(lower, -far))
    high = np.where(turned, np.maximum(-lower, -far), np.minimum(upper, far))
    below, above = (np.exp(-0.5 * np.square(end)) / np.sqrt(2.0 * np.pi) for end in (low, high))
    between = np.maximum(ndtr(high) - ndtr(low), 1e-290)
    mean = np.clip((below - above) / between, low, high)
    variance = 1.0 + (low * below - high * above) / between - np.square(mean)
    return np.where(turned, -mean, mean), np.clip(
        variance, 0.0, np.minimum(1.0, 0.25 * np.square(high - low))
    )


def _refuse(broken: NDArray[np.bool_], message: str, values: Array) -> None:
    """Raise an error where some rows are broken, which names the first."""
    if broken.any():
        row, count = int(np.flatnonzero(broken)[0]), int(np.count_nonzero(broken))
        rows = "" if count == 1 else f" in {count} rows"
        raise ValueError(f"{message.format(rows, row)} {values[row]:g}.")
