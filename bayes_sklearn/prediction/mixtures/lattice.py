"""Discrete predictive distributions, one per row: k / n, counts by trials or exposure, under any likelihood."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp, ndtri

from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.links import Link
from .few_points import average
from .normal import Repeatable
from .parts import Components, NormalNodes

__all__ = ["CountQuantiles", "LatticeMixture", "Runs", "normal_scores"]

Array = NDArray[np.float64]

# Up to so many counts each is looked at; beyond, so many at both ends, and between them steps that are parts of a
# component's sd, of the whole one and of the distance from the ends, with wider ones beyond some sds. Each step is
# cut into so many runs.
_EXACT, _EDGE, _CELL, _GROWTH, _RUNS = 384, 32, 0.25, 0.15, 4

_FAR, _FAR_GROWTH, _TINY = 10.0, 0.5, 1e-300


class CountQuantiles(ABC):
    """What finds the least counts whose distribution functions reach probabilities, one per row."""

    trials: Array

    @property
    @abstractmethod
    def link(self) -> Link:
        """That of the linear predictor."""

    @property
    @abstractmethod
    def _spread(self) -> tuple[Array, Array, Array | float]:
        """Mean and standard deviation of the linear predictor, or of what underlies, and about its skewness, (n,)."""

    @cached_property
    def _wide(self) -> tuple[Array, Array]:
        """Mean and about the standard deviation of what is counted, on the scale of the linear predictor."""
        center, sd, _ = self._spread
        slope = np.maximum(self.link.slope(self.link.mean(center)), 1.0 / self.trials)
        return center, np.sqrt(np.square(sd) + 1.0 / (self.trials * slope))

    def cdf(self, value: Array) -> Array:
        """Return the probability at or below each value; one that misses k / n by rounding is taken as k / n."""
        # A share times its count may miss a whole number by rounding of the share.
        whole_tolerance = 0.25
        return self._below(np.floor(value * self.trials + whole_tolerance), np.arange(len(value)))

    @abstractmethod
    def _below(self, counts: Array, rows: NDArray[np.intp]) -> Array:
        """Return the probability of at most so many counts in the rows named."""

    def _heights(self, counts: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        """Return normal scores of so many counts at most, and of one less, or NaN where that would cost more."""
        return ndtri(self._below(counts, rows)), np.full(len(rows), np.nan)

    def _first(self, level: Array) -> Array:
        """Return about the counts whose normal scores are these, (n,)."""
        # Where counts vary by more than what underlies: by their own first three cumulants, to its fourth order.
        h, link, trials, (center, sd, skewness) = 1e-3, self.link, self.trials, self._spread
        variance, mean, z = np.square(sd), link.mean(center), np.minimum(np.maximum(level, -9.0), 9.0)
        slope = trials * link.slope(mean)
        bend = trials * (link.slope(link.mean(center + h)) - link.slope(link.mean(center - h))) / (2.0 * h)
        of_line = np.square(slope) * variance
        whole = slope + of_line
        third = bend + 3.0 * (slope + of_line) * bend * variance + (slope * sd) ** 3 * skewness
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            t = z + np.minimum(np.maximum(third / whole**1.5, -0.7), 0.7) * (np.square(z) - 1.0) / 6.0
            own = np.ceil(trials * mean + 0.5 * bend * variance + np.sqrt(whole) * t - 0.5)
        by_line = np.floor(link.mean(center + z * self._wide[1]) * trials - 0.5)
        return np.where((slope * variance <= 1.0) & np.isfinite(own), own, by_line)

    def quantile(self, probability: Array) -> Array:
        """Return the least k / n with at least each probability at or below it."""
        # A probability that the distribution function reaches but for rounding counts as reached.
        target = np.broadcast_to(probability, len(self.trials)) * (1.0 - 1e-13)
        last, levels, sds = self._last, ndtri(target), self._wide[1]
        answer = last.copy()
        # Of rows that are still looked for: brackets, what is looked at next, and normal scores at brackets' ends.
        rows = np.flatnonzero(last > 0.0)
        lower, upper, level = np.full(len(rows), -1.0), last[rows], levels[rows]
        counts = np.clip(self._first(levels)[rows], 0.0, upper - 1.0)
        low, high = np.full((2, len(rows)), np.nan)
        for turn in range(200):
            if not len(rows):
                break
            height, before = self._heights(counts, rows)
            reached = height >= level
            upper, high = np.where(reached, counts, upper), np.where(reached, height, high)
            lower, low = np.where(reached, lower, counts), np.where(reached, low, height)
            # What is one less tells on which side of it the answer is, too.
            further = before >= level
            upper, high = np.where(further, counts - 1.0, upper), np.where(further, before, high)
            closed = reached & (before < level)
            lower, low = np.where(closed, counts - 1.0, lower), np.where(closed, before, low)
            going = upper - lower > 1.0
            answer[rows] = upper
            rows, lower, upper, level, low, high, counts, height, before = (
                of[going] for of in (rows, lower, upper, level, low, high, counts, height, before)
            )
            if not len(rows):
                break
            with np.errstate(invalid="ignore", divide="ignore"):
                near = counts + np.ceil((level - height) / (height - before))
            counts = self._chord(rows, (lower, upper), (low, high), level, sds[rows]) + turn % 2
            # By the chord, or how much one count makes; every fifth turn halves.
            counts = np.where(np.isfinite(near), near, counts)
            halved = ~np.isfinite(counts) | (turn % 5 == 4)
            counts = np.where(halved, np.floor(0.5 * (lower + upper)), counts)
            # One count to either side by turns, so that the bracket closes about the count itself.
            counts = np.clip(counts, lower + 1.0, upper - 1.0)
        return np.where(target <= 0.0, 0.0, answer) / self.trials

    def _chord(
        self,
        rows: NDArray[np.intp],
        counts: tuple[Array, Array],
        heights: tuple[Array, Array],
        level: Array,
        sd: Array,
    ) -> Array:
        """Return counts by the chord between those of a bracket: on the normal scale heights are nearly a line."""
        trials, last, (low, high) = self.trials[rows], self._last[rows], heights
        ends = [self.link.of(np.clip(count + 0.5, 0.0, last) / trials) for count in counts]
        with np.errstate(invalid="ignore", divide="ignore"):
            u = ends[0] + (ends[1] - ends[0]) * (level - low) / (high - low)
            u = np.where(np.isnan(low), ends[1] + 1.2 * sd * (level - high), u)
            u = np.where(np.isnan(high), ends[0] + 1.2 * sd * (level - low), u)
        return np.floor(self.link.mean(u) * trials - 0.5)

    @cached_property
    def _last(self) -> Array:
        """The highest count, of counts without an end one that is hardly reached, (n,)."""
        last, (center, sd), most = self.trials * self.link.upper, self._wide, 1e15
        if np.isfinite(last).all():
            return last
        return np.ceil(np.minimum(self.trials * self.link.mean(center + 10.0 * sd) + 40.0, most))


@dataclass(frozen=True, eq=False)
class LatticeMixture(CountQuantiles, Repeatable):
    """Observed k / n, one per row.

    Parameters
    ----------
    likelihood : Likelihood
    trials : ndarray of shape (n,)
        What the counts are by, positive.
    few : Components
        For probabilities.
    many : callable
        Of nothing: Components or NormalNodes for those of which scores take the log; counts have no normal noise.
    """

    likelihood: Likelihood
    trials: Array
    few: Components
    many: Callable[[], Components | NormalNodes]

    @property
    def link(self) -> Link:
        return self.likelihood.link

    def log_density(self, value: Array) -> Array:
        """Return the log probability of the cell about each value per unit of it, log pmf + log n."""
        link, many = self.likelihood.link, self.many()
        if isinstance(many, NormalNodes):
            return many.log_density(value)
        inside = (value >= link.lower) & (value <= link.upper)
        data = many.observed(np.where(inside, value, 0.0), self.trials[:, None])
        terms = self.likelihood.log_density(many.eta, many.values, data)
        with np.errstate(divide="ignore"):
            # As logarithms: logsumexp divides by the weight of the largest term, which may be next to nothing.
            found = logsumexp(terms + np.log(many.weights), axis=1)
        return np.where(inside, found + np.log(self.trials), -np.inf)

    def at(self, value: Array) -> Array:
        """Return the probability of the cell about each value."""
        return np.exp(self.log_density(value)) / self.trials

    def quantile(self, probability: Array) -> Array:
        """Return the least k / n with at least each probability at or below it."""
        if self._is_direct:
            return super().quantile(probability)
        probability = np.broadcast_to(probability, len(self.trials))
        return self._joined(lambda runs, rows: runs.quantile(probability[rows])) / self.trials

    def crps(self, value: Array) -> Array:
        counts = value * self.trials
        return self._joined(lambda runs, rows: runs.crps(counts[rows])) / self.trials

    def repeated(self, times: int) -> LatticeMixture:
        """Return the distributions of all rows, so many times one after the other."""
        rows = np.arange(times * len(self.trials)) % len(self.trials)
        return LatticeMixture(
            self.likelihood, self.trials[rows], self.few.take(rows), lambda: self.many().take(rows)
        )

    @cached_property
    def _is_direct(self) -> bool:
        """Whether the likelihood has probabilities of no more counts by themselves."""
        return self.likelihood.given_underlying is self.likelihood

    @cached_property
    def _spread(self) -> tuple[Array, Array, Array | float]:
        center = average(self.few.eta, self.few.weights)
        variance = average(np.square(self.few.eta - center[:, None]), self.few.weights)
        return center, np.sqrt(variance), 0.0

    def _heights(self, counts: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        few, trials = self.few.take(rows), self.trials[rows]
        terms = self.likelihood.log_density(
            few.eta, few.values, few.observed(counts / trials, trials[:, None])
        )
        return normal_scores(self._below(counts, rows), average(np.exp(terms), few.weights))

    def _below(self, counts: Array, rows: NDArray[np.intp]) -> Array:
        if not self._is_direct:
            return self._joined(lambda runs, here: runs.cdf(counts[here]))[rows]
        trials, last = self.trials[rows], self.trials[rows] * self.link.upper
        eta, weights = self.few.eta[rows], self.few.weights[rows]
        some = np.minimum(np.maximum(counts, 0.0), np.maximum(last - 1.0, 0.0))[:, None]
        below = average(self.likelihood.at_most(eta, some, trials[:, None]), weights)
        return np.where(counts < 0.0, 0.0, np.where(counts >= last, 1.0, np.minimum(below, 1.0)))

    def _joined(self, function: Callable[[Runs, NDArray[np.intp]], Array]) -> Array:
        found = np.empty(len(self.trials))
        for rows, runs in self._runs:
            found[rows] = function(runs, rows)
        return found

    @cached_property
    def _runs(self) -> list[tuple[NDArray[np.intp], Runs]]:
        """Probabilities of every count, or, where these are many, of runs of counts, of some rows at a time."""
        numbers = 2**20  # in an array, at most
        mean, sds, lasts = self._reach
        few, found = np.flatnonzero(lasts <= _EXACT), []
        few = few[np.argsort(lasts[few], kind="stable")]
        size = int(lasts.max(initial=0.0, where=lasts <= _EXACT)) + 1
        pieces = max(-(-len(few) * size * self.few.eta.shape[1] // numbers), min(len(few) // 64, 8), 1)
        for rows in np.array_split(few, pieces) if len(few) else []:
            last = lasts[rows]
            counts = np.arange(last[-1] + 1.0)
            at = np.minimum(counts, last[:, None])
            masses = np.where(counts <= last[:, None], self._probability(rows, at), 0.0)
            below = np.cumsum(masses, axis=1)
            below = np.concatenate([np.zeros((len(rows), 1)), below / below[:, -1:]], axis=1)
            edges = np.minimum(np.arange(last[-1] + 2.0), last[:, None] + 1.0)
            found.append((rows, Runs(edges, below, last)))
        many = np.flatnonzero(lasts > _EXACT)
        return found + [
            (np.array([row]), self._run(int(row), mean[row], sds[row], lasts[row])) for row in many
        ]

    @cached_property
    def _reach(self) -> tuple[Array, Array, Array]:
        """Means and standard deviations of the components' counts, (n, M) each, and the last counts, (n,)."""
        # Counts without an end are looked at up to so many sds, or lengths of their tail, and so many more; of what
        # is beyond doubles have no whole numbers.
        far, more, most, rare = 40.0, 20.0, 1e15, 1e-10
        trials, few = self.trials[:, None], self.few
        mean = self.likelihood.link.mean(few.eta)
        sds = np.sqrt(self.likelihood.variance(mean, few.values, few.observed(self.trials, trials))) * trials
        mean, sds = np.minimum(mean * trials, most), np.minimum(sds, most)
        last = self.trials * self.likelihood.link.upper
        if np.isinf(self.likelihood.link.upper):
            tails = far * np.maximum(sds, np.square(sds) / np.maximum(mean, _TINY)) + more
            end = (mean + tails).max(axis=1, where=few.weights > rare, initial=0.0)
            last = np.ceil(np.minimum(end, most))
        return mean, sds, last

    def _probability(self, rows: NDArray[np.intp], counts: Array) -> Array:
        """Return the probabilities of counts, (rows, k), in some rows."""
        few = self.few.take(rows)
        values = {name: np.asarray(value)[..., None] for name, value in few.values.items()}
        trials = self.trials[rows, None, None]
        data = Observations(counts[:, None] / trials, trials=trials)
        log = self.likelihood.log_density(few.eta[:, :, None], values, data)
        return np.einsum("nm,nmk->nk", few.weights, np.exp(log))

    def _run(self, row: int, mean: Array, sds: Array, last: float) -> Runs:
        """Return one row's probabilities of runs of counts."""
        weights, at = self.few.weights[row], np.array([row])
        middle = float(weights @ mean)
        sd = float(np.sqrt(weights @ (np.square(sds) + np.square(mean - middle))))
        nodes = _nodes(last, mean, sds, weights, middle, sd)
        log = _interpolated(nodes, np.log(np.maximum(self._probability(at, nodes[None])[0], _TINY)))
        whole = np.rint(
            np.interp(np.arange(0.0, len(nodes) - 1.0, 1.0 / _RUNS), np.arange(len(nodes)), nodes)
        )
        edges = np.append(np.unique(whole[whole < last]), [last, last + 1.0])
        # By Simpson's rule: a run of counts a to b is the interval from a - 1/2 to b + 1/2.
        lengths = np.diff(edges)
        ends = np.exp(log(np.clip(edges - 0.5, 0.0, last)))
        centers = np.exp(log(edges[:-1] + 0.5 * (lengths - 1.0)))
        masses = lengths * np.where(lengths > 1.0, (4.0 * centers + ends[:-1] + ends[1:]) / 6.0, centers)
        below = np.concatenate([[0.0], np.cumsum(masses)])
        return Runs(edges[None], below[None] / below[-1], np.array([last]))


