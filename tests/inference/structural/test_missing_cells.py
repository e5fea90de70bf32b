"""Densities of rows that lack some of (w, y), against integrals of those of whole rows over what is missing."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayes_sklearn import Outliers
from bayes_sklearn.inference.structural.mixture import MixtureProblem
from bayes_sklearn.inference.structural.model import StructuralProblem
from bayes_sklearn.inference.structural.normal_equations import SlopePrior
from bayes_sklearn.inference.structural.wild import parameters_of
from bayes_sklearn.likelihoods.noise import NOISES

Array = NDArray[np.float64]


def problem(noise: str, together: bool, missing: list[tuple[int, int]]) -> StructuralProblem:
    """Five rows of two features with errors and one without; cells named are known without error, or not at all."""
    rng = np.random.default_rng(4)
    n, q = 5, 2
    root = 0.4 * rng.normal(size=(n, q + 1, q + 2))
    joint = root @ root.transpose(0, 2, 1)
    for row, column in missing:
        joint[row, column] = joint[row, :, column] = 0.0
    error = np.sqrt(np.diagonal(joint, axis1=1, axis2=2)[:, q])
    return StructuralProblem(
        z=rng.normal(size=(n, 1)),
        w=rng.normal(size=(n, q)),
        y=rng.normal(size=n),
        feature_covariance=joint[:, :q, :q],
        slopes=SlopePrior(
            lambda m: -0.5 * np.square(m).sum(axis=1),
            np.zeros(q),
            np.ones(q),
            np.zeros(1),
            np.ones((1, 1, 1)),
        ),
        log_prior_noise=lambda s: -0.5 * s**2,
        intercept=(0.2, 0.7),
        cross_covariance=joint[:, :q, q] if together else None,
        standard_error=np.where(error > 0.0, error, 0.5),
        noise=NOISES[noise],
        log_prior_scatter=(lambda t: -0.5 * t**2) if noise == "auto" else None,
    )


def lacking(whole: StructuralProblem, missing: list[tuple[int, int]]) -> StructuralProblem:
    """The problem with anything in the place of these cells, column 2 being y."""
    rng = np.random.default_rng(0)
    table, cells = np.column_stack([whole.w, whole.y]), np.zeros((5, 3), dtype=bool)
    for cell in missing:
        cells[cell], table[cell] = True, 3.0 * rng.normal()
    return replace(whole, w=table[:, :2], y=table[:, 2], unmeasured=cells)


def filled(whole: StructuralProblem, missing: list[tuple[int, int]], values: Array) -> StructuralProblem:
    table = np.column_stack([whole.w, whole.y])
    table[tuple(np.transpose(missing))] = values
    return replace(whole, w=table[:, :2], y=table[:, 2])


CASES = [("scaled", True), ("additive", False), ("known", True), ("auto", False)]


@pytest.mark.parametrize(("noise", "together"), CASES)
@pytest.mark.parametrize(
    "missing", [[(1, 0)], [(2, 1), (3, 0)], [(0, 0), (0, 1)], [(2, 0), (2, 2)], [(4, 2)]]
)
def test_the_evidence_is_that_of_whole_tables_integrated(
    noise: str, together: bool, missing: list[tuple[int, int]]
) -> None:
    """Given the point all is normal, so that the log of the integrand is a polynomial of the second degree."""
    whole = problem(noise, together, [cell for cell in missing if cell[1] < 2])
    points = np.random.default_rng(1).normal(size=(3, whole.size))
    size = len(missing)

    def at(*values: Array) -> Array:
        return filled(whole, missing, np.sum(values, axis=0)).log_evidence(points)

    unit, here = np.eye(size), at(np.zeros(size))
    slope = np.array([at(e) - at(-e) for e in unit]) / 2.0
    bend = np.array([[at(a, b) - at(a, -b) - at(-a, b) + at(-a, -b) for a in unit] for b in unit]) / 4.0
    precision = -bend.transpose(2, 0, 1)
    top = np.linalg.solve(precision, slope.T[:, :, None])[:, :, 0]
    expected = here + 0.5 * (slope.T * top).sum(axis=1)
    expected += 0.5 * size * np.log(2.0 * np.pi) - 0.5 * np.linalg.slogdet(precision)[1]
    assert_allclose(lacking(whole, missing).log_evidence(points), expected, atol=1e-8)


@pytest.mark.parametrize(("noise", "together"), CASES)
@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.parametrize("missing", [[0], [1], [0, 1], [2], [0, 2]])
@pytest.mark.parametrize("outliers", [None, Outliers()], ids=["", "wild"])
def test_a_row_has_the_integral_of_its_density(
    noise: str, together: bool, n_components: int, missing: list[int], outliers: Outliers | None
) -> None:
    """By a sum over a grid, which for smooth densities is the integral."""
    cells = [(1, column) for column in missing]
    whole = problem(noise, together, [cell for cell in cells if cell[1] < 2])
    lacks = lacking(whole, cells)
    own, other = (
        MixtureProblem(rows, n_components, outliers=parameters_of(outliers)) for rows in (whole, lacks)
    )
    points = 0.3 * np.random.default_rng(1).normal(size=(2, own.size))
    points[:, own.columns["t"]] += 1.0
    points[:, own.columns["s"]] += 1.0
    # The same parameters at another center.
    parts = other.taken_apart(points)
    z, w, y = (a - b for a, b in zip(other.center, own.center, strict=True))
    at_mean = parts.line[:, 0] - parts.line[:, 1:] @ z - parts.m @ w + y
    means = parts.means + w - (parts.slopes @ z)[:, None]
    same = parts._replace(line=np.column_stack([at_mean, parts.line[:, 1:]]), means=means)
    grid = np.linspace(-20.0, 20.0, 801 if len(missing) == 1 else 267)
    values = np.array(list(product(grid, repeat=len(missing))))
    rows = np.tile(own.rows[1], (len(values), 1))
    rows[:, 2 + np.array(missing)] = values
    many, every = replace(own), slice(0, len(rows))
    many.__dict__.update(rows=rows, errors=np.tile(own.errors[1], (len(rows), 1)))
    of_rows = many._of_rows(same, many._residuals(same, every), every)
    expected = logsumexp(of_rows, axis=1) + len(missing) * np.log(grid[1] - grid[0])
    assert_allclose(other.row_log_density(points)[:, 1], expected, atol=1e-8)
