"""NUTS where a prior's scale, its geometry and a scatter are sampled: beside the exact engine and plain integrals.

Means of draws are held against numbers, in units of the Monte Carlo standard error. The bound is z = 5, which a right
package passes but once in 1.7 million; of the 40 or so comparisons one fails in at most one of 40,000 sets of draws.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayes_sklearn.inference.exact import engine as exact
from bayes_sklearn.inference.nuts import engine as nuts
from bayes_sklearn.inference.nuts.formulation import structure
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.settings import SamplerSettings
from bayes_sklearn.likelihoods import BinomialLikelihood, Likelihood
from bayes_sklearn.likelihoods.noise import NOISES, SCALED
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.priors import (
    CoefficientPrior,
    Flat,
    HalfCauchy,
    HalfNormal,
    Laplace,
    Normal,
    PoweredCorrelation,
)

from reference_model import monte_carlo_error

Array = NDArray[np.float64]

Z_BOUND = 5.0
SETTINGS = SamplerSettings(draws=2000, chains=4, seed=4)
N = 40


def table(kind: str) -> tuple[Array, Array, Array]:
    """Features, target and its errors."""
    rng = np.random.default_rng(2)
    x = rng.uniform(0.0, 10.0, N)
    error = rng.uniform(0.3, 1.5, N)
    if kind == "cubic":  # whose coefficients are large beside the features' spread
        y = 1.0 + 2.0 * x - 0.4 * x**2 + 0.03 * x**3 + 1.2 * error * rng.normal(size=N)
        return np.column_stack([x, x**2, x**3]), y, error
    X = np.column_stack([x, rng.normal(size=(N, 2))])
    scatter = {"scatter": 1.5, "right errors": 0.0}[kind]
    return X, 0.2 * x + 0.3 * X[:, 1] + np.hypot(error, scatter) * rng.normal(size=N), error


def problem_of(kind: str, noise: Any, coef_prior: CoefficientPrior, columns: int = 3) -> Problem:
    X, y, error = table(kind)
    return Problem.build(
        Rows(X[:, :columns], y, None, None),
        error,
        noise=NOISES[noise],
        standardize=True,
        coef_prior=coef_prior,
        intercept_prior=Flat(),
        noise_prior=HalfNormal(),
    )


def assert_means(posterior: Posterior, values: Array, expected: Any) -> None:
    """Compare means of values of the draws, (G, k), with numbers."""
    chains = posterior.chains
    assert chains is not None
    z = [
        (column.mean() - number) / monte_carlo_error(column)
        for column, number in zip(
            np.moveaxis(chains.split(values), 2, 0), np.atleast_1d(expected), strict=True
        )
    ]
    assert np.abs(z).max() < Z_BOUND, f"z scores {np.round(z, 1)}"


@pytest.mark.parametrize("kind", ["cubic", "scatter", "right errors"])
def test_geometries_and_scatter_are_the_exact_engine_s(kind: str) -> None:
    """Of three tables by one compiled model."""
    problem = problem_of(kind, "auto", PoweredCorrelation())
    found, expected = nuts.solve(problem, SETTINGS), exact.solve(problem, SETTINGS)
    assert found.chains is not None
    assert found.chains.n_divergent == 0
    assert_means(found, found.location, expected.mean)
    assert_means(found, np.square(found.location), np.square(expected.mean) + np.diag(expected.covariance))
    assert found.prior_scale is not None
    assert expected.prior_scale is not None
    limits = expected.quantiles("prior_scale", expected.prior_scale, np.array([0.1, 0.5, 0.9]))
    # To one in a hundred: the exact engine's nodes are few.
    assert np.abs((found.prior_scale[:, None] < limits).mean(axis=0) - [0.1, 0.5, 0.9]).max() < 0.03
    assert found.geometry is not None
    assert expected.geometry is not None
    assert np.abs(found.geometry - expected.geometry).max() < 0.03
    assert found.scatter is not None
    scale, scatter, weights = noise_integrated(problem)
    for values, of_grid in ((found.noise_scale, scale), (found.scatter, scatter)):
        steps, which = np.unique(of_grid, return_inverse=True)
        mass = np.bincount(which.ravel(), weights.ravel())
        # A step of the grid has half of its mass below it.
        limits = np.exp(np.interp([0.1, 0.5, 0.9], np.cumsum(mass) - 0.5 * mass, np.log(steps)))
        assert_means(found, (values[:, None] < limits).astype(float), [0.1, 0.5, 0.9])


def noise_integrated(problem: Problem) -> tuple[Array, Array, Array]:
    """Noise scales and scatters on a grid, and the posterior probabilities there, the prior's scale summed out."""
    log_ratio, log_s = np.linspace(-9.0, 7.0, 161), np.linspace(-9.0, 2.0, 221)
    log_tau = np.linspace(-6.0, 7.0, 66)
    s, scatter = np.exp(log_s), problem.scatter_unit * np.multiply.outer(np.exp(log_ratio), np.exp(log_s))
    assert problem.conditional_prior is not None
    log_density = np.empty(scatter.shape)
    for i, t in enumerate(scatter):
        factor, log_error = problem.factor_at(float(t[0] / s[0]))
        design, target = factor[1:, 1:-1], factor[1:, -1]
        terms = []
        for root in problem.conditional_prior.roots:
            left, singular, _ = np.linalg.svd(design @ root)
            variance = np.square(np.multiply.outer(np.exp(log_tau), np.append(singular, 0.0)))
            variance = variance + np.square(s)[:, None, None]
            terms.append(-0.5 * (np.log(variance) + np.square(left.T @ target) / variance).sum(axis=2))
        prior = HalfCauchy().log_density(np.exp(log_tau)) + log_tau
        log_density[i] = logsumexp(np.array(terms) + prior, axis=(0, 2))
        log_density[i] -= (
            (problem.total_weight - 1.0 - len(target)) * log_s + log_error + np.log(factor[0, 0])
        )
        log_density[i] += problem.scatter_prior.log_density(t) + np.log(t)
    log_density += problem.noise_prior.log_density(s) + log_s
    weights = np.exp(log_density - log_density.max())
    return np.broadcast_to(s, scatter.shape), scatter, weights / weights.sum()


