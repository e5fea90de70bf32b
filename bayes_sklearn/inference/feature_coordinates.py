"""What a sampler gets of a problem with errors of features, in coordinates in which the posterior is about normal.

The coordinates come from importance sampling under Gaussian priors: they change no density, so that its weights need
not be good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .importance import Units, posterior_of, structural_problem
from .importance_sampling import Sample, tempered
from .posterior import Chains, Posterior, SharedBasis
from .problem import Problem
from .propriety import check_proper
from .pymc_priors import prior_parameters
from .structural import StructuralProblem
from .structural_nodes import StructuralNodes, solve_structural
from .structural_rows import PseudoRows

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

    def posterior(self, problem: Problem, u: Array, chains: Chains) -> Posterior:
        """Return draws of the coordinates, (G, D), as nodes of equal weight."""
        structural, data = self.structural, self.arrays
        values = data["location"] + u @ np.transpose(data["root"])
        (q, width), size = np.shape(data["latent"]), len(u)
        n_noise, n_line = int(structural.noise != "known"), width - (structural.intercept is None)
        of_w, of_y, change, t, scale, zeta = np.split(
            values, np.cumsum([q * width, n_line, q, q, n_noise]), axis=1
        )
        scale = np.exp(scale) if takes_log_noise(problem) else scale
        latent = data["latent"] + of_w.reshape(-1, q, width)
        line = of_y + (data["line"] - np.einsum("gq,gqj->gj", change, latent))[:, width - n_line :]
        points = np.concatenate([data["m"] + change, scale, t, zeta], axis=1)
        theta = np.concatenate([latent.reshape(size, -1), line], axis=1)
        weights, root = np.full(size, 1.0 / size), np.zeros((*theta.shape, 0))
        sample = Sample(points, weights, np.nan, np.nan, float(size))
        nodes = StructuralNodes(sample, *structural.psi(points), theta, root, np.ones(1), n_evaluations=0)
        posterior = posterior_of(problem, nodes, self.units)
        nothing = SharedBasis(np.zeros((problem.rows.n_features + 1, 0)), np.zeros((size, 0)))
        return replace(posterior, covariances=nothing, chains=chains)


def takes_log_noise(problem: Problem) -> bool:
    """Return whether the noise scale's coordinate is its logarithm: where the prior's density has a wall at zero."""
    return problem.noise != "known" and problem.noise_prior.vanishes_at_zero


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
    pilot = problem.gaussian_like()
    check_proper(pilot)
    structural, units = structural_problem(pilot)
    rows = structural.gathered.pseudo_rows()
    reference = rows.reference
    nodes = solve_structural(structural, _NODES, seed)
    location, root = _coordinates(structural, rows, nodes, takes_log_noise(problem))
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
    return MeasuredData(arrays, structural, units)


def in_order_of_errors(problem: Problem) -> dict[str, Array | float]:
    """Return every number in the priors, those of features with errors before those of the others."""
    noisy = np.zeros(0, dtype=np.intp) if problem.feature_errors is None else problem.feature_errors.noisy
    order = np.append(noisy, np.setdiff1d(np.arange(problem.rows.n_features), noisy))
    return {
        name: np.asarray(value)[order] if name.startswith("coef_prior_") else value
        for name, value in prior_parameters(problem).items()
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
    structural: StructuralProblem, rows: PseudoRows, nodes: StructuralNodes, log_noise: bool
) -> tuple[Array, Array]:
    """Return mean and a root of the covariance of what is sampled.

    It is all less the least squares references of the rows, about which it is hardly correlated: the lines in z of
    the noisy features, (mu, Gamma), and of y - m0'w, (alpha, beta) + (m - m0)'(mu, Gamma); m; t, s or its
    logarithm, zeta.
    """
    q, width = rows.reference.w.shape
    points, spread = nodes.sample.points, structural.spread_columns
    change = points[:, :q] - rows.reference.m
    # The lines are theta times a matrix that depends on m.
    matrix = np.tile(np.eye((q + 1) * width), (len(points), 1, 1))
    for a in range(q):
        for j in range(width):
            matrix[:, q * width + j, a * width + j] = change[:, a]
    reference = np.append(rows.reference.w, rows.reference.y)
    if structural.intercept is None:
        matrix = np.delete(np.delete(matrix, q * width, axis=1), q * width, axis=2)
        reference = np.delete(reference, q * width)
    lines = np.einsum("gij,gj->gi", matrix, nodes.theta) - reference
    # s and t are signed; their images have other signs of zeta.
    row, column = np.tril_indices(q, -1)
    sign = np.sign(points[:, spread])
    zeta = points[:, spread.stop :] * sign[:, row] * sign[:, column]
    s, t = np.abs(points[:, q : spread.start]), np.abs(points[:, spread])
    s = np.log(s) if log_noise else s
    values = np.concatenate([lines, change, t, s, zeta], axis=1)

    inner = matrix @ nodes.theta_root
    return mean_and_root(values, nodes.sample.weights, inner)


def mean_and_root(values: Array, weights: Array, inner: Array | None = None) -> tuple[Array, Array]:
    """Return the mean of weighted values, and a root of their covariance: in these units they are about normal.

    Parameters
    ----------
    values : ndarray of shape (G, d)
    weights : ndarray of shape (G,)
        Tempered where too few of them count.
    inner : ndarray of shape (G, D, r), optional
        Roots of covariances that the first D values have themselves.
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
    return location, sd[:, None] * np.linalg.cholesky(correlation + _JITTER * np.eye(len(sd)))
