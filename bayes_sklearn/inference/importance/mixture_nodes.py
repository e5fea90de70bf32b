"""The posterior where no parameter integrates out: the number of components, where the density is highest, and nodes.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma, gammaln, logsumexp

from ...priors.scales import NEGLIGIBLE_SCATTER
from ..numerics.importance_sampling import Component, Sample, find_mode, fitted, sample
from ..structural.mixture import MixtureProblem
from ..structural.true_covariance import coordinates_of, pooled_covariance
from .structural_nodes import first_guess

Array = NDArray[np.float64]

# Up to so many components are tried where their number is not given, each of which has to raise the log of the
# marginal likelihood by more than this: strong evidence (Kass & Raftery 1995, J. Am. Stat. Assoc. 90:773-795).
MOST_COMPONENTS, _STRONG = 5, 3.0

# Of the expectation-maximisation that finds where to start: rows, steps, and the least share of the features'
# variance that is left to a component.
_EM_ROWS, _EM_STEPS, _EM_FLOOR = 5000, 60, 0.01


# Scales less than so many standard deviations away from zero are covered down to zero; components less than so many
# away from being others are counted as those, too.
_CLOSE, _SEPARATE = 5.0, 8.0


# Nodes by default, and rows times components times nodes above which they are halved, but not below a quarter: what a
# normal target is asked of costs a hundredth of an integral over the line.
_NODES, _MANY, _MANY_INTEGRALS = 4096, 2**26, 2**19


def solve_mixture(problem: MixtureProblem, seed: int = 0, n_nodes: int | None = None) -> Sample:
    """Return the posterior of a problem of which no parameter integrates out.

    Parameters
    ----------
    problem : MixtureProblem
    seed : int, default=0
    n_nodes : int, optional
        Best a power of two; by default 4096, fewer where rows are many. There may be up to three times as many, where
        so many are worth too little.
    """
    if n_nodes is None:
        n_nodes, many = _NODES, _MANY if problem.target is None else _MANY_INTEGRALS
        while n_nodes > _NODES // 4 and n_nodes * len(problem.rows) * problem.n_components > many:
            n_nodes //= 2
    start = _start(problem)
    problem = problem.placed(start[0])
    peak = highest(problem, start)
    problem = problem.placed(peak.center)
    center, root, _ = find_mode(problem.log_density, peak.center, peak.root)
    mode = Component(center, root)
    flip = problem.signed & (np.abs(center) < _SEPARATE * mode.scale)
    # Some components that change places may be all that is near; then their signs are left alone.
    permuted = problem.n_components <= MOST_COMPONENTS
    choices = 2 ** int(flip.sum()) * (int(gamma(problem.n_components + 1)) if permuted else 1)
    # More images of a point than these cost more than they bring.
    most_images = 512
    images = problem.images(flip & (choices <= most_images), permuted)
    images = images[_near(images, mode)]

    def widen(points: Array, log_weights: Array, component: Component) -> Component:
        """Cover scales that are close to zero from both sides of it."""
        close = problem.signed & (np.abs(component.center) < _CLOSE * component.scale)
        if 2 ** int(close.sum()) > most_images:
            return component
        folds = problem.images(close, permuted=False)
        everywhere = (points @ folds.transpose(0, 2, 1)).reshape(-1, problem.size)
        return fitted(everywhere, np.tile(log_weights, len(folds)), component)

    rng = np.random.default_rng(seed)
    # As many degrees of freedom as dimensions, within these bounds: in many, heavy tails cost nearly all draws.
    bounds = 5.0, 30.0
    found = sample(
        problem.log_density,
        [mode, *_by_the_other_peak(problem, mode)],
        n_nodes,
        rng,
        images=images,
        widen=widen,
        degrees_of_freedom=float(np.clip(problem.size, *bounds)),
    )
    # There is one image of all for each order of the components.
    orders = float(gammaln(problem.n_components + 1.0))
    return found._replace(log_total=found.log_total + orders)


def _by_the_other_peak(problem: MixtureProblem, mode: Component) -> list[Component]:
    """Return the mode moved to where the scatter is by the other peak of its prior, if there is a scatter.

    The total noise stays: all that the rest is told by.
    """
    if not problem.data.noise.combined:
        return []
    center, column = mode.center.copy(), problem.columns["scatter"].start
    negligible = float(np.log(NEGLIGIBLE_SCATTER))
    center[column] = negligible if center[column] > 0.5 * negligible else 0.0
    return [mode._replace(center=center)]


def _near(images: Array, mode: Component) -> NDArray[np.bool_]:
    """Return which images the mode's own draws may be taken for."""
    away = images @ mode.center - mode.center
    return np.linalg.norm(away @ np.linalg.inv(mode.root).T, axis=1) < 2.0 * _SEPARATE


