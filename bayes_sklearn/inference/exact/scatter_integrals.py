"""Exact posteriors over a scatter: under noise "additive" and "auto" every value of it weights the rows anew.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..given_scale import ConditionalPrior
from ..numerics.quadrature import DROP, even_lattices, gauss_rule, peak_intervals
from ..posterior import ScaleMasses
from ..problem import Problem
from .interpolated_rows import Beyond, InterpolatedRows, ScatteredRows
from .noise_integrals import LOWEST, scatter_at, scatter_coordinate
from .scale_lattice import LEVEL_MASSES, masses_below, masses_between
from .weightings import Found, Learned, Solved, Weighting, solve

__all__ = [
    "Integrated",
    "few",
    "lost_scatter",
    "over_scatter",
    "scatters",
    "wide_density",
]

Array = NDArray[np.float64]


# The scatter's lattice: how far the density has fallen at its ends (its log), nodes to begin with and at most,
# and how well halves of it have to agree, less where it need only be known about where the posterior is: the error of
# the whole is about the square.
_FALLEN, _NODES, _MOST_NODES, _AGREE, _ROUGHLY = 18.0, 16, 256, 1e-3, 0.03

# How often a lattice is moved, narrowed, widened or halved at most, some ten times being usual: a density that is
# rounding, zero here and there, has no end that it could find.
_ROUNDS = 60

# Where a rule of the density under a wide prior ends, by how far that has fallen (its log).
_ENDS = 20.0


# Parts of the density under a wide prior, and how well halves of it have to agree; by how much the log of what other
# priors make of it may vary; shares that have no say in that.
_FINE, _FINE_AGREE, _ALIKE, _NO_SHARE = 96, 1e-6, 2.0, 1e-6


Source = ScatteredRows | InterpolatedRows
"""Rows under many scatters."""

Part = tuple[Array, Solved]
"""Values of the scatter's coordinate, and the posterior for the weightings of the rows there."""


def _compressed(problem: Problem, source: Source, u: Array) -> tuple[Array, Array, Array]:
    """Return the rows' triangles at some values of the scatter's coordinate, log weights and logs of the scatter."""
    scatter = scatter_at(u, lost_scatter(problem))
    factors, log_errors = source.compressed(scatter)
    log_weights = np.log1p(np.exp(-u)) - log_errors
    if problem.noise.only_scatters:
        log_weights += problem.noise_prior.log_density(scatter) + np.log(scatter)
    return factors, log_weights, np.log(scatter)


def _at_scatters(problem: Problem, source: Source, u: Array) -> list[Weighting]:
    """Return the rows at some values of the scatter's coordinate, weighted with its density."""
    factors, log_weights, log_scatter = _compressed(problem, source, u)
    parts = zip(factors, log_weights.tolist(), log_scatter.tolist(), strict=True)
    return [Weighting(factor, log_weight, (log_ratio,)) for factor, log_weight, log_ratio in parts]


def over_scatter(problem: Problem, prior: ConditionalPrior, *, roughly: bool = False) -> Integrated:
    """Integrate over the scatter where every value of it weights the rows anew.

    Where it lies is found under a wide prior; how likely each is, on rows gathered by their error where they are
    many and can't be interpolated. A few that stand for all are solved on the rows themselves, and weighed anew.
    To know where the posterior is, rows gathered and a coarser lattice do.
    """
    agree = _ROUGHLY if roughly else _AGREE
    interpolated = _interpolated(problem)
    if interpolated is not None:
        try:
            found = None if prior.scale_prior is None else _by_rule(problem, prior, interpolated)
            return found or _over_scatter(problem, prior, interpolated, interpolated, agree)
        except Beyond:
            problem.passed["interpolated"] = None
    groups = problem.groups
    gathered = ScatteredRows(problem, groups)
    same = groups is None or roughly or groups.exact
    return _over_scatter(problem, prior, gathered, gathered if same else ScatteredRows(problem, None), agree)


