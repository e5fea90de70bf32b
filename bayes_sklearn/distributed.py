"""Fits and predictions over Dask collections, and over anything that yields batches: tables larger than memory.

Each block is compressed where it lies, and only what `Seen` keeps travels. Equations (n) are those of
``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .blocks import BY_ROW, OF_FEATURES, Batch, DaskTable, InTurn, Table, is_dask, row_chunks
from .columns import find_column
from .errors import Before, CountErrors, TargetErrors, rules_out_counts
from .fitting import TrainingData, fit_shares
from .inference import CountedRows, Excess, Line, Problem
from .likelihoods import resolve_likelihood
from .regressor import BayesianErrorsInVariablesRegressor
from .streaming import Seen

Array = NDArray[np.float64]

__all__ = ["fit", "predict", "predict_interval", "predict_quantiles"]

Regressor = TypeVar("Regressor", bound=BayesianErrorsInVariablesRegressor)
_COLUMNS = ("n_features_in_", "feature_names_in_")


def fit(
    estimator: Regressor,
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    y_err: Any = None,
    X_err: Any = None,
    X_cov: Any = None,
    Xy_cov: Any = None,
) -> Regressor:
    """Fit to a table that is larger than memory, or lies on many machines: what `fit` finds on all rows at once.

    Parameters
    ----------
    estimator : BayesianErrorsInVariablesRegressor
        It is fitted, and returned.
    X : dask Array or DataFrame; or batches
        Batches are any iterable, or a function without arguments that returns one: of data frames, of tuples
        ``(X, y)`` or ``(X, y, sample_weight)``, or of dicts of the arguments of `fit`. One array or frame is one
        batch.
    y : dask Array, Series or DataFrame column; str; or None
        Target. A str names the column of X that holds it, where X is a frame; None: batches bring it.
    sample_weight, y_err : likewise, or float, optional
        As for the estimator's `fit`.
    X_err, X_cov, Xy_cov : array-like, optional
        Errors of the features, the same for all rows.

    Returns
    -------
    estimator

    Raises
    ------
    ValueError, TypeError
        As the estimator's `fit` and `partial_fit`, for the models and data that need all rows at once; where blocks
        of X and y don't go together; where batches that can be gone through but once would have to be again.

    Warns
    -----
    UserWarning, ConvergenceWarning
        As the estimator's `fit`.

    Notes
    -----
    Blocks are compressed where they lie, and their states, of (p + 2)^2 numbers, added up as a tree, (6). That takes
    one pass over the data. Errors at fitted shares (counts with ``count_error="fitted"``) take one to find the pooled
    share, one for the first fit, one a reweighting, of which two to four are usual, and a second one a reweighting
    where shares vary more than their counts explain. With ``weight_type="auto"`` the first block with rows settles
    what weights are; it is read once more.

    Tasks are pure: on a cluster, those of a lost worker are done again.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed
    >>> X = np.arange(8.0)[:, None]
    >>> y = 2.0 * X[:, 0] + 1.0
    >>> batches = [(X[:3], y[:3]), (X[3:], y[3:])]
    >>> model = distributed.fit(BayesianErrorsInVariablesRegressor(noise="known"), batches, y_err=0.1)
    >>> model.coef_.round(2).tolist()
    [2.0]
    """
    if not isinstance(estimator, BayesianErrorsInVariablesRegressor):
        raise TypeError(
            "distributed.fit takes a BayesianErrorsInVariablesRegressor (put steps of a Pipeline before it into the"
            f" blocks, or into Dask's own map), got {estimator!r}."
        )
    given = {
        "X": X, "y": y, "sample_weight": sample_weight, "y_err": y_err,
        "X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov,
    }  # fmt: skip
    with estimator._untouched_on_error():
        estimator._validate_params()
        table: Table = DaskTable(given) if is_dask(X) else InTurn(given)
        reader = copy(estimator)
        for name in ("n_features_in_", "feature_names_in_", "_seen", "_posterior"):
            reader.__dict__.pop(name, None)
        weights = _settled(reader, table)
        whole = table.total(partial(_summarise, reader, weights))
        if whole is None or whole.n_rows < 2:
            raise ValueError("All blocks of X have fewer than two rows that count: there is nothing to fit.")
        for name, value in whole.columns.items():
            setattr(estimator, name, value)
        if whole.seen is not None:
            estimator._seen = whole.seen
            estimator._fit_seen(whole.seen)
            return estimator
        shares = _SharesInBlocks(reader, table, weights, whole)
        fitted = fit_shares(
            shares, shares.model, estimator.inference, settings := estimator._sampler_settings()
        )
        estimator._expose(fitted, shares.data, settings)
        estimator._seen = (
            "Rows can't be added batch by batch: count_error='fitted' takes errors at the shares that all rows"
            " together let one expect. Use count_error='observed', or bayes_sklearn.distributed.fit with all rows."
        )
    return estimator


class _Weights(NamedTuple):
    """What the weights of all rows are."""

    before: Before | None
    """As the first block has settled it; None: the estimator's parameters do."""
    fitted_errors: bool
    """Whether they are counts, with errors at the fitted shares."""


