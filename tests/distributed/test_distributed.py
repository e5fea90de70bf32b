"""Fits over blocks, wherever these lie, are the fit of all rows; predictions over blocks are those of all rows."""

from __future__ import annotations

import pickle
import warnings
import weakref
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.callbacks import Callback
from dask.delayed import delayed
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from bayes_sklearn import Flat, Laplace, Mixture, distributed
from bayes_sklearn.datasets import make_role_modeling
from bayes_sklearn.inference.count_reweighting import CountedRows

from agreement import assert_same
from data import measured, shares
from plain import Regressor

N = 150
TABLE = measured(N)
FREQUENCY = np.random.default_rng(0).integers(0, 4, N).astype(float)
KINDS = np.random.default_rng(1).choice([0.5, 1.0, 2.0], N)
COUNTED = shares(N)
TALKATIVE = make_role_modeling(N, overdispersion=0.05, random_state=0, as_frame=False)
COUNTS = {"weight_type": "counts"}
Data = tuple[np.ndarray, np.ndarray, dict[str, Any]]


def swinging() -> Data:
    """Shares of which the line fits many at 0: errors at the fitted shares swing."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40, 2)) ** 3
    counts = np.exp(rng.uniform(np.log(2.0), np.log(1000.0), 40)).astype(int)
    y = rng.binomial(counts, np.clip(0.01 + 0.1 * X[:, 0], 0.0, 1.0)) / counts
    return X, y, {"sample_weight": counts.astype(float)}


CASES: dict[str, tuple[dict[str, Any], Data]] = {
    "errors not known": ({}, (TABLE.X, TABLE.y, {})),
    "errors": ({}, (TABLE.X, TABLE.y, {"y_err": TABLE.y_err})),
    "frequencies": ({}, (TABLE.X, TABLE.y, {"sample_weight": FREQUENCY})),
    "known": (
        {"noise": "known"},
        (TABLE.X, TABLE.y, {"y_err": TABLE.y_err, "sample_weight": FREQUENCY}),
    ),
    "additive": ({"noise": "additive"}, (TABLE.X, TABLE.y, {"y_err": KINDS})),
    "flat": (
        {"coef_prior": Flat(), "intercept_prior": Flat(), "noise_prior": Flat()},
        (TABLE.X, TABLE.y, {"y_err": TABLE.y_err}),
    ),
    "observed counts": (
        {"count_error": "observed", "error_floor": 0.01},
        (COUNTED.X, COUNTED.y, {"sample_weight": COUNTED.counts}),
    ),
    "fitted counts": (COUNTS, (COUNTED.X, COUNTED.y, {"sample_weight": COUNTED.counts})),
    "overdispersed": (
        COUNTS,
        (TALKATIVE.data, TALKATIVE.target, {"sample_weight": TALKATIVE.counts.astype(float)}),
    ),
    "fitted, known": (
        {"noise": "known", **COUNTS},
        (COUNTED.X, COUNTED.y, {"sample_weight": COUNTED.counts}),
    ),
    "swinging": ({"error_floor": 1e-4, **COUNTS}, swinging()),
}


def frame_of(X: np.ndarray, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]).assign(**columns)


def pieces(n: int) -> list[slice]:
    """Blocks of very different sizes, one of them of no rows."""
    ends = [0, 1, n // 3, n // 3, n // 3 + 2, n - n // 4, n]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def as_arrays(X: np.ndarray, **by_row: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Dask arrays whose chunks differ, of rows and of columns."""
    n = len(X)
    given = {
        name: da.from_array(value, chunks=n // (3 + i)) if np.ndim(value) else value
        for i, (name, value) in enumerate(by_row.items())
    }
    return (da.from_array(X, chunks=(n // 4, 2)),), given


def as_arrays_of_unknown_chunks(X: np.ndarray, **by_row: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What is left of Dask arrays, of some of whose blocks nothing is."""
    n = len(X)
    left = np.concatenate([np.ones(n, dtype=bool), np.zeros(n, dtype=bool)]).reshape(2, -1)
    left = np.concatenate([left[1, :10], left[0], left[1]])

    def of(value: np.ndarray, chunks: Any) -> Any:
        junk = np.full((10 + n, *value.shape[1:]), np.nan)
        return da.from_array(np.concatenate([junk[:10], value, junk[10:]]), chunks=chunks)[left]

    given = {name: of(value, 37) if np.ndim(value) else value for name, value in by_row.items()}
    return (of(X, (37, -1)),), given


def as_series(X: np.ndarray, **by_row: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Columns of one Dask data frame, some of whose partitions are empty."""
    rows = {name: value for name, value in by_row.items() if np.ndim(value)}
    table = dd.from_pandas(frame_of(X, **rows), npartitions=5)
    junk = dd.from_pandas(frame_of(X[:9], **{name: value[:9] for name, value in rows.items()}), npartitions=2)
    table = dd.concat([junk[junk["x0"] > 1e6], table], interleave_partitions=False)
    features = table[[f"x{i}" for i in range(X.shape[1])]]
    return (features,), {**by_row, **{name: table[name] for name in rows}}


def as_one_frame(X: np.ndarray, **by_row: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A Dask data frame that holds all, by name."""
    rows = {f"its {name}": value for name, value in by_row.items() if np.ndim(value)}
    named = {name: f"its {name}" if np.ndim(value) else value for name, value in by_row.items()}
    table = pd.concat([frame_of(X, **rows).iloc[piece] for piece in pieces(len(X))])
    return (dd.from_pandas(table, npartitions=4, sort=False),), named


def as_function(X: np.ndarray, **by_row: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A function that returns a generator of dicts."""

    def batches() -> Iterator[dict[str, Any]]:
        for piece in pieces(len(X)):
            rows = {name: value[piece] if np.ndim(value) else value for name, value in by_row.items()}
            yield {"X": X[piece], **rows}

    return (batches,), {}


def as_list(X: np.ndarray, **by_row: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A list of data frames that hold all, by name."""
    (table,), named = as_one_frame(X, **by_row)
    whole = table.compute()
    return ([whole.iloc[piece] for piece in pieces(len(X))],), named


BLOCKS = {
    value.__name__: value
    for value in (
        as_arrays,
        as_arrays_of_unknown_chunks,
        as_series,
        as_one_frame,
        as_function,
        as_list,
    )
}


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("case", CASES)
def test_a_fit_over_blocks_is_the_fit_of_all_rows(case: str, blocks: str) -> None:
    parameters, (X, y, by_row) = CASES[case]
    positional, named = BLOCKS[blocks](X, y=y, **by_row)
    model = Regressor(**parameters)
    assert distributed.fit(model, *positional, **named) is model
    table = frame_of(X) if hasattr(model, "feature_names_in_") else X
    whole = Regressor(**parameters).fit(table, y, **by_row)
    assert_same(model, whole, table)
    assert model.n_features_in_ == X.shape[1]
    assert list(model.coef_names_) == list(whole.coef_names_)
    assert model.overdispersion_ == pytest.approx(whole.overdispersion_, abs=1e-9)
    if whole.weight_type_ == "counts":
        wanted = whole.predict_interval(table, counts=20)
        assert_allclose(model.predict_interval(table, counts=20), wanted, rtol=1e-8)


def test_the_cases_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = {
        case: Regressor(**parameters).fit(X, y, **by_row)
        for case, (parameters, (X, y, by_row)) in CASES.items()
    }
    assert fits["overdispersed"].overdispersion_ > 0.01
    assert fits["fitted counts"].overdispersion_ == 0.0
    assert fits["observed counts"].weight_type_ == "counts"
    assert fits["frequencies"].weight_type_ == "frequency"
    steps = []
    moved = CountedRows.moved
    monkeypatch.setattr(
        CountedRows, "moved", lambda self, errors, step: steps.append(step) or moved(self, errors, step)
    )
    parameters, (X, y, by_row) = CASES["swinging"]
    Regressor(**parameters).fit(X, y, **by_row)
    assert min(steps) < 0.5


@pytest.mark.parametrize("count_error", ["fitted", "observed"])
def test_columns_may_hold_counts_and_errors(count_error: str) -> None:
    model = Regressor(count_column="n", count_error=count_error)
    X = frame_of(COUNTED.X, n=COUNTED.counts)
    whole = clone(model).fit(X, COUNTED.y)
    table = dd.from_pandas(X.assign(share=COUNTED.y), npartitions=3)
    assert_same(distributed.fit(clone(model), table, "share"), whole, X)
    twice = clone(model).set_params(weight_type="frequency")
    repeated = clone(twice).fit(X, COUNTED.y, FREQUENCY)
    found = distributed.fit(twice, table.assign(k=da.from_array(FREQUENCY, chunks=50)), "share", "k")
    assert_same(found, repeated, X)
    array = da.from_array(X.to_numpy(), chunks=(40, 1))
    by_place = distributed.fit(Regressor(count_column=2, count_error=count_error), array, COUNTED.y)
    assert_allclose(by_place.coef_, whole.coef_, rtol=1e-9)

    of_errors = frame_of(TABLE.X, error=TABLE.y_err)
    whole = Regressor(y_err_column="error").fit(of_errors, TABLE.y, sample_weight=FREQUENCY)
    table = dd.from_pandas(of_errors.assign(target=TABLE.y, k=FREQUENCY), npartitions=3)
    assert_same(distributed.fit(Regressor(y_err_column="error"), table, "target", "k"), whole, of_errors)


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_one_error_of_the_features_for_all_rows_goes_in_blocks(noise: str) -> None:
    model, X_err = Regressor(noise=noise, random_state=0), [0.05, 0.0, 2.0]
    whole = clone(model).fit(TABLE.X, TABLE.y, y_err=KINDS, X_err=X_err)
    (X,), named = as_arrays(TABLE.X, y=TABLE.y, y_err=KINDS)
    found = distributed.fit(clone(model), X, **named, X_err=X_err)
    # Importance sampling finds its mode iteratively: to less than rounding.
    assert_same(found, whole, TABLE.X, tolerance=1e-6)
    assert_allclose(found.reliability_, whole.reliability_, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:noise='known', but the stated errors")
@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_importance_sampling_goes_in_blocks(noise: str) -> None:
    model = Regressor(coef_prior=Laplace(), noise=noise, random_state=0)
    whole = clone(model).fit(TABLE.X, TABLE.y, y_err=KINDS)
    (X,), named = as_arrays(TABLE.X, y=TABLE.y, y_err=KINDS)
    found = distributed.fit(clone(model), X, **named)
    assert (whole.inference_, found.inference_) == ("importance", "importance")
    assert_same(found, whole, TABLE.X, tolerance=1e-8)


def test_importance_sampling_settles_errors_of_shares_in_blocks() -> None:
    X, y, counts = COUNTED
    model = Regressor(coef_prior=Laplace(), random_state=0, **COUNTS)
    whole = clone(model).fit(X, y, counts)
    found = distributed.fit(clone(model), as_function(X, y=y, sample_weight=counts)[0][0])
    assert (whole.inference_, found.inference_) == ("importance", "importance")
    assert_allclose(found.coef_, whole.coef_, rtol=1e-7)
    assert_allclose(found.coef_std_, whole.coef_std_, rtol=1e-7)


@pytest.mark.thorough
def test_nuts_goes_in_blocks_with_errors_at_its_own_shares() -> None:
    X, y, counts = COUNTED
    model = Regressor(coef_prior=Laplace(), inference="nuts", random_state=0, draws=100, chains=2, **COUNTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole = clone(model).fit(X, y, counts)
        found = distributed.fit(clone(model), as_function(X, y=y, sample_weight=counts)[0][0])
    assert found.inference_ == "nuts"
    # The sampler gets numbers that don't depend on how the rows came: the draws are the same.
    assert_allclose(found.coef_, whole.coef_, rtol=1e-9)
    assert_allclose(found.coef_std_, whole.coef_std_, rtol=1e-9)


def test_files_are_read_in_chunks(tmp_path: Path) -> None:
    path = tmp_path / "shares.csv"
    table = frame_of(COUNTED.X).assign(share=COUNTED.y, n=COUNTED.counts)
    table.to_csv(path, index=False)
    features = frame_of(COUNTED.X)
    whole = Regressor(**COUNTS).fit(features, COUNTED.y, COUNTED.counts)
    found = distributed.fit(
        Regressor(**COUNTS), lambda: pd.read_csv(path, chunksize=40), y="share", sample_weight="n"
    )
    assert_same(found, whole, features)
    observed = Regressor(count_error="observed", **COUNTS)
    with pd.read_csv(path, chunksize=40) as reader:  # once is enough
        found = distributed.fit(clone(observed), reader, y="share", sample_weight="n")
    assert_same(found, observed.fit(features, COUNTED.y, COUNTED.counts), features)

    table.to_parquet(tmp_path / "shares")
    lazy = dd.read_parquet(tmp_path / "shares")
    assert_same(distributed.fit(Regressor(**COUNTS), lazy, "share", "n"), whole, features)


def test_batches_are_tables_tuples_or_dicts() -> None:
    X, y, y_err = TABLE
    whole = Regressor().fit(X, y, y_err=y_err)
    weighted = Regressor().fit(X, y, FREQUENCY)
    for found, wanted in [
        (distributed.fit(Regressor(), X, y, y_err=y_err), whole),
        (distributed.fit(Regressor(), frame_of(X, y=y), "y"), Regressor().fit(frame_of(X), y)),
        (distributed.fit(Regressor(), [(X[:7], y[:7]), (X[7:], y[7:])]), Regressor().fit(X, y)),
        (distributed.fit(Regressor(), iter([(X[i::2], y[i::2], FREQUENCY[i::2]) for i in (0, 1)])), weighted),
        (distributed.fit(Regressor(), ({"X": X[i::3], "y": y[i::3]} for i in range(3)), y_err=0.5), None),
    ]:
        wanted = wanted or Regressor().fit(X, y, y_err=0.5)
        assert_same(found, wanted, frame_of(X) if hasattr(wanted, "feature_names_in_") else X)


def test_a_fit_over_blocks_can_be_gone_on_with() -> None:
    X, y, y_err = TABLE
    model = distributed.fit(Regressor(), [(X[:50], y[:50])], y_err=1.0)
    model.partial_fit(X[50:], y[50:], y_err=y_err[50:])
    errors = np.where(np.arange(N) < 50, 1.0, y_err)
    assert_same(model, Regressor().fit(X, y, y_err=errors), X)
    fitted = distributed.fit(Regressor(), [COUNTED])
    with pytest.raises(AttributeError, match="count_error='fitted' takes errors at the shares"):
        fitted.partial_fit(*COUNTED)


def test_nothing_is_left_of_an_earlier_fit() -> None:
    X, y, _ = TABLE
    model = Regressor().fit(frame_of(X, more=y**2), y)
    distributed.fit(model, da.from_array(X, chunks=50), y)
    assert not hasattr(model, "feature_names_in_")
    assert_same(model, Regressor().fit(X, y), X)


# What travels, and how often the data are gone through


class Results(Callback):
    """The sizes of what tasks that visit a block return."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        super().__init__(posttask=self.note)

    def note(self, key: Any, result: Any, *_: Any) -> None:
        if str(key).startswith("_noted"):
            self.sizes.append(len(pickle.dumps(result)))


@pytest.mark.filterwarnings("ignore:weight_type='counts', but y")
@pytest.mark.parametrize("case", ["errors", "additive", "fitted counts", "overdispersed", "frame"])
def test_what_travels_does_not_grow_with_the_rows(case: str) -> None:
    largest = []
    for n in (400, 20_000):
        X, y, counts = shares(n)
        parameters: dict[str, Any] = {}
        given: dict[str, Any] = {"y": y, "y_err": np.resize(KINDS, n)}
        if case in ("fitted counts", "overdispersed"):
            y = np.where(np.arange(n) % 7 == 0, y**2, y) if case == "overdispersed" else y
            given, parameters = {"y": y, "sample_weight": counts}, COUNTS
        if case == "additive":
            parameters = {"noise": "additive"}
        (table,), named = (as_one_frame if case == "frame" else as_arrays)(X, **given)
        with Results() as results:
            distributed.fit(Regressor(**parameters), table, **named)
        largest.append(max(results.sizes))
    assert largest[1] < largest[0] + 100
    assert largest[1] < 10_000


def passes_of(model: Regressor, X: np.ndarray, **by_row: Any) -> list[int]:
    """How often each block is yielded, by batches and, but for a look at the first, by Dask."""
    loads = [Counter[int](), Counter[int]()]

    def load(i: int, by_dask: bool) -> dict[str, Any]:
        loads[by_dask][i] += 1
        return {"X": X[i::4], **{name: value[i::4] for name, value in by_row.items()}}

    distributed.fit(model, lambda: (load(i, False) for i in range(4)))
    parts = [delayed(load)(i, True) for i in range(4)]

    def array(name: str, value: np.ndarray) -> da.Array:
        return da.concatenate(
            [da.from_delayed(part[name], value[i::4].shape, dtype=float) for i, part in enumerate(parts)]
        )

    given = {name: array(name, value) for name, value in {"X": X, **by_row}.items()}
    with dask.config.set(scheduler="threads", num_workers=2):
        distributed.fit(clone(model), **given)
    looked = model.weight_type != "frequency" and "sample_weight" in by_row
    assert loads[1][0] == loads[0][0] + looked
    loads[1][0] -= looked
    assert len({*loads[0].values(), *loads[1].values()}) == 1
    return loads[0][0]


def reweightings(monkeypatch: pytest.MonkeyPatch, model: Regressor, data: Any) -> int:
    """How often a fit in memory moves its errors."""
    moves = []
    moved = CountedRows.moved
    with monkeypatch.context() as patch:
        patch.setattr(CountedRows, "moved", lambda *given: moves.append(1) or moved(*given))
        model.fit(*data)
    return len(moves)


def test_data_are_gone_through_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, y_err = TABLE
    assert passes_of(Regressor(), X, y=y, y_err=y_err) == 1
    assert passes_of(Regressor(), X, y=y, sample_weight=FREQUENCY) == 1
    X, y, counts = COUNTED
    assert passes_of(Regressor(count_error="observed"), X, y=y, sample_weight=counts) == 1
    for parameters in ({}, {"noise": "known"}):
        n_moves = reweightings(monkeypatch, Regressor(**parameters), COUNTED)
        assert 2 <= n_moves <= 4
        assert passes_of(Regressor(**parameters), X, y=y, sample_weight=counts) == 2 + n_moves
    data = TALKATIVE.data, TALKATIVE.target, TALKATIVE.counts.astype(float)
    n_moves = reweightings(monkeypatch, Regressor(**COUNTS), data)
    n_passes = passes_of(Regressor(**COUNTS), data[0], y=data[1], sample_weight=data[2])
    assert 2 + n_moves < n_passes <= 2 + 2 * n_moves


def test_columns_of_one_file_are_read_together() -> None:
    loads: Counter[int] = Counter()

    def load(i: int) -> pd.DataFrame:
        loads[i] += 1
        return frame_of(TABLE.X[i::3], y=TABLE.y[i::3], e=TABLE.y_err[i::3])

    table = dd.from_map(load, range(3), meta=load(0))
    loads.clear()
    distributed.fit(Regressor(), table[["x0", "x1", "x2"]], table["y"], y_err=table["e"])
    assert loads == {0: 1, 1: 1, 2: 1}


def test_blocks_do_not_pile_up() -> None:
    alive: set[int] = set()
    most = []

    def load(i: int) -> np.ndarray:
        block = np.random.default_rng(i).normal(size=(200, 4))
        alive.add(i)
        weakref.finalize(block, alive.discard, i)
        most.append(len(alive))
        return block

    table = da.concatenate([da.from_delayed(delayed(load)(i), (200, 4), dtype=float) for i in range(64)])
    with dask.config.set(scheduler="threads", num_workers=2):
        found = distributed.fit(Regressor(), table[:, :3], table[:, 3])
    assert len(most) == 64
    assert max(most) <= 8
    whole = table.compute()
    assert_same(found, Regressor().fit(whole[:, :3], whole[:, 3]), whole[:, :3])

    most.clear()
    distributed.fit(Regressor(), ((block[:, :3], block[:, 3]) for block in map(load, range(64))))
    assert max(most) <= 3


def test_arrays_in_memory_go_with_their_blocks() -> None:
    X, y, y_err = TABLE
    table = da.from_array(X, chunks=40)
    with Results() as results:
        found = distributed.fit(Regressor(), table, list(y), y_err=pd.Series(y_err))
    assert len(results.sizes) == 4
    assert_same(found, Regressor().fit(X, y, y_err=y_err), X)


# Refusals


class Untouched:
    """Checks that a model is as it was."""

    def __init__(self, model: Any):
        self.model, self.before = model, dict(model.__dict__)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        assert self.model.__dict__.keys() == self.before.keys()
        assert all(self.model.__dict__[name] is value for name, value in self.before.items())


def array(value: Any, chunks: Any = 50) -> da.Array:
    return da.from_array(np.asarray(value), chunks=chunks)


def bad(values: np.ndarray, value: float, row: int = 120) -> np.ndarray:
    changed = values.copy()
    changed[row] = value
    return changed


LAZY = dd.from_pandas(frame_of(TABLE.X, y=TABLE.y, e=TABLE.y_err), npartitions=3)
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "not a number": ({}, {"X": array(bad(TABLE.X, np.nan))}, r"(?s)X contains NaN.*In block 2 of X"),
    "y not a number": ({}, {"y": array(bad(TABLE.y, np.nan))}, r"(?s)y contains NaN.*In block 2 of X"),
    "negative error": (
        {},
        {"y_err": array(bad(TABLE.y_err, -1.0))},
        r"(?s)y_err must be positive.*In block 2",
    ),
    "negative weight": (
        {},
        {"sample_weight": array(bad(FREQUENCY, -1.0))},
        r"(?s)sample_weight must be zero or positive.*In block 2",
    ),
    "y missing": ({}, {"y": None}, "y is missing"),
    "y too long": ({}, {"y": array(np.ones(N + 1))}, "y has 151 rows and X 150"),
    "y in memory too long": ({}, {"y": np.ones(N + 1)}, "y has 151 rows and X 150"),
    "y in memory": ({}, {"X": LAZY[["x0"]], "y": TABLE.y}, "y must be a Dask array or Series.*got ndarray"),
    "y in memory, unknown chunks": (
        {},
        {"X": array(TABLE.X)[array(TABLE.y) > 0.0], "sample_weight": FREQUENCY},
        "sample_weight must be a Dask array or Series",
    ),
    "unknown chunks of other sizes": (
        {},
        {"X": array(TABLE.X)[array(TABLE.y) > 0.0]},
        "inconsistent numbers of samples",
    ),
    "unknown chunks of another number": (
        {},
        {"X": array(TABLE.X)[array(TABLE.y) > 0.0], "y": array(TABLE.y, 30)},
        "y has 5 blocks and X 3: they have to lie alike",
    ),
    "partitions": (
        {},
        {"X": LAZY[["x0"]], "y": LAZY["y"].repartition(npartitions=2)},
        "y has 2 blocks and X 3|y has its index divided in another way",
    ),
    "divisions": (
        {},
        {"X": LAZY[["x0"]], "y": LAZY["y"].repartition(divisions=[0, 10, 20, N - 1])},
        "y has its index divided in another way than X",
    ),
    "column": ({}, {"X": LAZY, "y": "z"}, r"y='z' is not a column of X"),
    "column of errors": ({}, {"X": LAZY, "y": "y", "y_err": "er"}, r"y_err='er' is not a column of X.*'e'"),
    "column of an array": ({}, {"y": "y"}, "y='y' names a column, but X has no column names"),
    "errors of X": ({}, {"X_err": array(TABLE.X)}, "X_err must be the same for all rows, in memory"),
    "errors of X by row": ({}, {"X_err": np.abs(TABLE.X)}, "X_err"),
    "likelihood": ({"likelihood": "student_t"}, {}, "density of every row is its own"),
    "mixture": ({"x_distribution": Mixture(2)}, {"X_err": 0.1}, "x_distribution=Mixture.* needs every row"),
    "kinds": (
        {"noise": "additive"},
        {"y_err": array(np.linspace(1.0, 2.0, N))},
        "standard errors of y take more than 64 values",
    ),
    "engine": ({"coef_prior": Laplace(), "inference": "exact"}, {}, "inference='exact'"),
    "parameter": ({"noise": "loud"}, {}, "'noise' parameter"),
    "no error known": ({"noise": "known"}, {}, "noise='known' needs the errors of y"),
    "no rows": (
        {},
        {"X": array(TABLE.X)[:0], "y": array(TABLE.y)[:0]},
        "fewer than two",
    ),
    "no rows that count": ({}, {"sample_weight": array(np.zeros(N))}, "fewer than two rows that count"),
    "one row": ({}, {"sample_weight": array((np.arange(N) == 7) * 1.0)}, "fewer than two rows that count"),
    "in a list": ({}, {"X": [TABLE.X]}, "y goes with X: into its batches"),
    "y of Dask": ({}, {"X": TABLE.X}, "y goes with X"),
    "a path": ({}, {"X": "table.csv"}, "'table.csv' names a file: let X be dask.dataframe.read_parquet"),
    "a dict": ({}, {"X": {"X": TABLE.X}}, "X must be a Dask array .* got dict"),
    "a number": ({}, {"X": 3}, "X must be a Dask array .* got int"),
    "Delayed": ({}, {"X": delayed(TABLE.X)}, "dask.dataframe.from_delayed .* got Delayed"),
    "batches of Delayed": (
        {},
        {"X": [delayed(TABLE.X)], "y": None},
        "(?s)X of a batch is Dask's.*In block 0",
    ),
    "a tuple too long": ({}, {"X": [(1, 2, 3, 4)], "y": None}, "got a tuple of 4"),
    "an empty tuple": ({}, {"X": [()], "y": None}, "got a tuple of 0"),
    "a dict without X": ({}, {"X": [{"y": TABLE.y}], "y": None}, r"got a dict with \['y'\]"),
    "a dict with more": (
        {},
        {"X": [{"X": TABLE.X, "y": TABLE.y, "weights": 1}], "y": None},
        r"got a dict with \['X', 'y', 'weights'\]",
    ),
    "batches without y": ({}, {"X": [TABLE.X], "y": None}, "y is missing"),
    "batches of other columns": (
        {},
        {"X": [(TABLE.X, TABLE.y), (TABLE.X[:, :2], TABLE.y)], "y": None},
        r"have the columns \['x0', 'x1'\], those before \['x0', 'x1', 'x2'\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_and_leave_the_model_as_it_was(case: str) -> None:
    parameters, changed, message = REFUSED[case]
    given = {"X": array(TABLE.X), "y": array(TABLE.y), **changed}
    model = Regressor().fit(TABLE.X[:, :2], TABLE.y).set_params(**parameters)
    with Untouched(model), pytest.raises((TypeError, ValueError), match=message):
        distributed.fit(model, **given)


def test_only_the_estimator_itself_is_fitted() -> None:
    with pytest.raises(TypeError, match="got Pipeline: what steps before it do"):
        distributed.fit(make_pipeline(Regressor()), TABLE.X, TABLE.y)


def test_batches_that_come_but_once_are_no_matter_for_fitted_counts() -> None:
    batches = iter([COUNTED])
    with pytest.raises(ValueError, match=r"several passes .* gone through but once.*count_error='observed'"):
        distributed.fit(Regressor(), batches)
    spent = iter([COUNTED])
    with pytest.raises(ValueError, match="X gave 150 rows that count at first, and 0 when"):
        distributed.fit(Regressor(), lambda: spent)
    sizes, table = iter([N, 100]), frame_of(COUNTED.X, y=COUNTED.y, n=COUNTED.counts)
    with pytest.raises(ValueError, match="X gave 150 rows that count at first, and 100 when"):
        distributed.fit(Regressor(), lambda: iter([table[: next(sizes)]]), "y", "n")


def test_blocks_that_say_different_things_of_weights_are_refused() -> None:
    X, y, counts = COUNTED
    ones = np.ones(3)
    for first, then, message in [
        ((X, y, counts), (X[:3], y[:3] + 2.0, counts[:3]), r"y must be shares in \[0, 1\]"),
        ((X, y, counts), (X[:3], y[:3], counts[:3] / 7.0), "whole"),
        (
            (X, y, counts),
            (X[:3], y[:3], np.array([1.0, 0.0, 2.0])),
            "can't be the counts behind the shares",
        ),
        ((X, y, counts), (X[:3], y[:3]), "came with counts, and these come without"),
        ((X[:3], y[:3], ones), (X, y, counts), "looks like counts .* taken as frequencies"),
        ((X, y), (X, y, counts), "looks like counts .* taken as frequencies"),
    ]:
        with pytest.raises(ValueError, match=message):
            distributed.fit(Regressor(), [first, then])
    # Said, it is no matter.
    batches = [(X, y, counts), (X[:3], np.array([1.0, 0.4, 0.5]), np.array([1.0, 0.0, 2.0]))]
    found = distributed.fit(Regressor(**COUNTS), batches)
    rows = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    assert_same(found, Regressor(**COUNTS).fit(*rows), X)


def test_guesses_at_weights_warn_as_fit_does() -> None:
    X, y, counts = COUNTED
    for given in ([(X, y * 0.9, counts)], [(X, y + 3.0, counts)]):
        with pytest.warns(UserWarning, match="sample_weight is taken as") as of_fit:
            Regressor().fit(*given[0])
        with pytest.warns(UserWarning, match="sample_weight is taken as") as found:
            distributed.fit(Regressor(), given * 2)
        assert len(found) == len(of_fit)
    with pytest.warns(UserWarning, match="there are no counts") as found:
        distributed.fit(Regressor(**COUNTS), [(X[i::2], y[i::2]) for i in (0, 1)])
    assert len(found) == 1
    with pytest.warns(UserWarning, match="The stated errors look too small"):
        distributed.fit(Regressor(), [TABLE[:2]], y_err=1e-3)
    with pytest.warns(UserWarning, match="The errors of 'x0' hide it"):
        distributed.fit(Regressor(random_state=0), [TABLE[:2]], X_err=TABLE.X.std(axis=0) * [1.01, 0.0, 0.0])


# Predictions


NEW = measured(47, seed=3)
TABLES = ["array", "unknown chunks", "frame"]


def new_rows(kind: str) -> tuple[Any, Any, Any]:
    """New rows in memory and in Dask's blocks, and errors of the latter."""
    if kind == "frame":
        X = frame_of(NEW.X).set_axis(np.arange(47)[::-1] * 3 + 7)
        table = dd.from_pandas(X.assign(error=NEW.y_err), npartitions=4, sort=False)
        table = dd.concat([table[table["x0"] > 1e6], table])
        return X, table[["x0", "x1", "x2"]], table["error"]
    X, y_err = array(NEW.X, (13, 2)), array(NEW.y_err, 11 if kind == "array" else 13)
    if kind == "unknown chunks":
        left = array(np.arange(47) < 30, 13)
        return NEW.X[:30], X[left], y_err[left]
    return NEW.X, X, y_err


@pytest.mark.parametrize("kind", TABLES)
def test_predictions_over_blocks_are_those_of_all_rows(kind: str) -> None:
    X, blocks, y_err = new_rows(kind)
    model = Regressor().fit(frame_of(TABLE.X) if kind == "frame" else TABLE.X, TABLE.y, y_err=TABLE.y_err)
    errors = NEW.y_err[: len(X)]

    def compare(found: Any, wanted: np.ndarray) -> None:
        found = dask.compute(found)[0]
        assert_allclose(found, wanted, rtol=1e-12)
        if kind == "frame":
            assert list(found.index) == list(X.index)

    compare(distributed.predict(model, blocks), model.predict(X))
    for given, in_memory in [
        ({}, {}),
        ({"y_err": y_err}, {"y_err": errors}),
        ({"y_err": 0.3, "X_err": None}, {"y_err": 0.3}),
        ({"include_noise": False}, {"include_noise": False}),
    ]:
        mean, std = distributed.predict(model, blocks, return_std=True, **given)
        wanted = model.predict(X, return_std=True, **in_memory)
        compare(mean, wanted[0])
        compare(std, wanted[1])
        interval = distributed.predict_interval(model, blocks, 0.8, **given)
        compare(interval, model.predict_interval(X, 0.8, **in_memory))
        quantiles = distributed.predict_quantiles(model, blocks, [0.1, 0.75], **given)
        compare(quantiles, model.predict_quantiles(X, [0.1, 0.75], **in_memory))
    compare(distributed.predict_quantiles(model, blocks, 0.5), model.predict_quantiles(X, 0.5))
    if kind == "frame":
        assert list(interval.columns) == ["lower", "upper"]
        assert list(quantiles.columns) == ["0.1", "0.75"]
        assert (mean.name, std.name) == ("y_pred", "std")
    else:
        assert interval.shape[1:] == (2,)
        assert mean.chunks[0] == pytest.approx(blocks.chunks[0], nan_ok=True)


def test_predictions_take_counts_and_errors_of_features() -> None:
    X, y, counts = COUNTED
    model = Regressor(**COUNTS).fit(frame_of(X), y, counts)
    table = dd.from_pandas(frame_of(X, n=counts), npartitions=3)
    wanted = model.predict(frame_of(X), return_std=True, counts=counts)
    for given in (table, "n"), (table[["x0", "x1"]], table["n"]):
        assert_allclose(dask.compute(*distributed.predict(model, given[0], True, counts=given[1])), wanted)
    held = Regressor(count_column="n").fit(frame_of(X, n=counts), y)
    assert_allclose(distributed.predict(held, table), held.predict(frame_of(X, n=counts)))
    noisy = Regressor(random_state=0).fit(TABLE.X, TABLE.y, X_err=[0.05, 0.0, 0.0])
    found = distributed.predict_interval(noisy, array(NEW.X, 20), X_err=[0.05, 0.0, 0.0])
    assert_allclose(found, noisy.predict_interval(NEW.X, X_err=[0.05, 0.0, 0.0]), rtol=1e-12)
    assert_allclose(distributed.predict_interval(noisy, array(NEW.X, 20)), found, rtol=1e-12)


@pytest.mark.parametrize("kind", TABLES)
def test_nothing_is_predicted_until_asked_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, blocks, y_err = new_rows(kind)
    model = Regressor().fit(frame_of(TABLE.X) if kind == "frame" else TABLE.X, TABLE.y, y_err=TABLE.y_err)
    sizes = []
    predict = type(model).predict
    monkeypatch.setattr(
        type(model), "predict", lambda self, X, **given: sizes.append(len(X)) or predict(self, X, **given)
    )
    lazy = distributed.predict(model, blocks, return_std=True, y_err=y_err)
    assert sizes == []
    dask.compute(*lazy)
    assert 0 not in sizes
    assert sum(sizes) == (30 if kind == "unknown chunks" else 47)  # mean and deviations by one call a block


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of Dask's own
def test_predictions_go_into_files(tmp_path: Path) -> None:
    X, table, _ = new_rows("frame")
    model = Regressor().fit(frame_of(TABLE.X), TABLE.y)
    interval = distributed.predict_interval(model, table)
    table.assign(y_pred=distributed.predict(model, table), upper=interval["upper"]).to_parquet(tmp_path)
    found = pd.read_parquet(tmp_path)
    assert_allclose(found["y_pred"], model.predict(X))
    assert_allclose(found["upper"], model.predict_interval(X)[:, 1])


def test_predictions_refuse_what_they_can_t_take() -> None:
    model = Regressor().fit(TABLE.X, TABLE.y)
    X, (_, table, _) = array(NEW.X, 20), new_rows("frame")
    for method, given, message in [
        (distributed.predict, {"X": NEW.X}, "X must be a Dask array .*use the estimator's predict"),
        (distributed.predict, {"y_err": NEW.y_err}, "y_err must be a Dask array or one number"),
        (distributed.predict, {"X": table, "counts": [1, 2]}, "counts must be a Dask Series, the name of"),
        (
            distributed.predict,
            {"counts": table["x0"]},
            "counts must be a Dask array or one number.*got Series",
        ),
        (distributed.predict_interval, {"counts": "n"}, "counts='n' names a column, but X has no"),
        (distributed.predict_interval, {"X": table, "y_err": "n"}, "y_err='n' is not a column of X"),
        (distributed.predict_quantiles, {"X_err": X}, "X_err must be the same for all rows.*error_columns"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            method(model, **{"X": X, **given})
    with pytest.raises(TypeError, match="LinearRegression has no predict_interval"):
        distributed.predict_interval(LinearRegression().fit(TABLE.X, TABLE.y), X)
    with pytest.raises(NotFittedError):
        distributed.predict(Regressor(), X)
