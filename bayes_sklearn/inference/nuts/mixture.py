"""The model of features measured with error in PyMC, for the sampler, where the true features are a mixture.

The true features and the components they belong to are summed and integrated out. `mixture` states the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...priors.coefficients import PoweredCorrelation
from .._compat import quietly
from ..importance.engine import Units, mixture_posterior, structural_problem
from ..importance.mixture_nodes import solve_mixture
from ..importance.mixture_slopes import Known
from ..numerics.importance_sampling import mean_and_root
from ..posterior import Posterior
from ..problem import Problem, SamplerSettings
from ..propriety import check_proper
from ..structural.mixture import COMPONENT_SCALE, SHARE_CONCENTRATION, MixtureProblem
from ..structural.mixture_coordinates import contrasts_of, sizes_of
from ..structural.model import MEAN_SCALE
from ..structural.rows import PseudoRows, Reference, eliminated
from ..structural.true_covariance import log_prior, true_covariance
from .formulation import Draws, Formulation, unpacked
from .prior_coordinates import pilot_of, scale_is_learned
from .pymc_priors import (
    geometries,
    of_role,
    positive_density,
    prior_density,
    prior_parameters,
    priors_of,
    signed_noise,
    slopes_density,
    takes_log_noise,
)
from .structural import common_part, error_covariance, error_part, parts_of

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model with the true features integrated out: all that varies from data to data is a `pm.Data`.

    Returns
    -------
    pymc.Model
        One free variable ``u``; `MixtureData` says what follows from it.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        q, k, count = np.size(data["w"]), np.size(data["z"]), problem.n_components
        sizes = sizes_of(q, k, count, intercept=problem.fit_intercept, noise=problem.noise.has_scale)
        sizes |= {"scatter": int(problem.noise.combined), "tau": int(scale_is_learned(problem))}
        with pm.Model() as model:
            given = unpacked(data)
            u = pm.Flat("u", shape=np.size(data["location"]))
            parts = parts_of(given["location"] + pt.dot(given["root"], u), list(sizes.values()))
            found, terms = _parameters(problem, given, dict(zip(sizes, parts, strict=True)), (q, k, count))
            # Rows are [1, z, w, y - m0'w] about their means, the covariance of the errors of the last, and counts.
            columns = given["factor"].T
            ones, w, y = columns[: k + 1], columns[k + 1 : k + 1 + q], columns[k + 1 + q]
            left = w - pt.dot(found.slopes, ones[1:])
            of_y = found.line + pt.concatenate([[0.0], pt.dot(found.change, found.slopes)])
            residuals = [left[j][None, :] - found.means[:, j][:, None] for j in range(q)]
            residuals.append((y - pt.dot(of_y, ones))[None, :] - pt.dot(found.means, found.change)[:, None])
            common = pt.stack([common_part(found.change, T, found.scatter) for T in found.covariances])
            of_errors = error_part(problem, columns[k + q + 2 : -1], q + 1, found.scale)
            entries = {
                (a, b): of_errors[a * (q + 1) + b][None, :] + common[:, a * (q + 1) + b][:, None]
                for a in range(q + 1)
                for b in range(a + 1)
            }
            square, determinant, _ = eliminated(residuals, entries)
            of_components = found.log_shares[:, None] - 0.5 * (square + pt.log(determinant))
            of_rows = pt.dot(columns[-1], pt.logsumexp(of_components, axis=0))
            pm.Potential("log_posterior", sum([of_rows, *terms]))
    return model


class _Parameters(NamedTuple):
    """Of the mixture model, in PyTensor."""

    change: Any
    """(q,) m - m0."""
    line: Any
    """(k + 1,) the line at the means, and beta."""
    slopes: Any
    """(q, k) Gamma"""
    means: Any
    """(K, q)"""
    covariances: list[Any]
    """K times (q, q)."""
    log_shares: Any
    scale: Any
    scatter: Any


def _parameters(
    problem: Problem, given: Mapping[str, Any], part: Mapping[str, Any], sizes: tuple[int, int, int]
) -> tuple[_Parameters, list[Any]]:
    """Return the parameters of what is sampled, by the names of `sizes_of`, and their log prior densities."""
    import pytensor.tensor as pt

    q, k, count = sizes
    slopes, means = part["slopes"].reshape((q, k)), part["means"].reshape((count, q))
    scale, scatter, terms = signed_noise(problem, given, part["s"], part["scatter"])
    m, beta, tau = part["m"], part["line"][problem.fit_intercept :], 1.0
    if scale_is_learned(problem):
        tau = pt.exp(part["tau"][0])
        m, beta, more = _log_density_of_slopes(problem, given, m, beta, slopes, tau)
        terms += [*more, part["tau"][0]]
    away = pt.dot(beta, given["z"]) + pt.dot(m, given["w"]) - given["y"]
    at_means = part["line"][:1] if problem.fit_intercept else away.reshape((1,))
    logits = pt.dot(contrasts_of(count), part["shares"])
    log_shares = logits - pt.logsumexp(logits)
    t, zeta = part["t"].reshape((count, q)), part["zeta"].reshape((count, -1))
    T = [true_covariance(t[c], zeta[c], q, pt) for c in range(count)]
    terms += [
        log_prior(t, zeta, q, pt).sum(),
        -0.5 * pt.square(slopes / MEAN_SCALE).sum(),
        -0.5 * pt.square((means.mean(axis=0) - given["mu_mean"]) / MEAN_SCALE).sum(),
        -0.5 * pt.square(pt.dot(contrasts_of(count).T, means) / COMPONENT_SCALE).sum(),
        SHARE_CONCENTRATION * log_shares.sum(),
    ]
    pi = pt.exp(log_shares)
    from_mean = means - pt.dot(pi, means)
    whole = sum(pi[c] * T[c] for c in range(count)) + pt.dot(from_mean.T * pi, from_mean)
    terms.append(slopes_density(problem, given, m, beta, pt.dot(m, slopes), whole, tau))
    if problem.fit_intercept:
        of_intercept = of_role(given, "intercept_prior")
        terms.append(prior_density(priors_of(problem)["intercept_prior"], of_intercept, at_means - away))
    line = pt.concatenate([at_means, beta])
    return _Parameters(m - given["m"], line, slopes, means, T, log_shares, scale, scatter), terms


def _log_density_of_slopes(
    problem: Problem, given: Mapping[str, Any], m: Any, beta: Any, Gamma: Any, tau: Any
) -> tuple[Any, Any, list[Any]]:
    """Return m and beta of what points have in their place, as `mixture_slopes` has them, and log densities."""
    import pytensor.tensor as pt

    learned = problem.coef_prior.scale_prior
    if learned is None:
        raise ValueError("The scale of this prior is not learned.")
    density = positive_density(learned, "scale_prior", of_role(given, "scale_prior"), tau)
    log_volumes = []
    found = {"slopes": beta, "m": m}
    for of, values in found.items():
        if f"{of}_pull" in given:
            known = Known(*(given[f"{of}_{field}"] for field in Known._fields))
            found[of], log_volume = known.coefficients(values, tau, pt)
            log_volumes.append(log_volume)
    if isinstance(problem.coef_prior, PoweredCorrelation):
        return m, found["slopes"] - pt.dot(m, Gamma), [density, *log_volumes]
    return found["m"], found["slopes"], [density, *log_volumes]


# --- its data and its draws ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class MixtureData:
    """The rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `sampler_model`."""
    mixture: MixtureProblem
    units: Units

    def posterior(self, problem: Problem, draws: Draws) -> Posterior:
        """Return draws as nodes of equal weight."""
        u = draws.flat("u")
        points = self.arrays["location"] + u @ np.transpose(self.arrays["root"])
        if takes_log_noise(problem):
            scale = self.mixture.columns["s"]
            points[:, scale] = np.exp(points[:, scale])
        weights = np.full(len(u), 1.0 / len(u))
        posterior = mixture_posterior(problem, self.mixture, points, weights, self.units)
        return replace(posterior, chains=draws.chains)


def formulations(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Yield the problem as a sampler gets it."""
    data = mixture_data(problem, settings.seed)
    yield Formulation(problem, data.arrays, sampler_model, lambda draws: data.posterior(problem, draws))


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
    sample = solve_mixture(mixture, seed, 2048)
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
    arrays = prior_parameters(problem) | {
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
    parts = {} if scaled is None else {"slopes": scaled.slopes, "m": scaled.m}
    return {
        f"{of}_{name}": value
        for of, known in parts.items()
        if known is not None and len(known.mean)
        for name, value in known._asdict().items()
    }
