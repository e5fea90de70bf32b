"""Checks of what the user gives: one sentence that names the argument, what is wrong, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import column_or_1d, validate_data

from .groups.labels import unlabelled
from .messages import LONGEST, first_offender, shortened, shown

Array = NDArray[np.float64]

# Errors and weights are squared, and divided by.
LARGEST = 1e100

# A share times its count may miss a whole number by rounding of the share; by more, it is no count.
FAR_FROM_WHOLE = 0.25

# What rounding of a few operations leaves outside 0 to 1 is no more than this.
_ROUNDING = 16.0 * np.finfo(np.float64).eps


def as_floats(value: object) -> Array:
    """Return numbers of any shape as an array of floats; masked ones are none.

    Raises
    ------
    TypeError
        Where they are no real numbers.
    """
    try:
        given = np.asarray(value)
    except Exception as error:  # ragged, or an object that says it is an array
        raise TypeError(str(error)) from error
    words = given.dtype.kind == "O" and any(isinstance(x, str | bytes | np.ndarray) for x in given.flat)
    if given.dtype.kind not in "biufO" or words or np.ma.is_masked(value):
        raise TypeError("no real numbers")
    try:
        with np.errstate(over="ignore"):  # of long doubles: infinity
            return given.astype(np.float64, copy=False)
    except Exception as error:
        raise TypeError(str(error)) from error


def check_vector(
    value: object, n: int, name: str, *, positive: bool = False, scalar: bool = True, signed: bool = False
) -> Array:
    """Return an argument that has one number per row (or one for all) as a float array.

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
    signed : bool, default=False
        Whether numbers below zero are.

    Returns
    -------
    ndarray of shape (n,), or of shape () for one number

    Raises
    ------
    TypeError, ValueError
        Where it isn't that, has NaN or infinity, or numbers below (or at) zero.
    """
    try:
        array = as_floats(value)
    except TypeError:
        reason = first_offender(value) or f"got {shown(value)}"
        raise TypeError(f"{name} must be an array of {n} real numbers, but {reason}.") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,) and not (scalar and array.ndim == 0):
        raise ValueError(f"{name} has shape {array.shape}, but X has {n} rows: give one number per row.")
    if not array.size:
        return array
    smallest, largest = float(array.min()), float(array.max())
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        row = "" if array.ndim == 0 else f", first in row {int(np.argmin(np.isfinite(array)))}"
        of_limit = " A limit (y_censored) has the error of a reading there; 0 where it limits the true value."
        remedy = f"Drop these rows or fill in their values.{of_limit * name.startswith('y_err')}"
        raise ValueError(f"{name} contains NaN or infinity{row}. {remedy}")
    if (not signed and smallest < 0.0) or (positive and smallest == 0.0):
        wanted = "positive" if positive else "zero or positive"
        row = "" if array.ndim == 0 else f" in row {int(array.argmin())}"
        cause = ""
        if name.endswith("_column") and smallest < 0.0:
            cause = " Did something centre or scale the column (a StandardScaler)? Leave it out of that step."
        remedy = " Mend or drop it."
        if smallest == 0.0 and name.startswith("y_err"):
            remedy = (
                " Where a row has no error but a scatter that all have, use fit's noise='auto' or 'additive'."
            )
        raise ValueError(f"{name} must be {wanted}, got {smallest:g}{row}.{cause or remedy}")
    if largest > LARGEST or (positive and smallest < 1.0 / LARGEST):
        raise ValueError(f"{name} must lie between {1 / LARGEST:g} and {LARGEST:g}: change its unit.")
    return array


def check_squares(X: NDArray[np.floating], y: NDArray[np.floating] | float = 0.0) -> None:
    """Refuse numbers whose squares overflow."""
    for name, values in (("X", X), ("y", y)):
        if (np.abs(values) > np.float64(1e150)).any():  # which narrower types don't have
            raise ValueError(f"{name} has numbers whose squares overflow: change its unit.")


def read_table(
    estimator: Any, X: object, *, reset: bool = False, min_samples: int = 1
) -> NDArray[np.floating]:
    """Return the table X as an array of floats, and settle or check the estimator's number and names of columns.

    Parameters
    ----------
    estimator : estimator
        With ``missing="model"`` numbers may be NaN.
    X : array-like of shape (n, k)
        What the user gave.
    reset : bool, default=False
        Whether X says what the columns are, or has to have those of before.
    min_samples : int, default=1
        The least number of rows.

    Returns
    -------
    ndarray of shape (n, k)

    Raises
    ------
    TypeError, ValueError
        Naming X.
    """
    if not reset and is_plain(X, 2) and not hasattr(estimator, "feature_names_in_"):
        rows, columns = X.shape  # type: ignore[attr-defined]
        plain = rows >= min_samples and columns == getattr(estimator, "n_features_in_", None)
        if plain and getattr(estimator, "group_column", None) is None:
            return X  # type: ignore[return-value]
    finite = "allow-nan" if (missing := getattr(estimator, "missing", None)) == "model" else True
    remedy = ", or use missing='model': such features were not measured" if missing == "error" else ""
    X = unlabelled(X, getattr(estimator, "group_column", None))
    with named("X", lambda said: _where_in_table(estimator, X, said), remedy):
        check_unmasked(X)
        wanted = {"dtype": [np.float64, np.float32], "ensure_min_samples": min_samples}
        return validate_data(estimator, X, reset=reset, ensure_all_finite=finite, **wanted)


def is_plain(values: Any, ndim: int) -> bool:
    """Return whether scikit-learn would return a small array as it is: of one row its checks take the longest."""
    few = 1024
    plain = type(values) is np.ndarray and values.dtype == np.float64 and values.ndim == ndim
    return plain and 0 < values.size <= few and bool(np.isfinite(values).all())


def _where_in_table(estimator: Any, X: Any, said: str) -> str:
    """Say what in a table is refused: which column, in which row, and what to do about it."""
    column_settings = ("count_column", "y_err_column", "exposure_column", "y_censored_column")
    settings = {s: getattr(estimator, s, None) for s in column_settings}
    lacking = [s for s, column in settings.items() if column is not None]
    if "sparse" in said.lower():
        return " Of a OneHotEncoder: sparse_output=False; of a ColumnTransformer: sparse_threshold=0."
    if re.search("expecting|yet now missing", said) and lacking:
        unknown = " In new rows a count of 0 says that it is not known." if "count_column" in lacking else ""
        return f" X needs the columns that fit had, that of {' and '.join(lacking)}, too.{unknown}"
    if hasattr(X, "collect") and not hasattr(X, "shape"):
        return " It has no rows yet: give X.collect()."
    # polars warns where a lazy frame is asked for columns.
    frame = hasattr(X, "shape") and hasattr(X, "columns")
    nan_allowed, first, others = getattr(estimator, "missing", None) == "model", "", list[str]()
    try:
        names = [str(name) for name in X.columns] if frame else None
        columns = [X[name] for name in X.columns] if frame else np.asarray(X).T
        for place, column in enumerate(columns):
            label = shown(names[place]) if names else str(place)
            own = (place, place - len(columns), names[place] if names else place)
            what = "".join(f" ({s})" for s in lacking if settings[s] in own)
            reason = first_offender(column)
            if reason:
                labels = " (labels of groups: group_column)" if hasattr(estimator, "group_column") else ""
                said = f" The column {label}{what}: {reason}. Turn it into numbers{labels}, or drop it."
                return said.replace(" The", ": the", 1) if reason.startswith("got ") else said
            values = np.asarray(column, dtype=np.float64)
            broken = np.isinf(values) if nan_allowed else ~np.isfinite(values)
            if broken.any() and first:
                others.append(label)
            elif broken.any():
                first = f" The first is in row {int(np.argmax(broken))} of the column {label}{what}"
        return (first + f", others in {', '.join(others[:3])}" * bool(others) + ".") if first else ""
    except Exception:  # no table of columns: what was said has to do
        pass
    return ""


def read_target(
    y: object,
    estimator: Any = None,
    *,
    n: int | None = None,
    weight: object = None,
    allow_nan: bool = False,
) -> Array:
    """Return the target as an array of floats, (n,); of n rows, where they are known.

    Where `weight`, a row's weight or count, is 0, the target may be NaN (0 of 0), and becomes 0; anywhere it may be
    of an estimator with ``missing="model"``, or with `allow_nan`.

    Raises
    ------
    TypeError, ValueError
        Naming y.
    """
    if y is None:
        name = "" if estimator is None else f"{type(estimator).__name__} "
        raise ValueError(f"This {name}estimator requires y to be passed, but the target y is None.")
    with named("y", lambda said: _where_in_target(y)):
        check_unmasked(y)
        if getattr(y, "ndim", 1) == 2 and getattr(y, "shape", (0, 0))[1] == 2:
            raise ValueError(
                "it has two columns, and one target is fitted at a time. If they are successes and failures, give the"
                " share successes / (successes + failures), and the sum as its count (sample_weight,"
                " weight_type='counts')."
            )
        if type(y) is np.ndarray and y.ndim == 1 and y.dtype == np.float64:
            target: Array = np.ascontiguousarray(y)
        else:
            target = column_or_1d(y, dtype=np.float64, warn=True)
        if weight is not None and np.isnan(target).any():
            target = np.where(np.isnan(target) & _zero(weight, target), 0.0, target)
        allow_nan |= getattr(estimator, "missing", None) == "model"
        assert_all_finite(target, input_name="y", allow_nan=allow_nan)
    if n is not None and len(target) != n:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {[n, len(target)]}\n"
            "X and y need the same number of rows."
        )
    return target


def _where_in_target(y: object) -> str:
    """Say which row of a target is the first that has none."""
    try:
        broken = np.flatnonzero(~np.isfinite(np.asarray(y, dtype=np.float64).ravel()))
    except Exception:  # no numbers
        reason = first_offender(y)
        return f": {reason}. Turn it into numbers." if reason.startswith("got ") else ""
    return f" The first is in row {broken[0]}." if len(broken) else ""


def _zero(weight: object, target: Array) -> NDArray[np.bool_]:
    """Return which rows have a weight of 0: none, where the weights are none."""
    try:
        zero = as_floats(weight) == 0.0
    except TypeError:
        zero = np.zeros(target.shape, dtype=bool)
    return zero if zero.shape == target.shape else np.zeros(target.shape, dtype=bool)


def check_unmasked(values: object) -> None:
    """Refuse masked numbers, which NumPy would give as if they were not."""
    if np.ma.is_masked(values):
        raise ValueError("some are masked. Drop these rows or fill in their values.")


@contextmanager
def named(argument: str, where: Callable[[str], str] = lambda said: "", remedy: str = "") -> Iterator[None]:
    """Make errors of the body name the argument, and say what to do where scikit-learn's don't.

    `where` takes what was said, and says where the offender is, after a colon where that is all there is to say;
    `remedy` says what else may be done about NaN.
    """
    try:
        # scikit-learn looks for infinities by a sum.
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except Exception as error:  # tables may be of any library, with errors of its own
        said, more = str(error), ""
        place = where(said)
        if re.search("NaN|infinity", said):
            more = f" Drop these rows or fill in their values{remedy * ('NaN' in said.split(chr(10))[0])}."
        if more or place.startswith((" The column", ":")):
            said = said.partition("\n")[0]
        if "feature names should match" in said:
            said = f"{argument} must have the columns that it had in fit: {said}"
        wanted = (
            "a table of real numbers, one row per sample" if argument == "X" else "one real number per row"
        )
        if place.startswith(":"):
            # Of text and dates the place says it all.
            more = "" if re.search("string to|promoted", said) else f" ({said})"
            said = f"{argument} must be {wanted}"
        elif not re.search(rf"\b{argument}\b", said):
            said = f"{argument} can't be taken as {wanted}{'.' if 'promoted' in said else f': {said}'}"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(shortened(said, LONGEST - len(place) - len(more)) + place + more) from error


def check_coverage(coverage: object) -> None:
    """Refuse a coverage that is no probability strictly between 0 and 1.

    Raises
    ------
    ValueError
    """
    if not isinstance(coverage, Real) or not 0.0 < coverage < 1.0:  # type: ignore[operator]
        raise ValueError(f"coverage must lie between 0 and 1, got {shown(coverage)}; 95% is 0.95.")


def check_probabilities(values: object, name: str) -> Array:
    """Return probabilities of any shape as an array of floats.

    Raises
    ------
    ValueError
        Where they are no numbers in [0, 1].
    """
    try:
        array = as_floats(values)
    except TypeError:
        array = np.array(np.nan)
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise ValueError(f"{name} must be probabilities in [0, 1], got {shown(values)}.")
    return array


def check_seed(random_state: object) -> np.random.RandomState:
    """Return the generator that scikit-learn's convention makes of a random state.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    try:
        return check_random_state(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            "random_state must be None, a whole number from 0 to 2**32 - 1, or a RandomState, got"
            f" {shown(random_state)}."
        ) from None


