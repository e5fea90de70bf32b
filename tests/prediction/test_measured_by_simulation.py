"""New rows whose features have errors, by every likelihood, against draws of node, component, line and target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import expit

from bayes_sklearn.inference.node_covariances import SharedBasis
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.structural.true_features import TrueFeatures
from bayes_sklearn.inference.structural.true_mixture import TrueMixture
from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BinomialLikelihood,
    Likelihood,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.noise import SCALED
from bayes_sklearn.measurements.target_errors import CountErrors
from bayes_sklearn.prediction.new_measurements import new_rows
from bayes_sklearn.prediction.noise import NoiseModel

Array = NDArray[np.float64]

NODES, DRAWS = 1500, 300_000

# Of some hundred comparisons none is so many standard errors away by chance.
FAR = 4.5

X = np.array([[0.4, -1.0], [2.0, 0.3], [-1.6, 0.8]])

ERRORS = np.array([0.5, 1.2, 0.3]).reshape(3, 1, 1)


def posterior(likelihood: Likelihood, components: int, wide: float) -> Posterior:
    """Return weighted nodes that are points, as importance sampling gives them."""
    rng = np.random.default_rng(0)
    weights = rng.lognormal(0.0, 0.7, NODES)
    given: dict[str, Any] = {
        "noisy": np.array([0]),
        "n_features": 2,
        "coef": wide * (1.0 + 0.1 * rng.normal(size=(NODES, 1))),
        "x_mean": np.array([0.2, -0.1]),
        "x_scale": np.array([1.5, 0.8]),
        "y_mean": 0.0,
        "y_scale": 1.0,
    }
    true: TrueFeatures | TrueMixture
    if components == 1:
        theta = np.array([0.5, 0.3, -0.4, 0.2]) + 0.05 * rng.normal(size=(NODES, 4))
        variance = np.exp(0.1 * rng.normal(size=(NODES, 1, 1)))
        true = TrueFeatures(
            intercept=True, variance=variance, theta=theta, root=np.zeros((NODES, 4, 0)), **given
        )
    else:
        true = TrueMixture(
            line_at_zero=np.array([-0.4, 0.2]) + 0.05 * rng.normal(size=(NODES, 2)),
            means=np.array([[-1.5], [1.5]]) + 0.1 * rng.normal(size=(NODES, 2, 1)),
            slopes=0.3 + 0.05 * rng.normal(size=(NODES, 1, 1)),
            covariances=np.array([0.1, 0.6]).reshape(2, 1, 1)
            * np.exp(0.1 * rng.normal(size=(NODES, 2, 1, 1))),
            log_shares=np.log(rng.dirichlet([30.0, 20.0], NODES)),
            **given,
        )
    auxiliary = {
        "student_t": {"nu": 4.5 + rng.gamma(3.0, 1.0, NODES)},
        "beta_binomial": {"dispersion": rng.uniform(0.02, 0.1, NODES)},
    }
    model = Posterior(
        weights=weights / weights.sum(),
        location=true.coefficients()[0],
        covariances=SharedBasis(np.zeros((3, 0)), np.zeros((NODES, 0))),
        noise_scale=rng.uniform(0.4, 0.5, NODES),
        center=np.zeros(2),
        true_features=true,
        auxiliary=auxiliary.get(likelihood.name, {}),
    )
    return model.measured(None)[0]


def simulated(
    likelihood: Likelihood, nodes: Posterior, row: int, trials: float, rng: np.random.Generator
) -> dict[str, Array]:
    """Return targets, their means given the node's component and eta, and the nodes of the draws."""
    true: Any = nodes.true_features
    w, z = (X[row] - true.x_mean) / true.x_scale
    U = float(ERRORS[row, 0, 0]) / true.x_scale[0] ** 2
    if isinstance(true, TrueMixture):
        shares, T = np.exp(true.log_shares), true.covariances[:, :, 0, 0]
        expected = true.means[:, :, 0] + true.slopes[:, 0] * z
        alpha = true.line_at_zero @ [1.0, z]
    else:
        mu, slope, intercept, beta = true.theta.T
        shares, T = np.ones((NODES, 1)), true.variance[:, :, 0]
        expected, alpha = (mu + slope * z)[:, None], intercept + beta * z
    shares = shares * np.exp(-0.5 * (w - expected) ** 2 / (T + U)) / np.sqrt(T + U)
    shares /= shares.sum(axis=1, keepdims=True)
    node = rng.choice(NODES, DRAWS, p=nodes.weights)
    component = (rng.random(DRAWS) > shares[node, 0]).astype(np.intp)
    center = expected + T / (T + U) * (w - expected)
    spread = np.sqrt(T * U / (T + U))
    x = center[node, component] + spread[node, component] * rng.standard_normal(DRAWS)
    eta = alpha[node] + true.coef[node, 0] * x
    at = {name: value[node] for name, value in nodes.auxiliary.items()}
    if likelihood.name == "student_t":
        return {"y": eta + nodes.noise_scale[node] * rng.standard_t(at["nu"]), "mean": eta, "node": node}
    share = expit(eta)
    if likelihood.name == "beta_binomial":
        size = (1.0 - at["dispersion"]) / at["dispersion"]
        y = rng.beta(share * size, (1.0 - share) * size)
    else:
        y = share
    counted = rng.binomial(int(trials), y) / trials if trials else y
    return {"y": counted, "mean": share, "node": node}


