"""Coefficients of the mixture model in units of what is known of them, where the scale of their prior is learned.

Sampled beside that scale they would make a funnel towards no effect; less the mean that data and prior give them
together, and in units of its deviation, they do not. The data's part is a rough one: it changes no density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..structural.model import MEAN_SCALE, StructuralProblem
from ..structural.normal_equations import SlopePrior
from ..structural.rows import cholesky
from .structural_nodes import Following, first_guess

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


class Known(NamedTuple):
    """What is known of some coefficients: by the data, and by their prior at a scale of one."""

    precision: Any
    """(d, d) of the data, ..."""
    pull: Any
    """(d,) ... times what they say, less the prior's mean: so nothing cancels where that holds."""
    mean: Any
    """(d,) the prior's."""
    weak: Any
    """(d, d) its precision."""

    def given(self, tau: Any, xp: Any = np) -> tuple[Any, Any]:
        """Return the coefficients' mean, (..., d), and the inverse of their precision's root, (..., d, d).

        At scales tau, (...), arrays of `xp`, which is `numpy` or `pytensor.tensor`.
        """
        lower = xp.linalg.cholesky(self.precision + self.weak / tau[..., None, None] ** 2)
        inverse = xp.linalg.inv(lower)
        return self.mean + _times(inverse @ self.pull, inverse), inverse

    def coefficients(self, values: Any, tau: Any, xp: Any = np) -> tuple[Any, Any]:
        """Return the coefficients that stand in units of what is known, and the log of the volume that they take."""
        mean, inverse = self.given(tau, xp)
        return mean + _times(values, inverse), xp.linalg.slogdet(inverse)[1]


class Measured(NamedTuple):
    """What is known of the regression on the features as they were measured, and of m by its prior, (38a)."""

    information: Any
    """Rows by the variance about that regression."""
    slope: Any
    """(q,) its coefficients."""
    error: Any
    """(q, q) mean of U."""
    mean: Any
    """(q,) the prior's, ..."""
    weak: Any
    """(q, q) ... and its precision, but for ..."""
    on_signal: Any
    """... what it is in units of T, where it is on the signal."""
    count: Any
    """How many rows there are."""
    intercept: Any
    """The mean of the intercept's prior ..."""
    of_intercept: Any
    """... and its precision."""
    at_means: Any
    """The target about the mean of the rows that count, where rows say more of it count more."""

    @classmethod
    def of(cls, guide: StructuralProblem, error: Array, y: float) -> Measured:
        """Return what moments of a problem with a normal target tell.

        Parameters
        ----------
        guide : StructuralProblem
        error : ndarray of shape (q, q)
        y : float
            The target's mean.
        """
        slopes, slope, weight = guide.slopes, guide.gathered.reference.m, guide.frequency
        each = np.full(1, guide.residual_variance)
        if not guide.noise.has_scale and guide.standard_error is not None:
            T = guide.psi(first_guess(guide)[0][None]).T[0]
            true = np.linalg.solve(T, (T + error) @ slope)
            left = max(float(true @ T @ (true - slope)), 0.0)  # what the errors of features leave the line
            each = np.square(np.asarray(guide.standard_error)) + left
        each = np.broadcast_to(each, guide.y.shape)
        used = slice(None) if weight is None else weight > 0.0
        by_row = ((1.0 if weight is None else weight) / each)[used]
        information = float(by_row.sum())
        size = slope @ guide.moments[0][: len(slope), : len(slope)] @ slope + float(np.median(each[used]))
        # Above the first, more makes no other coordinates; the second is as good as a flat prior's.
        most, widest = 1e12, MEAN_SCALE * float(np.sqrt(size))
        T, one = np.eye(len(slope))[None], np.ones(1)
        precision = slopes.precision(T, one, widest)[0]
        center, sd = (0.0, np.inf) if guide.intercept is None else guide.intercept
        return cls(
            min(information, most),
            slope,
            error,
            slopes.mean,
            np.zeros_like(precision) if slopes.on_signal else precision,
            float(precision[0, 0]) if slopes.on_signal else 0.0,
            float(len(guide.y) if weight is None else weight.sum()),
            center,
            1.0 / sd**2,
            float(by_row @ guide.y[used]) / information - y,
        )

    def true(self, own: Any, T: Any, q: int, xp: Any = np) -> tuple[Any, Any, Any]:
        """Return what the columns of m stand for, for arrays of `xp`, which is `numpy` or `pytensor.tensor`.

        Parameters
        ----------
        own : array of shape (..., q)
        T : array of shape (..., q, q)
        q : int

        Returns
        -------
        m : array of shape (..., q)
        more : array of shape (..., q)
            m less its regression on what was measured.
        log_volume : array of shape (...)
            Log of m's volume by the columns'.
        """
        if q == 1:
            t, u = T[..., 0, 0], self.error[0, 0]
            of_prior = self.weak[0, 0] + self.on_signal * t
            precision = self.information * t**2 / (t + u) + of_prior
            mean = (self.information * t * self.slope[0] + of_prior * self.mean[0]) / precision
            m = mean + own[..., 0] / xp.sqrt(precision)
            return m[..., None], (m * u / (t + u))[..., None], -0.5 * xp.log(precision)
        through = xp.linalg.solve(T + self.error, T)  # K'
        of_prior = self.weak + self.on_signal * T
        right = self.information * _times(self.slope, T) + _times(self.mean, of_prior)
        m, log_volume = _given(self.information * T @ through + of_prior, right, own, xp)
        return m, m - _times(m, xp.swapaxes(through, -1, -2)), log_volume

    def middle(
        self, own: tuple[Any, Any], T: Any, more: Any, from_means: Any, q: int, xp: Any = np
    ) -> tuple[Any, Any, Any]:
        """Return what columns of the line at the means and of mu stand for, and the log of their volume.

        Rows tell both, and where m is large the intercept's prior tells the one by the other, (38b).

        Parameters
        ----------
        own : tuple of array of shape (...) or None and array of shape (..., q)
            The columns; None without an intercept.
        T, more, q, xp
            As in `true`, and what it returns.
        from_means : array of shape (...)
            What the line at the means exceeds the intercept by.
        """
        precision = self.count * xp.linalg.inv(T + self.error) + MEAN_SCALE**-2 * np.eye(q)
        at_means, log_volume = from_means, 0.0
        if own[0] is not None:
            spread = (_times(more, xp.linalg.inv(precision)) * more).sum(axis=-1)
            prior = self.of_intercept / (1.0 + self.of_intercept * spread)
            of_line = self.information + prior
            mean = (self.information * self.at_means + prior * (self.intercept + from_means)) / of_line
            at_means, log_volume = mean + own[0] / xp.sqrt(of_line), -0.5 * xp.log(of_line)
        pull = self.of_intercept * (at_means - from_means - self.intercept)
        precision = precision + self.of_intercept * more[..., :, None] * more[..., None, :]
        mu, of_mu = _given(precision, pull[..., None] * more, own[1], xp)
        return at_means, mu, log_volume + of_mu


