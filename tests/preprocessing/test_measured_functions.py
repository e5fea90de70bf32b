"""Functions of measured features: errors by their slopes, held against derivatives in high precision and draws."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import mpmath
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.persistence import TRUSTED_TYPES
from bayes_sklearn.preprocessing import MeasuredFunction, MeasuredScaler

Array = NDArray[np.float64]

# The transformer, and the function in high precision.
FUNCTIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "log": ({"function": "log"}, mpmath.log),
    "log10": ({"function": "log10"}, mpmath.log10),
    "sqrt": ({"function": "sqrt"}, mpmath.sqrt),
    "reciprocal": ({"function": "reciprocal"}, lambda x: 1 / x),
    "logit": ({"function": "logit"}, lambda x: mpmath.log(x / (1 - x))),
    "cube": ({"function": "power", "exponent": 3}, lambda x: x**3),
    "root": ({"function": "power", "exponent": -0.25}, lambda x: x ** mpmath.mpf(-0.25)),
    "own": (
        {
            "function": np.arcsinh,
            "derivative": lambda x: 1.0 / np.sqrt(1.0 + x**2),
            "inverse": np.sinh,
        },
        mpmath.asinh,
    ),
}
X = np.array([0.03, 0.2, 0.5, 0.71, 0.97])
ERROR = np.array([0.001, 0.01, 0.002, 0.02, 0.001])


def table(x: Array, error: Array) -> pd.DataFrame:
    return pd.DataFrame({"x": x, "x_err": error})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_multiplied_by_the_slope(name: str) -> None:
    settings, function = FUNCTIONS[name]
    found = MeasuredFunction(**settings, error_columns={0: 1}).fit_transform(np.column_stack([X, ERROR]))
    with mpmath.workdps(30):
        values = [float(function(mpmath.mpf(x))) for x in X]
        slopes = [abs(float(mpmath.diff(function, mpmath.mpf(x)))) for x in X]
    assert_allclose(found[:, 0], values, rtol=1e-13)
    assert_allclose(found[:, 1], slopes * ERROR, rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_those_of_draws(name: str) -> None:
    settings, _ = FUNCTIONS[name]
    transformer = MeasuredFunction(**settings, error_columns="_err").fit(table(X, ERROR))
    draws = X + ERROR * np.random.default_rng(0).normal(size=(20_000, 5))
    values = [transformer.transform(table(draws[:, i], np.zeros(20_000)))[:, 0].std() for i in range(5)]
    # 0.5% is the standard error of 20,000 draws' standard deviation; the rest is the next order.
    assert_allclose(transformer.transform(table(X, ERROR))[:, 1], values, rtol=0.025)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_inverse_gives_back_features_errors_and_covariances(name: str) -> None:
    settings, _ = FUNCTIONS[name]
    both = np.column_stack([X, ERROR, X[::-1], ERROR[::-1], 0.3 * ERROR * ERROR[::-1]])
    transformer = MeasuredFunction(**settings, error_columns={0: 1, 2: 3, 4: (0, 2)})
    there = transformer.fit_transform(both)
    assert_allclose(there[:, 4], 0.3 * np.sign(there[0, 4]) * there[:, 1] * there[:, 3], rtol=1e-12)
    assert_allclose(transformer.inverse_transform(there), both, rtol=1e-10)


def test_covariances_have_the_sign_of_both_slopes() -> None:
    rows = np.column_stack([X, ERROR, X, ERROR, 0.5 * ERROR**2])
    up = MeasuredFunction("log", error_columns={0: 1, 2: 3, 4: (2, 0)}).fit_transform(rows)
    down = MeasuredFunction("reciprocal", error_columns={0: 1, 2: 3, 4: (0, 2)}).fit_transform(rows)
    assert (up[:, 4] > 0.0).all()
    assert (down[:, 4] > 0.0).all()  # twice turned round


@pytest.mark.parametrize(
    ("settings", "x", "least"),
    [
        # |f''| s / (2 |f'|) is s / (2 x), s / x and s / (4 x); at 0 a square has no slope.
        ({"function": "log"}, 2.0, 0.4),
        ({"function": "reciprocal"}, -2.0, 0.2),
        ({"function": "sqrt"}, 2.0, 0.8),
        ({"function": "power", "exponent": 2}, 0.0, 0.0),
    ],
)
def test_it_warns_where_the_next_order_is_a_tenth_of_the_error(
    settings: dict[str, Any], x: float, least: float
) -> None:
    transformer = MeasuredFunction(**settings, error_columns="_err").fit(table(np.ones(1), np.zeros(1)))
    rows = table(np.array([x, x, x]), np.array([0.0, 0.99 * least, 1.01 * least + 1e-3]))
    with pytest.warns(UserWarning, match=r"'x' in 1 of 3 rows, first in row 2"):
        transformer.transform(rows)
    transformer.transform(rows[:2])  # warnings are errors


def test_errors_far_beyond_the_value_warn_too() -> None:
    transformer = MeasuredFunction("log", error_columns="_err").fit(table(np.ones(1), np.zeros(1)))
    with pytest.warns(UserWarning, match="in 3 of 3 rows"):
        transformer.transform(table(np.array([1.0, 1e-8, 1e8]), np.array([1e6, 1.0, 1e9])))


def test_names_and_places_stay_under_every_kind_of_output() -> None:
    rows = pd.DataFrame({"age": [1.0, 2.0], "dose_err": [0.1, 0.1], "dose": [1.0, 5.0]})
    transformer = MeasuredFunction("log", error_columns="_err")
    expected = np.column_stack([np.log(rows.age), [0.1, 0.02], np.log(rows.dose)])
    assert_allclose(transformer.fit_transform(rows), expected)
    for library, frame in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        found = clone(transformer).set_output(transform=library).fit_transform(rows)
        assert isinstance(found, frame)
        assert list(found.columns) == list(rows.columns) == list(transformer.get_feature_names_out())
        assert_allclose(found.to_numpy(), expected)
    from_polars = clone(transformer).set_output(transform="polars").fit_transform(pl.from_pandas(rows))
    assert_allclose(from_polars.to_numpy(), expected)
    assert_array_equal(pickle.loads(pickle.dumps(transformer)).transform(rows), transformer.transform(rows))
    skops = pytest.importorskip("skops.io")
    loaded = skops.loads(skops.dumps(transformer), trusted=TRUSTED_TYPES)
    assert_array_equal(loaded.transform(rows), transformer.transform(rows))


def test_what_was_not_measured_stays_so() -> None:
    rows = table(np.array([np.nan, 1.0, np.nan]), np.array([np.nan, 0.1, 0.1]))
    found = MeasuredFunction("log", error_columns="_err").fit_transform(rows)
    assert_array_equal(np.isnan(found), [[True, True], [False, False], [True, True]])


def simulated(n: int = 300) -> tuple[pd.DataFrame, Array]:
    """A power law, masses with errors of a tenth, and an age that is known."""
    rng = np.random.default_rng(3)
    mass, age = np.exp(rng.normal(1.0, 0.3, n)), rng.uniform(0.0, 1.0, n)
    y = 1.0 + 3.0 * np.log(mass) - age + 0.1 * rng.normal(size=n)
    reading = mass * np.exp(0.15 * rng.normal(size=n))
    return pd.DataFrame({"age": age, "mass": reading, "mass_err": 0.15 * reading}), y


def test_a_power_law_through_a_pipeline_has_the_exponent() -> None:
    rows, y = simulated()
    logs = make_column_transformer(
        (MeasuredFunction("log", error_columns="_err"), ["mass", "mass_err"]),
        (StandardScaler(), ["age"]),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    piped = make_pipeline(logs, Regressor(error_columns="_err")).fit(rows, y)
    features = np.column_stack([np.log(rows.mass), (rows.age - rows.age.mean()) / rows.age.std(ddof=0)])
    by_hand = Regressor().fit(features, y, X_err=[0.15, 0.0])
    assert list(piped[-1].coef_names_) == ["mass", "age"]
    # Errors a row, which are all the same but for rounding: importance sampling has other points.
    assert_allclose(piped[-1].coef_, by_hand.coef_, rtol=1e-3)
    assert_allclose(piped.predict(rows), by_hand.predict(features), rtol=1e-3)
    assert abs(piped[-1].coef_[0] - 3.0) < 3.5 * piped[-1].coef_std_[0]
    assert Regressor().fit(features, y).coef_[0] < 2.6  # without errors


def test_a_scaler_scales_errors_and_centres_none() -> None:
    rows, y = simulated(60)
    rows = rows.assign(age_err=0.1, cov=0.01)
    pairs = {"mass": "mass_err", "age": "age_err", "cov": ("age", "mass")}
    scaler = MeasuredScaler(error_columns=pairs).set_output(transform="pandas")
    found = scaler.fit_transform(rows)
    plain = StandardScaler().fit(rows[["age", "mass"]])
    assert_allclose(found[["age", "mass"]], plain.transform(rows[["age", "mass"]]), atol=1e-14)
    assert_allclose(found[["age_err", "mass_err"]], rows[["age_err", "mass_err"]] / plain.scale_, rtol=1e-13)
    assert_allclose(found["cov"], 0.01 / plain.scale_.prod(), rtol=1e-13)
    assert_allclose(scaler.inverse_transform(found), rows, rtol=1e-13)
    with_scaler = make_pipeline(scaler, Regressor(error_columns=pairs, random_state=0)).fit(rows, y)
    without = Regressor(error_columns=pairs, random_state=0).fit(rows, y)
    assert_allclose(with_scaler.predict(rows), without.predict(rows), rtol=1e-7)
    kept = MeasuredScaler(with_mean=False, with_std=False, error_columns=pairs).fit_transform(rows)
    assert_array_equal(kept, rows)


def test_constants_and_gaps_do_not_break_a_scaler() -> None:
    rows = np.array([[0.1, 1.0, 0.2], [0.1, np.nan, np.nan], [0.1, 3.0, 0.2]])
    found = MeasuredScaler(error_columns={1: 2}).fit_transform(rows)
    assert_allclose(found, [[0.0, -1.0, 0.2], [0.0, np.nan, np.nan], [0.0, 1.0, 0.2]], atol=1e-15)


ROWS = table(X, ERROR)
BAD: dict[str, tuple[dict[str, Any], Any, str]] = {
    "zero": ({"function": "log"}, table(X - X[1], ERROR), r"X has -0.17 in row 0 of the column 'x'.*no log"),
    "log of zero": (
        {"function": "log"},
        table(X * [1, 0, 1, 1, 1], ERROR),
        "log of 0 is not finite, in row 1",
    ),
    "above one": ({"function": "logit"}, table(X * 2.0, ERROR), "X has 1.42 in row 3.*no logit"),
    "an infinite slope": (
        {"function": "sqrt"},
        table(X * [0, 1, 1, 1, 1], ERROR),
        "the function's error at one of 0.001 is not finite, in row 0 of the column 'x_err'",
    ),
    "below zero": ({"function": "log"}, table(X, -ERROR), "errors below 0 in the column 'x_err'"),
    "no error": ({"function": "log"}, table(X, ERROR * np.nan), "'x' in row 0, but its error.*is NaN"),
    "unknown": ({"function": "ln"}, ROWS, "function must be one of log, .*power, or a callable, got 'ln'"),
    "no exponent": ({"function": "power"}, ROWS, "exponent must be a number other than 0, got None"),
    "exponent 0": ({"function": "power", "exponent": 0}, ROWS, "exponent must be a number other than 0"),
    "an exponent": ({"function": "log", "exponent": 2}, ROWS, "exponent goes with function='power'"),
    "no derivative": ({"function": np.sin}, ROWS, "derivative is None, but features have errors"),
    "a derivative": ({"derivative": np.cos}, ROWS, "go with a function of your own"),
    "a shape": (
        {"function": lambda x: x[1:], "derivative": np.cos},
        ROWS,
        r"function returns an array of shape \(4,\) for one of shape \(5,\)",
    ),
    "one error of two": (
        {"error_columns": {0: 2, 1: 2}},
        np.ones((3, 3)),
        "holds the errors of several features",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_functions_refuse_what_is_wrong_by_name(name: str) -> None:
    settings, rows, says = BAD[name]
    with pytest.raises(ValueError, match=says) as caught:
        MeasuredFunction(**{"error_columns": "_err", **settings}).fit_transform(rows)
    assert len(str(caught.value)) <= 400


def test_a_function_without_inverse_has_no_inverse_transform() -> None:
    assert not hasattr(MeasuredFunction(np.sin), "inverse_transform")
    assert hasattr(MeasuredFunction(), "inverse_transform")


def test_messages_name_the_line_that_called() -> None:
    transformer = MeasuredFunction("log", error_columns="_err").fit(ROWS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transformer.transform(table(X, X))
    assert caught[0].filename == __file__
