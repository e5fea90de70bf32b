"""Numbers of which doubles keep few digits: what varies beside a large offset."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from .inference import Compressed

__all__ = ["warn_of_rounding"]

# Variation of fewer roundings than this has fewer than three digits.
_FEW = 1e3
# What varies by less is constant, but for the rounding of its mean.
_CONSTANT = 0.05
# Errors below so many roundings of what they are errors of.
_NONE = 1.0


def warn_of_rounding(state: Compressed, names: Sequence[str], *, errors_known: bool) -> None:
    """Warn of features and targets that vary by little more than their rounding.

    Parameters
    ----------
    state : Compressed
        Of the rows, under their known errors.
    names : sequence of str
        Of the features.
    errors_known : bool
        Whether the errors of the rows are known.

    Warns
    -----
    UserWarning
        Naming the columns, how many digits of their variation there are, and what to do.
    """
    step = np.finfo(np.float64).eps * np.abs(state.origin + state.mean)
    deviation = state.standard_deviation
    found = np.flatnonzero((deviation > _CONSTANT * step) & (deviation < _FEW * step))
    if len(found):
        labels = [f"feature {name!r}" for name in names] + ["y"]
        listed = ", ".join(labels[i] for i in found[:5]) + (" and others" if len(found) > 5 else "")
        digits = int(max(0.0, np.log10((deviation[found] / step[found]).min())))
        warnings.warn(
            f"Double precision keeps {digits if digits else 'no'} digit{'' if digits == 1 else 's'} of how {listed}"
            " varies, beside the offset: what is found of it is no better. Subtract the offset where the data are"
            " read, before they are rounded.",
            UserWarning,
            stacklevel=6,
        )
    # One over a typical error is the triangle's first entry.
    typical = np.sqrt(state.total_weight) / state.factor[0, 0]
    if errors_known and typical < _NONE * step[-1]:
        warnings.warn(
            f"y_err is smaller than the rounding of y: errors of {typical:.2g}, where double precision keeps y to"
            f" {step[-1]:.2g}. Check their unit, or subtract an offset from y where it is read.",
            UserWarning,
            stacklevel=6,
        )
