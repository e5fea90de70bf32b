"""Rows in blocks: of Dask collections, or batches that are gone through one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from os import PathLike
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from ..measurements.messages import shown

__all__ = ["BY_ROW", "OF_FEATURES", "Batch", "DaskTable", "InTurn", "Table", "is_dask", "is_frame"]

BY_ROW = ("y", "sample_weight", "y_err")
"""Arguments of `fit` that blocks have their own part of; a str names a column of X."""

OF_FEATURES = ("X_err", "X_cov", "Xy_cov")
"""Arguments of `fit` that are the same for all rows."""

_NOT_ALIKE = "{} has {} blocks and X {}: they have to lie alike. Repartition or rechunk one like the other."

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
    once: bool
    """Whether it can be gone through but once."""

    def total(self, visit: Callable[[Batch], _Part | None]) -> _Part | None:
        """Return the sum of what is found in all blocks, None of those without rows."""

    def first(self, visit: Callable[[Batch], _Found | None]) -> _Found | None:
        """Return what is found in the first block that has rows."""


class InTurn:
    """Batches that are gone through in this process, one after the other: at most two are in memory."""

    may_have_weights = True

    def __init__(self, given: Mapping[str, Any]):
        X = given["X"]
        _check_holds_rows(X)
        whole = hasattr(X, "shape") or hasattr(X, "columns")
        batches = callable(X) or (isinstance(X, Iterable) and not isinstance(X, bytes | Mapping))
        if hasattr(X, "__dask_graph__") or not (whole or batches):
            raise TypeError(
                "X must be a Dask array or data frame (dask.dataframe.from_delayed makes one of Delayed parts),"
                f" batches, or a function that returns them, got {type(X).__name__}."
            )
        self._source: Any = [X] if whole else X
        self._others = {name: value for name, value in given.items() if name != "X" and value is not None}
        for name in set(BY_ROW) & self._others.keys():
            value = self._others[name]
            if not isinstance(value, str) and np.ndim(value) and (is_dask(value) or not whole):
                raise TypeError(
                    f"{name} goes with X: into its batches, if it comes in batches (give tuples or dicts), into"
                    " memory, if X is there."
                )
        self.once = not callable(self._source) and iter(self._source) is self._source
        self._begun: Iterator[Any] | None = None

    def total(self, visit: Callable[[Batch], _Part | None]) -> _Part | None:
        def of(item: Any) -> _Part | None:
            return visit(self._batch(item))

        items, self._begun = self._items(), None
        return _sum(_noted(of, item, position) for position, item in enumerate(items))

    def first(self, visit: Callable[[Batch], _Found | None]) -> _Found | None:
        items, seen = self._items(), []
        found = None
        for position, item in enumerate(items):
            seen.append(item)
            found = _noted(lambda item: visit(self._batch(item)), item, position)
            if found is not None:
                break
        # The pass over all batches goes on with what was taken: none is loaded twice.
        self._begun = chain(seen, items)
        return found

    def _items(self) -> Iterator[Any]:
        return self._begun or iter(self._source() if callable(self._source) else self._source)

    def _batch(self, item: Any) -> Batch:
        """Return the arguments of a batch.

        Raises
        ------
        TypeError
        """
        _check_holds_rows(item)
        # A batch that is a tuple has these.
        in_tuples = ("X", "y", "sample_weight")
        if isinstance(item, tuple):
            own = dict(zip(in_tuples, item, strict=False)) if len(item) <= len(in_tuples) else {}
            kind = f"a tuple of {len(item)}"
        else:
            own = dict(item) if isinstance(item, Mapping) else {"X": item}
            kind = f"a dict with {list(own)}"
        others = (*BY_ROW, *OF_FEATURES)
        if "X" not in own or not own.keys() <= {"X", *others}:
            raise TypeError(
                "A batch of X must be a table, a tuple (X, y) or (X, y, sample_weight), or a dict with 'X' and any of"
                f" {list(others)}; got {kind}."
            )
        for name, value in own.items():
            if hasattr(value, "__dask_graph__"):
                raise TypeError(f"{name} of a batch is Dask's: give Dask arrays and data frames as X, y, ...")
        if hasattr(own["X"], "column_names"):  # Arrow's, whose `columns` are the values
            own["X"] = own["X"].to_pandas()
        return {**self._others, **own}


class DaskTable:
    """Blocks of Dask collections, visited where they lie."""

    once = False

    def __init__(self, given: Mapping[str, Any]):
        X, others = given["X"], {name: value for name, value in given.items() if value is not None}
        for name in OF_FEATURES:
            if is_dask(others.get(name)):
                raise TypeError(
                    f"{name} must be the same for all rows, in memory: rows can't be added block by block where it"
                    " differs from row to row."
                )
        self.may_have_weights = "sample_weight" in others
        split = {
            name: value
            for name, value in others.items()
            if name == "X" or (name in BY_ROW and not isinstance(value, str) and np.ndim(value))
        }
        blocks = _blocks_of_frames({name: value for name, value in split.items() if is_frame(value)})
        blocks |= {name: _blocks(value, X, name) for name, value in split.items() if name not in blocks}
        n_blocks = len(blocks["X"])
        for name, found in blocks.items():
            if len(found) != n_blocks:
                raise ValueError(_NOT_ALIKE.format(name, len(found), n_blocks))
        same = {name: value for name, value in others.items() if name not in split}
        self._batches = [
            {**same, **{name: found[i] for name, found in blocks.items()}} for i in range(n_blocks)
        ]

    def total(self, visit: Callable[[Batch], _Part | None]) -> _Part | None:
        # Results of so many blocks are added up in one task.
        branches = 8
        from dask.base import compute
        from dask.delayed import delayed

        task, add, shared = delayed(_noted), delayed(_sum), delayed(visit)
        parts = [task(shared, batch, position) for position, batch in enumerate(self._batches)]
        while len(parts) > 1:
            parts = [add(parts[i : i + branches]) for i in range(0, len(parts), branches)]
        return compute(parts[0])[0]

    def first(self, visit: Callable[[Batch], _Found | None]) -> _Found | None:
        from dask.base import compute
        from dask.delayed import delayed

        task = delayed(_noted)
        found = (compute(task(visit, batch, i))[0] for i, batch in enumerate(self._batches))
        return next((one for one in found if one is not None), None)


def _check_holds_rows(value: Any) -> None:
    """Refuse what only says where rows are: the name of a file, a lazy frame or a dataset."""
    if isinstance(value, str | PathLike):
        raise TypeError(
            f"{shown(value)} names a file: let X be dask.dataframe.read_parquet(...) or read_csv(...), or a function"
            " that returns batches, such as pyarrow.dataset.dataset(...).to_batches."
        )
    readers = {
        "to_batches": "to_batches, a function",
        "collect_batches": "collect_batches, a function",
        "collect": "collect()",
    }
    for reader, call in readers.items():
        if hasattr(value, reader) and not hasattr(value, "shape"):
            raise TypeError(f"X of the type {type(value).__name__} has no rows yet: give X.{call}.")


def is_dask(value: Any) -> bool:
    """Return whether a value is a Dask array, data frame or series."""
    # Of instances Delayed has any attribute, and a data frame those that its columns are called.
    kind = type(value)
    return hasattr(kind, "__dask_graph__") and hasattr(kind, "to_delayed") and hasattr(kind, "ndim")


def is_frame(value: Any) -> bool:
    """Return whether a value is a Dask data frame or series."""
    return is_dask(value) and hasattr(type(value), "divisions")


def _row_chunks(value: Any) -> tuple[int, ...] | None:
    """Return the sizes of a Dask collection's blocks of rows, or None where they are not known."""
    if is_frame(value) or np.isnan(value.chunks[0]).any():
        return None
    return tuple(value.chunks[0])


