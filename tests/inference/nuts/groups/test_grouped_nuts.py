"""Draws with effects of groups, beside the exact engine and integrals by SciPy."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import skops.io
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

from bayes_sklearn import Normal
from bayes_sklearn.persistence import TRUSTED_TYPES

from plain import Regressor

Array = NDArray[np.float64]

# Differences of more Monte Carlo errors than that do not come about by chance.
Z_BOUND = 5.0


def table(slopes: bool = True) -> tuple[pd.DataFrame, Array]:
    rng = np.random.default_rng(4)
    groups, n = 9, 72
    g = rng.permutation(np.arange(n) % groups)
    x = rng.normal(size=n) * 3.0 + 50.0
    effects, of_x = rng.normal(0.0, 4.0, groups), rng.normal(0.0, 0.5, groups)
    y = 120.0 + 0.7 * (x - 50.0) + effects[g] + slopes * of_x[g] * (x - 50.0) + 2.0 * rng.normal(size=n)
    return pd.DataFrame({"x": x, "clinic": np.array(list("abcdefghi"))[g]}), y


@pytest.fixture(scope="module")
def fits() -> dict[str, Regressor]:
    """The same model by the sampler and by the exact engine."""
    X, y = table()
    return {
        engine: Regressor(
            group_column="clinic", group_slopes="x", coef_prior=Normal(), inference=engine, random_state=2
        ).fit(X, y)
        for engine in ("nuts", "exact")
    }


def new_rows() -> pd.DataFrame:
    return pd.DataFrame({"x": [46.0, 50.0, 57.0, 46.0, 57.0], "clinic": ["a", "e", "a", "new", "new"]})


def test_draws_of_normal_noise_agree_with_the_exact_engine(fits: dict[str, Regressor]) -> None:
    sampled, exact = fits["nuts"], fits["exact"]
    found, expected = sampled.summary(), exact.summary()
    assert list(found.index) == list(expected.index)
    assert found["ess_bulk"].min() > 1000.0
    error = expected["sd"] / np.sqrt(found["ess_bulk"])
    assert np.abs((found["mean"] - expected["mean"]) / error).max() < Z_BOUND
    assert_allclose(found["sd"], expected["sd"], rtol=0.12)
    for end in ("lower_95%", "upper_95%"):
        assert_allclose((found[end] - expected[end]) / expected["sd"], 0.0, atol=0.3)
    assert_allclose(sampled.group_std_, exact.group_std_, rtol=0.05)
    assert list(sampled.group_std_.index) == list(exact.group_std_.index)
    effects, of_exact = sampled.group_effects_, exact.group_effects_
    assert list(effects.index) == list(of_exact.index)
    away = (effects - of_exact).div(of_exact["sd"], axis=0)
    assert np.abs(away["mean"]).max() < 0.1
    assert_allclose(effects["sd"], of_exact["sd"], rtol=0.1)
    assert np.abs(away[["lower_95%", "upper_95%"]]).to_numpy().max() < 0.3


@pytest.mark.parametrize("include_noise", [True, False])
def test_predictions_of_known_and_new_groups_agree_with_the_exact_engine(
    fits: dict[str, Regressor], include_noise: bool
) -> None:
    X = new_rows()
    found, expected = (
        fits[engine].predict_distribution(X, include_noise=include_noise) for engine in ("nuts", "exact")
    )
    sd = expected.std()
    assert_allclose((found.mean() - expected.mean()) / sd, 0.0, atol=0.1)
    assert_allclose(found.std(), sd, rtol=0.08)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    for level in levels:
        assert_allclose((found.ppf(level) - expected.ppf(level)) / sd, 0.0, atol=0.25)
    assert_allclose(found.cdf(expected.mean() + 0.3), expected.cdf(expected.mean() + 0.3), atol=0.05)
    assert_allclose(found.crps(expected.mean()), expected.crps(expected.mean()), rtol=0.1)
    scale = np.outer(sd, sd)
    assert_allclose(found.covariance() / scale, expected.covariance() / scale, atol=0.08)
    drawn = found.sample(4000, random_state=1)
    assert_allclose(np.cov(drawn) / scale, expected.covariance() / scale, atol=0.15)
    parts = found.variance_parts
    assert_allclose(np.sum(list(parts.values()), axis=0), found.var(), rtol=1e-10)
    assert_allclose(parts["groups"][:3], 0.0)
    assert_allclose(parts["groups"][3:], expected.variance_parts["groups"][3:], rtol=0.12)
    # Rows together are what they are alone.
    alone = [
        fits["nuts"].predict_distribution(X.iloc[[i]], include_noise=include_noise) for i in range(len(X))
    ]
    assert_allclose(found.mean(), [one.mean()[0] for one in alone], rtol=1e-10)
    assert_allclose(found.ppf(0.9), [one.ppf(0.9)[0] for one in alone], rtol=1e-6)


def test_log_likelihoods_of_draws_have_the_effects(fits: dict[str, Regressor]) -> None:
    (X, y), model = table(), fits["nuts"]
    data = model.to_arviz(X, y)
    posterior = {name: np.asarray(data.posterior[name]) for name in data.posterior.data_vars}
    assert {"effect_clinic", "effect_clinic_x", "group_std_clinic", "group_std_clinic_x"} <= posterior.keys()
    g = np.searchsorted(np.asarray(data.posterior["clinic"]), X["clinic"])
    x = X["x"].to_numpy()
    line = posterior["intercept"][..., None] + posterior["coef"] * x + posterior["effect_clinic"][..., g]
    line = line + posterior["effect_clinic_x"][..., g] * (x - x.mean())
    expected = stats.norm.logpdf(y, line, posterior["sigma"][..., None])
    assert_allclose(np.asarray(data.log_likelihood["y"]), expected, rtol=1e-8)
    assert_allclose(
        posterior["effect_clinic"].mean(axis=(0, 1)), model.group_effects_["mean"].to_numpy()[:9], rtol=1e-8
    )
    assert_allclose(posterior["group_std_clinic_x"].mean(), model.group_std_.iloc[1], rtol=1e-8)


@pytest.mark.filterwarnings("ignore:Leave-one-out is not to be trusted")
def test_rows_left_out_agree_with_the_exact_engine(fits: dict[str, Regressor]) -> None:
    X, y = table()
    found, expected = (fits[engine].loo(X, y).loo_i for engine in ("nuts", "exact"))
    # Draws are weighted anew, which a row that says much of its group's slope makes inexact.
    assert np.abs(np.asarray(found) - np.asarray(expected)).max() < 0.3
    assert np.abs(np.mean(np.asarray(found) - np.asarray(expected))) < 0.02
    pit, of_exact = (fits[engine].loo_pit(X, y) for engine in ("nuts", "exact"))
    assert np.abs(pit - of_exact).max() < 0.06


@pytest.mark.parametrize("kept", [pickle.dumps, skops.io.dumps], ids=["pickle", "skops"])
def test_draws_of_groups_are_kept_in_files(fits: dict[str, Regressor], kept: Any) -> None:
    model, X = fits["nuts"], new_rows()
    data = kept(model)
    read = pickle.loads(data) if kept is pickle.dumps else skops.io.loads(data, trusted=TRUSTED_TYPES)
    assert_allclose(read.predict_interval(X), model.predict_interval(X), rtol=0.0, atol=0.0)
    pd.testing.assert_frame_equal(read.group_effects_, model.group_effects_)


class Integrated(NamedTuple):
    """Posterior of groups' intercepts by sums over lattices."""

    intercept: tuple[float, float]
    """Mean and standard deviation."""
    scale: Array
    """Quantiles of 10, 50 and 90%."""
    effects: Array
    """(J, 2) means and standard deviations."""


