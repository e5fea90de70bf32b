"""Rows of features with errors under every likelihood: their density against integration over the true features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats

from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    BetaBinomialLikelihood,
    BinomialLikelihood,
    HalfNormal,
    Laplace,
    NegativeBinomialLikelihood,
    Normal,
    NormalLikelihood,
    PoissonLikelihood,
    StudentT,
    StudentTLikelihood,
)
from bayes_sklearn.inference.importance.engine import row_problem
from bayes_sklearn.inference.importance.mixture_nodes import solve_mixture
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.structural.mixture import MixtureProblem
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.feature_errors import resolve_feature_errors

Array = NDArray[np.float64]

LIKELIHOODS: dict[str, Any] = {
    "normal": NormalLikelihood(),
    "binomial": BinomialLikelihood(),
    "beta_binomial": BetaBinomialLikelihood(),
    "student_t": StudentTLikelihood(),
    "poisson": PoissonLikelihood(),
    "negative_binomial": NegativeBinomialLikelihood(),
}


@dataclass(frozen=True)
class Case:
    """A small table."""

    likelihood: str = "binomial"
    q: int = 1
    k: int = 1
    noise: str = "scaled"
    n: int = 30
    n_components: int = 1
    trials: int = 20
    with_target: bool = False
    fit_intercept: bool = True
    coef_prior: Any = None
    intercept_prior: Any = None
    reliability: float = 0.7
    limits: tuple[float, float] | None = None
    """Between which targets lie of rows that were selected."""

    def __str__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if value != getattr(Case, name)}
        return "-".join(f"{name}={value}" for name, value in shown.items()) or "plain"

    @cached_property
    def problem(self) -> Problem:
        rng = np.random.default_rng(5)
        n, q, p = self.n, self.q, self.q + self.k
        X = rng.normal(size=(n, p))
        error = np.zeros((n, p))
        error[:, :q] = np.sqrt(1.0 / self.reliability - 1.0) * rng.uniform(0.7, 1.3, size=(n, q))
        measured = 3.0 + 1.7 * (X + error * rng.normal(size=(n, p)))
        line = -0.4 + X @ np.linspace(1.0, -0.5, p)
        likelihood, trials, y_err = LIKELIHOODS[self.likelihood], None, None
        if likelihood.per == "exposure":
            trials = rng.uniform(0.2, float(self.trials), n)
            y = rng.poisson(trials * np.exp(line)) / trials
        elif likelihood.counted:
            trials = np.full(n, float(self.trials))
            y = rng.binomial(self.trials, 1.0 / (1.0 + np.exp(-line))) / trials
        else:
            y_err = rng.uniform(0.3, 0.6, size=n)
            y = 7.0 + line + 0.4 * rng.standard_t(4, size=n)
        if self.limits is not None:
            y = np.clip(y, self.limits[0] + 0.05, self.limits[1])
        errors = resolve_feature_errors(
            n,
            [f"x{j}" for j in range(p)],
            X_err=1.7 * error,
            y_err=y_err,
            Xy_cov=np.append(np.full(q, 0.05), np.zeros(self.k)) if self.with_target else None,
        )
        problem = Problem.build(
            Rows(measured, y, None, None),
            y_err,
            noise=NOISES[self.noise],
            standardize=True,
            coef_prior=self.coef_prior or Normal(),
            intercept_prior=(self.intercept_prior or Normal(0.0, 3.0)) if self.fit_intercept else None,
            noise_prior=HalfNormal(),
            feature_errors=errors,
            likelihood=likelihood,
            trials=trials,
        )
        problem = replace(problem, n_components=self.n_components)
        return problem if self.limits is None else problem.selected(self.limits)

    @cached_property
    def mixture(self) -> MixtureProblem:
        return row_problem(self.problem)[0]

    def point(self, seed: int = 0) -> Array:
        """A point at which every part matters."""
        rng = np.random.default_rng(seed)
        point = 0.3 * rng.normal(size=self.mixture.size)
        point[self.mixture.columns["m"]] += 1.0
        for name in ("s", "t"):
            columns = self.mixture.columns[name]
            point[columns] = rng.uniform(0.4, 1.0, size=columns.stop - columns.start)
        return point


CASES = [
    Case(),
    Case("binomial", q=2, trials=1),
    Case("binomial", trials=100_000, k=0),
    Case("binomial", n_components=2),
    Case("binomial", fit_intercept=False, reliability=0.3),
    Case("beta_binomial"),
    Case("beta_binomial", q=2, k=0, trials=500),
    Case("poisson"),
    Case("poisson", q=2, k=0, trials=100_000),
    Case("negative_binomial", n_components=2),
    Case("student_t"),
    Case("student_t", noise="additive", q=2),
    Case("student_t", noise="auto", k=0),
    Case("student_t", noise="known", n_components=2),
    Case("student_t", with_target=True),
    Case("student_t", noise="additive", with_target=True, q=2, k=0),
    Case("student_t", noise="auto", with_target=True),
    Case("normal", noise="auto", with_target=True, n_components=2),
    Case("normal", limits=(6.5, np.inf)),
    Case("normal", noise="auto", q=2, n_components=2, with_target=True, limits=(6.0, 8.0)),
    Case("student_t", noise="additive", n_components=2, limits=(-np.inf, 7.2)),
    Case("binomial", limits=(0.0, np.inf)),
    Case("beta_binomial", n_components=2, limits=(0.0, 0.9)),
    Case("poisson", k=0, limits=(0.0, np.inf)),
]


def by_integration(case: Case, point: Array, row: int) -> float:
    """The row's log density as the documentation states the model, integrated over its true features."""
    mixture, problem = case.mixture, case.problem
    parts, (z0, w0, y0), data = mixture.taken_apart(point[None]), mixture.center, mixture.data
    z, w, y = data.z[row] - z0, data.w[row] - w0, data.y[row]
    U = data.feature_covariance[row]
    seen = problem.observations().take(np.array([row]))
    total = 0.0
    for c in range(case.n_components):
        T, mu = parts.covariances[0, c], parts.means[0, c] + parts.slopes[0] @ z
        # x given w, and the line as a function of it.
        gain = T @ np.linalg.inv(T + U)
        of_x, left = mu + gain @ (w - mu), T - gain @ T
        of_w = stats.multivariate_normal(mu, T + U).pdf(w)
        m = parts.m[0]
        mean = y0 + parts.line[0, 0] + parts.line[0, 1:] @ z + m @ of_x
        sd = float(np.sqrt(m @ left @ m))
        if case.with_target:
            density = _with_shared_noise(case, parts, row, (mu, T, U, w), mean, y)
        else:
            u = np.linspace(-12.0, 12.0, 40_001)
            of_target = problem.likelihood.log_density((mean + sd * u)[:, None], _values(case, parts), seen)
            integrand = np.exp(of_target[:, 0] - 0.5 * u**2) / np.sqrt(2.0 * np.pi)
            density = float(integrate.trapezoid(integrand, u))
        total += float(np.exp(parts.log_shares[0, c])) * of_w * density
    selected = 1.0 if case.limits is None else selected_by_integration(case, parts, row)
    return float(np.log(total) - np.log(selected))


