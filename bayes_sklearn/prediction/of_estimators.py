"""Predictive distributions of any estimator: ours, Pipelines of it, and those that return a standard deviation."""

from __future__ import annotations

import inspect
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..measurements.checks import read_target
from .distribution import PredictiveDistribution
from .line import NormalPredictive

__all__ = ["distribution_of_measured", "predictive_distribution"]


def predictive_distribution(estimator: Any, X: Any, **predict_params: Any) -> PredictiveDistribution:
    """Return the predictive distribution of any fitted regressor that has one.

    Looks through fitted searches (GridSearchCV and the like) and Pipelines. A regressor without
    `predict_distribution` whose `predict` takes ``return_std`` (BayesianRidge, ARDRegression,
    GaussianProcessRegressor) gives Normal(mean, std).

    Parameters
    ----------
    estimator : fitted regressor, Pipeline or search
    X : array-like of shape (n, k)
        New rows, as for the estimator's predict.
    **predict_params
        Passed to the regressor at the end: ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``X_censored``,
        ``exposure``, ``y_shared_err``, ``y_cov_with_train``, ``include_noise``.

    Returns
    -------
    PredictiveDistribution

    Raises
    ------
    TypeError
        For a regressor without standard deviations, and for TransformedTargetRegressor.
    ValueError
        For a search fitted with ``refit=False``.

    Examples
    --------
    >>> from sklearn.linear_model import BayesianRidge
    >>> from bayes_sklearn import predictive_distribution
    >>> model = BayesianRidge().fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.1, 1.9, 3.2])
    >>> predictive_distribution(model, [[4.0]]).interval(0.9)[0].shape
    (1,)
    """
    regressor, X = final_regressor(estimator, X)
    if hasattr(regressor, "predict_distribution"):
        return regressor.predict_distribution(X, **predict_params)
    predict = getattr(regressor, "predict", None)
    if predict is None or "return_std" not in inspect.signature(predict).parameters:
        raise TypeError(
            f"{type(regressor).__name__} has no predictive distribution: its predict takes no return_std. Use"
            " BayesianErrorsInVariablesRegressor, BayesianRidge, ARDRegression or GaussianProcessRegressor."
        )
    mean, std = regressor.predict(X, return_std=True, **predict_params)
    return NormalPredictive(mean, std)


def distribution_of_measured(
    estimator: Any, X: Any, y: ArrayLike, **predict_params: Any
) -> PredictiveDistribution:
    """Return the predictive distribution of what is measured, which knows which targets are.

    Of a model with ``missing="model"`` rows whose target is NaN are rows to predict: nothing was measured of them.
    """
    regressor, table = final_regressor(estimator, X)
    distribution = predictive_distribution(regressor, table, **predict_params)
    # Others' distributions know of no such thing.
    distribution = getattr(distribution, "of_measurements", lambda: distribution)()
    if getattr(regressor, "missing", None) == "model":
        known = ~np.isnan(read_target(y, allow_nan=True))
        if not known.all():
            distribution = copy(distribution)
            measured = distribution.measured
            distribution.measured = known if measured is None else known & measured
    return distribution


def final_regressor(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the regressor at the end of fitted searches and Pipelines, and X as it gets it.

    Raises
    ------
    TypeError, ValueError
        As `predictive_distribution`.
    """
    name = type(estimator).__name__
    if hasattr(estimator, "predict_distribution"):
        return estimator, X
    if hasattr(estimator, "transformer_") or name == "TransformedTargetRegressor":
        raise TypeError(
            "TransformedTargetRegressor gives no predictive distribution: standard deviations don't pass through its"
            " inverse transform. Use the regressor without it (BayesianErrorsInVariablesRegressor standardises the"
            " target itself), or transform y before fit and the limits of intervals after predict."
        )
    if hasattr(estimator, "best_estimator_"):
        return final_regressor(estimator.best_estimator_, X)
    if hasattr(estimator, "cv_results_") or (hasattr(estimator, "refit") and not estimator.refit):
        raise ValueError(f"{name} was fitted with refit=False: there is no refitted model to predict with.")
    if hasattr(estimator, "steps") and hasattr(estimator, "named_steps"):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        return final_regressor(estimator.steps[-1][1], X)
    return estimator, X
