"""A program: sample a regression with latent true features with PyMC and print, as JSON, what it took and found.

``python -m benchmarks.latent_probe ROWS DRAWS TUNE``: one feature with errors that differ by row; four chains, on as
many cores as PyMC takes by default.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from time import perf_counter
from typing import Any

import numpy as np

from .data import NoisyTable, noisy


def main(rows: int, draws: int, tune: int) -> None:
    logging.getLogger("pymc").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(json.dumps(sample(noisy(rows, 1, 1, common=False), draws, tune)))


def sample(table: NoisyTable, draws: int, tune: int) -> dict[str, Any]:
    """Return the seconds from the empty model to the draws, those of sampling alone, and the coefficient.

    The model is the estimator's: features and target are standardised, and the true features are not centred about
    their mean, which samples better than the other way round.
    """
    import pymc as pm

    w, y = table.X[:, 0], table.y
    unit_w, unit_y = w.std(), y.std()
    start = perf_counter()
    with pm.Model():
        mu = pm.Normal("mu", 0.0, 10.0)
        t = pm.HalfStudentT("t", nu=4.0, sigma=1.0)
        x = pm.Deterministic("x", mu + t * pm.Normal("z", 0.0, 1.0, shape=len(y)))
        pm.Normal("w", x, table.X_err[:, 0] / unit_w, observed=(w - w.mean()) / unit_w)
        m, b = pm.Normal("m", 0.0, 1.0), pm.Normal("b", 0.0, 1.0)
        s = pm.HalfNormal("s", 1.0)
        pm.Normal("y", b + m * x, s * table.y_err / unit_y, observed=(y - y.mean()) / unit_y)
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
        "coef": [float(np.asarray(trace.posterior["m"]).mean() * unit_y / unit_w)],
    }


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
