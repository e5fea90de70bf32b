"""The model in PyMC as a person would write it, on the data's own scale: with errors of features, true ones and all.

Nothing here is for a single prior: a prior says what its PyMC distribution is, or, as a mixture, how its scales are
distributed. `structural.model` states the model of true features. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.limited import log_between_sides
from ...likelihoods.over_line.graph import log_selected_graph
from ...measurements.feature_errors import FeatureErrors, check_definite
from ...measurements.limits import Sides
from ...measurements.weights import repeated
from ...priors.base import ScaleMixture, ScalePrior
from ...priors.coefficients import PoweredCorrelation
from .._compat import quietly
from ..given_scale import powered_roots
from ..importance.engine import signal_prior, units_of
from ..problem import Problem
from ..structural.mixture import COMPONENT_SCALE, SHARE_CONCENTRATION
from ..structural.model import MEAN_SCALE
from ..structural.true_covariance import LKJ_SHAPE, SPREAD_DEGREES_OF_FREEDOM, SPREAD_SCALE
from ..structural.wild import Configurations, not_plainly_wild
from .prior_coordinates import gaussian_given_scale
from .pymc_priors import coefficient_variable, of_geometries, positive_variable

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


def readable_model(problem: Problem, feature_names: Sequence[str], obs: Sequence[Any]) -> pm.Model:
    """Return the model as a person would write it, (1) or (20), on the data's own scale.

    Parameters
    ----------
    problem : Problem
    feature_names : sequence of str
        Coordinates of ``feature``.
    obs : sequence
        Coordinates of ``obs``: labels of all rows; those of frequency zero are left out of the model. With errors of
        features those of another are repeated: each copy has true features of its own.

    Returns
    -------
    pymc.Model
        With ``coef``, ``intercept``, ``sigma`` and ``y``. Where the priors are on standardised features and target,
        ``coef`` and the others follow from ``coef_standardized`` and the like. With errors of features also what
        `_true_features` says.

    Raises
    ------
    ValueError
        With errors of features, where a frequency is not whole, or an error in some rows is zero.
    """
    errors, rows, scaling = problem.feature_errors, problem.rows, problem.scaling
    frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
    used, names = np.flatnonzero(frequency), list(feature_names)
    coords: dict[str, list[Any]] = {"feature": names}
    if errors is not None:
        used = repeated(rows.frequency, len(rows.y), "to_pymc, and to_arviz for prior=True, need")
        exact = np.setdiff1d(np.arange(rows.n_features), errors.noisy)
        coords |= {"noisy": [names[j] for j in errors.noisy], "exact": [names[j] for j in exact]}
        coords |= {"component": list(range(problem.n_components))} if problem.n_components > 1 else {}
    coords["obs"] = [obs[int(i)] for i in used]
    measured = np.asarray(rows.take(used), dtype=np.float64)
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        with pm.Model(coords=coords) as model:
            data = observed_data(problem, used)
            suffix = "" if scaling.is_identity else "_standardized"
            values, seen = likelihood_variables(problem, suffix)
            true = None if errors is None else _true_features(problem, errors, measured, used, values)
            if true is not None and isinstance(problem.coef_prior, PoweredCorrelation):
                coef = _on_signal(problem, suffix, true)
            else:
                coef = coefficients(problem, suffix, values, data)
            if suffix:
                coef = pm.Deterministic("coef", coef * (scaling.y_scale / scaling.x_scale), dims="feature")
            X = pm.Data("X", measured, dims=("obs", "feature")) if true is None else true.X
            line = pt.dot(X - scaling.x_mean, coef) + intercept_at_mean(problem, suffix, coef)
            if true is None or true.told is None:
                name, parameters = problem.likelihood.distribution(line, seen, data)
                distribution = getattr(pm, name)
            else:
                parameters = _sharing_errors(problem, line, seen, data, true)
                distribution = pm.NormalMixture if problem.outliers else pm.Normal
            y = problem.likelihood.outcome(plain_data(problem, used))
            distribution("y", **parameters, observed=y, dims="obs")
            if problem.limits is not None:  # in the place of the density of a limit
                censored = np.flatnonzero(problem.limits.censored[used])
                sides = Sides.of(problem.limits.take(used))
                between = log_between_sides(problem.likelihood.population, line, seen, data, sides)
                instead = between - pm.logp(distribution.dist(**parameters), y)
                pm.Potential("limits", (frequency[used] * instead)[censored].sum())
            if problem.truncation is not None:
                of_rows = _log_selected(problem, line, coef, true, seen, data)
                pm.Potential("selection", -(frequency[used] * of_rows).sum())
            if errors is None and (frequency[used] != 1.0).any():
                weight = pm.Data("frequency", frequency[used], dims="obs")
                repeats = (weight - 1.0) * pm.logp(distribution.dist(**parameters), y)
                pm.Potential("repeats", repeats.sum())
    return model


def _log_selected(
    problem: Problem,
    line: Any,
    coef: Any,
    true: TrueVariables | None,
    values: Mapping[str, Any],
    data: Observations,
) -> Any:
    """Return the log probability that rows were selected: with errors of features given the exact ones, (33e)."""
    import pytensor.tensor as pt

    likelihood, limits = problem.likelihood.population, problem.truncation or (-np.inf, np.inf)
    lower, upper = (limit if np.isfinite(limit) else None for limit in limits)
    if true is None:
        return likelihood.log_between_graph(line, values, data, lower, upper)
    m, x = coef[true.noisy], true.x
    of_lines = [
        (line + pt.dot(mean - x.x, m), pt.dot(m, pt.dot(T, m)) + pt.zeros_like(line))
        for mean, T in x.components
    ]
    log_shares = None if x.shares is None else pt.log(x.shares)
    return log_selected_graph(likelihood, of_lines, log_shares, values, data, (lower, upper))


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
        values[role] = positive_variable(prior, f"{name}_prior", f"{name}{own}")
        in_data[role] = pm.Deterministic(name, values[role] * unit) if own else values[role]
    for other in problem.auxiliary:
        if other.name in ("noise_scale", "scatter"):
            continue
        lower = other.coordinate.lower
        above = positive_variable(
            other.prior, f"{other.name}_prior", f"{other.name}{'_above' if lower else ''}"
        )
        values[other.name] = pm.Deterministic(other.name, above + lower) if lower else above
    return values, {**values, **in_data}


def prior_scale(problem: Problem) -> Any:
    """Return the scale of the coefficients' prior, a variable where it is learned, else one."""
    learned = problem.coef_prior.scale_prior
    return 1.0 if learned is None else positive_variable(learned, "scale_prior", "prior_scale")


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
        return coefficient_variable(prior, "coef_prior", p, name, scale=prior_scale(problem), dims="feature")
    if problem.likelihood.is_normal:  # as the compressed rows have it, which know no single row
        unit = (problem.noise.variance(values, problem.typical_error) / problem.total_weight) ** 0.5
    else:
        frequency = problem.rows.frequency
        weight = 1.0 if frequency is None else frequency[frequency > 0.0]
        in_model = replace(data, standard_error=data.standard_error / problem.error_unit)
        unit = unit_of(problem.likelihood, values, in_model, problem.pooled_mean, weight)
    return prior.variables(name, prior.check("coef_prior", p), unit, "feature")


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
    at_mean = coefficient_variable(prior, "intercept_prior", 1, f"intercept{suffix}")
    if suffix:
        at_mean = scaling.y_mean + scaling.y_scale * at_mean
        pm.Deterministic("intercept", at_mean - pt.dot(scaling.x_mean, coef))
    return at_mean


