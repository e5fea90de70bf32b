"""Predictive distributions of shares against SciPy's distributions, sums over nodes and numerical integration."""

from __future__ import annotations

import warnings
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from bayes_sklearn.inference.node_covariances import SharedBasis
from bayes_sklearn.inference.numerics.quadrature import gauss_rule
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.likelihoods import BetaBinomialLikelihood, BinomialLikelihood
from bayes_sklearn.likelihoods.special_functions import log_rising
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.metrics import crps, log_predictive_density, pit, pit_error
from bayes_sklearn.prediction.line import LinearPredictor
from bayes_sklearn.prediction.mixtures.continuous import ResponseMixture
from bayes_sklearn.prediction.mixtures.few_points import gaussians, moments, strata
from bayes_sklearn.prediction.mixtures.lattice import LatticeMixture
from bayes_sklearn.prediction.mixtures.parts import Components
from bayes_sklearn.prediction.response import ResponsePredictive

Array = NDArray[np.float64]


def points(location: Array, weights: Array | None = None, **auxiliary: Array) -> Posterior:
    """Return a posterior whose nodes are points, about x = 0."""
    location = np.asarray(location, dtype=np.float64)
    size, p = location.shape
    weights = np.full(size, 1.0 / size) if weights is None else np.asarray(weights)
    nowhere = SharedBasis(np.empty((p, 0)), np.empty((size, 0)))
    return Posterior(weights, location, nowhere, np.ones(size), np.zeros(p - 1), auxiliary=auxiliary)


def intercepts(eta: Array, weights: Array | None = None) -> tuple[Posterior, Array]:
    """Return a posterior of the log odds at a row without features that matter, and the row."""
    eta = np.asarray(eta, dtype=np.float64)
    return points(np.column_stack([eta, np.zeros_like(eta)]), weights), np.zeros((1, 1))


def shares_of(
    posterior: Posterior,
    X: Array,
    seed: int,
    *,
    dispersion: Array | None = None,
    counts: Array | float | None = None,
    feature_error: Array | None = None,
) -> ResponsePredictive:
    """Return the distribution of shares whose log odds have this posterior."""
    likelihood = BinomialLikelihood() if dispersion is None else BetaBinomialLikelihood()
    if dispersion is not None:
        posterior = replace(posterior, auxiliary={"dispersion": dispersion})
    line = LinearPredictor(posterior, Rows(X, np.empty(0)), feature_error)
    return ResponsePredictive(likelihood, line, seed, trials=counts)


def at(distribution: ResponsePredictive, method: str, values: Array) -> Array:
    """Evaluate a method at many values of a distribution with one row."""
    return np.asarray(getattr(distribution, method)(np.asarray(values)[:, None]))[:, 0]


def lattice_crps(below: Array, n: int, value: float) -> float:
    """Return the integral of (F - 1{x >= value})^2 over the steps of F at k / n, from its definition."""
    start, end = np.arange(n) / n, np.arange(1, n + 1) / n
    left = np.clip(value, start, end) - start
    right = end - np.clip(value, start, end)
    return float(left @ below[:n] ** 2 + right @ (1.0 - below[:n]) ** 2)


