"""Which columns of X are features, and which hold counts or errors."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .messages import shown

__all__ = ["Columns", "HeldErrors", "find_column"]


class HeldErrors(NamedTuple):
    """Errors of q features."""

    place: NDArray[np.intp]
    """(q,) positions of these among the features."""
    error: NDArray[np.float64]
    """(n, q) standard errors."""
    covariances: tuple[tuple[int, int, NDArray[np.float64]], ...] = ()
    """Positions of two of the q, and the covariance of their errors, (n,)."""


@dataclass(frozen=True, eq=False)
class Columns:
    """The layout of X."""

    names: NDArray[np.object_]
    """(k,) names of all columns."""
    features: NDArray[np.intp] | None
    """Positions of the features; None: all columns."""
    special: Mapping[str, int]
    """Setting to position, for the columns that are no features."""
    errors: Mapping[int, int] = field(default_factory=dict)
    """Position of a feature to that of the column that holds its error."""
    covariances: tuple[tuple[int, int, int], ...] = ()
    """Positions of two features and of the column that holds the covariance of their errors."""

    @classmethod
    def of(
        cls,
        settings: Mapping[str, object],
        names: ArrayLike | None,
        n_columns: int,
        error_columns: Mapping[Any, Any] | str | None = None,
    ) -> Columns:
        """Find the columns that settings name.

        Parameters
        ----------
        settings : dict of str to str, int or None
            Setting (``count_column``) to column.
        names : array of str or None
            Names of the columns, where X has them.
        n_columns : int
        error_columns : dict of str or int to str or int, str or None
            Feature to the column that holds its standard error, or what the names of such columns end with; and
            column to the two features whose errors' covariance it holds, a tuple.

        Raises
        ------
        ValueError
            Where a column is missing or named twice.
        """
        known = None if names is None else [str(name) for name in np.asarray(names)]
        special = {
            setting: find_column(column, known, n_columns, setting)
            for setting, column in settings.items()
            if column is not None
        }
        if len(set(special.values())) < len(special):
            raise ValueError(f"{' and '.join(special)} name the same column of X.")
        pairs = {}
        if isinstance(error_columns, Mapping):
            pairs = {column: of for column, of in error_columns.items() if isinstance(of, tuple | list)}
            error_columns = {feature: of for feature, of in error_columns.items() if feature not in pairs}
        errors = _error_columns(error_columns, known, n_columns, set(special.values()))
        covariances = _covariance_columns(pairs, errors, known, n_columns)
        held = {*errors.values(), *(column for *_, column in covariances)}
        for setting, position in special.items():
            if position in errors or position in held:
                raise ValueError(f"{setting} and error_columns name the same column of X.")
        taken = {*special.values(), *held}
        labels = np.array(known or [f"x{i}" for i in range(n_columns)], dtype=object)
        if not taken:
            return cls(labels, None, special)
        features = np.setdiff1d(np.arange(n_columns), list(taken))
        return cls(labels, features, special, errors, covariances)

    @property
    def feature_names(self) -> NDArray[np.object_]:
        return self.names if self.features is None else self.names[self.features]

    def missing(self, X: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which features were not measured, (n, p)."""
        return np.isnan(X if self.features is None else X[:, self.features])

    def held_errors(self, X: NDArray[np.floating]) -> HeldErrors | None:
        """Return what columns of X hold of the features' errors."""
        if not self.errors or self.features is None:
            return None
        order = list(self.errors)
        return HeldErrors(
            np.searchsorted(self.features, order),
            X[:, list(self.errors.values())].astype(np.float64),
            tuple(
                (order.index(first), order.index(second), X[:, column].astype(np.float64))
                for first, second, column in self.covariances
            ),
        )

    def held(self, X: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
        """Return the columns of X that are no features, by setting."""
        return {setting: X[:, position].astype(np.float64) for setting, position in self.special.items()}


def _error_columns(
    setting: object, names: Sequence[str] | None, n_columns: int, taken: Collection[int]
) -> dict[int, int]:
    """Return the position of each feature whose error is a column, and that column's.

    A suffix passes over columns that are `taken` and of which there is no feature.
    """
    if setting is None:
        return {}
    if isinstance(setting, str):
        if names is None:
            raise ValueError(
                f"error_columns={shown(setting)} is what names end with, but X has no column names: give a data"
                " frame, or a dict of positions."
            )
        pairs = {
            name.removesuffix(setting): name
            for place, name in enumerate(names)
            if setting
            and name.endswith(setting)
            and (place not in taken or name.removesuffix(setting) in names)
        }
        if not pairs:
            raise ValueError(
                f"error_columns={shown(setting)}: no column of X ends with it. It has {shown(list(names))}."
            )
        for feature, column in pairs.items():
            if feature not in names:
                raise ValueError(
                    f"error_columns={shown(setting)}: the column {shown(column)} has no feature {shown(feature)}"
                    " beside it. Rename or drop it, or give a dict of feature to error column."
                )
    elif isinstance(setting, Mapping):
        pairs = dict(setting)
    else:
        raise TypeError(
            f"error_columns must be a dict of feature to error column, or what error columns' names end with, got"
            f" {shown(setting)}."
        )
    found = {
        find_column(feature, names, n_columns, "error_columns"): find_column(
            column, names, n_columns, "error_columns"
        )
        for feature, column in pairs.items()
    }
    if len(found) < len(pairs):
        raise ValueError("error_columns names a feature twice.")
    both = sorted(set(found) & set(found.values()))
    if both:
        label = names[both[0]] if names is not None else both[0]
        raise ValueError(
            f"error_columns: the column {shown(label)} is a feature and the error of one. An error column is no"
            " feature."
        )
    return found


def _covariance_columns(
    pairs: Mapping[Any, Any], errors: Mapping[int, int], names: Sequence[str] | None, n_columns: int
) -> tuple[tuple[int, int, int], ...]:
    """Return the positions of two features each, and of the column that holds their errors' covariance."""
    found: list[tuple[int, int, int]] = []
    for column, features in pairs.items():
        if len(features) != 2:
            raise ValueError(
                f"error_columns: {shown(column)} has {shown(features)}, but a column holds the covariance of two"
                " features' errors: give both, as a tuple."
            )
        place = find_column(column, names, n_columns, "error_columns")
        first, second = sorted(
            find_column(feature, names, n_columns, "error_columns") for feature in features
        )
        if first == second or not {first, second} <= set(errors):
            raise ValueError(
                f"error_columns: {shown(column)} holds the covariance of the errors of {shown(features)}, which have"
                " to be two features with an error column each."
            )
        if place in errors or place in errors.values() or place in [other for *_, other in found]:
            raise ValueError(
                f"error_columns: the column {shown(column)} is named twice. That of a covariance holds nothing else."
            )
        if (first, second) in [(one, other) for one, other, _ in found]:
            raise ValueError(f"error_columns: {shown(features)} have two columns for one covariance.")
        found.append((first, second, place))
    return tuple(found)


def find_column(column: object, names: Sequence[str] | None, n_columns: int, argument: str) -> int:
    """Return the position of a column named by the user.

    Parameters
    ----------
    column : str or int
        Its name, or its position.
    names : sequence of str or None
        The columns' names, where X has them.
    n_columns : int
        How many there are.
    argument : str
        The estimator's argument, for the message.

    Raises
    ------
    TypeError
        Where it is neither.
    ValueError
        Where there is no such column, or several; near matches are listed.
    """
    if isinstance(column, (int, np.integer)) and not isinstance(column, bool):
        if not -n_columns <= column < n_columns:
            raise ValueError(
                f"{argument}={column}, but X has {n_columns} columns. Did something that selects features (RFECV,"
                " SequentialFeatureSelector, BaggingRegressor(max_features=...)) drop some? Positions then move: give"
                " it the features alone, and counts or errors to fit (sample_weight, y_err)."
            )
        return int(column) % n_columns
    if not isinstance(column, str):
        raise TypeError(f"{argument} must be a column's name or its position, got {shown(column)}.")
    if names is None:
        raise ValueError(
            f"{argument}={shown(column)} names a column, but X has no column names: give a data frame (from a"
            " transformer, set_output(transform='pandas')), or the column's position. What draws rows or drops"
            " columns (BaggingRegressor, AdaBoostRegressor, RFECV) makes frames arrays."
        )
    if column in names:
        if list(names).count(column) > 1:
            raise ValueError(
                f"{argument}={shown(column)} names several columns of X: rename them, or give a position."
            )
        return list(names).index(column)
    # A ColumnTransformer puts the transformer's name in front.
    renamed = [name for name in names if str(name).endswith(f"__{column}")]
    near = renamed or difflib.get_close_matches(str(column), list(names), n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(shown, near[:3]))}?" if near else f" It has {shown(list(names))}."
    prefix = " A ColumnTransformer with verbose_feature_names_out=False keeps the name." if renamed else ""
    raise ValueError(f"{argument}={shown(column)} is not a column of X.{hint}{prefix}")
