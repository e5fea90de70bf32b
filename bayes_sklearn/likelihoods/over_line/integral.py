"""What a likelihood says of rows whose linear predictor is itself normal: the integral over it.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base import Likelihood, Observations

__all__ = ["Places", "log_density_over_line", "parts_over_line"]

Array = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))

# The log of an integrand has fallen by this, and the normal one's by about as much, where it is left.
_FALLEN, _REACH = 13.5, 5.2

# Fourier's integral of an integrand, at a third of the nodes' frequency, by which they are close enough.
_WAVE = 0.003

# What may be left of an integrand at the ends, beside all of it.
_LEFT = 5e-6


# Nodes are no further apart in log odds, and in logs: their functions bend on a scale of one.
_APART = 1.0


class Places(NamedTuple):
    """Where each row's integrand is, about, as a function of the linear predictor; each (n,)."""

    target: Array
    """Of a normal density in the place of the likelihood, near the mode."""
    precision: Array
    """Of the same, not negative."""
    below: Array
    """How far down the integrand reaches from its mode, in units of its width."""
    span: Array
    """From end to end, in units of the same."""
    nodes: Array
    """So many evenly spaced nodes integrate it."""
    apart: Array
    """From node to node, in the linear predictor."""
    wave: Array
    """Size of its Fourier integral at a third of the nodes' frequency, beside the integral: the error is the first
    term that they don't tell from a constant, the integral at three times that frequency."""

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
        with np.errstate(all="ignore"):
            return _Integrand.of(likelihood, np.asarray(mean), np.sqrt(variance), values, data).places()

    @property
    def step(self) -> Array:
        """From node to node, in units of the width."""
        return self.span / (self.nodes - 1.0)

    def take(self, rows: slice | NDArray[np.intp]) -> Places:
        """Return those of some rows."""
        return Places(*(of_rows[rows] for of_rows in self))


class _Integral(NamedTuple):
    """By the trapezoid rule."""

    log: Array
    wave: Array
    """As in `Places`."""
    left: Array
    """The integrand at the ends, beside the sum."""

    def holds(self, wave: Array | float = 0.0) -> NDArray[np.bool_]:
        """Return where the rule does: wherever the Fourier integral is not above what is given."""
        return (self.wave <= np.maximum(wave, _WAVE)) & (self.left <= _LEFT)


