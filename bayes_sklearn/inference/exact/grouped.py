"""Exact posteriors of rows in groups: over the standard deviations of the groups' effects, and the scatter's.

Each value of them weights the rows anew, and given it everything is Gaussian. One and two are integrated over on
grids, more by importance sampling. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...priors.base import ScalePrior
from ..given_scale import ConditionalPrior
from ..groups.effects import AtScales, Effects
from ..groups.rows import GroupedRows
from ..numerics.importance_sampling import Component, Sample, find_mode, sample
from ..problem import Problem
from .noise_integrals import LOWEST, scatter_at, scatter_coordinate
from .scatter_integrals import few, lost_scatter, wide_density
from .weightings import Found, Solved, Weighting, masses_of, solve

__all__ = ["Integrated", "Points", "integrated", "points"]

Array = NDArray[np.float64]

# So many scales are integrated over on a grid, more by importance sampling.
MOST_ON_GRID = 2


class Integrated(NamedTuple):
    """The posterior over the scales."""

    found: Found
    scales: Array
    """(T, D) of each weighting, by the noise scale, or, where that is one, themselves: the scatter's first."""
    totals: Array
    """(T, geometries) log integrals."""
    masses: Mapping[str, tuple[Array, Array]]
    """As `Posterior.scale_masses`."""
    effects: Effects
    doubts: tuple[str, ...] = ()
    """Why the points are not to be trusted; empty: they are."""


class AtPoints(NamedTuple):
    """Rows at some scales."""

    u: Array
    """(M, D) coordinates."""
    weightings: list[Weighting]
    rest: list[Array]
    """What stands for each group: one for all, or, with a scatter, one a point."""
    others: list[AtScales]


@dataclass(frozen=True, eq=False)
class Source:
    """The rows at any scales, in coordinates in which their density is about a bell."""

    problem: Problem
    rows: GroupedRows

    @cached_property
    def has_scatter(self) -> bool:
        return self.problem.noise.scatters

    @cached_property
    def unit(self) -> Array:
        """(D,) scales that are about as large as what rows say of what they are of."""
        information = np.maximum(self.rows.information, np.finfo(np.float64).tiny)
        own = 1.0 / information
        return np.append(self.problem.scatter_unit, own) if self.has_scatter else own

    @cached_property
    def lost(self) -> Array:
        """(D,) scales below which there is nothing to see."""
        layout = self.rows.layout
        counts = np.concatenate([np.full(w, s) for w, s in zip(layout.widths, layout.sizes, strict=True)])
        own = (2.0 / counts) ** 0.25 * self.unit[int(self.has_scatter) :]
        return np.append(lost_scatter(self.problem), own) if self.has_scatter else own

    @cached_property
    def _priors(self) -> tuple[ScalePrior, ...]:
        """Of scales that are no multiples of the noise scale, so that the density has theirs."""
        problem = self.problem
        if problem.noise.multiplies:
            return ()
        scatter = (problem.noise_prior,) if self.has_scatter else ()
        return scatter + problem.group_priors

    def scales(self, u: Array) -> Array:
        """Return scales at coordinates, (M, D)."""
        return scatter_at(u, self.lost)

    def at(self, u: Array) -> AtPoints:
        """Return the rows at coordinates, (M, D), weighted with their density."""
        scales, found = self.scales(u), AtPoints(u, [], [], [])
        log_volume = np.log1p(np.exp(-u)).sum(axis=1)
        for k, prior in enumerate(self._priors):
            log_volume += prior.log_density(scales[:, k]) + np.log(scales[:, k])
        own = int(self.has_scatter)
        for one, volume in zip(scales, log_volume.tolist(), strict=True):
            split = self.rows.split(float(one[0]) if own else 0.0)
            marginal = self.rows.marginal(split, one[own:])
            found.weightings.append(
                Weighting(marginal.factor, marginal.log_weight + volume, tuple(np.log(one).tolist()))
            )
            if own or not found.rest:
                found.rest.append(split.rest)
            if marginal.others is not None:
                found.others.append(marginal.others)
        return found

    def wide(self, u: Array) -> Array:
        """Return the log density of coordinates, (M, D), under a wide prior of the coefficients."""
        density = np.full(len(u), -np.inf)
        # Standard deviations so many times (its log) larger than what rows say of what they are of are not looked at.
        most = 15.0 + np.log(self.unit / self.lost)
        inside = np.flatnonzero(((u >= LOWEST) & (u < most)).all(axis=1))
        if len(inside):
            # Rows of one point at a time: what stands for groups is large.
            density[inside] = self.wide_of([self.at(u[[i]]).weightings[0] for i in inside])
        return density

    def wide_of(self, weightings: list[Weighting]) -> Array:
        """Return what `wide` does of rows that are weighted."""
        log_weight = np.array([one.log_weight for one in weightings])
        log_ratios = np.array([one.log_ratios for one in weightings]).T
        factors = np.array([one.factor for one in weightings])
        return wide_density(self.problem, factors, log_weight, log_ratios, self.problem.total_weight)

    def effects(self, at: AtPoints, found: Found | None = None) -> Effects:
        """Return the groups' effects at nodes, or at none."""
        scales, own, problem = self.scales(at.u), int(self.has_scatter), self.problem
        p = problem.rows.n_features
        return Effects(
            self.rows.layout,
            np.array(at.rest),
            np.arange(len(scales)) if own else np.zeros(len(scales), dtype=np.intp),
            scales[:, own:],
            tuple(at.others),
            np.zeros(0, dtype=np.intp) if found is None else found.weighting,
            np.ones(0) if found is None else problem.effect_unit(found.noise_scale),
            np.zeros(p),
            np.ones(p),
            0.0,
            1.0,
        )


