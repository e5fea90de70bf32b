"""The coefficients' prior beside features measured with error, given its scale and the true features' covariance.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False)
class SlopePrior:
    """The prior of m and beta given the scale tau, under each of several equally probable geometries."""

    log_density: LogDensity
    """From (G, q) coefficients m at scale one, or what (20a) makes independent of them, to (G,) log densities."""
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
    powers: Array | None = None
    """(geometries,) of the true features' correlation where the prior of m is on the signal, (20a); None: on m."""

    @property
    def n_geometries(self) -> int:
        return len(self.whiten)

    @cached_property
    def n_flat(self) -> int:
        """How many entries of beta have a flat prior."""
        return int(np.count_nonzero(~self.whiten[0].any(axis=1)))

    @cached_property
    def log_volume(self) -> Array:
        """(geometries,) Log densities of beta at its mean at scale one, less those of Normal(0, 1)."""
        flat = ~self.whiten.any(axis=2)
        found = np.linalg.slogdet(self.whiten + flat[:, :, None] * np.eye(self.whiten.shape[1]))[1]
        return np.asarray(found + 0.5 * self.n_flat * _LOG_TWO_PI)

    def log_m(self, m: Array, T: Array, tau: Array) -> Array:
        """Return the log densities of m under each geometry, (G, geometries), (20b)."""
        q = m.shape[1]
        if self.powers is None:
            away = m if self.log_scale is None else self.mean + (m - self.mean) / tau[:, None]
            return (self.log_density(away) - q * np.log(tau))[:, None]
        t = np.sqrt(np.maximum(np.diagonal(T, axis1=1, axis2=2), np.finfo(np.float64).tiny))
        signal = t * m / tau[:, None]
        log_unit = np.log(t).sum(axis=1) - q * np.log(tau)
        if q == 1:
            return np.repeat((self.log_density(signal) + log_unit)[:, None], self.n_geometries, axis=1)
        spread, directions = np.linalg.eigh(T / (t[:, :, None] * t[:, None, :]))
        spread = np.maximum(spread, np.finfo(np.float64).tiny)
        along = (signal[:, None, :] @ directions)[:, 0]
        found = [
            self.log_density(along * spread ** (0.5 * power)) + 0.5 * power * np.log(spread).sum(axis=1)
            for power in self.powers
        ]
        return np.stack(found, axis=1) + log_unit[:, None]

    def log_beta(self, beta: Array, tau: Array) -> Array:
        """Return the log densities of beta under each geometry, (G, geometries)."""
        white = (beta - self.beta_mean) @ self.whiten.transpose(0, 2, 1) / tau[:, None]
        square = np.square(white).sum(axis=2).T
        k = len(self.beta_mean)
        return (
            -0.5 * square + self.log_volume - 0.5 * k * _LOG_TWO_PI - (k - self.n_flat) * np.log(tau)[:, None]
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
        own = np.diag(np.where(np.isinf(self.sd), widest, self.sd) ** -2.0)
        if self.powers is None:
            return own / np.square(tau)[:, None, None]
        t = np.sqrt(np.diagonal(T, axis1=1, axis2=2)) / tau[:, None]
        return own * np.square(t)[:, None, :]
