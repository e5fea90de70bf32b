"""Predictions of rows whose errors go with those of the training rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from correlated import dense
from numpy.testing import assert_allclose
from scipy.stats import norm

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.priors import Normal

NOISES = ["known", "scaled", "additive", "auto"]

# As in tests/inference/exact/test_correlated_errors.py.
TOLERANCE = {"known": 1e-10, "scaled": 1e-9, "additive": 1e-6, "auto": 8e-3}

RNG = np.random.default_rng(1)
N, M = 12, 4
X, NEW = RNG.normal([3.0, -1.0], 1.0, (N, 2)), RNG.normal(size=(M, 2))
ERROR, NEW_ERROR = RNG.uniform(0.2, 0.6, N), np.array([0.3, 0.5, 0.2, 0.4])
PLACE, NEW_PLACE = RNG.uniform(0.0, 3.0, N), RNG.uniform(0.0, 3.0, M)
V = np.outer(ERROR, ERROR) * np.exp(-np.abs(PLACE[:, None] - PLACE))
CROSS = np.outer(NEW_ERROR, ERROR) * np.exp(-np.abs(NEW_PLACE[:, None] - PLACE))
L, NEW_L = 0.4 * RNG.normal(size=(N, 2)), 0.4 * RNG.normal(size=(M, 2))
Y = X @ [1.0, 2.0] + 3.0 + np.linalg.cholesky(V) @ RNG.normal(size=N)


def fixed(noise: str) -> Regressor:
    return Regressor(noise=noise, coef_prior=Normal(), intercept_prior=Normal(0.0, 2.0), random_state=0)


@pytest.mark.parametrize("noise", NOISES)
def test_new_rows_are_given_the_errors_of_the_training_rows(noise: str) -> None:
    model, truth, close = fixed(noise).fit(X, Y, y_cov=V), dense(X, Y, V, noise, panels=20), TOLERANCE[noise]
    for cross, given in ((CROSS, {"y_cov_with_train": CROSS}), (0.0 * CROSS, {})):
        mean, std = truth.new(NEW, NEW_ERROR**2, cross)
        found = model.predict(NEW, return_std=True, y_err=NEW_ERROR, **given)
        assert_allclose((found[0] - mean) / std, 0.0, atol=close)
        assert_allclose(found[1], std, rtol=close)
        assert_allclose(model.predict(NEW, y_err=NEW_ERROR, **given), found[0], rtol=1e-12)


@pytest.mark.parametrize("noise", NOISES)
def test_new_rows_know_shared_errors_as_far_as_training_rows_tell_them(noise: str) -> None:
    model = fixed(noise).fit(X, Y, y_err=ERROR, y_shared_err=L)
    truth, close = dense(X, Y, np.diag(ERROR**2) + L @ L.T, noise, panels=20), TOLERANCE[noise]
    mean, std = truth.new(NEW, NEW_ERROR**2 + np.square(NEW_L).sum(axis=1), NEW_L @ L.T)
    found = model.predict(NEW, return_std=True, y_err=NEW_ERROR, y_shared_err=NEW_L)
    assert_allclose((found[0] - mean) / std, 0.0, atol=close)
    assert_allclose(found[1], std, rtol=close)
    # Of another night they are independent.
    mean, std = truth.new(NEW, NEW_ERROR**2, np.zeros((M, N)))
    found = model.predict(NEW, return_std=True, y_err=NEW_ERROR)
    assert_allclose((found[0] - mean) / std, 0.0, atol=close)
    assert_allclose(found[1], std, rtol=close)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("prior", [None, Normal()])
def test_shared_errors_and_their_covariance_predict_the_same(noise: str, prior: Normal | None) -> None:
    shared = Regressor(noise=noise, coef_prior=prior).fit(X, Y, y_err=ERROR, y_shared_err=L)
    whole = Regressor(noise=noise, coef_prior=prior).fit(X, Y, y_cov=np.diag(ERROR**2) + L @ L.T)
    first = shared.predict_distribution(NEW, y_err=NEW_ERROR, y_shared_err=NEW_L)
    error = np.sqrt(NEW_ERROR**2 + np.square(NEW_L).sum(axis=1))
    second = whole.predict_distribution(NEW, y_err=error, y_cov_with_train=NEW_L @ L.T)
    for of in (first, second):
        assert_allclose(sum(of.variance_parts.values()), of.var(), rtol=1e-10)
        assert_allclose(np.diag(of.covariance()), of.var(), rtol=1e-10)
    assert_allclose(second.mean(), first.mean(), rtol=1e-8)
    assert_allclose(second.var(), first.var(), rtol=1e-7)
    assert_allclose(second.ppf([[0.05], [0.7]]), first.ppf([[0.05], [0.7]]), rtol=1e-7)
    assert_allclose(second.logpdf(1.0), first.logpdf(1.0), rtol=1e-7)


def test_a_row_that_was_measured_exactly_as_a_training_row_is_that_row() -> None:
    """Its error is that of the training row: what is left is the noise scale's."""
    model = fixed("known").fit(X, Y, y_cov=V)
    mean, std = model.predict(X[:1], return_std=True, y_err=ERROR[:1], y_cov_with_train=V[:1])
    assert_allclose(mean, Y[:1], rtol=1e-9)
    assert_allclose(std, 0.0, atol=1e-6)


