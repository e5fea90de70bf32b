"""Inside scikit-learn: Pipelines, cross-validation, searches, routing, parallel backends."""

from __future__ import annotations

import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.linear_model import BayesianRidge, LinearRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Flat, HalfCauchy, Normal, predictive_distribution
from bayes_sklearn.estimators.fitted import FittedModel
from bayes_sklearn.estimators.groups.attributes import GroupsMixin
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.metrics import SCORERS, neg_crps_scorer

from data import measured, shares

# Candidates may be too narrow.
pytestmark = pytest.mark.filterwarnings("ignore:The data contradict")

CV = KFold(4, shuffle=True, random_state=0)


@pytest.fixture
def frame() -> tuple[pd.DataFrame, np.ndarray]:
    X, y, counts = shares()
    return pd.DataFrame(X, columns=["a", "b"]).assign(messages=counts), y


def test_the_three_ways_of_carrying_counts_score_alike(frame: Any) -> None:
    X, y = frame
    features, counts = X[["a", "b"]], X["messages"].to_numpy()
    column = cross_validate(Regressor(count_column="messages"), X, y, cv=CV)
    plain = cross_validate(
        Regressor(weight_type="counts"), features, y, cv=CV, params={"sample_weight": counts}
    )
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_validate(
            Regressor(weight_type="counts").set_fit_request(sample_weight=True),
            features,
            y,
            cv=CV,
            params={"sample_weight": counts},
            scoring={"crps": neg_crps_scorer.set_score_request(counts="sample_weight")},
        )
    assert_allclose(column["test_score"], plain["test_score"], rtol=1e-9)
    by_column = cross_validate(Regressor(count_column="messages"), X, y, cv=CV, scoring=SCORERS)
    assert_allclose(by_column["test_neg_crps"], routed["test_crps"], rtol=1e-9)


def test_scores_at_the_ends_of_the_range_of_numbers_are_numbers(frame: Any) -> None:
    X, y = frame
    model = Regressor().fit(X[["a", "b"]], y)
    far = X[["a", "b"]] * 1e300
    assert model.score(far, y) == -np.inf
    mean = np.average(y)
    expected = 1.0 - np.mean(np.square(y)) / np.mean(
        np.square(y - mean)
    )  # predictions vanish beside such targets
    assert_allclose(model.score(X[["a", "b"]], y * 1e300), expected, rtol=1e-12)


@pytest.mark.parametrize("likelihood", ["normal", "student_t"])
def test_rows_whose_squares_overflow_are_refused_where_an_answer_needs_them(
    frame: Any, likelihood: str
) -> None:
    X, y = frame
    X = X[["a", "b"]]
    model = Regressor(likelihood=likelihood, random_state=0).fit(X, y)
    assert np.isfinite(model.predict(X * 1e200)).all()
    for asked in (
        lambda: model.predict_interval(X * 1e200),
        lambda: model.predict_distribution(X * 1e200).crps(y),
        lambda: model.loo(X * 1e200, y),
    ):
        with pytest.raises(ValueError, match="X has numbers whose squares overflow"):
            asked()


def test_narrow_types_of_numbers_do(frame: Any) -> None:
    X, y = frame
    rows = X[["a", "b"]].to_numpy(np.float32)
    model = Regressor(random_state=0, likelihood="student_t").fit(rows, y)
    assert_array_equal(model.sample_y(rows, np.int8(2)), model.sample_y(rows, 2))
    assert np.isfinite(model.loo_pit(rows, y)).all()


def test_known_errors_are_routed_without_being_asked_for() -> None:
    X, y, y_err = measured()
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_val_predict(Regressor(), X, y, cv=CV, params={"y_err": y_err})
    by_hand = np.empty(len(y))
    for train, test in CV.split(X):
        by_hand[test] = Regressor().fit(X[train], y[train], y_err=y_err[train]).predict(X[test])
    assert_allclose(routed, by_hand, rtol=1e-9)


