"""Point predictions, intervals, quantiles and draws: whatever derives from `predict_distribution`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .predictive import PredictiveDistribution

Array = NDArray[np.float64]


class PredictionMixin:
    """Predictions of an estimator that has `predict_distribution`."""

    predict_distribution: Callable[..., PredictiveDistribution]

    def predict(
        self,
        X: ArrayLike,
        return_std: bool = False,
        return_cov: bool = False,
        *,
        counts: ArrayLike | float | None = None,
        y_err: ArrayLike | float | None = None,
        X_err: ArrayLike | float | None = None,
        X_cov: ArrayLike | None = None,
        include_noise: bool = True,
    ) -> Array | tuple[Array, Array]:
        """Predict the target of new measurements.

        Parameters
        ----------
        X : array-like of shape (n, k)
            The columns that fit had.
        return_std : bool, default=False
            Whether to return the standard deviation of each new measurement as well.
        return_cov : bool, default=False
            Whether to return the covariance of all of them instead.
        counts : float or array-like of shape (n,), optional
            The counts behind the new shares, for a model fitted with counts; the error is taken at the predicted
            share.
        y_err : float or array-like of shape (n,), optional
            The standard errors of the new measurements. Without counts or y_err (or a column of X that holds them) a
            new measurement is taken to be as uncertain as the training rows were, in root mean square.
        X_err : float or array-like of shape (p,) or (n, p), optional
            Standard errors of the new rows' features, which are then measurements themselves: the answer averages
            over the true features given the measured ones. Without them the features are taken as true.
        X_cov : array-like of shape (p, p) or (n, p, p), optional
            Covariances of these errors instead.
        include_noise : bool, default=True
            Whether the answer is of a new measurement; False: of the regression line alone.

        Returns
        -------
        mean : ndarray of shape (n,)
        std : ndarray of shape (n,), or cov : ndarray of shape (n, n)
            Only if asked for.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.
        """
        if return_std and return_cov:
            raise ValueError("At most one of return_std and return_cov can be asked for.")
        distribution = self.predict_distribution(
            X,
            counts=counts,
            y_err=y_err,
            X_err=X_err,
            X_cov=X_cov,
            include_noise=include_noise and (return_std or return_cov),
        )
        if return_std:
            return distribution.mean_and_std()
        if return_cov:
            return distribution.mean(), distribution.covariance()
        return distribution.mean()

    def predict_interval(self, X: ArrayLike, coverage: float = 0.95, **predict_params: Any) -> Array:
        """Return equal-tailed intervals.

        Parameters
        ----------
        X : array-like of shape (n, k)
        coverage : float, default=0.95
            Probability that a new measurement lies inside.
        **predict_params
            ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``include_noise`` as for `predict`.

        Returns
        -------
        ndarray of shape (n, 2)
            Lower and upper limits.
        """
        return np.column_stack(self.predict_distribution(X, **predict_params).interval(coverage))

    def predict_quantiles(
        self, X: ArrayLike, quantiles: ArrayLike = (0.05, 0.5, 0.95), **predict_params: Any
    ) -> Array:
        """Return quantiles.

        Parameters
        ----------
        X : array-like of shape (n, k)
        quantiles : float or array-like of shape (q,), default=(0.05, 0.5, 0.95)
            Probabilities.
        **predict_params
            ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``include_noise`` as for `predict`.

        Returns
        -------
        ndarray of shape (n, q)
        """
        probabilities = np.atleast_1d(np.asarray(quantiles))
        return self.predict_distribution(X, **predict_params).ppf(probabilities[:, None]).T

    def sample_y(
        self,
        X: ArrayLike,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        **predict_params: Any,
    ) -> Array:
        """Draw new measurements; each column is one draw of the line, with noise row by row.

        Parameters
        ----------
        X : array-like of shape (n, k)
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            None: the seed that fit settled, so that the draws are the same every time.
        **predict_params
            ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``include_noise`` as for `predict`.

        Returns
        -------
        ndarray of shape (n, n_samples)
        """
        return self.predict_distribution(X, **predict_params).sample(n_samples, random_state)
