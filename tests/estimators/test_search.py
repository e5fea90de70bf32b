"""The search for priors: what it picks is what fitting every candidate would pick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import ParameterGrid, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bayes_sklearn.estimators.search as search_module
from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    Flat,
    HalfNormal,
    Laplace,
    Normal,
    StudentT,
    predictive_distribution,
)
from bayes_sklearn import BayesianErrorsInVariablesRegressorCV as Search
from bayes_sklearn.measurements import compressed

from data import measured, shares
from plain import Regressor

# Candidates are too narrow, and where there is little noise a narrow prior may predict as well as others.
pytestmark = pytest.mark.filterwarnings("ignore:The data contradict")

DATA = measured(60, 4)
WEIGHT = np.resize([1.0, 3.0, 0.0, 2.0], 60)
WITH_ERRORS = {"X": DATA.X, "y": DATA.y, "y_err": DATA.y_err}
COUNTED = dict(zip(("X", "y", "sample_weight"), shares(), strict=True))
SIGMA = np.geomspace(0.01, 10.0, 4)
PRIORS = {"coef_prior__sigma": SIGMA, "intercept_prior__sigma": [0.1, 2.0], "noise_prior__sigma": [0.3, 1.0]}
CASES: dict[str, tuple[Regressor, Any, dict[str, Any]]] = {
    "priors": (Regressor(), PRIORS, WITH_ERRORS),
    "no errors": (Regressor(), PRIORS, {"X": DATA.X, "y": DATA.y}),
    "weights": (Regressor(weight_type="frequency"), PRIORS, {**WITH_ERRORS, "sample_weight": WEIGHT}),
    "no intercept": (Regressor(fit_intercept=False), {"coef_prior__sigma": SIGMA}, WITH_ERRORS),
    "not standardised": (Regressor(standardize=False), {"coef_prior__sigma": SIGMA}, WITH_ERRORS),
    "noise": (
        Regressor(),
        {
            "noise": ["scaled", "additive", "known"],
            "coef_prior__sigma": SIGMA[1:3],
            "fit_intercept": [True, False],
        },
        WITH_ERRORS,
    ),
    "shares": (
        Regressor(weight_type="counts"),
        {"error_floor": [0.0, 0.01], "count_error": ["fitted", "observed"], "coef_prior__sigma": SIGMA[1:3]},
        COUNTED,
    ),
    "whole priors": (
        Regressor(),
        [{"coef_prior": [Normal(0.0, 0.3), Normal(1.0, 2.0)]}, {"noise_prior": [HalfNormal(0.5)]}],
        WITH_ERRORS,
    ),
}


@pytest.mark.filterwarnings("ignore:The stated errors look too small")  # under too narrow a prior they do
@pytest.mark.parametrize("scoring", ["loo", "marginal_likelihood"])
@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_fitting_every_candidate(name: str, scoring: str) -> None:
    estimator, grid, given = CASES[name]
    found = Search(estimator, grid, scoring=scoring).fit(**given)
    candidates = list(ParameterGrid(grid))
    expected = []
    for params in candidates:
        model = clone(estimator).set_params(**clone(params, safe=False)).fit(**given)
        if scoring == "loo":
            elpd = model.loo(**given)
            # ArviZ 0.x and 1.x.
            expected.append(float(elpd.elpd_loo if hasattr(elpd, "elpd_loo") else elpd.elpd))
        else:
            expected.append(model.log_marginal_likelihood_)
    assert_allclose(found.cv_results_["score"], expected, rtol=1e-8, atol=1e-8)
    assert np.ptp(expected) > 1e-3, "candidates differ"
    best = int(np.argmax(expected))
    assert found.best_index_ == best
    assert found.best_params_ == candidates[best]
    assert found.best_score_ == found.cv_results_["score"][best]
    again = clone(estimator).set_params(**clone(candidates[best], safe=False)).fit(**given)
    assert_array_equal(found.coef_, again.coef_)
    assert found.intercept_ == again.intercept_


def test_results_are_laid_out_as_those_of_a_grid_search() -> None:
    grid = [{"coef_prior__sigma": [0.1, 1.0]}, {"noise": ["known"]}]
    results = Search(Regressor(), grid).fit(**WITH_ERRORS).cv_results_
    assert results["params"] == list(ParameterGrid(grid))
    assert list(results["param_coef_prior__sigma"].mask) == [False, False, True]
    assert list(results["param_noise"].compressed()) == ["known"]
    order = np.argsort(results["rank_score"])
    assert (np.diff(results["score"][order]) <= 0.0).all()
    assert results["rank_score"][results["score"].argmax()] == 1
    assert len(pd.DataFrame(results)) == 3


def test_the_table_is_compressed_once_for_all_priors(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    compress = compressed.compress

    def counted(*given: Any, **settings: Any) -> Any:
        passes.append(1)
        return compress(*given, **settings)

    monkeypatch.setattr("bayes_sklearn.inference.under_scatters.compress", counted)
    Search(Regressor(), PRIORS).fit(**WITH_ERRORS)
    assert len(passes) == 2, "once to search, once to fit the best"
    passes.clear()
    Search(Regressor(), {**PRIORS, "noise": ["scaled", "known"]}).fit(**WITH_ERRORS)
    assert len(passes) == 3


def test_the_marginal_likelihood_takes_no_pass_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **settings: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(search_module, "leave_one_out", refuse)
    Search(Regressor(), PRIORS, scoring="marginal_likelihood").fit(**WITH_ERRORS)
    with pytest.raises(AssertionError):
        Search(Regressor(), PRIORS).fit(**WITH_ERRORS)


def test_weights_are_repeated_rows() -> None:
    rows = np.repeat(np.arange(60), WEIGHT.astype(int))
    weighted = Search(Regressor(weight_type="frequency")).fit(**WITH_ERRORS, sample_weight=WEIGHT)
    repeated = Search(Regressor()).fit(DATA.X[rows], DATA.y[rows], y_err=DATA.y_err[rows])
    assert_allclose(weighted.cv_results_["score"], repeated.cv_results_["score"], rtol=1e-9)
    assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-7)


def test_it_chooses_about_what_ridge_does() -> None:
    """Two ways to leave out one row: squared errors of Ridge's, log densities here."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 30))
    y = X @ rng.normal(0.0, 0.3, 30) + 2.0 * rng.normal(size=60)
    found = Search().fit(X, y)
    ridge = RidgeCV(np.geomspace(0.1, 1e5, 61)).fit(X, y)
    sigma = found.best_params_["coef_prior__sigma"]
    assert 0.02 < sigma < 0.5
    assert np.linalg.norm(found.coef_ - ridge.coef_) < 0.3 * np.linalg.norm(ridge.coef_)


