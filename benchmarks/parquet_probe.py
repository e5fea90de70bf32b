"""A program: fit shares in Parquet files by `distributed.fit`; print, as JSON, seconds, memory and what was found.

``python -m benchmarks.parquet_probe WAY COUNT_ERROR FOLDER PARTS``. WAY is "arrow" (batches in this process), "dask"
(two threads), or a number of processes of a local cluster, of which one is killed in the middle of a second fit.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from threading import Timer
from time import perf_counter, process_time
from typing import Any, cast

import numpy as np

from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed

from .process import status

__all__ = ["main"]

_TARGET, _COUNTS = "share", "messages"


def main(way: str, count_error: str, folder: str, parts: int) -> None:
    paths = [str(path) for path in sorted(Path(folder).glob("*.parquet"))[:parts]]
    model = BayesianErrorsInVariablesRegressor(weight_type="counts", count_error=count_error)
    if way == "arrow":
        from pyarrow.dataset import dataset

        # Without reading ahead: Arrow is as fast as the fit, and fills memory with what waits for it.
        source: Any = partial(
            dataset(paths).to_batches, batch_readahead=1, fragment_readahead=1, use_threads=False
        )
        found = _fit(model, source)
    else:
        import dask
        import dask.dataframe as dd

        source = dd.read_parquet(paths, blocksize="8MiB")
        with dask.config.set(scheduler="threads", num_workers=2):
            found = _fit(model, source) if way == "dask" else _on_cluster(model, source, int(way))
    print(json.dumps(found | {"peak": status("VmHWM")}))


def _fit(model: BayesianErrorsInVariablesRegressor, source: Any) -> dict[str, Any]:
    start, processor = perf_counter(), process_time()
    distributed.fit(model, source, _TARGET, _COUNTS)
    return {
        "seconds": perf_counter() - start,
        "processor": process_time() - processor,
        "found": [*model.coef_, *model.coef_std_],
    }


def _on_cluster(model: BayesianErrorsInVariablesRegressor, source: Any, processes: int) -> dict[str, Any]:
    """Fit on a local cluster; once more, and lose a worker in the middle, where there are others."""
    from distributed import Client, LocalCluster

    make_cluster, connect = cast("tuple[Any, Any]", (LocalCluster, Client))  # without type hints
    with (
        make_cluster(n_workers=processes, threads_per_worker=1, dashboard_address=None) as cluster,
        connect(cluster) as client,
    ):
        _fit(model, source.partitions[:processes])  # what is imported at the first use doesn't count
        before = sum(client.run(process_time).values())
        found = _fit(model, source)
        found["processor"] += sum(client.run(process_time).values()) - before
        found["workers"] = list(client.run(status, "VmHWM").values())
        if processes > 1:
            victim = min(client.run(os.getpid).values())
            timer = Timer(found["seconds"] / 3.0, os.kill, (victim, signal.SIGKILL))
            timer.start()
            again = _fit(model, source)
            timer.cancel()
            if victim not in client.run(os.getpid).values():  # else the fit was over before
                apart = np.max(np.abs(np.divide(again["found"], found["found"]) - 1.0))
                found |= {"seconds, a worker lost": again["seconds"], "apart": float(apart)}
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
