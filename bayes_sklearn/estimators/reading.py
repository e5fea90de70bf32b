"""What the estimator was given: arguments and parameters, checked.

`model` is the estimator; reading a table sets ``n_features_in_`` and ``feature_names_in_``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..inference.scaling import robust_units
from ..inference.settings import SamplerSettings
from ..inference.structural.wild import parameters_of
from ..likelihoods.base import Likelihood
from ..likelihoods.noise import NOISES, SCALED, Noise
from ..likelihoods.registry import check_shared_errors, check_takes_exposure, resolve_likelihood
from ..measurements.checks import as_shares, read_table, read_target
from ..measurements.columns import Columns
from ..measurements.compressed import Compressed, Rows
from ..measurements.correlated.arguments import resolve_correlated, with_correlated
from ..measurements.correlated.shared_readings import resolve_shared_readings
from ..measurements.feature_errors import FeatureErrors, check_measured, resolve_feature_errors
from ..measurements.groups.labels import Groupings
from ..measurements.limits import Limits, resolve_limits, resolve_truncation, unknown_in
from ..measurements.messages import shown
from ..measurements.missing import anything_known, check_known, filled, likely_readings, too_large
from ..measurements.target_errors import TargetErrors, check_trials, resolve_exposure, resolve_target_errors
from ..measurements.weights import Before
from ..priors.base import (
    CoefficientPrior,
    Flat,
    Prior,
    ScaleMixture,
    ScalePrior,
)
from ..priors.coefficients import Normal, PoweredCorrelation
from ..priors.scales import HalfNormal, HalfStudentT
from ..priors.true_features import resolve_components, resolve_outliers
from .errors.factors import check_noise, freedom_of, known_instead, likely_errors
from .fitting import Specification
from .groups.given import group_settings, grouped

__all__ = [
    "TrainingData",
    "default_prior",
    "noise_of",
    "prior_of",
    "read",
    "read_errors",
    "read_limits",
    "sampler_settings",
    "settable_prior",
    "specify",
]

Array = NDArray[np.float64]

# Errors so many times a feature's spread say nothing of it: what has them was not measured.
NOTHING = 300.0

# Parameters that name columns of X which hold what is known of rows.
COLUMNS = ("count_column", "y_err_column", "exposure_column", "y_censored_column")


class TrainingData(NamedTuple):
    """What the estimator was given to fit, checked."""

    rows: Rows
    columns: Columns
    errors: TargetErrors
    feature_errors: FeatureErrors | None
    index: Any = None
    """Row labels, or None."""
    state: Compressed | None = None
    """Where the rows stand for others: the state of those."""
    truncation: tuple[float, float] | None = None
    """Limits between which the targets of rows lie that are in the table."""
    groupings: Groupings | None = None

    def take(self, index: NDArray[np.intp]) -> TrainingData:
        """Return some of the rows; an index may stand there several times."""
        of_features = None if self.feature_errors is None else self.feature_errors.take(index)
        return self._replace(
            rows=self.rows.subset(index),
            errors=self.errors.take(index),
            feature_errors=of_features,
            index=None if self.index is None else self.index[index],
        )

    def weighted(self, frequency: Array | None) -> TrainingData:
        """Return the rows, each of which counts so often."""
        return self._replace(
            rows=replace(self.rows, frequency=frequency), errors=replace(self.errors, frequency=frequency)
        )

    def repeated(self) -> TrainingData:
        """Return rows that stand there as often as they count, which has to be whole numbers."""
        if self.rows.frequency is None:
            return self
        times = self.rows.frequency.astype(np.intp)
        return self.take(np.repeat(np.arange(len(times)), times)).weighted(None)

    def target_is_constant(self, fit_intercept: bool) -> bool:
        """Whether all rows that count have one target, but for rounding; without an intercept zero."""
        rounding = 10.0 * np.finfo(np.float64).eps
        if self.state is not None:
            mean = abs(float(self.state.mean[-1] + self.state.origin[-1]))
            constant = bool(self.state.standard_deviation[-1] <= rounding * mean)
            return constant and (fit_intercept or mean == 0.0)
        y = self.rows.y if self.rows.frequency is None else self.rows.y[self.rows.frequency > 0.0]
        told = len(y) > 0 and (fit_intercept or not y.any())
        return bool(told and np.ptp(y) <= rounding * np.abs(y).max())


def read(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    of_target: Mapping[str, Any],
    feature_errors: Mapping[str, Any],
    *,
    batch: bool = False,
    before: Before | None = None,
    reset: bool = True,
) -> TrainingData:
    """Check the arguments of `fit`, and settle what the columns and weights are.

    `of_target` is what else is known of it, by argument: ``y_err``, ``exposure``, ``y_censored``, ``y_upper``.
    `batch` says that other rows come before or after these; `before`, what the weights of those before were;
    `reset`, whether X says what the columns are, or has to have those of before.
    """
    index = getattr(X, "index", None) if hasattr(X, "iloc") else None
    table, columns = _read_table(model, X, reset=reset, min_samples=1 if batch else 2)
    held = columns.held(table)
    if not len(columns.feature_names) and not model.fit_intercept:
        raise ValueError("X has no features, and fit_intercept=False: there is nothing to fit.")
    target = read_target(y, model, n=len(table), weight=held.get("count_column", sample_weight))
    likelihood, unknown = resolve_likelihood(model.likelihood), np.isnan(target)
    check_known(gaps := columns.missing(table), unknown, columns, table, batch=batch)
    as_given = anything_known(target, counted=likelihood.counted)
    n, normal = len(table), likelihood.is_normal
    correlated, of_target = resolve_correlated(n, of_target, held, model, sample_weight, normal=normal)
    given, noise = {"sample_weight": sample_weight, **of_target}, NOISES[model.noise]
    errors, target = read_errors(
        likelihood,
        as_given,
        held,
        given,
        weight_type=model.weight_type,
        batch=batch,
        before=before,
        scattered=noise.scatters and not batch,
    )
    check_shared_errors(likelihood, feature_errors)
    limits = read_limits(likelihood, as_given, errors, held, given, batch=batch)
    of_features = resolve_feature_errors(
        len(target),
        columns.feature_names.tolist(),
        columns=columns.held_errors(table),
        y_err=errors.standard_error if errors.kind == "standard_error" else None,
        missing=gaps,
        X=table if columns.features is None else table[:, columns.features],
        **{name: value for name, value in feature_errors.items() if name != "X_err_groups"},
    )
    check_noise(noise, errors, of_features, likelihood)
    if batch:
        check_measured(of_features)
    groups, members = grouped(model, X, columns, of_features, correlated, batch=batch)
    rows = Rows(table, target, columns.features, errors.frequency, limits=limits, members=members)
    data = TrainingData(rows, columns, errors, of_features, index, groupings=groups)
    data = _without_gaps(_sharing(data, feature_errors, model, unknown, correlated), unknown, likelihood)
    data = data._replace(errors=with_correlated(correlated, data))
    return data if model.truncation is None else _selected(model.truncation, data, likelihood, batch=batch)


def _read_table(model: Any, X: Any, **wanted: Any) -> tuple[NDArray[np.floating], Columns]:
    """Return the table and what its columns are; one that is missing is refused before what others hold."""
    settings = {**{name: getattr(model, name) for name in COLUMNS}, **group_settings(model)}
    try:
        table = read_table(model, X, **wanted)
    except (TypeError, ValueError):
        if hasattr(X, "iloc") and all(isinstance(name, str) for name in X.columns):
            Columns.of(settings, X.columns.to_numpy(), X.shape[1], model.error_columns)
        raise
    names = getattr(model, "feature_names_in_", None)
    return table, Columns.of(settings, names, table.shape[1], model.error_columns)


def _sharing(
    data: TrainingData,
    of_features: Mapping[str, Any],
    model: Any,
    unknown: NDArray[np.bool_],
    correlated: object,
) -> TrainingData:
    """Return data whose rows share readings, if labels say so."""
    labels = of_features.get("X_err_groups")
    if labels is None:
        return data
    errors = resolve_shared_readings(
        labels,
        data,
        model,
        measured=data.rows.limits is None and not unknown.any(),
        correlated=correlated is not None,
        normal=resolve_likelihood(model.likelihood).is_normal,
        scatters=noise_of(model, data).scatters,
    )
    return data._replace(feature_errors=errors)


def _without_gaps(data: TrainingData, unknown: NDArray[np.bool_], likelihood: Likelihood) -> TrainingData:
    """Return data with likely values in the place of what was not measured, and errors and limits that say so.

    Rows of which y is not known are left out, unless they tell how features with errors are distributed.
    """
    rows, errors = data.rows, data.feature_errors
    if errors is None:
        once = 1.0 if rows.frequency is None else rows.frequency
        return data.weighted(np.where(unknown, 0.0, once)) if unknown.any() else data
    useless = None
    if errors.uneven(NOTHING):
        readings = np.asarray(rows.take(slice(None))[:, errors.noisy], dtype=np.float64)
        useless = too_large(errors, NOTHING, readings, rows.frequency)
    errors = errors if useless is None else errors.not_measured(useless)
    rows = likely_readings(rows, errors, data.columns.feature_names.tolist())
    if unknown.any():
        rows = replace(rows, limits=unknown_in(rows.limits, unknown))
    plain = likelihood.link.is_identity and data.errors.counts is None
    return data._replace(rows=filled(rows, errors.noisy, errors.unmeasured, plain), feature_errors=errors)


def _selected(truncation: object, data: TrainingData, likelihood: Likelihood, *, batch: bool) -> TrainingData:
    """Return the data with limits between which targets lie of rows in the table; refuse what doesn't go with any."""
    instead, rows, unknown = None, data.rows, data.rows.limits is not None and data.rows.limits.unknown
    over = data.errors.counts if likelihood.per == "exposure" else None
    found, limits = resolve_truncation(
        truncation, rows.y, rows.used, rows.limits, over, counted=likelihood.counted
    )
    if data.errors.kind == "counts" and not likelihood.counted:
        instead = "shares under likelihood='binomial' or 'beta_binomial', or with weight_type='frequency'"
    elif batch:
        instead = "all rows at once: call fit"
    elif np.any(unknown):
        instead = "a y that is known in every row, be it by a limit: leave out rows whose y is NaN"
    if found is not None and instead is not None:
        raise ValueError(f"truncation, by which rows are selected, goes with {instead}.")
    return data._replace(truncation=found, rows=replace(rows, limits=limits))


