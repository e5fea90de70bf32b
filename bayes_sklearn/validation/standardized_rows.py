"""How far rows lie from the line, in units of their stated errors: what an audit of errors looks at.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..likelihoods.additive import StudentTLikelihood
from ..likelihoods.base import Observations
from ..likelihoods.noise import KNOWN
from ..measurements.checks import check_vector
from ..measurements.target_errors import FITTED_PRIOR_COUNT, PREDICTED_PRIOR_COUNT
from ..prediction.distribution import PredictiveDistribution
from ..prediction.line import mean_parts
from ..prediction.of_estimators import final_regressor, predictive_distribution
from .patterns import LineRows, orthonormal
from .tails import Tails

__all__ = ["StandardizedRows", "standardize_rows", "stated_error"]

Array = NDArray[np.float64]

Kind = Literal["counts", "standard_error", "predicted", "fitted"]

# Leverages of rows of the fit add up to at most the number of parameters; they are known roughly where errors
# follow from predicted shares.
_ROUGHLY = 2.0

_LARGEST_LEVERAGE = 0.95

# Squares of single outcomes that are as likely as not do not vary at all.
_LEAST_VARIANCE = 1e-3


class StandardizedRows(NamedTuple):
    """Rows beside what was stated and predicted of them, (n,) each; rows of weight or count 0 are left out."""

    used: NDArray[np.bool_]
    """(rows given,) which of them these are."""
    residual: Array
    """Standard normal, or Student's, where the stated errors are right, (51)."""
    tails: Tails
    """Of the residuals."""
    score_variance: Array
    """Variance of its score where the stated errors are right; 2 for normal errors, more for small counts, (55)."""
    leverage: Array
    """What of a row's variance, as fitted, is the line's."""
    degrees: Array
    """Degrees of freedom of its residual: less than 1 where the line has adapted to the row."""
    common_variance: float
    """Relative variance of the residuals' mean square by the line that new rows share, (54)."""
    stated: Array
    """Standard error that is stated of the row."""
    feature_error: Array
    """Standard deviation that the stated errors of its features give its distance from the line."""
    counts: Array | None
    prediction: Array
    frequency: Array | None
    kind: Kind
    """What states the errors; "predicted": nothing does, they are the predictions' standard deviations; "fitted":
    nothing does, they are the noise that was fitted."""
    distribution: PredictiveDistribution
    """Of all rows given, as measurements."""
    line: LineRows | None
    """What the tests for patterns look at; None of a regressor whose line is not known."""


