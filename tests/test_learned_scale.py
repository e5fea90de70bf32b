"""Priors whose scale is learned, in the exact engine, against sums over grids and dense algebra.

Nothing of the package is shared: the target's covariance given all scales is written down, n x n, and what is not
Gaussian is summed over even grids.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.priors import CoefficientPrior, HalfCauchy, HalfNormal, Normal, PoweredCorrelation

Array = NDArray[np.float64]

LOG_TWO_PI = np.log(2.0 * np.pi)
LEVELS = np.array([0.1, 0.5, 0.9])
NEW = 3


@dataclass(frozen=True)
class Answer:
    """The posterior on the data's own scale; features about their means."""

    log_evidence: float
    mean: Array
    sd: Array
    quantiles: dict[str, Array]
    geometry: Array


@dataclass(frozen=True)
class Case:
    noise: str = "scaled"
    n: int = 12
    p: int = 3
    errors: bool = True
    powers: tuple[float, ...] | None = (0.0, 0.5, 1.0)
    """None: Normal(sigma=HalfCauchy(0.5))."""
    sigma: float | None = None
    """Of the coefficients, where it is not learned."""
    intercept: tuple[float, float] | None = None
    """Mean and standard deviation of its prior; None: flat."""
    frequency: bool = False
    seed: int = 0

    @cached_property
    def data(self) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, self.n, self.p])
        X = rng.normal(size=(self.n, self.p))
        X[:, 1:] += X[:, :1]
        X = 3.0 + X * np.logspace(0.0, 2.0, self.p)
        error = np.exp(rng.normal(-0.5, 0.6, self.n))
        noise = np.hypot(error, 0.3) if self.errors else 1.0
        y = (
            20.0
            + X @ (rng.normal(size=self.p) / np.logspace(0.0, 2.0, self.p))
            + noise * rng.normal(size=self.n)
        )
        found = {"X": X, "y": y}
        if self.errors:
            found["y_err"] = error
        if self.frequency:
            found["sample_weight"] = rng.integers(0, 4, self.n).astype(float)
        return found

    @property
    def prior(self) -> CoefficientPrior | None:
        if self.powers is None:
            return Normal(sigma=HalfCauchy(0.5))
        return PoweredCorrelation(self.sigma, self.powers)

    def estimator(self) -> BayesianErrorsInVariablesRegressor:
        return BayesianErrorsInVariablesRegressor(
            noise=self.noise,
            coef_prior=self.prior,
            intercept_prior=None if self.intercept is None else Normal(*self.intercept),
            weight_type="frequency",
        )

    @cached_property
    def brute(self) -> Answer:
        return integrated(self)


class Rows:
    """y given the scales, in units of standardised features and target."""

    def __init__(self, case: Case):
        data = case.data
        f = data.get("sample_weight", np.ones(case.n)).astype(int)
        X, y = (np.repeat(data[name], f, axis=0) for name in ("X", "y"))
        self.x_mean, self.x_sd, self.y_mean, self.y_sd = X.mean(axis=0), X.std(axis=0), y.mean(), y.std()
        self.x, self.y = (X - self.x_mean) / self.x_sd, (y - self.y_mean) / self.y_sd
        self.error = np.repeat(data["y_err"], f) / self.y_sd if case.errors else np.ones(len(y))
        self.log_density_unit = -len(y) * np.log(self.y_sd)
        # Principal directions are those of the features weighted by their rows' errors.
        weight = self.error**-2
        centred = (self.x - weight @ self.x / weight.sum()) / self.error[:, None]
        values, directions = np.linalg.eigh(centred.T @ centred)
        self.roots = [np.eye(case.p)]
        if case.powers is not None:
            varies = values > 1e-12 * values.max()
            spread = np.where(varies, np.sqrt(np.maximum(values, 0.0) / values[varies].mean()), 1.0)
            self.roots = [directions * spread**-power for power in case.powers]


def grid(low: float, high: float, spacing: float) -> Array:
    return np.arange(low, high, spacing)