def check_flag(value: object, name: str) -> bool:
    """Return whether an argument that is True or False is True; 1 and 0 will do.

    Raises
    ------
    TypeError
    """
    if not isinstance(value, bool | np.bool_ | Integral) or value not in (0, 1):
        raise TypeError(f"{name} must be True or False, got {shown(value)}.")
    return bool(value)


def check_n_samples(n_samples: object) -> int:
    """Return a number of draws; refuse one that is not whole and positive.

    Raises
    ------
    ValueError
    """
    if not isinstance(n_samples, Integral) or isinstance(n_samples, bool) or n_samples < 1:
        raise ValueError(f"n_samples must be a positive whole number, got {shown(n_samples)}.")
    return int(n_samples)


def check_counts(counts: Array, name: str, *, whole: bool = True) -> None:
    """Refuse counts that are not whole, or, where others will do, those below one that are neither 0.

    Raises
    ------
    ValueError
    """
    broken = counts != np.rint(counts)
    if not whole:
        broken &= counts < 1.0
    if broken.any():
        row = int(np.flatnonzero(broken)[0]) if counts.ndim else 0
        wanted = "whole numbers" if whole else "zero, or one and more"
        cause = ""
        if name != "counts":
            cause = (
                " If something scaled the column, leave it out of that step; if these are frequencies, give them as"
                " sample_weight and set weight_type='frequency'."
            )
            if "likelihood" in name:
                cause = (
                    " Effective or imputed sample sizes need not be: they go with likelihood='normal' and"
                    " weight_type='counts' (or count_column)."
                )
        raise ValueError(
            f"{name} must be {wanted}, got {np.atleast_1d(counts)[row]:g} in row {row}: a count is the number"
            f" behind a share.{cause}"
        )


