"""What goes out: the model to PyMC, the draws to ArviZ.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ..inference._compat import inference_data, prior_draws
from ..inference.nuts import pymc_priors, pymc_true_features
from ..inference.nuts import readable_model as pymc_model
from ..inference.posterior import Posterior, line_mean
from ..inference.problem import Problem, SamplerSettings
from ..likelihoods.base import Likelihood
from ..measurements.checks import as_shares, read_table, read_target
from ..measurements.columns import Columns
from ..measurements.compressed import Rows
from ..measurements.target_errors import (
    FITTED_PRIOR_COUNT,
    TargetErrors,
    observed_share,
    resolve_target_errors,
    resolve_trials,
)
from ..prediction.draws import Draws, draws_of
from ..prediction.noise import NoiseModel
from ..prediction.rows_given_draws import GivenDraws, Observed
from ..priors.base import Flat
from .fitting import Specification, settle

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]

Variables = dict[str, tuple[tuple[str, ...], NDArray[Any]]]

_SAMPLED = ("chain", "draw")

_PRIOR_ROLES = {"coef_prior": "Normal()", "intercept_prior": "Normal()", "noise_prior": "HalfNormal()"}


class _Described(NamedTuple):
    """A model and its data, before anything is fitted."""

    problem: Problem
    feature_names: list[str]
    labels: NDArray[Any]
    """(n,) of all rows."""

    def to_pymc(self) -> pm.Model:
        # Dates would become whole numbers as a list.
        obs = list(self.labels) if self.labels.dtype.kind in "mM" else self.labels.tolist()
        of_errors = self.problem.feature_errors is not None
        readable_model = pymc_true_features.readable_model if of_errors else pymc_model.readable_model
        return readable_model(self.problem, self.feature_names, obs)


class ExportMixin:
    """The model in PyMC and the posterior in ArviZ, of an estimator that keeps a `Posterior`."""

    fit_intercept: bool
    draws: int
    chains: int
    weight_type_: str
    inference_: str
    coef_names_: NDArray[np.object_]
    _posterior: Posterior
    _noise_model: NoiseModel
    _likelihood: Likelihood
    _columns: Columns
    _seed: int
    _standardized: bool
    _read: Callable[..., Any]
    _new_feature_errors: Callable[..., Array | None]
    _errors_go_together: bool
    _specification: Callable[[Any], Specification]
    _validate_params: Callable[[], None]

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
        X_err, X_cov, Xy_cov : optional
            Known errors of the features, as for `fit`.

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
            numbers, as PyMC has no others; there is no ``sigma``.

            A prior's scale that is learned is ``prior_scale``, in the units of the priors; noise "auto" has its
            ``scatter``. Several geometries of a prior are a `pymc.Mixture`.

            With errors of features: the true ones, ``x_true`` (``obs``, ``noisy``), distributed about
            ``mu + Gamma z``, z the exact features ``X_exact`` about their mean, in units of their spread, with scales
            ``x_scale`` (several features: scales and correlations ``x_root``); the measured ones are the observed
            ``X``. Rows of a frequency above one are repeated. Under `PoweredCorrelation` coefficients follow from
            ``signal``, what the true features explain of the target, in its unit (several: along the root of their
            covariance), and ``slope``, the slopes in the exact features alone.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument, and for a prior that PyMC has no distribution for; with errors of
            features for frequencies that are not whole, and for errors that are zero in some rows.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().to_pymc([[0.0], [1.0], [3.0]], [0.1, 0.9, 3.2])
        >>> sorted(variable.name for variable in model.free_RVs)
        ['coef_standardized', 'intercept_standardized', 'prior_scale', 'sigma_standardized']
        """
        of_features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov}
        return self._described(X, y, sample_weight, y_err, of_features).to_pymc()

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
        X_err, X_cov, Xy_cov : array-like, optional
            Errors of the features, as in fit; a model that was fitted with them needs them here.
        prior : bool, default=False
            Whether to draw from the prior, too, by PyMC; needs X and y, by which a standardised model is scaled.

        Returns
        -------
        arviz.InferenceData or xarray.DataTree
            The first with ArviZ 0.x, the second with ArviZ 1.x. Groups, all on the data's own scale:

            - ``posterior``: ``coef`` (chain, draw, feature), ``intercept`` (chain, draw; at x = 0), ``sigma``
              (chain, draw; the noise scale, absent under ``noise="known"`` and where y is a share of trials),
              ``nu`` or ``dispersion`` where the likelihood has them, and the scales of a mixture prior. After
              NUTS they are its draws; an exact posterior is drawn from, independently, ``chains`` times ``draws``
              times, with the seed that fit settled: the same draws every time.
            - ``sample_stats`` (chain, draw), after NUTS.
            - With X and y: ``posterior_predictive`` and ``log_likelihood``, both of ``y`` (chain, draw, obs), the
              latter of one copy of each row, and, where features have errors, given what was measured of them, the
              true ones integrated out (of a share k / n: the log of its probability times n, a density per unit of
              share, so that models of shares can be compared); ``observed_data`` (``y``); ``constant_data`` (``X``;
              ``y_err``, the standard errors that were used; ``counts``; ``sample_weight``, the frequencies). Rows of
              weight zero are left out.
            - With `prior`: ``prior`` and ``prior_predictive``, ``draws`` draws from `to_pymc`, of one copy of each
              row.

        Raises
        ------
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
        of_features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov}
        _check_together(X, y, sample_weight=sample_weight, y_err=y_err, **of_features, prior=prior or None)
        draws, noise_rng = self._drawn()
        coords: dict[str, NDArray[Any]] = {"feature": np.asarray(self.coef_names_, dtype=str)}
        groups: dict[str, Variables] = {"posterior": self._parameters(draws)}
        if self._posterior.chains is not None:
            statistics = self._posterior.chains.statistics
            groups["sample_stats"] = {name: (_SAMPLED, values.copy()) for name, values in statistics.items()}
        if X is not None and y is not None:
            observed = self._observed(X, y, sample_weight, y_err, of_features)
            coords["obs"] = observed.labels
            if prior:
                described = self._described(
                    X, y, sample_weight, y_err, of_features, weight_type=self.weight_type_
                )
                groups |= self._of_prior(described, list(groups["posterior"]))
            groups |= self._of_data(self._given(observed, draws), noise_rng)
        return inference_data(groups, coords, self._attributes())

    def _drawn(self) -> tuple[Draws, np.random.Generator]:
        """Return draws from the posterior, the same every time, and a generator for what is drawn given them."""
        # One stream each, so that data change no draw of the parameters.
        rng, noise_rng = np.random.default_rng(self._seed).spawn(2)
        return draws_of(self._posterior, self.chains, self.draws, rng), noise_rng

    def _given(self, observed: Observed, draws: Draws) -> GivenDraws:
        """Return the distribution of observed rows given each draw."""
        if draws.true_features is not None:
            sharing = self._noise_model.sharing(draws.noise_scale)
            draws = draws._replace(true_features=replace(draws.true_features, sharing=sharing))
        return GivenDraws(self._likelihood, self._noise_model.noise, observed, draws, self._posterior.center)

    def _described(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: Any,
        y_err: Any,
        of_features: Mapping[str, Any],
        **params: Any,
    ) -> _Described:
        """Return the model of these data, with some of the estimator's parameters changed."""
        problem, names, labels = self._settled(X, y, sample_weight, y_err, of_features, **params)
        missing = pymc_priors.missing_distribution(problem)
        if missing is not None:
            raise ValueError(f"PyMC has no distribution for {missing}: use one of bayes_sklearn's priors.")
        return _Described(problem, names, labels)

    def _settled(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: Any,
        y_err: Any,
        of_features: Mapping[str, Any],
        **params: Any,
    ) -> _Described:
        """Return what `_described` does, whether PyMC has the priors' distributions or not."""
        # Reading data sets attributes: those of a shallow copy, so that the estimator stays as it is.
        other = copy(self)
        for name, value in params.items():
            setattr(other, name, value)
        other._validate_params()
        data = other._read(X, y, sample_weight, y_err, of_features)
        model = other._specification(data)
        # Whatever engine is asked for: it is the same model.
        problem = settle(data.rows, data.errors, model, "auto", SamplerSettings())
        return _Described(problem, data.columns.feature_names.tolist(), _labels(data.index, len(data.rows.y)))

    def _training_problem(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: Any,
        y_err: Any,
        of_features: Mapping[str, Any],
    ) -> tuple[Problem, NDArray[Any]]:
        """Return the problem of the training rows, given again, and the labels of those that count."""
        # As the fit had them: of a stream "auto" noise is another than of the same rows at once.
        given = {"weight_type": self.weight_type_, "noise": self._noise_model.noise.name}
        found = self._settled(X, y, sample_weight, y_err, of_features, **given)
        frequency = found.problem.rows.frequency
        return found.problem, found.labels if frequency is None else found.labels[frequency > 0.0]

    def _observed(
        self, X: ArrayLike, y: ArrayLike, sample_weight: Any, y_err: Any, of_features: Mapping[str, Any]
    ) -> Observed:
        """Check data against the fitted model, and settle their errors."""
        columns, index = self._columns, getattr(X, "index", None) if hasattr(X, "iloc") else None
        table = read_table(self, X, min_samples=2)
        held = columns.held(table)
        target = read_target(y, self, n=len(table), weight=held.get("count_column", sample_weight))
        self._check_errors_given(sample_weight, y_err)
        errors = resolve_target_errors(
            target,
            sample_weight=sample_weight,
            weight_type=self.weight_type_,
            y_err=y_err,
            y_err_column=held.get("y_err_column"),
            count_column=held.get("count_column"),
            scattered=self._noise_model.noise.scatters,
        )
        stated = errors.standard_error if errors.kind == "standard_error" else None
        feature_error = self._feature_error(table, of_features, stated)
        trials = None
        if self._likelihood.counted:
            trials, target = resolve_trials(target, errors, self._likelihood.name), as_shares(target)
        else:
            target = target if errors.counts is None else as_shares(target)
            self._noise_model.check(len(target), errors.counts, stated, {})
        rows = Rows(table, target, columns.features, errors.frequency)
        standard_error = self._standard_error(rows, errors)
        given = {"counts": errors.counts}
        if sample_weight is not None and errors.weight_type == "frequency":
            given["sample_weight"] = errors.frequency
        every = slice(None)
        used = every if errors.frequency is None else np.flatnonzero(errors.frequency)
        return Observed(
            np.array(rows.take(used), dtype=np.float64),
            target[used].copy(),
            _labels(index, len(target))[used],
            None if standard_error is None else np.broadcast_to(standard_error, target.shape)[used].copy(),
            None if feature_error is None else feature_error[used],
            {name: values[used].copy() for name, values in given.items() if values is not None},
            1.0 if trials is None else trials[used].copy(),
            used,
        )

    def _check_errors_given(self, sample_weight: object, y_err: object) -> None:
        """Refuse data without errors where the model was fitted with them."""
        counted = self._noise_model.kind == "counts"
        in_columns = {"count_column", "y_err_column"} & set(self._columns.special)
        as_counts = sample_weight is not None and self.weight_type_ == "counts"
        if self.weight_type_ == "precision" and sample_weight is None:
            raise ValueError(
                "The model was fitted with weights that say how precise y is (weight_type='precision'): give"
                " sample_weight with X and y."
            )
        if self._noise_model.kind == "none" or y_err is not None or in_columns or as_counts:
            return
        wanted = "sample_weight, the counts behind the shares in y," if counted else "y_err"
        raise ValueError(
            f"The model was fitted with {'counts' if counted else 'errors'} of y, and its noise is stated by them:"
            f" give {wanted} with X and y."
        )

    def _feature_error(
        self, table: NDArray[Any], of_features: Mapping[str, Any], y_err: Array | float | None
    ) -> Array | None:
        """Return covariances of the errors of features, (n, q, q), or None; (n, q, q + 1) with the target's."""
        error = self._new_feature_errors(table, **of_features, y_err=y_err)
        if self._posterior.true_features is None:
            return None
        if not self._columns.errors and all(value is None for value in of_features.values()):
            raise ValueError(
                "The model was fitted with errors of features: give X_err or X_cov with X and y, too (zeros, if these"
                " features are known exactly)."
            )
        if self._errors_go_together and of_features.get("Xy_cov") is None:
            raise ValueError(
                "The model was fitted with Xy_cov, the covariance of the features' errors with y's: give Xy_cov with"
                " X and y, too (zeros, if these errors are independent)."
            )
        return None if error is None else np.broadcast_to(error, (len(table), *error.shape[-2:]))

    def _standard_error(self, rows: Rows, errors: TargetErrors) -> Array | float | None:
        """Return the target's standard errors, those of shares as in fit, (13)."""
        if errors.weight_type == "precision" and errors.standard_error is not None:
            return errors.standard_error / self._noise_model.typical_error
        if errors.counts is None or self._likelihood.counted:
            return errors.standard_error
        count_errors = replace(self._noise_model.count_errors, prior_count=FITTED_PRIOR_COUNT)
        if count_errors.pooled is None:
            share = observed_share(rows.y, errors.counts)
        else:
            share = line_mean(self._posterior, rows)
        return count_errors.standard_error(
            count_errors.bernoulli_variance(share, errors.counts), errors.counts
        )

    def _parameters(self, draws: Draws) -> Variables:
        """Return the variables of the group posterior."""
        coef = draws.location[:, 1:]
        variables: Variables = {"coef": ((*_SAMPLED, "feature"), draws.split(coef.copy()))}
        if self.fit_intercept:
            intercept = draws.location[:, 0] - coef @ self._posterior.center
            variables["intercept"] = (_SAMPLED, draws.split(intercept))
        if self._noise_model.noise.has_scale and not self._likelihood.counted:
            variables["sigma"] = (_SAMPLED, draws.split(draws.noise_scale.copy()))
        if draws.scatter is not None:
            variables["scatter"] = (_SAMPLED, draws.split(draws.scatter.copy()))
        if draws.prior_scale is not None:
            variables["prior_scale"] = (_SAMPLED, draws.split(draws.prior_scale.copy()))
        variables |= {
            name: (_SAMPLED, draws.split(np.array(values))) for name, values in draws.auxiliary.items()
        }
        if self._posterior.chains is not None:
            # As `readable_model` calls them.
            prefix = "coef_standardized" if self._standardized else "coef"
            for name, values in self._posterior.chains.scales.items():
                dims = (*_SAMPLED, "feature")[: values.ndim]
                variables[f"{prefix}_{name}"] = (dims, values.copy())
        return variables

    def _of_data(self, given: GivenDraws, rng: np.random.Generator) -> dict[str, Variables]:
        """Return the groups that are about data."""
        observed, draws = given.observed, given.draws
        predicted, log_likelihood = given.held_against(rng)
        dims = (*_SAMPLED, "obs")
        constant: Variables = {"X": (("obs", "feature"), observed.X)}
        if observed.standard_error is not None:
            constant["y_err"] = (("obs",), observed.standard_error)
        constant |= {name: (("obs",), values) for name, values in observed.constant.items()}
        return {
            "posterior_predictive": {"y": (dims, draws.split(predicted))},
            "log_likelihood": {"y": (dims, draws.split(log_likelihood))},
            "observed_data": {"y": (("obs",), observed.y)},
            "constant_data": constant,
        }

    def _of_prior(self, described: _Described, names: list[str]) -> dict[str, Variables]:
        """Return the groups of the prior: the parameters of these names, and the target."""
        problem = described.problem
        flat = [
            role
            for role in _PRIOR_ROLES
            if isinstance(getattr(problem, role), Flat)
            and not (role == "noise_prior" and not problem.noise.has_scale)
        ]
        if flat:
            instead = ", ".join(f"{role}={_PRIOR_ROLES[role]}" for role in flat)
            raise ValueError(
                f"prior=True, but Flat() can't be drawn from: use {instead}, or another proper prior; or leave prior"
                " out."
            )
        drawn = prior_draws(described.to_pymc(), [*names, "y"], self.draws, self._seed)
        target, frequency = drawn["y"], problem.rows.frequency
        if problem.feature_errors is not None and frequency is not None:
            # Copies of a row have true features of their own: the first stands for it.
            times = frequency[frequency > 0.0].astype(np.intp)
            target = target[:, np.cumsum(times) - times]
        if problem.likelihood.counted:
            # PyMC's are counts.
            trials = np.ones(len(problem.rows.y)) if problem.trials is None else problem.trials
            used = slice(None) if frequency is None else np.flatnonzero(frequency)
            target = target / trials[used]
        dims: dict[str, tuple[str, ...]] = dict.fromkeys(names, _SAMPLED)
        dims |= {name: (*_SAMPLED, "feature") for name in names if drawn[name].ndim == 2}
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


def _labels(index: Any, n: int) -> NDArray[Any]:
    """Return one label a row: those of a data frame, else positions."""
    if index is None:
        return np.arange(n)
    if getattr(index, "nlevels", 1) > 1:
        return np.array([", ".join(map(str, label)) for label in index])
    labels = np.asarray(index)
    # Files hold text, not objects.
    return np.array([str(label) for label in labels]) if labels.dtype.kind == "O" else labels
