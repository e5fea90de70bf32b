"""The line through two methods' readings whose errors are not quite known.

They are known up to one factor, as in Deming's regression, or from replicates. Equations (n) are those of
``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning

from ...inference.importance.engine import integrates, posterior_of, structural_problem
from ...inference.importance.structural_nodes import solve_structural
from ...inference.node_covariances import Joined
from ...inference.posterior import Posterior
from ...inference.problem import Problem
from ...measurements.messages import warn
from ...priors.scales import HalfNormal
from ..fitting import settle
from ..reading import read, sampler_settings, specify
from ..regressor import BayesianErrorsInVariablesRegressor

__all__ = ["solve_common_factor", "solve_replicates"]

Array = NDArray[np.float64]

# Nodes of the fit whose errors share a factor, and of each of those with other errors of x.
_NODES, _NODES_EACH = 2**14, 2**10

# At so many errors of x fits are integrated over what replicates leave open.
_ERRORS = 7


def solve_common_factor(
    x: Array, y: Array, x_err: Array, y_err: Array, random_state: int | np.random.RandomState | None
) -> Posterior:
    """Return the posterior on the data's scale, ``noise_scale`` being what all errors are multiplied by, (79).

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
    problem, seed = _problem(model, x, y, x_err, y_err), sampler_settings(model).seed
    posterior, _, doubts = _solved(problem, _NODES, seed, together=True)
    _warn_of(doubts)
    return replace(posterior, noise_scale=likely * posterior.noise_scale)


def solve_replicates(
    model: BayesianErrorsInVariablesRegressor,
    x: Array,
    y: Array,
    x_err: Array,
    y_err: Array | None,
    degrees_of_freedom: int,
) -> Posterior | None:
    """Return the posterior under errors of x that replicates tell, (80); None: the model's has no closed form.

    Parameters
    ----------
    model : BayesianErrorsInVariablesRegressor
    x, y, x_err, y_err : ndarray of shape (n,)
        Means of replicates, or single readings, and their standard errors.
    degrees_of_freedom : int
        With which x's are known, up to a factor that is the same for all.

    Warns
    -----
    ConvergenceWarning
        Where the posterior is not to be trusted.
    """
    even = (np.arange(_ERRORS) + 0.5) / _ERRORS
    factors = np.sqrt(degrees_of_freedom / stats.chi2.ppf(even, degrees_of_freedom))
    rng, parts = np.random.default_rng(sampler_settings(model).seed), []
    for factor in factors:
        problem = _problem(model, x, y, factor * x_err, y_err)
        if not integrates(problem):
            return None
        parts.append(_solved(problem, _NODES_EACH, rng))  # errors of nodes of their own cancel out
    evidence = softmax([log_total for _, log_total, _ in parts])
    posteriors = [posterior for posterior, _, _ in parts]
    counted = 0.02  # of what weighs less nobody knows
    _warn_of(next((parts[k][2] for k in np.flatnonzero(evidence > counted) if parts[k][2]), []))
    return Posterior(
        weights=np.concatenate(
            [share * part.weights for share, part in zip(evidence, posteriors, strict=True)]
        ),
        location=np.concatenate([part.location for part in posteriors]),
        covariances=Joined.of([part.covariances for part in posteriors]),
        noise_scale=np.concatenate([part.noise_scale for part in posteriors]),
        center=posteriors[0].center,
    )


def _problem(
    model: BayesianErrorsInVariablesRegressor, x: Array, y: Array, x_err: Array, y_err: Array | None
) -> Problem:
    data = read(model, x[:, None], y, None, {"y_err": y_err}, {"X_err": x_err[:, None]})
    return settle(data.rows, data.errors, specify(model, data), "importance", sampler_settings(model))


def _solved(
    problem: Problem, n_nodes: int, seed: int | np.random.Generator, *, together: bool = False
) -> tuple[Posterior, float, list[str]]:
    """Return the posterior on the data's scale, the log of the integral over it, and why not to trust it."""
    structural, units = structural_problem(problem)
    nodes = solve_structural(replace(structural, together=together), n_nodes, seed)
    posterior = problem.scaling.to_data(posterior_of(problem, nodes, units), problem.noise_unit)
    return posterior, nodes.sample.log_total, nodes.sample.doubts


def _warn_of(doubts: list[str]) -> None:
    if doubts:
        warn(
            f"The comparison is not to be trusted: {' and '.join(doubts)}. Compare more samples, over a wider range;"
            " or state the errors.",
            ConvergenceWarning,
        )


def _deming_factor(x: Array, y: Array, x_err: Array, y_err: Array) -> float:
    """Return about what errors have to be multiplied by: what is left beside the first principal component."""
    units = [float(np.sqrt(np.mean(np.square(error)))) for error in (x_err, y_err)]
    least, most = np.linalg.eigvalsh(np.cov(np.column_stack([x, y]).T / np.array(units)[:, None]))
    rounding = 1e-14
    if not least > rounding * most:
        raise ValueError(
            "x and y lie on a line, or one of them does not vary: nothing tells how large errors are. State x_err"
            " and y_err."
        )
    return float(np.sqrt(least))
