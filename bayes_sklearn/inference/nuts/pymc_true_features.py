"""The model of features measured with error in PyMC, as a person would write it, true features and all.

`pymc_features` has it for the sampler; `structural` states the model and its notation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...priors.coefficients import PoweredCorrelation
from .._compat import quietly
from ..conditional_prior import powered_roots
from ..importance.engine import signal_scale, units_of
from ..problem import Problem
from ..structural.mixture import COMPONENT_SCALE, SHARE_CONCENTRATION
from ..structural.model import LKJ_SHAPE, MEAN_SCALE, SPREAD_DEGREES_OF_FREEDOM, SPREAD_SCALE
from .prior_coordinates import gaussian_given_scale
from .pymc_features import check_definite, repeated
from .readable_model import (
    coefficients,
    intercept_at_mean,
    likelihood_variables,
    observed_data,
    observed_distribution,
    of_geometries,
    plain_data,
    prior_scale,
)

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


def readable_model(problem: Problem, feature_names: Sequence[str], obs: Sequence[Any]) -> pm.Model:
    """Return the model as a person would write it, true features and all, on the data's own scale.

    Parameters
    ----------
    problem : Problem
        With errors of features.
    feature_names : sequence of str
        Coordinates of ``feature``.
    obs : sequence
        Coordinates of ``obs``: labels of all rows. Those of frequency zero are left out of the model, those of
        another are repeated: each copy has true features of its own.

    Returns
    -------
    pymc.Model
        Beside ``coef``, ``intercept``, ``sigma`` and ``y``: ``x_true``, distributed by ``mu``, ``Gamma`` (slopes on
        the exact features about their mean, in units of their spread) and ``x_scale`` or, for several, ``x_root``; of
        a mixture also ``shares`` and ``mu_apart``, what its means differ from ``mu``, in units of the noisy features'
        spread, and one ``x_root_c`` a component; the measured ``X``, of the noisy features alone.

    Raises
    ------
    ValueError
        Where a frequency is not whole, or an error in some rows is zero.
    """
    errors, rows, scaling = problem.feature_errors, problem.rows, problem.scaling
    if errors is None:
        raise ValueError("No feature has an error.")
    used = repeated(rows.frequency, len(rows.y), "to_pymc, and to_arviz for prior=True, need")
    noisy = errors.noisy
    exact = np.setdiff1d(np.arange(rows.n_features), noisy)
    measured = np.asarray(rows.take(used), dtype=np.float64)
    covariance, with_target = errors.covariance, errors.with_target
    covariance = covariance[used] if covariance.ndim == 3 else covariance
    units = units_of(problem)
    spread = units.noisy * scaling.x_scale[noisy]
    given = problem.prior_units
    center = measured[:, noisy].mean(axis=0) if given is None else given.mean[noisy]
    check_definite(covariance, spread)
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        names = list(feature_names)
        coords = {
            "feature": names,
            "noisy": [names[j] for j in noisy],
            "exact": [names[j] for j in exact],
            "obs": [obs[int(i)] for i in used],
        }
        if problem.n_components > 1:
            coords["component"] = list(range(problem.n_components))
        with pm.Model(coords=coords) as model:
            data = observed_data(problem, used)
            suffix = "" if scaling.is_identity else "_standardized"
            values, seen = likelihood_variables(problem, suffix)
            expected, Gamma = pm.Normal("mu", center, MEAN_SCALE * spread, dims="noisy"), None
            if len(exact):
                Z = pm.Data("X_exact", measured[:, exact], dims=("obs", "exact"))
                Gamma = pm.Normal("Gamma", 0.0, MEAN_SCALE * spread[:, None], dims=("noisy", "exact"))
                own = (measured[:, exact] - measured[:, exact].mean(axis=0)) / (
                    units.exact * scaling.x_scale[exact]
                )
                expected = expected + pt.dot(own, Gamma.T)
            x_true, T = _true_features(expected, spread, len(used), problem.n_components)
            if isinstance(problem.coef_prior, PoweredCorrelation):
                coef = _on_signal(problem, suffix, units.exact, T, Gamma)
            else:
                coef = coefficients(problem, suffix, values, data)
            if suffix:
                coef = pm.Deterministic("coef", coef * scaling.y_scale / scaling.x_scale, dims="feature")
            line = intercept_at_mean(problem, suffix, coef)
            if len(exact):
                line = line + pt.dot(Z - scaling.x_mean[exact], coef[exact])
            line = line + pt.dot(x_true - scaling.x_mean[noisy], coef[noisy])
            X = measured[:, noisy]
            if (covariance == covariance * np.eye(len(noisy))).all():
                sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
                pm.Normal("X", x_true, sd, observed=X, dims=("obs", "noisy"))
            else:
                pm.MvNormal("X", x_true, covariance, observed=X, dims=("obs", "noisy"))

            if with_target is None:
                distribution, parameters = observed_distribution(problem, line, seen, data)
            else:
                # What the features' errors say of the target's: E[eps | u] = c' U^-1 u.
                c = with_target[used] if with_target.ndim == 2 else with_target
                told = np.linalg.solve(covariance, np.broadcast_to(c, X.shape)[:, :, None])[:, :, 0]
                multiple, scatter = problem.noise.parts(seen.get("noise_scale"), seen.get("scatter"))
                line = line + multiple * ((X - x_true) * told).sum(axis=1)
                known = data.standard_error**2 - (told * c).sum(axis=1)
                variance = multiple**2 * known + scatter**2
                distribution, parameters = pm.Normal, {"mu": line, "sigma": pt.sqrt(variance)}
            y = problem.likelihood.outcome(plain_data(problem, used))
            distribution("y", **parameters, observed=y, dims="obs")
    return model


def _true_features(expected: Any, spread: Array, n: int, n_components: int) -> tuple[Any, Any]:
    """Return the variable ``x_true`` of the PyMC model in hand, and its covariance at fixed exact features, (q, q).

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
            return pm.Normal("x_true", expected, scale, dims=dims), scale[:, None] ** 2
        root, _, _ = pm.LKJCholeskyCov("x_root", n=q, eta=LKJ_SHAPE, sd_dist=scales)
        root = spread[:, None] * root
        return pm.MvNormal("x_true", expected, chol=root, dims=dims), pt.dot(root, root.T)
    shares = pm.Dirichlet("shares", np.full(n_components, SHARE_CONCENTRATION), dims="component")
    # About their mean, which is ``mu``.
    apart = pm.ZeroSumNormal("mu_apart", COMPONENT_SCALE, dims=("noisy", "component"))
    means = [expected + spread * apart[:, c] for c in range(n_components)]
    away = spread[:, None] * (apart - pt.dot(apart, shares)[:, None])
    between = pt.dot(away * shares, away.T)
    if q == 1:
        scale = pm.HalfStudentT("x_scale", nu, SPREAD_SCALE * spread, dims="component")
        x_true = pm.NormalMixture("x_true", shares, pt.stack(means, axis=-1), scale, dims=dims)
        return x_true, between + pt.dot(shares, scale**2)
    roots = [
        pm.LKJCholeskyCov(f"x_root_{c}", n=q, eta=LKJ_SHAPE, sd_dist=scales)[0] for c in range(n_components)
    ]
    roots = [spread[:, None] * root for root in roots]
    normals = [pm.MvNormal.dist(mean, chol=root) for mean, root in zip(means, roots, strict=True)]
    within = sum(shares[c] * pt.dot(root, root.T) for c, root in enumerate(roots))
    return pm.Mixture("x_true", shares, normals, dims=dims), between + within


