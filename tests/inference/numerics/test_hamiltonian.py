"""Hamiltonian Monte Carlo by itself, of densities that are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bayes_sklearn.inference.numerics import hamiltonian
from bayes_sklearn.inference.numerics.hamiltonian import Walkers

from reference_model import monte_carlo_error

Array = NDArray[np.float64]


class Gaussian:
    """Strongly correlated, of deviations from 0.01 to 10."""

    def __init__(self) -> None:
        spread = np.geomspace(0.01, 10.0, 4)
        correlation = 0.9 * np.ones((4, 4)) + 0.1 * np.eye(4)
        self.mean = np.array([0.02, -1.0, 5.0, 2.0])
        self.covariance = correlation * spread * spread[:, None]
        self.precision = np.linalg.inv(self.covariance)

    def log_density_and_slope(self, points: Array) -> tuple[Array, Array]:
        slope = self.slope(points)
        return 0.5 * ((points - self.mean) * slope).sum(axis=1), slope

    def slope(self, points: Array) -> Array:
        return (self.mean - points) @ self.precision


class Heavy:
    """Independent logs of half-Cauchy variables beside a funnel's neck: a scale and what is in its unit."""

    def log_density_and_slope(self, points: Array) -> tuple[Array, Array]:
        x, y = points.T
        away = x - 0.5 * y
        return -np.logaddexp(y, -y) - np.logaddexp(away, -away), self.slope(points)

    def slope(self, points: Array) -> Array:
        x, y = points.T
        of_x = -np.tanh(x - 0.5 * y)
        return np.column_stack([of_x, -np.tanh(y) - 0.5 * of_x])


def walked(
    target: hamiltonian.Target, d: int, seed: int, draws: int = 1000
) -> tuple[Array, dict[str, Array]]:
    rng = np.random.default_rng(seed)
    walkers = Walkers(target, rng.uniform(-1.0, 1.0, (16, d)), rng)
    walkers.tune(200, 0.8)
    found = walkers.draw(draws)
    return found.points, found.statistics


def test_means_and_covariances_of_a_gaussian() -> None:
    """z < 5 of 14 figures."""
    target = Gaussian()
    points, statistics = walked(target, 4, 1)
    away = points - target.mean
    for i in range(4):
        assert abs(away[..., i].mean()) < 5.0 * monte_carlo_error(away[..., i])
        for j in range(i + 1):
            product = away[..., i] * away[..., j]
            assert abs(product.mean() - target.covariance[i, j]) < 5.0 * monte_carlo_error(product)
    assert not statistics["diverging"].any()
    assert 0.7 < statistics["acceptance_rate"].mean() < 0.95
    energy = statistics["energy"]
    assert (np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1)).min() > 0.5


def test_quantiles_of_heavy_tails() -> None:
    """The log of a half-Cauchy variable has the distribution of log tan."""
    points, _ = walked(Heavy(), 2, 2, draws=2000)
    y, x = points[..., 1], points[..., 0] - 0.5 * points[..., 1]
    for values in (x, y):
        for level in (0.01, 0.1, 0.5, 0.9, 0.99):
            below = (values < np.log(stats.halfcauchy.ppf(level))).astype(float)
            assert abs(below.mean() - level) < 5.0 * monte_carlo_error(below)


def test_the_gradient_steers_and_settles_nothing() -> None:
    """A wrong one costs acceptance and leaves the distribution as it is."""

    class Steered(Heavy):
        def slope(self, points: Array) -> Array:
            return 0.7 * super().slope(points) + 0.1

    points, _ = walked(Steered(), 2, 3, draws=2000)
    below = (points[..., 1] < np.log(stats.halfcauchy.ppf(0.9))).astype(float)
    assert abs(below.mean() - 0.9) < 5.0 * monte_carlo_error(below)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_walkers_that_leave_are_brought_back_and_told_of() -> None:
    class Slope:
        """Without a bound to one side."""

        def log_density_and_slope(self, points: Array) -> tuple[Array, Array]:
            return 50.0 * points[:, 0], self.slope(points)

        def slope(self, points: Array) -> Array:
            return np.full(points.shape, 50.0)

    points, statistics = walked(Slope(), 1, 4, draws=100)
    assert np.isfinite(points).all()
    assert statistics["diverging"].mean() > 0.05
