"""Transformers that carry the errors of measured features along, and means of replicates.

Features and their errors are columns of one table, before and after, so that they go through Pipelines, splits and
searches with their rows. ``error_columns`` says which are which, as it does of
`BayesianErrorsInVariablesRegressor`, which comes last, with the same ``error_columns``::

    logs = MeasuredFunction("log", error_columns="_err").set_output(transform="pandas")
    make_pipeline(logs, BayesianErrorsInVariablesRegressor(error_columns="_err"))

Errors are carried to first order, by the slope of a function at what was measured (JCGM 100:2008, section 5), and it
warns where that is not enough. NaN is a feature that was not measured, and stays one.
"""

from .asymmetric import symmetric_errors
from .functions import MeasuredFunction
from .pairs import MeasuredPair
from .polynomials import MeasuredPolynomial
from .replicates import ReplicateMean, replicate_means
from .scaling import MeasuredScaler

__all__ = [
    "MeasuredFunction",
    "MeasuredPair",
    "MeasuredPolynomial",
    "MeasuredScaler",
    "ReplicateMean",
    "replicate_means",
    "symmetric_errors",
]
