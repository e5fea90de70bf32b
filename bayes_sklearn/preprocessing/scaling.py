"""Features of mean 0 and standard deviation 1, and their errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measurements.checks import check_flag
from .base import OneToOneTransformer

__all__ = ["MeasuredScaler"]

Array = NDArray[np.float64]


class MeasuredScaler(OneToOneTransformer):
    """Features less their mean, by their standard deviation; errors are divided by it, and not centred.

    The regressor needs no scaler (``standardize=True``): this is for estimators beside it that do, and for what
    stands between. Standard deviations are those of what was measured, errors included.

    Parameters
    ----------
    with_mean : bool, default=True
        Whether features are centred.
    with_std : bool, default=True
        Whether features are scaled; one that is constant is not.
    error_columns : dict or str, default=None
        Columns of X that hold the features' standard errors, as of `BayesianErrorsInVariablesRegressor`; None: none.

    Attributes
    ----------
    mean_ : ndarray of shape (`n_features_in_`,)
        What is taken off each column: 0 of errors.
    scale_ : ndarray of shape (`n_features_in_`,)
        What each column is divided by: an error's is its feature's, a covariance's the product of both.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where all are strings.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.preprocessing import MeasuredScaler
    >>> dose = np.array([[1.0, 0.2], [3.0, 0.2], [5.0, 0.4]])  # and its error
    >>> MeasuredScaler(error_columns={0: 1}).fit_transform(dose).round(2)
    array([[-1.22,  0.12],
           [ 0.  ,  0.12],
           [ 1.22,  0.24]])
    """

    def __init__(
        self,
        *,
        with_mean: bool = True,
        with_std: bool = True,
        error_columns: Mapping[Any, Any] | str | None = None,
    ):
        self.with_mean = with_mean
        self.with_std = with_std
        self.error_columns = error_columns

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find means and standard deviations, of what was measured.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Features and their errors.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn.preprocessing import MeasuredScaler
        >>> MeasuredScaler(error_columns={0: 1}).fit([[1.0, 0.1], [3.0, 0.2]]).n_features_in_
        2
        """
        centred, scaled = check_flag(self.with_mean, "with_mean"), check_flag(self.with_std, "with_std")
        table, columns = self._read(X, reset=True)
        mean, scale = np.zeros(table.shape[1]), np.ones(table.shape[1])
        for place in range(table.shape[1]) if columns.features is None else columns.features:
            values = table[~np.isnan(table[:, place]), place]
            if not len(values):
                continue
            mean[place] = values.mean() if centred else 0.0
            spread = values.std()
            # What rounding leaves of a constant is no spread.
            varies = spread > 10.0 * np.finfo(np.float64).eps * np.abs(values).max()
            scale[place] = spread if scaled and varies else 1.0
        for feature, place in columns.errors.items():
            scale[place] = scale[feature]
        for first, second, place in columns.covariances:
            scale[place] = scale[first] * scale[second]
        self.mean_, self.scale_ = mean, scale
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Return features centred and scaled, and errors scaled.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Features and their errors, as in fit.

        Returns
        -------
        ndarray of shape (n, k)
            A frame where `set_output` says so.

        Raises
        ------
        ValueError, TypeError
            For bad input.

        Examples
        --------
        >>> from bayes_sklearn.preprocessing import MeasuredScaler
        >>> scaler = MeasuredScaler(error_columns={0: 1}).fit([[1.0, 0.1], [5.0, 0.2]])
        >>> scaler.transform([[5.0, 0.2]])  # mean 3, standard deviation 2
        array([[1. , 0.1]])
        """
        table, _ = self._read(X)
        return (table - self.mean_) / self.scale_

    def inverse_transform(self, X: ArrayLike) -> Array:
        """Return features and errors in their own units.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Columns as `transform` returns them.

        Returns
        -------
        ndarray of shape (n, k)

        Raises
        ------
        ValueError, TypeError
            For bad input.

        Examples
        --------
        >>> from bayes_sklearn.preprocessing import MeasuredScaler
        >>> scaler = MeasuredScaler(error_columns={0: 1}).fit([[1.0, 0.1], [5.0, 0.2]])
        >>> scaler.inverse_transform([[1.0, 0.1]])
        array([[5. , 0.2]])
        """
        table, _ = self._read(X)
        return table * self.scale_ + self.mean_
