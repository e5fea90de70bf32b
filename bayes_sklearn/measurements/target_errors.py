"""Measurement errors: what the user says about the target, and what a new measurement's error will be.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .checks import LARGEST, as_shares, check_counts, check_shares, check_vector
from .compressed import taken
from .messages import warn
from .weights import Before, WeightType, as_before, settle_weight_type, warn_of_no_counts

__all__ = [
    "PREDICTED_PRIOR_COUNT",
    "CountErrors",
    "ErrorKind",
    "TargetErrors",
    "check_exposure",
    "check_trials",
    "observed_share",
    "pooled_share",
    "resolve_exposure",
    "resolve_target_errors",
    "root_mean_square",
]

Array = NDArray[np.float64]

ErrorKind = Literal["counts", "standard_error", "none"]

# Counts of the pooled share that are added to a share at which an error is taken. In the fit a row has a say in its
# own fitted share, so that little of it is believed where counts are few; a predicted share is not so.
FITTED_PRIOR_COUNT = 10.0

PREDICTED_PRIOR_COUNT = 1.0


@dataclass(frozen=True, eq=False)
class TargetErrors:
    """What is known of the target's errors, row by row."""

    frequency: Array | None
    """(n,) how often each row counts; None: once each."""
    standard_error: Array | float | None
    """Standard errors as given, or up to a factor, as precisions give them; None if there are none, or counts."""
    counts: Array | None
    """(n,) the number behind each share, or what events were counted over; None if there are none."""
    weight_type: WeightType
    """What sample_weight was taken to be."""
    kind: ErrorKind
    """Where errors come from."""
    typical: float | None = None
    """Root mean square of the standard errors, of rows that stand for others; None: it follows from them."""
    correlated: Any = None
    """What they have in common from row to row, a `Covariance` or `Loadings`; None: they are independent."""

    def take(self, index: slice | NDArray[np.intp]) -> TargetErrors:
        """Return the errors of some rows."""
        of_rows = {
            name: taken(getattr(self, name), index) for name in ("frequency", "standard_error", "counts")
        }
        return replace(self, **of_rows)

    @property
    def root_mean_square(self) -> float:
        """Of the standard errors as given."""
        if self.typical is not None:
            return self.typical
        return root_mean_square(self.standard_error, self.frequency)


