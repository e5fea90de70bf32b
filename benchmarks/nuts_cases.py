"""The cases of the NUTS engine: its first fit, a refit, and a search."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from .data import Table
from .fresh import run_probe
from .measure import Result, as_time, seconds
from .sampling import CHAINS, FOLDS, Sampling

__all__ = ["first_fit", "refit", "search"]

# Compiling and plain sampling take long, and vary little beside what is promised: so many pairs are enough.
_PAIRS = 3
# One plain fit stands for all of a search: the median of so many, after one that is discarded.
_PLAIN_FITS = 3


def refit(make: Callable[[int, int], Table], adapter: Sampling) -> Callable[..., Result]:
    """Return a case that takes the seconds of a fit to other rows, under another prior scale, in one process."""

    def run(rows: int, columns: int, repeats: int) -> Result:
        work = adapter(make(2 * rows, columns))
        warned: list[bool] = []
        # The first call, which compiles, is discarded.
        result = seconds(lambda: warned.append(work()["warned"]), repeats)
        note = f"{sum(warned)} of {len(warned)} fits warned of their draws" if any(warned) else ""
        return Result(result.values, note=note)

    return run


def first_fit(rows: int, columns: int, draws: int, tune: int, repeats: int) -> Result:
    """Time the first fit of a process beside the same model in plain PyMC, in turns.

    The first pair, which leaves compiled code in the caches on disk, is discarded.
    """
    names = ("nuts_fit", "plain_fit")
    pairs: list[tuple[Any, Any]] = []
    for _ in range(min(repeats, _PAIRS) + 1):
        # Of two halves, one is fitted.
        ours, plain = (run_probe("sampling_probe", name, 1, 2 * rows, columns, draws, tune) for name in names)
        pairs.append((ours, plain))
    kept = [(ours["seconds"][0], plain["seconds"][0]) for ours, plain in pairs[1:]]
    own, other = (statistics.median(times) for times in zip(*kept, strict=True))
    ours, plain = pairs[-1]
    apart = np.max(np.abs(np.subtract(ours["coef"], plain["coef"])) / ours["coef_std"])
    return Result(
        tuple(a / b for a, b in kept),
        f"{as_time(own)} / {as_time(other)}",
        f"{CHAINS} chains, {tune} + {draws} draws; plain by {plain['sampler']}; posterior means agree to"
        f" {apart:.2f} standard deviations",
    )


def search(rows: int, columns: int, draws: int, tune: int, candidates: int, repeats: int) -> Result:
    """Time a search by NUTS, its one compilation included, and a few plain fits of as many rows as a fold's.

    A first, short run of both, which leaves compiled code in the caches on disk, is discarded.
    """
    ours = ("sampling_probe", "nuts_search", 1, rows, columns)
    plain = ("sampling_probe", "plain_fit", 1 + _PLAIN_FITS, 2 * (rows - rows // FOLDS), columns)
    run_probe(*ours, 2, 2, 1)
    run_probe(*plain, 2, 2)
    pairs = [
        (run_probe(*ours, draws, tune, candidates), run_probe(*plain, draws, tune))
        for _ in range(min(repeats, _PAIRS))
    ]
    fits = pairs[0][0]["fits"]
    taken = [(one["seconds"][0], fits * statistics.median(other["seconds"][1:])) for one, other in pairs]
    own, other = (statistics.median(times) for times in zip(*taken, strict=True))
    return Result(
        tuple(b / a for a, b in taken),
        f"{as_time(own)} / {as_time(other)}",
        f"{fits} fits; plain by {pairs[0][1]['sampler']}, the time of one (median of {_PLAIN_FITS}) multiplied",
    )
