"""What is believed before the data: coefficients, scales, and how true features are distributed."""

from .base import CoefficientPrior, Flat, MixtureTerms, Prior, ScaleMixture, ScalePrior, UnitPrior
from .coefficients import Horseshoe, Laplace, Normal, PoweredCorrelation, StudentT
from .scales import Beta, Exponential, Gamma, HalfCauchy, HalfNormal, HalfStudentT, InverseGamma, ScatterPrior
from .true_features import Mixture, Outliers

__all__ = [
    "Beta",
    "CoefficientPrior",
    "Exponential",
    "Flat",
    "Gamma",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Horseshoe",
    "InverseGamma",
    "Laplace",
    "Mixture",
    "MixtureTerms",
    "Normal",
    "Outliers",
    "PoweredCorrelation",
    "Prior",
    "ScaleMixture",
    "ScalePrior",
    "ScatterPrior",
    "StudentT",
    "UnitPrior",
]
