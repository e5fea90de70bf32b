"""Importance sampling where the scale of the coefficients' prior is learned, against integration by grids.

Sums over nodes are held to their truth within four of their standard errors: with independent draws 6 in 100,000
would be further off, and the seeds are fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, gammaln, logsumexp
from test_regression_nodes import Z, assert_agree, build, evidence_error

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.inference.given_scale import powered_roots
from bayes_sklearn.inference.importance.noise_coordinates import Parted, anchored
from bayes_sklearn.inference.importance.regression_density import RegressionDensity
from bayes_sklearn.inference.importance.regression_nodes import _densities, find_proposal, solve_regression
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BinomialLikelihood,
    Likelihood,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.priors import (
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Laplace,
    Normal,
    PoweredCorrelation,
    ScatterPrior,
    StudentT,
)

from star98 import load_star98

Array = NDArray[np.float64]


def outcomes(
    X: Array, slopes: Any, trials: int, prior: Any, intercept: float = 0.0, seed: int = 0, **changes: Any
) -> Problem:
    share = expit(intercept + X @ np.asarray(slopes, dtype=np.float64))
    y = np.random.default_rng(seed).binomial(trials, share) / trials
    likelihood = changes.pop("likelihood", BinomialLikelihood())
    given = {"intercept_prior": Normal(0.0, 5.0), **changes}
    return build(X, y, likelihood, trials, coef_prior=prior, **given)


def normal_table(n: int, p: int, correlation: float = 0.0, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    common = np.sqrt(correlation) * rng.normal(size=(n, 1))
    return common + np.sqrt(1.0 - correlation) * rng.normal(size=(n, p))


def heavy(
    n: int, p: int, prior: Any, noise: Any, *, scatter: float = 0.0, spread: float = 1.0, **changes: Any
) -> Problem:
    rng = np.random.default_rng(changes.pop("seed", 0))
    X, error = rng.normal(size=(n, p)), 0.5 * np.exp(spread * rng.normal(size=n))
    noises = rng.standard_t(4, size=(2, n))
    y = 2.0 + 0.5 * X.sum(axis=1) + error * noises[0] + scatter * noises[1]
    return build(X, y, StudentTLikelihood(4.0), None, error, noise=NOISES[noise], coef_prior=prior, **changes)


class Marginal:
    """The density of z where z is Normal(0, tau^2) or Laplace(0, tau), p numbers, with tau integrated out."""

    def __init__(self, prior: Any, p: int):
        learned = prior.scale_prior
        u = np.linspace(-14.0, 9.0, 4001)
        size = np.geomspace(1e-8, 1e4, 3000)
        log_tau = learned.log_density(np.exp(u)) + u + np.log(u[1] - u[0])
        away = size[:, None] / np.exp(u)
        self.laplace = isinstance(prior, Laplace)
        if self.laplace:
            logs = log_tau - p * (u + np.log(2.0)) - away
        else:
            logs = log_tau - p * (u + 0.5 * np.log(2.0 * np.pi)) - 0.5 * np.square(away)
        self._log_size, self._log_density = np.log(size), logsumexp(logs, axis=1)
        self._log_tau = logsumexp(logs + u, axis=1) - self._log_density

    def __call__(self, z: Array) -> tuple[Array, Array]:
        """Return the log density and the mean of tau given z."""
        size = np.abs(z).sum(axis=1) if self.laplace else np.linalg.norm(z, axis=1)
        at = np.log(size + 1e-300)
        tau = np.exp(np.interp(at, self._log_size, self._log_tau))
        return np.interp(at, self._log_size, self._log_density), tau


BY_GRID = {
    "binomial, normal": lambda: outcomes(normal_table(40, 1), [1.0], 12, Normal(sigma=HalfCauchy())),
    "binomial, wall at zero": lambda: outcomes(
        normal_table(40, 1), [1.0], 12, Normal(sigma=InverseGamma(3.0, 1.0))
    ),
    "binomial, Laplace": lambda: outcomes(normal_table(30, 2), [1.0, -1.0], 8, Laplace(b=HalfNormal())),
    "binomial, powered": lambda: outcomes(
        normal_table(40, 2, 0.9, 1), [2.0, -2.0], 12, PoweredCorrelation(sigma=HalfNormal(2.5)), 0.3
    ),
}


@pytest.mark.parametrize("case", BY_GRID)
def test_shares_against_a_grid(case: str) -> None:
    problem = BY_GRID[case]()
    found = solve_regression(problem)
    posterior, sample = found
    p, prior = problem.rows.n_features, problem.coef_prior
    roots = [np.eye(p)]
    if isinstance(prior, PoweredCorrelation):
        X = np.concatenate([design[:, 1:] for _, design in problem.design_blocks()])
        roots = powered_roots(X, (0.0, 0.5, 1.0))
    sds = np.sqrt(np.diag(posterior.covariance))
    axes = [np.linspace(m - 7.0 * sd, m + 7.0 * sd, 81) for m, sd in zip(posterior.mean, sds, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, p + 1)
    design = np.concatenate([block for _, block in problem.design_blocks()])
    rows = np.concatenate(
        [
            problem.likelihood.log_density(part @ design.T, {}, problem.observations()).sum(axis=1)
            for part in np.array_split(grid, 40)
        ]
    )
    rows += stats.norm.logpdf(grid[:, 0], 0.0, 5.0)
    marginal, logs, taus = Marginal(prior, p), [], []
    for root in roots:
        log_prior, tau = marginal(np.linalg.solve(root, grid[:, 1:].T).T)
        logs.append(rows + log_prior - np.linalg.slogdet(root)[1] - np.log(len(roots)))
        taus.append(tau)
    log_total = logsumexp(logs)
    each = np.exp(np.array(logs) - log_total)
    weights = each.sum(axis=0)
    mean = weights @ grid
    assert_agree(found, mean, np.sqrt(weights @ np.square(grid - mean)))
    cell = sum(np.log(axis[1] - axis[0]) for axis in axes)
    error = evidence_error(sample)
    assert posterior.log_evidence == pytest.approx(log_total + cell + problem.log_jacobian, abs=2.0 * error)
    scale = posterior.prior_scale
    assert scale is not None
    own = posterior.weights @ scale
    error_of_scale = np.sqrt(np.square(posterior.weights) @ np.square(scale - own))
    assert own == pytest.approx((each * np.array(taus)).sum(), abs=Z * error_of_scale)
    if len(roots) > 1:
        assert_allclose(posterior.geometry, each.sum(axis=1), atol=error)


@pytest.mark.parametrize(
    ("noise", "scatter", "spread"),
    [("scaled", 0.0, 1.0), ("auto", 0.0, 1.0), ("auto", 0.4, 0.5), ("auto", 0.3, 0.0)],
)
def test_students_noise_against_a_grid(noise: Any, scatter: float, spread: float) -> None:
    changes = {"scatter": scatter, "spread": spread, "seed": 3, "intercept_prior": None}
    problem = heavy(25, 1, Normal(sigma=HalfCauchy()), noise, **changes)
    found = solve_regression(problem)
    posterior, sample = found
    sd = float(np.sqrt(posterior.covariance[1, 1]))
    b = np.linspace(posterior.mean[1] - 7.0 * sd, posterior.mean[1] + 7.0 * sd, 60)
    log_s = np.linspace(-8.0, 3.0, 110)
    log_t = np.linspace(-14.0, 4.0, 90) if noise == "auto" else np.zeros(1)
    design = np.concatenate([block for _, block in problem.design_blocks()])
    log_prior, tau = Marginal(problem.coef_prior, 1)(b[:, None])
    logs = np.empty((len(log_s), len(log_t), len(b)))
    lines = np.broadcast_to(b[:, None] @ design.T, (len(log_t), len(b), len(design)))
    for i, own in enumerate(log_s):
        values = {"noise_scale": np.exp(own), "scatter": np.exp(log_t)[:, None, None]}
        of_rows = problem.likelihood.log_density(lines, values, problem.observations())
        logs[i] = of_rows.sum(axis=-1) + log_prior + problem.noise_prior.log_density(np.exp(own)) + own
    cell = np.log(b[1] - b[0]) + np.log(log_s[1] - log_s[0])
    if noise == "auto":
        logs += (ScatterPrior(problem.scatter_unit).log_density(np.exp(log_t)) + log_t)[:, None]
        cell += np.log(log_t[1] - log_t[0])
    log_total = logsumexp(logs)
    weights = np.exp(logs - log_total)
    of_b = weights.sum(axis=(0, 1))
    mean = of_b @ b
    assert_agree(found, np.array([0.0, mean]), np.array([0.0, np.sqrt(of_b @ np.square(b - mean))]))
    expected = log_total + cell + problem.log_jacobian
    assert posterior.log_evidence == pytest.approx(expected, abs=2.0 * evidence_error(sample))
    pairs = [
        (posterior.noise_scale, weights.sum(axis=(1, 2)) @ np.exp(log_s)),
        (posterior.prior_scale, of_b @ tau),
    ]
    if noise == "auto":
        pairs.append((posterior.scatter, weights.sum(axis=(0, 2)) @ np.exp(log_t)))
    for values, truth in pairs:
        assert values is not None
        own = posterior.weights @ values
        error = np.sqrt(np.square(posterior.weights) @ np.square(values - own))
        # Points that are quasi-random share out the modes by chance only in part.
        assert own == pytest.approx(truth, abs=Z * error)


POWERED = PoweredCorrelation(sigma=HalfNormal(2.5))
TRUSTED = {
    "20 weak features": lambda: outcomes(normal_table(60, 20), np.full(20, 0.1), 5, POWERED),
    "20 correlated features": lambda: outcomes(normal_table(60, 20, 0.9), np.full(20, 0.1), 5, POWERED),
    "nothing matters": lambda: outcomes(normal_table(40, 4), np.zeros(4), 1, POWERED),
    "separated, one feature": lambda: outcomes(normal_table(20, 1), [50.0], 1, POWERED),
    "separated, three features": lambda: outcomes(normal_table(20, 3), [50.0, 20.0, -30.0], 1, POWERED),
    "no success": lambda: outcomes(normal_table(50, 3), np.zeros(3), 1, POWERED, -50.0),
    "shares of 1e-5": lambda: outcomes(normal_table(50, 2), [0.3, 0.0], 100_000, POWERED, -11.5),
    "five rows": lambda: outcomes(normal_table(5, 1), [1.0], 3, POWERED),
    "beta-binomial": lambda: outcomes(
        normal_table(80, 5), np.full(5, 0.3), 10, POWERED, likelihood=BetaBinomialLikelihood()
    ),
    "Laplace, weak": lambda: outcomes(normal_table(60, 20), np.full(20, 0.1), 5, Laplace(b=HalfNormal())),
    "Laplace, nothing": lambda: outcomes(normal_table(40, 4), np.zeros(4), 1, Laplace(b=HalfNormal())),
    "Student's t": lambda: outcomes(normal_table(40, 4), np.zeros(4), 5, StudentT(sigma=HalfCauchy())),
    "t noise": lambda: heavy(50, 3, PoweredCorrelation(), "scaled"),
    "t noise, auto, equal errors": lambda: heavy(
        300, 2, PoweredCorrelation(), "auto", scatter=0.3, spread=0.0
    ),
    "t noise, auto, no scatter": lambda: heavy(40, 2, PoweredCorrelation(), "auto", spread=0.3),
}


@pytest.mark.parametrize("case", TRUSTED)
def test_the_nodes_are_to_be_trusted(case: str) -> None:
    posterior, sample = solve_regression(TRUSTED[case]())
    assert not sample.doubts
    assert posterior.prior_scale is not None
    assert (posterior.prior_scale > 0.0).all()


@pytest.mark.parametrize("likelihood", [BinomialLikelihood(), BetaBinomialLikelihood()])
def test_star98_under_the_powered_correlation_prior(likelihood: Likelihood) -> None:
    X, share, counts = load_star98()
    problem = build(np.asarray(X), share, likelihood, counts, coef_prior=POWERED)
    posterior, sample = solve_regression(problem)
    assert not sample.doubts
    assert sample.effective_size > 2500.0
    assert posterior.geometry is not None
    assert posterior.geometry.sum() == pytest.approx(1.0)


def test_with_one_power_of_zero_it_is_the_normal_prior() -> None:
    X = normal_table(40, 2, 0.8)
    powered, normal = (
        solve_regression(outcomes(X, [1.0, -1.0], 5, prior))
        for prior in (PoweredCorrelation(0.7, 0.0), Normal(0.0, 0.7))
    )
    assert powered[0].geometry is None
    assert powered[0].prior_scale is None
    sds = np.sqrt(np.diag(normal[0].covariance))
    assert_agree(powered, normal[0].mean, sds, more=2.0)
    assert powered[0].log_evidence == pytest.approx(
        normal[0].log_evidence, abs=2.0 * evidence_error(normal[1])
    )


def test_under_a_power_of_one_the_basis_of_the_features_does_not_matter() -> None:
    X, change = normal_table(50, 3), np.array([[1.0, 5.0, 0.0], [0.0, 2.0, -3.0], [1.0, 0.0, 0.1]])
    prior = PoweredCorrelation(sigma=HalfNormal(2.5), power=1.0)
    y = np.random.default_rng(2).binomial(4, expit(X @ [1.0, 0.0, -0.5])) / 4.0
    lines, evidences, errors = [], [], []
    for table in (X, X @ change):
        problem = build(table, y, BinomialLikelihood(), 4, coef_prior=prior)
        posterior, _ = solve_regression(problem)
        design = np.concatenate([block for _, block in problem.design_blocks()])
        lines.append(design @ posterior.mean)
        evidences.append(posterior.log_evidence)
        away = (posterior.location - posterior.mean) @ design.T
        errors.append(np.sqrt(np.square(posterior.weights[:, None] * away).sum(axis=0)))
    assert (np.abs(lines[0] - lines[1]) < Z * np.hypot(*errors)).all()
    assert evidences[0] == pytest.approx(evidences[1], abs=0.1)


@pytest.mark.parametrize("case", ["binomial, powered", "binomial, Laplace"])
def test_derivatives_are_those_of_the_density_at_a_scale(case: str) -> None:
    density = _densities(BY_GRID[case]())[-1]
    point = density.start + 0.2 * np.random.default_rng(1).normal(size=density.size)
    width = np.full(density.n_coefficients, 1e-6)
    found = density.derivatives(point, width)
    steps = 1e-5 * np.eye(density.size)[: density.n_climbed]
    slope = (density(point + steps) - density(point - steps)) / 2e-5
    assert_allclose(found.gradient, slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "problem",
    [
        lambda: outcomes(normal_table(20, 2), [50.0, 20.0], 1, POWERED),
        lambda: heavy(30, 2, Laplace(b=HalfNormal()), "auto", scatter=0.3),
    ],
)
def test_coordinates_have_the_volume_that_they_say(problem: Any) -> None:
    density: RegressionDensity = _densities(problem())[0]
    following, component = find_proposal(density)
    assert following is not None
    coordinates = Parted.of(anchored(following, component), density)
    if isinstance(coordinates, Parted):
        component = coordinates.component(component)
    rng = np.random.default_rng(0)
    for point in component.center + rng.normal(size=(8, density.size)) @ component.root.T:
        point[-1] = abs(point[-1]) + 0.01
        steps = 1e-6 * np.eye(density.size)
        moved = (coordinates.points(point + steps) - coordinates.points(point - steps)) / 2e-6
        volume = np.linalg.slogdet(moved)[1]
        expected = density(coordinates.points(point[None])) + volume
        assert_allclose(coordinates(point[None]), expected, atol=1e-4)


def test_the_marginal_likelihood_of_many_columns() -> None:
    """One column per level: given the intercept the coefficients are independent, each an integral of its own."""
    rng, p, trials = np.random.default_rng(0), 71, 10
    level = np.repeat(np.arange(p), 5)
    successes = rng.binomial(trials, expit(-1.0 + rng.normal(size=p))[level])
    problem = build(
        (level[:, None] == np.arange(p)).astype(np.float64),
        successes / trials,
        BinomialLikelihood(),
        trials,
        standardize=False,
    )
    intercept = np.linspace(-4.0, 2.0, 301)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    line = intercept[:, None] + nodes
    total = stats.norm.logpdf(intercept) + np.log(intercept[1] - intercept[0])
    for own in range(p):
        won, n = successes[level == own].sum(), trials * (level == own).sum()
        logs = -won * np.logaddexp(0.0, -line) - (n - won) * np.logaddexp(0.0, line)
        total += logsumexp(logs, b=weights / weights.sum(), axis=1)
    choices = gammaln(trials + 1.0) - gammaln(successes + 1.0) - gammaln(trials - successes + 1.0)
    expected = logsumexp(total) + choices.sum() + problem.log_jacobian
    posterior, _ = solve_regression(problem)
    # A standard error of 0.02; the weights of the mixture of all proposals gave 0.35 less.
    assert posterior.log_evidence == pytest.approx(expected, abs=0.1)


def test_the_intercept_of_rare_shares_is_not_held() -> None:
    X = np.linspace(-1.0, 1.0, 10)[:, None]
    counts, successes = np.full(10, 30_000.0), np.array([0, 1, 0, 0, 0, 1, 0, 0, 1, 0])
    model = Regressor(likelihood="binomial", weight_type="counts", coef_prior=Normal(0.0, 1e-3))
    model.fit(X, successes / counts, sample_weight=counts)
    # Of shares of 1e-5 that ten rows tell to a factor of two.
    assert model.predict(X) == pytest.approx(1e-5, rel=0.2)
    model.fit(X, np.zeros(10), sample_weight=counts)
    # As with half a success: of 300,000 trials without one, 95% of the probability are below 2 / 300,000.
    assert 300_000 * model.predict(X)[0] == pytest.approx(0.5, abs=0.1)


def test_a_fit_tells_what_it_found() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    error = 0.3 * np.exp(0.5 * rng.normal(size=60))
    y = 1.0 + X @ [1.0, -0.5] + error * rng.standard_t(5, 60) + 0.4 * rng.normal(size=60)
    model = Regressor(likelihood="student_t", noise="auto", coef_prior=PoweredCorrelation(), random_state=0)
    model.fit(X, y, y_err=error)
    table = model.summary()
    names = ["intercept", "x0", "x1", "noise_scale", "scatter", "nu", "prior_scale"]
    assert list(table.index) == names
    assert model.scatter_ == pytest.approx(table.loc["scatter", "mean"])
    assert 0.05 < model.scatter_ < 0.6
    assert np.sum(table.attrs["geometry"]) == pytest.approx(1.0)
    assert "scatter" in model.to_arviz()["posterior"]
    exact, measured = (model.predict_distribution(X[:1], y_err=e) for e in (0.0, 1.0))
    assert exact.variance_parts["target_error"] == 0.0
    assert exact.variance_parts["scatter"] == measured.variance_parts["scatter"] > 0.0
    assert model.loo(X, y, y_err=error) is not None
    model.set_params(noise="scaled").fit(X, y, y_err=error)
    assert not hasattr(model, "scatter_")
