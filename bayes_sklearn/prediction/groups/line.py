"""The linear predictor at new rows of groups, of those that were fitted and of new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...inference.groups.drawn import DrawnEffects
from ...inference.groups.effects import Conditional, Effects
from ...inference.posterior import Posterior, row_blocks
from ..line import LinearPredictor
from ..mixtures.parts import Lines

__all__ = ["GroupedLine", "drawn_effects", "effects_at", "standard_normals"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class GroupedLine(LinearPredictor):
    """At every node of a posterior, the linear predictor of rows in groups: normal."""

    members: Index | None = None
    """(n, K) the rows' groups."""

    @property
    def is_spread(self) -> bool:
        return True

    def within(self, variance: Array) -> dict[str, Array]:
        return {"groups": variance}

    @property
    def width(self) -> int:
        return 8 * len(self.weights) + 8 * self.posterior.location.shape[1]

    def blocks(self) -> Iterator[slice]:
        return row_blocks(len(self), self.width)

    def at(self, rows: slice | NDArray[np.intp]) -> Lines:
        means, variances, left = self._at(rows)
        if not self.is_spread:
            return Lines(self.weights, means, np.zeros((1, 1)))
        variances += left
        return Lines(self.weights, means, variances)

    def mean(self) -> Array:
        return self._moments[0]

    def moments(self, noise: Array | float = 0.0, *, root: bool = False) -> tuple[Array, Array]:
        mean, parameters, groups = self._moments
        variance = parameters + groups + noise
        return mean, np.sqrt(variance) if root else variance

    def variance_parts(self) -> dict[str, Array]:
        _, parameters, groups = self._moments
        return {"parameters": parameters.copy(), "groups": groups.copy()}

    def covariance(self) -> Array:
        n, posterior, effects = len(self), self.posterior, self._effects
        lines, covariance = np.empty((n, len(self.weights))), np.zeros((n, n))
        for _, nodes, given in self._parts(slice(None)):
            lines[:, nodes] = given.constant[:, None] + given.design @ posterior.location[nodes].T
            weights = self.weights[nodes]
            spread = given.design @ posterior.covariances.take(nodes).root(weights).T
            covariance += spread @ spread.T
            square = float(weights @ np.square(effects.noise[nodes]))
            for left in given.open:
                shared = left.loadings @ left.loadings.T
                if left.group is not None:
                    shared *= left.group[:, None] == left.group
                covariance += square * shared
        away = lines - (lines @ self.weights)[:, None]
        return np.asarray(covariance + (away * self.weights) @ away.T)

    def draws(
        self, size: int, rng: np.random.Generator
    ) -> tuple[Index, Iterator[slice], Callable[[slice], tuple[Array, Array | float]]]:
        coefficients, nodes = self.posterior.draw(size, rng)
        line = self.drawn(coefficients, nodes, int(rng.integers(2**31)))
        return nodes, row_blocks(len(self), size + self.width), lambda rows: (line(rows), 0.0)

    def drawn(self, coefficients: Array, nodes: Index, seed: int) -> Callable[[slice], Array]:
        """Return what gives the lines of some rows, (rows, size), for draws of B, (size, P), at these nodes."""
        noise, size = self._effects.noise[nodes], len(nodes)

        def line(rows: slice) -> Array:
            found = np.empty((rows.stop - rows.start, size))
            for part, of_part, given in self._parts(rows):
                drawn = np.flatnonzero(np.isin(nodes, of_part))
                if not len(drawn):
                    continue
                found[:, drawn] = given.constant[:, None] + given.design @ coefficients[drawn].T
                for place, left in enumerate(given.open):
                    standard = standard_normals(
                        left.group, left.loadings.shape[1], len(drawn), (seed, part, place)
                    )
                    found[:, drawn] += noise[drawn] * np.einsum("nq,nqd->nd", left.loadings, standard)
            return found

        return line

    @property
    def _effects(self) -> Effects:
        if not isinstance(self.posterior.effects, Effects):
            raise ValueError("The posterior knows nothing of groups.")
        return self.posterior.effects

    def _parts(self, rows: slice) -> Iterator[tuple[int, Index, Conditional]]:
        """Yield each part's number and nodes, and the line given B there."""
        effects, x, members = self._effects, self._features(rows), self.members
        if members is None:  # for the type checker
            raise AssertionError
        for part in range(effects.n_parts):
            nodes = effects.nodes(part)
            if len(nodes):
                yield part, nodes, effects.line(part, x, members[rows])

    def _at(self, rows: slice | NDArray[np.intp]) -> tuple[Array, Array, Array]:
        """Return means at every node, variances by B, and by the effects given B, (rows, G) each."""
        effects, x, members = self._effects, self._features(rows), self.members
        if members is None:  # for the type checker
            raise AssertionError
        return self.posterior.with_effects(lambda part: effects.line(part, x, members[rows]), len(x))

    @cached_property
    def _moments(self) -> Array:
        """Mean, variance by the parameters, and by the effects given B, (3, n)."""
        found = np.empty((3, len(self)))
        for rows in self.blocks():
            means, variances, left = self._at(rows)
            mean = means @ self.weights
            variances += np.square(means - mean[:, None])
            found[:, rows] = mean, variances @ self.weights, left @ self.weights
        return found


