"""What the likelihood needs of rows that come batch by batch: it adds up, and its size does not grow with them.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compressed import Compressed, Rows, compress, merge
from .groups.cells import Cells

__all__ = ["Standing", "Sufficient"]

Array = NDArray[np.float64]

# Each kind of error is compressed on its own, where the noise scale or the features' errors weight kinds differently.
_MAX_KINDS = 64


class Standing(NamedTuple):
    """A few rows that stand for all: of the same likelihood, whatever the parameters."""

    rows: Rows
    standard_error: Array | float | None
    """Of the rows: one for all, or (n,); None: none are known."""
    state: Compressed
    """Of the rows that they stand for."""
    typical_error: float
    """Root mean square of those rows' errors; 0: none are known."""


@dataclass(frozen=True, eq=False)
class Sufficient:
    """Sufficient statistics of rows: their compressed state, and where it takes that, one for each kind of error."""

    whole: Compressed
    """Of all rows."""
    kinds: Mapping[float, Compressed | Cells] | None
    """By standard error, of the rows that have it, with an error of one; None: errors only weight rows."""
    square_error: float | None
    """Sum of frequency times squared standard error; None: no errors are known."""
    cells: Cells | None = None
    """Of all rows in groups, where errors only weight them."""

    @classmethod
    def of(
        cls,
        rows: Rows,
        standard_error: Array | float | None,
        *,
        by_kind: bool,
        whole: Compressed | None = None,
        slopes: Sequence[Sequence[int]] | None = None,
        cells: Callable[[Array], Cells | None] | None = None,
    ) -> Sufficient:
        """Compress rows.

        Parameters
        ----------
        rows : Rows
        standard_error : float or ndarray of shape (n,), optional
            Known standard errors of the target.
        by_kind : bool
            Whether a model weights rows of different errors differently: noise "additive", or errors of features.
        whole : Compressed, optional
            The rows' state, where it is known.
        slopes : sequence of sequences of int, optional
            Of rows in groups: positions of the features whose slopes differ, by grouping.
        cells : callable, optional
            Returns their cells about an origin, where these are known, else None.

        Raises
        ------
        ValueError
            Where there would be too many kinds.
        """
        error = standard_error
        if rows.frequency is not None and not rows.frequency.any():
            nothing = Compressed.empty(rows.n_features)
            return cls(nothing, {} if by_kind else None, None if error is None else 0.0)
        whole = compress(rows, 1.0 if error is None else error) if whole is None else whole
        square = None if error is None else _sum_of_squares(error, rows.frequency, whole.total_weight)

        def gathered(rows: Rows, error: Array | float) -> Cells:
            return Cells.of(rows, error, whole.origin, slopes or ())

        if not by_kind:
            found = None
            if slopes is not None:
                found = None if cells is None else cells(whole.origin)
                found = found or gathered(rows, 1.0 if error is None else error)
            return cls(whole, None, square, found)
        if not isinstance(error, np.ndarray):
            one = 1.0 if error is None else error
            alone = whole.with_error(1.0 / one) if slopes is None else gathered(rows, 1.0)
            return cls(whole, {one: alone}, square)
        used = rows.used
        own = error[used]
        _few(np.unique(own[: 2 * _MAX_KINDS]))  # at once, where most rows have an error of their own
        kinds: dict[float, Compressed | Cells] = {}
        for kind in _few(np.unique(own)).tolist():
            some = rows.subset(used[own == kind])
            kinds[kind] = compress(some, 1.0) if slopes is None else gathered(some, 1.0)
        return cls(whole, kinds, square)

    def merged(self, other: Sufficient) -> Sufficient:
        """Return the statistics of both tables' rows together.

        Raises
        ------
        ValueError
            Where there would be too many kinds of errors.
        """
        kinds = None
        if self.kinds is not None and other.kinds is not None:
            every = _few(np.array(sorted({*self.kinds, *other.kinds})))
            kinds = {kind: _sum(self.kinds.get(kind), other.kinds.get(kind)) for kind in every.tolist()}
        square = None
        if self.square_error is not None and other.square_error is not None:
            square = self.square_error + other.square_error
        cells = _sum(self.cells, other.cells)
        return Sufficient(merge(self.whole, other.whole), kinds, square, cells)

    def moved(self, places: Sequence[NDArray[np.intp]]) -> Sufficient:
        """Return them with other numbers for the groups, (J,) for those of each grouping."""
        kinds = self.kinds and {
            kind: state.moved(places) for kind, state in self.kinds.items() if isinstance(state, Cells)
        }
        return replace(self, kinds=kinds, cells=self.cells and self.cells.moved(places))

    def standing(self) -> Standing:
        """Return rows that stand for all: of every kind twice as many as features and target, (48).

        Of rows in groups a few for each combination of groups.
        """
        whole = self.whole
        # Where errors only weight rows, one error with which all of them would weigh as much.
        typical = float(np.sqrt(whole.total_weight) / whole.factor[0, 0])
        weighted = (self.cells or whole).with_error(1.0 / typical)
        kinds = {typical: weighted} if self.kinds is None else self.kinds
        parts = [_rows_of(state, whole.origin) for state in kinds.values()]
        table, frequency = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        members = [part[2] for part in parts if part[2] is not None]
        rows = Rows(
            np.ascontiguousarray(table[:, :-1]),
            table[:, -1].copy(),
            None,
            frequency,
            whole.origin,
            members=np.concatenate(members) if members else None,
        )
        if self.square_error is None:
            return Standing(rows, None, whole, 0.0)
        errors = list(kinds)
        error = errors[0] if len(errors) == 1 else np.repeat(errors, [len(part[0]) for part in parts])
        return Standing(rows, error, whole, float(np.sqrt(self.square_error / whole.total_weight)))


def _sum(first: Any, second: Any) -> Any:
    """Return what is kept of two tables' rows together; None: of no rows."""
    if first is None or second is None:
        return second if first is None else first
    return first.merged(second) if isinstance(first, Cells) else merge(first, second)


def _rows_of(state: Compressed | Cells, origin: Array) -> tuple[Array, Array, NDArray[np.intp] | None]:
    """Return rows [x, y] less the origin that stand for all, how often each of them counts, and their groups."""
    if isinstance(state, Cells):
        return state.standing(origin)
    # With the mean and scatter of all.
    factor = state.about(origin)
    mean, scatter = factor[0, 1:] / factor[0, 0], factor[1:, 1:]
    away = scatter * (np.sqrt(len(scatter)) / factor[0, 0])
    frequency = np.full(2 * len(scatter), state.total_weight / (2 * len(scatter)))
    return np.concatenate([mean + away, mean - away]), frequency, None


def _few(errors: Array) -> Array:
    """Return the kinds of errors, which have to be few.

    Raises
    ------
    ValueError
    """
    if len(errors) > _MAX_KINDS:
        raise ValueError(
            f"the standard errors of y take more than {_MAX_KINDS} values, and noise='additive' and errors of X"
            " weight the rows of each of them anew. Round y_err, use noise='scaled' without errors of X, or call fit"
            " with all rows"
        )
    return errors


def _sum_of_squares(error: Array | float, frequency: Array | None, total: float) -> float:
    if not isinstance(error, np.ndarray):
        return total * error**2
    if frequency is None:
        return float(error @ error)
    return float(np.einsum("i,i,i->", frequency, error, error))
