"""Ratios and differences of features, with the covariance of their errors, and polynomials that are refused."""

from __future__ import annotations

import pickle
from typing import Any

import mpmath
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.persistence import TRUSTED_TYPES
from bayes_sklearn.preprocessing import MeasuredPair, MeasuredPolynomial

Array = NDArray[np.float64]

ROWS = pd.DataFrame(
    {
        "a": [2.0, -4.0, 1.0],
        "age": [1.0, 2.0, 3.0],
        "b": [4.0, 5.0, -3.0],
        "a_err": [0.1, 0.2, 0.05],
        "b_err": [0.2, 0.1, 0.1],
        "cov": [0.01, -0.015, 0.0],
    }
)
ERRORS = {"a": "a_err", "b": "b_err", "cov": ("a", "b")}
FUNCTIONS: dict[str, Any] = {"ratio": lambda a, b: a / b, "difference": lambda a, b: a - b}


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("keep", ["first", "second", None])
def test_errors_and_covariances_are_those_of_the_jacobian(kind: str, keep: str | None) -> None:
    transformer = MeasuredPair(kind, ("a", "b"), keep=keep, name="r", error_columns=ERRORS)
    found = transformer.set_output(transform="pandas").fit_transform(ROWS)
    kept = {"first": ["a", "a_err", "r_cov"], "second": ["b", "b_err", "r_cov"], None: []}[keep]
    assert list(found.columns) == ["r", "r_err", *kept, "age"]
    assert_array_equal(found[[*kept[:2], "age"]], ROWS[[*kept[:2], "age"]])
    for i, row in ROWS.iterrows():
        at = (row.a, row.b)
        slopes = [float(mpmath.diff(FUNCTIONS[kind], at, n)) for n in ((1, 0), (0, 1))]
        jacobian = np.array([slopes, [1.0, 0.0] if keep == "first" else [0.0, 1.0]])
        errors = np.array([[row.a_err**2, row["cov"]], [row["cov"], row.b_err**2]])
        expected = jacobian @ errors @ jacobian.T
        assert_allclose(found.loc[i, "r"], FUNCTIONS[kind](*at), rtol=1e-13)
        assert_allclose(found.loc[i, "r_err"], np.sqrt(expected[0, 0]), rtol=1e-10)
        if keep:
            assert_allclose(found.loc[i, "r_cov"], expected[0, 1], rtol=1e-10)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_errors_and_covariances_are_those_of_draws(kind: str) -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[0.01, 0.012], [0.012, 0.04]])
    draws = rng.multivariate_normal([2.0, 5.0], covariance, 200_000)
    r = FUNCTIONS[kind](*draws.T)
    found = MeasuredPair(kind, keep="second", error_columns={0: 2, 1: 3, 4: (0, 1)}).fit_transform(
        [[2.0, 5.0, 0.1, 0.2, 0.012]]
    )
    assert_allclose(found[0, 1], r.std(), rtol=0.01)
    assert_allclose(found[0, 4], np.cov(r, draws[:, 1])[0, 1], rtol=0.03)


def measured(n: int = 1000) -> tuple[pd.DataFrame, Array, Array]:
    """Two features with errors, the target's line in their ratio and the second, and their truth."""
    rng = np.random.default_rng(5)
    b = rng.uniform(2.0, 4.0, n)
    r = rng.normal(1.0, 0.1, n)
    y = 1.0 + 5.0 * r + b + 0.1 * rng.normal(size=n)
    errors = {"a_err": 0.1, "b_err": 0.25}
    rows = pd.DataFrame({"a": r * b + 0.1 * rng.normal(size=n), "b": b + 0.25 * rng.normal(size=n)})
    return rows.assign(**errors), y, np.array([5.0, 1.0])


