"""The cases of features measured with error: fits by importance sampling, and PyMC with latent true features."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Laplace, Mixture
from bayes_sklearn.metrics import neg_crps_scorer

from .data import NoisyTable, noisy
from .fresh import run_probe
from .measure import Result, as_time, seconds, timed

__all__ = ["against_latent", "fit", "fit_under", "gaps", "intervals"]


def fit(*, common: bool, components: int = 1) -> Callable[..., Result]:
    """Return a case that takes the seconds of a fit, errors the same for all rows or not."""

    def run(rows: int, columns: int, with_error: int, repeats: int) -> Result:
        table = noisy(rows, columns, with_error, common=common)
        apart = 5.0 * (np.arange(rows) % components)  # true features in so many clusters
        table.X[:, 0] += apart
        table.y[:] += apart
        return seconds(_fit(table, components), repeats)

    return run


def gaps(rows: int, columns: int, repeats: int) -> Result:
    """Time a fit to features of which 27% of the cells were not measured."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, columns)) + rng.normal(size=(rows, 1))
    y = X.sum(axis=1) + rng.normal(size=rows)
    X[rng.random(X.shape) < 0.27] = np.nan
    model = BayesianErrorsInVariablesRegressor(missing="model", random_state=0)
    return seconds(lambda: model.fit(X, y), repeats)


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


def fit_under(likelihood: str, inference: str = "auto") -> Callable[..., Result]:
    """Return a case that takes the seconds of a fit under another likelihood, errors of one feature by row.

    Of the first of two features; by NUTS of the only one, of fits to other rows with a compiled model: the first fit
    is discarded.
    """

    def run(rows: int, repeats: int) -> Result:
        columns = 1 if inference == "nuts" else 2
        tables = [_under(likelihood, rows, seed, columns) for seed in range(repeats + 1)]
        turn = iter(tables)

        def work() -> None:
            X, y, given = next(turn)
            _model(likelihood, inference).fit(X, y, **given)

        return seconds(work, repeats)

    return run


def intervals(likelihood: str) -> Callable[..., Result]:
    """Return a case that takes the seconds of means, standard deviations and intervals of rows with errors by row.

    Under a likelihood, of a fit to rows like them: of shares, with counts from 1 to 100,000.
    """

    def run(rows: int, fitted: int, repeats: int) -> Result:
        X, y, given = _under(likelihood, fitted, 0)
        model = _model(likelihood).fit(X, y, **given)
        new, _, of_new = _under(likelihood, rows, 1)
        if "sample_weight" in of_new:
            of_new["counts"] = of_new.pop("sample_weight")

        def work() -> None:
            model.predict(new, return_std=True, **of_new)
            model.predict_interval(new, **of_new)

        return seconds(work, repeats)

    return run


def many_intervals(rows: int, columns: int, repeats: int) -> Result:
    """Take the seconds of intervals of many rows, all measured with the same error, after a fit to 500 like them."""
    table, new = (noisy(size, columns, 1, common=True, seed=size) for size in (500, rows))
    model = BayesianErrorsInVariablesRegressor(random_state=0).fit(table.X, table.y, X_err=table.X_err)
    return seconds(lambda: model.predict_interval(new.X, X_err=table.X_err), repeats)


def intervals_under(likelihood: str) -> Callable[..., Result]:
    """Return a case that takes the seconds of intervals of many rows without errors, after a fit to 500 like them."""

    def run(rows: int, columns: int, fitted: int, repeats: int) -> Result:
        (X, y, given), (new, _, of_new) = (_without_errors(likelihood, n, columns) for n in (fitted, rows))
        weight_type = "counts" if "sample_weight" in given else "auto"
        model = BayesianErrorsInVariablesRegressor(
            likelihood=likelihood, weight_type=weight_type, random_state=0
        ).fit(X, y, **given)
        of_new = {"counts" if name == "sample_weight" else name: value for name, value in of_new.items()}
        return seconds(lambda: model.predict_interval(new, **of_new), repeats)

    return run


