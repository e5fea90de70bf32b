"""A posterior of few nodes that stands for one of thousands, where rows are so many that all would cost much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...inference.node_covariances import Factors
from ...inference.posterior import Posterior

__all__ = ["in_groups"]

Array = NDArray[np.float64]

# Groups, a power of two, and numbers of rows times nodes from which they stand for the nodes.
_GROUPS, _MANY = 128, 2**22


def in_groups(
    posterior: Posterior, feature_error: Array | None = None, *, n_rows: int
) -> tuple[Posterior, Array | None]:
    """Return a posterior whose nodes are groups of alike ones, where rows are many: else the posterior itself.

    A group is Normal with the mean and covariance of B in it: mean and covariance of B are those of all nodes,
    and so are the means of what noise is made of. The group that varies most, by its weight, is cut in two at its
    mean, one after the other: in coefficients, by their posterior, and logarithms of scales. So tails are groups of
    their own: quantiles are off by 0.001 to 0.01 standard deviations (of 12 rows whose line has infinite variance
    by 0.03), where thousands of draws are off by more.

    Parameters
    ----------
    posterior : Posterior
        Without effects of groups of rows.
    feature_error : ndarray of shape (G,), optional
        Variance that errors of features leave at each node.
    n_rows : int

    Returns
    -------
    posterior : Posterior
    feature_error : ndarray of shape (K,) or None
    """
    weights = posterior.weights
    if n_rows * len(weights) < _MANY or len(weights) < 4 * _GROUPS or posterior.effects is not None:
        return posterior, feature_error
    members = _halved(_coordinates(posterior, feature_error), weights)
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


def _coordinates(posterior: Posterior, feature_error: Array | None) -> Array:
    """Return what nodes may differ in, (G, d), each of unit variance, or nothing where they are alike."""
    weights = posterior.weights
    scales = [posterior.noise_scale, posterior.scatter, feature_error, *posterior.auxiliary.values()]
    logs = [np.log(np.maximum(values, 1e-300)) for values in scales if values is not None]
    away = posterior.location - posterior.mean
    # In units of the whole posterior, so that nodes that are wide differ by little.
    values, vectors = np.linalg.eigh(_correlation(posterior.covariance))
    sd = np.sqrt(np.maximum(np.diag(posterior.covariance), np.finfo(np.float64).tiny))
    turned = (away / sd) @ vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    others = np.column_stack(logs)
    others = others - weights @ others
    spread = np.sqrt(weights @ np.square(others))
    return np.column_stack([turned, others / np.where(spread > 0.0, spread, 1.0)])


def _correlation(covariance: Array) -> Array:
    sd = np.sqrt(np.maximum(np.diag(covariance), np.finfo(np.float64).tiny))
    return np.asarray(covariance / sd / sd[:, None])


def _halved(coordinates: Array, weights: Array) -> list[NDArray[np.intp]]:
    """Return the members of the groups."""
    every = np.flatnonzero(weights > 0.0)
    groups = [(*_widest(coordinates, weights, every), every)]
    while len(groups) < _GROUPS:
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
