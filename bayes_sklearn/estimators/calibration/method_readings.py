"""What two methods measured of the same samples, and the standard errors of it, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ...measurements.checks import as_floats, check_vector
from ...measurements.messages import shown, warn
from ...preprocessing.replicates import ReplicateSums

__all__ = ["REPLICATE_ERRORS", "Readings", "readings_of"]

Array = NDArray[np.float64]

REPLICATE_ERRORS = ("pooled", "proportional", "own")


@dataclass(frozen=True, eq=False)
class Readings:
    """Of one method: a value per sample, with its error."""

    name: str
    value: Array
    """(n,) means of what was read."""
    error: Array | None
    """(n,) their standard errors; None: not known."""
    lost: float = 0.0
    """What the variance of a single reading's scatter loses in a mean of replicates, on average."""
    degrees_of_freedom: int = 0
    """Of that, as replicates tell it; 0: there are none."""


def readings_of(value: Any, error: ArrayLike | float | None, argument: str, kind: str) -> Readings:
    """Return one method's readings.

    Parameters
    ----------
    value : array-like of shape (n,) or (n, m)
        Of n samples, up to m replicates of each; NaN: there is none.
    error : float or array-like of shape (n,), or None
        Standard errors that are stated.
    argument : str
        What the values are called: "x" or "y".
    kind : {"pooled", "proportional", "own"}
        How replicates tell errors.

    Raises
    ------
    TypeError, ValueError
        For bad input, naming the argument.

    Warns
    -----
    UserWarning
        Where replicates scatter otherwise than `kind` says, or are too few for it.
    """
    try:
        table = as_floats(value)
    except TypeError:
        raise TypeError(f"{argument} must be real numbers, got {shown(value)}.") from None
    if table.ndim not in (1, 2) or not table.size:
        raise ValueError(
            f"{argument} must have the shape (n,), or (n, m) with m replicates of n samples, got {table.shape}."
        )
    replicated = table.ndim == 2 and table.shape[1] > 1
    table = table.reshape(len(table), -1)
    if np.isinf(table).any():
        raise ValueError(f"{argument} has infinity in it.")
    for row in np.flatnonzero(np.isnan(table).all(axis=1))[:1]:
        raise ValueError(f"{argument}: sample {row} has no reading; leave it out of x and y.")
    if len(table) < 4:
        raise ValueError(f"{argument} has {len(table)} samples: a line and its errors take 4 or more.")
    name = getattr(value, "name", None)
    name = name if isinstance(name, str) else argument
    if not replicated:
        own = None if error is None else check_vector(error, len(table), f"{argument}_err")
        return Readings(name, table[:, 0], None if own is None else np.broadcast_to(own, len(table)))
    if error is not None:
        raise ValueError(
            f"{argument} has replicates, which tell its errors: leave out {argument}_err and ratio, or give"
            f" {argument} as means of shape (n,)."
        )
    return _of_replicates(name, table, argument, kind)


def _of_replicates(name: str, table: Array, argument: str, kind: str) -> Readings:
    count, mean, squares = ReplicateSums.of(table)
    freedom = count - 1.0
    total = int(freedom.sum())
    if not total or not squares.any():
        raise ValueError(
            f"{argument}: replicates that are all alike tell no error. Give means of shape (n,), and"
            f" {argument}_err."
        )
    several = freedom > 0
    within = np.zeros(len(mean))
    within[several] = squares[several] / freedom[several]
    _warn_of_levels(np.sqrt(within[several]), mean[several], argument, kind)
    if kind == "pooled":
        variance = np.full(len(mean), squares.sum() / total)
    elif kind == "proportional":
        if not (mean > 0.0).all():
            raise ValueError(
                f"replicate_errors='proportional' is of positive values, and the least mean in {argument} is"
                f" {shown(float(mean.min()))}. Use 'pooled'."
            )
        variance = np.square(mean) * float((squares / np.square(mean)).sum() / total)
    else:
        if not several.all():
            raise ValueError(
                f"replicate_errors='own', but {argument} has a single reading of sample {np.argmin(several)}."
                " Use 'pooled'."
            )
        if total < 4 * len(mean):
            warn(
                f"replicate_errors='own' takes the error of each sample in {argument} from"
                f" {total / len(mean) + 1:.3g} readings, which hardly tell it: intervals may cover too little. Use"
                " 'pooled' or 'proportional'."
            )
        variance = within
    lost = float(np.mean(variance * (1.0 - 1.0 / count)))
    return Readings(name, mean, np.sqrt(variance / count), lost, total)


def _warn_of_levels(deviation: Array, mean: Array, argument: str, kind: str) -> None:
    """Warn of replicates that scatter more where values are larger, or less, than one error for all can do."""
    if kind == "own" or len(mean) < 10:
        return
    deviation = deviation / np.abs(mean) if kind == "proportional" else deviation
    if not np.ptp(deviation) or not np.ptp(mean):
        return
    found = stats.spearmanr(deviation, mean)
    if found.pvalue < 1e-3:
        other = "proportional" if kind == "pooled" else "pooled"
        more = "more" if found.statistic > 0.0 else "less"
        relative = "relatively " if kind == "proportional" else ""
        warn(
            f"Replicates in {argument} scatter {relative}{more} at high values (rank correlation"
            f" {found.statistic:.2f}), and replicate_errors={kind!r} says alike. Use {other!r}, or state errors."
        )
