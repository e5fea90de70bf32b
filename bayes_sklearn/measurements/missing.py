"""Cells of a table that were not measured: likely values in their place, for all that needs no more than that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .columns import Columns
from .compressed import Rows
from .feature_errors import FeatureErrors
from .messages import shown, warn

__all__ = [
    "TOO_LARGE",
    "anything_known",
    "check_known",
    "doubtful_cells",
    "filled",
    "imputed",
    "likely_readings",
    "telling",
    "told_by",
    "too_large",
]

Array = NDArray[np.float64]

# Errors of so many times a feature's spread tell too little of it to have a part in what is found before a fit.
TOO_LARGE = 5.0

# Rows of which means and covariances are found, and steps of the expectation-maximisation that finds them.
_ROWS, _STEPS = 1000, 25


def check_known(
    gaps: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    columns: Columns,
    table: NDArray[np.floating],
    *,
    batch: bool,
) -> None:
    """Refuse features and targets of which too little was measured, and gaps where rows come batch by batch."""
    if unknown.all():
        raise ValueError("y is NaN in all rows: there is nothing to fit.")
    for j in np.flatnonzero(gaps.any(axis=0)):
        name = shown(columns.feature_names[j])
        values = table[~gaps[:, j], j if columns.features is None else columns.features[j]]
        if not len(values):
            raise ValueError(
                f"X has no value of {name}: a feature that was never measured has no coefficient. Leave it out."
            )
        if not np.ptp(values) and not batch:
            raise ValueError(
                f"X has one value of {name} alone, and NaN: nothing tells how the feature varies. Leave it out."
            )
    if batch and (gaps.any() or unknown.any()):
        name = "y" if unknown.any() else f"X, in {shown(columns.feature_names[gaps.any(axis=0)][0])},"
        raise ValueError(
            f"{name} has NaN, and missing='model' takes the rows themselves: call fit with all of them."
        )


def anything_known(target: Array, *, counted: bool) -> Array:
    """Return a target with any number that is one in the place of NaN, of which nothing is known."""
    unknown = np.isnan(target)
    if not unknown.any():
        return target
    return np.where(unknown, 0.0 if counted or unknown.all() else target[~unknown][0], target)


def filled(rows: Rows, noisy: NDArray[np.intp], gaps: NDArray[np.bool_] | None, plain: bool) -> Rows:
    """Return rows with likely values in the place of features and targets that were not measured.

    Parameters
    ----------
    rows : Rows
        Its limits say of which targets nothing is known.
    noisy : ndarray of shape (q,)
        Positions of features, ...
    gaps : ndarray of shape (n, q), optional
        ... and in which rows they were not measured; None: they were in all.
    plain : bool
        Whether any number is a target; else those of which nothing is known become the mean of the others.
    """
    unknown = np.zeros(len(rows.y), dtype=bool) if rows.limits is None else rows.limits.unknown
    if gaps is None and not unknown.any():
        return rows
    table = np.column_stack([rows.take(slice(None)), np.where(unknown, np.nan, rows.y)])
    if gaps is not None:
        table[:, noisy] = np.where(gaps, np.nan, table[:, noisy])
    table = imputed(table, rows.frequency)
    y = table[:, -1]
    if not plain:
        weight = np.where(unknown, 0.0, 1.0 if rows.frequency is None else rows.frequency)
        y = np.where(unknown, weight @ rows.y / weight.sum(), rows.y)
    X = np.array(rows.X, dtype=np.float64)
    X[:, slice(None) if rows.features is None else rows.features] = table[:, :-1]
    return replace(rows, X=X, y=y)


def likely_readings(rows: Rows, errors: FeatureErrors, names: Sequence[str]) -> Rows:
    """Return rows with likely values in the place of features' limits.

    Raises
    ------
    ValueError
        Where too little was measured of a feature.
    """
    limits, noisy = errors.readings, errors.noisy
    if limits is None:
        return rows
    values, lacking = np.asarray(rows.take(slice(None))[:, noisy], dtype=np.float64), errors.unmeasured
    known = ~limits.cells if lacking is None else ~(limits.cells | lacking)
    known[[] if rows.frequency is None else rows.frequency <= 0.0] = False
    for j in np.flatnonzero(limits.cells.any(axis=0)):
        own = known[:, j]
        if not own.any() or not np.ptp(values[own, j]):
            raise ValueError(
                f"X_censored leaves {shown(names[noisy[j]])} less than two values that were measured: nothing tells"
                " how it varies. Leave the feature out."
            )
        at = rows.used[limits.cells[rows.used, j]]
        _warn_of_placeholders(shown(names[noisy[j]]), values[own, j], limits.side[at, j], limits.limit[at, j])
    X = np.array(rows.X, dtype=np.float64)
    columns = noisy if rows.features is None else rows.features[noisy]
    X[:, columns] = limits.likely(values, lacking, rows.frequency)
    return replace(rows, X=X)


def _warn_of_placeholders(name: str, measured: Array, side: Array, limit: Array) -> None:
    """Warn of limits beyond which hardly any reading lies, as of -999 where nothing was detected."""
    # So many times what was measured reaches.
    far, least, most = 10.0, measured.min(), measured.max()
    beyond = np.where(side < 0.0, least - limit, limit - most) > far * (most - least)
    if beyond.any():
        warn(
            f"X_censored says that readings of {name} lie beyond {limit[beyond][0]:g}, far from all that were"
            f" measured ({least:g} to {most:g}). X has to hold the limit of detection, no placeholder.",
        )


def imputed(table: Array, frequency: Array | None = None) -> Array:
    """Return a table in which NaN are drawn from the normal distribution of their row given what it has.

    Means and covariances are those of greatest likelihood (Little & Rubin 2002, Statistical Analysis with Missing
    Data, section 8.2), of a part of the rows if they are many. The table's are then about those of one without gaps.
    The draws are the same every time; no posterior depends on them.

    Parameters
    ----------
    table : ndarray of shape (n, d)
    frequency : ndarray of shape (n,), optional
        How often each row counts.

    Returns
    -------
    ndarray of shape (n, d)
    """
    gaps = np.isnan(table)
    if not gaps.any():
        return table
    weight = np.ones(len(table)) if frequency is None else frequency
    mean, scale = np.zeros((2, table.shape[1]))
    for j, column in enumerate(table.T):
        known = ~gaps[:, j] & (weight > 0.0)
        known = known if known.any() else ~gaps[:, j]
        mean[j], scale[j] = column[known].mean(), column[known].std()
    scale = np.where(scale > 0.0, scale, 1.0)
    units = np.where(gaps, 0.0, (table - mean) / scale)
    counted = np.flatnonzero(weight)
    some = counted[:: max(-(-len(counted) // _ROWS), 1)]
    middle, covariance = np.zeros(table.shape[1]), np.eye(table.shape[1])
    total = weight[some].sum()
    # So many rows without correlations: one where rows are few, else next to none, so that no noise stays none.
    held = 1.0 if len(some) < 5 * table.shape[1] else 1e-10
    for _ in range(_STEPS):
        expected, left = _given_the_rest(units[some], gaps[some], middle, covariance)
        middle = weight[some] @ expected / total
        away = expected - middle
        square = (away.T * weight[some]) @ away + np.einsum("i,ijk->jk", weight[some], left)
        covariance = (square + held * np.eye(len(square))) / (total + held)
    rng = np.random.default_rng(0)
    found = units.copy()
    for start in range(0, len(table), _ROWS):
        block = start + np.flatnonzero(gaps[start : start + _ROWS].any(axis=1))
        expected, left = _given_the_rest(units[block], gaps[block], middle, covariance)
        values, vectors = np.linalg.eigh(left)
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        drawn = (root @ rng.standard_normal((*expected.shape, 1)))[:, :, 0]
        found[block] = np.where(gaps[block], expected + drawn, units[block])
    return np.where(gaps, mean + scale * found, table)


def _given_the_rest(
    rows: Array, gaps: NDArray[np.bool_], mean: Array, covariance: Array
) -> tuple[Array, Array]:
    """Return the expected rows, (n, d), and the covariances of what is not known of them, (n, d, d)."""
    known = (~gaps).astype(np.float64)
    observed = covariance * (known[:, :, None] * known[:, None, :])
    observed[:, np.arange(len(mean)), np.arange(len(mean))] += 1.0 - known
    slopes = np.linalg.inv(observed) * (known[:, :, None] * known[:, None, :]) @ covariance
    expected = mean + np.einsum("ni,nij->nj", (rows - mean) * known, slopes)
    expected = np.where(gaps, expected, rows)
    left = (covariance - covariance @ slopes) * (gaps[:, :, None] & gaps[:, None, :])
    return expected, left


def spread_of_readings(measured: Array, variance: Array, weight: Array) -> float:
    """Return the variance of a feature's readings that say most of it: the true one's, and their error's.

    The first is that with which readings lie about their mean as far as they should (Paule & Mandel 1982, Journal of
    Research of the National Bureau of Standards 87:377-385).

    Parameters
    ----------
    measured, variance, weight : ndarray of shape (n,)
        Readings, variances of their errors, infinite where nothing was measured, and how often they count.
    """
    used = (weight > 0.0) & np.isfinite(variance)
    w, v, f = measured[used], variance[used], weight[used]
    if len(w) < 2 or not np.ptp(w):
        return float(v.min(initial=np.inf))
    low, high = 1e-30 * np.ptp(w) ** 2, np.ptp(w) ** 2
    for _ in range(60):
        middle = np.sqrt(low * high)
        precision = f / (middle + v)
        square = precision @ np.square(w - precision @ w / precision.sum())
        low, high = (middle, high) if square > f.sum() else (low, middle)
    return float(high + v.min())


def too_large(
    errors: FeatureErrors, times: float, measured: Array, frequency: Array | None
) -> NDArray[np.bool_] | None:
    """Return where errors are so many times the spread of the readings that say most, (n, q); None: nowhere.

    Of all readings no more is known than of one of those.

    Parameters
    ----------
    errors : FeatureErrors
    times : float
    measured : ndarray of shape (n, q)
    frequency : ndarray of shape (n,), optional
        How often each row counts.
    """
    if not errors.uneven(times):
        return None
    variance = np.diagonal(errors.covariance, axis1=-2, axis2=-1)
    weight = np.ones(len(variance)) if frequency is None else frequency
    limit = np.array([spread_of_readings(w, v, weight) for w, v in zip(measured.T, variance.T, strict=True)])
    found = variance > times**2 * limit
    return found if found.any() else None


def doubtful_cells(errors: FeatureErrors, X: Array, frequency: Array | None) -> NDArray[np.bool_] | None:
    """Return where readings say too little to have a part in what is found before a fit, (n, q); None: nowhere.

    Parameters
    ----------
    errors : FeatureErrors
    X : ndarray of shape (n, p)
    frequency : ndarray of shape (n,), optional
        How often each row counts.
    """
    found = too_large(errors, TOO_LARGE, X[:, errors.noisy], frequency)
    cells = errors.unmeasured
    if found is not None and cells is not None:  # these have likely values
        found = found & ~cells if (found & ~cells).any() else None
    return found


def telling(errors: FeatureErrors, rows: Rows) -> FeatureErrors:
    """Return the errors with those of `doubtful_cells` infinite: means over the others say what errors are like."""
    doubtful = None
    if errors.uneven(TOO_LARGE):
        doubtful = doubtful_cells(
            errors, np.asarray(rows.take(slice(None)), dtype=np.float64), rows.frequency
        )
    return errors if doubtful is None else errors.not_measured(doubtful)


def told_by(
    errors: FeatureErrors, X: Array, y: Array, frequency: Array | None
) -> tuple[Array | None, Array | None]:
    """Return the mean covariance of errors, (q, q), where some readings tell next to nothing, and likely readings.

    These, (n, q), are None where there are none in the place of which other ones are likely.
    """
    told, doubtful = errors, doubtful_cells(errors, X, frequency)
    if doubtful is not None:
        told = errors.not_measured(doubtful)
    mean = None if told.unmeasured is None else told.typical(frequency).covariance
    if doubtful is None:
        return mean, None
    table = np.column_stack([X, y])
    table[:, errors.noisy] = np.where(doubtful, np.nan, table[:, errors.noisy])
    return mean, imputed(table, frequency)[:, errors.noisy]
