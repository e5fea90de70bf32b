"""The model of features measured with error beside another likelihood than the normal one in PyMC, for the sampler.

The true features are sampled, in coordinates that are standard normal but for what the rows' densities are not.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ...likelihoods.additive import NormalLikelihood
from ...likelihoods.base import Observations
from ...likelihoods.noise import KNOWN
from ...measurements.compressed import Rows, taken
from .._compat import quietly
from ..importance.engine import posterior_of, structural_problem
from ..importance.structural_nodes import solve_structural
from ..numerics.importance_sampling import find_mode
from ..posterior import Posterior
from ..problem import Problem, SamplerSettings
from ..structural.rows import eliminated
from ..structural.true_features import TrueFeatures
from .formulation import Draws, Formulation, unpacked
from .prior_coordinates import pilot_of, scale_is_learned
from .readable_model import check_definite, repeated
from .rows import Approximation, auxiliary_arrays, likelihood_values, observations, of_likelihood, row_columns
from .structural import MeasuredData, common_part, measured_data, pair_covariance, structural_parameters

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model with true features: all that varies from data to data, but the number of rows, is a `pm.Data`.

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
            working = replace(problem, noise=KNOWN, likelihood=NormalLikelihood())
            found, _, priors = structural_parameters(working, given, u[:size], (q, width))
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
    square, determinant, deviations = eliminated(
        [left[a] for a in range(q + 1)], entry, [own[j] for j in range(q)]
    )
    return deviations, -0.5 * (square + pt.log(determinant)).sum()


# --- its data and its draws ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LatentData:
    """The rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `sampler_model`."""
    measured: MeasuredData
    working: Problem
    """With a normal target."""

    def posterior(self, problem: Problem, draws: Draws) -> Posterior:
        """Return draws as nodes of equal weight."""
        posterior = self.measured.posterior(self.working, draws)
        auxiliary = {parameter.name: draws.flat(parameter.name) for parameter in problem.auxiliary}
        scale = auxiliary.pop("noise_scale", posterior.noise_scale)
        scatter = auxiliary.pop("scatter", None)
        return replace(posterior, noise_scale=scale, scatter=scatter, auxiliary=auxiliary)


def formulations(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Yield the problem as a sampler gets it."""
    data = latent_data(problem, settings.seed)
    yield Formulation(problem, data.arrays, sampler_model, lambda draws: data.posterior(problem, draws))


def latent_data(problem: Problem, seed: int) -> LatentData:
    """Return the rows and the coordinates of a problem with errors of features.

    Parameters
    ----------
    problem : Problem
    seed : int
        Of the importance sampling that settles the coordinates.

    Raises
    ------
    ValueError
        Where the posterior is improper, where a frequency is not whole, or an error in some rows is zero.
    """
    problem = one_each(problem)
    approximation = Approximation.of(problem.without_feature_errors())
    k = approximation.density.n_coefficients
    B, coordinates = approximation.density.coefficients(approximation.point[None])[0], approximation.point[k:]
    design = np.concatenate([block for _, block in problem.design_blocks()])
    working = _working(problem, *_normal_at(problem, design @ B, coordinates))
    expected, variance = _line_given_measurements(working, seed)
    coordinates, root = _auxiliary(problem, expected, variance, coordinates, approximation.root)
    eta = _modes(problem, expected, variance, coordinates)
    working = _working(problem, *_normal_at(problem, eta, coordinates))
    measured = measured_data(working, seed)
    structural = measured.structural
    reference = structural.gathered.reference
    ones = np.column_stack([np.ones(len(structural.y)), structural.z])
    error = np.asarray(structural.standard_error, dtype=np.float64)
    U, m = structural.feature_covariance, reference.m
    covariance = np.broadcast_to(pair_covariance(U, m), (len(ones), len(m) + 1, len(m) + 1))
    left = np.column_stack([structural.w, structural.y - structural.w @ m])
    left -= ones @ np.vstack([reference.w, reference.y]).T
    arrays = of_likelihood(problem) | measured.arrays
    arrays |= auxiliary_arrays(problem, coordinates, root)
    for parameter, c in zip(problem.auxiliary, coordinates, strict=True):
        arrays[f"typical_{parameter.name}"] = float(parameter.coordinate.value(c))
    if problem.has_noise_scale:
        arrays["resolution"] = problem.resolution()
    arrays["factor"] = np.column_stack(
        [
            ones,
            left,
            covariance.reshape(len(ones), -1),
            structural.y,
            np.square(error),
            row_columns(problem.observations()),
        ]
    )
    return LatentData(arrays, measured, working)