def test_parameters_stay_as_they_are() -> None:
    prior = Normal(0.0, 3.0)
    base, grid = (
        Regressor(coef_prior=prior),
        {"coef_prior": [Normal(0.0, 0.1)], "coef_prior__sigma": [0.5, 1.0]},
    )
    found = Search(base, grid).fit(**WITH_ERRORS)
    assert found.estimator is base
    assert base.coef_prior is prior
    assert prior.sigma == 3.0
    assert grid["coef_prior"][0].sigma == 0.1
    assert not hasattr(base, "coef_")


def test_it_predicts_as_the_best_estimator() -> None:
    found = Search(Regressor()).fit(**WITH_ERRORS)
    best = found.best_estimator_
    assert_array_equal(found.predict(DATA.X), best.predict(DATA.X))
    for ours, theirs in zip(
        found.predict(DATA.X, return_std=True, y_err=DATA.y_err),
        best.predict(DATA.X, return_std=True, y_err=DATA.y_err),
        strict=True,
    ):
        assert_array_equal(ours, theirs)
    assert_array_equal(found.predict_interval(DATA.X, 0.5), best.predict_interval(DATA.X, 0.5))
    assert_array_equal(found.predict_distribution(DATA.X).mean(), best.predict(DATA.X))
    assert_array_equal(predictive_distribution(found, DATA.X).mean(), best.predict(DATA.X))
    assert found.score(DATA.X, DATA.y) == best.score(DATA.X, DATA.y)
    pd.testing.assert_frame_equal(found.summary(), best.summary())


def test_it_goes_into_pipelines_and_cross_validation() -> None:
    search = Search(param_grid={"coef_prior__sigma": SIGMA})
    pipeline = make_pipeline(StandardScaler(), search)
    assert_allclose(
        pipeline.fit(DATA.X, DATA.y).predict(DATA.X), search.predict(StandardScaler().fit_transform(DATA.X))
    )
    assert cross_val_score(search, DATA.X, DATA.y, cv=3).mean() > 0.5
    frame = pd.DataFrame(DATA.X, columns=list("abcd")).assign(error=DATA.y_err)
    found = Search(Regressor(y_err_column="error")).fit(frame, DATA.y)
    assert list(found.feature_names_in_) == [*"abcd", "error"]
    assert found.n_features_in_ == 5
    assert_allclose(found.coef_, Search(Regressor()).fit(**WITH_ERRORS).coef_)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"param_grid": {"coef_prior": [Flat()]}, "scoring": "marginal_likelihood"},
            "no marginal likelihood",
        ),
        ({"param_grid": {"noise": ["loud"]}}, "'noise' parameter"),
        ({"param_grid": {"coef_prior__sigma": [-1.0]}}, "sigma"),
        ({"scoring": "r2"}, "'scoring' parameter"),
    ],
)
def test_what_has_no_score_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Search(**settings).fit(**WITH_ERRORS)


