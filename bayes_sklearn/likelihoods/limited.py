"""Targets of which limits were seen in the place of values, and those in the table because they lie between limits.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..measurements.limits import Limits, Sides
from ..priors.base import ScalePrior
from ..priors.scales import HalfNormal
from .base import Derivatives, Likelihood, Observations
from .noise import Noise
from .parameters import Auxiliary
from .special_functions import counts_below

__all__ = ["Censored", "Truncated", "ends_of", "log_between_sides", "selected", "with_limits"]

Array = NDArray[np.float64]

# Of the limits that are finite, among the likelihood's constants.
_NAMES = ("lower_limit", "upper_limit")


def selected(of: Likelihood, truncation: tuple[float, float] | None) -> Likelihood:
    """Return the likelihood of rows whose targets lie between limits, in the unit that these are in, or of all."""
    return of.population if truncation is None else Truncated(of, *truncation)


def with_limits(of: Likelihood, limits: Limits | None) -> Likelihood:
    """Return the likelihood of rows some of whose targets are limits; a normal one where they are just not there."""
    if limits is None or (limits.say_nothing and of.is_normal):
        return of
    return Censored(of, limits.say_nothing)


class _OfOther(Likelihood):
    """Another likelihood, of which not all is seen."""

    def __init__(self, of: Likelihood):
        self.of = of
        shared = "name", "link", "per", "has_noise_scale", "takes_more", "intercept_prior", "coef_prior"
        self.__dict__.update({name: getattr(of, name) for name in shared})

    @property
    def population(self) -> Likelihood:
        return self.of.population

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

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return that of the population: predictions are of it."""
        return self.of.variance(mean, values, data)

    def squared_scale(self, values: Mapping[str, Array], data: Observations) -> Array:
        return self.of.squared_scale(values, data)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return self.of.information(values, data, share)

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        """Return the population's."""
        return self.of.distribution(eta, values, data)

    def _by_differences(
        self,
        log_density: Callable[[Array, Mapping[str, Array]], Array],
        eta: Array,
        coordinates: Array,
        data: Observations,
    ) -> Derivatives:
        """Return the derivatives of a log density, of the linear predictor and the parameters, by differences."""
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
            return log_density(line, values(point))

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
        # Rows that say next to nothing of the line say a little.
        return Derivatives(middle, gradient, hessian, np.maximum(-hessian[0, 0], 1e-6 / unit))


