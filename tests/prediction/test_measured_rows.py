"""New rows are measured as the training rows were, in features as in the target, and everything agrees on it.

What a model says that is not told how new features were measured is held against what it says that is told, against
conditional normal distributions written out, and against least squares and the rate at which its intervals hold.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from bayes_sklearn import audit_errors
from bayes_sklearn.displays import (
    CalibrationDisplay,
    PredictionDisplay,
    RegressionLineDisplay,
    VarianceDisplay,
)
from bayes_sklearn.inference.structural.true_features import TrueFeatures
from bayes_sklearn.inference.structural.true_mixture import TrueMixture
from bayes_sklearn.measurements.feature_errors import FeatureErrors
from bayes_sklearn.metrics import SCORERS, interval_coverage_scorer, pit

from data import noisy_features
from plain import Regressor

Array = NDArray[np.float64]

# Tables are independent, and their rates are held against Student's t: with ALARM for each of some ten of them, a
# wrong alarm comes once in 10,000 choices of all seeds.
ALARM = 1e-5
COMMON = noisy_features(common=True, seed=3)
ONE = COMMON.X_err[0]
OWN = noisy_features(q=2, seed=4)
WEIGHT = np.random.default_rng(5).integers(0, 4, len(OWN.y)).astype(float)
COVARIANCES = np.square(OWN.X_err)[:, :, None] * np.eye(3)
COVARIANCES[:, 0, 1] = COVARIANCES[:, 1, 0] = 0.5 * OWN.X_err[:, 0] * OWN.X_err[:, 1]


def assert_same(one: Regressor, X: Any, told: dict[str, Any], **given: Any) -> None:
    """Assert that a model that is not told of errors predicts as if it were told these."""
    silent, said = one.predict_distribution(X, **given), one.predict_distribution(X, **given, **told)
    assert type(silent) is type(said)
    assert_allclose(one.predict(X, **given), one.predict(X, **given, **told), rtol=1e-10)
    assert_allclose(silent.mean_and_std(), said.mean_and_std(), rtol=1e-10)
    assert_allclose(silent.interval(), said.interval(), rtol=1e-8)
    assert_allclose(silent.covariance(), said.covariance(), rtol=1e-8, atol=1e-12)
    assert_allclose(one.sample_y(X, 3, **given), one.sample_y(X, 3, **given, **told), rtol=1e-8)
    assert_allclose(one.predict_interval(X, **given), one.predict_interval(X, **given, **told), rtol=1e-8)
    assert_allclose(one.predict_quantiles(X, **given), one.predict_quantiles(X, **given, **told), rtol=1e-8)


# --- what it is for ------------------------------------------------------------------------------


def table(kind: str, seed: int, n: int = 90) -> tuple[Array, Array, dict[str, Any]]:
    """Return measured features, a target, and the errors to state in fit."""
    rng = np.random.default_rng([7, seed])
    x = 3.0 + 0.5 * rng.normal(size=n)
    y = 1.0 + 2.0 * x + 0.2 * rng.normal(size=n)
    if kind == "by row":
        error = 0.3 * np.sqrt(rng.uniform(0.5, 1.5, n))
        return (x + error * rng.normal(size=n))[:, None], y, {"X_err": error[:, None]}
    if kind == "two, together":
        other = x + 0.5 * rng.normal(size=n)
        covariance = np.array([[0.09, 0.05], [0.05, 0.09]])
        X = np.column_stack([x, other]) + rng.multivariate_normal(np.zeros(2), covariance, n)
        return X, y - other, {"X_cov": covariance}
    if kind == "with the target":
        error = rng.multivariate_normal(np.zeros(2), [[0.09, -0.05], [-0.05, 0.04]], n)
        y += error[:, 1]
        return (x + error[:, 0])[:, None], y, {"X_err": 0.3, "y_err": 0.2, "Xy_cov": [-0.05]}
    return (x + 0.3 * rng.normal(size=n))[:, None], y, {"X_err": 0.3}


@pytest.mark.parametrize(
    "kind",
    [
        "by row",
        "with the target",
        *(pytest.param(kind, marks=pytest.mark.thorough) for kind in ("one", "two, together")),
    ],
)
def test_cross_validation_that_states_errors_in_fit_alone_covers_and_is_no_worse_than_least_squares(
    kind: str,
) -> None:
    """Of normal true features and errors no predictor from readings has a smaller error than least squares'."""
    covered, ours, squares, as_true = [], [], [], []
    model = Regressor(noise="additive" if kind == "with the target" else "scaled", random_state=0)
    for seed in range(30):
        X, y, errors = table(kind, seed)
        found = cross_validate(
            model,
            X,
            y,
            params=errors,
            cv=3,
            scoring={"coverage": interval_coverage_scorer, "mse": "neg_mean_squared_error"},
            return_estimator=True,
            return_indices=True,
        )
        covered.append(found["test_coverage"].mean())
        ours.append(-found["test_mse"].mean())
        of_least_squares = cross_validate(LinearRegression(), X, y, cv=3, scoring="neg_mean_squared_error")
        squares.append(-of_least_squares["test_score"].mean())
        fitted, rest = found["estimator"][0], found["indices"]["test"][0]
        as_true.append(np.mean((fitted.predict(X[rest], X_err=0.0) - y[rest]) ** 2))
    assert stats.ttest_1samp(covered, 0.95).pvalue > ALARM, np.mean(covered)
    assert abs(np.mean(covered) - 0.95) < 0.02
    assert np.mean(ours) < 1.02 * np.mean(squares)
    assert np.mean(as_true) > 1.1 * np.mean(ours)  # or nothing is tested


