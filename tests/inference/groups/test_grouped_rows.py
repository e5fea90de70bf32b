"""Rows with the effects of their groups integrated over are what dense algebra makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.estimators.fitting import settle
from bayes_sklearn.estimators.reading import read, specify
from bayes_sklearn.inference.groups.rows import GroupedRows
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.settings import SamplerSettings

NOTHING = dict.fromkeys(("X_err", "X_cov", "Xy_cov", "X_censored"))


def table(offset: float = 0.0) -> tuple[pd.DataFrame, Any, Any, Any]:
    rng = np.random.default_rng(1)
    n = 90
    school = np.concatenate([rng.integers(0, 8, n - 3), [8, 9, 9]])  # with a group of one row
    frame = pd.DataFrame({"x": rng.normal(size=n) + 3.0 + offset, "w": rng.normal(size=n), "school": school})
    frame["batch"] = rng.choice(list("abcd"), size=n)
    y = offset + 0.5 * frame["w"].to_numpy() + rng.normal(size=10)[school] + rng.normal(size=n)
    return frame, y, rng.uniform(0.3, 1.0, n), rng.integers(0, 3, n).astype(float)


def problem_of(frame: pd.DataFrame, y: Any, y_err: Any, weight: Any, **parameters: Any) -> Problem:
    model = BayesianErrorsInVariablesRegressor(**parameters)
    of_target = {"y_err": y_err, "exposure": None, "y_censored": None, "y_upper": None}
    data = read(model, frame, y, weight, of_target, NOTHING)
    return settle(data.rows, data.errors, specify(model, data), "auto", SamplerSettings())


def dense(problem: Problem, ratios: list[float], scatter: float) -> tuple[Any, float]:
    """Return products of [1, x, y] by the inverse covariance, and minus half its log determinant."""
    rows, scaling, groupings = problem.rows, problem.scaling, problem.groupings
    assert groupings is not None
    assert rows.members is not None
    copies = np.repeat(np.arange(len(rows.y)), 1 if rows.frequency is None else rows.frequency.astype(int))
    x = ((np.asarray(rows.take(slice(None))) - scaling.x_mean) / scaling.x_scale)[copies]
    y = ((rows.y - scaling.y_mean) / scaling.y_scale)[copies]
    error = 1.0 if problem.standard_error is None else np.asarray(problem.standard_error) / problem.error_unit
    error = np.broadcast_to(error, rows.y.shape)[copies]
    V, place = np.diag(error**2 + scatter**2), 0
    for k, slopes in enumerate(groupings.slopes):
        label = rows.members[copies, k]
        for z in [np.ones(len(y)), *(x[:, j] for j in slopes)]:
            V += ratios[place] ** 2 * (label[:, None] == label) * np.outer(z, z)
            place += 1
    white = np.linalg.solve(np.linalg.cholesky(V), np.column_stack([np.ones(len(y)), x, y]))
    return white.T @ white, -0.5 * float(np.linalg.slogdet(V)[1])


CASES = {
    "intercepts": ("school", None, [0.7]),
    "next to none": ("school", None, [1e-9]),
    "huge": ("school", None, [1e3]),
    "slopes": ("school", "x", [0.7, 0.3]),
    "two slopes": ("school", ["x", "w"], [0.7, 0.3, 2.0]),
    "crossed": (["school", "batch"], None, [0.5, 1.2]),
    "crossed, of which one is none": (["school", "batch"], None, [0.5, 0.0]),
    "crossed slopes": (["batch", "school"], {"batch": ["w"], "school": ["x"]}, [0.5, 1.2, 0.3, 0.8]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("errors", [False, True])
def test_rows_are_those_of_dense_algebra(case: str, errors: bool) -> None:
    columns, slopes, ratios = CASES[case]
    frame, y, y_err, weight = table()
    frame = frame[["x", "w", *([columns] if isinstance(columns, str) else sorted(columns))]]
    weight = None if errors else weight
    problem = problem_of(
        frame, y, y_err if errors else None, weight, group_column=columns, group_slopes=slopes
    )
    rows = GroupedRows(problem)
    for scatter in (0.0, 0.4) if errors else (0.0,):
        found = rows.marginal(rows.split(scatter), np.array(ratios))
        products, log_weight = dense(problem, ratios, scatter)
        assert_allclose(found.factor.T @ found.factor, products, rtol=1e-10, atol=1e-10 * products.max())
        assert_allclose(found.log_weight, log_weight, rtol=1e-12, atol=1e-9)


def test_offsets_cost_no_digits_of_slopes() -> None:
    found = []
    for offset in (0.0, 1e6):
        frame, y, y_err, _ = table(offset)
        problem = problem_of(
            frame[["x", "w", "school"]], y, y_err, None, group_column="school", group_slopes="x"
        )
        rows = GroupedRows(problem)
        found.append(rows.marginal(rows.split(), np.array([0.7, 0.3])).factor)
    # The features themselves are rounded to 1e-10 of their spread.
    assert_allclose(found[0], found[1], rtol=1e-8, atol=1e-8 * np.abs(found[0]).max())
