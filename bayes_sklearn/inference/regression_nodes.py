"""The posterior of a regression with any likelihood: coefficients and the likelihood's own parameters are sampled.

Newton's method finds the mode, the curvature there the first proposal of importance sampling.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .importance_sampling import Component, Sample, fitted, sample
from .noise_coordinates import FollowingNoise, settle
from .posterior import Posterior, SharedBasis
from .problem import Problem
from .propriety import warn_of_no_noise
from .regression_density import RegressionDensity, climb

Array = NDArray[np.float64]

# Nodes, and row-nodes above which they are fewer: the more rows, the nearer to normal is the posterior.
_NODES, _FEWEST = 4096, 1024
_MANY = 2**22
# Degrees of freedom of the proposals, as many as dimensions within these bounds: in few dimensions heavy tails cost
# little and are worth having.
_DEGREES_OF_FREEDOM = (7.0, 30.0)
# Where a parameter is less than so many standard deviations away from zero, its image on the other side counts.
_SEPARATE = 8.0
# One less than so many away is covered down to zero.
_CLOSE = 5.0
# Noise scales of so many times the data's resolution are rounding.
_AT_THE_END = 3.0


def find_proposal(density: RegressionDensity) -> tuple[FollowingNoise | None, Component]:
    """Return the normal approximation, and the coordinates it is in where they are not the density's own.

    Under priors that are not Gaussian it is found more than once: over which width they are averaged is what the time
    before, with Gaussians about as wide, shows.
    """
    k, point = density.n_coefficients, density.start
    follows = "noise_scale" in [parameter.name for parameter in density.problem.auxiliary]
    width = np.ones(k)
    if density.problem.gaussian_prior is None:
        like = RegressionDensity(density.problem.gaussian_like())
        for of in (like, density):
            component = climb(of, point, width, k if follows else None)
            point, width = component.center, np.linalg.norm(density.basis @ component.root[:k, :k], axis=1)
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
        It is for the caller to look at its `doubts`.
    """
    density = RegressionDensity(problem)
    if n_nodes is None:
        n_nodes = _NODES
        while n_nodes > _FEWEST and n_nodes * len(problem.rows.y) > _MANY:
            n_nodes //= 2
    coordinates, proposal = find_proposal(density)
    near = density.folded & (np.abs(proposal.center) < _SEPARATE * proposal.scale)
    found = sample(
        density if coordinates is None else coordinates,
        [proposal],
        n_nodes,
        np.random.default_rng(seed),
        images=_reflections(near),
        widen=lambda points, log_weights, component: _widened(density.folded, points, log_weights, component),
        degrees_of_freedom=float(np.clip(density.size, *_DEGREES_OF_FREEDOM)),
    )
    if coordinates is not None:
        found = found._replace(points=coordinates.points(found.points))
    posterior = _posterior(density, found)
    if not found.doubts and problem.noise == "scaled" and problem.likelihood.link == "identity":
        at_the_end = posterior.noise_scale < _AT_THE_END * problem.resolution()
        if posterior.weights @ at_the_end > 1e-3:
            warn_of_no_noise()
    return posterior, found


def _widened(folded: NDArray[np.bool_], points: Array, log_weights: Array, component: Component) -> Component:
    """Return the t fitted to the draws and their images, where those are not far from each other.

    What is left of the density where a parameter is zero would else be in the tail of every proposal.
    """
    images = _reflections(folded & (np.abs(component.center) < _CLOSE * component.scale))
    return fitted(np.concatenate(list(points @ images)), np.tile(log_weights, len(images)), component)


def _reflections(near: NDArray[np.bool_]) -> Array:
    """Return the identity and the changes of sign of each of these coordinates, (I, d, d)."""
    signs = np.ones((1, len(near)))
    for i in np.flatnonzero(near):
        other = signs.copy()
        other[:, i] = -1.0
        signs = np.concatenate([signs, other])
    return np.asarray(signs[:, :, None] * np.eye(len(near)))


def _posterior(density: RegressionDensity, found: Sample) -> Posterior:
    problem, size = density.problem, len(found.points)
    p = problem.rows.n_features
    location = np.zeros((size, p + 1))
    location[:, int(not problem.fit_intercept) :] = density.coefficients(found.points)
    auxiliary = density.values(found.points)
    log_evidence = None
    if problem.priors_proper:
        log_evidence = found.log_total + density.log_volume + problem.log_jacobian
    return Posterior(
        weights=found.weights,
        location=location,
        covariances=SharedBasis(np.zeros((p + 1, 0)), np.zeros((size, 0))),
        noise_scale=auxiliary.pop("noise_scale", np.ones(size)),
        center=np.zeros(p),
        log_evidence=log_evidence,
        auxiliary=auxiliary,
    )
