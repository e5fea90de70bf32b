"""Fit every peer to every task, and write tables and pictures: ``python -m benchmarks.peers``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .pictures import draw
from .records import Record, read, run, write
from .registry import PEERS
from .tables import RECORDS, write_tables
from .tasks import TASKS

_LINE = "{:<38} {:<28} {:>9} {:>9} {:>9} {:>9} {:>6}  {}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; return 1 where a peer failed or, if `strict`, is not installed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    tasks = [task for name, task in TASKS.items() if _asked_for(name, options.task)]
    peers = [peer for name, peer in PEERS.items() if _asked_for(name, options.peer)]
    for found, parts in ((tasks, options.task), (peers, options.peer)):
        if not found:
            parser.error(f"nothing is called {', '.join(parts)}: choose from {', '.join([*TASKS, *PEERS])}")
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.redraw:
        print(_LINE.format("task", "peer", "first s", "later s", "RMSE", "CRPS", "cover", ""))
        records = []
        for record in run(tasks, peers, options.limit):
            print(_line(record), flush=True)
            records.append(record)
            write(records, options.output / RECORDS)  # a run that is interrupted leaves what it has
    # As they are kept, so that tables and pictures can be made again of the file.
    records = read(options.output / RECORDS)
    write_tables(records, options.output)
    draw(records, options.output)
    bad = [record for record in records if record.status.startswith("failed")]
    if options.strict:
        bad += [record for record in records if record.status.startswith("not installed")]
    for record in bad:
        print(f"{record.task}, {record.peer}: {record.status}", file=sys.stderr)
    return 1 if bad else 0


def _asked_for(name: str, parts: Sequence[str]) -> bool:
    """Return whether a name is, or has in it, what was asked for."""
    return not parts or any(part == name if part in (*TASKS, *PEERS) else part in name for part in parts)


def _line(record: Record) -> str:
    figures = (record.cold, record.warm, record.rmse, record.crps, record.coverage)
    cells = ["-" if value is None else f"{value:.3g}" for value in figures]
    return _LINE.format(record.task, record.peer, *cells, "" if record.status == "ok" else record.status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--task", action="append", default=[], help="name, or part of names (repeatable)")
    parser.add_argument("--peer", action="append", default=[], help="name, or part of names (repeatable)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for a peer and task (%(default)s)")
    parser.add_argument("--strict", action="store_true", help="a peer that is not installed is an error")
    parser.add_argument("--redraw", action="store_true", help="only make tables and pictures of the last run")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/benchmarks/peers"), help="folder (%(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
