"""Whether draws of chains are to be trusted, in words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ._compat import diagnostics
from .posterior import Posterior
from .problem import Problem, SamplerSettings
from .sampler import SamplerOptions

Array = NDArray[np.float64]

__all__ = ["check_convergence"]

# Bounds of Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021, Bayesian Analysis 16:667-718 (R-hat, effective draws
# a chain), and of Betancourt 2016, arXiv:1604.00695 (energy).
_R_HAT, _EFFECTIVE, _ENERGY = 1.01, 100.0, 0.3


def check_convergence(
    problem: Problem, posterior: Posterior, settings: SamplerSettings, options: SamplerOptions
) -> None:
    """Warn of draws that are not to be trusted, and say what to change."""
    chains = posterior.chains
    if chains is None:
        return
    first = 0 if problem.fit_intercept else 1
    draws = {"coefficients": chains.split(posterior.location[:, first:])}
    if problem.has_noise_scale:
        draws["noise scale"] = chains.split(posterior.noise_scale)
    draws |= {name: chains.split(values) for name, values in posterior.auxiliary.items()}
    if posterior.true_features is not None:
        variances = np.diagonal(posterior.true_features.variance, axis1=1, axis2=2)
        draws["true features' spread"] = chains.split(np.sqrt(variances))
    draws |= {name.replace("_", " "): values for name, values in chains.scales.items() if values.ndim == 2}
    found = diagnostics(draws)
    r_hat = _worst(found["r_hat"], np.nanmax)
    least = {tail: _worst(found[f"ess_{tail}"], np.nanmin) for tail in ("bulk", "tail")}
    divergent, energy = chains.n_divergent, chains.energy_information
    wrong = []
    more = f"raise draws (now {settings.draws}) or tune (nuts_kwargs={{'tune': {2 * options.tune}}})"
    if r_hat.value > _R_HAT:
        wrong.append(
            f"R-hat is {r_hat.value:.3f} for {r_hat.name}, above {_R_HAT}: the chains disagree; {more}"
        )
    for tail, effective in least.items():
        if effective.value < _EFFECTIVE * settings.chains:
            wrong.append(
                f"the {tail} effective sample size is {effective.value:.0f} for {effective.name}, below"
                f" {_EFFECTIVE * settings.chains:.0f}: raise draws (now {settings.draws})"
            )
    if divergent:
        wrong.append(
            f"{divergent} of {settings.chains * settings.draws} draws are divergent: raise target_accept"
            f" (nuts_kwargs={{'target_accept': {1.0 - 0.5 * (1.0 - options.target_accept):g}}}), or use a prior with"
            " lighter tails"
        )
    if energy < _ENERGY:
        wrong.append(
            f"the energy's fraction of missing information is {energy:.2f}, below {_ENERGY}: heavy tails are"
            f" explored too slowly; {more}, or use a prior with lighter tails"
        )
    if wrong:
        warnings.warn(
            f"The draws of NUTS are not to be trusted: {'; '.join(wrong)}.", ConvergenceWarning, stacklevel=2
        )


class _Named(NamedTuple):
    name: str
    value: float


def _worst(values: Mapping[str, Array], pick: Any) -> _Named:
    """Return the worst value of all, and whose it is."""
    picked = [_Named(name, float(pick(array))) for name, array in values.items() if not np.isnan(array).all()]
    if not picked:  # too few draws to tell
        return _Named("all", np.inf if pick is np.nanmax else 0.0)
    return _Named(*(max if pick is np.nanmax else min)(picked, key=lambda named: named.value))
