"""Linear regression on features measured with error whose true values are a mixture of normal distributions.

As `structural`, but row i belongs to component c with probability pi_c, and its true features are ::

    x = mu_c + Gamma z + Normal(0, T_c)

Given the component, (w, y - m'w) is Gaussian as there; but no parameter can be integrated out in closed form any
more: a row's density is a sum over components. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from ..importance.mixture_slopes import ScaledSlopes
from .model import MEAN_SCALE, Psi, StructuralProblem
from .rows import eliminated, pairs
from .true_covariance import pooled_covariance

Array = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))

# Priors of the components, in units of the noisy features' spread: deviations of their means from the mean of them
# all, and the Dirichlet distribution of their shares, which keeps a component from being empty.
COMPONENT_SCALE = 2.0

SHARE_CONCENTRATION = 2.0


_ROW_BLOCK = 4096


class MixturePoints(NamedTuple):
    """Points taken apart; the features and the target are about their means."""

    m: Array
    """(G, q) coefficients of the true features."""
    noise_scale: Array
    """(G,) s; 1 where the noise is known."""
    line: Array
    """(G, k + 1) intercept, at the mean of all features, and coefficients of the exact ones."""
    slopes: Array
    """(G, q, k) Gamma"""
    means: Array
    """(G, K, q) mu, at the mean of the exact features."""
    covariances: Array
    """(G, K, q, q) T"""
    log_shares: Array
    """(G, K) log pi"""
    scatter: Array
    """(G,) noise "auto": what is added to s times the known errors; else 0."""
    tau: Array
    """(G,) the scale of the coefficients' prior; 1 where it is not learned."""
    log_volume: Array
    """(G,) log of what the coefficients take for one of the points' columns."""


