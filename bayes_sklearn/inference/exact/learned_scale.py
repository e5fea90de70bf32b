"""A prior whose scale is learned: the integral over the noise scale s, the prior's scale tau and its geometry.

Given their ratio g = tau / s, s enters the density of the data as in an inverse gamma distribution, and the location
of the coefficients not at all, (11a), (11b): sums over coefficients are taken once a ratio, and for each ratio the
lattice of s lies where its own mass is. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ...priors.base import ScalePrior
from ..given_scale import LOG_TWO_PI, GivenScale
from ..numerics.quadrature import gauss_rule
from ..posterior import Factors, Joined, NodeCovariances, SharedBasis

__all__ = ["LEVEL_MASSES", "Branch", "Lattice", "Nodes", "ScaleIntegrand", "masses_below", "masses_between"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]

# A lattice ends where the density has fallen by this factor (its log), and no farther away than the second.
_FALLEN, _FARTHEST = 25.0, 300.0

# Its spacing in log g, in widths of the peak that so many coefficients make, and at most; by how much it is extended.
_SPACING, _WIDEST, _EXTENSION = 0.7, 0.4, 6.0

# Mass is looked for in steps of so many spacings; by how much more the density (its log) may rise in between.
_COARSE, _BETWEEN = 4, 5.0


# Points of Gauss rules, in the ratio and in the noise: so many and one, more by what nodes are apart, and at most.
_FEWEST, _FEWEST_SCALES, _IF_CLOSE, _IF_FAR, _MOST = 2, 1, 9.0, 3.0, 12


_LEVELS = ndtr(np.linspace(-5.0, 5.0, 129))

LEVEL_MASSES = np.diff(_LEVELS)
"""Of what lies between two quantiles that `masses_below` returns."""


class Lattice(NamedTuple):
    """Ratios, and for each the same steps of log s about a place of its own."""

    branch: Index
    """(M,) of which branch each is, ascending."""
    log_ratio: Array
    """(M,) evenly spaced in each branch."""
    place: Array
    """(M,) log s at the middle."""
    width: Array
    """(M,) of a step."""
    shift: Array
    """(M,) by how much the middle is above the likelihood's own peak."""
    steps: Array
    """(J,) evenly spaced."""
    log_weights: Array
    """(M, J) log density times spacings."""

    @property
    def log_scale(self) -> Array:
        """(M, J) log s."""
        return self.place[:, None] + self.width[:, None] * self.steps

    @property
    def scales(self) -> dict[str, Array]:
        """(M * J,) each: logs of the noise's scale and of the prior's."""
        log_scale = self.log_scale
        return {
            "noise_scale": log_scale.ravel(),
            "prior_scale": (self.log_ratio[:, None] + log_scale).ravel(),
        }


class Peaks(NamedTuple):
    """The density at some ratios, to be interpolated between them."""

    key: Array
    """(M,) of branch and ratio, ascending."""
    estimate: Array
    """(M,) of the density's log, but for log s."""
    shift: Array
    """(M,) as `Lattice.shift`."""
    width: Array
    """(M,) of the peak in log s."""

    def at(self, branch: Index, log_ratio: Array) -> tuple[Array, Array]:
        """Return shift and width at other ratios, (M,) each."""
        key = key_of(branch, log_ratio)
        return np.interp(key, self.key, self.shift), np.interp(key, self.key, self.width)


def key_of(branch: Index, log_ratio: Array) -> Array:
    """Return numbers that tell branches and ratios apart, in their order."""
    # More than logs of ratios can differ by.
    apart = 2.0**12
    return apart * branch + log_ratio


