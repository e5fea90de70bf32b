"""The exact engine where the prior's scale is learned: nodes over noise, prior scale and geometry.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .conditional_prior import ConditionalPrior, spreads
from .given_scale import GivenScale
from .learned_scale import ScaleIntegrand
from .problem import Problem

Array = NDArray[np.float64]

__all__ = ["integrand"]


def integrand(
    problem: Problem,
    prior: ConditionalPrior,
    factor: Array,
    *,
    noise: bool,
    ratio: float | None = None,
) -> ScaleIntegrand:
    """Return the integrand for rows of unit error.

    Parameters
    ----------
    problem : Problem
    prior : ConditionalPrior
        With a scale that is learned and, if there is an intercept, a flat prior of that.
    factor : ndarray of shape (K, p + 2)
    noise : bool
        Whether a noise scale multiplies the errors; else it is one.
    ratio : float, optional
        Noise "auto": the scatter by the noise scale, which is part of the rows' errors.
    """
    if prior.scale_prior is None:
        raise ValueError("The scale of this prior is not learned.")
    n_flat, size = int(prior.intercept is not None), len(prior.mean)
    mean = np.append(np.zeros(n_flat), prior.mean)
    sd = np.append(np.full(n_flat, np.inf), np.ones(size))
    if prior.powers is not None and factor is problem.factor[0] and problem.geometry_is_own:
        # Principal directions are those of the rows themselves: one decomposition serves all powers.
        plain = GivenScale.of(factor, mean, sd, np.diag(prior.sigma))
        spread = spreads(plain.singular / prior.sigma[0])
        given = [plain.stretched(spread**-power) for power in prior.powers]
    else:
        given = [GivenScale.of(factor, mean, sd, root) for root in prior.roots]
    return ScaleIntegrand(
        given,
        problem.total_weight,
        prior.scale_prior,
        problem.noise_prior if noise else None,
        float(np.log(problem.resolution())),
        None if ratio is None else (problem.scatter_prior, float(np.log(ratio))),
    )
