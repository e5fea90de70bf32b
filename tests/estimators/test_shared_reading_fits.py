"""Fits of rows that share a reading: against NUTS on a plain model, by coverage, and what such a model refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import binom

from bayes_sklearn import BayesianErrorsInVariablesRegressor, audit_errors
from bayes_sklearn.inference._compat import quietly
from bayes_sklearn.priors import Normal

Array = NDArray[np.float64]


def cities(
    seed: int, n: int, reliability: float, together: float = 0.6, sizes: tuple[int, int] = (5, 20)
) -> Any:
    """Rows of n cities, unbalanced; the exact feature's mean goes with the true one, its rows differ."""
    rng = np.random.default_rng(seed)
    city = np.repeat(np.arange(n), rng.integers(sizes[0], sizes[1] + 1, n))
    center, error = rng.normal(size=n), np.sqrt(1.0 / reliability - 1.0)
    x = together * center + np.sqrt(1.0 - together**2) * rng.normal(size=n)
    z = 0.6 * center[city] + 0.8 * rng.normal(size=len(city))
    X = np.column_stack([(x + error * rng.normal(size=n))[city], z])
    y = 1.0 + 2.0 * x[city] - z + 0.5 * rng.normal(size=len(city))
    return X, y, {"X_err": [error, 0.0], "X_err_groups": city}


def covered(tables: int, seed: int, n: int, reliability: float, together: float) -> Array:
    """How many of the tables' 90% intervals hold the slopes, 2 and -1."""
    held = np.zeros(2)
    for table in range(tables):
        X, y, given = cities(seed + table, n, reliability, together)
        model = BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, **given)
        assert model.inference_ == "importance"
        limits = model.summary(0.9).loc[["x0", "x1"], ["lower_90%", "upper_90%"]].to_numpy()
        held += (limits[:, 0] <= [2.0, -1.0]) & (limits[:, 1] >= [2.0, -1.0])
    return held