class AtRatio(NamedTuple):
    """What makes the density of the data at ratios of the prior's scale to the noise; (M,) each."""

    log_ratio: Array
    square: Array
    """Squared length of what the prior leaves of the target within the coefficients' reach."""
    half_log_det: Array
    """Half the log determinant of 1 + g^2 Sigma^2."""
    top: Array
    """Log s about which the likelihood's own peak is taken."""
    lowest: Array
    """Log s below which a residual is rounding."""
    has_residual: Array
    """1 where there is a part of the target that no coefficients reach, else 0."""
    log_scatter_ratio: Array
    """Noise "auto": the log of t / s; else empty."""
    intercept: Array
    """The intercept's mean, where it has a prior; else empty."""
    variance: Array
    """Its variance, in units of the noise's."""

    def for_steps(self) -> AtRatio:
        """Return the same as columns."""
        return AtRatio(*(part[:, None] for part in self))


class Nodes(NamedTuple):
    """Nodes, each a Gaussian for B's free entries."""

    log_weights: Array
    """(G,) log density times spacings."""
    noise_scale: Array
    """(G,)"""
    prior_scale: Array
    """(G,)"""
    location: Array
    """(G, P)"""
    covariances: NodeCovariances
    branch: Index
    """(G,)"""


class Branch(NamedTuple):
    """The coefficients' Gaussians of one geometry, under one weighting of the rows."""

    given: GivenScale
    """At a prior scale of one, with a flat prior of the intercept."""
    log_weight: float
    """What its density is multiplied by: its prior probability, the determinant of the rows' errors."""
    log_scatter_ratio: float = 0.0
    """Noise "auto": the log of the ratio of the scatter to the noise scale, which is in the rows' errors."""


