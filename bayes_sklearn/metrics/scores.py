"""Scores of predictive distributions, as functions on arrays.

References
----------
[1] Gneiting & Raftery (2007), "Strictly proper scoring rules, prediction, and estimation",
Journal of the American Statistical Association 102, 359-378.

[2] Gneiting, Balabdaoui & Raftery (2007), "Probabilistic forecasts, calibration and
sharpness", Journal of the Royal Statistical Society B 69, 243-268.

[3] Winkler (1972), "A decision-theoretic approach to interval estimation", Journal of the
American Statistical Association 67, 187-191.
"""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from ..measurements.checks import as_floats, check_coverage, check_unmasked, is_plain, named
from ..prediction.distribution import PredictiveDistribution
from ..prediction.line import NormalPredictive

__all__ = [
    "column_of",
    "crps",
    "interval_coverage",
    "interval_score",
    "interval_width",
    "log_predictive_density",
    "measured_rows",
    "pit",
    "pit_error",
    "row_weights",
]

Array = NDArray[np.float64]


def log_predictive_density(
    y_true: ArrayLike,
    y_pred: ArrayLike | PredictiveDistribution,
    y_std: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean log density of the measured values under their predictions; greater is better.

    The logarithmic score of [1], section 4.1: natural logarithm of a density per unit of y.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Measured values.
    y_pred : array-like of shape (n,), or a predictive distribution of n rows
        Predicted means, in the unit of y; or an object with a method ``logpdf``.
    y_std : array-like of shape (n,), optional
        Predicted standard deviations, in the unit of y: the prediction is Normal(y_pred, y_std).
        Always given with means, never with a distribution.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows in the mean.

    Returns
    -------
    float
        In nats, of a density per unit of y.

    Raises
    ------
    ValueError
        If an argument is not n finite numbers, a standard deviation is not positive, a weight is
        negative or all are zero, or `y_std` is missing with means or given with a distribution.

    Examples
    --------
    >>> from bayes_sklearn.metrics import log_predictive_density
    >>> round(log_predictive_density([1.0, 2.5], y_pred=[1.2, 2.0], y_std=[0.2, 0.4]), 3)
    -0.297
    """
    return _mean(_elementwise("logpdf", y_true, y_pred, y_std), sample_weight, measured_rows(y_pred))


def crps(
    y_true: ArrayLike,
    y_pred: ArrayLike | PredictiveDistribution,
    y_std: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean continuous ranked probability score, in the unit of y; smaller is better.

    The integral over z of (F(z) - 1{z >= y})^2, F being the predictive cdf ([1], section 4.2).
    Of a prediction without spread it is the absolute error.

    Parameters
    ----------
    y_true, y_pred, y_std, sample_weight
        As in `log_predictive_density`, errors too; a distribution has a method ``crps``.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `log_predictive_density`.

    Examples
    --------
    >>> from bayes_sklearn.metrics import crps
    >>> round(crps([1.0, 2.5], y_pred=[1.2, 2.0], y_std=[0.2, 0.4]), 3)
    0.218
    """
    rows = measured_rows(y_pred, values=True)
    return _mean(_elementwise("crps", y_true, y_pred, y_std), sample_weight, rows)


def pit(
    y_true: ArrayLike, y_pred: ArrayLike | PredictiveDistribution, y_std: ArrayLike | None = None
) -> Array:
    """Probability integral transform, (n,): the predictive cdf at each measured value.

    Uniform on [0, 1] where predictions are calibrated ([2], section 3.1), piled up in the middle
    where they are too wide, at 0 and 1 where too narrow. `pit_error` makes it one number.

    Parameters
    ----------
    y_true, y_pred, y_std
        As in `log_predictive_density`, errors too; a distribution has a method ``cdf``, or ``pit``, which of
        observed shares, that are discrete, takes half of the probability of the value itself. Rows whose count is 0
        have NaN.

    Returns
    -------
    ndarray of shape (n,)
        Probabilities.

    Raises
    ------
    ValueError
        As `log_predictive_density`.

    Examples
    --------
    >>> from bayes_sklearn.metrics import pit
    >>> pit([1.0, 2.5], y_pred=[1.2, 2.0], y_std=[0.2, 0.4]).round(3)
    array([0.159, 0.894])
    """
    # The weights of a mixture add up to 1 within rounding only.
    method = "pit" if callable(getattr(y_pred, "pit", None)) else "cdf"
    return np.clip(_elementwise(method, y_true, y_pred, y_std), 0.0, 1.0)


def pit_error(pit_values: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Distance of PIT values from uniform: 0 is perfect, 1/2 is the worst.

    The Wasserstein-1 distance, the integral over u in [0, 1] of abs(F(u) - u), F being the
    (weighted) empirical cdf of the values; a probability, exact.

    Even calibrated predictions don't score 0 on n rows: sqrt(n) (F(u) - u) tends to a Brownian
    bridge, Normal(0, u (1 - u)) at u, so the score's expectation under calibration tends to
    ``sqrt(2 / pi) * pi / 8 / sqrt(n)``, that is 0.313 / sqrt(n) (and is 1/3 at n = 1); where
    weights differ, n is ``sum(w)**2 / sum(w**2)``.

    Parameters
    ----------
    pit_values : array-like of shape (n,)
        Values in [0, 1], as `pit` returns them; NaN where there is none, of a row that is left out.
    sample_weight : array-like of shape (n,), optional
        Weights of the values.

    Returns
    -------
    float
        Between 0 and 1/2.

    Raises
    ------
    ValueError
        If values are not finite or outside [0, 1], a weight is negative, or all are zero.

    Examples
    --------
    >>> from bayes_sklearn.metrics import pit_error
    >>> round(pit_error([0.1, 0.3, 0.5, 0.7, 0.9]), 3), pit_error([0.0, 0.0, 0.0])
    (0.05, 0.5)
    """
    measured = _not_nan(pit_values)
    values = column_of("pit_values", pit_values, measured)
    if ((values < 0) | (values > 1)).any():
        raise ValueError("pit_values must lie in [0, 1]; pass what `pit` returns.")
    weights = row_weights(sample_weight, values.size, measured)
    order = np.argsort(values)
    knots = np.concatenate([[0.0], values[order], [1.0]])
    levels = np.concatenate([[0.0], np.cumsum(weights[order])])
    levels /= levels[-1]
    # F is levels[k] between knots k and k + 1, and t |t| / 2 is an antiderivative of |t|.
    start, end = knots[:-1] - levels, knots[1:] - levels
    return float(np.sum(end * np.abs(end) - start * np.abs(start)) / 2)


def interval_score(
    y_true: ArrayLike,
    y_lower: ArrayLike,
    y_upper: ArrayLike,
    *,
    coverage: float = 0.95,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Winkler's interval score, in the unit of y; smaller is better.

    The interval's width plus 2 / (1 - coverage) times the distance by which it misses ([3]; [1],
    section 6.2). Its expectation is smallest for the true central interval.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Measured values.
    y_lower, y_upper : array-like of shape (n,)
        Predicted quantiles (1 - coverage) / 2 and (1 + coverage) / 2, in the unit of y.
    coverage : float, default=0.95
        Probability that the intervals were made to hold, between 0 and 1.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows in the mean.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is not n finite numbers, a lower limit exceeds its upper limit, `coverage`
        is not between 0 and 1, a weight is negative, or all are zero.

    Examples
    --------
    >>> from bayes_sklearn.metrics import interval_score
    >>> round(interval_score([1.0, 2.5], y_lower=[0.8, 1.2], y_upper=[1.6, 2.2], coverage=0.9), 1)
    3.9
    """
    check_coverage(coverage)
    y, lower, upper = _columns(y_true=y_true, y_lower=y_lower, y_upper=y_upper)
    _check_ordered(lower, upper)
    miss = np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
    return _mean(upper - lower + 2 / (1 - coverage) * miss, sample_weight)


def interval_coverage(
    y_true: ArrayLike,
    y_lower: ArrayLike,
    y_upper: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of the measured values inside their intervals, limits included.

    Best when near the probability that the intervals were made to hold; more is not better.

    Parameters
    ----------
    y_true, y_lower, y_upper, sample_weight
        As in `interval_score`, errors too.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        As `interval_score`.

    Examples
    --------
    >>> from bayes_sklearn.metrics import interval_coverage
    >>> interval_coverage([1.0, 2.5], y_lower=[0.8, 1.2], y_upper=[1.6, 2.2])
    0.5
    """
    y, lower, upper = _columns(y_true=y_true, y_lower=y_lower, y_upper=y_upper)
    _check_ordered(lower, upper)
    return _mean(((lower <= y) & (y <= upper)).astype(np.float64), sample_weight)


def interval_width(
    y_lower: ArrayLike, y_upper: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Mean width of the intervals, in the unit of y: sharpness ([2], section 3.3).

    Smaller is better, but only among predictions that are equally well calibrated.

    Parameters
    ----------
    y_lower, y_upper, sample_weight
        As in `interval_score`, errors too.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `interval_score`.

    Examples
    --------
    >>> from bayes_sklearn.metrics import interval_width
    >>> round(interval_width(y_lower=[0.8, 1.2], y_upper=[1.6, 2.2]), 3)
    0.9
    """
    lower, upper = _columns(y_lower=y_lower, y_upper=y_upper)
    _check_ordered(lower, upper)
    return _mean(upper - lower, sample_weight)


def _elementwise(
    method: str,
    y_true: ArrayLike,
    y_pred: ArrayLike | PredictiveDistribution,
    y_std: ArrayLike | None,
) -> Array:
    """Value of `method` at each y_true, of the distribution y_pred or of Normal(y_pred, y_std)."""
    measured = measured_rows(y_pred)
    if callable(getattr(y_pred, method, None)):
        if y_std is not None:
            raise ValueError("y_std must be left out where y_pred is a predictive distribution.")
        y, distribution = column_of("y_true", y_true, measured), cast(PredictiveDistribution, y_pred)
    elif y_std is None:
        raise ValueError(
            "y_std is missing; pass standard deviations along with means, or, as y_pred, a "
            f"distribution with a method {method}, which {type(y_pred).__name__} hasn't."
        )
    else:
        y, mean, std = _columns(y_true=y_true, y_pred=cast(ArrayLike, y_pred), y_std=y_std)
        if (std <= 0).any():
            raise ValueError(
                f"y_std must be positive, but its smallest is {std.min():g}; include the noise of "
                "a new measurement, or score points by their mean absolute error."
            )
        distribution = NormalPredictive(mean, std)
    values = np.asarray(getattr(distribution, method)(y), dtype=np.float64)
    censored = getattr(y_pred, "censored", None)
    if censored is not None and values.shape == y.shape == np.shape(censored):
        values = _of_limits(method, values, y, distribution, censored)
    if values.shape != y.shape:
        raise ValueError(
            f"y_true has shape {y.shape}, but y_pred's {method} {values.shape}; pass the "
            "distribution predicted for the same rows."
        )
    return values if measured is None else np.where(measured, values, np.nan)


def _of_limits(
    method: str, values: Array, y: Array, distribution: PredictiveDistribution, censored: Array
) -> Array:
    """Return what a score says of rows of which limits were seen, and else the values: NaN where it says nothing."""
    at_most = np.clip(np.asarray(distribution.cdf(y), dtype=np.float64), 0.0, 1.0)
    below, above = censored < 0.0, censored > 0.0
    if method == "logpdf":
        with np.errstate(divide="ignore"):
            found = np.log(at_most), np.log1p(-at_most)
    elif method in ("pit", "cdf"):  # anywhere where they may be, the same every time
        place = np.random.default_rng(0).random(len(y))
        found = place * at_most, at_most + place * (1.0 - at_most)
    else:
        found = np.full_like(values, np.nan), np.full_like(values, np.nan)
    return np.where(below, found[0], np.where(above, found[1], values))


def measured_rows(y_pred: object, *, values: bool = False) -> NDArray[np.bool_] | None:
    """Rows that scores are of, (n,), or those alone whose values are known; None: all."""
    measured, censored = getattr(y_pred, "measured", None), getattr(y_pred, "censored", None)
    if not values or censored is None or not np.any(censored):
        return measured
    known = np.asarray(censored) == 0.0
    return known if measured is None else known & measured


def column_of(name: str, values: ArrayLike, measured: NDArray[np.bool_] | None = None) -> Array:
    """Finite floats of shape (n,), or a ValueError that names the argument; 0 where nothing was measured."""
    if measured is not None and not measured.all():
        with suppress(TypeError):
            given = as_floats(values).ravel()
            values = np.where(measured, given, 0.0) if given.shape == measured.shape else values
    if is_plain(values, 1):
        return values  # type: ignore[return-value]
    try:
        with named(name):
            check_unmasked(values)
            as_column = {"ensure_2d": False, "ensure_min_samples": 0, "input_name": name}
            column: Array = check_array(values, dtype=np.float64, **as_column)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold finite numbers, so drop or repair other rows: {error}") from error
    if column.size == 0 or column.shape not in ((column.size,), (column.size, 1)):
        raise ValueError(
            f"{name} must be of shape (n,) with n > 0, got {column.shape}; score several targets one at a time."
        )
    return column.ravel()


def _columns(**arguments: ArrayLike) -> list[Array]:
    columns = {name: column_of(name, values) for name, values in arguments.items()}
    (first, reference), *others = columns.items()
    for name, column in others:
        if column.size != reference.size:
            raise ValueError(f"{name} has {column.size} values, {first} {reference.size}; pass one per row.")
    return list(columns.values())


def row_weights(sample_weight: ArrayLike | None, n: int, measured: NDArray[np.bool_] | None = None) -> Array:
    """Weights of the rows, 0 where nothing was measured."""
    weights = np.ones(n) if sample_weight is None else column_of("sample_weight", sample_weight)
    if weights.size != n:
        raise ValueError(f"sample_weight has {weights.size} values for {n} rows; pass one per row.")
    if measured is not None:
        weights = weights * measured
    if (weights < 0).any() or not weights.any():
        zero = "" if measured is None else " among those that were measured (whose count is not 0)"
        raise ValueError(f"sample_weight must not be negative, nor 0 (row left out) in every row{zero}.")
    return weights


def _mean(values: Array, sample_weight: ArrayLike | None, measured: NDArray[np.bool_] | None = None) -> float:
    weights = row_weights(sample_weight, values.size, measured)
    # Selected, since a row left out must not turn an infinite score into 0 * inf = NaN.
    kept = weights > 0
    # Shares of the whole, so that nothing overflows which the mean itself does not.
    shares = weights[kept] / weights.max()
    return float((values[kept] * (shares / shares.sum())).sum())


def _not_nan(values: ArrayLike) -> NDArray[np.bool_] | None:
    """Rows that have a value, (n,); None: all, or none that is a number."""
    with suppress(TypeError):
        there = ~np.isnan(as_floats(values).ravel())
        return None if there.all() or not there.any() else there
    return None


def _check_ordered(lower: Array, upper: Array) -> None:
    if (lower > upper).any():
        row = np.argmax(lower > upper)
        raise ValueError(f"y_lower exceeds y_upper, first in row {row}; pass lower limits first.")
