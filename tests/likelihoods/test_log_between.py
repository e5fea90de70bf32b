"""The probability that a target lies between two limits, against high precision, in either tail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BinomialLikelihood,
    Likelihood,
    NormalLikelihood,
    Observations,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.noise import NOISES

Array = NDArray[np.float64]

PRECISE = mpmath.mp.clone()
PRECISE.dps = 60

LIMITS = [
    (-np.inf, np.inf),
    (-np.inf, -37.0),
    (-40.0, -37.0),
    (-37.0001, -37.0),
    (36.9, np.inf),
    (-1.0, 2.0),
    (-1e-9, 1e-9),
    (-np.inf, 5.0),
    (-0.2, 30.0),
    (0.0, 1e-3),
    (-200.0, -150.0),
    (100.0, 100.0 + 1e-7),
    (1e9, 2e9),
]


def normal_at_most(z: Any) -> Any:
    return PRECISE.erfc(-z / PRECISE.sqrt(2)) / 2


def student_at_most(z: Any, nu: Any) -> Any:
    if z > 0:
        return 1 - student_at_most(-z, nu)
    return 0 if PRECISE.isinf(z) else PRECISE.betainc(nu / 2, 0.5, 0, nu / (nu + z * z), regularized=True) / 2


def log_difference(at_most: Callable[[Any], Any], lower: float, upper: float) -> float:
    low, high = PRECISE.mpf(lower), PRECISE.mpf(upper)
    if high > -low:
        low, high = -high, -low
    return float(PRECISE.log(at_most(high) - at_most(low)))


@pytest.mark.parametrize(("lower", "upper"), LIMITS)
@pytest.mark.parametrize("nu", [None, 2.01, 5.0, 60.0, 1000.0])
def test_noise_between_limits_keeps_its_digits(nu: float | None, lower: float, upper: float) -> None:
    likelihood = NormalLikelihood() if nu is None else StudentTLikelihood(nu=nu)
    data = Observations(np.zeros(1), noise=NOISES["known"])
    found = likelihood.log_between(np.zeros((2, 1)), {}, data, np.array([lower]), np.array([upper]))
    expected = log_difference(
        normal_at_most if nu is None else lambda z: student_at_most(z, PRECISE.mpf(nu)), lower, upper
    )
    # The log of 1e-300 is -700.
    assert_allclose(found, np.full((2, 1), expected), rtol=1e-13, atol=1e-11)


def test_limits_are_of_each_row_about_its_line_and_in_its_scale() -> None:
    rng = np.random.default_rng(0)
    eta, s = rng.normal(size=(3, 20)), np.array([[0.5], [1.0], [2.0]])
    lower, width = rng.normal(size=20), rng.uniform(0.1, 3.0, 20)
    data = Observations(np.zeros(20), rng.uniform(0.5, 2.0, 20), NOISES["additive"])
    scale = np.hypot(s, data.standard_error)
    unit = Observations(np.zeros(20), noise=NOISES["known"])
    for likelihood, values in (
        (NormalLikelihood(), {}),
        (StudentTLikelihood(), {"nu": np.array([[2.5], [6.0], [50.0]])}),
    ):
        found = likelihood.log_between(eta, {"noise_scale": s, **values}, data, lower, lower + width)
        ends = [(limit - eta) / scale for limit in (lower, lower + width)]
        for row in range(20):
            of = [end[:, row : row + 1] for end in ends]
            one = likelihood.log_between(np.zeros((3, 1)), values, unit.take(slice(0, 1)), *of)
            assert_allclose(found[:, row : row + 1], one, rtol=1e-10)


def log_sum_of_counts(eta: float, dispersion: float | None, n: int, first: int, last: int) -> float:
    mp = PRECISE
    p, q = 1 / (1 + mp.exp(-mp.mpf(eta))), 1 / (1 + mp.exp(mp.mpf(eta)))
    if dispersion is None:
        return float(mp.log(sum(mp.binomial(n, k) * p**k * q ** (n - k) for k in range(first, last + 1))))
    rho = mp.mpf(dispersion)
    total = (1 - rho) / rho
    alpha, beta, g = p * total, q * total, mp.loggamma
    constant = g(total) - g(alpha) - g(beta) - g(total + n)
    terms = (
        mp.binomial(n, k) * mp.exp(g(alpha + k) + g(beta + n - k) + constant) for k in range(first, last + 1)
    )
    return float(mp.log(sum(terms)))


@pytest.mark.parametrize(
    ("n", "first", "last"),
    [
        (1, 0, 0),
        (1, 1, 1),
        (10, 3, 7),
        (40, 0, 39),
        (40, 1, 40),
        (200, 150, 200),
        (200, 0, 3),
        (300, 100, 101),
        (30, 1, 29),
        (30, 0, 30),
    ],
)
@pytest.mark.parametrize("dispersion", [None, 1e-12, 1e-4, 0.05, 0.4, 1.0 - 1e-9])
def test_counts_between_limits_keep_their_digits(
    dispersion: float | None, n: int, first: int, last: int
) -> None:
    eta = np.array([-800.0, -30.0, -0.4, 2.0, 8.0, 50.0])[:, None]
    likelihood: Likelihood = BinomialLikelihood() if dispersion is None else BetaBinomialLikelihood()
    values = {} if dispersion is None else {"dispersion": np.full((6, 1), dispersion)}
    data = Observations(np.zeros(1), trials=np.array([float(n)]))
    lower = np.array([-np.inf if first == 0 else (first - 1) / n])
    upper = np.array([np.inf if last == n else last / n])
    found = likelihood.log_between(eta, values, data, lower, upper)
    expected = [log_sum_of_counts(float(line), dispersion, n, first, last) for line in eta[:, 0]]
    assert_allclose(found[:, 0], expected, rtol=1e-13, atol=1e-11)


def test_limits_between_counts_are_those_below() -> None:
    data = Observations(np.zeros(2), trials=np.array([10.0, 7.0]))
    eta = np.array([[0.3, -0.2]])
    for likelihood, values in (
        (BinomialLikelihood(), {}),
        (BetaBinomialLikelihood(), {"dispersion": np.array([[0.2]])}),
    ):
        lower, upper = np.array([0.3, 0.0]), np.array([0.69, 0.5])
        found = likelihood.log_between(eta, values, data, lower, upper)
        # 4 to 6 of 10 and 1 to 3 of 7, one by one.
        single = [
            np.logaddexp.reduce(
                [
                    likelihood.log_density(eta[:, [row]], values, Observations(np.array([k / n]), trials=n))
                    for k in counts
                ]
            )
            for row, (n, counts) in enumerate([(np.array([10.0]), (4, 5, 6)), (np.array([7.0]), (1, 2, 3))])
        ]
        assert_allclose(found, np.hstack(single), rtol=1e-11)
        assert (likelihood.log_between(eta, values, data, upper, upper) == -np.inf).all()


@pytest.mark.parametrize(
    "limits", [(0.2, 0.7), (-np.inf, 0.4), (0.4, np.inf), (-1.0, 0.5), (-np.inf, np.inf)]
)
@pytest.mark.parametrize(
    ("likelihood", "values"),
    [
        (NormalLikelihood(), {"noise_scale": 0.4}),
        (StudentTLikelihood(nu=3), {"noise_scale": 0.4}),
        (BinomialLikelihood(), {}),
        (BetaBinomialLikelihood(), {"dispersion": 0.2}),
    ],
)
def test_what_holds_of_any_likelihood_is_what_it_says_itself(
    likelihood: Likelihood, values: dict[str, float], limits: tuple[float, float]
) -> None:
    data = Observations(np.full(3, 0.5), trials=np.array([1.0, 10.0, 37.0]))
    eta = np.linspace(-2.0, 2.0, 15).reshape(5, 3)
    of = {name: np.full((5, 1), value) for name, value in values.items()}
    lower, upper = (np.full(3, limit) for limit in limits)
    found = Likelihood.log_between(likelihood, eta, of, data, lower, upper)
    expected = likelihood.log_between(eta, of, data, lower, upper)
    assert_allclose(np.exp(found), np.exp(expected), rtol=1e-12, atol=1e-14)