# --- errors of features --------------------------------------------------------------------------


class Distributed(NamedTuple):
    """True features at fixed exact ones."""

    x: Any
    """(obs, q)"""
    T: Any
    """(q, q) their covariance."""
    components: list[tuple[Any, Any]]
    """Mean, (obs, q), and covariance of each component."""
    shares: Any = None
    """(K,) of several."""


class TrueVariables(NamedTuple):
    """The true features of the PyMC model in hand."""

    X: Any
    """(obs, feature) true and exact features."""
    noisy: NDArray[np.intp]
    """(q,) positions of the true ones, ..."""
    x: Distributed
    """... and how they are distributed."""
    Gamma: Any
    """(q, k) slopes on the exact ones, or None."""
    exact_unit: Array
    """(k,) the spread of the exact ones, in the model's units."""
    error: Any
    """(obs, q) what was measured less what is true."""
    told: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None
    """What errors of features say of the target's: (obs, q) U^-1 c, (obs,) c'U^-1 c, U^-1; None: nothing."""


def _true_features(
    problem: Problem,
    errors: FeatureErrors,
    measured: Array,
    used: NDArray[np.intp],
    values: Mapping[str, Any],
) -> TrueVariables:
    """Return the variables of the PyMC model in hand that belong to features with errors.

    These are ``x_true``, distributed by ``mu``, ``Gamma`` (slopes on the exact features about their mean, in units of
    their spread) and ``x_scale`` or, for several, ``x_root``; of a mixture also ``shares`` and ``mu_apart``, what its
    means differ from ``mu``, in units of the noisy features' spread, and one ``x_root_c`` a component; the measured
    ``X``, of the noisy features alone.
    """
    import pymc as pm
    import pytensor.tensor as pt

    noisy, scaling, units, given = errors.noisy, problem.scaling, units_of(problem), problem.prior_units
    exact = np.setdiff1d(np.arange(problem.rows.n_features), noisy)
    covariance = errors.covariance[used] if errors.covariance.ndim == 3 else errors.covariance
    spread = units.noisy * scaling.x_scale[noisy]
    check_definite(covariance, spread)
    X = measured[:, noisy]
    plain = not_plainly_wild(X, None) if problem.outliers else None
    center = np.average(X, axis=0, weights=plain) if given is None else given.mean[noisy]
    expected, Gamma = pm.Normal("mu", center, MEAN_SCALE * spread, dims="noisy"), None
    if len(exact):
        Z = pm.Data("X_exact", measured[:, exact], dims=("obs", "exact"))
        Gamma = pm.Normal("Gamma", 0.0, MEAN_SCALE * spread[:, None], dims=("noisy", "exact"))
        away = measured[:, exact] - measured[:, exact].mean(axis=0)
        expected = expected + pt.dot(away / (units.exact * scaling.x_scale[exact]), Gamma.T)
    true = _distributed(expected, spread, len(used), problem.n_components)
    x_true = true.x
    diagonal = bool((covariance == covariance * np.eye(len(noisy))).all())
    sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    observed: dict[str, Any] = {"observed": X, "dims": ("obs", "noisy")}
    if problem.outliers:
        of_wild = values["outlier_share"], values["outlier_factor"]
        if diagonal:
            wild, sds = Configurations.of(*of_wild, 1, pt), sd[..., None] * pt.stack([1.0, of_wild[1]])
            pm.NormalMixture("X", pt.exp(wild.log_shares), x_true[..., None], sds, **observed)
        else:
            wild, root = Configurations.of(*of_wild, len(noisy), pt), np.linalg.cholesky(covariance)
            normals = [
                pm.MvNormal.dist(x_true, chol=wild.multiples[o][:, None] * root)
                for o in range(2 ** len(noisy))
            ]
            pm.Mixture("X", pt.exp(wild.log_shares), normals, **observed)
    elif diagonal:
        pm.Normal("X", x_true, sd, **observed)
    else:
        pm.MvNormal("X", x_true, covariance, **observed)
    told = None
    if errors.with_target is not None:
        c = errors.with_target[used] if errors.with_target.ndim == 2 else errors.with_target
        share = np.asarray(np.linalg.solve(covariance, np.broadcast_to(c, X.shape)[:, :, None]))[:, :, 0]
        told = np.asarray(share), np.asarray((share * c).sum(axis=1)), np.linalg.inv(covariance)
    every = x_true
    if len(exact):
        every = pt.concatenate([x_true, Z], axis=1)[:, np.argsort(np.append(noisy, exact))]
    return TrueVariables(every, noisy, true, Gamma, units.exact, X - x_true, told)


