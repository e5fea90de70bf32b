"""What fits to rows in blocks find in each block: it adds up, and is of the size of the model.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ..estimators.partial_fit import Seen
from ..estimators.reading import TrainingData, read, specify
from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..inference.count_reweighting import CountedRows, Excess, Guess, Line, Outside
from ..inference.problem import Problem
from ..likelihoods.registry import resolve_likelihood
from ..measurements.columns import find_column
from ..measurements.messages import remembered, warn
from ..measurements.target_errors import CountErrors
from ..measurements.weights import Before, rules_out_counts
from .blocks import BY_ROW, OF_FEATURES, Batch, Table

__all__ = ["Part", "SharesInBlocks", "Weights", "settle_weights", "summarise"]


@dataclass(frozen=True, eq=False)
class Part:
    """What is found in some rows; it adds up."""

    columns: Mapping[str, Any]
    """What an estimator says of its columns."""
    n_rows: int
    """Those that count."""
    seen: Seen | None = None
    """All that a fit needs of them; None: their errors are not settled."""
    successes: float = 0.0
    """Of shares: how many, by frequency, ..."""
    trials: float = 0.0
    """... of how many."""
    excess: Excess = field(default_factory=Excess)
    change: tuple[float, float] = (0.0, 0.0)
    """Sum of squared relative changes of errors, and of frequencies."""
    outside: Outside = field(default_factory=Outside)

    def plus(self, other: Part) -> Part:
        seen = self.seen
        if seen is not None and other.seen is not None:
            seen = seen.merged(other.seen)
        return Part(
            self.columns,
            self.n_rows + other.n_rows,
            seen,
            self.successes + other.successes,
            self.trials + other.trials,
            self.excess.plus(other.excess),
            (self.change[0] + other.change[0], self.change[1] + other.change[1]),
            self.outside.plus(other.outside),
        )


class Weights(NamedTuple):
    """What the weights of all rows are."""

    before: Before | None
    """As the first block has settled it; None: the estimator's parameters do."""
    fitted_errors: bool
    """Whether they are counts, with errors at the fitted shares."""


def settle_weights(model: BayesianErrorsInVariablesRegressor, table: Table) -> Weights:
    """Return what weights are, by the first block with rows where parameters don't say.

    Warns
    -----
    UserWarning
        As `resolve_target_errors`.
    """
    before, counted = None, model.count_column is not None
    if model.weight_type in ("counts", "precision") or (
        model.weight_type == "auto" and table.may_have_weights
    ):
        looked = table.first(partial(_look, model))
        if looked is not None:
            before, said = looked
            counted = counted or before.weight_type == "counts"
            for message in said:
                warn(message)
    in_rows = resolve_likelihood(model.likelihood).is_normal and model.count_error == "fitted"
    return Weights(before, counted and in_rows)


def _look(model: BayesianErrorsInVariablesRegressor, batch: Batch) -> tuple[Before, list[str]] | None:
    """Return what the weights of a block are, and what there is to warn of: where it lies nobody would hear it."""
    with warnings.catch_warnings(), remembered() as said:
        warnings.simplefilter("ignore")
        read = _read(model, None, batch)
    if read is None:
        return None
    errors = read[0].errors
    no_counts = errors.counts is None and rules_out_counts(read[0].rows.y, errors.frequency)
    return Before(errors.weight_type, no_counts), said


def _read(
    model: BayesianErrorsInVariablesRegressor, before: Before | None, batch: Batch
) -> tuple[TrainingData, dict[str, Any]] | None:
    """Return a block, checked, and what an estimator says of its columns; None if it has no rows."""
    said_of_columns = ("n_features_in_", "feature_names_in_")
    given = dict(batch)
    X = given.pop("X")
    if (X.shape[0] if hasattr(X, "shape") else len(X)) == 0:
        return None
    own = {name: given[name] for name in BY_ROW if isinstance(given.get(name), str)}
    if own:
        names = list(getattr(X, "columns", []))
        for argument, column in own.items():
            find_column(column, names or None, len(names), argument)
            given[argument] = np.asarray(X[column])
        X = X[[name for name in names if name not in own.values()]]
    if given.get("y") is None:
        raise ValueError("y is missing: give it with X, or the name of the column of X that holds it.")
    reader = clone(model)
    of_features = {name: given.pop(name, None) for name in OF_FEATURES}
    data = read(
        reader,
        X,
        given["y"],
        given.get("sample_weight"),
        {"y_err": given.get("y_err")},
        of_features,
        batch=True,
        before=before,
    )
    return data, {name: getattr(reader, name) for name in said_of_columns if hasattr(reader, name)}


