"""Rows and coordinates of `mixture`, and what its draws become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.noise import KNOWN
from ..importance.engine import Units, mixture_posterior, row_problem
from ..importance.mixture_nodes import solve_mixture
from ..numerics.importance_sampling import mean_and_root
from ..posterior import Posterior
from ..problem import Problem
from ..propriety import check_proper
from ..settings import SamplerSettings
from ..structural.mixture import MixtureProblem
from ..structural.rows import PseudoRows, Reference, pairs
from .formulation import Draws, Formulation
from .groups.graph import effects_of
from .groups.measured import BesideErrors, effects_beside_errors
from .mixture import HEAD, further, sampler_model
from .prior_coordinates import (
    is_regressed,
    pilot_of,
    scale_coordinates,
    softens_scale,
    takes_log_spread,
)
from .pymc_priors import geometries, takes_log_noise
from .rows import of_likelihood, row_columns
from .structural import error_covariance, pair_covariance

Array = NDArray[np.float64]

# Points of the importance sampling that settles the coordinates.
_NODES = 1024


@dataclass(frozen=True, eq=False)
class MixtureData:
    """The rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `mixture.sampler_model`."""
    mixture: MixtureProblem
    units: Units

    def points(self, problem: Problem, draws: Draws) -> Array:
        """Return draws as points of `mixture`."""
        if scale_coordinates(problem):
            points = draws.flat("values")
        else:
            location = np.asarray(self.arrays["location"])
            points = location + draws.flat("u")[:, : len(location)] @ np.transpose(self.arrays["root"])
        return _exchanged(problem, self.mixture, points, from_sampler=True)

    def posterior(self, problem: Problem, seed: int, draws: Draws) -> Posterior:
        """Return draws as nodes of equal weight."""
        points = self.points(problem, draws)
        weights = np.full(len(points), 1.0 / len(points))
        posterior = mixture_posterior(problem, self.mixture, points, weights, self.units)
        scales = draws.without("values", "geometry", "effects", "group_scales", "levels", "level_scales")
        of_groups = effects_of(problem, draws, seed, self.units.noisy)
        return replace(posterior, chains=replace(draws.chains, scales=scales), effects=of_groups)


def formulations(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Yield the problem as a sampler gets it."""
    if not problem.has_noise_scale:  # of shares there is no other noise
        problem = replace(problem, noise=KNOWN)
    data = mixture_data(problem, settings.seed)
    yield Formulation(problem, data.arrays, sampler_model, partial(data.posterior, problem, settings.seed))


def mixture_data(problem: Problem, seed: int) -> MixtureData:
    """Return the rows and the coordinates of a problem with errors of features.

    Parameters
    ----------
    problem : Problem
    seed : int
        Of the importance sampling that settles the coordinates.

    Raises
    ------
    ValueError
        Where the posterior is improper.
    """
    pilot = pilot_of(problem)
    check_proper(pilot)
    groups = None if problem.groupings is None else BesideErrors.of(pilot)
    mixture, units = row_problem(pilot) if groups is None else (groups.mixture, groups.units)
    sample = solve_mixture(mixture, seed, _NODES)
    points, weights = mixture.positive(sample.points), sample.weights
    parts, center = mixture.taken_apart(points), points[np.argmax(weights)]
    mixture = mixture.placed(center)
    if mixture.follows and not is_regressed(problem):
        points[:, mixture.columns["m"]] = parts.m
        points[:, mixture.columns["means"]] = parts.means.reshape(len(points), -1)
        # Under a scale that is learned slopes have units of their own, which they keep.
        first, end = int(mixture.data.intercept is None), None if mixture.scaled is None else 1
        of_line = parts.line[:, first:end]
        points[:, mixture.columns["line"]][:, : of_line.shape[1]] = of_line
        mixture = replace(mixture, regressed=False)
    levels = None if groups is None else groups.levels.shift
    arrays = of_likelihood(problem) | _rows(problem, mixture, weights @ parts.m, levels)
    more = None
    if groups is not None:
        more, at = groups.beside(), weights @ np.column_stack([parts.line, parts.m])
        found, columns = effects_beside_errors(problem, groups, at)
        arrays |= found | {"factor": np.column_stack([columns, arrays["factor"]])}
    arrays |= _coordinates(problem, mixture, units, _exchanged(problem, mixture, points), weights, more)
    z, w, y = mixture.center
    arrays |= {
        "unit": np.append(units.noisy, units.exact),
        "z": z,
        "w": w,
        "y": y,
        "mu_mean": mixture.mu_mean,
    }
    if mixture.follows:
        arrays |= {f"measured_{name}": value for name, value in mixture.measured._asdict().items()}
    if problem.noise.combined:
        arrays["typical_error"] = mixture.data.typical_error
    if problem.truncation is not None:
        ends = zip(("lower_limit", "upper_limit"), problem.scaled_truncation, strict=True)
        arrays |= {name: limit for name, limit in ends if np.isfinite(limit)}
    if scale_coordinates(problem):
        arrays |= {
            "pooled": problem.pooled_mean / problem.rate_unit,
            "mean_error_of_y": problem.typical_error,
        }
    return MixtureData(arrays | geometries(mixture.data) | _scaled_slopes(mixture), mixture, units)