def standardize_rows(
    estimator: Any,
    X: Any,
    y: Array,
    sample_weight: ArrayLike | None = None,
    *,
    y_err: ArrayLike | float | None = None,
    X_err: Any = None,
    X_cov: Any = None,
    Xy_cov: Any = None,
    groups: NDArray[np.intp] | None = None,
    held_out: bool = False,
) -> StandardizedRows:
    """Return the distances of rows from the line in units of their stated errors, (51).

    A row's residual is divided by ``sqrt(b (1 + h))``, with b the variance that its stated errors give (those of
    features included) and h the line's variance over the row's noise variance, both as fitted. That ratio does not
    depend on the noise scale, which would absorb stated errors that are wrong. Of a row that was fitted the line
    has followed the row: its residual from the line without it is r / (1 - h), and the divisor of r is
    ``sqrt(b (1 - h))``. Where the fit took variances that are no multiple of those stated, the line's is what
    stated errors give a line with these weights.

    Parameters
    ----------
    estimator, X, y, sample_weight, y_err, X_err, X_cov, Xy_cov, held_out
        As for `audit_errors`, y checked.
    groups : ndarray of shape (n,), optional
        Numbers of the groups that rows are of.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.
    """
    regressor, table = final_regressor(estimator, X)
    if not isinstance(regressor, BayesianErrorsInVariablesRegressor):
        given = {"y_err": y_err, "X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "groups": groups}
        return _of_predictions(regressor, table, y, sample_weight, given, held_out)
    n, model = len(y), regressor
    frequency, counts = None, None
    if sample_weight is not None:
        weight = np.broadcast_to(check_vector(sample_weight, n, "sample_weight"), (n,))
        if getattr(model, "weight_type_", None) == "counts":
            counts = weight
        else:
            frequency = weight
    of_outcomes = model._fitted.likelihood.counted and model._fitted.noise_model.kind == "none"
    if counts is None and of_outcomes and "count_column" not in model._fitted.columns.special:
        counts = np.ones(n)
    of_features_given = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov}
    errors = {name: given for name, given in of_features_given.items() if given is not None}
    distribution = predictive_distribution(model, table, counts=counts, y_err=y_err, **errors)
    values = np.asarray(table, dtype=np.float64)
    held = model._fitted.columns.held(values)
    counts = held.get("count_column", counts)
    y_err = held.get("y_err_column", y_err)
    _check_stated(model, counts, y_err, errors, held_out)
    kind: Kind = "standard_error" if counts is None else "counts"
    if y_err is None and (counts is None or (model._fitted.likelihood.counted and np.all(counts <= 1.0))):
        kind = "fitted"  # nothing is stated, or single outcomes, whose errors can't be wrong
    used = np.ones(n, dtype=bool) if frequency is None else frequency > 0.0
    if counts is not None:
        used &= counts > 0.0
    elif y_err is not None:  # rows whose only noise is the scatter state none to judge
        used &= np.asarray(y_err) > 0.0
    mean, parts = distribution.mean(), distribution.variance_parts
    line, of_features = parts["parameters"], parts.get("feature_error", np.zeros(n))
    likelihood = model._fitted.likelihood
    if likelihood.counted:
        trials = np.asarray(counts)
        bernoulli = parts["scatter"] + trials * parts["finite_count"]
        stated = np.sqrt(bernoulli / np.where(trials > 0.0, trials, 1.0))
        noise = parts["scatter"] + parts["finite_count"]
    else:
        stated = np.broadcast_to(stated_error(model, mean, counts, y_err), (n,))
        noise = _noise_in_fit(model, mean, counts, y_err)
    left_open = of_features
    if (
        Xy_cov is not None
    ):  # which may leave less than the target's own error, and no multiple of them is stated
        as_stated = copy(model)
        noise_model = replace(model._fitted.noise_model, noise=KNOWN)
        as_stated._fitted = replace(model._fitted, noise_model=noise_model)
        alone = predictive_distribution(as_stated, table, y_err=y_err, **errors)
        left_open = alone.var() - alone.variance_parts["parameters"] - np.square(stated)
        of_features = distribution.var() - line - noise
    # (52); the noise scale, by which both are multiplied, drops out.
    variance = np.where(used, noise + of_features, 1.0)
    leverage = line / variance
    n_parameters = len(model.coef_) + int(model.fit_intercept)
    if not held_out:
        if frequency is not None:
            leverage = leverage * frequency  # the line follows one measurement by all of its copies
        _check_of_fit(leverage[used], n_parameters)
        leverage = np.minimum(leverage, _LARGEST_LEVERAGE)
    base = np.where(used, np.square(stated) + left_open, 1.0)
    design = _design(model, values[used], mean[used])
    own = np.zeros(n)
    of_fit = np.sqrt(variance[used])
    own[used] = variance[used] * _seen_by_line(design / of_fit[:, None], base[used] / variance[used])
    with np.errstate(invalid="ignore", divide="ignore"):  # rows left out
        residual = (y - mean) / np.sqrt(base * (1.0 if held_out else 1.0 - 2.0 * leverage) + leverage * own)
    scale = of_fit
    if counts is not None and not likelihood.counted:  # the best guess of the row's own variance
        guess = _noise_in_fit(model, mean, counts, y_err, PREDICTED_PRIOR_COUNT) + of_features
        scale = np.sqrt(guess[used])
    tails = _tails(model, residual[used], None if frequency is None else frequency[used])
    score_variance = np.full(n, 2.0 * tails.response)
    if counts is not None:
        trials = np.where(counts > 0.0, counts, 1.0)
        bernoulli = _bernoulli(model, mean, counts)
        excess = 1.0 if likelihood.per == "exposure" else 1.0 - 6.0 * bernoulli
        binomial = bernoulli / trials / base
        score_variance += np.square(binomial) * excess / (trials * bernoulli)  # (53)
        score_variance = np.maximum(score_variance, _LEAST_VARIANCE)
    return StandardizedRows(
        used,
        residual[used],
        tails,
        score_variance[used],
        leverage[used],
        (np.ones(n) if held_out else 1.0 - leverage)[used],
        _common_variance(leverage[used], n_parameters) if held_out else 0.0,
        stated[used],
        np.sqrt(np.maximum(left_open[used], 0.0)),
        None if counts is None else counts[used],
        mean[used],
        None if frequency is None else frequency[used],
        kind,
        distribution,
        LineRows(
            (y - mean)[used] / scale,
            scale,
            design / scale[:, None],
            mean[used],
            _features(model, values[used]),
            [str(name) for name in model._fitted.columns.feature_names],
            stated[used] if kind == "standard_error" else None,
            None if counts is None else counts[used],
            None if groups is None else np.unique(groups[used], return_inverse=True)[1],
            tails.nu,
        ),
    )


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


