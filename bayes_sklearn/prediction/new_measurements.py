"""Which predictive distribution new rows have, and those whose features were measured with error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inference.posterior import Posterior, row_blocks
from ..inference.structural.line import Line
from ..inference.structural.true_mixture import TrueMixture
from ..likelihoods.base import Likelihood
from ..measurements.checks import check_flag, check_n_samples
from .distribution import PredictiveDistribution
from .line import LinearPredictive
from .mixtures.normal import Mixture, NormalMixture
from .noise import NoiseModel, Parts, new_counts
from .shares import SharePredictive
from .student_t import StudentTPredictive

__all__ = [
    "MeasuredPredictive",
    "MeasuredSharePredictive",
    "MeasuredStudentTPredictive",
    "RowErrors",
    "new_rows",
]

Array = NDArray[np.float64]


class RowErrors(NamedTuple):
    """What errors of new rows' features make of the posterior's line, settled once for every likelihood."""

    posterior: Posterior
    """Of the line in features that are true, or measured with one covariance of errors for all rows."""
    feature_error: Array | None
    """(G,) variance that these leave at every node; None: the features are true, or have errors by row."""
    by_row: Array | None
    """(n, q, q) covariances of errors that differ from row to row, or under which there is no line."""

    @classmethod
    def of(cls, posterior: Posterior, error: Array | None, n: int) -> RowErrors:
        """Settle the errors of n rows.

        Parameters
        ----------
        posterior : Posterior
        error : ndarray of shape (q, q) or (n, q, q), optional
            Covariances of the errors of those features that had errors in fit, those with the target's error in a
            last column if there are any; None: the features are true.
        n : int
        """
        if error is None or not error.any():
            return cls(posterior, None, None)
        common = error.ndim == 2 or bool((error == error[:1]).all())
        if not common or isinstance(posterior.true_features, TrueMixture):
            return cls(posterior, None, np.broadcast_to(error, (n, *error.shape[-2:])))
        return cls(*posterior.measured(error if error.ndim == 2 else error[0]), None)


class MeasuredPredictive(LinearPredictive):
    """As LinearPredictive, for rows whose features have errors of their own, (22).

    Parameters
    ----------
    error : ndarray of shape (n, q, q)
        Covariances of the features' errors.
    posterior, X, features, noise, seed, index
        As for LinearPredictive; the posterior knows how the true features are distributed.
    """

    def __init__(
        self,
        error: Array,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None,
        noise: Parts,
        seed: int,
        index: Any = None,
    ):
        super().__init__(posterior, X, features, noise, seed, index)
        if posterior.true_features is None:
            raise ValueError("The posterior knows nothing of true features.")
        self._error, self._true = error, posterior.true_features

    def mean(self) -> Array:
        return self._line_moments()[0]

    def var(self) -> Array:
        _, parameters, feature_error = self._line_moments()
        return parameters + feature_error + self._mean_noise()

    def mean_and_std(self) -> tuple[Array, Array]:
        mean, parameters, feature_error = self._line_moments()
        return mean, np.sqrt(parameters + feature_error + self._mean_noise())

    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n); the features' errors are independent."""
        n, weights = len(self), self._posterior.weights
        lines = np.empty((n, len(weights)))
        for rows in row_blocks(n, self._true.numbers()):
            lines[rows] = self._line(rows).mean
        away = lines - (lines @ weights)[:, None]
        covariance = (away * weights) @ away.T
        covariance += self._true.covariance_within(self._features(slice(None)), self._error, weights)
        _, _, feature_error = self._line_moments()
        covariance[np.diag_indices(n)] += feature_error + self._mean_noise()
        return covariance

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        check_n_samples(n_samples)
        rng = self._generator(random_state)
        weights = self._posterior.weights
        nodes = rng.choice(len(weights), size=n_samples, p=weights)
        drawn = self._true.drawn(nodes, rng)
        answer = np.empty((len(self), n_samples))
        for rows in row_blocks(len(self), drawn.numbers()):
            mean, feature_error = drawn.line(self._features(rows), self._error[rows]).drawn(rng)
            sd = np.sqrt(feature_error + self._noise_variance(rows, nodes))
            answer[rows] = mean + sd * rng.standard_normal(sd.shape)
        return answer

    def _features(self, rows: slice) -> Array:
        return np.asarray(self._rows.take(rows), dtype=np.float64)

    def _line(self, rows: slice) -> Line:
        return self._true.line(self._features(rows), self._error[rows])

    def _line_moments(self) -> tuple[Array, Array, Array]:
        """Return mean, variance by the parameters, and variance by the features' errors, (n,) each."""
        mean, parameters, feature_error = np.empty((3, len(self)))
        weights = self._posterior.weights
        for rows in row_blocks(len(self), self._true.numbers()):
            line = self._line(rows)
            mean[rows] = line.mean @ weights
            away = line.mean - mean[rows, None]
            parameters[rows] = (line.parameters + away**2) @ weights
            feature_error[rows] = line.feature_error @ weights
        return mean, parameters, feature_error

    def _line_parts(self) -> dict[str, Array]:
        _, parameters, feature_error = self._line_moments()
        return {"parameters": parameters, "feature_error": feature_error}

    def _mixture(self, rows: slice) -> Mixture:
        line = self._line(rows)
        return NormalMixture(*line.mixture(self._posterior.weights, self._noise_variance(rows)))

    @property
    def _width(self) -> int:
        return max(self._true.numbers(), super()._width)


