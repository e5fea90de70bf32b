"""The model of features measured with error of which no parameter integrates out, in PyMC for the sampler.

The true features, and the components of a mixture that they belong to, are summed and integrated out, so that the
model's size does not depend on the number of rows: given what was measured the line is normal, and the likelihood is
integrated over it. `structural.mixture` states the model. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Observations
from ...likelihoods.over_line.graph import graph_over_line, log_selected_graph, log_sum_graph
from ...likelihoods.over_line.integral import Places
from ...likelihoods.parameters import Auxiliary
from ...priors.coefficients import PoweredCorrelation
from .._compat import quietly
from ..importance.mixture_slopes import Known, Measured
from ..problem import Problem
from ..structural.mixture import COMPONENT_SCALE, SHARE_CONCENTRATION
from ..structural.mixture_coordinates import contrasts_of, sizes_of
from ..structural.model import MEAN_SCALE
from ..structural.rows import given_measured, without_unmeasured
from ..structural.true_covariance import log_prior, true_covariance
from ..structural.wild import Configurations
from .formulation import unpacked, without_gaps
from .groups.measured import n_group_columns, n_group_coordinates, with_groups
from .prior_coordinates import (
    coefficients_given_scales,
    is_regressed,
    scale_coordinates,
    scale_is_learned,
    softens_scale,
    takes_log_spread,
)
from .pymc_priors import (
    of_role,
    positive_density,
    prior_density,
    priors_of,
    signed_noise,
    slopes_density,
    unit_of,
)
from .rows import n_row_columns, observations
from .structural import common_part, error_part, parts_of

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]

HEAD = ("s", "scatter", "auxiliary")
"""What the noise is like: no other column of what is sampled goes before."""


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model with the true features integrated out: all that varies from data to data is a `pm.Data`.

    Returns
    -------
    pymc.Model
        One free variable ``u``; `mixture_data.MixtureData` says what follows from it.

    Notes
    -----
    Each operation costs a tenth of a second of compiling, so that what can be done to the data is done there.
    """
    with quietly():
        import pymc as pm
        import pytensor.tensor as pt

        q, k, count = np.size(data["w"]), np.size(data["z"]), problem.n_components
        sizes = sizes_for(problem, q, k)
        with pm.Model() as model:
            given = unpacked(data)
            end = sum(sizes.values()) + scale_coordinates(problem)
            every = pm.Flat("u", shape=end + n_group_coordinates(problem, q))
            u, table, of_groups = every[:end], given["factor"].T, n_group_columns(problem)
            # Rows are groups and gaps, if any; [1, z, w, y - m0'w] about their means, without y where the likelihood
            # is integrated over the line; the covariance of the last one's errors; what the likelihood sees; counts.
            gaps, columns = without_gaps(problem, table[of_groups:], q + 1)
            seen = (
                None
                if problem.likelihood.is_normal
                else observations(problem, given, columns[-1 - _n_seen(problem) :])
            )
            noise = _noise(problem, given, u, sizes)
            values, of_slopes = _sampled(problem, given, u, sizes, noise, seen, columns[-1])
            widths = list(sizes.values())
            # One operation, and another one for its derivatives.
            parts = dict(zip(sizes, pt.split(values, splits_size=widths, n_splits=len(widths)), strict=True))
            found = _with_wild_readings(
                problem, _parameters(problem, given, parts, (q, k, count), of_slopes), noise, q
            )
            left, entries = _lines(problem, found, columns, noise, (q, k), seen)
            if of_groups:
                at = pt.concatenate([found.line[1 - problem.fit_intercept :], given["m"] + found.change])
                of_features = found.means[0], found.slopes
                groups = with_groups(problem, given, at, of_features, every[end:], table[:of_groups])
                for j, added in enumerate(groups.features):
                    left[j], left[q] = left[j] - added, left[q] - found.change[j] * added
                left[q] = left[q] - groups.line
                found.terms.extend(groups.terms)
            if gaps:
                left, entries = without_unmeasured(left, entries, gaps, [given["m"][j] for j in range(q)])
            square, determinant, after, covariance = given_measured(left, entries, q)
            if seen is None:
                square, determinant = (
                    square + pt.square(after[0]) / covariance[0, 0],
                    determinant * covariance[0, 0],
                )
            of_rows = -0.5 * (square + pt.log(determinant))
            if seen is not None:
                of_rows += _over_line(
                    problem, given, columns, noise, after, covariance, len(found.covariances)
                )
            if len(found.covariances) > 1:
                of_rows = log_sum_graph(of_rows + found.log_shares[:, None])
            if problem.truncation is not None:
                of_rows -= _log_selected(
                    problem, given, columns[k + 1 + q], noise, found, left, entries, seen
                )
            pm.Potential("log_posterior", sum([pt.dot(columns[-1], of_rows), *noise.terms, *found.terms]))
    return model


