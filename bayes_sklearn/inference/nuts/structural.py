"""Errors of features under the normal likelihood for a sampler: the model, its coordinates, and what draws become.

The true features are integrated out: the pair of a row's measured features and target is Gaussian, of few dimensions.
`structural.model` states the model and its notation. The coordinates come from importance sampling under Gaussian
priors: they change no density, so that its weights need not be good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from ...priors.coefficients import PoweredCorrelation
from .._compat import quietly
from ..importance.engine import Units, posterior_of, structural_problem
from ..importance.structural_nodes import StructuralNodes, solve_structural
from ..node_covariances import SharedBasis
from ..numerics.importance_sampling import Sample, mean_and_root
from ..posterior import Posterior
from ..problem import Problem
from ..propriety import check_proper
from ..settings import SamplerSettings
from ..structural.model import MEAN_SCALE, StructuralProblem
from ..structural.rows import PseudoRows, given_measured, pairs, without_unmeasured
from ..structural.true_covariance import log_prior, true_covariance
from .compressed_rows import place
from .formulation import Draws, Formulation, unpacked, without_gaps
from .prior_coordinates import coefficients_at, pilot_of, scale_is_learned
from .pymc_priors import (
    geometries,
    learned_scale,
    noise_at_typical_error,
    of_role,
    prior_density,
    prior_parameters,
    priors_of,
    signed_noise,
    slopes_density,
    takes_log_noise,
)

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


class Lines(NamedTuple):
    """What is sampled, taken apart: arrays of NumPy, with an axis of draws in front, or of PyTensor."""

    latent: Any
    """(..., q, k + 1) mu and Gamma."""
    change: Any
    """(..., q) m - m0."""
    deviation: Any
    """(..., q + 1, k + 1) lines of w and of y - m0'w in (1, z), less those of the references."""
    line: Any
    """(..., k + 1) alpha and beta; an alpha of zero where there is no intercept."""
    T: Any
    scale: Any
    """(..., 1) the signed noise scale or its log; (..., 0) where the noise is known."""
    ratio: Any
    """(..., 1) of noise "auto", the log of the scatter over the rest of the noise; else (..., 0)."""
    t: Any
    zeta: Any

    @classmethod
    def of(
        cls, problem: Problem, given: Mapping[str, Any], values: Any, shape: tuple[int, int], xp: Any
    ) -> Lines:
        """Take values apart, as `_coordinates` has put them together.

        Parameters
        ----------
        problem : Problem
        given : mapping of str to array
            As `measured_data` makes them.
        values : array of shape (..., d)
        shape : tuple of int
            (q, k + 1).
        xp : module
            `numpy` or `pytensor.tensor`.
        """
        (q, width), first, noise = shape, int(problem.fit_intercept), problem.noise
        sizes = [
            q * width,
            width - 1 + first,
            q,
            q,
            int(noise.has_scale),
            q * (q - 1) // 2,
            int(noise.combined),
        ]
        of_w, of_y, change, t, scale, zeta, ratio = parts_of(values, sizes)
        draws = (-1,) * (values.ndim - 1)
        latent = given["latent"] + of_w.reshape((*draws, q, width))
        base, slopes = given["line"] - _times(change, latent), of_y[..., first:]
        if scale_is_learned(problem):  # slopes have coordinates of their own
            if isinstance(problem.coef_prior, PoweredCorrelation):
                slopes = slopes - _times(given["m"] + change, latent)[..., 1:]
            slopes = slopes - base[..., 1:]
        # An intercept of zero is one that follows from the features' mean.
        of_y = xp.concatenate([of_y[..., :1] if first else -base[..., :1], slopes], axis=-1)
        deviation = xp.concatenate([of_w, of_y], axis=-1).reshape((*draws, q + 1, width))
        T = true_covariance(t, zeta, q, xp)
        return cls(latent, change, deviation, base + of_y, T, scale, ratio, t, zeta)


def _times(vectors: Any, matrices: Any) -> Any:
    return (vectors[..., None, :] @ matrices)[..., 0, :]


def parts_of(values: Any, sizes: list[int]) -> list[Any]:
    """Return the last axis in parts of these sizes."""
    ends = np.cumsum(sizes)
    return [values[..., end - size : end] for size, end in zip(sizes, ends, strict=True)]


