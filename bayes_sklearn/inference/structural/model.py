"""Linear regression on features measured with error: the structural model, all that is linear integrated out.

Row i has exact features z, noisy features w = x + u and the target y::

    x = mu + Gamma z + Normal(0, T),    u ~ Normal(0, U_i),
    y = alpha + beta'z + m'x + eps,     Var eps = v_i,  Cov(u, eps) = c_i

Given psi = (m, s, T), s the noise scale, the pair (w, y - m'w) is linear in theta = (mu, Gamma, alpha, beta) with
Gaussian errors of covariance ::

    Omega_i = [[T + U_i, c_i - U_i m], [., v_i - 2 m'c_i + m'U_i m]]

and theta's prior is Gaussian or flat: generalised least squares integrates it out (Fuller 1987, Measurement Error
Models; Carroll, Ruppert, Stefanski & Crainiceanu 2006, section 8). Omega_i is linear in (U_i, c_i, e_i^2, 1), so it
comes from a matrix product, and what its inverse weights are products of [1, z, w, y], so the sums over rows are
matrix products too. Rows with the same errors share one Omega.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from ...likelihoods.noise import SCALED, Noise
from ..groups.shared_readings import Within
from .normal_equations import HeadPrior, LogDensity, NormalEquations, SlopePrior
from .rows import GatheredRows, Reference, pairs, upper
from .true_covariance import log_prior, true_covariance

Array = NDArray[np.float64]


# Of the prior of the true features' mean and slopes, in units of the standardised noisy features.
MEAN_SCALE = 10.0


class Psi(NamedTuple):
    """What is left when theta is integrated out, at G points."""

    m: Array
    """(G, q) coefficients of the true features."""
    noise_scale: Array
    """(G,) s; 1 where the noise is known."""
    T: Array
    """(G, q, q) covariance of the true features about their regression on the exact ones."""
    scatter: Array
    """(G,) noise "auto": what is added to s times the known errors; else 0."""
    tau: Array
    """(G,) the scale of the coefficients' prior; 1 where it is not learned."""
    error_factor: Array | None = None
    """(G, q) what the stated errors of the noisy features are multiplied by; None: they are known."""


class Conditional(NamedTuple):
    """The data's density and theta's posterior given psi, at G points."""

    log_evidence: Array
    """(G,) log density of all w and y."""
    theta: Array
    """(G, D) mean of (mu_1, Gamma_1., ..., mu_q, Gamma_q., alpha, beta), without alpha where there is none."""
    theta_root: Array
    """(G, D, D) upper triangle whose product with its transpose is theta's covariance."""
    geometry: Array
    """(G, geometries) probabilities of the coefficients' prior's geometries; theta is under one drawn by them."""


