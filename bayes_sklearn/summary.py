"""A fitted posterior as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import mixtures
from .checks import check_coverage
from .fitting import Attenuation
from .inference import Posterior
from .inference._compat import diagnostics

if TYPE_CHECKING:
    import pandas as pd


def summarise(
    posterior: Posterior, names: Sequence[str], coverage: float, attenuation: Attenuation | None = None
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

    Returns
    -------
    pandas.DataFrame
        Rows: ``intercept``, the coefficients, ``noise_scale``. Of draws there are columns ``ess_bulk``, ``ess_tail``
        and ``r_hat``, NaN for what is constant, and ``attrs`` ``divergences`` and ``energy_information``.

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
    scale = posterior.noise_scale
    scale_mean = posterior.weights @ scale
    scale_sd = np.sqrt(posterior.weights @ np.square(scale - scale_mean))
    scale_limits = posterior.noise_quantiles(tails)
    label = f"{100.0 * coverage:g}%"
    table = pd.DataFrame(
        {
            "mean": np.append(functionals @ posterior.mean, scale_mean),
            "sd": np.append(deviations, scale_sd),
            f"lower_{label}": np.append(limits[0], scale_limits[0]),
            f"upper_{label}": np.append(limits[1], scale_limits[1]),
        },
        index=["intercept", *names, "noise_scale"],
    )
    if attenuation is not None:
        for measure, of_features in attenuation._asdict().items():
            table[measure] = np.concatenate([[np.nan], of_features, [np.nan]])
    chains = posterior.chains
    if chains is not None:
        values = np.column_stack([posterior.location @ functionals.T, scale])
        found = diagnostics({"row": chains.split(values)})
        constant = np.ptp(values, axis=0) == 0.0
        for measure in ("ess_bulk", "ess_tail", "r_hat"):
            table[measure] = np.where(constant, np.nan, found[measure]["row"])
        table.attrs |= {"divergences": chains.n_divergent, "energy_information": chains.energy_information}
    return table
