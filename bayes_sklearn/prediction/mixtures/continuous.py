"""Continuous predictive distributions, one per row: a likelihood's own functions averaged over few linear predictors.

All is solved and integrated on the scale of the linear predictor, on which targets have no end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ...likelihoods.base import Likelihood
from ...likelihoods.links import Link
from . import normal as mixtures
from .few_points import average
from .normal import Density, newton_on_normal_scale
from .parts import Components, NormalComponents

__all__ = ["MeanMixture", "ResponseMixture"]

Array = NDArray[np.float64]

# Brackets of quantiles grow by this factor, so many times, and where they end no float is more.
_GROWTH, _MOST_STEPS, _END = 4.0, 200, 700.0

# Of the quadrature of F^2: its spacing, how little it leaves out of a tail, its points at most, and how far out it
# may start, in standard deviations.
_SPACING, _LEFT_OUT, _MOST_POINTS, _FAR, _FARTHEST = 0.15, 1e-7, 4000, 12.0, 1e12

# Gregory's weights at the end of a trapezoid rule, exact for polynomials of the seventh degree.
_GREGORY = np.array([1070017, 5537111, 932517, 6527875, 1494755, 4641093, 3349879, 3662753]) / 3628800


class _OnLinkScale(ABC):
    """Distributions that are smooth on the scale of the linear predictor u."""

    link: Link
    smooth: bool
    """Whether they are of one piece, as far as the noise can tell."""

    @property
    @abstractmethod
    def _spread(self) -> tuple[Array, Array, Array]:
        """Mean and standard deviation in u, and how narrow a part of the distribution may be, (n,) each."""

    @abstractmethod
    def log_density(self, value: Array) -> Array:
        """Return the log density of each row's target, (n,)."""

    @abstractmethod
    def _below(self, u: Array, rows: NDArray[np.intp]) -> Array:
        """Return the distribution function of the rows named, (n,)."""

    def cdf(self, value: Array) -> Array:
        inside = (value > self.link.lower) & (value < self.link.upper)
        answer = np.where(value >= self.link.upper, 1.0, 0.0)
        rows = np.flatnonzero(inside)
        answer[rows] = self._below(self.link.of(value[rows]), rows)
        return answer

    def at(self, value: Array) -> Array:
        return np.zeros_like(value)

    def crps(self, value: Array) -> Array:
        """Return the integrals of F^2 below the value and of (1 - F)^2 above it.

        By the trapezoid rule with Gregory's weights where it ends at the value: in u, or, where the link has no curve
        of its own to be followed, in v, u = center + unit sinh(v), for tails as heavy as any.
        """
        rows, link = np.arange(len(value)), self.link
        center, sd, narrowest = self._spread
        spacing = np.full(len(value), _SPACING if self.smooth else 0.3 * _SPACING)
        unit = 2.0 * np.minimum(sd, narrowest)
        if link.is_identity:
            spacing *= np.minimum(1.0, 2.0 * narrowest / sd)
        else:
            spacing *= 1.25
            unit = np.minimum(unit, 2.0)
        # Means that lie farther out have no say, whatever the tails; targets have.
        reach = (_FARTHEST if link.is_identity else _FAR) * sd
        at = link.of(np.clip(value, link.lower, link.upper))
        at = np.clip(at, center - reach, center + reach)
        middle = (at - center) / unit
        middle = np.arcsinh(middle) if link.is_identity else middle
        score = np.abs(value - link.mean(at))
        for side in (-1.0, 1.0):
            for j in range(_MOST_POINTS):
                v = middle + side * j * spacing
                u = center + unit * (np.sinh(v) if link.is_identity else v)
                below = self._below(u, rows)
                square = np.square(below if side < 0.0 else 1.0 - below)
                part = (
                    spacing * square * unit * (np.cosh(v) if link.is_identity else np.exp(link.log_slope(u)))
                )
                score += (_GREGORY[j] if j < len(_GREGORY) else 1.0) * part
                if j >= len(_GREGORY) and ((part <= _LEFT_OUT * spacing * score) & (square < 0.25)).all():
                    break
        return score


@dataclass(frozen=True, eq=False)
class MeanMixture(_OnLinkScale):
    """Means whose linear predictors are mixtures of normal distributions.

    Parameters
    ----------
    link : Link
    weights, means : ndarray of shape (n, M)
    sds : ndarray of shape (n, 1) or (n, M)
    """

    link: Link
    weights: Array
    means: Array
    sds: Array
    smooth = True

    def log_density(self, value: Array) -> Array:
        inside = (value > self.link.lower) & (value < self.link.upper)
        eta = self.link.of(np.where(inside, value, self.link.mean(np.zeros(1))))
        density = mixtures.log_density(eta, self.weights, self.means, self.sds)
        return np.where(inside, density - self.link.log_slope(eta), -np.inf)

    def quantile(self, probability: Array) -> Array:
        return self.link.mean(mixtures.quantile(probability, self.weights, self.means, self.sds))

    @property
    def _spread(self) -> tuple[Array, Array, Array]:
        center = average(self.means, self.weights)
        variance = average(np.square(self.sds) + np.square(self.means - center[:, None]), self.weights)
        sd = np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
        return center, sd, sd

    def _below(self, u: Array, rows: NDArray[np.intp]) -> Array:
        return mixtures.cdf(u, self.weights[rows], self.means[rows], self.sds[rows])


