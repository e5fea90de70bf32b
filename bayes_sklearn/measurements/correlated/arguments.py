"""The arguments ``y_cov`` and ``y_shared_err`` of a fit: what they go with, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..target_errors import TargetErrors, root_mean_square
from .covariance import Covariance
from .loadings import Loadings

__all__ = ["resolve_correlated", "with_correlated"]

# Arguments, and parameters, that do not go with errors which rows have in common.
_NEVER = ("exposure", "y_censored", "y_upper", "count_column", "y_censored_column")


def resolve_correlated(
    n: int,
    of_target: Mapping[str, Any],
    held: Mapping[str, Any],
    parameters: Any,
    sample_weight: object,
    *,
    normal: bool,
) -> tuple[Covariance | Loadings | None, Mapping[str, Any]]:
    """Return what errors of n targets have in common, None where nothing, and what else is said of the targets.

    Parameters
    ----------
    n : int
    of_target : mapping of str to object
        What is said of the target, by argument.
    held : mapping of str to ndarray
        The same by columns of X.
    parameters : object
        What has the estimator's parameters ``truncation`` and ``weight_type``.
    sample_weight : object
        As given.
    normal : bool
        Whether the likelihood is normal.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.
    """
    given = {**of_target, **held}
    others = {name: given.get(name) for name in _NEVER}
    others["truncation"] = parameters.truncation
    if sample_weight is not None and parameters.weight_type in ("counts", "precision"):
        others[f"weight_type={parameters.weight_type!r}"] = True
    named = {name: given.get(name) for name in ("y_cov", "y_shared_err")}
    rest = {name: value for name, value in of_target.items() if name not in named}
    names = [name for name, value in named.items() if value is not None]
    if not names:
        return None, rest
    if len(names) > 1:
        raise ValueError(
            "Both y_cov and y_shared_err are given: add the product of y_shared_err, L @ L.T, to y_cov, or give"
            " y_err beside y_shared_err."
        )
    (name,) = names
    if not normal:
        raise ValueError(
            f"{name} goes with likelihood='normal': under others errors of y are independent from row to row."
        )
    stated = next((other for other, value in others.items() if value is not None), None)
    if stated is not None:
        raise ValueError(f"{name} and {stated} don't go together: leave one of them out.")
    errors = [other for other in ("y_err", "y_err_column") if given.get(other) is not None]
    if name == "y_shared_err":
        if not errors:
            raise ValueError(
                "y_shared_err is what rows share beside errors of their own: give these, too, as y_err (or"
                " y_err_column)."
            )
        return Loadings.of(named[name], n), rest
    if errors:
        raise ValueError(
            f"Both y_cov and {errors[0]} are given: y_cov has the squared standard errors on its diagonal; leave"
            f" {errors[0]} out."
        )
    found = Covariance.of(named[name], n)
    return found, {**rest, "y_err": found.standard_error}


def with_correlated(found: Covariance | Loadings | None, data: Any) -> TargetErrors:
    """Return the errors of the target, with what they have in common, checked.

    Parameters
    ----------
    found : Covariance or Loadings or None
    data : object
        What has the ``rows``, their ``errors``, and ``feature_errors``.

    Raises
    ------
    ValueError
        Where features have errors, weights are no frequencies that errors can have, or ``y_cov`` is no covariance.
    """
    errors: TargetErrors = data.errors
    if found is None:
        return errors
    name = "y_cov" if isinstance(found, Covariance) else "y_shared_err"
    if data.feature_errors is not None:
        raise ValueError(
            f"{name} goes with exact features: leave out X_err, X_cov, X_censored and error_columns, and rows with"
            " NaN in X."
        )
    frequency = errors.frequency
    if isinstance(found, Loadings):
        shared = np.linalg.norm(found.values, axis=1)
        own, whole = (root_mean_square(error, frequency) for error in (errors.standard_error, shared))
        return replace(errors, correlated=found, typical=float(np.hypot(own, whole)))
    if frequency is not None and not np.isin(frequency, (0.0, 1.0)).all():
        weight = frequency[~np.isin(frequency, (0.0, 1.0))][0]
        raise ValueError(
            f"sample_weight has {weight:g}, and y_cov says nothing of the errors of copies of a row: give weights"
            " of 0 and 1, or each copy as a row of its own."
        )
    return replace(errors, correlated=found.among(data.rows.used).checked())
