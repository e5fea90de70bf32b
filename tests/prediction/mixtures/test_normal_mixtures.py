"""Mixtures of normal distributions: quantiles, densities and scores, in the tails and of points too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from bayes_sklearn.prediction.mixtures import crps as scores
from bayes_sklearn.prediction.mixtures import normal as mixtures


def test_mixture_quantiles_hold_in_the_tails_for_points_and_for_distant_components() -> None:
    weights = np.array([0.25, 0.75])
    for means, sds in (([0.0, 0.1], [1.0, 1.2]), ([0.0, 1.0], [1e-10, 1e-10]), ([-3.0, 500.0], [1.0, 0.1])):
        for q in (1e-300, 1e-12, 0.1, 0.26, 0.5, 0.9, 1.0 - 1e-12):
            row = np.array([means]), np.array([sds])
            x = mixtures.quantile(np.array([q]), weights, *row)
            tail = norm.cdf(x[0], means, sds) @ weights if q <= 0.5 else norm.sf(x[0], means, sds) @ weights
            assert_allclose(tail, min(q, 1.0 - q), rtol=1e-4)
    point = np.array([[2.0, 2.0]]), np.zeros((1, 2))
    assert mixtures.quantile(np.array([0.3]), weights, *point)[0] == 2.0
    assert mixtures.crps(np.array([5.0]), weights, *point)[0] == pytest.approx(3.0)
    assert mixtures.cdf(np.array([1.999]), weights, *point)[0] == 0.0
    edges = mixtures.quantile(np.array([0.0, 1.0]), weights, np.zeros((2, 2)), np.ones((2, 2)))
    assert edges.tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize("n_points", [40, 400, 4000])
@pytest.mark.parametrize("probability", [0.025, 0.1, 0.5, 0.975])
def test_quantiles_of_points_whose_steps_end_at_the_probability_lie_in_that_gap(
    n_points: int, probability: float
) -> None:
    # 4,000 draws of a sampler, and limits of 95%: 100 of them lie below, exactly.
    points = np.random.default_rng(n_points).normal(size=(20, n_points))
    weights = np.full(n_points, 1.0 / n_points)
    found = mixtures.quantile(np.full(20, probability), weights, points, np.zeros((20, n_points)))
    place = round(n_points * probability)
    ordered = np.sort(points, axis=1)
    assert (found >= ordered[:, place - 1]).all()
    assert (found <= ordered[:, place]).all()


def test_one_width_for_all_components_of_a_row_is_that_width_in_each() -> None:
    rng = np.random.default_rng(0)
    weights, means, sd = (
        np.full(5000, 1.0 / 5000),
        rng.normal(size=(3, 5000)),
        np.array([[0.0], [0.5], [2.0]]),
    )
    for q in (0.025, 0.5, 0.975):
        one = mixtures.NormalMixture(weights, means, sd).quantile(np.full(3, q))
        each = mixtures.NormalMixture(weights, means, np.tile(sd, 5000)).quantile(np.full(3, q))
        assert_allclose(one, each, rtol=1e-10)
        assert_allclose(norm.cdf(one[1:, None], means[1:], sd[1:]) @ weights, q, rtol=1e-6)


def test_weights_near_the_smallest_number_leave_the_log_density_finite() -> None:
    weights, means = np.array([1e-310, 1.0]), np.array([[0.0, 1e3]])
    found = mixtures.log_density(np.zeros(1), weights, means, np.ones((1, 2)))
    assert_allclose(found, np.log(1e-310) - 0.5 * np.log(2.0 * np.pi), rtol=1e-6)


@pytest.mark.parametrize("spread", [1.0, 2.0, 3.0, 5.0])
def test_components_of_very_different_width_have_the_score_of_their_pairs(
    spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    means, sds = rng.normal(size=(2, 300)), np.exp(spread * rng.normal(size=(2, 300)))
    weights = rng.dirichlet(np.ones(300))
    sizes, ndtr = [], scores.ndtr
    monkeypatch.setattr(scores, "ndtr", lambda z: sizes.append(np.size(z)) or ndtr(z))
    found = scores._half_distance_of_many(weights, means, sds)
    assert_allclose(found, scores._half_distance(weights, means, sds), rtol=2e-6)
    # Each component at 400 points at most of each of few grids.
    assert sum(sizes) < 2 * 300 * 2000


@pytest.mark.parametrize("sd", [2.0, 0.1, 1e-3, 1e-5, 1e-9, 0.0])
def test_score_of_many_components_is_that_of_their_pairs(sd: float) -> None:
    rng = np.random.default_rng(8)
    size = 300
    weights, y = rng.dirichlet(np.ones(size)), rng.normal(size=4)
    means, sds = rng.normal(size=(4, size)) ** 3, sd * rng.uniform(0.2, 1.3, (4, size))
    few = np.abs(y[:, None] - means) @ weights if sd == 0.0 else None
    apart = np.abs(means[:, :, None] - means[:, None, :]) if sd == 0.0 else None
    score = mixtures.crps(y, weights, means, sds)
    if few is not None:
        expected = few - 0.5 * np.einsum("g,ngh,h->n", weights, apart, weights)
    else:
        parts = scores.mean_distance(y[:, None] - means, sds) @ weights
        expected = parts - scores._half_distance(weights, means, sds)
    assert_allclose(score, expected, rtol=1e-7 if sd > 0.0 else 1e-13)


def test_narrow_components_of_next_to_no_weight_cost_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    weights, means, sds = (
        rng.dirichlet(np.ones(300)),
        rng.normal(size=(1, 300)),
        rng.uniform(0.5, 1.0, (1, 300)),
    )
    weights[0], sds[0, 0] = 1e-10, 1e-5
    weights /= weights.sum()
    sizes, on_grid = [], scores._cdf_on_grid

    def watched(*given: Any) -> Any:
        found = on_grid(*given)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(scores, "_cdf_on_grid", watched)
    found = scores._half_distance_of_many(weights, means, sds)
    assert_allclose(found, scores._half_distance(weights, means, sds), rtol=1e-7)
    assert sizes[0] < 200


@pytest.mark.parametrize("n_sds", [1, 3])
def test_several_values_at_once_are_those_one_by_one(n_sds: int) -> None:
    rng = np.random.default_rng(5)
    mixture = mixtures.NormalMixture(
        rng.dirichlet(np.ones(200)), rng.normal(size=(3, 200)), rng.uniform(0.5, 1.0, (n_sds, 1))
    )
    levels = np.array([0.1, 0.7])
    found = mixture.repeated(2).quantile(np.repeat(levels, 3)).reshape(2, 3)
    assert_allclose(found, [mixture.quantile(np.full(3, level)) for level in levels], rtol=1e-12)