@dataclass(frozen=True, eq=False)
class Runs:
    """Distributions of counts, one per row: even over the counts of a run, most runs holding a single one."""

    edges: Array
    """(n, C + 1) first count of each run, and one beyond the last; runs may be empty."""
    below: Array
    """(n, C + 1) probability of all counts below each edge."""
    last: Array
    """(n,)"""

    def cdf(self, successes: Array) -> Array:
        cell, length = self._cell(self.edges <= successes[:, None] + 1.0)
        low, mass = self._of(self.below, cell), self._of(self._masses, cell)
        steps = np.clip(successes + 1.0 - self._of(self.edges, cell), 0.0, length)
        return np.asarray(low + mass * steps / np.maximum(length, 1.0))

    def quantile(self, probability: Array) -> Array:
        # A probability that the distribution function reaches but for rounding counts as reached.
        target = probability * (1.0 - 1e-13)
        cell, length = self._cell(self.below < target[:, None])
        start, low, mass = (self._of(part, cell) for part in (self.edges, self.below, self._masses))
        steps = np.ceil((target - low) / np.where(mass > 0.0, mass, 1.0) * length)
        return np.asarray(
            start + np.where(mass > 0.0, np.clip(steps, 1.0, np.maximum(length, 1.0)) - 1.0, 0.0)
        )

    def crps(self, count: Array) -> Array:
        """Return the integral of (F - 1{x >= count})^2, exact for the steps at whole numbers."""
        place = np.clip(count, 0.0, self.last)
        whole = np.floor(place)
        to_place = self._sum_below(whole) + (place - whole) * self.cdf(whole)
        inside = self._squares - 2.0 * (self._sum_below(self.last) - to_place) + self.last - place
        return np.asarray(inside + np.abs(count - place))

    def _cell(self, passed: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Array]:
        """Return the run of each row beyond so many edges, and its length."""
        cell = np.clip(passed.sum(axis=1) - 1, 0, self.edges.shape[1] - 2)
        return cell, self._of(self._lengths, cell)

    def _of(self, part: Array, cell: NDArray[np.intp]) -> Array:
        return part[np.arange(len(cell)), cell]

    def _sum_below(self, successes: Array) -> Array:
        """Return the sum of F over the counts below some."""
        cell, length = self._cell(self.edges <= successes[:, None])
        steps = successes - self._of(self.edges, cell)
        slope = self._of(self._masses, cell) / np.maximum(length, 1.0)
        partial = steps * self._of(self.below, cell) + 0.5 * slope * steps * (steps + 1.0)
        return np.asarray(self._of(self._sums, cell) + partial)

    @cached_property
    def _lengths(self) -> Array:
        return np.diff(self.edges, axis=1)

    @cached_property
    def _masses(self) -> Array:
        return np.diff(self.below, axis=1)

    @cached_property
    def _sums(self) -> Array:
        """(n, C) sums of F over the counts before each run."""
        sums = self._lengths * self.below[:, :-1] + 0.5 * self._masses * (self._lengths + 1.0)
        return np.asarray(np.cumsum(sums, axis=1) - sums)

    @cached_property
    def _squares(self) -> Array:
        """The sum of F^2 over the counts below the last."""
        lengths, low, mass = self._lengths, self.below[:, :-1], self._masses
        squares = lengths * low**2 + low * mass * (lengths + 1.0)
        squares += mass**2 * (lengths + 1.0) * (2.0 * lengths + 1.0) / (6.0 * np.maximum(lengths, 1.0))
        return np.asarray(squares.sum(axis=1) - 1.0)


