"""NUTS for other likelihoods than the normal one: densities at given points, and draws beside importance sampling."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn import BayesianErrorsInVariablesRegressor, metrics
from bayes_sklearn.inference import choose
from bayes_sklearn.inference._compat import diagnostics
from bayes_sklearn.inference.importance import engine as importance
from bayes_sklearn.inference.numerics import importance_sampling
from bayes_sklearn.inference.nuts import engine as nuts
from bayes_sklearn.inference.nuts import rows as pymc_likelihoods
from bayes_sklearn.inference.nuts.formulation import Draws, structure
from bayes_sklearn.inference.nuts.mixture import sampler_model
from bayes_sklearn.inference.nuts.mixture_data import mixture_data
from bayes_sklearn.inference.nuts.rows import likelihood_data
from bayes_sklearn.inference.nuts.sampler import COMPILED
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.readable.model import readable_model
from bayes_sklearn.inference.settings import SamplerSettings
from bayes_sklearn.inference.structural.model import MEAN_SCALE
from bayes_sklearn.inference.structural.true_covariance import SPREAD_DEGREES_OF_FREEDOM, SPREAD_SCALE
from bayes_sklearn.inference.structural.wild import parameters_of
from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BetaLikelihood,
    BinomialLikelihood,
    Likelihood,
    NegativeBinomialLikelihood,
    NormalLikelihood,
    Observations,
    PoissonLikelihood,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.noise import KNOWN, NOISES, SCALED
from bayes_sklearn.likelihoods.special_functions import log_product_graph, log_rising, rising_derivatives
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.feature_errors import FeatureErrors
from bayes_sklearn.priors import (
    Beta,
    CoefficientPrior,
    Exponential,
    Flat,
    Gamma,
    HalfNormal,
    Horseshoe,
    InverseGamma,
    Laplace,
    Normal,
    Outliers,
    StudentT,
)

import plain

Array = NDArray[np.float64]

# A set of draws that is right fails a comparison once in 1.7 million.
Z_BOUND = 5.0

LIKELIHOODS: dict[str, Likelihood] = {
    "t": StudentTLikelihood(),
    "t, above 1": StudentTLikelihood(nu=Exponential(0.2), lower=1.0),
    "t, fixed": StudentTLikelihood(nu=4),
    "binomial": BinomialLikelihood(),
    "beta-binomial": BetaBinomialLikelihood(),
    "beta-binomial, beta(2, 5)": BetaBinomialLikelihood(Beta(2.0, 5.0)),
    "normal": NormalLikelihood(),
    "beta": BetaLikelihood(),
    "poisson": PoissonLikelihood(),
    "negative binomial": NegativeBinomialLikelihood(),
}
COEF_PRIORS: dict[str, Callable[[int], CoefficientPrior]] = {
    "normal": lambda p: Normal(),
    "flat": lambda p: Flat(),
    "laplace": lambda p: Laplace(mu=np.linspace(-0.2, 0.2, p), b=np.geomspace(0.3, 2.0, p)),
    "student-t": lambda p: StudentT(nu=4.0, sigma=np.geomspace(0.3, 2.0, p)),
    "horseshoe": lambda p: Horseshoe(n_nonzero=0.3 * p, slab_sigma=1.4, slab_nu=5.0),
}


@dataclass(frozen=True)
class Case:
    """A data set and a model for it."""

    likelihood: str = "t"
    noise: Any = "scaled"
    coef: str = "normal"
    intercept: bool = True
    scale: str = "half-normal"
    weights: str = "none"
    standardize: bool = True
    n: int = 50
    p: int = 3
    rounded: bool = False
    """Whether shares are, so that counts are not whole."""
    q: int = 0
    """How many features have errors, the last ones."""
    common: bool = False
    """Whether all rows have the same errors."""
    components: int = 1
    with_target: bool = False
    """Whether errors of features go with the target's."""
    wild: bool = False
    """Whether readings of features may be wild."""
    limits: tuple[float, float] | None = None
    """Between which targets lie of rows that were selected."""

    def __str__(self) -> str:
        default = Case()
        changes = [
            f"{k}={v}" for k, v in vars(self).items() if k != "likelihood" and v != getattr(default, k)
        ]
        return " ".join([self.likelihood, *changes])

    @property
    def of_shares(self) -> bool:
        return self.likelihood.startswith(("binomial", "beta-binomial"))

    @cached_property
    def problem(self) -> Problem:
        n, p, q = self.n, self.p, self.q
        rng = np.random.default_rng([n, p, q, self.of_shares])
        X = rng.normal(size=(n, p)) * np.geomspace(0.5, 2.0, p) + 0.5 * rng.normal(size=(n, 1)) + 0.5
        if self.components > 1:
            X[:, p - q :] += 4.0 * (np.arange(n) % 3 > 0)[:, None]
        eta = X @ (np.array([0.8, -0.5, 0.0])[np.arange(p) % 3]) - 0.4
        frequency = {
            "none": None,
            "whole": rng.integers(0, 3, n).astype(float),
            "fractional": np.where(rng.random(n) < 0.2, 0.0, rng.uniform(0.2, 3.0, n)),
        }[self.weights]
        y_err, trials = rng.uniform(0.2, 0.8, n), None
        if self.of_shares:
            trials = rng.integers(1, 60, n).astype(float)
            share = 1.0 / (1.0 + np.exp(-eta))
            if self.likelihood != "binomial":
                share = rng.beta(12.0 * share, 12.0 * (1.0 - share))
            y = rng.binomial(trials.astype(int), share) / trials
            y = np.round(y, 2) if self.rounded else y
        elif self.likelihood == "beta":
            y = rng.beta(12.0 / (1.0 + np.exp(-eta)), 12.0 / (1.0 + np.exp(eta)))
        elif LIKELIHOODS[self.likelihood].counted:
            trials = rng.uniform(0.1, 30.0, n)
            y = rng.poisson(trials * np.exp(eta) * rng.gamma(2.0, 0.5, n)) / trials
        else:
            y = eta + y_err * rng.standard_t(4.0, n)
        if self.limits is not None:
            y = np.clip(y, self.limits[0] + 0.1, self.limits[1])
        errors = None
        if q:
            sd = rng.uniform(0.2, 0.7, (1 if self.common else n, q))
            U = 0.3 * sd[:, :, None] * sd[:, None, :] + 0.7 * np.square(sd)[:, :, None] * np.eye(q)
            X[:, p - q :] += np.einsum("nij,nj->ni", np.linalg.cholesky(U), rng.normal(size=(n, q)))
            c = 0.4 * y_err[:, None] * sd if self.with_target else None
            errors = FeatureErrors(np.arange(p - q, p), U[0] if self.common else U, c)
        likelihood = LIKELIHOODS[self.likelihood]
        problem = Problem.build(
            Rows(X, y, None, frequency),
            y_err if LIKELIHOODS[self.likelihood].has_noise_scale else None,
            noise=NOISES[self.noise],
            standardize=self.standardize,
            coef_prior=COEF_PRIORS[self.coef](p),
            intercept_prior=Normal(0.2, 1.5) if self.intercept else None,
            noise_prior={"half-normal": HalfNormal(), "inverse-gamma": InverseGamma(2.0, 0.5)}[self.scale],
            likelihood=likelihood,
            trials=trials,
            feature_errors=errors,
        )
        outliers = parameters_of(Outliers() if self.wild else None)
        problem = replace(problem, n_components=self.components, outliers=outliers)
        return problem if self.limits is None else problem.selected(self.limits)

    @property
    def frequency(self) -> Array:
        frequency = self.problem.rows.frequency
        return np.ones(self.n) if frequency is None else frequency


