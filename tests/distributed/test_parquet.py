"""Tables in Parquet files: whatever reads them, the fit is that of all rows, in the memory of a few batches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow.dataset import dataset
from pyarrow.parquet import ParquetFile, read_table, write_table
from sklearn.base import clone

from bayes_sklearn import distributed

from agreement import assert_same
from data import shares
from plain import Regressor

SHARES = {"y": "share", "sample_weight": "n"}
READERS: dict[str, Any] = {
    "a dataset's batches": lambda path: dataset(path).to_batches,
    "a file's batches": lambda path: lambda: ParquetFile(path).iter_batches(batch_size=70),
    "an Arrow table": read_table,
    "dicts of Arrow tables": lambda path: [{"X": read_table(path)}],
    "Dask": dd.read_parquet,
}
if hasattr(pl.LazyFrame, "collect_batches"):  # of newer releases
    READERS["batches of polars"] = lambda path: pl.scan_parquet(path).collect_batches


def write(path: Path, n: int) -> pd.DataFrame:
    X, y, counts = shares(n)
    table = pd.DataFrame(X.astype(np.float32), columns=["a", "b"]).assign(share=y, n=counts.astype(np.int32))
    write_table(pa.Table.from_pandas(table, preserve_index=False), path, row_group_size=max(n // 8, 50))
    return table


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")  # Dask's own
@pytest.mark.parametrize("reader", READERS)
def test_readers_of_files_are_taken_as_they_are(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "shares.parquet"
    table = write(path, 200)
    model = Regressor(weight_type="counts")  # several passes
    found = distributed.fit(clone(model), READERS[reader](str(path)), **SHARES)
    features = table[["a", "b"]]
    assert list(found.feature_names_in_) == ["a", "b"]
    assert_same(found, model.fit(features, table["share"], table["n"]), features)


def test_what_only_names_rows_is_refused_with_what_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "shares.parquet"
    write(path, 100)
    reads_files = r"shares.parquet'.* names a file.*dask.dataframe.read_parquet.*pyarrow.dataset.dataset"
    for X, message in [
        (str(path), reads_files),
        (path, reads_files),
        ([path], reads_files),
        (dataset(path), r"FileSystemDataset has no rows yet: give X\.to_batches"),
        (pl.scan_parquet(path), r"LazyFrame has no rows yet: give X\.collect"),
    ]:
        with pytest.raises(TypeError, match=message):
            distributed.fit(Regressor(), X, **SHARES)


PROGRAM = """
import json, sys
from functools import partial
from pathlib import Path
from pyarrow.dataset import dataset
from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed

def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

def fit(paths):
    model = BayesianErrorsInVariablesRegressor(weight_type="counts", count_error="observed", error_floor=0.01)
    batches = partial(dataset(paths).to_batches, batch_readahead=1, fragment_readahead=1, use_threads=False)
    distributed.fit(model, batches, y="share", sample_weight="n")

paths = sorted(map(str, Path(sys.argv[1]).iterdir()))
fit(paths[:2])  # what is loaded at the first use, and the buffers of the libraries
few = peak()
fit(paths)
print(json.dumps([few, peak()]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak")
def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """Of 12,000,000 rows, 240 MB as they are and 480 MB as numbers of eight bytes, few are ever there."""
    path = tmp_path / "part-00.parquet"
    write(path, 200_000)
    for i in range(1, 60):
        shutil.copy(path, tmp_path / f"part-{i:02d}.parquet")
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    few, every = json.loads(done.stdout)
    assert every - few < 100.0  # of which allocators, which keep what they might need, have up to 50
