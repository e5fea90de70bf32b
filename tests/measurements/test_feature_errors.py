"""Errors of features: how they are given, what leaves the fit as it is, and what they do to predictions.

The engine samples, but the same numbers go into the same seed: what is the same model in other units or another
order is the same fit, to what rounding becomes on the way. Warnings are errors in this suite.
"""

from __future__ import annotations

import pickle
import re
import tracemalloc
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import Flat, Normal
from bayes_sklearn.metrics import neg_crps_scorer

from data import noisy_features, shares
from plain import Regressor

X, Y, X_ERR, TRUE_X, Y_ERR = noisy_features()
N, P = X.shape
ONE = np.array([0.5, 0.0])
NAMES = ["dose", "age"]
FRAME = pd.DataFrame(X, columns=NAMES)
# What rounding may become: the search for the mode and four rounds of draws pass it on.
ROUNDING = 1e-6


def fitted(**data: Any) -> Regressor:
    return Regressor(random_state=0).fit(FRAME, Y, **data)


def found(model: Regressor) -> np.ndarray:
    """Everything a fit found, as one array."""
    return np.concatenate(
        [model.summary().to_numpy().ravel(), model.coef_, model.coef_std_, model.reliability_]
    )


def assert_same(one: Regressor, other: Regressor, tolerance: float = ROUNDING) -> None:
    assert_allclose(found(one), found(other), rtol=tolerance, atol=tolerance)


def monte_carlo_errors(one: Regressor, other: Regressor) -> np.ndarray:
    """Return how far apart two fits' coefficients are, in posterior standard deviations."""
    return np.abs(one.coef_ - other.coef_) / other.coef_std_


def per_row(covariance: Any) -> np.ndarray:
    return np.broadcast_to(np.asarray(covariance, dtype=float), (N, P, P)).copy()


DIAGONAL = np.diag(ONE**2)
CELLS = np.tile(ONE, (N, 1))
FORMS: dict[str, dict[str, Any]] = {
    "a list": {"X_err": ONE.tolist()},
    "one a cell": {"X_err": CELLS},
    "a frame": {"X_err": pd.DataFrame(CELLS, columns=NAMES)},
    "a frame in another order": {"X_err": pd.DataFrame(CELLS, columns=NAMES)[NAMES[::-1]]},
    "a polars frame in another order": {"X_err": pl.DataFrame(CELLS, schema=NAMES).select(NAMES[::-1])},
    "a series in another order": {"X_err": pd.Series(ONE, NAMES)[NAMES[::-1]]},
    "a covariance": {"X_cov": DIAGONAL},
    "a covariance a row": {"X_cov": per_row(DIAGONAL)},
    "a covariance in another order": {
        "X_cov": pd.DataFrame(DIAGONAL, NAMES, NAMES).loc[NAMES[::-1], NAMES[::-1]]
    },
    "a covariance with its columns in another order": {
        "X_cov": pd.DataFrame(DIAGONAL, NAMES, NAMES)[NAMES[::-1]]
    },
    "a covariance with columns alone": {"X_cov": pd.DataFrame(DIAGONAL[::-1, ::-1], columns=NAMES[::-1])},
    "a polars covariance": {"X_cov": pl.DataFrame(DIAGONAL[::-1, ::-1], schema=NAMES[::-1])},
    "no correlation with y": {"X_err": ONE, "Xy_cov": np.zeros(P), "y_err": Y_ERR},
}


@pytest.mark.parametrize("name", FORMS)
def test_errors_are_the_same_in_every_form(name: str) -> None:
    form = dict(FORMS[name])
    given = {"y_err": Y_ERR} if "y_err" in form else {}
    assert_same(fitted(**form), fitted(X_err=ONE, **given))
    if "Xy_cov" not in form:
        model = fitted(X_err=ONE)
        assert_allclose(
            model.predict(FRAME, return_std=True, **form), model.predict(FRAME, return_std=True, X_err=ONE)
        )


@pytest.mark.parametrize(
    "form",
    [
        {"X_err": [0.5]},
        {"X_err": np.full(N, 0.5)},
        {"X_err": np.full((N, 1), 0.5)},
        {"X_cov": [[0.25]]},
        {"X_cov": np.full((N, 1, 1), 0.25)},
    ],
)
def test_errors_of_one_feature_may_be_one_number_or_one_a_row(form: dict[str, Any]) -> None:
    one = Regressor(random_state=0).fit(X[:, :1], Y, X_err=0.5)
    assert_same(Regressor(random_state=0).fit(X[:, :1], Y, **form), one)
    assert_allclose(
        one.predict(X[:, :1], return_std=True, **form), one.predict(X[:, :1], return_std=True, X_err=0.5)
    )


def test_one_number_is_the_error_of_every_feature() -> None:
    assert_same(fitted(X_err=0.3), fitted(X_err=[0.3, 0.3]))


def test_unequal_errors_align_by_name() -> None:
    errors = pd.DataFrame(X_ERR, columns=NAMES)
    assert_same(fitted(X_err=errors[NAMES[::-1]]), fitted(X_err=X_ERR))
    assert_same(fitted(X_cov=[np.diag(row**2) for row in X_ERR]), fitted(X_err=X_ERR))


def test_correlated_errors_align_by_name() -> None:
    covariance = np.array([[0.25, 0.06], [0.06, 0.04]])
    frame = pd.DataFrame(covariance, NAMES, NAMES)
    one = fitted(X_cov=covariance)
    assert_same(fitted(X_cov=frame.loc[NAMES[::-1], NAMES[::-1]]), one)
    assert_same(fitted(X_cov=per_row(covariance)), one)
    # And the correlation counts.
    assert monte_carlo_errors(fitted(X_err=np.sqrt(np.diag(covariance))), one).max() > 0.1


@pytest.mark.parametrize("none", [{"X_err": 0.0}, {"X_err": np.zeros((N, P))}, {"X_cov": np.zeros((P, P))}])
def test_errors_of_zero_are_none(none: dict[str, Any]) -> None:
    without, with_zero = fitted(), fitted(**none)
    assert with_zero.inference_ == "exact"
    assert vars(with_zero).keys() == vars(without).keys()
    for name, value in vars(without).items():
        if isinstance(value, np.ndarray):
            assert_array_equal(vars(with_zero)[name], value)
    assert not hasattr(with_zero, "reliability_")
    assert list(with_zero.summary()) == list(without.summary())
    assert_array_equal(
        with_zero.predict(FRAME, return_std=True, X_err=0.0), without.predict(FRAME, return_std=True)
    )


def test_a_refit_without_errors_leaves_nothing_of_them_behind() -> None:
    model = fitted(X_err=ONE)
    assert model.inference_ == "importance"
    assert not hasattr(model, "log_marginal_likelihood_")
    assert vars(model.fit(FRAME, Y)).keys() == vars(fitted()).keys()


def test_zeros_mark_exact_features() -> None:
    model = fitted(X_err=ONE)
    assert model.reliability_[1] == 1.0
    assert 0.5 < model.reliability_[0] < 0.95
    table = model.summary()
    assert list(table["reliability"].loc[NAMES]) == list(model.reliability_)
    assert table[["naive", "reliability"]].loc[["intercept", "noise_scale"]].isna().all(axis=None)
    assert_allclose(table["naive"].loc[NAMES], fitted().coef_, rtol=1e-9)
    # Attenuated is nearer to zero; here by about the reliability.
    assert table.loc["dose", "naive"] < 0.9 * table.loc["dose", "mean"]


