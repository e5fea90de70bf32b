"""The target as it is drawn: its values, error bars and limits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...measurements.limits import Limits, resolve_limits
from .held_columns import HeldColumns
from .rows import MOST_DRAWN, RowWeights, in_columns, stated_bars, tenths

__all__ = ["DrawnTarget", "of_rows"]

Array = NDArray[np.float64]


def of_rows(values: Array | None, rows: NDArray[Any]) -> Array | None:
    """Return the values of some rows, the last axis; None has none."""
    return None if values is None else values[..., rows]


class DrawnTarget(NamedTuple):
    """What is drawn of the target."""

    y: Array
    x_err: Array | None
    y_err: Array | None
    limits: Limits | None
    sides: Array | None = None
    """Of readings."""

    @classmethod
    def of(
        cls,
        estimator: Any,
        table: Any,
        held: HeldColumns,
        y: Array,
        *,
        counts: Any,
        y_err: Any,
        y_censored: Any,
        y_upper: Any,
        exposure: Any,
    ) -> DrawnTarget:
        """Return the target, its errors and limits; of events rates."""
        bars = stated_bars(estimator, table, y, counts, y_err, exposure=exposure)
        found = cls(y, None, bars, resolve_limits(y, y_censored, y_upper, held.sides(table)))
        over = held.exposures(table, exposure)
        return found if over is None else found.scaled(np.zeros(len(y)), over)

    def scaled(self, center: Array, unit: Array) -> DrawnTarget:
        """Return it about centers and in units, (n,) each."""
        return self._replace(
            y=(self.y - center) / unit,
            y_err=None if self.y_err is None else self.y_err / unit,
            limits=None if self.limits is None else self.limits.scaled(center, unit),
        )

    def moved(self, own: Array, at_means: Array, bounds: tuple[float, float]) -> DrawnTarget:
        """Return what would have been measured with other features at their means, (62b); their own are given."""

        def move(y: Array) -> Array:
            lower, upper = bounds
            if np.isinf(lower):
                return y - own + at_means
            tiny = 1e-12
            inner, at = np.clip(own, lower + tiny, upper - tiny), np.clip(at_means, lower, upper)
            below = lower + (y - lower) * (at - lower) / (inner - lower)
            if np.isinf(upper):
                return below
            return np.where(y < inner, below, upper - (upper - y) * (upper - at) / (upper - inner))

        y, bars, limits = move(self.y), self.y_err, self.limits
        if bars is not None and not np.isinf(bounds[0]):
            down, up = np.broadcast_to(bars, (2, len(y)))
            bars = np.stack([y - move(self.y - down), move(self.y + up) - y])
        if limits is not None:
            limits = Limits(limits.censored, move(limits.lower), move(limits.upper))
        return self._replace(y=y, y_err=bars, limits=limits)

    def take(self, rows: NDArray[np.bool_]) -> DrawnTarget:
        """Return that of some rows."""
        limits = None if self.limits is None else self.limits.take(rows)
        x_err, y_err, sides = (of_rows(of, rows) for of in (self.x_err, self.y_err, self.sides))
        return DrawnTarget(self.y[rows], x_err, y_err, limits, sides)

    @property
    def beside(self) -> dict[str, Any]:
        """All but y, by the names of the display's arguments."""
        return {"x_err": self.x_err, "y_err": self.y_err, "limits": self.limits, "x_censored": self.sides}

    def means(self, x: Array, y: Array, shift: Array, rows: RowWeights) -> Array | None:
        """Return mean x and mean shifted y, (10, 2), of tenths of all rows that count, where single ones say little.

        None, too, where means of what was measured are not on the line: beside limits and errors of x.
        """
        x, y, shift = x[rows.used], y[rows.used], shift[rows.used]
        if any(of is not None for of in (self.x_err, self.limits, self.sides)):
            return None
        if len(y) <= MOST_DRAWN and not in_columns(y):
            return None
        return np.array(
            [[np.average(of[own], weights=rows.weight[own]) for of in (x, y + shift)] for own in tenths(x)]
        )
