"""Ratios and differences of two features, and how their errors go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measurements.columns import Columns, find_column
from ..measurements.messages import shown, warn
from .base import CURVED, MeasuredTransformer, check_finite, places_of

__all__ = ["MeasuredPair"]

Array = NDArray[np.float64]


class MeasuredPair(MeasuredTransformer):
    """The ratio or difference of two features in their place, with its error.

    The ratio's squared error is ``(s_a**2 + r**2 s_b**2 - 2 r c) / b**2``, r being a / b and c the covariance of the
    errors of a and b, 0 unless ``error_columns`` names a column of it; the difference's is ``s_a**2 + s_b**2 - 2 c``.

    Parameters
    ----------
    kind : {"ratio", "difference"}, default="ratio"
        The first of the features by the second, or less it.
    features : tuple of two str or int, default=(0, 1)
        Names or positions of columns of X.
    keep : {"first", "second"} or None, default=None
        Which of the two is a feature still. Its error is correlated with that of the ratio or difference: their
        covariance is a column, and the next step needs it in ``error_columns``. Both can't be kept: one of
        the three follows from the others.
    name : str, default=None
        What the ratio or difference is called; None: "a/b" or "a-b" of features a and b.
    error_suffix, covariance_suffix : str, default="_err" and "_cov"
        What is put behind this name for its error and for the covariance with the feature that is kept.
    error_columns : dict or str, default=None
        Columns of X that hold the features' standard errors, as of `BayesianErrorsInVariablesRegressor`; None: none.

    Attributes
    ----------
    error_columns_ : dict of str to str or tuple
        What the columns that are returned hold of errors, as ``error_columns`` of what follows.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where all are strings.

    Notes
    -----
    The order of columns is: the ratio, its error, the feature that is kept, its error, the covariance; and then the
    other columns of X, as they are. Errors are those of first order; that of a ratio warns where the error of its
    denominator is more than a tenth of it.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayes_sklearn.preprocessing import MeasuredPair
    >>> rows = pd.DataFrame({"lead": [2.0, 4.0], "zinc": [4.0, 5.0], "lead_err": [0.1, 0.1], "zinc_err": [0.1, 0.2]})
    >>> ratio = MeasuredPair("ratio", ("lead", "zinc"), keep="second", error_columns="_err")
    >>> ratio.set_output(transform="pandas").fit_transform(rows).round(3)
       lead/zinc  lead/zinc_err  zinc  zinc_err  lead/zinc_cov
    0        0.5          0.028   4.0       0.1         -0.001
    1        0.8          0.038   5.0       0.2         -0.006
    >>> ratio.error_columns_
    {'lead/zinc': 'lead/zinc_err', 'zinc': 'zinc_err', 'lead/zinc_cov': ('lead/zinc', 'zinc')}
    """

    def __init__(
        self,
        kind: str = "ratio",
        features: tuple[str | int, str | int] = (0, 1),
        *,
        keep: str | None = None,
        name: str | None = None,
        error_suffix: str = "_err",
        covariance_suffix: str = "_cov",
        error_columns: Mapping[Any, Any] | str | None = None,
    ):
        self.kind = kind
        self.features = features
        self.keep = keep
        self.name = name
        self.error_suffix = error_suffix
        self.covariance_suffix = covariance_suffix
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
            For bad input, naming the argument.

        Examples
        --------
        >>> import pandas as pd
        >>> from bayes_sklearn.preprocessing import MeasuredPair
        >>> fluxes = pd.DataFrame({"blue": [2.0, 4.0], "blue_err": 0.1, "red": [1.0, 5.0], "red_err": [0.05, 0.1]})
        >>> MeasuredPair("ratio", ["blue", "red"], error_columns="_err").fit(fluxes).n_features_in_
        4
        """
        for argument, allowed in (("kind", ("ratio", "difference")), ("keep", ("first", "second", None))):
            if getattr(self, argument) not in allowed:
                raise ValueError(
                    f"{argument} must be one of {', '.join(map(str, allowed))}, got {shown(getattr(self, argument))}."
                )
        _, columns = self._read(X, reset=True)
        self._pair(columns)
        names = self.get_feature_names_out().tolist()
        old = [str(name) for name in columns.names]
        pairs: dict[str, Any] = {}
        new, errors, kept = names[0], self._errors(columns), self._kept(columns)
        if errors:
            pairs[new] = names[1]
        if kept is not None and kept in columns.errors:
            pairs[old[kept]] = old[columns.errors[kept]]
            pairs[names[4]] = (new, old[kept])
        others = self._others(columns)
        pairs |= {old[i]: old[place] for i, place in columns.errors.items() if i in others}
        pairs |= {old[k]: (old[i], old[j]) for i, j, k in columns.covariances if k in others}
        self.error_columns_ = pairs
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Return the ratio or difference, its error, and the other columns.

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
            For bad input; where a denominator is 0.

        Warns
        -----
        UserWarning
            Where errors of denominators are large.

        Examples
        --------
        >>> import pandas as pd
        >>> from bayes_sklearn.preprocessing import MeasuredPair
        >>> fluxes = pd.DataFrame({"blue": [2.0, 4.0], "blue_err": 0.1, "red": [1.0, 5.0], "red_err": [0.05, 0.1]})
        >>> MeasuredPair("difference", ["blue", "red"], error_columns="_err").fit(fluxes).transform(fluxes).round(2)
        array([[ 1.  ,  0.11],
               [-1.  ,  0.14]])
        """
        table, columns = self._read(X)
        first, second = self._pair(columns)
        a, b = table[:, first], table[:, second]
        with np.errstate(all="ignore"):
            if self.kind == "difference":
                value, slopes = a - b, (np.ones_like(a), -np.ones_like(b))
            else:
                value = a / b
                slopes = (1.0 / b, -value / b)
        check_finite(value, np.where(np.isnan(a), a, b), columns.names[second], "a ratio to one")
        errors, kept = self._errors(columns), self._kept(columns)
        found = [value]
        if errors:
            s = [
                table[:, columns.errors[i]] if i in columns.errors else np.zeros_like(a)
                for i in (first, second)
            ]
            shared = np.zeros_like(a)
            for i, j, place in columns.covariances:
                if {i, j} == {first, second}:
                    shared = table[:, place]
            if self.kind == "ratio":
                self._warn_of_curvature(b, s[1], columns.names[second])
            variance = (
                np.square(slopes[0] * s[0])
                + np.square(slopes[1] * s[1])
                + 2.0 * slopes[0] * slopes[1] * shared
            )
            if (variance < -1e-8 * (np.square(slopes[0] * s[0]) + np.square(slopes[1] * s[1]))).any():
                raise ValueError(
                    "X: the covariance of the errors of"
                    f" {shown(columns.names[[first, second]].tolist())} is more than the product of the errors."
                )
            found.append(np.sqrt(np.maximum(variance, 0.0)))
        if kept is not None:
            found.append(table[:, kept])
            if kept in columns.errors:
                own = 0 if kept == first else 1
                found.append(table[:, columns.errors[kept]])
                found.append(slopes[own] * np.square(s[own]) + slopes[1 - own] * shared)
        return np.column_stack([*found, table[:, self._others(columns)]])

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns of X, where these have none.

        Returns
        -------
        ndarray of shape (k_out,)

        Raises
        ------
        ValueError
            Where two would be the same.

        Examples
        --------
        >>> import pandas as pd
        >>> from bayes_sklearn.preprocessing import MeasuredPair
        >>> fluxes = pd.DataFrame({"blue": [2.0, 4.0], "blue_err": 0.1, "red": [1.0, 5.0], "red_err": [0.05, 0.1]})
        >>> MeasuredPair("ratio", ["blue", "red"], error_columns="_err").fit(fluxes).get_feature_names_out()
        array(['blue/red', 'blue/red_err'], dtype=object)
        """
        labels = self._labels(input_features)
        columns = self._columns(len(labels))
        new, kept = self._name(columns), self._kept(columns)
        names = [new]
        if self._errors(columns):
            names.append(f"{new}{self.error_suffix}")
        if kept is not None:
            names.append(labels[kept])
            if kept in columns.errors:
                names += [labels[columns.errors[kept]], f"{new}{self.covariance_suffix}"]
        names += [labels[place] for place in self._others(columns)]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"Two columns would be called {shown(twice[0])}: give another name, or suffix.")
        return np.array(names, dtype=object)

    def _pair(self, columns: Columns) -> tuple[int, int]:
        """Return the positions of the two features."""
        if len(columns.names) < 2:
            raise ValueError("X has n_features = 1, and a ratio or difference is of two features.")
        if not isinstance(self.features, tuple | list) or len(self.features) != 2:
            raise ValueError(f"features must be two columns of X, got {shown(self.features)}.")
        first, second = places_of(self.features, columns, "features", find_column)
        for i, j, place in columns.covariances:
            if len({i, j} & {first, second}) == 1:
                raise ValueError(
                    f"error_columns: {shown(columns.names[place])} holds a covariance with a third feature's errors,"
                    " which is not carried along. Give X_cov to fit, of features that are pairs already."
                )
        return first, second

    def _errors(self, columns: Columns) -> bool:
        """Whether one of the two has errors."""
        return any(place in columns.errors for place in self._pair(columns))

    def _kept(self, columns: Columns) -> int | None:
        return None if self.keep is None else self._pair(columns)[0 if self.keep == "first" else 1]

    def _others(self, columns: Columns) -> list[int]:
        """Return the positions of columns that are passed through."""
        pair = self._pair(columns)
        taken = {*pair, *(columns.errors[i] for i in pair if i in columns.errors)}
        taken |= {place for i, _, place in columns.covariances if i in pair}
        return [place for place in range(len(columns.names)) if place not in taken]

    def _name(self, columns: Columns) -> str:
        first, second = self._pair(columns)
        sign = "/" if self.kind == "ratio" else "-"
        return f"{columns.names[first]}{sign}{columns.names[second]}" if self.name is None else str(self.name)

    def _warn_of_curvature(self, b: Array, error: Array, name: object) -> None:
        curved = error > CURVED * np.abs(b)
        if curved.any():
            warn(
                f"The errors of {shown(name)}, a denominator, are more than a tenth of it in {int(curved.sum())} of"
                f" {len(b)} rows, first in row {int(np.argmax(curved))}: errors of ratios are skewed there, and"
                " larger than stated. Leave these rows out, make their cells NaN (not measured), or use a difference"
                " of logarithms."
            )
