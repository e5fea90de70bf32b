"""The exact engine: what it refuses, what it warns of, and the cases that are hard for it."""

from __future__ import annotations

import gc
import pickle
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Flat, HalfCauchy, HalfNormal, HalfStudentT
from bayes_sklearn.inference.exact.scatter_integrals import _lattice
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.measurements.compressed import Groups, Rows, compress, group
from bayes_sklearn.priors import CoefficientPrior

from data import measured
from plain import Regressor

Array = NDArray[np.float64]


class Unknown(CoefficientPrior):
    """A prior that is not Gaussian."""


def test_inference_says_what_ran_and_an_engine_that_cannot_says_why() -> None:
    X, y, y_err = measured()
    assert Regressor().fit(X, y, y_err=y_err).inference_ == "exact"
    for inference in ("auto", "exact"):
        model = Regressor(coef_prior=Unknown(), inference=inference)
        with pytest.raises(ValueError, match=r"exact engine can't take this model: .*Unknown\(\)"):
            model.fit(X, y, y_err=y_err)


@pytest.mark.parametrize(
    ("model", "rows", "reason"),
    [
        (Regressor(coef_prior=Flat()), 3, "3 rows do not determine 3 coefficients"),
        (Regressor(coef_prior=Flat(), intercept_prior=Flat()), 3, "3 rows do not determine 4 coefficients"),
        (Regressor(coef_prior=Flat(), noise="known"), 2, "2 rows do not determine 3 coefficients"),
    ],
)
def test_flat_coefficients_that_the_rows_leave_free_are_refused(
    model: Regressor, rows: int, reason: str
) -> None:
    X, y, y_err = measured()
    with pytest.raises(ValueError, match=f"posterior is improper: ({reason})"):
        model.fit(X[:rows], y[:rows], y_err=y_err[:rows])


def test_flat_coefficients_of_collinear_columns_are_refused() -> None:
    X, y, y_err = measured()
    for extra in (X[:, 0], np.ones(len(X))):
        with pytest.raises(ValueError, match="constant or collinear"):
            Regressor(coef_prior=Flat()).fit(np.column_stack([X, extra]), y, y_err=y_err)


def test_a_noise_scale_that_nothing_bounds_is_refused_and_one_without_variance_warned_of() -> None:
    X, y, _ = measured(3, 1)
    # p(s | data) falls as s**-(N - k) under a flat prior: N = 2 and k = 1 leave s**-1, which has no integral.
    with pytest.raises(ValueError, match=r"improper: .*nothing bounds the noise scale from above"):
        Regressor(intercept_prior=Flat(), noise_prior=Flat()).fit(X[:2], y[:2])
    with pytest.warns(UserWarning, match="variance of the noise is infinite"):
        Regressor(intercept_prior=Flat(), noise_prior=Flat()).fit(X, y)
    with pytest.warns(UserWarning, match="variance of the noise is infinite"):
        Regressor(coef_prior=Flat(), intercept_prior=Flat(), noise_prior=HalfCauchy()).fit(X, y)
    Regressor(coef_prior=Flat(), intercept_prior=Flat(), noise_prior=HalfNormal()).fit(X, y)


def test_there_is_a_marginal_likelihood_only_under_proper_priors() -> None:
    X, y, y_err = measured()
    model = Regressor().fit(X, y, y_err=y_err)
    assert np.isfinite(model.log_marginal_likelihood_)
    for priors in ({"coef_prior": Flat()}, {"intercept_prior": Flat()}, {"noise_prior": Flat()}):
        assert not hasattr(model.set_params(**priors).fit(X, y, y_err=y_err), "log_marginal_likelihood_")
    known = Regressor(noise="known", noise_prior=Flat()).fit(X, y, y_err=y_err)
    assert np.isfinite(known.log_marginal_likelihood_)  # there is no noise scale to have a prior


def test_a_perfect_fit_warns_and_stays_finite() -> None:
    X = np.repeat(np.random.default_rng(0).normal(size=(4, 6)), 3, axis=0)
    y = np.repeat([1.0, 2.0, 0.0, 5.0], 3)
    with pytest.warns(ConvergenceWarning, match="fit the target without error"):
        model = Regressor().fit(X, y)
    assert_allclose(model.predict(X), y, atol=1e-4)
    assert np.isfinite(model.predict(X, return_std=True)[1]).all()


