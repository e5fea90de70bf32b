"""A normal target in the place of another likelihood's: where to search, and about what.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.additive import NormalLikelihood
from ...likelihoods.limited import Censored, Truncated
from ...likelihoods.noise import KNOWN
from ...likelihoods.parameters import Auxiliary
from ...measurements.limits import Limits
from ..problem import Problem
from ..structural.mixture import MixtureProblem
from ..structural.target import Target
from .regression_density import RegressionDensity
from .regression_nodes import find_proposal

Array = NDArray[np.float64]


def working_target(problem: Problem, used: NDArray[np.intp] | slice) -> tuple[Problem, Target]:
    """Return the problem with a normal target of known errors, and the rows' own target.

    The normal one has the slope and about the curvature of each row's log density where the fit that takes features
    for true has its mode, (38).

    Parameters
    ----------
    problem : Problem
    used : ndarray of int or slice
        The rows that count.
    """
    exact = problem.without_feature_errors()
    density = RegressionDensity(exact.gaussian_like())
    following, component = find_proposal(density)
    k, point = density.n_coefficients, component.center
    if following is not None:
        point = np.append(following.center, point[k:])
    B, coordinates = density.coefficients(point[None])[0], point[k : k + len(exact.auxiliary)]
    data = problem.observations()
    eta = np.concatenate([design @ B for _, design in problem.design_blocks()])
    found = problem.likelihood.derivatives(eta, coordinates, data)
    # Rows that hardly say anything of the line say a little.
    curvature = np.maximum(found.curvature, 1e-4 * np.median(found.curvature))
    scaling, further, noise = problem.scaling, [], {"noise_scale": 1.0, "scatter": 0.0}
    for parameter, c in zip(exact.auxiliary, coordinates, strict=True):
        if parameter.name in noise:
            noise[parameter.name] = float(parameter.coordinate.value(c))
        else:
            further.append((parameter, float(c)))
    working = replace(
        problem,
        rows=replace(
            problem.rows, y=scaling.y_mean + scaling.y_scale * (eta + found.gradient[0] / curvature)
        ),
        standard_error=scaling.y_scale / np.sqrt(curvature),
        average_error=None,
        noise=KNOWN,
        likelihood=NormalLikelihood(),
        trials=None,
    )
    return working, Target(
        problem.likelihood,
        data.take(used),
        tuple(parameter for parameter, _ in further),
        np.array([c for _, c in further]),
        (noise["noise_scale"], noise["scatter"]),
    )


def selection_of(
    problem: Problem, used: NDArray[np.intp] | slice, auxiliary: tuple[Auxiliary, ...]
) -> Target | None:
    """Return how probable it is that rows are selected, as a target that lies between the limits, or None.

    Parameters
    ----------
    problem : Problem
    used : ndarray of int or slice
        The rows that count.
    auxiliary : tuple of Auxiliary
        The likelihood's further parameters, as their own target has them.
    """
    if problem.truncation is None:
        return None
    data = problem.observations().take(used)
    lower, upper = Truncated(problem.likelihood, *problem.scaled_truncation).ends(data)
    limits = Limits(np.ones(len(data.y), dtype=bool), lower, upper)
    data = replace(data, y=np.where(np.isfinite(lower), lower, upper), limits=limits)
    return Target(Censored(problem.likelihood.population), data, auxiliary, np.zeros(0), (1.0, 0.0))


def unseen_bend(mixture: MixtureProblem) -> list[str]:
    """Return what the weights of nodes do not tell where outcomes are all 0 or all 1.

    Slopes may then be any where the features' true spread is small, if their prior is on the signal alone. With the
    intercept's prior far away, the line where features are is as wide: along a bend that no node may have seen.
    """
    target, data = mixture.target, mixture.data
    if target is None or not data.slopes.on_signal or data.intercept is None or np.isinf(data.intercept[1]):
        return []
    outcomes = np.unique(target.data.y)
    alike = target.likelihood.counted and len(outcomes) == 1 and float(outcomes[0]) in (0.0, 1.0)
    away = (np.abs(mixture.center[1]) > 1.0).any()  # in units of the measured features' spread
    return (
        ["outcomes are all alike, and far from where intercept_prior holds the line"]
        if alike and away
        else []
    )
