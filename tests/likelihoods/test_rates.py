"""Events over an exposure: probabilities in high precision, at all counts, rates and dispersions."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats

from bayes_sklearn.likelihoods import NegativeBinomialLikelihood, Observations, PoissonLikelihood

Array = NDArray[np.float64]

PRECISE = mpmath.mp.clone()
PRECISE.dps = 60


def real(value: float) -> Any:
    return PRECISE.mpf(float(value))


def precise(eta: float, k: int, exposure: float, phi: float | None) -> Any:
    """Return the log probability of k events."""
    log_mean = real(eta) + PRECISE.log(real(exposure))
    mean = PRECISE.exp(log_mean)
    if phi is None:
        return k * log_mean - mean - PRECISE.loggamma(k + 1)
    r = 1 / real(phi)
    choose = PRECISE.loggamma(k + r) - PRECISE.loggamma(r) - PRECISE.loggamma(k + 1)
    return choose + k * (log_mean - PRECISE.log(r + mean)) + r * (PRECISE.log(r) - PRECISE.log(r + mean))


def found(eta: float, k: int, exposure: float, phi: float | None) -> tuple[float, float]:
    """Return the log probability of k events, and the probability of less and half of k."""
    data = Observations(np.array([k / exposure]), trials=np.array([exposure]))
    likelihood: Any = PoissonLikelihood() if phi is None else NegativeBinomialLikelihood()
    values = {} if phi is None else {"dispersion": np.array([phi])}
    line = np.array([eta])
    return (
        float(likelihood.log_density(line, values, data)[0]),
        float(likelihood.probability_of_less(line, values, data)[0]),
    )


DISPERSIONS = [None, 1e-12, 1e-9, 1e-5, 0.01, 0.7, 20.0, 1e4]


@pytest.mark.parametrize("phi", DISPERSIONS)
@pytest.mark.parametrize("k", [0, 1, 7, 400, 1_000_000])
@pytest.mark.parametrize("away", [-5.0, -0.3, 0.0, 0.002, 1.0, 8.0])
@pytest.mark.parametrize("exposure", [3.7e-6, 1.0, 8.3e5])
def test_probabilities_keep_their_digits(phi: float | None, k: int, away: float, exposure: float) -> None:
    eta = float(np.log(k + 0.5) - np.log(exposure) + away)
    expected = precise(eta, k, exposure, phi)
    # Terms of this size are added, and logs of means have this rounding.
    size = 1.0 + abs(float(expected)) + k * (1.0 if phi is None else 15.0)
    assert_allclose(found(eta, k, exposure, phi)[0], float(expected), atol=1e-14 * size * 20.0)


@pytest.mark.parametrize("phi", DISPERSIONS)
@pytest.mark.parametrize("k", [0, 1, 7, 60])
@pytest.mark.parametrize("away", [-2.0, -0.3, 0.1, 1.0])
def test_probabilities_of_less_are_their_sums(phi: float | None, k: int, away: float) -> None:
    eta = float(np.log(k + 0.5) + away)
    terms = [PRECISE.exp(precise(eta, j, 1.0, phi)) for j in range(k + 1)]
    # A distribution function of few digits is what is left of one.
    assert_allclose(found(eta, k, 1.0, phi)[1], float(sum(terms) - terms[-1] / 2), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("likelihood", [PoissonLikelihood(), NegativeBinomialLikelihood()])
@pytest.mark.parametrize("k", [0.0, 3.0, 1e6])
def test_lines_far_beyond_all_counts_overflow_nowhere(likelihood: Any, k: float) -> None:
    data = Observations(np.full(4, k), trials=np.ones(4))
    eta = np.array([-700.0, -300.0, 300.0, 700.0])
    values = {"dispersion": np.full((1, 1), 0.3)} if likelihood.name != "poisson" else {}
    log_density = likelihood.log_density(eta[None], values, data)[0]
    assert (log_density <= 0.0).all()
    assert not np.isnan(log_density).any()
    less = likelihood.probability_of_less(eta[None], values, data)[0]
    assert_allclose(less, [0.5 if k == 0.0 else 1.0] * 2 + [less[2], less[3]])
    assert (less[2:] < 1e-20).all() or likelihood.name != "poisson"
    assert np.isfinite(likelihood.draw(eta[None], values, data, np.random.default_rng(0))).all()


def test_without_dispersion_negative_binomial_is_poisson_and_scipy_has_both() -> None:
    rng = np.random.default_rng(0)
    exposure = rng.uniform(0.1, 9.0, 50)
    k = rng.poisson(3.0 * exposure)
    data = Observations(k / exposure, trials=exposure)
    eta, phi = rng.normal(1.0, 0.5, (4, 50)), rng.uniform(0.01, 3.0, (4, 1))
    mean = exposure * np.exp(eta)
    poisson = PoissonLikelihood().log_density(eta, {}, data)
    assert_allclose(poisson, stats.poisson.logpmf(k, mean), rtol=1e-11, atol=1e-12)
    likelihood = NegativeBinomialLikelihood()
    assert_allclose(likelihood.log_density(eta, {"dispersion": 0.0 * phi}, data), poisson, atol=1e-9)
    of_scipy = stats.nbinom(1.0 / phi, 1.0 / (1.0 + phi * mean))
    assert_allclose(likelihood.log_density(eta, {"dispersion": phi}, data), of_scipy.logpmf(k), rtol=1e-9)
    assert_allclose(
        likelihood.variance(np.exp(eta), {"dispersion": phi}, data) * exposure**2, of_scipy.var(), rtol=1e-12
    )


def test_rates_that_underlie_mix_poisson_s_distributions_to_the_negative_binomial() -> None:
    likelihood = NegativeBinomialLikelihood()
    underlying: Any = likelihood.underlying
    eta, values, exposure = 0.4, {"dispersion": np.array([0.6])}, 2.5

    def of_rate(rate: float, k: int) -> float:
        data = Observations(np.array([rate]))
        density = float(np.exp(underlying.log_density(np.array([eta]), values, data)[0]))
        return density * float(stats.poisson.pmf(k, exposure * rate))

    for k in (0, 2, 9):
        total = integrate.quad(of_rate, 0.0, np.inf, args=(k,), epsabs=1e-12)[0]
        assert_allclose(total, np.exp(found(eta, k, exposure, 0.6)[0]), rtol=1e-7)
    data = Observations(np.array([1.1]))
    below = integrate.quad(lambda rate: of_rate(rate, 0) * np.exp(exposure * rate), 0.0, 1.1)[0]
    assert_allclose(underlying.probability_of_less(np.array([eta]), values, data), below, rtol=1e-7)


def test_the_dispersion_has_derivatives_where_there_is_none() -> None:
    rng = np.random.default_rng(1)
    eta, k = rng.normal(size=30), rng.poisson(2.0, 30).astype(float)
    found = NegativeBinomialLikelihood().derivatives(eta, np.zeros(1), Observations(k, trials=np.ones(30)))
    # That of the dispersion, whose root is the coordinate, by hand.
    slope = 0.5 * (np.square(k - np.exp(eta)) - k)
    assert_allclose(found.gradient[1], 0.0)
    assert_allclose(found.hessian[1, 1], 2.0 * slope, rtol=1e-9, atol=1e-9)