def test_a_zero_in_some_rows_leaves_a_feature_noisy() -> None:
    errors = X_ERR.copy()
    errors[::2] = 0.0
    model = fitted(X_err=errors)
    assert model.inference_ == "importance"
    assert model.reliability_[0] < 1.0
    assert model.reliability_[1] == 1.0


def test_tiny_errors_change_nothing_but_the_engine() -> None:
    exact, tiny = fitted(), fitted(X_err=1e-6 * ONE)
    assert tiny.inference_ == "importance"
    assert monte_carlo_errors(tiny, exact).max() < 0.1
    assert_allclose(tiny.coef_std_, exact.coef_std_, rtol=0.1)
    assert_allclose(tiny.reliability_, 1.0, rtol=1e-9)


# Columns of X that hold errors.

ERRORS = {"dose_err": X_ERR[:, 0]}
TABLE = FRAME.assign(**ERRORS)
COLUMNS: dict[str, Any] = {
    "names": {"dose": "dose_err"},
    "positions": {0: 2},
    "positions from the end": {0: -1},
    "a name and a position": {"dose": 2},
    "a suffix": "_err",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_errors_in_columns_of_X_are_those_of_X_err(name: str) -> None:
    model = Regressor(error_columns=COLUMNS[name], random_state=0).fit(TABLE, Y)
    given = fitted(X_err=X_ERR)
    assert_same(model, given)
    assert list(model.coef_names_) == NAMES
    assert_allclose(
        model.predict(TABLE, return_std=True),
        given.predict(FRAME, return_std=True, X_err=X_ERR),
        rtol=ROUNDING,
    )
    assert_allclose(model.score(TABLE, Y), r2_score(Y, model.predict(TABLE)))


def test_error_columns_may_stand_anywhere_beside_counts_and_y_err() -> None:
    table = pd.DataFrame(
        {"dose_err": X_ERR[:, 0], "age": X[:, 1], "error": Y_ERR, "dose": X[:, 0], "age_err": 0.2}
    )
    model = Regressor(error_columns="_err", y_err_column="error", random_state=0).fit(table, Y)
    assert list(model.coef_names_) == ["age", "dose"]
    errors = table[["age_err", "dose_err"]].to_numpy()
    given = Regressor(random_state=0).fit(table[["age", "dose"]], Y, y_err=Y_ERR, X_err=errors)
    assert_same(model, given)
    by_position = Regressor(error_columns={1: 4, 3: 0}, y_err_column=2, random_state=0)
    assert_same(by_position.fit(table.to_numpy(), Y), model)


def test_one_column_may_hold_the_error_of_several_features() -> None:
    table = FRAME.assign(error=X_ERR[:, 0])
    model = Regressor(error_columns=dict.fromkeys(NAMES, "error"), random_state=0).fit(table, Y)
    assert_same(model, fitted(X_err=X_ERR[:, [0, 0]]))


CV = KFold(3, shuffle=True, random_state=0)


def test_a_suffix_passes_over_columns_that_other_settings_name() -> None:
    table = TABLE.assign(y_err=0.3)
    model = Regressor(error_columns="_err", y_err_column="y_err", random_state=0).fit(table, Y)
    other = Regressor(error_columns="_err", random_state=0).fit(TABLE, Y, y_err=0.3)
    np.testing.assert_array_equal(model.coef_names_, other.coef_names_)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-10)


def test_error_columns_are_split_and_scored_with_their_rows() -> None:
    model = Regressor(error_columns="_err", random_state=0)
    scored = cross_validate(model, TABLE, Y, cv=CV, scoring={"r2": "r2", "crps": neg_crps_scorer})
    r2, crps = [], []
    for train, test in CV.split(X):
        by_hand = Regressor(random_state=0).fit(X[train], Y[train], X_err=X_ERR[train])
        distribution = by_hand.predict_distribution(X[test], X_err=X_ERR[test])
        r2.append(r2_score(Y[test], distribution.mean()))
        crps.append(-distribution.crps(Y[test]).mean())
    assert_allclose(scored["test_r2"], r2, rtol=ROUNDING)
    assert_allclose(scored["test_crps"], crps, rtol=ROUNDING)


def test_a_search_carries_error_columns() -> None:
    search = GridSearchCV(
        Regressor(error_columns="_err", random_state=0), {"coef_prior__sigma": [0.01, 1.0]}, cv=CV
    ).fit(TABLE, Y)
    assert search.best_params_ == {"coef_prior__sigma": 1.0}
    assert_same(search.best_estimator_, fitted(X_err=X_ERR))


