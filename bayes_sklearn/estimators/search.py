"""Search by leave-one-out, or by the marginal likelihood: one fit per candidate, and none where it is exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.base import RegressorMixin, _fit_context, clone
from sklearn.model_selection import ParameterGrid
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..inference._compat import expected_log_density
from ..inference.exact import engine as exact
from ..inference.exact.leave_one_out import leave_one_out
from ..inference.problem import Problem
from ..inference.settings import SamplerSettings
from ..measurements.messages import hinting
from ..persistence import PersistenceMixin
from ..prediction.distribution import PredictiveDistribution
from ..priors.base import Parametrized
from .fitting import settle
from .reading import read, specify
from .regressor import BayesianErrorsInVariablesRegressor
from .tables.shown import HTMLMixin

__all__ = ["BayesianErrorsInVariablesRegressorCV"]

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


class _Candidate(NamedTuple):
    """Parameters, and an estimator that has them."""

    params: dict[str, Any]
    model: BayesianErrorsInVariablesRegressor

    @property
    def of_rows(self) -> dict[str, Any]:
        """Those parameters that change what the rows say, not only what is believed before."""
        priors = ("coef_prior", "intercept_prior", "noise_prior")
        return {name: value for name, value in self.params.items() if name.partition("__")[0] not in priors}


class BayesianErrorsInVariablesRegressorCV(HTMLMixin, PersistenceMixin, RegressorMixin, Parametrized):
    """Choose priors, likelihoods, noise and errors by leave-one-out or by the marginal likelihood, without folds.

    As `RidgeCV` does for Ridge: the table is compressed once for all candidates that differ in their priors alone.
    The scores are those that fitting each candidate would give, by `BayesianErrorsInVariablesRegressor.loo` or as
    ``log_marginal_likelihood_``; the best candidate is then fitted. Candidates that the exact engine takes cost no
    fit; every other is fitted once, by importance sampling or, where that can't take it or is not to be trusted, by
    NUTS.

    Parameters
    ----------
    estimator : BayesianErrorsInVariablesRegressor, default=None
        What candidates differ from; None is one with the defaults.
    param_grid : dict or list of dict, default=None
        Parameters of `estimator` and the values to try, as for `GridSearchCV`: prior scales (``coef_prior__sigma``,
        ``intercept_prior__sigma``, ``noise_prior__sigma``), whole priors, ``noise``, ``error_floor``, or any other.
        None is 31 values of ``coef_prior__sigma``, from 0.01 to 10.
    scoring : {"loo", "marginal_likelihood"}, default="loo"
        What is maximised. "loo": the sum of the log densities of every row given the others, frequencies
        multiplied; exact, or Pareto-smoothed where the fit is not. "marginal_likelihood": the log density of the
        target under the model, which weighs the prior itself and needs proper priors, and a fit without Markov chains
        and has no errors of features.

    Attributes
    ----------
    best_estimator_ : BayesianErrorsInVariablesRegressor
        The best candidate, fitted.
    best_params_ : dict
        Its parameters among those that were tried.
    best_score_ : float
        Its score.
    best_index_ : int
        Its position in `cv_results_`.
    cv_results_ : dict
        ``params``, a list of every candidate's parameters; ``param_NAME``, an array of the values of each;
        ``score`` and ``rank_score``, arrays of shape (n_candidates,).
    coef_ : ndarray of shape (n_coefficients,)
        Of the best estimator.
    intercept_ : float
        Of the best estimator.
    n_features_in_ : int
        Of the best estimator.
    feature_names_in_ : ndarray of shape (n_columns,)
        Of the best estimator, where all columns have names that are strings.

    See Also
    --------
    sklearn.linear_model.RidgeCV : Leave-one-out of squared errors, for one penalty.
    sklearn.model_selection.GridSearchCV : Any estimator and scorer; a fit per candidate and fold.

    Notes
    -----
    Errors at fitted shares (counts with ``count_error="fitted"``) depend on the fit: each candidate then settles its
    own, in a few passes over the rows. They know the target, so that scores are a little too good; prefer
    cross-validation to choose ``count_error`` or ``error_floor`` by a small difference. With ``noise="additive"`` the
    first candidate costs some 100 factorisations of the rows, which others share as far as their posteriors of the
    scatter overlap.

    Leave-one-out takes one pass over the rows per candidate, in blocks. Scores compare likelihoods, too: they are log
    densities of the target in its own unit, of shares times their counts.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressorCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(50, 8))
    >>> y = X[:, 0] + rng.normal(size=50)
    >>> search = BayesianErrorsInVariablesRegressorCV(param_grid={"coef_prior__sigma": [0.01, 0.2, 5.0]})
    >>> search.fit(X, y).best_params_
    {'coef_prior__sigma': 0.2}
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "loo"]), None],
        "param_grid": [dict, list, None],
        "scoring": [StrOptions({"loo", "marginal_likelihood"})],
    }
    # As the estimator's: with metadata routing on, errors go where they are given.
    __metadata_request__fit: ClassVar[dict[str, bool]] = dict.fromkeys(
        (
            "y_err",
            "X_err",
            "X_cov",
            "Xy_cov",
            "X_censored",
            "exposure",
            "y_censored",
            "y_upper",
            "y_shared_err",
        ),
        True,
    )
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"y_err": True, "counts": True}

    def __init__(
        self,
        estimator: BayesianErrorsInVariablesRegressor | None = None,
        param_grid: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        scoring: str = "loo",
    ):
        self.estimator = estimator
        self.param_grid = param_grid
        self.scoring = scoring

    @_fit_context(prefer_skip_nested_validation=True)
    @hinting
    def fit(
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
    ) -> Self:
        """Score every candidate, and fit the best.

        Parameters
        ----------
        X, y, sample_weight : array-like
        y_err, X_err, X_cov, Xy_cov, X_censored, exposure, y_censored, y_upper, y_cov, y_shared_err : array-like
            As for `BayesianErrorsInVariablesRegressor.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument; for a candidate that no engine can take, or that has no score.

        Warns
        -----
        UserWarning, ConvergenceWarning
            As fits of the candidates, and their `loo`, where scores are not to be trusted.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressorCV
        >>> search = BayesianErrorsInVariablesRegressorCV(param_grid={"noise": ["known", "additive"]})
        >>> search.fit([[0.0], [1.0], [2.0], [3.0], [4.0]], [0.1, 0.6, 2.3, 3.4, 3.9], y_err=0.1).best_params_
        {'noise': 'additive'}
        """
        of_target = {"y_err": y_err, "exposure": exposure, "y_censored": y_censored, "y_upper": y_upper}
        of_target |= {"y_cov": y_cov, "y_shared_err": y_shared_err}
        of_features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "X_censored": X_censored}
        table = _Table(X, y, sample_weight, of_target, of_features)
        candidates, score = self._candidates(), _SCORES[self.scoring]
        scores = np.empty(len(candidates))
        for members in _alike(candidates):
            table.read(candidates[members[0]].model)
            for i in members:
                try:
                    scores[i] = _finite(score(table, candidates[i].model))
                except ValueError as refused:
                    raise ValueError(
                        f"The candidate {candidates[i].params} has no score: {refused}"
                    ) from refused
        best = int(np.argmax(scores))
        model = table.fitted(candidates[best].model)
        fitted = {
            "best_estimator_": model,
            "best_params_": candidates[best].params,
            "best_score_": float(scores[best]),
            "best_index_": best,
            "cv_results_": _results([candidate.params for candidate in candidates], scores),
            "coef_": model.coef_.copy(),
            "intercept_": model.intercept_,
            "n_features_in_": model.n_features_in_,
        }
        if hasattr(model, "feature_names_in_"):
            fitted["feature_names_in_"] = model.feature_names_in_
        # All at once: an interrupted search leaves the last one as it was.
        self.__dict__ = {k: v for k, v in vars(self).items() if k != "feature_names_in_"} | fitted
        return self

    def predict(
        self, X: ArrayLike, return_std: bool = False, return_cov: bool = False, **of_rows: Any
    ) -> Array | tuple[Array, Array]:
        """Predict by the best estimator.

        Parameters
        ----------
        X, return_std, return_cov, **of_rows
            As for `BayesianErrorsInVariablesRegressor.predict`.

        Returns
        -------
        ndarray of shape (n,), or a tuple
            As there.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument; NotFittedError, a ValueError, before `fit`.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressorCV
        >>> search = BayesianErrorsInVariablesRegressorCV().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> search.predict([[1.5], [9.0]]).round(1)
        array([ 3. , 17.3])
        """
        check_is_fitted(self)
        return self.best_estimator_.predict(X, return_std, return_cov, **of_rows)

    @hinting
    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R^2 of the best estimator, as `BayesianErrorsInVariablesRegressor.score`, with its errors.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressorCV
        >>> search = BayesianErrorsInVariablesRegressorCV().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> round(search.score([[0.5], [2.5]], [1.2, 4.6]), 3)
        0.982
        """
        check_is_fitted(self)
        return self.best_estimator_.score(X, y, sample_weight)

    def predict_interval(self, X: ArrayLike, coverage: float = 0.95, **of_rows: Any) -> Array:
        """Return intervals, (n, 2), in the unit of y, by the best estimator's `predict_interval`, with its errors.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressorCV
        >>> search = BayesianErrorsInVariablesRegressorCV().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> search.predict_interval([[1.5]], 0.9).round(1)
        array([[1.8, 4.2]])
        """
        check_is_fitted(self)
        return self.best_estimator_.predict_interval(X, coverage, **of_rows)

    def predict_distribution(self, X: ArrayLike, **of_rows: Any) -> PredictiveDistribution:
        """Return the best estimator's predictive distribution, by its `predict_distribution`, with its errors.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressorCV
        >>> search = BayesianErrorsInVariablesRegressorCV().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> search.predict_distribution([[1.5]]).cdf(4.0).round(2)
        array([0.94])
        """
        check_is_fitted(self)
        return self.best_estimator_.predict_distribution(X, **of_rows)

    def summary(self, coverage: float = 0.95) -> pd.DataFrame:
        """Return the best estimator's posterior as a table, by its `summary`, with its errors.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressorCV
        >>> search = BayesianErrorsInVariablesRegressorCV().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> search.summary().index.tolist()
        ['intercept', 'x0', 'noise_scale']
        """
        check_is_fitted(self)
        return self.best_estimator_.summary(coverage)

    def _candidates(self) -> list[_Candidate]:
        """Return the candidates, their parameters checked."""
        base = BayesianErrorsInVariablesRegressor() if self.estimator is None else self.estimator
        default = {"coef_prior__sigma": np.geomspace(0.01, 10.0, 31)}
        candidates: list[_Candidate] = []
        try:
            grid = list(ParameterGrid(default if self.param_grid is None else self.param_grid))
        except (TypeError, ValueError) as error:
            raise type(error)(f"param_grid: {error}") from error
        if not grid:
            raise ValueError("param_grid is an empty list: give the values to try, or None for the default.")
        for params in grid:
            model = clone(base).set_params(**clone(params, safe=False))
            model._validate_params()
            candidates.append(_Candidate(params, model))
        return candidates


def _alike(candidates: list[_Candidate]) -> list[list[int]]:
    """Return the positions of the candidates that differ in their priors alone, together."""
    groups: list[tuple[dict[str, Any], list[int]]] = []
    for i, candidate in enumerate(candidates):
        for of_rows, members in groups:
            # The same objects: they come from one grid.
            if of_rows.keys() == candidate.of_rows.keys() and all(
                of_rows[name] is value for name, value in candidate.of_rows.items()
            ):
                members.append(i)
                break
        else:
            groups.append((candidate.of_rows, [i]))
    return [members for _, members in groups]


class _Table:
    """The rows, read and compressed once for models that differ in their priors alone."""

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        of_target: dict[str, Any],
        of_features: dict[str, Any],
    ):
        self._rows, self._errors = (X, y, sample_weight), (of_target, of_features)

    def read(self, model: BayesianErrorsInVariablesRegressor) -> None:
        """Read the rows as a model does."""
        self._data = read(model, *self._rows, *self._errors)
        self._problem: Problem | None = None

    def fitted(self, model: BayesianErrorsInVariablesRegressor) -> BayesianErrorsInVariablesRegressor:
        """Return the model, fitted, if it is not."""
        if not hasattr(model, "coef_"):
            model.fit(*self._rows, **self._errors[0], **self._errors[1])
        return model

    def left_out(self, model: BayesianErrorsInVariablesRegressor) -> float:
        """Return the expected log pointwise predictive density of a model that no exact fit has."""
        X, y, sample_weight = self._rows
        found = self.fitted(model).loo(X, y, sample_weight, **self._errors[0], **self._errors[1])
        return expected_log_density(found)

    def exact_problem(self, model: BayesianErrorsInVariablesRegressor) -> Problem | None:
        """Return the problem of one of the models; None where the exact engine can't take it."""
        problem = self._problem_of(model)
        return problem if exact.why_not(problem) is None else None

    def _problem_of(self, model: BayesianErrorsInVariablesRegressor) -> Problem:
        data, specification = self._data, specify(model, self._data)
        # Errors at fitted shares are settled by fits, in which priors have a say.
        fitted = data.errors.counts is not None and model.count_error == "fitted"
        if self._problem is None or fitted:
            problem = settle(data.rows, data.errors, specification, "auto", SamplerSettings())
            self._problem = problem if fitted else replace(problem, remembered={})
            return self._problem
        return self._problem.with_priors(**specification.priors)


