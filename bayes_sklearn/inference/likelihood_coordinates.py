"""What a sampler gets of a problem with another likelihood than the normal one, in coordinates of about unit scale.

The coordinates come from the normal approximation under Gaussian priors; they change no density.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..auxiliary import Auxiliary
from ..likelihoods import Observations
from ..priors import ScaleMixture
from .noise_coordinates import FollowingNoise
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


def auxiliary_arrays(
    auxiliary: tuple[Auxiliary, ...], coordinates: Array, root: Array
) -> dict[str, Array | float]:
    """Return where the likelihood's own parameters are and how far they spread, in the sampler's coordinates.

    Parameters
    ----------
    auxiliary : tuple of Auxiliary
    coordinates : ndarray of shape (A,)
        Of the parameters, in their own coordinates.
    root : ndarray of shape (A, A)
        A root of their covariance.
    """
    place, slope = np.zeros(len(auxiliary)), np.ones(len(auxiliary))
    for i, parameter in enumerate(auxiliary):
        own, other = parameter.coordinate, parameter.for_sampler
        size = np.abs(coordinates[i]) if own.folded else coordinates[i]
        value = own.value(size)
        place[i] = float(other.of(value))
        # Of one coordinate in the other: the ratio of the parameter's slopes in both.
        slope[i] = float(np.exp(own.log_slope(size) - other.log_slope(place[i])))
    spread = slope[:, None] * root
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
    density, k = found.density, found.density.n_coefficients
    mixture = isinstance(problem.coef_prior, ScaleMixture)
    arrays = of_likelihood(problem) | auxiliary_arrays(density.problem.auxiliary, found.point[k:], found.root)
    start = density.coefficients(found.point[None])[0]
    spread = np.eye(k) if mixture else found.basis()
    if found.following is not None:
        arrays["resolution"] = problem.resolution()
        arrays["variance"] = found.following.variance
        arrays["floor"] = problem.typical_error if problem.noise == "additive" else problem.resolution()
    if mixture:
        arrays |= _quadratic(problem, found, start)
        start = density.offset
    elif found.following is not None:
        arrays["share"], arrays["pull"] = found.following.share, found.following.pull
    arrays["start"], arrays["spread"] = start, spread
    rows = problem.rows
    frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
    design = np.concatenate([block for _, block in problem.design_blocks()])
    columns = np.column_stack(
        [design @ spread, design @ start, row_columns(problem.observations()), frequency]
    )
    arrays["factor"] = columns[frequency > 0.0]
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
