"""The density of a regression's coefficients and its likelihood's own parameters, and the way to its mode.

All of it is in coordinates (gamma, auxiliary coordinates) with B = offset + basis @ gamma, in which prior and rows
together have about unit curvature: collinear columns and features on different scales cost nothing.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

from ..priors import CoefficientPrior
from .importance_sampling import Component
from .problem import Problem

Array = NDArray[np.float64]

# Nodes at a time; and numbers in an array of (nodes, rows), which should stay in the processor's cache.
_NODES_AT_ONCE = 256
_BLOCK_NUMBERS = 2**16
# Newton's method ends where the density can rise by no more than this, or after so many steps.
_CONVERGED = 1e-6
_MAX_STEPS = 100
# Newton's longest step in a coordinate that is a logarithm.
_LONGEST = 3.0
# Curvatures below this share of the largest are raised to it.
_LEAST_CURVATURE = 1e-10
# Step of differences in an auxiliary coordinate.
_STEP = 1e-4
# Gauss-Hermite points over which a prior that is not Gaussian is averaged.
_HERMITE = 32


@dataclass(frozen=True, eq=False)
class RegressionDensity:
    """log p(gamma, auxiliary coordinates, data), and its derivatives."""

    problem: Problem

    @cached_property
    def wide(self) -> tuple[Array, Array]:
        """Means and standard deviations of the priors of B's free entries, or of Gaussians about as wide."""
        prior = self.problem.gaussian_like().gaussian_prior
        if prior is None:
            raise ValueError("The priors have no Gaussians about as wide.")
        return prior

    @cached_property
    def offset(self) -> Array:
        """(P,) B where gamma is zero."""
        mean, sd = self.wide
        return np.where(np.isfinite(sd), mean, 0.0)

    @cached_property
    def basis(self) -> Array:
        """(P, P) the inverse of the triangle of rows and prior, one on the other."""
        _, sd = self.wide
        size = len(sd)
        factor = self.problem.factor[0][:, -1 - size : -1]
        normal = np.isfinite(sd)
        stacked = np.concatenate([factor, np.diag(1.0 / sd)[normal]])
        return np.asarray(dtrtri(np.linalg.qr(stacked, mode="r"))[0])

    @property
    def n_coefficients(self) -> int:
        return len(self.offset)

    @property
    def size(self) -> int:
        """How many dimensions there are."""
        return self.n_coefficients + len(self.problem.auxiliary)

    @property
    def folded(self) -> NDArray[np.bool_]:
        """(d,) coordinates of which c and -c are the same."""
        auxiliary = [parameter.coordinate.folded for parameter in self.problem.auxiliary]
        return np.array([False] * self.n_coefficients + auxiliary)

    @property
    def logarithmic(self) -> NDArray[np.bool_]:
        """(d,) coordinates that are logarithms."""
        return ~self.folded & (np.arange(self.size) >= self.n_coefficients)

    @property
    def log_volume(self) -> float:
        """Log of the volume of B by that of gamma."""
        return float(np.log(np.abs(np.diag(self.basis))).sum())

    def coefficients(self, points: Array) -> Array:
        """Return B's free entries, (G, P)."""
        return self.offset + points[:, : self.n_coefficients] @ self.basis.T

    def values(self, points: Array) -> dict[str, Array]:
        """Return the auxiliary parameters by name, (G,) each."""
        return {
            parameter.name: parameter.coordinate.value(points[:, self.n_coefficients + i])
            for i, parameter in enumerate(self.problem.auxiliary)
        }

    def __call__(self, points: Array) -> Array:
        """Return the log density at points, (G,); minus infinity where it fails."""
        with np.errstate(all="ignore"):
            log_density = self._log_density(points)
        return np.where(np.isfinite(log_density), log_density, -np.inf)

    def _log_density(self, points: Array) -> Array:
        problem, k = self.problem, self.n_coefficients
        log_density = self._coefficient_prior(self.coefficients(points))
        for i, parameter in enumerate(problem.auxiliary):
            log_density += parameter.log_prior(points[:, k + i])
        values = {name: value[:, None] for name, value in self.values(points).items()}
        data = problem.observations()
        for block, start, rows in self._row_blocks(_BLOCK_NUMBERS // _NODES_AT_ONCE):
            observed = data.take(block)
            for first in range(0, len(points), _NODES_AT_ONCE):
                nodes = slice(first, first + _NODES_AT_ONCE)
                eta = points[nodes, :k] @ rows.T
                eta += start
                here = {name: value[nodes] for name, value in values.items()}
                of_rows = problem.likelihood.log_density(eta, here, observed)
                log_density[nodes] += of_rows @ self._frequency(block, len(rows))
        return log_density

    def derivatives(self, point: Array, smoothing: Array) -> Derivatives:
        """Return the log density, its gradient and Hessian at a point, a block of rows at a time.

        Parameters
        ----------
        point : ndarray of shape (d,)
        smoothing : ndarray of shape (P,)
            Standard deviations of B, over which priors that are not Gaussian are averaged: what counts of one with a
            kink is what it is over the posterior's width.
        """
        with np.errstate(all="ignore"):
            return self._derivatives(point, smoothing)

    def _derivatives(self, point: Array, smoothing: Array) -> Derivatives:
        problem, k, d = self.problem, self.n_coefficients, self.size
        value, gradient, hessian, fallback = 0.0, np.zeros(d), np.zeros((d, d)), np.zeros((d, d))
        data = problem.observations()
        for block, start, rows in self._row_blocks(_BLOCK_NUMBERS // 4):
            found = problem.likelihood.derivatives(start + rows @ point[:k], point[k:], data.take(block))
            weight = self._frequency(block, len(rows))
            value += float(found.value @ weight)
            gradient[:k] += rows.T @ (found.gradient[0] * weight)
            gradient[k:] += found.gradient[1:] @ weight
            hessian[:k, :k] += rows.T @ (rows * (found.hessian[0, 0] * weight)[:, None])
            fallback[:k, :k] -= rows.T @ (rows * (found.curvature * weight)[:, None])
            across = (found.hessian[0, 1:] * weight) @ rows
            hessian[k:, :k] += across
            hessian[:k, k:] += across.T
            hessian[k:, k:] += found.hessian[1:, 1:] @ weight
        prior = self.coefficient_prior_derivatives(self.coefficients(point[None])[0], smoothing)
        value += prior[0]
        gradient[:k] += self.basis.T @ prior[1]
        curvature = self.basis.T @ (prior[2][:, None] * self.basis)
        hessian[:k, :k] += curvature
        fallback[:k, :k] += self.basis.T @ (np.minimum(prior[2], 0.0)[:, None] * self.basis)
        for i, parameter in enumerate(problem.auxiliary, start=k):
            # One number: differences are all it takes, whatever the prior.
            lower, middle, upper = parameter.log_prior(point[i] + _STEP * np.array([-1.0, 0.0, 1.0]))
            value += float(middle)
            gradient[i] += (upper - lower) / (2.0 * _STEP)
            hessian[i, i] += (upper - 2.0 * middle + lower) / _STEP**2
            # About a step of one in a logarithm, or of the coordinate's own size.
            size = max(abs(point[i]), abs(self.start[i])) if parameter.coordinate.folded else 1.0
            fallback[i, i] = -max(abs(hessian[i, i]), 1.0 / size**2)
        return Derivatives(value, gradient, hessian, fallback)

    def _row_blocks(self, length: int) -> Iterator[tuple[slice, Array, Array]]:
        """Yield rows, their part of the line that is fixed, (rows,), and the design in gamma, (rows, P)."""
        length = max(length, 1)
        for block, design in self.problem.design_blocks():
            fixed, rows = design @ self.offset, design @ self.basis
            for first in range(0, len(rows), length):
                part = slice(first, min(first + length, len(rows)))
                whole = slice(block.start + part.start, block.start + part.stop)
                yield whole, fixed[part], rows[part]

    def _frequency(self, block: slice, size: int) -> Array:
        frequency = self.problem.rows.frequency
        return np.ones(size) if frequency is None else frequency[block]

    def _priors(self) -> Iterator[tuple[slice, CoefficientPrior, str]]:
        """Yield the priors of B's free entries, and which those are."""
        first = int(self.problem.fit_intercept)
        if self.problem.intercept_prior is not None:
            yield slice(0, 1), self.problem.intercept_prior, "intercept_prior"
        yield slice(first, self.n_coefficients), self.problem.coef_prior, "coef_prior"

    def _coefficient_prior(self, coefficients: Array) -> Array:
        """Return the log prior density of B, (...)."""
        total = np.zeros(coefficients.shape[:-1])
        for entries, prior, role in self._priors():
            parameters = prior.check(role, entries.stop - entries.start)
            total += prior.coefficient_log_density(coefficients[..., entries], parameters).sum(axis=-1)
        return total

    def coefficient_prior_derivatives(self, B: Array, smoothing: Array) -> tuple[float, Array, Array]:
        """Return the log prior density of B, its gradient and second derivatives, (P,) each.

        Of priors that are not Gaussian, averaged over Normal(B, smoothing^2): by Stein's identity derivatives of the
        mean are means of the density itself, so that any density will do.
        """
        value, gradient, curvature = 0.0, np.zeros(len(B)), np.zeros(len(B))
        nodes, weights = np.polynomial.hermite_e.hermegauss(_HERMITE)
        weights = weights / weights.sum()
        for entries, prior, role in self._priors():
            size = entries.stop - entries.start
            own, width = B[entries], smoothing[entries]
            gaussian = prior.gaussian(role, size)
            parameters = prior.check(role, size)
            if gaussian is not None:
                mean, sd = gaussian
                value += float(prior.coefficient_log_density(own, parameters).sum())
                precision = 1.0 / np.square(sd)
                gradient[entries], curvature[entries] = (mean - own) * precision, -precision
                continue
            logs = prior.coefficient_log_density(own + nodes[:, None] * width, parameters)
            mean = weights @ logs
            value += float(mean.sum())
            gradient[entries] = (weights * nodes) @ (logs - mean) / width
            curvature[entries] = (weights * (np.square(nodes) - 1.0)) @ (logs - mean) / np.square(width)
        return value, gradient, curvature

    def typical_variance(self, points: Array) -> Array:
        """Return a typical row's squared noise at points, up to a factor, (G,)."""
        scale = self.values(points)["noise_scale"]
        floor = self.problem.typical_error if self.problem.noise == "additive" else self.problem.resolution()
        return np.square(scale) + floor**2

    @cached_property
    def start(self) -> Array:
        """(d,) a point to search from: least squares, for likelihoods of target less line."""
        problem, k = self.problem, self.n_coefficients
        point, scale = np.zeros(self.size), 1.0
        if problem.likelihood.link == "identity":
            factor = problem.factor[0]
            design = factor[:, -1 - k : -1]
            target = factor[:, -1] - design @ self.offset
            point[:k] = self.basis.T @ (design.T @ target)
            residual = target - design @ (self.basis @ point[:k])
            scale = max(float(np.linalg.norm(residual) / np.sqrt(problem.total_weight)), problem.resolution())
            if problem.noise == "additive":
                scale = problem.typical_error * np.sqrt(max(scale**2 - 1.0, 0.1))
        for i, parameter in enumerate(problem.auxiliary, start=k):
            value = scale if parameter.name == "noise_scale" else parameter.start
            point[i] = float(parameter.coordinate.of(np.array(value)))
        return point


class Derivatives(NamedTuple):
    """Of a log density at a point."""

    value: float
    gradient: Array
    """(d,)"""
    hessian: Array
    """(d, d)"""
    fallback: Array
    """(d, d) a negative semidefinite matrix to take its place."""

    @property
    def finite(self) -> bool:
        return all(bool(np.isfinite(part).all()) for part in self)


def climb(density: RegressionDensity, point: Array, smoothing: Array, size: int | None = None) -> Component:
    """Return mode and curvature, by Newton's method with steps halved until the density rises.

    Parameters
    ----------
    density : RegressionDensity
    point : ndarray of shape (d,)
        A point to search from.
    smoothing : ndarray of shape (P,)
        As for `RegressionDensity.derivatives`.
    size : int, optional
        How many coordinates are moved, the first ones; by default all of them.
    """
    size = density.size if size is None else size
    here = density.derivatives(point, smoothing)
    root = np.eye(size)
    for _ in range(_MAX_STEPS):
        root = root_of(here, size)
        along = root.T @ here.gradient[:size]
        rise = float(along @ along)
        if rise < _CONVERGED:
            break
        step = np.zeros(len(point))
        step[:size] = root @ along
        share = min(1.0, _LONGEST / max(float(np.abs(step[density.logarithmic]).max(initial=0.0)), 1e-300))
        while share > 1e-9:
            there = density.derivatives(point + share * step, smoothing)
            if there.finite and there.value > here.value + 1e-4 * share * rise:
                break
            share *= 0.5
        else:
            break
        point, here = point + share * step, there
    return Component(point, root)


def root_of(at: Derivatives, size: int) -> Array:
    """Return a root of the inverse of minus the first coordinates' Hessian, or of a substitute that has one."""
    for matrix in (-at.hessian[:size, :size], -at.fallback[:size, :size]):
        scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
        curvature, vectors = np.linalg.eigh(matrix * scale * scale[:, None])
        if curvature[0] > _LEAST_CURVATURE:
            break
    curvature = np.maximum(np.abs(curvature), _LEAST_CURVATURE * np.abs(curvature).max())
    return np.asarray(scale[:, None] * (vectors / np.sqrt(curvature)))
