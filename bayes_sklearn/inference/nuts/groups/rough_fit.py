"""About where groups' effects are, and how much the rows say of them: what a sampler's coordinates follow.

Newton's method for the effects and coefficients; standard deviations from the effects' sizes, and what rows leave
open of them (MacKay 1992, Neural Computation 4:415-447).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ....likelihoods.base import Derivatives, Observations
from ...groups.effects import Layout
from ...importance.regression_density import RegressionDensity
from ...importance.regression_rows import Table
from ...problem import Problem

__all__ = ["GroupTable", "RoughFit", "Shifted", "group_columns", "place_of", "rough_fit", "vanishing"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shifted(RegressionDensity):
    """The density of a regression whose line has a further part that is known."""

    shift: Array | None = None
    """(n,)"""

    @cached_property
    def table(self) -> Table:
        problem = self.problem
        return Table(problem.observations(), problem.rows.frequency, problem.design_blocks)

    def _row_blocks(self, length: int) -> Iterator[tuple[slice, Array, Array]]:
        for whole, fixed, rows in super()._row_blocks(length):
            yield whole, fixed if self.shift is None else fixed + self.shift[whole], rows


@dataclass(frozen=True, eq=False)
class GroupTable:
    """The rows that count, by what multiplies each kind of effects, and all else that is linear."""

    problem: Problem
    layout: Layout
    members: NDArray[np.intp]
    """(n, K)"""
    terms: list[Array]
    """(n, r) what multiplies the effects of each grouping."""
    design: Array
    """(n, k) what multiplies the free entries of B."""
    frequency: Array
    data: Observations
    used: NDArray[np.intp]

    @classmethod
    def of(cls, problem: Problem) -> GroupTable:
        groupings, members, rows = problem.groupings, problem.rows.members, problem.rows
        if groupings is None or members is None:
            raise AssertionError  # for the type checker
        frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
        used = np.flatnonzero(frequency > 0.0)
        design = np.concatenate([block for _, block in problem.design_blocks()])[used]
        x, one = design[:, int(problem.fit_intercept) :], np.ones((len(used), 1))
        terms = [np.concatenate([one, x[:, list(slopes)]], axis=1) for slopes in groupings.slopes]
        layout = Layout(groupings.sizes, groupings.slopes)
        data = problem.observations().take(used)
        return cls(problem, layout, members[used], terms, design, frequency[used], data, used)

    @cached_property
    def rest(self) -> sparse.csr_array:
        """(n, m + k) the other groupings' columns, and the design."""
        n, layout = len(self.design), self.layout
        parts = []
        for k in layout.columns:
            width = layout.widths[k]
            columns = self.members[:, k, None] * width + np.arange(width)
            ends = np.arange(n + 1, dtype=np.intp) * width
            shape = n, layout.sizes[k] * width
            parts.append(sparse.csr_array((self.terms[k].ravel(), columns.ravel(), ends), shape=shape))
        return sparse.csr_array(sparse.hstack([*parts, sparse.csr_array(self.design)], format="csr"))

    @property
    def own(self) -> tuple[NDArray[np.intp], Array]:
        """Groups of the main grouping, (n,), and what multiplies their effects, (n, r)."""
        return self.members[:, self.layout.main], self.terms[self.layout.main]

    def sums(self, values: Array) -> Array:
        """Return sums over the rows of each group, (J, ...), of values, (n, ...)."""
        own, _ = self.own
        n, J = len(own), self.layout.sizes[self.layout.main]
        gather = sparse.csc_array((np.ones(n), own, np.arange(n + 1, dtype=np.intp)), shape=(J, n))
        return np.asarray(gather @ values)

    def line(self, effects: Array, rest: Array) -> Array:
        """Return the line, (n,), of effects, (J, r), and of all else, (m + k,)."""
        own, z = self.own
        return np.asarray((z * effects[own]).sum(axis=1) + self.rest @ rest)

    def quadratic(self, at: Derivatives, effects: Array, rest: Array) -> Quadratic:
        """Return the rows' log density about a point."""
        _, z = self.own
        weight, slope = self.frequency * at.curvature, self.frequency * at.gradient[0]
        r, J = z.shape[1], self.layout.sizes[self.layout.main]
        own = self.sums(((weight[:, None] * z)[:, :, None] * z[:, None, :]).reshape(len(z), -1))
        own = own.reshape(J, r, r)
        groups, _ = self.own
        across = np.empty((J, r, self.rest.shape[1]))
        for i in range(r):
            gather = sparse.csc_array(
                (weight * z[:, i], groups, np.arange(len(z) + 1, dtype=np.intp)), shape=(J, len(z))
            )
            across[:, i] = (gather @ self.rest).toarray()
        square = (self.rest.T @ (self.rest * weight[:, None])).toarray()
        pull = self.sums(z * slope[:, None]) + np.einsum("gij,gj->gi", own, effects) + across @ rest
        pull_rest = self.rest.T @ slope + square @ rest + np.einsum("gik,gi->k", across, effects)
        return Quadratic(own, across, square, pull, np.asarray(pull_rest))


