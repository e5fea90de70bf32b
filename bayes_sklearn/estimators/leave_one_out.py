"""Leave-one-out of a fitted estimator, as ArviZ has it.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.utils.validation import check_is_fitted

from ..inference._compat import Weights, elpd_data, good_pareto_k, psis_weights, relative_efficiency
from ..inference.exact.leave_one_group_out import leave_one_group_out
from ..inference.exact.leave_one_out import LeaveOneOut, leave_one_out
from ..inference.problem import Problem
from ..likelihoods.registry import check_takes_exposure
from ..measurements.checks import read_table, read_target
from ..measurements.messages import hinting, shown, warn
from ..prediction.draws import Draws
from ..prediction.rows_given_draws import GivenDraws
from .errors.at_true_values import training_errors
from .fitted import FittedModel
from .observed import check_errors_given, drawn, given_draws, observed_rows, training_problem

__all__ = ["LeaveOneOutMixin"]

Array = NDArray[np.float64]

# This part of a coefficient, or of the target a standard deviation of the feature, is rounding beside it.
_ROUNDING = 1e-8


class LeaveOneOutMixin:
    """`loo` and `loo_pit` of an estimator that keeps a `Posterior`."""

    inference_: str
    _fitted: FittedModel
    _parameters: Callable[[Draws], dict[str, tuple[tuple[str, ...], NDArray[Any]]]]

    @hinting
    def loo(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        y_err: ArrayLike | float | None = None,
        X_err: ArrayLike | float | None = None,
        X_cov: ArrayLike | None = None,
        Xy_cov: ArrayLike | None = None,
        X_censored: ArrayLike | None = None,
        exposure: ArrayLike | float | None = None,
        y_censored: ArrayLike | None = None,
        y_upper: ArrayLike | None = None,
        leave_out: str = "row",
        y_cov: ArrayLike | None = None,
        y_shared_err: ArrayLike | None = None,
    ) -> Any:
        """Return how well each training row is predicted by the model fitted to the others.

        Parameters
        ----------
        X, y, sample_weight, y_err, X_err, X_cov, Xy_cov, X_censored, exposure, y_censored, y_upper
            The training rows, as given to `fit`: the model does not keep them.
        leave_out : str, default="row"
            What is left out: each row, or "group", all rows of each group; of several groupings the name of a column
            of ``group_column``. Values are then a group's, of all its targets together, after exact fits by a fit to
            the others each.
        y_cov, y_shared_err
            Their correlated errors, likewise: each row is then given the errors of the others, too.

        Returns
        -------
        arviz.ELPDData, or an object with the names of ArviZ 1.x where ArviZ is not installed
            For ``az.compare``, with one value per row, of the log density of y in its own unit (of a share k / n: the
            log of its probability times n), sums of them, their standard error, and the effective number of
            parameters: ``loo_i``, ``elpd_loo``, ``se`` and ``p_loo`` with ArviZ 0.x; ``elpd_i``, ``elpd``, ``se`` and
            ``p`` with ArviZ 1.x.

            After an exact fit they are exact: no refits, no draws and no ``pareto_k`` (``n_samples`` is the number
            of nodes of the noise scale). Otherwise they are Pareto-smoothed, from the draws of `to_arviz`,
            with the true features integrated out.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument; for rows that are not the training rows (exact fits); where the
            posterior without one of the rows is improper; for frequencies below one (other than exact fits).

        Warns
        -----
        UserWarning
            Where Pareto k is too large for the values to be trusted.

        Notes
        -----
        What is left out is one copy of a row: of a row of frequency k, k - 1 stay. Its value is multiplied by k, so
        that sums are those of a table that has the row k times; standard errors take rows as the units that might
        have come out otherwise. Of a row of frequency below one, all is left out. Rows of weight zero have no value.

        Where features have errors, a row's target is left out: what was measured of its features stays, and says
        something of the true features' distribution.

        Standardising and the errors of shares stay as they were settled with all rows. See (41) to (44) in
        ``docs/maths.md``; PSIS: Vehtari, Gelman & Gabry 2017, Statistics and Computing 27:1413-1432.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> X, y = [[0.0], [1.0], [3.0], [4.0]], [0.1, 0.9, 3.2, 3.9]
        >>> model = BayesianErrorsInVariablesRegressor().fit(X, y)
        >>> model.loo(X, y)["n_data_points"]
        4
        """
        check_is_fitted(self)
        y_err, X_err = training_errors(self, X, y, y_err, X_err)
        of_target = {"y_err": y_err, "exposure": exposure, "y_censored": y_censored, "y_upper": y_upper}
        together = {"y_cov": y_cov, "y_shared_err": y_shared_err}  # exact fits alone have them
        self._check_available(X, y, sample_weight, {**of_target, **together})
        of_features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "X_censored": X_censored}
        if leave_out != "row":
            return self._groups_left_out(leave_out, X, y, sample_weight, of_target, of_features)
        if self.inference_ != "exact":
            observed = observed_rows(self, X, y, sample_weight, of_target, of_features)
            return self._smoothed(given_draws(self, observed, drawn(self)[0]))
        labels, found = self._exactly(X, y, sample_weight, {**of_target, **together}, of_features)
        values = found.frequency * found.log_density
        p = float(found.frequency @ (found.log_density_with - found.log_density))
        return elpd_data(values, labels, p=p, n_samples=found.n_nodes)

    @hinting
    def loo_pit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        y_err: ArrayLike | float | None = None,
        X_err: ArrayLike | float | None = None,
        X_cov: ArrayLike | None = None,
        Xy_cov: ArrayLike | None = None,
        X_censored: ArrayLike | None = None,
        exposure: ArrayLike | float | None = None,
        y_censored: ArrayLike | None = None,
        y_upper: ArrayLike | None = None,
        y_cov: ArrayLike | None = None,
        y_shared_err: ArrayLike | None = None,
    ) -> Array:
        """Return the probability integral transform of each training row under the model fitted to the others.

        Where the model is right the values are uniform on [0, 1]; see `metrics.pit` and `metrics.pit_error`.

        Parameters
        ----------
        X, y, sample_weight, y_err, X_err, X_cov, Xy_cov, X_censored, exposure, y_censored, y_upper
            The training rows, as given to `fit`: the model does not keep them.
        y_cov, y_shared_err
            Their correlated errors, likewise: each row is then given the errors of the others, too.

        Returns
        -------
        ndarray of shape (n,)
            The probability of less than each target, and half of that of a share itself where shares are discrete.
            Of rows of weight zero NaN.

            After an exact fit they are exact. Otherwise they are from the draws of `to_arviz`, with the
            Pareto-smoothed weights that `loo` has, and with the true features integrated out.

        Raises
        ------
        ValueError, TypeError
            As `loo`.

        Warns
        -----
        UserWarning
            Where Pareto k is too large for the values to be trusted.

        Notes
        -----
        What is left out, and what stays as it was settled with all rows, is as for `loo`. Beta-binomial probabilities
        take time in proportion to the counts. See (46) and (47) in ``docs/maths.md``.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> X, y = [[0.0], [1.0], [3.0], [4.0]], [0.1, 0.9, 3.2, 3.9]
        >>> model = BayesianErrorsInVariablesRegressor().fit(X, y)
        >>> model.loo_pit(X, y).round(2)
        array([0.44, 0.31, 0.76, 0.47])
        """
        check_is_fitted(self)
        y_err, X_err = training_errors(self, X, y, y_err, X_err)
        of_target = {"y_err": y_err, "exposure": exposure, "y_censored": y_censored, "y_upper": y_upper}
        together = {"y_cov": y_cov, "y_shared_err": y_shared_err}  # exact fits alone have them
        self._check_available(X, y, sample_weight, {**of_target, **together})
        of_features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "X_censored": X_censored}
        if self.inference_ != "exact":
            draws, _ = drawn(self)
            observed = observed_rows(self, X, y, sample_weight, of_target, of_features)
            given = given_draws(self, observed, draws)
            values, used = self._reweighted(given), given.observed.used
        else:
            _, found = self._exactly(X, y, sample_weight, {**of_target, **together}, of_features)
            values, used = found.pit, found.rows
        answer = np.full(len(np.asarray(y)), np.nan)
        answer[used] = values
        return answer

    def _check_available(self, X: Any, y: Any, sample_weight: object, of_target: Mapping[str, Any]) -> None:
        """Refuse models that have no leave-one-out, and what is not the table that the model was fitted to."""
        check_is_fitted(self)
        table = read_table(self, X)
        weight = self._fitted.columns.held(table).get("count_column", sample_weight)
        read_target(y, self, n=len(table), weight=weight)
        check_errors_given(self, sample_weight, of_target)
        check_takes_exposure(self._fitted.likelihood, of_target.get("exposure"), self._fitted.columns.special)

    def _exactly(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: Any,
        of_target: Mapping[str, Any],
        of_features: Mapping[str, Any],
    ) -> tuple[NDArray[Any], LeaveOneOut]:
        """Return the labels of the rows that count, and what is known of each without it, after an exact fit."""
        problem, labels = training_problem(self, X, y, sample_weight, of_target, of_features)
        found = leave_one_out(problem, self._fitted.posterior.noise_scale / problem.noise_unit)
        self._check_same(problem, found.location)
        return labels, found

    def _groups_left_out(
        self,
        leave_out: str,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: Any,
        of_target: Mapping[str, Any],
        of_features: Mapping[str, Any],
    ) -> Any:
        """Return leave-one-group-out of an exact fit."""
        groupings = self._fitted.groupings
        names = () if groupings is None else groupings.names
        if leave_out == "group" and len(names) == 1:
            leave_out = names[0]
        if leave_out not in names or groupings is None:
            raise ValueError(
                f"leave_out={shown(leave_out)} must be 'row', or of a model with groups"
                f" {'a name in group_column' if len(names) > 1 else repr('group')}, got {shown(list(names))} there."
            )
        if self.inference_ != "exact":
            raise ValueError(
                f"leave_out={shown(leave_out)} is for exact fits. Use cross_val_score with cv=LeaveOneGroupOut() and"
                " a scorer of bayes_sklearn.metrics."
            )
        problem, _ = training_problem(self, X, y, sample_weight, of_target, of_features)
        grouping = names.index(leave_out)
        found = leave_one_group_out(problem, grouping)
        self._check_same(problem, found.location)
        labels, p = groupings.labels[grouping][found.groups], found.log_density_with - found.log_density
        return elpd_data(found.log_density, labels, p=float(p.sum()), n_samples=found.n_nodes)

    def _smoothed(self, given: GivenDraws) -> Any:
        """Return leave-one-out of draws, by Pareto-smoothed importance sampling."""
        frequency = np.asarray(given.observed.constant.get("sample_weight", np.ones(1)))
        log_density, log_density_with, pareto_k = np.empty((3, len(given.observed.y)))
        for rows, here, weights in self._weighted(given):
            found = here.log_density().T
            log_density[rows] = logsumexp(weights.log_weights + found, axis=1)
            log_density_with[rows] = logsumexp(found, axis=1) - np.log(found.shape[1])
            pareto_k[rows] = weights.pareto_k
        good_k = good_pareto_k(len(given.draws.location))
        self._warn_if_not_trusted(pareto_k, good_k)
        return elpd_data(
            frequency * log_density,
            given.observed.labels,
            p=float(np.sum(frequency * (log_density_with - log_density))),
            n_samples=len(given.draws.location),
            pareto_k=pareto_k,
            good_k=good_k,
        )

    def _weighted(self, given: GivenDraws) -> Iterator[tuple[slice, Any, Weights]]:
        """Yield rows, what they are given each draw, and weights that leave each of them out."""
        _check_whole_copies(given.observed.constant.get("sample_weight", np.ones(1)))
        parameters = {name: values for name, (_, values) in self._parameters(given.draws).items()}
        efficiency = relative_efficiency(parameters)
        for rows in given.blocks():
            here = given.at(rows)
            yield rows, here, psis_weights(here.log_density().T, efficiency)

    def _reweighted(self, given: GivenDraws) -> Array:
        """Return the transforms of the rows under draws that are weighted for each row, (47)."""
        transforms, pareto_k = np.empty((2, len(given.observed.y)))
        for rows, here, (log_weights, pareto_k[rows]) in self._weighted(given):
            transforms[rows] = np.einsum("ng,gn->n", np.exp(log_weights), here.transform())
        self._warn_if_not_trusted(pareto_k, good_pareto_k(len(given.draws.location)))
        # Weights sum to one but for rounding.
        return np.clip(transforms, 0.0, 1.0)

    def _warn_if_not_trusted(self, pareto_k: Array, good_k: float) -> None:
        """Warn of rows whose weights have too heavy a tail, and say what takes such rows for likelier."""
        high = int(np.count_nonzero(pareto_k > good_k))
        if high:
            warn(
                f"Leave-one-out is not to be trusted: Pareto k is above {good_k:.2f} in {high} rows, which the model"
                f" predicts badly without them. Look at them (pareto_k of `loo`)"
                f"{self._fitted.likelihood.takes_more}.",
            )

    def _check_same(self, problem: Problem, location: Array) -> None:
        """Refuse rows that do not give the posterior that the model has."""
        # Posterior means that differ by more than this, in standard deviations, are not of the same rows; nor where
        # few nodes stand for the scales of prior and scatter.
        # Less so where a scatter changes rows at the size of errors that they share, and at that of their own.
        scattered = self._fitted.told is not None and self._fitted.noise_model.noise.scatters
        same, about_same = 1e-4, 5e-2 if scattered else 1e-2
        scaling, fitted = problem.scaling, self._fitted.posterior
        coef = location[len(location) - len(scaling.x_scale) :] * scaling.y_scale / scaling.x_scale
        mean = np.append(0.0, coef)
        if problem.fit_intercept:
            mean[0] = scaling.y_mean + location[0] * scaling.y_scale + coef @ (fitted.center - scaling.x_mean)
        # Standard deviations below the rounding of what they belong to are no measure.
        size = np.append(1.0, 1.0 / scaling.x_scale) * problem.state.magnitude[-1]
        rounding = _ROUNDING * np.maximum(np.abs(fitted.mean), size)
        apart = np.abs(mean - fitted.mean) / (np.linalg.norm(fitted.root, axis=0) + rounding)
        few = fitted.prior_scale is not None or fitted.scatter is not None or fitted.effects is not None
        if not apart.max() < (about_same if few else same):
            raise ValueError(
                "These are not the rows that the model was fitted to (or its parameters were changed since): give"
                " the X, y, weights and errors of fit."
            )


def _check_whole_copies(frequency: Array) -> None:
    """Refuse frequencies of which no whole copy can be left out."""
    if (frequency < 1.0).any():
        raise ValueError(
            "sample_weight has frequencies below one, and leave-one-out by importance sampling leaves out whole"
            " copies of rows: multiply the weights, or use inference='exact' where it can take the model."
        )
