"""Powers and products of exact features, and why there are none of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, combinations_with_replacement
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measurements.checks import check_flag
from ..measurements.columns import Columns, find_column
from ..measurements.messages import shown
from .base import MeasuredTransformer, check_finite, places_of

__all__ = ["MeasuredPolynomial"]

Array = NDArray[np.float64]


class MeasuredPolynomial(MeasuredTransformer):
    """Powers and products of exact features beside features with errors, of which it makes none.

    A curve in a feature with errors takes more than an error for each power. The square of a reading is in the mean
    too large by its squared error, and its error follows from the feature's; where the feature is normal, as the
    regressor takes true features to be, its square is not. With errors of first order the coefficients of both stay
    wrong. So powers and products of features with errors are refused. One function of a feature in its place is
    another thing (`MeasuredFunction`), and so is the ratio of two (`MeasuredPair`): each has one slope.

    Parameters
    ----------
    degree : int, default=2
        The highest degree.
    interaction_only : bool, default=False
        Whether there are products of different features alone.
    features : list of str or int, default=None
        Of which features there are powers and products; None: of all, none of which may then have errors.
    error_columns : dict or str, default=None
        Columns of X that hold the features' standard errors, as of `BayesianErrorsInVariablesRegressor`; None: none.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where all are strings.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayes_sklearn.preprocessing import MeasuredPolynomial
    >>> rows = pd.DataFrame({"age": [2.0, 3.0], "dose": [1.1, 0.9], "dose_err": [0.1, 0.1]})
    >>> curve = MeasuredPolynomial(2, features=["age"], error_columns="_err").set_output(transform="pandas")
    >>> curve.fit_transform(rows)
       age  dose  dose_err  age^2
    0  2.0   1.1       0.1    4.0
    1  3.0   0.9       0.1    9.0
    """

    def __init__(
        self,
        degree: int = 2,
        *,
        interaction_only: bool = False,
        features: Sequence[str | int] | None = None,
        error_columns: Mapping[Any, Any] | str | None = None,
    ):
        self.degree = degree
        self.interaction_only = interaction_only
        self.features = features
        self.error_columns = error_columns

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find the columns.

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
            For bad input, naming the argument; where powers or products would be of a feature with errors.

        Examples
        --------
        >>> from bayes_sklearn.preprocessing import MeasuredPolynomial
        >>> MeasuredPolynomial(degree=2).fit([[1.0, 2.0], [3.0, 4.0]]).n_features_in_
        2
        """
        if not isinstance(self.degree, Integral) or isinstance(self.degree, bool) or self.degree < 1:
            raise ValueError(f"degree must be a positive whole number, got {shown(self.degree)}.")
        check_flag(self.interaction_only, "interaction_only")
        _, columns = self._read(X, reset=True)
        self._terms(columns)
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Return the columns of X, and powers and products behind them.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Features and their errors, as in fit.

        Returns
        -------
        ndarray of shape (n, k_out)
            A frame where `set_output` says so.

        Raises
        ------
        ValueError, TypeError
            For bad input; where a power or product is not finite.

        Examples
        --------
        >>> from bayes_sklearn.preprocessing import MeasuredPolynomial
        >>> MeasuredPolynomial(degree=2).fit([[1.0, 2.0], [3.0, 4.0]]).transform([[3.0, 4.0]])
        array([[ 3.,  4.,  9., 12., 16.]])
        """
        table, columns = self._read(X)
        found = []
        with np.errstate(all="ignore"):
            for term in self._terms(columns):
                found.append(np.prod(table[:, term], axis=1))
                check_finite(
                    found[-1], table[:, term].sum(axis=1), columns.names[term[0]], "a power or product"
                )
        return np.column_stack([table, *found])

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Return the names of the columns that `transform` returns, in scikit-learn's manner.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns of X, where these have none.

        Returns
        -------
        ndarray of shape (k_out,)

        Examples
        --------
        >>> from bayes_sklearn.preprocessing import MeasuredPolynomial
        >>> MeasuredPolynomial(degree=2).fit([[1.0, 2.0], [3.0, 4.0]]).get_feature_names_out()
        array(['x0', 'x1', 'x0^2', 'x0 x1', 'x1^2'], dtype=object)
        """
        labels = self._labels(input_features)
        names = list(labels)
        for term in self._terms(self._columns(len(labels))):
            times = {place: term.count(place) for place in term}
            names.append(" ".join(labels[i] + (f"^{k}" if k > 1 else "") for i, k in times.items()))
        return np.array(names, dtype=object)

    def _terms(self, columns: Columns) -> list[list[int]]:
        """Return the positions of the features that make up each power or product."""
        if self.features is None:
            every = range(len(columns.names)) if columns.features is None else columns.features
            places = [int(place) for place in every]
        elif isinstance(self.features, str) or not isinstance(self.features, Sequence):
            raise TypeError(f"features must be a list of columns, got {shown(self.features)}.")
        else:
            places = sorted(places_of(self.features, columns, "features", find_column))
        noisy = [place for place in places if place in columns.errors]
        if noisy and self.degree > 1:
            name = shown(columns.names[noisy[0]])
            raise ValueError(
                f"{name} has errors ({shown(columns.names[columns.errors[noisy[0]]])}), and powers and products of it"
                " are refused: their errors follow from its own, and first-order ones would leave slopes wrong. Name"
                f" exact features (features=[...]), or put one function in the place of {name} (MeasuredFunction)."
            )
        of = combinations if self.interaction_only else combinations_with_replacement
        return [list(term) for k in range(2, int(self.degree) + 1) for term in of(places, k)]
