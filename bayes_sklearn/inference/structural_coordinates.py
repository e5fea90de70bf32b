"""Coordinates of the structural model's points in which coefficients follow the true features' spread.

What the data tell is the regression of the target on the features as they were measured, K'm with
K = T (T + U)^-1. Where T may be near to singular, the coefficients behind it lie along a bend, m = K'^-1 b, that no
Gaussian covers; given T they are about Gaussian. These coordinates are the coefficients less that Gaussian's mean, in
units of its root. They change no density, so that it may be a rough one. Where the scale of the coefficients' prior is
learned it follows that scale, too: else there would be a funnel towards no effect.

The noise is what the true features leave of the target's variance about that regression: where reliabilities are low, from
all of it to nothing. Its coordinate is the noise over about what they leave.
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
    rest: float
    """The target's variance about the regression, less that of errors that the noise is added to."""
    smoothing: float
    """The share of it that its estimate is uncertain by."""

    @classmethod
    def of(cls, problem: StructuralProblem) -> Following:
        q = problem.n_noisy
        spread, errors = problem.moments
        u, slope = q * (q + 1) // 2, problem.gathered.reference.m
        about = float(spread[q, q])
        square = about + float(slope @ spread[:q, :q] @ slope)
        known = float(errors[-2]) if problem.noise == "additive" else 0.0
        return cls(
            problem,
            min(problem.total_weight / about, _INFORMATION / square),
            slope,
            errors[pairs(q)] + _JITTER * np.eye(q),
            np.zeros(q) if problem.cross_covariance is None else errors[u : u + q],
            MEAN_SCALE * np.sqrt(square),
            max(about - known, 0.1 * about),
            2.0 / np.sqrt(max(problem.total_weight, 4.0)),
        )

    def points(self, coordinates: Array) -> tuple[Array, Array]:
        """Return the points, and the log of the volume that each takes of the coordinates'."""
        q = self.problem.n_noisy
        mean, lower = self._given_spread(coordinates)
        m = mean + np.linalg.solve(lower.transpose(0, 2, 1), coordinates[:, :q, None])[:, :, 0]
        log_volume = -np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        points = np.concatenate([m, coordinates[:, q:]], axis=1)
        if self.problem.noise != "known":
            left = self._left(points)
            points[:, q] *= left
            log_volume += np.log(left)
        return points, log_volume

    def coordinates(self, points: Array) -> Array:
        """Return the coordinates of points."""
        q, found = self.problem.n_noisy, points.copy()
        if self.problem.noise != "known":
            found[:, q] /= self._left(points)
        mean, lower = self._given_spread(found)
        found[:, :q] = (lower.transpose(0, 2, 1) @ (points[:, :q] - mean)[:, :, None])[:, :, 0]
        return found

    def component(self, of_points: Component) -> Component:
        """Return what in these coordinates is about the same to draw from."""
        center = of_points.center
        step = _STEP * np.maximum(np.abs(center), _STEP)
        up, down = (self.coordinates(center + sign * np.diag(step)) for sign in (1.0, -1.0))
        jacobian = (up - down).T / (2.0 * step)
        return Component(self.coordinates(center[None])[0], jacobian @ of_points.root)

    def _left(self, points: Array) -> Array:
        """Return about the root of the share of the target's variance about the regression that is left to noise."""
        psi = self.problem.psi(points)
        pushed = (psi.T @ psi.m[:, :, None])[:, :, 0]
        through = np.linalg.solve(psi.T + self.error, pushed[:, :, None])[:, :, 0]
        unseen = np.einsum("gq,gq->g", psi.m - through, pushed)
        # A number that is about this where it is positive, and small where it is not.
        left = 1.0 - unseen / self.rest
        return np.sqrt(0.5 * (left + np.hypot(left, self.smoothing)))

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