def _interpolated(problem: Problem) -> InterpolatedRows | None:
    """Return the rows of a long table under all scatters that there may be; None where it takes other ways.

    Every so many-th row tells where the scatter lies, in the multiple of the deviation that all of them have.
    """
    if "interpolated" in problem.passed:
        found: InterpolatedRows | None = problem.passed["interpolated"]
        return found
    found = None
    # Tolerance of a pilot, and of so many times as many rows: their density is a small part of the interval. Of
    # fewer.
    rough, many_times, finer = 1e-2, 32, 1e-4
    # Tables of so many rows are interpolated; how many a pilot takes, and with how many points at most the rows go
    # on.
    long, pilot_rows, most_points = 500, 2**13, 16
    if problem.errors_vary and len(problem.rows.y) >= long:
        every = len(problem.rows.y) // pilot_rows
        low, high = scatter_at(np.array([LOWEST, _upper(problem)]), lost_scatter(problem)).tolist()
        try:
            if every > 1:
                pilot = InterpolatedRows(problem, low, high, every=every, tolerance=rough)
                low, high = scatter_at(
                    _peak(problem, pilot, _ENDS)[0][[0, -1]], lost_scatter(problem)
                ).tolist()
                tolerance = rough if every >= many_times else finer
                found = InterpolatedRows(problem, low, high, tolerance=tolerance, most=most_points)
            else:
                found = InterpolatedRows(problem, low, high)
        except Beyond:
            pass
    problem.passed["interpolated"] = found
    return found


def _by_rule(problem: Problem, prior: ConditionalPrior, rows: InterpolatedRows) -> Integrated | None:
    """Integrate by a Gauss rule of what is the scatter's density under a wide prior; None where it is too different.

    Only what the prior adds, a factor that hardly varies, takes the solutions at the points of the rule.
    """
    lost = lost_scatter(problem)
    u, log_wide = _peak(problem, rows, _ENDS)
    highest = float(log_wide.max())
    share = np.exp(log_wide - highest)
    total = float(share.sum())
    if not abs(2.0 * share[::2].sum() - total) < _FINE_AGREE * total or share[-1] > _FINE_AGREE:
        return None
    scatter = scatter_at(u, lost)
    points, shares = few(scatter, share / total, problem.scatter_unit, 7 if problem.mostly_shared else 3)
    weightings = _at_scatters(problem, rows, scatter_coordinate(points, lost))
    level = _wide_density(problem, rows, scatter_coordinate(points, lost))
    solved = Learned(
        problem,
        prior,
        [
            one._replace(log_weight=one.log_weight - at)
            for one, at in zip(weightings, level.tolist(), strict=True)
        ],
    )
    factor = np.logaddexp.reduce(solved.totals, axis=1)
    if not np.ptp(factor[shares > _NO_SHARE]) < _ALIKE:
        return None
    log_spacing = float(np.log(u[1] - u[0]))
    more = np.log(np.maximum(shares, 1e-300)) + np.log(total) + highest + log_spacing
    found = solved.found(more)
    unit, additive = problem.scatter_unit, problem.noise.only_scatters

    def masses() -> dict[str, tuple[Array, Array]]:  # refers to nothing that has rows
        whole = share * np.exp(_between(points, factor[:, None], scatter, unit)[:, 0] - factor.max())
        kept = whole > _NO_SHARE * whole.max()
        # Quantiles of the scales lie between those at the points.
        values = {
            name: _between(points, logs, scatter[kept], unit) for name, logs in solved.in_levels().items()
        }
        values["scatter"] = np.log(scatter[kept])[:, None] + values["noise_scale"]
        log_weights = (np.log(whole[kept])[:, None] + np.log(LEVEL_MASSES)).ravel()
        logs = {name: of_levels.ravel() for name, of_levels in values.items()}
        below = masses_below(log_weights, logs, {"scatter": np.exp(log_spacing)})
        if additive:
            below["scatter"] = masses_between(np.log(scatter), whole)
        return below

    return Integrated(found, points[found.weighting], solved.totals + more[:, None], ScaleMasses(masses))


