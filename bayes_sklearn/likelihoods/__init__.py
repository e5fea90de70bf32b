"""How measurements scatter about what they measure."""

from .additive import NormalLikelihood, StudentTLikelihood
from .base import Derivatives, Family, Likelihood, Link, Observations, counts
from .noise import Noise
from .registry import LIKELIHOODS, resolve_likelihood
from .shares import BetaBinomialLikelihood, BinomialLikelihood

__all__ = [
    "LIKELIHOODS",
    "BetaBinomialLikelihood",
    "BinomialLikelihood",
    "Derivatives",
    "Family",
    "Likelihood",
    "Link",
    "Noise",
    "NormalLikelihood",
    "Observations",
    "StudentTLikelihood",
    "counts",
    "resolve_likelihood",
]