# --- what new rows are taken to be ---------------------------------------------------------------


@pytest.fixture(scope="module")
def common() -> Regressor:
    return Regressor(random_state=0).fit(COMMON.X, COMMON.y, X_err=ONE)


@pytest.fixture(scope="module")
def by_row() -> Regressor:
    return Regressor(random_state=0).fit(OWN.X, OWN.y, WEIGHT, X_cov=COVARIANCES)


@pytest.mark.parametrize("include_noise", [True, False])
def test_an_error_that_all_rows_have_is_that_of_new_ones(common: Regressor, include_noise: bool) -> None:
    assert_same(common, COMMON.X[:9], {"X_err": ONE}, include_noise=include_noise)
    parts = common.predict_distribution(COMMON.X[:9], include_noise=include_noise).variance_parts
    assert (parts["feature_error"] > 0.0).all()


def test_errors_that_differ_by_row_are_taken_in_root_mean_square() -> None:
    model = Regressor(random_state=0).fit(OWN.X, OWN.y, X_err=OWN.X_err)
    assert_same(model, OWN.X[:9], {"X_err": np.sqrt(np.mean(OWN.X_err**2, axis=0))})


def test_covariances_are_averaged_over_the_rows_that_count_as_often_as_they_do(by_row: Regressor) -> None:
    mean = np.einsum("i,ijk->jk", WEIGHT, COVARIANCES) / WEIGHT.sum()
    assert abs(mean[0, 1]) > 0.05
    assert_same(by_row, OWN.X[:9], {"X_cov": mean})
    # Whatever is stated of a row that is left out.
    odd = COVARIANCES.copy()
    odd[WEIGHT == 0.0] *= 100.0
    assert_same(clone(by_row).fit(OWN.X, OWN.y, WEIGHT, X_cov=odd), OWN.X[:9], {"X_cov": mean})


def test_zero_says_that_features_are_true_and_that_of_one_that_it_is(by_row: Regressor) -> None:
    line = by_row.intercept_ + OWN.X @ by_row.coef_
    assert_allclose(by_row.predict(OWN.X, X_err=0.0), line, rtol=1e-10)
    assert_allclose(by_row.predict(OWN.X, X_cov=np.zeros((3, 3))), line, rtol=1e-10)
    assert_allclose(by_row.predict(OWN.X, X_err=np.zeros_like(OWN.X)), line, rtol=1e-10)
    assert "feature_error" not in by_row.predict_distribution(OWN.X, X_err=0.0).variance_parts
    one, nearly = (by_row.predict(OWN.X, True, X_err=[error, 0.6, 0.0]) for error in (0.0, 1e-7))
    assert_allclose(one, nearly, rtol=1e-6)
    assert np.abs(one[0] - line).max() > 0.1
    assert np.abs(one[0] - by_row.predict(OWN.X)).max() > 0.1


