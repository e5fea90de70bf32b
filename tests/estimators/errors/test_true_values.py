"""Errors that are functions of true values: settled where fits find these, and less biased than those of readings."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    VarianceFunction,
    audit_errors,
    inverse_predict,
)

Regressor = BayesianErrorsInVariablesRegressor

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*reduced chi-square",
    "ignore:The stated errors look too small",
    "ignore:Some readings of features",
)


def readings(seed: int, relative: float = 0.2, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(1.0, 20.0, n)
    return x[:, None], (1.0 + 2.0 * x) * (1.0 + relative * rng.normal(size=n))


@pytest.mark.parametrize("function", [
    VarianceFunction(relative=0.2),
    VarianceFunction(constant=0.5, relative=0.1),
    VarianceFunction(poisson=0.5),
    VarianceFunction(1.0, 0.05, 0.3),
])  # fmt: skip
@pytest.mark.parametrize("noise", ["known", "scaled", "additive"])
def test_errors_of_y_are_those_at_the_fitted_line(function: VarianceFunction, noise: str) -> None:
    X, y = readings(0)
    model = Regressor(noise=noise).fit(X, y, y_err=function)
    line = model.predict_distribution(X, include_noise=False)
    mean, std = line.mean(), line.std()
    variance = (
        function.constant**2
        + function.poisson * np.sqrt(mean**2 + std**2)
        + function.relative**2 * (mean**2 + std**2)
    )
    numbers = Regressor(noise=noise).fit(X, y, y_err=np.sqrt(variance))
    assert_allclose(model.coef_, numbers.coef_, rtol=1e-5)
    assert_allclose(model.coef_std_, numbers.coef_std_, rtol=1e-5)
    assert_allclose(
        float(model.loo(X, y).iloc[0]), float(numbers.loo(X, y, y_err=np.sqrt(variance)).iloc[0]), rtol=1e-5
    )
    # A new measurement has the error of its own place.
    given = np.sqrt(variance[:5])
    assert_allclose(
        model.predict(X[:5], return_std=True)[1],
        numbers.predict(X[:5], return_std=True, y_err=given)[1],
        rtol=1e-4,
    )
    assert_allclose(
        model.predict(X[:5], return_std=True, y_err=0.1)[1],
        numbers.predict(X[:5], return_std=True, y_err=0.1)[1],
        rtol=1e-5,
    )


def test_the_slope_is_that_of_all_rows_and_not_of_low_readings() -> None:
    at_line, at_readings = [], []
    for seed in range(60):
        X, y = readings(seed)
        at_line.append(Regressor(noise="known").fit(X, y, y_err=VarianceFunction(relative=0.2)).coef_[0])
        at_readings.append(Regressor(noise="known").fit(X, y, y_err=0.2 * np.abs(y)).coef_[0])
    error = np.std(at_line) / np.sqrt(60.0)
    # 4.5 standard errors: once in 1e5.
    assert abs(np.mean(at_line) - 2.0) < 4.5 * error
    assert np.mean(at_readings) < 2.0 - 10.0 * error


def noisy(seed: int, relative: float, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(5.0, 1.2, n)
    X = np.column_stack([x * (1.0 + relative * rng.normal(size=n)), rng.normal(size=n)])
    return X, 1.0 + 2.0 * x - 0.5 * X[:, 1] + 0.5 * rng.normal(size=n)


@pytest.mark.parametrize(("relative", "within"), [(0.1, 0.03), (0.2, 0.08)])
def test_errors_of_features_are_those_at_true_values(relative: float, within: float) -> None:
    at_true, at_readings = [], []
    for seed in range(12):
        X, y = noisy(seed, relative)
        at_true.append(
            Regressor(random_state=0).fit(X, y, X_err={"x0": VarianceFunction(relative=relative)}).coef_[0]
        )
        errors = np.column_stack([relative * np.abs(X[:, 0]), np.zeros(len(X))])
        at_readings.append(Regressor(random_state=0).fit(X, y, X_err=errors).coef_[0])
    assert abs(np.mean(at_true) - 2.0) < within
    if relative == 0.2:
        assert np.mean(at_readings) < 1.9


def test_features_in_lists_dicts_and_frames_are_the_same() -> None:
    X, y = noisy(0, 0.1, 80)
    function = VarianceFunction(relative=0.1)
    model = Regressor(random_state=0).fit(X, y, X_err=[function, 0.0])
    frame = pd.DataFrame(X, columns=["a", "b"])
    named = Regressor(random_state=0).fit(frame, y, X_err={"a": function})
    assert_allclose(named.coef_, model.coef_, rtol=1e-10)
    # Predictions at readings take errors there; at true features none.
    new = np.array([[3.0, 0.0], [8.0, 0.0]])
    spread = model.predict(new, return_std=True, include_noise=False)[1]
    true = model.predict(new, return_std=True, include_noise=False, X_err=0.0)[1]
    assert (spread > 2.0 * true).all()
    assert spread[1] > 1.3 * spread[0]
    assert np.isfinite(np.asarray(model.loo(X, y).iloc[0], dtype=float))
    model.to_arviz(X, y)


def test_gaps_have_no_error() -> None:
    X, y = noisy(2, 0.1)
    X[::7, 0] = np.nan
    model = Regressor(missing="model", random_state=0).fit(X, y, X_err={"x0": VarianceFunction(relative=0.1)})
    assert abs(model.coef_[0] - 2.0) < 4.0 * model.coef_std_[0]
    spread = model.predict(X[:8], return_std=True)[1]
    # A feature that was not measured leaves the most open.
    assert spread.argmax() in (0, 7)


def test_functions_go_where_numbers_go() -> None:
    X, y = readings(1, relative=0.1)
    function = VarianceFunction(relative=0.1)
    model = Regressor(noise="known").fit(X, y, y_err=function)
    assert audit_errors(model, X, y).verdict == "about right"
    small = Regressor(noise="known")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small.fit(X, y, y_err=VarianceFunction(relative=0.05))
    assert audit_errors(small, X, y).verdict == "too small"
    pipeline = make_pipeline(StandardScaler(), Regressor(noise="known"))
    pipeline.fit(X, y, bayesianerrorsinvariablesregressor__y_err=function)
    assert_allclose(pipeline.predict(X), model.predict(X), rtol=1e-6)
    scores = cross_val_score(clone(model), X, y, cv=3, params={"y_err": function}, scoring="r2")
    assert (scores > 0.8).all()
    found = inverse_predict(model, [21.0])
    # 10% of the reading, by the slope.
    assert found.std()[0] == pytest.approx(0.1 * 21.0 / 2.0, rel=0.15)
    assert_allclose(inverse_predict(model, [21.0], y_err=function).interval(), found.interval(), rtol=1e-6)
    again = model.fit(X, y, y_err=0.5)
    assert_allclose(
        again.predict(X[:1], return_std=True)[1], again.predict(X[:1], return_std=True, y_err=0.5)[1]
    )


@pytest.mark.thorough
@pytest.mark.parametrize("relative", [0.1, 0.2])
def test_intervals_cover_slopes(relative: float) -> None:
    inside = 0
    for seed in range(200):
        X, y = noisy(1000 + seed, relative, 120)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Regressor(random_state=0).fit(X, y, X_err={0: VarianceFunction(relative=relative)})
        table = model.summary(0.9)
        inside += bool(table["lower_90%"].iloc[1] <= 2.0 <= table["upper_90%"].iloc[1])
    # 90% of 200, 3.3 standard errors: 7 per cent.
    assert stats.binom.cdf(inside, 200, 0.9) > 5e-4


@pytest.mark.parametrize(("call", "message"), [
    (lambda: Regressor().fit(*noisy(0, 0.1), X_err=[VarianceFunction(1.0)]), "X_err has 1 entries, and X 2 features"),
    (lambda: Regressor().fit(*noisy(0, 0.1), X_err={"c": VarianceFunction(1.0)}), "X_err"),
    (lambda: Regressor().fit(*noisy(0, 0.1), X_err=[VarianceFunction(1.0), "a"]), "X_err must have numbers from 0"),
    (lambda: Regressor(likelihood="poisson").fit(*readings(0), y_err=VarianceFunction(1.0)), "y_err"),
    (lambda: Regressor().partial_fit(*readings(0), y_err=VarianceFunction(1.0)), "y_err"),
    (lambda: Regressor(x_error_distribution="outliers").fit(*noisy(0, 0.1), X_err=[VarianceFunction(1.0), 0.0]),
     "go with x_distribution='normal'"),
])  # fmt: skip
def test_what_is_wrong_is_said(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        call()
    assert len(str(caught.value)) <= 400
