"""Labels of groups: which columns of X hold them, of any type, and which group each row is of."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..columns import find_column
from ..messages import shown

__all__ = ["Groupings", "group_columns", "unlabelled"]

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Groupings:
    """The ways in which rows are grouped, as fit found them; of the size of their labels, not of the table."""

    columns: tuple[Any, ...]
    """(K,) as the estimator's ``group_column`` names them."""
    labels: tuple[NDArray[Any], ...]
    """(K,) arrays of the groups' labels."""
    slopes: tuple[tuple[int, ...], ...]
    """(K,) positions among the features of those whose slopes differ from group to group."""
    names: tuple[str, ...]
    """(K,) names of the columns."""

    @classmethod
    def of(
        cls, X: Any, columns: object, slopes: object, features: Sequence[str], *, batch: bool = False
    ) -> tuple[Groupings, Index]:
        """Find the groups of training rows.

        Parameters
        ----------
        X : array-like of shape (n, k)
            As given to fit.
        columns : str, int or list of these
            The estimator's ``group_column``.
        slopes : str, int, list or dict
            Its ``group_slopes``.
        features : sequence of str
            The features' names.
        batch : bool, default=False
            Whether other rows bring other labels, so that one is enough.

        Returns
        -------
        Groupings
        members : ndarray of shape (n, K)
            Position among the labels of each row's group.

        Raises
        ------
        ValueError, TypeError
            Where a column is not there, a label is missing, all rows have one, or slopes are of no feature.
        """
        listed = group_columns(columns)
        found = [_factorized(_values(X, column), column) for column in listed]
        of_slopes = _slopes(slopes, listed, features)
        names = tuple(_name(X, column) for column in listed)
        for column, (_, labels) in zip(listed, found, strict=True):
            if len(labels) < 2 and not batch:
                raise ValueError(f"group_column={shown(column)}: {_of_one_group(labels)} Leave it out.")
        members = np.column_stack([codes for codes, _ in found])
        return cls(listed, tuple(labels for _, labels in found), of_slopes, names), members

    def merged(self, other: Groupings) -> tuple[Groupings, tuple[list[Index], list[Index]]]:
        """Return the groups of both tables' rows, and for each the positions that its labels have there, (J,) each.

        Raises
        ------
        ValueError
            Where labels are of other types.
        """
        import pandas as pd

        labels: list[NDArray[Any]] = []
        places: tuple[list[Index], list[Index]] = [], []
        for column, own, others in zip(self.columns, self.labels, other.labels, strict=True):
            codes, every = _factorized(
                pd.concat([pd.Series(own), pd.Series(others)], ignore_index=True), column
            )
            if len(every) == len(codes):
                _check_alike(others, own, column, "the rows before")
            labels.append(every)
            for found, part in zip(places, (codes[: len(own)], codes[len(own) :]), strict=True):
                found.append(part)
        return replace(self, labels=tuple(labels)), places

    @property
    def only_one(self) -> str | None:
        """Why nothing can be learned of groups yet, a sentence; None: there are several in each grouping."""
        for column, labels in zip(self.columns, self.labels, strict=True):
            if len(labels) < 2:
                return f"group_column={shown(column)}: {_of_one_group(labels)}"
        return None

    @property
    def sizes(self) -> tuple[int, ...]:
        """(K,) how many groups there are."""
        return tuple(len(labels) for labels in self.labels)

    @property
    def coords(self) -> dict[str, NDArray[Any]]:
        """The groups' labels as words, by grouping."""
        return {
            name: np.array([str(label) for label in labels])
            for name, labels in zip(self.names, self.labels, strict=True)
        }

    def terms(self, features: Sequence[str]) -> list[tuple[int, str, str]]:
        """Return the grouping of each kind of effects, what it is of ("intercept", or a feature), and its name."""
        return [
            (k, term, f"{name}, {term}" if i else name)
            for k, (name, slopes) in enumerate(zip(self.names, self.slopes, strict=True))
            for i, term in enumerate(["intercept", *(str(features[place]) for place in slopes)])
        ]

    def members(self, X: Any) -> Index:
        """Return the groups of new rows, (n, K): beyond those of fit each new label is one, each missing its own.

        Raises
        ------
        ValueError
            Where labels are of another type than those of fit, or their column is not there.
        """
        found = np.empty((len(X), len(self.columns)), dtype=np.intp)
        for k, (column, labels) in enumerate(zip(self.columns, self.labels, strict=True)):
            found[:, k] = _looked_up(_values(X, column), labels, column)
        return found


def group_columns(setting: object) -> tuple[Any, ...]:
    """Return the columns that ``group_column`` names.

    Raises
    ------
    TypeError, ValueError
    """
    if setting is None:
        return ()
    if isinstance(setting, str | int | np.integer) and not isinstance(setting, bool):
        return (setting,)
    if isinstance(setting, list | tuple) and setting:
        if len(set(setting)) < len(setting):
            raise ValueError(f"group_column={shown(setting)} names a column twice.")
        return tuple(setting)
    raise TypeError(
        f"group_column must be a column's name or position, or a list of these, got {shown(setting)}."
    )


