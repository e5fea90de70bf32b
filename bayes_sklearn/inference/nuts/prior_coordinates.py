"""Coordinates in which coefficients follow their prior's scale and geometry, so that neither makes a funnel.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...priors.base import CoefficientPrior, Flat, ScaleMixture
from ...priors.coefficients import Normal, PoweredCorrelation
from ..given_scale import ConditionalPrior
from ..problem import Problem

Array = NDArray[np.float64]


def scale_is_learned(problem: Problem) -> bool:
    """Return whether the scale of the coefficients' prior is sampled.

    On the signal that of features with errors is no scale of the others' coefficients, (20a), but one of its own.
    """
    prior, errors = problem.coef_prior, problem.feature_errors
    of_others = errors is None or len(errors.noisy) < problem.rows.n_features
    return prior.scale_prior is not None and (of_others or not isinstance(prior, PoweredCorrelation))


def scale_coordinates(problem: Problem) -> int:
    """Return how many coordinates the scales of the coefficients' prior have, where that is a mixture."""
    prior = problem.coef_prior
    return prior.n_coordinates(problem.rows.n_features) if isinstance(prior, ScaleMixture) else 0


def takes_log_spread(problem: Problem) -> bool:
    """Return whether the true features' spread is sampled by its logarithm.

    Without one m is without bound, and what the intercept's prior tells of mu is no smooth function of t.
    """
    return problem.n_components == 1 and is_regressed(problem)


def softens_scale(problem: Problem) -> bool:
    """Return whether the scale of the coefficients' prior is sampled in a coordinate that above one is the scale.

    In its logarithm a light tail of its prior would be a wall.
    """
    learned = problem.coef_prior.scale_prior
    return learned is not None and bool(np.isinf(learned.tail()))


def is_regressed(problem: Problem) -> bool:
    """Return whether coefficients of what was measured stand in the place of the true features'."""
    if problem.likelihood.is_normal or isinstance(problem.coef_prior, ScaleMixture):
        return False
    return problem.coef_prior.scale_prior is None or isinstance(problem.coef_prior, PoweredCorrelation)


def is_conditional(prior: CoefficientPrior) -> bool:
    """Return whether coefficients are Gaussian given the prior's scale and its geometry."""
    return isinstance(prior, Normal | Flat | PoweredCorrelation)


def gaussian_given_scale(problem: Problem) -> ConditionalPrior:
    """Return the priors of B's free entries given the scale, or in the place of others Gaussians about as wide."""
    p, prior, intercept = problem.rows.n_features, problem.coef_prior, problem.intercept_prior
    if not is_conditional(prior):
        prior = Normal(*prior.gaussian_like("coef_prior", p))
    if intercept is not None and intercept.gaussian("intercept_prior", 1) is None:
        intercept = Normal(*intercept.gaussian_like("intercept_prior", 1))
    found = ConditionalPrior.of(prior, intercept, p, problem.prior_design)
    if found is None:
        raise AssertionError  # for the type checker: Gaussian is what they were made
    return found


def pilot_of(problem: Problem) -> Problem:
    """Return the problem with priors that are Gaussian given their scale in the place of those that are not.

    A scale that is learned stays so.
    """
    like = problem.gaussian_like()
    prior = problem.coef_prior
    if is_conditional(prior):
        return replace(like, coef_prior=prior)
    if prior.scale_prior is None:
        return like
    mean, _ = prior.gaussian_like("coef_prior", problem.rows.n_features)
    return replace(like, coef_prior=Normal(mean, prior.scale_prior))


def prior_coordinates(prior: ConditionalPrior, rows: Array, start: Array) -> dict[str, Array | float]:
    """Return the numbers that `coefficients_at` takes, (18a).

    Everything is less a place near the mode, so that no digits are lost where that is far from zero.

    Parameters
    ----------
    prior : ConditionalPrior
    rows : ndarray of shape (K, P + 1)
        What is known of B's free entries, as rows of unit noise: design and, last, target.
    start : ndarray of shape (P,)
        The place.
    """
    p = len(prior.mean)
    first = len(start) - p
    rows = np.column_stack([rows[:, :-1], rows[:, -1] - rows[:, :-1] @ start])
    mean = prior.mean - start[first:]
    of_intercept = np.zeros((0, rows.shape[1]))
    if prior.intercept is not None and np.isfinite(prior.intercept[1]):
        of_intercept = np.zeros((1, rows.shape[1]))
        of_intercept[0, [0, -1]] = np.array([1.0, prior.intercept[0] - start[0]]) / prior.intercept[1]
    triangle = np.asarray(np.linalg.qr(np.vstack([rows, of_intercept]), mode="r"))
    own, target = triangle[first:, first:-1], triangle[first:, -1]
    target = target - own @ mean
    lean = np.zeros((first, p))
    information, pull, fixed, fixed_pull = np.zeros((4, p + first))
    if first:
        # The intercept is what rows and prior say of it, less what follows from the coefficients.
        of_rows, known = rows[:, 0] @ rows, of_intercept[:, 0] @ of_intercept
        lean = of_rows[None, 1:-1] / (of_rows[0] + known[0])
        information[0], pull[0], fixed[0], fixed_pull[0] = of_rows[0], of_rows[-1], known[0], known[-1]
    found = []
    flat = bool(np.isinf(prior.sigma).any())
    # Of a flat prior any root will do: units in which no feature is small beside another.
    size = np.linalg.norm(own, axis=0)
    for root in (np.diag(1.0 / np.where(size > 0.0, size, 1.0)),) if flat else prior.roots:
        left, singular, right = np.linalg.svd(own @ root, full_matrices=True)
        size = np.zeros(p)
        size[: len(singular)] = singular
        along = np.zeros(p)
        along[: len(singular)] = (left.T @ target)[: len(singular)]
        information[first:], pull[first:] = np.square(size), size * along
        # Of features that are alike, a Laplace prior's gradient would be exactly 0, which samplers take for an error.
        of_coef = (1.0 + 1e-12 * np.arange(p)[:, None]) * (root @ right.T)
        basis = np.block([[np.eye(first), -lean @ of_coef], [np.zeros((p, first)), of_coef]])
        hold = np.append(np.zeros(first), np.full(p, 0.0 if flat else 1.0))
        unit = information + fixed + hold
        unit[unit == 0.0] = 1.0
        found.append(
            {
                "basis": basis / np.sqrt(unit),
                "information": information / unit,
                "pull": pull / np.sqrt(unit),
                "hold": hold / unit,
                "fixed": fixed / unit,
                "fixed_pull": fixed_pull / np.sqrt(unit),
                "volume": -0.5 * np.log(unit).sum(),
            }
        )
        if not fixed.any():  # a flat prior's
            del found[-1]["fixed"], found[-1]["fixed_pull"]
    arrays: dict[str, Array | float] = {"start": start + np.append(-lean @ mean, mean)}
    if len(found) == 1:
        return arrays | found[0]
    arrays |= {name: np.array([one[name] for one in found]) for name in found[0]}
    # Under every geometry in the first one's directions.
    basis = np.asarray(arrays.pop("basis"))
    return arrays | {"basis": basis[0], "turn": np.linalg.solve(basis[0], basis)}


