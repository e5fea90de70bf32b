"""Importance sampling under the other likelihoods, against grids, the exact engine and generalised linear models.

Sums over nodes are held to their truth within four of their standard errors: with independent draws 6 in 100,000
would be further off, and the seeds are fixed.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn.inference import propriety as separation
from bayes_sklearn.inference.exact import engine as exact
from bayes_sklearn.inference.importance import engine as importance
from bayes_sklearn.inference.importance.regression_density import RegressionDensity
from bayes_sklearn.inference.importance.regression_nodes import find_proposal, solve_regression
from bayes_sklearn.inference.importance.regression_rows import Table
from bayes_sklearn.inference.numerics.importance_sampling import Sample
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.propriety import check_proper
from bayes_sklearn.inference.settings import NotTrusted, SamplerSettings
from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BetaLikelihood,
    BinomialLikelihood,
    Likelihood,
    NegativeBinomialLikelihood,
    NormalLikelihood,
    PoissonLikelihood,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.feature_errors import FeatureErrors
from bayes_sklearn.measurements.limits import resolve_limits
from bayes_sklearn.priors import Beta, Flat, HalfNormal, Horseshoe, Laplace, Normal, StudentT

from star98 import load_star98

Array = NDArray[np.float64]

Z = 4.0


def build(
    X: Array, y: Array, likelihood: Likelihood, trials: Any = None, error: Any = None, **changes: Any
) -> Problem:
    given: dict[str, Any] = {
        "noise": NOISES[str(changes.pop("noise", "scaled"))],
        "standardize": True,
        "coef_prior": Normal(),
        "intercept_prior": Normal(),
        "noise_prior": HalfNormal(),
    }
    frequency = changes.pop("frequency", None)
    trials = None if trials is None else np.broadcast_to(np.asarray(trials, dtype=np.float64), y.shape)
    rows = Rows(np.asarray(X, dtype=np.float64), y, None, frequency)
    return Problem.build(rows, error, likelihood=likelihood, trials=trials, **{**given, **changes})


def shares(
    n: int = 40, p: int = 2, trials: int = 12, dispersion: float = 0.0, seed: int = 0, **changes: Any
) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 2.0
    share = 1.0 / (1.0 + np.exp(-(X - 2.0) @ np.linspace(1.0, -0.5, p)))
    if dispersion:
        total = (1.0 - dispersion) / dispersion
        share = rng.beta(share * total, (1.0 - share) * total)
    likelihood = changes.pop("likelihood", BetaBinomialLikelihood() if dispersion else BinomialLikelihood())
    return build(X, rng.binomial(trials, share) / trials, likelihood, trials, **changes)


def heavy(
    n: int = 40, p: int = 2, nu: Any = None, seed: int = 0, errors: float = 0.5, **changes: Any
) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 3.0 - 1.0
    error = errors * rng.uniform(0.5, 1.5, n)
    y = 5.0 + X @ np.linspace(1.0, -0.5, p) + error * rng.standard_t(3, size=n)
    likelihood = changes.pop("likelihood", StudentTLikelihood(nu))
    return build(X, y, likelihood, None, error, **changes)


def moments(posterior: Posterior) -> tuple[Array, Array]:
    return posterior.mean, np.sqrt(np.diag(posterior.covariance))


def assert_agree(found: tuple[Posterior, Sample], mean: Array, sd: Array, more: float = 1.0) -> None:
    """Means and standard deviations within Z standard errors of weighted draws, `more` times as large."""
    posterior, sample = found
    assert not sample.doubts
    found_mean, found_sd = moments(posterior)
    weights, away = posterior.weights[:, None], posterior.location - found_mean
    error = np.sqrt((np.square(weights * away)).sum(axis=0))
    of_variance = np.sqrt(np.square(weights * (np.square(away) - found_sd**2)).sum(axis=0))
    assert (np.abs(found_mean - mean) <= more * Z * error).all()
    assert (np.abs(found_sd**2 - sd**2) <= more * Z * of_variance).all()


def evidence_error(sample: Sample) -> float:
    """Z standard errors of the log of the weights' sum."""
    return Z * float(np.sqrt(1.0 / sample.effective_size - 1.0 / len(sample.points)) + 1e-4)


def events(likelihood: Any, n: int = 40, **changes: Any) -> Problem:
    rng = np.random.default_rng(0)
    X, hours = rng.normal(size=(n, 2)), rng.uniform(0.2, 9.0, n)
    rate = np.exp(1.0 + X @ [0.5, -0.3]) * rng.gamma(2.0, 0.5, n)
    return build(X, rng.poisson(rate * hours) / hours, likelihood, hours, **changes)


