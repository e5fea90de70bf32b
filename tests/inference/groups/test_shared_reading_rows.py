"""Rows that share a reading, taken apart into means and differences, against the whole covariance matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.estimators.observed import settled
from bayes_sklearn.inference.importance.engine import structural_problem
from bayes_sklearn.inference.importance.structural_nodes import Following, first_guess
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.structural.model import StructuralProblem
from bayes_sklearn.priors import Normal

Array = NDArray[np.float64]


def make_rows(noise: str, q: int, k: int, frequencies: bool, seed: int = 0) -> dict[str, Any]:
    """A few readings, unbalanced, some of one row; errors of y differ where they may."""
    rng = np.random.default_rng(seed)
    sizes = np.array([1, 4, 2, 7, 1, 3])
    group = rng.permutation(np.repeat(np.arange(6), sizes))
    n = len(group)
    w, error = rng.normal(3.0, 2.0, (6, q))[group], rng.uniform(0.3, 1.0, (6, q))[group]
    z = rng.normal(1.0, 1.5, (n, k)) + 0.3 * group[:, None]
    y_err: Any = (
        rng.uniform(0.5, 1.5, 6)[group] if noise in ("auto", "additive") else rng.uniform(0.5, 1.5, n)
    )
    return {
        "X": np.column_stack([w, z]),
        "y": 5.0 + w.sum(axis=1) - z.sum(axis=1) + rng.normal(size=n),
        "X_err": np.column_stack([error, np.zeros((n, k))]),
        "y_err": None if noise == "none" else y_err,
        "sample_weight": rng.integers(1, 4, n).astype(float) if frequencies else None,
        "group": group,
    }


def problem_of(rows: dict[str, Any], noise: str, **params: Any) -> Problem:
    noise = "scaled" if noise == "none" else noise
    settings: dict[str, Any] = {
        "coef_prior": Normal(),
        "intercept_prior": Normal(),
        "weight_type": "frequency",
    }
    model = BayesianErrorsInVariablesRegressor(noise=noise, **settings | params)
    of_features = {"X_err": rows["X_err"], "X_err_groups": rows["group"]}
    return settled(
        model, rows["X"], rows["y"], rows["sample_weight"], {"y_err": rows["y_err"]}, of_features
    ).problem


def dense_log_evidence(problem: Problem, of_means: StructuralProblem, point: Array) -> float:
    """log p(w, y | psi), the parameters that are linear integrated out, by one covariance matrix of all readings."""
    errors = problem.feature_errors
    assert errors is not None
    assert errors.groups is not None
    every = structural_problem(replace(problem, feature_errors=replace(errors, groups=None)))[0]
    times = np.ones(len(every.y), int) if every.frequency is None else every.frequency.astype(int)
    row = np.repeat(np.arange(len(every.y)), times)  # a frequency is so many rows
    group, z, y = errors.groups[row], every.z[row], every.y[row]
    error = np.broadcast_to(1.0 if every.standard_error is None else every.standard_error, every.y.shape)[row]
    m, s, T, scatter, _, *factor = (value[0] for value in of_means.psi(point[None]) if value is not None)
    multiple, added = (
        (s, scatter) if problem.noise.multiplies else (1.0, s if problem.noise.scatters else 0.0)
    )
    variance = (multiple * error) ** 2 + added**2
    G, (n, k), q = group.max() + 1, z.shape, every.n_noisy
    first = np.array([np.flatnonzero(group == g)[0] for g in range(G)])
    precision = 1.0 / variance
    mean = np.array([precision[group == g] @ z[group == g] / precision[group == g].sum() for g in range(G)])
    w, U = every.w[row[first]], np.broadcast_to(every.feature_covariance, (len(every.y), q, q))[row[first]]
    U = U if not factor else U * factor[0][:, None] * factor[0]
    ones = np.column_stack([np.ones(G), mean])  # (1, mean of z)
    of_w = np.array([np.kron(np.eye(q), ones[g]) for g in range(G)])  # (G, q, q (k + 1))
    design = np.zeros((G * q + n, q * (k + 1) + 1 + k))
    design[: G * q, : q * (k + 1)] = of_w.reshape(G * q, -1)
    design[G * q :, : q * (k + 1)] = np.einsum("q,gqd->gd", m, of_w)[group]
    design[G * q :, q * (k + 1)] = 1.0
    design[G * q :, q * (k + 1) + 1 :] = z
    covariance = np.zeros((len(design), len(design)))
    for g in range(G):
        covariance[g * q : g * q + q, g * q : g * q + q] = T + U[g]
        mine = G * q + np.flatnonzero(group == g)
        covariance[np.ix_(mine, mine)] = m @ T @ m
        covariance[g * q : g * q + q, mine] = (T @ m)[:, None]
        covariance[mine, g * q : g * q + q] = (T @ m)[None, :]
    covariance[np.arange(G * q, G * q + n), np.arange(G * q, G * q + n)] += variance
    head, slopes = of_means._head_prior, of_means.slopes
    center = np.append(np.linalg.solve(head.shear, head.mean), slopes.beta_mean)
    spread = np.zeros((len(center), len(center)))
    root = np.linalg.inv(head.shear) * head.sd
    spread[: len(root), : len(root)] = root @ root.T
    spread[len(root) :, len(root) :] = np.linalg.inv(slopes.whiten[0].T @ slopes.whiten[0])
    whole = covariance + design @ spread @ design.T
    return float(multivariate_normal.logpdf(np.append(w.ravel(), y), design @ center, whole))


@pytest.mark.parametrize("frequencies", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (2, 0), (2, 2)])
@pytest.mark.parametrize("noise", ["none", "scaled", "known", "additive", "auto", "common"])
def test_the_density_is_that_of_the_whole_covariance_matrix(
    noise: str, shape: tuple[int, int], frequencies: bool
) -> None:
    rows = make_rows(noise, *shape, frequencies)
    problem = problem_of(rows, noise, x_error_dof=5.0 if noise == "known" else None)
    of_means = structural_problem(problem)[0]
    assert len(of_means.y) == 6
    points = first_guess(of_means)[0] + 0.2 * np.random.default_rng(1).normal(size=(4, of_means.size))
    expected = [dense_log_evidence(problem, of_means, point) for point in points]
    assert_allclose(of_means.log_evidence(points), expected, rtol=1e-9)


@pytest.mark.parametrize("noise", ["none", "additive", "auto"])
def test_coordinates_of_means_go_forth_and_back_and_their_volume_is_right(noise: str) -> None:
    of_means = structural_problem(problem_of(make_rows(noise, 2, 1, frequencies=False), noise))[0]
    following = Following.of(of_means)
    coordinates = 0.3 * np.random.default_rng(0).normal(size=(5, of_means.size)) + 1.0
    points, log_volume = following.points(coordinates)
    assert_allclose(following.coordinates(points), coordinates, rtol=1e-7, atol=1e-7)
    for at, volume in zip(coordinates, log_volume, strict=True):
        h = 1e-5 * np.eye(len(at))
        jacobian = (following.points(at + h)[0] - following.points(at - h)[0]) / 2e-5
        assert_allclose(np.linalg.slogdet(jacobian)[1], volume, rtol=1e-5)