def summarise(model: BayesianErrorsInVariablesRegressor, weights: Weights, batch: Batch) -> Part | None:
    """Return all that is needed of a block; where errors take fits, what these begin with."""
    read = _read(model, weights.before, batch)
    if read is None:
        return None
    data, columns = read
    frequency, counts = data.errors.frequency, data.errors.counts
    n_rows = len(data.rows.y) if frequency is None else int(np.count_nonzero(frequency))
    if not weights.fitted_errors or counts is None:
        return Part(columns, n_rows, Seen.of(model, data))
    trials = counts if frequency is None else counts * frequency
    return Part(columns, n_rows, None, float(trials @ data.rows.y), float(trials.sum()))


class _Move(NamedTuple):
    """A change of the errors of shares towards those at a line's shares."""

    line: Line
    errors: CountErrors
    step: float


def _moved(
    model: BayesianErrorsInVariablesRegressor,
    weights: Weights,
    begin: tuple[CountErrors, float],
    moves: tuple[_Move, ...],
    batch: Batch,
) -> Part | None:
    """Return what a fit needs of a block after moves of its errors, with the sums that the last of them brings.

    Nothing is kept of a block between passes: its errors are found again from the moves.
    """
    read = _read(model, weights.before, batch)
    if read is None:
        return None
    data, columns = read
    counts = data.errors.counts
    if counts is None:  # for the type checker: they were settled to be counts
        raise AssertionError
    table = CountedRows(data.rows, counts, *begin)
    excess, change = Excess(), (0.0, 0.0)
    for move in moves:
        excess = table.excess(move.line, move.errors)
        change = table.moved(move.errors, move.step)
    seen = Seen.of(model, data, standard_error=table.standard_error)
    return Part(
        columns, seen.sufficient.whole.n_rows, seen, excess=excess, change=change, outside=table.outside
    )


class SharesInBlocks:
    """Shares with counts behind them, in blocks: `count_reweighting.Shares`."""

    data: TrainingData
    """Rows that stand for all, under the errors of now."""
    outside: Outside

    def __init__(
        self, model: BayesianErrorsInVariablesRegressor, table: Table, weights: Weights, whole: Part
    ):
        self.pooled = (whole.successes + 0.5) / (whole.trials + 1.0)
        self._table, self._n_rows = table, whole.n_rows
        self._moved_block = partial(_moved, model, weights)
        errors = CountErrors(float(model.error_floor), self.pooled)
        self._start = errors, self.pooled
        self._take(self._after(()), ())
        self.model = specify(model, self.data)

    def move(
        self, line: Line, errors: CountErrors, step: float, guess: Guess | None
    ) -> tuple[CountErrors, float]:
        move = _Move(line, errors, step)
        # Made as it is looked for a correlation: where that stays as it is, it is the right one.
        part = self._after((*self._moves, move))
        now = errors if guess is None else guess(part.excess.correlation(self.data.rows.n_features))
        if now != errors:
            move = _Move(line, now, step)
            part = self._after((*self._moves, move))
        # Where errors become those at a line's shares, it does not matter what they were.
        self._take(part, (move,) if step == 1.0 else (*self._moves, move))
        square, total = part.change
        return now, float(np.sqrt(square / total))

    def problem(self) -> Problem:
        return replace(self.model, state=self.data.state).problem(
            self.data.rows, self.data.errors.standard_error, None
        )

    def _after(self, moves: tuple[_Move, ...]) -> Part:
        """Go through all blocks."""
        part = self._table.total(partial(self._moved_block, self._start, moves))
        n_rows = 0 if part is None else part.n_rows
        if part is None or n_rows != self._n_rows:
            raise ValueError(
                f"X gave {self._n_rows} rows that count at first, and {n_rows} when it was gone through again: it has"
                " to give the same every time."
            )
        return part

    def _take(self, part: Part, moves: tuple[_Move, ...]) -> None:
        if part.seen is None:  # for the type checker
            raise AssertionError
        self.data, self._moves, self.outside = part.seen.data(), moves, part.outside
