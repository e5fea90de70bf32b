"""Importance sampling of what few dimensions are left when all that is linear is integrated out.

The mode and the curvature there give a first multivariate t, the weighted draws better ones: adaptive multiple
importance sampling with the mixture of all of them in the weights' denominator (Cornuet, Marin, Mira & Robert
2012, Scandinavian Journal of Statistics 39:798-812), on quasi-random numbers, the weights Pareto-smoothed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, gammaln, logsumexp, ndtri
from scipy.stats import qmc

from .structural import Conditional, StructuralProblem

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

# Degrees of freedom of the proposals: tails heavier than a posterior's near-Gaussian ones.
_DEGREES_OF_FREEDOM = 5.0
# Nodes of each round, as shares of those asked for. The last rounds are there for posteriors far from Gaussian:
# nodes of that number that are worth less than so many, or whose weights have such a tail, are not enough.
_ROUNDS = (0.125, 0.125, 0.25, 0.5, 1.0, 1.0)
_WORTH = 1000.0
_UNRELIABLE = 0.7
# The round that covers scales down to zero, where they are less than so many standard deviations away from it.
_FOLDED = 2
_CLOSE = 5.0
# Derivatives are differences over this share of a standard deviation: the curvature that counts is the one at the
# peak's own width.
_STEP = 0.3
_MAX_STEPS = 60
# Improvements of the log density that are none, and how many of them end the search.
_STALLED = 1e-2
_STALLS = 3
# A second mode is another one so many standard deviations away, and counts if it is lighter by no more (in logs).
_APART = 2.0
_LIGHT = 12.0
# So much lower is the density of a shoulder that is still worth covering.
_SHOULDER = 8.0
# An image under a change of sign that is so many standard deviations away from zero is not counted.
_SEPARATE = 8.0
# A round whose effective size is less, per dimension, has its weights tempered before they are fitted.
_ENOUGH = 10.0
# Nodes by default, and row-nodes above which they are halved.
_NODES = 4096
_MANY = 2**22
# Numbers in theta's roots above which nodes are halved, too, but not below a quarter.
_ROOT_NUMBERS = 2**23


@dataclass(frozen=True, eq=False)
class StructuralNodes:
    """The posterior of the structural model: weighted nodes, each a Gaussian for theta."""

    weights: Array
    """(G,) Pareto-smoothed, summing to one."""
    points: Array
    """(G, d) as `StructuralProblem` has them."""
    m: Array
    """(G, q) coefficients of the true features."""
    noise_scale: Array
    """(G,) s; 1 where the noise is known."""
    T: Array
    """(G, q, q) covariance of the true features about their regression on the exact ones."""
    theta: Array
    """(G, D) mean of (mu_1, Gamma_1., ..., mu_q, Gamma_q., alpha, beta), without alpha where there is none."""
    theta_root: Array
    """(G, D, D) a matrix whose product with its transpose is theta's covariance."""
    log_marginal_likelihood: float
    """Log density of the noisy features and the target; without meaning under improper priors."""
    k_hat: float
    """Shape of the weights' tail: above 0.7 sums over the nodes are not to be trusted."""
    effective_size: float
    """Independent draws that would do as well: the inverse of the sum of squared weights."""
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
        It is for the caller to look at `k_hat` and `effective_size`.
    """
    rng = np.random.default_rng(seed)
    if n_nodes is None:
        n_nodes = _NODES if problem.n_distinct_errors * _NODES <= _MANY else _NODES // 2
        while n_nodes > _NODES // 4 and n_nodes * problem.n_linear**2 > _ROOT_NUMBERS:
            n_nodes //= 2
    starts, n_search = _starts(problem)
    scales = [np.sqrt(np.square(start.root).sum(axis=1)) for start in starts]
    near = [np.abs(start.center) < _SEPARATE * scale for start, scale in zip(starts, scales, strict=True)]
    signs = problem.signs(np.any(near, axis=0))

    components: list[_Component] = []
    sizes: list[int] = []
    conditionals: list[Conditional] = []
    points, log_density, raw = np.empty((0, problem.size)), np.empty(0), np.empty(0)
    sequence = qmc.Sobol(problem.size + 1, seed=rng)
    for turn, share in enumerate(_ROUNDS):
        component = starts[turn] if turn < len(starts) else _fit(points, raw, components[-1])
        if turn == _FOLDED:
            component = _folded(problem, points, raw, component)
        components.append(component)
        sizes.append(max(round(share * n_nodes), 1))
        new = component.draw(sequence.random(sizes[-1]))
        conditionals.append(problem.condition(new))
        points = np.concatenate([points, new])
        log_density = np.append(log_density, conditionals[-1].log_evidence + problem.log_prior(new))
        raw = log_density - _log_mixture(points, components, sizes, signs)
        if len(points) >= n_nodes:
            log_weights, k_hat = pareto_smoothed(raw)
            log_total = float(logsumexp(log_weights))
            weights = np.exp(log_weights - log_total)
            effective_size = float(1.0 / np.square(weights).sum())
            if effective_size >= min(_WORTH, 0.5 * n_nodes) and k_hat <= _UNRELIABLE:
                break
    psi = problem.psi(points)
    return StructuralNodes(
        weights=weights,
        points=points,
        m=psi.m,
        noise_scale=psi.noise_scale,
        T=psi.T,
        theta=np.concatenate([part.theta for part in conditionals]),
        theta_root=np.concatenate([part.theta_root for part in conditionals]),
        log_marginal_likelihood=log_total - float(np.log(len(points))),
        k_hat=k_hat,
        effective_size=effective_size,
        n_evaluations=n_search + len(points),
    )


class _Component(NamedTuple):
    """A multivariate t."""

    center: Array
    root: Array
    """Times its transpose the scale matrix."""

    def draw(self, uniform: Array) -> Array:
        """Return one draw for each row of numbers in (0, 1), one more than there are dimensions."""
        uniform = np.clip(uniform, 1e-12, 1.0 - 1e-12)
        nu = _DEGREES_OF_FREEDOM
        scale = np.sqrt(0.5 * nu / gammaincinv(0.5 * nu, uniform[:, -1]))
        return self.center + (ndtri(uniform[:, :-1]) * scale[:, None]) @ self.root.T

    def log_density(self, points: Array) -> Array:
        nu, d = _DEGREES_OF_FREEDOM, len(self.center)
        inverse = np.linalg.inv(self.root)
        square = np.square((points - self.center) @ inverse.T).sum(axis=-1)
        constant = float(gammaln(0.5 * (nu + d)) - gammaln(0.5 * nu)) - 0.5 * d * float(np.log(nu * np.pi))
        constant += float(np.linalg.slogdet(inverse)[1])
        return constant - 0.5 * (nu + d) * np.log1p(square / nu)


def _starts(problem: StructuralProblem) -> tuple[list[_Component], int]:
    """Return what the first rounds draw from, the mode first, and the evaluations that took.

    Where errors are large, true features that have little spread and any coefficients explain the data, too: as a
    second mode or as a shoulder, which has to be covered.
    """
    guess, unrelated = (
        _Component(center, np.diag(scale)) for center, scale in map(problem.guess, (True, False))
    )
    center, root, n_evaluations = find_mode(problem.log_density, *guess)
    mode = _Component(center, root)
    center, root, n_search = find_mode(problem.log_density, *unrelated)
    other = _Component(center, root)
    heights = problem.log_density(np.array([mode.center, other.center, unrelated.center]))
    # What a mode weighs if it is Gaussian.
    heights[:2] += [np.linalg.slogdet(component.root)[1] for component in (mode, other)]
    if heights[1] > heights[0]:
        mode, other = other, mode
    images = other.center * problem.signs(np.ones(problem.size, dtype=bool))
    distance = np.linalg.norm((images - mode.center) @ np.linalg.inv(mode.root).T, axis=1).min()
    starts = [mode]
    if distance > _APART and abs(heights[1] - heights[0]) < _LIGHT:
        starts.append(other)
    elif heights[2] > problem.log_density(mode.center[None])[0] - _SHOULDER:
        starts.append(unrelated)
    return starts, n_evaluations + n_search + 4


def _log_mixture(points: Array, components: list[_Component], sizes: list[int], signs: Array) -> Array:
    """Return the log density with which all rounds together make points, or any of their images."""
    images = points * signs[:, None, :]
    parts = [
        component.log_density(images) + np.log(size / len(points))
        for component, size in zip(components, sizes, strict=True)
    ]
    return logsumexp(np.concatenate(parts), axis=0)


def _folded(
    problem: StructuralProblem, points: Array, log_weights: Array, component: _Component
) -> _Component:
    """Return the t fitted to the draws and their images, where those of a scale are not far from each other.

    A scale that the data don't tell from zero has a density that is flat there and then ends: the t about its mean
    falls too early.
    """
    close = np.abs(component.center) < _CLOSE * np.sqrt(np.square(component.root).sum(axis=1))
    signs = problem.signs(close)
    images = (points * signs[:, None, :]).reshape(-1, points.shape[1])
    return _fit(images, np.tile(log_weights, len(signs)), component)


def _fit(points: Array, log_weights: Array, before: _Component) -> _Component:
    """Return the t with the weighted draws' mean and covariance."""
    d = points.shape[1]
    finite = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    for power in (1.0, 0.5, 0.25, 0.125):
        weights = np.exp(power * (finite - finite.max()))
        weights /= weights.sum()
        if np.square(weights).sum() * _ENOUGH * d < 1.0:
            break
    else:
        return before
    center = weights @ points
    deviation = np.sqrt(weights)[:, None] * (points - center)
    return _Component(center, np.linalg.cholesky(deviation.T @ deviation))


