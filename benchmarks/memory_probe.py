"""A program: print, as JSON, the extra memory that an adapter's work and its peer's take, in bytes.

``python -m benchmarks.memory_probe ADAPTER PEER ROWS COLUMNS``. The table and whatever an adapter prepares are
there before; what the work returns counts.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc

from .adapters import ADAPTERS
from .data import measured, shares
from .measure import Work
from .process import status


def main(name: str, peer: str, rows: int, columns: int) -> None:
    make = shares if name == "fit_counts" else measured
    # Lazy imports and the buffers of the linear algebra libraries are no part of it.
    for adapter in (name, peer):
        ADAPTERS[adapter](make(1000, columns))()
    table = make(rows, columns)
    gc.collect()
    work = ADAPTERS[name](table)
    # First, while the peak of the process is still where the table left it.
    found = {"resident": resident(work), "allocated": allocated(work)}
    print(json.dumps(found | {"peer": allocated(ADAPTERS[peer](table))}))


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
    before = status("VmRSS")
    kept = work()
    after = status("VmHWM")
    del kept
    return None if before is None or after is None else after - before


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
