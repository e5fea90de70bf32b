"""The posterior of a regression with any likelihood: coefficients and the likelihood's own parameters are sampled.

Newton's method finds the mode, the curvature there the first proposal of importance sampling.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ...priors.coefficients import Normal, PoweredCorrelation
from ..node_covariances import SharedBasis
from ..numerics.importance_sampling import Component, Sample, fitted, pareto_smoothed, sample
from ..posterior import Posterior
from ..problem import Problem
from ..propriety import warn_of_no_noise
from .noise_coordinates import FollowingNoise, Parted, all_peaks, anchored, other_modes, settle
from .regression_density import RegressionDensity, climb

Array = NDArray[np.float64]

# Nodes, and row-nodes above which they are fewer: the more rows, the nearer to normal is the posterior.
_NODES, _FEWEST = 4096, 1024

# Peaks that rounds of draws begin with.
_MOST_PEAKS = 4


def find_proposal(density: RegressionDensity) -> tuple[FollowingNoise | None, Component]:
    """Return the normal approximation, and the coordinates it is in where they are not the density's own.

    Under priors that are not Gaussian it is found more than once: over which width they are averaged is what the time
    before, with Gaussians about as wide, shows.
    """
    k, point = density.n_coefficients, density.start
    follows = bool({"noise_scale", "prior_scale"} & {parameter.name for parameter in density.parameters})
    follows = follows or density.problem.likelihood.is_normal  # there may be other peaks
    width = np.ones(k)
    if not density.priors.gaussian:
        for of in (density.gaussian_like(), density):
            component = climb(of, point[: of.size], width, k if follows else None)
            point = np.append(component.center, point[of.size :])
            width = np.linalg.norm(density.basis @ component.root[:k, :k], axis=1)
    return settle(density, width) if follows else (None, climb(density, point, width))


def solve_regression(problem: Problem, n_nodes: int | None = None, seed: int = 0) -> tuple[Posterior, Sample]:
    """Return the posterior in the model's units, and what it was made of.

    Parameters
    ----------
    problem : Problem
    n_nodes : int, optional
        Nodes, best a power of two; by default 4096, fewer where rows are many. There may be up to three times as
        many, where so many are worth too little.
    seed : int, default=0

    Returns
    -------
    posterior : Posterior
    sample : Sample
        Of all geometries of the prior, the points being those of B. It is for the caller to look at its `doubts`.
    """
    many, densities = 2**22, _densities(problem)
    if n_nodes is None:
        n_nodes, n_rows = _NODES, len(densities[0].table.data.y)
        while n_nodes > _FEWEST and n_nodes * n_rows > many:
            n_nodes //= 2
    proposals = [find_proposal(density) for density in densities]
    expected = np.array([_log_mass(*pair) for pair in zip(densities, proposals, strict=True)])
    share = np.exp(expected - logsumexp(expected))
    rng = np.random.default_rng(seed)
    # Nodes of a geometry of the prior at least.
    least = 256
    sizes = np.exp2(np.rint(np.log2(np.maximum(share * n_nodes, min(least, n_nodes))))).astype(np.intp)
    found = [
        _sampled(density, *proposal, int(size), rng)
        for density, proposal, size in zip(densities, proposals, sizes, strict=True)
    ]
    log_totals = np.array([sample.log_total for sample in found]) - np.log(len(found))
    log_totals += [density.log_volume for density in densities]
    log_total = float(logsumexp(log_totals))
    geometry = np.exp(log_totals - log_totals.max())
    geometry /= geometry.sum()
    posterior = _posterior(problem, densities, found, geometry)
    if problem.priors_proper:
        posterior = replace(posterior, log_evidence=log_total + problem.log_jacobian)
    whole = Sample(
        posterior.location,
        posterior.weights,
        log_total,
        found[0].k_hat if len(found) == 1 else _k_hat(posterior.weights),
        float(1.0 / np.square(posterior.weights).sum()),
        tuple(dict.fromkeys(reason for sample in found for reason in sample.further)),
    )
    # Noise scales of so many times the data's resolution are rounding.
    few_times = 3.0
    if not whole.doubts and problem.noise.only_multiplies and problem.likelihood.link.is_identity:
        at_the_end = posterior.noise_scale < few_times * problem.resolution()
        if posterior.weights @ at_the_end > 1e-3:
            warn_of_no_noise()
    return posterior, whole


def _k_hat(weights: Array) -> float:
    """Return the shape of the tail of weights, (G,)."""
    with np.errstate(divide="ignore"):
        return pareto_smoothed(np.log(weights))[1]


def _densities(problem: Problem) -> list[RegressionDensity]:
    """Return the density under every geometry of the coefficients' prior, (8a).

    Coefficients of a powered correlation prior are independent and alike in its own directions.
    """
    prior = problem.coef_prior
    if not isinstance(prior, PoweredCorrelation):
        return [RegressionDensity(problem)]
    # The roots don't depend on what the intercept has.
    like = problem if problem.intercept_prior is None else replace(problem, intercept_prior=Normal())
    found = like.conditional_prior
    if found is None:  # for the type checker
        raise AssertionError
    alike = replace(problem, coef_prior=Normal(sigma=1.0 if prior.scale_prior is None else prior.scale_prior))
    return [RegressionDensity(alike, root) for root in found.roots]


def _log_mass(density: RegressionDensity, proposal: tuple[FollowingNoise | None, Component]) -> float:
    """Return the log of the normal approximation's integral, but for what all geometries have alike."""
    coordinates, component = proposal
    log_density = (density if coordinates is None else coordinates)(component.center[None])[0]
    return float(log_density + np.linalg.slogdet(component.root)[1]) + density.log_volume


