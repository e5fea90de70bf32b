"""True features that are a mixture: density, posterior, predictions and fits, each against something else."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    HalfNormal,
    InverseGamma,
    Mixture,
    Normal,
    Outliers,
)
from bayes_sklearn.inference import solve
from bayes_sklearn.inference.importance import engine as importance
from bayes_sklearn.inference.importance.mixture_nodes import most_likely_number, solve_mixture
from bayes_sklearn.inference.importance.structural_nodes import solve_structural
from bayes_sklearn.inference.nuts import mixture as pymc_mixture
from bayes_sklearn.inference.nuts.mixture_data import mixture_data
from bayes_sklearn.inference.nuts.sampler import COMPILED
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.settings import SamplerSettings
from bayes_sklearn.inference.structural.mixture import COMPONENT_SCALE, SHARE_CONCENTRATION, MixtureProblem
from bayes_sklearn.inference.structural.model import MEAN_SCALE, StructuralProblem
from bayes_sklearn.inference.structural.true_covariance import SPREAD_DEGREES_OF_FREEDOM
from bayes_sklearn.inference.structural.wild import parameters_of
from bayes_sklearn.likelihoods.noise import NOISES, SCALED
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.feature_errors import resolve_feature_errors
from bayes_sklearn.priors import PoweredCorrelation

import plain

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A table whose noisy features lie in two clusters."""

    q: int = 1
    k: int = 0
    noise: Any = "scaled"
    n: int = 40
    n_components: int = 2
    with_target: bool = False
    fit_intercept: bool = True
    standardize: bool = True
    common: bool = False
    wild: bool = False
    log_noise: bool = False
    coef_prior: Any = None
    """None: Normal()."""

    def __str__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if value != getattr(Case, name)}
        return "-".join(f"{name}={value}" for name, value in shown.items()) or "plain"

    @cached_property
    def problem(self) -> Problem:
        rng = np.random.default_rng(7)
        n, q, p = self.n, self.q, self.q + self.k
        X = 0.4 * rng.normal(size=(n, p))
        X[:, :q] += np.where(rng.random(n) < 0.4, -1.0, 1.0)[:, None]
        X = 3.0 + 1.7 * X
        error = np.full((n, p), 0.3) if self.common else rng.uniform(0.2, 0.4, size=(n, p))
        error[:, q:] = 0.0
        measured = X + error * rng.normal(size=(n, p))
        y = X @ np.arange(1.0, p + 1.0) + 0.5 * rng.normal(size=n)
        y_err = rng.uniform(0.3, 0.6, size=n)
        errors = resolve_feature_errors(
            n,
            [f"x{j}" for j in range(p)],
            X_err=error,
            y_err=y_err,
            Xy_cov=np.append(np.full(q, 0.02), np.zeros(self.k)) if self.with_target else None,
        )
        problem = Problem.build(
            Rows(measured, y, None, None),
            y_err,
            noise=NOISES[self.noise],
            standardize=self.standardize,
            coef_prior=self.coef_prior or Normal(),
            intercept_prior=Normal() if self.fit_intercept else None,
            noise_prior=InverseGamma(3.0, 1.0) if self.log_noise else HalfNormal(),
            feature_errors=errors,
        )
        outliers = parameters_of(Outliers() if self.wild else None)
        return replace(problem, n_components=self.n_components, outliers=outliers)

    @cached_property
    def mixture(self) -> MixtureProblem:
        structural, outliers = importance.structural_problem(self.problem)[0], self.problem.outliers
        return MixtureProblem(structural, self.n_components, outliers=outliers)

    def point(self, seed: int = 0) -> Array:
        """A point at which every part matters."""
        rng = np.random.default_rng(seed)
        point = 0.5 * rng.normal(size=self.mixture.size)
        for name in ("s", "t"):
            columns = self.mixture.columns[name]
            point[columns] = rng.uniform(0.3, 1.0, size=columns.stop - columns.start)
        return point


# --- the density ---------------------------------------------------------------------------------


