"""Rows of unit error and coefficients' priors, Gaussian given their scales: taken apart once for every one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.linalg.lapack import dgejsv, dtrtri

from ..priors.base import CoefficientPrior, ScalePrior
from ..priors.coefficients import Normal, PoweredCorrelation

__all__ = ["ConditionalPrior", "GivenScale", "log_explained", "powered_roots", "spreads"]

Array = NDArray[np.float64]

LOG_TWO_PI = float(np.log(2.0 * np.pi))

# Rows of a triangle that are a smaller share of the largest are what rounding left of dependent ones.
_ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class GivenScale:
    """p(B, data | s) for rows whose errors are s: a Gaussian in one basis for every s, (9)."""

    offset: Array
    """(P,) B where the basis' coordinates are zero."""
    basis: Array
    """(P, P), flat coordinates first."""
    singular: Array
    """(P - n_flat,) singular values of the whitened design."""
    projected: Array
    """(P - n_flat,) the target's coordinates along them."""
    residual: float
    """Squared length of the part of the target that no coefficients reach."""
    log_flat: float
    """Log volume of the flat coordinates."""
    n_flat: int
    stretch: Array | float = 1.0
    """(P - n_flat,) times the deviations that the basis' normal coordinates have under the prior."""

    @classmethod
    def of(cls, factor: Array, prior_mean: Array, prior_sd: Array, root: Array | None = None) -> GivenScale:
        """Whiten by the prior, project out the flat columns, and take one SVD of what is left.

        Parameters
        ----------
        factor : ndarray of shape (K, P + 1)
            Rows of unit error, [design, target], perhaps with a column in front that is not free.
        prior_mean, prior_sd : ndarray of shape (P,)
            An infinite deviation: flat.
        root : ndarray of shape (P - n_flat, P - n_flat), optional
            Of the covariance of the others, in the place of their deviations.
        """
        size, flat = len(prior_sd), np.isinf(prior_sd)
        n_flat = int(np.count_nonzero(flat))
        # Flat coordinates come first.
        order = np.argsort(~flat, kind="stable")
        mean, sd = prior_mean[order[n_flat:]], prior_sd[order[n_flat:]]
        rows: Array = factor[:, -1 - size :][:, np.append(order, size)]
        design = rows[:, n_flat:-1]
        rows[:, -1] -= design @ mean
        design[:] = design * sd if root is None else design @ root
        eliminated = not rows[-1, :-1].any() and not any(rows[i + 1 :, i].any() for i in range(n_flat))
        if len(rows) > size + 1 or not eliminated:
            rows = np.asarray(qr(rows, mode="r", check_finite=False)[0], dtype=np.float64)[: size + 1]
        own, target = rows[:n_flat, :n_flat], rows[:, -1]
        inverse = _inverse(own) if n_flat else own
        # All but the last row is within the coefficients' reach.
        left, singular, right = _svd(rows[n_flat:-1, n_flat:-1])
        offset, basis = np.empty(size), np.zeros((size, size))
        offset[order] = np.append(inverse @ target[:n_flat], mean)
        basis[:n_flat, :n_flat] = inverse
        basis[:n_flat, n_flat:] = -inverse @ rows[:n_flat, n_flat:-1] @ right.T
        basis[n_flat:, n_flat:] = sd[:, None] * right.T if root is None else root @ right.T
        basis[order] = basis.copy()
        log_flat = -float(np.log(np.abs(np.diag(own))).sum())
        square = float(np.square(target[-1]))
        return cls(offset, basis, singular, left.T @ target[n_flat:-1], square, log_flat, n_flat)

    @classmethod
    def of_all(
        cls,
        factors: Sequence[Array],
        prior_mean: Array,
        prior_sd: Array,
        roots: Sequence[Array] | None = None,
    ) -> list[list[GivenScale]]:
        """Return what `of` does for many rows, under each of some roots: decompositions in one call.

        One by one where columns or rows of very different norms want the slower method.
        """
        flat = np.isinf(prior_sd)
        roots = [np.diag(prior_sd[~flat])] if roots is None else roots
        n_flat, size = int(flat.sum()), len(prior_sd)
        design = np.array([factor[:, -1 - size :] for factor in factors])
        target = design[:, :, -1] - design[:, :, :-1][:, :, ~flat] @ prior_mean[~flat]
        order = np.concatenate([np.flatnonzero(flat), np.flatnonzero(~flat)])
        stacked = np.concatenate([design[:, :, order], target[:, :, None]], axis=2)
        triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
        normal = triangle[:, n_flat:-1, n_flat:-1]
        if triangle.shape[1] <= size or not (_alike_all(normal) and len(factors) > 1):
            return [[cls.of(factor, prior_mean, prior_sd, root) for root in roots] for factor in factors]
        inverse = np.linalg.inv(triangle[:, :n_flat, :n_flat])
        lift = -inverse @ triangle[:, :n_flat, n_flat:-1]
        offset = np.tile(np.where(flat, 0.0, prior_mean), (len(factors), 1))
        offset[:, flat] = (inverse @ triangle[:, :n_flat, -1:])[:, :, 0]
        log_flat = -np.log(np.abs(np.diagonal(triangle, axis1=1, axis2=2)[:, :n_flat])).sum(axis=1)
        left, singular, right = np.linalg.svd(np.array([normal @ root for root in roots]))
        projected = np.einsum("rskj,sk->rsj", left, triangle[:, n_flat:-1, -1])
        turned = np.array(roots)[:, None] @ right.transpose(0, 1, 3, 2)
        basis = np.zeros((len(roots), len(factors), size, size))
        basis[:, :, np.flatnonzero(flat)[:, None], np.arange(n_flat)] = inverse
        basis[:, :, np.flatnonzero(~flat)[:, None], np.arange(n_flat, size)] = turned
        basis[:, :, np.flatnonzero(flat)[:, None], np.arange(n_flat, size)] = lift @ turned
        square = np.square(triangle[:, -1, -1])
        return [
            [
                cls(
                    offset[i],
                    basis[r, i],
                    singular[r, i],
                    projected[r, i],
                    float(square[i]),
                    float(log_flat[i]),
                    n_flat,
                )
                for r in range(len(roots))
            ]
            for i in range(len(factors))
        ]

    def stretched(self, factors: Array) -> GivenScale:
        """Return what it is for a prior so many times as wide along each of the basis' normal coordinates.

        The basis stays the same.
        """
        return replace(self, singular=self.singular * factors, stretch=factors)

    def nodes_given_ratio(self, ratio: Array) -> tuple[Array, Array]:
        """Return B's mean, and variances of the basis' coordinates in units of the noise's, (G, P) each, (11b)."""
        lengths = np.hypot(1.0, ratio[:, None] * self.singular)
        shrunk = np.square(ratio[:, None] / lengths * self.stretch)
        plain = self.singular / self.stretch
        location = self.offset + (shrunk * (plain * self.projected)) @ self.basis[:, self.n_flat :].T
        return location, np.concatenate([np.ones((len(ratio), self.n_flat)), shrunk], axis=1)

    def log_explained(self, scale: Array) -> Array:
        """Return the part of log p(data | s) that the coefficients have in it, at each s, (10)."""
        return log_explained(scale, self.singular, self.projected, self.n_flat) + self.log_flat

    def location(self, scale: Array) -> Array:
        """Return the mean of B at each s, (G, P)."""
        wider = self._wider(scale)
        coordinates = self.stretch * (self.singular / wider) * (self.projected / wider)
        return self.offset + coordinates @ self.basis[:, self.n_flat :].T

    def variances(self, scale: Array) -> Array:
        """Return the variance of every coordinate of the basis at each s, (G, P)."""
        s = scale[:, None]
        normal = self.stretch * s / self._wider(scale)
        return np.square(np.concatenate([np.repeat(s, self.n_flat, axis=1), normal], axis=1))

    def _wider(self, scale: Array) -> Array:
        """Return the root of Sigma**2 + s**2 at each s: no square of a number of the data can overflow."""
        return np.hypot(self.singular, scale[:, None])


