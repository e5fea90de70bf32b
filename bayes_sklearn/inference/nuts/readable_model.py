"""The model in PyMC, twice: as a person would write it, and on the compressed rows for the sampler.

Both take the priors from one place, and a test holds them equal. Nothing here is for a single prior: a prior says
what its PyMC distribution is, or, as a mixture, how its scales are distributed. Equations (n) are those of
``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Likelihood, Observations
from ...priors.base import CoefficientPrior, Prior, ScaleMixture, ScalePrior
from ...priors.coefficients import PoweredCorrelation
from ...priors.scales import NEGLIGIBLE_SCATTER, ScatterPrior
from .._compat import quietly
from ..problem import Problem
from .prior_coordinates import follows_prior, gaussian_given_scale
from .pymc_priors import (
    NoiseVariables,
    PlacedCoefficients,
    following_prior,
    learned_scale,
    noise_variables,
    of_role,
    over_geometries,
    prior_density,
    priors_of,
    pymc_name,
)

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]

# Where a clipped argument of the arc cosine stops: its derivative is infinite at 1.
_INSIDE = 1.0 - 1e-9


def structure(problem: Problem) -> tuple[object, ...]:
    """Return what two problems must share for one compiled model to serve both."""
    kinds = tuple((role, type(prior)) for role, prior in priors_of(problem).items())
    errors = problem.feature_errors
    of_features = None if errors is None else (len(errors.noisy), problem.n_components)
    likelihood = type(problem.likelihood), tuple(problem.likelihood.constants)
    latent = None if errors is None or problem.likelihood.is_normal else problem.total_weight
    powers = np.size(problem.coef_prior.power) if isinstance(problem.coef_prior, PoweredCorrelation) else 0
    return problem.noise, problem.rows.n_features, of_features, likelihood, latent, kinds, powers


@dataclass(frozen=True)
class Layout:
    """Where the numbers that are sampled stand in the one vector of them."""

    sampled: int
    """Entries of B that are sampled, the first of the vector: all, or the intercept alone under a mixture."""
    noise: int
    """Coordinates of the noise that follow: the log of its scale; "auto": of its size, and the scatter's part."""
    learned: bool
    """Whether the log of the prior's scale follows."""
    mixture: int
    """Coordinates of the mixture's scales, the last."""
    follows: bool
    """Whether the coordinates of B follow the noise scale."""
    placed: bool
    """Whether they follow the prior's scale and its geometry, too, (18a)."""

    @classmethod
    def of(cls, problem: Problem) -> Layout:
        prior, p = problem.coef_prior, problem.rows.n_features
        mixed = isinstance(prior, ScaleMixture)
        coordinates = prior.n_coordinates(p) if isinstance(prior, ScaleMixture) else 0
        placed = follows_prior(problem)
        return cls(
            problem.fit_intercept + (0 if mixed else p),
            problem.noise.has_scale + problem.noise.combined,
            prior.scale_prior is not None,
            coordinates,
            problem.noise.only_multiplies and not mixed and not placed,
            placed,
        )

    @property
    def size(self) -> int:
        return self.sampled + self.noise + self.learned + self.mixture


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model on the compressed rows, (15): all that varies from data to data is a `pm.Data`.

    Parameters
    ----------
    problem : Problem
        Its structure alone is taken from it.
    data : mapping of str to ndarray or float
        As `coordinates.compressed_data` makes them.

    Returns
    -------
    pymc.Model
        One free variable ``u`` in coordinates of about unit scale; ``B`` (entries that are sampled), ``s`` and a
        mixture's scales follow from it.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        layout, p = Layout.of(problem), problem.rows.n_features
        with pm.Model() as model:
            given = unpacked(data)
            priors = priors_of(problem)
            parameters = {role: of_role(given, role) for role in priors}
            u = pm.Flat("u", shape=layout.size)
            at = layout.sampled + layout.noise
            noise = noise_variables(problem, given, u[layout.sampled : at])
            terms = list(noise.terms)
            rows, variance, log_determinant = _rows(problem, given, noise)
            terms.append(log_determinant)
            if layout.placed:
                prior_scale, more = learned_scale(problem, given, u[at : at + layout.learned])
                placed = _following_prior(problem, given, u[: layout.sampled], noise, prior_scale)
                misfit = rows[:, -1] - pt.dot(placed.B, rows[:, :-1].T)
                of_geometry = placed.log_prior - 0.5 * pt.square(misfit).sum(axis=1) / variance
                terms += [*more, over_geometries(of_geometry)]
                pm.Potential("log_posterior", sum(terms))
                return model
            # The rows times this are what the entries of B that are sampled leave of the target.
            left = [np.zeros(p if layout.mixture else 0), np.ones(1)]
            if layout.sampled:
                own = u[: layout.sampled]
                if layout.follows:
                    change = pt.expm1(-2.0 * given["log_scale"][1] * u[layout.sampled])
                    precision = 1.0 + given["share"] * change
                    own = given["pull"] * change / precision + own / pt.sqrt(precision)
                    terms.append(-0.5 * pt.log(precision).sum())
                B = pm.Deterministic("B", given["start"] + pt.dot(given["spread"], own))
                left.insert(0, -own)
                if problem.fit_intercept:
                    terms.append(
                        prior_density(priors["intercept_prior"], parameters["intercept_prior"], B[:1])
                    )
                if not layout.mixture:
                    coef = B[problem.fit_intercept :]
                    terms.append(prior_density(problem.coef_prior, parameters["coef_prior"], coef))
            target = pt.dot(rows, pt.concatenate(left))
            if layout.mixture:
                unit = _unit(problem, given, noise.scale, noise.scatter)
                coordinates = u[at:]
                mixture = problem.coef_prior.scales(coordinates, parameters["coef_prior"], unit)
                for name, value in mixture.named.items():
                    pm.Deterministic(name, value)
                pm.Deterministic("sd", mixture.sd)
                scaled = rows[:, layout.sampled : -1] * mixture.sd
                terms += [mixture.log_density, _integrated(target, scaled, variance)]
            else:
                terms.append(-0.5 * pt.dot(target, target) / variance)
            pm.Potential("log_posterior", sum(terms))
    return model


