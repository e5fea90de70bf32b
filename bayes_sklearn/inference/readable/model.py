"""The model in PyMC as a person would write it, on the data's own scale: with errors of features, true ones and all.

Nothing here is for a single prior: a prior says what its PyMC distribution is, or, as a mixture, how its scales are
distributed. `structural.model` states the model of true features. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Observations
from ...likelihoods.limited import ends_of, log_between_sides
from ...likelihoods.over_line.graph import log_selected_graph
from ...measurements.limits import Sides
from ...measurements.weights import repeated
from ...priors.base import ScaleMixture, ScalePrior
from ...priors.coefficients import PoweredCorrelation
from ...priors.scales import InUnit
from .._compat import quietly
from ..nuts.prior_coordinates import gaussian_given_scale
from ..nuts.pymc_priors import coefficient_variable, of_geometries, positive_variable, prior_scale, unit_of
from ..problem import Problem
from .correlated import normal_together
from .groups import group_coords, group_line
from .true_features import TrueVariables, on_signal, sharing_errors, true_features

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
        `true_features` says.

    Raises
    ------
    ValueError
        With errors of features, where a frequency is not whole, or an error in some rows is zero.
    """
    errors, rows, scaling = problem.feature_errors, problem.rows, problem.scaling
    frequency = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency
    used, names = np.flatnonzero(frequency), list(feature_names)
    coords: dict[str, list[Any]] = {"feature": names}
    together = problem.correlated is not None
    if errors is not None or together:
        used = repeated(rows.frequency, len(rows.y), "to_pymc, and to_arviz for prior=True, need")
    if errors is not None:
        exact = np.setdiff1d(np.arange(rows.n_features), errors.noisy)
        coords |= {"noisy": [names[j] for j in errors.noisy], "exact": [names[j] for j in exact]}
        coords |= {"component": list(range(problem.n_components))} if problem.n_components > 1 else {}
    coords |= group_coords(problem)
    coords["obs"] = [obs[int(i)] for i in used]
    coords |= {"obs_other": coords["obs"]} if together else {}
    measured = np.asarray(rows.take(used), dtype=np.float64)
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        with pm.Model(coords=coords) as model:
            data = observed_data(problem, used)
            suffix = "" if scaling.is_identity else "_standardized"
            values, seen = likelihood_variables(problem, suffix)
            true = None if errors is None else true_features(problem, errors, measured, used, values)
            if true is not None and isinstance(problem.coef_prior, PoweredCorrelation):
                coef = on_signal(problem, suffix, true)
            else:
                coef = coefficients(problem, suffix, values, data)
            if suffix:
                coef = pm.Deterministic("coef", coef * (scaling.y_scale / scaling.x_scale), dims="feature")
            X = pm.Data("X", measured, dims=("obs", "feature")) if true is None else true.X
            line = pt.dot(X - scaling.x_mean, coef) + intercept_at_mean(problem, suffix, coef)
            line = line + group_line(problem, names, X, used, suffix)
            if together:
                parameters, distribution = normal_together(problem, line, seen, used), pm.MvNormal
            elif true is None or true.told is None:
                name, parameters = problem.likelihood.distribution(line, seen, data)
                distribution = getattr(pm, name)
            else:
                parameters = sharing_errors(problem, line, seen, data, true)
                distribution = pm.NormalMixture if problem.outliers else pm.Normal
            y = problem.likelihood.outcome(plain_data(problem, used))
            distribution("y", **parameters, observed=y, dims="obs")
            if problem.limits is not None:  # in the place of the density of a limit
                limits_seen = problem.limits.take(used)
                censored, between = np.flatnonzero(limits_seen.censored), pt.zeros(len(used))
                if not limits_seen.say_nothing:
                    of, sides = problem.likelihood.population, Sides.of(limits_seen)
                    between = log_between_sides(of, line, seen, data, sides)
                instead = between - pm.logp(distribution.dist(**parameters), y)
                pm.Potential("limits", (frequency[used] * instead)[censored].sum())
            if problem.truncation is not None:
                of_rows = _log_selected(problem, line, coef, true, seen, data)
                pm.Potential("selection", -(frequency[used] * of_rows).sum())
            if errors is None and not together and (frequency[used] != 1.0).any():
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
        return likelihood.log_between_graph(line, values, data, *ends_of(likelihood, data, (lower, upper)))
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
        if isinstance(prior, InUnit):
            in_unit = positive_variable(prior.prior, f"{name}_prior", f"{name}_in_unit")
            values[role] = in_data[role] = pm.Deterministic(name, in_unit * prior.unit)
            continue
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
