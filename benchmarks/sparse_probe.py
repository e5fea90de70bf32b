"""A program: print, as JSON, the seconds of the first fit, or search, of a process under priors with heavy tails.

``python -m benchmarks.sparse_probe WORK ROWS COLUMNS``: WORK is "fit" or "search". Importing the package is not
timed, but in the two workers of a search.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Laplace, Normal, StudentT

from .data import Table, measured

__all__ = ["WORK", "timed_first"]

FOLDS, WORKERS = 5, 2


def fit(table: Table) -> dict[str, Any]:
    """Fit, and say how many independent draws the nodes are worth."""
    model = BayesianErrorsInVariablesRegressor(coef_prior=Laplace(), random_state=0).fit(table.X, table.y)
    worth = 1.0 / np.square(model._fitted.posterior.weights).sum()
    return {"engine": model.inference_, "worth": float(worth)}


def search(table: Table) -> dict[str, Any]:
    """Search over kinds of priors, by processes that have to be started."""
    grid = {"coef_prior": [Normal(), Laplace(), StudentT(nu=4)]}
    model = BayesianErrorsInVariablesRegressor(random_state=0)
    found = GridSearchCV(model, grid, cv=FOLDS, n_jobs=WORKERS, error_score="raise").fit(table.X, table.y)
    return {"fits": FOLDS * len(found.cv_results_["params"]) + 1}


WORK: dict[str, Callable[[Table], dict[str, Any]]] = {"fit": fit, "search": search}


def timed_first(name: str, rows: int, columns: int) -> dict[str, Any]:
    """Return the seconds of a piece of work, and what it found."""
    table = measured(rows, columns)
    start = perf_counter()
    found = WORK[name](table)
    return {"seconds": perf_counter() - start, **found}


if __name__ == "__main__":
    print(json.dumps(timed_first(sys.argv[1], *map(int, sys.argv[2:]))))
