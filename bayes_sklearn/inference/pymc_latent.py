"""The model of features measured with error beside another likelihood than the normal one in PyMC, for the sampler.

The true features are sampled, in coordinates that are standard normal but for what the rows' densities are not.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..likelihoods import NormalLikelihood, Observations
from ._compat import quietly
from .prior_coordinates import scale_is_learned
from .problem import Problem
from .pymc_features import common_part, structural_parameters
from .pymc_likelihoods import likelihood_values, observations
from .pymc_model import unpacked

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model with true features: all that varies from data to data, but the number of rows, is a `pm.Data`.

    Parameters
    ----------
    problem : Problem
        Its structure alone is taken from it.
    data : mapping of str to ndarray or float
        As `latent_coordinates.latent_data` makes them.

    Returns
    -------
    pymc.Model
        One free variable ``u``, of which the likelihood's own parameters and ``x_true``, in units of the measured
        features' spread, follow by name.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        (q, width), n = np.shape(data["latent"]), len(np.asarray(data["factor"]))
        size, others = np.size(data["location"]) + scale_is_learned(problem), len(problem.auxiliary)
        with pm.Model() as model:
            given = unpacked(data)
            u = pm.Flat("u", shape=size + others + n * q)
            values, terms = likelihood_values(problem, given, u[size : size + others])
            # A normal target of known noise stands for the rows' densities.
            working = replace(problem, noise="known", likelihood=NormalLikelihood())
            found, priors = structural_parameters(working, given, u[:size], (q, width))
            own = u[size + others :].reshape((q, n))
            columns = given["factor"].T
            ones, left = columns[:width], columns[width : width + q + 1]
            covariance, rest = columns[width + q + 1 : -5], columns[-5:]
            seen = observations(problem, given, rest[2:])
            target, variance = rest[0], rest[1] * _less_information(problem, given, values, seen)
            left = left - pt.dot(found.deviation, ones)
            omega = covariance + common_part(found.change, found.T).dimshuffle(0, "x")
            omega = pt.inc_subtensor(omega[-1], variance)
            deviations, log_density = _true_deviations(found, left, omega, own)
            x = pt.dot(found.latent, ones) + pt.stack(deviations)
            pm.Deterministic("x_true", x.T)
            m = given["m"] + found.change
            # The line in (1, z) of y - m0'w, and what the true features differ from theirs by.
            eta = pt.dot(given["line"] + found.deviation[q] + pt.dot(given["m"], found.latent), ones)
            eta = eta + pt.dot(m, pt.stack(deviations))
            of_rows = problem.likelihood.graph(eta, values, seen)
            # Less the normal density that the coordinates take in its place.
            taken = 0.5 * (pt.square(target - eta) / variance + pt.log(variance))
            terms += [*priors, log_density, (of_rows + taken).sum(), -0.5 * pt.square(own).sum()]
            pm.Potential("log_posterior", sum(terms))
    return model


def _less_information(
    problem: Problem, given: Mapping[str, Any], values: Mapping[str, Any], seen: Observations
) -> Any:
    """Return by how much less the rows say than where the coordinates are from, (38).

    With that the true features' coordinates follow the likelihood's own parameters.
    """
    if not problem.auxiliary:
        return 1.0
    typical = {parameter.name: given[f"typical_{parameter.name}"] for parameter in problem.auxiliary}
    # Whatever the shares are: the ratio does not depend on them.
    then, now = (problem.likelihood.information(at, seen, 0.5) for at in ({**values, **typical}, values))
    return then / now


def _true_deviations(found: Any, left: Any, omega: Any, own: Any) -> tuple[list[Any], Any]:
    """Return the true features less their expectations, and the log density of what was measured, but for a constant.

    Elimination along all rows of the covariance of (w, y - m0'w, x): its first pivots give that density, what follows
    the mean and a root of x given the others.
    """
    import pytensor.tensor as pt

    q = found.change.type.shape[0]
    with_target = pt.dot(found.T, found.change)
    entry: dict[tuple[int, int], Any] = {
        (a, b): omega[a * (q + 1) + b] for a in range(q + 1) for b in range(a + 1)
    }
    for j in range(q):
        for b in range(q):
            entry[q + 1 + j, b] = found.T[j, b] + pt.zeros_like(left[0])
        entry[q + 1 + j, q] = with_target[j] + pt.zeros_like(left[0])
        for b in range(j + 1):
            entry[q + 1 + j, q + 1 + b] = found.T[j, b] + pt.zeros_like(left[0])
    residual = [left[a] for a in range(q + 1)]
    deviations: list[Any] = [0.0] * q
    square: Any = 0.0
    determinant: Any = 1.0
    order = 2 * q + 1
    for pivot in range(order):
        diagonal = entry[pivot, pivot]
        if pivot <= q:
            determinant, square = determinant * diagonal, square + residual[pivot] ** 2 / diagonal
            given_pivot = residual[pivot]
        else:
            given_pivot = pt.sqrt(diagonal) * own[pivot - q - 1]
            deviations[pivot - q - 1] = deviations[pivot - q - 1] + given_pivot
        for a in range(pivot + 1, order):
            share = entry[a, pivot] / diagonal
            if a <= q:
                residual[a] = residual[a] - share * residual[pivot]
            else:
                deviations[a - q - 1] = deviations[a - q - 1] + share * given_pivot
            for b in range(pivot + 1, a + 1):
                entry[a, b] = entry[a, b] - share * entry[b, pivot]
    return deviations, -0.5 * (square + pt.log(determinant)).sum()
