"""The HMC engine: mixture priors under the normal likelihood, without compiling anything.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...priors.base import ScaleMixture
from .._compat import one_blas_thread
from ..exact import engine as exact
from ..node_covariances import SharedBasis
from ..numerics.convergence import convergence
from ..numerics.hamiltonian import Walk, Walkers
from ..posterior import Chains, Posterior
from ..problem import Problem
from ..settings import NotTrusted, SamplerSettings
from .scales import ScalesDensity

Array = NDArray[np.float64]

NAME = "hmc"

# Walkers in one array, and groups of them, at least; moves of each that are not kept; draws of all together.
_WALKERS, _GROUPS, _TUNE, _DRAWS = 16, 4, 150, 4000

# Probability of acceptance, and how many times as many moves, of a first walk and of one more where that is in doubt
# or a coefficient's draws are worth less than so many independent ones.
_ROUNDS, _WANTED = ((0.8, 1), (0.95, 2)), 1000.0

# Of more coefficients NUTS is done sooner.
_MOST_COEFFICIENTS = 50

# As for NUTS of four chains: R-hat, effective draws, and the energy's fraction of missing information.
_R_HAT, _EFFECTIVE, _ENERGY = 1.01, 400.0, 0.3

# Shares of trajectories that may go astray, and of which no smaller step is the cure.
_DIVERGENT, _HOPELESS = 0.001, 0.01


def why_not(problem: Problem) -> str | None:
    """Return why this engine can't take the problem, or None."""
    if not isinstance(problem.coef_prior, ScaleMixture):
        return f"it is for priors with scales for each coefficient, such as Horseshoe(), not {problem.coef_prior!r}"
    if type(problem.coef_prior).log_variances is ScaleMixture.log_variances:
        return f"{problem.coef_prior!r} has no log_variances, its scales in NumPy"
    if not problem.likelihood.is_normal:
        return f"it takes the normal likelihood, not {problem.likelihood!r}"
    if problem.feature_errors is not None:
        return "it takes exact features, not errors in X, nor NaN"
    if problem.groupings is not None:
        return "it has no effects of groups (group_column)"
    if problem.correlated is not None:
        return "it takes errors of y that are independent from row to row, not y_cov or y_shared_err"
    if problem.noise.scatters:
        return f"it takes no scatter beside known errors, as noise={str(problem.noise)!r} has"
    if problem.rows.n_features > _MOST_COEFFICIENTS:
        return f"it takes {_MOST_COEFFICIENTS} features, not {problem.rows.n_features}"
    return None


