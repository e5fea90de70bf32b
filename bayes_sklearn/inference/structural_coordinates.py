"""Coordinates of the structural model's points in which coefficients follow the true features' spread.

What the data tell is the regression of the target on the features as they were measured, K'm with
K = T (T + U)^-1. Where T may be near to singular, the coefficients behind it lie along a bend, m = K'^-1 b, that no
Gaussian covers; given T they are about Gaussian. These coordinates are the coefficients less that Gaussian's mean, in
units of its root. They change no density, so that it may be a rough one. Where the scale of the coefficients' prior is
learned it follows that scale, too: else there would be a funnel towards no effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .importance_sampling import Component
from .structural import MEAN_SCALE, StructuralProblem
from .structural_rows import cholesky, pairs

Array = NDArray[np.float64]

# The data's information of coefficients in the target's unit, above which more makes no other coordinates.
_INFORMATION = 1e10
# Added to T + U, which may be singular.
_JITTER = 1e-9
# Derivatives are differences over this share of a coordinate.
_STEP = 1e-5


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

    @classmethod
    def of(cls, problem: StructuralProblem) -> Following:
        q = problem.n_noisy
        spread, errors = problem.moments
        u, slope = q * (q + 1) // 2, problem.gathered.reference.m
        square = float(spread[q, q] + slope @ spread[:q, :q] @ slope)
        return cls(
            problem,
            min(problem.total_weight / float(spread[q, q]), _INFORMATION / square),
            slope,
            errors[pairs(q)] + _JITTER * np.eye(q),
            np.zeros(q) if problem.cross_covariance is None else errors[u : u + q],
            MEAN_SCALE * np.sqrt(square),
        )

    def points(self, coordinates: Array) -> tuple[Array, Array]:
        """Return the points, and the log of the volume that each takes of the coordinates'."""
        q = self.problem.n_noisy
        mean, lower = self._given_spread(coordinates)
        m = mean + np.linalg.solve(lower.transpose(0, 2, 1), coordinates[:, :q, None])[:, :, 0]
        log_volume = -np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        return np.concatenate([m, coordinates[:, q:]], axis=1), log_volume

    def coordinates(self, points: Array) -> Array:
        """Return the coordinates of points."""
        q = self.problem.n_noisy
        mean, lower = self._given_spread(points)
        own = (lower.transpose(0, 2, 1) @ (points[:, :q] - mean)[:, :, None])[:, :, 0]
        return np.concatenate([own, points[:, q:]], axis=1)

    def component(self, of_points: Component) -> Component:
        """Return what in these coordinates is about the same to draw from."""
        q, center = self.problem.n_noisy, of_points.center
        step = _STEP * np.maximum(np.abs(center), _STEP)
        up, down = (self.coordinates(center + sign * np.diag(step)) for sign in (1.0, -1.0))
        jacobian = np.eye(len(center))
        jacobian[:q] = (up - down)[:, :q].T / (2.0 * step)
        return Component(self.coordinates(center[None])[0], jacobian @ of_points.root)

    def _given_spread(self, points: Array) -> tuple[Array, Array]:
        """Return the Gaussian of m given the rest: its mean and the root of its precision."""
        psi, slopes = self.problem.psi(points), self.problem.slopes
        scale = psi.noise_scale if self.problem.multiplies else np.ones(len(points))
        inverse = np.linalg.inv(psi.T + self.error)
        share = psi.T @ inverse
        # Of T m = (T + U) b - c.
        known = (psi.T @ self.slope) - scale[:, None] * (share @ self.with_target)
        of_prior = slopes.precision(psi.T, psi.tau, self.widest)
        precision = self.information * share @ psi.T + of_prior
        lower, _ = cholesky(0.5 * (precision + precision.transpose(0, 2, 1)))
        right = self.information * known + of_prior @ slopes.mean
        half = np.linalg.solve(lower, right[:, :, None])
        return np.linalg.solve(lower.transpose(0, 2, 1), half)[:, :, 0], lower
