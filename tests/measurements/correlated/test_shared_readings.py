"""Which rows share a reading: labels, what goes with them, means, and rows that look as if they did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.correlated.shared_readings import looks_shared, readings_of
from bayes_sklearn.measurements.feature_errors import FeatureErrors

Array = NDArray[np.float64]


def cities(seed: int = 0, n: int = 12, each: int = 6, error: float = 0.7) -> dict[str, Any]:
    """Rows of cities whose reading was made once."""
    rng = np.random.default_rng(seed)
    x, city = rng.normal(size=n), np.repeat(np.arange(n), each)
    z = 0.5 * x[city] + rng.normal(size=len(city))
    X = np.column_stack([(x + error * rng.normal(size=n))[city], z])
    y = 1.0 + 2.0 * x[city] - z + 0.5 * rng.normal(size=len(city))
    return {"X": X, "y": y, "X_err": [error, 0.0], "X_err_groups": city}


def fit(params: dict[str, Any], **data: Any) -> BayesianErrorsInVariablesRegressor:
    return BayesianErrorsInVariablesRegressor(random_state=0, **params).fit(**data)


def test_labels_are_of_any_type_and_in_any_order() -> None:
    data = cities()
    city = data.pop("X_err_groups")
    expected = fit({}, **data, X_err_groups=city).coef_
    names = [f"city {i:02d}" for i in city]
    for labels in (names, pd.Series(names), pd.Categorical(names), [(int(i), "a") for i in city], 7.5 - city):
        assert_allclose(fit({}, **data, X_err_groups=labels).coef_, expected, rtol=1e-10)
    order = np.random.default_rng(0).permutation(len(city))
    data |= {"X": data["X"][order], "y": data["y"][order]}
    # Sums in another order, and so starts and nodes: by far less than what nodes leave of digits.
    assert_allclose(fit({}, **data, X_err_groups=city[order]).coef_, expected, rtol=0.02)


def changed(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


_EACH_ROW = np.random.default_rng(1).uniform(0.3, 0.6, 72)
_ONE = np.eye(72)[3]
REFUSED = {
    "errors of X": ({}, {"X_err": None}),
    "shape": ({}, {"X_err_groups": [1, 2]}),
    "row 3 has no label": ({}, {"X_err_groups": np.where(_ONE > 0.0, np.nan, 1.0)}),
    "one label": ({}, {"X_err_groups": np.zeros(72)}),
    "another reading of 'x0'": ({}, {"X_err_groups": np.arange(72) % 12}),
    "another X_err": ({}, {"X_err": np.column_stack([_EACH_ROW, 0.0 * _EACH_ROW])}),
    "likelihood='normal'": ({"likelihood": "student_t"}, {}),
    "x_distribution='normal'": ({"x_distribution": "mixture"}, {}),
    "x_error_distribution='normal'": ({"x_error_distribution": "outliers"}, {}),
    "truncation=None": ({"truncation": (-99.0, None)}, {}),
    "y is NaN or a limit": ({}, {"y_censored": _ONE}),
    "leave X_censored out": ({}, {"X_censored": np.column_stack([_ONE, 0.0 * _ONE])}),
    "leave Xy_cov out": ({}, {"y_err": 0.5, "Xy_cov": [0.01, 0.0]}),
    "leave y_cov": ({}, {"y_cov": np.eye(72)}),
    "one y_err a label": ({}, {"y_err": _EACH_ROW}),
    "y, too, is the same": ({}, {"y": np.repeat(np.arange(12.0), 6)}),
    "PoweredCorrelation": ({"coef_prior": "laplace"}, {}),
    "nuts engine": ({"inference": "nuts"}, {}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_does_not_go_with_shared_readings_is_refused_by_name(said: str) -> None:
    from bayes_sklearn.priors import Laplace

    params, data = REFUSED[said]
    if params.get("coef_prior"):
        params = {"coef_prior": Laplace()}
    with pytest.raises(ValueError, match="X_err_groups") as error:
        fit(params, **cities() | data)
    assert said in str(error.value)
    assert len(str(error.value)) <= 400


@pytest.mark.parametrize("where", ["X", "y"])
def test_gaps_beside_shared_readings_are_refused(where: str) -> None:
    data = cities()
    data[where][4, ...] = np.nan
    with pytest.raises(ValueError, match=r"X_err_groups.*leave out rows"):
        fit({"missing": "model"}, **data)


def test_rows_that_do_not_count_may_have_any_reading() -> None:
    data = cities()
    weight = np.ones(72)
    weight[5] = 0.0
    data["X"][5, 0] += 1.0
    without = {name: np.delete(data[name], 5, axis=0) for name in ("X", "y", "X_err_groups")}
    found = fit({"weight_type": "frequency"}, **data, sample_weight=weight).coef_
    # Units are of the rows that count, and so is all else.
    assert_allclose(found, fit({}, **data | without).coef_, rtol=1e-8)


def test_a_frequency_is_so_many_rows_of_the_same_reading() -> None:
    data, times = cities(), np.random.default_rng(0).integers(1, 4, 72)
    rows = {name: np.repeat(data[name], times, axis=0) for name in ("X", "y", "X_err_groups")}
    found = fit({"weight_type": "frequency"}, **data, sample_weight=times)
    expected = fit({}, **data | rows)
    assert_allclose(found.coef_, expected.coef_, rtol=1e-6)
    assert_allclose(found.coef_std_, expected.coef_std_, rtol=1e-6)


def test_means_are_by_precision_and_keep_their_digits() -> None:
    X = np.array([[1.0, 1e9 + 1.0], [1.0, 1e9 + 4.0], [7.0, 1e9]])
    rows = Rows(X, np.array([3.0, 9.0, 5.0]), frequency=np.array([2.0, 1.0, 1.0]))
    errors = FeatureErrors(np.array([0]), np.array([[0.25]]), groups=np.array([0, 0, 1]))
    read = readings_of(rows, errors, np.array([1.0, 0.5, 2.0]))
    # Of precisions 2 and 4.
    assert_allclose(read.rows.X, [[1.0, 1e9 + 3.0], [7.0, 1e9]], rtol=0.0, atol=1e-6)
    assert_allclose(read.rows.y, [7.0, 5.0])
    assert read.apart is not None
    assert_allclose(read.standard_error / np.sqrt(read.apart.copies), [6.0**-0.5, 2.0])
    assert_allclose(read.apart.exact[:, 0], [-2.0, 1.0, 0.0], atol=1e-6)
    assert_allclose(read.apart.y, [-4.0, 2.0, 0.0])


def rounded(rng: np.random.Generator, n: int, step: float, skewed: bool, curve: float) -> tuple[Array, Array]:
    x = rng.exponential(size=n) - 1.0 if skewed else rng.normal(size=n)
    z = 0.5 * x + rng.normal(size=n)
    w = np.round((x + 0.65 * rng.normal(size=n)) / step) * step
    return np.column_stack([w, z]), 2.0 * x - z + curve * x**2 + 0.5 * rng.normal(size=n)


def looks(X: Array, y: Array, error: float = 0.65, y_err: Any = None) -> bool:
    return looks_shared(Rows(X, y), FeatureErrors(np.array([0]), np.array([[error**2]])), y_err) is not None


@pytest.mark.parametrize(("n", "step"), [(60, 0.5), (400, 0.1), (5000, 0.5)])
@pytest.mark.parametrize(("skewed", "curve"), [(False, 0.0), (True, 0.0), (True, 0.3)])
def test_rounded_readings_are_not_taken_for_shared_ones(
    n: int, step: float, skewed: bool, curve: float
) -> None:
    rng = np.random.default_rng(7)
    found = [looks(*rounded(rng, n, step, skewed, curve)) for _ in range(200)]
    # A chance of one in a thousand would give more in one of 90,000 times.
    assert sum(found) <= 3


def test_shared_readings_are_seen() -> None:
    for n, each, least in ((40, 10, 198), (15, 10, 180), (100, 4, 198)):
        tables = [cities(seed, n, each) for seed in range(200)]
        assert sum(looks(table["X"], table["y"], 0.7) for table in tables) >= least

    # A slope of nothing has nothing to share; as many readings as rows are none.
    table = cities(0, 40, 10)
    assert not looks(np.tile(table["X"][::10], (5, 1)), np.tile(table["y"][::10], 5), 0.7)  # copies of rows
    noise = np.random.default_rng(0).normal(size=400)
    assert not looks(table["X"], noise, 0.7)
    assert not looks(table["X"] + 1e-3 * noise[:, None], table["y"], 0.7)


def test_fit_warns_of_rows_that_look_as_if_they_shared_readings() -> None:
    data = cities(0, 40, 10)
    groups = data.pop("X_err_groups")
    with pytest.warns(UserWarning, match="400 rows have 40 readings of 'x0'.*X_err_groups") as caught:
        fit({}, **data)
    assert all(len(str(warning.message)) <= 400 for warning in caught)
    fit({}, **data, X_err_groups=groups)  # warnings are errors
