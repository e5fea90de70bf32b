"""Coordinates of a regression in which the spread of its coefficients follows the noise scale.

The less the noise, the nearer are the coefficients to least squares: where rows are few for the columns, that is a
funnel, whose peak says nothing of where its mass is.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .importance_sampling import Component, find_mode
from .regression_density import RegressionDensity, climb, root_of

Array = NDArray[np.float64]

# The coordinates are settled again where the auxiliary parameters move by more than this share of their standard
# deviation, but no more often than this.
_MOVED, _TURNS = 0.1, 6
# Guess at a standard deviation of an auxiliary coordinate: of a logarithm, and of another by the coordinate.
_GUESS = 0.3


@dataclass(frozen=True, eq=False)
class FollowingNoise:
    """log p(u, auxiliary coordinates, data) with gamma as a function of u and of the noise scale, (36)."""

    density: RegressionDensity
    center: Array
    """(k,) gamma at one noise scale."""
    basis: Array
    """(k, k) gamma by u there."""
    share: Array
    """(k,) the part of the precision that the rows give."""
    pull: Array
    """(k,) gradient of the rows' log density."""
    variance: float
    """The typical row's at that noise scale."""

    @classmethod
    def at(cls, density: RegressionDensity, point: Array, smoothing: Array) -> FollowingNoise:
        """Return the coordinates that fit at a point with the mode of gamma given the rest."""
        k = density.n_coefficients
        found = density.derivatives(point, smoothing)
        root = root_of(found, k)
        _, slope, bend = density.coefficient_prior_derivatives(
            density.coefficients(point[None])[0], smoothing
        )
        prior = density.basis.T @ (bend[:, None] * density.basis)
        # What is not the prior's is the rows'.
        left = np.eye(k) + root.T @ prior @ root
        share, turn = np.linalg.eigh(0.5 * (left + left.T))
        basis = root @ turn
        pull = basis.T @ (found.gradient[:k] - density.basis.T @ slope)
        variance = float(density.typical_variance(point[None])[0])
        return cls(density, point[:k], basis, np.clip(share, 0.0, 1.0), pull, variance)

    def points(self, points: Array) -> Array:
        """Return (gamma, auxiliary coordinates) of (u, auxiliary coordinates), (G, d)."""
        k = self.density.n_coefficients
        ratio, kappa = self._precision(points)
        u = self.pull * ratio[:, None] / kappa + points[:, :k] / np.sqrt(kappa)
        return np.column_stack([self.center + u @ self.basis.T, points[:, k:]])

    def __call__(self, points: Array) -> Array:
        _, kappa = self._precision(points)
        volume = float(np.linalg.slogdet(self.basis)[1])
        return self.density(self.points(points)) - 0.5 * np.log(kappa).sum(axis=1) + volume

    def _precision(self, points: Array) -> tuple[Array, Array]:
        """Return by how much more the rows say than at the one noise scale, (G,), and the precision of u, (G, k)."""
        with np.errstate(all="ignore"):
            ratio = np.clip(self.variance / self.density.typical_variance(points), 1e-12, 1e12) - 1.0
        return ratio, np.maximum(1.0 + self.share * ratio[:, None], 1e-12)


def settle(density: RegressionDensity, smoothing: Array) -> tuple[FollowingNoise, Component]:
    """Return coordinates, and the normal approximation in them.

    It is looked for from least squares, which wild rows lead astray, and from the mode of all parameters together,
    which may be the peak of a funnel; the one with the larger mass is taken.
    """
    starts = [density.start, climb(density, density.start, smoothing).center]
    found = [_settle_from(density, start, smoothing) for start in starts]

    def log_mass(settled: tuple[FollowingNoise, Component]) -> float:
        coordinates, component = settled
        return float(coordinates(component.center[None])[0] + np.linalg.slogdet(component.root)[1])

    return max(found, key=log_mass)


def _settle_from(
    density: RegressionDensity, point: Array, smoothing: Array
) -> tuple[FollowingNoise, Component]:
    """Find in turns gamma's mode given the auxiliary parameters, and their mode with gamma integrated out."""
    k = density.n_coefficients
    guess = np.where(density.folded[k:], _GUESS * np.abs(point[k:]), _GUESS)
    root = np.diag(guess)
    for _ in range(_TURNS):
        point = climb(density, point, smoothing, k).center
        coordinates = FollowingNoise.at(density, point, smoothing)

        def profile(auxiliary: Array, coordinates: FollowingNoise = coordinates) -> Array:
            return coordinates(np.column_stack([np.zeros((len(auxiliary), k)), auxiliary]))

        before = point[k:]
        center, root, _ = find_mode(profile, before, root)
        point = np.append(coordinates.points(np.append(np.zeros(k), center)[None])[0, :k], center)
        if np.linalg.norm(np.linalg.solve(root, center - before)) < _MOVED:
            break
    whole = np.eye(density.size)
    whole[k:, k:] = root
    return coordinates, Component(np.append(np.zeros(k), center), whole)