def test_columns_of_X_state_errors_row_by_row() -> None:
    frame = pd.DataFrame({"x": COMMON.X[:, 0], "z": COMMON.X[:, 1], "x_err": COMMON.X_err[:, 0]})
    model = Regressor(error_columns="_err", random_state=0).fit(frame, COMMON.y)
    said = Regressor(random_state=0).fit(frame[["x", "z"]], COMMON.y, X_err=COMMON.X_err)
    new = frame.head(9).assign(x_err=np.linspace(0.0, 1.0, 9))
    told = np.column_stack([new["x_err"], np.zeros(9)])
    assert_allclose(
        model.predict(new, return_std=True), said.predict(new[["x", "z"]], return_std=True, X_err=told)
    )
    true = new.assign(x_err=0.0)
    assert_allclose(model.predict(true), said.predict(new[["x", "z"]], X_err=0.0))


def test_a_fit_without_errors_takes_new_features_as_true(common: Regressor) -> None:
    model = clone(common).fit(COMMON.X, COMMON.y, X_err=ONE).fit(COMMON.X, COMMON.y)
    assert_allclose(model.predict(COMMON.X), model.intercept_ + COMMON.X @ model.coef_)
    assert "feature_error" not in model.predict_distribution(COMMON.X).variance_parts


def test_batches_know_how_their_rows_were_measured(common: Regressor) -> None:
    model = clone(common)
    for rows in (slice(0, 50), slice(50, None)):
        model.partial_fit(COMMON.X[rows], COMMON.y[rows], X_err=ONE)
    assert_same(model, COMMON.X[:9], {"X_err": ONE})
    halves = [clone(common).fit(COMMON.X[i::2], COMMON.y[i::2], X_err=ONE) for i in (0, 1)]
    assert_same(halves[0].merge(halves[1]), COMMON.X[:9], {"X_err": ONE})


# --- all agree -----------------------------------------------------------------------------------


def test_scores_are_of_readings(common: Regressor) -> None:
    X, y = COMMON.X[:60], COMMON.y[:60]
    assert common.score(X, y) == pytest.approx(r2_score(y, common.predict(X, X_err=ONE)))
    as_true = copy(common)
    as_true._fitted = replace(as_true._fitted, typical_errors=None)
    pipeline = make_pipeline(FunctionTransformer(), common)
    for name, scorer in SCORERS.items():
        said = scorer(common, X, y, X_err=ONE)
        assert scorer(common, X, y) == pytest.approx(said, rel=1e-9), name
        assert scorer(pipeline, X, y) == pytest.approx(said, rel=1e-9), name
        assert scorer(as_true, X, y) == pytest.approx(scorer(common, X, y, X_err=0.0), rel=1e-9), name


def test_displays_are_of_readings_but_the_line_is_that_of_true_features(common: Regressor) -> None:
    X, y = COMMON.X, COMMON.y
    predicted = PredictionDisplay.from_estimator(common, X, y)
    assert_allclose(predicted.interval, common.predict_interval(X, X_err=ONE), rtol=1e-8)
    assert_allclose(predicted.y_pred, common.predict(X, X_err=ONE))
    said = common.predict_distribution(X, X_err=ONE)
    assert_allclose(CalibrationDisplay.from_estimator(common, X, y).pit, pit(y, said), atol=1e-9)
    parts = VarianceDisplay.from_estimator(common, X).parts
    assert_allclose(parts["feature_error"], said.variance_parts["feature_error"])
    for estimator in (common, make_pipeline(FunctionTransformer(), common)):
        line = RegressionLineDisplay.from_estimator(estimator, X, y, feature=0)
        assert_allclose(np.diff(line.mean) / np.diff(line.grid), common.coef_[0])
        at = np.column_stack([line.grid, np.full(len(line.grid), X[:, 1].mean())])
        band = common.predict_interval(at, X_err=0.0, include_noise=False)
        assert_allclose(line.interval, band, rtol=1e-8)
        # What the exact feature does is taken out as the model has it at true features.
        assert_allclose(line.y, y - common.coef_[1] * (X[:, 1] - X[:, 1].mean()))


