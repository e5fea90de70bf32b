"""The weighted least squares of the structural model's linear part, and their integral over its prior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from .slope_prior import SlopePrior
from .structural_rows import Reference, pairs

Array = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))
# Multiples of the golden ratio, less whole numbers, are spread evenly.
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)


class Integrated(NamedTuple):
    """The linear part's posterior given the rest, at G points."""

    log_integral: Array
    """(G,) log of exp(-|..|^2 / 2) integrated over theta's prior; minus infinity where double precision fails."""
    theta: Array
    """(G, D) mean of theta under one geometry of its prior, chosen by their probabilities."""
    root: Array
    """(G, D, D) upper triangle whose product with its transpose is the covariance."""
    geometry: Array
    """(G, geometries) those probabilities."""


class HeadPrior(NamedTuple):
    """The prior of (mu, Gamma, alpha): of `shear` times them."""

    mean: Array
    sd: Array
    """Flat where infinite."""
    shear: Array
    """Of determinant one."""


class NormalEquations(NamedTuple):
    """The weighted least squares of theta about a reference: |r|^2 - 2 b'd + d'A d, d = theta - reference."""

    gram: Array
    """(G, D, D) A"""
    right: Array
    """(G, D) b"""
    square: Array
    """(G,) |r|^2"""
    reference: Array
    """(G, D)"""

    @classmethod
    def of(cls, sums: Array, shift: Array, reference: Reference) -> NormalEquations:
        """Take the weighted products of [1, z, w - w0, y - y0] apart.

        Parameters
        ----------
        sums : ndarray of shape (entries of Omega, G, products)
        shift : ndarray of shape (G, q)
            m less the reference's: y - m'w is the rows' y - y0 less shift'(w - w0), but for terms in (1, z).
        reference : Reference
        """
        (n_points, q), width = shift.shape, len(reference.y)
        entry, moment = pairs(q + 1), pairs(width + q + 1)
        # (1, z) by (1, z), (1, z) by (w, y), (w, y) by (w, y), with the entries of Omega's inverse in front.
        gram = sums[:, :, moment[:width, :width]][entry]
        mixed = sums[:, :, moment[:width, width:]][entry]
        square = sums[:, :, moment[width:, width:]][entry]
        apart = np.broadcast_to(np.eye(q + 1), (n_points, q + 1, q + 1)).copy()
        apart[:, q, :q] = -shift
        theta = np.empty((n_points, q + 1, width))
        theta[:, :q] = reference.w
        theta[:, q] = reference.y - shift @ reference.w
        size = (q + 1) * width
        return cls(
            gram.transpose(2, 0, 3, 1, 4).reshape(n_points, size, size),
            np.einsum("abgiv,gbv->gai", mixed, apart).reshape(n_points, size),
            np.einsum("gau,gau->g", np.einsum("abguv,gbv->gau", square, apart), apart),
            theta.reshape(n_points, size),
        )

    def without(self, index: int) -> NormalEquations:
        """Return the equations of the other entries of theta, where the reference of this one is zero."""
        keep = np.delete(np.arange(self.gram.shape[1]), index)
        return NormalEquations(
            self.gram[:, keep[:, None], keep], self.right[:, keep], self.square, self.reference[:, keep]
        )

    def integrated(self, prior: HeadPrior, slopes: SlopePrior, tau: Array, log_shares: Array) -> Integrated:
        """Integrate theta out.

        What the geometries have in common is eliminated once; each then has equations of beta alone.

        Parameters
        ----------
        prior : HeadPrior
            Of (mu, Gamma, alpha).
        slopes : SlopePrior
            Of beta.
        tau : ndarray of shape (G,)
            Its scale.
        log_shares : ndarray of shape (G, geometries)
            What each geometry counts, before the data are asked.
        """
        head = len(prior.mean)
        flat = np.isinf(prior.sd)
        prior_root = prior.shear / prior.sd[:, None]
        ahead = np.where(flat, 0.0, prior.mean - self.reference[:, :head])
        lower, exists = cholesky(self.gram[:, :head, :head] + prior_root.T @ prior_root)
        gram, right = self.gram, self.right
        if not exists.all():
            gram, right = (np.where(exists.reshape(-1, *[1] * (x.ndim - 1)), x, 0.0) for x in (gram, right))
        inverse = _inverse(lower)
        white_ahead = ahead @ prior_root.T
        white = _times(inverse, right[:, :head] + white_ahead @ prior_root)
        across = gram[:, head:, :head] @ inverse.transpose(0, 2, 1)
        left = gram[:, head:, head:] - across @ across.transpose(0, 2, 1)
        right = right[:, head:] - _times(across, white)
        common = self.square + np.square(white_ahead).sum(axis=1) - np.square(white).sum(axis=1)
        common = -0.5 * common - _log_diagonal(lower) - float(np.log(prior.sd[~flat]).sum())
        common += 0.5 * np.count_nonzero(flat) * _LOG_TWO_PI

        k = self.gram.shape[1] - head
        ahead = slopes.beta_mean - self.reference[:, head:]
        tails, whites, terms = [], [], []
        for whiten, log_volume in zip(slopes.whiten, slopes.log_volume, strict=True):
            precision = (whiten.T @ whiten) / np.square(tau)[:, None, None]
            tail, found = cholesky(left + precision)
            tails.append(_inverse(tail))
            of_data, of_prior, rest = (
                _times(tails[-1], vector)
                for vector in (right, _times(precision, ahead), right - _times(left, ahead))
            )
            whites.append(of_data + of_prior)
            # |of_data + of_prior|^2 - ahead' precision ahead, without a difference that cancels where tau is small.
            term = 0.5 * (np.square(of_data) + (of_data + rest) * of_prior).sum(axis=1)
            term += log_volume - _log_diagonal(tail) - (k - slopes.n_flat) * np.log(tau)
            terms.append(np.where(found & exists, term, -np.inf))
        by_geometry = log_shares + np.stack(terms, axis=1)
        total, geometry, chosen = _chosen(by_geometry)
        everywhere = np.arange(len(tau))
        tail, white_tail = np.stack(tails)[chosen, everywhere], np.stack(whites)[chosen, everywhere]
        root = np.zeros_like(self.gram)
        root[:, :head, :head] = inverse.transpose(0, 2, 1)
        root[:, head:, head:] = tail.transpose(0, 2, 1)
        root[:, :head, head:] = -root[:, :head, :head] @ across.transpose(0, 2, 1) @ root[:, head:, head:]
        theta = self.reference + _times(root, np.concatenate([white, white_tail], axis=1))
        with np.errstate(invalid="ignore"):
            return Integrated(common + total, theta, root, geometry)