def packed(data: Mapping[str, Array | float]) -> dict[str, Array]:
    """Return the values of the two `pm.Data`: one vector of all whose size the structure settles, and the rows.

    Every array of its own would cost half a second of compiling.
    """
    numbers = [np.ravel(value) for name, value in data.items() if name != "factor"]
    return {"numbers": np.concatenate(numbers).astype(np.float64), "rows": np.asarray(data["factor"])}


def unpacked(data: Mapping[str, Array | float]) -> dict[str, Any]:
    """Return the data by name as parts of the two `pm.Data`."""
    import pymc as pm

    values = packed(data)
    numbers = pm.Data("numbers", values["numbers"], shape=values["numbers"].shape)
    given = {"factor": pm.Data("rows", values["rows"], shape=(None, *values["rows"].shape[1:]))}
    start = 0
    for name, value in data.items():
        if name == "factor":
            continue
        size, shape = np.size(value), np.shape(value)
        part = numbers[start : start + size] if shape else numbers[start]
        given[name] = part.reshape(shape) if len(shape) > 1 else part
        start += size
    return given


def _following_prior(
    problem: Problem, given: Mapping[str, Any], u: Any, noise: NoiseVariables, scale: Any
) -> PlacedCoefficients:
    """Return B on the compressed rows."""
    more: Any = 1.0
    if problem.noise.has_scale:
        floor = given["resolution"] if problem.noise.only_multiplies else given["floor"]
        squared = noise.scale**2 + floor**2
        if problem.noise.combined:
            squared = (noise.scale * floor) ** 2 + noise.scatter**2
        more = given["variance"] / squared
    return following_prior(problem, given, u, more, scale)


def _rows(problem: Problem, given: Mapping[str, Any], noise: NoiseVariables) -> tuple[Any, Any, Any]:
    """Return the rows, the variance of their noise, and what the noise's determinant gives."""
    import pytensor.tensor as pt

    scale = noise.scale
    if not problem.noise.has_scale:
        return given["factor"], 1.0, 0.0
    if problem.noise.only_multiplies:
        # The resolution of the data is noise, too: where they are fitted without error, it is all there is.
        variance = scale**2 + given["resolution"] ** 2
        return given["factor"], variance, -0.5 * given["total_weight"] * pt.log(variance)
    smallest, middle, half = given["interval"][0], given["interval"][1], given["interval"][2]
    square = scale**2 if problem.noise.only_scatters else (noise.scatter / scale) ** 2
    v = 0.5 * pt.log(square + smallest**2)
    if problem.noise.combined:
        v = v - 0.5 * pt.log1p(square / given["largest"] ** 2)
    angle = pt.arccos(pt.clip((v - middle) / half, -_INSIDE, _INSIDE))
    basis = pt.cos(pt.arange(given["factor"].shape[0]) * angle)
    values = pt.dot(basis, given["factor"])
    width = problem.rows.n_features + 1 + problem.fit_intercept
    rows = values[:-1].reshape((width, width))
    if problem.noise.only_scatters:
        return rows, 1.0, -values[-1]
    # The rows are in units of the noise of the most precise one.
    variance = (scale**2 + given["resolution"] ** 2) * smallest**2 + noise.scatter**2
    return rows, variance, -0.5 * given["total_weight"] * pt.log(variance) - values[-1]