def integrated(problem: Problem, prior: ConditionalPrior) -> Integrated:
    """Return the posterior of a problem with groups, over all scales."""
    source = Source(problem, GroupedRows.of(problem))
    return (_sampled if len(source.lost) > MOST_ON_GRID else _on_grid)(source, prior)


class Points(NamedTuple):
    """Rows at points that hold the posterior of the scales, with room for that of fewer rows."""

    weightings: list[Weighting]
    log_weights: Array
    """(T,) what each counts."""
    effects: Effects
    """At no nodes."""


def points(problem: Problem, prior: ConditionalPrior) -> Points:
    """Return the rows at points over all scales, for leave-one-out."""
    source = Source(problem, GroupedRows.of(problem))
    if len(source.lost) > MOST_ON_GRID:
        found, weights = _drawn(source, 128)
        at = source.at(found.points)
        return Points(at.weightings, weights - source.wide_of(at.weightings), source.effects(at))
    at, _, log_weights = _on_few(source, prior, _grid(source, prior), more=4)
    return Points(at.weightings, log_weights, source.effects(at))


def _names(source: Source) -> list[str]:
    """Return the scales' names in `Posterior.scale_masses`."""
    own = [f"group_std_{k}" for k in range(source.rows.layout.n_scales)]
    return ["scatter", *own] if source.has_scatter else own


class Grid(NamedTuple):
    """The posterior of one or two scales on even lattices of their coordinates."""

    axes: list[Array]
    """(D,) of coordinates."""
    density: Array
    """(n, ...) log integrals at all of them; minus infinity where there is next to nothing."""
    at: AtPoints
    """Where there is more, ..."""
    solved: Solved
    """... and what is there."""

    @property
    def spacings(self) -> list[float]:
        return [float(axis[1] - axis[0]) for axis in self.axes]


# A grid ends where the density has fallen by this factor (its log).
_FALLEN = 18.0


def _grid(source: Source, prior: ConditionalPrior) -> Grid:
    """Return lattices that hold all but next to nothing of the posterior."""
    axes, wide = _where(source)
    d = len(axes)
    # How well halves of a lattice have to agree, the error being near the square; how often it is halved at most.
    agree, most = 2e-2, 3
    for k in range(d):
        for _ in range(most):
            share = np.moveaxis(np.exp(wide - wide.max()), k, 0).reshape(len(axes[k]), -1).sum(axis=1)
            if abs(2.0 * share[::2].sum() - share.sum()) < agree * share.sum():
                break
            axes, wide = _halved(source, axes, wide, k)
    u = _mesh(axes)
    kept = wide.ravel() >= wide.max() - _FALLEN
    at = source.at(u[kept])
    solved = solve(source.problem, prior, at.weightings)
    density = np.full(len(u), -np.inf)
    density[kept] = np.logaddexp.reduce(solved.totals, axis=1)
    return Grid(axes, density.reshape(wide.shape), at, solved)


