"""New rows that lack features, or have limits in their place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inference.posterior import Posterior
from ..measurements.columns import Columns
from ..measurements.limits import ReadingLimits, resolve_reading_limits
from ..measurements.messages import shown

__all__ = ["filled_rows", "gaps_of", "limits_of"]


def gaps_of(table: NDArray[Any], columns: Columns, posterior: Posterior) -> NDArray[np.bool_] | None:
    """Return which features of new rows were not measured, (n, p), or None.

    Raises
    ------
    ValueError
        Where one is that all rows of fit had.
    """
    found = columns.missing(table)
    if not found.any():
        return None
    beyond: NDArray[np.bool_] = np.asarray(found.any(axis=0))
    true = posterior.true_features
    beyond[[] if true is None else true.noisy] = False
    if beyond.any():
        raise ValueError(
            f"X has NaN in {shown(columns.feature_names[beyond][0])}, which no row of the fit lacked and which had no"
            " errors: how it is distributed given the others is not known. Fit with rows that lack it, or fill in its"
            " value."
        )
    return found


def limits_of(
    table: NDArray[Any], X_censored: object, columns: Columns, posterior: Posterior
) -> ReadingLimits | None:
    """Return which readings of new rows' features with errors are limits, or None.

    Raises
    ------
    TypeError, ValueError
        For bad input, and where a feature is a limit whose distribution no fit has found.
    """
    names, true = columns.feature_names, posterior.true_features
    if X_censored is None:
        return None
    features = np.asarray(table if columns.features is None else table[:, columns.features], dtype=np.float64)
    found = resolve_reading_limits(features, X_censored, names.tolist())
    if found is None:
        return None
    if posterior.effects is not None:
        raise ValueError(
            "X_censored: after a fit with group_column new rows have no limits in the place of features. Give NaN, of"
            " which nothing is known, or a value with an error in X_err."
        )
    noisy = np.zeros(0, dtype=np.intp) if true is None else true.noisy
    beyond: NDArray[np.bool_] = np.asarray(found.cells.any(axis=0))
    beyond[noisy] = False
    if beyond.any():
        raise ValueError(
            f"X_censored says that {shown(names[beyond][0])} is a limit, which it was in no row of the fit and which"
            " had no errors: how it is distributed given the others is not known. Fit with such rows, or fill in its"
            " value."
        )
    return ReadingLimits(found.side[:, noisy], found.limit[:, noisy])


def filled_rows(
    table: NDArray[Any], gaps: NDArray[np.bool_] | None, columns: Columns, posterior: Posterior
) -> NDArray[Any]:
    """Return new rows with what is expected in the place of what was not measured; their errors say so."""
    true = posterior.true_features
    if gaps is None or true is None:
        return table
    features = np.arange(table.shape[1]) if columns.features is None else columns.features
    filled = np.array(table, dtype=np.float64)
    places, expected = features[true.noisy], true.expected(filled[:, features], posterior.weights)
    filled[:, places] = np.where(gaps[:, true.noisy], expected, filled[:, places])
    return filled