def _leave_one_out(table: _Table, model: BayesianErrorsInVariablesRegressor) -> float:
    """Return the expected log pointwise predictive density."""
    problem = table.exact_problem(model)
    if problem is None:
        return table.left_out(model)
    posterior = exact.solve(problem, SamplerSettings())
    return leave_one_out(problem, posterior.noise_scale, with_rows=False).elpd


def _marginal_likelihood(table: _Table, model: BayesianErrorsInVariablesRegressor) -> float:
    """Return the log marginal likelihood."""
    problem = table.exact_problem(model)
    if problem is None:
        evidence = getattr(table.fitted(model), "log_marginal_likelihood_", None)
    else:
        evidence = exact.solve(problem, SamplerSettings()).log_evidence
    if evidence is None:
        raise ValueError(
            "under flat priors, with errors of features and after NUTS there is no marginal likelihood: use"
            " scoring='loo', or other priors."
        )
    return evidence


def _finite(score: float) -> float:
    """Refuse a score that is no number: no other would be compared with it."""
    if not np.isfinite(score):
        raise ValueError(f"it is {score}. Look at a fit of this candidate by itself.")
    return score


_SCORES = {"loo": _leave_one_out, "marginal_likelihood": _marginal_likelihood}


def _results(params: list[dict[str, Any]], scores: Array) -> dict[str, Any]:
    """Return the candidates' scores as `GridSearchCV` shows them."""
    results: dict[str, Any] = {"params": params, "score": scores, "rank_score": _ranks(scores)}
    for name in dict.fromkeys(name for one in params for name in one):
        values = np.empty(len(params), dtype=object)
        values[:] = [one.get(name) for one in params]
        results[f"param_{name}"] = np.ma.MaskedArray(values, mask=[name not in one for one in params])
    return results


def _ranks(scores: Array) -> NDArray[np.intp]:
    """Return ranks from 1, the best."""
    return rankdata(-scores, method="min").astype(np.intp)