def _noise_in_fit(
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


def _features(model: BayesianErrorsInVariablesRegressor, table: Array) -> Array:
    """Return the columns of a table that are features."""
    return table if model._fitted.columns.features is None else table[:, model._fitted.columns.features]


def _design(model: BayesianErrorsInVariablesRegressor, table: Array, mean: Array) -> Array:
    """Return derivatives of predictions by the coefficients of a line in features as they were measured, (n, P)."""
    design = _features(model, table)
    if model.fit_intercept:
        design = np.column_stack([np.ones(len(table)), design - design.mean(axis=0)])
    return design * model._fitted.likelihood.link.slope(mean)[:, None]


def _seen_by_line(design: Array, ratio: Array) -> Array:
    """Return the mean ratio of stated variances to those in the fit, of rows that say where the line is, (52)."""
    basis = orthonormal(design)
    leverage = np.square(basis).sum(axis=1)
    seen = np.einsum("ij,jk,ik->i", basis, basis.T @ (basis * ratio[:, None]), basis)
    return np.where(leverage > 0.0, seen / np.where(leverage > 0.0, leverage, 1.0), ratio)


def _check_of_fit(leverage: Array, n_parameters: int) -> None:
    """Refuse rows at which the line is more uncertain than at rows of its fit."""
    if leverage.sum() > _ROUGHLY * max(n_parameters, 1):
        raise ValueError(
            "The line is more uncertain at these rows than at rows that it was fitted to: they are not the rows of"
            " fit, or y_err or sample_weight are not those of fit. Say held_out=True of new rows."
        )


def _common_variance(leverage: Array, n_parameters: int) -> float:
    """Return the relative variance of new rows' mean square that comes of the one line they are held against, (54).

    It is 2 |H|^2 / n^2, and |H|^2 is (sum h)^2 / P where all directions are about equally uncertain.
    """
    return float(2.0 * leverage.mean() ** 2 / max(n_parameters, 1))


def _tails(model: BayesianErrorsInVariablesRegressor, residual: Array, frequency: Array | None) -> Tails:
    """Return the tails of the residuals, those of Student's noise by the likelihood's nu or, if free, theirs."""
    likelihood = model._fitted.likelihood
    if not isinstance(likelihood, StudentTLikelihood):
        return Tails()
    if likelihood.nu_prior is None:
        return Tails(float(likelihood.constants["nu"]))
    return Tails.found(residual, np.ones(len(residual)) if frequency is None else frequency, likelihood.lower)


def _bernoulli(model: BayesianErrorsInVariablesRegressor, share: Array, counts: Array) -> Array:
    """Return p (1 - p) at predicted shares, of rates what one unit of exposure varies by, (n,)."""
    likelihood = model._fitted.likelihood
    if likelihood.counted:
        return likelihood.link.slope(np.clip(share, 1e-12, likelihood.link.upper - 1e-12))
    return model._fitted.noise_model.count_errors.bernoulli_variance(share, counts)


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
    if not held_out and model._fitted.posterior.true_features is not None and not features:
        raise ValueError(
            "The model was fitted with errors of features: give X_err (or X_cov), as in fit. For new rows, measured"
            " as those, say held_out=True."
        )
    if model._fitted.errors_go_together and "Xy_cov" not in of_features:
        raise ValueError(
            "The model was fitted with Xy_cov, errors that X and y share: give Xy_cov, with X_err (or X_cov)."
        )


def _of_predictions(
    regressor: Any,
    X: Any,
    y: Array,
    sample_weight: ArrayLike | None,
    given: dict[str, object],
    held_out: bool,
) -> StandardizedRows:
    """Judge the standard deviations that any other regressor predicts."""
    name = type(regressor).__name__
    if given.pop("groups") is not None:
        raise ValueError(f"groups is given, but {name} is no line of this package: leave it out.")
    for argument, value in given.items():
        if value is not None:
            raise ValueError(
                f"{argument} is given, but {name} takes no stated errors: leave it out to judge the standard"
                " deviations that it predicts."
            )
    if not held_out:
        raise ValueError(
            f"{name} takes no stated errors, and its predicted standard deviations were fitted to these rows: judge"
            " them on other rows, and say held_out=True."
        )
    n = len(y)
    distribution = predictive_distribution(regressor, X)
    mean, std = distribution.mean_and_std()
    frequency = None
    used = np.ones(n, dtype=bool)
    if sample_weight is not None:
        frequency = np.broadcast_to(check_vector(sample_weight, n, "sample_weight"), (n,))
        used = frequency > 0.0
        frequency = frequency[used]
    return StandardizedRows(
        used,
        ((y - mean) / std)[used],
        Tails(),
        np.full(used.sum(), 2.0),
        np.zeros(used.sum()),
        np.ones(used.sum()),
        0.0,
        std[used],
        np.zeros(used.sum()),
        None,
        mean[used],
        frequency,
        "predicted",
        distribution,
        None,
    )


def error_bars(
    estimator: Any, X: Any, counts: ArrayLike | float | None, y_err: Any, **of_features: Any
) -> Array | None:
    """Return the standard errors of measurements at these rows, (n,); None where nothing states them.

    Parameters
    ----------
    estimator, X
        As for `predictive_distribution`.
    counts, y_err : optional
        As for predict; columns of X may hold them, too.
    **of_features
        ``X_err``, ``X_cov``, likewise: counts give errors at the shares predicted.
    """
    regressor, table = final_regressor(estimator, X)
    n = len(table)
    if isinstance(regressor, BayesianErrorsInVariablesRegressor):
        held = regressor._fitted.columns.held(np.asarray(table, dtype=np.float64))
        counts, y_err = held.get("count_column", counts), held.get("y_err_column", y_err)
        if counts is not None:
            behind = np.broadcast_to(check_vector(counts, n, "counts"), (n,))
            share = regressor.predict_distribution(table, **of_features).mean()
            if not regressor._fitted.likelihood.counted:
                return stated_error(regressor, share, behind, None)
            unit = regressor._fitted.likelihood.link.slope(share)
            return np.sqrt(unit / np.where(behind > 0.0, behind, 1.0))
    return None if y_err is None else np.broadcast_to(check_vector(y_err, n, "y_err"), (n,))
