"""Functions of features, whose errors they carry along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.utils.metaestimators import available_if

from ..measurements.columns import Columns
from ..measurements.messages import shown, warn
from .base import CURVED, OneToOneTransformer, check_finite

__all__ = ["MeasuredFunction"]

Array = NDArray[np.float64]


class _Function(NamedTuple):
    """A function of one number."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    inverse: Callable[[Array], Array]
    domain: tuple[float, float] = (0.0, np.inf)
    """Beyond this there is none."""


_ALL = (-np.inf, np.inf)


_NAMED: dict[str, _Function] = {
    "log": _Function(np.log, lambda x: 1.0 / x, np.exp),
    "log10": _Function(np.log10, lambda x: 1.0 / (x * np.log(10.0)), lambda z: np.power(10.0, z)),
    "sqrt": _Function(np.sqrt, lambda x: 0.5 / np.sqrt(x), np.square),
    "reciprocal": _Function(lambda x: 1.0 / x, lambda x: -1.0 / np.square(x), lambda z: 1.0 / z, _ALL),
    "logit": _Function(logit, lambda x: 1.0 / (x * (1.0 - x)), expit, (0.0, 1.0)),
}


def _power(exponent: float) -> _Function:
    return _Function(
        lambda x: np.power(x, exponent),
        lambda x: exponent * np.power(x, exponent - 1.0),
        lambda z: np.sign(z) * np.power(np.abs(z), 1.0 / exponent),
        _ALL if exponent == round(exponent) else (0.0, np.inf),
    )


def _features(columns: Columns) -> list[int]:
    """Return the positions of the features."""
    return list(range(len(columns.names))) if columns.features is None else columns.features.tolist()


def _carried(table: Array, columns: Columns, slopes: Mapping[int, Array]) -> Array:
    """Return the table with errors and covariances multiplied by slopes."""
    with np.errstate(all="ignore"):
        for first, second, place in columns.covariances:
            shared = table[:, place]
            table[:, place] = np.where(shared == 0.0, 0.0, slopes[first] * slopes[second] * shared)
        for feature, place in columns.errors.items():
            error = np.where(np.isnan(table[:, feature]), np.nan, table[:, place])
            table[:, place] = np.where(error == 0.0, 0.0, np.abs(slopes[feature]) * error)
            check_finite(table[:, place], error, columns.names[place], "the function's error at one")
    return table


def _has_inverse(transformer: MeasuredFunction) -> bool:
    return not callable(transformer.function) or transformer.inverse is not None