def test_a_pipeline_of_frames_carries_error_columns() -> None:
    scale_exact = make_column_transformer(
        (StandardScaler(), ["age"]), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    piped = make_pipeline(scale_exact, Regressor(error_columns="_err", random_state=0)).fit(TABLE, Y)
    direct = fitted(X_err=X_ERR)
    assert list(piped[-1].coef_names_) == ["age", "dose"]
    assert_allclose(piped[-1].coef_[::-1], direct.coef_ * [1.0, X[:, 1].std()], rtol=ROUNDING)
    assert_allclose(piped.predict(TABLE), direct.predict(FRAME, X_err=X_ERR), rtol=ROUNDING)


def test_errors_are_routed_without_being_asked_for() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_validate(
            make_pipeline(Regressor(random_state=0)),
            X,
            Y,
            cv=CV,
            params={"X_err": X_ERR},
            return_estimator=True,
        )
        piped = make_pipeline(Regressor(random_state=0)).fit(X, Y, X_err=X_ERR)
        answer = piped.predict(X, X_err=X_ERR)
    for (train, test), model, score in zip(
        CV.split(X), routed["estimator"], routed["test_score"], strict=True
    ):
        by_hand = Regressor(random_state=0).fit(X[train], Y[train], X_err=X_ERR[train])
        assert_same(model[-1], by_hand)
        assert_allclose(score, by_hand.score(X[test], Y[test]), rtol=ROUNDING)
    assert_allclose(answer, fitted(X_err=X_ERR).predict(FRAME, X_err=X_ERR), rtol=ROUNDING)


# What leaves the fit as it is.


@pytest.mark.parametrize("parameters", [{}, {"standardize": False, "coef_prior": Flat()}])
@pytest.mark.parametrize("factor", [1e-7, 0.37, 1e9])
@pytest.mark.parametrize("column", [0, 1])
def test_a_feature_in_another_unit_has_another_coefficient_and_nothing_else(
    column: int, factor: float, parameters: dict[str, Any]
) -> None:
    unit = np.ones(P)
    unit[column] = factor
    one = Regressor(random_state=0, **parameters).fit(X, Y, X_err=X_ERR)
    other = Regressor(random_state=0, **parameters).fit(X * unit, Y, X_err=X_ERR * unit)
    assert_allclose(other.coef_ * unit, one.coef_, rtol=ROUNDING)
    assert_allclose(other.coef_std_ * unit, one.coef_std_, rtol=ROUNDING)
    assert_allclose(other.reliability_, one.reliability_, rtol=ROUNDING)
    assert_allclose(
        other.summary()["naive"].to_numpy()[1:-1] * unit, one.summary()["naive"].iloc[1:-1], rtol=1e-6
    )
    for errors in (None, ONE, X_ERR):
        scaled = None if errors is None else errors * unit
        assert_allclose(
            other.predict(X * unit, return_std=True, X_err=scaled),
            one.predict(X, return_std=True, X_err=errors),
            rtol=ROUNDING,
        )


def test_another_unit_of_the_target_scales_all_that_is_in_it() -> None:
    one = fitted(X_err=X_ERR)
    other = Regressor(random_state=0).fit(X, 1e6 * Y - 7e7, X_err=X_ERR)
    assert_allclose(other.coef_, 1e6 * one.coef_, rtol=ROUNDING)
    assert_allclose(other.noise_scale_, 1e6 * one.noise_scale_, rtol=ROUNDING)
    assert_allclose(
        other.predict_interval(X, X_err=ONE), 1e6 * one.predict_interval(FRAME, X_err=ONE) - 7e7, rtol=1e-6
    )


def test_an_offset_of_the_features_moves_the_intercept_alone() -> None:
    one = fitted(X_err=X_ERR)
    other = Regressor(random_state=0).fit(X + 1e6, Y, X_err=X_ERR)
    assert_allclose(other.coef_, one.coef_, rtol=ROUNDING)
    assert_allclose(other.predict(X + 1e6, X_err=X_ERR), one.predict(FRAME, X_err=X_ERR), rtol=ROUNDING)


@pytest.mark.parametrize("errors", [ONE, X_ERR])
def test_the_order_of_rows_does_not_matter(errors: np.ndarray) -> None:
    order = np.random.default_rng(1).permutation(N)
    shuffled = Regressor(random_state=0).fit(
        X[order], Y[order], X_err=errors[order] if errors.ndim == 2 else errors
    )
    assert_same(shuffled, Regressor(random_state=0).fit(X, Y, X_err=errors))


def test_the_order_of_features_does_not_matter() -> None:
    turned = Regressor(random_state=0).fit(X[:, ::-1], Y, X_err=X_ERR[:, ::-1])
    assert_allclose(turned.coef_[::-1], fitted(X_err=X_ERR).coef_, rtol=ROUNDING)


@pytest.mark.parametrize("errors", [ONE, X_ERR])
@pytest.mark.parametrize("times", [np.full(N, 2), np.arange(N) % 4])
def test_frequency_weights_equal_repeated_rows(times: np.ndarray, errors: np.ndarray) -> None:
    model = Regressor(weight_type="frequency", random_state=0)
    weighted = model.fit(X, Y, times, X_err=errors)
    again = errors if errors.ndim == 1 else np.repeat(errors, times, axis=0)
    repeated = clone(model).fit(np.repeat(X, times, axis=0), np.repeat(Y, times), X_err=again)
    assert_same(weighted, repeated)


def test_rows_without_weight_say_nothing_whatever_their_errors() -> None:
    weight = np.ones(N + 1)
    weight[-1] = 0.0
    model = Regressor(weight_type="frequency", random_state=0).fit(
        np.vstack([X, [1e3, 1e3]]), np.append(Y, -1e3), weight, X_err=np.vstack([X_ERR, [1e6, 0.0]])
    )
    assert_same(model, fitted(X_err=X_ERR))


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_standardising_does_not_matter_under_flat_priors(fit_intercept: bool) -> None:
    flat = {
        "coef_prior": Flat(),
        "intercept_prior": Flat(),
        "noise_prior": Flat(),
        "fit_intercept": fit_intercept,
    }
    unit = np.array([20.0, 1e-3])
    one, other = (
        Regressor(standardize=standardize, random_state=0, **flat).fit(X * unit, Y, X_err=X_ERR * unit)
        for standardize in (True, False)
    )
    assert_same(one, other)
    assert_allclose(
        one.predict(X * unit, return_std=True, X_err=X_ERR * unit),
        other.predict(X * unit, return_std=True, X_err=X_ERR * unit),
        rtol=ROUNDING,
    )


@pytest.mark.parametrize("standardize", [True, False])
def test_an_offset_of_exact_features_does_not_matter_under_flat_priors(standardize: bool) -> None:
    model = Regressor(standardize=standardize, coef_prior=Flat(), intercept_prior=Flat(), random_state=0)
    one, other = (clone(model).fit(X + np.array([0.0, offset]), Y, X_err=X_ERR) for offset in (0.0, 1e5))
    assert_allclose(other.coef_, one.coef_, rtol=ROUNDING)
    assert_allclose(other.coef_std_, one.coef_std_, rtol=ROUNDING)
    assert_allclose(other.reliability_, one.reliability_, rtol=ROUNDING)
    assert_allclose(
        other.predict(X + np.array([0.0, 1e5]), return_std=True, X_err=X_ERR),
        one.predict(X, return_std=True, X_err=X_ERR),
        rtol=ROUNDING,
    )


def test_wide_priors_are_as_good_as_flat_ones() -> None:
    wide, flat = (
        Regressor(coef_prior=prior, intercept_prior=prior, random_state=0).fit(X, Y, X_err=X_ERR)
        for prior in (Normal(sigma=1e4), Flat())
    )
    assert monte_carlo_errors(wide, flat).max() < 0.05


def test_another_seed_differs_by_little() -> None:
    other = Regressor(random_state=1).fit(X, Y, X_err=X_ERR)
    errors = monte_carlo_errors(other, fitted(X_err=X_ERR))
    assert 0.0 < errors.max() < 0.05
    assert_same(fitted(X_err=X_ERR), fitted(X_err=X_ERR), tolerance=0.0)


def test_without_an_intercept_the_line_goes_through_the_origin() -> None:
    model = Regressor(fit_intercept=False, random_state=0).fit(X, Y - 1.0, X_err=X_ERR)
    assert model.intercept_ == 0.0
    assert "intercept" not in model.summary().index
    at_zero = model.predict([[0.0, 0.0]], return_std=True, include_noise=False, X_err=0.0)
    assert_allclose(at_zero, 0.0, atol=1e-9)
    assert monte_carlo_errors(model, fitted(X_err=X_ERR)).max() < 1.0


def test_additive_noise_about_known_errors_of_nothing_is_noise_alone() -> None:
    alone = fitted(X_err=X_ERR)
    additive = Regressor(noise="additive", random_state=0).fit(X, Y, X_err=X_ERR, y_err=1e-6)
    assert_allclose(additive.coef_, alone.coef_, rtol=1e-4)
    assert_allclose(additive.noise_scale_, alone.noise_scale_, rtol=1e-4)


def test_known_errors_of_one_size_scale_the_noise() -> None:
    flat = Regressor(noise_prior=Flat(), random_state=0)
    alone, scaled = clone(flat).fit(X, Y, X_err=X_ERR), clone(flat).fit(X, Y, X_err=X_ERR, y_err=0.25)
    assert_allclose(scaled.coef_, alone.coef_, rtol=ROUNDING)
    assert_allclose(0.25 * scaled.noise_scale_, alone.noise_scale_, rtol=ROUNDING)


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_every_kind_of_noise_finds_the_truth(noise: str) -> None:
    data = noisy_features(n=1500, q=2, seed=3)
    model = Regressor(noise=noise, random_state=0).fit(data.X, data.y, y_err=data.y_err, X_err=data.X_err)
    assert (np.abs(model.coef_ - [2.0, 1.0, -1.0]) < 4.0 * model.coef_std_).all()
    assert (model.coef_std_ < 0.1).all()
    assert_allclose(model.reliability_[:2], 1.36 / (1.36 + np.mean(data.X_err[:, :2] ** 2)), atol=0.05)
    if noise == "scaled":
        assert abs(model.noise_scale_ - 1.0) < 0.4
    if noise == "known":
        assert_allclose(model.noise_scale_, 1.0, rtol=1e-12)


def test_errors_that_go_with_the_targets_are_taken_into_account() -> None:
    rng = np.random.default_rng(5)
    n, covariance = 3000, np.array([[0.25, -0.2], [-0.2, 0.36]])
    x = rng.normal(size=(n, 1))
    errors = rng.multivariate_normal([0.0, 0.0], covariance, n)
    measured, y = x + errors[:, :1], 2.0 + x[:, 0] + errors[:, 1] + 0.3 * rng.normal(size=n)
    model = Regressor(noise="additive", random_state=0)
    with_covariance = clone(model).fit(measured, y, X_err=0.5, y_err=0.6, Xy_cov=[-0.2])
    without = clone(model).fit(measured, y, X_err=0.5, y_err=0.6)
    assert abs(with_covariance.coef_[0] - 1.0) < 4.0 * with_covariance.coef_std_[0]
    assert abs(without.coef_[0] - 1.0) > 4.0 * without.coef_std_[0]
    frame = pd.DataFrame({"x": np.full(n, -0.2)})
    by_name = clone(model).fit(pd.DataFrame(measured, columns=["x"]), y, X_err=0.5, y_err=0.6, Xy_cov=frame)
    assert_same(by_name, with_covariance)


def test_two_lines_that_explain_errors_going_with_the_targets_are_both_found_or_the_answer_is_doubted() -> (
    None
):
    # Three moments settle slope, noise scale and spread, but for the root of a square: s is 0.2 or 1, the slope 1.15
    # or 1, at the same height and a hundred units of log density above what lies between.
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3000, 1))
    errors = rng.multivariate_normal([0.0, 0.0], [[0.25, 0.2], [0.2, 0.36]], 3000)
    measured, y = x + errors[:, :1], 2.0 + x[:, 0] + errors[:, 1]
    for seed in range(3):
        model = Regressor(inference="importance", random_state=seed)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(measured, y, X_err=0.5, y_err=0.6, Xy_cov=[0.2])
        lower, upper = model.summary(0.9).iloc[1, 2:4]
        assert told or lower < 1.0 < 1.12 < upper


