"""Point predictions, intervals, quantiles and draws: whatever derives from `predict_distribution`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from ..measurements.checks import check_flag, check_probabilities, check_vector, read_table, read_target
from ..measurements.messages import hinting
from ..prediction.distribution import PredictiveDistribution
from ..prediction.inverse.distribution import InversePredictive, Prior
from .calibration.inverse import inverse_predict
from .errors.at_true_values import new_errors
from .fitted import FittedModel

Array = NDArray[np.float64]


class PredictionMixin:
    """Predictions of an estimator that keeps a `FittedModel`."""

    _fitted: FittedModel

    @hinting
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
        Xy_cov: ArrayLike | None = None,
        X_censored: ArrayLike | None = None,
        exposure: ArrayLike | float | None = None,
        y_shared_err: ArrayLike | None = None,
        y_cov_with_train: ArrayLike | None = None,
        include_noise: bool = True,
    ) -> Array | tuple[Array, Array]:
        """Predict the target of new measurements.

        Parameters
        ----------
        X : array-like of shape (n, k)
            The columns that fit had. With ``missing="model"`` NaN in a feature that had errors, or NaN, in fit is
            integrated over given the others.
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
            Standard errors of the new rows' features: the answer averages over the true features given the measured
            ones; 0 says that a feature is true. Without X_err, X_cov or columns of X that hold errors, features are
            taken to be measured as the training rows' were: with their common error, or its root mean square where
            rows differ (the mean covariance). Where fit had ``Xy_cov``, they then share their error with the
            measurement, unless y_err is given; errors that are stated are independent of the measurement's, unless
            Xy_cov is given.
        X_cov : array-like of shape (p, p) or (n, p, p), optional
            Covariances of these errors instead.
        Xy_cov : array-like of shape (p,) or (n, p), optional
            Covariance of each feature's error with that of y, as in fit; with y_err, and X_err or X_cov.
        X_censored : array-like of shape (n, p), optional
            -1 where a reading lies at or below X, 1 where it lies above, 0 where it is X, of features that had
            errors, NaN or limits in fit: the answer averages over what the reading may be.
        exposure : float or array-like of shape (n,), optional
            What events are to be counted over, of a model of events: the answer is then of their number, without it
            of their rate, in events per unit of exposure. Where fit had no exposures they are one here, too.
        y_shared_err : array-like of shape (n,) or (n, k), optional
            Of a model that was fitted with it, what the same shared errors do to the new measurements, beside their
            own y_err: they are known as well as the training rows determine them. Without it new measurements have
            nothing in common with those: of another night.
        y_cov_with_train : array-like of shape (n, n_train), optional
            Of a model that was fitted with ``y_cov``, the covariance of the new measurements' errors with those of
            the training rows, of which y_err is the whole error. Given those the new errors are taken to be
            independent of each other. A fit keeps what that takes, rows and covariance, where its blocks have no more
            than 1,024 x 1,024 numbers.
        include_noise : bool, default=True
            Whether the answer is of a new measurement; False: of the regression line alone, at the true features
            behind those measured.

        Returns
        -------
        mean : ndarray of shape (n,)
        std : ndarray of shape (n,), or cov : ndarray of shape (n, n)
            Only if asked for.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> X, y, y_err = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8], [0.1, 0.2, 0.2, 0.4]
        >>> model = BayesianErrorsInVariablesRegressor().fit(X, y, y_err=y_err)
        >>> mean, std = model.predict([[1.5], [9.0]], return_std=True, y_err=0.1)
        >>> mean.round(1), std.round(1)
        (array([ 3. , 17.7]), array([0.3, 1.2]))
        """
        return_std, return_cov = check_flag(return_std, "return_std"), check_flag(return_cov, "return_cov")
        include_noise = check_flag(include_noise, "include_noise")
        if return_std and return_cov:
            raise ValueError("At most one of return_std and return_cov can be asked for.")
        check_is_fitted(self)
        distribution = self.predict_distribution(
            X,
            counts=counts,
            y_err=y_err,
            X_err=X_err,
            X_cov=X_cov,
            Xy_cov=Xy_cov,
            X_censored=X_censored,
            exposure=exposure,
            y_shared_err=y_shared_err,
            y_cov_with_train=y_cov_with_train,
            # The mean needs it where the target's error goes with others.
            include_noise=include_noise
            and (
                return_std
                or return_cov
                or self._fitted.errors_go_together
                or any(given is not None for given in (Xy_cov, y_shared_err, y_cov_with_train))
            ),
        )
        if return_std:
            return distribution.mean_and_std()
        if return_cov:
            return distribution.mean(), distribution.covariance()
        return distribution.mean()

    @hinting
    def predict_distribution(
        self,
        X: ArrayLike,
        *,
        counts: ArrayLike | float | None = None,
        y_err: ArrayLike | float | None = None,
        X_err: ArrayLike | float | None = None,
        X_cov: ArrayLike | None = None,
        Xy_cov: ArrayLike | None = None,
        X_censored: ArrayLike | None = None,
        exposure: ArrayLike | float | None = None,
        y_shared_err: ArrayLike | None = None,
        y_cov_with_train: ArrayLike | None = None,
        include_noise: bool = True,
    ) -> PredictiveDistribution:
        """Return the predictive distribution, from which all else derives.

        Parameters
        ----------
        X, counts, y_err, X_err, X_cov, Xy_cov, X_censored, exposure, y_shared_err, y_cov_with_train, include_noise
            As for `predict`.

        Returns
        -------
        PredictiveDistribution
            With ``mean() std() var() pdf logpdf cdf ppf interval sample crps to_frame`` and ``variance_parts``.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> distribution = model.predict_distribution([[1.5]])
        >>> distribution.cdf(4.0).round(2)  # the probability of a reading of no more than 4
        array([0.93])
        """
        check_is_fitted(self)
        index = getattr(X, "index", None) if hasattr(X, "iloc") else None
        stated = counts is not None or not check_flag(include_noise, "include_noise")
        y_err, X_err = new_errors(self, X, y_err, X_err, stated=stated, X_cov=X_cov)
        of_features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "X_censored": X_censored}
        table, groupings = read_table(self, X), self._fitted.groupings
        return self._fitted.predictive(
            table,
            counts,
            y_err,
            of_features,
            include_noise=include_noise,
            index=index,
            exposure=exposure,
            members=None if groupings is None else groupings.members(X),
            in_common={"y_shared_err": y_shared_err, "y_cov_with_train": y_cov_with_train},
            complete=getattr(self, "missing", "model") == "error",
        )

    def predict_interval(self, X: ArrayLike, coverage: float = 0.95, **predict_params: Any) -> Array:
        """Return equal-tailed intervals.

        Parameters
        ----------
        X : array-like of shape (n, k)
        coverage : float, default=0.95
            Probability that a new measurement lies inside.
        **predict_params
            ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``Xy_cov``, ``X_censored``, ``exposure``,
            ``y_shared_err``, ``y_cov_with_train``, ``include_noise`` as for `predict`.

        Returns
        -------
        ndarray of shape (n, 2)
            Lower and upper limits.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_interval([[1.5]], 0.9).round(1)
        array([[1.7, 4.3]])
        >>> model.predict_interval([[1.5]], 0.9, include_noise=False).round(1)  # of the line alone
        array([[2.4, 3.6]])
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
            ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``Xy_cov``, ``X_censored``, ``exposure``,
            ``y_shared_err``, ``y_cov_with_train``, ``include_noise`` as for `predict`.

        Returns
        -------
        ndarray of shape (n, q)

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.predict_quantiles([[1.5], [9.0]], [0.25, 0.5, 0.75]).round(1)
        array([[ 2.7,  3. ,  3.3],
               [16.3, 17.3, 18.2]])
        """
        probabilities = check_probabilities(quantiles, "quantiles")
        if probabilities.ndim > 1:
            raise ValueError(
                f"quantiles has shape {probabilities.shape}: give one number, or a list of them."
            )
        probabilities = np.atleast_1d(probabilities)
        return self.predict_distribution(X, **predict_params).ppf(probabilities[:, None]).T

    @hinting
    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_censored: ArrayLike | None = None,
        exposure: ArrayLike | float | None = None,
    ) -> float:
        """Return the coefficient of determination R^2 of the predicted means.

        Numbers of events are held against expected numbers, over the exposures given, never rates against rates.

        Parameters
        ----------
        X : array-like of shape (n, k)
            The columns that fit had.
        y : array-like of shape (n,)
            Measured values.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in the sums; no counts or errors follow from them. Rows whose ``count_column`` is 0
            are left out, their y may be NaN; so are rows that ``y_censored_column`` says are limits.
        X_censored : array-like of shape (n, p), optional
            Which cells of X are limits, as for `predict`.
        exposure : float or array-like of shape (n,), optional
            What the events in y were counted over, if no column of X holds it.

        Returns
        -------
        float
            1 is perfect, 0 no better than the mean of y; NaN of fewer than two rows.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> round(model.score([[0.5], [2.5]], [1.2, 4.6]), 3)
        0.989
        """
        check_is_fitted(self)
        self._fitted.check_exposed(exposure)
        distribution = self.predict_distribution(
            X, X_censored=X_censored, exposure=exposure, include_noise=self._fitted.errors_go_together
        )
        predicted, measured = distribution.mean(), distribution.measured
        target = read_target(y, self, n=len(predicted), weight=measured)
        # Others are limits, or rows to predict.
        known = ~np.isnan(target)
        if distribution.censored is not None:
            known &= distribution.censored == 0.0
        if not known.all():
            measured = known if measured is None else known & measured
        weight = None if sample_weight is None else check_vector(sample_weight, len(target), "sample_weight")
        if weight is not None:
            weight = np.broadcast_to(weight, target.shape)
        if measured is not None:
            target, predicted = target[measured], predicted[measured]
            weight = None if weight is None else weight[measured]
        if not len(target):
            return float("nan")
        # In units of the largest target, a power of two of them, squares of targets can't overflow; those of
        # predictions far from all targets may: minus infinity.
        unit = min(0, -int(np.frexp(np.abs(target).max())[1]))
        with np.errstate(over="ignore"):
            return float(r2_score(np.ldexp(target, unit), np.ldexp(predicted, unit), sample_weight=weight))

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
            ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``Xy_cov``, ``X_censored``, ``exposure``,
            ``y_shared_err``, ``y_cov_with_train``, ``include_noise`` as for `predict`.

        Returns
        -------
        ndarray of shape (n, n_samples)

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.sample_y([[1.5], [9.0]], n_samples=1000, random_state=0).shape
        (2, 1000)
        """
        return self.predict_distribution(X, **predict_params).sample(n_samples, random_state)

    @hinting
    def inverse_predict(
        self,
        y: ArrayLike,
        *,
        feature: str | int | None = None,
        X: Any = None,
        y_err: ArrayLike | float | None = None,
        counts: ArrayLike | float | None = None,
        exposure: ArrayLike | float | None = None,
        prior: Prior | None = None,
    ) -> InversePredictive:
        """Return the distribution of a feature behind new readings of the target.

        Parameters
        ----------
        y, feature, X, y_err, counts, exposure, prior
            As for the function `inverse_predict`, which takes Pipelines and searches as well.

        Returns
        -------
        InversePredictive

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Warns
        -----
        UserWarning
            As the function.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> dose, reading = [[0.0], [1.0], [2.0], [4.0], [8.0]], [0.1, 2.1, 3.9, 8.1, 15.9]
        >>> model = BayesianErrorsInVariablesRegressor().fit(dose, reading, y_err=0.1)
        >>> model.inverse_predict([5.0], y_err=0.1).to_frame().round(1)
            x0  std  lower_95%  upper_95%
        0  2.5  0.1        2.3        2.6
        """
        return inverse_predict(
            self, y, feature=feature, X=X, y_err=y_err, counts=counts, exposure=exposure, prior=prior
        )
