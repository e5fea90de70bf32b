"""New rows whose features have errors, under other likelihoods: errors by row, draws, and what ArviZ gets of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats
from scipy.special import expit

from bayes_sklearn.estimators import fitting
from bayes_sklearn.inference.node_covariances import SharedBasis
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.structural.true_features import TrueFeatures
from bayes_sklearn.inference.structural.true_mixture import TrueMixture
from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BinomialLikelihood,
    Likelihood,
    NormalLikelihood,
    Observations,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.noise import SCALED
from bayes_sklearn.measurements.target_errors import CountErrors
from bayes_sklearn.prediction.draws import draws_of
from bayes_sklearn.prediction.new_measurements import new_rows
from bayes_sklearn.prediction.noise import NoiseModel
from bayes_sklearn.prediction.rows_given_draws import GivenDraws, Observed

import plain

Array = NDArray[np.float64]

SAMPLED = 300
X = np.array([[0.4, -1.0], [2.0, 0.3], [-1.1, 0.8], [0.0, 0.0]])
COMMON = np.array([[0.36]])
LIKELIHOODS = [StudentTLikelihood(), BinomialLikelihood(), BetaBinomialLikelihood()]


def posterior(likelihood: Likelihood) -> Posterior:
    """Return nodes as a sampler gives them: points, with the true first feature's distribution."""
    rng = np.random.default_rng(0)
    centers = np.array([0.5, 0.3, -0.4, 0.2])  # mu, Gamma, alpha, beta
    true = TrueFeatures(
        noisy=np.array([0]),
        n_features=2,
        intercept=True,
        coef=1.0 + 0.1 * rng.normal(size=(SAMPLED, 1)),
        variance=np.exp(0.1 * rng.normal(size=(SAMPLED, 1, 1))),
        theta=centers + 0.1 * rng.normal(size=(SAMPLED, 4)),
        root=np.zeros((SAMPLED, 4, 0)),
        x_mean=np.array([0.2, -0.1]),
        x_scale=np.array([1.5, 0.8]),
        y_mean=0.0,
        y_scale=1.0,
    )
    auxiliary = {"student_t": "nu", "beta_binomial": "dispersion"}
    values = {"nu": rng.uniform(3.0, 9.0, SAMPLED), "dispersion": rng.uniform(0.02, 0.1, SAMPLED)}
    model = Posterior(
        weights=np.full(SAMPLED, 1.0 / SAMPLED),
        location=true.coefficients()[0],
        covariances=SharedBasis(np.zeros((3, 0)), np.zeros((SAMPLED, 0))),
        noise_scale=rng.uniform(0.4, 0.6, SAMPLED),
        center=np.zeros(2),
        true_features=true,
        auxiliary={name: values[name] for kind, name in auxiliary.items() if kind == likelihood.name},
    )
    return model.measured(None)[0]


def predicted(likelihood: Likelihood, error: Array | None, **given: Any) -> Any:
    kind = "counts" if likelihood.counted else "none"
    return new_rows(
        likelihood,
        posterior(likelihood),
        NoiseModel(SCALED, kind, 0.0, CountErrors(0.0)),
        X,
        None,
        columns={},
        feature_error=error,
        seed=1,
        **{"include_noise": True, **given},
    )


