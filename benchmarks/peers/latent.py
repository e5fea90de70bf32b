"""Errors in x with the true features as unknowns, as a person writes the model in PyMC; sampled by nutpie."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fits import Drawn, Fit
from .reference import CHAINS, DRAWS, TUNE, posterior_of
from .tasks import Rows, Task

__all__ = ["latent"]

Array = NDArray[np.float64]

_SEED = 0


def latent(task: Task) -> Callable[[Rows], Fit]:
    """Compile at the first fit, and exchange the data at others."""
    import nutpie

    compiled: Any = None

    def fit(train: Rows) -> Fit:
        nonlocal compiled
        data = {
            "reading": train.X[:, 0],
            "reading_err": train.X_err[:, 0],
            "Z": train.X[:, 1:],
            "y_err": train.y_err,
            "observed": train.y,
        }
        if task.columns == 1:  # an array of no columns is no data to nutpie
            del data["Z"]
        if compiled is None:
            compiled = nutpie.compile_pymc_model(_model(data, task))
        model = compiled.with_data(**data)
        start = perf_counter()
        trace = nutpie.sample(model, draws=DRAWS, tune=TUNE, chains=CHAINS, seed=_SEED, progress_bar=False)
        found = posterior_of(trace, "m", "b", "s", perf_counter() - start)
        every = max(CHAINS * DRAWS // 1000, 1)
        names = ("mu", "t", "g") if task.columns > 1 else ("mu", "t")
        drawn = {name: np.asarray(trace.posterior[name]) for name in names}
        spread = {name: values.reshape(-1, *values.shape[2:])[::every] for name, values in drawn.items()}

        def predict(rows: Rows) -> Drawn:
            slopes, intercept, scale = found.thinned()
            rng = np.random.default_rng(_SEED)
            # Normal reading about a normal feature: the true one given the reading, draw by draw.
            mean = spread["mu"][:, None]
            if task.columns > 1:
                mean = mean + spread["g"] @ rows.X[:, 1:].T
            between, within = spread["t"][:, None] ** 2, rows.X_err[:, 0] ** 2
            share = between / (between + within)
            expected = mean + share * (rows.X[:, 0] - mean)
            x = expected + np.sqrt(share * within) * rng.standard_normal(expected.shape)
            rest = intercept[:, None] + slopes[:, 1:] @ rows.X[:, 1:].T
            line, center = rest + slopes[:, :1] * x, (rest + slopes[:, :1] * expected).mean(axis=0)
            s = scale[:, None]
            deviation = s * rows.y_err if task.noise == "scaled" else np.hypot(s, rows.y_err)
            return Drawn(center, line + deviation * rng.standard_normal(line.shape))

        return found.fit(predict)

    return fit


def _model(data: dict[str, Array], task: Task) -> Any:
    import pymc as pm

    with pm.Model() as model:
        given = {name: pm.Data(name, values) for name, values in data.items()}
        mu, t = pm.Normal("mu", 0.0, 10.0), pm.HalfNormal("t", 1.0)
        m, b = pm.Normal("m", 0.0, 1.0, shape=task.columns), pm.Normal("b", 0.0, 1.0)
        s, y_err = pm.HalfNormal("s", 1.0), given["y_err"]
        expected, rest = mu, b
        if task.columns > 1:
            g = pm.Normal("g", 0.0, 10.0, shape=task.columns - 1)
            expected, rest = mu + pm.math.dot(given["Z"], g), b + pm.math.dot(given["Z"], m[1:])
        x = pm.Normal("x", expected, t, shape=len(data["reading"]))
        pm.Normal("w", x, given["reading_err"], observed=given["reading"])
        sigma = s * y_err if task.noise == "scaled" else pm.math.sqrt(s**2 + y_err**2)
        pm.Normal("y", rest + m[0] * x, sigma, observed=given["observed"])
    return model
