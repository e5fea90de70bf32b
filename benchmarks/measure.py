"""How time is taken: pairs A B A B ..., the first of each discarded, medians of the pairs' ratios."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

__all__ = ["Result", "Work", "as_number", "as_time", "of_pairs", "pairs", "ratios", "seconds", "timed"]

Work = Callable[[], object]

# A call shorter than this is timed as a loop of so many calls that the clock and the system's interruptions,
# which last about as long as the call itself, even out; of no more, where the clock is too coarse to see one.
_SHORTEST = 0.05
_MOST = 10_000


@dataclass(frozen=True)
class Result:
    """What a case measured."""

    values: tuple[float, ...]
    """A value for every repeat."""
    times: str = ""
    """The two medians that make the ratio."""
    note: str = ""
    """What else there is to say."""
    is_lower_bound: bool = False
    """Whether the true value is larger, since the peer was stopped."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def ratios(ours: Work, peer: Work, repeats: int, *, pieces: int = 1) -> Result:
    """Time two pieces of work in turns; return the ratios ours / peer of the pairs.

    Parameters
    ----------
    ours, peer : callable
        The work; what it returns is thrown away.
    repeats : int
        Pairs that count, after one that does not.
    pieces : int
        How many pieces a call's work is made of: the times that are told are those of one.

    Returns
    -------
    Result
    """
    return of_pairs(pairs(ours, peer, repeats), pieces=pieces)


def pairs(
    ours: Work, peer: Work, repeats: int, clock: Callable[[], float] = perf_counter
) -> list[tuple[float, float]]:
    """Time two pieces of work in turns; return the seconds of both, pair by pair."""
    our_loops, peer_loops = _loops(ours, clock), _loops(peer, clock)
    return [
        (_mean_seconds(ours, our_loops, clock), _mean_seconds(peer, peer_loops, clock))
        for _ in range(repeats)
    ]


def of_pairs(taken: Sequence[tuple[float, float]], *, pieces: int = 1) -> Result:
    """Return the ratios ours / peer of pairs of seconds."""
    ours, peer = (statistics.median(times) / pieces for times in zip(*taken, strict=True))
    return Result(tuple(own / other for own, other in taken), f"{as_time(ours)} / {as_time(peer)}")


def seconds(work: Work, repeats: int) -> Result:
    """Time one piece of work; return the seconds of every call but the first."""
    timed(work)
    return Result(tuple(timed(work) for _ in range(repeats)))


def timed(work: Work) -> float:
    """Return the seconds that one call takes, without garbage collection."""
    return _mean_seconds(work, 1)


def as_time(time: float) -> str:
    """Return seconds in words: ``1.23 ms``, ``4.56 s``, ``1,234 s``."""
    if time < 1.0:
        return f"{1000.0 * time:.3g} ms"
    return f"{time:.3g} s" if time < 100.0 else f"{time:,.0f} s"


def as_number(value: float) -> str:
    """Return a figure to three digits, at least to the unit: ``0.123``, ``1,234``."""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def _loops(work: Work, clock: Callable[[], float]) -> int:
    """Return how many calls make a timing, after a first call that doesn't count."""
    timed(work)
    return max(1, math.ceil(_SHORTEST / max(_mean_seconds(work, 1, clock), _SHORTEST / _MOST)))


def _mean_seconds(work: Work, loops: int, clock: Callable[[], float] = perf_counter) -> float:
    with _without_garbage_collection():
        start = clock()
        for _ in range(loops):
            work()
        return (clock() - start) / loops


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