@pytest.mark.parametrize("frequency", [1e3, 1e6, 1e9, 1e12])
def test_large_total_weights_keep_their_digits(frequency: float) -> None:
    # With many copies of each row the posterior is that of least squares, sd = s / sqrt(N).
    X, y, _ = measured(10, 1)
    model = Regressor(weight_type="frequency").fit(X, y, np.full(10, frequency))
    slope, intercept = np.polyfit(X[:, 0], y, 1)
    residual = y - slope * X[:, 0] - intercept
    sd = np.sqrt(np.mean(residual**2) / (10 * frequency)) / X[:, 0].std()
    assert_allclose(model.coef_, slope, rtol=2.0 / frequency)
    assert_allclose(model.coef_std_, sd, rtol=1e-3 if frequency < 1e6 else 1e-6)
    assert_allclose(model._fitted.posterior.weights.sum(), 1.0, rtol=1e-12)


def brute_force(X: Array, y: Array, e: Array) -> tuple[float, float]:
    """Mean noise scale and coefficient sd of additive noise on raw units, by a fine grid and dense algebra."""
    s = np.geomspace(1e-9, 30.0, 6001)
    design = np.column_stack([np.ones(len(X)), X])
    logs, variances, means = np.empty(len(s)), np.empty(len(s)), np.empty(len(s))
    for i, value in enumerate(s):
        w = 1.0 / (value**2 + e**2)
        precision = design.T @ (design * w[:, None]) + np.eye(design.shape[1])
        right = design.T @ (w * y)
        mean = np.linalg.solve(precision, right)
        quadratic = y @ (w * y) - right @ mean
        logs[i] = 0.5 * (np.log(w).sum() - quadratic - np.linalg.slogdet(precision)[1]) - 0.5 * value**2
        variances[i], means[i] = np.linalg.inv(precision)[1, 1], mean[1]
    weight = np.exp(logs - logs.max()) * np.gradient(s)
    weight /= weight.sum()
    center = weight @ means
    return float(weight @ s), float(np.sqrt(weight @ (variances + (means - center) ** 2)))


def misleading(*arguments: Any) -> Groups:
    """Groups that stand for rows of hardly any error."""
    groups = group(*arguments)
    return replace(groups, error=np.full(len(groups.error), 1e-6))


@pytest.mark.parametrize(("precise", "gather"), [(3, group), (5, group), (40, group), (5, misleading)])
def test_a_few_precise_rows_among_many_decide_additive_noise(
    precise: int, gather: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nodes that the groups put in the wrong place have to be put anew.
    monkeypatch.setattr("bayes_sklearn.inference.under_scatters.group", gather)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 1))
    e = rng.uniform(0.99, 1.01, 500)
    e[:precise] = 1e-3 * rng.uniform(0.9, 1.1, precise)
    y = X[:, 0] + 0.5 * rng.normal(size=500)
    y[:precise] = X[:precise, 0] + 1e-3 * rng.normal(size=precise)
    model = Regressor(noise="additive", standardize=False).fit(X, y, y_err=e)
    scale, deviation = brute_force(X, y, e)
    assert_allclose(model.noise_scale_, scale, rtol=1e-3)
    assert_allclose(model.coef_std_, deviation, rtol=1e-3)


def test_a_lattice_whose_density_is_rounding_ends() -> None:
    class Solved:
        def __init__(self, u: Array) -> None:  # zero but at two places among each sixteen
            self.totals = np.where(np.arange(len(u)) % 14 == 1, -300.0, -np.inf)[:, None]

    parts, spacing = _lattice(Solved, 0.0, 1.0)  # type: ignore[arg-type]
    assert spacing > 0.0
    assert np.isfinite(parts[-1][1].totals).any()


