"""Exact posteriors of rows in groups: over the standard deviations of the groups' effects, and the scatter's.

Each value of them weights the rows anew, and given it everything is Gaussian. One is integrated over on a lattice,
more by importance sampling. Equations (n) are those of ``docs/maths.md``.
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
from ..numerics.quadrature import peak_intervals
from ..posterior import ScaleMasses
from ..problem import Problem
from .noise_integrals import LOWEST, scatter_at, scatter_coordinate
from .scale_lattice import masses_below, masses_between
from .scatter_integrals import few, joined, lattice, lost_scatter, wide_density, with_room
from .weightings import Found, Solved, Weighting, solve

__all__ = ["Integrated", "Points", "integrated", "points"]

Array = NDArray[np.float64]


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
        # Standard deviations so many times (its log) larger than what rows say of what they are of are none.
        most = 40.0
        inside = np.flatnonzero(((u >= LOWEST) & (u < most)).all(axis=1))
        if len(inside):
            # Rows of one point at a time: what stands for groups is large.
            found = [self.at(u[[i]]).weightings[0] for i in inside]
            log_weight = np.array([one.log_weight for one in found])
            log_ratios = np.array([one.log_ratios for one in found]).T
            factors = np.array([one.factor for one in found])
            total_weight = self.problem.total_weight
            density[inside] = wide_density(self.problem, factors, log_weight, log_ratios, total_weight)
        return density

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
    source = Source(problem, GroupedRows(problem))
    return _on_lattice(source, prior) if len(source.lost) == 1 else _sampled(source, prior)


class Points(NamedTuple):
    """Rows at points that hold the posterior of the scales, with room for that of fewer rows."""

    weightings: list[Weighting]
    log_weights: Array
    """(T,) what each counts."""
    effects: Effects
    """At no nodes."""


def points(problem: Problem, prior: ConditionalPrior) -> Points:
    """Return the rows at points over all scales, for leave-one-out."""
    source = Source(problem, GroupedRows(problem))
    if len(source.lost) > 1:
        found, weights = _drawn(source)
        at, level = source.at(found.points), source.wide(found.points)
        return Points(at.weightings, weights - level, source.effects(at))
    parts, spacing = _lattice(source, prior)
    u = with_room(*joined(parts), spacing)
    at = source.at(u[:, None])
    return Points(at.weightings, np.full(len(u), np.log(spacing)), source.effects(at))


def _names(source: Source) -> list[str]:
    """Return the scales' names in `Posterior.scale_masses`."""
    own = [f"group_std_{k}" for k in range(source.rows.layout.n_scales)]
    return ["scatter", *own] if source.has_scatter else own


def _lattice(source: Source, prior: ConditionalPrior) -> tuple[list[tuple[Array, Solved]], float]:
    """Return the posterior on an even lattice of one scale's coordinate, and its spacing."""

    def solved(u: Array) -> Solved:
        return solve(source.problem, prior, source.at(u[:, None]).weightings)

    # Standard deviations so many times (its log) larger than what rows say are looked at first.
    upper = 6.0 + float(np.log(source.unit[0] / source.lost[0]))
    tail = max(source.problem.tail, 1.0)
    intervals = peak_intervals(lambda u: source.wide(u[:, None]), LOWEST, upper, tail)
    return lattice(solved, intervals[0][0], intervals[-1][1])


def _on_lattice(source: Source, prior: ConditionalPrior) -> Integrated:
    """Integrate over one scale: a lattice, and a few of its points that stand for all."""
    problem, lost = source.problem, float(source.lost[0])
    parts, spacing = _lattice(source, prior)
    u, log_density = joined(parts)
    log_total = float(np.logaddexp.reduce(log_density) + np.log(spacing))
    share = np.exp(log_density - np.logaddexp.reduce(log_density))
    points, shares = few(scatter_at(u, lost), share, float(source.unit[0]))
    at = source.at(scatter_coordinate(points, lost)[:, None])
    final = solve(problem, prior, at.weightings)
    more = np.log(np.maximum(shares, 1e-300)) + log_total - np.logaddexp.reduce(final.totals, axis=1)
    found = final.found(more)

    def masses() -> Mapping[str, tuple[Array, Array]]:
        (name,), logs = _names(source), [np.log(scatter_at(u, lost)) for u, _ in parts]
        scales = [solved.scales({name: own}) for own, (_, solved) in zip(logs, parts, strict=True)]
        log_weights = np.concatenate([weights for weights, _ in scales])
        values = {key: np.concatenate([of[key] for _, of in scales]) for key in scales[0][1]}
        below = masses_below(log_weights, values, {**parts[0][1].spacings, name: spacing})
        if not problem.noise.multiplies:
            below[name] = masses_between(np.log(scatter_at(u, lost)), share)
        return below

    return Integrated(
        found,
        source.scales(at.u),
        final.totals + more[:, None],
        ScaleMasses(masses),
        source.effects(at, found),
    )


def _start(source: Source) -> tuple[Array, Array]:
    """Return about where the density of several scales has its mode, and a root of its covariance: axis by axis."""
    d = len(source.lost)
    center, width = np.log(np.maximum(source.unit / source.lost, 1.0)), np.ones(d)
    # Along each axis so many times, the second time about what was found.
    for steps in (np.arange(-4.0, 14.0), np.arange(-2.0, 2.1, 0.5)):
        for k in range(d):
            along = np.tile(center, (len(steps), 1))
            along[:, k] = np.maximum(steps if len(steps) > 9 else center[k] + steps, LOWEST)
            density = source.wide(along)
            share = np.exp(density - density.max())
            share /= share.sum()
            mean = share @ along[:, k]
            width[k] = np.sqrt(share @ np.square(along[:, k] - mean) + 0.02)
            center[k] = along[density.argmax(), k]
    return center, np.diag(width)


def _drawn(source: Source) -> tuple[Sample, Array]:
    """Return points from the density of several scales under a wide prior, and the logs of what each counts."""
    center, root, _ = find_mode(source.wide, *_start(source))
    # Points that stand for all, and the share below which one has no say.
    size, no_share = 2 ** min(6 + len(center), 9), 1e-5
    found = sample(source.wide, [Component(center, root)], size, np.random.default_rng(0))
    kept = found.weights > no_share * found.weights.max()
    found = found._replace(points=found.points[kept], weights=found.weights[kept])
    return found, np.log(found.weights) + found.log_total


def _sampled(source: Source, prior: ConditionalPrior) -> Integrated:
    """Integrate over several scales: points are drawn from their density under a wide prior, and weighed anew."""
    problem = source.problem
    drawn, more = _drawn(source)
    at, level = source.at(drawn.points), source.wide(drawn.points)
    final = solve(
        problem,
        prior,
        [
            one._replace(log_weight=one.log_weight - here)
            for one, here in zip(at.weightings, level, strict=True)
        ],
    )
    nodes = final.found(more)
    return Integrated(
        nodes,
        source.scales(at.u),
        final.totals + more[:, None],
        nodes.scale_masses,
        source.effects(at, nodes),
    )