def test_an_audit_of_new_rows_takes_them_for_readings() -> None:
    table, new = (noisy_features(200, common=True, seed=seed) for seed in (3, 8))
    error = table.X_err[0]
    X = new.true_features + error * np.random.default_rng(9).normal(size=new.X.shape)
    model = Regressor(random_state=0).fit(table.X, table.y, y_err=table.y_err, X_err=error)
    silent = audit_errors(model, X, new.y, y_err=new.y_err, held_out=True)
    said = audit_errors(model, X, new.y, y_err=new.y_err, X_err=error, held_out=True)
    assert silent.dispersion == pytest.approx(said.dispersion, rel=1e-9)
    assert silent.coverage == said.coverage
    true = audit_errors(model, X, new.y, y_err=new.y_err, X_err=0.0, held_out=True)
    assert true.dispersion > 1.5 * silent.dispersion
    with pytest.raises(ValueError, match=r"give X_err \(or X_cov\), as in fit"):
        audit_errors(model, table.X, table.y, y_err=table.y_err)


def test_training_rows_are_not_guessed_at(common: Regressor) -> None:
    for method in (common.to_arviz, common.loo, common.loo_pit):
        with pytest.raises(ValueError, match="give X_err or X_cov with X and y"):
            method(COMMON.X, COMMON.y)
    said = common.to_arviz(COMMON.X, COMMON.y, X_err=ONE)
    drawn = np.asarray(said.posterior_predictive["y"]).reshape(-1, len(COMMON.y))
    distribution = common.predict_distribution(COMMON.X)
    away = (drawn.mean(axis=0) - distribution.mean()) / distribution.std()
    assert (np.abs(away) < 5.0 / np.sqrt(len(drawn))).all()
    assert_allclose(drawn.std(axis=0), distribution.std(), rtol=0.08)


# --- errors that X and y share -------------------------------------------------------------------


def true_features(nodes: int = 5) -> TrueFeatures:
    """Return nodes of two noisy features and an exact one between them, theta known at each."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(nodes, 2, 2))
    return TrueFeatures(
        noisy=np.array([0, 2]),
        n_features=3,
        intercept=True,
        coef=rng.normal(size=(nodes, 2)),
        variance=root @ root.transpose(0, 2, 1) + 0.2 * np.eye(2),
        theta=rng.normal(size=(nodes, 6)),
        root=np.zeros((nodes, 6, 0)),
        x_mean=np.array([0.5, -1.0, 2.0]),
        x_scale=np.array([1.5, 0.8, 3.0]),
        y_mean=-2.0,
        y_scale=4.0,
    )


U = np.array([[0.9, 0.3], [0.3, 2.0]])
SHARED = np.array([0.5, -1.2])
NEW = np.array([[0.1, 0.3, 4.0], [3.0, -2.0, -1.0]])


def conditional(mean: Array, covariance: Array, w: Array) -> tuple[float, float, float]:
    """Return mean and variance of the last given the others, and the others' log density."""
    told = np.linalg.solve(covariance[:-1, :-1], covariance[:-1, -1])
    return (
        mean[-1] + told @ (w - mean[:-1]),
        covariance[-1, -1] - told @ covariance[:-1, -1],
        stats.multivariate_normal(mean[:-1], covariance[:-1, :-1]).logpdf(w),
    )


def joint(
    true: TrueFeatures | TrueMixture, mu: Array, T: Array, alpha: float, node: int
) -> tuple[Array, Array]:
    """Return mean and covariance of readings and a measurement, in the data's units; its own noise left out."""
    unit, m = true.x_scale[true.noisy], true.coef[node] / true.x_scale[true.noisy] * true.y_scale
    spread = T * np.outer(unit, unit)
    covariance = np.empty((3, 3))
    covariance[:2, :2] = spread + U
    covariance[:2, 2] = covariance[2, :2] = spread @ m + SHARED
    covariance[2, 2] = m @ spread @ m
    x = true.x_mean[true.noisy] + unit * mu
    return np.append(x, true.y_mean + true.y_scale * (alpha + true.coef[node] @ mu)), covariance


