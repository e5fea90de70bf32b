"""What a sampler gets of a problem with errors of features, in coordinates in which the posterior is about normal.

The coordinates come from importance sampling under Gaussian priors: they change no density, so that its weights need
not be good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from ..importance.engine import Units, posterior_of, structural_problem
from ..importance.structural_nodes import StructuralNodes, solve_structural
from ..numerics.importance_sampling import Sample, tempered
from ..posterior import Chains, Posterior, SharedBasis
from ..problem import Problem
from ..propriety import check_proper
from ..structural.model import StructuralProblem
from ..structural.rows import PseudoRows
from .compressed_rows import place
from .prior_coordinates import pilot_of, scale_is_learned
from .pymc_priors import prior_parameters

Array = NDArray[np.float64]

_NODES = 1024

# Added to the diagonal of the correlations, so that they have a root.
_JITTER = 1e-6


@dataclass(frozen=True, eq=False)
class MeasuredData:
    """The rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `pymc_features.sampler_model`."""
    structural: StructuralProblem
    """The data and the model in units in which the noisy features' spread is about one."""
    units: Units
    """From the model's units to those."""

    def posterior(self, problem: Problem, draws: Mapping[str, Array], chains: Chains) -> Posterior:
        """Return draws, (chain, draw, ...) by name, as nodes of equal weight."""
        structural, data = self.structural, self.arrays
        if scale_is_learned(problem):
            values = flat(draws["values"])
        else:
            u = flat(draws["u"])[:, : np.size(data["location"])]
            values = data["location"] + u @ np.transpose(data["root"])
        (q, width), size = np.shape(data["latent"]), len(values)
        n_noise, n_line = int(structural.noise.has_scale), width - (structural.intercept is None)
        of_w, of_y, change, t, scale, zeta, logs = np.split(
            values, np.cumsum([q * width, n_line, q, q, n_noise, q * (q - 1) // 2]), axis=1
        )
        scale = np.exp(scale) if takes_log_noise(problem) else scale
        latent = data["latent"] + of_w.reshape(-1, q, width)
        line = of_y + (data["line"] - np.einsum("gq,gqj->gj", change, latent))[:, width - n_line :]
        if scale_is_learned(problem):  # slopes have coordinates of their own
            first = n_line - width + 1
            line[:, first:] = of_y[:, first:]
            if structural.slopes.on_signal:
                line[:, first:] -= np.einsum("gq,gqj->gj", data["m"] + change, latent)[:, 1:]
        if structural.slopes.log_scale is not None:
            logs = np.column_stack([logs, np.log(flat(draws["prior_scale"]))])
        points = np.concatenate([data["m"] + change, scale, t, zeta, logs], axis=1)
        theta = np.concatenate([latent.reshape(size, -1), line], axis=1)
        weights, root = np.full(size, 1.0 / size), np.zeros((*theta.shape, 0))
        sample = Sample(points, weights, np.nan, np.nan, float(size))
        probability = np.ones((size, 1))
        if "geometry" in draws:
            probability = np.exp(flat(draws["geometry"]))
            probability /= probability.sum(axis=1, keepdims=True)
        geometry = probability.mean(axis=0)
        nodes = StructuralNodes(sample, *structural.psi(points), theta, root, geometry, n_evaluations=0)
        posterior = posterior_of(problem, nodes, self.units)
        nothing = SharedBasis(np.zeros((problem.rows.n_features + 1, 0)), np.zeros((size, 0)))
        return replace(posterior, covariances=nothing, chains=chains)


def flat(draws: Array) -> Array:
    """Return draws, (chain, draw, ...), chain after chain."""
    return draws.reshape(-1, *draws.shape[2:])


def takes_log_noise(problem: Problem) -> bool:
    """Return whether the noise scale's coordinate is its logarithm: where its density has a wall at zero.

    So it has under noise "auto", where scatter and multiplied errors are nothing only together.
    """
    return problem.noise.combined or (problem.noise.has_scale and problem.noise_prior.vanishes_at_zero)


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
    nodes = solve_structural(structural, _NODES, seed)
    follows = scale_is_learned(problem)
    location, root = _coordinates(structural, rows, nodes, takes_log_noise(problem), follows)
    latent_mean = np.zeros_like(reference.w)
    latent_mean[:, 0] = 0.0 if structural.mu_mean is None else structural.mu_mean
    # The prior of the features' line is stated at the mean of the exact features.
    at_mean = np.eye(reference.w.shape[1])
    at_mean[1:, 0] = 0.0 if structural.z_mean is None else structural.z_mean
    arrays = in_order_of_errors(problem) | {
        "unit": np.append(units.noisy, units.exact),
        "latent_mean": latent_mean,
        "at_mean": at_mean,
        "latent": reference.w,
        "line": reference.y,
        "m": reference.m,
        "location": location,
        "root": root,
        "factor": np.column_stack([rows.rows, error_covariance(structural, rows), rows.counts]),
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
    arrays: dict[str, Array | float] = {
        "basis": (prior_root @ vectors)[None],
        "information": information[None],
        "information_pull": ((information + weak) * along)[None],
        "mean": prior_mean,
        "hold": 1.0,
        "coefficients_at": mean,
        "coefficients_root": np.asarray(np.linalg.inv(own[:, : len(own)]), dtype=np.float64),
        "log_prior_scale": log_scale,
    }
    return arrays


def geometries(structural: StructuralProblem) -> dict[str, Array | float]:
    """Return what `pymc_features.slopes_density` takes of a prior on the signal."""
    slopes = structural.slopes
    if not slopes.on_signal:
        return {}
    arrays: dict[str, Array | float] = {"signal_scale": float(slopes.sd[0])}
    if structural.z.shape[1]:
        arrays |= {"geometry_volume": slopes.log_volume, "whiten": slopes.whiten}
    return arrays


def in_order_of_errors(problem: Problem) -> dict[str, Array | float]:
    """Return every number in the priors, those of features with errors before those of the others."""
    noisy = np.zeros(0, dtype=np.intp) if problem.feature_errors is None else problem.feature_errors.noisy
    order = np.append(noisy, np.setdiff1d(np.arange(problem.rows.n_features), noisy))
    return {
        name: np.asarray(value)[order] if name.startswith("coef_prior_") else value
        for name, value in prior_parameters(problem).items()
        if name != "coef_prior_power"  # stated with the geometries
    }


def error_covariance(structural: StructuralProblem, rows: PseudoRows) -> Array:
    """Return the covariance of the errors of (w, y - m0'w): (rows, (q + 1)^2), or for "scaled" three times as many.

    These are the parts without s, with s and with its square.
    """
    q = structural.n_noisy
    u, m = q * (q + 1) // 2, rows.reference.m
    parts = np.zeros((len(rows.rows), 3, q + 1, q + 1))
    row, column = np.triu_indices(q)
    parts[:, 0, row, column] = parts[:, 0, column, row] = rows.errors[:, :u]
    pushed = parts[:, 0, :q, :q] @ m
    parts[:, 0, q, :q] = parts[:, 0, :q, q] = -pushed
    parts[:, 0, q, q] = pushed @ m
    if structural.cross_covariance is not None:
        with_target = rows.errors[:, u : u + q]
        parts[:, 1, q, :q] = parts[:, 1, :q, q] = with_target
        parts[:, 1, q, q] = -2.0 * with_target @ m
    parts[:, 2, q, q] = rows.errors[:, -2]
    if not structural.multiplies:
        parts = parts.sum(axis=1)
    return parts.reshape(len(parts), -1)


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


def mean_and_root(
    values: Array, weights: Array, inner: Array | None = None, first: NDArray[np.intp] | None = None
) -> tuple[Array, Array]:
    """Return the mean of weighted values, and a root of their covariance: in these units they are about normal.

    Parameters
    ----------
    values : ndarray of shape (G, d)
    weights : ndarray of shape (G,)
        Tempered where too few of them count.
    inner : ndarray of shape (G, D, r), optional
        Roots of covariances that the first D values have themselves.
    first : ndarray of int, optional
        Values that depend on the first coordinates alone.
    """
    with np.errstate(divide="ignore"):
        used = tempered(np.log(weights), values.shape[1])
    weights = np.full(len(values), 1.0 / len(values)) if used is None else used
    location = weights @ values
    deviation = np.sqrt(weights)[:, None] * (values - location)
    covariance = deviation.T @ deviation
    if inner is not None:
        size = inner.shape[1]
        covariance[:size, :size] += np.einsum("g,gij,gkj->ik", weights, inner, inner)
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / (sd[:, None] * sd)
    order = np.arange(len(sd))
    if first is not None:
        order = np.append(first, np.setdiff1d(order, first))
    root = np.empty_like(correlation)
    root[order] = np.linalg.cholesky((correlation + _JITTER * np.eye(len(sd)))[np.ix_(order, order)])
    return location, sd[:, None] * root
