"""Counts, one distribution a row, where the linear predictor is wide beside what they say of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp, ndtr, ndtri

from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.links import Link
from .few_points import NORMAL_MASSES, NORMAL_POINTS
from .lattice import Cells
from .normal import NormalMixture, average
from .normal import log_density as log_normal_density
from .shapes import Laws

__all__ = ["CountQuantiles", "ManyCounts", "StepMixture"]

Array = NDArray[np.float64]


class CountQuantiles(ABC):
    """What finds the least counts whose distribution functions reach probabilities, one a row."""

    trials: Array

    @property
    @abstractmethod
    def link(self) -> Link:
        """That of the linear predictor."""

    @property
    @abstractmethod
    def _wide(self) -> tuple[Array, Array]:
        """Mean and about the standard deviation of what is counted, on the scale of the linear predictor."""

    @abstractmethod
    def _below(self, counts: Array, rows: NDArray[np.intp]) -> Array:
        """Return the probability of at most so many counts in the rows named."""

    def quantile(self, probability: Array) -> Array:
        """Return the least k / n with at least each probability at or below it."""
        # A probability that the distribution function reaches but for rounding counts as reached.
        target = np.broadcast_to(probability, len(self.trials)) * (1.0 - 1e-13)
        last, level = self._last, ndtri(target)
        lower, upper = np.full(len(last), -1.0), last.copy()
        low, high = np.full((2, len(last)), np.nan)
        center, sd = self._wide
        counts = self._counts(center + np.clip(level, -9.0, 9.0) * sd, lower, upper)
        going = np.flatnonzero(upper - lower > 1.0)
        for turn in range(200):
            if not len(going):
                break
            height = ndtri(self._below(counts[going], going))
            reached = height >= level[going]
            upper[going[reached]], high[going[reached]] = counts[going[reached]], height[reached]
            lower[going[~reached]], low[going[~reached]] = counts[going[~reached]], height[~reached]
            # By the chord: on the normal scale heights are nearly a line; every fifth turn halves.
            ends = [self._log_odds(count) for count in (lower, upper)]
            with np.errstate(invalid="ignore", divide="ignore"):
                u = ends[0] + (ends[1] - ends[0]) * (level - low) / (high - low)
                u = np.where(np.isnan(low), ends[1] + 1.2 * sd * (level - high), u)
                u = np.where(np.isnan(high), ends[0] + 1.2 * sd * (level - low), u)
            halved = ~np.isfinite(u) | (turn % 5 == 4)
            # One count to either side by turns, so that the bracket closes about the count itself.
            counts = self._counts(u, lower, upper) + turn % 2
            counts = np.where(halved, np.floor(0.5 * (lower + upper)), counts)
            counts = np.clip(counts, lower + 1.0, upper - 1.0)
            going = going[upper[going] - lower[going] > 1.0]
        return np.where(target <= 0.0, 0.0, upper) / self.trials

    def _log_odds(self, counts: Array) -> Array:
        """Return the linear predictor of a count and a half, which the distribution function is about that of."""
        return self.link.of(np.clip(counts + 0.5, 0.0, self._last) / self.trials)

    def _counts(self, u: Array, lower: Array, upper: Array) -> Array:
        """Return the counts below, inside of brackets."""
        return np.clip(np.floor(self.link.mean(u) * self.trials - 0.5), lower + 1.0, upper - 1.0)

    @cached_property
    def _last(self) -> Array:
        """The highest count, of counts without an end one that is hardly reached, (n,)."""
        last, (center, sd), most = self.trials * self.link.upper, self._wide, 1e15
        if np.isfinite(last).all():
            return last
        return np.ceil(np.minimum(self.trials * self.link.mean(center + 10.0 * sd) + 40.0, most))


@dataclass(frozen=True, eq=False)
class StepMixture(CountQuantiles):
    """Observed k / n, one a row, of linear predictors that are mixtures of normal distributions.

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
        center, sd = self._spread
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

    def cdf(self, value: Array) -> Array:
        """Return the probability at or below each value; one that misses k / n by rounding is taken as k / n."""
        # A share times its count may miss a whole number by rounding of the share.
        whole_tolerance = 0.25
        return self._below(np.floor(value * self.trials + whole_tolerance), np.arange(len(value)))

    def crps(self, value: Array) -> Array:
        # Levels of the linear predictor, between which the distribution function is interpolated, and cells.
        levels, cells, reach = 57, 321, 9.5
        (center, sd), every = self._wide, np.arange(len(value))
        last = self._last
        z = np.linspace(-reach, reach, levels)
        counts = np.array([self.link.mean(center + x * sd) * self.trials - 0.5 for x in z])
        found = np.array([self._below(count, every) for count in counts])
        below = [CubicSpline(z, found[:, row]) for row in every]
        ends = self.link.mean(center[:, None] + np.linspace(-reach, reach, cells) * sd[:, None])
        answer = np.empty(len(value))
        for row in every:
            edges = np.unique(np.clip(np.rint(ends[row] * self.trials[row]), 1.0, last[row]))
            at = (self.link.of((edges - 0.5) / self.trials[row]) - center[row]) / sd[row]
            probability = np.maximum.accumulate(np.clip(below[row](np.clip(at, -reach, reach)), 0.0, 1.0))
            edges, probability = np.concatenate([[0.0], edges]), np.concatenate([[0.0], probability])
            cell = Cells(np.append(edges, last[row] + 1.0), np.append(probability, 1.0), last[row])
            answer[row] = cell.crps(value[row] * self.trials[row])
        return answer / self.trials

    @cached_property
    def _wide(self) -> tuple[Array, Array]:
        """Mean and about the standard deviation of what is counted, on the scale of the linear predictor."""
        center, sd = self._spread
        mean = self.link.mean(center)
        noise = 1.0 / (self.trials * np.maximum(self.link.slope(mean), 1.0 / self.trials))
        return center, np.sqrt(np.square(sd) + noise)

    @cached_property
    def _spread(self) -> tuple[Array, Array]:
        """Mean and standard deviation of the linear predictor, (n,) each."""
        weights, means, sds = self.lines.weights, self.lines.means, self.lines.sds
        center = average(means, weights)
        return center, np.sqrt(average(np.square(means - center[:, None]) + np.square(sds), weights))

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
    """Quantiles of observed k / n, one a row, of what underlies them in few numbers a row.

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

    @cached_property
    def _wide(self) -> tuple[Array, Array]:
        return self.laws.centers, np.hypot(self.laws.sds, self._count_sd)

    @cached_property
    def _count_sd(self) -> Array:
        """About how widely counts vary given what underlies, on the scale of the linear predictor, (n,)."""
        slope = self.link.slope(self.link.mean(self.laws.centers))
        return 1.0 / np.sqrt(np.maximum(self.trials * slope, 1.0))

    @cached_property
    def _points(self) -> Array:
        """(n, T) of Gauss and Hermite's rule."""
        return self.laws.quantiles(NORMAL_POINTS)

    def _below(self, counts: Array, rows: NDArray[np.intp]) -> Array:
        trials, last = self.trials[rows], self._last[rows]
        some = np.clip(counts, -0.999, last - 1e-3)
        # By the narrower of both: points of what underlies, or of where counts are exceeded.
        of_counts = (some + 1.0) / (trials + float(np.isfinite(self.link.upper)))
        narrow = np.square(self.laws.sds[rows]) * trials * self.link.slope(of_counts) <= 1.0
        found = np.empty(len(rows))
        for here in (np.flatnonzero(narrow), np.flatnonzero(~narrow)):
            if not len(here):
                continue
            if narrow[here[0]]:
                at = self._points[rows[here]]
                found[here] = (
                    self.likelihood.at_most(at, some[here, None], trials[here, None]) @ NORMAL_MASSES
                )
                continue
            laws = self.laws.take(rows[here])
            rule = self.likelihood.exceeding(some[here], trials[here], laws.sds)
            if rule is None:  # for the type checker
                raise AssertionError
            found[here] = average(ndtr(laws.scores(rule[0])), rule[1])
        return np.where(counts <= -1.0, 0.0, np.where(counts >= last, 1.0, np.minimum(found, 1.0)))
