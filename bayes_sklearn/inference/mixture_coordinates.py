"""What a sampler gets of a problem whose true features are a mixture, in coordinates of about unit scale.

The coordinates come from importance sampling under Gaussian priors, as `feature_coordinates`' do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .feature_coordinates import (
    error_covariance,
    geometries,
    in_order_of_errors,
    mean_and_root,
    takes_log_noise,
)
from .importance import Units, mixture_posterior, structural_problem
from .mixture import MixtureProblem
from .mixture_nodes import solve_mixture
from .posterior import Chains, Posterior
from .prior_coordinates import pilot_of
from .problem import Problem
from .propriety import check_proper
from .structural_rows import PseudoRows, Reference

Array = NDArray[np.float64]

_NODES = 2048


@dataclass(frozen=True, eq=False)
class MixtureData:
    """The rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `pymc_mixture.sampler_model`."""
    mixture: MixtureProblem
    units: Units

    def posterior(self, problem: Problem, u: Array, chains: Chains) -> Posterior:
        """Return draws of the coordinates, (G, d), as nodes of equal weight."""
        points = self.arrays["location"] + u @ np.transpose(self.arrays["root"])
        if takes_log_noise(problem):
            scale = self.mixture.columns["s"]
            points[:, scale] = np.exp(points[:, scale])
        weights = np.full(len(u), 1.0 / len(u))
        posterior = mixture_posterior(problem, self.mixture, points, weights, self.units)
        return replace(posterior, chains=chains)


def mixture_data(problem: Problem, seed: int) -> MixtureData:
    """Return the rows and the coordinates of a problem with errors of features and several components.

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
    mixture = MixtureProblem(structural, problem.n_components)
    sample = solve_mixture(mixture, seed, _NODES)
    points = mixture.positive(sample.points)
    if takes_log_noise(problem):
        points[:, mixture.columns["s"]] = np.log(points[:, mixture.columns["s"]])
    location, root = mean_and_root(points, sample.weights)
    q, rows = structural.n_noisy, mixture.rows
    m = location[:q]
    of_y = rows[:, -1] - rows[:, -1 - q : -1] @ m
    errors = np.broadcast_to(mixture.errors, (len(rows), mixture.errors.shape[1]))
    reference = Reference(np.zeros((q, 0)), np.zeros(0), m)
    covariance = error_covariance(structural, PseudoRows(rows, errors, mixture.frequency, reference))
    z, w, y = mixture.center
    arrays = in_order_of_errors(problem) | {
        "unit": np.append(units.noisy, units.exact),
        "z": z,
        "w": w,
        "y": y,
        "mu_mean": mixture.mu_mean,
        "m": m,
        "location": location,
        "root": root,
        "factor": np.column_stack([rows[:, :-1], of_y, covariance, mixture.frequency]),
    }
    if problem.noise == "auto":
        arrays["typical_error"] = structural.typical_error
    return MixtureData(arrays | geometries(structural) | _scaled_slopes(mixture), mixture, units)


def _scaled_slopes(mixture: MixtureProblem) -> dict[str, Array | float]:
    """Return what the coefficients' columns are in units of."""
    scaled = mixture.scaled
    arrays: dict[str, Array | float] = {}
    if scaled is None:
        return {}
    prior = scaled.prior
    parts = {"slopes": (scaled.slopes, scaled.precision, prior.beta_mean, prior.whiten[0])}
    if not prior.on_signal:
        parts["m"] = scaled.m, scaled.m_precision, prior.mean, np.diag(1.0 / prior.sd)
    for name, (known, precision, mean, whiten) in parts.items():
        if len(mean):
            arrays |= {
                f"{name}_precision": precision,
                f"{name}_pull": precision @ (known - mean),
                f"{name}_mean": mean,
                f"{name}_weak": whiten.T @ whiten,
            }
    return arrays
