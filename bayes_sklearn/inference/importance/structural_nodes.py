"""Coordinates of the structural model's points in which coefficients follow the true features' spread.

What the data tell is the regression of the target on the features as they were measured, K'm with
K = T (T + U)^-1. Where T may be near to singular, the coefficients behind it lie along a bend, m = K'^-1 b, that no
Gaussian covers; given T they are about Gaussian. These coordinates are the coefficients less that Gaussian's mean, in
units of its root. They change no density, so that it may be a rough one. Where the scale of the coefficients' prior
is learned it follows that scale, too: else there would be a funnel towards no effect.

The noise is what the true features leave of the target's variance about that regression: where reliabilities are low,
from all of it to nothing. Its coordinate says how large that variance is, in units of the deviation of its estimate.
Where several rows share a reading, what they differ in tells the noise alone: its coordinate is its log.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..numerics.importance_sampling import Component, Sample, find_modes, fitted, sample
from ..structural.model import MEAN_SCALE, Conditional, Psi, StructuralProblem
from ..structural.rows import cholesky, forward, pairs
from ..structural.true_covariance import coordinates_of

Array = NDArray[np.float64]


# Coordinates of the noise are no larger, and no more negative exponents of it count.
_MOST = 300.0


@dataclass(frozen=True, eq=False)
class Following:
    """The map between coordinates and points, (G, d) both; the columns but the first q are the same."""

    problem: StructuralProblem
    information: float
    """Rows by the target's variance about its regression on the features."""
    slope: Array
    """(q,) that regression's coefficients."""
    error: Array
    """(q, q) mean of U."""
    with_target: Array
    """(q,) mean of c."""
    widest: float
    """A standard deviation that is as good as a flat prior's."""
    about: float
    """The target's variance about the regression, ..."""
    known: float
    """... the part of it that the noise is added to, ..."""
    deviation: float
    """... and the standard deviation of its log."""

    @classmethod
    def of(cls, problem: StructuralProblem) -> Following:
        q = problem.n_noisy
        spread, errors = problem.moments
        u, slope = q * (q + 1) // 2, problem.gathered.reference.m
        about = problem.residual_variance
        square = about + float(slope @ spread[:q, :q] @ slope)
        known = float(errors[-2]) if problem.noise.only_scatters else 0.0
        # The data's information of coefficients in the target's unit, above which more makes no other coordinates.
        information = 1e10
        # Added to T + U, which may be singular.
        jitter = 1e-9
        return cls(
            problem,
            min(float(problem.weights[-1]) / about, information / square),
            slope,
            errors[pairs(q)] + jitter * np.eye(q),
            np.zeros(q) if problem.cross_covariance is None else errors[u : u + q],
            MEAN_SCALE * np.sqrt(square),
            about,
            known,
            float(np.sqrt(2.0 / max(float(problem.weights[-1]), 4.0))),
        )

    @property
    def flips(self) -> NDArray[np.bool_]:
        """(d,) Which coordinates are signed: t."""
        found = np.zeros(self.problem.size, dtype=bool)
        found[self.problem.spread_columns] = True
        return found

    def points(self, coordinates: Array) -> tuple[Array, Array]:
        """Return the points, and the log of the volume that each takes of the coordinates'."""
        q = self.problem.n_noisy
        mean, lower = self._given_spread(coordinates)
        root = forward(lower, np.eye(q))
        m = ((mean + coordinates[:, None, :q]) @ root)[:, 0]
        log_volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        points = np.concatenate([m, coordinates[:, q:]], axis=1)
        if self._from_rows is not None:
            center, deviation = self._from_rows
            points[:, q] = center * np.exp(np.clip(deviation * coordinates[:, q], -_MOST, _MOST))
            log_volume += np.log(deviation * points[:, q])
        elif self.problem.noise.has_scale:
            away = self.deviation * np.clip(coordinates[:, q], -_MOST, _MOST)
            total = self.about * (1.0 + np.sinh(away))
            smoothing = self._smoothing
            # The square of the noise: what is left of the total, where anything is.
            left = (total - self.known - self._unseen(points)) / smoothing
            points[:, q] = np.sqrt(smoothing * np.logaddexp(0.0, np.maximum(left, -_MOST))) / self._unit
            log_volume += np.log(0.5 * self.about * self.deviation * np.cosh(away)) - np.logaddexp(0.0, -left)
            log_volume -= np.log(points[:, q]) + 2.0 * np.log(self._unit)
        return points, log_volume

    def coordinates(self, points: Array) -> Array:
        """Return the coordinates of points whose noise is not zero."""
        q, found = self.problem.n_noisy, points.copy()
        mean, lower = self._given_spread(points)
        found[:, :q] = (points[:, None, :q] @ lower - mean)[:, 0]
        if self._from_rows is not None:
            center, deviation = self._from_rows
            found[:, q] = np.log(points[:, q] / center) / deviation
        elif self.problem.noise.has_scale:
            square = np.maximum(np.square(self._unit * points[:, q]) / self._smoothing, np.exp(-_MOST))
            left = square + np.log(-np.expm1(-square))
            total = self._smoothing * left + self.known + self._unseen(points)
            found[:, q] = np.arcsinh(total / self.about - 1.0) / self.deviation
        return found

    def component(self, of_points: Component) -> Component:
        """Return what in these coordinates is about the same to draw from."""
        center = of_points.center
        # Derivatives are differences over this share of a standard deviation.
        difference = 1e-4
        step = difference * of_points.scale
        up, down = (self.coordinates(center + sign * np.diag(step)) for sign in (1.0, -1.0))
        jacobian = (up - down).T / (2.0 * step)
        return Component(self.coordinates(center[None])[0], jacobian @ of_points.root)

    @cached_property
    def _from_rows(self) -> tuple[float, float] | None:
        """The noise that rows of shared readings tell, and the deviation of its log; None: they do not."""
        problem = self.problem
        if problem.within is None or not (problem.noise.has_scale and problem.within.tells_noise):
            return None
        return float(first_guess(problem)[0][problem.n_noisy]), float((2.0 * problem.within.n_rows) ** -0.5)

    @property
    def _unit(self) -> float:
        """The noise where its column in a point is one."""
        of_row = self.problem.typical_error if self.problem.noise.only_multiplies else 1.0
        return of_row * float(np.sqrt(self.problem.typical_share))

    @property
    def _smoothing(self) -> float:
        """How much of the variance the noise's square takes to fall to nothing where features leave nothing to it."""
        # Of the deviation: more or less of it, and the weights' tails are heavier.
        smoothing = 0.3
        return smoothing * self.about * self.deviation

    def _unseen(self, points: Array) -> Array:
        """Return about the variance of the target that the true features explain and the measured ones don't."""
        psi = self.problem.psi(points)
        pushed = (psi.T @ psi.m[:, :, None])[:, :, 0]
        through = np.linalg.solve(self._total(psi), pushed[:, :, None])[:, :, 0]
        return np.maximum(((psi.m - through) * pushed).sum(axis=1), 0.0)

    def _total(self, psi: Psi) -> Array:
        """Return T + U; far away a correlation is one in all digits."""
        T, error = psi.T, self.error
        if self.problem.n_factors and psi.error_factor is not None:
            error = error * psi.error_factor[:, :, None] * psi.error_factor[:, None]
        alone = 1e-12 * np.diagonal(T, axis1=1, axis2=2)[:, :, None] * np.eye(T.shape[1])
        return np.asarray(T + error + alone)

    def _given_spread(self, points: Array) -> tuple[Array, Array]:
        """Return the Gaussian of m given the rest: its mean in units of its root, (G, 1, q), and its precision's."""
        psi, slopes = self.problem.psi(points), self.problem.slopes
        scale = np.sqrt(self.about) / self._unit if self.problem.multiplies else 1.0
        inverse = np.linalg.inv(self._total(psi))
        share = psi.T @ inverse
        # Of T m = (T + U) b - c.
        known = (psi.T @ self.slope) - scale * (share @ self.with_target)
        of_prior = slopes.precision(psi.T, psi.tau, self.widest)
        precision = self.information * share @ psi.T + of_prior
        lower, _ = cholesky(0.5 * (precision + precision.transpose(0, 2, 1)))
        right = self.information * known + of_prior @ slopes.mean
        return forward(lower, right[:, :, None]).transpose(0, 2, 1), lower


