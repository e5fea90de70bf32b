"""Coordinates in which coefficients follow their prior's scale and geometry, so that neither makes a funnel.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...priors.base import CoefficientPrior, Flat
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
    basis, information, pull = [], [], []
    # Of features that are alike, a Laplace prior's gradient would be exactly zero, which samplers take for an error.
    unlike = 1.0 + 1e-12 * np.arange(p)[:, None]
    flat = bool(np.isinf(prior.sigma).any())
    # Of a flat prior any root will do: units in which no feature is small beside another.
    size = np.linalg.norm(own, axis=0)
    for root in (np.diag(1.0 / np.where(size > 0.0, size, 1.0)),) if flat else prior.roots:
        left, singular, right = np.linalg.svd(own @ root, full_matrices=True)
        size = np.zeros(p)
        size[: len(singular)] = singular
        along = np.zeros(p)
        along[: len(singular)] = (left.T @ target)[: len(singular)]
        basis.append(unlike * (root @ right.T))
        information.append(np.square(size))
        pull.append(size * along)
    arrays: dict[str, Array | float] = {
        "basis": np.array(basis),
        "information": np.array(information),
        "information_pull": np.array(pull),
        "mean": mean,
        "hold": 0.0 if flat else 1.0,
        "start": start,
    }
    if first:
        known = of_intercept[:, 0] @ of_intercept
        of_rows = rows[:, 0] @ rows
        arrays["lean"] = of_rows[1:-1]
        arrays["of_intercept"] = np.array([of_rows[0], of_rows[-1], known[0], known[-1]])
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
    logs = np.zeros(1) if prior.scale_prior is None else np.linspace(-9.0, 9.0, 181)
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
    B = np.asarray(arrays["mean"]) + np.asarray(arrays["basis"])[geometry] @ along
    if prior.intercept is not None:
        own = np.asarray(arrays["of_intercept"])
        B = np.append((own[1] - B @ np.asarray(arrays["lean"]) + own[3]) / (own[0] + own[2]), B)
    return LikelyScale(np.array([center, width]), np.asarray(arrays["start"]) + B)


def coefficients_at(given: Mapping[str, Any], u: Any, more: Any, scale: Any) -> tuple[Any, Any, Any]:
    """Return B under each geometry of the prior, and the log of the volume, with the prior and alone, (18a).

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
        Less what `prior_coordinates` starts from. Of one geometry it has no such axis, nor have the others.
    log_density : TensorVariable of shape (A,)
        Log of the volume, and, but for a constant, of the density of coefficients that are Gaussian given the scale.
    log_volume : TensorVariable of shape (A,)
        The first of these alone.
    """
    import pytensor.tensor as pt

    first, one = int("lean" in given), given["basis"].type.shape[0] == 1
    basis, information, pull = (
        given[name][0] if one else given[name] for name in ("basis", "information", "information_pull")
    )
    precision = more * information + given["hold"] / scale**2
    along = more * pull / precision + u[first:] / pt.sqrt(precision)
    through = pt.dot(basis, along) if one else (basis * along[:, None, :]).sum(axis=2)
    coef = given["mean"] + through
    log_volume = -0.5 * pt.log(precision).sum(axis=-1)
    log_density = log_volume - 0.5 * given["hold"] * pt.square(along / scale).sum(axis=-1)
    log_density = log_density - given["mean"].shape[0] * pt.log(scale)
    if not first:
        return coef, log_density, log_volume
    information, pull, prior_precision, prior_pull = (given["of_intercept"][i] for i in range(4))
    own = more * information + prior_precision
    intercept = (more * (pull - pt.dot(coef, given["lean"])) + prior_pull) / own + u[0] / pt.sqrt(own)
    # The same under every geometry.
    volume = -0.5 * pt.log(own)
    B = pt.concatenate([intercept[..., None], coef], axis=-1)
    return B, log_density + volume, log_volume + volume
