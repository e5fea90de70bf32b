"""Counts, one distribution a row, where the linear predictor is wide beside what they say of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp, ndtr

from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.links import Link
from .few_points import NORMAL_MASSES, NORMAL_POINTS, average
from .lattice import CountQuantiles, Runs, normal_scores
from .normal import NormalMixture
from .normal import log_density as log_normal_density
from .shapes import Laws

__all__ = ["ManyCounts", "StepMixture"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StepMixture(CountQuantiles):
    """Observed k / n, one per row, of linear predictors that are mixtures of normal distributions.

    That no more than k are counted has the probability that the linear predictor is below where more than k are: an
    expectation of its distribution function over few points, whatever n is.

    Parameters
    ----------
    likelihood : Likelihood
        Without parameters, and with a rule for where counts are exceeded.
    trials : ndarray of shape (n,)
    lines : NormalMixture
        Of the linear predictor: weights and means, (n, M), and standard deviations, (n, 1) or (n, M).
    """

    likelihood: Likelihood
    trials: Array
    lines: NormalMixture

    @property
    def link(self) -> Link:
        return self.likelihood.link

    def log_density(self, value: Array) -> Array:
        """Return the log probability of the cell about each value per unit of it, log pmf + log n."""
        link = self.link
        inside = (value >= link.lower) & (value <= link.upper)
        data = Observations(np.where(inside, value, 0.0), trials=self.trials)
        center, sd, _ = self._spread
        # Steps to the mode of the product of both, whose logs are concave; how far out nothing is left.
        steps, reach, spacing = 8, 8.0, 0.6
        near = link.of(link.pooled(value * self.trials, self.trials))
        eta = np.clip(near, center - 9.0 * sd, center + 9.0 * sd)
        eta = np.where(inside, eta, center)
        for _ in range(steps):
            found = self.likelihood.derivatives(eta, np.empty(0), data)
            curvature = found.curvature + 1.0 / np.square(sd)
            eta = eta + (found.gradient[0] - (eta - center) / np.square(sd)) / curvature
        own = 1.0 / np.sqrt(curvature)
        successes = data.y * self.trials
        tails = [
            np.minimum(16.0 / (count + 0.5), reach * sd) for count in (successes, self._last - successes)
        ]
        low, high = reach * own + tails[0], reach * own + tails[1]
        step = spacing * np.minimum(own, self.lines.sds.min(axis=1))
        size = int(np.ceil(np.max((low + high) / step))) + 1
        terms = []
        for z in np.linspace(0.0, 1.0, size):
            u = eta - low + z * (low + high)
            terms.append(
                self.likelihood.log_density(u, {}, data)
                + log_normal_density(u, self.lines.weights, self.lines.means, self.lines.sds)
            )
        total = logsumexp(np.array(terms), axis=0) + np.log((low + high) / (size - 1.0) * self.trials)
        return np.where(inside, total, -np.inf)

    def at(self, value: Array) -> Array:
        """Return the probability of the cell about each value."""
        return np.exp(self.log_density(value)) / self.trials

    def crps(self, value: Array) -> Array:
        # Levels of the linear predictor, between which the distribution function is interpolated, and runs of counts.
        levels, cells, reach = 57, 321, 9.5
        (center, sd), every = self._wide, np.arange(len(value))
        last = self._last
        z = np.linspace(-reach, reach, levels)
        counts = np.array([self.link.mean(center + x * sd) * self.trials - 0.5 for x in z])
        spline = CubicSpline(z, np.array([self._below(count, every) for count in counts]))
        ends = self.link.mean(center[:, None] + np.linspace(-reach, reach, cells) * sd[:, None])
        edges = np.clip(np.rint(ends * self.trials[:, None]), 1.0, last[:, None])
        at = (self.link.of((edges - 0.5) / self.trials[:, None]) - center[:, None]) / sd[:, None]
        at = np.clip(at, -reach, reach)
        step = np.minimum((at + reach) / (z[1] - z[0]), levels - 2.0).astype(np.intp)
        below = np.zeros_like(at)
        for of in spline.c:
            below = below * (at - z[step]) + of[step, every[:, None]]
        below = np.maximum.accumulate(np.clip(below, 0.0, 1.0), axis=1)
        first, end = np.zeros((len(value), 1)), np.ones((len(value), 1))
        table = Runs(
            np.concatenate([first, edges, last[:, None] + 1.0], axis=1),
            np.concatenate([first, below, end], axis=1),
            last,
        )
        return table.crps(value * self.trials) / self.trials

    @cached_property
    def _spread(self) -> tuple[Array, Array, Array | float]:
        weights, means, sds = self.lines.weights, self.lines.means, self.lines.sds
        center = average(means, weights)
        sd = np.sqrt(average(np.square(means - center[:, None]) + np.square(sds), weights))
        return center, sd, 0.0

    def _below(self, counts: Array, rows: NDArray[np.intp]) -> Array:
        """Return the probability of at most so many counts in the rows named."""
        trials, last = self.trials[rows], self._last[rows]
        some = np.clip(counts, -0.999, last - 1e-3)
        weights, means, sds = (part[rows] for part in (self.lines.weights, self.lines.means, self.lines.sds))
        rule = self.likelihood.exceeding(some, trials, sds.min(axis=1))
        if rule is None:  # for the type checker
            raise AssertionError
        total = np.zeros(len(rows))
        for point, mass in zip(rule[0].T, rule[1].T, strict=True):
            total += mass * average(ndtr((point[:, None] - means) / sds), weights)
        return np.where(counts <= -1.0, 0.0, np.where(counts >= last, 1.0, np.minimum(total, 1.0)))


@dataclass(frozen=True, eq=False)
class ManyCounts(CountQuantiles):
    """Quantiles of observed k / n, one per row, of what underlies them in few numbers per row.

    Parameters
    ----------
    likelihood : Likelihood
        Of counts given what underlies: without parameters, and with a rule for where counts are exceeded.
    trials : ndarray of shape (n,)
    laws : Laws
    """

    likelihood: Likelihood
    trials: Array
    laws: Laws

    @property
    def link(self) -> Link:
        return self.likelihood.link

    @property
    def _spread(self) -> tuple[Array, Array, Array | float]:
        return self.laws.centers, self.laws.sds, self.laws.skewness

    @cached_property
    def _points(self) -> Array:
        """(n, T) of Gauss and Hermite's rule."""
        return self.laws.quantiles(NORMAL_POINTS)

    def _below(self, counts: Array, rows: NDArray[np.intp]) -> Array:
        return self._probabilities(counts, rows)[0]

    def _heights(self, counts: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        return normal_scores(*self._probabilities(counts, rows))

    def _probabilities(self, counts: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        """Return the probabilities of no more counts, and of the counts themselves, or NaN."""
        trials, last = self.trials[rows], self._last[rows]
        # By the narrower of both: points of what underlies, or of where counts are exceeded.
        of_counts = (counts + 1.0) / (trials + float(np.isfinite(self.link.upper)))
        narrow = np.square(self.laws.sds[rows]) * trials * self.link.slope(of_counts) <= 1.0
        below, mass = np.empty(len(rows)), np.full(len(rows), np.nan)
        if narrow.any():
            here = np.flatnonzero(narrow)
            eta, of = self._points[rows[here]], trials[here, None]
            below[here] = self.likelihood.at_most(eta, counts[here, None], of) @ NORMAL_MASSES
            data = Observations(counts[here, None] / of, trials=of)
            mass[here] = np.exp(self.likelihood.log_density(eta, {}, data)) @ NORMAL_MASSES
        if not narrow.all():
            here = np.flatnonzero(~narrow)
            laws = self.laws.take(rows[here])
            rule = self.likelihood.exceeding(counts[here], trials[here], laws.sds)
            if rule is None:  # for the type checker
                raise AssertionError
            below[here] = average(ndtr(laws.scores(rule[0])), rule[1])
        return np.where(counts >= last, 1.0, np.minimum(below, 1.0)), mass
