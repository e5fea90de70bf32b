"""The model of features measured with error in PyMC, twice: as a person would write it, and for the sampler.

The first has the true features as variables, the second has them integrated out: the pair of a row's measured
features and target is Gaussian, of few dimensions. `structural` states the model and its notation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._compat import quietly
from .problem import Problem
from .pymc_model import (
    coefficients,
    intercept_at_mean,
    noise_variables,
    of_role,
    prior_density,
    priors_of,
    unpacked,
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
        One free variable ``u`` in coordinates of about unit scale; ``m``, ``theta``, ``s``, ``t`` and ``zeta``, as
        `structural.StructuralProblem` has them, follow from it where there are any.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        q, width = np.shape(data["w_reference"])
        n_y, n_pairs = width - (not problem.fit_intercept), q * (q - 1) // 2
        n_logs = q + (problem.noise != "known")
        with pm.Model() as model:
            given, priors = unpacked(data), priors_of(problem)
            u = pm.Flat("u", shape=np.size(data["location"]))
            values = given["location"] + pt.dot(given["root"], u)
            ends = np.cumsum([q, q * width, n_y, n_logs, n_pairs])
            change, latent, of_y, logs, zeta = (
                values[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)
            )
            w_reference, y_reference = given["w_reference"], given["y_reference"]
            latent = latent.reshape((q, width))
            # Nothing is taken out of the rows for an intercept that there is none of.
            of_y = of_y if problem.fit_intercept else pt.concatenate([np.zeros(1), of_y])
            m = pm.Deterministic("m", y_reference[width:] + change)
            of_w = latent + w_reference
            line = of_y + y_reference[:width] - pt.dot(change, w_reference)
            own = line[width - n_y :]
            pm.Deterministic("theta", pt.concatenate([of_w.ravel(), own]))
            t = pm.Deterministic("t", pt.exp(logs[n_logs - q :]))
            if n_pairs:
                pm.Deterministic("zeta", zeta)
            scale = pm.Deterministic("s", pt.exp(logs[0])) if problem.noise != "known" else None

            # Rows are [1, z, w - w0, y - y0], then the errors, then the counts of the log determinants.
            columns = given["factor"].T
            residuals = pt.concatenate(
                [
                    pt.concatenate([-latent, np.eye(q), np.zeros((q, 1))], axis=1),
                    pt.concatenate([-of_y, -change, np.ones(1)])[None, :],
                ]
            )
            left = pt.dot(residuals, columns[: width + q + 1])
            omega = _omega(problem, columns[width + q + 1 : -1], m, scale, _true_covariance(t, zeta))
            log_likelihood = _log_density([left[a] for a in range(q + 1)], omega, columns[-1])

            terms = [log_likelihood, _spread_prior(t, zeta), logs.sum()]
            away = pt.concatenate([(of_w[:, 0] - given["mu_mean"]), of_w[:, 1:].ravel()])
            terms.append(-0.5 * pt.dot(away, away) / MEAN_SCALE**2)
            parameters = {role: of_role(given, role) for role in priors}
            entries = {"coef_prior": pt.concatenate([m / given["unit"], line[1:]])}
            if problem.fit_intercept:
                entries["intercept_prior"] = line[:1]
            terms += [prior_density(priors[role], parameters[role], entries[role]) for role in entries]
            if scale is not None:
                noise = getattr(pm, str(problem.noise_prior.scale_distribution))
                terms.append(pm.logp(noise.dist(**parameters["noise_prior"]), scale))
            pm.Potential("log_posterior", sum(terms))
    return model


def _true_covariance(t: Any, zeta: Any) -> dict[tuple[int, int], Any]:
    """Return the entries (a, b), a >= b, of T, from scales and canonical partial correlations."""
    import pytensor.tensor as pt

    q = t.type.shape[0]
    root: dict[tuple[int, int], Any] = {}
    for row in range(q):
        left = t[row]
        for column in range(row):
            partial = zeta[row * (row - 1) // 2 + column]
            root[row, column] = pt.tanh(partial) * left
            left = left / pt.cosh(partial)
        root[row, row] = left
    return {
        (a, b): sum(root[a, column] * root[b, column] for column in range(b + 1))
        for a in range(q)
        for b in range(a + 1)
    }


def _omega(
    problem: Problem, errors: Any, m: Any, scale: Any, T: Mapping[tuple[int, int], Any]
) -> dict[tuple[int, int], Any]:
    """Return the entries (a, b), a >= b, of the covariance of every row's (w, y - m'w), (rows,) each."""
    q = m.type.shape[0]
    upper = list(combinations_with_replacement(range(q), 2))
    U = {(a, b): errors[upper.index((min(a, b), max(a, b)))] for a, b in product(range(q), repeat=2)}
    multiple = scale if problem.noise == "scaled" else 1.0
    correlated = problem.feature_errors is not None and problem.feature_errors.with_target is not None
    omega: dict[tuple[int, int], Any] = {(a, b): U[a, b] + T[a, b] for a, b in T}
    last = multiple**2 * errors[-1]
    if problem.noise == "additive":
        last = last + scale**2
    for a in range(q):
        pushed = sum(U[a, b] * m[b] for b in range(q))
        omega[q, a] = -pushed
        last = last + m[a] * pushed
        if correlated:
            with_target = multiple * errors[len(upper) + a]
            omega[q, a] = with_target - pushed
            last = last - 2.0 * m[a] * with_target
    omega[q, q] = last
    return omega


def _log_density(left: list[Any], omega: dict[tuple[int, int], Any], counts: Any) -> Any:
    """Return the summed log density of residuals, but for a constant, by elimination (LDL') along all rows at once.

    Parameters
    ----------
    left : list of tensor (rows,)
        Residuals, written over.
    omega : dict of (int, int) to tensor (rows,)
        Their covariance, written over.
    counts : tensor (rows,)
        How often each row's log determinant counts.
    """
    import pytensor.tensor as pt

    size, determinant, square = len(left), 1.0, 0.0
    for pivot in range(size):
        diagonal = omega[pivot, pivot]
        determinant, square = determinant * diagonal, square + left[pivot] ** 2 / diagonal
        for a in range(pivot + 1, size):
            share = omega[a, pivot] / diagonal
            left[a] = left[a] - share * left[pivot]
            for b in range(pivot + 1, a + 1):
                omega[a, b] = omega[a, b] - share * omega[b, pivot]
    return -0.5 * pt.sum(square + counts * pt.log(determinant))


def _spread_prior(t: Any, zeta: Any) -> Any:
    """Return the log prior density of t and zeta, but for a constant, as `StructuralProblem.log_prior` has it."""
    import pytensor.tensor as pt

    q, nu = t.type.shape[0], SPREAD_DEGREES_OF_FREEDOM
    half_t = -0.5 * (nu + 1.0) * pt.log1p((t / SPREAD_SCALE) ** 2 / nu).sum()
    if q == 1:
        return half_t
    shape = LKJ_SHAPE + 0.5 * (q - 2.0 - np.tril_indices(q, -1)[1])
    return half_t + 2.0 * pt.dot(shape, zeta - pt.softplus(2.0 * zeta))


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
        the exact features, standardised as the model's are) and ``x_scale`` or, for several, ``x_root``; the measured
        ``X``, of the noisy features alone.

    Raises
    ------
    ValueError
        Where a frequency is not whole, or an error in some rows is zero.
    """
    errors, rows, scaling = problem.feature_errors, problem.rows, problem.scaling
    if errors is None:
        raise ValueError("No feature has an error.")
    used = _repeated(rows.frequency, len(rows.y))
    noisy = errors.noisy
    exact = np.setdiff1d(np.arange(rows.n_features), noisy)
    measured = np.asarray(rows.take(used), dtype=np.float64)
    covariance, with_target = errors.covariance, errors.with_target
    covariance = covariance[used] if covariance.ndim == 3 else covariance
    spread = problem.state.standard_deviation[:-1][noisy]
    spread = np.where(spread > 0.0, spread, scaling.x_scale[noisy])
    center = measured[:, noisy].mean(axis=0)
    _check_definite(covariance, spread)
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
        with pm.Model(coords=coords) as model:
            y_err: Any = None
            if problem.standard_error is not None:
                every = np.broadcast_to(np.asarray(problem.standard_error, dtype=np.float64), rows.y.shape)
                y_err = pm.Data("y_err", every[used].copy(), dims="obs")
            suffix = "" if scaling.is_identity else "_standardized"
            scale, sigma = noise_variables(problem, suffix)
            coef = coefficients(problem, suffix, scale)
            if suffix:
                coef = pm.Deterministic("coef", coef * scaling.y_scale / scaling.x_scale, dims="feature")

            expected = pm.Normal("mu", center, MEAN_SCALE * spread, dims="noisy")
            line = intercept_at_mean(problem, suffix, coef)
            if len(exact):
                Z = pm.Data("X_exact", measured[:, exact], dims=("obs", "exact"))
                deviation = Z - scaling.x_mean[exact]
                Gamma = pm.Normal("Gamma", 0.0, MEAN_SCALE * spread[:, None], dims=("noisy", "exact"))
                expected = expected + pt.dot(deviation / scaling.x_scale[exact], Gamma.T)
                line = line + pt.dot(deviation, coef[exact])
            x_true = _true_features(expected, spread, len(used))
            line = line + pt.dot(x_true - scaling.x_mean[noisy], coef[noisy])
            X = measured[:, noisy]
            if (covariance == covariance * np.eye(len(noisy))).all():
                sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
                pm.Normal("X", x_true, sd, observed=X, dims=("obs", "noisy"))
            else:
                pm.MvNormal("X", x_true, covariance, observed=X, dims=("obs", "noisy"))

            known = 0.0 if y_err is None else y_err**2
            multiple = sigma if problem.noise == "scaled" else 1.0
            if with_target is not None:
                # What the features' errors say of the target's: E[eps | u] = c' U^-1 u.
                c = with_target[used] if with_target.ndim == 2 else with_target
                told = np.linalg.solve(covariance, np.broadcast_to(c, X.shape)[:, :, None])[:, :, 0]
                line = line + multiple * ((X - x_true) * told).sum(axis=1)
                known = known - (told * c).sum(axis=1)
            variance = {
                "scaled": lambda: sigma**2 * (1.0 if y_err is None else known),
                "additive": lambda: sigma**2 + known,
                "known": lambda: known,
            }[problem.noise]()
            pm.Normal("y", line, pt.sqrt(variance), observed=rows.y[used], dims="obs")
    return model


def _true_features(expected: Any, spread: Array, n: int) -> Any:
    """Return the variable ``x_true`` of the PyMC model in hand; scales are in units of the measured features'."""
    import pymc as pm
    import pytensor.tensor as pt

    q, dims = len(spread), ("obs", "noisy")
    expected = pt.broadcast_to(expected, (n, q))
    nu = SPREAD_DEGREES_OF_FREEDOM
    if q == 1:
        scale = pm.HalfStudentT("x_scale", nu, SPREAD_SCALE * spread, dims="noisy")
        return pm.Normal("x_true", expected, scale, dims=dims)
    scales = pm.HalfStudentT.dist(nu, SPREAD_SCALE)
    root, _, _ = pm.LKJCholeskyCov("x_root", n=q, eta=LKJ_SHAPE, sd_dist=scales)
    return pm.MvNormal("x_true", expected, chol=spread[:, None] * root, dims=dims)


def _repeated(frequency: Array | None, n: int) -> NDArray[np.intp]:
    """Return the positions of the rows, each as often as its frequency says."""
    if frequency is None:
        return np.arange(n)
    times = np.rint(frequency)
    if (times != frequency).any():
        raise ValueError(
            "Each copy of a row has true features of its own, so that to_pymc needs whole frequencies in"
            f" sample_weight, got {frequency[times != frequency][0]:g}. Leave sample_weight out, or round it."
        )
    return np.repeat(np.arange(n), times.astype(np.intp))


def _check_definite(covariance: Array, spread: Array) -> None:
    """Refuse errors that leave a feature, or a combination of them, exact in some rows."""
    least = np.linalg.eigvalsh(covariance / (spread[:, None] * spread))[..., 0]
    if least.min() <= 0.0:
        raise ValueError(
            "A feature with errors has none in some rows, or some combination of features has none: PyMC has no"
            " density for a measurement without error. Give these rows a small error."
        )
