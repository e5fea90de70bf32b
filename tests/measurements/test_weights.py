"""What weights, counts and standard errors mean."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import gammaln
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor

from bayes_sklearn import Flat, HalfNormal, distributed

from data import measured, shares
from plain import Regressor


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


@pytest.mark.filterwarnings("ignore:noise=.known., but the stated errors:UserWarning")
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
    more = 10.0 * max(1.0, 0.1 / (pooled * (1.0 - pooled)))
    share = (np.clip(model.predict(X), 0.0, 1.0) * counts + more * pooled) / (counts + more)
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
    "a count of 0": ([0.2, 0.5, 0.4, 0.25], [10, 0, 5, 4], "counts"),
    "a count of 0, whose share is NaN": ([0.2, np.nan, 0.4, 0.25], [10, 0, 5, 4], "counts"),
    "a count of 0, whose share is none": ([0.2, -1.0, 0.4, 0.25], [10, 0, 5, 4], "counts"),
    "a share of 1, rounded": ([0.2, (0.1 + 0.2) / 0.3, 0.4, 0.25], [10, 3, 5, 4], "counts"),
    "no weights": ([0.2, 0.5, 0.4, 0.25], None, "frequency"),
    "a target outside [0, 1]": ([0.2, 0.5, 0.4, 2.0], [5, 2, 5, 4], "frequency"),
    "a zero beside what is not whole, as a bootstrap has": ([0.2, 0.5, 0.4, 0.25], [3, 0, 1, 1], "frequency"),
    "all ones but a zero": ([0.2, 0.5, 0.4, 0.25], [1, 0, 1, 1], "frequency"),
    "all ones": ([0.2, 0.5, 0.4, 0.25], [1, 1, 1, 1], "frequency"),
    "only zeros and ones": ([0.0, 1.0, 0.0, 1.0], [5, 2, 5, 4], "frequency"),
}


GUESSED = {
    "a fraction": ([0.2, 0.5, 0.4, 0.25], [5, 2, 5, 0.5], "not whole: precisions"),
    "a fraction above 1": ([0.2, 0.5, 0.4, 0.25], [5, 2, 5, 1.5], "not whole: precisions"),
    "precisions": ([12.0, 11.0, 14.0, 13.0], [0.3, 4.2, 0.7, 0.0], "not whole: precisions"),
    "percentages": ([20.0, 50.0, 40.0, 25.0], [10, 20, 50, 40], "percentages with counts.* divide y by 100"),
    "large numbers": ([200.0, 50.0, 40.0, 25.0], [10, 20, 50, 40], "mean of 30: every row would"),
}


@pytest.mark.parametrize("case", GUESSED)
def test_auto_says_so_where_it_takes_doubtful_weights_for_frequencies(case: str) -> None:
    y, weight, reason = GUESSED[case]
    X = np.array([[0.0], [1.0], [0.3], [0.5]])
    with pytest.warns(UserWarning, match=f"{reason}.*'counts', 'frequency' or 'precision'") as said:
        assert Regressor().fit(X, y, weight).weight_type_ == "frequency"
    assert len(said) == 1
    assert len(str(said[0].message)) <= 400
    # Where something else states the errors, they can only be frequencies.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*mean of")
        Regressor().fit(X, y, weight, y_err=100.0)


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
    rounded = np.round(y, 2)
    for target in (no_shares, rounded):
        with pytest.warns(UserWarning, match="not whole in some rows.*'counts', 'frequency' or 'precision'"):
            Regressor().fit(X, target, counts)
    with pytest.warns(UserWarning, match="mean of .*'counts', 'frequency' or 'precision'"):
        Regressor().fit(X, y + 2.0, counts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Regressor(weight_type="counts").fit(X, rounded, counts)
        Regressor(weight_type="frequency").fit(X, y + 2.0, counts)
    # What is no share of its count, however it was rounded, is warned of all the same.
    with pytest.warns(UserWarning, match="is no share of .*count_column"):
        Regressor(weight_type="counts").fit(X, no_shares, counts)


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
        square = model._fitted.posterior.weights @ model._fitted.posterior.noise_scale**2
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


def precise(n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y, y_err = measured(n)
    return X, y, 1.0 / y_err**2


def test_precisions_with_flat_priors_are_weighted_least_squares() -> None:
    # Gelman et al. 2013, Bayesian Data Analysis, 14.2, with a noise scale whose prior is as good as flat.
    X, y, weight = precise(400)
    design = np.column_stack([np.ones(len(y)), X])
    root = np.sqrt(weight)
    expected, square, _, _ = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)
    degrees = len(y) - 4
    covariance = np.linalg.inv(design.T @ (weight[:, None] * design)) * square / (degrees - 3.0)
    scale = np.sqrt(0.5 * square[0]) * np.exp(gammaln(0.5 * degrees - 1.0) - gammaln(0.5 * degrees - 0.5))
    wide = HalfNormal(1e3)
    model = Regressor(
        weight_type="precision", coef_prior=Flat(), intercept_prior=Flat(), noise_prior=wide
    ).fit(X, y, weight)
    assert_allclose([model.intercept_, *model.coef_], expected, rtol=1e-9)
    assert_allclose(model.coef_std_, np.sqrt(np.diag(covariance)[1:]), rtol=1e-5)
    # The typical error, in the target's unit, and what a new row will have.
    assert_allclose(model.noise_scale_, scale * np.sqrt(np.mean(1.0 / weight)), rtol=1e-5)
    line, total = (model.predict(X, return_std=True, include_noise=noise)[1] for noise in (False, True))
    assert_allclose(total**2 - line**2, square[0] / (degrees - 3.0) * np.mean(1.0 / weight), rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-12, 3.7, 1e15])
@pytest.mark.parametrize("likelihood", ["normal", "student_t"])
def test_the_scale_of_precisions_changes_nothing(factor: float, likelihood: str) -> None:
    X, y, weight = precise()
    model = Regressor(weight_type="precision", likelihood=likelihood, random_state=0)
    one = model.fit(X, y, weight)
    expected = (one.coef_, one.coef_std_, one.noise_scale_, *one.predict(X, return_std=True))
    other = clone(model).fit(X, y, factor * weight)
    found = (other.coef_, other.coef_std_, other.noise_scale_, *other.predict(X, return_std=True))
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-9)
    if likelihood == "normal":
        assert_allclose(other.log_marginal_likelihood_, one.log_marginal_likelihood_, rtol=1e-12)


def test_equal_precisions_are_no_weights_at_all() -> None:
    X, y, _ = measured()
    weighted = Regressor(weight_type="precision").fit(X, y, np.full(len(y), 7.0))
    assert_allclose(state(weighted), state(Regressor().fit(X, y)), rtol=1e-10)


def test_precisions_are_errors_whose_common_factor_is_learned() -> None:
    # Of known errors "scaled" has a multiple; its prior is in other units, so that the two differ a little.
    X, y, weight = precise(400)
    y_err = weight**-0.5
    known = Regressor().fit(X, y, y_err=y_err)
    learned = Regressor(weight_type="precision").fit(X, y, weight)
    assert_allclose(learned.coef_, known.coef_, rtol=1e-4)
    assert_allclose(learned.coef_std_, known.coef_std_, rtol=0.01)
    typical = np.sqrt(np.mean(y_err**2))
    assert_allclose(learned.noise_scale_, known.noise_scale_ * typical, rtol=0.01)
    pit = known.loo_pit(X, y, y_err=y_err)
    assert_allclose(learned.loo_pit(X, y, weight), pit, atol=0.01)
    held = learned.to_arviz(X, y, sample_weight=weight).log_likelihood["y"].mean().item()
    assert abs(held - known.to_arviz(X, y, y_err=y_err).log_likelihood["y"].mean().item()) < 0.01
    with pytest.raises(ValueError, match="give sample_weight"):
        learned.to_arviz(X, y)


@pytest.mark.filterwarnings("ignore:The data contradict coef_prior")
def test_one_reading_of_next_to_no_precision_has_no_say() -> None:
    X, y, weight = precise()
    wild, far = np.vstack([X, [[0.0, 0.0, 0.0]]]), np.append(y, 1e3)
    without = Regressor(weight_type="precision", standardize=False).fit(X, y, weight)
    with_it = Regressor(weight_type="precision", standardize=False).fit(wild, far, np.append(weight, 1e-9))
    assert_allclose(with_it.coef_, without.coef_, rtol=1e-3)
    assert_allclose(with_it.coef_std_, without.coef_std_, rtol=0.02)


def test_batches_with_precisions_are_the_fit_of_all_rows() -> None:
    X, y, weight = precise()
    weight[7] = 0.0
    whole = state(Regressor(weight_type="precision").fit(X, y, weight))
    model = Regressor(weight_type="precision")
    for rows in (slice(0, 20), slice(20, 21), slice(21, 60)):
        model.partial_fit(X[rows], y[rows], weight[rows])
    assert_allclose(state(model), whole, rtol=1e-9)
    halves = [Regressor(weight_type="precision").fit(X[i::2], y[i::2], weight[i::2]) for i in (0, 1)]
    assert_allclose(state(halves[0].merge(halves[1])), whole, rtol=1e-9)
    batches = [(X[rows], y[rows], weight[rows]) for rows in (slice(0, 20), slice(20, 60))]
    assert_allclose(state(distributed.fit(Regressor(weight_type="precision"), batches)), whole, rtol=1e-9)
    with pytest.raises(ValueError, match="came with weights that are precisions"):
        model.partial_fit(X, y)


def test_precisions_go_with_errors_of_features() -> None:
    X, y, weight = precise(200)
    known = Regressor(random_state=0).fit(X, y, y_err=weight**-0.5, X_err=[0.05, 0.0, 0.0])
    learned = Regressor(weight_type="precision", random_state=0).fit(X, y, weight, X_err=[0.05, 0.0, 0.0])
    assert np.abs((learned.coef_ - known.coef_) / known.coef_std_).max() < 0.1
    assert_allclose(learned.coef_std_, known.coef_std_, rtol=0.05)


def test_pymcs_model_of_precisions_has_the_noise_of_the_fit() -> None:
    X, y, weight = precise()
    model = Regressor(weight_type="precision").fit(X, y, weight)
    described = model.to_pymc(X, y, weight)
    point = described.initial_point()
    sigma = described["sigma"].eval({described["sigma_standardized"]: 1.0}).item()
    error = described["y_err"].get_value()
    assert_allclose(np.mean(error**2), 1.0)
    assert_allclose(error**2 * weight, np.full(len(y), error[0] ** 2 * weight[0]))
    # One in the model's units is the target's spread, of a row of average weight.
    assert_allclose(sigma, np.std(y) / np.mean(error**-2.0) ** -0.5)
    assert point


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({"noise": "additive"}, {}, "noise='additive'"),
        ({"noise": "known"}, {}, "noise='known'"),
        ({}, {"y_err": 0.1}, "precisions .* y_err states"),
        ({"likelihood": "binomial"}, {}, "likelihood='binomial'"),
        ({}, {"sample_weight": np.full(60, 1e-200)}, "multiply all"),
        ({}, {"sample_weight": -np.ones(60)}, "zero or positive"),
    ],
)
def test_precisions_are_refused_where_they_say_nothing(
    settings: dict[str, object], given: dict[str, object], message: str
) -> None:
    X, y, weight = precise()
    with pytest.raises(ValueError, match=message) as refused:
        Regressor(weight_type="precision", **settings).fit(X, y, **{"sample_weight": weight, **given})
    assert len(str(refused.value)) <= 400


def test_precisions_that_are_missing_are_missed() -> None:
    X, y, _ = measured()
    with pytest.warns(UserWarning, match="weight_type='precision', but there are no weights"):
        model = Regressor(weight_type="precision").fit(X, y)
    assert_allclose(state(model), state(Regressor().fit(X, y)))


@pytest.mark.parametrize("likelihood", ["normal", "binomial"])
def test_percentages_and_successes_are_called_by_their_names(likelihood: str) -> None:
    X, y, counts = shares()
    successes = np.round(y * counts)
    table = np.column_stack([X, counts])
    for model, given in (
        (Regressor(weight_type="counts", likelihood=likelihood), (X, counts)),
        (Regressor(count_column=2, likelihood=likelihood), (table, None)),
    ):
        X_, weight = given
        with pytest.raises(ValueError, match="percentages, divide them by 100"):
            model.fit(X_, 100.0 * y, weight)
        with pytest.raises(ValueError, match="numbers of successes, divide them by the counts"):
            model.fit(X_, successes, weight)
        with pytest.raises(ValueError, match=r"two columns.*successes and failures"):
            model.fit(X_, np.column_stack([successes, counts - successes]), weight)


def test_a_share_of_nothing_is_left_out_everywhere() -> None:
    X, y, counts = shares()
    wild = np.vstack([X, [[50.0, -50.0]]])
    table = np.column_stack([wild, np.append(counts, 0.0)])
    for nothing in (np.nan, 7.0):
        target = np.append(y, nothing)
        expected = state(Regressor(weight_type="counts").fit(X, y, counts))
        assert_allclose(state(Regressor().fit(wild, target, np.append(counts, 0.0))), expected, rtol=1e-9)
        model = Regressor(count_column=2).fit(table, target)
        assert_allclose(state(model), expected, rtol=1e-9)
        assert (np.isnan(model.loo_pit(table, target)) == (np.arange(81) == 80)).all()
    with pytest.raises(ValueError, match="y contains NaN"):
        Regressor(weight_type="counts").fit(wild, np.append(y, np.nan), np.append(counts, 1.0))


def test_rounding_puts_no_share_outside() -> None:
    X, y, counts = shares()
    y[:2] = 1.0, 0.0
    off = y.copy()
    off[:2] = (0.1 + 0.2) / 0.3, -1e-17
    assert off[0] > 1.0
    for likelihood in ("normal", "binomial"):
        model = Regressor(weight_type="counts", likelihood=likelihood, random_state=0)
        assert_allclose(model.fit(X, off, counts).coef_, clone(model).fit(X, y, counts).coef_, rtol=1e-9)
    with pytest.raises(ValueError, match="shares in"):
        Regressor(weight_type="counts").fit(X, y + 1e-9, counts)


@pytest.mark.filterwarnings("ignore:weight_type='counts', but y")
def test_effective_sample_sizes_are_counts() -> None:
    # Between whole counts nothing jumps.
    X, y, counts = shares()
    coef = [Regressor(weight_type="counts").fit(X, y, counts + more).coef_[0] for more in (0.0, 0.45, 0.9)]
    assert min(coef[0], coef[2]) < coef[1] < max(coef[0], coef[2])
    model = Regressor(weight_type="counts").fit(X, y, counts + 0.5)
    assert np.isfinite(model.predict(X, return_std=True, counts=17.5)[1]).all()
    with pytest.raises(ValueError, match="zero, or one and more"):
        model.fit(X, y, counts / counts.max())
    with pytest.raises(ValueError, match="whole numbers"):
        model.set_params(likelihood="binomial").fit(X, y, counts + 0.5)


def test_a_bootstraps_multiplicities_are_no_counts() -> None:
    # With count_column they are frequencies: the bag is that of the tables drawn.
    X, y, counts = shares(200)
    table = np.column_stack([X, counts])
    bag = BaggingRegressor(Regressor(count_column=2), n_estimators=3, random_state=0).fit(table, y)
    drawn = [np.bincount(rows, minlength=len(y)) for rows in bag.estimators_samples_]
    for model, times in zip(bag.estimators_, drawn, strict=True):
        assert model.weight_type_ == "frequency"
        again = Regressor(count_column=2).fit(np.repeat(table, times, axis=0), np.repeat(y, times))
        assert_allclose(state(model), state(again), rtol=1e-9)
    # Two of three rows, most of them once: intervals as wide as those of all, to a factor.
    widths = np.mean([model.coef_std_ for model in bag.estimators_], axis=0)
    assert_allclose(widths, Regressor(count_column=2).fit(table, y).coef_std_, rtol=0.35)
    # Without it they would be taken as counts, which nobody has to find out alone.
    with pytest.warns(UserWarning, match="BaggingRegressor.*count_column"):
        BaggingRegressor(Regressor(weight_type="counts"), n_estimators=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="count_column states y's errors"):
        BaggingRegressor(Regressor(count_column=2, weight_type="counts"), random_state=0).fit(table, y)
