"""Rows held against a fitted model, and the model of rows: what exports and leave-one-out have in common.

`model` is the estimator. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inference.posterior import line_mean
from ..inference.problem import Problem
from ..inference.readable.model import readable_model
from ..inference.settings import SamplerSettings
from ..likelihoods.limited import Censored
from ..likelihoods.registry import check_shared_errors
from ..measurements.checks import check_squares, read_table, read_target
from ..measurements.compressed import Rows
from ..measurements.limits import resolve_truncation
from ..measurements.missing import anything_known
from ..measurements.target_errors import FITTED_PRIOR_COUNT, TargetErrors, observed_share
from ..prediction.draws import Draws, draws_of
from ..prediction.gaps import filled_rows, gaps_of, limits_of
from ..prediction.groups.drawn import DrawnLine, grouped_line
from ..prediction.rows_given_draws import GivenDraws, Observed
from .fitted import FittedModel
from .fitting import settle
from .reading import read, read_errors, read_limits, specify

__all__ = [
    "Described",
    "check_errors_given",
    "drawn",
    "given_draws",
    "observed_rows",
    "settled",
    "training_problem",
]

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


class Described(NamedTuple):
    """A model and its data, before anything is fitted."""

    problem: Problem
    feature_names: list[str]
    labels: NDArray[Any]
    """(n,) of all rows."""

    def to_pymc(self) -> pm.Model:
        # Dates would become whole numbers as a list.
        obs = list(self.labels) if self.labels.dtype.kind in "mM" else self.labels.tolist()
        return readable_model(self.problem, self.feature_names, obs)


def drawn(model: Any) -> tuple[Draws, np.random.Generator]:
    """Return draws from the posterior, the same every time, and a generator for what is drawn given them."""
    # One stream each, so that data change no draw of the parameters.
    rng, noise_rng = np.random.default_rng(model._fitted.seed).spawn(2)
    return draws_of(model._fitted.posterior, model.chains, model.draws, rng), noise_rng


def given_draws(model: Any, observed: Observed, draws: Draws) -> GivenDraws:
    """Return the distribution of observed rows given each draw."""
    fitted: FittedModel = model._fitted
    if draws.true_features is not None:
        sharing = fitted.noise_model.sharing(draws.noise_scale)
        draws = draws._replace(true_features=replace(draws.true_features, sharing=sharing))
    likelihood, truncation = fitted.likelihood_of_rows, None
    if draws.true_features is not None:
        likelihood, truncation = fitted.likelihood, fitted.truncation
    if observed.limits is not None:
        likelihood = Censored(likelihood)
    noise, center = fitted.noise_model.noise, fitted.posterior.center
    line = measured = None
    if observed.members is not None and draws.nodes is not None:
        of_rows = grouped_line(fitted.posterior, observed.X, None, observed.members, observed.feature_error)
        if isinstance(of_rows, DrawnLine) and of_rows.by_row is not None:
            measured = of_rows.measured(draws.nodes, fitted.seed)
        else:
            observed = observed._replace(feature_error=None)  # if given, there are none
            line = of_rows.drawn(draws.location, draws.nodes, fitted.seed)
    return GivenDraws(likelihood, noise, observed, draws, center, truncation, line, measured)


def settled(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: Any,
    of_target: Mapping[str, Any],
    of_features: Mapping[str, Any],
    **params: Any,
) -> Described:
    """Return the problem of these data, with some of the estimator's parameters changed, and labels of its rows."""
    # Reading data sets attributes: those of a shallow copy, so that the estimator stays as it is.
    other = copy(model)
    for name, value in params.items():
        setattr(other, name, value)
    other._validate_params()
    data = read(other, X, y, sample_weight, of_target, of_features)
    # Whatever engine is asked for: it is the same model.
    problem = settle(data.rows, data.errors, specify(other, data), "auto", SamplerSettings())
    return Described(problem, data.columns.feature_names.tolist(), labels_of(data.index, len(data.rows.y)))


