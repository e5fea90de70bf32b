"""A program: fit once under a horseshoe, or search over kinds of priors, and print, as JSON, the seconds it took.

``python -m benchmarks.horseshoe_probe {fit,search} ROWS COLUMNS``: importing is not timed, but in workers.
"""

from __future__ import annotations

import json
import sys
import warnings
from time import perf_counter
from typing import Any

from sklearn.model_selection import GridSearchCV

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Horseshoe, Laplace, Normal, StudentT

from .data import sparse


def fit(rows: int, columns: int) -> dict[str, Any]:
    """Return the seconds of a process' first fit, its engine, and the least effective draws of a coefficient."""
    table, model = (
        sparse(rows, columns),
        BayesianErrorsInVariablesRegressor(coef_prior=Horseshoe(), random_state=0),
    )
    start = perf_counter()
    model.fit(table.X, table.y)
    seconds = perf_counter() - start
    return {
        "seconds": seconds,
        "engine": model.inference_,
        "effective": float(model.summary()["ess_bulk"].min()),
    }


def search(rows: int, columns: int) -> dict[str, Any]:
    """Return the seconds of a search over kinds of priors, five folds, two workers, with its last fit."""
    table, model = sparse(rows, columns), BayesianErrorsInVariablesRegressor(random_state=0)
    grid = {"coef_prior": [Normal(), Laplace(), StudentT(nu=4), Horseshoe()]}
    start = perf_counter()
    found = GridSearchCV(model, grid, cv=5, n_jobs=2, error_score="raise").fit(table.X, table.y)
    return {"seconds": perf_counter() - start, "best": repr(found.best_params_["coef_prior"])}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps({"fit": fit, "search": search}[sys.argv[1]](*map(int, sys.argv[2:]))))
