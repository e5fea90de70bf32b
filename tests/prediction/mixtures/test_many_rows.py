"""Quantiles of many rows, from few numbers of each, against sums over all nodes by SciPy's distributions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, ndtri

from bayes_sklearn.inference.node_covariances import SharedBasis
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.likelihoods import LIKELIHOODS, StudentTLikelihood
from bayes_sklearn.prediction.line import LinearPredictor
from bayes_sklearn.prediction.response import ResponsePredictive

Array = NDArray[np.float64]

N, SOME = 3000, np.array([0, 500, 1000, 1500, 2000, 2998, 2999])
LEVELS = np.array([0.025, 0.5, 0.975])


def posterior(spread: float, center: float = -0.5, size: int = 2000, seed: int = 0) -> Posterior:
    """Return a posterior of nodes that are points with weights, about x = 0."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(size, 3))
    location = [center, 0.8, -0.4] + spread * z
    nowhere = SharedBasis(np.empty((3, 0)), np.empty((size, 0)))
    scale = 0.5 * np.exp(0.05 * rng.normal(size=size) + 0.02 * z[:, 0])
    return Posterior(rng.dirichlet(np.full(size, 5.0)), location, nowhere, scale, np.zeros(2))


def rows() -> Array:
    """Return features, the last of them far out."""
    X = np.random.default_rng(1).normal(size=(N, 2))
    X[-2:] = [[4.0, 4.0], [-5.0, 3.0]]
    return X


def predictive(likelihood: str, of: Posterior, X: Array, **more: Any) -> ResponsePredictive:
    likelihood_ = StudentTLikelihood() if likelihood == "student_t" else LIKELIHOODS[likelihood]
    return ResponsePredictive(likelihood_, LinearPredictor.of(of, X), 0, **more)


def dispersed(of: Posterior, middle: float, spread: float) -> Array:
    rng = np.random.default_rng(2)
    return middle * np.exp(spread * rng.normal(size=len(of.weights)))


def counts_below(likelihood: str, k: float, trials: float, eta: Array, dispersion: Array | None) -> Array:
    if likelihood == "binomial":
        return stats.binom.cdf(k, trials, expit(eta))
    if likelihood == "poisson":
        return stats.poisson.cdf(k, trials * np.exp(eta))
    assert dispersion is not None
    if likelihood == "negative_binomial":
        return stats.nbinom.cdf(k, 1.0 / dispersion, 1.0 / (1.0 + dispersion * trials * np.exp(eta)))
    precision = (1.0 - dispersion) / dispersion
    return stats.betabinom.cdf(k, trials, expit(eta) * precision, expit(-eta) * precision)


@pytest.mark.parametrize("spread", [0.03, 0.15])
@pytest.mark.parametrize(
    ("likelihood", "center"),
    [
        ("binomial", -0.5),
        ("binomial", -5.0),
        ("poisson", 0.5),
        ("negative_binomial", 0.5),
        ("beta_binomial", 0.5),
        ("beta_binomial", -3.0),
    ],
)
def test_counts_are_the_least_that_reach_the_probability(
    likelihood: str, center: float, spread: float
) -> None:
    of, X, dispersion = posterior(spread, center), rows(), None
    if likelihood in ("negative_binomial", "beta_binomial"):
        dispersion = dispersed(of, 0.05 if likelihood == "beta_binomial" else 0.3, 0.15)
        of = replace(of, auxiliary={"dispersion": dispersion})
    # From one trial to as many as SciPy sums in no time.
    most = {"beta_binomial": 1.5, "poisson": 2.0, "negative_binomial": 2.0}.get(likelihood, 5.0)
    trials = np.rint(10.0 ** np.random.default_rng(3).uniform(0.0, most, N))
    found = predictive(likelihood, of, X, trials=trials)
    quantiles = found.ppf(LEVELS[:, None])
    lines = np.column_stack([np.ones(N), X]) @ of.location.T
    for row in SOME:
        for level, k in zip(LEVELS, np.rint(quantiles[:, row] * trials[row]), strict=True):
            at, less = (
                min(of.weights @ counts_below(likelihood, count, trials[row], lines[row], dispersion), 1.0)
                for count in (k, k - 1.0)
            )
            # Draws tell quantiles of their line no better than to 0.05, and groups of them are as far off.
            off = 0.06 if trials[row] > 300 or spread > 0.1 else 0.012
            assert ndtri(at) >= ndtri(level) - off, (row, level, k)
            assert ndtri(less) <= ndtri(level) + off, (row, level, k)