def _n_seen(problem: Problem) -> int:
    """Return how many columns of the rows say what the likelihood sees of them, and where it is integrated."""
    return n_row_columns(problem) + len(Places._fields)


def sizes_for(problem: Problem, q: int, k: int) -> dict[str, int]:
    """Return how many columns each part of what is sampled has, in their order."""
    noise = problem.noise
    sizes = sizes_of(q, k, problem.n_components, intercept=problem.fit_intercept, noise=noise.has_scale)
    sizes |= {"scatter": int(noise.combined), "tau": int(scale_is_learned(problem))}
    return sizes | {"auxiliary": len(further(problem))}


def further(problem: Problem) -> tuple[Auxiliary, ...]:
    """Return the likelihood's parameters beside those of noise that is added to the line."""
    return tuple(one for one in problem.auxiliary if one.name not in ("noise_scale", "scatter"))


class _Noise(NamedTuple):
    """The likelihood's parameters, in PyTensor."""

    scale: Any
    scatter: Any
    values: dict[str, Any]
    """All of them by name."""
    terms: list[Any]
    """Log prior densities in the coordinates."""


def _noise(problem: Problem, given: Mapping[str, Any], u: Any, sizes: Mapping[str, int]) -> _Noise:
    """Return the likelihood's parameters: what is sampled first."""
    import pytensor.tensor as pt

    width = [sizes[name] for name in HEAD]
    values: dict[str, Any] = {name: given[f"fixed_{name}"] for name in problem.likelihood.constants}
    if not sum(width):
        return _Noise(None, 0.0, values, [])
    s, ratio, others = parts_of(given["head"] + pt.dot(given["head_root"], u[: sum(width)]), width)
    scale, scatter, terms = signed_noise(problem, given, s, ratio)
    values |= {"noise_scale": scale, "scatter": scatter}
    for i, parameter in enumerate(further(problem)):
        role = f"{parameter.name}_prior"
        above, log_slope = parameter.for_sampler.graph(others[i], given["coordinate_unit"][i])
        terms += [positive_density(parameter.prior, role, of_role(given, role), above), log_slope]
        values[parameter.name] = above + given["coordinate_lower"][i]
    return _Noise(scale, scatter, values, terms)


def _sampled(
    problem: Problem,
    given: Mapping[str, Any],
    u: Any,
    sizes: Mapping[str, int],
    noise: _Noise,
    seen: Observations | None,
    frequency: Any,
) -> tuple[Any, list[Any]]:
    """Return what stands in a point; where the prior is a mixture the log densities of coefficients and scales."""
    import pymc as pm
    import pytensor.tensor as pt

    size = sum(sizes.values())
    if not scale_coordinates(problem):
        return given["location"] + pt.dot(given["root"], u), []
    if seen is None:
        unit = pt.sqrt(problem.noise.variance(noise.values, given["mean_error_of_y"]) / frequency.sum())
    else:
        unit = unit_of(problem.likelihood, noise.values, seen, given["pooled"], frequency)
    scales = problem.coef_prior.scales(u[size:], of_role(given, "coef_prior"), unit)
    for name, value in scales.named.items():
        pm.Deterministic(name, value)
    first = sum(sizes[name] for name in HEAD)
    last = first + problem.rows.n_features
    coef, terms = coefficients_given_scales(given, scales.sd, u[first:last])
    own = pt.concatenate([u[:first], coef, u[last:size]])
    values = pm.Deterministic("values", given["location"] + pt.dot(given["root"], own))
    return values, [scales.log_density, *terms]


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
    terms: list[Any]
    """Log prior densities in the coordinates."""
    multiples: Any = None
    """(K, q + 1) of the errors of each component's readings, and of what goes with the target; None: all are one."""