@dataclass(frozen=True, eq=False)
class StructuralProblem:
    """The structural model in units in which the noisy features' spread is about one. Immutable.

    Points are arrays of shape (G, d) whose columns are m (q), s (1, none where the noise is known), t (q), zeta
    (q (q - 1) / 2), which make T (`true_covariance`), the log of the scatter over the rest of the noise (noise "auto"
    alone), logs of factors of the features' errors (q, where these are not known) and log tau (1, where it is
    learned). s and t are signed: with them at zero the density is smooth.
    Every point has images of the same density (`signs`); densities are those on s, t >= 0. Under noise "auto" the
    column of s holds what the data tell best, the noise of a row with the root mean square error.
    """

    z: Array
    """(n, k) exact features."""
    w: Array
    """(n, q) noisy features."""
    y: Array
    """(n,) target."""
    feature_covariance: Array
    """(q, q) or (n, q, q) U, covariance of the errors of w."""
    slopes: SlopePrior
    """The prior of m and beta."""
    log_prior_noise: LogDensity
    """From (G,) noise scales, not negative, to log densities; not used where the noise is known."""
    intercept: tuple[float, float] | None = (0.0, np.inf)
    """Prior mean and standard deviation of the intercept, or of a Gaussian about as wide; None: there is none."""
    log_prior_intercept: LogDensity | None = None
    """From (G,) intercepts to log densities, where their prior is not Gaussian."""
    mu_mean: Array | None = None
    """(q,) prior mean of mu + Gamma z_mean; None: 0."""
    z_mean: Array | None = None
    """(k,) where that prior is stated; None: at z = 0."""
    frequency: Array | None = None
    """(n,) how often each row counts; None: once."""
    cross_covariance: Array | None = None
    """(q,) or (n, q) c, covariance of the errors of w with that of y, where s multiplies these, in multiples of it;
    None: 0."""
    standard_error: Array | float | None = None
    """e, known error of y; None: 1 for "scaled", 0 for "additive"."""
    noise: Noise = SCALED
    log_prior_scatter: LogDensity | None = None
    """As `log_prior_noise`, of the scatter under noise "auto"."""
    resolution: float = 0.0
    """Noise that is rounding: it is in every row's where the noise has a scale, so that its density is bounded."""
    unmeasured: NDArray[np.bool_] | None = None
    """(n, q + 1) which cells of (w, y) were not measured, in the place of which there is anything; None: all were."""
    mean_covariance: Array | None = None
    """(q, q) mean of U over the cells that tell something; None: over all rows."""
    likely: Array | None = None
    """(n, q) w with likely values in the place of those that hardly tell: of what is found first; None: w."""
    error_freedom: Array | None = None
    """(q,) degrees of freedom with which errors are known up to a factor for each feature, (80), infinite where they
    are known; None: all are."""
    within: Within | None = None
    """What rows that are means of several leave out, (84); errors of y are those of one. None: they are not."""

    @property
    def n_noisy(self) -> int:
        return self.w.shape[1]

    @property
    def size(self) -> int:
        """d, the number of columns of points."""
        q = self.n_noisy
        return q + self.noise.has_scale + q * (q + 1) // 2 + self.n_logs

    @property
    def n_logs(self) -> int:
        """How many columns of points are logs: the last ones."""
        return self.noise.combined + self.n_factors + (self.slopes.log_scale is not None)

    @property
    def n_factors(self) -> int:
        """How many columns of points are logs of factors of the features' errors."""
        return 0 if self.error_freedom is None else int(np.isfinite(self.error_freedom).sum())

    @property
    def multiplies(self) -> bool:
        """Whether s multiplies known errors."""
        return self.noise.multiplies

    @property
    def total_weight(self) -> float:
        return float(len(self.y) if self.frequency is None else self.frequency.sum())

    @property
    def spread_columns(self) -> slice:
        """Where a point has t."""
        start = self.n_noisy + self.noise.has_scale
        return slice(start, start + self.n_noisy)

    @property
    def correlation_columns(self) -> slice:
        """Where a point has zeta."""
        q, start = self.n_noisy, self.spread_columns.stop
        return slice(start, start + q * (q - 1) // 2)

    def psi(self, points: Array) -> Psi:
        """Return m, s, T, the scatter and tau at points."""
        q, nothing = self.n_noisy, np.zeros(len(points))
        noise_scale = nothing + 1.0 if not self.noise.has_scale else np.abs(points[:, q])
        # Beyond exponentials of so much, no number is a scale.
        most_log = 150.0
        logs = np.exp(np.clip(points[:, self.size - self.n_logs :], -most_log, most_log))
        scatter = nothing
        if self.noise.combined:
            rest = noise_scale / np.hypot(1.0, logs[:, 0])
            noise_scale, scatter = rest / self.typical_error, rest * logs[:, 0]
        tau = nothing + 1.0 if self.slopes.log_scale is None else logs[:, -1]
        T = true_covariance(points[:, self.spread_columns], points[:, self.correlation_columns], q)
        factor = np.repeat(noise_scale[:, None], q, axis=1) if self.noise.of_features else None
        if self.error_freedom is not None:
            factor, first = np.ones((len(points), q)), int(self.noise.combined)
            factor[:, np.isfinite(self.error_freedom)] = logs[:, first : first + self.n_factors]
        return Psi(points[:, :q], noise_scale, T, scatter, tau, factor)

    @property
    def n_linear(self) -> int:
        """D, the size of theta."""
        return len(self._head_prior.mean) + self.z.shape[1]

    @cached_property
    def typical_error(self) -> float:
        """The root mean square of the known errors of y."""
        error = float(np.sqrt(self.moments[1][-2] / self.typical_share))
        return error if error > 0.0 else 1.0

    @property
    def typical_share(self) -> float:
        """What a row's noise is of that of one of those which it is the mean of."""
        return 1.0 if self.within is None else float(self.moments[1][-3])

    @property
    def n_distinct_errors(self) -> int:
        """Rows that are passed over for each point: as many as have errors of their own."""
        return len(self.summed.counts)

    def signs(self, flip: NDArray[np.bool_]) -> Array:
        """Return the signs that take a point to its images under changes of the signs of s and t.

        Parameters
        ----------
        flip : ndarray of shape (d,)
            Which columns may change; only those of s and t count.

        Returns
        -------
        ndarray of shape (images, d)
        """
        q = self.n_noisy
        flip_noise = self.noise.has_scale and flip[q]
        choices = [[1.0, -1.0] if can else [1.0] for can in (flip_noise, *flip[self.spread_columns])]
        flips = np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, 1 + q)
        signs = np.ones((len(flips), self.size))
        if self.noise.has_scale:
            signs[:, q] = flips[:, 0]
        signs[:, self.spread_columns] = flips[:, 1:]
        row, column = np.tril_indices(q, -1)
        signs[:, self.correlation_columns] = flips[:, 1 + row] * flips[:, 1 + column]
        return signs

    def log_prior(self, points: Array) -> Array:
        """Return the log prior density of points."""
        psi = self.psi(points)
        of_m = self.slopes.log_m(psi.m, psi.T, psi.tau)
        if self.slopes.log_scale is not None:
            of_m = of_m + self.slopes.log_scale(psi.tau) + np.log(psi.tau)
        if self.error_freedom is not None and psi.error_factor is not None:
            told = np.isfinite(self.error_freedom)
            of_m = of_m + _log_density_of_factors(psi.error_factor[:, told], self.error_freedom[told])
        return of_m + self.log_prior_of_noise(psi) + self.log_prior_spread(points)

    def log_prior_of_noise(self, psi: Psi) -> Array:
        """Return the part of s and the scatter."""
        total = self.log_prior_noise(psi.noise_scale) if self.noise.has_scale else np.zeros(len(psi.m))
        if self.log_prior_scatter is not None:
            total = total + self.log_prior_scatter(psi.scatter)
            # With the noise r of a typical row and rho = scatter / rest, ds dscatter = s scatter / r dr dlog(rho).
            square = np.square(self.typical_error * psi.noise_scale) + np.square(psi.scatter)
            total = total + np.log(psi.noise_scale) + np.log(psi.scatter) - 0.5 * np.log(square)
        return total

    def log_prior_spread(self, points: Array) -> Array:
        """Return the part of t and zeta."""
        t, zeta = points[:, self.spread_columns], points[:, self.correlation_columns]
        return np.asarray(log_prior(t, zeta, self.n_noisy), dtype=np.float64)

    def log_density(self, points: Array) -> Array:
        """Return the log of the density of points and data together."""
        return self.log_evidence(points) + self.log_prior(points)

    def log_evidence(self, points: Array) -> Array:
        """Return the log density of the data given points; minus infinity where double precision fails."""
        return self.condition(points).log_evidence

    def condition(self, points: Array) -> Conditional:
        """Return the data's log density and theta's posterior given points."""
        q, n_rows, n_columns = self.n_noisy, self.z.shape[1] + 1, self.gathered.rows.shape[1]
        numbers = (q + 1) ** 2 * max(n_rows**2, n_columns * (n_columns + 1) // 2)
        # Numbers in the largest array of sums over the rows, one of which there is a node.
        chunk_numbers = 2**21
        step = max(chunk_numbers // numbers, 1)
        parts = [self._condition(points[start : start + step]) for start in range(0, len(points), step)]
        return Conditional(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _condition(self, points: Array) -> Conditional:
        psi, rows = self.psi(points), self.summed
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            sums, log_determinant = rows.sums(self.omega(psi), psi.m, self.masks)
            # Where Omega is singular up to rounding, the data have no density.
            log_determinant[~np.isfinite(sums).all(axis=(0, 2))] = np.nan
            equations = NormalEquations.of(sums, psi.m - rows.reference.m, rows.reference)
            if self.intercept is None:
                equations = equations.without(self.n_noisy * (self.z.shape[1] + 1))
            beside: float | Array = 0.0
            if self.within is not None:
                *further, beside = self.within.at(*self._noise(psi))
                equations = equations.adding(further[0], further[1], further[2], self.within.about)
            found = equations.integrated(self._head_prior, self.slopes, psi.m, psi.tau)
            log_evidence = found.log_integral - 0.5 * log_determinant + beside
        log_two_pi = float(np.log(2.0 * np.pi))
        log_evidence -= 0.5 * self.weights.sum() * log_two_pi
        log_evidence[~np.isfinite(log_evidence)] = -np.inf
        return Conditional(log_evidence, found.theta, found.root, found.geometry)

    @property
    def masks(self) -> slice | None:
        """Where what is known of a row's errors has its row of `unmeasured`."""
        q = self.n_noisy
        first = q * (q + 1) // 2 + q * (self.cross_covariance is not None)
        return None if self.unmeasured is None else slice(first, first + q + 1)

    @cached_property
    def weights(self) -> Array:
        """(q + 1,) of the rows in which each of (w, y) was measured."""
        lacking = np.zeros(self.n_noisy + 1)
        if self.masks is not None:
            lacking = self.gathered.counts @ self.gathered.errors[:, self.masks]
        return np.asarray(self.total_weight - lacking)

    @cached_property
    def _head_prior(self) -> HeadPrior:
        """Of theta but beta, stated of what a matrix makes of it: mu + Gamma z_mean for mu."""
        width = self.z.shape[1] + 1
        n_latent = self.n_noisy * width
        latent = np.zeros(n_latent)
        latent[::width] = 0.0 if self.mu_mean is None else self.mu_mean
        intercept = [] if self.intercept is None else [self.intercept]
        mean = np.concatenate([latent, [prior[0] for prior in intercept]])
        sd = np.concatenate([np.full(n_latent, MEAN_SCALE), [prior[1] for prior in intercept]])
        shear = np.eye(len(mean))
        if self.z_mean is not None:
            for first in range(0, n_latent, width):
                shear[first, first + 1 : first + width] = self.z_mean
        return HeadPrior(mean, sd, shear)

    def omega(self, psi: Psi, *, noise: bool = True) -> Array:
        """Return Omega's coefficients on the rows' errors, (entries of its upper triangle, G, E).

        Without `noise` it is that of w and the line in true features, less m'w.
        """
        q = self.n_noisy
        m, s, T, _, _, factor = psi
        entry, u = pairs(q + 1), pairs(q)
        n_u = q * (q + 1) // 2
        n_errors = n_u + q * (self.cross_covariance is not None) + 2
        n_errors += (0 if self.unmeasured is None else q + 1) + (self.within is not None)
        omega = np.zeros((entry[-1, -1] + 1, len(m), n_errors))
        with_target = s if self.multiplies else np.ones_like(s)
        last = omega[entry[q, q]]
        for a in range(q):
            for b in range(a, q):
                omega[entry[a, b], :, u[a, b]] = 1.0
                omega[entry[a, b], :, -1] = T[:, a, b]
            for b in range(q):
                omega[entry[a, q], :, u[a, b]] -= m[:, b]
                last[:, u[a, b]] += m[:, a] * m[:, b]
            if noise and self.cross_covariance is not None:
                omega[entry[a, q], :, n_u + a] = with_target
                last[:, n_u + a] = -2.0 * with_target * m[:, a]
        if factor is not None:
            row, column = upper(q)
            omega[:, :, :n_u] *= factor[:, row] * factor[:, column]
        if not noise:
            return omega
        last[:, -2], last[:, -1 if self.within is None else -3] = self._noise(psi)
        return omega

    def _noise(self, psi: Psi) -> tuple[Array, Array]:
        """Return, (G,) each, what known variances are multiplied by, and what is added to them."""
        multiple = np.square(psi.noise_scale) if self.multiplies else np.ones_like(psi.noise_scale)
        added = np.square(psi.noise_scale if self.noise.only_scatters else psi.scatter)
        return multiple, added + self.resolution**2 * self.noise.has_scale

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Mean products of (w - w0, y - y0), (q + 1, q + 1), and mean errors, as `gathered` has them."""
        rows, q, total = self.gathered, self.n_noisy, self.total_weight
        if total == 0.0:
            return np.eye(q + 1), np.ones(rows.errors.shape[1])
        likely = rows.rows if self.likely is None else self._about(rows.reference, self.likely)
        deviations = likely[:, -1 - q :]
        errors = np.asarray(rows.counts @ rows.errors / total, dtype=np.float64)
        if (rows.errors[:, -2] > 0.0).all():
            # A geometric mean of the target's: one useless reading is not what errors are like.
            errors[-2] = np.exp(rows.counts @ np.log(rows.errors[:, -2]) / total)
        if self.mean_covariance is not None:
            errors[: q * (q + 1) // 2] = self.mean_covariance[upper(q)]
        floor = np.append(np.full(q, 1e-12), self.resolution**2 or 1e-12)
        return deviations.T @ deviations / total + np.diag(floor), errors

    @cached_property
    def residual_variance(self) -> float:
        """The target's variance about its regression on the features; where that is nothing, what errors make it."""
        q, (spread, errors), slope = self.n_noisy, self.moments, self.gathered.reference.m
        stated = float(min(slope @ errors[pairs(q)] @ slope, slope @ spread[:q, :q] @ slope))
        if not self.noise.multiplies:
            stated += float(errors[-2])
        # Residuals vary by at least this share of what the errors of features, and known ones of the target, explain.
        least = 0.25
        return max(float(spread[q, q]), least * stated)

    @cached_property
    def gathered(self) -> GatheredRows:
        """The rows, those with the same errors summed."""
        # Rows that do not count may have errors that nothing can be divided by.
        used = np.ones(len(self.y), dtype=bool) if self.frequency is None else self.frequency > 0.0
        n = int(used.sum())
        frequency = np.ones(n) if self.frequency is None else self.frequency[used]
        errors = self.errors()
        errors = errors[used] if len(errors) == len(used) else errors[:n]
        ones = np.column_stack([np.ones(n), self.z[used]])
        likely = self.w if self.likely is None else self.likely
        certain = not self.noise.only_scatters and (errors[:, -2] > 0.0).all()
        weight = frequency / errors[:, -2] if certain else frequency
        reference = Reference.of(ones, likely[used], self.y[used], weight, self.intercept is not None)
        return GatheredRows.of(errors, frequency, self._about(reference, self.w), reference)

    @cached_property
    def summed(self) -> GatheredRows:
        """What stands for them in sums over all: kinds of errors between which these are interpolated."""
        apart = self.cross_covariance is None and self.within is None
        return self.gathered.interpolated(self.n_noisy) if apart else self.gathered

    def _about(self, reference: Reference, w: Array) -> Array:
        """Return [1, z, w - w0, y - y0] of the rows that count, times the root of how often they do."""
        used = np.ones(len(self.y), dtype=bool) if self.frequency is None else self.frequency > 0.0
        root = 1.0 if self.frequency is None else np.sqrt(self.frequency[used])[:, None]
        ones = np.column_stack([np.ones(int(used.sum())), self.z[used]])
        explained = ones @ reference.y + w[used] @ reference.m
        return np.column_stack([ones, w[used] - ones @ reference.w.T, self.y[used] - explained]) * root

    def errors(self) -> Array:
        """Return U's triangle, c, `unmeasured` and shares (of means) where given, e^2, 1: of rows, or one for all."""
        row, column = upper(self.n_noisy)
        parts = [np.atleast_2d(self.feature_covariance[..., row, column])]
        if self.cross_covariance is not None:
            parts.append(np.atleast_2d(self.cross_covariance))
        if self.unmeasured is not None:
            parts.append(self.unmeasured.astype(np.float64))
        default = 0.0 if self.noise.only_scatters else 1.0
        error = default if self.standard_error is None else self.standard_error
        square = np.square(np.atleast_1d(np.asarray(error, dtype=np.float64)))[:, None]
        if self.within is not None:
            parts.append(1.0 / self.within.copies[:, None])
            square = square * parts[-1]
        parts.append(square)
        n = max(len(part) for part in parts)
        parts.append(np.ones((1, 1)))
        return np.column_stack([np.broadcast_to(part, (n, part.shape[1])) for part in parts])


def _log_density_of_factors(factor: Array, freedom: Array) -> Array:
    """Return the log density of the logs of factors, (G,): freedom / factor**2 is chi-square, (80)."""
    chi_square = freedom / np.square(factor)
    shape = 0.5 * freedom
    each = shape * np.log(0.5 * chi_square) - 0.5 * chi_square - gammaln(shape) + np.log(2.0)
    return np.asarray(each.sum(axis=1))