def sizes_of(q: int, k: int, n_components: int, *, intercept: bool, noise: bool) -> dict[str, int]:
    """Return how many columns each part of a point has, in their order."""
    return {
        "m": q,
        "s": int(noise),
        "line": int(intercept) + k,
        "slopes": q * k,
        "means": n_components * q,
        "t": n_components * q,
        "zeta": n_components * (q * (q - 1) // 2),
        "shares": n_components - 1,
    }


def contrasts_of(n_components: int) -> Array:
    """Return orthonormal columns that sum to zero, (K, K - 1)."""
    root = np.linalg.qr(np.column_stack([np.ones(n_components), np.eye(n_components)[:, 1:]]))[0]
    return np.asarray(root[:, 1:], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class MixtureProblem:
    """The structural model with a mixture of `n_components` normal distributions. Immutable.

    Points are arrays of shape (G, d) whose columns are m (q), s (1, none where the noise is known), the line's
    intercept (none without one) and coefficients (k), Gamma (q k), mu (K q), t (K q) and zeta (K q (q - 1) / 2), of
    which `StructuralProblem` makes T, K - 1 orthonormal contrasts of the log shares, and the log of scatter over the
    rest (noise "auto" alone) and log tau (where it is learned). s and t are signed. Where tau is learned the columns
    of coefficients are in units of what is known of them (`mixture_slopes`).
    """

    data: StructuralProblem
    n_components: int

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many columns each part has, in their order."""
        data = self.data
        intercept, noise = data.intercept is not None, data.noise.has_scale
        sizes = sizes_of(data.n_noisy, data.z.shape[1], self.n_components, intercept=intercept, noise=noise)
        return sizes | {"scatter": int(data.noise.combined), "tau": int(self.scaled is not None)}

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Where a point has each part."""
        ends = np.cumsum(list(self.sizes.values()))
        return {
            name: slice(int(end) - size, int(end))
            for (name, size), end in zip(self.sizes.items(), ends, strict=True)
        }

    @cached_property
    def scaled(self) -> ScaledSlopes | None:
        """What the columns of coefficients are in units of; None: they are the coefficients."""
        return ScaledSlopes.of(self.data)

    @property
    def size(self) -> int:
        """d, the number of columns of points."""
        return sum(self.sizes.values())

    @cached_property
    def signed(self) -> NDArray[np.bool_]:
        """(d,) which columns are s and t."""
        found = np.zeros(self.size, dtype=bool)
        found[_range(self.columns["s"], self.columns["t"])] = True
        return found

    @cached_property
    def contrasts(self) -> Array:
        """(K, K - 1) orthonormal columns that sum to zero."""
        return contrasts_of(self.n_components)

    @cached_property
    def used(self) -> NDArray[np.bool_]:
        """Which rows count."""
        frequency = self.data.frequency
        return np.ones(len(self.data.y), dtype=bool) if frequency is None else frequency > 0.0

    @cached_property
    def center(self) -> tuple[Array, Array, float]:
        """What is subtracted from z, w and y: their means."""
        data, weight = self.data, self.frequency
        z, w, y = (weight @ values[self.used] / weight.sum() for values in (data.z, data.w, data.y))
        return z, w, float(y)

    @property
    def mu_mean(self) -> Array:
        """(q,) the prior mean of the components' mean, less that of the measured features."""
        given = self.data.mu_mean
        return np.zeros(self.data.n_noisy) if given is None else given - self.center[1]

    @cached_property
    def frequency(self) -> Array:
        """(n,) how often each row that is used counts."""
        if self.data.frequency is None:
            return np.ones(len(self.data.y))
        return self.data.frequency[self.used]

    @cached_property
    def rows(self) -> Array:
        """(n, k + q + 2) [1, z, w, y] about their means."""
        (z, w, y), data, used = self.center, self.data, self.used
        ones = np.ones((int(used.sum()), 1))
        return np.concatenate([ones, data.z[used] - z, data.w[used] - w, data.y[used, None] - y], axis=1)

    @cached_property
    def errors(self) -> Array:
        """(n or 1, E) what `StructuralProblem` knows of each row's errors."""
        errors = self.data.errors()
        return errors[self.used] if len(errors) > 1 else errors

    def taken_apart(self, points: Array) -> MixturePoints:
        """Return what points stand for."""
        part = {name: points[:, columns] for name, columns in self.columns.items()}
        size, q, count = len(points), self.data.n_noisy, self.n_components
        psi = [self.data.psi(self.of_component(points, c)) for c in range(count)]
        logits = part["shares"] @ self.contrasts.T
        slopes, first = part["slopes"].reshape(size, q, -1), int(self.data.intercept is not None)
        m, beta, tau, log_volume = part["m"], part["line"][:, first:], np.ones(size), np.zeros(size)
        if self.scaled is not None:
            m, beta, tau, log_volume = self.scaled.apart(m, beta, slopes, part["tau"][:, 0])
        at_means = part["line"][:, :first]
        if self.data.intercept is None:
            z, w, y = self.center
            at_means = (beta @ z + m @ w - y)[:, None]
        return MixturePoints(
            m,
            psi[0].noise_scale,
            np.concatenate([at_means, beta], axis=1),
            slopes,
            part["means"].reshape(size, count, q),
            np.stack([one.T for one in psi], axis=1),
            logits - logsumexp(logits, axis=1, keepdims=True),
            psi[0].scatter,
            tau,
            log_volume,
        )

    def of_component(self, points: Array, component: int) -> Array:
        """Return the points of `StructuralProblem` that have this component's T."""
        of_t, of_zeta = (self._of(name, component) for name in ("t", "zeta"))
        names = ("m", "s")
        front = [points[:, self.columns[name]] for name in names]
        logs = np.zeros((len(points), self.data.n_logs))
        logs[:, : self.sizes["scatter"]] = points[:, self.columns["scatter"]]
        return np.concatenate([*front, points[:, of_t], points[:, of_zeta], logs], axis=1)

    def _of(self, name: str, component: int) -> slice:
        """Return the columns of one component's part."""
        size = self.sizes[name] // self.n_components
        start = self.columns[name].start + component * size
        return slice(start, start + size)

    def log_density(self, points: Array) -> Array:
        """Return the log of the density of points and data together."""
        total = self.log_prior(points)
        for block, rows in self._blocks(len(points)):
            total[block] += self.row_log_density(points[block], rows) @ self.frequency[rows]
        total[~np.isfinite(total)] = -np.inf
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
        for start in range(0, len(self.rows), _ROW_BLOCK):
            rows = slice(start, start + _ROW_BLOCK)
            up, down = np.split(self.row_log_density(around, rows), 2)
            of_rows = (up - down) / (2.0 * steps[:, None])
            gradient += of_rows @ self.frequency[rows]
            products += (of_rows * self.frequency[rows]) @ of_rows.T
        return gradient, products

    def row_log_density(self, points: Array, rows: slice = slice(None)) -> Array:
        """Return each row's log density of (w, y) given z, (G, rows)."""
        parts = self.taken_apart(points)
        # Far away from the mode anything may happen; such points have no density.
        with np.errstate(all="ignore"):
            return self._of_rows(parts, self._residuals(parts, rows), rows)

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
        return [*of_w, of_y @ table.T]

    def _of_rows(self, parts: MixturePoints, residuals: list[Array], rows: slice) -> Array:
        errors = self.errors[rows] if len(self.errors) > 1 else self.errors
        q, place = self.data.n_noisy, pairs(self.data.n_noisy + 1)
        total: Array | None = None
        psi = Psi(parts.m, parts.noise_scale, parts.covariances[:, 0], parts.scatter, np.ones(len(parts.m)))
        for c in range(self.n_components):
            omega = self.data.omega(psi._replace(T=parts.covariances[:, c])) @ errors.T
            left = [residuals[j] - parts.means[:, c, j, None] for j in range(q)]
            entries = {(a, b): omega[place[a, b]] for a in range(q + 1) for b in range(a + 1)}
            square, determinant, _ = eliminated([*left, residuals[q]], entries)
            found = parts.log_shares[:, c, None] - 0.5 * (square + np.log(determinant))
            total = found if total is None else np.logaddexp(total, found)
        if total is None:
            raise AssertionError
        return total - 0.5 * (q + 1) * _LOG_TWO_PI

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
            total = total + _normal(intercept - mean, np.asarray(sd))
        total = total + _normal(part["slopes"], np.asarray(MEAN_SCALE)).sum(axis=1)
        means = part["means"].reshape(-1, count, q)
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

    def images(self, flip: NDArray[np.bool_], permuted: bool) -> Array:
        """Return the linear maps that take a point to its images of the same density, (I, d, d).

        Parameters
        ----------
        flip : ndarray of shape (d,)
            Which of s and t may change their signs.
        permuted : bool
            Whether components may change places.
        """
        count, columns, eye = self.n_components, self.columns, np.eye(self.size)
        choices = [[1.0, -1.0] if flip[column] else [1.0] for column in _range(columns["s"], columns["t"])]
        flips = np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, len(choices))
        signs = self._signs(flips)
        maps = []
        for order in permutations(range(count)) if permuted else [tuple(range(count))]:
            matrix = eye.copy()
            exchange = np.eye(count)[list(order)]
            for name in ("means", "t", "zeta"):
                each = self.sizes[name] // count
                matrix[columns[name], columns[name]] = np.kron(exchange, np.eye(each))
            matrix[columns["shares"], columns["shares"]] = self.contrasts.T @ exchange @ self.contrasts
            maps.append(matrix)
        return (np.array(maps)[:, None] * signs[:, None, :]).reshape(-1, self.size, self.size)

    def positive(self, points: Array) -> Array:
        """Return those images of points whose s and t are not negative."""
        return points * self._signs(np.where(points[:, self.signed] < 0.0, -1.0, 1.0))

    def _signs(self, of_signed: Array) -> Array:
        """Return the signs that all columns change with those of s and t, (I, d)."""
        q, count, columns = self.data.n_noisy, self.n_components, self.columns
        signs = np.ones((len(of_signed), self.size))
        signs[:, self.signed] = of_signed
        of_t = signs[:, columns["t"]].reshape(len(signs), count, q)
        row, column = np.tril_indices(q, -1)
        signs[:, columns["zeta"]] = (of_t[:, :, row] * of_t[:, :, column]).reshape(len(signs), -1)
        return signs

    def _blocks(self, n_points: int) -> Iterator[tuple[slice, slice]]:
        n = len(self.rows)
        step = min(n, _ROW_BLOCK)
        # Numbers in the arrays of one block of rows and points.
        block_numbers = 2**16
        for first in range(0, n, step):
            for start in range(0, n_points, max(block_numbers // step, 1)):
                yield slice(start, start + max(block_numbers // step, 1)), slice(first, first + step)


def _normal(away: Array, sd: Array) -> Array:
    """Return the log density of Normal(0, sd); zero where it is flat."""
    proper = np.isfinite(sd)
    unit = np.where(proper, sd, 1.0)
    return np.where(proper, -0.5 * np.square(away / unit) - np.log(unit) - 0.5 * _LOG_TWO_PI, 0.0)


def _range(*slices: slice) -> list[int]:
    return [index for part in slices for index in range(part.start, part.stop)]
