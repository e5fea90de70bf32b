"""What noise goes with which errors, and errors of features that are known up to a factor.

One factor of all errors, or one for those of replicates. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Likelihood
from ...likelihoods.noise import KNOWN, Noise
from ...measurements.columns import Columns, find_column
from ...measurements.compressed import Rows, taken
from ...measurements.feature_errors import FeatureErrors
from ...measurements.messages import shown
from ...measurements.target_errors import TargetErrors

__all__ = ["check_noise", "freedom_of", "known_instead", "likely_errors"]

Array = NDArray[np.float64]

# So many degrees of freedom and more: a factor within 0.01 per cent of one, which is none.
_KNOWN = 1e8


def check_noise(
    noise: Noise, errors: TargetErrors, of_features: FeatureErrors | None, likelihood: Likelihood
) -> None:
    """Refuse kinds of noise that do not go with what is known of errors."""
    if errors.weight_type == "precision" and noise.only_scatters:
        raise ValueError(
            "noise='additive' adds scatter to known errors, but precisions (weight_type='precision') give errors"
            " up to a factor only: use noise='scaled', or give y_err."
        )
    if not noise.has_scale and errors.kind == "none" and likelihood.has_noise_scale:
        raise ValueError(
            "noise='known' needs the errors of y: give y_err, y_err_column, or counts (sample_weight"
            " with weight_type='counts', or count_column); or use noise='scaled'."
        )
    if not noise.of_features or not likelihood.has_noise_scale:
        return
    if errors.kind != "standard_error" or errors.weight_type == "precision":
        raise ValueError(
            "noise='common' finds one factor for the errors of y and of features: give both, y_err and X_err, in one"
            " unit; where only their ratio is known, any two numbers with that ratio."
        )
    if of_features is None or of_features.unmeasured is not None or of_features.with_target is not None:
        raise ValueError(
            "noise='common' finds one factor for the errors of y and of features: give X_err (or X_cov) of measured"
            " features, without Xy_cov, or use noise='scaled'."
        )
    variance = np.diagonal(of_features.covariance, axis1=-2, axis2=-1)
    if not (variance.reshape(-1, len(of_features.noisy)) > 0.0).any(axis=0).all():
        raise ValueError("noise='common': a feature's errors are all 0. Leave it out of X_err.")


def known_instead(noise: Noise) -> Noise:
    """Return the noise where all targets are the same, which tells no multiple of their errors."""
    if noise.of_features:
        raise ValueError("noise='common': all y are the same, which tells no errors. Use noise='known'.")
    return KNOWN


def likely_errors(
    noise: Noise, rows: Rows, errors: TargetErrors, of_features: FeatureErrors | None
) -> tuple[float, TargetErrors, FeatureErrors | None]:
    """Return about what errors have to be multiplied by under ``noise="common"``, and errors so many times as large.

    Stated ones may be in any unit, and what is taken for a likely reading depends on how large errors are.
    """
    y_err = errors.standard_error
    if not noise.of_features or of_features is None or y_err is None:
        return 1.0, errors, of_features
    factor = _likely_factor(rows, of_features, y_err)
    typical = None if errors.typical is None else factor * errors.typical
    errors = replace(errors, standard_error=factor * y_err, typical=typical)
    return factor, errors, replace(of_features, covariance=factor**2 * of_features.covariance)


def _likely_factor(rows: Rows, errors: FeatureErrors, y_err: Array | float) -> float:
    """Return the root mean square of what is left beside Deming's line, by stated errors.

    Raises
    ------
    ValueError
        Where there is no rest.
    """
    used, noisy = rows.used, errors.noisy
    table, frequency = np.asarray(rows.take(used), dtype=np.float64), rows.frequency
    weight = np.ones(len(used)) if frequency is None else frequency[used]
    root = np.sqrt(weight / weight.sum())[:, None]
    exact = root * np.column_stack([np.ones(len(table)), np.delete(table, noisy, axis=1)])
    pair = root * np.column_stack([table[:, noisy], rows.y[used]])
    unit = np.linalg.norm(pair - exact[:, :1] * (exact[:, :1].T @ pair), axis=0)
    left = (pair - exact @ np.linalg.lstsq(exact, pair)[0]) / np.where(unit > 0.0, unit, 1.0)
    of_features = errors.take(used).covariance
    stated = np.zeros((len(unit), len(unit)))
    stated[:-1, :-1] = (
        of_features if of_features.ndim == 2 else np.average(of_features, axis=0, weights=weight)
    )
    stated[-1, -1] = np.mean(np.square(taken(np.asarray(y_err, dtype=np.float64), used)))
    scale = np.sqrt(np.diag(stated))
    inverse = np.linalg.pinv(np.linalg.cholesky(stated / scale / scale[:, None]))
    turned = left @ (np.diag(unit / scale) @ inverse.T)
    least, *_, most = np.linalg.eigvalsh(turned.T @ turned)
    rounding = 1e-14
    if not least > rounding * most:
        raise ValueError(
            "noise='common': y and the features with errors lie on a line, so that nothing tells how large errors"
            " are. State them, and use noise='known' or 'auto'."
        )
    return float(np.sqrt(least))


def freedom_of(model: Any, columns: Columns, errors: FeatureErrors | None) -> Array | None:
    """Return the degrees of freedom with which each noisy feature's errors are known, (q,); None: outright.

    Parameters
    ----------
    model : BayesianErrorsInVariablesRegressor
        Of which ``x_error_dof`` and ``noise`` are read.
    columns : Columns
    errors : FeatureErrors, optional

    Raises
    ------
    TypeError, ValueError
        Where it is no positive number, or names a feature without errors.
    """
    value = model.x_error_dof
    if value is None:
        return None
    if model.noise == "common":
        raise ValueError(
            "x_error_dof says how well errors of features are known, and noise='common' finds one factor for all:"
            " leave one of them out."
        )
    if errors is None:
        raise ValueError(
            "x_error_dof says how well errors of features are known, and there are none: give X_err, X_cov or"
            " error_columns, or leave it out."
        )
    if errors.with_target is not None:
        raise ValueError("x_error_dof doesn't go with Xy_cov: leave one of them out.")
    names = columns.feature_names.tolist()
    found = np.full(len(names), np.inf)
    if not isinstance(value, Mapping):
        found[errors.noisy] = _checked(value)
    else:
        for feature, freedom in value.items():
            place = find_column(feature, names, len(names), "x_error_dof")
            if place not in errors.noisy:
                raise ValueError(f"x_error_dof: feature {shown(feature)} has no errors in X_err.")
            found[place] = _checked(freedom)
    found = found[errors.noisy]
    found[found >= _KNOWN] = np.inf
    return found if np.isfinite(found).any() else None


def _checked(value: Any) -> float:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number:
        raise TypeError(
            "x_error_dof must be a number, the degrees of freedom with which errors of features are known, or a dict"
            f" of features to such numbers, got {shown(value)}."
        )
    if not value > 0.0:
        raise ValueError(f"x_error_dof must be positive, got {shown(value)}.")
    return float(value)
