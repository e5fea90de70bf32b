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

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))
# Priors of the true features' distribution, in units of the standardised noisy features.
MEAN_SCALE = 10.0
SPREAD_DEGREES_OF_FREEDOM = 4.0
SPREAD_SCALE = 1.0
LKJ_SHAPE = 2.0
# Numbers in the arrays of one block of rows and nodes: they should stay in the processor's cache.
_BLOCK_NUMBERS = 2**16
_ROW_BLOCK = 512
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
class _Groups:
    """Rows gathered by their errors; `reference` is subtracted so that sums of squares keep their digits."""

    errors: Array
    """(groups, E) what Omega is linear in: U's upper triangle, c where given, e^2 and 1."""
    counts: Array
    """(groups,) summed frequencies."""
    rows: Array
    """(n, K) [1, z, w - w0(z), y - y0(z, w)], times the root of the frequency where each row is a group."""
    gathered: Array | None
    """(groups, K (K + 1) / 2) summed products of the rows' entries; None where each row is a group."""
    w_reference: Array
    """(q, k + 1) w0 = w_reference (1, z)."""
    y_reference: Array
    """(k + 1 + q,) y0 = y_reference' (1, z, w)."""

    def products(self, block: slice) -> Array:
        """Return the products of the entries of [1, z, w, y], summed over the rows of each group."""
        if self.gathered is not None:
            return self.gathered[block]
        return _products(self.rows[block])


