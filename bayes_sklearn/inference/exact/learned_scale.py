"""A prior whose scale is learned: the integral over the noise scale s, the prior's scale tau and its geometry.

Given their ratio g = tau / s, s enters the density of the data as in an inverse gamma distribution, and the location
of the coefficients not at all, (11a), (11b): sums over coefficients are taken once a ratio, and for each ratio the
lattice of s lies where its own mass is. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...priors.base import ScalePrior
from ..given_scale import LOG_TWO_PI
from ..node_covariances import Factors, Joined, SharedBasis
from ..numerics.quadrature import gauss_rule
from .scale_lattice import AtRatio, Branch, Index, Lattice, Nodes, Peaks, key_of, log_sum, observed_linear

__all__ = ["ScaleIntegrand"]

Array = NDArray[np.float64]

# A lattice ends where the density has fallen by this factor (its log), and no farther away than the second.
_FALLEN, _FARTHEST = 25.0, 300.0

# Its spacing in log g, in widths of the peak that so many coefficients make, and at most; by how much it is extended.
_SPACING, _WIDEST, _EXTENSION = 0.7, 0.4, 6.0

# Mass is looked for in steps of so many spacings; by how much more the density (its log) may rise in between.
_COARSE, _BETWEEN = 4, 5.0


# Points of Gauss rules, in the ratio and in the noise: so many and one, more by what nodes are apart, and at most.
_FEWEST, _FEWEST_SCALES, _IF_CLOSE, _IF_FAR, _MOST = 2, 1, 9.0, 3.0, 12


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
    ratio_priors: Sequence[ScalePrior] = ()
    """Of further scales t, the scatter's or the groups', whose ratios to s are given."""
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
        intercept = variance = np.empty(0)
        if self.intercept is not None:
            intercept, variance = np.empty((2, len(branch)))
            for i, (given, _, _) in enumerate(self.branches):
                location, variances = given.nodes_given_ratio(ratio[branch == i])
                intercept[branch == i] = location[:, 0]
                variance[branch == i] = variances @ np.square(given.basis[0])
        further = np.array([of.log_ratios for of in self.branches])[branch].T
        has_residual = (self.residual > 0.0)[branch].astype(np.float64)
        half_log_det = 0.5 * np.log(square).sum(axis=1)
        top, lowest = self.top[branch], self.lowest[branch]
        return AtRatio(log_ratio, left, half_log_det, top, lowest, has_residual, further, intercept, variance)

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
        for prior, log_ratio in zip(self.ratio_priors, at.log_ratios, strict=False):
            log_further = log_ratio + log_scale
            explained += prior.log_density(np.exp(log_further)) + log_further
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
        of_ratio = log_sum(lattice.log_weights)
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
                location, observed = observed_linear(location, plain, *self.intercept)
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
        of_ratio = log_sum(lattice.log_weights)
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


def _enough(apart: float, fewest: int) -> int:
    """Return how many points a Gauss rule needs for Gaussians that are so far apart."""
    return int(np.clip(np.ceil(fewest + min(_IF_CLOSE * apart, 2.0 + _IF_FAR * apart)), 2, _MOST))
