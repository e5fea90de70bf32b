"""One-dimensional integrals of peaks anywhere and of any width, and functions from few of their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ...measurements.messages import warn

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """Functions of the scatter s: Chebyshev series in v = log((s^2 + e_0^2) / (1 + s^2 / e_1^2)) / 2, (16), (16a)."""

    coefficients: Array
    """(C, m) a column for each function."""
    smallest: float
    """e_0: v runs from log e_0 where there is no scatter."""
    middle: float
    half: float
    """Of the interval of v that the series holds in."""
    largest: float = np.inf
    """e_1: v runs to log e_1 as the scatter grows, where the functions have a limit; infinity: they have none."""

    @classmethod
    def fit(
        cls,
        functions: Callable[[float], Array],
        smallest: float,
        lower: float,
        upper: float,
        largest: float = np.inf,
    ) -> Series:
        """Interpolate at Chebyshev's points, more of them until the series has converged.

        Parameters
        ----------
        functions : callable
            From s to the values of the functions, (m,).
        smallest : float
            e_0, positive.
        lower, upper : float
            The range of s, lower from 0.
        largest : float, default=inf
            e_1, positive.
        """
        ends = position(np.array([lower, upper]), smallest, largest)
        middle, half = float(ends.mean()), float(max(0.5 * np.ptp(ends), 1e-12))
        # What the width of the strip in which the functions are analytic, pi, promises.
        ratio = float(np.exp(np.arcsinh(0.5 * np.pi / half)))
        # The number of nodes at which it is given up to reach the accuracy wanted.
        most = 128
        # The last coefficients, beside the largest, of a series that has converged.
        converged = 1e-11
        size = min(int(np.ceil(-np.log(converged) / np.log(ratio))) + 2, most)
        while True:
            points = np.cos(np.pi * (np.arange(size) + 0.5) / size)
            values = np.array([functions(float(s)) for s in at(middle + half * points, smallest, largest)])
            # Discrete orthogonality at the roots of T_size.
            coefficients = 2.0 / size * chebyshev.chebvander(points, size - 1).T @ values
            coefficients[0] *= 0.5
            magnitude = np.abs(coefficients).max(axis=0)
            if (np.abs(coefficients[-2:]) <= converged * magnitude.max()).all() or size >= most:
                return cls(coefficients, smallest, middle, half, largest)
            size *= 2

    def __call__(self, scatter: Array) -> Array:
        """Return the functions at each scatter, (G, m)."""
        v = position(scatter, self.smallest, self.largest)
        x = np.clip((v - self.middle) / self.half, -1.0, 1.0)
        return chebyshev.chebvander(x, len(self.coefficients) - 1) @ self.coefficients


def position(scatter: Array, smallest: float, largest: float = np.inf) -> Array:
    """Return v at each scatter."""
    # Times e_1, a scatter beside which it is nothing.
    endless = 1e9
    square = np.square(np.minimum(scatter, endless * largest))
    return np.asarray(0.5 * np.log((square + smallest**2) / (1.0 + square / largest**2)))


def at(v: Array, smallest: float, largest: float = np.inf) -> Array:
    """Return the scatter at each v: zero and infinity at the ends, and beyond them."""
    above = np.maximum(np.expm1(2.0 * (v - np.log(smallest))), 0.0)
    below = np.maximum(-np.expm1(2.0 * (v - np.log(largest))), 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(smallest * np.sqrt(above / below))


LogDensity = Callable[[Array], Array]

# Where the density has fallen by exp(-36) = 2e-16 of its peak, the rest is rounding.
DROP = 36.0

# Trapezoid sums of smooth peaks gain digits by the square: halves that agree to this leave a relative error
# near its square.
_AGREE = 1e-5

_FIRST_INTERVALS = 16


# Parts of an interval of which a density has to fill a share, and how often it is looked at closer.
_EVEN, _FILLED, _CLOSER = 48, 0.85, 60

# A peak that is narrower than this, in a coordinate whose size is up to hundreds, is narrower than rounding.
_NARROWEST = 1e-12

# Beyond this the square of exp(u) overflows.
_HIGHEST = 300.0


def peak_intervals(
    log_density: LogDensity, lower: float, upper: float, tail: float, drop: float = DROP
) -> list[tuple[float, float]]:
    """Return the intervals that hold all of a density but its 1e-16th part.

    Parameters
    ----------
    log_density : callable
        From an array of points to the log density at them; smooth, falling at both ends.
    lower, upper : float
        Where to look first. `lower` is a bound: nothing below it counts. `upper` is moved out as needed.
    tail : float
        The density falls to the right at least as exp(-tail * u); positive.
    drop : float, default=36.0
        By how much the log density has fallen at the ends.

    Returns
    -------
    list of (float, float)
        Disjoint, ascending; more than one only for a density with well separated peaks. Of a peak too narrow for
        double precision, its place twice.
    """
    grid, values = _scan(log_density, lower, upper)
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    is_peak = (padded[1:-1] >= padded[:-2]) & (padded[1:-1] > padded[2:])
    peaks, heights, reach = _climb(log_density, grid[is_peak], grid[1] - grid[0], lower)
    if reach < _NARROWEST:
        place = float(peaks[heights.argmax()])
        return [(place, place)]
    floor = heights.max() - drop

    # In log s this is the second moment of s: a heavy tail carries it further out than the mass.
    tilt = min(2.0, 0.8 * tail) if tail > 2.0 else 0.0

    def tilted(u: Array, peak: float) -> Array:
        return log_density(u) + tilt * (u - peak)

    sides = sorted(
        (
            _fall(log_density, peak, -reach, floor, lower),
            _fall(partial(tilted, peak=peak), peak, reach, floor, lower),
        )
        for peak, height in zip(peaks, heights, strict=True)
        if height >= floor
    )
    merged = [sides[0]]
    for left, right in sides[1:]:
        if left <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(right, merged[-1][1]))
        else:
            merged.append((left, right))
    return merged


def _scan(log_density: LogDensity, lower: float, upper: float) -> tuple[Array, Array]:
    """Evaluate an even grid that reaches beyond the peak to the right."""
    while True:
        grid = np.linspace(lower, upper, 48)
        values = log_density(grid)
        if values[-1] < values.max() - DROP or upper >= _HIGHEST:
            return grid, values
        upper = min(upper + upper - lower, _HIGHEST)


def _climb(log_density: LogDensity, peaks: Array, step: float, lower: float) -> tuple[Array, Array, float]:
    """Close in on every local maximum; return places, heights and a distance over which little changes."""
    offsets = np.linspace(-1.0, 1.0, 9)
    while True:
        points = np.maximum(peaks[:, None] + step * offsets, lower)
        values = log_density(points.ravel()).reshape(points.shape)
        best = values.argmax(axis=1)
        rows = np.arange(len(peaks))
        peaks, heights = points[rows, best], values[rows, best]
        if np.ptp(values[heights.argmax()]) < 1.0 or step < _NARROWEST:
            return peaks, heights, step
        step *= 0.25


def _fall(log_density: LogDensity, peak: float, reach: float, floor: float, lower: float) -> float:
    """Return where the density has fallen to the floor on one side of a peak, not beyond `lower`."""
    inner, outer = 0.0, reach
    while True:
        distances = outer * 2.0 ** np.arange(6)
        points = np.clip(peak + distances, lower, _HIGHEST)
        ended = (log_density(points) < floor) | (points <= lower) | (points >= _HIGHEST)
        if ended.any():
            first = int(ended.argmax())
            inner, outer = (distances[first - 1] if first else inner), distances[first]
            break
        inner, outer = distances[-1], 2.0 * distances[-1]
    points = np.clip(peak + np.linspace(inner, outer, 9), lower, _HIGHEST)
    below = log_density(points) < floor
    return float(points[int(below.argmax())] if below.any() else points[-1])


def even_lattices(
    log_density: LogDensity,
    lower: Array,
    upper: Array,
    tail: float,
    *,
    drop: float = DROP,
    size: int = _EVEN,
    bounded: bool = False,
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return even points that hold all of each of some densities, looked at closer and closer all at once.

    Parameters
    ----------
    log_density : callable
        From points, (B, J), a row for each density, to the log densities there.
    lower, upper : ndarray of shape (B,)
        Where to look first.
    tail, drop : float
        As in `peak_intervals`.
    size : int, default=48
        How many parts an interval has at least.
    bounded : bool, default=False
        Whether nothing beyond `upper` counts, either.

    Returns
    -------
    points, log_densities : ndarray of shape (B, J)
    resolved : ndarray of shape (B,)
        Whether the trapezoid rule is right, halves of it agreeing.
    """
    tilt, most = min(2.0, 0.8 * tail) if tail > 2.0 else 0.0, 4 * size
    resolved, rows = np.zeros(len(lower), dtype=bool), np.arange(len(lower))
    found = np.zeros(len(lower), dtype=bool)
    for looks_left in reversed(range(_CLOSER)):
        u = lower[:, None] + (upper - lower)[:, None] * np.linspace(0.0, 1.0, size + 1)
        values = log_density(u)
        best = values.argmax(axis=1)
        floor = values[rows, best, None] - drop
        inside = values >= floor
        # Any peak may be the highest, between the points.
        inside[:, 1:-1] |= (values[:, 1:-1] >= values[:, :-2]) & (values[:, 1:-1] > values[:, 2:])
        first = inside.argmax(axis=1)
        inside |= values + tilt * (u - u[rows, best, None]) >= floor
        last = size - inside[:, ::-1].argmax(axis=1)
        beyond = (last == size) & (upper < (-np.inf if bounded else _HIGHEST))
        ready = ~beyond & ((last - first >= _FILLED * size) | (upper - lower < _NARROWEST))
        if ready.all() or not looks_left:  # one that is not ready does not hold up the others
            weights = np.exp(values - floor - drop)
            total = weights.sum(axis=1)
            resolved = ready & (np.abs(2.0 * weights[:, ::2].sum(axis=1) - total) < _AGREE * total)
            if resolved.all() or size >= most:
                break
            size *= 2
            continue
        left, right = u[rows, np.maximum(first - 1, 0)], u[rows, np.minimum(last + 1, size)]
        # An end that was found between points is only a little further where these lie otherwise.
        further = np.where(found, 0.125, 1.0) * (upper - lower)
        right, found = np.where(beyond, upper + further, right), found | ~beyond
        lower, upper = np.where(ready, lower, left), np.where(ready, upper, right)
    return u, values, resolved


