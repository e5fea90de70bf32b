"""Where a regression's posterior may have peaks, under priors that are not Gaussian.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AveragedPrior = Callable[[Array, Array], tuple[float, Array, Array]]
"""From means and standard deviations, (k,) each, to the log density's mean over that normal distribution, with slopes
and curvatures, (k,) each."""


class Information(NamedTuple):
    """The log likelihood of k coefficients at one noise scale: quadratic."""

    matrix: Array
    """(k, k)"""
    pull: Array
    """(k,)"""
    constant: float

    def log_density(self, values: Array) -> float:
        return self.constant + float(self.pull @ values - 0.5 * values @ self.matrix @ values)


class Peak(NamedTuple):
    """A normal approximation of the coefficients at one noise scale."""

    position: int
    """Of the scale."""
    mean: Array
    """(k,)"""
    root_variance: Array
    """(k,) standard deviations."""
    precision: Array
    """(k,) what stands for the prior's."""
    log_mass: float
    """Lower bound of the log of the density's integral over the coefficients."""


def find_peaks(levels: Sequence[Information], prior: AveragedPrior, like: tuple[Array, Array]) -> list[Peak]:
    """Return peaks over noise scales and coefficients, the one with the largest mass first, (34b).

    At each scale a normal approximation is climbed to from that at the scale before, the noise rising and falling:
    coefficients that the prior draws to its mean stay there as long as they can, and those that are away from it.
    From each peak it is tried what there is with a coefficient at the prior's mean that is not near it, the others as
    they are or free.

    Parameters
    ----------
    levels : sequence of Information
        At ascending noise scales.
    prior : callable
    like : tuple of ndarray of shape (k,)
        Mean, and standard deviation, infinite where it is flat, of a Gaussian about as wide.
    """
    mean, sd = like
    wide = 1.0 / np.square(sd)
    narrow = np.maximum(-prior(mean, np.where(np.isfinite(sd), 0.1 * sd, 1.0))[2], wide)
    found: list[Peak] = []
    for start, order in ((0.0 * wide, range(len(levels))), (narrow, range(len(levels) - 1, -1, -1))):
        precision, along = start, []
        for position in order:
            peak = _climbed(levels[position], position, precision, prior, mean)
            if peak is not None:
                along.append(peak)
                precision = peak.precision
        masses = np.array([-np.inf, *(peak.log_mass for peak in along), -np.inf])
        top = (masses[1:-1] >= masses[:-2]) & (masses[1:-1] >= masses[2:])
        found += [peak for peak, highest in zip(along, top, strict=True) if highest]
    # A coefficient is not near the prior's mean that is further away than so many of its standard deviations.
    far = 2.0
    for peak in list(found):
        for j in np.flatnonzero(np.abs(peak.mean - mean) > far * sd):
            for others in (peak.precision, 0.0 * wide):
                precision = np.where(np.arange(len(mean)) == j, narrow, others)
                other = _climbed(levels[peak.position], peak.position, precision, prior, mean)
                found += [] if other is None else [other]
    found.sort(key=lambda peak: -peak.log_mass)
    distinct: list[Peak] = []
    for peak in found:
        if not any(_same(peak, other) for other in distinct):
            distinct.append(peak)
    return distinct


def _same(peak: Peak, other: Peak) -> bool:
    """Return whether coefficients are as near as two approximations of one peak may be."""
    wider = np.maximum(peak.root_variance, other.root_variance)
    return bool((np.abs(peak.mean - other.mean) < wider).all()) and abs(peak.position - other.position) <= 1


def _climbed(
    level: Information, position: int, precision: Array, prior: AveragedPrior, center: Array
) -> Peak | None:
    """Return the normal approximation: the prior stands as a Gaussian that has its slope; None: there is none."""
    most, moved = 30, 0.1
    mean = np.full(len(center), np.inf)
    for _ in range(most):
        try:
            covariance = np.linalg.inv(level.matrix + np.diag(precision))
        except np.linalg.LinAlgError:
            return None
        variance = np.diag(covariance)
        if not (variance > 0.0).all():
            return None
        before, root = mean, np.sqrt(variance)
        mean = covariance @ (level.pull + precision * center)
        value, slope, curvature = prior(mean, root)
        away = mean - center
        with np.errstate(all="ignore"):
            precision = np.where(np.abs(away) > 1e-3 * root, -slope / away, -curvature)
        precision = np.maximum(precision, 0.0)
        if (np.abs(mean - before) < moved * root).all():
            break
    sign, log_determinant = np.linalg.slogdet(covariance)
    spread = float(np.sum(level.matrix * covariance))
    log_mass = level.log_density(mean) + value + 0.5 * (log_determinant - spread)
    return Peak(position, mean, root, precision, log_mass) if sign > 0.0 and np.isfinite(log_mass) else None
