"""The structural model's linear part, integrated over the prior of its coefficients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from ...priors.coefficients import PoweredCorrelation
from .rows import Reference, cholesky, forward, pairs

Array = NDArray[np.float64]


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
        # With the entries of Omega's inverse in front and points, of which there are many, last.
        sums = np.ascontiguousarray(sums.transpose(0, 2, 1))
        gram = sums[:, moment[:width, :width]][entry]
        # (1, z, w, y) by (w, y - m'w).
        mixed = sums[:, moment[:, width:]]
        for j, by in enumerate(shift.T):
            mixed[:, :, q] -= by * mixed[:, :, j]
        right = mixed[entry[:, 0], :, 0]
        for b in range(1, q + 1):
            right += mixed[entry[:, b], :, b]
        square = np.trace(right[:, width:]) - (shift.T * right[q, width:-1]).sum(axis=0)
        theta = np.empty((n_points, q + 1, width))
        theta[:, :q] = reference.w
        theta[:, q] = reference.y - shift @ reference.w
        size = (q + 1) * width
        return cls(
            gram.transpose(4, 0, 2, 1, 3).reshape(n_points, size, size),
            right[:, :width].transpose(2, 0, 1).reshape(n_points, size),
            square,
            theta.reshape(n_points, size),
        )

    def without(self, index: int) -> NormalEquations:
        """Return the equations of the other entries of theta, where the reference of this one is zero."""
        keep = np.delete(np.arange(self.gram.shape[1]), index)
        return NormalEquations(
            self.gram[:, keep[:, None], keep], self.right[:, keep], self.square, self.reference[:, keep]
        )

    def adding(self, gram: Array, right: Array, square: Array, about: Array) -> NormalEquations:
        """Return these equations with further ones of beta: square - 2 right'd + d'gram d, d = beta - about."""
        beta, both = slice(self.gram.shape[1] - len(about), None), self.gram.copy()
        away = self.reference[:, beta] - about
        pushed = _times(gram, away)
        both[:, beta, beta] += gram
        sides = self.right.copy()
        sides[:, beta] += right - pushed
        return NormalEquations(
            both, sides, self.square + square - (away * (2.0 * right - pushed)).sum(axis=1), self.reference
        )

    def integrated(self, prior: HeadPrior, slopes: SlopePrior, m: Array, tau: Array) -> Integrated:
        """Integrate theta out.

        What the geometries have in common is eliminated once; each then has equations of the exact features' slopes.

        Parameters
        ----------
        prior : HeadPrior
            Of (mu, Gamma, alpha).
        slopes : SlopePrior
            Of beta.
        m : ndarray of shape (G, q)
        tau : ndarray of shape (G,)
            Scale of the slopes' prior.
        """
        head, k = len(prior.mean), self.gram.shape[1] - len(prior.mean)
        shift = m if slopes.on_signal else np.zeros_like(m)
        gram, right, _, reference = self.shifted(shift, k)
        flat = np.append(np.isinf(prior.sd), slopes.flat)
        ahead = np.append(prior.mean, slopes.beta_mean) - reference
        ahead[:, flat] = 0.0
        of_head = prior.shear / prior.sd[:, None]
        precision = of_head.T @ of_head
        lower, exists = cholesky(gram[:, :head, :head] + precision)
        sides = np.stack([right, np.zeros_like(right), right - _times(gram, ahead)], axis=2)
        sides[:, :head, 1] = ahead[:, :head] @ precision
        if not exists.all():
            gram, sides = (np.where(exists[:, None, None], values, 0.0) for values in (gram, sides))
        inverse = _inverse(lower)
        white = inverse @ sides[:, :head]
        across = gram[:, head:, :head] @ inverse.transpose(0, 2, 1)
        left = gram[:, head:, head:] - across @ across.transpose(0, 2, 1)
        sides = sides[:, head:] - across @ white
        exponent = _gain(white) - 0.5 * self.square
        common = exponent - _log_diagonal(lower)
        common -= (k - np.count_nonzero(slopes.flat)) * np.log(tau)
        log_two_pi = float(np.log(2.0 * np.pi))
        common += 0.5 * np.count_nonzero(flat) * log_two_pi - float(np.log(prior.sd[~flat[:head]]).sum())

        terms, tails, whites = [], list[Array](), list[Array]()
        for whiten, log_volume in zip(slopes.whiten, slopes.log_volume, strict=True):
            precision = whiten.T @ whiten
            lower, found = cholesky(left + precision / np.square(tau)[:, None, None])
            own = sides.copy()
            own[:, :, 1] += ahead[:, head:] @ precision / np.square(tau)[:, None]
            tails.append(lower)
            whites.append(forward(lower, own))
            gain = _gain(whites[-1])
            # No square is negative but where its digits are lost: where the noise is next to nothing.
            found &= exists & (exponent + gain <= 1e-6 * self.square)
            terms.append(np.where(found, gain + log_volume - _log_diagonal(lower), -np.inf))
        total, geometries, chosen = _chosen(np.stack(terms, axis=1))
        everywhere = np.arange(len(m))
        tail = _inverse(np.stack(tails)[chosen, everywhere] if len(tails) > 1 else tails[0])
        of_tail = np.stack(whites)[chosen, everywhere] if len(tails) > 1 else whites[0]
        root = np.zeros_like(gram)
        root[:, :head, :head] = inverse.transpose(0, 2, 1)
        root[:, head:, head:] = tail.transpose(0, 2, 1)
        root[:, :head, head:] = -root[:, :head, :head] @ across.transpose(0, 2, 1) @ root[:, head:, head:]
        both = np.concatenate([white, of_tail], axis=1)
        theta = reference + _times(root, both[:, :, 0] + both[:, :, 1])
        return Integrated(common + total, _back(theta, shift, k), _back(root, shift, k), geometries)

    def shifted(self, shift: Array, k: int) -> NormalEquations:
        """Return the equations with beta + sum_j shift_j Gamma_j in the place of beta."""
        if not (k and shift.any()):
            return self
        width, beta = k + 1, slice(-k, None)
        gram, right, reference = self.gram.copy(), self.right.copy(), self.reference.copy()
        for j, by in enumerate(shift.T[:, :, None]):
            Gamma = slice(j * width + 1, (j + 1) * width)
            gram[:, :, Gamma] -= by[:, :, None] * gram[:, :, beta]
            right[:, Gamma] -= by * right[:, beta]
            reference[:, beta] += by * reference[:, Gamma]
        for j, by in enumerate(shift.T[:, :, None]):
            Gamma = slice(j * width + 1, (j + 1) * width)
            gram[:, Gamma] -= by[:, :, None] * gram[:, beta]
        return NormalEquations(gram, right, self.square, reference)


def _gain(white: Array) -> Array:
    """Return half of |d + p|^2 - a'P a, from whitened data, prior and what the data say against the prior, (G, D, 3).

    Without a difference that cancels where the prior is narrow.
    """
    of_data, of_prior, rest = white.transpose(2, 0, 1)
    return np.asarray(0.5 * (np.square(of_data) + (of_data + rest) * of_prior).sum(axis=1))


def _back(values: Array, shift: Array, k: int) -> Array:
    """Return what `shifted` equations say of theta, (G, D, ...), of theta as it was."""
    if k and shift.any():
        width = k + 1
        for j, by in enumerate(shift.T):
            by = by.reshape(-1, *[1] * (values.ndim - 1))
            values[:, -k:] -= by * values[:, j * width + 1 : (j + 1) * width]
    return values


def _chosen(log_weights: Array) -> tuple[Array, Array, NDArray[np.intp]]:
    """Return the logs of the rows' means, shares in them, and a column of each row, chosen by these shares."""
    if log_weights.shape[1] == 1:
        only = np.zeros(len(log_weights), dtype=np.intp)
        return log_weights[:, 0], np.ones_like(log_weights), only
    top = log_weights.max(axis=1)
    weights = np.exp(log_weights - np.where(np.isfinite(top), top, 0.0)[:, None])
    total = weights.sum(axis=1)
    shares = weights / np.where(total > 0.0, total, 1.0)[:, None]
    # Multiples of the golden ratio, less whole numbers, are spread evenly.
    golden = 0.5 * (np.sqrt(5.0) - 1.0)
    uniform = (golden * np.arange(1, len(shares) + 1)) % 1.0
    passed = np.cumsum(shares[:, :-1], axis=1) < uniform[:, None]
    return top + np.log(total / log_weights.shape[1]), shares, passed.sum(axis=1)


