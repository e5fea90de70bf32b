"""What a sampler gets of a problem with another likelihood than the normal one, in coordinates of about unit scale.

The coordinates come from the normal approximation under Gaussian priors; they change no density.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..auxiliary import Log
from ..likelihoods import Observations
from ..priors import ScaleMixture
from .noise_coordinates import FollowingNoise
from .prior_coordinates import follows_prior, gaussian_given_scale, likely_scale, prior_coordinates
from .problem import Problem
from .propriety import check_proper
from .pymc_model import pooled_share
from .pymc_priors import prior_parameters
from .regression_density import RegressionDensity, root_of
from .regression_nodes import find_proposal

Array = NDArray[np.float64]

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
    auxiliary, together = problem.auxiliary, problem.noise == "auto"
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
        arrays |= following_prior(problem, found)
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
    floor = {"additive": problem.typical_error, "auto": problem.scatter_unit}
    arrays: dict[str, Array | float] = {
        "resolution": problem.resolution(),
        "floor": floor.get(problem.noise, problem.resolution()),
        "variance": float(density.typical_variance(found.point[None])[0]),
    }
    if problem.noise == "auto":
        values = {name: float(value[0]) for name, value in density.values(found.point[None]).items()}
        arrays["variance"] = (values["noise_scale"] * problem.scatter_unit) ** 2 + values["scatter"] ** 2
    return arrays


def following_prior(problem: Problem, found: Approximation) -> dict[str, Array | float]:
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
