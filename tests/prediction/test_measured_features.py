"""Predictions at features that were measured, of fits with errors of features: by draws, and each by another."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from data import noisy_features
from dose import (
    FRAME,
    NAMES,
    ONE,
    X_ERR,
    N,
    X,
    Y,
    fitted,
)
from plain import Regressor

Q2 = noisy_features(q=2, seed=1)
CORRELATED = np.array([[0.3, 0.1, 0.0], [0.1, 0.2, 0.0], [0.0, 0.0, 0.0]])


@pytest.fixture(scope="module", params=[True, False], ids=["intercept", "no intercept"])
def two_noisy(request: Any) -> Regressor:
    model = Regressor(fit_intercept=request.param, random_state=0)
    return with_few_nodes(model.fit(Q2.X, Q2.y - (not request.param), X_err=Q2.X_err), 256)


@pytest.fixture(scope="module")
def earlier() -> Regressor:
    return fitted(X_err=X_ERR)


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
    assert (by_row.line.by_row is None) is not (common.line.by_row is None)
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