def _sharing_errors(
    problem: Problem, line: Any, values: Mapping[str, Any], data: Observations, true: TrueVariables
) -> dict[str, Any]:
    """Return what a normal target has where its errors go with the features': E[eps | u] = c' U^-1 u.

    Noise that is a mixture of normal distributions is one given its precision, by the root of which c is less, too.
    Where readings may be wild u and c are multiples of others, and the target is as their configurations are given u.
    """
    import pytensor.tensor as pt

    if true.told is None:
        raise ValueError("No error of a feature goes with the target's.")
    share, known, precision = true.told
    multiple, scatter = problem.noise.parts(values.get("noise_scale"), values.get("scatter"))
    narrower = problem.likelihood.precision(values, "obs") ** -0.5
    sigma = narrower * pt.sqrt(multiple**2 * (data.standard_error**2 - known) + scatter**2)
    if not problem.outliers:
        return {"mu": line + narrower * multiple * (true.error * share).sum(axis=1), "sigma": sigma}
    wild = Configurations.of(values["outlier_share"], values["outlier_factor"], share.shape[1], pt)
    stated = true.error[:, None] / wild.multiples  # (obs, configurations, q)
    square = (pt.matmul(stated, precision) * stated).sum(axis=-1)
    log_weights = wild.log_shares - pt.log(wild.multiples).sum(axis=-1) - 0.5 * square
    shift = (stated * share[:, None]).sum(axis=-1) * pt.atleast_1d(narrower * multiple)[:, None]
    return {
        "w": pt.special.softmax(log_weights, axis=-1),
        "mu": line[:, None] + shift,
        "sigma": pt.atleast_1d(sigma)[:, None],
    }


