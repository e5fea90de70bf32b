"""Scores against their definitions, and scorers wherever scikit-learn takes one."""

import pickle
import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import sklearn
from scipy import integrate, stats
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import ARDRegression, BayesianRidge, Ridge
from sklearn.metrics import mean_pinball_loss
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import BayesianErrorsInVariablesRegressor, metrics, predictive_distribution
from bayes_sklearn.metrics import (
    SCORERS,
    crps,
    interval_coverage,
    interval_coverage_scorer,
    interval_score,
    interval_width,
    log_predictive_density,
    log_predictive_density_scorer,
    make_probabilistic_scorer,
    neg_crps_scorer,
    neg_interval_score_scorer,
    neg_interval_width_scorer,
    neg_pit_error_scorer,
    pit,
    pit_error,
)

# ------------------------------------------------------------------------------------------------
# Closed forms
# ------------------------------------------------------------------------------------------------


def crps_by_definition(y, distribution):
    """Integral of (F(z) - 1{z >= y})^2, split at the step."""
    below = integrate.quad(lambda z: distribution.cdf(z) ** 2, -np.inf, y)[0]
    above = integrate.quad(lambda z: distribution.sf(z) ** 2, y, np.inf)[0]
    return below + above


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.3, 0.4), (-2.0, 3.0), (0.7, 20.0)])
@pytest.mark.parametrize("y", [-1.0, 0.0, 0.7, 2.5])
def test_crps_of_a_normal_is_the_integral_of_its_definition(y, mean, std):
    expected = crps_by_definition(y, stats.norm(mean, std))
    assert crps([y], [mean], [std]) == pytest.approx(expected, rel=1e-7)


def test_crps_of_a_normal_at_its_mean_has_the_known_value():
    assert crps([5.0], [5.0], [3.0]) == pytest.approx(3 * (np.sqrt(2) - 1) / np.sqrt(np.pi))


@pytest.mark.parametrize("std", [1e-12, 1e-300, 5e-324])
def test_crps_of_a_prediction_without_spread_is_the_absolute_error(std):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert crps([1.0, -4.0], [3.0, -1.0], [std, std]) == pytest.approx(2.5)


def test_log_predictive_density_is_the_mean_normal_log_density():
    y, mean, std = np.array([0.3, -2.0, 9.0]), np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.2, 4.0])
    expected = -0.5 * np.log(2 * np.pi) - np.log(std) - (y - mean) ** 2 / (2 * std**2)
    assert log_predictive_density(y, mean, std) == pytest.approx(expected.mean(), rel=1e-12)


def test_pit_is_the_predictive_cdf_at_each_value():
    values = pit([1.0, 2.0, 3.0], [1.0, 0.0, 6.0], [0.5, 1.0, 3.0])
    np.testing.assert_allclose(values, [0.5, 0.9772498680518208, 0.15865525393145707])


@dataclass
class Uniform:
    """A predictive distribution that is no Normal: Uniform(0, 1) in each of n rows."""

    n: int

    def logpdf(self, y):
        return np.where((y >= 0) & (y <= 1), 0.0, -np.inf) + np.zeros(self.n)

    def cdf(self, y):
        return np.clip(y, 0, 1) + np.zeros(self.n)

    def crps(self, y):
        u = np.clip(y, 0, 1)
        return np.abs(y - u) + (u**3 + (1 - u) ** 3) / 3 + np.zeros(self.n)


def test_a_distribution_is_scored_as_itself():
    y = np.array([-0.5, 0.2, 0.9])
    expected = np.mean([crps_by_definition(value, stats.uniform()) for value in y])
    assert crps(y, Uniform(3)) == pytest.approx(expected)
    assert log_predictive_density(y[1:], Uniform(2)) == 0.0
    assert log_predictive_density(y, Uniform(3)) == -np.inf
    np.testing.assert_array_equal(pit(y, Uniform(3)), [0, 0.2, 0.9])


def test_pit_stays_a_probability_where_a_cdf_rounds_past_one():
    class Rounding:
        def cdf(self, y):
            return np.nextafter(y + 1, 2)

    assert pit([0.0], Rounding()) == 1.0
    assert pit_error(pit([0.0], Rounding())) == 0.5


