"""How cost grows with rows and with features, beside LinearRegression's: tables and the picture of the documentation.

Run ``python -m benchmarks.scaling`` from the repository; ``docs/benchmarks/`` has its output.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from .adapters import fit_y_err, linear_fit_y_err
from .data import Table, measured
from .fresh import run_probe
from .measure import Result, as_number, pairs

__all__ = ["against_columns", "against_rows"]

# The power is that of the largest sizes: below, costs that don't grow count.
_LARGEST = 3
_ROWS = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_COLUMNS = (2, 10, 50, 100, 200, 500)
_BATCH = 100_000


@dataclass(frozen=True)
class Point:
    """A fit with standard errors of y beside LinearRegression with the weights that they make, at one size."""

    size: int
    ours: float
    """Processor seconds of the fastest fit: what else a machine does only adds to it."""
    peer: float
    ratio: float
    """Median of the ratios of pairs."""


@dataclass(frozen=True)
class Memory:
    """Peak of what is allocated, in bytes, beside the table (batches: their own included)."""

    size: int
    """Rows."""
    ours: float
    peer: float
    batches: float | None
    """Of `partial_fit`; None: not even one batch."""


def against_rows(columns: int, largest: int, repeats: int) -> Result:
    """Time fits to more and more rows."""
    return _power(_timed((measured(rows, columns) for rows in _ROWS if rows <= largest), 0, repeats))


def against_columns(rows: int, largest: int, repeats: int) -> Result:
    """Time fits with more and more features."""
    return _power(_timed((measured(rows, columns) for columns in _COLUMNS if columns <= largest), 1, repeats))


def _timed(tables: Iterable[Table], axis: int, repeats: int) -> Iterator[Point]:
    """Yield a point for each table."""
    for table in tables:
        # Slopes compare times that are taken one after the other, while a machine does other work, too.
        taken = pairs(fit_y_err(table), linear_fit_y_err(table), repeats, clock=process_time)
        ours, peer = (min(times) for times in zip(*taken, strict=True))
        yield Point(table.X.shape[axis], ours, peer, statistics.median(a / b for a, b in taken))


def _power(points: Iterable[Point]) -> Result:
    """Return the power with which our time grows, and say all else."""
    found = list(points)
    ours, peer = slopes(found)
    ratios = ", ".join(f"{point.size:,}: {point.ratio:.2g}" for point in found)
    return Result((ours,), f"{ours:.2f} / {peer:.2f}", f"ratios of times at {ratios}")


def slopes(points: Sequence[Point] | Sequence[Memory]) -> tuple[float, float]:
    """Return the slopes of both, log against log, least squares over the largest sizes."""
    largest = points[-_LARGEST:]
    size = np.log([point.size for point in largest])
    values = np.log([[point.ours, point.peer] for point in largest])
    ours, peer = np.polyfit(size, values, 1)[0]
    return float(ours), float(peer)


def _allocated(columns: int, largest: int) -> Iterator[Memory]:
    """Yield the memory of fits to more and more rows, each in a process of its own."""
    for rows in (rows for rows in _ROWS if rows <= largest):
        found = run_probe("memory_probe", "fit_y_err", "linear_fit_y_err", rows, columns)
        batches = None
        if rows >= _BATCH:
            batches = run_probe("streaming_probe", rows // _BATCH, _BATCH, columns)["allocated"]
        yield Memory(rows, found["allocated"], found["peer"], batches)


def _write_times(path: Path, name: str, points: Sequence[Point]) -> None:
    """Write ratios, which don't depend on the machine as times do, and slopes."""
    ours, peer = slopes(points)
    _write(
        path,
        [name, "time of a fit / LinearRegression's"],
        [
            *([f"{point.size:,}", f"{point.ratio:.2g}"] for point in points),
            ["slopes", f"{ours:.2f} / {peer:.2f}"],
        ],
    )


def _write_memory(path: Path, points: Sequence[Memory]) -> None:
    _write(
        path,
        ["n", "fit", "LinearRegression", "partial_fit, batches of 100,000"],
        [
            [
                f"{point.size:,}",
                *(
                    "" if value is None else as_number(value / 1e6)
                    for value in (point.ours, point.peer, point.batches)
                ),
            ]
            for point in points
        ],
    )


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    print(path.read_text())


def draw(rows: Sequence[Point], columns: Sequence[Point], memory: Sequence[Memory], path: Path) -> None:
    """Draw times against rows and features, and memory against rows."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import EngFormatter

    with mpl.rc_context({"svg.hashsalt": "scaling", "font.size": 9}):
        figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
        for axis, points, title, measure, unit in (
            (axes[0], rows, "Time of a fit, 10 features", "rows", "s"),
            (axes[1], columns, "Time of a fit, 20,000 rows", "features", "s"),
            (axes[2], memory, "Memory beside the table, 10 features", "rows", "B"),
        ):
            axis.set(xscale="log", yscale="log", title=title, xlabel=measure)
            _lines(axis, points)
            axis.yaxis.set_major_formatter(EngFormatter(unit))
        flat = [(point.size, point.batches) for point in memory if point.batches is not None]
        name = "bayes_sklearn, batches of 100,000\n(the batch itself included): flat"
        axes[2].plot(*zip(*flat, strict=True), "D-C2", label=name)
        for axis in axes[[0, 2]]:
            axis.xaxis.set_major_formatter(EngFormatter())
        axes[1].set_xticks(ticks := [point.size for point in columns], [str(size) for size in ticks])
        for axis in axes:
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False)
        # Without the date, the same figures make the same file.
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _lines(axis: Any, points: Sequence[Point] | Sequence[Memory]) -> None:
    """Draw both models' points, and the lines that are fitted to the largest sizes."""
    size = np.array([point.size for point in points], dtype=np.float64)
    largest = np.log(size[-_LARGEST:])
    for values, slope, name, marker, color in (
        ([point.peer for point in points], slopes(points)[1], "LinearRegression", "s", "C1"),
        ([point.ours for point in points], slopes(points)[0], "bayes_sklearn", "o", "C0"),
    ):
        axis.plot(size, values, marker=marker, color=color, lw=0.8, label=f"{name}: slope {slope:.2f}")
        middle = np.log(values[-_LARGEST:]).mean()
        fitted = np.exp(middle + slope * (largest - largest.mean()))
        axis.plot(size[-_LARGEST:], fitted, "--", color=color, lw=1.6)


def write(rows: Sequence[Point], columns: Sequence[Point], memory: Sequence[Memory], folder: Path) -> None:
    """Write the tables and the picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_times(folder / "scaling-rows.csv", "n", rows)
    _write_times(folder / "scaling-columns.csv", "p", columns)
    _write_memory(folder / "scaling-memory.csv", memory)
    draw(rows, columns, memory, folder / "scaling.svg")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="folder (%(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="pairs that count (%(default)s)")
    options = parser.parse_args(arguments)
    rows = list(_timed((measured(size, 10) for size in _ROWS), 0, options.repeats))
    columns = list(_timed((measured(20_000, size) for size in _COLUMNS), 1, options.repeats))
    write(rows, columns, list(_allocated(10, _ROWS[-1])), options.output)


if __name__ == "__main__":
    main()
