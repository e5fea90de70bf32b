"""Effects of groups given everything else: what a line is at rows of groups that were fitted, and of new ones.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["AtScales", "Conditional", "Effects", "Layout", "ScaledEffects"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Layout:
    """Which effects there are: of one grouping, the largest, group by group, of others a column each."""

    sizes: tuple[int, ...]
    """(K,) how many groups there are."""
    slopes: tuple[tuple[int, ...], ...]
    """(K,) positions among the features of those whose slopes differ."""

    @property
    def main(self) -> int:
        """The grouping that is eliminated group by group."""
        return int(np.argmax([size * width for size, width in zip(self.sizes, self.widths, strict=True)]))

    @property
    def widths(self) -> tuple[int, ...]:
        """(K,) how many effects each group has: one, and a slope's each."""
        return tuple(1 + len(slopes) for slopes in self.slopes)

    @property
    def n_scales(self) -> int:
        """How many standard deviations are learned."""
        return sum(self.widths)

    def units(self, x_scale: Array, y_scale: float) -> Array:
        """Return the model's units of the effects, (scales,): the target's, by the feature's."""
        return np.concatenate([y_scale / np.append(1.0, x_scale[list(own)]) for own in self.slopes])

    def terms(self, x: Array) -> list[Array]:
        """Return what multiplies each grouping's effects at rows, (n, r) each; `x` in the model's units."""
        one = np.ones((len(x), 1))
        return [np.concatenate([one, x[:, list(slopes)]], axis=1) for slopes in self.slopes]

    def scales(self, grouping: int) -> slice:
        """Return which of the scales are a grouping's."""
        first = sum(self.widths[:grouping])
        return slice(first, first + self.widths[grouping])

    @property
    def columns(self) -> dict[int, int]:
        """Of groupings whose effects are columns: the first one's place."""
        found, place = {}, 0
        for k, (size, width) in enumerate(zip(self.sizes, self.widths, strict=True)):
            if k != self.main:
                found[k] = place
                place += size * width
        return found

    @property
    def n_columns(self) -> int:
        """How many columns the effects of the other groupings take."""
        return sum(self.sizes[k] * self.widths[k] for k in self.columns)

    @property
    def scale_of_column(self) -> Index:
        """(n_columns,) which scale each is of."""
        parts = [
            np.tile(np.arange(self.scales(k).start, self.scales(k).stop), self.sizes[k]) for k in self.columns
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)

    def filled(self, out: Array, members: Index, terms: Sequence[Array]) -> None:
        """Fill columns of the other groupings' effects, (n, n_columns) zeros, for groups that were fitted."""
        row = np.arange(len(members))
        for k, first in self.columns.items():
            known = members[:, k] < self.sizes[k]
            for i in range(self.widths[k]):
                out[row[known], first + members[known, k] * self.widths[k] + i] = terms[k][known, i]


class AtScales(NamedTuple):
    """The posterior of the effects that are columns, given the scales' ratios to the noise."""

    root: Array
    """(m, m) upper triangle, of unit effects."""
    rest: Array
    """(m, P + 1) of [1, x, y] beside it."""


class Open(NamedTuple):
    """The uncertainty of effects given B: multiples of standard normal numbers that rows of one group share."""

    loadings: Array
    """(n, q) in units of the noise."""
    group: Index | None
    """(n,) whose numbers each row has; None: all rows have the same."""


class Conditional(NamedTuple):
    """A linear function of B and effects at some rows, given B: ``constant + design @ B``, and its uncertainty."""

    design: Array
    """(n, P)"""
    constant: Array
    """(n,)"""
    open: tuple[Open, ...]

    @property
    def variance(self) -> Array:
        """(n,) given B, in units of the noise's."""
        found = np.zeros(len(self.constant))
        for part in self.open:
            found += np.square(part.loadings).sum(axis=1)
        return found


