"""A program: sample star98's binomial regression with PyMC and print, as JSON, what it took and found.

``python -m benchmarks.star98_probe ROWS DRAWS TUNE``: four chains, on as many cores as PyMC takes by default.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from time import perf_counter
from typing import Any

import numpy as np

from .data import star98


def main(rows: int, draws: int, tune: int) -> None:
    logging.getLogger("pymc").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(json.dumps(sample(rows, draws, tune)))


def sample(rows: int, draws: int, tune: int) -> dict[str, Any]:
    """Return the seconds from the empty model to the draws, those of sampling alone, and the coefficients."""
    import pymc as pm

    X, share, counts = star98(rows)
    unit = X.std(axis=0)
    start = perf_counter()
    with pm.Model():
        m = pm.Normal("m", 0.0, 1.0, shape=X.shape[1])
        b = pm.Normal("b", 0.0, 2.5)
        eta = b + pm.math.dot((X - X.mean(axis=0)) / unit, m)
        pm.Binomial("k", counts.astype(int), logit_p=eta, observed=np.rint(share * counts).astype(int))
        trace: Any = pm.sample(
            draws=draws,
            tune=tune,
            chains=4,
            random_seed=0,
            progressbar=False,
            compute_convergence_checks=False,
        )
    elapsed = perf_counter() - start
    attributes = trace.posterior.attrs
    return {
        "seconds": elapsed,
        "sampling": float(attributes["sampling_time"]),
        "sampler": str(attributes.get("inference_library", "default")),
        "coef": (np.asarray(trace.posterior["m"]).mean(axis=(0, 1)) / unit).tolist(),
    }


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