def integrated(
    log_likelihoods: list[Callable[[Array], Array]], intercepts: Array, scales: Array, prior: Any
) -> Integrated:
    """Sum over the intercept, flat logs of the standard deviation, HalfStudentT(3), and each group's effect."""
    z = np.linspace(-9.0, 9.0, 1801)
    log_z = stats.norm.logpdf(z) + np.log(z[1] - z[0])
    log_density = prior(intercepts)[:, None] + stats.t(3.0).logpdf(scales) + np.log(scales)
    moments = np.zeros((len(log_likelihoods), 2, len(intercepts), len(scales)))
    for j, log_likelihood in enumerate(log_likelihoods):
        for i, scale in enumerate(scales):
            of_z = log_likelihood(intercepts[:, None] + scale * z) + log_z
            total = logsumexp(of_z, axis=1)
            log_density[:, i] += total
            moments[j, :, :, i] = [np.exp(of_z - total[:, None]) @ (scale * z) ** k for k in (1, 2)]
    mass = np.exp(log_density - log_density.max())
    mass /= mass.sum()
    assert max(mass[[0, -1]].sum(), mass[:, [0, -1]].sum()) < 1e-4  # the lattice holds it
    of_scale, of_intercept = mass.sum(axis=0), mass.sum(axis=1)
    mean = float(of_intercept @ intercepts)
    below = np.cumsum(of_scale) - 0.5 * of_scale
    effects = (moments * mass).sum(axis=(2, 3))
    return Integrated(
        (mean, float(np.sqrt(of_intercept @ (intercepts - mean) ** 2))),
        np.exp(np.interp([0.1, 0.5, 0.9], below, np.log(scales))),
        np.column_stack([effects[:, 0], np.sqrt(effects[:, 1] - effects[:, 0] ** 2)]),
    )