@dataclass(frozen=True, eq=False)
class ScaleIntegrand:
    """The integrand of (11a) over (log g, log s), for a number of branches."""

    branches: Sequence[Branch]
    total_weight: float
    """N."""
    scale_prior: ScalePrior
    """Of tau."""
    noise_prior: ScalePrior | None
    """Of s; None: it is one."""
    lowest: Array
    """(branches,) log of the noise scale below which a residual is rounding."""
    scatter_prior: ScalePrior | None = None
    """Noise "auto": of the scatter t; the density is one of log t, too."""
    intercept: tuple[float, float] | None = None
    """Mean and standard deviation of the intercept's prior, where it has one: that is one more observation."""

    @cached_property
    def singular(self) -> Array:
        """(branches, K)."""
        return np.array([branch.given.singular for branch in self.branches])

    @cached_property
    def projected(self) -> Array:
        """(branches, K)."""
        return np.array([branch.given.projected for branch in self.branches])

    @cached_property
    def residual(self) -> Array:
        """(branches,) squared length of what no coefficients reach."""
        return np.array([branch.given.residual for branch in self.branches])

    @property
    def n_flat(self) -> int:
        return self.branches[0].given.n_flat

    @cached_property
    def top(self) -> Array:
        """(branches,) log s about which the likelihood's own peak, of order N, is taken: it keeps its digits."""
        if self.noise_prior is None:
            return np.zeros(len(self.branches))
        residual = np.where(self.residual > 0.0, self.residual, self.total_weight)
        return np.asarray(0.5 * np.log(residual / self.total_weight))

    @cached_property
    def constants(self) -> Array:
        """(branches,) what `log_density` leaves out, less their maximum."""
        return self._constants - self.reference

    @cached_property
    def reference(self) -> float:
        """What all log weights and totals leave out."""
        return float(self._constants.max())

    @cached_property
    def _constants(self) -> Array:
        flat = np.array([branch.given.log_flat + branch.log_weight for branch in self.branches])
        flat += 0.5 * self.n_flat * LOG_TWO_PI
        if self.noise_prior is None:
            return flat - 0.5 * self.residual
        return flat - self.total_weight * (self.top + 0.5 * (self.residual > 0.0))

    @cached_property
    def spacing(self) -> float:
        """The lattice's in log g: the more coefficients, the narrower may peaks be."""
        return min(_WIDEST, _SPACING / float(np.sqrt(2.0 * self.singular.shape[1])))

    def at(self, branch: Index, log_ratio: Array) -> AtRatio:
        """Return what makes the density at some ratios."""
        ratio = np.exp(log_ratio)
        square = np.square(ratio[:, None] * self.singular[branch])
        square += 1.0
        left = np.einsum("mk,mk->m", np.square(self.projected)[branch], np.reciprocal(square))
        intercept = variance = scatter = np.empty(0)
        if self.intercept is not None:
            intercept, variance = np.empty((2, len(branch)))
            for i, (given, _, _) in enumerate(self.branches):
                location, variances = given.nodes_given_ratio(ratio[branch == i])
                intercept[branch == i] = location[:, 0]
                variance[branch == i] = variances @ np.square(given.basis[0])
        if self.scatter_prior is not None:
            scatter = np.array([of.log_scatter_ratio for of in self.branches])[branch]
        has_residual = (self.residual > 0.0)[branch].astype(np.float64)
        half_log_det = 0.5 * np.log(square).sum(axis=1)
        top, lowest = self.top[branch], self.lowest[branch]
        return AtRatio(log_ratio, left, half_log_det, top, lowest, has_residual, scatter, intercept, variance)

    def log_density(self, at: AtRatio, log_scale: Array) -> Array:
        """Return the log density in (log g, log s) given the data, but for constants, (11a); shapes broadcast."""
        log_tau = at.log_ratio + log_scale
        explained = self.scale_prior.log_density(np.exp(log_tau)) + (log_tau - at.half_log_det)
        scale = np.exp(log_scale)
        explained -= 0.5 * at.square / np.square(scale)
        if self.intercept is not None:
            mean, sd = self.intercept
            variance = np.square(scale) * at.variance + sd**2
            explained -= 0.5 * (np.square(at.intercept - mean) / variance + np.log(variance) + LOG_TWO_PI)
        if self.noise_prior is None:
            return np.asarray(explained)
        away = log_scale - at.top
        away += 0.5 * at.has_residual * np.expm1(-2.0 * away)
        explained -= self.total_weight * away
        explained += (self.n_flat + 1.0) * log_scale
        if self.scatter_prior is not None:
            log_scatter = at.log_scatter_ratio + log_scale
            explained += self.scatter_prior.log_density(np.exp(log_scatter)) + log_scatter
        return np.asarray(explained + self.noise_prior.log_density(scale))

    def _of_likelihood(self, at: AtRatio) -> Array:
        """Return where the likelihood alone has its peak in log s, (M,)."""
        if self.noise_prior is None:
            return np.zeros(len(at.log_ratio))
        freedom = max(self.total_weight - self.n_flat, 1.0)
        own = at.has_residual * self.total_weight * np.exp(2.0 * at.top)
        with np.errstate(divide="ignore"):
            return np.asarray(np.maximum(0.5 * np.log((own + at.square) / freedom), at.lowest))

    def places(self, at: AtRatio) -> tuple[Array, Array]:
        """Return the mode of log s at each ratio and the width of its peak, (M,) each, by Newton's method."""
        place = self._of_likelihood(at)
        if self.noise_prior is None:
            return place, np.ones(len(at.log_ratio))
        # Newton's method: the step of differences, and at most so many steps.
        difference, newton_steps = 1e-3, 12
        offsets = difference * np.array([-1.0, 0.0, 1.0])[:, None]
        for _ in range(newton_steps):
            below, here, above = self.log_density(at, place + offsets)
            slope, curvature = (
                (above - below) / (2.0 * difference),
                (above - 2.0 * here + below) / difference**2,
            )
            curvature = np.minimum(curvature, -0.1 * np.maximum(1.0, np.abs(slope)))
            step = np.clip(-slope / curvature, -1.0, 1.0)
            place = np.maximum(place + step, at.lowest)
            if (np.square(step) < -0.01 / curvature).all():
                break
        return place, 1.0 / np.sqrt(-curvature)

    @cached_property
    def lattice(self) -> Lattice:
        """All but a 1e-12th part of the mass: what lies about those of a coarser one that have any."""
        branch, coarse, peaks = self._ratios()
        kept = peaks.estimate >= peaks.estimate.max() - _FALLEN - _BETWEEN
        fine = _COARSE * coarse[kept, None] + np.arange(1 - _COARSE, _COARSE)
        apart = 2 * int(np.abs(fine).max(initial=0)) + 1
        of, place = np.divmod(np.unique(apart * branch[kept, None] + fine + apart // 2), apart)
        found = self.at_ratios(of, self.spacing * (place - apart // 2), near=peaks)
        heights = found.log_weights.max(axis=1)
        kept = heights >= heights.max() - _FALLEN
        parts = {name: part[kept] for name, part in found._asdict().items() if name != "steps"}
        return found._replace(**parts)

    @cached_property
    def _prior_place(self) -> float:
        """Where the prior of log tau is highest."""
        logs = np.arange(-60.0, 60.0, 0.5)
        return float(logs[np.argmax(self.scale_prior.log_density(np.exp(logs)) + logs)])

    def _ratios(self) -> tuple[Index, Index, Peaks]:
        """Return a coarse lattice of ratios that reaches beyond the density to both sides: branches and places."""
        h, largest = _COARSE * self.spacing, self.singular.max(axis=1, keepdims=True)
        largest[largest == 0.0] = 1.0
        freedom = max(self.total_weight - self.singular.shape[1] - self.n_flat, 1.0)
        noise = np.ones((1, 1))
        if self.noise_prior is not None:
            noise = np.maximum(np.sqrt(self.residual / freedom), np.exp(self.lowest))[:, None]
        seen = np.maximum(self.singular, 1e-12 * largest)
        needed = np.where(seen == self.singular, np.maximum(np.abs(self.projected) / noise, 1.0), 0.0) / seen
        # Beyond what is needed the determinant lets the density fall by so many powers of the ratio.
        beyond = 1.0 + _FALLEN / (1.0 + self.singular.shape[1])
        largest = largest[:, 0]
        # Singular values may be zero but for rounding: where the prior is is looked at, too.
        prior = self._prior_place - np.log(noise[:, 0])
        # Times the largest singular value, a ratio under which coefficients are as good as zero.
        nothing = 1e-2
        first = np.minimum(np.log(nothing / largest), prior)
        last = np.maximum(np.log(np.maximum(needed.max(axis=1), 1.0 / largest)) + beyond, prior)
        first, last = np.floor(first / h).astype(np.intp), np.ceil(last / h).astype(np.intp)
        more, most = max(round(_EXTENSION / h), 1), int(_FARTHEST / h)
        found: list[tuple[Index, Index, Array, Array, Array]] = []
        branches, low, high = np.arange(len(first)), first, last
        while len(branches):
            sizes = high - low + 1
            ends = np.cumsum(sizes)
            branch = np.repeat(branches, sizes)
            place = np.arange(ends[-1]) + np.repeat(low - ends + sizes, sizes)
            found.append((branch, place, *self._estimated(branch, h * place)))
            # New ends that are still high are where more is looked for.
            estimate = found[-1][2]
            floor = max(float(part[2].max()) for part in found) - _FALLEN
            left = (estimate[ends - sizes] > floor) & (low <= first[branches]) & (low > -most)
            right = (estimate[ends - 1] > floor) & (high >= last[branches]) & (high < most)
            branches = np.concatenate([branches[left], branches[right]])
            below, above = low[left], high[right]
            low = np.concatenate([below - more, above + 1])
            high = np.concatenate([below - 1, above + more])
        branch, place, *peaks = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((place, branch))
        branch, place = branch[order], place[order]
        return branch, place, Peaks(key_of(branch, h * place), *(values[order] for values in peaks))

    def _estimated(self, branch: Index, log_ratio: Array) -> tuple[Array, Array, Array]:
        """Return Laplace's estimate of the log density of log g, and where that is in log s, (M,) each."""
        at = self.at(branch, log_ratio)
        place, width = self.places(at)
        estimate = self.log_density(at, place) + np.log(width) + self.constants[branch]
        return estimate, place - self._of_likelihood(at), width

    def at_ratios(
        self,
        branch: Index,
        log_ratio: Array,
        reach: tuple[float, float] | None = None,
        fineness: int = 1,
        near: Peaks | None = None,
    ) -> Lattice:
        """Return the lattice at some ratios, with steps of s to where the density has fallen, or as far as is asked.

        Parameters
        ----------
        branch : ndarray of shape (M,)
        log_ratio : ndarray of shape (M,)
            Weights are those of an even lattice with this `spacing`.
        reach : tuple of float, optional
            Lowest and highest step.
        fineness : int, default=1
            How many steps there are in the place of one.
        near : Peaks, optional
            The density at ratios about these.
        """
        at = self.at(branch, log_ratio)
        place = self._of_likelihood(at)
        if near is None:
            modes, width = self.places(at)
            shift = modes - place
        else:
            shift, width = near.at(branch, log_ratio)
        log_volume = np.log(self.spacing) + self.constants[branch]
        if self.noise_prior is None:  # s is one, also where a residual of that size would be rounding
            values = self.log_density(at, place) + log_volume
            return Lattice(branch, log_ratio, place, width, shift, np.zeros(1), values[:, None])
        place = np.maximum(place + shift, at.lowest)
        # Spacing and reach in log s, in standard deviations, and by how much it is extended.
        scale_spacing, scale_reach, scale_extension = 0.6, 7.8, 6.0
        lower, upper = reach or (-scale_reach, scale_reach)
        # Modes between those of their neighbours are found where these say, up to so many standard deviations.
        off = 1.5
        while True:
            spacing = scale_spacing / fineness
            first, last = np.rint(lower / spacing), np.rint(upper / spacing)
            steps = spacing * np.arange(first, last + 1.0)
            log_scale = place[:, None] + width[:, None] * steps
            values = self.log_density(at.for_steps(), log_scale)
            values[log_scale < at.lowest[:, None]] = -np.inf
            if near is not None and np.abs(steps[values.argmax(axis=1)]).max() > off:
                return self.at_ratios(
                    branch, log_ratio, reach, fineness
                )  # modes are not where their neighbours say
            values += (np.log(spacing * width) + log_volume)[:, None]
            floor = values.max() - _FALLEN
            left, right = values[:, 0].max() > floor, values[:, -1].max() > floor
            if reach is not None or not (left or right) or max(-lower, upper) > _FARTHEST:
                return Lattice(branch, log_ratio, place, width, shift, steps, values)
            lower, upper = lower - left * scale_extension, upper + right * scale_extension

    def totals(self, lattice: Lattice) -> Array:
        """Return the log of each branch's integral, (branches,), less the `reference`."""
        of_ratio = _log_sum(lattice.log_weights)
        highest = of_ratio.max()
        sums = np.bincount(lattice.branch, np.exp(of_ratio - highest), len(self.branches))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(sums) + highest)

    def nodes(self, branch: Index, log_ratio: Array, log_scale: Array, log_weights: Array) -> Nodes:
        """Return nodes at ratios, (M,), each with log noise scales and weights of its own, (M, J)."""
        ratio, size = np.exp(log_ratio), log_scale.shape[1]
        scale = np.exp(log_scale).ravel()
        parts: list[SharedBasis | Factors] = []
        locations = []
        for i in np.unique(branch):
            own = branch == i
            location, variances = self.branches[i].given.nodes_given_ratio(ratio[own])
            square = np.square(scale.reshape(-1, size)[own]).reshape(-1, 1)
            plain = SharedBasis(self.branches[i].given.basis, square * np.repeat(variances, size, axis=0))
            location = np.repeat(location, size, axis=0)
            if self.intercept is None:
                parts.append(plain)
            else:
                location, observed = _observed(location, plain, *self.intercept)
                parts.append(observed)
            locations.append(location)
        return Nodes(
            log_weights.ravel(),
            scale,
            (ratio[:, None] * np.exp(log_scale)).ravel(),
            np.concatenate(locations),
            Joined.of(parts),
            np.repeat(branch, size),
        )

    def reduced(self, lattice: Lattice) -> Nodes:
        """Return few nodes that stand for a lattice: Gauss rules in the mean shrinkage, and for each in log s.

        Of a single coefficient, means and variances are linear in the shrinkage.
        """
        of_ratio = _log_sum(lattice.log_weights)
        highest = float(of_ratio.max())
        share = np.exp(of_ratio - highest)
        counts = np.bincount(lattice.branch, minlength=len(self.branches))
        sums = np.bincount(lattice.branch, share, len(self.branches))
        # Nodes whose probability is less are left out.
        negligible = 1e-9
        kept = np.flatnonzero(sums > negligible * sums.sum())
        starts = np.cumsum(counts) - counts
        # A row for each branch, filled up with points of no weight.
        index = np.minimum(starts[kept, None] + np.arange(counts.max()), (starts + counts)[kept, None] - 1)
        weights = np.where(np.arange(counts.max()) < counts[kept, None], share[index], 0.0)
        weights /= sums[kept, None]
        left = self._left(lattice.branch, lattice.log_ratio)
        shrinkage = left.mean(axis=1)[index]
        # Squares of tiny ones would be none.
        unit = shrinkage.max(axis=1, keepdims=True)
        unit[unit == 0.0] = 1.0
        shrinkage /= unit
        apart = self._apart(kept, weights, left[index], lattice.place[index])
        points, masses = gauss_rule(shrinkage, weights, _enough(apart, _FEWEST))
        branch, rows = np.repeat(kept, points.shape[1]), 2.0 * np.arange(len(kept))[:, None]
        known = (rows + shrinkage).ravel(), lattice.log_ratio[index].ravel()
        log_ratio, wanted = np.interp((rows + points).ravel(), *known), (unit * points).ravel()
        for _ in range(2):
            left = self._left(branch, log_ratio)
            slope = 2.0 * (left * (1.0 - left)).mean(axis=1)
            step = np.clip((wanted - left.mean(axis=1)) / np.maximum(slope, 1e-30), -1.0, 1.0)
            log_ratio = log_ratio + step * (slope > 1e-12)
        key = key_of(lattice.branch, lattice.log_ratio)
        peaks = Peaks(key, of_ratio, lattice.shift, lattice.width)
        own = self.at_ratios(branch, log_ratio, near=peaks)
        values = np.exp(own.log_weights - own.log_weights.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
        widest = 0.0 if self.noise_prior is None else float(own.width.max())
        log_scale, of_scale = gauss_rule(own.log_scale, values, _enough(2.0 * widest, _FEWEST_SCALES))
        mass = (masses * sums[kept, None]).reshape(-1, 1)
        with np.errstate(divide="ignore"):
            return self.nodes(branch, log_ratio, log_scale, np.log(of_scale * mass) + highest)

    def _left(self, branch: Index, log_ratio: Array) -> Array:
        """Return how much of what the rows say of each coordinate the prior leaves, the shrinkage, (M, K)."""
        square = np.square(np.exp(log_ratio)[:, None] * self.singular[branch])
        return np.asarray(square / (1.0 + square))

    def _apart(self, branch: Index, weights: Array, left: Array, place: Array) -> float:
        """Return by how many of their own standard deviations Gaussians of a branch are apart, at most.

        Parameters
        ----------
        branch : ndarray of shape (B,)
        weights, place : ndarray of shape (B, M)
            At each ratio of a branch, and where log s is.
        left : ndarray of shape (B, M, K)
        """
        # Means along a coordinate are left * z / Sigma, deviations s sqrt(left) / Sigma.
        share = weights[:, None]
        mean, square = (share @ left)[:, 0], (share @ np.square(left))[:, 0]
        spread = np.sqrt(np.maximum(square - mean**2, 0.0)) * np.abs(self.projected[branch])
        typical = np.exp((weights * place).sum(axis=1))[:, None] * np.sqrt(np.maximum(mean, 1e-12))
        return float((spread / typical).max(initial=0.0))


def _observed(location: Array, covariances: SharedBasis, mean: float, sd: float) -> tuple[Array, Factors]:
    """Return Gaussians for B in the light of one observation of its first entry."""
    basis, variances = covariances.basis, covariances.variances
    with_first = (variances * basis[0]) @ basis.T
    gain = with_first / (with_first[:, :1] + sd**2)
    # The root of a covariance less what the observation takes from it (Potter 1963).
    rest = 1.0 + sd / np.sqrt(with_first[:, :1] + sd**2)
    roots = basis * np.sqrt(variances)[:, None, :]
    roots = roots - (gain / rest)[:, :, None] * roots[:, :1, :]
    return location + gain * (mean - location[:, :1]), Factors(roots)


def masses_below(
    log_weights: Array, values: Mapping[str, Array], spacings: Mapping[str, float]
) -> dict[str, tuple[Array, Array]]:
    """Return, of each scale, logs of it, (K,), and the posterior probability below them.

    Parameters
    ----------
    log_weights : ndarray of shape (G,)
    values : mapping from a name to an ndarray of shape (G,)
        Logs of the scale.
    spacings : mapping from a name to a float
        Values that are so far apart stand for all that are nearer to them than to their neighbours.
    """
    weights = np.exp(log_weights - log_weights.max())
    keep = weights > 1e-13 * weights.sum()
    return {
        name: _spread_out(logs[keep], weights[keep], spacings.get(name, 0.0)) for name, logs in values.items()
    }


def masses_between(values: Array, weights: Array) -> tuple[Array, Array]:
    """Return places and the mass below them where each value stands for all that are nearer to it than to others."""
    if len(values) == 1:
        return values, np.ones(1)
    order = np.argsort(values)
    between = 0.5 * np.diff(values[order])
    edges = np.append(values[order] - np.append(between[0], between), values[order[-1]] + between[-1])
    return edges, np.append(0.0, np.cumsum(weights[order]) / weights.sum())


def _spread_out(values: Array, weights: Array, width: float = 0.0) -> tuple[Array, Array]:
    """Return places and the mass below them of a weighted sample whose values are as far apart as `width`."""
    low, high = float(values.min()) - width, float(values.max()) + width
    if low == high:
        return np.array([low]), np.ones(1)
    # Cells in which the distributions of the scales are summed, and probabilities for which they are kept.
    fine = 1025
    position = (values - low) * ((fine - 1) / (high - low))
    cell = np.minimum(position.astype(np.intp), fine - 2)
    position -= cell
    above = weights * position
    spread = np.bincount(cell, weights - above, fine) + np.bincount(cell + 1, above, fine)
    mass = np.asarray(spread / spread.sum(), dtype=np.float64)
    places, below = np.linspace(low, high, fine), np.cumsum(mass) - 0.5 * mass
    if width > 0.0:
        # Each value spread over the width: the mean of the mass below; its variance is taken away again (Sheppard).
        sums = np.append(0.0, np.cumsum(0.5 * (below[1:] + below[:-1]))) * (places[1] - places[0])
        left, right = np.interp(places + 0.5 * width * np.array([[-1.0], [1.0]]), places, sums)
        below = np.minimum((right + np.maximum(places + 0.5 * width - high, 0.0) - left) / width, 1.0)
        mean = mass @ places
        variance = mass @ np.square(places - mean)
        places = mean + (places - mean) * np.sqrt(variance / (variance + width**2 / 12.0))
    at = np.interp(_LEVELS, below, places)
    return at, _LEVELS


def _log_sum(logs: Array) -> Array:
    """Return the log of each row's sum of exponentials, (M,)."""
    highest = logs.max(axis=1)
    highest[np.isneginf(highest)] = 0.0
    with np.errstate(divide="ignore"):
        return np.asarray(highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1)))


def _enough(apart: float, fewest: int) -> int:
    """Return how many points a Gauss rule needs for Gaussians that are so far apart."""
    return int(np.clip(np.ceil(fewest + min(_IF_CLOSE * apart, 2.0 + _IF_FAR * apart)), 2, _MOST))
