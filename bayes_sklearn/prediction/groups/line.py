"""The linear predictor at new rows of groups, of those that were fitted and of new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...inference.groups.effects import Conditional, Effects
from ...inference.posterior import Posterior, row_blocks
from ...measurements.compressed import Rows
from ..line import LinearPredictor
from ..mixtures.parts import Lines

__all__ = ["GroupedLine"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class GroupedLine(LinearPredictor):
    """At every node of a posterior, the linear predictor of rows in groups: normal."""

    members: Index | None = None
    """(n, K) the rows' groups."""

    @classmethod
    def at_rows(
        cls, posterior: Posterior, X: NDArray[np.floating], features: Index | None, members: Index
    ) -> GroupedLine:
        """Return it for n rows; arguments as for `LinearPredictor.of`."""
        return cls(posterior, Rows(X, np.empty(0), features), members=members)

    @property
    def is_spread(self) -> bool:  # type: ignore[override]
        return True

    @property
    def width(self) -> int:
        return 8 * len(self.weights) + 8 * self.posterior.location.shape[1]

    def blocks(self) -> Iterator[slice]:
        return row_blocks(len(self), self.width)

    def at(self, rows: slice) -> Lines:
        means, variances, left = self._at(rows)
        variances += left
        return Lines(self.weights, means, variances)

    def mean(self) -> Array:
        return self.moments()[0]

    def moments(self, noise: Array | float = 0.0, *, root: bool = False) -> tuple[Array, Array]:
        mean, parameters, groups = self._moments()
        variance = parameters + groups + noise
        return mean, np.sqrt(variance) if root else variance

    def variance_parts(self) -> dict[str, Array]:
        _, parameters, groups = self._moments()
        return {"parameters": parameters, "groups": groups}

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
        posterior, effects = self.posterior, self._effects
        coefficients, nodes = posterior.draw(size, rng)
        noise, seed = effects.noise[nodes], int(rng.integers(2**63))

        def line(rows: slice) -> tuple[Array, Array | float]:
            found = np.empty((rows.stop - rows.start, size))
            for part, of_part, given in self._parts(rows):
                drawn = np.flatnonzero(np.isin(nodes, of_part))
                if not len(drawn):
                    continue
                found[:, drawn] = given.constant[:, None] + given.design @ coefficients[drawn].T
                for place, left in enumerate(given.open):
                    standard = _standard(left.group, left.loadings.shape[1], drawn, size, (seed, part, place))
                    found[:, drawn] += noise[drawn] * np.einsum("nq,nqd->nd", left.loadings, standard)
            return found, 0.0

        return nodes, row_blocks(len(self), size + self.width), line

    @property
    def _effects(self) -> Effects:
        if self.posterior.effects is None:
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

    def _at(self, rows: slice) -> tuple[Array, Array, Array]:
        """Return means at every node, variances by B, and those of what is left open, (rows, G) each."""
        posterior, effects = self.posterior, self._effects
        shape = len(range(*rows.indices(len(self)))), len(self.weights)
        means, variances, left = np.empty(shape), np.empty(shape), np.empty(shape)
        for _, nodes, given in self._parts(rows):
            means[:, nodes] = given.constant[:, None] + given.design @ posterior.location[nodes].T
            variances[:, nodes] = posterior.covariances.take(nodes).quadratic(given.design)
            left[:, nodes] = given.variance[:, None] * np.square(effects.noise[nodes])
        return means, variances, left

    def _moments(self) -> Array:
        """Mean, variance by the parameters, and by what is left open of effects, (3, n)."""
        found = np.empty((3, len(self)))
        for rows in self.blocks():
            means, variances, left = self._at(rows)
            mean = means @ self.weights
            variances += np.square(means - mean[:, None])
            found[:, rows] = mean, variances @ self.weights, left @ self.weights
        return found


def _standard(group: Index | None, width: int, drawn: Index, size: int, seed: tuple[int, int, int]) -> Array:
    """Return standard normal numbers that rows of a group share, (n or 1, width, draws), the same in all blocks."""
    if group is None:
        rng = np.random.default_rng(seed)
        return rng.standard_normal((1, width, len(drawn)))
    distinct, place = np.unique(group, return_inverse=True)
    found = np.empty((len(distinct), width, len(drawn)))
    for own, out in zip(distinct.tolist(), found, strict=True):
        out[:] = np.random.default_rng((*seed, own)).standard_normal((width, len(drawn)))
    return found[place]
