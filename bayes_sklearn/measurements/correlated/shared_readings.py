"""The argument ``X_err_groups``: which rows share one reading, and these taken apart into means and differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..compressed import Rows, taken
from ..feature_errors import FeatureErrors
from ..messages import shown

__all__ = ["Apart", "Readings", "looks_shared", "readings_of", "resolve_shared_readings"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Readings, and errors, that differ by no more than this share are the same.
_ROUNDING = 1e-9


class Apart(NamedTuple):
    """What rows of one reading differ in from their means, (83): of rows that count."""

    exact: Array
    """(n, k) exact features."""
    y: Array
    """(n,) target."""
    frequency: Array
    """(n,) how often each row counts."""
    error: Array
    """(n,) known errors of the target; 1 where there are none."""
    group: Index
    """(n,) which mean each row belongs to."""
    copies: Array
    """(G,) how many rows each mean is of."""


class Readings(NamedTuple):
    """A row for each reading: of rows that share one, their means by precision."""

    rows: Rows
    errors: FeatureErrors
    standard_error: Any
    """Known errors of the target, of one row, whose harmonic mean square that of several is; None: there are none."""
    apart: Apart | None
    """None: no reading is shared."""


def resolve_shared_readings(
    labels: object,
    data: Any,
    parameters: Any,
    *,
    measured: bool,
    correlated: bool,
    normal: bool,
    scatters: bool,
) -> FeatureErrors:
    """Return the errors of features with the groups of rows that share their readings.

    Parameters
    ----------
    labels : array-like of shape (n,)
        As given to fit.
    data : object
        What was read so far: it has ``rows``, ``columns``, ``errors`` and ``feature_errors``.
    parameters : object
        What has the estimator's parameters.
    measured, correlated : bool
        Whether all targets were measured, and whether their errors go together.
    normal : bool
        Whether the likelihood is normal.
    scatters : bool
        Whether the noise has a scatter beside known errors.

    Raises
    ------
    ValueError
        Naming what does not go with them, or where rows of one label have other readings or errors.
    """
    errors, rows = data.feature_errors, data.rows
    if errors is None:
        raise ValueError("X_err_groups is given, but no errors of X: give X_err, too.")
    target, names = data.errors.standard_error, data.columns.feature_names
    goes_with = {
        "likelihood='normal'": normal,
        "x_distribution='normal'": parameters.x_distribution == "normal",
        "x_error_distribution='normal'": parameters.x_error_distribution == "normal",
        "truncation=None": parameters.truncation is None,
        "targets that were measured: leave out rows whose y is NaN or a limit": measured,
        "group_column=None": parameters.group_column is None,
        "features that were measured: leave out rows with NaN": errors.unmeasured is None,
        "features that were measured: leave X_censored out": errors.readings is None,
        "errors of X and y that are independent: leave Xy_cov out": errors.with_target is None,
        "y_err: leave y_cov and y_shared_err out": not correlated,
    }
    for instead, given in goes_with.items():
        if not given:
            raise ValueError(f"X_err_groups, by which rows share a reading, goes with {instead}.")
    codes, first = _factorized(labels, len(rows.y))
    used = rows.used
    _, at, of = np.unique(codes[used], return_index=True, return_inverse=True)
    if len(at) < 2:
        raise ValueError(
            "X_err_groups has one label in all rows: one reading has no slope. Label rows by readings."
        )
    first = used[at[of]]
    X = np.asarray(rows.take(slice(None)), dtype=np.float64)
    for j in errors.noisy:
        _check_alike(X[used, j], X[first, j], used, first, labels, f"reading of {shown(names[j])}")
    if errors.covariance.ndim == 3:
        flat = errors.covariance.reshape(len(X), -1)
        _check_alike(flat[used], flat[first], used, first, labels, "X_err")
    if scatters and data.errors.weight_type != "precision":
        if data.errors.counts is not None:
            raise ValueError("X_err_groups goes with noise='scaled' where errors of y follow from counts.")
        if isinstance(target, np.ndarray) and target.ndim and not _alike(target[used], target[first]).all():
            raise ValueError(
                "X_err_groups beside a scatter (noise='auto' or 'additive') takes one y_err for all rows of a label:"
                " use noise='scaled' or 'known', or one y_err a label."
            )
    if len(at) < len(used) and (rows.y[used] == rows.y[first]).all():
        raise ValueError(
            "X_err_groups: y, too, is the same in all rows of each label: it was measured as often as X was. Keep one"
            " row of each label, and leave X_err_groups out."
        )
    # Where no two rows share a reading, there is nothing that the rows as they are do not say.
    return errors if len(at) == len(used) else replace(errors, groups=codes)


def _factorized(labels: object, n: int) -> tuple[Index, Index]:
    """Return each row's label as a number, in the order in which they come, and the first row of each."""
    import pandas as pd

    if isinstance(labels, Sequence) and not isinstance(labels, str):
        labels = pd.Series(list(labels), dtype=object)
    shape: tuple[int, ...] = getattr(labels, "shape", ())
    if shape != (n,):
        raise ValueError(f"X_err_groups has shape {shape}; give one label for each of {n} rows.")
    codes, _ = pd.factorize(pd.Series(np.asarray(labels)))
    if (codes < 0).any():
        raise ValueError(
            f"X_err_groups: row {int(np.argmax(codes < 0))} has no label. Give it one: of its own, where it shares no"
            " reading with others."
        )
    found: Index = codes.astype(np.intp)
    return found, np.unique(found, return_index=True)[1]


