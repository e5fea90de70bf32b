"""Coordinates of the regression on features measured with error of which no parameter integrates out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ...likelihoods.parameters import Auxiliary
from ..importance.mixture_slopes import Measured, ScaledSlopes
from .model import StructuralProblem
from .rows import pairs
from .target import Target
from .true_covariance import pooled_covariance
from .wild import Configurations, not_plainly_wild

Array = NDArray[np.float64]


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
    auxiliary: Array
    """(G, A) coordinates of the likelihood's parameters beside the noise's, and of those of wild readings."""
    wild: Configurations | None = None
    """None: no reading is wild."""

    @property
    def n_parts(self) -> int:
        """How many normal distributions what was measured is a mixture of: components times configurations."""
        return self.log_shares.shape[1] * (1 if self.wild is None else self.wild.log_shares.shape[1])


class Expansion(NamedTuple):
    """Rows some of which together are one of the data: an integral over a reading that was not measured, (67)."""

    starts: NDArray[np.intp]
    """(groups,) the first row of each group."""
    log_weights: Array
    """(n,) of the rows in their group."""
    frequency: Array
    """(groups,) how often each group counts."""
    readings: Array
    """(n, q) of the features with errors, in the data's units."""

    def groups(self, rows: slice) -> slice:
        """Return the groups that rows are of, which are whole ones."""
        first, last = np.searchsorted(self.starts, rows.indices(len(self.log_weights))[:2])
        return slice(int(first), int(last))

    def together(self, of_rows: Array, rows: slice) -> Array:
        """Return the log of the sum of densities over each group, from (G, rows) to (G, groups)."""
        starts = self.starts[self.groups(rows)]
        return np.asarray(np.logaddexp.reduceat(of_rows + self.log_weights[rows], starts - starts[0], axis=1))


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
class MixtureCoordinates:
    """The structural model of `n_components` normal distributions, and of any likelihood. Immutable.

    Points are arrays of shape (G, d) whose columns are m (q), s (1, none where the noise is known), the line's
    intercept (none without one) and coefficients (k), Gamma (q k), mu (K q), t (K q) and zeta (K q (q - 1) / 2), of
    which `StructuralProblem` makes T, K - 1 orthonormal contrasts of the log shares, the log of scatter over the
    rest (noise "auto" alone), log tau (where it is learned), the likelihood's further parameters and those of wild
    readings. s, t and some of
    the last are signed. Where tau is learned, or `regressed`, columns of coefficients are in units of what is known
    of them, and where `follows_mean` that of mu (`mixture_slopes`).
    """

    data: StructuralProblem
    """Under another likelihood than the normal one, with the line in the place of the target if that is counted."""
    n_components: int
    target: Target | None = None
    """None: it is normal, as `data` has it."""
    pilot: StructuralProblem | None = None
    """A problem with a normal target, whose moments say where to search; None: `data`."""
    regressed: bool = False
    """Whether the columns of m are in units of what is known of the regression on the features as they were measured,
    and those of the line the rest of that regression, (38a): data tell it, whatever the reliability."""
    selection: Target | None = None
    """Where rows were selected by their target: how probable that is, given a row's line."""
    outliers: tuple[Auxiliary, ...] = ()
    """Share and factor of wild readings, where there may be any."""
    expansion: Expansion | None = None
    """Which rows together are one of the data; None: each is one."""
    about: MixtureCoordinates | None = None
    """A problem of the same parameters whose points these are, by its units and means; None: this one."""
    shift: Array | None = None
    """(n,) a part of the rows' lines that is known; None: there is none."""

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many columns each part has, in their order."""
        data = self.data
        intercept, noise = data.intercept is not None, data.noise.has_scale
        sizes = sizes_of(data.n_noisy, data.z.shape[1], self.n_components, intercept=intercept, noise=noise)
        sizes |= {"scatter": int(data.noise.combined), "tau": int(self.scaled is not None)}
        return sizes | {"auxiliary": len(self.further)}

    @cached_property
    def further(self) -> tuple[Auxiliary, ...]:
        """The parameters behind the last columns: the likelihood's beside the noise, and those of wild readings."""
        return (*(() if self.target is None else self.target.auxiliary), *self.outliers)

    def outliers_at(self, auxiliary: Array) -> dict[str, Array]:
        """Return the parameters of wild readings by name, (G,) each, of (G, A) coordinates."""
        columns = auxiliary[:, auxiliary.shape[1] - len(self.outliers) :].T
        return {one.name: one.coordinate.value(of) for one, of in zip(self.outliers, columns, strict=True)}

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
        return ScaledSlopes.of(self.guide) if self.about is None else self.about.scaled

    @cached_property
    def guide(self) -> StructuralProblem:
        """The problem whose moments say where to search."""
        found = self.data if self.pilot is None else self.pilot
        found = found if self.shift is None else replace(found, y=found.y - self.shift)
        if not self.outliers:
            return found
        likely = found.w if found.likely is None else found.likely
        return replace(found, frequency=not_plainly_wild(likely, found.frequency))

    @property
    def size(self) -> int:
        """d, the number of columns of points."""
        return sum(self.sizes.values())

    @cached_property
    def signed(self) -> NDArray[np.bool_]:
        """(d,) which columns are s, t and further parameters of which c and -c are the same."""
        found = np.zeros(self.size, dtype=bool)
        found[self.columns["s"]] = found[self.columns["t"]] = True
        found[self.columns["auxiliary"]] = [one.coordinate.folded for one in self.further]
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
        if self.about is not None:
            return self.about.center
        data, weight = self.data, self.weight
        of_w = data.w if data.likely is None else data.likely
        z, w, y = (weight @ values[self.used] / weight.sum() for values in (data.z, of_w, data.y))
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

    @property
    def weight(self) -> Array:
        """(n,) how often each row counts in a search for where to start."""
        frequency = self.guide.frequency
        return self.frequency if frequency is None else frequency[self.used]

    @cached_property
    def rows(self) -> Array:
        """(n, k + q + 2) [1, z, w, y] about their means."""
        (z, w, y), data, used = self.center, self.data, self.used
        ones = np.ones((int(used.sum()), 1))
        return np.concatenate([ones, data.z[used] - z, data.w[used] - w, data.y[used, None] - y], axis=1)

    @cached_property
    def likely_rows(self) -> tuple[Array, Array]:
        """`rows`, and U, (n or 1, q, q), likely values in the place of what hardly tells, as if measured exactly."""
        q, rows, data = self.data.n_noisy, self.rows, self.data
        U = self.errors[:, pairs(q)]
        if data.likely is None:
            return rows, U
        rows = rows.copy()
        rows[:, -1 - q : -1] = data.likely[self.used] - self.center[1]
        told = rows[:, -1 - q : -1] == self.rows[:, -1 - q : -1]
        return rows, np.where(told[:, :, None] & told[:, None, :], U, 0.0)

    @cached_property
    def errors(self) -> Array:
        """(n or 1, E) what `StructuralProblem` knows of each row's errors."""
        errors = self.data.errors()
        return errors[self.used] if len(errors) > 1 else errors

    @cached_property
    def gaps(self) -> Array | None:
        """(n, q + 1) 1 where w or y was not measured, else 0; None: all were."""
        return None if self.data.masks is None else self.errors[:, self.data.masks]

    def taken_apart(self, points: Array) -> MixturePoints:
        """Return what points stand for."""
        part = {name: points[:, columns] for name, columns in self.columns.items()}
        size, q, count = len(points), self.data.n_noisy, self.n_components
        psi = [self.data.psi(self.of_component(points, c)) for c in range(count)]
        logits = part["shares"] @ self.contrasts.T
        slopes, first = part["slopes"].reshape(size, q, -1), int(self.data.intercept is not None)
        log_shares = logits - logsumexp(logits, axis=1, keepdims=True)
        means, covariances = part["means"].reshape(size, count, q), np.stack([one.T for one in psi], axis=1)
        m, beta, tau, log_volume = part["m"], part["line"][:, first:], np.ones(size), np.zeros(size)
        more, at_means = np.zeros_like(m), part["line"][:, :first]
        shares = np.exp(log_shares)
        if self.follows:
            T = pooled_covariance(shares, means, covariances)
            # Far away a correlation is one in all digits.
            T = T + (1e-14 * np.diagonal(T, axis1=1, axis2=2)[:, :, None] + 1e-300) * np.eye(q)
            m, more, log_volume = self.measured.true(m, T, q)
        if self.scaled is not None:
            m, beta, tau, of_scaled = self.scaled.apart(m, beta, slopes, part["tau"][:, 0])
            log_volume = log_volume + of_scaled
        else:
            beta = beta - np.einsum("gq,gqk->gk", more, slopes)
        z, w, y = self.center
        from_means = beta @ z + m @ w - y
        if self.follows_mean:
            own = (at_means[:, 0] if first else None), means[:, 0]
            found, mean, of_middle = self.measured.middle(own, T, more, from_means, q)
            at_means, means, log_volume = found[:, None], mean[:, None], log_volume + of_middle
        at_means = at_means - np.einsum("gq,gc,gcq->g", more, shares, means)[:, None]
        if not first:
            at_means = from_means[:, None]
        return MixturePoints(
            m,
            psi[0].noise_scale,
            np.concatenate([at_means, beta], axis=1),
            slopes,
            means,
            covariances,
            log_shares,
            psi[0].scatter,
            tau,
            log_volume,
            part["auxiliary"],
            Configurations.at(self.outliers_at(part["auxiliary"]), q) if self.outliers else None,
        )

    @property
    def follows(self) -> bool:
        """Whether columns of m and the line are `regressed` ones: not where m stands in units of what is known."""
        return self.regressed and (self.scaled is None or self.scaled.m is None)

    @property
    def follows_mean(self) -> bool:
        """Whether columns of mu and the line at the means are in units of what is known of them."""
        return self.follows and self.n_components == 1

    @cached_property
    def measured(self) -> Measured:
        """What is known of the regression on the features as they were measured."""
        if self.about is not None:
            return self.about.measured
        return Measured.of(self.guide, self.mean_error, self.center[2])

    @cached_property
    def mean_error(self) -> Array:
        """(q, q) mean of U."""
        return self.data.moments[1][pairs(self.data.n_noisy)]

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
        choices = [[1.0, -1.0] if flip[column] else [1.0] for column in np.flatnonzero(self.signed)]
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
        """Return those images of points whose signed columns are not negative."""
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
