"""What noisy new rows say of the target where true features are a mixture of normal distributions, or readings wild.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...measurements.limits import ReadingLimits
from .readings import OF_NEW_ROW, readings_between
from .rows import negative_inverse, pairs, upper
from .true_covariance import pooled_covariance
from .true_features import NOT_MEASURED, Components, Line, TrueFeatures, expected_features
from .wild import Configurations

Array = NDArray[np.float64]


class _Parts(NamedTuple):
    """Of what was measured, K components times the configurations of wild readings, if there may be any."""

    means: Array
    """(G, K, q)"""
    covariances: Array
    """(G, K, q, q) T"""
    log_shares: Array
    """(G, K)"""
    multiples: Array
    """(G, K, q) of the stated errors."""


@dataclass(frozen=True, eq=False)
class TrueMixture:
    """x | z, c ~ Normal(mu_c + Gamma z, T_c), c ~ pi, y ~ Normal(alpha + beta'z + m'x, noise) at every node, (23).

    In the model's units, with what leads there from the data's; the nodes are points.
    """

    noisy: NDArray[np.intp]
    """(q,) positions of the features with error among all p."""
    n_features: int
    coef: Array
    """(G, q) m, the coefficients of the features with error."""
    line_at_zero: Array
    """(G, k + 1) alpha and beta."""
    means: Array
    """(G, K, q) mu"""
    slopes: Array
    """(G, q, k) Gamma"""
    covariances: Array
    """(G, K, q, q) T"""
    log_shares: Array
    """(G, K) log pi"""
    x_mean: Array
    """(p,) The model's features are (x - x_mean) / x_scale, ..."""
    x_scale: Array
    y_mean: float
    """... and its target (y - y_mean) / y_scale."""
    y_scale: float
    error_factor: ClassVar[None] = None
    """Errors are known."""
    sharing: Array | None = None
    """(G,) what covariances of new rows' errors with the target's are multiplied by; None: the line alone is asked
    for, of which they say nothing."""
    outliers: Mapping[str, Array] = field(default_factory=dict)
    """(G,) share and factor of wild readings, by name; empty: none is wild."""

    @classmethod
    def of_one(cls, true: TrueFeatures, rng: np.random.Generator) -> TrueMixture:
        """Return a mixture of one component, the nodes points that are drawn from their own uncertainty."""
        if true.error_factor is not None:
            raise ValueError(
                "X_censored is given, and errors of features are known up to a factor (noise='common', x_error_dof):"
                " predict such rows one way or the other."
            )
        q, lines = len(true.noisy), true.drawn(np.arange(len(true.coef)), rng).lines
        return cls(
            noisy=true.noisy,
            n_features=true.n_features,
            coef=true.coef,
            line_at_zero=lines[:, q],
            means=lines[:, None, :q, 0],
            slopes=lines[:, :q, 1:],
            covariances=true.variance[:, None],
            log_shares=np.zeros((len(lines), 1)),
            x_mean=true.x_mean,
            x_scale=true.x_scale,
            y_mean=true.y_mean,
            y_scale=true.y_scale,
            sharing=true.sharing,
        )

    @property
    def exact(self) -> NDArray[np.intp]:
        """(k,) positions of the features without error."""
        return np.setdiff1d(np.arange(self.n_features), self.noisy)

    @property
    def variance(self) -> Array:
        """(G, q, q) the true ones' covariance given the exact features, between components and within them."""
        return pooled_covariance(np.exp(self.log_shares), self.means, self.covariances)

    def expected(self, X: Array, weights: Array) -> Array:
        """Return what is expected of features with errors at rows' exact ones, as `TrueFeatures` does."""
        means = np.einsum("g,gc,gcq->q", weights, np.exp(self.log_shares), self.means)
        slopes = np.einsum("g,gqk->qk", weights, self.slopes)
        return expected_features(np.column_stack([means, slopes]), X, self)

    def drawn(self, nodes: NDArray[np.intp], rng: np.random.Generator) -> TrueMixture:
        """Return the nodes named."""
        return replace(
            self,
            coef=self.coef[nodes],
            line_at_zero=self.line_at_zero[nodes],
            means=self.means[nodes],
            slopes=self.slopes[nodes],
            covariances=self.covariances[nodes],
            log_shares=self.log_shares[nodes],
            sharing=None if self.sharing is None else self.sharing[nodes],
            outliers={name: values[nodes] for name, values in self.outliers.items()},
        )

    def coefficients(self, error: Array | None = None) -> tuple[Array, Array, Array]:
        """Return the line in features that are true, in the model's units, as `TrueFeatures` does.

        In measured features it is no line.
        """
        if error is not None and error.any():
            raise ValueError("Under a mixture the expectation given measured features is no line.")
        nodes = len(self.coef)
        location = np.zeros((nodes, self.n_features + 1))
        location[:, np.append(0, 1 + self.exact)] = self.line_at_zero
        location[:, 1 + self.noisy] = self.coef
        return location, np.zeros((nodes, self.n_features + 1, 0)), np.zeros(nodes)

    def line(self, X: Array, error: Array, limits: ReadingLimits | None = None) -> Line:
        """Return the line at rows with errors of their own, on the data's scale, (24).

        Parameters
        ----------
        X : ndarray of shape (rows, p)
            Measured features.
        error : ndarray of shape (rows, q, q) or (rows, q, q + 1)
            Covariances of their errors, those with the target's error in a last column.
        limits : ReadingLimits, optional
            Of readings of which only a side was seen: components then are those of all that they may be, (68).
        """
        if limits is None or not limits.cells.any():
            log_weights, *moments = self._given(X, error)
        else:
            log_weights, *moments = self._given_sides(X, error, limits)
        rows, nodes, count = log_weights.shape
        log_weights -= log_weights.max(axis=2, keepdims=True)
        weights = np.exp(log_weights)
        weights /= weights.sum(axis=2, keepdims=True)
        mean, variance = (values.reshape(rows, nodes * count) for values in moments)
        components = Components(
            weights.reshape(rows, -1), self.y_mean + self.y_scale * mean, self.y_scale**2 * variance
        )
        return Line.of_components(components, count)

    def _given_sides(self, X: Array, error: Array, limits: ReadingLimits) -> tuple[Array, Array, Array]:
        """Return what `_given` does where readings are integrated over: more components of some rows."""
        q, nodes = len(self.noisy), len(self.coef)
        even = np.full(nodes, 1.0 / nodes)
        unit = self.x_scale[self.noisy]
        sd = np.sqrt(
            np.square(unit) * np.diagonal(self.variance, axis1=1, axis2=2).mean(axis=0)
            + np.where(np.isinf(error[:, :, :q]), 0.0, error[:, :, :q]).diagonal(axis1=1, axis2=2)
        )
        index, place, readings, more = readings_between(limits, self.expected(X, even), sd, OF_NEW_ROW)
        every = X[index]
        every[:, self.noisy] = np.where(place, readings, every[:, self.noisy])
        found = self._given(every, error[index])
        found[0][:] += more[:, None, None]
        # Rows that have fewer have others that weigh nothing.
        starts = np.flatnonzero(np.diff(index, prepend=-1))
        within = np.arange(len(index)) - starts[index]
        shape = (len(X), within.max() + 1, *found[0].shape[1:])
        answer = []
        for values, nothing in zip(found, (-np.inf, 0.0, 0.0), strict=True):
            all_of_row = np.full(shape, nothing)
            all_of_row[index, within] = values
            answer.append(all_of_row.transpose(0, 2, 1, 3).reshape(len(X), nodes, -1))
        return answer[0], answer[1], answer[2]

    def _given(self, X: Array, error: Array) -> tuple[Array, Array, Array]:
        """Return each component's log weight, and mean and variance of its line in the model's units.

        All are (rows, G, components); the weights are of what was measured, on one scale for all rows.
        """
        measured = (X - self.x_mean) / self.x_scale
        w, z = measured[:, self.noisy], measured[:, self.exact]
        parts = self._parts
        nodes, count, q = parts.means.shape
        unit = self.x_scale[self.noisy]
        # Variances given the readings are the same, features by features, as under one normal distribution.
        row, column = upper(q)
        T = parts.covariances[:, :, row, column].reshape(nodes * count, -1).T[:, None]
        U = (error[:, :, :q] / (unit[:, None] * unit))[:, row, column].T[:, :, None]
        of_u = parts.multiples.reshape(nodes * count, q).T
        lacking = np.repeat(self.variance[:, row, column], count, axis=0).T[:, None] * NOT_MEASURED
        U = np.where(np.isinf(U), lacking, U * (of_u[row] * of_u[column])[:, None])
        inverse = T + U  # (entries, rows, G K)
        # Where nothing is uncertain, nothing is left.
        place = pairs(q)
        trace = sum(inverse[place[j, j]] for j in range(q))
        for j in range(q):
            inverse[place[j, j]] += np.finfo(np.float64).eps * trace + np.where(trace > 0.0, 0.0, 1.0)
        log_determinant = np.log(negative_inverse(inverse))
        away = []
        for j in range(q):
            own = z @ self.slopes[:, j].T  # (rows, G)
            expected = parts.means[None, :, :, j] + own[:, :, None]
            away.append(w[:, j, None] - expected.reshape(len(X), -1))
        whitened = [-sum(inverse[place[i, j]] * away[j] for j in range(q)) for i in range(q)]
        square = sum(away[j] * whitened[j] for j in range(q))
        log_weights = (parts.log_shares.ravel() - 0.5 * (square + log_determinant)).reshape(
            len(X), nodes, count
        )
        # m' x with x expected to be w - U (T + U)^-1 away, and its variance m' U (T + U)^-1 T m.
        coef = np.repeat(self.coef, count, axis=0).T  # (q, G K)
        pushed = [sum(U[place[i, j]] * coef[j] for j in range(q)) for i in range(q)]  # U m
        shared = None
        if self.sharing is not None and error.shape[2] > q:
            shared = np.multiply.outer(
                (error[:, :, q] / (unit * self.y_scale)).T, np.repeat(self.sharing, count)
            )
            shared = shared * of_u[:, None]
            pushed = [pushed[i] - shared[i] for i in range(q)]
        left = [-sum(inverse[place[i, j]] * pushed[j] for j in range(q)) for i in range(q)]
        through = [sum(T[place[i, j]] * coef[j] for j in range(q)) for i in range(q)]  # T m
        mean = np.repeat(self.line_at_zero @ np.column_stack([np.ones(len(X)), z]).T, count, axis=0).T
        mean = mean + w @ coef - sum(left[j] * away[j] for j in range(q))
        variance = sum(through[j] * left[j] for j in range(q))
        if shared is None:
            variance = np.maximum(variance, 0.0)
        else:
            variance = variance - sum(shared[j] * (coef[j] - left[j]) for j in range(q))
        shape = (len(X), nodes, count)
        variance = np.broadcast_to(variance, mean.shape)
        return log_weights, mean.reshape(shape), variance.reshape(shape)

    def covariance_within(self, X: Array, error: Array, weights: Array) -> Array:
        """Return the covariance of the line at all rows that the nodes' own leave, (rows, rows): there is none."""
        return np.zeros((len(X), len(X)))

    def reliability(self, error: Array, exact_covariance: Array) -> Array:
        """Return the share of each measured feature's variance that is the true one's, wild readings aside."""
        own = self.slopes / self.x_scale[self.exact]
        explained = np.einsum("gqj,jk,gqk->gq", own, exact_covariance, own)
        true = np.diagonal(self.variance, axis1=1, axis2=2) + explained
        return np.asarray(true / (true + error / np.square(self.x_scale[self.noisy])))

    @property
    def _parts(self) -> _Parts:
        """All that what was measured is a mixture of."""
        means, covariances, log_shares = self.means, self.covariances, self.log_shares
        if not self.outliers:
            return _Parts(means, covariances, log_shares, np.ones_like(means))
        nodes, count, q = means.shape
        wild = Configurations.at(self.outliers, q)
        each = wild.log_shares.shape[1]
        log_shares = log_shares[:, :, None] + wild.log_shares[:, None]
        return _Parts(
            np.repeat(means, each, axis=1),
            np.repeat(covariances, each, axis=1),
            log_shares.reshape(nodes, -1),
            np.tile(wild.multiples, (1, count, 1)),
        )

    def numbers(self) -> int:
        """Return how many numbers `line` has in hand for each row."""
        nodes, count, q = self._parts.means.shape
        return nodes * count * (q * (q + 1) // 2 + 4 * q + 8)
