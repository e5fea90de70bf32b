"""The density of a regression's coefficients and of all other parameters, and the way to its mode.

All of it is in coordinates (gamma, coordinates of the others) with B = offset + basis @ gamma, in which prior and
rows together have about unit curvature: collinear columns and features on different scales cost nothing. The others
are the likelihood's own parameters and, where it is learned, the scale of the coefficients' prior.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

from ...likelihoods.parameters import Auxiliary, FoldedLog, Log
from ...measurements.compressed import signed
from ...priors.base import ScalePrior
from ...priors.coefficients import Normal
from ..numerics.importance_sampling import Component
from ..problem import Problem
from .regression_priors import FreePriors, OnePrior
from .regression_rows import Table

Array = NDArray[np.float64]


_BLOCK_NUMBERS = 2**16


@dataclass(frozen=True, eq=False)
class RegressionDensity:
    """log p(gamma, coordinates of the other parameters, data), and its derivatives."""

    problem: Problem
    turn: Array | None = None
    """(p, p) the coefficients by what `problem.coef_prior` is of; None: they are the same."""

    @property
    def learned(self) -> ScalePrior | None:
        """The prior of the scale of the coefficients' prior, where it is learned."""
        return self.problem.coef_prior.scale_prior

    @cached_property
    def parameters(self) -> tuple[Auxiliary, ...]:
        """All parameters beside the coefficients, the scale of their prior being the last."""
        if self.learned is None:
            return self.problem.auxiliary
        unit = self._visible_scale
        coordinate = Log() if self.learned.vanishes_at_zero else FoldedLog(unit)
        # Scale of the coefficients' prior from which the search starts at least.
        start = 0.3
        return *self.problem.auxiliary, Auxiliary("prior_scale", self.learned, coordinate, max(unit, start))

    @cached_property
    def _visible_scale(self) -> float:
        """About the least scale of the coefficients' prior that rows can tell from none."""
        found, k = self._derivatives_of_rows(self.start_of_rows), self.n_coefficients
        inverse = np.linalg.inv(self.basis)[:, int(self.problem.fit_intercept) :]
        information = float(np.linalg.norm(inverse.T @ found.fallback[:k, :k] @ inverse))
        return min((2.0 / max(information, 1e-100) ** 2) ** 0.25, 1.0)

    def gaussian_like(self) -> RegressionDensity:
        """Return the density under Gaussian priors about as wide, at the scale where the search starts."""
        problem, role = self.problem, "coef_prior"
        if self.learned is None:
            return replace(self, problem=problem.gaussian_like())
        mu, sigma = problem.coef_prior.gaussian_like(role, problem.rows.n_features)
        learned = replace(problem, coef_prior=Normal(mu, self.parameters[-1].start * sigma)).gaussian_like()
        return replace(self, problem=learned)

    @cached_property
    def wide(self) -> tuple[Array, Array]:
        """Means and standard deviations of the priors of what is free, or of Gaussians about as wide."""
        prior = self.problem.gaussian_like().gaussian_prior
        if prior is None:
            raise ValueError("The priors have no Gaussians about as wide.")
        return prior

    @cached_property
    def offset(self) -> Array:
        """(P,) what is free where gamma is zero."""
        mean, sd = self.wide
        return np.where(np.isfinite(sd), mean, 0.0)

    @cached_property
    def basis(self) -> Array:
        """(P, P) the inverse of the triangle of rows and prior, one on the other."""
        _, sd = self.wide
        factor = self.turned(self.problem.factor[0][:, -1 - len(sd) : -1])
        normal = np.isfinite(sd)
        stacked = np.concatenate([factor, np.diag(1.0 / sd)[normal]])
        triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
        return np.asarray(dtrtri(signed(triangle) if self.in_any_order else triangle)[0])

    @property
    def in_any_order(self) -> bool:
        """Whether axes are the same whatever the order of rows, which with normal noise may come in batches."""
        return self.problem.likelihood.is_normal

    def turned(self, design: Array, *, back: bool = False) -> Array:
        """Return the design in what is free, of that in B; `back`: rows of B, of rows of what is free."""
        if self.turn is None:
            return design
        first = design.shape[1] - len(self.turn)
        turn = self.turn.T if back else self.turn
        return np.column_stack([design[:, :first], design[:, first:] @ turn])

    @property
    def n_coefficients(self) -> int:
        return len(self.offset)

    @property
    def size(self) -> int:
        """How many dimensions there are."""
        return self.n_coefficients + len(self.parameters)

    @property
    def n_climbed(self) -> int:
        """How many have derivatives: all but the scale of the prior, whose peak is where all coefficients vanish."""
        return self.n_coefficients + len(self.problem.auxiliary)

    @property
    def folded(self) -> NDArray[np.bool_]:
        """(d,) coordinates of which c and -c are the same."""
        others = [parameter.coordinate.folded for parameter in self.parameters]
        return np.array([False] * self.n_coefficients + others)

    @property
    def logarithmic(self) -> NDArray[np.bool_]:
        """(d,) coordinates that are logarithms."""
        return ~self.folded & (np.arange(self.size) >= self.n_coefficients)

    @property
    def log_volume(self) -> float:
        """Log of the volume of what is free by that of gamma."""
        return float(np.log(np.abs(np.diag(self.basis))).sum())

    def free(self, points: Array) -> Array:
        """Return what the priors are of, (G, P)."""
        return self.offset + points[:, : self.n_coefficients] @ self.basis.T

    def coefficients(self, points: Array) -> Array:
        """Return B's free entries, (G, P)."""
        return self.free(points) if self.turn is None else self.turned(self.free(points), back=True)

    def values(self, points: Array) -> dict[str, Array]:
        """Return the other parameters by name, (G,) each."""
        return {
            parameter.name: parameter.coordinate.value(points[:, self.n_coefficients + i])
            for i, parameter in enumerate(self.parameters)
        }

    def __call__(self, points: Array) -> Array:
        """Return the log density at points, (G,); minus infinity where it fails."""
        with np.errstate(all="ignore"):
            log_density = self._log_density(points)
        return np.where(np.isfinite(log_density), log_density, -np.inf)

    def _log_density(self, points: Array) -> Array:
        problem, k = self.problem, self.n_coefficients
        values = {name: value[:, None] for name, value in self.values(points).items()}
        log_density = self.priors.log_density(self.free(points), values.pop("prior_scale", None))
        for i, parameter in enumerate(self.parameters):
            log_density += parameter.log_prior(points[:, k + i])
        data, spare, there = self.table.data, self.table.spare, self.table.on_the_line
        if spare is not None:
            log_density += problem.likelihood.population.log_density(there.y, values, there) @ spare
        log_density += self.table.constant
        # Nodes at a time; and numbers in an array of (nodes, rows), which should stay in the processor's cache.
        nodes_at_once = min(len(points), 256)
        for block, start, rows in self._row_blocks(_BLOCK_NUMBERS // nodes_at_once):
            observed = data.take(block)
            for first in range(0, len(points), nodes_at_once):
                nodes = slice(first, first + nodes_at_once)
                eta = points[nodes, :k] @ rows.T
                eta += start
                here = {name: value[nodes] for name, value in values.items()}
                of_rows = problem.likelihood.log_density(eta, here, observed)
                log_density[nodes] += of_rows @ self.frequency(block, len(rows))
        return log_density

    def derivatives(self, point: Array, smoothing: Array) -> Derivatives:
        """Return the log density, its gradient and Hessian at a point, a block of rows at a time.

        None in the scale of the prior, of which the density leaves out its own prior.

        Parameters
        ----------
        point : ndarray of shape (d,)
        smoothing : ndarray of shape (P,)
            Standard deviations of what is free, over which priors that are not Gaussian are averaged: what counts of
            one with a kink is what it is over the posterior's width.
        """
        with np.errstate(all="ignore"):
            return self._derivatives(point, smoothing)

    def _derivatives_of_rows(self, point: Array) -> Derivatives:
        problem, k, d = self.problem, self.n_coefficients, self.n_climbed
        value, gradient, hessian, fallback = 0.0, np.zeros(d), np.zeros((d, d)), np.zeros((d, d))
        data, spare = self.table.data, self.table.spare
        if spare is not None:
            there = self.table.on_the_line
            found = problem.likelihood.population.derivatives(there.y, point[k:d], there)
            value += float(found.value @ spare)
            gradient[k:] += found.gradient[1:] @ spare
            hessian[k:, k:] += found.hessian[1:, 1:] @ spare
        value += self.table.constant
        for block, start, rows in self._row_blocks(_BLOCK_NUMBERS // 4):
            found = problem.likelihood.derivatives(start + rows @ point[:k], point[k:d], data.take(block))
            weight = self.frequency(block, len(rows))
            value += float(found.value @ weight)
            gradient[:k] += rows.T @ (found.gradient[0] * weight)
            gradient[k:] += found.gradient[1:] @ weight
            hessian[:k, :k] += rows.T @ (rows * (found.hessian[0, 0] * weight)[:, None])
            fallback[:k, :k] -= rows.T @ (rows * (found.curvature * weight)[:, None])
            across = (found.hessian[0, 1:] * weight) @ rows
            hessian[k:, :k] += across
            hessian[:k, k:] += across.T
            hessian[k:, k:] += found.hessian[1:, 1:] @ weight
        return Derivatives(value, gradient, hessian, fallback)

    def _derivatives(self, point: Array, smoothing: Array) -> Derivatives:
        k = self.n_coefficients
        value, gradient, hessian, fallback = self._derivatives_of_rows(point)
        prior = self.prior_derivatives(point, smoothing)
        value += prior[0]
        gradient[:k] += self.basis.T @ prior[1]
        curvature = self.basis.T @ (prior[2][:, None] * self.basis)
        hessian[:k, :k] += curvature
        fallback[:k, :k] += self.basis.T @ (np.minimum(prior[2], 0.0)[:, None] * self.basis)
        # Step of differences in an auxiliary coordinate.
        step = 1e-4
        for i, parameter in enumerate(self.problem.auxiliary, start=k):
            # One number: differences are all it takes, whatever the prior.
            lower, middle, upper = parameter.log_prior(point[i] + step * np.array([-1.0, 0.0, 1.0]))
            value += float(middle)
            gradient[i] += (upper - lower) / (2.0 * step)
            hessian[i, i] += (upper - 2.0 * middle + lower) / step**2
            # About a step of one in a logarithm, or of the coordinate's own size.
            own = abs(self.start_of_rows[i])
            size = max(abs(point[i]), own) if parameter.coordinate.folded else 1.0
            fallback[i, i] = -max(abs(hessian[i, i]), 1.0 / size**2)
        return Derivatives(value, gradient, hessian, fallback)

    def _row_blocks(self, length: int) -> Iterator[tuple[slice, Array, Array]]:
        """Yield rows, their part of the line that is fixed, (rows,), and the design in gamma, (rows, P)."""
        length = max(length, 1)
        offset, basis = self._turned_back
        for block, design in self.table.design_blocks():
            fixed, rows = design @ offset, design @ basis
            for first in range(0, len(rows), length):
                part = slice(first, min(first + length, len(rows)))
                whole = slice(block.start + part.start, block.start + part.stop)
                yield whole, fixed[part], rows[part]

    @cached_property
    def _turned_back(self) -> tuple[Array, Array]:
        """B where gamma is zero, (P,), and by gamma, (P, P)."""
        both = self.turned(np.vstack([self.offset, self.basis.T]), back=True)
        return both[0], np.ascontiguousarray(both[1:].T)

    def frequency(self, block: slice, size: int) -> Array:
        frequency = self.table.frequency
        return np.ones(size) if frequency is None else frequency[block]

    @cached_property
    def table(self) -> Table:
        """The rows that the likelihood is of."""
        return Table.of(self.problem)

    @cached_property
    def priors(self) -> FreePriors:
        """The priors of what is free."""
        found, first = [], int(self.problem.fit_intercept)
        if self.problem.intercept_prior is not None:
            found.append(OnePrior.of(self.problem.intercept_prior, "intercept_prior", slice(0, 1)))
        of_coefficients = slice(first, first + self.problem.rows.n_features)
        found.append(OnePrior.of(self.problem.coef_prior, "coef_prior", of_coefficients))
        return FreePriors(tuple(found))

    def prior_derivatives(self, point: Array, smoothing: Array) -> tuple[float, Array, Array]:
        """Return what `coefficient_prior_derivatives` does at a point, (d,)."""
        scale = self.prior_scale(point[None])
        if self.learned is not None:  # the posterior is no wider than the prior
            smoothing = smoothing / np.sqrt(1.0 + np.square(smoothing / (scale * self.wide[1])))
        return self.priors.derivatives(self.free(point[None])[0], smoothing, scale)

    def coefficient_prior_derivatives(self, B: Array, smoothing: Array) -> tuple[float, Array, Array]:
        """Return the log prior density of what is free, its gradient and second derivatives, (P,) each, (34)."""
        return self.priors.derivatives(B, smoothing, None)

    def typical_variance(self, points: Array) -> Array:
        """Return a typical row's squared noise at points, up to a factor, (G,)."""
        values, problem = self.values(points), self.problem
        if "noise_scale" not in values:
            return np.ones(len(points))
        floor = problem.typical_error if problem.noise.only_scatters else problem.resolution()
        scattered = values.get("scatter", np.zeros(1)) / problem.typical_error
        return np.square(values["noise_scale"]) + np.square(scattered) + floor**2

    @property
    def start(self) -> Array:
        """(d,) a point to search from."""
        last = self.parameters[-1:] if self.learned is not None else ()
        return np.append(
            self.start_of_rows, [float(scale.coordinate.of(np.array(scale.start))) for scale in last]
        )

    def prior_scale(self, points: Array) -> Array:
        """Return the scale of the coefficients' prior, (G,), one where it is not learned."""
        if self.learned is None:
            return np.ones(len(points))
        return self.parameters[-1].coordinate.value(points[:, -1])

    def of_coefficients(self, values: Array) -> Array:
        """Return values of what is free, (P,), with zero for the intercept."""
        return np.where(np.arange(len(values)) < int(self.problem.fit_intercept), 0.0, values)

    @cached_property
    def start_of_rows(self) -> Array:
        """A point to search from, but for the scale of the prior: least squares, for likelihoods of target less line.

        Where the target has a link, the line is that of all rows' mean.
        """
        problem, k = self.problem, self.n_coefficients
        point, scale = np.zeros(self.n_climbed), 1.0
        if problem.likelihood.link.is_identity:
            factor = problem.factor[0]
            design = self.turned(factor[:, -1 - k : -1])
            target = factor[:, -1] - design @ self.offset
            point[:k] = self.basis.T @ (design.T @ target)
            residual = target - design @ (self.basis @ point[:k])
            scale = max(float(np.linalg.norm(residual) / np.sqrt(problem.total_weight)), problem.resolution())
            if problem.noise.only_scatters:
                scale = problem.typical_error * np.sqrt(max(scale**2 - 1.0, 0.1))
        elif problem.fit_intercept:
            line = self.offset.copy()
            line[0] = problem.likelihood.link.of(np.array(problem.pooled_mean / problem.rate_unit))
            point[:k] = np.linalg.solve(self.basis, line - self.offset)
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

    def plus(self, curvature: Array) -> Derivatives:
        """Return these with second derivatives, (k, k), added in the first coordinates."""
        both = [matrix.copy() for matrix in (self.hessian, self.fallback)]
        for matrix in both:
            matrix[: len(curvature), : len(curvature)] += curvature
        return self._replace(hessian=both[0], fallback=both[1])

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
        How many coordinates are moved, the first ones; by default all that have derivatives.
    """
    size = density.n_climbed if size is None else size
    here = density.derivatives(point, smoothing)
    if not here.finite:  # means of a log link may be beyond all numbers
        k = density.n_coefficients
        point = np.append(density.start_of_rows[:k], point[k:])
        here = density.derivatives(point, smoothing)
    root = np.eye(size)
    # Newton's method ends where the density can rise by no more than this, or after so many steps.
    converged = 1e-6
    max_steps = 100
    # Newton's longest step in a coordinate that is a logarithm.
    longest = 3.0
    for _ in range(max_steps):
        root = root_of(here, size)
        along = root.T @ here.gradient[:size]
        rise = float(along @ along)
        if rise < converged:
            break
        step = np.zeros(len(point))
        step[:size] = root @ along
        share = min(1.0, longest / max(float(np.abs(step[density.logarithmic]).max(initial=0.0)), 1e-300))
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
    # Curvatures below this share of the largest are raised to it.
    least_curvature = 1e-10
    for matrix in (-at.hessian[:size, :size], -at.fallback[:size, :size]):
        scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
        curvature, vectors = np.linalg.eigh(matrix * scale * scale[:, None])
        if curvature[0] > least_curvature:
            break
    curvature = np.maximum(np.abs(curvature), least_curvature * np.abs(curvature).max())
    return np.asarray(scale[:, None] * (vectors / np.sqrt(curvature)))
