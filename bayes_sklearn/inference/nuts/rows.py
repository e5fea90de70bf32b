"""The model with another likelihood than the normal one in PyMC, for the sampler, on the rows themselves.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Observations
from ...likelihoods.parameters import Log
from ...measurements.limits import Sides
from ...priors.base import ScaleMixture
from .._compat import quietly
from ..importance.noise_coordinates import FollowingNoise
from ..importance.regression_density import RegressionDensity, root_of
from ..importance.regression_nodes import find_proposal
from ..posterior import Posterior
from ..problem import Problem
from ..propriety import check_proper
from ..settings import SamplerSettings
from .formulation import Draws, Formulation, following_nodes, nodes_of, unpacked
from .groups.graph import GroupsAt, effects_of, n_coordinates
from .groups.rough_fit import GroupTable, RoughFit, Shifted, group_columns, rough_fit
from .prior_coordinates import (
    coefficients_given_scales,
    gaussian_given_scale,
    likely_scale,
    prior_coordinates,
)
from .pymc_priors import (
    following_prior,
    learned_scale,
    of_role,
    over_geometries,
    positive_density,
    prior_density,
    prior_parameters,
    priors_of,
    rows_say,
    scale_and_scatter,
    unit_of,
)

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model on the rows: all that varies from data to data is a `pm.Data`.

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
        k = p + problem.fit_intercept
        at = k + len(problem.auxiliary)
        mixture = prior.n_coordinates(p) if isinstance(prior, ScaleMixture) else 0
        with pm.Model() as model:
            given = unpacked(data)
            end = at + (prior.scale_prior is not None) + mixture
            u = pm.Flat("u", shape=end + n_coordinates(problem))
            values, terms = likelihood_values(problem, given, u[k:at])
            columns = given["factor"].T
            seen = observations(problem, given, columns[k + 1 :])
            more = rows_say(problem, given, values) if problem.has_noise_scale else 1.0
            groups = None if problem.groupings is None else GroupsAt.of(problem, given, u[end:], more, terms)
            given = given if groups is None else given | groups.graph.marginal(given, more)
            if mixture:
                unit = unit_of(problem.likelihood, values, seen, given["pooled"], columns[-1])
                scales = problem.coef_prior.scales(u[at:end], of_role(given, "coef_prior"), unit)
                for name, value in scales.named.items():
                    pm.Deterministic(name, value)
                B, of_B = _given_scales(problem, given, scales.sd, u[:k], more)
                own, log_prior = B - given["start"], sum(of_B)
                terms.append(scales.log_density)
            else:
                scale, of_scale = learned_scale(problem, given, u[at:])
                found = following_prior(problem, given, u[:k], more, scale)
                own, log_prior = found.own, found.log_prior
                terms += of_scale
            eta = columns[k] + pt.dot(own, columns[:k])
            if groups is not None:
                of_groups, log_density = groups.line(own, columns[k + 1 + n_row_columns(problem) : -1])
                eta, log_prior = eta + of_groups, log_prior + log_density
            of_rows = problem.likelihood.graph(eta, values, seen)
            terms.append(over_geometries(log_prior + pt.dot(of_rows, columns[-1])))
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
        if problem.noise.combined and i < 2:
            log_slope = scale_and_scatter(given, coordinates[0], coordinates[1])[i]
            above = pt.exp(log_slope)
        else:
            above, log_slope = parameter.for_sampler.graph(coordinates[i], given["coordinate_unit"][i])
        role = "noise_prior" if parameter.name == "noise_scale" else f"{parameter.name}_prior"
        terms += [positive_density(parameter.prior, role, of_role(given, role), above), log_slope]
        values[parameter.name] = pm.Deterministic(parameter.name, above + given["coordinate_lower"][i])
    return values, terms


def observations(problem: Problem, given: Mapping[str, Any], columns: Any) -> Observations:
    """Return what the likelihood sees of the rows, as `row_columns` has it, in PyTensor."""
    sides: Any = None if problem.limits is None else Sides(*(columns[i] for i in range(3, 6)))
    resolution = given.get("resolution", 0.0)
    return Observations(columns[0], columns[1], problem.noise, columns[2], resolution, limits=sides)


def _given_scales(
    problem: Problem, given: Mapping[str, Any], sd: Any, u: Any, more: Any
) -> tuple[Any, list[Any]]:
    """Return B given its scales, and the logs of its prior density and of the volume, (37)."""
    import pymc as pm
    import pytensor.tensor as pt

    first = int(problem.fit_intercept)
    if first:
        sd = pt.concatenate([given["intercept_scale"].reshape((1,)), sd])
    away, terms = coefficients_given_scales(given, sd, u, more, first)
    B = pm.Deterministic("B", given["start"] + away)
    if first:
        parameters = of_role(given, "intercept_prior")
        terms.append(prior_density(priors_of(problem)["intercept_prior"], parameters, B[:1]))
    return B, terms


@dataclass(frozen=True, eq=False)
class Approximation:
    """The normal approximation under Gaussian priors."""

    density: RegressionDensity
    following: FollowingNoise | None
    """Where the noise has a scale: how the coefficients follow it."""
    point: Array
    """(d,) the coefficients' mode given the likelihood's own parameters, and these parameters' coordinates."""
    root: Array
    """(A, A) a root of the covariance of the likelihood's own parameters' coordinates."""

    @classmethod
    def of(cls, problem: Problem, shift: Array | None = None) -> Approximation:
        """Return the approximation of a problem without errors of features, with a part of its line that is known."""
        like = problem.gaussian_like()
        density = RegressionDensity(like) if shift is None else Shifted(like, shift=shift)
        k = density.n_coefficients
        following, component = find_proposal(density)
        point = component.center
        if following is not None:
            point = np.append(following.center, point[k:])
        root: Array = component.root[k:] @ component.root[k:].T
        if len(root):
            root = np.asarray(np.linalg.cholesky(root), dtype=np.float64)
        return cls(density, following, point, root)

    @classmethod
    def with_groups(cls, problem: Problem) -> tuple[Approximation, RoughFit]:
        """Return the approximation beside groups' effects, and that of these: they are found in turns."""
        found, table, groups = cls.of(problem), GroupTable.of(problem), None
        k = found.density.n_coefficients
        for _ in range(3 if problem.auxiliary else 1):
            groups = rough_fit(table, found.density.wide, found.point[k:], groups)
            found = cls.of(problem, groups.shift)
        if groups is None:
            raise AssertionError  # for the type checker
        return found, groups

    def intercept_deviation(self) -> float:
        """Return the intercept's standard deviation in the model's units given the other parameters."""
        density, k = self.density, self.density.n_coefficients
        if self.following is not None:
            basis = self.following.basis
        else:
            basis = root_of(density.derivatives(self.point, np.ones(k)), k)
        return float(np.linalg.norm(density.basis[0] @ basis))


