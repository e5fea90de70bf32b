"""The regression line at rows whose features were measured: what it is at every node of a posterior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

Array = NDArray[np.float64]


class Components(NamedTuple):
    """Of a mixture at every node, the nodes' K components side by side."""

    weights: Array
    """(rows, G K) summing to one at each node."""
    mean: Array
    """(rows, G K)"""
    variance: Array
    """(rows, G K) that the features' errors leave."""


class Line(NamedTuple):
    """The line at some rows, given each node: a normal distribution, or a mixture."""

    mean: Array
    """(rows, G)"""
    parameters: Array
    """(rows, G) variance that the coefficients and the features' distribution leave."""
    feature_error: Array
    """(rows, G) variance that the features' own errors leave."""
    components: Components | None = None
    """None: normal."""

    @classmethod
    def of_components(cls, components: Components, n_components: int) -> Line:
        """Return a line whose nodes are points."""
        split = (len(components.mean), -1, n_components)
        weights, means = components.weights.reshape(split), components.mean.reshape(split)
        mean = (weights * means).sum(axis=2)
        variances = components.variance.reshape(split) + np.square(means - mean[:, :, None])
        return cls(mean, np.zeros_like(mean), (weights * variances).sum(axis=2), components)

    def mixture(self, weights: Array, noise: Array) -> tuple[Array, Array, Array]:
        """Return the weights, means and standard deviations of all normal distributions that make up each row's.

        Parameters
        ----------
        weights : ndarray of shape (G,)
            The nodes'.
        noise : ndarray of shape (rows, G)
            Variance that is added at every node.
        """
        if self.components is None:
            return weights, self.mean, np.sqrt(self.parameters + self.feature_error + noise)
        count = self.components.weights.shape[1] // len(weights)
        within, mean, variance = self.components
        sds = np.sqrt(variance + np.repeat(noise, count, axis=1))
        return within * np.repeat(weights, count), mean, sds

    def drawn(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return mean and variance by the features' errors of one component a node, (rows, G) each."""
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

    def log_density(self, value: Array, noise: Array) -> Array:
        """Return the log density of measurements, (rows,), with noise of these variances, (rows, G), at each node."""
        weights, mean, variance = self._given_nodes(noise)
        terms = -0.5 * (np.square(value[:, None, None] - mean) / variance + np.log(2.0 * np.pi * variance))
        return np.asarray(logsumexp(terms, b=weights, axis=2), dtype=np.float64)

    def cdf(self, value: Array, noise: Array) -> Array:
        """Return the probability of less, arguments and shape as those of `log_density`."""
        weights, mean, variance = self._given_nodes(noise)
        return np.sum(weights * ndtr((value[:, None, None] - mean) / np.sqrt(variance)), axis=2)

    def _given_nodes(self, noise: Array) -> tuple[Array | float, Array, Array]:
        """Return weights, means and variances of measurements' components at each node, (rows, G, K)."""
        weights: Array | float = 1.0
        mean, variance = self.mean[:, :, None], self.feature_error[:, :, None]
        if self.components is not None:
            split = (*self.mean.shape, -1)
            weights, mean, variance = (part.reshape(split) for part in self.components)
        return weights, mean, variance + noise[:, :, None]