def _parameters(
    problem: Problem,
    given: Mapping[str, Any],
    part: Mapping[str, Any],
    sizes: tuple[int, int, int],
    of_slopes: list[Any],
) -> _Parameters:
    """Return the parameters of what is sampled, by the names of `sizes_for`, and their log prior densities."""
    import pytensor.tensor as pt

    q, k, count = sizes
    slopes, means = part["slopes"].reshape((q, k)), part["means"].reshape((count, q))
    t, zeta = part["t"].reshape((count, q)), part["zeta"].reshape((count, -1))
    terms = list(of_slopes)
    if takes_log_spread(problem):
        terms.append(t.sum())
        t = pt.exp(t)
    T = [true_covariance(t[c], zeta[c], q, pt) for c in range(count)]
    terms.append(log_prior(t, zeta, q, pt).sum())
    terms += [-0.5 * pt.square(slopes / MEAN_SCALE).sum()] if k else []
    if count == 1:
        log_shares, mean, whole = pt.zeros(1), means[0], T[0]
    else:
        logits = pt.dot(contrasts_of(count), part["shares"])
        log_shares = logits - pt.logsumexp(logits)
        pi = pt.exp(log_shares)
        mean = pt.dot(pi, means)
        whole = sum(pi[c] * T[c] for c in range(count)) + pt.dot((means - mean).T * pi, means - mean)
        terms.append(-0.5 * pt.square(pt.dot(contrasts_of(count).T, means) / COMPONENT_SCALE).sum())
        terms.append(SHARE_CONCENTRATION * log_shares.sum())
    m, beta, tau = part["m"], part["line"][problem.fit_intercept :], 1.0
    at_means = part["line"][:1]
    learned, regressed = scale_is_learned(problem), is_regressed(problem)
    if regressed:
        known = Measured(*(given[f"measured_{field}"] for field in Measured._fields))
        m, more, log_volume = known.true(m, whole, q, pt)
        beta = beta if learned or not k else beta - pt.dot(more, slopes)
        terms.append(log_volume)
    if learned:
        tau, log_slope = _scale(problem, part["tau"][0])
        m, beta, of_scale = _log_density_of_slopes(problem, given, m, beta, slopes, tau)
        terms += [*of_scale, log_slope]
    from_means = pt.dot(m, given["w"]) - given["y"] + (pt.dot(beta, given["z"]) if k else 0.0)
    if regressed:
        if count == 1:
            own = (at_means[0] if problem.fit_intercept else None), mean
            at_means, mean, of_middle = known.middle(own, whole, more, from_means, q, pt)
            at_means, means = at_means.reshape((1,)), mean[None]
            terms.append(of_middle)
        at_means = at_means - pt.dot(more, mean)
    terms.append(-0.5 * pt.square((means.mean(axis=0) - given["mu_mean"]) / MEAN_SCALE).sum())
    if not of_slopes:
        through = pt.dot(m, slopes) if k else beta
        terms.append(slopes_density(problem, given, m, beta, through, whole, tau))
    if problem.fit_intercept:
        prior = priors_of(problem)["intercept_prior"]
        terms.append(prior_density(prior, of_role(given, "intercept_prior"), at_means - from_means))
    else:
        at_means = from_means.reshape((1,))
    line = pt.concatenate([at_means, beta]) if k else at_means
    return _Parameters(m - given["m"], line, slopes, means, T, log_shares, terms)


def _with_wild_readings(problem: Problem, found: _Parameters, noise: _Noise, q: int) -> _Parameters:
    """Return the parameters of every configuration of wild readings within each component."""
    import pytensor.tensor as pt

    if not problem.outliers:
        return found
    wild = Configurations.of(noise.values["outlier_share"], noise.values["outlier_factor"], q, pt)
    count, each = problem.n_components, 2**q
    return found._replace(
        means=pt.repeat(found.means, each, axis=0),
        covariances=[T for T in found.covariances for _ in range(each)],
        log_shares=(found.log_shares[:, None] + wild.log_shares).ravel(),
        multiples=pt.tile(pt.concatenate([wild.multiples, pt.ones((each, 1))], axis=1), (count, 1)),
    )


def _scale(problem: Problem, coordinate: Any) -> tuple[Any, Any]:
    """Return the scale of the coefficients' prior and the log of its derivative in the coordinate, in PyTensor."""
    import pytensor.tensor as pt

    if softens_scale(problem):
        return pt.softplus(coordinate), -pt.softplus(-coordinate)
    return pt.exp(coordinate), coordinate


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