def test_pit_under_the_truth_is_uniform_and_under_no_other():
    truth = stats.gamma(2.5)
    probabilities = (np.arange(1000) + 0.5) / 1000
    y = truth.ppf(probabilities)
    np.testing.assert_allclose(pit(y, truth), probabilities, atol=1e-12)
    assert pit_error(pit(y, truth)) == pytest.approx(1 / 4000)
    normal = np.full(1000, truth.mean()), np.full(1000, truth.std())
    assert pit_error(pit(y, *normal)) > 0.02


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_interval_score_is_the_pinball_losses_of_its_limits(coverage):
    y = np.array([-3.0, -1.0, 0.0, 0.5, 2.0, 7.0])
    lower, upper = np.array([-1.0, -1, -2, 0, 3, 1]), np.array([1.0, 4, 0, 3, 4, 2])
    alpha = 1 - coverage
    losses = mean_pinball_loss(y, lower, alpha=alpha / 2)
    losses += mean_pinball_loss(y, upper, alpha=1 - alpha / 2)
    score = interval_score(y, lower, upper, coverage=coverage)
    assert score == pytest.approx(2 / alpha * losses)


def test_interval_scores_have_the_known_values():
    y, lower, upper = [3.0, 1.0, 2.0, -1.0], [0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 6.0]
    # widths 2, 2, 2, 6; the first misses by 1 and the last by 1, each costing 2 / 0.1
    assert interval_score(y, lower, upper, coverage=0.9) == pytest.approx((12 + 40) / 4)
    assert interval_coverage(y, lower, upper) == 0.5
    assert interval_width(lower, upper) == 3.0


def test_interval_score_is_for_95_percent_unless_told_otherwise():
    arguments = [1.5, 0.0], [0.0, 0.0], [1.0, 1.0]
    assert interval_score(*arguments) == interval_score(*arguments, coverage=0.95)


# ------------------------------------------------------------------------------------------------
# pit_error
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "weights"),
    [
        ([0.5], [1.0]),
        ([0.0, 0.0, 1.0], [1.0, 1.0, 1.0]),
        ([0.9, 0.1, 0.35, 0.35, 0.6], [1.0, 1.0, 1.0, 1.0, 1.0]),
        ([0.9, 0.1, 0.35, 0.35, 0.6], [0.2, 3.0, 0.0, 1.7, 0.4]),
    ],
)
def test_pit_error_is_the_area_between_the_empirical_and_the_uniform_cdf(values, weights):
    values, weights = np.array(values), np.array(weights)

    def gap(u):
        return abs(weights[values <= u].sum() / weights.sum() - u)

    # |F - u| has kinks at the values and where u crosses one of F's levels.
    levels = np.cumsum(weights[np.argsort(values)]) / weights.sum()
    edges = np.unique(np.concatenate([[0.0, 1.0], values, levels]))
    area = sum(integrate.quad(gap, *edge)[0] for edge in pairwise(edges))
    assert pit_error(values, sample_weight=weights) == pytest.approx(area, rel=1e-9)


def test_pit_error_is_a_half_at_worst_and_a_quarter_nth_at_best():
    assert pit_error([0.0, 0.0, 0.0]) == 0.5
    assert pit_error([1.0]) == 0.5
    assert pit_error((np.arange(8) + 0.5) / 8) == pytest.approx(1 / 32)


def calibrated_pit_error(n):
    """Integral over u of E|Binomial(n, u) / n - u|, by de Moivre's mean absolute deviation."""
    u = (np.arange(200_000) + 0.5) / 200_000
    k = np.floor(n * u) + 1
    return np.mean(2 * k * (1 - u) * stats.binom.pmf(k, n, u)) / n


def test_pit_error_under_calibration_has_the_documented_expectation():
    assert integrate.quad(lambda u: pit_error([u]), 0, 1)[0] == pytest.approx(1 / 3)
    assert calibrated_pit_error(1) == pytest.approx(1 / 3, rel=1e-5)
    limit = np.sqrt(2 / np.pi) * np.pi / 8
    assert limit == pytest.approx(0.313, abs=5e-4)
    assert 100 * calibrated_pit_error(10_000) == pytest.approx(limit, rel=1e-3)
    rng = np.random.default_rng(0)
    errors = [pit_error(rng.random(50)) for _ in range(1000)]
    standard_error = np.std(errors) / np.sqrt(1000)
    assert np.mean(errors) == pytest.approx(calibrated_pit_error(50), abs=4 * standard_error)