def auxiliary_arrays(problem: Problem, coordinates: Array, root: Array) -> dict[str, Array | float]:
    """Return where the likelihood's own parameters are and how far they spread, in the sampler's coordinates.

    Parameters
    ----------
    problem : Problem
    coordinates : ndarray of shape (A,)
        Of the parameters, in their own coordinates.
    root : ndarray of shape (A, A)
        A root of their covariance.
    """
    auxiliary, together = problem.auxiliary, problem.noise.combined
    place, slope = np.zeros(len(auxiliary)), np.ones(len(auxiliary))
    for i, parameter in enumerate(auxiliary):
        own, other = parameter.coordinate, Log() if together and i < 2 else parameter.for_sampler
        size = np.abs(coordinates[i]) if own.folded else coordinates[i]
        value = own.value(size)
        place[i] = float(other.of(value))
        # Of one coordinate in the other: the ratio of the parameter's slopes in both.
        slope[i] = float(np.exp(own.log_slope(size) - other.log_slope(place[i])))
    spread = slope[:, None] * root
    if together:
        # From the logs of noise scale and scatter to those of a typical row's noise and of their ratio there.
        place[1] -= np.log(problem.scatter_unit)
        share = 1.0 / (1.0 + np.exp(2.0 * (place[1] - place[0])))
        turn = np.array([[share, 1.0 - share], [-1.0, 1.0]])
        size = np.logaddexp(2.0 * place[0], 2.0 * place[1]) / 2.0 + np.log(problem.scatter_unit)
        place[:2], spread[:2] = [size, place[1] - place[0]], turn @ spread[:2]
    sd = np.sqrt(np.square(spread).sum(axis=1))
    spread *= (np.clip(sd, 1e-3, 2.0) / sd)[:, None]  # none of them so narrow, or so wide
    return {
        "place": place,
        "spread_of_auxiliary": spread,
        "coordinate_unit": np.array([parameter.coordinate.unit for parameter in auxiliary]),
        "coordinate_lower": np.array([parameter.coordinate.lower for parameter in auxiliary]),
    }


