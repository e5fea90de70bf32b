"""Errors of features that are known up to a factor: one for all errors, or one known by replicates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.estimators.reading import read, specify
from bayes_sklearn.inference._compat import quietly
from bayes_sklearn.inference.importance.engine import structural_problem
from bayes_sklearn.likelihoods.noise import COMMON
from bayes_sklearn.preprocessing import ReplicateMean
from bayes_sklearn.validation import simulation_based_calibration

Array = NDArray[np.float64]


def table(n: int = 60, seed: int = 0) -> tuple[Array, Array]:
    """Two features with errors of 0.5, an exact one, and a target with one of 0.4."""
    rng = np.random.default_rng(seed)
    true = rng.multivariate_normal(np.zeros(3), [[1.0, 0.3, 0.2], [0.3, 1.0, 0.0], [0.2, 0.0, 1.0]], n)
    X = true + rng.normal(0.0, 1.0, (n, 3)) * (0.5, 0.5, 0.0)
    return X, 1.0 + true @ (2.0, -1.0, 0.5) + rng.normal(0.0, 0.4, n)


ERRORS: dict[str, Any] = {"X_err": (0.5, 0.5, 0.0), "y_err": 0.4}


def test_the_density_is_that_of_errors_so_many_times_as_large() -> None:
    """(79) and (80): given its factors the model is the one whose errors are known, which has tests of its own."""
    X, y = table()
    model = Regressor(x_error_dof={0: 7.0}, noise="scaled")
    data = read(model, X, y, None, {"y_err": 0.4}, {"X_err": ERRORS["X_err"]})
    problem = specify(model, data).problem(data.rows, data.errors.standard_error, None)
    structural = structural_problem(problem)[0]
    assert structural.n_factors == 1
    rng = np.random.default_rng(1)
    log_factor, own = rng.normal(0.0, 0.3, 5), rng.normal(1.0, 0.1, (5, structural.size - 1))
    # Columns: m, s, t, zeta, the log factor, and log tau.
    points = np.insert(own, structural.size - 2, log_factor, axis=1)
    for point, log, rest in zip(points, log_factor, own, strict=True):
        times = np.exp([log, 0.0])
        known = replace(
            structural,
            error_freedom=None,
            feature_covariance=structural.feature_covariance * times[:, None] * times,
        )
        # freedom / factor^2 is chi-square.
        chi_square = 7.0 * np.exp(-2.0 * log)
        prior = stats.chi2.logpdf(chi_square, 7.0) + np.log(2.0 * chi_square)
        assert_allclose(
            structural.log_density(point[None]), known.log_density(rest[None]) + prior, rtol=1e-12
        )
    common = replace(structural, error_freedom=None, noise=COMMON)
    for rest in own:
        known = replace(
            structural, error_freedom=None, feature_covariance=structural.feature_covariance * rest[2] ** 2
        )
        assert_allclose(common.log_density(rest[None]), known.log_density(rest[None]), rtol=1e-12)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 40.0])
def test_one_factor_is_found_in_whatever_unit_errors_are_stated(unit: float) -> None:
    X, y = table(200)
    stated = Regressor(noise="common", random_state=0).fit(X, y, **ERRORS)
    other = {name: unit * np.asarray(value) for name, value in ERRORS.items()}
    found = Regressor(noise="common", random_state=0).fit(X, y, **other)
    assert_allclose(found.coef_, stated.coef_, rtol=1e-6)
    assert_allclose(found.coef_std_, stated.coef_std_, rtol=1e-6)
    assert_allclose(found.noise_scale_ * unit, stated.noise_scale_, rtol=1e-6)
    assert abs(stated.noise_scale_ - 1.0) < 0.15
    # So are predictions, from new rows' errors in that unit.
    for rows in ({}, {"X_err": other["X_err"], "y_err": other["y_err"]}):
        mean, std = found.predict(X[:4], return_std=True, **rows)
        assert_allclose(mean, stated.predict(X[:4], **ERRORS), rtol=1e-6)
        assert_allclose(std, stated.predict(X[:4], return_std=True, **ERRORS)[1], rtol=1e-6)
    assert_allclose(found.reliability_, stated.reliability_, rtol=1e-6)


def test_a_factor_that_is_known_well_is_one() -> None:
    X, y = table()
    known = Regressor(random_state=0).fit(X, y, **ERRORS)
    for freedom in (1e7, 1e9):
        found = Regressor(random_state=0, x_error_dof=freedom).fit(X, y, **ERRORS)
        assert_allclose(found.coef_, known.coef_, rtol=2e-2)
        assert_allclose(found.coef_std_, known.coef_std_, rtol=3e-2)
    assert_allclose(found.coef_, known.coef_, rtol=1e-12)


def test_new_rows_have_errors_so_many_times_as_large() -> None:
    """The line at every node is that of errors that were stated right."""
    X, y = table(200)
    model = Regressor(random_state=0, x_error_dof=4.0).fit(X, y, **ERRORS)
    true = model._fitted.posterior.true_features
    assert true is not None
    factor = true.error_factor
    assert factor is not None
    assert factor.std() > 0.02
    error = np.diag([0.25, 0.16])
    line = true.line(X[:3], np.broadcast_to(error, (3, 2, 2)))
    for node in (0, 7, 1000):
        one = replace(true.drawn(np.array([node]), np.random.default_rng(0)), error_factor=None)
        one = replace(one, theta=true.theta[[node]], root=true.root[[node]])
        alone = one.line(X[:3], np.broadcast_to(error * factor[node, :, None] * factor[node], (3, 2, 2)))
        assert_allclose(line.mean[:, node], alone.mean[:, 0], rtol=1e-10)
        assert_allclose(line.feature_error[:, node], alone.feature_error[:, 0], rtol=1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "params", [{"noise": "common"}, {"x_error_dof": {0: 5.0, 1: 20.0}, "noise": "known"}]
)
@pytest.mark.filterwarnings("ignore:The errors of 'x1' hide it")
def test_the_posterior_is_that_of_the_plain_model(params: dict[str, Any]) -> None:
    """NUTS on `to_pymc`'s model: with about 2,000 effective draws 4 standard errors are 9% of one deviation."""
    X, y = table(40, 3)
    model = Regressor(random_state=0, **params).fit(X, y, **ERRORS)
    with quietly():
        import pymc as pm

        plain = pm.sample(
            2000,
            tune=1000,
            chains=4,
            cores=2,
            target_accept=0.97,
            nuts_sampler="nutpie",
            random_seed=1,
            progressbar=False,
            compute_convergence_checks=False,
            model=model.to_pymc(X, y, **ERRORS),
        ).posterior
    own = model.to_arviz().posterior
    for name in ("coef", "intercept", "x_error_factor"):
        drawn, found = (
            np.asarray(of[name]).reshape(8000 if of is plain else 4000, -1) for of in (plain, own)
        )
        deviation = drawn.std(axis=0)
        assert (np.abs(drawn.mean(axis=0) - found.mean(axis=0)) < 0.12 * deviation).all(), name
        assert_allclose(found.std(axis=0), deviation, rtol=0.12)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_readings", [2, 5])