# ------------------------------------------------------------------------------------------------
# Propriety and weights
# ------------------------------------------------------------------------------------------------

PROPER_LOSSES = {
    "log": lambda y, m, s: -log_predictive_density(y, m, s),
    "crps": crps,
    "interval": lambda y, m, s: interval_score(y, m - 1.96 * s, m + 1.96 * s),
}


@pytest.mark.parametrize("loss", PROPER_LOSSES.values(), ids=PROPER_LOSSES)
@pytest.mark.parametrize(("shift", "scale"), [(0.2, 1), (-0.2, 1), (0, 0.8), (0, 1.25), (0.2, 0.9)])
def test_expected_score_is_best_for_the_truth(loss, shift, scale):
    # Midpoints in probability: the average over them is the integral over Normal(1, 2).
    y = stats.norm(1, 2).ppf((np.arange(20_000) + 0.5) / 20_000)
    truth = np.full(20_000, 1.0), np.full(20_000, 2.0)
    other = truth[0] + 2 * shift, truth[1] * scale
    assert loss(y, *truth) < loss(y, *other) - 1e-3


SIX = {
    "log": lambda y, m, s, **w: log_predictive_density(y, m, s, **w),
    "crps": lambda y, m, s, **w: crps(y, m, s, **w),
    "interval_score": lambda y, m, s, **w: interval_score(y, m - s, m + s, **w),
    "coverage": lambda y, m, s, **w: interval_coverage(y, m - s, m + s, **w),
    "width": lambda y, m, s, **w: interval_width(m - s, m + s, **w),
    "pit_error": lambda y, m, s, **w: pit_error(pit(y, m, s), **w),
}


@pytest.mark.parametrize("score", SIX.values(), ids=SIX)
def test_an_integer_weight_equals_repeated_rows(score):
    rng = np.random.default_rng(3)
    y, mean, std = rng.normal(size=12), rng.normal(size=12), rng.uniform(0.5, 2, size=12)
    repeats = np.array([0, 1, 5, 2, 1, 0, 3, 1, 1, 4, 2, 7])
    repeated = score(*(np.repeat(column, repeats) for column in (y, mean, std)))
    assert score(y, mean, std, sample_weight=repeats) == pytest.approx(repeated, rel=1e-12)
    assert score(y, mean, std) != pytest.approx(repeated, rel=1e-5)


