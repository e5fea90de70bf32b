"""What fits with groups say of features with errors: how true ones spread, and rows without their groups' part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...inference.groups.drawn import DrawnEffects
from ...inference.nuts.rows import Approximation
from ...inference.posterior import Posterior
from ...inference.problem import Problem
from ...inference.structural.true_features import TrueFeatures
from ...inference.structural.true_mixture import TrueMixture

__all__ = ["rough_coefficients", "ungrouped", "with_levels"]

Array = NDArray[np.float64]


def with_levels(true: TrueFeatures | TrueMixture, posterior: Posterior) -> TrueFeatures | TrueMixture:
    """Return true features that differ within groups and between them as if they did from row to row."""
    effects = posterior.effects
    if not isinstance(effects, DrawnEffects) or effects.levels is None or not isinstance(true, TrueFeatures):
        return true
    between = np.square(effects.levels.deviations).sum(axis=1)
    return replace(true, variance=true.variance + between[:, :, None] * np.eye(between.shape[1]))


def ungrouped(
    problem: Problem, posterior: Posterior, X: Array, used: NDArray[np.intp]
) -> tuple[Array, Array | float]:
    """Return the features of some rows, and what is to be taken off their line, as if no groups were.

    Parameters
    ----------
    problem : Problem
    posterior : Posterior
        On the data's scale.
    X : ndarray of shape (rows, p)
    used : ndarray of shape (rows,)
        Their positions.
    """
    effects, members, true = posterior.effects, problem.rows.members, posterior.true_features
    if not isinstance(effects, DrawnEffects) or effects.levels is None or members is None or true is None:
        return X, 0.0
    weights, own, noisy = posterior.weights, members[used], true.noisy
    above = np.zeros((len(X), len(noisy)))
    for k, part in enumerate(effects.levels.values):
        above += np.tensordot(weights, part, axes=1)[own[:, k]] * effects.x_scale[noisy]
    X = X.copy()
    X[:, noisy] -= above
    of_features = above @ posterior.mean[1:][noisy]
    return X, effects.averaged(weights).line(X, own)[:, 0] + of_features


def rough_coefficients(problem: Problem) -> Array:
    """Return about the coefficients, (p,), of a model of exact features with groups, on the data's scale."""
    found, scaling = Approximation.with_groups(problem)[0], problem.scaling
    B = found.density.coefficients(found.point[None])[0]
    return np.asarray(scaling.y_scale * B[int(problem.fit_intercept) :] / scaling.x_scale, dtype=np.float64)
