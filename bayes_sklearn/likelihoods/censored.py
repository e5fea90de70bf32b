"""Targets of which limits were seen, and not the value.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..priors.base import ScalePrior
from ..priors.scales import HalfNormal
from .base import Derivatives, Likelihood, Observations
from .noise import Noise
from .parameters import Auxiliary

__all__ = ["Censored"]

Array = NDArray[np.float64]


class _Parts(NamedTuple):
    """Rows that were measured, and those of which limits were seen."""

    measured: NDArray[np.intp]
    of_measured: Observations
    censored: NDArray[np.intp]
    of_censored: Observations
    lower: Array
    upper: Array


class Censored(Likelihood):
    """Another likelihood, where of some rows limits were seen: their part is the probability between these, (54).

    Parameters
    ----------
    of : Likelihood
        Of targets that are measured.
    """

    def __init__(self, of: Likelihood):
        self.of = of
        shared = "name", "link", "per", "has_noise_scale", "takes_more", "intercept_prior", "coef_prior"
        self.__dict__.update({name: getattr(of, name) for name in shared})

    @property
    def population(self) -> Likelihood:
        return self.of

    @property
    def structure(self) -> tuple[Any, ...]:
        return type(self), *self.of.structure

    @property
    def constants(self) -> Mapping[str, float]:
        return self.of.constants

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        return self.of.auxiliary(noise, visible, noise_prior, scatter_unit)

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return self.given(values, data)(eta)

    def given(self, values: Mapping[str, Array], data: Observations) -> Callable[[Array], Array]:
        parts, n = _parts(data), len(data.y)
        of_measured = self.of.given(_of_rows(values, parts.measured, n), parts.of_measured)
        of_censored = _of_rows(values, parts.censored, n)

        def log_density(eta: Array) -> Array:
            shape = np.broadcast_shapes(eta.shape, data.y.shape, *(np.shape(one) for one in values.values()))
            found = np.empty(shape)
            eta = np.broadcast_to(eta, (*eta.shape[:-1], n))
            found[..., parts.measured] = of_measured(eta[..., parts.measured])
            found[..., parts.censored] = self.of.log_between(
                eta[..., parts.censored], of_censored, parts.of_censored, parts.lower, parts.upper
            )
            return found

        return log_density

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return that of less than a target; of a limit that of less and half of that between it and the other."""
        parts, n = _parts(data), len(data.y)
        of_censored = _of_rows(values, parts.censored, n)
        found = np.empty(np.broadcast_shapes(eta.shape, data.y.shape))
        found[..., parts.measured] = self.of.probability_of_less(
            eta[..., parts.measured], _of_rows(values, parts.measured, n), parts.of_measured
        )
        below = np.full_like(parts.lower, -np.inf)
        ends = (below, parts.lower), (parts.lower, parts.upper)
        less, between = (
            np.exp(self.of.log_between(eta[..., parts.censored], of_censored, parts.of_censored, *pair))
            for pair in ends
        )
        found[..., parts.censored] = less + 0.5 * between
        return found

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return self.of.variance(mean, values, data)

    def squared_scale(self, values: Mapping[str, Array], data: Observations) -> Array:
        return self.of.squared_scale(values, data)

    def normal_parts(
        self, values: Mapping[str, Array], outlying: Array, explained: Array
    ) -> Iterator[tuple[Array, Array]]:
        return self.of.normal_parts(values, outlying, explained)

    def normal_parts_graph(
        self, values: Mapping[str, Any], outlying: Any, explained: Any, count: int
    ) -> tuple[Any, Any] | None:
        return self.of.normal_parts_graph(values, outlying, explained, count)

    def drawn_parts(
        self, values: Mapping[str, Array], shape: tuple[int, int], rng: np.random.Generator
    ) -> Array:
        return self.of.drawn_parts(values, shape, rng)

    def precision(self, values: Mapping[str, Any], dims: str) -> Any:
        return self.of.precision(values, dims)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return self.of.information(values, data, share)

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        """Return new values, not limits."""
        return self.of.draw(eta, values, data, rng)

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        parts = _parts(data)
        # Of the likelihood's own where measured, by differences between limits.
        own = self.of.derivatives(eta[parts.measured], coordinates, parts.of_measured)
        found = Derivatives(*(np.empty((*of.shape[:-1], len(eta))) for of in own))
        between = self._between(eta[parts.censored], coordinates, parts)
        for whole, *each in zip(found, own, between, strict=True):
            whole[..., parts.measured], whole[..., parts.censored] = each
        return found

    def _between(self, eta: Array, coordinates: Array, parts: _Parts) -> Derivatives:
        """Return the derivatives of the log probability between limits."""
        data, auxiliary = parts.of_censored, self.auxiliary(parts.of_censored.noise, parts.of_censored.visible, HalfNormal())

        def values(point: Array) -> dict[str, Array]:
            return {one.name: one.coordinate.value(point[i]) for i, one in enumerate(auxiliary)}

        def log_probability(line: Array, point: Array) -> Array:
            return self.of.log_between(line, values(point), data, parts.lower, parts.upper)

        unit = self.of.squared_scale(values(coordinates), data) if self.has_noise_scale else np.ones(1)
        found = by_differences(log_probability, eta, coordinates, np.sqrt(unit))
        least = 1e-6 / unit
        return found._replace(curvature=np.maximum(found.curvature, least))

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        """Return that of targets that are measured."""
        return self.of.distribution(eta, values, data)

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        limits = data.limits
        between = self.of.log_between_graph(eta, values, data, limits.lower, limits.upper)
        return pt.switch(limits.censored, between, self.of.graph(eta, values, data))


def _of_rows(values: Mapping[str, Array], rows: NDArray[np.intp], n: int) -> dict[str, Array]:
    """Return the values of parameters in some rows, where they differ."""
    return {
        name: value[..., rows] if np.ndim(value) and np.shape(value)[-1] == n and n > 1 else np.asarray(value)
        for name, value in values.items()
    }


def _parts(data: Observations) -> _Parts:
    """Return the rows apart."""
    if "censored" not in data.found:
        if data.limits is None:
            raise ValueError("There are no limits.")
        censored, measured = np.flatnonzero(data.limits.censored), np.flatnonzero(~data.limits.censored)
        limits = data.limits.take(censored)
        data.found["censored"] = _Parts(
            measured, data.take(measured), censored, data.take(censored), limits.lower, limits.upper
        )
    found: _Parts = data.found["censored"]
    return found


def by_differences(
    log_density: Callable[[Array, Array], Array], eta: Array, coordinates: Array, unit: Array
) -> Derivatives:
    """Return the derivatives of a log density by differences.

    Parameters
    ----------
    log_density : callable
        Of the linear predictor, (n,), and the coordinates, (A,).
    eta : ndarray of shape (n,)
    coordinates : ndarray of shape (A,)
    unit : ndarray of shape (n,) or (1,)
        What it changes by in the linear predictor; in the coordinates they are of the order of one, and may be less.
    """
    size, step = 1 + len(coordinates), 1e-3
    steps = [step * unit, *(step * np.maximum(np.abs(coordinates), 0.1))]

    def at(*moves: tuple[int, float]) -> Array:
        line, point = eta, coordinates.copy()
        for i, sign in moves:
            if i == 0:
                line = line + sign * steps[0]
            else:
                point[i - 1] += sign * steps[i]
        return log_density(line, point)

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
    return Derivatives(middle, gradient, hessian, np.maximum(-hessian[0, 0], 0.0))
