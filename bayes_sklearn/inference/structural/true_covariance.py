"""The covariance T of true features about their regression on the exact ones: its coordinates and its prior.

T = diag(t) C diag(t), where the hyperbolic tangents of zeta, in the order (2, 1), (3, 1), (3, 2), ..., are C's
canonical partial correlations (Lewandowski, Kurowicka & Joe 2009, Journal of Multivariate Analysis 100:1989-2001).
Entries of t are half-t, C is LKJ distributed. What takes `xp` holds for arrays of `numpy` or `pytensor.tensor`, with
further axes in front.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

Array = NDArray[np.float64]

# In units of the standardised noisy features.
SPREAD_DEGREES_OF_FREEDOM = 4.0

SPREAD_SCALE = 1.0

LKJ_SHAPE = 1.0


def root_of_covariance(t: Any, zeta: Any, q: int, xp: Any = np) -> Any:
    """Return a triangle whose product with its transpose is T, of t, (..., q), and zeta, (..., q (q - 1) / 2)."""
    row, column = np.tril_indices(q, -1)
    place = np.zeros((len(row), q, q))
    place[np.arange(len(row)), row, column] = 1.0
    below = xp.tensordot(zeta, place, axes=1)
    # A row of the root is tanh of its zetas, each times what those before have left: the product of their sechs.
    left = xp.exp(_log_sech(below, xp) @ np.triu(np.ones((q, q)), 1))
    return t[..., None] * ((xp.tanh(below) + np.eye(q)) * left)


def true_covariance(t: Any, zeta: Any, q: int, xp: Any = np) -> Any:
    """Return T, (..., q, q)."""
    if q == 1:
        return t[..., None] ** 2
    root = root_of_covariance(t, zeta, q, xp)
    return root @ xp.swapaxes(root, -1, -2)


def coordinates_of(T: Array) -> tuple[Array, Array]:
    """Return t and zeta of a covariance, correlations so near to one that zeta has no size brought back."""
    t = np.sqrt(np.diag(T))
    lower = np.linalg.cholesky(T / np.outer(t, t))
    # A row's squares sum to one: what is left of it from each entry on.
    remaining = np.sqrt(np.cumsum(np.square(lower)[:, ::-1], axis=1)[:, ::-1])
    below = np.tril_indices(len(t), -1)
    return t, np.arctanh(np.clip(lower[below] / remaining[below], -0.99, 0.99))


def log_prior(t: Any, zeta: Any, q: int, xp: Any = np) -> Any:
    """Return the log prior density of t, not negative, and zeta, (...)."""
    nu, shape = SPREAD_DEGREES_OF_FREEDOM, _shapes(q)
    half_t = (
        np.log(2.0 / SPREAD_SCALE) + gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * np.log(nu * np.pi)
    )
    # Partial correlations are Beta(b, b) on (-1, 1); tanh' makes b - 1 of the exponent b.
    constant = q * float(half_t) - float((betaln(shape, shape) + (2.0 * shape - 1.0) * np.log(2.0)).sum())
    of_t = -0.5 * (nu + 1.0) * xp.log1p((t / SPREAD_SCALE) ** 2 / nu).sum(axis=-1)
    if q == 1:
        return of_t + constant
    return of_t + 2.0 * (_log_sech(zeta, xp) * shape).sum(axis=-1) + constant


def drawn_root(q: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return roots of covariances drawn from the prior, (*shape, q, q)."""
    t = SPREAD_SCALE * np.abs(rng.standard_t(SPREAD_DEGREES_OF_FREEDOM, (*shape, q)))
    partial = np.empty((*shape, q * (q - 1) // 2))
    for i, beta in enumerate(_shapes(q)):
        partial[..., i] = 2.0 * rng.beta(beta, beta, shape) - 1.0
    with np.errstate(divide="ignore"):
        return np.asarray(root_of_covariance(t, np.arctanh(partial), q))


def pooled_covariance(shares: Array, means: Array, covariances: Array) -> Array:
    """Return the covariance of a mixture, (..., q, q), of (..., K) shares, (..., K, q) means and (..., K, q, q)."""
    away = means - np.einsum("...c,...cq->...q", shares, means)[..., None, :]
    within = np.einsum("...c,...cij->...ij", shares, covariances)
    between = np.einsum("...c,...ci,...cj->...ij", shares, away, away)
    return np.asarray(within + between, dtype=np.float64)


def _shapes(q: int) -> Array:
    """Return what b of each partial correlation's distribution is, given those of columns before."""
    return np.asarray(LKJ_SHAPE + 0.5 * (q - 2.0 - np.tril_indices(q, -1)[1]), dtype=np.float64)


def _log_sech(values: Any, xp: Any) -> Any:
    size = xp.abs(values)
    return np.log(2.0) - size - xp.log1p(xp.exp(-2.0 * size))
