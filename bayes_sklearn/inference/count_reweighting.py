"""Errors of shares at the fitted shares: a fit, whose shares give the errors of the next.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ..measurements.compressed import Rows
from ..measurements.messages import warn
from ..measurements.target_errors import CountErrors
from .posterior import Posterior, mapped_blocks, row_blocks
from .problem import Problem

__all__ = [
    "CountedRows",
    "Excess",
    "Guess",
    "Line",
    "Outside",
    "Settled",
    "Shares",
    "outside_of",
    "settle_errors",
]

Array = NDArray[np.float64]

Guess = Callable[[float], CountErrors]

# Columns that a pass over the rows has in hand at once.
_COLUMNS = 16


class Line(NamedTuple):
    """The posterior mean of the line, at which shares are taken."""

    mean: Array
    """(P,) of B."""
    center: Array
    """(p,) the point about which the intercept is stated."""

    @classmethod
    def of(cls, posterior: Posterior) -> Line:
        return cls(posterior.mean, posterior.center)


class Excess(NamedTuple):
    """Sums over rows that say by how much shares vary more than their counts explain, (13)."""

    used: float = 0.0
    """Weighted squared residuals."""
    single: float = 0.0
    """Weighted p (1 - p) / n."""
    scale: float = 0.0
    """Weighted p (1 - p) (1 - 1 / n)."""
    total: float = 0.0
    """Frequencies."""

    def plus(self, other: Excess) -> Excess:
        return Excess(*map(sum, zip(self, other, strict=True)))

    def correlation(self, n_features: int) -> float:
        """Return the intraclass correlation: the moment estimate."""
        free = self.total - n_features - 1.0
        if free <= 0.0 or self.scale <= 0.0:  # nothing is left over, or every count is 1
            return 0.0
        return min(max((self.used * self.total / free - self.single) / self.scale, 0.0), 1.0)


class Outside(NamedTuple):
    """Rows whose shares on a line are none: below 0 or above 1."""

    n_rows: int = 0
    by: float = 0.0
    """By how much, at most."""
    x: Array | None = None
    """(p,) the features of the row furthest outside."""

    def plus(self, other: Outside) -> Outside:
        further = self if self.by >= other.by else other
        return further._replace(n_rows=self.n_rows + other.n_rows)

    def seen(self, share: Array, block: slice, rows: Rows) -> Outside:
        """Return this and what lies outside in a block of rows."""
        if 0.0 <= float(share.min()) <= float(share.max()) <= 1.0:
            return self
        by = np.maximum(-share, share - 1.0)
        if rows.frequency is not None:
            by[rows.frequency[block] == 0.0] = 0.0
        row, n_rows = int(by.argmax()), int(np.count_nonzero(by > 0.0))
        x = np.array(rows.take(block)[row], dtype=np.float64)
        return self.plus(Outside(n_rows, float(by[row]), x)) if n_rows else self


class Shares(Protocol):
    """Shares with counts behind them, wherever they are, under errors that can be moved."""

    pooled: float
    """All successes over all counts: the share at which the first errors are taken."""
    outside: Outside
    """Rows whose shares on the line that was last looked at are none."""

    def problem(self) -> Problem:
        """Return the problem of the shares under the errors of now."""

    def move(
        self, line: Line, errors: CountErrors, step: float, guess: Guess | None
    ) -> tuple[CountErrors, float]:
        """Move the errors towards those at the shares of a line.

        Parameters
        ----------
        line : Line
        errors : CountErrors
            How counts give errors.
        step : float
            How much of the way.
        guess : callable, optional
            From the intraclass correlation that the line leaves to how counts give errors; None: as they do.

        Returns
        -------
        errors : CountErrors
            How counts give errors now.
        change : float
            The errors' root mean square relative change, were the step one.
        """


class Settled(NamedTuple):
    """A problem of shares under errors that no longer move."""

    problem: Problem
    posterior: Posterior
    errors: CountErrors


def settle_errors(
    shares: Shares,
    problem: Problem,
    solve: Callable[[Problem], Posterior],
    errors: CountErrors,
    *,
    overdispersed: bool,
) -> Settled:
    """Fit with count errors at the fitted shares, (13).

    Parameters
    ----------
    shares : Shares
    problem : Problem
        Of the shares as they are.
    solve : callable
        From a problem to its posterior on the data's scale.
    errors : CountErrors
        How counts give errors.
    overdispersed : bool
        Whether to estimate extra-binomial variation along the way.

    Warns
    -----
    ConvergenceWarning
        Where the errors keep moving.
    """
    # Reweightings that every fit makes, and the number at which it is doubtful that errors settle; the root mean
    # square relative change of the errors at which another one is not worth its passes over the data.
    reweightings, max_reweightings, settled = 2, 50, 1e-3
    posterior = solve(problem)
    step, change = 1.0, np.inf
    tried: list[tuple[float, float]] = []
    for reweighting in range(1, max_reweightings + 1):
        now, before = errors, change

        def guess(found: float, now: CountErrors = now) -> CountErrors:
            tried.append((now.overdispersion, found))
            return replace(now, overdispersion=_secant(tried[-2:]))

        errors, change = shares.move(Line.of(posterior), now, step, guess if overdispersed else None)
        if change > before:  # it swings: smaller steps settle
            step = max(0.5 * step, 0.125)
        problem = shares.problem()
        posterior = solve(problem)
        # Changes shrink by about the same factor each time: the next one can be told.
        if reweighting >= reweightings and change * min(change, before) <= settled * before:
            return Settled(problem, posterior, errors)
    warn(
        f"Errors at the fitted shares did not settle in {max_reweightings} reweightings: some fitted shares lie at"
        " 0 or 1, where a line is a poor model of a share. Use likelihood='binomial' or 'beta_binomial', or other"
        " features.",
        ConvergenceWarning,
    )
    return Settled(problem, posterior, errors)


def _secant(tried: list[tuple[float, float]]) -> float:
    """Return the next guess at the correlation that is found again when it is assumed.

    Taking what was found would do, but slowly: the correlation weights its own estimate.
    """
    assumed, found = tried[-1]
    if len(tried) == 1 or assumed == tried[0][0]:
        return found
    slope = (found - tried[0][1]) / (assumed - tried[0][0])
    slope = min(max(slope, -2.0), 0.9)
    return min(max((found - slope * assumed) / (1.0 - slope), 0.0), 1.0)


def outside_of(line: Line, rows: Rows) -> Outside:
    """Return the rows whose shares on a line are none."""
    outside = Outside()
    for block, mapped in mapped_blocks(line.mean[None, :], line.center, rows):
        outside = outside.seen(mapped[0], block, rows)
    return outside


class CountedRows:
    """A table in memory, with an error per row."""

    def __init__(self, rows: Rows, counts: Array, errors: CountErrors, share: float):
        """Take the errors at one share for all rows."""
        self.rows, self.counts = rows, counts
        self.standard_error, self._bernoulli = np.empty_like(counts), np.empty_like(counts)
        self.outside = Outside()
        for block in row_blocks(len(counts), _COLUMNS):
            self._bernoulli[block] = errors.bernoulli_variance(share, counts[block])
            self.standard_error[block] = errors.standard_error(self._bernoulli[block], counts[block])

    def move(
        self, line: Line, errors: CountErrors, step: float, guess: Guess | None
    ) -> tuple[CountErrors, float]:
        found = self.excess(line, errors)
        if guess is not None:
            errors = guess(found.correlation(self.rows.n_features))
        square, total = self.moved(errors, step)
        return errors, float(np.sqrt(square / total))

    def excess(self, line: Line, errors: CountErrors) -> Excess:
        """Take p (1 - p) at the line's shares; return the sums over the residuals."""
        used, excess, scale, total = 0.0, 0.0, 0.0, 0.0
        frequency = self.rows.frequency
        self.outside = Outside()
        for block, mapped in mapped_blocks(line.mean[None, :], line.center, self.rows):
            n, share = self.counts[block], mapped[0]
            self.outside = self.outside.seen(share, block, self.rows)
            variance = errors.bernoulli_variance(share, n)
            self._bernoulli[block] = variance
            # A squared residual has a standard deviation of the order of the error's square.
            weight = np.reciprocal(self.standard_error[block])
            weight *= weight
            weight *= weight
            if frequency is not None:
                weight *= frequency[block]
                total += float(frequency[block].sum())
            residual = np.subtract(self.rows.y[block], share, out=share)
            residual *= residual
            # By einsum: for a dot product this short BLAS would wake its threads and wait.
            used += float(np.einsum("i,i->", weight, residual))
            variance *= weight
            single = float((variance / np.maximum(n, 1.0)).sum())
            excess += single
            scale += float(variance.sum()) - single
        return Excess(used, excess, scale, total if frequency is not None else float(len(self.counts)))

    def moved(self, errors: CountErrors, step: float) -> tuple[float, float]:
        """Move the errors; return the summed squares of their relative change, and the frequencies'."""
        square, total = 0.0, 0.0
        frequency = self.rows.frequency
        for block in row_blocks(len(self.counts), _COLUMNS):
            old = self.standard_error[block]
            new = errors.standard_error(self._bernoulli[block], self.counts[block])
            relative = new / old
            relative -= 1.0
            if frequency is None:
                square += float(np.einsum("i,i->", relative, relative))
                total += len(relative)
            else:
                square += float(np.einsum("i,i,i->", frequency[block], relative, relative))
                total += float(frequency[block].sum())
            self.standard_error[block] = new if step == 1.0 else old + step * (new - old)
        return square, total
