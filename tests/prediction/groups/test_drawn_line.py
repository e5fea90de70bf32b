"""Rows in groups whose effects were drawn, beside sums over normal numbers by hand; nothing is sampled."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import expit

from bayes_sklearn.inference.groups.drawn import DrawnEffects
from bayes_sklearn.inference.groups.effects import Layout
from bayes_sklearn.inference.node_covariances import SharedBasis
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.likelihoods import BinomialLikelihood
from bayes_sklearn.prediction.groups.drawn import DrawnLine, grouped_line
from bayes_sklearn.prediction.line import LinearPredictive
from bayes_sklearn.prediction.response import ResponsePredictive

Array = NDArray[np.float64]

G = 4
LAYOUT = Layout((3, 2), ((1,), ()))
X_MEAN, X_SCALE, Y_SCALE = np.array([1.0, 10.0]), np.array([2.0, 5.0]), 3.0
X = np.array([[0.0, 10.0], [2.0, 18.0], [3.0, 4.0], [1.0, 12.0], [0.5, 7.0], [2.0, 9.0]])
# Known in both groupings; one new, shared by two rows; both new, of which one is shared.
MEMBERS = np.array([[0, 1], [3, 0], [3, 1], [3, 2], [4, 2], [2, 5]])


def posterior(y_scale: float = Y_SCALE) -> Posterior:
    rng = np.random.default_rng(0)
    effects = DrawnEffects(
        LAYOUT,
        (rng.normal(size=(G, 3, 2)), rng.normal(size=(G, 2, 1))),
        rng.uniform(0.2, 0.8, (G, 3)),
        X_MEAN,
        X_SCALE,
        1.0,
        y_scale,
    )
    weights, location = np.full(G, 1.0 / G), rng.normal(size=(G, 3)) * [1.0, 0.3, 0.1]
    nothing = SharedBasis(np.zeros((3, 0)), np.zeros((G, 0)))
    return Posterior(weights, location, nothing, np.ones(G), X_MEAN, effects=effects)


def by_hand(of: Posterior) -> tuple[Array, Array]:
    """Means at the nodes, (n, G), and covariances of what new groups add, (G, n, n)."""
    effects = of.effects
    assert isinstance(effects, DrawnEffects)
    z, y_scale = (X - X_MEAN) / X_SCALE, effects.y_scale
    means, covariance = np.empty((len(X), G)), np.zeros((G, len(X), len(X)))
    terms = np.stack([np.ones(len(X)), z[:, 1], np.ones(len(X))])
    grouping = [0, 0, 1]
    for g in range(G):
        for i in range(len(X)):
            line = of.location[g] @ np.append(1.0, X[i] - X_MEAN)
            for t, k in enumerate(grouping):
                if MEMBERS[i, k] < LAYOUT.sizes[k]:
                    line += y_scale * terms[t, i] * effects.values[k][g, MEMBERS[i, k], t % 2]
            means[i, g] = line
            for j in range(len(X)):
                for t, k in enumerate(grouping):
                    if MEMBERS[i, k] == MEMBERS[j, k] >= LAYOUT.sizes[k]:
                        both = terms[t, i] * terms[t, j]
                        covariance[g, i, j] += (y_scale * effects.deviations[g, t]) ** 2 * both
    return means, covariance


def test_lines_are_those_of_each_draw() -> None:
    of = posterior()
    line = grouped_line(of, X, None, MEMBERS)
    assert isinstance(line, DrawnLine)
    means, covariance = by_hand(of)
    lines = line.at(slice(0, 4))
    assert_allclose(lines.means, means[:4])
    assert_allclose(lines.variances, np.diagonal(covariance, axis1=1, axis2=2).T[:4])
    assert_allclose(line.mean(), means.mean(axis=1))
    known = grouped_line(of, X[:1], None, MEMBERS[:1])
    assert not known.is_spread
    assert_allclose(known.at(slice(None)).means, means[:1])
    away = means - means.mean(axis=1, keepdims=True)
    assert_allclose(line.covariance(), away @ away.T / G + covariance.mean(axis=0))
    parts = line.variance_parts()
    assert_allclose(parts["groups"], np.diagonal(covariance, axis1=1, axis2=2).mean(axis=0))
    assert_allclose(parts["parameters"], np.square(away).mean(axis=1))


def test_samples_of_rows_share_what_their_new_groups_have() -> None:
    of = posterior()
    found = LinearPredictive(grouped_line(of, X, None, MEMBERS), {}, 0)
    drawn = found.sample(40_000, random_state=1)
    covariance = found.covariance()
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert_allclose(np.cov(drawn) / scale, covariance / scale, atol=0.03)
    assert_allclose((drawn.mean(axis=1) - found.mean()) / np.sqrt(np.diag(covariance)), 0.0, atol=0.03)


@pytest.mark.parametrize("y_scale", [1.0, 2.0])
def test_means_of_shares_in_one_new_group_go_together(y_scale: float) -> None:
    """By a rule of many points for two normal numbers."""
    of = posterior(y_scale)
    found = ResponsePredictive(
        BinomialLikelihood(), grouped_line(of, X, None, MEMBERS), 0, include_noise=False
    )
    means, covariance = by_hand(of)
    points, masses = np.polynomial.hermite_e.hermegauss(80)
    first, second = (part.ravel() for part in np.meshgrid(points, points))
    mass = np.outer(masses, masses).ravel() / masses.sum() ** 2
    expected = np.empty((len(X), len(X)))
    whole = np.array(
        [expit(means + z * np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).T) for z in points]
    )
    mean = np.tensordot(masses / masses.sum(), whole, axes=1)
    for i in range(len(X)):
        for j in range(len(X)):
            total = 0.0
            for g in range(G):
                own = covariance[g][np.ix_([i, j], [i, j])]
                a = np.sqrt(own[0, 0])
                b = own[0, 1] / a if a else 0.0
                c = np.sqrt(max(own[1, 1] - b**2, 0.0))
                total += mass @ (expit(means[i, g] + a * first) * expit(means[j, g] + b * first + c * second))
            expected[i, j] = total / G - mean[i].mean() * mean[j].mean()
    off = ~np.eye(len(X), dtype=bool)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert_allclose((found.covariance() / scale)[off], (expected / scale)[off], atol=2e-3 * y_scale)
    assert_allclose(found.mean(), mean.mean(axis=1), rtol=2e-3 * y_scale)