def log_explained(scale: Array, singular: Array, projected: Array, n_flat: int) -> Array:
    """Return `GivenScale.log_explained` but for its `log_flat`, for scales of any shape; (..., K) the others."""
    s = scale[..., None]
    wider = np.hypot(singular, s)
    penalty = 2.0 * np.log(wider / s).sum(axis=-1) + np.square(projected / wider).sum(axis=-1)
    return np.asarray(0.5 * (n_flat * (2.0 * np.log(scale) + LOG_TWO_PI) - penalty))


def _svd(matrix: Array) -> tuple[Array, Array, Array]:
    """Return the singular value decomposition, to the digits that each column and row has.

    The usual one is right up to rounding of the largest column and row, and their smaller neighbours lose what lies
    between. Jacobi's keeps it (Demmel & Veselic 1992, SIAM J. Matrix Anal. Appl. 13:1204-1245), and takes longer.
    """
    norms, columns = np.linalg.norm(matrix, axis=1), _alike(np.linalg.norm(matrix, axis=0))
    rows = _alike(norms[norms > _ROUNDING * norms.max(initial=0.0)])
    if not (rows and columns):
        # Pivoting by rows first; columns of very different norms are what the method takes as they are.
        values, left, right, work, _, info = dgejsv(matrix.T if columns else matrix, joba=2, jobp=0)
        if not info:  # else it has not converged
            values *= work[0] / work[1]
            return (right, values, left.T) if columns else (left, values, right.T)
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    return left, singular, right


