"""Regression on features measured with error where no parameter integrates out: true features are, row by row.

As `structural`, but row i belongs to component c with probability pi_c, its true features are ::

    x = mu_c + Gamma z + Normal(0, T_c)

and the target may have any likelihood. Given the component, w and the line in x are jointly Gaussian, so that a row's
density is a sum over components of w's times what the likelihood makes of a line that is normal given w. Where
readings may be wild each of their configurations is a component, too (`wild`); where rows were selected by their
target, densities are given that they were. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from .mixture_coordinates import MixtureCoordinates, MixturePoints
from .model import MEAN_SCALE, Psi
from .rows import given_measured, pairs, without_unmeasured
from .target import Target
from .true_covariance import pooled_covariance

Array = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))

# Priors of the components, in units of the noisy features' spread: deviations of their means from the mean of them
# all, and the Dirichlet distribution of their shares, which keeps a component from being empty.
COMPONENT_SCALE = 2.0

SHARE_CONCENTRATION = 2.0


_ROW_BLOCK = 4096


class Lines(NamedTuple):
    """The rows' lines given what was measured, (G, rows) each."""

    log_density: Array
    """Of what was measured of the features, times the component's share."""
    mean: Array
    """Of a normal target: what it is less its mean."""
    variance: Array
    """With that of a normal target's noise."""
    shared: tuple[Array, Array, Array] | None = None
    """As `Target.log_density` takes it."""


