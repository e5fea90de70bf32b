"""Errors of shares at the fitted shares: a fit, whose shares give the errors of the next.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ..errors import CountErrors
from .compressed import Rows
from .posterior import Posterior, mapped_blocks, row_blocks

Array = NDArray[np.float64]

# Reweightings that every fit makes; the root mean square relative change of the errors at which another one is
# not worth its passes over the data; the number at which it is doubtful that they settle.
_REWEIGHTINGS = 2
_SETTLED = 1e-3
_MAX_REWEIGHTINGS = 50
# Columns that a pass over the rows has in hand at once.
_COLUMNS = 16


def reweight(
    fit: Callable[[Array], Posterior],
    rows: Rows,
    counts: Array,
    errors: CountErrors,
    start: float,
    *,
    overdispersed: bool,
) -> tuple[Posterior, Array, CountErrors]:
    """Fit with count errors at the fitted shares, (13).

    Parameters
    ----------
    fit : callable
        From standard errors to the posterior, on the data's scale. The errors are written over afterwards: the
        posterior must not keep them.
    rows : Rows
        The table; its target are shares.
    counts : ndarray of shape (n,)
        The counts behind them.
    errors : CountErrors
        How counts give errors.
    start : float
        The share at which the first errors are taken.
    overdispersed : bool
        Whether to estimate extra-binomial variation along the way.

    Returns
    -------
    posterior : Posterior
    standard_error : ndarray of shape (n,)
        The errors of the last fit.
    errors : CountErrors
        With the extra-binomial variation found.

    Warns
    -----
    ConvergenceWarning
        Where the errors keep moving.
    """
    bernoulli, standard_error = np.empty_like(counts), np.empty_like(counts)
    for block in row_blocks(len(counts), _COLUMNS):
        bernoulli[block] = errors.bernoulli_variance(start, counts[block])
        standard_error[block] = errors.standard_error(bernoulli[block], counts[block])
    posterior = fit(standard_error)
    step, change = 1.0, np.inf
    tried: list[tuple[float, float]] = []
    for reweighting in range(1, _MAX_REWEIGHTINGS + 1):
        found = _shares(posterior, rows, counts, errors, standard_error, bernoulli)
        if overdispersed:
            tried.append((errors.overdispersion, found))
            errors = replace(errors, overdispersion=_secant(tried[-2:]))
        before, change = change, _errors(rows, counts, errors, bernoulli, standard_error, step)
        if change > before:  # it swings: smaller steps settle
            step = max(0.5 * step, 0.125)
        posterior = fit(standard_error)
        # Changes shrink by about the same factor each time: the next one can be told.
        if reweighting >= _REWEIGHTINGS and change * min(change, before) <= _SETTLED * before:
            return posterior, standard_error, errors
    warnings.warn(
        f"Errors at the fitted shares did not settle in {_MAX_REWEIGHTINGS} reweightings: some fitted shares lie at"
        " 0 or 1, where a line is a poor model of a share. Use a larger error_floor, or other features.",
        ConvergenceWarning,
        stacklevel=2,
    )
    return posterior, standard_error, errors


def reweight_again(
    posterior: Posterior,
    rows: Rows,
    counts: Array,
    errors: CountErrors,
    standard_error: Array,
    *,
    overdispersed: bool,
) -> tuple[CountErrors, Array, float]:
    """Return the errors at the shares that a posterior fits, and their root mean square relative change, (13).

    Parameters
    ----------
    posterior, rows, counts, errors, overdispersed
        As for `reweight`.
    standard_error : ndarray of shape (n,)
        The errors that the posterior was fitted with.

    Returns
    -------
    errors : CountErrors
    standard_error : ndarray of shape (n,)
    change : float
    """
    bernoulli, new = np.empty_like(counts), standard_error.copy()
    found = _shares(posterior, rows, counts, errors, standard_error, bernoulli)
    if overdispersed:
        errors = replace(errors, overdispersion=found)
    change = _errors(rows, counts, errors, bernoulli, new, 1.0)
    return errors, new, change


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


def _shares(
    posterior: Posterior,
    rows: Rows,
    counts: Array,
    errors: CountErrors,
    standard_error: Array,
    bernoulli: Array,
) -> float:
    """Write p (1 - p) at the fitted shares into `bernoulli`; return the intraclass correlation, (13).

    The correlation is the weighted moment estimate from the squared residuals.
    """
    used, excess, scale, total = 0.0, 0.0, 0.0, 0.0
    for block, mapped in mapped_blocks(posterior, rows, posterior.mean[None, :]):
        n, share = counts[block], mapped[0]
        variance = errors.bernoulli_variance(share, n)
        bernoulli[block] = variance
        # A squared residual has a standard deviation of the order of the error's square.
        weight = np.reciprocal(standard_error[block])
        weight *= weight
        weight *= weight
        if rows.frequency is not None:
            weight *= rows.frequency[block]
            total += float(rows.frequency[block].sum())
        residual = np.subtract(rows.y[block], share, out=share)
        residual *= residual
        # By einsum: for a dot product this short BLAS would wake its threads and wait.
        used += float(np.einsum("i,i->", weight, residual))
        variance *= weight
        single = float((variance / np.maximum(n, 1.0)).sum())
        excess += single
        scale += float(variance.sum()) - single
    total = total if rows.frequency is not None else float(len(counts))
    free = total - rows.n_features - 1.0
    if free <= 0.0 or scale <= 0.0:  # nothing is left over, or every count is 1
        return 0.0
    return min(max((used * total / free - excess) / scale, 0.0), 1.0)


def _errors(
    rows: Rows,
    counts: Array,
    errors: CountErrors,
    bernoulli: Array,
    standard_error: Array,
    step: float,
) -> float:
    """Move the errors towards those at the fitted shares; return the root mean square relative change."""
    square, total = 0.0, 0.0
    for block in row_blocks(len(counts), _COLUMNS):
        old, new = standard_error[block], errors.standard_error(bernoulli[block], counts[block])
        relative = new / old
        relative -= 1.0
        if rows.frequency is None:
            square += float(np.einsum("i,i->", relative, relative))
            total += len(relative)
        else:
            square += float(np.einsum("i,i,i->", rows.frequency[block], relative, relative))
            total += float(rows.frequency[block].sum())
        standard_error[block] = new if step == 1.0 else old + step * (new - old)
    return float(np.sqrt(square / total))
