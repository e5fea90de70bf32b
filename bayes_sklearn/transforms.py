"""What a likelihood says of rows beside their density: the probability of less, and how narrowly it holds the line.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, expit, ndtr, stdtr

from .likelihoods import (
    BetaBinomialLikelihood,
    BinomialLikelihood,
    Likelihood,
    NormalLikelihood,
    Observations,
    StudentTLikelihood,
    counts,
)

Array = NDArray[np.float64]

__all__ = ["noise_variance", "probability_of_less", "sharpness"]

# Probabilities of counts are summed up until what is left is below this share; looked at every so many.
_LEFT, _EVERY = 1e-10, 32
_TINY = 1e-300


def noise_variance(
    likelihood: NormalLikelihood | StudentTLikelihood, values: Mapping[str, Array], data: Observations
) -> Array:
    """Return the squared scale of each row's noise, broadcasting with the line, (14)."""
    return likelihood._variance(values, data)


@singledispatch
def probability_of_less(
    likelihood: Likelihood, eta: Array, values: Mapping[str, Array], data: Observations
) -> Array:
    """Return the probability of less than each row's target, and half of that of the target itself.

    The second is zero but for shares, which are discrete: counts that rounded shares don't give whole are rounded.

    Parameters
    ----------
    likelihood : Likelihood
    eta : ndarray of shape (..., n)
        The regression line.
    values : mapping of str to ndarray
        Further parameters of the likelihood, as for its `log_density`.
    data : Observations

    Returns
    -------
    ndarray of shape (..., n)
    """
    raise TypeError(f"{likelihood!r} has no distribution function.")


@probability_of_less.register
def _of_normal(
    likelihood: NormalLikelihood, eta: Array, values: Mapping[str, Array], data: Observations
) -> Array:
    return np.asarray(ndtr((data.y - eta) / np.sqrt(noise_variance(likelihood, values, data))))


@probability_of_less.register
def _of_student_t(
    likelihood: StudentTLikelihood, eta: Array, values: Mapping[str, Array], data: Observations
) -> Array:
    parameters: dict[str, Any] = {**likelihood.constants, **values}
    nu = parameters["nu"]
    return np.asarray(stdtr(nu, (data.y - eta) / np.sqrt(noise_variance(likelihood, values, data))))


@probability_of_less.register
def _of_binomial(
    likelihood: BinomialLikelihood, eta: Array, values: Mapping[str, Array], data: Observations
) -> Array:
    data = _whole(data)
    successes, failures = counts(data)
    # Of all trials no more can be had; the function has no value there.
    at_most = np.where(failures == 0.0, 1.0, betainc(np.maximum(failures, 1.0), successes + 1.0, expit(-eta)))
    return np.maximum(at_most - 0.5 * np.exp(likelihood.log_density(eta, values, data)), 0.0)


@probability_of_less.register
def _of_beta_binomial(
    likelihood: BetaBinomialLikelihood, eta: Array, values: Mapping[str, Array], data: Observations
) -> Array:
    data = _whole(data)
    successes, failures = counts(data)
    log_density = likelihood.log_density(eta, values, data)
    dispersion = np.broadcast_to(values["dispersion"], eta.shape)
    answer = np.empty(eta.shape)
    for row in range(len(data.y)):
        share, rest = expit(eta[..., row]), expit(-eta[..., row])
        odds = dispersion[..., row] / (1.0 - dispersion[..., row])
        # From the end that is nearer, by counts.
        k, others = successes[row], failures[row]
        mirrored = others < k
        if mirrored:
            share, rest, k, others = rest, share, others, k
        below = np.log(_sum_below(share, rest, odds, int(k), int(others))) + log_density[..., row]
        answer[..., row] = np.exp(np.minimum(below, 0.0))
        if mirrored:
            answer[..., row] = 1.0 - answer[..., row]
    return answer


def _whole(data: Observations) -> Observations:
    """Return shares of whole counts."""
    trials = np.broadcast_to(np.asarray(data.trials, dtype=np.float64), data.y.shape)
    return replace(data, y=np.rint(data.y * trials) / trials, trials=trials)


def _sum_below(share: Array, rest: Array, odds: Array, successes: int, failures: int) -> Array:
    """Return the beta-binomial probabilities of fewer successes and half of that of so many, over the latter.

    Parameters
    ----------
    share, rest, odds : ndarray
        The mean share, what it leaves of one, and dispersion / (1 - dispersion).
    """
    share = np.maximum(share, _TINY)
    term, total = np.ones_like(share), np.full_like(share, 0.5)
    # Towards the nearer end probabilities rise to one peak at most, or to the end: once so small, they stay so.
    # A sum that is too large for a number is that of all but a tail too small for one.
    with np.errstate(over="ignore"):
        for step in range(successes):
            j = successes - step
            ratio = (rest + odds * (failures + step)) / (share + odds * (j - 1.0))
            ratio *= j / (failures + step + 1.0)
            term *= ratio
            total += term
            if step % _EVERY == 0 and (term * j < _LEFT * total).all():
                break
    return total


@singledispatch
def sharpness(likelihood: Likelihood, values: Mapping[str, Array], data: Observations) -> Array:
    """Return about the largest curvature in the line that the log probability of each row's share has, (..., n)."""
    raise TypeError(f"{likelihood!r} is no likelihood of shares.")


@sharpness.register
def _of_trials(likelihood: BinomialLikelihood, values: Mapping[str, Array], data: Observations) -> Array:
    return 0.25 * np.broadcast_to(np.asarray(data.trials, dtype=np.float64), data.y.shape)


@sharpness.register
def _of_dispersed(
    likelihood: BetaBinomialLikelihood, values: Mapping[str, Array], data: Observations
) -> Array:
    trials = np.asarray(data.trials, dtype=np.float64)
    return 0.25 * trials / (1.0 + (trials - 1.0) * values["dispersion"])