class LikelyScale(NamedTuple):
    """What is known of a prior's scale, and B where it is most likely."""

    log_scale: Array
    """(2,) mean and standard deviation of its log."""
    B: Array


def likely_scale(prior: ConditionalPrior, arrays: Mapping[str, Array | float]) -> LikelyScale:
    """Return the posterior of the scale, coefficients integrated out, given what `prior_coordinates` made.

    Parameters
    ----------
    prior : ConditionalPrior
    arrays : mapping of str to ndarray or float
        Of rows, or of a quadratic in the place of a log density.
    """
    logs = np.zeros(1) if prior.scale_prior is None else np.linspace(-9.0, 9.0, 181)
    information, hold = (np.atleast_2d(arrays[name]) for name in ("information", "hold"))
    fixed, pull = arrays.get("fixed", 0.0), np.atleast_2d(arrays["pull"]) + arrays.get("fixed_pull", 0.0)
    precision = (information + fixed)[:, None, :] + hold[:, None, :] * np.exp(-2.0 * logs)[:, None]
    density = 0.5 * (np.square(pull)[:, None, :] / precision - np.log(precision)).sum(axis=2)
    density = density + np.atleast_1d(arrays["volume"])[:, None] - len(prior.mean) * logs
    if prior.scale_prior is not None:
        density = density + prior.scale_prior.log_density(np.exp(logs)) + logs
    geometry, node = np.unravel_index(density.argmax(), density.shape)
    weights = np.exp(density - density.max()).sum(axis=0)
    weights /= weights.sum()
    center = float(weights @ logs)
    width = float(np.sqrt(weights @ np.square(logs - center)))
    along = pull[geometry] / precision[geometry, node]
    if "turn" in arrays:
        along = np.asarray(arrays["turn"])[geometry] @ along
    return LikelyScale(np.array([center, width]), arrays["start"] + np.asarray(arrays["basis"]) @ along)


def coefficients_at(given: Mapping[str, Any], u: Any, more: Any, scale: Any) -> tuple[Any, Any]:
    """Return B in the directions of its basis under each geometry of the prior, and the log of the volume, (18a).

    Parameters
    ----------
    given : mapping of str to TensorVariable
        As `prior_coordinates` makes them.
    u : TensorVariable of shape (P,)
    more : TensorVariable or float
        By how much the rows say more than those that the coordinates are from: the ratio of their precisions.
    scale : TensorVariable or float
        The prior's.

    Returns
    -------
    along : TensorVariable of shape (A, P)
        Less what `prior_coordinates` starts from. Of one geometry it has no such axis, nor has the other.
    log_volume : TensorVariable of shape (A,)
    """
    import pytensor.tensor as pt

    precision = more * given["information"] + given["hold"] / scale**2
    pull = more * given["pull"]
    if "fixed" in given:
        precision, pull = precision + given["fixed"], pull + given["fixed_pull"]
    return pull / precision + u / pt.sqrt(precision), -0.5 * pt.log(precision).sum(axis=-1)


def coefficients_given_scales(
    given: Mapping[str, Any], sd: Any, u: Any, more: Any = 1.0, first: int = 0
) -> tuple[Any, list[Any]]:
    """Return coefficients given their prior's standard deviations, and logs of its density and the volume, (37).

    Parameters
    ----------
    given : mapping of str to TensorVariable
        ``curvature`` of what the rows say, and ``rows_pull``, its product with the place of most.
    sd, u : TensorVariable of shape (P,)
    more : TensorVariable or float
        As for `coefficients_at`.
    first : int
        How many of the first have priors of their own.
    """
    import pytensor.tensor as pt

    precision = pt.eye(sd.shape[0]) + more * sd[:, None] * given["curvature"] * sd
    root = pt.linalg.cholesky(precision)
    whitened = pt.linalg.solve_triangular(root, more * sd * given["rows_pull"], lower=True)
    scaled = pt.linalg.solve_triangular(root.T, whitened + u, lower=False)
    return sd * scaled, [-pt.log(pt.diagonal(root)).sum(), -0.5 * pt.square(scaled[first:]).sum()]