def _blocks_of_frames(frames: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the partitions of data frames and series: as one, which reads a file once for all of them."""
    if not frames:
        return {}
    first, *others = frames.values()
    for name, value in frames.items():
        if value.npartitions != first.npartitions:
            raise ValueError(_NOT_ALIKE.format(name, value.npartitions, first.npartitions))
        if value.known_divisions and first.known_divisions and value.divisions != first.divisions:
            raise ValueError(
                f"{name} has its index divided in another way than X: they have to lie alike. Repartition one with"
                " the divisions of the other."
            )
    together = first.map_partitions(
        _named, *others, names=list(frames), meta=first._meta, enforce_metadata=False, align_dataframes=False
    )
    parts = together.to_delayed()
    return {name: [part[name] for part in parts] for name in frames}


def _named(*values: Any, names: list[str]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _blocks(value: Any, X: Any, name: str) -> list[Any]:
    """Return the blocks of an array, those of X's rows."""
    known = _row_chunks(X)
    if not is_dask(value):
        if known is None:
            raise TypeError(
                f"{name} must be a Dask array or Series with the blocks of X, or the name of a column of X, where X"
                f" is in blocks of sizes not known; got {type(value).__name__}."
            )
        _check_length(len(value), known, name)
        return list(np.split(np.asarray(value), np.cumsum(known)[:-1]))
    if value.ndim > 1:
        value = value.rechunk(dict.fromkeys(range(1, value.ndim), -1))
    own = _row_chunks(value)
    if known is not None and own is not None and own != known:
        _check_length(sum(own), known, name)
        value = value.rechunk({0: known})
    # Optimised on their own, X and y would each load anew what both are taken from.
    return list(np.ravel(value.to_delayed(optimize_graph=False)))


def _check_length(n_rows: int, chunks: tuple[int, ...], name: str) -> None:
    if n_rows != sum(chunks):
        raise ValueError(f"{name} has {n_rows} rows and X {sum(chunks)}.")


def _noted(visit: Callable[[Any], _Found], batch: Any, position: int) -> _Found:
    """Return what is found in a block; errors say which it is."""
    try:
        return visit(batch)
    except (TypeError, ValueError) as error:
        error.add_note(f"In block {position} of X, counted from 0; rows are those of the block.")
        raise


def _sum(parts: Iterable[_Part | None]) -> _Part | None:
    """Return the parts' sum, None of nothing."""
    total: _Part | None = None
    for part in parts:
        total = part if total is None else total if part is None else total.plus(part)
    return total
