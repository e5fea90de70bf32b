"""The cases of rows that come in batches: beside a fit of every batch, beside stochastic gradients; their memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

from sklearn.linear_model import SGDRegressor

from bayes_sklearn import BayesianErrorsInVariablesRegressor, distributed

from .data import Table, measured
from .fresh import run_probe
from .measure import Result, of_pairs, ratios, timed

__all__ = ["against_fits", "against_gradients", "distributed_against_fits", "memory", "tables"]

# A pass is a sum over many batches, and varies little: so many are enough.
_PASSES = 3
# Rows that are seen before batches of one row are: a fit takes two.
_START = 100
# Memory is flat if it is no more than that of so many batches.
_FEW = 10

_Pass = Callable[[Iterator[Table], bool], tuple[float, float]]


def tables(batches: int, rows: int, columns: int) -> Iterator[Table]:
    """Yield batches, made when they are asked for."""
    return (measured(rows, columns, seed) for seed in range(batches))


def against_fits(*, with_errors: bool) -> Callable[..., Result]:
    """Return a case that times `partial_fit` over batches beside a fit of each, all summed."""
    return _passes(_partial_fits, with_errors)


def distributed_against_fits(*, with_errors: bool) -> Callable[..., Result]:
    """Return a case that times `distributed.fit` over a generator of batches beside a fit of each, all summed."""
    return _passes(_distributed, with_errors)


def against_gradients(batches: int, rows: int, columns: int, repeats: int) -> Result:
    """Time `partial_fit` beside stochastic gradients', batches in memory; the times are those of one batch."""
    start, every = measured(_START, columns, batches), list(tables(batches, rows, columns))
    ours = BayesianErrorsInVariablesRegressor(noise="scaled").fit(start.X, start.y, y_err=start.y_err)
    peer = SGDRegressor(random_state=0).partial_fit(start.X, start.y, sample_weight=start.y_err**-2)
    weights = [table.y_err**-2 for table in every]

    def go_on() -> None:
        for table in every:
            ours.partial_fit(table.X, table.y, y_err=table.y_err)

    def descend() -> None:
        for table, weight in zip(every, weights, strict=True):
            peer.partial_fit(table.X, table.y, sample_weight=weight)

    return ratios(go_on, descend, repeats, pieces=batches)


def memory(batches: int, rows: int, columns: int, repeats: int) -> Result:
    """Take how far the peak of a new process's memory rises, in MB, the batch itself included."""

    # What is allocated never varies: once is enough, whatever `repeats`.
    def peak(batches: int) -> tuple[float, str]:
        found = run_probe("streaming_probe", batches, rows, columns)
        kind = "allocated" if found["resident"] is None else "resident"
        return found[kind] / 1e6, kind

    (few, _), (every, kind) = peak(min(batches, _FEW)), peak(batches)
    return Result((every,), note=f"{kind}; after {min(batches, _FEW)} of {batches} batches {few:.0f} MB")


def _passes(one: _Pass, with_errors: bool) -> Callable[..., Result]:
    """Return a case that goes through all batches a few times; its first batches, gone through once, don't count."""

    def run(batches: int, rows: int, columns: int, repeats: int) -> Result:
        one(tables(2, rows, columns), with_errors)
        sums = [one(tables(batches, rows, columns), with_errors) for _ in range(min(repeats, _PASSES))]
        return of_pairs(sums)

    return run


def _partial_fits(batches: Iterator[Table], with_errors: bool) -> tuple[float, float]:
    """Return the seconds of `partial_fit` over batches, and of a new fit of each."""
    model = BayesianErrorsInVariablesRegressor()
    ours = peer = 0.0
    for position, table in enumerate(batches):
        given = _given(table, with_errors)
        # In turns who comes first: the other finds the batch in the processor's cache.
        if position % 2:
            ours += timed(partial(model.partial_fit, **given))
        peer += timed(partial(BayesianErrorsInVariablesRegressor(noise="scaled").fit, **given))
        if not position % 2:
            ours += timed(partial(model.partial_fit, **given))
    return ours, peer


def _distributed(batches: Iterator[Table], with_errors: bool) -> tuple[float, float]:
    """Return the seconds of `distributed.fit` over batches, and of a new fit of each."""
    peer = elsewhere = 0.0

    def feed() -> Iterator[dict[str, Any]]:
        """Yield batches; fit each of them along the way, before or after it is used, and don't count that."""
        nonlocal peer, elsewhere
        left = perf_counter()
        for position, table in enumerate(batches):
            given = _given(table, with_errors)
            fresh = partial(BayesianErrorsInVariablesRegressor(noise="scaled").fit, **given)
            if position % 2:
                peer += timed(fresh)
            elsewhere += perf_counter() - left
            yield given
            left = perf_counter()
            if not position % 2:
                peer += timed(fresh)
        elsewhere += perf_counter() - left

    total = timed(lambda: distributed.fit(BayesianErrorsInVariablesRegressor(), feed()))
    return total - elsewhere, peer


def _given(table: Table, with_errors: bool) -> dict[str, Any]:
    """Return the arguments of a fit."""
    given = {"X": table.X, "y": table.y}
    return {**given, "y_err": table.y_err} if with_errors else given