class MeasuredStudentTPredictive(StudentTPredictive, MeasuredPredictive):
    """As `StudentTPredictive`, for rows whose features have errors of their own.

    Parameters
    ----------
    nu : float or ndarray of shape (G,)
        As for `StudentTPredictive`.
    error : ndarray of shape (n, q, q)
        Covariances of the features' errors.
    posterior, X, features, noise, seed, index
        As for `LinearPredictive`.
    """

    def __init__(
        self,
        nu: Array | float,
        error: Array,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None,
        noise: Parts,
        seed: int,
        index: Any = None,
    ):
        MeasuredPredictive.__init__(self, error, posterior, X, features, noise, seed, index)
        self._prepare(nu, line_spread=True)

    def _node_lines(self, rows: slice) -> tuple[Array, Array]:
        line = self._line(rows)
        return line.mean, line.parameters + line.feature_error

    def _drawn_line(
        self, rows: slice, coefficients: Array, nodes: NDArray[np.intp], rng: np.random.Generator
    ) -> Array:
        mean, variance = self._true.drawn(nodes, rng).line(self._features(rows), self._error[rows]).drawn(rng)
        return mean + np.sqrt(variance) * rng.standard_normal(mean.shape)


class MeasuredSharePredictive(SharePredictive):
    """As `SharePredictive`, for rows whose features have errors of their own.

    Parameters
    ----------
    error : ndarray of shape (n, q, q)
        Covariances of the features' errors.
    posterior, X, features, seed, index, **others
        As for `SharePredictive`; the posterior knows how the true features are distributed.
    """

    def __init__(
        self,
        error: Array,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None,
        seed: int,
        index: Any = None,
        **others: Any,
    ):
        super().__init__(posterior, X, features, seed, index, **others)
        if posterior.true_features is None:
            raise ValueError("The posterior knows nothing of true features.")
        self._error, self._true = error, posterior.true_features
        self._line_spread = self._has_feature_error = True

    def _eta(self, rows: slice) -> tuple[Array, Array]:
        line = self._true.line(np.asarray(self._rows.take(rows), dtype=np.float64), self._error[rows])
        return line.mean, line.parameters + line.feature_error

    def _drawn_eta(
        self, rows: slice, coefficients: Array, nodes: NDArray[np.intp], rng: np.random.Generator
    ) -> Array:
        X = np.asarray(self._rows.take(rows), dtype=np.float64)
        mean, variance = self._true.drawn(nodes, rng).line(X, self._error[rows]).drawn(rng)
        return mean + np.sqrt(variance) * rng.standard_normal(mean.shape)


def new_rows(
    likelihood: Likelihood,
    posterior: Posterior,
    noise_model: NoiseModel,
    X: NDArray[np.floating],
    features: NDArray[np.intp] | None,
    *,
    counts: object = None,
    y_err: object = None,
    columns: Mapping[str, Array],
    feature_error: Array | None,
    include_noise: bool,
    seed: int,
    index: Any = None,
) -> PredictiveDistribution:
    """Return the distribution of new measurements, or of the line.

    Parameters
    ----------
    likelihood : Likelihood
    posterior : Posterior
        On the data's scale.
    noise_model : NoiseModel
        For noise that is added to the line.
    X : ndarray of shape (n, k)
    features : ndarray of intp or None
        Columns of X that are features; None: all.
    counts, y_err : optional
        As given to predict.
    columns : mapping of str to ndarray
        Columns of X that hold them, by the estimator's arguments.
    feature_error : ndarray of shape (q, q) or (n, q, q), optional
        Covariances of the errors of the rows' features, those with the target's error, of which the line alone knows
        nothing, in a last column if there are any; None: the features are true.
    include_noise : bool
    seed, index
        As for `LinearPredictive`.

    Raises
    ------
    TypeError, ValueError
        For bad input, naming the argument, and for noise of a likelihood of no family.
    """
    include_noise = check_flag(include_noise, "include_noise")
    family = likelihood.known_family() if include_noise else None
    if include_noise:
        posterior = posterior.sharing(noise_model.sharing(posterior.noise_scale))
    posterior, of_features, by_row = RowErrors.of(posterior, feature_error, len(X))
    if likelihood.counted:
        known = new_counts(len(X), likelihood.name, counts, y_err, columns)
        what: dict[str, Any] = {
            "dispersion": posterior.auxiliary["dispersion"] if family == "beta_binomial" else None,
            "counts": known if include_noise else None,
            "counts_in_fit": 1.0 if noise_model.kind == "none" else None,
        }
        if by_row is not None:
            return MeasuredSharePredictive(by_row, posterior, X, features, seed, index, **what)
        return SharePredictive(posterior, X, features, seed, index, feature_error=of_features, **what)
    stated = noise_model.check(len(X), counts, y_err, columns)
    if by_row is None:
        line = LinearPredictive(posterior, X, features, {}, seed, index, of_features)
    else:
        line = MeasuredPredictive(by_row, posterior, X, features, {}, seed, index)
    if not include_noise:
        return line
    noise = noise_model.parts(line.mean() if "counts" in stated else None, **stated)
    if family == "normal":
        return line.with_noise(noise)
    nu = likelihood.degrees_of_freedom(posterior.auxiliary)
    if by_row is not None:
        return MeasuredStudentTPredictive(nu, by_row, posterior, X, features, noise, seed, index)
    return StudentTPredictive(nu, posterior, X, features, noise, seed, index, of_features)