@pytest.mark.parametrize("wide", [0.3, 1.5])
@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize(
    ("likelihood", "trials"),
    [
        (StudentTLikelihood(), 0.0),
        (BinomialLikelihood(), 0.0),
        (BinomialLikelihood(), 25.0),
        (BinomialLikelihood(), 20_000.0),
        (BetaBinomialLikelihood(), 0.0),
        (BetaBinomialLikelihood(), 25.0),
        (BetaBinomialLikelihood(), 2_000.0),
    ],
    ids=lambda value: value.name if isinstance(value, Likelihood) else str(value),
)
def test_predictions_are_those_of_draws(
    likelihood: Likelihood, trials: float, components: int, wide: float
) -> None:
    """Within `FAR` standard errors, and 1.5e-3 in probability by which few points stand for all nodes."""
    nodes, rng = posterior(likelihood, components, wide), np.random.default_rng(1)
    counts = np.full(3, trials) if trials else None
    found = new_rows(
        likelihood,
        nodes,
        NoiseModel(SCALED, "counts" if likelihood.counted else "none", 0.0, CountErrors(0.0)),
        X,
        None,
        counts=counts,
        columns={},
        feature_error=ERRORS,
        include_noise=True,
        seed=0,
    )
    levels = np.array([0.02, 0.3, 0.7, 0.98])
    quantiles, parts = found.ppf(levels[:, None]), found.variance_parts
    below = found.cdf(quantiles)
    drawn = found.sample(20_000, random_state=3)
    assert_allclose(np.diag(found.covariance()), found.var(), rtol=1e-9)
    for row in range(3):
        draws = simulated(likelihood, nodes, row, trials, rng)
        y, root = draws["y"], np.sqrt(DRAWS)
        assert abs(y.mean() - found.mean()[row]) < FAR * y.std() / root
        square = np.square(y - y.mean())
        assert abs(square.mean() - found.var()[row]) < FAR * square.std() / root
        for k in range(len(levels)):
            share = np.mean(y <= quantiles[k, row] + 1e-12)
            assert abs(share - below[k, row]) < FAR * np.sqrt(0.25 / DRAWS) + 1.5e-3
            if trials in (0.0, 20_000.0):
                assert abs(below[k, row] - levels[k]) < 1e-3
        # Within the nodes, and between them: of draws by node.
        size = np.bincount(draws["node"], minlength=NODES)
        means = np.bincount(draws["node"], draws["mean"], NODES) / np.maximum(size, 1)
        within = np.square(draws["mean"] - means[draws["node"]])
        scaled = within * (size / np.maximum(size - 1, 1))[draws["node"]]
        assert (
            abs(scaled.mean() - parts["feature_error"][row])
            < FAR * scaled.std() / root + 1e-4 * scaled.mean()
        )
        z = (drawn[row].mean() - found.mean()[row]) / (found.std()[row] / np.sqrt(20_000))
        assert abs(z) < FAR
    k = np.array([0, 2])
    apart = drawn[k] - drawn[k].mean(axis=1, keepdims=True)
    product = apart[0] * apart[1]
    assert abs(product.mean() - found.covariance()[0, 2]) < FAR * product.std() / np.sqrt(20_000)