# --- the model -----------------------------------------------------------------------------------


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model with the true features integrated out: all that varies from data to data is a `pm.Data`.

    Returns
    -------
    pymc.Model
        One free variable ``u``; `MeasuredData` says what follows from it.

    Notes
    -----
    Each operation costs a tenth of a second of compiling, so that what can be done to the data is done there.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        q, width = np.shape(data["latent"])
        with pm.Model() as model:
            given = unpacked(data)
            size = np.size(data["location"]) + scale_is_learned(problem)
            u = pm.Flat("u", shape=size)
            found, (scale, scatter), terms = structural_parameters(problem, given, u, (q, width))
            # Rows are gaps, if any, [1, z], then (w, y) less their references, the covariance of their errors, and
            # counts.
            gaps, columns = without_gaps(problem, given["factor"].T, q + 1)
            own = columns[width : width + q + 1] - pt.dot(found.deviation, columns[:width])
            common = common_part(found.change, found.T, scatter).dimshuffle(0, "x")
            omega = error_part(problem, columns[width + q + 1 : -1], q + 1, scale) + common
            entries = {(a, b): omega[a * (q + 1) + b] for a in range(q + 1) for b in range(a + 1)}
            left = [own[a] for a in range(q + 1)]
            if gaps:
                left, entries = without_unmeasured(left, entries, gaps, [given["m"][j] for j in range(q)])
            square, determinant, _, _ = given_measured(left, entries, q + 1)
            of_rows = -0.5 * pt.sum(square + columns[-1] * pt.log(determinant))
            pm.Potential("log_posterior", sum([of_rows, *terms]))
    return model


def structural_parameters(
    problem: Problem, given: Mapping[str, Any], u: Any, shape: tuple[int, int]
) -> tuple[Lines, tuple[Any, Any], list[Any]]:
    """Return the parameters, noise scale and scatter beside them, and their log prior densities.

    Parameters
    ----------
    problem : Problem
        Its structure alone is taken from it.
    given : mapping of str to TensorVariable
        As `measured_data` makes them.
    u : TensorVariable
    shape : tuple of int
        (q, k + 1).
    """
    import pymc as pm
    import pytensor.tensor as pt

    q, size, tau = shape[0], given["location"].type.shape[0], 1.0
    own = u[:size]
    terms: list[Any] = []
    if scale_is_learned(problem):
        tau, terms = learned_scale(problem, given, u[size:])
        # Coefficients follow their prior's scale, (18a).
        n = given["hold"].type.shape[0]
        along, log_volume = coefficients_at(given, own[:n], 1.0, tau)
        own = pt.concatenate([along, own[n:]])
        terms.append(log_volume)
    values = given["location"] + pt.dot(given["root"], own)
    if scale_is_learned(problem):
        pm.Deterministic("values", values)
    found = Lines.of(problem, given, values, shape, pt)
    away = (pt.dot(found.latent, given["at_mean"]) - given["latent_mean"]) / MEAN_SCALE
    terms += [log_prior(found.t, found.zeta, q, pt), -0.5 * pt.square(away).sum()]
    m = given["m"] + found.change
    through = pt.dot(m, found.latent)[1:]
    terms.append(slopes_density(problem, given, m, found.line[1:], through, found.T, tau))
    if problem.fit_intercept:
        of_intercept = of_role(given, "intercept_prior")
        terms.append(prior_density(priors_of(problem)["intercept_prior"], of_intercept, found.line[:1]))
    noise_scale, scatter, of_noise = signed_noise(problem, given, found.scale, found.ratio)
    return found, (noise_scale, scatter), [*terms, *of_noise]


def error_part(problem: Problem, errors: Any, order: int, scale: Any) -> Any:
    """Return what the rows' errors make of the covariance, where s multiplies them in the parts 1, s and s^2."""
    if not problem.noise.multiplies:
        return errors
    without, with_scale, with_square = (errors[i * order**2 : (i + 1) * order**2] for i in range(3))
    return without + scale * with_scale + scale**2 * with_square


def common_part(change: Any, T: Any, scatter: Any = 0.0) -> Any:
    """Return J T J' with J = [I; (m - m0)'] of the true features, and additive noise, ((q + 1)^2,).

    Where the errors are small m is near m0, and no digits are lost.
    """
    import pytensor.tensor as pt

    order = change.type.shape[0] + 1
    J = pt.concatenate([np.eye(order - 1), change[None, :]])
    common = pt.dot(J, pt.dot(T, J.T)) + scatter**2 * np.diag(np.eye(order)[-1])
    return common.reshape((order**2,))


