"""The scale of normal and Student's residuals, and how surely it is told from 1."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import audit_errors
from bayes_sklearn.validation.tails import Tails, squared_scale

ALL = np.zeros(200, dtype=np.intp)
ONES = np.ones(200)


def test_the_scale_is_the_most_likely_one() -> None:
    r = 1.5 * np.random.default_rng(0).standard_t(4.0, 200)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 200)
    group = np.arange(200) % 2
    found = squared_scale(r, weight, group, 4.0)
    for i in range(2):
        rows = group == i
        best = optimize.minimize_scalar(
            lambda scale, rows=rows: -weight[rows] @ stats.t.logpdf(r[rows], 4.0, scale=scale),
            bounds=(0.5, 3.0),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert_allclose(np.sqrt(found[i]), best.x, rtol=1e-6)
    assert_allclose(squared_scale(r, weight, group, np.inf)[0], np.average(r[::2] ** 2, weights=weight[::2]))


def test_scores_are_one_on_average_with_the_variance_claimed() -> None:
    for nu in (3.0, 10.0):
        tails = Tails(nu)
        r = stats.t(nu).ppf((np.arange(100_000) + 0.5) / 100_000)
        assert_allclose(tails.scores(r * r).mean(), 1.0, rtol=1e-3)
        assert_allclose(tails.scores(r * r).var(), 2.0 * tails.response, rtol=1e-3)
    assert Tails().response == 1.0


def test_tails_are_the_most_likely_ones() -> None:
    r = 2.0 * np.random.default_rng(0).standard_t(4.0, 200)
    found = Tails.found(r, ONES, 2.0)
    nu, _, scale = stats.t.fit(r, floc=0.0)
    assert_allclose(found.nu, nu, rtol=1e-3)
    assert_allclose(squared_scale(r, ONES, ALL, found.nu), scale**2, rtol=1e-3)
    assert found.lowest == 2.0
    assert Tails.found(r, ONES, 20.0).nu == pytest.approx(20.0)
    assert Tails.found(stats.norm.ppf((np.arange(200) + 0.5) / 200), ONES, 2.0).nu > 100


def test_degrees_of_normal_residuals_are_their_number() -> None:
    r = np.random.default_rng(0).normal(size=200)
    for scale in (0.5, 1.0, 2.0):
        square = float(np.mean((scale * r) ** 2))
        assert_allclose(Tails(1e9).degrees(scale * r, ONES, square), 200.0, rtol=1e-5)


@pytest.mark.parametrize("nu", [3.0, 30.0])
def test_scale_one_is_refused_at_the_stated_rate_whatever_the_tails(nu: float) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        r = rng.standard_t(nu, 200)
        tails = Tails.found(r, ONES, 2.0)
        scale = float(squared_scale(r, ONES, ALL, tails.nu)[0])
        degrees = tails.degrees(r, ONES, scale)
        beyond = stats.chi2.cdf(degrees * scale, degrees)
        refused += min(beyond, 1.0 - beyond) < 0.025
    # By chance in one of 10,000 runs with other seeds.
    assert refused <= stats.binom.isf(1e-4, 200, 0.05)


def test_frequencies_whose_squares_vanish_are_refused() -> None:
    X = np.arange(12.0)[:, None]
    y = X[:, 0] + np.random.default_rng(0).normal(size=12)
    model = Regressor(weight_type="frequency").fit(X, y, sample_weight=np.ones(12))
    with pytest.raises(ValueError, match="sample_weight has frequencies whose squares vanish"):
        audit_errors(model, X, y, sample_weight=np.full(12, 1e-200))
