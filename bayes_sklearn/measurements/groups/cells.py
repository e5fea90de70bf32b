"""What rows of groups leave to be learned, and add up to: a few rows for each combination of groups.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..compressed import Rows, eliminate, taken
from .split import Block, split

__all__ = ["Cells"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Cells:
    """Sufficient statistics of rows in groups; the rows of a cell are of the same groups.

    Of each cell there is a row for every kind of effects, and of all together the triangle of what no effect changes,
    (70).
    """

    members: Index
    """(c, K) which groups each cell is of."""
    slopes: tuple[int, ...]
    """Positions among the features of those whose slopes differ in some grouping."""
    origin: Array
    """(p + 1,) what was subtracted from features and target."""
    rest: Array
    """(c, r, P + 1) of [1, x, y], divided by the errors."""
    within: Array
    """(P + 1, P + 1)"""

    @classmethod
    def of(
        cls,
        rows: Rows,
        standard_error: Array | float,
        origin: Array,
        slopes: Sequence[Sequence[int]],
    ) -> Cells:
        """Gather the rows that count."""
        if rows.members is None:
            raise ValueError("The rows are in no groups.")
        members, own = _distinct(rows.members[rows.used])
        every = tuple(dict.fromkeys(place for places in slopes for place in places))
        blocks = partial(_blocks, rows, standard_error, rows.here(origin), own)
        return _gathered(blocks, members, every, origin)

    def merged(self, other: Cells) -> Cells:
        """Return the statistics of both tables' rows together."""
        first, second = self.about(self.origin), other.about(self.origin)
        members, own = _distinct(np.concatenate([first.members, second.members]))
        rest, r = np.concatenate([first.rest, second.rest]), first.rest.shape[1]
        rows, own = rest.reshape(len(own) * r, -1), np.repeat(own, r)
        found = _gathered(
            lambda: iter([Block(own, np.ones(len(own)), rows.copy(), 0.0)]), members, self.slopes, self.origin
        )
        left = np.concatenate([first.within, second.within])
        return replace(found, within=eliminate(np.asfortranarray(found.within), np.ascontiguousarray(left.T)))

    def about(self, origin: Array) -> Cells:
        """Return them about another origin."""
        rest = self.rest.copy()
        rest[:, :, 1:] += rest[:, :, :1] * (self.origin - origin)
        return replace(self, rest=rest, origin=origin)

    def with_error(self, standard_error: float) -> Cells:
        """Return the cells of the same rows with errors so many times as large."""
        return replace(self, rest=self.rest / standard_error, within=self.within / standard_error)

    def moved(self, places: Sequence[Index]) -> Cells:
        """Return them with other numbers for the groups, (J,) for those of each grouping."""
        members = np.column_stack([new[old] for new, old in zip(places, self.members.T, strict=True)])
        return replace(self, members=members)

    def standing(self, origin: Array) -> tuple[Array, Array, Index]:
        """Return rows that stand for all: [x, y] less the origin, how often each counts, and their groups, (48a).

        In a cell its mean, with the other rows on both sides of it; in the heaviest one those within, too.
        """
        counts = self.rest[:, 0, 0] != 0.0  # of others all rows have a weight of zero
        rest, members = self.about(origin).rest[counts], self.members[counts]
        weight, mean = np.square(rest[:, 0, 0]), rest[:, 0, 1:] / rest[:, 0, :1]
        heaviest = int(np.argmax(weight))
        within = self.within[self.within.any(axis=1), 1:]
        owner = np.repeat(np.arange(len(mean)), rest.shape[1] - 1)
        away = np.concatenate([rest[:, 1:, 1:].reshape(-1, within.shape[1]), within])
        owner = np.append(owner, np.full(len(within), heaviest))
        seen = away.any(axis=1)
        owner, away = owner[seen], away[seen]
        pairs = np.bincount(owner, minlength=len(mean))
        alone = np.flatnonzero(pairs == 0)
        away *= np.sqrt(pairs / weight)[owner][:, None]
        table = np.concatenate([mean[owner] + away, mean[owner] - away, mean[alone]])
        share = weight / np.maximum(2 * pairs, 1)
        own = np.concatenate([owner, owner, alone])
        return table, share[own], members[own]


def _distinct(members: Index) -> tuple[Index, Index]:
    """Return the distinct rows, (c, K), and which of them each row is."""
    code = members[:, 0]
    for more in members.T[1:]:
        code = np.unique(code, return_inverse=True)[1] * (int(more.max()) + 1) + more
    _, first, own = np.unique(code, return_index=True, return_inverse=True)
    return members[first], own


def _blocks(rows: Rows, standard_error: Array | float, here: Array, own: Index) -> Iterator[Block]:
    """Yield the rows that count, [1, x, y] about an origin, a block at a time; `own` is the cell of each."""
    used, width = rows.used, rows.n_features + 2
    length = max(2**17 // width, 64)
    for start in range(0, len(used), length):
        index = used[start : start + length]
        table = np.ones((len(index), width))
        np.subtract(rows.take(index), here[:-1], out=table[:, 1:-1])
        table[:, -1] = rows.y[index] - here[-1]
        weight = np.ones(len(index)) if rows.frequency is None else rows.frequency[index]
        yield Block(own[start : start + length], weight / np.square(taken(standard_error, index)), table, 0.0)


def _gathered(
    blocks: Callable[[], Iterator[Block]], members: Index, slopes: tuple[int, ...], origin: Array
) -> Cells:
    """Return the cells of rows [1, x, y]."""
    columns = [0, *(1 + place for place in slopes)]
    found = split(blocks, len(members), columns, len(origin) + 1)
    return Cells(members, slopes, origin, found.rest, found.within)
