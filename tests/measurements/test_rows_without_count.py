"""Rows held out whose count is 0: nothing was measured of them, and they are left out of every score and display."""

from __future__ import annotations

import warnings

import matplotlib as mpl
import numpy as np
import pytest
from scipy.special import expit

from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    BayesianErrorsInVariablesRegressorCV,
    audit_errors,
    displays,
    metrics,
)

mpl.use("Agg")


@pytest.fixture(scope="module", params=["normal", "binomial", "beta_binomial"])
def held_out(request):
    """A fitted model, new rows of which some have no count, and the others alone."""
    rng = np.random.default_rng(0)
    x, counts = rng.normal(size=80), rng.integers(20, 60, 80).astype(np.float64)
    y = rng.binomial(counts.astype(int), expit(0.5 * x)) / counts
    counts[60:70], y[60:70] = 0.0, np.nan
    X = np.column_stack([x, counts])
    model = BayesianErrorsInVariablesRegressor(likelihood=request.param, count_column=1, random_state=0)
    model.fit(X[:40], y[:40])
    seen = counts[40:] > 0.0
    return model, X[40:], y[40:], X[40:][seen], y[40:][seen]


@pytest.mark.parametrize("unmeasured", [np.nan, 0.0])
def test_scores_are_those_of_the_rows_that_were_measured(held_out, unmeasured):
    model, X, y, X_seen, y_seen = held_out
    y = np.where(np.isnan(y), unmeasured, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, scorer in metrics.SCORERS.items():
            assert scorer(model, X, y) == pytest.approx(scorer(model, X_seen, y_seen), rel=1e-9), name
        assert model.score(X, y) == pytest.approx(model.score(X_seen, y_seen), rel=1e-12)
        distribution = model.predict_distribution(X)
        transforms = metrics.pit(y, distribution)
    np.testing.assert_array_equal(np.isnan(transforms), X[:, 1] == 0.0)
    assert metrics.pit_error(transforms) == pytest.approx(
        -metrics.neg_pit_error_scorer(model, X_seen, y_seen), rel=1e-12
    )
    of_seen = metrics.log_predictive_density(y_seen, model.predict_distribution(X_seen))
    assert metrics.log_predictive_density(y, distribution) == pytest.approx(of_seen, rel=1e-9)


def test_displays_and_audit_are_of_the_rows_that_were_measured(held_out):
    model, X, y, X_seen, y_seen = held_out
    for display in (displays.CalibrationDisplay, displays.PITDisplay):
        assert len(display.from_estimator(model, X, y).pit) == len(y_seen)
    np.testing.assert_array_equal(displays.PredictionDisplay.from_estimator(model, X, y).y_true, y_seen)
    np.testing.assert_array_equal(displays.RegressionLineDisplay.from_estimator(model, X, y).y, y_seen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audit = audit_errors(model, X, y, held_out=True)
    alone = audit_errors(model, X_seen, y_seen, held_out=True)
    assert audit.n_rows == len(y_seen)
    assert audit.dispersion == pytest.approx(alone.dispersion, rel=1e-9)
    assert audit.coverage == alone.coverage


def test_a_search_scores_as_its_best_estimator_does():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=40), np.full(40, 30.0)])
    y = rng.binomial(30, expit(0.5 * X[:, 0])) / 30
    grid = {"coef_prior__sigma": [0.1, 1.0]}
    model = BayesianErrorsInVariablesRegressor(count_column=1)
    search = BayesianErrorsInVariablesRegressorCV(model, grid).fit(X[:30], y[:30])
    new = X[30:].copy()
    new[:3, 1] = 0.0
    assert search.score(new, y[30:]) == pytest.approx(search.score(X[33:], y[33:]), rel=1e-12)


def test_no_row_that_was_measured_is_no_score(held_out):
    model, X, y, _, _ = held_out
    nothing = X[:, 1] == 0.0
    with pytest.raises(ValueError, match="count is not 0"):
        metrics.neg_crps_scorer(model, X[nothing], y[nothing])
    assert np.isnan(model.score(X[nothing], y[nothing]))