@pytest.mark.filterwarnings("ignore:The errors of 'b', a denominator")
def test_a_pipeline_carries_the_covariance_to_the_fit() -> None:
    rows, y, truth = measured()
    pair = MeasuredPair("ratio", ("a", "b"), keep="second", error_columns="_err")
    table = pair.set_output(transform="pandas").fit_transform(rows)
    piped = make_pipeline(pair, Regressor(error_columns=pair.error_columns_, random_state=0)).fit(rows, y)
    variances = np.empty((len(rows), 2, 2))
    variances[:, 0, 0], variances[:, 1, 1] = table["a/b_err"] ** 2, table["b_err"] ** 2
    variances[:, 0, 1] = variances[:, 1, 0] = table["a/b_cov"]
    by_hand = Regressor(random_state=0).fit(table[["a/b", "b"]], y, X_cov=variances)
    assert list(piped[-1].coef_names_) == ["a/b", "b"]
    assert_allclose(piped[-1].coef_, by_hand.coef_, rtol=1e-10)
    assert_allclose(piped.predict(rows), by_hand.predict(table[["a/b", "b"]], X_cov=variances), rtol=1e-10)
    away = (piped[-1].coef_ - truth) / piped[-1].coef_std_
    assert (np.abs(away) < 2.0).all(), away
    # Without the covariance the same errors mislead.
    half = Regressor(error_columns={"a/b": "a/b_err", "b": "b_err"}).fit(table.drop(columns="a/b_cov"), y)
    assert np.abs((half.coef_ - truth) / half.coef_std_).max() > 3.0


def test_others_keep_their_errors_and_covariances() -> None:
    rows = ROWS.assign(c=1.0, c_err=0.1, age_err=0.1, ca=0.001)
    errors = {**ERRORS, "c": "c_err", "age": "age_err", "ca": ("c", "age")}
    pair = MeasuredPair("difference", ("b", "a"), error_columns=errors).fit(rows)
    assert pair.error_columns_ == {"b-a": "b-a_err", "c": "c_err", "age": "age_err", "ca": ("age", "c")}
    assert list(pair.get_feature_names_out()) == ["b-a", "b-a_err", "age", "c", "c_err", "age_err", "ca"]
    exact = MeasuredPair("difference", ("age", "a")).fit(rows[["age", "a", "c"]])
    assert list(exact.get_feature_names_out()) == ["age-a", "c"]
    one = MeasuredPair("ratio", ("age", "b"), keep="second", error_columns={"b": "b_err"})
    found = one.fit_transform(ROWS[["age", "b", "b_err"]])
    assert_allclose(found[:, 4], -ROWS.age / ROWS.b**2 * ROWS.b_err**2, rtol=1e-13)
    skops = pytest.importorskip("skops.io")
    for loaded in (
        pickle.loads(pickle.dumps(pair)),
        skops.loads(skops.dumps(pair), trusted=TRUSTED_TYPES),
    ):
        assert_array_equal(loaded.transform(rows), pair.transform(rows))


def test_a_noisy_denominator_warns() -> None:
    pair = MeasuredPair("ratio", ("a", "b"), error_columns=ERRORS).fit(ROWS)
    with pytest.warns(UserWarning, match="'b', a denominator, .* 1 of 3 rows, first in row 1"):
        pair.transform(ROWS.assign(b_err=[0.39, 0.51, 0.29], a_err=1.0))


def test_what_was_not_measured_has_no_ratio() -> None:
    rows = ROWS.assign(a=[np.nan, 1.0, 1.0], b=[1.0, np.nan, 2.0])
    found = MeasuredPair("ratio", ("a", "b"), error_columns={"a": "a_err"}).fit_transform(rows)
    assert_array_equal(np.isnan(found[:, :2]), [[True, True], [True, True], [False, False]])