def _settled(reader: BayesianErrorsInVariablesRegressor, table: Table) -> _Weights:
    """Return what weights are, by the first block where parameters don't say."""
    counted = reader.count_column is not None
    before = None
    if table.may_have_weights and not (counted or reader.weight_type == "frequency"):
        first = table.first(partial(_read, reader, None))
        if first is not None:
            data, _ = first
            counted = data.errors.counts is not None
            no_counts = not counted and rules_out_counts(data.rows.y, data.errors.frequency)
            before = Before(data.errors.weight_type, no_counts)
    closed_form = resolve_likelihood(reader.likelihood).closed_form
    return _Weights(before, counted and closed_form and reader.count_error == "fitted")


@dataclass(frozen=True, eq=False)
class _Part:
    """What is found in some rows; it adds up."""

    seen: Seen | None = None
    n_rows: int = 0
    columns: Mapping[str, Any] = field(default_factory=dict)
    """What the estimator says of its columns."""
    layout: TrainingData | None = None
    """The training data, but for the rows."""
    successes: float = 0.0
    """Of shares: how many, by frequency, ..."""
    trials: float = 0.0
    """... of how many."""
    excess: Excess = field(default_factory=Excess)
    change: tuple[float, float] = (0.0, 0.0)
    """Sum of squared relative changes of errors, and of frequencies."""

    def plus(self, other: _Part) -> _Part:
        seen = self.seen
        if seen is not None and other.seen is not None:
            seen = seen.merged(other.seen)
        return replace(
            self,
            seen=seen,
            n_rows=self.n_rows + other.n_rows,
            successes=self.successes + other.successes,
            trials=self.trials + other.trials,
            excess=self.excess.plus(other.excess),
            change=(self.change[0] + other.change[0], self.change[1] + other.change[1]),
        )


def _read(
    reader: BayesianErrorsInVariablesRegressor, before: Before | None, batch: Batch
) -> tuple[TrainingData, dict[str, Any]] | None:
    """Return a block, checked, and what the estimator says of its columns; None if it has no rows."""
    given = dict(batch)
    X = given.pop("X")
    if not len(X):
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
    reader = copy(reader)
    of_features = {name: given.pop(name, None) for name in OF_FEATURES}
    data = reader._read(
        X, given["y"], given.get("sample_weight"), given.get("y_err"), of_features, batch=True, before=before
    )
    columns = {name: getattr(reader, name) for name in _COLUMNS if hasattr(reader, name)}
    return data, columns


def _summarise(reader: BayesianErrorsInVariablesRegressor, weights: _Weights, batch: Batch) -> _Part | None:
    """Return all that is needed of a block; of one whose errors take fits, what begins them."""
    found = _read(reader, weights.before, batch)
    if found is None:
        return None
    data, columns = found
    errors = data.errors
    n_rows = len(data.rows.y) if errors.frequency is None else int(np.count_nonzero(errors.frequency))
    if not weights.fitted_errors or errors.counts is None:
        return _Part(Seen.of(reader, data), n_rows, columns)
    trials = errors.counts if errors.frequency is None else errors.counts * errors.frequency
    layout = data._replace(
        rows=data.rows.subset(np.arange(0)),
        errors=TargetErrors(None, None, None, errors.weight_type, errors.kind),
        index=None,
    )
    successes, total = float(trials @ data.rows.y), float(trials.sum())
    return _Part(None, n_rows, columns, layout, successes, total)


class _Move(NamedTuple):
    """A change of the errors of shares towards those at a line's shares."""

    line: Line
    errors: CountErrors
    step: float


