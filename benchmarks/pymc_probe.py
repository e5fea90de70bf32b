"""A program: sample the reference model with PyMC and print, as JSON, how long it took and what it found.

``python -m benchmarks.pymc_probe ROWS DRAWS TUNE [SAMPLER]``: four chains, on as many cores as PyMC takes by
default; without SAMPLER by the sampler that it takes by default.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from time import perf_counter
from typing import Any

import numpy as np

from .data import Table, phones


def main(rows: int, draws: int, tune: int, sampler: str | None = None) -> None:
    logging.getLogger("pymc").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(json.dumps(sample(phones(rows), draws, tune, sampler)))


def sample(table: Table, draws: int, tune: int, sampler: str | None) -> dict[str, Any]:
    """Sample the model as published; return seconds and posterior means of the coefficients.

    Parameters
    ----------
    table : Table
    draws, tune : int
        Of each of four chains.
    sampler : str, optional
        ``nuts_sampler`` of `pymc.sample`.

    Returns
    -------
    dict
        ``seconds`` from the empty model to the draws, of which ``sampling`` without compilation; ``coef``, their
        posterior means; ``sampler``, the library that ran.
    """
    import pymc as pm

    chosen = {} if sampler is None else {"nuts_sampler": sampler}
    start = perf_counter()
    with pm.Model():
        m = pm.Normal("m", 0.0, 1.0, shape=table.X.shape[1])
        b = pm.Normal("b", 0.0, 1.0)
        s = pm.HalfNormal("s", 1.0)
        pm.Normal("y", table.X @ m + b, s * table.y_err, observed=table.y)
        trace: Any = pm.sample(
            draws=draws,
            tune=tune,
            chains=4,
            random_seed=0,
            progressbar=False,
            compute_convergence_checks=False,
            **chosen,
        )
    elapsed = perf_counter() - start
    attributes = trace.posterior.attrs
    return {
        "seconds": elapsed,
        "sampling": float(attributes["sampling_time"]),
        "sampler": str(attributes.get("inference_library", "default")),
        "coef": np.asarray(trace.posterior["m"]).mean(axis=(0, 1)).tolist(),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
