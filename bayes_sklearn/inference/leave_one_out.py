"""Exact leave-one-out: the density of every target given all other rows, without a refit.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from . import exact
from .compressed import compress
from .exact import Integrand, Nodes
from .posterior import Factors, NodeCovariances, SharedBasis, row_blocks
from .problem import Problem, SamplerSettings

Array = NDArray[np.float64]
Index = NDArray[np.intp]

__all__ = ["LeaveOneOut", "leave_one_out"]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))
# Nodes beyond those that the posterior has, in shares of their range: rows that are not far out need no more.
_BEYOND = (0.4, 0.1)
# A density that has fallen so far (its log) at the ends of the nodes is held by them.
_FALLEN = 28.0
# Sums over every node and over every second that agree to this leave an error near its square.
_AGREE = 1e-5
# With so many rows that nodes have to be this close, refits are cheaper.
_MAX_NODES = 2**12
# What a row leaves to others, 1 - h, is a difference: below this too few of its digits are right.
_DETERMINED = 1e-7
# Nor where the row's own part of the log density is as large as this.
_LARGEST = 1e6


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
    found = (
        _Known(problem) if problem.noise == "known" else _Lattice.of(exact.integrand(problem), noise_scale)
    )
    density, density_with, pit = np.full((3, len(table.rows)), np.nan)
    weights = found.log_weights
    # Of large logs, a sum of exponentials is not one, but for a division.
    share = np.exp(weights - weights.max())
    location = share @ found.nodes.location / share.sum()
    pending, n_nodes, first = np.arange(len(table.rows)), len(weights), with_rows
    undetermined: list[Index] = []
    while len(pending):
        judged = _stacked(
            [_judge(table, pending[block], found, first, with_rows) for block in table.blocks(pending, found)]
        )
        density[pending] = judged.log_density
        if judged.pit is not None:
            pit[pending] = judged.pit
        if judged.log_density_with is not None:
            density_with[:] = judged.log_density_with
        undetermined.append(pending[judged.undetermined])
        lacking = [kind & ~judged.undetermined for kind in (judged.left, judged.right, judged.closer)]
        pending, first = pending[np.logical_or.reduce(lacking)], False
        if len(pending) and not found.widen(*(bool(kind.any()) for kind in lacking)):
            undetermined.append(pending)
            break
    # Leverages sum to P at most, and rows that far out are few.
    for i in np.concatenate(undetermined):
        density[i], pit[i] = _refitted(problem, table, int(i))
    jacobian = float(np.log(problem.scaling.y_scale))
    return LeaveOneOut(
        density - jacobian, density_with - jacobian, pit, table.frequency, location, n_nodes, table.rows
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

    @classmethod
    def of(cls, problem: Problem) -> _Table:
        frequency = problem.rows.frequency
        n = len(problem.rows.y)
        rows = np.arange(n) if frequency is None else np.flatnonzero(frequency)
        data = problem.observations()
        error = np.broadcast_to(data.standard_error, (n,))[rows]
        counts = np.ones(n) if frequency is None else frequency[rows]
        return cls(problem, rows, data.y[rows], np.square(error), counts, np.minimum(counts, 1.0))

    def blocks(self, members: Index, found: _Lattice | _Known) -> list[slice]:
        """Return slices of the members whose arrays of rows and nodes stay small."""
        G, P = found.nodes.location.shape
        width = G * P if isinstance(found.nodes.covariances, Factors) else G
        return list(row_blocks(len(members), max(width, P)))

    def design(self, members: Index) -> Array:
        """Return [1, x], or x without an intercept."""
        problem = self.problem
        first = int(problem.fit_intercept)
        x = np.asarray(problem.rows.take(self.rows[members]), dtype=np.float64)
        design = np.ones((len(x), x.shape[1] + first))
        design[:, first:] = (x - problem.scaling.x_mean) / problem.scaling.x_scale
        return design

    def variance(self, members: Index, noise_scale: Array) -> Array:
        """Return the noise variance at every node, (rows, G)."""
        square = self.square[members, None]
        if self.problem.noise == "known":
            return square
        scale: Array = np.square(noise_scale)
        return square + scale if self.problem.noise == "additive" else square * scale


class _Known:
    """The one node of noise "known"."""

    def __init__(self, problem: Problem):
        prior = problem.gaussian_prior
        if prior is None:
            raise ValueError("Exact leave-one-out is for Gaussian and flat priors.")
        self.nodes = exact.known_node(problem, *prior)
        self.log_weights = np.zeros(1)
        self.ends = (False, False)

    def widen(self, left: bool, right: bool, closer: bool) -> bool:
        """Return False: there is nothing that could be added."""
        return False


class _Lattice:
    """Evenly spaced nodes, as many as the rows ask for."""

    def __init__(self, integrand: Integrand, start: float, spacing: float, count: int):
        self._integrand, self._start, self._spacing = integrand, start, spacing
        self._room = max(0, int((start - integrand.lower) / spacing))
        self._first, self._last = -min(self._room, int(_BEYOND[0] * count)), count + int(_BEYOND[1] * count)
        self.nodes = integrand.nodes(self._points(self._first, self._last))

    @classmethod
    def of(cls, integrand: Integrand, noise_scale: Array) -> _Lattice:
        """Continue the nodes of a posterior."""
        u = np.sort(integrand.coordinate(noise_scale))
        gaps = np.diff(u)
        spacing, start = float(gaps.min()), float(u[0])
        power = float(np.exp2(np.rint(np.log2(spacing))))
        if np.isclose(spacing, power, rtol=1e-6):  # nodes on a lattice, but for rounding
            spacing, start = power, float(np.rint(start / power) * power)
        return cls(integrand, start, spacing, round((u[-1] - u[0]) / spacing))

    def _points(self, first: int, last: int) -> Array:
        return self._start + self._spacing * np.arange(first, last + 1, dtype=np.float64)

    @property
    def log_weights(self) -> Array:
        """(G,) the density times the spacing."""
        return self.nodes.log_density + np.log(self._spacing)

    @property
    def ends(self) -> tuple[bool, bool]:
        """Whether there may be more on the left, and on the right."""
        return self._first > -self._room, True

    def widen(self, left: bool, right: bool, closer: bool) -> bool:
        """Add nodes on the sides that want them, or double them; return False if there can't be more."""
        count = len(self.nodes.noise_scale)
        if count > _MAX_NODES:
            return False
        if left or right:
            first = max(self._first - left * count, -self._room)
            last = self._last + right * count
            before = self._integrand.nodes(self._points(first, self._first - 1)) if left else None
            after = self._integrand.nodes(self._points(self._last + 1, last)) if right else None
            self.nodes = _joined([part for part in (before, self.nodes, after) if part is not None])
            self._first, self._last = first, last
        elif closer:
            self._spacing *= 0.5
            self._room *= 2
            self._first, self._last = 2 * self._first, 2 * self._last
            self.nodes = self._integrand.nodes(self._points(self._first, self._last))
        return True


