"""Densities on grids against the distributions that they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from bayes_sklearn.prediction.inverse.distribution import posterior_of_feature

PRIOR = stats.norm(0.0, 2.0)


class Readings:
    """One reading of a sample, normal about a function of the feature."""

    alike = True

    def __init__(self, y: np.ndarray, function: Any, sd: float):
        self.y, self.function, self.sd = y, function, sd

    def log_density(self, x: np.ndarray, sample: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(self.y[sample], self.function(x), self.sd)

    def standardised(self, x: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.log_density(x, sample), self.function(x) / self.sd


LINES = {
    "a line": (lambda x: 1.0 + 3.0 * x, 0.5),
    "a precise line": (lambda x: 1.0 + 3.0 * x, 1e-7),
    "a falling line that says little": (lambda x: -0.2 * x, 1.0),
    "a parabola": (lambda x: x**2, 0.1),
    "a wave": (lambda x: np.sin(3.0 * x), 0.05),
    "a curve that levels off": (lambda x: np.tanh(x), 0.1),
}

TARGETS = np.array([-0.3, 0.5, 0.9])


@pytest.mark.parametrize("name", LINES)
def test_tables_are_the_posteriors(name: str) -> None:
    function, sd = LINES[name]
    found = posterior_of_feature(Readings(TARGETS, function, sd), PRIOR, 3)
    x = np.linspace(-10.6, 10.6, 2_000_001)
    for i, y in enumerate(TARGETS):
        if name == "a precise line":
            x = (y - 1.0) / 3.0 + np.linspace(-1e-6, 1e-6, 20_001)
        logs = stats.norm.logpdf(y, function(x), sd) + PRIOR.logpdf(x)
        density = np.exp(logs - logs.max())
        density /= integrate.trapezoid(density, x)
        below = integrate.cumulative_trapezoid(density, x, initial=0.0)
        mean = integrate.trapezoid(density * x, x)
        deviation = np.sqrt(integrate.trapezoid(density * np.square(x - mean), x))
        assert_allclose(found.expected(lambda x: x)[i], mean, atol=1e-5 * deviation)
        square = found.expected(lambda x, mean=mean: np.square(x - mean))[i]
        assert_allclose(np.sqrt(square), deviation, rtol=1e-5)
        own = found.take(slice(i, i + 1))
        for probability in (1e-3, 0.2, 0.5, 0.8, 0.999):
            place = np.interp(probability, below, x)
            assert_allclose(own.cdf(np.array([place])), probability, atol=1e-4)
            assert_allclose(own.cdf(own.quantile(np.array([probability]))), probability, atol=1e-9)
            expected = np.interp(place, x, density)
            assert_allclose(np.exp(own.log_density(np.array([place]))), expected, rtol=1e-3)
            side = np.where(x < place, below, 1.0 - below)
            score = integrate.trapezoid(np.square(side), x)
            assert_allclose(own.crps(np.array([place])), score, rtol=1e-2)


def test_what_is_beyond_the_table_is_impossible() -> None:
    found = posterior_of_feature(Readings(np.array([0.5]), lambda x: x, 0.1), stats.uniform(0.0, 1.0), 1)
    assert found.cdf(np.array([-0.1])) == 0.0
    assert found.cdf(np.array([1.1])) == 1.0
    assert found.log_density(np.array([1.1])) == -np.inf
    assert_allclose(found.crps(np.array([3.0])) - found.crps(np.array([2.0])), 1.0, rtol=1e-9)


def test_divergence_is_that_of_normal_distributions() -> None:
    found = posterior_of_feature(Readings(np.array([0.5]), lambda x: x, 2.0), PRIOR, 1)
    # Precisions add: the posterior has mean 1/4 and variance 2.
    expected = 0.5 * (0.5 + 0.25**2 / 4.0 - 1.0 + np.log(2.0))
    assert_allclose(found.divergence(PRIOR.logpdf), expected, rtol=1e-5)
