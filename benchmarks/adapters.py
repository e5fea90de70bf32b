"""One adapter a peer and task, one signature: from a table to the work that is timed.

What an adapter does itself (a fit before a prediction, weights from errors) is not timed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV

from bayes_sklearn import BayesianErrorsInVariablesRegressor, BayesianErrorsInVariablesRegressorCV

from .data import Table
from .measure import Work

__all__ = [
    "ADAPTERS",
    "Adapter",
    "exact_reference",
    "our_search",
    "prior_search",
    "ridge_search",
]

Adapter = Callable[[Table], Work]

_DRAWS = 16_000
_NEW_ROWS = 5


def fit_y_err(table: Table) -> Work:
    return lambda: BayesianErrorsInVariablesRegressor().fit(table.X, table.y, y_err=table.y_err)


def fit_y_err_scaled(table: Table) -> Work:
    model = BayesianErrorsInVariablesRegressor(noise="scaled")
    return lambda: model.fit(table.X, table.y, y_err=table.y_err)


def fit_frequency(table: Table) -> Work:
    return lambda: BayesianErrorsInVariablesRegressor().fit(table.X, table.y, table.weight)


def fit_counts(table: Table) -> Work:
    model = BayesianErrorsInVariablesRegressor(weight_type="counts")
    return lambda: model.fit(table.X, table.y, table.weight)


def linear_fit_y_err(table: Table) -> Work:
    weight = 1.0 / table.y_err**2
    return lambda: LinearRegression().fit(table.X, table.y, weight)


def linear_fit_weight(table: Table) -> Work:
    return lambda: LinearRegression().fit(table.X, table.y, table.weight)


def predict_std(table: Table) -> Work:
    model = BayesianErrorsInVariablesRegressor().fit(*_head(table))
    return lambda: model.predict(table.X, return_std=True)


def linear_predict(table: Table) -> Work:
    model = LinearRegression().fit(*_head(table))
    return lambda: model.predict(table.X)


def intervals(table: Table) -> Work:
    X, y = _head(table)
    model = BayesianErrorsInVariablesRegressor().fit(X, y, y_err=table.y_err[: len(y)])
    return lambda: model.predict_interval(table.X, y_err=table.y_err)


def our_search(candidates: int) -> Adapter:
    """Return an adapter that searches over the prior's width, on the bare default estimator."""
    grid = {"coef_prior__sigma": np.geomspace(1e-3, 1e3, candidates)}
    search = GridSearchCV(BayesianErrorsInVariablesRegressor(), grid, cv=5)

    def fit(table: Table) -> object:
        with warnings.catch_warnings():  # a search tries priors that are too narrow
            warnings.filterwarnings("ignore", "The data contradict coef_prior")
            return search.fit(table.X, table.y)

    return lambda table: lambda: fit(table)


def prior_search(candidates: int, scoring: str) -> Adapter:
    """Return an adapter that searches over the prior's width without refits."""
    grid = {"coef_prior__sigma": np.geomspace(1e-3, 1e3, candidates)}
    search = BayesianErrorsInVariablesRegressorCV(param_grid=grid, scoring=scoring)
    return lambda table: lambda: search.fit(table.X, table.y)


def ridge_search(candidates: int) -> Adapter:
    """Return an adapter that searches over Ridge's penalty."""
    search = GridSearchCV(Ridge(), {"alpha": np.geomspace(1e-3, 1e3, candidates)}, cv=5)
    return lambda table: lambda: search.fit(table.X, table.y)


def reference_model() -> BayesianErrorsInVariablesRegressor:
    """Return the configuration that is the reference model: errors at observed shares and a tenth."""
    return BayesianErrorsInVariablesRegressor(standardize=False, count_error="observed", error_floor=0.1)


def exact_reference(table: Table) -> Work:
    """Fit the reference model and draw: the line and a new measurement, 16,000 times, for five new phones."""

    def fit_and_draw() -> object:
        model = reference_model().fit(table.X, table.y, sample_weight=table.weight)
        new = slice(_NEW_ROWS)
        return model.sample_y(table.X[new], _DRAWS, y_err=table.y_err[new])

    return fit_and_draw


def _head(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return rows to fit where the prediction is what is timed: few, so that the noise scale stays uncertain."""
    return table.X[:200], table.y[:200]


ADAPTERS: dict[str, Adapter] = {
    adapter.__name__: adapter
    for adapter in (
        fit_y_err,
        fit_y_err_scaled,
        fit_frequency,
        fit_counts,
        linear_fit_y_err,
        linear_fit_weight,
        predict_std,
        linear_predict,
        intervals,
    )
}
"""Adapters by name, for processes of their own."""
