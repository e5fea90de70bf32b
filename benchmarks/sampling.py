"""Adapters that sample: at every call a fit of other rows under another prior scale, by NUTS or by plain PyMC."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.priors import CoefficientPrior, Horseshoe, Laplace, Normal

from .data import NoisyTable, Table

__all__ = [
    "ADAPTERS",
    "CHAINS",
    "FOLDS",
    "Found",
    "Sampling",
    "horseshoe",
    "laplace",
    "nuts_refit",
]

Found = dict[str, Any]
"""What a fit says of itself."""
Sampling = Callable[[Table], Callable[[], Found]]
"""An `Adapter` whose work returns what it found."""
Fit = Callable[[Table, float, int], Found]
"""From rows, the scale of the coefficients' prior and a seed."""

CHAINS, FOLDS = 4, 5
_SCALES = np.geomspace(0.3, 3.0, 20)


def laplace(scale: float) -> CoefficientPrior:
    return Laplace(b=scale)


def horseshoe(scale: float) -> CoefficientPrior:
    return Horseshoe(slab_sigma=scale)


def nuts_refit(noise: str, prior: Callable[[float], CoefficientPrior]) -> Sampling:
    """Return an adapter that fits by the NUTS engine as it comes."""

    def fit(table: Table, scale: float, seed: int) -> Found:
        model = BayesianErrorsInVariablesRegressor(
            coef_prior=prior(scale), noise=noise, inference="nuts", random_state=seed
        )
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            errors = {"X_err": table.X_err} if isinstance(table, NoisyTable) else {}
            model.fit(table.X, table.y, y_err=table.y_err, **errors)
        return {"warned": any(issubclass(one.category, ConvergenceWarning) for one in told)}

    return _in_turns(fit)


def nuts_fit(draws: int, tune: int) -> Sampling:
    """Return an adapter that fits what `plain_fit` does by the NUTS engine."""

    def fit(table: Table, scale: float, seed: int) -> Found:
        model = _comparable(draws, tune).set_params(coef_prior__b=scale, random_state=seed)
        model.fit(table.X, table.y, y_err=table.y_err)
        return {"coef": model.coef_.tolist(), "coef_std": model.coef_std_.tolist()}

    return _in_turns(fit)


def plain_fit(draws: int, tune: int) -> Sampling:
    """Return an adapter that writes the model out in PyMC and samples it by the sampler that PyMC takes."""

    def fit(table: Table, scale: float, seed: int) -> Found:
        import pymc as pm

        with pm.Model():
            m = pm.Laplace("m", 0.0, scale, shape=table.X.shape[1])
            b = pm.Normal("b", 0.0, 1.0)
            s = pm.HalfNormal("s", 1.0)
            pm.Normal("y", table.X @ m + b, s * table.y_err, observed=table.y)
            trace: Any = pm.sample(
                draws=draws,
                tune=tune,
                chains=CHAINS,
                random_seed=seed,
                progressbar=False,
                compute_convergence_checks=False,
            )
        drawn = np.asarray(trace.posterior["m"])
        return {
            "coef": drawn.mean(axis=(0, 1)).tolist(),
            "sampler": str(trace.posterior.attrs.get("inference_library", "default")),
        }

    return _in_turns(fit)


def nuts_search(draws: int, tune: int, candidates: int) -> Sampling:
    """Return an adapter that searches over the prior's scale by NUTS: no refit at the end."""
    grid = {"coef_prior__b": np.geomspace(_SCALES[0], _SCALES[-1], candidates)}
    search = GridSearchCV(_comparable(draws, tune), grid, cv=FOLDS, refit=False, error_score="raise")

    def adapter(table: Table) -> Callable[[], Found]:
        def work() -> Found:
            search.fit(table.X, table.y, y_err=table.y_err)
            return {"fits": FOLDS * len(search.cv_results_["params"])}

        return work

    return adapter


def _comparable(draws: int, tune: int) -> BayesianErrorsInVariablesRegressor:
    """Return the estimator whose model and effort are those of `plain_fit`."""
    return BayesianErrorsInVariablesRegressor(
        coef_prior=Laplace(),
        intercept_prior=Normal(),
        noise="scaled",
        standardize=False,
        inference="nuts",
        draws=draws,
        chains=CHAINS,
        nuts_kwargs={"tune": tune},
        random_state=0,
    )


def _in_turns(fit: Fit) -> Sampling:
    """Return an adapter that fits the halves of a table in turns, each time under another prior scale."""

    def adapter(table: Table) -> Callable[[], Found]:
        middle = len(table.y) // 2
        halves = [_rows(table, half) for half in (slice(middle), slice(middle, None))]
        turns = itertools.count()

        def work() -> Found:
            turn = next(turns)
            return fit(halves[turn % 2], float(_SCALES[turn % len(_SCALES)]), turn)

        return work

    return adapter


def _rows(table: Table, rows: slice) -> Table:
    names = ["X", "y", "y_err", "weight"]
    if isinstance(table, NoisyTable) and table.X_err.ndim == 2:
        names.append("X_err")
    return replace(table, **{name: getattr(table, name)[rows] for name in names})


ADAPTERS: dict[str, Callable[..., Sampling]] = {
    make.__name__: make for make in (nuts_fit, nuts_search, plain_fit)
}
"""By name, for processes of their own: from numbers to an adapter."""
