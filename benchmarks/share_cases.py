"""The cases of other likelihoods: star98's shares, and PyMC on the same model; events; by importance sampling."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np

from bayes_sklearn import BayesianErrorsInVariablesRegressor

from .data import star98
from .fresh import run_probe
from .measure import Result, as_time, seconds, timed

__all__ = ["against_pymc", "events", "fit", "limits"]


def fit(likelihood: str) -> Callable[..., Result]:
    """Return a case that takes the seconds of a fit, and says what its nodes are worth."""

    def run(rows: int, repeats: int) -> Result:
        return seconds(_fit(likelihood, rows), repeats)

    return run


def events(likelihood: str) -> Callable[..., Result]:
    """Return a case that takes the seconds of a fit to events over an exposure, which vary by more than chance."""

    def run(rows: int, columns: int, repeats: int) -> Result:
        rng = np.random.default_rng(0)
        X, hours = rng.normal(size=(rows, columns)), rng.uniform(0.3, 20.0, rows)
        rate = np.exp(0.5 + X @ rng.normal(0.0, 0.2, columns)) * rng.gamma(2.0, 0.5, rows)
        counts = rng.poisson(hours * rate)
        model = BayesianErrorsInVariablesRegressor(likelihood=likelihood, random_state=0)
        return seconds(lambda: model.fit(X, counts, exposure=hours), repeats)

    return run


def limits(rows: int, columns: int, repeats: int) -> Result:
    """Time a fit to targets of which the least 28% are known to lie below a limit."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns))
    y = X @ np.linspace(0.2, 0.4, columns) + rng.normal(size=rows)
    at = np.quantile(y, 0.28)
    censored = np.where(y < at, -1, 0)
    model = BayesianErrorsInVariablesRegressor(random_state=0)
    return seconds(lambda: model.fit(X, np.maximum(y, at), y_censored=censored), repeats)


def against_pymc(rows: int, draws: int, tune: int, repeats: int) -> Result:
    """Time PyMC on the binomial model, in a new process, over a fit.

    A first, short run, which leaves compiled code in PyTensor's cache, is discarded.
    """
    work = _fit("binomial", rows)
    run_probe("star98_probe", rows, 2, 2)
    found = run_probe("star98_probe", rows, draws, tune)
    timed(work)
    own = [timed(work) for _ in range(repeats)]
    X, share, counts = star98(rows)
    model = _model("binomial").fit(X, share, sample_weight=counts)
    apart = np.max(np.abs(found["coef"] - model.coef_) / model.coef_std_)
    return Result(
        tuple(found["seconds"] / time for time in own),
        f"{as_time(statistics.median(own))} / {as_time(found['seconds'])}",
        f"by {found['sampler']}; compiling took {as_time(found['seconds'] - found['sampling'])} of it; posterior"
        f" means agree to {apart:.2f} standard deviations",
    )


def _model(likelihood: str) -> BayesianErrorsInVariablesRegressor:
    return BayesianErrorsInVariablesRegressor(likelihood=likelihood, weight_type="counts", random_state=0)


def _fit(likelihood: str, rows: int) -> Callable[[], object]:
    X, share, counts = star98(rows)
    model = _model(likelihood)
    return lambda: model.fit(X, share, sample_weight=counts)
