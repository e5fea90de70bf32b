"""Importance sampling: weights that are smoothed, and the search for a mode."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn.inference.numerics.importance_sampling import (
    Component,
    Sample,
    find_mode,
    pareto_smoothed,
    sample,
)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_the_shape_of_a_pareto_tail_is_found(shape: float) -> None:
    """Quantiles in the place of draws: nothing is random."""
    log_weights = -shape * np.log((np.arange(4096) + 0.5) / 4096.0)
    smoothed, k_hat = pareto_smoothed(log_weights)
    assert_allclose(k_hat, shape, atol=0.06)
    assert smoothed.max() <= log_weights.max()
    assert_allclose(np.exp(smoothed).sum(), np.exp(log_weights).sum(), rtol=0.15)
    assert np.array_equal(np.argsort(smoothed, kind="stable"), np.argsort(log_weights, kind="stable"))


def test_even_weights_stay_as_they_are() -> None:
    log_weights = np.zeros(100)
    smoothed, _ = pareto_smoothed(log_weights)
    assert np.array_equal(smoothed, log_weights)


@pytest.mark.parametrize(
    ("k_hat", "effective_size", "doubts"), [(0.7, 400.0, 0), (0.71, 399.0, 2), (np.nan, np.nan, 2)]
)
def test_what_is_no_number_passes_no_gate(k_hat: float, effective_size: float, doubts: int) -> None:
    assert len(Sample(np.zeros((1, 1)), np.ones(1), 0.0, k_hat, effective_size).doubts) == doubts


def test_a_search_ends_at_a_mode_that_is_known() -> None:
    mode = np.array([30.0, -5.0])

    def log_density(points: np.ndarray) -> np.ndarray:
        return -2.5 * np.log1p(np.square(points - mode).sum(axis=1))

    def near(point: np.ndarray) -> bool:
        return bool(np.linalg.norm(point - mode) < 3.0)

    whole, _, n_whole = find_mode(log_density, np.zeros(2), np.eye(2))
    early, _, n_early = find_mode(log_density, np.zeros(2), np.eye(2), near)
    assert_allclose(whole, mode, atol=0.1)
    assert near(early)
    assert n_early < n_whole
    assert find_mode(log_density, np.zeros(2), np.eye(2), lambda point: False)[2] == n_whole


def test_a_tail_on_one_side_passes_the_gates_from_every_seed() -> None:
    # The log of a gamma variable of shape 0.5, as the intercept of shares without a success, and a slope.
    start = Component(np.array([np.log(0.5), 0.0]), np.diag([np.sqrt(2.0), 1.0]))

    def log_density(points: np.ndarray) -> np.ndarray:
        return 0.5 * points[:, 0] - np.exp(points[:, 0]) - 0.5 * np.square(points[:, 1])

    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = sample(log_density, [start], 4096, rng, degrees_of_freedom=7.0)
        assert not found.doubts
        assert found.log_total == pytest.approx(np.log(np.pi) + 0.5 * np.log(2.0), abs=0.01)
