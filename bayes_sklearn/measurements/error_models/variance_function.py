"""Errors that depend on the true value of what is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..messages import shown

__all__ = ["VarianceFunction"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class VarianceFunction:
    """Standard errors ``sqrt(constant**2 + poisson * |value| + (relative * value)**2)`` of a true value, (78).

    Given as ``y_err`` or in ``X_err`` in the place of numbers. An error that is computed from the reading is smaller
    where the reading came out smaller, so that such readings would weigh more: errors are taken at the line's value
    instead, and those of features at the estimated true ones.

    Parameters
    ----------
    constant : float, default=0.0
        In the unit of what is measured.
    relative : float, default=0.0
        By the value: 0.05 for an instrument that is good to 5%.
    poisson : float, default=0.0
        In the unit of what is measured: 1 for counts, whose variance is their mean.

    Raises
    ------
    ValueError, TypeError
        Where they are no numbers from 0, or all are 0.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, VarianceFunction
    >>> X, y = [[1.0], [2.0], [4.0], [8.0], [16.0]], [2.1, 3.8, 8.3, 15.5, 33.0]
    >>> error = VarianceFunction(relative=0.05)
    >>> model = BayesianErrorsInVariablesRegressor(noise="known").fit(X, y, y_err=error)
    >>> mean, std = model.predict([[1.0], [10.0]], return_std=True)
    >>> (std / mean).round(2).tolist()
    [0.07, 0.06]
    """

    constant: float = 0.0
    relative: float = 0.0
    poisson: float = 0.0

    def __post_init__(self) -> None:
        for name in ("constant", "relative", "poisson"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise TypeError(f"{name} must be a number from 0, got {shown(value)}.")
            if not 0.0 <= value < np.inf:
                raise ValueError(f"{name} must be a number from 0, got {shown(value)}.")
        if not (self.constant or self.relative or self.poisson):
            raise ValueError("VarianceFunction: give constant, relative or poisson; all are 0.")

    def standard_error(self, square: Array) -> Array:
        """Return the standard errors of values of which the mean square is known, of that shape.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import VarianceFunction
        >>> VarianceFunction(constant=0.3, relative=0.04).standard_error(np.square([0.0, 10.0]))
        array([0.3, 0.5])
        """
        variance = self.constant**2 + self.poisson * np.sqrt(square) + self.relative**2 * square
        return np.asarray(np.sqrt(variance))
