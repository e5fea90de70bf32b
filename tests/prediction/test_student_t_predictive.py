"""Predictive distributions with Student's t noise against SciPy's, sums over nodes and numerical integration."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats

from bayes_sklearn.inference.node_covariances import SharedBasis
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.likelihoods import StudentTLikelihood
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.prediction.line import LinearPredictive, LinearPredictor
from bayes_sklearn.prediction.mixtures import normal as mixtures
from bayes_sklearn.prediction.mixtures.continuous import ResponseMixture
from bayes_sklearn.prediction.mixtures.parts import Components
from bayes_sklearn.prediction.response import ResponsePredictive

Array = NDArray[np.float64]


def nodes(size: int, p: int = 3, seed: int = 0, spread: float = 0.2) -> Posterior:
    """Return a posterior whose nodes are points with weights and noise scales."""
    rng = np.random.default_rng(seed)
    location = [1.0, *np.linspace(-0.5, 0.5, p - 1)] + spread * rng.normal(size=(size, p))
    nowhere = SharedBasis(np.empty((p, 0)), np.empty((size, 0)))
    scale = 0.7 * np.exp(0.1 * rng.normal(size=size))
    return Posterior(rng.dirichlet(np.full(size, 5.0)), location, nowhere, scale, np.zeros(p - 1))


def students(
    nu: Array | float,
    posterior: Posterior,
    X: Array,
    noise: Any,
    seed: int,
    feature_error: Array | None = None,
) -> ResponsePredictive:
    """Return the distribution of measurements with Student's noise."""
    every = np.broadcast_to(np.asarray(nu, dtype=np.float64), posterior.weights.shape)
    posterior = replace(posterior, auxiliary={"nu": every})
    line = LinearPredictor(posterior, Rows(X, np.empty(0)), feature_error)
    return ResponsePredictive(StudentTLikelihood(), line, seed, noise=noise)


def mixture(weights: Array, nu: Array, locations: Array, scales: Array) -> ResponseMixture:
    """Return a mixture of t distributions."""
    every = np.broadcast_to(weights, locations.shape)
    parts = Components(every, locations, {"nu": nu}, scales)
    return ResponseMixture(StudentTLikelihood(), parts, lambda: parts, scales.min(axis=1), smooth=False)


@pytest.mark.parametrize("nu", [1.1, 2.5, 5.0, 40.0, 1e7])
def test_one_node_is_scipys_t(nu: float) -> None:
    posterior, X = nodes(1), np.array([[0.3, -1.0]])
    error = 0.5
    noises = {
        "scaled": ({"target_error": (0.0, error**2)}, posterior.noise_scale[0] * error),
        "additive": (
            {"target_error": (error**2, 0.0), "scatter": (0.0, 1.0)},
            np.hypot(posterior.noise_scale[0], error),
        ),
    }
    for noise, scale in noises.values():
        found = students(nu, posterior, X, noise, 0)
        expected = stats.t(nu, posterior.location[0] @ [1.0, 0.3, -1.0], scale)
        y = np.array([-30.0, -1.0, 0.0, 1.2, 4.0, 1e4])
        column = y[:, None]
        assert_allclose(found.logpdf(column)[:, 0], expected.logpdf(y), rtol=1e-6)
        assert_allclose(found.pdf(column)[:, 0], expected.pdf(y), rtol=1e-5)
        assert_allclose(found.cdf(column)[:, 0], expected.cdf(y), rtol=1e-6, atol=1e-300)
        q = np.array([1e-9, 0.01, 0.3, 0.5, 0.8, 0.99, 1.0 - 1e-9])
        assert_allclose(found.ppf(q[:, None])[:, 0], expected.ppf(q), rtol=1e-6)
        assert_allclose(found.mean()[0], expected.mean(), rtol=1e-12)
        assert_allclose(found.var()[0], expected.var(), rtol=1e-9)
        assert found.ppf(0.0)[0] == -np.inf
        assert found.ppf(1.0)[0] == np.inf