def compiled(model: Any, outputs: list[Any]) -> Callable[[Mapping[str, Any]], list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        density = model.compile_fn(
            model.replace_rvs_by_values(outputs),
            inputs=model.value_vars,
            mode="FAST_COMPILE",
            on_unused_input="ignore",
        )
    names = {variable.name for variable in model.value_vars}
    return lambda point: density({k: v for k, v in point.items() if k in names})


def volume(function: Callable[[Array], Array], u: Array) -> float:
    """Log determinant of a function's derivatives, by differences."""
    step = 1e-5 * np.eye(len(u))
    return float(np.linalg.slogdet([(function(u + h) - function(u - h)) / 2e-5 for h in step])[1])


def log_prior(case: Case, B: Array, values: Mapping[str, float], sd: Array | None = None) -> float:
    """Log density of coefficients, intercept first, and of the likelihood's parameters, in the model's units."""
    problem = case.problem
    total = 0.0
    if case.intercept:
        total += stats.norm(0.2, 1.5).logpdf(B[0])
    coef = B[int(case.intercept) :]
    if sd is not None:
        total += stats.norm(0.0, sd).logpdf(coef).sum()
    else:
        parameters = problem.coef_prior.check("coef_prior", len(coef))
        total += problem.coef_prior.coefficient_log_density(coef, parameters).sum()
    for parameter in problem.auxiliary:
        above = np.asarray(values[parameter.name] - parameter.coordinate.lower)
        total += float(parameter.prior.log_density(above))
    return float(total)


def log_likelihood(case: Case, eta: Array, values: Mapping[str, Any], data: Observations) -> float:
    free = {name: np.asarray(value) for name, value in values.items()}
    return float(case.problem.likelihood.log_density(eta, free, data) @ case.frequency)


def line(case: Case, B: Array) -> Array:
    design = np.concatenate([block for _, block in case.problem.design_blocks()])
    return design @ B


# --- densities -----------------------------------------------------------------------------------

DENSITIES = [
    Case(),
    Case("t, above 1", "additive", weights="fractional", coef="laplace"),
    Case("t, fixed", "known", standardize=False),
    Case("t, fixed", "additive", scale="inverse-gamma"),
    Case("t, fixed", "scaled", intercept=False, weights="whole"),
    Case("t", "scaled", "flat", n=200),
    Case("t", "scaled", n=12, p=10),
    Case("t", "scaled", "horseshoe", p=6),
    Case("t, fixed", "additive", "horseshoe", weights="whole"),
    Case("t, fixed", "known", "horseshoe", intercept=False),
    Case("binomial"),
    Case("binomial", coef="student-t", rounded=True, intercept=False, standardize=False),
    Case("binomial", coef="horseshoe", weights="fractional"),
    Case("beta-binomial", weights="fractional"),
    Case("beta-binomial, beta(2, 5)", coef="flat", rounded=True),
    Case("beta-binomial", coef="horseshoe", n=80, p=5),
    Case("beta", weights="fractional"),
    Case("poisson", weights="fractional"),
    Case("poisson", coef="horseshoe", intercept=False),
    Case("negative binomial", coef="laplace"),
    Case("negative binomial", coef="horseshoe", weights="whole"),
]


@pytest.mark.parametrize("case", DENSITIES, ids=str)
def test_sampled_density_is_likelihood_times_priors(case: Case) -> None:
    """Jacobians of all coordinates included; up to a constant."""
    problem = case.problem
    model = pymc_likelihoods.sampler_model(problem, likelihood_data(problem))
    names = ["log_density", *(variable.name for variable in model.deterministics)]
    outputs = compiled(model, [model.logp(jacobian=False), *model.deterministics])

    def evaluate(u: Array) -> dict[str, Any]:
        return dict(zip(names, outputs({"u": u}), strict=True))

    scales = ("local_scale", "global_scale", "slab_variance")
    auxiliary = [parameter.name for parameter in problem.auxiliary]

    def natural(u: Array) -> Array:
        found = evaluate(u)
        kept = [name for name in ("B", *auxiliary, *scales) if name in found]
        return np.concatenate([np.ravel(found[name]) for name in kept])

    rng = np.random.default_rng(3)
    differences = []
    size = int(model["u"].type.shape[0])
    for width in (0.5, 0.5, 0.5, 1.0, 1.0, 1.5):
        u = width * rng.normal(size=size)
        found = evaluate(u)
        values = {name: found[name] for name in auxiliary}
        B = np.ravel(found["B"])
        expected = log_likelihood(case, line(case, B), values, problem.observations())
        sd = None
        if case.coef == "horseshoe":
            lam, tau, c2 = (np.asarray(found[name]) for name in scales)
            sd = tau * lam / np.sqrt(1.0 + (tau * lam) ** 2 / c2)
            tau_0 = 0.3 / 0.7 * unit_by_hand(case, values)
            expected += stats.halfcauchy().logpdf(lam).sum() + stats.halfcauchy(scale=tau_0).logpdf(tau)
            expected += stats.invgamma(2.5, scale=2.5 * 1.4**2).logpdf(c2)
        expected += log_prior(case, B, values, sd)
        differences.append(float(found["log_density"]) - expected - volume(natural, u))
    assert_allclose(differences, differences[0], rtol=0.0, atol=2e-5)


def unit_by_hand(case: Case, values: Mapping[str, Any]) -> float:
    """One over the root of the rows' information of a constant line."""
    problem, f = case.problem, case.frequency
    data = problem.observations()
    if case.likelihood.startswith("t"):
        nu = values.get("nu", 4.0)
        e, s = data.standard_error, values.get("noise_scale", 1.0)
        variance = {"scaled": s**2 * e**2, "additive": s**2 + e**2, "known": e**2}[case.noise]
        return float((f / variance * (nu + 1.0) / (nu + 3.0)).sum() ** -0.5)
    if case.likelihood == "normal":
        variance = problem.noise.variance(values, problem.typical_error)
        return float(np.sqrt(variance / f.sum()))
    n = np.asarray(data.trials)
    if problem.likelihood.per == "exposure":
        mean = n * (f @ (n * data.y) + 0.5) / (f @ n)
        return float((f * mean / (1.0 + mean * values.get("dispersion", 0.0))).sum() ** -0.5)
    pooled = (f @ (n * data.y) + 0.5) / (f @ n + 1.0)
    correlated = 1.0 + (n - 1.0) * values.get("dispersion", 0.0)
    return float((f * n / correlated * pooled * (1.0 - pooled)).sum() ** -0.5)


@pytest.mark.parametrize("case", [case for case in DENSITIES if not case.rounded], ids=str)
def test_readable_density_is_likelihood_times_priors(case: Case) -> None:
    """Constants included."""
    problem, p = case.problem, case.p
    model = readable_model(problem, [f"x{j}" for j in range(p)], range(case.n))
    outputs = compiled(model, [model.logp(jacobian=False)])
    suffix = "" if problem.scaling.is_identity else "_standardized"
    rng = np.random.default_rng(4)
    free = {variable.name for variable in model.free_RVs}
    for _ in range(3):
        B = rng.normal(size=p + case.intercept)
        values = {"noise_scale": 0.7, "nu": 5.5, "dispersion": 0.13}
        lower = getattr(problem.likelihood, "lower", 0.0)
        point: dict[str, Any] = {
            f"coef{suffix}": B[int(case.intercept) :],
            f"intercept{suffix}": B[0],
            "nu_above_log__": np.log(values["nu"] - lower),
            "dispersion_log__": np.log(values["dispersion"]),
            "dispersion_logodds__": np.log(values["dispersion"] / (1.0 - values["dispersion"])),
            "sigma_log__": np.log(values["noise_scale"]),
            f"sigma{suffix}_log__": np.log(values["noise_scale"]),
        }
        known = {parameter.name: values[parameter.name] for parameter in problem.auxiliary}
        sd, expected = None, 0.0
        if case.coef == "horseshoe":
            lam, (tau, c2) = np.exp(rng.normal(size=p)), np.exp(rng.normal(size=2))
            sd = tau * lam / np.sqrt(1.0 + (tau * lam) ** 2 / c2)
            tau_0 = 0.3 / 0.7 * unit_by_hand(case, known)
            expected += stats.halfcauchy().logpdf(lam).sum() + stats.halfcauchy(scale=tau_0).logpdf(tau)
            expected += stats.invgamma(2.5, scale=2.5 * 1.4**2).logpdf(c2) + np.log(sd).sum()
            named = {"local_scale_log__": lam, "global_scale_log__": tau, "slab_variance_log__": c2}
            point |= {f"coef{suffix}_{name}": np.log(value) for name, value in named.items()}
            point[f"coef{suffix}_unscaled"] = B[int(case.intercept) :] / sd
        of_target = -case.frequency.sum() * np.log(problem.scaling.y_scale)
        expected += log_likelihood(case, line(case, B), known, problem.observations()) + of_target
        expected += log_prior(case, B, known, sd)
        assert_allclose(outputs(point)[0], expected, rtol=1e-9, atol=1e-5)
    assert ("nu_above" in free) == (case.likelihood in ("t", "t, above 1"))
    assert ("dispersion" in free) == (case.likelihood.startswith(("beta", "negative")))


def test_readable_counts_of_rounded_shares_are_whole() -> None:
    case = Case("binomial", rounded=True)
    model = readable_model(case.problem, list("abc"), range(case.n))
    trials = case.problem.trials
    assert trials is not None
    observed = model.rvs_to_values[model["y"]].data
    assert observed.dtype.kind == "i"
    assert_allclose(observed, np.rint(case.problem.rows.y * trials))


def test_ratios_of_gamma_functions_in_pytensor_keep_their_digits() -> None:
    import pytensor
    import pytensor.tensor as pt

    q, m = pt.dvectors("q", "m")
    value = log_product_graph(pt.ones_like(q), q, m)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function = pytensor.function([q, m], [value, pt.grad(value.sum(), q)], mode="FAST_COMPILE")
    Q, M = np.meshgrid([1e-20, 1e-12, 1e-6, 1e-3, 0.1, 0.3, 7.0, 1e3, 1e10], [0.0, 0.3, 1.0, 2.7, 40.0, 1e4])
    Q, M = Q.ravel(), M.ravel()
    found, slope = function(Q, M)
    eps = np.finfo(np.float64).eps
    assert_allclose(found, log_rising(Q, M), rtol=1e-12, atol=50.0 * eps * M.max())
    # In log q, which is what a sampler moves along.
    assert_allclose(Q * slope, rising_derivatives(Q, M).log_slope, rtol=1e-9, atol=50.0 * eps * M.max())


# --- draws ---------------------------------------------------------------------------------------


def parameters(problem: Problem, posterior: Any) -> Array:
    own = [posterior.noise_scale[:, None]] if problem.has_noise_scale else []
    own += [values[:, None] for values in posterior.auxiliary.values()]
    return np.concatenate([posterior.location[:, int(not problem.fit_intercept) :], *own], axis=1)


@pytest.mark.parametrize(
    "case",
    [
        Case("t"),
        Case("t", n=16, p=3, weights="fractional"),
        pytest.param(Case("t, fixed", "additive", n=40), marks=pytest.mark.thorough),
        Case("binomial"),
        Case("binomial", n=12, weights="fractional"),
        Case("binomial", q=1, p=1, n=60),
        *(
            pytest.param(case, marks=pytest.mark.thorough)
            for case in (
                Case("beta-binomial", rounded=True),
                Case("beta-binomial", n=12),
                Case("beta-binomial", q=1, p=2, n=100),
                Case("t", "auto", q=1, p=2, n=100, with_target=True),
                Case("binomial", q=1, p=1, n=150, components=2),
            )
        ),
    ],
    ids=str,
)
def test_draws_have_the_means_and_variances_of_importance_sampling(case: Case) -> None:
    problem = case.problem
    weighted = importance.solve(problem, SamplerSettings(seed=1))
    drawn = nuts.solve(problem, SamplerSettings(seed=2, draws=1500))
    assert drawn.chains is not None
    assert set(drawn.auxiliary) == set(weighted.auxiliary)
    points, draws = parameters(problem, weighted), parameters(problem, drawn)
    # Of the logarithm: nu's variance is hardly finite.
    positive = points.min(axis=0) > 0.0
    points[:, positive], draws[:, positive] = np.log(points[:, positive]), np.log(draws[:, positive])
    center = weighted.weights @ points
    for power in (1, 2):
        expected, found = (points - center) ** power, (draws - center) ** power
        mean = weighted.weights @ expected
        error = np.sqrt(np.square(weighted.weights) @ np.square(expected - mean))
        effective = diagnostics({"x": drawn.chains.split(found)})["ess_bulk"]["x"]
        z = (found.mean(axis=0) - mean) / np.hypot(error, found.std(axis=0) / np.sqrt(effective))
        assert np.abs(z).max() < Z_BOUND, f"power {power}: {z}"


def test_auto_goes_on_in_the_same_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Case("binomial").problem
    X, y, trials = problem.rows.X, problem.rows.y, problem.trials
    model = plain.Regressor(likelihood="binomial", weight_type="counts", random_state=0)
    trusted = model.fit(X, y, trials).coef_, model.coef_std_, model.predict(X)
    assert model.inference_ == "importance"
    monkeypatch.setattr(importance_sampling, "_K_HAT", -np.inf)
    monkeypatch.setattr(importance_sampling, "_EFFECTIVE", np.inf)
    with pytest.warns(UserWarning, match="goes on with 'nuts'"):
        model.fit(X, y, trials)
    assert model.inference_ == "nuts"
    assert_allclose(model.coef_, trusted[0], atol=0.2 * trusted[1].min())
    assert_allclose(model.coef_std_, trusted[1], rtol=0.15)
    assert_allclose(model.predict(X), trusted[2], atol=0.01)


@pytest.mark.thorough
def test_horseshoe_finds_the_few_that_matter_among_log_odds() -> None:
    rng = np.random.default_rng(5)
    n, p = 150, 8
    X = rng.normal(size=(n, p))
    trials = rng.integers(5, 30, n).astype(float)
    eta = 0.3 + 1.2 * X[:, 0] - 0.8 * X[:, 1]
    y = rng.binomial(trials.astype(int), 1.0 / (1.0 + np.exp(-eta))) / trials
    kwargs: dict[str, Any] = {"likelihood": "binomial", "weight_type": "counts", "random_state": 0}
    sparse = plain.Regressor(coef_prior=Horseshoe(n_nonzero=2), **kwargs).fit(X, y, trials)
    gaussian = plain.Regressor(**kwargs).fit(X, y, trials)
    assert (sparse.inference_, gaussian.inference_) == ("nuts", "importance")
    assert sparse._fitted.posterior.chains.n_divergent == 0
    assert_allclose(sparse.coef_[:2], [1.2, -0.8], atol=0.15)
    assert np.square(sparse.coef_[2:]).mean() < 0.5 * np.square(gaussian.coef_[2:]).mean()
    assert sparse.coef_std_[2:].mean() < 0.8 * gaussian.coef_std_[2:].mean()


def test_structures_differ_where_models_do_and_nowhere_else() -> None:
    for q in (0, 1):
        changes: list[dict[str, Any]] = [{}, {"n": 90, "rounded": True}, {"weights": "fractional"}]
        assert len({structure(Case("binomial", q=q, **one).problem) for one in changes}) == 1
    cases = [
        *(Case(likelihood) for likelihood in LIKELIHOODS),
        Case("t", "additive"),
        Case("t", "known"),
        Case("t", scale="inverse-gamma"),
        Case("binomial", coef="laplace"),
        Case("binomial", coef="horseshoe"),
        Case("binomial", intercept=False),
        Case("binomial", q=1),
        Case("binomial", q=1, components=2),
        Case("t", q=1),
        Case("t", q=1, with_target=True),
    ]
    keys = [structure(case.problem) for case in cases]
    # Numbers in a prior are data.
    assert keys[4] == keys[5]
    assert len(set(keys)) == len(keys) - 1


# --- errors of features --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        Case("binomial", q=1, p=1, n=12, weights="fractional"),
        Case("binomial", q=1, p=3, n=12, components=2, common=True),
        Case("binomial", q=2, p=3, n=12, intercept=False, standardize=False),
        Case("binomial", coef="horseshoe", q=1, p=3, n=30, weights="whole"),
        Case("beta-binomial", q=1, p=2, n=12, coef="laplace"),
        Case("beta-binomial", q=1, p=2, n=12, wild=True),
        Case("t", "auto", q=2, p=3, n=12, components=2, with_target=True, wild=True),
        Case("normal", "auto", q=1, p=2, n=12, limits=(-1.0, np.inf)),
        Case("normal", q=2, p=3, n=12, components=2, with_target=True, wild=True, limits=(-9.0, 9.0)),
        Case("t", "auto", q=1, p=2, n=12, components=2, limits=(-np.inf, 9.0)),
        Case("t", q=1, p=2, n=12, weights="fractional"),
        Case("t", "auto", q=2, p=3, n=12, components=2, with_target=True),
        Case("t, fixed", "additive", q=1, p=2, n=12, coef="horseshoe", with_target=True),
        Case("t, fixed", "known", q=1, p=1, n=12, common=True),
        Case("t, above 1", q=1, p=2, n=12, scale="inverse-gamma"),
        Case("normal", "scaled", q=1, p=3, n=12, coef="horseshoe", with_target=True),
        Case("normal", "auto", q=2, p=3, n=12, coef="horseshoe", components=2, weights="fractional"),
    ],
    ids=str,
)
def test_density_with_errors_of_features_is_that_of_importance_sampling(case: Case) -> None:
    """Volumes of all coordinates included, but for a constant."""
    problem = case.problem
    if case.of_shares:
        problem = replace(problem, noise=KNOWN)
    data = mixture_data(problem, 0)
    mixture = data.mixture
    if case.coef != "horseshoe":  # with the priors themselves
        mixture = replace(mixture, data=importance.row_problem(problem)[0].data)
    model = sampler_model(problem, data.arrays)
    names = ["log_density", *(variable.name for variable in model.deterministics)]
    outputs = compiled(model, [model.logp(jacobian=False), *model.deterministics])
    scales = ("local_scale", "global_scale", "slab_variance")

    def evaluate(u: Array) -> tuple[float, Array, list[Array]]:
        found = dict(zip(names, (np.asarray(value) for value in outputs({"u": u})), strict=True))
        drawn = {name: value[None, None] for name, value in found.items()} | {"u": u[None, None]}
        points = data.points(problem, Draws(drawn, {}))
        return float(found["log_density"]), points, [found[name] for name in scales if name in found]

    def natural(u: Array) -> Array:
        _, points, own = evaluate(u)
        return np.concatenate([points[0], *map(np.ravel, own)])

    rng, differences = np.random.default_rng(3), []
    for _ in range(4):
        u = 0.7 * rng.normal(size=int(model["u"].type.shape[0]))
        density, points, own = evaluate(u)
        expected = mixture.log_density(points)[0]
        if own:
            lam, tau, c2 = own
            parts, target = mixture.taken_apart(points), mixture.target
            values = {"noise_scale": parts.noise_scale[0], "scatter": parts.scatter[0]}
            values |= {} if target is None else {n: v[0] for n, v in target.further(parts.auxiliary).items()}
            sd = tau * lam / np.sqrt(1.0 + (tau * lam) ** 2 / c2)
            coef = np.append(parts.m[0], parts.line[0, 1:]) / np.append(data.units.noisy, data.units.exact)
            tau_0 = 0.3 / 0.7 * unit_by_hand(case, values)
            expected += stats.halfcauchy().logpdf(lam).sum() + stats.halfcauchy(scale=tau_0).logpdf(tau)
            expected += stats.invgamma(2.5, scale=2.5 * 1.4**2).logpdf(c2)
            expected += stats.norm(0.0, sd).logpdf(coef).sum() - mixture.log_slopes(parts)[0, 0]
        differences.append(density - expected - volume(natural, u))
    assert_allclose(differences, differences[0], rtol=0.0, atol=2e-4)


