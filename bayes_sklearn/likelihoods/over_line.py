"""What a likelihood says of rows whose linear predictor is itself normal: the integral over it.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .base import Likelihood, Observations

__all__ = ["Places", "log_density_over_line"]

Array = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))

# An integrand is left where its log has fallen by this.
_FALLEN = 18.0

# Sums over every other node that differ by no more stand for an error of about half the square of it.
_HALVES_DIFFER = 1e-3

# What may be left of an integrand at the ends, beside all of it.
_LEFT = 2e-6


class Places(NamedTuple):
    """Where each row's integrand is, about, as a function of the linear predictor; each (n,)."""

    target: Array
    """Of a normal density in the place of the likelihood, near the mode."""
    precision: Array
    """Of the same, not negative."""
    below: Array
    """How far down the integrand reaches from its mode, in units of its width."""
    above: Array
    count: Array
    """So many evenly spaced nodes integrate it."""

    @classmethod
    def of(
        cls,
        likelihood: Likelihood,
        mean: Array,
        variance: Array,
        values: Mapping[str, Array],
        data: Observations,
    ) -> Places:
        """Return the places at one point of the parameters.

        Parameters
        ----------
        likelihood : Likelihood
        mean, variance : ndarray of shape (n,)
            Of the linear predictor.
        values : mapping of str to ndarray
            The likelihood's further parameters, scalars or (n,).
        data : Observations
        """
        mean = np.asarray(mean, dtype=np.float64)
        sd = np.sqrt(variance)
        with np.errstate(all="ignore"):
            integrand = _Integrand(lambda eta: likelihood.log_density(eta, values, data), mean, sd)
            t, width, slope = integrand.mode()
            bend = np.square(1.0 / width) - 1.0
            height = integrand(t)
            below, above = (integrand.reach(t, width, height, side) for side in (-1.0, 1.0))
            count = np.ceil((below + above) / 0.8)
            for _ in range(6):
                _, wrong = integrand.integral(t, width, below, above, int(np.max(count)) + 1, height)
                if not wrong.any():
                    break
                count = np.where(wrong, 2.0 * count, count)
            # In the linear predictor; where there is no variance it does not matter.
            per = np.where(sd > 0.0, 1.0 / sd, 0.0)
            target = mean + sd * t + np.where(bend > 0.0, slope / bend, 0.0) * sd
            return cls(target, bend * np.square(per), below, above, count + 1.0)

    def take(self, rows: slice) -> Places:
        """Return those of some rows."""
        return Places(*(of_rows[rows] for of_rows in self))


class _Integrand(NamedTuple):
    """The log of a likelihood times a normal density, in the linear predictor's standard deviations from its mean."""

    log_density: Callable[[Array], Array]
    """Of the target given the linear predictor."""
    mean: Array
    sd: Array

    def likelihood(self, t: Array) -> Array:
        eta = self.sd * t
        eta += self.mean
        return self.log_density(eta)

    def __call__(self, t: Array) -> Array:
        value = self.likelihood(t)
        value -= 0.5 * np.square(t)
        return value

    def slopes(self, t: Array, width: Array, middle: Array | None = None) -> tuple[Array, Array]:
        """Return the log likelihood's slope and minus its second derivative, not negative, by differences."""
        step = 0.5 * width
        up, down = self.likelihood(t + step), self.likelihood(t - step)
        middle = self.likelihood(t) if middle is None else middle
        slope, bend = 0.5 * (up - down) / step, (2.0 * middle - up - down) / np.square(step)
        np.maximum(bend, 0.0, out=bend)
        return slope, bend

    def mode(self) -> tuple[Array, Array, Array]:
        """Return the mode, the width there and the log likelihood's slope, by Newton's method with halved steps."""
        t, width = np.zeros_like(self.mean), np.ones_like(self.mean)
        height = self(t)
        for _ in range(60):
            slope, bend = self.slopes(t, width, height + 0.5 * np.square(t))
            width = 1.0 / np.sqrt(1.0 + bend)
            step = np.nan_to_num((slope - t) * np.square(width), posinf=1.0, neginf=-1.0)
            move = np.abs(step) > 0.05 * width
            if not move.any():
                break
            step = np.where(move, step, 0.0)
            for _ in range(40):
                new = self(t + step)
                worse = ~(new >= height) & (step != 0.0)
                if not worse.any():
                    break
                step[worse] *= 0.4
            t, height = np.where(worse, t, t + step), np.where(worse, height, new)
        slope, bend = self.slopes(t, width)
        return t, 1.0 / np.sqrt(1.0 + bend), slope

    def reach(self, t: Array, width: Array, height: Array, side: float) -> Array:
        """Return how many widths to one side the integrand goes."""
        reach = np.full_like(t, 5.5)
        for _ in range(30):
            within = self(t + side * reach * width) > height - _FALLEN
            if not within.any():
                break
            reach[within] *= 1.15
        return reach

    def integral(
        self, t: Array, width: Array, below: Array, above: Array, count: int, height: Array
    ) -> tuple[Array, Array]:
        """Return the log of the integral by the trapezoid rule, and whether it does not hold."""
        step = (below + above) * width / (count - 1.0)
        start = t - below * width
        # Every other node, the others, and the ends.
        halves, ends = [np.zeros_like(height), np.zeros_like(height)], np.zeros_like(height)
        for j in range(count):
            node = step * j
            node += start
            value = self.likelihood(node)
            np.square(node, out=node)
            node *= 0.5
            value -= node
            value -= height
            np.exp(value, out=value)
            halves[j % 2] += value
            if j in (0, count - 1):
                ends += value
        total = halves[0] + halves[1]
        wrong = ~(np.abs(halves[0] - halves[1]) <= _HALVES_DIFFER * total) | ~(ends <= _LEFT * total)
        wrong |= ~np.isfinite(total)
        total *= step
        np.log(total, out=total)
        total += height
        total -= 0.5 * _LOG_TWO_PI
        return total, wrong


