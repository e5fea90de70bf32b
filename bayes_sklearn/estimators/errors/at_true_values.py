"""Errors that are functions of true values, taken at those that fits find: a fit, whose values give the next one's.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ...inference._compat import quietly
from ...inference.structural.true_features import NOT_MEASURED, TrueFeatures
from ...measurements.checks import read_table
from ...measurements.columns import find_column
from ...measurements.error_models.variance_function import VarianceFunction
from ...measurements.messages import remembered, shown, warn
from ..fitted import FittedModel

__all__ = ["as_numbers", "fit_at_true_values", "new_errors", "training_errors"]

Array = NDArray[np.float64]

Functions = tuple[VarianceFunction | float, ...]
"""Of each feature: its error's, or that itself."""

# Fits, and the root mean square relative change of errors at which another one says nothing new: of exact fits, and
# of those whose nodes are drawn, which leave a change; and that at which errors are doubtful.
_MOST, _SETTLED, _OF_DRAWS, _DOUBTFUL = 40, 1e-6, 1e-3, 0.03


def fit_at_true_values(
    model: Any, fit: Callable[[Any, Any], None], X: Any, y: Any, y_err: Any, X_err: Any
) -> None:
    """Fit with errors at the values that the fit finds, (78).

    Parameters
    ----------
    model : BayesianErrorsInVariablesRegressor
    fit : callable
        Of ``y_err`` and ``X_err`` as numbers: fits the model.
    X, y, y_err, X_err
        As given to `fit`.

    Warns
    -----
    ConvergenceWarning
        Where the errors keep moving.
    """
    of_features = isinstance(X_err, VarianceFunction) or _has_function(X_err)
    if not isinstance(y_err, VarianceFunction) and not of_features:
        fit(y_err, X_err)
        return
    with quietly(), remembered():
        errors = _first(model, fit, X, y, y_err, X_err)
        own = y_err if isinstance(y_err, VarianceFunction) else None
        step, change = 1.0, np.inf
        for count in range(_MOST):
            fit(*errors)
            functions = own, _functions(model, X_err) if of_features else None
            now, before = _at_rows(model, functions, errors, X, y), change
            change = max(_change(old, new) for old, new in zip(errors, now, strict=True))
            if change > before:  # it swings: smaller steps settle
                step = max(0.5 * step, 0.125)
            moved = [
                old if old is new else old + step * (new - old) for old, new in zip(errors, now, strict=True)
            ]
            errors = moved[0], moved[1]
            exact = model.inference_ == "exact"
            if change < (_SETTLED if exact else _OF_DRAWS) or (
                not exact and count > 12 and change < _DOUBTFUL
            ):
                break
    fit(*errors)
    model._error_functions = functions
    if change > _DOUBTFUL:
        warn(
            f"Errors at the fitted values did not settle in {_MOST} fits: somewhere the line, or a feature, is near"
            " 0, where a relative error is none. Give the VarianceFunction a constant as well.",
            ConvergenceWarning,
        )


def _first(model: Any, fit: Callable[[Any, Any], None], X: Any, y: Any, y_err: Any, X_err: Any) -> Any:
    """Fit with one error for all rows, at root mean squares; return these."""
    if isinstance(y_err, VarianceFunction):
        target = np.asarray(y, dtype=np.float64)
        y_err = float(y_err.standard_error(np.array(np.nanmean(np.square(target)))))
    if isinstance(X_err, VarianceFunction) or _has_function(X_err):
        fit(y_err, None)  # says what the columns are
        readings = _features(model, X)
        square = np.broadcast_to(np.nanmean(np.square(readings), axis=0), readings.shape)
        X_err = _standard_errors(_functions(model, X_err), square)
    return y_err, X_err