CASES = {
    "binomial": lambda: shares(frequency=np.arange(40.0) % 3),
    "beta_binomial": lambda: shares(dispersion=0.1, intercept_prior=None),
    "student_t scaled": lambda: heavy(frequency=np.arange(40.0) % 3),
    "student_t additive": lambda: heavy(noise="additive", standardize=False),
    "student_t known": lambda: heavy(noise="known", intercept_prior=Flat(), coef_prior=Flat()),
    "student_t 4": lambda: heavy(nu=4.0),
    "beta": lambda: build(
        np.random.default_rng(0).normal(size=(40, 2)),
        np.random.default_rng(1).beta(3.0, 5.0, 40),
        BetaLikelihood(),
        frequency=np.arange(40.0) % 3,
    ),
    "poisson": lambda: events(PoissonLikelihood(), frequency=np.arange(40.0) % 3),
    "negative_binomial": lambda: events(NegativeBinomialLikelihood()),
}


@pytest.mark.parametrize("case", CASES)
def test_gradient_and_hessian_are_those_of_the_density(case: str) -> None:
    density = RegressionDensity(CASES[case]())
    point = density.start + 0.1 * np.random.default_rng(1).normal(size=density.size)
    width = np.ones(density.n_coefficients)
    found = density.derivatives(point, width)
    assert_allclose(found.value, density(point[None])[0], rtol=1e-12)
    h = 1e-5
    steps = h * np.eye(density.size)
    slope = (density(point + steps) - density(point - steps)) / (2.0 * h)
    assert_allclose(found.gradient, slope, rtol=1e-6, atol=1e-6)
    for step, row in zip(steps, found.hessian, strict=True):
        up, down = (density.derivatives(point + sign * step, width).gradient for sign in (1.0, -1.0))
        assert_allclose(row, (up - down) / (2.0 * h), rtol=1e-5, atol=1e-5)
    assert (np.linalg.eigvalsh(found.fallback) < 0.0).all()