def resolve_target_errors(
    y: Array,
    *,
    sample_weight: object = None,
    weight_type: str = "auto",
    y_err: object = None,
    y_err_column: Array | None = None,
    count_column: Array | None = None,
    batch: bool = False,
    before: Before | None = None,
    scattered: bool = False,
    likelihood: str | None = None,
) -> TargetErrors:
    """Settle what weights, counts and standard errors mean, and check them.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Target.
    sample_weight : array-like of shape (n,) or scalar, optional
        As given to fit.
    weight_type : {"auto", "counts", "frequency", "precision"}
        The estimator's setting.
    y_err : array-like of shape (n,) or scalar, optional
        As given to fit.
    y_err_column, count_column : ndarray of shape (n,), optional
        Columns of X that hold them.
    batch : bool, default=False
        Whether other rows come before or after: of these, none has to count.
    before : Before, optional
        What the weights of the rows before were.
    scattered : bool, default=False
        Whether there is a scatter beside standard errors, so that they may be 0 in some rows.
    likelihood : str, optional
        Of shares, by its name: what weights mean is no matter then.

    Returns
    -------
    TargetErrors

    Raises
    ------
    TypeError, ValueError
        Naming the argument that is wrong and the remedy.

    Warns
    -----
    UserWarning
        Where "auto" had to guess and the data do not look like the guess; where counts can't be counts.
    """
    n = len(y)
    weight = counts = None
    if sample_weight is not None:
        weight = np.broadcast_to(check_vector(sample_weight, n, "sample_weight"), (n,))
        if not batch:
            _check_enough(weight, "sample_weight is")
    errors = _one_source(count_column, y_err=y_err, y_err_column=y_err_column)
    other = errors or ("count_column" if count_column is not None else None)
    kind = settle_weight_type(y, weight, weight_type, other, quiet=before is not None)
    if kind != "frequency" and weight is None and other is None:
        kind = _for_want_of_weights(kind, quiet=before is not None)
    if before is not None:
        kind = as_before(kind, before, y, weight, other is not None)
    if kind != "frequency" and weight is not None and other:
        raise ValueError(
            f"sample_weight is taken as {'precisions' if kind == 'precision' else kind} (weight_type={kind!r}), but"
            f" {other} states y's errors, too. Use one of them; for frequency weights, set weight_type='frequency'."
        )
    if count_column is not None:
        counts, name = check_vector(count_column, n, "count_column", scalar=False), "count_column"
        if not batch:
            _check_enough(counts, "The counts in count_column are")
    elif kind == "counts" and weight is not None:
        counts, name, weight = weight, "weight_type='counts'", None
    if counts is not None:
        check_counts(counts, name, whole=False)
        check_shares(y, name if likelihood is None else f"likelihood={likelihood!r}", counts)
        if weight_type == "counts" and count_column is None and before is None:
            warn_of_no_counts(y, counts)
        if not counts.all():  # a count of 0 is a row left out
            seen = (counts > 0.0).astype(np.float64)
            weight = seen if weight is None else weight * seen
            if not batch:
                _check_enough(weight, "The sample_weight of rows with a positive count is")
    standard_error: Array | float | None = None
    if errors:
        given = y_err if y_err is not None else y_err_column
        checked = check_vector(given, n, errors, positive=not scattered)
        checked = _above_zero(checked, errors) if scattered else checked
        standard_error = checked if checked.ndim else float(checked)
    if kind == "precision" and weight is not None:
        standard_error, weight = _errors_of(weight)
    stated: ErrorKind = "counts" if counts is not None else "standard_error" if errors else "none"
    return TargetErrors(weight, standard_error, counts, kind, stated)


def _for_want_of_weights(kind: str, *, quiet: bool) -> WeightType:
    """Return what weights of which there are none are taken for, with a warning where a kind was asked for."""
    missing = (
        "there are no counts: the shares are fitted as targets without known errors. Give sample_weight (in a"
        " Pipeline, STEP__sample_weight) or count_column."
        if kind == "counts"
        else "there are no weights: all rows are taken to be equally precise. Give sample_weight (in a"
        " Pipeline, STEP__sample_weight)."
    )
    if not quiet:
        warn(f"weight_type={kind!r}, but {missing}")
    return "frequency"


def _above_zero(standard_error: Array, name: str) -> Array:
    """Return errors of which those of 0 are next to nothing beside the others."""
    # An error of 0 beside a scatter, in units of the others' geometric mean: less no scatter would tell from it.
    next_to_nothing = 1e-4
    zero = standard_error == 0.0
    if zero.all():
        raise ValueError(f"{name} must be positive in some row: leave it out where no error of y is known.")
    if not zero.any():
        return check_vector(standard_error, len(standard_error) if zero.ndim else 0, name, positive=True)
    others = check_vector(standard_error[~zero], int(np.count_nonzero(~zero)), name, positive=True)
    return np.where(zero, next_to_nothing * np.exp(np.log(others).mean()), standard_error)


def _errors_of(precision: Array) -> tuple[Array, Array | None]:
    """Return the errors that precisions give up to a common factor, and which rows count, (n,) each; None: all."""
    seen = precision > 0.0
    least = float(precision.min(where=seen, initial=1.0))
    if least < 1.0 / LARGEST:
        raise ValueError(
            f"sample_weight must be 0 or at least {1 / LARGEST:g}, got {least:g}: multiply all of them."
        )
    errors = 1.0 / np.sqrt(np.where(seen, precision, 1.0))
    return errors, None if seen.all() else seen.astype(np.float64)


