"""The density of a mixture prior's scales, the noise scale and the intercept, coefficients integrated out.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...priors.base import LogVariances, ScaleMixture
from ..nuts.compressed_rows import given_scales, place
from ..posterior import Posterior
from ..problem import Problem

__all__ = ["ScalesDensity"]

Array = NDArray[np.float64]

# Where derivatives of a prior's log density are taken by differences: they steer trajectories, and change no density.
_STEP = 1e-4


class _Integral(NamedTuple):
    """The integral over the coefficients at points."""

    variance: Array
    """(W,) of the rows' noise."""
    mixture: LogVariances
    squares: Array
    """(W, p) variances of the coefficients."""
    target: Array
    """(W, K) less the intercept's part, ..."""
    covariance: Array
    """... its covariance, (W, K, K), ..."""
    explained: Array
    """... that between the columns of the design by its inverse: the diagonal, (W, p), ..."""
    weighted: Array
    """... and its inverse times the target, (W, K)."""


@dataclass(frozen=True, eq=False)
class ScalesDensity:
    """A density of points (intercept, log noise scale, the mixture's coordinates), (86).

    Intercept and log noise scale, where there are such, are in units of a Gaussian approximation's deviations, about
    its means.
    """

    problem: Problem
    prior: ScaleMixture
    design: Array
    """(K, p) of the triangle, whose rows but the last K are nothing."""
    ones: Array
    """(K,) the intercept's column of it; empty without one."""
    target: Array
    """(K,)"""
    residual: float
    """Squared length of the part of the target that no coefficients reach."""
    sizes: Array
    """(p,) of the coefficients, about."""
    intercept: Array
    """(2,) mean and deviation."""
    log_noise: Array
    """(2,) likewise."""
    log_unit: float
    """Of the mixture, at a noise scale of one, (17)."""
    resolution: float

    @classmethod
    def of(cls, problem: Problem, about: Posterior) -> ScalesDensity:
        """Return the density of a problem; `about` is the Gaussian approximation."""
        prior, first = problem.coef_prior, int(problem.fit_intercept)
        if not isinstance(prior, ScaleMixture):
            raise ValueError(f"Coefficients have no scales under {prior!r}.")
        has_scale, within = problem.noise.has_scale, problem.rows.n_features + first
        deviations = np.linalg.norm(about.root, axis=0)
        deviation = deviations[0] or 1.0
        log_noise = place(np.log(about.noise_scale), about.weights) if has_scale else np.zeros(2)
        # Whatever the order of the rows, or their blocks, the triangle is this, to a millionth of the noise.
        rows: Array = problem.factor[0][:, 1 - first :]
        triangle = np.asarray(np.linalg.qr(rows, mode="r"), dtype=np.float64)
        triangle *= np.where(np.diagonal(triangle) < 0.0, -1.0, 1.0)[:, None]
        residual = float(np.square(triangle[within : problem.state.n_rows, -1]).sum())
        reach = np.append(np.abs(about.mean) + 4.0 * deviations, 1.0)[1 - first :]
        triangle = _rounded(
            triangle[: min(within, problem.state.n_rows)], 1e-6 * np.exp(log_noise[0]) / reach
        )
        return cls(
            problem,
            prior,
            triangle[:, first:-1],
            triangle[:, 0] if first else np.zeros(0),
            triangle[:, -1],
            float(_rounded_off(residual)),
            _rounded(np.abs(about.mean[1:]), 1e-6 * deviations[1:]),
            _rounded(np.array([about.mean[0], deviation]), 1e-6 * deviation),
            _rounded_off(log_noise),
            float(_rounded_off(np.log(problem.typical_error) - 0.5 * np.log(problem.total_weight))),
            float(_rounded_off(problem.resolution())) if has_scale else 0.0,
        )

    @cached_property
    def n_others(self) -> int:
        """How many coordinates come before the mixture's."""
        return int(self.problem.fit_intercept) + int(self.problem.noise.has_scale)

    @property
    def size(self) -> int:
        return self.n_others + self.prior.n_coordinates(self.design.shape[1])

    def starts(self, count: int, rng: np.random.Generator) -> Array:
        """Return points within one, in each coordinate, of where coefficients are likely, (count, d)."""
        unit = float(np.exp(self.log_unit + self.log_noise[0]))
        likely = self.prior.likely_coordinates(self.sizes, self._parameters, unit)
        return np.append(np.zeros(self.n_others), likely) + rng.uniform(-1.0, 1.0, (count, self.size))

    def intercepts(self, points: Array) -> Array:
        """Return the intercept at points, (W,), zero without one."""
        if not self.problem.fit_intercept:
            return np.zeros(len(points))
        return np.asarray(self.intercept[0] + self.intercept[1] * points[:, 0])

    def log_scales(self, points: Array) -> Array:
        """Return the log noise scale at points, (W,), zero without one."""
        if not self.problem.noise.has_scale:
            return np.zeros(len(points))
        return np.asarray(self.log_noise[0] + self.log_noise[1] * points[:, self.n_others - 1])

    def variances(self, points: Array) -> Array:
        """Return the variance of rows' noise at points, (W,)."""
        return np.asarray(np.exp(2.0 * self.log_scales(points)) + self.resolution**2)

    def mixture(self, points: Array) -> LogVariances:
        """Return the mixture's scales at points."""
        return self.prior.log_variances(
            points[:, self.n_others :], self._parameters, self.log_unit + self.log_scales(points)
        )

    @cached_property
    def _parameters(self) -> dict[str, Array]:
        return dict(self.prior.check("coef_prior", self.design.shape[1]))

    def _targets(self, points: Array) -> Array:
        """Return the target less the intercept's part, (W, K)."""
        if not self.problem.fit_intercept:
            return np.tile(self.target, (len(points), 1))
        return self.target - self.intercepts(points)[:, None] * self.ones

    def _integral(self, points: Array) -> _Integral:
        """Integrate over the coefficients, (86)."""
        variance, mixture = self.variances(points), self.mixture(points)
        squares, target, p = np.exp(mixture.values), self._targets(points), self.design.shape[1]
        covariance = (self.design * squares[:, None, :]) @ self.design.T
        diagonal = np.arange(len(self.target))
        covariance[:, diagonal, diagonal] += variance[:, None]
        sides = np.empty((*target.shape, p + 1))
        sides[:, :, :p], sides[:, :, p] = self.design, target
        solved = _solved(covariance, sides)
        explained = np.einsum("kj,wkj->wj", self.design, solved[:, :, :p])
        return _Integral(variance, mixture, squares, target, covariance, explained, solved[:, :, p])

    def log_density_and_slope(self, points: Array) -> tuple[Array, Array]:
        """Return the log density at points, (W,), up to a constant, and its gradient, (W, d), (86), (87)."""
        given = self._integral(points)
        sign, log_determinant = np.linalg.slogdet(given.covariance)
        square = np.einsum("wk,wk->w", given.target, given.weighted)
        further = self.problem.total_weight - len(self.target)
        of_rows = further * np.log(given.variance) + self.residual / given.variance
        found = given.mixture.log_density - 0.5 * (log_determinant + square + of_rows)
        found = found + sum(prior(points) for prior in self._priors)
        return np.where((sign > 0.0) & np.isfinite(found), found, -np.inf), self._slope(points, given)

    def slope(self, points: Array) -> Array:
        """Return the gradient alone."""
        return self._slope(points, self._integral(points))

    def _slope(self, points: Array, given: _Integral) -> Array:
        of_logs = 0.5 * given.squares * (np.square(given.weighted @ self.design) - given.explained)
        slope = np.empty_like(points)
        of_mixture, of_unit = given.mixture.pulled(of_logs)
        slope[:, self.n_others :] = given.mixture.slope + of_mixture
        for i, prior in enumerate(self._priors):
            step = np.zeros(points.shape[1])
            step[i] = _STEP
            slope[:, i] = (prior(points + step) - prior(points - step)) / (2.0 * _STEP)
        if self.problem.fit_intercept:
            slope[:, 0] += self.intercept[1] * (given.weighted @ self.ones)
        if self.problem.noise.has_scale:
            variance, K = given.variance, len(self.target)
            trace = (K - (given.squares * given.explained).sum(axis=1)) / variance
            further = (self.problem.total_weight - K - self.residual / variance) / variance
            of_variance = 0.5 * (np.square(given.weighted).sum(axis=1) - trace - further)
            of_log = 2.0 * (variance - self.resolution**2) * of_variance + of_unit
            slope[:, self.n_others - 1] += self.log_noise[1] * of_log
        return slope

    @cached_property
    def _priors(self) -> list[Callable[[Array], Array]]:
        """Return the log prior densities of intercept and log noise scale as functions of points."""
        found: list[Callable[[Array], Array]] = []
        intercept_prior = self.problem.intercept_prior
        if intercept_prior is not None:
            parameters = intercept_prior.check("intercept_prior", 1)

            def of_intercept(points: Array) -> Array:
                values = self.intercepts(points)[:, None]
                return np.asarray(intercept_prior.coefficient_log_density(values, parameters)[:, 0])

            found.append(of_intercept)
        if self.problem.noise.has_scale:

            def of_noise(points: Array) -> Array:
                logs = self.log_scales(points)
                return np.asarray(self.problem.noise_prior.log_density(np.exp(logs)) + logs)

            found.append(of_noise)
        return found

    def coefficients(self, points: Array, rng: np.random.Generator) -> Array:
        """Return draws of the coefficients given everything else, (W, p), (19)."""
        p = self.design.shape[1]
        found = np.empty((len(points), p))
        block = max(1, 2**20 // (p + 2) ** 2)
        for start in range(0, len(points), block):
            some = points[start : start + block]
            sd, noise = np.exp(0.5 * self.mixture(some).values), np.sqrt(self.variances(some))
            design, target = self.design / noise[:, None, None], self._targets(some) / noise[:, None]
            found[start : start + block] = given_scales(design, target, sd, rng)
        return found


def _rounded(values: Array, unit: Array | float) -> Array:
    """Return values to powers of two that are at most a unit, which is positive."""
    power = np.exp2(np.floor(np.log2(unit)))
    return np.asarray(np.round(values / power) * power)


def _rounded_off(values: Array | float) -> Array:
    """Return values to some nine digits."""
    return _rounded(np.asarray(values), 1e-9 * (np.abs(values) + np.finfo(np.float64).tiny * 1e12))


def _solved(matrices: Array, sides: Array) -> Array:
    """Return the solutions of linear equations; NaN where a matrix is singular, as far away it may be."""
    try:
        return np.asarray(np.linalg.solve(matrices, sides), dtype=np.float64)
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.full(sides.shape, np.nan)
        return np.concatenate([_solved(matrices[i : i + 1], sides[i : i + 1]) for i in range(len(matrices))])
