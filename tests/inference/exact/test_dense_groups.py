"""The brute-force reference of groups is held against SciPy's integrals, other algebra, and a sampler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats

from dense_groups import GroupModel, group_sets, indicators, scatter_density
from oracle import half_cauchy, half_normal, half_student_t, integrate_posterior

SCHOOLS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SCHOOL_ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
T = half_student_t(3.0, 1.0).logpdf
HALF_NORMAL = half_normal(1.0).logpdf


def table(groups: int = 6, size: int = 4) -> tuple[Any, ...]:
    """Design, target, errors and labels of a table with intercepts and slopes by group."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(groups), size)
    x = rng.normal(size=len(labels))
    errors = 0.3 * np.exp(0.5 * rng.normal(size=len(labels)))
    intercept, slope = 0.8 * rng.normal(size=groups), 0.4 * rng.normal(size=groups)
    y = 0.3 + intercept[labels] + (0.5 + slope[labels]) * x + errors * rng.normal(size=len(labels))
    return np.column_stack([np.ones(len(labels)), x]), y, errors, labels


def small(noise: Any = "scaled", effects: int = 1, groups: int = 6, size: int = 4) -> tuple[GroupModel, Any]:
    design, y, errors, labels = table(groups, size)
    densities = {
        "known": (),
        "scaled": (HALF_NORMAL,),
        "additive": (HALF_NORMAL,),
        "auto": (HALF_NORMAL, scatter_density(errors)),
    }
    sets = (indicators(labels), indicators(labels, design[:, 1]))[:effects]
    prior_sd = np.array([np.inf, 1.0])
    model = GroupModel(y, design, prior_sd, sets, (T,) * effects, errors, noise, densities[noise])
    return model, labels


def test_known_errors_are_one_integral() -> None:
    prior = half_cauchy(5.0)
    model = GroupModel(
        SCHOOLS, np.ones((8, 1)), np.array([5.0]), (np.eye(8),), (prior.logpdf,), SCHOOL_ERRORS, "known"
    )
    found = model.integrate()

    def likelihood(tau: float) -> float:
        covariance = 25.0 + np.diag(SCHOOL_ERRORS**2 + tau**2)
        return float(
            np.exp(prior.logpdf(tau)) * stats.multivariate_normal(np.zeros(8), covariance).pdf(SCHOOLS)
        )

    def integral(function: Any, upper: float = np.inf) -> float:
        return integrate.quad(function, 0.0, upper, epsabs=0.0, epsrel=1e-10, limit=500)[0]

    evidence = integral(likelihood)
    assert_allclose(found.log_evidence, np.log(evidence), atol=1e-9)
    mean, std = found.scale_moments("tau_0")
    assert_allclose(mean, integral(lambda tau: tau * likelihood(tau)) / evidence, rtol=1e-7)
    square = integral(lambda tau: tau**2 * likelihood(tau)) / evidence
    assert_allclose(std, np.sqrt(square - mean**2), rtol=1e-6)
    levels = np.array([0.025, 0.5, 0.975])
    below = [integral(likelihood, end) / evidence for end in found.scale_quantile("tau_0", levels)]
    assert_allclose(below, levels, atol=1e-5)


def test_an_unknown_scale_is_another_integral() -> None:
    model, _ = small("scaled", groups=2, size=3)
    noise, tau = np.exp(np.array([-0.5, 0.4]))
    (found,) = model.given(np.array([[noise, tau]]))
    # A flat intercept is a very wide one, whose density is one instead of what it is.
    wide = np.sqrt(2.0 * np.pi) * 1e2
    Z, x = model.effects[0], model.design[:, [1]]

    def log_likelihood(s: float, t: float) -> float:
        covariance = 1e4 + x @ x.T + t**2 * Z @ Z.T + np.diag((s * model.errors) ** 2)
        return stats.multivariate_normal(np.zeros(6), covariance).logpdf(model.y) + np.log(wide)

    assert_allclose(found, log_likelihood(noise, tau), atol=1e-3)

    def density(log_tau: float, log_noise: float) -> float:
        s, t = np.exp(log_noise), np.exp(log_tau)
        return float(np.exp(log_likelihood(s, t) + T(t) + HALF_NORMAL(s) + log_noise + log_tau))

    evidence = integrate.dblquad(density, -2.5, 1.8, -10.0, 6.0, epsabs=0.0, epsrel=1e-2)[0]
    assert_allclose(model.log_evidence(), np.log(evidence), atol=1e-3)


@pytest.mark.parametrize("noise", ["known", "scaled", "additive"])
def test_without_groups_it_is_a_regression(noise: Any) -> None:
    model, _ = small(noise, effects=0)
    found = model.integrate()
    expected = integrate_posterior(
        model.design[:, 1:],
        model.y,
        y_err=model.errors,
        noise=noise,
        intercept_sigma=np.inf,
        standardize=False,
    )
    assert_allclose(found.mean(), expected.mean, rtol=1e-6)
    assert_allclose(found.covariance(), expected.covariance, rtol=1e-5)
    if noise != "known":
        assert_allclose(
            found.scale_moments("noise_scale"), [expected.noise_mean, expected.noise_std], rtol=1e-5
        )
    rows = np.array([[0.3], [2.0]])
    predicted = found.predictive(np.column_stack([[1.0, 1.0], rows]), (), error=0.4)
    for level in (0.05, 0.9):
        assert_allclose(predicted.quantile(level), expected.ppf(rows, level, 0.4), rtol=1e-5)
    assert_allclose(predicted.logpdf([0.5, 0.7]), expected.logpdf(rows, [0.5, 0.7], 0.4), rtol=1e-5)
    assert_allclose(predicted.mean(), expected.predict(rows, 0.4)[0], rtol=1e-5)
    assert_allclose(np.sqrt(predicted.var()), expected.predict(rows, 0.4)[1], rtol=1e-5)


