"""The NUTS engine: how each kind of problem is put to a sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...priors.base import ScaleMixture
from ..exact import engine as exact
from ..posterior import Posterior, SharedBasis
from ..problem import Problem, SamplerSettings
from . import latent as pymc_latent
from . import mixture as pymc_mixture
from . import pymc_features
from . import readable_model as pymc_model
from . import rows as pymc_likelihoods
from .compressed_rows import CompressedData, compressed_data
from .latent import latent_data
from .mixture import mixture_data
from .prior_coordinates import pilot_of
from .pymc_priors import missing_distribution
from .rows import likelihood_data
from .sampler import Draws, SamplerModel, SamplerOptions, check_convergence, sample
from .structural import measured_data

__all__ = ["Formulation", "formulations"]

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]

# Times that the range of the scatter is widened where draws leave it.
_WIDENINGS = 3

# What a sampler returns beside a mixture's scales.
_NOT_SCALES = ("u", "B", "s", "noise_scale", "sd", "scatter")

# Draws that are in hand at once where coefficients are drawn given their scales.
_BLOCK_NUMBERS = 2**20


@dataclass(frozen=True, eq=False)
class Formulation:
    """A problem as a sampler gets it."""

    model: SamplerModel
    posterior: Callable[[Draws], Posterior]
    """Makes nodes of equal weight of draws."""
    holds: Callable[[Draws], bool] = lambda draws: True
    """Says whether the model is the problem's wherever draws are."""