def _lines(
    problem: Problem,
    found: _Parameters,
    columns: Any,
    noise: _Noise,
    sizes: tuple[int, int],
    seen: Observations | None,
) -> tuple[list[Any], dict[tuple[int, int], Any]]:
    """Return w, and y - m0'w or the line less m0'w, about their means, and their covariance.

    They are (n,), of several components (K, n). Where errors go with the target's, noise of unit part is the last.
    """
    import pytensor.tensor as pt

    (q, k), order, count = sizes, sizes[0] + 1, len(found.covariances)

    def each(values: Any) -> Any:
        return values[0] if count == 1 else values[:, None]

    ones, w, y = columns[: k + 1], columns[k + 1 : k + order], columns[k + order]
    of_y = found.line[0]
    if k:
        w = w - pt.dot(found.slopes, ones[1:])
        of_y = pt.dot(found.line + pt.concatenate([[0.0], pt.dot(found.change, found.slopes)]), ones)
    left = [w[j] - each(found.means[:, j]) for j in range(q)]
    left.append(y - of_y - each(pt.dot(found.means, found.change)))
    errors, scatter = columns[k + order + 1 :], 0.0
    if seen is None:
        errors, scatter = error_part(problem, errors[:-1], order, noise.scale), noise.scatter
    common = pt.stack([common_part(found.change, T, scatter) for T in found.covariances])
    # Where readings may be wild rows are not less of m0'w, so that no entry is of several readings.
    of_u = [1.0 if found.multiples is None else each(found.multiples[:, a]) for a in range(order)]
    entries = {
        (a, b): of_u[a] * of_u[b] * errors[a * order + b] + each(common[:, a * order + b])
        for a in range(order)
        for b in range(a + 1)
    }
    if seen is not None and columns.type.shape[0] > k + 1 + order + order**2 + _n_seen(problem) + 1:
        multiple = noise.scale if problem.noise.multiplies else 1.0
        entries |= {(order, j): multiple * of_u[j] * errors[order**2 + j] for j in range(order)}
        entries[order, order] = problem.noise.variance(noise.values, seen.standard_error, seen.resolution)
        left.append(0.0)
    return left, entries


def _log_selected(
    problem: Problem,
    given: Mapping[str, Any],
    y: Any,
    noise: _Noise,
    found: _Parameters,
    left: list[Any],
    entries: Mapping[tuple[int, int], Any],
    seen: Observations | None,
) -> Any:
    """Return the log probability that rows were selected, (33e): rows are not less of m0'w then.

    So what `left` has of y, or of the line, is so given the exact features alone.
    """
    q, count = found.change.type.shape[0], len(found.covariances)
    mean, spread = y - left[q] if seen is None else -left[q], entries[q, q] + 0.0 * left[q]
    each = [(mean, spread)] if count == 1 else [(mean[c], spread[c]) for c in range(count)]
    limits = given.get("lower_limit"), given.get("upper_limit")
    # Of a normal target the noise is in the spread.
    data, own = (Observations(y), (0.0, 0.0, 0.0)) if seen is None else (seen, None)
    likelihood = problem.likelihood.population
    return log_selected_graph(likelihood, each, found.log_shares, noise.values, data, limits, own)


def _over_line(
    problem: Problem,
    given: Mapping[str, Any],
    columns: Any,
    noise: _Noise,
    after: list[Any],
    covariance: Mapping[tuple[int, int], Any],
    count: int,
) -> Any:
    """Return the log density of the target, integrated over the line's uncertainty, shaped as that is."""
    import pytensor.tensor as pt

    mean, variance = -after[0], pt.maximum(covariance[0, 0], 0.0)
    told = None if len(after) == 1 else (-after[1], covariance[1, 0], covariance[1, 1])
    rest = columns[-1 - _n_seen(problem) : -1]
    if count > 1:  # one component after the other
        rest = pt.tile(rest, (1, count))
        none = pt.zeros_like(mean)
        mean, variance = mean.ravel(), (variance + none).ravel()
        told = None if told is None else tuple((part + none).ravel() for part in told)
    seen = observations(problem, given, rest)
    first = n_row_columns(problem)
    places = Places(*(rest[first + i] for i in range(len(Places._fields))))
    found = graph_over_line(problem.likelihood, mean, variance, noise.values, seen, places, told)
    return found.reshape((count, -1)) if count > 1 else found
