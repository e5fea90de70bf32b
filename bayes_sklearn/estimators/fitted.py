"""A fitted posterior as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..inference._compat import diagnostics
from ..inference.posterior import Posterior
from ..measurements.checks import check_coverage
from ..prediction.mixtures import normal as mixtures
from .fitting import Attenuation

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


def summarise(
    posterior: Posterior,
    names: Sequence[str],
    coverage: float,
    attenuation: Attenuation | None = None,
    *,
    noise: bool = True,
) -> pd.DataFrame:
    """Return means, standard deviations and equal-tailed limits; of a sampler's draws, how far to trust them, too.

    Parameters
    ----------
    posterior : Posterior
        On the data's scale.
    names : sequence of str
        Names of the coefficients.
    coverage : float
        Of the limits, between 0 and 1.
    attenuation : Attenuation, optional
        Where features have errors: what they would do to a fit that knew nothing of them.
    noise : bool, default=True
        Whether there is a noise scale.

    Returns
    -------
    pandas.DataFrame
        Rows: ``intercept``, the coefficients, ``noise_scale``, ``scatter``, other parameters of the likelihood, and
        ``prior_scale``, of the coefficients' prior in the model's units, where it is learned. ``attrs["geometry"]``
        are the probabilities of the geometries of a prior that has several. Of draws there are columns
        ``ess_bulk``, ``ess_tail`` and ``r_hat``, NaN for what is constant, and ``attrs`` ``divergences`` and
        ``energy_information``.

    Raises
    ------
    ValueError
        Where the coverage is not between 0 and 1.
    """
    import pandas as pd

    check_coverage(coverage)
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
            *posterior.auxiliary.items(),
            ("prior_scale", posterior.prior_scale),
        )
        if values is not None
    }
    values = np.reshape(list(others.values()), (len(others), len(posterior.weights)))
    own_moments = np.reshape([_moments(posterior, name, others) for name in others], (-1, 2))
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


def _moments(posterior: Posterior, name: str, values: Mapping[str, Array]) -> tuple[float, float]:
    """Return mean and standard deviation."""
    at, weights = values[name], posterior.weights
    if name == "prior_scale" and name in posterior.scale_masses:
        # Few nodes tell what lines are, and not how far the tail of their prior's scale reaches.
        logs, below = posterior.scale_masses[name]
        at, weights = np.exp(0.5 * (logs[1:] + logs[:-1])), np.diff(below) / (below[-1] - below[0])
    mean = float(at @ weights)
    away = at - mean
    unit = float(np.abs(away).max()) or 1.0  # squares of what is far away would overflow
    return mean, unit * float(np.sqrt(np.square(away / unit) @ weights))


def _quantiles(posterior: Posterior, name: str, probabilities: Array, values: Mapping[str, Array]) -> Array:
    if name == "noise_scale":
        return posterior.noise_quantiles(probabilities)
    return posterior.quantiles(name, values[name], probabilities)