def _integrated(target: Any, design: Any, variance: Any) -> Any:
    """Return log Normal(target; 0, M), M = variance + design design', less that of the noise alone, (18)."""
    import pytensor.tensor as pt

    # The derivatives of a determinant and an inverse are an inverse and products; a factorisation's are many solves.
    size = target.shape[0]
    covariance = variance * pt.eye(size) + pt.dot(design, design.T)
    square = pt.dot(target, pt.dot(pt.linalg.inv(covariance), target))
    return -0.5 * (square + pt.linalg.slogdet(covariance)[1] - size * pt.log(variance))


def _unit(problem: Problem, given: Mapping[str, Any], scale: Any, scatter: Any = None) -> Any:
    """Return the noise of a typical row by the square root of the number of rows."""
    import pytensor.tensor as pt

    if not problem.noise.has_scale:
        return given["unit"]
    if problem.noise.only_multiplies:
        return scale * given["unit"]
    multiple, scatter = (scale, scatter) if problem.noise.combined else (1.0, scale)
    return pt.sqrt((multiple * given["unit"]) ** 2 + scatter**2 / given["total_weight"])


def readable_model(problem: Problem, feature_names: Sequence[str], obs: Sequence[Any]) -> pm.Model:
    """Return the model as a person would write it, (1), on the data's own scale.

    Parameters
    ----------
    problem : Problem
    feature_names : sequence of str
        Coordinates of ``feature``.
    obs : sequence
        Coordinates of ``obs``: labels of all rows; those of frequency zero are left out of the model.

    Returns
    -------
    pymc.Model
        With ``coef``, ``intercept``, ``sigma`` and ``y``. Where the priors are on standardised features and target,
        ``coef`` and the others follow from ``coef_standardized`` and the like.
    """
    rows, scaling = problem.rows, problem.scaling
    frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
    used = np.flatnonzero(frequency)
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        coords = {"feature": list(feature_names), "obs": [obs[int(i)] for i in used]}
        with pm.Model(coords=coords) as model:
            X = pm.Data("X", np.asarray(rows.take(used), dtype=np.float64), dims=("obs", "feature"))
            data = observed_data(problem, used)
            suffix = "" if scaling.is_identity else "_standardized"
            values, seen = likelihood_variables(problem, suffix)
            coef = coefficients(problem, suffix, values, data)
            if suffix:
                coef = pm.Deterministic("coef", coef * (scaling.y_scale / scaling.x_scale), dims="feature")
            line = pt.dot(X - scaling.x_mean, coef) + intercept_at_mean(problem, suffix, coef)
            distribution, parameters = observed_distribution(problem, line, seen, data)
            y = problem.likelihood.outcome(plain_data(problem, used))
            distribution("y", **parameters, observed=y, dims="obs")
            if (frequency[used] != 1.0).any():
                weight = pm.Data("frequency", frequency[used], dims="obs")
                repeats = (weight - 1.0) * pm.logp(distribution.dist(**parameters), y)
                pm.Potential("repeats", repeats.sum())
    return model


def plain_data(problem: Problem, used: NDArray[np.intp]) -> Observations:
    """Return what the likelihood sees of some rows, in the data's units."""

    def of_rows(values: Array | float | None) -> Array | float:
        if values is None:
            return 1.0
        return np.broadcast_to(np.asarray(values, dtype=np.float64), problem.rows.y.shape)[used].copy()

    error = of_rows(problem.standard_error)
    return Observations(problem.rows.y[used], error, problem.noise, of_rows(problem.trials))


def observed_data(problem: Problem, used: NDArray[np.intp]) -> Observations:
    """Return what the likelihood sees of some rows, as data of the PyMC model in hand."""
    import pymc as pm

    data = plain_data(problem, used)
    if problem.standard_error is not None:
        data = replace(data, standard_error=pm.Data("y_err", data.standard_error, dims="obs"))
    if problem.likelihood.counted:
        kind = np.int64 if problem.likelihood.per == "trials" else np.float64
        trials = np.broadcast_to(data.trials, data.y.shape).astype(kind)
        data = replace(data, trials=pm.Data(problem.likelihood.per, trials, dims="obs"))
    return data


def observed_distribution(
    problem: Problem, line: Any, values: Mapping[str, Any], data: Observations
) -> tuple[Any, dict[str, Any]]:
    """Return PyMC's distribution of the target, and its parameters."""
    import pymc as pm

    name, parameters = problem.likelihood.distribution(line, values, data)
    return getattr(pm, name), parameters


