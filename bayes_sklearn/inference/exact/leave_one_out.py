"""Exact leave-one-out: the density of every target given all other rows, without a refit.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from ...measurements.compressed import taken
from ...measurements.correlated.covariance import columns_of
from ..node_covariances import Factors
from ..posterior import Posterior, row_blocks
from ..problem import Problem
from . import engine as exact
from .leave_one_out_nodes import Component, LeftOutNodes, components

__all__ = ["LeaveOneOut", "leave_one_out"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))

# Sums over every node and over every second that agree to this leave an error near its square.
_AGREE = 1e-5


class LeaveOneOut(NamedTuple):
    """What is known of rows without them; rows of weight zero are left out."""

    log_density: Array
    """(n,) of each target given the other rows, and the other copies of its own, in the data's unit."""
    log_density_with: Array
    """(n,) of a copy of each target given all rows."""
    pit: Array
    """(n,) probability of less than each target given the other rows."""
    frequency: Array
    """(n,) how often each row counts."""
    location: Array
    """(P,) posterior mean of B given all rows, in the model's units."""
    n_nodes: int
    """Nodes of the noise scale for all but the far rows."""
    rows: Index
    """(n,) positions of these rows among all."""

    @property
    def elpd(self) -> float:
        """Expected log pointwise predictive density: a row of frequency k counts as k rows."""
        return float(self.frequency @ self.log_density)


def leave_one_out(problem: Problem, noise_scale: Array, *, with_rows: bool = True) -> LeaveOneOut:
    """Return the log density of each target given all rows but one copy of its own, (41) to (44).

    The scaling of features and target and the errors of the target stay those of all rows.

    Parameters
    ----------
    problem : Problem
        One that the exact engine takes.
    noise_scale : ndarray of shape (G,)
        The nodes of its posterior, in the model's units: where, and how close, nodes have to be.
    with_rows : bool, default=True
        Whether ``log_density_with`` and ``pit`` are wanted; they are NaN otherwise.

    Raises
    ------
    ValueError
        Where the posterior without one of the rows is improper, or the noise scale beyond double precision.
    """
    table = _Table.of(problem)
    if problem.correlated is not None and not (table.left_out == 1.0).all():
        raise ValueError(
            "sample_weight has frequencies below one: there is no leave-one-out of parts of rows whose errors go"
            " together. Multiply the weights."
        )
    if not problem.tail - float(table.left_out.max()) > 0.0 and problem.has_noise_scale:
        raise ValueError(
            "Without one row the posterior is improper: the others are too few to bound the noise scale from above."
            " Use noise_prior=HalfNormal(), or more rows."
        )
    if problem.has_noise_scale and len(noise_scale) == 1:
        raise ValueError(
            "Double precision can't tell how certain the noise scale is, and so not what one row says of it: there is"
            " no leave-one-out. Check the units of noise_prior, coef_prior, y_err and sample_weight."
        )
    judged = [
        _without(table.given(component.scatter), component, with_rows)
        for component in components(problem, noise_scale)
    ]
    together = _together(judged, few=problem.groupings is not None)
    density, pit = together.log_density, together.pit
    for i in together.undetermined:  # leverages sum to P at most, and rows that far out are few
        density[i], pit[i] = _refitted(problem, table, int(i))
    jacobian = float(np.log(problem.scaling.y_scale))
    return LeaveOneOut(
        density - jacobian,
        together.log_density_with - jacobian,
        pit,
        table.frequency,
        together.location,
        sum(found.n_nodes for found in judged),
        table.rows,
    )


class _Found(NamedTuple):
    """What one component says of the rows, in the model's units."""

    log_density: Array
    log_density_with: Array
    pit: Array
    undetermined: Index
    far: Index
    """Rows whose nodes end before the density without them has fallen."""
    log_total: float
    location: Array
    n_nodes: int


