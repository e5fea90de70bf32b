"""A posterior of few nodes that stands for one of thousands, where rows are so many that all would cost much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ...inference.node_covariances import Factors
from ...inference.posterior import Posterior
from ...measurements.compressed import Rows
from .few_points import effective_size
from .normal import NormalMixture

__all__ = ["in_groups"]

Array = NDArray[np.float64]

# Groups, a power of two, and numbers of rows times nodes from which they stand for the nodes.
_GROUPS, _MANY = 128, 2**22

# By how many standard deviations quantiles may be off: without noise, and with some of so many times the line's
# variance, at these probabilities.
_OFF, _RATIOS, _PROBABILITIES = 0.01, (1.0, 9.0), (0.025, 0.25, 0.5, 0.975)

# Of fewer nodes than four to a group, but no fewer than these, groups are as few as leave out no more of the relative
# variance of noise, and of the coefficients' between nodes.
_FEW, _LEFT_OF_NOISE, _LEFT_OF_COEFFICIENTS = 32, 1e-3, 5e-3


def in_groups(
    posterior: Posterior, feature_error: Array | None = None, *, rows: Rows
) -> tuple[Posterior, Array | None]:
    """Return a posterior whose nodes are groups of alike ones, where rows are many: else the posterior itself.

    A group is Normal with the mean and covariance of B in it: mean and covariance of B are those of all nodes,
    and so are the means of what noise is made of. The group that varies most, by its weight, is cut in two at its
    mean, one after the other: in coefficients, by their posterior, and logarithms of scales. So tails are groups of
    their own. Quantiles of some rows are held against those of all nodes: where they are off by more than 0.01
    standard deviations, and by more than those of draws vary, there are more groups, and where that is not enough all
    nodes stay.

    Parameters
    ----------
    posterior : Posterior
        Without effects of groups of rows.
    feature_error : ndarray of shape (G,), optional
        Variance that errors of features leave at each node.
    rows : Rows
        Those whose lines are wanted.

    Returns
    -------
    posterior : Posterior
    feature_error : ndarray of shape (K,) or None
    """
    weights = posterior.weights
    if len(rows.X) * len(weights) < _MANY or len(weights) < _FEW or posterior.effects is not None:
        return posterior, feature_error
    if len(weights) < 4 * _GROUPS:
        coordinates, allowed_of = _relative_coordinates(posterior, feature_error)
        sizes, enough = [len(weights) // 2], 1.0
    else:
        coordinates = _coordinates(posterior, feature_error)
        sizes = [size for size in (_GROUPS, 4 * _GROUPS) if size < len(weights)]
        allowed_of, enough = np.ones(1), 0.0
    away = _typical_and_farthest(rows, posterior.center)
    # Noise that is the same at all nodes tells nothing that other noise does not.
    varying = [i for i, v in enumerate(_variances(posterior)) if np.ptp(v) > 0.0] or [0]
    held, allowed = _quantiles(posterior, feature_error, away, varying), _allowed(posterior, len(varying))
    for size in sizes:
        members = _halved(coordinates / np.sqrt(allowed_of), weights, most=size, enough=enough)
        if members:
            found = _of_groups(posterior, feature_error, members)
            if (np.abs(_quantiles(*found, away, varying) - held) < allowed).all():
                return found
    return posterior, feature_error


def _of_groups(
    posterior: Posterior, feature_error: Array | None, members: list[NDArray[np.intp]]
) -> tuple[Posterior, Array | None]:
    """Return the posterior whose nodes are groups of these members, and what errors of features leave there."""
    weights = posterior.weights
    share = np.array([weights[nodes].sum() for nodes in members])
    within = [weights[nodes] / part for nodes, part in zip(members, share, strict=True)]

    def averaged(values: Array) -> Array:
        return np.array([w @ values[nodes] for w, nodes in zip(within, members, strict=True)])

    location = averaged(posterior.location)
    size, factors = location.shape[1], []
    for w, nodes, middle in zip(within, members, location, strict=True):
        away = (posterior.location[nodes] - middle) * np.sqrt(w)[:, None]
        rows = [posterior.covariances.take(nodes).root(w), away, np.zeros((size, size))]
        factors.append(np.asarray(np.linalg.qr(np.concatenate(rows), mode="r")).T)
    scatter = posterior.scatter
    found = replace(
        posterior,
        weights=share,
        location=location,
        covariances=Factors(np.array(factors)),
        noise_scale=np.sqrt(averaged(np.square(posterior.noise_scale))),
        scatter=None if scatter is None else np.sqrt(averaged(np.square(scatter))),
        auxiliary={name: averaged(values) for name, values in posterior.auxiliary.items()},
        prior_scale=None,
        chains=None,
        log_noise_density=None,
        error_share=None,
    )
    return found, None if feature_error is None else averaged(feature_error)


def _typical_and_farthest(rows: Rows, center: Array) -> Array:
    """Return features of a few rows, less the center, (k, p): every so many, and those farthest out among more."""
    typical, farthest, among = 12, 4, 2**14
    step = -(-len(rows.X) // among)
    away = rows.take(slice(None, None, step)) - center
    distance = np.square(away / np.maximum(np.sqrt(np.mean(np.square(away), axis=0)), 1e-300)).sum(axis=1)
    some = np.linspace(0, len(away) - 1, typical).astype(np.intp)
    return np.asarray(away[np.append(some, np.argsort(distance)[-farthest:])])


def _quantiles(posterior: Posterior, feature_error: Array | None, away: Array, varying: list[int]) -> Array:
    """Return standardised quantiles at some rows, (W, probabilities, k), with noise of several widths or none."""
    weights = posterior.weights
    means, variances = posterior.linear(np.column_stack([np.ones(len(away)), away]))
    if feature_error is not None:
        variances = variances + feature_error
    whole = weights @ np.square(means - (means @ weights)[:, None]).T + variances @ weights
    unit, mean = np.maximum(np.sqrt(whole), 1e-300), means @ weights
    answer = [(_limits(weights, means, np.sqrt(variances)) - mean) / unit]
    for noise in [_variances(posterior)[i] for i in varying]:
        for ratio in _RATIOS:
            more = ratio * whole[:, None] * (noise / max(float(weights @ noise), 1e-300))
            limits = _limits(weights, means, np.sqrt(variances + more))
            answer.append((limits - mean) / (np.sqrt(1.0 + ratio) * unit))
    return np.array(answer)


def _limits(weights: Array, means: Array, sds: Array) -> Array:
    """Return quantiles of each row's mixture, (probabilities, k)."""
    if sds.any():
        mixture = NormalMixture(weights, means, sds)
        return np.array([mixture.quantile(np.full(len(means), q)) for q in _PROBABILITIES])
    order = np.argsort(means, axis=1)
    below = np.cumsum(weights[order], axis=1)
    first = [np.minimum((below < q).sum(axis=1), len(weights) - 1) for q in _PROBABILITIES]
    return np.array([means[np.arange(len(means)), order[np.arange(len(means)), at]] for at in first])


