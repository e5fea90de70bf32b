"""Priors in PyMC, and the parameters that samplers have of them: one place for every model.

Nothing here is for a single prior: a prior says what its PyMC distribution is. Equations (n) are those of
``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...priors.base import CoefficientPrior, Prior, ScaleMixture, ScalePrior, UnitPrior
from ...priors.coefficients import PoweredCorrelation
from ...priors.scales import NEGLIGIBLE_SCATTER, ScatterPrior
from ..problem import Problem
from .prior_coordinates import coefficients_at, is_conditional

Array = NDArray[np.float64]


def missing_distribution(problem: Problem) -> str | None:
    """Return the argument whose prior PyMC has no distribution for, with that prior, or None."""
    for role, prior in priors_of(problem).items():
        if isinstance(prior, ScaleMixture | PoweredCorrelation | ScatterPrior):
            continue
        if pymc_name(prior, role) is None:
            return f"{role}={prior!r}"
    return None


def pymc_name(prior: Prior, role: str) -> str | None:
    """Return PyMC's name of a prior's distribution."""
    if isinstance(prior, UnitPrior):
        return prior.unit_distribution
    if isinstance(prior, CoefficientPrior) and role in ("coef_prior", "intercept_prior"):
        return prior.distribution
    return prior.scale_distribution if isinstance(prior, ScalePrior) else None


def prior_parameters(problem: Problem) -> dict[str, Array | float]:
    """Return every number in the priors by ``role_parameter``, broadcast to one a feature where it may be."""
    sizes = {"coef_prior": problem.rows.n_features}
    return {
        f"{role}_{name}": value if role == "coef_prior" else np.asarray(value).item()
        for role, prior in priors_of(problem).items()
        for name, value in prior.check(role, sizes.get(role, 1)).items()
    }


def prior_density(
    prior: CoefficientPrior, parameters: Mapping[str, Any], entries: Any, scale: Any = 1.0
) -> Any:
    """Return the log density of entries of B under their prior, where it is learned at a scale."""
    return each_density(prior, parameters, entries, scale).sum()


def each_density(
    prior: CoefficientPrior, parameters: Mapping[str, Any], entries: Any, scale: Any = 1.0
) -> Any:
    """Return the log density of each entry of B under its prior."""
    import pymc as pm

    parameters = prior.at_learned_scale(parameters, scale)

    return pm.logp(getattr(pm, str(prior.distribution)).dist(**parameters), entries)


def priors_of(problem: Problem) -> dict[str, Any]:
    """Return the priors that the model has, by role."""
    priors: dict[str, Any] = {"coef_prior": problem.coef_prior}
    if problem.coef_prior.scale_prior is not None:
        priors["scale_prior"] = problem.coef_prior.scale_prior
    if problem.fit_intercept:
        priors["intercept_prior"] = problem.intercept_prior
    if problem.has_noise_scale:
        priors["noise_prior"] = problem.noise_prior
    if problem.noise.combined:
        priors["scatter_prior"] = problem.scatter_prior
    others = (other for other in problem.auxiliary if other.name not in ("noise_scale", "scatter"))
    priors |= {f"{other.name}_prior": other.prior for other in others}
    return priors


def positive_density(prior: Prior, role: str, parameters: Mapping[str, Any], value: Any) -> Any:
    """Return the log density of a scale or of another parameter of the likelihood under its prior."""
    import pymc as pm

    if isinstance(prior, ScatterPrior):
        return pm.logp(scatter_distribution(**parameters), value)
    return pm.logp(getattr(pm, str(pymc_name(prior, role))).dist(**parameters), value)


def scatter_distribution(beta: Any) -> Any:
    """Return `ScatterPrior` as a distribution of PyMC."""
    import pymc as pm

    wide, narrow = (pm.HalfCauchy.dist(beta=size) for size in (beta, NEGLIGIBLE_SCATTER * beta))
    return pm.Mixture.dist(w=[0.5, 0.5], comp_dists=[wide, narrow])


def of_role(given: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return the parameters of one prior by their own names."""
    return {name[len(role) + 1 :]: value for name, value in given.items() if name.startswith(f"{role}_")}


