"""Quantiles of many rows under a likelihood, from few numbers of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ...inference.posterior import row_blocks
from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.links import Link
from ...likelihoods.noise import KNOWN
from ...measurements.compressed import taken
from .components import Nodes
from .few_points import average
from .normal import cdf, cumulants_of
from .parts import Group, Lines
from .shapes import Laws, Shapes
from .steps import ManyCounts

__all__ = [
    "MANY_ROWS",
    "agree",
    "are_inside",
    "groups_of",
    "laws_of",
    "laws_of_lines",
    "line_cumulants",
    "quantiles_of_laws",
    "rows_to_check",
]

Array = NDArray[np.float64]

# Rows from which on shapes cost less than their own nodes do, and those that are held against these.
MANY_ROWS, _HELD = 2048, 6

# By how much normal scores may be off, and of lines alone, of which thousands of draws tell less; probabilities that
# shapes reach to.
_OFF, _OFF_LINE, _TAIL = 0.01, 0.02, 1e-4

# Levels of the place, how far apart, and those of the share of the line in the variance; the line's variance over the
# noise's, at most.
_PLACES, _APART, _WIDTHS, _SHARE, _WIDEST = 48, 0.2, 6, 0.1, 1.5

# Skewness and excess kurtosis beside the shapes' up to which they are expanded in.
_SKEWED, _PEAKED = 0.3, 0.4

# Counts from either end up to which they are summed over.
_FEW_COUNTS = 64.0

# Groups of nodes, at most, where there are other ones; rows at a time.
_GROUPS, _BLOCK = 12, 2**12


class LineCumulants(NamedTuple):
    """What is known of rows' linear predictors, (n,) each."""

    mean: Array
    sd: Array
    skewness: Array
    excess: Array
    with_noise: Array
    """Covariance with the relative variance of the noise."""


def noise_variances(
    likelihood: Likelihood, values: dict[str, Array], scales: Array | float, means: Array
) -> Array:
    """Return about the variances of the noise on the scale of the linear predictor, broadcasting all."""
    data = Observations(np.zeros(1), scales, KNOWN, 1.0)
    return np.asarray(1.0 / np.maximum(likelihood.information(values, data, means), 1e-6))


def are_inside(probabilities: Array) -> bool:
    """Return whether shapes reach to all of these probabilities."""
    return bool(((probabilities > _TAIL) & (probabilities < 1.0 - _TAIL)).all())


def groups_of(nodes: Nodes) -> list[Group]:
    """Return groups of nodes that are alike in their noise."""
    return nodes.few if 0 < len(nodes.few) <= _GROUPS else nodes.wide


def line_cumulants(line: Any, rows: NDArray[np.intp], relative: Array | None = None) -> LineCumulants:
    """Return what is known of the linear predictor at some rows.

    Parameters
    ----------
    line : LinearPredictor
        Normal at every node.
    rows : ndarray of intp
    relative : ndarray of shape (G,), optional
        Weights times what the noise's relative variance differs from one.
    """
    found = np.zeros((5, len(rows)))
    for block in row_blocks(len(rows), line.width):
        at = line.at(rows[block])
        sds = np.sqrt(np.broadcast_to(at.variances, at.means.shape))
        found[:4, block] = cumulants_of(at.weights, at.means, sds)
        if relative is not None:
            found[4, block] = at.means @ relative
    return LineCumulants(*found)


def laws_of_lines(lines: LineCumulants) -> tuple[Laws, NDArray[np.bool_]]:
    """Return the distributions of linear predictors, and of which rows they are to be trusted."""
    fine = (np.abs(lines.skewness) < _SKEWED) & (np.abs(lines.excess) < _PEAKED)
    return Laws(lines.mean, lines.sd, lines.skewness, lines.excess), fine


