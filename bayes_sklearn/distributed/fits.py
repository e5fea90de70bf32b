"""Fits and predictions over Dask collections, and over anything that yields batches: tables larger than memory.

Each block is compressed where it lies, and only what `Seen` keeps travels. Equations (n) are those of
``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from ..estimators.fitting import fit_shares
from ..estimators.parameters import untouched_on_error
from ..estimators.partial_fit import why_rows_are_needed
from ..estimators.reading import sampler_settings
from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..measurements.columns import find_column
from ..measurements.messages import hinting
from .block_sums import SharesInBlocks, settle_weights, summarise
from .blocks import DaskTable, InTurn, Table, is_dask, is_frame

__all__ = ["fit", "predict", "predict_interval", "predict_quantiles"]


Array = NDArray[np.float64]

Regressor = TypeVar("Regressor", bound=BayesianErrorsInVariablesRegressor)


@hinting
def fit(
    estimator: Regressor,
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    y_err: Any = None,
    X_err: Any = None,
    X_cov: Any = None,
    Xy_cov: Any = None,
) -> Regressor:
    """Fit to a table that is larger than memory, or lies on many machines: what `fit` finds on all rows at once.

    Parameters
    ----------
    estimator : BayesianErrorsInVariablesRegressor
        It is fitted, and returned.
    X : dask Array or DataFrame; or batches
        Batches are any iterable, or a function without arguments that returns one: of data frames, of tuples
        ``(X, y)`` or ``(X, y, sample_weight)``, or of dicts of the arguments of the estimator's `fit`. One array or
        data frame in memory is one batch.
    y : dask Array or Series, array-like, or str, optional
        Target. A str names the column of X that holds it, where X is, or its batches are, data frames. None: batches
        bring it. An array in memory goes with a Dask array whose chunks are known, and travels.
    sample_weight, y_err : likewise, or float, optional
        As for the estimator's `fit`.
    X_err, X_cov, Xy_cov : array-like, optional
        Errors of the features, the same for all rows.

    Returns
    -------
    estimator

    Raises
    ------
    ValueError, TypeError
        As the estimator's `fit`, with a note that says in which block; as its `partial_fit`, for models and data that
        need all rows at once; where X, y and the others don't lie in blocks alike; where batches would have to be
        gone through again and can't be, or give other rows then. An earlier fit is left as it was.

    Warns
    -----
    UserWarning, ConvergenceWarning
        As the estimator's `fit`.

    Notes
    -----
    Blocks are compressed where they lie, and their states, of about (p + 2)^2 numbers, added up as a tree, (6). That
    takes one pass over the data. Errors at fitted shares (counts with ``count_error="fitted"``) take one to find the
    pooled share, one for the first fit and one per reweighting, of which two to four are usual; under
    ``noise="scaled"`` a second one per reweighting where shares vary more than their counts explain.

    What ``sample_weight`` is, the first block with rows settles, as the first batch of `partial_fit` does; rows of
    other blocks that speak against it are an error. Of a Dask collection this block is loaded once more.

    Tasks are pure: on a cluster, those of a worker that was lost are done again, with the same result.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed
    >>> X = np.arange(8.0)[:, None]
    >>> y = 2.0 * X[:, 0] + 1.0
    >>> batches = [(X[:3], y[:3]), (X[3:], y[3:])]
    >>> model = distributed.fit(BayesianErrorsInVariablesRegressor(noise="known"), batches, y_err=0.1)
    >>> model.coef_.round(2).tolist()
    [2.0]
    """
    if not isinstance(estimator, BayesianErrorsInVariablesRegressor):
        raise TypeError(
            f"distributed.fit takes a BayesianErrorsInVariablesRegressor, got {type(estimator).__name__}: what steps"
            " before it do, do to X (with Dask, by map_blocks or map_partitions)."
        )
    given = {
        "X": X, "y": y, "sample_weight": sample_weight, "y_err": y_err,
        "X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov,
    }  # fmt: skip
    with untouched_on_error(estimator):
        estimator._validate_params()
        reason = why_rows_are_needed(estimator, counted=False, of_features=None)
        if reason is not None:
            raise ValueError(f"Rows can't be added block by block: {reason}.")
        table: Table = DaskTable(given) if is_dask(X) else InTurn(given)
        model = clone(estimator)  # without what an earlier fit has left
        weights = settle_weights(model, table)
        if weights.fitted_errors and table.once:
            raise ValueError(
                "Errors at fitted shares take several passes over the batches, and X can be gone through but once:"
                " give a list, or a function that returns an iterator; or use count_error='observed'."
            )
        whole = table.total(partial(summarise, model, weights))
        if whole is None or whole.n_rows < 2:
            raise ValueError(
                "All blocks of X together have fewer than two rows that count: nothing can be fitted."
            )
        estimator.__dict__.pop("feature_names_in_", None)
        estimator.__dict__.update(whole.columns)
        if whole.seen is None:
            _fit_shares(estimator, SharesInBlocks(model, table, weights, whole))
        else:
            estimator._seen = whole.seen
            estimator._fit_seen(whole.seen)
    return estimator


def _fit_shares(estimator: BayesianErrorsInVariablesRegressor, shares: SharesInBlocks) -> None:
    """Fit to shares whose errors are taken at the fitted ones."""
    settings = sampler_settings(estimator)
    fitted = fit_shares(shares, shares.model, estimator.inference, settings)
    estimator._expose(fitted, shares.data, settings)
    reason = why_rows_are_needed(estimator, counted=True, of_features=None)
    estimator._seen = f"Rows can't be added batch by batch: {reason}."


def predict(
    estimator: Any,
    X: Any,
    return_std: bool = False,
    *,
    counts: Any = None,
    y_err: Any = None,
    exposure: Any = None,
    X_err: Any = None,
    X_cov: Any = None,
    include_noise: bool = True,
) -> Any:
    """Predict over a Dask collection, block by block, when asked for.

    Parameters
    ----------
    estimator : fitted regressor
    X : dask Array or DataFrame
    return_std : bool, default=False
        Whether standard deviations are wanted, too.
    counts, y_err, exposure : float, dask Array or Series, or str, optional
        As for the estimator's `predict`. A str names a column of X, where that is a frame.
    X_err, X_cov : array-like, optional
        As for the estimator's `predict`, the same for all rows.
    include_noise : bool, default=True
        As for the estimator's `predict`.

    Returns
    -------
    dask Array of shape (n,), or Series of X's index
        Nothing is computed yet. With ``return_std`` a tuple of two.

    Raises
    ------
    TypeError
        Where X is no Dask collection: the estimator's own `predict` is for that.

    Examples
    --------
    >>> import dask.array as da
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed
    >>> X = da.arange(10.0, chunks=4)[:, None]
    >>> model = distributed.fit(BayesianErrorsInVariablesRegressor(noise="known"), X, 2.0 * X[:, 0], y_err=0.1)
    >>> mean, std = distributed.predict(model, X, return_std=True)
    >>> mean[-1].compute().round(1).item()
    18.0
    """
    given = {"X_err": X_err, "X_cov": X_cov, "include_noise": include_noise}
    columns = ["y_pred", "std"] if return_std else ["y_pred"]
    if return_std:
        given["return_std"] = True
    by_row = {"counts": counts, "y_err": y_err, "exposure": exposure}
    found = _mapped(estimator, "predict", columns, X, by_row, given)
    parts = tuple(found[name] if hasattr(found, "columns") else found[:, i] for i, name in enumerate(columns))
    return parts if return_std else parts[0]


def predict_interval(
    estimator: Any,
    X: Any,
    coverage: float = 0.95,
    *,
    counts: Any = None,
    y_err: Any = None,
    exposure: Any = None,
    X_err: Any = None,
    X_cov: Any = None,
    include_noise: bool = True,
) -> Any:
    """Predict equal-tailed intervals over a Dask collection, block by block, when asked for.

    Parameters
    ----------
    estimator : fitted BayesianErrorsInVariablesRegressor
    X, counts, y_err, exposure, X_err, X_cov, include_noise
        As for `predict`.
    coverage : float, default=0.95

    Returns
    -------
    dask Array of shape (n, 2), or DataFrame with the columns "lower" and "upper"
        Nothing is computed yet.

    Raises
    ------
    TypeError
        As `predict`.

    Examples
    --------
    >>> import dask.array as da
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed
    >>> X = da.arange(10.0, chunks=4)[:, None]
    >>> model = distributed.fit(BayesianErrorsInVariablesRegressor(noise="known"), X, 2.0 * X[:, 0], y_err=0.1)
    >>> distributed.predict_interval(model, X)[-1].compute().round(1)
    array([17.8, 18.2])
    """
    given = {"coverage": coverage, "X_err": X_err, "X_cov": X_cov, "include_noise": include_noise}
    by_row = {"counts": counts, "y_err": y_err, "exposure": exposure}
    return _mapped(estimator, "predict_interval", ["lower", "upper"], X, by_row, given)


def predict_quantiles(
    estimator: Any,
    X: Any,
    quantiles: Any = (0.05, 0.5, 0.95),
    *,
    counts: Any = None,
    y_err: Any = None,
    exposure: Any = None,
    X_err: Any = None,
    X_cov: Any = None,
    include_noise: bool = True,
) -> Any:
    """Predict quantiles over a Dask collection, block by block, when asked for.

    Parameters
    ----------
    estimator : fitted BayesianErrorsInVariablesRegressor
    X, counts, y_err, exposure, X_err, X_cov, include_noise
        As for `predict`.
    quantiles : array-like of shape (q,), default=(0.05, 0.5, 0.95)

    Returns
    -------
    dask Array of shape (n, q), or DataFrame with the quantiles for column names
        Nothing is computed yet.

    Raises
    ------
    TypeError
        As `predict`.

    Examples
    --------
    >>> import dask.array as da
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed
    >>> X = da.arange(10.0, chunks=4)[:, None]
    >>> model = distributed.fit(BayesianErrorsInVariablesRegressor(noise="known"), X, 2.0 * X[:, 0], y_err=0.1)
    >>> distributed.predict_quantiles(model, X, [0.1, 0.5, 0.9])[-1].compute().round(1)
    array([17.9, 18. , 18.1])
    """
    given = {"quantiles": quantiles, "X_err": X_err, "X_cov": X_cov, "include_noise": include_noise}
    columns = [f"{quantile:g}" for quantile in np.ravel(quantiles)]
    by_row = {"counts": counts, "y_err": y_err, "exposure": exposure}
    return _mapped(estimator, "predict_quantiles", columns, X, by_row, given)


def _mapped(
    estimator: Any,
    method: str,
    columns: list[str],
    X: Any,
    by_row: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Any:
    """Return a Dask collection of what a method says of every block."""
    check_is_fitted(estimator)
    if not hasattr(estimator, method):
        raise TypeError(f"{type(estimator).__name__} has no {method}.")
    if not is_dask(X):
        raise TypeError(
            f"X must be a Dask array or data frame, got {type(X).__name__}: use the estimator's {method}."
        )
    for name, value in given.items():
        if is_dask(value):
            raise TypeError(
                f"{name} must be the same for all rows, in memory. Errors of features that differ from row to row go"
                " into columns of X: fit with error_columns."
            )
    rows, constant = {}, {name: value for name, value in given.items() if value is not None}
    for name, value in by_row.items():
        if is_dask(value) and is_frame(value) == is_frame(X):
            rows[name] = value
        elif isinstance(value, str):
            names = list(X.columns) if is_frame(X) else []
            find_column(value, names or None, len(names), name)
            constant[name] = value
        elif value is not None and np.ndim(value) == 0:
            constant[name] = value
        elif value is not None:
            kinds = "a Dask Series, the name of a column of X" if is_frame(X) else "a Dask array"
            raise TypeError(f"{name} must be {kinds} or one number for all rows, got {type(value).__name__}.")
    predicted = partial(_predicted, estimator, method, columns, list(rows), constant)
    if is_frame(X):
        import pandas as pd

        meta = pd.DataFrame({name: pd.Series(dtype=np.float64) for name in columns})
        return X.map_partitions(predicted, *rows.values(), meta=meta)
    from dask.array.blockwise import blockwise

    arguments = [part for value in rows.values() for part in (value, "i")]
    return blockwise(
        predicted,
        "ij",
        X.rechunk({1: -1}),
        "ik",
        *arguments,
        new_axes={"j": len(columns)},
        concatenate=True,
        dtype=np.float64,
        meta=np.empty((0, 0)),
    )


def _predicted(
    estimator: Any,
    method: str,
    columns: list[str],
    names: list[str],
    constant: Mapping[str, Any],
    X: Any,
    *by_row: Any,
) -> Any:
    """Return what a method says of a block, (n, columns), as a frame where X is one."""
    given = {**constant, **dict(zip(names, by_row, strict=True))}
    index = getattr(X, "index", None)
    own = {name: value for name, value in given.items() if isinstance(value, str)}
    if own:
        given |= {name: np.asarray(X[column]) for name, column in own.items()}
        X = X[[name for name in X.columns if name not in own.values()]]
    if len(X):
        found = getattr(estimator, method)(X, **given)
        values = np.column_stack(found) if isinstance(found, tuple) else np.asarray(found).reshape(len(X), -1)
    else:
        values = np.empty((0, len(columns)))
    if index is None:
        return values
    import pandas as pd

    return pd.DataFrame(values, columns=columns, index=index)
