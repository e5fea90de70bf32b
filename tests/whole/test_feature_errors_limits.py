"""Where errors of features, counts or tails go to a limit, fits go to those of the model that is the limit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bayes_sklearn import Mixture, StudentTLikelihood
from bayes_sklearn.priors import Normal

from plain import Regressor

Array = NDArray[np.float64]

N = 150
PRIORS: dict[str, Any] = {"coef_prior": Normal(), "intercept_prior": Normal(0.0, 5.0), "random_state": 0}


def table(likelihood: str, count: float = 20.0) -> tuple[Array, Array, dict[str, Any], Array]:
    """Return X, of a noisy feature and an exact one, y, what else is known of y, and the standard errors of X."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=N)
    x = 0.5 * z + rng.normal(size=N)
    error = np.array([0.8, 0.0])
    X = np.column_stack([x, z]) + error * rng.normal(size=(N, 2))
    line = -0.5 + x - 0.5 * z
    if likelihood in ("normal", "student_t"):
        return X, line + 0.5 * rng.standard_t(4, size=N), {}, error
    share = 1.0 / (1.0 + np.exp(-line))
    if likelihood == "beta_binomial":
        share = rng.beta(9.0 * share, 9.0 * (1.0 - share))
    return X, rng.binomial(int(count), share) / count, {"sample_weight": np.full(N, count)}, error


def assert_alike(one: Any, other: Any, of_mean: float = 0.15, of_sd: float = 0.08) -> None:
    """`of_mean` standard deviations: 0.1, and some four standard errors of weighted sums over two samples."""
    sd = other.coef_std_
    np.testing.assert_allclose(one.coef_ / sd, other.coef_ / sd, rtol=0.0, atol=of_mean)
    np.testing.assert_allclose(one.coef_std_, sd, rtol=of_sd)
    difference = one.intercept_ - other.intercept_
    assert abs(difference) < of_mean * other.summary().loc["intercept", "sd"]


@pytest.mark.parametrize("error", [1e-12, 1e-6, 1e-3])
@pytest.mark.parametrize("likelihood", ["normal", "binomial", "beta_binomial", "student_t"])
def test_errors_that_vanish_leave_the_fit_without_them(likelihood: str, error: float) -> None:
    X, y, given, _ = table(likelihood)
    fits = [
        Regressor(likelihood=likelihood, **PRIORS).fit(X, y, X_err=errors, **given)
        for errors in (np.array([error, 0.0]), None)
    ]
    assert_alike(*fits)
    assert fits[0].inference_ == "importance"


def test_rows_without_errors_among_others_are_rows_of_tiny_ones() -> None:
    X, y, given, error = table("binomial")
    fits = []
    for none in (0.0, 1e-6):
        errors = np.tile(error, (N, 1))
        errors[::3, 0] = none
        fits.append(Regressor(likelihood="binomial", **PRIORS).fit(X, y, X_err=errors, **given))
    np.testing.assert_allclose(fits[0].coef_, fits[1].coef_, rtol=1e-3)


def test_large_counts_give_the_normal_likelihoods_slopes_of_log_odds() -> None:
    count = 1e5
    X, y, given, error = table("binomial", count)
    model = PRIORS | {"standardize": False}
    shares = Regressor(likelihood="binomial", **model).fit(X, y, X_err=error, **given)
    log_odds, y_err = np.log(y / (1.0 - y)), 1.0 / np.sqrt(count * y * (1.0 - y))
    normal = Regressor(noise="known", **model).fit(X, log_odds, y_err=y_err, X_err=error)
    assert_alike(shares, normal)


def test_many_degrees_of_freedom_give_the_normal_likelihood() -> None:
    X, y, _, error = table("student_t")
    tails, normal = (
        Regressor(likelihood=likelihood, **PRIORS).fit(X, y, X_err=error)
        for likelihood in (StudentTLikelihood(nu=1e6), "normal")
    )
    assert_alike(tails, normal)


@pytest.mark.parametrize("likelihood", ["binomial", "student_t"])
def test_a_mixture_of_one_is_normal(likelihood: str) -> None:
    X, y, given, error = table(likelihood)
    fits = [
        Regressor(likelihood=likelihood, x_distribution=distribution, **PRIORS).fit(
            X, y, X_err=error, **given
        )
        for distribution in (Mixture(n_components=1), "normal")
    ]
    np.testing.assert_allclose(fits[0].coef_, fits[1].coef_, rtol=1e-12)


@pytest.mark.parametrize("likelihood", ["binomial", "beta_binomial", "student_t"])
@pytest.mark.parametrize("case", ["errors that hide the feature", "more features than rows", "two rows"])
def test_what_data_hardly_tell_is_doubted_and_nothing_overflows(likelihood: str, case: str) -> None:
    """Other warnings than these, of NumPy's, are errors here."""
    X, y, given, error = table(likelihood)
    rows = {"errors that hide the feature": 40, "more features than rows": 8, "two rows": 2}[case]
    if case == "errors that hide the feature":
        error = 12.0 * error
    elif case == "more features than rows":
        X = np.random.default_rng(0).normal(size=(N, 12))
        error = np.append(0.5, np.zeros(11))
    given = {name: value[:rows] for name, value in given.items()}
    model = Regressor(likelihood=likelihood, inference="importance", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is doubted is said, of this kind
        model.fit(X[:rows], y[:rows], X_err=error, **given)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict_interval(X[:2])).all()
