"""The model with another likelihood than the normal one in PyMC, for the sampler, on the rows themselves.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Observations
from ...likelihoods.parameters import Log
from ...priors.base import ScaleMixture
from .._compat import quietly
from ..importance.noise_coordinates import FollowingNoise
from ..importance.regression_density import RegressionDensity, root_of
from ..importance.regression_nodes import find_proposal
from ..problem import Problem
from ..propriety import check_proper
from .prior_coordinates import follows_prior, gaussian_given_scale, likely_scale, prior_coordinates
from .pymc_priors import (
    following_prior,
    learned_scale,
    of_role,
    over_geometries,
    positive_density,
    prior_density,
    prior_parameters,
    priors_of,
    scale_and_scatter,
)
from .readable_model import pooled_share, unit_of, unpacked

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
    """Return what the likelihood sees of the rows, as `likelihood_coordinates.row_columns` has it, in PyTensor."""
    return Observations(columns[0], columns[1], problem.noise, columns[2], given.get("resolution", 0.0))


def _rows_say(problem: Problem, given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return by how much more the rows say than where the coordinates are from, r - 1 in (36)."""
    squared = values["noise_scale"] ** 2 + given["floor"] ** 2
    if problem.noise.combined:
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


# Under a mixture the intercept is placed as if its prior were no wider than so many of its own deviations.
_WIDE = 30.0

# Standard deviations of a coordinate of the likelihood's own parameters stay between these.
_NARROW, _BROAD = 1e-3, 2.0

# The mode under a prior of unknown scale is looked for in so many turns at most, each a step of so many standard
# deviations at most, until one is shorter than the last number.
_TURNS, _LONGEST, _MOVED = 20, 10.0, 0.1

# Curvatures below this share of the largest are raised to it.
_LEAST = 1e-12


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
    def of(cls, problem: Problem) -> Approximation:
        """Return the approximation of a problem without errors of features."""
        density = RegressionDensity(problem.gaussian_like())
        k = density.n_coefficients
        following, component = find_proposal(density)
        point = component.center
        if following is not None:
            point = np.append(following.center, point[k:])
        root: Array = component.root[k:] @ component.root[k:].T
        if len(root):
            root = np.asarray(np.linalg.cholesky(root), dtype=np.float64)
        return cls(density, following, point, root)

    def basis(self) -> Array:
        """Return a root of the covariance of the coefficients, in the model's units, given the other parameters."""
        density, k = self.density, self.density.n_coefficients
        if self.following is not None:
            return density.basis @ self.following.basis
        return density.basis @ root_of(density.derivatives(self.point, np.ones(k)), k)


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
    spread *= (np.clip(sd, _NARROW, _BROAD) / sd)[:, None]
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
    """Return what the likelihood sees of every row, (n, 3): target, standard error and trials."""
    every = (
        np.broadcast_to(np.asarray(part), data.y.shape) for part in (data.y, data.standard_error, data.trials)
    )
    return np.column_stack(list(every))


def likelihood_data(problem: Problem) -> dict[str, Array | float]:
    """Return everything by the names in `pymc_likelihoods.sampler_model`.

    Raises
    ------
    ValueError
        Where the posterior is improper.
    """
    check_proper(problem.gaussian_like())
    found = Approximation.of(problem)
    k = found.density.n_coefficients
    arrays = of_likelihood(problem) | auxiliary_arrays(problem, found.point[k:], found.root)
    design = np.concatenate([block for _, block in problem.design_blocks()])
    if follows_prior(problem):
        arrays |= following_scale(problem, found)
        left = [design]
    else:
        arrays |= _following_noise(problem, found)
        left = [design @ arrays["spread"], design @ arrays["start"]]
    rows = problem.rows
    frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
    columns = np.column_stack([*left, row_columns(problem.observations()), frequency])
    arrays["factor"] = columns[frequency > 0.0]
    return arrays


