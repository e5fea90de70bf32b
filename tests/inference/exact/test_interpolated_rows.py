"""Rows under all scatters of an interval, from one pass: against decompositions of the weighted rows themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Flat, HalfCauchy, Normal
from bayes_sklearn.inference.exact import scatter_integrals
from bayes_sklearn.inference.exact.interpolated_rows import Beyond, InterpolatedRows
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.likelihoods.noise import AUTO
from bayes_sklearn.measurements.compressed import Rows

Array = NDArray[np.float64]


def problem(n: int, p: int, *, frequency: bool = False, dependent: bool = False) -> Problem:
    """Rows with heavy-tailed errors."""
    rng = np.random.default_rng([n, p])
    X = rng.normal(size=(n, p)) * 10.0 ** np.arange(p) + 1e3
    if dependent:
        X[:, -1] = 2.0 * X[:, 0] - X[:, 1]
    error = np.abs(rng.standard_t(2, size=n)) + 0.02
    y = 5.0 + 0.1 * X[:, 0] + error * rng.normal(size=n)
    rows = Rows(X, y, None, rng.integers(0, 4, n).astype(float) if frequency else None)
    return Problem.build(
        rows,
        error,
        noise=AUTO,
        standardize=True,
        coef_prior=Normal(),
        intercept_prior=Flat(),
        noise_prior=HalfCauchy(),
    )


def directly(of: Problem, scatter: float) -> tuple[Array, float]:
    """Products of the weighted rows in the model's units, and the summed log errors."""
    count = np.ones(len(of.rows.y)) if of.rows.frequency is None else of.rows.frequency
    x = (of.rows.X - of.scaling.x_mean) / of.scaling.x_scale
    y = (of.rows.y - of.scaling.y_mean) / of.scaling.y_scale
    error = np.hypot(np.asarray(of.standard_error) / of.error_unit, scatter)
    rows = np.column_stack([np.ones(len(y)), x, y]) * (np.sqrt(count) / error)[:, None]
    return rows.T @ rows, float(count @ np.log(error))


@pytest.mark.parametrize("frequency", [False, True])
@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize(("lowest", "highest"), [(1e-30, 20.0), (0.1, 0.3)])
def test_products_and_log_errors_are_those_of_the_rows(
    lowest: float, highest: float, frequency: bool, dependent: bool
) -> None:
    of = problem(3000, 4, frequency=frequency, dependent=dependent)
    scatters = np.geomspace(max(lowest, 1e-4), highest, 7)
    triangles, log_errors = InterpolatedRows(of, lowest, highest).compressed(scatters)
    for scatter, triangle, log_error in zip(scatters, triangles, log_errors, strict=True):
        products, expected = directly(of, float(scatter))
        size = np.sqrt(np.diag(products))
        unit = np.outer(size, size)
        # Scatters far above all errors, where nothing is, have the fewest digits.
        assert_allclose(triangle.T @ triangle / unit, products / unit, rtol=0.0, atol=3e-6)
        assert_allclose(log_error, expected, atol=1e-3)
        assert_allclose(np.tril(triangle, -1), 0.0, atol=1e-12 * np.abs(triangle).max())


def test_a_scatter_beyond_the_interval_and_too_many_points_are_refused() -> None:
    of = problem(3000, 2)
    with pytest.raises(Beyond):
        InterpolatedRows(of, 0.1, 0.3).compressed(np.array([0.4]))
    with pytest.raises(Beyond):
        InterpolatedRows(of, 1e-30, 20.0, most=10)


@pytest.mark.parametrize(("n", "p", "scatter"), [(600, 8, 0.0), (2000, 2, 0.5), (20_000, 1, 0.1)])
def test_a_rule_of_a_few_scatters_is_a_lattice_of_them_on_the_rows(
    n: int, p: int, scatter: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n)
    X, error = rng.normal(size=(n, p)), np.exp(0.7 * rng.normal(size=n))
    y = X @ np.linspace(0.1, 1.0, p) + np.hypot(error, scatter) * rng.normal(size=n)
    new = X[:3]

    def fitted() -> tuple[Regressor, dict[str, Any]]:
        model = Regressor().fit(X, y, y_err=error)
        posterior, at = model._fitted.posterior, np.array([0.05, 0.25, 0.5, 0.75, 0.95])
        return model, {
            "noise_scale": np.log(posterior.noise_quantiles(at)),
            "scatter": np.log(posterior.quantiles("scatter", posterior.scatter, at)),
        }

    model, quantiles = fitted()
    monkeypatch.setattr(scatter_integrals, "_interpolated", lambda _: None)
    monkeypatch.setattr(Problem, "groups", None)
    monkeypatch.setattr(scatter_integrals, "_NODES", 64)
    exact, expected = fitted()
    sd = exact.coef_std_
    assert (np.abs(model.coef_ - exact.coef_) < 1e-4 * sd).all()
    assert_allclose(model.coef_std_, sd, rtol=1e-4)
    assert_allclose(model.log_marginal_likelihood_, exact.log_marginal_likelihood_, atol=2e-3)
    assert_allclose(model.noise_scale_, exact.noise_scale_, rtol=1e-4)
    assert_allclose(model.scatter_, exact.scatter_, rtol=1e-3)
    ends, others = (np.asarray(of.predict_interval(new)) for of in (model, exact))
    assert_allclose(ends, others, atol=1e-4 * float(np.ptp(others)))
    for name, logs in expected.items():
        assert_allclose(quantiles[name], logs, atol=0.03 * float(np.ptp(logs)))