def sharing(true: Any) -> Any:
    nodes = len(true.coef)
    return replace(true, sharing=np.ones(nodes))


def test_a_reading_tells_of_the_error_that_the_target_shares_as_the_joint_distribution_has_it() -> None:
    true = true_features()
    line = sharing(true).line(NEW, np.broadcast_to(np.column_stack([U, SHARED]), (2, 2, 3)))
    location, _, feature_error = sharing(true).coefficients(np.column_stack([U, SHARED]))
    for node in range(5):
        for row, x in enumerate(NEW):
            ones = np.array([1.0, (x[1] + 1.0) / 0.8])
            mu, alpha = true.theta[node, :4].reshape(2, 2) @ ones, true.theta[node, 4:] @ ones
            mean, variance, _ = conditional(*joint(true, mu, true.variance[node], alpha, node), x[[0, 2]])
            assert_allclose(line.mean[row, node], mean)
            assert_allclose(line.feature_error[row, node], variance)
            assert_allclose(16.0 * feature_error[node], variance)
            scaled = np.append(1.0, (x - true.x_mean) / true.x_scale)
            assert_allclose(-2.0 + 4.0 * location[node] @ scaled, mean)


def test_under_a_mixture_it_tells_so_in_each_component() -> None:
    rng, nodes = np.random.default_rng(1), 3
    root = rng.normal(size=(nodes, 2, 2, 2))
    true = TrueMixture(
        **{name: getattr(true_features(nodes), name) for name in ("noisy", "n_features", "coef", "x_mean")},
        x_scale=np.array([1.5, 0.8, 3.0]),
        y_mean=-2.0,
        y_scale=4.0,
        line_at_zero=rng.normal(size=(nodes, 2)),
        means=rng.normal(size=(nodes, 2, 2)),
        slopes=rng.normal(size=(nodes, 2, 1)),
        covariances=root @ root.transpose(0, 1, 3, 2) + 0.2 * np.eye(2),
        log_shares=np.log(rng.dirichlet([2.0, 2.0], nodes)),
    )
    line = sharing(true).line(NEW, np.broadcast_to(np.column_stack([U, SHARED]), (2, 2, 3)))
    for node in range(nodes):
        for row, x in enumerate(NEW):
            z = (x[1] + 1.0) / 0.8
            alpha = true.line_at_zero[node] @ [1.0, z]
            found = np.array(
                [
                    conditional(
                        *joint(
                            true,
                            true.means[node, c] + true.slopes[node, :, 0] * z,
                            true.covariances[node, c],
                            alpha,
                            node,
                        ),
                        x[[0, 2]],
                    )
                    for c in range(2)
                ]
            )
            weight = np.exp(true.log_shares[node] + found[:, 2])
            weight /= weight.sum()
            mean = weight @ found[:, 0]
            assert_allclose(line.mean[row, node], mean)
            spread = weight @ (found[:, 1] + (found[:, 0] - mean) ** 2)
            assert_allclose(line.feature_error[row, node], spread)
    one = (
        sharing(true)
        .drawn(np.array([2, 0]), rng)
        .line(NEW, np.broadcast_to(np.column_stack([U, SHARED]), (2, 2, 3)))
    )
    assert_allclose(one.mean, line.mean[:, [2, 0]])


