"""Rows in blocks: of Dask collections, or batches that are gone through one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Protocol, Self, TypeVar

import numpy as np

__all__ = ["BY_ROW", "OF_FEATURES", "Batch", "DaskTable", "InTurn", "Table", "is_dask", "row_chunks"]

OF_FEATURES = ("X_err", "X_cov", "Xy_cov")
"""Arguments of `fit` that are the same for all rows."""
BY_ROW = ("y", "sample_weight", "y_err")
"""Arguments of `fit` that blocks have their own part of; a str names a column of X."""
# Results of so many blocks are added up in one task.
_BRANCHES = 8

Batch = Mapping[str, Any]
"""The arguments of `fit` for a block of rows."""
_Found = TypeVar("_Found")


class _Sum(Protocol):
    """What is found in blocks and adds up."""

    def plus(self, other: Self) -> Self:
        """Return the sum."""


_Part = TypeVar("_Part", bound=_Sum)


class Table(Protocol):
    """Rows in blocks, wherever they lie."""

    may_have_weights: bool

    def total(self, visit: Callable[[Batch], _Part | None]) -> _Part | None:
        """Return the sum of what is found in all blocks that have rows."""

    def first(self, visit: Callable[[Batch], _Found | None]) -> _Found | None:
        """Return what is found in the first block that has rows."""


class InTurn:
    """Batches that are gone through in this process, one after the other."""

    may_have_weights = True

    def __init__(self, given: Mapping[str, Any]):
        X = given["X"]
        whole = hasattr(X, "shape") or hasattr(X, "columns")
        self._source: Any = [X] if whole else X
        if not callable(self._source) and not isinstance(self._source, Iterable):
            raise TypeError(
                "X must be a Dask array or data frame, batches, or a function that returns them, got"
                f" {type(X).__name__}."
            )
        self._others = {name: value for name, value in given.items() if name != "X" and value is not None}
        for name in BY_ROW:
            value = self._others.get(name)
            if not whole and value is not None and not isinstance(value, str) and np.ndim(value):
                raise TypeError(
                    f"{name} goes into the batches: X yields them one by one. Give tuples or dicts."
                )
        self._once = not callable(self._source) and iter(self._source) is self._source
        self._spent = False

    def total(self, visit: Callable[[Batch], _Part | None]) -> _Part | None:
        return _sum(_noted(visit, batch, position) for position, batch in enumerate(self._batches()))

    def first(self, visit: Callable[[Batch], _Found | None]) -> _Found | None:
        skipped: list[Any] = []
        batches = self._items()
        for item in batches:
            skipped.append(item)
            found = visit(self._batch(item))
            if found is not None:
                break
        else:
            return None
        if self._once:  # what was taken goes back
            self._source, self._spent = chain(skipped, batches), False
        return found

    def _items(self) -> Iterator[Any]:
        if self._once and self._spent:
            raise ValueError(
                "Errors at fitted shares take several passes over the batches, and X can be gone through but once:"
                " give a list, or a function that returns an iterator; or use count_error='observed'."
            )
        self._spent = True
        return iter(self._source() if callable(self._source) else self._source)

    def _batches(self) -> Iterator[Batch]:
        return (self._batch(item) for item in self._items())

    def _batch(self, item: Any) -> Batch:
        if isinstance(item, Mapping):
            return {**self._others, **item}
        if isinstance(item, tuple):
            return {**self._others, **dict(zip(("X", *BY_ROW), item, strict=False))}
        return {**self._others, "X": item}


def _noted(visit: Callable[[Batch], _Found], batch: Batch, position: int) -> _Found:
    """Return what is found in a block; errors say which it is."""
    try:
        return visit(batch)
    except (TypeError, ValueError) as error:
        error.add_note(f"In block {position} of X, counted from 0; rows are those of the block.")
        raise


class DaskTable:
    """Blocks of Dask collections, visited where they lie."""

    def __init__(self, given: Mapping[str, Any]):
        X, others = given["X"], {name: value for name, value in given.items() if value is not None}
        for name in OF_FEATURES:
            if is_dask(others.get(name)):
                raise TypeError(
                    f"{name} must be the same for all rows, in memory: rows can't be added block by block where it"
                    " differs from row to row."
                )
        self.may_have_weights = "sample_weight" in others
        split: dict[str, list[Any]] = {"X": _blocks(X, X, "X")}
        n_blocks = len(split["X"])
        for name in BY_ROW:
            value = others.get(name)
            if value is None or isinstance(value, str) or (not is_dask(value) and np.ndim(value) == 0):
                continue
            split[name] = _blocks(value, X, name)
            if len(split[name]) != n_blocks:
                raise ValueError(
                    f"{name} has {len(split[name])} blocks and X {n_blocks}: they have to lie alike. Repartition or"
                    " rechunk one like the other."
                )
        constant = {name: value for name, value in others.items() if name not in split}
        self._batches = [
            {**constant, **{name: parts[i] for name, parts in split.items()}} for i in range(n_blocks)
        ]

    def total(self, visit: Callable[[Batch], _Part | None]) -> _Part | None:
        from dask.base import compute
        from dask.delayed import delayed

        task, add, shared = delayed(_noted), delayed(_sum), delayed(visit)
        parts = [task(shared, batch, i) for i, batch in enumerate(self._batches)]
        while len(parts) > 1:
            parts = [add(parts[i : i + _BRANCHES]) for i in range(0, len(parts), _BRANCHES)]
        return compute(parts[0])[0] if parts else None

    def first(self, visit: Callable[[Batch], _Found | None]) -> _Found | None:
        from dask.base import compute

        for position, batch in enumerate(self._batches):
            found = _noted(visit, compute(batch)[0], position)
            if found is not None:
                return found
        return None


def is_dask(value: Any) -> bool:
    """Return whether a value is a Dask collection in blocks."""
    return hasattr(value, "__dask_graph__") and hasattr(value, "to_delayed")


def _blocks(value: Any, X: Any, name: str) -> list[Any]:
    """Return the blocks of an argument, those of X's rows."""
    known = row_chunks(X)
    if not is_dask(value):
        if known is None:
            raise TypeError(
                f"{name} must be a Dask array or Series with the blocks of X, or the name of a column of X, where X"
                f" is in blocks of sizes not known; got {type(value).__name__}."
            )
        array = np.asarray(value)
        if len(array) != sum(known):
            raise ValueError(f"{name} has {len(array)} rows and X {sum(known)}.")
        return list(np.split(array, np.cumsum(known)[:-1]))
    if hasattr(value, "chunks"):
        own = row_chunks(value)
        if value.ndim == 2:
            value = value.rechunk({1: -1})
        if known is not None and own is not None and own != known:
            if sum(own) != sum(known):
                raise ValueError(f"{name} has {sum(own)} rows and X {sum(known)}.")
            value = value.rechunk({0: known})
    return list(np.ravel(value.to_delayed()))


def row_chunks(value: Any) -> tuple[int, ...] | None:
    """Return the sizes of a Dask array's blocks of rows, or None where they are not known."""
    chunks = getattr(value, "chunks", None)
    if chunks is None or np.isnan(chunks[0]).any():
        return None
    return tuple(chunks[0])


def _sum(parts: Iterable[_Part | None]) -> _Part | None:
    """Return the parts' sum, None of nothing."""
    total: _Part | None = None
    for part in parts:
        total = part if total is None else total if part is None else total.plus(part)
    return total