def formulations(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Yield the problem as a sampler gets it; again, for a wider range of parameters, where draws left the first.

    Raises
    ------
    ValueError
        Where the posterior is improper, or rows are not such as the model takes.
    """
    closed_form = problem.likelihood.is_normal
    if problem.feature_errors is None:
        of = _on_compressed_rows if closed_form else _on_rows
    elif not closed_form:
        of = _sampling_true_features
    else:
        of = _integrating_true_features if problem.n_components == 1 else _integrating_a_mixture
    yield from of(problem, settings)


def _model(
    problem: Problem,
    arrays: Mapping[str, Array | float],
    build: Callable[[Problem, Mapping[str, Array | float]], pm.Model],
) -> SamplerModel:
    return SamplerModel(pymc_model.structure(problem), arrays, partial(build, problem, arrays))


def _sampling_true_features(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Errors of features under a likelihood without closed form."""
    data = latent_data(problem, settings.seed)
    yield Formulation(
        _model(problem, data.arrays, pymc_latent.sampler_model),
        lambda draws: data.posterior(problem, draws.values, draws.chains),
    )


def _integrating_true_features(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Errors of features under the normal likelihood."""
    data = measured_data(problem, settings.seed)
    yield Formulation(
        _model(problem, data.arrays, pymc_features.sampler_model),
        lambda draws: data.posterior(problem, draws.values, draws.chains),
    )


def _integrating_a_mixture(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Errors of features whose true values are a mixture, under the normal likelihood."""
    data = mixture_data(problem, settings.seed)
    yield Formulation(
        _model(problem, data.arrays, pymc_mixture.sampler_model),
        lambda draws: data.posterior(problem, draws.flat("u"), draws.chains),
    )


def _on_rows(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Exact features under a likelihood without closed form."""
    arrays = likelihood_data(problem)
    model = _model(problem, arrays, pymc_likelihoods.sampler_model)
    yield Formulation(model, partial(_of_rows, problem, settings.seed))


def _of_rows(problem: Problem, seed: int, draws: Draws) -> Posterior:
    """Return draws of `pymc_likelihoods.sampler_model` as nodes."""
    auxiliary = {parameter.name: draws.flat(parameter.name) for parameter in problem.auxiliary}
    scale, scatter = auxiliary.pop("noise_scale", None), auxiliary.pop("scatter", None)
    if "geometry" in draws.values:
        return replace(following_nodes(problem, draws, seed, scale, auxiliary), scatter=scatter)
    others = {*_NOT_SCALES, *auxiliary}
    scales = {name: values for name, values in draws.values.items() if name not in others}
    location = np.zeros((len(draws.flat("u")), problem.rows.n_features + 1))
    location[:, int(not problem.fit_intercept) :] = draws.flat("B")
    return replace(_nodes(location, scale, draws, scales, auxiliary), scatter=scatter)


def _on_compressed_rows(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Exact features under the normal likelihood; the range of additive noise may prove too narrow."""
    pilot = pilot_of(problem)
    start = exact.solve(pilot, settings, approximate=True)
    groups = pilot.groups if problem.noise.scatters else None
    for widening in range(_WIDENINGS):
        data = compressed_data(problem, start, groups, widening)
        yield Formulation(
            _model(problem, data.arrays, pymc_model.sampler_model),
            partial(_of_compressed_rows, problem, data, settings.seed),
            partial(_inside, data),
        )


def _inside(data: CompressedData, draws: Draws) -> bool:
    return data.holds(draws.values.get("s"), draws.values.get("scatter"))


def _of_compressed_rows(problem: Problem, data: CompressedData, seed: int, draws: Draws) -> Posterior:
    """Return draws of `pymc_model.sampler_model` as nodes; coefficients with scales are drawn given these."""
    p, u = problem.rows.n_features, draws.flat("u")
    scale = draws.flat("s") if "s" in draws.values else np.ones(len(u))
    scatter = draws.flat("scatter") if problem.noise.combined else None
    if "geometry" in draws.values:
        return replace(following_nodes(problem, draws, seed, scale), scatter=scatter)
    location = np.zeros((len(u), p + 1))
    if "B" in draws.values:
        B = draws.flat("B")
        first = int(not problem.fit_intercept)
        location[:, first : first + B.shape[1]] = B
    scales: dict[str, Array] = {}
    if isinstance(problem.coef_prior, ScaleMixture):
        rng, sd = np.random.default_rng(seed), draws.flat("sd")
        block = max(1, _BLOCK_NUMBERS // (p + 2) ** 2)
        for start in range(0, len(u), block):
            here = slice(start, start + block)
            rows = data.rows(scale[here], None if scatter is None else scatter[here])
            target = rows[:, :, -1]
            if problem.fit_intercept:
                target = target - rows[:, :, 0] * u[here, :1]
            location[here, 1:] = _given_scales(rows[:, :, -1 - p : -1], target, sd[here], rng)
        scales = {name: draws.values[name] for name in draws.values if name not in _NOT_SCALES}
    return replace(_nodes(location, scale, draws, scales), scatter=scatter)


def following_nodes(
    problem: Problem,
    draws: Draws,
    seed: int,
    noise_scale: Array | None,
    auxiliary: Mapping[str, Array] | None = None,
) -> Posterior:
    """Return draws of coefficients that follow their prior as nodes: each of one of its geometries, (18b)."""
    B, geometry = draws.flat("B"), draws.flat("geometry")
    probability = np.exp(geometry - geometry.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    below = np.random.default_rng(seed).random(len(B))[:, None] > probability.cumsum(axis=1)[:, :-1]
    location = np.zeros((len(B), problem.rows.n_features + 1))
    location[:, int(not problem.fit_intercept) :] = B[np.arange(len(B)), below.sum(axis=1)]
    return replace(
        _nodes(location, noise_scale, draws, {}, auxiliary),
        prior_scale=draws.flat("prior_scale") if "prior_scale" in draws.values else None,
        geometry=probability.mean(axis=0) if probability.shape[1] > 1 else None,
    )


def _given_scales(design: Array, target: Array, sd: Array, rng: np.random.Generator) -> Array:
    """Draw coefficients given noise of unit variance and their own standard deviations, (19).

    Parameters
    ----------
    design : ndarray of shape (G, K, p)
    target : ndarray of shape (G, K)
    sd : ndarray of shape (G, p)
    """
    scaled = design * sd[:, None, :]
    prior = rng.standard_normal(sd.shape)
    noise = rng.standard_normal(target.shape)
    covariance = scaled @ scaled.transpose(0, 2, 1)
    covariance += np.eye(target.shape[1])
    misfit = target - np.einsum("gkp,gp->gk", scaled, prior) - noise
    solved = np.linalg.solve(covariance, misfit[:, :, None])[:, :, 0]
    return sd * (prior + np.einsum("gkp,gk->gp", scaled, solved))


def _nodes(
    location: Array,
    noise_scale: Array | None,
    draws: Draws,
    scales: Mapping[str, Array],
    auxiliary: Mapping[str, Array] | None = None,
) -> Posterior:
    """Return coefficients, (G, P), and what else was drawn as nodes of equal weight."""
    size, P = location.shape
    return Posterior(
        weights=np.full(size, 1.0 / size),
        location=location,
        covariances=SharedBasis(np.zeros((P, 0)), np.zeros((size, 0))),
        noise_scale=np.ones(size) if noise_scale is None else noise_scale,
        center=np.zeros(P - 1),
        chains=replace(draws.chains, scales=scales),
        auxiliary=auxiliary or {},
    )


NAME = "nuts"

_TARGET_ACCEPT = 0.9

# With errors of features: where the true features' spread may be small, the posterior is bent.
_TARGET_ACCEPT_BENT = 0.95


def why_not(problem: Problem) -> str | None:
    """Return why this engine can't take the problem, or None."""
    if not problem.likelihood.is_normal and problem.feature_errors is not None:
        if problem.n_components > 1:
            return f"x_distribution='mixture' takes the normal likelihood, not {problem.likelihood!r}"
        if problem.feature_errors.with_target is not None:
            return f"Xy_cov takes the normal likelihood, not {problem.likelihood!r}"
    if problem.feature_errors is not None and isinstance(problem.coef_prior, ScaleMixture):
        return (
            f"beside errors in X it doesn't take the scales of coef_prior={problem.coef_prior!r}: use Laplace(),"
            " StudentT() or Normal(), or sample the model that to_pymc returns"
        )
    missing = missing_distribution(problem)
    return None if missing is None else f"PyMC has no distribution for {missing}"


def solve(problem: Problem, settings: SamplerSettings) -> Posterior:
    """Return the posterior in the model's units: a node for each draw, (15).

    Raises
    ------
    ValueError
        Where the posterior is improper, or the sampler doesn't take the settings.

    Warns
    -----
    ConvergenceWarning
        Where the draws are not to be trusted: what is wrong, and what to change.
    """
    accept = _TARGET_ACCEPT if problem.feature_errors is None else _TARGET_ACCEPT_BENT
    options = SamplerOptions.of(settings, accept)
    for formulation in formulations(problem, settings):
        draws = sample(formulation.model, settings, options)
        if formulation.holds(draws):
            break
    posterior = formulation.posterior(draws)
    check_convergence(problem, posterior, settings, options)
    return posterior
