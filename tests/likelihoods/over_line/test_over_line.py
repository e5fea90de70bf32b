"""The integral of a likelihood over a normal linear predictor, against sums of SciPy's densities on a fine grid."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import betaln, expit, gammaln, logit, logsumexp

from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BetaLikelihood,
    BinomialLikelihood,
    Likelihood,
    NegativeBinomialLikelihood,
    NormalLikelihood,
    Observations,
    PoissonLikelihood,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.over_line.graph import graph_over_line
from bayes_sklearn.likelihoods.over_line.integral import Places, log_density_over_line

Array = NDArray[np.float64]


def summed(log_density: Callable[[Array], Array], a: float, v: float) -> float:
    """Return the log of the integral, by 20,001 points where the integrand is within 40 nats of its largest value."""

    def integrand(eta: Array) -> Array:
        with np.errstate(all="ignore"):
            value = log_density(eta) + stats.norm.logpdf(eta, a, np.sqrt(v))
        return np.where(np.isfinite(value), value, -np.inf)

    low, high = a - 40.0 * np.sqrt(v) - 30.0, a + 40.0 * np.sqrt(v) + 30.0
    while True:
        eta = np.linspace(low, high, 20_001)
        value = integrand(eta)
        high_enough = np.flatnonzero(value > value.max() - 40.0)
        if len(high_enough) > 8_000:
            return float(logsumexp(value) + np.log(eta[1] - eta[0]))
        low, high = eta[max(high_enough[0] - 1, 0)], eta[min(high_enough[-1] + 1, 20_000)]


def log_choose(n: float, k: float) -> float:
    return float(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0))


def of_count(k: float, n: float, dispersion: float | None) -> Callable[[Array], Array]:
    def binomial(eta: Array) -> Array:
        return log_choose(n, k) - k * np.logaddexp(0.0, -eta) - (n - k) * np.logaddexp(0.0, eta)

    def beta_binomial(eta: Array) -> Array:
        total = 1.0 / dispersion - 1.0  # type: ignore[operator]
        alpha, beta = np.maximum(total * expit(eta), 1e-30), np.maximum(total * expit(-eta), 1e-30)
        return log_choose(n, k) + betaln(alpha + k, beta + n - k) - betaln(alpha, beta)

    return binomial if dispersion is None else beta_binomial


def of_events(k: float, exposure: float, dispersion: float | None) -> Callable[[Array], Array]:
    def log_density(eta: Array) -> Array:
        mean = exposure * np.exp(eta)
        if dispersion is None:
            return stats.poisson.logpmf(k, mean)
        return stats.nbinom.logpmf(k, 1.0 / dispersion, 1.0 / (1.0 + dispersion * mean))

    return log_density


def each_row(
    likelihood: Likelihood,
    mean: Array,
    variance: Array,
    values: dict[str, Array],
    data: Observations,
    places: Places | None = None,
) -> Array:
    """Return the package's answer where every row has values of its own."""
    answer = np.empty(len(mean))
    for i in range(len(mean)):
        row = slice(i, i + 1)
        own = {name: value[None, row] for name, value in values.items()}
        place = None if places is None else places.take(row)
        answer[i] = log_density_over_line(
            likelihood, mean[None, row], variance[None, row], own, data.take(row), place
        )[0, 0]
    return answer


