"""Small data sets that several tests use."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Measured(NamedTuple):
    """A linear target measured with known, unequal errors."""

    X: Array
    y: Array
    y_err: Array


class Shares(NamedTuple):
    """Shares with the counts behind them."""

    X: Array
    y: Array
    counts: Array


def measured(n: int = 60, p: int = 3, seed: int = 0) -> Measured:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * np.geomspace(0.1, 10.0, p) + np.linspace(-3.0, 5.0, p)
    y_err = rng.uniform(0.2, 2.0, n)
    y = 4.0 + X @ rng.normal(size=p) + y_err * rng.normal(size=n)
    return Measured(X, y, y_err)


def gentle(n: int = 60) -> Measured:
    """No row has much of a say: Pareto smoothing works."""
    rng = np.random.default_rng(0)
    X, y_err = rng.uniform(-1.0, 1.0, size=(n, 2)), rng.uniform(0.5, 1.0, n)
    return Measured(X, X @ [2.0, -1.0] + y_err * rng.uniform(-2.0, 2.0, n), y_err)


def shares(n: int = 80, p: int = 2, seed: int = 0) -> Shares:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1.0, 1.0, size=(n, p))
    counts = np.exp(rng.uniform(np.log(3.0), np.log(500.0), n)).astype(int).astype(np.float64)
    y = rng.binomial(counts.astype(int), 0.3 + X @ np.linspace(0.1, -0.1, p)) / counts
    return Shares(X, y, counts)


class Noisy(NamedTuple):
    """A linear target and features measured with known, unequal errors; the last feature is exact."""

    X: Array
    y: Array
    X_err: Array
    """(n, p), zero in the last column."""
    true_features: Array
    y_err: Array


def noisy_features(n: int = 120, q: int = 1, seed: int = 0, *, common: bool = False) -> Noisy:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    true_features = np.column_stack([rng.normal(size=(n, q)) + 0.6 * z[:, None], z])
    X_err = np.column_stack([rng.uniform(0.3, 0.8, size=(n, q)), np.zeros(n)])
    X_err = X_err[:1].repeat(n, axis=0) if common else X_err
    y_err = rng.uniform(0.3, 0.6, n)
    y = 1.0 + true_features @ np.append(np.linspace(2.0, 1.0, q), -1.0) + y_err * rng.normal(size=n)
    return Noisy(true_features + X_err * rng.normal(size=(n, q + 1)), y, X_err, true_features, y_err)
