"""Mixtures of distributions of observed shares k / n, one a row: binomial and beta-binomial.

A component's share is kept along with what it leaves of one, so that neither end loses digits. Weights are (n, M).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from ...likelihoods.special_functions import log_rising

__all__ = ["LatticeMixture"]

Array = NDArray[np.float64]

# A share times its count may miss a whole number by rounding of the share.
_WHOLE_TOLERANCE = 0.25

# Every count up to here is a cell of its own; beyond, so many at both ends, and cells in the middle are parts of a
# component's sd, of the whole one and of the distance from the ends, with wider ones beyond some sds.
_EXACT, _EDGE, _CELL, _WHOLE_CELL, _GROWTH = 2048, 128, 1.0 / 4.0, 1.0 / 16.0, 0.05

_FAR, _FAR_GROWTH = 10.0, 0.5

_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class LatticeMixture:
    """Observed shares k / n: mixtures of beta-binomial distributions, of binomial ones where the dispersion is 0.

    Parameters
    ----------
    counts : ndarray of shape (n,)
        The numbers n behind the shares, positive.
    weights, share, rest, dispersion : ndarray of shape (n, M)
        As for `BetaMixture`.
    """

    counts: Array
    weights: Array
    share: Array
    rest: Array
    dispersion: Array

    def log_pmf(self, successes: Array) -> Array:
        """Return the log probability of k successes, (n, K), by gamma functions where k is not whole."""
        counts, k = self.counts[:, None], successes
        inside = (k >= 0.0) & (k <= counts)
        k = np.where(inside, k, 0.0)
        terms = self._log_terms(k)
        choose = gammaln(counts + 1.0) - gammaln(k + 1.0) - gammaln(counts - k + 1.0)
        return np.where(inside, choose + logsumexp(terms, b=self.weights[:, None, :], axis=2), -np.inf)

    def _log_terms(self, k: Array) -> Array:
        """Return each component's log probability but for the binomial coefficient, (n, K, M)."""
        share, rest = (np.maximum(x[:, None, :], _TINY) for x in (self.share, self.rest))
        counts, k = self.counts[:, None, None], k[:, :, None]
        terms = k * np.log(share) + (counts - k) * np.log(rest)
        dispersion = self.dispersion[:, None, :]
        if dispersion.any():
            q = dispersion / (1.0 - dispersion)
            terms += log_rising(q / share, k) + log_rising(q / rest, counts - k) - log_rising(q, counts)
        return terms

    def log_density(self, value: Array) -> Array:
        """Return the log probability of the lattice cell about each value per unit of share, log pmf + log n."""
        return self.log_pmf((value * self.counts)[:, None])[:, 0] + np.log(self.counts)

    def cdf(self, value: Array) -> Array:
        """Return the probability at or below each value; one that misses k / n by rounding is taken as k / n."""
        successes = np.floor(value * self.counts + _WHOLE_TOLERANCE)
        pairs = zip(self._cells, successes, strict=True)
        return np.array([cells.cdf(k) for cells, k in pairs])

    def quantile(self, probability: Array) -> Array:
        """Return the least k / n with at least each probability at or below it."""
        pairs = zip(self._cells, np.broadcast_to(probability, len(self.counts)), strict=True)
        return np.array([cells.quantile(p) for cells, p in pairs]) / self.counts

    def crps(self, value: Array) -> Array:
        pairs = zip(self._cells, value, strict=True)
        return np.array([cells.crps(y) for cells, y in pairs])

    @cached_property
    def _cells(self) -> list[_Cells]:
        return [self._row_cells(row) for row in range(len(self.counts))]

    def _row_cells(self, row: int) -> _Cells:
        """Return one row's probabilities of every count, or, for large n, of runs of counts."""
        count, one = int(self.counts[row]), slice(row, row + 1)
        mine = LatticeMixture(
            self.counts[one], self.weights[one], self.share[one], self.rest[one], self.dispersion[one]
        )
        if count <= _EXACT:
            edges, masses = np.arange(count + 2.0), mine._every_mass(count)
        else:
            edges = mine._edges()
            masses = mine._masses(edges)
        below = np.concatenate([[0.0], np.cumsum(masses)])
        return _Cells(edges, below / below[-1], count)

    def _every_mass(self, count: int) -> Array:
        """Return the one row's probabilities of 0 to n."""
        k = np.arange(count + 1.0)
        share, rest = np.maximum(self.share[0], _TINY), np.maximum(self.rest[0], _TINY)
        terms = np.multiply.outer(k, np.log(share) - np.log(rest))
        terms += count * np.log(rest)
        if self.dispersion.any():
            q = self.dispersion[0] / (1.0 - self.dispersion[0])
            for per_step, backwards in ((q / share, False), (q / rest, True)):
                # The products of `log_rising`, for all whole m at once.
                rising = np.multiply.outer(k[:-1], per_step)
                np.cumsum(np.log1p(rising, out=rising), axis=0, out=rising)
                if backwards:
                    terms[:-1] += rising[::-1]
                else:
                    terms[1:] += rising
            terms -= log_rising(q, float(count))
        log_factorial = gammaln(k + 1.0)
        terms += (log_factorial[-1] - log_factorial - log_factorial[::-1])[:, None]
        return np.exp(terms, out=terms) @ self.weights[0]

    def _masses(self, edges: Array) -> Array:
        """Return the one row's probabilities of cells: of longer ones by Simpson's rule."""
        lengths = np.diff(edges)
        middle, long = edges[:-1] + 0.5 * (lengths - 1.0), np.flatnonzero(lengths > 1.0)
        masses = np.exp(self.log_pmf(middle[None, :])[0]) * lengths
        # A cell of counts a to b is the interval from a - 1/2 to b + 1/2; neighbours share an end.
        used = np.unique([long, long + 1])
        ends = np.zeros(len(edges))
        ends[used] = np.exp(self.log_pmf(edges[None, used] - 0.5)[0])
        masses[long] = (4.0 * masses[long] + lengths[long] * (ends[long] + ends[long + 1])) / 6.0
        return masses

    def _edges(self) -> Array:
        """Return edges of cells for the one row's large n: single counts at both ends, runs between.

        Runs are short against a component's standard deviation thereabouts, against the whole one, and against the
        distance from both ends, where densities may be powers of it.
        """
        count = self.counts[0]
        kept = self.weights[0] > 1e-9
        weights, share, rest, dispersion = (
            x[0, kept] for x in (self.weights, self.share, self.rest, self.dispersion)
        )
        relative = dispersion + (1.0 - dispersion) / count
        mean = float(weights @ share)
        sd = float(np.sqrt(weights @ (share * rest * relative + np.square(share - mean))))
        order = np.argsort(share)
        lowest, highest = mean - _FAR * sd, mean + _FAR * sd
        edges, x = list(np.arange(_EDGE + 1.0)), float(_EDGE)
        last = count + 1.0 - _EDGE
        while x < last:
            here = x / count
            length = _FAR_GROWTH * min(x, count - x)
            if lowest <= here <= highest:
                component = np.sqrt(here * (1.0 - here) * np.interp(here, share[order], relative[order]))
                length = min(_GROWTH * min(x, count - x), count * min(_CELL * component, _WHOLE_CELL * sd))
            elif here < lowest:
                length = min(length, lowest * count - x + 1.0)
            x = min(x + max(1.0, np.floor(length)), last)
            edges.append(x)
        return np.array([*edges, *np.arange(last + 1.0, count + 2.0)])


@dataclass(frozen=True, eq=False)
class _Cells:
    """One row's distribution of the count: even over the counts of a cell, most cells holding a single one."""

    edges: Array
    """(C + 1,) first count of each cell, and one beyond the last."""
    below: Array
    """(C + 1,) probability of all counts below each edge."""
    count: int

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

    def crps(self, value: float) -> float:
        """Return the integral of (F - 1{x >= value})^2, exact for the steps at k / n."""
        place = min(max(value, 0.0), 1.0) * self.count
        whole = np.floor(place)
        to_place = self._sum_below(whole) + (place - whole) * self.cdf(whole)
        all_below = self._sum_below(float(self.count))
        inside = self._squares - 2.0 * (all_below - to_place) + self.count - place
        return float(inside / self.count + abs(value - place / self.count))

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
        """The sum of F^2 over the counts below n."""
        lengths = np.diff(self.edges)
        low, mass = self.below[:-1], np.diff(self.below)
        squares = lengths * low**2 + low * mass * (lengths + 1.0)
        squares += mass**2 * (lengths + 1.0) * (2.0 * lengths + 1.0) / (6.0 * lengths)
        return float(squares.sum()) - 1.0
