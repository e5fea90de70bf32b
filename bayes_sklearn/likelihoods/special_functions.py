"""Ratios of gamma functions, tails of distributions, logarithms of shares and counts that keep their digits."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc, betaincinv, betaln, gammainccinv, gammaincinv, ndtr, psi, zeta

from .over_line.vectorised import polynomial

__all__ = [
    "counts_below",
    "few_points_of_log_odds",
    "log_beta_below",
    "log_excess",
    "log_expit",
    "log_one_less",
    "log_one_plus",
    "log_product",
    "log_product_graph",
    "log_rising",
    "log_sum_of_counts",
    "rising_derivatives",
    "without_rounding",
]

Array = NDArray[np.float64]

# Up to q = 1 / 8 Stirling's series is used, above so many factors are taken out of each gamma function first, (32).
_SHIFT = 8

_DIRECT = 1.0 / _SHIFT

_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)

# Fewer coefficients as good as those up to t = 1 / 8, where their polynomial errs by 3e-15 t at most.
_ECONOMISED = (
    0.08333333333333025,
    -0.002777777767912452,
    0.000793645716111539,
    -0.0005943175908563629,
    0.0007726514467211638,
)

# Where q is less, the ratio is one.
_NONE = 1e-30

# (log(1 + z) - z) / z^2 is taken by its series below this z.
_SMALL, _TERMS = 0.05, 14

# 1 / q is kept this far from zero.
_TINY = 1e-100

# Log odds of beta variables at normal scores: standard deviations that they are tabulated for, the largest of them,
# and shares of the variance; Gauss and Hermite's rule.
_WIDTHS, _WIDEST, _SHARES = 25, float(np.sqrt(2.0)), 17

_SCORES, _MASSES = np.polynomial.hermite_e.hermegauss(9)

_MASSES = _MASSES / _MASSES.sum()


def log_rising(q: Array, m: Array | float) -> Array:
    """Return log(Gamma(1/q + m) q^m / Gamma(1/q)), the log of prod_{j < m} (1 + j q) for whole m.

    Parameters
    ----------
    q, m : ndarray
        Not negative; broadcast with each other.
    """
    if np.all((m == 0.0) | (np.asarray(m) == 1.0)):
        return np.zeros(np.broadcast_shapes(np.shape(q), np.shape(m)))
    direct = q > _DIRECT
    if not direct.any():
        return _log_rising_small(q, m)
    q, m = np.broadcast_arrays(q, np.asarray(m, dtype=np.float64))
    direct = np.broadcast_to(direct, q.shape)
    value = np.array(_log_rising_small(np.where(direct, 0.0, q), m))
    value[direct] = _log_rising_large(q[direct], m[direct])
    return value


def _log_rising_small(q: Array, m: Array | float) -> Array:
    q = np.maximum(q, _NONE)
    z = m * q
    log = np.log1p(z)
    last = q / (1.0 + z)
    value = (log - z) / q
    value += (m - 0.5) * log
    value += _stirling(last)
    value -= _stirling(q)
    return value


def _stirling(t: Array, series: tuple[float, ...] = _STIRLING) -> Array:
    """Return what Stirling's formula leaves of the log gamma function at 1 / t."""
    square = np.square(t)
    total = series[-1] * square
    for coefficient in series[-2:0:-1]:
        total += coefficient
        total *= square
    total += series[0]
    total *= t
    return total


def _log_rising_large(q: Array, m: Array) -> Array:
    # The first factors of either gamma function are taken out, until Stirling's series holds for what is left.
    a = np.maximum(1.0 / q, _TINY)
    above, below = a.copy(), a + m
    for i in range(1, _SHIFT):
        above *= a + i
        below *= a + m + i
    shifted = 1.0 / (a + _SHIFT)
    return _log_rising_small(shifted, m) + np.log(above / below) - m * np.log(shifted * a)


def log_product_graph(share: Any, odds: Any, m: Any) -> Any:
    """Return what `log_product` does, in PyTensor; its derivatives lose no more than m times a rounding error."""
    import pytensor.tensor as pt

    whole = share + _SHIFT * odds
    q = odds / whole
    first = share / whole
    square = q * q
    q = q + _NONE
    z = m * q
    ratio = _eight_graph(first, q, square) / _eight_graph(first + z, q, square)
    log = pt.log1p(z)
    series = _stirling_graph(q / (1.0 + z)) - _stirling_graph(q)
    return m * pt.log(whole) + pt.log(ratio) + (log - z) / q + (m - 0.5) * log + series


