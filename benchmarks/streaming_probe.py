"""A program: print, as JSON, the extra memory that `partial_fit` takes over batches made on the way, in bytes.

``python -m benchmarks.streaming_probe BATCHES ROWS COLUMNS``. The batch of the moment counts.
"""

from __future__ import annotations

import json
import sys

from bayes_sklearn import BayesianErrorsInVariablesRegressor

from .memory_probe import allocated, resident
from .streaming_cases import tables


def main(batches: int, rows: int, columns: int) -> None:
    # Lazy imports and the buffers of the linear algebra libraries are no part of it.
    stream(2, 1000, columns)
    # First, while the peak of the process is still that of its imports.
    found = {"resident": resident(lambda: stream(batches, rows, columns))}
    print(json.dumps(found | {"allocated": allocated(lambda: stream(batches, rows, columns))}))


def stream(batches: int, rows: int, columns: int) -> BayesianErrorsInVariablesRegressor:
    """Return a model that has seen all batches."""
    model = BayesianErrorsInVariablesRegressor()
    for table in tables(batches, rows, columns):
        model.partial_fit(table.X, table.y, y_err=table.y_err)
    return model


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