def log_density_over_line(
    likelihood: Likelihood,
    mean: Array,
    variance: Array,
    values: Mapping[str, Array],
    data: Observations,
    places: Places | None = None,
    noise: tuple[Array, Array, Array] | None = None,
) -> Array:
    """Return each row's log density where its linear predictor is normal, (G, n).

    Parameters
    ----------
    likelihood : Likelihood
    mean, variance : ndarray of shape (G, n)
        Of the linear predictor.
    values : mapping of str to ndarray
        The likelihood's further parameters, (G, 1).
    data : Observations
    places : Places, default=None
        Of likelihoods whose noise is no mixture of normal distributions.
    noise : tuple of ndarray, default=None
        Of those where it is: what noise of scale one, a normal distribution of it, adds to the mean, half of what it
        adds to the variance by its covariance with the linear predictor, and its variance, broadcasting to (G, n).
        None: 0, 0 and the squared scale.
    """
    if likelihood.has_noise_scale:
        found = _by_parts(likelihood, mean, variance, values, data, noise)
        if found is not None:
            return found
    if places is None:
        typical = {name: np.mean(value, axis=0) for name, value in values.items()}
        places = Places.of(likelihood, mean.mean(axis=0), variance.mean(axis=0), typical, data)
    total = np.empty(mean.shape)
    rows = max(1, 2**14 // mean.shape[1])
    for first in range(0, len(mean), rows):
        some = slice(first, first + rows)
        of = {name: value[some] for name, value in values.items()}
        total[some] = _by_nodes(likelihood, mean[some], variance[some], of, data, places)
    return total


def _by_nodes(
    likelihood: Likelihood,
    mean: Array,
    variance: Array,
    values: Mapping[str, Array],
    data: Observations,
    places: Places,
) -> Array:
    with np.errstate(all="ignore"):
        sd = np.sqrt(variance)
        integrand = _Integrand(lambda eta: likelihood.log_density(eta, values, data), mean, sd)
        bend = places.precision * variance
        square = 1.0 / (1.0 + bend)
        t = sd * places.precision * (places.target - mean) * square
        for _ in range(2):
            width = np.sqrt(square)
            height = integrand.likelihood(t)
            slope, bend = integrand.slopes(t, width, height)
            height -= 0.5 * np.square(t)
            square = 1.0 / (1.0 + bend)
            t = t + np.clip((slope - t) * square, -3.0 * width, 3.0 * width)
        width = np.sqrt(square)
        total, wrong = integrand.integral(
            t, width, places.below, places.above, int(np.max(places.count)), height
        )
    if wrong.any():
        point, row = np.nonzero(wrong)
        at = {name: value[point, 0] for name, value in values.items()}
        total[wrong] = _pairs(likelihood, mean[wrong], variance[wrong], at, data.take(row))
    return total


def _pairs(
    likelihood: Likelihood, mean: Array, variance: Array, values: Mapping[str, Array], data: Observations
) -> Array:
    """Return the log densities of rows each of which has a point of its own, looking for each one's place."""
    with np.errstate(all="ignore"):
        places = Places.of(likelihood, mean, variance, values, data)
        sd = np.sqrt(variance)
        integrand = _Integrand(lambda eta: likelihood.log_density(eta, values, data), mean, sd)
        square = 1.0 / (1.0 + places.precision * variance)
        t = sd * places.precision * (places.target - mean) * square
        count = int(np.max(places.count))
        return integrand.integral(t, np.sqrt(square), places.below, places.above, count, integrand(t))[0]


def _by_parts(
    likelihood: Likelihood,
    mean: Array,
    variance: Array,
    values: Mapping[str, Array],
    data: Observations,
    noise: tuple[Array, Array, Array] | None,
) -> Array | None:
    """Return the log density as that of a mixture of normal distributions; None where it is none."""
    off, with_line, own = (0.0, 0.0, likelihood.squared_scale(values, data)) if noise is None else noise
    residual = data.y - mean
    square = np.square(np.abs(residual) + np.abs(off))
    farthest = [
        (square / np.maximum(of, np.finfo(np.float64).tiny)).max(axis=1, keepdims=True)
        for of in (own + np.zeros_like(mean), variance + 2.0 * with_line + own)
    ]
    highest = total = None
    for log_weight, part in likelihood.normal_parts(values, *farthest):
        root = np.sqrt(part)
        spread = part * own
        if noise is not None:
            spread = spread + 2.0 * root * with_line
        spread = spread + variance
        value = np.square(residual - root * off) if noise is not None else np.square(residual)
        value /= spread
        value += np.log(spread)
        value *= -0.5
        value += log_weight
        if highest is None or total is None:
            highest, total = value, np.ones_like(value)
            continue
        above = np.maximum(highest, value)
        highest -= above
        total *= np.exp(highest, out=highest)
        value -= above
        total += np.exp(value, out=value)
        highest = above
    if highest is None or total is None:
        return None
    np.log(total, out=total)
    total += highest
    total -= 0.5 * _LOG_TWO_PI
    return total
