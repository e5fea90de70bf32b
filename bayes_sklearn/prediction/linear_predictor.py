"""The linear predictor of new rows under a posterior, their features true or measured with error, (14) and (22).

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..inference.posterior import Posterior, line_mean_and_variance, row_blocks
from ..inference.structural.true_features import TrueFeatures
from ..inference.structural.true_mixture import TrueMixture
from ..measurements.compressed import Rows

__all__ = ["LinearPredictor"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearPredictor:
    """At every node of a posterior, the linear predictor of some rows: normal, or a mixture."""

    posterior: Posterior
    """On the data's scale."""
    rows: Rows
    feature_error: Array | None = None
    """(G,) variance that errors of the features add, the same at all rows; None: the features are true, or differ."""
    by_row: Array | None = None
    """(n, q, q) covariances of errors that differ from row to row, or under which there is no line."""

    @classmethod
    def of(
        cls,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None = None,
        error: Array | None = None,
    ) -> LinearPredictor:
        """Settle the errors of n rows.

        Parameters
        ----------
        posterior : Posterior
        X : ndarray of shape (n, k)
            New rows, as given to predict.
        features : ndarray of intp, optional
            Columns of X that are features; None: all.
        error : ndarray of shape (q, q) or (n, q, q), optional
            Covariances of the errors of those features that had errors in fit, those with the target's error in a
            last column if there are any; None: the features are true.
        """
        rows = Rows(X, np.empty(0), features)
        if error is None or not error.any():
            return cls(posterior, rows)
        common = error.ndim == 2 or bool((error == error[:1]).all())
        if not common or isinstance(posterior.true_features, TrueMixture):
            return cls(posterior, rows, by_row=np.broadcast_to(error, (len(X), *error.shape[-2:])))
        posterior, of_features = posterior.measured(error if error.ndim == 2 else error[0])
        return cls(posterior, rows, of_features)

    def __len__(self) -> int:
        return len(self.rows.X)

    @property
    def weights(self) -> Array:
        """(G,) the nodes'."""
        return self.posterior.weights

    @property
    def has_feature_error(self) -> bool:
        return self.feature_error is not None or self.by_row is not None

    @cached_property
    def is_spread(self) -> bool:
        """Whether it is spread about its mean at the nodes."""
        return self.has_feature_error or bool(self.posterior.covariances.root(self.weights).any())

    @property
    def width(self) -> int:
        """How many numbers `at` has in hand for each row."""
        own = 8 * len(self.weights)
        return own if self.by_row is None else max(self._true.numbers(), own)

    def blocks(self) -> Iterator[slice]:
        """Yield slices of rows whose arrays of nodes and rows stay small."""
        return row_blocks(len(self), len(self.weights) if self.by_row is None else self._true.numbers())

    def at(self, rows: slice) -> tuple[Array, Array]:
        """Return means and variances at every node of some rows, (rows, G) each."""
        if self.by_row is not None:
            line = self._true.line(self._features(rows), self.by_row[rows])
            return line.mean, line.parameters + line.feature_error
        means, variances = self.posterior.linear(self._design(rows))
        return means, variances if self.feature_error is None else variances + self.feature_error

    def normals(self, rows: slice, noise: Array | float) -> tuple[Array, Array, Array]:
        """Return weights, means and standard deviations of the normal distributions that make up each row's.

        With normal noise of these variances added, (rows, G).
        """
        if self.by_row is not None:
            line = self._true.line(self._features(rows), self.by_row[rows])
            return line.mixture(self.weights, noise + np.zeros_like(line.mean))
        means, variances = self.at(rows)
        return self.weights, means, np.sqrt(variances + noise)

    def moments(self, noise: Array | float = 0.0, *, root: bool = False) -> tuple[Array, Array]:
        """Return mean and variance with noise of this mean variance, or the variance's root, (n,) each."""
        if self.by_row is None:
            more = 0.0 if self.feature_error is None else float(self.weights @ self.feature_error)
            return line_mean_and_variance(self.posterior, self.rows, noise + more, root=root)
        mean, *parts = self._moments_by_row
        variance = np.sum(parts, axis=0) + noise
        return mean, np.sqrt(variance) if root else variance

    def variance_parts(self) -> dict[str, Array]:
        """Return what makes its variance, (n,) each."""
        if self.by_row is not None:
            _, parameters, feature_error = self._moments_by_row
            return {"parameters": parameters.copy(), "feature_error": feature_error.copy()}
        parts = {"parameters": line_mean_and_variance(self.posterior, self.rows)[1]}
        if self.feature_error is not None:
            parts["feature_error"] = np.full(len(self), float(self.weights @ self.feature_error))
        return parts

    def covariance(self) -> Array:
        """Return the covariance of the rows by what they have in common, (n, n): the features' errors are not."""
        if self.by_row is None:
            design = self._design(slice(None))
            return np.asarray(design @ self.posterior.covariance @ design.T)
        lines = np.empty((len(self), len(self.weights)))
        for rows in self.blocks():
            lines[rows] = self.at(rows)[0]
        away = lines - (lines @ self.weights)[:, None]
        within = self._true.covariance_within(self._features(slice(None)), self.by_row, self.weights)
        return np.asarray((away * self.weights) @ away.T + within)

    def draws(
        self, size: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], Iterator[slice], Callable[[slice], tuple[Array, Array | float]]]:
        """Draw from the posterior.

        Returns
        -------
        nodes : ndarray of shape (size,)
            That the draws are from.
        blocks : iterator of slice
            Of rows.
        line : callable
            Of a block: the linear predictor at each draw, (rows, size), and what the features' errors leave of
            variance, of that shape or broadcasting to it.
        """
        if self.by_row is None:
            coefficients, nodes = self.posterior.draw(size, rng)
            left = 0.0 if self.feature_error is None else self.feature_error[nodes]
            blocks = row_blocks(len(self), size + coefficients.shape[1])
            return nodes, blocks, lambda rows: (self._design(rows) @ coefficients.T, left)
        nodes = rng.choice(len(self.weights), size=size, p=self.weights)
        drawn, error = self._true.drawn(nodes, rng), self.by_row
        blocks = row_blocks(len(self), drawn.numbers())
        return nodes, blocks, lambda rows: drawn.line(self._features(rows), error[rows]).drawn(rng)

    @cached_property
    def _moments_by_row(self) -> Array:
        """Mean, variance by the parameters, and variance by the features' errors, (3, n)."""
        found = np.empty((3, len(self)))
        error = self.by_row
        if error is None:  # for the type checker
            raise AssertionError
        for rows in self.blocks():
            line = self._true.line(self._features(rows), error[rows])
            mean = line.mean @ self.weights
            parameters = (line.parameters + (line.mean - mean[:, None]) ** 2) @ self.weights
            found[:, rows] = mean, parameters, line.feature_error @ self.weights
        return found

    @property
    def _true(self) -> TrueFeatures | TrueMixture:
        if self.posterior.true_features is None:
            raise ValueError("The posterior knows nothing of true features.")
        return self.posterior.true_features

    def _features(self, rows: slice) -> Array:
        return np.asarray(self.rows.take(rows), dtype=np.float64)

    def _design(self, rows: slice) -> Array:
        """Return rows of (1, x - center)."""
        centred = self.rows.take(rows) - self.posterior.center
        return np.concatenate([np.ones((len(centred), 1)), centred], axis=1)
