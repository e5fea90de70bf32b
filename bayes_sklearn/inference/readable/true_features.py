"""True features behind measured ones in that model: how they are distributed, and what was measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Observations
from ...measurements.feature_errors import FeatureErrors
from ...measurements.limits import ReadingLimits
from ..given_scale import powered_roots
from ..importance.engine import units_of
from ..nuts.prior_coordinates import gaussian_given_scale
from ..nuts.pymc_priors import of_geometries, prior_scale
from ..problem import Problem
from ..structural.mixture import COMPONENT_SCALE, SHARE_CONCENTRATION
from ..structural.model import MEAN_SCALE
from ..structural.normal_equations import signal_prior
from ..structural.true_covariance import LKJ_SHAPE, SPREAD_DEGREES_OF_FREEDOM, SPREAD_SCALE
from ..structural.true_features import NOT_MEASURED
from ..structural.wild import Configurations, not_plainly_wild
from .groups import group_levels

Array = NDArray[np.float64]


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


def true_features(
    problem: Problem,
    errors: FeatureErrors,
    measured: Array,
    used: NDArray[np.intp],
    values: Mapping[str, Any],
) -> TrueVariables:
    """Return the variables of the PyMC model in hand that belong to features with errors.

    These are ``x_true``, distributed by ``mu``, ``Gamma`` (slopes on the exact features about their mean, in units of
    their spread) and ``x_scale`` or, for several, ``x_root``; of a mixture also ``shares`` and ``mu_apart``, what its
    means differ from ``mu``, in units of the noisy features' spread, and one ``x_root_c`` a component; with groups
    what these add, ``x_effect_g`` of standard deviations ``x_group_std_g``; the measured ``X``, of the noisy features
    alone; and ``x_error_factor``, of features whose errors are known up to one.
    """
    import pymc as pm
    import pytensor.tensor as pt

    noisy, scaling, units, given = errors.noisy, problem.scaling, units_of(problem), problem.prior_units
    exact = np.setdiff1d(np.arange(problem.rows.n_features), noisy)
    covariance = errors.covariance[used] if errors.covariance.ndim == 3 else errors.covariance
    spread, X, exactly = units.noisy * scaling.x_scale[noisy], measured[:, noisy], None
    diagonal, limits = np.eye(len(noisy), dtype=bool), None
    if errors.readings is not None:
        limits = errors.readings.take(used)
        if errors.with_target is not None or covariance[..., ~diagonal].any():
            raise ValueError(
                "to_pymc takes limits of readings (X_censored) beside independent errors alone: give X_err in the"
                " place of X_cov, and leave Xy_cov out."
            )
        covariance = np.broadcast_to(covariance, (len(used), len(noisy), len(noisy)))
    if errors.unmeasured is not None or limits is not None:
        exactly = (covariance == 0.0)[:, diagonal]
        covariance = np.where(np.isinf(covariance), NOT_MEASURED * np.square(spread), covariance)
        covariance[:, diagonal] += exactly  # any: it is not looked at
    _check_definite(covariance, spread)
    plain = not_plainly_wild(X, None) if problem.outliers else None
    center = np.average(X, axis=0, weights=plain) if given is None else given.mean[noisy]
    expected, Gamma = pm.Normal("mu", center, MEAN_SCALE * spread, dims="noisy"), None
    if len(exact):
        Z = pm.Data("X_exact", measured[:, exact], dims=("obs", "exact"))
        Gamma = pm.Normal("Gamma", 0.0, MEAN_SCALE * spread[:, None], dims=("noisy", "exact"))
        away = measured[:, exact] - measured[:, exact].mean(axis=0)
        expected = expected + pt.dot(away / (units.exact * scaling.x_scale[exact]), Gamma.T)
    expected = expected + group_levels(problem, used, spread)
    known = None if exactly is None or not exactly.any() else (exactly, X)
    true = _distributed(expected, spread, len(used), problem.n_components, known, limits)
    x_true, noisily = true.x, None
    if exactly is not None and not covariance[:, ~diagonal].any():
        noisily = ~exactly if errors.unmeasured is None else ~(exactly | errors.unmeasured[used])
    if limits is not None and noisily is not None:
        beyond, noisily = noisily & limits.cells, noisily & ~limits.cells
        _limits(problem, x_true, covariance[:, diagonal], limits, beyond, values)
    _readings(problem, x_true, X, covariance, noisily, values)
    told = None
    if errors.with_target is not None:
        c = errors.with_target[used] if errors.with_target.ndim == 2 else errors.with_target
        share = np.asarray(np.linalg.solve(covariance, np.broadcast_to(c, X.shape)[:, :, None]))[:, :, 0]
        told = np.asarray(share), np.asarray((share * c).sum(axis=1)), np.linalg.inv(covariance)
    every = x_true
    if len(exact):
        every = pt.concatenate([x_true, Z], axis=1)[:, np.argsort(np.append(noisy, exact))]
    return TrueVariables(every, noisy, true, Gamma, units.exact, X - x_true, told)


def sharing_errors(
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


def _error_factor(problem: Problem, values: Mapping[str, Any]) -> Any:
    """Return what the noisy features' stated errors are multiplied by, (q,), (79) and (80); None: they are known."""
    import pymc as pm
    import pytensor.tensor as pt

    if problem.feature_errors is None or problem.feature_errors_known:
        return None
    ones, freedom = pt.ones(len(problem.feature_errors.noisy)), problem.error_freedom
    if freedom is None:
        return pm.Deterministic("x_error_factor", ones * values["noise_scale"], dims="noisy")
    told = np.isfinite(freedom)
    variance = pm.InverseGamma("x_error_variance", 0.5 * freedom[told], 0.5 * freedom[told])
    found = pt.set_subtensor(ones[told], pt.sqrt(variance))
    return pm.Deterministic("x_error_factor", found, dims="noisy")


