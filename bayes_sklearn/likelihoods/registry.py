"""Likelihoods by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..measurements.messages import shown
from .additive import NormalLikelihood, StudentTLikelihood
from .base import Likelihood
from .links import Link
from .proportions import BetaLikelihood
from .rates import NegativeBinomialLikelihood, PoissonLikelihood
from .shares import BetaBinomialLikelihood, BinomialLikelihood

__all__ = ["LIKELIHOODS", "check_shared_errors", "check_takes_exposure", "resolve_likelihood"]


LIKELIHOODS: Mapping[str, Likelihood] = {
    likelihood.name: likelihood
    for likelihood in (
        NormalLikelihood(),
        StudentTLikelihood(),
        BinomialLikelihood(),
        BetaBinomialLikelihood(),
        BetaLikelihood(),
        PoissonLikelihood(),
        NegativeBinomialLikelihood(),
    )
}
"""The likelihoods with their defaults, by name."""


def resolve_likelihood(likelihood: object) -> Likelihood:
    """Return the likelihood that the estimator's argument of this name asks for, checked.

    Parameters
    ----------
    likelihood : str or Likelihood
        A name, such as "student_t", or an object with parameters of its own.

    Returns
    -------
    Likelihood

    Raises
    ------
    ValueError, TypeError
        For another name, what is no Likelihood, or bad parameters; naming the argument.

    Examples
    --------
    >>> from bayes_sklearn.likelihoods import resolve_likelihood
    >>> resolve_likelihood("student_t")
    StudentTLikelihood()
    """
    names = ", ".join(map(repr, LIKELIHOODS))
    if isinstance(likelihood, str):
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {names}, got {shown(likelihood)}.")
        return LIKELIHOODS[likelihood]
    if not isinstance(likelihood, Likelihood):
        raise TypeError(
            f"likelihood must be one of {names}, or an object such as StudentTLikelihood(nu=4), got"
            f" {shown(likelihood)}."
        )
    if not isinstance(likelihood.link, Link):
        raise TypeError(
            f"likelihood={shown(likelihood)} has the link {shown(likelihood.link)}: its class needs a Link of"
            " bayes_sklearn.likelihoods, IDENTITY, LOGIT, LOG or another."
        )
    likelihood.check("likelihood")
    return likelihood


def check_takes_exposure(likelihood: Likelihood, exposure: object, columns: Collection[str]) -> None:
    """Refuse an exposure, of an argument or a column of X, under a likelihood whose target is no number of events.

    Raises
    ------
    ValueError
    """
    name = "exposure_column" if "exposure_column" in columns else "exposure"
    if likelihood.per != "exposure" and (exposure is not None or name in columns):
        taking = " and ".join(repr(known) for known, one in LIKELIHOODS.items() if one.per == "exposure")
        raise ValueError(
            f"{name} is given, but likelihood={likelihood.name!r} takes none: those of events counted over an"
            f" exposure are {taking}. Leave {name} out, or use one of them."
        )


def check_shared_errors(likelihood: Likelihood, feature_errors: Mapping[str, object]) -> None:
    """Refuse `Xy_cov` where the target has no errors of its own that it could be of.

    Raises
    ------
    ValueError
    """
    if feature_errors.get("Xy_cov") is not None and not likelihood.has_noise_scale:
        raise ValueError(
            f"Xy_cov goes with noise that is added to the line, and {likelihood!r} has none: leave it out."
        )
