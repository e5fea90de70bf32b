"""Scores against what others make of them: scoringrules, ArviZ, and integration from the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, special, stats

from bayes_sklearn import HalfNormal, Normal, metrics
from bayes_sklearn.inference._compat import diagnostics, quietly
from bayes_sklearn.likelihoods import BetaBinomialLikelihood, BinomialLikelihood, StudentTLikelihood
from bayes_sklearn.prediction.mixtures.continuous import ResponseMixture
from bayes_sklearn.prediction.mixtures.lattice import LatticeMixture
from bayes_sklearn.prediction.mixtures.normal import NormalMixture
from bayes_sklearn.prediction.mixtures.parts import Components

from data import gentle, measured
from oracle import half_normal, integrate_posterior
from plain import Regressor

Array = NDArray[np.float64]

RNG = np.random.default_rng(0)
Y = RNG.normal(size=20)
MEAN, SD = RNG.normal(size=20), RNG.uniform(0.1, 3.0, 20)


@pytest.fixture(scope="module")
def scoringrules() -> Any:
    """Formulas of Jordan, Krueger & Lerch 2019, J. Stat. Software 90(12), in Python; of the extra "test"."""
    return pytest.importorskip("scoringrules")


def test_scores_of_normal_predictions(scoringrules: Any) -> None:
    assert_allclose(metrics.crps(Y, MEAN, SD), scoringrules.crps_normal(Y, MEAN, SD).mean(), rtol=1e-12)
    log_score = -scoringrules.logs_normal(Y, MEAN, SD).mean()
    assert_allclose(metrics.log_predictive_density(Y, MEAN, SD), log_score, rtol=1e-12)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_interval_score(scoringrules: Any, coverage: float) -> None:
    lower, upper = stats.norm(MEAN, SD).interval(coverage)
    expected = scoringrules.interval_score(Y, lower, upper, 1.0 - coverage).mean()
    assert_allclose(metrics.interval_score(Y, lower, upper, coverage=coverage), expected, rtol=1e-12)
    assert 0.0 < metrics.interval_coverage(Y, lower, upper) < 1.0, "some miss"


@pytest.mark.parametrize("row", range(0, 20, 4))
def test_interval_scores_add_up_to_the_crps(row: int) -> None:
    """Over all coverages 1 - a, with weights a / 2 (Bracher et al. 2021, PLOS Comput. Biol. 17:e1008618)."""
    y, mean, sd = Y[[row]], MEAN[[row]], SD[[row]]

    def weighted(alpha: float) -> float:
        lower, upper = stats.norm(mean, sd).interval(1.0 - alpha)
        return 0.5 * alpha * metrics.interval_score(y, lower, upper, coverage=1.0 - alpha)

    kink = 2.0 * stats.norm.sf(abs(y - mean) / sd)[0]
    whole = integrate.quad(weighted, 0.0, 1.0, points=[kink])[0]
    assert_allclose(whole, metrics.crps(y, mean, sd), rtol=1e-6)


@pytest.mark.parametrize("size", [3, 200])
def test_scores_of_mixtures_of_normal_distributions(scoringrules: Any, size: int) -> None:
    """Few components pair by pair, and many by quadrature."""
    means, sds = RNG.normal(size=(20, size)), RNG.uniform(0.2, 2.0, (20, size))
    weights = RNG.dirichlet(np.ones(size))
    mixture = NormalMixture(weights, means, sds)
    every = np.broadcast_to(weights, means.shape)
    assert_allclose(mixture.crps(Y), scoringrules.crps_mixnorm(Y, means, sds, every), rtol=1e-6)
    assert_allclose(-mixture.log_density(Y), scoringrules.logs_mixnorm(Y, means, sds, every), rtol=1e-10)


@pytest.mark.parametrize("nu", [2.5, 5.0, 80.0])
def test_scores_of_t_distributions(scoringrules: Any, nu: float) -> None:
    parts = Components(np.ones((20, 1)), MEAN[:, None], {"nu": np.array([nu])}, SD[:, None])
    one = ResponseMixture(StudentTLikelihood(), parts, lambda: parts, SD, smooth=False)
    assert_allclose(one.crps(Y), scoringrules.crps_t(Y, nu, MEAN, SD), rtol=1e-6)
    assert_allclose(-one.log_density(Y), scoringrules.logs_t(Y, nu, MEAN, SD), rtol=1e-10)


def test_scores_of_shares(scoringrules: Any) -> None:
    share, rho = RNG.uniform(0.05, 0.95, 20), RNG.uniform(0.01, 0.4, 20)
    y = RNG.uniform(0.0, 1.0, 20)
    size = (1.0 - rho) / rho
    one, eta = np.ones((20, 1)), special.logit(share)[:, None]
    parts = Components(one, eta, {"dispersion": rho[:, None]})
    likelihood, width = BetaBinomialLikelihood().underlying, np.sqrt(rho / share / (1.0 - share))
    underlying = ResponseMixture(likelihood, parts, lambda: parts, width, smooth=False)
    parameters = share * size, (1.0 - share) * size
    assert_allclose(underlying.crps(y), scoringrules.crps_beta(y, *parameters), rtol=2e-4)
    assert_allclose(-underlying.log_density(y), scoringrules.logs_beta(y, *parameters), rtol=1e-8)
    counts = RNG.integers(1, 200, 20).astype(float)
    k = RNG.binomial(counts.astype(int), share).astype(float)
    parts = Components(one, eta, {})
    observed = LatticeMixture(BinomialLikelihood(), counts, parts, lambda: parts)
    # Of a count, in its unit: a share's is one over the trials of it.
    of_counts = scoringrules.crps_binomial(k, counts, share)
    assert_allclose(observed.crps(k / counts), of_counts / counts, rtol=1e-8, atol=1e-12)
    log_score = scoringrules.logs_binomial(k, counts, share)
    assert_allclose(np.log(counts) - observed.log_density(k / counts), log_score, rtol=1e-8, atol=1e-10)


def test_scores_of_the_estimator(scoringrules: Any) -> None:
    """Its predictions' quantiles, as a sample, have the score that the library has of them."""
    X, y, y_err = measured(60)
    model = Regressor().fit(X[:50], y[:50], y_err=y_err[:50])
    distribution = model.predict_distribution(X[50:], y_err=y_err[50:])
    sample = distribution.ppf((np.arange(2000)[:, None] + 0.5) / 2000.0).T
    expected = scoringrules.crps_ensemble(y[50:], sample, estimator="nrg").mean()
    assert_allclose(metrics.crps(y[50:], distribution), expected, rtol=1e-3)
    below = [
        integrate.quad(lambda t, i=i: float(distribution.pdf(t)[i]), -np.inf, y[50 + i])[0] for i in range(3)
    ]
    assert_allclose(metrics.pit(y[50:], distribution)[:3], below, atol=1e-6)