@pytest.mark.parametrize("noise", ["known", "scaled", "additive", "auto"])
def test_moments_given_the_scales_are_those_of_a_ridge(noise: Any) -> None:
    """Precisions instead of covariances: (A' V^-1 A + D^-1)^-1."""
    model, _ = small(noise, effects=2)
    scales = {"known": [], "auto": [1.2, 0.2]}.get(noise, [0.7])
    e = model.errors
    variance = {"known": e**2, "scaled": 0.49 * e**2, "additive": e**2 + 0.49, "auto": 1.44 * e**2 + 0.04}[
        noise
    ]
    A = np.column_stack([model.design, *model.effects])
    precision = np.repeat([0.0, 1.0, 0.8**-2, 0.3**-2], [1, 1, 6, 6])
    covariance = np.linalg.inv((A.T / variance) @ A + np.diag(precision))
    _, means, covariances = model.given(np.array([[*scales, 0.8, 0.3]]), moments=True)
    assert_allclose(covariances[0], covariance, atol=1e-12)
    assert_allclose(means[0], covariance @ A.T @ (model.y / variance), atol=1e-12)


def test_rows_left_out_are_predicted_by_the_others() -> None:
    model, labels = small()
    others = model.without(5).integrate()
    Z = model.effects[0]
    expected = others.predictive(model.design[[5]], [Z[[5]]], error=model.errors[[5]]).logpdf(model.y[[5]])
    assert_allclose(model.left_out([5]), expected, atol=1e-7)
    # The only row of a group is predicted as one of a new group.
    rows = group_sets(labels)[2]
    alone = model.without(rows).integrate()
    new = alone.predictive(model.design[rows], [0.0 * Z[rows]], [np.ones(4)], model.errors[rows])
    expected = new.logpdf(model.y[rows])[0]
    assert_allclose(model.without(rows[1:]).left_out([rows[0]]), expected, atol=1e-7)
    # A group's rows together are not one after the other: each tells of the effect.
    steps = [model.without(rows[i + 1 :]).left_out([rows[i]])[0] for i in range(4)]
    assert_allclose(model.left_out([rows]), sum(steps), atol=1e-7)
    assert abs(sum(steps) - new.logpdf(model.y[rows]).sum()) > 0.1


def test_a_halved_step_changes_nothing() -> None:
    model, _ = small("scaled", effects=2, groups=3, size=3)
    assert_allclose(model.log_evidence(), model.log_evidence(1e-6), atol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("noise", ["scaled", "auto"])
def test_a_sampler_finds_the_same(noise: Any) -> None:
    import nutpie
    import pymc as pm

    model, _ = small(noise, effects=2 if noise == "scaled" else 1)
    found = model.integrate()
    with pm.Model() as sampled:
        s = pm.HalfNormal("noise_scale", 1.0)
        variance = (s * model.errors) ** 2
        if noise == "auto":
            size = np.exp(np.mean(np.log(model.errors)))
            both = [pm.HalfCauchy.dist(size), pm.HalfCauchy.dist(size / 100.0)]
            variance += pm.Mixture("scatter", [0.5, 0.5], both) ** 2
        B = [pm.Flat("intercept"), pm.Normal("coef", 0.0, 1.0)]
        line = B[0] + B[1] * model.design[:, 1]
        for k, Z in enumerate(model.effects):
            tau = pm.HalfStudentT(f"tau_{k}", nu=3.0, sigma=1.0)
            line += Z @ pm.Deterministic(f"u_{k}", tau * pm.Normal(f"z_{k}", shape=Z.shape[1]))
        pm.Normal("y", line, pm.math.sqrt(variance), observed=model.y)
    compiled = nutpie.compile_pymc_model(sampled)
    draws = nutpie.sample(
        compiled, draws=5000, tune=1000, chains=2, cores=2, seed=1, target_accept=0.97, progress_bar=False
    ).posterior
    names = ["intercept", "coef", *(f"u_{k}" for k in range(len(model.effects)))]
    of_sampler = np.concatenate([np.atleast_2d(np.array(draws[name]).reshape(10000, -1).T) for name in names])
    std = np.sqrt(np.diag(found.covariance()))
    # 1,000 effective draws or more: errors of 0.03 standard deviations, of which the largest of 15 is seen.
    assert_allclose((of_sampler.mean(axis=1) - found.mean()) / std, 0.0, atol=0.12)
    assert_allclose(of_sampler.std(axis=1) / std, 1.0, atol=0.12)
    for name in model.names:
        median = found.scale_quantile(name, 0.5)
        assert abs((np.array(draws[name]) < median).mean() - 0.5) < 0.06
        assert abs((np.array(draws[name]) < found.scale_quantile(name, 0.95)).mean() - 0.95) < 0.03
