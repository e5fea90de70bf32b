"""The least that a calibrated measurement can tell from nothing, and the least that it measures well."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from ...measurements.messages import hinting, shown
from .along import Along

__all__ = ["DetectionLimits", "detection_limits"]


class DetectionLimits(NamedTuple):
    """Limits of a calibrated measurement, as `detection_limits` defines them.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, detection_limits
    >>> dose, reading = [[0.0], [1.0], [2.0], [4.0], [8.0]], [3.0, 5.1, 6.9, 11.0, 19.0]
    >>> model = BayesianErrorsInVariablesRegressor(noise="known").fit(dose, reading, y_err=0.2)
    >>> limits = detection_limits(model, y_err=0.2)
    >>> round(limits.decision, 1), round(limits.quantification, 1)
    (3.4, 1.1)
    """

    decision: float
    """float, in the unit of the target: a reading beyond it is taken to be of more than nothing."""
    detection: float
    """float, in the unit of the feature: the least that is detected, with probability 1 - beta."""
    quantification: float
    """float, in the unit of the feature: the least that is measured with the relative error."""


@hinting
def detection_limits(
    estimator: Any,
    *,
    alpha: float = 0.05,
    beta: float = 0.05,
    relative_error: float = 0.1,
    feature: str | int | None = None,
    X: Any = None,
    y_err: ArrayLike | float | None = None,
    counts: ArrayLike | float | None = None,
    exposure: ArrayLike | float | None = None,
) -> DetectionLimits:
    """Return the decision, detection and quantification limits of one reading, the line's uncertainty included.

    Parameters
    ----------
    estimator, feature
        As for `inverse_predict`. The feature is a quantity that is 0 where there is nothing, and can't be less.
    alpha : float, default=0.05
        The probability that a reading of nothing is taken for one of something.
    beta : float, default=0.05
        The probability that a reading of something at the detection limit is not.
    relative_error : float, default=0.1
        Of what is measured at the quantification limit: a standard deviation.
    X : array-like of shape (1, k), optional
        The other columns of X.
    y_err, counts, exposure : float, optional
        Of a reading, as for `predict`.

    Returns
    -------
    DetectionLimits
        ``decision``: the quantile 1 - alpha of the predictive distribution of a reading at 0 (alpha, where the line
        falls). ``detection``: where the probability of a reading beyond it is 1 - beta. ``quantification``: where the
        standard deviation of a reading, divided by the line's slope, is `relative_error` times the feature. Infinite
        where there is none in a million times the training rows' spread.

    Raises
    ------
    ValueError, TypeError
        For bad input, naming the argument.

    Notes
    -----
    The definitions are those of Currie 1968 (Anal. Chem. 40:586-593; L_C, L_D, L_Q) and Currie 1995 (Pure Appl. Chem.
    67:1699-1723), the first two also ISO 11843-1's critical value and minimum detectable value, with the predictive
    distribution in the place of a normal one of known standard deviation: where line and noise are known, 1.645,
    3.29 and 10 of the noise's standard deviations.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, detection_limits
    >>> dose = np.linspace(0.0, 10.0, 60)[:, None]
    >>> reading = 3.0 + 2.0 * dose[:, 0]
    >>> model = BayesianErrorsInVariablesRegressor(noise="known").fit(dose, reading, y_err=0.2)
    >>> [round(limit, 2) for limit in detection_limits(model, y_err=0.2)]
    [3.34, 0.34, 1.02]
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("relative_error", relative_error)):
        if not (isinstance(value, int | float | np.number) and 0.0 < value < 1.0):
            raise ValueError(f"{name} must be a number between 0 and 1, got {shown(value)}.")
    along, first = Along(estimator, feature, X), np.zeros(1, dtype=np.intp)
    given = {
        name: value
        for name, value in (("y_err", y_err), ("counts", counts), ("exposure", exposure))
        if value is not None
    }
    unit = float(along.spread)

    def at(x: float) -> Any:
        return along.predictive(np.array([x]), first, **given)

    def slope(x: float) -> float:
        step = 1e-4 * max(unit, abs(x))
        return float((at(x + step).mean() - at(x).mean())[0]) / step

    rises = slope(0.0) > 0.0
    decision = float(at(0.0).ppf(1.0 - alpha if rises else alpha)[0])

    def missed(x: float) -> float:
        below = float(at(x).cdf(decision)[0])
        return (below if rises else 1.0 - below) - beta

    def too_uncertain(x: float) -> float:
        return float(at(x).std()[0]) - relative_error * x * abs(slope(x))

    return DetectionLimits(decision, _first_zero(missed, unit), _first_zero(too_uncertain, unit))


def _first_zero(function: Any, unit: float) -> float:
    """Return where a function that is positive at 0 is zero first, about."""
    lower = 0.0
    for upper in unit * np.geomspace(1e-6, 1e6, 121):
        if function(float(upper)) <= 0.0:
            return float(brentq(function, lower, upper, rtol=1e-10))
        lower = float(upper)
    return float("inf")