@pytest.mark.parametrize("nu", [1.3, 2.0, 3.7, 30.0])
def test_score_is_its_definition(nu: float) -> None:
    for value in (-2.0, 0.1, 3.0):
        with mpmath.workdps(30):
            # Jordan, Krüger & Lerch 2019, appendix A.2: all in closed form.
            z = mpmath.mpf(value)
            density = mpmath.gamma((nu + 1) / 2) / (mpmath.gamma(nu / 2) * mpmath.sqrt(nu * mpmath.pi))
            density *= (1 + z**2 / nu) ** (-(nu + 1) / 2)
            below = mpmath.mpf(stats.t.cdf(value, nu))
            spread = (
                2 * mpmath.sqrt(nu) / (nu - 1) * mpmath.beta(0.5, nu - 0.5) / mpmath.beta(0.5, nu / 2) ** 2
            )
            expected = z * (2 * below - 1) + 2 * density * (nu + z**2) / (nu - 1) - spread
        one = mixture(np.ones(1), np.array([nu]), np.zeros((1, 1)), np.ones((1, 1)))
        assert_allclose(one.crps(np.array([value]))[0], float(expected), rtol=1e-6)
    weights, nus = np.array([0.3, 0.7]), np.array([nu, 8.0])
    locations, scales = np.array([[0.0, 2.0]]), np.array([[1.0, 0.1]])
    two = mixture(weights, nus, locations, scales)

    def below_at(x: float) -> float:
        return float(stats.t.cdf(x, nus, locations[0], scales[0]) @ weights)

    if nu > 1.5:
        for value in (-1.0, 1.95):
            breaks = [-50.0, -5.0, value, 1.5, 2.0, 2.5, 5.0, 50.0]
            edges = sorted({-np.inf, *breaks, np.inf})
            expected_sum = sum(
                integrate.quad(
                    lambda x, v=value: (below_at(x) - (x >= v)) ** 2, a, b, epsabs=1e-11, limit=200
                )[0]
                for a, b in pairwise(edges)
            )
            assert_allclose(two.crps(np.array([value]))[0], expected_sum, rtol=1e-6)


def test_few_nodes_by_hand() -> None:
    posterior, nu, X = nodes(3), np.array([3.0, 6.0, 12.0]), np.array([[0.3, -1.0], [2.0, 0.0]])
    found = students(nu, posterior, X, {"scatter": (0.0, 1.0)}, 0)
    lines = np.column_stack([np.ones(2), X]) @ posterior.location.T
    weights, scale = posterior.weights, posterior.noise_scale
    y = np.array([0.2, 3.1])
    assert_allclose(found.pdf(y), stats.t.pdf(y[:, None], nu, lines, scale) @ weights, rtol=1e-10)
    assert_allclose(found.cdf(y), stats.t.cdf(y[:, None], nu, lines, scale) @ weights, rtol=1e-10)
    mean = lines @ weights
    between = (lines - mean[:, None]) ** 2 @ weights
    within = weights @ (scale**2 * nu / (nu - 2.0))
    assert_allclose(found.mean(), mean, rtol=1e-12)
    assert_allclose(found.var(), between + within, rtol=1e-10)
    parts = found.variance_parts
    assert_allclose(parts["parameters"], between, rtol=1e-10)
    assert_allclose(parts["scatter"], within, rtol=1e-10)
    assert_allclose(sum(parts.values()), found.var(), rtol=1e-12)
    assert_allclose(np.diag(found.covariance()), found.var(), rtol=1e-10)
    away = lines - mean[:, None]
    assert_allclose(found.covariance()[0, 1], away[0] * away[1] @ weights, rtol=1e-10)
    frame = found.to_frame(variance_parts=True)
    assert_allclose(found.cdf(frame["upper_95%"]), 0.975, rtol=1e-9)


def test_variance_is_infinite_where_two_degrees_of_freedom_are_possible_and_the_mean_is_the_line() -> None:
    posterior, X = nodes(3), np.array([[0.3, -1.0]])
    noise = {"target_error": (0.0, 0.2), "scatter": (0.0, 0.0)}
    wild = students(np.array([1.0, 5.0, 9.0]), posterior, X, noise, 0)
    assert wild.var()[0] == np.inf
    assert wild.std()[0] == np.inf
    assert wild.variance_parts["scatter"][0] == 0.0
    assert np.isfinite(wild.variance_parts["parameters"][0])
    assert_allclose(wild.mean(), LinearPredictive(LinearPredictor.of(posterior, X), {}, 0).mean())
    assert wild.crps(0.3)[0] == np.inf
    assert np.isfinite(wild.interval()).all()
    # A node without weight says nothing.
    silent = Posterior(
        np.array([0.0, 0.5, 0.5]),
        posterior.location,
        posterior.covariances,
        posterior.noise_scale,
        posterior.center,
    )
    calm = students(np.array([1.0, 5.0, 9.0]), silent, X, noise, 0)
    assert np.isfinite([calm.var()[0], calm.crps(0.3)[0]]).all()


def test_many_degrees_of_freedom_are_the_normal_predictive() -> None:
    posterior, X = nodes(60), np.random.default_rng(1).normal(size=(9, 2))
    noise = {"scatter": (0.1, 1.0)}
    found = students(1e8, posterior, X, noise, 0)
    normal = LinearPredictive(LinearPredictor.of(posterior, X), noise, 0)
    y = np.linspace(-2.0, 3.0, 9)
    for method in ("logpdf", "cdf", "crps"):
        assert_allclose(getattr(found, method)(y), getattr(normal, method)(y), rtol=1e-5, err_msg=method)
    assert_allclose(found.ppf(0.01), normal.ppf(0.01), rtol=1e-6)
    assert_allclose(found.var(), normal.var(), rtol=1e-6)


