"""Columns of X as displays see them: features to draw against, and what is held beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from ...estimators.regressor import BayesianErrorsInVariablesRegressor
from ...measurements.checks import check_vector, named, read_target
from ...measurements.messages import shown
from ...measurements.missing import anything_known
from ...prediction.of_estimators import final_regressor
from .rows import RowWeights, complete_rows

__all__ = ["HeldColumns", "column_at", "rows_at_means", "table_of"]

Array = NDArray[np.float64]


class HeldColumns(NamedTuple):
    """Positions of the columns of X that hold errors and counts."""

    errors: dict[int, int]
    """Of a feature to that of its error."""
    counts: list[int]
    others: list[int]
    exposure: int | None = None
    censored: int | None = None
    covariances: tuple[int, ...] = ()

    @classmethod
    def of(cls, estimator: Any, table: Any, names: list[str] | None) -> HeldColumns:
        regressor, last = final_regressor(estimator, table)
        if not isinstance(regressor, BayesianErrorsInVariablesRegressor):
            return cls({}, [], [])
        columns = regressor._fitted.columns

        def found(position: int) -> int | None:
            """Return where a column of the regressor is in X: by its name, since transformers may move it."""
            if last is table:
                return position
            name = columns.names[position]
            return names.index(name) if names and name in names else None

        places = {setting: found(position) for setting, position in columns.special.items()}
        pairs = [(found(feature), found(column)) for feature, column in columns.errors.items()]
        return cls(
            {feature: column for feature, column in pairs if feature is not None and column is not None},
            [place for setting, place in places.items() if setting == "count_column" and place is not None],
            [place for setting, place in places.items() if setting != "count_column" and place is not None],
            places.get("exposure_column"),
            places.get("y_censored_column"),
            tuple(place for *_, column in columns.covariances if (place := found(column)) is not None),
        )

    @property
    def all(self) -> set[int]:
        return {*self.errors.values(), *self.covariances, *self.counts, *self.others}

    def check_feature(self, place: int, feature: str | int) -> None:
        """Refuse a column that is no feature."""
        if place in self.all:
            raise ValueError(f"feature={shown(feature)} holds errors or counts: it is no feature.")

    def read(
        self, table: Any, y: Any, sample_weight: Any, counts: Any, missing: bool
    ) -> tuple[RowWeights, Array]:
        """Return how often each row counts, those with gaps, where they may have any, not at all, and the target."""
        rows = RowWeights.of(sample_weight, len(table))
        rows = rows.where(complete_rows(table)) if missing else rows
        if not self.counts:
            target = read_target(y, n=len(table), weight=counts, allow_nan=missing)
            return rows.where(~np.isnan(target)), anything_known(target, counted=False)
        behind = np.asarray(column_at(table, self.counts[0]), dtype=np.float64)
        # A count of 0 is a row of which nothing was measured.
        target = read_target(y, n=len(table), weight=behind, allow_nan=missing)
        return rows.where((behind > 0.0) & ~np.isnan(target)), anything_known(target, counted=True)

    def exposures(self, table: Any, given: Any) -> Array | None:
        """Return what events were counted over, of a column or as given."""
        given = given if self.exposure is None else column_at(table, self.exposure)
        return None if given is None else np.asarray(given, dtype=np.float64)

    def sides(self, table: Any) -> Array | None:
        """Return on which side of y its values lie, of a column."""
        return (
            None if self.censored is None else np.asarray(column_at(table, self.censored), dtype=np.float64)
        )

    def error_of(self, table: Any, place: int, given: Any) -> Array | None:
        """Return the standard errors of a feature, (n,), as given for it or for all, or of a column."""
        n = len(table)
        given = column_at(table, self.errors[place]) if given is None and place in self.errors else given
        features = [other for other in range(table.shape[1]) if other not in self.all]
        if np.ndim(given) == 2 and np.shape(given)[1] == len(features):
            given = column_at(given, features.index(place))
        return None if given is None else np.broadcast_to(check_vector(given, n, "X_err"), (n,))

    def emptied(self, table: Any) -> Any:
        """Return rows whose features are true and whose counts and limits are not known (0 says so); exposures: 1."""
        none = [*self.errors.values(), *self.covariances, *self.counts]
        none += [] if self.censored is None else [self.censored]
        for place in none:
            table = with_column(table, place, np.zeros(len(table)))
        return table if self.exposure is None else with_column(table, self.exposure, np.ones(len(table)))


def table_of(X: Any, missing: bool) -> Any:
    """Return X as a data frame of pandas's, if it is a frame, or an array of floats."""
    with named("X"):
        if not hasattr(X, "columns"):
            return check_array(
                X, np.float64, input_name="X", ensure_all_finite="allow-nan" if missing else True
            )
        if not hasattr(X, "iloc"):
            import pandas as pd

            X = pd.DataFrame({name: np.asarray(X[name]) for name in X.columns})
        if not all(X.shape):
            raise ValueError(f"its shape is {X.shape}")
        return X


def rows_at_means(table: Any, rows: RowWeights, held: HeldColumns, place: int, values: Array) -> Any:
    """Return rows with these values of one feature and the others at their means, or most frequent values."""
    n = len(values)
    if hasattr(table, "iloc"):
        means: dict[int, Any] = {}
        for i in range(table.shape[1]):
            column = table.iloc[:, i][rows.used]
            if column.dtype.kind in "biuf":
                means[i] = np.full(n, np.average(column, weights=rows.weight))
            else:
                often = type(column)(rows.weight).groupby(column.to_numpy()).sum()
                means[i] = [often.idxmax()] * n
        answer = type(table)(means)
        answer.columns = table.columns
    else:
        answer = np.tile(np.average(table[rows.used], axis=0, weights=rows.weight), (n, 1))
    return held.emptied(with_column(answer, place, values))


def column_at(table: Any, place: int) -> Any:
    """Return a column's values."""
    return table.iloc[:, place].to_numpy() if hasattr(table, "iloc") else table[:, place]


def with_column(table: Any, place: int, values: Array) -> Any:
    """Return a copy with another column."""
    if hasattr(table, "iloc"):
        table = table.copy()
        table.isetitem(place, values)
        return table
    table = table.copy()
    table[:, place] = values
    return table
