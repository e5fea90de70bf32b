"""Limits: targets of which only a side, or two limits between which they lie, was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from .checks import check_vector
from .messages import shown

__all__ = ["Limits", "Sides", "resolve_limits", "sides"]

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
            expected, left = _truncated_normal(a, b)
            expected = mean + sd * expected
            mean = float((whole @ values + weight @ expected) / every.sum())
            within = whole @ np.square(values - mean) + weight @ (
                np.square(expected - mean) + variance * left
            )
            variance = float(within / every.sum())
        return mean, float(np.sqrt(variance))


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


def _truncated_normal(lower: Array, upper: Array) -> tuple[Array, Array]:
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
