"""Effects of groups in the PyMC model that a person would write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...priors.scales import InUnit
from ..nuts.pymc_priors import positive_variable
from ..problem import Problem

__all__ = ["effect_names", "group_coords", "group_levels", "group_line"]


def effect_names(problem: Problem, feature_names: Sequence[str]) -> Iterator[tuple[int, int | None, str]]:
    """Yield the grouping of each kind of effects, the feature whose slopes they are, or None, and their name."""
    groupings = problem.groupings
    if groupings is None:
        return
    for k, (name, slopes) in enumerate(zip(groupings.names, groupings.slopes, strict=True)):
        yield k, None, name
        for place in slopes:
            yield k, place, f"{name}_{feature_names[place]}"


def group_coords(problem: Problem) -> dict[str, list[Any]]:
    """Return the labels of the groups, by grouping, or numbers of readings that rows share."""
    groupings, errors = problem.groupings, problem.feature_errors
    if errors is not None and errors.groups is not None:
        return {"reading": np.unique(errors.groups[problem.rows.used]).tolist()}
    return {} if groupings is None else {name: list(labels) for name, labels in groupings.coords.items()}


def group_line(
    problem: Problem, feature_names: Sequence[str], X: Any, used: NDArray[np.intp], suffix: str
) -> Any:
    """Return what the groups' effects add to the line at some rows, on the data's scale, in the model in hand."""
    import pymc as pm

    groupings, members, scaling = problem.groupings, problem.rows.members, problem.scaling
    if groupings is None or members is None:
        return 0.0
    line: Any = 0.0
    names = effect_names(problem, feature_names)
    for (k, place, name), prior in zip(names, problem.group_priors, strict=True):
        own, unit = (prior.prior, prior.unit) if isinstance(prior, InUnit) else (prior, 1.0)
        scale = positive_variable(own, "group_prior", f"group_std_{name}{suffix}")
        unit *= scaling.y_scale / (1.0 if place is None else float(scaling.x_scale[place]))
        if suffix:
            scale = pm.Deterministic(f"group_std_{name}", scale * unit)
        of_groups = pm.Normal(f"effect_{name}_standardized", 0.0, 1.0, dims=groupings.names[k])
        effect = pm.Deterministic(f"effect_{name}", scale * of_groups, dims=groupings.names[k])
        own_line = effect[members[used, k]]
        line = line + (own_line if place is None else own_line * (X[:, place] - scaling.x_mean[place]))
    return line


def group_levels(problem: Problem, used: NDArray[np.intp], spread: NDArray[np.float64]) -> Any:
    """Return what groups add to the true features of some rows, (obs, q), in the model in hand.

    Parameters
    ----------
    problem : Problem
    used : ndarray of shape (obs,)
    spread : ndarray of shape (q,)
        What standard deviations are in units of: that of the measured features.
    """
    import pymc as pm

    groupings, members = problem.groupings, problem.rows.members
    added: Any = 0.0
    if groupings is None or members is None:
        return added
    prior, _ = problem.group_prior
    for k, name in enumerate(groupings.names):
        scale = positive_variable(prior, "group_prior", f"x_group_std_{name}_standardized", "noisy")
        scale = pm.Deterministic(f"x_group_std_{name}", scale * spread, dims="noisy")
        standard = pm.Normal(f"x_effect_{name}_standardized", 0.0, 1.0, dims=(name, "noisy"))
        level = pm.Deterministic(f"x_effect_{name}", standard * scale, dims=(name, "noisy"))
        added = added + level[members[used, k]]
    return added
