"""Which predictive distribution new rows have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inference.posterior import Posterior
from ..likelihoods.base import Likelihood
from ..measurements.checks import check_flag
from ..measurements.limits import ReadingLimits
from .correlated.new_rows import NewRows
from .distribution import PredictiveDistribution
from .events import EventsPredictive
from .groups.drawn import grouped_line
from .line import LinearPredictive, LinearPredictor
from .noise import NoiseModel, new_counts
from .response import ResponsePredictive
from .shared_errors import SharedErrorPredictive

__all__ = ["new_rows"]

Array = NDArray[np.float64]


def new_rows(
    likelihood: Likelihood,
    posterior: Posterior,
    noise_model: NoiseModel,
    X: NDArray[np.floating],
    features: NDArray[np.intp] | None,
    *,
    counts: object = None,
    y_err: object = None,
    exposure: object = None,
    columns: Mapping[str, Array],
    feature_error: Array | None,
    feature_limits: ReadingLimits | None = None,
    members: NDArray[np.intp] | None = None,
    include_noise: bool,
    seed: int,
    index: Any = None,
    told: Any = None,
    common: Mapping[str, Any] | None = None,
) -> PredictiveDistribution:
    """Return the distribution of new measurements, or of their mean.

    Parameters
    ----------
    likelihood : Likelihood
    posterior : Posterior
        On the data's scale.
    noise_model : NoiseModel
        For noise that is added to the line.
    X : ndarray of shape (n, k)
    features : ndarray of intp or None
        Columns of X that are features; None: all.
    counts, y_err, exposure : optional
        As given to predict.
    columns : mapping of str to ndarray
        Columns of X that hold them, by the estimator's arguments.
    feature_error : ndarray of shape (q, q) or (n, q, q), optional
        Covariances of the errors of the rows' features, those with the target's error, of which the line alone knows
        nothing, in a last column if there are any; None: the features are true.
    feature_limits : ReadingLimits, optional
        Of the rows' features with errors: readings of which only a side was seen.
    members : ndarray of shape (n, K), optional
        The groups that rows are of, where fit had groups.
    include_noise : bool
    seed, index
        As for `ResponsePredictive`.
    told, common : optional
        What training rows tell of errors, and what the rows' have to do with these, by argument.

    Raises
    ------
    TypeError, ValueError
        For bad input, naming the argument.
    """
    include_noise = check_flag(include_noise, "include_noise")
    if include_noise and told is not None and common:
        rows = NewRows(posterior, noise_model, X, features, y_err, columns, seed, index)
        return rows.shared(told, common["y_shared_err"]) if "y_shared_err" in common else rows.kriged(common)
    told_of_noise = feature_error is not None and feature_error.shape[-1] > feature_error.shape[-2]
    if include_noise and told_of_noise:
        posterior = posterior.sharing(noise_model.sharing(posterior.noise_scale))
    if members is None:
        line = LinearPredictor.of(posterior, X, features, feature_error, feature_limits)
    else:
        line = grouped_line(posterior, X, features, members, feature_error)
    if likelihood.counted:
        known = new_counts(len(X), likelihood, counts, y_err, exposure, columns)
        if known is None and likelihood.per == "exposure" and noise_model.kind == "none":
            known = np.ones(len(X))  # as in fit
        found = ResponsePredictive(
            likelihood,
            line,
            seed,
            index,
            trials=known if include_noise else None,
            trials_in_fit=1.0 if noise_model.kind == "none" else None,
            include_noise=include_noise,
        )
        return EventsPredictive(found, known) if known is not None and likelihood.per == "exposure" else found
    stated = noise_model.check(len(X), counts, y_err, columns)
    of_line = LinearPredictive(line, {}, seed, index)
    if likelihood.link.is_identity and not include_noise:
        return of_line
    noise = noise_model.parts(of_line.mean() if "counts" in stated else None, **stated)
    if likelihood.is_normal:
        return LinearPredictive(line, noise, seed, index)
    if feature_error is not None and told_of_noise and feature_error.any():
        # Errors of its features tell of the target's.
        return SharedErrorPredictive(likelihood, posterior, X, features, feature_error, noise, seed, index)
    return ResponsePredictive(likelihood, line, seed, index, noise=noise, include_noise=include_noise)
