"""The linear predictor at new rows of groups, where a sampler has drawn the effects of those that were fitted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...inference.groups.drawn import DrawnEffects
from ...inference.posterior import Posterior
from .line import GroupedLine, standard_normals

__all__ = ["DrawnLine", "grouped_line"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


class DrawnLine(GroupedLine):
    """At every draw the linear predictor of rows in groups: a number, or, of new groups, normal."""

    @cached_property
    def is_spread(self) -> bool:
        return any(True for _ in self._drawn.new(np.zeros((len(self), self._p)), self._members))

    def covariance(self) -> Array:
        n, weights, x = len(self), self.weights, self._features(slice(None))
        lines = self._at(slice(None))[0]
        away, covariance = lines - (lines @ weights)[:, None], np.zeros((n, n))
        for k, rows, loadings in self._drawn.new(x, self._members):
            squares = weights @ np.square(self._drawn.deviations[:, self._drawn.layout.scales(k)])
            own = self._members[rows, k]
            shared = (loadings * squares) @ loadings.T * (own[:, None] == own)
            covariance[np.ix_(rows, rows)] += shared
        return np.asarray(covariance + (away * weights) @ away.T)

    def drawn(self, coefficients: Array, nodes: Index, seed: int) -> Callable[[slice], Array]:
        effects, deviations = self._drawn.take(nodes), self._drawn.deviations[nodes]

        def line(rows: slice) -> Array:
            x, members = self._features(rows), self._members[rows]
            found = self._design(rows) @ coefficients.T + effects.line(x, members)
            for k, new, loadings in effects.new(x, members):
                own = effects.layout.scales(k)
                standard = standard_normals(members[new, k], loadings.shape[1], len(nodes), (seed, 0, k))
                found[new] += np.einsum("nr,dr,nrd->nd", loadings, deviations[:, own], standard)
            return found

        return line

    @property
    def _drawn(self) -> DrawnEffects:
        if not isinstance(self.posterior.effects, DrawnEffects):
            raise AssertionError  # for the type checker
        return self.posterior.effects

    @property
    def _members(self) -> Index:
        if self.members is None:
            raise AssertionError  # for the type checker
        return self.members

    @property
    def _p(self) -> int:
        return self.posterior.location.shape[1] - 1

    def _at(self, rows: slice) -> tuple[Array, Array, Array]:
        x, effects, members = self._features(rows), self._drawn, self._members[rows]
        means = self.posterior.linear(self._design(rows))[0] + effects.line(x, members)
        left = np.zeros_like(means)
        for k, new, loadings in effects.new(x, members):
            squares = np.square(effects.deviations[:, effects.layout.scales(k)])
            left[new] += np.square(loadings) @ squares.T
        return means, np.zeros_like(means), left


def grouped_line(
    posterior: Posterior, X: NDArray[np.floating], features: Index | None, members: Index
) -> GroupedLine:
    """Return the linear predictor of n rows in groups; arguments as for `LinearPredictor.of`."""
    of = DrawnLine if isinstance(posterior.effects, DrawnEffects) else GroupedLine
    return of.at_rows(posterior, X, features, members)