def _chosen(log_weights: Array) -> tuple[Array, Array, NDArray[np.intp]]:
    """Return the logs of the rows' sums, shares in them, and a column of each row, chosen by these shares."""
    if log_weights.shape[1] == 1:
        only = np.zeros(len(log_weights), dtype=np.intp)
        return log_weights[:, 0], np.ones_like(log_weights), only
    total = logsumexp(log_weights, axis=1)
    shares = np.exp(log_weights - np.where(np.isfinite(total), total, 0.0)[:, None])
    uniform = (_GOLDEN * np.arange(1, len(shares) + 1)) % 1.0
    passed = np.cumsum(shares[:, :-1], axis=1) < uniform[:, None]
    return np.asarray(total), shares, passed.sum(axis=1)


def _times(matrices: Array, vectors: Array) -> Array:
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0])


def _inverse(matrices: Array) -> Array:
    return np.asarray(np.linalg.inv(matrices), dtype=np.float64)


def _log_diagonal(lower: Array) -> Array:
    return np.asarray(np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1))


def cholesky(matrices: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return Cholesky factors, (G, D, D), the identity in the place of one that does not exist, and which do."""
    exists: NDArray[np.bool_] = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    lower = np.broadcast_to(np.eye(matrices.shape[1]), matrices.shape).copy()
    try:
        lower[exists] = np.linalg.cholesky(matrices[exists])
    except np.linalg.LinAlgError:
        for index in np.flatnonzero(exists):
            try:
                lower[index] = np.linalg.cholesky(matrices[index])
            except np.linalg.LinAlgError:
                exists[index] = False
    return lower, exists