def specify(model: Any, data: TrainingData) -> Specification:
    """Return what the parameters say of the model, priors checked."""
    intercept_prior = prior_of(model, "intercept_prior", CoefficientPrior, 1)
    priors = {
        "coef_prior": prior_of(model, "coef_prior", CoefficientPrior, data.rows.n_features),
        "intercept_prior": intercept_prior if model.fit_intercept else None,
        "noise_prior": prior_of(model, "noise_prior", ScalePrior, 1),
    }
    group_prior = None if data.groupings is None else prior_of(model, "group_prior", ScalePrior, 1)
    noise, likelihood = noise_of(model, data), resolve_likelihood(model.likelihood)
    *_, likely = likely_errors(noise, data.rows, data.errors, data.feature_errors)
    return Specification(
        noise,
        model.standardize,
        priors,
        model.count_error,
        float(model.error_floor),
        data.feature_errors,
        resolve_components(model.x_distribution),
        likelihood,
        data.errors.counts,
        data.state,
        relative_to=data.errors.root_mean_square if data.errors.weight_type == "precision" else None,
        prior_units=robust_units(data.rows, likely, likelihood, data.errors.counts),
        truncation=data.truncation,
        outliers=parameters_of(resolve_outliers(model.x_error_distribution)),
        error_freedom=freedom_of(model, data.columns, data.feature_errors),
        groupings=data.groupings,
        group_prior=group_prior,
        correlated=data.errors.correlated,
    )