class Truncated(_OfOther):
    """Another likelihood, given that targets lie above one limit and at most at another, (33c).

    Parameters
    ----------
    of : Likelihood
        Of the population that rows were selected from.
    lower, upper : float
        The limits, in the unit that targets are in, of events their numbers; either may be infinite.
    """

    def __init__(self, of: Likelihood, lower: float, upper: float):
        super().__init__(of.population)
        self.lower = lower
        self.upper = upper

    def __repr__(self) -> str:
        return f"{self.of!r} of rows that were selected (truncation)"

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

    def log_selected(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return the log probability that each row was selected: arguments and shape are those of `log_density`."""
        return self.of.log_between(eta, values, data, *self.ends(data))

    def ends(self, data: Observations) -> tuple[Array, Array]:
        """Return the limits of each row's target, (n,) each."""
        lower, upper = ends_of(self, data, (self.lower, self.upper))
        return lower + np.zeros(len(data.y)), upper + np.zeros(len(data.y))

    def log_between(
        self, eta: Array, values: Mapping[str, Array], data: Observations, lower: Array, upper: Array
    ) -> Array:
        least, most = self.ends(data)
        lower, upper = np.clip(lower, least, most), np.clip(upper, least, most)
        return self.of.log_between(eta, values, data, lower, upper) - self.log_selected(eta, values, data)

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return self.of.log_density(eta, values, data) - self.log_selected(eta, values, data)

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        lower, _ = self.ends(data)
        log_selected = self.log_selected(eta, values, data)
        found = np.exp(self.of.log_between(eta, values, data, lower, data.y) - log_selected)
        if self.counted:
            found -= 0.5 * np.exp(self.of.log_density(eta, values, data) - log_selected)
        return np.clip(found, 0.0, 1.0)

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        # Rejected and drawn again; what is so unlikely that it is hardly ever drawn is found by its probability.
        tries = 30
        drawn = np.asarray(self.of.draw(eta, values, data, rng))
        outside = ~self.holds(drawn, data)
        values = {name: np.broadcast_to(value, drawn.shape) for name, value in values.items()}
        for turn in range(tries):
            if not outside.any():
                break
            line, of_rows = np.broadcast_to(eta, drawn.shape)[outside], data.take(np.nonzero(outside)[-1])
            given = line, {name: value[outside] for name, value in values.items()}, of_rows
            if turn < tries - 1:
                drawn[outside] = self.of.draw(*given, rng)
                outside = ~self.holds(drawn, data)
            else:
                drawn[outside] = self._inverse(rng.random(line.shape), *given)
        return drawn

    def holds(self, target: Array, data: Observations) -> NDArray[np.bool_]:
        """Return which targets lie between the limits."""
        lower, upper = self.ends(data)
        return (target > lower) & (target <= upper)

    def _inverse(
        self, probability: Array, eta: Array, values: Mapping[str, Array], data: Observations
    ) -> Array:
        """Return the least selected targets of no less than these probabilities, by bisection."""
        shape, log_selected = probability.shape, self.log_selected(eta, values, data)

        def between(lower: Array, upper: Array) -> Array:
            return np.exp(self.of.log_between(eta, values, data, lower, upper) - log_selected)

        # An end that is infinite comes to where next to nothing lies beyond.
        ends = [np.broadcast_to(end, shape) for end in self.ends(data)]
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
        value, gradient, hessian, _ = self._by_differences(
            lambda line, values: self.log_selected(line, values, data), eta, coordinates, data
        )
        return Derivatives(
            own.value - value,
            own.gradient - gradient,
            own.hessian - hessian,
            np.maximum(own.curvature + hessian[0, 0], 0.1 * own.curvature),
        )

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        return self.of.graph(eta, values, data) - self.log_selected_graph(eta, values, data)

    def log_selected_graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        """Return `log_selected` in PyTensor; limits are among the values."""
        return self.of.log_between_graph(eta, values, data, *self._ends_graph(values, data))

    def _ends_graph(self, values: Mapping[str, Any], data: Observations) -> tuple[Any, Any]:
        return ends_of(self, data, (values.get(_NAMES[0]), values.get(_NAMES[1])))

    def log_between_graph(
        self, eta: Any, values: Mapping[str, Any], data: Observations, lower: Any, upper: Any
    ) -> Any:
        least, most = self._ends_graph(values, data)
        lower, upper = least if lower is None else lower, most if upper is None else upper
        found = 0.0 if lower is upper is None else self.of.log_between_graph(eta, values, data, lower, upper)
        return found - self.log_selected_graph(eta, values, data)


def ends_of(likelihood: Likelihood, data: Observations, limits: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return limits in the unit of each row's target: those of events are of their numbers; None is no limit."""
    if likelihood.per != "exposure":
        return limits
    lower, upper = (None if limit is None else limit / data.trials for limit in limits)
    return lower, upper


class _Parts(NamedTuple):
    """Rows that were measured, and those of which limits were seen."""

    measured: NDArray[np.intp]
    of_measured: Observations
    censored: NDArray[np.intp]
    of_censored: Observations
    lower: Array
    upper: Array


class Censored(_OfOther):
    """Another likelihood, where of some rows limits were seen: their part is the probability between these, (33d).

    Parameters
    ----------
    of : Likelihood
        Of targets that are measured.
    says_nothing : bool, default=False
        Whether the limits are infinite ones.
    """

    def __init__(self, of: Likelihood, says_nothing: bool = False):
        super().__init__(of)
        self.says_nothing = says_nothing

    def __repr__(self) -> str:
        return f"{self.of!r} of targets that are limits (y_censored)"

    @property
    def structure(self) -> tuple[Any, ...]:
        return *super().structure, self.says_nothing

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
            if len(parts.measured):
                found[..., parts.measured] = of_measured(eta[..., parts.measured])
            found[..., parts.censored] = self.of.log_between(
                eta[..., parts.censored], of_censored, parts.of_censored, parts.lower, parts.upper
            )
            return found

        return log_density

    def log_unit(self, data: Observations) -> Array:
        """Return none of rows of which a limit was seen: what is said of these is a probability."""
        parts, n = _parts(data), len(data.y)
        found = np.zeros(n)
        found[parts.measured] = self.of.log_unit(parts.of_measured)
        return found

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return that of less than a target; of a limit that of less and a part, drawn, of what lies between both."""
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
        # Uniform where the model is right; the same every time.
        place = np.random.default_rng(n).random(len(parts.censored))
        found[..., parts.censored] = less + place * between
        return found

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
        data = parts.of_censored
        return self._by_differences(
            lambda line, values: self.of.log_between(line, values, data, parts.lower, parts.upper),
            eta,
            coordinates,
            data,
        )

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        sides: Any = data.limits
        between = 0.0 if self.says_nothing else log_between_sides(self.of, eta, values, data, sides)
        return pt.switch(pt.neq(sides.side, 0.0), between, self.of.graph(eta, values, data))


def log_between_sides(
    likelihood: Likelihood, eta: Any, values: Mapping[str, Any], data: Observations, sides: Sides
) -> Any:
    """Return the log probability between limits in PyTensor, shaped as eta; of rows that were measured, anything."""
    import pytensor.tensor as pt

    both, below, above = (
        likelihood.log_between_graph(eta, values, data, *pair)
        for pair in ((sides.lower, sides.upper), (None, sides.upper), (sides.lower, None))
    )
    found = pt.switch(pt.eq(sides.side, 2.0), both, pt.switch(pt.eq(sides.side, -1.0), below, above))
    return pt.switch(pt.eq(sides.side, 3.0), 0.0, found)


def _of_rows(values: Mapping[str, Array], rows: NDArray[np.intp], n: int) -> dict[str, Array]:
    """Return the values of parameters in some rows, where they differ."""
    return {
        name: value[..., rows] if np.ndim(value) and np.shape(value)[-1] == n and n > 1 else np.asarray(value)
        for name, value in values.items()
    }


def _parts(data: Observations) -> _Parts:
    """Return the rows apart."""
    if "censored" not in data.found:
        limits = _limits(data)
        censored, measured = np.flatnonzero(limits.censored), np.flatnonzero(~limits.censored)
        limits = limits.take(censored)
        data.found["censored"] = _Parts(
            measured, data.take(measured), censored, data.take(censored), limits.lower, limits.upper
        )
    found: _Parts = data.found["censored"]
    return found


def _limits(data: Observations) -> Limits:
    """Return the limits that there are."""
    if data.limits is None:
        raise ValueError("There are no limits.")
    return data.limits
