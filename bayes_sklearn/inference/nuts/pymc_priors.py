"""Priors in PyMC, and the parameters that samplers have of them: one place for every model.

Nothing here is for a single prior: a prior says what its PyMC distribution is. Equations (n) are those of
``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Likelihood, Observations
from ...priors.base import CoefficientPrior, Prior, ScaleMixture, ScalePrior, UnitPrior
from ...priors.coefficients import PoweredCorrelation
from ...priors.scales import NEGLIGIBLE_SCATTER, InUnit, ScatterPrior
from ..problem import Problem
from ..structural.model import StructuralProblem
from ..structural.normal_equations import signal_prior
from .prior_coordinates import coefficients_at, is_conditional

Array = NDArray[np.float64]


def missing_distribution(problem: Problem) -> str | None:
    """Return the argument whose prior PyMC has no distribution for, with that prior, or None."""
    for role, prior in priors_of(problem).items():
        if isinstance(prior, ScaleMixture | PoweredCorrelation | ScatterPrior):
            continue
        if pymc_name(prior, role) is None:
            return f"{role}={prior!r}"
    return None


def pymc_name(prior: Prior, role: str) -> str | None:
    """Return PyMC's name of a prior's distribution."""
    if isinstance(prior, UnitPrior):
        return prior.unit_distribution
    if isinstance(prior, CoefficientPrior) and role in ("coef_prior", "intercept_prior"):
        return prior.distribution
    return prior.scale_distribution if isinstance(prior, ScalePrior) else None


def prior_parameters(problem: Problem) -> dict[str, Array | float]:
    """Return every number in the priors by ``role_parameter``, broadcast to one per feature where it may be.

    Those of features with errors stand before those of the others.
    """
    p, errors = problem.rows.n_features, problem.feature_errors
    noisy = np.zeros(0, dtype=np.intp) if errors is None else errors.noisy
    order = np.append(noisy, np.setdiff1d(np.arange(p), noisy))
    found: dict[str, Array | float] = {}
    for role, prior in priors_of(problem).items():
        for name, value in prior.check(role, p if role == "coef_prior" else 1).items():
            values: Array | float = value if role == "coef_prior" else np.asarray(value).item()
            found[f"{role}_{name}"] = value[order] if np.shape(values) == (p,) else values
    return found


def prior_density(
    prior: CoefficientPrior, parameters: Mapping[str, Any], entries: Any, scale: Any = 1.0
) -> Any:
    """Return the log density of entries of B under their prior, where it is learned at a scale."""
    return each_density(prior, parameters, entries, scale).sum()


def each_density(
    prior: CoefficientPrior, parameters: Mapping[str, Any], entries: Any, scale: Any = 1.0
) -> Any:
    """Return the log density of each entry of B under its prior."""
    import pymc as pm

    parameters = prior.at_learned_scale(parameters, scale)

    return pm.logp(getattr(pm, str(prior.distribution)).dist(**parameters), entries)


def priors_of(problem: Problem) -> dict[str, Any]:
    """Return the priors that the model has, by role."""
    priors: dict[str, Any] = {"coef_prior": problem.coef_prior}
    if problem.coef_prior.scale_prior is not None:
        priors["scale_prior"] = problem.coef_prior.scale_prior
    if problem.fit_intercept:
        priors["intercept_prior"] = problem.intercept_prior
    if problem.has_noise_scale:
        own = problem.noise_prior
        priors["noise_prior"] = own.prior if isinstance(own, InUnit) else own
    if problem.noise.combined:
        priors["scatter_prior"] = problem.scatter_prior
    if problem.group_priors:
        priors["group_prior"] = problem.group_prior[0]
    others = (other for other in problem.auxiliary if other.name not in ("noise_scale", "scatter"))
    priors |= {f"{other.name}_prior": other.prior for other in others}
    return priors


def positive_density(prior: Prior, role: str, parameters: Mapping[str, Any], value: Any) -> Any:
    """Return the log density of a scale or of another parameter of the likelihood under its prior."""
    import pymc as pm

    if isinstance(prior, ScatterPrior):
        return pm.logp(scatter_distribution(**parameters), value)
    return pm.logp(getattr(pm, str(pymc_name(prior, role))).dist(**parameters), value)


def scatter_distribution(beta: Any) -> Any:
    """Return `ScatterPrior` as a distribution of PyMC."""
    import pymc as pm

    wide, narrow = (pm.HalfCauchy.dist(beta=size) for size in (beta, NEGLIGIBLE_SCATTER * beta))
    return pm.Mixture.dist(w=[0.5, 0.5], comp_dists=[wide, narrow])


def of_role(given: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return the parameters of one prior by their own names."""
    return {name[len(role) + 1 :]: value for name, value in given.items() if name.startswith(f"{role}_")}


