"""What rows state of their errors, read as a fitted model reads them.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..likelihoods.additive import NormalLikelihood
from ..likelihoods.base import Observations
from ..likelihoods.noise import KNOWN, Noise
from ..measurements.checks import check_vector, read_table
from ..measurements.target_errors import FITTED_PRIOR_COUNT
from ..prediction.distribution import PredictiveDistribution
from ..prediction.gaps import filled_rows, gaps_of
from ..prediction.line import mean_parts
from ..prediction.of_estimators import final_regressor, predictive_distribution

__all__ = [
    "JudgedRows",
    "Kind",
    "Variances",
    "error_bars",
    "finite_counts",
    "judged",
    "noise_in_fit",
    "stated_error",
    "variances_of",
]

Array = NDArray[np.float64]

Kind = Literal["counts", "events", "standard_error", "predicted", "fitted"]


class JudgedRows(NamedTuple):
    """Rows and what they state, read as the model reads them."""

    model: BayesianErrorsInVariablesRegressor
    table: Any
    """As given to the model, ..."""
    values: Array
    """... and as numbers."""
    frequency: Array | None
    counts: Array | None
    """The numbers behind shares; of events those expected."""
    y_err: Any
    errors: Mapping[str, Any]
    """Of features, where stated."""
    kind: Kind
    used: NDArray[np.bool_]
    """(n,) rows that count and state an error to judge."""
    distribution: PredictiveDistribution


def judged(
    model: BayesianErrorsInVariablesRegressor,
    table: Any,
    sample_weight: Any,
    y_err: Any,
    errors: Mapping[str, Any],
    exposure: Any,
    held_out: bool,
) -> JudgedRows:
    """Read what rows state; refuse what can't be judged."""
    values = np.asarray(read_table(model, table), dtype=np.float64)
    n, fitted = len(values), model._fitted
    if fitted.truncation is not None and not held_out:
        raise ValueError(
            "The model was fitted to rows that were selected by their targets (truncation), and there is no audit of"
            " these: give others that were selected so, with held_out=True."
        )
    if fitted.told is not None and not held_out:
        raise ValueError(
            f"The model was fitted with {fitted.told.argument}, correlated errors, and there is no audit of"
            " such rows: give others, whose errors are independent, with held_out=True."
        )
    if fitted.readings_shared and not held_out:
        raise ValueError(
            "The model was fitted with X_err_groups, readings that rows share, and there is no audit of such rows:"
            " give others, each with a reading of its own, with held_out=True."
        )
    if fitted.readings_limited and not held_out:
        raise ValueError(
            "The model was fitted with X_censored, limits in the place of readings, of which there is no audit: give"
            " rows whose features were all measured, with held_out=True."
        )
    frequency, counts = None, None
    if sample_weight is not None:
        weight = np.broadcast_to(check_vector(sample_weight, n, "sample_weight"), (n,))
        if model.weight_type_ == "counts":
            counts = weight
        else:
            frequency = weight
    fitted.check_exposed(exposure)
    of_outcomes = fitted.likelihood.per == "trials" and fitted.noise_model.kind == "none"
    if counts is None and of_outcomes and "count_column" not in fitted.columns.special:
        counts = np.ones(n)
    distribution = predictive_distribution(
        model, table, counts=counts, y_err=y_err, exposure=exposure, **errors
    )
    held, gaps = fitted.columns.held(values), gaps_of(values, fitted.columns, fitted.posterior)
    values = filled_rows(values, gaps, fitted.columns, fitted.posterior)
    counts, y_err = held.get("count_column", counts), held.get("y_err_column", y_err)
    kind: Kind = "standard_error" if counts is None else "counts"
    if fitted.likelihood.per == "exposure":
        counts, kind = distribution.mean(), "events"
    elif y_err is None and (counts is None or (fitted.likelihood.counted and np.all(counts <= 1.0))):
        kind = "fitted"  # nothing is stated, or single outcomes, whose errors can't be wrong
    _check_stated(model, counts, y_err, errors, held_out)
    used = np.ones(n, dtype=bool) if frequency is None else frequency > 0.0
    if counts is not None:
        used &= counts > 0.0
    elif y_err is not None:  # rows whose only noise is the scatter state none to judge
        used &= (y_err := np.broadcast_to(check_vector(y_err, n, "y_err"), (n,))) > 0.0
    return JudgedRows(model, table, values, frequency, counts, y_err, errors, kind, used, distribution)


