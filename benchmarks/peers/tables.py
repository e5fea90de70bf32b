"""The tables of the documentation: figures as they were measured, and what has none in words."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..measure import as_number
from .records import Record
from .registry import PEERS
from .tasks import TASKS

__all__ = ["RECORDS", "write_tables"]

RECORDS = "records.csv"
_FIT = ("first fit, s", "later fits, s", "memory, MB", "effective draws a second")
_NONE = "\N{EN DASH}"  # a hyphen would become the bullet of a list


def write_tables(records: Sequence[Record], folder: Path) -> None:
    """Write a table for each kind of task, one of times against sizes, and one of who can do what."""
    _scores(records, folder / "shares.csv", ("star98", "phones"))
    _scores(records, folder / "targets.csv", ("targets n=1000", "targets with scatter"))
    _slopes(records, folder / "errors-in-x.csv")
    _times(records, folder / "times.csv")
    _cannot(folder / "cannot.csv")


def _scores(records: Iterable[Record], path: Path, tasks: Sequence[str]) -> None:
    header = ["task", "peer", *_FIT, "RMSE", "RMSE to the truth", "CRPS", "coverage", "remark"]
    rows = [
        [
            record.task,
            record.peer,
            *_cost(record),
            *map(_number, (record.rmse, record.rmse_truth, record.crps)),
            _percent(record.coverage),
            _remark(record),
        ]
        for record in records
        if record.task in tasks and not record.status.startswith("cannot")
    ]
    _write(path, header, rows)


def _slopes(records: Iterable[Record], path: Path) -> None:
    header = ["task", "peer", *_FIT[:3], "bias of the slope", "data sets", "slope in its interval"]
    header += ["RMSE", "CRPS", "coverage", "remark"]
    rows = []
    for record in records:
        task = TASKS[record.task]
        if task.repeats == 1 or record.status.startswith("cannot"):
            continue
        bias = _NONE if record.bias is None else f"{record.bias:+.3f}"
        if record.bias_error is not None:
            bias += f" ± {record.bias_error:.3f}"
        rows.append(
            [
                record.task,
                record.peer,
                *_cost(record)[:3],
                bias,
                str(record.data_sets or _NONE),
                _percent(record.slope_coverage),
                *map(_number, (record.rmse, record.crps)),
                _percent(record.coverage),
                _remark(record),
            ]
        )
    _write(path, header, rows)


def _times(records: Iterable[Record], path: Path) -> None:
    """Write first and later fits of each peer, against rows and features."""
    tasks = [task.name for task in TASKS.values() if task.series or task.name.startswith("targets p=")]
    found = {(record.task, record.peer): record for record in records}
    rows = []
    for peer in PEERS:
        cells = [found.get((task, peer)) for task in tasks]
        if any(cell is not None and not cell.status.startswith("cannot") for cell in cells):
            rows.append([peer, *(_both_times(cell) for cell in cells)])
    _write(path, ["peer", *tasks], rows)


def _both_times(record: Record | None) -> str:
    if record is None or record.status.startswith("cannot"):
        return _NONE
    if not record.measured:
        return record.status
    return " / ".join(_NONE if value is None else as_number(value) for value in (record.cold, record.warm))


def _cannot(path: Path) -> None:
    rows = [[peer.name, *(peer.cannot.get(kind, "yes") for kind in _KINDS)] for peer in PEERS.values()]
    _write(path, ["peer", *_KINDS.values()], rows)


_KINDS = {
    "shares": "shares with counts",
    "targets": "targets with standard errors",
    "features": "features with standard errors",
}


def _cost(record: Record) -> list[str]:
    return list(map(_number, (record.cold, record.warm, record.memory, record.effective_per_second)))


def _number(value: float | None) -> str:
    return _NONE if value is None else as_number(value)


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100.0 * value:.0f}%"


def _remark(record: Record) -> str:
    if record.status == "ok":
        return "one fit only: no time for a second" if record.warm is None else ""
    return record.status


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