def most_likely_number(problem: MixtureProblem) -> int:
    """Return how many components the data speak for, by Laplace's approximation of the marginal likelihood.

    It is raised as long as that helps.
    """
    before = -np.inf
    for count in range(1, MOST_COMPONENTS + 1):
        mixture = replace(problem, n_components=count)
        start = _start(mixture)
        evidence = highest(mixture.placed(start[0]), start).log_evidence
        if evidence < before + _STRONG:
            return count - 1
        before = evidence
    return MOST_COMPONENTS


class Peak(NamedTuple):
    """A place near the mode, and a root of the covariance there."""

    center: Array
    root: Array
    log_evidence: float
    """Laplace's approximation."""


@np.errstate(over="ignore")  # of slopes far from everything
def highest(problem: MixtureProblem, start: tuple[Array, Array]) -> Peak:
    """Return a place near the mode, uphill from a point, with units of its coordinates.

    Fisher's scoring with the products of the rows' scores in the place of the information (Berndt, Hall, Hall &
    Hausman 1974, Annals of Economic and Social Measurement 3:653-665).
    """
    point, unit = start
    steps = 1e-4 * unit
    value = float(problem.log_density(point[None])[0])
    lengths = 2.0 ** np.arange(1.0, -9.0, -1.0)
    root = np.diag(unit)
    climb_steps = 50
    for _ in range(climb_steps):
        gradient, information = problem.scores(point, steps)
        if not np.isfinite(
            information
        ).all():  # a point beside here has no density: the search from here finds others
            break
        of_prior, curvature = _prior_derivatives(problem, point, 0.05 * unit)
        information = information + np.diag(np.maximum(curvature, 1e-3 / np.square(unit)))
        scale = 1.0 / np.sqrt(np.diag(information))
        values, vectors = np.linalg.eigh(information * scale * scale[:, None])
        root = scale[:, None] * vectors / np.sqrt(np.maximum(values, 1e-10))
        push = root.T @ (gradient + of_prior)
        if np.linalg.norm(push) < 0.1:
            break
        candidates = point + np.outer(lengths, root @ push)
        found = problem.log_density(candidates)
        best = int(np.argmax(found))
        if not found[best] > value + 1e-3:
            break
        point, value = candidates[best], float(found[best])
    log_volume = float(np.linalg.slogdet(root)[1]) + 0.5 * problem.size * float(np.log(2.0 * np.pi))
    orders = float(gammaln(problem.n_components + 1.0))
    return Peak(point, root, value + log_volume + orders)


def _prior_derivatives(problem: MixtureProblem, point: Array, steps: Array) -> tuple[Array, Array]:
    """Return the log prior's gradient, and minus the diagonal of its second derivatives."""
    up, down = problem.log_prior(point + np.diag(steps)), problem.log_prior(point - np.diag(steps))
    here = problem.log_prior(point[None])[0]
    return (up - down) / (2.0 * steps), (2.0 * here - up - down) / np.square(steps)


