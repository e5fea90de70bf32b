"""Arguments that are labelled by the features, in the features' order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import as_floats
from .messages import first_offender, shown

__all__ = ["aligned", "aligned_both_ways", "numbers"]

Array = NDArray[np.float64]


def aligned(value: object, names: Sequence[str], argument: str) -> object:
    """Return a frame's columns, or a labelled vector's entries, in the order of the features."""
    if hasattr(value, "columns") and (hasattr(value, "iloc") or hasattr(value, "select")):
        labels = _labels(value, names, argument)
        if hasattr(value, "iloc"):
            return value.iloc[:, [labels.index(name) for name in names]]
        return np.column_stack([np.asarray(value[labels[labels.index(name)]]) for name in names])  # type: ignore[index]
    if hasattr(value, "index") and hasattr(value, "iloc"):
        labels = [str(label) for label in value.index]
        if sorted(labels) == sorted(names):
            return value.iloc[[labels.index(name) for name in names]]
    return value


def _labels(frame: Any, names: Sequence[str], argument: str) -> list[str]:
    """Return the names of a frame's columns, which have to be those of the features."""
    labels = [str(label) for label in getattr(frame, "column_names", frame.columns)]
    if sorted(labels) != sorted(names):
        missing = [name for name in names if name not in labels]
        unknown = [label for label in labels if label not in names]
        raise ValueError(
            f"{argument} is a frame whose columns are not the features: missing {shown(missing)}, unknown"
            f" {shown(unknown)}. Name"
            " them as in X."
        )
    return labels


def aligned_both_ways(value: Any, names: Sequence[str]) -> object:
    """Return a covariance's rows and columns in the order of the features; rows go as columns where nameless."""
    columns = _labels(value, names, "X_cov")
    rows = [str(label) for label in value.index] if hasattr(value, "iloc") else columns
    if rows == [str(position) for position in range(len(names))]:
        rows = columns
    if sorted(rows) != sorted(names):
        raise ValueError(
            f"X_cov is a frame whose rows are labelled {shown(rows)}: label them as its columns, or not at all."
        )
    columns_aligned = np.asarray(aligned(value, names, "X_cov"))
    return columns_aligned[[rows.index(name) for name in names]]


def numbers(value: object, argument: str) -> Array:
    """Return an argument's numbers, copied; refuse what is none by the argument's name."""
    try:
        return as_floats(value).copy()
    except TypeError:
        reason = first_offender(value) or f"got {shown(value)}"
        raise TypeError(f"{argument} must be real numbers, but {reason}.") from None
