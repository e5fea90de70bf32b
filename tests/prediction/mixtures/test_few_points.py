"""Gauss rules of weighted samples whose nodes are normal distributions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn.prediction.mixtures.few_points import gauss_points_of_gaussians


@pytest.mark.parametrize("size", [5, 16, 24])
@pytest.mark.parametrize("weight", [1e-60, 1e-200])
def test_a_node_far_out_that_hardly_counts_leaves_a_rule_of_finite_points(size: int, weight: float) -> None:
    means = np.append(np.random.default_rng(0).normal(size=200), 1e70)[None]
    variances = np.append(np.full(200, 0.1), 1e60)[None]
    weights = np.append(np.full(200, 0.005), weight)
    masses, points = gauss_points_of_gaussians(means, variances, weights, size)
    assert np.isfinite(points).all()
    assert_allclose(masses.sum(axis=1), 1.0, rtol=1e-9)
    assert (masses >= 0.0).all()