@pytest.mark.parametrize(
    "grid",
    [
        {"coef_prior__sigma": [0.1, 1.0, 10.0]},
        {"noise_prior__sigma": [0.1, 1.0]},
        {"error_floor": [0.0, 0.01, 0.1]},
        {"noise": ["scaled", "additive", "known"]},
        {"coef_prior": [Normal(), Normal(sigma=0.1), Flat()]},
        {"coef_prior": [None], "coef_prior__sigma": [0.5]},
        {"coef_prior": [Normal(mu=0.1)], "coef_prior__sigma": [0.5, 5.0]},
    ],
    ids=str,
)
def test_a_search_finds_what_fitting_each_candidate_finds(frame: Any, grid: dict[str, list[Any]]) -> None:
    X, y = frame
    search = GridSearchCV(Regressor(count_column="messages"), grid, cv=CV, scoring=neg_crps_scorer).fit(X, y)
    for parameters, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        candidate = Regressor(count_column="messages").set_params(**clone_values(parameters))
        by_hand = [
            neg_crps_scorer(candidate.fit(X.iloc[train], y[train]), X.iloc[test], y[test])
            for train, test in CV.split(X)
        ]
        assert_allclose(score, np.mean(by_hand), rtol=1e-9)


def clone_values(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: clone(value, safe=False) for name, value in parameters.items()}


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_two_jobs_give_the_numbers_of_one(frame: Any, backend: str) -> None:
    X, y = frame
    grid = {"coef_prior__sigma": [0.1, 1.0], "noise": ["scaled", "additive"]}
    one = GridSearchCV(Regressor(count_column="messages"), grid, cv=CV, scoring=neg_crps_scorer).fit(X, y)
    with joblib.parallel_backend(backend, n_jobs=2):
        two = GridSearchCV(
            Regressor(count_column="messages"), grid, cv=CV, scoring=neg_crps_scorer, n_jobs=2
        ).fit(X, y)
    assert_allclose(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"], rtol=1e-10)


def test_priors_of_the_default_can_be_set_by_name() -> None:
    model = Regressor().set_params(coef_prior__sigma=2.0, noise_prior__sigma=3.0)
    assert model.coef_prior.sigma == 2.0
    assert model.noise_prior.sigma == 3.0
    assert model.intercept_prior is None
    assert Regressor().get_params()["coef_prior"] is None
    both = Regressor().set_params(coef_prior=Normal(mu=1.0), coef_prior__sigma=2.0)
    assert (both.coef_prior.mu, both.coef_prior.sigma) == (1.0, 2.0)
    again = both.set_params(coef_prior=None, coef_prior__sigma=4.0)
    assert (again.coef_prior.mu, again.coef_prior.sigma) == (0.0, 4.0)
    piped = make_pipeline(StandardScaler(), Regressor())
    piped.set_params(bayesianerrorsinvariablesregressor__coef_prior__sigma=0.5)
    assert piped[-1].coef_prior.sigma == 0.5
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        Regressor().set_params(coef_prior__nonsense=1.0)


def test_clones_and_pickles_carry_priors_and_predict_the_same() -> None:
    X, y, y_err = measured()
    model = Regressor(coef_prior=Normal(sigma=[0.5, 1.0, 2.0]), noise_prior=HalfCauchy(beta=0.5))
    copy = clone(model)
    assert_array_equal(copy.coef_prior.sigma, [0.5, 1.0, 2.0])
    model.fit(X, y, y_err=y_err)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict(X, return_std=True), model.predict(X, return_std=True))
    assert_array_equal(loaded.predict_interval(X), model.predict_interval(X))


def test_a_pipeline_with_measured_columns_left_alone_fits(frame: Any) -> None:
    X, y = frame
    model = make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["a", "b"]), remainder="passthrough", verbose_feature_names_out=False
        ).set_output(transform="pandas"),
        Regressor(count_column="messages"),
    ).fit(X, y)
    direct = Regressor(count_column="messages").fit(X, y)
    # Standardising is the estimator's own business: a scaler in front changes nothing.
    assert_allclose(model.predict(X), direct.predict(X), rtol=1e-9)
    assert_allclose(
        predictive_distribution(model, X).interval(), direct.predict_distribution(X).interval(), rtol=1e-9
    )


def test_a_column_transformer_that_renames_is_named_in_the_error(frame: Any) -> None:
    X, y = frame
    renaming = ColumnTransformer([("scale", StandardScaler(), ["a", "b"])], remainder="passthrough")
    model = make_pipeline(renaming.set_output(transform="pandas"), Regressor(count_column="messages"))
    with pytest.raises(ValueError, match=r"remainder__messages.*verbose_feature_names_out=False"):
        model.fit(X, y)


