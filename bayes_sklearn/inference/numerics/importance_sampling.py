"""Importance sampling of a few dimensions: adaptive, on quasi-random numbers, Pareto-smoothed.

The mode and the curvature there give a first multivariate t, the weighted draws better ones: adaptive multiple
importance sampling with the mixture of all of them in the weights' denominator (Cornuet, Marin, Mira & Robert
2012, Scandinavian Journal of Statistics 39:798-812), on quasi-random numbers, the weights Pareto-smoothed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import gammaincinv, gammaln, logsumexp, ndtr, ndtri
from scipy.stats import qmc

Array = NDArray[np.float64]

LogDensity = Callable[[Array], Array]

# Degrees of freedom of the proposals: tails heavier than a posterior's near-Gaussian ones.
_DEGREES_OF_FREEDOM = 5.0


# Gates, both of which have to be passed: the shape of the weights' tail (Vehtari, Simpson, Gelman, Yao & Gabry
# 2024, J. Mach. Learn. Res. 25:72), and how many independent draws would do as well.
_K_HAT, _EFFECTIVE = 0.7, 400.0


class Sample(NamedTuple):
    """Weighted points."""

    points: Array
    """(G, d)"""
    weights: Array
    """(G,) Pareto-smoothed, summing to one."""
    log_total: float
    """Log of the density's integral."""
    k_hat: float
    """Shape of the weights' tail: above 0.7 sums over the points are not to be trusted."""
    effective_size: float
    """Independent draws that would do as well: the inverse of the sum of squared weights."""

    further: tuple[str, ...] = ()
    """What is wrong that the weights do not tell."""

    @property
    def doubts(self) -> list[str]:
        """What is wrong with points that are not to be trusted; empty: nothing."""
        wrong = list(self.further)
        if not self.k_hat <= _K_HAT:  # where every point fails, neither is a number
            wrong.append(f"the importance weights' Pareto k-hat is {self.k_hat:.2f}, above {_K_HAT}")
        if not self.effective_size >= _EFFECTIVE:
            wrong.append(f"the effective sample size is {self.effective_size:.0f}, below {_EFFECTIVE:.0f}")
        return wrong


def sample(
    log_density: LogDensity,
    starts: Sequence[Component],
    n_points: int,
    rng: np.random.Generator,
    *,
    images: Array | None = None,
    widen: Callable[[Array, Array, Component], Component] | None = None,
    degrees_of_freedom: float = _DEGREES_OF_FREEDOM,
) -> Sample:
    """Draw from a density of a few dimensions.

    Parameters
    ----------
    log_density : callable
        From points (G, d) to log densities; minus infinity where it fails. Called once per round.
    starts : sequence of Component
        What the first rounds draw from.
    n_points : int
        Best a power of two; up to three times as many where so many are worth too little.
    rng : Generator
    images : ndarray of shape (I, d, d), optional
        Linear maps, of determinant one or minus one, that leave the density as it is, the identity among them. The
        density is then taken to be that of a point and all its images together.
    widen : callable, optional
        From the points so far, their log weights and the proposal fitted to them to the proposal to use instead.
    degrees_of_freedom : float, default=5
        Of the proposals.
    """
    d = len(starts[0].center)
    images = np.eye(d)[None] if images is None else images
    components: list[Component] = []
    sizes: list[int] = []
    points, found, raw = np.empty((0, d)), np.empty(0), np.empty(0)
    sequence = qmc.Sobol(d + 1, seed=rng)
    # Nodes of each round, as shares of those asked for. The last rounds are there for posteriors far from Gaussian:
    # nodes of that number that are worth less than so many, or whose weights have such a tail, are not enough.
    rounds = (0.125, 0.125, 0.25, 0.5, 1.0, 1.0)
    worth = 1000.0
    # The round whose proposal may be told to cover more.
    widened, effective_size = 2, 0.0
    # And how much wider one is, in one dimension, that is for a tail alone.
    tail_wider = 2.0
    for turn, share in enumerate(rounds):
        component = starts[turn] if turn < len(starts) else fitted(points, raw, components[-1])
        if turn == widened and widen is not None:
            component = widen(points, raw, component)
        if effective_size >= worth:  # points enough, but for the tail
            component = component._replace(root=tail_wider ** (1.0 / np.sqrt(d)) * component.root)
        components.append(component._replace(degrees_of_freedom=degrees_of_freedom))
        sizes.append(max(round(share * n_points), 1))
        new = components[-1].draw(sequence.random(sizes[-1]))
        points, found = np.concatenate([points, new]), np.append(found, log_density(new))
        raw = found - _log_mixture(points, components, sizes, images)
        if len(points) >= n_points:
            log_weights, k_hat = pareto_smoothed(raw)
            log_total = float(logsumexp(log_weights))
            weights = np.exp(log_weights - np.max(log_weights))
            weights /= weights.sum()  # of logs that are large the digits above are few
            effective_size = float(1.0 / np.square(weights).sum())
            if effective_size >= min(worth, 0.5 * n_points) and k_hat <= _K_HAT:
                break
    log_total -= float(np.log(len(points)))
    # Proposals with more parameters than this share of the points are too near to the points that they were fitted
    # to.
    last_fitted = 0.05
    if 0.5 * d * (d + 3.0) > last_fitted * len(points):
        log_total = _log_total(found, points, components, sizes, images)
    return Sample(points, weights, log_total, k_hat, effective_size)


