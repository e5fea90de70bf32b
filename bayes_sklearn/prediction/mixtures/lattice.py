"""Discrete predictive distributions, one per row: k / n, counts by trials or exposure, under any likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp

from ...likelihoods.base import Likelihood, Observations
from .parts import Components, NormalNodes

__all__ = ["Cells", "LatticeMixture"]

Array = NDArray[np.float64]

# Up to so many counts each is looked at; beyond, so many at both ends, and between them steps that are parts of a
# component's sd, of the whole one and of the distance from the ends, with wider ones beyond some sds. Each step is
# cut into so many cells.
_EXACT, _EDGE, _CELL, _GROWTH, _RUNS = 384, 32, 0.25, 0.15, 4

_FAR, _FAR_GROWTH, _TINY = 10.0, 0.5, 1e-300


@dataclass(frozen=True, eq=False)
class LatticeMixture:
    """Observed k / n, one per row.

    Parameters
    ----------
    likelihood : Likelihood
    trials : ndarray of shape (n,)
        What the counts are by, positive.
    few : Components
        For probabilities.
    many : Components or NormalNodes
        For those of which scores take the log; counts have no normal noise.
    """

    likelihood: Likelihood
    trials: Array
    few: Components
    many: Components | NormalNodes

    def log_density(self, value: Array) -> Array:
        """Return the log probability of the cell about each value per unit of it, log pmf + log n."""
        link, many = self.likelihood.link, self.many
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

    def cdf(self, value: Array) -> Array:
        """Return the probability at or below each value; one that misses k / n by rounding is taken as k / n."""
        # A share times its count may miss a whole number by rounding of the share.
        whole_tolerance = 0.25
        successes = np.floor(value * self.trials + whole_tolerance)
        return np.array([cells.cdf(k) for cells, k in zip(self._cells, successes, strict=True)])

    def quantile(self, probability: Array) -> Array:
        """Return the least k / n with at least each probability at or below it."""
        pairs = zip(self._cells, np.broadcast_to(probability, len(self.trials)), strict=True)
        return np.array([cells.quantile(p) for cells, p in pairs]) / self.trials

    def crps(self, value: Array) -> Array:
        pairs = zip(self._cells, value * self.trials, strict=True)
        return np.array([cells.crps(k) for cells, k in pairs]) / self.trials

    @cached_property
    def _cells(self) -> list[Cells]:
        return [self._row_cells(row) for row in range(len(self.trials))]

    def _row_cells(self, row: int) -> Cells:
        """Return one row's probabilities of every count, or, where these are many, of runs of counts."""
        # Counts without an end are looked at up to so many sds, or lengths of their tail, and so many more; of what
        # is beyond doubles have no whole numbers.
        far, more, most, rare = 40.0, 20.0, 1e15, 1e-10
        trials, one = float(self.trials[row]), self.few.take(slice(row, row + 1))
        data = one.observed(np.zeros(1), trials)
        mean = self.likelihood.link.mean(one.eta)
        sds = np.sqrt(self.likelihood.variance(mean, one.values, data))[0] * trials
        mean, sds = np.minimum(mean[0] * trials, most), np.minimum(sds, most)
        middle = float(one.weights[0] @ mean)
        sd = float(np.sqrt(one.weights[0] @ (np.square(sds) + np.square(mean - middle))))
        last = trials * self.likelihood.link.upper
        if np.isinf(last):
            tails = far * np.maximum(sds, np.square(sds) / np.maximum(mean, _TINY)) + more
            last = np.ceil(min(float((mean + tails)[one.weights[0] > rare].max()), most))

        def probability(counts: Array) -> Array:
            # As many columns as components, whatever parameters each has of its own.
            values = {name: np.reshape(value, (-1, 1)) for name, value in one.values.items()}
            at = Observations(counts / trials, trials=trials)
            return np.asarray(one.weights[0] @ np.exp(self.likelihood.log_density(one.eta.T, values, at)))

        if last <= _EXACT:
            edges = np.arange(last + 2.0)
            masses = probability(edges[:-1])
        else:
            nodes = _nodes(last, mean, sds, one.weights[0], middle, sd)
            log = _interpolated(nodes, np.log(np.maximum(probability(nodes), _TINY)))
            whole = np.rint(
                np.interp(np.arange(0.0, len(nodes) - 1.0, 1.0 / _RUNS), np.arange(len(nodes)), nodes)
            )
            edges = np.append(np.unique(whole[whole < last]), [last, last + 1.0])
            # By Simpson's rule: a cell of counts a to b is the interval from a - 1/2 to b + 1/2.
            lengths = np.diff(edges)
            ends = np.exp(log(np.clip(edges - 0.5, 0.0, last)))
            centers = np.exp(log(edges[:-1] + 0.5 * (lengths - 1.0)))
            masses = lengths * np.where(lengths > 1.0, (4.0 * centers + ends[:-1] + ends[1:]) / 6.0, centers)
        below = np.concatenate([[0.0], np.cumsum(masses)])
        return Cells(edges, below / below[-1], last)


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


