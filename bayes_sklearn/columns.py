"""Which columns of X are features, and which hold counts or errors."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Columns", "find_column"]


@dataclass(frozen=True, eq=False)
class Columns:
    """The layout of X."""

    names: NDArray[np.object_]
    """(k,) names of all columns."""
    features: NDArray[np.intp] | None
    """Positions of the features; None: all columns."""
    special: Mapping[str, int]
    """Setting to position, for the columns that are no features."""

    @classmethod
    def of(cls, settings: Mapping[str, object], names: ArrayLike | None, n_columns: int) -> Columns:
        """Find the columns that settings name.

        Parameters
        ----------
        settings : dict of str to str, int or None
            Setting (``count_column``) to column.
        names : array of str or None
            Names of the columns, where X has them.
        n_columns : int

        Raises
        ------
        ValueError
            Where a column is missing or named twice, or no feature is left.
        """
        known = None if names is None else [str(name) for name in np.asarray(names)]
        special = {
            setting: find_column(column, known, n_columns, setting)
            for setting, column in settings.items()
            if column is not None
        }
        if len(set(special.values())) < len(special):
            raise ValueError(f"{' and '.join(special)} name the same column of X.")
        if len(special) >= n_columns:
            raise ValueError(f"X has no features left besides {' and '.join(special)}.")
        labels = np.array(known or [f"x{i}" for i in range(n_columns)], dtype=object)
        if not special:
            return cls(labels, None, special)
        features = np.setdiff1d(np.arange(n_columns), list(special.values()))
        return cls(labels, features, special)

    @property
    def feature_names(self) -> NDArray[np.object_]:
        return self.names if self.features is None else self.names[self.features]

    def held(self, X: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
        """Return the columns of X that are no features, by setting."""
        return {setting: X[:, position].astype(np.float64) for setting, position in self.special.items()}


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
    ValueError
        Where there is no such column; near matches are listed.
    """
    if isinstance(column, (int, np.integer)) and not isinstance(column, bool):
        if not -n_columns <= column < n_columns:
            raise ValueError(f"{argument}={column}, but X has {n_columns} columns.")
        return int(column) % n_columns
    if names is None:
        raise ValueError(
            f"{argument}={column!r} names a column, but X has no column names: give a data frame (from a"
            " transformer, set_output(transform='pandas')), or the"
            " column's position."
        )
    if column in names:
        return list(names).index(str(column))
    # A ColumnTransformer puts the transformer's name in front.
    renamed = [name for name in names if str(name).endswith(f"__{column}")]
    near = renamed or difflib.get_close_matches(str(column), list(names), n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else f" It has {list(names)}."
    prefix = " A ColumnTransformer with verbose_feature_names_out=False keeps the name." if renamed else ""
    raise ValueError(f"{argument}={column!r} is not a column of X.{hint}{prefix}")