def _check_enough(weight: Array, subject: str) -> None:
    """Refuse weights that leave no row, or one."""
    if np.count_nonzero(weight) < 2:
        left = "in every row: there is nothing to fit" if not weight.any() else "in all rows but one"
        raise ValueError(f"{subject} zero {left}. At least two rows need a positive one.")


def _one_source(count_column: object, **given: object) -> str | None:
    """Return the name of the one argument that is given, or None; beside counts there may be none."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"Both {' and '.join(names)} are given: they say the same thing; leave one out.")
    if names and count_column is not None:
        raise ValueError(f"Both {names[0]} and count_column are given: use the one that states y's errors.")
    return names[0] if names else None


@dataclass(frozen=True)
class CountErrors:
    """Standard errors of shares with counts behind them, (13).

    ``sqrt(p (1 - p) (1 / n + rho (1 - 1 / n))) + floor``: binomial, extra-binomial by the intraclass correlation
    rho (Williams 1982, Applied Statistics 31, model II), and a floor, 0 by default.
    """

    floor: float
    pooled: float | None = None
    """Shares at which errors are taken are given `prior_count` counts more, of this share, or, where it is small, as
    many as have 0.1 `prior_count` successes; None: they are clipped to
    [1/2 / (n + 1), 1 - 1/2 / (n + 1)]. Either way a finite count never proves certainty."""
    prior_count: float = FITTED_PRIOR_COUNT
    overdispersion: float = 0.0
    """The intraclass correlation rho, in [0, 1]."""

    def bernoulli_variance(self, share: Array | float, counts: Array) -> Array:
        """Return p (1 - p) at the shares that errors are taken at, (n,)."""
        # Of small shares as many more as it takes for as many successes (or failures) as with this p (1 - p).
        prior_variance = 0.1
        if self.pooled is None:
            edge = 0.5 / (counts + 1.0)
            p = np.minimum(np.maximum(share, edge), 1.0 - edge)
        else:
            more = self.prior_count * max(1.0, prior_variance / (self.pooled * (1.0 - self.pooled)))
            p = np.clip(share, 0.0, 1.0) * counts
            p += more * self.pooled
            p /= counts + more
        return p * (1.0 - p)

    def at_observed(self, y: Array, counts: Array) -> Array:
        """Return the standard errors at the shares as observed, (n,)."""
        return self.standard_error(self.bernoulli_variance(observed_share(y, counts), counts), counts)

    def standard_error(self, bernoulli_variance: Array, counts: Array) -> Array:
        """Return the standard errors, (n,); 1 where the count is 0, for a row that is left out."""
        seen = np.maximum(counts, 1.0)
        variance = np.reciprocal(seen)
        if self.overdispersion > 0.0:
            variance *= 1.0 - self.overdispersion
            variance += self.overdispersion
        variance *= bernoulli_variance
        error = np.sqrt(variance, out=variance)
        error += self.floor
        if not counts.all():
            error[counts == 0.0] = 1.0
        return error


def check_trials(y: Array, errors: TargetErrors, likelihood: str) -> None:
    """Refuse targets that are no shares of known trials; where none are stated they are one each.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Target.
    errors : TargetErrors
    likelihood : str
        Its name, for messages.

    Raises
    ------
    ValueError
        Where the target is no share of known trials.
    """
    setting = f"likelihood={likelihood!r}"
    if errors.kind == "standard_error":
        raise ValueError(
            f"y_err is given, but under {setting} the error of a share follows from its count: leave y_err (or"
            " y_err_column) out, or use likelihood='normal'."
        )
    if errors.weight_type == "precision":
        raise ValueError(
            f"sample_weight is taken as precisions (weight_type='precision'), but under {setting} the error of a"
            " share follows from its count: give the counts, weight_type='counts', or frequencies."
        )
    check_shares(y, setting, errors.counts)
    if errors.counts is not None:
        check_counts(errors.counts, f"The counts of {setting}")
        return
    used = as_shares(y if errors.frequency is None else y[errors.frequency > 0.0])
    if ((used > 0.0) & (used < 1.0)).any():
        raise ValueError(
            f"{setting} needs the counts behind shares that are not 0 or 1: give them as sample_weight with"
            " weight_type='counts', or in count_column."
        )


def resolve_exposure(
    y: Array,
    *,
    sample_weight: object,
    weight_type: str,
    given: Mapping[str, object],
    exposure: object,
    exposure_column: Array | None,
    likelihood: str,
) -> TargetErrors:
    """Settle the exposures over which events were counted, in the place of counts, and how often rows count.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Numbers of events.
    sample_weight, weight_type
        As for `resolve_target_errors`.
    given : mapping of str to object
        What else may state errors of a target, by argument.
    exposure : array-like of shape (n,) or scalar, optional
        As given to fit; None: one each.
    exposure_column : ndarray of shape (n,), optional
        Column of X that holds them.
    likelihood : str
        Its name, for messages.

    Raises
    ------
    TypeError, ValueError
        Naming the argument that is wrong and the remedy.
    """
    setting, n = f"likelihood={likelihood!r}", len(y)
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} is given, but under {setting} the error of a count of events follows from the count: leave"
                f" {name} out. What events were counted over goes into exposure (or exposure_column)."
            )
    if weight_type not in ("auto", "frequency"):
        raise ValueError(
            f"weight_type={weight_type!r}, but under {setting} sample_weight is how often rows count: leave it at"
            " 'auto' or 'frequency', and give what events were counted over as exposure (or exposure_column)."
        )
    weight = None
    if sample_weight is not None:
        weight = np.broadcast_to(check_vector(sample_weight, n, "sample_weight"), (n,))
        _check_enough(weight, "sample_weight is")
        if weight_type == "auto" and (weight != np.rint(weight)).any():
            warn(
                f"sample_weight is taken as frequencies, as always under {setting}, but its values are not whole. If"
                " events were counted over them, give them as exposure; set weight_type='frequency' to silence this.",
            )
    broken = (y < 0.0) | (y != np.rint(y))
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise ValueError(
            f"With {setting}, y must be whole numbers of events from 0, got {y[row]:g} in row {row}. Of rates give"
            " the events, and what they were counted over as exposure."
        )
    over = check_exposure(n, exposure, exposure_column)
    return TargetErrors(weight, None, over, "frequency", "none" if over is None else "counts")


def check_exposure(n: int, exposure: object, exposure_column: Array | None) -> Array | None:
    """Return exposures, (n,), of an argument or a column of X; None: none are stated.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.
    """
    if exposure is not None and exposure_column is not None:
        raise ValueError(
            "exposure is given, but X holds it, too, in its exposure_column: leave exposure out."
        )
    name, value = ("exposure", exposure) if exposure_column is None else ("exposure_column", exposure_column)
    return None if value is None else np.broadcast_to(check_vector(value, n, name, positive=True), (n,))


def pooled_share(y: Array, counts: Array, frequency: Array | None) -> float:
    """Return all successes over all counts, with half a success and half a failure added."""
    weight = counts if frequency is None else counts * frequency
    return float((weight @ y + 0.5) / (weight.sum() + 1.0))


def observed_share(y: Array, counts: Array) -> Array:
    """Return the shares as observed; exactly 0 or 1 become (k + 1/2) / (n + 1)."""
    corrected = (y * counts + 0.5) / (counts + 1.0)
    return np.where((y == 0.0) | (y == 1.0), corrected, y)


def root_mean_square(standard_error: Array | float | None, frequency: Array | None) -> float:
    """Return the training rows' root mean square error; 0 where none is known."""
    if standard_error is None:
        return 0.0
    if isinstance(standard_error, float):
        return standard_error
    if frequency is None:
        return float(np.linalg.norm(standard_error) / np.sqrt(len(standard_error)))
    total = np.einsum("i,i,i->", frequency, standard_error, standard_error)
    return float(np.sqrt(total / frequency.sum()))