def _distributed(expected: Any, spread: Array, n: int, n_components: int) -> Distributed:
    """Return the variable ``x_true`` of the PyMC model in hand, and how it is distributed at fixed exact features.

    Scales are in units of the measured features'.
    """
    import pymc as pm
    import pytensor.tensor as pt

    q, nu, dims = len(spread), SPREAD_DEGREES_OF_FREEDOM, ("obs", "noisy")
    expected = pt.broadcast_to(expected, (n, q))
    scales = pm.HalfStudentT.dist(nu, SPREAD_SCALE)
    if n_components == 1:
        if q == 1:
            scale = pm.HalfStudentT("x_scale", nu, SPREAD_SCALE * spread, dims="noisy")
            T = scale[:, None] ** 2
            return Distributed(pm.Normal("x_true", expected, scale, dims=dims), T, [(expected, T)])
        root, _, _ = pm.LKJCholeskyCov("x_root", n=q, eta=LKJ_SHAPE, sd_dist=scales)
        root = spread[:, None] * root
        T = pt.dot(root, root.T)
        return Distributed(pm.MvNormal("x_true", expected, chol=root, dims=dims), T, [(expected, T)])
    shares = pm.Dirichlet("shares", np.full(n_components, SHARE_CONCENTRATION), dims="component")
    # About their mean, which is ``mu``.
    apart = pm.ZeroSumNormal("mu_apart", COMPONENT_SCALE, dims=("noisy", "component"))
    means = [expected + spread * apart[:, c] for c in range(n_components)]
    away = spread[:, None] * (apart - pt.dot(apart, shares)[:, None])
    between = pt.dot(away * shares, away.T)
    if q == 1:
        scale = pm.HalfStudentT("x_scale", nu, SPREAD_SCALE * spread, dims="component")
        x_true = pm.NormalMixture("x_true", shares, pt.stack(means, axis=-1), scale, dims=dims)
        of = [(mean, scale[c].reshape((1, 1)) ** 2) for c, mean in enumerate(means)]
        return Distributed(x_true, between + pt.dot(shares, scale**2), of, shares)
    roots = [
        pm.LKJCholeskyCov(f"x_root_{c}", n=q, eta=LKJ_SHAPE, sd_dist=scales)[0] for c in range(n_components)
    ]
    roots = [spread[:, None] * root for root in roots]
    normals = [pm.MvNormal.dist(mean, chol=root) for mean, root in zip(means, roots, strict=True)]
    of = [(mean, pt.dot(root, root.T)) for mean, root in zip(means, roots, strict=True)]
    within = sum(shares[c] * T for c, (_, T) in enumerate(of))
    return Distributed(pm.Mixture("x_true", shares, normals, dims=dims), between + within, of, shares)


def _on_signal(problem: Problem, suffix: str, true: TrueVariables) -> Any:
    """Return coefficients in the model's units whose prior is on what the features explain of the target, (20a).

    They follow from ``signal``, of the noisy features in units of their own spread, and ``slope``, what exact ones
    explain beside and through these.
    """
    import pymc as pm
    import pytensor.tensor as pt

    errors, scaling, prior = problem.feature_errors, problem.scaling, gaussian_given_scale(problem)
    if errors is None:
        raise ValueError("No feature has an error.")
    noisy, p = errors.noisy, problem.rows.n_features
    exact = np.setdiff1d(np.arange(p), noisy)
    (size, cauchy), q = signal_prior(problem.coef_prior), len(noisy)
    if not cauchy:
        signal = pm.Normal("signal", 0.0, size, dims="noisy")
    elif q == 1:
        signal = pm.Cauchy("signal", 0.0, size, dims="noisy")
    else:
        signal = pm.MvStudentT("signal", nu=1.0, mu=np.zeros(q), scale=size**2 * np.eye(q), dims="noisy")
    root = pt.sqrt(true.x.T) if q == 1 else pt.linalg.cholesky(true.x.T)
    m = pt.linalg.solve_triangular(root.T, signal, lower=False) * scaling.x_scale[noisy]
    coef = m
    if len(exact):
        powers = np.ones(1) if prior.powers is None else prior.powers[: None if len(exact) > 1 else 1]
        roots = [
            prior.sigma[exact, None] * own for own in powered_roots(problem.prior_design[:, exact], powers)
        ]
        slope = of_geometries("slope", roots, prior_scale(problem), "exact")
        coef = pt.concatenate([m, slope - pt.dot(m / scaling.x_scale[noisy], true.Gamma) / true.exact_unit])
    coef = coef[np.argsort(np.append(noisy, exact))]
    return pm.Deterministic(f"coef{suffix}", coef, dims="feature")