def _start(problem: MixtureProblem) -> tuple[Array, Array]:
    """Return a point to start from, from moments and the features alone, and the unit of each coordinate."""
    data, guide, q = problem.data, problem.guide, problem.data.n_noisy
    mixture = _components(problem)
    normal, scale = first_guess(guide)
    m = normal[:q]
    table, width = problem.likely_rows[0], data.z.shape[1] + 1
    weight = np.sqrt(problem.frequency)
    first = int(data.intercept is None)
    if data.intercept is None:
        # About the means, a line through the origin is one.
        z, w, y = problem.center
        table = table + np.concatenate([[0.0], z, w, [y]])
    target = table[:, -1] - table[:, width : width + q] @ m
    if guide.standard_error is not None and problem.target is not None:
        weight = weight / np.broadcast_to(guide.standard_error, problem.used.shape)[problem.used]
    line: Array = np.asarray(
        np.linalg.lstsq(weight[:, None] * table[:, first:width], weight * target)[0], dtype=np.float64
    )
    log_tau = []
    of_t, of_zeta = zip(*(coordinates_of(T) for T in mixture.covariances), strict=True)
    b = m
    if problem.follows:  # at what data and prior tell of m
        T = pooled_covariance(mixture.shares, mixture.means, mixture.covariances)
        away = m - np.linalg.solve(T + problem.mean_error, T @ m)
        b = np.zeros(q)
        if problem.scaled is None:
            line[1 - first :] += away @ mixture.slopes
        if problem.follows_mean:
            line[: 1 - first] = 0.0
        else:
            line[: 1 - first] += away @ (mixture.shares @ mixture.means)
    if problem.scaled is not None:
        found, line[1 - first :], more = problem.scaled.together(m, line[1 - first :], mixture.slopes)
        b = b if problem.scaled.m is None else found
        log_tau.append(more)
    noise, scatter = _start_of_noise(problem, normal)
    auxiliary = np.zeros(0) if problem.target is None else problem.target.start
    of_wild = [one.coordinate.of(value) for one, value in zip(problem.outliers, _wild(problem), strict=True)]
    point = np.concatenate(
        [
            b,
            noise,
            line,
            mixture.slopes.ravel(),
            np.zeros(q) if problem.follows_mean else mixture.means.ravel(),
            *of_t,
            *of_zeta,
            problem.contrasts.T @ np.log(mixture.shares),
            scatter,
            log_tau,
            auxiliary,
            of_wild,
        ]
    )
    return point, _units(problem, noise, scale[q : q + len(noise)])


def _wild(problem: MixtureProblem) -> list[Array]:
    """Return share and factor of readings that are plainly wild, or where to start without any."""
    if not problem.outliers:
        return []
    share, factor = (np.asarray(one.start) for one in problem.outliers)
    width, q = problem.data.z.shape[1] + 1, problem.data.n_noisy
    w, plain = problem.rows[:, width : width + q], problem.weight > 0.0
    if plain.all():
        return [share, factor]
    away = np.abs(w[~plain] - np.median(w[plain], axis=0)) / np.sqrt(np.diag(problem.mean_error))
    return [np.maximum(share, (~plain).mean() / q), np.maximum(factor, np.median(away.max(axis=1)))]


def _start_of_noise(problem: MixtureProblem, normal: Array) -> tuple[Array, Array]:
    """Return the columns of s and of the scatter."""
    data, q, target = problem.data, problem.data.n_noisy, problem.target
    if target is None or not data.noise.has_scale:
        scatter = normal[data.correlation_columns.stop :][: problem.sizes["scatter"]]
        return normal[q : q + problem.sizes["s"]], scatter
    scale, beside = target.noise_start
    if not data.noise.combined:
        return np.array([scale]), np.zeros(0)
    rest = data.typical_error * scale
    return np.array([np.hypot(rest, beside)]), np.array([np.log(beside / rest)])


def _units(problem: MixtureProblem, noise: Array, scale: Array) -> Array:
    """Return the unit of each coordinate."""
    data, first = problem.data, int(problem.data.intercept is None)
    weight = np.sqrt(problem.frequency)
    spread = max(
        float(np.sqrt(np.square(weight * problem.rows[:, -1]).mean())),
        np.sqrt(problem.guide.residual_variance),
    )
    unit = np.ones(problem.size)
    for name in ("m", "line"):
        unit[problem.columns[name]] = spread
    if problem.scaled is not None:  # coefficients are in units of their own
        unit[problem.columns["line"]][1 - first :] = 1.0
        unit[problem.columns["m"]] = spread if data.slopes.on_signal else 1.0
    if problem.follows:
        unit[problem.columns["m"]] = 1.0
    if problem.follows_mean:
        unit[problem.columns["line"]][: 1 - first] = 1.0
    unit[problem.columns["s"]] = np.maximum(noise, scale) if problem.target is None else noise
    return unit


@dataclass(frozen=True, eq=False)
class _Mixture:
    """The distribution of the true features given the exact ones."""

    shares: Array
    """(K,)"""
    means: Array
    """(K, q)"""
    covariances: Array
    """(K, q, q)"""
    slopes: Array
    """(q, k)"""

    def split(self, component: int) -> _Mixture:
        """Return the mixture with one of its components in two, along its longest axis."""
        values, vectors = np.linalg.eigh(self.covariances[component])
        axis = 0.8 * np.sqrt(values[-1]) * vectors[:, -1]
        mean, T = self.means[component], self.covariances[component] - np.outer(axis, axis)
        share = 0.5 * self.shares[component]
        others = np.arange(len(self.shares)) != component
        return replace(
            self,
            shares=np.append(self.shares[others], [share, share]),
            means=np.concatenate([self.means[others], [mean - axis, mean + axis]]),
            covariances=np.concatenate([self.covariances[others], [T, T]]),
        )