class _Integrand(NamedTuple):
    """The log of a likelihood times a normal density, in the linear predictor's standard deviations from its mean."""

    likelihood: Likelihood
    mean: Array
    sd: Array
    values: Mapping[str, Array]
    data: Observations
    log_density: Callable[[Array], Array]
    """Of the target given the linear predictor."""

    @classmethod
    def of(
        cls, likelihood: Likelihood, mean: Array, sd: Array, values: Mapping[str, Array], data: Observations
    ) -> _Integrand:
        return cls(likelihood, mean, sd, values, data, likelihood.given(values, data))

    def only(self, these: NDArray[np.bool_]) -> _Integrand:
        """Return those of some points and rows, one after another."""
        values = {name: np.broadcast_to(value, these.shape)[these] for name, value in self.values.items()}
        row = np.nonzero(these)[-1]
        return _Integrand.of(self.likelihood, self.mean[these], self.sd[these], values, self.data.take(row))

    def of_target(self, t: Array) -> Array:
        eta = self.sd * t
        eta += self.mean
        return self.log_density(eta)

    def __call__(self, t: Array) -> Array:
        value = self.of_target(t)
        value -= 0.5 * np.square(t)
        return value

    def slopes(self, t: Array, width: Array, middle: Array) -> tuple[Array, Array]:
        """Return the log likelihood's slope and minus its second derivative, not negative, by differences."""
        step = 0.5 * width
        up, down = self.of_target(t + step), self.of_target(t - step)
        slope, bend = (up - down) / width, (2.0 * middle - up - down) / np.square(step)
        np.maximum(bend, 0.0, out=bend)
        return slope, bend

    def near(self, places: Places) -> tuple[Array, Array]:
        """Return the mode and the width there, about."""
        square = 1.0 / (1.0 + places.precision * np.square(self.sd))
        t = self.sd * places.precision * (places.target - self.mean) * square
        return t, np.sqrt(square)

    def improved(self, t: Array, width: Array) -> tuple[Array, Array, Array]:
        """Return the mode, the width and about the height there, by Newton's method."""
        for _ in range(3):
            height = self.of_target(t)
            slope, bend = self.slopes(t, width, height)
            height -= 0.5 * np.square(t)
            bend += 1.0
            slope -= t
            slope /= bend
            width = 1.0 / np.sqrt(bend)
            np.clip(slope, -3.0 * width, 3.0 * width, out=slope)
            t = t + slope
            if (np.abs(slope) <= 0.5 * width).all():
                break
        return t, width, height

    def closer(self, t: Array, width: Array) -> Array:
        """Return the log of integrals that even nodes don't give, (n,): of lines that are wide beside the likelihood.

        Nodes are even in x, t = mode + unit sinh(x): close about the mode and, in proportion, far apart in the tails.
        """
        # A target far from its line may have a second mode, by itself.
        own = np.nan_to_num((self.likelihood.link.of(self.data.y) - self.mean) / self.sd)
        starts = np.array([t, np.zeros_like(t), np.clip(own, -40.0, 40.0)])
        heights = np.array([self(start) for start in starts])
        best = np.nanargmax(np.where(np.isnan(heights), -np.inf, heights), axis=0)
        width = np.where(best == 0, width, 1.0)
        t, height = (np.take_along_axis(of, best[None], 0)[0] for of in (starts, heights))
        for _ in range(12):
            slope, bend = self.slopes(t, width, height + 0.5 * np.square(t))
            width = 1.0 / np.sqrt(1.0 + bend)
            step = (slope - t) * np.square(width)
            there = self(t + step)
            short = ~(there >= height)
            step[short] = np.clip(step[short], -width[short], width[short])
            t = t + step
            height = np.where(short, self(t), there) if short.any() else there
            if (np.abs(step) <= width).all():
                break
        count, reach = 97, 9.0
        unit = width if self.likelihood.link.is_identity else np.minimum(width, _APART / self.sd)
        step = 2.0 * np.arcsinh(reach / unit) / (count - 1.0)
        total = np.zeros_like(t)
        for j in range(-(count // 2), count // 2 + 1):
            x = step * j
            value = self(t + unit * np.sinh(x))
            value -= height
            np.exp(np.minimum(value, 600.0, out=value), out=value)
            value *= np.cosh(x)
            total += value
        return np.log(total * step * unit) + height - 0.5 * _LOG_TWO_PI

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
        slope, bend = self.slopes(t, width, height + 0.5 * np.square(t))
        return t, 1.0 / np.sqrt(1.0 + bend), slope

    def reach(self, t: Array, width: Array, height: Array, side: float) -> Array:
        """Return how many widths to one side the integrand goes."""
        reach = np.full_like(t, _REACH)
        for _ in range(40):
            within = self(t + side * reach * width) > height - _FALLEN
            if not within.any():
                break
            reach[within] *= 1.15
        return reach

    def places(self) -> Places:
        """Return where each row's integrand is, and the fewest nodes that integrate it to 2e-6."""
        t, width, slope = self.mode()
        height = self(t)
        below, above = (self.reach(t, width, height, side) for side in (-1.0, 1.0))
        whole, exact = below + above, np.zeros_like(t)
        for fine in (0.4, 0.2, 0.1, 0.05):
            step = np.full_like(t, fine)
            found = self.integral(t, width, 1.3 * below, step, np.ceil(1.3 * whole / step) + 1.0, height)
            exact = found.log
            if (found.wave <= _WAVE).all():
                break
        # They may bend far from the mode alone.
        wide = 0.0 if self.likelihood.link.is_identity else self.sd * width / _APART
        count = np.ceil(whole * np.clip(wide, 1.0, 4.0)) + 1.0
        for _ in range(8):
            step = whole / (count - 1.0)
            # Where nodes are must not matter either.
            shifted = self.integral(t, width, below + 0.25 * step, step, count + 1.0, height)
            found = self.integral(t, width, below, step, count, height)
            wrong = np.maximum(np.abs(found.log - exact), np.abs(shifted.log - exact)) > 2e-6
            if not wrong.any():
                break
            count = np.where(wrong, np.ceil(1.25 * count), count)
        # Rows that need more are taken by nodes of another kind.
        most = 48.0
        wave, count = np.where(count > most, 0.0, found.wave), np.minimum(count, most)
        sd = np.maximum(self.sd, 1e-5)  # where there is hardly a variance places do not matter
        bend = np.maximum(np.square(1.0 / width) - 1.0, 1e-6)  # a little, for a slope
        target = self.mean + self.sd * t + sd * slope / bend
        apart = self.sd * width * step
        return Places(target, bend / np.square(sd), below, whole, count, apart, wave)

    def integral(
        self, t: Array, width: Array, below: Array, step: Array, count: Array, height: Array
    ) -> _Integral:
        """Return the integral by the trapezoid rule."""
        step = step * width
        start = t - below * width
        eta, apart = self.mean + self.sd * start, self.sd * step
        # The normal density's log less the height, by its first and second differences from node to node.
        normal = -0.5 * np.square(start) - height
        second = -np.square(step)
        first = 0.5 * second - start * step
        thirds = [np.zeros_like(height) for _ in range(3)]
        for j in range(int(np.max(count))):
            value = self.log_density(eta)
            value += normal
            np.exp(value, out=value)
            thirds[j % 3] += value
            if j == 0:
                left = value
            eta += apart
            normal += first
            first += second
        a, b, c = thirds
        total = a + b
        total += c
        left += value
        left /= total
        wave = np.sqrt(0.5 * (np.square(a - b) + np.square(b - c) + np.square(c - a)))
        wave /= total
        total *= step
        np.log(total, out=total)
        total += height
        total -= 0.5 * _LOG_TWO_PI
        return _Integral(total, wave, left)


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
    rows = max(1, 15_000 // mean.shape[1])
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
        integrand = _Integrand.of(likelihood, mean, np.sqrt(variance), values, data)
        t, width, height = integrand.improved(*integrand.near(places))
        found = integrand.integral(t, width, places.below, places.step, places.nodes, height)
        apart = places.step * width * integrand.sd
        wide = apart > 1.2 * (places.apart if likelihood.link.is_identity else _APART)
        wrong = ~found.holds(1.5 * places.wave) | wide
        if wrong.any():
            found.log[wrong] = integrand.only(wrong).closer(t[wrong], width[wrong])
    return found.log


def parts_over_line(
    likelihood: Likelihood,
    mean: Array,
    variance: Array,
    values: Mapping[str, Array],
    data: Observations,
    noise: tuple[Array, Array, Array] | None = None,
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield log weights of what each row's target is a mixture of, its distances from their means, and variances.

    Parameters are those of `log_density_over_line`. Where noise is no mixture of normal distributions, nothing.
    """
    off, with_line, own = (0.0, 0.0, likelihood.squared_scale(values, data)) if noise is None else noise
    residual = data.y - mean
    square = np.square(np.abs(residual) + np.abs(off))
    farthest = [
        (square / np.maximum(of, np.finfo(np.float64).tiny)).max(axis=1, keepdims=True)
        for of in (own + np.zeros_like(mean), variance + 2.0 * with_line + own)
    ]
    for log_weight, part in likelihood.normal_parts(values, *farthest):
        root = np.sqrt(part)
        spread = part * own + 2.0 * root * with_line
        spread = spread + variance
        yield log_weight, residual - root * off, spread


def _by_parts(
    likelihood: Likelihood,
    mean: Array,
    variance: Array,
    values: Mapping[str, Array],
    data: Observations,
    noise: tuple[Array, Array, Array] | None,
) -> Array | None:
    """Return the log density as that of a mixture of normal distributions; None where it is none."""
    highest = total = None
    for log_weight, residual, spread in parts_over_line(likelihood, mean, variance, values, data, noise):
        value = np.square(residual)
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
    return np.log(total) + highest - 0.5 * _LOG_TWO_PI
