"""What the estimator was told of groups, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...measurements.columns import Columns
from ...measurements.feature_errors import FeatureErrors
from ...measurements.groups.labels import Groupings, group_columns

__all__ = ["group_settings", "grouped"]


def group_settings(model: Any) -> dict[str, Any]:
    """Return the columns that hold groups' labels, by what messages call them."""
    listed = group_columns(model.group_column)
    if not listed:
        for name in ("group_slopes", "group_prior"):
            if getattr(model, name) is not None:
                raise ValueError(f"{name} is given, but group_column, which says what groups are of, is not.")
    return {"group_column" if not i else f"group_column[{i}]": column for i, column in enumerate(listed)}


def grouped(
    model: Any, X: Any, columns: Columns, errors: FeatureErrors | None, correlated: object, *, batch: bool
) -> tuple[Groupings | None, NDArray[np.intp] | None]:
    """Return how rows are grouped, and which group each is of, (n, K)."""
    if model.group_column is None:
        return None, None
    if correlated is not None:
        raise ValueError(
            "y_cov and y_shared_err don't go with group_column: a shared error is an effect of the group of rows that"
            " share it. Leave one of them out."
        )
    names = columns.feature_names.tolist()
    found, members = Groupings.of(X, model.group_column, model.group_slopes, names, batch=batch)
    noisy = set() if errors is None else set(errors.noisy.tolist())
    for place in sorted({place for slopes in found.slopes for place in slopes} & noisy):
        raise ValueError(
            f"group_slopes: {names[place]!r} has errors or gaps: slopes that differ are of exact features."
        )
    return found, members
