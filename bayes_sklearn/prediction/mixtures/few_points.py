"""Fewer points for a row's weighted sample: what stands for thousands of nodes where each would cost too much.

Values are (n, G), one weighted sample per row; the weights sum to one, (G,) for all rows or (n, G).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ...inference.numerics.quadrature import gauss_rule, rule_of_recurrence

__all__ = [
    "NORMAL_MASSES",
    "NORMAL_POINTS",
    "as_points",
    "average",
    "bandwidth",
    "gauss_points",
    "gauss_points_of_gaussians",
    "gaussians",
    "moments",
    "on_grid",
    "smoothed",
    "spread_out",
    "strata",
]

Array = NDArray[np.float64]

# Of a Gaussian that a node holds: its moments are kept up to the 13th.
NORMAL_POINTS, NORMAL_MASSES = np.polynomial.hermite_e.hermegauss(7)

NORMAL_MASSES = NORMAL_MASSES / NORMAL_MASSES.sum()


# A kernel's standard deviation in spacings of the grid: ripples are exp(-2 pi^2 0.75^2), 1e-5. How small a part of
# the nodes may hold less than the kernel.
_KERNEL, _LEAST = 0.75, 0.002

# Of the grid that nodes are put on before a Gauss rule; how far Gaussians reach.
_GRID, _REACH = 257, 6.5

_TINY = np.finfo(np.float64).tiny


def average(values: Array, weights: Array) -> Array:
    """Return each row's weighted sum, (n,); weights are (G,) for all rows, or (n, G)."""
    return values @ weights if weights.ndim == 1 else np.einsum("ng,ng->n", values, weights)


def effective_size(weights: Array) -> float:
    """Return how many equally weighted draws the weights are worth (Kish 1965)."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def strata(weights: Array, first: Array, second: Array, size: int) -> list[NDArray[np.intp]]:
    """Return at most `size` groups of nodes of about equal weight that are alike in two quantities, (G,) each.

    They are cut, one after the other, from a path through strata of the first quantity that goes up and down in the
    second by turns. The nodes of a group are in the path's order.
    """
    by_first = np.argsort(first, kind="stable")
    bands = max(int(np.sqrt(size)), 1)
    band = np.empty(len(weights), dtype=np.intp)
    band[by_first] = np.minimum(np.cumsum(weights[by_first]) * bands, bands - 1)
    path = np.lexsort((np.where(band % 2 == 0, second, -second), band))
    group = np.minimum(np.cumsum(weights[path]) * size, size - 1).astype(np.intp)
    starts = np.flatnonzero(np.diff(group)) + 1
    return [nodes for nodes in np.split(path, starts) if weights[nodes].any()]


def moments(values: Array, weights: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of each row's sample, (n,) each."""
    mean = average(values, weights)
    return mean, np.sqrt(average(np.square(values - mean[:, None]), weights))


def matched(values: Array, weights: Array, mean: Array, sd: Array) -> Array:
    """Return values shifted and stretched to a mean and a standard deviation per row, (n,) each."""
    here, spread = moments(values, weights)
    return mean[:, None] + (values - here[:, None]) * (sd / np.maximum(spread, _TINY))[:, None]


def spread_out(means: Array, sds: Array, weights: Array) -> tuple[Array, Array, NDArray[np.intp]]:
    """Return points and weights for a sample whose nodes are Gaussians, and the node that each point is of.

    Every node becomes the points of a Gauss-Hermite rule.
    """
    points = means[:, :, None] + sds[:, :, None] * NORMAL_POINTS
    nodes = np.repeat(np.arange(weights.shape[-1]), len(NORMAL_POINTS))
    masses = (weights[..., None] * NORMAL_MASSES).reshape(*weights.shape[:-1], len(nodes))
    return points.reshape(len(means), len(nodes)), masses, nodes


def bandwidth(weights: Array) -> float:
    """Return the standard deviation of a kernel that smooths a sample, in the sample's own.

    Where centres are shrunk about their mean to make room for the kernel (West 1993, J. R. Stat. Soc. B 55:409-422),
    so that mean and variance stay, a Gaussian sample stays Gaussian.
    """
    # Silverman's constant for a Gaussian sample (1986, Density Estimation, section 3.4.1).
    return min(1.06 * effective_size(weights) ** -0.2, 1.0)


