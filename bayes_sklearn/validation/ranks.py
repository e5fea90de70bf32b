"""Ranks of true parameters among draws, one simulation after the other."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..estimators.fitting import Fit
from ..inference._compat import diagnostics
from ..inference.problem import SamplerSettings
from ..measurements.compressed import Rows
from ..prediction.draws import draws_of
from ..prediction.mixtures import normal as mixtures
from .simulation import Parameters, Simulation

Array = NDArray[np.float64]

__all__ = ["LOG_LIKELIHOOD", "Outcome", "run"]

LOG_LIKELIHOOD = "log_likelihood"
# It is ranked among so many draws where the posterior is no sampler's.
_DRAWS = 100


class Outcome(NamedTuple):
    """One simulation."""

    ranks: Array | None
    values: Array | None
    engine: str = ""
    warnings: Sequence[str] = ()
    error: str = ""
    tries: int = 1


def run(
    simulation: Simulation,
    indices: NDArray[np.intp],
    parameters: Parameters,
    inference: str,
    settings: SamplerSettings,
) -> list[Outcome]:
    """Run some simulations; those that fail say why."""
    found = []
    for place, index in enumerate(indices):
        own = parameters.at(slice(place * simulation.tries, (place + 1) * simulation.tries))
        # A stream for each simulation, whatever process it runs in.
        rng = np.random.default_rng([settings.seed, int(index), 1])
        seed = int(rng.integers(2**31 - 1))
        found.append(_simulated(simulation, own, inference, replace(settings, seed=seed), rng))
    return found


def _simulated(
    simulation: Simulation,
    parameters: Parameters,
    inference: str,
    settings: SamplerSettings,
    rng: np.random.Generator,
) -> Outcome:
    values, tries = None, len(parameters.B)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            one, rows, tries = simulation.simulate(parameters, rng)
            truth = simulation.on_data_scale(one)
            values = np.append(truth, [] if simulation.binomial else np.nan)
            fitted = simulation.fit(rows, inference, settings)
            ranks, values = _ranks(simulation, rows, fitted, truth, rng)
        except Exception as error:  # whatever it is, it is told
            return Outcome(None, values, error=f"{type(error).__name__}: {error}", tries=tries)
    texts = {f"{warning.category.__name__}: {_without_numbers(str(warning.message))}" for warning in caught}
    return Outcome(ranks, values, fitted.engine, sorted(texts), tries=tries)


def _without_numbers(text: str) -> str:
    """Return what a warning says before its figures and remedies, numbers in it standing for any."""
    return re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "#", re.split(r"[.:;] ", text, maxsplit=1)[0])


def _ranks(
    simulation: Simulation, rows: Rows, fitted: Fit, truth: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the posterior probability of less than each true value, (64), and these values.

    That of the log likelihood comes last, but for shares that the model doesn't state.
    """
    posterior, others = fitted.posterior, simulation.ranked
    at_zero = np.eye(len(posterior.mean))
    at_zero[0, 1:] = -posterior.center
    means, variances = posterior.linear(at_zero)
    found = {"scatter": posterior.scatter, "prior_scale": posterior.prior_scale, **posterior.auxiliary}
    given = {name: values for name, values in found.items() if values is not None}
    given["noise_scale"] = posterior.noise_scale
    jitter = rng.random(len(truth))
    log_likelihood, values = np.empty((0, 0)), truth
    if not simulation.binomial:
        drawn, true = simulation.log_likelihood(rows, fitted, draws_of(posterior, 1, _DRAWS, rng), truth)
        log_likelihood, values = drawn[:, None], np.append(truth, true)
        jitter = np.append(jitter, rng.random())
    if posterior.chains is not None:
        columns = [
            means.T,
            *(given[name][:, None] for name in others),
            log_likelihood.reshape(means.shape[1], -1),
        ]
        kept = independent(posterior.chains.split(np.hstack(columns)))
        return ((kept < values).sum(axis=0) + jitter) / (len(kept) + 1.0), values
    n_lines = len(at_zero)
    of_lines = mixtures.cdf(truth[:n_lines], posterior.weights, means, np.sqrt(variances))
    below = [
        posterior.noise_cdf(value) if name == "noise_scale" else posterior.cdf(name, given[name], value)
        for name, value in zip(others, truth[n_lines:], strict=True)
    ]
    ranks, size = np.append(of_lines, below), len(truth)
    if posterior.log_noise_density is None and len(posterior.weights) > 1 and not posterior.scale_masses:
        # Of weighted draws: so many independent ones are worth as much.
        effective = 1.0 / float(posterior.weights @ posterior.weights)
        ranks = (effective * ranks + jitter[:size]) / (effective + 1.0)
    of_likelihood = ((log_likelihood < values[size:]).sum(axis=0) + jitter[size:]) / (_DRAWS + 1.0)
    return np.append(ranks, of_likelihood), values


def independent(draws: Array) -> Array:
    """Return draws, (chain, draw, parameter), thinned so that they hardly depend on each other, (kept, parameter)."""
    found = diagnostics({"draws": draws})
    effective = np.array([found[measure]["draws"] for measure in ("ess_bulk", "ess_tail")])
    least = float(np.nanmin(effective)) if np.isfinite(effective).any() else 1.0
    step = int(np.ceil(draws.shape[0] * draws.shape[1] / max(least, 1.0)))
    return np.ascontiguousarray(draws[:, ::step]).reshape(-1, draws.shape[2])
