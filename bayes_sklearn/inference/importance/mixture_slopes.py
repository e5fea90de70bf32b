"""Coefficients of the mixture model in units of what is known of them, where the scale of their prior is learned.

Sampled beside that scale they would make a funnel towards no effect; less the mean that data and prior give them
together, and in units of its deviation, they do not. The data's part is a rough one: it changes no density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..structural.model import StructuralProblem
from ..structural.slope_prior import SlopePrior
from .structural_nodes import Following

Array = NDArray[np.float64]


class Slopes(NamedTuple):
    """What points have in the place of coefficients, taken apart."""

    m: Array
    """(G, q)"""
    beta: Array
    """(G, k)"""
    tau: Array
    """(G,)"""
    log_volume: Array
    """(G,) log of what (m, beta) take for one of the points' columns."""


@dataclass(frozen=True, eq=False)
class ScaledSlopes:
    """The coefficients given tau and Gamma: of their own for m, and for beta, or beta + Gamma'm."""

    prior: SlopePrior
    m: Array
    """(q,) what the data say of m, about."""
    m_precision: Array
    """(q, q)"""
    slopes: Array
    """(k,) and of the exact features' slopes, beside m's or, where the prior is on the signal, on their own."""
    precision: Array
    """(k, k)"""

    @classmethod
    def of(cls, data: StructuralProblem) -> ScaledSlopes | None:
        """Return the coordinates, or None where no scale is learned."""
        prior = data.slopes
        if prior.log_scale is None:
            return None
        following, point = Following.of(data), data.guess()[0][None]
        T, reference = data.psi(point).T[0], data.gathered.reference
        # K'T is to m what the spread of exact features is to their slopes.
        m_precision = following.information * T @ np.linalg.solve(T + following.error, T)
        used = slice(None) if data.frequency is None else data.frequency > 0.0
        z = data.z[used]
        z = z - z.mean(axis=0)
        precision = following.information / max(len(z), 1) * (z.T @ z)
        slopes = reference.y + reference.m @ reference.w if prior.on_signal else reference.y
        return cls(prior, point[0, : data.n_noisy], m_precision, slopes[1:], precision)

    def apart(self, of_m: Array, of_beta: Array, Gamma: Array, log_tau: Array) -> Slopes:
        """Return the coefficients at points.

        Parameters
        ----------
        of_m : ndarray of shape (G, q)
        of_beta : ndarray of shape (G, k)
        Gamma : ndarray of shape (G, q, k)
        log_tau : ndarray of shape (G,)
        """
        prior, tau = self.prior, np.exp(np.clip(log_tau, -_MOST, _MOST))
        beta, log_volume = self._scaled(
            of_beta, tau, self.slopes, self.precision, prior.beta_mean, prior.whiten[0]
        )
        if prior.on_signal:
            return Slopes(of_m, beta - np.einsum("gq,gqk->gk", of_m, Gamma), tau, log_volume)
        m, more = self._scaled(of_m, tau, self.m, self.m_precision, prior.mean, np.diag(1.0 / prior.sd))
        return Slopes(m, beta, tau, log_volume + more)

    def together(self, m: Array, beta: Array, Gamma: Array) -> tuple[Array, Array, float]:
        """Return what stands for one m, beta and Gamma in a point, with a value of log tau that suits them."""
        prior = self.prior
        slopes = beta + m @ Gamma if prior.on_signal else beta
        white = (slopes - prior.beta_mean) @ prior.whiten[0].T
        if not prior.on_signal:
            white = np.append(white, (m - prior.mean) / prior.sd)
        tau = np.sqrt(np.square(white).mean() + _SMALL)
        of_beta = self._unscaled(slopes, tau, self.slopes, self.precision, prior.beta_mean, prior.whiten[0])
        if prior.on_signal:
            return m, of_beta, float(np.log(tau))
        of_m = self._unscaled(m, tau, self.m, self.m_precision, prior.mean, np.diag(1.0 / prior.sd))
        return of_m, of_beta, float(np.log(tau))

    def _scaled(
        self, values: Array, tau: Array, known: Array, precision: Array, mean: Array, whiten: Array
    ) -> tuple[Array, Array]:
        center, lower = _gaussian(tau, known, precision, mean, whiten)
        log_volume = -np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        inverse: Array = np.asarray(np.linalg.inv(lower), dtype=np.float64)
        return center + (values[:, None, :] @ inverse)[:, 0], np.asarray(log_volume, dtype=np.float64)

    def _unscaled(
        self, values: Array, tau: float, known: Array, precision: Array, mean: Array, whiten: Array
    ) -> Array:
        center, lower = _gaussian(np.array([tau]), known, precision, mean, whiten)
        return np.asarray((values - center[0]) @ lower[0])


# Exponentials of more are no scales, and a scale whose square is less is none to start from.
_MOST, _SMALL = 50.0, 1e-4


def _gaussian(tau: Array, known: Array, precision: Array, mean: Array, whiten: Array) -> tuple[Array, Array]:
    """Return mean and root of the precision of what data and prior say together, (G, d) and (G, d, d)."""
    of_prior = whiten.T @ whiten / np.square(tau)[:, None, None]
    lower: Array = np.asarray(np.linalg.cholesky(precision + of_prior), dtype=np.float64)
    # Less the prior's mean, so that nothing cancels where it holds.
    right = np.broadcast_to(precision @ (known - mean), (len(tau), len(known)))
    half = np.linalg.solve(lower, right[:, :, None])
    return mean + np.linalg.solve(lower.transpose(0, 2, 1), half)[:, :, 0], lower