def test_few_nodes_stand_for_many() -> None:
    posterior, rng = nodes(4096), np.random.default_rng(5)
    nu, X = 2.0 + rng.gamma(2.0, 5.0, size=4096), rng.normal(size=(6, 2))
    found = students(nu, posterior, X, {"scatter": (0.0, 1.0)}, 0)
    lines = np.column_stack([np.ones(6), X]) @ posterior.location.T
    y = np.linspace(-3.0, 5.0, 6)
    pdf = stats.t.pdf(y[:, None], nu, lines, posterior.noise_scale) @ posterior.weights
    assert_allclose(found.pdf(y), pdf, rtol=1e-9)
    for q in (0.001, 0.025, 0.3, 0.5, 0.9, 0.975):
        at = found.ppf(q)
        reached = stats.t.cdf(at[:, None], nu, lines, posterior.noise_scale) @ posterior.weights
        # What 129 points for 4,096 nodes cost: a tenth of a tail of one in a thousand, 1% of wider ones.
        assert_allclose(reached, q, rtol=0.15 if q < 0.01 else 0.01)
        assert_allclose(found.cdf(at), q, rtol=1e-6)
    full = mixture(posterior.weights, nu, lines[:1], np.broadcast_to(posterior.noise_scale, (1, 4096)))
    assert_allclose(found.crps(y)[:1], full.crps(y[:1]), rtol=2e-3)
    assert_allclose(found.ppf(0.9)[2], students(nu, posterior, X[2:3], found._noise, 0).ppf(0.9)[0])


def test_draws_have_the_distribution() -> None:
    posterior, X = nodes(400), np.array([[0.3, -1.0], [2.0, 0.5]])
    nu = np.full(400, 6.0)
    found = students(nu, posterior, X, {"scatter": (0.0, 1.0)}, 4)
    draws = found.sample(40_000, random_state=1)
    for q in (0.01, 0.2, 0.5, 0.95):
        share = (draws <= found.ppf(q)[:, None]).mean(axis=1)
        assert_allclose(share, q, atol=4.5 * np.sqrt(q * (1 - q) / 40_000) + 1e-3)
    assert_allclose(draws.var(axis=1), found.var(), rtol=0.1)
    assert_allclose(found.sample(3), found.sample(3))
    assert_allclose(np.cov(draws)[0, 1], found.covariance()[0, 1], atol=0.03)


def test_errors_of_features_widen_the_line_within_a_node() -> None:
    posterior, X = nodes(2), np.array([[0.3, -1.0]])
    error = np.array([0.5, 0.3])
    found = students(4.0, posterior, X, {"scatter": (0.0, 1.0)}, 0, feature_error=error)
    lines = posterior.location @ [1.0, 0.3, -1.0]
    z = np.linspace(-9.0, 9.0, 4001)
    mass = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    for y in (-2.0, 0.4, 3.0):
        at = lines[:, None] + np.sqrt(error)[:, None] * z
        density = posterior.weights @ (stats.t.pdf(y, 4.0, at, posterior.noise_scale[:, None]) @ mass)
        below = posterior.weights @ (stats.t.cdf(y, 4.0, at, posterior.noise_scale[:, None]) @ mass)
        assert_allclose(found.pdf(y)[0], density, rtol=2e-3)
        assert_allclose(found.cdf(y)[0], below, rtol=2e-3)
    line = posterior.weights @ (lines - posterior.weights @ lines) ** 2
    noise = posterior.weights @ posterior.noise_scale**2 * 2.0
    assert_allclose(found.var()[0], line + noise + posterior.weights @ error, rtol=1e-10)
    assert_allclose(found.sample(40_000, random_state=0).var(), found.var()[0], rtol=0.15)


def summed(nu: Array, weights: Array, line: Array, variances: Array, scales: Array, y: Array) -> Array:
    """Return the distribution function and the density at y, (2, k), of Gaussians with t noise added.

    By the trapezoid rule over the log of the noise's precision, far finer and wider than the one under test.
    """
    u = np.linspace(-np.minimum(90.0, 16.0 + 100.0 / nu), np.minimum(4.0, 8.0 * np.sqrt(2.0 / nu)), 300)
    masses = np.exp(0.5 * nu * (u - np.exp(u) + 1.0))
    masses *= weights / masses.sum(axis=0)
    sds = np.sqrt(variances + scales**2 * np.exp(-u))
    found = [(stats.norm.cdf(x, line, sds), stats.norm.pdf(x, line, sds)) for x in y]
    return np.array([[np.sum(masses * part) for part in parts] for parts in found]).T


