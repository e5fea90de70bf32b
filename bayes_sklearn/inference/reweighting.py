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
from .posterior import Posterior, linear_moments, row_blocks

Array = NDArray[np.float64]

# Reweightings that every fit makes; the root mean square relative change of the errors at which another one is
# not worth its passes over the data; the number at which it is doubtful that they settle.
_REWEIGHTINGS = 2
_SETTLED = 1e-3
_MAX_REWEIGHTINGS = 50


def reweight(
    fit: Callable[[Array], tuple[Posterior, str]],
    rows: Rows,
    counts: Array,
    errors: CountErrors,
    *,
    overdispersed: bool,
) -> tuple[Posterior, str, Array, CountErrors]:
    """Fit with count errors at the fitted shares, (13).

    Parameters
    ----------
    fit : callable
        From standard errors to the posterior, on the data's scale, and the name of the engine.
    rows : Rows
        The table; its target are shares.
    counts : ndarray of shape (n,)
        The counts behind them.
    errors : CountErrors
        With the pooled share, at which the first errors are taken.
    overdispersed : bool
        Whether to estimate extra-binomial variation along the way.

    Returns
    -------
    posterior : Posterior
    engine : str
    standard_error : ndarray of shape (n,)
        The errors of the last fit.
    errors : CountErrors
        With the extra-binomial variation found.

    Warns
    -----
    ConvergenceWarning
        Where the errors keep moving.
    """
    start = np.full(1, errors.pooled)
    standard_error = np.empty_like(counts)
    for block in row_blocks(len(counts), 1):
        bernoulli = errors.bernoulli_variance(start, counts[block])
        standard_error[block] = errors.standard_error(bernoulli, counts[block])
    posterior, engine = fit(standard_error)
    step, change = 1.0, np.inf
    for reweighting in range(_MAX_REWEIGHTINGS):
        share = linear_moments(posterior, rows, with_variance=False)[0]
        if overdispersed:
            rho = _overdispersion(share, rows, counts, errors, standard_error)
            errors = replace(errors, overdispersion=rho)
        before, (proposal, change) = change, _errors_at(share, rows, counts, errors, standard_error)
        if reweighting >= _REWEIGHTINGS and change < _SETTLED:
            return posterior, engine, standard_error, errors
        if change > 0.5 * before:  # it swings, or creeps: smaller steps settle
            step = max(0.5 * step, 0.125)
        if step < 1.0:
            proposal = standard_error + step * (proposal - standard_error)
        standard_error = proposal
        posterior, engine = fit(standard_error)
    warnings.warn(
        f"Errors at the fitted shares did not settle in {_MAX_REWEIGHTINGS} reweightings: some fitted shares lie at"
        " 0 or 1, where a line is a poor model of a share. Use a larger error_floor, or other features.",
        ConvergenceWarning,
        stacklevel=2,
    )
    return posterior, engine, standard_error, errors


def _overdispersion(
    share: Array, rows: Rows, counts: Array, errors: CountErrors, standard_error: Array
) -> float:
    """Return the intraclass correlation by weighted moments of the squared residuals, (13)."""
    excess, scale, total, used = 0.0, 0.0, 0.0, 0.0
    for block in row_blocks(len(counts), 1):
        n = np.maximum(counts[block], 1.0)
        variance = errors.bernoulli_variance(share[block], n)
        # A squared residual has a standard deviation of the order of the error's square.
        weight = np.reciprocal(standard_error[block])
        weight *= weight
        weight *= weight
        if rows.frequency is not None:
            weight *= rows.frequency[block]
            total += float(rows.frequency[block].sum())
        residual = rows.y[block] - share[block]
        residual *= residual
        used += float(weight @ residual)
        variance *= weight
        single = variance / n
        excess += float(single.sum())
        scale += float(variance.sum()) - float(single.sum())
    total = total if rows.frequency is not None else float(len(counts))
    free = total - rows.n_features - 1.0
    if free <= 0.0 or scale <= 0.0:  # nothing is left over, or every count is 1
        return 0.0
    return min(max((used * total / free - excess) / scale, 0.0), 1.0)


def _errors_at(
    share: Array, rows: Rows, counts: Array, errors: CountErrors, standard_error: Array
) -> tuple[Array, float]:
    """Return the errors at these shares, written over them, and their root mean square relative change."""
    square, total = 0.0, 0.0
    for block in row_blocks(len(counts), 1):
        bernoulli = errors.bernoulli_variance(share[block], counts[block])
        share[block] = errors.standard_error(bernoulli, counts[block])
        relative = share[block] / standard_error[block]
        relative -= 1.0
        if rows.frequency is None:
            square += float(relative @ relative)
            total += len(relative)
        else:
            square += float(np.einsum("i,i,i->", rows.frequency[block], relative, relative))
            total += float(rows.frequency[block].sum())
    return share, float(np.sqrt(square / total))
