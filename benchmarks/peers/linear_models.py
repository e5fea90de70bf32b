"""scikit-learn's regressors. Features come in units of their spread, where penalties and priors need it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fits import COVERAGE, Fit, Gaussian, Point
from .tasks import Rows, Task

__all__ = ["ard", "bayesian_ridge", "gaussian_process", "linear_regression", "precision", "ridge"]

Array = NDArray[np.float64]


def precision(rows: Rows, task: Task) -> Array:
    """Return the weights of least squares: counts, or inverse squares of the errors."""
    return rows.counts if task.kind == "shares" else 1.0 / rows.y_err**2


def weights(rows: Rows, task: Task) -> Array:
    """Return the same of mean 1, so that penalties and the noise keep their meaning."""
    found = precision(rows, task)
    return found / found.mean()


def linear_regression(task: Task) -> Callable[[Rows], Fit]:
    from sklearn.linear_model import LinearRegression

    return lambda train: _points(LinearRegression(), train, task)


def ridge(task: Task) -> Callable[[Rows], Fit]:
    from sklearn.linear_model import Ridge

    return lambda train: _points(Ridge(), train, task)


def _points(model: Any, train: Rows, task: Task) -> Fit:
    model.fit(train.X, train.y, sample_weight=weights(train, task))
    return Fit(predict=lambda rows: Point(model.predict(rows.X)), slopes=model.coef_)


def bayesian_ridge(task: Task) -> Callable[[Rows], Fit]:
    from sklearn.linear_model import BayesianRidge

    def fit(train: Rows) -> Fit:
        model = BayesianRidge().fit(train.X, train.y, sample_weight=weights(train, task))
        return _gaussian(model, np.diag(model.sigma_))

    return fit


def ard(task: Task) -> Callable[[Rows], Fit]:
    """Fit ARDRegression, which takes no weights: every row is as good as any."""
    from sklearn.linear_model import ARDRegression

    def fit(train: Rows) -> Fit:
        model = ARDRegression().fit(train.X, train.y)
        variance = np.zeros(len(model.coef_))  # sigma_ has the coefficients that are not pruned
        variance[model.lambda_ < model.threshold_lambda] = np.diag(model.sigma_)
        return _gaussian(model, variance)

    return fit


def _gaussian(model: Any, variance: Array) -> Fit:
    def limits() -> Array:
        from scipy import stats

        return np.column_stack(
            stats.norm.interval(COVERAGE, model.coef_, np.sqrt(np.maximum(variance, 1e-300)))
        )

    return Fit(
        predict=lambda rows: Gaussian(*model.predict(rows.X, return_std=True)),
        slopes=model.coef_,
        slope_interval=limits,
        doubts=lambda: "" if model.n_iter_ < model.max_iter else "as many iterations as allowed",
    )


def gaussian_process(task: Task) -> Callable[[Rows], Fit]:
    """Fit a process of straight lines, with the errors as `alpha` and scatter as white noise."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel

    def fit(train: Rows) -> Fit:
        pooled = float(np.average(train.y, weights=train.counts)) if task.kind == "shares" else np.nan

        def variance(rows: Rows) -> Array:
            # Errors at the observed shares would be zero where a share is 0 or 1.
            return pooled * (1.0 - pooled) / rows.counts if task.kind == "shares" else rows.y_err**2

        start = float(np.var(train.y))
        kernel = ConstantKernel(start) * DotProduct() + WhiteKernel(0.1 * start, (1e-10, 1e5))
        model = GaussianProcessRegressor(kernel, alpha=variance(train), random_state=0)
        with warnings.catch_warnings():
            # No scatter at all is an answer, which the lower bound of the white noise stands for.
            warnings.filterwarnings("ignore", "The optimal value found")
            model.fit(train.X, train.y)

        def predict(rows: Rows) -> Gaussian:
            # The white noise is part of the prediction, the new measurement's own error is not.
            mean, std = model.predict(rows.X, return_std=True)
            return Gaussian(mean, np.sqrt(std**2 + variance(rows)))

        return Fit(predict=predict)

    return fit
