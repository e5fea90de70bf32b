"""The line through two methods' readings whose errors are known up to one factor: Deming's regression, integrated.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ...inference.importance.engine import posterior_of, structural_problem
from ...inference.importance.structural_nodes import solve_structural
from ...inference.posterior import Posterior
from ...measurements.messages import warn
from ...priors.scales import HalfNormal
from ..fitting import settle
from ..reading import read, sampler_settings, specify
from ..regressor import BayesianErrorsInVariablesRegressor

__all__ = ["solve_common_factor"]

Array = NDArray[np.float64]


def solve_common_factor(
    x: Array, y: Array, x_err: Array, y_err: Array, random_state: int | np.random.RandomState | None
) -> Posterior:
    """Return the posterior on the data's scale, ``noise_scale`` being what all errors are multiplied by, (77).

    Parameters
    ----------
    x, y, x_err, y_err : ndarray of shape (n,)

    Raises
    ------
    ValueError
        Where the values lie on a line, or only one of them has errors.

    Warns
    -----
    ConvergenceWarning
        Where the posterior is not to be trusted.
    """
    if not (x_err > 0.0).all() or not (y_err > 0.0).all():
        raise ValueError("Errors that are known up to a factor must be positive, in x and in y.")
    likely = _deming_factor(x, y, x_err, y_err)
    # Near what it will be: the engine's coordinates take features' errors to be about as stated.
    x_err, y_err = likely * x_err, likely * y_err
    spread = float(np.std(y)) / float(np.sqrt(np.mean(np.square(y_err))))
    model = BayesianErrorsInVariablesRegressor(
        noise="scaled", noise_prior=HalfNormal(spread), random_state=random_state
    )
    data = read(model, x[:, None], y, None, {"y_err": y_err}, {"X_err": x_err[:, None]})
    settings = sampler_settings(model)
    problem = settle(data.rows, data.errors, specify(model, data), "importance", settings)
    structural, units = structural_problem(problem)
    nodes = solve_structural(replace(structural, together=True), n_nodes=2**13, seed=settings.seed)
    if nodes.sample.doubts:
        warn(
            f"The comparison is not to be trusted: {' and '.join(nodes.sample.doubts)}. Compare more samples, over a wider range;"
            " or state the errors.",
            ConvergenceWarning,
        )
    posterior = problem.scaling.to_data(posterior_of(problem, nodes, units), problem.noise_unit)
    return replace(posterior, noise_scale=likely * posterior.noise_scale)


def _deming_factor(x: Array, y: Array, x_err: Array, y_err: Array) -> float:
    """Return about what errors have to be multiplied by: what is left beside the first principal component."""
    scaled = np.column_stack(
        [values / np.sqrt(np.mean(error**2)) for values, error in ((x, x_err), (y, y_err))]
    )
    least, most = np.linalg.eigvalsh(np.cov(scaled.T))
    rounding = 1e-14
    if not least > rounding * most:
        raise ValueError(
            "x and y lie on a line, or one of them does not vary: nothing tells how large errors are. State x_err"
            " and y_err."
        )
    return float(np.sqrt(least))
