"""The exact engine's posterior in arithmetic of 100 digits.

Nothing here is shared with the package, neither code nor route: features and target are taken as the rational
numbers that their doubles are, sums of squares and products are formed, and the normal equations are solved by
Cholesky's method at every noise scale. That squares condition numbers, and 100 digits do not care. The integral over
log s is the trapezoid rule on a grid that is halved until it stands to 18 digits.

`digits` compares, and `digits_of_the_problem` says how far one unit in the last place of the data moves the answer:
no method that computes in doubles can promise more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

Array = NDArray[np.float64]
Number = Any
"""An mpf: mpmath has no types."""

__all__ = ["Precise", "Table", "digits", "digits_of_the_problem", "solve"]

mp.dps = 100
# The interval ends where the density has fallen by so many nats, and the sums have to agree to this.
_DEPTH, _AGREE = 50, mpf(10) ** -18
_LN_2PI = mp.log(2 * mp.pi)
# A column is constant, up to floating-point rounding, where its deviation is below so many units of its mean.
_CONSTANT = 10 * mpf(2) ** -52


def _half_normal(s: Number) -> Number:
    return mp.log(2 / mp.pi) / 2 - s * s / 2


@dataclass(frozen=True)
class Table:
    """Data, model and new rows; prior standard deviations are infinite where the prior is flat."""

    X: Array
    y: Array
    y_err: Array | None = None
    frequency: Array | None = None
    noise: str = "scaled"
    coef_sigma: float = 1.0
    intercept_sigma: float = 1.0
    standardize: bool = True
    fit_intercept: bool = True
    new: Array | None = None
    """Rows to predict; None: the first three of the table."""
    left_out: tuple[int, ...] = ()
    """Rows of which the density given the others is wanted."""
    log_noise_prior: Callable[[Number], Number] = field(default=_half_normal)

    def perturbed(self, seed: int) -> Table:
        """Return the table with every number moved by up to one unit in the last place."""
        rng = np.random.default_rng(seed)

        def moved(values: Array | None) -> Array | None:
            if values is None:
                return None
            return values + np.spacing(values) * rng.uniform(-1.0, 1.0, np.shape(values)).round()

        return replace(self, X=moved(self.X), y=moved(self.y), y_err=moved(self.y_err))


Precise = dict[str, list[Number]]
"""Name to numbers, on the data's own scale."""


def _exact(values: Array) -> list[Number]:
    return [mpf(float(v)) for v in values]


