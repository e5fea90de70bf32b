"""How far rows lie from the line, in units of their stated errors: what an audit of errors looks at.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..likelihoods.additive import StudentTLikelihood
from ..likelihoods.special_functions import counts_below
from ..measurements.checks import check_vector
from ..measurements.limits import Limits, resolve_limits, resolve_truncation, truncated_normal
from ..measurements.missing import anything_known
from ..measurements.target_errors import PREDICTED_PRIOR_COUNT
from ..prediction.distribution import PredictiveDistribution
from ..prediction.of_estimators import final_regressor, predictive_distribution
from .patterns import LineRows, orthonormal
from .stated_errors import JudgedRows, Kind, finite_counts, judged, noise_in_fit, variances_of
from .tails import Tails

__all__ = ["StandardizedRows", "standardize_rows"]

Array = NDArray[np.float64]


_LARGEST_LEVERAGE = 0.95


class StandardizedRows(NamedTuple):
    """Rows beside what was stated and predicted of them, (n,) each; rows of weight or count 0 are left out."""

    used: NDArray[np.bool_]
    """(rows given,) which of them these are."""
    target: Array
    """(rows given,) with draws between limits where these were seen, (51a)."""
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
    exposure: Any = None,
    y_censored: Any = None,
    y_upper: Any = None,
    groups: NDArray[np.intp] | None = None,
    held_out: bool = False,
) -> StandardizedRows:
    """Return the distances of rows from the line in units of their stated errors, (51).

    A row's residual is divided by ``sqrt(b (1 + h))``, with b the variance that its stated errors give (those of
    features included) and h the line's variance over the row's noise variance, both as fitted. That ratio does not
    depend on the noise scale, which would absorb stated errors that are wrong. Of a row that was fitted the line
    has followed the row: its residual from the line without it is r / (1 - h), and the divisor of r is
    ``sqrt(b (1 - h))``. Where the fit took variances that are no multiple of those stated, the line's is what
    stated errors give a line with these weights. Rows of which limits were seen have a draw between these.

    Parameters
    ----------
    estimator, X, y, sample_weight, y_err, X_err, X_cov, Xy_cov, exposure, y_censored, y_upper, held_out
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
        given = {
            "y_err": y_err, "X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "exposure": exposure, "groups": groups,
            "y_censored": y_censored, "y_upper": y_upper,
        }  # fmt: skip
        return _of_predictions(regressor, table, y, sample_weight, given, held_out)
    features = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov}
    errors = {name: given for name, given in features.items() if given is not None}
    rows = judged(regressor, table, sample_weight, y_err, errors, exposure, held_out)
    if (unknown := np.isnan(y)).any():  # rows to predict
        rows = rows._replace(used=rows.used & ~unknown)
        y = anything_known(y, counted=regressor._fitted.likelihood.counted)
    side = regressor._fitted.columns.held(rows.values).get("y_censored_column")
    limits = resolve_limits(y, y_censored, y_upper, side)
    fitted, used = regressor._fitted, np.flatnonzero(rows.used)
    counted = fitted.likelihood.counted
    limits = resolve_truncation(fitted.truncation, y, used, limits, None, counted=counted)[1]
    return _of_model(rows, y, limits, None if groups is None else groups[rows.used], held_out)


def _of_model(
    rows: JudgedRows, y: Array, limits: Limits | None, groups: NDArray[np.intp] | None, held_out: bool
) -> StandardizedRows:
    """Return what `standardize_rows` does; `groups` are of the rows used."""
    # What is drawn between limits lies about the line as new rows would.
    new = np.full(len(y), held_out) if limits is None else limits.censored | held_out
    model, counts, used, frequency = rows.model, rows.counts, rows.used, rows.frequency
    mean, found = rows.distribution.mean(), variances_of(rows)
    # (52); the noise scale, by which both are multiplied, drops out.
    variance = np.where(used, found.noise + found.of_features, 1.0)
    n_parameters = len(model.coef_) + int(model.fit_intercept)
    leverage = _leverage(rows, variance, n_parameters, new, held_out)
    base = np.where(used, np.square(found.stated) + found.left_open, 1.0)
    design = _design(model, rows.values[used], mean[used])
    own, of_fit = np.zeros(len(y)), np.sqrt(variance[used])
    own[used] = variance[used] * _seen_by_line(design / of_fit[:, None], base[used] / variance[used])
    with np.errstate(invalid="ignore", divide="ignore"):  # rows left out
        divisor = np.sqrt(base * np.where(new, 1.0, 1.0 - 2.0 * leverage) + leverage * own)
        y = y if limits is None else _drawn_between(limits, y, _Stated(rows, divisor))
        if (truncation := model._fitted.truncation) is not None:
            y = _of_population(truncation, y, _Stated(rows, np.sqrt(base)))
        residual = (y - mean) / divisor
    scale = of_fit
    if counts is not None and not model._fitted.likelihood.counted:
        # The best guess of the row's own variance.
        guess = noise_in_fit(model, mean, counts, rows.y_err, PREDICTED_PRIOR_COUNT) + found.of_features
        scale = np.sqrt(guess[used])
    weight, counted = (None if of is None else of[used] for of in (frequency, counts))
    tails = _tails(model, residual[used], weight)
    return StandardizedRows(
        used,
        y,
        residual[used],
        tails,
        _score_variance(rows, base, tails)[used],
        leverage[used],
        np.where(new, 1.0, 1.0 - leverage)[used],
        _common_variance(leverage[used], n_parameters) if held_out else 0.0,
        found.stated[used],
        np.sqrt(np.maximum(found.left_open[used], 0.0)),
        counted,
        mean[used],
        weight,
        rows.kind,
        rows.distribution,
        LineRows(
            (y - mean)[used] / scale,
            scale,
            design / scale[:, None],
            mean[used],
            _features(model, rows.values[used]),
            [str(name) for name in model._fitted.columns.feature_names],
            found.stated[used] if rows.kind == "standard_error" else None,
            counted,
            None if groups is None else np.unique(groups, return_inverse=True)[1],
            tails.nu,
        ),
    )