def _on_signal(problem: Problem, suffix: str, unit: Array, T: Any, Gamma: Any) -> Any:
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
    size, q = signal_scale(problem.coef_prior), len(noisy)
    if problem.coef_prior.scale_prior is None:
        signal = pm.Normal("signal", 0.0, size, dims="noisy")
    elif q == 1:
        signal = pm.Cauchy("signal", 0.0, size, dims="noisy")
    else:
        signal = pm.MvStudentT("signal", nu=1.0, mu=np.zeros(q), scale=size**2 * np.eye(q), dims="noisy")
    root = pt.sqrt(T) if q == 1 else pt.linalg.cholesky(T)
    m = pt.linalg.solve_triangular(root.T, signal, lower=False) * scaling.x_scale[noisy]
    coef = m
    if len(exact):
        powers = np.ones(1) if prior.powers is None else prior.powers[: None if len(exact) > 1 else 1]
        roots = [
            prior.sigma[exact, None] * own for own in powered_roots(problem.prior_design[:, exact], powers)
        ]
        slope = of_geometries("slope", roots, prior_scale(problem), "exact")
        coef = pt.concatenate([m, slope - pt.dot(m / scaling.x_scale[noisy], Gamma) / unit])
    coef = coef[np.argsort(np.append(noisy, exact))]
    return pm.Deterministic(f"coef{suffix}", coef, dims="feature")
