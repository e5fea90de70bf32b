"""Bayesian linear regression for measured data: error bars in, calibrated error bars out."""

from .audit import ErrorAudit, audit_errors
from .feature_distribution import Mixture
from .likelihoods import (
    BetaBinomialLikelihood,
    BinomialLikelihood,
    NormalLikelihood,
    StudentTLikelihood,
)
from .predictive import PredictiveDistribution, predictive_distribution
from .priors import (
    Beta,
    Exponential,
    Flat,
    Gamma,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Horseshoe,
    InverseGamma,
    Laplace,
    Normal,
    PoweredCorrelation,
    StudentT,
)
from .regressor import BayesianErrorsInVariablesRegressor
from .search import BayesianErrorsInVariablesRegressorCV

__version__ = "0.1.0"

__all__ = [
    "BayesianErrorsInVariablesRegressor",
    "BayesianErrorsInVariablesRegressorCV",
    "Beta",
    "BetaBinomialLikelihood",
    "BinomialLikelihood",
    "ErrorAudit",
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
    "Normal",
    "NormalLikelihood",
    "PoweredCorrelation",
    "PredictiveDistribution",
    "StudentT",
    "StudentTLikelihood",
    "audit_errors",
    "predictive_distribution",
]
