"""Scores of predictive distributions, as functions on arrays and as scikit-learn scorers.

The functions take measured values and what was predicted for them. The scorers take a fitted
regressor, ask for its predictive distribution (Normal(mean, std) where it only has
``predict(return_std=True)``) and score the held-out target under it; greater is better, so losses
are negated and say so by ``neg_``::

    cross_validate(regressor, X, y, scoring=SCORERS)
    GridSearchCV(regressor, grid, scoring={"crps": neg_crps_scorer}, refit="crps")

All are closed forms. A `sample_weight` of k counts a row k times, 0 leaves it out. Rows whose count is 0
(`PredictiveDistribution.measured`) are left out, too; their target may be NaN.
"""

from .scorers import (
    SCORERS,
    ProbabilisticScorer,
    interval_coverage_scorer,
    log_predictive_density_scorer,
    make_probabilistic_scorer,
    neg_crps_scorer,
    neg_interval_score_scorer,
    neg_interval_width_scorer,
    neg_pit_error_scorer,
)
from .scores import (
    crps,
    interval_coverage,
    interval_score,
    interval_width,
    log_predictive_density,
    pit,
    pit_error,
)

__all__ = [
    "SCORERS",
    "ProbabilisticScorer",
    "crps",
    "interval_coverage",
    "interval_coverage_scorer",
    "interval_score",
    "interval_width",
    "log_predictive_density",
    "log_predictive_density_scorer",
    "make_probabilistic_scorer",
    "neg_crps_scorer",
    "neg_interval_score_scorer",
    "neg_interval_width_scorer",
    "neg_pit_error_scorer",
    "pit",
    "pit_error",
]
