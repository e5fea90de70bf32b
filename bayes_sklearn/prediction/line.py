"""Predictive distributions about a line: normal ones, and mixtures over the posterior's nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inference.posterior import Posterior, line_mean
from ..measurements.checks import check_n_samples, check_seed
from .distribution import PredictiveDistribution, generator
from .linear_predictor import LinearPredictor
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
    """Distribution of new measurements with normal noise, or of the linear predictor, under a posterior, (14).

    Parameters
    ----------
    line : LinearPredictor
    noise : dict of str to Part
        Parts of the noise variance; empty: the line alone.
    seed : int
        For draws where no random state is given.
    index : optional
        Row labels for `to_frame`.
    """

    def __init__(self, line: LinearPredictor, noise: Parts, seed: int, index: Any = None):
        self._line = line
        self._noise = noise
        self._seed = seed
        self.index = index

    def __len__(self) -> int:
        return len(self._line)

    def mean(self) -> Array:
        if self._line.by_row is None:
            return line_mean(self._line.posterior, self._line.rows)
        return self._line.moments()[0]

    def var(self) -> Array:
        return self._line.moments(self._mean_noise())[1]

    def mean_and_std(self) -> tuple[Array, Array]:
        """Return `mean()` and `std()` in one pass over the rows."""
        return self._line.moments(self._mean_noise(), root=True)

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of: name to (n,) variances that add up to `var()`.

        ``parameters``: what the rows left open of the line; ``scatter``: noise that no stated error explains (and
        the error floor's part); ``target_error``: the stated standard error; ``finite_count``: the binomial error
        of a share of a finite count; ``feature_error``: the errors of the new row's features. What these tell of an
        error that the target shares (``Xy_cov``) is taken off the last, and off ``target_error`` where it is more.
        """
        parts, means = self._line.variance_parts(), self._noise_means()
        for name in ("scatter", "target_error", "finite_count"):
            parts[name] = np.broadcast_to(np.asarray(means.get(name, 0.0)), (len(self),)).copy()
        if "feature_error" in parts:
            beyond = np.minimum(parts["feature_error"], 0.0)
            parts["feature_error"] -= beyond
            parts["target_error"] += beyond
        return parts

    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n)."""
        covariance = self._line.covariance()
        own = self._line.variance_parts().get("feature_error", 0.0) if self._line.has_feature_error else 0.0
        covariance[np.diag_indices_from(covariance)] += own + self._mean_noise()
        return covariance

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples); each column is one draw of the line, with noise row by row.

        With ``random_state=None`` the seed is the one fixed in fit, so the draws are the same every time.
        """
        check_n_samples(n_samples)
        rng = generator(self._seed if random_state is None else random_state)
        nodes, blocks, line = self._line.draws(n_samples, rng)
        answer = np.empty((len(self), n_samples))
        for rows in blocks:
            answer[rows], left = line(rows)
            if self._noise or self._line.has_feature_error:
                variance = left + noise_variance(
                    self._noise, self._line.posterior, np.arange(len(self))[rows], nodes
                )
                answer[rows] += np.sqrt(variance) * rng.standard_normal(variance.shape)
        return answer

    def _mixture(self, rows: slice) -> Mixture:
        noise: Array | float = 0.0
        if self._noise:
            noise = noise_variance(self._noise, self._line.posterior, np.arange(len(self))[rows])
        return NormalMixture(*self._line.normals(rows, noise))

    @property
    def _width(self) -> int:
        return self._line.width

    def _mean_noise(self) -> Array | float:
        """Return the posterior mean of the variance of the noise, (n,) or one number for all."""
        return sum(self._noise_means().values(), 0.0)

    def _noise_means(self) -> dict[str, Array | float]:
        """Return the posterior mean of each part."""
        return mean_parts(self._noise, self._line.posterior, self._line.weights)


def noise_variance(
    noise: Parts, posterior: Posterior, rows: NDArray[np.intp], nodes: NDArray[np.intp] | None = None
) -> Array:
    """Return the variance of the noise at some rows, (rows, G), or at the nodes named alone."""
    terms = posterior.noise_terms if nodes is None else [term[nodes] for term in posterior.noise_terms]
    total = np.zeros((len(rows), len(terms[0])))
    for part in noise.values():
        for factor, term in zip(part, terms, strict=False):
            if np.ndim(factor) or factor:
                total += column(factor, rows) * term
    return total


def mean_parts(noise: Parts, posterior: Posterior, weights: Array) -> dict[str, Array | float]:
    """Return the sum over nodes of each part of the variance of the noise, the nodes weighted by these."""
    means = [float(weights @ term) for term in posterior.noise_terms]
    return {
        name: sum((factor * mean for factor, mean in zip(part, means, strict=False)), 0.0)
        for name, part in noise.items()
    }


def column(value: Array | float, rows: NDArray[np.intp]) -> Array | float:
    """Return one number for all rows, or those of some rows as a column."""
    return value[rows, None] if isinstance(value, np.ndarray) and value.ndim else value
