"""Errors of features: what leaves the fit as it is, what it finds, and what it warns of.

The engine samples, but the same numbers go into the same seed: what is the same model in other units or another
order is the same fit, to what rounding becomes on the way. Warnings are errors in this suite.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn import Flat, Normal

from data import noisy_features, shares
from dose import (
    FRAME,
    ONE,
    ROUNDING,
    X_ERR,
    N,
    P,
    X,
    Y,
    assert_same,
    fitted,
    found,
    monte_carlo_errors,
)
from plain import Regressor


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
