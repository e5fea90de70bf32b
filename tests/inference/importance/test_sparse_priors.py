"""Importance sampling of exact features with normal noise: heavy-tailed priors, from rows that are few.

Against sums over grids, SciPy's densities, the exact engine, refits and NUTS. Sums over nodes are held to their truth
within four of their standard errors.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn.estimators.fitting import settle
from bayes_sklearn.estimators.reading import read, specify
from bayes_sklearn.inference import choose
from bayes_sklearn.inference.exact import engine as exact
from bayes_sklearn.inference.importance import engine as importance
from bayes_sklearn.inference.importance import noise_coordinates
from bayes_sklearn.inference.importance import regression_nodes as nodes_module
from bayes_sklearn.inference.importance import regression_rows as rows_module
from bayes_sklearn.inference.importance.regression_density import RegressionDensity
from bayes_sklearn.inference.importance.regression_nodes import solve_regression
from bayes_sklearn.inference.importance.regression_rows import Table
from bayes_sklearn.inference.numerics.importance_sampling import Sample
from bayes_sklearn.inference.nuts import engine as nuts
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.settings import NotTrusted, SamplerSettings
from bayes_sklearn.priors import CoefficientPrior, Flat, HalfNormal, Laplace, StudentT

from plain import Regressor

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

Z = 4.0

LAPLACE: LogDensity = stats.laplace(0.1, 0.3).logpdf
STUDENT_T: LogDensity = stats.t(3.0, -0.2, 0.4).logpdf
PRIORS: dict[str, tuple[CoefficientPrior, LogDensity]] = {
    "laplace": (Laplace(mu=0.1, b=0.3), LAPLACE),
    "student_t": (StudentT(nu=3.0, mu=-0.2, sigma=0.4), STUDENT_T),
}
NOISES = "scaled", "known", "additive"


def problem_of(model: Any, X: Array, y: Array, weight: Array | None = None, y_err: Any = None) -> Problem:
    data = read(model, X, y, weight, {"y_err": y_err}, {"X_err": None, "X_cov": None, "Xy_cov": None})
    return settle(data.rows, data.errors, specify(model, data), "auto", SamplerSettings())


def regression(n: int, p: int, seed: int = 0, alike: float = 0.0) -> tuple[Array, Array]:
    """Features of which a part is common to all, and a few of which matter."""
    rng = np.random.default_rng(seed)
    X = np.sqrt(1.0 - alike) * rng.normal(size=(n, p)) + np.sqrt(alike) * rng.normal(size=(n, 1))
    slopes = np.where(rng.random(p) < 0.3, 2.0 * rng.normal(size=p), 0.0)
    return X, X @ slopes + rng.normal(size=n)


def z_scores(found: tuple[Posterior, Sample], mean: Array, sd: Array, more: float = 1.0) -> Array:
    """Return how far means and variances of B are from these, in standard errors of sums over the nodes."""
    posterior, sample = found
    assert not sample.doubts
    weights, own = posterior.weights[:, None], posterior.mean
    away = posterior.location - own
    of_mean = np.sqrt(np.square(weights * away).sum(axis=0))
    variance = weights[:, 0] @ np.square(away)
    of_variance = np.sqrt(np.square(weights * (np.square(away) - variance)).sum(axis=0))
    used = sd > 0.0
    return np.concatenate([(own - mean)[used] / of_mean[used], (variance - sd**2)[used] / of_variance[used]])


def evidence_error(sample: Sample) -> float:
    return Z * float(np.sqrt(1.0 / sample.effective_size - 1.0 / len(sample.points)) + 1e-4)


# --- the posterior, against sums over grids ------------------------------------------------------


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("prior", PRIORS)
def test_posterior_and_evidence_of_one_coefficient_are_the_integrals(prior: str, noise: str) -> None:
    rng = np.random.default_rng(2)
    x, e = rng.uniform(0.3, 2.0, 9), rng.uniform(0.4, 0.9, 9)
    y, f = 1.1 * x + e * rng.normal(size=9), np.resize([1.0, 2.0, 0.0], 9)
    coef_prior, log_prior = PRIORS[prior]
    model = Regressor(
        coef_prior=coef_prior, noise=noise, standardize=False, fit_intercept=False, weight_type="frequency"
    )
    problem = problem_of(model, x[:, None], y, f, e)
    posterior, sample = solve_regression(problem)

    # The prior's location is a point of the grid, for the sake of Laplace's kink.
    b = 0.1 + np.arange(-3000, 3001) * 1e-3
    log_s = np.linspace(-7.0, 2.0, 361)[:, None] if noise != "known" else np.zeros((1, 1))
    s = np.exp(log_s)
    log_density = log_prior(b) + np.zeros_like(s)
    if noise != "known":
        log_density = log_density + stats.halfnorm.logpdf(s) + log_s
    for row in range(9):
        scale = np.hypot(e[row], s) if noise == "additive" else s * e[row]
        log_density += f[row] * stats.norm.logpdf(y[row], b * x[row], scale)
    mass = np.exp(log_density - log_density.max())
    step = 1e-3 * (1.0 if noise == "known" else float(np.diff(log_s[:, 0])[0]))
    mass_of_b = mass.sum(axis=0) / mass.sum()
    mean = mass_of_b @ b
    sd = np.sqrt(mass_of_b @ np.square(b - mean))
    assert np.abs(z_scores((posterior, sample), np.array([0.0, mean]), np.array([0.0, sd]))).max() < Z
    log_evidence = float(logsumexp(log_density) + np.log(step))
    assert posterior.log_evidence is not None
    assert abs(posterior.log_evidence - log_evidence) < evidence_error(sample)


def on_a_grid(X: Array, y: Array, log_prior: LogDensity, reach: float) -> tuple[Array, Array, float]:
    """Return means and standard deviations of two coefficients, and the log evidence, s under HalfNormal(1)."""
    own = np.linspace(-reach, reach, 321)
    b = np.stack([part.ravel() for part in np.meshgrid(own, own, indexing="ij")], axis=1)
    log_s = np.linspace(-3.0, 1.6, 70)
    square = y @ y - 2.0 * b @ (X.T @ y) + np.einsum("gi,ij,gj->g", b, X.T @ X, b)
    of_scale = -len(y) * log_s + stats.halfnorm.logpdf(np.exp(log_s)) + log_s
    of_b = log_prior(b).sum(axis=1)
    log_mass = of_b + np.concatenate(
        [
            logsumexp(of_scale - 0.5 * part[:, None] * np.exp(-2.0 * log_s), axis=1)
            for part in np.array_split(square, 40)
        ]
    )
    mass = np.exp(log_mass - log_mass.max())
    mean = mass @ b / mass.sum()
    volume = np.log((own[1] - own[0]) ** 2 * (log_s[1] - log_s[0])) - 0.5 * len(y) * np.log(2.0 * np.pi)
    sd = np.sqrt(mass @ np.square(b - mean) / mass.sum())
    return mean, sd, float(logsumexp(log_mass) + volume)


def two_alike(n: int, correlation: float, seed: int) -> tuple[Array, Array]:
    z = np.random.default_rng(seed).normal(size=(n, 3))
    X = np.stack([z[:, 0], correlation * z[:, 0] + np.sqrt(1.0 - correlation**2) * z[:, 1]], axis=1)
    return X, 2.0 * X[:, 0] + 0.4 * z[:, 2]


def two_peaks(case: str) -> tuple[Problem, tuple[Array, Array, float]]:
    """Two peaks: all is noise, or the prior is wrong; and either of two features has it all."""
    prior: CoefficientPrior = Laplace(b=0.03)
    if case == "noise or slope":
        X, y = two_alike(40, 0.5, 1)
        log_prior: LogDensity = stats.laplace(scale=0.03).logpdf
    else:
        X, y = two_alike(15, 0.97, 2)
        prior, log_prior = StudentT(nu=2.0, sigma=0.03), stats.t(2.0, scale=0.03).logpdf
    model = Regressor(coef_prior=prior, standardize=False, fit_intercept=False)
    return problem_of(model, X, y), on_a_grid(X, y, log_prior, 2.8)


@pytest.mark.parametrize("case", ["noise or slope", "one feature or the other"])
def test_every_peak_is_found(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, (mean, sd, log_evidence) = two_peaks(case)
    posterior, sample = solve_regression(problem)
    assert not sample.doubts
    assert_allclose(posterior.mean[1:], mean, atol=0.1 * sd.max())
    assert_allclose(np.sqrt(np.diag(posterior.covariance))[1:], sd, rtol=0.1)
    assert posterior.log_evidence is not None
    assert abs(posterior.log_evidence - log_evidence) < 0.1

    def alone(coordinates: Any, component: Any) -> list[Any]:
        return [(coordinates, component)]

    # Without the search one is missing, which the weights need not tell.
    monkeypatch.setattr(nodes_module, "all_peaks", alone)
    one, of_one = solve_regression(problem)
    assert bool(of_one.doubts) == (case != "noise or slope")
    assert np.abs(one.mean[1:] - mean).max() > 0.25 * sd.max()


def test_more_peaks_than_are_drawn_from_are_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = two_peaks("one feature or the other")
    monkeypatch.setattr(nodes_module, "_MOST_PEAKS", 1)
    with pytest.raises(NotTrusted, match="more than 1 peaks"):
        importance.solve(problem, SamplerSettings())


# --- against the exact engine --------------------------------------------------------------------


@pytest.mark.parametrize("noise", [*NOISES, "auto"])
def test_under_normal_priors_it_is_the_exact_engine(noise: str) -> None:
    X, y = regression(30, 4, alike=0.5)
    y_err = np.random.default_rng(1).uniform(0.3, 2.0, 30)
    problem = problem_of(Regressor(noise=noise, intercept_prior=Flat()), X, y, y_err=y_err)
    found, expected = solve_regression(problem), exact.solve(problem, SamplerSettings())
    sd = np.sqrt(np.diag(expected.covariance))
    assert np.abs(z_scores(found, expected.mean, sd)).max() < Z
    assert found[0].log_evidence is not None
    assert expected.log_evidence is not None
    assert abs(found[0].log_evidence - expected.log_evidence) < evidence_error(found[1])


@pytest.mark.parametrize(("n", "p"), [(8, 10), (20, 30)])
def test_with_more_columns_than_rows_small_noise_is_seen(n: int, p: int) -> None:
    X, y = regression(n, p, 2)
    problem = problem_of(Regressor(), X, y)
    posterior, sample = solve_regression(problem)
    expected = exact.solve(problem, SamplerSettings())
    assert not sample.doubts
    sd = np.sqrt(np.diag(expected.covariance))
    assert_allclose(posterior.mean, expected.mean, atol=0.1 * sd.max())
    assert_allclose(np.sqrt(np.diag(posterior.covariance)), sd, rtol=0.06)
    shares = np.array([0.025, 0.1, 0.5, 0.9])
    scales = expected.quantiles("noise_scale", expected.noise_scale, shares)
    below = [posterior.weights[posterior.noise_scale < scale].sum() for scale in scales]
    assert (np.abs(below - shares) < [0.015, 0.025, 0.04, 0.025]).all()
    assert abs(float(posterior.log_evidence or 0.0) - float(expected.log_evidence or 0.0)) < 0.1


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [*NOISES, "auto"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_few_rows_have_the_density_of_all(noise: str, fit_intercept: bool) -> None:
    X, y = regression(600, 3)
    y_err, weight = np.resize([0.5, 1.0, 3.0], 600), np.resize([1.0, 0.0, 2.0, 1.5], 600)
    model = Regressor(coef_prior=Laplace(), noise=noise, fit_intercept=fit_intercept, weight_type="frequency")
    problem = problem_of(model, X, y + 50.0, weight, y_err)
    few, all_of_them = RegressionDensity(problem), RegressionDensity(problem)
    all_of_them.__dict__["table"] = Table(
        problem.observations(), problem.rows.frequency, problem.design_blocks
    )
    assert len(few.table.data.y) == 5 * (3 if problem.noise.scatters else 1)
    points = few.start + 0.3 * np.random.default_rng(0).normal(size=(5, few.size))
    assert_allclose(few(points), all_of_them(points), rtol=1e-10)
    width = np.ones(few.n_coefficients)
    ours, theirs = (of.derivatives(points[0], width) for of in (few, all_of_them))
    for own, other in zip(ours, theirs, strict=True):
        assert_allclose(own, other, rtol=1e-8, atol=1e-8)


def test_many_rows_with_errors_of_their_own_beside_a_scatter_go_to_nuts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = regression(600, 3)
    y_err = np.random.default_rng(1).uniform(0.3, 2.0, 600)
    model = Regressor(coef_prior=Laplace(), noise="auto")
    monkeypatch.setattr(rows_module, "_MOST_ROWS", 500)
    problem = problem_of(model, X, y, y_err=y_err)
    assert "more than 500" in str(importance.why_not(problem))
    assert choose(problem, "auto") == "nuts"
    for other in (
        problem_of(model, X, y, y_err=np.resize([0.5, 1.0], 600)),
        problem_of(model, X[:500], y[:500], y_err=y_err[:500]),
        problem_of(Regressor(coef_prior=Laplace()), X, y, y_err=y_err),
    ):
        assert choose(other, "auto") == "importance"


def test_the_order_of_rows_changes_no_node() -> None:
    X, y = regression(200, 6, alike=0.3)
    order = np.random.default_rng(0).permutation(200)
    model = Regressor(coef_prior=Laplace(b=0.5))
    posteriors = [solve_regression(problem_of(model, X[rows], y[rows]))[0] for rows in (slice(None), order)]
    assert_allclose(posteriors[0].location, posteriors[1].location, rtol=1e-8, atol=1e-8)


# --- the estimator -------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [Laplace(), StudentT(nu=4), Laplace(b=HalfNormal())], ids=str)
@pytest.mark.parametrize(("n", "p"), [(200, 10), (100, 30)])
def test_nodes_are_worth_a_thousand_draws(prior: CoefficientPrior, n: int, p: int) -> None:
    X, y = regression(n, p)
    model = Regressor(coef_prior=prior, random_state=0).fit(X, y)
    assert model.inference_ == "importance"
    assert 1.0 / np.square(model._fitted.posterior.weights).sum() > 1000.0


def test_an_intercept_prior_with_heavy_tails_is_taken() -> None:
    X, y = regression(30, 2)
    wide = Regressor(intercept_prior=StudentT(nu=3.0, sigma=100.0), random_state=0).fit(X, y + 5.0)
    flat = Regressor(intercept_prior=Flat(), inference="exact").fit(X, y + 5.0)
    assert wide.inference_ == "importance"
    assert_allclose(wide.intercept_, flat.intercept_, atol=0.05)
    assert_allclose(wide.coef_, flat.coef_, atol=0.05)


class WithoutDensity(CoefficientPrior):
    """A prior that NUTS alone could take."""


def test_a_prior_without_a_density_is_not_for_it() -> None:
    X, y = regression(30, 2)
    for role in ("coef_prior", "intercept_prior"):
        problem = replace(problem_of(Regressor(), X, y), **{role: WithoutDensity()})
        assert str(importance.why_not(problem)).startswith(f"{role}=WithoutDensity() has no density")


def test_what_is_not_trusted_is_left_to_nuts() -> None:
    """More columns than rows, all but alike: what is known of coefficients is far from normal."""
    X, y = regression(20, 30, 1, alike=0.9)
    problem = problem_of(Regressor(coef_prior=StudentT(nu=1.0, sigma=0.05)), X, y)
    with pytest.raises(NotTrusted, match="k-hat"):
        importance.solve(problem, SamplerSettings())
    model = Regressor(coef_prior=StudentT(nu=1.0, sigma=0.05), inference="importance", random_state=0)
    with pytest.warns(ConvergenceWarning, match="inference='nuts'"):
        model.fit(X, y)


def test_leave_one_out_is_what_refits_predict() -> None:
    X, y = regression(25, 3)
    model = Regressor(coef_prior=Laplace(b=0.5), standardize=False, random_state=0).fit(X, y)
    found = model.loo(X, y)
    values = np.asarray(found.loo_i if hasattr(found, "loo_i") else found.elpd_i)
    for row in (0, 7, 19):
        others = np.delete(np.arange(25), row)
        refit = Regressor(coef_prior=Laplace(b=0.5), standardize=False, random_state=1).fit(
            X[others], y[others]
        )
        assert abs(values[row] - refit.predict_distribution(X[[row]]).logpdf(y[[row]])[0]) < 0.05


def test_nothing_is_compiled() -> None:
    program = """