@pytest.mark.parametrize(
    "parameters", [{"fit_intercept": False}, {"standardize": False, "intercept_prior": Normal(sigma=1e3)}]
)
def test_exact_features_far_from_zero_tell_as_much_of_the_noisy_ones(parameters: dict[str, Any]) -> None:
    model = Regressor(coef_prior=Flat(), random_state=0, **parameters)
    model.fit(X + np.array([0.0, 1e3]), Y - 1.0 - 1e3, X_err=X_ERR)
    # Of x nothing is measured: what is expected of it has a slope of 0.6 in z, so y has one of 2 * 0.6 - 1.
    slope = np.diff(model.predict([[0.0, 1e3], [0.0, 1e3 + 1.0]], X_err=[1e4, 0.0]))
    assert_allclose(slope, 0.2, atol=0.3)


def test_counts_and_errors_of_features_go_together() -> None:
    data = shares(n=400)
    errors = np.array([0.4, 0.0])
    rng = np.random.default_rng(2)
    measured = data.X + errors * rng.normal(size=data.X.shape)
    model = Regressor(weight_type="counts", random_state=0).fit(measured, data.y, data.counts, X_err=errors)
    assert model.overdispersion_ == 0.0
    table = model.summary()
    assert_allclose(model.reliability_[0], 1.0 / (1.0 + 3.0 * 0.16), atol=0.05)
    assert table["naive"].iloc[1] < 0.8 * model.coef_[0]
    assert (np.abs(model.coef_ - [0.1, -0.1]) < 4.0 * model.coef_std_).all()
    by_column = Regressor(count_column=2, random_state=0)
    by_column.fit(np.column_stack([measured, data.counts]), data.y, X_err=errors)
    assert_same(by_column, model)
    parts = model.predict_distribution(measured, counts=data.counts, X_err=errors).variance_parts
    assert (parts["finite_count"] > 0.0).all()
    assert (parts["feature_error"] > 0.0).all()


def test_a_fit_with_errors_can_be_cloned_and_pickled() -> None:
    model = Regressor(error_columns="_err", random_state=0).fit(TABLE, Y)
    assert repr(clone(model).get_params()) == repr(model.get_params())
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(TABLE), model.predict(TABLE))


# Bad input.

BAD: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...], type[Exception]]] = {}


def bad(
    name: str,
    data: dict[str, Any],
    *says: str,
    error: type[Exception] = ValueError,
    **parameters: Any,
) -> None:
    BAD[name] = (parameters, data, says, error)


def having(values: Any, value: float, *place: int) -> np.ndarray:
    changed = np.array(values, dtype=float)
    changed[place] = value
    return changed


