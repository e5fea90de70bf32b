"""Bayesian linear regression for measured data: error bars in, calibrated error bars out."""

import importlib
from types import ModuleType

from .estimators.calibration.comparison import MethodComparison, compare_methods
from .estimators.calibration.inverse import inverse_predict
from .estimators.calibration.limits import detection_limits
from .estimators.regressor import BayesianErrorsInVariablesRegressor
from .estimators.search import BayesianErrorsInVariablesRegressorCV
from .likelihoods.additive import NormalLikelihood, StudentTLikelihood
from .likelihoods.proportions import BetaLikelihood
from .likelihoods.rates import NegativeBinomialLikelihood, PoissonLikelihood
from .likelihoods.shares import BetaBinomialLikelihood, BinomialLikelihood
from .measurements.error_models.variance_function import VarianceFunction
from .prediction.distribution import PredictiveDistribution
from .prediction.of_estimators import predictive_distribution
from .priors.base import Flat
from .priors.coefficients import Horseshoe, Laplace, Normal, PoweredCorrelation, StudentT
from .priors.scales import Beta, Exponential, Gamma, HalfCauchy, HalfNormal, HalfStudentT, InverseGamma
from .priors.true_features import Mixture, Outliers
from .validation.audit import ErrorAudit, audit_errors

__version__ = "0.1.0"

__all__ = [
    "BayesianErrorsInVariablesRegressor",
    "BayesianErrorsInVariablesRegressorCV",
    "Beta",
    "BetaBinomialLikelihood",
    "BetaLikelihood",
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
    "MethodComparison",
    "Mixture",
    "NegativeBinomialLikelihood",
    "Normal",
    "NormalLikelihood",
    "Outliers",
    "PoissonLikelihood",
    "PoweredCorrelation",
    "PredictiveDistribution",
    "StudentT",
    "StudentTLikelihood",
    "VarianceFunction",
    "audit_errors",
    "compare_methods",
    "detection_limits",
    "inverse_predict",
    "predictive_distribution",
]

_MODULES = (
    "datasets",
    "displays",
    "distributed",
    "likelihoods",
    "metrics",
    "preprocessing",
    "priors",
    "validation",
)


def __getattr__(name: str) -> ModuleType:
    """Import a public module when it is asked for."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names and modules, and what Python asks of a module."""
    return sorted([*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))])
