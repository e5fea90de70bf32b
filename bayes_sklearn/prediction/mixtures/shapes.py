"""Shapes of what underlies the targets of many rows: found at few places, and used at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtri

from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.noise import KNOWN
from .normal import cornish_fisher

__all__ = ["Laws", "Shapes"]

Array = NDArray[np.float64]

# Points of a shape, even in the inverse hyperbolic sine of what is standardised, and how far they reach.
_POINTS, _REACH = 161, 4.0

# Beyond so many standard deviations corrections stay as they are; probabilities next to none.
_FAR, _LEAST = 5.0, 1e-15


@dataclass(frozen=True, eq=False)
class Shapes:
    """Distributions on the scale of the linear predictor, at some places, for some widths of the line.

    Standardised by median and by half of what lies between the 16th and the 84th percentile, of which rows have their
    own.
    """

    places: Array
    """(L,) rising: where the line is, or the scale of noise; one: it does not matter."""
    widths: Array
    """(W,) rising: the line's variance."""
    centers: Array
    """(L, W) medians less the line."""
    variances: Array
    """(L, W) squares of the second, less the line's variance."""
    heights: Array
    """(L W, points) normal scores of the distribution functions."""

    @classmethod
    def of(
        cls,
        likelihood: Likelihood,
        masses: Array,
        values: dict[str, Array],
        lines: tuple[Array, Array, Array],
        scales: Array,
        widths: Array,
    ) -> Shapes:
        """Find them.

        Parameters
        ----------
        likelihood : Likelihood
            Of a continuous target.
        masses : ndarray of shape (K,)
            Of groups of nodes.
        values : dict of str to ndarray of shape (K,)
            The likelihood's parameters in these.
        lines : tuple of ndarrays of shape (L,)
            Places, the line at them, and about the variance of the noise.
        scales : ndarray of shape (L, K)
            Of noise that is added, or ones.
        widths : ndarray of shape (W,)
        """
        places, etas, noise = lines
        ratio = widths[-1] / noise.min()
        order = 5 if ratio <= 0.25 else 7 if ratio <= 0.5 else 15
        points, rule = np.polynomial.hermite_e.hermegauss(order)
        weights = np.outer(masses, rule / rule.sum()).ravel()
        values = {name: np.repeat(value, order) for name, value in values.items()}
        found = np.empty((3, len(places), len(widths)))
        heights = np.empty((len(places), len(widths), _POINTS))
        rough, fine = np.sinh(np.linspace(-5.0, 5.0, 41)), _grid()
        for i, eta in enumerate(etas):
            scale = np.repeat(scales[i], order)[None, :]
            for j, width in enumerate(widths):
                lines_there = np.tile(eta + np.sqrt(width) * points, len(masses))[None, :]

                def height(x: Array, lines_there: Array = lines_there, scale: Array = scale) -> Array:
                    data = Observations(likelihood.link.mean(x)[:, None], scale, KNOWN)
                    every = np.broadcast_to(lines_there, (len(x), lines_there.shape[1]))
                    below = likelihood.probability_of_less(every, values, data) @ weights
                    rising = np.maximum.accumulate(ndtri(np.clip(below, _LEAST, 1.0 - _LEAST)))
                    return np.asarray(rising + 1e-9 * np.arange(len(x)))

                x, ends = eta + np.sqrt(width + noise[i]) * rough, np.array([-1.0, 0.0, 1.0])
                for _ in range(2):
                    low, middle, high = PchipInterpolator(height(x), x)(ends)
                    sd = 0.5 * (high - low)
                    x = middle + sd * fine[::4]
                heights[i, j] = height(middle + sd * fine)
                found[:, i, j] = middle - eta, sd * sd - width, sd
        return cls(places, widths, found[0], found[1], heights.reshape(-1, _POINTS))

    def corners(self, place: Array, width: Array) -> tuple[NDArray[np.intp], Array]:
        """Return the shapes about each row, (n, C), and how much it has of each, (n, C): linearly between them."""
        (i, a), (j, b) = _place(self.places, place), _place(self.widths, width)
        cells, shares = [i * len(self.widths) + j], [np.ones_like(a)]
        for levels, step, share in ((self.widths, 1, b), (self.places, len(self.widths), a)):
            if len(levels) > 1:
                cells += [cell + step for cell in cells]
                shares = [of * (1.0 - share) for of in shares] + [of * share for of in shares]
        return np.stack(cells, axis=1), np.stack(shares, axis=1)

    def between(self, corners: tuple[NDArray[np.intp], Array]) -> tuple[Array, Array]:
        """Return medians and squared deviations less those of the line, (n,) each."""
        cells, shares = corners
        centers, variances = (
            np.einsum("nc,nc->n", of.ravel()[cells], shares) for of in (self.centers, self.variances)
        )
        return centers, variances

    def quantiles(self, z: Array) -> Array:
        """Return standardised quantiles at normal scores, (L W, T)."""
        grid = _grid()
        first = np.clip((self.heights[:, :, None] <= z).sum(axis=1) - 1, 0, _POINTS - 2)
        low, high = (np.take_along_axis(self.heights, first + step, axis=1) for step in (0, 1))
        share = np.clip((z - low) / (high - low), 0.0, 1.0)
        return np.asarray(grid[first] + share * (grid[first + 1] - grid[first]))

    def scores(self, t: Array, corners: tuple[NDArray[np.intp], Array]) -> Array:
        """Return normal scores, (n, T), at standardised values of rows between these shapes."""
        spacing = 2.0 * _REACH / (_POINTS - 1)
        place = np.arcsinh(t)
        place += _REACH
        place /= spacing
        np.clip(place, 0.0, _POINTS - 1.001, out=place)
        first = place.astype(np.intp)
        place -= first
        heights, total = self.heights.ravel(), np.zeros_like(t)
        for cells, shares in zip(corners[0].T, corners[1].T, strict=True):
            at = first + cells[:, None] * _POINTS
            found = heights[at]
            found += place * (heights[at + 1] - found)
            total += shares[:, None] * found
        return total


