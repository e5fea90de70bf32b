"""Predictions of a fitted model along one feature, as the user knows it, whatever steps come before the model."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.utils.validation import check_is_fitted

from ...measurements.columns import Columns, find_column
from ...measurements.messages import shown
from ...prediction.distribution import PredictiveDistribution
from ...prediction.inverse.distribution import Prior
from ...prediction.of_estimators import final_regressor

__all__ = ["Along"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


class Along:
    """Predictions along a feature.

    Parameters
    ----------
    estimator : fitted BayesianErrorsInVariablesRegressor, or Pipeline or search that ends in one
    feature : str or int, optional
        The column of X; None: its only one.
    X : array-like of shape (n, k) or (1, k), optional
        The other columns, of n samples or of all.
    n : int
        How many samples there are.

    Raises
    ------
    ValueError, TypeError
        Naming the argument.
    """

    def __init__(self, estimator: Any, feature: Any = None, X: Any = None, n: int = 1):
        check_is_fitted(estimator)
        self._estimator = estimator
        self._template, self._place, self.name = _template(estimator, feature, X, n)
        regressor = final_regressor(estimator, self._rows(np.ones(1), np.zeros(1, dtype=np.intp)))[0]
        if not hasattr(regressor, "_fitted"):
            raise TypeError(
                "A BayesianErrorsInVariablesRegressor is read backwards, or a Pipeline or search with one at its end,"
                f" got {type(estimator).__name__}."
            )
        self.regressor = regressor

    def predictive(self, x: Array, sample: Index, **given: Any) -> PredictiveDistribution:
        """Return the distribution of new readings of samples whose feature is x; `given` as for `predict`."""
        return self.regressor.predict_distribution(self._moved(x, sample), **given, **self._true)

    @cached_property
    def _affine(self) -> tuple[NDArray[np.bool_], Array, Array]:
        """Which of the regressor's features change with this one, and of affine ones slope and value at 0."""
        places = np.array([1.0, 2.0, 4.0, 3.0])
        table = self._table_of(places, np.zeros(4, dtype=np.intp))
        values, columns = np.asarray(table, dtype=object), self.regressor._fitted.columns
        features = np.arange(values.shape[1]) if columns.features is None else columns.features
        found = values[:, features].astype(np.float64)
        slope = found[1] - found[0]
        start = found[0] - slope
        straight = np.abs(start + places[:, None] * slope - found).max(axis=0) <= 1e-9 * np.abs(found).max(
            axis=0
        )
        return np.ptp(found, axis=0) > 0.0, np.where(straight, slope, 0.0), start

    @cached_property
    def default_prior(self) -> Prior:
        """Student's t: what the training rows say of a further one, were all of them normal."""
        _, slope, start = self._affine
        straight = np.flatnonzero(slope)
        if not len(straight):
            raise ValueError(
                f"prior: what the steps before the regressor make of {self.name!r} does not tell how it was spread in"
                " fit. Give what is known of it, such as prior=scipy.stats.norm(mean, sd)."
            )
        own, fitted = int(straight[0]), self.regressor._fitted
        mean, sd = fitted.spread[:, own]
        if fitted.attenuation is not None:
            sd = sd * np.sqrt(fitted.attenuation.reliability[own])
        n = max(fitted.n_rows, 2)
        scale = sd * np.sqrt((n + 1.0) / (n - 1.0))
        return stats.t(n - 1.0, (mean - start[own]) / slope[own], scale / abs(slope[own]))

    @property
    def spread(self) -> float:
        """About how widely the training rows were spread."""
        low, high = (float(self.default_prior.ppf(q)) for q in (0.158655, 0.841345))
        return 0.5 * (high - low)

    @cached_property
    def _true(self) -> dict[str, Any]:
        """What says that the feature is the true one, where it had errors in fit; others are measured as then."""
        fitted = self.regressor._fitted
        typical = fitted.typical_errors
        if typical is None or fitted.columns.errors:
            return {}
        covariance = np.zeros((len(fitted.columns.feature_names),) * 2)
        covariance[np.ix_(typical.noisy, typical.noisy)] = typical.finite
        changes = self._affine[0]
        covariance[changes], covariance[:, changes] = 0.0, 0.0
        return {"X_cov": covariance}

    def _moved(self, x: Array, sample: Index) -> Any:
        """Return what the regressor gets of samples whose feature is x; columns of its errors are zero."""
        table, columns = self._table_of(x, sample), self.regressor._fitted.columns
        if not columns.errors:
            return table
        features = np.arange(len(columns.names)) if columns.features is None else columns.features
        true = set(features[self._affine[0]].tolist())
        known = [error for feature, error in columns.errors.items() if feature in true]
        known += [held for first, second, held in columns.covariances if {first, second} & true]
        for column in known:
            table = _with_column(table, column, 0.0)
        return table

    def _table_of(self, x: Array, sample: Index) -> Any:
        return final_regressor(self._estimator, self._rows(x, sample))[1]

    def _rows(self, x: Array, sample: Index) -> Any:
        own = np.zeros_like(sample) if len(self._template) == 1 else sample
        rows = self._template.iloc[own] if hasattr(self._template, "iloc") else self._template[own]
        return _with_column(rows, self._place, x)


def _with_column(table: Any, place: int, values: Any) -> Any:
    """Return a copy of a table with other values in a column."""
    if hasattr(table, "iloc"):
        table = table.copy(deep=False)
        table.isetitem(place, values)
        return table
    table = np.array(table)
    table[:, place] = values
    return table


def _template(estimator: Any, feature: Any, X: Any, n: int) -> tuple[Any, int, str]:
    """Return a table with a row for each sample, or one for all; the feature's place in it, and its name."""
    names, n_columns = getattr(estimator, "feature_names_in_", None), int(estimator.n_features_in_)
    known = None if names is None else [str(name) for name in names]
    columns = Columns.of({}, names, n_columns)
    if feature is None:
        if n_columns > 1:
            raise ValueError(
                f"feature: the model has the columns {shown(columns.names.tolist())}: say which of them is looked"
                " for, and give the others in X."
            )
        place = 0
    else:
        place = find_column(feature, known, n_columns, "feature")
    name = str(columns.names[place])
    if X is None:
        if n_columns > 1:
            raise ValueError(
                f"X: the model has other columns than {name!r}: give them in X, a row for each sample."
            )
        table: Any = np.zeros((1, 1))
        if names is not None:
            import pandas as pd

            table = pd.DataFrame(table, columns=list(names))
        return table, place, name
    if hasattr(X, "iloc"):
        table = X if known is None or name in map(str, X.columns) else X.assign(**{name: 0.0})
        if known is not None and sorted(known) == sorted(map(str, table.columns)):
            table = table[[*names]] if names is not None else table
    else:
        table = np.asarray(X)
        if table.ndim != 2:
            raise ValueError(f"X must have two dimensions, a row for each sample, got shape {table.shape}.")
    if len(table) not in (1, n):
        raise ValueError(
            f"X has {len(table)} rows, and y has {n}: give a row for each sample, or one for all."
        )
    return table, place, name
