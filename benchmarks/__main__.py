"""Measure, and print every figure beside its target: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import csv
import os
import platform
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from .cases import CASES, Case
from .measure import Result, as_number
from .targets import TARGETS, Target

_LINE = "{:<26} {:>9} {:>9} {:>9} {:>10}  {:<9} {}"
_REPEATS = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases asked for; return 1 where one crashed or has vanished, else 0 (a missed target is no error)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for part in options.only:
        if not any(part in name for name in TARGETS):
            parser.error(f"no case is called {part}: choose from {', '.join(TARGETS)}")
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    print(_machine())
    print("Medians of the ratios of pairs; the first pair is discarded.\n")
    print(_LINE.format("case", "median", "min", "max", "target", "", "what: ours / peer"))
    kept = [["case", "what", "target", "measured", "from", "to", "verdict"]]

    def keep(name: str, target: Target, result: Result) -> None:
        if target.unit != "s":  # seconds say nothing of another machine
            kept.append(_cells(name, target, result))

    failures = run(
        CASES,
        TARGETS,
        options.only,
        skip_pymc=options.skip_pymc,
        repeats=options.repeats,
        record=keep,
    )
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(kept)
    print(f"\n{_load()}")
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    return 1 if failures else 0


def run(
    cases: Mapping[str, Case],
    targets: Mapping[str, Target],
    only: Sequence[str] = (),
    *,
    skip_pymc: bool = False,
    repeats: int = _REPEATS,
    tiny: bool = False,
    record: Callable[[str, Target, Result], None] = lambda *_: None,
) -> list[str]:
    """Run cases and print a line for each; return what crashed or vanished.

    Parameters
    ----------
    cases : dict of str to Case
    targets : dict of str to Target
        A target without a case fails, and so does a case without a target.
    only : sequence of str
        Names of the cases to run, or parts of names; empty: all.
    skip_pymc : bool
        Whether to leave out what samples.
    repeats : int
        Pairs that count.
    tiny : bool
        Whether to run at sizes that say nothing, to see that all runs.
    record : callable
        Told of every result.

    Returns
    -------
    list of str
        A text for each failure.
    """
    failures = []
    for name in [*targets, *(name for name in cases if name not in targets)]:
        if only and not _asked_for(name, only, targets):
            continue
        if name not in cases or name not in targets:
            missing = "case" if name not in cases else "target"
            failures.append(f"{name}: its {missing} has vanished.")
            print(_LINE.format(name, "", "", "", "", "VANISHED", ""), flush=True)
            continue
        case = cases[name]
        if skip_pymc and case.needs_pymc:
            print(_LINE.format(name, "", "", "", _bound(targets[name]), "skipped", ""), flush=True)
            continue
        try:
            result = case.run(**(case.tiny if tiny else case.size), repeats=repeats)
        except Exception:
            failures.append(f"{name} crashed.\n{traceback.format_exc()}")
            print(_LINE.format(name, "", "", "", _bound(targets[name]), "CRASHED", ""), flush=True)
            continue
        print(_line(name, targets[name], result), flush=True)
        record(name, targets[name], result)
    return failures


def _asked_for(name: str, only: Sequence[str], targets: Mapping[str, Target]) -> bool:
    """Return whether a name is among those asked for: a whole name stands for itself alone."""
    return any(part == name if part in targets else part in name for part in only)


def _line(name: str, target: Target, result: Result) -> str:
    _, _, bound, median, low, high, verdict = _cells(name, target, result)
    what = f"{target.measures}: {result.times}" if result.times else target.measures
    line = _LINE.format(name, median, low, high, bound, verdict, what)
    return f"{line}\n{'':>27}{result.note}" if result.note else line


def _cells(name: str, target: Target, result: Result) -> list[str]:
    """Return what is told of a result, but for times that make ratios."""
    sign = "> " if result.is_lower_bound else ""
    median, low, high = (
        as_number(value) for value in (result.median, min(result.values), max(result.values))
    )
    verdict = target.verdict(result.median)
    if result.is_lower_bound and verdict == "MISSED":
        verdict = "unknown"
    return [name, target.measures, _bound(target), sign + median, low, high, verdict]


def _bound(target: Target) -> str:
    if target.bound is None:
        return "none"  # what Markdown makes no list of
    unit = {"columns": " col"}.get(target.unit, f" {target.unit}")
    return f"{'>=' if target.at_least else '<='} {target.bound:,g}{unit}"


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "scikit-learn", "pymc"))
    return f"Python {platform.python_version()}, {packages}; {os.cpu_count()} cores. {_load()}"


def _load() -> str:
    """Return the machine's load, which says what the figures are worth."""
    if not hasattr(os, "getloadavg"):
        return ""
    return f"Load {os.getloadavg()[0]:.2f}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"run the cases of this name, or with this in their names (repeatable): {', '.join(TARGETS)}",
    )
    parser.add_argument("--skip-pymc", action="store_true", help="leave out the cases that sample with PyMC")
    parser.add_argument(
        "--repeats", type=int, default=_REPEATS, help="pairs that count (default: %(default)s)"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write ratios and memory into a file, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