@dataclass(frozen=True, eq=False)
class ResponseMixture(_OnLinkScale):
    """New measurements under a likelihood, one per row.

    Parameters
    ----------
    likelihood : Likelihood
    few : Components or NormalComponents
        For probabilities.
    many : callable
        Of nothing: Components or a Density for densities, of which scores take the log.
    noise : ndarray of shape (n,)
        A typical width of the noise on the scale of the linear predictor.
    smooth : bool
        Whether the components lie closer together than the noise is wide.
    """

    likelihood: Likelihood
    few: Components | NormalComponents
    many: Callable[[], Components | Density]
    noise: Array
    smooth: bool

    @property
    def link(self) -> Link:  # type: ignore[override]
        return self.likelihood.link

    def log_density(self, value: Array) -> Array:
        inside = (value >= self.link.lower) & (value <= self.link.upper)
        y = np.where(inside, value, self.link.mean(np.zeros(1)))
        many = self.many()
        found = self._log_density(y, many) if isinstance(many, Components) else many.log_density(y)
        return np.where(inside, found, -np.inf)

    def _log_density(self, value: Array, of: Components) -> Array:
        terms = self.likelihood.log_density(of.eta, of.values, of.observed(value))
        highest = np.where(of.weights > 0.0, terms, -np.inf).max(axis=1)
        finite = np.isfinite(highest)
        terms = np.exp(
            terms - np.where(finite, highest, 0.0)[:, None], where=finite[:, None], out=np.ones_like(terms)
        )
        # At the ends a component's density may be infinite, or all of them zero.
        return highest + np.log(np.maximum(average(terms, of.weights), np.finfo(np.float64).tiny))

    def _bracket(self, tail: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        """Return numbers u below and above those at which the distribution function is at these, (n,) each."""
        center, sd, _ = (part[rows] for part in self._spread)
        ends = []
        for sign in (-1.0, 1.0):
            step, going = 4.0 * sd, np.arange(len(rows))
            for _ in range(_MOST_STEPS):
                below = self._below(center[going] + sign * step[going], rows[going])
                short = below > tail[going] if sign < 0.0 else below < tail[going]
                going = going[short & (np.isinf(self.link.upper) | (step[going] < _END))]
                if not len(going):
                    break
                step[going] *= _GROWTH
            ends.append(center + sign * step)
        return ends[0], ends[1]

    def quantile(self, probability: Array) -> Array:
        probability = np.broadcast_to(probability, len(self._spread[0]))
        answer = np.where(probability <= 0.0, self.link.lower, self.link.upper)
        rows = np.flatnonzero((probability > 0.0) & (probability < 1.0))
        tail = probability[rows]
        center, sd, _ = (part[rows] for part in self._spread)
        few = self._taken(rows)
        if isinstance(few, NormalComponents):
            answer[rows] = self.link.mean(mixtures.quantile(tail, few.weights, few.means, few.sds))
            return answer

        def evaluate(u: Array, here: NDArray[np.intp]) -> tuple[Array, Array]:
            return self._below(u, rows[here]), np.sqrt(2.0 * np.pi) * self._density(u, rows[here])

        lower, upper = self._bracket(tail, rows)
        found = newton_on_normal_scale(ndtri(tail), center + ndtri(tail) * sd, lower, upper, evaluate)
        answer[rows] = self.link.mean(found)
        return answer

    def crps(self, value: Array) -> Array:
        few = self._lines
        variance = self.likelihood.variance(self.link.mean(few.eta), few.values, few.observed(value))
        if (np.isnan(variance) & (few.weights > 0.0)).any():
            return np.full(len(value), np.inf)
        return super().crps(value)

    @property
    def _spread(self) -> tuple[Array, Array, Array]:
        lines = self._lines
        center = average(lines.eta, lines.weights)
        own = average(np.square(lines.eta - center[:, None]), lines.weights)
        sd = np.sqrt(own + np.square(self.noise))
        return center, sd, sd if self.smooth else self.noise

    @property
    def _lines(self) -> Components:
        return self.few.lines if isinstance(self.few, NormalComponents) else self.few

    def _below(self, u: Array, rows: NDArray[np.intp]) -> Array:
        few = self._taken(rows)
        if isinstance(few, NormalComponents):
            return mixtures.cdf(self.link.mean(u), few.weights, few.means, few.sds)
        below = self.likelihood.probability_of_less(few.eta, few.values, few.observed(self.link.mean(u)))
        return np.minimum(average(below, few.weights), 1.0)

    def _density(self, u: Array, rows: NDArray[np.intp]) -> Array:
        few = self._taken(rows)
        if isinstance(few, NormalComponents):
            return np.exp(mixtures.log_density(self.link.mean(u), few.weights, few.means, few.sds))
        return np.exp(self._log_density(self.link.mean(u), few) + self.link.log_slope(u))

    def _taken(self, rows: NDArray[np.intp]) -> Components | NormalComponents:
        return self.few if len(rows) == len(self.noise) else self.few.take(rows)
