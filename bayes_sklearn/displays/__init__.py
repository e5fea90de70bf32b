"""Plots, in scikit-learn's manner; they need matplotlib (``pip install bayes_sklearn[plot]``).

A display holds the numbers that it draws. ``from_estimator`` and ``from_predictions`` compute them and draw,
``plot(ax=...)`` draws them again. After drawing, ``ax_`` and ``figure_`` are where, and further attributes the
artists. Displays of predictions take any regressor whose predict takes ``return_std``, Pipelines and searches.
"""

from .audit import AuditDisplay
from .calibration import CalibrationDisplay, PITDisplay
from .coefficients import CoefficientDisplay
from .comparison.agreement import BlandAltmanDisplay
from .comparison.regression import MethodComparisonDisplay
from .forest import ForestDisplay
from .inverse import InverseDisplay
from .line import RegressionLineDisplay
from .predictions import PredictionDisplay
from .ranks import RankDisplay
from .variance import VarianceDisplay

__all__ = [
    "AuditDisplay",
    "BlandAltmanDisplay",
    "CalibrationDisplay",
    "CoefficientDisplay",
    "ForestDisplay",
    "InverseDisplay",
    "MethodComparisonDisplay",
    "PITDisplay",
    "PredictionDisplay",
    "RankDisplay",
    "RegressionLineDisplay",
    "VarianceDisplay",
]