@pytest.mark.parametrize("errors", [0.0, 0.5])
@pytest.mark.parametrize("changes", [{}, {"intercept_prior": None}, {"coef_prior": Laplace()}], ids=str)
def test_beside_limits_rows_that_were_measured_are_few(errors: float, changes: dict[str, Any]) -> None:
    """Their triangle has the density of all of them, and its derivatives."""
    plain = heavy(60, errors=errors or 0.5, likelihood=NormalLikelihood(), **changes)
    rows = replace(plain.rows, frequency=np.arange(60.0) % 3.0)
    error = plain.standard_error if errors else None
    of = {"noise": plain.noise, "standardize": True, "noise_prior": plain.noise_prior}
    priors = {"coef_prior": plain.coef_prior, "intercept_prior": plain.intercept_prior}
    low = np.median(rows.y)
    limits = resolve_limits(rows.y, np.where(rows.y < low, -1, 0), None, None)
    assert limits is not None
    problem = Problem.build(rows, error, **of, **priors).censored(limits)
    few, all_of_them = RegressionDensity(problem), RegressionDensity(problem)
    assert len(few.table.data.y) == 4 + limits.censored.sum()
    all_of_them.__dict__["table"] = Table(problem.observations(), rows.frequency, problem.design_blocks)
    points = few.start + 0.3 * np.random.default_rng(0).normal(size=(5, few.size))
    assert_allclose(few(points), all_of_them(points), rtol=1e-12)
    found = [
        density.derivatives(points[0], np.full(few.n_coefficients, 0.1)) for density in (few, all_of_them)
    ]
    for own, other in zip(*found, strict=True):
        assert_allclose(own, other, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("prior", [Laplace(b=0.3), StudentT(nu=2.0, sigma=0.5)])
def test_priors_that_are_not_gaussian_are_averaged_over_a_width(prior: Any) -> None:
    density = RegressionDensity(shares(coef_prior=prior))
    width = np.full(3, 0.2)
    values = np.array([0.3, 0.05, -0.4])
    value, gradient, curvature = density.coefficient_prior_derivatives(values, width)
    x = np.linspace(-1.8, 1.8, 200_001)
    weights = stats.norm.pdf(x, scale=0.2)
    weights /= weights.sum()

    def averaged(B: Array) -> float:
        logs = [
            stats.norm.logpdf(B[0] + x),
            *(prior.coefficient_log_density(b + x[:, None], prior.check("", 1))[:, 0] for b in B[1:]),
        ]
        return float(sum(weights @ log for log in logs))

    # The Gaussian prior of the intercept is not averaged.
    expected = averaged(values) - float(weights @ stats.norm.logpdf(0.3 + x)) + stats.norm.logpdf(0.3)
    assert value == pytest.approx(expected, abs=0.02)
    h = 1e-3
    for j, step in enumerate(h * np.eye(3)):
        middle, up, down = averaged(values), averaged(values + step), averaged(values - step)
        assert gradient[j] == pytest.approx((up - down) / (2.0 * h), rel=0.05, abs=0.05)
        assert curvature[j] == pytest.approx((up + down - 2.0 * middle) / h**2, rel=0.25, abs=0.3)


class Grid:
    """A posterior of two dimensions, by brute force from scipy's distributions."""

    def __init__(self, log_density: Array, *axes: Array):
        self.values = np.meshgrid(*axes, indexing="ij")
        cell = np.prod([axis[1] - axis[0] for axis in axes])
        self.log_total = float(logsumexp(log_density) + np.log(cell))
        self.weights = np.exp(log_density - logsumexp(log_density))

    def mean_and_sd(self, values: Array) -> tuple[float, float]:
        mean = float((self.weights * values).sum())
        return mean, float(np.sqrt((self.weights * (values - mean) ** 2).sum()))


def line_grid(problem: Problem, sd: float = 8.0, n: int = 301) -> tuple[Array, Array]:
    posterior, _ = solve_regression(problem, seed=9)
    mean, deviation = moments(posterior)
    return np.linspace(mean - sd * deviation, mean + sd * deviation, n).T


@pytest.mark.parametrize("prior", [Normal(sigma=0.7), Laplace(b=0.2), StudentT(nu=3.0, sigma=0.3)])
@pytest.mark.parametrize("trials", [1, 9])
def test_binomial_against_a_grid(prior: Any, trials: int) -> None:
    problem = shares(n=15, p=1, trials=trials, coef_prior=prior)
    b, m = line_grid(problem)
    x = (problem.rows.X[:, 0] - problem.rows.X.mean()) / problem.rows.X.std()
    k = np.rint(problem.rows.y * trials)
    logs = stats.norm.logpdf(b)[:, None] + prior.coefficient_log_density(m[:, None], prior.check("", 1))[:, 0]
    for xi, ki in zip(x, k, strict=True):
        logs = logs + stats.binom.logpmf(ki, trials, 1.0 / (1.0 + np.exp(-(b[:, None] + m * xi))))
    grid = Grid(logs, b, m)
    posterior, sample = solve_regression(problem)
    mean, sd = np.array([grid.mean_and_sd(values) for values in grid.values]).T
    assert_agree((posterior, sample), mean, sd)
    # A density per unit of share.
    expected = grid.log_total + 15.0 * np.log(trials)
    assert posterior.log_evidence == pytest.approx(expected, abs=evidence_error(sample))
    assert (posterior.noise_scale == 1.0).all()
    assert posterior.auxiliary == {}


@pytest.mark.parametrize("dispersion", [0.002, 0.3])
@pytest.mark.parametrize("prior", [None, Beta(0.5, 4.0)])
def test_beta_binomial_against_a_grid(dispersion: float, prior: Any) -> None:
    problem = shares(
        n=20,
        p=1,
        dispersion=dispersion,
        intercept_prior=None,
        likelihood=BetaBinomialLikelihood(prior),
        seed=3,
    )
    posterior, sample = solve_regression(problem)
    m = line_grid(problem)[1]
    x = problem.rows.X[:, 0] / np.sqrt(np.square(problem.rows.X).mean())
    k = np.rint(problem.rows.y * 12)
    # In the square root, in which there is no pole.
    root = (np.arange(400.0) + 0.5) / 400.0
    rho = root**2
    shape = (1.0, 9.0) if prior is None else (0.5, 4.0)
    logs = stats.norm.logpdf(m)[:, None] + stats.beta.logpdf(rho, *shape) + np.log(2.0 * root)
    total = (1.0 - rho) / rho
    for xi, ki in zip(x, k, strict=True):
        share = 1.0 / (1.0 + np.exp(-m[:, None] * xi))
        logs = logs + stats.betabinom.logpmf(ki, 12, share * total, (1.0 - share) * total)
    grid = Grid(logs, m, root)
    mean, sd = grid.mean_and_sd(grid.values[0])
    assert_agree((posterior, sample), np.array([0.0, mean]), np.array([0.0, sd]))
    mean, sd = grid.mean_and_sd(grid.values[1] ** 2)
    found = float(posterior.weights @ posterior.auxiliary["dispersion"])
    assert found == pytest.approx(mean, abs=Z * sd / np.sqrt(sample.effective_size))
    expected = grid.log_total + 20.0 * np.log(12.0)
    assert posterior.log_evidence == pytest.approx(expected, abs=evidence_error(sample))


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
@pytest.mark.parametrize("errors", [0.2, 5.0])
def test_student_t_against_a_grid(noise: Any, errors: float) -> None:
    # Errors that are too large leave nothing for the scatter.
    problem = heavy(n=12, p=1, nu=3.0, intercept_prior=None, noise=noise, standardize=False, errors=errors)
    problem = replace(
        problem, standard_error=np.asarray(problem.standard_error) * (1.0 if errors < 1.0 else 0.5)
    )
    posterior, sample = solve_regression(problem)
    m = line_grid(problem)[1]
    s = (np.arange(600.0) + 0.5) / 600.0 * max(1.2 * float(posterior.noise_scale.max()), 5.0)
    e, X, y = np.asarray(problem.standard_error), problem.rows.X[:, 0], problem.rows.y
    logs = stats.norm.logpdf(m)[:, None] + stats.halfnorm.logpdf(s)
    for xi, yi, ei in zip(X, y, e, strict=True):
        scale = {"scaled": s * ei, "additive": np.hypot(s, ei), "known": ei + 0.0 * s}[noise]
        logs = logs + stats.t.logpdf(yi, 3.0, m[:, None] * xi, scale)
    grid = Grid(logs, m, s)
    mean, sd = grid.mean_and_sd(grid.values[0])
    assert_agree((posterior, sample), np.array([0.0, mean]), np.array([0.0, sd]))
    assert posterior.log_evidence == pytest.approx(grid.log_total, abs=evidence_error(sample))
    if noise != "known":
        mean, sd = grid.mean_and_sd(grid.values[1])
        found = float(posterior.weights @ posterior.noise_scale)
        assert found == pytest.approx(mean, abs=Z * sd / np.sqrt(sample.effective_size))


@pytest.mark.parametrize("lower", [0.0, 2.0])
def test_degrees_of_freedom_against_a_grid(lower: float) -> None:
    likelihood = StudentTLikelihood(lower=lower)
    problem = heavy(n=25, p=1, intercept_prior=None, noise="known", standardize=False, likelihood=likelihood)
    posterior, sample = solve_regression(problem)
    m = line_grid(problem)[1]
    log_above = np.linspace(-5.0, 6.0, 500)
    nu = lower + np.exp(log_above)
    logs = stats.norm.logpdf(m)[:, None] + stats.gamma.logpdf(nu - lower, 2.0, scale=10.0) + log_above
    rows = zip(problem.rows.X[:, 0], problem.rows.y, np.asarray(problem.standard_error), strict=True)
    for xi, yi, ei in rows:
        logs = logs + stats.t.logpdf(yi, nu, m[:, None] * xi, ei)
    grid = Grid(logs, m, log_above)
    mean, sd = grid.mean_and_sd(lower + np.exp(grid.values[1]))
    found = float(posterior.weights @ posterior.auxiliary["nu"])
    assert found == pytest.approx(mean, abs=Z * sd / np.sqrt(sample.effective_size))
    assert posterior.log_evidence == pytest.approx(grid.log_total, abs=evidence_error(sample))


@pytest.mark.parametrize(
    ("noise", "errors"), [("scaled", True), ("additive", True), ("known", True), ("scaled", False)]
)
@pytest.mark.parametrize("likelihood", [NormalLikelihood(), StudentTLikelihood(nu=1e6)])
def test_normal_noise_is_the_exact_engines(noise: Any, likelihood: Likelihood, errors: bool) -> None:
    problem = heavy(n=30, p=3, noise=noise, likelihood=likelihood, frequency=1.0 + np.arange(30.0) % 2)
    if not errors:
        problem = build(problem.rows.X, problem.rows.y, likelihood, noise=noise)
    truth = exact.solve(replace(problem, likelihood=NormalLikelihood()), SamplerSettings())
    posterior, sample = solve_regression(problem)
    assert_agree((posterior, sample), *moments(truth))
    assert posterior.log_evidence == pytest.approx(truth.log_evidence, abs=evidence_error(sample) + 1e-3)
    mean = truth.weights @ truth.noise_scale
    sd = np.sqrt(truth.weights @ (truth.noise_scale - mean) ** 2)
    found = posterior.weights @ posterior.noise_scale
    assert abs(found - mean) <= Z * sd / np.sqrt(sample.effective_size) + 1e-12


def test_flat_priors_on_star98_find_the_generalised_linear_model() -> None:
    sm = pytest.importorskip("statsmodels.api")
    X, share, pupils = load_star98()
    won = np.rint(share * pupils)
    peer = sm.GLM(
        np.column_stack([won, pupils - won]), sm.add_constant(X), family=sm.families.Binomial()
    ).fit(tol=1e-12)
    flat = {"coef_prior": Flat(), "intercept_prior": Flat()}
    problem = build(X.to_numpy(), share, BinomialLikelihood(), pupils, **flat)
    density = RegressionDensity(problem)
    _, laplace = find_proposal(density)

    def on_the_data(B: Array) -> Array:
        coef = B[1:] / problem.scaling.x_scale
        return np.append(B[0] - problem.scaling.x_mean @ coef, coef)

    mode = on_the_data(density.coefficients(laplace.center[None])[0])
    assert (np.abs(mode - peer.params) < 1e-5 * peer.bse).all()
    posterior, sample = solve_regression(problem)
    posterior = problem.scaling.to_data(posterior, problem.noise_unit)
    mean, sd = moments(posterior)
    assert sample.effective_size > 3000.0
    assert posterior.log_evidence is None
    # Mean and mode differ by the skewness, 1.6% of a standard deviation here, and by Monte Carlo error.
    away = np.abs(mean[1:] - peer.params.to_numpy()[1:]) / peer.bse.to_numpy()[1:]
    assert (away < 0.02 + Z / np.sqrt(sample.effective_size)).all()
    assert_allclose(sd[1:], peer.bse[1:], rtol=0.003 + Z / np.sqrt(2.0 * sample.effective_size))


def test_star98_is_overdispersed() -> None:
    X, share, pupils = load_star98()
    binomial, beta = (
        solve_regression(build(X.to_numpy(), share, likelihood, pupils))
        for likelihood in (BinomialLikelihood(), BetaBinomialLikelihood())
    )
    for _, sample in (binomial, beta):
        assert sample.effective_size > 2500.0
        assert sample.k_hat < 0.5
    assert 0.015 < beta[0].weights @ beta[0].auxiliary["dispersion"] < 0.035
    assert beta[0].log_evidence > binomial[0].log_evidence + 1000.0
    ratio = moments(beta[0])[1][1:] / moments(binomial[0])[1][1:]
    assert ratio.min() > 1.2
    assert ratio.mean() > 2.0


def test_a_dispersion_known_to_be_tiny_leaves_the_binomial() -> None:
    binomial = shares(n=60, p=3)
    truth, reference = solve_regression(binomial, n_nodes=16384)
    beta = replace(binomial, likelihood=BetaBinomialLikelihood(Beta(1.0, 1e7)))
    found = solve_regression(beta)
    mean, sd = moments(truth)
    more = np.sqrt(1.0 + found[1].effective_size / reference.effective_size)
    assert_agree(found, mean, sd, more)
    assert found[0].log_evidence == pytest.approx(
        truth.log_evidence, abs=evidence_error(found[1]) + evidence_error(reference) + 1e-4
    )


@pytest.mark.parametrize("case", ["shares", "heavy"])
def test_frequencies_are_repeated_rows(case: str) -> None:
    problem = shares(n=20) if case == "shares" else heavy(n=20)
    frequency = np.arange(20) % 3
    weighted = replace(problem, rows=replace(problem.rows, frequency=frequency.astype(float)))
    index = np.repeat(np.arange(20), frequency)
    trials = None if problem.trials is None else problem.trials[index]
    error = None if problem.standard_error is None else np.asarray(problem.standard_error)[index]
    given = {"noise": problem.noise, "standardize": True}
    roles = {"coef_prior": Normal(), "intercept_prior": Normal(), "noise_prior": HalfNormal()}
    likelihood = problem.likelihood
    repeated = Problem.build(
        problem.rows.subset(index), error, likelihood=likelihood, trials=trials, **given, **roles
    )
    weighted = Problem.build(
        weighted.rows, problem.standard_error, likelihood=likelihood, trials=problem.trials, **given, **roles
    )
    densities = RegressionDensity(weighted), RegressionDensity(repeated)
    B = np.random.default_rng(0).normal(size=(5, 3))
    values = []
    for density in densities:
        gamma = np.linalg.solve(density.basis, (B - density.offset).T).T
        values.append(density(np.column_stack([gamma, np.full((5, density.size - 3), 0.3)])))
    assert_allclose(*values, rtol=1e-11)


def test_the_units_of_the_data_do_not_matter() -> None:
    problem = heavy(n=30, nu=4.0)
    rows, error = problem.rows, np.asarray(problem.standard_error)
    scaled = build(rows.X * [1e3, 1e-5] + 7.0, rows.y * 50.0 - 3.0, problem.likelihood, None, error * 50.0)
    first, second = (p.scaling.to_data(solve_regression(p)[0], p.noise_unit) for p in (problem, scaled))
    assert_allclose(second.mean[1:], first.mean[1:] * 50.0 / [1e3, 1e-5], rtol=1e-6)
    assert_allclose(second.weights @ second.noise_scale, first.weights @ first.noise_scale, rtol=1e-6)
    assert second.log_evidence == pytest.approx(first.log_evidence - 30.0 * np.log(50.0), rel=1e-9)
    without = build(rows.X, rows.y, StudentTLikelihood())
    on_the_data = without.scaling.to_data(solve_regression(without)[0], without.noise_unit)
    assert_allclose(on_the_data.noise_scale, solve_regression(without)[0].noise_scale * rows.y.std())
    assert set(on_the_data.auxiliary) == {"nu"}
    assert on_the_data.auxiliary["nu"].shape == on_the_data.weights.shape


def test_only_features_are_standardised_under_a_link() -> None:
    problem = shares()
    assert (problem.scaling.y_mean, problem.scaling.y_scale, problem.noise_unit) == (0.0, 1.0, 1.0)
    assert_allclose(problem.scaling.x_mean, problem.rows.X.mean(axis=0))
    assert_allclose(problem.scaling.x_scale, problem.rows.X.std(axis=0))
    posterior, _ = solve_regression(problem)
    data = problem.scaling.to_data(posterior, problem.noise_unit)
    x = (problem.rows.X - problem.scaling.x_mean) / problem.scaling.x_scale
    line = posterior.mean[0] + x @ posterior.mean[1:]
    assert_allclose(data.mean[0] + (problem.rows.X - data.center) @ data.mean[1:], line)


def test_the_seed_settles_everything() -> None:
    problem = shares(dispersion=0.1)
    first, again, other = (importance.solve(problem, SamplerSettings(seed=seed)) for seed in (1, 1, 2))
    assert (first.location == again.location).all()
    assert (first.weights == again.weights).all()
    assert (first.auxiliary["dispersion"] == again.auxiliary["dispersion"]).all()
    assert not (first.location == other.location).all()


@pytest.mark.parametrize("size", [1e3, 1e7])
def test_a_wild_row_moves_the_normal_fit_alone(size: float) -> None:
    problem = heavy(n=60, errors=0.3, nu=4.0)
    rows, error = problem.rows, problem.standard_error
    wild = rows.y.copy()
    wild[0] += size
    wide = {"standardize": False, "coef_prior": Normal(sigma=1e4), "intercept_prior": Normal(sigma=1e4)}
    fits = [
        solve_regression(build(rows.X, y, problem.likelihood, None, error, **wide)) for y in (rows.y, wild)
    ]
    (mean, sd), (moved, _) = (moments(posterior) for posterior, _ in fits)
    assert not fits[1][1].doubts
    assert (np.abs(moved - mean) < sd).all()
    normal = exact.solve(build(rows.X, wild, NormalLikelihood(), None, error, **wide), SamplerSettings())
    assert (np.abs(normal.mean - mean) > 10.0 * sd).any()


@pytest.mark.parametrize("noise", ["scaled", "additive"])
@pytest.mark.parametrize("likelihood", [NormalLikelihood(), StudentTLikelihood()])
def test_coordinates_that_follow_the_noise_keep_the_volume(noise: Any, likelihood: Likelihood) -> None:
    problem = heavy(n=10, p=4, noise=noise, likelihood=likelihood, coef_prior=Normal(0.3, 0.5))
    density = RegressionDensity(problem)
    coordinates, proposal = find_proposal(density)
    assert coordinates is not None
    rng = np.random.default_rng(0)
    for point in proposal.center + rng.normal(size=(4, density.size)) @ proposal.root.T:
        h = 1e-6
        steps = h * np.eye(density.size)
        jacobian = (coordinates.points(point + steps) - coordinates.points(point - steps)) / (2.0 * h)
        volume = np.linalg.slogdet(jacobian)[1]
        assert coordinates(point[None])[0] == pytest.approx(
            density(coordinates.points(point[None]))[0] + volume, abs=1e-6
        )


def test_coefficients_and_normal_noise_are_independent_in_coordinates_that_follow_it() -> None:
    density = RegressionDensity(heavy(n=6, p=8, likelihood=NormalLikelihood()))
    coordinates, proposal = find_proposal(density)
    assert coordinates is not None
    u = np.random.default_rng(0).normal(size=(5, 9))
    for log_scale in proposal.center[-1] + np.array([-3.0, 0.0, 2.0]):
        found = coordinates(np.column_stack([u, np.full(5, log_scale)]))
        at_center = coordinates(np.append(np.zeros(9), log_scale)[None])
        assert_allclose(found - at_center, -0.5 * np.square(u).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(("n", "p"), [(6, 8), (12, 10), (40, 30)])
@pytest.mark.parametrize("noise", ["scaled", "additive"])
def test_few_rows_for_the_columns_are_no_funnel(n: int, p: int, noise: Any) -> None:
    problem = heavy(n=n, p=p, noise=noise, likelihood=NormalLikelihood())
    truth = exact.solve(problem, SamplerSettings())
    found = solve_regression(problem)
    assert found[1].effective_size > 1000.0
    assert_agree(found, *moments(truth))
    assert found[0].log_evidence == pytest.approx(truth.log_evidence, abs=evidence_error(found[1]) + 1e-3)
    assert not solve_regression(replace(problem, likelihood=StudentTLikelihood()))[1].doubts


@pytest.mark.parametrize("p", [10, 30])
@pytest.mark.parametrize("case", ["binomial", "beta_binomial", "student_t"])
def test_thirty_features_pass_the_gates(p: int, case: str) -> None:
    problem = (
        heavy(n=300, p=p)
        if case == "student_t"
        else shares(n=300, p=p, dispersion=0.1 * (case != "binomial"))
    )
    posterior = importance.solve(problem, SamplerSettings())  # or NotTrusted
    assert posterior.location.shape[1] == p + 1


def test_nodes_that_are_not_to_be_trusted_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayes_sklearn.inference.numerics.importance_sampling._EFFECTIVE", 1e5)
    with pytest.raises(NotTrusted, match="not to be trusted here: the effective sample size") as doubt:
        importance.solve(heavy(), SamplerSettings())
    assert set(doubt.value.posterior.auxiliary) == {"nu"}


def test_a_target_without_noise_is_warned_of() -> None:
    X = np.linspace(-1.0, 1.0, 20)[:, None]
    with pytest.warns(ConvergenceWarning, match="fit the target without error"):
        solve_regression(build(X, 2.0 * X[:, 0] + 1.0, StudentTLikelihood(), coef_prior=Flat()))


@pytest.mark.parametrize("case", ["binomial", "student_t"])
def test_memory_is_bounded(case: str) -> None:
    n, p = 100_000, 12
    problem = shares(n=n, p=p) if case == "binomial" else heavy(n=n, p=p)
    tracemalloc.start()
    solve_regression(problem, n_nodes=512)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The nodes' rows alone would be 410 MB in one array.
    assert peak < 64e6


def test_engines_say_what_they_do_not_take() -> None:
    problem = shares()
    assert exact.why_not(problem) == "it takes the normal likelihood, not BinomialLikelihood()"
    with pytest.raises(ValueError, match="it takes the normal likelihood"):
        exact.solve(problem, SamplerSettings())
    assert importance.why_not(problem) is None
    assert importance.why_not(replace(problem, coef_prior=StudentT())) is None
    assert "Horseshoe" in str(importance.why_not(replace(problem, coef_prior=Horseshoe())))
    shared = FeatureErrors(np.array([0]), np.full((1, 1), 0.01), np.full(1, 0.001))
    assert "Xy_cov" in str(importance.why_not(replace(problem, feature_errors=shared)))
    assert importance.why_not(replace(problem, feature_errors=replace(shared, with_target=None))) is None
    assert importance.why_not(replace(problem, likelihood=NormalLikelihood())) is None


FLAT = {"coef_prior": Flat(), "intercept_prior": Flat()}
LINE = np.linspace(-1.0, 1.0, 20)[:, None]
SPLIT = (LINE[:, 0] > 0.0).astype(np.float64)


@pytest.mark.parametrize("likelihood", [BinomialLikelihood(), BetaBinomialLikelihood()])
@pytest.mark.parametrize("trials", [1, 5])
def test_separation_is_refused_under_flat_priors_and_fitted_under_normal_ones(
    likelihood: Likelihood, trials: int
) -> None:
    with pytest.raises(ValueError, match=r"separate successes from failures.*coef_prior=Normal"):
        importance.solve(build(LINE, SPLIT, likelihood, trials, **FLAT), SamplerSettings())
    posterior = importance.solve(build(LINE, SPLIT, likelihood, trials), SamplerSettings())
    assert posterior.mean[1] > 1.0


def test_separation_in_part_is_refused_as_well() -> None:
    X = np.array([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])[:, None]
    quasi = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="separate successes"):
        check_proper(build(X, quasi, BinomialLikelihood(), 1, **FLAT))
    overlap = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    check_proper(build(X, overlap, BinomialLikelihood(), 1, **FLAT))
    # Rows with both outcomes bound what the others leave free.
    mixed = SPLIT.copy()
    mixed[3] = 0.5
    check_proper(build(LINE, mixed, BinomialLikelihood(), 2, **FLAT))
    mixed[3], mixed[10] = 0.0, 0.5
    with pytest.raises(ValueError, match="separate successes"):
        check_proper(build(LINE, mixed, BinomialLikelihood(), 2, **FLAT))
    # A row that does not count bounds nothing.
    frequency = np.ones(20)
    overlapping = SPLIT.copy()
    overlapping[2] = 1.0
    check_proper(build(LINE, overlapping, BinomialLikelihood(), 1, **FLAT))
    frequency[2] = 0.0
    with pytest.raises(ValueError, match="separate successes"):
        check_proper(build(LINE, overlapping, BinomialLikelihood(), 1, frequency=frequency, **FLAT))


def test_other_improper_shares_are_refused() -> None:
    for value, word in ((0.0, "failure"), (1.0, "success")):
        with pytest.raises(ValueError, match=rf"every trial is a {word}.*intercept_prior=Normal"):
            check_proper(build(LINE, np.full(20, value), BinomialLikelihood(), 3, intercept_prior=Flat()))
    twice = np.column_stack([LINE, 2.0 * LINE])
    with pytest.raises(ValueError, match="collinear"):
        check_proper(build(twice, np.tile([0.0, 1.0], 10), BinomialLikelihood(), 1, **FLAT))
    with pytest.raises(ValueError, match="do not determine"):
        check_proper(build(np.eye(3), np.arange(3.0), StudentTLikelihood(), **FLAT))


def separated_in_the_plane(rows: NDArray[np.int64]) -> bool:
    """Whether whole-numbered rows all lie on one side of a line through zero, not all of them on it: exactly."""
    turned = np.column_stack([-rows[:, 1], rows[:, 0]])
    edges = np.concatenate([turned, -turned])
    edges = edges[np.any(edges, axis=1)]
    candidates = np.concatenate([edges, (edges[:, None] + edges).reshape(-1, 2)])
    sides = rows @ candidates.T
    return bool(((sides >= 0).all(axis=0) & (sides > 0).any(axis=0)).any())


@pytest.mark.parametrize("rows_at_once", [4, 2000])
def test_separation_is_found_exactly(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "_ROWS", rows_at_once)
    rng = np.random.default_rng(5)
    outcomes = []
    for _ in range(150):
        x = rng.integers(-2, 3, 8)
        if len(np.unique(x)) == 1:
            continue
        won = rng.uniform(size=8) < 1.0 / (1.0 + np.exp(-2.0 * x))
        design = np.column_stack([np.ones(8, dtype=np.int64), x])
        expected = separated_in_the_plane(design * np.where(won, 1, -1)[:, None])
        found = separation.is_separated(
            lambda d=design, w=won: [(d.astype(float), w.astype(float), 1.0 - w)], 2
        )
        assert found == expected
        outcomes.append(expected)
    assert 0.1 < np.mean(outcomes) < 0.9


def test_separation_of_many_rows_takes_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(20_000, 4))
    line = X @ np.array([1.0, -2.0, 0.5, 1.0]) + 0.3
    largest = []
    solve = separation.linprog

    def watched(c: Array, A_ub: Array, **options: Any) -> Any:
        largest.append(len(A_ub))
        return solve(c, A_ub=A_ub, **options)

    monkeypatch.setattr(separation, "linprog", watched)
    outcome = (line > 0.0).astype(float)
    with pytest.raises(ValueError, match="separate successes"):
        check_proper(build(X, outcome, BinomialLikelihood(), 1, **FLAT))
    far = int(np.argmax(np.abs(line)))
    outcome[far] = 1.0 - outcome[far]
    check_proper(build(X, outcome, BinomialLikelihood(), 1, **FLAT))
    assert max(largest) < 15_000


def test_a_flat_direction_alone_counts() -> None:
    # Separated by both columns together, but only one of them is flat: the other one's prior bounds it.
    rng = np.random.default_rng(7)
    X = rng.normal(size=(50, 1))
    y = (X[:, 0] + 0.01 > 0.0).astype(float)
    with pytest.raises(ValueError, match="separate"):
        check_proper(build(X, y, BinomialLikelihood(), 1, standardize=False, **FLAT))
    # Without the intercept the split is not at zero.
    y = (X[:, 0] > 0.5).astype(float)
    check_proper(build(X, y, BinomialLikelihood(), 1, standardize=False, coef_prior=Flat()))
    with pytest.raises(ValueError, match="separate"):
        check_proper(build(X, y, BinomialLikelihood(), 1, standardize=False, **FLAT))


def test_every_case_has_a_density_everywhere() -> None:
    for (name, make), size in product(CASES.items(), (1.0, 1e3, 1e200)):
        density = RegressionDensity(make())
        with np.errstate(all="raise"):
            values = density(size * np.array([np.ones(density.size), -np.ones(density.size)]))
        assert not np.isnan(values).any(), name
        assert (values < np.inf).all(), name
