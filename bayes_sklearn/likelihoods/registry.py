"""Likelihoods by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from ..measurements.messages import shown
from .additive import NormalLikelihood, StudentTLikelihood
from .base import Likelihood, Link
from .shares import BetaBinomialLikelihood, BinomialLikelihood

__all__ = ["LIKELIHOODS", "resolve_likelihood"]


LIKELIHOODS: Mapping[str, Likelihood] = {
    likelihood.name: likelihood
    for likelihood in (
        NormalLikelihood(),
        StudentTLikelihood(),
        BinomialLikelihood(),
        BetaBinomialLikelihood(),
    )
}
"""The likelihoods with their defaults, by name."""


def resolve_likelihood(likelihood: object) -> Likelihood:
    """Return the likelihood that the estimator's argument of this name asks for, checked.

    Raises
    ------
    ValueError, TypeError
        Naming the argument.
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
    if likelihood.link not in get_args(Link):
        links = " or ".join(map(repr, get_args(Link)))
        raise ValueError(
            f"likelihood={shown(likelihood)} has the link {shown(likelihood.link)}, which predictions don't know: the"
            f" line is that of the target ('identity') or of a share's log odds ('logit'). Its class needs {links}."
        )
    likelihood.check("likelihood")
    return likelihood
