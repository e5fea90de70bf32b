"""Fits to Parquet files: seconds and memory against rows, what a lost worker changes, and what 1e10 rows would take.

Run ``python -m benchmarks.parquet`` from the repository; ``docs/benchmarks/`` has its output.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .data import shares
from .fresh import run_probe
from .measure import as_number

__all__ = ["Run", "beyond", "main"]

_WAYS = {
    "arrow": "batches of Arrow, one process",
    "dask": "Dask, two threads",
    "1": "Dask, a cluster of one process",
    "2": "Dask, a cluster of two processes",
}
_PASSES = {"observed": "one pass", "fitted": "several passes"}
_BEYOND = 10_000_000_000


@dataclass(frozen=True)
class Run:
    """A fit to so many rows in files."""

    way: str
    count_error: str
    rows: int
    seconds: float
    processor: float
    """Seconds of all processors: what else a machine does hardly adds to them."""
    peak: float
    """Bytes of the process that called the fit."""
    worker: float | None = None
    """Bytes of the largest of the cluster's."""
    lost: float | None = None
    """Seconds, where a worker was killed in the middle."""
    apart: float | None = None
    """The largest relative difference that this makes to a coefficient or its standard deviation."""


def write_parts(folder: Path, parts: int, rows: int) -> None:
    """Write shares of counts, four features beside them, as float32 and int32, in files of so many rows."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    for seed in range(parts):
        table = shares(rows, 4, seed)
        columns = {f"x{place}": column.astype(np.float32) for place, column in enumerate(table.X.T)}
        columns |= {"share": table.y.astype(np.float32), "messages": table.weight.astype(np.int32)}
        # Row groups that are smaller than a file let readers take it in pieces.
        write_table(pa.table(columns), folder / f"part-{seed:05d}.parquet", row_group_size=max(rows // 4, 1))


def runs(folder: Path, part: int, sizes: Sequence[int]) -> Iterator[Run]:
    """Yield a fit for each way, number of passes and size, each in a process of its own."""
    for way in _WAYS:
        # More passes on a cluster are more of the same.
        for count_error in list(_PASSES)[: 1 if way.isdigit() else None]:
            for rows in sizes:
                found = run_probe("parquet_probe", way, count_error, folder, rows // part)
                worker = max(found["workers"]) if "workers" in found else None
                lost, apart = found.get("seconds, a worker lost"), found.get("apart")
                of_process = found["seconds"], found["processor"], found["peak"]
                run = Run(way, count_error, rows, *of_process, worker, lost, apart)
                print(run, flush=True)
                yield run


def beyond(measured: Sequence[Run], rows: int = _BEYOND) -> float:
    """Return the processor seconds of more rows, by the line through the two largest sizes."""
    before, last = sorted(measured, key=lambda run: run.rows)[-2:]
    slope = (last.processor - before.processor) / (last.rows - before.rows)
    return last.processor + slope * (rows - last.rows)


def tables(every: Iterable[Run]) -> tuple[list[list[str]], list[list[str]]]:
    """Return a table of all fits, and one of what grows with rows."""
    fits = [
        [
            "fit",
            "passes",
            "n",
            "seconds",
            "of processors",
            "MB",
            "MB, a worker",
            "seconds, a worker lost",
            "change",
        ]
    ]
    kinds: dict[tuple[str, str], list[Run]] = {}
    for run in every:
        kinds.setdefault((run.way, run.count_error), []).append(run)
        memory = ["" if size is None else as_number(size / 1e6) for size in (run.peak, run.worker)]
        seconds = [as_number(run.seconds), as_number(run.processor)]
        lost = "" if run.lost is None else as_number(run.lost)
        apart = "" if run.apart is None else f"{run.apart:.1g}"
        names = [_WAYS[run.way], _PASSES[run.count_error]]
        fits.append([*names, f"{run.rows:,}", *seconds, *memory, lost, apart])
    growth = [["fit", "passes", "power", "processor seconds per 1e8 rows", "processor hours, 1e10 rows"]]
    for (way, count_error), found in kinds.items():
        slope = (beyond(found, 2 * _BEYOND) - beyond(found)) / _BEYOND * 1e8
        logs = np.log([[run.rows, run.processor] for run in found])
        power = np.polyfit(logs[:, 0], logs[:, 1], 1)[0]
        figures = f"{power:.2f}", as_number(slope), as_number(beyond(found) / 3600.0)
        growth.append([_WAYS[way], _PASSES[count_error], *figures])
    return fits, growth


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parquet", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="folder (%(default)s)")
    parser.add_argument("--part", type=int, default=1_000_000, help="rows in a file (%(default)s)")
    parser.add_argument("--files", type=int, nargs="+", default=[1, 10, 100], help="numbers of files")
    parser.add_argument(
        "--data", type=Path, help="folder for the files, which are kept; default: a temporary one"
    )
    options: Any = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or Path(temporary)
        if not any(folder.glob("*.parquet")):
            write_parts(folder, max(options.files), options.part)
        every = list(runs(folder, options.part, [files * options.part for files in options.files]))
    options.output.mkdir(parents=True, exist_ok=True)
    for name, table in zip(("parquet-fits.csv", "parquet-growth.csv"), tables(every), strict=True):
        with (options.output / name).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
        print((options.output / name).read_text())


if __name__ == "__main__":
    main()