@pytest.mark.parametrize("noise", ["scaled", "auto"])
def test_draws_have_the_distribution(noise: str) -> None:
    """Of 40,000 draws, five standard errors: one in a million."""
    for given, of_new in (
        ({"y_cov": V}, {"y_cov_with_train": CROSS}),
        ({"y_err": ERROR, "y_shared_err": L}, {"y_shared_err": NEW_L}),
    ):
        found = fixed(noise).fit(X, Y, **given).predict_distribution(NEW, y_err=NEW_ERROR, **of_new)
        drawn = found.sample(40_000)
        assert_allclose((drawn.mean(axis=1) - found.mean()) / found.std(), 0.0, atol=5.0 / 200.0)
        covariance = found.covariance()
        unit = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        assert_allclose(np.cov(drawn) / unit, covariance / unit, atol=5.0 * np.sqrt(6.0) / 200.0)
        below = (drawn < found.ppf(0.3)[:, None]).mean(axis=1)
        assert_allclose(below, 0.3, atol=float(5.0 * norm.std()) * 0.46 / 200.0)


def test_nothing_stated_is_a_row_measured_as_the_training_rows_were() -> None:
    whole = np.sqrt(np.mean(ERROR**2) + np.mean(np.square(L).sum(axis=1)))
    own = np.sqrt(np.mean(ERROR**2))
    model = fixed("known").fit(X, Y, y_err=ERROR, y_shared_err=L)
    assert_allclose(
        model.predict(NEW, return_std=True)[1], model.predict(NEW, return_std=True, y_err=whole)[1]
    )
    told = model.predict(NEW, return_std=True, y_shared_err=NEW_L)[1]
    assert_allclose(told, model.predict(NEW, return_std=True, y_shared_err=NEW_L, y_err=own)[1])
    model = fixed("known").fit(X, Y, y_cov=V)
    plain = np.sqrt(np.mean(ERROR**2))
    assert_allclose(
        model.predict(NEW, return_std=True)[1], model.predict(NEW, return_std=True, y_err=plain)[1]
    )
    line = model.predict_distribution(NEW, include_noise=False)
    assert_allclose(
        line.mean(), model.predict_distribution(NEW, y_cov_with_train=CROSS, include_noise=False).mean()
    )


def test_what_is_kept_survives_a_file_and_is_not_of_many_rows() -> None:
    for given, of_new in (
        ({"y_cov": V}, {"y_cov_with_train": CROSS}),
        ({"y_err": ERROR, "y_shared_err": L}, {"y_shared_err": NEW_L}),
    ):
        model = fixed("auto").fit(X, Y, **given)
        saved = pickle.dumps(model)
        before = model.predict(NEW, return_std=True, y_err=NEW_ERROR, **of_new)
        after = pickle.loads(saved).predict(NEW, return_std=True, y_err=NEW_ERROR, **of_new)
        assert_allclose(after, before, rtol=0.0)
        assert pickle.dumps(model) == saved
    rng, n = np.random.default_rng(0), 1100
    many = np.exp(-np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / 3.0)
    rows, y = rng.normal(size=(n, 1)), rng.normal(size=n)
    model = Regressor(noise="scaled").fit(rows, y, y_cov=many)
    assert len(pickle.dumps(model)) < 1e5
    with pytest.raises(ValueError, match=r"y_cov_with_train needs the training rows .* this one had 1100"):
        model.predict(rows[:1], y_cov_with_train=many[:1])


def test_what_does_not_fit_is_refused_by_name() -> None:
    model = fixed("known").fit(X, Y, y_cov=V)
    shared = fixed("known").fit(X, Y, y_err=ERROR, y_shared_err=L)
    plain = fixed("known").fit(X, Y, y_err=ERROR)
    for of, given, says in (
        (model, {"y_cov_with_train": CROSS.T}, r"y_cov_with_train must have a row for each of the 4 rows"),
        (model, {"y_cov_with_train": np.full((M, N), np.nan)}, "y_cov_with_train has NaN"),
        (model, {"y_cov_with_train": 9.0 * CROSS}, r"y_cov_with_train has more in common .* Give its y_err"),
        (model, {"y_shared_err": NEW_L}, "y_shared_err is given, but the model was fitted without"),
        (shared, {"y_cov_with_train": CROSS}, "y_cov_with_train is given, but .* without y_cov"),
        (shared, {"y_shared_err": NEW_L[:, :1]}, "y_shared_err has 1 columns, and the fit knew 2"),
        (shared, {"y_shared_err": NEW_L[:2]}, "y_shared_err must have one row for each of the 4"),
        (plain, {"y_shared_err": NEW_L}, "y_shared_err is given, but the model was fitted without"),
    ):
        with pytest.raises(ValueError, match=says):
            of.predict(NEW, y_err=NEW_ERROR, **given)
    with pytest.raises(TypeError, match="y_cov_with_train must be an array of numbers"):
        model.predict(NEW, y_cov_with_train="a")
