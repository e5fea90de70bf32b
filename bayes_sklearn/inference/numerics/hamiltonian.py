"""Hamiltonian Monte Carlo of a few dimensions: many walkers in one array, with one adaptation for all of them.

Step sizes by dual averaging (Hoffman & Gelman 2014, J. Mach. Learn. Res. 15:1593-1623, section 3.2); coordinates are
whitened by the covariance of all walkers together, and trajectories have lengths drawn at random (Hoffman, Radul &
Sountsov 2021, AISTATS, PMLR 130:3907-3915).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Target", "Walk", "Walkers"]

Array = NDArray[np.float64]

# Mean length of a trajectory in units of the posterior's standard deviations, a quarter of a normal one's period; the
# steps it has at most.
_LENGTH, _MOST_STEPS = 1.8, 32

# Logs of the least and the largest step.
_LOG_STEPS = -15.0, 1.0

# The energy that a trajectory gains where it goes astray.
_LOST = 1000.0

# Further away than this, in any coordinate, nothing is looked for.
_FAR = 200.0


class Target(Protocol):
    """A density to be sampled."""

    def log_density_and_slope(self, points: Array) -> tuple[Array, Array]:
        """Return the log density at points, (W,), and its gradient, (W, d)."""

    def slope(self, points: Array) -> Array:
        """Return the gradient alone."""


class Walk(NamedTuple):
    """Draws of walkers."""

    points: Array
    """(W, draws, d)"""
    statistics: dict[str, Array]
    """(W, draws) by ArviZ's names."""


class Walkers:
    """Walkers over a density, and what they have learned of it.

    Parameters
    ----------
    target : Target
        In coordinates of about unit scale.
    starts : ndarray of shape (W, d)
    rng : numpy.random.Generator
    """

    def __init__(self, target: Target, starts: Array, rng: np.random.Generator):
        self.target = target
        self.points = starts
        self.rng = rng
        self.root = np.eye(starts.shape[1])
        self.step = 0.3
        self.log_density, self.slope = target.log_density_and_slope(starts)

    def tune(self, n_moves: int, accepted: float) -> None:
        """Learn coordinates, and the step size whose trajectories are accepted with this mean probability."""
        ends = [n_moves // 5, n_moves // 2, 4 * n_moves // 5, n_moves]
        for begin, end in zip([0, *ends], ends, strict=False):
            seen = self._step_tuned(end - begin, accepted)
            if end < n_moves:
                self._whiten(seen[len(seen) // 3 :].reshape(-1, seen.shape[2]))

    def draw(self, n_draws: int) -> Walk:
        """Return where trajectories end."""
        points, statistics = np.empty((n_draws, *self.points.shape)), []
        for i in range(n_draws):
            statistics.append(self._move())
            points[i] = self.points
        found = {name: np.array([one[name] for one in statistics]).T for name in statistics[0]}
        return Walk(points.transpose(1, 0, 2), found)

    def _step_tuned(self, n_moves: int, wanted: float) -> Array:
        """Settle the step size by dual averaging; return where the moves went, (n_moves, W, d)."""
        seen = np.empty((n_moves, *self.points.shape))
        middle, error, average = np.log(2.0 * self.step), 0.0, np.log(self.step)
        for i in range(1, n_moves + 1):
            error += (wanted - self._move()["acceptance_rate"].mean() - error) / (i + 10.0)
            log_step = middle - np.sqrt(i) / 0.05 * error
            average += i**-0.75 * (log_step - average)
            self.step = float(np.exp(np.clip(log_step, *_LOG_STEPS)))
            seen[i - 1] = self.points
        self.step = float(np.exp(np.clip(average, *_LOG_STEPS)))
        return seen

    def _whiten(self, points: Array) -> None:
        """Take coordinates from the covariance of points, (n, d), where they are few more from the variances."""
        n, d = points.shape
        covariance = np.atleast_2d(np.cov(points.T))
        share = n / (n + 5.0 * d)
        variances = np.diag(covariance) + 1e-12
        self.root = np.linalg.cholesky(share * covariance + (1.0 - share) * np.diag(variances))

    def _move(self) -> dict[str, Array]:
        """Move every walker along a trajectory, or leave it where it is; return what there is to say of each."""
        length = _LENGTH * self.rng.uniform(0.5, 1.5)
        n_steps = int(np.clip(np.ceil(length / self.step), 1, _MOST_STEPS))
        momentum = self.rng.standard_normal(self.points.shape)
        energy = 0.5 * np.square(momentum).sum(axis=1) - self.log_density
        points, slope, lost = self.points, self.slope, np.zeros(len(self.points), dtype=bool)
        log_density = self.log_density
        momentum = momentum + 0.5 * self.step * slope @ self.root
        for i in range(n_steps):
            points = points + self.step * momentum @ self.root.T
            away = ~(np.abs(points) < _FAR).all(axis=1)
            if away.any():
                lost |= away
                points[away] = self.points[away]
            if i < n_steps - 1:
                momentum = momentum + self.step * self.target.slope(points) @ self.root
            else:
                log_density, slope = self.target.log_density_and_slope(points)
                momentum = momentum + 0.5 * self.step * slope @ self.root
        with np.errstate(over="ignore", invalid="ignore"):
            ended = 0.5 * np.square(momentum).sum(axis=1) - log_density
        change = np.where(lost | ~np.isfinite(ended), np.inf, ended - energy)
        probability = np.exp(-np.maximum(change, 0.0))
        accepted = self.rng.random(len(change)) < probability
        self.points = np.where(accepted[:, None], points, self.points)
        self.slope = np.where(accepted[:, None], slope, self.slope)
        self.log_density = np.where(accepted, log_density, self.log_density)
        return {
            "diverging": change > _LOST,
            "energy": np.where(accepted, ended, energy),
            "lp": self.log_density,
            "acceptance_rate": probability,
            "n_steps": np.full(len(change), n_steps),
            "step_size": np.full(len(change), self.step),
        }