class Quadratic(NamedTuple):
    """Minus half of ``own`` etc. in the effects' squares, and ``pull``: a log density but for a constant."""

    own: Array
    """(J, r, r) of the main grouping's effects."""
    across: Array
    """(J, r, m + k)"""
    rest: Array
    """(m + k, m + k)"""
    pull: Array
    """(J, r)"""
    pull_rest: Array
    """(m + k,)"""

    def solved(self, precision: Array, rest_precision: Array, rest_pull: Array) -> tuple[Array, ...]:
        """Return where it is highest under normal priors, effects and rest, and their variances there.

        Parameters
        ----------
        precision : ndarray of shape (r,)
            Of effects of the main grouping.
        rest_precision, rest_pull : ndarray of shape (m + k,)
        """
        r = len(precision)
        inverse = np.linalg.inv(self.own + np.diag(precision))
        moved = inverse @ self.across
        left = self.rest + np.diag(rest_precision) - np.einsum("gik,gil->kl", self.across, moved)
        pull = self.pull_rest + rest_pull - np.einsum("gik,gi->k", moved, self.pull)
        covariance = np.linalg.pinv(left, hermitian=True)
        rest = covariance @ pull
        effects = np.einsum("gij,gj->gi", inverse, self.pull) - moved @ rest
        variances = inverse[:, np.arange(r), np.arange(r)]
        variances = variances + np.einsum("gik,kl,gil->gi", moved, covariance, moved)
        return effects, rest, variances, np.diagonal(covariance)