@dataclass(frozen=True, eq=False)
class Laws:
    """Distributions of what underlies the targets of rows, on the scale of the linear predictor.

    Shapes, those of normal distributions where there are none, with a skewness and an excess kurtosis beside, (n,)
    each.
    """

    centers: Array
    sds: Array
    skewness: Array
    excess: Array
    shapes: Shapes | None = None
    corners: tuple[NDArray[np.intp], Array] | None = None

    def take(self, rows: NDArray[np.intp]) -> Laws:
        """Return some rows."""
        corners = None if self.corners is None else (self.corners[0][rows], self.corners[1][rows])
        return Laws(
            self.centers[rows],
            self.sds[rows],
            self.skewness[rows],
            self.excess[rows],
            self.shapes,
            corners,
        )

    def quantiles(self, z: Array) -> Array:
        """Return quantiles at normal scores, (T,), of every row, (n, T)."""
        skewness, excess = self.skewness[:, None], self.excess[:, None]
        if self.shapes is None or self.corners is None:
            t = cornish_fisher(z, skewness, excess)
        else:
            t = skewness * (np.square(z) - 1.0) / 6.0 + excess * z * (np.square(z) - 3.0) / 24.0
            t += np.einsum("nct,nc->nt", self.shapes.quantiles(z)[self.corners[0]], self.corners[1])
        return np.asarray(self.centers[:, None] + self.sds[:, None] * t)

    def scores(self, x: Array) -> Array:
        """Return normal scores of the distribution functions at values, (n, T)."""
        t = x - self.centers[:, None]
        t /= self.sds[:, None]
        z = t if self.shapes is None or self.corners is None else self.shapes.scores(t, self.corners)
        near = np.clip(z, -_FAR, _FAR)
        square = np.square(near)
        cubic, linear = self._correction
        # near * (cubic * square + linear) - skewness / 6 * (square - 1)
        change = square * cubic[:, None]
        change += linear[:, None]
        change *= near
        square -= 1.0
        square *= (self.skewness / 6.0)[:, None]
        change -= square
        return np.asarray(z + change)

    @cached_property
    def _correction(self) -> tuple[Array, Array]:
        cubic, linear = -self.excess / 24.0, self.excess / 8.0
        if self.shapes is None:
            square = np.square(self.skewness) / 36.0
            cubic, linear = cubic + 4.0 * square, linear - 7.0 * square
        return cubic, linear


def _grid() -> Array:
    return np.sinh(np.linspace(-_REACH, _REACH, _POINTS))


def _place(levels: Array, value: Array) -> tuple[NDArray[np.intp], Array]:
    """Return the level below each value, and how far it is to the next."""
    if len(levels) == 1:
        return np.zeros(len(value), dtype=np.intp), np.zeros(len(value))
    below = np.clip(np.searchsorted(levels, value, side="right") - 1, 0, len(levels) - 2)
    return below, np.clip((value - levels[below]) / (levels[below + 1] - levels[below]), 0.0, 1.0)