def _allowed(posterior: Posterior, kinds: int) -> Array:
    """Return by how much quantiles may be off, as `_quantiles` has them: those of draws by their own errors."""
    weights, q = posterior.weights, np.array(_PROBABILITIES)
    if posterior.covariances.root(weights).any():
        return np.full((1, len(q), 1), _OFF)
    density = np.exp(-0.5 * np.square(ndtri(q))) / np.sqrt(2.0 * np.pi)
    error = np.sqrt(q * (1.0 - q) / effective_size(weights)) / density
    ratios = np.array([0.0, *_RATIOS * kinds])
    return np.maximum(_OFF, 3.0 * error / (1.0 + ratios[:, None]))[:, :, None]


def _variances(posterior: Posterior) -> list[Array]:
    """Return what noise is made of, or varies with, at the nodes, (G,) each."""
    scatter = [] if posterior.scatter is None else [np.square(posterior.scatter)]
    return [np.square(posterior.noise_scale), *scatter, *posterior.auxiliary.values()]


def _coordinates(posterior: Posterior, feature_error: Array | None) -> Array:
    """Return what nodes may differ in, (G, d), each of unit variance, or nothing where they are alike."""
    weights = posterior.weights
    scales = [posterior.noise_scale, posterior.scatter, feature_error, *posterior.auxiliary.values()]
    logs = [np.log(np.maximum(values, 1e-300)) for values in scales if values is not None]
    others = np.column_stack(logs)
    others = others - weights @ others
    spread = np.sqrt(weights @ np.square(others))
    return np.column_stack([_turned(posterior), others / np.where(spread > 0.0, spread, 1.0)])


def _turned(posterior: Posterior) -> Array:
    """Return the nodes' coefficients in units of all of them, (G, P): wide nodes differ by little."""
    away = posterior.location - posterior.mean
    values, vectors = np.linalg.eigh(_correlation(posterior.covariance))
    sd = np.sqrt(np.maximum(np.diag(posterior.covariance), np.finfo(np.float64).tiny))
    return np.asarray((away / sd) @ vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1])))


def _correlation(covariance: Array) -> Array:
    sd = np.sqrt(np.maximum(np.diag(covariance), np.finfo(np.float64).tiny))
    return np.asarray(covariance / sd / sd[:, None])


def _relative_coordinates(posterior: Posterior, feature_error: Array | None) -> tuple[Array, Array]:
    """Return what nodes differ in by what is to be left of it, (G, d), and how much of each may be, (d,)."""
    weights = posterior.weights
    parts = _variances(posterior) + ([] if feature_error is None else [feature_error])
    noise = np.column_stack([v / max(float(weights @ v), 1e-300) for v in parts])
    turned = _turned(posterior)
    allowed = np.repeat([_LEFT_OF_COEFFICIENTS, _LEFT_OF_NOISE], [turned.shape[1], noise.shape[1]])
    return np.column_stack([turned, noise]), allowed


def _halved(coordinates: Array, weights: Array, *, most: int, enough: float = 0.0) -> list[NDArray[np.intp]]:
    """Return the members of so many groups, or of fewer that vary by so little; none where so many vary by more."""
    every = np.flatnonzero(weights > 0.0)
    groups = [(*_widest(coordinates, weights, every), every)]
    while sum(spread for spread, *_ in groups) > enough:
        if len(groups) == most:
            return [] if enough else [nodes for *_, nodes in groups]
        _, below, nodes = groups.pop(int(np.argmax([spread for spread, *_ in groups])))
        if not below.any() or below.all():
            groups.append((0.0, below, nodes))
            break
        halves = nodes[below], nodes[~below]
        groups += [(*_widest(coordinates, weights, half), half) for half in halves]
    return [nodes for *_, nodes in groups]


def _widest(coordinates: Array, weights: Array, nodes: NDArray[np.intp]) -> tuple[float, NDArray[np.bool_]]:
    """Return the most that a coordinate varies in a group, by its weight, and which nodes lie below its mean."""
    own, w = coordinates[nodes], weights[nodes]
    away = own - w @ own / w.sum()
    spread = w @ np.square(away)
    widest = int(np.argmax(spread))
    return float(spread[widest]), away[:, widest] < 0.0