def _eight_graph(first: Any, step: Any, square: Any) -> Any:
    outer = first * (first + 7.0 * step)
    return outer * (outer + 6.0 * square) * (outer + 10.0 * square) * (outer + 12.0 * square)


def _stirling_graph(t: Any) -> Any:
    return polynomial(t * t, _ECONOMISED) * t


def log_product(share: Array, odds: Array, m: Array) -> Array:
    """Return the log of prod_{j < m} (share + j odds), for fractional m by gamma functions.

    That is m log(share) and `log_rising` of odds / share, at a third of the cost: there is one expression for all.

    Parameters
    ----------
    share, odds, m : ndarray
        Broadcast with each other; the share is neither zero nor above one, the others not negative.
    """
    whole = share + _SHIFT * odds
    q = odds / whole
    share = share / whole
    # Eight factors are taken out of each gamma function, in pairs from either end, (32).
    square = np.square(q)
    pairs = [6.0 * square, 10.0 * square, 12.0 * square]
    span = 7.0 * q
    q += _NONE
    z = m * q
    total = _eight(share, span, pairs) / _eight(share + z, span, pairs)
    np.log(total, out=total)
    log = np.log1p(z)
    total += (m - 0.5) * log
    log -= z
    log /= q
    total += log
    z += 1.0
    np.divide(q, z, out=z)
    total += _stirling(z, _ECONOMISED)
    total -= _stirling(q, _ECONOMISED)
    np.log(whole, out=whole)
    total += whole * m
    return total


def _eight(first: Array, span: Array, pairs: list[Array]) -> Array:
    """Return the product of eight evenly spaced factors."""
    outer = first + span
    outer *= first
    product = outer.copy()
    for more in pairs:
        product *= outer + more
    return product


class Rising(NamedTuple):
    """`log_rising` and its derivatives in q."""

    value: Array
    slope: Array
    bend: Array
    log_slope: Array
    """In log q."""
    log_bend: Array
    """In log q, twice."""
    cross: Array
    """Of `log_slope`, in q."""


def rising_derivatives(q: Array, m: Array) -> Rising:
    """Return `log_rising` and its first two derivatives."""
    q, m = np.broadcast_arrays(q, m)
    direct = q > _DIRECT
    slope, bend = _rising_slopes_small(np.where(direct, 0.0, q), m)
    if direct.any():
        slope, bend = np.array(slope), np.array(bend)
        slope[direct], bend[direct] = _rising_slopes_large(q[direct], m[direct])
    return Rising(log_rising(q, m), slope, bend, q * slope, q * slope + np.square(q) * bend, slope + q * bend)


def _rising_slopes_small(q: Array, m: Array) -> tuple[Array, Array]:
    z = m * q
    rest = 1.0 / (1.0 + z)
    w, dw = log_excess(z)
    first, last = _stirling_slopes(q), _stirling_slopes(q * rest)
    slope = m**2 * (-rest - w) + (m - 0.5) * m * rest + last[0] * rest**2 - first[0]
    bend = m**3 * (rest**2 - dw) - (m - 0.5) * m**2 * rest**2
    bend += last[1] * rest**4 - 2.0 * m * last[0] * rest**3 - first[1]
    return slope, bend


def log_excess(z: Array) -> tuple[Array, Array]:
    """Return (log(1 + z) - z) / z^2 and its derivative."""
    small = np.abs(z) < _SMALL
    near, far = np.where(small, z, 0.0), np.where(small, 1.0, z)
    w, dw = np.zeros_like(z), np.zeros_like(z)
    for i in range(_TERMS, -1, -1):
        dw = dw * near + w
        w = w * near + (-1.0) ** (i + 1) / (i + 2)
    w = np.where(small, w, (np.log1p(far) - far) / np.square(far))
    return w, np.where(small, dw, (-1.0 / (1.0 + far) - 2.0 * w) / far)


def _stirling_slopes(t: Array) -> tuple[Array, Array]:
    """Return the first two derivatives of `_stirling`."""
    first = sum((2 * k + 1) * c * t ** (2 * k) for k, c in enumerate(_STIRLING))
    second = sum(2 * k * (2 * k + 1) * c * t ** (2 * k - 1) for k, c in enumerate(_STIRLING) if k)
    return np.asarray(first), np.asarray(second)