def normal_scores(below: Array, mass: Array) -> tuple[Array, Array]:
    """Return normal scores of the probabilities of no more counts, and, of these masses, of one less."""
    return ndtri(below), ndtri(np.maximum(below - mass, 0.0))


def _interpolated(nodes: Array, values: Array) -> Callable[[Array], Array]:
    """Return log probabilities between counts, by a spline that stays below its neighbours.

    Where steps of very different lengths meet, it would not: a peak between nodes is hardly above them.
    """
    spline, most = CubicSpline(nodes, values), np.maximum(values[:-1], values[1:]) + 0.1

    def at(counts: Array) -> Array:
        return np.minimum(spline(counts), most[np.searchsorted(nodes[1:-1], counts, side="right")])

    return at


def _nodes(last: float, mean: Array, sds: Array, weights: Array, middle: float, sd: float) -> Array:
    """Return counts from 0 to a large last one, between which log probabilities are smooth: every one at both ends.

    Steps are short against a component's standard deviation thereabouts, against the whole one, and against the
    distance from both ends, where densities may be powers of it.
    """
    order = np.argsort(mean)
    order = order[weights[order] > 1e-9]
    mean, sds = mean[order], sds[order]
    # Components that overlap are as smooth as their sum.
    own = np.inf if len(mean) > 1 and np.diff(mean).max() < sds.min() else 1.0
    lowest, highest = middle - _FAR * sd, middle + _FAR * sd
    nodes, x, end = list(np.arange(_EDGE + 1.0)), float(_EDGE), last - _EDGE
    while x < end:
        length = _FAR_GROWTH * min(x, last - x)
        if lowest <= x <= highest:
            component = _CELL * own * float(np.interp(x, mean, sds))
            length = min(_GROWTH * min(x, last - x), component, _CELL * sd)
        elif x < lowest:
            length = min(length, lowest - x + 1.0)
        x = min(x + max(1.0, np.floor(length)), end)
        nodes.append(x)
    return np.array([*nodes, *np.arange(end + 1.0, last + 1.0)])