def _readings(
    problem: Problem,
    x_true: Any,
    X: Array,
    covariance: Array,
    noisily: NDArray[np.bool_] | None,
    values: Mapping[str, Any],
) -> None:
    """Say what was measured of the true features; `noisily` says of independent cells which were, None all."""
    import pymc as pm
    import pytensor.tensor as pt

    q, factor = X.shape[1], _error_factor(problem, values)
    diagonal = noisily is not None or bool((covariance == covariance * np.eye(q)).all())
    sd: Any = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    if factor is not None:
        sd, covariance = sd * factor, covariance * factor[:, None] * factor
    observed: dict[str, Any] = {"observed": X, "dims": ("obs", "noisy")}
    if noisily is not None:
        x_true, sd, observed = x_true[noisily], sd[noisily], {"observed": X[noisily]}
        if not noisily.any():
            return
    of_wild = (values["outlier_share"], values["outlier_factor"]) if problem.outliers else None
    if of_wild is not None and diagonal:
        wild, sds = Configurations.of(*of_wild, 1, pt), sd[..., None] * pt.stack([1.0, of_wild[1]])
        pm.NormalMixture("X", pt.exp(wild.log_shares), x_true[..., None], sds, **observed)
    elif of_wild is not None:
        wild, root = Configurations.of(*of_wild, q, pt), np.linalg.cholesky(covariance)
        normals = [pm.MvNormal.dist(x_true, chol=wild.multiples[o][:, None] * root) for o in range(2**q)]
        pm.Mixture("X", pt.exp(wild.log_shares), normals, **observed)
    elif diagonal:
        pm.Normal("X", x_true, sd, **observed)
    else:
        pm.MvNormal("X", x_true, covariance, **observed)


def _limits(
    problem: Problem,
    x_true: Any,
    variance: Array,
    limits: ReadingLimits,
    cells: NDArray[np.bool_],
    values: Mapping[str, Any],
) -> None:
    """Say of cells, (obs, q), that readings with errors of these variances lie beyond their limits, as (67) does."""
    import pymc as pm
    import pytensor.tensor as pt

    if not cells.any():
        return
    away = limits.side[cells] * (x_true[cells] - limits.limit[cells]) / np.sqrt(variance[cells])
    of_readings = pm.logcdf(pm.Normal.dist(), away)
    if problem.outliers:
        share, factor = values["outlier_share"], values["outlier_factor"]
        of_wild = pt.log(share) + pm.logcdf(pm.Normal.dist(), away / factor)
        of_readings = pt.logaddexp(pt.log1p(-share) + of_readings, of_wild)
    pm.Potential("limits_of_readings", of_readings.sum())