def by_hand(case: Case, point: Array) -> dict[str, Any]:
    """Take a point apart as the documentation says, one feature with error or two."""
    mixture, q, k, count = case.mixture, case.q, case.k, case.n_components
    part = {name: point[columns] for name, columns in mixture.columns.items()}
    t, zeta = part["t"].reshape(count, q), part["zeta"].reshape(count, -1)
    T = np.zeros((count, q, q))
    for c in range(count):
        correlation = np.eye(q)
        if q == 2:
            correlation[0, 1] = correlation[1, 0] = np.tanh(zeta[c, 0])
        T[c] = correlation * np.outer(t[c], t[c])
    share = np.exp(mixture.contrasts @ part["shares"])
    wild = (part["auxiliary"][0] ** 2, 2.0 + np.exp(part["auxiliary"][1])) if case.wild else (0.0, 1.0)
    return {
        "wild": (wild[0] / (1.0 + wild[0]), wild[1]),
        "m": part["m"],
        "s": abs(part["s"][0]) if len(part["s"]) else 1.0,
        "Gamma": part["slopes"].reshape(q, k),
        "mu": part["means"].reshape(count, q),
        "T": T,
        "share": share / share.sum(),
        "alpha": part["line"][0] if case.fit_intercept else None,
        "beta": part["line"][int(case.fit_intercept) :],
    }


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(k=2, noise="additive"),
        Case(k=1, noise="known", with_target=True, n_components=3),
        Case(with_target=True, fit_intercept=False),
        Case(common=True),
        Case(q=2, k=1),
        Case(q=2, noise="additive", with_target=True),
        Case(wild=True, n_components=1),
        Case(k=1, with_target=True, wild=True),
        Case(q=2, noise="additive", n_components=1, with_target=True, wild=True),
    ],
    ids=str,
)
def test_a_rows_density_is_the_integral_over_its_true_features(case: Case) -> None:
    mixture, data = case.mixture, case.mixture.data
    point = case.point()
    found = mixture.row_log_density(point[None])[0]
    given = by_hand(case, point)
    z0, w0, y0 = mixture.center
    row = 3
    z, w, y = data.z[row] - z0, data.w[row], data.y[row]
    U = np.broadcast_to(data.feature_covariance, (case.n, case.q, case.q))[row]
    multiple = given["s"] if case.noise == "scaled" else 1.0
    error = float(np.asarray(data.standard_error)[row])
    variance = {
        "scaled": (given["s"] * error) ** 2,
        "additive": given["s"] ** 2 + error**2,
        "known": error**2,
    }
    c = np.zeros(case.q)
    if data.cross_covariance is not None:
        c = multiple * np.broadcast_to(data.cross_covariance, (case.n, case.q))[row]

    def density(*x: float) -> float:
        true = np.array(x)
        belongs = sum(
            share * stats.multivariate_normal.pdf(true, w0 + mu + given["Gamma"] @ z, T)
            for share, mu, T in zip(given["share"], given["mu"], given["T"], strict=True)
        )
        if case.fit_intercept:
            line = y0 + given["alpha"] + given["beta"] @ z + given["m"] @ (true - w0)
        else:
            line = given["beta"] @ (z + z0) + given["m"] @ true
        share, factor = given["wild"]
        measured = 0.0
        for which in product((0, 1), repeat=case.q):
            D = np.diag(np.where(which, factor, 1.0))
            told = np.linalg.solve(D @ U @ D, D @ c)
            of_y = stats.norm.pdf(y, line + told @ (w - true), np.sqrt(variance[case.noise] - told @ D @ c))
            probability = np.prod(np.where(which, share, 1.0 - share))
            measured += probability * stats.multivariate_normal.pdf(w, true, D @ U @ D) * of_y
        return float(belongs * measured)

    reach = 9.0 * np.sqrt(np.diag(U)) * (2.0 if case.wild else 1.0)
    if case.q == 1:
        value, _ = integrate.quad(
            density, w[0] - reach[0], w[0] + reach[0], epsabs=0.0, epsrel=1e-9, limit=200
        )
        assert_allclose(found[row], np.log(value), rtol=1e-8)
    else:
        # The trapezoid rule: the integrand is smooth and falls to nothing.
        axes = [np.linspace(w[j] - reach[j], w[j] + reach[j], 121) for j in range(2)]
        values = np.array([[density(a, b) for b in axes[1]] for a in axes[0]])
        cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
        assert_allclose(found[row], np.log(values.sum() * cell), rtol=1e-7)


