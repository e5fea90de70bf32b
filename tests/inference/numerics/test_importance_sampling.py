"""Importance sampling: weights that are smoothed, and the search for a mode."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn.inference.numerics.importance_sampling import (
    Component,
    Sample,
    find_mode,
    find_modes,
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


def test_searches_side_by_side_end_where_each_does_alone() -> None:
    mode = np.array([30.0, -5.0])

    def log_density(points: np.ndarray) -> np.ndarray:
        return -2.5 * np.log1p(np.square(points - mode).sum(axis=1))

    guesses = [Component(np.array(place), np.eye(2)) for place in ([0.0, 0.0], [29.0, -5.0], [300.0, 40.0])]
    found = find_modes(log_density, guesses)
    for guess, one in zip(guesses, found, strict=True):
        alone = find_mode(log_density, guess.center, guess.root)
        assert np.array_equal(one.center, alone.center)
        assert np.array_equal(one.root, alone.root)
        assert_allclose(one.center, mode, atol=0.1)
        # At the mode the curvature is 5.
        assert_allclose(one.root @ one.root.T, 0.2 * np.eye(2), atol=0.02)


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