def unlabelled(X: Any, setting: object) -> Any:
    """Return X with numbers in the place of labels, which are of any type; arrays of numbers as they are."""
    columns = group_columns(setting)
    if not columns:
        return X
    if type(X).__module__.partition(".")[0] == "polars":
        X = X.with_columns(**{str(column): sys.modules["polars"].lit(0.0) for column in columns})
    if hasattr(X, "iloc"):
        X = X.copy(deep=False)
        names = [str(name) for name in X.columns]
        for column in columns:
            X.isetitem(find_column(column, names, len(names), "group_column"), 0.0)
        return X
    table = np.asarray(X, dtype=object) if isinstance(X, list | tuple) else np.asarray(X)
    if table.ndim != 2 or table.dtype.kind in "biuf":
        return X
    table = table.copy()
    for column in columns:
        table[:, find_column(column, None, table.shape[1], "group_column")] = 0.0
    return table


def _values(X: Any, column: object) -> Any:
    """Return a column of X as it stands."""
    if hasattr(X, "iloc"):
        names = [str(name) for name in X.columns]
        return X.iloc[:, find_column(column, names, len(names), "group_column")]
    if hasattr(X, "columns") and hasattr(X, "get_column"):
        found = X.get_column(X.columns[find_column(column, list(X.columns), len(X.columns), "group_column")])
        return np.array(found.to_list(), dtype=object)
    table = np.asarray(X, dtype=object) if isinstance(X, list | tuple) else np.asarray(X)
    return table[:, find_column(column, None, table.shape[1] if table.ndim == 2 else 0, "group_column")]


def _name(X: Any, column: object) -> str:
    """Return the name of a column of X."""
    if hasattr(X, "columns") and not isinstance(column, str):
        return str(X.columns[find_column(column, None, len(X.columns), "group_column")])
    return column if isinstance(column, str) else f"x{find_column(column, None, len(X[0]), 'group_column')}"


def _factorized(values: Any, column: object) -> tuple[Index, NDArray[Any]]:
    """Return each row's position among the labels, and the labels, in their order where they have one."""
    import pandas as pd

    series = pd.Series(np.asarray(values, dtype=object) if not hasattr(values, "dtype") else values)
    try:
        codes, labels = pd.factorize(series, sort=True)
    except TypeError:  # labels of several types have no order
        codes, labels = pd.factorize(series)
    if (codes < 0).any():
        raise ValueError(
            f"group_column={shown(column)}: row {int(np.argmax(codes < 0))} has no label. Give it one: of its own,"
            " where it is in no group with others."
        )
    return codes.astype(np.intp), np.array(labels)


def _looked_up(values: Any, labels: NDArray[Any], column: object) -> Index:
    import pandas as pd

    series = pd.Series(np.asarray(values, dtype=object) if not hasattr(values, "dtype") else values)
    codes = pd.Index(labels).get_indexer(pd.Index(series)).astype(np.intp)
    unseen = np.flatnonzero(codes < 0)
    if not len(unseen):
        return codes
    new, distinct = pd.factorize(series.iloc[unseen])
    if len(unseen) == len(codes) and len(distinct):
        _check_alike(distinct, labels, column, "fit")
    missing = new < 0
    new[missing] = len(distinct) + np.arange(missing.sum())
    codes[unseen] = len(labels) + new
    return codes


def _check_alike(new: Any, labels: Any, column: object, those: str) -> None:
    """Refuse labels of another type."""
    if _kind(new) != _kind(labels):
        raise ValueError(
            f"group_column={shown(column)}: labels such as {shown(np.asarray(new).tolist()[0])} are of another"
            f" type than those of {those}, such as {shown(labels.tolist()[0])}. Give labels of one type."
        )


def _of_one_group(labels: Any) -> str:
    """Return why one group is not enough."""
    return (
        f"all rows have the label {shown(np.asarray(labels).tolist()[0])}; how groups differ is learned from two at"
        " least, better from eight."
    )


def _kind(labels: Any) -> str:
    """Return about what labels are: words, or numbers."""
    return "words" if isinstance(labels[0], str | bytes) else "others"


def _slopes(
    setting: object, columns: tuple[Any, ...], features: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Return positions of the features whose slopes differ, by grouping."""
    if setting is None:
        return ((),) * len(columns)
    if not isinstance(setting, Mapping):
        if len(columns) > 1:
            raise TypeError(
                "group_slopes must say which grouping's slopes differ where there are several: give a dict such as"
                f" {{{columns[0]!r}: {shown(setting)}}}."
            )
        setting = {columns[0]: setting}
    unknown = [column for column in setting if column not in columns]
    if unknown:
        raise ValueError(
            f"group_slopes: {shown(unknown[0])} is not in group_column, which has {shown(list(columns))}."
        )
    found = []
    for column in columns:
        named: Any = setting.get(column, ())
        named = [named] if isinstance(named, str | int | np.integer) else list(named)
        places = tuple(find_column(name, list(features), len(features), "group_slopes") for name in named)
        if len(set(places)) < len(places):
            raise ValueError(f"group_slopes names a feature twice: {shown(named)}.")
        found.append(places)
    return tuple(found)