@pytest.mark.parametrize(
    "case", [Case(k=1), Case(n_components=3), Case(q=2), Case(n_components=1, wild=True)], ids=str
)
def test_the_prior_is_the_one_documented(case: Case) -> None:
    mixture, point = case.mixture, case.point()
    q, count = case.q, case.n_components
    given, part = by_hand(case, point), {name: point[c] for name, c in mixture.columns.items()}
    data = mixture.data
    intercept = mixture.center[2] + given["alpha"] - given["beta"] @ mixture.center[0]
    intercept -= given["m"] @ mixture.center[1]
    expected = data.slopes.log_density(given["m"][None])[0] + stats.halfnorm.logpdf(given["s"])
    expected += (
        stats.norm.logpdf(intercept)
        + stats.norm.logpdf(given["beta"], 0.0, 1.0 / np.diag(data.slopes.whiten[0])).sum()
    )
    expected += stats.norm.logpdf(given["Gamma"], 0.0, MEAN_SCALE).sum()
    # Means that differ from theirs by numbers that sum to zero.
    sum_to_zero = np.eye(count) - 1.0 / count
    covariance = MEAN_SCALE**2 + COMPONENT_SCALE**2 * sum_to_zero
    expected += stats.multivariate_normal.logpdf(given["mu"].T, np.zeros(count), covariance).sum()
    expected += (np.log(2.0) + stats.t.logpdf(part["t"], SPREAD_DEGREES_OF_FREEDOM)).sum()
    if q == 2:  # LKJ(1) of one correlation: uniform on (-1, 1)
        expected -= np.log(2.0) * part["zeta"].size
        expected += np.log(1.0 / np.cosh(part["zeta"]) ** 2).sum()
    if case.wild:
        share, factor = given["wild"]
        root, log_above = part["auxiliary"]
        expected += stats.beta(1.0, 10.0).logpdf(share) + np.log(2.0 * abs(root) / (1.0 + root**2) ** 2)
        expected += np.log(2.0) + stats.t(3.0, scale=6.0).logpdf(factor - 2.0) + log_above
    if count > 1:
        step = 1e-6
        shares = []
        for j in range(count - 1):
            for sign in (1.0, -1.0):
                moved = np.exp(mixture.contrasts @ (part["shares"] + sign * step * np.eye(count - 1)[j]))
                shares.append(moved / moved.sum())
        jacobian = [(shares[2 * j] - shares[2 * j + 1])[:-1] / (2.0 * step) for j in range(count - 1)]
        expected += stats.dirichlet.logpdf(given["share"], np.full(count, SHARE_CONCENTRATION))
        expected += np.linalg.slogdet(np.array(jacobian))[1]
    assert_allclose(mixture.log_prior(point[None])[0], expected, rtol=1e-8)


@pytest.mark.parametrize(
    "case", [Case(k=1, n_components=3), Case(q=2, with_target=True), Case(wild=True)], ids=str
)
def test_images_have_the_same_density(case: Case) -> None:
    mixture, point = case.mixture, case.point()
    images = mixture.images(mixture.signed, permuted=True)
    orders = {2: 2, 3: 6}[case.n_components]
    assert len(images) == 2 ** int(mixture.signed.sum()) * orders
    found = mixture.log_density(images @ point)
    assert_allclose(found, found[0], rtol=1e-10)
    assert len(np.unique(np.round(images @ point, 9), axis=0)) == len(images)
    assert_allclose(np.abs(np.linalg.det(images)), 1.0)