def _at_rows(model: Any, functions: Any, errors: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """Return the errors at what a fit under others finds of the rows that it was fitted to."""
    of_target, of_features = functions
    y_err, X_err = errors
    if of_target is not None:
        y_err = _at_line(model, of_target, X, {} if X_err is None else {"X_err": X_err})
    if of_features is not None:
        target = np.asarray(y, dtype=np.float64)
        X_err = _standard_errors(of_features, _squares(model, X, X_err, target, y_err))
    return y_err, X_err


def training_errors(model: Any, X: Any, y: Any, y_err: Any, X_err: Any) -> tuple[Any, Any]:
    """Return the errors of the rows of the fit, which are given again, where they are functions."""
    functions = getattr(model, "_error_functions", None)
    if functions is None:
        return y_err, X_err
    if functions[1] is not None:
        X_err = _of_readings(model, functions[1], X)
    return _settled(lambda errors: _at_rows(model, functions, errors, X, y), (y_err, X_err))


def new_errors(model: Any, X: Any, y_err: Any, X_err: Any, *, stated: bool, **others: Any) -> tuple[Any, Any]:
    """Return the errors of new rows, where they are functions: of the target's at what is predicted.

    `stated` says whether errors of the target are given otherwise, `others` what else is known of the features.
    """
    functions = getattr(model, "_error_functions", None) or (None, None)
    of_features = functions[1] if X_err is None and others.get("X_cov") is None else None
    if isinstance(X_err, VarianceFunction) or _has_function(X_err):
        of_features = _functions(model, X_err)
    if of_features is not None:
        (X_err,) = _settled(
            lambda errors: (_standard_errors(of_features, _squares(model, X, errors[0])),),
            (_of_readings(model, of_features, X),),
        )
    of_target = functions[0] if y_err is None and not stated else None
    if isinstance(y_err, VarianceFunction):
        of_target = y_err
    if of_target is not None:
        y_err = _at_line(model, of_target, X, {"X_err": X_err, **others})
    return y_err, X_err


def _settled(at: Callable[[Any], Any], errors: Any) -> Any:
    """Return errors that are those at what they themselves let one expect."""
    for _ in range(_MOST):
        before, errors = errors, at(errors)
        if max(_change(old, new) for old, new in zip(before, errors, strict=True)) < _SETTLED:
            break
    return errors


def _of_readings(model: Any, functions: Functions, X: Any) -> Array:
    """Return the features' errors at their readings, to begin with."""
    return _standard_errors(functions, np.square(np.nan_to_num(_features(model, X))))


def as_numbers(model: Any, X: Any, y: Any, y_err: Any, X_err: Any, X_cov: Any) -> dict[str, Any]:
    """Return ``y_err`` and ``X_err`` of the fit's own rows, or, without targets, of new ones, as numbers."""
    if y is None:
        found = new_errors(model, X, y_err, X_err, stated=False, X_cov=X_cov)
    else:
        found = training_errors(model, X, y, y_err, X_err)
    return dict(zip(("y_err", "X_err"), found, strict=True))


def _at_line(model: Any, function: VarianceFunction, X: Any, given: Mapping[str, Any]) -> Array:
    """Return errors of a target at the line, whose square has the line's variance in it."""
    mean, std = model.predict_distribution(X, include_noise=False, **given).mean_and_std()
    return function.standard_error(np.square(mean) + np.square(std))


def _squares(model: Any, X: Any, X_err: Array, y: Array | None = None, y_err: Any = None) -> Array:
    """Return what is expected of the features' squares, (n, p), given readings and, of a fit's rows, targets, (78).

    Parameters
    ----------
    X_err : ndarray of shape (n, p)
        Standard errors of the readings.
    y : ndarray of shape (n,), optional
    y_err : float or ndarray of shape (n,), optional
        Known errors of y.
    """
    fitted: FittedModel = model._fitted
    posterior, readings = fitted.posterior, _features(model, X)
    true, weights = posterior.true_features, posterior.weights
    square = np.square(readings)
    if not isinstance(true, TrueFeatures):
        raise ValueError(
            "X_err: errors that are functions of true features go with x_distribution='normal' and normal errors,"
            " without limits: give numbers."
        )
    noisy, unit = true.noisy, true.x_scale[true.noisy]
    T = unit[:, None] * unit * np.tensordot(weights, true.variance, axes=1)
    q, n = len(noisy), len(readings)
    expected = true.expected(readings, weights)
    away, lacking = readings[:, noisy] - expected, np.isnan(readings[:, noisy])
    away[lacking] = 0.0
    whole = np.zeros((n, q + 1, q + 1))
    whole[:, :q, :q] = T
    whole[:, np.arange(q), np.arange(q)] += np.square(X_err[:, noisy]) + lacking * NOT_MEASURED * np.diagonal(
        T
    )
    across = np.zeros((q, q + 1))
    across[:, :q] = T
    whole[:, q, q] = 1.0
    if y is not None and fitted.likelihood.is_normal:
        m = posterior.mean[1:][noisy]
        at_expected = readings.copy()
        at_expected[:, noisy] = expected
        line = model.predict_distribution(
            _with_features(model, X, at_expected), X_err=0.0, include_noise=False
        )
        values = {"noise_scale": weights @ posterior.noise_scale}
        if posterior.scatter is not None:
            values["scatter"] = weights @ posterior.scatter
        noise = fitted.noise_model.noise.variance(values, np.asarray(1.0 if y_err is None else y_err))
        whole[:, q, q] = m @ T @ m + noise
        whole[:, :q, q] = whole[:, q, :q] = across[:, q] = T @ m
        away = np.column_stack([away, y - line.mean()])
    else:
        away = np.column_stack([away, np.zeros(n)])
    gain = np.linalg.solve(whole, np.broadcast_to(across.T, (n, q + 1, q))).transpose(0, 2, 1)
    mean = expected + np.einsum("njk,nk->nj", gain, away)
    variance = np.diagonal(T) - np.einsum("njk,jk->nj", gain, across)
    square[:, noisy] = np.square(mean) + np.maximum(variance, 0.0)
    return square


def _features(model: Any, X: Any) -> Array:
    """Return the features of rows, (n, p)."""
    table, columns = read_table(model, X), model._fitted.columns
    return np.array(table if columns.features is None else table[:, columns.features], dtype=np.float64)


def _with_features(model: Any, X: Any, features: Array) -> Any:
    """Return rows with other features."""
    columns = model._fitted.columns
    places = np.arange(features.shape[1]) if columns.features is None else columns.features
    if hasattr(X, "iloc"):
        X = X.copy(deep=False)
        for place, values in zip(places, features.T, strict=True):
            X.isetitem(int(place), values)
        return X
    table = np.array(read_table(model, X), dtype=np.float64)
    table[:, places] = features
    return table


def _has_function(value: Any) -> bool:
    """Whether functions are among the errors of features."""
    values = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    )
    return any(isinstance(one, VarianceFunction) for one in values)


