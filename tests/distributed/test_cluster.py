"""On a cluster of processes: the same numbers, workers that may die, and no PyMC where it isn't needed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
import pytest
from dask.delayed import delayed
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from bayes_sklearn import distributed

from agreement import assert_same
from data import measured, shares
from plain import Regressor


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**settings) as cluster, Client(cluster) as client:
        yield client


def no_worker_has_pymc(client: Any) -> bool:
    loaded = client.run(lambda: ("bayes_sklearn" in sys.modules, "pymc" in sys.modules))
    assert any(ours for ours, _ in loaded.values())
    return not any(pymc for _, pymc in loaded.values())


@pytest.mark.parametrize("fitted", [False, True])
def test_fits_and_predictions_are_those_in_memory(fitted: bool, client: Any) -> None:
    X, y, counts = shares(200)
    model = Regressor(weight_type="counts", count_error="fitted" if fitted else "observed", error_floor=0.01)
    table = pd.DataFrame(X, columns=["a", "b"]).assign(share=y, n=counts)
    frame = dd.from_pandas(table, npartitions=5)
    found = distributed.fit(model, frame, "share", "n")
    assert_same(found, clone(model).fit(table[["a", "b"]], y, counts), table[["a", "b"]])
    predicted = distributed.predict(found, frame[["a", "b"]], counts=frame["n"]).compute()
    assert_array_equal(predicted, found.predict(table[["a", "b"]]))
    assert no_worker_has_pymc(client)


def test_what_a_lost_worker_had_is_done_again(tmp_path: Path, client: Any) -> None:
    X, y, counts = shares(400)
    model = Regressor(weight_type="counts")

    def load(i: int, died: Path | None) -> np.ndarray:
        if i == 5 and died is not None and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.column_stack([X, y, counts])[i::8]

    def fit(died: Path | None) -> Regressor:
        parts = [da.from_delayed(delayed(load)(i, died), (50, 4), dtype=float) for i in range(8)]
        table = da.concatenate(parts)
        return distributed.fit(clone(model), table[:, :2], table[:, 2], table[:, 3])

    wanted, pids = fit(None), set(client.run(os.getpid).values())
    found = fit(tmp_path / "died")
    assert (tmp_path / "died").exists()
    client.wait_for_workers(2)
    assert len(pids & set(client.run(os.getpid).values())) == 1
    assert_array_equal(found.coef_, wanted.coef_)
    assert_array_equal(found.coef_std_, wanted.coef_std_)
    assert found.overdispersion_ == wanted.overdispersion_


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")  # Dask's own
def test_a_million_rows_in_files_have_the_same_fit_where_a_worker_is_lost(
    tmp_path: Path, client: Any
) -> None:
    X, y, counts = shares(1_000_000)
    table = pd.DataFrame(X, columns=["a", "b"]).assign(share=y, n=counts)
    for i in range(10):
        table[i::10].to_parquet(tmp_path / f"part-{i}.parquet", index=False)
    died, first = tmp_path / "died", float(X[4, 0])

    def lose_worker(part: pd.DataFrame) -> pd.DataFrame:
        if part["a"].iloc[0] == first and not died.exists():  # that of part-4
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    source = dd.read_parquet(str(tmp_path / "part-*.parquet"))
    model = Regressor(weight_type="counts", count_error="observed", error_floor=0.01)
    undisturbed = distributed.fit(clone(model), source, "share", "n")
    disturbed = distributed.fit(
        clone(model), source.map_partitions(lose_worker, meta=source._meta), "share", "n"
    )
    assert died.exists()
    client.wait_for_workers(2)
    assert_array_equal(disturbed.coef_, undisturbed.coef_)
    assert_array_equal(disturbed.coef_std_, undisturbed.coef_std_)
    features = table[["a", "b"]]
    assert_same(undisturbed, clone(model).fit(features, y, counts), features[:1000])


def test_errors_say_which_block_and_warnings_come_home() -> None:
    X, y, y_err = measured(60)
    y_err[45] = -1.0
    with pytest.raises(ValueError, match=r"(?s)y_err must be positive.*In block 4 of X") as error:
        distributed.fit(Regressor(), da.from_array(X, chunks=10), y, y_err=y_err)
    assert error.value.__notes__
    X, y, counts = shares(60)
    with pytest.warns(UserWarning, match="is not whole in some rows"):
        distributed.fit(Regressor(), da.from_array(X, chunks=20), 0.9 * y, counts)


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_searches_give_the_same_numbers_without_pymc(backend: str) -> None:
    X, y, counts = shares(120)
    table = np.column_stack([X, counts])

    def has_pymc(*_: Any) -> float:
        return float("pymc" in sys.modules)

    def process(*_: Any) -> float:
        return float(os.getpid())

    search = GridSearchCV(
        Regressor(count_column=2),
        {"coef_prior__sigma": [0.5, 1.0], "noise": ["scaled", "additive"]},
        scoring={"r2": "r2", "pymc": has_pymc, "process": process},
        refit="r2",
        cv=3,
    )
    wanted = search.fit(table, y).cv_results_
    with joblib.parallel_config(backend=backend, n_jobs=2):
        found = search.fit(table, y).cv_results_
    for name in (f"split{i}_test_r2" for i in range(3)):
        assert_array_equal(found[name], wanted[name])
    assert found["params"] == wanted["params"]
    for i in range(3):
        assert os.getpid() not in found[f"split{i}_test_process"]
        assert not found[f"split{i}_test_pymc"].any()