def test_groups_of_equal_errors_stand_for_their_rows() -> None:
    X, y, _ = measured(400)
    e = np.random.default_rng(0).choice([0.1, 0.5, 2.0], 400)
    rows = Rows(X, y, None, np.random.default_rng(1).integers(0, 3, 400).astype(float))
    whole = compress(rows, e)
    groups = group(rows, e, whole, 64)
    assert groups.exact
    for scatter in (0.0, 0.3, 10.0):
        direct, grouped = compress(rows, e, scatter, whole), groups.compress(scatter)
        assert_allclose(np.abs(grouped.factor), np.abs(direct.factor), rtol=1e-10, atol=1e-10)
        assert_allclose(grouped.log_error, direct.log_error, rtol=1e-12)


@pytest.mark.parametrize("others", [3, 100, 300], ids="then {} others".format)
def test_errors_that_only_later_rows_have_count(others: int) -> None:
    """Whether rows can be grouped by their errors is first looked for in 1,024 of them."""
    X, y, _ = measured(1500)
    e = np.tile([0.3, 0.6], 750)
    e[1024:] = np.resize(np.linspace(0.1, 2.0, others), 476)
    rows = Rows(X, y, None, None)
    assert group(rows, e, compress(rows, e), 64).exact == (others == 3)
    order = np.random.default_rng(0).permutation(1500)
    model, mixed = Regressor(noise="additive"), Regressor(noise="additive")
    model.fit(X, y, y_err=e)
    mixed.fit(X[order], y[order], y_err=e[order])
    for name in ("coef_", "coef_std_", "intercept_", "noise_scale_", "log_marginal_likelihood_"):
        assert_allclose(getattr(model, name), getattr(mixed, name), rtol=1e-9)


def test_nearly_collinear_columns_under_flat_priors_keep_their_prediction_errors() -> None:
    rng = np.random.default_rng(0)
    a, y = rng.normal(size=50), rng.normal(size=50)
    for difference in (1e-3, 1e-6, 1e-9):
        b = rng.normal(size=50)
        near = np.column_stack([a, a + difference * b])
        far = np.column_stack([a, b])
        flat = {"coef_prior": Flat(), "intercept_prior": Flat(), "standardize": False}
        expected = Regressor(**flat).fit(far, y).predict(far, return_std=True, include_noise=False)[1]
        found = Regressor(**flat).fit(near, y).predict(near, return_std=True, include_noise=False)[1]
        assert_allclose(found, expected, rtol=1e-5 + 1e-14 / difference)


def test_heavy_tails_of_the_noise_scale_keep_their_second_moment() -> None:
    # Exact values by high-precision integration of the same posterior.
    X = np.array([[0.0], [1.0], [3.0], [4.0], [6.0], [7.0]])
    y = np.array([0.2, 0.9, 3.5, 3.7, 6.6, 6.9])
    flat = {"coef_prior": Flat(), "intercept_prior": Flat(), "standardize": False}
    model = Regressor(noise_prior=Flat(), **flat).fit(X, y)
    assert_allclose(model.coef_std_, 0.13175061, rtol=1e-7)
    model = Regressor(noise_prior=HalfStudentT(nu=4.5), weight_type="frequency", **flat)
    assert_allclose(model.fit(X[:3], y[:3], np.full(3, 0.2)).coef_std_, 3.26013281, rtol=1e-7)


@pytest.mark.parametrize("noise", ["scaled", "known"])
def test_an_exact_fit_never_builds_what_a_likelihood_sees_of_the_rows(
    monkeypatch: pytest.MonkeyPatch, noise: str
) -> None:
    """Arrays as long as the table: the triangle is enough."""

    def built(problem: Problem) -> None:
        raise AssertionError("built")

    monkeypatch.setattr(Problem, "observations", built)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    Regressor(noise=noise).fit(X, y, y_err=np.full(20, 1.0))


@pytest.mark.parametrize("noise", ["scaled", "auto", "additive"])
def test_a_fit_keeps_no_rows(noise: str) -> None:
    """Quantiles of its scales, which are worked out when asked for, refer to none either."""
    rng = np.random.default_rng(0)
    X, error = rng.normal(size=(600, 3)), rng.uniform(0.2, 2.0, 600)
    alive = weakref.ref(X)
    model = BayesianErrorsInVariablesRegressor(noise=noise).fit(X, X.sum(axis=1) + error, y_err=error)
    del X
    gc.collect()
    assert alive() is None
    before = pickle.loads(pickle.dumps(model)).summary()
    assert_array_equal(model.summary().to_numpy(), before.to_numpy())