def read_errors(
    likelihood: Likelihood,
    target: Array,
    held: Mapping[str, Array],
    given: Mapping[str, Any],
    *,
    weight_type: str,
    scattered: bool,
    batch: bool = False,
    before: Before | None = None,
) -> tuple[TargetErrors, Array]:
    """Return the errors of a target, or what it was counted by, and the target as likelihoods see it.

    Parameters
    ----------
    likelihood : Likelihood
    target : ndarray of shape (n,)
    held : mapping of str to ndarray
        Columns of X that are no features, by setting.
    given : mapping of str to object
        ``sample_weight`` and what else is known of the target, as given.
    weight_type, scattered, batch, before
        As for `resolve_target_errors`.
    """
    check_takes_exposure(likelihood, given.get("exposure"), held)
    y_err, y_err_column, count_column = given.get("y_err"), held.get("y_err_column"), held.get("count_column")
    if likelihood.per == "exposure":
        errors = resolve_exposure(
            target,
            sample_weight=given["sample_weight"],
            weight_type=weight_type,
            given={"y_err": y_err, "y_err_column": y_err_column, "count_column": count_column},
            exposure=given.get("exposure"),
            exposure_column=held.get("exposure_column"),
            likelihood=likelihood.name,
        )
        return errors, target if errors.counts is None else target / errors.counts
    # Where there is no place for errors of y no weight states any.
    frequencies = not likelihood.counted and not likelihood.has_noise_scale
    stated = {"y_err": y_err, "y_err_column": y_err_column, "count_column": count_column}
    names = [name for name, value in stated.items() if frequencies and value is not None]
    if frequencies and weight_type not in ("auto", "frequency"):
        names.append(f"weight_type={weight_type!r}")
    if names:
        raise ValueError(
            f"{names[0]} is given, but likelihood={likelihood.name!r} has no place for errors of y: leave it out, or"
            " use likelihood='normal'."
        )
    errors = resolve_target_errors(
        target,
        sample_weight=given["sample_weight"],
        weight_type="frequency" if frequencies else weight_type,
        y_err=y_err,
        batch=batch,
        before=before,
        y_err_column=y_err_column,
        count_column=count_column,
        scattered=scattered,
        likelihood=likelihood.name if likelihood.counted else None,
    )
    seen = slice(None) if errors.frequency is None else errors.frequency > 0.0
    target = likelihood.checked_target(target, seen)
    if likelihood.counted:
        check_trials(target, errors, likelihood.name)
    return errors, as_shares(target) if errors.counts is not None or likelihood.counted else target