def on_lattice(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return slightly wider intervals, whose nodes in `trapezoid` are multiples of powers of two.

    Densities of about the same place and width then have their nodes in common.
    """
    wider: list[tuple[float, float]] = []
    for left, right in intervals:
        if left == right:
            return [(left, right)]
        while True:
            unit = 2.0 * _spacing(left, right)
            low, high = float(np.floor(left / unit) * unit), float(np.ceil(right / unit) * unit)
            if not wider or low > wider[-1][1]:
                break
            left = wider.pop()[0]
        wider.append((low, high))
    return wider


def _spacing(left: float, right: float) -> float:
    """Return a power of two by which an interval has at least so many parts as one begins with."""
    return float(np.exp2(np.floor(np.log2((right - left) / _FIRST_INTERVALS))))


def trapezoid(
    log_density: LogDensity, intervals: list[tuple[float, float]], *, lattice: bool = False
) -> tuple[Array, Array, Array]:
    """Return nodes, log densities and log weights (density times spacing) whose sum is the integral, (11).

    Parameters
    ----------
    log_density : callable
        As in `peak_intervals`; called with every node once.
    intervals : list of (float, float)
        From `peak_intervals`.
    lattice : bool, default=False
        Whether they are from `on_lattice`.

    Returns
    -------
    nodes, log_densities, log_weights : ndarray of shape (G,)
        In the order of the calls: a caller that keeps what it computed at each node finds it at the same index.
    """
    nodes, densities, log_weights = [], [], []
    max_intervals = 2048
    for left, right in intervals:
        if left == right:
            _warn_of_a_narrow_peak()
            u = np.array([left])
            values = log_density(u)
            nodes.append(u)
            densities.append(values)
            log_weights.append(values + np.log(_NARROWEST))
            continue
        parts = round((right - left) / _spacing(left, right)) if lattice else _FIRST_INTERVALS
        u = np.linspace(left, right, parts + 1)
        values = log_density(u)
        spacing = u[1] - u[0]
        total, mean = _sums(u, values, spacing, left, right)
        while True:
            middle = np.linspace(left + 0.5 * spacing, right - 0.5 * spacing, len(u) - 1)
            u, values = np.append(u, middle), np.append(values, log_density(middle))
            spacing *= 0.5
            finer, finer_mean = _sums(u, values, spacing, left, right)
            agree = abs(finer - total) < _AGREE and abs(finer_mean - mean) < _AGREE * (right - left)
            if agree:
                break
            if len(u) > max_intervals:
                # Where the interval ends in the midst of the density, at the resolution, the rule can do no better
                # and its caller warns.
                if values[0] > values.max() - 0.5 * DROP:
                    break
                warn(
                    "The integral over the noise scale has not converged: its density is too rough for double"
                    " precision (weights or errors over too many orders of magnitude?). Check the units of"
                    " y_err and sample_weight.",
                    ConvergenceWarning,
                )
                break
            total, mean = finer, finer_mean
        ends = (u == left) | (u == right)
        nodes.append(u)
        densities.append(values)
        log_weights.append(values + np.log(np.where(ends, 0.5 * spacing, spacing)))
    return np.concatenate(nodes), np.concatenate(densities), np.concatenate(log_weights)


def _warn_of_a_narrow_peak() -> None:
    """Warn that an integral was one value times a width."""
    warn(
        "Double precision can't tell how certain the noise scale is: it is taken as known, and the log marginal"
        " likelihood is rough. noise_prior, coef_prior, y_err or sample_weight are many orders of magnitude off the"
        " data. Check their units; with standardize=False priors are in the data's own.",
        ConvergenceWarning,
    )


def _sums(u: Array, values: Array, spacing: float, left: float, right: float) -> tuple[float, float]:
    """Return the log of the trapezoid sum and the mean of u under it."""
    top = values.max()
    weights = np.exp(values - top) * np.where((u == left) | (u == right), 0.5, 1.0)
    return float(np.log(weights.sum() * spacing) + top), float(weights @ u / weights.sum())


def gauss_rule(values: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Return points and weights, (n, size) each, that keep each row's first 2 size - 1 moments.

    The Gauss quadrature of the sample itself, from the three-term recurrence of its orthogonal polynomials (Golub &
    Welsch 1969, Math. Comp. 23:221-230). Samples of no more than `size` nodes are their own rule.
    """
    n, nodes = values.shape
    if nodes <= size:
        return values, np.broadcast_to(weights, values.shape)
    mean = _average(values, weights)
    sd = np.sqrt(_average(np.square(values - mean[:, None]), weights))
    # Where one node has all the weight, powers of how far the others are away in deviations would overflow.
    span = values.max(axis=1) - values.min(axis=1)
    sd = np.maximum(sd, 1e-8 * span)
    z = (values - mean[:, None]) / np.where(sd > 0.0, sd, 1.0)[:, None]
    diagonal, off = np.zeros((n, size)), np.zeros((n, size))
    before, here = np.zeros_like(z), np.ones_like(z)
    for k in range(size):
        # `here` has unit norm under the weights; where the sample has fewer points than `size` nothing is left.
        weighted = z * here
        diagonal[:, k] = _average(weighted * here, weights)
        if k == size - 1:
            break
        weighted -= diagonal[:, k, None] * here
        weighted -= off[:, k, None] * before
        norm = np.sqrt(_average(np.square(weighted), weights))
        off[:, k + 1] = np.where(norm > 1e-10, norm, 0.0)
        before, here = here, weighted / np.where(norm > 1e-10, norm, np.inf)[:, None]
    points, masses = rule_of_recurrence(diagonal, off)
    return mean[:, None] + sd[:, None] * points, masses


def rule_of_recurrence(diagonal: Array, off: Array) -> tuple[Array, Array]:
    """Return points and weights, (n, size) each, by orthonormal polynomials with this recurrence, (n, size) twice."""
    index = np.arange(diagonal.shape[1])
    jacobi = np.zeros((*diagonal.shape, len(index)))
    jacobi[:, index, index] = diagonal
    jacobi[:, index[1:], index[:-1]] = off[:, 1:]
    points, vectors = np.linalg.eigh(jacobi)
    return points, np.square(vectors[:, 0, :])


def _average(values: Array, weights: Array) -> Array:
    """Return each row's weighted sum, (n,); weights are (G,) for all rows, or (n, G)."""
    return values @ weights if weights.ndim == 1 else np.einsum("ng,ng->n", values, weights)