def assert_agrees(model: Regressor, expected: Integrated) -> None:
    found = model.summary(coverage=0.8)
    sd = expected.intercept[1]
    assert found["ess_bulk"].min() > 800.0
    assert abs(found["mean"]["intercept"] - expected.intercept[0]) < 0.12 * sd
    assert_allclose(found["sd"]["intercept"], sd, rtol=0.15)
    quantiles = found.loc["group_std[g]", ["lower_80%", "upper_80%"]]
    assert_allclose(quantiles.astype(float), expected.scale[[0, 2]], rtol=0.12)
    effects = model.group_effects_
    assert_allclose((effects["mean"] - expected.effects[:, 0]) / expected.effects[:, 1], 0.0, atol=0.12)
    assert_allclose(effects["sd"], expected.effects[:, 1], rtol=0.15)


EVENTS = pd.DataFrame({"g": list("aabbccc"), "hours": [2.0, 1.0, 2.0, 2.0, 0.5, 1.0, 1.0]})
NUMBERS = np.array([6.0, 4.0, 21.0, 18.0, 1.0, 0.0, 2.0])


@pytest.fixture(scope="module")
def events() -> Regressor:
    return Regressor(
        group_column="g",
        likelihood="poisson",
        exposure_column="hours",
        intercept_prior=Normal(1.0, 1.5),
        standardize=False,
        random_state=0,
    ).fit(EVENTS, NUMBERS)


def test_events_in_groups_agree_with_integration(events: Regressor) -> None:
    assert events.inference_ == "nuts"
    logs = [
        lambda eta, own=EVENTS["g"] == label: (
            NUMBERS[own].sum() * eta - EVENTS["hours"][own].sum() * np.exp(np.minimum(eta, 700.0))
        )
        for label in "abc"
    ]
    expected = integrated(
        logs, np.linspace(-6.0, 8.0, 141), np.exp(np.linspace(-9.0, 5.0, 141)), stats.norm(1.0, 1.5).logpdf
    )
    assert_agrees(events, expected)


