"""Targets that are in the table because they lie between limits.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..priors.base import ScalePrior
from ..priors.scales import HalfNormal
from .base import Derivatives, Likelihood, Observations, counts_below
from .noise import Noise
from .parameters import Auxiliary

__all__ = ["Truncated", "selected"]

Array = NDArray[np.float64]

# Of the limits that are finite, among the likelihood's constants.
_NAMES = ("lower_limit", "upper_limit")


def selected(of: Likelihood, truncation: tuple[float, float] | None) -> Likelihood:
    """Return the likelihood of rows whose targets lie between limits, in the unit that these are in, or of all."""
    return of.population if truncation is None else Truncated(of.population, *truncation)


class Truncated(Likelihood):
    """Another likelihood, given that targets lie above one limit and at most at another, (33c).

    Parameters
    ----------
    of : Likelihood
        Of the population that rows were selected from.
    lower, upper : float
        The limits, in the unit that targets are in; either may be infinite.
    """

    def __init__(self, of: Likelihood, lower: float, upper: float):
        self.of = of
        self.lower = lower
        self.upper = upper
        shared = "name", "link", "per", "has_noise_scale", "takes_more", "intercept_prior", "coef_prior"
        self.__dict__.update({name: getattr(of, name) for name in shared})

    def __repr__(self) -> str:
        return f"{self.of!r} of rows that were selected (truncation)"

    @property
    def population(self) -> Likelihood:
        return self.of

    @property
    def structure(self) -> tuple[Any, ...]:
        return type(self), *self.of.structure, *self._finite

    @property
    def constants(self) -> Mapping[str, float]:
        return {**self.of.constants, **self._finite}

    @property
    def _finite(self) -> dict[str, float]:
        limits = zip(_NAMES, (self.lower, self.upper), strict=True)
        return {name: limit for name, limit in limits if np.isfinite(limit)}

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        return self.of.auxiliary(noise, visible, noise_prior, scatter_unit)

    def log_selected(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return the log probability that each row was selected: arguments and shape are those of `log_density`."""
        lower, upper = (np.full(len(data.y), limit) for limit in (self.lower, self.upper))
        return self.of.log_between(eta, values, data, lower, upper)

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return self.of.log_density(eta, values, data) - self.log_selected(eta, values, data)

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        lower = np.full(len(data.y), self.lower)
        log_selected = self.log_selected(eta, values, data)
        found = np.exp(self.of.log_between(eta, values, data, lower, data.y) - log_selected)
        if self.counted:
            found -= 0.5 * np.exp(self.of.log_density(eta, values, data) - log_selected)
        return np.clip(found, 0.0, 1.0)

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return that of the population: predictions are of it."""
        return self.of.variance(mean, values, data)

    def squared_scale(self, values: Mapping[str, Array], data: Observations) -> Array:
        return self.of.squared_scale(values, data)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return self.of.information(values, data, share)

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        # Rejected and drawn again; what is so unlikely that it is hardly ever drawn is found by its probability.
        tries = 30
        drawn = np.asarray(self.of.draw(eta, values, data, rng))
        outside = ~self._holds(drawn)
        values = {name: np.broadcast_to(value, drawn.shape) for name, value in values.items()}
        for turn in range(tries):
            if not outside.any():
                break
            line, of_rows = np.broadcast_to(eta, drawn.shape)[outside], data.take(np.nonzero(outside)[-1])
            given = line, {name: value[outside] for name, value in values.items()}, of_rows
            if turn < tries - 1:
                drawn[outside] = self.of.draw(*given, rng)
                outside = ~self._holds(drawn)
            else:
                drawn[outside] = self._inverse(rng.random(line.shape), *given)
        return drawn

    def _holds(self, target: Array) -> NDArray[np.bool_]:
        return (target > self.lower) & (target <= self.upper)

    def _inverse(
        self, probability: Array, eta: Array, values: Mapping[str, Array], data: Observations
    ) -> Array:
        """Return the least selected targets of no less than these probabilities, by bisection."""
        shape, log_selected = probability.shape, self.log_selected(eta, values, data)

        def between(lower: Array, upper: Array) -> Array:
            return np.exp(self.of.log_between(eta, values, data, lower, upper) - log_selected)

        # An end that is infinite comes to where next to nothing lies beyond.
        ends = np.full(shape, self.lower), np.full(shape, self.upper)
        low, high = (np.clip(end, self.link.lower - 1.0, self.link.upper) for end in ends)
        own = self.of.link.mean(eta) + np.zeros(shape)
        low = np.where(np.isfinite(low), low, np.minimum(np.where(np.isfinite(high), high, own), own))
        high = np.where(np.isfinite(high), high, np.maximum(low, own))
        for step in 2.0 ** np.arange(-10.0, 200.0):
            short = 1.0 - between(low, high) > 1e-12
            if not short.any():
                break
            low = np.where(short & np.isinf(ends[0]), low - step, low)
            high = np.where(short & np.isinf(ends[1]), high + step, high)
        first = low
        for _ in range(100):
            middle = 0.5 * (low + high)
            less = between(first, middle) < probability
            low, high = np.where(less, middle, low), np.where(less, high, middle)
        if not self.counted:
            return high
        trials = np.asarray(data.trials)
        return counts_below(high * (1.0 + 1e-12), trials) / trials

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        """Return those of the population's, less those of the log probability of selection, by differences."""
        own = self.of.derivatives(eta, coordinates, data)
        size, found = 1 + len(coordinates), self.auxiliary(data.noise, data.visible, HalfNormal())

        def values(point: Array) -> dict[str, Array]:
            return {one.name: one.coordinate.value(point[i]) for i, one in enumerate(found)}

        unit = self.of.squared_scale(values(coordinates), data) if self.has_noise_scale else np.ones(1)
        # Relative to a row's noise, and to the coordinates, which are of the order of one; roots may be less.
        step = 1e-3
        steps = [step * np.sqrt(unit), *(step * np.maximum(np.abs(coordinates), 0.1))]

        def at(*moves: tuple[int, float]) -> Array:
            line, point = eta, coordinates.copy()
            for i, sign in moves:
                if i == 0:
                    line = line + sign * steps[0]
                else:
                    point[i - 1] += sign * steps[i]
            return self.log_selected(line, values(point), data)

        middle = at()
        ups, downs = ([at((i, sign)) for i in range(size)] for sign in (1.0, -1.0))
        gradient = np.array([(ups[i] - downs[i]) / (2.0 * steps[i]) for i in range(size)])
        hessian = np.empty((size, size, len(eta)))
        for i in range(size):
            hessian[i, i] = (ups[i] - 2.0 * middle + downs[i]) / np.square(steps[i])
            for j in range(i):
                both = at((i, 1.0), (j, 1.0)) + at((i, -1.0), (j, -1.0))
                across = both - at((i, 1.0), (j, -1.0)) - at((i, -1.0), (j, 1.0))
                hessian[i, j] = hessian[j, i] = across / (4.0 * steps[i] * steps[j])
        least = 0.1 * own.curvature
        return Derivatives(
            own.value - middle,
            own.gradient - gradient,
            own.hessian - hessian,
            np.maximum(own.curvature + hessian[0, 0], least),
        )

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        """Return the population's."""
        return self.of.distribution(eta, values, data)

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        return self.of.graph(eta, values, data) - self.log_selected_graph(eta, values, data)

    def log_selected_graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        """Return `log_selected` in PyTensor; limits are among the values."""
        return self.of.log_between_graph(eta, values, data, *(values.get(name) for name in _NAMES))