def arviz() -> Any:
    with quietly():
        import arviz
    return arviz


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_exact_leave_one_out_is_arvizs_of_draws(noise: str) -> None:
    """Row by row, within the Monte Carlo error of 8,000 independent draws: z below 5."""
    X, y, y_err = gentle()
    model = Regressor(noise=noise, draws=2000, random_state=0).fit(X, y, y_err=y_err)
    assert model.inference_ == "exact"
    data = model.to_arviz(X, y, y_err=y_err)
    with quietly():
        found = arviz().loo(data, pointwise=True)
    ours = model.loo(X, y, y_err=y_err)
    old = arviz().__version__.startswith("0.")
    theirs, mine = (np.asarray(each["loo_i" if old else "elpd_i"]) for each in (found, ours))
    density = np.exp(np.asarray(data["log_likelihood"]["y"]))
    # The mean of 1 / p, whose log is what importance sampling estimates, up to its sign.
    effective = diagnostics({"y": 1.0 / density})["ess_bulk"]["y"]
    error = (1.0 / density).std(axis=(0, 1)) * density.mean(axis=(0, 1)) / np.sqrt(effective)
    assert np.asarray(found["pareto_k"]).max() < 0.5
    assert np.abs((theirs - mine) / error).max() < 5.0
    with_rows = np.log(density.mean(axis=(0, 1)))
    assert np.abs((with_rows - mine) / error).max() > 5.0, "what rows say of themselves would be seen"


@pytest.mark.parametrize("noise", ["scaled", "additive"])
def test_exact_leave_one_out_is_the_ratio_of_integrals(noise: Any) -> None:
    """By dense covariances and numerical integration, of all rows and of all but one; nothing is standardised."""
    X, y, y_err = gentle(12)
    model = Regressor(
        noise=noise, standardize=False, noise_prior=HalfNormal(0.8), coef_prior=Normal(0.0, 2.0)
    )
    model.fit(X, y, y_err=y_err)
    found = model.loo(X, y, y_err=y_err)
    ours = np.asarray(found["loo_i" if arviz().__version__.startswith("0.") else "elpd_i"])
    transforms = model.loo_pit(X, y, y_err=y_err)

    def integrated(rows: NDArray[np.bool_]) -> Any:
        return integrate_posterior(
            X[rows],
            y[rows],
            y_err=y_err[rows],
            noise=noise,
            standardize=False,
            coef_sigma=2.0,
            noise_density=half_normal(0.8),
        )

    whole = integrated(np.ones(12, dtype=bool)).log_marginal_likelihood
    for i in range(0, 12, 3):
        one = slice(i, i + 1)
        others = integrated(np.arange(12) != i)
        assert_allclose(ours[i], whole - others.log_marginal_likelihood, rtol=1e-7)
        assert_allclose(transforms[one], others.cdf(X[one], y[one], y_err[one]), rtol=1e-7)
