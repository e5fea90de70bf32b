"""The cases of priors with heavy tails under the normal likelihood: nothing is compiled, in a new process."""

from __future__ import annotations

from .fresh import run_probe
from .measure import Result

__all__ = ["first_fit", "first_search"]


def first_fit(rows: int, columns: int, repeats: int) -> Result:
    """Time the first fit of processes, the package imported; the first process is discarded."""
    found = [run_probe("sparse_probe", "fit", rows, columns) for _ in range(repeats + 1)][1:]
    worth = min(one["worth"] for one in found)
    note = f"by {found[0]['engine']}, worth at least {worth:.0f} independent draws"
    return Result(tuple(one["seconds"] for one in found), note=note)


def first_search(rows: int, columns: int, repeats: int) -> Result:
    """Time the first search of processes, likewise; its workers are started, and import the package, in that time."""
    found = [run_probe("sparse_probe", "search", rows, columns) for _ in range(repeats + 1)][1:]
    return Result(tuple(one["seconds"] for one in found), note=f"{found[0]['fits']} fits")
