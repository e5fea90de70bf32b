"""The regression line at rows whose features were measured: what it is at every node of a posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# By so much an error's variance is above that of a feature of which it leaves nothing, and both have their digits.
NOT_MEASURED = 1e8


class Components(NamedTuple):
    """Of a mixture at every node, the nodes' K components side by side."""

    weights: Array
    """(rows, G K) summing to one at each node."""
    mean: Array
    """(rows, G K)"""
    variance: Array
    """(rows, G K) given the readings."""


class Line(NamedTuple):
    """The line at some rows, given each node: a normal distribution, or a mixture."""

    mean: Array
    """(rows, G)"""
    parameters: Array
    """(rows, G) variance given the coefficients and the features' distribution."""
    feature_error: Array
    """(rows, G) variance by the features' own errors."""
    components: Components | None = None
    """None: normal."""

    @property
    def each(self) -> Components:
        """The components, or what is normal as the only one."""
        return self.components or Components(np.ones_like(self.mean), self.mean, self.feature_error)

    @classmethod
    def of_components(cls, components: Components, n_components: int) -> Line:
        """Return a line whose nodes are points."""
        split = (len(components.mean), -1, n_components)
        weights, means = components.weights.reshape(split), components.mean.reshape(split)
        mean = (weights * means).sum(axis=2)
        variances = components.variance.reshape(split) + np.square(means - mean[:, :, None])
        return cls(mean, np.zeros_like(mean), (weights * variances).sum(axis=2), components)

    def drawn(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return mean and variance by the features' errors of one component per node, (rows, G) each."""
        if self.components is None:
            return self.mean, self.feature_error
        rows, nodes = self.mean.shape
        weights = self.components.weights.reshape(rows, nodes, -1)
        below = np.cumsum(weights, axis=2)[:, :, :-1]
        chosen = (rng.random((rows, nodes, 1)) > below).sum(axis=2, keepdims=True)
        mean, variance = (
            np.take_along_axis(values.reshape(weights.shape), chosen, axis=2)[:, :, 0]
            for values in (self.components.mean, self.components.variance)
        )
        return mean, variance


@dataclass(frozen=True, eq=False)
class TrueFeatures:
    """x | z ~ Normal(mu + Gamma z, T) and y ~ Normal(alpha + beta'z + m'x, noise) at every node, (20).

    In the model's units, with what leads there from the data's. theta stacks (mu_j, Gamma_j) for each feature with
    error, and then (alpha, beta), alpha left out of a model without an intercept.
    """

    noisy: NDArray[np.intp]
    """(q,) positions of the features with error among all p."""
    n_features: int
    intercept: bool
    coef: Array
    """(G, q) m, the coefficients of the features with error."""
    variance: Array
    """(G, q, q) T, the true ones' covariance given the exact features."""
    theta: Array
    """(G, D) mean of theta."""
    root: Array
    """(G, D, D) root root' is its covariance."""
    x_mean: Array
    """(p,) The model's features are (x - x_mean) / x_scale, ..."""
    x_scale: Array
    y_mean: float
    """... and its target (y - y_mean) / y_scale."""
    y_scale: float
    sharing: Array | None = None
    """(G,) what covariances of new rows' errors with the target's are multiplied by; None: the line alone is asked
    for, of which they say nothing."""
    error_factor: Array | None = None
    """(G, q) what stated errors of measured features, those of new rows included, are multiplied by; None: they are
    known."""

    @property
    def exact(self) -> NDArray[np.intp]:
        """(k,) positions of the features without error."""
        return np.setdiff1d(np.arange(self.n_features), self.noisy)

    def expected(self, X: Array, weights: Array) -> Array:
        """Return what is expected of features with errors at rows' exact ones, on the data's scale, (rows, q)."""
        mean = self.lines[:, :-1]
        return expected_features(np.einsum("g,gqj->qj", weights, mean), X, self)

    def drawn(self, nodes: NDArray[np.intp], rng: np.random.Generator) -> TrueFeatures:
        """Return one draw of theta from each node named: nodes without a covariance."""
        standard = rng.standard_normal((len(nodes), self.root.shape[2]))
        theta = self.theta[nodes] + np.einsum("gij,gj->gi", self.root[nodes], standard)
        return replace(
            self,
            coef=self.coef[nodes],
            variance=self.variance[nodes],
            theta=theta,
            root=np.zeros((*theta.shape, 0)),
            sharing=None if self.sharing is None else self.sharing[nodes],
            error_factor=None if self.error_factor is None else self.error_factor[nodes],
        )

    def coefficients(self, error: Array | None = None) -> tuple[Array, Array, Array]:
        """Return the line in features that are measured with one covariance of errors, in the model's units, (22).

        Parameters
        ----------
        error : ndarray of shape (q, q) or (q, q + 1), optional
            Covariance of the errors of new rows, in the data's units, that with the target's error in a last column;
            None: their features are true.

        Returns
        -------
        location : ndarray of shape (G, p + 1)
            Of B: (1, x)'B is the best prediction from a measured x.
        factors : ndarray of shape (G, p + 1, D)
            With F F' its covariance.
        feature_error : ndarray of shape (G,)
            The variance that the features' errors leave.
        """
        left, feature_error = self._reliance(*(None, None) if error is None else self._in_model_units(error))
        nodes, exact = len(left), self.exact
        share = np.concatenate([left, np.ones((nodes, 1))], axis=1)
        places = np.append(0, 1 + exact)
        location = np.zeros((nodes, self.n_features + 1))
        location[:, places] = np.einsum("gb,gbj->gj", share, self.lines)
        location[:, 1 + self.noisy] = self.coef - left
        factors = np.zeros((nodes, self.n_features + 1, self.root.shape[2]))
        factors[:, places] = np.einsum("gb,gbjd->gjd", share, self._blocks(self.root))
        return location, factors, feature_error

    def line(self, X: Array, error: Array, above: Array | None = None) -> Line:
        """Return the line at rows with errors of their own, on the data's scale, (22).

        Parameters
        ----------
        X : ndarray of shape (rows, p)
            Measured features.
        error : ndarray of shape (rows, q, q) or (rows, q, q + 1)
            Covariances of their errors, those with the target's error in a last column.
        above : ndarray of shape (rows, G, q), optional
            What is known of true features beyond what is expected at the exact ones, in the model's units.
        """
        left, feature_error = self._reliance(*self._in_model_units(error[:, None]))  # (rows, G, q), (rows, G)
        measured = (X - self.x_mean) / self.x_scale
        ones = np.column_stack([np.ones(len(X)), measured[:, self.exact]])
        by_row, depth = self._by_row
        (rows, nodes, q), block = left.shape, depth + 1
        # theta's mean and root at once: (rows, G, q + 1, 1 + D).
        found = (ones @ by_row).reshape(rows, nodes, q + 1, block)
        combined = found[:, :, q]
        for j in range(q):
            combined += left[:, :, j, None] * found[:, :, j]
        mean = combined[..., 0] + np.einsum("rgq,rq->rg", self.coef - left, measured[:, self.noisy])
        square = self.y_scale**2
        if above is not None:
            mean = mean + np.einsum("rgq,rgq->rg", left, above)
        parameters = square * np.einsum("rgd,rgd->rg", combined[..., 1:], combined[..., 1:])
        return Line(self.y_mean + self.y_scale * mean, parameters, square * feature_error)

    @cached_property
    def _by_row(self) -> tuple[Array, int]:
        """Theta's mean and root as (k + 1, G (q + 1) (1 + d)), and d: (1, z) times it gives all nodes at once."""
        both = self._blocks(np.concatenate([self.theta[:, :, None], self.root], axis=2))
        width = both.shape[2]
        return np.ascontiguousarray(both.transpose(2, 0, 1, 3).reshape(width, -1)), self.root.shape[2]

    def __getstate__(self) -> dict[str, Any]:
        # Files don't depend on what was predicted.
        return {name: value for name, value in vars(self).items() if name != "_by_row"}

    def _in_model_units(self, error: Array) -> tuple[Array, Array | None]:
        """Return U and, where there is one, c at every node."""
        unit, q = self.x_scale[self.noisy], len(self.noisy)
        covariance = error[..., :q] / (unit[:, None] * unit)
        if self.error_factor is not None:
            covariance = covariance * (self.error_factor[:, :, None] * self.error_factor[:, None])
        if np.isinf(covariance).any():  # as if the feature's error were ten thousand times its spread
            covariance = np.where(np.isinf(covariance), NOT_MEASURED * self.variance, covariance)
        if self.sharing is None or error.shape[-1] == q:
            return covariance, None
        return covariance, self.sharing[:, None] * error[..., q] / (unit * self.y_scale)

    def reliability(self, error: Array, exact_covariance: Array) -> Array:
        """Return the share of each measured feature's variance that is the true one's, (G, q).

        Parameters
        ----------
        error : ndarray of shape (q,)
            Mean variances of the errors, in the data's units.
        exact_covariance : ndarray of shape (k, k)
            Covariance of the exact features, in the data's units.
        """
        own = self.lines[:, :-1, 1:] / self.x_scale[self.exact]
        explained = np.einsum("gqj,jk,gqk->gq", own, exact_covariance, own)
        unit = self.x_scale[self.noisy]
        true = np.diagonal(self.variance, axis1=1, axis2=2) + explained
        factor = 1.0 if self.error_factor is None else self.error_factor
        return np.asarray(true / (true + error * np.square(factor / unit)))

    def covariance_within(self, X: Array, error: Array, weights: Array) -> Array:
        """Return the covariance of the line at all rows that theta's leave, over the nodes, (rows, rows).

        Parameters
        ----------
        X, error
            As for `line`.
        weights : ndarray of shape (G,)
        """
        covariance = np.zeros((len(X), len(X)))
        ones = np.column_stack([np.ones(len(X)), ((X - self.x_mean) / self.x_scale)[:, self.exact]])
        for node in np.flatnonzero(weights):
            one = slice(node, node + 1)
            given = replace(
                self,
                coef=self.coef[one],
                variance=self.variance[one],
                theta=self.theta[one],
                sharing=None if self.sharing is None else self.sharing[one],
                error_factor=None if self.error_factor is None else self.error_factor[one],
            )
            left, _ = given._reliance(*given._in_model_units(error[:, None]))
            share = np.concatenate([left[:, 0], np.ones((len(X), 1))], axis=1)
            root = np.einsum("rb,rj,bjd->rd", share, ones, given._blocks(self.root[one])[0])
            covariance += weights[node] * (root @ root.T)
        return self.y_scale**2 * covariance

    def numbers(self) -> int:
        """Return how many numbers `line` has in hand for each row."""
        nodes, q = self.coef.shape
        return nodes * ((q + 1) * self.root.shape[2] + 4 * q * q + 8)

    def _reliance(self, error: Array | None, shared: Array | None) -> tuple[Array, Array]:
        """Return (I - K)'m and m'(T - K T)m with K = T (T + U)^-1: how much of m goes to what is expected of x.

        Where the errors go with the target's, less (T + U)^-1 c, and less what c tells of the target's error, (22).
        """
        if error is None:
            return np.zeros_like(self.coef), np.zeros(len(self.coef))
        # K' = (T + U)^-1 T, so (I - K)' = (T + U)^-1 U; where nothing is uncertain, nothing is left.
        total = self.variance + error
        unit = np.trace(total, axis1=-2, axis2=-1)[..., None, None]
        total = total + np.finfo(np.float64).eps * unit * np.eye(total.shape[-1])
        pushed = np.broadcast_to(error @ self.coef[..., None], (*total.shape[:-1], 1))
        if shared is not None:
            pushed = pushed - shared[..., None]
        solvable = np.where(unit > 0.0, total, np.eye(total.shape[-1]))
        if solvable.shape[-1] == 1:  # a division, not a million calls of a solver
            left = np.asarray(pushed[..., 0] / solvable[..., 0], dtype=np.float64)
        else:
            left = np.asarray(np.linalg.solve(solvable, pushed)[..., 0], dtype=np.float64)
        # T - T (T + U)^-1 T = T (T + U)^-1 U.
        through = np.einsum("...ij,...j->...i", self.variance, left)
        coef = np.broadcast_to(self.coef, left.shape)
        feature_error = np.einsum("...i,...i->...", coef, through)
        if shared is None:
            return left, np.maximum(feature_error, 0.0)
        return left, feature_error - np.einsum("...i,...i->...", coef - left, shared)

    @property
    def lines(self) -> Array:
        """(G, q + 1, k + 1) theta: lines of the features with errors and of the target in the exact ones."""
        return self._blocks(self.theta[:, :, None])[..., 0]

    def _blocks(self, values: Array) -> Array:
        """Return what belongs to theta, (G, D, d), as (G, q + 1, k + 1, d), with zeros for a missing intercept."""
        nodes, _, depth = values.shape
        q, k = self.coef.shape[1], len(self.exact)
        if not self.intercept:
            values = np.insert(values, q * (k + 1), 0.0, axis=1)
        return values.reshape(nodes, q + 1, k + 1, depth)


def expected_features(line: Array, X: Array, true: Any) -> Array:
    """Return features with errors on the data's scale, (rows, q), by lines in the exact ones, (q, k + 1)."""
    exact, noisy = true.exact, true.noisy
    z = (X[:, exact] - true.x_mean[exact]) / true.x_scale[exact]
    expected = np.column_stack([np.ones(len(X)), z]) @ line.T
    return np.asarray(true.x_mean[noisy] + true.x_scale[noisy] * expected)