# --- its data and its draws ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class MeasuredData:
    """The rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `sampler_model`."""
    structural: StructuralProblem
    """The data and the model in units in which the noisy features' spread is about one."""
    units: Units
    """From the model's units to those."""

    def posterior(self, problem: Problem, draws: Draws) -> Posterior:
        """Return draws as nodes of equal weight."""
        data = self.arrays
        if scale_is_learned(problem):
            values = draws.flat("values")
        else:
            u = draws.flat("u")[:, : np.size(data["location"])]
            values = data["location"] + u @ np.transpose(data["root"])
        (q, width), size = np.shape(data["latent"]), len(values)
        found = Lines.of(problem, data, values, (q, width), np)
        scale = np.exp(found.scale) if takes_log_noise(problem) else np.abs(found.scale)
        size_of_noise, ratio = (
            part[:, 0] if part.shape[1] else np.ones(size) for part in (scale, found.ratio)
        )
        noise_scale, scatter = noise_at_typical_error(problem, data, size_of_noise, ratio, np)
        theta = np.concatenate(
            [found.latent.reshape(size, -1), found.line[:, int(not problem.fit_intercept) :]], axis=1
        )
        probability = np.ones((size, 1))
        if "geometry" in draws.values:
            probability = np.exp(draws.flat("geometry"))
            probability /= probability.sum(axis=1, keepdims=True)
        nodes = StructuralNodes(
            sample=Sample(values, np.full(size, 1.0 / size), np.nan, np.nan, float(size)),
            m=data["m"] + found.change,
            noise_scale=noise_scale,
            T=found.T,
            scatter=scatter,
            tau=draws.flat("prior_scale") if "prior_scale" in draws.values else np.ones(size),
            theta=theta,
            theta_root=np.zeros((*theta.shape, 0)),
            geometry=probability.mean(axis=0),
            n_evaluations=0,
        )
        posterior = posterior_of(problem, nodes, self.units)
        nothing = SharedBasis(np.zeros((problem.rows.n_features + 1, 0)), np.zeros((size, 0)))
        return replace(posterior, covariances=nothing, chains=draws.chains)