def _rising_slopes_large(q: Array, m: Array) -> tuple[Array, Array]:
    a = np.maximum(1.0 / q, _TINY)
    rise = a * (psi(a + m) - psi(a))
    fall = np.square(a) * (zeta(2.0, a + m) - zeta(2.0, a))
    return a * (m - rise), np.square(a) * (2.0 * rise + fall - m)


def log_sum_of_counts(
    share: Array,
    rest: Array,
    odds: Array,
    successes: Array,
    failures: Array,
    steps: Array,
    last: Array,
) -> Array:
    """Return the log of the beta-binomial probability of so many successes and fewer, over that of so many.

    Parameters
    ----------
    share, rest, odds : ndarray of shape (N,)
        The mean share, what it leaves of one, and dispersion / (1 - dispersion).
    successes, failures : ndarray of shape (N,)
    steps : ndarray of shape (N,)
        How many fewer at most.
    last : ndarray of shape (N,)
        The probability of the fewest, over that of so many: about one at most.
    """
    # Probabilities of counts are summed up until what is left is below this share; looked at every so many.
    left, every = 1e-12, 16
    where: NDArray[np.intp] = np.arange(len(share), dtype=np.intp)
    answer, term, total = (np.ones_like(share) for _ in range(3))
    first = 0
    # A sum that is too large for a number is that of all but a tail too small for one.
    with np.errstate(over="ignore", invalid="ignore"):
        while len(where):
            for step in range(first, first + every):
                j = np.maximum(successes - step, 1.0)
                ratio = (rest + odds * (failures + step)) / (share + odds * (j - 1.0))
                ratio *= j / (failures + step + 1.0)
                term = np.where(step < steps, term * ratio, 0.0)
                total += term
            first += every
            # They rise to one peak at most, and then fall; or they fall first, and rise to the last.
            more = np.maximum(term, last) * (steps - first) > left * total
            answer[where] = total
            where = where[more]
            share, rest, odds, successes, failures, steps, last, term, total = (
                of[more] for of in (share, rest, odds, successes, failures, steps, last, term, total)
            )
    return np.log(answer)


def few_points_of_log_odds(a: Array, b: Array | None = None) -> tuple[Array, Array]:
    """Return points, (n, T), and their masses, (T,), for the log odds of Beta(a, b) variables of one or more each.

    They are quantiles at Gauss and Hermite's normal scores: right for functions that are as smooth as the
    distribution is wide. Standardised they depend smoothly on the standard deviation and on what share of the
    variance is due to a, between which they are interpolated. Without b for the log of Gamma(a) variables.
    """
    variance = 1.0 / a if b is None else 1.0 / a + 1.0 / b
    sd = np.sqrt(variance)
    place = sd * ((_WIDTHS - 1.0) / _WIDEST)
    first = np.minimum(place.astype(np.intp), _WIDTHS - 2)
    place = (place - first)[:, None]
    first *= _SHARES
    table = _standardised_log_odds()
    if b is None:
        first += _SHARES - 1
        points = (1.0 - place) * table[first] + place * table[first + _SHARES]
    else:
        share = (_SHARES - 1.0) / (a * variance)
        cell = np.minimum(share.astype(np.intp), _SHARES - 2)
        share = (share - cell)[:, None]
        first += cell
        points = (1.0 - share) * table[first] + share * table[first + 1]
        first += _SHARES
        points += place * ((1.0 - share) * table[first] + share * table[first + 1] - points)
    points *= sd[:, None]
    points += np.log(a if b is None else a / b)[:, None]
    return points, _MASSES


