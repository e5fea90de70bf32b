"""What is believed before the data: coefficients, scales, and how true features are distributed."""

from .base import (
    CoefficientPrior,
    Flat,
    Mixture,
    MixtureTerms,
    Outliers,
    Prior,
    ScaleMixture,
    ScalePrior,
    UnitPrior,
)
from .coefficients import Horseshoe, Laplace, Normal, PoweredCorrelation, StudentT
from .scales import Beta, Exponential, Gamma, HalfCauchy, HalfNormal, HalfStudentT, InverseGamma, ScatterPrior

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