def integrated(case: Case) -> Answer:
    """Sum over geometries, log tau, log s and, under "auto", the log of t / s; everything else is Gaussian."""
    rows = Rows(case)
    # A density falls as tau at zero, whatever the data: 2e-9 of it are left out.
    log_tau = grid(-18.0, 7.0 if case.intercept else 18.0, 0.2)
    if case.sigma is not None:
        log_tau = np.full(1, np.log(case.sigma))
    steps, log_ratio = np.zeros(1), np.full(1, -np.inf)
    if case.noise in ("scaled", "auto"):
        lowest = -4.0 if case.intercept else -7.0 if case.n > case.p + 3 else -20.0
        steps = grid(lowest, 3.0, 0.1)
    if case.noise == "auto":
        log_ratio = grid(-22.0, 20.0, 0.2)
    if case.noise == "additive":
        log_ratio = grid(-16.0, 3.0, 0.1)
    log_s = steps + np.zeros((len(log_ratio), 1))
    if (
        case.noise == "auto"
    ):  # the larger the scatter beside the errors, the smaller what these are multiplied by
        log_s = log_s - 0.5 * np.log1p(np.exp(2.0 * log_ratio) / np.square(rows.error).mean())[:, None]
    log_total = np.empty((len(rows.roots), len(log_ratio), len(log_tau), len(steps)))
    first = np.empty((*log_total.shape, case.p + 1))
    second = np.empty_like(first)
    for a, root in enumerate(rows.roots):
        for r, ratio in enumerate(np.exp(log_ratio)):
            log_total[a, r], first[a, r], second[a, r] = given_ratio(
                case, rows, root, ratio, log_tau, log_s[r]
            )
    tau = np.exp(log_tau)[:, None]
    s = np.exp(log_s)[:, None]
    t = np.exp(log_ratio)[:, None, None] * s
    if case.sigma is None:
        beta = 1.0 if case.powers is not None else 0.5
        log_total += stats.halfcauchy(scale=beta).logpdf(tau) + np.log(tau)
    if len(steps) > 1:
        log_total += stats.halfnorm.logpdf(s) + np.log(s)
    if case.noise == "auto":
        log_total += scatter_log_density(t, rows.error)[None] + np.log(t)
    if case.noise == "additive":
        log_total += stats.halfnorm.logpdf(t) + np.log(t)
    log_total += sum(np.log(a[1] - a[0]) for a in (log_tau, steps, log_ratio) if len(a) > 1)
    log_total -= np.log(len(rows.roots))
    log_evidence = logsumexp(log_total)
    w = np.exp(log_total - log_evidence)
    assert w[:, :, 0].sum() + w[:, :, -1].sum() < 1e-7 or len(log_tau) == 1  # nothing is beyond the grid
    assert w[..., 0].sum() + w[..., -1].sum() < 1e-7 or len(steps) == 1
    assert w[:, 0].sum() + w[:, -1].sum() < 1e-7 or len(log_ratio) == 1
    mean = np.einsum("artsk,arts->k", first, w)
    sd = np.sqrt(np.einsum("artsk,arts->k", second, w) - mean**2)
    quantiles = {}
    if len(log_tau) > 1:
        quantiles["prior_scale"] = quantile(log_tau, w.sum(axis=(0, 1, 3)))
    unit_of_s = 1.0 if case.errors else rows.y_sd
    if case.noise == "scaled":
        quantiles["noise_scale"] = unit_of_s * quantile(steps, w.sum(axis=(0, 1, 2)))
    if case.noise == "additive":
        quantiles["noise_scale"] = rows.y_sd * quantile(log_ratio, w.sum(axis=(0, 2, 3)))
    if case.noise == "auto":
        mass = w.sum(axis=(0, 2))
        quantiles["noise_scale"] = binned(log_s, mass)
        quantiles["scatter"] = rows.y_sd * binned(log_ratio[:, None] + log_s, mass)
    unit = rows.y_sd / np.append(1.0, rows.x_sd)
    return Answer(
        float(log_evidence) + rows.log_density_unit,
        mean * unit + np.append(rows.y_mean, np.zeros(case.p)),
        sd * unit,
        quantiles,
        w.sum(axis=(1, 2, 3)),
    )