@dataclass(frozen=True, eq=False)
class RoughFit:
    """Where the posterior is about highest given the standard deviations, and what the rows say there."""

    table: GroupTable
    scales: Array
    """(scales,) standard deviations of effects."""
    seen: Array
    """(scales,) of how many effects the rows tell."""
    effects: Array
    """(J, r)"""
    rest: Array
    """(m + k,)"""
    quadratic: Quadratic

    @property
    def shift(self) -> Array:
        """(n,) what effects add to the line, zero where rows do not count."""
        layout, table = self.table.layout, self.table
        rest = self.rest.copy()
        rest[layout.n_columns :] = 0.0
        found = np.zeros(len(table.problem.rows.y))
        found[table.used] = table.line(self.effects, rest)
        return found

    def marginal(self, offset: Array) -> tuple[Array, Array]:
        """Return minus the curvature of the rows' log density in B, effects integrated over, and its slope at a B."""
        layout, (own, across, rest, pull, pull_rest) = self.table.layout, self.quadratic
        m, precision = layout.n_columns, 1.0 / np.square(self.scales)
        moved = np.linalg.solve(own + np.diag(precision[layout.scales(layout.main)]), across)
        rest = rest - np.einsum("gik,gil->kl", across, moved)
        pull_rest = pull_rest - np.einsum("gik,gi->k", moved, pull)
        rest[np.arange(m), np.arange(m)] += precision[layout.scale_of_column]
        moved = np.linalg.solve(rest[:m, :m], np.column_stack([rest[:m, m:], pull_rest[:m]]))
        curvature = rest[m:, m:] - rest[m:, :m] @ moved[:, :-1]
        pull = pull_rest[m:] - rest[m:, :m] @ moved[:, -1]
        return 0.5 * (curvature + curvature.T), pull - curvature @ offset

    def arrays(self, basis: Array | None, start: Array) -> dict[str, Array | float]:
        """Return what `GroupsAt` takes.

        Parameters
        ----------
        basis : ndarray of shape (k, k) or None
            Directions of B; None: its own.
        start : ndarray of shape (k,)
            What B is from there.
        """
        quadratic, layout, problem = self.quadratic, self.table.layout, self.table.problem
        m = layout.n_columns
        turn = np.eye(m + len(start))
        if basis is not None:
            turn[m:, m:] = basis
        shift = np.append(np.zeros(m), start)
        own = quadratic.own
        pull = quadratic.pull - quadratic.across @ shift
        rest_pull = quadratic.pull_rest - quadratic.rest @ shift
        rest = turn.T @ quadratic.rest @ turn
        across = np.concatenate([quadratic.across @ turn, pull[:, :, None]], axis=2)
        unit, of_main = np.empty(layout.n_scales), layout.scales(layout.main)
        for scale in range(layout.n_scales):
            if of_main.start <= scale < of_main.stop:
                information = own[:, scale - of_main.start, scale - of_main.start]
            else:
                information = np.diagonal(quadratic.rest)[:m][layout.scale_of_column == scale]
            typical = float(np.median(information) or information.mean() or 1.0)
            unit[scale] = (2.0 / len(information)) ** 0.25 / np.sqrt(typical)
        return {
            "group_unit": problem.group_prior[1],
            "effects_own": np.ascontiguousarray(own.transpose(1, 2, 0)),
            "effects_across": np.ascontiguousarray(across.transpose(1, 0, 2)),
            "effects_rest": np.column_stack([rest, turn.T @ rest_pull]),
            "effect_unit": unit,
            "effect_place": place_of(self.scales, unit, vanishing(problem)),
            "effect_spread": np.clip(1.0 / np.sqrt(2.0 * self.seen), 0.1, 1.0),
        }


def rough_fit(
    table: GroupTable, prior: tuple[Array, Array], coordinates: Array, last: RoughFit | None
) -> RoughFit:
    """Return the fit given the likelihood's own parameters.

    Parameters
    ----------
    table : GroupTable
    prior : tuple of ndarray
        Means and standard deviations of Gaussians about as wide as the priors of B's free entries.
    coordinates : ndarray of shape (A,)
        Of the likelihood's own parameters.
    last : RoughFit or None
        Where to start from.
    """
    layout, problem = table.layout, table.problem
    J, r, m = layout.sizes[layout.main], layout.widths[layout.main], layout.n_columns
    mean, sd = prior
    precision_B = 1.0 / np.square(sd)
    if last is None:
        start = np.where(np.isfinite(sd), mean, 0.0)
        if problem.fit_intercept and not problem.likelihood.link.is_identity:
            start[0] = problem.likelihood.link.of(np.array(problem.pooled_mean / problem.rate_unit))
        effects, rest = np.zeros((J, r)), np.append(np.zeros(m), start)
        scales = np.full(layout.n_scales, 0.5 * problem.group_prior[1])
    else:
        effects, rest, scales = last.effects, last.rest, last.scales
    seen = np.ones(layout.n_scales)

    def density(effects: Array, rest: Array) -> float:
        found = _derivatives(table, effects, rest, coordinates).value @ table.frequency
        found -= 0.5 * (np.square(effects) / np.square(scales[layout.scales(layout.main)])).sum()
        found -= 0.5 * (np.square(rest[:m]) / np.square(scales[layout.scale_of_column])).sum()
        return float(
            found - 0.5 * (np.square(rest[m:] - np.where(np.isfinite(sd), mean, 0.0)) * precision_B).sum()
        )

    # So often the standard deviations follow the effects; they are as good as found before.
    rounds, same = 40, 0.02
    for _ in range(rounds):
        quadratic = table.quadratic(_derivatives(table, effects, rest, coordinates), effects, rest)
        own = 1.0 / np.square(scales[layout.scales(layout.main)])
        of_rest = np.append(1.0 / np.square(scales[layout.scale_of_column]), precision_B)
        pull = np.append(np.zeros(m), np.where(np.isfinite(sd), mean, 0.0) * precision_B)
        to_effects, to_rest, variances, rest_variances = quadratic.solved(own, of_rest, pull)
        step, here = 1.0, density(effects, rest)
        while step > 1e-3 and not density(
            effects + step * (to_effects - effects), rest + step * (to_rest - rest)
        ) >= here - 1e-6 * abs(here):
            step *= 0.5
        moved = step * (to_effects - effects), step * (to_rest - rest)
        effects, rest = effects + moved[0], rest + moved[1]
        before = scales
        scales, seen = _scales(table, scales, effects, rest, variances, rest_variances)
        if step == 1.0 and np.abs(np.log(scales / before)).max() < same:
            break
    quadratic = table.quadratic(_derivatives(table, effects, rest, coordinates), effects, rest)
    return RoughFit(table, scales, seen, effects, rest, quadratic)