def _alike_all(matrices: Array) -> bool:
    """Return whether columns and rows of all of them are about as large as each other."""
    columns, rows = np.linalg.norm(matrices, axis=1), np.linalg.norm(matrices, axis=2)
    rows = np.where(rows > _ROUNDING * rows.max(axis=1, keepdims=True, initial=0.0), rows, 0.0)
    return all(_alike(norms) for kind in (columns, rows) for norms in kind)


def _alike(norms: Array) -> bool:
    """Return whether the columns, or rows, of these norms are about as large as each other, zeros left aside."""
    norms = norms[norms > 0.0]
    # Columns or rows whose norms differ by more are decomposed by the slower method that keeps the small ones'
    # digits.
    alike = 1e3
    return not len(norms) or bool(norms.max() <= alike * norms.min())


def _inverse(triangle: Array) -> Array:
    """Return the inverse of a small upper triangle (LAPACK's solver would wake its threads for it)."""
    return np.asarray(dtrtri(triangle)[0])


@dataclass(frozen=True, eq=False)
class ConditionalPrior:
    """B's free entries given the scale tau and a geometry: Normal, independent of the intercept, (8a).

    The coefficients are ``mean + tau root_a Normal(0, 1)``, a numbering the geometries, equally probable beforehand.
    """

    intercept: tuple[float, float] | None
    """Mean and standard deviation of the intercept, infinite where flat; None: there is none."""
    mean: Array
    """(p,) of the coefficients."""
    sigma: Array
    """(p,) deviations, infinite where flat; of powers of the correlation, one number p times."""
    scale_prior: ScalePrior | None
    """Of tau; None: it is one."""
    powers: Array | None = None
    """(geometries,) the powers of the correlation; None: coefficients are independent."""
    design: Array | None = None
    """(K, p) the rows whose principal directions the powers are about."""
    source: Array | None = None
    """The compressed rows that `design` is a part of, if any."""

    @property
    def n_geometries(self) -> int:
        return 1 if self.powers is None else len(self.powers)

    @property
    def distinct(self) -> ConditionalPrior:
        """The prior with geometries that differ: where there is one direction, all are the same."""
        if self.powers is None or len(self.mean) > 1:
            return self
        return replace(self, powers=self.powers[:1])

    @cached_property
    def roots(self) -> tuple[Array, ...]:
        """(p, p) each; of a flat prior, infinite."""
        if self.powers is None or self.design is None:
            return (np.diag(self.sigma),)
        return tuple(self.sigma[:, None] * root for root in powered_roots(self.design, self.powers))

    @classmethod
    def of(
        cls,
        coef_prior: CoefficientPrior,
        intercept_prior: CoefficientPrior | None,
        size: int,
        design: Array,
        source: Array | None = None,
    ) -> ConditionalPrior | None:
        """Return the priors in this form, or None where they are not Gaussian even given a scale.

        Parameters
        ----------
        coef_prior : CoefficientPrior
        intercept_prior : CoefficientPrior or None
        size : int
            p.
        design : ndarray of shape (K, p)
            Rows whose products are those of the centred features in the model's units, of any common weight.
        source : ndarray, optional
            The compressed rows that they are a part of.
        """
        intercept = None
        if intercept_prior is not None:
            found = intercept_prior.gaussian("intercept_prior", 1)
            if found is None:
                return None
            intercept = float(found[0][0]), float(found[1][0])
        learned = coef_prior.scale_prior
        if isinstance(coef_prior, PoweredCorrelation):
            parameters = coef_prior.check("coef_prior", size)
            return cls(
                intercept, np.zeros(size), parameters["sigma"], learned, parameters["power"], design, source
            )
        gaussian = coef_prior.gaussian("coef_prior", size)
        if gaussian is None and isinstance(coef_prior, Normal):
            gaussian = coef_prior.gaussian_like("coef_prior", size)
        if gaussian is not None:
            return cls(intercept, *gaussian, learned)
        return None


def powered_roots(design: Array, powers: Sequence[float] | Array) -> list[Array]:
    """Return V diag(d^-a) for each power a, V the rows' principal directions and d the `spreads` along them, (8b)."""
    size = design.shape[1]
    directions, singular = np.eye(size), np.zeros(size)
    if design.any():
        _, found, directions = np.linalg.svd(design, full_matrices=True)
        singular[: len(found)] = found
    spread = spreads(singular)
    return [directions.T * spread**-power for power in np.atleast_1d(powers)]


def spreads(singular: Array) -> Array:
    """Return singular values in units of their root mean square; one where there is no spread to speak of."""
    spread = np.ones(len(singular))
    # Directions along which features vary by no more than this share of what they do along the first are rounding:
    # they do not vary.
    no_spread = 1e-8
    varies = singular > no_spread * singular.max(initial=0.0)
    if varies.any():
        spread[varies] = singular[varies] / np.sqrt(np.square(singular[varies]).mean())
    return spread