@pytest.mark.parametrize("n", [20, 50, 200])
def test_replicates_of_a_feature_give_intervals_that_hold(n: int, n_readings: int) -> None:
    """90% intervals of a slope in 200 tables whose errors differ; 5 standard errors of a right 90% are 10.6%."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(4000 + seed)
        true, variance = rng.normal(size=n), 0.4 * n_readings * rng.gamma(2.0, 0.5, n)
        readings = true[:, None] + np.sqrt(variance)[:, None] * rng.normal(size=(n, n_readings))
        y = 1.0 + 2.0 * true + rng.normal(0.0, 0.7, n)
        means = ReplicateMean().fit(readings)
        mean, error = means.transform(readings).T
        model = Regressor(random_state=0, x_error_dof=means.error_dof_["mean"])
        slope = model.fit(mean[:, None], y, X_err=error[:, None]).summary(0.9).iloc[1]
        held += slope["lower_90%"] <= 2.0 <= slope["upper_90%"]
    assert held >= 0.794 * 200, held


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [
        ({"noise": "common"}, {"X_err": 0.5}, "give both, y_err and X_err"),
        ({"noise": "common"}, {"y_err": 0.5}, "give X_err"),
        ({"noise": "common", "x_error_dof": 3}, ERRORS, "leave one of them out"),
        ({"noise": "common", "likelihood": "student_t"}, ERRORS, "noise='common' and x_error_dof go with"),
        ({"x_error_dof": 3}, {"y_err": 0.5}, "there are none"),
        ({"x_error_dof": 0}, ERRORS, "must be positive"),
        ({"x_error_dof": np.nan}, ERRORS, "must be positive"),
        ({"x_error_dof": "many"}, ERRORS, "must be a number"),
        ({"x_error_dof": True}, ERRORS, "must be a number"),
        ({"x_error_dof": {2: 5.0}}, ERRORS, "has no errors"),
        ({"x_error_dof": {"dose": 5.0}}, ERRORS, "x_error_dof"),
        ({"x_error_dof": 5.0, "inference": "nuts"}, ERRORS, "not noise='common' or x_error_dof"),
        ({"x_error_dof": 5.0, "x_error_distribution": "outliers"}, ERRORS, "true features that are normal"),
    ],
)
def test_what_does_not_go_together_is_refused(
    params: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    X, y = table()
    model = Regressor(**params)
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        model.fit(X, y, **given)
    assert len(str(caught.value)) <= 400
    assert not hasattr(model, "coef_")


def test_points_on_a_line_tell_no_factor() -> None:
    x = np.linspace(0.0, 10.0, 12)
    for y in (1.0 + 2.0 * x, np.full(12, 3.0)):
        with pytest.raises(ValueError, match="noise='common'"):
            Regressor(noise="common").fit(x[:, None], y, X_err=1.0, y_err=1.0)


def test_simulations_take_errors_as_stated_alone() -> None:
    X, y = table()
    with pytest.raises(ValueError, match="x_error_dof"):
        simulation_based_calibration(Regressor(x_error_dof=5.0), X, y, **ERRORS)
