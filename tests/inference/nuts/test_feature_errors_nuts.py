"""NUTS for features measured with error: beside importance sampling, and beside the model as a person writes it."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn.inference import solve
from bayes_sklearn.inference._compat import diagnostics
from bayes_sklearn.inference.importance import engine as importance
from bayes_sklearn.inference.numerics import importance_sampling
from bayes_sklearn.inference.nuts import engine as nuts
from bayes_sklearn.inference.nuts.formulation import Draws, structure
from bayes_sklearn.inference.nuts.structural import MeasuredData, measured_data, sampler_model
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.readable.model import readable_model
from bayes_sklearn.inference.settings import SamplerSettings
from bayes_sklearn.likelihoods.noise import NOISES, SCALED
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.feature_errors import FeatureErrors
from bayes_sklearn.priors import (
    Flat,
    HalfCauchy,
    HalfNormal,
    Horseshoe,
    InverseGamma,
    Laplace,
    Normal,
    PoweredCorrelation,
    StudentT,
)

import plain

Array = NDArray[np.float64]

# A set of draws that is right fails a comparison once in 1.7 million.
Z_BOUND = 5.0


@dataclass(frozen=True)
class Case:
    """A data set with errors in its features, and a model for it."""

    noise: Literal["none", "scaled", "additive", "known", "auto"] = "scaled"
    q: int = 1
    k: int = 0
    n: int = 20
    errors: Literal["rows", "common", "kinds"] = "rows"
    correlation: float = 0.0
    with_target: bool = False
    weighted: bool = False
    intercept: bool = True
    coef: str = "normal"
    standardize: bool = True
    scale: str = "half-normal"
    size: float = 1.0
    """Of the features' errors."""
    target_noise: float = 1.0
    """What the target's noise is multiplied by; its errors stay as they are."""
    accept: float = 0.95
    """What the sampler aims at."""

    def __str__(self) -> str:
        default = Case()
        return " ".join(
            [self.noise, *(f"{k}={v}" for k, v in vars(self).items() if v != vars(default).get(k))]
        )

    @cached_property
    def problem(self) -> Problem:
        n, q, p = self.n, self.q, self.q + self.k
        rng = np.random.default_rng([n, q, self.k])
        true = rng.normal(size=(n, p)) + 0.5 * rng.normal(size=(n, 1))
        sd, y_err = self.size * rng.uniform(0.25, 0.75, (n, q)), rng.uniform(0.2, 0.6, n)
        if self.errors != "rows":
            kind = np.arange(n) % (3 if self.errors == "kinds" else 1)
            sd, y_err = sd[kind], y_err[kind]
        joint = np.zeros((n, q + 1, q + 1))
        correlation = self.correlation + (1.0 - self.correlation) * np.eye(q)
        joint[:, :q, :q] = sd[:, :, None] * correlation * sd[:, None, :]
        joint[:, q, q] = y_err**2
        if self.with_target:
            joint[:, :q, q] = joint[:, q, :q] = 0.5 * sd * y_err[:, None]
        drawn = np.einsum("nij,nj->ni", np.linalg.cholesky(joint), rng.normal(size=(n, q + 1)))
        X = true.copy()
        y = 1.0 + true @ np.linspace(1.0, -0.5, p) + self.target_noise * drawn[:, q]
        X[:, p - q :] += drawn[:, :q]  # the noisy features are the last
        U, c = joint[:, :q, :q], joint[:, :q, q]
        if self.errors == "common":
            U, c = U[0], c[0]
        prior = {
            "normal": Normal(),
            "laplace": Laplace(b=np.linspace(0.5, 1.0, p)),
            "student-t": StudentT(nu=4.0, sigma=np.linspace(0.5, 1.0, p)),
            "normal, learned": Normal(mu=0.3, sigma=HalfCauchy(0.7)),
            "laplace, learned": Laplace(b=HalfNormal()),
            "powers, learned": PoweredCorrelation(),
            "horseshoe": Horseshoe(),
            "powers": PoweredCorrelation(sigma=1.3, power=(0.0, 0.7)),
        }[self.coef]
        return Problem.build(
            Rows(X, y, None, rng.integers(0, 4, n).astype(float) if self.weighted else None),
            None if self.noise == "none" else y_err,
            noise=SCALED if self.noise == "none" else NOISES[self.noise],
            standardize=self.standardize,
            coef_prior=prior,
            intercept_prior=Normal(0.1, 1.5) if self.intercept else None,
            noise_prior=HalfNormal() if self.scale == "half-normal" else InverseGamma(2.0, 0.5),
            feature_errors=FeatureErrors(np.arange(self.k, p), U, c if self.with_target else None),
        )


