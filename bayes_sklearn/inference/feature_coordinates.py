"""What a sampler gets of a problem with errors of features, in coordinates in which the posterior is about normal.

The coordinates come from importance sampling under Gaussian priors: they change no density, so that its weights need
not be good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .importance import posterior_of, structural_problem
from .importance_sampling import StructuralNodes, solve_structural
from .posterior import Chains, Posterior, SharedBasis
from .problem import Problem, check_proper
from .pymc_model import prior_parameters
from .structural import PseudoRows, StructuralProblem

Array = NDArray[np.float64]

_NODES = 1024
# Effective nodes a coordinate below which weights are tempered: fewer give no covariance.
_ENOUGH = 10.0
# Of the logarithms of s and t, which importance sampling puts at zero, too.
_SMALLEST = 1e-8
# Added to the diagonal of the correlations, so that they have a root.
_JITTER = 1e-6


@dataclass(frozen=True, eq=False)
class MeasuredData:
    """The rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `pymc_features.sampler_model`."""
    structural: StructuralProblem
    """The data and the model in units in which the noisy features' spread is about one."""
    unit: Array
    """(q,) that spread, in the model's units."""

    def posterior(self, problem: Problem, values: Mapping[str, Array], chains: Chains) -> Posterior:
        """Return draws as nodes of equal weight; `values` are (draws, ...) by the names in the sampler's model."""
        structural, m = self.structural, values["m"]
        size, width = values["theta"].shape
        noise = [] if structural.noise == "known" else [values["s"][:, None]]
        zeta = values.get("zeta", np.zeros((size, 0)))
        points = np.concatenate([m, *noise, values["t"], zeta], axis=1)
        psi, weights = structural.psi(points), np.full(size, 1.0 / size)
        root = np.zeros((size, width, 0))
        nodes = StructuralNodes(
            weights,
            points,
            *psi,
            values["theta"],
            root,
            np.nan,
            k_hat=np.nan,
            effective_size=size,
            n_evaluations=0,
        )
        p = problem.rows.n_features
        posterior = posterior_of(problem, nodes, self.unit)
        nothing = SharedBasis(np.zeros((p + 1, 0)), np.zeros((size, 0)))
        return replace(posterior, covariances=nothing, chains=chains)


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
    structural, unit = structural_problem(pilot)
    rows = structural.pseudo_rows()
    location, root = _coordinates(structural, rows, solve_structural(structural, _NODES, seed))
    noisy = np.zeros(0, dtype=np.intp) if pilot.feature_errors is None else pilot.feature_errors.noisy
    order = np.append(noisy, np.setdiff1d(np.arange(problem.rows.n_features), noisy))
    arrays = {
        name: np.asarray(value)[order] if name.startswith("coef_prior_") else value
        for name, value in prior_parameters(problem).items()
    }
    arrays |= {
        "unit": unit,
        "mu_mean": np.zeros(len(unit)) if structural.mu_mean is None else structural.mu_mean,
        "w_reference": rows.w_reference,
        "y_reference": rows.y_reference,
        "location": location,
        "root": root,
        # Errors' last column is one.
        "factor": np.column_stack([rows.rows, rows.errors[:, :-1], rows.counts]),
    }
    return MeasuredData(arrays, structural, unit)


def _coordinates(
    structural: StructuralProblem, rows: PseudoRows, nodes: StructuralNodes
) -> tuple[Array, Array]:
    """Return mean and a root of the covariance of (m - m0, theta - theta0(m), log s, log t, zeta).

    m0 and theta0 are the least squares references of the rows: about them m and theta are hardly correlated.
    """
    q, width = rows.w_reference.shape
    points, spread = nodes.points, structural.spread_columns
    change = points[:, :q] - rows.y_reference[width:]
    of_y = rows.y_reference[:width] - change @ rows.w_reference
    reference = np.concatenate([np.tile(rows.w_reference.ravel(), (len(points), 1)), of_y], axis=1)
    if structural.intercept is None:
        reference = np.delete(reference, q * width, axis=1)
    row, column = np.tril_indices(q, -1)
    # s and t are signed; their images have other signs of zeta.
    sign = np.sign(points[:, spread])
    zeta = points[:, spread.stop :] * sign[:, row] * sign[:, column]
    logs = np.log(np.maximum(np.abs(points[:, q : spread.stop]), _SMALLEST))
    values = np.concatenate([change, nodes.theta - reference, logs, zeta], axis=1)

    weights = _tempered(nodes.weights, values.shape[1])
    location = weights @ values
    deviation = np.sqrt(weights)[:, None] * (values - location)
    covariance = deviation.T @ deviation
    theta = slice(q, q + nodes.theta.shape[1])
    covariance[theta, theta] += np.einsum("g,gij,gkj->ik", weights, nodes.theta_root, nodes.theta_root)
    sd = np.sqrt(np.diag(covariance))
    correlation = covariance / (sd[:, None] * sd)
    return location, sd[:, None] * np.linalg.cholesky(correlation + _JITTER * np.eye(len(sd)))


def _tempered(weights: Array, size: int) -> Array:
    """Return weights to a power below one that leaves enough effective nodes."""
    for power in (1.0, 0.5, 0.25, 0.125):
        tempered = weights**power
        tempered /= tempered.sum()
        if np.square(tempered).sum() * _ENOUGH * size < 1.0:
            return tempered
    return np.full(len(weights), 1.0 / len(weights))
