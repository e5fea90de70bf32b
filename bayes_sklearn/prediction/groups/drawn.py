"""The linear predictor at new rows of groups, where a sampler has drawn the effects of those that were fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...inference.groups.drawn import DrawnEffects, DrawnLevels
from ...inference.posterior import Posterior, row_blocks
from ...inference.structural.true_features import Line, TrueFeatures
from ...inference.structural.true_mixture import TrueMixture
from ...likelihoods.links import Link
from ...measurements.compressed import Rows
from ..line import LinearPredictor
from ..mixtures.parts import Lines
from .line import GroupedLine, standard_normals

__all__ = ["DrawnLine", "grouped_line"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


class DrawnLine(GroupedLine):
    """At every draw the linear predictor of rows in groups: a number, or, of new groups, normal."""

    @cached_property
    def is_spread(self) -> bool:
        return self.has_feature_error or any(
            True for _ in self._drawn.new(np.zeros((len(self), self._p)), self._members)
        )

    def within(self, variance: Array) -> dict[str, Array]:
        if not self.has_feature_error:
            return {"groups": variance}
        groups, feature_error = self._moments[2:]
        share = groups / np.maximum(groups + feature_error, np.finfo(np.float64).tiny)
        return {"groups": share * variance, "feature_error": (1.0 - share) * variance}

    @property
    def width(self) -> int:
        own = 2 * len(self.weights)
        return own if self.by_row is None else max(self._numbers(self._true), 8 * len(self.weights))

    def at(self, rows: slice | NDArray[np.intp]) -> Lines:
        own, (added, left) = LinearPredictor.at(self, rows), self._beside(rows)
        if not self.is_spread:
            return own._replace(means=own.means + added)
        added, left = (np.repeat(part, own.each, axis=1) for part in (added, left))
        return own._replace(means=own.means + added, variances=own.variances + left)

    def mean(self) -> Array:
        if self.by_row is not None:
            return self._moments[0]
        mean, effects = np.empty(len(self)), self._drawn.averaged(self.weights)
        for rows in row_blocks(len(self), 4 * (self._p + 1)):
            x, members = self._features(rows), self._members[rows]
            mean[rows] = self._design(rows) @ self.posterior.mean + effects.line(x, members)[:, 0]
        return mean

    def moments(self, noise: Array | float = 0.0, *, root: bool = False) -> tuple[Array, Array]:
        mean, *parts = self._moments
        variance = np.sum(parts, axis=0) + noise
        return mean, np.sqrt(variance) if root else variance

    def variance_parts(self) -> dict[str, Array]:
        _, parameters, groups, feature_error = self._moments
        parts = {"parameters": parameters.copy(), "groups": groups.copy()}
        return parts | {"feature_error": feature_error.copy()} if self.has_feature_error else parts

    def shared(self, link: Link) -> Array | float:
        """Return covariances of rows' means at the nodes, (n, n), by effects of new groups that both rows are of.

        Of functions of two normal numbers by their Hermite series, in powers of the correlation (Mehler's formula).
        """
        n, weights, members = len(self), self.weights, self._members
        covariance, kinds = np.zeros((n, n)), list(self._drawn.new(self._features(slice(None)), members))
        new = np.unique(np.concatenate([rows for _, rows, _ in kinds])) if kinds else np.zeros(0, np.intp)
        if not len(new):
            return 0.0
        series, sds = self._series(link, new)
        for i, row in enumerate(new.tolist()):
            across = np.zeros((len(new), len(weights)))
            for k, rows, loadings in kinds:
                own = np.flatnonzero((members[rows, k] == members[row, k]) & (row in rows))
                if len(own):
                    squares = np.square(self._drawn.deviations[:, self._drawn.layout.scales(k)])
                    products = loadings[own] * loadings[np.searchsorted(rows, row)]
                    across[np.searchsorted(new, rows[own])] += products @ squares.T
            others = np.flatnonzero(across.any(axis=1))
            correlation = across[others] / (sds[others] * sds[i])
            total, power = np.zeros_like(correlation), np.ones_like(correlation)
            for order, part in enumerate(series, start=1):
                power *= correlation / order
                total += power * part[others] * part[i]
            covariance[row, new[others]] = total @ weights
        return covariance

    def _series(self, link: Link, rows: Index) -> tuple[list[Array], Array]:
        """Return Hermite coefficients of means, from the first order, (rows, G) each, and deviations of lines."""
        points, masses = np.polynomial.hermite_e.hermegauss(15)
        means, of_features, left = (part[rows] for part in self._at(slice(None)))
        sds = np.sqrt(left + of_features)
        orders = np.polynomial.hermite_e.hermevander(points, 8)[:, 1:] * (masses / masses.sum())[:, None]
        series = [np.zeros_like(means) for _ in range(orders.shape[1])]
        for point, of_point in zip(points, orders, strict=True):
            value = link.mean(means + point * sds)
            for part, factor in zip(series, of_point, strict=True):
                part += factor * value
        return series, sds

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

    def _line(self, true: TrueFeatures | TrueMixture, rows: slice | NDArray[np.intp]) -> Line:
        return self._line_at(true, self._drawn.levels, rows)

    def _line_at(
        self, true: TrueFeatures | TrueMixture, levels: DrawnLevels | None, rows: slice | NDArray[np.intp]
    ) -> Line:
        """Return the line of some rows whose features have errors, beside effects, at nodes that have these levels.

        Of groups that were fitted these are known, and by new ones true features differ the more.
        """
        X, members, sizes = self._features(rows), self._members[rows], np.array(self._drawn.layout.sizes)
        if levels is None or self.by_row is None or not isinstance(true, TrueFeatures):
            raise AssertionError  # for the type checker
        error, q = self.by_row[rows], levels.deviations.shape[2]
        parts = np.empty((3, len(X), len(levels.deviations)))
        kinds, kind = np.unique(members >= sizes, axis=0, return_inverse=True)
        for i, new in enumerate(kinds):
            here = np.flatnonzero(kind.ravel() == i)
            more = np.square(levels.deviations[:, new]).sum(axis=1)
            wider = replace(true, variance=true.variance + more[:, :, None] * np.eye(q))
            found = wider.line(X[here], error[here], levels.at(members[here]))
            parts[:, here] = found.mean, found.parameters, found.feature_error
        return Line(*parts)

    def measured(self, nodes: Index, seed: int) -> Callable[[TrueFeatures | TrueMixture, slice], Line]:
        """Return what gives the line of some rows, effects in it, of true features at draws of these nodes."""
        levels, effects = self._drawn.take(nodes).levels, self.drawn_effects(nodes, seed)

        def line(true: TrueFeatures | TrueMixture, rows: slice) -> Line:
            found = self._line_at(true, levels, rows)
            return found._replace(mean=found.mean + effects(rows))

        return line

    def draws(
        self, size: int, rng: np.random.Generator
    ) -> tuple[Index, Iterator[slice], Callable[[slice], tuple[Array, Array | float]]]:
        if self.by_row is not None:
            nodes = rng.choice(len(self.weights), size=size, p=self.weights)
            drawn, measured = self._true.drawn(nodes, rng), self.measured(nodes, int(rng.integers(2**31)))
            blocks = row_blocks(len(self), self._numbers(drawn))
            return nodes, blocks, lambda rows: measured(drawn, rows).drawn(rng)
        nodes, _, own = LinearPredictor.draws(self, size, rng)
        effects = self.drawn_effects(nodes, int(rng.integers(2**31)))

        def line(rows: slice) -> tuple[Array, Array | float]:
            eta, left = own(rows)
            return eta + effects(rows), left

        return nodes, row_blocks(len(self), size + self.width), line

    def drawn(self, coefficients: Array, nodes: Index, seed: int) -> Callable[[slice], Array]:
        effects = self.drawn_effects(nodes, seed)
        return lambda rows: self._design(rows) @ coefficients.T + effects(rows)

    def drawn_effects(self, nodes: Index, seed: int) -> Callable[[slice], Array]:
        """Return what gives all that effects add to the lines of some rows, (rows, size), at draws of these nodes."""
        effects, deviations = self._drawn.take(nodes), self._drawn.deviations[nodes]

        def added(rows: slice) -> Array:
            x, members = self._features(rows), self._members[rows]
            found = effects.line(x, members)
            for k, new, loadings in effects.new(x, members):
                own = effects.layout.scales(k)
                standard = standard_normals(members[new, k], loadings.shape[1], len(nodes), (seed, 0, k))
                found[new] += np.einsum("nr,dr,nrd->nd", loadings, deviations[:, own], standard)
            return found

        return added

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

    def _at(self, rows: slice | NDArray[np.intp]) -> tuple[Array, Array, Array]:
        """Return means at every node, variances by the features' errors, and by new groups, (rows, G) each."""
        added, left = self._beside(rows)
        if self.by_row is not None:
            line = self._line(self._true, rows)
            return line.mean + added, line.feature_error, left
        means = self.posterior.linear(self._design(rows))[0] + added
        return means, np.zeros_like(means), left

    def _beside(self, rows: slice | NDArray[np.intp]) -> tuple[Array, Array]:
        """Return what effects of groups that were fitted add at every node, and variances by new ones."""
        x, effects, members = self._features(rows), self._drawn, self._members[rows]
        added = effects.line(x, members)
        left = np.zeros_like(added)
        for k, new, loadings in effects.new(x, members):
            squares = np.square(effects.deviations[:, effects.layout.scales(k)])
            left[new] += np.square(loadings) @ squares.T
        return added, left

    @cached_property
    def _moments(self) -> Array:
        """Mean, and variances by the parameters, by new groups, and by the features' errors, (4, n)."""
        found = np.empty((4, len(self)))
        for rows in self.blocks():
            means, of_features, left = self._at(rows)
            mean = means @ self.weights
            parameters = np.square(means - mean[:, None]) @ self.weights
            found[:, rows] = mean, parameters, left @ self.weights, of_features @ self.weights
        return found


def grouped_line(
    posterior: Posterior,
    X: NDArray[np.floating],
    features: Index | None,
    members: Index,
    error: Array | None = None,
) -> GroupedLine:
    """Return the linear predictor of n rows in groups; arguments as for `LinearPredictor.of`."""
    if not isinstance(posterior.effects, DrawnEffects):
        return GroupedLine(posterior, Rows(X, np.empty(0), features), members=members)
    rows = Rows(X, np.empty(0), features)
    if error is None or not error.any():
        return DrawnLine(posterior, rows, members=members)
    by_row = np.broadcast_to(error, (len(X), *error.shape[-2:]))
    return DrawnLine(posterior, rows, by_row=by_row, members=members)
