"""The estimator: validate, choose an engine, expose. No mathematics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin, _fit_context

from ..inference.settings import SamplerSettings
from ..likelihoods.base import Likelihood
from ..measurements.messages import hinting
from ..persistence import PersistenceMixin
from ..priors.base import CoefficientPrior, ScalePrior
from ..priors.true_features import Mixture, Outliers
from .errors.at_true_values import fit_at_true_values
from .export import ExportMixin
from .fitted import FittedModel, warn_of_doubts
from .fitting import Fit, fit
from .groups.attributes import GroupsMixin
from .leave_one_out import LeaveOneOutMixin
from .parameters import ParametersMixin, untouched_on_error
from .partial_fit import StreamingMixin
from .predict import PredictionMixin
from .reading import TrainingData, noise_of, read, sampler_settings, specify
from .tables.shown import SummaryMixin

__all__ = ["BayesianErrorsInVariablesRegressor"]

Array = NDArray[np.float64]


class BayesianErrorsInVariablesRegressor(
    StreamingMixin,
    PredictionMixin,
    LeaveOneOutMixin,
    ExportMixin,
    GroupsMixin,
    SummaryMixin,
    PersistenceMixin,
    RegressorMixin,
    ParametersMixin,
):
    """Bayesian linear regression for data that were measured: error bars in, calibrated error bars out.

    The target is normal about a line. Each row's standard error is known (``y_err``), follows from the count behind
    a proportion, for short share (``sample_weight``, ``count_column``), or is not known. The prior's scale is
    learned, and the posterior integrated without sampling, in milliseconds. Where features have known errors
    (``X_err``), and under other priors and likelihoods, importance sampling finds the posterior, or else NUTS (PyMC).

    Parameters
    ----------
    likelihood : str or Likelihood, default="normal"
        How the target is distributed about the line. "student_t": with heavy tails, for outliers. "binomial" and
        "beta_binomial": y is a share, the counts behind it (``sample_weight`` or ``count_column``; one each where
        there are none and all y are 0 or 1) are the trials, and the line is that of its log odds; the second lets
        shares vary by more than their counts explain. "beta": proportions strictly between 0 and 1, without counts.
        "poisson" and "negative_binomial": y is a number of events, counted over an ``exposure`` (a time, an area, a
        population; one where none is given), and the line is that of the log of their rate; the second lets rates
        vary by more than chance explains. An object has the likelihood's own parameters:
        ``StudentTLikelihood(nu=...)``, ``BetaBinomialLikelihood(dispersion_prior=...)``.
    coef_prior : PoweredCorrelation, Normal, Flat, StudentT, Laplace or Horseshoe, default=None
        Prior of the coefficients; None is ``PoweredCorrelation()``, whose scale is learned and whose shape, between
        a ridge and a g-prior, is averaged over. Parameters may be arrays with one value per feature, and a scale may
        be a prior itself, from which it is learned: ``Normal(sigma=HalfCauchy(1))``.
    intercept_prior : Normal, Flat, StudentT or Laplace, default=None
        Prior of the intercept; None is ``Flat()``: the data alone say where the line lies. With
        ``standardize=True`` it is about the target's mean, at the features' means, in units of the target's
        standard deviation. Of log odds None is ``Normal(0, 5)``, at the features' means; of log rates
        ``Normal(0, 2.5)`` about the log of all events over all exposure, or with ``standardize=False`` ``Flat()``.
    noise_prior : ScalePrior, default=None
        Prior of the noise scale; None is ``HalfNormal(1)``. With known errors and ``noise="scaled"`` the scale is
        a multiple of them and has no unit, else its unit is that of the (standardised) target; of precisions, and
        under ``noise="common"``, it is the prior of the error of y in a typical row.
    noise : {"scaled", "additive", "known", "auto", "common"}, default="auto"
        How the noise scale s and the known error of a row make up its standard deviation: ``s * y_err``,
        ``sqrt(s**2 + y_err**2)``, ``y_err`` alone, or, "auto", ``sqrt((s * y_err)**2 + t**2)`` with a scatter t
        beside them, which is a priori negligible with probability 1/2 (`ScatterPrior`). "common" is "scaled" with
        s multiplying the features' errors, too, as in Deming's regression. Without known errors it is s in every row;
        errors from counts "auto" scales, as it does where rows come batch by batch (`partial_fit`, `merge`,
        ``distributed.fit``). Where y is the same in all rows errors are taken as stated.
    weight_type : {"auto", "counts", "frequency", "precision"}, default="auto"
        What ``sample_weight`` means. "frequency": a row of weight k counts as k rows. "counts": y is a share and
        the weight the count behind it, which gives the share's standard error. "precision": the weight is 1/e**2 up
        to a factor, e being the row's standard error; the factor is found. A weight of 0 leaves its row out, whatever
        it means. "auto" takes counts where all y are in [0, 1], not all 0 or 1, all weights are whole, but not all
        1, where none is 0 unless all y times weights are whole, and no other argument states y's errors; else
        frequencies, with a warning where these are not whole.
    count_error : {"fitted", "observed"}, default="fitted"
        Whether binomial errors are taken at the fitted share of each row (reweighted until it settles; a plug-in
        quasi-likelihood) or at the observed share, with which errors are correlated: that biases the fit.
    error_floor : float, default=0.0
        Added to the standard error that counts give, on the scale of the shares.
    count_column : str or int, default=None
        Column of X that holds the counts behind the shares; it is split and scored with its rows and is no
        feature. A count of 0 leaves a row out of the fit; in new rows it says that the count is not known.
    y_err_column, exposure_column, y_censored_column : str or int, default=None
        Columns of X that hold, likewise, the target's standard errors, what events were counted over, and on which
        side of y its value lies, as ``y_censored`` of `fit` says it.
    error_columns : dict or str, default=None
        Columns of X that hold the features' standard errors, likewise: a dict of feature to column, or what the
        columns' names end with (``"_err"`` pairs ``dose_err`` with ``dose``). A dict may name columns of
        covariances, too, with their two features: ``{"x": "x_err", "z": "z_err", "xz_cov": ("x", "z")}``.
    group_column : str, int or list of these, default=None
        Column of X that holds the label, of any type, of each row's group: rows of a group share an effect, added to
        the line, normal with a standard deviation that is learned (``group_std_``). Several columns: an effect of
        each. In new rows a label that fit did not have, or a missing one, is that of a new group.
    group_slopes : str, int, list or dict, default=None
        Features whose slopes differ from group to group, independently of the groups' other effects; with several
        groupings a dict of group column to features.
    group_prior : ScalePrior, default=None
        Prior of these standard deviations, in units of the target's spread and error; None: ``HalfStudentT(nu=3)``.
    missing : {"error", "model"}, default="error"
        What NaN in X is. "error": refused. "model": a feature that was not measured, missing at random (whether it is
        missing may depend on what else its row has, not on its own value). Features with NaN join the model of those
        with errors: given the others they are normal, or as ``x_distribution`` says, and what is missing is
        integrated over, in `predict`, too. NaN in y is then a row to predict: where features have errors or NaN it
        helps to learn how these are distributed, else it is left out.
    truncation : tuple of (float or None, float or None), default=None
        Limits (lower, upper) of the target, either of which may be None, where rows are in the table because y lies
        between them: the coefficients are then those of the population that rows were selected from, and so are
        predictions, which are not cut off at the limits. Counts at the lower limit are not selected, those at the
        upper one are; of events over exposures the limits are of their numbers.
    x_distribution : {"normal", "mixture"} or Mixture, default="normal"
        How the true values of features with errors are distributed, given the exact ones. "mixture": of normal
        distributions, for skewed or clustered features, as many as are chosen or `Mixture` says.
    x_error_distribution : {"normal", "outliers"} or Outliers, default="normal"
        How the errors of features scatter. "outliers": each reading may be wild, its error a multiple of the one
        stated; their share (``outlier_share_``) and the multiple are learned, under the priors of an `Outliers`.
    x_error_dof : float or dict, default=None
        Degrees of freedom with which errors of features are known, up to a factor for each feature that is
        integrated over: of replicates the pooled ones (`ReplicateMean`). A dict: by feature. None: they are known.
    standardize : bool, default=True
        Whether priors are on features and target of mean 0 and standard deviation 1, or, without an intercept, of
        root mean square 1; of features alone where y is a share. All that is reported is on the data's own scale.
    fit_intercept : bool, default=True
        Whether the line has an intercept.
    inference : {"auto", "exact", "importance", "hmc", "nuts"}, default="auto"
        The engine. "exact" takes Normal and Flat priors for coefficients and intercept, and PoweredCorrelation, their
        scales learned or not, and draws nothing. "importance" takes errors of features, other likelihoods and priors
        (not Horseshoe), without groups. "hmc" is for Horseshoe, up to 50 features, in NumPy. "nuts" takes nearly all.
        "auto" is the first of them that can take the model and trusts its answer; ``inference_`` says which.
    draws, chains : int, default=1000 and 4
        Draws of each chain that are kept, and number of chains. Exact fits draw only in `to_arviz`.
    nuts_kwargs : dict, default=None
        Options of NUTS: ``tune`` (500 draws before those that are kept), ``target_accept`` (0.9,
        with errors of features or groups 0.95), ``cores`` (all there are; one in a worker), ``nuts_sampler``
        ("nutpie"; "pymc", "numpyro" or "blackjax" where installed, which compile anew for every fit), and anything
        else that the sampler takes.
    random_state : int, RandomState instance or None, default=None
        Settles, in fit, the seed of samplers and of the draws made later by `sample_y` and `to_arviz`.
    verbose : bool, default=False
        Whether NUTS shows its progress.

    Attributes
    ----------
    coef_, coef_std_ : ndarray of shape (n_coefficients,)
        Posterior means and standard deviations, in the unit of y, or of its log odds or log, per unit of the feature.
    coef_names_ : ndarray of shape (n_coefficients,)
        The features they belong to.
    intercept_ : float
        Posterior mean of the intercept, the linear predictor at X = 0, in the unit of y, or of its log odds or log.
    overdispersion_ : float
        Intraclass correlation of the trials behind one share, found beside the fitted errors; 0 without counts,
        and where other noise stands for it.
    noise_scale_ : float
        Posterior mean of the noise scale s: a multiple of the known errors under ``noise="scaled"`` and "auto", else
        in the target's unit (with weights that are precisions, the root mean square error of the rows); 1 under
        ``noise="known"``. Absent where y is a share of trials.
    scatter_ : float
        Posterior mean of the scatter t beside known errors, in the target's unit. Absent but under ``noise="auto"``
        with errors of y.
    nu_, dispersion_ : float
        Posterior means of the degrees of freedom under "student_t", where they are not fixed, of the intraclass
        correlation under "beta_binomial" (and "beta"), and of what rates vary by under "negative_binomial".
    log_marginal_likelihood_ : float
        Log density of the target under the model, given features, errors and scaling; of a share k / n, n times the
        probability of k. A flat prior of the intercept counts as one in the model's units. Absent under flat priors
        of coefficients, with errors of features, and after HMC and NUTS.
    reliability_ : ndarray of shape (n_coefficients,)
        Share of each measured feature's variance that is the true one's. Absent without errors of features.
    outlier_share_, outlier_factor_ : float
        Posterior means of the share of readings that are wild, and of how many times larger than stated their errors
        are. Absent but under ``x_error_distribution="outliers"``.
    group_std_ : pandas.Series
        Posterior means of the standard deviations of the groups' effects, in the target's unit (of slopes, by the
        feature's). Absent without ``group_column``.
    group_effects_ : pandas.DataFrame
        Posterior mean, sd and 95% limits of each group's effects, at the features' means. Absent likewise.
    n_components_ : int
        Number of normal distributions whose mixture the true features follow. Absent without errors of features.
    weight_type_ : {"counts", "frequency", "precision"}
        What ``sample_weight`` was taken to be.
    inference_ : str
        The engine that ran.
    fit_warnings_ : tuple of str
        What the last `fit`, `partial_fit` or `merge` warned of, whether a filter let it be heard or not.
    n_features_in_ : int
        Number of columns of X, those that hold counts or errors included.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where all are strings.

    See Also
    --------
    predictive_distribution : The predictive distribution through Pipelines and fitted searches.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> from bayes_sklearn.datasets import make_role_modeling
    >>> phones = make_role_modeling(random_state=0)
    >>> model = BayesianErrorsInVariablesRegressor(weight_type="counts")
    >>> model.fit(phones.data, phones.target, sample_weight=phones.counts).coef_.shape
    (4,)
    """

    def __init__(
        self,
        *,
        likelihood: str | Likelihood = "normal",
        coef_prior: CoefficientPrior | None = None,
        intercept_prior: CoefficientPrior | None = None,
        noise_prior: ScalePrior | None = None,
        noise: str = "auto",
        weight_type: str = "auto",
        count_error: str = "fitted",
        error_floor: float = 0.0,
        count_column: str | int | None = None,
        y_err_column: str | int | None = None,
        exposure_column: str | int | None = None,
        y_censored_column: str | int | None = None,
        error_columns: Mapping[Any, Any] | str | None = None,
        group_column: Any = None,
        group_slopes: Any = None,
        group_prior: ScalePrior | None = None,
        missing: str = "error",
        truncation: tuple[float | None, float | None] | None = None,
        x_distribution: str | Mixture = "normal",
        x_error_distribution: str | Outliers = "normal",
        x_error_dof: float | Mapping[Any, float] | None = None,
        standardize: bool = True,
        fit_intercept: bool = True,
        inference: str = "auto",
        draws: int = 1000,
        chains: int = 4,
        nuts_kwargs: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        self.likelihood = likelihood
        self.coef_prior = coef_prior
        self.intercept_prior = intercept_prior
        self.noise_prior = noise_prior
        self.noise = noise
        self.weight_type = weight_type
        self.count_error = count_error
        self.error_floor = error_floor
        self.count_column = count_column
        self.y_err_column = y_err_column
        self.exposure_column = exposure_column
        self.y_censored_column = y_censored_column
        self.error_columns = error_columns
        self.group_column = group_column
        self.group_slopes = group_slopes
        self.group_prior = group_prior
        self.missing = missing
        self.truncation = truncation
        self.x_distribution = x_distribution
        self.x_error_distribution = x_error_distribution
        self.x_error_dof = x_error_dof
        self.standardize = standardize
        self.fit_intercept = fit_intercept
        self.inference = inference
        self.draws, self.chains, self.nuts_kwargs = draws, chains, nuts_kwargs
        self.random_state, self.verbose = random_state, verbose

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
        X_err_groups: ArrayLike | None = None,
        exposure: ArrayLike | float | None = None,
        y_censored: ArrayLike | None = None,
        y_upper: ArrayLike | None = None,
        y_cov: ArrayLike | None = None,
        y_shared_err: ArrayLike | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Features, and the columns that parameters name.
        y : array-like of shape (n,)
            Target.
        sample_weight : array-like of shape (n,), optional
            Counts behind shares, frequencies or precisions, as ``weight_type`` says.
        y_err : float, array-like of shape (n,) or VarianceFunction, optional
            Known standard errors of y, in its unit; positive, or, under ``noise="additive"`` and "auto", 0 in rows
            whose only noise is the scatter. A function of the true value is taken at the fitted line.
        X_err : float, array-like of shape (p,) or (n, p), VarianceFunction, or dict, optional
            Known standard errors of the p features, in their units: one for all, one per feature, or one per cell; 0
            marks a feature known exactly. A data frame is aligned by its columns' names. Functions of the true value
            (one for all, in a list, or by feature in a dict) are taken at the estimated true values.
        X_cov : array-like of shape (p, p) or (n, p, p), optional
            Covariances of the features' errors instead, for all rows or one per row.
        Xy_cov : array-like of shape (p,) or (n, p), optional
            Covariance of each feature's error with y's. Under ``noise="scaled"`` it is multiplied by the noise scale.
        X_censored : array-like of shape (n, p), optional
            -1 where a reading lies at or below X, a detection limit, 1 where it lies above, 0 where it is X. Features
            with limits join the model of those with errors, as ``missing="model"`` has those with NaN, and
            readings are integrated over, by importance sampling alone. A data frame is aligned by its columns' names.
        X_err_groups : array-like of shape (n,), optional
            Labels, of any type, of the readings of the features with errors: rows of one label share one reading, and
            its one error. Each row has its own where there are none, and new rows always have.
        exposure : float or array-like of shape (n,), optional
            What the events in y were counted over, where ``likelihood`` is of events: positive, in any unit.
        y_censored : array-like of shape (n,), optional
            -1 where the value of the target lies at or below y, 1 where it lies above, 0 where it is y.
        y_upper : array-like of shape (n,), optional
            Where it is not NaN the target's value lies above y and at most there.
        y_cov : array-like or scipy.sparse matrix of shape (n, n), optional
            Covariance of the errors of y, in the place of y_err: symmetric and positive definite. What ``noise`` says
            of a row's error it says of all: s^2 times the covariance, plus t^2 on the diagonal. Rows that share no
            error with others are factored by themselves, so that blocks cost what they have, whatever the order of
            rows. It can't be split with the rows, by cross-validation or metadata routing; ``y_shared_err`` can.
        y_shared_err : array-like of shape (n,) or (n, k), optional
            What k errors that rows share, each of standard deviation 1, do to each row, beside its own y_err: an
            uncertain zero point (the same number in all rows of a night), or scale. The covariance is
            ``diag(y_err**2) + L @ L.T``, and is never formed.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument; and where the posterior is improper, or the engine asked for can't
            take the model. An earlier fit is left as it was.

        Warns
        -----
        UserWarning
            Where "auto" had to guess what the weights are; where the stated errors look too small; where errors
            hide a feature: as large as its spread, or its reliability is hardly known; where rows look as if they
            shared readings, without ``X_err_groups``; where "auto" goes on from importance sampling to NUTS; where a
            feature or y varies by little more than the rounding of its offset, or y_err is below y's.
        ConvergenceWarning
            Where the features fit the target without error; where fitted count errors do not settle; where columns
            with a flat prior are so nearly collinear that rounding leaves few digits; where the noise scale is beyond
            double precision; where the draws of NUTS are not to be trusted.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8]
        >>> BayesianErrorsInVariablesRegressor().fit(X, y, y_err=[0.1, 0.2, 0.2, 0.4]).coef_.round(1)
        array([2.])
        """
        of_features = {"X_cov": X_cov, "Xy_cov": Xy_cov, "X_censored": X_censored}
        of_features |= {"X_err_groups": X_err_groups}
        of_target = {"exposure": exposure, "y_censored": y_censored, "y_upper": y_upper}
        of_target |= {"y_cov": y_cov, "y_shared_err": y_shared_err}

        def once(y_err: Any, X_err: Any) -> None:
            errors = {"X_err": X_err, **of_features}
            data = read(self, X, y, sample_weight, {"y_err": y_err, **of_target}, errors)
            fitted = fit(data.rows, data.errors, specify(self, data), self.inference, settings)
            self._expose(fitted, data, settings)
            self._remember(data, fitted.problem)

        with untouched_on_error(self):
            settings = sampler_settings(self)
            fit_at_true_values(self, once, X, y, y_err, X_err)
        return self

    def _expose(self, fitted: Fit, data: TrainingData, settings: SamplerSettings) -> None:
        """Set the fitted attributes; no training rows are kept, but a few with ``y_cov``, for errors of new ones."""
        # Attributes that only some fits have: those of an earlier one go.
        not_of_all_fits = (
            "noise_scale_", "scatter_", "dispersion_", "nu_", "log_marginal_likelihood_", "reliability_",
            "n_components_", "outlier_share_", "outlier_factor_", "_error_functions",
        )  # fmt: skip
        found = FittedModel.of(fitted, data, noise_of(self, data), settings.seed)
        posterior, mean = found.posterior, found.posterior.mean
        for name in not_of_all_fits:
            self.__dict__.pop(name, None)
        self._fitted = found
        self.coef_ = mean[1:].copy()
        self.coef_std_ = np.linalg.norm(posterior.root, axis=0)[1:]
        self.coef_names_ = data.columns.feature_names
        self.intercept_ = float(mean[0] - posterior.center @ mean[1:]) if self.fit_intercept else 0.0
        if found.likelihood.has_noise_scale:
            self.noise_scale_ = float(posterior.weights @ posterior.noise_scale)
        if posterior.scatter is not None:
            self.scatter_ = float(posterior.weights @ posterior.scatter)
        for name, values in posterior.further.items():
            setattr(self, f"{name}_", float(posterior.weights @ values))
        self.weight_type_ = data.errors.weight_type
        self.overdispersion_ = fitted.count_errors.overdispersion
        self.inference_ = fitted.engine
        if posterior.log_evidence is not None:
            self.log_marginal_likelihood_ = posterior.log_evidence
        if found.attenuation is not None:
            self.reliability_ = found.attenuation.reliability.copy()
            self.n_components_ = fitted.problem.n_components
        warn_of_doubts(fitted, found)
