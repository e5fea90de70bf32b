"""Rows of groups that come batch by batch, in parts that are merged, or in blocks: as one fit finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    BayesianErrorsInVariablesRegressorCV,
    distributed,
)
from bayes_sklearn.priors import HalfNormal, HalfStudentT, Laplace, Normal

Array = NDArray[np.float64]

pytestmark = pytest.mark.filterwarnings("ignore:Not fitted yet", "ignore:The stated errors look too small")

N = 120


def table(offset: float = 0.0) -> tuple[pd.DataFrame, Array]:
    """Rows of 11 classes, two of which have one row, crossed with 4 labs."""
    rng = np.random.default_rng(5)
    school = np.array([*rng.integers(0, 9, N - 2), 9, 10])
    lab = rng.integers(0, 4, N)
    X = rng.normal(size=(N, 2)) + np.array([1.0, 1.0])
    X[:, 0] += 0.2 * school
    y = X @ [1.0, -2.0] + rng.normal(size=11)[school] + 0.4 * rng.normal(size=11)[school] * X[:, 1]
    y += rng.normal(size=4)[lab] + 0.5 * rng.normal(size=N)
    frame = pd.DataFrame(X + offset, columns=["a", "b"])
    return frame.assign(school=[f"s{i}" for i in school], lab=lab), y + offset


def settings() -> dict[str, tuple[dict[str, Any], dict[str, Array]]]:
    rng = np.random.default_rng(6)
    errors = {"y_err": rng.uniform(0.3, 0.7, N)}
    few = {"y_err": rng.choice([0.2, 0.5, 0.9], N)}
    weight = {"sample_weight": rng.integers(0, 4, N).astype(float)}
    return {
        "no errors": ({}, {}),
        "slopes": ({"group_slopes": "b"}, {}),
        "known": ({"noise": "known"}, errors),
        "scaled": ({"noise": "scaled", "weight_type": "frequency"}, {**errors, **weight}),
        "precision": ({"weight_type": "precision"}, {"sample_weight": 0.2 + weight["sample_weight"]}),
        "additive": ({"noise": "additive"}, few),
        "crossed": ({"group_column": ["school", "lab"]}, {}),
    }


SETTINGS = settings()

SLOW = {
    "crossed slopes": ({"group_column": ["school", "lab"], "group_slopes": {"school": ["b"]}}, {}),
    "two slopes": ({"group_slopes": ["b", "a"]}, {}),
    "additive slopes": ({"noise": "additive", "group_slopes": "a"}, SETTINGS["additive"][1]),
    "crossed additive": ({"group_column": ["lab", "school"], "noise": "additive"}, SETTINGS["additive"][1]),
}
"""Of three standard deviations, which are sampled."""


def some(given: Mapping[str, Array], rows: Any) -> dict[str, Array]:
    return {name: value[rows] for name, value in given.items()}


def assert_same(found: Any, whole: Any, frame: pd.DataFrame, tolerance: float = 1e-9) -> None:
    sd = whole.coef_std_
    assert_allclose(found.coef_ / sd, whole.coef_ / sd, atol=tolerance)
    assert_allclose(found.coef_std_, sd, rtol=tolerance)
    assert_allclose(found.group_std_, whole.group_std_, rtol=tolerance)
    assert_allclose(found.log_marginal_likelihood_, whole.log_marginal_likelihood_, atol=tolerance)
    pd.testing.assert_frame_equal(found.group_effects_, whole.group_effects_, rtol=tolerance, atol=tolerance)
    new = frame.iloc[:8].assign(school=["s0", "s9", "new", None, "s3", "s3", "s3", "s10"])
    assert_allclose(found.predict(new, return_std=True), whole.predict(new, return_std=True), rtol=tolerance)


@pytest.mark.parametrize(
    "case", [*SETTINGS, *(pytest.param(name, marks=pytest.mark.thorough) for name in SLOW)]
)
def test_batches_and_parts_give_what_one_fit_does(case: str) -> None:
    parameters, given = (SETTINGS | SLOW)[case]
    frame, y = table()
    model = BayesianErrorsInVariablesRegressor(**{"group_column": "school", **parameters})
    whole = type(model)(**model.get_params()).fit(frame, y, **given)
    # A first batch of one row, and schools that come in one batch alone.
    order = np.argsort(frame["school"].to_numpy(), kind="stable")
    for rows in np.split(order, [1, 70]):
        model.partial_fit(frame.iloc[rows], y[rows], **some(given, rows))
    assert_same(model, whole, frame)
    parts = [
        type(model)(**model.get_params()).fit(frame.iloc[rows], y[rows], **some(given, rows))
        for rows in (np.arange(0, N, 2), np.arange(1, N, 2))
    ]
    assert_same(parts[1].merge(parts[0]), whole, frame)
    assert parts[1].group_effects_.index.equals(whole.group_effects_.index)


def test_an_offset_costs_no_digits() -> None:
    frame, y = table(offset=1e6)
    model = BayesianErrorsInVariablesRegressor(group_column="school", group_slopes="b")
    whole = type(model)(**model.get_params()).fit(frame, y)
    for rows in np.array_split(np.arange(N), 3):
        model.partial_fit(frame.iloc[rows], y[rows])
    # Readings of 1e6 have ten digits.
    assert_same(model, whole, frame, 1e-8)


def test_blocks_give_what_one_fit_does() -> None:
    frame, y = table()
    model = BayesianErrorsInVariablesRegressor(group_column="school")
    whole = type(model)(**model.get_params()).fit(frame, y)
    blocks = [(frame.iloc[rows], y[rows]) for rows in np.array_split(np.arange(N), 4)]
    assert_same(distributed.fit(model, blocks), whole, frame)
    import dask.dataframe as dd

    collection = dd.from_pandas(frame.assign(y=y), npartitions=3)
    assert_same(distributed.fit(model, collection, "y"), whole, frame)
    mean = distributed.predict(model, collection[["a", "b", "school", "lab"]])
    assert_allclose(np.asarray(mean.compute()), whole.predict(frame), rtol=1e-9)


@pytest.mark.parametrize("count_error", ["observed", "fitted"])
def test_blocks_of_shares_give_what_one_fit_does(count_error: str) -> None:
    frame, y = table()
    rng = np.random.default_rng(7)
    counts = rng.integers(5, 80, N)
    share = rng.binomial(counts, 1.0 / (1.0 + np.exp(-0.2 * (y - y.mean())))) / counts
    model = BayesianErrorsInVariablesRegressor(
        group_column="school", weight_type="counts", count_error=count_error
    )
    whole = type(model)(**model.get_params()).fit(frame, share, sample_weight=counts)
    blocks = [(frame.iloc[rows], share[rows], counts[rows]) for rows in np.array_split(np.arange(N), 3)]
    assert_same(distributed.fit(model, blocks), whole, frame)


@pytest.mark.thorough
def test_a_sampler_takes_the_rows_that_stand_for_all() -> None:
    frame, y = table()
    model = BayesianErrorsInVariablesRegressor(
        group_column="school", coef_prior=Laplace(), random_state=1
    ).fit(frame, y)
    before = model.summary()
    after = model.merge().summary()
    assert model.inference_ == "nuts"
    # Of two runs of the sampler, each with effective sizes above 300: 5 standard errors of a difference.
    bound = 5.0 * np.sqrt(2.0 / 300.0)
    assert (np.abs(after["mean"] - before["mean"]) < bound * before["sd"]).all()


def test_what_does_not_go_together_is_said() -> None:
    frame, y = table()
    model = BayesianErrorsInVariablesRegressor(group_column="school")
    with pytest.warns(UserWarning, match="Not fitted yet: group_column='school': all rows have the label 's"):
        model.partial_fit(frame.iloc[[0, 0, 0]], y[:3])
    assert not hasattr(model, "coef_")
    with pytest.raises(ValueError, match="are of another type than those of the rows before, such as 's"):
        model.partial_fit(frame.assign(school=frame["lab"]), y)
    model.partial_fit(frame, y)
    assert model._seen.sufficient.whole.n_rows == N + 3
    with pytest.raises(ValueError, match="group_slopes was None for the rows seen before"):
        model.set_params(group_slopes="a").partial_fit(frame, y)
    other = BayesianErrorsInVariablesRegressor(group_column="lab").fit(frame.drop(columns="school"), y)
    with pytest.raises(ValueError, match="group_column was 'lab'"):
        model.set_params(group_slopes=None).merge(other)


@pytest.mark.parametrize("scoring", ["loo", "marginal_likelihood"])
def test_a_search_scores_what_fits_of_groups_do(scoring: str) -> None:
    frame, y = table()
    frame, y = frame.iloc[:50], y[:50]
    grid = {
        "coef_prior": [Normal(sigma=0.2), Normal()],
        "group_prior": [HalfNormal(0.1), HalfStudentT(nu=3.0)],
    }
    base = BayesianErrorsInVariablesRegressor(group_column="school")
    search = BayesianErrorsInVariablesRegressorCV(base, grid, scoring=scoring).fit(frame, y)
    for params, score in zip(search.cv_results_["params"], search.cv_results_["score"], strict=True):
        model = BayesianErrorsInVariablesRegressor(group_column="school").set_params(**params).fit(frame, y)
        if scoring == "marginal_likelihood":
            assert_allclose(score, model.log_marginal_likelihood_, rtol=1e-10)
        else:
            found = model.loo(frame, y)
            assert_allclose(score, found.elpd_loo if hasattr(found, "elpd_loo") else found.elpd, rtol=1e-10)
    assert search.best_params_["group_prior"].__class__ is HalfStudentT
    assert_allclose(search.predict(frame), search.best_estimator_.predict(frame))


@pytest.mark.thorough
def test_merged_models_know_errors_of_features_beside_groups() -> None:
    rng = np.random.default_rng(3)
    school = np.repeat(np.arange(8), 10)
    x = rng.normal(size=80) + rng.normal(size=8)[school]
    y = 1.0 + x + rng.normal(size=8)[school] + 0.4 * rng.normal(size=80)
    frame = pd.DataFrame({"x": x + 0.6 * rng.normal(size=80), "school": school})
    model = BayesianErrorsInVariablesRegressor(group_column="school", random_state=0)
    before = model.fit(frame, y, X_err=0.6).summary()
    after = model.merge().summary()
    assert abs(before.loc["x", "mean"] - 1.0) < 3.0 * before.loc["x", "sd"]
    bound = 5.0 * np.sqrt(2.0 / 1000.0)
    assert (np.abs(after["mean"] - before["mean"]) < bound * before["sd"]).all()