def _distributed(
    expected: Any,
    spread: Array,
    n: int,
    n_components: int,
    known: tuple[NDArray[np.bool_], Array] | None = None,
    limits: ReadingLimits | None = None,
) -> Distributed:
    """Return the variable ``x_true`` of the PyMC model in hand, and how it is distributed at fixed exact features.

    Scales are in units of the measured features'. `known` says which cells are so exactly, and what they are, or,
    of those in `limits`, that they lie beyond a limit.
    """
    import pymc as pm
    import pytensor.tensor as pt

    q, nu, dims = len(spread), SPREAD_DEGREES_OF_FREEDOM, ("obs", "noisy")

    def x_true(distribution: Any, *parameters: Any, **named: Any) -> Any:
        if known is None:
            return distribution("x_true", *parameters, dims=dims, **named)
        cells, X = known
        values = pt.as_tensor(X)
        if not cells.all():
            free = pm.Flat("x_free", shape=int(np.count_nonzero(~cells)))
            values = pt.set_subtensor(values[~cells], free)
        beyond = np.zeros_like(cells) if limits is None else cells & limits.cells
        if limits is not None and beyond.any():
            start = np.broadcast_to(spread, cells.shape)[beyond]
            away = pm.HalfFlat("x_beyond", shape=len(start), initval=start)
            values = pt.set_subtensor(values[beyond], limits.limit[beyond] + limits.side[beyond] * away)
        pm.Potential("x_true_density", pm.logp(distribution.dist(*parameters, **named), values).sum())
        return pm.Deterministic("x_true", values, dims=dims)

    expected = pt.broadcast_to(expected, (n, q))
    scales = pm.HalfStudentT.dist(nu, SPREAD_SCALE)
    if n_components == 1:
        if q == 1:
            scale = pm.HalfStudentT("x_scale", nu, SPREAD_SCALE * spread, dims="noisy")
            T = scale[:, None] ** 2
            return Distributed(x_true(pm.Normal, expected, scale), T, [(expected, T)])
        root, _, _ = pm.LKJCholeskyCov("x_root", n=q, eta=LKJ_SHAPE, sd_dist=scales)
        root = spread[:, None] * root
        T = pt.dot(root, root.T)
        return Distributed(x_true(pm.MvNormal, expected, chol=root), T, [(expected, T)])
    shares = pm.Dirichlet("shares", np.full(n_components, SHARE_CONCENTRATION), dims="component")
    # About their mean, which is ``mu``.
    apart = pm.ZeroSumNormal("mu_apart", COMPONENT_SCALE, dims=("noisy", "component"))
    means = [expected + spread * apart[:, c] for c in range(n_components)]
    away = spread[:, None] * (apart - pt.dot(apart, shares)[:, None])
    between = pt.dot(away * shares, away.T)
    if q == 1:
        scale = pm.HalfStudentT("x_scale", nu, SPREAD_SCALE * spread, dims="component")
        found = x_true(pm.NormalMixture, shares, pt.stack(means, axis=-1), scale)
        of = [(mean, scale[c].reshape((1, 1)) ** 2) for c, mean in enumerate(means)]
        return Distributed(found, between + pt.dot(shares, scale**2), of, shares)
    roots = [
        pm.LKJCholeskyCov(f"x_root_{c}", n=q, eta=LKJ_SHAPE, sd_dist=scales)[0] for c in range(n_components)
    ]
    roots = [spread[:, None] * root for root in roots]
    normals = [pm.MvNormal.dist(mean, chol=root) for mean, root in zip(means, roots, strict=True)]
    of = [(mean, pt.dot(root, root.T)) for mean, root in zip(means, roots, strict=True)]
    within = sum(shares[c] * T for c, (_, T) in enumerate(of))
    return Distributed(x_true(pm.Mixture, shares, normals), between + within, of, shares)


def on_signal(problem: Problem, suffix: str, true: TrueVariables) -> Any:
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


def _check_definite(covariance: Array, spread: Array) -> None:
    """Refuse errors that leave a feature, or a combination of them, exact in some rows."""
    least = np.linalg.eigvalsh(covariance / (spread[:, None] * spread))[..., 0]
    if least.min() <= 0.0:
        raise ValueError(
            "A feature with errors has none in some rows, or some combination of features has none: PyMC has no"
            " density for a measurement without error. Give these rows a small error in X_err or X_cov, or leave"
            " prior=True out."
        )