def _alike(values: Array, others: Array) -> NDArray[np.bool_]:
    """Return which rows have equal values, but for rounding."""
    same = np.abs(values - others) <= _ROUNDING * np.maximum(np.abs(values), np.abs(others))
    return np.asarray(same.reshape(len(same), -1).all(axis=1))


def _check_alike(values: Array, others: Array, used: Index, first: Index, labels: Any, what: str) -> None:
    """Refuse rows of one label that differ."""
    same = _alike(values, others)
    if not same.all():
        at = int(np.argmin(same))
        label = shown(np.asarray(labels, dtype=object)[used[at]])
        raise ValueError(
            f"X_err_groups: rows {int(first[at])} and {int(used[at])} have the label {label}, but each"
            f" another {what}. Rows of one label share one reading, and its error: label them by it, or leave"
            " X_err_groups out (errors that are functions differ from row to row: give numbers)."
        )


def readings_of(rows: Rows, errors: FeatureErrors, standard_error: Any) -> Readings:
    """Return a row for each reading, (83).

    Parameters
    ----------
    rows : Rows
    errors : FeatureErrors
    standard_error : float or ndarray of shape (n,) or None
        Known errors of the target.
    """
    if errors.groups is None:
        return Readings(rows, errors, standard_error, None)
    used = rows.used
    _, first, group = np.unique(errors.groups[used], return_index=True, return_inverse=True)
    frequency = np.ones(len(used)) if rows.frequency is None else rows.frequency[used]
    error = np.ones(len(used))
    if standard_error is not None:
        error = np.broadcast_to(taken(np.asarray(standard_error, dtype=np.float64), used), error.shape)
    # Errors of zero, beside a scatter, are those of all rows of a reading.
    certain = np.bincount(group, error == 0.0) > 0.0
    precision = frequency / np.square(np.where(error > 0.0, error, 1.0))
    total, copies = (np.bincount(group, values).astype(np.float64) for values in (precision, frequency))
    table = np.column_stack([rows.take(used), rows.y[used]]).astype(np.float64)
    base = table[first]
    away = table - base[group]
    mean = np.column_stack([np.bincount(group, precision * column) / total for column in away.T])
    away -= mean[group]
    exact = np.setdiff1d(np.arange(rows.n_features), errors.noisy)
    means = base + mean
    means[:, errors.noisy] = base[:, errors.noisy]
    return Readings(
        Rows(means[:, :-1], means[:, -1], origin=rows.origin),
        replace(errors.take(used[first]), groups=None),
        None if standard_error is None else np.where(certain, 0.0, np.sqrt(copies / total)),
        Apart(away[:, exact], away[:, -1], frequency, error, group, copies),
    )


