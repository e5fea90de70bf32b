"""Nodes for leave-one-out: lattices that widen, or close up, as far as the rows ask for.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..given_scale import ConditionalPrior, GivenScale
from ..groups.effects import Conditional
from ..node_covariances import Factors, NodeCovariances, SharedBasis
from ..problem import Problem
from .engine import Integrand, integrand, known_node
from .grouped import points
from .learned_scale import ScaleIntegrand
from .noise_integrals import Nodes, ScaledIntegrand
from .scatter_integrals import scatters
from .weightings import Weighting, given_geometries, learned, weighting

__all__ = ["Component", "LeftOutNodes", "components"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


# How far the density of two scales has to have fallen at the ends (its log), and how much more before rows are seen.
_FALLEN, _ROOM = 15.0, 5.0


# With so many rows that nodes have to be this close, refits are cheaper.
_MAX_NODES, _MAX_SCALES = 2**12, 2**16


class Lacking(NamedTuple):
    """How it shows that nodes are too few: by the mass of some of them."""

    left: Index
    """Nodes with no neighbour on one side, beyond which there may be more ..."""
    right: Index
    """... and on the other."""
    halves: tuple[Index, ...]
    """Every second node of each axis: they should hold half of the mass."""
    fallen: float = 28.0
    """How far the density has to have fallen (its log) at the ends."""
    agree: float = 1e-5
    """How well halves have to agree: the error is near the square."""
    few_far: int = 0
    """So many rows are better fitted anew than given nodes beyond ends that were moved out before."""


class LeftOutNodes(Protocol):
    """Nodes of the posterior given all rows, far enough apart and close enough for those of fewer."""

    nodes: Nodes

    @property
    def log_weights(self) -> Array:
        """(G,) the density times the spacing."""

    @property
    def lacking(self) -> Lacking:
        """By which nodes it shows that there are too few."""

    def widen(self, left: bool, right: bool, closer: Sequence[bool]) -> bool:
        """Add nodes on the sides that want them, or double them, by axes; return False if there can't be more."""


Line = Callable[[Index], Conditional]


class Component(NamedTuple):
    """Nodes that see the rows with errors of one kind."""

    found: LeftOutNodes
    scatter: float = 0.0
    """Added in quadrature to the errors, in multiples of the noise scale; zero: as the problem has it."""
    log_weight: float = 0.0
    """What the nodes' weights are multiplied by."""
    line: Line | None = None
    """Where rows are in groups: the line at rows of these positions, given B."""


def components(problem: Problem, noise_scale: Array) -> list[Component]:
    """Return the nodes: several components where geometries, or weightings of the rows, have nodes of their own.

    Parameters
    ----------
    problem : Problem
    noise_scale : ndarray of shape (G,)
        The nodes of the posterior, in the model's units.
    """
    prior, gaussian = problem.conditional_prior, problem.gaussian_prior
    if prior is None:
        raise ValueError("Exact leave-one-out is for priors that are Gaussian given their scale.")
    if problem.groupings is not None:
        return _of_groups(problem, prior.distinct)
    if gaussian is not None and not problem.noise.has_scale:
        return [Component(Known(known_node(problem, *gaussian)))]
    # Where errors go together, each scatter has rows of its own: nodes of one scatter stand for one.
    alike = problem.correlated is None or not problem.noise.scatters
    if gaussian is not None and not problem.noise.combined and alike:
        return [Component(NoiseLattice.of(integrand(problem), noise_scale))]
    prior = prior.distinct
    if problem.noise.scatters:
        rows, log_spacing = scatters(problem, prior)
    else:
        rows, log_spacing = [weighting(problem)], 0.0
    return [part for one in rows for part in _of_weighting(problem, prior, one, log_spacing)]


def _of_weighting(
    problem: Problem, prior: ConditionalPrior, one: Weighting, log_weight: float, line: Line | None = None
) -> Iterator[Component]:
    """Yield the components of one weighting of the rows."""
    scatter = float(np.exp(one.log_ratios[0])) if problem.noise.scatters else 0.0
    if prior.scale_prior is not None:
        yield Component(ScaleLattice(learned(problem, prior, [one])), scatter, log_weight, line)
        return
    share = log_weight - float(np.log(prior.n_geometries))
    for given in given_geometries(problem, prior, [one], flat_intercept=False)[0]:
        nodes, constant = _of_fixed(problem, given, one)
        yield Component(nodes, scatter, share + constant, line)


def _of_groups(problem: Problem, prior: ConditionalPrior) -> list[Component]:
    """Return the components where rows are in groups: points over the scales of these."""
    found, members = points(problem, prior), problem.rows.members
    if members is None:
        raise AssertionError  # for the type checker
    components: list[Component] = []
    for part, (one, log_weight) in enumerate(zip(found.weightings, found.log_weights, strict=True)):
        line = partial(found.effects.at_rows, part, problem.design_at, members)
        components += _of_weighting(problem, prior, one, float(log_weight), line)
    return components


