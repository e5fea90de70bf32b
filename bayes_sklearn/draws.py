"""Draws from a fitted posterior, and what they say of rows: new measurements, and the density of those observed.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from .errors import NoiseModel
from .inference import Posterior
from .inference.posterior import row_blocks
from .inference.true_features import TrueFeatures
from .inference.true_mixture import TrueMixture
from .likelihoods import Likelihood, Noise, Observations

Array = NDArray[np.float64]

__all__ = ["Draws", "Observed", "draws_of", "held_against"]

# Points of the quadrature over what the errors of features leave open of the line.
_HERMITE = 15


class Observed(NamedTuple):
    """Rows that a fitted model is held against, those of weight zero left out."""

    X: Array
    """(n, p) features."""
    y: Array
    labels: NDArray[Any]
    standard_error: Array | None
    feature_error: Array | None
    """(n, q, q) covariances of the errors of those features that have any."""
    constant: dict[str, Array]
    """(n,) what else was given with each row."""
    trials: Array | float
    """Behind shares, (n,) or one for all."""


class Draws(NamedTuple):
    """Draws from a posterior, chain after chain."""

    chains: int
    location: Array
    """(G, P) of the coefficients B, about the posterior's center."""
    noise_scale: Array
    """(G,)"""
    true_features: TrueFeatures | TrueMixture | None = None
    """Where features are measured with error: a node for each draw."""
    auxiliary: Mapping[str, Array] = {}
    """Further parameters of the likelihood, (G,) each."""

    def split(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value a draw, (G, ...), as (chain, draw, ...)."""
        return values.reshape(self.chains, -1, *values.shape[1:])


def draws_of(posterior: Posterior, chains: int, draws: int, rng: np.random.Generator) -> Draws:
    """Return a sampler's draws as they are, or independent ones from an exact posterior."""
    if posterior.chains is not None:
        return Draws(
            posterior.chains.count,
            posterior.location,
            posterior.noise_scale,
            posterior.true_features,
            posterior.auxiliary,
        )
    size = chains * draws
    if posterior.log_noise_density is None and len(posterior.weights) > 1:
        nodes = rng.choice(len(posterior.weights), size=size, p=posterior.weights)
        auxiliary = {name: values[nodes] for name, values in posterior.auxiliary.items()}
        true = posterior.true_features
        if true is None:
            location = posterior.location[nodes] + posterior.covariances.draw(nodes, rng)
        else:
            true = true.drawn(nodes, rng)
            location = replace(posterior, true_features=true).measured(None)[0].location
        return Draws(chains, location, posterior.noise_scale[nodes], true, auxiliary)
    # The nodes of the noise scale are few; between them its density is known, and B changes little from one to the
    # next: it is drawn at either neighbour, the nearer the more often.
    scale = posterior.noise_quantiles(rng.random(size))
    order = np.argsort(posterior.noise_scale)
    position = np.interp(np.log(scale), np.log(posterior.noise_scale[order]), np.arange(len(order)))
    nodes = order[np.floor(position + rng.random(size)).astype(np.intp).clip(max=len(order) - 1)]
    return Draws(chains, posterior.location[nodes] + posterior.covariances.draw(nodes, rng), scale)


def held_against(
    likelihood: Likelihood,
    noise_model: NoiseModel,
    observed: Observed,
    draws: Draws,
    center: Array,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Return new measurements of the rows and the log density of those observed, (G, n) each, (14)."""
    if not likelihood.closed_form:
        return _by_likelihood(likelihood, noise_model.noise, observed, draws, center, rng)
    n, size = len(observed.y), len(draws.location)
    parts = noise_model.parts(y_err=observed.standard_error).values()
    fixed, multiplied = (np.broadcast_to(sum(part, np.zeros(())), (n,)) for part in zip(*parts, strict=True))
    predicted, log_likelihood = np.empty((size, n)), np.empty((size, n))
    true, feature_error = draws.true_features, observed.feature_error
    if true is not None and feature_error is not None:
        scale = np.square(draws.noise_scale)
        for rows in row_blocks(n, true.numbers()):
            line = true.line(observed.X[rows], feature_error[rows])
            noise = fixed[rows, None] + multiplied[rows, None] * scale
            log_likelihood[:, rows] = line.log_density(observed.y[rows], noise).T
            mean, variance = line.drawn(rng)
            predicted[:, rows] = (mean + np.sqrt(variance + noise) * rng.standard_normal(noise.shape)).T
        return predicted, log_likelihood
    design = np.column_stack([np.ones(n), observed.X - center])
    # A few draws at a time: nothing else is as large as the answer.
    for block in row_blocks(size, n):
        mean = np.matmul(draws.location[block], design.T, out=predicted[block])
        variance = fixed + multiplied * np.square(draws.noise_scale[block, None])
        log_likelihood[block] = -0.5 * (
            np.square(observed.y - mean) / variance + np.log(2.0 * np.pi * variance)
        )
        mean += np.sqrt(variance) * rng.standard_normal(mean.shape)
    return predicted, log_likelihood


def _by_likelihood(
    likelihood: Likelihood,
    noise: Noise,
    observed: Observed,
    draws: Draws,
    center: Array,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Do as `held_against`, under any likelihood, (31)."""
    n, size, error = len(observed.y), len(draws.location), observed.standard_error
    data = Observations(
        observed.y,
        1.0 if error is None else error,
        noise if error is not None else "scaled",
        observed.trials,
    )
    values = {"noise_scale": draws.noise_scale, **draws.auxiliary}
    predicted, log_likelihood = np.empty((size, n)), np.empty((size, n))
    true, feature_error = draws.true_features, observed.feature_error
    if true is not None and feature_error is not None:
        nodes, weights = np.polynomial.hermite_e.hermegauss(_HERMITE)
        log_weights = np.log(weights / weights.sum())
        for rows in row_blocks(n, true.numbers()):
            line, of_rows = true.line(observed.X[rows], feature_error[rows]), data.take(rows)
            mean, sd = line.mean.T, np.sqrt(line.feature_error).T
            of_draws = {name: value[:, None] for name, value in values.items()}
            logs = [
                log_weight + likelihood.log_density(mean + node * sd, of_draws, of_rows)
                for node, log_weight in zip(nodes, log_weights, strict=True)
            ]
            log_likelihood[:, rows] = logsumexp(logs, axis=0)
            eta = mean + sd * rng.standard_normal(mean.shape)
            predicted[:, rows] = likelihood.draw(eta, of_draws, of_rows, rng)
        return predicted, log_likelihood + np.log(observed.trials)
    design = np.column_stack([np.ones(n), observed.X - center])
    for block in row_blocks(size, n):
        here = {name: value[block, None] for name, value in values.items()}
        eta = draws.location[block] @ design.T
        log_likelihood[block] = likelihood.log_density(eta, here, data) + np.log(observed.trials)
        predicted[block] = likelihood.draw(eta, here, data, rng)
    return predicted, log_likelihood
