"""The reference model, written out in PyMC and sampled by NUTS.

Each row is a share y of N messages, measured with standard error

    y_err = sqrt(p (1 - p) / N) + 0.1,

and modelled linearly in the features, with an unknown multiple s of the errors as noise. PyMC is
imported only when a model is built, so that collecting the tests does not pay for it.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LOG_DENSITY_ARGUMENTS",
    "Draws",
    "Phones",
    "log_densities",
    "make_phones",
    "monte_carlo_error",
    "sample",
    "standard_error",
]

Array = NDArray[np.float64]

LOG_DENSITY_ARGUMENTS: dict[str, dict[str, float]] = {
    "HalfNormal": {"sigma": 0.6},
    "HalfStudentT": {"nu": 3.0, "sigma": 0.7},
    "HalfCauchy": {"beta": 0.5},
    "Exponential": {"lam": 1.7},
    "InverseGamma": {"alpha": 2.5, "beta": 1.2},
    "HalfFlat": {},
}


@dataclass(frozen=True)
class Phones:
    """Simulated shares: features X, shares y and the number of messages behind each."""

    X: Array
    y: Array
    messages: Array

    @property
    def y_err(self) -> Array:
        """Standard error of each share."""
        return standard_error(self.y, self.messages)


@dataclass(frozen=True)
class Draws:
    """Posterior draws, each with leading axes (chain, draw)."""

    coef: Array
    intercept: Array
    scale: Array
    n_divergent: int


def standard_error(share: Array, messages: Array) -> Array:
    """Binomial standard error of a share, and a tenth."""
    return np.sqrt(share * (1.0 - share) / messages) + 1e-1


def make_phones(n: int, random_state: int) -> Phones:
    """Shares strictly between 0 and 1 that are noisier than their counts alone would make them."""
    rng = np.random.default_rng(random_state)
    X = rng.beta(2.0, 4.0, size=(n, 4)) * np.array([1.0, 0.4, 1.5, 1.0])
    mean = np.clip(0.1 + X @ np.array([0.3, -0.2, 0.15, 0.25]), 0.02, 0.98)
    share = rng.beta(8.0 * mean, 8.0 * (1.0 - mean))
    messages = np.ceil(rng.lognormal(3.0, 1.0, n)) + 2.0
    on_topic = np.clip(rng.binomial(messages.astype(int), share), 1, messages - 1)
    return Phones(X, on_topic / messages, messages)


def sample(
    X: Array,
    y: Array,
    y_err: Array,
    noise: Literal["scaled", "additive"],
    draws: int,
    random_state: int,
) -> Draws:
    """Draws from the posterior of the reference model, or of the one whose scatter adds to y_err.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Features.
    y : ndarray of shape (n,)
        Target.
    y_err : ndarray of shape (n,)
        Known standard errors of the target.
    noise : {"scaled", "additive"}
        Standard deviation of a measurement: s y_err, or sqrt(s^2 + y_err^2).
    draws : int
        Draws kept from each of four chains.
    random_state : int
        Seed. Compiled code may still round differently from one process to the next, and the
        draws then differ: what is tested on them has to hold for other draws, too.

    Returns
    -------
    Draws
    """
    with _quietly():
        import pymc as pm

        with pm.Model():
            m = pm.Normal("m", 0.0, 1.0, shape=X.shape[1])
            b = pm.Normal("b", 0.0, 1.0)
            s = pm.HalfNormal("s", 1.0)
            sigma = s * y_err if noise == "scaled" else pm.math.sqrt(s**2 + y_err**2)
            pm.Normal("y", X @ m + b, sigma, observed=y)
            trace: Any = pm.sample(
                draws=draws,
                tune=1000,
                chains=4,
                cores=2,
                random_seed=random_state,
                nuts_sampler="nutpie",
                progressbar=False,
                compute_convergence_checks=False,
            )
        posterior = trace.posterior
        return Draws(
            coef=np.asarray(posterior["m"]),
            intercept=np.asarray(posterior["b"]),
            scale=np.asarray(posterior["s"]),
            n_divergent=int(np.asarray(trace.sample_stats["diverging"]).sum()),
        )


def log_densities(s: Array) -> dict[str, Array]:
    """Log densities of the scale priors at s, with the parameters of ``LOG_DENSITY_ARGUMENTS``."""
    with _quietly():
        import pymc as pm

        names = list(LOG_DENSITY_ARGUMENTS)
        variables = [pm.logp(getattr(pm, name).dist(**LOG_DENSITY_ARGUMENTS[name]), s) for name in names]
        values = pm.pytensorf.compile([], variables, mode="FAST_COMPILE")()
    return dict(zip(names, map(np.asarray, values), strict=True))


def monte_carlo_error(values: Array) -> float:
    """Give the standard error of the mean of draws (chain, draw), by effective sample size."""
    with _quietly():
        import arviz

        effective = float(arviz.ess(values, method="mean"))
    return float(np.std(values, ddof=1) / np.sqrt(effective))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without ArviZ's, PyTensor's and PyMC's own warnings and announcements."""
    logger = logging.getLogger("pymc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