def read_limits(
    likelihood: Likelihood,
    target: Array,
    errors: TargetErrors,
    held: Mapping[str, Array],
    given: Mapping[str, Any],
    *,
    batch: bool = False,
) -> Limits | None:
    """Return limits in the place of targets, as likelihoods see them; None: all were measured.

    Parameters
    ----------
    target : ndarray of shape (n,)
        As given.
    errors : TargetErrors
    likelihood, held, given, batch
        As for `read_errors`.
    """
    limits = resolve_limits(
        target, given.get("y_censored"), given.get("y_upper"), held.get("y_censored_column")
    )
    if limits is None:
        return None
    instead = None
    if batch:
        instead = "all rows at once: call fit"
    elif errors.kind == "counts" and not likelihood.counted:
        instead = "shares under likelihood='binomial' or 'beta_binomial', or with weight_type='frequency'"
    if instead is not None:
        raise ValueError(f"y_censored (or y_upper), by which y is a limit in some rows, goes with {instead}.")
    if likelihood.per == "exposure" and errors.counts is not None:
        return limits.scaled(0.0, errors.counts)
    return limits


def noise_of(model: Any, data: TrainingData) -> Noise:
    """Return the parameter `noise`, validated by now; "auto" takes errors of y that all are there and stated.

    A multiple of stated errors is found from how targets differ: where none does, errors are what is stated. Away
    from zero it does without an intercept.
    """
    stated = data.errors.kind == "standard_error" and data.errors.weight_type != "precision"
    noise = NOISES[model.noise]
    if noise.multiplies and stated and data.target_is_constant(model.fit_intercept):
        return known_instead(noise)
    if noise.combined and (data.errors.kind != "standard_error" or data.state is not None):
        return SCALED
    return noise


def prior_of(model: Any, role: str, kind: type[Prior], size: int) -> Any:
    """Return a role's prior, its default where it is None, checked."""
    prior = getattr(model, role)
    if prior is None:
        likelihood = resolve_likelihood(model.likelihood)
        if role == "intercept_prior" and likelihood.per == "exposure" and not model.standardize:
            return Flat()  # rates have a unit, and features an origin, that no prior knows
        return default_prior(role, likelihood)
    if not isinstance(prior, kind):
        of_scales = "the groups' standard deviations" if role == "group_prior" else "the noise scale"
        wanted = of_scales if kind is ScalePrior else "coefficients"
        fitting = "HalfNormal() or HalfStudentT()" if kind is ScalePrior else "Normal() or Flat()"
        raise TypeError(f"{role} must be a prior for {wanted}, such as {fitting}, got {shown(prior)}.")
    if isinstance(prior, ScaleMixture) and role == "intercept_prior":
        raise TypeError(
            f"intercept_prior can't be {shown(prior)}, which is for coefficients: use StudentT()."
        )
    if role == "intercept_prior" and prior.scale_prior is not None:
        raise TypeError(
            f"intercept_prior={shown(prior)}: a scale is learned from coefficients that share it, and the"
            " intercept is one number. Give a number, or None for an intercept that the data alone place."
        )
    prior.check(role, size)
    return prior


def default_prior(role: str, likelihood: Likelihood) -> Prior:
    """Return the prior of a role for which none is given; it may be shared, and is not to be changed."""
    if role in ("noise_prior", "group_prior"):
        return HalfNormal() if role == "noise_prior" else HalfStudentT(nu=3.0)
    return likelihood.intercept_prior if role == "intercept_prior" else likelihood.coef_prior


def settable_prior(role: str, likelihood: Likelihood) -> Prior:
    """Return the prior whose parameters may be set where none is given: a plain one."""
    prior = default_prior(role, likelihood)
    return Normal() if isinstance(prior, PoweredCorrelation | Flat) else prior


def sampler_settings(model: Any) -> SamplerSettings:
    """Return what engines that sample are told; the seed is settled here."""
    seed = int(check_random_state(model.random_state).randint(2**31 - 1))
    return SamplerSettings(model.draws, model.chains, model.nuts_kwargs, seed, bool(model.verbose))
