"""Predictive distributions about a line: normal ones, and mixtures over the posterior's nodes."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..inference.posterior import Posterior, line_mean, line_mean_and_variance, row_blocks
from ..measurements.checks import check_n_samples, check_seed
from ..measurements.compressed import Rows
from .distribution import PredictiveDistribution, generator
from .mixtures.normal import Mixture, NormalMixture
from .noise import Parts

__all__ = ["LinearPredictive", "NormalPredictive"]


Array = NDArray[np.float64]


class NormalPredictive(PredictiveDistribution):
    """Normal distributions, independent from row to row.

    Parameters
    ----------
    mean, std : ndarray of shape (n,)
    """

    def __init__(self, mean: Array, std: Array):
        self._mean = np.asarray(mean, dtype=np.float64)
        self._std = np.asarray(std, dtype=np.float64)

    def __len__(self) -> int:
        return len(self._mean)

    def mean(self) -> Array:
        return self._mean

    def var(self) -> Array:
        return np.square(self._std)

    def std(self) -> Array:
        return self._std

    def covariance(self) -> Array:
        return np.diag(self.var())

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        check_n_samples(n_samples)
        standard = check_seed(random_state).standard_normal((len(self), n_samples))
        return self._mean[:, None] + standard * self._std[:, None]

    def _mixture(self, rows: slice) -> Mixture:
        return NormalMixture(np.ones(1), self._mean[rows, None], self._std[rows, None])

    @property
    def _width(self) -> int:
        return 8


class LinearPredictive(PredictiveDistribution):
    """Distribution of new measurements, or of the regression line, under a posterior, (14).

    Parameters
    ----------
    posterior : Posterior
        On the data's scale.
    X : ndarray of shape (n, k)
        New rows, as given to predict.
    features : ndarray of intp or None
        Columns of X that are features; None: all.
    noise : dict of str to Part
        Parts of the noise variance; empty: the line alone.
    seed : int
        For draws where no random state is given.
    index : optional
        Row labels for `to_frame`.
    feature_error : ndarray of shape (G,), optional
        Variance that errors of the features add, at every node.
    """

    def __init__(
        self,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None,
        noise: Parts,
        seed: int,
        index: Any = None,
        feature_error: Array | None = None,
    ):
        self._posterior = posterior
        self._feature_error = feature_error
        self._rows = Rows(X, np.empty(0), features)
        self._noise = noise
        self._seed = seed
        self.index = index

    def __len__(self) -> int:
        return len(self._rows.X)

    def mean(self) -> Array:
        return line_mean(self._posterior, self._rows)

    def var(self) -> Array:
        return line_mean_and_variance(self._posterior, self._rows, self._mean_noise())[1]

    def with_noise(self, noise: Parts) -> Self:
        """Return the distribution of new measurements with this noise."""
        other = copy(self)
        other._noise = noise
        return other

    def mean_and_std(self) -> tuple[Array, Array]:
        """Return `mean()` and `std()` in one pass over the rows."""
        return line_mean_and_variance(self._posterior, self._rows, self._mean_noise(), root=True)

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of: name to (n,) variances that add up to `var()`.

        ``parameters``: what the rows left open of the line; ``scatter``: noise that no stated error explains (and
        the error floor's part); ``target_error``: the stated standard error; ``finite_count``: the binomial error
        of a share of a finite count; ``feature_error``: the errors of the new row's features. What these tell of an
        error that the target shares (``Xy_cov``) is taken off the last, and off ``target_error`` where it is more.
        """
        n = len(self)
        parts = self._line_parts()
        means = self._noise_means()
        for name in ("scatter", "target_error", "finite_count"):
            parts[name] = np.broadcast_to(np.asarray(means.get(name, 0.0)), (n,)).copy()
        if "feature_error" in parts:
            beyond = np.minimum(parts["feature_error"], 0.0)
            parts["feature_error"] -= beyond
            parts["target_error"] += beyond
        return parts

    def _generator(self, random_state: int | np.random.RandomState | None) -> np.random.Generator:
        return generator(self._seed if random_state is None else random_state)

    def _line_parts(self) -> dict[str, Array]:
        """Return what makes the variance of the line, (n,) each."""
        _, parameters = line_mean_and_variance(self._posterior, self._rows)
        if self._feature_error is None:
            return {"parameters": parameters}
        average = float(self._posterior.weights @ self._feature_error)
        return {"parameters": parameters, "feature_error": np.full(len(self), average)}

    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n)."""
        design = self._design(slice(None))
        covariance = design @ self._posterior.covariance @ design.T
        covariance[np.diag_indices_from(covariance)] += self._mean_noise()
        return covariance

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples); each column is one draw of the line, with noise row by row.

        With ``random_state=None`` the seed is the one fixed in fit, so the draws are the same every time.
        """
        check_n_samples(n_samples)
        rng = self._generator(random_state)
        coefficients, nodes = self._posterior.draw(n_samples, rng)
        answer = np.empty((len(self), n_samples))
        for rows in row_blocks(len(self), n_samples + coefficients.shape[1]):
            answer[rows] = self._design(rows) @ coefficients.T
            if self._noise or self._feature_error is not None:
                sd = np.sqrt(self._noise_variance(rows, nodes))
                answer[rows] += sd * rng.standard_normal(sd.shape)
        return answer

    def _mixture(self, rows: slice) -> Mixture:
        return NormalMixture(self._posterior.weights, *self._components(rows))

    @property
    def _width(self) -> int:
        return 8 * len(self._posterior.weights)

    def _components(self, rows: slice) -> tuple[Array, Array]:
        """Return the components' means and standard deviations at some rows, (rows, G) each."""
        means, variances = self._posterior.linear(self._design(rows))
        if self._noise or self._feature_error is not None:
            variances = variances + self._noise_variance(rows)
        return means, np.sqrt(variances)

    def _design(self, rows: slice) -> Array:
        """Return rows of (1, x - center)."""
        centred = self._rows.take(rows) - self._posterior.center
        return np.concatenate([np.ones((len(centred), 1)), centred], axis=1)

    def _noise_variance(self, rows: slice, nodes: NDArray[np.intp] | None = None) -> Array:
        """Return what is added to the line's variance at some rows, (rows, G), or at the nodes named alone."""
        total = noise_variance(self._noise, self._posterior, range(len(self))[rows], nodes)
        if self._feature_error is not None:
            total += self._feature_error if nodes is None else self._feature_error[nodes]
        return total

    def _mean_noise(self) -> Array | float:
        """Return the posterior mean of what is added to the line's variance, (n,) or one number for all."""
        total = sum(self._noise_means().values(), 0.0)
        if self._feature_error is not None:
            total = total + float(self._posterior.weights @ self._feature_error)
        return total

    def _noise_means(self) -> dict[str, Array | float]:
        """Return the posterior mean of each part."""
        return mean_parts(self._noise, self._posterior, self._posterior.weights)


def noise_variance(
    noise: Parts, posterior: Posterior, rows: range, nodes: NDArray[np.intp] | None = None
) -> Array:
    """Return the variance of the noise at some rows, (rows, G), or at the nodes named alone."""
    terms = posterior.noise_terms if nodes is None else [term[nodes] for term in posterior.noise_terms]
    total = np.zeros((len(rows), len(terms[0])))
    for part in noise.values():
        for factor, term in zip(part, terms, strict=False):
            if np.ndim(factor) or factor:
                total += column(factor, slice(rows.start, rows.stop)) * term
    return total


def mean_parts(noise: Parts, posterior: Posterior, weights: Array) -> dict[str, Array | float]:
    """Return the sum over nodes of each part of the variance of the noise, the nodes weighted by these."""
    means = [float(weights @ term) for term in posterior.noise_terms]
    return {
        name: sum((factor * mean for factor, mean in zip(part, means, strict=False)), 0.0)
        for name, part in noise.items()
    }


def column(value: Array | float, rows: slice) -> Array | float:
    """Return one number for all rows, or those of some rows as a column."""
    return value[rows, None] if isinstance(value, np.ndarray) and value.ndim else value