def laws_of(
    likelihood: Likelihood,
    nodes: Nodes,
    line: Any,
    rows: NDArray[np.intp],
    typical: tuple[Array, Array | float],
    scale: Array,
    scales: Callable[[NDArray[np.intp]], Array],
) -> tuple[Laws, NDArray[np.bool_]]:
    """Return the distributions of what underlies rows' targets, and of which rows they are to be trusted.

    Parameters
    ----------
    likelihood : Likelihood
        Of what underlies.
    nodes : Nodes
        In groups under it.
    line : LinearPredictor
    rows : ndarray of intp
    typical : tuple
        Of a row: the line, (1,), and the scale of added noise, (1, G).
    scale : ndarray of shape (n,)
        A typical scale of each row's noise, or ones.
    scales : callable
        Of positions among the rows: their scales in the groups, (k, K).
    """
    groups = groups_of(nodes)
    masses = np.array([group.mass for group in groups])
    values = {name: np.array([group.values[name] for group in groups]) for name in nodes.values}
    found = noise_variances(likelihood, nodes.values, typical[1], likelihood.link.mean(typical[0]))
    found = np.broadcast_to(found.ravel(), nodes.weights.shape)
    lines = line_cumulants(line, rows, nodes.weights * (found / (nodes.weights @ found) - 1.0))
    widths = np.square(lines.sd)
    place, levels, etas, at_levels = _levels(likelihood, lines.mean, scale, scales)
    means = np.broadcast_to(likelihood.link.mean(etas)[:, None], at_levels.shape)
    noise = np.broadcast_to(noise_variances(likelihood, values, at_levels, means), means.shape) @ masses
    fine = widths <= _WIDEST * noise.min()
    if not fine.any():
        return laws_of_lines(lines)[0], fine
    steps = _wide_levels(widths[fine], float(noise.min()))
    shapes = Shapes.of(likelihood, masses, values, (levels, etas, noise), at_levels, steps)
    corners = shapes.corners(place, widths)
    centers, more = shapes.between(corners)
    variance = more + widths
    third = lines.skewness * widths * lines.sd + 3.0 * lines.with_noise * more
    skewness, excess = third / variance**1.5, lines.excess * np.square(widths / variance)
    fine &= (np.abs(skewness) < _SKEWED) & (np.abs(excess) < _PEAKED)
    return Laws(lines.mean + centers, np.sqrt(variance), skewness, excess, shapes, corners), fine


def _levels(
    likelihood: Likelihood, line: Array, scale: Array, scales: Callable[[NDArray[np.intp]], Array]
) -> tuple[Array, Array, Array, Array]:
    """Return each row's place, (n,), and of levels of it place, line, and scales in the groups, (L, K)."""
    if likelihood.link.is_identity:
        # The noise is the same wherever the line is: rows stand for those whose noise has about their scale.
        order = np.argsort(scale)
        low, high = np.log(np.maximum(scale[order[[0, -1]]], 1e-300))
        wanted = np.exp(np.linspace(low, high, _count(high - low)))
        rows = np.unique(order[np.minimum(np.searchsorted(scale[order], wanted), len(order) - 1)])
        rows = rows[np.argsort(scale[rows])]
        rows = rows[np.append(True, np.diff(scale[rows]) > 1e-9 * scale[rows[-1]])]
        return np.square(scale), np.square(scale[rows]), np.zeros(len(rows)), scales(rows)
    if np.isinf(likelihood.link.upper):  # by rates over the line's
        return np.zeros(len(line)), np.zeros(1), np.zeros(1), scales(np.zeros(1, dtype=np.intp))
    low, high = line.min(), line.max()
    etas = np.linspace(low, high, _count(high - low)) if high > low else np.array([low])
    return line, etas, etas, scales(np.zeros(len(etas), dtype=np.intp))


def _count(length: float) -> int:
    return int(min(np.ceil(length / _APART) + 1, _PLACES))


def _wide_levels(widths: Array, noise: float) -> Array:
    """Return variances of the line, by the share that they have beside the noise's."""
    low, high = (float(end / (end + noise)) for end in (widths.min(), widths.max()))
    share = np.linspace(low, high, int(min(np.ceil((high - low) / _SHARE) + 1, _WIDTHS)))
    return np.unique(noise * share / (1.0 - share))


def quantiles_of_laws(
    link: Link, counting: Likelihood | None, laws: Laws, trials: Array, probabilities: Array
) -> Array:
    """Return quantiles of targets, (k, n).

    Parameters
    ----------
    link : Link
    counting : Likelihood or None
        Of counts given what underlies; None: that is the target.
    laws : Laws
    trials : ndarray of shape (n,)
    probabilities : ndarray of shape (k,)
    """
    n = len(laws.centers)
    answer = np.empty((len(probabilities), n))
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        here = laws.take(rows)
        if counting is None:
            answer[:, rows] = link.mean(here.quantiles(ndtri(probabilities))).T
            continue
        mixture = ManyCounts(counting, trials[rows], here)
        for i, probability in enumerate(probabilities):
            answer[i, rows] = mixture.quantile(np.full(len(rows), probability))
    return answer


def rows_to_check(laws: Laws, fine: NDArray[np.bool_], trials: Array) -> NDArray[np.intp]:
    """Return the rows, among those whose laws are to be trusted, that lie farthest out, and some others."""
    some = np.flatnonzero(fine)
    of_rows = (laws.centers, laws.sds, laws.skewness, trials)
    ends = [end for of in of_rows for end in np.argsort(of[some])[[0, -1]]]
    every = np.linspace(0, len(some) - 1, _HELD).astype(np.intp)
    return np.asarray(some[np.unique([*ends, *every])])