# Nodes by default, and row-nodes above which they are halved.
_NODES = 4096


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
    error_factor: Array | None = None
    """(G, q) what the stated errors of the noisy features are multiplied by; None: they are known."""


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
    many = 2**22
    # Numbers in theta's roots above which nodes are halved, too, but not below a quarter.
    root_numbers = 2**23
    if n_nodes is None:
        n_nodes = _NODES if problem.n_distinct_errors * _NODES <= many else _NODES // 2
        while n_nodes > _NODES // 4 and n_nodes * problem.n_linear**2 > root_numbers:
            n_nodes //= 2
    starts, n_search = _starts(following)
    # An image under a change of sign that is so many standard deviations away from zero is not counted.
    separate = 8.0
    near = [np.abs(start.center) < separate * start.scale for start in starts]
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
    psi = problem.psi(found.points)
    return StructuralNodes(
        found,
        psi.m,
        psi.noise_scale,
        psi.T,
        psi.scatter,
        psi.tau,
        theta=np.concatenate([part.theta for part in conditionals]),
        theta_root=np.concatenate([part.theta_root for part in conditionals]),
        geometry=found.weights @ np.concatenate([part.geometry for part in conditionals]),
        n_evaluations=n_search + len(found.points),
        error_factor=psi.error_factor,
    )


