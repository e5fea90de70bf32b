"""Errors of shares at the fitted shares: a fit, whose shares give the errors of the next.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ..errors import count_standard_error
from .compressed import Rows
from .posterior import Posterior, linear_moments

Array = NDArray[np.float64]

# Reweightings that every fit makes; the root mean square change of the log errors at which another one is not
# worth its pass over the data; the number at which it is doubtful that they settle.
_REWEIGHTINGS = 2
_SETTLED = 1e-3
_MAX_REWEIGHTINGS = 50


def reweight(
    fit: Callable[[Array], tuple[Posterior, str]],
    rows: Rows,
    counts: Array,
    floor: float,
    start: float,
) -> tuple[Posterior, str, Array]:
    """Fit with binomial errors at the fitted shares, (13).

    Parameters
    ----------
    fit : callable
        From standard errors to the posterior, on the data's scale, and the name of the engine.
    rows : Rows
        The table.
    counts : ndarray of shape (n,)
        The counts behind the shares.
    floor : float
        Added to every error.
    start : float
        The share that the first errors are taken at.

    Returns
    -------
    posterior : Posterior
    engine : str
    standard_error : ndarray of shape (n,)
        The errors of the last fit.

    Warns
    -----
    ConvergenceWarning
        Where the errors keep moving.
    """
    standard_error = count_standard_error(start, counts, floor)
    posterior, engine = fit(standard_error)
    step, change = 1.0, np.inf
    for reweighting in range(_MAX_REWEIGHTINGS):
        move = _log_change(posterior, rows, counts, floor, standard_error)
        before, change = change, float(np.sqrt(move @ move / len(move)))
        if reweighting >= _REWEIGHTINGS and change < _SETTLED:
            return posterior, engine, standard_error
        if change > 0.5 * before:  # it swings, or creeps: smaller steps settle
            step = max(0.5 * step, 0.125)
        standard_error *= np.exp(step * move, out=move)
        posterior, engine = fit(standard_error)
    warnings.warn(
        f"Errors at the fitted shares did not settle in {_MAX_REWEIGHTINGS} reweightings: some fitted shares lie at"
        " 0 or 1, where a line is a poor model of a share. Use a larger error_floor, or other features.",
        ConvergenceWarning,
        stacklevel=2,
    )
    return posterior, engine, standard_error


def _log_change(
    posterior: Posterior, rows: Rows, counts: Array, floor: float, standard_error: Array
) -> Array:
    """Return the log of the errors at the fitted shares over those that were used, (n,)."""
    share = linear_moments(posterior, rows, with_variance=False)[0]
    ratio = count_standard_error(share, counts, floor)
    ratio /= standard_error
    return np.log(ratio, out=ratio)