class _AllNodes(NamedTuple):
    """Distributions of what underlies rows' targets, as all nodes have them; arguments are those of `agree`."""

    underlying: tuple[Likelihood, dict[str, Array], Array | float] | None
    link: Link
    lines: Lines

    def below(self, x: Array, rows: NDArray[np.intp]) -> Array:
        """Return the probability of what underlies some rows below values, (n, T)."""
        if self.underlying is None:
            weights, means, variances, _ = self.lines
            sds = np.sqrt(np.broadcast_to(variances, means.shape))
            return np.stack([cdf(column, weights, means[rows], sds[rows]) for column in x.T], axis=1)
        likelihood, values, scales = self.underlying
        scales, total = taken(scales, rows), np.zeros_like(x)
        for i, column in enumerate(self.link.mean(x).T):
            data = Observations(column[:, None], scales, KNOWN)

            def less(eta: Array, data: Observations = data) -> Array:
                return likelihood.probability_of_less(eta, values, data)

            total[:, i] = self.averaged(less, rows)
        return total

    def averaged(self, probability: Callable[[Array], Array], rows: NDArray[np.intp]) -> Array:
        """Return expectations of what is a function of the linear predictor at the nodes, (n,)."""
        points, rule = np.polynomial.hermite_e.hermegauss(3)
        sds = np.sqrt(np.broadcast_to(self.lines.variances, self.lines.means.shape))[rows]
        total = np.zeros(len(rows))
        for z, mass in zip(points, rule / rule.sum(), strict=True):
            total += mass * (probability(self.lines.means[rows] + z * sds) @ self.lines.weights)
        return total


def agree(
    underlying: tuple[Likelihood, dict[str, Array], Array | float] | None,
    counted: Likelihood | None,
    link: Link,
    lines: Lines,
    sds: Array,
    trials: Array,
    probabilities: Array,
    found: Array,
) -> bool:
    """Return whether quantiles are those of all nodes.

    On the normal scale, on which a standard deviation is about one, the distribution function of all nodes is what it
    has to be there, of counts no less, and at one count less no more.

    Parameters
    ----------
    underlying : tuple, optional
        Of what underlies the likelihood, its parameters at the nodes, (G,), and scales of added noise, (n, G) or one
        number; None: that is the line.
    counted : Likelihood, optional
        Of counts; None: what underlies is the target.
    link : Link
    lines : Lines
        Of the rows.
    sds : ndarray of shape (n,)
        About those of what underlies.
    trials : ndarray of shape (n,)
    probabilities : ndarray of shape (k,)
    found : ndarray of shape (k, n)
    """
    nodes = _AllNodes(underlying, link, lines)

    def score(value: Array) -> Array:
        every = np.arange(len(value))
        if counted is None:
            return np.asarray(ndtri(nodes.below(link.of(value)[:, None], every)[:, 0]))
        last = trials * link.upper if np.isfinite(link.upper) else np.full(len(trials), np.inf)
        inside = (value >= 0.0) & (value < last)
        total = np.where(value < 0.0, 0.0, 1.0)
        # Sums of many probabilities take longer than integrals over where counts are exceeded.
        few = (np.minimum(value, last - value) <= _FEW_COUNTS) | (underlying is None)
        direct, integrated = np.flatnonzero(inside & few), np.flatnonzero(inside & ~few)
        if len(direct):
            of = trials[direct, None]
            values = {} if underlying is None else underlying[1]
            data = Observations(value[direct, None] / of, trials=of)
            total[direct] = nodes.averaged(lambda eta: counted.tails(eta, values, data)[0], direct)
        counting = counted.given_underlying
        if len(integrated) and counting is not None:
            places = counting.exceeding(value[integrated], trials[integrated], sds[integrated])
            if places is None:  # for the type checker
                raise AssertionError
            total[integrated] = average(nodes.below(places[0], integrated), places[1])
        return np.asarray(ndtri(np.minimum(total, 1.0)))

    most = _OFF_LINE if underlying is None else _OFF
    for probability, quantile in zip(probabilities, found, strict=True):
        target = float(ndtri(probability))
        if counted is None:
            if (np.abs(score(quantile) - target) > most).any():
                return False
            continue
        count = np.rint(quantile * trials)
        if (score(count) < target - most).any() or (score(count - 1.0) > target + most).any():
            return False
    return True
