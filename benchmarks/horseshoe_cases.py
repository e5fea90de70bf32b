"""The cases of the horseshoe: a first fit, and a search over kinds of priors, in processes of their own."""

from __future__ import annotations

from typing import Any

from .fresh import run_probe
from .measure import Result

__all__ = ["first_fit", "search"]

# A process takes seconds to begin.
_PROCESSES = 3


def first_fit(rows: int, columns: int, repeats: int) -> Result:
    """Return the seconds of the first fit of a process, after one that is discarded."""
    found = _found("fit", rows, columns, repeats)
    last = found[-1]
    note = f"by {last['engine']}, worth {last['effective']:,.0f} draws"
    return Result(tuple(one["seconds"] for one in found), note=note)


def search(rows: int, columns: int, repeats: int) -> Result:
    """Return the seconds of a process' search, with its workers' beginnings."""
    found = _found("search", rows, columns, repeats)
    return Result(tuple(one["seconds"] for one in found), note=f"the best is {found[-1]['best']}")


def _found(task: str, rows: int, columns: int, repeats: int) -> list[dict[str, Any]]:
    return [run_probe("horseshoe_probe", task, rows, columns) for _ in range(min(repeats, _PROCESSES) + 1)][
        1:
    ]