def counted_rows(likelihood: Likelihood, n: int) -> tuple[Observations, dict[str, Array], Array, Array]:
    """Return rows of 1 to 100,000 trials, some without successes or failures, that their line's mean is off from."""
    rng = np.random.default_rng(5)
    trials, variance = np.rint(10.0 ** rng.uniform(0.0, 5.0, n)), 10.0 ** rng.uniform(-3.0, np.log10(4.0), n)
    if likelihood.per == "exposure":
        k, hours = (
            np.where(rng.random(n) < 0.2, 0.0, np.rint(10.0 ** rng.uniform(0.0, 6.0, n))),
            trials / 30.0,
        )
        width = np.where(rng.random(n) < 0.5, np.sqrt(variance), 1.0 / np.sqrt(k + 0.5))
        mean = np.log((k + 0.5) / hours) + rng.uniform(-8.0, 8.0, n) * width
        values = {"dispersion": 10.0 ** rng.uniform(-6.0, 1.0, n)} if likelihood.name != "poisson" else {}
        return Observations(k / hours, trials=hours), values, mean, variance
    share = np.where(rng.random(n) < 0.6, expit(rng.normal(0.0, 2.0, n)), rng.integers(0, 2, n))
    successes = np.rint(share * trials)
    up, down = successes + 0.5, trials - successes + 0.5
    width = np.where(rng.random(n) < 0.5, np.sqrt(variance), np.sqrt(1.0 / up + 1.0 / down))
    mean = np.log(up / down) + rng.uniform(-8.0, 8.0, n) * width
    values = {"dispersion": 10.0 ** rng.uniform(-6.0, np.log10(0.5), n)}
    if likelihood.name == "binomial":
        values = {}
    return Observations(successes / trials, trials=trials), values, mean, variance


@pytest.mark.parametrize(
    "likelihood",
    [BinomialLikelihood(), BetaBinomialLikelihood(), PoissonLikelihood(), NegativeBinomialLikelihood()],
    ids=lambda likelihood: likelihood.name,
)
@pytest.mark.parametrize("away", [False, True])
def test_counts_are_integrated_near_their_places_and_away_from_them(
    likelihood: Likelihood, away: bool
) -> None:
    data, values, mean, variance = counted_rows(likelihood, 250)
    places = Places.of(likelihood, mean, variance, values, data)
    if away:
        rng = np.random.default_rng(6)
        mean = mean + rng.uniform(-5.0, 5.0, len(mean)) * np.sqrt(variance)
        variance = variance * 10.0 ** rng.uniform(-np.log10(20.0), np.log10(5.0), len(mean))
    found = each_row(likelihood, mean, variance, values, data, places)
    trials = np.asarray(data.trials)
    dispersion = values.get("dispersion", np.full(len(mean), None))
    of = of_events if likelihood.per == "exposure" else of_count
    expected = [
        summed(of(*of_row), a, v)
        for *of_row, a, v in zip(np.rint(data.y * trials), trials, dispersion, mean, variance, strict=True)
    ]
    assert_allclose(found, expected, rtol=0.0, atol=1e-4 if away else 1e-5)


def test_t_noise_is_integrated() -> None:
    rng = np.random.default_rng(7)
    n = 120
    variance, nu = 10.0 ** rng.uniform(-3.0, np.log10(4.0), n), 2.1 * (100.0 / 2.1) ** rng.random(n)
    scale = np.sqrt(variance) * 10.0 ** rng.uniform(-2.0, np.log10(3.0), n)
    mean = rng.uniform(-8.0, 8.0, n) * np.sqrt(variance + np.square(scale))
    values = {"nu": nu, "noise_scale": scale}
    found = each_row(StudentTLikelihood(), mean, variance, values, Observations(np.zeros(n)))
    expected = [
        summed(lambda eta, i=i: stats.t.logpdf(-eta, nu[i], scale=scale[i]), mean[i], variance[i])  # type: ignore[misc]
        for i in range(n)
    ]
    assert_allclose(found, expected, rtol=0.0, atol=1e-5)


def test_proportions_are_integrated() -> None:
    rng = np.random.default_rng(7)
    n = 120
    variance, rho = 10.0 ** rng.uniform(-3.0, np.log10(4.0), n), 10.0 ** rng.uniform(-5.0, -0.3, n)
    mean = rng.normal(0.0, 1.5, n)
    line = mean + rng.normal(size=n) * np.sqrt(variance)
    total = 1.0 / rho - 1.0
    y = np.clip(rng.beta(total * expit(line), total * expit(-line)), 1e-6, 1.0 - 1e-6)
    found = each_row(BetaLikelihood(), mean, variance, {"dispersion": rho}, Observations(y))

    def of(i: int) -> Callable[[Array], Array]:
        return lambda eta: stats.beta.logpdf(y[i], total[i] * expit(eta), total[i] * expit(-eta))

    expected = [summed(of(i), mean[i], variance[i]) for i in range(n)]
    assert_allclose(found, expected, rtol=0.0, atol=1e-5)


