"""A program: print, as JSON, the seconds of every call of an adapter that samples, and what the first one found.

``python -m benchmarks.sampling_probe ADAPTER CALLS ROWS COLUMNS [NUMBER ...]``: the numbers are the adapter's own.
Importing PyMC is not timed.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import warnings
from typing import Any

from .data import measured
from .measure import timed
from .sampling import ADAPTERS, Found


def main(name: str, calls: int, rows: int, columns: int, *numbers: int) -> None:
    warnings.simplefilter("ignore")
    for module in ("pymc", "nutpie"):
        importlib.import_module(module)
    logging.getLogger("pymc").setLevel(logging.ERROR)
    print(json.dumps(sample(name, calls, rows, columns, *numbers)))


def sample(name: str, calls: int, rows: int, columns: int, *numbers: int) -> dict[str, Any]:
    """Return the seconds of every call, and what the first one found."""
    work = ADAPTERS[name](*numbers)(measured(rows, columns))
    found: list[Found] = []
    seconds = [timed(lambda: found.append(work())) for _ in range(calls)]
    return {"seconds": seconds, **found[0]}


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