class NoiseVariables(NamedTuple):
    """What the noise is like, in PyTensor."""

    scale: Any
    """None where the noise is known."""
    scatter: Any
    """Of noise "auto"; else None."""
    terms: list[Any]
    """Log prior densities in the coordinates."""

    @property
    def values(self) -> dict[str, Any]:
        """By the names of a likelihood's parameters."""
        return {"noise_scale": self.scale, "scatter": self.scatter}


def noise_variables(problem: Problem, given: Mapping[str, Any], u: Any) -> NoiseVariables:
    """Return the noise scale ``s`` and the scatter ``scatter``, variables of the PyMC model in hand.

    Of noise "auto" the coordinates are the logs of the noise at a typical error, and of what the scatter is there
    beside the multiplied error, (16a).
    """
    import pymc as pm
    import pytensor.tensor as pt

    if not problem.noise.has_scale:
        return NoiseVariables(None, None, [])
    log_scale = given["log_scale"][0] + given["log_scale"][1] * u[0]
    log_scatter, scatter = 0.0, None
    terms = []
    if problem.noise.combined:
        log_ratio = given["log_ratio"][0] + given["log_ratio"][1] * u[1]
        log_scale, log_scatter = scale_and_scatter(given, log_scale, log_ratio)
        scatter = pm.Deterministic("scatter", pt.exp(log_scatter))
        of_scatter = priors_of(problem)["scatter_prior"]
        terms.append(positive_density(of_scatter, "scatter_prior", of_role(given, "scatter_prior"), scatter))
    scale = pm.Deterministic("s", pt.exp(log_scale))
    prior = positive_density(problem.noise_prior, "noise_prior", of_role(given, "noise_prior"), scale)
    return NoiseVariables(scale, scatter, [prior, *terms, log_scale + log_scatter])


def scale_and_scatter(given: Mapping[str, Any], log_size: Any, log_ratio: Any) -> tuple[Any, Any]:
    """Return the logs of noise scale and scatter, whose volume is that of what they are given by, (16a)."""
    import pytensor.tensor as pt

    log_scale = log_size - pt.log(given["scatter_prior_beta"]) - 0.5 * pt.softplus(2.0 * log_ratio)
    return log_scale, log_size - 0.5 * pt.softplus(-2.0 * log_ratio)