def _moved(
    reader: BayesianErrorsInVariablesRegressor,
    weights: _Weights,
    begin: tuple[CountErrors, float],
    moves: tuple[_Move, ...],
    batch: Batch,
) -> _Part | None:
    """Return what a fit needs of a block after moves of its errors, with the sums that the last of them brings.

    Nothing is kept of a block between passes: its errors are found again from the moves.
    """
    found = _read(reader, weights.before, batch)
    if found is None:
        return None
    data = found[0]
    counts = data.errors.counts
    if counts is None:  # for the type checker: they were settled to be counts
        raise AssertionError
    table = CountedRows(data.rows, counts)
    table.begin(*begin)
    excess, change = Excess(), (0.0, 0.0)
    for move in moves:
        excess = table.excess(move.line, move.errors)
        change = table.moved(move.errors, move.step)
    return _Part(Seen.of(reader, data, standard_error=table.standard_error), excess=excess, change=change)


class _SharesInBlocks:
    """Shares with counts behind them, in blocks: `fitting.Shares`."""

    def __init__(
        self, reader: BayesianErrorsInVariablesRegressor, table: Table, weights: _Weights, whole: _Part
    ):
        if whole.layout is None:  # for the type checker
            raise AssertionError
        self.pooled = (whole.successes + 0.5) / (whole.trials + 1.0)
        self.model = reader._specification(whole.layout)
        self.data = whole.layout
        """What the last problem is of."""
        self._reader, self._table, self._weights = reader, table, weights
        self._begin = (CountErrors(self.model.error_floor), self.pooled)
        self._moves: tuple[_Move, ...] = ()
        self._ahead: tuple[_Move, _Part] | None = None

    def begin(self, errors: CountErrors, share: float) -> None:
        self._begin, self._moves = (errors, share), ()
        self._now = self._after(())

    def look(self, line: Line, errors: CountErrors, step: float) -> float:
        self._line, self._ahead = line, None
        if not self.model.overdispersed:
            return errors.overdispersion
        # The move that comes is made along the way: where the correlation stays as it is, it is the right one.
        move = _Move(line, errors, step)
        self._ahead = move, self._after((*self._moves, move))
        return self._ahead[1].excess.correlation(self.data.rows.n_features)

    def move(self, errors: CountErrors, step: float) -> float:
        move = _Move(self._line, errors, step)
        if self._ahead is not None and self._ahead[0].errors == errors and self._ahead[0].step == step:
            self._now = self._ahead[1]
        else:
            self._now = self._after((*self._moves, move))
        # Where errors become those at a line's shares, it does not matter what they were.
        self._moves = (move,) if step == 1.0 else (*self._moves, move)
        square, total = self._now.change
        return float(np.sqrt(square / total))

    def problem(self) -> Problem:
        if self._now.seen is None:  # for the type checker
            raise AssertionError
        self.data = self._now.seen.data()
        model = replace(self.model, state=self.data.state)
        return model.problem(self.data.rows, self.data.errors.standard_error, None)

    def _after(self, moves: tuple[_Move, ...]) -> _Part:
        part = self._table.total(partial(_moved, self._reader, self._weights, self._begin, moves))
        if part is None or part.seen is None:
            raise ValueError("X gave rows at first, and none when it was gone through again.")
        return part


def predict(
    estimator: Any,
    X: Any,
    return_std: bool = False,
    *,
    counts: Any = None,
    y_err: Any = None,
    X_err: Any = None,
    X_cov: Any = None,
    include_noise: bool = True,
) -> Any:
    """Predict over a Dask collection, block by block, when asked for.

    Parameters
    ----------
    estimator : fitted regressor
    X : dask Array or DataFrame
    return_std : bool, default=False
        Whether standard deviations are wanted, too.
    counts, y_err : float, dask Array or Series, or str, optional
        As for the estimator's `predict`. A str names a column of X, where that is a frame.
    X_err, X_cov : array-like, optional
        As for the estimator's `predict`, the same for all rows.
    include_noise : bool, default=True
        As for the estimator's `predict`.

    Returns
    -------
    dask Array of shape (n,), or Series of X's index
        Nothing is computed yet. With ``return_std`` a tuple of two.

    Raises
    ------
    TypeError
        Where X is no Dask collection: the estimator's own `predict` is for that.

    Examples
    --------
    >>> import dask.array as da
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed
    >>> X = da.arange(10.0, chunks=4)[:, None]
    >>> model = distributed.fit(BayesianErrorsInVariablesRegressor(noise="known"), X, 2.0 * X[:, 0], y_err=0.1)
    >>> mean, std = distributed.predict(model, X, return_std=True)
    >>> mean[-1].compute().round(1).item()
    18.0
    """
    given = {"X_err": X_err, "X_cov": X_cov, "include_noise": include_noise}
    columns = ["y_pred", "std"] if return_std else ["y_pred"]
    if return_std:
        given["return_std"] = True
    found = _mapped(estimator, "predict", columns, X, {"counts": counts, "y_err": y_err}, given)
    parts = tuple(found[name] if hasattr(found, "columns") else found[:, i] for i, name in enumerate(columns))
    return parts if return_std else parts[0]