def selected_by_integration(case: Case, parts: Any, row: int) -> float:
    """How probable it is that a target lies between the limits, given the row's exact features alone."""
    problem, (z0, _, y0), data = case.problem, case.mixture.center, case.mixture.data
    likelihood, seen = problem.likelihood, problem.observations().take(np.array([row]))
    values, z, m = _values(case, parts), data.z[row] - z0, parts.m[0]
    u, (lower, upper) = np.linspace(-12.0, 12.0, 20_001), case.limits or (-np.inf, np.inf)
    total = 0.0
    for c in range(case.n_components):
        mu = parts.means[0, c] + parts.slopes[0] @ z
        mean = y0 + parts.line[0, 0] + parts.line[0, 1:] @ z + m @ mu
        eta = mean + float(np.sqrt(m @ parts.covariances[0, c] @ m)) * u
        if likelihood.counted:
            trials = np.asarray(seen.trials).item()
            # Of limits on one side what lies beyond.
            counts, other = np.arange(trials + 1.0), np.isinf(upper)
            counts = (
                counts[counts / trials <= lower]
                if other
                else counts[(counts > 0.0) & (counts / trials <= upper)]
            )
            of_counts = [replace(seen, y=np.array([count / trials])) for count in counts]
            inside = sum(np.exp(likelihood.log_density(eta[:, None], values, of)[:, 0]) for of in of_counts)
            inside = 1.0 - inside if other else inside
        else:
            scale = float(np.sqrt(likelihood.squared_scale(values, seen)[0]))
            of = stats.norm if case.likelihood == "normal" else stats.t(float(values["nu"][0]))
            ends = [(limit - problem.scaling.y_mean) / problem.scaling.y_scale for limit in (lower, upper)]
            inside = of.cdf((ends[1] - eta) / scale) - of.cdf((ends[0] - eta) / scale)
        density = np.exp(-0.5 * u**2) / np.sqrt(2.0 * np.pi)
        total += float(np.exp(parts.log_shares[0, c])) * float(integrate.trapezoid(inside * density, u))
    return total