# --- the draws -----------------------------------------------------------------------------------


def parameters(posterior: Posterior) -> tuple[Array, Array]:
    """Mean and variance at every node of coefficients, s, and the true features' distribution."""
    true = posterior.true_features
    assert true is not None
    factors = true.coefficients()[1]
    scales = np.sqrt(np.diagonal(true.variance, axis1=1, axis2=2))
    known = [posterior.noise_scale[:, None], scales]
    a, b = np.tril_indices(scales.shape[1], -1)
    known.append(true.variance[:, a, b] / scales[:, a] / scales[:, b])
    means = np.concatenate([posterior.location, true.theta, *known], axis=1)
    within = [np.square(factors).sum(axis=2), np.square(true.root).sum(axis=2), *map(np.zeros_like, known)]
    return means, np.concatenate(within, axis=1)


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case("none"),
        Case(with_target=True),
        Case(weighted=True),
        Case(errors="common", n=2000),
        # Errors as large as the features' spread, for many rows and for few.
        Case(size=2.2, n=200),
        Case(size=2.2),
        # Targets of hardly any noise.
        Case("none", n=50, target_noise=0.01),
        Case(target_noise=0.01),
        # Of other structures, each of which is compiled, for seconds.
        *(
            pytest.param(case, marks=pytest.mark.thorough)
            for case in (
                Case("auto", q=2, n=60, coef="powers, learned", size=1.5),
                Case("known"),
                Case(q=2, k=1, n=60, correlation=0.5, standardize=False),
                Case(q=2, k=1, n=60, size=1.5, with_target=True),
                Case("additive", k=2, n=60, errors="common"),
                Case("additive", k=2, n=60, errors="kinds", target_noise=0.0),
                Case(k=1, n=40, coef="normal, learned", size=1.5),
                Case(q=3, k=1, n=80),
                Case(q=3, k=1, n=50, errors="common", correlation=0.5, size=1.5, accept=0.98),
            )
        ),
    ],
    ids=str,
)
def test_draws_have_the_means_and_variances_of_importance_sampling(case: Case) -> None:
    problem = case.problem
    weighted = importance.solve(problem, SamplerSettings(seed=1))
    drawn = nuts.solve(problem, SamplerSettings(seed=2, nuts_kwargs={"target_accept": case.accept}))
    assert drawn.chains is not None
    assert drawn.true_features is not None
    assert drawn.true_features.root.shape[2] == 0
    assert_allclose(drawn.covariance, np.cov(drawn.location.T, ddof=0), atol=1e-12)
    means, within = parameters(weighted)
    draws, _ = parameters(drawn)
    free = draws.std(axis=0) > 0.0
    means, within, draws = means[:, free], within[:, free], draws[:, free]
    independent = 1.0 / np.square(weighted.weights).sum()
    for power in (1, 2):
        center = weighted.weights @ means
        found = (draws - center * (power - 1)) ** power
        if power == 1:
            expected, square = center, weighted.weights @ (np.square(means) + within)
        else:
            away = means - center
            expected = weighted.weights @ (np.square(away) + within)
            square = weighted.weights @ (away**4 + 6.0 * away**2 * within + 3.0 * within**2)
        effective = diagnostics({"x": drawn.chains.split(found)})["ess_bulk"]["x"]
        error = found.std(axis=0) / np.sqrt(effective), np.sqrt((square - expected**2) / independent)
        z = (found.mean(axis=0) - expected) / np.hypot(*error)
        assert np.abs(z).max() < Z_BOUND, f"power {power}: {z}"


