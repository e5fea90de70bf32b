"""A program: fit a peer to data sets from files, and print, as JSON, what it took and how good it is.

``python -m benchmarks.peers.probe PEER TASK SECONDS FILE FILE ...``: the first file's fit is the cold one, imports
and compilation included; the second's, of the same shape, is the warm one, repeated while that takes little. The
others count for the slopes alone. What the process reaches beside its tables is the memory, libraries included.
After these SECONDS no further fit is begun.
"""

from __future__ import annotations

import gc
import json
import logging
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..process import status
from .fits import Fit
from .registry import PEERS, Peer
from .tasks import TASKS, DataSet, Rows, Task, load

__all__ = ["measure", "scores"]

Array = NDArray[np.float64]

# Warm fits are repeated so often, or for so many seconds.
_WARM_FITS, _WARM_SECONDS = 7, 2.0


def main(peer: str, task: str, seconds: float, paths: Sequence[Path]) -> None:
    logging.getLogger("pymc").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(json.dumps(measure(PEERS[peer], TASKS[task], seconds, [load(path) for path in paths])))


def measure(peer: Peer, task: Task, seconds: float, data: Sequence[DataSet]) -> dict[str, Any]:
    """Return what a peer takes and how good it is.

    Parameters
    ----------
    peer : Peer
    task : Task
    seconds : float
        After which no further fit is begun.
    data : sequence of DataSet
        Two or more; the scores are those of the first.

    Returns
    -------
    dict
        ``cold``, ``warm``: seconds, None where there was no time for it. ``memory``: bytes, None where the system
        doesn't tell. ``doubts``. ``effective``, ``effective_seconds``: draws and what they took, or None. ``slopes``,
        ``limits``: lists of those of each data set, or of None. And what `scores` returns.
    """
    gc.collect()
    before = status("VmRSS")
    start = perf_counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit = peer.make(task)
        first = fit(data[0].train)
    cold = perf_counter() - start
    fits = [first]
    warm = None
    if 2.0 * cold < seconds:
        last, warm = _warm(fit, data[1].train)
        fits.append(last)
    peak = status("VmHWM")
    effective = fits[-1].effective
    draws, taken = effective() if effective else (None, None)
    end = start + seconds
    fits += _more(fit, data[len(fits) :], end) if task.repeats > 1 else []
    found = [_slopes(one) for one in fits]
    return {
        "cold": cold,
        "warm": warm,
        "memory": None if peak is None or before is None else peak - before,
        "doubts": first.doubts() or _not_converged(told),
        "effective": draws,
        "effective_seconds": taken,
        "slopes": [slopes for slopes, _ in found],
        "limits": [limits for _, limits in found],
        **scores(first, data[0].test, task),
    }


def _not_converged(told: Sequence[warnings.WarningMessage]) -> str:
    """Return the first sentence of a warning, of any library, that a fit has not converged."""
    found = [str(one.message) for one in told if one.category.__name__ == "ConvergenceWarning"]
    return found[0].split(". ")[0] if found else ""


def _warm(fit: Callable[[Rows], Fit], train: Rows) -> tuple[Fit, float]:
    """Return a fit of another table, and the median of the seconds that such fits take."""
    taken: list[float] = []
    while len(taken) < _WARM_FITS and sum(taken) < _WARM_SECONDS:
        start = perf_counter()
        found = fit(train)
        taken.append(perf_counter() - start)
    return found, statistics.median(taken)


def _more(fit: Callable[[Rows], Fit], data: Sequence[DataSet], end: float) -> Iterator[Fit]:
    """Yield fits of further data sets, until the time is over."""
    for one in data:
        if perf_counter() > end:
            return
        yield fit(one.train)


def _slopes(fit: Fit) -> tuple[list[float] | None, list[list[float]] | None]:
    slopes = None if fit.slopes is None else np.asarray(fit.slopes).tolist()
    return slopes, None if fit.slope_interval is None else fit.slope_interval().tolist()


def scores(fit: Fit, test: Rows, task: Task) -> dict[str, Any]:
    """Return root mean square errors, the mean CRPS, and coverage, overall and by tenths of the rows' noise.

    Rows are predicted as they come: their errors or counts are known, their measurements are not.
    """
    predicted = fit.predict(test.unseen())
    interval, crps = predicted.interval(), predicted.crps(test.y)
    noise = 1.0 / np.sqrt(test.counts) if task.kind == "shares" else test.y_err
    order = np.argsort(noise, kind="stable")
    inside = None
    if interval is not None:
        # A share k/n at a limit that is itself a share is inside, whatever its last digit.
        edge = 1e-9 * np.maximum(1.0, np.abs(test.y))
        inside = (interval[:, 0] - edge <= test.y) & (test.y <= interval[:, 1] + edge)
    return {
        "rmse": _root_mean_square(predicted.mean - test.y),
        "rmse_truth": _root_mean_square(predicted.mean - test.truth),
        "crps": None if crps is None else float(np.mean(crps)),
        "coverage": None if inside is None else float(inside.mean()),
        "deciles": None
        if inside is None
        else [float(part.mean()) for part in np.array_split(inside[order], 10)],
    }


def _root_mean_square(values: Array) -> float | None:
    found = float(np.sqrt(np.mean(np.square(values))))
    return found if np.isfinite(found) else None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), [Path(path) for path in sys.argv[4:]])
