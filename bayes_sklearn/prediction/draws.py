"""Draws from a fitted posterior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inference.posterior import Posterior
from ..inference.structural.true_features import TrueFeatures
from ..inference.structural.true_mixture import TrueMixture

__all__ = ["Draws", "draws_of"]

Array = NDArray[np.float64]


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
    scatter: Array | None = None
    """(G,) noise "auto": the scatter beside the multiplied errors; else None."""
    prior_scale: Array | None = None
    """(G,) the scale of the coefficients' prior, where it is learned."""
    nodes: NDArray[np.intp] | None = None
    """(G,) the posterior's nodes that they are of; None: each is one."""

    @property
    def values(self) -> dict[str, Array]:
        """All parameters of the likelihood by name, (G,) each."""
        scatter = {} if self.scatter is None else {"scatter": self.scatter}
        return {"noise_scale": self.noise_scale, **scatter, **self.auxiliary}

    @property
    def further(self) -> dict[str, Array]:
        """Further parameters by name, (G,) each: the likelihood's, and those of wild readings."""
        true = self.true_features
        return {**self.auxiliary, **(true.outliers if isinstance(true, TrueMixture) else {})}

    def split(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value per draw, (G, ...), as (chain, draw, ...)."""
        return values.reshape(self.chains, len(values) // self.chains, *values.shape[1:])


def draws_of(posterior: Posterior, chains: int, draws: int, rng: np.random.Generator) -> Draws:
    """Return a sampler's draws as they are, or independent ones from an exact posterior."""
    if posterior.chains is not None:
        return Draws(
            posterior.chains.count,
            posterior.location,
            posterior.noise_scale,
            posterior.true_features,
            posterior.auxiliary,
            posterior.scatter,
            posterior.prior_scale,
            None if posterior.effects is None else np.arange(len(posterior.weights)),
        )
    size = chains * draws
    if posterior.log_noise_density is None and len(posterior.weights) > 1:
        nodes = rng.choice(len(posterior.weights), size=size, p=posterior.weights)
        auxiliary = {name: values[nodes] for name, values in posterior.auxiliary.items()}
        true = posterior.true_features
        if true is None:
            deviation = posterior.covariances.draw(nodes, rng)
        else:
            true = true.drawn(nodes, rng)
            location = replace(posterior, true_features=true).measured(None)[0].location
        noise_scale, scatter, prior_scale = (
            _scale_at(posterior, name, nodes, rng) for name in ("noise_scale", "scatter", "prior_scale")
        )
        if noise_scale is None:
            raise AssertionError  # for the type checker
        if true is None:
            deviation *= _wider(posterior, nodes, noise_scale, scatter)[:, None]
            location = posterior.location[nodes] + deviation
        return Draws(chains, location, noise_scale, true, auxiliary, scatter, prior_scale, nodes)
    # The nodes of the noise scale are few; between them its density is known, and B changes little from one to the
    # next: it is drawn at either neighbour, the nearer the more often.
    scale = posterior.noise_quantiles(rng.random(size))
    order = np.argsort(posterior.noise_scale)
    position = np.interp(np.log(scale), np.log(posterior.noise_scale[order]), np.arange(len(order)))
    nodes = order[np.floor(position + rng.random(size)).astype(np.intp).clip(max=len(order) - 1)]
    return Draws(chains, posterior.location[nodes] + posterior.covariances.draw(nodes, rng), scale)


def _wider(posterior: Posterior, nodes: NDArray[np.intp], noise_scale: Array, scatter: Array | None) -> Array:
    """Return by what factor lines lie farther off the data for the noise that was drawn than for the nodes'."""
    share = posterior.error_share
    if share is None:
        return np.ones(len(nodes))
    variance = share[nodes] * np.square(noise_scale / posterior.noise_scale[nodes])
    if scatter is not None and posterior.scatter is not None:
        variance += (1.0 - share[nodes]) * np.square(scatter / posterior.scatter[nodes])
    return np.sqrt(variance)


def _scale_at(
    posterior: Posterior, name: str, nodes: NDArray[np.intp], rng: np.random.Generator
) -> Array | None:
    """Return draws of a scale of which nodes were drawn: where few stand for many, of what each stands for."""
    values: Array | None = getattr(posterior, name)
    if values is None or name not in posterior.scale_masses:
        return None if values is None else values[nodes]
    order = np.argsort(values)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    below = np.append(0.0, np.cumsum(posterior.weights[order]))[place[nodes]]
    share = below + rng.random(len(nodes)) * posterior.weights[nodes]
    return posterior.quantiles(name, values, share)