def on_grid(values: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Return weights and positions, (n, size) each, of an even grid that each row's sample is put on, linearly.

    Mean and standard deviation stay. Samples of no more than `size` nodes stay as they are.
    """
    if values.shape[1] <= size:
        return np.broadcast_to(weights, values.shape), values
    masses, points = _deposited(values, weights, size)
    return masses, matched(points, masses, *moments(values, weights))


def _deposited(values: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Return weights and positions, (n, size) each, of an even grid: the mean stays."""
    n = len(values)
    lowest, highest = values.min(axis=1), values.max(axis=1)
    spacing = np.maximum((highest - lowest) / (size - 1), _TINY)
    place = (values - lowest[:, None]) / spacing[:, None]
    cell = np.minimum(place.astype(np.intp), size - 2)
    place -= cell
    upper = place * weights
    cell += np.arange(n)[:, None] * size
    flat = cell.ravel()
    below = np.bincount(flat, (weights - upper).ravel(), n * size)
    above = np.bincount(flat + 1, upper.ravel(), n * size)
    masses = np.asarray(below + above, dtype=np.float64).reshape(n, size)
    return masses, lowest[:, None] + spacing[:, None] * np.arange(size)


def gaussians(means: Array, variances: Array, weights: Array, size: int) -> tuple[Array, Array, Array]:
    """Return weights, means and standard deviations of Gaussians that stand for a sample of Gaussian nodes.

    They are as wide as the narrowest nodes. Where these are not much narrower than all are together, the Gaussians'
    means are a Gauss rule of what is wider; else they lie on an even grid, and are no narrower than that needs. Mean
    and variance are the nodes'. No more nodes than `size` stand for themselves.

    Parameters
    ----------
    means, variances : ndarray of shape (n, G)
        Variances may be zero: the sample's points.
    weights : ndarray of shape (G,) or (n, G)
    size : int

    Returns
    -------
    weights, means : ndarray of shape (n, M)
    sds : ndarray of shape (n, 1) or (n, M)
    """
    # Points of a rule, and the share of the variance that each has to have: they lie its deviation apart.
    in_rule = ((3, 0.9), (5, 0.75), (9, 0.5))
    golden = 0.5 * (np.sqrt(5.0) - 1.0)
    # Of Gaussians that are put on a grid: points of each, at least, and of all.
    points_each, points_of_all = 7, 2048
    nodes = means.shape[1]
    if nodes <= size:
        return np.broadcast_to(weights, means.shape), means, np.sqrt(variances)
    mean = average(means, weights)
    variance = average(np.square(means - mean[:, None]) + variances, weights)
    least = min(int(_LEAST * nodes), nodes - 1)
    kernel = np.partition(variances, least, axis=1)[:, least]
    of_total = np.min(kernel / np.maximum(variance, _TINY))
    count = next((count for count, share in in_rule if of_total >= share), None)
    if count is not None:
        rest = np.maximum(variances - kernel[:, None], 0.0)
        masses, centres = gauss_points_of_gaussians(means, rest, weights, count)
        return masses, matched(centres, masses, mean, np.sqrt(variance - kernel)), np.sqrt(kernel)[:, None]
    points, masses = means, weights
    if variances.any():
        # Quantiles evenly spaced, elsewhere at every node, so that the points of nodes that are alike are not.
        count = max(points_each, -(-points_of_all // nodes))
        shift = (golden * np.arange(1.0, nodes + 1.0)) % 1.0
        z = ndtri((np.arange(count) + shift[:, None]) / count)
        sds = np.sqrt(np.maximum(variances - kernel[:, None], 0.0))
        points = (means[:, :, None] + sds[:, :, None] * z).reshape(len(means), -1)
        masses = np.repeat(weights / count, count, axis=-1)
    on, centres = _deposited(points, masses, size) if points.shape[1] > size else (masses, points)
    spacing = np.ptp(centres, axis=1) / (size - 1)
    kernel = np.minimum(np.maximum(kernel, np.square(_KERNEL * spacing)), variance)
    return on, matched(centres, on, mean, np.sqrt(variance - kernel)), np.sqrt(kernel)[:, None]


def smoothed(values: Array, weights: Array, size: int) -> tuple[Array, Array, Array]:
    """Return weights and means, (n, size) each, and sds, (n, 1), of Gaussians that smooth nodes which are points."""
    mean, sd = moments(values, weights)
    masses, centres = on_grid(values, weights, size)
    kernel = bandwidth(weights) * sd
    return masses, matched(centres, masses, mean, np.sqrt(np.square(sd) - np.square(kernel))), kernel[:, None]


def gauss_points(values: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Return weights and points, (n, size) each, of a Gauss rule of the nodes, put on a fine grid first."""
    if values.shape[1] > _GRID:
        weights, values = on_grid(values, weights, _GRID)
    points, masses = gauss_rule(values, weights, size)
    return masses, points


def gauss_points_of_gaussians(
    means: Array, variances: Array, weights: Array, size: int
) -> tuple[Array, Array]:
    """Return weights and points, (n, size) each, of the Gauss rule of a sample of Gaussian nodes, of all of each.

    From the nodes' expectations of Hermite polynomials, by the modified Chebyshev algorithm (Gautschi 1982, SIAM J.
    Sci. Stat. Comput. 3:289-317): no node becomes points.

    Parameters
    ----------
    means, variances : ndarray of shape (n, G)
        A variance may be negative where that of the whole sample is not.
    weights : ndarray of shape (G,) or (n, G)
    size : int
    """
    mean = average(means, weights)
    away = means - mean[:, None]
    variance = average(np.square(away), weights) + average(variances, weights)
    sd = np.sqrt(np.maximum(variance, _TINY))
    away /= sd[:, None]
    # Of nodes that hardly count and lie farther out powers are too large for numbers.
    farthest = 10.0 ** (125.0 / size)
    np.clip(away, -farthest, farthest, out=away)
    # He_k(x) under Normal(m, v): m He_k - k (1 - v) He_(k - 1).
    short = variances / -np.square(sd)[:, None]
    short += 1.0
    np.clip(short, -np.square(farthest), np.square(farthest), out=short)
    found = np.zeros((2 * size, len(means)))
    found[0] = 1.0
    before, here = np.ones_like(away), away.copy()
    for k in range(1, 2 * size - 1):
        before *= short
        before *= -float(k)
        before += away * here
        before, here = here, before
        found[k + 1] = average(here, weights)
    diagonal, off = _chebyshev(found, size)
    points, masses = rule_of_recurrence(diagonal, off)
    return masses, mean[:, None] + sd[:, None] * points


def _chebyshev(found: Array, size: int) -> tuple[Array, Array]:
    """Return the recurrence, (n, size) twice, of polynomials orthogonal under what Hermite's expect, (2 size, n)."""
    n = found.shape[1]
    diagonal, off = np.zeros((n, size)), np.zeros((n, size))
    diagonal[:, 0] = found[1]
    before, here, square, kept = np.zeros_like(found), found, np.ones(n), np.ones(n)
    place = np.arange(2.0 * size)[:, None]
    for k in range(1, size):
        end = 2 * size - k
        after = np.zeros_like(found)
        after[k:end] = here[k + 1 : end + 1] - diagonal[:, k - 1] * here[k:end] - square * before[k:end]
        after[k:end] += place[k:end] * here[k - 1 : end - 1]
        square = after[k] / here[k - 1]
        # Where the sample is of hardly more points than k, nothing is left but rounding: k points are its rule.
        kept = kept * np.maximum(square, 0.0) / k
        gone = ~(kept > 1e-9)
        square = np.where(gone, 0.0, square)
        ratio = np.where(gone, 0.0, after[k + 1] / np.where(gone, 1.0, after[k])) if end > k + 1 else 0.0
        diagonal[:, k] = np.where(gone, 0.0, ratio - here[k] / here[k - 1])
        off[:, k] = np.sqrt(square)
        before, here = here, np.where(gone, 1.0, after)
    return diagonal, off


def as_points(masses: Array, means: Array, sds: Array, size: int) -> tuple[Array, Array]:
    """Return weights and points, (n, size) each, evenly spaced: the probabilities that Gaussians have about them."""
    lowest, highest = (means - _REACH * sds).min(axis=1), (means + _REACH * sds).max(axis=1)
    spacing = (highest - lowest) / size
    sds = np.maximum(sds, 1e-3 * spacing[:, None])
    below = np.zeros((len(means), size + 1))
    for edge in range(1, size + 1):
        below[:, edge] = average(ndtr((lowest + edge * spacing)[:, None] / sds - means / sds), masses)
    weights = np.diff(below)
    points = lowest[:, None] + (np.arange(size) + 0.5) * spacing[:, None]
    mean = average(means, masses)
    variance = average(np.square(sds) + np.square(means - mean[:, None]), masses)
    return weights, matched(points, weights, mean, np.sqrt(variance))