def test_a_row_of_weight_zero_is_left_out_though_its_score_is_infinite():
    assert log_predictive_density([0.5, 3.0], Uniform(2), sample_weight=[1, 0]) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: crps([1.0], [1.0]), "y_std is missing.*method crps"),
        (lambda: crps([1.0], stats.norm()), "y_std is missing.*method crps"),
        (lambda: crps([1.0], Uniform(1), [1.0]), "y_std must be left out"),
        (lambda: crps([1.0, 2.0], [1.0, 2.0], [1.0, 0.0]), "y_std must be positive"),
        (lambda: pit([1.0, 2.0], [1.0, 2.0], [1.0, -2.0]), "y_std must be positive"),
        (lambda: pit([1.0, 2.0], [1.0], [1.0, 1.0]), "y_pred has 1 values, y_true 2"),
        (lambda: pit([1.0], Uniform(4)), "y_true has shape.*same rows"),
        (lambda: pit([np.nan], [1.0], [1.0]), "y_true must hold finite numbers.*NaN"),
        (lambda: pit([1.0], [np.inf], [1.0]), "y_pred must hold finite numbers"),
        (lambda: pit(["a"], [1.0], [1.0]), "y_true must hold finite numbers"),
        (lambda: pit([[1.0, 2.0]], [1.0], [1.0]), r"y_true must be of shape \(n,\)"),
        (lambda: pit([], [], []), r"y_true must be of shape \(n,\) with n > 0"),
        (lambda: pit(1.0, 1.0, 1.0), r"y_true must be of shape \(n,\)"),
        (lambda: pit_error([0.5, 1.5]), r"pit_values must lie in \[0, 1\]"),
        (lambda: pit_error([0.5], sample_weight=[1, 1]), "sample_weight has 2 values for 1 rows"),
        (lambda: pit_error([0.5, 0.6], sample_weight=[2, -1]), "sample_weight must not be neg"),
        (lambda: interval_width([0.0], [1.0], sample_weight=[0]), "sample_weight must not .* 0"),
        (lambda: interval_width([0.0, 2.0], [1.0, 1.0]), "y_lower exceeds y_upper, first in row 1"),
        (lambda: interval_coverage([0.0], [1.0], [0.0]), "y_lower exceeds y_upper"),
        (lambda: interval_score([0.0], [1.0], [0.0]), "y_lower exceeds y_upper"),
        (lambda: interval_score([0.0], [0.0], [1.0], coverage=95), "coverage must lie between"),
        (lambda: interval_score([0.0], [0.0], [1.0], coverage=np.nan), "coverage must lie"),
        (lambda: interval_score([0.0], [0.0], [1.0], coverage="0.9"), "coverage must lie"),
        (lambda: make_probabilistic_scorer("crps"), "score must be one of.*neg_crps"),
        (lambda: make_probabilistic_scorer("neg_crps", coverage=0.9), "coverage means nothing"),
        (lambda: make_probabilistic_scorer("interval_coverage", coverage=1), "coverage must lie"),
    ],
)
def test_bad_input_is_a_value_error_that_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------------------------------
# Scorers
# ------------------------------------------------------------------------------------------------

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + rng.normal(scale=0.7, size=60)
WEIGHTS = rng.integers(1, 20, size=60)
FOLDS = KFold(3)
GRID = {"lambda_init": [0.1, 10.0]}


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def by_hand(y, mean, std, sample_weight=None, coverage=0.95):
    """All six, from the definitions, for Normal(mean, std)."""
    normal, half = stats.norm(mean, std), std * stats.norm.ppf((1 + coverage) / 2)
    miss = np.maximum(np.abs(y - mean) - half, 0)
    score = {
        "log_predictive_density": normal.logpdf(y),
        "neg_crps": -np.array(
            [crps_by_definition(*row) for row in zip(y, map(stats.norm, mean, std), strict=True)]
        ),
        "neg_interval_score": -(2 * half + 2 / (1 - coverage) * miss),
        "interval_coverage": miss == 0,
        "neg_interval_width": -2 * half,
    }
    averages = {name: np.average(rows, weights=sample_weight) for name, rows in score.items()}
    return averages | {"neg_pit_error": -pit_error(normal.cdf(y), sample_weight=sample_weight)}


REGRESSORS = {
    "BayesianRidge": BayesianRidge(),
    "ARDRegression": ARDRegression(),
    "GaussianProcessRegressor": GaussianProcessRegressor(RBF(3) + WhiteKernel(0.5), optimizer=None),
    "Pipeline": make_pipeline(StandardScaler(), BayesianRidge()),
    "GridSearchCV": GridSearchCV(BayesianRidge(), GRID, cv=FOLDS),
    "Pipeline in GridSearchCV": GridSearchCV(
        make_pipeline(StandardScaler(), ARDRegression()), {"ardregression__tol": [1e-2]}, cv=FOLDS
    ),
}


@pytest.mark.parametrize("regressor", REGRESSORS.values(), ids=REGRESSORS)
def test_scorers_equal_the_hand_computation(regressor):
    fitted = clone(regressor).fit(X[:40], Y[:40])
    predictor = getattr(fitted, "best_estimator_", fitted)
    mean, std = predictor.predict(X[40:], return_std=True)
    for weights in (None, WEIGHTS[40:]):
        expected = by_hand(Y[40:], mean, std, weights)
        scores = {name: s(fitted, X[40:], Y[40:], weights) for name, s in SCORERS.items()}
        assert scores == pytest.approx(expected, rel=1e-6)


def test_each_named_scorer_is_the_one_of_its_name():
    by_name = {
        "log_predictive_density": log_predictive_density_scorer,
        "neg_crps": neg_crps_scorer,
        "neg_pit_error": neg_pit_error_scorer,
        "neg_interval_score": neg_interval_score_scorer,
        "interval_coverage": interval_coverage_scorer,
        "neg_interval_width": neg_interval_width_scorer,
    }
    assert by_name == SCORERS