@dataclass(frozen=True, eq=False)
class MixtureProblem(MixtureCoordinates):
    """The structural model of `n_components` normal distributions, and of any likelihood: densities at points."""

    def log_density(self, points: Array) -> Array:
        """Return the log of the density of points and data together."""
        with np.errstate(all="ignore"):
            total = self.log_prior(points)
        total[~np.isfinite(total)] = -np.inf
        possible = np.flatnonzero(np.isfinite(total))
        for block, rows in self._blocks(len(possible)):
            some = possible[block]
            total[some] += self.row_log_density(points[some], rows) @ self.counted(rows)
        # Of lines wider than numbers are, rows are told anything.
        total[~(total < np.inf)] = -np.inf
        return total

    def scores(self, point: Array, steps: Array) -> tuple[Array, Array]:
        """Return the log likelihood's gradient at a point, and the sum of its rows' products.

        Parameters
        ----------
        point, steps : ndarray of shape (d,)
            The steps of central differences.
        """
        gradient, products = np.zeros(self.size), np.zeros((self.size, self.size))
        around = np.concatenate([point + np.diag(steps), point - np.diag(steps)])
        for rows in self.row_blocks():
            up, down = np.split(self.row_log_density(around, rows), 2)
            of_rows = (up - down) / (2.0 * steps[:, None])
            gradient += of_rows @ self.counted(rows)
            products += (of_rows * self.counted(rows)) @ of_rows.T
        return gradient, products

    def row_log_density(self, points: Array, rows: slice = slice(None)) -> Array:
        """Return each row's log density of (w, y) given z, (G, rows): one for rows that are one together."""
        found = self.log_density_of_each(points, rows)
        with np.errstate(all="ignore"):
            return found if self.expansion is None else self.expansion.together(found, rows)

    def log_density_of_each(self, points: Array, rows: slice) -> Array:
        """Return the same of rows by themselves."""
        # Far away from the mode anything may happen; such points have no density.
        with np.errstate(all="ignore"):
            parts = self.taken_apart(points)
            return self._of_rows(parts, self._residuals(parts, rows), rows)

    def counted(self, rows: slice) -> Array:
        """Return how often each of those densities counts."""
        if self.expansion is None:
            return self.frequency[rows]
        return self.expansion.frequency[self.expansion.groups(rows)]

    def placed(self, point: Array) -> MixtureProblem:
        """Return the problem whose rows' lines are looked for about where a point, (d,), has them."""
        parts = self.taken_apart(point[None])
        if self.selection is not None:
            given = self._before_measuring(parts, slice(None))
            self = replace(self, selection=self._pooled(self.selection, parts, given, parts.log_shares))
        if self.target is None:
            return self
        residuals = self._residuals(parts, slice(None))
        log_shares = parts.log_shares
        if parts.wild is not None:
            log_shares = (log_shares[:, :, None] + parts.wild.log_shares[:, None]).reshape(1, -1)
        given = [self._lines(parts, residuals, slice(None), part)[1:3] for part in range(parts.n_parts)]
        return replace(self, target=self._pooled(self.target, parts, given, log_shares))

    @staticmethod
    def _pooled(
        target: Target, parts: MixturePoints, given: list[tuple[Array, Array]], log_shares: Array
    ) -> Target:
        """Return a target with its rows' lines about where all components together have them."""
        shares = np.exp(log_shares[0])
        mean = np.tensordot(shares, [of_lines for of_lines, _ in given], axes=1)
        within = np.tensordot(shares, [np.broadcast_to(of, mean.shape) for _, of in given], axes=1)
        between = np.tensordot(shares, [np.square(of_lines - mean) for of_lines, _ in given], axes=1)
        return target.placed(mean, within + between, target.values_at(parts))

    def _before_measuring(self, parts: MixturePoints, rows: slice) -> list[tuple[Array, Array]]:
        """Return mean and variance of the rows' lines given the exact features alone, of each component."""
        width = parts.line.shape[1]
        line = parts.line.copy()
        line[:, 1:] += np.einsum("gq,gqk->gk", parts.m, parts.slopes)
        at_zero = line @ self.rows[rows, :width].T + self.center[2] + self._shift(rows)
        means = np.einsum("gq,gcq->cg", parts.m, parts.means)
        variances = np.einsum("gi,gcij,gj->cg", parts.m, parts.covariances, parts.m)
        return [
            (at_zero + mean[:, None], np.broadcast_to(variance[:, None], at_zero.shape))
            for mean, variance in zip(means, variances, strict=True)
        ]

    def _log_selected(self, parts: MixturePoints, rows: slice) -> Array:
        """Return the log probability that each row was selected, given its exact features, (33e)."""
        selection = self.selection
        if selection is None:
            raise AssertionError  # for the type checker
        given = self._before_measuring(parts, rows)
        found = [selection.log_density(rows, *of, selection.values_at(parts), None) for of in given]
        return np.asarray(logsumexp(np.array(found) + parts.log_shares.T[:, :, None], axis=0))

    @property
    def _target(self) -> Target:
        if self.target is None:
            raise AssertionError  # for the type checker: the target is not normal
        return self.target

    def _residuals(self, parts: MixturePoints, rows: slice) -> list[Array]:
        """Return w less Gamma z, one (G, rows) a feature, and y - m'w less its mean."""
        q, size = self.data.n_noisy, len(parts.m)
        table = self.rows[rows]
        width = parts.line.shape[1]
        of_y = np.concatenate([-parts.line, -parts.m, np.ones((size, 1))], axis=1)
        of_w = [
            table[:, width + j] - parts.slopes[:, j] @ table[:, 1:width].T
            if width > 1
            else np.broadcast_to(table[:, width + j], (size, len(table)))
            for j in range(q)
        ]
        return [*of_w, of_y @ table.T - self._shift(rows)]

    def _shift(self, rows: slice) -> Array | float:
        return 0.0 if self.shift is None else self.shift[rows]

    def _of_rows(self, parts: MixturePoints, residuals: list[Array], rows: slice) -> Array:
        total: Array | None = None
        values = None if self.target is None else self.target.values_at(parts)
        for part in range(parts.n_parts):
            given = self._lines(parts, residuals, rows, part)
            if values is None:
                found = -0.5 * (np.square(given.mean) / given.variance + np.log(given.variance) + _LOG_TWO_PI)
                if self.gaps is not None:
                    found *= 1.0 - self.gaps[rows, -1]
            else:
                found = self._target.log_density(rows, given.mean, given.variance, values, given.shared)
            found += given.log_density
            total = found if total is None else np.logaddexp(total, found)
        if total is None:
            raise AssertionError
        return total if self.selection is None else total - self._log_selected(parts, rows)

    def _lines(self, parts: MixturePoints, residuals: list[Array], rows: slice, part: int) -> Lines:
        """Return what is known of the rows' lines where the true features are of one component.

        With wild readings `part` counts their configurations within each component.
        """
        component, which = divmod(part, parts.n_parts // self.n_components)
        data, q, place = self.data, self.data.n_noisy, pairs(self.data.n_noisy + 1)
        errors = (self.errors[rows] if len(self.errors) > 1 else self.errors).T
        psi = Psi(parts.m, parts.noise_scale, parts.covariances[:, component], parts.scatter, parts.tau)
        omega = data.omega(psi, noise=self.target is None)
        log_shares, multiples = parts.log_shares[:, component, None], None
        if parts.wild is not None:
            log_shares = log_shares + parts.wild.log_shares[:, which, None]
            multiples = parts.wild.multiples[:, which]
            shares = data.cross_covariance is not None
            omega *= parts.wild.of_errors(which, omega.shape[2], shared=shares)
        omega = omega @ errors
        entries = {(a, b): omega[place[a, b]] for a in range(q + 1) for b in range(a + 1)}
        left = [residuals[j] - parts.means[:, component, j, None] for j in range(q)] + [residuals[q]]
        shared = self.target is not None and data.cross_covariance is not None
        if shared:
            self._with_noise(entries, parts, errors, rows, multiples)
            left.append(np.zeros(1))
        n_measured: Array | int = q
        if self.gaps is not None:
            left, entries = without_unmeasured(left, entries, [*self.gaps[rows].T], [*parts.m.T[:, :, None]])
            n_measured = q - self.gaps[rows, :-1].sum(axis=1)
        square, determinant, after, rest = given_measured(left, entries, q)
        of_w = log_shares - 0.5 * (square + np.log(determinant) + n_measured * _LOG_TWO_PI)
        if self.target is None:
            return Lines(of_w, after[0], rest[0, 0])
        # What was measured is expected to be the line, but for what is left.
        mean = self.rows[rows, -1] + self.center[2] - after[0]
        noise = (-after[1], rest[1, 0], rest[1, 1]) if shared else None
        return Lines(of_w, mean, np.maximum(rest[0, 0], 0.0), noise)

    def _with_noise(
        self,
        entries: dict[tuple[int, int], Array],
        parts: MixturePoints,
        errors: Array,
        rows: slice,
        multiples: Array | None,
    ) -> None:
        """Add the covariance of noise of unit part with w, the line less m'w and itself to `entries`."""
        data, q = self.data, self.data.n_noisy
        first = q * (q + 1) // 2
        multiple = parts.noise_scale if data.multiplies else np.ones(len(parts.m))
        of_u = np.ones((1, q)) if multiples is None else multiples
        shared = [(multiple * of_u[:, j])[:, None] * errors[first + j] for j in range(q)]
        for j in range(q):
            entries[q + 1, j] = shared[j]
        entries[q + 1, q] = -sum(parts.m[:, j, None] * shared[j] for j in range(q))
        target = self._target
        entries[q + 1, q + 1] = target.likelihood.squared_scale(
            target.values_at(parts), target.data.take(rows)
        )

    @np.errstate(all="ignore")  # as in `row_log_density`
    def log_prior(self, points: Array) -> Array:
        """Return the log prior density of points, s and t not negative."""
        data, count = self.data, self.n_components
        q = data.n_noisy
        part = {name: points[:, columns] for name, columns in self.columns.items()}
        parts = self.taken_apart(points)
        total = parts.log_volume + data.log_prior_of_noise(data.psi(self.of_component(points, 0)))
        of_slopes = self.log_slopes(parts)
        total = total + logsumexp(of_slopes, axis=1) - np.log(of_slopes.shape[1])
        if data.slopes.log_scale is not None:
            total = total + data.slopes.log_scale(parts.tau) + np.log(parts.tau)
        if data.intercept is not None:
            mean, sd = data.intercept
            z, w, y = self.center
            intercept = y + parts.line[:, 0] - parts.line[:, 1:] @ z - parts.m @ w
            if data.log_prior_intercept is None:
                total = total + _normal(intercept - mean, np.asarray(sd))
            else:
                total = total + data.log_prior_intercept(intercept)
        if self.target is not None:
            total = total + self.target.log_prior(parts.auxiliary)
        own = parts.auxiliary.shape[1] - len(self.outliers)
        total += sum(one.log_prior(parts.auxiliary[:, own + i]) for i, one in enumerate(self.outliers))
        total = total + _normal(part["slopes"], np.asarray(MEAN_SCALE)).sum(axis=1)
        means = parts.means
        away = means.mean(axis=1) - self.mu_mean
        total = total + _normal(away, np.asarray(MEAN_SCALE)).sum(axis=1)
        apart = np.einsum("cd,gcq->gdq", self.contrasts, means)
        total = total + _normal(apart, np.asarray(COMPONENT_SCALE)).sum(axis=(1, 2))
        total = total - 0.5 * q * np.log(count)
        for c in range(count):
            total = total + data.log_prior_spread(self.of_component(points, c))
        logits = part["shares"] @ self.contrasts.T
        log_shares = logits - logsumexp(logits, axis=1, keepdims=True)
        shape = SHARE_CONCENTRATION
        constant = gammaln(shape * count) - count * gammaln(shape) + 0.5 * np.log(count)
        return np.asarray(total + shape * log_shares.sum(axis=1) + constant, dtype=np.float64)

    def log_slopes(self, parts: MixturePoints) -> Array:
        """Return the log prior densities of the coefficients under each geometry, (G, geometries), (20a)."""
        prior, beta, T = self.data.slopes, parts.line[:, 1:], parts.covariances[:, 0]
        if prior.on_signal:
            beta = beta + np.einsum("gq,gqk->gk", parts.m, parts.slopes)
            T = pooled_covariance(np.exp(parts.log_shares), parts.means, parts.covariances)
        return prior.log_m(parts.m, T, parts.tau)[:, None] + prior.log_beta(beta, parts.tau)

    def _blocks(self, n_points: int) -> Iterator[tuple[slice, slice]]:
        # Numbers in the arrays of one block of rows and points.
        block_numbers = 2**16
        for rows in self.row_blocks():
            step = max(block_numbers // (rows.stop - rows.start), 1)
            for start in range(0, n_points, step):
                yield slice(start, start + step), rows

    def row_blocks(self) -> Iterator[slice]:
        """Yield rows a block at a time, those that are one together in one block."""
        n, start = len(self.rows), 0
        ends = None if self.expansion is None else np.append(self.expansion.starts, n)
        while start < n:
            end = min(start + _ROW_BLOCK, n)
            if ends is not None:
                end = int(
                    ends[max(np.searchsorted(ends, end, "right") - 1, np.searchsorted(ends, start) + 1)]
                )
            yield slice(start, end)
            start = end


def _normal(away: Array, sd: Array) -> Array:
    """Return the log density of Normal(0, sd); zero where it is flat."""
    proper = np.isfinite(sd)
    unit = np.where(proper, sd, 1.0)
    return np.where(proper, -0.5 * np.square(away / unit) - np.log(unit) - 0.5 * _LOG_TWO_PI, 0.0)