def training_problem(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: Any,
    of_target: Mapping[str, Any],
    of_features: Mapping[str, Any],
) -> tuple[Problem, NDArray[Any]]:
    """Return the problem of the training rows, given again, and the labels of those that count."""
    # As the fit had them: of a stream "auto" noise is another than of the same rows at once.
    given = {"weight_type": model.weight_type_, "noise": model._fitted.noise_model.noise.name}
    found = settled(model, X, y, sample_weight, of_target, of_features, **given)
    frequency = found.problem.rows.frequency
    return found.problem, found.labels if frequency is None else found.labels[frequency > 0.0]


def observed_rows(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: Any,
    of_target: Mapping[str, Any],
    of_features: Mapping[str, Any],
) -> Observed:
    """Check data against the fitted model, and settle their errors."""
    fitted = _with_single_rows(model._fitted)
    columns, index = fitted.columns, getattr(X, "index", None) if hasattr(X, "iloc") else None
    table = read_table(model, X, min_samples=2)
    held = columns.held(table)
    target = read_target(y, model, n=len(table), weight=held.get("count_column", sample_weight))
    check_squares(table, target)
    unknown, counted = np.isnan(target), fitted.likelihood.counted
    as_given = target = anything_known(target, counted=counted)
    check_errors_given(model, sample_weight, of_target)
    of_rows = {"sample_weight": sample_weight, **of_target}
    errors, target = read_errors(
        fitted.likelihood,
        target,
        held,
        of_rows,
        weight_type=model.weight_type_,
        scattered=fitted.noise_model.noise.scatters,
    )
    stated = errors.standard_error if errors.kind == "standard_error" else None
    gaps = gaps_of(table, columns, fitted.posterior)
    feature_error = _feature_error(fitted, table, of_features, stated, gaps)
    readings = limits_of(table, of_features.get("X_censored"), columns, fitted.posterior)
    if readings is not None and feature_error is None:
        feature_error = np.zeros((len(table), *(readings.side.shape[1],) * 2))
    trials = errors.counts if counted else None
    if not counted:
        fitted.noise_model.check(len(target), errors.counts, stated, {})
    limits = read_limits(fitted.likelihood, as_given, errors, held, of_rows)
    if unknown.any():  # rows to predict: there is nothing to hold against a prediction
        once = 1.0 if errors.frequency is None else errors.frequency
        errors = replace(errors, frequency=np.where(unknown, 0.0, once))
    table = filled_rows(table, gaps, columns, fitted.posterior)
    rows = Rows(table, target, columns.features, errors.frequency, limits=limits)
    over = trials if fitted.likelihood.per == "exposure" else None
    limits = resolve_truncation(fitted.truncation, target, rows.used, limits, over, counted=counted)[1]
    standard_error = _standard_error(fitted, rows, errors)
    given = {"exposure" if fitted.likelihood.per == "exposure" else "counts": errors.counts}
    if sample_weight is not None and errors.weight_type == "frequency":
        given["sample_weight"] = errors.frequency
    return Observed(
        np.array(rows.take(used := rows.used), dtype=np.float64),
        target[used].copy(),
        labels_of(index, len(target))[used],
        None if standard_error is None else np.broadcast_to(standard_error, target.shape)[used].copy(),
        None if feature_error is None else feature_error[used],
        {name: values[used].copy() for name, values in given.items() if values is not None},
        1.0 if trials is None else trials[used].copy(),
        used,
        None if rows.limits is None else rows.limits.take(used),
        None if readings is None else readings.take(used),
        None if fitted.groupings is None else fitted.groupings.members(X)[used],
    )


def _with_single_rows(fitted: FittedModel) -> FittedModel:
    """Return the model; refuse rows one by one where errors are correlated."""
    if fitted.told is not None:
        raise ValueError(
            f"The model was fitted with {fitted.told.argument}, correlated errors, and draws have no log"
            " likelihood of single rows: leave X and y out. Exact ones given the other rows are those of loo."
        )
    if fitted.readings_shared:
        raise ValueError(
            "The model was fitted with X_err_groups, readings that rows share: there is no log likelihood of single"
            " rows, and no leave-one-out. Leave X and y out; compare models by rows whose readings are new, with"
            " bayes_sklearn.metrics."
        )
    return fitted