def solve(problem: Problem, settings: SamplerSettings) -> Posterior:
    """Return the posterior in the model's units: a node for each draw, (86).

    Raises
    ------
    ValueError
        Where the posterior is improper, or the problem is not one for this engine.
    NotTrusted
        Where the draws are not.

    Warns
    -----
    ConvergenceWarning
        Where the coefficients fit the target without error, so that nothing bounds the noise from below.
    """
    reason = why_not(problem)
    if reason is not None:
        raise ValueError(f"The hmc engine can't take this: {reason}.")
    about = exact.solve(problem.gaussian_like(), replace(settings, roughly=True))
    density, rng = ScalesDensity.of(problem, about), np.random.default_rng(settings.seed)
    # Walkers of a group start together, so that groups agree where walkers have forgotten their start (Margossian et
    # al. 2024, Bayesian Analysis, arXiv:2110.13017).
    groups = settings.chains if settings.chains > 1 else _GROUPS
    each = -(-_WALKERS // groups)
    starts = np.repeat(density.starts(groups, rng), each, axis=0)
    n_draws = -(-max(settings.draws * settings.chains, _DRAWS) // len(starts))
    with one_blas_thread():  # matrices are small
        walkers = Walkers(density, starts, rng)
        for accepted, more in _ROUNDS:
            walkers.tune(more * _TUNE, accepted)
            found = _as_posterior(density, walkers.draw(more * n_draws), groups, rng)
            doubts, least = _doubts(found)
            hopeless = _divergent_share(found) > _HOPELESS
            if hopeless or (not doubts and least >= _WANTED):
                break
    kept = _thinned(found, settings)
    if doubts:
        said = "; ".join(doubts)
        raise NotTrusted(f"The draws of Hamiltonian Monte Carlo are not to be trusted: {said}.", kept)
    return kept


def _as_posterior(density: ScalesDensity, found: Walk, groups: int, rng: np.random.Generator) -> Posterior:
    """Return draws as nodes, the walkers of a group one after the other."""
    points = found.points.reshape(-1, density.size)
    size, p = len(points), density.design.shape[1]
    chains = Chains(
        groups, {name: values.reshape(groups, -1) for name, values in found.statistics.items()}, {}
    )
    location = np.column_stack([density.intercepts(points), density.coefficients(points, rng)])
    return Posterior(
        weights=np.full(size, 1.0 / size),
        location=location,
        covariances=SharedBasis(np.zeros((p + 1, 0)), np.zeros((size, 0))),
        noise_scale=np.exp(density.log_scales(points)),
        center=np.zeros(p),
        chains=replace(chains, scales={k: chains.split(v) for k, v in density.mixture(points).named.items()}),
    )


def _thinned(posterior: Posterior, settings: SamplerSettings) -> Posterior:
    """Return as many draws of as many chains as were asked for."""
    chains = posterior.chains
    if chains is None:  # for the type checker
        raise AssertionError
    count, size = settings.chains, len(posterior.weights) // settings.chains
    nodes = np.arange(count)[:, None] * size + np.linspace(0, size - 1, settings.draws).round().astype(int)

    def picked(values: Array) -> Array:
        return np.asarray(values.reshape(-1, *values.shape[2:])[nodes])

    every, n_nodes = nodes.ravel(), nodes.size
    return replace(
        posterior,
        weights=np.full(n_nodes, 1.0 / n_nodes),
        location=posterior.location[every],
        covariances=posterior.covariances.take(every),
        noise_scale=posterior.noise_scale[every],
        chains=Chains(
            count,
            {name: picked(values) for name, values in chains.statistics.items()},
            {name: picked(values) for name, values in chains.scales.items()},
        ),
    )


def _divergent_share(posterior: Posterior) -> float:
    """Return the share of draws that ended a trajectory which went astray."""
    return 0.0 if posterior.chains is None else posterior.chains.n_divergent / len(posterior.weights)


def _doubts(posterior: Posterior) -> tuple[list[str], float]:
    """Return what is wrong with draws, and how many independent ones every coefficient's are worth."""
    chains = posterior.chains
    if chains is None:  # for the type checker
        raise AssertionError
    columns = {"coefficients": posterior.location, "noise scale": posterior.noise_scale[:, None]}
    single = {
        name.replace("_", " "): values[..., None]
        for name, values in chains.scales.items()
        if values.ndim == 2
    }
    draws = {name: chains.split(values) for name, values in columns.items()} | single
    found = {name: convergence(values) for name, values in draws.items()}

    def worst(values: dict[str, Array], pick: Callable[[Array], float]) -> tuple[str, float]:
        at = {name: float(pick(array)) for name, array in values.items() if not np.isnan(array).all()}
        name = max(at, key=lambda name: at[name] if pick is np.nanmax else -at[name])
        return name, at[name]

    wrong = []
    name, r_hat = worst({name: one.r_hat for name, one in found.items()}, np.nanmax)
    if r_hat > _R_HAT:
        wrong.append(f"R-hat is {r_hat:.3f} for {name}, above {_R_HAT}")
    for tail in ("bulk", "tail"):
        name, effective = worst({name: getattr(one, tail) for name, one in found.items()}, np.nanmin)
        if effective < _EFFECTIVE:
            wrong.append(
                f"the {tail} effective sample size is {effective:.0f} for {name}, below {_EFFECTIVE:.0f}"
            )
    if _divergent_share(posterior) > _DIVERGENT:
        wrong.append(f"{chains.n_divergent} of {len(posterior.weights)} draws are divergent")
    if chains.energy_information < _ENERGY:
        wrong.append(
            f"the energy's fraction of missing information is {chains.energy_information:.2f}, below {_ENERGY}"
        )
    return wrong, float(np.nanmin(found["coefficients"].bulk))