def likelihood_variables(problem: Problem, suffix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the likelihood's parameters by name, and them with what is in the data's unit for the target's model."""
    import pymc as pm

    values: dict[str, Any] = dict(problem.likelihood.constants)
    in_data: dict[str, Any] = {}
    scales: list[tuple[str, str, ScalePrior, float]] = []
    if problem.has_noise_scale:
        scales.append(("noise_scale", "sigma", problem.noise_prior, problem.noise_unit))
    if problem.noise.combined:
        scales.append(("scatter", "scatter", problem.scatter_prior, problem.scaling.y_scale))
    for role, name, prior, unit in scales:
        own = suffix if unit != 1.0 else ""
        values[role] = _positive_variable(prior, f"{name}_prior", f"{name}{own}")
        in_data[role] = pm.Deterministic(name, values[role] * unit) if own else values[role]
    for other in problem.auxiliary:
        if other.name in ("noise_scale", "scatter"):
            continue
        lower = other.coordinate.lower
        above = _positive_variable(
            other.prior, f"{other.name}_prior", f"{other.name}{'_above' if lower else ''}"
        )
        values[other.name] = pm.Deterministic(other.name, above + lower) if lower else above
    return values, {**values, **in_data}


def _positive_variable(prior: Prior, role: str, name: str) -> Any:
    import pymc as pm

    parameters = {key: np.asarray(value).item() for key, value in prior.check(role, 1).items()}
    if isinstance(prior, ScatterPrior):
        wide, narrow = (
            pm.HalfCauchy.dist(beta=size * parameters["beta"]) for size in (1.0, NEGLIGIBLE_SCATTER)
        )
        return pm.Mixture(name, w=[0.5, 0.5], comp_dists=[wide, narrow])
    return getattr(pm, str(pymc_name(prior, role)))(name, **parameters)


def prior_scale(problem: Problem) -> Any:
    """Return the scale of the coefficients' prior, a variable where it is learned, else one."""
    learned = problem.coef_prior.scale_prior
    return 1.0 if learned is None else _positive_variable(learned, "scale_prior", "prior_scale")


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


def coefficients(problem: Problem, suffix: str, values: Mapping[str, Any], data: Observations) -> Any:
    """Return the coefficients in the model's units."""
    prior, p = problem.coef_prior, problem.rows.n_features
    name = f"coef{suffix}"
    if isinstance(prior, PoweredCorrelation):
        found = problem.conditional_prior
        if found is None:
            found = gaussian_given_scale(problem)
        return of_geometries(name, found.roots, prior_scale(problem), "feature")
    if not isinstance(prior, ScaleMixture):
        return _variable(prior, "coef_prior", p, name, scale=prior_scale(problem), dims="feature")
    if problem.likelihood.is_normal:  # as the compressed rows have it, which know no single row
        given = {"unit": typical_unit(problem), "total_weight": problem.total_weight}
        unit = _unit(problem, given, values.get("noise_scale"), values.get("scatter"))
    else:
        frequency = problem.rows.frequency
        weight = 1.0 if frequency is None else frequency[frequency > 0.0]
        in_model = replace(data, standard_error=data.standard_error / problem.error_unit)
        unit = unit_of(problem.likelihood, values, in_model, pooled_share(problem), weight)
    return prior.variables(name, prior.check("coef_prior", p), unit, "feature")


def pooled_share(problem: Problem) -> float:
    """Return the mean of all rows together, half a count away from the ends that it has."""
    if problem.prior_units is not None:
        return problem.prior_units.pooled_share
    weight = np.broadcast_to(1.0 if problem.trials is None else problem.trials, problem.rows.y.shape)
    if problem.rows.frequency is not None:
        weight = weight * problem.rows.frequency
    return problem.likelihood.link.pooled(float(weight @ problem.rows.y), float(weight.sum()))


def unit_of(
    likelihood: Likelihood, values: Mapping[str, Any], data: Observations, share: Any, weight: Any
) -> Any:
    """Return one over the root of what the rows together say of a constant line, (17)."""
    import pytensor.tensor as pt

    information = weight * likelihood.information(values, data, share) + pt.zeros_like(data.y)
    return 1.0 / pt.sqrt(information.sum())


def intercept_at_mean(problem: Problem, suffix: str, coef: Any) -> Any:
    """Return the line at the features' mean, on the data's scale."""
    import pymc as pm
    import pytensor.tensor as pt

    prior, scaling = problem.intercept_prior, problem.scaling
    if prior is None:
        return 0.0
    at_mean = _variable(prior, "intercept_prior", 1, f"intercept{suffix}")
    if suffix:
        at_mean = scaling.y_mean + scaling.y_scale * at_mean
        pm.Deterministic("intercept", at_mean - pt.dot(scaling.x_mean, coef))
    return at_mean


def _variable(
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


def typical_unit(problem: Problem) -> float:
    """Return the known error of a typical row (1 where none is) by the square root of the number of rows."""
    return 1.0 / abs(float(problem.factor[0][0, 0]))
