"""The model of features measured with error in PyMC, twice: as a person would write it, and for the sampler.

The first has the true features as variables, the second has them integrated out: the pair of a row's measured
features and target is Gaussian, of few dimensions. `structural` states the model and its notation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..priors import PoweredCorrelation
from ._compat import quietly
from .conditional_prior import powered_roots
from .feature_coordinates import takes_log_noise
from .importance import signal_scale, units_of
from .mixture import COMPONENT_SCALE, SHARE_CONCENTRATION
from .prior_coordinates import coefficients_at, gaussian_given_scale, scale_is_learned
from .problem import Problem
from .pymc_model import (
    coefficients,
    intercept_at_mean,
    likelihood_variables,
    observed_data,
    observed_distribution,
    of_geometries,
    plain_data,
    prior_scale,
    unpacked,
)
from .pymc_priors import (
    learned_scale,
    of_role,
    over_geometries,
    positive_density,
    prior_density,
    priors_of,
)
from .structural import LKJ_SHAPE, MEAN_SCALE, SPREAD_DEGREES_OF_FREEDOM, SPREAD_SCALE

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
        As `feature_coordinates.measured_data` makes them.

    Returns
    -------
    pymc.Model
        One free variable ``u``; `feature_coordinates.MeasuredData` says what follows from it.

    Notes
    -----
    Each operation costs a tenth of a second of compiling, so that what can be done to the data is done there.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        q, width = np.shape(data["latent"])
        with pm.Model() as model:
            given = unpacked(data)
            size = np.size(data["location"]) + scale_is_learned(problem)
            u = pm.Flat("u", shape=size)
            found, terms = structural_parameters(problem, given, u, (q, width))
            # Rows are [1, z], then (w, y) less their references, the covariance of their errors, and counts.
            columns = given["factor"].T
            own = columns[width : width + q + 1]
            log_likelihood = _log_density(
                own - pt.dot(found.deviation, columns[:width]),
                _omega(problem, columns[width + q + 1 : -1], found),
                columns[-1],
            )
            pm.Potential("log_posterior", sum([log_likelihood, *terms]))
    return model


class StructuralParameters(NamedTuple):
    """Of the structural model, from the vector that is sampled, in PyTensor."""

    latent: Any
    """(q, k + 1) mu and Gamma."""
    change: Any
    """(q,) m - m0."""
    deviation: Any
    """(q + 1, k + 1) lines of w and of y - m0'w in (1, z), less those of the references."""
    T: Any
    noise_scale: Any
    """None where the noise is known."""
    scatter: Any
    """What is added to the rows' errors; 0 where nothing is."""


