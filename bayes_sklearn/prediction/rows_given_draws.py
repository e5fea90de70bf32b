"""Observed rows given each draw from a posterior: how likely they are, and how probable less, and measurements anew.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from ..inference.posterior import row_blocks
from ..inference.structural.readings import most_readings
from ..inference.structural.true_features import Line, TrueFeatures
from ..inference.structural.true_mixture import TrueMixture
from ..likelihoods.base import Likelihood, Observations
from ..likelihoods.limited import Censored, Truncated
from ..likelihoods.noise import SCALED, Noise
from ..likelihoods.over_line.integral import log_density_over_line, parts_over_line
from ..measurements.limits import Limits, ReadingLimits
from .draws import Draws
from .shared_errors import told_of_noise

__all__ = [
    "GivenDraws",
    "MeasuredRowsGivenDraws",
    "MixedRowsGivenDraws",
    "Observed",
    "RowsGivenDraws",
    "SelectedRowsGivenDraws",
]

Array = NDArray[np.float64]

# Quadrature over a normal distribution goes so many standard deviations far.
_REACH = 8.0


class Observed(NamedTuple):
    """Rows that a fitted model is held against, those of weight zero left out."""

    X: Array
    """(n, p) features."""
    y: Array
    labels: NDArray[Any]
    standard_error: Array | None
    feature_error: Array | None
    """(n, q, q) covariances of the errors of those features that have any; (n, q, q + 1) with the target's error."""
    constant: dict[str, Array]
    """(n,) what else was given with each row."""
    trials: Array | float
    """Behind shares, (n,) or one for all."""
    used: NDArray[np.intp] | slice = slice(None)
    """Their positions among all rows that were given."""
    limits: Limits | None = None
    """Of targets that were not measured."""
    readings: ReadingLimits | None = None
    """Of features with errors of which only a side was seen."""
    members: NDArray[np.intp] | None = None
    """(n, K) groups that rows are of."""


