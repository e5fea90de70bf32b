"""From a fitted posterior to the distribution of new rows: which class of predictive distribution, and its noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_flag
from .errors import NoiseModel, new_counts
from .inference.posterior import Posterior
from .likelihoods import Likelihood
from .measured import (
    MeasuredPredictive,
    MeasuredSharePredictive,
    MeasuredStudentTPredictive,
    RowErrors,
)
from .predictive import LinearPredictive, PredictiveDistribution
from .share_predictive import SharePredictive
from .student_t import StudentTPredictive

Array = NDArray[np.float64]

__all__ = ["new_rows"]


def new_rows(
    likelihood: Likelihood,
    posterior: Posterior,
    noise_model: NoiseModel,
    X: NDArray[np.floating],
    features: NDArray[np.intp] | None,
    *,
    counts: object = None,
    y_err: object = None,
    columns: Mapping[str, Array],
    feature_error: Array | None,
    include_noise: bool,
    seed: int,
    index: Any = None,
) -> PredictiveDistribution:
    """Return the distribution of new measurements, or of the line.

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
    counts, y_err : optional
        As given to predict.
    columns : mapping of str to ndarray
        Columns of X that hold them, by the estimator's arguments.
    feature_error : ndarray of shape (q, q) or (n, q, q), optional
        Covariances of the errors of the rows' features, those with the target's error, of which the line alone knows
        nothing, in a last column if there are any; None: the features are true.
    include_noise : bool
    seed, index
        As for `LinearPredictive`.

    Raises
    ------
    TypeError, ValueError
        For bad input, naming the argument, and for noise of a likelihood of no family.
    """
    include_noise = check_flag(include_noise, "include_noise")
    family = likelihood.known_family() if include_noise else None
    if include_noise:
        posterior = posterior.sharing(noise_model.sharing(posterior.noise_scale))
    posterior, of_features, by_row = RowErrors.of(posterior, feature_error, len(X))
    if likelihood.takes_trials:
        known = new_counts(len(X), likelihood.name, counts, y_err, columns)
        what: dict[str, Any] = {
            "dispersion": posterior.auxiliary["dispersion"] if family == "beta_binomial" else None,
            "counts": known if include_noise else None,
            "counts_in_fit": 1.0 if noise_model.kind == "none" else None,
        }
        if by_row is not None:
            return MeasuredSharePredictive(by_row, posterior, X, features, seed, index, **what)
        return SharePredictive(posterior, X, features, seed, index, feature_error=of_features, **what)
    stated = noise_model.check(len(X), counts, y_err, columns)
    if by_row is None:
        line = LinearPredictive(posterior, X, features, {}, seed, index, of_features)
    else:
        line = MeasuredPredictive(by_row, posterior, X, features, {}, seed, index)
    if not include_noise:
        return line
    noise = noise_model.parts(line.mean() if "counts" in stated else None, **stated)
    if family == "normal":
        return line.with_noise(noise)
    nu = likelihood.degrees_of_freedom(posterior.auxiliary)
    if by_row is not None:
        return MeasuredStudentTPredictive(nu, by_row, posterior, X, features, noise, seed, index)
    return StudentTPredictive(nu, posterior, X, features, noise, seed, index, of_features)
