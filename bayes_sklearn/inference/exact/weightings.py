"""Exact posteriors of rows under one weighting or several: over scales of noise and prior, and the prior's geometry.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...priors.scales import HalfCauchy
from ..given_scale import ConditionalPrior, GivenScale, spreads
from ..node_covariances import Joined, NodeCovariances, SharedBasis
from ..posterior import ScaleMasses
from ..problem import Problem
from .learned_scale import ScaleIntegrand
from .noise_integrals import ScaledIntegrand
from .scale_lattice import LEVEL_MASSES, Branch, masses_below

__all__ = [
    "Found",
    "Learned",
    "Solved",
    "Weighting",
    "given_geometries",
    "learned",
    "masses_of",
    "solve",
    "weighting",
]

Array = NDArray[np.float64]


class Weighting(NamedTuple):
    """Rows divided by their errors, as far as these are settled."""

    factor: Array
    """(K, p + 2)"""
    log_weight: float
    """What the density of the data is multiplied by: the errors' determinant, the density of what settles them."""
    log_ratios: tuple[float, ...] = ()
    """Logs of further scales by the noise scale, or, where that is one, of the scales: the scatter's first."""


class Found(NamedTuple):
    """Nodes, each a Gaussian for B's free entries, and the integrals that they stand for."""

    log_weights: Array
    """(G,)"""
    noise_scale: Array
    """(G,)"""
    prior_scale: Array | None
    """(G,)"""
    location: Array
    """(G, P)"""
    covariances: NodeCovariances
    weighting: NDArray[np.intp]
    """(G,)"""
    scale_masses: Mapping[str, tuple[Array, Array]]
    """As `Posterior.scale_masses`."""


def weighting(problem: Problem) -> Weighting:
    """Return the rows of a problem whose errors are settled but for a factor."""
    factor, log_error = problem.factor
    return Weighting(factor, -log_error)


