"""The tasks: what is measured, how many rows, and the tables, which every peer gets to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["TASKS", "DataSet", "Rows", "Task", "load", "save"]

Array = NDArray[np.float64]

# Stated errors of targets are this many times too small where the noise is scaled.
_FACTOR = 1.5
_SCATTER = 0.5
_LINE = (0.5, 1.0, -0.5)  # with errors of x: intercept, slope of the measured feature, slope of the exact one
_TIMED = 0.7  # reliability at which rows become more


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table."""

    X: Array
    """(n, p)"""
    y: Array
    """(n,) the target as measured."""
    truth: Array
    """(n,) what would have been measured without error; NaN where nobody knows."""
    y_err: Array
    """(n,) standard errors of y; NaN with shares."""
    counts: Array
    """(n,) counts behind shares; NaN with other targets."""
    X_err: Array
    """(n, p) standard errors of the features; zeros where they are exact."""

    def take(self, rows: NDArray[np.intp] | slice) -> Rows:
        return Rows(*(getattr(self, one.name)[rows] for one in fields(self)))

    def unseen(self) -> Rows:
        """Return what may be known before a measurement: y and the truth are NaN."""
        nothing = np.full(len(self.y), np.nan)
        return replace(self, y=nothing, truth=nothing)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Rows to fit, rows to predict, and the true slopes."""

    train: Rows
    test: Rows
    slopes: Array
    """(p,) NaN where nobody knows."""


@dataclass(frozen=True)
class Task:
    """A table of a kind and a size."""

    name: str
    kind: str
    """"shares" of counts, "targets" with standard errors, or "features" with standard errors, too."""
    rows: int
    columns: int
    make: Callable[[Task, int], DataSet] = field(repr=False)
    """From the task and a seed."""
    test_rows: int = 2000
    noise: str = "scaled"
    """"scaled": the errors are all, up to a factor. "additive": there is scatter beside them."""
    reliability: float = 1.0
    """Share of the measured feature's variance that is not error."""
    repeats: int = 1
    """Data sets that the slopes' bias is the mean of."""
    series: str = ""
    """Tasks that differ by their rows alone have a series in common."""

    def data_set(self, seed: int) -> DataSet:
        return self.make(self, seed)


def _star98(task: Task, seed: int) -> DataSet:
    """Return California's schools, split at random, with features in units of their spread."""
    from ..data import star98

    X, share, counts = star98(303)
    order = np.random.default_rng([98, seed]).permutation(len(share))
    unknown = np.full(len(share), np.nan)
    every = Rows(X, share, unknown, unknown, counts, np.zeros_like(X))
    train, test = every.take(order[: task.rows]), every.take(order[task.rows :][: task.test_rows])
    return _standardised(train, test, np.full(X.shape[1], np.nan))


def _phones(task: Task, seed: int) -> DataSet:
    """Return simulated phones, whose true shares are known, with features in units of their spread."""
    from bayes_sklearn.datasets import make_role_modeling

    phones = make_role_modeling(task.rows + task.test_rows, random_state=seed, as_frame=False)
    unknown = np.full(len(phones.target), np.nan)
    counts = phones.counts.astype(np.float64)
    every = Rows(phones.data, phones.target, phones.true_share, unknown, counts, np.zeros_like(phones.data))
    return _standardised(every.take(slice(task.rows)), every.take(slice(task.rows, None)), phones.coef)


def _standardised(train: Rows, test: Rows, slopes: Array) -> DataSet:
    """Put features in units of the training rows' spread, as penalties, priors and kernels of peers ask for."""
    mean, unit = train.X.mean(axis=0), train.X.std(axis=0)
    train, test = (replace(rows, X=(rows.X - mean) / unit) for rows in (train, test))
    return DataSet(train, test, slopes * unit)


