"""The test of uniform ranks and its band, held against counting and against simulation."""

from __future__ import annotations

from itertools import product
from math import factorial

import numpy as np
import pytest
from scipy import stats

from bayes_sklearn.validation.ranks import _Places, uniform_band, uniformity_p_value


@pytest.mark.parametrize("n", [2, 3, 5])
def test_probabilities_are_those_of_all_ways_to_fall(n: int) -> None:
    at = _Places(n)
    for least in np.unique(at.tail):
        total = 0.0
        for counts in product(range(n + 1), repeat=at.parts):
            if sum(counts) == n:
                inside = at.tail[np.arange(at.parts - 1), np.cumsum(counts)[:-1]] >= least * (1.0 - 1e-12)
                ways = factorial(n) / np.prod([factorial(count) for count in counts])
                total += inside.all() * ways / at.parts**n
        assert at.probability_inside(least) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("n", [20, 150])
def test_p_values_of_uniform_numbers_are_uniform(n: int) -> None:
    """Discrete ones: no level is exceeded by more than 5 standard errors, nor missed by much."""
    rng = np.random.default_rng(n)
    p = np.array([uniformity_p_value(values) for values in rng.random((400, n))])
    for level in (0.05, 0.2, 0.5):
        error = np.sqrt(level * (1.0 - level) / len(p))
        assert level - 5.0 * error - 0.05 < (p <= level).mean() < level + 5.0 * error


@pytest.mark.parametrize("n", [1, 30, 400])
def test_curves_leave_the_band_where_the_p_value_is_small(n: int) -> None:
    rng, band = np.random.default_rng(n), uniform_band(n, 0.9)
    for values in rng.beta(1.2, 1.0, size=(100, n)):
        share = np.searchsorted(np.sort(values), band.places, side="right") / n
        inside = ((share >= band.lower) & (share <= band.upper)).all()
        assert inside == (uniformity_p_value(values) > 0.1) or n == 1
    assert (band.lower <= band.places).all()
    assert (band.places <= band.upper).all()


def test_it_sees_ends_better_than_kolmogorov_and_smirnov() -> None:
    """Ranks in posteriors with 0.8 of their width."""
    ranks = stats.norm.cdf(stats.norm.ppf(np.random.default_rng(0).random((50, 500))) / 0.8)
    ours = [uniformity_p_value(values) < 0.01 for values in ranks]
    theirs = [stats.kstest(values, "uniform").pvalue < 0.01 for values in ranks]
    assert np.mean(ours) > 0.9
    assert np.mean(ours) > np.mean(theirs) + 0.1
