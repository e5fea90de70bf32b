"""Missing features sampled: against importance sampling, and PyMC's own imputation in models written plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import special

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Normal

Array = NDArray[np.float64]

PRIORS: dict[str, Any] = {
    "coef_prior": Normal(sigma=10.0),
    "intercept_prior": Normal(sigma=10.0),
    "standardize": False,
    "missing": "model",
    "random_state": 0,
}


def table(n: int = 150) -> tuple[Array, Array]:
    """Return two features, the first with gaps where the second is large, and the line."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    x = 0.7 * z + 0.7 * rng.normal(size=n)
    gaps = rng.random(n) < special.expit(2.0 * z - 0.5)
    return np.column_stack([np.where(gaps, np.nan, x), z]), 1.0 + x + 0.5 * z


def assert_agree(mean: Array, sd: Array, other: Regressor) -> None:
    """By 0.15 standard deviations and 10%: of 1,000 draws or more, in one of a thousand cases by chance."""
    own, own_sd = np.append(other.intercept_, other.coef_), other.summary().loc["intercept", "sd"]
    assert_allclose((mean - own) / sd, 0.0, atol=0.15)
    assert_allclose(sd, np.append(own_sd, other.coef_std_), rtol=0.1)


def of_draws(model: Any) -> tuple[Array, Array]:
    """Return means and standard deviations of intercept and coefficients that PyMC samples."""
    import pymc as pm

    with model:
        draws = pm.sample(
            1000, tune=700, chains=2, cores=1, random_seed=1, progressbar=False, target_accept=0.9
        )
    posterior = draws.posterior
    values = np.column_stack(
        [np.ravel(posterior["intercept"]), np.reshape(posterior["coef"].to_numpy(), (-1, 2))]
    )
    return values.mean(axis=0), values.std(axis=0)


@pytest.mark.parametrize("likelihood", ["normal", pytest.param("binomial", marks=pytest.mark.thorough)])
def test_nuts_agrees_with_importance_sampling(likelihood: str) -> None:
    X, line = table()
    rng = np.random.default_rng(1)
    normal = likelihood == "normal"
    y = line + 0.7 * rng.normal(size=len(X)) if normal else (rng.random(len(X)) < special.expit(line)) * 1.0
    y[:20] = np.nan
    fits = [
        Regressor(**PRIORS, likelihood=likelihood, inference=inference).fit(X, y)
        for inference in ("importance", "nuts")
    ]
    assert_allclose((fits[0].coef_ - fits[1].coef_) / fits[0].coef_std_, 0.0, atol=0.12)
    assert_allclose(fits[0].coef_std_, fits[1].coef_std_, rtol=0.08)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.*automatically imputed")
@pytest.mark.parametrize("likelihood", ["normal", "binomial"])
def test_imputation_within_a_plain_model_agrees(likelihood: str) -> None:
    """PyMC makes variables of masked cells by itself; other priors are so wide that they do not matter."""
    import pymc as pm

    X, line = table()
    rng = np.random.default_rng(1)
    with pm.Model() as model:
        at, slope, spread = (
            pm.Normal("at", 0.0, 10.0),
            pm.Normal("slope", 0.0, 10.0),
            pm.HalfNormal("spread", 3.0),
        )
        x = pm.Normal("x", at + slope * X[:, 1], spread, observed=np.ma.masked_invalid(X[:, 0]))
        coef, intercept = pm.Normal("coef", 0.0, 10.0, shape=2), pm.Normal("intercept", 0.0, 10.0)
        eta = intercept + coef[0] * x + coef[1] * X[:, 1]
        if likelihood == "normal":
            y = line + 0.7 * rng.normal(size=len(X))
            pm.Normal("y", eta, pm.HalfNormal("sigma", 1.0), observed=y)
        else:
            y = (rng.random(len(X)) < special.expit(line)) * 1.0
            pm.Bernoulli("y", logit_p=eta, observed=y.astype(int))
    assert_agree(*of_draws(model), Regressor(**PRIORS, likelihood=likelihood).fit(X, y))


@pytest.mark.thorough
@pytest.mark.parametrize("params", [{}, {"y": True}, {"X_err": 0.2}], ids=str)
def test_the_readable_model_is_the_same(params: dict[str, Any]) -> None:
    """Cells that were measured exactly are data, others variables; targets of which nothing is known say nothing."""
    X, line = table()
    y = line + 0.7 * np.random.default_rng(1).normal(size=len(X))
    given = {name: value for name, value in params.items() if name != "y"}
    if params.get("y"):
        y[:20] = np.nan
    model = Regressor(**PRIORS)
    assert_agree(*of_draws(model.to_pymc(X, y, **given)), model.fit(X, y, **given))
