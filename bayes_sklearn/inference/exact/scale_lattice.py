"""Points over the scales of noise and prior, their nodes, and the masses that few nodes stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ..given_scale import GivenScale
from ..node_covariances import Factors, NodeCovariances, SharedBasis

__all__ = ["LEVEL_MASSES", "Branch", "Lattice", "Nodes", "masses_below", "masses_between"]


Array = NDArray[np.float64]

Index = NDArray[np.intp]


_LEVELS = ndtr(np.linspace(-5.0, 5.0, 129))

LEVEL_MASSES = np.diff(_LEVELS)
"""Of what lies between two quantiles that `masses_below` returns."""


class Lattice(NamedTuple):
    """Ratios, and for each the same steps of log s about a place of its own."""

    branch: Index
    """(M,) of which branch each is, ascending."""
    log_ratio: Array
    """(M,) evenly spaced in each branch."""
    place: Array
    """(M,) log s at the middle."""
    width: Array
    """(M,) of a step."""
    shift: Array
    """(M,) by how much the middle is above the likelihood's own peak."""
    steps: Array
    """(J,) evenly spaced."""
    log_weights: Array
    """(M, J) log density times spacings."""

    @property
    def log_scale(self) -> Array:
        """(M, J) log s."""
        return self.place[:, None] + self.width[:, None] * self.steps

    @property
    def scales(self) -> dict[str, Array]:
        """(M * J,) each: logs of the noise's scale and of the prior's."""
        log_scale = self.log_scale
        return {
            "noise_scale": log_scale.ravel(),
            "prior_scale": (self.log_ratio[:, None] + log_scale).ravel(),
        }


class Peaks(NamedTuple):
    """The density at some ratios, to be interpolated between them."""

    key: Array
    """(M,) of branch and ratio, ascending."""
    estimate: Array
    """(M,) of the density's log, but for log s."""
    shift: Array
    """(M,) as `Lattice.shift`."""
    width: Array
    """(M,) of the peak in log s."""

    def at(self, branch: Index, log_ratio: Array) -> tuple[Array, Array]:
        """Return shift and width at other ratios, (M,) each."""
        key = key_of(branch, log_ratio)
        return np.interp(key, self.key, self.shift), np.interp(key, self.key, self.width)


def key_of(branch: Index, log_ratio: Array) -> Array:
    """Return numbers that tell branches and ratios apart, in their order."""
    # More than logs of ratios can differ by.
    apart = 2.0**12
    return apart * branch + log_ratio


class AtRatio(NamedTuple):
    """What makes the density of the data at ratios of the prior's scale to the noise; (M,) each."""

    log_ratio: Array
    square: Array
    """Squared length of what the prior leaves of the target within the coefficients' reach."""
    half_log_det: Array
    """Half the log determinant of 1 + g^2 Sigma^2."""
    top: Array
    """Log s about which the likelihood's own peak is taken."""
    lowest: Array
    """Log s below which a residual is rounding."""
    has_residual: Array
    """1 where there is a part of the target that no coefficients reach, else 0."""
    log_ratios: Array
    """(further scales, M) logs of them by s."""
    intercept: Array
    """The intercept's mean, where it has a prior; else empty."""
    variance: Array
    """Its variance, in units of the noise's."""

    def for_steps(self) -> AtRatio:
        """Return the same as columns."""
        return AtRatio(*(part[..., None] if part.size else part for part in self))


class Nodes(NamedTuple):
    """Nodes, each a Gaussian for B's free entries."""

    log_weights: Array
    """(G,) log density times spacings."""
    noise_scale: Array
    """(G,)"""
    prior_scale: Array
    """(G,)"""
    location: Array
    """(G, P)"""
    covariances: NodeCovariances
    branch: Index
    """(G,)"""


class Branch(NamedTuple):
    """The coefficients' Gaussians of one geometry, under one weighting of the rows."""

    given: GivenScale
    """At a prior scale of one, with a flat prior of the intercept."""
    log_weight: float
    """What its density is multiplied by: its prior probability, the determinant of the rows' errors."""
    log_ratios: tuple[float, ...] = ()
    """Noise "auto": the log of the ratio of the scatter to the noise scale, which is in the rows' errors."""