@pytest.mark.thorough
def test_chains_meet_no_walls_where_outcomes_tell_little() -> None:
    """With t and the intercept's prior as they come, or log tau, hundreds of draws diverged."""
    rng = np.random.default_rng(7003)
    x = rng.normal(size=50)
    w = x + np.sqrt(7.0 / 3.0) * rng.normal(size=50)
    y = rng.binomial(1, 1.0 / (1.0 + np.exp(0.5 - x))).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = BayesianErrorsInVariablesRegressor(likelihood="binomial", inference="nuts", random_state=0)
        model.fit(w[:, None], y, X_err=np.sqrt(7.0 / 3.0))
    assert model.summary().attrs["divergences"] <= 10


def test_errors_of_a_feature_of_shares_are_undone() -> None:
    rng = np.random.default_rng(7)
    n = 200
    x, z = rng.normal(size=(2, n))
    trials = rng.integers(10, 200, n).astype(float)
    y = rng.binomial(trials.astype(int), 1.0 / (1.0 + np.exp(0.5 - x + 0.5 * z))) / trials
    X = np.column_stack([x + 0.7 * rng.normal(size=n), z])
    model = plain.Regressor(likelihood="binomial", weight_type="counts", random_state=0)
    model.fit(X, y, trials, X_err=[0.7, 0.0])
    assert model.inference_ == "importance"
    assert_allclose(model.coef_, [1.0, -0.5], atol=4.0 * model.coef_std_.max())
    naive = plain.Regressor(likelihood="binomial", weight_type="counts").fit(X, y, trials)
    assert naive.coef_[0] < 0.8 < model.coef_[0]
    assert_allclose(model.reliability_[0], 1.0 / 1.49, atol=0.1)
    measured, left = model._fitted.posterior.measured(np.array([[0.49]]))
    values = model.loo_pit(X, y, trials, X_err=[0.7, 0.0])
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    # At true features, so to say, the same rows would be far too far from the line.
    as_true = metrics.pit(y, model.predict_distribution(X, counts=trials, X_err=0.0))
    assert stats.kstest(as_true, "uniform").pvalue < 1e-6
    # The slope on a measurement is the attenuated one.
    assert_allclose(measured.mean[1], naive.coef_[0], rtol=0.15)
    assert (left > 0.0).all()