class Variances(NamedTuple):
    """What rows vary by about the line, (n,) each."""

    stated: Array
    """The standard errors that they state."""
    noise: Array
    """The variance that they had in the fit, ..."""
    of_features: Array
    """... and beside it what the errors of features give."""
    left_open: Array
    """What those give beside the stated errors."""


def variances_of(rows: JudgedRows) -> Variances:
    """Return what rows vary by about the line."""
    model, counts, parts = rows.model, rows.counts, rows.distribution.variance_parts
    n, mean = len(rows.used), rows.distribution.mean()
    of_features = left_open = parts.get("feature_error", np.zeros(n))
    if rows.kind == "events":
        finite = parts["finite_count"]
        return Variances(np.sqrt(finite), parts["scatter"] + finite, of_features, left_open)
    if not (model._fitted.likelihood.counted or model._fitted.likelihood.has_noise_scale):
        return Variances(np.sqrt(parts["scatter"]), parts["scatter"], of_features, left_open)
    if model._fitted.likelihood.counted:
        trials = np.asarray(counts)
        bernoulli = parts["scatter"] + trials * parts["finite_count"]
        stated = np.sqrt(bernoulli / np.where(trials > 0.0, trials, 1.0))
        return Variances(stated, parts["scatter"] + parts["finite_count"], of_features, left_open)
    stated = np.broadcast_to(stated_error(model, mean, counts, rows.y_err), (n,))
    noise = noise_in_fit(model, mean, counts, rows.y_err)
    if "Xy_cov" in rows.errors:
        # Features may leave less than the target's own error, and no multiple of them is stated; of noise with tails
        # what is stated is its scale.
        left_open, of_features = (
            _left_beside(rows, kind, error)
            for kind, error in ((KNOWN, stated), (model._fitted.noise_model.noise, None))
        )
    return Variances(stated, noise, of_features, left_open)


def _left_beside(rows: JudgedRows, noise: Noise, stated: Array | None) -> Array:
    """Return the variance by errors of features, (n,), beside normal noise, as stated or as in the fit."""
    model, fitted = copy(rows.model), rows.model._fitted
    noise_model = replace(fitted.noise_model, noise=noise)
    model._fitted = replace(fitted, likelihood=NormalLikelihood(), noise_model=noise_model)
    found = predictive_distribution(model, rows.table, y_err=rows.y_err, **rows.errors)
    own = noise_in_fit(model, found.mean(), None, rows.y_err) if stated is None else np.square(stated)
    return np.asarray(found.var() - found.variance_parts["parameters"] - own)


def stated_error(
    model: BayesianErrorsInVariablesRegressor, share: Array, counts: Array | None, y_err: Any
) -> Array:
    """Return the standard errors that rows state, before any noise scale or extra-binomial variation.

    Parameters
    ----------
    model : BayesianErrorsInVariablesRegressor
        Fitted, with a likelihood whose noise is added to the line.
    share : ndarray of shape (n,)
        Predicted shares, at which counts give their errors.
    counts : ndarray of shape (n,), optional
    y_err : float or ndarray of shape (n,), optional
        Where there are no counts; None: nothing states them, and the noise scale that was fitted stands for them.
    """
    if counts is None:
        return np.asarray(model.noise_scale_ if y_err is None else y_err, dtype=np.float64)
    binomial = replace(model._fitted.noise_model.count_errors, overdispersion=0.0)
    return binomial.standard_error(binomial.bernoulli_variance(share, counts), counts)