def _leverage(
    rows: JudgedRows, variance: Array, n_parameters: int, new: NDArray[np.bool_], held_out: bool
) -> Array:
    """Return what of the rows' variances, as fitted, is the line's."""
    leverage = rows.distribution.variance_parts["parameters"] / variance
    truncation = rows.model._fitted.truncation
    if truncation is not None:  # a row that was selected says this part of what a row of the population says
        ends = ((end - rows.distribution.mean()) / np.sqrt(variance) for end in truncation)
        leverage *= truncated_normal(*ends)[1]
    if held_out:
        return leverage
    if rows.frequency is not None:
        leverage = leverage * rows.frequency  # the line follows one measurement by all of its copies
    _check_of_fit(leverage[rows.used & ~new], n_parameters)
    return np.minimum(leverage, _LARGEST_LEVERAGE)


def _drawn_between(limits: Limits, y: Array, of: _Stated) -> Array:
    """Return the targets, where limits were seen drawn between these, as if stated errors were right, (51a).

    They say nothing of the errors then, where a fit's own would say twice what the rows that were measured do.
    """
    low, high = of.cdf(limits.lower), of.cdf(limits.upper)
    drawn = of.ppf(low + np.random.default_rng(0).random(len(y)) * (high - low))
    return np.where(limits.censored, np.clip(drawn, limits.lower, limits.upper), y)


def _of_population(truncation: tuple[float, float], y: Array, of: _Stated) -> Array:
    """Return targets as of the population that rows were selected from, if stated errors were right, (51b).

    Each is at the place there that it has among the targets that the selection lets through.
    """
    lower, upper = truncation
    # Where most lies below the limits, the other way up: distribution functions keep their digits there.
    of = of.turned(of.cdf(np.full(len(y), lower)) > 0.5)
    low, high = np.sort([of.cdf(np.full(len(y), end)) for end in (lower, upper)], axis=0)
    below, at = of.cdf(y, less=True), of.cdf(y)
    place = below + np.random.default_rng(0).random(len(y)) * (at - below) - low
    return of.ppf(place / np.maximum(high - low, np.finfo(np.float64).tiny))


class _Stated:
    """How targets are distributed if stated errors are right: of shares and events as they were predicted."""

    def __init__(self, rows: JudgedRows, divisor: Array):
        fitted = rows.model._fitted
        self.rows, self.divisor, self.sign = rows, divisor, np.ones(len(divisor))
        self.added = fitted.likelihood.has_noise_scale
        self.noise = stats.t(getattr(rows.model, "nu_", fitted.likelihood.constants.get("nu", np.inf)))
        self.mean = rows.distribution.mean()

    def turned(self, where: NDArray[np.bool_]) -> _Stated:
        """Return it with high and low changed in some rows, where noise is added to the line."""
        found = copy(self)
        found.sign = np.where(where & self.added, -1.0, 1.0)
        return found

    def cdf(self, y: Array, less: bool = False) -> Array:
        """Return the probability of at most (of less than) these values; turned, of at least them."""
        if self.added:
            return np.asarray(self.noise.cdf(self.sign * (y - self.mean) / self.divisor))
        of: Any = self.rows.distribution
        counts = self.rows.counts
        trials = np.ones(len(y)) if counts is None or self.rows.kind == "events" else counts
        at = counts_below(np.where(np.isinf(y), 0.0, y), trials) / np.maximum(trials, 1.0)
        found = of.cdf(at)
        if less:  # the transform takes half of the probability of a value that is discrete
            found = 2.0 * of.pit(at) - found
        return np.where(np.isinf(y), y > 0.0, found)

    def ppf(self, probability: Array) -> Array:
        """Return the values at probabilities."""
        smallest = 1e-12
        probability = np.clip(probability, smallest, 1.0 - smallest)
        if self.added:
            return np.asarray(self.mean + self.divisor * self.sign * self.noise.ppf(probability))
        of: Any = self.rows.distribution
        return np.asarray(of.ppf(probability))


def _score_variance(rows: JudgedRows, base: Array, tails: Tails) -> Array:
    """Return the variances of the rows' squared residuals, (53)."""
    # Squares of single outcomes that are as likely as not do not vary at all.
    least_variance = 1e-3
    variance = np.full(len(base), 2.0 * tails.response)
    if rows.counts is None:
        return variance
    finite, excess = finite_counts(rows)
    variance += np.square(finite / base) * excess
    return np.maximum(variance, least_variance)


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
    # Leverages of rows of the fit add up to at most the number of parameters; they are known roughly where errors
    # follow from predicted shares.
    roughly = 2.0
    if leverage.sum() > roughly * max(n_parameters, 1):
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
        y,
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