def of_likelihood(problem: Problem) -> dict[str, Array | float]:
    """Return the likelihood's fixed numbers, and those of its priors, by name."""
    constants = {f"fixed_{name}": value for name, value in problem.likelihood.constants.items()}
    return {**prior_parameters(problem), **constants}


def row_columns(data: Observations) -> Array:
    """Return what the likelihood sees of every row, (n, 3 or 6): target, standard error, trials, and limits."""
    limits = () if data.limits is None else Sides.of(data.limits)
    every = (data.y, data.standard_error, data.trials, *limits)
    return np.column_stack([np.broadcast_to(np.asarray(part), data.y.shape) for part in every])


def n_row_columns(problem: Problem) -> int:
    """Return how many columns `row_columns` has."""
    return 3 if problem.limits is None else 6


def likelihood_data(problem: Problem) -> dict[str, Array | float]:
    """Return everything by the names in `sampler_model`.

    Raises
    ------
    ValueError
        Where the posterior is improper.
    """
    check_proper(problem.gaussian_like())
    groups: RoughFit | None = None
    if problem.groupings is None:
        found = Approximation.of(problem)
    else:
        found, groups = Approximation.with_groups(problem)
    k, rows, mixture = (
        found.density.n_coefficients,
        problem.rows,
        isinstance(problem.coef_prior, ScaleMixture),
    )
    arrays = of_likelihood(problem) | auxiliary_arrays(problem, found.point[k:], found.root)
    arrays |= _given_mixture(problem, found, groups) if mixture else _following(problem, found, groups)
    arrays |= _of_noise(problem, found)
    if groups is not None:
        arrays |= groups.arrays(None if mixture else np.asarray(arrays["basis"]), np.asarray(arrays["start"]))
    frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
    design = np.concatenate([block for _, block in problem.design_blocks()])
    # What B makes of a row is taken from its start, too.
    line, of_groups = design @ arrays["start"], group_columns(problem, design)
    design = design if mixture else design @ arrays["basis"]
    columns = np.column_stack([design, line, row_columns(problem.observations()), *of_groups, frequency])
    arrays["factor"] = columns[frequency > 0.0]
    return arrays


def _of_noise(problem: Problem, found: Approximation) -> dict[str, Array | float]:
    """Return what tells how much rows say at any noise, by how much they do where the coordinates are from."""
    if not problem.has_noise_scale:
        return {}
    values = {name: float(value[0]) for name, value in found.density.values(found.point[None]).items()}
    error, resolution = problem.typical_error, problem.resolution()
    variance = float(problem.noise.variance(values, error, resolution))
    return {"resolution": resolution, "typical_error": error, "variance": variance}