def _given(precision: Any, pull: Any, own: Any, xp: Any) -> tuple[Any, Any]:
    """Return what stands in units of its own about its mean, and the log of the volume it takes for one of these."""
    precision = 0.5 * (precision + xp.swapaxes(precision, -1, -2))
    inverse = xp.linalg.inv(cholesky(precision)[0] if xp is np else xp.linalg.cholesky(precision))
    values = _times(_times(pull, xp.swapaxes(inverse, -1, -2)) + own, inverse)
    return values, xp.log(xp.diagonal(inverse, 0, -2, -1)).sum(axis=-1)


def _times(vectors: Any, matrices: Any) -> Any:
    return (vectors[..., None, :] @ matrices)[..., 0, :]


@dataclass(frozen=True, eq=False)
class ScaledSlopes:
    """The coefficients given tau and Gamma: of their own for m, and for beta, or beta + Gamma'm."""

    prior: SlopePrior
    m: Known | None
    """None where the prior is on the signal: then m stands for itself."""
    slopes: Known
    """The exact features' slopes, beside m's or, where the prior is on the signal, on their own."""

    @classmethod
    def of(cls, data: StructuralProblem) -> ScaledSlopes | None:
        """Return the coordinates, or None where no scale is learned."""
        prior = data.slopes
        if prior.log_scale is None:
            return None
        following, point = Following.of(data), first_guess(data)[0][None]
        reference, of_m = data.gathered.reference, None
        used = slice(None) if data.frequency is None else data.frequency > 0.0
        z = data.z[used]
        z = z - z.mean(axis=0)
        precision = following.information / max(len(z), 1) * (z.T @ z)
        slopes = (reference.y + reference.m @ reference.w if prior.on_signal else reference.y)[1:]
        whiten = prior.whiten[0]
        weak = whiten.T @ whiten
        # Collinear features leave the data's part singular, and a wide prior makes up for none of it.
        precision = precision + 1e-10 * np.trace(precision) / np.trace(weak) * weak
        known = Known(precision, precision @ (slopes - prior.beta_mean), prior.beta_mean, weak)
        if not prior.on_signal:
            # K'T is to m what the spread of exact features is to their slopes.
            T = data.psi(point).T[0]
            precision = following.information * T @ np.linalg.solve(T + following.error, T)
            away = point[0, : data.n_noisy] - prior.mean
            of_m = Known(precision, precision @ away, prior.mean, np.diag(prior.sd**-2.0))
        return cls(prior, of_m, known)

    def apart(self, of_m: Array, of_beta: Array, Gamma: Array, log_tau: Array) -> Slopes:
        """Return the coefficients at points.

        Parameters
        ----------
        of_m : ndarray of shape (G, q)
        of_beta : ndarray of shape (G, k)
        Gamma : ndarray of shape (G, q, k)
        log_tau : ndarray of shape (G,)
        """
        tau = np.exp(np.clip(log_tau, -_MOST, _MOST))
        beta, log_volume = self.slopes.coefficients(of_beta, tau)
        if self.m is None:
            return Slopes(of_m, beta - np.einsum("gq,gqk->gk", of_m, Gamma), tau, log_volume)
        m, more = self.m.coefficients(of_m, tau)
        return Slopes(m, beta, tau, log_volume + more)

    def together(self, m: Array, beta: Array, Gamma: Array) -> tuple[Array, Array, float]:
        """Return what stands for one m, beta and Gamma in a point, with a value of log tau that suits them."""
        prior = self.prior
        slopes = beta + m @ Gamma if prior.on_signal else beta
        white = (slopes - prior.beta_mean) @ prior.whiten[0].T
        if not prior.on_signal:
            white = np.append(white, (m - prior.mean) / prior.sd)
        tau = np.sqrt(np.square(white).mean() + _SMALL)

        def units(known: Known, values: Array) -> Array:
            mean, inverse = known.given(tau)
            return np.linalg.solve(inverse.T, values - mean)

        return m if self.m is None else units(self.m, m), units(self.slopes, slopes), float(np.log(tau))


# Exponentials of more are no scales, and a scale whose square is less is none to start from.
_MOST, _SMALL = 50.0, 1e-4
