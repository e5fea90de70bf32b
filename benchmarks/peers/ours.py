"""The package itself, under the names of its own settings."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .fits import COVERAGE, Distribution, Fit
from .tasks import Rows, Task

if TYPE_CHECKING:
    from bayes_sklearn import BayesianErrorsInVariablesRegressor

__all__ = ["under"]

_DRAWS = 4_000  # as many as the samplers make
_NEW_ROWS = 5


def under(likelihood: str) -> Callable[[Task], Callable[[Rows], Fit]]:
    """Return an adapter to the estimator with defaults, but for the likelihood and what weights and noise mean."""

    def make(task: Task) -> Callable[[Rows], Fit]:
        from bayes_sklearn import BayesianErrorsInVariablesRegressor

        weight_type = "counts" if task.kind == "shares" else "frequency"

        def fit(train: Rows) -> Fit:
            model = BayesianErrorsInVariablesRegressor(
                likelihood=likelihood, noise=task.noise, weight_type=weight_type, random_state=0
            )
            return _fitted(model, task, train)

        return fit

    return make


def _fitted(model: BayesianErrorsInVariablesRegressor, task: Task, train: Rows) -> Fit:
    start = perf_counter()
    if task.kind == "shares":
        model.fit(train.X, train.y, sample_weight=train.counts)
    elif task.kind == "targets":
        model.fit(train.X, train.y, y_err=train.y_err)
    else:
        model.fit(train.X, train.y, y_err=train.y_err, X_err=train.X_err)
    fitted = perf_counter() - start

    def known(rows: Rows) -> dict[str, Any]:
        if task.kind == "shares":
            return {"counts": rows.counts}
        errors = {"X_err": rows.X_err} if task.kind == "features" else {}
        return {"y_err": rows.y_err, **errors}

    def effective() -> tuple[float, float]:
        start = perf_counter()
        model.sample_y(train.X[:_NEW_ROWS], _DRAWS, include_noise=False)
        seconds = fitted + perf_counter() - start
        if model.inference_ == "exact":  # draws are independent
            return _DRAWS, seconds
        if model.inference_ == "nuts":
            return float(model.summary()["ess_bulk"].loc[list(model.coef_names_)].min()), seconds
        weights = model._fitted.posterior.weights  # draws from weighted nodes are worth what the nodes are
        return min(_DRAWS, 1.0 / float(weights @ weights)), seconds

    def limits() -> NDArray[np.float64]:
        return np.asarray(model.summary(coverage=COVERAGE).iloc[:, 2:4].loc[list(model.coef_names_)])

    linear = model.likelihood == "normal"  # others have slopes of log odds
    return Fit(
        predict=lambda rows: Distribution(model.predict_distribution(rows.X, **known(rows))),
        slopes=model.coef_ if linear else None,
        slope_interval=limits if linear else None,
        effective=effective,
    )