def _values(case: Case, parts: Any) -> dict[str, Array]:
    target = case.mixture.target
    if target is None:
        return {"noise_scale": parts.noise_scale, "scatter": parts.scatter}
    return {name: value[:, 0] for name, value in target.values_at(parts).items()}


def _with_shared_noise(case: Case, parts: Any, row: int, given: Any, mean: float, y: float) -> float:
    """The density of y where the noise, given its precision, is normal and goes with the features' errors."""
    mu, T, U, w = given
    problem, data = case.problem, case.mixture.data
    m, values = parts.m[0], _values(case, parts)
    seen = problem.observations().take(np.array([row]))
    variance = float(problem.likelihood.squared_scale(values, seen)[0])
    multiple = float(parts.noise_scale[0]) if problem.noise.multiplies else 1.0
    c = multiple * np.broadcast_to(data.cross_covariance, (case.n, case.q))[row]

    def normal(precision: float) -> float:
        shared, own = c / np.sqrt(precision), variance / precision
        # (w, y) jointly, then y given w.
        S, to_y = T + U, T @ m + shared
        total = m @ T @ m + own
        of_y = mean - m @ (T @ np.linalg.solve(S, w - mu)) + to_y @ np.linalg.solve(S, w - mu)
        return float(stats.norm(of_y, np.sqrt(total - to_y @ np.linalg.solve(S, to_y))).pdf(y))

    if case.likelihood == "normal":
        return normal(1.0)
    nu = float(values["nu"][0])
    of_precision = stats.gamma(0.5 * nu, scale=2.0 / nu)
    return integrate.quad(
        lambda log: normal(np.exp(log)) * of_precision.pdf(np.exp(log)) * np.exp(log),
        -25.0,
        5.0,
        points=[-2.0, -1.0, 0.0, 1.0],
        limit=400,
    )[0]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rows_density_is_the_integral_over_its_true_features(case: Case) -> None:
    point = case.point()
    placed = case.mixture.placed(point)
    for seed in (0, 1):
        found = placed.row_log_density(case.point(seed)[None])[0]
        for row in (0, 11, 23):
            assert_allclose(found[row], by_integration(case, case.point(seed), row), rtol=0.0, atol=2e-5)


@pytest.mark.parametrize("told", [np.inf, np.nan])
def test_a_point_at_which_rows_fail_has_no_density(monkeypatch: pytest.MonkeyPatch, told: float) -> None:
    """Lines as wide as numbers can say are somewhere on a search's way."""
    case = Case(n_components=2)
    monkeypatch.setattr(
        MixtureProblem, "row_log_density", lambda _, points, rows: np.full((len(points), case.n), told)
    )
    assert case.mixture.log_density(case.point()[None]) == -np.inf


@pytest.mark.parametrize(
    ("outcome", "away", "doubted"),
    [(0.0, 20.0, True), (1.0, 20.0, True), (0.0, 0.0, False), (0.5, 20.0, False)],
)
def test_outcomes_that_are_all_alike_are_trusted_near_the_intercept_alone(
    outcome: float, away: float, doubted: bool
) -> None:
    x = np.random.default_rng(0).normal(size=(30, 1)) + away
    model = BayesianErrorsInVariablesRegressor(
        likelihood="binomial", standardize=False, weight_type="counts", inference="importance", random_state=0
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, np.full(30, outcome), sample_weight=np.full(30, 2.0), X_err=0.5)
    assert any("outcomes are all alike" in str(warning.message) for warning in caught) == doubted


