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
from ..conditional_prior import ConditionalPrior
from ..problem import Problem

__all__ = [
    "coefficients_at",
    "follows_prior",
    "gaussian_given_scale",
    "is_conditional",
    "is_hierarchical",
    "likely_scale",
    "pilot_of",
    "prior_coordinates",
    "scale_is_learned",
]

Array = NDArray[np.float64]

# Log scales among which the likely ones of a prior are looked for.
_LOG_SCALES = np.linspace(-9.0, 9.0, 181)


def follows_prior(problem: Problem) -> bool:
    """Return whether the coefficients are sampled in these coordinates.

    Under noise "auto", too: there the rows' weights depend on what is sampled, and so does what they say.
    """
    if isinstance(problem.coef_prior, ScaleMixture):
        return False
    return is_hierarchical(problem.coef_prior) or problem.noise.combined


def is_hierarchical(prior: CoefficientPrior) -> bool:
    """Return whether a prior has a scale that is learned, or geometries."""
    return prior.scale_prior is not None or isinstance(prior, PoweredCorrelation)


def scale_is_learned(problem: Problem) -> bool:
    """Return whether the scale of the coefficients' prior is sampled.

    On the signal that of features with errors is no scale of the others' coefficients, (20a), but one of its own.
    """
    prior, errors = problem.coef_prior, problem.feature_errors
    of_others = errors is None or len(errors.noisy) < problem.rows.n_features
    return prior.scale_prior is not None and (of_others or not isinstance(prior, PoweredCorrelation))


def is_conditional(prior: CoefficientPrior) -> bool:
    """Return whether coefficients are Gaussian given the prior's scale and its geometry."""
    return isinstance(prior, Normal | Flat | PoweredCorrelation)


def gaussian_given_scale(problem: Problem, design: Array | None = None) -> ConditionalPrior:
    """Return the priors of B's free entries given the scale, or in the place of others Gaussians about as wide.

    Parameters
    ----------
    problem : Problem
    design : ndarray of shape (K, p), optional
        Rows whose products are those of the centred features, where these are not to be the problem's own.
    """
    p, prior, intercept = problem.rows.n_features, problem.coef_prior, problem.intercept_prior
    if not is_conditional(prior):
        prior = Normal(*prior.gaussian_like("coef_prior", p))
    if intercept is not None and intercept.gaussian("intercept_prior", 1) is None:
        intercept = Normal(*intercept.gaussian_like("intercept_prior", 1))
    if design is None or not problem.geometry_is_own:
        design = problem.prior_design
    found = ConditionalPrior.of(prior, intercept, p, design)
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


def prior_coordinates(prior: ConditionalPrior, rows: Array) -> dict[str, Array | float]:
    """Return the numbers that `coefficients_at` takes, (18a).

    Parameters
    ----------
    prior : ConditionalPrior
    rows : ndarray of shape (K, P + 1)
        What is known of B's free entries, as rows of unit noise: design and, last, target.
    """
    p = len(prior.mean)
    triangle = np.asarray(np.linalg.qr(rows, mode="r"))
    first = rows.shape[1] - 1 - p
    own, target = triangle[first:, first:-1], triangle[first:, -1]
    target = target - own @ prior.mean
    basis, information, pull = [], [], []
    flat = bool(np.isinf(prior.sigma).any())
    for root in (np.eye(p),) if flat else prior.roots:
        left, singular, right = np.linalg.svd(own @ root, full_matrices=True)
        size = np.zeros(p)
        size[: len(singular)] = singular
        along = np.zeros(p)
        along[: len(singular)] = (left.T @ target)[: len(singular)]
        basis.append(root @ right.T)
        information.append(np.square(size))
        pull.append(size * along)
    arrays: dict[str, Array | float] = {
        "basis": np.array(basis),
        "information": np.array(information),
        "information_pull": np.array(pull),
        "mean": prior.mean,
        "hold": 0.0 if flat else 1.0,
    }
    if prior.intercept is not None:
        mean, sd = prior.intercept
        precision = 0.0 if np.isinf(sd) else sd**-2.0
        arrays["lean"] = triangle[0, 0] * triangle[0, 1:-1]
        arrays["of_intercept"] = np.array(
            [
                triangle[0, 0] ** 2,
                triangle[0, 0] * triangle[0, -1],
                precision,
                precision * (mean if precision else 0.0),
            ]
        )
    return arrays


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
    logs = np.zeros(1) if prior.scale_prior is None else _LOG_SCALES
    information, pull = np.asarray(arrays["information"]), np.asarray(arrays["information_pull"])
    weak = np.asarray(arrays["hold"]) * np.exp(-2.0 * logs)
    precision = information[:, None, :] + weak[:, None]
    density = 0.5 * (np.square(pull)[:, None, :] / precision - np.log(precision)).sum(axis=2)
    density = density - len(prior.mean) * logs
    if prior.scale_prior is not None:
        density = density + prior.scale_prior.log_density(np.exp(logs)) + logs
    geometry, node = np.unravel_index(density.argmax(), density.shape)
    weights = np.exp(density - density.max()).sum(axis=0)
    weights /= weights.sum()
    center = float(weights @ logs)
    width = float(np.sqrt(weights @ np.square(logs - center)))
    along = pull[geometry] / precision[geometry, node]
    B = prior.mean + np.asarray(arrays["basis"])[geometry] @ along
    if prior.intercept is not None:
        own = np.asarray(arrays["of_intercept"])
        B = np.append((own[1] - B @ np.asarray(arrays["lean"]) + own[3]) / (own[0] + own[2]), B)
    return LikelyScale(np.array([center, width]), B)


def coefficients_at(given: Mapping[str, Any], u: Any, more: Any, scale: Any) -> tuple[Any, Any, Any]:
    """Return B under each geometry of the prior, the log of the volume, and what the prior is a density of, (18a).

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
    B : TensorVariable of shape (A, P)
    log_density : TensorVariable of shape (A,)
        Log of the volume, and, but for a constant, of the density of coefficients that are Gaussian given the scale.
    log_volume : TensorVariable of shape (A,)
        The first of these alone.
    """
    import pytensor.tensor as pt

    first = int("lean" in given)
    precision = more * given["information"] + given["hold"] / scale**2
    along = more * given["information_pull"] / precision + u[first:] / pt.sqrt(precision)
    coef = given["mean"] + (given["basis"] * along[:, None, :]).sum(axis=2)
    log_volume = -0.5 * pt.log(precision).sum(axis=1)
    log_density = log_volume - 0.5 * given["hold"] * pt.square(along / scale).sum(axis=1)
    log_density = log_density - given["mean"].shape[0] * pt.log(scale)
    if not first:
        return coef, log_density, log_volume
    information, pull, prior_precision, prior_pull = (given["of_intercept"][i] for i in range(4))
    own = more * information + prior_precision
    intercept = (more * (pull - pt.dot(coef, given["lean"])) + prior_pull) / own + u[0] / pt.sqrt(own)
    # The same under every geometry.
    volume = -0.5 * pt.log(own)
    return pt.concatenate([intercept[:, None], coef], axis=1), log_density + volume, log_volume + volume