def _targets(task: Task, seed: int) -> DataSet:
    """Return a linear target whose stated errors differ by a factor of up to ten."""
    rng = np.random.default_rng([1, task.rows, task.columns, seed])
    slopes = np.linspace(1.0, -1.0, task.columns)

    def rows(n: int) -> Rows:
        X = rng.normal(size=(n, task.columns))
        y_err = np.exp(rng.uniform(np.log(0.2), np.log(2.0), n))
        deviation = _FACTOR * y_err if task.noise == "scaled" else np.hypot(_SCATTER, y_err)
        truth = 0.5 + X @ slopes
        y = truth + deviation * rng.normal(size=n)
        return Rows(X, y, truth, y_err, np.full(n, np.nan), np.zeros_like(X))

    return DataSet(rows(task.rows), rows(task.test_rows), slopes)


def _features(task: Task, seed: int) -> DataSet:
    """Return a feature measured with error and, with two columns, an exact one that it correlates with."""
    rng = np.random.default_rng([2, task.rows, task.columns, round(100 * task.reliability), seed])
    typical = np.sqrt(1.0 / task.reliability - 1.0)

    def rows(n: int) -> Rows:
        z = rng.normal(size=n)
        x = rng.normal(size=n) if task.columns == 1 else 0.5 * z + np.sqrt(0.75) * rng.normal(size=n)
        true = np.column_stack([x, z])[:, : task.columns]
        X_err = np.zeros_like(true)
        # Squares of the errors are uniform between half and one and a half times their mean.
        X_err[:, 0] = typical * np.sqrt(rng.uniform(0.5, 1.5, n))
        y_err = rng.uniform(0.2, 0.6, n)
        truth = _LINE[0] + true @ np.array(_LINE[1:][: task.columns])
        deviation = y_err if task.noise == "scaled" else np.hypot(_SCATTER, y_err)
        y = truth + deviation * rng.normal(size=n)
        X = true + X_err * rng.normal(size=true.shape)
        return Rows(X, y, truth, y_err, np.full(n, np.nan), X_err)

    return DataSet(rows(task.rows), rows(task.test_rows), np.array(_LINE[1:][: task.columns]))


def _tasks() -> list[Task]:
    tasks = [
        Task("star98", "shares", 200, 20, _star98, test_rows=103),
        Task("phones", "shares", 500, 4, _phones),
    ]
    tasks += [
        Task(f"targets n={n}", "targets", n, 10, _targets, series="targets")
        for n in (100, 1_000, 10_000, 100_000)
    ]
    tasks += [Task(f"targets p={p}", "targets", 1000, p, _targets) for p in (2, 50)]
    tasks += [Task("targets with scatter", "targets", 1000, 10, _targets, noise="additive")]
    for columns, noise, label in ((1, "scaled", "errors in x"), (2, "additive", "errors in x, scatter")):
        tasks += [
            Task(
                f"{label}, reliability {reliability}",
                "features",
                100,
                columns,
                _features,
                noise=noise,
                reliability=reliability,
                repeats=100,
                series="errors in x" if columns == 1 and reliability == _TIMED else "",
            )
            for reliability in (0.5, 0.7, 0.95)
        ]
    tasks += [
        Task(f"errors in x n={n}", "features", n, 1, _features, reliability=_TIMED, series="errors in x")
        for n in (1_000, 10_000)
    ]
    return tasks


TASKS = {task.name: task for task in _tasks()}


def save(data_set: DataSet, path: Path) -> None:
    """Write a data set for a process of its own."""
    arrays = {
        f"{part}_{one.name}": getattr(rows, one.name)
        for part, rows in (("train", data_set.train), ("test", data_set.test))
        for one in fields(Rows)
    }
    np.savez(path, slopes=data_set.slopes, **arrays)


def load(path: Path) -> DataSet:
    """Read what `save` wrote."""
    with np.load(path) as kept:
        train, test = (
            Rows(*(kept[f"{part}_{one.name}"] for one in fields(Rows))) for part in ("train", "test")
        )
        return DataSet(train, test, kept["slopes"])