def _functions(model: Any, X_err: Any) -> Functions:
    """Return the error of each feature, a function or a number."""
    names = [str(name) for name in model._fitted.columns.feature_names]
    p = len(names)
    if isinstance(X_err, VarianceFunction):
        return (X_err,) * p
    if isinstance(X_err, Mapping):
        found: list[Any] = [0.0] * p
        for name, value in X_err.items():
            found[find_column(name, names, p, "X_err")] = value
    else:
        found = list(X_err)
    if len(found) != p:
        raise ValueError(f"X_err has {len(found)} entries, and X {p} features: give one for each.")
    for value in found:
        if not isinstance(value, VarianceFunction) and (
            not isinstance(value, int | float | np.number) or not 0.0 <= value < np.inf
        ):
            raise ValueError(f"X_err must have numbers from 0 or VarianceFunctions, got {shown(value)}.")
    return tuple(found)


def _standard_errors(functions: Functions, square: Array) -> Array:
    return np.column_stack(
        [
            one.standard_error(square[:, j])
            if isinstance(one, VarianceFunction)
            else np.full(len(square), one)
            for j, one in enumerate(functions)
        ]
    )


def _change(old: Any, new: Any) -> float:
    """Return the root mean square relative change."""
    if old is new or old is None:  # the same, or none before
        return 0.0
    old, new = np.broadcast_arrays(np.asarray(old, dtype=np.float64), new)
    seen = old > 0.0
    return float(np.sqrt(np.mean(np.square(new[seen] / old[seen] - 1.0)))) if seen.any() else 0.0
