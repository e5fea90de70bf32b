"""Errors that are larger to one side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measurements.checks import as_floats
from ..measurements.messages import shown, warn

__all__ = ["Symmetric", "symmetric_errors"]

Array = NDArray[np.float64]


class Symmetric(NamedTuple):
    """Values and standard errors, as `symmetric_errors` returns them."""

    value: Array
    """Means."""
    error: Array
    """Standard deviations."""


def symmetric_errors(value: ArrayLike, minus: ArrayLike, plus: ArrayLike) -> Symmetric:
    """Return mean and standard deviation in the place of a value with errors to both sides, an approximation.

    Parameters
    ----------
    value : array-like of shape (n,) or (n, p)
        Most likely values, as in 4.2 (-0.3, +0.8).
    minus, plus : array-like of that shape, or one that broadcasts
        Their errors below and above, as positive numbers: of 68% limits.

    Returns
    -------
    Symmetric
        ``value``, the means, and ``error``, the standard deviations, for ``y`` and ``y_err`` or for columns of X.

    Raises
    ------
    ValueError, TypeError
        For bad input, naming the argument.

    Warns
    -----
    UserWarning
        Where one side is more than three times the other, which two moments say too little of.

    Notes
    -----
    The value is taken to be the mode of two halves of normal distributions that meet there, of these standard
    deviations (Fechner's; Wallis 2014, Statistical Science 29:106-112). Its mean lies on the longer side of the mode,
    by ``sqrt(2 / pi) (plus - minus)``, and its variance is ``(1 - 2 / pi) (plus - minus)**2 + plus * minus``: these
    are kept, its skewness is not. Using the value with the mean of both errors instead puts every row off to the same
    side (D'Agostini 2004, arXiv:physics/0403086). Where errors are asymmetric because a logarithm was measured,
    `MeasuredFunction` of the logarithm has symmetric ones without approximation.

    Examples
    --------
    >>> from bayes_sklearn.preprocessing import symmetric_errors
    >>> found = symmetric_errors([4.2], [0.3], [0.8])
    >>> found.value.round(2).tolist(), found.error.round(2).tolist()
    ([4.6], [0.58])
    """
    found = {}
    for name, given in (("value", value), ("minus", minus), ("plus", plus)):
        try:
            found[name] = as_floats(given)
        except TypeError:
            raise TypeError(f"{name} must be real numbers, got {shown(given)}.") from None
    for name in ("minus", "plus"):
        if not (found[name] >= 0.0).all() or np.isinf(found[name]).any():
            raise ValueError(
                f"{name} must be finite and not negative, the size of the error on that side, got"
                f" {shown(found[name].tolist())}."
            )
    try:
        shape = np.broadcast_shapes(found["value"].shape, found["minus"].shape, found["plus"].shape)
    except ValueError:
        shape = ()
    if shape != found["value"].shape:
        raise ValueError(
            f"minus and plus have the shapes {found['minus'].shape} and {found['plus'].shape}, and value"
            f" {found['value'].shape}: give an error of each side for each value, or one for all."
        )
    below, above = np.broadcast_to(found["minus"], shape), np.broadcast_to(found["plus"], shape)
    far = np.maximum(below, above) > 3.0 * np.minimum(below, above)
    if far.any():
        warn(
            f"minus and plus differ more than threefold in {int(far.sum())} of {far.size} values: mean and standard"
            " deviation say too little of them. Take the logarithm of what was measured, if errors are symmetric"
            " there, or give such values as limits.",
        )
    apart = above - below
    error = np.sqrt((1.0 - 2.0 / np.pi) * np.square(apart) + above * below)
    return Symmetric(found["value"] + np.sqrt(2.0 / np.pi) * apart, error)