def one_row(likelihood: str, ask: Callable[..., object]) -> Callable[..., Result]:
    """Return a case that takes the seconds of what is asked of one row, as a server does.

    Parameters
    ----------
    likelihood : str
        Or "laplace": a prior that is sampled, under the normal one.
    ask : callable
        Of the model, a row, its target, and what is known of it.
    """

    def run(rows: int, columns: int, repeats: int) -> Result:
        prior = Laplace() if likelihood == "laplace" else None
        of_rows = "normal" if prior else likelihood
        X, y, given = _without_errors(of_rows, rows, columns)
        weight_type = "counts" if "sample_weight" in given else "auto"
        model = BayesianErrorsInVariablesRegressor(
            likelihood=of_rows, coef_prior=prior, weight_type=weight_type, random_state=0
        ).fit(X, y, **given)
        of_row = {"counts" if name == "sample_weight" else name: value[:1] for name, value in given.items()}
        found = seconds(lambda: [ask(model, X[:1], y[:1], **of_row) for _ in range(100)], repeats)
        return Result(tuple(value / 100.0 for value in found.values))

    return run


def mean(model: Any, X: Any, y: Any, **given: Any) -> object:
    """Return a prediction."""
    return model.predict(X, **given)


def interval(model: Any, X: Any, y: Any, **given: Any) -> object:
    """Return an interval."""
    return model.predict_interval(X, **given)


def scores(model: Any, X: Any, y: Any, **given: Any) -> object:
    """Return the score that takes longest."""
    return neg_crps_scorer(model, X, y, **given)


def _without_errors(likelihood: str, n: int, columns: int) -> tuple[Any, Any, dict[str, Any]]:
    """Return features, a target and what it is counted by, if it is: trials from 1 to 1,000, exposures to 50."""
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, columns))
    line = 0.3 * X.sum(axis=1)
    if likelihood in ("binomial", "beta_binomial"):
        trials, share = np.rint(10.0 ** rng.uniform(0.0, 3.0, n)), 1.0 / (1.0 + np.exp(-line))
        share = rng.beta(20.0 * share, 20.0 * (1.0 - share)) if likelihood == "beta_binomial" else share
        return X, rng.binomial(trials.astype(int), share) / trials, {"sample_weight": trials}
    if likelihood in ("poisson", "negative_binomial"):
        exposure, rate = rng.uniform(1.0, 50.0, n), np.exp(line)
        rate = rng.gamma(4.0, rate / 4.0) if likelihood == "negative_binomial" else rate
        return X, rng.poisson(rate * exposure).astype(float), {"exposure": exposure}
    return X, line + 0.5 * rng.standard_t(4.0, n), {}


def _model(likelihood: str, inference: str = "auto") -> BayesianErrorsInVariablesRegressor:
    weight_type = "auto" if likelihood == "student_t" else "counts"
    return BayesianErrorsInVariablesRegressor(
        likelihood=likelihood, weight_type=weight_type, inference=inference, random_state=0
    )


def _under(likelihood: str, rows: int, seed: int, columns: int = 2) -> tuple[Any, Any, dict[str, Any]]:
    """Return features, a target and what is known of both: of shares counts from 1 to 100,000."""
    table, rng = noisy(rows, columns, 1, common=False, seed=seed), np.random.default_rng(seed + 100)
    if likelihood == "student_t":
        return table.X, table.y, {"X_err": table.X_err}
    trials = np.rint(10.0 ** rng.uniform(0.0, 5.0, rows))
    share = rng.binomial(trials.astype(int), 1.0 / (1.0 + np.exp(-table.y))) / trials
    return table.X, share, {"X_err": table.X_err, "sample_weight": trials}


def _fit(table: NoisyTable, components: int = 1) -> Callable[[], object]:
    distribution = Mixture(components) if components > 1 else "normal"
    model = BayesianErrorsInVariablesRegressor(x_distribution=distribution, random_state=0)
    return lambda: model.fit(table.X, table.y, y_err=table.y_err, X_err=table.X_err)
