"""What stands for a row's thousands of nodes: few components of a likelihood, for densities all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.noise import KNOWN
from ...measurements.compressed import taken
from .few_points import (
    as_points,
    bandwidth,
    gauss_points,
    gauss_points_of_gaussians,
    gaussians,
    moments,
    on_grid,
    smoothed,
    spread_out,
    strata,
)
from .normal import NormalMixture, average

__all__ = ["Chosen", "Components", "Lines", "Nodes", "NormalComponents", "NormalNodes"]

Array = NDArray[np.float64]

# By how many quantities nodes differ in their noise: groups of nodes alike in them; points of each, and the linear
# predictor's standard deviation over the noise's up to which so many do.
_GROUPS = (1, 8, 43)

# So many points stand for themselves.
_FEW = 129

# Where the linear predictor is spread more widely: the Gaussians that stand for each group; points, by their standard
# deviations in one of the noise, and at most; beyond so many of them there are fewer groups.
_GAUSSIANS, _PER_NOISE, _MOST_POINTS, _MANY, _FEWER_GROUPS = (129, 65, 33), 28.0, 4096, 256, (1, 4, 12)

# Up to so many trials counts are looked at one by one.
_EVERY = 384

# Levels at which the noise may be narrowest, in standard deviations of the linear predictor.
_LEVELS = (-2.0, -1.0, 0.0, 1.0, 2.0)


class Lines(NamedTuple):
    """Linear predictors of some rows: at every node a normal distribution, or a mixture of `count` of them."""

    weights: Array
    """(G,), or of mixtures (n, G K), the components of each node side by side"""
    means: Array
    """(n, G K)"""
    variances: Array
    """(n, G K), or (1, 1) zero"""
    count: int = 1
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
            self.count,
        )

    def of(self, group: Group) -> Lines:
        """Return a group's nodes alone."""
        nodes = group.nodes
        if self.count > 1 and not isinstance(nodes, slice):
            nodes = (nodes[:, None] * self.count + np.arange(self.count)).ravel()
        if isinstance(nodes, slice):
            return self._replace(weights=self.weights / group.mass)
        # Rows stay together in memory, which indexing alone would not see to.
        variances = self.variances.take(nodes, axis=1) if self.are_spread else self.variances
        weights = self.weights.take(nodes, axis=-1) / group.mass
        return Lines(weights, self.means.take(nodes, axis=1), variances, self.count)

    def moments(self) -> tuple[Array, Array]:
        """Return mean and standard deviation, (n,) each."""
        center, sd = moments(self.means, self.weights)
        if self.are_spread:
            sd = np.sqrt(np.square(sd) + average(self.variances, self.weights))
        return center, sd

    def of_nodes(self, values: dict[str, Array], scales: Array | float) -> tuple[dict[str, Array], Array | float]:
        """Return parameters, (G,) each, and scales, (n, G), of the nodes' components."""
        if self.count == 1:
            return values, scales
        if isinstance(scales, np.ndarray):
            scales = np.repeat(scales, self.count, axis=1)
        return {name: np.repeat(value, self.count) for name, value in values.items()}, scales


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
        """Return a target a row, (n,), as likelihoods see it."""
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


class Chosen(NamedTuple):
    """Components of some rows."""

    rows: NDArray[np.intp]
    few: Components | NormalComponents | NormalMixture
    """For probabilities; a mixture: of the linear predictor itself, by which those of counts are found."""
    many: Components | NormalNodes
    """For densities."""
    noise: Array
    """(n,) a typical width of the noise on the scale of the linear predictor."""
    smooth: bool
    """Whether the components lie closer together than the noise is wide."""


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