def test_a_scorer_for_another_coverage_scores_that_interval():
    fitted = BayesianRidge().fit(X[:40], Y[:40])
    expected = by_hand(Y[40:], *fitted.predict(X[40:], return_std=True), coverage=0.6)
    for name in ("neg_interval_score", "interval_coverage", "neg_interval_width"):
        scorer = make_probabilistic_scorer(name, coverage=0.6)
        assert scorer(fitted, X[40:], Y[40:]) == pytest.approx(expected[name])


def test_a_better_prediction_scores_greater():
    good, bad = BayesianRidge().fit(X, Y), BayesianRidge().fit(X, Y[::-1])
    for name in SCORERS.keys() - {"interval_coverage"}:
        assert SCORERS[name](good, X, Y) > SCORERS[name](bad, X, Y)


@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: make_pipeline(StandardScaler(), r)])
def test_a_regressor_without_a_standard_deviation_is_refused_by_name(wrap):
    fitted = wrap(Ridge()).fit(X, Y)
    with pytest.raises(TypeError, match=r"Ridge.*return_std"):
        neg_crps_scorer(fitted, X, Y)
    with pytest.raises(TypeError, match=r"Ridge.*return_std"):
        cross_validate(fitted, X, Y, scoring=SCORERS, error_score="raise")


def test_scorers_survive_pickle_clone_and_repr(routing):
    scorers = [*SCORERS.values(), make_probabilistic_scorer("interval_coverage", coverage=0.5)]
    scorers += [neg_crps_scorer.set_score_request(counts="n", sample_weight=True)]
    for scorer in scorers:
        for copy in (
            pickle.loads(pickle.dumps(scorer)),
            clone(GridSearchCV(BayesianRidge(), GRID, scoring=scorer)).scoring,
            eval(repr(scorer), {"make_probabilistic_scorer": make_probabilistic_scorer}),
        ):
            assert copy == scorer
            assert hash(copy) == hash(scorer)
            assert repr(copy) == repr(scorer)
    assert len(set(map(repr, scorers))) == len(scorers)


def held_out_scores(name, fit_weight=None, score_weight=None):
    """The score of each fold without scikit-learn's cross-validation."""
    ones = np.ones(60)
    fit_weight = ones if fit_weight is None else fit_weight
    score_weight = ones if score_weight is None else score_weight
    scores = []
    for train, test in FOLDS.split(X):
        fitted = BayesianRidge().fit(X[train], Y[train], sample_weight=fit_weight[train])
        scores.append(SCORERS[name](fitted, X[test], Y[test], sample_weight=score_weight[test]))
    return scores