def many(size: int = 4096, seed: int = 0) -> tuple[Posterior, Array, Array, Array]:
    """Return a posterior with weights, correlated dispersions, and rows."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(size, 3))
    posterior = points([-1.5, 0.6, -0.3] + 0.07 * z, rng.dirichlet(np.full(size, 5.0)))
    dispersion = expit(-3.0 + 0.4 * (0.5 * z[:, 0] + 0.8 * rng.normal(size=size)))
    X = rng.normal(size=(40, 2))
    return posterior, dispersion, X, posterior.location @ np.column_stack([np.ones(40), X]).T


def beta_binomial_pmf(k: Array, n: float, shares: Array, dispersion: Array) -> Array:
    a, b = shares * (1.0 - dispersion) / dispersion, (1.0 - shares) * (1.0 - dispersion) / dispersion
    return stats.betabinom.pmf(k[:, None], n, a, b)


@pytest.mark.parametrize("n", [1, 7, 60, 2049, 30_000])
def test_one_node_is_scipys_binomial(n: int) -> None:
    posterior, X = intercepts([-1.2])
    share, observed = expit(-1.2), shares_of(posterior, X, 0, counts=float(n))
    expected = stats.binom(n, share)
    k = np.unique(np.linspace(0, n, 300).round())
    k = np.unique([*k, *np.arange(expected.ppf(1e-6), expected.ppf(1 - 1e-6), max(1, n // 1000))])
    assert_allclose(at(observed, "logpdf", k / n), expected.logpmf(k) + np.log(n), rtol=1e-9, atol=1e-9)
    assert_allclose(at(observed, "cdf", k / n), expected.cdf(k), atol=1e-12 if n <= 2048 else 2e-4)
    q = np.array([0.001, 0.025, 0.3, 0.52, 0.9, 0.975, 0.999])
    got = at(observed, "ppf", q) * n
    assert_allclose(got, expected.ppf(q), atol=1e-8 if n <= 2048 else 1.0)
    assert_allclose(got, np.rint(got), atol=1e-8)
    assert_allclose([observed.mean()[0], observed.var()[0]], [share, share * (1 - share) / n], rtol=1e-12)


@pytest.mark.parametrize("n", [1, 12, 300, 5000])
@pytest.mark.parametrize(("share", "rho"), [(0.3, 0.05), (0.02, 0.3), (0.9, 1e-4), (0.5, 0.6)])
def test_one_node_is_scipys_beta_binomial_about_scipys_beta(share: float, rho: float, n: int) -> None:
    posterior, X = intercepts([logit(share)])
    a, b = share * (1 - rho) / rho, (1 - share) * (1 - rho) / rho
    underlying = shares_of(posterior, X, 0, dispersion=np.array([rho]))
    observed = shares_of(posterior, X, 0, dispersion=np.array([rho]), counts=float(n))
    expected = stats.betabinom(n, a, b)
    k = np.unique(np.linspace(0, n, 60).round())
    assert_allclose(at(observed, "logpdf", k / n), expected.logpmf(k) + np.log(n), rtol=1e-7, atol=1e-7)
    assert_allclose(at(observed, "cdf", k / n), expected.cdf(k), atol=1e-9 if n <= 2048 else 2e-4)
    y = np.array([0.001, 0.05, 0.3, 0.5, 0.88, 0.95, 0.999])
    assert_allclose(at(underlying, "logpdf", y), stats.beta.logpdf(y, a, b), rtol=1e-8, atol=1e-8)
    assert_allclose(at(underlying, "cdf", y), stats.beta.cdf(y, a, b), atol=1e-12)
    q = np.array([0.001, 0.025, 0.5, 0.975])
    found = at(underlying, "ppf", q)
    assert_allclose(found, stats.beta.ppf(q, a, b), rtol=1e-6, atol=1e-300)
    assert_allclose(underlying.var()[0], stats.beta.var(a, b), rtol=1e-9)
    assert_allclose(observed.var()[0], expected.var() / n**2, rtol=1e-9)


def test_few_nodes_by_hand() -> None:
    eta, weights = np.array([-2.0, -0.5, 0.4]), np.array([0.2, 0.5, 0.3])
    dispersion, n = np.array([0.05, 0.1, 0.2]), 9
    posterior, X = intercepts(eta, weights)
    shares, k = expit(eta), np.arange(n + 1.0)
    for rho, pmf in (
        (None, stats.binom.pmf(k[:, None], n, shares)),
        (dispersion, beta_binomial_pmf(k, n, shares, dispersion)),
    ):
        observed = shares_of(posterior, X, 0, dispersion=rho, counts=float(n))
        # The noise of nine trials is hardly wider than these nodes lie apart: only means are exact.
        mean = float(weights @ shares)
        rho = np.zeros(3) if rho is None else rho
        assert_allclose(observed.mean(), mean)
        bernoulli = shares * (1.0 - shares)
        within = bernoulli * (rho + (1.0 - rho) / n)
        assert_allclose(observed.var(), weights @ (within + (shares - mean) ** 2), rtol=1e-12)
        masses = pmf @ weights
        assert_allclose(observed.var()[0], masses @ (k / n) ** 2 - (masses @ (k / n)) ** 2, rtol=1e-9)
        close = np.array([-1.0, -0.9, -1.05])
        near, X = intercepts(close, weights)
        exact = shares_of(near, X, 0, dispersion=None if not rho.any() else rho, counts=float(n))
        pmf = (
            beta_binomial_pmf(k, n, expit(close), rho)
            if rho.any()
            else stats.binom.pmf(k[:, None], n, expit(close))
        ) @ weights
        assert_allclose(np.exp(at(exact, "logpdf", k / n)) / n, pmf, rtol=1e-9)
        assert_allclose(at(exact, "cdf", k / n), np.cumsum(pmf), rtol=1e-9)
        for value in (0.0, 0.25, 3 / n, 1.0):
            assert_allclose(exact.crps(value)[0], lattice_crps(np.cumsum(pmf), n, value), rtol=1e-9)


@pytest.mark.parametrize("n", [1, 25, 700])
@pytest.mark.parametrize("dispersed", [False, True])
def test_many_nodes_are_summed(n: int, dispersed: bool) -> None:
    posterior, dispersion, X, eta = many()
    rho = dispersion if dispersed else None
    observed = shares_of(posterior, X, 0, dispersion=rho, counts=float(n))
    k = np.arange(n + 1.0)
    for row in (0, 7):
        shares = expit(eta[:, row])
        thinned = slice(None, None, 8) if dispersed and n > 100 else slice(None)
        weights = posterior.weights[thinned] / posterior.weights[thinned].sum()
        some = shares[thinned]
        pmf = (
            beta_binomial_pmf(k, n, some, dispersion[thinned])
            if dispersed
            else stats.binom.pmf(k[:, None], n, some)
        ) @ weights
        # Every eighth node is a sample of 500; SciPy takes too long for all.
        tolerance = 0.02 if thinned != slice(None) else 2e-3
        one = shares_of(posterior, X[[row]], 0, dispersion=rho, counts=float(n))
        assert_allclose(at(one, "cdf", k / n), np.cumsum(pmf), atol=tolerance)
        expected = lattice_crps(np.cumsum(pmf), n, 0.2)
        assert_allclose(one.crps(0.2)[0], expected, atol=tolerance / 10)
        if thinned == slice(None) and n < 100:
            assert_allclose(np.exp(at(one, "logpdf", k / n)) / n, pmf, rtol=1e-8)
        # Rows know nothing of each other.
        assert_allclose(observed.ppf(0.9)[row], one.ppf(0.9)[0], rtol=1e-12)
        assert_allclose(observed.logpdf(0.4)[row], one.logpdf(0.4)[0], rtol=1e-9)


def test_moments_are_sums_over_nodes_and_parts_add_up() -> None:
    posterior, dispersion, X, eta = many()
    weights, shares = posterior.weights, expit(eta)
    counts = np.where(np.arange(len(X)) % 3 == 0, 0.0, np.arange(len(X)))
    observed = shares_of(posterior, X, 0, dispersion=dispersion, counts=counts)
    mean = weights @ shares
    bernoulli = shares * (1.0 - shares)
    parts = {
        "parameters": weights @ (shares - mean) ** 2,
        "scatter": (weights * dispersion) @ bernoulli,
        "target_error": np.zeros(len(X)),
        "finite_count": np.where(
            counts > 0, (weights * (1 - dispersion)) @ bernoulli / np.maximum(counts, 1), 0
        ),
    }
    assert_allclose(observed.mean(), mean, rtol=1e-12)
    assert observed.variance_parts.keys() == parts.keys()
    for name, part in observed.variance_parts.items():
        assert_allclose(part, parts[name], rtol=1e-10)
    assert_allclose(observed.var(), sum(parts.values()), rtol=1e-10)
    assert_allclose(observed.mean_and_std()[1], observed.std(), rtol=1e-12)
    covariance = observed.covariance()
    away = shares - mean
    expected = away.T @ (away * weights[:, None])
    off = ~np.eye(len(X), dtype=bool)
    assert_allclose(covariance[off], expected[off], atol=1e-14)
    assert_allclose(np.diag(covariance), observed.var(), rtol=1e-12)
    frame = observed.to_frame(0.9, variance_parts=True)
    assert_allclose(frame.filter(like="var_").sum(axis=1), frame["std"] ** 2, rtol=1e-9)
    assert ((frame["lower_90%"] >= 0) & (frame["upper_90%"] <= 1)).all()


@pytest.mark.parametrize(("mu", "sd"), [(-1.0, 0.1), (-4.0, 0.7), (0.0, 2.0)])
def test_gaussian_log_odds_give_the_logit_normal(mu: float, sd: float) -> None:
    # Nodes at a Gaussian's quantiles: no Monte Carlo error is left.
    posterior, X = intercepts(mu + sd * stats.norm.ppf((np.arange(4000) + 0.5) / 4000))
    line = shares_of(posterior, X, 0)
    q = np.array([0.005, 0.025, 0.25, 0.5, 0.9, 0.975, 0.995])
    z = (logit(at(line, "ppf", q)) - mu) / sd
    assert_allclose(z, stats.norm.ppf(q), atol=2e-3)
    y = expit(mu + sd * np.linspace(-2.5, 2.5, 11))
    density = stats.norm.pdf(logit(y), mu, sd) / (y * (1.0 - y))
    assert_allclose(at(line, "pdf", y), density, rtol=2e-3)
    assert_allclose(at(line, "cdf", y), stats.norm.cdf(logit(y), mu, sd), atol=2e-4)
    assert at(line, "logpdf", np.array([-0.1, 0.0, 1.0, 1.2])).tolist() == [-np.inf] * 4
    assert at(line, "cdf", np.array([-0.1, 0.0, 1.0, 1.2])).tolist() == [0.0, 0.0, 1.0, 1.0]
    grid = mu + sd * np.linspace(-9.0, 9.0, 200_001)
    share, below = expit(grid), stats.norm.cdf(grid, mu, sd)
    for value in (0.0, y[2], y[8], 1.0):
        expected = np.trapezoid((below - (share >= value)) ** 2, share)
        expected += max(share[0] - value, 0.0) + max(value - share[-1], 0.0)
        assert_allclose(line.crps(value)[0], expected, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("n", [30, 400, 20_000])
@pytest.mark.parametrize(("mu", "sd"), [(-3.0, 0.5), (0.0, 2.0)])
def test_counts_that_say_more_than_the_posterior_are_smoothed(mu: float, sd: float, n: int) -> None:
    z = np.linspace(-9.0, 9.0, 8001)
    mass = stats.norm.pdf(z)
    posterior, X = intercepts(mu + sd * stats.norm.ppf((np.arange(4000) + 0.5) / 4000))
    observed = shares_of(posterior, X, 0, counts=float(n))
    k = np.unique(np.linspace(0, n, 50).round())
    expected = stats.binom.cdf(k[:, None], n, expit(mu + sd * z)) @ mass / mass.sum()
    assert_allclose(at(observed, "cdf", k / n), expected, atol=1.5e-3)
    likely = k[(expected > 0.01) & (expected < 0.99)]
    pmf = stats.binom.pmf(likely[:, None], n, expit(mu + sd * z)) @ mass / mass.sum()
    assert_allclose(at(observed, "logpdf", likely / n), np.log(pmf * n), atol=0.04)


def test_quantiles_invert_the_distribution_function_and_stay_inside() -> None:
    posterior, dispersion, X, _ = many()
    q = np.array([[0.0], [1e-12], [0.01], [0.4], [0.77], [1.0 - 1e-9], [1.0]])
    for kwargs in ({}, {"dispersion": dispersion}):
        smooth = shares_of(posterior, X, 0, **kwargs)
        found = smooth.ppf(q)
        assert ((found >= 0.0) & (found <= 1.0)).all()
        assert (np.diff(found, axis=0) >= 0.0).all()
        assert_allclose(smooth.cdf(found[1:5]), np.broadcast_to(q[1:5], (4, len(X))), rtol=1e-5)
        step = 1e-6
        slope = (smooth.cdf(found[3] + step) - smooth.cdf(found[3] - step)) / (2.0 * step)
        assert_allclose(smooth.pdf(found[3]), slope, rtol=0.02)
        counts = np.arange(len(X)) * 13.0
        observed = shares_of(posterior, X, 0, counts=counts, **kwargs)
        found = observed.ppf(q)
        assert ((found >= 0.0) & (found <= 1.0)).all()
        lattice = found[:, 1:] * counts[1:]
        assert_allclose(lattice, np.rint(lattice), atol=1e-9)
        reached = observed.cdf(found)
        assert (reached[:, 1:] >= q - 1e-9).all()
        before = observed.cdf(found - 1.0 / np.maximum(counts, 1.0))
        assert (before[1:-1, 1:] < q[1:-1] + 1e-9).all()
        # A count of 0 is not known: that row's distribution is of its underlying share. (Beyond 1 - 1e-9 rounding of
        # the probability leaves no more digits.)
        assert_allclose(found[:, 0], smooth.ppf(q)[:, 0], rtol=1e-7)
        assert_allclose(observed.var()[0], smooth.var()[0], rtol=1e-12)


def test_draws_have_the_distribution() -> None:
    posterior, dispersion, X, _ = many(512)
    X = X[:4]
    for rho in (None, dispersion):
        counts = np.array([0.0, 1.0, 15.0, 3000.0])
        observed = shares_of(posterior, X, 3, dispersion=rho, counts=counts)
        draws = observed.sample(20_000, random_state=1)
        z = (draws.mean(axis=1) - observed.mean()) / (observed.std() / np.sqrt(20_000))
        assert np.abs(z).max() < 4.5
        assert_allclose(draws.var(axis=1), observed.var(), rtol=0.06)
        for y in (0.1, 0.2, 0.35):
            share = (draws <= y + 1e-12).mean(axis=1)
            assert_allclose(share, observed.cdf(y), atol=4.5 * np.sqrt(0.25 / 20_000) + 2e-3)
        assert_allclose(draws[1:] * counts[1:, None], np.rint(draws[1:] * counts[1:, None]), atol=1e-9)
        assert_allclose(observed.sample(2), observed.sample(2))
        # One node a column: the lines of all rows move together.
        lines = shares_of(posterior, X, 3).sample(4000, random_state=2)
        expected = shares_of(posterior, X, 3).covariance()
        correlation = expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1])
        assert_allclose(np.corrcoef(lines[0], lines[1])[0, 1], correlation, atol=0.08)


def test_scores_are_proper_and_calibrated_and_on_the_scale_of_the_share() -> None:
    posterior, dispersion, X, _ = many(512)
    X, rng = np.repeat(X, 10, axis=0), np.random.default_rng(4)
    counts = rng.integers(200, 400, len(X)).astype(float)
    right = shares_of(posterior, X, 0, dispersion=dispersion, counts=counts)
    wrong = shares_of(posterior, X, 0, counts=counts)
    # A node of its own for every row.
    y = np.diagonal(right.sample(len(X), random_state=5))
    assert log_predictive_density(y, right) > log_predictive_density(y, wrong) + 0.1
    assert crps(y, right) < crps(y, wrong)
    # The expected score of a draw is half the mean distance of two.
    distance = np.abs(y - np.diagonal(right.sample(len(X), random_state=6)))
    scores = np.array([crps(np.diagonal(right.sample(len(X), random_state=i)), right) for i in (7, 8)])
    assert_allclose(scores.mean(), 0.5 * distance.mean(), atol=4.0 * distance.std() / np.sqrt(len(X)))
    # A normal density per unit of share is close where the lattice is fine.
    normal = stats.norm.logpdf(y, right.mean(), right.std()).mean()
    assert_allclose(log_predictive_density(y, right), normal, atol=0.15)
    # 0.313 / sqrt(n) is to be expected, 0.0157.
    assert pit_error(pit(y, right)) < 0.045 < pit_error(pit(y, wrong))


def test_rounded_shares_meet_their_lattice_value() -> None:
    posterior, X = intercepts(np.linspace(-1.1, -0.9, 50))
    for rho in (None, np.full(50, 0.1)):
        observed = shares_of(posterior, X, 0, dispersion=rho, counts=30.0)
        assert_allclose(observed.cdf(0.33), observed.cdf(10 / 30), rtol=1e-12)  # 9.9 of 30
        assert observed.cdf(0.32)[0] < observed.cdf(10 / 30)[0] - 0.01  # 9.6 of 30
        between = observed.logpdf(0.35)[0]  # 10.5 of 30
        assert min(observed.logpdf(10 / 30)[0], observed.logpdf(11 / 30)[0]) < between + 0.1
        assert max(observed.logpdf(10 / 30)[0], observed.logpdf(11 / 30)[0]) > between - 0.1
        # Just beside 0 and 1, and beyond.
        assert observed.logpdf(-1e-9)[0] == -np.inf
        assert observed.logpdf(1.0 + 1e-6)[0] == -np.inf
        assert observed.cdf(-0.5)[0] == 0.0
        assert_allclose(observed.cdf(1.5), 1.0)
        assert_allclose(observed.crps(1.5), observed.crps(1.0) + 0.5)
        assert_allclose(observed.crps(-0.5), observed.crps(0.0) + 0.5)


@pytest.mark.parametrize("q", [1e-14, 1e-6, 0.019, 0.0201, 3.0, 1e6])
@pytest.mark.parametrize("m", [0.0, 1.0, 2.5, 400.0, 1e7])
def test_log_rising_keeps_its_digits(q: float, m: float) -> None:
    with mpmath.workdps(60):
        a = 1 / mpmath.mpf(q)
        expected = mpmath.loggamma(a + m) - mpmath.loggamma(a) + m * mpmath.log(mpmath.mpf(q))
        assert_allclose(log_rising(np.array([q]), m)[0], float(expected), rtol=1e-8, atol=1e-9 + 1e-15 * m)
    assert_allclose(log_rising(np.zeros(1), m), 0.0, atol=1e-15 * (1.0 + m))


def test_probabilities_of_a_large_count_agree_with_those_of_every_one() -> None:
    shares, rho = np.array([[0.02, 0.03, 0.6]]), np.array([[0.3, 0.001, 0.01]])
    weights = np.array([[0.5, 0.3, 0.2]])
    n = 6000
    parts = Components(weights, logit(shares), {"dispersion": rho[0]})
    mixture = LatticeMixture(BetaBinomialLikelihood(), np.array([float(n)]), parts, lambda: parts)
    k = np.arange(n + 1.0)
    every = beta_binomial_pmf(k, n, shares[0], rho[0]) @ weights[0]
    assert_allclose(every.sum(), 1.0, rtol=1e-9)
    below = np.cumsum(every)
    found = np.array([mixture.cdf(np.array([x / n]))[0] for x in k[::37]])
    assert_allclose(found, below[::37], atol=1e-3)
    for value in (0.0, 0.0213, 0.5, 1.0):
        assert_allclose(mixture.crps(np.array([value]))[0], lattice_crps(below, n, value), rtol=2e-4)


@pytest.mark.parametrize(("share", "rho"), [(0.2, 0.1), (0.5, 0.7), (0.01, 0.2), (0.97, 0.003)])
def test_score_of_beta_mixtures_is_its_definition(share: float, rho: float) -> None:
    shares, rhos, weights = np.array([[share, 0.4]]), np.array([[rho, 0.15]]), np.array([[0.7, 0.3]])
    parts = Components(weights, logit(shares), {"dispersion": rhos[0]})
    underlying = BetaBinomialLikelihood().underlying
    mixture = ResponseMixture(
        underlying, parts, lambda: parts, np.sqrt(rhos / shares / (1.0 - shares)).min(axis=1), smooth=False
    )
    a, b = shares[0] * (1 - rhos[0]) / rhos[0], (1 - shares[0]) * (1 - rhos[0]) / rhos[0]
    # Even in the log odds, so that no end is cut short.
    grid = np.linspace(-60.0, 36.0, 400_001)
    y = expit(grid)
    below = stats.beta.cdf(y[:, None], a, b) @ weights[0]
    for value in (0.0, 0.15, 0.6, 1.0):
        expected = np.trapezoid((below - (y >= value)) ** 2, y)
        assert_allclose(mixture.crps(np.array([value]))[0], expected, rtol=2e-4)
    ends = mixture.log_density(np.array([0.0, 1.0, -0.1]).repeat(1)[:1])
    expected_end = np.inf if (a < 1.0).any() else -np.inf
    assert ends[0] == expected_end


def test_gauss_rule_keeps_moments_and_strata_are_alike_in_two_quantities() -> None:
    rng = np.random.default_rng(2)
    values, weights = rng.gamma(3.0, size=(5, 800)), rng.dirichlet(np.ones(800))
    nodes, masses = gauss_rule(values, weights, 6)
    for power in range(12):
        assert_allclose((masses * nodes**power).sum(axis=1), values**power @ weights, rtol=1e-8)
    few, _ = gauss_rule(values[:, :4], weights[:4] / weights[:4].sum(), 6)
    assert few is values[:, :4] or few.shape == (5, 4)
    same, masses = gauss_rule(np.full((2, 50), 3.0), np.full(50, 0.02), 6)
    assert_allclose((same * masses).sum(axis=1), 3.0)
    groups = strata(weights, values[0], values[1], 30)
    assert_allclose(np.sort(np.concatenate(groups)), np.arange(800))
    assert_allclose([weights[nodes].sum() for nodes in groups], 1.0 / 30.0, atol=0.01)
    for row in (0, 1):
        within = sum(weights[nodes].sum() * values[row, nodes].var() for nodes in groups)
        assert within < 0.25 * values[row].var()


def test_errors_of_features_spread_the_log_odds() -> None:
    eta, error = np.array([-1.0, -0.8, -1.2]), np.array([0.4, 0.3, 0.5])
    posterior, X = intercepts(eta, np.array([0.3, 0.3, 0.4]))
    z = np.linspace(-9, 9, 20_001)
    mass = stats.norm.pdf(z)
    mass /= mass.sum()
    shares = expit(eta[:, None] + np.sqrt(error)[:, None] * z)
    means = shares @ mass
    measured = shares_of(posterior, X, 0, feature_error=error)
    assert_allclose(measured.mean()[0], posterior.weights @ means, rtol=1e-6)
    total = posterior.weights @ (shares**2 @ mass) - measured.mean()[0] ** 2
    assert_allclose(measured.var()[0], total, rtol=1e-4)
    assert set(measured.variance_parts) >= {"parameters", "feature_error"}
    n, k = 20, np.arange(21.0)
    observed = shares_of(posterior, X, 0, feature_error=error, counts=float(n))
    pmf = sum(
        weight * stats.binom.pmf(k[:, None], n, share) @ mass
        for weight, share in zip(posterior.weights, shares, strict=True)
    )
    assert_allclose(at(observed, "cdf", k / n), np.cumsum(pmf), atol=1e-3)
    draws = observed.sample(20_000, random_state=0)
    assert_allclose(draws.var(), observed.var()[0], rtol=0.05)


@pytest.mark.parametrize("size", [1, 5, 3000])
@pytest.mark.parametrize("n", [0, 20, 400, 10_000])
@pytest.mark.parametrize(("mu", "sd"), [(-1.0, 0.3), (0.0, 2.0), (-4.0, 1.5)])
def test_log_odds_as_wide_as_any_are_integrated_out(mu: float, sd: float, n: int, size: int) -> None:
    """Probabilities were off by up to 0.16 where the log odds' errors say less than the counts."""
    rng = np.random.default_rng(3)
    eta, weights = mu + 0.1 * rng.normal(size=size), rng.dirichlet(np.full(size, 5.0))
    error = np.square(sd * np.exp(0.2 * rng.normal(size=size)))
    posterior, X = intercepts(eta, weights)
    counts = float(n) if n else None
    found = shares_of(posterior, X, 0, feature_error=error, counts=counts)
    x = np.linspace(mu - 16.0 * sd, mu + 16.0 * sd, 4001)
    density = sum(
        weight * stats.norm.pdf(x, one, np.sqrt(v))
        for weight, one, v in zip(weights, eta, error, strict=True)
    )
    mass = density / np.sum(density)
    at_levels = np.interp([0.01, 0.1, 0.4, 0.6, 0.9, 0.99], np.cumsum(mass), x)
    if n:
        k = np.unique(np.rint(n * expit(at_levels)))
        y = k / n
        below = stats.binom.cdf(k[:, None], n, expit(x)) @ mass
        log_density = np.log(stats.binom.pmf(k[:, None], n, expit(x)) @ mass * n)
    else:
        y = expit(at_levels)
        below = np.interp(at_levels, x, np.cumsum(mass) - 0.5 * mass)
        log_density = np.log(np.interp(at_levels, x, density) / (y * (1.0 - y)))
    assert_allclose(at(found, "cdf", y), below, atol=1.5e-3)
    assert_allclose(at(found, "logpdf", y), log_density, atol=0.02 if size < 100 else 0.1)


