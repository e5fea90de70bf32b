"""The predictive distribution: every prediction derives from it.

One mixture a row, evaluated in blocks of rows, so that nothing of size rows x nodes exists. What family of mixtures
it is (normal here) is known to the object that `_mixture` returns alone.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import as_floats, check_coverage, check_n_samples, check_probabilities, check_seed
from .errors import Parts
from .inference.compressed import Rows
from .inference.posterior import Posterior, line_mean, line_mean_and_variance, row_blocks
from .messages import shown
from .mixtures import Mixture, NormalMixture

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

__all__ = [
    "LinearPredictive",
    "NormalPredictive",
    "PredictiveDistribution",
    "predictive_distribution",
]


class PredictiveDistribution(ABC):
    """Distribution of the target at n rows, in the style of scipy's frozen distributions.

    Arguments called `y` and `q` are broadcast against the n rows: a number, (n,), or (k, n).
    """

    index: Any = None
    """Row labels for `to_frame`."""
    measured: NDArray[np.bool_] | None = None
    """(n,) rows whose count is not 0, where some are; scores leave the others out. None: all rows."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows, n."""

    @abstractmethod
    def mean(self) -> Array:
        """Return the means, (n,)."""

    @abstractmethod
    def var(self) -> Array:
        """Return the variances, (n,)."""

    @abstractmethod
    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n)."""

    @abstractmethod
    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples)."""

    @abstractmethod
    def _mixture(self, rows: slice) -> Mixture:
        """Return the distributions of some rows."""

    @property
    @abstractmethod
    def _width(self) -> int:
        """How many numbers a row takes while its mixture is evaluated."""

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of: name to (n,) variances that add up to `var()`."""
        return {"total": self.var()}

    def std(self) -> Array:
        """Return the standard deviations, (n,)."""
        return np.sqrt(self.var())

    def mean_and_std(self) -> tuple[Array, Array]:
        """Return `mean()` and `std()`, in one pass over the rows where there is one."""
        return self.mean(), self.std()

    def logpdf(self, y: ArrayLike) -> Array:
        """Return the log density at y."""
        return self._by_row(lambda mixture, value: mixture.log_density(value), y)

    def pdf(self, y: ArrayLike) -> Array:
        """Return the density at y."""
        return np.exp(self.logpdf(y))

    def cdf(self, y: ArrayLike) -> Array:
        """Return the probability of a target at or below y."""
        return self._by_row(lambda mixture, value: mixture.cdf(value), y)

    def pit(self, y: ArrayLike) -> Array:
        """Return the probability integral transform at y: of a continuous distribution, its `cdf`."""
        return self.cdf(y)

    def of_measurements(self) -> PredictiveDistribution:
        """Return the distribution of what is measured, which scores are of."""
        return self

    def ppf(self, q: ArrayLike) -> Array:
        """Return the quantiles of probability q.

        Raises
        ------
        ValueError
            Where a probability is outside [0, 1].
        """
        probabilities = check_probabilities(q, "quantiles")
        return self._by_row(
            lambda mixture, probability: mixture.quantile(probability), probabilities, "quantiles"
        )

    def interval(self, coverage: float = 0.95) -> tuple[Array, Array]:
        """Return the lower and upper limits of equal-tailed intervals, (n,) each.

        Raises
        ------
        ValueError
            Where the coverage is not between 0 and 1.
        """
        check_coverage(coverage)
        lower, upper = self.ppf(0.5 + np.array([[-0.5], [0.5]]) * coverage)
        return lower, upper

    def crps(self, y: ArrayLike) -> Array:
        """Return the continuous ranked probability score of each row at y (lower is better, in y's unit)."""
        return self._by_row(lambda mixture, value: mixture.crps(value), y)

    def to_frame(self, coverage: float = 0.95, *, variance_parts: bool = False) -> pd.DataFrame:
        """Return a data frame: y_pred, std and the limits of an interval.

        Parameters
        ----------
        coverage : float, default=0.95
            Of the equal-tailed interval.
        variance_parts : bool, default=False
            Whether to add a column ``var_*`` for each of `variance_parts`.
        """
        import pandas as pd

        lower, upper = self.interval(coverage)
        label = f"{100.0 * coverage:g}%"
        columns = {
            "y_pred": self.mean(),
            "std": self.std(),
            f"lower_{label}": lower,
            f"upper_{label}": upper,
        }
        if variance_parts:
            columns |= {f"var_{name}": part for name, part in self.variance_parts.items()}
        return pd.DataFrame(columns, index=self.index)

    def _by_row(
        self, function: Callable[[Mixture, Array], Array], value: ArrayLike, name: str = "y"
    ) -> Array:
        """Apply a function of (mixture, value) to blocks of rows."""
        try:
            values = as_floats(value)
        except TypeError:
            raise TypeError(f"{name} must be real numbers, got {shown(value)}.") from None
        if values.ndim and values.shape[-1] not in (1, len(self)):
            raise ValueError(
                f"{name} must be one number for each of {len(self)} rows, got shape {values.shape}."
            )
        shape = np.broadcast_shapes(values.shape, (len(self),))
        stacked = np.broadcast_to(values, shape).reshape(int(np.prod(shape[:-1])), len(self))
        answer = np.empty(stacked.shape)
        for rows in row_blocks(len(self), self._width):
            mixture = self._mixture(rows)
            for i in range(len(stacked)):
                answer[i, rows] = function(mixture, stacked[i, rows])
        return answer.reshape(shape)


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


def generator(random_state: int | np.random.RandomState) -> np.random.Generator:
    """Return a NumPy generator for what scikit-learn takes as a random state."""
    return np.random.default_rng(check_seed(random_state).randint(2**31 - 1, size=4))


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


def predictive_distribution(estimator: Any, X: Any, **predict_params: Any) -> PredictiveDistribution:
    """Return the predictive distribution of any fitted regressor that has one.

    Looks through fitted searches (GridSearchCV and the like) and Pipelines. A regressor without
    `predict_distribution` whose `predict` takes ``return_std`` (BayesianRidge, ARDRegression,
    GaussianProcessRegressor) gives Normal(mean, std).

    Parameters
    ----------
    estimator : fitted regressor, Pipeline or search
    X : array-like of shape (n, k)
        New rows, as for the estimator's predict.
    **predict_params
        Passed to the regressor at the end: ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``include_noise``.

    Returns
    -------
    PredictiveDistribution

    Raises
    ------
    TypeError
        For a regressor without standard deviations, and for TransformedTargetRegressor.
    ValueError
        For a search fitted with ``refit=False``.

    Examples
    --------
    >>> from sklearn.linear_model import BayesianRidge
    >>> from bayes_sklearn import predictive_distribution
    >>> model = BayesianRidge().fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.1, 1.9, 3.2])
    >>> predictive_distribution(model, [[4.0]]).interval(0.9)[0].shape
    (1,)
    """
    regressor, X = final_regressor(estimator, X)
    if hasattr(regressor, "predict_distribution"):
        return regressor.predict_distribution(X, **predict_params)
    predict = getattr(regressor, "predict", None)
    if predict is None or "return_std" not in inspect.signature(predict).parameters:
        raise TypeError(
            f"{type(regressor).__name__} has no predictive distribution: its predict takes no return_std. Use"
            " BayesianErrorsInVariablesRegressor, BayesianRidge, ARDRegression or GaussianProcessRegressor."
        )
    mean, std = regressor.predict(X, return_std=True, **predict_params)
    return NormalPredictive(mean, std)


def final_regressor(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the regressor at the end of fitted searches and Pipelines, and X as it gets it.

    Raises
    ------
    TypeError, ValueError
        As `predictive_distribution`.
    """
    name = type(estimator).__name__
    if hasattr(estimator, "predict_distribution"):
        return estimator, X
    if hasattr(estimator, "transformer_") or name == "TransformedTargetRegressor":
        raise TypeError(
            "TransformedTargetRegressor gives no predictive distribution: standard deviations don't pass through its"
            " inverse transform. Use the regressor without it (BayesianErrorsInVariablesRegressor standardises the"
            " target itself), or transform y before fit and the limits of intervals after predict."
        )
    if hasattr(estimator, "best_estimator_"):
        return final_regressor(estimator.best_estimator_, X)
    if hasattr(estimator, "cv_results_") or (hasattr(estimator, "refit") and not estimator.refit):
        raise ValueError(f"{name} was fitted with refit=False: there is no refitted model to predict with.")
    if hasattr(estimator, "steps") and hasattr(estimator, "named_steps"):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        return final_regressor(estimator.steps[-1][1], X)
    return estimator, X
