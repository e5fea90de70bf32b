"""The priors of a regression's coefficients and intercept, given the scale where one is learned.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...priors.base import CoefficientPrior
from ...priors.coefficients import PoweredCorrelation
from ..problem import Problem

Array = NDArray[np.float64]

# Gauss-Hermite rule by which a prior that is not Gaussian is averaged.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)

_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def without_density(problem: Problem) -> str | None:
    """Return which prior has no density to weight nodes by, or None.

    In its own directions a powered correlation is a Normal prior.
    """
    for role, prior in (("coef_prior", problem.coef_prior), ("intercept_prior", problem.intercept_prior)):
        own = getattr(type(prior), "coefficient_log_density", None)
        if own is CoefficientPrior.coefficient_log_density and not isinstance(prior, PoweredCorrelation):
            return f"{role}={prior!r} has no density in closed form (coefficient_log_density)"
    return None


class OnePrior(NamedTuple):
    """The prior of some entries, at a scale of one where it is learned."""

    entries: slice
    prior: CoefficientPrior
    parameters: Mapping[str, Array]
    gaussian: tuple[Array, Array] | None
    """Mean and standard deviation."""
    like: tuple[Array, Array]
    """Of a Gaussian about as wide."""
    learned: bool

    @classmethod
    def of(cls, prior: CoefficientPrior, role: str, entries: slice) -> OnePrior:
        """Return the prior of a role of `Problem`."""
        size, at_one = entries.stop - entries.start, prior.at_scale(1.0)
        gaussian, like = at_one.gaussian(role, size), at_one.gaussian_like(role, size)
        return cls(entries, at_one, at_one.check(role, size), gaussian, like, prior.scale_prior is not None)

    def log_density(self, values: Array, scale: Array | None) -> Array:
        """Return the log density of each, (..., size), given the scale, (1,) or (G, 1)."""
        if not self.learned or scale is None:
            return self.prior.coefficient_log_density(values, self.parameters)
        mu = self.parameters["mu"]
        return self.prior.coefficient_log_density(mu + (values - mu) / scale, self.parameters) - np.log(scale)


@dataclass(frozen=True, eq=False)
class FreePriors:
    """The priors of everything that is free in B."""

    each: tuple[OnePrior, ...]
    """That of the coefficients is the last."""

    @property
    def gaussian(self) -> bool:
        """Whether all are, given the scale."""
        return all(prior.gaussian is not None for prior in self.each)

    @property
    def peak(self) -> float:
        """By how much the log of a prior whose scale is learned exceeds a Gaussian's about as wide, at its mean.

        Of each coefficient; zero where that is what the prior is.
        """
        last = self.each[-1]
        if not last.learned or last.gaussian is not None:
            return 0.0
        mean, sd = last.like
        return float(np.mean(last.log_density(mean, None) + np.log(np.sqrt(2.0 * np.pi) * sd)))

    def log_density(self, values: Array, scale: Array | None) -> Array:
        """Return the log density, (G,), given the scale where it is learned, (G, 1)."""
        total = np.zeros(values.shape[:-1])
        for prior in self.each:
            total += prior.log_density(values[..., prior.entries], scale).sum(axis=-1)
        return total

    def derivatives(self, values: Array, smoothing: Array, scale: Array | None) -> tuple[float, Array, Array]:
        """Return the log density at a point, its gradient and second derivatives, (P,) each, (34).

        Of priors that are not Gaussian, averaged over Normal(values, smoothing^2): by Stein's identity derivatives of
        the mean are means of the density itself, so that any density will do.
        """
        value, gradient, curvature = 0.0, np.zeros(len(values)), np.zeros(len(values))
        for prior in self.each:
            entries = prior.entries
            own, width = values[entries], smoothing[entries]
            if prior.gaussian is not None:
                mean, sd = prior.gaussian
                sd = sd if scale is None or not prior.learned else scale * sd
                value += float(prior.log_density(own, scale).sum())
                precision = 1.0 / np.square(sd)
                gradient[entries], curvature[entries] = (mean - own) * precision, -precision
                continue
            logs = prior.log_density(own + _NODES[:, None] * width, scale)
            mean = _WEIGHTS @ logs
            value += float(mean.sum())
            gradient[entries] = (_WEIGHTS * _NODES) @ (logs - mean) / width
            curvature[entries] = (_WEIGHTS * (np.square(_NODES) - 1.0)) @ (logs - mean) / np.square(width)
        return value, gradient, curvature