def _times(matrices: Array, vectors: Array) -> Array:
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0])


def _inverse(lower: Array) -> Array:
    return forward(lower, np.eye(lower.shape[1]))


def _log_diagonal(lower: Array) -> Array:
    return np.asarray(np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1))


LogDensity = Callable[[Array], Array]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False)
class SlopePrior:
    """The prior of m and beta given the scale tau, under each of several equally probable geometries."""

    log_density: LogDensity
    """From (G, q) coefficients m at scale one, or their signal, to (G,) log densities."""
    mean: Array
    """(q,) about which m is scaled, ..."""
    sd: Array
    """... and standard deviations at scale one of a Gaussian about as wide; infinite: flat."""
    beta_mean: Array
    """(k,)"""
    whiten: Array
    """(geometries, k, k) Times beta - beta_mean it is Normal(0, tau^2) and independent; rows of zeros: flat."""
    log_scale: LogDensity | None = None
    """From (G,) values of tau to log densities; None: it is one."""
    beta_log_density: LogDensity | None = None
    """From (G, k) coefficients beta at scale one to (G,) log densities; None: it is the Gaussian of `whiten`."""
    on_signal: bool = False
    """Whether the prior is on what features explain of the target, (20a): of the true features with errors on their
    signal, without tau, and of the others on what they explain on their own, beta + Gamma'm."""

    @property
    def n_geometries(self) -> int:
        return len(self.whiten)

    @cached_property
    def flat(self) -> NDArray[np.bool_]:
        """(k,) Which entries of beta have a flat prior."""
        return np.asarray((self.whiten[0] == 0.0).all(axis=1))

    @property
    def n_flat(self) -> int:
        return int(np.count_nonzero(self.flat))

    @cached_property
    def log_volume(self) -> Array:
        """(geometries,) Log of how much denser beta is at its mean at scale one than under Normal(0, 1)."""
        flat = (self.whiten == 0.0).all(axis=2)
        found = np.linalg.slogdet(self.whiten + flat[:, :, None] * np.eye(self.whiten.shape[1]))[1]
        return np.asarray(found)

    def log_m(self, m: Array, T: Array, tau: Array) -> Array:
        """Return the log density of m, (G,), (20b)."""
        q = m.shape[1]
        if not self.on_signal:
            away = m if self.log_scale is None else self.mean + (m - self.mean) / tau[:, None]
            return np.asarray(self.log_density(away) - q * np.log(tau))
        root = np.sqrt(T) if q == 1 else cholesky(T)[0]
        log_volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(self.log_density((m[:, None, :] @ root)[:, 0]) + log_volume)

    def log_beta(self, beta: Array, tau: Array) -> Array:
        """Return the log densities of beta under each geometry, (G, geometries)."""
        if self.beta_log_density is not None:
            own = self.beta_mean + (beta - self.beta_mean) / tau[:, None]
            return np.asarray(self.beta_log_density(own) - beta.shape[1] * np.log(tau))[:, None]
        white = (beta - self.beta_mean) @ self.whiten.transpose(0, 2, 1) / tau[:, None]
        square = np.square(white).sum(axis=2).T
        k = len(self.beta_mean)
        return (
            -0.5 * square
            + self.log_volume
            - 0.5 * (k - self.n_flat) * _LOG_TWO_PI
            - (k - self.n_flat) * np.log(tau)[:, None]
        )

    def precision(self, T: Array, tau: Array, widest: float) -> Array:
        """Return the precision of a Gaussian about as wide as the prior of m, (G, q, q).

        Parameters
        ----------
        T : ndarray of shape (G, q, q)
        tau : ndarray of shape (G,)
        widest : float
            The standard deviation to take for a flat prior's.
        """
        if self.on_signal:
            return T / self.sd[0] ** 2
        return np.diag(np.where(np.isinf(self.sd), widest, self.sd) ** -2.0) / np.square(tau)[:, None, None]