class NoiseVariables(NamedTuple):
    """What the noise is like, in PyTensor."""

    scale: Any
    """None where the noise is known."""
    scatter: Any
    """Of noise "auto"; else None."""
    terms: list[Any]
    """Log prior densities in the coordinates."""


def noise_variables(problem: Problem, given: Mapping[str, Any], u: Any) -> NoiseVariables:
    """Return the noise scale ``s`` and the scatter ``scatter``, variables of the PyMC model in hand.

    Of noise "auto" the coordinates are the logs of the noise at a typical error, and of what the scatter is there
    beside the multiplied error, (16a).
    """
    import pymc as pm
    import pytensor.tensor as pt

    if not problem.noise.has_scale:
        return NoiseVariables(None, None, [])
    log_scale = given["log_scale"][0] + given["log_scale"][1] * u[0]
    log_scatter, scatter = 0.0, None
    terms = []
    if problem.noise.combined:
        log_ratio = given["log_ratio"][0] + given["log_ratio"][1] * u[1]
        log_scale, log_scatter = scale_and_scatter(given, log_scale, log_ratio)
        scatter = pm.Deterministic("scatter", pt.exp(log_scatter))
        of_scatter = priors_of(problem)["scatter_prior"]
        terms.append(positive_density(of_scatter, "scatter_prior", of_role(given, "scatter_prior"), scatter))
    scale = pm.Deterministic("s", pt.exp(log_scale))
    prior = positive_density(problem.noise_prior, "noise_prior", of_role(given, "noise_prior"), scale)
    return NoiseVariables(scale, scatter, [prior, *terms, log_scale + log_scatter])


def scale_and_scatter(given: Mapping[str, Any], log_size: Any, log_ratio: Any) -> tuple[Any, Any]:
    """Return the logs of noise scale and scatter, whose volume is that of what they are given by, (16a)."""
    import pytensor.tensor as pt

    log_scale = log_size - pt.log(given["scatter_prior_beta"]) - 0.5 * pt.softplus(2.0 * log_ratio)
    return log_scale, log_size - 0.5 * pt.softplus(-2.0 * log_ratio)


def learned_scale(problem: Problem, given: Mapping[str, Any], u: Any) -> tuple[Any, list[Any]]:
    """Return the coefficients' prior scale, one where it is not learned, and its log prior density.

    Where it is learned it becomes the variable ``prior_scale`` of the PyMC model in hand.
    """
    import pymc as pm
    import pytensor.tensor as pt

    prior = problem.coef_prior.scale_prior
    if prior is None:
        return 1.0, []
    log_scale = given["log_prior_scale"][0] + given["log_prior_scale"][1] * u[0]
    scale = pm.Deterministic("prior_scale", pt.exp(log_scale))
    density = positive_density(prior, "scale_prior", of_role(given, "scale_prior"), scale)
    return scale, [density, log_scale]


class PlacedCoefficients(NamedTuple):
    """B under each geometry of the prior, in PyTensor."""

    B: Any
    """(A, P)"""
    log_prior: Any
    """(A,) log prior density in the coordinates, but for a constant."""


def following_prior(
    problem: Problem, given: Mapping[str, Any], u: Any, more: Any, scale: Any
) -> PlacedCoefficients:
    """Return B, a variable of the PyMC model in hand, given its prior's scale, (18a)."""
    import pymc as pm

    B, log_density, log_volume = coefficients_at(given, u, more, scale)
    first = int(problem.fit_intercept)
    if not is_conditional(problem.coef_prior):
        parameters = of_role(given, "coef_prior")
        log_density = log_volume + prior_density(problem.coef_prior, parameters, B[0, first:], scale)
    if first:
        parameters = of_role(given, "intercept_prior")
        log_density = log_density + each_density(priors_of(problem)["intercept_prior"], parameters, B[:, 0])
    pm.Deterministic("B", B)
    return PlacedCoefficients(B, log_density)


def over_geometries(log_density: Any) -> Any:
    """Return the log of the summed densities under each geometry, which become the variable ``geometry``."""
    import pymc as pm
    import pytensor.tensor as pt

    log_density = pm.Deterministic("geometry", log_density)
    # Large negative numbers: not every mode of compiling takes care of them.
    highest = log_density.max()
    return highest + pt.log(pt.exp(log_density - highest).sum())
