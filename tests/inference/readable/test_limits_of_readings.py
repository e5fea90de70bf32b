"""Readings below or above a limit in the readable model: its density written out, and what PyMC draws from it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import norm

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Normal

Array = NDArray[np.float64]


def table(n: int, likelihood: str, error: float) -> tuple[Array, Array, Array]:
    """Return readings, of which two in five lie below a limit, their sides, and targets."""
    rng = np.random.default_rng(3)
    x = rng.normal(3.0, 1.0, n)
    w = x + error * rng.normal(size=n)
    y: Array = 1.0 + 2.0 * x + rng.normal(size=n)
    if likelihood == "binomial":
        y = (rng.random(n) < 1.0 / (1.0 + np.exp(-2.0 * (x - 3.0)))) * 1.0
    limit = np.quantile(w, 0.4)
    return np.maximum(w, limit)[:, None], np.where(w < limit, -1.0, 0.0)[:, None], y


def at_a_point(model: Any, *names: str) -> tuple[list[Array], dict[str, Array]]:
    """Return variables of a PyMC model by name at a point, and the point."""
    rng = np.random.default_rng(0)
    point = {
        name: value + 0.5 * rng.standard_normal(np.shape(value))
        for name, value in model.initial_point().items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        variables = model.replace_rvs_by_values([model[name] for name in names])
        evaluate = model.compile_fn(
            variables, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
        )
    return evaluate(point), point


@pytest.mark.parametrize(("side", "wild"), [(-1.0, False), (1.0, True)])
def test_readings_with_errors_lie_beyond_the_limit_with_the_errors_probability(
    side: float, wild: bool
) -> None:
    X, sides, y = table(12, "normal", 0.3)
    X, sides = -side * X, -side * sides
    given: dict[str, Any] = {"x_error_distribution": "outliers"} if wild else {}
    model = Regressor(standardize=False, **given).to_pymc(X, y, X_censored=sides, X_err=0.3)
    limited = sides[:, 0] != 0.0
    share, factor = np.zeros(()), np.ones(())
    if wild:
        (found, share, factor), point = at_a_point(
            model, "limits_of_readings", "outlier_share", "outlier_factor"
        )
    else:
        (found,), point = at_a_point(model, "limits_of_readings")
    x, limit = point["x_true"][limited], X[limited]
    of_reading = [norm.cdf(-side * (limit - x), scale=0.3 * multiple) for multiple in (1.0, factor)]
    expected = np.log((1.0 - share) * of_reading[0] + share * of_reading[1]).sum()
    assert_allclose(found, expected, rtol=1e-7)
    # Those that were measured are.
    (measured,) = (of for of in model.observed_RVs if of.name == "X")
    assert_allclose(model.rvs_to_values[measured].data, X[~limited, 0])


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_readings_without_errors_are_true_features_beyond_the_limit(side: float) -> None:
    X, sides, y = table(12, "normal", 0.0)
    X, sides = -side * X, -side * sides
    model = Regressor(standardize=False).to_pymc(X, y, X_censored=sides)
    (x, density, scale), point = at_a_point(model, "x_true", "x_true_density", "x_scale")
    limited = sides != 0.0
    assert_allclose(x[~limited], X[~limited])
    assert_allclose(x[limited], X[limited] + side * np.exp(point["x_beyond_log__"]))
    assert_allclose(density, norm.logpdf(x, point["mu"], scale).sum(), rtol=1e-9)


def test_what_has_no_density_in_pymc_is_refused_by_name() -> None:
    X, sides, y = table(12, "normal", 0.0)
    both, sides = np.column_stack([X, np.cos(X)]), np.column_stack([sides, 0.0 * sides])
    model = Regressor(random_state=0)
    for given in ({"X_cov": [[0.1, 0.05], [0.05, 0.1]]}, {"X_err": 0.3, "Xy_cov": [0.1, 0.0], "y_err": 1.0}):
        with pytest.raises(ValueError, match="X_err in the place of X_cov, and leave Xy_cov out") as error:
            model.to_pymc(both, y, X_censored=sides, **given)
        assert len(str(error.value)) <= 400
    proper = Regressor(random_state=0, intercept_prior=Normal(), coef_prior=Normal())
    fitted = proper.fit(both, y, X_censored=sides)
    with pytest.raises(ValueError, match=r"limits in some rows \(NaN, X_censored\): leave prior out"):
        fitted.to_arviz(both, y, X_censored=sides, prior=True)
    gaps = np.where(sides != 0.0, np.nan, both)
    proper.set_params(missing="model").fit(gaps, y)
    with pytest.raises(ValueError, match="gaps or limits"):
        proper.to_arviz(gaps, y, prior=True)


@pytest.mark.thorough
@pytest.mark.parametrize("likelihood", ["normal", "binomial"])
@pytest.mark.parametrize("error", [0.0, 0.3])
def test_posteriors_are_those_that_pymc_draws(likelihood: str, error: float) -> None:
    import pymc as pm

    X, sides, y = table(60, likelihood, error)
    given: dict[str, Any] = {"X_censored": sides, **({"X_err": error} if error else {})}
    model = Regressor(likelihood=likelihood, random_state=0, intercept_prior=Normal(), coef_prior=Normal())
    model.fit(X, y, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with model.to_pymc(X, y, **given):
            found = pm.sample(
                2000,
                tune=1000,
                chains=2,
                nuts_sampler="nutpie",
                random_seed=1,
                progressbar=False,
                target_accept=0.95,
            )
    drawn, sd = found.posterior, model.summary()["sd"]
    for name, mean in (("coef", model.coef_[0]), ("intercept", model.intercept_)):
        values = drawn[name].to_numpy().reshape(2, -1)
        spread = sd["intercept" if name == "intercept" else "x0"]
        # A tenth, beside four Monte Carlo errors of 1,600 effective draws.
        assert values.mean() == pytest.approx(mean, abs=0.2 * spread)
        assert values.std() == pytest.approx(spread, rel=0.1)