class MeasuredFunction(OneToOneTransformer):
    """A function of every feature, by whose slope their errors are multiplied.

    Columns keep their places and names: those of features have the function's values, those of errors its slope's
    magnitude at what was measured times the error, and those of covariances both slopes times the covariance. In a
    ``ColumnTransformer`` it takes a feature and its error together.

    Parameters
    ----------
    function : {"log", "log10", "sqrt", "power", "logit", "reciprocal"} or callable, default="log"
        A callable takes an array and returns one of the same shape.
    exponent : float, default=None
        Of the power: asked for with "power", and not 0.
    derivative : callable, default=None
        Of a function of one's own: asked for where features have errors.
    inverse : callable, default=None
        Of a function of one's own, for `inverse_transform`.
    error_columns : dict or str, default=None
        Columns of X that hold the features' standard errors, as of `BayesianErrorsInVariablesRegressor`; None: none.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where all are strings.

    Notes
    -----
    The error is that of first order (JCGM 100:2008, 5.1.2). `transform` warns where the next order is more than a
    tenth of it, ``|f''(x)| s / (2 |f'(x)|) > 0.1``: of logarithms, where errors are a fifth of the value and more.
    The function's error is then skewed, and its mean is not at zero.

    Examples
    --------
    >>> import pandas as pd
    >>> from bayes_sklearn.preprocessing import MeasuredFunction
    >>> stars = pd.DataFrame({"mass": [1.0, 10.0], "mass_err": [0.1, 0.5]})
    >>> logs = MeasuredFunction("log10", error_columns="_err").set_output(transform="pandas")
    >>> logs.fit_transform(stars).round(3)
       mass  mass_err
    0   0.0     0.043
    1   1.0     0.022
    """

    def __init__(
        self,
        function: str | Callable[[Array], Array] = "log",
        *,
        exponent: float | None = None,
        derivative: Callable[[Array], Array] | None = None,
        inverse: Callable[[Array], Array] | None = None,
        error_columns: Mapping[Any, Any] | str | None = None,
    ):
        self.function = function
        self.exponent = exponent
        self.derivative = derivative
        self.inverse = inverse
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
        >>> from bayes_sklearn.preprocessing import MeasuredFunction
        >>> stars = pd.DataFrame({"mass": [1.0, 10.0], "mass_err": [0.1, 0.5]})
        >>> MeasuredFunction("log10", error_columns="_err").fit(stars).n_features_in_
        2
        """
        function = self._function()
        table, columns = self._read(X, reset=True)
        for place in _features(columns):
            self._value(function, table[:, place], columns.names[place])
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Return the function of the features, and its errors.

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
        ValueError
            Where the function or its error is not finite, naming the column; for bad input.

        Warns
        -----
        UserWarning
            Where errors are too large for its slope to carry them along.

        Examples
        --------
        >>> from bayes_sklearn.preprocessing import MeasuredFunction
        >>> squares = MeasuredFunction("power", exponent=2, error_columns={0: 1})
        >>> squares.fit([[3.0, 0.1], [5.0, 0.2]]).transform([[4.0, 0.1]])  # the error is 2 * 4 * 0.1
        array([[16. ,  0.8]])
        """
        table, columns = self._read(X)
        function, slopes = self._function(), dict[int, Array]()
        for place in _features(columns):
            x, label = table[:, place].copy(), columns.names[place]
            table[:, place] = self._value(function, x, label)
            if place in columns.errors:
                slopes[place] = self._called(function.slope, x, "derivative")
                self._warn_of_curvature(
                    function.slope, x, table[:, columns.errors[place]], slopes[place], label
                )
        return _carried(table, columns, slopes)

    @available_if(_has_inverse)
    def inverse_transform(self, X: ArrayLike) -> Array:
        """Return what has this function, and its errors.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Columns as `transform` returns them.

        Returns
        -------
        ndarray of shape (n, k)

        Raises
        ------
        ValueError
            Where the inverse or its error is not finite, naming the column; for bad input.

        Examples
        --------
        >>> from bayes_sklearn.preprocessing import MeasuredFunction
        >>> logs = MeasuredFunction("log10", error_columns={0: 1}).fit([[1.0, 0.1], [10.0, 0.5]])
        >>> logs.inverse_transform(logs.transform([[10.0, 0.5]]))
        array([[10. ,  0.5]])
        """
        table, columns = self._read(X)
        function, slopes = self._function(), dict[int, Array]()
        for place in _features(columns):
            z = table[:, place].copy()
            table[:, place] = self._called(function.inverse, z, "inverse")
            check_finite(table[:, place], z, columns.names[place], f"the inverse of {self._shown()}")
            if place in columns.errors:
                with np.errstate(divide="ignore"):
                    slopes[place] = 1.0 / self._called(function.slope, table[:, place], "derivative")
        return _carried(table, columns, slopes)

    def _value(self, function: _Function, x: Array, label: object) -> Array:
        """Return the function of a feature."""
        low, high = function.domain
        outside = (x < low) | (x > high)
        if outside.any():
            row = int(np.argmax(outside))
            # The first words are those that scikit-learn's checks look for.
            least = "Negative values in data: " if low == 0.0 and x[row] < 0.0 else ""
            raise ValueError(
                f"{least}X has {x[row]:g} in row {row} of the column {shown(label)}, of which there is no"
                f" {self._shown()}. Leave the row out, make the cell NaN (not measured), or take another function."
            )
        value = self._called(function.value, x, "function")
        check_finite(value, x, label, self._shown())
        return value

    def _warn_of_curvature(
        self, slope: Callable[[Array], Array], x: Array, error: Array, at: Array, label: object
    ) -> None:
        """Warn where the second order of an error is no small part of the first."""
        step = 1e-4 * np.where(x == 0.0, error, np.minimum(np.abs(x), error))
        above, below = (self._called(slope, x + by, "derivative") for by in (step, -step))
        with np.errstate(all="ignore"):  # of errors that are 0
            change = np.abs(above - below) / (2.0 * step)
            curved = (error > 0.0) & (change * error > 2.0 * CURVED * np.abs(at))
        if curved.any():
            warn(
                f"{self._shown()} bends within the errors of {shown(label)} in {int(curved.sum())} of {len(x)} rows,"
                f" first in row {int(np.argmax(curved))}: its errors there are skewed, and a slope does not carry"
                " them along. Leave these rows out, make their cells NaN (not measured), or use the feature as it is."
            )

    def _called(self, of: Callable[[Array], Array], x: Array, argument: str) -> Array:
        """Return a function's values; refuse what is no number for each."""
        with np.errstate(all="ignore"):
            found = np.asarray(of(x), dtype=np.float64)
        if found.shape not in (x.shape, ()):
            raise ValueError(
                f"{argument} returns an array of shape {found.shape} for one of shape {x.shape}: it must return a"
                " number for each."
            )
        return np.broadcast_to(found, x.shape)

    def _function(self) -> _Function:
        """Return what the parameters say, checked."""
        if callable(self.function):
            unknown = self.derivative is None and self.error_columns is not None
            if unknown or self.exponent is not None:
                raise ValueError(
                    "derivative is None, but features have errors (error_columns): give the function's derivative."
                    if unknown
                    else "exponent goes with function='power'."
                )
            nothing = np.asarray
            return _Function(self.function, self.derivative or nothing, self.inverse or nothing, _ALL)
        if self.derivative is not None or self.inverse is not None:
            raise ValueError("derivative and inverse go with a function of your own, not with a named one.")
        if isinstance(self.function, str) and self.function in _NAMED and self.exponent is None:
            return _NAMED[self.function]
        if self.function == "power":
            exponent = self.exponent
            if (
                not isinstance(exponent, Real)
                or isinstance(exponent, bool)
                or not np.isfinite(exponent)
                or not exponent
            ):
                raise ValueError(f"exponent must be a number other than 0, got {shown(exponent)}.")
            return _power(float(exponent))
        if self.function in _NAMED:
            raise ValueError("exponent goes with function='power'.")
        raise ValueError(
            f"function must be one of {', '.join([*_NAMED, 'power'])}, or a callable, got {shown(self.function)}."
        )

    def _shown(self) -> str:
        if callable(self.function):
            return str(getattr(self.function, "__name__", "function"))
        return self.function if self.exponent is None else f"power {self.exponent:g}"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.function in ("log", "log10", "sqrt", "logit")
        tags.requires_fit = True
        return tags
