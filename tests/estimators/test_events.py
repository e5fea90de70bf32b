"""Events over an exposure: fits beside statsmodels', exposures in any unit and any place, intervals counted."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.model_selection import KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Flat, NegativeBinomialLikelihood, Normal, audit_errors, predictive_distribution
from bayes_sklearn.displays import PredictionDisplay, RegressionLineDisplay
from bayes_sklearn.inference.importance.regression_density import RegressionDensity, climb
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.likelihoods import PoissonLikelihood
from bayes_sklearn.likelihoods.noise import SCALED
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.metrics import log_predictive_density_scorer, neg_crps_scorer
from bayes_sklearn.priors import HalfNormal

from events import COEF, INTERCEPT, Events, events

LIKELIHOODS = ["poisson", "negative_binomial"]
T = events()


def fitted(likelihood: Any = "poisson", table: Events = T, **settings: Any) -> Regressor:
    model = Regressor(likelihood=likelihood, random_state=0, **settings)
    return model.fit(table.X, table.events, exposure=table.hours)


# --- beside statsmodels --------------------------------------------------------------------------


def test_the_mode_under_flat_priors_is_the_glm_s_to_a_millionth_of_a_standard_error() -> None:
    sm = pytest.importorskip("statsmodels.api")
    peer = sm.GLM(T.events, sm.add_constant(T.X), family=sm.families.Poisson(), exposure=T.hours)
    peer = peer.fit(tol=1e-14)
    problem = Problem.build(
        Rows(T.X, T.events / T.hours),
        None,
        noise=SCALED,
        standardize=True,
        coef_prior=Flat(),
        intercept_prior=Flat(),
        noise_prior=HalfNormal(),
        likelihood=PoissonLikelihood(),
        trials=T.hours,
    )
    density, smoothing = RegressionDensity(problem), np.ones(3)
    point = climb(density, density.start, smoothing).center
    for _ in range(2):  # the search ends where so little is left; a step more is a step of Newton's
        here = density.derivatives(point, smoothing)
        point = point - np.linalg.solve(here.hessian, here.gradient)
    B = density.coefficients(point[None])[0]
    coef = B[1:] / problem.scaling.x_scale
    intercept = B[0] + problem.scaling.y_mean - coef @ problem.scaling.x_mean
    assert (np.abs(np.append(intercept, coef) - peer.params) < 1e-6 * peer.bse).all()


def test_under_flat_priors_standard_deviations_are_the_glm_s_standard_errors() -> None:
    sm = pytest.importorskip("statsmodels.api")
    table = events(600, 5)
    peer = sm.GLM(table.events, sm.add_constant(table.X), family=sm.families.Poisson(), exposure=table.hours)
    peer = peer.fit()
    model = fitted(table=table, coef_prior=Flat(), intercept_prior=Flat())
    assert_allclose(model.coef_std_, peer.bse[1:], rtol=0.02)
    assert_allclose([model.intercept_, *model.coef_], peer.params, atol=0.02 * peer.bse.min())


@pytest.mark.parametrize("dispersion", [0.1, 2.0])
def test_maximum_likelihood_of_the_negative_binomial_is_statsmodels(dispersion: float) -> None:
    sm = pytest.importorskip("statsmodels.api")
    table = events(400, 7, dispersion)
    design = sm.add_constant(table.X)
    peer = sm.NegativeBinomial(table.events, design, exposure=table.hours)
    peer = peer.fit(disp=0, method="newton", tol=1e-12, maxiter=200)
    # A step of Newton's from there, in standard errors.
    data = sound_observations(table)
    found = NegativeBinomialLikelihood().derivatives(design @ peer.params[:3], np.sqrt(peer.params[3:]), data)
    gradient = np.append(design.T @ found.gradient[0], found.gradient[1].sum())
    hessian = np.empty((4, 4))
    hessian[:3, :3] = design.T @ (design * found.hessian[0, 0][:, None])
    hessian[3, :3] = hessian[:3, 3] = design.T @ found.hessian[0, 1]
    hessian[3, 3] = found.hessian[1, 1].sum()
    step = np.linalg.solve(hessian, gradient)
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    assert (np.abs(step) < 1e-6 * errors).all()
    model = fitted("negative_binomial", table, coef_prior=Flat(), intercept_prior=Flat())
    assert_allclose([model.intercept_, *model.coef_], peer.params[:3], atol=0.15 * peer.bse[:3].min())
    # The likelihood of 400 rows is not quite normal.
    assert_allclose(model.coef_std_, peer.bse[1:3], rtol=0.05)
    assert abs(model.dispersion_ - peer.params[3]) < 0.5 * peer.bse[3]


def sound_observations(table: Events) -> Any:
    from bayes_sklearn.likelihoods import Observations

    return Observations(table.events / table.hours, trials=table.hours)


# --- what exposures are --------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("unit", [1e-7, 3600.0, 1e12])
@pytest.mark.parametrize("noisy", [False, True])
def test_their_unit_does_not_matter(likelihood: str, unit: float, noisy: bool) -> None:
    given = {"X_err": [0.3, 0.0]} if noisy else {}
    one, other = (
        Regressor(likelihood=likelihood, random_state=0).fit(T.X, T.events, exposure=hours, **given)
        for hours in (T.hours, unit * T.hours)
    )
    # Where features have errors, the search ends at the same place but for its own tolerance.
    same = (0.05 if noisy else 1e-6) * one.coef_std_.min()
    assert_allclose(other.coef_, one.coef_, atol=same)
    assert_allclose(other.coef_std_, one.coef_std_, atol=same)
    assert_allclose(other.intercept_ + np.log(unit), one.intercept_, atol=same)
    intervals = [m.predict_interval(T.X, exposure=e * T.hours) for m, e in ((one, 1.0), (other, unit))]
    assert_allclose(*intervals, atol=1.0)  # where a probability is all but the one asked for
    assert np.mean(intervals[0] != intervals[1]) < 0.1
    assert_allclose(other.predict(T.X) * unit, one.predict(T.X), rtol=3.0 * same)


def test_ten_rows_of_an_hour_are_one_of_ten() -> None:
    rng = np.random.default_rng(0)
    parts = np.array([rng.multinomial(int(k), np.full(10, 0.1)) for k in T.events])
    whole = fitted()
    split = Regressor(likelihood="poisson", random_state=0).fit(
        np.repeat(T.X, 10, axis=0), parts.ravel(), exposure=np.repeat(T.hours / 10.0, 10)
    )
    assert_allclose(split.coef_, whole.coef_, atol=0.02 * whole.coef_std_.min())
    assert_allclose(split.coef_std_, whole.coef_std_, rtol=0.02)


def test_weights_are_how_often_rows_count() -> None:
    weight = np.arange(len(T.X)) % 3.0
    every = np.repeat(np.arange(len(T.X)), weight.astype(int))
    one = Regressor(likelihood="negative_binomial", random_state=0, coef_prior=Normal())
    one.fit(T.X, T.events, weight, exposure=T.hours)
    other = Regressor(likelihood="negative_binomial", random_state=0, coef_prior=Normal())
    other.fit(T.X[every], T.events[every], exposure=T.hours[every])
    assert one.weight_type_ == "frequency"
    assert_allclose(one.coef_, other.coef_, atol=1e-3 * one.coef_std_.min())
    assert_allclose(one.dispersion_, other.dispersion_, rtol=1e-3)


def test_without_exposures_they_are_one_in_fit_and_in_predictions() -> None:
    table = events(intercept=2.0)
    model = Regressor(likelihood="poisson", random_state=0).fit(table.X, table.events)
    ones = Regressor(likelihood="poisson", random_state=0)
    ones.fit(table.X, table.events, exposure=np.ones(len(table.X)))
    assert_array_equal(model.coef_, ones.coef_)
    assert_array_equal(model.predict_interval(table.X), ones.predict_interval(table.X, exposure=1.0))
    assert model.score(table.X, table.events) == ones.score(table.X, table.events, exposure=1.0)
    # Of rates, where fit had exposures and predictions have none: they are not whole, and vary by less.
    assert (ones.predict_interval(table.X) % 1.0 != 0.0).any()
    assert (ones.predict(table.X, return_std=True)[1] < model.predict(table.X, return_std=True)[1]).all()


def test_columns_of_X_hold_them_through_pipelines_splits_and_scorers() -> None:
    frame = pd.DataFrame(T.columns, columns=["a", "b", "hours"])
    model = Regressor(likelihood="poisson", exposure_column="hours", random_state=0).fit(frame, T.events)
    direct = fitted()
    assert_allclose(model.coef_, direct.coef_, rtol=1e-12)
    assert model.coef_names_.tolist() == ["a", "b"]
    assert_array_equal(
        model.predict_interval(frame.iloc[:5]), direct.predict_interval(T.X[:5], exposure=T.hours[:5])
    )
    of_direct = direct.score(T.X, T.events, exposure=T.hours)
    assert model.score(frame, T.events) == pytest.approx(of_direct)
    assert_allclose(
        model.loo_pit(frame, T.events), direct.loo_pit(T.X, T.events, exposure=T.hours), atol=1e-9
    )
    by_place = Regressor(likelihood="poisson", exposure_column=2, random_state=0)
    scores = cross_validate(
        by_place, T.columns, T.events, cv=3, scoring={"crps": neg_crps_scorer, "r2": "r2"}
    )
    assert (scores["test_r2"] > 0.5).all()
    splits = KFold(3).split(T.X)
    for (train, test), score in zip(splits, scores["test_crps"], strict=True):
        one = Regressor(likelihood="poisson", random_state=0)
        one.fit(T.X[train], T.events[train], exposure=T.hours[train])
        expected = one.predict_distribution(T.X[test], exposure=T.hours[test]).crps(T.events[test]).mean()
        assert score == pytest.approx(-expected)


def test_metadata_routing_carries_them_to_fits_and_scores() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            PolynomialFeatures(2, include_bias=False), Regressor(likelihood="poisson", random_state=0)
        )
        for scoring in (None, neg_crps_scorer, log_predictive_density_scorer):
            found = cross_val_score(
                model, T.X, T.events, cv=2, scoring=scoring, params={"exposure": T.hours}, error_score="raise"
            )
            assert np.isfinite(found).all()
        model.fit(T.X, T.events, exposure=T.hours)
        assert_allclose(model.predict(T.X, exposure=2.0), 2.0 * model.predict(T.X))
    with pytest.raises(ValueError, match=r"Events are scored without.*exposure_column"):
        neg_crps_scorer(model, T.X, T.events)


def test_the_score_is_of_numbers_of_events() -> None:
    model = fitted()
    predicted = model.predict(T.X, exposure=T.hours)
    residual, spread = T.events - predicted, T.events - T.events.mean()
    expected = 1.0 - (residual @ residual) / (spread @ spread)
    assert model.score(T.X, T.events, exposure=T.hours) == pytest.approx(expected)


# --- predictions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("hours", [0.01, 2.0, 1e5])
def test_probabilities_of_counts_are_sums_over_the_posterior(likelihood: str, hours: float) -> None:
    model = fitted(likelihood, events(dispersion=0.4))
    new = np.array([[-2.0, 0.0], [0.0, 0.0], [2.0, -1.0]])
    posterior = model._fitted.posterior
    mean = hours * np.exp(posterior.location[:, :1] + posterior.location[:, 1:] @ (new - posterior.center).T)
    given: Any = stats.poisson(mean)
    if likelihood == "negative_binomial":
        phi = posterior.auxiliary["dispersion"][:, None]
        given = stats.nbinom(1.0 / phi, 1.0 / (1.0 + phi * mean))
    distribution = model.predict_distribution(new, exposure=hours)
    counts = distribution.ppf(np.array([[0.05], [0.5], [0.95]]))
    assert_array_equal(counts, np.rint(counts))
    for probability, k in zip((0.05, 0.5, 0.95), counts, strict=True):
        below, at_most = (posterior.weights @ given.cdf(x) for x in (k - 1.0, k))
        # Of very many events the posterior's nodes are told apart, which predictions smooth.
        close = 2e-3 if hours < 10.0 else 6e-3
        assert (at_most > probability - close).all()
        assert (below < probability + close).all()
        assert_allclose(distribution.cdf(k), at_most, atol=close)
        if hours < 10.0:
            assert_allclose(distribution.pdf(k), posterior.weights @ given.pmf(k), rtol=0.03)
    assert_allclose(distribution.mean(), posterior.weights @ mean, rtol=1e-9)
    moments = posterior.weights @ (given.var() + np.square(mean - distribution.mean()))
    assert_allclose(distribution.var(), moments, rtol=1e-6)
    parts = distribution.variance_parts
    assert_allclose(parts["finite_count"], distribution.mean(), rtol=1e-9)
    assert (parts["scatter"] > 0.0).all() == (likelihood == "negative_binomial")
    draws = distribution.sample(2000, 1)
    assert_array_equal(draws, np.rint(draws))
    assert (np.abs(draws.mean(axis=1) - distribution.mean()) < 5.0 * distribution.std() / np.sqrt(2000)).all()
    rates = model.predict_distribution(new)
    assert_allclose(rates.mean() * hours, distribution.mean(), rtol=1e-9)
    assert_allclose(rates.var() * hours**2, distribution.var() - parts["finite_count"], rtol=1e-6)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_predictions_of_measured_rows_average_over_the_true_ones(likelihood: str) -> None:
    rng = np.random.default_rng(0)
    noisy = T.X + [0.4, 0.0] * rng.normal(size=T.X.shape)
    model = Regressor(likelihood=likelihood, random_state=0, draws=100)
    model.fit(noisy, T.events, exposure=T.hours, X_err=[0.4, 0.0])
    assert model.inference_ == "importance"
    assert abs(model.coef_[0] - COEF[0]) < 3.0 * model.coef_std_[0]
    distribution = model.predict_distribution(noisy[:20], exposure=T.hours[:20])
    draws = distribution.sample(20_000, 2)
    for probability in (0.1, 0.5, 0.9):
        counts = distribution.ppf(probability)
        # Five standard errors of a share of draws, and what few points stand for.
        assert_allclose(distribution.cdf(counts), (draws <= counts[:, None]).mean(axis=1), atol=0.025)
    true = model.predict_distribution(noisy[:20], exposure=T.hours[:20], X_err=0.0)
    assert (true.var() < distribution.var()).mean() > 0.8
    lower, upper = model.predict_interval(noisy, 0.9, exposure=T.hours).T
    assert 0.84 < np.mean((T.events >= lower) & (T.events <= upper)) < 1.0
    transforms = model.loo_pit(noisy, T.events, exposure=T.hours, X_err=[0.4, 0.0])
    assert stats.kstest(transforms, "uniform").pvalue > 1e-3


@pytest.mark.filterwarnings("ignore:Leave-one-out is not to be trusted")  # of one row, not looked at here
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_leaving_a_row_out_is_fitting_the_others(likelihood: str) -> None:
    table = events(25, 2, 0.3)
    model = Regressor(
        likelihood=likelihood, random_state=0, standardize=False, coef_prior=Normal(), draws=4000
    )
    model.set_params(intercept_prior=Normal()).fit(table.X, table.events, exposure=table.hours)
    found = model.loo(table.X, table.events, exposure=table.hours)
    pit = model.loo_pit(table.X, table.events, exposure=table.hours)
    of_rows = np.asarray(found["loo_i"] if hasattr(found, "loo_i") else found.elpd_i)
    for row in (0, 11):
        rest = np.arange(25) != row
        other = Regressor(likelihood=likelihood, random_state=0, standardize=False, coef_prior=Normal())
        other.set_params(intercept_prior=Normal())
        other.fit(table.X[rest], table.events[rest], exposure=table.hours[rest])
        new = other.predict_distribution(table.X[[row]], exposure=table.hours[[row]])
        assert_allclose(of_rows[row], new.logpdf(table.events[[row]])[0], atol=0.05)
        assert_allclose(pit[row], new.pit(table.events[[row]])[0], atol=0.02)


# --- intervals hold what they say ----------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("intercept", [-3.0, 0.5], ids=["mostly zeros", "many events"])
@pytest.mark.parametrize("noisy", [False, True], ids=["exact", "noisy"])
def test_intervals_hold_slopes_and_new_counts(likelihood: str, intercept: float, noisy: bool) -> None:
    """Of 200 tables; a share of 0.9 is within 0.064 in all but one of 400 such runs, discrete ones hold more."""
    held: dict[str, list[float]] = {"slope": [], "count": []}
    dispersion = 0.5 if likelihood == "negative_binomial" else 0.0
    for seed in range(200):
        table, new = (events(60, 1000 * part + seed, dispersion, intercept) for part in (1, 2))
        rng = np.random.default_rng(seed)
        hours = table.hours / 5.0
        counts = rng.binomial(table.events.astype(int), 0.2)  # thinned: a fifth of the time
        error = 0.5 if noisy else 0.0
        X, X_new = (part + error * rng.normal(size=part.shape) * [1.0, 0.0] for part in (table.X, new.X))
        given = {"X_err": [error, 0.0]} if noisy else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Regressor(likelihood=likelihood, random_state=0, inference="importance")
            model.fit(X, counts, exposure=hours, **given)
        table_of = model.summary(0.9)
        lower, upper = (table_of[f"{side}_90%"][["x0", "x1"]].to_numpy() for side in ("lower", "upper"))
        held["slope"] += list((lower < COEF) & (upper > COEF))
        lower, upper = model.predict_interval(X_new[:10], 0.9, exposure=new.hours[:10]).T
        held["count"].append(float(np.mean((new.events[:10] >= lower) & (new.events[:10] <= upper))))
    assert 0.84 < np.mean(held["slope"]) < 0.97
    assert 0.86 < np.mean(held["count"]) < 0.985


def test_tables_without_events_have_a_posterior_that_knows_how_much_was_seen() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 1))
    again = []
    for hours in (1.0, 1000.0):
        model = Regressor(likelihood="poisson", random_state=0)
        model.fit(X, np.zeros(30), exposure=np.full(30, hours))
        assert np.isfinite(model.coef_).all()
        again.append(model.predict(X, exposure=hours).sum())
    # About half an event over as much again, whatever its unit.
    assert_allclose(again[0], again[1], rtol=1e-6)
    assert 0.1 < again[0] < 1.0
    with pytest.raises(ValueError, match=r"no event was counted.*intercept_prior=Normal"):
        Regressor(likelihood="poisson", intercept_prior=Flat()).fit(X, np.zeros(30))
    with pytest.raises(ValueError, match="no event was counted"):
        Regressor(likelihood="poisson", standardize=False).fit(X, np.zeros(30))


def test_features_that_separate_rows_without_events_are_refused_under_flat_priors() -> None:
    x = np.arange(20.0)[:, None]
    events_of = np.where(x[:, 0] == 19.0, 3.0, 0.0)
    with pytest.raises(ValueError, match="coef_prior"):
        Regressor(likelihood="poisson", coef_prior=Flat(), intercept_prior=Flat()).fit(x, events_of)
    events_of[3] = 1.0
    Regressor(likelihood="poisson", coef_prior=Flat(), intercept_prior=Flat()).fit(x, events_of)


# --- what goes out -------------------------------------------------------------------------------


def test_the_audit_tells_events_that_vary_by_more_than_chance() -> None:
    assert audit_errors(fitted(), T.X, T.events, exposure=T.hours).verdict == "about right"
    table = events(150, 4, 0.5)
    audit = audit_errors(fitted(table=table), table.X, table.events, exposure=table.hours)
    assert audit.kind == "events"
    assert audit.verdict == "extra-Poisson variation"
    assert "likelihood='negative_binomial'" in audit.message
    wide = audit_errors(fitted("negative_binomial", table), table.X, table.events, exposure=table.hours)
    assert "The fit allows for it" in wide.message
    assert 0.88 < wide.coverage < 1.0


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_draws_for_arviz_are_of_counts(likelihood: str) -> None:
    model = fitted(likelihood, draws=200)
    data = model.to_arviz(T.X, T.events, exposure=T.hours, prior=True)
    assert_allclose(data.observed_data["y"], T.events, rtol=1e-12)
    assert_allclose(data.constant_data["exposure"], T.hours)
    predicted = np.asarray(data.posterior_predictive["y"])
    assert_allclose(predicted, np.rint(predicted), atol=1e-9)
    assert set(data.prior.data_vars) == set(data.posterior.data_vars)
    drawn = np.asarray(data.prior_predictive["y"])
    assert_array_equal(drawn, np.rint(drawn))
    # One unit for all: the log of the probability of the count.
    mean = T.hours * np.exp(
        np.asarray(data.posterior["intercept"])[..., None] + np.asarray(data.posterior["coef"]) @ T.X.T
    )
    if likelihood == "poisson":
        assert_allclose(data.log_likelihood["y"], stats.poisson.logpmf(T.events, mean), rtol=1e-8)


def test_displays_show_counts_and_rates() -> None:
    model = fitted()
    display = PredictionDisplay.from_estimator(model, T.X, T.events, exposure=T.hours, subsample=None)
    assert_array_equal(display.y_true, T.events)
    # Bars end at zero.
    expected = model.predict(T.X, exposure=T.hours)
    bars = np.stack([np.minimum(np.sqrt(expected), T.events), np.sqrt(expected)])
    assert_allclose(display.y_err, bars)
    in_column = Regressor(likelihood="poisson", exposure_column=2, random_state=0).fit(T.columns, T.events)
    for lines in (
        RegressionLineDisplay.from_estimator(model, T.X, T.events, exposure=T.hours, adjust=False),
        RegressionLineDisplay.from_estimator(in_column, T.columns, T.events, adjust=False),
    ):
        assert_allclose(lines.y, T.events / T.hours)
        assert_allclose(lines.y_err, bars / T.hours)
        assert_allclose(np.log(lines.mean), INTERCEPT + COEF[0] * lines.grid, atol=0.2)
        assert "per unit of exposure" in lines.target


# --- bad input -----------------------------------------------------------------------------------

H = T.hours
BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an exposure of zero": ({}, {"exposure": np.where(np.arange(120) == 3, 0.0, H)}, "exposure.*row 3"),
    "one below": ({}, {"exposure": -1.0}, "exposure must be positive"),
    "NaN": ({}, {"exposure": np.where(np.arange(120) == 3, np.nan, H)}, "exposure contains NaN.*row 3"),
    "words": ({}, {"exposure": ["an hour"] * 120}, "exposure must be an array of 120 real numbers"),
    "too few": ({}, {"exposure": H[1:]}, r"exposure has shape \(119,\)"),
    "zero in a column": (
        {"exposure_column": 0},
        {"X": np.column_stack([np.where(np.arange(120) == 3, 0.0, H), T.X]), "exposure": None},
        "exposure_column must be positive, got 0 in row 3",
    ),
    "twice": ({"exposure_column": 0}, {"X": np.column_stack([H, T.X])}, "leave exposure out"),
    "no such column": ({"exposure_column": "hours"}, {}, "exposure_column='hours'"),
    "counts below zero": ({}, {"y": np.where(np.arange(120) == 3, -1.0, T.events)}, "got -1 in row 3"),
    "rates": ({}, {"y": T.events / H}, "whole numbers of events.*exposure"),
    "y_err": ({}, {"y_err": 1.0}, "y_err is given.*exposure"),
    "a count column": ({"count_column": 0}, {}, "count_column is given.*exposure"),
    "weights as counts": ({"weight_type": "counts"}, {}, "weight_type='counts'.*exposure"),
    "weights as precisions": ({"weight_type": "precision"}, {}, "weight_type='precision'"),
    "normal noise": ({"likelihood": "normal"}, {}, "'poisson' and 'negative_binomial'"),
    "shares": ({"likelihood": "binomial"}, {}, "'poisson' and 'negative_binomial'"),
    "a column under shares": (
        {"likelihood": "binomial", "exposure_column": 0},
        {"exposure": None},
        "exposure_column is given, but likelihood='binomial'",
    ),
    "a prior of the wrong kind": (
        {"likelihood": NegativeBinomialLikelihood(Normal())},  # type: ignore[arg-type]
        {},
        "likelihood__dispersion_prior must be a prior",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_in_few_words_and_touches_nothing(case: str) -> None:
    settings, data, says = BAD[case]
    model = fitted()
    before = model.__dict__.copy()
    model.set_params(**settings)
    given = {"X": T.X, "y": T.events, "exposure": T.hours} | data
    with pytest.raises((ValueError, TypeError), match=f"(?s){says}") as refused:
        model.fit(**given)
    assert len(str(refused.value)) <= 400
    assert all(getattr(model, name) is value for name, value in before.items() if name.endswith("_"))


def test_bad_input_to_predictions_is_named() -> None:
    model = fitted()
    for given, says in (
        ({"counts": 3.0}, "counts is given.*exposure"),
        ({"y_err": 3.0}, "y_err is given.*exposure"),
        ({"exposure": 0.0}, "exposure must be positive"),
        ({"exposure": H[1:]}, "exposure has shape"),
    ):
        with pytest.raises(ValueError, match=says):
            model.predict(T.X, **given)
    for call in (model.score, model.loo, model.loo_pit, model.to_arviz, audit_with(model)):
        with pytest.raises(ValueError, match="fitted with exposures: give exposure"):
            call(T.X, T.events)
    with pytest.raises(ValueError, match="exposure is given, but likelihood='normal'"):
        Regressor().fit(T.X, T.events).predict(T.X, exposure=1.0)
    with pytest.raises(AttributeError, match="partial_fit"):
        model.partial_fit(T.X, T.events)


def audit_with(model: Regressor) -> Any:
    return lambda X, y: audit_errors(model, X, y)


def test_weights_that_look_like_exposures_are_asked_about() -> None:
    with pytest.warns(UserWarning, match="give them as exposure"):
        Regressor(likelihood="poisson").fit(T.X, T.events, T.hours)


def test_distributions_of_pipelines_take_exposures() -> None:
    model = make_pipeline(PolynomialFeatures(1, include_bias=False), Regressor(likelihood="poisson"))
    model.fit(T.X, T.events, bayesianerrorsinvariablesregressor__exposure=T.hours)
    found = predictive_distribution(model, T.X, exposure=T.hours)
    assert found.pit(T.events).shape == (120,)
