"""Groups of nodes that stand for a posterior's nodes, where rows are many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.prediction.mixtures.node_groups import in_groups
from bayes_sklearn.prediction.mixtures.normal import NormalMixture

Array = NDArray[np.float64]


def fitted(n: int, p: int, reliability: float, **params: Any) -> tuple[Regressor, Array]:
    rng = np.random.default_rng(n)
    error = np.zeros(p)
    error[0] = np.sqrt((1.0 - reliability) / reliability)
    true = rng.normal(size=(n, p))
    X, y = true + error * rng.normal(size=(n, p)), true.sum(axis=1) + 0.5 * rng.normal(size=n)
    return Regressor(random_state=0, **params).fit(X, y, X_err=error), error


def rows(n: int, p: int) -> Rows:
    X = np.random.default_rng(7).normal(size=(1000, p))
    return Rows(np.tile(X, (n // 1000, 1)), np.empty(0))


def test_means_and_covariances_stay() -> None:
    posterior = fitted(40, 3, 0.8)[0]._fitted.posterior
    grouped, error = in_groups(posterior, np.square(posterior.noise_scale), rows=rows(10**5, 3))
    assert len(grouped.weights) == 128
    assert_allclose(grouped.weights.sum(), 1.0)
    assert_allclose(grouped.mean, posterior.mean, rtol=1e-12)
    assert_allclose(grouped.covariance, posterior.covariance, rtol=1e-10, atol=1e-12)
    assert_allclose(grouped.weights @ grouped.noise_scale**2, posterior.weights @ posterior.noise_scale**2)
    assert error is not None
    assert_allclose(error, grouped.noise_scale**2)


@pytest.mark.filterwarnings("ignore:The errors of 'x0' hide it")
@pytest.mark.parametrize(
    ("n", "p", "reliability", "most"), [(500, 4, 0.9, 2e-4), (40, 8, 0.8, 0.01), (15, 2, 0.8, 0.04)]
)
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_quantiles_are_those_of_all_nodes(
    n: int, p: int, reliability: float, most: float, noise: float
) -> None:
    """In standard deviations; of the line alone, 500 rows' is the narrowest, they may be ten times that."""
    posterior = fitted(n, p, reliability)[0]._fitted.posterior
    X = np.random.default_rng(1).normal(size=(200, p)) * np.where(np.arange(200) < 150, 1.0, 3.0)[:, None]
    design = np.column_stack([np.ones(len(X)), X - posterior.center])
    found = []
    for of in (posterior, in_groups(posterior, rows=rows(10**5, p))[0]):
        means, variances = of.linear(design)
        mixture = NormalMixture(of.weights, means, np.sqrt(variances + noise * np.square(of.noise_scale)))
        found.append(np.array([mixture.quantile(np.full(len(X), q)) for q in (0.025, 0.25, 0.5, 0.975)]))
    spread = np.square(np.linalg.norm(design @ posterior.root.T, axis=1))
    spread += noise * (posterior.weights @ np.square(posterior.noise_scale))
    assert (np.abs(found[0] - found[1]) / np.sqrt(spread)).max() < max(most, 0.04 * (noise == 0.0))


def test_many_rows_are_predicted_as_few_are() -> None:
    model, error = fitted(60, 3, 0.8)
    X = np.random.default_rng(2).normal(size=(3000, 3))
    mean, std = model.predict(X, return_std=True, X_err=error)
    lower, upper = model.predict_interval(X, X_err=error).T
    some = slice(0, 50)
    few, few_std = model.predict(X[some], return_std=True, X_err=error)
    assert_allclose(mean[some], few, rtol=1e-10)
    assert_allclose(std[some], few_std, rtol=1e-10)
    limits = model.predict_interval(X[some], X_err=error).T
    assert (np.abs(np.array([lower[some], upper[some]]) - limits) < 0.01 * few_std).all()


def test_few_rows_and_few_nodes_stay() -> None:
    posterior = fitted(40, 3, 0.8)[0]._fitted.posterior
    assert in_groups(posterior, rows=Rows(np.zeros((100, 3)), np.empty(0)))[0] is posterior
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    exact = Regressor().fit(X, X[:, 0] + rng.normal(size=30))._fitted.posterior
    assert in_groups(exact, rows=rows(10**5, 2))[0] is exact


def test_one_row_after_another_is_measured_as_before() -> None:
    """What errors make of the line is kept for the next row with the same ones, and for no other."""
    model, error = fitted(60, 3, 0.8)
    X = np.random.default_rng(3).normal(size=(2, 3))
    first = model.predict(X, return_std=True, X_err=error)
    true = model.predict(X, return_std=True, X_err=0.0)
    again = model.predict(X, return_std=True, X_err=error)
    assert_allclose(first, again, rtol=0.0)
    assert (np.abs(first[0] - true[0]) > 1e-3).all()
    wider = model.predict(X, return_std=True, X_err=2.0 * error)
    assert (wider[1] > first[1]).all()