def _derivatives(table: GroupTable, effects: Array, rest: Array, coordinates: Array) -> Derivatives:
    with np.errstate(all="ignore"):
        return table.problem.likelihood.derivatives(table.line(effects, rest), coordinates, table.data)


def _scales(
    table: GroupTable, scales: Array, effects: Array, rest: Array, variances: Array, rest_variances: Array
) -> tuple[Array, Array]:
    """Return standard deviations by the effects' sizes and what rows tell of them, and of how many they do."""
    layout = table.layout
    found, seen = scales.copy(), np.empty_like(scales)
    for scale in range(layout.n_scales):
        first = layout.scales(layout.main).start
        if layout.scales(layout.main).start <= scale < layout.scales(layout.main).stop:
            values, left = effects[:, scale - first], variances[:, scale - first]
        else:
            here = np.flatnonzero(layout.scale_of_column == scale)
            values, left = rest[here], rest_variances[here]
        told = np.clip(1.0 - left / scales[scale] ** 2, 0.0, 1.0)
        seen[scale] = max(float(told.sum()), 0.1)
        size = np.sqrt((np.square(values).sum() + 1e-300) / seen[scale])
        # Rows cannot tell smaller ones from none.
        least = (2.0 / len(values)) ** 0.25 * 0.3 * float(np.sqrt(np.median(left / np.maximum(told, 1e-3))))
        found[scale] = np.clip(max(size, least), 0.1 * scales[scale], 10.0 * scales[scale])
    return found, seen


def vanishing(problem: Problem) -> bool:
    """Return whether the density of standard deviations vanishes at zero, so that their logs are sampled."""
    return problem.group_prior[0].vanishes_at_zero


def place_of(scales: Array, unit: Array, in_logs: bool) -> Array:
    """Return coordinates of standard deviations."""
    return np.log(scales) if in_logs else np.arcsinh(scales / unit)


def group_columns(problem: Problem, design: Array) -> list[Array]:
    """Return columns of the sampler's rows: which groups each is of, and features whose slopes differ.

    Parameters
    ----------
    problem : Problem
    design : ndarray of shape (n, k)
        Of the free entries of B.
    """
    groupings, members = problem.groupings, problem.rows.members
    if groupings is None or members is None:
        return []
    first = int(problem.fit_intercept)
    slopes = [design[:, first + place] for places in groupings.slopes for place in places]
    return [members.astype(np.float64), *slopes]