def _exchanged(
    problem: Problem, mixture: MixtureProblem, points: Array, *, from_sampler: bool = False
) -> Array:
    """Return points with the noise scale and the likelihood's parameters in the sampler's coordinates, or back."""
    points = points.copy()
    for name, in_logs in (("s", takes_log_noise(problem)), ("t", takes_log_spread(problem))):
        if in_logs:
            of = mixture.columns[name]
            points[:, of] = np.exp(points[:, of]) if from_sampler else np.log(np.abs(points[:, of]))
    if softens_scale(problem):
        of = mixture.columns["tau"]
        if from_sampler:
            points[:, of] = np.log(np.logaddexp(0.0, points[:, of]))
        else:
            tau = np.exp(points[:, of])
            points[:, of] = tau + np.log(-np.expm1(-tau))
    for i, parameter in enumerate(further(problem)):
        column = mixture.columns["auxiliary"].start + i
        kinds = [parameter.coordinate, parameter.for_sampler]
        own, other = kinds[::-1] if from_sampler else kinds
        points[:, column] = other.of(own.value(points[:, column]))
    return points


def _rows(
    problem: Problem, mixture: MixtureProblem, m: Array, levels: Array | None
) -> dict[str, Array | float]:
    """Return the columns of the rows, and m0 that they are less of."""
    q, rows, data, target = mixture.data.n_noisy, mixture.rows, mixture.data, mixture.target
    if mixture.outliers or mixture.selection is not None:
        m = np.zeros_like(m)
    errors = np.broadcast_to(mixture.errors, (len(rows), mixture.errors.shape[1]))
    if levels is not None:  # readings as they are
        rows = rows.copy()
        rows[:, -1 - q : -1] += levels
    less = -rows[:, -1 - q : -1] @ m
    gaps = errors[:, data.masks or slice(0)]
    if target is None:
        reference = Reference(np.zeros((q, 0)), np.zeros(0), m)
        covariance = error_covariance(data, PseudoRows(rows, errors, mixture.frequency, reference))
        columns = [gaps, rows[:, :-1], rows[:, -1] + less, covariance]
        return {"m": m, "factor": np.column_stack([*columns, mixture.frequency])}
    covariance = pair_covariance(errors[:, pairs(q)], m).reshape(len(rows), -1)
    columns = [gaps, rows[:, :-1], less - mixture.center[2], covariance]
    if data.cross_covariance is not None:
        with_target = errors[:, q * (q + 1) // 2 :][:, :q]
        columns.append(np.column_stack([with_target, -with_target @ m]))
    places = np.column_stack(list(target.places or ()))
    columns += [row_columns(target.data), places, mixture.frequency]
    return {"m": m, "factor": np.column_stack(columns), "resolution": float(target.data.resolution)}


def _coordinates(
    problem: Problem,
    mixture: MixtureProblem,
    units: Units,
    points: Array,
    weights: Array,
    more: Array | None,
) -> dict[str, Array | float]:
    """Return mean and root of what is sampled: what the noise is like first, and what goes with it."""
    columns, every = mixture.columns, np.arange(mixture.size)
    head = np.concatenate([every[columns[name]] for name in HEAD])
    auxiliary, h = further(problem), len(head)
    arrays: dict[str, Array | float] = {
        "coordinate_unit": np.array([parameter.coordinate.unit for parameter in auxiliary]),
        "coordinate_lower": np.array([parameter.coordinate.lower for parameter in auxiliary]),
    }
    first = head
    if scale_coordinates(problem):
        coefficients = np.append(
            every[columns["m"]], every[columns["line"]][int(mixture.data.intercept is not None) :]
        )
        first = np.append(head, coefficients)
    inner = None if more is None else np.broadcast_to(more, (len(points), *more.shape[1:]))
    location, root = mean_and_root(points, weights, inner, first)
    if scale_coordinates(problem):
        # What is known of coefficients beyond their prior in the pilot; the other columns go with them.
        unit, p = np.append(units.noisy, units.exact), len(coefficients)
        own, mean = root[coefficients] / unit[:, None], location[coefficients] / unit
        sd = problem.coef_prior.gaussian_like("coef_prior", p)[1]
        values, vectors = np.linalg.eigh(sd[:, None] * np.linalg.inv(own @ own.T) * sd - np.eye(p))
        scaled = vectors / sd[:, None]
        curvature = (scaled * np.maximum(values, 0.0)) @ scaled.T
        arrays |= {"curvature": curvature, "rows_pull": (curvature + np.diag(sd**-2.0)) @ mean}
        along = root[:, : h + p] @ np.linalg.inv(root[first, : h + p])
        location = location - along[:, h:] @ location[coefficients]
        # Of the noise alone, as the coefficients are given by themselves.
        front = along[:, :h] @ root[head, :h]
        root = np.column_stack([front, along[:, h:] * unit, root[:, h + p :]])
    if h:
        arrays |= {"head": location[head], "head_root": root[head, :h]}
    return arrays | {"location": location, "root": root}


def _scaled_slopes(mixture: MixtureProblem) -> dict[str, Array | float]:
    """Return what the coefficients' columns are in units of."""
    scaled = mixture.scaled
    parts = {} if scaled is None else {"slopes": scaled.slopes, "m": scaled.m}
    return {
        f"{of}_{name}": value
        for of, known in parts.items()
        if known is not None and len(known.mean)
        for name, value in known._asdict().items()
    }
