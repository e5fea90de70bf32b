"""The coefficients' prior beside features measured with error, given its scale and the true features' covariance.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from .rows import cholesky

Array = NDArray[np.float64]

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
