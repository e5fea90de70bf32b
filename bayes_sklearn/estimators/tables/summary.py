"""The posterior as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...inference._compat import diagnostics
from ...inference.posterior import Posterior
from ...prediction.mixtures import normal as mixtures
from ..fitting import Attenuation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["moments", "summary_of"]

Array = NDArray[np.float64]


def summary_of(
    posterior: Posterior,
    names: Sequence[str],
    coverage: float,
    attenuation: Attenuation | None = None,
    *,
    noise: bool = True,
) -> pd.DataFrame:
    """Return the table; of a sampler's draws, how far to trust them, too."""
    import pandas as pd

    tails = 0.5 + np.array([-0.5, 0.5]) * coverage
    # The user's intercept is at x = 0, the posterior's at its center.
    functionals = np.eye(len(posterior.mean))
    functionals[0, 1:] = -posterior.center
    means, variances = posterior.linear(functionals)
    limits = [
        mixtures.quantile(np.full(len(means), tail), posterior.weights, means, np.sqrt(variances))
        for tail in tails
    ]
    deviations = np.linalg.norm(posterior.root @ functionals.T, axis=0)
    others = {
        name: values
        for name, values in (
            ("noise_scale", posterior.noise_scale if noise else None),
            ("scatter", posterior.scatter),
            *posterior.further.items(),
            ("prior_scale", posterior.prior_scale),
            *([] if posterior.effects is None else posterior.effects.by_key.items()),
        )
        if values is not None
    }
    values = np.reshape(list(others.values()), (len(others), len(posterior.weights)))
    own_moments = np.reshape([moments(posterior, name, others) for name in others], (-1, 2))
    own_limits = np.reshape([_quantiles(posterior, name, tails, others) for name in others], (-1, 2))
    label = f"{100.0 * coverage:g}%"
    table = pd.DataFrame(
        {
            "mean": np.append(functionals @ posterior.mean, own_moments[:, 0]),
            "sd": np.append(deviations, own_moments[:, 1]),
            f"lower_{label}": np.append(limits[0], own_limits[:, 0]),
            f"upper_{label}": np.append(limits[1], own_limits[:, 1]),
        },
        index=["intercept", *names, *others],
    )
    if attenuation is not None:
        for measure, of_features in attenuation._asdict().items():
            table[measure] = np.concatenate([[np.nan], of_features, np.full(len(others), np.nan)])
    if posterior.geometry is not None:
        table.attrs["geometry"] = posterior.geometry.tolist()
    chains = posterior.chains
    if chains is not None:
        draws = np.column_stack([posterior.location @ functionals.T, values.T])
        found = diagnostics({"row": chains.split(draws)})
        constant = np.ptp(draws, axis=0) == 0.0
        for measure in ("ess_bulk", "ess_tail", "r_hat"):
            table[measure] = np.where(constant, np.nan, found[measure]["row"])
        table.attrs |= {"divergences": chains.n_divergent, "energy_information": chains.energy_information}
    return table


def moments(posterior: Posterior, name: str, values: Mapping[str, Array]) -> tuple[float, float]:
    """Return mean and standard deviation."""
    at, weights = values[name], posterior.weights
    if name.startswith(("prior_scale", "group_std")) and name in posterior.scale_masses:
        # Few nodes tell what lines are, and not how far the tail of their prior's scale reaches.
        logs, below = posterior.scale_masses[name]
        at, weights = np.exp(0.5 * (logs[1:] + logs[:-1])), np.diff(below) / (below[-1] - below[0])
    if np.ptp(at) == 0.0:
        return float(at[0]), 0.0
    mean = float(at @ weights)
    away = at - mean
    unit = float(np.abs(away).max()) or 1.0  # squares of what is far away would overflow
    return mean, unit * float(np.sqrt(np.square(away / unit) @ weights))


def _quantiles(posterior: Posterior, name: str, probabilities: Array, values: Mapping[str, Array]) -> Array:
    if name == "noise_scale":
        return posterior.noise_quantiles(probabilities)
    return posterior.quantiles(name, values[name], probabilities)