class PseudoRows(NamedTuple):
    """Rows of the same likelihood as all: for each kind of errors at most as many as there are columns."""

    rows: Array
    """(r, K) [1, z, w - w0(z), y - y0(z, w)], times the root of how often each counts."""
    errors: Array
    """(r, E) U's upper triangle, c where given, e^2 and 1."""
    counts: Array
    """(r,) what the log determinant of each row's Omega counts; their sum is the total weight."""
    w_reference: Array
    """(q, k + 1) w0 = w_reference (1, z)."""
    y_reference: Array
    """(k + 1 + q,) y0 = y_reference' (1, z, w)."""


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
    """(q,) prior mean of mu; None: 0."""
    frequency: Array | None = None
    """(n,) how often each row counts; None: once."""
    cross_covariance: Array | None = None
    """(q,) or (n, q) c, covariance of the errors of w with that of y, for "scaled" in multiples of s; None: 0."""
    standard_error: Array | float | None = None
    """e, known error of y; None: 1 for "scaled", 0 for "additive"."""
    noise: Literal["scaled", "additive", "known"] = "scaled"

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
    def n_distinct_errors(self) -> int:
        """Rows that are passed over for each point: as many as have errors of their own."""
        return len(self._groups.counts)

    def pseudo_rows(self) -> PseudoRows:
        """Return what a sampler needs of the rows."""
        errors, counts, rows, gathered, *references = vars(self._groups).values()
        if gathered is None:
            return PseudoRows(rows, errors, counts, *references)
        # Roots of the sums of squares and products, in units in which no column is small beside another.
        order = rows.shape[1]
        gram = gathered[:, _pairs(order)]
        square = np.diagonal(gram, axis1=1, axis2=2)
        unit = np.sqrt(np.where(square > 0.0, square, 1.0))
        values, vectors = np.linalg.eigh(gram / (unit[:, :, None] * unit[:, None, :]))
        roots = np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.transpose(0, 2, 1) * unit[:, None, :]
        kept = values > order * np.finfo(np.float64).eps * values[:, -1:]
        kept[:, -1] = True
        kind = np.nonzero(kept)[0]
        return PseudoRows(roots[kept], errors[kind], (counts / kept.sum(axis=1))[kind], *references)

    def guess(self) -> tuple[Array, Array]:
        """Return a point near the mode and the scale of its uncertainty, (d,) each, by moments."""
        groups, q = self._groups, self.n_noisy
        total = self.total_weight
        deviations = groups.rows[:, -1 - q :]
        spread: Array = deviations.T @ deviations / total if total > 0.0 else np.eye(q + 1)
        total, spread = max(total, 1.0), spread + 1e-12 * np.eye(q + 1)
        errors = (
            groups.counts @ groups.errors / total if len(groups.counts) else np.ones(groups.errors.shape[1])
        )
        slope = groups.y_reference[-q:]
        # What the errors leave of the features' spread, at least a tenth of it in every direction.
        values, vectors = np.linalg.eigh(spread[:q, :q])
        whiten = vectors / np.sqrt(values)
        left, turn = np.linalg.eigh(np.eye(q) - whiten.T @ errors[_pairs(q)] @ whiten)
        root = vectors * np.sqrt(values) @ turn
        T = root * np.maximum(left, 0.1) @ root.T
        m = np.linalg.solve(T, spread[:q, :q] @ slope)
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
        nu = SPREAD_DEGREES_OF_FREEDOM
        half_t = np.log(2.0 / SPREAD_SCALE) + gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu)
        half_t -= 0.5 * np.log(nu * np.pi)
        square = np.square(points[:, self.spread_columns] / SPREAD_SCALE)
        total = total + q * half_t - 0.5 * (nu + 1.0) * np.log1p(square / nu).sum(axis=1)
        # Partial correlations given j others are Beta(b, b) on (-1, 1); tanh' makes b - 1 of the exponent b.
        shape = LKJ_SHAPE + 0.5 * (q - 2.0 - np.tril_indices(q, -1)[1])
        zeta = np.abs(points[:, self.spread_columns.stop :])
        log_sech = np.log(2.0) - zeta - np.log1p(np.exp(-2.0 * zeta))
        constant = float((betaln(shape, shape) + (2.0 * shape - 1.0) * np.log(2.0)).sum())
        return total + 2.0 * log_sech @ shape - constant

    def log_density(self, points: Array) -> Array:
        """Return the log of the density of points and data together."""
        return self.log_evidence(points) + self.log_prior(points)

    def log_evidence(self, points: Array) -> Array:
        """Return the log density of the data given points; minus infinity where double precision fails."""
        return self.condition(points).log_evidence

    def condition(self, points: Array) -> Conditional:
        """Return the data's log density and theta's posterior given points."""
        q, n_rows, n_columns = self.n_noisy, self.z.shape[1] + 1, self._groups.rows.shape[1]
        numbers = (q + 1) ** 2 * max(n_rows**2, n_columns * (n_columns + 1) // 2)
        step = max(_CHUNK_NUMBERS // numbers, 1)
        parts = [self._condition(points[start : start + step]) for start in range(0, len(points), step)]
        return Conditional(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _condition(self, points: Array) -> Conditional:
        psi, groups = self.psi(points), self._groups
        q, width = self.n_noisy, self.z.shape[1] + 1
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            sums, log_determinant = self._sums(self._omega(psi))
        pairs, moments = _pairs(q + 1), _pairs(width + q + 1)
        # (1, z) by (1, z); (1, z) by (w, y); (w, y) by (w, y): each with the entries of Omega's inverse in front.
        gram = sums[:, :, moments[:width, :width]][pairs]
        mixed = sums[:, :, moments[:width, width:]][pairs]
        square = sums[:, :, moments[width:, width:]][pairs]

        # y - m'w, of which the reference has m0'w.
        shift = psi.m - groups.y_reference[width:]
        solve_m = np.broadcast_to(np.eye(q + 1), (len(points), q + 1, q + 1)).copy()
        solve_m[:, q, :q] = -shift
        reference = np.empty((len(points), q + 1, width))
        reference[:, :q] = groups.w_reference
        reference[:, q] = groups.y_reference[:width] - shift @ groups.w_reference

        prior_mean, prior_sd = self._theta_prior
        keep = np.arange((q + 1) * width)
        if self.intercept is None:
            keep = np.delete(keep, q * width)
        start = reference.reshape(len(points), -1)[:, keep]
        prior_precision = np.square(np.reciprocal(prior_sd))
        ahead = np.where(np.isinf(prior_sd), 0.0, prior_mean - start)
        precision = gram.transpose(2, 0, 3, 1, 4).reshape(len(points), (q + 1) * width, -1)
        if self.intercept is None:
            precision = precision[:, keep[:, None], keep]
        precision[:, np.arange(len(keep)), np.arange(len(keep))] += prior_precision
        right = np.einsum("abgiv,gbv->gai", mixed, solve_m).reshape(len(points), -1)[:, keep]
        right = right + prior_precision * ahead
        quadratic = np.einsum("gau,gau->g", np.einsum("abguv,gbv->gau", square, solve_m), solve_m)
        quadratic += np.square(ahead) @ prior_precision

        failed = ~(np.isfinite(quadratic) & np.isfinite(log_determinant))
        right[failed], log_determinant[failed], quadratic[failed] = 0.0, 0.0, np.inf
        lower = _cholesky(precision)
        inverse = np.linalg.inv(lower)
        whitened = (inverse @ right[:, :, None])[:, :, 0]
        theta_root: Array = inverse.transpose(0, 2, 1)
        theta = start + (theta_root @ whitened[:, :, None])[:, :, 0]

        proper = np.isfinite(prior_sd)
        log_evidence = -0.5 * (log_determinant + quadratic - np.square(whitened).sum(axis=1))
        log_evidence -= np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        log_evidence -= float(np.log(prior_sd[proper]).sum())
        log_evidence -= 0.5 * ((q + 1) * self.total_weight - np.count_nonzero(~proper)) * _LOG_TWO_PI
        log_evidence[~np.isfinite(log_evidence)] = -np.inf
        return Conditional(log_evidence, theta, theta_root)

    @cached_property
    def _theta_prior(self) -> tuple[Array, Array]:
        """Mean and standard deviation of theta's entries."""
        width = self.z.shape[1] + 1
        n_latent = self.n_noisy * width
        latent = np.zeros(n_latent)
        latent[::width] = 0.0 if self.mu_mean is None else self.mu_mean
        intercept = [] if self.intercept is None else [self.intercept]
        mean = np.concatenate([latent, [prior[0] for prior in intercept], self.beta_mean])
        sd = np.concatenate([np.full(n_latent, MEAN_SCALE), [prior[1] for prior in intercept], self.beta_sd])
        return mean, sd

    def _omega(self, psi: Psi) -> Array:
        """Return Omega's coefficients on the groups' errors, (entries of its upper triangle, G, E)."""
        q = self.n_noisy
        m, s, T = psi
        pairs, u = _pairs(q + 1), _pairs(q)
        n_u = q * (q + 1) // 2
        omega = np.zeros((pairs[-1, -1] + 1, len(m), self._groups.errors.shape[1]))
        with_target = s if self.noise == "scaled" else np.ones_like(s)
        last = omega[pairs[q, q]]
        for a in range(q):
            for b in range(a, q):
                omega[pairs[a, b], :, u[a, b]] = 1.0
                omega[pairs[a, b], :, -1] = T[:, a, b]
            for b in range(q):
                omega[pairs[a, q], :, u[a, b]] -= m[:, b]
                last[:, u[a, b]] += m[:, a] * m[:, b]
            if self.cross_covariance is not None:
                omega[pairs[a, q], :, n_u + a] = with_target
                last[:, n_u + a] = -2.0 * with_target * m[:, a]
        last[:, -2] = np.square(with_target)
        if self.noise == "additive":
            last[:, -1] = np.square(s)
        return omega

    def _sums(self, omega: Array) -> tuple[Array, Array]:
        """Return the products of [1, z, w, y] weighted by each entry of Omega's inverse, and the log determinants.

        Returns
        -------
        sums : ndarray of shape (entries of Omega, G, products)
        log_determinant : ndarray of shape (G,)
        """
        groups = self._groups
        n_columns = groups.rows.shape[1]
        sums = np.zeros((*omega.shape[:2], n_columns * (n_columns + 1) // 2))
        log_determinant = np.zeros(omega.shape[1])
        for rows in _blocks(len(groups.counts), _ROW_BLOCK):
            errors, counts, products = groups.errors[rows].T, groups.counts[rows], groups.products(rows)
            for nodes in _blocks(omega.shape[1], max(_BLOCK_NUMBERS // (len(omega) * len(counts)), 1)):
                weights = omega[:, nodes] @ errors
                log_determinant[nodes] += np.log(_negative_inverse(weights, self.n_noisy + 1)) @ counts
                sums[:, nodes] -= weights @ products
        return sums, log_determinant

    @cached_property
    def _groups(self) -> _Groups:
        # Rows that do not count may have errors that nothing can be divided by.
        used = np.ones(len(self.y), dtype=bool) if self.frequency is None else self.frequency > 0.0
        n, q, width = int(used.sum()), self.n_noisy, self.z.shape[1] + 1
        frequency = np.ones(n) if self.frequency is None else self.frequency[used]
        errors = self._errors()
        errors = errors[used] if len(errors) == len(used) else errors[:n]
        w, y = self.w[used], self.y[used]
        ones = np.column_stack([np.ones(n), self.z[used]])
        # Where the true features explain the target to many digits, sums of squares of y would lose them.
        certain = errors[:, -2] if self.noise != "additive" and (errors[:, -2] > 0.0).all() else 1.0
        root = np.sqrt(frequency / certain)[:, None]
        # What there is no intercept for must not be taken out.
        first = int(self.intercept is None)
        w_reference, y_reference = np.zeros((q, width)), np.zeros(width + q)
        w_reference[:, first:] = np.linalg.lstsq(root * ones[:, first:], root * w)[0].T
        explained = np.column_stack([ones, w])
        y_reference[first:] = np.linalg.lstsq(root * explained[:, first:], root[:, 0] * y)[0]
        rows = np.column_stack([ones, w - ones @ w_reference.T, y - explained @ y_reference])
        rows *= np.sqrt(frequency)[:, None]
        if len(errors) == 1:
            gathered = np.zeros((1, _n_pairs(rows.shape[1])))
            gathered[0] = (rows.T @ rows)[_upper(rows.shape[1])]
            return _Groups(errors, np.array([frequency.sum()]), rows, gathered, w_reference, y_reference)
        first_rows, group = _gather(errors)
        if 2 * len(first_rows) > n:
            return _Groups(errors, frequency, rows, None, w_reference, y_reference)
        gathered = np.zeros((len(first_rows), _n_pairs(rows.shape[1])))
        for block in _blocks(n, 2**16):
            products = _products(rows[block])
            for column in range(products.shape[1]):
                gathered[:, column] += np.bincount(group[block], products[:, column], len(first_rows))
        counts = np.asarray(np.bincount(group, frequency, len(first_rows)), dtype=np.float64)
        return _Groups(errors[first_rows], counts, rows, gathered, w_reference, y_reference)

    def _errors(self) -> Array:
        """Return U's upper triangle, c where given, e^2 and 1 of every row, or of one where all have the same."""
        row, column = _upper(self.n_noisy)
        parts = [np.atleast_2d(self.feature_covariance[..., row, column])]
        if self.cross_covariance is not None:
            parts.append(np.atleast_2d(self.cross_covariance))
        default = 0.0 if self.noise == "additive" else 1.0
        error = default if self.standard_error is None else self.standard_error
        parts.append(np.square(np.atleast_1d(np.asarray(error, dtype=np.float64)))[:, None])
        n = max(len(part) for part in parts)
        parts.append(np.ones((1, 1)))
        return np.column_stack([np.broadcast_to(part, (n, part.shape[1])) for part in parts])


def _negative_inverse(matrices: Array, order: int) -> Array:
    """Turn symmetric matrices, given by the entries of their upper triangles, into minus their inverses, in place.

    Parameters
    ----------
    matrices : ndarray of shape (order * (order + 1) / 2, ...)
        Positive definite; written over.

    Returns
    -------
    ndarray of shape (...)
        Their determinants.
    """
    entry = _pairs(order)
    determinant: Array = matrices[0]
    # The sweep operator (Goodnight 1979, The American Statistician 33:149-158), one pivot after the other.
    for pivot in range(order):
        diagonal = matrices[entry[pivot, pivot]]
        determinant = diagonal.copy() if pivot == 0 else np.multiply(determinant, diagonal, out=determinant)
        inverse = np.reciprocal(diagonal)
        others = [index for index in range(order) if index != pivot]
        for i, a in enumerate(others):
            scaled = matrices[entry[a, pivot]] * inverse
            for b in others[i:]:
                matrices[entry[a, b]] -= scaled * matrices[entry[b, pivot]]
            matrices[entry[a, pivot]] = scaled
        np.negative(inverse, out=diagonal)
    return determinant


def _cholesky(matrices: Array) -> Array:
    """Return the Cholesky factors, (G, D, D); the identity in the place of one that does not exist."""
    finite = np.isfinite(matrices).all(axis=(1, 2))
    lower = np.broadcast_to(np.eye(matrices.shape[1]), matrices.shape).copy()
    try:
        lower[finite] = np.linalg.cholesky(matrices[finite])
    except np.linalg.LinAlgError:
        for index in np.flatnonzero(finite):
            with suppress(np.linalg.LinAlgError):
                lower[index] = np.linalg.cholesky(matrices[index])
    return lower


def _gather(values: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first of each kind of equal rows, and of which kind each row is."""
    _, first, kind = np.unique(values @ np.sqrt(np.arange(2.0, 2.0 + values.shape[1])), True, True)
    if np.array_equal(values[first][kind], values):
        return first, kind
    _, first, kind = np.unique(values, True, True, axis=0)
    return first, kind.ravel()


def _products(rows: Array) -> Array:
    """Return the products of each pair of entries of a row, (n, pairs)."""
    a, b = _upper(rows.shape[1])
    return rows[:, a] * rows[:, b]


def _n_pairs(order: int) -> int:
    return order * (order + 1) // 2


def _upper(order: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the upper triangle's entries, in the order in which they are kept."""
    return np.triu_indices(order)


def _pairs(order: int) -> NDArray[np.intp]:
    """Return where the upper triangle has the entry (a, b) of a symmetric matrix, (order, order)."""
    where = np.zeros((order, order), dtype=np.intp)
    where[_upper(order)] = np.arange(_n_pairs(order))
    return np.maximum(where, where.T)


def _blocks(n: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, n)) for start in range(0, n, step))
