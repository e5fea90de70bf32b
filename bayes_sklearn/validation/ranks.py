"""Ranks of true parameters among draws, one simulation after the other, and whether they are uniform."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..estimators.fitting import Fit
from ..inference._compat import diagnostics
from ..inference.settings import SamplerSettings
from ..likelihoods.limited import Censored, selected
from ..measurements.compressed import Rows
from ..prediction.draws import Draws, draws_of
from ..prediction.mixtures import normal as mixtures
from ..prediction.rows_given_draws import GivenDraws, Observed
from .simulation import Parameters, Simulation

__all__ = ["LOG_LIKELIHOOD", "Outcome", "UniformBand", "run", "uniform_band", "uniformity_p_value"]

Array = NDArray[np.float64]

# Tail probabilities that differ by no more than this, relative to themselves, are the same.
_ROUNDING = 1e-9


class UniformBand(NamedTuple):
    """Where the empirical distribution function of uniform numbers is, all along at once."""

    places: Array
    """(K,) in (0, 1)."""
    lower: Array
    """(K,) least share of the numbers up to each place."""
    upper: Array
    """(K,) largest share."""


class _Places:
    """The places at which n numbers are counted, and how far out each count is at each of them, (65)."""

    def __init__(self, n: int):
        # Places at which distribution functions are looked at.
        places = 100
        self.n, self.parts = n, min(max(n, 2), places)
        self.places = np.arange(1, self.parts) / self.parts
        counts = np.arange(n + 1)
        binomial = stats.binom(n, self.places[:, None])
        self.tail = 2.0 * np.minimum(binomial.cdf(counts), binomial.sf(counts - 1))
        """(K, n + 1) twice the smaller tail probability of each count."""

    def probability_inside(self, least: float) -> float:
        """Return the probability that no place has a count whose tail is below this, (66).

        Counts between places are independent Poisson variables given their sum: their distribution is that of a
        walk with the same steps everywhere.
        """
        step = stats.poisson.pmf(np.arange(self.n + 1), self.n / self.parts)
        step = step[: int(np.flatnonzero(step > 0.0)[-1]) + 1]
        walk = np.zeros(self.n + 1)
        walk[0] = 1.0
        for inside in self.tail >= least * (1.0 - _ROUNDING):
            walk = np.convolve(walk, step)[: self.n + 1] * inside
        last = walk[::-1][: len(step)] @ step[: self.n + 1]
        return min(float(last / stats.poisson.pmf(self.n, self.n)), 1.0)


def uniformity_p_value(values: Array) -> float:
    """Return how probable numbers as far from uniform are, of independent uniform ones, (65) and (66).

    The statistic is the least tail probability that the number of values up to a place has (binomial), over 99 evenly
    spaced places: against numbers that crowd at the ends or in the middle it is stronger than Kolmogorov & Smirnov's.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Between 0 and 1.

    References
    ----------
    .. [1] Säilynoja, Bürkner & Vehtari (2022), "Graphical test for discrete uniformity and its applications in
       goodness-of-fit evaluation and multiple sample comparison", Statistics and Computing 32:32.
    """
    at = _Places(len(values))
    counts = np.searchsorted(np.sort(values), at.places, side="right")
    least = float(at.tail[np.arange(len(at.places)), counts].min())
    # What lies farther in than this is inside; what is as far out is not.
    return min(max(1.0 - at.probability_inside(least * (1.0 + 3.0 * _ROUNDING)), 0.0), 1.0)


def uniform_band(n: int, level: float) -> UniformBand:
    """Return limits between which the distribution function of n uniform numbers is everywhere, with a probability.

    Parameters
    ----------
    n : int
    level : float
        The probability, which is at least that.
    """
    at = _Places(n)
    candidates = np.unique(at.tail)
    low, high = 0, len(candidates) - 1  # the lowest keeps all
    while low < high:
        middle = (low + high + 1) // 2
        if at.probability_inside(float(candidates[middle])) >= level:
            low = middle
        else:
            high = middle - 1
    inside = at.tail >= candidates[low] * (1.0 - _ROUNDING)
    lower = inside.argmax(axis=1)
    upper = n - inside[:, ::-1].argmax(axis=1)
    return UniformBand(at.places, lower / n, upper / n)


LOG_LIKELIHOOD = "log_likelihood"


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
            one, rows, tries, errors = simulation.simulate(parameters, rng)
            truth = simulation.on_data_scale(one)
            values = np.append(truth, [] if simulation.binomial else np.nan)
            fitted = simulation.seeing(errors).fit(rows, inference, settings)
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
    draws = 100  # among which the log likelihood is ranked where the posterior is no sampler's
    at_zero = np.eye(len(posterior.mean))
    at_zero[0, 1:] = -posterior.center
    means, variances = posterior.linear(at_zero)
    found = {"scatter": posterior.scatter, "prior_scale": posterior.prior_scale, **posterior.further}
    if posterior.effects is not None:
        found |= posterior.effects.by_key
    given = {name: values for name, values in found.items() if values is not None}
    given["noise_scale"] = posterior.noise_scale
    jitter = rng.random(len(truth))
    log_likelihood, values = np.empty((0, 0)), truth
    if not simulation.binomial:
        drawn, true = _log_likelihood(simulation, rows, fitted, draws_of(posterior, 1, draws, rng), truth)
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
    of_likelihood = ((log_likelihood < values[size:]).sum(axis=0) + jitter[size:]) / (draws + 1.0)
    return np.append(ranks, of_likelihood), values


def _log_likelihood(
    simulation: Simulation, rows: Rows, fitted: Fit, draws: Draws, values: Array
) -> tuple[Array, float]:
    """Return the log density of simulated targets at draws from the posterior, (G,), and at the true values.

    Measured features are taken as they are, whatever their errors: as (63) holds for any function of parameters
    and data, one that needs no integral will do.

    Parameters
    ----------
    rows : Rows
    fitted : Fit
        To these rows.
    draws : Draws
        From its posterior.
    values : ndarray
        As `Simulation.on_data_scale` returns them.
    """
    problem, center = fitted.problem, fitted.posterior.center
    coef, others = (
        values[1 : len(center) + 1],
        dict(zip(simulation.ranked, values[len(center) + 1 :], strict=True)),
    )
    true = np.append(values[0] + center @ coef, coef)
    both = Draws(
        1,
        np.vstack([draws.location, true]),
        np.append(draws.noise_scale, others.get("noise_scale", 1.0)),
        auxiliary={name: np.append(drawn, others[name]) for name, drawn in draws.auxiliary.items()},
        scatter=None if draws.scatter is None else np.append(draws.scatter, others["scatter"]),
    )
    error = problem.standard_error
    observed = Observed(
        np.asarray(rows.take(slice(None)), dtype=np.float64),
        rows.y,
        np.arange(len(rows.y)),
        None if error is None else np.broadcast_to(error, rows.y.shape),
        None,
        {},
        1.0 if problem.trials is None else problem.trials,
        limits=rows.limits,
    )
    likelihood = selected(problem.likelihood, problem.truncation)
    likelihood = likelihood if rows.limits is None else Censored(likelihood)
    given = GivenDraws(likelihood, problem.noise, observed, both, center)
    total = np.sum([given.at(block).log_density().sum(axis=1) for block in given.blocks()], axis=0)
    return total[:-1], float(total[-1])


def independent(draws: Array) -> Array:
    """Return draws, (chain, draw, parameter), thinned so that they hardly depend on each other, (kept, parameter)."""
    found = diagnostics({"draws": draws})
    effective = np.array([found[measure]["draws"] for measure in ("ess_bulk", "ess_tail")])
    least = float(np.nanmin(effective)) if np.isfinite(effective).any() else 1.0
    step = int(np.ceil(draws.shape[0] * draws.shape[1] / max(least, 1.0)))
    return np.ascontiguousarray(draws[:, ::step]).reshape(-1, draws.shape[2])