@dataclass(frozen=True, eq=False)
class GivenDraws:
    """The distribution of every observed row's target given each draw, (14), (31) and (47).

    Where features have errors it is given what was measured of them: the true ones are integrated out.
    """

    likelihood: Likelihood
    noise: Noise
    observed: Observed
    draws: Draws
    center: Array
    """(p,) The draws' coefficients are about it."""
    truncation: tuple[float, float] | None = None
    """Limits between which targets lie of rows that were selected, where features have errors: of others the
    likelihood has them."""
    line: Callable[[slice], Array] | None = None
    """Where rows are in groups: the lines of some rows, (rows, G)."""
    measured: Callable[[TrueFeatures | TrueMixture, slice], Line] | None = None
    """Where they are and features have errors: the lines given these and what was measured."""

    def blocks(self) -> Iterator[slice]:
        """Yield slices of rows whose arrays of draws and rows stay small."""
        true, readings = self.draws.true_features, self.observed.readings
        numbers = len(self.draws.location) if true is None else true.numbers()
        return row_blocks(
            len(self.observed.y), numbers * (1 if readings is None else most_readings(readings))
        )

    def at(self, rows: slice) -> RowsGivenDraws | Measured | SelectedRowsGivenDraws:
        """Return some of the rows."""
        observed, draws, error = self.observed, self.draws, self.observed.standard_error
        data = Observations(
            observed.y,
            1.0 if error is None else error,
            SCALED if error is None else self.noise,
            observed.trials,
            limits=observed.limits,
        ).take(rows)
        of_draws = {name: value[:, None] for name, value in draws.values.items()}
        true, feature_error = draws.true_features, observed.feature_error
        if true is not None and feature_error is not None:
            readings = None if observed.readings is None else observed.readings.take(rows)
            found = self._measured(true, rows, feature_error[rows], readings, data, of_draws)
            if self.truncation is None:
                return found
            return SelectedRowsGivenDraws(found, *Truncated(self.likelihood, *self.truncation).ends(data))
        if self.line is not None:
            eta = np.ascontiguousarray(self.line(rows).T)
            return RowsGivenDraws(self.likelihood, data, of_draws, eta)
        centred = observed.X[rows] - self.center
        eta = draws.location[:, 1:] @ centred.T
        eta += draws.location[:, :1]
        return RowsGivenDraws(self.likelihood, data, of_draws, eta)

    def _measured(
        self,
        true: TrueFeatures | TrueMixture,
        rows: slice,
        error: Array,
        readings: ReadingLimits | None,
        data: Observations,
        values: dict[str, Array],
    ) -> Measured:
        """Return rows by what was measured of their features."""
        if readings is not None and isinstance(true, TrueFeatures):
            true = TrueMixture.of_one(true, np.random.default_rng(0))
        of_noise, shared = true.sharing, error.shape[-1] > error.shape[-2]
        sharing = [None, -of_noise, of_noise] if shared and of_noise is not None else [None]
        sides = () if readings is None or isinstance(true, TrueFeatures) else (readings,)
        trues, X = [replace(true, sharing=one) for one in sharing], self.observed.X[rows]
        if self.measured is not None:
            each = [self.measured(one, rows).each for one in trues]
        else:
            each = [one.line(X, error, *sides).each for one in trues]
        count = each[0].mean.shape[1] // len(self.draws.location)
        if count > 1:
            values = {name: np.repeat(value, count, axis=0) for name, value in values.items()}
        mean, variance = (np.ascontiguousarray(part.T) for part in each[0][1:])
        noise = None
        if len(each) > 1:
            off, with_line, bend = told_of_noise([of.mean.T for of in each], [of.variance.T for of in each])
            noise = off, with_line, self.likelihood.squared_scale(values, data) + bend
        found = MeasuredRowsGivenDraws(self.likelihood, data, values, mean, variance, noise)
        if count == 1:
            return found
        return MixedRowsGivenDraws(found, each[0].weights.T.reshape(-1, count, len(X)))

    def held_against(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return new measurements of all rows and the log density of those observed, (G, n) each."""
        predicted, log_density = np.empty((2, len(self.draws.location), len(self.observed.y)))
        for rows in self.blocks():
            given = self.at(rows)
            log_density[:, rows] = given.log_density()
            predicted[:, rows] = given.drawn(rng)
        return predicted, log_density


class RowsGivenDraws(NamedTuple):
    """Some rows given each draw, whose features are true."""

    likelihood: Likelihood
    data: Observations
    values: dict[str, Array]
    """(G, 1) the likelihood's further parameters."""
    eta: Array
    """(G, n) the line."""

    def log_density(self) -> Array:
        """Return the log density of the target as it was given, of a share per unit of share, (G, n)."""
        of_rows = self.likelihood.log_density(self.eta, self.values, self.data)
        return of_rows + self.likelihood.log_unit(self.data)

    def transform(self) -> Array:
        """Return the probability of less than the target, and half of that of a share itself, (G, n)."""
        return self.likelihood.probability_of_less(self.eta, self.values, self.data)

    def drawn(self, rng: np.random.Generator) -> Array:
        """Return a new measurement for each draw, (G, n)."""
        return self.likelihood.draw(self.eta, self.values, self.data, rng)


class MeasuredRowsGivenDraws(NamedTuple):
    """Some rows given each draw and what was measured of their features: their lines are normal, (47)."""

    likelihood: Likelihood
    data: Observations
    values: dict[str, Array]
    """(G, 1) the likelihood's further parameters."""
    mean: Array
    """(G, n) of the line."""
    variance: Array
    """(G, n)"""
    noise: tuple[Array, Array, Array] | None = None
    """What measurements tell of noise, as `log_density_over_line` takes it; None: nothing."""

    def log_density(self) -> Array:
        """Return the log density of the target as it was given, of a share per unit of share, (G, n)."""
        of_rows = log_density_over_line(
            self.likelihood, self.mean, self.variance, self.values, self.data, noise=self.noise
        )
        return of_rows + self.likelihood.log_unit(self.data)

    def transform(self) -> Array:
        """Return the probability of less than the target, and half of that of a share itself, (G, n)."""
        total = np.zeros(self.mean.shape)
        for log_weight, less in self._parts():
            total += np.exp(log_weight) * less
        return total

    def drawn(self, rng: np.random.Generator) -> Array:
        """Return a new measurement for each draw, (G, n)."""
        standard = rng.standard_normal(self.mean.shape)
        if self.noise is None:
            eta = self.mean + np.sqrt(self.variance) * standard
            return self.likelihood.draw(eta, self.values, self.data, rng)
        # Which part the noise is, the features' measurements don't tell.
        off, with_line, own = self.noise
        part = self.likelihood.drawn_parts(self.values, self.mean.shape, rng)
        root = np.sqrt(part)
        spread = self.variance + 2.0 * root * with_line + part * own
        return self.mean + root * off + np.sqrt(np.maximum(spread, 0.0)) * standard

    def between(self, lower: Array, upper: Array) -> MeasuredRowsGivenDraws:
        """Return the rows as if of their targets no more were seen than that they lie between limits, (n,) each."""
        limits = Limits(np.ones(len(lower), dtype=bool), lower, upper)
        data = replace(self.data, y=np.where(np.isfinite(lower), lower, upper), limits=limits)
        return self._replace(likelihood=Censored(self.likelihood.population), data=data)

    def only(self, these: NDArray[np.bool_], count: int = 1) -> MeasuredRowsGivenDraws:
        """Return some rows at some draws, (G, n), side by side: (K, N) where each draw has K components."""
        draws, n = these.shape

        def of(values: Array) -> Array:
            every = np.broadcast_to(values, (draws * count, n)).reshape(draws, count, n)
            return every.transpose(0, 2, 1)[these].T

        return MeasuredRowsGivenDraws(
            self.likelihood,
            self.data.take(np.nonzero(these)[1]),
            {name: of(value) for name, value in self.values.items()},
            of(self.mean),
            of(self.variance),
            None if self.noise is None else (of(self.noise[0]), of(self.noise[1]), of(self.noise[2])),
        )

    def _parts(self) -> Iterator[tuple[Array, Array]]:
        """Yield log weights of what the distribution is a mixture of, and the probability of less in each."""
        found = False
        if self.likelihood.has_noise_scale:
            given = self.mean, self.variance, self.values, self.data, self.noise
            for log_weight, residual, spread in parts_over_line(self.likelihood, *given):
                yield log_weight, ndtr(residual / np.sqrt(spread))
                found = True
        if not found:
            for log_weight, rows in self._at_points():
                yield log_weight, rows.transform()

    def _at_points(self) -> Iterator[tuple[Array, RowsGivenDraws]]:
        """Yield the rows at points of the line, a rule for its normal distribution.

        Evenly spaced, as closely as the line's distribution given the target may be narrow.
        """
        mean, variance, link = self.mean, self.variance, self.likelihood.link
        sd = np.sqrt(variance)
        # What a target says most sharply is what it says near itself, or on the way there from the line.
        levels = [link.mean(mean + step * sd) for step in (-2.0, 0.0, 2.0)]
        levels.append(np.clip(self.data.y, link.mean(mean - _REACH * sd), link.mean(mean + _REACH * sd)))
        information = [self.likelihood.information(self.values, self.data, level) for level in levels]
        narrow = float(np.max(variance * np.max(np.broadcast_arrays(*information), axis=0)))
        count = int(np.ceil(_REACH * np.sqrt(1.0 + narrow)))
        z = np.linspace(-_REACH, _REACH, 2 * count + 1)
        log_weights = -0.5 * np.square(z)
        log_weights -= logsumexp(log_weights)
        for log_weight, point in zip(log_weights, z, strict=True):
            yield log_weight, RowsGivenDraws(self.likelihood, self.data, self.values, mean + point * sd)


class MixedRowsGivenDraws(NamedTuple):
    """Some rows given each draw, whose features are of a mixture."""

    components: MeasuredRowsGivenDraws
    """The draws' K components one after the other, (G K, n)."""
    weights: Array
    """(G, K, n)"""

    def log_density(self) -> Array:
        """Return what `MeasuredRowsGivenDraws` does."""
        found = self.components.log_density().reshape(self.weights.shape)
        with np.errstate(divide="ignore"):
            return np.asarray(logsumexp(found + np.log(self.weights), axis=1))

    def transform(self) -> Array:
        """Return what `MeasuredRowsGivenDraws` does."""
        return np.sum(self.weights * self.components.transform().reshape(self.weights.shape), axis=1)

    def drawn(self, rng: np.random.Generator) -> Array:
        """Return what `MeasuredRowsGivenDraws` does."""
        found = self.components.drawn(rng).reshape(self.weights.shape)
        below = np.cumsum(self.weights, axis=1)[:, :-1]
        nodes, _, n = self.weights.shape
        chosen = (rng.random((nodes, 1, n)) > below).sum(axis=1, keepdims=True)
        return np.take_along_axis(found, chosen, axis=1)[:, 0]

    def between(self, lower: Array, upper: Array) -> MixedRowsGivenDraws:
        """Return what `MeasuredRowsGivenDraws` does."""
        return self._replace(components=self.components.between(lower, upper))

    def only(self, these: NDArray[np.bool_]) -> MixedRowsGivenDraws:
        """Return what `MeasuredRowsGivenDraws` does, at one draw."""
        weights = self.weights.transpose(0, 2, 1)[these].T[None]
        return MixedRowsGivenDraws(self.components.only(these, self.weights.shape[1]), weights)


Measured = MeasuredRowsGivenDraws | MixedRowsGivenDraws


class SelectedRowsGivenDraws(NamedTuple):
    """Some rows given each draw and what was measured, selected because targets lie between limits, (47a)."""

    rows: Measured
    """Of the population."""
    lower: Array
    """(n,) limits between which the rows' targets lie."""
    upper: Array

    def log_density(self) -> Array:
        """Return what `MeasuredRowsGivenDraws` does, given that rows were selected."""
        return self.rows.log_density() - self.rows.between(self.lower, self.upper).log_density()

    def transform(self) -> Array:
        """Return what `MeasuredRowsGivenDraws` does, given that rows were selected."""
        selected = np.exp(self.rows.between(self.lower, self.upper).log_density())
        below: Array | float = 0.0
        if np.isfinite(self.lower).any():
            below = np.exp(self.rows.between(np.full_like(self.lower, -np.inf), self.lower).log_density())
        least = np.finfo(np.float64).tiny
        return np.clip((self.rows.transform() - below) / np.maximum(selected, least), 0.0, 1.0)

    def drawn(self, rng: np.random.Generator) -> Array:
        """Return new measurements that are selected, (G, n)."""
        found = self.rows.drawn(rng)
        # What is not selected in so many tries lies at the limit.
        tries = 1000
        for _ in range(tries):
            outside = ~((found > self.lower) & (found <= self.upper))
            if not outside.any():
                break
            found[outside] = self.rows.only(outside).drawn(rng)[0]
        return np.clip(found, self.lower, self.upper)