@pytest.mark.parametrize(
    "likelihood", [NormalLikelihood(), *LIKELIHOODS], ids=lambda likelihood: likelihood.name
)
def test_new_rows_are_measured_as_those_of_fit_under_every_likelihood(
    likelihood: Likelihood, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes are given: what the engine would find is not what is asked here."""
    monkeypatch.setattr(fitting, "solve_in_turn", lambda problem, *_: (posterior(problem.likelihood), "nuts"))
    rng = np.random.default_rng(5)
    trials, size = np.full(40, 20.0), rng.uniform(0.2, 1.5, 40)
    y = rng.binomial(20, 0.5, 40) / 20.0
    model = plain.Regressor(likelihood=likelihood, random_state=0)
    weight = {"sample_weight": trials} if likelihood.counted else {}
    model.fit(3.0 * rng.normal(size=(40, 2)), y, **weight, X_err=np.column_stack([size, np.zeros(40)]))
    typical = {"X_err": [np.sqrt(np.mean(size**2)), 0.0]}
    given = {"counts": np.array([5.0, 20.0, 0.0, 400.0])} if likelihood.counted else {}
    for noise in (True, False):
        silent, said, true = (
            model.predict_distribution(X, **given, **errors, include_noise=noise)
            for errors in ({}, typical, {"X_err": 0.0})
        )
        assert type(silent) is type(true)  # one line for all rows: as cheap
        assert_allclose(silent.mean_and_std(), said.mean_and_std(), rtol=1e-12)
        assert_allclose(silent.interval(0.9), said.interval(0.9), rtol=1e-9)
        assert_allclose(silent.sample(5), said.sample(5), rtol=1e-9)
        assert (silent.variance_parts["feature_error"] > 0.0).all()
        assert np.abs(silent.mean() - true.mean()).max() > 0.1 * true.std().max()
    assert_allclose(model.predict(X), model.predict(X, **typical), rtol=1e-12)


def counted(likelihood: Likelihood) -> dict[str, Any]:
    return {"counts": np.array([5.0, 20.0, 0.0, 400.0])} if likelihood.counted else {}


@pytest.mark.parametrize(
    "error", [None, COMMON, COMMON + np.arange(4.0)[:, None, None]], ids=["true", "all", "row"]
)
def test_what_is_not_known_to_be_normal_is_predicted_by_its_own_functions(error: Array | None) -> None:
    """The normal likelihood itself is the truth: its predictions are mixtures of normal distributions."""

    class Own(NormalLikelihood):
        name, is_normal = "own", False

    own, normal = predicted(Own(), error), predicted(NormalLikelihood(), error)
    assert type(own) is not type(normal)
    y = np.array([0.4, 2.0, -1.0, 0.1])
    assert_allclose(own.mean_and_std(), normal.mean_and_std(), rtol=1e-9)
    assert_allclose(own.covariance(), normal.covariance(), rtol=1e-9)
    assert_allclose(own.cdf(y), normal.cdf(y), atol=1e-3)
    assert_allclose(normal.cdf(own.ppf(0.975)), 0.975, atol=1e-3)
    assert_allclose(own.logpdf(y), normal.logpdf(y), atol=1e-3)
    assert_allclose(own.crps(y), normal.crps(y), rtol=1e-3)


def test_only_noise_that_is_added_has_a_scale() -> None:
    with pytest.raises(TypeError, match="no noise that is added"):
        BinomialLikelihood().squared_scale({}, Observations(np.array([0.4]), trials=np.array([5.0])))


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_errors_by_row_are_those_for_all_where_they_are_the_same(likelihood: Likelihood) -> None:
    """The last row's differs, so that all rows are taken by row; the others have what one error for all gives."""
    errors = np.broadcast_to(COMMON, (4, 1, 1)).copy()
    errors[3] = 0.01
    own, common = (predicted(likelihood, error, **counted(likelihood)) for error in (errors, COMMON))
    same = slice(0, 3)
    assert_allclose(own.mean()[same], common.mean()[same], rtol=1e-10)
    assert_allclose(own.mean_and_std()[1][same], common.std()[same], rtol=1e-10)
    assert set(own.variance_parts) == set(common.variance_parts) >= {"feature_error"}
    for name, part in own.variance_parts.items():
        assert_allclose(part[same], common.variance_parts[name][same], rtol=1e-9, atol=1e-14)
    assert own.variance_parts["feature_error"][3] < common.variance_parts["feature_error"][3]
    value = np.array([0.2, 0.5, 0.4, 0.3])
    assert_allclose(own.logpdf(value)[same], common.logpdf(value)[same], rtol=1e-8)
    assert_allclose(own.cdf(value)[same], common.cdf(value)[same], atol=1e-8)
    assert own.std()[3] < common.std()[3]
    assert_allclose(np.diag(own.covariance()), own.var(), rtol=1e-9)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_draws_have_the_moments(likelihood: Likelihood) -> None:
    """Of 20,000 draws, at z < 5; variances of heavy tails to a fifth."""
    errors = np.array([0.36, 0.04, 1.0, 0.25]).reshape(4, 1, 1)
    own = predicted(likelihood, errors, **counted(likelihood))
    draws = own.sample(20_000, random_state=2)
    assert (np.abs(draws.mean(axis=1) - own.mean()) < 5.0 * own.std() / np.sqrt(20_000)).all()
    assert_allclose(draws.var(axis=1), own.var(), rtol=0.2 if likelihood.name == "student_t" else 0.06)


def by_scipy(likelihood: Likelihood, y: float, trials: float, eta: Array, at: dict[str, Any]) -> Any:
    """Return the distribution of a target, or of the count behind a share."""
    if likelihood.name == "student_t":
        return stats.t(at["nu"], eta, at["noise_scale"])
    if likelihood.name == "binomial":
        return stats.binom(trials, expit(eta))
    size = (1.0 - at["dispersion"]) / at["dispersion"]
    return stats.betabinom(trials, expit(eta) * size, expit(-eta) * size)


def density(likelihood: Likelihood, y: float, trials: float, eta: Array, at: dict[str, Any]) -> Array:
    """Return the density of a target, of a share per unit of share, by SciPy."""
    target = by_scipy(likelihood, y, trials, eta, at)
    if not likelihood.counted:
        return np.asarray(target.pdf(y))
    return np.asarray(trials * target.pmf(np.rint(y * trials)))


def less(likelihood: Likelihood, y: float, trials: float, eta: Array, at: dict[str, Any]) -> Array:
    """Return the probability of less than a target, and half of that of a share itself, by SciPy."""
    target = by_scipy(likelihood, y, trials, eta, at)
    if not likelihood.counted:
        return np.asarray(target.cdf(y))
    k = np.rint(y * trials)
    return np.asarray(target.cdf(k) - 0.5 * target.pmf(k))


@pytest.mark.parametrize("sharp", [False, True], ids=["", "sharp"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_true_features_are_integrated_out_given_each_draw(likelihood: Likelihood, sharp: bool) -> None:
    """Also where the target says much more of the line than what was measured of the features, and is far off."""
    nodes = posterior(likelihood)
    true: Any = nodes.true_features
    trials = np.array([5.0, 20.0, 9.0, 40.0])
    y = np.array([0.4, 0.55, 3.0 / 9.0, 0.3])
    errors = np.broadcast_to(COMMON, (4, 1, 1))
    if sharp:
        trials, errors = np.array([100.0, 400.0, 90.0, 200.0]), 4.0 * errors
        nodes = replace(nodes, noise_scale=0.02 * nodes.noise_scale)
        y[3] = 0.3 if likelihood.counted else 9.0
    taken = trials if likelihood.counted else 1.0
    observed = Observed(X, y, np.arange(4), None, errors, {}, taken)
    draws = draws_of(nodes, 1, SAMPLED, np.random.default_rng(3))
    values = {"noise_scale": draws.noise_scale, **draws.auxiliary}
    given = GivenDraws(likelihood, "scaled", observed, draws, nodes.center)
    new, found = given.held_against(np.random.default_rng(4))
    transforms = np.concatenate([given.at(rows).transform() for rows in given.blocks()], axis=1)
    drawn: Any = draws.true_features
    line = drawn.line(X, errors)
    assert true.theta.shape == drawn.theta.shape
    for draw in (0, 123):
        at = {name: value[draw] for name, value in values.items()}
        for row in range(4):
            mean, sd = line.mean[row, draw], np.sqrt(line.feature_error[row, draw])
            eta = np.linspace(mean - 9.0 * sd, mean + 9.0 * sd, 4001)
            one = likelihood, y[row], trials[row], eta, at
            weight = stats.norm.pdf(eta, mean, sd)
            log_density = np.log(integrate.trapezoid(density(*one) * weight, eta))
            assert_allclose(found[draw, row], log_density, atol=1e-6)
            assert_allclose(transforms[draw, row], integrate.trapezoid(less(*one) * weight, eta), atol=1e-7)
    if likelihood.counted:
        assert_allclose(new * trials, np.rint(new * trials), atol=1e-9)


def test_nodes_without_a_covariance_can_be_drawn_from() -> None:
    true: Any = posterior(BinomialLikelihood()).true_features
    drawn = true.drawn(np.array([3, 3, 5]), np.random.default_rng(0))
    assert_allclose(drawn.theta, true.theta[[3, 3, 5]])


def mixture_of_two(nodes: Posterior) -> TrueMixture:
    """Return nodes' true features as two components."""
    true: Any = nodes.true_features
    rng, count = np.random.default_rng(7), len(true.coef)
    return TrueMixture(
        noisy=true.noisy,
        n_features=2,
        coef=true.coef,
        line_at_zero=true.theta[:, 2:],
        means=np.array([[-0.8], [1.1]]) + 0.1 * rng.normal(size=(count, 2, 1)),
        slopes=true.theta[:, None, 1:2],
        covariances=np.array([0.2, 0.5])[:, None, None] * np.exp(0.1 * rng.normal(size=(count, 2, 1, 1))),
        log_shares=np.log(np.tile([0.3, 0.7], (count, 1))),
        x_mean=true.x_mean,
        x_scale=true.x_scale,
        y_mean=0.0,
        y_scale=1.0,
    )


def components_given(
    true: TrueMixture, node: int, x: Array, error: float
) -> list[tuple[float, float, float]]:
    """Return shares, means and variances of the line of each component, given a reading."""
    w, z = (x - true.x_mean) / true.x_scale
    error, m = error / true.x_scale[0] ** 2, true.coef[node, 0]
    found = []
    for c in (0, 1):
        mu, T = true.means[node, c, 0] + true.slopes[node, 0, 0] * z, true.covariances[node, c, 0, 0]
        share = np.exp(true.log_shares[node, c]) * stats.norm.pdf(w, mu, np.sqrt(T + error))
        expected = mu + T / (T + error) * (w - mu)
        found.append(
            (share, true.line_at_zero[node] @ [1.0, z] + m * expected, m**2 * T * error / (T + error))
        )
    total = sum(share for share, *_ in found)
    return [(share / total, *rest) for share, *rest in found]


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
def test_components_of_true_features_are_integrated_out_one_by_one(likelihood: Likelihood) -> None:
    nodes = posterior(likelihood)
    true = mixture_of_two(nodes)
    nodes = replace(nodes, true_features=true, noise_scale=0.3 * nodes.noise_scale)
    trials, y = np.array([50.0, 200.0, 90.0, 40.0]), np.array([0.4, 0.55, 30.0 / 90.0, 0.3])
    errors = np.array([0.36, 0.04, 1.0, 0.25]).reshape(4, 1, 1)
    observed = Observed(X, y, np.arange(4), None, errors, {}, trials if likelihood.counted else 1.0)
    draws = draws_of(nodes, 1, SAMPLED, np.random.default_rng(3))
    given = GivenDraws(likelihood, SCALED, observed, draws, nodes.center).at(slice(None))
    found, transforms, new = given.log_density(), given.transform(), given.drawn(np.random.default_rng(4))
    at_draws: Any = draws.true_features
    values = {"noise_scale": draws.noise_scale, **draws.auxiliary}
    for draw in (0, 123):
        at = {name: value[draw] for name, value in values.items()}
        for row in range(4):
            expected = np.zeros(2)
            for share, mean, variance in components_given(at_draws, draw, X[row], errors[row, 0, 0]):
                eta = mean + np.sqrt(variance) * np.linspace(-9.0, 9.0, 4001)
                one = likelihood, y[row], trials[row], eta, at
                weight = share * stats.norm.pdf(eta, mean, np.sqrt(variance))
                expected += [integrate.trapezoid(of(*one) * weight, eta) for of in (density, less)]
            assert_allclose(found[draw, row], np.log(expected[0]), atol=1e-6)
            assert_allclose(transforms[draw, row], expected[1], atol=1e-6)
    assert new.shape == found.shape
    assert np.isfinite(new).all()


@pytest.mark.parametrize("mixed", [False, True], ids=["normal", "mixture"])
@pytest.mark.parametrize("likelihood", [NormalLikelihood(), StudentTLikelihood()], ids=["normal", "t"])
def test_readings_tell_of_noise_that_they_share_errors_with(likelihood: Likelihood, mixed: bool) -> None:
    """By draws of everything, those kept whose reading is close to the row's: of 4 million about 20,000."""
    nodes = posterior(likelihood)
    nodes = replace(nodes, true_features=mixture_of_two(nodes)) if mixed else nodes
    row, error, y_err, c = np.array([1.4, -1.0]), 0.81, 1.3, 0.8
    one = np.zeros(4000, dtype=np.intp)
    draws = draws_of(nodes, 1, SAMPLED, np.random.default_rng(3))
    true: Any = draws.true_features
    true = replace(true.drawn(one, np.random.default_rng(0)), sharing=draws.noise_scale[one])
    draws = draws._replace(
        location=draws.location[one],
        noise_scale=draws.noise_scale[one],
        auxiliary={name: value[one] for name, value in draws.auxiliary.items()},
        true_features=true,
    )
    rng, n = np.random.default_rng(11), 4_000_000
    z = (row[1] - true.x_mean[1]) / true.x_scale[1]
    if mixed:
        of = (rng.random(n) > 0.3).astype(int)
        mean, sd = true.means[0, of, 0] + true.slopes[0, 0, 0] * z, np.sqrt(true.covariances[0, of, 0, 0])
        alpha, beta = true.line_at_zero[0]
    else:
        mu, Gamma, alpha, beta = true.theta[0]
        mean, sd = mu + Gamma * z, np.sqrt(true.variance[0, 0, 0])
    x = mean + sd * rng.standard_normal(n)
    u, own = rng.multivariate_normal(np.zeros(2), [[error, c], [c, y_err**2]], n).T
    kept = np.abs(true.x_mean[0] + true.x_scale[0] * x + u - row[0]) < 0.01
    x, own = x[kept], own[kept]
    s, nu = draws.noise_scale[0], draws.auxiliary.get("nu", [np.inf])[0]
    root = 1.0 if np.isinf(nu) else np.sqrt(nu / rng.chisquare(nu, kept.sum()))
    y = alpha + beta * z + true.coef[0, 0] * x + s * root * own
    targets = np.quantile(y, [0.02, 0.3, 0.5, 0.9])
    observed = Observed(
        np.tile(row, (4, 1)),
        targets,
        np.arange(4),
        np.full(4, y_err),
        np.tile([[error, c]], (4, 1, 1)),
        {},
        1.0,
    )
    given = GivenDraws(likelihood, SCALED, observed, draws, nodes.center).at(slice(None))
    less = given.transform()[0]
    expected = np.array([0.02, 0.3, 0.5, 0.9])
    assert_allclose(less, expected, atol=0.016)
    new = given.drawn(rng)
    assert_allclose((new[:, :, None] < targets).mean(axis=(0, 1)), less, atol=0.016)
    # The density is the slope of the probability.
    step = 1e-4
    ends = [
        GivenDraws(likelihood, SCALED, observed._replace(y=targets + sign * step), draws, nodes.center)
        .at(slice(None))
        .transform()[0]
        for sign in (-1.0, 1.0)
    ]
    assert_allclose(np.exp(given.log_density()[0]), (ends[1] - ends[0]) / (2.0 * step), rtol=1e-5)
    # To leave out what errors share would be noticed.
    apart = GivenDraws(
        likelihood, SCALED, observed._replace(feature_error=np.full((4, 1, 1), error)), draws, nodes.center
    )
    assert np.abs(apart.at(slice(None)).transform()[0] - expected).max() > 0.05