class Component(NamedTuple):
    """A multivariate t, to draw from."""

    center: Array
    root: Array
    """Times its transpose the scale matrix."""
    degrees_of_freedom: float = _DEGREES_OF_FREEDOM

    @property
    def scale(self) -> Array:
        """(d,) the coordinates' own scales."""
        return np.asarray(np.sqrt(np.square(self.root).sum(axis=1)))

    def draw(self, uniform: Array) -> Array:
        """Return one draw for each row of numbers in (0, 1), one more than there are dimensions."""
        normal = ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12))
        scale = np.exp(_log_t_scale(self.degrees_of_freedom)(normal[:, -1]))
        return self.center + (normal[:, :-1] * scale[:, None]) @ self.root.T

    def log_density(self, points: Array) -> Array:
        nu, d = self.degrees_of_freedom, len(self.center)
        inverse = np.linalg.inv(self.root)
        square = np.square((points - self.center) @ inverse.T).sum(axis=-1)
        constant = float(gammaln(0.5 * (nu + d)) - gammaln(0.5 * nu)) - 0.5 * d * float(np.log(nu * np.pi))
        constant += float(np.linalg.slogdet(inverse)[1])
        return constant - 0.5 * (nu + d) * np.log1p(square / nu)


@lru_cache
def _log_t_scale(nu: float) -> CubicSpline:
    """Return log sqrt(nu / chi-square), as a function of a normal variable of the same probability."""
    normal = np.linspace(-7.1, 7.1, 513)
    return CubicSpline(normal, 0.5 * np.log(0.5 * nu / gammaincinv(0.5 * nu, ndtr(normal))))


def _log_mixture(points: Array, components: list[Component], sizes: list[int], images: Array) -> Array:
    """Return the log density with which all rounds together make points, or any of their images."""
    everywhere = points @ images.transpose(0, 2, 1)
    parts = [
        component.log_density(everywhere) + np.log(size / len(points))
        for component, size in zip(components, sizes, strict=True)
    ]
    return np.asarray(np.logaddexp.reduce(np.concatenate(parts)))


def _log_total(
    found: Array, points: Array, components: list[Component], sizes: list[int], images: Array
) -> float:
    """Return the log of the density's integral, from log densities found at points, (G,).

    Each round is weighted by its own proposal, which knows nothing of its points: the mixture of all, fitted to the
    points, is too large at them, in 70 dimensions by a third. Rounds count as much as they are worth. In few
    dimensions the mixture is better, which covers what one proposal may miss.
    """
    log_totals, worth = np.empty((2, len(sizes)))
    ends = np.cumsum(sizes)
    for i, (component, size, end) in enumerate(zip(components, sizes, ends, strict=True)):
        own = slice(end - size, end)
        log_weights, _ = pareto_smoothed(found[own] - _log_mixture(points[own], [component], [size], images))
        log_totals[i] = logsumexp(log_weights)
        worth[i] = np.exp(2.0 * log_totals[i] - logsumexp(2.0 * log_weights))
        log_totals[i] -= np.log(size)
    return float(logsumexp(log_totals, b=worth / worth.sum()))


def fitted(points: Array, log_weights: Array, before: Component) -> Component:
    """Return the t with the weighted draws' mean and covariance."""
    weights = tempered(log_weights, points.shape[1])
    if weights is None:
        return before
    center = weights @ points
    deviation = np.sqrt(weights)[:, None] * (points - center)
    try:
        root = np.linalg.cholesky(deviation.T @ deviation)
    except np.linalg.LinAlgError:  # draws that hardly differ
        return before
    return Component(center, np.asarray(root, dtype=np.float64))


def tempered(log_weights: Array, dimensions: int) -> Array | None:
    """Return weights to a power, as near one as leaves enough effective draws for a covariance; None: none does."""
    finite = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    # A round whose effective size is less, per dimension, has its weights tempered before they are fitted.
    enough = 10.0
    for power in (1.0, 0.5, 0.25, 0.125):
        weights = np.exp(power * (finite - finite.max()))
        weights /= weights.sum()
        if np.square(weights).sum() * enough * dimensions < 1.0:
            return np.asarray(weights, dtype=np.float64)
    return None


