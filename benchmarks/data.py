"""Simulated tables: a measured target, and shares of counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["NoisyTable", "Table", "measured", "noisy", "phones", "scattered", "shares", "sparse"]

Array = NDArray[np.float64]

# Rows are made a block at a time: no temporary array then adds to the peak that a fit's memory is told from.
_BLOCK = 10_000


@dataclass(frozen=True, eq=False)
class Table:
    """Features and target, and all that may be known of the target's errors."""

    X: Array
    """(n, p)"""
    y: Array
    """(n,)"""
    y_err: Array
    """(n,) standard errors."""
    weight: Array
    """(n,) frequencies, or the counts behind shares."""


@dataclass(frozen=True, eq=False)
class NoisyTable(Table):
    """A table whose features were measured, too."""

    X_err: Array
    """(n, p) or (p,) standard errors of the features."""


def noisy(rows: int, columns: int, with_error: int, *, common: bool, seed: int = 0) -> NoisyTable:
    """Return correlated features, the first of them measured with errors of half their spread, and a target."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(rows, columns)) + 0.5 * rng.normal(size=(rows, 1))
    size = np.full(columns, 0.5) if common else rng.uniform(0.2, 0.8, size=(rows, columns))
    X_err = np.where(np.arange(columns) < with_error, size, 0.0)
    y_err = np.full(rows, 0.5) if common else rng.uniform(0.2, 1.0, rows)
    y = 1.0 + true @ np.linspace(1.0, -1.0, columns + 1)[:-1] + y_err * rng.normal(size=rows)
    return NoisyTable(true + X_err * rng.normal(size=true.shape), y, y_err, np.ones(rows), X_err)


def star98(rows: int) -> tuple[Array, Array, Array]:
    """Return features, shares and counts of the first rows of California's star98 table (303 x 20), of statsmodels.

    Raises
    ------
    ImportError
        Where statsmodels, which may distribute the table, is not installed.
    """
    from statsmodels.datasets import star98 as source

    table = source.load_pandas()
    above, below = (table.endog[name].to_numpy(dtype=np.float64)[:rows] for name in ("NABOVE", "NBELOW"))
    return table.exog.to_numpy(dtype=np.float64)[:rows], above / (above + below), above + below


def one_error(rows: int, columns: int, seed: int = 0) -> NoisyTable:
    """Return what `noisy` does with the same errors for all rows, one feature measured with error."""
    return noisy(rows, columns, 1, common=True, seed=seed)


def measured(rows: int, columns: int, seed: int = 0) -> Table:
    """Return a linear target with errors between 0.2 and 2, and frequencies of 1 to 4."""
    return _linear(rows, np.linspace(1.0, -1.0, columns), seed)


def sparse(rows: int, columns: int, seed: int = 0) -> Table:
    """Return what `measured` does, with a target that two of the features matter to."""
    coef = np.zeros(columns)
    coef[:2] = 1.0, -1.0
    return _linear(rows, coef, seed)


def scattered(rows: int, columns: int, seed: int = 0) -> Table:
    """Return what `measured` does, with a scatter of 0.5 that the errors leave out."""
    table = measured(rows, columns, seed)
    scatter = 0.5 * np.random.default_rng([seed, 1]).standard_normal(rows)
    return replace(table, y=table.y + scatter)


def _linear(rows: int, coef: Array, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    table = _empty(rows, len(coef))
    for block in _blocks(rows):
        X = rng.standard_normal(out=table.X[block])
        table.y_err[block] = rng.uniform(0.2, 2.0, len(X))
        table.y[block] = 3.0 + X @ coef + table.y_err[block] * rng.standard_normal(len(X))
        table.weight[block] = rng.integers(1, 5, len(X))
    return table


def shares(rows: int, columns: int, seed: int = 0) -> Table:
    """Return shares of 2 to 1,000 trials, linear in the features and mostly between 0.1 and 0.3."""
    rng = np.random.default_rng(seed)
    table = _empty(rows, columns)
    coef = np.linspace(0.1, -0.1, columns) / np.sqrt(columns)
    for block in _blocks(rows):
        X = rng.random(out=table.X[block])
        counts = np.floor(np.exp(rng.uniform(np.log(2.0), np.log(1000.0), len(X))))
        share = 0.2 + (X - 0.5) @ coef
        table.weight[block] = counts
        table.y[block] = rng.binomial(counts.astype(int), share) / counts
        table.y_err[block] = np.sqrt(share * (1.0 - share) / counts)
    return table


def phones(rows: int, columns: int = 4, seed: int = 0) -> Table:
    """Return shares strictly between 0 and 1, with the reference model's errors sqrt(p (1 - p) / n) + 0.1."""
    table = shares(rows, columns, seed)
    counts = table.weight + 1.0
    successes = np.clip(np.rint(table.y * counts), 1.0, counts - 1.0)
    share = successes / counts
    return Table(table.X, share, np.sqrt(share * (1.0 - share) / counts) + 0.1, counts)


def _empty(rows: int, columns: int) -> Table:
    return Table(np.empty((rows, columns)), np.empty(rows), np.empty(rows), np.empty(rows))


def _blocks(rows: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK)]
