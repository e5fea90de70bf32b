"""Columns of X that hold covariances of features' errors: the same as X_cov."""

from __future__ import annotations

import pickle
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.model_selection import cross_val_predict

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.persistence import TRUSTED_TYPES

mpl.use("Agg")
Array = NDArray[np.float64]

N = 120
RNG = np.random.default_rng(0)
SD = RNG.uniform(0.2, 0.5, (N, 2))
CORRELATION = RNG.uniform(-0.9, 0.9, N)
COVARIANCE = np.zeros((N, 3, 3))
COVARIANCE[:, [0, 2], [0, 2]] = SD**2
COVARIANCE[:, 0, 2] = COVARIANCE[:, 2, 0] = CORRELATION * SD.prod(axis=1)
TRUE = RNG.normal(size=(N, 3))
Y = TRUE @ [1.0, -0.5, 2.0] + 0.3 * RNG.normal(size=N)
FEATURES = pd.DataFrame(
    TRUE + np.array([RNG.multivariate_normal(np.zeros(3), c) for c in COVARIANCE]), columns=["a", "z", "b"]
)
TABLE = FEATURES.assign(a_err=SD[:, 0], b_err=SD[:, 1])
TABLE.insert(1, "ab", COVARIANCE[:, 0, 2])
NAMED = {"a": "a_err", "b": "b_err", "ab": ("b", "a")}


def test_a_column_of_covariances_is_that_of_X_cov() -> None:
    model = Regressor(error_columns=NAMED, random_state=0).fit(TABLE, Y)
    given = Regressor(random_state=0).fit(FEATURES, Y, X_cov=COVARIANCE)
    assert list(model.coef_names_) == ["a", "z", "b"]
    assert_array_equal(model.coef_, given.coef_)
    assert_allclose(
        model.predict(TABLE, return_std=True), given.predict(FEATURES, return_std=True, X_cov=COVARIANCE)
    )
    by_position = Regressor(error_columns={0: 4, -3: 5, 1: (0, 3)}, random_state=0).fit(TABLE.to_numpy(), Y)
    assert_array_equal(by_position.coef_, given.coef_)
    without = Regressor(error_columns={"a": "a_err", "b": "b_err"}).fit(TABLE.drop(columns="ab"), Y)
    assert np.abs(without.coef_ - given.coef_).max() > 1e-3


def test_columns_of_covariances_are_split_saved_and_drawn_with_their_rows() -> None:
    from bayes_sklearn.displays import RegressionLineDisplay

    model = Regressor(error_columns=NAMED, random_state=0)
    found = cross_val_predict(model, TABLE, Y, cv=2)
    first, second = np.arange(N // 2), np.arange(N // 2, N)
    by_hand = Regressor(random_state=0).fit(FEATURES.iloc[first], Y[first], X_cov=COVARIANCE[first])
    assert_allclose(found[second], by_hand.predict(FEATURES.iloc[second], X_cov=COVARIANCE[second]))
    model.fit(TABLE, Y)
    skops = pytest.importorskip("skops.io")
    for loaded in (
        pickle.loads(pickle.dumps(model)),
        skops.loads(skops.dumps(model), trusted=TRUSTED_TYPES),
    ):
        assert_array_equal(loaded.predict(TABLE), model.predict(TABLE))
    assert len(RegressionLineDisplay.from_estimator(model, TABLE, Y, feature="a").x) > 1
    with pytest.raises(ValueError, match="it is no feature"):
        RegressionLineDisplay.from_estimator(model, TABLE, Y, feature="ab")


def test_covariances_of_what_was_not_measured_do_not_matter() -> None:
    gaps = TABLE.copy()
    gaps.loc[:9, ["a", "a_err", "ab"]] = np.nan
    model = Regressor(error_columns=NAMED, missing="model", random_state=0).fit(gaps, Y)
    other = Regressor(error_columns=NAMED, missing="model", random_state=0).fit(gaps.fillna({"ab": 0.01}), Y)
    assert_array_equal(model.coef_, other.coef_)


BAD: dict[str, tuple[Any, Any, str]] = {
    "one": ({**NAMED, "ab": ("a",)}, TABLE, "a column holds the covariance of two features' errors"),
    "an exact one": ({**NAMED, "ab": ("a", "z")}, TABLE, "two features with an error column each"),
    "itself": ({**NAMED, "ab": ("a", "a")}, TABLE, "two features with an error column each"),
    "an error's": ({**NAMED, "a_err": ("a", "b")}, TABLE, "the column 'a_err' is named twice"),
    "two columns": ({**NAMED, "z": ("a", "b")}, TABLE, "have two columns for one covariance"),
    "unknown": ({**NAMED, "ba": ("a", "b")}, TABLE, "'ba' is not a column of X"),
    "too large": (NAMED, TABLE.assign(ab=1.0), "What error_columns name is not a covariance in row"),
    "NaN": (
        {**NAMED},
        TABLE.assign(ab=np.where(np.arange(N) == 7, np.nan, 0.0)),
        "covariance's column .* contains NaN or infinity, first in row 7",
    ),
    "no errors": (NAMED, TABLE.assign(a_err=0.0), "is not zero for a feature whose errors are all 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_columns_that_hold_no_covariance_are_refused_by_name(name: str) -> None:
    columns, table, says = BAD[name]
    with pytest.raises(ValueError, match=says) as caught:
        Regressor(error_columns=columns, missing="model").fit(table, Y)
    assert len(str(caught.value)) <= 400
