"""What ``sample_weight`` means: the counts behind shares, how often rows count, or how precise they are."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .checks import FAR_FROM_WHOLE, are_shares, as_shares
from .messages import warn

__all__ = [
    "Before",
    "WeightType",
    "as_before",
    "rules_out_counts",
    "settle_weight_type",
    "warn_of_no_counts",
]

Array = NDArray[np.float64]

WeightType = Literal["counts", "frequency", "precision"]

# Frequencies are small; a mean weight above this looks like counts.
_MANY = 10.0


class Before(NamedTuple):
    """What weights were taken to be in rows before."""

    weight_type: WeightType
    no_counts: bool
    """Whether those rows rule out that they are counts."""


def settle_weight_type(
    y: Array, weight: Array | None, setting: str, other: str | None, *, quiet: bool
) -> WeightType:
    """Return what weights mean, by the setting or, under "auto", by the look of them.

    Parameters
    ----------
    y, weight : ndarray of shape (n,)
        Target, and weights if there are any.
    setting : {"auto", "counts", "frequency", "precision"}
    other : str or None
        The argument that states y's errors, where one does.
    quiet : bool
        Whether it was settled before, with what there was to warn of.

    Warns
    -----
    UserWarning
        Where "auto" had to guess.
    """
    say = "Set weight_type='counts', 'frequency' or 'precision' to say which"
    if setting != "auto":
        return setting  # type: ignore[return-value]
    if weight is None:
        return "frequency"
    plain, shares = other is not None or rules_out_counts(y, weight), y
    if not plain:
        shares = as_shares(y)
        plain = any(bool(((values == 0.0) | (values == 1.0)).all()) for values in (weight, shares))
    said = ""
    if plain:
        if other is None and (weight != np.rint(weight)).any():
            said = (
                "are not whole: precisions, 1/e**2 up to a factor, would be weight_type='precision', errors known"
                " outright y_err"
            )
        elif weight.mean() > _MANY:
            said = f"have a mean of {weight.mean():.3g}: every row would count so many times"
            if 1.0 < y.max() <= 100.0 and y.min() >= 0.0:
                said += ". If y are percentages with counts behind them, divide y by 100"
        if said and not quiet:
            warn(
                f"sample_weight is taken as frequencies (weight_type='frequency'), but its values {said}. {say}, and"
                " to silence this.",
            )
        return "frequency"
    if (_from_whole(shares, weight) > FAR_FROM_WHOLE).any() and not quiet:
        warn(
            "sample_weight is taken as the counts behind the shares in y (weight_type='counts'), but y *"
            f" sample_weight is not whole in some rows. {say}, and to silence this.",
        )
    return "counts"


def as_before(kind: WeightType, before: Before, y: Array, weight: Array | None, other: bool) -> WeightType:
    """Return what weights are, where the rows before have settled it; a batch may not contradict them.

    `other` says whether something else than weights states the errors of y.
    """
    if before.weight_type == "counts" and weight is None and not other:
        raise ValueError(
            "The rows before came with counts, and these come without: give sample_weight, the counts behind the"
            " shares in y."
        )
    if (
        before.weight_type == "counts"
        and kind == "frequency"
        and weight is not None
        and _no_counts(y, weight)
    ):
        raise ValueError(
            "The sample_weight of these rows can't be the counts behind the shares in y: they, or y times them, are"
            " not whole. But that of the rows before was taken as counts: set weight_type='counts' or"
            " weight_type='frequency'."
        )
    if "precision" in (kind, before.weight_type) and kind != before.weight_type:
        came = ("without", "with") if kind == "precision" else ("with", "without")
        raise ValueError(
            f"The rows before came {came[0]} weights that are precisions (weight_type='precision'), and these come"
            f" {came[1]}: give sample_weight with every batch, or with none."
        )
    if before.weight_type == "frequency" and kind == "counts" and not before.no_counts:
        raise ValueError(
            "The sample_weight of these rows looks like counts behind shares, but that of the rows before was taken"
            " as frequencies (weight_type='auto' is settled by the first batch): set weight_type='counts' or"
            " weight_type='frequency', and begin again with fit, or with partial_fit of a clone."
        )
    return before.weight_type


def rules_out_counts(y: Array, weight: Array | None) -> bool:
    """Return whether weights can't be the counts behind shares: how often a bootstrap drew its rows, say."""
    # Rows that are looked at first.
    first = 1000
    seen = y if weight is None or weight.all() else y[weight > 0.0]
    if not are_shares(seen[:first]) or not are_shares(seen):
        return True
    return weight is not None and _no_counts(y, weight)


def _no_counts(y: Array, weight: Array) -> bool:
    """Return whether weights of shares can't be counts: not whole, or some 0 where y times others is not whole."""
    if (weight != np.rint(weight)).any():
        return True
    return not weight.all() and bool((_from_whole(as_shares(y), weight) > FAR_FROM_WHOLE).any())


def warn_of_no_counts(y: Array, weight: Array) -> None:
    """Warn of whole weights that can't be the counts behind shares, although a setting says so."""
    # Shares that were rounded, to per cent at worst, miss k / n by no more than this.
    rounded = 0.005
    away = _from_whole(y, weight)
    if away.max(initial=0.0) <= FAR_FROM_WHOLE:
        return
    impossible = (away > FAR_FROM_WHOLE) & (away > rounded * weight) & (weight == np.rint(weight))
    if impossible.any():
        row = int(np.flatnonzero(impossible)[0])
        warn(
            f"weight_type='counts', but y * sample_weight is not whole in {np.count_nonzero(impossible)} of"
            f" {len(y)} rows: {y[row]:.3g} in row {row} is no share of {weight[row]:g}. Are the weights how often a"
            " bootstrap drew each row (BaggingRegressor)? Then put the counts in a column of X, count_column.",
        )


def _from_whole(y: Array, weight: Array) -> Array:
    """Return by how much shares times weights miss whole numbers, (n,)."""
    successes = y * weight
    successes -= np.rint(successes)
    return np.abs(successes, out=successes)


def repeated(frequency: Array | None, n: int, whose: str) -> NDArray[np.intp]:
    """Return the positions of the rows, each as often as its frequency says.

    Parameters
    ----------
    frequency : ndarray of shape (n,) or None
    n : int
    whose : str
        What needs whole frequencies, for the message.

    Raises
    ------
    ValueError
        Where a frequency is not whole.
    """
    if frequency is None:
        return np.arange(n)
    times = np.rint(frequency)
    if (times != frequency).any():
        raise ValueError(
            f"Each copy of a row has true features of its own, so that {whose} whole frequencies in sample_weight,"
            f" got {frequency[times != frequency][0]:g}. Round them, or leave sample_weight or prior=True out."
        )
    return np.repeat(np.arange(n), times.astype(np.intp))