@pytest.mark.parametrize("enabled", [False, True], ids=["routing off", "routing on"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_cross_validation_scores_each_held_out_fold(enabled, n_jobs):
    with sklearn.config_context(enable_metadata_routing=enabled):
        options = {"cv": FOLDS, "n_jobs": n_jobs, "error_score": "raise"}
        together = cross_validate(BayesianRidge(), X, Y, scoring=SCORERS, **options)
        alone = cross_val_score(BayesianRidge(), X, Y, scoring=neg_crps_scorer, **options)
        grid = {"scoring": SCORERS, "refit": "neg_crps"}
        multi = GridSearchCV(BayesianRidge(), GRID, **grid, **options).fit(X, Y)
        single = GridSearchCV(BayesianRidge(), GRID, scoring=neg_crps_scorer, **options).fit(X, Y)
    np.testing.assert_allclose(alone, held_out_scores("neg_crps"))
    for name in SCORERS:
        np.testing.assert_allclose(together[f"test_{name}"], held_out_scores(name))
        assert multi.cv_results_[f"mean_test_{name}"].shape == (2,)
    assert single.score(X, Y) == multi.score(X, Y) == neg_crps_scorer(single, X, Y)
    np.testing.assert_array_equal(
        single.cv_results_["mean_test_score"], multi.cv_results_["mean_test_neg_crps"]
    )


def test_without_routing_a_search_weights_the_scores_as_it_does_with_r2():
    grid = {"lambda_init": [1.0]}
    single = GridSearchCV(BayesianRidge(), grid, scoring=neg_crps_scorer, cv=FOLDS)
    multi = GridSearchCV(BayesianRidge(), grid, scoring=SCORERS, refit="neg_crps", cv=FOLDS)
    for search in (single, multi):
        search.set_params(error_score="raise").fit(X, Y, sample_weight=WEIGHTS)
    # scikit-learn passes a search's weights to scorers from 1.7 on.
    passed = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 7)
    expected = held_out_scores("neg_crps", WEIGHTS, WEIGHTS if passed else None)
    assert single.best_score_ == pytest.approx(np.mean(expected))
    assert multi.best_score_ == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(("request_", "weights"), [(True, WEIGHTS), (False, None)])
@pytest.mark.parametrize("several", [False, True])
def test_routed_weights_reach_the_score_when_asked_for(routing, request_, weights, several):
    regressor = BayesianRidge().set_fit_request(sample_weight=True)
    scorer = neg_crps_scorer.set_score_request(sample_weight=request_)
    options = {"scoring": {"score": scorer} if several else scorer, "cv": FOLDS}
    expected = held_out_scores("neg_crps", WEIGHTS, weights)
    cross = cross_validate(regressor, X, Y, params={"sample_weight": WEIGHTS}, **options)
    np.testing.assert_allclose(cross["test_score"], expected)
    search = GridSearchCV(regressor, {"lambda_init": [1.0]}, refit="score", **options)
    search.fit(X, Y, sample_weight=WEIGHTS)
    assert search.best_score_ == pytest.approx(np.mean(expected))
    if request_:
        assert search.score(X, Y, sample_weight=WEIGHTS) == pytest.approx(
            neg_crps_scorer(search.best_estimator_, X, Y, sample_weight=WEIGHTS)
        )


@pytest.fixture
def prediction_metadata(monkeypatch):
    """Metadata that reached the prediction of each fold; BayesianRidge itself takes none."""
    seen = []

    def record(estimator, X, y, **metadata):
        seen.append(metadata)
        return predictive_distribution(estimator, X)

    monkeypatch.setattr(metrics.scorers, "distribution_of_measured", record)
    return seen


def test_counts_that_went_to_fit_as_weights_reach_the_prediction(routing, prediction_metadata):
    regressor = BayesianRidge().set_fit_request(sample_weight=True)
    scorer = neg_crps_scorer.set_score_request(counts="sample_weight")
    for scoring in (scorer, {"score": scorer}):
        prediction_metadata.clear()
        options = {"scoring": scoring, "cv": FOLDS, "error_score": "raise"}
        cross = cross_validate(regressor, X, Y, params={"sample_weight": WEIGHTS}, **options)
        search = GridSearchCV(regressor, {"lambda_init": [1.0]}, refit="score", **options)
        search.fit(X, Y, sample_weight=WEIGHTS)
        held_out = [WEIGHTS[test] for _, test in FOLDS.split(X)]
        expected = [{"counts": counts} for counts in [*held_out, *held_out]]
        np.testing.assert_equal(prediction_metadata, expected)
        # They are not the rows' weights in the score, too.
        np.testing.assert_allclose(cross["test_score"], held_out_scores("neg_crps", WEIGHTS))


def test_counts_passed_as_weights_past_the_routing_are_not_taken_for_weights(routing, prediction_metadata):
    scorer = neg_crps_scorer.set_score_request(counts="sample_weight")
    regressor = BayesianRidge().set_fit_request(sample_weight=True)
    search = GridSearchCV(regressor, {"lambda_init": [1.0]}, cv=FOLDS, scoring=scorer)
    search.fit(X, Y, sample_weight=WEIGHTS).score(X, Y, sample_weight=WEIGHTS)
    np.testing.assert_equal(prediction_metadata[-1], {"counts": WEIGHTS})
    # With several metrics the search's own score bypasses what its scorer asked for.
    search.set_params(scoring={"crps": scorer}, refit="crps").fit(X, Y, sample_weight=WEIGHTS)
    with pytest.raises(ValueError, match="call it with counts="):
        search.score(X, Y, sample_weight=WEIGHTS)
    assert scorer(search, X, Y, counts=WEIGHTS) == neg_crps_scorer(search, X, Y)


def test_shares_are_scored_with_the_counts_behind_them(routing):
    counts = WEIGHTS + 2
    shares = np.random.default_rng(1).binomial(counts, 0.3 + 0.1 * np.tanh(X[:, 0])) / counts
    regressor = BayesianErrorsInVariablesRegressor(weight_type="counts")
    regressor.set_fit_request(sample_weight=True)
    scoring = {name: s.set_score_request(counts="sample_weight") for name, s in SCORERS.items()}
    options = {"params": {"sample_weight": counts}, "cv": FOLDS, "error_score": "raise"}
    cross = cross_validate(regressor, X, shares, scoring=scoring, **options)
    for fold, (train, test) in enumerate(FOLDS.split(X)):
        fitted = clone(regressor).fit(X[train], shares[train], sample_weight=counts[train])
        predicted = fitted.predict_distribution(X[test], counts=counts[test])
        y, (lower, upper) = shares[test], predicted.interval(0.95)
        assert cross["test_neg_crps"][fold] == pytest.approx(-predicted.crps(y).mean())
        density = cross["test_log_predictive_density"][fold]
        assert density == pytest.approx(predicted.logpdf(y).mean())
        assert density != pytest.approx(fitted.predict_distribution(X[test]).logpdf(y).mean())
        assert cross["test_neg_pit_error"][fold] == pytest.approx(-pit_error(predicted.cdf(y)))
        assert cross["test_neg_interval_width"][fold] == pytest.approx(-np.mean(upper - lower))


def test_a_count_may_be_asked_for_as_count_and_as_weight(routing, prediction_metadata):
    scorer = neg_crps_scorer.set_score_request(sample_weight=True)
    scorer = scorer.set_score_request(counts="sample_weight")
    regressor = BayesianRidge().set_fit_request(sample_weight=False)
    scores = cross_val_score(regressor, X, Y, params={"sample_weight": WEIGHTS}, scoring=scorer, cv=FOLDS)
    assert [set(metadata) for metadata in prediction_metadata] == [{"counts"}] * 3
    np.testing.assert_allclose(scores, held_out_scores("neg_crps", None, WEIGHTS))


def test_standard_errors_reach_the_prediction_unless_declined(routing, prediction_metadata):
    errors = np.linspace(0.1, 1, 60)
    declined = neg_crps_scorer.set_score_request(y_err=False)
    renamed = neg_crps_scorer.set_score_request(y_err="errors", X_err="other")
    for scorer, expected in (
        (neg_crps_scorer, {"y_err"}),
        (declined, set()),
        (renamed, {"y_err", "X_err"}),
    ):
        prediction_metadata.clear()
        given = {"errors": errors, "other": errors} if scorer is renamed else {"y_err": errors}
        # The second asks for all of it, since metadata that nobody takes are refused.
        every = neg_crps_scorer.set_score_request(**dict.fromkeys(given, True))
        scoring = {"asked": scorer, "every": every}
        cross_validate(BayesianRidge(), X, Y, params=given, scoring=scoring, cv=FOLDS, error_score="raise")
        assert [set(metadata) for metadata in prediction_metadata[::2]] == [expected] * 3


def test_a_weight_of_unstated_meaning_is_refused_by_name(routing):
    regressor = BayesianRidge().set_fit_request(sample_weight=True)
    for scoring in (neg_crps_scorer, SCORERS):
        search = GridSearchCV(regressor, GRID, scoring=scoring, refit="neg_crps")
        with pytest.raises(UnsetMetadataPassedError, match=r"sample_weight.*probabilistic_scorer\('"):
            search.fit(X, Y, sample_weight=WEIGHTS)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            cross_validate(regressor, X, Y, params={"sample_weight": WEIGHTS}, scoring=scoring)


def test_requests_make_a_copy_and_leave_the_shared_scorer_alone(routing):
    changed = neg_crps_scorer.set_score_request(sample_weight=True, counts=False)
    assert changed != neg_crps_scorer
    assert changed == changed.set_score_request(sample_weight="sample_weight")
    assert neg_crps_scorer == make_probabilistic_scorer("neg_crps")
    assert changed.get_metadata_routing().score.requests == {
        "sample_weight": True,
        "counts": False,
        "y_err": True,
        "X_censored": True,
        "exposure": True,
    }
    changed.get_metadata_routing().score.add_request(param="y_err", alias=False)
    assert changed.get_metadata_routing().score.requests["y_err"] is True


def test_impossible_requests_are_refused(routing):
    with pytest.raises(ValueError, match=r"counts.*valid identifier"):
        neg_crps_scorer.set_score_request(counts="not a name")
    with (
        sklearn.config_context(enable_metadata_routing=False),
        pytest.raises(RuntimeError, match="enable_metadata_routing=True"),
    ):
        neg_crps_scorer.set_score_request(counts=True)
