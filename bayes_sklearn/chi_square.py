"""How far rows lie from the line in units of their known errors, by degrees of freedom: MSWD, reduced chi-square."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .inference import Posterior, Problem
from .inference.posterior import row_blocks

Array = NDArray[np.float64]

__all__ = ["reduced_chi_square"]


def reduced_chi_square(posterior: Posterior, problem: Problem) -> tuple[float, float]:
    """Return the figure, and the probability of one as large where the errors are right.

    The line is that of the posterior means b, and a row's squared error that of its residual,
    ``e**2 + b' U b - 2 b' c``, U being the covariance of the features' errors and c theirs with the target's, as in
    York et al. 2004, American Journal of Physics 72:367-375. Rows of a frequency k count k times.

    Parameters
    ----------
    posterior : Posterior
        On the data's scale.
    problem : Problem
        Whose errors of the target are known.
    """
    rows, errors = problem.rows, problem.feature_errors
    n = len(rows.y)
    mean = posterior.mean
    frequency = np.ones(n) if rows.frequency is None else rows.frequency
    error = np.broadcast_to(np.asarray(problem.standard_error, dtype=np.float64), (n,))
    variance = np.square(error)
    if errors is not None:
        slope = mean[1:][errors.noisy]
        variance = variance + np.einsum("...ij,i,j->...", errors.covariance, slope, slope)
        if errors.with_target is not None:
            variance = variance - 2.0 * errors.with_target @ slope
    variance = np.broadcast_to(variance, (n,))
    total = 0.0
    for block in row_blocks(n, len(mean)):
        residual = rows.y[block] - mean[0] - (rows.take(block) - posterior.center) @ mean[1:]
        here = frequency[block]
        used = here > 0.0
        total += float(np.sum(here[used] * np.square(residual[used]) / variance[block][used]))
    degrees = float(frequency.sum()) - len(mean) + int(not problem.fit_intercept)
    if degrees <= 0.0:
        return float("nan"), 1.0
    return total / degrees, float(stats.chi2.sf(total, degrees))
