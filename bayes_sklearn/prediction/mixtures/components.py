"""What stands for a row's thousands of nodes: few components of a likelihood, for densities all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    on_grid,
    smoothed,
    spread_out,
    strata,
)
from .normal import NormalMixture
from .parts import Components, Group, Lines, NormalComponents, NormalNodes

__all__ = ["Chosen", "Nodes", "of_groups"]

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


class Chosen(NamedTuple):
    """Components of some rows."""

    rows: NDArray[np.intp]
    few: Components | NormalComponents | NormalMixture
    """For probabilities; a mixture: of the linear predictor itself, by which those of counts are found."""
    many: Callable[[], Components | NormalNodes]
    """For densities, which hardly ever are wanted with probabilities."""
    noise: Array
    """(n,) a typical width of the noise on the scale of the linear predictor."""
    smooth: bool
    """Whether the components lie closer together than the noise is wide."""


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
        rules = (((7, 0.35), (12, 0.7)), ((5, 0.7),), ((3, 0.35), (7, 0.7)))
        center, sd = lines.moments()
        noise = self._noise(center, sd, scales, trials)
        every = np.arange(len(center))
        if not self.few:
            own = self._all(lines, scales)
            yield Chosen(every, own, lambda: own, noise, False)
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
        if self._has_steps and (lines.are_spread or self.likelihood.per == "exposure"):
            link, highest = self.likelihood.link, trials[:, 0]
            if np.isinf(link.upper):
                highest = highest * link.mean(center + 3.0 * sd)
            size[(size > 0) & (highest > _EVERY)] = _MOST_POINTS + 1
        numbers = 2**20  # in an array of components, at most
        for kind in np.unique(2 * size + close):
            alike = np.flatnonzero(2 * size + close == kind)
            points, near = int(size[alike[0]]), bool(close[alike[0]])
            many = max(points, 0) * len(self.wide if points > _MANY else self.few)
            if points > 0 and lines.are_spread and self._noise_parts:
                many = numbers // 16
            elif points > _MOST_POINTS:
                many = 0
            for rows in np.array_split(alike, max(-(-len(alike) * many // numbers), 1)):
                here = lines.take(rows), taken(scales, rows)
                yield Chosen(rows, *self._chosen(*here, points, close=near), noise[rows], True)

    def _chosen(
        self, lines: Lines, scales: Array | float, points: int, *, close: bool
    ) -> tuple[Components | NormalComponents | NormalMixture, Callable[[], Components | NormalNodes]]:
        """Return components of rows of so many points, for probabilities and for densities."""
        if points > _MOST_POINTS:
            if lines.are_spread:
                # Logs of rates may have tails far beyond the rest.
                size = 257 if np.isinf(self.likelihood.link.upper) else _GAUSSIANS[-1]
                masses, centres, sds = gaussians(lines.means, lines.variances, lines.weights, size)
            else:
                masses, centres, sds = smoothed(lines.means, lines.weights, _GAUSSIANS[0])
            return NormalMixture(masses, centres, sds), lambda: Components(masses, centres, {})
        if points > 0 and lines.are_spread and self._noise_parts:
            normal = self._normal(lines, scales)
            return normal, lambda: self._dense(lines, scales, normal.lines, dense=False)
        found = (
            self._few(lines, scales, -points)
            if points < 0
            else self._even(lines, scales, points, close=close)
        )
        dense = points < 0 if lines.are_spread else close
        return found, lambda: self._dense(lines, scales, found, dense=dense)

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
        scale = of_groups(groups, scales)
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
        squares = np.square(np.broadcast_to(of_groups(groups, scales), (len(lines.means), len(groups))))
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
        weights, means, sds = (
            [np.concatenate([x.reshape(len(x), -1) for x in part], axis=1)] for part in (weights, means, sds)
        )
        return NormalComponents(weights[0], means[0], sds[0], self._joined(groups, scales, own))

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
        if lines.are_spread:
            found = [
                gauss_points_of_gaussians(own.means, own.variances, own.weights, size)
                for own in map(lines.of, self.few)
            ]
            return self._joined(self.few, scales, found)
        if lines.weights.ndim > 1 or len(self.few) == 1:
            found = [gauss_points(own.means, own.weights, size) for own in map(lines.of, self.few)]
            return self._joined(self.few, scales, found)
        # All groups at once, their nodes side by side.
        nodes, weights = self._side_by_side
        shape = len(lines.means), len(nodes)
        values = lines.means.take(nodes.ravel(), axis=1).reshape(-1, nodes.shape[1])
        masses, points = gauss_points(values, np.tile(weights, (shape[0], 1)), size)
        masses, points = masses.reshape(*shape, -1), points.reshape(*shape, -1)
        return self._joined(self.few, scales, [(masses[:, i], points[:, i]) for i in range(shape[1])])

    @cached_property
    def _side_by_side(self) -> tuple[NDArray[np.intp], Array]:
        """Nodes of groups, (K, most), and their weights there, none of nodes that fill up the shorter ones."""
        most = max(len(group.weights) for group in self.few)
        nodes, weights = np.empty((len(self.few), most), dtype=np.intp), np.zeros((len(self.few), most))
        for i, group in enumerate(self.few):
            own = np.arange(len(self.weights))[group.nodes]
            nodes[i], nodes[i, : len(own)], weights[i, : len(own)] = own[0], own, group.weights
        return nodes, weights

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
        scales = of_groups(groups, scales)
        pairs = zip(groups, found, strict=True)
        return Components(
            np.concatenate([group.mass * weights for group, (weights, _) in pairs], axis=1),
            np.concatenate([eta for _, eta in found], axis=1),
            {name: np.repeat([group.values[name] for group in groups], sizes) for name in self.values},
            np.repeat(scales, sizes, axis=1) if isinstance(scales, np.ndarray) else scales,
        )


def of_groups(groups: list[Group], scales: Array | float) -> Array | float:
    """Return mean scales of groups, (n, K)."""
    if not isinstance(scales, np.ndarray):
        return scales
    return np.column_stack([group.columns(scales) @ group.weights for group in groups])