def test_draws_share_what_their_nodes_do() -> None:
    true = sharing(true_features())
    errors = np.broadcast_to(U, (2, 2, 2))
    drawn = true.drawn(np.array([3, 0]), np.random.default_rng(0))
    assert_allclose(drawn.line(NEW, errors).mean, true.line(NEW, errors).mean[:, [3, 0]])
    own = replace(true, root=np.random.default_rng(2).normal(size=(5, 6, 6)))
    weights = np.full(5, 0.2)
    covariance = own.covariance_within(NEW, errors, weights)
    assert_allclose(np.diag(covariance), own.line(NEW, errors).parameters @ weights)


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_shared_errors_are_those_of_the_noise_and_only_where_nothing_else_is_stated(noise: str) -> None:
    """Every node's line in the readings, from its own coefficients: all features are noisy."""
    X, y, errors = table("with the target", 0)
    model = Regressor(noise=noise, random_state=0).fit(X, y, **errors)
    posterior, new = model._fitted.posterior, np.array([[2.0], [3.5]])
    true = posterior.true_features
    unit, scale = true.x_scale[0], true.y_scale
    T, m, s = true.variance[:, 0, 0] * unit**2, true.coef[:, 0] * scale / unit, posterior.noise_scale
    c = -0.05 * (s if noise == "scaled" else 1.0)
    v = {"scaled": (0.2 * s) ** 2, "additive": s**2 + 0.04, "known": 0.04 + 0.0 * s}[noise]
    slope = (T * m + c) / (T + 0.09)
    # theta is (mu, alpha): alpha + m mu at its mean and, by its covariance, about it.
    mu, alpha = true.theta.T
    at = np.column_stack([(m - slope) * unit / scale, np.ones(len(m))])
    center = scale * (alpha + at[:, 0] * mu) + true.y_mean
    mean = center + slope * (new - true.x_mean)
    parameters = scale**2 * np.square(np.einsum("gi,gij->gj", at, true.root)).sum(axis=1)
    variance = parameters + m**2 * T - slope * (T * m + c) + v
    w = posterior.weights
    expected = mean @ w
    sd = np.sqrt(variance @ w + np.square(mean - expected[:, None]) @ w)
    assert_allclose(model.predict(new), expected, rtol=1e-9)
    found = model.predict_distribution(new)
    assert_allclose(found.mean_and_std(), [expected, sd], rtol=1e-9)
    assert_allclose(sum(found.variance_parts.values()), sd**2, rtol=1e-9)
    assert min(part.min() for part in found.variance_parts.values()) >= 0.0
    draws = found.sample(20_000, random_state=0)
    assert (np.abs(draws.mean(axis=1) - expected) < 5.0 * sd / np.sqrt(20_000)).all()
    assert_allclose(found.cdf(found.interval(0.9)), [[0.05] * 2, [0.95] * 2], atol=1e-6)
    # The line has no error to share, and what is stated is independent.
    line = model.predict(new, return_std=True, include_noise=False)
    assert_allclose(line, model.predict(new, return_std=True, include_noise=False, X_err=0.3), rtol=1e-9)
    assert_allclose(model.predict(new, return_std=True, y_err=0.2), model.predict(new, True, X_err=0.3))
    assert abs(line[0][1] - expected[1]) > 0.05


def test_parts_of_the_variance_are_none_of_them_negative_where_readings_tell_most_of_the_target_s_error() -> (
    None
):
    rng = np.random.default_rng(0)
    shared = rng.multivariate_normal(np.zeros(2), [[0.09, 0.05], [0.05, 0.04]], 60)
    X = (0.5 * rng.normal(size=60) + shared[:, 0])[:, None]
    model = Regressor(noise="known", random_state=0).fit(X, shared[:, 1], X_err=0.3, y_err=0.2, Xy_cov=[0.05])
    found = model.predict_distribution(X)
    parts = found.variance_parts
    assert_allclose(parts["feature_error"], 0.0)
    assert ((parts["target_error"] > 0.0) & (parts["target_error"] < 0.95 * 0.04)).all()
    assert_allclose(sum(parts.values()), found.var(), rtol=1e-9)
    # The slope in readings is that of the errors alone: cov(w, y) / var(w).
    assert np.diff(model.predict([[0.0], [1.0]]))[0] == pytest.approx(0.05 / 0.34, abs=0.08)


def test_the_typical_error_is_the_common_one_to_the_last_digit() -> None:
    covariance = np.array([[0.3, 0.1], [0.1, 0.7]])
    same = FeatureErrors(np.arange(2), np.tile(covariance, (7, 1, 1)), np.array([0.1, 0.2]))
    found = same.typical(np.arange(7.0))
    assert_array_equal(found.covariance, covariance)
    assert_array_equal(found.with_target, [0.1, 0.2])
    own = replace(same, with_target=np.arange(14.0).reshape(7, 2))
    found = own.typical(np.array([0.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0]))
    assert_allclose(found.covariance, covariance)
    assert_allclose(found.with_target, [3.5, 4.5])