@pytest.mark.parametrize("seed", [0, 1, 12])
def test_a_scatter_by_either_peak_of_its_prior_is_drawn_from(seed: int) -> None:
    """From the mode alone none of these passes the gates, or it warns."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=100)
    x = 0.5 * z + rng.normal(size=100)
    y_err = 0.5 * np.exp(0.4 * rng.normal(size=100))
    y = x - 0.5 * z + np.hypot(y_err, 0.3) * rng.standard_t(4, size=100)
    x_err = np.exp(0.5 * rng.normal(size=100))
    X = np.column_stack([x + x_err * rng.normal(size=100), z])
    model = BayesianErrorsInVariablesRegressor(
        likelihood="student_t", noise="auto", inference="importance", random_state=0
    )
    model.fit(X, y, y_err=y_err, X_err=np.column_stack([x_err, np.zeros(100)]))
    assert abs(model.coef_[0] - 1.0) < 4.0 * model.coef_std_[0]


MOVED = ("m", "line", "means")
OWN_PRIOR = Case("normal", k=2, coef_prior=Laplace(0.0, 0.5))


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[7], CASES[10], CASES[12], OWN_PRIOR], ids=str)
def test_coordinates_change_no_density(case: Case) -> None:
    regressed = case.mixture
    plain = replace(regressed, regressed=False)
    point = case.point()
    parts = regressed.taken_apart(point[None])
    other = point.copy()
    other[plain.columns["m"]] = parts.m[0]
    other[plain.columns["line"]] = parts.line[0, int(not case.fit_intercept) :]
    other[plain.columns["means"]] = parts.means[0].ravel()
    own = plain.taken_apart(other[None])
    for name in set(parts._fields) - {"log_volume", "wild"}:
        assert_allclose(getattr(parts, name), getattr(own, name), rtol=1e-9, atol=1e-12, err_msg=name)
    placed = [problem.placed(at) for problem, at in ((regressed, point), (plain, other))]
    densities = [problem.log_density(at[None])[0] for problem, at in zip(placed, (point, other), strict=True)]
    # The volume is that of the map, by differences.
    step, columns = 1e-5, np.concatenate([np.arange(point.size)[regressed.columns[name]] for name in MOVED])

    def mapped(values: Array) -> Array:
        moved = point.copy()
        moved[columns] = values
        found = regressed.taken_apart(moved[None])
        line = found.line[0, int(not case.fit_intercept) :]
        return np.concatenate([found.m[0], line, found.means[0].ravel()])

    jacobian = np.array(
        [
            (mapped(point[columns] + step * unit) - mapped(point[columns] - step * unit)) / (2.0 * step)
            for unit in np.eye(len(columns))
        ]
    )
    assert_allclose(densities[0] - densities[1], np.linalg.slogdet(jacobian)[1], atol=1e-4)


@pytest.mark.parametrize("prior", [Laplace(0.0, 0.5), StudentT(4.0, 0.2, 0.7)], ids=str)
def test_any_prior_with_a_density_beside_exact_features(prior: Any) -> None:
    case = Case("normal", coef_prior=prior, k=2)
    point = case.point()
    mixture, gaussian = (
        replace(of.mixture, regressed=False) for of in (case, replace(case, coef_prior=Normal()))
    )
    of = [problem.taken_apart(point[None]) for problem in (mixture, gaussian)]
    unit = row_problem(case.problem)[1]
    coefficients = np.append(of[0].m[0] / unit.noisy, of[0].line[0, 1:] / unit.exact)
    frozen = stats.laplace(0.0, 0.5) if isinstance(prior, Laplace) else stats.t(4.0, 0.2, 0.7)
    expected = frozen.logpdf(coefficients).sum() - stats.norm.logpdf(coefficients).sum()
    assert_allclose(mixture.log_density(point[None]) - gaussian.log_density(point[None]), expected, rtol=1e-9)


def test_an_intercept_with_any_prior() -> None:
    cases = [Case(intercept_prior=prior) for prior in (Laplace(0.0, 2.0), Normal(0.0, 3.0))]
    point = cases[0].point()
    placed = [replace(case.mixture, regressed=False).placed(point) for case in cases]
    parts = placed[0].taken_apart(point[None])
    z, w, y = placed[0].center
    intercept = y + parts.line[0, 0] - parts.line[0, 1:] @ z - parts.m[0] @ w
    expected = stats.laplace(0.0, 2.0).logpdf(intercept) - stats.norm(0.0, 3.0).logpdf(intercept)
    found = placed[0].log_prior(point[None]) - placed[1].log_prior(point[None])
    # Points are about a working target, which depends on the prior a little.
    assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("case", [Case(n=60), Case("student_t", noise="auto", n=60, k=0)], ids=str)
def test_both_coordinates_have_the_same_integral_and_posterior(case: Case) -> None:
    found = [solve_mixture(replace(case.mixture, regressed=way), 1, 4096) for way in (True, False)]
    assert all(not sample.doubts for sample in found)
    # Two sums over 4096 points, of which weights vary by less than their mean.
    assert abs(found[0].log_total - found[1].log_total) < 4.0 * np.hypot(
        *[np.sqrt(1.0 / sample.effective_size) for sample in found]
    )