def test_scores_are_the_gradient() -> None:
    mixture, point = Case(k=1).mixture, Case(k=1).point()
    gradient, products = mixture.scores(point, np.full(mixture.size, 1e-4))
    step = 1e-5 * np.eye(mixture.size)
    up = [mixture.row_log_density((point + h)[None])[0] for h in step]
    down = [mixture.row_log_density((point - h)[None])[0] for h in step]
    scores = (np.array(up) - np.array(down)) / 2e-5
    assert_allclose(gradient, scores.sum(axis=1), rtol=1e-4, atol=1e-4)
    assert_allclose(products, scores @ scores.T, rtol=1e-4, atol=1e-3)


# --- the posterior -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [Case(common=True), Case(k=1, n=100), Case(q=2, k=1, n=100), Case(noise="additive")], ids=str
)
def test_one_component_is_the_normal_distribution(case: Case) -> None:
    data, _ = importance.structural_problem(case.problem)
    one, normal = solve_mixture(MixtureProblem(data, 1)), solve_structural(data)
    error = np.sqrt(1.0 / one.effective_size + 1.0 / normal.sample.effective_size)
    assert_allclose(one.log_total, normal.sample.log_total, atol=5.0 * error)
    for j in range(case.q):
        mean, sd = normal.sample.weights @ normal.m[:, j], normal.m[:, j].std()
        assert_allclose(one.weights @ one.points[:, j], mean, atol=5.0 * error * sd)


def test_nodes_do_not_depend_on_how_rows_are_written() -> None:
    case = Case(n=60)
    problem, rows = case.problem, case.problem.rows
    errors = problem.feature_errors
    assert errors is not None
    twice = np.repeat(np.arange(60), 2)
    repeated = replace(
        problem,
        rows=Rows(rows.X[twice], rows.y[twice], None, None),
        standard_error=np.asarray(problem.standard_error)[twice],
        feature_errors=replace(errors, covariance=errors.covariance[twice]),
    )
    frequency = np.append(np.full(60, 2.0), 0.0)
    more = np.append(np.arange(60), 0)
    weighted = replace(
        problem,
        rows=Rows(rows.X[more], rows.y[more], None, frequency),
        standard_error=np.asarray(problem.standard_error)[more],
        feature_errors=replace(errors, covariance=errors.covariance[more]),
    )
    found = [
        solve_mixture(MixtureProblem(importance.structural_problem(one)[0], 2))
        for one in (repeated, weighted)
    ]
    assert_allclose(found[0].log_total, found[1].log_total, rtol=1e-8)
    assert_allclose(found[0].points, found[1].points, rtol=1e-3, atol=1e-4)


def clustered(n: int, seed: int, kind: str = "two", sd: float = 0.6) -> tuple[Array, Array, Array]:
    """Return true features, measured ones, and the target: y = 1 + 2 x."""
    rng = np.random.default_rng(seed)
    x = {
        "normal": lambda: rng.normal(size=n),
        "two": lambda: np.where(rng.random(n) < 0.4, -1.5, 1.0) + 0.3 * rng.normal(size=n),
        "skewed": lambda: 0.6 * rng.exponential(size=n) ** 1.5,
    }[kind]()
    return x, x + sd * rng.normal(size=n), 1.0 + 2.0 * x + 0.3 * rng.normal(size=n)


def structural(kind: str, n: int = 500) -> StructuralProblem:
    _, w, y = clustered(n, 3, kind)
    errors = resolve_feature_errors(n, ["x"], X_err=0.6)
    problem = Problem.build(
        Rows(w[:, None], y, None, None),
        None,
        noise=SCALED,
        standardize=True,
        coef_prior=Normal(),
        intercept_prior=Normal(),
        noise_prior=HalfNormal(),
        feature_errors=errors,
    )
    return importance.structural_problem(problem)[0]


