"""The cases of features measured with error: fits by importance sampling, and PyMC with latent true features."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from bayes_sklearn import BayesianErrorsInVariablesRegressor

from .data import NoisyTable, noisy
from .fresh import run_probe
from .measure import Result, as_time, seconds, timed

__all__ = ["against_latent", "fit", "intervals"]


def fit(*, common: bool) -> Callable[..., Result]:
    """Return a case that takes the seconds of a fit, errors the same for all rows or not."""

    def run(rows: int, columns: int, with_error: int, repeats: int) -> Result:
        work = _fit(noisy(rows, columns, with_error, common=common))
        return seconds(work, repeats)

    return run


def against_latent(rows: int, draws: int, tune: int, repeats: int) -> Result:
    """Time PyMC on the model with latent true features, in a new process, over a fit.

    A first, short run, which leaves compiled code in PyTensor's cache, is discarded.
    """
    table = noisy(rows, 1, 1, common=False)
    work = _fit(table)
    run_probe("latent_probe", rows, 2, 2)
    found = run_probe("latent_probe", rows, draws, tune)
    timed(work)
    own = [timed(work) for _ in range(repeats)]
    model = BayesianErrorsInVariablesRegressor(random_state=0).fit(
        table.X, table.y, y_err=table.y_err, X_err=table.X_err
    )
    apart = np.max(np.abs(found["coef"] - model.coef_) / model.coef_std_)
    return Result(
        tuple(found["seconds"] / time for time in own),
        f"{as_time(statistics.median(own))} / {as_time(found['seconds'])}",
        f"by {found['sampler']}; compiling took {as_time(found['seconds'] - found['sampling'])} of it; posterior"
        f" means agree to {apart:.2f} standard deviations",
    )


def intervals(likelihood: str) -> Callable[..., Result]:
    """Return a case that takes the seconds of means, standard deviations and intervals of rows with errors by row.

    Under a likelihood, of a fit to rows like them: of shares, with counts from 1 to 100,000.
    """

    def run(rows: int, fitted: int, repeats: int) -> Result:
        table, new = (noisy(size, 2, 1, common=False, seed=seed) for size, seed in ((fitted, 0), (rows, 1)))
        rng, counted = np.random.default_rng(2), likelihood != "student_t"
        model = BayesianErrorsInVariablesRegressor(
            likelihood=likelihood, weight_type="counts" if counted else "auto", random_state=0
        )
        given: dict[str, Any] = {}
        if counted:
            trials = np.rint(10.0 ** rng.uniform(0.0, 5.0, fitted))
            share = rng.binomial(trials.astype(int), 1.0 / (1.0 + np.exp(-table.y))) / trials
            model.fit(table.X, share, sample_weight=trials, X_err=table.X_err)
            given = {"counts": np.rint(10.0 ** rng.uniform(0.0, 5.0, rows))}
        else:
            model.fit(table.X, table.y, X_err=table.X_err)

        def work() -> None:
            model.predict(new.X, return_std=True, X_err=new.X_err, **given)
            model.predict_interval(new.X, X_err=new.X_err, **given)

        return seconds(work, repeats)

    return run


def _fit(table: NoisyTable) -> Callable[[], object]:
    model = BayesianErrorsInVariablesRegressor(random_state=0)
    return lambda: model.fit(table.X, table.y, y_err=table.y_err, X_err=table.X_err)