def cauchy_log_density(values: Array, scale: float) -> Array:
    """Return the log density of the multivariate Cauchy distribution about zero at the rows of values, (G,)."""
    q = values.shape[1]
    constant = float(gammaln(0.5 * (q + 1))) - 0.5 * (q + 1) * float(np.log(np.pi)) - q * float(np.log(scale))
    return np.asarray(constant - 0.5 * (q + 1) * np.log1p(np.square(values / scale).sum(axis=1)))


def normal_log_density(values: Array, sd: float) -> Array:
    """Return the log density of independent Normal(0, sd) at the rows of values, (G,)."""
    unit = 0.5 * _LOG_TWO_PI + float(np.log(sd))
    return np.asarray(-0.5 * np.square(values / sd).sum(axis=1) - values.shape[1] * unit)


class SignalPrior(NamedTuple):
    """The prior of what features with errors explain of the target, (20a)."""

    scale: float
    cauchy: bool
    """Whether it is Cauchy's distribution; else a normal one."""


def signal_prior(prior: PoweredCorrelation) -> SignalPrior:
    """Return the prior of the signal: where its scale is learned, as wide as that's median.

    Its tail is heavy where the scale's is: where that has no second moment.
    """
    learned = prior.scale_prior
    if learned is None:
        return SignalPrior(float(prior.check("coef_prior", 1)["sigma"][0]), cauchy=False)
    # Priors of scales have their medians within a factor of exp of this from one.
    widest = 100.0
    log_scale = np.linspace(-widest, widest, 20001)
    density = np.exp(learned.log_density(np.exp(log_scale)) + log_scale)
    mass = np.cumsum(density)
    median = float(np.exp(np.interp(0.5 * mass[-1], mass - 0.5 * density, log_scale)))
    return SignalPrior(median, cauchy=learned.tail() <= 3.0)