@pytest.mark.parametrize("size", [3, 40, 3000])
def test_gaussians_that_stand_for_nodes_keep_mean_and_variance(size: int) -> None:
    rng = np.random.default_rng(0)
    means, variances = rng.normal(size=(2, size)), rng.uniform(0.5, 2.0, (2, size))
    weights = rng.dirichlet(np.ones(size))
    masses, centres, sds = gaussians(means, variances, weights, 65)
    assert masses.shape == centres.shape == (2, min(size, 65))
    mean, spread = moments(centres, masses)
    assert_allclose(mean, means @ weights, rtol=1e-9)
    expected = moments(means, weights)[1] ** 2 + variances @ weights
    assert_allclose(spread**2 + np.sum(masses * sds**2, axis=1), expected, rtol=1e-9)
    for x in (-2.0, 0.0, 3.0):
        below = stats.norm.cdf(x, means, np.sqrt(variances)) @ weights
        assert_allclose(np.sum(masses * stats.norm.cdf(x, centres, sds), axis=1), below, atol=2e-3)


def test_degenerate_posteriors_and_extreme_log_odds_stay_finite() -> None:
    for eta in ([-900.0, -900.0], [40.0, 45.0], [-30.0, 30.0], [0.0, 0.0]):
        posterior, X = intercepts(eta)
        for rho in (None, np.array([0.0, 0.0]), np.array([1e-13, 0.9])):
            for n in (0.0, 1.0, 50.0, 1e6):
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    share = shares_of(posterior, X, 0, dispersion=rho, counts=n)
                    lower, upper = share.interval(0.9)
                    assert 0.0 <= lower[0] <= upper[0] <= 1.0, (eta, rho, n)
                    assert np.isfinite([share.mean(), share.var(), share.crps(0.3), share.cdf(0.3)]).all()
                    assert not np.isnan(share.logpdf(np.array([[0.0], [0.3], [1.0]]))).any()
                    assert np.isfinite(share.sample(5)).all()
