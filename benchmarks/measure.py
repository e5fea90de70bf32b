"""How time is taken: pairs A B A B ..., the first of each discarded, medians of the pairs' ratios."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

__all__ = ["Result", "Work", "as_time", "ratios", "seconds", "timed"]

Work = Callable[[], object]

# A call shorter than this is timed as a loop of so many calls that the clock and the system's interruptions,
# which last about as long as the call itself, even out.
_SHORTEST = 0.05


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


def ratios(ours: Work, peer: Work, repeats: int) -> Result:
    """Time two pieces of work in turns; return the ratios ours / peer of the pairs.

    Parameters
    ----------
    ours, peer : callable
        The work; what it returns is thrown away.
    repeats : int
        Pairs that count, after one that does not.

    Returns
    -------
    Result
    """
    our_loops, peer_loops = _loops(ours), _loops(peer)
    pairs = [(_mean_seconds(ours, our_loops), _mean_seconds(peer, peer_loops)) for _ in range(repeats)]
    our_time, peer_time = (statistics.median(taken) for taken in zip(*pairs, strict=True))
    times = f"{as_time(our_time)} / {as_time(peer_time)}"
    return Result(tuple(own / other for own, other in pairs), times)


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


def _loops(work: Work) -> int:
    """Return how many calls make a timing, after a first call that doesn't count."""
    timed(work)
    return max(1, math.ceil(_SHORTEST / timed(work)))


def _mean_seconds(work: Work, loops: int) -> float:
    with _without_garbage_collection():
        start = perf_counter()
        for _ in range(loops):
            work()
        return (perf_counter() - start) / loops


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