def _between(points: Array, values: Array, scatter: Array, error: float) -> Array:
    """Return values at scatters, (K, L), linear between those at some points and beyond them, (S, L)."""
    shares, wanted = 1.0 / (1.0 + points / error), 1.0 / (1.0 + scatter / error)
    order = np.argsort(shares)
    at, values = shares[order], values[order]
    if len(at) == 1:
        return np.repeat(values, len(wanted), axis=0)
    left = np.clip(np.searchsorted(at, wanted) - 1, 0, len(at) - 2)
    part = (wanted - at[left]) / np.maximum(at[left + 1] - at[left], 1e-300)
    return np.asarray(values[left] + np.clip(part, -1.0, 2.0)[:, None] * (values[left + 1] - values[left]))


def _over_scatter(
    problem: Problem, prior: ConditionalPrior, gathered: Source, rows: Source, agree: float
) -> Integrated:
    """Integrate over the scatter: a lattice on some rows, a few that stand for it on others."""
    same = gathered is rows

    def solved(u: Array, source: Source, level: Array | None = None) -> Solved:
        found = _at_scatters(problem, source, u)
        if level is not None:
            found = [
                one._replace(log_weight=one.log_weight - at) for one, at in zip(found, level, strict=True)
            ]
        return solve(problem, prior, found)

    parts, spacing = _lattice(lambda u: solved(u, gathered), *_where(problem, gathered), agree)
    u, log_density = _joined(parts)
    log_total = float(np.logaddexp.reduce(log_density) + np.log(spacing))
    share = np.exp(log_density - np.logaddexp.reduce(log_density))
    # About the same density for all: one that is low between others is none the less to be solved.
    seen, scatter = np.isfinite(log_density), scatter_at(u, lost_scatter(problem))

    def weighed(of_points: Array, shares: Array) -> tuple[Solved, Array]:
        level = np.interp(of_points, u[seen], log_density[seen])
        final = solved(of_points, rows, level)
        # What the points weigh on the rows themselves, by what they weigh where the lattice was.
        before = np.logaddexp.reduce((final if same else solved(of_points, gathered, level)).totals, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            more = np.log(shares) + log_total - before
        return final, np.where(np.isfinite(before), more, -np.inf)

    points, shares = few(scatter, share, problem.scatter_unit, 7 if problem.mostly_shared else 3)
    final, more = weighed(scatter_coordinate(points, lost_scatter(problem)), shares)
    if not seen.all() and np.isneginf(more).all():
        # Between nodes of a density that is rounding there may be nothing.
        points = scatter[seen]
        final, more = weighed(u[seen], share[seen])
    found = final.found(more)
    return Integrated(
        found, points[found.weighting], final.totals + more[:, None], _masses(problem, parts, spacing)
    )


def few(scatter: Array, weights: Array, error: float, fewest: int = 3, most: int = 7) -> tuple[Array, Array]:
    """Return a few scatters, at least so many and at most, that stand for many, and their weights.

    A Gauss rule in the share of the error in the two together: scatters that no row shows are alike, and so are those
    that are all there is.
    """
    shares = 1.0 / (1.0 + scatter / error)
    deviation = float(np.sqrt(weights @ np.square(shares - weights @ shares)))
    # More of them by how far those of the lattice are apart.
    more = 20.0
    size = int(np.clip(np.ceil(fewest + more * deviation), fewest, most))
    points, masses = gauss_rule(shares[None], weights, size)
    # The share below which a scatter is none.
    no_scatter = 1e-12
    # They lie between the others, but for rounding.
    points = np.clip(points[0], shares.min(), min(shares.max(), 1.0 - no_scatter))
    return error * (1.0 / points - 1.0), masses[0]


def _masses(problem: Problem, parts: Sequence[Part], spacing: float) -> dict[str, tuple[Array, Array]]:
    """Return what `Posterior.scale_masses` are, from all scatters of the lattice."""
    log_scatter = [np.log(scatter_at(u, lost_scatter(problem))) for u, _ in parts]
    found = [solved.scales({"scatter": logs}) for logs, (_, solved) in zip(log_scatter, parts, strict=True)]
    log_weights = np.concatenate([weights for weights, _ in found])
    values = {name: np.concatenate([scales[name] for _, scales in found]) for name in found[0][1]}
    masses = masses_below(log_weights, values, {**parts[0][1].spacings, "scatter": spacing})
    if problem.noise.only_scatters:
        u, log_density = _joined(parts)
        logs = np.log(scatter_at(u, lost_scatter(problem)))
        masses["scatter"] = masses_between(logs, np.exp(log_density - log_density.max()))
    return masses


class Integrated(NamedTuple):
    """The posterior over scatters."""

    found: Found
    scatter: Array
    """(G,) in multiples of the noise scale under "auto", else in the model's unit."""
    totals: Array
    """(S, geometries) log integrals."""
    masses: Mapping[str, tuple[Array, Array]]
    """As `Posterior.scale_masses`."""


def lost_scatter(problem: Problem) -> float:
    """Return the scatter below which the lattice falls off faster than a logarithm's: there is nothing to see."""
    return problem.scatter_prior.negligible if problem.noise.combined else problem.visible_scatter


def scatters(problem: Problem, prior: ConditionalPrior) -> tuple[list[Weighting], float]:
    """Return the rows under an even lattice of scatters, with room at its ends, and the log of its spacing."""
    groups = problem.groups
    gathered = ScatteredRows(problem, groups)
    parts, spacing = _lattice(
        lambda u: solve(problem, prior, _at_scatters(problem, gathered, u)), *_where(problem, gathered)
    )
    u, log_density = _joined(parts)
    if len(u) > 1:
        inside = np.flatnonzero(log_density >= log_density.max() - _FALLEN)
        left, right = u[inside[0]], u[inside[-1]]
        room = 0.5 * (right - left)
        u = np.arange(max(left - room, LOWEST), right + room + spacing, spacing)
    exact = groups is None or groups.exact
    rows = gathered if exact else ScatteredRows(problem, None)
    return _at_scatters(problem, rows, u), float(np.log(spacing))


def _lattice(
    solved: Callable[[Array], Solved], left: float, right: float, agree: float = _AGREE
) -> tuple[list[Part], float]:
    """Return the posterior on an even lattice of the scatter's coordinate, and its spacing."""
    size = _NODES if left < right else 0
    u = np.linspace(left, right, size + 1)
    parts, top = [(u, solved(u))], -np.inf
    # Where a lattice of the scatter's coordinate ends at the latest.
    most_nats = 200.0
    for _ in range(_ROUNDS):
        if not 0 < size <= _MOST_NODES:
            break
        u, log_density = _joined(parts)
        # By the highest that any lattice saw: one that misses it would widen again what was narrowed, for ever.
        highest = float(log_density.max())
        top = max(top, highest)
        inside = np.flatnonzero(log_density >= min(top - _FALLEN, highest))
        wider, first, last = 0.5 * (right - left), int(inside[0]), int(inside[-1])
        if (last == size and right < most_nats) or (first == 0 and left > LOWEST):
            right += wider * (last == size)
            left = max(left - wider * (first == 0), LOWEST)
        elif len(inside) < size // 2 and highest > top - _FALLEN:
            left, right = u[max(first - 1, 0)], u[min(last + 1, size)]
        else:
            share = np.exp(log_density - log_density.max())
            if abs(2.0 * share[::2].sum() - share.sum()) < agree * share.sum():
                break
            # Halves do not agree: those between join in.
            middle = 0.5 * (u[1:] + u[:-1])
            parts.append((middle, solved(middle)))
            size *= 2
            continue
        size = _NODES
        u = np.linspace(left, right, size + 1)
        parts = [(u, solved(u))]
    return parts, float(right - left) / size if size else 1.0


def _joined(parts: Sequence[Part]) -> tuple[Array, Array]:
    """Return all coordinates, ascending, and log densities there."""
    u = np.concatenate([part for part, _ in parts])
    log_density = np.concatenate([np.logaddexp.reduce(solved.totals, axis=1) for _, solved in parts])
    order = np.argsort(u)
    return u[order], log_density[order]


def _where(problem: Problem, source: Source) -> tuple[float, float]:
    """Return the ends of where the scatter's coordinate lies, under a wide prior and the best noise scale."""
    if isinstance(source, InterpolatedRows):
        u, _ = _peak(problem, source)
        return float(u[0]), float(u[-1])
    density = partial(_wide_density, problem, source)
    intervals = peak_intervals(density, LOWEST, _upper(problem), max(problem.tail, 1.0))
    return intervals[0][0], intervals[-1][1]


def _peak(problem: Problem, rows: InterpolatedRows, drop: float = DROP) -> tuple[Array, Array]:
    """Return even values of the scatter's coordinate that hold it, and the log of its density under a wide prior."""
    lower, upper = scatter_coordinate(np.array(rows.ends), lost_scatter(problem))[:, None]
    u, values, _ = even_lattices(
        lambda u: _wide_density(problem, rows, u[0])[None],
        lower,
        upper,
        problem.tail,
        drop=drop,
        size=_FINE,
        bounded=True,
    )
    return u[0], values[0]


def _upper(problem: Problem) -> float:
    """Return the scatter's coordinate far above which there is none."""
    spread = np.hypot(problem.state.standard_deviation[-1], problem.state.mean[-1])
    return float(np.log(max(spread / problem.scaling.y_scale / lost_scatter(problem), 1.0))) + 3.0


def _wide_density(problem: Problem, source: Source, u: Array) -> Array:
    """Return the log density of the scatter's coordinate under a wide prior and the best noise scale."""
    factors, log_weight, log_scatter = _compressed(problem, source, u)
    plain = isinstance(source, InterpolatedRows)
    return wide_density(problem, factors, log_weight, log_scatter[None], source.total_weight, plain=plain)


def wide_density(
    problem: Problem,
    factors: Array,
    log_weight: Array,
    log_ratios: Array,
    total_weight: float,
    *,
    plain: bool = False,
) -> Array:
    """Return the log density of weightings of the rows under a wide prior and the best noise scale.

    Parameters
    ----------
    problem : Problem
    factors : ndarray of shape (M, P + 1, P + 1)
    log_weight : ndarray of shape (M,)
    log_ratios : ndarray of shape (K, M)
        Logs of further scales by the noise scale.
    total_weight : float
        Of the rows.
    plain : bool, default=False
        Whether the wide prior has no rows.
    """
    size = problem.rows.n_features + problem.fit_intercept
    freedom = max(total_weight - size, 1.0)
    triangle = factors[:, :, -1 - size :]
    # Deviation of the coefficients' prior, in the model's units, under which it is looked for where the scatter lies.
    widest = 1e3
    if not plain:
        wide = np.broadcast_to(np.eye(size, size + 1) / widest, (len(factors), size, size + 1))
        triangle = np.concatenate([triangle, wide], axis=1)
    if not (plain and problem.fit_intercept):
        triangle = np.asarray(np.linalg.qr(triangle, mode="r"))
    square = np.square(triangle[:, size:, size]).sum(axis=1)
    # Rows that are many bound what they tell of more than the prior does.
    diagonal = np.diagonal(triangle, axis1=1, axis2=2)[:, :size]
    log_weight = log_weight - np.log(np.maximum(np.abs(diagonal), 1.0 / widest)).sum(axis=1)
    if not problem.noise.multiplies:
        return np.asarray(log_weight - 0.5 * square)
    floor = problem.resolutions(factors)
    log_scale = 0.5 * np.log(np.maximum(square / freedom, np.square(floor)))
    log_weight += problem.noise_prior.log_density(np.exp(log_scale)) + log_scale
    for prior, log_ratio in zip(problem.ratio_priors, log_ratios, strict=False):
        log_weight += prior.log_density(np.exp(log_ratio + log_scale)) + (log_ratio + log_scale)
    return np.asarray(log_weight - freedom * log_scale)
