"""The posterior of the structural model: what is left when all that is linear is integrated out is sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .importance_sampling import Component, Sample, find_mode, fitted, sample
from .structural import Conditional, StructuralProblem
from .structural_coordinates import Following

Array = NDArray[np.float64]

# Scales less than so many standard deviations away from zero are covered down to zero.
_CLOSE = 5.0
# A second mode is another one so many standard deviations away, and counts if it is lighter by no more (in logs).
_APART = 2.0
_LIGHT = 12.0
# A search so near to a mode that is known is about to end there.
_SAME = 1.0
# So much lower is the density of a shoulder that is still worth covering.
_SHOULDER = 8.0
# An image under a change of sign that is so many standard deviations away from zero is not counted.
_SEPARATE = 8.0
# Nodes by default, and row-nodes above which they are halved.
_NODES = 4096
_MANY = 2**22
# Numbers in theta's roots above which nodes are halved, too, but not below a quarter.
_ROOT_NUMBERS = 2**23


@dataclass(frozen=True, eq=False)
class StructuralNodes:
    """The posterior of the structural model: weighted nodes, each a Gaussian for theta."""

    sample: Sample
    """Points as `StructuralProblem` has them; the density's integral has no meaning under improper priors."""
    m: Array
    """(G, q) coefficients of the true features."""
    noise_scale: Array
    """(G,) s; 1 where the noise is known."""
    T: Array
    """(G, q, q) covariance of the true features about their regression on the exact ones."""
    scatter: Array
    """(G,) noise "auto": what is added to s times the known errors; else 0."""
    tau: Array
    """(G,) the scale of the coefficients' prior; 1 where it is not learned."""
    theta: Array
    """(G, D) mean of (mu_1, Gamma_1., ..., mu_q, Gamma_q., alpha, beta), without alpha where there is none."""
    theta_root: Array
    """(G, D, D) a matrix whose product with its transpose is theta's covariance."""
    geometry: Array
    """(geometries,) posterior probabilities of the coefficients' prior's geometries."""
    n_evaluations: int
    """Points at which the rows were passed over, those of the search for the mode included."""


def solve_structural(
    problem: StructuralProblem, n_nodes: int | None = None, seed: int | np.random.Generator = 0
) -> StructuralNodes:
    """Return the posterior of the structural model.

    Parameters
    ----------
    problem : StructuralProblem
    n_nodes : int, optional
        Nodes, best a power of two; by default 4096, fewer where rows or exact features are many. There may be
        up to three times as many, where so many are worth too little.
    seed : int or Generator, default=0

    Returns
    -------
    StructuralNodes
        It is for the caller to look at the sample's `doubts`.
    """
    rng, following = np.random.default_rng(seed), Following.of(problem)
    if n_nodes is None:
        n_nodes = _NODES if problem.n_distinct_errors * _NODES <= _MANY else _NODES // 2
        while n_nodes > _NODES // 4 and n_nodes * problem.n_linear**2 > _ROOT_NUMBERS:
            n_nodes //= 2
    starts, n_search = _starts(following)
    near = [np.abs(start.center) < _SEPARATE * start.scale for start in starts]
    conditionals, everywhere = list[Conditional](), list[Array]()

    def log_density(coordinates: Array) -> Array:
        points, log_volume = following.points(coordinates)
        everywhere.append(points)
        conditionals.append(problem.condition(points))
        return conditionals[-1].log_evidence + problem.log_prior(points) + log_volume

    found = sample(
        log_density,
        starts,
        n_nodes,
        rng,
        images=_as_matrices(problem.signs(following.flips & np.any(near, axis=0))),
        widen=lambda points, log_weights, component: _folded(following, points, log_weights, component),
    )
    found = found._replace(points=np.concatenate(everywhere))
    return StructuralNodes(
        found,
        *problem.psi(found.points),
        theta=np.concatenate([part.theta for part in conditionals]),
        theta_root=np.concatenate([part.theta_root for part in conditionals]),
        geometry=found.weights @ np.concatenate([part.geometry for part in conditionals]),
        n_evaluations=n_search + len(found.points),
    )


def _starts(following: Following) -> tuple[list[Component], int]:
    """Return what the first rounds draw from, the mode first, and the evaluations that took; in coordinates.

    Where errors are large, true features that have little spread and any coefficients explain the data, too: as a
    second mode or as a shoulder, which has to be covered. So do errors that are too small, in the place of scatter.
    """
    problem = following.problem
    n_evaluations = 0

    def log_density(coordinates: Array) -> Array:
        nonlocal n_evaluations
        n_evaluations += len(coordinates)
        points, log_volume = following.points(coordinates)
        return problem.log_density(points) + log_volume

    ways = [(True, True), (False, True)] + [(True, False)] * (problem.noise == "auto")
    guesses = [Component(center, np.diag(scale)) for center, scale in (problem.guess(*way) for way in ways)]
    guesses = [following.component(guess) for guess in guesses]
    signs = problem.signs(following.flips)
    modes = list[Component]()

    def known(center: Array) -> bool:
        return any(_distance(mode, center * signs) < _SAME for mode in modes)

    for guess in guesses:
        mode = Component(*find_mode(log_density, guess.center, guess.root, known)[:2])
        if not known(mode.center):
            modes.append(mode)
    heights = log_density(np.array([component.center for component in (*modes, *guesses)]))
    # What a mode weighs if it is Gaussian.
    weights = [
        height + float(np.linalg.slogdet(mode.root)[1])
        for height, mode in zip(heights[: len(modes)], modes, strict=True)
    ]
    order = np.argsort(weights)[::-1]
    best = modes[order[0]]
    starts = [best]
    for other in order[1:]:
        apart = _distance(best, modes[other].center * signs) > _APART
        if apart and weights[order[0]] - weights[other] < _LIGHT:
            starts.append(modes[other])
    for guess, height in zip(guesses[1:], heights[len(modes) + 1 :], strict=True):
        if len(starts) == 1 and height > heights[order[0]] - _SHOULDER:
            starts.append(guess)
    return starts, n_evaluations


def _distance(mode: Component, images: Array) -> float:
    """Return how many standard deviations the nearest of a point's images is away from a mode."""
    return float(np.linalg.norm((images - mode.center) @ np.linalg.pinv(mode.root).T, axis=1).min())


def _folded(following: Following, points: Array, log_weights: Array, component: Component) -> Component:
    """Return the t fitted to the draws and their images, where those of a scale are not far from each other.

    A scale that the data don't tell from zero has a density that is flat there and then ends: the t about its mean
    falls too early.
    """
    close = np.abs(component.center) < _CLOSE * component.scale
    signs = following.problem.signs(following.flips & close)
    images = (points * signs[:, None, :]).reshape(-1, points.shape[1])
    return fitted(images, np.tile(log_weights, len(signs)), component)


def _as_matrices(signs: Array) -> Array:
    return signs[:, :, None] * np.eye(signs.shape[1])
