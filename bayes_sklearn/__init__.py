"""Bayesian linear regression for measured data: error bars in, calibrated error bars out."""

from .feature_distribution import Mixture
from .predictive import PredictiveDistribution, predictive_distribution
from .priors import (
    Exponential,
    Flat,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Horseshoe,
    InverseGamma,
    Laplace,
    Normal,
    StudentT,
)
from .regressor import BayesianErrorsInVariablesRegressor

__version__ = "0.1.0"

__all__ = [
    "BayesianErrorsInVariablesRegressor",
    "Exponential",
    "Flat",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Horseshoe",
    "InverseGamma",
    "Laplace",
    "Mixture",
    "Normal",
    "PredictiveDistribution",
    "StudentT",
    "predictive_distribution",
]