@pytest.mark.filterwarnings("ignore:The errors of 'x0' hide it")
def test_intervals_hold_the_slopes() -> None:
    # Bounds that 90% leaves in one of a thousand times, to either side.
    low, high = binom.ppf([0.001, 0.999], 60, 0.9)
    held = covered(60, 500, 20, 0.7, 0.6)
    assert (held >= low).all()
    assert (held <= high).all()


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:The errors of 'x0' hide it")
@pytest.mark.filterwarnings("ignore:Importance sampling is not to be trusted")
@pytest.mark.parametrize("reliability", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("n", [15, 40])
def test_intervals_hold_the_slopes_in_designs_of_all_kinds(n: int, reliability: float) -> None:
    low, high = binom.ppf([0.001, 0.999], 120, 0.9)
    for together in (0.0, 0.6):
        held = covered(120, 2000, n, reliability, together)
        assert (held >= low).all()
        assert (held <= min(high + 3, 120)).all()


def test_readings_that_no_rows_share_are_those_of_rows() -> None:
    X, y, given = cities(0, 60, 0.8, sizes=(1, 1))
    settings: Any = {"random_state": 0}
    expected = BayesianErrorsInVariablesRegressor(**settings).fit(X, y, X_err=given["X_err"])
    found = BayesianErrorsInVariablesRegressor(**settings).fit(X, y, **given)
    assert_allclose(found.summary().to_numpy(), expected.summary().to_numpy(), rtol=1e-10)
    # As do new rows, always.
    assert_allclose(found.predict(X, return_std=True)[1], expected.predict(X, return_std=True)[1], rtol=1e-10)


def plain_model(X: Array, y: Array, y_err: Array, error: float, city: Array, centred: bool = True) -> Any:
    """The model as anyone would write it: a true value per city, that every row of it has."""
    import pymc as pm

    first = np.unique(city, return_index=True)[1]
    precision = y_err**-2.0
    mean = np.bincount(city, precision * X[:, 1]) / np.bincount(city, precision)
    spread, of_z = X[:, 0].std(), X[:, 1].std()
    with pm.Model() as model:
        sigma = pm.HalfNormal("sigma", 1.0)
        mu = pm.Normal("mu", X[first, 0].mean(), 10.0 * spread, shape=1)
        Gamma = pm.Normal("Gamma", 0.0, 10.0 * spread, shape=(1, 1))
        x_scale = pm.HalfStudentT("x_scale", 4.0, spread, shape=1)
        expected = mu + (mean - mean.mean())[:, None] / of_z * Gamma[0]
        if centred:
            x_true = pm.Normal("x_true", expected, x_scale, shape=(len(first), 1))
        else:
            x_true = expected + x_scale * pm.Normal("x_raw", shape=(len(first), 1))
        coef, intercept = pm.Normal("coef", 0.0, 3.0, shape=2), pm.Normal("intercept", 0.0, 5.0)
        pm.Normal("X", x_true, error, observed=X[first, :1])
        line = intercept + coef[0] * x_true[city, 0] + coef[1] * X[:, 1]
        pm.Normal("y", line, sigma * y_err, observed=y)
    return model


def given_to_nuts() -> tuple[Any, Array, Array, Array, Any]:
    X, y, given = cities(3, 25, 0.75, sizes=(1, 6))
    y_err = np.random.default_rng(0).uniform(0.3, 1.0, len(y))
    model = BayesianErrorsInVariablesRegressor(
        coef_prior=Normal(0.0, 3.0),
        intercept_prior=Normal(0.0, 5.0),
        noise="scaled",
        standardize=False,
        random_state=0,
        draws=4000,
    )
    return model, X, y, y_err, given


def test_to_pymc_is_the_plain_model() -> None:
    model, X, y, y_err, given = given_to_nuts()
    with quietly():
        found = model.to_pymc(X, y, y_err=y_err, **given)
    expected = plain_model(X, y, y_err, given["X_err"][0], given["X_err_groups"])
    assert found.named_vars_to_dims["x_true"] == ("reading", "noisy")
    densities = {}
    for name, of in (("found", found), ("expected", expected)):
        with quietly():
            log_density = of.compile_logp(mode="FAST_COMPILE")
        rng, values = np.random.default_rng(5), []
        for _ in range(4):
            point = {
                "sigma_log__": rng.normal(),
                "mu": rng.normal(size=1),
                "Gamma": rng.normal(size=(1, 1)),
                "x_scale_log__": rng.normal(size=1),
                "x_true": rng.normal(size=(25, 1)),
                "coef": rng.normal(size=2),
                "intercept": np.array(rng.normal()),
            }
            values.append(float(log_density({key: np.asarray(value) for key, value in point.items()})))
        densities[name] = np.array(values)
    assert_allclose(densities["found"], densities["expected"], rtol=1e-9)


@pytest.mark.thorough
def test_the_posterior_is_that_of_nuts_on_the_plain_model() -> None:
    nutpie = pytest.importorskip("nutpie")
    model, X, y, y_err, given = given_to_nuts()
    plain = plain_model(X, y, y_err, given["X_err"][0], given["X_err_groups"], centred=False)
    found = model.fit(X, y, y_err=y_err, **given).to_arviz().posterior
    with quietly():
        compiled = nutpie.compile_pymc_model(plain)
        draws = nutpie.sample(
            compiled, draws=1500, tune=600, chains=4, cores=2, seed=1, target_accept=0.95, progress_bar=False
        ).posterior
    for name in ("coef", "intercept", "sigma"):
        ours, nuts = (np.asarray(of[name]).reshape(len(np.ravel(of["sigma"])), -1) for of in (found, draws))
        sd = nuts.std(axis=0)
        # Means of about a thousand independent draws each, whose standard errors are 0.03 sd.
        assert_allclose(ours.mean(axis=0) / sd, nuts.mean(axis=0) / sd, atol=0.12)
        assert_allclose(ours.std(axis=0) / sd, 1.0, atol=0.1)
        for tail in (0.05, 0.95):
            apart = (np.quantile(ours, tail, axis=0) - np.quantile(nuts, tail, axis=0)) / sd
            assert_allclose(apart, 0.0, atol=0.2)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_reduced_chi_square_is_that_of_rows_that_share_errors(fit_intercept: bool) -> None:
    X, y, given = cities(1, 12, 0.7, sizes=(1, 6))
    y_err, city = np.random.default_rng(0).uniform(0.3, 0.7, len(y)), given["X_err_groups"]
    model = BayesianErrorsInVariablesRegressor(noise="known", fit_intercept=fit_intercept, random_state=0)
    model.fit(X, y, y_err=y_err, **given)

    def square(line: Array) -> float:
        total, left = 0.0, y - line[0] * fit_intercept - X @ line[1:]
        for one in range(12):
            mine = city == one
            covariance = np.diag(y_err[mine] ** 2) + (line[1] * given["X_err"][0]) ** 2
            total += left[mine] @ np.linalg.solve(covariance, left[mine])
        return float(total)

    start = np.append(model.intercept_, model.coef_)
    least = minimize(
        square, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-10, "maxiter": 5000}
    )
    degrees = len(y) - 2 - fit_intercept
    assert_allclose(model.summary().attrs["reduced_chi_square"], least.fun / degrees, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*rows have.*X_err_groups")
def test_rows_one_by_one_are_refused() -> None:
    X, y, given = cities(0, 20, 0.7)
    model = BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, **given)
    rest = {"X_err": given["X_err"]}
    for call in (model.loo, model.loo_pit, model.to_arviz, lambda *a, **k: audit_errors(model, *a, **k)):
        with pytest.raises(ValueError, match="X_err_groups") as error:
            call(X, y, **rest)
        assert len(str(error.value)) <= 400
    with pytest.raises(AttributeError, match="X_err_groups"):
        model.partial_fit(X, y, **rest)
    assert model.to_arviz().posterior["coef"].shape == (4, 1000, 2)


@pytest.mark.filterwarnings("ignore:The errors of 'x0' hide it")
def test_wild_readings_are_judged_once_each() -> None:
    X, y, given = cities(2, 60, 0.7)
    city = given["X_err_groups"]
    BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, **given)  # in silence
    X[np.isin(city, [3, 17])] += [12.0, 0.0]
    with pytest.warns(UserWarning, match="wild"):
        BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, **given)
