"""scikit-learn's common checks, for every configuration that names no column."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.metaestimators import available_if

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import StudentTLikelihood
from bayes_sklearn.priors import Exponential, Flat, HalfCauchy, HalfNormal, HalfStudentT, InverseGamma, Normal

# Some checks give data that a warning is due for: more columns than rows, targets far beyond their errors.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The features fit the target without error:sklearn.exceptions.ConvergenceWarning",
    "ignore:The stated errors look too small",
    "ignore:The line lies outside 0 to 1",
    "ignore:weight_type=.counts., but there are no counts",
    "ignore:Importance sampling is not to be trusted:sklearn.exceptions.ConvergenceWarning",
    "ignore:Can't check dok sparse matrix",
)


class Counted(Regressor):
    """Makes shares with counts behind them of whatever the checks give; they know of no counts."""

    def fit(self, X: Any, y: Any) -> Any:
        target = np.asarray(y)
        if target.dtype.kind == "O":
            with contextlib.suppress(TypeError, ValueError):
                target = target.astype(np.float64)
        if target.dtype.kind not in "iuf" or target.ndim not in (1, 2) or not np.isfinite(target).all():
            return super().fit(X, y)  # the check is about this error
        counts = 3.0 + np.arange(len(target)) % 7
        column = counts.reshape((-1,) + (1,) * (target.ndim - 1))
        return super().fit(X, np.round(expit(target) * column) / column, counts)

    def score(self, X: Any, y: Any) -> float:
        return float(super().score(X, y))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # the shares are not the target that the check scores
        return tags


class Successes(Counted):
    """Makes successes and failures of whatever the checks give, their sample weights being frequencies."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        target = np.asarray(y)
        if target.dtype.kind == "O":
            with contextlib.suppress(TypeError, ValueError):
                target = target.astype(np.float64)
        if target.dtype.kind in "iuf" and target.ndim in (1, 2) and np.isfinite(target).all():
            y = np.where(expit(target) > 0.6, 1.0, 0.0)
        return Regressor.fit(self, X, y, sample_weight)


class KnownErrors(Regressor):
    """States a standard error for every target the checks give."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        return super().fit(X, y, sample_weight, y_err=0.5)

    @available_if(lambda model: model.likelihood == "normal")
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        return super().partial_fit(X, y, sample_weight, y_err=0.5)


CONFIGURATIONS = [
    Regressor(),
    Regressor(noise="additive"),
    Regressor(weight_type="frequency"),
    Regressor(standardize=False, fit_intercept=False),
    Regressor(intercept_prior=Flat()),
    Regressor(coef_prior=Normal(mu=0.1, sigma=0.5), noise_prior=HalfNormal(sigma=2.0)),
    Regressor(noise_prior=Flat()),
    KnownErrors(),
    KnownErrors(noise="additive"),
    KnownErrors(noise="known"),
    Counted(),
    Counted(weight_type="counts"),
    Counted(likelihood="student_t", inference="importance"),
    # Of targets within their domain: shares with counts, and single successes.
    Counted(likelihood="binomial", weight_type="counts"),
    Counted(likelihood="beta_binomial", weight_type="counts"),
]
# What the checks' data hardly meet, or meet above with something else.
FURTHER = [
    Regressor(count_error="observed", error_floor=0.1),
    Regressor(error_floor=0.0),
    Regressor(standardize=False),
    Regressor(fit_intercept=False),
    Regressor(inference="exact", random_state=3),
    Regressor(noise_prior=HalfStudentT()),
    Regressor(noise_prior=HalfCauchy()),
    Regressor(noise_prior=Exponential()),
    Regressor(noise_prior=InverseGamma()),
    Counted(weight_type="counts", noise="additive"),
    Counted(weight_type="counts", noise="known"),
]


# The checks' targets are of several sizes, and those of KnownErrors(noise="known") of one.
@pytest.mark.filterwarnings("ignore:noise='known', but the stated errors")
@parametrize_with_checks(CONFIGURATIONS)
def test_common_check_passes(estimator: Regressor, check: Any) -> None:
    check(estimator)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:noise='known', but the stated errors")
@parametrize_with_checks(FURTHER)
def test_common_check_passes_of_further_configurations(estimator: Regressor, check: Any) -> None:
    check(estimator)


# One check fits 27 rows of 30 columns, where flat coefficients have no posterior.
@parametrize_with_checks(
    [Regressor(coef_prior=Flat()), Regressor(coef_prior=Flat(), intercept_prior=Flat())],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": "improper posterior, refused"
    },
)
def test_common_check_passes_under_flat_coefficients(estimator: Regressor, check: Any) -> None:
    check(estimator)


# The same check: with more columns than rows sampled posteriors are spikes, or nodes of them are not trusted.
@parametrize_with_checks(
    [
        Regressor(likelihood="student_t", inference="importance"),
        Regressor(likelihood=StudentTLikelihood(nu=4.0), inference="importance"),
        KnownErrors(likelihood="student_t", noise="additive", inference="importance"),
        KnownErrors(likelihood="student_t", noise="known", inference="importance"),
        Successes(likelihood="binomial", random_state=0),  # by importance sampling: others go on to NUTS
    ],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": "more columns than rows: a spike without noise, or separated"
        " outcomes, warned of and not found twice"
    },
)
def test_common_check_passes_under_heavy_tails(estimator: Regressor, check: Any) -> None:
    check(estimator)
