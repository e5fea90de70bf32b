"""Dispersion: how far rows lie from the line beside what their stated errors let one expect.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .standardized_rows import StandardizedRows
from .tails import squared_scale

__all__ = ["Dispersion", "by_decile", "dispersion_of", "trend_of"]

Array = NDArray[np.float64]

_GROUPS = 10


@dataclass(frozen=True, eq=False)
class Dispersion:
    """Mean squared standardised residual, of all rows or by groups of them; 1 where the stated errors are right.

    Of Student's noise, the square of their most likely scale.

    Parameters
    ----------
    low, high : ndarray of shape (k,)
        Range of what the rows are grouped by.
    n_rows : ndarray of shape (k,)
    value : ndarray of shape (k,)
        The dispersion.
    standard_error : ndarray of shape (k,)
        Of the dispersion.
    lower, upper : ndarray of shape (k,)
        Limits of its 95% confidence interval.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, audit_errors
    >>> rng = np.random.default_rng(0)
    >>> X = np.linspace(0.0, 10.0, 200)[:, None]
    >>> y = 2.0 * X[:, 0] + rng.normal(scale=0.6, size=200)  # twice the error that is stated
    >>> model = BayesianErrorsInVariablesRegressor(noise="scaled").fit(X, y, y_err=0.3)
    >>> audit = audit_errors(model, X, y, y_err=0.3)
    >>> audit.by["prediction"].value.round(1)
    array([3.3, 2. , 4.6, 5.3, 3.6, 3.4, 4.4, 3.3, 4. , 3.3])
    """

    low: Array
    high: Array
    n_rows: NDArray[np.intp]
    value: Array
    standard_error: Array
    lower: Array
    upper: Array


def dispersion_of(
    rows: StandardizedRows, frequency: Array, group: NDArray[np.intp], variable: Array
) -> Dispersion:
    """Return the dispersion by group, groups numbered from 0, and the range of a variable in each.

    Frequencies weigh rows; what might have come out otherwise are rows, not their copies.
    """
    k = int(group.max()) + 1

    def total(values: Array) -> Array:
        return np.asarray(np.bincount(group, values, minlength=k), dtype=np.float64)

    tails = rows.tails
    value = squared_scale(rows.residual, frequency, group, tails.nu)
    size, squares = total(frequency), total(np.square(frequency))
    if not squares.all():
        raise ValueError(
            "sample_weight has frequencies whose squares vanish: give how often each row counts."
        )
    # Rows that the line adapts to have one degree of freedom less for every one of its numbers.
    kept = total(frequency * rows.degrees) / size
    if k > 1 or np.isinf(tails.nu):
        relative_variance = total(np.square(frequency) * rows.score_variance) / (np.square(size) * kept)
        relative_variance /= tails.response**2
    else:
        # What is not known of the tails leaves the scale of all rows less certain.
        alike = tails.degrees(rows.residual, frequency, float(value[0]))
        relative_variance = 2.0 * squares / (size * alike * kept)
    degrees = 2.0 / (relative_variance + rows.common_variance)  # (54)
    within = [variable[group == i] for i in range(k)]
    return Dispersion(
        np.array([part.min() for part in within]),
        np.array([part.max() for part in within]),
        np.bincount(group, minlength=k),
        value,
        value * np.sqrt(2.0 / degrees),
        degrees * value / stats.chi2.isf(0.025, degrees),
        degrees * value / stats.chi2.isf(0.975, degrees),
    )


def by_decile(rows: StandardizedRows, frequency: Array) -> dict[str, Dispersion]:
    """Return the dispersion by tenths of the rows, for everything in which rows differ."""
    error = "predicted std" if rows.kind == "predicted" else "stated error"
    variables = {error: rows.stated, "feature error": rows.feature_error, "prediction": rows.prediction}
    if rows.counts is not None and rows.kind == "counts":
        variables = {"count": rows.counts, **variables}
    found = {}
    for name, variable in variables.items():
        edges = np.unique(np.quantile(variable, np.arange(1, _GROUPS) / _GROUPS))
        _, group = np.unique(np.searchsorted(edges, variable), return_inverse=True)
        if group.max() > 0:
            found[name] = dispersion_of(rows, frequency, group, variable)
    return found


def trend_of(rows: StandardizedRows, frequency: Array, dispersion: float) -> float:
    """Return the z score of how the dispersion grows with the log count, or the log of 1 / stated error, (59)."""
    size = np.log(rows.counts) if rows.counts is not None else -np.log(rows.stated)
    if np.ptp(size) <= 1e-9 * np.abs(size).max():
        return float("nan")
    away = frequency * (size - np.average(size, weights=frequency))
    # A common factor of all errors is divided out.
    slope = away @ rows.tails.scores(np.square(rows.residual) / dispersion)
    return float(slope / np.sqrt(np.square(away) @ rows.score_variance))
