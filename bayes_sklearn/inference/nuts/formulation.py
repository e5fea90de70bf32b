"""A problem as a sampler gets it, and what comes back: what all formulations share.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...priors.coefficients import PoweredCorrelation
from ..node_covariances import SharedBasis
from ..posterior import Chains, Posterior
from ..problem import Problem
from ..structural.normal_equations import signal_prior
from .pymc_priors import priors_of

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Draws:
    """What a sampler returns."""

    values: dict[str, Array]
    """(chain, draw, ...) by the names in the model."""
    statistics: dict[str, Array]
    """(chain, draw)"""

    @property
    def chains(self) -> Chains:
        """How the draws came about."""
        return Chains(len(self.values["u"]), self.statistics, {})

    def flat(self, name: str) -> Array:
        """Return a variable's draws, chain after chain, (G, ...)."""
        values = self.values[name]
        return values.reshape(-1, *values.shape[2:])

    def without(self, *names: str) -> dict[str, Array]:
        """Return the other variables, (chain, draw, ...) by name."""
        return {name: values for name, values in self.values.items() if name not in ("u", *names)}


@dataclass(frozen=True, eq=False)
class Formulation:
    """A problem as a sampler gets it."""

    problem: Problem
    arrays: Mapping[str, Array | float]
    """All that varies from data to data of one structure."""
    build: Callable[[Problem, Mapping[str, Array | float]], pm.Model]
    """Makes the model of a problem, of which the structure alone counts, and a first set of arrays."""
    posterior: Callable[[Draws], Posterior]
    """Makes nodes of equal weight of draws."""
    holds: Callable[[Draws], bool] = lambda draws: True
    """Says whether the model is the problem's wherever draws are."""

    @property
    def structure(self) -> tuple[object, ...]:
        """Two of the same share one compiled model."""
        return structure(self.problem)

    def model(self) -> pm.Model:
        """Return the model on these arrays."""
        return self.build(self.problem, self.arrays)


def structure(problem: Problem) -> tuple[object, ...]:
    """Return what two problems must share for one compiled model to serve both."""
    kinds = tuple((role, type(prior)) for role, prior in priors_of(problem).items())
    errors = problem.feature_errors
    of_features: tuple[object, ...] | None = None
    if errors is not None:  # the normal pair of features and target has room for errors that go together
        together = errors.with_target is not None and not problem.likelihood.is_normal
        of_features = len(errors.noisy), problem.n_components, together, problem.unmeasured is not None
    likelihood = problem.likelihood.structure
    powers, cauchy = 0, False
    if isinstance(problem.coef_prior, PoweredCorrelation):
        powers, cauchy = np.size(problem.coef_prior.power), signal_prior(problem.coef_prior).cauchy
    limits = None if problem.truncation is None else tuple(np.isfinite(problem.truncation))
    groups = None if problem.groupings is None else (problem.groupings.sizes, problem.groupings.slopes)
    return (
        problem.noise,
        problem.rows.n_features,
        of_features,
        likelihood,
        kinds,
        powers,
        cauchy,
        limits,
        groups,
    )


def packed(data: Mapping[str, Array | float]) -> dict[str, Array]:
    """Return the values of the two `pm.Data`: one vector of all whose size the structure settles, and the rows.

    Every array of its own would cost half a second of compiling.
    """
    numbers = [np.ravel(value) for name, value in data.items() if name != "factor"]
    return {"numbers": np.concatenate(numbers).astype(np.float64), "rows": np.asarray(data["factor"])}


def unpacked(data: Mapping[str, Array | float]) -> dict[str, Any]:
    """Return the data by name as parts of the two `pm.Data`."""
    import pymc as pm

    values = packed(data)
    numbers = pm.Data("numbers", values["numbers"], shape=values["numbers"].shape)
    given = {"factor": pm.Data("rows", values["rows"], shape=(None, *values["rows"].shape[1:]))}
    start = 0
    for name, value in data.items():
        if name == "factor":
            continue
        size, shape = np.size(value), np.shape(value)
        part = numbers[start : start + size] if shape else numbers[start]
        given[name] = part.reshape(shape) if len(shape) > 1 else part
        start += size
    return given


def without_gaps(problem: Problem, columns: Any, order: int) -> tuple[list[Any], Any]:
    """Return the columns that say of each of (w, y) where it was not measured, none if all was, and the others."""
    if problem.unmeasured is None:
        return [], columns
    return [columns[i] for i in range(order)], columns[order:]


def nodes_of(
    location: Array,
    noise_scale: Array | None,
    draws: Draws,
    scales: Mapping[str, Array],
    auxiliary: Mapping[str, Array] | None = None,
) -> Posterior:
    """Return coefficients, (G, P), and what else was drawn as nodes of equal weight."""
    size, P = location.shape
    return Posterior(
        weights=np.full(size, 1.0 / size),
        location=location,
        covariances=SharedBasis(np.zeros((P, 0)), np.zeros((size, 0))),
        noise_scale=np.ones(size) if noise_scale is None else noise_scale,
        center=np.zeros(P - 1),
        chains=replace(draws.chains, scales=scales),
        auxiliary=auxiliary or {},
    )


def picked(draws: Draws, seed: int) -> tuple[NDArray[np.intp] | None, Array | None]:
    """Return a geometry of the coefficients' prior for each draw, and their probabilities; None: there is one."""
    if "geometry" not in draws.values:
        return None, None
    log_density = draws.flat("geometry")
    probability = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    size = len(probability)
    below = np.random.default_rng(seed).random(size)[:, None] > probability.cumsum(axis=1)[:, :-1]
    return below.sum(axis=1), probability.mean(axis=0)


def following_nodes(
    problem: Problem,
    draws: Draws,
    seed: int,
    noise_scale: Array | None,
    auxiliary: Mapping[str, Array] | None = None,
) -> Posterior:
    """Return draws of coefficients that follow their prior as nodes: each of one of its geometries, (18b)."""
    B, (chosen, geometry) = draws.flat("B"), picked(draws, seed)
    if chosen is not None:
        B = B[np.arange(len(B)), chosen]
    location = np.zeros((len(B), problem.rows.n_features + 1))
    location[:, int(not problem.fit_intercept) :] = B
    return replace(
        nodes_of(location, noise_scale, draws, {}, auxiliary),
        prior_scale=draws.flat("prior_scale") if "prior_scale" in draws.values else None,
        geometry=geometry,
    )