def _components(problem: MixtureProblem) -> _Mixture:
    """Return a mixture that is likely given the measured features alone: components are split one after the other.

    By expectation-maximisation with errors of their own (Bovy, Hogg & Roweis 2011, Annals of Applied Statistics
    5:1657-1677), on a part of the rows if they are many.
    """
    q, width = problem.data.n_noisy, problem.data.z.shape[1] + 1
    some = slice(None, None, -(-len(problem.rows) // _EM_ROWS))
    (rows, U), weight = problem.likely_rows, problem.weight[some]
    rows, U = rows[some], U[some] if len(U) > 1 else U
    z, w = rows[:, 1:width], rows[:, width : width + q]
    root = np.sqrt(weight)[:, None]
    slopes: Array = np.asarray(np.linalg.lstsq(root * z, root * w)[0].T, dtype=np.float64)
    away = w - z @ slopes.T
    mean = weight @ away / weight.sum()
    spread = (away - mean).T * weight @ (away - mean) / weight.sum()
    floor = _EM_FLOOR * (np.diag(np.diag(spread)) + 1e-9 * np.eye(q))
    T = _at_least(spread - np.broadcast_to(U, (len(w), q, q)).mean(axis=0), floor)
    mixture = _Mixture(np.ones(1), mean[None], T[None], slopes)
    while len(mixture.shares) < problem.n_components:
        candidates = [
            _maximised(mixture.split(component), w, z, U, weight, floor)
            for component in range(len(mixture.shares))
        ]
        mixture = max(candidates, key=lambda candidate: candidate[1])[0]
    return mixture


def _maximised(
    mixture: _Mixture, w: Array, z: Array, U: Array, weight: Array, floor: Array
) -> tuple[_Mixture, float]:
    """Return the mixture after some steps of expectation-maximisation, and its log likelihood."""
    before = -np.inf
    gram = (z.T * weight) @ z
    for _ in range(_EM_STEPS):
        line = z @ mixture.slopes.T
        total = mixture.covariances[:, None] + U  # (K, n or 1, q, q)
        inverse = np.linalg.inv(total)
        away = w - line - mixture.means[:, None]
        whitened = (inverse @ away[..., None])[..., 0]
        log_density = np.log(mixture.shares)[:, None] - 0.5 * (
            (away * whitened).sum(axis=2) + np.linalg.slogdet(total)[1]
        )
        log_row = logsumexp(log_density, axis=0)
        likelihood = float(weight @ log_row)
        belongs = np.exp(log_density - log_row) * weight
        count = np.maximum(belongs.sum(axis=1), 1e-6)
        T = mixture.covariances[:, None]
        true = (T @ whitened[..., None])[..., 0]  # less the component's own mean
        left = np.broadcast_to(T - T @ inverse @ T, (*away.shape, away.shape[2]))
        shift = np.einsum("kn,knj->kj", belongs, true) / count[:, None]
        deviation = true - shift[:, None]
        covariances = np.einsum("kn,kni,knj->kij", belongs, deviation, deviation)
        covariances += np.einsum("kn,knij->kij", belongs, left)
        slopes = mixture.slopes
        if z.shape[1]:
            slopes = slopes + np.linalg.lstsq(gram, np.einsum("kn,nj,kni->ji", belongs, z, deviation))[0].T
        mixture = _Mixture(
            count / count.sum(),
            mixture.means + shift,
            np.array([_at_least(one, floor) for one in covariances / count[:, None, None]]),
            slopes,
        )
        if likelihood < before + 1e-3:
            break
        before = likelihood
    return mixture, likelihood


def _at_least(covariance: Array, floor: Array) -> Array:
    """Return a covariance matrix with at least this diagonal one in every direction."""
    unit = np.sqrt(np.diag(floor))
    values, vectors = np.linalg.eigh(covariance / np.outer(unit, unit))
    root = unit[:, None] * vectors
    return np.asarray((root * np.maximum(values, 1.0)) @ root.T, dtype=np.float64)