def check_errors_given(model: Any, sample_weight: object, of_target: Mapping[str, Any]) -> None:
    """Refuse data without errors where the model was fitted with them."""
    fitted: FittedModel = model._fitted
    counted = fitted.noise_model.kind == "counts"
    in_columns = set(fitted.columns.special) - {"y_censored_column"}
    as_counts = sample_weight is not None and model.weight_type_ == "counts"
    if model.weight_type_ == "precision" and sample_weight is None:
        raise ValueError(
            "The model was fitted with weights that say how precise y is (weight_type='precision'): give"
            " sample_weight with X and y."
        )
    known = None if fitted.told is None else fitted.told.argument
    for name in ("y_cov", "y_shared_err"):
        if (of_target.get(name) is not None) != (known == name):
            said = (
                f"with {name}: give it with X and y, too"
                if known == name
                else f"without {name}: leave it out"
            )
            raise ValueError(f"The model was fitted {said}.")
    stated = of_target.get("y_err") is not None or known == "y_cov"
    if fitted.noise_model.kind == "none" or stated or in_columns or as_counts:
        return
    if fitted.likelihood.per == "exposure":
        fitted.check_exposed(of_target.get("exposure"))
        return
    wanted = "sample_weight, the counts behind the shares in y," if counted else "y_err"
    raise ValueError(
        f"The model was fitted with {'counts' if counted else 'errors'} of y, and its noise is stated by them:"
        f" give {wanted} with X and y."
    )


def _feature_error(
    fitted: FittedModel,
    table: NDArray[Any],
    of_features: Mapping[str, Any],
    y_err: Array | float | None,
    gaps: NDArray[np.bool_] | None,
) -> Array | None:
    """Return covariances of the errors of features, (n, q, q), or None; (n, q, q + 1) with the target's."""
    check_shared_errors(fitted.likelihood, of_features)
    of_errors = {name: value for name, value in of_features.items() if name != "X_censored"}
    error = fitted.new_feature_errors(table, **of_errors, y_err=y_err, gaps=gaps)
    if fitted.posterior.true_features is None:
        return None
    stated = bool(fitted.columns.errors) or any(value is not None for value in of_features.values())
    if fitted.rows_state_feature_errors and not stated:
        raise ValueError(
            "The model was fitted with errors of features: give X_err or X_cov with X and y, too (zeros, if these"
            " features are known exactly)."
        )
    if fitted.readings_limited and of_features.get("X_censored") is None:
        raise ValueError(
            "The model was fitted with X_censored, limits in the place of readings: give X_censored with X and y, too"
            " (zeros, if all were measured)."
        )
    if fitted.errors_go_together and of_features.get("Xy_cov") is None:
        raise ValueError(
            "The model was fitted with Xy_cov, the covariance of the features' errors with y's: give Xy_cov with"
            " X and y, too (zeros, if these errors are independent)."
        )
    return None if error is None else np.broadcast_to(error, (len(table), *error.shape[-2:]))


def _standard_error(fitted: FittedModel, rows: Rows, errors: TargetErrors) -> Array | float | None:
    """Return the target's standard errors, those of shares as in fit, (13)."""
    if errors.weight_type == "precision" and errors.standard_error is not None:
        return errors.standard_error / fitted.noise_model.typical_error
    if errors.counts is None or fitted.likelihood.counted:
        return errors.standard_error
    count_errors = replace(fitted.noise_model.count_errors, prior_count=FITTED_PRIOR_COUNT)
    if count_errors.pooled is None:
        share = observed_share(rows.y, errors.counts)
    else:
        share = line_mean(fitted.posterior, rows)
    return count_errors.standard_error(count_errors.bernoulli_variance(share, errors.counts), errors.counts)


def labels_of(index: Any, n: int) -> NDArray[Any]:
    """Return one label per row: those of a data frame, else positions."""
    if index is None:
        return np.arange(n)
    if getattr(index, "nlevels", 1) > 1:
        return np.array([", ".join(map(str, label)) for label in index])
    labels = np.asarray(index)
    # Files hold text, not objects.
    return np.array([str(label) for label in labels]) if labels.dtype.kind == "O" else labels