def _of_fixed(problem: Problem, given: GivenScale, rows: Weighting) -> tuple[LeftOutNodes, float]:
    """Return nodes where the prior's scale is fixed, and the log of what their weights lack."""
    if problem.noise.multiplies:
        lowest = problem.resolution(rows.factor)
        of = ScaledIntegrand(problem, given, -rows.log_weight, rows.log_ratios, lowest)
        log_scale, _, _ = of.lattice()
        return NoiseLattice.of(of, np.exp(log_scale)), of.constant
    one = np.ones(1)
    log_density = given.log_explained(one) - 0.5 * given.residual + rows.log_weight
    nodes = Nodes(log_density, one, given.location(one), SharedBasis(given.basis, given.variances(one)))
    return Known(nodes), float(log_density[0])


class Known:
    """The one node of noise "known"."""

    lacking = Lacking(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), ())

    def __init__(self, nodes: Nodes):
        self.nodes = nodes
        self.log_weights = np.zeros(1)

    def widen(self, left: bool, right: bool, closer: Sequence[bool]) -> bool:
        """Return False: there is nothing that could be added."""
        return False


class NoiseLattice:
    """Evenly spaced nodes, as many as the rows ask for."""

    def __init__(self, integrand: Integrand, start: float, spacing: float, count: int):
        self._integrand, self._start, self._spacing = integrand, start, spacing
        self._room = max(0, int((start - integrand.lower) / spacing))
        # Nodes beyond those that the posterior has, in shares of their range: rows that are not far out need no more.
        beyond = (0.4, 0.1)
        self._first, self._last = -min(self._room, int(beyond[0] * count)), count + int(beyond[1] * count)
        self.nodes = integrand.nodes(self._points(self._first, self._last))

    @classmethod
    def of(cls, integrand: Integrand, noise_scale: Array) -> NoiseLattice:
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
    def lacking(self) -> Lacking:
        left = np.zeros(int(self._first > -self._room), dtype=np.intp)
        count = len(self.nodes.noise_scale)
        return Lacking(left, np.array([count - 1]), (np.arange(0, count, 2),))

    def widen(self, left: bool, right: bool, closer: Sequence[bool]) -> bool:
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
        elif any(closer):
            self._spacing *= 0.5
            self._room *= 2
            self._first, self._last = 2 * self._first, 2 * self._last
            self.nodes = self._integrand.nodes(self._points(self._first, self._last))
        return True


class ScaleLattice:
    """Nodes where the prior's scale is learned: ratios, and for each steps of log s."""

    def __init__(self, integrand: ScaleIntegrand):
        lattice, h = integrand.lattice, integrand.spacing
        self._integrand, self._fineness = integrand, (1, 1)
        heights = lattice.log_weights.max(axis=1)
        keep = heights > heights.max() - _FALLEN - _ROOM
        lattice = lattice._replace(branch=lattice.branch[keep], log_ratio=lattice.log_ratio[keep])
        place = np.rint(lattice.log_ratio / h).astype(np.intp)
        ends = [place[lattice.branch == i][[0, -1]] for i in np.unique(lattice.branch)]
        self._branches = np.unique(lattice.branch)
        self._first, self._last = np.array(ends).T
        seen = lattice.steps[lattice.log_weights.max(axis=0) > heights.max() - _FALLEN - _ROOM]
        self._reach = float(seen[0]), float(seen[-1])
        self._solve()

    def _solve(self) -> None:
        integrand, (k, finer) = self._integrand, self._fineness
        counts = (self._last - self._first) * k + 1
        branch = np.repeat(self._branches, counts)
        step = np.concatenate([np.arange(count) for count in counts])
        log_ratio = integrand.spacing * (np.repeat(self._first, counts) + step / k)
        lattice = integrand.at_ratios(branch, log_ratio, self._reach, finer)
        size = len(lattice.steps)
        weights = lattice.log_weights - np.log(k)
        found = integrand.nodes(branch, log_ratio, lattice.log_scale, weights)
        self.nodes = Nodes(weights.ravel(), found.noise_scale, found.location, found.covariances)
        node = np.arange(len(branch) * size).reshape(-1, size)
        at_end = step == np.repeat(counts - 1, counts)
        halves: tuple[Index, ...] = (node[step % 2 == 0].ravel(), node[:, ::2].ravel())
        left = np.concatenate([node[step == 0].ravel(), node[:, 0]])
        right = np.concatenate([node[at_end].ravel(), node[:, -1]])
        if size == 1:  # known noise
            left, right, halves = node[step == 0].ravel(), node[at_end].ravel(), halves[:1]
        # How well halves of their sums have to agree; so few rows that ask for more beyond the ends are better
        # fitted anew.
        halves_agree, few_far = 2.5e-3, 4
        self.lacking = Lacking(left, right, halves, _FALLEN, halves_agree, few_far)

    @property
    def log_weights(self) -> Array:
        return self.nodes.log_density + self._integrand.reference

    def widen(self, left: bool, right: bool, closer: Sequence[bool]) -> bool:
        if len(self.nodes.noise_scale) > _MAX_SCALES:
            return False
        if left or right:
            more = np.maximum((self._last - self._first) // 3, 4)
            self._first, self._last = self._first - left * more, self._last + right * more
            wider = 0.5 * (self._reach[1] - self._reach[0])
            self._reach = self._reach[0] - left * wider, self._reach[1] + right * wider
        else:
            ratio, scale = (*closer, False)[:2]
            self._fineness = self._fineness[0] * (1 + ratio), self._fineness[1] * (1 + scale)
        self._solve()
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
