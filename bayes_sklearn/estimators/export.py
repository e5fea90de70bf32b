"""What goes out: the model to PyMC, the draws to ArviZ.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ..inference._compat import inference_data, prior_draws
from ..inference.groups.drawn import DrawnEffects
from ..inference.nuts.pymc_priors import missing_distribution
from ..measurements.messages import check_installed, hinting
from ..prediction.draws import Draws
from ..prediction.groups.line import drawn_effects
from ..prediction.rows_given_draws import GivenDraws
from ..priors.base import Flat
from .errors.at_true_values import training_errors
from .fitted import FittedModel
from .observed import Described, drawn, given_draws, observed_rows, settled

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]

Variables = dict[str, tuple[tuple[str, ...], NDArray[Any]]]

_SAMPLED = ("chain", "draw")


class ExportMixin:
    """The model in PyMC and the posterior in ArviZ, of an estimator that keeps a `Posterior`."""

    fit_intercept: bool
    draws: int
    weight_type_: str
    inference_: str
    coef_names_: NDArray[np.object_]
    _fitted: FittedModel

    @hinting
    def to_pymc(
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
    ) -> pm.Model:
        """Return the model in PyMC, as a person would write it, for these data.

        Nothing has to be fitted before, and the estimator stays as it is.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Features, and the columns named by ``count_column`` and ``y_err_column``.
        y : array-like of shape (n,)
            Target.
        sample_weight : array-like of shape (n,), optional
            Counts behind shares, frequencies or precisions, as ``weight_type`` says.
        y_err : float or array-like of shape (n,), optional
            Known standard errors of y, in its unit; positive.
        X_err, X_cov, Xy_cov, X_censored, X_err_groups, exposure, y_censored, y_upper : optional
            Known errors of the features, what events were counted over, and limits, as for `fit`.
        y_cov, y_shared_err : array-like, optional
            What errors of y have in common, as for `fit`: the target is then multivariate normal.

        Returns
        -------
        pymc.Model
            On the data's own scale: ``coef`` (``feature``), ``intercept``, ``sigma`` and the observed ``y``
            (``obs``); data ``X`` and ``y_err``. With ``standardize=True`` the variables that have priors are
            ``coef_standardized`` and the like, and the others follow from them. Errors of shares are settled as in
            fit. Coordinates: the names of the features, and the row labels of a data frame, else the rows' positions.
            Rows of weight zero are left out; frequencies enter as a `pymc.Potential`.

            Other likelihoods have their parameters beside these: ``nu`` (what it exceeds its least value by is
            ``nu_above``) or ``dispersion``. Under binomial ones ``y`` are counts, of ``trials``: rounded to whole
            numbers, as PyMC has no others; under those of events they are over the data ``exposure``. There is no
            ``sigma`` then.

            A prior's scale that is learned is ``prior_scale``, in the units of the priors; noise "auto" has its
            ``scatter``. Several geometries of a prior are a `pymc.Mixture`.

            With errors of features: the true ones, ``x_true`` (``obs``, ``noisy``), distributed about
            ``mu + Gamma z``, z the exact features ``X_exact`` about their mean, in units of their spread, with scales
            ``x_scale`` (several features: scales and correlations ``x_root``); the measured ones are the observed
            ``X``. Rows of a frequency above one are repeated. With ``X_err_groups`` both have one value for each
            ``reading``, distributed at the mean z of its rows. Under `PoweredCorrelation` coefficients follow from
            ``signal``, what the true features explain of the target, in its unit (several: along the root of their
            covariance), and ``slope``, the slopes in the exact features alone. Of readings that are limits the
            potential ``limits_of_readings`` is the log probability of lying beyond them; without errors they are
            that far beyond as ``x_beyond`` says.

        Raises
        ------
        ImportError
            Where PyMC or ArviZ is needed and not installed.
        ValueError, TypeError
            For bad input, naming the argument, and for a prior that PyMC has no distribution for; with errors of
            features for frequencies that are not whole, for errors that are zero in some rows, and for X_censored
            beside correlated errors.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().to_pymc([[0.0], [1.0], [3.0]], [0.1, 0.9, 3.2])
        >>> sorted(variable.name for variable in model.free_RVs)
        ['coef_standardized', 'intercept_standardized', 'prior_scale', 'sigma_standardized']
        """
        check_installed("to_pymc", "pymc")
        y_err, X_err = training_errors(self, X, y, y_err, X_err)
        of_features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "X_censored": X_censored}
        of_features["X_err_groups"] = X_err_groups
        of_target = {"y_err": y_err, "exposure": exposure, "y_censored": y_censored, "y_upper": y_upper}
        of_target |= {"y_cov": y_cov, "y_shared_err": y_shared_err}
        return self._described(X, y, sample_weight, of_target, of_features).to_pymc()

    @hinting
    def to_arviz(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
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
        prior: bool = False,
    ) -> Any:
        """Return draws from the posterior for ArviZ, and what they say of data.

        Parameters
        ----------
        X : array-like of shape (n, k), optional
            The columns that fit had, of the training rows or of others.
        y : array-like of shape (n,), optional
            Their target.
        sample_weight : array-like of shape (n,), optional
            Counts, frequencies or precisions, as in fit (``weight_type_``).
        y_err : float or array-like of shape (n,), optional
            Standard errors of y, in its unit. A model that was fitted with errors needs y_err or counts here.
        X_err, X_cov, Xy_cov, X_censored, exposure : array-like, optional
            Errors and limits of the features, and what events were counted over, as in fit; a model that was fitted
            with them needs them here.
        y_censored, y_upper : array-like of shape (n,), optional
            Limits in the place of values of y, as in fit.
        prior : bool, default=False
            Whether to draw from the prior, too, by PyMC; needs X and y, by which a standardised model is scaled.

        Returns
        -------
        arviz.InferenceData or xarray.DataTree
            The first with ArviZ 0.x, the second with ArviZ 1.x. Groups, all on the data's own scale:

            - ``posterior``: ``coef`` (chain, draw, feature), ``intercept`` (chain, draw; at x = 0), ``sigma``
              (chain, draw; the noise scale, absent under ``noise="known"`` and where y is a share or a count),
              ``nu`` or ``dispersion`` where the likelihood has them, and the scales of a mixture prior. After
              NUTS they are its draws; an exact posterior is drawn from, independently, ``chains`` times ``draws``
              times, with the seed that fit settled: the same draws every time.
            - ``sample_stats`` (chain, draw), after NUTS.
            - With X and y: ``posterior_predictive`` and ``log_likelihood``, both of ``y`` (chain, draw, obs), the
              latter of one copy of each row, and, where features have errors, given what was measured of them, the
              true ones integrated out (of a share k / n: the log of its probability times n, a density per unit of
              share, so that models of shares can be compared); ``observed_data`` (``y``); ``constant_data`` (``X``;
              ``y_err``, the standard errors that were used; ``counts``; ``exposure``; ``sample_weight``, the
              frequencies). Rows of weight zero are left out.
            - With `prior`: ``prior`` and ``prior_predictive``, ``draws`` draws from `to_pymc`, of one copy of each
              row.

        Raises
        ------
        ImportError
            Where PyMC or ArviZ is needed and not installed.
        ValueError, TypeError
            For bad input, naming the argument; with ``prior=True``, for flat priors and what `to_pymc` refuses.

        Notes
        -----
        Errors of shares are taken at the fitted shares, as in fit: of a training row it is the error that fit gave
        it, to within 0.1% (1% after NUTS). `predict` gives a new share a slightly different one, (14).

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> X, y = [[0.0], [1.0], [3.0], [4.0]], [0.1, 0.9, 3.2, 3.9]
        >>> model = BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y)
        >>> model.to_arviz(X, y).posterior["coef"].shape
        (4, 1000, 1)
        """
        check_is_fitted(self)
        check_installed("to_arviz", "arviz")
        if prior:
            check_installed("prior=True", "pymc")
        if X is not None and y is not None:
            y_err, X_err = training_errors(self, X, y, y_err, X_err)
        of_features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "X_censored": X_censored}
        of_target = {"y_err": y_err, "exposure": exposure, "y_censored": y_censored, "y_upper": y_upper}
        of_rows = {"sample_weight": sample_weight, **of_target, **of_features}
        _check_together(X, y, **of_rows, prior=prior or None)
        draws, noise_rng = drawn(self)
        coords: dict[str, NDArray[Any]] = {"feature": np.asarray(self.coef_names_, dtype=str)}
        if self._fitted.groupings is not None:
            coords |= self._fitted.groupings.coords
        if (true := self._fitted.posterior.true_features) is not None:
            coords["noisy"] = coords["feature"][true.noisy]
        groups: dict[str, Variables] = {"posterior": self._parameters(draws)}
        if self._fitted.posterior.chains is not None:
            statistics = self._fitted.posterior.chains.statistics
            groups["sample_stats"] = {name: (_SAMPLED, values.copy()) for name, values in statistics.items()}
        if X is not None and y is not None:
            observed = observed_rows(self, X, y, sample_weight, of_target, of_features)
            coords["obs"] = observed.labels
            if prior:
                described = self._described(
                    X, y, sample_weight, of_target, of_features, weight_type=self.weight_type_
                )
                groups |= self._of_prior(described, list(groups["posterior"]))
            groups |= self._of_data(given_draws(self, observed, draws), noise_rng)
        return inference_data(groups, coords, self._attributes())

    def _described(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: Any,
        of_target: Mapping[str, Any],
        of_features: Mapping[str, Any],
        **params: Any,
    ) -> Described:
        """Return the model of these data, with some of the estimator's parameters changed."""
        problem, names, labels = settled(self, X, y, sample_weight, of_target, of_features, **params)
        missing = missing_distribution(problem)
        if missing is not None:
            raise ValueError(f"PyMC has no distribution for {missing}: use one of bayes_sklearn's priors.")
        return Described(problem, names, labels)

    def _parameters(self, draws: Draws) -> Variables:
        """Return the variables of the group posterior."""
        coef = draws.location[:, 1:]
        variables: Variables = {"coef": ((*_SAMPLED, "feature"), draws.split(coef.copy()))}
        if self.fit_intercept:
            intercept = draws.location[:, 0] - coef @ self._fitted.posterior.center
            variables["intercept"] = (_SAMPLED, draws.split(intercept))
        if self._fitted.noise_model.noise.has_scale and self._fitted.likelihood.has_noise_scale:
            variables["sigma"] = (_SAMPLED, draws.split(draws.noise_scale.copy()))
        if draws.scatter is not None:
            variables["scatter"] = (_SAMPLED, draws.split(draws.scatter.copy()))
        if draws.prior_scale is not None:
            variables["prior_scale"] = (_SAMPLED, draws.split(draws.prior_scale.copy()))
        variables |= {
            name: (_SAMPLED, draws.split(np.array(values))) for name, values in draws.further.items()
        }
        factor = None if draws.true_features is None else draws.true_features.error_factor
        if factor is not None:
            variables["x_error_factor"] = ((*_SAMPLED, "noisy"), draws.split(factor.copy()))
        variables |= self._of_groups(draws)
        if self._fitted.posterior.chains is not None:
            # As `readable_model` calls them.
            prefix = "coef_standardized" if self._fitted.standardized else "coef"
            for name, values in self._fitted.posterior.chains.scales.items():
                dims = (*_SAMPLED, "feature")[: values.ndim]
                variables[f"{prefix}_{name}"] = (dims, values.copy())
        return variables

    def _of_groups(self, draws: Draws) -> Variables:
        """Return the effects of groups and their standard deviations, as `readable_model` calls them."""
        fitted = self._fitted
        variables: Variables = {}
        effects, groupings = fitted.posterior.effects, fitted.groupings
        if effects is None or groupings is None or draws.nodes is None:
            return variables
        terms = groupings.terms(self.coef_names_.tolist())
        for place, (k, term, _) in enumerate(terms):
            own = place - effects.layout.scales(k).start
            name = f"{groupings.names[k]}_{term}" if own else groupings.names[k]
            values = drawn_effects(fitted.posterior, k, own, draws.location, draws.nodes, fitted.seed)
            variables[f"effect_{name}"] = ((*_SAMPLED, groupings.names[k]), draws.split(values))
            variables[f"group_std_{name}"] = (_SAMPLED, draws.split(effects.scales[draws.nodes, place]))
        if (
            isinstance(effects, DrawnEffects)
            and effects.levels is not None
            and draws.true_features is not None
        ):
            unit = effects.x_scale[draws.true_features.noisy]
            for k, (name, levels) in enumerate(zip(groupings.names, effects.levels.values, strict=True)):
                values = draws.split(levels[draws.nodes] * unit)
                variables[f"x_effect_{name}"] = ((*_SAMPLED, name, "noisy"), values)
                deviations = draws.split(effects.levels.deviations[draws.nodes, k] * unit)
                variables[f"x_group_std_{name}"] = ((*_SAMPLED, "noisy"), deviations)
        return variables

    def _of_data(self, given: GivenDraws, rng: np.random.Generator) -> dict[str, Variables]:
        """Return the groups that are about data."""
        observed, draws = given.observed, given.draws
        predicted, log_likelihood = given.held_against(rng)
        target = observed.y
        if given.likelihood.per == "exposure":  # rates are given, and returned, as numbers of events
            predicted, target = predicted * observed.trials, target * observed.trials
        dims = (*_SAMPLED, "obs")
        X, errors, true = observed.X, observed.feature_error, given.draws.true_features
        if errors is not None and true is not None and np.isinf(errors).any():
            X, q = X.copy(), len(true.noisy)
            unmeasured = np.isinf(np.diagonal(errors[:, :q, :q], axis1=1, axis2=2))
            X[:, true.noisy] = np.where(unmeasured, np.nan, X[:, true.noisy])
        constant: Variables = {"X": (("obs", "feature"), X)}
        if observed.standard_error is not None:
            constant["y_err"] = (("obs",), observed.standard_error)
        constant |= {name: (("obs",), values) for name, values in observed.constant.items()}
        return {
            "posterior_predictive": {"y": (dims, draws.split(predicted))},
            "log_likelihood": {"y": (dims, draws.split(log_likelihood))},
            "observed_data": {"y": (("obs",), target)},
            "constant_data": constant,
        }

    def _of_prior(self, described: Described, names: list[str]) -> dict[str, Variables]:
        """Return the groups of the prior: the parameters of these names, and the target."""
        prior_roles = {"coef_prior": "Normal()", "intercept_prior": "Normal()", "noise_prior": "HalfNormal()"}
        problem = described.problem
        flat = [
            role
            for role in prior_roles
            if isinstance(getattr(problem, role), Flat)
            and not (role == "noise_prior" and not problem.noise.has_scale)
        ]
        if flat:
            instead = ", ".join(f"{role}={prior_roles[role]}" for role in flat)
            raise ValueError(
                f"prior=True, but Flat() can't be drawn from: use {instead}, or another proper prior; or leave prior"
                " out."
            )
        model = described.to_pymc()
        if {"x_free", "x_beyond", "limits_of_readings"} & model.named_vars.keys():
            raise ValueError(
                "prior=True draws whole tables, and features have gaps or limits in some rows (NaN, X_censored):"
                " leave prior out."
            )
        drawn = prior_draws(model, [*names, "y"], self.draws, self._fitted.seed)
        target, frequency = drawn["y"], problem.rows.frequency
        if problem.feature_errors is not None and frequency is not None:
            # Copies of a row have true features of their own: the first stands for it.
            times = frequency[frequency > 0.0].astype(np.intp)
            target = target[:, np.cumsum(times) - times]
        if problem.likelihood.per == "trials":
            # PyMC's are counts.
            trials = np.ones(len(problem.rows.y)) if problem.trials is None else problem.trials
            used = slice(None) if frequency is None else np.flatnonzero(frequency)
            target = target / trials[used]
        dims: dict[str, tuple[str, ...]] = dict.fromkeys(names, _SAMPLED)
        dims |= {
            name: (*_SAMPLED, *map(str, model.named_vars_to_dims[name]))
            for name in names
            if drawn[name].ndim == 2
        }
        return {
            "prior": {name: (dims[name], drawn[name][None]) for name in names},
            "prior_predictive": {"y": ((*_SAMPLED, "obs"), target[None])},
        }

    def _attributes(self) -> dict[str, str]:
        """Return what every group says of its origin, by ArviZ's names."""
        package = __name__.partition(".")[0]
        version = str(sys.modules[package].__version__)
        return {
            "creation_library": package,
            "creation_library_version": version,
            "creation_library_language": "Python",
            "inference_library": package,
            "inference_library_version": version,
            "inference_engine": self.inference_,
        }


def _check_together(X: object, y: object, **others: object) -> None:
    """Refuse X without y, y without X, and what is of no use without them."""
    if (X is None) != (y is None):
        given, missing = ("y", "X") if X is None else ("X", "y")
        raise ValueError(
            f"{given} is given without {missing}: give both, for the groups that are about data, or neither."
        )
    if X is None:
        for name, value in others.items():
            if value is not None:
                raise ValueError(f"{name} is given without X and y, which it belongs to: give them, too.")