def structural_parameters(
    problem: Problem, given: Mapping[str, Any], u: Any, shape: tuple[int, int]
) -> tuple[StructuralParameters, list[Any]]:
    """Return the parameters and their log prior densities.

    Parameters
    ----------
    problem : Problem
        Its structure alone is taken from it.
    given : mapping of str to TensorVariable
        As `feature_coordinates.measured_data` makes them.
    u : TensorVariable
    shape : tuple of int
        (q, k + 1).
    """
    import pymc as pm
    import pytensor.tensor as pt

    (q, width), priors = shape, priors_of(problem)
    has_scale = problem.noise != "known"
    n_own = given["location"].type.shape[0]
    own, tau = u[:n_own], 1.0
    terms: list[Any] = []
    follows = scale_is_learned(problem)
    if follows:
        tau, terms = learned_scale(problem, given, u[n_own:])
        own, log_volume = _following_scale(given, own, tau)
        terms.append(log_volume)
    values = given["location"] + pt.dot(given["root"], own)
    if follows:
        pm.Deterministic("values", values)
    n_line = width - (not problem.fit_intercept)
    of_w, of_y, change, t, scale, zeta, ratio = parts_of(
        values, [q * width, n_line, q, q, has_scale, q * (q - 1) // 2, problem.noise == "auto"]
    )
    latent = given["latent"] + of_w.reshape((q, width))
    moved = pt.dot(change, latent)
    if follows:  # slopes have coordinates of their own
        slopes = of_y[int(problem.fit_intercept) :]
        if isinstance(problem.coef_prior, PoweredCorrelation):
            slopes = slopes - pt.dot(given["m"] + change, latent)[1:]
        of_y = pt.concatenate([of_y[: int(problem.fit_intercept)], slopes - given["line"][1:] + moved[1:]])
    if problem.fit_intercept:
        entries = of_y + given["line"] - moved
        slopes = entries[1:]
    else:
        # An intercept of zero is one that follows from the features' mean.
        of_y = pt.concatenate([moved[:1], of_y])
        slopes = of_y[1:] + given["line"][1:] - moved[1:]
    away = (pt.dot(latent, given["at_mean"]) - given["latent_mean"]) / MEAN_SCALE
    T = true_covariance(t, zeta)
    terms += [spread_prior(t, zeta), -0.5 * pt.square(away).sum()]
    m = given["m"] + change
    terms.append(slopes_density(problem, given, m, slopes, pt.dot(m, latent)[1:], T, tau))
    if problem.fit_intercept:
        intercept = of_role(given, "intercept_prior")
        terms.append(prior_density(priors["intercept_prior"], intercept, entries[:1]))
    noise_scale, scatter, of_noise = signed_noise(problem, given, scale, ratio)
    deviation = pt.concatenate([of_w, of_y]).reshape((q + 1, width))
    return StructuralParameters(latent, change, deviation, T, noise_scale, scatter), [*terms, *of_noise]


def _following_scale(given: Mapping[str, Any], u: Any, tau: Any) -> tuple[Any, Any]:
    """Return coordinates in which the coefficients follow their prior's scale, and the log of the volume, (18a)."""
    import pytensor.tensor as pt

    size = given["mean"].type.shape[0]
    coef, _, log_volume = coefficients_at(given, u[:size], 1.0, tau)
    own = pt.dot(given["coefficients_root"], coef[0] - given["coefficients_at"])
    return pt.concatenate([own, u[size:]]), log_volume[0]


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
    learned = problem.coef_prior.scale_prior is not None
    of_signal = 0.5 * (pt.log(T[0, 0]) if q == 1 else pt.linalg.slogdet(T)[1])
    of_signal = of_signal - 0.5 * ((q + 1) * pt.log1p(square) if learned else square)
    if "whiten" not in given:
        return of_signal
    white = pt.dot(given["whiten"], beta + through) / tau
    of_geometry = given["geometry_volume"] - 0.5 * pt.square(white).sum(axis=1)
    return of_signal + over_geometries(of_geometry) - white.shape[1] * pt.log(tau)


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

    if problem.noise == "known":
        return None, 0.0, []
    in_logs = takes_log_noise(problem)
    size = pt.exp(scale[0]) if in_logs else pt.abs(scale[0])
    terms, scatter = [scale[0]] if in_logs else [], size if problem.noise == "additive" else 0.0
    if problem.noise == "auto":
        rest = size / pt.sqrt(1.0 + pt.exp(2.0 * ratio[0]))
        noise_scale, scatter = rest / given["typical_error"], rest * pt.exp(ratio[0])
        of_scatter = of_role(given, "scatter_prior")
        terms.append(positive_density(problem.scatter_prior, "scatter_prior", of_scatter, scatter))
        terms.append(pt.log(noise_scale) + pt.log(scatter) - pt.log(size))
        size = noise_scale
    parameters = of_role(given, "noise_prior")
    return size, scatter, [*terms, positive_density(problem.noise_prior, "noise_prior", parameters, size)]


def parts_of(values: Any, sizes: list[int]) -> list[Any]:
    """Return a vector in parts of these sizes."""
    ends = np.cumsum(sizes)
    return [values[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def true_covariance(t: Any, zeta: Any) -> Any:
    """Return T, from scales and canonical partial correlations."""
    import pytensor.tensor as pt

    q = t.type.shape[0]
    if q == 1:
        return pt.square(t)[:, None]
    row, column = np.tril_indices(q, -1)
    place = np.zeros((q * q, len(row)))
    place[row * q + column, np.arange(len(row))] = 1.0
    below = pt.dot(place, zeta).reshape((q, q))
    # A row of the root is tanh of its zetas, each times what those before have left: the product of their sechs.
    left = pt.exp(pt.dot(_log_sech(below), np.triu(np.ones((q, q)), 1)))
    root = t[:, None] * (pt.tanh(below) + np.eye(q)) * left
    return pt.dot(root, root.T)


def _omega(problem: Problem, errors: Any, found: StructuralParameters) -> Any:
    """Return the covariance of every row's (w, y - m0'w), ((q + 1)^2, rows)."""
    scale, order = found.noise_scale, found.change.type.shape[0] + 1
    common = common_part(found.change, found.T, found.scatter).dimshuffle(0, "x")
    return error_part(problem, errors, order, scale) + common


def error_part(problem: Problem, errors: Any, order: int, scale: Any) -> Any:
    """Return what the rows' errors make of the covariance, where s multiplies them in the parts 1, s and s^2."""
    if problem.noise not in ("scaled", "auto"):
        return errors
    without, with_scale, with_square = parts_of(errors, [order**2] * 3)
    return without + scale * with_scale + scale**2 * with_square


def common_part(change: Any, T: Any, scatter: Any = 0.0) -> Any:
    """Return J T J' with J = [I; (m - m0)'] of the true features, and additive noise, ((q + 1)^2,).

    Where the errors are small m is near m0, and no digits are lost.
    """
    import pytensor.tensor as pt

    order = change.type.shape[0] + 1
    J = pt.concatenate([np.eye(order - 1), change[None, :]])
    common = pt.dot(J, pt.dot(T, J.T)) + scatter**2 * np.diag(np.eye(order)[-1])
    return common.reshape((order**2,))


def _log_density(residuals: Any, omega: Any, counts: Any) -> Any:
    """Return the summed log density of residuals, but for a constant.

    Parameters
    ----------
    residuals : tensor of shape (order, rows)
    omega : tensor of shape (order^2, rows)
        Their covariance.
    counts : tensor of shape (rows,)
        How often each row's log determinant counts.
    """
    import pytensor.tensor as pt

    order = residuals.type.shape[0]
    entries = {(a, b): omega[a * order + b] for a in range(order) for b in range(a + 1)}
    square, determinant = eliminated([residuals[a] for a in range(order)], entries)
    return -0.5 * pt.sum(square + counts * pt.log(determinant))


def eliminated(residuals: list[Any], entries: Mapping[tuple[int, int], Any]) -> tuple[Any, Any]:
    """Return r' Omega^-1 r and Omega's determinant, by elimination along all rows at once."""
    left, entry = list(residuals), dict(entries)
    # L D L' = Omega: D are the pivots, and what is left of the residuals is L^-1 r.
    determinant: Any = 1.0
    square: Any = 0.0
    for pivot in range(len(left)):
        diagonal = entry[pivot, pivot]
        determinant, square = determinant * diagonal, square + left[pivot] ** 2 / diagonal
        for a in range(pivot + 1, len(left)):
            share = entry[a, pivot] / diagonal
            left[a] = left[a] - share * left[pivot]
            for b in range(pivot + 1, a + 1):
                entry[a, b] = entry[a, b] - share * entry[b, pivot]
    return square, determinant


def _log_sech(values: Any) -> Any:
    import pytensor.tensor as pt

    return np.log(2.0) + values - pt.softplus(2.0 * values)


def spread_prior(t: Any, zeta: Any) -> Any:
    """Return the log prior density of t and zeta, but for a constant, as `StructuralProblem.log_prior` has it."""
    import pytensor.tensor as pt

    q, nu = t.type.shape[0], SPREAD_DEGREES_OF_FREEDOM
    half_t = -0.5 * (nu + 1.0) * pt.log1p((t / SPREAD_SCALE) ** 2 / nu).sum()
    if q == 1:
        return half_t
    shape = LKJ_SHAPE + 0.5 * (q - 2.0 - np.tril_indices(q, -1)[1])
    return half_t + 2.0 * pt.dot(shape, _log_sech(zeta))


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
                multiple = seen["noise_scale"] if problem.noise in ("scaled", "auto") else 1.0
                scatter = seen.get("noise_scale" if problem.noise == "additive" else "scatter", 0.0)
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


def repeated(frequency: Array | None, n: int, whose: str) -> NDArray[np.intp]:
    """Return the positions of the rows, each as often as its frequency says.

    Parameters
    ----------
    frequency : ndarray of shape (n,) or None
    n : int
    whose : str
        What needs whole frequencies, for the message.

    Raises
    ------
    ValueError
        Where a frequency is not whole.
    """
    if frequency is None:
        return np.arange(n)
    times = np.rint(frequency)
    if (times != frequency).any():
        raise ValueError(
            f"Each copy of a row has true features of its own, so that {whose} whole frequencies in sample_weight,"
            f" got {frequency[times != frequency][0]:g}. Round them, or leave sample_weight or prior=True out."
        )
    return np.repeat(np.arange(n), times.astype(np.intp))


def check_definite(covariance: Array, spread: Array) -> None:
    """Refuse errors that leave a feature, or a combination of them, exact in some rows."""
    least = np.linalg.eigvalsh(covariance / (spread[:, None] * spread))[..., 0]
    if least.min() <= 0.0:
        raise ValueError(
            "A feature with errors has none in some rows, or some combination of features has none: PyMC has no"
            " density for a measurement without error. Give these rows a small error in X_err or X_cov, or leave"
            " prior=True out."
        )