def test_outcomes_of_a_feature_that_may_hardly_vary_do_not_diverge() -> None:
    """Coefficients of what was measured alone have a funnel there, in which 15 to 80 of the draws end."""
    rng, n = np.random.default_rng(0), 50
    x, error = rng.normal(size=(n, 1)), np.sqrt(0.7 / 0.3)
    y = (rng.random(n) < 1.0 / (1.0 + np.exp(-1.5 * x[:, 0]))).astype(float)
    problem = Problem.build(
        Rows(x + error * rng.normal(size=(n, 1)), y, None, None),
        None,
        noise=SCALED,
        standardize=True,
        coef_prior=Normal(),
        intercept_prior=Normal(0.0, 5.0),
        noise_prior=HalfNormal(),
        likelihood=BinomialLikelihood(),
        trials=np.ones(n),
        feature_errors=FeatureErrors(np.array([0]), np.array([[error**2]])),
    )
    drawn = nuts.solve(problem, SamplerSettings(seed=2))
    assert drawn.chains is not None
    assert drawn.chains.n_divergent == 0


def test_errors_that_go_with_noise_that_there_is_not_are_refused() -> None:
    problem = Case("binomial", q=1, with_target=True).problem
    for engine in (nuts, importance):
        assert "Xy_cov goes with noise" in str(engine.why_not(problem))
        assert engine.why_not(Case("t", q=1, with_target=True).problem) is None