def formulations(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Yield the problem as a sampler gets it."""
    data = measured_data(problem, settings.seed)
    yield Formulation(problem, data.arrays, sampler_model, lambda draws: data.posterior(problem, draws))


def measured_data(problem: Problem, seed: int) -> MeasuredData:
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
    structural, units = structural_problem(pilot)
    rows = structural.gathered.pseudo_rows()
    reference = rows.reference
    nodes = solve_structural(structural, 1024, seed)
    follows = scale_is_learned(problem)
    location, root = _coordinates(structural, rows, nodes, takes_log_noise(problem), follows)
    latent_mean = np.zeros_like(reference.w)
    latent_mean[:, 0] = 0.0 if structural.mu_mean is None else structural.mu_mean
    # The prior of the features' line is stated at the mean of the exact features.
    at_mean = np.eye(reference.w.shape[1])
    at_mean[1:, 0] = 0.0 if structural.z_mean is None else structural.z_mean
    gaps = rows.errors[:, structural.masks or slice(0)]
    arrays = prior_parameters(problem) | {
        "unit": np.append(units.noisy, units.exact),
        "latent_mean": latent_mean,
        "at_mean": at_mean,
        "latent": reference.w,
        "line": reference.y,
        "m": reference.m,
        "location": location,
        "root": root,
        "factor": np.column_stack([gaps, rows.rows, error_covariance(structural, rows), rows.counts]),
    }
    if problem.noise.combined:
        arrays["typical_error"] = structural.typical_error
    if follows:
        arrays |= _following(structural, nodes, location, root)
    return MeasuredData(arrays | geometries(structural), structural, units)


def coefficient_columns(structural: StructuralProblem) -> NDArray[np.intp]:
    """Return where the coefficients whose prior's scale is learned stand among what is sampled: m and the slopes."""
    q, width = structural.gathered.reference.w.shape
    intercept = structural.intercept is not None
    after = (q + 1) * width - (not intercept)
    slopes = np.arange(q * width + intercept, after)
    return slopes if structural.slopes.on_signal else np.append(np.arange(after, after + q), slopes)


def _following(
    structural: StructuralProblem, nodes: StructuralNodes, location: Array, root: Array
) -> dict[str, Array | float]:
    """Return the coordinates of coefficients that follow their prior's scale, and the prior's geometries.

    What the rows say of them is what their posterior says beyond the prior at its typical scale.
    """
    slopes, weights = structural.slopes, nodes.sample.weights
    columns, most = coefficient_columns(structural), int(nodes.geometry.argmax())
    own, mean = root[columns], location[columns].copy()
    prior_root, prior_mean = np.linalg.inv(slopes.whiten[most]), slopes.beta_mean
    if not slopes.on_signal:
        mean[: len(slopes.mean)] += structural.gathered.reference.m
        prior_root, prior_mean = (
            block_diag(np.diag(slopes.sd), prior_root),
            np.append(slopes.mean, prior_mean),
        )
    log_scale = place(np.log(nodes.tau), weights)
    whitened = np.linalg.solve(prior_root, own)
    weak = np.exp(-2.0 * log_scale[0])
    values, vectors = np.linalg.eigh(np.linalg.inv(whitened @ whitened.T) - weak * np.eye(len(own)))
    information = np.maximum(values, 0.0)
    along = vectors.T @ np.linalg.solve(prior_root, mean - prior_mean)
    # What is sampled for them takes the place of the root's first columns.
    n = len(own)
    at_coefficients = root[:, :n] @ np.linalg.inv(own[:, :n])
    return {
        "location": location + at_coefficients @ (prior_mean - mean),
        "root": np.column_stack([at_coefficients @ prior_root @ vectors, root[:, n:]]),
        "information": information,
        "pull": (information + weak) * along,
        "hold": np.ones(n),
        "log_prior_scale": log_scale,
    }


def error_covariance(structural: StructuralProblem, rows: PseudoRows) -> Array:
    """Return the covariance of the errors of (w, y - m0'w): (rows, (q + 1)^2), or for "scaled" three times as many.

    These are the parts without s, with s and with its square.
    """
    q, m = structural.n_noisy, rows.reference.m
    u = q * (q + 1) // 2
    parts = np.zeros((len(rows.rows), 3, q + 1, q + 1))
    parts[:, 0] = pair_covariance(rows.errors[:, pairs(q)], m)
    if structural.cross_covariance is not None:
        with_target = rows.errors[:, u : u + q]
        parts[:, 1, q, :q] = parts[:, 1, :q, q] = with_target
        parts[:, 1, q, q] = -2.0 * with_target @ m
    parts[:, 2, q, q] = rows.errors[:, -2]
    if not structural.multiplies:
        parts = parts.sum(axis=1)
    return parts.reshape(len(parts), -1)


def pair_covariance(U: Array, m: Array) -> Array:
    """Return the covariance of (u, -m'u), (..., q + 1, q + 1), of errors u of covariance U."""
    both = np.vstack([np.eye(len(m)), -m])
    return both @ U @ both.T


def _coordinates(
    structural: StructuralProblem, rows: PseudoRows, nodes: StructuralNodes, log_noise: bool, follows: bool
) -> tuple[Array, Array]:
    """Return mean and a root of the covariance of what is sampled.

    It is all less the least squares references of the rows, about which it is hardly correlated: the lines in z of
    the noisy features, (mu, Gamma), and of y - m0'w, (alpha, beta) + (m - m0)'(mu, Gamma); m; t, s or its
    logarithm, zeta, and under noise "auto" the log of the scatter over the rest of the noise. Of coefficients that
    follow their prior, whose scale has a coordinate of its own, it is what that prior is of that is sampled in the
    place of the slopes of y - m0'w: beta, or beta + m'Gamma where it is on the signal; they are what the root has
    first.
    """
    q, width = rows.reference.w.shape
    points, spread = nodes.sample.points, structural.spread_columns
    change = points[:, :q] - rows.reference.m
    # The lines are theta times a matrix that depends on m.
    matrix = np.tile(np.eye((q + 1) * width), (len(points), 1, 1))
    for a in range(q):
        for j in range(width):
            matrix[:, q * width + j, a * width + j] = change[:, a]
            if follows and j:
                matrix[:, q * width + j, a * width + j] = points[:, a] if structural.slopes.on_signal else 0.0
    reference = np.append(rows.reference.w, rows.reference.y)
    if follows:
        reference[q * width + 1 :] = 0.0
    if structural.intercept is None:
        matrix = np.delete(np.delete(matrix, q * width, axis=1), q * width, axis=2)
        reference = np.delete(reference, q * width)
    lines = np.einsum("gij,gj->gi", matrix, nodes.theta) - reference
    # s and t are signed; their images have other signs of zeta.
    row, column = np.tril_indices(q, -1)
    sign = np.sign(points[:, spread])
    zeta = points[:, structural.correlation_columns] * sign[:, row] * sign[:, column]
    s, t = np.abs(points[:, q : spread.start]), np.abs(points[:, spread])
    s = np.log(s) if log_noise else s
    ratio = points[:, structural.correlation_columns.stop :][:, : structural.noise.combined]
    values = np.concatenate([lines, change, t, s, zeta, ratio], axis=1)

    inner = matrix @ nodes.theta_root
    first = None
    if follows:
        first = coefficient_columns(structural)
    return mean_and_root(values, nodes.sample.weights, inner, first)
