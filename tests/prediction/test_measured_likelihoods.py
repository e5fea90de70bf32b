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
from bayes_sklearn.inference.posterior import Posterior, SharedBasis
from bayes_sklearn.inference.structural.true_features import Components, Line, TrueFeatures
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
from bayes_sklearn.prediction.rows_given_draws import GivenDraws, MeasuredRowsGivenDraws, Observed

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


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=str)
def test_rows_are_held_against_every_component(likelihood: Likelihood) -> None:
    rng = np.random.default_rng(2)
    rows, nodes, count = 4, 3, 2
    weights = rng.dirichlet(np.ones(count), size=(rows, nodes)).reshape(rows, -1)
    mean, variance = rng.normal(size=(rows, nodes * count)), rng.uniform(0.1, 2.0, size=(rows, nodes * count))
    line = Line.of_components(Components(weights, mean, variance), count)
    data = Observations(np.array([0.0, 0.3, 0.5, 1.0]), trials=np.full(rows, 10.0))
    values = {"dispersion": np.full((nodes, 1), 0.1), "nu": np.full((nodes, 1), 4.0)}
    values["noise_scale"] = np.array([[0.3], [1.0], [2.0]])
    if not likelihood.counted:
        data = replace(data, trials=1.0)
    given = MeasuredRowsGivenDraws(likelihood, data, values, line)
    z = np.linspace(-10.0, 10.0, 20_001)[:, None]
    rule = np.exp(-0.5 * z[:, 0] ** 2) / np.exp(-0.5 * z[:, 0] ** 2).sum()
    density, below = np.zeros((2, nodes, rows))
    for node, row, c in np.ndindex(nodes, rows, count):
        at = node * count + c
        eta = mean[row, at] + np.sqrt(variance[row, at]) * z
        own = {key: value[node] for key, value in values.items()}
        one = data.take(slice(row, row + 1))
        density[node, row] += weights[row, at] * (rule @ np.exp(likelihood.log_density(eta, own, one)[:, 0]))
        below[node, row] += weights[row, at] * (rule @ likelihood.probability_of_less(eta, own, one)[:, 0])
    per_unit = np.log(np.asarray(data.trials))
    assert_allclose(given.log_density(), np.log(density) + per_unit, rtol=0.0, atol=1e-5)
    assert_allclose(given.transform(), below, rtol=0.0, atol=1e-5)