def test_what_is_compiled_is_the_same_for_all_numbers() -> None:
    """And another for another distribution of the scale, or number of powers."""

    def key(*prior: Any) -> Any:
        return structure(problem_of("scatter", "auto", PoweredCorrelation(*prior)))

    assert key() == key(HalfCauchy(3.0), (0.1, 0.6, 0.9))
    assert len({key(), key(HalfNormal()), key(2.0), key(None, 0.5), key(None, (0.0, 1.0))}) == 5


@pytest.mark.thorough
def test_a_scale_of_laplace_priors_is_that_of_a_plain_integral() -> None:
    problem = problem_of("right errors", "known", Laplace(b=HalfNormal()), columns=1)
    found = nuts.solve(
        problem, replace(SETTINGS, seed=5)
    )  # of whose draws none diverges; of some seeds' one does
    rows, _ = problem.factor
    # The intercept is flat: what is left of the rows knows of the slope alone.
    m, log_b = np.linspace(-3.0, 3.0, 4001), np.linspace(-9.0, 3.0, 1201)
    misfit = np.square(rows[1:, 2] - np.multiply.outer(m, rows[1:, 1])).sum(axis=1)
    b = np.exp(log_b)
    log_density = -0.5 * misfit[:, None] - np.abs(m)[:, None] / b - np.log(b) - 0.5 * b**2 + log_b
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()
    assert found.prior_scale is not None
    assert_means(
        found,
        np.column_stack([found.location[:, 1], np.square(found.location[:, 1]), np.log(found.prior_scale)]),
        [weights.sum(axis=1) @ m, weights.sum(axis=1) @ m**2, weights.sum(axis=0) @ log_b],
    )


@pytest.mark.thorough
def test_geometries_of_log_odds_are_those_of_a_plain_integral() -> None:
    rng = np.random.default_rng(3)
    x, trials = rng.normal(size=N), rng.integers(1, 8, N).astype(float)
    X = np.column_stack([x, 0.9 * x + 0.3 * rng.normal(size=N)])
    y = rng.binomial(trials.astype(int), 1.0 / (1.0 + np.exp(-0.3 - 1.5 * X[:, 0] + X[:, 1]))) / trials
    likelihood: Likelihood = BinomialLikelihood()
    problem = Problem.build(
        Rows(X, y, None, None),
        None,
        noise=SCALED,
        standardize=True,
        coef_prior=PoweredCorrelation(),
        intercept_prior=Normal(0.0, 2.0),
        noise_prior=HalfNormal(),
        likelihood=likelihood,
        trials=trials,
    )
    found = nuts.solve(problem, SETTINGS)
    axes = np.linspace(-1.0, 2.0, 31), np.linspace(-3.0, 6.0, 73), np.linspace(-6.0, 4.0, 81)
    B = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    design = np.concatenate([block for _, block in problem.design_blocks()])
    eta = B @ design.T
    rows = (trials * (y * eta - np.logaddexp(0.0, eta))).sum(axis=1) - 0.5 * np.square(B[:, 0] / 2.0)
    B, rows = B[rows > rows.max() - 20.0], rows[rows > rows.max() - 20.0]
    log_tau = np.linspace(-7.0, 7.0, 141)
    assert problem.conditional_prior is not None
    terms = []
    for root in problem.conditional_prior.roots:
        square = np.square(np.linalg.solve(root, B[:, 1:].T)).sum(axis=0)
        prior = -0.5 * np.multiply.outer(np.exp(-2.0 * log_tau), square) - 2.0 * log_tau[:, None]
        prior += (HalfCauchy().log_density(np.exp(log_tau)) + log_tau)[:, None] - np.linalg.slogdet(root)[1]
        terms.append(prior + rows)
    weights = np.exp(np.array(terms) - np.max(terms))
    weights /= weights.sum()
    of_B = weights.sum(axis=(0, 1))
    assert_means(found, found.location, of_B @ B)
    assert_means(found, np.square(found.location), of_B @ B**2)
    assert found.prior_scale is not None
    assert_means(found, np.log(found.prior_scale)[:, None], weights.sum(axis=(0, 2)) @ log_tau)
    assert found.geometry is not None
    assert np.abs(found.geometry - weights.sum(axis=(1, 2))).max() < 0.01