@cache
def _standardised_log_odds() -> Array:
    """Return quantiles at the normal scores, (widths x shares, T), less log(a / b) and by sqrt(1 / a + 1 / b)."""
    sd, share = (
        x.ravel()[:, None]
        for x in np.meshgrid(
            np.linspace(0.0, _WIDEST, _WIDTHS), np.linspace(0.0, 1.0, _SHARES), indexing="ij"
        )
    )
    tail, upper = ndtr(-np.abs(_SCORES)), _SCORES > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = 1.0 / (np.square(sd) * share), 1.0 / (np.square(sd) * (1.0 - share))
        lower = betaincinv(np.where(upper, b, a), np.where(upper, a, b), tail)
        both = np.where(upper, -1.0, 1.0) * (np.log(lower) - np.log1p(-lower)) - np.log(a / b)
        alone = [
            np.log(np.where(more, gammainccinv(of, tail), gammaincinv(of, tail)) / of)
            for of, more in ((a, upper), (b, ~upper))
        ]
        points = np.where(share == 1.0, alone[0], np.where(share == 0.0, -alone[1], both)) / sd
    return np.asarray(np.where(sd == 0.0, _SCORES, points))


def log_beta_below(a: Array, b: Array | float, log_x: Array, log_rest: Array) -> Array:
    """Return the log of the regularised incomplete beta function I_x(a, b), also where it is too small for a number.

    Parameters
    ----------
    a, b : ndarray
        Positive; all broadcast with each other.
    log_x, log_rest : ndarray
        Logarithms of x and of 1 - x.
    """
    a, b, log_x, log_rest = np.broadcast_arrays(a, b, log_x, log_rest)
    x = np.exp(log_x)
    found = np.empty(x.shape)
    # From the end that x is nearer to, which it is known by, and what is left of one where digits are left there.
    upper = x > 0.5
    found[upper] = 1.0 - betainc(b[upper], a[upper], np.exp(log_rest[upper]))
    few = upper & (found < 0.1)
    # Rounding of x is multiplied by a; SciPy's own complement takes ten times as long.
    slow = few & (a > 1e3)
    here = ~upper | (few & ~slow)
    found[here] = betainc(a[here], b[here], x[here])
    found[slow] = betaincc(b[slow], a[slow], np.exp(log_rest[slow]))
    least = 1e-290
    far = found < least
    answer = np.log(np.maximum(found, least))
    if far.any():
        a, b, x, log_x, log_rest = (of[far] for of in (a, b, x, log_x, log_rest))
        log = a * log_x + b * log_rest - np.log(a) - betaln(a, b)
        answer[far] = log - np.log(_beta_fraction(a, b, x))
    return answer


def _beta_fraction(a: Array, b: Array, x: Array) -> Array:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22), from left to right."""
    value = np.ones_like(x)
    above, below = np.ones_like(x), np.zeros_like(x)
    # Far in a tail, where it is wanted, few terms are enough.
    for m in range(200):
        for even in (False, True):
            if even:
                factor = (m + 1.0) * (b - m - 1.0) / ((a + 2.0 * m + 1.0) * (a + 2.0 * m + 2.0))
            else:
                factor = -(a + m) * (a + b + m) / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
            below = 1.0 / (1.0 + factor * x * below)
            above = 1.0 + factor * x / above
            change = above * below
            value = value * change
        if (np.abs(change - 1.0) < 1e-14).all():
            break
    return value


def log_expit(eta: Array) -> Array:
    """Return log(1 / (1 + exp(-eta)))."""
    return np.minimum(eta, 0.0) - log_one_plus(eta)


def log_one_plus(eta: Array) -> Array:
    """Return log(1 + exp(-abs(eta)))."""
    size = np.abs(np.atleast_1d(eta))
    np.negative(size, out=size)
    np.exp(size, out=size)
    np.log1p(size, out=size)
    return size.reshape(np.shape(eta))


def log_one_less(gap: Array) -> Array:
    """Return log(1 - exp(-gap))."""
    gap = np.asarray(gap)
    small = gap < np.log(2.0)
    with np.errstate(divide="ignore"):
        near = np.log(-np.expm1(-np.where(small, gap, 1.0)))
    return np.where(small, near, np.log1p(-np.exp(-np.where(small, 1.0, gap))))


def counts_below(limit: Array, trials: Array) -> Array:
    """Return the most whole counts whose share or rate is not above a limit."""
    return np.floor(without_rounding(limit * trials, trials))


def without_rounding(counts: Array, trials: Array) -> Array:
    """Return counts, whole where they differ from whole ones by no more than rounding."""
    with np.errstate(invalid="ignore"):
        whole = np.rint(counts)
        rounding = 4.0 * np.finfo(np.float64).eps * np.maximum(trials, counts)
        return np.where(np.abs(counts - whole) <= rounding, whole, counts)
