"""What weights, counts and standard errors mean."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Flat

from data import measured, shares


def state(model: Regressor) -> np.ndarray:
    """Everything a fit found, as one array."""
    return np.concatenate(
        [model.coef_, model.coef_std_, [model.intercept_, model.noise_scale_, model.log_marginal_likelihood_]]
    )


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
@pytest.mark.parametrize("standardize", [True, False])
def test_repeating_rows_equals_integer_weights(noise: str, standardize: bool) -> None:
    X, y, y_err = measured()
    times = np.random.default_rng(1).integers(0, 4, len(y))
    model = Regressor(noise=noise, standardize=standardize, weight_type="frequency")
    weighted = state(model.fit(X, y, times, y_err=y_err))
    repeated = state(
        model.fit(np.repeat(X, times, axis=0), np.repeat(y, times), y_err=np.repeat(y_err, times))
    )
    assert_allclose(weighted, repeated, rtol=1e-9)


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_repeating_counted_rows_equals_integer_weights(noise: str) -> None:
    X, y, counts = shares()
    times = np.random.default_rng(1).integers(0, 4, len(y))
    table = np.column_stack([X, counts])
    model = Regressor(noise=noise, count_column=2)
    weighted = state(model.fit(table, y, times))
    repeated = state(model.fit(np.repeat(table, times, axis=0), np.repeat(y, times)))
    assert_allclose(weighted, repeated, rtol=1e-9)


def test_a_zero_weight_leaves_its_row_out() -> None:
    X, y, counts = shares()
    wild = np.vstack([X, [[1e6, -1e6]]])
    for weight_type in ("counts", "frequency"):
        model = Regressor(weight_type=weight_type)
        with_zero = state(model.fit(wild, np.append(y, 1.0), np.append(counts, 0.0)))
        without = state(model.fit(X, y, counts))
        assert_allclose(with_zero, without, rtol=1e-9)


def test_count_column_equals_counts_as_weights() -> None:
    X, y, counts = shares()
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(messages=counts)
    by_column = Regressor(count_column="messages").fit(frame, y)
    by_weight = Regressor(weight_type="counts").fit(X, y, counts)
    assert_allclose(state(by_column), state(by_weight), rtol=1e-12)
    assert list(by_column.coef_names_) == ["a", "b"]
    assert_allclose(
        by_column.predict(frame, return_std=True), by_weight.predict(X, return_std=True, counts=counts)
    )


def test_y_err_column_equals_y_err() -> None:
    X, y, y_err = measured()
    table = np.column_stack([X[:, :1], y_err, X[:, 1:]])
    by_column = Regressor(y_err_column=1).fit(table, y)
    by_argument = Regressor().fit(X, y, y_err=y_err)
    assert_allclose(state(by_column), state(by_argument), rtol=1e-12)
    assert list(by_column.coef_names_) == ["x0", "x2", "x3"]
    assert_allclose(
        by_column.predict(table, return_std=True), by_argument.predict(X, return_std=True, y_err=y_err)
    )


def test_one_number_for_all_errors_equals_an_array_of_it() -> None:
    X, y, _ = measured()
    for noise in ("scaled", "additive", "known"):
        model = Regressor(noise=noise)
        one = state(model.fit(X, y, y_err=0.7))
        assert_allclose(one, state(model.fit(X, y, y_err=np.full(len(y), 0.7))), rtol=1e-9)


def test_observed_errors_are_those_of_the_reference_model() -> None:
    X, y, counts = shares()
    y[:2] = [0.0, 1.0]
    certain = (y == 0.0) | (y == 1.0)
    share = np.where(certain, (y * counts + 0.5) / (counts + 1.0), y)
    y_err = np.sqrt(share * (1.0 - share) / counts) + 0.1
    by_counts = Regressor(count_error="observed", error_floor=0.1, weight_type="counts").fit(X, y, counts)
    assert_allclose(state(by_counts), state(Regressor().fit(X, y, y_err=y_err)), rtol=1e-12)


def test_fitted_errors_are_a_fixed_point() -> None:
    # Refitting with the errors at the shares of the fit, as given errors, finds the same fit.
    X, y, counts = shares(n=2000)
    model = Regressor(weight_type="counts", noise="known", error_floor=0.01).fit(X, y, counts)
    pooled = (y @ counts + 0.5) / (counts.sum() + 1.0)
    share = (np.clip(model.predict(X), 0.0, 1.0) * counts + 10.0 * pooled) / (counts + 10.0)
    y_err = np.sqrt(share * (1.0 - share) / counts) + 0.01
    again = Regressor(noise="known").fit(X, y, y_err=y_err)
    assert np.abs((again.coef_ - model.coef_) / model.coef_std_).max() < 1e-3
    assert_allclose(again.coef_std_, model.coef_std_, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:The features fit the target without error")
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_shares_that_are_all_the_same_are_fitted(share: float) -> None:
    X, _, counts = shares()
    for noise in ("scaled", "additive", "known"):
        model = Regressor(weight_type="counts", noise=noise).fit(X, np.full(len(X), share), 2.0 * counts)
        assert_allclose(model.predict(X), share, atol=1e-6)
        assert np.isfinite(model.predict(X, return_std=True, counts=10)[1]).all()


def test_extra_binomial_variation_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(3)
    n = 4000
    X = rng.uniform(-1.0, 1.0, size=(n, 1))
    p = 0.3 + 0.1 * X[:, 0]
    counts = np.exp(rng.uniform(np.log(2.0), np.log(1000.0), n)).astype(int)
    rho = 0.03
    varying = rng.beta(p * (1.0 / rho - 1.0), (1.0 - p) * (1.0 / rho - 1.0))
    model = Regressor(weight_type="counts")
    found = model.fit(X, rng.binomial(counts, varying) / counts, counts).overdispersion_
    # The moment estimate's standard error is about rho * sqrt(2 / rows with counts above 1 / rho), 2%.
    assert abs(found - rho) < 5.0 * 0.02 * rho
    assert model.fit(X, rng.binomial(counts, p) / counts, counts).overdispersion_ < 1e-3
    assert 0.9 < model.noise_scale_ < 1.1


AUTO = {
    "counts": ([0.2, 0.5, 0.4, 0.25], [10, 2, 5, 4], "counts"),
    "no weights": ([0.2, 0.5, 0.4, 0.25], None, "frequency"),
    "a target outside [0, 1]": ([0.2, 0.5, 0.4, 2.0], [5, 2, 5, 4], "frequency"),
    "a fraction": ([0.2, 0.5, 0.4, 0.25], [5, 2, 5, 0.5], "frequency"),
    "a fraction above 1": ([0.2, 0.5, 0.4, 0.25], [5, 2, 5, 1.5], "frequency"),
    "a zero, as a bootstrap has": ([0.2, 0.5, 0.4, 0.25], [5, 0, 5, 4], "frequency"),
    "all ones": ([0.2, 0.5, 0.4, 0.25], [1, 1, 1, 1], "frequency"),
    "only zeros and ones": ([0.0, 1.0, 0.0, 1.0], [5, 2, 5, 4], "frequency"),
}


@pytest.mark.parametrize("case", AUTO)
def test_auto_follows_its_rules(case: str) -> None:
    y, weight, expected = AUTO[case]
    X = np.array([[0.0], [1.0], [0.3], [0.5]])
    assert Regressor().fit(X, y, weight).weight_type_ == expected


def test_auto_takes_weights_beside_known_errors_as_frequencies() -> None:
    X, y, counts = shares()
    counts = np.minimum(counts, 9.0)
    y = np.round(y * counts) / counts
    assert Regressor().fit(X, y, counts).weight_type_ == "counts"
    assert Regressor().fit(X, y, counts, y_err=0.1).weight_type_ == "frequency"
    table = np.column_stack([X, counts])
    assert Regressor(count_column=2).fit(table, y, np.full(len(y), 2.0)).weight_type_ == "frequency"
    assert Regressor(y_err_column=2).fit(table, y, counts).weight_type_ == "frequency"


def test_auto_warns_where_the_data_do_not_look_like_its_guess_and_a_setting_silences_it() -> None:
    X, y, counts = shares()
    no_shares = np.random.default_rng(0).uniform(0.1, 0.3, len(y))
    with pytest.warns(UserWarning, match="weight_type='counts' or weight_type='frequency'"):
        Regressor().fit(X, no_shares, counts)
    with pytest.warns(UserWarning, match="mean is .* weight_type='counts' or weight_type='frequency'"):
        Regressor().fit(X, y + 2.0, counts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Regressor(weight_type="counts").fit(X, no_shares, counts)
        Regressor(weight_type="frequency").fit(X, y + 2.0, counts)


def test_errors_that_are_too_small_warn() -> None:
    X, y, y_err = measured(n=400)
    with pytest.warns(UserWarning, match="stated errors look too small"):
        Regressor(coef_prior=Flat()).fit(X, y, y_err=y_err / 4.0)


def test_without_known_errors_scaled_and_additive_are_one_model() -> None:
    X, y, _ = measured()
    assert_allclose(
        state(Regressor(noise="scaled").fit(X, y)), state(Regressor(noise="additive").fit(X, y)), rtol=1e-12
    )


def test_the_new_measurement_error_follows_the_kind_of_noise() -> None:
    X, y, y_err = measured()
    new = np.full(len(y), 3.0)
    for noise in ("scaled", "additive", "known"):
        model = Regressor(noise=noise).fit(X, y, y_err=y_err)
        line = model.predict(X, return_std=True, include_noise=False)[1]
        total = model.predict(X, return_std=True, y_err=new)[1]
        square = model._posterior.weights @ model._posterior.noise_scale**2
        expected = {"scaled": 9.0 * square, "additive": 9.0 + square, "known": 9.0}[noise]
        assert_allclose(total**2 - line**2, expected, rtol=1e-9)
        default = model.predict(X, return_std=True)[1]
        typical = model.predict(X, return_std=True, y_err=np.sqrt(np.mean(y_err**2)))[1]
        assert_allclose(default, typical)


def test_variance_parts_add_up_and_counts_give_their_own() -> None:
    X, y, counts = shares()
    for noise in ("scaled", "additive", "known"):
        model = Regressor(noise=noise, weight_type="counts").fit(X, y, counts)
        for given in ({}, {"counts": counts}, {"counts": np.where(counts > 100, 0, counts)}, {"y_err": 0.1}):
            distribution = model.predict_distribution(X, **given)
            parts = distribution.variance_parts
            assert set(parts) == {"parameters", "scatter", "target_error", "finite_count"}
            assert all((part >= 0.0).all() for part in parts.values())
            assert_allclose(sum(parts.values()), distribution.var(), rtol=1e-12)
            assert (parts["finite_count"] > 0.0).any() == ("counts" in given)
    # More messages leave less to the finite count, and the rest as it is.
    few, many = (model.predict_distribution(X, counts=n).variance_parts for n in (10, 1000))
    assert (few["finite_count"] > 90.0 * many["finite_count"]).all()
    assert_allclose(few["parameters"], many["parameters"])
