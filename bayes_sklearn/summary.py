"""A fitted posterior as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import mixtures
from .checks import check_coverage
from .inference import Posterior

if TYPE_CHECKING:
    import pandas as pd


def summarise(posterior: Posterior, names: Sequence[str], coverage: float) -> pd.DataFrame:
    """Return means, standard deviations and equal-tailed limits.

    Parameters
    ----------
    posterior : Posterior
        On the data's scale.
    names : sequence of str
        Names of the coefficients.
    coverage : float
        Of the limits, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        Rows: ``intercept``, the coefficients, ``noise_scale``.

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
    return pd.DataFrame(
        {
            "mean": np.append(functionals @ posterior.mean, scale_mean),
            "sd": np.append(deviations, scale_sd),
            f"lower_{label}": np.append(limits[0], scale_limits[0]),
            f"upper_{label}": np.append(limits[1], scale_limits[1]),
        },
        index=["intercept", *names, "noise_scale"],
    )