def test_noise_that_is_correlated_with_the_line() -> None:
    rng = np.random.default_rng(8)
    n, nu = 30, 3.5
    y, mean, variance = rng.normal(0.0, 2.0, n), rng.normal(size=n), rng.uniform(0.1, 1.0, n)
    off, own = rng.normal(0.0, 0.4, n), rng.uniform(0.1, 0.5, n)
    with_line = rng.uniform(-0.8, 0.8, n) * np.sqrt(variance * own)
    found = log_density_over_line(
        StudentTLikelihood(nu=nu),
        mean[None],
        variance[None],
        {"noise_scale": np.ones((1, 1))},
        Observations(y),
        noise=(off, with_line, own),
    )[0]
    # Noise of precision u over its own, u of a gamma distribution.
    u = np.exp(np.linspace(-20.0, 4.0, 8_001))[:, None]
    log_weight = stats.gamma.logpdf(u, 0.5 * nu, scale=2.0 / nu) + np.log(u) + np.log(24.0 / 8_000)
    spread = variance + 2.0 * with_line / np.sqrt(u) + own / u
    each = stats.norm.logpdf(y, mean + off / np.sqrt(u), np.sqrt(spread))
    assert_allclose(found, logsumexp(log_weight + each, axis=0), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(
    "likelihood",
    [BinomialLikelihood(), BetaBinomialLikelihood(), NormalLikelihood(), StudentTLikelihood(nu=3)],
    ids=lambda likelihood: likelihood.name,
)
@pytest.mark.parametrize("variance", [0.0, 1e-300, 1e-12])
def test_a_line_without_variance_is_itself(likelihood: Likelihood, variance: float) -> None:
    trials = np.array([1.0, 7.0, 300.0, 20.0, 1e5])
    y = np.array([0.0, 1.0, 0.4, 0.0, 0.3])
    data = Observations(y, trials=trials) if likelihood.counted else Observations(y)
    values = {"dispersion": np.array([[0.01], [0.2]]), "noise_scale": np.array([[0.3], [2.0]])}
    mean = np.array([[0.5, -2.0, 3.0, 1.0, -0.8], [-30.0, 60.0, 0.0, 5.0, -1.0]])
    found = log_density_over_line(likelihood, mean, np.full(mean.shape, variance), values, data)
    assert_allclose(found, likelihood.log_density(mean, values, data), rtol=1e-9, atol=1e-5)


def test_counts_without_number_are_normal() -> None:
    trials, y = 1e9, np.array([0.01, 0.3, 0.9])
    mean, variance = logit(y) + np.array([[0.5], [-1.0]]), np.full((2, 3), 0.3)
    found = log_density_over_line(
        BinomialLikelihood(), mean, variance, {}, Observations(y, trials=np.full(3, trials))
    )
    information = trials * y * (1.0 - y)
    expected = stats.norm.logpdf(logit(y), mean, np.sqrt(variance + 1.0 / information)) - np.log(information)
    assert_allclose(found, expected, rtol=0.0, atol=1e-5)


class OwnNormal(NormalLikelihood):
    """As users write one, of whose kind nothing is known."""

    has_noise_scale = False


@pytest.mark.parametrize("far", [0.0, 1e3, 1e6])
def test_any_log_density_will_do_however_small_it_is(far: float) -> None:
    rng = np.random.default_rng(9)
    data = Observations(rng.normal(size=40) + far)
    mean, variance = rng.normal(size=(3, 40)), rng.uniform(0.01, 4.0, (3, 40))
    values = {"noise_scale": np.array([[0.1], [0.5], [2.0]])}
    expected = stats.norm.logpdf(data.y, mean, np.sqrt(variance + np.square(values["noise_scale"])))
    for likelihood in (OwnNormal(), NormalLikelihood()):
        found = log_density_over_line(likelihood, mean, variance, values, data)
        assert_allclose(found, expected, rtol=1e-9, atol=1e-6)


def test_points_and_rows_may_be_taken_together() -> None:
    likelihood = BetaBinomialLikelihood()
    data, _, mean, variance = counted_rows(likelihood, 60)
    rng = np.random.default_rng(10)
    means = mean + rng.normal(size=(400, 60)) * np.sqrt(variance)
    variances = variance * np.exp(rng.normal(0.0, 0.3, (400, 60)))
    dispersion = np.exp(rng.uniform(-4.0, -2.0, (400, 1)))
    together = log_density_over_line(likelihood, means, variances, {"dispersion": dispersion}, data)
    for g in (0, 17, 399):
        one = {"dispersion": np.full(60, dispersion[g, 0])}
        assert_allclose(
            together[g], each_row(likelihood, means[g], variances[g], one, data), rtol=0.0, atol=5e-5
        )


@pytest.mark.parametrize(
    ("likelihood", "at"),
    [
        (BinomialLikelihood(), {}),
        (BetaBinomialLikelihood(), {"dispersion": 0.03}),
        (PoissonLikelihood(), {}),
        (NegativeBinomialLikelihood(), {"dispersion": 0.3}),
        (StudentTLikelihood(), {"noise_scale": 0.4, "nu": 2.5}),
        (StudentTLikelihood(nu=30), {"noise_scale": 0.1}),
        (NormalLikelihood(), {"noise_scale": 0.4}),
        (OwnNormal(), {"noise_scale": 0.4}),
    ],
)
def test_in_pytensor_it_has_the_same_values_and_slopes(likelihood: Likelihood, at: dict[str, float]) -> None:
    import pytensor
    import pytensor.tensor as pt

    rng = np.random.default_rng(11)
    n = 30
    data, _, mean, variance = counted_rows(likelihood if likelihood.counted else BinomialLikelihood(), n)
    if not likelihood.counted:
        data = Observations(mean + rng.standard_t(3, n))
    start = {name: np.float64(value) for name, value in at.items()}
    places = Places.of(likelihood, mean, variance, start, data)
    line, spread = pt.dvectors("line", "spread")
    parameters = {name: pt.dscalar(name) for name in at}
    graph = graph_over_line(likelihood, line, spread, parameters, data, places)
    arguments: list[Any] = [line, spread, *parameters.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function = pytensor.function(
            arguments, [graph, *pytensor.grad(graph.sum(), arguments)], mode="FAST_COMPILE"
        )

    def plain(of_line: Array, of_spread: Array, *of_values: float) -> Array:
        values = {name: np.full((1, 1), value) for name, value in zip(at, of_values, strict=True)}
        return log_density_over_line(likelihood, of_line[None], of_spread[None], values, data, places)[0]

    first = [mean, variance, *at.values()]
    second = [mean + 0.3 * np.sqrt(variance), 1.2 * variance, *(1.2 * value for value in at.values())]
    before, (after, *slopes) = function(*first)[0], function(*second)
    # Draws don't tell errors so small: they are no slopes, and of a few rows.
    assert_allclose(after - before, plain(*second) - plain(*first), rtol=1e-6, atol=1.5e-4)
    for j, slope in enumerate(slopes):
        step = 1e-3 * np.asarray(second[j]) if j else 1e-3 * np.sqrt(variance)
        up, down = list(second), list(second)
        up[j], down[j] = second[j] + step, second[j] - step
        change = plain(*up) - plain(*down)
        expected = (change if j < 2 else change.sum()) / (2.0 * step)
        assert_allclose(slope * step, expected * step, rtol=1e-4, atol=1e-6 if j < 2 else 1e-5)