def _following(problem: Problem, found: Approximation, groups: RoughFit | None) -> dict[str, Array | float]:
    """Return the coordinates of coefficients that follow their prior, (18a), by the rows' log density about the mode.

    Where that is depends on the prior's scale, and the other way round: it is looked for in turns. With groups'
    effects integrated over, the density is known about one point.
    """
    density, k = found.density, found.density.n_coefficients
    prior = gaussian_given_scale(problem)
    inverse, point = np.linalg.inv(density.basis), found.point
    for _ in range(20):
        B = density.coefficients(point[None])[0]
        if groups is None:
            curvature, pull = _quadratic(problem, replace(found, point=point), B)
        else:
            curvature, pull = groups.marginal(density.offset)
        unit = np.sqrt(np.maximum(np.diag(curvature), 1e-300))
        values, vectors = np.linalg.eigh(curvature / np.outer(unit, unit))
        root = np.sqrt(np.maximum(values, 1e-12 * values[-1]))
        rows = root[:, None] * vectors.T * unit
        target = vectors.T @ (pull / unit) / root + rows @ density.offset
        arrays = prior_coordinates(prior, np.column_stack([rows, target]), B)
        likely = likely_scale(prior, arrays)
        step = inverse @ (likely.B - density.offset) - point[:k]
        longest = float(np.abs(rows @ density.basis @ step).max())
        # No step is longer than 10 standard deviations, and the last one less than 0.1.
        point = np.append(point[:k] + step * min(1.0, 10.0 / max(longest, 1e-300)), point[k:])
        if longest < 0.1 or groups is not None:
            break
    if prior.scale_prior is not None:
        arrays["log_prior_scale"] = likely.log_scale
    return arrays


def _given_mixture(
    problem: Problem, found: Approximation, groups: RoughFit | None
) -> dict[str, Array | float]:
    """Return what places coefficients given a mixture's scales, (37)."""
    density = found.density
    curvature, pull = _quadratic(problem, found, density.coefficients(found.point[None])[0])
    deviation = found.intercept_deviation()
    if groups is not None:
        curvature, pull = groups.marginal(density.offset)
        deviation = max(deviation, float(np.maximum(curvature[0, 0], 1e-300)) ** -0.5)
    arrays: dict[str, Array | float] = {"curvature": curvature, "rows_pull": pull, "start": density.offset}
    arrays["pooled"] = problem.pooled_mean / problem.rate_unit
    if problem.fit_intercept:
        # It is placed as if its prior were no wider than 30 of its own deviations.
        arrays["intercept_scale"] = min(float(density.wide[1][0]), 30.0 * deviation)
    return arrays


def _quadratic(problem: Problem, found: Approximation, B: Array) -> tuple[Array, Array]:
    """Return minus the curvature of the rows' log density about its mode, and its slope where B is at its offset."""
    density, k = found.density, found.density.n_coefficients
    smoothing = np.ones(k)
    at = density.derivatives(found.point, smoothing)
    inverse = np.linalg.inv(density.basis)
    _, slope, bend = density.coefficient_prior_derivatives(B, smoothing)
    # The curvature that is taken for the Hessian is never indefinite.
    curvature = -inverse.T @ at.fallback[:k, :k] @ inverse + np.diag(np.minimum(bend, 0.0))
    curvature = 0.5 * (curvature + curvature.T)
    pull = inverse.T @ at.gradient[:k] - slope + curvature @ (B - density.offset)
    return curvature, pull


# --- its draws -----------------------------------------------------------------------------------


def formulations(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Yield the problem as a sampler gets it."""
    posterior = partial(_posterior, problem, settings.seed)
    yield Formulation(problem, likelihood_data(problem), sampler_model, posterior)


def _posterior(problem: Problem, seed: int, draws: Draws) -> Posterior:
    """Return draws as nodes."""
    auxiliary = {parameter.name: draws.flat(parameter.name) for parameter in problem.auxiliary}
    scale, scatter = auxiliary.pop("noise_scale", None), auxiliary.pop("scatter", None)
    of_groups = effects_of(problem, draws, seed)
    if not isinstance(problem.coef_prior, ScaleMixture):
        nodes = following_nodes(problem, draws, seed, scale, auxiliary)
        return replace(nodes, scatter=scatter, effects=of_groups)
    scales = draws.without("B", "noise_scale", "scatter", "effects", "group_scales", *auxiliary)
    location = np.zeros((len(draws.flat("u")), problem.rows.n_features + 1))
    location[:, int(not problem.fit_intercept) :] = draws.flat("B")
    nodes = nodes_of(location, scale, draws, scales, auxiliary)
    return replace(nodes, scatter=scatter, effects=of_groups)