@pytest.mark.parametrize("size", [1, 5, 600])
@pytest.mark.parametrize("nu", [2.5, 30.0])
@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 1.0, 4.0, 100.0])
def test_lines_as_wide_as_any_are_integrated_out(size: int, nu: float, ratio: float) -> None:
    """Steps of a few t distributions were off by 0.25 where the line's errors are far wider than the noise."""
    rng = np.random.default_rng(1)
    posterior, X = nodes(size, spread=0.1), np.array([[0.3, -1.0]])
    every_nu = np.full(size, nu) if size < 100 else np.maximum(2.1, nu * np.exp(0.3 * rng.normal(size=size)))
    error = np.square(0.7 * ratio * np.exp(0.2 * rng.normal(size=size)))
    found = students(every_nu, posterior, X, {"scatter": (0.0, 1.0)}, 0, feature_error=error)
    q = np.array([0.001, 0.025, 0.2, 0.5, 0.7, 0.975])
    y = found.ppf(q[:, None])[:, 0]
    line = posterior.location @ [1.0, 0.3, -1.0]
    below, density = summed(every_nu, posterior.weights, line, error, posterior.noise_scale, y)
    assert_allclose(below, q, atol=6e-4)
    assert_allclose(found.cdf(y[:, None])[:, 0], q, rtol=1e-6)
    assert_allclose(found.logpdf(y[:, None])[:, 0], np.log(density), atol=1e-3)
    outlying = np.array([-15.0, 10.0]) * np.hypot(1.0, ratio)
    below, density = summed(every_nu, posterior.weights, line, error, posterior.noise_scale, outlying)
    assert_allclose(found.logpdf(outlying[:, None])[:, 0], np.log(density), atol=0.02)


@pytest.mark.parametrize("nu", [1.3, 3.0, 30.0])
@pytest.mark.parametrize("ratio", [0.5, 3.0, 50.0])
def test_score_is_its_definition_where_the_line_is_wide(nu: float, ratio: float) -> None:
    posterior, X = nodes(3), np.array([[0.3, -1.0]])
    error = np.square(ratio * np.array([0.5, 0.7, 0.8]))
    found = students(nu, posterior, X, {"scatter": (0.0, 1.0)}, 0, feature_error=error)
    every, line = np.full(3, nu), posterior.location @ [1.0, 0.3, -1.0]
    unit, value = 1.0 + ratio, 0.4
    start = float(np.arcsinh(value / unit))
    place, rule = np.polynomial.legendre.leggauss(150)
    score = 0.0
    for end in (-28.0, 28.0):
        u = start + 0.5 * (end - start) * (1.0 + place)
        below = summed(every, posterior.weights, line, error, posterior.noise_scale, unit * np.sinh(u))[0]
        square = np.square(below if end < start else 1.0 - below)
        score += 0.5 * abs(end - start) * float((rule * square) @ (unit * np.cosh(u)))
    assert_allclose(found.crps(value)[0], score, rtol=2e-3 if nu < 2.0 else 2e-4)
    wild = students(1.0, posterior, X, {"scatter": (0.0, 1.0)}, 0, feature_error=error)
    assert wild.crps(value)[0] == np.inf


def test_points_far_apart_beside_their_noise_are_smoothed() -> None:
    """Of 2,000 points whose noise is a hundredth of their spread, the steps of the few were off by 0.15."""
    posterior, X = nodes(2000), np.array([[0.3, -1.0]])
    noise = {"scatter": (0.0, 1e-4)}
    found = students(4.0, posterior, X, noise, 0)
    line = posterior.location @ [1.0, 0.3, -1.0]
    for q in (0.025, 0.3, 0.5, 0.9):
        below = stats.t.cdf(found.ppf(q), 4.0, line, 0.01 * posterior.noise_scale) @ posterior.weights
        # The points are a sample: their own steps are of 1 in 2,000.
        assert_allclose(below, q, atol=5e-3)


def test_normal_mixtures_take_weights_of_every_row() -> None:
    rng = np.random.default_rng(0)
    weights, means, sds = (
        rng.dirichlet(np.ones(5), size=4),
        rng.normal(size=(4, 5)),
        rng.uniform(0.3, 1, (4, 5)),
    )
    y, q = rng.normal(size=4), np.array([0.01, 0.4, 0.7, 0.999])
    for row in range(4):
        one = weights[row], means[[row]], sds[[row]]
        every = weights, means, sds
        for function, value in ((mixtures.cdf, y), (mixtures.log_density, y), (mixtures.quantile, q)):
            assert_allclose(function(value, *every)[row], function(value[[row]], *one)[0], rtol=1e-9)