def noise_in_fit(
    model: BayesianErrorsInVariablesRegressor,
    share: Array,
    counts: Array | None,
    y_err: Any,
    prior_count: float = FITTED_PRIOR_COUNT,
) -> Array:
    """Return the variance that rows had in the fit; of Student's noise that of as informative normal noise.

    Count errors of the fit gave less to a row's own share than those of predictions, by `prior_count`.
    """
    posterior, noise_model = model._fitted.posterior, model._fitted.noise_model
    if counts is None:
        parts = noise_model.parts(y_err=None if y_err is None else np.asarray(y_err, dtype=np.float64))
    else:
        count_errors = replace(noise_model.count_errors, prior_count=prior_count)
        parts = replace(noise_model, count_errors=count_errors).parts(share, counts)
    one = Observations(np.zeros(1), 1.0, KNOWN)
    told = model._fitted.likelihood.information(posterior.auxiliary, one, 0.0)
    means = mean_parts(parts, posterior, posterior.weights / told)
    return np.sum([np.broadcast_to(mean, len(share)) for mean in means.values()], axis=0)


def finite_counts(rows: JudgedRows) -> tuple[Array, Array]:
    """Return rows' variances by the finite number of what was counted, (n,), and the excess of their kurtosis."""
    mean, counts, fitted = rows.distribution.mean(), np.asarray(rows.counts), rows.model._fitted
    if rows.kind == "events":
        return mean, 1.0 / np.maximum(mean, 1e-12)
    trials = np.where(counts > 0.0, counts, 1.0)
    if fitted.likelihood.counted:
        share = np.clip(mean, 1e-12, 1.0 - 1e-12)
        bernoulli = share * (1.0 - share)
    else:
        bernoulli = fitted.noise_model.count_errors.bernoulli_variance(mean, counts)
    return bernoulli / trials, (1.0 - 6.0 * bernoulli) / (trials * bernoulli)


def _check_stated(
    model: BayesianErrorsInVariablesRegressor, counts: Any, y_err: Any, of_features: Any, held_out: bool
) -> None:
    """Refuse rows that state no errors to judge."""
    features = bool(of_features) or bool(model._fitted.columns.errors)
    kind = model._fitted.noise_model.kind
    if kind == "counts" and counts is None:
        raise ValueError(
            "The model was fitted with counts behind its shares, but the rows state none: give sample_weight, as in"
            " fit."
        )
    if kind == "standard_error" and y_err is None and counts is None:
        raise ValueError(
            "The model was fitted with errors of y, but the rows state none: give y_err, as in fit."
        )
    if not held_out and model._fitted.rows_state_feature_errors and not features:
        raise ValueError(
            "The model was fitted with errors of features: give X_err (or X_cov), as in fit. For new rows, measured"
            " as those, say held_out=True."
        )
    if model._fitted.errors_go_together and "Xy_cov" not in of_features:
        raise ValueError(
            "The model was fitted with Xy_cov, errors that X and y share: give Xy_cov, with X_err (or X_cov)."
        )


def error_bars(
    estimator: Any,
    X: Any,
    counts: ArrayLike | float | None,
    y_err: Any,
    exposure: Any = None,
    **of_features: Any,
) -> Array | None:
    """Return the standard errors of measurements at these rows, (n,); None where nothing states them.

    Parameters
    ----------
    estimator, X
        As for `predictive_distribution`.
    counts, y_err : optional
        As for predict; columns of X may hold them, too.
    exposure : optional
        Likewise: numbers of events have the roots of those predicted.
    **of_features
        ``X_err``, ``X_cov``, likewise: counts give errors at the shares predicted.
    """
    regressor, table = final_regressor(estimator, X)
    n = len(table)
    if isinstance(regressor, BayesianErrorsInVariablesRegressor):
        held = regressor._fitted.columns.held(np.asarray(read_table(regressor, table), dtype=np.float64))
        counts, y_err = held.get("count_column", counts), held.get("y_err_column", y_err)
        if regressor._fitted.likelihood.per == "exposure":
            return np.sqrt(regressor.predict_distribution(table, exposure=exposure, **of_features).mean())
        if counts is not None:
            behind = np.broadcast_to(check_vector(counts, n, "counts"), (n,))
            share = regressor.predict_distribution(table, **of_features).mean()
            if not regressor._fitted.likelihood.counted:
                return stated_error(regressor, share, behind, None)
            unit = regressor._fitted.likelihood.link.slope(share)
            return np.sqrt(unit / np.where(behind > 0.0, behind, 1.0))
    return None if y_err is None else np.broadcast_to(check_vector(y_err, n, "y_err"), (n,))
