"""Selected rows beside what else may be known of a target: exposures, limits, stated errors that are judged."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Normal, audit_errors
from bayes_sklearn.validation import simulation_based_calibration
from bayes_sklearn.validation.standardized_rows import _of_population, _Stated

Array = NDArray[np.float64]

PRIORS: dict[str, Any] = {
    "coef_prior": Normal(0.0, 1.0),
    "intercept_prior": Normal(0.0, 2.0),
    "standardize": False,
    "random_state": 0,
}


def durations(n: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Return rows that entered above -0.5, of which those above 1.5 are known to be that large alone."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=20 * n)
    y = 0.3 + 0.8 * x + rng.normal(size=20 * n)
    kept = np.flatnonzero(y > -0.5)[:n]
    return x[kept, None], np.minimum(y[kept], 1.5), (y[kept] > 1.5).astype(float)


def events(n: int, least: int = 0, seed: int = 1) -> tuple[Array, Array, Array]:
    """Return rows with more events than so many, and what they were counted over."""
    rng = np.random.default_rng(seed)
    x, exposure = rng.normal(size=20 * n), rng.uniform(0.5, 6.0, 20 * n)
    y = rng.poisson(exposure * np.exp(-0.5 + 0.7 * x)).astype(float)
    kept = np.flatnonzero(y > least)[:n]
    return x[kept, None], y[kept], exposure[kept]


def on_a_grid(log_likelihood: Any) -> tuple[Array, Array]:
    """Return posterior means and standard deviations of intercept and slope, by summation over a grid."""
    a, b = np.meshgrid(np.linspace(-2.5, 2.5, 201), np.linspace(-1.5, 2.5, 201), indexing="ij")
    logs = stats.norm.logpdf(a, 0.0, 2.0) + stats.norm.logpdf(b)
    logs = logs + log_likelihood(a[..., None], b[..., None]).sum(axis=-1)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = np.array([(weights * a).sum(), (weights * b).sum()])
    return mean, np.sqrt([(weights * (a - mean[0]) ** 2).sum(), (weights * (b - mean[1]) ** 2).sum()])


def assert_is(model: Regressor, mean: Array, sd: Array) -> None:
    """Hold a fit against a grid: it is worth thousands of draws."""
    assert model.inference_ == "importance"
    found = model.summary().iloc[:2]
    assert_allclose(found["mean"], mean, atol=0.06 * sd.min())
    assert_allclose(found["sd"], sd, rtol=0.05)


def test_late_entry_and_readings_that_ended_early_are_one_likelihood() -> None:
    X, y, censored = durations(40)
    model = Regressor(noise="known", truncation=(-0.5, None), **PRIORS)
    model.fit(X, y, y_err=1.0, y_censored=censored)

    def log_likelihood(a: Array, b: Array) -> Any:
        line = a + b * X[:, 0]
        seen = np.where(censored, stats.norm.logsf(y - line), stats.norm.logpdf(y - line))
        return seen - stats.norm.logsf(-0.5 - line)

    assert_is(model, *on_a_grid(log_likelihood))
    transforms = model.loo_pit(X, y, y_err=1.0, y_censored=censored)
    assert stats.kstest(transforms, "uniform").pvalue > 1e-3
    # What is known of a row beyond the limits is that it lies beyond both.
    below = model.fit(X[:5], np.full(5, 0.2), y_err=1.0, y_censored=np.array([-1.0, 0.0, 0.0, 0.0, 0.0]))
    between = Regressor(noise="known", truncation=(-0.5, None), **PRIORS)
    lower = np.array([-0.5, 0.2, 0.2, 0.2, 0.2])
    between.fit(X[:5], lower, y_err=1.0, y_upper=np.array([0.2, *[np.nan] * 4]))
    assert_allclose(below.coef_, between.coef_, rtol=1e-4)


@pytest.mark.parametrize("least", [0, 2])
def test_limits_of_events_over_exposures_are_of_their_numbers(least: int) -> None:
    X, y, exposure = events(150, least)
    model = Regressor(likelihood="poisson", truncation=(least, None), **PRIORS)
    model.fit(X, y, exposure=exposure)

    def log_likelihood(a: Array, b: Array) -> Any:
        rate = exposure * np.exp(a + b * X[:, 0])
        return stats.poisson.logpmf(y, rate) - stats.poisson.logsf(least, rate)

    assert_is(model, *on_a_grid(log_likelihood))
    transforms = model.loo_pit(X, y, exposure=exposure)
    assert transforms.mean() == pytest.approx(0.5, abs=4.0 / np.sqrt(12.0 * len(y)))
    of_table = np.asarray(model.to_arviz(X, y, exposure=exposure).posterior_predictive["y"])
    assert of_table.min() > least
    with pytest.raises(ValueError, match="is not between the limits"):
        model.fit(X, y - y.min(), exposure=exposure)
    # Events of which no more is known than that there were more than so many.
    many = (y > least + 1).astype(float)
    model.fit(X, np.minimum(y, least + 1), exposure=exposure, y_censored=many)

    def of_limits(a: Array, b: Array) -> Any:
        rate = exposure * np.exp(a + b * X[:, 0])
        seen = np.where(many, stats.poisson.logsf(least + 1, rate), stats.poisson.logpmf(least + 1, rate))
        return seen - stats.poisson.logsf(least, rate)

    assert_is(model, *on_a_grid(of_limits))


@pytest.mark.parametrize("likelihood", ["normal", "poisson"])
@pytest.mark.parametrize(
    "other", [{"X_err": 1e-3}, pytest.param({"inference": "nuts"}, marks=pytest.mark.thorough)]
)
def test_other_ways_have_the_same_posterior(likelihood: str, other: dict[str, Any]) -> None:
    """Features with errors too small to matter, under a noise that is learned; and NUTS."""
    if likelihood == "normal":
        X, y, censored = durations(150)
        given: dict[str, Any] = {"y_censored": censored}
        settings: dict[str, Any] = {"truncation": (-0.5, None)}
    else:
        X, y, exposure = events(150)
        given, settings = {"exposure": exposure}, {"truncation": (0, None), "likelihood": "poisson"}
    wanted = Regressor(**settings, **PRIORS).fit(X, y, **given).summary().iloc[:2]
    settings |= {name: value for name, value in other.items() if name == "inference"}
    given |= {name: value for name, value in other.items() if name == "X_err"}
    found = Regressor(**settings, **PRIORS).fit(X, y, **given).summary().iloc[:2]
    # Of 1,000 independent draws at least.
    assert (np.abs(found["mean"] - wanted["mean"]) < 0.15 * wanted["sd"]).all()
    assert_allclose(found["sd"], wanted["sd"], rtol=0.15)


@pytest.mark.parametrize("kind", ["limits", pytest.param("exposures, noisy", marks=pytest.mark.thorough)])
def test_true_values_rank_evenly(kind: str) -> None:
    if kind == "limits":
        X, y, censored = durations(40, seed=2)
        model = Regressor(noise="known", truncation=(-0.5, None), **PRIORS)
        given: dict[str, Any] = {"y_err": 1.0, "y_censored": censored}
    else:
        X, y, exposure = events(40, seed=3)
        priors = {**PRIORS, "coef_prior": Normal(0.0, 0.5), "intercept_prior": Normal(0.0, 0.5)}
        model = Regressor(likelihood="poisson", truncation=(0, None), **priors)
        given = {"exposure": exposure, "X_err": 0.5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # limits that say nothing of some simulated tables
        found = simulation_based_calibration(model, X, y, n_simulations=100, random_state=0, **given)
    assert found.p_value > 1e-3


def test_errors_of_new_rows_that_were_selected_are_judged() -> None:
    """Right errors pass at about the stated rate, half of the right ones fail."""
    passed = {1.0: 0, 2.0: 0}
    for seed in range(8):
        rng = np.random.default_rng([seed, 3])
        X, error = rng.normal(size=(2500, 2)), rng.uniform(0.5, 1.5, 2500)
        y = X @ [1.0, -0.5] + error * rng.normal(size=2500)
        kept = np.flatnonzero(y > 0.5)[:500]
        for factor in passed:
            fitted, new, stated = kept[:200], kept[200:], error / factor
            model = Regressor(noise="scaled", truncation=(0.5, None), random_state=0)
            model.fit(X[fitted], y[fitted], y_err=stated[fitted])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                audit = audit_errors(model, X[new], y[new], y_err=stated[new], held_out=True)
            passed[factor] += audit.verdict == "about right"
            if factor == 1.0 and seed == 0:
                assert audit.coverage > 0.9
                assert audit.pit_error < 0.1
    # At a rate of 5% of false alarms four or more of eight have a probability of 4e-4.
    assert passed[1.0] > 4
    assert passed[2.0] == 0


def test_selected_counts_are_judged_as_those_of_the_population() -> None:
    rng = np.random.default_rng(4)
    X, trials = rng.normal(size=(3000, 2)), rng.integers(3, 40, 3000).astype(float)
    y = rng.binomial(trials.astype(int), 1.0 / (1.0 + np.exp(-X @ [1.0, -0.5]))) / trials
    kept = np.flatnonzero(y > 0.3)
    fitted, new = kept[:500], kept[500:]
    model = Regressor(likelihood="binomial", weight_type="counts", truncation=(0.3, None), random_state=0)
    model.fit(X[fitted], y[fitted], trials[fitted])
    audit = audit_errors(model, X[new], y[new], trials[new], held_out=True)
    assert audit.verdict == "about right"
    # Limits between whole counts: taken to the nearest one they give 1.2.
    assert audit.dispersion == pytest.approx(1.0, abs=5.0 * np.sqrt(2.0 / len(new)))
    with pytest.raises(ValueError, match="held_out=True"):
        audit_errors(model, X[fitted], y[fitted], trials[fitted])


def test_what_goes_with_no_selection_is_refused_by_name() -> None:
    X, y, _ = durations(20)
    model = Regressor(noise="known", truncation=(-0.5, None), **PRIORS)
    with pytest.raises(ValueError, match=r"of 1 rows y_censored .* says that y lies outside, such as row 3"):
        model.fit(
            X,
            np.where(np.arange(20) == 3, -0.5, y),
            y_err=1.0,
            y_censored=np.where(np.arange(20) == 3, -1, 0),
        )
    model.set_params(missing="model")
    with pytest.raises(ValueError, match="a y that is known in every row"):
        model.fit(X, np.where(np.arange(20) == 3, np.nan, y), y_err=1.0, X_err=0.1)


def test_rows_far_beyond_what_is_expected_keep_their_places() -> None:
    """Most of the population lies below the limit: its distribution function is one there but for rounding."""
    stated = object.__new__(_Stated)
    stated.__dict__.update(
        mean=np.zeros(3), divisor=np.ones(3), sign=np.ones(3), noise=stats.norm(), added=True, rows=None
    )
    y = np.array([10.01, 10.1, 10.5])
    expected = stats.norm.isf(np.exp(stats.norm.logsf(y) - stats.norm.logsf(10.0)))
    assert_allclose(_of_population((10.0, np.inf), y, stated), expected, rtol=1e-9)
