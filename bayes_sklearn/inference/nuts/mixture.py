"""The model of features measured with error in PyMC, for the sampler, where the true features are a mixture.

The true features and the components they belong to are summed and integrated out. `mixture` states the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...priors.coefficients import PoweredCorrelation
from .._compat import quietly
from ..importance.engine import Units, mixture_posterior, structural_problem
from ..importance.mixture_nodes import solve_mixture
from ..posterior import Chains, Posterior
from ..problem import Problem
from ..propriety import check_proper
from ..structural.mixture import COMPONENT_SCALE, SHARE_CONCENTRATION, MixtureProblem, contrasts_of, sizes_of
from ..structural.model import MEAN_SCALE
from ..structural.rows import PseudoRows, Reference
from .prior_coordinates import pilot_of, scale_is_learned
from .pymc_features import (
    common_part,
    eliminated,
    error_part,
    parts_of,
    signed_noise,
    slopes_density,
    spread_prior,
    true_covariance,
)
from .pymc_priors import of_role, positive_density, prior_density, priors_of
from .readable_model import unpacked
from .structural import error_covariance, geometries, in_order_of_errors, mean_and_root, takes_log_noise

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model with the true features integrated out: all that varies from data to data is a `pm.Data`.

    Parameters
    ----------
    problem : Problem
        Its structure alone is taken from it.
    data : mapping of str to ndarray or float
        As `mixture_coordinates.mixture_data` makes them.

    Returns
    -------
    pymc.Model
        One free variable ``u``; `mixture_coordinates.MixtureData` says what follows from it.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        q, k, count = np.size(data["w"]), np.size(data["z"]), problem.n_components
        sizes = sizes_of(q, k, count, intercept=problem.fit_intercept, noise=problem.noise.has_scale)
        sizes |= {"scatter": int(problem.noise.combined), "tau": int(scale_is_learned(problem))}
        with pm.Model() as model:
            given, priors = unpacked(data), priors_of(problem)
            u = pm.Flat("u", shape=np.size(data["location"]))
            values = given["location"] + pt.dot(given["root"], u)
            m, scale, line, slopes, means, t, zeta, shares, ratio, log_tau = parts_of(
                values, list(sizes.values())
            )
            slopes, means = slopes.reshape((q, k)), means.reshape((count, q))
            scale, scatter, terms = signed_noise(problem, given, scale, ratio)
            beta, tau = line[problem.fit_intercept :], 1.0
            if scale_is_learned(problem):
                tau = pt.exp(log_tau[0])
                m, beta, more = _log_density_of_slopes(problem, given, m, beta, slopes, tau)
                terms += [*more, log_tau[0]]
            away = pt.dot(beta, given["z"]) + pt.dot(m, given["w"]) - given["y"]
            at_means = line[:1] if problem.fit_intercept else away.reshape((1,))
            logits = pt.dot(contrasts_of(count), shares)
            log_shares = logits - pt.logsumexp(logits)
            own_t, own_zeta = t.reshape((count, q)), zeta.reshape((count, -1))

            # Rows are [1, z, w, y - m0'w] about their means, the covariance of the errors of the last, and counts.
            columns = given["factor"].T
            change = m - given["m"]
            ones, w, y = parts_of(columns[: k + q + 2], [k + 1, q, 1])
            left = w - pt.dot(slopes, ones[1:])
            of_y = pt.concatenate([at_means, beta]) + pt.concatenate([[0.0], pt.dot(change, slopes)])
            residuals = [left[j][None, :] - means[:, j][:, None] for j in range(q)]
            residuals.append((y[0] - pt.dot(of_y, ones))[None, :] - pt.dot(means, change)[:, None])
            T = [true_covariance(own_t[c], own_zeta[c]) for c in range(count)]
            common = pt.stack([common_part(change, T[c], scatter) for c in range(count)])
            of_errors = error_part(problem, columns[k + q + 2 : -1], q + 1, scale)
            entries = {
                (a, b): of_errors[a * (q + 1) + b][None, :] + common[:, a * (q + 1) + b][:, None]
                for a in range(q + 1)
                for b in range(a + 1)
            }
            square, determinant = eliminated(residuals, entries)
            of_rows = pt.logsumexp(log_shares[:, None] - 0.5 * (square + pt.log(determinant)), axis=0)
            terms.append(pt.dot(columns[-1], of_rows))

            terms += [spread_prior(own_t[c], own_zeta[c]) for c in range(count)]
            terms.append(-0.5 * pt.square(slopes / MEAN_SCALE).sum())
            terms.append(-0.5 * pt.square((means.mean(axis=0) - given["mu_mean"]) / MEAN_SCALE).sum())
            apart = pt.dot(contrasts_of(count).T, means)
            terms.append(-0.5 * pt.square(apart / COMPONENT_SCALE).sum())
            terms.append(SHARE_CONCENTRATION * log_shares.sum())
            pi = pt.exp(log_shares)
            from_mean = means - pt.dot(pi, means)
            whole = sum(pi[c] * T[c] for c in range(count)) + pt.dot(from_mean.T * pi, from_mean)
            terms.append(slopes_density(problem, given, m, beta, pt.dot(m, slopes), whole, tau))
            if problem.fit_intercept:
                intercept = at_means - away
                of_intercept = of_role(given, "intercept_prior")
                terms.append(prior_density(priors["intercept_prior"], of_intercept, intercept))
            pm.Potential("log_posterior", sum(terms))
    return model


def _log_density_of_slopes(
    problem: Problem, given: Mapping[str, Any], m: Any, beta: Any, Gamma: Any, tau: Any
) -> tuple[Any, Any, list[Any]]:
    """Return m and beta of what points have in their place, as `mixture_slopes` has them, and log densities."""
    import pytensor.tensor as pt

    learned = problem.coef_prior.scale_prior
    if learned is None:
        raise ValueError("The scale of this prior is not learned.")
    density = positive_density(learned, "scale_prior", of_role(given, "scale_prior"), tau)
    beta, log_volume = _scaled(given, "slopes", beta, tau)
    if isinstance(problem.coef_prior, PoweredCorrelation):
        return m, beta - pt.dot(m, Gamma), [density, log_volume]
    m, more = _scaled(given, "m", m, tau)
    return m, beta, [density, log_volume, more]


def _scaled(given: Mapping[str, Any], of: str, values: Any, tau: Any) -> tuple[Any, Any]:
    """Return coefficients, and the log of the volume that they take."""
    import pytensor.tensor as pt

    if f"{of}_mean" not in given:  # there are none
        return values, 0.0
    lower = pt.linalg.cholesky(given[f"{of}_precision"] + given[f"{of}_weak"] / tau**2)
    half = pt.linalg.solve_triangular(lower, given[f"{of}_pull"], lower=True)
    found = given[f"{of}_mean"] + pt.linalg.solve_triangular(lower.T, half + values, lower=False)
    return found, -pt.log(pt.diagonal(lower)).sum()


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
    if problem.noise.combined:
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
