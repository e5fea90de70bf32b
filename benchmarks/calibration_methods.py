"""What is fitted to every design of the gauntlet, and how it answers: slopes, the line, new measurements."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import BayesianRidge as SklearnBayesianRidge
from sklearn.linear_model import RidgeCV

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Flat

from .calibration_data import Data, Design

__all__ = ["COVERAGES", "METHODS", "OURS", "Answer", "Limits"]

Array = NDArray[np.float64]
Limits = Mapping[float, Array]
"""Coverage to (k, 2) limits; none where a method has none."""

COVERAGES = (0.9, 0.99)
_PENALTIES = np.logspace(-5.0, 5.0, 41)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method says of one data set."""

    mean: Array
    """(NEW_ROWS,) The line at the new rows."""
    slopes: Array
    """(p,)"""
    slope_limits: Limits
    line_limits: Limits
    new_limits: Limits
    seconds: float
    """Of the processor, in the fit."""
    warned: bool
    """Whether the fit did."""


def default(design: Design, data: Data) -> Answer:
    """Fit the package as it comes."""
    return _ours(data, design.estimator)


def flat(design: Design, data: Data) -> Answer | None:
    """Fit the package under flat priors of the slopes, where rows are more than columns.

    With errors of features importance sampling has the last word: a yardstick is not worth minutes of NUTS.
    """
    if data.X.shape[1] >= len(data.y):
        return None
    engine = {"inference": "importance"} if "X_err" in data.given else {}
    return _ours(data, {**design.estimator, **engine, "coef_prior": Flat()})


def observed(design: Design, data: Data) -> Answer | None:
    """Fit the package with errors of shares taken at the shares themselves, which the page on weights warns of."""
    if design.estimator.get("weight_type") != "counts":
        return None
    return _ours(data, {**design.estimator, "count_error": "observed"})


