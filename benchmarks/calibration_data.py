"""What a design of the gauntlet is, and the parts that designs are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEW_ROWS", "Data", "Design", "Draw", "linear", "measured_features", "split"]

Array = NDArray[np.float64]
Rng = np.random.Generator
Draw = Callable[[Rng], "Data"]
Features = Callable[[Rng, int], Array]

NEW_ROWS = 25


@dataclass(frozen=True, eq=False)
class Data:
    """A table to fit, its truth, and new rows that are drawn as the table was."""

    X: Array
    """(n, p), as they were measured."""
    y: Array
    """(n,)"""
    coef: Array | None
    """(p,) true slopes; None where columns leave them open, or no line is exact."""
    X_new: Array
    """(NEW_ROWS, p), as they were measured."""
    line_new: Array
    """(NEW_ROWS,) the truth there, at the true features."""
    y_new: Array
    """(NEW_ROWS,) new measurements."""
    sd_new: Array
    """(NEW_ROWS,) true standard deviations of these about the truth."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What `fit` is told beside X and y."""
    given_new: Mapping[str, Any] = field(default_factory=dict)
    """What `predict` is told beside X."""

    @property
    def weight(self) -> Array:
        """(n,) Weights of least squares: counts, inverse squares of the stated errors, or ones."""
        return _weight(self.given, len(self.y))

    @property
    def weight_new(self) -> Array:
        """(NEW_ROWS,) The same of the new measurements."""
        return _weight(self.given_new, len(self.y_new))


@dataclass(frozen=True)
class Design:
    """One kind of data, drawn anew from every generator of random numbers."""

    name: str
    group: str
    """The table it is shown in."""
    draw: Draw
    estimator: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that belong to the data, not to taste: what weights mean, whether there is an intercept."""
    beyond: str = ""
    """Why no method can be calibrated here; the fit then has to warn."""


def split(
    rng: Rng,
    X: Array,
    line: Array,
    sd: Array | float,
    coef: Array | None,
    *,
    reading: Array | None = None,
    given: Mapping[str, Any] | None = None,
    stated: Mapping[str, Array] | None = None,
    y: Array | None = None,
) -> Data:
    """Return data of which the last rows are new.

    Parameters
    ----------
    rng : Generator
        Draws the noise of the target.
    X : ndarray of shape (n + NEW_ROWS, p)
        True features.
    line : ndarray of shape (n + NEW_ROWS,)
        True target.
    sd : float or ndarray of shape (n + NEW_ROWS,)
        Its noise.
    coef : ndarray of shape (p,) or None
        True slopes.
    reading : ndarray of shape (n + NEW_ROWS, p), optional
        Features as they were measured.
    given : dict, optional
        What `fit` alone is told.
    stated : dict, optional
        What `fit` and `predict` are told, with a value for every row.
    y : ndarray of shape (n + NEW_ROWS,), optional
        Measured target; drawn from normal distributions without it.
    """
    rows = len(line)
    sd = np.broadcast_to(np.asarray(sd, dtype=np.float64), (rows,))
    y = rng.normal(line, sd) if y is None else y
    X, n, stated = X if reading is None else reading, rows - NEW_ROWS, stated or {}
    return Data(
        X[:n],
        y[:n],
        coef,
        X[n:],
        line[n:],
        y[n:],
        sd[n:],
        {**(given or {}), **{name: values[:n] for name, values in stated.items()}},
        {name: values[n:] for name, values in stated.items()},
    )


def linear(
    n: int,
    features: Features,
    coef: Any,
    *,
    intercept: float = 1.0,
    sd: float = 1.0,
    errors: Features | None = None,
    stated: Callable[[Rng, Array], Array] | None = None,
    scatter: float = 0.0,
    noise: Callable[[Rng, int], Array] | None = None,
    slopes_known: bool = True,
) -> Draw:
    """Return a design whose target is linear in its columns.

    Parameters
    ----------
    n : int
        Rows.
    features : callable
        (rng, rows) to the columns.
    coef : array-like of shape (p,), or callable
        True slopes; a callable draws them for every data set.
    intercept, sd : float
        Of the line; of the noise, where errors do not differ by row.
    errors : callable, optional
        (rng, rows) to the true errors of y, where they do.
    stated : callable, optional
        (rng, true errors) to those that `fit` and `predict` are told; without it nothing is told.
    scatter : float
        What varies beside the errors.
    noise : callable, optional
        Draws the noise in units of its standard deviation; normal without it.
    slopes_known : bool
        False: columns leave the slopes open.
    """

    def draw(rng: Rng) -> Data:
        X = features(rng, n + NEW_ROWS)
        slopes = np.asarray(coef(rng) if callable(coef) else coef, dtype=np.float64)
        own = np.full(len(X), sd) if errors is None else errors(rng, len(X))
        told = {} if stated is None else {"y_err": stated(rng, own)}
        line, total = intercept + X @ slopes, np.hypot(own, scatter)
        y = None if noise is None else line + total * noise(rng, len(X))
        return split(rng, X, line, total, slopes if slopes_known else None, stated=told, y=y)

    return draw


def measured_features(
    n: int,
    features: Features,
    coef: Any,
    X_err: Any,
    *,
    sd: float = 0.5,
    y_err: bool = False,
    by_row: float = 0.0,
) -> Draw:
    """Return a design whose features are measured with errors, new rows like those of the table.

    Parameters
    ----------
    n, features, coef, sd
        As for `linear`; the features are the true ones.
    X_err : array-like of shape (p,)
        Standard errors of the features; 0 is exact.
    y_err : bool
        Whether `sd` is stated.
    by_row : float
        Standard deviation of the logarithm of the errors, where they differ by row about `X_err`.
    """

    def draw(rng: Rng) -> Data:
        X = features(rng, n + NEW_ROWS)
        slopes, error = np.asarray(coef, dtype=np.float64), np.asarray(X_err, dtype=np.float64)
        own = error * np.exp(by_row * rng.normal(size=X.shape))
        told = {"y_err": np.full(len(X), sd)} if y_err else {}
        given = {"X_err": own[:n] if by_row else error}
        reading = X + own * rng.normal(size=X.shape)
        return split(rng, X, 1.0 + X @ slopes, sd, slopes, reading=reading, given=given, stated=told)

    return draw


def _weight(given: Mapping[str, Any], rows: int) -> Array:
    if "y_err" in given:
        return np.asarray(given["y_err"], dtype=np.float64) ** -2.0
    return np.asarray(given.get("sample_weight", given.get("counts", np.ones(rows))), dtype=np.float64)
