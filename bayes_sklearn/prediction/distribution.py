"""The predictive distribution: every prediction derives from it.

One mixture per row, evaluated in blocks of rows, so that nothing of size rows x nodes exists. What family of mixtures
it is (normal here) is known to the object that `_mixture` returns alone.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inference.posterior import row_blocks
from ..measurements.checks import as_floats, check_coverage, check_probabilities, check_seed
from ..measurements.messages import shown
from .mixtures.normal import Mixture, Repeatable

__all__ = ["PredictiveDistribution"]

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

# Rows times values of each up to which these are taken together.
_STACKED = 16


class PredictiveDistribution(ABC):
    """Distribution of the target at n rows, in the style of scipy's frozen distributions.

    Arguments called `y` and `q` are broadcast against the n rows: a number, (n,), or (k, n); the answer has the shape
    that comes of it. What is no number raises a TypeError, another shape a ValueError.

    Means, standard deviations, quantiles, limits and draws are in the unit of y, variances in its square, densities
    per unit of y.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8]
    >>> model = BayesianErrorsInVariablesRegressor().fit(X, y, y_err=0.2)
    >>> distribution = model.predict_distribution([[1.5], [9.0]])
    >>> len(distribution), sorted(distribution.variance_parts)
    (2, ['finite_count', 'parameters', 'scatter', 'target_error'])
    """

    index: Any = None
    """Row labels for `to_frame`."""
    measured: NDArray[np.bool_] | None = None
    """(n,) rows whose count is not 0, where some are; scores leave the others out. None: all rows."""
    censored: Array | None = None
    """(n,) -1: the target is known to be what is given or less, 1: above, 0: it was measured; None: all were.

    Log scores are probabilities of that; scores that need a value leave such rows out."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows, n.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> len(model.predict_distribution([[1.5], [9.0]]))
        2
        """

    @abstractmethod
    def mean(self) -> Array:
        """Return the means, (n,), in the unit of y.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).mean().round(1)
        array([ 3. , 16.9])
        """

    @abstractmethod
    def var(self) -> Array:
        """Return the variances, (n,), in the squared unit of y.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).var().round(1)
        array([ 0.9, 10.7])
        """

    @abstractmethod
    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n), in the squared unit of y.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).covariance().shape
        (2, 2)
        """

    @abstractmethod
    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples), in the unit of y.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).sample(1000, random_state=0).shape
        (2, 1000)
        """

    @abstractmethod
    def _mixture(self, rows: slice) -> Mixture:
        """Return the distributions of some rows."""

    @property
    @abstractmethod
    def _width(self) -> int:
        """How many numbers a row takes while its mixture is evaluated."""

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of: names to (n,) parts of `var()`, in the squared unit of y."""
        return {"total": self.var()}

    def std(self) -> Array:
        """Return the standard deviations, (n,), in the unit of y.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).std().round(1)
        array([1. , 3.3])
        """
        return np.sqrt(self.var())

    def mean_and_std(self) -> tuple[Array, Array]:
        """Return `mean()` and `std()`, (n,) each, in one pass over the rows where there is one.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).mean_and_std()[1].round(1)
        array([1. , 3.3])
        """
        return self.mean(), self.std()

    def logpdf(self, y: ArrayLike) -> Array:
        """Return the log density at y, (n,) or (k, n): in nats, of a density per unit of y.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).logpdf([3.5, 16.0]).round(1)
        array([-1.1, -2.2])
        """
        return self._by_row(lambda mixture, value: mixture.log_density(value), y)

    def pdf(self, y: ArrayLike) -> Array:
        """Return the density at y, (n,) or (k, n), per unit of y.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).pdf([3.5, 16.0]).round(1)
        array([0.3, 0.1])
        """
        return np.exp(self.logpdf(y))

    def cdf(self, y: ArrayLike) -> Array:
        """Return the probability of a target at or below y, (n,) or (k, n).

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).cdf([3.5, 16.0]).round(2)
        array([0.84, 0.21])
        """
        return self._by_row(lambda mixture, value: mixture.cdf(value), y)

    def pit(self, y: ArrayLike) -> Array:
        """Return the probability integral transform at y, (n,) or (k, n): of a continuous distribution, its `cdf`.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).pit([3.5, 16.0]).round(2)
        array([0.84, 0.21])
        """
        return self.cdf(y)

    def of_measurements(self) -> PredictiveDistribution:
        """Return the distribution of what is measured, which scores are of.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).of_measurements().mean().round(1)
        array([ 3. , 16.9])
        """
        return self

    def ppf(self, q: ArrayLike) -> Array:
        """Return the quantiles of probability q, (n,) or (k, n), in the unit of y.

        Raises
        ------
        ValueError
            Where a probability is outside [0, 1].

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).ppf(0.5).round(1)
        array([ 3. , 17.3])
        """
        probabilities = check_probabilities(q, "quantiles")
        return self._by_row(
            lambda mixture, probability: mixture.quantile(probability), probabilities, "quantiles"
        )

    def interval(self, coverage: float = 0.95) -> tuple[Array, Array]:
        """Return the lower and upper limits of equal-tailed intervals, (n,) each, in the unit of y.

        Raises
        ------
        ValueError
            Where the coverage is not between 0 and 1.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).interval(0.9)[0].round(1)  # the lower limits
        array([ 1.7, 11.3])
        """
        check_coverage(coverage)
        lower, upper = self.ppf(0.5 + np.array([[-0.5], [0.5]]) * coverage)
        return lower, upper

    def crps(self, y: ArrayLike) -> Array:
        """Return the continuous ranked probability score of each row at y, (n,) or (k, n); lower is better.

        It is in the unit of y; `metrics.crps` has its definition and source.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).crps([3.5, 16.0]).round(1)
        array([0.3, 0.8])
        """
        return self._by_row(lambda mixture, value: mixture.crps(value), y)

    def to_frame(self, coverage: float = 0.95, *, variance_parts: bool = False) -> pd.DataFrame:
        """Return a data frame: y_pred, std and the limits of an interval.

        Parameters
        ----------
        coverage : float, default=0.95
            Of the equal-tailed interval.
        variance_parts : bool, default=False
            Whether to add a column ``var_*`` for each of `variance_parts`.

        Returns
        -------
        pandas.DataFrame
            Of n rows; columns ``y_pred`` (the mean), ``std``, and the limits, in the unit of y.

        Raises
        ------
        ValueError
            Where the coverage is not between 0 and 1.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_distribution([[1.5], [9.0]]).to_frame(0.9).round(1)
           y_pred  std  lower_90%  upper_90%
        0     3.0  1.0        1.7        4.3
        1    16.9  3.3       11.3       20.4
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
            if 1 < len(stacked) <= _STACKED // len(self) and isinstance(mixture, Repeatable):
                # A call for each value costs more than all values at once.
                found = function(mixture.repeated(len(stacked)), stacked[:, rows].ravel())
                answer[:, rows] = found.reshape(len(stacked), -1)
                continue
            for i in range(len(stacked)):
                answer[i, rows] = function(mixture, stacked[i, rows])
        return answer.reshape(shape)


def generator(random_state: int | np.random.RandomState) -> np.random.Generator:
    """Return a NumPy generator for what scikit-learn takes as a random state."""
    return np.random.default_rng(check_seed(random_state).randint(2**31 - 1, size=4))