def effects_at(posterior: Posterior, grouping: int, term: int, groups: Index) -> tuple[Array, Array]:
    """Return mean and variance of one effect of some groups at every node, (groups, G) each, on the data's scale."""
    effects, P = posterior.effects, posterior.location.shape[1]
    if isinstance(effects, DrawnEffects):
        means = effects.of(grouping, term)[:, groups].T
        return means, np.zeros_like(means)
    if effects is None:
        raise AssertionError  # for the type checker
    unit = effects.units[effects.layout.scales(grouping).start + term] / effects.y_scale
    means, variances, left = posterior.with_effects(
        lambda part: effects.effect(part, grouping, term, groups, P), len(groups)
    )
    return unit * means, unit**2 * (variances + left)


def drawn_effects(
    posterior: Posterior, grouping: int, term: int, coefficients: Array, nodes: Index, seed: int
) -> Array:
    """Return draws of one effect of every group, (size, J), beside those of B and `GroupedLine.drawn`."""
    effects = posterior.effects
    if isinstance(effects, DrawnEffects):
        return effects.of(grouping, term)[nodes]
    if effects is None:
        raise AssertionError  # for the type checker
    layout, size = effects.layout, len(nodes)
    count = layout.sizes[grouping]
    unit = effects.units[layout.scales(grouping).start + term] / effects.y_scale
    found = np.empty((size, count))
    for part in range(effects.n_parts):
        drawn = np.flatnonzero(effects.node[nodes] == part)
        if not len(drawn):
            continue
        given = effects.effect(part, grouping, term, np.arange(count), coefficients.shape[1])
        values = given.constant[:, None] + given.design @ coefficients[drawn].T
        for place, left in enumerate(given.open):
            standard = standard_normals(left.group, left.loadings.shape[1], len(drawn), (seed, part, place))
            values += effects.noise[nodes[drawn]] * np.einsum("nq,nqd->nd", left.loadings, standard)
        found[drawn] = unit * values.T
    return found


def standard_normals(group: Index | None, width: int, size: int, seed: tuple[int, int, int]) -> Array:
    """Return standard normal numbers that rows of a group share, (n or 1, width, draws), the same in all blocks."""
    if group is None:
        rng = np.random.default_rng(seed)
        return rng.standard_normal((1, width, size))
    distinct, place = np.unique(group, return_inverse=True)
    found = np.empty((len(distinct), width, size))
    for own, out in zip(distinct.tolist(), found, strict=True):
        out[:] = np.random.default_rng((*seed, own)).standard_normal((width, size))
    return found[place]