def _joined(parts: list[Nodes]) -> Nodes:
    """Return nodes of one integrand in one."""
    covariances: NodeCovariances
    first = parts[0].covariances
    if isinstance(first, SharedBasis):
        variances = [
            part.covariances.variances for part in parts if isinstance(part.covariances, SharedBasis)
        ]
        covariances = SharedBasis(first.basis, np.concatenate(variances))
    else:
        factors = [part.covariances.factors for part in parts if isinstance(part.covariances, Factors)]
        covariances = Factors(np.concatenate(factors))
    return Nodes(
        np.concatenate([part.log_density for part in parts]),
        np.concatenate([part.noise_scale for part in parts]),
        np.concatenate([part.location for part in parts]),
        covariances,
    )


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
    """... and in between."""


def _judge(
    table: _Table, members: Index, found: _Lattice | _Known, with_row: bool, with_pit: bool
) -> _Judged:
    """Sum over the nodes for some rows, (41) to (44)."""
    design, nodes, weights = table.design(members), found.nodes, found.log_weights
    variance = table.variance(members, nodes.noise_scale)
    spread = nodes.covariances.quadratic(design)
    away = table.y[members, None] - design @ nodes.location.T
    square = np.square(away)
    with_row_density = None
    if with_row:
        with_row_density = _log_mean(weights, _log_normal(square, variance + spread))
    left_out = table.left_out[members, None]
    leverage = spread / variance
    rest = 1.0 - left_out * leverage
    undetermined = rest < _DETERMINED
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
    more_left, more_right = found.ends
    left = more_left & (log_rest[:, 0] > top - _FALLEN)
    right = more_right & (log_rest[:, -1] > top - _FALLEN)
    # Where the nodes end in the midst of the density, at the resolution, closer ones would do no better.
    inside = more_left | (log_rest[:, 0] < top - 0.5 * _FALLEN)
    closer = inside & more_right & (np.abs(2.0 * share[:, ::2].sum(axis=1) - total) > _AGREE * total)
    # What nodes without weight say does not matter.
    undetermined |= own < -_LARGEST
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
    others = replace(rows, frequency=frequency)
    unit = 1.0 if problem.standard_error is None else problem.standard_error
    try:
        without = replace(problem, rows=others, state=compress(others, unit))
        posterior = exact.solve(without, SamplerSettings())
    except ValueError as improper:
        raise ValueError(
            f"Without row {row} of the table there is no leave-one-out: {improper}"
        ) from improper
    members = np.array([member])
    design = np.zeros((1, posterior.location.shape[1]))
    design[:, -table.design(members).shape[1] :] = table.design(members)
    mean, spread = posterior.linear(design)
    variance = table.variance(members, posterior.noise_scale) + spread
    away = table.y[member] - mean
    pit = float((ndtr(away / np.sqrt(variance)) @ posterior.weights)[0])
    if posterior.log_evidence is not None and table.left_out[member] == 1.0:
        # Between two integrals, each with its own nodes: the mixture's tails would end with those of the others.
        whole = exact.solve(problem, SamplerSettings()).log_evidence
        if whole is not None:
            return whole - posterior.log_evidence + float(np.log(problem.scaling.y_scale)), pit
    log_density = _log_mean(np.log(posterior.weights), _log_normal(np.square(away), variance))
    return float(log_density[0]), pit
