"""A program: print, as JSON, the extra memory of one piece of work, in bytes.

``python -m benchmarks.memory_probe ADAPTER ROWS COLUMNS {allocated,resident}``. The table and whatever the
adapter prepares are there before; what the work returns counts.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from pathlib import Path

from .adapters import ADAPTERS
from .data import measured, shares
from .measure import Work


def main(name: str, rows: int, columns: int, kind: str) -> None:
    make = shares if name == "fit_counts" else measured
    adapter = ADAPTERS[name]
    # Lazy imports and the buffers of the linear algebra libraries are no part of it.
    adapter(make(1000, columns))()
    work = adapter(make(rows, columns))
    gc.collect()
    print(json.dumps({"bytes": allocated(work) if kind == "allocated" else resident(work)}))


def allocated(work: Work) -> int:
    """Return the peak of what Python and NumPy allocate."""
    tracemalloc.start()
    kept = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del kept
    return peak


def resident(work: Work) -> int | None:
    """Return how far the peak resident memory rises above what is resident; None where Linux doesn't tell.

    ``ru_maxrss`` would not do: a new process starts with that of its parent.
    """
    before = _status("VmRSS")
    kept = work()
    after = _status("VmHWM")
    del kept
    return None if before is None or after is None else after - before


def _status(field: str) -> int | None:
    """Return a field of the process's memory status, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
