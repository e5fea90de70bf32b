"""Are the defaults calibrated? Coverage, errors and bias over many designs: ``python -m benchmarks.calibration``."""

from __future__ import annotations

import argparse
import csv
import os
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from joblib import Parallel, delayed, parallel_config

from .calibration_data import Data, Design
from .calibration_designs import DESIGNS, GROUPS
from .calibration_methods import METHODS, OURS
from .calibration_scores import ALARM, Figures, Score, best, figures, missed, score, stack

__all__ = ["Result", "main", "measure", "write"]

HEADER = (
    "design",
    "slopes",
    "worst slope",
    "line",
    "new",
    "worst fifth",
    "slopes' width / LS",
    "/ flat",
    "RMSE / best",
    "best",
    "mean slope / true",
    "warned",
    "ms",
    "verdict",
)
_WARNS = 0.9  # how many fits of a design beyond any method have to
_BATCH = 10


@dataclass(frozen=True)
class Result:
    """What all methods came to in one design."""

    design: Design
    figures: Mapping[str, Figures]
    best: str
    missed: Sequence[str]

    @property
    def verdict(self) -> str:
        """Whether the defaults do what is wanted, and else what not."""
        if not self.missed:
            return "ok"
        if not self.design.beyond:
            return "; ".join(self.missed)
        silent = "default" in self.figures and self.figures["default"].warned < _WARNS
        return f"beyond any method ({self.design.beyond})" + (", and SILENT" if silent else ", warns")


def measure(
    design: Design,
    data_sets: int,
    *,
    seed: int = 0,
    methods: Sequence[str] = tuple(METHODS),
    jobs: int = 1,
    limit: float = np.inf,
    alarm: float = ALARM,
) -> Result:
    """Fit every method to data sets of a design.

    Parameters
    ----------
    design : Design
    data_sets : int
        How many.
    seed : int
        Settles all of them: data set i is the same however many there are.
    methods : sequence of str
        Names in `METHODS`, "default" and "least squares" among them.
    jobs : int
        Processes.
    limit : float
        Seconds after which no more data sets are begun.
    alarm : float
        How probable a false alarm may be, for each figure.

    Returns
    -------
    Result
    """
    start, drawn = perf_counter(), list[tuple[Data, dict[str, Score], str]]()
    with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1 if jobs > 1 else None):
        while len(drawn) < data_sets and (not drawn or perf_counter() - start < limit):
            batch = range(len(drawn), min(len(drawn) + _BATCH * jobs, data_sets))
            drawn += Parallel()(delayed(_one)(design.name, seed, index, methods) for index in batch)
    failures = [failure for _, _, failure in drawn if failure]
    said = [f"{len(failures)} of {len(drawn)} fits failed: {failures[0]}"] if failures else []
    found = [(data, scores) for data, scores, _ in drawn if "default" in scores]
    if len(found) < 2:
        return Result(design, {}, "", said)
    truth = [data for data, _ in found]
    scores = {
        name: stack(scored)
        for name in methods
        if (scored := [by_name[name] for _, by_name in found if name in by_name])
    }
    standard = scores["least squares"]
    complete = {name: one for name, one in scores.items() if len(one.seconds) == len(truth)}
    return Result(
        design,
        {name: figures(one, truth, standard) for name, one in complete.items()},
        best(complete, len(truth)),
        said + missed(complete, truth, alarm),
    )


def _one(name: str, seed: int, index: int, methods: Sequence[str]) -> tuple[Data, dict[str, Score], str]:
    """Return a data set, the scores of the methods that have an answer, and why the default has none.

    A design goes by its name to a worker.
    """
    design = DESIGNS[name]
    data = design.draw(np.random.default_rng([seed, zlib.crc32(name.encode()), index]))
    scores, failure = dict[str, Score](), ""
    # Slopes of shares are no slopes of log odds.
    log_odds = "binomial" in design.estimator.get("likelihood", "")
    no_slopes = replace(data, coef=None)
    for method in methods:
        try:
            answer = METHODS[method](design, data)
        except (ValueError, ArithmeticError) as error:  # LinAlgError is a ValueError
            failure = str(error) if method == "default" else failure
        else:
            if answer is not None:
                scores[method] = score(answer, data if method in OURS or not log_odds else no_slopes)
    return data, scores, failure