def observed_linear(
    location: Array, covariances: SharedBasis, mean: float, sd: float
) -> tuple[Array, Factors]:
    """Return Gaussians for B in the light of one observation of its first entry."""
    basis, variances = covariances.basis, covariances.variances
    with_first = (variances * basis[0]) @ basis.T
    gain = with_first / (with_first[:, :1] + sd**2)
    # The root of a covariance less what the observation takes from it (Potter 1963).
    rest = 1.0 + sd / np.sqrt(with_first[:, :1] + sd**2)
    roots = basis * np.sqrt(variances)[:, None, :]
    roots = roots - (gain / rest)[:, :, None] * roots[:, :1, :]
    return location + gain * (mean - location[:, :1]), Factors(roots)


def masses_below(
    log_weights: Array, values: Mapping[str, Array], spacings: Mapping[str, float]
) -> dict[str, tuple[Array, Array]]:
    """Return, of each scale, logs of it, (K,), and the posterior probability below them.

    Parameters
    ----------
    log_weights : ndarray of shape (G,)
    values : mapping from a name to an ndarray of shape (G,)
        Logs of the scale.
    spacings : mapping from a name to a float
        Values that are so far apart stand for all that are nearer to them than to their neighbours.
    """
    weights = np.exp(log_weights - log_weights.max())
    keep = weights > 1e-13 * weights.sum()
    return {
        name: _spread_out(logs[keep], weights[keep], spacings.get(name, 0.0)) for name, logs in values.items()
    }


def masses_between(values: Array, weights: Array) -> tuple[Array, Array]:
    """Return places and the mass below them where each value stands for all that are nearer to it than to others."""
    if len(values) == 1:
        return values, np.ones(1)
    order = np.argsort(values)
    between = 0.5 * np.diff(values[order])
    edges = np.append(values[order] - np.append(between[0], between), values[order[-1]] + between[-1])
    return edges, np.append(0.0, np.cumsum(weights[order]) / weights.sum())


def _spread_out(values: Array, weights: Array, width: float = 0.0) -> tuple[Array, Array]:
    """Return places and the mass below them of a weighted sample whose values are as far apart as `width`."""
    low, high = float(values.min()) - width, float(values.max()) + width
    if low == high:
        return np.array([low]), np.ones(1)
    # Cells in which the distributions of the scales are summed, and probabilities for which they are kept.
    fine = 1025
    position = (values - low) * ((fine - 1) / (high - low))
    cell = np.minimum(position.astype(np.intp), fine - 2)
    position -= cell
    above = weights * position
    spread = np.bincount(cell, weights - above, fine) + np.bincount(cell + 1, above, fine)
    mass = np.asarray(spread / spread.sum(), dtype=np.float64)
    places, below = np.linspace(low, high, fine), np.cumsum(mass) - 0.5 * mass
    if width > 0.0:
        # Each value spread over the width: the mean of the mass below; its variance is taken away again (Sheppard).
        sums = np.append(0.0, np.cumsum(0.5 * (below[1:] + below[:-1]))) * (places[1] - places[0])
        left, right = np.interp(places + 0.5 * width * np.array([[-1.0], [1.0]]), places, sums)
        below = np.minimum((right + np.maximum(places + 0.5 * width - high, 0.0) - left) / width, 1.0)
        mean = mass @ places
        variance = mass @ np.square(places - mean)
        places = mean + (places - mean) * np.sqrt(variance / (variance + width**2 / 12.0))
    at = np.interp(_LEVELS, below, places)
    return at, _LEVELS


def log_sum(logs: Array) -> Array:
    """Return the log of each row's sum of exponentials, (M,)."""
    highest = logs.max(axis=1)
    highest[np.isneginf(highest)] = 0.0
    with np.errstate(divide="ignore"):
        return np.asarray(highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1)))
