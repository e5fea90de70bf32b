"""What the model's units are: spreads about the mean, or from zero; and models of nothing but an intercept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.model_selection import cross_validate

from bayes_sklearn import Normal

from data import measured, shares
from plain import Regressor


@pytest.mark.parametrize("given", [{}, {"y_err": 0.5}, {"sample_weight": np.arange(60.0) + 1.0}])
def test_without_an_intercept_units_are_root_mean_squares(given: dict[str, Any]) -> None:
    X, y, _ = measured()
    weight = given.get("sample_weight", np.ones(60))
    size = np.sqrt(np.average(np.column_stack([X, y]) ** 2, axis=0, weights=weight))
    settings = {"fit_intercept": False, "weight_type": "frequency", "coef_prior": Normal(sigma=0.5)}
    model = Regressor(**settings).fit(X, y, **given)
    error = {"y_err": given["y_err"] / size[-1]} if "y_err" in given else given
    by_hand = Regressor(standardize=False, **settings).fit(X / size[:-1], y / size[-1], **error)
    assert_allclose(model.coef_, by_hand.coef_ * size[-1] / size[:-1], rtol=1e-9)
    assert_allclose(model.coef_std_, by_hand.coef_std_ * size[-1] / size[:-1], rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_groups_without_an_intercept_have_their_means(factor: float) -> None:
    # Means of some hundred, of which a prior in units of the spread of some tenths would leave little.
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 90)
    y = factor * (np.array([99.0, 100.0, 101.0])[group] + rng.normal(0.0, 0.5, 90))
    model = Regressor(fit_intercept=False).fit(np.eye(3)[group], y)
    means = pd.Series(y).groupby(group).mean().to_numpy()
    assert np.abs(model.coef_ - means).max() < 0.2 * factor
    assert np.all(np.abs(model.coef_ - means) < 2.0 * model.coef_std_)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -3e9, 1e-9])
@pytest.mark.parametrize("noise", ["scaled", "additive"])
def test_a_constant_column_beside_an_intercept_has_no_say(constant: float, noise: str) -> None:
    X, y, y_err = measured()
    table = np.column_stack([X[:, :1], np.full(len(y), constant), X[:, 1:]])
    without = Regressor(noise=noise).fit(X, y, y_err=y_err)
    with_it = Regressor(noise=noise).fit(table, y, y_err=y_err)
    others = [0, 2, 3]
    assert_allclose(with_it.coef_[others], without.coef_, rtol=1e-9)
    assert_allclose(with_it.coef_std_[others], without.coef_std_, rtol=1e-9)
    assert_allclose(with_it.intercept_, without.intercept_, rtol=1e-9)
    assert_allclose(with_it.log_marginal_likelihood_, without.log_marginal_likelihood_, rtol=1e-9)
    for a, b in zip(
        with_it.predict(table, return_std=True), without.predict(X, return_std=True), strict=True
    ):
        assert_allclose(a, b, rtol=1e-9)
    # What is not identified is its prior, in units of the column whatever these are.
    size = abs(constant) or 1.0
    assert_allclose(with_it.coef_[1] * size / np.std(y), 0.0, atol=1e-6)
    assert_allclose(with_it.coef_std_[1] * size, np.std(y), rtol=1e-6)


def test_a_model_of_the_intercept_alone_is_the_integral() -> None:
    _, y, counts = shares()
    model = Regressor(count_column=0, count_error="observed", error_floor=0.02, standardize=False)
    model.fit(counts[:, None], y)
    share = np.where((y == 0.0) | (y == 1.0), (y * counts + 0.5) / (counts + 1.0), y)
    e = np.sqrt(share * (1.0 - share) / counts) + 0.02

    b, log_s = np.linspace(0.15, 0.45, 801), np.linspace(np.log(0.6), np.log(6.0), 401)
    s = np.exp(log_s)
    square = np.square((y - b[:, None]) / e).sum(axis=1)
    log_density = stats.norm.logpdf(b)[:, None] + stats.halfnorm.logpdf(s) + log_s
    log_density += -0.5 * square[:, None] / s**2 - len(y) * log_s
    constant = log_density.max() - np.log(e * np.sqrt(2.0 * np.pi)).sum()
    density = np.exp(log_density - log_density.max())
    # Smooth, and nothing at the edges: the trapezoid rule is as good as any.
    total, first, second = (density.sum(axis=1) @ b**power for power in (0, 1, 2))
    assert_allclose(model.intercept_, first / total, rtol=1e-7)
    sd = np.sqrt(second / total - (first / total) ** 2)
    assert_allclose(model.summary()["sd"]["intercept"], sd, rtol=1e-8)
    assert_allclose(
        model.log_marginal_likelihood_,
        np.log(total * (b[1] - b[0]) * (log_s[1] - log_s[0])) + constant,
        rtol=1e-9,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"count_column": "n"},
        {"count_column": "n", "noise": "additive"},
        {"count_column": "n", "noise": "known"},
        {"count_column": "n", "likelihood": "binomial"},
        {"count_column": "n", "likelihood": "beta_binomial"},
        {"count_column": "n", "likelihood": "student_t"},
        {"y_err_column": "n"},
    ],
)
def test_models_of_the_intercept_alone_do_what_others_do(settings: dict[str, Any]) -> None:
    _, y, counts = shares()
    table = pd.DataFrame({"n": 1.0 / np.sqrt(counts) if "y_err_column" in settings else counts})
    model = Regressor(random_state=0, **settings).fit(table, y)
    # Nothing else says anything but a feature that is always the same.
    same = Regressor(random_state=0, **settings).fit(table.assign(x=0.0), y)
    assert model.coef_.shape == model.coef_std_.shape == (0,)
    assert_allclose(model.predict(table), same.predict(table.assign(x=0.0)), rtol=0.02)
    assert_allclose(
        model.predict(table, return_std=True)[1],
        same.predict(table.assign(x=0.0), return_std=True)[1],
        rtol=0.02,
    )
    assert model.summary().index[0] == "intercept"
    assert np.isfinite(model.predict_interval(table)).all()
    assert np.isfinite(model.loo_pit(table, y)).all()
    assert model.sample_y(table, 3).shape == (80, 3)
    if len(settings) == 1:  # compiling takes its time
        assert np.isfinite(list(model.to_pymc(table, y).point_logps().values())).all()
    assert np.isfinite(
        cross_validate(Regressor(random_state=0, **settings), table, y, cv=2)["test_score"]
    ).all()


@pytest.mark.filterwarnings("ignore:The stated errors look too small")
def test_models_of_the_intercept_alone_go_on_with_batches() -> None:
    y, y_err = measured()[1:]
    table = y_err[:, None]
    whole = Regressor(y_err_column=0).fit(table, y)
    model = Regressor(y_err_column=0)
    for rows in (slice(0, 7), slice(7, 60)):
        model.partial_fit(table[rows], y[rows])
    assert_allclose(model.intercept_, whole.intercept_, rtol=1e-12)
    assert_allclose(model.noise_scale_, whole.noise_scale_, rtol=1e-9)


def test_neither_features_nor_an_intercept_is_refused() -> None:
    y, y_err = measured()[1:]
    with pytest.raises(ValueError, match="no features, and fit_intercept=False"):
        Regressor(y_err_column=0, fit_intercept=False).fit(y_err[:, None], y)