def mean_and_root(
    values: Array, weights: Array, inner: Array | None = None, first: NDArray[np.intp] | None = None
) -> tuple[Array, Array]:
    """Return the mean of weighted values, and a root of their covariance: in these units they are about normal.

    Parameters
    ----------
    values : ndarray of shape (G, d)
    weights : ndarray of shape (G,)
        Tempered where too few of them count.
    inner : ndarray of shape (G, D, r), optional
        Roots of covariances that the first D values have themselves.
    first : ndarray of int, optional
        Values that depend on the first coordinates alone.
    """
    with np.errstate(divide="ignore"):
        used = tempered(np.log(weights), values.shape[1])
    weights = np.full(len(values), 1.0 / len(values)) if used is None else used
    location = weights @ values
    deviation = np.sqrt(weights)[:, None] * (values - location)
    covariance = deviation.T @ deviation
    if inner is not None:
        size = inner.shape[1]
        covariance[:size, :size] += np.einsum("g,gij,gkj->ik", weights, inner, inner)
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / (sd[:, None] * sd)
    order = np.arange(len(sd))
    if first is not None:
        order = np.append(first, np.setdiff1d(order, first))
    root = np.empty_like(correlation)
    # With a little on the diagonal the correlations have a root.
    root[order] = np.linalg.cholesky((correlation + 1e-6 * np.eye(len(sd)))[np.ix_(order, order)])
    return location, sd[:, None] * root


def find_mode(log_density: LogDensity, center: Array, root: Array) -> Component:
    """Return a density's mode and a root of its covariance there, as `find_modes` does."""
    return find_modes(log_density, [Component(center, root)])[0]


@np.errstate(over="ignore")  # of slopes far from everything
def find_modes(log_density: LogDensity, guesses: Sequence[Component]) -> list[Component]:
    """Return where searches end that start from guesses at a mode and at a root of the covariance there.

    Parameters
    ----------
    log_density : callable
        From points (G, d) to log densities; minus infinity where it fails. All points of a step, of all searches, go
        into one call.
    guesses : sequence of Component
    """
    searches = dict(enumerate(map(_search, guesses)))
    asked = {i: next(search) for i, search in searches.items()}
    found = dict[int, Component]()
    while asked:
        ends = np.cumsum([len(points) for points in asked.values()])
        values = np.split(log_density(np.concatenate(list(asked.values()))), ends[:-1])
        for i, own in zip(list(asked), values, strict=True):
            try:
                asked[i] = searches[i].send(own)
            except StopIteration as end:
                found[i] = end.value
                del asked[i]
    return [found[i] for i in range(len(guesses))]


def _search(guess: Component) -> Generator[Array, Array, Component]:
    """Ask for log densities at points until near a mode, and return it with a root of the covariance there.

    Newton's method in coordinates in which the curvature found so far is one, with derivatives by differences. It
    stops near the mode, not at it: draws are weighted.
    """
    center, root = guess.center, guess.root
    d = len(center)
    # Derivatives are differences over this share of a standard deviation: the curvature that counts is the one at the
    # peak's own width.
    difference = 0.3
    single = difference * np.eye(d)
    row, column = np.triu_indices(d, 1)
    double = single[row] + single[column]
    stencil = np.concatenate([np.zeros((1, d)), single, -single, double, -double])
    lengths = 2.0 ** np.arange(10.0, -7.0, -1.0)
    stalls = 0
    max_steps = 60
    # Improvements of the log density that are none, and how many of them end the search.
    stalled = 1e-2
    most_stalls = 3
    for _ in range(max_steps):
        values = yield center + stencil @ root.T
        if not np.isfinite(values).all():
            root = 0.25 * root
            continue
        up, down = values[1 : d + 1], values[d + 1 : 2 * d + 1]
        both_up, both_down = np.split(values[2 * d + 1 :], 2)
        gradient = (up - down) / (2.0 * difference)
        sides = up + down
        hessian = np.zeros((d, d))
        hessian[row, column] = both_up + both_down - sides[row] - sides[column] + 2.0 * values[0]
        hessian = (hessian + hessian.T + 2.0 * np.diag(sides - 2.0 * values[0])) / (2.0 * difference**2)
        curvature, vectors = np.linalg.eigh(-hessian)
        # A root grows by no more than four times at once, and does so where the density is not concave.
        curvature_used = np.maximum(np.where(curvature > 0.0, curvature, 0.0), 0.0625)
        root = root @ (vectors / np.sqrt(curvature_used))
        step = (vectors.T @ gradient) / np.sqrt(curvature_used)
        length = float(np.linalg.norm(step))
        if length < 0.1 and (np.abs(np.log(np.maximum(curvature, 1e-12))) < 0.5).all():
            return Component(center + root @ step, root)
        step *= min(1.0, 8.0 / length) if length > 0.0 else 1.0
        candidates = center + np.outer(lengths, root @ step)
        found = yield candidates
        best = int(np.argmax(found))
        if found[best] > values[0]:
            center = candidates[best]
        # Where a prior has a kink, differences do not show the way.
        stalls += not found[best] > values[0] + stalled
        if stalls == most_stalls:
            break
    return Component(center, root)


@np.errstate(over="ignore")  # of a tail that is not to be trusted
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