def find_mode(log_density: LogDensity, center: Array, root: Array) -> tuple[Array, Array, int]:
    """Return a density's mode, a root of its covariance there, and the evaluations it took.

    Newton's method in coordinates in which the curvature found so far is one, with derivatives by differences; all
    points of a step go into one call. It stops near the mode, not at it: draws are weighted.

    Parameters
    ----------
    log_density : callable
        From points (G, d) to log densities; minus infinity where it fails.
    center, root : ndarray of shape (d,) and (d, d)
        A guess at mode and root.
    """
    d = len(center)
    single = _STEP * np.eye(d)
    row, column = np.triu_indices(d, 1)
    double = single[row] + single[column]
    stencil = np.concatenate([np.zeros((1, d)), single, -single, double, -double])
    lengths = 2.0 ** np.arange(10.0, -7.0, -1.0)
    n_evaluations, stalls = 0, 0
    for _ in range(_MAX_STEPS):
        values = log_density(center + stencil @ root.T)
        n_evaluations += len(values)
        if not np.isfinite(values).all():
            root = 0.25 * root
            continue
        up, down = values[1 : d + 1], values[d + 1 : 2 * d + 1]
        both_up, both_down = np.split(values[2 * d + 1 :], 2)
        gradient = (up - down) / (2.0 * _STEP)
        sides = up + down
        hessian = np.zeros((d, d))
        hessian[row, column] = both_up + both_down - sides[row] - sides[column] + 2.0 * values[0]
        hessian = (hessian + hessian.T + 2.0 * np.diag(sides - 2.0 * values[0])) / (2.0 * _STEP**2)
        curvature, vectors = np.linalg.eigh(-hessian)
        # A root grows by no more than four times at once, and does so where the density is not concave.
        curvature_used = np.maximum(np.where(curvature > 0.0, curvature, 0.0), 0.0625)
        root = root @ (vectors / np.sqrt(curvature_used))
        step = (vectors.T @ gradient) / np.sqrt(curvature_used)
        length = float(np.linalg.norm(step))
        if length < 0.1 and (np.abs(np.log(np.maximum(curvature, 1e-12))) < 0.5).all():
            return center + root @ step, root, n_evaluations
        step *= min(1.0, 8.0 / length) if length > 0.0 else 1.0
        candidates = center + np.outer(lengths, root @ step)
        found = log_density(candidates)
        n_evaluations += len(found)
        best = int(np.argmax(found))
        if found[best] > values[0]:
            center = candidates[best]
        # Where a prior has a kink, differences do not show the way.
        stalls += not found[best] > values[0] + _STALLED
        if stalls == _STALLS:
            break
    return center, root, n_evaluations


