"""Likelihoods of rows that were selected by their targets: derivatives, draws and transforms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BinomialLikelihood,
    Likelihood,
    NormalLikelihood,
    Observations,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.limited import Truncated
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.priors import HalfNormal

CASES = [
    (NormalLikelihood(), "auto", (-0.5, np.inf)),
    (NormalLikelihood(), "additive", (-3.0, 0.4)),
    (StudentTLikelihood(), "scaled", (1.0, 2.0)),
    (BinomialLikelihood(), "scaled", (0.0, 0.8)),
    (BetaBinomialLikelihood(), "scaled", (0.0, np.inf)),
]


def case(likelihood: Likelihood, noise: Any) -> tuple[Any, Observations]:
    rng = np.random.default_rng(0)
    if likelihood.counted:
        trials = rng.integers(5, 60, 40).astype(float)
        return rng.normal(size=40), Observations(np.ceil(0.3 * trials) / trials, trials=trials)
    data = Observations(rng.normal(size=40), rng.uniform(0.3, 2.0, 40), NOISES[noise], visible=0.3)
    return rng.normal(size=40), data


@pytest.mark.parametrize(("of", "noise", "limits"), CASES)
def test_derivatives_of_selected_rows_are_those_of_their_density(
    of: Likelihood, noise: Any, limits: Any
) -> None:
    likelihood = Truncated(of, *limits)
    eta, data = case(of, noise)
    parameters = likelihood.auxiliary(data.noise, data.visible, HalfNormal())
    starts = [0.2 if one.name == "dispersion" else one.coordinate.lower + 0.6 for one in parameters]
    point = np.array(
        [float(one.coordinate.of(np.array(at))) for one, at in zip(parameters, starts, strict=True)]
    )
    found = likelihood.derivatives(eta, point, data)

    def density(line: Any, coordinates: Any) -> Any:
        values = {one.name: one.coordinate.value(coordinates[i]) for i, one in enumerate(parameters)}
        return likelihood.log_density(line, values, data)

    assert_allclose(found.value, density(eta, point))
    for j, direction in enumerate(np.eye(1 + len(point))):
        h = 1e-4 * direction
        up, down = ((eta + sign * h[0], point + sign * h[1:]) for sign in (1.0, -1.0))
        assert_allclose(found.gradient[j], (density(*up) - density(*down)) / 2e-4, rtol=1e-4, atol=1e-5)
        slopes = [likelihood.derivatives(*at, data).gradient for at in (up, down)]
        assert_allclose(found.hessian[j], (slopes[0] - slopes[1]) / 2e-4, rtol=5e-3, atol=5e-3)
    assert (found.curvature > 0.0).all()


@pytest.mark.parametrize(("of", "noise", "limits"), CASES)
@pytest.mark.parametrize("away", [0.0, -6.0])
def test_new_rows_are_between_the_limits_and_have_their_distribution(
    of: Likelihood, noise: Any, limits: Any, away: float
) -> None:
    likelihood, rng = Truncated(of, *limits), np.random.default_rng(1)
    eta, data = case(of, noise)
    eta = np.tile(eta + away, (500, 1))
    values = {"noise_scale": 0.6, "scatter": 0.2, "nu": 3.0, "dispersion": 0.1}
    of_draws = {name: np.full((500, 1), value) for name, value in values.items()}
    drawn = likelihood.draw(eta, of_draws, data, rng)
    assert ((drawn > limits[0]) & (drawn <= limits[1])).all()
    transforms = np.array(
        [likelihood.probability_of_less(eta[:1], values, replace(data, y=of_draw))[0] for of_draw in drawn]
    )
    if likelihood.counted:
        # Within the probability of the count itself they are as likely everywhere.
        own = np.exp(
            [likelihood.log_density(eta[:1], values, replace(data, y=of_draw))[0] for of_draw in drawn]
        )
        transforms += own * rng.uniform(-0.5, 0.5, own.shape)
    assert stats.kstest(transforms.ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("of", "noise", "limits"), CASES)
def test_what_of_selected_rows_is_the_population_s(of: Likelihood, noise: Any, limits: Any) -> None:
    likelihood, (eta, data) = Truncated(of, *limits), case(of, noise)
    assert likelihood.population is of
    assert of.population is of
    assert likelihood.name == of.name
    assert likelihood.link is of.link
    assert likelihood.structure[1:] == (*of.structure, *likelihood._finite)
    values = {
        "noise_scale": np.ones(1),
        "scatter": np.ones(1),
        "nu": np.full(1, 5.0),
        "dispersion": np.full(1, 0.1),
    }
    assert_allclose(likelihood.information(values, data, 0.3), of.information(values, data, 0.3))
    mean = of.link.mean(eta)
    assert_allclose(likelihood.variance(mean, values, data), of.variance(mean, values, data))