def as_shares(y: Array) -> Array:
    """Return shares, put back into [0, 1] where rounding has put them outside; numbers further off as they are."""
    if 0.0 <= float(y.min(initial=0.0)) <= float(y.max(initial=0.0)) <= 1.0:
        return y
    near = np.clip(y, 0.0, 1.0)
    return np.where(np.abs(y - near) <= _ROUNDING, near, y)


def are_shares(y: Array) -> bool:
    """Return whether all numbers are in [0, 1], but for rounding."""
    return bool(y.min(initial=0.0) >= -_ROUNDING and y.max(initial=0.0) - 1.0 <= _ROUNDING)


def check_shares(y: Array, name: str, counts: Array | None = None) -> None:
    """Refuse targets that are no shares, and say what they look like; rows with a count of 0 are left out.

    Raises
    ------
    ValueError
    """
    y = as_shares(y)
    outside = (y < 0.0) | (y > 1.0)
    if counts is not None:
        outside &= counts > 0.0
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        if counts is not None and (y >= 0.0).all() and (y <= counts).all() and (y == np.rint(y)).all():
            remedy = "If these are numbers of successes, divide them by the counts"
        elif (y >= 0.0).all() and (y <= 100.0).all():
            remedy = "If these are percentages, divide them by 100; if numbers of successes, by the counts"
        else:
            remedy = "Divide numbers of successes by the counts"
        other = (
            ""
            if name.startswith("likelihood=")
            else "; if these are no shares, use y_err or weight_type='frequency'"
        )
        raise ValueError(
            f"With {name}, y must be shares in [0, 1], got {y[row]:g} in row {row}. {remedy}{other}."
        )