def first_guess(
    problem: StructuralProblem, related: bool = True, scattered: bool = True
) -> tuple[Array, Array]:
    """Return a point near the mode and the scale of its uncertainty, (d,) each, by moments.

    Parameters
    ----------
    problem : StructuralProblem
    related : bool, default=True
        Whether the true features have to do with the target: where errors are large, a density may have a
        second mode where they have not.
    scattered : bool, default=True
        Whether noise beyond the known errors, if there is any, is scatter, under noise "auto".
    """
    q, total = problem.n_noisy, max(float(problem.weights[-1]), 1.0)
    (spread, errors), slope = problem.moments, problem.gathered.reference.m
    # What the errors leave of the features' spread, at least a tenth of it in every direction; where they are
    # larger by far than one that is nothing, as much as they would hide.
    values, vectors = np.linalg.eigh(spread[:q, :q])
    whiten = vectors / np.sqrt(values)
    left, turn = np.linalg.eigh(np.eye(q) - whiten.T @ errors[pairs(q)] @ whiten)
    root = vectors * np.sqrt(values) @ turn
    hidden = np.clip(0.25 * (1.0 - left), 1.0, max(1.0, 1.0 / float(values.min())))
    T = root * np.maximum(left, 0.1 * hidden) @ root.T
    m = np.linalg.solve(T, spread[:q, :q] @ slope) * related
    about = problem.residual_variance
    residual = max(spread[q, q] + slope @ spread[:q, :q] @ slope - m @ T @ m, 0.1 * about)
    t, zeta = coordinates_of(T)
    s, known, least = np.empty(0), errors[-2] / problem.typical_share, np.sqrt(residual / total)
    residual /= problem.typical_share
    if problem.within is not None and problem.within.tells_noise:
        residual = problem.within.variance * (known if problem.noise.only_multiplies else 1.0)
        residual = max(residual, problem.resolution**2)
    if problem.noise.only_scatters:
        s = np.sqrt([max(residual - known, 0.1 * residual)])
    elif problem.noise.only_multiplies:
        s = np.sqrt([residual / max(known, np.finfo(np.float64).tiny)])
    elif problem.noise.combined:
        s = np.sqrt([residual])
    logs = []
    if problem.noise.combined:
        excess = max(residual - known, 0.0) if scattered else 0.0
        logs.append(0.5 * np.log(max(excess, 1e-3 * residual) / (residual - 0.999 * excess)))
    wide = [0.7] * len(logs)
    if problem.error_freedom is not None:
        logs += [0.0] * problem.n_factors
        wide += [*np.sqrt(0.5 / problem.error_freedom[np.isfinite(problem.error_freedom)])]
    if problem.slopes.log_scale is not None:
        reference = problem.gathered.reference
        found = problem.slopes.whiten[0] @ (reference.y + slope @ reference.w)[1:]
        found = found if problem.slopes.on_signal else np.append(m, found)
        logs.append(np.log(np.hypot(np.sqrt(np.square(found).mean()), least)))
        wide.append(0.7)
    one = 1.0 / np.sqrt(2.0 * total)
    scale = np.concatenate([least / t, one * s, one * t, np.full(len(zeta), 2.0 * one), wide])
    return np.concatenate([m, s, t, zeta, logs]), scale


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

    ways = [(True, True), (False, True)] + [(True, False)] * problem.noise.combined
    guesses = [
        Component(center, np.diag(scale)) for center, scale in (first_guess(problem, *way) for way in ways)
    ]
    guesses = [following.component(guess) for guess in guesses]
    signs = problem.signs(following.flips)
    modes = list[Component]()
    same = 1.0  # standard deviations between where two searches end at one mode, at most
    for mode in find_modes(log_density, guesses):
        if not any(_distance(other, mode.center * signs) < same for other in modes):
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
    light = 12.0
    # A second mode is another one so many standard deviations away, and counts if it is lighter by no more (in logs).
    far = 2.0
    for other in order[1:]:
        apart = _distance(best, modes[other].center * signs) > far
        if apart and weights[order[0]] - weights[other] < light:
            starts.append(modes[other])
    # So much lower is the density of a shoulder that is still worth covering.
    shoulder = 8.0
    for guess, height in zip(guesses[1:], heights[len(modes) + 1 :], strict=True):
        if len(starts) == 1 and height > heights[order[0]] - shoulder:
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
    # Scales less than so many standard deviations away from zero are covered down to zero.
    nearest = 5.0
    close = np.abs(component.center) < nearest * component.scale
    signs = following.problem.signs(following.flips & close)
    images = (points * signs[:, None, :]).reshape(-1, points.shape[1])
    return fitted(images, np.tile(log_weights, len(signs)), component)


def _as_matrices(signs: Array) -> Array:
    return signs[:, :, None] * np.eye(signs.shape[1])