class Solved(Protocol):
    """The posterior for some weightings of the rows."""

    totals: Array
    """(weightings, geometries) log integrals."""

    spacings: dict[str, float]
    """By name of a scale, how far its values on the lattice are apart where they are few."""

    def found(self, more: Array) -> Found:
        """Return nodes, with this added to each weighting's log weights, (weightings,)."""

    def scales(self, log_ratios: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return log weights and, by name, logs of the scales that they belong to, (K,) each.

        `log_ratios` has logs of each weighting's further scales by the noise scale, or by one, (weightings,) each.
        """


def solve(problem: Problem, prior: ConditionalPrior, of: Sequence[Weighting]) -> Solved:
    """Return the posterior for some weightings of the rows."""
    if prior.scale_prior is None:
        return _Fixed(problem, prior, of)
    return Learned(problem, prior, of)


def learned(problem: Problem, prior: ConditionalPrior, of: Sequence[Weighting]) -> ScaleIntegrand:
    """Return the integrand where the prior's scale is learned: branches are geometries, by weightings."""
    if prior.scale_prior is None:
        raise ValueError("The scale of this prior is not learned.")
    share = -float(np.log(prior.n_geometries))
    branches = [
        Branch(given, rows.log_weight + share, rows.log_ratios)
        for rows, geometries in zip(
            of, given_geometries(problem, prior, of, flat_intercept=True), strict=True
        )
        for given in geometries
    ]
    return ScaleIntegrand(
        branches,
        problem.total_weight,
        prior.scale_prior,
        problem.noise_prior if problem.noise.multiplies else None,
        np.log(np.repeat([problem.resolution(rows.factor) for rows in of], len(branches) // len(of))),
        problem.ratio_priors,
        None if prior.intercept is None or np.isinf(prior.intercept[1]) else prior.intercept,
    )


def given_geometries(
    problem: Problem, prior: ConditionalPrior, of: Sequence[Weighting], *, flat_intercept: bool
) -> list[list[GivenScale]]:
    """Return the rows of each weighting under every geometry of the prior, at a scale of one."""
    mean, sd = prior.mean, prior.sigma
    if prior.intercept is not None:
        mean = np.append(prior.intercept[0], mean)
        sd = np.append(np.inf if flat_intercept else prior.intercept[1], sd)
    if prior.powers is None:
        return GivenScale.of_all([rows.factor for rows in of], mean, sd)
    if len(of) == 1 and of[0].factor is prior.source and np.isinf(sd[:1]).all():
        # Principal directions are those of the rows themselves: one decomposition serves all powers.
        plain = GivenScale.of(of[0].factor, mean, sd)
        spread = spreads(plain.singular / prior.sigma[0])
        return [[plain.stretched(spread**-power) for power in prior.powers]]
    roots = [_bordered(root, sd) for root in prior.roots]
    return GivenScale.of_all([rows.factor for rows in of], mean, sd, roots)


def _bordered(root: Array, sd: Array) -> Array:
    """Return a root of all coordinates whose prior is not flat."""
    if len(sd) == len(root) or np.isinf(sd[0]):
        return root
    whole = np.zeros((len(sd), len(sd)))
    whole[0, 0], whole[1:, 1:] = sd[0], root
    return whole


def masses_of(
    solved: Solved, log_ratios: Mapping[str, Array], spacings: Mapping[str, float]
) -> dict[str, tuple[Array, Array]]:
    """Return what `Posterior.scale_masses` are, with further scales, of which values are so far apart."""
    log_weights, values = solved.scales(log_ratios)
    # Points of a Gauss rule for each weighting ascend.
    gaps = np.diff(values["noise_scale"])
    if "noise_scale" not in solved.spacings and (gaps > 0.0).any():
        spacings = {"noise_scale": float(np.median(gaps[gaps > 0.0])), **spacings}
    return masses_below(log_weights, values, {**solved.spacings, **spacings})


class Contradiction(NamedTuple):
    """How much better the data are explained by a prior of another scale."""

    nats: float
    """Log marginal likelihood where scale and geometry are learned, less that under the one given."""
    scale: float
    """Of a ridge's, in multiples of the given one: the posterior median."""


def contradiction(problem: Problem, prior: ConditionalPrior, log_total: float) -> Contradiction:
    """Return what the data say of the scale of a prior that is fixed, under noise "scaled" or "known".

    Parameters
    ----------
    problem : Problem
    prior : ConditionalPrior
    log_total : float
        Log of the integral under it.
    """
    wider = replace(prior, scale_prior=HalfCauchy())
    if (prior.sigma == prior.sigma[0]).all():
        wider = replace(wider, powers=np.array([0.0, 0.5, 1.0]), design=problem.prior_design)
    with np.errstate(all="ignore"):
        solved = Learned(problem, wider, [weighting(problem)])
        log_weights, log_scales = solved.of_ridge()
        weights = np.exp(log_weights - log_weights.max())
        order = np.argsort(log_scales)
        middle = order[np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())]
        nats = float(np.logaddexp.reduce(solved.totals[0])) - log_total
        return Contradiction(nats, float(np.exp(log_scales[middle])))


class Learned:
    """Where the prior's scale is learned."""

    def __init__(self, problem: Problem, prior: ConditionalPrior, of: Sequence[Weighting]):
        self._integrand = learned(problem, prior.distinct, of)
        self._lattice = self._integrand.lattice
        self._geometries = len(self._integrand.branches) // len(of)
        totals = self._integrand.totals(self._lattice) + self._integrand.reference
        same = prior.n_geometries // self._geometries
        self.totals = np.repeat(totals.reshape(len(of), -1) - np.log(same), same, axis=1)
        self.spacings = {"prior_scale": self._integrand.spacing}
        if len(self._lattice.steps) > 1:
            step = self._lattice.steps[1] - self._lattice.steps[0]
            self.spacings["noise_scale"] = float(step * np.median(self._lattice.width))

    def found(self, more: Array) -> Found:
        log_weights = self._lattice.log_weights + more[self._lattice.branch // self._geometries][:, None]
        lattice = self._lattice._replace(log_weights=log_weights)
        nodes = self._integrand.reduced(lattice)
        return Found(
            nodes.log_weights + self._integrand.reference,
            nodes.noise_scale,
            nodes.prior_scale,
            nodes.location,
            nodes.covariances,
            nodes.branch // self._geometries,
            ScaleMasses(lambda: masses_below(lattice.log_weights.ravel(), lattice.scales, self.spacings)),
        )

    def of_ridge(self) -> tuple[Array, Array]:
        """Return log weights and logs of the prior's scale, (K,) each, under the first geometry with any weight."""
        first = (self._lattice.branch == self._lattice.branch[0]).repeat(self._lattice.log_weights.shape[1])
        return self._lattice.log_weights.ravel()[first], self._lattice.scales["prior_scale"][first]

    def in_levels(self) -> dict[str, Array]:
        """Return logs of scales at each weighting, (weightings, levels), of which each has one of `LEVEL_MASSES`."""
        lattice = self._lattice
        of, shape = lattice.branch // self._geometries, lattice.log_weights.shape
        found: dict[str, list[Array]] = {name: [] for name in lattice.scales}
        for i in range(len(self.totals)):
            own = of == i
            values = {name: logs.reshape(shape)[own].ravel() for name, logs in lattice.scales.items()}
            for name, (at, _) in masses_below(
                lattice.log_weights[own].ravel(), values, self.spacings
            ).items():
                at = np.broadcast_to(at, len(LEVEL_MASSES) + 1) if len(at) == 1 else at
                found[name].append(0.5 * (at[1:] + at[:-1]))
        return {name: np.array(logs) for name, logs in found.items()}

    def scales(self, log_ratios: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        lattice, values = self._lattice, self._lattice.scales
        of = lattice.branch // self._geometries
        for name, logs in log_ratios.items():
            values[name] = (logs[of, None] + lattice.log_scale).ravel()
        return lattice.log_weights.ravel() + self._integrand.reference, values


def _noise_scales(
    problem: Problem, branches: Sequence[tuple[GivenScale, Weighting]]
) -> list[tuple[Array, Array]]:
    """Return logs of a few noise scales that stand for all in each branch, and their log weights."""
    if not problem.noise.multiplies:
        one = np.ones(1)
        return [
            (np.zeros(1), given.log_explained(one) - 0.5 * given.residual + rows.log_weight)
            for given, rows in branches
        ]
    lowest = problem.resolutions(np.array([rows.factor for _, rows in branches])).tolist()
    integrands = []
    for (given, rows), least in zip(branches, lowest, strict=True):
        integrands.append(ScaledIntegrand(problem, given, -rows.log_weight, rows.log_ratios, least))
    return ScaledIntegrand.few_of_each(integrands)


class _Fixed:
    """Where it is not: a noise scale, if any, is all that is left of each branch."""

    def __init__(self, problem: Problem, prior: ConditionalPrior, of: Sequence[Weighting]):
        share = -float(np.log(prior.n_geometries))
        geometries = given_geometries(problem, prior, of, flat_intercept=False)
        branches = [(given, rows) for rows, some in zip(of, geometries, strict=True) for given in some]
        self._branches = [
            (given, log_scale, log_weight + share)
            for (given, _), (log_scale, log_weight) in zip(
                branches, _noise_scales(problem, branches), strict=True
            )
        ]
        totals = [np.logaddexp.reduce(log_weight) for _, _, log_weight in self._branches]
        self.totals = np.reshape(totals, (len(of), -1))
        self.spacings: dict[str, float] = {}

    def found(self, more: Array) -> Found:
        geometries = self.totals.shape[1]
        scales = [np.exp(log_scale) for _, log_scale, _ in self._branches]
        parts = [
            SharedBasis(given.basis, given.variances(scale))
            for (given, _, _), scale in zip(self._branches, scales, strict=True)
        ]
        which = np.repeat(np.arange(len(scales)) // geometries, [len(scale) for scale in scales])
        locations = [
            given.location(scale) for (given, _, _), scale in zip(self._branches, scales, strict=True)
        ]
        log_weights = np.concatenate([w for _, _, w in self._branches])
        return Found(
            log_weights + more[which],
            np.concatenate(scales),
            None,
            np.concatenate(locations),
            Joined.of(parts),
            which,
            {},
        )

    def scales(self, log_ratios: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        sizes = [len(w) for _, _, w in self._branches]
        which = np.repeat(np.arange(len(sizes)) // self.totals.shape[1], sizes)
        log_scale = np.concatenate([of_branch for _, of_branch, _ in self._branches])
        log_weights = np.concatenate([w for _, _, w in self._branches])
        further = {name: logs[which] + log_scale for name, logs in log_ratios.items()}
        return log_weights, {"noise_scale": log_scale, **further}
