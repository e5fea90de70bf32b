"""The linear predictor at new rows, true or measured, and predictions that it is, with normal noise or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inference.posterior import Posterior, line_mean, line_mean_and_variance, row_blocks
from ..inference.structural.readings import most_readings
from ..inference.structural.true_features import Line, TrueFeatures
from ..inference.structural.true_mixture import TrueMixture
from ..likelihoods.links import Link
from ..measurements.checks import check_n_samples, check_seed
from ..measurements.compressed import Rows
from ..measurements.limits import ReadingLimits
from .distribution import PredictiveDistribution, generator
from .mixtures.node_groups import in_groups
from .mixtures.normal import Mixture, NormalMixture
from .mixtures.parts import Lines
from .noise import Parts

__all__ = ["LinearPredictive", "LinearPredictor", "NormalPredictive"]

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
    limits: ReadingLimits | None = None
    """Readings of which only a side was seen; None: of all more is known, or nothing."""

    @classmethod
    def of(
        cls,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None = None,
        error: Array | None = None,
        limits: ReadingLimits | None = None,
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
        limits : ReadingLimits, optional
            Of the n rows' readings of which only a side was seen.
        """
        rows = Rows(X, np.empty(0), features)
        if limits is not None:
            true = posterior.true_features
            if true is None:
                raise AssertionError  # for the type checker
            if isinstance(true, TrueFeatures):  # the same draws every time
                true = TrueMixture.of_one(true, np.random.default_rng(0))
                posterior = replace(posterior, true_features=true)
            own = np.zeros((len(true.noisy),) * 2) if error is None else error
            return cls(posterior, rows, by_row=np.broadcast_to(own, (len(X), *own.shape[-2:])), limits=limits)
        if error is None or not error.any():
            return cls(in_groups(posterior, rows=rows)[0], rows)
        common = error.ndim == 2 or bool((error == error[:1]).all())
        if not common or isinstance(posterior.true_features, TrueMixture):
            return cls(posterior, rows, by_row=np.broadcast_to(error, (len(X), *error.shape[-2:])))
        posterior, of_features = in_groups(
            *posterior.measured(error if error.ndim == 2 else error[0]), rows=rows
        )
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
        return self.has_feature_error or self.posterior.is_spread

    def within(self, variance: Array) -> dict[str, Array]:
        """Return variances at the nodes, (n,), by what they are of, as `variance_parts` calls it."""
        return {"feature_error" if self.has_feature_error else "parameters": variance}

    @property
    def width(self) -> int:
        """How many numbers `at` has in hand for each row."""
        own = 8 * len(self.weights)
        return own if self.by_row is None else max(self._numbers(self._true), own)

    def blocks(self) -> Iterator[slice]:
        """Yield slices of rows whose arrays of nodes and rows stay small."""
        return row_blocks(len(self), len(self.weights) if self.by_row is None else self._numbers(self._true))

    def at(self, rows: slice | NDArray[np.intp]) -> Lines:
        """Return the normal distributions that make up those of some rows at every node."""
        if self.by_row is not None:
            line = self._line(self._true, rows)
            if line.components is None:
                return Lines(self.weights, line.mean, line.parameters + line.feature_error)
            within, mean, variance = line.components
            count = mean.shape[1] // len(self.weights)
            return Lines(within * np.repeat(self.weights, count), mean, variance, count)
        means, variances = self.posterior.linear(self._design(rows))
        if not self.is_spread:
            return Lines(self.weights, means, np.zeros((1, 1)))
        return Lines(
            self.weights, means, variances if self.feature_error is None else variances + self.feature_error
        )

    def normals(self, rows: slice, noise: Array | float) -> tuple[Array, Array, Array]:
        """Return weights, means and standard deviations of the normal distributions that make up each row's.

        With normal noise of these variances added, (rows, G).
        """
        weights, means, variances, count = self.at(rows)
        if count > 1:
            noise = np.repeat(np.broadcast_to(noise, (len(means), len(self.weights))), count, axis=1)
        return weights, means, np.sqrt(variances + noise)

    def mean(self) -> Array:
        """Return the mean, (n,)."""
        return line_mean(self.posterior, self.rows) if self.by_row is None else self.moments()[0]

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
            lines[rows] = self._line(self._true, rows).mean
        away = lines - (lines @ self.weights)[:, None]
        within = self._true.covariance_within(self._features(slice(None)), self.by_row, self.weights)
        return np.asarray((away * self.weights) @ away.T + within)

    def shared(self, link: Link) -> Array | float:
        """Return covariances of rows' means at the nodes, (n, n), by their uncertainty given the nodes: here none."""
        return 0.0

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
            Of a block: the linear predictor at each draw, (rows, size), and its variance by the features'
            errors, of that shape or broadcasting to it.
        """
        if self.by_row is None:
            coefficients, nodes = self.posterior.draw(size, rng)
            left = 0.0 if self.feature_error is None else self.feature_error[nodes]
            blocks = row_blocks(len(self), size + coefficients.shape[1])
            return nodes, blocks, lambda rows: (self._design(rows) @ coefficients.T, left)
        nodes = rng.choice(len(self.weights), size=size, p=self.weights)
        drawn = self._true.drawn(nodes, rng)
        blocks = row_blocks(len(self), self._numbers(drawn))
        return nodes, blocks, lambda rows: self._line(drawn, rows).drawn(rng)

    @cached_property
    def _moments_by_row(self) -> Array:
        """Mean, variance by the parameters, and variance by the features' errors, (3, n)."""
        found = np.empty((3, len(self)))
        for rows in self.blocks():
            line = self._line(self._true, rows)
            mean = line.mean @ self.weights
            parameters = (line.parameters + (line.mean - mean[:, None]) ** 2) @ self.weights
            found[:, rows] = mean, parameters, line.feature_error @ self.weights
        return found

    def _line(self, true: TrueFeatures | TrueMixture, rows: slice | NDArray[np.intp]) -> Line:
        """Return the line of some rows whose features have errors of their own."""
        if self.by_row is None:  # for the type checker
            raise AssertionError
        if self.limits is None or isinstance(true, TrueFeatures):
            return true.line(self._features(rows), self.by_row[rows])
        return true.line(self._features(rows), self.by_row[rows], self.limits.take(rows))

    def _numbers(self, true: TrueFeatures | TrueMixture) -> int:
        """Return how many numbers `_line` has in hand for each row."""
        return true.numbers() * (1 if self.limits is None else most_readings(self.limits))

    @property
    def _true(self) -> TrueFeatures | TrueMixture:
        if self.posterior.true_features is None:
            raise ValueError("The posterior knows nothing of true features.")
        return self.posterior.true_features

    def _features(self, rows: slice | NDArray[np.intp]) -> Array:
        return np.asarray(self.rows.take(rows), dtype=np.float64)

    def _design(self, rows: slice | NDArray[np.intp]) -> Array:
        """Return rows of (1, x - center)."""
        centred = self.rows.take(rows) - self.posterior.center
        return np.concatenate([np.ones((len(centred), 1)), centred], axis=1)


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
        n_samples = check_n_samples(n_samples)
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
        self.line = line
        self.noise = noise
        self._seed = seed
        self.index = index

    def __len__(self) -> int:
        return len(self.line)

    def mean(self) -> Array:
        return self.line.mean()

    def var(self) -> Array:
        return self.line.moments(self._mean_noise())[1]

    def mean_and_std(self) -> tuple[Array, Array]:
        """Return `mean()` and `std()` in one pass over the rows."""
        return self.line.moments(self._mean_noise(), root=True)

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of: name to (n,) variances that add up to `var()`.

        ``parameters``: the uncertainty of the line; ``groups``: that of the effects of the row's groups given the
        line, in new groups their whole variance (after NUTS only this: fitted groups are among the parameters);
        ``scatter``: noise that no stated error explains (and the error floor's part);
        ``target_error``: the stated standard error; ``finite_count``: the binomial error of a share of a finite
        count; ``feature_error``: the errors of the new row's features. What these tell of an error that the target
        shares (``Xy_cov``) is taken off the last, and off ``target_error`` where it is more.
        """
        parts, means = self.line.variance_parts(), self._noise_means()
        for name in ("scatter", "target_error", "finite_count"):
            parts[name] = np.broadcast_to(np.asarray(means.get(name, 0.0)), (len(self),)).copy()
        if "feature_error" in parts:
            beyond = np.minimum(parts["feature_error"], 0.0)
            parts["feature_error"] -= beyond
            parts["target_error"] += beyond
        return parts

    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n)."""
        covariance = self.line.covariance()
        own = self.line.variance_parts().get("feature_error", 0.0) if self.line.has_feature_error else 0.0
        covariance[np.diag_indices_from(covariance)] += own + self._mean_noise()
        return covariance

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples); each column is one draw of the line, with noise row by row.

        With ``random_state=None`` the seed is the one fixed in fit, so the draws are the same every time.
        """
        n_samples = check_n_samples(n_samples)
        rng = generator(self._seed if random_state is None else random_state)
        nodes, blocks, line = self.line.draws(n_samples, rng)
        answer = np.empty((len(self), n_samples))
        for rows in blocks:
            answer[rows], left = line(rows)
            if self.noise or self.line.has_feature_error:
                variance = left + noise_variance(
                    self.noise, self.line.posterior, np.arange(len(self))[rows], nodes
                )
                answer[rows] += np.sqrt(variance) * rng.standard_normal(variance.shape)
        return answer

    def _mixture(self, rows: slice) -> Mixture:
        noise: Array | float = 0.0
        if self.noise:
            noise = noise_variance(self.noise, self.line.posterior, np.arange(len(self))[rows])
        return NormalMixture(*self.line.normals(rows, noise))

    @property
    def _width(self) -> int:
        return self.line.width

    def _mean_noise(self) -> Array | float:
        """Return the posterior mean of the variance of the noise, (n,) or one number for all."""
        return sum(self._noise_means().values(), 0.0)

    def _noise_means(self) -> dict[str, Array | float]:
        """Return the posterior mean of each part."""
        return mean_parts(self.noise, self.line.posterior, self.line.weights)


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