def _sampled(
    density: RegressionDensity,
    coordinates: FollowingNoise | None,
    proposal: Component,
    n_nodes: int,
    rng: np.random.Generator,
) -> Sample:
    """Return weighted points (gamma, coordinates of the others)."""
    # Where a parameter is less than so many standard deviations away from zero, its image on the other side counts.
    separate = 8.0
    starts, following = [proposal], None
    further: tuple[str, ...] = ()
    if coordinates is not None:
        peaks = all_peaks(coordinates, proposal)
        if len(peaks) > _MOST_PEAKS:
            further = (f"it has found more than {_MOST_PEAKS} peaks, and there may be others",)
        coordinates, proposal = peaks[0]
        starts = [proposal, *(coordinates.from_other(*peak) for peak in peaks[1:])]
        starts += [*other_modes(coordinates, proposal), *_for_small_noise(density, proposal)]
        following = Parted.of(anchored(coordinates, proposal), density)
        if isinstance(following, Parted):
            starts = [following.component(start) for start in starts]
    near = density.folded & (np.abs(proposal.center) < separate * proposal.scale)
    # Degrees of freedom of the proposals, as many as dimensions within these bounds: in few dimensions heavy tails
    # cost little and are worth having.
    degrees_of_freedom = (7.0, 30.0)
    found = sample(
        density if following is None else following,
        starts,
        n_nodes,
        rng,
        images=_reflections(near),
        widen=lambda points, log_weights, component: _widened(density.folded, points, log_weights, component),
        degrees_of_freedom=float(np.clip(density.size, *degrees_of_freedom)),
    )
    if following is not None:
        found = found._replace(points=following.points(found.points))
    return found._replace(further=further)


def _for_small_noise(density: RegressionDensity, proposal: Component) -> list[Component]:
    """Return a proposal that is wider along the noise, where rows are few for the columns, or it has two scales.

    The density then falls slowly towards none of it, further than any proposal that is fitted would reach.
    """
    problem, k, few, wider = density.problem, density.n_coefficients, 2.0, 3.0
    vanishing = problem.noise.combined or problem.total_weight < few * k
    if not (problem.likelihood.is_normal and vanishing and density.size > k):
        return []
    root = proposal.root.copy()
    root[k:] *= wider
    return [proposal._replace(root=root)]


def _widened(folded: NDArray[np.bool_], points: Array, log_weights: Array, component: Component) -> Component:
    """Return the t fitted to the draws and their images, where those are not far from each other.

    What is left of the density where a parameter is zero would else be in the tail of every proposal.
    """
    # One less than so many away is covered down to zero.
    close = 5.0
    images = _reflections(folded & (np.abs(component.center) < close * component.scale))
    return fitted(np.concatenate(list(points @ images)), np.tile(log_weights, len(images)), component)


def _reflections(near: NDArray[np.bool_]) -> Array:
    """Return the identity and the changes of sign of each of these coordinates, (I, d, d)."""
    signs = np.ones((1, len(near)))
    for i in np.flatnonzero(near):
        other = signs.copy()
        other[:, i] = -1.0
        signs = np.concatenate([signs, other])
    return np.asarray(signs[:, :, None] * np.eye(len(near)))


def _posterior(
    problem: Problem, densities: list[RegressionDensity], found: list[Sample], geometry: Array
) -> Posterior:
    """Return the points of all geometries, whose probabilities these are, as nodes."""
    location = np.concatenate(
        [density.coefficients(sample.points) for density, sample in zip(densities, found, strict=True)]
    )
    if not problem.fit_intercept:
        location = np.column_stack([np.zeros(len(location)), location])
    of_each = [density.values(sample.points) for density, sample in zip(densities, found, strict=True)]
    others = {name: np.concatenate([values[name] for values in of_each]) for name in of_each[0]}
    p, size = problem.rows.n_features, len(location)
    return Posterior(
        weights=np.concatenate([part * sample.weights for part, sample in zip(geometry, found, strict=True)]),
        location=location,
        covariances=SharedBasis(np.zeros((p + 1, 0)), np.zeros((size, 0))),
        noise_scale=others.pop("noise_scale", np.ones(size)),
        center=np.zeros(p),
        scatter=others.pop("scatter", None),
        prior_scale=others.pop("prior_scale", None),
        geometry=geometry if len(geometry) > 1 else None,
        auxiliary=others,
    )
