"""The likelihoods' densities against scipy and high precision, their derivatives against differences."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats
from sklearn.base import clone

from bayes_sklearn.likelihoods import (
    LIKELIHOODS,
    BetaBinomialLikelihood,
    BetaLikelihood,
    BinomialLikelihood,
    Likelihood,
    NegativeBinomialLikelihood,
    NormalLikelihood,
    Observations,
    PoissonLikelihood,
    StudentTLikelihood,
    counts,
)
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.likelihoods.parameters import (
    Coordinate,
    FoldedLog,
    FoldedOdds,
    FoldedRoot,
    Log,
    LogOdds,
)
from bayes_sklearn.likelihoods.special_functions import log_rising, rising_derivatives
from bayes_sklearn.priors import Beta, Flat, Gamma, HalfNormal, InverseGamma, Normal

Array = NDArray[np.float64]

PRECISE = mpmath.mp.clone()
PRECISE.dps = 300


def real(value: float) -> Any:
    return PRECISE.mpf(float(value))


def precise_rising(q: Any, m: Any) -> Any:
    return PRECISE.loggamma(1 / q + m) - PRECISE.loggamma(1 / q) + m * PRECISE.log(q)


def precise_beta_binomial(eta: float, dispersion: float, k: float, n: float) -> float:
    eta, rho, k, n = (real(value) for value in (eta, dispersion, k, n))
    mu = 1 / (1 + PRECISE.exp(-eta))
    total = (1 - rho) / rho
    alpha, beta = mu * total, total / (1 + PRECISE.exp(eta))
    g = PRECISE.loggamma
    choose = g(n + 1) - g(k + 1) - g(n - k + 1)
    rising = g(alpha + k) - g(alpha) + g(beta + n - k) - g(beta)
    return float(choose + rising - g(total + n) + g(total))


def precise_binomial(eta: float, k: float, n: float) -> float:
    eta, k, n = (real(value) for value in (eta, k, n))
    g = PRECISE.loggamma
    choose = g(n + 1) - g(k + 1) - g(n - k + 1)
    return float(choose - k * PRECISE.log1p(PRECISE.exp(-eta)) - (n - k) * PRECISE.log1p(PRECISE.exp(eta)))


@pytest.mark.parametrize("q", [1e-20, 1e-12, 1e-6, 1e-3, 0.04, 0.124, 0.126, 1.0, 7.0, 1e3, 1e10, 1e17])
@pytest.mark.parametrize("m", [0.0, 0.3, 0.5, 1.0, 2.0, 2.7, 17.0, 400.0, 1e5])
def test_products_of_the_gamma_functions_keep_their_digits(q: float, m: float) -> None:
    step = real(q) * PRECISE.mpf(10) ** -20
    below, here, above = (precise_rising(real(q) + k * step, real(m)) for k in (-1, 0, 1))
    found = rising_derivatives(np.array(q), np.array(m))
    eps = np.finfo(np.float64).eps
    assert_allclose(
        log_rising(np.array(q), np.array(m)), float(here), rtol=1e-13, atol=4.0 * eps * max(m, 1.0)
    )
    assert_allclose(found.slope, float((above - below) / (2 * step)), rtol=1e-12, atol=1e-12)
    assert_allclose(found.bend, float((above - 2 * here + below) / step**2), rtol=1e-10, atol=1e-11)


def test_products_of_whole_numbers_are_products() -> None:
    q = np.array([0.0, 1e-9, 0.01, 0.2, 3.0])
    for m in (0, 1, 2, 5, 30):
        expected = np.log1p(q[:, None] * np.arange(m)).sum(axis=1)
        assert_allclose(log_rising(q, float(m)), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("eta", [-40.0, -3.0, 0.0, 1.5, 40.0])
@pytest.mark.parametrize(
    ("k", "n"), [(0, 1), (1, 1), (3, 10), (10, 10), (0, 500), (499, 500), (2.4, 7), (0.3, 1)]
)
def test_binomial_probabilities_in_both_tails(eta: float, k: float, n: float) -> None:
    data = Observations(np.array([k / n]), trials=np.array([float(n)]))
    found = BinomialLikelihood().log_density(np.array([eta]), {}, data)
    assert_allclose(found, precise_binomial(eta, k, n), rtol=1e-12, atol=1e-15 * n if n > 100 else 0.0)


@pytest.mark.parametrize("eta", [-1e5, -250.0, -40.0, -2.0, 0.3, 40.0, 250.0])
@pytest.mark.parametrize("dispersion", [1e-18, 1e-12, 1e-6, 0.01, 0.3, 0.9, 1.0 - 1e-6, 1.0 - 1e-12])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 40), (3, 10), (40, 40), (1000, 20000), (2.4, 7)])
def test_beta_binomial_probabilities_up_to_either_end_of_the_dispersion(
    eta: float, dispersion: float, k: float, n: float
) -> None:
    data = Observations(np.array([k / n]), trials=np.array([float(n)]))
    values = {"dispersion": np.array([dispersion])}
    found = BetaBinomialLikelihood().log_density(np.array([eta]), values, data)
    expected = precise_beta_binomial(eta, dispersion, k, n)
    # Terms of this size are added.
    size = n * (10.0 + abs(eta) - np.log(1.0 - dispersion))
    assert_allclose(found, expected, rtol=1e-13, atol=2.0 * np.finfo(np.float64).eps * size + 1e-14)


def test_without_dispersion_beta_binomial_is_binomial() -> None:
    rng = np.random.default_rng(0)
    n = rng.integers(1, 1000, 50).astype(float)
    data = Observations(rng.binomial(n.astype(int), 0.3) / n, trials=n)
    eta = rng.normal(size=(3, 50))
    binomial = BinomialLikelihood().log_density(eta, {}, data)
    for dispersion in (1e-100, 1e-30, 1e-16):
        values = {"dispersion": np.full((3, 1), dispersion)}
        found = BetaBinomialLikelihood().log_density(eta, values, data)
        assert_allclose(found, binomial, rtol=1e-11)


def test_scipy_has_the_same_distributions() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(1, 60, 40)
    k = rng.binomial(n, 0.4)
    eta, rho = rng.normal(size=(5, 40)), rng.uniform(0.01, 0.7, (5, 1))
    data = Observations(k / n, trials=n.astype(float))
    share = 1.0 / (1.0 + np.exp(-eta))
    assert_allclose(
        BinomialLikelihood().log_density(eta, {}, data), stats.binom.logpmf(k, n, share), rtol=1e-11
    )
    total = (1.0 - rho) / rho
    expected = stats.betabinom.logpmf(k, n, share * total, (1.0 - share) * total)
    found = BetaBinomialLikelihood().log_density(eta, {"dispersion": rho}, data)
    assert_allclose(found, expected, rtol=1e-9)

    y, e, s = rng.normal(size=40), rng.uniform(0.5, 2.0, 40), rng.uniform(0.2, 3.0, (5, 1))
    nu = rng.uniform(0.5, 30.0, (5, 1))
    for noise, scale in (("scaled", s * e), ("additive", np.hypot(s, e)), ("known", e + 0.0 * s)):
        data = Observations(y, e, NOISES[noise])
        values = {"noise_scale": s, "nu": nu}
        expected = stats.t.logpdf(y, nu, eta, scale)
        assert_allclose(StudentTLikelihood().log_density(eta, values, data), expected, rtol=1e-11)
        fixed = StudentTLikelihood(nu=3).log_density(eta, {"noise_scale": s}, data)
        assert_allclose(fixed, stats.t.logpdf(y, 3, eta, scale), rtol=1e-11)
        normal = NormalLikelihood().log_density(eta, {"noise_scale": s}, data)
        assert_allclose(normal, stats.norm.logpdf(y, eta, scale), rtol=1e-11)


@pytest.mark.parametrize("dispersion", [1e-9, 0.05, 0.8])
@pytest.mark.parametrize("eta", [-30.0, 0.7])
def test_probabilities_sum_to_one(dispersion: float, eta: float) -> None:
    n = 37
    data = Observations(np.arange(n + 1.0) / n, trials=np.full(n + 1, float(n)))
    line = np.full(n + 1, eta)
    assert_allclose(np.exp(BinomialLikelihood().log_density(line, {}, data)).sum(), 1.0, rtol=1e-12)
    found = BetaBinomialLikelihood().log_density(line, {"dispersion": np.array(dispersion)}, data)
    assert_allclose(np.exp(found).sum(), 1.0, rtol=1e-12)


@pytest.mark.parametrize("nu", [1e8, 1e12, 1e16, 1e300])
def test_with_many_degrees_of_freedom_student_t_is_normal(nu: float) -> None:
    rng = np.random.default_rng(2)
    data = Observations(rng.normal(size=30), rng.uniform(0.5, 2.0, 30), NOISES["additive"])
    eta, s = rng.normal(size=30), np.array(0.7)
    student = StudentTLikelihood(nu=nu)
    # What is left of the difference is of order 1 / nu.
    normal = NormalLikelihood().log_density(eta, {"noise_scale": s}, data)
    assert_allclose(student.log_density(eta, {"noise_scale": s}, data), normal, rtol=1e-13 + 1e3 / nu)
    ours, theirs = (
        likelihood.derivatives(eta, np.array([0.7]), data) for likelihood in (student, NormalLikelihood())
    )
    assert_allclose(ours.gradient, theirs.gradient, rtol=1e-12 + 1e3 / nu, atol=1e-14)
    assert_allclose(ours.hessian, theirs.hessian, rtol=1e-12 + 1e3 / nu, atol=1e-14)


@pytest.mark.parametrize("dispersion", [1e-7, 0.01, 0.4, 0.95])
@pytest.mark.parametrize("y", [1e-12, 0.003, 0.5, 0.98, 1.0 - 1e-12])
@pytest.mark.parametrize("eta", [-12.0, -0.3, 4.0])
def test_beta_densities_keep_their_digits(dispersion: float, y: float, eta: float) -> None:
    total = (1 - real(dispersion)) / real(dispersion)
    alpha, beta = (total / (1 + PRECISE.exp(-sign * real(eta))) for sign in (1, -1))
    g = PRECISE.loggamma
    expected = (alpha - 1) * PRECISE.log(real(y)) + (beta - 1) * PRECISE.log1p(-real(y))
    expected += g(alpha + beta) - g(alpha) - g(beta)
    data, values = Observations(np.array([y])), {"dispersion": np.array([dispersion])}
    found = BetaLikelihood().log_density(np.array([eta]), values, data)
    # Terms of this size are added.
    assert_allclose(found, float(expected), rtol=1e-12, atol=1e-14 * float(total) * (20.0 + abs(eta)) + 1e-13)
    less = BetaLikelihood().probability_of_less(np.array([eta]), values, data)
    assert_allclose(less, stats.beta.cdf(y, float(alpha), float(beta)), rtol=1e-9, atol=1e-14)


def observations(likelihood: Likelihood, noise: Any) -> tuple[Array, Observations]:
    rng = np.random.default_rng(3)
    eta = rng.normal(size=60) * 2.0
    if likelihood.per == "exposure":
        exposure = rng.uniform(0.1, 50.0, 60)
        return eta, Observations(rng.poisson(2.0 * exposure) / exposure, trials=exposure)
    if likelihood.counted:
        trials = rng.integers(1, 200, 60).astype(float)
        trials[:5] = 1.0
        share = rng.binomial(trials.astype(int), 0.3) / trials
        share[5:10] = rng.uniform(size=5)  # counts that are not whole
        share[10:12] = 0.0, 1.0
        return eta, Observations(share, trials=trials)
    if likelihood.name == "beta":
        return eta, Observations(np.append([1e-9, 0.5, 1.0 - 1e-9], rng.beta(3.0, 2.0, 57)))
    y = rng.normal(size=60) * 3.0
    y[0] = 1e3
    return eta, Observations(y, rng.uniform(0.3, 2.0, 60), NOISES[noise], resolution=0.1, visible=0.6)


CASES = [
    *product(
        [NormalLikelihood(), StudentTLikelihood(), StudentTLikelihood(nu=2.5)],
        ["scaled", "additive", "known", "auto"],
    ),
    (BinomialLikelihood(), "scaled"),
    (BetaBinomialLikelihood(), "scaled"),
    (BetaLikelihood(), "scaled"),
    (PoissonLikelihood(), "scaled"),
    (NegativeBinomialLikelihood(), "scaled"),
]


@pytest.mark.parametrize(("likelihood", "noise"), CASES)
@pytest.mark.parametrize("size", [0.02, 0.9, 3.0])
def test_derivatives_are_those_of_the_density(likelihood: Likelihood, noise: Any, size: float) -> None:
    eta, data = observations(likelihood, noise)
    parameters = likelihood.auxiliary(data.noise, data.visible, HalfNormal())
    point = np.array(
        [
            float(
                parameter.coordinate.of(
                    parameter.coordinate.lower
                    + np.array(0.3 * size if parameter.name == "dispersion" else size)
                )
            )
            for parameter in parameters
        ]
    )
    found = likelihood.derivatives(eta, point, data)

    def density(line: Array, coordinates: Array) -> Array:
        values = {
            parameter.name: parameter.coordinate.value(coordinates[i])
            for i, parameter in enumerate(parameters)
        }
        return likelihood.log_density(line, values, data)

    assert_allclose(found.value, density(eta, point), rtol=1e-12, atol=1e-12)
    steps = np.eye(1 + len(point))
    h = 1e-5 * np.append(1.0, np.maximum(np.abs(point), 1e-3))
    for j, direction in enumerate(steps):
        up, down = (
            (eta + sign * h[j] * direction[0], point + sign * h[j] * direction[1:]) for sign in (1.0, -1.0)
        )
        slope = (density(*up) - density(*down)) / (2.0 * h[j])
        scale = np.abs(found.value) * 1e-15 / h[j]
        assert (np.abs(slope - found.gradient[j]) <= 1e-7 * (1.0 + np.abs(slope)) + 100.0 * scale).all()
        bend = (likelihood.derivatives(*up, data).gradient - likelihood.derivatives(*down, data).gradient) / (
            2.0 * h[j]
        )
        assert_allclose(found.hessian[j], bend, rtol=1e-6, atol=1e-6 * np.abs(bend).max())
        assert_allclose(found.hessian[:, j], found.hessian[j])
    assert (found.curvature > 0.0).all()


def test_the_dispersion_has_derivatives_where_there_is_none() -> None:
    likelihood = BetaBinomialLikelihood()
    eta, data = observations(likelihood, "scaled")
    successes, failures = counts(data)
    found = likelihood.derivatives(eta, np.zeros(1), data)
    share = 1.0 / (1.0 + np.exp(-eta))
    # The odds' first derivative, by hand: sums of j / mu and its like.
    slope = 0.5 * (
        successes * (successes - 1.0) / share
        + failures * (failures - 1.0) / (1.0 - share)
        - data.trials * (data.trials - 1.0)
    )
    assert_allclose(found.gradient[1], 0.0)
    assert_allclose(found.hessian[1, 1], 2.0 * slope, rtol=1e-10, atol=1e-10)


COORDINATES = [Log(), Log(2.0), LogOdds(), FoldedLog(0.3), FoldedOdds(), FoldedRoot()]


@pytest.mark.parametrize("coordinate", COORDINATES, ids=str)
def test_coordinates_go_there_and_back(coordinate: Coordinate) -> None:
    values = coordinate.lower + np.array([1e-6, 0.1, 0.9])
    points = coordinate.of(values)
    assert_allclose(coordinate.value(points), values, rtol=1e-12)
    if coordinate.folded:
        assert_allclose(coordinate.value(-points), values, rtol=1e-12)
    slope = (coordinate.value(points * (1.0 + 1e-6)) - coordinate.value(points * (1.0 - 1e-6))) / (
        2e-6 * points
    )
    assert_allclose(np.exp(coordinate.log_slope(points)), slope, rtol=1e-8, atol=1e-11 * coordinate.lower)
    assert np.isfinite(coordinate.log_slope(np.zeros(1))).all()


@pytest.mark.parametrize("coordinate", COORDINATES, ids=str)
@pytest.mark.parametrize("vanishes", [False, True])
def test_samplers_get_coordinates_without_walls_and_cusps(coordinate: Coordinate, vanishes: bool) -> None:
    import pytensor.tensor as pt

    smooth = coordinate.for_sampler(vanishes_at_zero=vanishes)
    assert smooth.for_sampler(vanishes_at_zero=vanishes) == smooth
    assert smooth.folded == (isinstance(coordinate, FoldedLog) and not vanishes)
    points = np.array([-0.4, 0.7])
    value, log_slope = (pt.as_tensor(part) for part in smooth.graph(points, smooth.unit))
    assert_allclose(smooth.lower + value.eval(mode="FAST_COMPILE"), smooth.value(points), rtol=1e-14)
    assert_allclose(log_slope.eval(mode="FAST_COMPILE"), smooth.log_slope(points), rtol=1e-13)


@pytest.mark.parametrize(
    ("likelihood", "prior"),
    [
        (StudentTLikelihood(), HalfNormal()),
        (StudentTLikelihood(InverseGamma(3.0, 5.0)), InverseGamma()),
        (BetaBinomialLikelihood(), HalfNormal()),
        (BetaBinomialLikelihood(Beta(0.5, 2.0)), HalfNormal()),
        (BetaLikelihood(Beta(1.0, 4.0)), HalfNormal()),
        (NegativeBinomialLikelihood(HalfNormal(0.3)), HalfNormal()),
    ],
)
@pytest.mark.parametrize("noise", ["scaled", "additive"])
def test_priors_are_normalised_in_their_coordinates(likelihood: Likelihood, prior: Any, noise: Any) -> None:
    data = Observations(np.zeros(1), noise=NOISES[noise], visible=0.2)
    for parameter in likelihood.auxiliary(data.noise, data.visible, prior):
        lower, upper = (
            (0.0, 30.0 if parameter.name == "noise_scale" else 1e3)
            if parameter.coordinate.folded
            else (-30.0, 30.0)
        )
        pieces = (
            np.append(lower, np.geomspace(1e-3, upper, 12)) if lower == 0.0 else np.linspace(lower, upper, 12)
        )
        total = sum(
            integrate.quad(lambda c, p=parameter: np.exp(p.log_prior(np.array(c))), start, end)[0]
            for start, end in pairwise(pieces)
        )
        assert total == pytest.approx(1.0, abs=1e-6)


def test_the_new_priors_are_scipys() -> None:
    x = np.array([0.01, 0.4, 0.93])
    assert_allclose(Gamma(3.0, 0.5).log_density(10.0 * x), stats.gamma.logpdf(10.0 * x, 3.0, scale=2.0))
    assert_allclose(Gamma(1.0, 2.0).log_density(np.zeros(1)), np.log(2.0))
    assert_allclose(Beta(1.5, 9.0).log_density(x), stats.beta.logpdf(x, 1.5, 9.0))
    assert_allclose(Beta().log_density(np.array([0.0, 1.0])), 0.0, atol=1e-15)
    with pytest.raises(ValueError, match=r"role__alpha must be positive.*Beta\(1, 1\)"):
        Beta(alpha=0.0).check("role", 1)
    with pytest.raises(ValueError, match="give one number"):
        Beta(alpha=[1.0, 2.0]).check("role", 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="role__beta must be positive"):
        Gamma(beta=-1.0).check("role", 1)


def test_likelihoods_are_estimators() -> None:
    counted = {"binomial": "trials", "beta_binomial": "trials"}
    counted |= {"poisson": "exposure", "negative_binomial": "exposure"}
    assert set(LIKELIHOODS) == {"normal", "student_t", "beta", *counted}
    for name, likelihood in LIKELIHOODS.items():
        assert likelihood.name == name
        likelihood.check("likelihood")
        assert repr(clone(likelihood)) == f"{type(likelihood).__name__}()"
        assert likelihood.per == counted.get(name)
    nested = BetaBinomialLikelihood(Beta(1.0, 4.0)).set_params(dispersion_prior__beta=2.0)
    assert nested.dispersion_prior.beta == 2.0


@pytest.mark.parametrize(
    ("likelihood", "error", "message"),
    [
        (StudentTLikelihood(nu=0.0), ValueError, "likelihood__nu must be positive and finite"),
        (StudentTLikelihood(nu=np.inf), ValueError, "use 'normal'"),
        (StudentTLikelihood(nu="many"), TypeError, "likelihood__nu must be a number or a prior"),
        (StudentTLikelihood(nu=True), TypeError, "likelihood__nu must be a number or a prior"),
        (StudentTLikelihood(nu=[4.0]), TypeError, "likelihood__nu must be a number or a prior"),
        (StudentTLikelihood(nu=Normal()), TypeError, "likelihood__nu must be a prior such as"),
        (StudentTLikelihood(nu=Flat()), ValueError, "needs a prior that integrates to one"),
        (StudentTLikelihood(nu=Gamma(alpha=-1.0)), ValueError, "likelihood__nu__alpha must be positive"),
        (
            BetaBinomialLikelihood(HalfNormal()),
            TypeError,
            "likelihood__dispersion_prior must be a prior such as",
        ),  # type: ignore[arg-type]
        (BetaBinomialLikelihood(Beta(beta=0.0)), ValueError, "dispersion_prior__beta must be positive"),
        (BetaLikelihood(HalfNormal()), TypeError, "likelihood__dispersion_prior must be a prior such as"),  # type: ignore[arg-type]
        (
            NegativeBinomialLikelihood(Beta()),
            TypeError,
            "likelihood__dispersion_prior must be a prior such as",
        ),
        (
            NegativeBinomialLikelihood(HalfNormal(-1.0)),
            ValueError,
            "dispersion_prior__sigma must be positive",
        ),
    ],
)
def test_parameters_that_are_none_are_refused(likelihood: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        likelihood.check("likelihood")


def test_counts_are_whole_where_rounding_alone_keeps_them_from_it() -> None:
    n = np.arange(1.0, 3000.0)
    for k in (np.floor(n / 3.0), n, np.zeros_like(n)):
        successes, failures = counts(Observations(k / n, trials=n))
        assert (successes == k).all()
        assert (failures == n - k).all()
    successes, _ = counts(Observations(np.array([0.33]), trials=np.array([10.0])))
    assert_allclose(successes, 3.3)
