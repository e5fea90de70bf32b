"""Draws of the effects of groups, one per node: what a sampler returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .effects import Layout, ScaledEffects

__all__ = ["DrawnEffects", "DrawnLevels"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class DrawnLevels:
    """By how much groups' true features are above others' at each node; in the model's units."""

    values: tuple[Array, ...]
    """(K,) by grouping, (G, J, q) each."""
    deviations: Array
    """(G, K, q) their standard deviations."""

    def take(self, nodes: Index) -> DrawnLevels:
        """Return those of some nodes."""
        return DrawnLevels(tuple(part[nodes] for part in self.values), self.deviations[nodes])

    def at(self, members: Index) -> Array:
        """Return what levels of groups that were fitted add, (n, G, q), to the features of rows, (n, K)."""
        found = np.zeros((len(members), len(self.deviations), self.deviations.shape[2]))
        for k, part in enumerate(self.values):
            known = np.flatnonzero(members[:, k] < part.shape[1])
            found[known] += part[:, members[known, k]].transpose(1, 0, 2)
        return found


@dataclass(frozen=True, eq=False)
class DrawnEffects(ScaledEffects):
    """Effects of groups at each node; in the model's units."""

    layout: Layout
    values: tuple[Array, ...]
    """(K,) by grouping, (G, J, r) each."""
    deviations: Array
    """(G, scales) their standard deviations."""
    x_mean: Array
    x_scale: Array
    y_mean: float
    y_scale: float
    levels: DrawnLevels | None = None
    """Of features with errors."""

    @property
    def scales(self) -> Array:
        """(G, scales) standard deviations of the effects at the nodes, on the data's scale."""
        return self.deviations * self.units

    def take(self, nodes: Index) -> DrawnEffects:
        """Return those of some nodes."""
        return replace(
            self,
            values=tuple(part[nodes] for part in self.values),
            deviations=self.deviations[nodes],
            levels=None if self.levels is None else self.levels.take(nodes),
        )

    def averaged(self, weights: Array) -> DrawnEffects:
        """Return their means, as of one node."""
        values = tuple(np.tensordot(weights, part, axes=1)[None] for part in self.values)
        return replace(self, values=values, deviations=(weights @ self.deviations)[None], levels=None)

    def of(self, grouping: int, term: int) -> Array:
        """Return one effect of every group, (G, J), on the data's scale."""
        return self.values[grouping][:, :, term] * self.units[self.layout.scales(grouping).start + term]

    def line(self, x: Array, members: Index) -> Array:
        """Return what effects of groups that were fitted add to the line, (n, G), on the data's scale.

        Parameters
        ----------
        x : ndarray of shape (n, p)
            In the data's unit.
        members : ndarray of shape (n, K)
        """
        found = np.zeros((len(x), len(self.deviations)))
        for k, terms in enumerate(self.layout.terms((x - self.x_mean) / self.x_scale)):
            known = np.flatnonzero(members[:, k] < self.layout.sizes[k])
            for i in range(self.layout.widths[k]):
                own = self.values[k][:, members[known, k], i].T
                found[known] += own if i == 0 else terms[known, i, None] * own
        return self.y_scale * found

    def new(self, x: Array, members: Index) -> Iterator[tuple[int, Index, Array]]:
        """Yield each grouping and which rows are of new groups, with what multiplies their effects' deviations there.

        On the data's scale, (rows, r).
        """
        for k, terms in enumerate(self.layout.terms((x - self.x_mean) / self.x_scale)):
            rows = np.flatnonzero(members[:, k] >= self.layout.sizes[k])
            if len(rows):
                yield k, rows, self.y_scale * terms[rows]