def elpd(model: Any, **given: Any) -> float:
    found = model.loo(**given)
    return float(found.elpd_loo if hasattr(found, "elpd_loo") else found.elpd)


NOISY = DATA.X[:, 0] + 0.5 * np.random.default_rng(1).normal(size=60)
SIDE = np.where(np.median(NOISY) > NOISY, -1.0, 0.0)
GAPS = DATA.X.copy()
GAPS[:5, 0] = np.nan
EVENTS = np.random.default_rng(0).poisson(np.exp(0.5 * DATA.X[:, 0]))
SAMPLED: dict[str, tuple[Regressor, Any, dict[str, Any]]] = {
    "priors": (
        Regressor(random_state=0),
        {"coef_prior": [Normal(), Laplace(b=0.3), StudentT(nu=4)]},
        WITH_ERRORS,
    ),
    "likelihoods": (
        Regressor(random_state=0, intercept_prior=Flat()),
        {"likelihood": ["normal", "student_t"], "noise": ["scaled", "auto"]},
        WITH_ERRORS,
    ),
    "events": (
        Regressor(random_state=0),
        {"likelihood": ["poisson", "negative_binomial"]},
        {"X": DATA.X, "y": EVENTS, "exposure": np.full(60, 2.0)},
    ),
    "errors of features": (
        Regressor(random_state=0),
        {"coef_prior__sigma": [0.1, 1.0]},
        {**WITH_ERRORS, "X_err": [0.01, 0.1, 0.0, 0.0]},
    ),
    "limits": (
        Regressor(random_state=0),
        {"coef_prior__sigma": [0.1, 1.0]},
        {"X": DATA.X, "y": np.maximum(NOISY, np.median(NOISY)), "y_censored": SIDE},
    ),
    "gaps": (
        Regressor(random_state=0, missing="model"),
        {"coef_prior__sigma": [0.1, 1.0]},
        {"X": GAPS, "y": DATA.y},
    ),
}


@pytest.mark.filterwarnings("ignore:Leave-one-out is not to be trusted")
@pytest.mark.parametrize("name", SAMPLED)
def test_scores_are_those_of_fits_by_importance_sampling(name: str) -> None:
    estimator, grid, given = SAMPLED[name]
    found = Search(estimator, grid).fit(**given)
    models = [
        clone(estimator).set_params(**clone(params, safe=False)).fit(**given)
        for params in ParameterGrid(grid)
    ]
    assert "importance" in {model.inference_ for model in models} <= {"exact", "importance"}
    expected = [elpd(model, **given) for model in models]
    assert np.isfinite(expected).all()
    assert_allclose(found.cv_results_["score"], expected, rtol=1e-8)
    assert np.ptp(expected) > 1e-3, "candidates differ"
    best = int(np.argmax(expected))
    assert found.best_index_ == best
    assert_allclose(found.coef_, models[best].coef_, rtol=1e-8)


def test_evidence_of_all_priors_is_comparable() -> None:
    estimator, grid, given = SAMPLED["priors"]
    found = Search(estimator, grid, scoring="marginal_likelihood").fit(**given)
    # By importance sampling the exact engine's candidate has the same.
    same = clone(estimator).set_params(inference="importance", coef_prior=Normal()).fit(**given)
    assert abs(found.cv_results_["score"][0] - same.log_marginal_likelihood_) < 0.05
    for prior, score in zip(grid["coef_prior"][1:], found.cv_results_["score"][1:], strict=True):
        model = clone(estimator).set_params(coef_prior=prior).fit(**given)
        assert_allclose(score, model.log_marginal_likelihood_, rtol=1e-10)
    errors = SAMPLED["errors of features"]
    with pytest.raises(ValueError, match="no marginal likelihood: use scoring='loo'"):
        Search(*errors[:2], scoring="marginal_likelihood").fit(**errors[2])


def test_each_candidate_is_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, _, given = SAMPLED["priors"]
    fits, fit = [], BayesianErrorsInVariablesRegressor.fit

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        fits.append(self.coef_prior)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(BayesianErrorsInVariablesRegressor, "fit", counted)
    Search(estimator, {"coef_prior": [Laplace(b=0.3), Laplace()]}).fit(**given)
    assert len(fits) == 2


def test_scores_that_are_not_to_be_trusted_are_told() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 8))
    y = X[:, 0] + 0.1 * rng.normal(size=12)
    y[0] += 3.0
    with pytest.warns(UserWarning, match="Leave-one-out is not to be trusted"):
        Search(Regressor(random_state=0), {"coef_prior": [Laplace()]}).fit(X, y)


def test_nothing_is_predicted_before_fit() -> None:
    with pytest.raises(NotFittedError):
        Search().predict(DATA.X)