def _ours(data: Data, parameters: Mapping[str, Any]) -> Answer:
    model = BayesianErrorsInVariablesRegressor(**parameters, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = process_time()
        model.fit(data.X, data.y, **data.given)
        seconds = process_time() - start
    tables = {coverage: model.summary(coverage) for coverage in COVERAGES}
    slopes = list(model.coef_names_)
    new = model.predict_distribution(data.X_new, **data.given_new)
    line = model.predict_distribution(data.X_new, **data.given_new, include_noise=False)
    return Answer(
        line.mean(),
        model.coef_,
        {coverage: table.loc[slopes].to_numpy()[:, 2:4] for coverage, table in tables.items()},
        {coverage: np.column_stack(line.interval(coverage)) for coverage in COVERAGES},
        {coverage: np.column_stack(new.interval(coverage)) for coverage in COVERAGES},
        seconds,
        bool(caught),
    )


def least_squares(design: Design, data: Data) -> Answer:
    """Fit by weights, with the t intervals of textbooks; of least norm where columns are too many."""
    start = process_time()
    shift, scale, center = _scaling(design, data)
    root = np.sqrt(data.weight)
    table = _with_ones(design, (data.X - shift) / scale)
    inverse = np.linalg.pinv(root[:, None] * table)
    theta = inverse @ (root * (data.y - center))
    seconds = process_time() - start
    freedom = len(data.y) - np.linalg.matrix_rank(root[:, None] * table)
    new = _with_ones(design, (data.X_new - shift) / scale)
    mean = center + new @ theta
    offset = int(_has_intercept(design))
    slopes = theta[offset:] / scale
    if freedom == 0:
        return Answer(mean, slopes, {}, {}, {}, seconds, False)
    residual = root * (data.y - center - table @ theta)
    variance = float(residual @ residual) / freedom
    covariance = variance * inverse @ inverse.T
    t = stats.t(freedom)
    line = np.einsum("ij,jk,ik->i", new, covariance, new)
    identified = np.linalg.matrix_rank(table) == table.shape[1]
    errors = np.sqrt(np.diag(covariance))[offset:] / scale
    return Answer(
        mean,
        slopes,
        _limits(slopes, errors, t) if identified else {},
        _limits(mean, np.sqrt(line), t),
        _limits(mean, np.sqrt(line + variance / data.weight_new), t),
        seconds,
        False,
    )


def ridge(design: Design, data: Data) -> Answer:
    """Fit scikit-learn's RidgeCV on standardised columns: no intervals."""
    shift, scale, _ = _scaling(design, data)
    model = RidgeCV(_PENALTIES, fit_intercept=_has_intercept(design))
    start = process_time()
    model.fit((data.X - shift) / scale, data.y, sample_weight=data.weight / data.weight.mean())
    seconds = process_time() - start
    mean = model.predict((data.X_new - shift) / scale)
    return Answer(mean, model.coef_ / scale, {}, {}, {}, seconds, False)


def bayesian_ridge(design: Design, data: Data) -> Answer:
    """Fit scikit-learn's BayesianRidge on standardised columns and target."""
    shift, scale, _ = _scaling(design, data)
    unit = float(np.std(data.y)) or 1.0
    model = SklearnBayesianRidge(fit_intercept=_has_intercept(design))
    weight = data.weight / data.weight.mean()
    start = process_time()
    model.fit((data.X - shift) / scale, data.y / unit, sample_weight=weight)
    seconds = process_time() - start
    mean, std = model.predict((data.X_new - shift) / scale, return_std=True)
    noise = 1.0 / model.alpha_
    line = unit * np.sqrt(np.maximum(std**2 - noise, 0.0))
    new = np.hypot(line, unit * np.sqrt(noise * data.weight.mean() / data.weight_new))
    slopes, errors = model.coef_ * unit / scale, np.sqrt(np.diag(model.sigma_)) * unit / scale
    return Answer(
        unit * mean,
        slopes,
        _limits(slopes, errors, stats.norm),
        _limits(unit * mean, line, stats.norm),
        _limits(unit * mean, new, stats.norm),
        seconds,
        False,
    )


def regression_calibration(design: Design, data: Data) -> Answer | None:
    """Correct the moments of least squares by the errors' variance, where something is left: slopes alone.

    Predictions from new readings are those of least squares (Carroll et al. 2006, chapter 4).
    """
    if "X_err" not in data.given:
        return None
    plain = least_squares(design, data)
    error = np.broadcast_to(data.given["X_err"], data.X.shape)
    weight = data.weight / data.weight.sum()
    X, y = data.X - weight @ data.X, data.y - weight @ data.y
    moments = (X.T * weight) @ X
    true = moments - np.diag(weight @ error**2)
    # In units of the readings' spread.
    scale = np.sqrt(np.diag(moments))
    if np.linalg.eigvalsh(true / np.outer(scale, scale)).min() < 1e-3:
        return None
    return Answer(
        plain.mean, np.linalg.solve(true, (X.T * weight) @ y), {}, {}, {}, plain.seconds, plain.warned
    )


def _has_intercept(design: Design) -> bool:
    return bool(design.estimator.get("fit_intercept", True))


def _scaling(design: Design, data: Data) -> tuple[Array, Array, float]:
    """Return what to take from the columns, what to divide them by, and what to take from the target."""
    shift = data.X.mean(axis=0) if _has_intercept(design) else np.zeros(data.X.shape[1])
    scale = np.sqrt(np.mean((data.X - shift) ** 2, axis=0))
    return shift, np.where(scale > 0.0, scale, 1.0), float(data.y.mean()) if _has_intercept(design) else 0.0


def _with_ones(design: Design, X: Array) -> Array:
    return np.column_stack([np.ones(len(X)), X]) if _has_intercept(design) else X


def _limits(values: Array, errors: Array, distribution: Any) -> Limits:
    return {
        coverage: values[:, None] + np.outer(errors, distribution.ppf(0.5 + np.array([-0.5, 0.5]) * coverage))
        for coverage in COVERAGES
    }


METHODS: Mapping[str, Callable[[Design, Data], Answer | None]] = {
    "default": default,
    "flat priors": flat,
    "observed errors": observed,
    "least squares": least_squares,
    "RidgeCV": ridge,
    "BayesianRidge": bayesian_ridge,
    "regression calibration": regression_calibration,
}
OURS = ("default", "flat priors", "observed errors")
"""Those that are the package itself."""
