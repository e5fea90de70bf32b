"""Checks of what the user gives: one sentence that names the argument, what is wrong, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Errors and weights are squared, and divided by.
_LARGEST = 1e100


def check_vector(value: object, n: int, name: str, *, positive: bool = False, scalar: bool = True) -> Array:
    """Return an argument that has one number a row (or one for all) as a float array.

    Parameters
    ----------
    value : object
        What the user gave.
    n : int
        Rows of X.
    name : str
        The argument, for the message.
    positive : bool, default=False
        Whether zero is refused.
    scalar : bool, default=True
        Whether one number for all rows is allowed.

    Returns
    -------
    ndarray of shape (n,), or of shape () for one number

    Raises
    ------
    TypeError, ValueError
        Where it isn't that, has NaN or infinity, or numbers below (or at) zero.
    """
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "biufO":
            raise TypeError
        array = given.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an array of {n} real numbers, got {value!r}.") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,) and not (scalar and array.ndim == 0):
        raise ValueError(f"{name} has shape {array.shape}, but X has {n} rows: give one number a row.")
    if not array.size:
        return array
    smallest, largest = float(array.min()), float(array.max())
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ValueError(f"{name} contains NaN or infinity. Drop these rows or fill in their values.")
    if smallest < 0.0 or (positive and smallest == 0.0):
        wanted = "positive" if positive else "zero or positive"
        row = "" if array.ndim == 0 else f" in row {int(array.argmin())}"
        cause = ""
        if name.endswith("_column"):
            cause = " Did something centre or scale the column (a StandardScaler)? Leave it out of that step."
        raise ValueError(f"{name} must be {wanted}, got {smallest:g}{row}.{cause or ' Mend or drop it.'}")
    if largest > _LARGEST or (positive and smallest < 1.0 / _LARGEST):
        raise ValueError(f"{name} must lie between {1 / _LARGEST:g} and {_LARGEST:g}: change its unit.")
    return array


@contextmanager
def remedies() -> Iterator[None]:
    """Add what to do to scikit-learn's messages about X and y that don't say."""
    try:
        yield
    except ValueError as error:
        if "inconsistent numbers of samples" in str(error):
            hint = "X and y need the same number of rows."
        elif re.search("NaN|infinity", str(error)):
            hint = "Drop these rows or fill in their values."
        else:
            raise
        raise ValueError(f"{error}\n{hint}") from None


def check_coverage(coverage: object) -> None:
    """Refuse a coverage that is no probability strictly between 0 and 1.

    Raises
    ------
    ValueError
    """
    if not isinstance(coverage, Real) or not 0.0 < float(coverage) < 1.0:
        raise ValueError(f"coverage must lie between 0 and 1, got {coverage!r}; 95% is 0.95.")


def check_n_samples(n_samples: object) -> None:
    """Refuse a number of draws that is not whole and positive.

    Raises
    ------
    ValueError
    """
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples must be a positive whole number, got {n_samples!r}.")


def check_counts(counts: Array, name: str) -> None:
    """Refuse counts that are not whole.

    Raises
    ------
    ValueError
    """
    broken = counts != np.rint(counts)
    if broken.any():
        row = int(np.flatnonzero(broken)[0]) if counts.ndim else 0
        cause = ""
        if name != "counts":
            cause = (
                " If something scaled the column, leave it out of that step; if these are frequencies, give them as"
                " sample_weight and set weight_type='frequency'."
            )
        raise ValueError(
            f"{name} must be whole numbers, got {np.atleast_1d(counts)[row]:g} in row {row}: a count is the number"
            f" behind a share.{cause}"
        )


def check_shares(y: Array, name: str) -> None:
    """Refuse targets that are no shares.

    Raises
    ------
    ValueError
    """
    outside = (y < 0.0) | (y > 1.0)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"With {name}, y must be shares in [0, 1], got {y[row]:g} in row {row}. Divide by the counts, or, if"
            " these numbers are not the counts behind shares, use weight_type='frequency' or y_err."
        )
