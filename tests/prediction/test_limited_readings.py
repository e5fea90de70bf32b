"""New rows whose readings of features are limits: held against draws of the readings that they may have been."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import expit, logsumexp
from scipy.stats import kstest, truncnorm
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import audit_errors
from bayes_sklearn.inference.structural.true_mixture import TrueMixture
from bayes_sklearn.measurements.limits import ReadingLimits
from bayes_sklearn.metrics import log_predictive_density_scorer

Array = NDArray[np.float64]
LIMIT = -0.3
NEW = np.array([[LIMIT, 0.5], [LIMIT, -1.0], [0.5, 0.5], [0.8, 1.0]])
SIDES = np.array([[-1, 0], [-1, 0], [0, 0], [1, 0]])


def table(n: int = 200) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    x = 0.5 * z + rng.normal(size=n)
    y = 1.0 + 2.0 * x - 0.5 * z + 0.7 * rng.normal(size=n)
    return np.column_stack([x, z]), y, x + 0.3 * rng.normal(size=n)


def fitted(how: str) -> Any:
    X, y, w = table()
    if how == "X_err":
        return Regressor(random_state=0).fit(np.column_stack([w, X[:, 1]]), y, X_err=[0.3, 0.0])
    sides = np.column_stack([np.where(X[:, 0] < LIMIT, -1, 0), np.zeros(len(X))])
    seen = np.column_stack([np.maximum(X[:, 0], LIMIT), X[:, 1]])
    likelihood = "binomial" if how == "binomial" else "normal"
    y = (y > 1.0) * 1.0 if how == "binomial" else y
    return Regressor(likelihood=likelihood, random_state=0).fit(seen, y, X_censored=sides)


def readings(row: int, how: str, size: int, rng: np.random.Generator) -> Array:
    """Return draws of the true feature of a new row, from the distribution that the table was drawn from."""
    mean, error = 0.5 * NEW[row, 1], 0.3 if how == "X_err" else 0.0
    spread = np.hypot(1.0, error)
    low, high = (-np.inf, LIMIT) if SIDES[row, 0] < 0 else (NEW[row, 0], np.inf)
    w = truncnorm.rvs((low - mean) / spread, (high - mean) / spread, mean, spread, size, random_state=rng)
    return mean + (w - mean) / spread**2 + error / spread * rng.normal(size=size)


@pytest.mark.parametrize("how", ["limits", "X_err"])
def test_predictions_average_over_the_readings_that_there_may_be(how: str) -> None:
    model = fitted(how)
    given: dict[str, Any] = {"X_censored": SIDES, **({"X_err": [0.3, 0.0]} if how == "X_err" else {})}
    mean, std = model.predict(NEW, return_std=True, **given)
    limits = model.predict_interval(NEW, 0.9, **given)
    draws = model.sample_y(NEW, 20000, random_state=0, **given)
    rng = np.random.default_rng(1)
    for row in (0, 1, 3):
        x = readings(row, how, 400_000, rng)
        y = 1.0 + 2.0 * x - 0.5 * NEW[row, 1] + 0.7 * rng.normal(size=len(x))
        # Of 200 rows the coefficients' own errors are a tenth and less.
        assert mean[row] == pytest.approx(y.mean(), abs=0.25)
        assert std[row] == pytest.approx(y.std(), rel=0.12)
        assert_allclose(limits[row], np.quantile(y, [0.05, 0.95]), atol=0.35)
        # Draws are of the same distribution: 20,000 of them, at five standard errors.
        assert draws[row].mean() == pytest.approx(mean[row], abs=5.0 * std[row] / np.sqrt(20000))
        assert np.mean(draws[row] < limits[row, 0]) == pytest.approx(0.05, abs=0.008)
    # Rows whose readings were measured are what they are without.
    plain = {name: value for name, value in given.items() if name != "X_censored"}
    assert_allclose(mean[2], model.predict(NEW, **plain)[2], rtol=0.02)


def test_rows_with_one_limit_and_with_two_are_each_what_they_are_alone() -> None:
    X, y, _ = table()
    model = Regressor(random_state=0).fit(X, y, X_err=0.3)
    rng = np.random.default_rng(0)
    true = TrueMixture.of_one(model._fitted.posterior.true_features, rng).drawn(np.arange(9), rng)
    limits = ReadingLimits(np.array([[-1.0, 0.0], [-1.0, 1.0], [0.0, 0.0], [0.0, -1.0]]), NEW)
    error = np.broadcast_to(0.09 * np.eye(2), (4, 2, 2))

    def expected(rows: slice) -> Array:
        """By a node each, of the rows together."""
        each = true.line(NEW[rows], error[rows], limits.take(rows)).each
        shape = (len(NEW[rows]), 9, -1)
        return np.asarray((each.weights * each.mean).reshape(shape).sum(axis=2))

    alone = [expected(slice(row, row + 1)) for row in range(4)]
    assert_allclose(expected(slice(0, 4)), np.concatenate(alone), rtol=1e-9)


def test_shares_average_over_the_readings_that_there_may_be() -> None:
    model = fitted("binomial")
    found = model.predict(NEW, X_censored=SIDES)
    rng, slopes, intercept = np.random.default_rng(1), model.coef_, model.intercept_
    for row in (0, 1, 3):
        x = readings(row, "limits", 100_000, rng)
        assert found[row] == pytest.approx(
            expit(intercept + slopes[0] * x + slopes[1] * NEW[row, 1]).mean(), abs=0.06
        )


def test_limits_that_say_nothing_are_gaps() -> None:
    X, y, _ = table()
    X[:30, 0] = np.nan
    model = Regressor(missing="model", random_state=0).fit(X, y)
    far = np.column_stack([np.full(4, 50.0), NEW[:, 1]])
    gaps = np.column_stack([np.full(4, np.nan), NEW[:, 1]])
    found = model.predict_distribution(far, X_censored=np.column_stack([-np.ones(4), np.zeros(4)]))
    expected = model.predict_distribution(gaps)
    assert_allclose(found.mean(), expected.mean(), atol=0.02)
    assert_allclose(found.std(), expected.std(), rtol=0.02)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_censored": [[0, -1]] * 4}, "'x1' is a limit"),
        ({"X_censored": [[2, 0]] * 4}, "has to be -1"),
        ({"X_censored": np.zeros((3, 2))}, "shape"),
        ({"X_censored": SIDES, "Xy_cov": [0.0, 0.0], "y_err": 1.0, "X_err": [0.1, 0.0]}, "don't go together"),
    ],
)
def test_what_is_wrong_with_limits_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        fitted("X_err").predict(NEW, **given)
    assert len(str(error.value)) < 400


def test_scores_of_cross_validation_know_of_limits() -> None:
    X, y, _ = table(60)
    sides = np.column_stack([np.where(X[:, 0] < LIMIT, -1, 0), np.zeros(60)])
    seen = np.column_stack([np.maximum(X[:, 0], LIMIT), X[:, 1]])
    cv = KFold(2)
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            make_pipeline(StandardScaler(), Regressor(random_state=0)),
            seen,
            y,
            cv=cv,
            params={"X_censored": sides},
            scoring={"r2": None, "log": log_predictive_density_scorer},
        )
    for i, (train, test) in enumerate(cv.split(X)):
        # A limit in units of the spread is one still.
        model = Regressor(random_state=0).fit(seen[train], y[train], X_censored=sides[train])
        r2 = model.score(seen[test], y[test], X_censored=sides[test])
        log = model.predict_distribution(seen[test], X_censored=sides[test]).logpdf(y[test]).mean()
        assert found["test_r2"][i] == pytest.approx(r2, rel=1e-6)
        assert found["test_log"][i] == pytest.approx(log, rel=1e-6)
        assert abs(r2 - model.score(seen[test], y[test])) > 1e-3


def test_observed_rows_are_judged_as_new_ones_are() -> None:
    X, y, _ = table()
    sides = np.column_stack([np.where(X[:, 0] < LIMIT, -1, 0), np.zeros(len(X))])
    seen = np.column_stack([np.maximum(X[:, 0], LIMIT), X[:, 1]])
    model = fitted("limits")
    found = model.to_arviz(seen, y, X_censored=sides)
    logs = np.asarray(found.log_likelihood["y"]).reshape(-1, len(y))
    expected = model.predict_distribution(seen, X_censored=sides).logpdf(y)
    # Of 4,000 draws: a twentieth is five standard errors and more.
    assert_allclose(logsumexp(logs, axis=0) - np.log(len(logs)), expected, atol=0.05)
    assert kstest(model.loo_pit(seen, y, X_censored=sides), "uniform").pvalue > 0.01
    with pytest.warns(UserWarning, match="Pareto k"):
        measured = model.loo(seen, y, X_censored=0 * sides)
    name = "elpd_loo" if hasattr(measured, "elpd_loo") else "elpd"
    # Taken for values, limits lie far from the line.
    assert getattr(model.loo(seen, y, X_censored=sides), name) > getattr(measured, name) + 10.0
    with pytest.raises(ValueError, match="give X_censored"):
        model.loo(seen, y)
    with pytest.raises(ValueError, match="no audit"):
        audit_errors(model, seen, y)
    whole = X[:, 0] > LIMIT
    assert audit_errors(model, X[whole], y[whole], held_out=True) is not None