def pareto_smoothed(log_weights: Array) -> tuple[Array, float]:
    """Return log weights whose largest are replaced by quantiles of a Pareto tail, and the tail's shape.

    Vehtari, Simpson, Gelman, Yao & Gabry 2024, Journal of Machine Learning Research 25(72).

    Parameters
    ----------
    log_weights : ndarray of shape (G,)

    Returns
    -------
    log_weights : ndarray of shape (G,)
    k_hat : float
        Infinite where the tail is too short to tell.
    """
    n = len(log_weights)
    n_tail = int(np.ceil(min(0.2 * n, 3.0 * np.sqrt(n))))
    order = np.argsort(log_weights)
    tail = order[n - n_tail :]
    top = log_weights[order[-1]]
    cutoff = np.exp(log_weights[order[n - n_tail - 1]] - top) if n > n_tail else 0.0
    exceedances = np.exp(log_weights[tail] - top) - cutoff
    if n_tail < 5 or exceedances[-1] <= 0.0:
        return log_weights, np.inf
    shape, scale = _generalized_pareto(np.maximum(exceedances, np.finfo(np.float64).tiny))
    probability = (np.arange(n_tail) + 0.5) / n_tail
    if abs(shape) > 1e-12:
        quantiles = scale * np.expm1(-shape * np.log1p(-probability)) / shape
    else:
        quantiles = -scale * np.log1p(-probability)
    smoothed = log_weights.copy()
    smoothed[tail] = np.minimum(np.log(quantiles + cutoff), 0.0) + top
    return smoothed, shape


def _generalized_pareto(sample: Array) -> tuple[float, float]:
    """Return shape and scale of a generalised Pareto distribution, from a sorted sample.

    Zhang & Stephens 2009, Technometrics 51:316-325, with the shape drawn towards a half as ten more draws would.
    """
    n = len(sample)
    n_grid = 30 + int(np.sqrt(n))
    quartile = sample[int(n / 4.0 + 0.5) - 1]
    b = 1.0 / sample[-1] + (1.0 - np.sqrt(n_grid / (np.arange(n_grid) + 0.5))) / (3.0 * quartile)
    shapes = np.log1p(-b[:, None] * sample).mean(axis=1)
    log_likelihood = n * (np.log(-b / shapes) - shapes - 1.0)
    weights = np.exp(log_likelihood - logsumexp(log_likelihood))
    b_mean = float(b @ weights)
    shape = float(np.log1p(-b_mean * sample).mean())
    return (n * shape + 5.0) / (n + 10.0), -shape / b_mean
