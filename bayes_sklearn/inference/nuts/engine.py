"""The NUTS engine: which formulation a problem is put to a sampler in."""

from __future__ import annotations

from ...likelihoods.base import Likelihood
from ...measurements.messages import check_installed
from ...priors.base import ScaleMixture
from ..posterior import Posterior
from ..problem import Problem
from ..settings import SamplerSettings, without_noise
from . import compressed_rows, mixture_data, rows, structural
from .prior_coordinates import is_regressed
from .pymc_priors import missing_distribution
from .sampler import SamplerOptions, check_convergence, sample

NAME = "nuts"


def why_not(problem: Problem) -> str | None:
    """Return why this engine can't take the problem, or None."""
    if problem.correlated is not None:
        return "it takes errors of y that are independent from row to row, not y_cov or y_shared_err"
    if problem.feature_errors is not None and not problem.feature_errors_known:
        return "it takes errors of features as they are stated, not noise='common' or x_error_dof"
    if problem.feature_errors is not None and problem.feature_errors.readings is not None:
        return "it doesn't take readings of features that are limits (X_censored)"
    if problem.feature_errors is not None and problem.feature_errors.groups is not None:
        return "it has no rows that share a reading (X_err_groups), but to_pymc has"
    if problem.groupings is not None and problem.feature_errors is not None:
        if problem.n_components > 1 or problem.outliers:
            return (
                "beside groups (group_column) true features are normal, and their errors: not"
                " x_distribution='mixture', nor x_error_distribution='outliers'"
            )
        if problem.feature_errors.with_target is not None and not problem.likelihood.is_normal:
            return "beside groups (group_column) Xy_cov goes with likelihood='normal' alone"
    for method in ("normal_parts", "normal_parts_graph"):
        reason = without_noise(problem, method)
        if reason is not None:
            return reason
    of, limits = problem.likelihood.population, problem.limits
    limited = problem.truncation is not None or (limits is not None and not limits.say_nothing)
    over_lines = problem.truncation is not None and problem.feature_errors is not None
    no_tails = over_lines or type(of).tails_graph is Likelihood.tails_graph
    if limited and not of.has_noise_scale and no_tails:
        return f"there is no graph of how likely {of!r} lets targets lie between limits"
    missing = missing_distribution(problem)
    return None if missing is None else f"PyMC has no distribution for {missing}"


def solve(problem: Problem, settings: SamplerSettings) -> Posterior:
    """Return the posterior in the model's units: a node for each draw, (15).

    Raises
    ------
    ValueError
        Where the posterior is improper, or the sampler doesn't take the settings.
    ImportError
        Where PyMC or the sampler is not installed.

    Warns
    -----
    ConvergenceWarning
        Where the draws are not to be trusted: what is wrong, and what to change.
    """
    check_installed("NUTS (inference='nuts', or 'auto' where no other engine will do)", "pymc", "arviz")
    if problem.feature_errors is None:
        compressed = problem.likelihood.is_normal and problem.groupings is None
        of = compressed_rows if compressed else rows
    else:
        linear = problem.likelihood.is_normal and problem.n_components == 1 and not problem.outliers
        linear = linear and problem.truncation is None
        linear = linear and not isinstance(problem.coef_prior, ScaleMixture) and problem.groupings is None
        of = structural if linear else mixture_data
    # With errors of features, where the true ones' spread may be small, the posterior is bent: not in the coordinates
    # of what data and priors tell, but for a noise that may be small as well.
    straight = of is mixture_data and problem.n_components == 1 and is_regressed(problem)
    # So it is of few groups, whose standard deviation may be small or large.
    accept = 0.95 if problem.groupings is not None else 0.9
    accept = 0.95 if problem.feature_errors is not None and not straight else accept
    if straight and not problem.has_noise_scale:
        accept = 0.8
    options = SamplerOptions.of(settings, accept)
    for formulation in of.formulations(problem, settings):
        draws = sample(formulation, settings, options)
        if formulation.holds(draws):
            break
    posterior = formulation.posterior(draws)
    check_convergence(problem, posterior, settings, options)
    return posterior