@pytest.mark.parametrize(
    ("likelihood", "errors"), [("student_t", False), ("student_t", True), ("beta", False)]
)
def test_measured_targets_have_the_quantiles_of_all_nodes(likelihood: str, errors: bool) -> None:
    of, X, more = posterior(0.03), rows(), {}
    if likelihood == "beta":
        of = replace(of, auxiliary={"dispersion": dispersed(of, 0.05, 0.15)})
    else:
        of = replace(of, auxiliary={"nu": 2.0 + dispersed(of, 3.0, 0.3)})
        error = np.random.default_rng(4).uniform(0.3, 3.0, N) if errors else 1.0
        more = {"noise": {"target_error": (0.0, np.square(error), 0.0)}}
    found = predictive(likelihood, of, X, **more)
    assert found._many_quantiles(LEVELS) is not None
    quantiles = found.ppf(LEVELS[:, None])
    lines = np.column_stack([np.ones(N), X]) @ of.location.T
    for row in SOME:
        for level, y in zip(LEVELS, quantiles[:, row], strict=True):
            if likelihood == "beta":
                precision = 1.0 / of.auxiliary["dispersion"] - 1.0
                below = stats.beta.cdf(y, expit(lines[row]) * precision, expit(-lines[row]) * precision)
            else:
                scale = of.noise_scale * (error[row] if errors else 1.0)
                below = stats.t.cdf(y, of.auxiliary["nu"], lines[row], scale)
            assert abs(ndtri(of.weights @ below) - ndtri(level)) < 0.015, (row, level)


def test_lines_that_are_no_single_heap_go_by_all_nodes() -> None:
    """Two heaps of draws far apart have no quantiles by cumulants: the answer is that of few rows."""
    of = posterior(0.02)
    location = of.location.copy()
    location[::2, 0] += 3.0
    of = replace(of, location=location)
    X, trials = rows(), np.full(N, 50.0)
    found = predictive("binomial", of, X, trials=trials)
    assert found._many_quantiles(LEVELS) is None
    assert_array_equal(found.ppf(0.975)[SOME[:5]], found._slow_quantiles(np.array([0.975]), SOME[:5])[0])


def test_disagreement_with_the_nodes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from bayes_sklearn.prediction.mixtures import shapes

    of, X = posterior(0.03), rows()
    of = replace(of, auxiliary={"dispersion": dispersed(of, 0.05, 0.15)})
    trials = np.full(N, 40.0)
    assert predictive("beta_binomial", of, X, trials=trials)._many_quantiles(LEVELS) is not None
    real = shapes.Laws.quantiles
    monkeypatch.setattr(shapes.Laws, "quantiles", lambda self, z: real(self, z) + 0.1)
    assert predictive("beta", of, X)._many_quantiles(LEVELS) is None


def test_rows_know_nothing_of_each_other() -> None:
    of, X = posterior(0.03), rows()
    trials = np.rint(10.0 ** np.random.default_rng(3).uniform(0.0, 3.0, N))
    quantiles = predictive("binomial", of, X, trials=trials).ppf(0.9)
    order = np.random.default_rng(5).permutation(N)
    shuffled = predictive("binomial", of, X[order], trials=trials[order]).ppf(0.9)
    assert_array_equal(shuffled, quantiles[order])
