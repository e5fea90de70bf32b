"""What a fit warns of, once it is done."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..inference.chi_square import ChiSquare
from ..inference.exact.engine import contradicted
from ..measurements.compressed import warn_of_rounding
from ..measurements.messages import shown, warn
from .fitted import FittedModel
from .fitting import Attenuation, Fit

__all__ = ["warn_of_doubts"]


def warn_of_doubts(fitted: Fit, model: FittedModel) -> None:
    """Warn where a posterior is not to be trusted as it stands.

    Parameters
    ----------
    fitted : Fit
        With the problem, in the model's units.
    model : FittedModel
    """
    _warn_if_errors_too_small(model)
    if model.chi_square is not None:
        _warn_if_no_fit(model.chi_square)
    _warn_if_contradicted(fitted)
    names = model.columns.feature_names
    if model.attenuation is not None:
        _warn_if_errors_hide_features(model.attenuation, names)
    known = model.noise_model.kind == "standard_error"
    warn_of_rounding(fitted.problem.state, names.tolist(), errors_known=known)


def _warn_if_contradicted(fitted: Fit) -> None:
    """Warn of a fixed prior whose scale the data contradict."""
    # Log evidence that is "strong" for Kass & Raftery 1995, J. Am. Stat. Assoc. 90:773-795.
    strong = 3.0
    found = contradicted(fitted.problem, fitted.posterior) if fitted.engine == "exact" else None
    if found is not None and found.nats > strong and found.scale > 2.0:
        # Round figures: the folds of a search say the same, which is shown once.
        wider, nats = 2.0 ** np.floor(np.log2(found.scale)), 10.0 ** np.floor(np.log10(found.nats))
        warn(
            f"The data contradict coef_prior={fitted.problem.coef_prior!r}: a prior more than {wider:,g} times as"
            f" wide explains them better by more than {max(nats, strong):,g} nats, and under this one"
            " coefficients and intervals are not to be trusted. Use coef_prior=None, whose scale is learned, or"
            " Normal(sigma=HalfCauchy()).",
            UserWarning,
        )


def _warn_if_errors_hide_features(found: Attenuation, names: NDArray[np.object_]) -> None:
    """Warn of a feature of which the data hardly tell how much is true."""
    hidden = found.hidden
    for name, share, error in zip(
        names[hidden], found.of_its_own[hidden], found.of_its_own_error[hidden], strict=True
    ):
        warn(
            f"The errors of {shown(name)} hide it: {share:.2g} +- {error:.1g} of the variance that it has beside the"
            " exact features is true, and that is too little known for a coefficient and a line that do not rest on"
            " priors. Check the errors' unit; measure it better, oftener or in more rows; or leave it out.",
            UserWarning,
        )


def _warn_if_no_fit(found: ChiSquare) -> None:
    """Warn of known errors that leave the rows too far from the line."""
    if found.probability < 1e-4:
        warn(
            f"noise='known', but the stated errors do not explain how far rows lie from the line: the reduced"
            f" chi-square (MSWD) is {found.reduced:.3g}, about 1 where they do. Intervals are too narrow: check the"
            " errors' unit, or use noise='auto', which finds what they leave out.",
            UserWarning,
        )


def _warn_if_errors_too_small(model: FittedModel) -> None:
    """Warn where known errors had to be multiplied by a lot."""
    noise, posterior = model.noise_model.noise, model.posterior
    if not noise.multiplies or model.noise_model.kind == "none" or not model.has_noise_scale:
        return
    multiple = float(posterior.weights @ posterior.noise_scale)
    if multiple > 2.5:
        left_out = " (noise='auto', a larger error_floor)" if noise.only_multiplies else ""
        warn(
            f"The stated errors look too small: the noise scale is {multiple:.3g} times them. Check their"
            f" unit, or add what they leave out{left_out}; the prior HalfNormal(1) holds the scale down, so that"
            " intervals may be too narrow.",
            UserWarning,
        )