import sys
import numpy as np
from bayes_sklearn import BayesianErrorsInVariablesRegressor, Laplace
X = np.random.default_rng(0).normal(size=(200, 10))
model = BayesianErrorsInVariablesRegressor(coef_prior=Laplace()).fit(X, X[:, 0] + X[:, 1] ** 2)
assert model.inference_ == "importance"
assert not {"pymc", "pytensor", "nutpie", "arviz"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.thorough
@pytest.mark.parametrize(("n", "p", "prior"), [(40, 4, Laplace(b=0.5)), (30, 12, StudentT(nu=4))], ids=str)
def test_draws_of_nuts_on_the_plain_model_agree(n: int, p: int, prior: CoefficientPrior) -> None:
    import pymc as pm

    X, y = regression(n, p, 3)
    problem = problem_of(Regressor(coef_prior=prior, standardize=False), X, y)
    posterior, sample = solve_regression(problem)
    assert not sample.doubts
    with pm.Model():
        of = {"shape": p}
        b = pm.Laplace("b", 0.0, 0.5, **of) if p == 4 else pm.StudentT("b", nu=4.0, mu=0.0, sigma=1.0, **of)
        a, s = pm.Normal("a", 0.0, 1.0), pm.HalfNormal("s", 1.0)
        pm.Normal("y", a + X @ b, s, observed=y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            draws = pm.sample(
                3000, tune=1500, chains=4, cores=2, target_accept=0.95, random_seed=1, progressbar=False
            )
    values = {name: np.asarray(draws.posterior[name]).reshape(12_000, -1) for name in ("a", "b", "s")}
    B = np.concatenate([values["a"], values["b"]], axis=1)
    # Draws of a chain are worth a third of independent ones, at least.
    error = np.sqrt(B.var(axis=0) * (1.0 / 4000.0 + 1.0 / sample.effective_size))
    assert np.abs((posterior.mean - B.mean(axis=0)) / error).max() < Z
    assert_allclose(np.sqrt(np.diag(posterior.covariance)), B.std(axis=0), rtol=0.1)
    assert_same_noise(posterior, values["s"])


def assert_same_noise(posterior: Posterior, scales: Array) -> None:
    for share in (0.1, 0.5, 0.9):
        below = posterior.weights[posterior.noise_scale < np.quantile(scales, share)].sum()
        assert abs(below - share) < 0.05


@pytest.mark.thorough
@pytest.mark.parametrize("prior", [Laplace(), StudentT(nu=4)], ids=str)
def test_with_more_columns_than_rows_draws_of_nuts_agree(prior: CoefficientPrior) -> None:
    """The plain model has a funnel there, which costs its draws hundreds of divergences."""
    X, y = regression(20, 30, 1)
    problem = problem_of(Regressor(coef_prior=prior), X, y)
    posterior, sample = solve_regression(problem)
    assert not sample.doubts
    drawn = nuts.solve(problem, SamplerSettings(draws=2000, chains=4, nuts_kwargs={"tune": 1000}))
    sd = np.sqrt(np.diag(drawn.covariance))
    assert_allclose(posterior.mean, drawn.mean, atol=0.1 * sd.max())
    assert_allclose(np.sqrt(np.diag(posterior.covariance)), sd, rtol=0.1)
    assert_same_noise(posterior, drawn.noise_scale)


def test_noise_is_looked_for_from_the_least_to_all() -> None:
    X, y = regression(40, 3)
    y += 5.0 * X[:, 0]
    problem = problem_of(Regressor(coef_prior=Laplace()), X, y)
    scales = np.exp(np.asarray(noise_coordinates.noise_grid(RegressionDensity(problem)))[:, 0])
    design = np.column_stack([np.ones(40), X])
    left = y - design @ np.linalg.lstsq(design, y)[0]
    ends = [np.sqrt(np.mean(np.square(left))), y.std()]
    assert_allclose(scales[[0, -1]] * problem.noise_unit, ends, rtol=1e-6)