def _following_noise(problem: Problem, found: Approximation) -> dict[str, Array | float]:
    """Return the coordinates of coefficients under priors of fixed scale."""
    density, k = found.density, found.density.n_coefficients
    mixture = isinstance(problem.coef_prior, ScaleMixture)
    start = density.coefficients(found.point[None])[0]
    arrays: dict[str, Array | float] = {"spread": np.eye(k) if mixture else found.basis()}
    if found.following is not None:
        arrays |= _of_noise(problem, found)
    if mixture:
        arrays |= _quadratic(problem, found, start)
        start = density.offset
    elif found.following is not None:
        arrays["share"], arrays["pull"] = found.following.share, found.following.pull
    return arrays | {"start": start}


def _of_noise(problem: Problem, found: Approximation) -> dict[str, Array | float]:
    """Return what tells how much rows say at any noise, by how much they do where the coordinates are from."""
    density = found.density
    known = problem.scatter_unit if problem.noise.multiplies else problem.typical_error
    arrays: dict[str, Array | float] = {
        "resolution": problem.resolution(),
        "floor": known if problem.noise.scatters else problem.resolution(),
        "variance": float(density.typical_variance(found.point[None])[0]),
    }
    if problem.noise.combined:
        values = {name: float(value[0]) for name, value in density.values(found.point[None]).items()}
        arrays["variance"] = (values["noise_scale"] * problem.scatter_unit) ** 2 + values["scatter"] ** 2
    return arrays


def following_scale(problem: Problem, found: Approximation) -> dict[str, Array | float]:
    """Return the coordinates of coefficients that follow their prior, (18a), by the rows' log density about the mode.

    Where that is depends on the prior's scale, and the other way round.
    """
    density, k = found.density, found.density.n_coefficients
    prior = gaussian_given_scale(problem)
    inverse, point = np.linalg.inv(density.basis), found.point
    for _ in range(_TURNS):
        B = density.coefficients(point[None])[0]
        quadratic = _quadratic(problem, replace(found, point=point), B)
        values, vectors = np.linalg.eigh(np.asarray(quadratic["curvature"]))
        root = np.sqrt(np.maximum(values, _LEAST * values[-1]))
        rows = root[:, None] * vectors.T
        target = vectors.T @ np.asarray(quadratic["rows_pull"]) / root + rows @ density.offset
        arrays = prior_coordinates(prior, np.column_stack([rows, target]))
        likely = likely_scale(prior, arrays)
        step = inverse @ (likely.B - density.offset) - point[:k]
        longest = float(np.abs(rows @ density.basis @ step).max())
        point = np.append(point[:k] + step * min(1.0, _LONGEST / max(longest, 1e-300)), point[k:])
        if longest < _MOVED:
            break
    if prior.scale_prior is not None:
        arrays["log_prior_scale"] = likely.log_scale
    if found.following is not None:
        arrays |= _of_noise(problem, found)
    return arrays


def _quadratic(problem: Problem, found: Approximation, B: Array) -> dict[str, Array | float]:
    """Return what places coefficients given a mixture's scales: the rows' log density about its mode, (37)."""
    density, k = found.density, found.density.n_coefficients
    smoothing = np.ones(k)
    at = density.derivatives(found.point, smoothing)
    inverse = np.linalg.inv(density.basis)
    _, slope, bend = density.coefficient_prior_derivatives(B, smoothing)
    # The curvature that is taken for the Hessian is never indefinite.
    curvature = -inverse.T @ at.fallback[:k, :k] @ inverse + np.diag(np.minimum(bend, 0.0))
    curvature = 0.5 * (curvature + curvature.T)
    pull = inverse.T @ at.gradient[:k] - slope + curvature @ (B - density.offset)
    arrays: dict[str, Array | float] = {"curvature": curvature, "rows_pull": pull}
    arrays["pooled"] = pooled_share(problem)
    if problem.fit_intercept:
        _, sd = density.wide
        own = float(np.linalg.norm(found.basis()[0]))
        arrays["intercept_scale"] = min(float(sd[0]), _WIDE * own)
    return arrays