@dataclass(frozen=True, eq=False)
class Cells:
    """One row's distribution of the count: even over the counts of a cell, most cells holding a single one."""

    edges: Array
    """(C + 1,) first count of each cell, and one beyond the last."""
    below: Array
    """(C + 1,) probability of all counts below each edge."""
    last: float

    def cdf(self, successes: float) -> float:
        return float(np.interp(successes + 1.0, self.edges, self.below))

    def quantile(self, probability: float) -> float:
        # A probability that the distribution function reaches but for rounding counts as reached.
        target = probability * (1.0 - 1e-13)
        cell = int(np.clip(np.searchsorted(self.below, target, side="left") - 1, 0, len(self.edges) - 2))
        low, high = self.below[cell : cell + 2]
        start, end = self.edges[cell : cell + 2]
        if end - start == 1.0 or high == low:
            return float(start)
        return float(min(start + np.ceil((target - low) / (high - low) * (end - start)) - 1.0, end - 1.0))

    def crps(self, count: float) -> float:
        """Return the integral of (F - 1{x >= count})^2, exact for the steps at whole numbers."""
        place = min(max(count, 0.0), self.last)
        whole = np.floor(place)
        to_place = self._sum_below(whole) + (place - whole) * self.cdf(whole)
        inside = self._squares - 2.0 * (self._sum_below(self.last) - to_place) + self.last - place
        return float(inside + abs(count - place))

    def _sum_below(self, successes: float) -> float:
        """Return the sum of F over the counts below one."""
        cell = int(np.searchsorted(self.edges, successes, side="right")) - 1
        partial = self._partial(
            self.below[cell : cell + 2], np.diff(self.edges[cell : cell + 2]), successes - self.edges[cell]
        )
        return float(self._sums[cell] + (partial if cell < len(self.edges) - 1 else 0.0))

    @cached_property
    def _sums(self) -> Array:
        lengths = np.diff(self.edges)
        low, mass = self.below[:-1], np.diff(self.below)
        return np.concatenate([[0.0], np.cumsum(lengths * low + 0.5 * mass * (lengths + 1.0))])

    @staticmethod
    def _partial(below: Array, length: Array, steps: float) -> float:
        if len(below) < 2:
            return 0.0
        return float(steps * below[0] + 0.5 * (below[1] - below[0]) * steps * (steps + 1.0) / length[0])

    @cached_property
    def _squares(self) -> float:
        """The sum of F^2 over the counts below the last."""
        lengths = np.diff(self.edges)
        low, mass = self.below[:-1], np.diff(self.below)
        squares = lengths * low**2 + low * mass * (lengths + 1.0)
        squares += mass**2 * (lengths + 1.0) * (2.0 * lengths + 1.0) / (6.0 * lengths)
        return float(squares.sum()) - 1.0