def line(result: Result) -> list[str]:
    """Return a line of a group's table: the defaults, beside what the other methods came to."""
    own = result.figures.get("default")
    if own is None:
        return [result.design.name, *[""] * (len(HEADER) - 2), result.verdict]
    peers = [result.figures.get(name) for name in ("least squares", "flat priors")]
    ratio = own.rmse / result.figures[result.best].rmse
    mean = "" if np.isnan(own.slope_ratio) else f"{own.slope_ratio:.2f} ± {own.slope_ratio_error:.2f}"
    return [
        result.design.name,
        _both(own.slopes),
        _percent(own.worst_slope),
        _both(own.line),
        _both(own.new),
        _percent(own.worst_fifth),
        *("" if peer is None else _number(own.slope_width / peer.slope_width) for peer in peers),
        _number(ratio),
        result.best,
        mean if own.slope_is_known or not mean else f"({mean})",
        _percent(own.warned),
        f"{1000.0 * own.seconds:.2g}" if own.seconds < 0.1 else f"{1000.0 * own.seconds:.0f}",
        result.verdict,
    ]


def _both(rates: Sequence[float]) -> str:
    return "" if np.isnan(rates[0]) else " / ".join(map(_percent, rates))


def _percent(rate: float) -> str:
    return "" if np.isnan(rate) else f"{100.0 * rate:.0f}"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}" if value < 10.0 else f"{value:.3g}"


_METHODS_HEADER = (
    "group", "design", "method", "data sets", "slopes 90%", "slopes 99%", "worst slope", "line 90%", "line 99%",
    "new 90%", "new 99%", "worst fifth", "slopes' width", "line's width", "RMSE", "mean slope / true", "its error",
    "warned", "seconds",
)  # fmt: skip


def _records(result: Result) -> Iterable[list[str]]:
    """Return the lines of the table of all methods."""
    for name, one in result.figures.items():
        values = (
            *one.slopes, one.worst_slope, *one.line, *one.new, one.worst_fifth, one.slope_width, one.line_width,
            one.rmse, one.slope_ratio, one.slope_ratio_error, one.warned, one.seconds,
        )  # fmt: skip
        cells = ["" if np.isnan(value) else f"{value:.3g}" for value in values]
        yield [result.design.group, result.design.name, name, str(one.data_sets), *cells]


def write(results: Sequence[Result], folder: Path) -> None:
    """Write a table for every group that has results, and one of all methods."""
    folder.mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        if rows := [line(result) for result in results if result.design.group == group]:
            _write(folder / f"{group}.csv", HEADER, rows)
    _write(folder / "methods.csv", _METHODS_HEADER, [row for result in results for row in _records(result)])


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; return 1 where something wanted is missed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.data_sets < 4:
        parser.error("--data-sets must be 4 or more, for a Monte Carlo error.")
    chosen = [design for design in DESIGNS.values() if _asked_for(design, options.designs)]
    if not chosen:
        parser.error(f"no design is called {', '.join(options.designs)}: choose from {', '.join(DESIGNS)}")
    results = []
    for design in chosen:
        result = measure(design, options.data_sets, seed=options.seed, jobs=options.jobs, limit=options.limit)
        results.append(result)
        cells = line(result)
        print(*cells, sep=" | ", flush=True)
        if options.output is not None:  # a run that is interrupted leaves what it has
            write(results, options.output)
    wrong = [result for result in results if result.verdict != "ok" and not result.verdict.endswith("warns")]
    print(f"{len(results) - len(wrong)} of {len(results)} designs as wanted")
    return 1 if wrong else 0


def _asked_for(design: Design, parts: Sequence[str]) -> bool:
    """Return whether a design, its group or a part of its name was asked for."""
    return not parts or any(
        part == design.name if part in DESIGNS else part == design.group or part in design.name
        for part in parts
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--data-sets", type=int, default=200, help="of each design (%(default)s)")
    parser.add_argument(
        "--designs", nargs="+", default=[], metavar="NAME", help="names, parts of names, or groups"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all data sets (%(default)s)")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (%(default)s)"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=np.inf,
        help="seconds a design, after which no more data sets are begun",
    )
    parser.add_argument("--output", type=Path, help="folder for the tables: docs/benchmarks/calibration")
    return parser


if __name__ == "__main__":
    sys.exit(main())