def predict_interval(
    estimator: Any,
    X: Any,
    coverage: float = 0.95,
    *,
    counts: Any = None,
    y_err: Any = None,
    X_err: Any = None,
    X_cov: Any = None,
    include_noise: bool = True,
) -> Any:
    """Predict equal-tailed intervals over a Dask collection, block by block, when asked for.

    Parameters
    ----------
    estimator : fitted BayesianErrorsInVariablesRegressor
    X, counts, y_err, X_err, X_cov, include_noise
        As for `predict`.
    coverage : float, default=0.95

    Returns
    -------
    dask Array of shape (n, 2), or DataFrame with the columns "lower" and "upper"
        Nothing is computed yet.

    Raises
    ------
    TypeError
        As `predict`.
    """
    given = {"coverage": coverage, "X_err": X_err, "X_cov": X_cov, "include_noise": include_noise}
    by_row = {"counts": counts, "y_err": y_err}
    return _mapped(estimator, "predict_interval", ["lower", "upper"], X, by_row, given)


def predict_quantiles(
    estimator: Any,
    X: Any,
    quantiles: Any = (0.05, 0.5, 0.95),
    *,
    counts: Any = None,
    y_err: Any = None,
    X_err: Any = None,
    X_cov: Any = None,
    include_noise: bool = True,
) -> Any:
    """Predict quantiles over a Dask collection, block by block, when asked for.

    Parameters
    ----------
    estimator : fitted BayesianErrorsInVariablesRegressor
    X, counts, y_err, X_err, X_cov, include_noise
        As for `predict`.
    quantiles : array-like of shape (q,), default=(0.05, 0.5, 0.95)

    Returns
    -------
    dask Array of shape (n, q), or DataFrame with the quantiles for column names
        Nothing is computed yet.

    Raises
    ------
    TypeError
        As `predict`.
    """
    given = {"quantiles": quantiles, "X_err": X_err, "X_cov": X_cov, "include_noise": include_noise}
    columns = [f"{quantile:g}" for quantile in np.ravel(quantiles)]
    by_row = {"counts": counts, "y_err": y_err}
    return _mapped(estimator, "predict_quantiles", columns, X, by_row, given)


def _mapped(
    estimator: Any,
    method: str,
    columns: list[str],
    X: Any,
    by_row: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Any:
    """Return a Dask collection of what a method says of every block."""
    if not is_dask(X):
        raise TypeError(
            f"X must be a Dask array or data frame, got {type(X).__name__}: use the estimator's {method}."
        )
    constant = {name: value for name, value in given.items() if value is not None}
    constant |= {name: value for name, value in by_row.items() if value is not None and not is_dask(value)}
    rows = {name: value for name, value in by_row.items() if is_dask(value)}
    predicted = partial(_predicted, estimator, method, columns, list(rows), constant)
    if hasattr(X, "map_partitions"):
        import pandas as pd

        meta = pd.DataFrame({name: pd.Series(dtype=np.float64) for name in columns})
        return X.map_partitions(predicted, *rows.values(), meta=meta)
    from dask.array.blockwise import blockwise

    arguments = [part for value in rows.values() for part in (value, "i")]
    return blockwise(
        predicted,
        "ij",
        X.rechunk({1: -1}),
        "ik",
        *arguments,
        new_axes={"j": len(columns)},
        concatenate=True,
        align_arrays=row_chunks(X) is not None,
        dtype=np.float64,
        meta=np.empty((0, 0)),
    )


def _predicted(
    estimator: Any,
    method: str,
    columns: list[str],
    names: list[str],
    constant: Mapping[str, Any],
    X: Any,
    *by_row: Any,
) -> Any:
    """Return what a method says of a block, (n, columns), as a frame where X is one."""
    given = {**constant, **dict(zip(names, by_row, strict=True))}
    index = getattr(X, "index", None)
    own = {name: value for name, value in given.items() if isinstance(value, str)}
    if own:
        given |= {name: np.asarray(X[column]) for name, column in own.items()}
        X = X[[name for name in X.columns if name not in own.values()]]
    if len(X):
        found = getattr(estimator, method)(X, **given)
        values = np.column_stack(found) if isinstance(found, tuple) else np.asarray(found).reshape(len(X), -1)
    else:
        values = np.empty((0, len(columns)))
    if index is None:
        return values
    import pandas as pd

    return pd.DataFrame(values, columns=columns, index=index)