def test_the_same_seed_gives_the_same_draws() -> None:
    problem = Case().problem
    first, again, other = (nuts.solve(problem, SamplerSettings(draws=500, seed=seed)) for seed in (5, 5, 6))
    assert_allclose(first.location, again.location, rtol=0.0)
    assert not np.array_equal(first.location, other.location)


def test_one_model_serves_data_of_any_size_with_errors_in_any_feature() -> None:
    keys = {
        structure(case.problem)
        for case in (Case(), Case(n=50), Case(errors="common"), Case(with_target=True), Case("none"))
    }
    assert len(keys) == 1
    exact = Case().problem.without_feature_errors()
    assert structure(exact) not in keys


def test_mixtures_of_scales_are_sampled_whoever_is_asked_and_written_with_true_features() -> None:
    X, y = table()
    X = np.column_stack([X, np.arange(20.0) % 3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of few draws
        model = plain.Regressor(coef_prior=Horseshoe(), draws=200, random_state=0)
        model.fit(X, y, X_err=[0.5, 0.0])
        assert model.inference_ == "nuts"
        again = plain.Regressor(coef_prior=Horseshoe(), draws=200, random_state=0, inference="nuts")
        assert_allclose(again.fit(X, y, X_err=[0.5, 0.0]).coef_, model.coef_, rtol=0.0)
    assert abs(model.coef_[0] - 1.0) < 4.0 * model.coef_std_[0]
    with pytest.raises(ValueError, match="doesn't take the scales of coef_prior=Horseshoe"):
        plain.Regressor(coef_prior=Horseshoe(), inference="importance").fit(X, y, X_err=[0.5, 0.0])
    assert "x_true" in model.to_pymc(X, y, X_err=[0.5, 0.0]).named_vars


# --- what is sampled is the readable model -------------------------------------------------------


def density_of(outputs: Callable[[Any], list[Any]], model: Any) -> Callable[[Mapping[str, Any]], float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        density = model.compile_fn(
            model.replace_rvs_by_values(outputs(model)),
            inputs=model.value_vars,
            mode="FAST_COMPILE",
            on_unused_input="ignore",
        )
    names = {variable.name for variable in model.value_vars}
    return lambda point: float(density({k: v for k, v in point.items() if k in names})[0])


def integrated(density: Callable[[Array], float], shape: tuple[int, ...]) -> float:
    """Log of the integral of a density whose log is quadratic: differences of any width are exact."""
    size = int(np.prod(shape))
    one = np.eye(size)

    def at(x: Array) -> float:
        return density(x.reshape(shape))

    start = at(np.zeros(size))
    up, down = (np.array([at(sign * row) for row in one]) for sign in (1.0, -1.0))
    hessian = np.diag(up + down - 2.0 * start)
    for a in range(size):
        for b in range(a):
            hessian[a, b] = hessian[b, a] = at(one[a] + one[b]) - up[a] - up[b] + start
    gradient = 0.5 * (up - down)
    peak = start - 0.5 * gradient @ np.linalg.solve(hessian, gradient)
    return float(peak - 0.5 * np.linalg.slogdet(-hessian / (2.0 * np.pi))[1])


def mean_of_exact(problem: Problem, exact: NDArray[np.intp]) -> Array:
    """Mean of the exact features in the model's units, each row as often as it counts."""
    Z = (problem.rows.X[:, exact] - problem.scaling.x_mean[exact]) / problem.scaling.x_scale[exact]
    weight = np.ones(len(Z)) if problem.rows.frequency is None else problem.rows.frequency
    return np.asarray(weight @ Z / weight.sum())


def readable_point(
    problem: Problem, data: MeasuredData, draws: Mapping[str, Array]
) -> tuple[dict[str, Any], float]:
    """Values of the readable model's variables, and the log of the volume they take of the sampler's."""
    posterior = data.posterior(problem, Draws(dict(draws), {}))
    true, scaling = posterior.true_features, problem.scaling
    assert true is not None
    noisy, q = true.noisy, len(true.noisy)
    lines = true.theta[0][: q * (len(true.exact) + 1)].reshape(q, -1) * scaling.x_scale[noisy, None]
    units = data.units
    spread = units.noisy * scaling.x_scale[noisy]
    T = true.variance[0] * np.outer(scaling.x_scale[noisy], scaling.x_scale[noisy])
    root = np.linalg.cholesky(T / np.outer(spread, spread))
    suffix = "" if scaling.is_identity else "_standardized"
    log_s = np.log(posterior.noise_scale[0])
    values = {
        f"coef{suffix}": posterior.location[0, 1:],
        f"intercept{suffix}": posterior.location[0, 0],
        "sigma_log__": log_s,
        "sigma_standardized_log__": log_s,
        "mu": lines[:, 0] + lines[:, 1:] @ mean_of_exact(problem, true.exact) + scaling.x_mean[noisy],
        "Gamma": lines[:, 1:] * units.exact,
        "x_scale_log__": np.log(np.sqrt(np.diag(T))),
    }
    volume = 0.0
    if posterior.scatter is not None:
        values |= dict.fromkeys(("scatter_log__", "scatter_standardized_log__"), np.log(posterior.scatter[0]))
        volume += log_s + np.log(posterior.scatter[0])
    if posterior.prior_scale is not None:
        tau = posterior.prior_scale[0]
        values["prior_scale_log__"] = np.log(tau)
        # Of the coordinate, and of coefficients that follow it.
        precision = np.asarray(data.arrays["information"]) + tau**-2.0
        volume += np.log(tau) - 0.5 * np.log(precision).sum()
    if isinstance(problem.coef_prior, PoweredCorrelation):
        coef, whole = posterior.location[0, 1:], np.linalg.cholesky(T)
        m = coef[noisy] / scaling.x_scale[noisy]
        values["signal"] = whole.T @ m
        values["slope"] = coef[true.exact] + m @ values["Gamma"] / units.exact
        volume += np.log(np.diag(whole)).sum()
    if q == 1:
        return values, volume
    # Diagonal entries are logarithms; L21 = t2 tanh(zeta), L22 = t2 sech(zeta).
    values["x_root_cholesky-cov-packed__"] = np.array([np.log(root[0, 0]), root[1, 0], np.log(root[1, 1])])
    return values, volume + float(np.log(root[1, 1]))


@pytest.mark.parametrize(
    "case",
    [
        Case(n=6),
        Case("none", n=6, standardize=False),
        Case(n=6, k=1, intercept=False, coef="laplace"),
        Case(n=6, with_target=True, coef="student-t"),
        Case("known", n=6, weighted=True),
        Case("additive", k=2, n=8, errors="common"),
        Case(n=12, errors="kinds", weighted=True, standardize=False),
        Case("additive", q=2, k=1, n=5, correlation=0.5, with_target=True, standardize=False),
        Case(q=2, n=6, errors="common", with_target=True),
        Case("additive", n=6, scale="inverse-gamma"),
        Case("known", q=2, n=5, correlation=-0.3, intercept=False, standardize=False),
        Case("auto", n=6, with_target=True),
        Case("auto", n=6, coef="powers, learned", weighted=True),
        Case("auto", q=2, k=2, n=8, coef="powers, learned", correlation=0.5),
        Case("none", q=2, k=1, n=6, coef="powers", intercept=False, standardize=False),
        Case(n=6, k=1, coef="normal, learned", intercept=False),
        Case("auto", n=6, k=2, coef="laplace, learned", scale="inverse-gamma"),
    ],
    ids=str,
)
def test_sampled_density_is_the_readable_model_s_with_true_features_integrated_out(case: Case) -> None:
    problem = case.problem
    data = measured_data(problem, 0)
    sampler = sampler_model(problem, data.arrays)
    own = [variable.name for variable in sampler.deterministics]
    outputs = [sampler.logp(jacobian=False), *sampler.deterministics]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampled = sampler.compile_fn(
            sampler.replace_rvs_by_values(outputs), inputs=sampler.value_vars, mode="FAST_COMPILE"
        )
    names = [f"x{j}" for j in range(problem.rows.n_features)]
    model = readable_model(problem, names, range(case.n))
    density = density_of(lambda m: [m.logp(jacobian=False)], model)
    shape = (len(model.coords["obs"]), case.q)
    rng = np.random.default_rng(7)
    found = []
    for _ in range(5):
        u = 0.7 * rng.normal(size=sampler["u"].type.shape[0])
        log_density, *values_of_own = sampled({"u": u})
        draws = {name: np.asarray(v)[None, None] for name, v in zip(own, values_of_own, strict=True)}
        values, volume = readable_point(problem, data, {"u": u[None, None], **draws})
        whole = integrated(lambda x, values=values: density({**values, "x_true": x}), shape)
        if case.scale == "inverse-gamma" and case.noise != "auto":  # whose coordinate is log s
            volume += values["sigma_log__"]
        found.append(float(log_density) - whole - volume)
    assert_allclose(found, found[0], rtol=0.0, atol=1e-6)


def test_pseudo_rows_have_the_sums_of_all() -> None:
    """Also of rows whose features are constant or equal, where sums of squares have no full rank."""
    problem = Case(errors="kinds", n=40, k=2).problem
    table = problem.rows.X.copy()
    table[:, 1] = table[:, 0]
    for X in (problem.rows.X, table):
        again = Problem.build(
            Rows(X, problem.rows.y, None, None),
            problem.standard_error,
            noise=SCALED,
            standardize=True,
            coef_prior=Normal(),
            intercept_prior=Normal(),
            noise_prior=HalfNormal(),
            feature_errors=problem.feature_errors,
        )
        structural, _ = importance.structural_problem(again)
        pseudo, whole = structural.gathered.pseudo_rows(), structural.gathered.rows
        assert len(pseudo.rows) <= 3 * whole.shape[1]
        assert_allclose(pseudo.counts.sum(), 40.0)
        assert_allclose(pseudo.rows.T @ pseudo.rows, whole.T @ whole, atol=1e-10)


# --- the estimator -------------------------------------------------------------------------------


def table() -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=20)
    return (x + 0.5 * rng.normal(size=20))[:, None], x + 0.3 * rng.normal(size=20)


def test_auto_goes_on_with_nuts_where_importance_sampling_is_not_to_be_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = table()
    trusted = plain.Regressor(random_state=0).fit(X, y, X_err=0.5)
    assert trusted.inference_ == "importance"
    monkeypatch.setattr(importance_sampling, "_K_HAT", -np.inf)
    monkeypatch.setattr(importance_sampling, "_EFFECTIVE", np.inf)
    model = plain.Regressor(random_state=0)
    with pytest.warns(
        UserWarning, match=r"k-hat is .* effective sample size is .* goes on with 'nuts'"
    ) as said:
        model.fit(X, y, X_err=0.5)
    assert not any(issubclass(one.category, ConvergenceWarning) for one in said)
    assert model.inference_ == "nuts"
    assert abs(model.coef_[0] - trusted.coef_[0]) < 0.3 * trusted.coef_std_[0]
    assert_allclose(model.coef_std_, trusted.coef_std_, rtol=0.2)
    assert_allclose(model.reliability_, trusted.reliability_, rtol=0.1)
    for new in ({}, {"X_err": 0.0}, {"X_err": np.linspace(0.1, 1.0, 20)}):
        mean, sd = model.predict(X, return_std=True, **new)
        mean_then, sd_then = trusted.predict(X, return_std=True, **new)
        assert np.abs(mean - mean_then).max() < 0.3 * sd_then.min()
        assert_allclose(sd, sd_then, rtol=0.2)
    with pytest.warns(ConvergenceWarning, match="not to be trusted.*Use inference='nuts'"):
        model = plain.Regressor(inference="importance").fit(X, y, X_err=0.5)
    assert model.inference_ == "importance"


def test_an_engine_s_doubt_is_a_warning_and_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance_sampling, "_K_HAT", -np.inf)
    with pytest.warns(ConvergenceWarning, match="k-hat"):
        posterior = solve(Case().problem, "importance", SamplerSettings())
    assert_allclose(posterior.weights.sum(), 1.0)


def test_auto_takes_nuts_for_priors_that_importance_sampling_does_not() -> None:
    from bayes_sklearn.inference import choose

    assert choose(Case(k=1, coef="horseshoe").problem, "auto") == "nuts"
    for coef in ("laplace", "student-t"):
        assert choose(Case(k=1, coef=coef).problem, "auto") == "importance"


def test_to_pymc_takes_the_errors_that_fit_takes() -> None:
    X, y = table()
    X = np.column_stack([X, np.arange(20.0), X**2])
    cov = np.diag([0.25, 0.0, 0.16])
    cov[0, 2] = cov[2, 0] = 0.1
    model = plain.Regressor().to_pymc(X, y, y_err=0.3, X_cov=cov, Xy_cov=[0.01, 0.0, 0.02])
    assert set(model.named_vars_to_dims["x_true"]) == {"obs", "noisy"}
    assert model.coords["noisy"] == ("x0", "x2")
    assert {variable.name for variable in model.observed_RVs} == {"X", "y"}
    assert {"coef", "intercept", "sigma"} <= {v.name for v in model.unobserved_RVs}
    single = plain.Regressor(coef_prior=Flat()).to_pymc(X, y, X_err=[0.5, 0.0, 0.0])
    assert single["x_true"].type.ndim == 2


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"X_err": 0.5, "sample_weight": np.linspace(0.5, 1.5, 20)}, "whole frequencies"),
        ({"X_err": np.r_[np.zeros(3), np.ones(17)]}, "none in some rows"),
    ],
)
def test_to_pymc_refuses_what_true_features_can_t_be_written_for(given: dict[str, Any], match: str) -> None:
    X, y = table()
    with pytest.raises(ValueError, match=match):
        plain.Regressor(weight_type="frequency").to_pymc(X, y, **given)