for _value in (np.nan, np.inf, -np.inf):
    bad(f"X_err of {_value}", {"X_err": [_value, 0.0]}, "X_err", "Fill in")
    bad(f"one cell of X_err {_value}", {"X_err": having(X_ERR, _value, 3, 0)}, "X_err", "Fill in")
    bad(f"X_cov with {_value}", {"X_cov": having(DIAGONAL, _value, 0, 1)}, "X_cov", "Fill in")
    bad(
        f"Xy_cov with {_value}",
        {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": [_value, 0.0]},
        "Xy_cov",
        "Fill in",
    )
bad("both infinities", {"X_err": having(having(X_ERR, np.inf, 3, 0), -np.inf, 4, 0)}, "X_err", "Fill in")
bad("a negative error", {"X_err": [-0.5, 0.0]}, "X_err", "zero or positive", "mend")
bad("one negative cell", {"X_err": having(X_ERR, -0.1, 3, 0)}, "X_err", "zero or positive", r"\(3, 0\)")
bad("a negative variance", {"X_cov": np.diag([-0.25, 0.0])}, "X_cov", "negative variance", "signs")
bad("a variance a bit below zero", {"X_cov": np.diag([0.25, -1e-12])}, "X_cov", "negative variance", "signs")
bad(
    "one row's negative variance",
    {"X_cov": having(per_row(DIAGONAL), -0.1, 7, 0, 0)},
    "X_cov",
    "in row 7",
    "negative",
)
bad("correlation above one", {"X_cov": [[0.25, 0.3], [0.3, 0.25]]}, "X_cov", "negative eigenvalue", "at most")
bad("covariance of no variance", {"X_cov": [[0.25, 0.1], [0.1, 0.0]]}, "X_cov", "negative eigenvalue")
bad(
    "one row's correlation above one",
    {"X_cov": having(having(per_row(0.25 * np.eye(2)), 0.3, 5, 0, 1), 0.3, 5, 1, 0)},
    "X_cov",
    "in row 5",
    "negative eigenvalue",
)
bad("X_cov that is not symmetric", {"X_cov": [[0.25, 0.1], [-0.1, 0.25]]}, "X_cov", "symmetric", "transpose")
bad(
    "one row's X_cov that is not symmetric",
    {"X_cov": having(per_row(0.25 * np.eye(2)), 0.1, 9, 0, 1)},
    "X_cov",
    "symmetric in row 9",
)
for _shape in [(N,), (N, 1), (1, P), (P + 1,), (N, P, 1), (0,), (N - 1, P)]:
    bad(
        f"X_err of shape {_shape}",
        {"X_err": np.ones(_shape)},
        "X_err",
        re.escape(str(_shape)),
        "one a feature",
    )
for _shape in [(), (P,), (N, P), (N, P + 1, P + 1), (N - 1, P, P), (P, P, N)]:
    bad(
        f"X_cov of shape {_shape}",
        {"X_cov": np.ones(_shape)},
        "X_cov",
        re.escape(str(_shape)),
        r"\(2, 2\)",
        "X_err",
    )
for _shape in [(), (N,), (N, P, P), (P + 1,)]:
    bad(
        f"Xy_cov of shape {_shape}",
        {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": np.zeros(_shape)},
        "Xy_cov",
        re.escape(str(_shape)),
        "each feature",
    )
_KINDS: dict[str, Any] = {
    "words": "small",
    "a word a feature": ["small", "none"],
    "a complex number": [0.5j, 0.0],
    "complex objects": np.array([0.5j, 0.0], dtype=object),
    "a mapping": {"dose": 0.5},
    "ragged lists": [[0.1], [0.1, 0.2]],
    "dates": np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
    "a whole number too large": 10**400,
}
for _name, _kind in _KINDS.items():
    bad(f"X_err of {_name}", {"X_err": _kind}, "X_err", "real numbers", error=TypeError)
    bad(f"X_cov of {_name}", {"X_cov": _kind}, "X_cov", "real numbers", error=TypeError)
    bad(
        f"Xy_cov of {_name}",
        {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": _kind},
        "Xy_cov",
        "real numbers",
        error=TypeError,
    )
bad("Xy_cov without y_err", {"X_err": ONE, "Xy_cov": [0.1, 0.0]}, "Xy_cov", "give y_err")
bad("Xy_cov without X_err", {"y_err": Y_ERR, "Xy_cov": [0.1, 0.0]}, "Xy_cov", "give X_err or X_cov")
bad(
    "Xy_cov with errors of zero", {"X_err": 0.0, "y_err": Y_ERR, "Xy_cov": [0.1, 0.0]}, "Xy_cov", "give X_err"
)
bad(
    "Xy_cov of an exact feature",
    {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": [0.1, 0.1]},
    "Xy_cov",
    "'age'",
    "to 0",
)
bad("Xy_cov too large", {"X_err": ONE, "y_err": 0.2, "Xy_cov": [0.11, 0.0]}, "Xy_cov", "at most the product")
bad(
    "Xy_cov too large in one row",
    {"X_err": ONE, "y_err": having(np.full(N, 0.6), 0.1, 8), "Xy_cov": [0.2, 0.0]},
    "Xy_cov",
    "in row 8",
)
bad("X_err and X_cov", {"X_err": ONE, "X_cov": DIAGONAL}, "X_err and X_cov", "leave all but one out")
bad(
    "X_err and error_columns",
    {"X": TABLE, "X_err": ONE},
    "X_err and error_columns",
    "leave all but one out",
    error_columns="_err",
)
for _size in (1e101, 1e200, 1.7e308):
    bad(f"X_err of {_size}", {"X_err": [_size, 0.0]}, "X_err", "unit")
for _size in (1e201, 1.7e308):
    bad(f"X_cov of {_size}", {"X_cov": [[_size, 0.0], [0.0, 0.0]]}, "X_cov", "unit")
    bad(f"X_cov off by {_size}", {"X_cov": [[1.0, _size], [-_size, 1.0]]}, "X_cov", "unit")
    bad(f"Xy_cov of {_size}", {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": [_size, 0.0]}, "Xy_cov", "unit")
bad("a covariance of tiny variances", {"X_cov": [[1e-250, 1e199], [1e199, 1e-250]]}, "X_cov", "eigenvalue")
bad(
    "Xy_cov of tiny errors",
    {"X_err": [1e-120, 0.0], "y_err": 1e-90, "Xy_cov": [1e199, 0.0]},
    "Xy_cov",
    "eigenvalue",
)
bad("X too large to square", {"X": FRAME * 1e200, "X_err": ONE}, r"\bX\b", "unit")
bad("X too small to square", {"X": FRAME * 1e-170, "X_err": ONE * 1e-170}, r"\bX\b", "unit")
bad("X_err with a column missing", {"X_err": FRAME[["dose"]].abs()}, "X_err", r"missing \['age'\]", "as in X")
bad(
    "X_err with other columns",
    {"X_err": FRAME.abs().rename(columns={"age": "aged"})},
    "X_err",
    r"missing \['age'\], unknown \['aged'\]",
)
bad("X_err of TABLE", {"X_err": TABLE.abs()}, "X_err", r"unknown \['dose_err'\]")
bad("X_err with a column twice", {"X_err": FRAME[["dose", "age", "age"]].abs()}, "X_err", "columns")
bad("X_cov with other columns", {"X_cov": pd.DataFrame(DIAGONAL, columns=["a", "b"])}, "X_cov", "unknown")
bad(
    "X_cov with other rows",
    {"X_cov": pd.DataFrame(DIAGONAL, ["a", "b"], NAMES)},
    "X_cov",
    "label them as its columns",
)
bad("no such engine for errors", {"X_err": ONE}, "inference='exact'", "errors in X", inference="exact")

_COLUMNS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "an error column that is missing": (
        {"dose": "dose_er"},
        TABLE,
        ("error_columns='dose_er'", "'dose_err'"),
    ),
    "a feature that is missing": ({"dos": "dose_err"}, TABLE, ("error_columns='dos'", "'dose'")),
    "an error column that was renamed": (
        {"dose": "dose_err"},
        TABLE.rename(columns={"dose_err": "remainder__dose_err"}),
        ("error_columns='dose_err'", "verbose_feature_names_out=False"),
    ),
    "a position beyond the last": ({0: 3}, TABLE, ("error_columns=3", "3 columns")),
    "a feature twice": ({"dose": "dose_err", 0: 1}, TABLE, ("error_columns", "'?dose'?.* twice|twice")),
    "an error column that is a feature": (
        {"dose": "age", "age": "dose_err"},
        TABLE,
        ("error_columns", "'age'", "no feature"),
    ),
    "a feature that is its own error": ({"dose": "dose"}, TABLE, ("error_columns", "'dose'", "no feature")),
    "names where X has none": ({"dose": "dose_err"}, TABLE.to_numpy(), ("error_columns", "data frame")),
    "a suffix where X has no names": ("_err", TABLE.to_numpy(), ("error_columns", "data frame", "positions")),
    "a suffix that no column has": ("_sd", TABLE, ("error_columns='_sd'", "no column", "dose_err")),
    "an empty suffix": ("", TABLE, ("error_columns=''", "no column")),
    "a suffix without its feature": (
        "_err",
        TABLE.rename(columns={"dose": "amount"}),
        ("error_columns='_err'", "'dose_err' has no feature 'dose'", "[Rr]ename"),
    ),
    "an error column that was centred": (
        "_err",
        TABLE.assign(dose_err=X_ERR[:, 0] - X_ERR[:, 0].mean()),
        ("error_columns", "positive", "centre"),
    ),
    "an error column too large": ("_err", TABLE.assign(dose_err=1e200), ("error_columns", "unit")),
}
for _name, (_setting, _table, _says) in _COLUMNS.items():
    bad(_name, {"X": _table}, *_says, error_columns=_setting)
bad("error_columns of a number", {"X": TABLE}, "error_columns", error=TypeError, error_columns=0.5)
bad("error_columns of a list", {"X": TABLE}, "error_columns", error=TypeError, error_columns=["dose_err"])
bad(
    "the same column for y_err",
    {"X": TABLE},
    "y_err_column and error_columns",
    "same column",
    error_columns="_err",
    y_err_column="dose_err",
)
bad("no feature left", {"X": TABLE[["dose_err"]]}, "error_columns", error_columns={0: 0})


def check_message(caught: Any, says: tuple[str, ...]) -> None:
    message = " ".join(str(caught.value).split())
    for pattern in says:
        assert re.search(pattern, message), f"{pattern!r} is not in {message!r}"


@pytest.fixture(scope="module")
def earlier() -> Regressor:
    return fitted(X_err=X_ERR)


@pytest.mark.parametrize("name", BAD)
def test_bad_errors_are_refused_with_argument_and_remedy_and_leave_an_earlier_fit_as_it_was(
    name: str, earlier: Regressor
) -> None:
    parameters, data, says, error = BAD[name]
    usual = earlier.get_params()
    before = dict(vars(earlier))
    predicted = earlier.predict(FRAME, return_std=True, X_err=X_ERR)
    earlier.set_params(**parameters)
    given = dict(vars(earlier))
    try:
        with pytest.raises(error) as caught:
            earlier.fit(**{"X": FRAME, "y": Y} | data)
        assert vars(earlier).keys() == given.keys()
        assert all(vars(earlier)[key] is given[key] for key in given)
    finally:
        earlier.set_params(**usual)
    check_message(caught, says)
    assert vars(earlier).keys() == before.keys()
    assert_array_equal(earlier.predict(FRAME, return_std=True, X_err=X_ERR), predicted)


BAD_NEW: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "errors of an exact feature": (
        {"X_err": 0.1},
        ValueError,
        ("'age'", "fitted without", "Fit with its errors"),
    ),
    "one error of an exact feature": (
        {"X_err": having(X_ERR, 0.1, 3, 1)},
        ValueError,
        ("'age'", "Fit with its errors"),
    ),
    "a covariance of an exact feature": ({"X_cov": np.eye(2)}, ValueError, ("'age'", "Fit with its errors")),
    "both": ({"X_err": ONE, "X_cov": DIAGONAL}, ValueError, ("X_err and X_cov", "leave all but one out")),
    "a negative error": ({"X_err": -ONE}, ValueError, ("X_err", "zero or positive")),
    "NaN": ({"X_err": ONE * np.nan}, ValueError, ("X_err", "Fill in")),
    "too few rows": ({"X_err": X_ERR[:-1]}, ValueError, ("X_err", "one a cell")),
    "words": ({"X_err": "_err"}, TypeError, ("X_err", "real numbers")),
    "too large": ({"X_err": ONE * 1e200}, ValueError, ("X_err", "unit")),
    "a covariance too large": ({"X_cov": DIAGONAL * 1e300}, ValueError, ("X_cov", "unit")),
    "an indefinite row": (
        {"X_cov": having(per_row(DIAGONAL), -0.2, 4, 0, 0)},
        ValueError,
        ("X_cov", "in row 4"),
    ),
    "another frame": ({"X_err": TABLE.abs()}, ValueError, ("X_err", "unknown")),
}


@pytest.mark.parametrize("name", BAD_NEW)
@pytest.mark.parametrize(
    "method", ["predict", "predict_interval", "predict_quantiles", "predict_distribution", "sample_y"]
)
def test_bad_errors_of_new_rows_are_refused_with_argument_and_remedy(
    name: str, method: str, earlier: Regressor
) -> None:
    data, error, says = BAD_NEW[name]
    before = dict(vars(earlier))
    with pytest.raises(error) as caught:
        getattr(earlier, method)(FRAME, **data)
    check_message(caught, says)
    assert vars(earlier).keys() == before.keys()
    assert all(vars(earlier)[key] is before[key] for key in before)


def test_errors_at_predict_of_a_model_fitted_without_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'dose'.*fitted without.*Fit with its errors"):
        fitted().predict(FRAME, X_err=ONE)
    model = Regressor(error_columns="_err", random_state=0).fit(TABLE, Y)
    with pytest.raises(ValueError, match="X_err and error_columns"):
        model.predict(TABLE, X_err=ONE)
    with pytest.raises(ValueError, match=r"error_columns.*positive.*centre"):
        model.predict(TABLE.assign(dose_err=-1.0))
    with pytest.raises(ValueError, match=r"dose_err"):
        model.predict(FRAME)


@pytest.mark.filterwarnings("ignore:Importance sampling is not to be trusted")
@pytest.mark.parametrize("size", [1.3, 3.0, 1e6, 1e99])
def test_errors_larger_than_the_features_spread_warn(size: float) -> None:
    with pytest.warns(UserWarning, match=r"errors of 'dose' hide it: .*unit") as caught:
        model = Regressor(inference="importance", random_state=0).fit(FRAME, Y, X_err=[size, 0.0])
    assert [w.filename for w in caught if "hide it" in str(w.message)] == [__file__]
    assert np.isfinite(found(model)[~np.isnan(found(model))]).all()
    assert np.isfinite(model.predict(FRAME, return_std=True, X_err=[size, 0.0])).all()


def test_features_that_are_hardly_known_warn_and_others_with_a_useless_reading_do_not() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(80, 1))
    y = 1.0 + 2.0 * true[:, 0] + rng.normal(0.0, 0.5, 80)
    error = np.full((80, 1), 0.5)
    with pytest.warns(UserWarning, match=r"errors of 'x0' hide it: 0.\d+ \+- 0.\d+ of the variance"):
        Regressor(random_state=0).fit(true + 3.0 * rng.normal(size=(80, 1)), y, X_err=3.0)
    error[0] = 100.0  # as the mean square has it, errors would be many times the spread
    Regressor(random_state=0).fit(true + error * rng.normal(size=(80, 1)), y, X_err=error)


@pytest.mark.parametrize("size", [5e-324, 1e-200, 1e-150, 1e-50])
def test_errors_too_small_to_square_are_next_to_none(size: float) -> None:
    model = fitted(X_err=[size, 0.0])
    assert monte_carlo_errors(model, fitted()).max() < 0.1
    assert_allclose(model.predict(FRAME, X_err=[size, 0.0]), model.predict(FRAME), rtol=1e-9)


@pytest.mark.parametrize("collinear", ["twice, both noisy", "twice, one noisy", "constant and noisy"])
@pytest.mark.filterwarnings(
    "ignore:The errors of:UserWarning", "ignore:Importance sampling is not to be trusted"
)
def test_constant_and_collinear_columns_are_fitted(collinear: str) -> None:
    table = X[:, [0, 0]] if "twice" in collinear else X * [0.0, 1.0]
    errors = [0.5, 0.5] if "both" in collinear else [0.5, 0.0]
    model = Regressor(inference="importance", random_state=0).fit(table, Y, X_err=errors)
    mean, std = model.predict(table, return_std=True, X_err=errors)
    assert np.isfinite(mean).all()
    assert (std > 0.0).all()


# Predictions.

Q2 = noisy_features(q=2, seed=1)
CORRELATED = np.array([[0.3, 0.1, 0.0], [0.1, 0.2, 0.0], [0.0, 0.0, 0.0]])


@pytest.fixture(scope="module", params=[True, False], ids=["intercept", "no intercept"])
def two_noisy(request: Any) -> Regressor:
    model = Regressor(fit_intercept=request.param, random_state=0)
    return with_few_nodes(model.fit(Q2.X, Q2.y - (not request.param), X_err=Q2.X_err), 256)


def with_few_nodes(model: Regressor, nodes: int) -> Regressor:
    """Keep some of a fit's nodes, of those that count: predictions are faster, and say as much."""
    posterior = model._fitted.posterior
    true = posterior.true_features
    some = np.sort(np.argsort(posterior.weights)[-nodes:])
    weights = np.random.default_rng(0).dirichlet(np.ones(nodes))
    few = {name: getattr(true, name)[some] for name in ("coef", "variance", "theta", "root")}
    few_nodes = replace(
        posterior,
        weights=weights,
        location=posterior.location[some],
        covariances=replace(posterior.covariances, factors=posterior.covariances.factors[some]),
        noise_scale=posterior.noise_scale[some],
        true_features=replace(true, **few),
    )
    model._fitted = replace(model._fitted, posterior=few_nodes)
    return model


def new_errors(kind: str) -> np.ndarray:
    """Return covariances of the errors of new rows."""
    if kind == "true":
        return np.zeros((3, 3))
    size = np.linspace(0.2, 3.0, len(Q2.y))[:, None, None]
    return CORRELATED if kind == "common" else size * CORRELATED


KINDS = ["true", "common", "per row"]


def drawn_by_hand(model: Regressor, row: np.ndarray, error: np.ndarray, size: int) -> np.ndarray:
    """Draw new measurements from the model written out: node, theta, the true features given the measured, noise."""
    rng = np.random.default_rng(0)
    posterior = model._fitted.posterior
    true = posterior.true_features
    node = rng.choice(len(posterior.weights), size, p=posterior.weights)
    standard = rng.standard_normal((size, true.theta.shape[1]))
    theta = true.theta[node] + (true.root[node] @ standard[:, :, None])[:, :, 0]
    scaled = (row - true.x_mean) / true.x_scale
    ones = np.append(1.0, scaled[true.exact])
    q, width = len(true.noisy), len(ones)
    expected = theta[:, : q * width].reshape(size, q, width) @ ones
    x = np.broadcast_to(scaled[true.noisy], (size, q))
    if error.any():
        unit = true.x_scale[true.noisy]
        certain = np.linalg.inv(error[:q, :q] / np.outer(unit, unit))
        prior = np.linalg.inv(true.variance[node])
        covariance = np.linalg.inv(prior + certain)
        mean = covariance @ (prior @ expected[:, :, None] + (certain @ x[:, :, None]))
        x = (mean + np.linalg.cholesky(covariance) @ rng.standard_normal((size, q, 1)))[:, :, 0]
    beta = theta[:, q * width :]
    line = (beta @ (ones if model.fit_intercept else ones[1:])) + (true.coef[node] * x).sum(axis=1)
    return true.y_mean + true.y_scale * line + posterior.noise_scale[node] * rng.standard_normal(size)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_the_model_written_out_and_drawn_from(
    kind: str, two_noisy: Regressor
) -> None:
    errors, rows, size = new_errors(kind), [0, 60, 119], 60_000
    distribution = two_noisy.predict_distribution(Q2.X, X_cov=errors)
    mean, std, limits = distribution.mean(), distribution.std(), distribution.ppf([[0.05], [0.5], [0.95]])
    sampled = distribution.sample(20_000, random_state=1)
    for row in rows:
        error = errors if errors.ndim == 2 else errors[row]
        draws = drawn_by_hand(two_noisy, Q2.X[row], error, size)
        scale = std[row] / np.sqrt(size)
        assert abs(draws.mean() - mean[row]) < 4.5 * scale
        assert abs(draws.std() - std[row]) < 4.5 * scale
        assert_allclose(
            (draws[:, None] < limits[:, row]).mean(axis=0), [0.05, 0.5, 0.95], atol=4.5 * 0.5 / size**0.5
        )
        assert abs(sampled[row].mean() - mean[row]) < 4.5 * std[row] / 20_000**0.5
        assert abs(sampled[row].std() - std[row]) < 4.5 * std[row] / 20_000**0.5


@pytest.mark.parametrize("include_noise", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_prediction_says_the_same(kind: str, include_noise: bool, two_noisy: Regressor) -> None:
    X_cov, rows = new_errors(kind), slice(0, 25)
    given = {
        "X_cov": X_cov if X_cov.ndim == 2 else X_cov[rows],
        "include_noise": include_noise,
    }
    X_new = Q2.X[rows]
    distribution = two_noisy.predict_distribution(X_new, **given)
    mean, std = two_noisy.predict(X_new, return_std=True, **given)
    same_mean, covariance = two_noisy.predict(X_new, return_cov=True, **given)
    assert_allclose(two_noisy.predict(X_new, **given), mean)
    assert_allclose(same_mean, mean)
    assert_allclose(distribution.mean(), mean)
    assert_allclose(distribution.std(), std)
    assert_allclose(np.diag(covariance), std**2, rtol=1e-9)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    assert_allclose(sum(distribution.variance_parts.values()), std**2, rtol=1e-9)
    assert ("feature_error" in distribution.variance_parts) == (kind != "true")
    if include_noise:  # else some components are next to points
        # The mixture that quantiles come from has this mean and variance, too.
        edges = np.linspace(-12.0, 12.0, 8001)[:, None] * std + mean
        density = distribution.pdf(edges)
        step = edges[1] - edges[0]
        assert_allclose(density.sum(axis=0) * step, 1.0, rtol=1e-3)
        assert_allclose((density * edges).sum(axis=0) * step, mean, atol=1e-3 * std.min())
        assert_allclose((density * (edges - mean) ** 2).sum(axis=0) * step, std**2, rtol=5e-3)
    limits = two_noisy.predict_quantiles(X_new, [0.1, 0.9], **given)
    assert_allclose(distribution.cdf(limits.T), np.array([[0.1], [0.9]]) * np.ones(25), atol=1e-6)
    assert_allclose(two_noisy.predict_interval(X_new, 0.8, **given), limits)
    draws = two_noisy.sample_y(X_new, 20_000, random_state=0, **given)
    assert (np.abs(draws.mean(axis=1) - mean) < 4.5 * std / 20_000**0.5).all()
    assert_allclose(np.cov(draws), covariance, atol=0.05 * np.square(std).max())


def test_errors_a_row_that_are_equal_are_common_errors(two_noisy: Regressor) -> None:
    common = two_noisy.predict_distribution(Q2.X, X_cov=CORRELATED)
    # All but equal, so that rows are taken one by one.
    size = np.linspace(1.0, 1.0 + 1e-9, len(Q2.y))[:, None, None]
    by_row = two_noisy.predict_distribution(Q2.X, X_cov=size * CORRELATED)
    assert_allclose(by_row.mean(), common.mean(), rtol=1e-7)
    assert_allclose(by_row.std(), common.std(), rtol=1e-7)
    assert_allclose(by_row.interval(0.9), common.interval(0.9), rtol=1e-6)
    assert_allclose(by_row.covariance(), common.covariance(), rtol=1e-6, atol=1e-9)
    for name, part in common.variance_parts.items():
        assert_allclose(by_row.variance_parts[name], part, rtol=1e-6, atol=1e-12)
    equal = two_noisy.predict_distribution(Q2.X, X_cov=np.broadcast_to(CORRELATED, (len(Q2.y), 3, 3)))
    assert_array_equal(equal.mean(), common.mean())


@pytest.mark.parametrize("by_row", [False, True])
def test_without_errors_the_features_are_true_and_with_endless_ones_they_say_nothing(
    by_row: bool, two_noisy: Regressor
) -> None:
    size = np.linspace(1.0, 2.0, len(Q2.y))[:, None, None] if by_row else 1.0
    true = two_noisy.predict_distribution(Q2.X, X_err=0.0)
    tiny = two_noisy.predict_distribution(Q2.X, X_cov=1e-14 * size * CORRELATED)
    assert_allclose(tiny.mean(), true.mean(), rtol=1e-6)
    assert_allclose(tiny.std(), true.std(), rtol=1e-6)
    endless = 1e14 * size * CORRELATED
    moved = Q2.X + np.array([5.0, -3.0, 0.0])
    one, other = (two_noisy.predict_distribution(rows, X_cov=endless) for rows in (Q2.X, moved))
    assert_allclose(one.mean(), other.mean(), rtol=1e-6)
    assert (one.std() > 1.5 * true.std()).all()


def test_a_row_without_error_among_others_is_true(two_noisy: Regressor) -> None:
    errors = np.array(new_errors("per row"))
    errors[::3] = 0.0
    measured = two_noisy.predict_distribution(Q2.X, X_cov=errors)
    true = two_noisy.predict_distribution(Q2.X, X_err=0.0)
    assert_allclose(measured.mean()[::3], true.mean()[::3])
    assert_allclose(measured.std()[::3], true.std()[::3])
    assert (measured.variance_parts["feature_error"][::3] == 0.0).all()
    assert (measured.variance_parts["feature_error"][1::3] > 0.0).all()


def test_the_slope_in_a_measured_feature_is_shrunk_to_what_it_tells(earlier: Regressor) -> None:
    rows = pd.DataFrame([[0.0, 0.0], [1.0, 0.0]], columns=NAMES)
    slopes = [np.diff(earlier.predict(rows, X_err=[error, 0.0]))[0] for error in (0.0, 0.5, 1.0, 3.0)]
    assert_allclose(slopes[0], earlier.coef_[0])
    assert (np.diff(slopes) < 0.0).all()
    # What the exact feature leaves of the true one's variance is 1.
    assert_allclose(slopes[1:] / slopes[0], 1.0 / (1.0 + np.square([0.5, 1.0, 3.0])), rtol=0.2)


def test_new_rows_may_have_errors_of_some_of_the_noisy_features(two_noisy: Regressor) -> None:
    only = np.diag([0.0, 0.25, 0.0])
    some = two_noisy.predict_distribution(Q2.X, X_cov=only)
    nearly = two_noisy.predict_distribution(Q2.X, X_err=[1e-8, 0.5, 0.0])
    assert_allclose(some.mean(), nearly.mean(), rtol=1e-6)
    assert_allclose(some.std(), nearly.std(), rtol=1e-6)
    parts = some.variance_parts
    whole = two_noisy.predict_distribution(Q2.X, X_err=[0.5, 0.5, 0.0]).variance_parts
    assert (parts["feature_error"] < whole["feature_error"]).all()


def test_one_row_is_predicted_as_among_many(two_noisy: Regressor) -> None:
    errors = np.array(new_errors("per row"))
    mean, std = two_noisy.predict(Q2.X, return_std=True, X_cov=errors)
    for row in (0, 50):
        one = two_noisy.predict(Q2.X[[row]], return_std=True, X_cov=errors[[row]])
        assert_allclose(np.ravel(one), [mean[row], std[row]], rtol=1e-9)


@pytest.mark.parametrize("standardize", [True, False])
def test_predictions_from_features_all_of_which_are_noisy(standardize: bool) -> None:
    model = Regressor(random_state=0, standardize=standardize).fit(X[:, :1], Y, X_err=X_ERR[:, :1])
    distribution = model.predict_distribution(X[:, :1], X_err=X_ERR[:, :1])
    draws = drawn_by_hand(model, X[5, :1], np.diag(X_ERR[5, :1] ** 2), 60_000)
    assert abs(draws.mean() - distribution.mean()[5]) < 4.5 * draws.std() / 60_000**0.5
    assert abs(draws.std() - distribution.std()[5]) < 4.5 * draws.std() / 60_000**0.5


@pytest.mark.parametrize("by_row", [False, True])
def test_no_array_of_rows_by_nodes_is_made(by_row: bool, earlier: Regressor) -> None:
    model, n = with_few_nodes(clone(earlier).fit(FRAME, Y, X_err=X_ERR), 32), 100_000
    rows = pd.DataFrame(np.tile(X, (n // N + 1, 1))[:n], columns=NAMES)
    errors = np.column_stack([np.linspace(0.1, 1.0, n), np.zeros(n)]) if by_row else ONE
    distribution = model.predict_distribution(rows, X_err=errors)
    tracemalloc.start()
    mean, std = distribution.mean_and_std()
    distribution.cdf(0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.isfinite(mean).all()
    assert (std > 0.0).all()
    # Rows by nodes are 26 megabytes.
    assert peak < 20e6, peak


# Draws for ArviZ.


def test_draws_for_arviz_are_of_the_line_and_the_log_likelihood_is_given_what_was_measured() -> None:
    model = fitted(X_err=X_ERR)
    data = model.to_arviz(FRAME, Y, X_err=X_ERR)
    posterior = data.posterior
    size = posterior["coef"].size / 2
    for name, mean, std in (("coef", model.coef_, model.coef_std_), ("sigma", model.noise_scale_, None)):
        values = np.asarray(posterior[name]).reshape(int(size), -1)
        spread = values.std(axis=0) if std is None else std
        assert (np.abs(values.mean(axis=0) - mean) < 5.0 * spread / size**0.5 + 1e-9).all()
        assert_allclose(values.std(axis=0), spread, rtol=5.0 / (2.0 * size) ** 0.5 + 0.02)
    distribution = model.predict_distribution(FRAME, X_err=X_ERR)
    density = np.exp(np.asarray(data.log_likelihood["y"]))
    error = density.std(axis=(0, 1)) / size**0.5
    assert (np.abs(density.mean(axis=(0, 1)) - distribution.pdf(Y)) < 5.0 * error).all()
    predicted = np.asarray(data.posterior_predictive["y"])
    assert (
        np.abs(predicted.mean(axis=(0, 1)) - distribution.mean()) < 5.0 * distribution.std() / size**0.5
    ).all()
    by_row = model.to_arviz(FRAME, Y, X_err=np.broadcast_to(X_ERR, X.shape))
    assert_allclose(by_row.log_likelihood["y"], data.log_likelihood["y"])


def test_arviz_s_data_groups_need_the_errors_that_fit_had() -> None:
    with pytest.raises(ValueError, match=r"fitted with errors of features: give X_err or X_cov"):
        fitted(X_err=X_ERR).to_arviz(FRAME, Y)
    with pytest.raises(ValueError, match=r"X_err is given without X and y"):
        fitted(X_err=X_ERR).to_arviz(X_err=X_ERR)
    model = Regressor(random_state=0).fit(X, Y, y_err=0.5, X_err=X_ERR, Xy_cov=[0.01, 0.0])
    assert model.to_arviz().posterior["coef"].shape == (4, 1000, 2)
    with pytest.raises(ValueError, match=r"fitted with Xy_cov.*give Xy_cov with X and y"):
        model.to_arviz(X, Y, y_err=0.5, X_err=X_ERR)