def looks_shared(rows: Rows, errors: FeatureErrors, standard_error: Any) -> tuple[int, int] | None:
    """Return how many rows have how many readings, where rows of one reading hang together; None: they do not.

    Readings that are equal by rounding alone leave targets that differ smoothly from one to the next: each second
    difference of means is held against what rows of the same readings differ by.

    Parameters
    ----------
    rows : Rows
    errors : FeatureErrors
    standard_error : float or ndarray of shape (n,) or None
        Known errors of the target.
    """
    used, variance = rows.used, np.diagonal(errors.covariance, axis1=-2, axis2=-1)
    if variance.ndim > 1:
        used = used[variance[used].any(axis=1)]
        variance = variance[used]
    few, repeated, many = 30, 3, 50_000
    if len(used) < few:
        return None
    group, count = np.zeros(len(used), dtype=np.intp), 1
    noisy = errors.noisy if rows.features is None else rows.features[errors.noisy]
    readings = (rows.X[used, column] for column in noisy)  # nothing else is looked at where they differ
    for column in (*readings, *(variance.T if variance.ndim > 1 else ())):
        group, count = _crossed(group, column) if count > 1 else _numbered(column)
        if repeated * count >= len(used):
            return None
    # Of many rows those of a part of the readings.
    some = group % -(-len(used) // many) == 0
    group, of = _numbered(group[some])
    table: Array = np.asarray(rows.take(used[some]), dtype=np.float64)
    square = np.zeros(1)
    if standard_error is not None:
        square = np.square(taken(np.asarray(standard_error, dtype=np.float64), used[some]))
    error = np.mean(variance.reshape(-1, len(errors.noisy)), axis=0)
    y = rows.y[used[some]]
    copies = (
        y == y[np.unique(group, return_index=True)[1]][group]
    ).all()  # nothing is shared by what is one row
    hanging = of >= _LEAST and not copies and _hang_together(table, y, group, errors.noisy, error, square)
    return (len(used), count) if hanging else None


# Readings whose means have second differences to tell of; the probability of chance below which it is none; and the
# least share of what one error would make of them.
_LEAST, _CHANCE, _SHARE = 6, 1e-3, 0.2


def _hang_together(X: Array, y: Array, group: Index, noisy: Index, error: Array, square: Array) -> bool:
    """Return whether means of groups of rows differ from their neighbours' as if they had an error of their own.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    y, group : ndarray of shape (n,)
    noisy : ndarray of shape (q,)
        Which features have errors, ...
    error : ndarray of shape (q,)
        ... and their mean variances.
    square : ndarray of shape (n,) or (1,)
        Variances of the target's known errors.
    """
    count = group.max() + 1
    X = X - X.mean(axis=0)
    unit = np.std(X, axis=0)
    X, y = X / np.where(unit > 0.0, unit, 1.0), y - y.mean()
    w, exact = X[:, noisy], np.delete(X, noisy, axis=1)
    linear = np.column_stack([np.ones(len(y)), exact, w])
    slope, left = _regressed(linear, y)
    scatter = max(float(np.square(left).mean() - square.mean()), 0.0)
    weight = np.broadcast_to(1.0 / np.maximum(square + scatter, np.finfo(np.float64).tiny), y.shape)
    total = np.bincount(group, weight)

    def means(values: Array) -> Array:
        return np.bincount(group, weight * values) / total

    root = np.sqrt(weight)
    design = np.column_stack([linear, w**2, w**3]) if count > 4 * w.shape[1] + 4 else linear
    bend, _ = _regressed(root[:, None] * design, root * y)
    away = np.column_stack([column - means(column)[group] for column in [*exact.T, y]])
    inside = np.square(_regressed(root[:, None] * away[:, :-1], root * away[:, -1])[1])
    freedom = np.bincount(group) - 1.0
    freedom *= max(1.0 - exact.shape[1] / freedom.sum(), 0.0)
    position = means(w @ slope[-w.shape[1] :])
    order = np.argsort(position)[: 3 * (count // 3)].reshape(-1, 3)
    place, mean, noise = position[order], means(y - design @ bend)[order], 1.0 / total[order]
    gap = place[:, 2] - place[:, 0]
    share = np.where(gap > 0.0, (place[:, 1] - place[:, 0]) / np.where(gap > 0.0, gap, 1.0), 0.5)
    by = np.column_stack([share - 1.0, np.ones(len(share)), -share])
    of_rows, degrees = np.bincount(group, inside)[order].sum(axis=1), freedom[order].sum(axis=1)
    told = degrees > 0.5
    if not told.any():
        return False
    by, noise, degrees = by[told], noise[told], degrees[told]
    within = of_rows[told] / degrees
    difference, of_mean = (by * mean[told]).sum(axis=1), (by**2 * noise).sum(axis=1)
    if not within.any():
        return False
    ratio = float((difference**2 / of_mean).sum() / within.sum())
    between = within.sum() ** 2 / np.square(within).sum()
    chance = stats.f.sf(ratio, between, within.sum() ** 2 / (np.square(within) / degrees).sum())
    apart = (difference**2 - of_mean * within).sum() / np.square(by).sum()
    one_error = np.square(slope[-w.shape[1] :] / np.where(unit > 0.0, unit, 1.0)[noisy]) @ error
    return bool(chance < _CHANCE and apart > _SHARE * one_error)


def _numbered(values: Any) -> tuple[Index, int]:
    """Return numbers of equal values, and how many there are."""
    import pandas as pd

    codes, labels = pd.factorize(values)
    return codes.astype(np.intp), len(labels)


def _crossed(group: Index, values: Array) -> tuple[Index, int]:
    """Return numbers of equal values within groups, and how many there are."""
    codes, count = _numbered(values)
    return _numbered(group * count + codes)


def _regressed(design: Array, target: Array) -> tuple[Array, Array]:
    """Return slopes of least squares, and what they leave."""
    if not design.shape[1]:
        return np.zeros(0), target
    slopes = np.asarray(np.linalg.lstsq(design, target)[0])
    return slopes, target - design @ slopes