@dataclass(frozen=True, eq=False)
class Nodes:
    """The nodes of a posterior, those that are alike in their noise in groups; it is the same at every row."""

    likelihood: Likelihood
    weights: Array
    """(G,)"""
    values: dict[str, Array]
    """(G,) the likelihood's parameters."""
    few: list[Group]
    """None where the nodes stand for themselves."""
    wide: list[Group]
    """As `few`, but less of them."""
    differ: int
    """By how many quantities nodes differ in their noise."""

    @classmethod
    def of(
        cls,
        likelihood: Likelihood,
        weights: Array,
        values: dict[str, Array],
        terms: list[Array],
        *,
        is_spread: bool,
    ) -> Nodes:
        """Group nodes.

        Parameters
        ----------
        likelihood : Likelihood
        weights : ndarray of shape (G,)
        values : dict of str to ndarray of shape (G,)
        terms : list of ndarray of shape (G,)
            Of the variance of noise that is added: what is multiplied, and what is added to it if there is that.
        is_spread : bool
            Whether the linear predictor is spread about its mean at the nodes.
        """
        used = weights > 0.0
        scales = [term for term in terms if np.ptp(term[used]) > 0.0] if likelihood.has_noise_scale else []
        differ = min(len(scales) + any(bool(np.ptp(value[used]) > 0.0) for value in values.values()), 2)
        every = [Group.of(slice(None) if used.all() else np.flatnonzero(used), weights, values)]
        if not is_spread and used.sum() <= _FEW:
            return cls(likelihood, weights, values, [], every, differ)
        if not differ:
            return cls(likelihood, weights, values, every, every, differ)
        # A row to which all parts of the noise give alike.
        typical = np.sqrt(np.sum([term / (weights @ term) for term in terms if term.any()], axis=0))
        data = Observations(np.zeros(1), typical, KNOWN, 100.0)
        first = likelihood.information(values, data, likelihood.link.mean(np.zeros(1))) + np.zeros_like(
            weights
        )
        second = next(iter(values.values()), terms[0])
        few, wide = (
            [Group.of(nodes, weights, values) for nodes in strata(weights, first, second, sizes[differ])]
            for sizes in (_GROUPS, _FEWER_GROUPS)
        )
        return cls(likelihood, weights, values, few, wide, differ)

    def components(self, lines: Lines, scales: Array | float, trials: Array) -> Iterator[Chosen]:
        """Yield components of some rows.

        Parameters
        ----------
        lines : Lines
            Of n rows.
        scales : ndarray of shape (n, G), optional
            Of added noise.
        trials : ndarray of shape (n, 1)
        """
        # Numbers in an array of components, at most.
        numbers = 2**20
        rules = (((12, 0.7),), ((5, 0.7),), ((3, 0.35), (7, 0.7)))
        center, sd = lines.moments()
        noise = self._noise(center, sd, scales, trials)
        every = np.arange(len(center))
        if not self.few:
            own = self._all(lines, scales)
            yield Chosen(every, own, own, noise, False)
            return
        ratio = sd / noise
        # As many points for rows that are about alike, whatever others there are.
        # Of smooth lines they lie as far apart as the product of line and noise is narrow, a bell times a step.
        size = 12.0 * np.hypot(1.0, ratio) if lines.are_spread else np.maximum(_PER_NOISE * ratio, 1.0)
        size = np.exp2(0.5 * np.ceil(2.0 * np.log2(size)))
        size = np.minimum(np.ceil(size), _MOST_POINTS).astype(np.intp)
        for points, most in reversed(rules[self.differ]):
            size[ratio <= most] = -points
        close = ratio * bandwidth(self.weights) <= 1.0
        stepped = (size > 0) & (trials[:, 0] > _EVERY) if lines.are_spread and self._has_steps else size < -99
        size[stepped] = _MOST_POINTS + 1
        for kind in np.unique(2 * size + close):
            alike = np.flatnonzero(2 * size + close == kind)
            points, near = int(size[alike[0]]), bool(close[alike[0]])
            blocks = -(
                -len(alike) * max(points, 0) * len(self.wide if points > _MANY else self.few) // numbers
            )
            for rows in np.array_split(alike, max(blocks, 1)):
                here = lines.take(rows), taken(scales, rows)
                if points > 0 and lines.are_spread and self._noise_parts:
                    for some in np.array_split(np.arange(len(rows)), -(-len(rows) // 16)):
                        own = here[0].take(some), taken(here[1], some)
                        normal = self._normal(*own)
                        dense = self._dense(*own, normal.lines, dense=False)
                        yield Chosen(rows[some], normal, dense, noise[rows[some]], True)
                    continue
                if points > _MOST_POINTS:
                    own = here[0]
                    masses, centres, sds = gaussians(own.means, own.variances, own.weights, _GAUSSIANS[-1])
                    mixture = NormalMixture(masses, centres, sds)
                    yield Chosen(rows, mixture, Components(masses, centres, {}), noise[rows], True)
                    continue
                found = self._even(*here, points, close=near) if points > 0 else self._few(*here, -points)
                dense = points < 0 if lines.are_spread else near
                yield Chosen(rows, found, self._dense(*here, found, dense=dense), noise[rows], True)

    def _dense(
        self, lines: Lines, scales: Array | float, found: Components, *, dense: bool
    ) -> Components | NormalNodes:
        """Return components for densities: all nodes where they lie close, or where noise is a mixture of normals."""
        points_of_logs = 15
        if dense and lines.are_spread and not self.likelihood.has_noise_scale:
            return self._few(lines, scales, points_of_logs)
        if dense:
            return self._all(lines, scales)
        if lines.are_spread and self.likelihood.has_noise_scale:
            values, scales = lines.of_nodes(self.values, scales)
            nodes = NormalNodes(self.likelihood, lines, values, np.square(scales))
            if next(nodes.parts(np.zeros_like(lines.means)), None) is not None:
                return nodes
        return found

    def _noise(self, center: Array, sd: Array, scales: Array | float, trials: Array) -> Array:
        """Return about how narrow the noise is on the scale of the linear predictor, (n,)."""
        least_information = 1e-3
        groups = self.wide
        masses = np.array([group.mass for group in groups])
        values = {name: np.array([group.values[name] for group in groups]) for name in self.values}
        scale = _of_groups(groups, scales)
        data = Observations(np.zeros((len(center), 1)), scale, KNOWN, trials)
        narrowest = np.zeros(len(center))
        for level in _LEVELS:
            mean = self.likelihood.link.mean(center + level * sd)[:, None]
            information = self.likelihood.information(values, data, mean) + np.zeros(
                (len(center), len(masses))
            )
            narrowest = np.maximum(narrowest, information @ masses)
        # Of means that hardly change there is no telling; a link's own scale is of the order of one.
        least = 0.0 if self.likelihood.link.is_identity else least_information
        return 1.0 / np.sqrt(np.maximum(narrowest, least))

    @cached_property
    def _has_steps(self) -> bool:
        """Whether there is a rule for where counts are exceeded."""
        one = np.ones(1)
        return self.likelihood.counted and self.likelihood.exceeding(0.0 * one, one, one) is not None

    @cached_property
    def _noise_parts(self) -> tuple[Array, Array] | None:
        """Weights and variances, (groups, T) each, of the normal distributions that noise of scale one is made of."""
        least = 1e-10
        values = {name: np.array([[group.values[name]] for group in self.wide]) for name in self.values}
        near = np.zeros((len(self.wide), 1))
        # Every other point of a rule for densities: probabilities are smoother.
        found = list(self.likelihood.normal_parts(values, near, near))[::2]
        if not found or not self.likelihood.has_noise_scale:
            return None
        weights = np.exp(np.column_stack([log + near for log, _ in found]))
        used = weights.max(axis=0) > least
        weights = weights[:, used] / weights[:, used].sum(axis=1, keepdims=True)
        return weights, np.column_stack([variance + near for _, variance in found])[:, used]

    def _normal(self, lines: Lines, scales: Array | float) -> NormalComponents:
        """Return the normal distributions of groups of nodes, each with each part of its noise."""
        if self._noise_parts is None:  # for the type checker
            raise AssertionError
        size, groups = _GAUSSIANS[-1], self.wide
        squares = np.square(np.broadcast_to(_of_groups(groups, scales), (len(lines.means), len(groups))))
        weights, means, sds, own = [], [], [], []
        for i, (group, shares, variances) in enumerate(zip(groups, *self._noise_parts, strict=True)):
            at_nodes, of_nodes, within, _ = lines.of(group)
            masses, centres, kernel = gaussians(of_nodes, within, at_nodes, size)
            own.append((masses, centres))
            noise = squares[:, i, None, None] * variances
            width = np.sqrt(np.square(kernel)[:, :, None] + noise)
            shape = (*centres.shape, len(shares))
            weights.append(group.mass * masses[:, :, None] * shares)
            means.append(np.broadcast_to(centres[:, :, None], shape))
            sds.append(np.broadcast_to(width, shape))
        joined = (np.concatenate([x.reshape(len(x), -1) for x in part], axis=1) for part in (weights, means, sds))
        return NormalComponents(*joined, self._joined(groups, scales, own))

    def _all(self, lines: Lines, scales: Array | float) -> Components:
        """Return the nodes themselves, each as points where it is spread."""
        weights, means, variances, _ = lines
        values, scales = lines.of_nodes(self.values, scales)
        if not lines.are_spread:
            return Components(np.broadcast_to(weights, means.shape), means, values, scales)
        points, weights, nodes = spread_out(means, np.sqrt(variances), weights)
        values = {name: value[nodes] for name, value in values.items()}
        scales = scales[:, nodes] if isinstance(scales, np.ndarray) else scales
        return Components(np.broadcast_to(weights, points.shape), points, values, scales)

    def _few(self, lines: Lines, scales: Array | float, size: int) -> Components:
        """Return Gauss rules of groups."""

        def points(group: Group) -> tuple[Array, Array]:
            weights, means, variances, _ = lines.of(group)
            if lines.are_spread:
                return gauss_points_of_gaussians(means, variances, weights, size)
            return gauss_points(means, weights, size)

        return self._joined(self.few, scales, [points(group) for group in self.few])

    def _even(self, lines: Lines, scales: Array | float, n_points: int, *, close: bool) -> Components:
        """Return even points of groups, smoothed where nodes are not close together beside their noise."""
        size = _GAUSSIANS[self.differ]

        def points(group: Group) -> tuple[Array, Array]:
            weights, means, variances, _ = lines.of(group)
            if lines.are_spread:
                return as_points(*gaussians(means, variances, weights, size), n_points)
            if close:
                return on_grid(means, weights, n_points)
            return as_points(*smoothed(means, weights, size), n_points)

        groups = self.wide if n_points > _MANY else self.few
        return self._joined(groups, scales, [points(group) for group in groups])

    def _joined(
        self, groups: list[Group], scales: Array | float, found: list[tuple[Array, Array]]
    ) -> Components:
        """Return components of groups that are typical of each, of their weights and points."""
        sizes = [eta.shape[1] for _, eta in found]
        scales = _of_groups(groups, scales)
        pairs = zip(groups, found, strict=True)
        return Components(
            np.concatenate([group.mass * weights for group, (weights, _) in pairs], axis=1),
            np.concatenate([eta for _, eta in found], axis=1),
            {name: np.repeat([group.values[name] for group in groups], sizes) for name in self.values},
            np.repeat(scales, sizes, axis=1) if isinstance(scales, np.ndarray) else scales,
        )


def _of_groups(groups: list[Group], scales: Array | float) -> Array | float:
    """Return mean scales of groups, (n, K)."""
    if not isinstance(scales, np.ndarray):
        return scales
    return np.column_stack([group.columns(scales) @ group.weights for group in groups])
