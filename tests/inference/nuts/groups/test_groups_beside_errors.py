"""Groups beside errors in X: next to a model with latent true features in PyMC, and to limits that others solve."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import skops.io
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from bayes_sklearn import HalfStudentT
from bayes_sklearn.inference._compat import diagnostics
from bayes_sklearn.persistence import TRUSTED_TYPES

from plain import Regressor

Array = NDArray[np.float64]

# A set of draws that is right fails a comparison once in 1.7 million.
Z_BOUND = 5.0

N, GROUPS = 72, 9


def table(seed: int = 5, tau: float = 1.0, between: float = 0.6) -> tuple[pd.DataFrame, Array]:
    """Of features that are alike within groups, as they mostly are; a slope of one."""
    rng = np.random.default_rng(seed)
    g = rng.permutation(np.arange(N) % GROUPS)
    levels = between * rng.normal(size=GROUPS)
    x = levels[g] + np.sqrt(1.0 - between**2) * rng.normal(size=N)
    z = rng.normal(size=N) + 0.5 * x
    y = 1.0 + x - 0.5 * z + tau * rng.normal(size=GROUPS)[g] + 0.7 * rng.normal(size=N)
    x_err = rng.uniform(0.45, 0.65, N)
    labels = np.array(list("abcdefghi"))[g]
    return pd.DataFrame({"z": z, "x": x + x_err * rng.normal(size=N), "x_err": x_err, "clinic": labels}), y


def regressor(**parameters: Any) -> Regressor:
    given = {
        "group_column": "clinic",
        "error_columns": {"x": "x_err"},
        "standardize": False,
        "random_state": 1,
    }
    return Regressor(**{**given, **parameters})


@pytest.fixture(scope="module")
def sampled() -> Regressor:
    return regressor().fit(*table())


class Plain(NamedTuple):
    """Draws from the model as it is written, chain after chain."""

    of: dict[str, Array]
    effective: dict[str, Array]

    def error(self, name: str) -> Array:
        return self.of[name].std(axis=0) / np.sqrt(self.effective[name])


@pytest.fixture(scope="module")
def plain() -> Plain:
    """Every true feature is a parameter, and the priors are what the documentation says."""
    import nutpie
    import pymc as pm

    X, y = table()
    w, z, g = X["x"].to_numpy(), X["z"].to_numpy(), X["clinic"].map("abcdefghi".index).to_numpy()
    with pm.Model() as model:
        intercept, coef = pm.Normal("intercept", 0.0, 1.0), pm.Normal("coef", 0.0, 1.0, shape=2)
        sigma, tau = pm.HalfNormal("sigma", 1.0), pm.HalfStudentT("tau", nu=3.0, sigma=1.0)
        effect = pm.Deterministic("effect", tau * pm.Normal("effect_raw", shape=GROUPS))
        spread = pm.HalfStudentT("spread", nu=4.0, sigma=w.std())
        between = pm.HalfStudentT("between", nu=3.0, sigma=w.std())
        level = pm.Deterministic("level", between * pm.Normal("level_raw", shape=GROUPS))
        mu = pm.Normal("mu", w.mean(), 10.0 * w.std())
        along = pm.Normal("along", 0.0, 10.0 * w.std() / z.std())
        x = mu + along * (z - z.mean()) + level[g] + spread * pm.Normal("x_raw", shape=N)
        pm.Normal("w", x, X["x_err"].to_numpy(), observed=w)
        pm.Normal("y", intercept + coef[0] * z + coef[1] * x + effect[g], sigma, observed=y)
    drawn = nutpie.sample(
        nutpie.compile_pymc_model(model),
        draws=2000,
        tune=1000,
        chains=4,
        seed=3,
        target_accept=0.95,
        progress_bar=False,
    ).posterior
    values = {str(name): np.asarray(drawn[name]) for name in drawn.data_vars if name != "x_raw"}
    found = diagnostics(values)["ess_bulk"]
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}
    return Plain(flat, {name: np.asarray(found[name]) for name in values})


def test_posterior_is_that_of_the_model_as_it_is_written(sampled: Regressor, plain: Plain) -> None:
    assert sampled.inference_ == "nuts"
    posterior = sampled.to_arviz().posterior
    names = {"sigma": "sigma", "group_std_clinic": "tau", "effect_clinic": "effect"}
    names |= {
        "x_effect_clinic": "level",
        "x_group_std_clinic": "between",
        "coef": "coef",
        "intercept": "intercept",
    }
    for own, other in names.items():
        values = np.asarray(posterior[own])
        effective = np.asarray(diagnostics({own: values})["ess_bulk"][own]).reshape(-1)
        assert effective.min() > 500.0
        values, expected = values.reshape(4000, -1), plain.of[other].reshape(8000, -1)
        sd = expected.std(axis=0)
        error = np.hypot(sd / np.sqrt(effective), np.reshape(plain.error(other), -1))
        assert np.abs((values.mean(axis=0) - expected.mean(axis=0)) / error).max() < Z_BOUND
        # Standard deviations of draws that are worth 500 are off by less than 15%.
        assert_allclose(values.std(axis=0), sd, rtol=0.15)
        assert_allclose(
            (np.quantile(values, [0.05, 0.95], axis=0) - np.quantile(expected, [0.05, 0.95], axis=0)) / sd,
            0.0,
            atol=0.3,
        )


def test_attenuation_within_groups_is_corrected(sampled: Regressor) -> None:
    X, y = table()
    naive = regressor(error_columns=None).fit(X.drop(columns="x_err"), y).summary()
    assert naive.loc["x", "upper_95%"] < 1.0
    corrected = sampled.summary()
    assert corrected.loc["x", "lower_95%"] < 1.0 < corrected.loc["x", "upper_95%"]
    # Reliability has groups' differences in it: what errors leave of all rows' spread.
    spread = X["x"].var(ddof=0)
    assert abs(corrected.loc["x", "reliability"] - (1.0 - (X["x_err"] ** 2).mean() / spread)) < 0.1
    assert_allclose(corrected.loc["x", "naive"], naive.loc["x", "mean"], rtol=1e-6)


def new_rows() -> pd.DataFrame:
    rows = {"z": [0.0, 0.5, 0.5, 0.0], "x": [1.5, -1.5, 1.5, 1.5], "x_err": [0.6, 0.6, 0.7, 0.2]}
    return pd.DataFrame({**rows, "clinic": ["a", "c", "new", "new"]})


def test_predictions_are_those_of_the_model_as_it_is_written(sampled: Regressor, plain: Plain) -> None:
    X, rng, of = new_rows(), np.random.default_rng(0), plain.of
    found = sampled.predict_distribution(X)
    drawn = found.sample(4000, random_state=2)
    for i, row in enumerate(X.itertuples()):
        known = row.clinic != "new"
        place = "abcdefghi".index(row.clinic) if known else 0
        mean = of["mu"] + of["along"] * (row.z - table()[0]["z"].mean()) + known * of["level"][:, place]
        T = of["spread"] ** 2 + (not known) * of["between"] ** 2
        share = T / (T + row.x_err**2)
        x = mean + share * (row.x - mean) + np.sqrt(share) * row.x_err * rng.normal(size=len(T))
        effect = of["effect"][:, place] if known else of["tau"] * rng.normal(size=len(T))
        line = of["intercept"] + of["coef"][:, 0] * row.z + of["coef"][:, 1] * x + effect
        expected = line + of["sigma"] * rng.normal(size=len(T))
        sd = expected.std()
        assert abs(found.mean()[i] - expected.mean()) < 0.08 * sd
        assert_allclose(found.std()[i], sd, rtol=0.06)
        levels = np.array([0.05, 0.5, 0.95])
        quantiles = [found.ppf(level)[i] for level in levels]
        assert_allclose((quantiles - np.quantile(expected, levels)) / sd, 0.0, atol=0.15)
        assert abs(drawn[i].mean() - expected.mean()) < 0.12 * sd
        assert_allclose(drawn[i].std(), sd, rtol=0.08)
    parts = found.variance_parts
    assert_allclose(np.sum(list(parts.values()), axis=0), found.var(), rtol=1e-10)
    assert_allclose(parts["groups"][:2], 0.0)
    assert_allclose(parts["groups"][2:], (of["tau"] ** 2).mean(), rtol=0.2)
    # Rows together are what they are alone, and points are means.
    alone = [sampled.predict_distribution(X.iloc[[i]]).mean()[0] for i in range(len(X))]
    assert_allclose(sampled.predict(X), alone, rtol=1e-10)
    exactly = sampled.predict_distribution(X.assign(x_err=0.0))
    line = of["intercept"][:, None] + of["coef"] @ X[["z", "x"]].to_numpy().T
    line[:, :2] += of["effect"][:, [0, 2]]
    assert_allclose((exactly.mean() - line.mean(axis=0)) / exactly.std(), 0.0, atol=0.1)
    assert "feature_error" not in exactly.variance_parts


def test_log_likelihoods_of_rows_are_given_their_groups(sampled: Regressor, plain: Plain) -> None:
    (X, y), of = table(), plain.of
    data = sampled.to_arviz(X, y)
    g = X["clinic"].map("abcdefghi".index).to_numpy()
    found = np.asarray(data.log_likelihood["y"]).reshape(4000, -1)
    rows = slice(0, N, 6)
    mean = of["mu"][:, None] + of["along"][:, None] * (X["z"] - X["z"].mean()).to_numpy()[rows]
    mean = mean + of["level"][:, g[rows]]
    T, U = of["spread"][:, None] ** 2, X["x_err"].to_numpy()[rows] ** 2
    share, m = T / (T + U), of["coef"][:, [1]]
    line = of["intercept"][:, None] + of["coef"][:, [0]] * X["z"].to_numpy()[rows] + of["effect"][:, g[rows]]
    line = line + m * (mean + share * (X["x"].to_numpy()[rows] - mean))
    sd = np.sqrt(m**2 * share * U + of["sigma"][:, None] ** 2)
    expected = stats.norm.logpdf(y[rows], line, sd)
    assert_allclose(found[:, rows].mean(axis=0), expected.mean(axis=0), atol=0.05)
    assert np.isfinite(sampled.loo(X, y).elpd_loo)
    pit = sampled.loo_pit(X, y)
    assert stats.kstest(pit, "uniform").pvalue > 1e-3
    with pytest.raises(ValueError, match="is for exact fits"):
        sampled.loo(X, y, leave_out="group")


def test_small_errors_are_none() -> None:
    """The exact engine takes exact features alone."""
    X, y = table()
    X["x_err"] = 1e-3
    found = regressor().fit(X, y)
    exact = regressor(error_columns=None).fit(X.drop(columns="x_err"), y)
    assert exact.inference_ == "exact"
    own, expected = found.summary(), exact.summary()
    error = expected["sd"] / np.sqrt(own["ess_bulk"])
    names = list(expected.index)
    assert np.abs((own["mean"] - expected["mean"])[names] / error[names]).max() < Z_BOUND
    assert_allclose(own["sd"][names], expected["sd"][names], rtol=0.15)
    effects, of_exact = found.group_effects_, exact.group_effects_
    assert np.abs((effects["mean"] - of_exact["mean"]) / of_exact["sd"]).max() < 0.15
    rows = new_rows().assign(x_err=0.0)
    at = found.predict_distribution(rows)
    there = exact.predict_distribution(rows.drop(columns="x_err"))
    assert_allclose((at.mean() - there.mean()) / there.std(), 0.0, atol=0.1)
    assert_allclose(at.std(), there.std(), rtol=0.1)


def test_groups_that_do_not_differ_are_none() -> None:
    """Importance sampling takes errors in X without groups."""
    X, y = table(tau=0.0, between=0.0)
    found = regressor(group_prior=HalfStudentT(nu=3.0, sigma=1e-4)).fit(X, y)
    without = regressor(group_column=None).fit(X.drop(columns="clinic"), y)
    assert without.inference_ == "importance"
    own, expected = found.summary(), without.summary()
    names = list(expected.index)
    error = expected["sd"] / np.sqrt(np.minimum(own["ess_bulk"], 1000.0))
    assert np.abs((own["mean"] - expected["mean"])[names] / error[names]).max() < Z_BOUND
    assert_allclose(own["sd"][names], expected["sd"][names], rtol=0.15)
    assert found.group_std_["clinic"] < 0.01


@pytest.mark.parametrize("kept", [pickle.dumps, skops.io.dumps], ids=["pickle", "skops"])
def test_files_keep_groups_and_true_features(sampled: Regressor, kept: Any) -> None:
    data = kept(sampled)
    read = pickle.loads(data) if kept is pickle.dumps else skops.io.loads(data, trusted=TRUSTED_TYPES)
    assert_allclose(
        read.predict_interval(new_rows()), sampled.predict_interval(new_rows()), rtol=0.0, atol=0.0
    )
    pd.testing.assert_frame_equal(read.group_effects_, sampled.group_effects_)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x_error_distribution": "outliers"}, "true features are normal"),
        ({"group_slopes": "x"}, "slopes that differ are of exact features"),
        ({"inference": "importance"}, "it has no effects of groups"),
        ({"inference": "exact"}, "it takes exact features"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        regressor(**given).fit(*table())


def test_mixtures_of_true_features_are_refused() -> None:
    X, y = table()
    X["x"] += 8.0 * (np.arange(N) % 2)
    with pytest.raises(ValueError, match="true features are normal"):
        regressor(x_distribution="mixture").fit(X, y)


def test_limits_in_the_place_of_new_features_are_refused(sampled: Regressor) -> None:
    with pytest.raises(ValueError, match="have no limits in the place of features"):
        sampled.predict(new_rows(), X_censored=np.array([[0, 1]] * 4))
