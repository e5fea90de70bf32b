"""Coordinates of the structural model's points in which coefficients follow the true features' spread.

What the data tell is the regression of the target on the features as they were measured, K'm with
K = T (T + U)^-1. Where T may be near to singular, the coefficients behind it lie along a bend, m = K'^-1 b, that no
Gaussian covers; given T they are about Gaussian. These coordinates are the coefficients less that Gaussian's mean, in
units of its root. They change no density, so that it may be a rough one. Where the scale of the coefficients' prior
is learned it follows that scale, too: else there would be a funnel towards no effect.

The noise is what the true features leave of the target's variance about that regression: where reliabilities are low,
from all of it to nothing. Its coordinate says how large that variance is, in units of the deviation of its estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .importance_sampling import Component
from .structural import MEAN_SCALE, StructuralProblem
from .structural_rows import cholesky, forward, pairs

Array = NDArray[np.float64]

# The data's information of coefficients in the target's unit, above which more makes no other coordinates.
_INFORMATION = 1e10
# Added to T + U, which may be singular.
_JITTER = 1e-9
# Derivatives are differences over this share of a standard deviation.
_STEP = 1e-4
# Of the deviation: more or less of it, and the weights' tails are heavier.
_SMOOTHING = 0.3
# Coordinates of the noise are no larger, and no more negative exponents of it count.
_MOST = 300.0


@dataclass(frozen=True, eq=False)
class Following:
    """The map between coordinates and points, (G, d) both; the columns but the first q are the same."""

    problem: StructuralProblem
    information: float
    """Rows by the target's variance about its regression on the features."""
    slope: Array
    """(q,) that regression's coefficients."""
    error: Array
    """(q, q) mean of U."""
    with_target: Array
    """(q,) mean of c."""
    widest: float
    """A standard deviation that is as good as a flat prior's."""
    about: float
    """The target's variance about the regression, ..."""
    known: float
    """... the part of it that the noise is added to, ..."""
    deviation: float
    """... and the standard deviation of its log."""

    @classmethod
    def of(cls, problem: StructuralProblem) -> Following:
        q = problem.n_noisy
        spread, errors = problem.moments
        u, slope = q * (q + 1) // 2, problem.gathered.reference.m
        about = problem.residual_variance
        square = about + float(slope @ spread[:q, :q] @ slope)
        known = float(errors[-2]) if problem.noise == "additive" else 0.0
        return cls(
            problem,
            min(problem.total_weight / about, _INFORMATION / square),
            slope,
            errors[pairs(q)] + _JITTER * np.eye(q),
            np.zeros(q) if problem.cross_covariance is None else errors[u : u + q],
            MEAN_SCALE * np.sqrt(square),
            about,
            known,
            float(np.sqrt(2.0 / max(problem.total_weight, 4.0))),
        )

    @property
    def flips(self) -> NDArray[np.bool_]:
        """(d,) Which coordinates are signed: t."""
        found = np.zeros(self.problem.size, dtype=bool)
        found[self.problem.spread_columns] = True
        return found

    def points(self, coordinates: Array) -> tuple[Array, Array]:
        """Return the points, and the log of the volume that each takes of the coordinates'."""
        q = self.problem.n_noisy
        mean, lower = self._given_spread(coordinates)
        root = forward(lower, np.eye(q))
        m = ((mean + coordinates[:, None, :q]) @ root)[:, 0]
        log_volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        points = np.concatenate([m, coordinates[:, q:]], axis=1)
        if self.problem.noise != "known":
            away = self.deviation * np.clip(coordinates[:, q], -_MOST, _MOST)
            total = self.about * (1.0 + np.sinh(away))
            smoothing = self._smoothing
            # The square of the noise: what is left of the total, where anything is.
            left = (total - self.known - self._unseen(points)) / smoothing
            points[:, q] = np.sqrt(smoothing * np.logaddexp(0.0, np.maximum(left, -_MOST))) / self._unit
            log_volume += np.log(0.5 * self.about * self.deviation * np.cosh(away)) - np.logaddexp(0.0, -left)
            log_volume -= np.log(points[:, q]) + 2.0 * np.log(self._unit)
        return points, log_volume

    def coordinates(self, points: Array) -> Array:
        """Return the coordinates of points whose noise is not zero."""
        q, found = self.problem.n_noisy, points.copy()
        mean, lower = self._given_spread(points)
        found[:, :q] = (points[:, None, :q] @ lower - mean)[:, 0]
        if self.problem.noise != "known":
            square = np.maximum(np.square(self._unit * points[:, q]) / self._smoothing, np.exp(-_MOST))
            left = square + np.log(-np.expm1(-square))
            total = self._smoothing * left + self.known + self._unseen(points)
            found[:, q] = np.arcsinh(total / self.about - 1.0) / self.deviation
        return found

    def component(self, of_points: Component) -> Component:
        """Return what in these coordinates is about the same to draw from."""
        center = of_points.center
        step = _STEP * of_points.scale
        up, down = (self.coordinates(center + sign * np.diag(step)) for sign in (1.0, -1.0))
        jacobian = (up - down).T / (2.0 * step)
        return Component(self.coordinates(center[None])[0], jacobian @ of_points.root)

    @property
    def _unit(self) -> float:
        """The noise where its column in a point is one."""
        return self.problem.typical_error if self.problem.noise == "scaled" else 1.0

    @property
    def _smoothing(self) -> float:
        """How much of the variance the noise's square takes to fall to nothing where features leave nothing to it."""
        return _SMOOTHING * self.about * self.deviation

    def _unseen(self, points: Array) -> Array:
        """Return about the variance of the target that the true features explain and the measured ones don't."""
        psi = self.problem.psi(points)
        pushed = (psi.T @ psi.m[:, :, None])[:, :, 0]
        through = np.linalg.solve(psi.T + self.error, pushed[:, :, None])[:, :, 0]
        return np.maximum(((psi.m - through) * pushed).sum(axis=1), 0.0)

    def _given_spread(self, points: Array) -> tuple[Array, Array]:
        """Return the Gaussian of m given the rest: its mean in units of its root, (G, 1, q), and its precision's."""
        psi, slopes = self.problem.psi(points), self.problem.slopes
        scale = np.sqrt(self.about) / self._unit if self.problem.multiplies else 1.0
        inverse = np.linalg.inv(psi.T + self.error)
        share = psi.T @ inverse
        # Of T m = (T + U) b - c.
        known = (psi.T @ self.slope) - scale * (share @ self.with_target)
        of_prior = slopes.precision(psi.T, psi.tau, self.widest)
        precision = self.information * share @ psi.T + of_prior
        lower, _ = cholesky(0.5 * (precision + precision.transpose(0, 2, 1)))
        right = self.information * known + of_prior @ slopes.mean
        return forward(lower, right[:, :, None]).transpose(0, 2, 1), lower