def one_each(problem: Problem) -> Problem:
    """Return the problem with rows repeated as often as they count."""
    rows, errors = problem.rows, problem.feature_errors
    if errors is None:
        raise ValueError("No feature has an error.")
    used = repeated(
        rows.frequency, len(rows.y), f"likelihood={problem.likelihood!r} beside errors in X needs"
    )

    errors, error = errors.take(used), problem.standard_error
    check_definite(errors.covariance, problem.scaling.x_scale[errors.noisy])
    return replace(
        problem,
        rows=Rows(np.asarray(rows.take(used), dtype=np.float64), rows.y[used]),
        standard_error=None if error is None else taken(np.asarray(error, dtype=np.float64), used),
        feature_errors=errors,
        trials=taken(problem.trials, used),
    )


def _normal_at(problem: Problem, eta: Array, coordinates: Array) -> tuple[Array, Array]:
    """Return the normal target and its errors whose density has each row's slope and about its curvature, (38)."""
    found = problem.likelihood.derivatives(eta, coordinates, problem.observations())
    # Rows that hardly say anything of the line say a little.
    curvature = np.maximum(found.curvature, 1e-4 * np.median(found.curvature))
    return eta + found.gradient[0] / curvature, 1.0 / np.sqrt(curvature)


def _working(problem: Problem, y: Array, error: Array) -> Problem:
    """Return the problem of a normal target, both given in the model's units."""
    scaling = problem.scaling
    return replace(
        problem,
        rows=replace(problem.rows, y=scaling.y_mean + scaling.y_scale * y),
        standard_error=scaling.y_scale * error,
        noise=KNOWN,
        likelihood=NormalLikelihood(),
        trials=None,
    )


def _line_given_measurements(working: Problem, seed: int) -> tuple[Array, Array]:
    """Return mean and variance of each row's line given its measured features alone, (n,) each."""
    pilot = pilot_of(working)
    structural, units = structural_problem(pilot)
    nodes = solve_structural(structural, 512, seed)
    posterior = posterior_of(pilot, nodes, units)
    true, weights, errors = posterior.true_features, posterior.weights, working.feature_errors
    if not isinstance(true, TrueFeatures) or errors is None:  # for the type checker
        raise AssertionError
    mean = replace(
        true,
        coef=(weights @ true.coef)[None],
        variance=np.einsum("g,gij->ij", weights, true.variance)[None],
        theta=(weights @ true.theta)[None],
        root=np.zeros((1, true.theta.shape[1], 0)),
    )
    scaling = working.scaling
    x_scale = scaling.x_scale[errors.noisy]
    error = np.broadcast_to(
        errors.covariance / (x_scale[:, None] * x_scale), (len(working.rows.y), *errors.covariance.shape[-2:])
    )
    line = mean.line((working.rows.X - scaling.x_mean) / scaling.x_scale, error)
    return line.mean[:, 0], np.maximum(line.feature_error[:, 0], 1e-12)


def _auxiliary(
    problem: Problem, expected: Array, variance: Array, start: Array, root: Array
) -> tuple[Array, Array]:
    """Return mode and root of the likelihood's own parameters, with each row's line integrated out."""
    if not len(start):
        return start, root
    nodes, weights = np.polynomial.hermite_e.hermegauss(32)
    log_weights = np.log(weights / weights.sum())
    eta = expected + nodes[:, None] * np.sqrt(variance)
    data: Observations = problem.observations()

    def log_density(points: Array) -> Array:
        total = np.zeros(len(points))
        for i, point in enumerate(points):
            pairs = list(zip(problem.auxiliary, point, strict=True))
            with np.errstate(all="ignore"):
                values = {parameter.name: parameter.coordinate.value(c) for parameter, c in pairs}
                of_rows = problem.likelihood.log_density(eta, values, data) + log_weights[:, None]
                total[i] = logsumexp(of_rows, axis=0).sum() + sum(
                    float(parameter.log_prior(c)) for parameter, c in pairs
                )
        return np.where(np.isfinite(total), total, -np.inf)

    mode, root, _ = find_mode(log_density, start, root)
    return mode, root


def _modes(problem: Problem, expected: Array, variance: Array, coordinates: Array) -> Array:
    """Return each row's line where its density given measured features and target is highest, about."""
    eta, data = expected.copy(), problem.observations()
    for _ in range(30):
        found = problem.likelihood.derivatives(eta, coordinates, data)
        step = (found.gradient[0] - (eta - expected) / variance) / (found.curvature + 1.0 / variance)
        eta += np.clip(step, -3.0, 3.0)
    return eta
