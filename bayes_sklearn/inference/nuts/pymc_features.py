"""The model of features measured with error in PyMC, for the sampler.

The true features are integrated out: the pair of a row's measured features and target is Gaussian, of few dimensions.
`structural` states the model and its notation; `pymc_true_features` has it as a person would write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...priors.coefficients import PoweredCorrelation
from .._compat import quietly
from ..problem import Problem
from ..structural.model import LKJ_SHAPE, MEAN_SCALE, SPREAD_DEGREES_OF_FREEDOM, SPREAD_SCALE
from .prior_coordinates import coefficients_at, scale_is_learned
from .pymc_priors import learned_scale, of_role, over_geometries, positive_density, prior_density, priors_of
from .readable_model import unpacked
from .structural import takes_log_noise

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
    has_scale = problem.noise.has_scale
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
        values, [q * width, n_line, q, q, has_scale, q * (q - 1) // 2, problem.noise.combined]
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

    if not problem.noise.has_scale:
        return None, 0.0, []
    in_logs = takes_log_noise(problem)
    size = pt.exp(scale[0]) if in_logs else pt.abs(scale[0])
    terms, scatter = [scale[0]] if in_logs else [], size if problem.noise.only_scatters else 0.0
    if problem.noise.combined:
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
    if not problem.noise.multiplies:
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
