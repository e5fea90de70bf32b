"""Whether chains of draws agree, and how many independent draws they are worth.

Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021, Bayesian Analysis 16:667-718.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["Convergence", "convergence"]

Array = NDArray[np.float64]


class Convergence(NamedTuple):
    """Of some variables, (k,) each."""

    r_hat: Array
    bulk: Array
    """Effective draws of the middle of the distribution, ..."""
    tail: Array
    """... and of its 5% tails."""


def convergence(draws: Array) -> Convergence:
    """Return R-hat and effective sample sizes of variables; of constant ones NaN, of infinite ones the worst.

    Parameters
    ----------
    draws : ndarray of shape (chain, draw, k)
        At least four draws per chain.
    """
    found = [_of_one(draws[:, :, j]) for j in range(draws.shape[2])]
    return Convergence(*np.array(found).reshape(-1, 3).T)


def _of_one(draws: Array) -> tuple[float, float, float]:
    if not np.isfinite(draws).all():
        return np.inf, 0.0, 0.0
    if np.ptp(draws) == 0.0:
        return np.nan, np.nan, np.nan
    half = draws.shape[1] // 2
    split = np.concatenate([draws[:, :half], draws[:, -half:]])
    bulk = _normal_scores(split)
    r_hat = max(
        _potential_reduction(bulk), _potential_reduction(_normal_scores(np.abs(split - np.median(split))))
    )
    tails = [split <= limit for limit in np.quantile(draws, [0.05, 0.95])]
    return r_hat, _effective(bulk), min(_effective(below.astype(np.float64)) for below in tails)


def _normal_scores(values: Array) -> Array:
    """Return ranks as quantiles of the normal distribution."""
    ranks = rankdata(values, method="average").reshape(values.shape)
    return np.asarray(ndtri((ranks - 0.375) / (values.size + 0.25)))


def _potential_reduction(values: Array) -> float:
    n = values.shape[1]
    between, within = values.mean(axis=1).var(ddof=1), values.var(axis=1, ddof=1).mean()
    return float(np.sqrt((n - 1.0) / n + between / within)) if within > 0.0 else np.nan


def _effective(values: Array) -> float:
    """Return the effective sample size by Geyer's initial monotone sequence."""
    m, n = values.shape
    centred = values - values.mean(axis=1, keepdims=True)
    size = next_fast_len(2 * n)
    covariance = irfft(np.square(np.abs(rfft(centred, size, axis=1))), size, axis=1)[:, :n].mean(axis=0) / n
    within = covariance[0] * n / (n - 1.0)
    pooled = covariance[0] + (values.mean(axis=1).var(ddof=1) if m > 1 else 0.0)
    if not pooled > 0.0:
        return float(m * n)
    correlation = 1.0 - (within - covariance) / pooled
    correlation[0] = 1.0
    # Sums of pairs, as long as they are positive and their lags are not the last ones.
    last = max((n - 1) // 2 - 1, 0)
    pairs = correlation[: 2 * last + 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs < 0.0)
    end = int(negative[0]) if len(negative) else last
    time = -1.0 + 2.0 * np.minimum.accumulate(pairs[:end]).sum() + max(float(correlation[2 * end]), 0.0)
    return m * n / max(time, 1.0 / np.log10(m * n))