def _without(table: _Table, component: Component, with_rows: bool) -> _Found:
    """Return what the nodes of a component say of each row without it."""
    found = component.found
    density, density_with, pit = np.full((3, len(table.rows)), np.nan)
    weights = found.log_weights
    # Of large logs, a sum of exponentials is not one, but for a division.
    share = np.exp(weights - weights.max())
    location = share @ found.nodes.location / share.sum()
    log_total = float(logsumexp(weights)) + component.log_weight
    pending, n_nodes, first = np.arange(len(table.rows)), len(weights), with_rows
    undetermined: list[Index] = []
    far, moved = np.empty(0, dtype=np.intp), False
    while len(pending):
        judged = _stacked(
            [
                _judge(table, pending[block], component, first, with_rows)
                for block in table.blocks(pending, found)
            ]
        )
        density[pending] = judged.log_density
        if judged.pit is not None:
            pit[pending] = judged.pit
        if judged.log_density_with is not None:
            density_with[:] = judged.log_density_with
        undetermined.append(pending[judged.undetermined])
        known, beyond = judged.undetermined, (judged.left | judged.right) & ~judged.undetermined
        if moved and beyond.sum() <= found.lacking.few_far:
            far, known = np.append(far, pending[beyond]), known | beyond
        left, right, closer = judged.left & ~known, judged.right & ~known, judged.closer & ~known[:, None]
        pending, first = pending[left | right | closer.any(axis=1)], False
        moved = bool(left.any() or right.any())
        sides = bool(left.any()), bool(right.any())
        if len(pending) and not found.widen(*sides, [bool(axis.any()) for axis in closer.T]):
            undetermined.append(pending)
            break
    return _Found(density, density_with, pit, np.concatenate(undetermined), far, log_total, location, n_nodes)


class _Together(NamedTuple):
    """What all components say of the rows."""

    log_density: Array
    log_density_with: Array
    pit: Array
    undetermined: Index
    location: Array


def _together(found: list[_Found], *, few: bool) -> _Together:
    """Return the components' averages: without a row each counts by its part of the others' density, (43a).

    `few` of them stand for many: rows without which others would do so are to be fitted anew.
    """
    if len(found) == 1:  # nothing is averaged, and no digit lost
        (only,) = found
        undetermined = np.union1d(only.undetermined, only.far)
        return _Together(only.log_density, only.log_density_with, only.pit, undetermined, only.location)
    totals = np.array([one.log_total for one in found])
    density = np.array([one.log_density for one in found])
    rest = totals[:, None] - density
    of_rest = logsumexp(rest, axis=0)
    share = np.exp(totals - logsumexp(totals))
    with_row = logsumexp(totals[:, None] + np.array([one.log_density_with for one in found]), axis=0)
    # What a component without weight can't tell of a row does not matter.
    lost = [
        one.undetermined[rest[i, one.undetermined] > of_rest[one.undetermined] + np.log(_AGREE)]
        for i, one in enumerate(found)
    ]
    # How much less (its log) than elsewhere has been found where nodes end too early still matters.
    unseen = 60.0
    lost += [one.far[rest[i, one.far] > of_rest[one.far] - unseen] for i, one in enumerate(found)]
    if few:
        # So many times more or less likely than with the row, a component was not chosen for what is left.
        moved = (rest - of_rest) - (totals - logsumexp(totals))[:, None]
        lost.append(
            np.flatnonzero(np.where(rest - of_rest > np.log(1e-4), moved, 0.0).max(axis=0) > np.log(20.0))
        )
    return _Together(
        logsumexp(totals) - of_rest,
        with_row - logsumexp(totals),
        np.einsum("cn,cn->n", np.exp(rest - of_rest), np.array([one.pit for one in found])),
        np.unique(np.concatenate(lost)),
        share @ np.array([one.location for one in found]),
    )


