"""The reference model by four samplers: PyMC's own, nutpie, Bambi (through PyMC) and numpyro.

A line with standard normal coefficients; the noise is a multiple s of each row's standard error, or scatter s beside
it; 4 chains of 1,000 draws after 1,000 steps of tuning, the defaults of PyMC and Bambi.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fits import COVERAGE, Drawn, Fit
from .tasks import Rows, Task

__all__ = ["CHAINS", "DRAWS", "TUNE", "Posterior", "bambi", "numpyro", "nutpie", "posterior_of", "pymc"]

Array = NDArray[np.float64]

CHAINS, DRAWS, TUNE = 4, 1000, 1000
_FLOOR = 0.1  # the reference model's, added to the binomial standard error of a share
_PREDICTED = 1000  # draws that predictions are made from


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws as every sampler returns them."""

    slopes: Array
    """(chain, draw, p)"""
    intercept: Array
    """(chain, draw)"""
    scale: Array
    """(chain, draw) of s."""
    divergences: int
    seconds: float
    """Of sampling, without compilation (numpyro: but for the first fit's)."""

    def fit(self, predict: Callable[[Rows], Drawn]) -> Fit:
        """Return what an adapter does."""
        return Fit(
            predict=predict,
            slopes=self.slopes.mean(axis=(0, 1)),
            slope_interval=self.limits,
            effective=lambda: (float(self._diagnostics()["ess_bulk"].min()), self.seconds),
            doubts=self.doubts,
        )

    def limits(self) -> Array:
        tails = [(1.0 - COVERAGE) / 2.0, (1.0 + COVERAGE) / 2.0]
        return np.quantile(self.slopes, tails, axis=(0, 1)).T

    def doubts(self) -> str:
        """Return what the usual diagnostics object to."""
        r_hat = float(np.max(self._diagnostics()["r_hat"]))
        found = [] if r_hat <= 1.01 else [f"R-hat {r_hat:.2f}"]
        return ", ".join(found + ([f"{self.divergences} divergences"] if self.divergences else []))

    def thinned(self) -> tuple[Array, Array, Array]:
        """Return slopes, intercept and scale of evenly spaced draws."""
        every = max(self.intercept.size // _PREDICTED, 1)
        slopes = self.slopes.reshape(-1, self.slopes.shape[-1])
        return slopes[::every], self.intercept.ravel()[::every], self.scale.ravel()[::every]

    def _diagnostics(self) -> dict[str, Array]:
        from bayes_sklearn.inference._compat import diagnostics

        draws = np.concatenate([self.slopes, self.intercept[..., None], self.scale[..., None]], axis=-1)
        return {name: np.asarray(found["row"]) for name, found in diagnostics({"row": draws}).items()}


def errors(rows: Rows, task: Task) -> Array:
    """Return the standard errors of measurements that were made."""
    return _of_shares(rows.y, rows.counts) if task.kind == "shares" else rows.y_err


def _of_shares(share: Array, counts: Array) -> Array:
    return np.sqrt(share * (1.0 - share) / counts) + _FLOOR


def _fit(found: Posterior, task: Task) -> Fit:
    """Return a fit that predicts new measurements draw by draw."""

    def predict(rows: Rows) -> Drawn:
        slopes, intercept, scale = found.thinned()
        line = intercept[:, None] + slopes @ rows.X.T
        y_err = rows.y_err
        if task.kind == "shares":
            y_err = _of_shares(np.clip(line, 0.0, 1.0), rows.counts)
        s = scale[:, None]
        deviation = s * y_err if task.noise == "scaled" else np.hypot(s, y_err)
        new = line + deviation * np.random.default_rng(0).standard_normal(line.shape)
        return Drawn(found.intercept.mean() + rows.X @ found.slopes.mean(axis=(0, 1)), new)

    return found.fit(predict)


def _model(train: Rows, task: Task) -> Any:
    """Return the model as a person would write it in PyMC, with its data exchangeable."""
    import pymc as pm

    with pm.Model() as model:
        X, y_err = pm.Data("X", train.X), pm.Data("y_err", errors(train, task))
        m = pm.Normal("m", 0.0, 1.0, shape=train.X.shape[1])
        b = pm.Normal("b", 0.0, 1.0)
        s = pm.HalfNormal("s", 1.0)
        sigma = s * y_err if task.noise == "scaled" else pm.math.sqrt(s**2 + y_err**2)
        pm.Normal("y", pm.math.dot(X, m) + b, sigma, observed=pm.Data("observed", train.y))
    return model


def posterior_of(trace: Any, slopes: str, intercept: str, scale: str, seconds: float) -> Posterior:
    """Return draws of named variables of what PyMC or nutpie return."""
    drawn = trace.posterior
    return Posterior(
        np.asarray(drawn[slopes]),
        np.asarray(drawn[intercept]),
        np.asarray(drawn[scale]),
        int(np.asarray(trace.sample_stats["diverging"]).sum()),
        seconds,
    )


def pymc(task: Task) -> Callable[[Rows], Fit]:
    import pymc as pm

    def fit(train: Rows) -> Fit:
        with _model(train, task):
            trace: Any = pm.sample(
                DRAWS,
                tune=TUNE,
                chains=CHAINS,
                random_seed=0,
                nuts_sampler="pymc",
                progressbar=False,
                compute_convergence_checks=False,
            )
        seconds = float(trace.posterior.attrs["sampling_time"])
        return _fit(posterior_of(trace, "m", "b", "s", seconds), task)

    return fit


def nutpie(task: Task) -> Callable[[Rows], Fit]:
    """Compile at the first fit, and exchange the data at others."""
    import nutpie as library

    compiled: Any = None

    def fit(train: Rows) -> Fit:
        nonlocal compiled
        if compiled is None:
            compiled = library.compile_pymc_model(_model(train, task))
        model = compiled.with_data(X=train.X, y_err=errors(train, task), observed=train.y)
        start = perf_counter()
        trace = library.sample(model, draws=DRAWS, tune=TUNE, chains=CHAINS, seed=0, progress_bar=False)
        return _fit(posterior_of(trace, "m", "b", "s", perf_counter() - start), task)

    return fit


def bambi(task: Task) -> Callable[[Rows], Fit]:
    """Fit ``sigma ~ offset(log(se))`` under Bambi's own priors; it has no scatter beside the errors."""
    import bambi as library
    import pandas as pd

    def fit(train: Rows) -> Fit:
        names = [f"x{column}" for column in range(train.X.shape[1])]
        frame = pd.DataFrame(train.X, columns=names).assign(y=train.y, se=errors(train, task))
        formula = library.Formula(f"y ~ {' + '.join(names)}", "sigma ~ offset(log(se))")
        trace = library.Model(formula, frame).fit(
            draws=DRAWS,
            tune=TUNE,
            chains=CHAINS,
            random_seed=0,
            progressbar=False,
            compute_convergence_checks=False,
        )
        drawn = trace.posterior
        return _fit(
            Posterior(
                np.stack([np.asarray(drawn[name]) for name in names], axis=-1),
                np.asarray(drawn["Intercept"]),
                np.exp(np.asarray(drawn["sigma_Intercept"])),
                int(np.asarray(trace.sample_stats["diverging"]).sum()),
                float(drawn.attrs["sampling_time"]),
            ),
            task,
        )

    return fit


def numpyro(task: Task) -> Callable[[Rows], Fit]:
    """Compile at the first fit, and run the same sampler again at others of the same shape."""
    import numpyro as library
    from jax import random
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS

    def model(X: Array, y_err: Array, y: Array) -> None:
        m = library.sample("m", dist.Normal(0.0, 1.0).expand([X.shape[1]]).to_event(1))
        b = library.sample("b", dist.Normal(0.0, 1.0))
        s = library.sample("s", dist.HalfNormal(1.0))
        sigma = s * y_err if task.noise == "scaled" else (s**2 + y_err**2) ** 0.5
        library.sample("y", dist.Normal(X @ m + b, sigma), obs=y)

    # A device for each chain, as the documentation says; the rows are arguments, so that others need no compilation.
    library.set_host_device_count(CHAINS)
    sampler = MCMC(
        NUTS(model),
        num_warmup=TUNE,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="parallel",
        jit_model_args=True,
        progress_bar=False,
    )

    def fit(train: Rows) -> Fit:
        given = train.X, errors(train, task), train.y
        start = perf_counter()
        sampler.run(random.PRNGKey(0), *given, extra_fields=("diverging",))
        samples = sampler.get_samples(group_by_chain=True)
        drawn = {name: np.asarray(values, dtype=np.float64) for name, values in samples.items()}
        diverging = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
        return _fit(Posterior(drawn["m"], drawn["b"], drawn["s"], diverging, perf_counter() - start), task)

    return fit
