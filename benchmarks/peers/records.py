"""One record a peer and task, and the run that makes them: every outcome is a record, failures included."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..fresh import run_probe
from .registry import PEERS, Peer
from .tasks import TASKS, Task, save

__all__ = ["Record", "pairs", "read", "run", "write"]

# Beyond the time in which fits are begun, the last one may end.
_GRACE = 1.5


@dataclass(frozen=True)
class Record:
    """What is told of a peer at a task; None: not known, or not something that the peer has."""

    task: str
    peer: str
    status: str
    """"ok", or what happened."""
    cold: float | None = None
    """Seconds of the first fit of a process, imports and compilation included."""
    warm: float | None = None
    """Seconds of a further fit of as many other rows."""
    memory: float | None = None
    """Megabytes that the process reaches beside the tables, libraries included."""
    effective_per_second: float | None = None
    """Effective draws from the posterior for each second of sampling."""
    rmse: float | None = None
    """Of predictions, to new measurements."""
    rmse_truth: float | None = None
    """The same, to what would have been measured without error."""
    crps: float | None = None
    coverage: float | None = None
    """Share of new measurements in their 90% intervals."""
    deciles: tuple[float, ...] = ()
    """The same by tenths of the noise, the least first."""
    bias: float | None = None
    """Mean error of the first slope, over data sets."""
    bias_error: float | None = None
    """Its standard error."""
    slope_coverage: float | None = None
    """Share of the slope's 90% intervals that have the true one in them."""
    data_sets: int = 0
    """How many the slopes are of."""

    @property
    def measured(self) -> bool:
        """Whether there are figures."""
        return self.cold is not None


def pairs(
    tasks: Iterable[Task] = TASKS.values(), peers: Iterable[Peer] = PEERS.values()
) -> list[tuple[str, str]]:
    """Return all pairs of a task and a peer: what a complete run has a record of."""
    peers = list(peers)
    return [(task.name, peer.name) for task in tasks for peer in peers]


def run(tasks: Sequence[Task], peers: Sequence[Peer], limit: float) -> Iterator[Record]:
    """Fit every peer to every task, each in a process of its own, and yield a record of each pair.

    Parameters
    ----------
    tasks : sequence of Task
    peers : sequence of Peer
    limit : float
        Seconds after which no further fit of a pair is begun; half as long again after that, the pair is stopped.
    """
    stopped: dict[tuple[str, str], int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            data = [task.data_set(seed) for seed in range(max(task.repeats, 2))]
            paths = [Path(folder) / f"{seed}.npz" for seed in range(len(data))]
            for one, path in zip(data, paths, strict=True):
                save(one, path)
            for peer in peers:
                smaller = stopped.get((task.series, peer.name)) if task.series else None
                if smaller is not None:
                    yield Record(task.name, peer.name, f"not tried: stopped at {smaller:,} rows")
                    continue
                found = _record(task, peer, limit, paths, float(data[0].slopes[0]))
                if found.status.startswith("stopped"):
                    stopped[task.series, peer.name] = task.rows
                yield found


def _record(task: Task, peer: Peer, limit: float, paths: Sequence[Path], slope: float) -> Record:
    if reason := peer.why_not(task):
        return Record(task.name, peer.name, f"cannot: {reason}")
    if missing := peer.missing():
        return Record(task.name, peer.name, f"not installed: {', '.join(missing)}")
    try:
        found = run_probe("peers.probe", peer.name, task.name, limit, *paths, limit=_GRACE * limit)
    except TimeoutError:
        return Record(task.name, peer.name, f"stopped after {_GRACE * limit:g} s")
    except RuntimeError as failure:
        return Record(task.name, peer.name, f"failed: {str(failure).splitlines()[-1]}")
    return Record(
        task.name,
        peer.name,
        f"doubtful: {found['doubts']}" if found["doubts"] else "ok",
        cold=found["cold"],
        warm=found["warm"],
        memory=None if found["memory"] is None else found["memory"] / 1e6,
        effective_per_second=found["effective"] and found["effective"] / found["effective_seconds"],
        **{name: found[name] for name in ("rmse", "rmse_truth", "crps", "coverage")},
        deciles=tuple(found["deciles"] or ()),
        **(_of_slopes(found["slopes"], found["limits"], slope) if task.repeats > 1 else {}),
    )


def _of_slopes(slopes: list[Any], limits: list[Any], truth: float) -> dict[str, Any]:
    """Return bias and coverage of the first slope over data sets."""
    if slopes[0] is None:
        return {}
    errors = np.array([one[0] for one in slopes]) - truth
    inside = None
    if limits[0] is not None:
        inside = float(np.mean([low <= truth <= high for (low, high), *_ in limits]))
    deviation = float(np.std(errors, ddof=1) / np.sqrt(len(errors))) if len(errors) > 1 else None
    return {
        "bias": float(np.mean(errors)),
        "bias_error": deviation,
        "slope_coverage": inside,
        "data_sets": len(errors),
    }


def write(records: Iterable[Record], path: Path) -> None:
    """Write records to three digits."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Record))
        writer.writerows([_text(value) for value in astuple(record)] for record in records)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return json.dumps([float(f"{one:.3g}") for one in value])
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def read(path: Path) -> list[Record]:
    """Read what `write` wrote."""
    with path.open(newline="") as file:
        return [
            Record(**{name: _value(name, text) for name, text in row.items()}) for row in csv.DictReader(file)
        ]


def _value(name: str, text: str) -> Any:
    if name in ("task", "peer", "status"):
        return text
    if name == "deciles":
        return tuple(json.loads(text))
    if name == "data_sets":
        return int(text)
    return float(text) if text else None
