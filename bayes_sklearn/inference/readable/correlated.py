"""Errors of y that go together, in the readable model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Problem

__all__ = ["normal_together"]


def normal_together(
    problem: Problem, line: Any, values: Mapping[str, Any], used: NDArray[np.intp]
) -> dict[str, Any]:
    """Return the parameters of a multivariate normal target in the model in hand, with its data ``y_cov``.

    Parameters
    ----------
    problem : Problem
    line : tensor
        Of the rows in use, in the data's unit.
    values : mapping of str to tensor
        The noise scale and the scatter, in the data's unit.
    used : ndarray of intp
        Positions of the rows.
    """
    import pymc as pm
    import pytensor.tensor as pt

    covariance = pm.Data("y_cov", problem.covariance_of(used), dims=("obs", "obs_other"))
    multiple, scatter = problem.noise.parts(values.get("noise_scale"), values.get("scatter"))
    return {"mu": line, "cov": multiple**2 * covariance + scatter**2 * pt.eye(len(used))}
