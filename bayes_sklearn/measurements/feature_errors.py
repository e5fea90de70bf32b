"""Errors of the features: what the user says of them, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .columns import HeldErrors
from .compressed import taken
from .labels import aligned, aligned_both_ways, numbers
from .limits import ReadingLimits, resolve_reading_limits

__all__ = ["FeatureErrors", "check_measured", "resolve_feature_errors"]

Array = NDArray[np.float64]

# A covariance may miss symmetry, or an eigenvalue zero, by rounding: this share of its largest entry.
_ROUNDING = 1e-8

# Errors are squared, and divided by.
_LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class FeatureErrors:
    """What is known of the errors of those features that have any."""

    noisy: NDArray[np.intp]
    """(q,) positions among the features, ascending."""
    covariance: Array
    """Covariance of their errors in the data's units: (q, q) for all rows, or (n, q, q). Of a cell that was not
    measured the variance is infinite."""
    with_target: Array | None = None
    """Covariance with the target's error, (q,) or (n, q)."""
    readings: ReadingLimits | None = None
    """Readings of which only a side was seen; None: all were measured, or nothing is known of them."""
    groups: NDArray[np.intp] | None = None
    """(n,) rows with the same number share one reading, and its error; None: each has its own."""

    @property
    def unmeasured(self) -> NDArray[np.bool_] | None:
        """(n, q) which cells were not measured; None: all were."""
        found = np.isinf(np.diagonal(self.covariance, axis1=-2, axis2=-1))
        return found if found.any() else None

    def unmeasured_beside(self, target: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Return `unmeasured` with that of the target in a last column, (n, q + 1); None: all was measured."""
        features, q = self.unmeasured, len(self.noisy)
        if features is None:
            if target is None:
                return None
            features = np.zeros((len(target), q), dtype=bool)
        return np.column_stack([features, np.zeros(len(features), dtype=bool) if target is None else target])

    @property
    def finite(self) -> Array:
        """The covariance with zeros in the place of what was not measured."""
        return np.where(np.isinf(self.covariance), 0.0, self.covariance)

    def uneven(self, times: float) -> bool:
        """Whether errors of a feature differ by more than so many times: none is so many times its spread else."""
        variance = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        return variance.ndim > 1 and bool((variance.max(axis=0) > times**2 * variance.min(axis=0)).any())

    def not_measured(self, cells: NDArray[np.bool_]) -> FeatureErrors:
        """Return the errors with these cells, (n, q), not measured."""
        kept = ~cells
        every = np.broadcast_to(self.covariance, (len(cells), *self.covariance.shape[-2:]))
        covariance = np.where(kept[:, :, None] & kept[:, None, :], every, 0.0)
        covariance[:, np.arange(cells.shape[1]), np.arange(cells.shape[1])] += np.where(cells, np.inf, 0.0)
        with_target = None if self.with_target is None else np.where(kept, self.with_target, 0.0)
        readings = self.readings
        if readings is not None:
            readings = replace(readings, side=np.where(kept, readings.side, 0.0))
        return replace(self, covariance=covariance, with_target=with_target, readings=readings)

    def among(self, noisy: NDArray[np.intp]) -> Array:
        """Return the covariance for these features, of which those without an error here have zeros.

        That with the target's error, if there is any, is a last column.
        """
        place = np.searchsorted(noisy, self.noisy)
        target = np.zeros(1) if self.with_target is None else self.with_target
        shape = np.broadcast_shapes(self.covariance.shape[:-2], target.shape[:-1])
        wider = np.zeros((*shape, len(noisy), len(noisy) + int(self.with_target is not None)))
        wider[..., place[:, None], place] = self.covariance
        if self.with_target is not None:
            wider[..., place, -1] = self.with_target
        return wider

    def take(self, index: slice | NDArray[np.intp]) -> FeatureErrors:
        """Return the errors of some rows."""
        readings = None if self.readings is None else self.readings.take(index)
        covariance, with_target = taken(self.covariance, index, 2), taken(self.with_target, index, 1)
        return FeatureErrors(self.noisy, covariance, with_target, readings, taken(self.groups, index))

    def holding(self, measured: Array) -> FeatureErrors:
        """Return errors of other readings, (n, q), that are limits where those that there are hold."""
        return self if self.readings is None else replace(self, readings=self.readings.holding(measured))

    def common(self) -> FeatureErrors | None:
        """Return the errors that all rows have, or None where they differ; limits are no errors."""
        covariance, with_target = self.covariance, self.with_target
        if covariance.ndim == 3:
            covariance = covariance[0]
        if with_target is not None and with_target.ndim == 2:
            with_target = with_target[0]
        same = (self.covariance == covariance).all() and np.all(self.with_target == with_target)
        if not same:
            return None
        return FeatureErrors(self.noisy, covariance, with_target)

    def typical(self, frequency: Array | None) -> FeatureErrors:
        """Return the errors of a row of which no more is known: those that all have, else in root mean square.

        Cells that were not measured are left out of the mean.

        Parameters
        ----------
        frequency : ndarray of shape (n,), optional
            How often each row counts.
        """
        common = self.common()
        if common is not None and common.unmeasured is None:
            return common
        cells = self.unmeasured
        if cells is None:
            covariance, with_target = (
                value
                if value is None or value.ndim == dimensions
                else np.average(value, axis=0, weights=frequency)
                for value, dimensions in ((self.covariance, 2), (self.with_target, 1))
            )
            return FeatureErrors(self.noisy, np.asarray(covariance), with_target)
        weight = (~cells).astype(np.float64) * (1.0 if frequency is None else frequency[:, None])
        both = np.sqrt(weight[:, :, None] * weight[:, None, :])
        covariance = (both * self.finite).sum(axis=0) / np.maximum(
            both.sum(axis=0), np.finfo(np.float64).tiny
        )
        with_target = None
        if self.with_target is not None:
            with_target = (weight * self.with_target).sum(axis=0) / weight.sum(axis=0)
        return FeatureErrors(self.noisy, covariance, with_target)

    def exceed(self, measured: Array, frequency: Array | None) -> NDArray[np.bool_]:
        """Return which noisy features are told to have errors as large as their whole spread, (q,).

        Rows count by their precision: a few that say nothing do not hide the others.

        Parameters
        ----------
        measured : ndarray of shape (n, q)
        frequency : ndarray of shape (n,), optional
            How often each row counts.
        """
        variance = np.diagonal(self.covariance, axis1=-2, axis2=-1).reshape(-1, len(self.noisy))
        least = variance.min(axis=0)
        positive = np.where(least > 0.0, variance, 1.0)
        precision = np.broadcast_to(positive.min(axis=0) / positive, measured.shape)
        weight = precision if frequency is None else precision * frequency[:, None]
        weight = weight / weight.sum(axis=0)
        spread = (weight * np.square(measured - (weight * measured).sum(axis=0))).sum(axis=0)
        return np.asarray(least / np.average(precision, axis=0, weights=frequency) >= spread) & (least > 0.0)


def resolve_feature_errors(
    n: int,
    names: Sequence[str],
    *,
    X_err: object = None,
    X_cov: object = None,
    Xy_cov: object = None,
    columns: HeldErrors | None = None,
    y_err: Array | float | None = None,
    missing: NDArray[np.bool_] | None = None,
    X: NDArray[np.floating] | None = None,
    X_censored: object = None,
) -> FeatureErrors | None:
    """Settle what errors the features have, and check them.

    Parameters
    ----------
    n : int
        Rows of X.
    names : sequence of str
        Names of the features.
    X_err, X_cov, Xy_cov : optional
        As given to fit or predict.
    columns : HeldErrors, optional
        Errors from columns of X.
    y_err : float or ndarray of shape (n,), optional
        Known standard errors of the target, which `Xy_cov` has to go with.
    missing : ndarray of shape (n, p), optional
        Cells that were not measured: what is stated of them does not matter.
    X : ndarray of shape (n, p), optional
        The features, where X_censored may be given.
    X_censored : optional
        As given to fit or predict: features of which X is a limit join those with errors.

    Returns
    -------
    FeatureErrors or None
        None where no feature has an error.

    Raises
    ------
    TypeError, ValueError
        Naming the argument that is wrong and the remedy.
    """
    given = [
        name
        for name, value in (("X_err", X_err), ("X_cov", X_cov), ("error_columns", columns))
        if value is not None
    ]
    if len(given) > 1:
        raise ValueError(f"Both {' and '.join(given)} state the features' errors: leave all but one out.")
    p = len(names)
    noisy, covariance = np.zeros(0, dtype=np.intp), np.zeros((0, 0))
    if missing is not None and not missing.any():
        missing = None
    if X_cov is not None:
        every = _covariances(X_cov, n, names, missing)
        noisy = np.flatnonzero(np.diagonal(every, axis1=-2, axis2=-1).reshape(-1, p).any(axis=0))
        covariance = every[..., noisy[:, None], noisy]
    elif X_err is not None or columns is not None:
        place, error = np.arange(p), np.zeros(p)
        if columns is not None:
            place, error = columns.place, columns.error
            error = error if missing is None else np.where(missing[:, place], 0.0, error)
            _check_numbers(error, "The error columns (error_columns)")
        else:
            error = _standard_errors(X_err, n, names, missing)
        some = np.flatnonzero(error.reshape(-1, len(place)).any(axis=0))
        some = some[np.argsort(place[some])]
        noisy, error = place[some], error[..., some]
        covariance = np.square(error)[..., None] * np.eye(len(noisy))
        covariance = covariance if columns is None else _with_held(covariance, columns, some, missing)
    readings = None if X is None else resolve_reading_limits(X, X_censored, names)
    if missing is not None or readings is not None:
        stated, lacking = FeatureErrors(noisy, covariance), np.zeros(p, dtype=bool)
        for cells in (missing, None if readings is None else readings.cells):
            lacking |= False if cells is None else cells.any(axis=0)
        noisy = np.union1d(noisy, np.flatnonzero(lacking))
        covariance = stated.among(noisy)
    if not len(noisy):
        if Xy_cov is not None:
            raise ValueError("Xy_cov is given, but no errors of X: give X_err or X_cov, too.")
        return None
    with_target = None
    if Xy_cov is not None:
        with_target = _with_target(Xy_cov, n, names, noisy, missing)
        _check_joint(covariance, with_target, y_err)
    if readings is not None:
        readings = ReadingLimits(readings.side[:, noisy], readings.limit[:, noisy])
    found = FeatureErrors(noisy, covariance, with_target, readings)
    return found if missing is None else found.not_measured(missing[:, noisy])


def _standard_errors(
    value: object, n: int, names: Sequence[str], missing: NDArray[np.bool_] | None = None
) -> Array:
    """Return standard errors as (p,) or (n, p)."""
    p = len(names)
    array = numbers(aligned(value, names, "X_err"), "X_err")
    if array.ndim == 0:
        array = np.full(p, array)
    elif array.shape == (n,) and p == 1:
        array = array[:, None]
    if array.shape not in ((p,), (n, p)):
        only = ", or one per row" if p == 1 else ""
        raise ValueError(
            f"X_err has shape {array.shape}; there are {n} rows and {p} features: give one number, one per"
            f" feature ({p},), or one per cell ({n}, {p}){only}."
        )
    if missing is not None and array.ndim == 2:
        array = np.where(missing, 0.0, array)
    _check_numbers(array, "X_err")
    return array


def _with_held(
    covariance: Array, columns: HeldErrors, some: NDArray[np.intp], missing: NDArray[np.bool_] | None
) -> Array:
    """Return covariances, (n, q, q), with what columns of X hold of those of two features' errors."""
    where = {int(held): i for i, held in enumerate(some)}
    for first, second, values in columns.covariances:
        if missing is not None:
            values = np.where(missing[:, columns.place[[first, second]]].any(axis=1), 0.0, values)
        if not np.isfinite(values).all():
            raise ValueError(
                "A covariance's column (error_columns) contains NaN or infinity, first in row"
                f" {int(np.argmin(np.isfinite(values)))}. Fill in these values; 0 means not correlated."
            )
        if first in where and second in where:
            one, other = where[first], where[second]
            covariance[:, one, other] = covariance[:, other, one] = values
        elif values.any():
            raise ValueError(
                "A covariance's column (error_columns) is not zero for a feature whose errors are all 0: mend one."
            )
    if columns.covariances and len(some):
        _check_size(covariance, "A covariance's column (error_columns)")
        _check_semidefinite(covariance, "What error_columns name is not a covariance")
    return covariance


def _covariances(
    value: object, n: int, names: Sequence[str], missing: NDArray[np.bool_] | None = None
) -> Array:
    """Return covariances as (p, p) or (n, p, p)."""
    p = len(names)
    if hasattr(value, "columns"):
        value = aligned_both_ways(value, names)
    array = numbers(value, "X_cov")
    if array.shape not in ((p, p), (n, p, p)):
        raise ValueError(
            f"X_cov has shape {array.shape}; there are {n} rows and {p} features: give one covariance for all rows"
            f" ({p}, {p}), or one per row ({n}, {p}, {p}). Standard errors go into X_err."
        )
    if missing is not None and array.ndim == 3:
        array = np.where(missing[:, :, None] | missing[:, None, :], 0.0, array)
    if not np.isfinite(array).all():
        raise ValueError(
            "X_cov contains NaN or infinity. Fill in these values; 0 marks a feature without error."
        )
    _check_size(array, "X_cov")
    scale = np.sqrt(np.maximum(np.diagonal(array, axis1=-2, axis2=-1), 0.0))
    allowed = _ROUNDING * scale[..., :, None] * scale[..., None, :]
    if (np.abs(array - np.swapaxes(array, -1, -2)) > allowed).any():
        raise ValueError(f"X_cov is not symmetric{_where(array, allowed)}. Take (X_cov + its transpose) / 2.")
    _check_semidefinite(array, "X_cov is not a covariance")
    return 0.5 * (array + np.swapaxes(array, -1, -2))


def _with_target(
    value: object,
    n: int,
    names: Sequence[str],
    noisy: NDArray[np.intp],
    missing: NDArray[np.bool_] | None = None,
) -> Array:
    """Return covariances with the target's error as (q,) or (n, q)."""
    p = len(names)
    array = numbers(aligned(value, names, "Xy_cov"), "Xy_cov")
    if array.shape == (n,) and p == 1:
        array = array[:, None]
    if array.ndim == 0 and p == 1:
        array = array[None]
    if array.shape not in ((p,), (n, p)):
        raise ValueError(
            f"Xy_cov has shape {array.shape}; there are {n} rows and {p} features: give the covariance of each"
            f" feature's error with y's, ({p},) for all rows or ({n}, {p})."
        )
    if missing is not None:
        array = np.where(missing, 0.0, array)
    if not np.isfinite(array).all():
        raise ValueError("Xy_cov contains NaN or infinity. Fill in these values; 0 means not correlated.")
    _check_size(array, "Xy_cov")
    exact = np.delete(array, noisy, axis=-1)
    if exact.any():
        place = np.setdiff1d(np.arange(p), noisy)[
            np.flatnonzero(exact.reshape(-1, exact.shape[-1]).any(axis=0))[0]
        ]
        raise ValueError(
            f"Xy_cov is not zero for {names[place]!r}, which has no error: give it one in X_err or X_cov, or set its"
            " Xy_cov to 0."
        )
    return array[..., noisy]


def _check_joint(covariance: Array, with_target: Array, y_err: Array | float | None) -> None:
    """Refuse covariances of features and target that are none together."""
    if y_err is None:
        raise ValueError(
            "Xy_cov is given, but no errors of y that the features' could go with: give y_err, too."
        )
    q = covariance.shape[-1]
    shape = np.broadcast_shapes(covariance.shape[:-2], with_target.shape[:-1], np.shape(y_err))
    joint = np.empty((*shape, q + 1, q + 1))
    joint[..., :q, :q] = covariance
    joint[..., :q, q] = joint[..., q, :q] = with_target
    joint[..., q, q] = np.square(y_err)
    _check_semidefinite(joint, "Xy_cov, with the errors of X and y, is not a covariance")


def _check_semidefinite(array: Array, subject: str) -> None:
    """Refuse matrices with a negative variance or eigenvalue."""
    variance = np.diagonal(array, axis1=-2, axis2=-1)
    scale = np.where(variance > 0.0, np.sqrt(np.abs(variance)), 1.0)
    # Where a variance is zero, so must be its covariances. Impossible correlations are cut off before they overflow.
    with np.errstate(over="ignore"):
        correlation = np.clip(array / scale[..., :, None] / scale[..., None, :], -2.0, 2.0)
    least = np.where((variance < 0.0).any(axis=-1), -1.0, np.linalg.eigvalsh(correlation)[..., 0])
    if least.min() < -_ROUNDING:
        row = f" in row {int(least.argmin())}" if least.ndim else ""
        raise ValueError(
            f"{subject}{row}: it has a negative eigenvalue, so that some combination of errors would have a negative"
            " variance. Check the signs and units; a covariance is at most the product of the standard errors."
        )


def _check_numbers(array: Array, argument: str) -> None:
    """Refuse standard errors that are not finite, or negative."""
    smallest, largest = float(array.min(initial=0.0)), float(array.max(initial=0.0))
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        first = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise ValueError(
            f"{argument}: NaN or infinity found, first at {first}. Fill in these values; 0 marks a feature without"
            " error."
        )
    if smallest < 0.0:
        place = np.unravel_index(int(array.argmin()), array.shape)
        cause = ""
        if "error_columns" in argument:
            cause = " Did something centre or scale the column (a StandardScaler)? Leave it out of that step."
        raise ValueError(
            f"{argument} must be zero or positive, got {smallest:g} at {tuple(map(int, place))}."
            f"{cause or ' These are standard errors; mend them.'}"
        )
    if largest > _LARGEST:
        raise ValueError(f"{argument} must lie below {_LARGEST:g}: change its unit.")


def _check_size(covariance: Array, argument: str) -> None:
    """Refuse covariances that overflow where they are multiplied."""
    if np.abs(covariance).max(initial=0.0) > _LARGEST**2:
        raise ValueError(f"{argument} must lie below {_LARGEST**2:g}: change the unit of X or y.")


def _where(array: Array, allowed: Array) -> str:
    """Say in which row, if there are several matrices."""
    if array.ndim == 2:
        return ""
    apart = (np.abs(array - np.swapaxes(array, -1, -2)) > allowed).any(axis=(1, 2))
    return f" in row {int(np.flatnonzero(apart)[0])}"


def check_measured(of_features: FeatureErrors | None) -> None:
    """Refuse readings of features that are limits, where rows come batch by batch."""
    if of_features is not None and of_features.readings is not None:
        raise ValueError(
            "X_censored, by which X is a limit in some cells, goes with all rows at once: call fit."
        )
