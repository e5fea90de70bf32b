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

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

from .structural_rows import GatheredRows, Reference, pairs, upper

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))
# Priors of the true features' distribution, in units of the standardised noisy features.
MEAN_SCALE = 10.0
SPREAD_DEGREES_OF_FREEDOM = 4.0
SPREAD_SCALE = 1.0
LKJ_SHAPE = 2.0
# Numbers in the largest array of sums over the rows, one of which there is a node.
_CHUNK_NUMBERS = 2**21


class Psi(NamedTuple):
    """What is left when theta is integrated out, at G points."""

    m: Array
    """(G, q) coefficients of the true features."""
    noise_scale: Array
    """(G,) s; 1 where the noise is known."""
    T: Array
    """(G, q, q) covariance of the true features about their regression on the exact ones."""


class Conditional(NamedTuple):
    """The data's density and theta's posterior given psi, at G points."""

    log_evidence: Array
    """(G,) log density of all w and y."""
    theta: Array
    """(G, D) mean of (mu_1, Gamma_1., ..., mu_q, Gamma_q., alpha, beta), without alpha where there is none."""
    theta_root: Array
    """(G, D, D) upper triangle whose product with its transpose is theta's covariance."""


@dataclass(frozen=True, eq=False)
class StructuralProblem:
    """The structural model in units in which the noisy features' spread is about one. Immutable.

    Points are arrays of shape (G, d) whose columns are m (q), s (1, none where the noise is known), t (q) and zeta
    (q (q - 1) / 2): T = diag(t) C diag(t), where the hyperbolic tangents of zeta, in the order (2, 1), (3, 1),
    (3, 2), ..., are C's canonical partial correlations (Lewandowski, Kurowicka & Joe 2009, Journal of Multivariate
    Analysis 100:1989-2001). s and t are signed: with them at zero the density is smooth. Every point has images
    of the same density (`signs`); densities are those on s, t >= 0.
    """

    z: Array
    """(n, k) exact features."""
    w: Array
    """(n, q) noisy features."""
    y: Array
    """(n,) target."""
    feature_covariance: Array
    """(q, q) or (n, q, q) U, covariance of the errors of w."""
    log_prior_m: LogDensity
    """From (G, q) coefficients of the true features to (G,) log densities."""
    log_prior_noise: LogDensity
    """From (G,) noise scales, not negative, to log densities; not used where the noise is known."""
    beta_mean: Array
    """(k,) prior mean of the exact features' coefficients."""
    beta_sd: Array
    """(k,) their prior standard deviation; infinite: flat."""
    intercept: tuple[float, float] | None = (0.0, np.inf)
    """Prior mean and standard deviation of the intercept; None: there is none."""
    mu_mean: Array | None = None
    """(q,) prior mean of mu + Gamma z_mean; None: 0."""
    z_mean: Array | None = None
    """(k,) where that prior is stated; None: at z = 0."""
    frequency: Array | None = None
    """(n,) how often each row counts; None: once."""
    cross_covariance: Array | None = None
    """(q,) or (n, q) c, covariance of the errors of w with that of y, for "scaled" in multiples of s; None: 0."""
    standard_error: Array | float | None = None
    """e, known error of y; None: 1 for "scaled", 0 for "additive"."""
    noise: Literal["scaled", "additive", "known"] = "scaled"
    m_like: tuple[Array, Array] | None = None
    """(q,) means and standard deviations of a Gaussian about as wide as m's prior; None: zeros and ones."""

    @property
    def n_noisy(self) -> int:
        return self.w.shape[1]

    @property
    def size(self) -> int:
        """d, the number of columns of points."""
        q = self.n_noisy
        return q + (self.noise != "known") + q * (q + 1) // 2

    @property
    def total_weight(self) -> float:
        return float(len(self.y) if self.frequency is None else self.frequency.sum())

    @property
    def spread_columns(self) -> slice:
        """Where a point has t."""
        start = self.n_noisy + (self.noise != "known")
        return slice(start, start + self.n_noisy)

    def psi(self, points: Array) -> Psi:
        """Return m, s and T at points."""
        q = self.n_noisy
        noise_scale = np.ones(len(points)) if self.noise == "known" else np.abs(points[:, q])
        t = points[:, self.spread_columns]
        if q == 1:
            return Psi(points[:, :1], noise_scale, np.square(t)[:, :, None])
        partial = np.tanh(points[:, self.spread_columns.stop :])
        root = np.zeros((len(points), q, q))
        for row in range(q):
            left = np.ones(len(points))
            for column in range(row):
                correlation = partial[:, row * (row - 1) // 2 + column]
                root[:, row, column] = correlation * left
                left = left * np.sqrt(1.0 - np.square(correlation))
            root[:, row, row] = left
        root *= t[:, :, None]
        return Psi(points[:, :q], noise_scale, root @ root.transpose(0, 2, 1))

    @property
    def n_linear(self) -> int:
        """D, the size of theta."""
        return len(self._theta_prior[0])

    @property
    def n_distinct_errors(self) -> int:
        """Rows that are passed over for each point: as many as have errors of their own."""
        return len(self.gathered.counts)

    def guess(self, related: bool = True) -> tuple[Array, Array]:
        """Return a point near the mode and the scale of its uncertainty, (d,) each, by moments.

        Parameters
        ----------
        related : bool, default=True
            Whether the true features have to do with the target: where errors are large, a density may have a
            second mode where they have not.
        """
        q, total = self.n_noisy, max(self.total_weight, 1.0)
        (spread, errors), slope = self.moments, self.gathered.reference.m
        # What the errors leave of the features' spread, at least a tenth of it in every direction.
        values, vectors = np.linalg.eigh(spread[:q, :q])
        whiten = vectors / np.sqrt(values)
        left, turn = np.linalg.eigh(np.eye(q) - whiten.T @ errors[pairs(q)] @ whiten)
        root = vectors * np.sqrt(values) @ turn
        T = root * np.maximum(left, 0.1) @ root.T
        m = np.linalg.solve(T, spread[:q, :q] @ slope) * related
        residual = max(spread[q, q] + slope @ spread[:q, :q] @ slope - m @ T @ m, 0.1 * spread[q, q])
        t = np.sqrt(np.diag(T))
        lower = np.linalg.cholesky(T / np.outer(t, t))
        # A row's squares sum to one: what is left of it from each entry on.
        remaining = np.sqrt(np.cumsum(np.square(lower)[:, ::-1], axis=1)[:, ::-1])
        below = np.tril_indices(q, -1)
        zeta = np.arctanh(np.clip(lower[below] / remaining[below], -0.99, 0.99))
        s = np.empty(0)
        if self.noise == "additive":
            s = np.sqrt([max(residual - errors[-2], 0.1 * residual)])
        elif self.noise == "scaled":
            s = np.sqrt([residual / max(errors[-2], np.finfo(np.float64).tiny)])
        one = 1.0 / np.sqrt(2.0 * total)
        scale = np.concatenate(
            [np.sqrt(residual / total) / t, one * s, one * t, np.full(len(zeta), 2.0 * one)]
        )
        return np.concatenate([m, s, t, zeta]), scale

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
        flip_noise = self.noise != "known" and flip[q]
        choices = [[1.0, -1.0] if can else [1.0] for can in (flip_noise, *flip[self.spread_columns])]
        flips = np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, 1 + q)
        signs = np.ones((len(flips), self.size))
        if self.noise != "known":
            signs[:, q] = flips[:, 0]
        signs[:, self.spread_columns] = flips[:, 1:]
        row, column = np.tril_indices(q, -1)
        signs[:, self.spread_columns.stop :] = flips[:, 1 + row] * flips[:, 1 + column]
        return signs

    def log_prior(self, points: Array) -> Array:
        """Return the log prior density of points."""
        q = self.n_noisy
        total = self.log_prior_m(points[:, :q])
        if self.noise != "known":
            total = total + self.log_prior_noise(np.abs(points[:, q]))
        return total + self.log_prior_spread(points)

    def log_prior_spread(self, points: Array) -> Array:
        """Return the part of t and zeta."""
        q, nu = self.n_noisy, SPREAD_DEGREES_OF_FREEDOM
        half_t = np.log(2.0 / SPREAD_SCALE) + gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu)
        half_t -= 0.5 * np.log(nu * np.pi)
        square = np.square(points[:, self.spread_columns] / SPREAD_SCALE)
        total = q * half_t - 0.5 * (nu + 1.0) * np.log1p(square / nu).sum(axis=1)
        # Partial correlations given j others are Beta(b, b) on (-1, 1); tanh' makes b - 1 of the exponent b.
        shape = LKJ_SHAPE + 0.5 * (q - 2.0 - np.tril_indices(q, -1)[1])
        zeta = np.abs(points[:, self.spread_columns.stop :])
        log_sech = np.log(2.0) - zeta - np.log1p(np.exp(-2.0 * zeta))
        constant = float((betaln(shape, shape) + (2.0 * shape - 1.0) * np.log(2.0)).sum())
        return np.asarray(total + 2.0 * log_sech @ shape - constant, dtype=np.float64)

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
        step = max(_CHUNK_NUMBERS // numbers, 1)
        parts = [self._condition(points[start : start + step]) for start in range(0, len(points), step)]
        return Conditional(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _condition(self, points: Array) -> Conditional:
        psi, rows = self.psi(points), self.gathered
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            sums, log_determinant = rows.sums(self.omega(psi))
            # Where Omega is singular to rounding, the data have no density.
            log_determinant[~np.isfinite(sums).all(axis=(0, 2))] = np.nan
        equations = _NormalEquations.of(sums, psi.m - rows.reference.m, rows.reference)
        mean, sd, shear = self._theta_prior
        if self.intercept is None:
            equations = equations.without(self.n_noisy * (self.z.shape[1] + 1))
        conditional, log_integral = equations.solve(mean, sd, shear)
        log_evidence = log_integral - 0.5 * log_determinant
        log_evidence -= 0.5 * (self.n_noisy + 1) * self.total_weight * _LOG_TWO_PI
        log_evidence[~np.isfinite(log_evidence)] = -np.inf
        return Conditional(log_evidence, *conditional)

    @cached_property
    def _theta_prior(self) -> tuple[Array, Array, Array]:
        """Mean of theta, and the deviations of what the last, a matrix, makes of it: mu + Gamma z_mean for mu."""
        width = self.z.shape[1] + 1
        n_latent = self.n_noisy * width
        latent = np.zeros(n_latent)
        latent[::width] = 0.0 if self.mu_mean is None else self.mu_mean
        intercept = [] if self.intercept is None else [self.intercept]
        mean = np.concatenate([latent, [prior[0] for prior in intercept], self.beta_mean])
        sd = np.concatenate([np.full(n_latent, MEAN_SCALE), [prior[1] for prior in intercept], self.beta_sd])
        shear = np.eye(len(mean))
        if self.z_mean is not None:
            for first in range(0, n_latent, width):
                shear[first, first + 1 : first + width] = self.z_mean
        return mean, sd, shear

    def omega(self, psi: Psi) -> Array:
        """Return Omega's coefficients on the groups' errors, (entries of its upper triangle, G, E)."""
        q = self.n_noisy
        m, s, T = psi
        entry, u = pairs(q + 1), pairs(q)
        n_u = q * (q + 1) // 2
        omega = np.zeros((entry[-1, -1] + 1, len(m), self.gathered.errors.shape[1]))
        with_target = s if self.noise == "scaled" else np.ones_like(s)
        last = omega[entry[q, q]]
        for a in range(q):
            for b in range(a, q):
                omega[entry[a, b], :, u[a, b]] = 1.0
                omega[entry[a, b], :, -1] = T[:, a, b]
            for b in range(q):
                omega[entry[a, q], :, u[a, b]] -= m[:, b]
                last[:, u[a, b]] += m[:, a] * m[:, b]
            if self.cross_covariance is not None:
                omega[entry[a, q], :, n_u + a] = with_target
                last[:, n_u + a] = -2.0 * with_target * m[:, a]
        last[:, -2] = np.square(with_target)
        if self.noise == "additive":
            last[:, -1] = np.square(s)
        return omega

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Mean products of (w - w0, y - y0), (q + 1, q + 1), and mean errors, as `gathered` has them."""
        rows, q, total = self.gathered, self.n_noisy, self.total_weight
        if total == 0.0:
            return np.eye(q + 1), np.ones(rows.errors.shape[1])
        deviations = rows.rows[:, -1 - q :]
        return deviations.T @ deviations / total + 1e-12 * np.eye(q + 1), rows.counts @ rows.errors / total

    @cached_property
    def gathered(self) -> GatheredRows:
        """The rows, those with the same errors summed."""
        # Rows that do not count may have errors that nothing can be divided by.
        used = np.ones(len(self.y), dtype=bool) if self.frequency is None else self.frequency > 0.0
        n = int(used.sum())
        frequency = np.ones(n) if self.frequency is None else self.frequency[used]
        errors = self.errors()
        errors = errors[used] if len(errors) == len(used) else errors[:n]
        ones, w, y = np.column_stack([np.ones(n), self.z[used]]), self.w[used], self.y[used]
        variance = errors[:, -2]
        certain = self.noise != "additive" and (variance > 0.0).all()
        reference = Reference.of(
            ones, w, y, frequency / variance if certain else frequency, self.intercept is not None
        )
        explained = ones @ reference.y + w @ reference.m
        columns = np.column_stack([ones, w - ones @ reference.w.T, y - explained])
        return GatheredRows.of(errors, frequency, columns * np.sqrt(frequency)[:, None], reference)

    def errors(self) -> Array:
        """Return U's upper triangle, c where given, e^2 and 1 of every row, or of one where all have the same."""
        row, column = upper(self.n_noisy)
        parts = [np.atleast_2d(self.feature_covariance[..., row, column])]
        if self.cross_covariance is not None:
            parts.append(np.atleast_2d(self.cross_covariance))
        default = 0.0 if self.noise == "additive" else 1.0
        error = default if self.standard_error is None else self.standard_error
        parts.append(np.square(np.atleast_1d(np.asarray(error, dtype=np.float64)))[:, None])
        n = max(len(part) for part in parts)
        parts.append(np.ones((1, 1)))
        return np.column_stack([np.broadcast_to(part, (n, part.shape[1])) for part in parts])


class _NormalEquations(NamedTuple):
    """The weighted least squares of theta about a reference: |r|^2 - 2 b'd + d'A d, d = theta - reference."""

    gram: Array
    """(G, D, D) A"""
    right: Array
    """(G, D) b"""
    square: Array
    """(G,) |r|^2"""
    reference: Array
    """(G, D)"""

    @classmethod
    def of(cls, sums: Array, shift: Array, reference: Reference) -> _NormalEquations:
        """Take the weighted products of [1, z, w - w0, y - y0] apart.

        Parameters
        ----------
        sums : ndarray of shape (entries of Omega, G, products)
        shift : ndarray of shape (G, q)
            m less the reference's: y - m'w is the rows' y - y0 less shift'(w - w0), but for terms in (1, z).
        reference : Reference
        """
        (n_points, q), width = shift.shape, len(reference.y)
        entry, moment = pairs(q + 1), pairs(width + q + 1)
        # (1, z) by (1, z), (1, z) by (w, y), (w, y) by (w, y), with the entries of Omega's inverse in front.
        gram = sums[:, :, moment[:width, :width]][entry]
        mixed = sums[:, :, moment[:width, width:]][entry]
        square = sums[:, :, moment[width:, width:]][entry]
        apart = np.broadcast_to(np.eye(q + 1), (n_points, q + 1, q + 1)).copy()
        apart[:, q, :q] = -shift
        theta = np.empty((n_points, q + 1, width))
        theta[:, :q] = reference.w
        theta[:, q] = reference.y - shift @ reference.w
        size = (q + 1) * width
        return cls(
            gram.transpose(2, 0, 3, 1, 4).reshape(n_points, size, size),
            np.einsum("abgiv,gbv->gai", mixed, apart).reshape(n_points, size),
            np.einsum("gau,gau->g", np.einsum("abguv,gbv->gau", square, apart), apart),
            theta.reshape(n_points, size),
        )

    def without(self, index: int) -> _NormalEquations:
        """Return the equations of the other entries of theta, where the reference of this one is zero."""
        keep = np.delete(np.arange(self.gram.shape[1]), index)
        return _NormalEquations(
            self.gram[:, keep[:, None], keep], self.right[:, keep], self.square, self.reference[:, keep]
        )

    def solve(self, mean: Array, sd: Array, shear: Array) -> tuple[tuple[Array, Array], Array]:
        """Return theta's mean and root, and the log of exp(-|..|^2 / 2) integrated over theta's prior.

        Parameters
        ----------
        mean, sd : ndarray of shape (D,)
            Of the prior; flat where `sd` is infinite.
        shear : ndarray of shape (D, D)
            Of determinant one: shear @ theta is what has these deviations.
        """
        flat = np.isinf(sd)
        prior_root = shear / sd[:, None]
        prior_precision = prior_root.T @ prior_root
        ahead = np.where(flat, 0.0, mean - self.reference)
        lower, exists = cholesky(self.gram + prior_precision)
        inverse: Array = np.asarray(np.linalg.inv(lower), dtype=np.float64)
        right = np.where(exists[:, None], self.right + ahead @ prior_precision, 0.0)
        whitened = (inverse @ right[:, :, None])[:, :, 0]
        root = inverse.transpose(0, 2, 1)
        theta = self.reference + (root @ whitened[:, :, None])[:, :, 0]
        least = self.square + np.square(ahead @ prior_root.T).sum(axis=1) - np.square(whitened).sum(axis=1)
        log_integral = -0.5 * least - np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        log_integral -= float(np.log(sd[~flat]).sum()) - 0.5 * np.count_nonzero(flat) * _LOG_TWO_PI
        return (theta, root), np.where(exists, log_integral, -np.inf)


def cholesky(matrices: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return Cholesky factors, (G, D, D), the identity in the place of one that does not exist, and which do."""
    exists: NDArray[np.bool_] = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    lower = np.broadcast_to(np.eye(matrices.shape[1]), matrices.shape).copy()
    try:
        lower[exists] = np.linalg.cholesky(matrices[exists])
    except np.linalg.LinAlgError:
        for index in np.flatnonzero(exists):
            try:
                lower[index] = np.linalg.cholesky(matrices[index])
            except np.linalg.LinAlgError:
                exists[index] = False
    return lower, exists