class ScaledEffects(ABC):
    """Effects of groups on a scale."""

    layout: Layout
    x_mean: Array
    x_scale: Array
    y_mean: float
    y_scale: float

    @property
    @abstractmethod
    def scales(self) -> Array:
        """(G, scales) standard deviations of the effects at the nodes, on the data's scale."""

    @property
    def units(self) -> Array:
        """(scales,) the model's units of the effects."""
        return self.layout.units(self.x_scale, self.y_scale)

    @property
    def by_key(self) -> dict[str, Array]:
        """Standard deviations, (G,) each, by their names in `Posterior.scale_masses`."""
        return {f"group_std_{k}": self.scales[:, k] for k in range(self.layout.n_scales)}

    def on_scale(self, x_mean: Array, x_scale: Array, y_mean: float, y_scale: float) -> Self:
        """Return them with the data's scale."""
        # Both kinds are dataclasses.
        return replace(self, x_mean=x_mean, x_scale=x_scale, y_mean=y_mean, y_scale=y_scale)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Effects(ScaledEffects):
    """The posterior of the effects of groups, given B at each node, (72); in the model's units."""

    layout: Layout
    rest: Array
    """(S, J, r, C) the rows of each group along its effects, of [columns, 1, x, y], at each of some scatters."""
    scatter: Index
    """(T,) which of these."""
    ratios: Array
    """(T, scales) the effects' standard deviations by the noise scale, or, where that is one, themselves."""
    others: tuple[AtScales, ...]
    """(T,) of the effects that are columns; empty: there are none."""
    node: Index
    """(G,) which of the T each node is of."""
    noise: Array
    """(G,) the noise scale, or one, in the model's units."""
    x_mean: Array
    x_scale: Array
    y_mean: float
    y_scale: float

    @property
    def n_parts(self) -> int:
        """T."""
        return len(self.ratios)

    @property
    def scales(self) -> Array:
        return self.ratios[self.node] * self.noise[:, None] * self.units

    def nodes(self, part: int) -> Index:
        """Return the nodes of a part."""
        return np.flatnonzero(self.node == part)

    def at(self, part: int, design: Array, terms: Sequence[Array], members: Index) -> Conditional:
        """Return the line given B in the model's units.

        Parameters
        ----------
        part : int
        design : ndarray of shape (n, P)
            What multiplies B.
        terms : sequence of ndarray of shape (n, r)
            What multiplies each grouping's effects.
        members : ndarray of shape (n, K)
            The groups: beyond those that were fitted, new ones.
        """
        layout, ratios = self.layout, self.ratios[part]
        own, m = members[:, layout.main], layout.n_columns
        known = own < layout.sizes[layout.main]
        scale = ratios[layout.scales(layout.main)]
        z = terms[layout.main]
        columns = np.zeros((len(design), m))
        layout.filled(columns, members, terms)
        constant, loadings = np.zeros(len(design)), z * scale
        reached = np.concatenate([columns, design], axis=1)
        if known.any():
            groups, place = np.unique(own[known], return_inverse=True)
            means, roots = self.given_others(part, groups)
            pulled = np.einsum("ni,nic->nc", z[known], means[place])
            reached[known] -= pulled[:, :-1]
            constant[known] = pulled[:, -1]
            loadings[known] = np.einsum("ni,nik->nk", z[known], roots[place])
        left = [Open(loadings, own)]
        for k in layout.columns:
            new = members[:, k] >= layout.sizes[k]
            left.append(Open(new[:, None] * terms[k] * ratios[layout.scales(k)], members[:, k]))
        found = reached[:, m:]
        if m:
            solved, spread = self.columns_given(part)
            found = found - reached[:, :m] @ solved[:, :-1]
            constant += reached[:, :m] @ solved[:, -1]
            left.append(Open(reached[:, :m] @ spread, None))
        return Conditional(found, constant, tuple(left))

    def given_others(self, part: int, groups: Index) -> tuple[Array, Array]:
        """Return effects of groups of the main grouping given B and the others'.

        Returns
        -------
        means : ndarray of shape (g, r, C)
            Times ``[-w, -B, 1]`` the means.
        roots : ndarray of shape (g, r, r)
            Of covariances, in units of the noise's variance.
        """
        rest = self.rest[self.scatter[part]][groups]
        scale = self.ratios[part][self.layout.scales(self.layout.main)]
        B = self._roots(rest) * scale  # (g, r, r)
        precision = B.transpose(0, 2, 1) @ B
        r = len(scale)
        precision[:, np.arange(r), np.arange(r)] += 1.0
        inverse = np.linalg.inv(np.linalg.cholesky(precision))
        roots = scale[:, None] * inverse.transpose(0, 2, 1)
        return roots @ (inverse @ (B.transpose(0, 2, 1) @ rest)), roots

    def columns_given(self, part: int) -> tuple[Array, Array]:
        """Return effects that are columns given B: (m, P + 1), times ``[-B, 1]`` their means, and a root, (m, m)."""
        scale, at = self.ratios[part][self.layout.scale_of_column], self.others[part]
        inverse = np.linalg.inv(at.root)
        return scale[:, None] * (inverse @ at.rest), scale[:, None] * inverse

    def _roots(self, rest: Array) -> Array:
        """Return roots of what the rows say of a group's effects, (g, r, r)."""
        slopes = self.layout.slopes[self.layout.main]
        first = self.layout.n_columns
        return rest[:, :, [first, *(first + 1 + place for place in slopes)]]

    def line(self, part: int, x: Array, members: Index) -> Conditional:
        """Return the line at rows, of features in the data's units, on the data's scale: of B about ``x_mean``."""
        x = (x - self.x_mean) / self.x_scale
        design = np.concatenate([np.ones((len(x), 1)), x], axis=1)
        found = self.on_data(self.at(part, design, self.layout.terms(x), members))
        return found._replace(constant=found.constant + self.y_mean)

    def at_rows(
        self, part: int, design_at: Callable[[Index], Array], members: Index, rows: Index
    ) -> Conditional:
        """Return the line at some of the rows that were fitted, in the model's units."""
        design = design_at(rows)
        return self.at(part, design, self.layout.terms(design[:, 1:]), members[rows])

    def effect(self, part: int, grouping: int, term: int, groups: Index, size: int) -> Conditional:
        """Return one effect of some groups on the data's scale but for a slope's unit; `size` is that of B."""
        layout = self.layout
        # Of the other groupings none is seen.
        members = np.tile(np.array(layout.sizes, dtype=np.intp), (len(groups), 1))
        members[:, grouping] = groups
        terms = [np.zeros((len(groups), width)) for width in layout.widths]
        terms[grouping][:, term] = 1.0
        return self.on_data(self.at(part, np.zeros((len(groups), size)), terms, members))

    def on_data(self, given: Conditional) -> Conditional:
        """Return a difference of lines on the data's scale, of that B."""
        left = tuple(part._replace(loadings=self.y_scale * part.loadings) for part in given.open)
        constant = self.y_scale * given.constant - self.y_mean * given.design[:, 0]
        return Conditional(given.design * np.append(1.0, self.x_scale), constant, left)
