"""What transformers of measured features have in common: the table they read, and the names they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from ..measurements.checks import read_table
from ..measurements.columns import Columns
from ..measurements.messages import shown

__all__ = ["MeasuredTransformer", "OneToOneTransformer", "check_finite"]

Array = NDArray[np.float64]

# By so much of the error that is carried along may the next order differ from it, unless it warns.
CURVED = 0.1


class MeasuredTransformer(TransformerMixin, BaseEstimator):
    """A transformer of a table whose columns hold features and their errors."""

    missing: ClassVar[str] = "model"
    """NaN are features that were not measured."""

    def _read(self, X: ArrayLike, *, reset: bool = False) -> tuple[Array, Columns]:
        """Return the table, copied, and which of its columns are features; errors checked."""
        if not reset:
            check_is_fitted(self)
        table = np.array(read_table(self, X, reset=reset), dtype=np.float64)
        columns = self._columns(table.shape[1])
        for feature, place in columns.errors.items():
            error, name = table[:, place], shown(columns.names[place])
            broken = np.isnan(error) & ~np.isnan(table[:, feature])
            if broken.any():
                raise ValueError(
                    f"X has a value of {shown(columns.names[feature])} in row {int(np.argmax(broken))}, but its"
                    f" error, in the column {name}, is NaN. Fill it in; 0 marks a value without error."
                )
            if (error < 0.0).any():
                raise ValueError(
                    f"X has errors below 0 in the column {name}, first in row {int(np.argmax(error < 0.0))}. Did"
                    " something centre or scale the column? These are standard errors; leave it out of that step."
                )
        return table, columns

    def _columns(self, n_columns: int) -> Columns:
        names = getattr(self, "feature_names_in_", None)
        columns = Columns.of({}, names, n_columns, getattr(self, "error_columns", None))
        held = list(columns.errors.values())
        twice = [place for place in held if held.count(place) > 1]
        if twice:
            raise ValueError(
                f"error_columns: {shown(columns.names[twice[0]])} holds the errors of several features, which will"
                " differ once they are transformed. Give each feature a column of its own."
            )
        return columns

    def _labels(self, input_features: Any = None) -> list[str]:
        """Return the names of the columns that come in."""
        return [str(name) for name in _check_feature_names_in(self, input_features)]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class OneToOneTransformer(OneToOneFeatureMixin, MeasuredTransformer):
    """A transformer that gives every column its place and name back."""


def check_finite(values: Array, given: Array, name: object, what: str) -> None:
    """Refuse results that are no numbers, where what was given is one."""
    broken = ~np.isfinite(values) & ~np.isnan(given)
    if broken.any():
        row = int(np.argmax(broken))
        raise ValueError(
            f"X: {what} of {given[row]:g} is not finite, in row {row} of the column {shown(name)}. Leave the row out,"
            " make the cell NaN (not measured), or take another function."
        )


def places_of(features: Sequence[Any], columns: Columns, argument: str, find: Any) -> list[int]:
    """Return the positions of columns that are features."""
    names = [str(name) for name in columns.names]
    found = [find(feature, names, len(names), argument) for feature in features]
    allowed = range(len(names)) if columns.features is None else columns.features
    for place in found:
        if place not in allowed:
            raise ValueError(f"{argument}: the column {shown(names[place])} holds errors, it is no feature.")
    if len(set(found)) < len(found):
        raise ValueError(f"{argument} names a feature twice.")
    return found