def _cholesky(A: list[list[Number]]) -> list[list[Number]]:
    size = len(A)
    L = [[mpf(0)] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = A[i][j] - mp.fdot(L[i][:j], L[j][:j])
            L[i][j] = mp.sqrt(rest) if i == j else rest / L[j][j]
    return L


def _forward(L: list[list[Number]], b: list[Number]) -> list[Number]:
    x: list[Number] = []
    for i, row in enumerate(L):
        x.append((b[i] - mp.fdot(row[:i], x)) / row[i])
    return x


def _backward(L: list[list[Number]], b: list[Number]) -> list[Number]:
    size = len(L)
    x = [mpf(0)] * size
    for i in reversed(range(size)):
        x[i] = (b[i] - sum((L[k][i] * x[k] for k in range(i + 1, size)), mpf(0))) / L[i][i]
    return x


class _Model:
    """y | B, s in the units in which the priors are stated, without one copy of the row `without`."""

    def __init__(self, table: Table, without: int | None = None):
        self.table = table
        n, p = table.X.shape
        f = _exact(np.ones(n) if table.frequency is None else table.frequency)
        columns = [_exact(column) for column in [*table.X.T, table.y]]
        total = mp.fsum(f)
        origin, scale = [], []
        for column in columns:
            mean = mp.fdot(f, column) / total
            center = mean if table.fit_intercept else mpf(0)
            deviation = mp.sqrt(mp.fdot(f, [(v - center) ** 2 for v in column]) / total)
            if deviation <= _CONSTANT * abs(mean):
                deviation = abs(mean) if len(scale) < p else mpf(1)
            scale.append(deviation if table.standardize and deviation > 0 else mpf(1))
            origin.append(center if table.standardize else mpf(0))
        self.origin, self.scale = origin, scale
        moved = [[(v - c) / s for v in column] for column, c, s in zip(columns, origin, scale, strict=True)]
        if table.fit_intercept:
            moved.insert(0, [mpf(1)] * n)
        self.rows, self.target = [list(row) for row in zip(*moved[:-1], strict=True)], moved[-1]
        unit = scale[-1]
        self.error = [v / unit for v in _exact(table.y_err)] if table.y_err is not None else [mpf(1)] * n
        self.known = table.y_err is not None
        self.scales_error = self.known and table.noise == "scaled"
        self.typical = mp.sqrt(mp.fdot(f, [e * e for e in self.error]) / total) if self.known else mpf(1)
        if without is not None:
            f[without] -= min(f[without], mpf(1))
        self.f, self.N = f, mp.fsum(f)
        sigma = [table.coef_sigma] * p
        if table.fit_intercept:
            sigma.insert(0, table.intercept_sigma)
        self.sigma = sigma
        self.by_scatter = self.known and table.noise == "additive"
        if not self.by_scatter:
            self._sums = self._weighted(mpf(0))

    def _weighted(self, scatter: Number) -> tuple[list[list[Number]], list[Number], Number, Number]:
        """Sums of squares and products, weighted, and the sum of log errors."""
        variance = [e * e + scatter * scatter for e in self.error]
        w = [f / v for f, v in zip(self.f, variance, strict=True)]
        size = len(self.rows[0])
        columns = [[row[j] for row in self.rows] for j in range(size)]
        heavy = [[a * b for a, b in zip(w, column, strict=True)] for column in columns]
        gram = [[mp.fdot(heavy[i], columns[j]) for j in range(size)] for i in range(size)]
        right = [mp.fdot(column, self.target) for column in heavy]
        square = mp.fsum(a * t * t for a, t in zip(w, self.target, strict=True))
        logs = mp.fsum(f * mp.log(v) for f, v in zip(self.f, variance, strict=True)) / 2
        return gram, right, square, logs

    def given(self, s: Number) -> tuple[Number, list[Number], list[list[Number]]]:
        """Return log p(y | s), E[B | y, s] and the Cholesky factor of B's precision."""
        gram, right, square, logs = self._weighted(s) if self.by_scatter else self._sums
        v = mpf(1) if self.by_scatter or (self.table.noise == "known" and self.known) else s * s
        size = len(gram)
        precision = [[gram[i][j] / v for j in range(size)] for i in range(size)]
        log = -self.N * (mp.log(v) + _LN_2PI) / 2 - logs
        for i, sigma in enumerate(self.sigma):
            if np.isfinite(sigma):
                precision[i][i] += 1 / mpf(sigma) ** 2
                log -= mp.log(mpf(sigma))
            else:
                log += _LN_2PI / 2
        L = _cholesky(precision)
        half = _forward(L, [b / v for b in right])
        log -= mp.fsum(mp.log(L[i][i]) for i in range(size)) + (square / v - mp.fdot(half, half)) / 2
        return log, _backward(L, half), L

    def log_integrand(self, u: Number) -> Number:
        s = mp.exp(u)
        return self.given(s)[0] + self.table.log_noise_prior(s) + u

    def nodes(self) -> list[tuple[Number, Number]]:
        """Return (s, log weight), weights not normalised."""
        if self.table.noise == "known" and self.known:
            return [(mpf(1), mpf(0))]
        density: dict[Number, Number] = {}

        def at(u: Number) -> Number:
            if u not in density:
                density[u] = self.log_integrand(u)
            return density[u]

        coarse = [mpf(u) for u in range(-60, 41)]
        peak = max(coarse, key=at)
        step = mpf(1)
        while step > 1 / (64 * mp.sqrt(self.N + 1)):
            step /= 2
            peak = max((peak - step, peak, peak + step), key=at)
        top = at(peak)

        def end(direction: int) -> Number:
            reach = mpf(1) / 4 / mp.sqrt(self.N + 1)
            while at(peak + direction * reach) + 2 * max(direction, 0) * reach > top - _DEPTH:
                reach *= mpf(5) / 4
            return peak + direction * reach

        left, right = end(-1), end(1)
        parts, before = 32, None
        while True:
            h = (right - left) / parts
            nodes = [left + k * h for k in range(parts + 1)]
            logs = [at(u) for u in nodes]
            sums = [
                mp.fsum(mp.exp(v - top + k * u) for u, v in zip(nodes, logs, strict=True)) * h
                for k in (0, 1, 2)
            ]
            if before and all(abs(a / b - 1) < _AGREE for a, b in zip(sums, before, strict=True)):
                return [(mp.exp(u), v + mp.log(h)) for u, v in zip(nodes, logs, strict=True)]
            parts, before = 2 * parts, sums

    def log_evidence(self) -> Number:
        if self.table.noise == "known" and self.known:
            return self.given(mpf(1))[0]
        return _log_sum([w for _, w in self.nodes()])


def _log_sum(logs: list[Number]) -> Number:
    top = max(logs)
    return top + mp.log(mp.fsum(mp.exp(v - top) for v in logs))


def solve(table: Table) -> Precise:
    """Return all that a fit says: coefficients, noise scale, evidence, predictions, leave-one-out."""
    model = _Model(table)
    nodes = model.nodes()
    log_total = _log_sum([w for _, w in nodes])
    weights = [mp.exp(w - log_total) for _, w in nodes]
    unit, first = model.scale[-1], int(table.fit_intercept)
    new = table.X[:3] if table.new is None else table.new
    design = [
        [mpf(1)] * first
        + [(v - c) / s for v, c, s in zip(_exact(row), model.origin, model.scale, strict=False)]
        for row in new
    ]
    size = len(model.sigma)
    mean = [mpf(0)] * size
    second, line_mean, line_second = [mpf(0)] * size, [mpf(0)] * len(new), [mpf(0)] * len(new)
    noise, scale_mean = mpf(0), mpf(0)
    found = []
    for (s, _), weight in zip(nodes, weights, strict=True):
        _, location, L = model.given(s)
        rows = [[mpf(int(i == j)) for i in range(size)] for j in range(size)] + design
        spread = [mp.fdot(half, half) for half in (_forward(L, row) for row in rows)]
        at = [mp.fdot(row, location) for row in design]
        if model.by_scatter:
            here = s * s + model.typical**2
        elif table.noise == "known" and model.known:
            here = model.typical**2
        else:
            here = s * s * model.typical**2
        found.append((weight, at, [v + here for v in spread[size:]]))
        for j in range(size):
            mean[j] += weight * location[j]
            second[j] += weight * (spread[j] + location[j] ** 2)
        for i in range(len(new)):
            line_mean[i] += weight * at[i]
            line_second[i] += weight * (spread[size + i] + at[i] ** 2)
        noise += weight * here
        scale_mean += weight * s
    coef = [unit * m / s for m, s in zip(mean[first:], model.scale, strict=False)]
    d = model.origin[-1]
    answer: Precise = {
        "coef": coef,
        "coef_std": [
            unit * mp.sqrt(q - m * m) / s
            for q, m, s in zip(second[first:], mean[first:], model.scale, strict=False)
        ],
        "intercept": [d + unit * mean[0] - mp.fdot(coef, model.origin[:-1])] if first else [mpf(0)],
        "noise_scale": [scale_mean * (mpf(1) if model.scales_error or table.noise == "known" else unit)],
        "mean": [d + unit * v for v in line_mean],
        "line_std": [unit * mp.sqrt(q - m * m) for q, m in zip(line_second, line_mean, strict=True)],
        "std": [unit * mp.sqrt(q - m * m + noise) for q, m in zip(line_second, line_mean, strict=True)],
    }
    proper = all(np.isfinite(model.sigma))
    log_evidence = log_total if len(nodes) > 1 else model.given(mpf(1))[0]
    if proper:
        answer["evidence"] = [log_evidence - model.N * mp.log(unit)]
    # The probability at two standard deviations above the mean, of new measurements.
    answer["cdf"] = []
    for i, (m, sd) in enumerate(zip(answer["mean"], answer["std"], strict=True)):
        level = (mpf(float(m + 2 * sd)) - d) / unit
        answer["cdf"].append(mp.fsum(w * mp.ncdf((level - at[i]) / mp.sqrt(v[i])) for w, at, v in found))
    if table.left_out:
        answer["loo"] = [
            log_evidence - _Model(table, i).log_evidence() - mp.log(unit) for i in table.left_out
        ]
    return answer


def _scale(name: str, exact: Precise, i: int) -> Number:
    """Return what an error is measured by: the number itself, or its standard deviation if that is larger."""
    value = abs(exact[name][i])
    if name == "coef":
        return max(value, exact["coef_std"][i])
    if name == "mean":
        return max(value, exact["line_std"][i])
    if name in ("evidence", "loo"):
        return max(value, mpf(1))
    return value


def digits(found: Mapping[str, Any], exact: Precise) -> dict[str, float]:
    """Return the number of right digits under each name, that of the worst number."""
    answer = {}
    for name, values in found.items():
        worst = mpf(0)
        for i, value in enumerate(values):
            size = _scale(name, exact, i)
            off = abs(mpf(value) - exact[name][i])
            worst = max(worst, off / size if size else off)
        answer[name] = float(min(-mp.log10(worst), 17)) if worst else 17.0
    return answer


def digits_of_the_problem(
    table: Table, exact: Precise, seeds: tuple[int, ...] = (1, 2, 3)
) -> dict[str, float]:
    """Return how many digits are left where every number of the data is moved by one unit in the last place."""
    moved = [digits(solve(table.perturbed(seed)), exact) for seed in seeds]
    found = {name: min(one[name] for one in moved) for name in exact}
    # The place of the probability moves along with the prediction, which hides what that has lost.
    found["cdf"] = min(found[name] for name in ("mean", "line_std", "cdf"))
    return found
