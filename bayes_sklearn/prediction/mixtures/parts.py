"""What the distributions of rows are made of: lines at nodes, components of a likelihood, normal components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.noise import KNOWN
from ...measurements.compressed import taken
from .few_points import average, moments

__all__ = ["Components", "Group", "Lines", "NormalComponents", "NormalNodes"]

Array = NDArray[np.float64]


class Group(NamedTuple):
    """Nodes that are alike in their noise."""

    nodes: NDArray[np.intp] | slice
    mass: float
    """Their weight."""
    weights: Array
    """Theirs, summing to one."""
    values: dict[str, float]
    """A typical one of each of the likelihood's parameters."""

    @classmethod
    def of(cls, nodes: NDArray[np.intp] | slice, weights: Array, values: dict[str, Array]) -> Group:
        mass = float(weights[nodes].sum())
        below = np.cumsum(weights[nodes])
        typical = np.searchsorted(below, 0.5 * below[-1])
        return cls(
            nodes,
            mass,
            weights[nodes] / mass,
            {name: float(value[nodes][typical]) for name, value in values.items()},
        )

    def columns(self, values: Array) -> Array:
        """Return the columns of values, (n, G), that are of these nodes."""
        return values if isinstance(self.nodes, slice) else values.take(self.nodes, axis=1)


class Lines(NamedTuple):
    """Linear predictors of some rows: at every node a normal distribution, or a mixture of `each`."""

    weights: Array
    """(G,), or of mixtures (n, G K), the components of each node side by side"""
    means: Array
    """(n, G K)"""
    variances: Array
    """(n, G K), or (1, 1) zero"""
    each: int = 1
    """K"""

    @property
    def are_spread(self) -> bool:
        return self.variances.shape == self.means.shape

    def take(self, rows: NDArray[np.intp]) -> Lines:
        """Return some rows."""
        return Lines(
            self.weights if self.weights.ndim == 1 else self.weights[rows],
            self.means[rows],
            self.variances[rows] if self.are_spread else self.variances,
            self.each,
        )

    def of(self, group: Group) -> Lines:
        """Return a group's nodes alone."""
        nodes = group.nodes
        if self.each > 1 and not isinstance(nodes, slice):
            nodes = (nodes[:, None] * self.each + np.arange(self.each)).ravel()
        if isinstance(nodes, slice):
            return self._replace(weights=self.weights / group.mass)
        # Rows stay together in memory, which indexing alone would not see to.
        variances = self.variances.take(nodes, axis=1) if self.are_spread else self.variances
        weights = self.weights.take(nodes, axis=-1) / group.mass
        return Lines(weights, self.means.take(nodes, axis=1), variances, self.each)

    def moments(self) -> tuple[Array, Array]:
        """Return mean and standard deviation, (n,) each."""
        center, sd = moments(self.means, self.weights)
        if self.are_spread:
            sd = np.sqrt(np.square(sd) + average(self.variances, self.weights))
        return center, sd

    def of_nodes(
        self, values: dict[str, Array], scales: Array | float
    ) -> tuple[dict[str, Array], Array | float]:
        """Return parameters, (G,) each, and scales, (n, G), of the nodes' components."""
        if self.each == 1:
            return values, scales
        if isinstance(scales, np.ndarray):
            scales = np.repeat(scales, self.each, axis=1)
        return {name: np.repeat(value, self.each) for name, value in values.items()}, scales


@dataclass(frozen=True, eq=False)
class Components:
    """Linear predictors and parameters whose distributions make up each row's."""

    weights: Array
    """(n, M)"""
    eta: Array
    """(n, M)"""
    values: dict[str, Array]
    """(M,) the likelihood's parameters."""
    scale: Array | float = 1.0
    """(n, M) scale of noise that is added to the linear predictor."""

    def take(self, rows: NDArray[np.intp] | slice) -> Components:
        """Return some rows."""
        return Components(self.weights[rows], self.eta[rows], self.values, taken(self.scale, rows))

    def observed(self, value: Array, trials: Array | float = 1.0) -> Observations:
        """Return one target per row, (n,), as likelihoods see it."""
        return Observations(value[:, None], self.scale, KNOWN, trials)


@dataclass(frozen=True, eq=False)
class NormalComponents:
    """Normal distributions that make up each row's, where noise is a mixture of such."""

    weights: Array
    """(n, M)"""
    means: Array
    """(n, M)"""
    sds: Array
    """(n, M)"""
    lines: Components
    """Of the linear predictor, without the noise."""

    def take(self, rows: NDArray[np.intp] | slice) -> NormalComponents:
        """Return some rows."""
        parts = self.weights[rows], self.means[rows], self.sds[rows]
        return NormalComponents(*parts, self.lines.take(rows))


@dataclass(frozen=True, eq=False)
class NormalNodes:
    """Nodes at which the linear predictor is normal, and noise a mixture of normal distributions."""

    likelihood: Likelihood
    lines: Lines
    values: dict[str, Array]
    """(G K,) the likelihood's parameters."""
    squared_scales: Array
    """(n, G K)"""

    def take(self, rows: NDArray[np.intp]) -> NormalNodes:
        """Return some rows."""
        return replace(self, lines=self.lines.take(rows), squared_scales=self.squared_scales[rows])

    def parts(self, square: Array) -> Iterator[tuple[Array, Array]]:
        """Yield log weights and variances, (G,) each, of noise of scale one, targets this far off, (n, G)."""
        noise = self.squared_scales
        far = [(square / (noise + more)).max(axis=0)[:, None] for more in (0.0, self.lines.variances)]
        values = {name: value[:, None] for name, value in self.values.items()}
        for log_weight, variance in self.likelihood.normal_parts(values, *far):
            yield log_weight.ravel(), variance.ravel()

    def log_density(self, value: Array) -> Array:
        """Return the log density of each row's target, (n,)."""
        squares = np.square(value[:, None] - self.lines.means)
        total = np.full(len(value), -np.inf)
        for log_weight, variance in self.parts(squares):
            variances = self.squared_scales * variance
            variances += self.lines.variances
            exponents = squares / variances
            exponents *= -0.5
            highest = exponents.max(axis=1)
            exponents -= highest[:, None]
            np.exp(exponents, out=exponents)
            exponents /= np.sqrt(variances, out=variances)
            with np.errstate(divide="ignore"):
                found = np.log(average(exponents, self.lines.weights * np.exp(log_weight))) + highest
            np.logaddexp(total, found, out=total)
        return np.asarray(total - 0.5 * np.log(2.0 * np.pi))
