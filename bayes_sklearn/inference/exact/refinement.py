"""Digits that a triangle of nearly collinear columns loses, from the residuals in extended precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...priors.base import Flat
from ..posterior import Posterior
from ..problem import Problem

Array = NDArray[np.float64]

__all__ = ["refined"]


def refined(problem: Problem, posterior: Posterior) -> Posterior:
    """Return the posterior with its mean improved by one step, where columns with flat priors are nearly collinear.

    One step of iterative refinement (Björck 1967, BIT 7:257-278): least squares' mean is the same at every node.

    Parameters
    ----------
    problem : Problem
        With its rows in memory.
    posterior : Posterior
        On the data's scale.
    """
    flat = isinstance(problem.coef_prior, Flat) and (
        not problem.fit_intercept or isinstance(problem.intercept_prior, Flat)
    )
    if not flat or problem.noise.scatters:
        return posterior
    rows, root = problem.rows, posterior.root
    square = float(posterior.weights @ np.square(posterior.noise_scale))
    precision = 1.0 if problem.standard_error is None else np.square(1.0 / problem.standard_error)
    weight = np.broadcast_to(precision * (1.0 if rows.frequency is None else rows.frequency), len(rows.y))
    spread = problem.state.standard_deviation[:-1]
    inflation = np.square(np.linalg.norm(root, axis=0)[1:] * spread) * weight.sum() / square
    # Variance inflation from which digits are missed, and rows that are looked at together.
    collinear, block_numbers = 1e4, 2**16
    if not inflation.size or not 1.0 < inflation.max() / collinear < np.inf:
        return posterior
    mean = posterior.mean.astype(np.longdouble)
    place = rows.here(np.append(posterior.center, posterior.mean[0])).astype(np.longdouble)
    pull = np.zeros(len(mean), dtype=np.longdouble)
    for first in range(0, len(rows.y), block_numbers):
        block = slice(first, first + block_numbers)
        away = rows.take(block).astype(np.longdouble) - place[:-1]
        residual = weight[block] * (rows.y[block].astype(np.longdouble) - place[-1] - away @ mean[1:])
        pull += np.append(residual.sum(), residual @ away)
    step = root.T @ (root @ pull.astype(np.float64)) / square
    return replace(posterior, location=posterior.location + step) if np.isfinite(step).all() else posterior
