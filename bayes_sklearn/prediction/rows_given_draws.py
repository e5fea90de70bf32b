"""Observed rows given each draw from a posterior: how likely they are, and how probable less, and measurements anew.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..inference.posterior import row_blocks
from ..inference.structural.true_features import Line
from ..likelihoods.base import Likelihood, Observations
from ..likelihoods.noise import SCALED, Noise
from ..likelihoods.over_line import log_density_over_line
from .draws import Draws

__all__ = ["GivenDraws", "MeasuredRowsGivenDraws", "Observed", "RowsGivenDraws"]

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

    def blocks(self) -> Iterator[slice]:
        """Yield slices of rows whose arrays of draws and rows stay small."""
        true = self.draws.true_features
        return row_blocks(len(self.observed.y), len(self.draws.location) if true is None else true.numbers())

    def at(self, rows: slice) -> RowsGivenDraws | MeasuredRowsGivenDraws:
        """Return some of the rows."""
        observed, draws, error = self.observed, self.draws, self.observed.standard_error
        data = Observations(
            observed.y,
            1.0 if error is None else error,
            SCALED if error is None else self.noise,
            observed.trials,
        ).take(rows)
        of_draws = {name: value[:, None] for name, value in draws.values.items()}
        true, feature_error = draws.true_features, observed.feature_error
        if true is not None and feature_error is not None:
            line = true.line(observed.X[rows], feature_error[rows])
            return MeasuredRowsGivenDraws(self.likelihood, data, of_draws, line)
        centred = observed.X[rows] - self.center
        eta = draws.location[:, 1:] @ centred.T
        eta += draws.location[:, :1]
        return RowsGivenDraws(self.likelihood, data, of_draws, eta)

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
        """Return the log density of the target, of a share per unit of share, (G, n)."""
        return self.likelihood.log_density(self.eta, self.values, self.data) + np.log(self.data.trials)

    def transform(self) -> Array:
        """Return the probability of less than the target, and half of that of a share itself, (G, n)."""
        return self.likelihood.probability_of_less(self.eta, self.values, self.data)

    def drawn(self, rng: np.random.Generator) -> Array:
        """Return a new measurement for each draw, (G, n)."""
        return self.likelihood.draw(self.eta, self.values, self.data, rng)


class MeasuredRowsGivenDraws(NamedTuple):
    """Some rows given each draw and what was measured of their features."""

    likelihood: Likelihood
    data: Observations
    values: dict[str, Array]
    """(G, 1) the likelihood's further parameters."""
    line: Line

    def log_density(self) -> Array:
        """Return the log density of the target, of a share per unit of share, (G, n)."""
        if self.likelihood.is_normal:  # what readings tell of the noise is in the line
            noise = np.broadcast_to(self._squared_scale(), self.line.mean.T.shape).T
            return self.line.log_density(self.data.y, noise).T
        total = np.full(self.line.mean.T.shape, -np.inf)
        for log_weight, mean, variance in self._normals():
            of_rows = log_density_over_line(self.likelihood, mean, variance, self.values, self.data)
            np.logaddexp(total, log_weight + of_rows, out=total)
        return total + np.log(self.data.trials)

    def transform(self) -> Array:
        """Return the probability of less than the target, and half of that of a share itself, (G, n)."""
        total = np.zeros(self.line.mean.T.shape)
        for log_weight, part in self._parts():
            total += np.exp(log_weight) * part.transform()
        return total

    def drawn(self, rng: np.random.Generator) -> Array:
        """Return a new measurement for each draw, (G, n)."""
        mean, variance = (part.T for part in self.line.drawn(rng))
        if self.likelihood.is_normal:  # what readings tell of the noise is less variance
            total = variance + self._squared_scale()
            return mean + np.sqrt(total) * rng.standard_normal(mean.shape)
        eta = mean + np.sqrt(variance) * rng.standard_normal(mean.shape)
        return self.likelihood.draw(eta, self.values, self.data, rng)

    def _parts(self) -> Iterator[tuple[Array, _NormalRows | RowsGivenDraws]]:
        """Yield what the distribution is a mixture of, and log weights."""
        if self.likelihood.has_noise_scale:
            noise = np.broadcast_to(self._squared_scale(), self.line.mean.T.shape).T
            square = np.square(self.data.y[:, None] - self.line.mean)
            farthest = [
                (square / (noise + more)).max(axis=0)[:, None] for more in (0.0, self.line.feature_error)
            ]
            found = False
            for log_weight, variance in self.likelihood.normal_parts(self.values, *farthest):
                yield log_weight, _NormalRows(self.line, self.data.y, noise * variance.T)
                found = True
            if found:
                return
        for log_share, mean, variance in self._normals():
            for log_weight, part in self._at_points(mean, variance):
                yield log_share + log_weight, part

    def _normals(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield log weights, means and variances of normal distributions that the line is a mixture of, (G, n)."""
        for parts in self.line.normals():
            weight, mean, variance = (np.ascontiguousarray(part.T) for part in parts)
            with np.errstate(divide="ignore"):
                yield np.log(weight), mean, variance

    def _squared_scale(self) -> Array:
        return self.likelihood.squared_scale(self.values, self.data)

    def _at_points(self, mean: Array, variance: Array) -> Iterator[tuple[Array, RowsGivenDraws]]:
        """Yield the rows at points of a line, a rule for its normal distribution.

        Evenly spaced, as closely as the line's distribution given the target may be narrow.
        """
        sd, link = np.sqrt(variance), self.likelihood.link
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


class _NormalRows(NamedTuple):
    """Some rows given each draw, with normal noise."""

    line: Line
    y: Array
    noise: Array
    """(n, G) its variance."""

    def transform(self) -> Array:
        return self.line.cdf(self.y, self.noise).T