@pytest.mark.parametrize(("kind", "expected"), [("normal", {1}), ("two", {2}), ("skewed", {2, 3, 4})])
def test_the_number_of_components_is_found(kind: str, expected: set[int]) -> None:
    assert most_likely_number(MixtureProblem(structural(kind), 1)) in expected


def test_the_marginal_likelihood_decides() -> None:
    """By importance sampling, as Laplace's approximation has it."""
    data = structural("two")
    found = [solve_mixture(MixtureProblem(data, count)) for count in (1, 2)]
    assert all(one.effective_size > 400.0 for one in found)
    assert found[1].log_total > found[0].log_total + 20.0


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(k=1, noise="additive", n_components=3, with_target=True),
        Case(q=2, k=1, with_target=True, fit_intercept=False),
        Case(q=2, noise="known", standardize=False, common=True),
        Case(k=1, log_noise=True),
        Case(k=2, noise="auto", coef_prior=PoweredCorrelation()),
        Case(q=2, k=1, noise="auto", coef_prior=PoweredCorrelation(1.3, 0.5), fit_intercept=False),
        Case(q=2, k=1, coef_prior=Normal(0.2, HalfNormal())),
        Case(n_components=1, wild=True),
        Case(q=2, k=1, noise="auto", n_components=2, with_target=True, wild=True),
    ],
    ids=str,
)
def test_the_sampler_has_the_density(case: Case) -> None:
    """But for a constant, and with it the map from its coordinates."""
    problem, data = case.problem, mixture_data(case.problem, 0)
    model = pymc_mixture.sampler_model(problem, data.arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log_density = model.compile_fn(model.logp(jacobian=False), mode="FAST_COMPILE")
    rng, found = np.random.default_rng(1), []
    for _ in range(4):
        u = 0.7 * rng.normal(size=np.size(data.arrays["location"]))
        points = (data.arrays["location"] + data.arrays["root"] @ u)[None]
        volume, of_wild = 0.0, data.mixture.columns["auxiliary"]
        if case.wild:  # log odds stand for their roots
            odds = points[0, of_wild][0]
            points[0, of_wild.start] = np.exp(0.5 * odds)
            volume += 0.5 * odds - np.log(2.0)
        if case.log_noise or case.noise == "auto":
            scale = data.mixture.columns["s"]
            volume += points[0, scale][0]
            points[:, scale] = np.exp(points[:, scale])
        if isinstance(problem.coef_prior.scale_prior, HalfNormal):  # above one it stands for itself
            scale = data.mixture.columns["tau"]
            c, tau = points[0, scale][0], np.logaddexp(0.0, points[0, scale][0])
            volume += -np.logaddexp(0.0, -c) - np.log(tau)
            points[:, scale] = np.log(tau)
        found.append(float(log_density({"u": u})) - data.mixture.log_density(points)[0] - volume)
    assert_allclose(found, found[0], rtol=0.0, atol=1e-8)


@pytest.mark.thorough
def test_importance_sampling_and_nuts_agree() -> None:
    """At z < 5, the draws of NUTS counted as a third of their number; one compiled model serves other data."""
    case = Case(k=1, n=200)
    settings = SamplerSettings(draws=1500, seed=1)
    weighted = solve(case.problem, "importance", settings)
    draws = solve(case.problem, "nuts", settings)
    compiled = len(COMPILED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        solve(Case(k=1, n=90).problem, "nuts", SamplerSettings(draws=50))
    assert len(COMPILED) == compiled
    assert draws.chains is not None
    assert draws.chains.n_divergent < 5
    true, sampled = weighted.true_features, draws.true_features
    assert true is not None
    assert sampled is not None
    independent = 1.0 / np.square(weighted.weights).sum()
    p = case.q + case.k
    pairs = [(weighted.location[:, j], draws.location[:, j]) for j in range(p + 1)]
    pairs += [(weighted.noise_scale, draws.noise_scale)]
    pairs += [(true.variance[:, j, j], sampled.variance[:, j, j]) for j in range(case.q)]
    for ours, theirs in pairs:
        for power in (1, 2):
            a, b = ours, theirs
            if power == 2:
                a, b = np.square(ours - weighted.weights @ ours), np.square(theirs - theirs.mean())
            variance = weighted.weights @ np.square(a - weighted.weights @ a)
            error = np.sqrt(variance / independent + b.var() / (len(b) / 3.0))
            assert abs(weighted.weights @ a - b.mean()) < 5.0 * error


@pytest.mark.thorough
def test_the_readable_model_is_the_same_posterior() -> None:
    """NUTS of PyMC's own on the model with latent true features, as `to_pymc` writes it."""
    import nutpie

    _, w, y = clustered(80, 5)
    model = plain.Regressor(x_distribution=Mixture(2), random_state=0)
    model.fit(w[:, None], y, X_err=0.6)
    assert model.inference_ == "importance"
    written = model.to_pymc(w[:, None], y, X_err=0.6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = nutpie.compile_pymc_model(written)
        trace = nutpie.sample(compiled, draws=2000, tune=1500, chains=4, seed=3, progress_bar=False)
    for name, mean, sd in (
        ("coef", model.coef_[0], model.coef_std_[0]),
        ("intercept", model.intercept_, None),
        ("sigma", model.noise_scale_, None),
    ):
        draws = np.asarray(trace.posterior[name]).reshape(4, -1)
        between = draws.mean(axis=1).std(ddof=1) / 2.0
        error = 5.0 * max(float(between), float(draws.std()) / np.sqrt(400.0))
        assert_allclose(mean, draws.mean(), atol=error)
        if sd is not None:
            assert_allclose(sd, draws.std(), rtol=0.15)


# --- the estimator -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted() -> tuple[BayesianErrorsInVariablesRegressor, BayesianErrorsInVariablesRegressor]:
    _, w, y = clustered(400, 1)
    mixture = plain.Regressor(x_distribution="mixture", random_state=0)
    normal = plain.Regressor(random_state=0)
    return mixture.fit(w[:, None], y, X_err=0.6), normal.fit(w[:, None], y, X_err=0.6)


def test_fitted_attributes(fitted: Any) -> None:
    mixture, normal = fitted
    assert mixture.n_components_ == 2
    assert normal.n_components_ == 1
    assert mixture.inference_ == "importance"
    assert abs(mixture.coef_[0] - 2.0) < 4.0 * mixture.coef_std_[0]
    assert_allclose(mixture.reliability_, normal.reliability_, atol=0.05)
    exact = clone(normal).fit(np.arange(8.0)[:, None], np.arange(8.0) + np.resize([0.3, -0.3], 8))
    assert not hasattr(exact, "n_components_")


def test_one_component_is_the_default() -> None:
    _, w, y = clustered(60, 2)
    fits = [
        plain.Regressor(x_distribution=how, random_state=0).fit(w[:, None], y, X_err=0.6)
        for how in ("normal", Mixture(1))
    ]
    new = np.linspace(-2.0, 2.0, 5)[:, None]
    for a, b in zip(*(fit.predict(new, return_std=True, X_err=0.6) for fit in fits), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.thorough
def test_clusters_help_to_predict_from_noisy_features(fitted: Any) -> None:
    _, w, y = clustered(2000, 11)
    scores = {}
    for name, model in zip(("mixture", "normal"), fitted, strict=True):
        predicted = model.predict_distribution(w[:, None], X_err=0.6)
        lower, upper = predicted.interval(0.95)
        scores[name] = (
            np.sqrt(np.square(predicted.mean() - y).mean()),
            predicted.logpdf(y).mean(),
            np.mean((lower <= y) & (y <= upper)),
        )
    assert scores["mixture"][0] < 0.9 * scores["normal"][0]
    assert scores["mixture"][1] > scores["normal"][1] + 0.2
    # Of 2,000 at 95%: 1.8% are almost four standard deviations.
    assert abs(scores["mixture"][2] - 0.95) < 0.018


def test_predictions_are_integrals_over_the_true_feature(fitted: Any) -> None:
    """Node by node, by quadrature of the density that is proportional to prior times error."""
    model = fitted[0]
    posterior = model._fitted.posterior
    true = posterior.true_features
    some = np.linspace(0, len(posterior.weights) - 1, 5).astype(int)
    value, error = 0.3, 0.8
    line = true.line(np.array([[value]]), np.array([[[error**2]]]))
    x = np.linspace(-12.0, 12.0, 20001)
    for node in some:
        unit, center = true.x_scale[0], true.x_mean[0]
        prior = sum(
            np.exp(true.log_shares[node, c])
            * stats.norm.pdf(
                (x - center) / unit, true.means[node, c, 0], np.sqrt(true.covariances[node, c, 0, 0])
            )
            for c in range(2)
        )
        weight = prior * stats.norm.pdf(value, x, error)
        weight /= weight.sum()
        y = true.y_mean + true.y_scale * (
            true.line_at_zero[node, 0] + true.coef[node, 0] * (x - center) / unit
        )
        mean = weight @ y
        assert_allclose(line.mean[0, node], mean, rtol=1e-8)
        assert_allclose(line.feature_error[0, node], weight @ np.square(y - mean), rtol=1e-7)
        noise = 0.2
        density = weight @ stats.norm.pdf(1.5, y, np.sqrt(noise))
        own = slice(2 * node, 2 * node + 2)
        weights, means, variances = (part[0, own] for part in line.components)
        found = weights @ stats.norm.pdf(1.5, means, np.sqrt(variances + noise))
        assert_allclose(found, density, rtol=1e-7)


def test_several_features_predict_as_by_dense_algebra() -> None:
    case = Case(q=2, k=1, n=100)
    posterior = solve(case.problem, "importance", SamplerSettings())
    true: Any = posterior.true_features
    rng = np.random.default_rng(0)
    X, root = 3.0 + rng.normal(size=(3, 3)), rng.normal(size=(3, 2, 2))
    U = root @ root.transpose(0, 2, 1)
    line = true.line(X, U)
    components = line.components
    measured = (X - true.x_mean) / true.x_scale
    for row in range(3):
        inner = U[row] / np.outer(true.x_scale[:2], true.x_scale[:2])
        for node in (0, 17):
            belongs, means, variances = [], [], []
            for c in range(2):
                T = true.covariances[node, c]
                expected = true.means[node, c] + true.slopes[node] @ measured[row, 2:]
                gain = T @ np.linalg.inv(T + inner)
                x = expected + gain @ (measured[row, :2] - expected)
                belongs.append(
                    np.exp(true.log_shares[node, c])
                    * stats.multivariate_normal.pdf(measured[row, :2], expected, T + inner)
                )
                means.append(true.line_at_zero[node] @ [1.0, measured[row, 2]] + true.coef[node] @ x)
                variances.append(true.coef[node] @ (T - gain @ T) @ true.coef[node])
            here = slice(2 * node, 2 * node + 2)
            assert_allclose(components.weights[row, here], np.array(belongs) / np.sum(belongs), rtol=1e-9)
            assert_allclose(components.mean[row, here], true.y_mean + true.y_scale * np.array(means))
            assert_allclose(components.variance[row, here], true.y_scale**2 * np.array(variances))


def test_draws_and_moments_are_of_one_distribution(fitted: Any) -> None:
    predicted = fitted[0].predict_distribution([[-0.2], [0.1], [2.0]], X_err=[[0.6], [0.9], [0.1]])
    draws = predicted.sample(40_000, random_state=1)
    error = 5.0 * predicted.std() / 200.0
    assert (np.abs(draws.mean(axis=1) - predicted.mean()) < error).all()
    assert_allclose(draws.var(axis=1), predicted.var(), rtol=0.06)
    for q in (0.05, 0.5, 0.9):
        assert_allclose(
            (draws < predicted.ppf(q)[:, None]).mean(axis=1), q, atol=5.0 * np.sqrt(q * (1 - q) / 4e4)
        )
    assert_allclose(predicted.cdf(predicted.ppf(0.3)), 0.3, atol=1e-9)
    assert_allclose(sum(predicted.variance_parts.values()), predicted.var())
    together = predicted.covariance()
    assert_allclose(np.diag(together), predicted.var())
    assert_allclose(
        together[0, 1], np.cov(draws)[0, 1], atol=5.0 * predicted.std()[0] * predicted.std()[1] / 200.0
    )
    value = np.array([0.0, 1.0, 5.0])
    distance = np.abs(draws - value[:, None]).mean(axis=1) - 0.5 * np.abs(
        draws[:, :20_000] - draws[:, 20_000:]
    ).mean(axis=1)
    assert_allclose(predicted.crps(value), distance, atol=0.03)


def test_exact_new_features_are_read_from_the_line(fitted: Any) -> None:
    model = fitted[0]
    new = np.array([[-1.0], [0.5]])
    assert_allclose(model.predict(new, X_err=0.0), model.intercept_ + new @ model.coef_, rtol=1e-10)
    near = model.predict(new, return_std=True, X_err=1e-7)
    for a, b in zip(near, model.predict(new, return_std=True, X_err=0.0), strict=True):
        assert_allclose(a, b, rtol=1e-6)


def test_arviz_has_the_marginal_likelihood(fitted: Any) -> None:
    model = fitted[0]
    _, w, y = clustered(6, 21)
    data = model.to_arviz(w[:, None], y, X_err=0.6)
    found = np.asarray(data.log_likelihood["y"]).mean(axis=(0, 1))
    whole = model.predict_distribution(w[:, None], X_err=0.6).logpdf(y)
    # The mean of logs is below the log of the mean, by little.
    assert (found < whole).all()
    assert_allclose(found, whole, atol=0.1)
    draws = np.asarray(data.posterior_predictive["y"]).reshape(-1, 6)
    assert_allclose(draws.mean(axis=0), model.predict(w[:, None], X_err=0.6), atol=0.1)


def test_the_number_can_be_searched() -> None:
    _, w, y = clustered(150, 4)
    model = plain.Regressor(x_distribution=Mixture(), error_columns={0: 1}, random_state=0)
    X = np.column_stack([w, np.full(150, 0.6)])
    search = GridSearchCV(model, {"x_distribution__n_components": [1, 2]}, cv=3).fit(X, y)
    assert search.best_params_ == {"x_distribution__n_components": 2}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("gaussian", ValueError),
        (3, TypeError),
        (None, TypeError),
        (Mixture, TypeError),
        (Mixture(0), ValueError),
        (Mixture(1.5), ValueError),
        (Mixture(True), ValueError),
    ],
    ids=["name", "number", "none", "class", "zero", "fraction", "bool"],
)
def test_bad_distributions_are_named(value: Any, error: type[Exception]) -> None:
    model = plain.Regressor(x_distribution=value)
    with pytest.raises(error, match="x_distribution"):
        model.fit(np.arange(8.0)[:, None], np.arange(8.0), X_err=0.3)
    assert not hasattr(model, "coef_")


@pytest.mark.thorough
def test_slopes_of_a_skewed_feature_are_covered() -> None:
    """Of 60 intervals of 90%, fewer than 46 or all of them come up in one of 1,500 series."""
    covered, slopes = 0, []
    for seed in range(60):
        _, w, y = clustered(200, 100 + seed, "skewed", sd=0.5)
        model = plain.Regressor(x_distribution=Mixture(3), inference="importance")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(w[:, None], y, X_err=0.5)
        lower, upper = model.summary(0.9).loc["x0", ["lower_90%", "upper_90%"]]
        covered += lower <= 2.0 <= upper
        slopes.append(model.coef_[0])
    assert 46 <= covered <= 60
    assert abs(np.mean(slopes) - 2.0) < 5.0 * np.std(slopes) / np.sqrt(60.0)