def test_events_of_a_new_group_have_its_deviation(events: Regressor) -> None:
    """Of counts, given draws of intercept and standard deviation: sums over a lattice of the new group's effect."""
    X = pd.DataFrame({"g": ["b", "new", "new", "other"], "hours": [1.0, 1.0, 2.0, 1.0]})
    found = events.predict_distribution(X)
    posterior = events.to_arviz().posterior
    draws = {name: np.asarray(posterior[name]).reshape(4000, -1) for name in posterior.data_vars}
    z = np.linspace(-9.0, 9.0, 361)
    w = stats.norm.pdf(z) * (z[1] - z[0])
    rate = np.exp(draws["intercept"] + draws["group_std_g"] * z)
    of_known = stats.poisson.cdf(15, np.exp(draws["intercept"] + draws["effect_g"][:, [1]])).mean()
    assert_allclose(found.cdf(np.full(4, 15.0))[0], of_known, atol=0.005)
    for row, hours in ((1, 1.0), (2, 2.0)):
        expected = (stats.poisson.cdf(4, hours * rate) @ w).mean()
        assert_allclose(found.cdf(np.full(4, 4.0))[row], expected, atol=0.01)
        drawn = found.sample(4000, random_state=3)[row]
        assert_allclose((drawn <= 4).mean(), expected, atol=0.03)
    assert_allclose(found.variance_parts["groups"][0], 0.0)
    with_line = events.predict_distribution(X, include_noise=False).sample(4000, random_state=3)
    order = np.argsort(np.argsort(with_line, axis=1), axis=1)
    correlation = np.corrcoef(order)
    assert correlation[1, 2] > 0.999  # of one new group
    assert 0.0 < correlation[1, 3] < 0.7  # which others share no more than the intercept with


@pytest.mark.thorough
def test_large_counts_in_groups_agree_with_integration() -> None:
    """Rows say far more of each group than others do of it."""
    X = pd.DataFrame({"g": list("aabbccdd"), "n": np.full(8, 4000.0)})
    successes = np.array([1210, 1180, 2500, 2540, 610, 640, 1900, 1850])
    model = Regressor(
        group_column="g",
        likelihood="binomial",
        count_column="n",
        intercept_prior=Normal(0.0, 1.0),
        standardize=False,
        random_state=0,
    ).fit(X, successes / 4000.0)
    logs = [
        lambda eta, k=total: -k * np.logaddexp(0.0, -eta) - (8000.0 - k) * np.logaddexp(0.0, eta)
        for total in successes.reshape(4, 2).sum(axis=1)
    ]
    lattices = np.linspace(-5.0, 5.0, 201), np.exp(np.linspace(-5.0, 5.0, 301))
    assert_agrees(model, integrated(logs, *lattices, stats.norm(0.0, 1.0).logpdf))


@pytest.mark.thorough
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_crossed_groups_with_slopes_mix(tau: float) -> None:
    """Where rows say nothing of how groups differ, and where they say much."""
    rng = np.random.default_rng(1)
    n = 400
    g, h, x = rng.integers(0, 20, n), rng.integers(0, 4, n), rng.normal(size=n)
    effects = [tau * rng.normal(size=size) for size in (20, 20, 4)]
    eta = 0.3 + 0.5 * x + effects[0][g] + effects[1][g] * x + effects[2][h]
    X = pd.DataFrame({"x": x, "g": g, "h": h, "n": 50.0})
    model = Regressor(
        group_column=["g", "h"],
        group_slopes={"g": "x"},
        likelihood="binomial",
        count_column="n",
        random_state=0,
    ).fit(X, rng.binomial(50, 1.0 / (1.0 + np.exp(-eta))) / 50.0)
    summary = model.summary()
    assert summary["ess_bulk"].min() > 800.0
    true = pd.concat([pd.Series(part) for part in effects])
    found = model.group_effects_
    found = pd.concat(
        [
            found.xs(kind, level=["grouping", "term"])
            for kind in (("g", "intercept"), ("g", "x"), ("h", "intercept"))
        ]
    )
    inside = (found["lower_95%"].to_numpy() <= true.to_numpy()) & (
        true.to_numpy() <= found["upper_95%"].to_numpy()
    )
    assert inside.mean() > 0.8