def test_errors_that_go_with_noise_that_is_no_mixture_of_normal_distributions_are_refused() -> None:
    class Own(StudentTLikelihood):
        normal_parts = Likelihood.normal_parts

    class Unwritten(StudentTLikelihood):
        normal_parts_graph = Likelihood.normal_parts_graph

    case = Case("t", q=1, with_target=True)
    kinds = ((Own, (importance, nuts), "normal_parts"), (Unwritten, (nuts,), "normal_parts_graph"))
    for kind, engines, method in kinds:
        own = replace(case.problem, likelihood=kind())
        alone = replace(own, feature_errors=Case("t", q=1).problem.feature_errors)
        for engine in engines:
            assert str(engine.why_not(own)).endswith(f"{kind()!r} has no {method}")
            assert engine.why_not(alone) is None
    assert importance.why_not(replace(case.problem, likelihood=Unwritten())) is None


def test_one_model_serves_tables_of_any_size() -> None:
    found = []
    for n in (60, 90):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            nuts.solve(Case("binomial", q=1, p=1, n=n).problem, SamplerSettings(draws=50))
        found.append(len(COMPILED))
    assert found[0] == found[1]


def test_readable_errors_of_features_and_student_s_t_noise_go_together() -> None:
    """Given its precision each row's noise is normal, and with the feature's error of a covariance."""
    case = Case("t", q=1, p=1, n=5, with_target=True, standardize=False)
    problem = case.problem
    errors, n, units = problem.feature_errors, case.n, importance.units_of(problem)
    assert errors is not None
    model = readable_model(problem, ["x"], range(n))
    rng = np.random.default_rng(6)
    m, alpha, s, above, mu, scale = 0.7, 0.3, 0.8, 3.0, 0.4, 0.9
    x, precision = rng.normal(size=n), rng.gamma(3.0, 1.0 / 3.0, n)
    logs = {"sigma": s, "nu_above": above, "x_scale": np.array([scale]), "precision": precision}
    point = {f"{name}_log__": np.log(value) for name, value in logs.items()}
    point |= {"coef": np.array([m]), "intercept": alpha, "mu": np.array([mu]), "x_true": x[:, None]}
    expected = stats.norm().logpdf(m) + stats.norm(0.2, 1.5).logpdf(alpha) + stats.halfnorm().logpdf(s)
    expected += stats.gamma(2.0, scale=10.0).logpdf(above)
    unit, nu = units.noisy[0] * problem.scaling.x_scale[0], above + 2.0
    w, y, e = problem.rows.X[:, 0], problem.rows.y, problem.standard_error
    expected += stats.norm(w.mean(), MEAN_SCALE * unit).logpdf(mu)
    expected += np.log(2.0) + stats.t(SPREAD_DEGREES_OF_FREEDOM, scale=SPREAD_SCALE * unit).logpdf(scale)
    expected += (
        stats.norm(mu, scale).logpdf(x).sum() + stats.gamma(0.5 * nu, scale=2.0 / nu).logpdf(precision).sum()
    )
    for i in range(n):
        off = s * errors.with_target[i, 0] / np.sqrt(precision[i])
        covariance = [[errors.covariance[i, 0, 0], off], [off, np.square(s * e[i]) / precision[i]]]
        left = [w[i] - x[i], y[i] - alpha - m * (x[i] - 0.0)]
        expected += stats.multivariate_normal(cov=covariance).logpdf(left)
    expected += sum(np.sum(np.log(value)) for value in logs.values())
    assert_allclose(compiled(model, [model.logp()])(point)[0], expected, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("components", [1, 2])
def test_readable_rows_are_selected_given_the_exact_features_alone(components: int) -> None:
    import pytensor.tensor as pt

    limits = (-0.5, 3.0)
    case = Case("normal", q=1, p=2, n=6, components=components, standardize=False, limits=limits)
    problem = case.problem
    unit, z = importance.units_of(problem), problem.rows.X[:, 0]
    model = readable_model(problem, ["z", "x"], range(6))
    coef, alpha, s, mu, Gamma = np.array([0.4, 0.7]), 0.3, 0.8, 1.1, 0.6
    scale, shares, apart = np.array([0.9, 0.5])[:components], np.array([0.3, 0.7]), np.array([-0.8, 0.8])
    point: dict[str, Any] = {"coef": coef, "intercept": alpha, "sigma_log__": np.log(s), "mu": np.array([mu])}
    point |= {"Gamma": np.array([[Gamma]]), "x_scale_log__": np.log(scale), "x_true": np.zeros((6, 1))}
    for name, value in {"shares": shares, "mu_apart": apart[None]}.items() if components == 2 else ():
        variable = model[name]
        transform, hidden = model.rvs_to_transforms[variable], model.rvs_to_values[variable].name
        point[hidden] = transform.forward(pt.as_tensor(value), *variable.owner.inputs).eval()
    spread, inside = unit.noisy[0] * problem.scaling.x_scale[1], 0.0
    away = (z - z.mean()) / (unit.exact[0] * problem.scaling.x_scale[0])
    parts = [(1.0, 0.0)] if components == 1 else zip(shares, apart, strict=True)
    for c, (share, by) in enumerate(parts):
        mean = alpha + coef[0] * z + coef[1] * (mu + Gamma * away + spread * by)
        sd = np.hypot(coef[1] * scale[c], s * problem.standard_error)
        inside = inside + share * (stats.norm.cdf((3.0 - mean) / sd) - stats.norm.cdf((-0.5 - mean) / sd))
    selection = next(one for one in model.potentials if one.name == "selection")
    found = compiled(model, [model.replace_rvs_by_values([selection])[0]])(point)
    assert_allclose(found[0], -np.log(inside).sum(), rtol=1e-6)


@pytest.mark.parametrize("with_target", [False, True])
def test_readable_readings_that_may_be_wild_are_a_sum_over_which_are(with_target: bool) -> None:
    """Their errors' covariance with each other's and with the target's is multiplied as their deviations are."""
    case = Case("normal", q=2, p=2, n=5, with_target=with_target, wild=True, standardize=False)
    problem, n = case.problem, case.n
    errors = problem.feature_errors
    assert errors is not None
    model = readable_model(problem, ["x0", "x1"], range(n))
    rng = np.random.default_rng(6)
    m, alpha, s, share, factor = np.array([0.7, -0.4]), 0.3, 0.8, 0.2, 4.5
    x = rng.normal(size=(n, 2))
    point: dict[str, Any] = {"coef": m, "intercept": alpha, "sigma_log__": np.log(s), "x_true": x}
    point |= {"outlier_share_logodds__": np.log(share / (1.0 - share))}
    point |= {"outlier_factor_above_log__": np.log(factor - 2.0)}
    w, y, e = problem.rows.X, problem.rows.y, problem.standard_error
    expected = 0.0
    for i in range(n):
        density = 0.0
        for which in ((0, 0), (0, 1), (1, 0), (1, 1)):
            D = np.diag([*np.where(which, factor, 1.0), s])
            c = np.zeros(2) if errors.with_target is None else errors.with_target[i]
            covariance = np.block([[errors.covariance[i], c[:, None]], [c, np.square(e[i])]])
            left = np.append(w[i] - x[i], y[i] - alpha - m @ x[i])
            probability = share ** sum(which) * (1.0 - share) ** (2 - sum(which))
            density += probability * stats.multivariate_normal(cov=D @ covariance @ D).pdf(left)
        expected += np.log(density)
    rest = [one for one in model.observed_RVs if one.name in ("X", "y")]
    point |= {"mu": np.zeros(2), "x_root_cholesky-cov-packed__": np.zeros(3)}
    found = compiled(model, [model.logp(rest)])(point)
    assert_allclose(found[0], expected, rtol=1e-9)


def test_readable_mixtures_of_true_features_and_shares_go_together() -> None:
    """All constants included: each row's true feature is integrated out of both, on one grid."""
    import pytensor.tensor as pt

    case = Case("binomial", q=1, p=1, n=4, standardize=False, components=2)
    problem = case.problem
    errors, n, unit = problem.feature_errors, case.n, importance.units_of(problem).noisy[0]
    assert errors is not None
    model = readable_model(problem, ["x"], range(n))
    m, alpha, mu, apart = 0.7, 0.3, 1.4, np.array([-1.1, 1.1])
    scale, shares = np.array([0.6, 1.2]), np.array([0.35, 0.65])
    point: dict[str, Any] = {
        "coef": np.array([m]),
        "intercept": alpha,
        "mu": np.array([mu]),
        "x_scale_log__": np.log(scale),
    }
    for name, value in {"shares": shares, "mu_apart": apart[None]}.items():
        variable = model[name]
        transform, hidden = model.rvs_to_transforms[variable], model.rvs_to_values[variable].name
        point[hidden] = transform.forward(pt.as_tensor(value), *variable.owner.inputs).eval()
    w, trials = problem.rows.X[:, 0], np.asarray(problem.trials)
    grid = np.linspace(-9.0, 12.0, 601)
    others = [one for one in model.free_RVs if one.name != "x_true"]
    parts = model.logp([model[name] for name in ("x_true", "X", "y")], jacobian=False, sum=False)
    density = compiled(model, [model.logp(others, jacobian=False), *parts])
    values = [density(point | {"x_true": np.full((n, 1), x)}) for x in grid]
    at_grid = [sum(np.reshape(part, (n, -1)).sum(axis=1) for part in of_rows) for _, *of_rows in values]
    found = np.log(integrate.trapezoid(np.exp(at_grid), grid, axis=0))
    of_x = (shares * stats.norm.pdf(grid[:, None], mu + unit * apart, scale)).sum(axis=1)
    for i in range(n):
        of_w = stats.norm.pdf(w[i], grid, np.sqrt(errors.covariance[i, 0, 0]))
        share = 1.0 / (1.0 + np.exp(-alpha - m * grid))
        of_y = stats.binom.pmf(np.rint(problem.rows.y[i] * trials[i]), trials[i], share)
        assert_allclose(found[i], np.log(integrate.trapezoid(of_x * of_w * of_y, grid)), rtol=1e-9)
    prior = stats.norm().logpdf(m) + stats.norm(0.2, 1.5).logpdf(alpha)
    prior += stats.norm(w.mean(), MEAN_SCALE * unit).logpdf(mu) + stats.dirichlet([2.0, 2.0]).logpdf(shares)
    prior += np.sum(np.log(2.0) + stats.t(SPREAD_DEGREES_OF_FREEDOM, scale=SPREAD_SCALE * unit).logpdf(scale))
    # In the one direction in which their mean is none.
    prior += stats.norm(0.0, 2.0).logpdf(np.sqrt(2.0) * apart[1])
    assert_allclose(values[0][0], prior, rtol=1e-9)


@pytest.mark.thorough
def test_horseshoe_beside_errors_of_features_is_the_readable_model_s() -> None:
    """At z < 5, the draws of the model with true features counted as a third of their number."""
    import nutpie

    case = Case("normal", coef="horseshoe", q=1, p=3, n=60, standardize=False)
    drawn = nuts.solve(case.problem, SamplerSettings(seed=1, draws=1500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nutpie.compile_pymc_model(readable_model(case.problem, list("abc"), range(case.n)))
        kwargs = {"draws": 1500, "tune": 1500, "chains": 4, "progress_bar": False}
        trace = nutpie.sample(model, seed=3, target_accept=0.99, **kwargs)
    theirs = np.asarray(trace.posterior["coef"]).reshape(-1, case.p)
    ours = drawn.location[:, 1:]
    for power in (1, 2):
        a, b = (
            np.abs(values - theirs.mean(axis=0)) ** power if power == 2 else values
            for values in (ours, theirs)
        )
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / (len(b) / 3.0))
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < Z_BOUND * error).all()


def test_a_prior_without_a_distribution_in_pymc_is_named() -> None:
    class Own(Gamma):
        scale_distribution = None

    problem = Case("t").problem
    own = Problem.build(
        problem.rows,
        0.3,
        noise=SCALED,
        standardize=True,
        coef_prior=Normal(),
        intercept_prior=None,
        noise_prior=HalfNormal(),
        likelihood=StudentTLikelihood(nu=Own()),
    )
    assert "PyMC has no distribution for nu_prior=Own()" in str(nuts.why_not(own))
    assert choose(own, "auto") == "importance"