def _mesh(axes: list[Array]) -> Array:
    """Return the points of a grid, (M, D)."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _where(source: Source) -> tuple[list[Array], Array]:
    """Return lattices that reach to where the density under a wide prior has fallen, and its log there."""
    center, root = _mode(source)
    d, width = len(center), np.sqrt(np.square(root).sum(axis=1))
    lower, upper = np.empty((2, d))
    # By how many times the width it is looked where the density has fallen, along each axis.
    times = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0, 22.0])
    for k in range(d):
        along = np.tile(center, (17, 1))
        along[:, k] = np.maximum(center[k] + width[k] * np.concatenate([-times[::-1], [0.0], times]), LOWEST)
        density = source.wide(along)
        low = np.flatnonzero(density[:8] < density.max() - _FALLEN)
        high = np.flatnonzero(density[9:] < density.max() - _FALLEN)
        lower[k] = along[low[-1] if len(low) else 0, k]
        upper[k] = along[9 + high[0] if len(high) else 16, k]
    size, rounds = (33 if d == 1 else 13), 12
    for _ in range(rounds):
        axes = [np.linspace(*ends, size) for ends in zip(lower, upper, strict=True)]
        wide = source.wide(_mesh(axes)).reshape((size,) * d)
        moved = False
        for k, axis in enumerate(axes):
            along = wide.max(axis=tuple(set(range(d)) - {k}))
            inside = np.flatnonzero(along >= wide.max() - _FALLEN)
            left, right = inside[0] == 0 and axis[0] > LOWEST, inside[-1] == size - 1
            half, narrow = 0.5 * (axis[-1] - axis[0]), len(inside) < size // 2
            if left or right:
                lower[k], upper[k] = max(axis[0] - left * half, LOWEST), axis[-1] + right * half
            elif narrow:
                lower[k], upper[k] = axis[max(inside[0] - 1, 0)], axis[min(inside[-1] + 1, size - 1)]
            moved |= bool(left or right or narrow)
        if not moved:
            break
    return axes, wide


def _halved(source: Source, axes: list[Array], wide: Array, k: int) -> tuple[list[Array], Array]:
    """Return a grid with points between those of one axis, where there is anything."""
    axis = np.linspace(axes[k][0], axes[k][-1], 2 * len(axes[k]) - 1)
    axes = [axis if i == k else other for i, other in enumerate(axes)]
    values = np.moveaxis(wide, k, 0)
    found = np.full((len(axis), *values.shape[1:]), -np.inf)
    found[::2] = values
    found = np.moveaxis(found, 0, k)
    # By how much more the density (its log) may rise in between.
    rise = 5.0
    beside = np.full_like(found, -np.inf)
    np.moveaxis(beside, k, 0)[1::2] = np.maximum(values[1:], values[:-1])
    new = np.flatnonzero(beside.ravel() > wide.max() - _FALLEN - rise)
    found = np.ascontiguousarray(found)
    found.ravel()[new] = source.wide(_mesh(axes)[new])
    return axes, found


def _on_few(
    source: Source, prior: ConditionalPrior, grid: Grid, more: int = 0
) -> tuple[AtPoints, Solved, Array]:
    """Return rows at a few points that stand for a grid, the posterior there, and the logs of what each counts."""
    log_total = float(np.logaddexp.reduce(grid.density, axis=None) + np.log(grid.spacings).sum())
    u, shares = _few_points(source, grid, more)
    at = source.at(u)
    final = solve(source.problem, prior, at.weightings)
    of_own = np.logaddexp.reduce(final.totals, axis=1)
    return at, final, np.log(np.maximum(shares, 1e-300)) + log_total - of_own


def _few_points(source: Source, grid: Grid, more: int) -> tuple[Array, Array]:
    """Return coordinates of a few points that stand for a grid, (M, D), and their shares: Gauss rules, nested."""
    shares = np.exp(grid.density - grid.density.max())
    units, lost = source.unit.tolist(), source.lost.tolist()
    # Points of a rule at least and at most.
    least, most = (5 + more, 9 + more) if len(units) == 1 else (4 + more // 2, 7 + more // 2)
    along = shares.reshape(len(grid.axes[0]), -1).sum(axis=1)
    scales, masses = few(scatter_at(grid.axes[0], lost[0]), along / along.sum(), units[0], least, most)
    first = scatter_coordinate(scales, lost[0])
    if len(units) == 1:
        return first[:, None], masses
    points, weights = [], []
    place = np.clip(np.searchsorted(grid.axes[0], first) - 1, 0, len(grid.axes[0]) - 2)
    part = (first - grid.axes[0][place]) / grid.spacings[0]
    logs = np.maximum(grid.density - grid.density.max(), -1e3)
    for i, share, u, mass in zip(place, part, first, masses, strict=True):
        between = np.exp((1.0 - share) * logs[i] + share * logs[i + 1])
        own, of_own = few(scatter_at(grid.axes[1], lost[1]), between / between.sum(), units[1], least, most)
        points += [(u, v) for v in scatter_coordinate(own, lost[1])]
        weights += (mass * of_own).tolist()
    return np.array(points), np.array(weights)


def _on_grid(source: Source, prior: ConditionalPrior) -> Integrated:
    """Integrate over one or two scales: even lattices, and a few points that stand for all of theirs."""
    grid = _grid(source, prior)
    at, final, more = _on_few(source, prior, grid)
    found, names = final.found(more), _names(source)
    logs = dict(zip(names, np.log(source.scales(grid.at.u)).T, strict=True))
    spacings = dict(zip(names, grid.spacings, strict=True))
    return Integrated(
        found,
        source.scales(at.u),
        final.totals + more[:, None],
        masses_of(grid.solved, logs, spacings),
        source.effects(at, found),
    )


def _mode(source: Source) -> tuple[Array, Array]:
    """Return about where the density of the scales has its mode, and a root of its covariance there."""
    d = len(source.lost)
    center, width = np.log(np.maximum(source.unit / source.lost, 1.0)), np.ones(d)
    # Along each axis first, the second time about what was found.
    for about, steps in ((0.0, np.arange(-4.0, 14.0)), (1.0, np.arange(-1.5, 1.6, 0.5))):
        for k in range(d):
            along = np.tile(center, (len(steps), 1))
            along[:, k] = np.maximum(about * center[k] + steps, LOWEST)
            density = source.wide(along)
            share = np.exp(density - density.max())
            share /= share.sum()
            mean = share @ along[:, k]
            width[k] = np.sqrt(share @ np.square(along[:, k] - mean) + 0.02)
            center[k] = along[density.argmax(), k]
    center, root, _ = find_mode(source.wide, center, np.diag(width))
    # Where it has a shoulder instead of a peak, the curvature says nothing of how wide it is.
    return center, root * min(1.0, 4.0 / float(np.linalg.norm(root, axis=1).max()))


def _drawn(source: Source, size: int = 512) -> tuple[Sample, Array]:
    """Return points from the density of several scales under a wide prior, and the logs of what each counts."""
    center, root = _mode(source)
    # The share below which a point has no say.
    no_share = 1e-5
    found = sample(source.wide, [Component(center, root)], size, np.random.default_rng(0))
    kept = found.weights > no_share * found.weights.max()
    found = found._replace(points=found.points[kept], weights=found.weights[kept])
    return found, np.log(found.weights) + found.log_total


def _sampled(source: Source, prior: ConditionalPrior) -> Integrated:
    """Integrate over several scales: points are drawn from their density under a wide prior, and weighed anew."""
    problem = source.problem
    drawn, more = _drawn(source)
    at = source.at(drawn.points)
    level = source.wide_of(at.weightings)
    final = solve(
        problem,
        prior,
        [
            one._replace(log_weight=one.log_weight - here)
            for one, here in zip(at.weightings, level, strict=True)
        ],
    )
    nodes, of_points = final.found(more), more + np.logaddexp.reduce(final.totals, axis=1)
    share = np.exp(of_points - np.logaddexp.reduce(of_points))
    effective = 1.0 / float(share @ share)
    # Bounds of the weights' tail and of how many independent points they are worth.
    k_hat, least, doubts = 0.7, 50.0, []
    if not drawn.k_hat <= k_hat:
        doubts.append(f"the importance weights' Pareto k-hat is {drawn.k_hat:.2f}, above {k_hat}")
    if not effective >= least:
        doubts.append(f"the effective sample size is {effective:.0f}, below {least:.0f}")
    return Integrated(
        nodes,
        source.scales(at.u),
        final.totals + more[:, None],
        nodes.scale_masses,
        source.effects(at, nodes),
        tuple(doubts),
    )