def _stacked(parts: list[_Judged]) -> _Judged:
    """Return the blocks of rows as one."""
    with_row = [part.log_density_with for part in parts if part.log_density_with is not None]
    pit = [part.pit for part in parts if part.pit is not None]
    return _Judged(
        np.concatenate([part.log_density for part in parts]),
        np.concatenate(with_row) if with_row else None,
        np.concatenate(pit) if pit else None,
        np.concatenate([part.undetermined for part in parts]),
        np.concatenate([part.left for part in parts]),
        np.concatenate([part.right for part in parts]),
        np.concatenate([part.closer for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class _Table:
    """The rows that count, in the model's units."""

    problem: Problem
    rows: Index
    """(n,) their positions."""
    y: Array
    square: Array
    """(n,) of the known errors."""
    frequency: Array
    left_out: Array
    """(n,) one copy, or all that there is of it."""
    conditional: Array | None = None
    """(n, P) where errors go together: the design of each row given the errors of the others; `y` and `square`, which
    then has a scatter in it, are given them, too."""

    @classmethod
    def of(cls, problem: Problem) -> _Table:
        frequency = problem.rows.frequency
        n = len(problem.rows.y)
        rows = np.arange(n) if frequency is None else np.flatnonzero(frequency)
        data = problem.observations()
        error = np.broadcast_to(data.standard_error, (n,))[rows]
        counts = np.ones(n) if frequency is None else frequency[rows]
        return cls(problem, rows, data.y[rows], np.square(error), counts, np.minimum(counts, 1.0))

    def given(self, scatter: float) -> _Table:
        """Return rows given the errors of the others, (69c), a scatter (in the model's units) added to them."""
        problem = self.problem
        if problem.correlated is None:
            return self
        columns = columns_of(problem.rows, problem.scaling.mean)
        product, inverse = problem.solved(columns, scatter * problem.scaling.y_scale)
        square = 1.0 / inverse[self.rows]
        own = square[:, None] * product[self.rows]
        own[:, 1:] /= np.append(problem.scaling.x_scale, problem.scaling.y_scale)
        design = own[:, int(not problem.fit_intercept) : -1]
        return replace(self, y=own[:, -1], square=square / problem.error_unit**2, conditional=design)

    def blocks(self, members: Index, found: LeftOutNodes) -> list[slice]:
        """Return slices of the members whose arrays of rows and nodes stay small."""
        G, P = found.nodes.location.shape
        width = G * P if isinstance(found.nodes.covariances, Factors) else G
        return list(row_blocks(len(members), max(width, P)))

    def design(self, members: Index) -> Array:
        """Return [1, x], or x without an intercept."""
        if self.conditional is not None:
            return self.conditional[members]
        return self.problem.design_at(self.rows[members])[:, int(not self.problem.fit_intercept) :]

    def line(self, members: Index, component: Component) -> tuple[Array, Array, Array]:
        """Return a design, targets less what coefficients have no part in, and variances beside, (rows, G)."""
        if component.line is None:
            return self.design(members), self.y[members], np.zeros((1, 1))
        given, nodes = component.line(self.rows[members]), component.found.nodes
        design = given.design[:, int(not self.problem.fit_intercept) :]
        square = np.square(self.problem.effect_unit(nodes.noise_scale))
        return design, self.y[members] - given.constant, given.variance[:, None] * square

    def variance(self, members: Index, noise_scale: Array, scatter: Array | float = 0.0) -> Array:
        """Return the noise variance at every node, (rows, G); a scatter is in multiples of the noise scale."""
        if self.conditional is not None:
            multiplied = self.problem.noise.multiplies
            return self.square[members, None] * (np.square(noise_scale) if multiplied else np.ones(1))
        square = self.square[members, None] + np.square(scatter)
        scale: Array = np.square(noise_scale)
        plain = self.problem.noise.only_scatters and not np.any(scatter)
        return square + scale if plain else square * scale


class _Judged(NamedTuple):
    """What the nodes say of some rows, and whether they are enough; (rows,) each."""

    log_density: Array
    log_density_with: Array | None
    pit: Array | None
    undetermined: NDArray[np.bool_]
    """Whether too few digits are left."""
    left: NDArray[np.bool_]
    """Whether there should be more nodes on the left, ..."""
    right: NDArray[np.bool_]
    """... on the right, ..."""
    closer: NDArray[np.bool_]
    """... and in between, (rows, axes)."""


def _judge(table: _Table, members: Index, component: Component, with_row: bool, with_pit: bool) -> _Judged:
    """Sum over the nodes for some rows, (41) to (44)."""
    found = component.found
    nodes, weights = found.nodes, found.log_weights
    design, target, beside = table.line(members, component)
    variance = table.variance(members, nodes.noise_scale, component.scatter)
    spread = nodes.covariances.quadratic(design) + beside
    away = target[:, None] - design @ nodes.location.T
    square = np.square(away)
    with_row_density = None
    if with_row:
        with_row_density = _log_mean(weights, _log_normal(square, variance + spread))
    left_out = table.left_out[members, None]
    leverage = spread / variance
    rest = 1.0 - left_out * leverage
    # What a row leaves to others, 1 - h, is a difference: below this too few of its digits are right.
    undetermined = rest < 1e-7
    np.maximum(rest, np.finfo(np.float64).eps, out=rest)
    square /= rest
    square /= variance
    # The row's own part of p(data | s), (42).
    whole = bool((left_out == 1.0).all())
    if whole:
        own = np.log(variance / rest)
        own += square
        own += _LOG_TWO_PI
        own *= -0.5
    else:
        own = -0.5 * (left_out * (square + _LOG_TWO_PI + np.log(variance)) - np.log(rest))
    log_rest = weights - own
    top = log_rest.max(axis=1)
    share = np.exp(log_rest - top[:, None])
    total = share.sum(axis=1)
    if whole:
        # A whole copy's part is the density that is asked for, (43).
        density = float(logsumexp(weights)) - top - np.log(total)
    else:
        wider = rest + leverage
        copy = -0.5 * (square / wider + _LOG_TWO_PI + np.log(variance * wider / rest))
        density = logsumexp(log_rest + copy, axis=1) - top - np.log(total)
    pit = None
    if with_pit:
        # From the mean without the row, in the standard deviation of a copy of it.
        away /= np.sqrt(variance * rest * (rest + leverage))
        pit = (share * ndtr(away)).sum(axis=1) / total
    lacking = found.lacking
    left = log_rest[:, lacking.left].max(axis=1, initial=-np.inf) > top - lacking.fallen
    right = log_rest[:, lacking.right].max(axis=1, initial=-np.inf) > top - lacking.fallen
    # Where the nodes end in the midst of the density, at the resolution, closer ones would do no better.
    inside = bool(len(lacking.left)) | (log_rest[:, 0] < top - 0.5 * lacking.fallen)
    uneven = np.zeros((len(members), len(lacking.halves)), dtype=bool)
    for axis, half in enumerate(lacking.halves):
        uneven[:, axis] = np.abs(2.0 * share[:, half].sum(axis=1) - total) > lacking.agree * total
    closer = (inside & bool(len(lacking.right)))[:, None] & uneven
    # Nor where the row's own part of the log density is as large as this.
    largest = 1e6
    # What nodes without weight say does not matter.
    undetermined |= own < -largest
    if undetermined.any():
        undetermined &= share > _AGREE**2
    return _Judged(density, with_row_density, pit, np.asarray(undetermined.any(axis=1)), left, right, closer)


def _log_normal(square: Array, variance: Array) -> Array:
    """Return the log density of a normal distribution at a squared distance from its mean."""
    return -0.5 * (square / variance + np.log(variance) + _LOG_TWO_PI)


def _log_mean(log_weights: Array, log_values: Array) -> Array:
    """Return the log of the weighted mean along the last axis."""
    return np.asarray(logsumexp(log_weights + log_values, axis=-1)) - float(logsumexp(log_weights))


def _refitted(problem: Problem, table: _Table, member: int) -> tuple[float, float]:
    """Return the log density of a row given the others, and the probability of less, by fitting them."""
    row, rows = table.rows[member], problem.rows
    frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency.copy()
    frequency[row] -= table.left_out[member]
    try:
        posterior = exact.solve_anyway(problem.weighted(frequency))
    except ValueError as improper:
        raise ValueError(
            f"Without row {row} of the table there is no leave-one-out: {improper}"
        ) from improper
    away, variance = _predicted(table, member, posterior)
    pit = float((ndtr(away / np.sqrt(variance)) @ posterior.weights)[0])
    if posterior.log_evidence is not None and table.left_out[member] == 1.0:
        # Between two integrals, each with its own nodes: the mixture's tails would end with those of the others.
        whole = exact.solve_anyway(problem).log_evidence
        if whole is not None:
            return whole - posterior.log_evidence + float(np.log(problem.scaling.y_scale)), pit
    log_density = _log_mean(np.log(posterior.weights), _log_normal(np.square(away), variance))
    return float(log_density[0]), pit


def _predicted(table: _Table, member: int, posterior: Posterior) -> tuple[Array, Array]:
    """Return how far a row lies from its mean at every node of a posterior, and its variance there, (1, G) each."""
    problem, members, noise_scale = table.problem, np.array([member]), posterior.noise_scale
    scatter = np.zeros_like(noise_scale) if posterior.scatter is None else posterior.scatter / noise_scale
    if problem.correlated is None:
        alike = [(table, np.arange(len(scatter)))]
    else:
        ratio = noise_scale if problem.noise.only_scatters else scatter
        steps, which = np.unique(ratio, return_inverse=True)
        alike = [(table.given(float(step)), np.flatnonzero(which == i)) for i, step in enumerate(steps)]
    away, variance = np.empty((2, 1, len(scatter)))
    for of, nodes in alike:
        own = of.design(members)
        design = np.zeros((1, posterior.location.shape[1]))
        design[:, -own.shape[1] :] = own
        mean, spread = posterior.line(design, taken(problem.rows.members, table.rows[members]))
        away[:, nodes] = of.y[member] - mean[:, nodes]
        noise = of.variance(members, noise_scale[nodes], scatter[nodes])
        variance[:, nodes] = noise + spread[:, nodes]
    return away, variance
