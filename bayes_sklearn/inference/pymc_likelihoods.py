"""The model with another likelihood than the normal one in PyMC, for the sampler, on the rows themselves.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..likelihoods import Observations
from ..priors import ScaleMixture
from ._compat import quietly
from .prior_coordinates import follows_prior
from .problem import Problem
from .pymc_model import unit_of, unpacked
from .pymc_priors import (
    following_prior,
    learned_scale,
    of_role,
    over_geometries,
    positive_density,
    prior_density,
    priors_of,
    scale_and_scatter,
)

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model on the rows: all that varies from data to data is a `pm.Data`.

    Parameters
    ----------
    problem : Problem
        Its structure alone is taken from it.
    data : mapping of str to ndarray or float
        As `likelihood_coordinates.likelihood_data` makes them.

    Returns
    -------
    pymc.Model
        One free variable ``u`` in coordinates of about unit scale; ``B`` (without the intercept where there is
        none), the likelihood's own parameters and a mixture's scales follow from it by name.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        p, prior = problem.rows.n_features, problem.coef_prior
        k, others = p + problem.fit_intercept, len(problem.auxiliary)
        placed, at = follows_prior(problem), k + others
        learned = prior.scale_prior is not None
        mixture = prior.n_coordinates(p) if isinstance(prior, ScaleMixture) else 0
        with pm.Model() as model:
            given, priors = unpacked(data), priors_of(problem)
            parameters = {role: of_role(given, role) for role in priors}
            u = pm.Flat("u", shape=at + learned + mixture)
            values, terms = likelihood_values(problem, given, u[k:at])
            columns = given["factor"].T
            seen = observations(problem, given, columns[k + (not placed) :])
            if placed:
                scale, more = learned_scale(problem, given, u[at:])
                ratio = 1.0 + _rows_say(problem, given, values) if problem.has_noise_scale else 1.0
                found = following_prior(problem, given, u[:k], ratio, scale)
                eta = pt.dot(found.B, columns[:k])
                of_rows = pt.dot(problem.likelihood.graph(eta, values, seen), columns[-1])
                terms += [*more, over_geometries(found.log_prior + of_rows)]
                pm.Potential("log_posterior", sum(terms))
                return model
            if mixture:
                unit = unit_of(problem.likelihood, values, seen, given["pooled"], columns[-1])
                scales = problem.coef_prior.scales(u[at:], parameters["coef_prior"], unit)
                for name, value in scales.named.items():
                    pm.Deterministic(name, value)
                own, more = _given_scales(problem, given, values, scales.sd, u[:k])
                terms += [scales.log_density, *more]
            else:
                own, more = _following(problem, given, values, u[:k])
                terms += more
            B = pm.Deterministic("B", given["start"] + pt.dot(given["spread"], own))
            if not mixture:
                terms.append(prior_density(prior, parameters["coef_prior"], B[problem.fit_intercept :]))
            if problem.fit_intercept:
                terms.append(prior_density(priors["intercept_prior"], parameters["intercept_prior"], B[:1]))
            eta = pt.dot(own, columns[:k]) + columns[k]
            terms.append(pt.dot(problem.likelihood.graph(eta, values, seen), columns[-1]))
            pm.Potential("log_posterior", sum(terms))
    return model


def likelihood_values(problem: Problem, given: Mapping[str, Any], u: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return the likelihood's parameters by name, and their log prior densities in the coordinates.

    They become variables of the PyMC model in hand.
    """
    import pymc as pm
    import pytensor.tensor as pt

    values: dict[str, Any] = {name: given[f"fixed_{name}"] for name in problem.likelihood.constants}
    terms: list[Any] = []
    if not problem.auxiliary:
        return values, terms
    coordinates = given["place"] + pt.dot(given["spread_of_auxiliary"], u)
    for i, parameter in enumerate(problem.auxiliary):
        if problem.noise == "auto" and i < 2:
            log_slope = scale_and_scatter(given, coordinates[0], coordinates[1])[i]
            above = pt.exp(log_slope)
        else:
            above, log_slope = parameter.for_sampler.graph(coordinates[i], given["coordinate_unit"][i])
        role = "noise_prior" if parameter.name == "noise_scale" else f"{parameter.name}_prior"
        terms += [positive_density(parameter.prior, role, of_role(given, role), above), log_slope]
        values[parameter.name] = pm.Deterministic(parameter.name, above + given["coordinate_lower"][i])
    return values, terms


def observations(problem: Problem, given: Mapping[str, Any], columns: Any) -> Observations:
    """Return what the likelihood sees of the rows, as `likelihood_coordinates.row_columns` has it, in PyTensor."""
    return Observations(columns[0], columns[1], problem.noise, columns[2], given.get("resolution", 0.0))


def _rows_say(problem: Problem, given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return by how much more the rows say than where the coordinates are from, r - 1 in (36)."""
    squared = values["noise_scale"] ** 2 + given["floor"] ** 2
    if problem.noise == "auto":
        squared = (values["noise_scale"] * given["floor"]) ** 2 + values["scatter"] ** 2
    return given["variance"] / squared - 1.0


def _following(
    problem: Problem, given: Mapping[str, Any], values: Mapping[str, Any], u: Any
) -> tuple[Any, list[Any]]:
    """Return the coefficients in coordinates of which B is a linear function, and the log of the volume, (36)."""
    import pytensor.tensor as pt

    if not problem.has_noise_scale:
        return u, []
    ratio = _rows_say(problem, given, values)
    precision = 1.0 + given["share"] * ratio
    own = given["pull"] * ratio / precision + u / pt.sqrt(precision)
    return own, [-0.5 * pt.log(precision).sum()]


def _given_scales(
    problem: Problem, given: Mapping[str, Any], values: Mapping[str, Any], sd: Any, u: Any
) -> tuple[Any, list[Any]]:
    """Return the coefficients given their scales, and the logs of their prior density and of the volume, (37)."""
    import pytensor.tensor as pt

    first = int(problem.fit_intercept)
    if first:
        sd = pt.concatenate([given["intercept_scale"].reshape((1,)), sd])
    more = 1.0 + _rows_say(problem, given, values) if problem.has_noise_scale else 1.0
    size = sd.shape[0]
    precision = pt.eye(size) + more * sd[:, None] * given["curvature"] * sd
    root = pt.linalg.cholesky(precision)
    whitened = pt.linalg.solve_triangular(root, more * sd * given["rows_pull"], lower=True)
    scaled = pt.linalg.solve_triangular(root.T, whitened + u, lower=False)
    volume = -pt.log(pt.diagonal(root)).sum()
    return sd * scaled, [volume, -0.5 * pt.square(scaled[first:]).sum()]