def test_predictive_distribution_looks_through_searches_and_pipelines(frame: Any) -> None:
    X, y = frame
    search = GridSearchCV(
        make_pipeline(Regressor(count_column="messages")),
        {"bayesianerrorsinvariablesregressor__error_floor": [0.01]},
        cv=CV,
    ).fit(X, y)
    direct = Regressor(count_column="messages", error_floor=0.01).fit(X, y)
    for include_noise in (True, False):
        found = predictive_distribution(search, X, include_noise=include_noise)
        assert_allclose(found.std(), direct.predict(X, return_std=True, include_noise=include_noise)[1])
    ridge = make_pipeline(StandardScaler(), BayesianRidge()).fit(X, y)
    assert_allclose(predictive_distribution(ridge, X).std(), ridge.predict(X, return_std=True)[1])


def test_regressors_without_a_distribution_are_refused_with_the_remedy(frame: Any) -> None:
    X, y = frame
    target = TransformedTargetRegressor(BayesianRidge(), func=np.sqrt, inverse_func=np.square).fit(X, y)
    with pytest.raises(TypeError, match="standardises the target itself"):
        predictive_distribution(target, X)
    with pytest.raises(TypeError, match="LinearRegression has no predictive distribution"):
        predictive_distribution(make_pipeline(LinearRegression()).fit(X, y), X)
    unfitted = GridSearchCV(BayesianRidge(), {"max_iter": [10]}, refit=False, cv=CV).fit(X, y)
    with pytest.raises(ValueError, match="refit=False"):
        predictive_distribution(unfitted, X)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_name_the_coefficients(make: Any) -> None:
    X, y, counts = shares()
    named = make({"a": X[:, 0], "messages": counts, "b": X[:, 1]})
    model = Regressor(count_column="messages").fit(named, y)
    assert list(model.coef_names_) == ["a", "b"]
    assert list(model.feature_names_in_) == ["a", "messages", "b"]
    assert list(model.summary().index) == ["intercept", "a", "b", "noise_scale", "prior_scale"]
    plain = Regressor(count_column=1).fit(np.column_stack([X[:, 0], counts, X[:, 1]]), y)
    assert list(plain.coef_names_) == ["x0", "x2"]
    assert_allclose(model.predict(named, return_std=True), plain.predict(named.to_numpy(), return_std=True))
    as_series = Regressor(weight_type="counts").fit(
        named[["a", "b"]], make({"y": y})["y"], sample_weight=make({"n": counts})["n"]
    )
    assert_allclose(as_series.coef_, model.coef_)


def test_a_data_frame_keeps_its_index_in_to_frame(frame: Any) -> None:
    X, y = frame
    X.index = [f"phone {i}" for i in range(len(X))]
    table = Regressor(count_column="messages").fit(X, y).predict_distribution(X).to_frame(coverage=0.9)
    assert list(table.columns[:4]) == ["y_pred", "std", "lower_90%", "upper_90%"]
    assert list(table.index) == list(X.index)


def test_showing_a_fitted_estimator_computes_and_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, y_err = measured()
    model = Regressor(coef_prior=Normal(sigma=2.0)).fit(X, y, y_err=y_err)

    def computes(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("displaying computed something")

    grouped = Regressor(group_column="city").fit(
        pd.DataFrame({"x": X[:, 0], "city": np.arange(len(X)) % 5}), y
    )
    for name in ("predict_distribution", "predict", "summary", "fit"):
        monkeypatch.setattr(Regressor, name, computes)
    for name in ("summary", "group_std", "group_effects", "_scale_names"):
        monkeypatch.setattr(FittedModel, name, computes)
    monkeypatch.setattr(Posterior, "linear", computes)
    for table in (GroupsMixin.__dict__["group_std_"], GroupsMixin.__dict__["group_effects_"]):
        monkeypatch.setattr(table, "_made", computes)
    monkeypatch.setattr("builtins.__import__", importing_only_scikit_learn(__import__))
    for shown in (model, grouped):
        for page in (shown._repr_html_(), shown._repr_mimebundle_()["text/html"]):
            assert "BayesianErrorsInVariablesRegressor" in page
            assert "<b>exact</b>" in page


def importing_only_scikit_learn(real: Any) -> Any:
    def imports(name: str, *arguments: Any, **keywords: Any) -> Any:
        assert name.split(".")[0] not in {"pymc", "arviz", "matplotlib", "nutpie"}, name
        return real(name, *arguments, **keywords)

    return imports


def test_no_property_of_a_fitted_estimator_computes() -> None:
    cls = type(Regressor())
    properties = [name for name in dir(cls) if isinstance(getattr(cls, name), property)]
    assert [name for name in properties if not name.startswith("_")] == []