BAD: dict[str, tuple[dict[str, Any], Any, str]] = {
    "a kind": ({"kind": "product"}, ROWS, "kind must be one of ratio, difference, got 'product'"),
    "both": ({"keep": "both"}, ROWS, "keep must be one of first, second, None, got 'both'"),
    "one feature": ({"features": ("a",)}, ROWS, "features must be two columns of X"),
    "the same": ({"features": ("a", "a")}, ROWS, "features names a feature twice"),
    "an error": ({"features": ("a", "b_err")}, ROWS, "features: the column 'b_err' holds errors"),
    "no column": ({"features": ("a", "d")}, ROWS, "features='d' is not a column of X"),
    "zero": ({}, ROWS.assign(b=[1.0, 0.0, 1.0]), "a ratio to one of 0 is not finite, in row 1"),
    "a covariance": ({}, ROWS.assign(cov=1.0), "the covariance .* is more than the product of the errors"),
    "a name": ({"name": "age"}, ROWS, "Two columns would be called 'age'"),
    "a third": (
        {"error_columns": {"a": "a_err", "age": "b_err", "cov": ("a", "age")}},
        ROWS,
        "'cov' holds a covariance with a third feature's errors",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_pairs_refuse_what_is_wrong_by_name(name: str) -> None:
    settings, rows, says = BAD[name]
    with pytest.raises(ValueError, match=says) as caught:
        MeasuredPair(**{"features": ("a", "b"), "error_columns": ERRORS, **settings}).fit_transform(rows)
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize("only", [False, True])
def test_polynomials_of_exact_features_are_those_of_scikit_learn(only: bool) -> None:
    rows = ROWS.drop(columns="cov")
    transformer = MeasuredPolynomial(
        3, interaction_only=only, features=["age", "b"], error_columns={"a": "a_err"}
    ).set_output(transform="pandas")
    found = transformer.fit_transform(rows)
    peer = PolynomialFeatures(3, interaction_only=only, include_bias=False).set_output(transform="pandas")
    expected = peer.fit_transform(rows[["age", "b"]])
    assert_array_equal(found[rows.columns], rows)
    assert set(found.columns) == {*rows.columns, *expected.columns}
    assert_allclose(found[expected.columns], expected, rtol=1e-14)


@pytest.mark.parametrize("features", [None, ["age", "a"]])
def test_polynomials_of_features_with_errors_are_refused(features: Any) -> None:
    with pytest.raises(ValueError, match=r"'a' has errors \('a_err'\).*refused.*MeasuredFunction") as caught:
        MeasuredPolynomial(features=features, error_columns=ERRORS).fit(ROWS)
    assert len(str(caught.value)) <= 400
    MeasuredPolynomial(1, error_columns=ERRORS).fit(ROWS)


def test_first_order_errors_of_a_square_mislead() -> None:
    """Why they are refused: undone as first order has it, a curvature comes out a seventh too large."""
    rng = np.random.default_rng(0)
    s, n = 0.6, 1_000_000
    x = rng.normal(size=n)
    w = x + s * rng.normal(size=n)
    y = x**2 + 0.1 * rng.normal(size=n)
    measured = np.cov(np.column_stack([w, w**2, y]).T)
    slopes = np.stack([np.ones(n), 2.0 * w])
    errors = s**2 * slopes @ slopes.T / n
    curvature = np.linalg.solve(measured[:2, :2] - errors, measured[:2, 2])[1]
    # Cov(w^2, x^2) = 2, Var(w^2) = 2 (1 + s^2)^2; errors of w^2 have 4 s^2 + 2 s^4, by first order 4 s^2 + 4 s^4.
    assert_allclose(curvature, 2.0 / (2.0 * (1.0 + s**2) ** 2 - 4.0 * s**2 * (1.0 + s**2)), rtol=0.02)
    assert curvature > 1.13


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"degree": 0}, "degree must be a positive whole number, got 0"),
        ({"features": "age"}, "features must be a list of columns, got 'age'"),
        ({"features": ["a_err"]}, "'a_err' holds errors"),
        ({"interaction_only": "no"}, "interaction_only must be True or False"),
    ],
)
def test_polynomials_refuse_what_is_wrong_by_name(settings: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        MeasuredPolynomial(**{"features": ["age"], "error_columns": ERRORS, **settings}).fit(ROWS)