def test_draws_from_the_prior_are_of_one_copy_of_each_row() -> None:
    X, y = table()
    weight = np.arange(20.0) % 4
    y_err = np.where(weight > 0.0, np.geomspace(1.0, 1e4, 20), 1.0)
    model = plain.Regressor(
        weight_type="frequency", noise="known", standardize=False, draws=500, chains=1, random_state=0
    ).fit(X, y, weight, y_err=y_err, X_err=0.5)
    exported = model.to_arviz(X, y, weight, y_err=y_err, X_err=0.5, prior=True)
    used = np.flatnonzero(weight)
    drawn = exported.prior_predictive["y"]
    for values in (drawn, exported.posterior_predictive["y"], exported.observed_data["y"]):
        assert_allclose(values["obs"], used)
    assert drawn.shape == (1, 500, len(used))
    # The rows' own errors make nearly all of the spread of most.
    few = y_err[used] > 30.0
    assert_allclose(np.asarray(drawn)[0].std(axis=0)[few], y_err[used][few], rtol=0.2)
    with pytest.raises(
        ValueError, match=r"whole frequencies in sample_weight, got 0.5. Round them, or .*prior=True"
    ):
        model.to_arviz(X, y, weight + 0.5, y_err=y_err, X_err=0.5, prior=True)