def rows_say(problem: Problem, given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """Return by how much more a typical row says than where the coordinates are from, r in (36)."""
    noise, resolution = problem.noise, given["resolution"] if problem.noise.multiplies else 0.0
    return given["variance"] / noise.variance(values, given["typical_error"], resolution)


def learned_scale(problem: Problem, given: Mapping[str, Any], u: Any) -> tuple[Any, list[Any]]:
    """Return the coefficients' prior scale, one where it is not learned, and its log prior density.

    Where it is learned it becomes the variable ``prior_scale`` of the PyMC model in hand.
    """
    import pymc as pm
    import pytensor.tensor as pt

    prior = problem.coef_prior.scale_prior
    if prior is None:
        return 1.0, []
    log_scale = given["log_prior_scale"][0] + given["log_prior_scale"][1] * u[0]
    scale = pm.Deterministic("prior_scale", pt.exp(log_scale))
    density = positive_density(prior, "scale_prior", of_role(given, "scale_prior"), scale)
    return scale, [density, log_scale]


class PlacedCoefficients(NamedTuple):
    """B under each geometry of the prior, in PyTensor."""

    own: Any
    """(A, P) B less ``start`` in the directions of ``basis``; of one geometry (P,)."""
    log_prior: Any
    """(A,) log prior density in the coordinates, but for a constant; of one geometry a number."""


def following_prior(
    problem: Problem, given: Mapping[str, Any], u: Any, more: Any, scale: Any
) -> PlacedCoefficients:
    """Return B, a variable of the PyMC model in hand, given its prior's scale, (18a)."""
    import pymc as pm
    import pytensor.tensor as pt

    along, log_density = coefficients_at(given, u, more, scale)
    own = along
    if "turn" in given:
        own = (given["turn"] * along[:, None, :]).sum(axis=2)
        log_density = log_density + given["volume"]
    B = given["start"] + pt.dot(given["basis"], own.T).T
    first = int(problem.fit_intercept)
    if is_conditional(problem.coef_prior):
        square = (given["hold"] * pt.square(along)).sum(axis=-1) / scale**2
        log_density = log_density - 0.5 * square - problem.rows.n_features * pt.log(scale)
    else:
        parameters = of_role(given, "coef_prior")
        log_density = log_density + prior_density(problem.coef_prior, parameters, B[first:], scale)
    if first:
        parameters = of_role(given, "intercept_prior")
        log_density = log_density + each_density(priors_of(problem)["intercept_prior"], parameters, B[..., 0])
    pm.Deterministic("B", B)
    return PlacedCoefficients(own, log_density)


def over_geometries(log_density: Any) -> Any:
    """Return the log of the summed densities under each geometry, which become the variable ``geometry``."""
    import pymc as pm
    import pytensor.tensor as pt

    if not log_density.ndim:  # there is one
        return log_density
    log_density = pm.Deterministic("geometry", log_density)
    # Large negative numbers: not every mode of compiling takes care of them.
    highest = log_density.max()
    return highest + pt.log(pt.exp(log_density - highest).sum())


def noise_at_typical_error(
    problem: Problem, given: Mapping[str, Any], size: Any, ratio: Any, xp: Any
) -> tuple[Any, Any]:
    """Return noise scale and scatter, of noise "auto" from a typical row's noise and log(scatter / rest) there.

    In arrays of `xp`, which is `numpy` or `pytensor.tensor`.
    """
    if not problem.noise.combined:
        return size, size if problem.noise.only_scatters else 0.0
    rest = size / xp.sqrt(1.0 + xp.exp(2.0 * ratio))
    return rest / given["typical_error"], rest * xp.exp(ratio)


def takes_log_noise(problem: Problem) -> bool:
    """Return whether the coordinate of a signed noise scale is its logarithm: where its density has a wall at zero.

    So it has under noise "auto", where scatter and multiplied errors are nothing only together.
    """
    return problem.noise.combined or (problem.noise.has_scale and problem.noise_prior.vanishes_at_zero)


def signed_noise(
    problem: Problem, given: Mapping[str, Any], scale: Any, ratio: Any
) -> tuple[Any, Any, list[Any]]:
    """Return the noise scale, the scatter and their log prior densities in the coordinates.

    Parameters
    ----------
    problem : Problem
    given : mapping of str to TensorVariable
    scale : TensorVariable of shape (1,)
        The noise scale, signed, or its log; of noise "auto" the noise of a typical row.
    ratio : TensorVariable of shape (1,)
        Of noise "auto" the log of the scatter over the rest.
    """
    import pytensor.tensor as pt

    if not problem.noise.has_scale:
        return None, 0.0, []
    in_logs, combined = takes_log_noise(problem), problem.noise.combined
    size = pt.exp(scale[0]) if in_logs else pt.abs(scale[0])
    noise_scale, scatter = noise_at_typical_error(problem, given, size, ratio[0] if combined else None, pt)
    terms = [scale[0]] if in_logs else []
    if combined:
        of_scatter = of_role(given, "scatter_prior")
        terms.append(positive_density(problem.scatter_prior, "scatter_prior", of_scatter, scatter))
        terms.append(pt.log(noise_scale) + pt.log(scatter) - pt.log(size))
    parameters = of_role(given, "noise_prior")
    density = positive_density(problem.noise_prior, "noise_prior", parameters, noise_scale)
    return noise_scale, scatter, [*terms, density]


def slopes_density(
    problem: Problem, given: Mapping[str, Any], m: Any, beta: Any, through: Any, T: Any, tau: Any
) -> Any:
    """Return the log prior density of m and beta, given in units of the features' spread, (20b).

    Where the prior has several geometries, the densities under each become the variable ``geometry``.

    Parameters
    ----------
    problem : Problem
    given : mapping of str to TensorVariable
    m, beta : TensorVariable
        (q,) and (k,)
    through : TensorVariable of shape (k,)
        m'Gamma: what exact features say of the target by the true ones.
    T : TensorVariable of shape (q, q)
        The true features' covariance.
    tau : TensorVariable or float
        The prior's scale.
    """
    import pytensor.tensor as pt

    if not isinstance(problem.coef_prior, PoweredCorrelation):
        coef = pt.concatenate([m, beta]) / given["unit"]
        return prior_density(problem.coef_prior, of_role(given, "coef_prior"), coef, tau)
    q = m.type.shape[0]
    square = pt.dot(m, pt.dot(T, m)) / given["signal_scale"] ** 2
    of_signal = 0.5 * (pt.log(T[0, 0]) if q == 1 else pt.linalg.slogdet(T)[1])
    cauchy = signal_prior(problem.coef_prior).cauchy
    of_signal = of_signal - 0.5 * ((q + 1) * pt.log1p(square) if cauchy else square)
    if "whiten" not in given:
        return of_signal
    white = pt.dot(given["whiten"], beta + through) / tau
    of_geometry = given["geometry_volume"] - 0.5 * pt.square(white).sum(axis=1)
    return of_signal + over_geometries(of_geometry) - white.shape[1] * pt.log(tau)


def geometries(structural: StructuralProblem) -> dict[str, Array | float]:
    """Return what `slopes_density` takes of a prior on the signal."""
    slopes = structural.slopes
    if not slopes.on_signal:
        return {}
    arrays: dict[str, Array | float] = {"signal_scale": float(slopes.sd[0])}
    if structural.z.shape[1]:
        arrays |= {"geometry_volume": slopes.log_volume, "whiten": slopes.whiten}
    return arrays


# --- as people would write them ---------------------------------------------------------------------


def positive_variable(prior: Prior, role: str, name: str, dims: str | None = None) -> Any:
    """Return a positive variable of the PyMC model in hand with a prior's distribution."""
    import pymc as pm

    parameters = {key: np.asarray(value).item() for key, value in prior.check(role, 1).items()}
    if isinstance(prior, ScatterPrior):
        wide, narrow = (
            pm.HalfCauchy.dist(beta=size * parameters["beta"]) for size in (1.0, NEGLIGIBLE_SCATTER)
        )
        return pm.Mixture(name, w=[0.5, 0.5], comp_dists=[wide, narrow])
    return getattr(pm, str(pymc_name(prior, role)))(name, **parameters, dims=dims)


def of_geometries(name: str, roots: Sequence[Array], scale: Any, dims: str) -> Any:
    """Return coefficients, scale times a root times Normal(0, 1), each root as probable as the others."""
    import pymc as pm

    # The triangle with the same product.
    factors = [np.asarray(np.linalg.qr(root.T, mode="r")).T for root in roots]
    factors = [factor * np.where(np.diag(factor) < 0.0, -1.0, 1.0) for factor in factors]
    zero = np.zeros(len(roots[0]))
    if len(factors) == 1:
        return pm.MvNormal(name, zero, chol=scale * factors[0], dims=dims)
    geometries = [pm.MvNormal.dist(zero, chol=scale * factor) for factor in factors]
    return pm.Mixture(name, np.full(len(factors), 1.0 / len(factors)), geometries, dims=dims)


def coefficient_variable(
    prior: CoefficientPrior, role: str, size: int, name: str, scale: Any = 1.0, **kwargs: Any
) -> Any:
    """Return a variable of the PyMC model in hand with a prior's distribution, one number where all are the same."""
    import pymc as pm

    parameters = prior.check(role, size)
    plain = {
        key: value[0] if size and (value == value[0]).all() else value for key, value in parameters.items()
    }
    plain = prior.at_learned_scale(plain, scale)
    return getattr(pm, str(prior.distribution))(name, **plain, **kwargs)


def unit_of(
    likelihood: Likelihood, values: Mapping[str, Any], data: Observations, share: Any, weight: Any
) -> Any:
    """Return one over the root of what the rows together say of a constant line, (17)."""
    import pytensor.tensor as pt

    information = weight * likelihood.information(values, data, share) + pt.zeros_like(data.y)
    return 1.0 / pt.sqrt(information.sum())


def prior_scale(problem: Problem) -> Any:
    """Return the scale of the coefficients' prior, a variable where it is learned, else one."""
    learned = problem.coef_prior.scale_prior
    return 1.0 if learned is None else positive_variable(learned, "scale_prior", "prior_scale")
