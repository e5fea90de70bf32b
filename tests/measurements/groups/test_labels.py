"""Labels of groups are of any type, and what is wrong with them is said by name."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Normal
from bayes_sklearn.measurements.groups.labels import Groupings


def table() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 9, 80)
    frame = pd.DataFrame({"x": rng.normal(size=80), "w": rng.normal(size=80), "g": group})
    return frame, frame["x"].to_numpy() + rng.normal(size=9)[group] + 0.3 * rng.normal(size=80)


KINDS = {
    "words": lambda g: g.map(lambda i: f"group {i}"),
    "objects": lambda g: g.map(lambda i: f"group {i}").astype(object),
    "categories": lambda g: g.map(lambda i: f"group {i}").astype("category"),
    "dates": lambda g: pd.Timestamp("2020-01-01") + pd.to_timedelta(g, "D"),
    "floats": lambda g: g * 0.5,
    "flags and words": lambda g: g.map(lambda i: True if i == 0 else f"{i}").astype(object),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_of_any_type(kind: str) -> None:
    frame, y = table()
    plain = BayesianErrorsInVariablesRegressor(group_column="g").fit(frame, y)
    labelled = frame.assign(g=KINDS[kind](frame["g"]))
    model = BayesianErrorsInVariablesRegressor(group_column="g").fit(labelled, y)
    assert_allclose(model.predict(labelled.head(20)), plain.predict(frame.head(20)), rtol=1e-8)
    assert model.coef_names_.tolist() == ["x", "w"]
    assert model.n_features_in_ == 3
    assert len(model.group_effects_) == 9
    assert_allclose(
        pickle.loads(pickle.dumps(model)).predict(labelled.head(3)), model.predict(labelled.head(3))
    )


def test_arrays_and_lists_hold_labels_by_position() -> None:
    frame, y = table()
    plain = BayesianErrorsInVariablesRegressor(group_column="g").fit(frame, y)
    for X in (
        frame.to_numpy(),
        frame.astype({"g": str}).to_numpy(dtype=object),
        frame.astype({"g": str}).values.tolist(),
    ):
        model = BayesianErrorsInVariablesRegressor(group_column=-1).fit(X, y)
        assert_allclose(model.coef_, plain.coef_, rtol=1e-8)
        assert_allclose(model.predict(X[:5]), plain.predict(frame.head(5)), rtol=1e-8)
    assert model.group_std_.index.tolist() == ["x2"]


def test_new_labels_are_groups_and_missing_ones_are_each_their_own() -> None:
    frame, y = table()
    groupings, members = Groupings.of(frame, "g", None, ["x", "w"])
    assert members.max() == 8
    assert groupings.sizes == (9,)
    new = pd.DataFrame({"g": [0.0, 77.0, np.nan, 77.0, np.nan, 8.0]})
    assert groupings.members(new).ravel().tolist() == [0, 9, 10, 9, 11, 8]
    model = BayesianErrorsInVariablesRegressor(group_column="g").fit(frame, y)
    rows = pd.DataFrame({"x": 0.0, "w": 0.0, "g": [77.0, 77.0, np.nan, 0.0]})
    covariance = model.predict(rows, return_cov=True)[1]
    # Two rows of one new group share its effect.
    assert covariance[0, 1] > 0.5 * covariance[0, 0] > 5.0 * covariance[0, 2]
    draws = model.sample_y(rows, 20_000, random_state=0)
    # The chance of a false alarm is 1e-5: entries are known to 1%, in units of the largest variance.
    assert_allclose(np.cov(draws), covariance, atol=0.045 * covariance.max())


def test_pipelines_and_searches_pass_labels_on() -> None:
    frame, y = table()
    frame = frame.astype({"g": str})
    scaled = make_column_transformer(
        (StandardScaler(), ["x", "w"]), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    model = BayesianErrorsInVariablesRegressor(group_column="g")
    pipe = make_pipeline(scaled, model).fit(frame, y)
    assert_allclose(pipe.predict(frame), model.fit(frame, y).predict(frame), rtol=1e-6)
    known = cross_val_score(model, frame, y, cv=5)
    new = cross_val_score(model, frame, y, cv=GroupKFold(5), groups=frame["g"])
    assert known.mean() > new.mean()
    search = GridSearchCV(model, {"group_prior__nu": [3.0, 30.0], "group_slopes": [None, "x"]}).fit(frame, y)
    assert search.best_score_ > 0.5


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no such column": ({"group_column": "gg"}, "group_column='gg' is not a column of X"),
    "not a name": ({"group_column": 1.5}, "group_column must be a column's name or position"),
    "twice": ({"group_column": ["g", "g"]}, "group_column=.* names a column twice"),
    "slopes of nothing": ({"group_column": "g", "group_slopes": "z"}, "group_slopes='z' is not a column"),
    "slopes of the group": ({"group_column": "g", "group_slopes": "g"}, "group_slopes='g' is not a column"),
    "slopes twice": ({"group_column": "g", "group_slopes": ["x", "x"]}, "group_slopes names a feature twice"),
    "slopes of which": (
        {"group_column": ["g", "w"], "group_slopes": "x"},
        "group_slopes must say which grouping",
    ),
    "slopes of another": (
        {"group_column": "g", "group_slopes": {"h": "x"}},
        "group_slopes: 'h' is not in group_column",
    ),
    "slopes alone": ({"group_slopes": "x"}, "group_slopes is given, but group_column"),
    "prior alone": ({"group_prior": Normal()}, "group_prior is given, but group_column"),
    "prior of coefficients": (
        {"group_column": "g", "group_prior": Normal()},
        "group_prior must be a prior for the",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str) -> None:
    parameters, message = WRONG[case]
    frame, y = table()
    model = BayesianErrorsInVariablesRegressor(**parameters)
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        model.fit(frame, y)
    assert len(str(caught.value)) <= 400
    assert not hasattr(model, "coef_")


def test_labels_that_say_nothing_are_refused() -> None:
    frame, y = table()
    model = BayesianErrorsInVariablesRegressor(group_column="g")
    with pytest.raises(ValueError, match="all rows have the label 1"):
        model.fit(frame.assign(g=1), y)
    with pytest.raises(ValueError, match="row 3 has no label"):
        model.fit(frame.assign(g=frame["g"].where(np.arange(80) != 3)), y)
    model.fit(frame, y)
    with pytest.raises(ValueError, match="are of another type than those of fit"):
        model.predict(frame.assign(g="a"))
    with pytest.raises(ValueError, match="group_column='g' is not a column"):
        model.predict(frame[["x", "w"]])


def test_an_engine_without_groups_refuses_them() -> None:
    frame, y = table()
    model = BayesianErrorsInVariablesRegressor(
        group_column="g", likelihood="student_t", inference="importance"
    )
    with pytest.raises(ValueError, match="no effects of groups"):
        model.fit(frame, y)
