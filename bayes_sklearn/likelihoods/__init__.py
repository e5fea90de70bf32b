"""How measurements scatter about what they measure."""

from .additive import NormalLikelihood, StudentTLikelihood
from .base import Derivatives, Likelihood, Observations
from .links import IDENTITY, LOG, LOGIT, Link
from .noise import Noise
from .proportions import BetaLikelihood
from .rates import NegativeBinomialLikelihood, PoissonLikelihood
from .registry import LIKELIHOODS, resolve_likelihood
from .shares import BetaBinomialLikelihood, BinomialLikelihood, counts

__all__ = [
    "IDENTITY",
    "LIKELIHOODS",
    "LOG",
    "LOGIT",
    "BetaBinomialLikelihood",
    "BetaLikelihood",
    "BinomialLikelihood",
    "Derivatives",
    "Likelihood",
    "Link",
    "NegativeBinomialLikelihood",
    "Noise",
    "NormalLikelihood",
    "Observations",
    "PoissonLikelihood",
    "StudentTLikelihood",
    "counts",
    "resolve_likelihood",
]