def given_ratio(
    case: Case, rows: Rows, root: Array, ratio: float, log_tau: Array, log_s: Array
) -> tuple[Array, Array, Array]:
    """Log density of y, and first and second moments of (intercept, coef), (taus, scales) and with P numbers more."""
    unit = np.hypot(rows.error, ratio)  # times s: the noise's deviation
    ones = 1.0 / unit
    design, target = (rows.x @ root) / unit[:, None], rows.y / unit
    s2, tau2 = np.exp(2.0 * log_s), np.exp(2.0 * log_tau)[:, None]
    log_density = -np.log(unit).sum() - 0.5 * len(target) * LOG_TWO_PI
    if case.intercept is None:
        # Contrasts that the intercept does not touch; it has what they leave.
        basis = np.linalg.qr(ones[:, None], mode="complete")[0]
        own, other = basis[:, 0], basis[:, 1:]
        values, vectors = np.linalg.eigh(other.T @ design @ design.T @ other)
        values = np.maximum(values, 0.0)
        z = vectors.T @ (other.T @ target)
        A = vectors.T @ (other.T @ design)
        variance = tau2[..., None] * values + s2[:, None]
        log_density = log_density - 0.5 * (np.log(variance) + z**2 / variance).sum(axis=-1)
        log_density += 0.5 * LOG_TWO_PI - np.log(ones @ own if ones @ own > 0 else -(ones @ own))
        # gamma given y: mean tau^2 A' (z / variance), covariance tau^2 - tau^4 A' (1 / variance) A
        mean = tau2[..., None] * (z / variance) @ A
        outer = np.einsum("kp,kq->kpq", A, A).reshape(len(A), -1)
        p = A.shape[1]
        covariance = tau2[..., None] * np.eye(p).ravel() - (tau2**2)[..., None] * ((1.0 / variance) @ outer)
        covariance = covariance.reshape(*variance.shape[:2], p, p)
        back = own @ design / (own @ ones)
        intercept_mean = own @ target / (own @ ones) - mean @ back
        intercept_variance = s2 / (own @ ones) ** 2 + np.einsum("tspq,p,q->ts", covariance, back, back)
        coef_variance = np.einsum("tspq,kp,kq->tsk", covariance, root, root)
        mean = np.concatenate([intercept_mean[..., None], mean @ root.T], axis=-1)
        variances = np.concatenate([intercept_variance[..., None], coef_variance], axis=-1)
        return log_density, mean, variances + mean**2
    # The whole covariance, for every pair of scales.
    mu, sd = case.intercept
    full = np.column_stack([ones, design])
    prior = np.zeros((len(tau2), 1, p1 := full.shape[1]))
    prior[..., 0] = sd**2
    prior[..., 1:] = tau2[..., None]
    across = np.einsum("np,tsp->tsnp", full, np.broadcast_to(prior, (len(tau2), len(s2), p1)))
    total = across @ full.T + s2[:, None, None] * np.eye(len(target))
    residual = target - mu * ones
    solved = np.linalg.solve(
        total,
        np.concatenate(
            [np.broadcast_to(residual[:, None], (*total.shape[:2], len(target), 1)), across], axis=-1
        ),
    )
    log_density = log_density - 0.5 * (np.linalg.slogdet(total)[1] + solved[..., 0] @ residual)
    mean = np.einsum("tsnp,tsn->tsp", across, solved[..., 0])
    covariance = np.einsum("tsp,pq->tspq", np.broadcast_to(prior, (len(tau2), len(s2), p1)), np.eye(p1))
    covariance = covariance - np.einsum("tsnp,tsnq->tspq", across, solved[..., 1:])
    whole = np.zeros((p1, p1))
    whole[0, 0], whole[1:, 1:] = 1.0, root
    mean = mean @ whole.T
    mean[..., 0] += mu
    variances = np.einsum("tspq,kp,kq->tsk", covariance, whole, whole)
    return log_density, mean, variances + mean**2


def scatter_log_density(t: Array, error: Array) -> Array:
    """Even odds of a half-Cauchy as wide as the errors' geometric mean, and of one a hundredth as wide."""
    size = np.exp(np.log(error).mean())
    wide, narrow = (stats.halfcauchy(scale=scale * size).logpdf(t) for scale in (1.0, 0.01))
    return np.logaddexp(wide, narrow) - np.log(2.0)


def quantile(log_value: Array, mass: Array) -> Array:
    """Quantiles of what has a smooth density on an even grid."""
    below = CubicSpline(log_value, mass).antiderivative()(
        fine := np.linspace(log_value[0], log_value[-1], 20_001)
    )
    return np.exp(np.interp(LEVELS, below / below[-1], fine))


def binned(log_value: Array, mass: Array) -> Array:
    """Quantiles where values are many and uneven."""
    edges = np.linspace(log_value.min(), log_value.max(), 801)
    found, _ = np.histogram(log_value.ravel(), edges, weights=mass.ravel())
    return np.exp(np.interp(LEVELS, np.append(0.0, np.cumsum(found)), edges))
