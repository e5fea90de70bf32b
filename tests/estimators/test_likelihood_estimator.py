"""The estimator under other likelihoods: shares that are shares, and outliers that don't move the fit."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    Beta,
    BetaBinomialLikelihood,
    BinomialLikelihood,
    Flat,
    Gamma,
    Laplace,
    Normal,
    NormalLikelihood,
    StudentTLikelihood,
)
from bayes_sklearn.estimators import fitting, regressor
from bayes_sklearn.metrics import SCORERS, pit

import plain
from star98 import load_star98

# Of shares whose log odds are linear a line leaves 0 to 1, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:The line lies outside 0 to 1")

Array = NDArray[np.float64]


def Regressor(**parameters: Any) -> BayesianErrorsInVariablesRegressor:
    return plain.Regressor(**{"random_state": 0} | parameters)


def shares(
    n: int = 150, seed: int = 0, dispersion: float = 0.0, trials: Any = None
) -> tuple[Array, Array, Array]:
    """Return features, shares whose log odds are -1 + x0 - x1 / 2, and the counts behind them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    counts = rng.integers(3, 60, n).astype(float) if trials is None else np.full(n, float(trials))
    share = expit(-1.0 + X @ [1.0, -0.5])
    if dispersion:
        size = (1.0 - dispersion) / dispersion
        share = rng.beta(share * size, (1.0 - share) * size)
    return X, rng.binomial(counts.astype(int), share) / counts, counts


def outlying(n: int = 60, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 1))
    return X, 1.0 + 2.0 * X[:, 0] + 0.3 * rng.normal(size=n)


# --- shares --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["sample_weight", "count_column"])
def test_slopes_of_the_log_odds_are_found(how: str) -> None:
    X, y, counts = shares(400)
    if how == "sample_weight":
        model = Regressor(likelihood="binomial", weight_type="counts").fit(X, y, counts)
    else:
        model = Regressor(likelihood="binomial", count_column=2).fit(np.column_stack([X, counts]), y)
    assert model.inference_ == "importance"
    assert (np.abs(model.coef_ - [1.0, -0.5]) < 4.0 * model.coef_std_).all()
    assert abs(model.intercept_ + 1.0) < 0.2
    assert not hasattr(model, "noise_scale_")
    assert list(model.summary().index) == ["intercept", "x0", "x1"]


def test_star98_is_the_generalised_linear_model() -> None:
    """Flat priors beside statsmodels' maximum likelihood: means within a tenth of a standard error."""
    sm = pytest.importorskip("statsmodels.api")
    X, share, pupils = load_star98()
    won = np.rint(share * pupils)
    peer = sm.GLM(np.column_stack([won, pupils - won]), sm.add_constant(X), family=sm.families.Binomial())
    found = peer.fit()
    flat = {"coef_prior": Flat(), "intercept_prior": Flat()}
    model = Regressor(likelihood="binomial", weight_type="counts", **flat).fit(X, share, pupils)
    assert model.inference_ == "importance"
    assert (np.abs(model.coef_ - found.params[1:]) < 0.1 * found.bse[1:]).all()
    assert_allclose(model.coef_std_, found.bse[1:], rtol=0.05)
    assert_allclose(model.predict(X), found.predict(), atol=2e-3)


def test_one_trial_is_logistic_regression() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(4000, 3))
    y = (rng.random(4000) < expit(0.5 + X @ [1.0, 0.0, -2.0])).astype(float)
    model = Regressor(likelihood="binomial", standardize=False, intercept_prior=Flat()).fit(X, y)
    peer = LogisticRegression(C=1.0, tol=1e-10).fit(X, y)
    assert_allclose(model.coef_, peer.coef_[0], atol=0.1 * model.coef_std_.min())
    assert_allclose(model.predict(X), peer.predict_proba(X)[:, 1], atol=0.003)
    # The mean response, and what is scored: an outcome.
    line = model.predict_distribution(X[:50])
    assert_allclose(line.mean(), model.predict(X[:50]))
    outcome = model.predict_distribution(X[:50], counts=1)
    assert_allclose(outcome.std(), np.sqrt(line.mean() * (1.0 - line.mean())), rtol=1e-9)
    score = SCORERS["log_predictive_density"](model, X[:50], y[:50])
    p = line.mean()
    assert_allclose(score, np.log(np.where(y[:50] == 1.0, p, 1.0 - p)).mean(), rtol=1e-6)


@pytest.mark.parametrize("likelihood", ["binomial", "beta_binomial"])
def test_limits_are_shares(likelihood: str) -> None:
    X, y, counts = shares(60, seed=5)
    model = Regressor(likelihood=likelihood, weight_type="counts").fit(X, y, counts)
    far = np.array([[-6.0, 6.0], [6.0, -6.0], [0.0, 0.0]])
    for given in ({}, {"include_noise": False}, {"counts": 7}, {"counts": [2, 3, 1000]}):
        limits = model.predict_interval(far, **given)
        assert ((limits >= 0.0) & (limits <= 1.0)).all()
        assert (limits[:, 0] <= limits[:, 1]).all()
    lattice = model.predict_quantiles(far, counts=7) * 7.0
    assert_allclose(lattice, np.rint(lattice), atol=1e-9)
    parts = model.predict_distribution(X, counts=counts).variance_parts
    assert set(parts) == {"parameters", "scatter", "target_error", "finite_count"}
    _, std = model.predict(X, return_std=True, counts=counts)
    assert_allclose(np.sqrt(sum(parts.values())), std)
    mean, covariance = model.predict(X[:4], return_cov=True, counts=counts[:4])
    assert_allclose(np.sqrt(np.diag(covariance)), std[:4])
    assert_allclose(mean, model.predict(X[:4]))
    assert model.sample_y(far, 3, counts=7).shape == (3, 3)


@pytest.mark.thorough
def test_overdispersion_is_caught_by_the_beta_binomial_alone() -> None:
    """Of 60 intervals of 90%: below 46 comes up in one of 1,600 series where the rate holds."""
    covered = {"binomial": 0, "beta_binomial": 0}
    dispersions = []
    for seed in range(60):
        X, y, counts = shares(120, 1000 + seed, dispersion=0.15, trials=25)
        for likelihood in covered:
            model = Regressor(likelihood=likelihood, weight_type="counts").fit(X, y, counts)
            lower, upper = model.summary(0.9).loc["x0", ["lower_90%", "upper_90%"]]
            covered[likelihood] += lower <= 1.0 <= upper
        dispersions.append(model.dispersion_)
    assert covered["beta_binomial"] >= 46
    assert covered["binomial"] < 42
    assert abs(np.mean(dispersions) - 0.15) < 0.02


@pytest.mark.parametrize("likelihood", ["binomial", "beta_binomial"])
def test_new_shares_are_covered(likelihood: str) -> None:
    """Mid-distribution values are uniform: 2,000 of them stay within four standard deviations of it."""
    X, y, counts = shares(2500, 7, dispersion=0.1 if likelihood == "beta_binomial" else 0.0)
    model = Regressor(likelihood=likelihood, weight_type="counts").fit(X[:500], y[:500], counts[:500])
    values = pit(y[500:], model.predict_distribution(X[500:], counts=counts[500:]))
    for q in (0.1, 0.5, 0.9):
        assert abs((values < q).mean() - q) < 4.0 * np.sqrt(q * (1.0 - q) / 2000.0) + 0.01


def test_a_perfect_split_is_refused_under_flat_priors_alone() -> None:
    X, y = np.arange(20.0)[:, None], (np.arange(20) > 9).astype(float)
    flat = Regressor(likelihood="binomial", coef_prior=Flat(), intercept_prior=Flat())
    with pytest.raises(ValueError, match="coef_prior=Normal"):
        flat.fit(X, y)
    assert not hasattr(flat, "coef_")
    model = Regressor(likelihood="binomial").fit(X, y)
    assert model.coef_[0] > 0.0
    assert np.isfinite(model.coef_std_).all()


def test_rounded_shares_are_taken_as_they_are() -> None:
    X, y, counts = shares(200, 9)
    exact = Regressor(likelihood="binomial", weight_type="counts").fit(X, y, counts)
    rounded = Regressor(likelihood="binomial", weight_type="counts").fit(X, y.round(3), counts)
    assert_allclose(rounded.coef_, exact.coef_, atol=0.05 * exact.coef_std_.min())
    predicted = rounded.predict_distribution(X[:5], counts=counts[:5])
    assert_allclose(predicted.logpdf(y[:5].round(3)), predicted.logpdf(y[:5]), atol=0.05)


def test_log_densities_are_per_unit_of_share() -> None:
    """Summed over the lattice and divided by the count they make one."""
    X, y, counts = shares(100, 2)
    model = Regressor(likelihood="beta_binomial", weight_type="counts").fit(X, y, counts)
    predicted = model.predict_distribution(X[:3], counts=12)
    lattice = np.arange(13.0)[:, None] / 12.0
    assert_allclose(np.exp(predicted.logpdf(lattice)).sum(axis=0) / 12.0, 1.0)
    assert_allclose(predicted.mean(), (lattice * predicted.pdf(lattice)).sum(axis=0) / 12.0)


def test_weights_are_frequencies_beside_a_count_column() -> None:
    X, y, counts = shares(60, 4)
    table = np.column_stack([X, counts])
    frequency = 1.0 + np.arange(60) % 3
    twice = np.repeat(np.arange(60), frequency.astype(int))
    for likelihood in ("binomial", "beta_binomial"):
        model = Regressor(likelihood=likelihood, count_column=2)
        weighted, repeated = clone(model).fit(table, y, frequency), clone(model).fit(table[twice], y[twice])
        assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-5)
        assert_allclose(weighted.log_marginal_likelihood_, repeated.log_marginal_likelihood_, rtol=1e-8)


def test_features_are_standardised_and_targets_are_not() -> None:
    X, y, counts = shares(100, 6)
    model = Regressor(likelihood="binomial", weight_type="counts")
    plain = clone(model).fit(X, y, counts)
    other = clone(model).fit(1e3 + 50.0 * X, y, counts)
    assert_allclose(other.coef_ * 50.0, plain.coef_, rtol=1e-6)
    assert_allclose(other.predict(1e3 + 50.0 * X), plain.predict(X), rtol=1e-8)
    assert_allclose(other.log_marginal_likelihood_, plain.log_marginal_likelihood_, rtol=1e-9)


# --- outliers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"y_err": 0.3}], ids=["no errors", "errors"])
def test_one_wild_row_moves_the_normal_fit_alone(given: dict[str, float]) -> None:
    X, y = outlying()
    X = np.append(X, [[2.5]], axis=0)
    moved = {}
    for likelihood in ("normal", "student_t"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the normal fit says that errors look too small
            clean = Regressor(likelihood=likelihood).fit(X, np.append(y, 6.0), **given)
            wild = Regressor(likelihood=likelihood).fit(X, np.append(y, -60.0), **given)
        moved[likelihood] = abs(wild.coef_[0] - clean.coef_[0]) / clean.coef_std_[0]
        if likelihood == "student_t":
            assert wild.inference_ == "importance"
            assert wild.nu_ < clean.nu_
    assert moved["student_t"] < 1.0
    assert moved["normal"] > 20.0


def test_heavy_tails_are_predicted() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 2))
    error = rng.uniform(0.5, 1.5, 3000)
    y = X @ [1.0, -1.0] + 0.4 * error * rng.standard_t(4, 3000)
    train, test = slice(1000), slice(1000, None)
    models = {
        likelihood: Regressor(likelihood=likelihood).fit(X[train], y[train], y_err=error[train])
        for likelihood in ("normal", "student_t")
    }
    heavy = models["student_t"].predict_distribution(X[test], y_err=error[test])
    normal = models["normal"].predict_distribution(X[test], y_err=error[test])
    assert heavy.logpdf(y[test]).mean() > normal.logpdf(y[test]).mean() + 0.02
    values = heavy.cdf(y[test])
    for q in (0.02, 0.1, 0.5, 0.9, 0.98):
        assert abs((values < q).mean() - q) < 4.0 * np.sqrt(q * (1.0 - q) / 2000.0) + 0.003
    # At nu of 4: the scale, and the variance that is twice its square.
    assert abs(models["student_t"].noise_scale_ - 0.4) < 0.05
    assert_allclose(heavy.std() ** 2, sum(heavy.variance_parts.values()))


def test_fixed_degrees_of_freedom() -> None:
    X, y = outlying()
    model = Regressor(likelihood=StudentTLikelihood(nu=4.0)).fit(X, y)
    assert not hasattr(model, "nu_")
    assert list(model.summary().index) == ["intercept", "x0", "noise_scale"]
    near = Regressor(likelihood=StudentTLikelihood(nu=1e7)).fit(X, y)
    exact = Regressor(likelihood=NormalLikelihood()).fit(X, y)
    assert exact.inference_ == "exact"
    assert_allclose(near.coef_, exact.coef_, atol=0.1 * exact.coef_std_[0])
    assert_allclose(near.log_marginal_likelihood_, exact.log_marginal_likelihood_, atol=0.1)
    for a, b in zip(near.predict(X, return_std=True), exact.predict(X, return_std=True), strict=True):
        assert_allclose(a, b, rtol=0.02, atol=0.02)


def test_shares_with_heavy_tails_have_the_errors_of_their_counts() -> None:
    X, y, counts = shares(200, 11)
    model = Regressor(likelihood="student_t", weight_type="counts").fit(X, y, counts)
    few, many = (model.predict(X[:5], return_std=True, counts=n)[1] for n in (5, 500))
    assert (few > 2.0 * many).all()


# --- what all of the estimator does --------------------------------------------------------------


def fitted(likelihood: Any, **parameters: Any) -> tuple[BayesianErrorsInVariablesRegressor, Any, Any, Any]:
    X, y, counts = shares(80, 13)
    model = Regressor(likelihood=likelihood, weight_type="counts", **parameters)
    return model.fit(X, y, counts), X, y, counts


@pytest.mark.parametrize("likelihood", ["student_t", "binomial", "beta_binomial"])
def test_a_fitted_model_survives_pickling(likelihood: str) -> None:
    model, X, _, _ = fitted(likelihood)
    again = pickle.loads(pickle.dumps(model))
    for one, other in zip(
        model.predict(X, return_std=True, counts=9), again.predict(X, return_std=True, counts=9), strict=True
    ):
        assert np.array_equal(one, other)
    repeat = clone(model).fit(*fitted(likelihood)[1:])
    assert np.array_equal(repeat.coef_, model.coef_)


@pytest.mark.parametrize("likelihood", ["student_t", "binomial", "beta_binomial"])
def test_arviz_groups(likelihood: str) -> None:
    model, X, y, counts = fitted(likelihood)
    data = model.to_arviz(X, y, counts)
    extra = {"student_t": {"sigma", "nu"}, "binomial": set(), "beta_binomial": {"dispersion"}}[likelihood]
    assert set(data.posterior.data_vars) == {"coef", "intercept"} | extra
    draws = np.asarray(data.posterior["coef"]).reshape(-1, 2)
    assert_allclose(draws.mean(axis=0), model.coef_, atol=0.1 * model.coef_std_.min())
    predicted = model.predict_distribution(X, counts=counts)
    log_likelihood = np.asarray(data.log_likelihood["y"]).reshape(4000, -1)
    if likelihood != "student_t":  # whose errors are taken at other shares in predictions
        averaged = np.log(np.exp(log_likelihood).mean(axis=0))
        assert_allclose(averaged, predicted.logpdf(y), atol=0.05)
    new = np.asarray(data.posterior_predictive["y"]).reshape(4000, -1)
    assert (np.abs(new.mean(axis=0) - predicted.mean()) < 5.0 * predicted.std() / np.sqrt(4000.0)).all()
    if likelihood != "student_t":
        assert_allclose(new.std(axis=0), predicted.std(), rtol=0.15)
        assert_allclose(new * counts, np.rint(new * counts), atol=1e-9)


def test_the_likelihood_can_be_searched_by_scores_of_the_observed_share() -> None:
    X, y, counts = shares(300, 17, dispersion=0.2)
    table = pd.DataFrame(X, columns=["a", "b"]).assign(messages=counts)
    search = GridSearchCV(
        Regressor(count_column="messages"),
        {"likelihood": ["normal", "binomial", "beta_binomial"]},
        scoring=SCORERS["log_predictive_density"],
        cv=3,
    ).fit(table, y)
    assert search.best_params_ == {"likelihood": "beta_binomial"}
    scores = dict(
        zip(["normal", "binomial", "beta_binomial"], search.cv_results_["mean_test_score"], strict=True)
    )
    # On one scale: the normal model, with its own scatter, is not far behind.
    assert scores["beta_binomial"] - 0.6 < scores["normal"] < scores["beta_binomial"]


def test_scores_without_counts_are_warned_of() -> None:
    X, y, counts = shares(90, 19)
    model = Regressor(likelihood="binomial", weight_type="counts").fit(X, y, counts)
    with pytest.warns(UserWarning, match="count_column"):
        SCORERS["neg_crps"](model, X, y)
    outcomes = (y > 0.3).astype(float)
    assert np.isfinite(
        cross_val_score(
            Regressor(likelihood="binomial"), X, outcomes, scoring=SCORERS["log_predictive_density"]
        )
    ).all()


def test_parameters_of_likelihoods_and_default_priors_can_be_set() -> None:
    model = Regressor(likelihood=StudentTLikelihood()).set_params(likelihood__nu=5.0)
    assert model.likelihood.nu == 5.0
    model = Regressor(likelihood="binomial").set_params(intercept_prior__mu=-2.0)
    assert (model.intercept_prior.mu, model.intercept_prior.sigma) == (-2.0, 5.0)
    prior = Regressor(likelihood=BetaBinomialLikelihood(Beta(1.0, 20.0)))
    assert prior.set_params(likelihood__dispersion_prior__beta=50.0).likelihood.dispersion_prior.beta == 50.0


def test_priors_are_felt() -> None:
    X, y, counts = shares(40, 23, dispersion=0.1)
    tight = Regressor(likelihood="binomial", weight_type="counts", coef_prior=Normal(0.0, 0.01))
    assert (np.abs(tight.fit(X, y, counts).coef_) < 0.05).all()
    small = Regressor(likelihood=BetaBinomialLikelihood(Beta(1.0, 1e5)), weight_type="counts")
    assert small.fit(X, y, counts).dispersion_ < 0.002
    other = Regressor(likelihood="binomial", weight_type="counts", coef_prior=Laplace(0.0, 0.05))
    assert other.fit(X, y, counts).inference_ == "importance"
    heavy = Regressor(likelihood=StudentTLikelihood(Gamma(2.0, 2.0)))
    X, y = outlying()
    assert heavy.fit(X, y).nu_ < 6.0


def test_likelihoods_print_what_they_were_given() -> None:
    assert repr(StudentTLikelihood(nu=3)) == "StudentTLikelihood(nu=3)"
    assert repr(BinomialLikelihood()) == "BinomialLikelihood()"


BAD = {
    "a name": ({"likelihood": "tweedie"}, {}, "likelihood must be one of"),
    "a class": ({"likelihood": BinomialLikelihood}, {}, "likelihood must be one of"),
    "a distribution": ({"likelihood": stats.norm}, {}, "likelihood must be one of"),
    "nu of zero": ({"likelihood": StudentTLikelihood(0.0)}, {}, "likelihood__nu"),
    "nu as text": ({"likelihood": StudentTLikelihood("four")}, {}, "likelihood__nu"),
    "a negative lower": ({"likelihood": StudentTLikelihood(lower=-1.0)}, {}, "likelihood__lower"),
    "a prior of the wrong kind": (
        {"likelihood": BetaBinomialLikelihood(Gamma())},
        {},
        "likelihood__dispersion_prior",
    ),
    "y above one": ({"likelihood": "binomial"}, {"y": 3.0}, "shares"),
    "y below zero": ({"likelihood": "beta_binomial"}, {"y": -0.1}, "shares"),
    "no counts": ({"likelihood": "binomial", "weight_type": "frequency"}, {}, "counts"),
    "errors": ({"likelihood": "binomial"}, {"y_err": 0.1}, "y_err"),
    "exactly": ({"likelihood": "binomial", "inference": "exact"}, {}, "exact"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_the_argument(case: str) -> None:
    parameters, data, says = BAD[case]
    X, y, counts = shares(30)
    y = y.copy()
    y[3] = data.get("y", y[3])
    given = {} if "y_err" not in data else {"y_err": data["y_err"]}
    weight = None if given else counts
    model = Regressor(**{"weight_type": "counts"} | parameters)
    if given:
        model.set_params(weight_type="frequency")
    with pytest.raises((ValueError, TypeError), match=says):
        model.fit(X, y, weight, **given)
    assert not hasattr(model, "coef_")


def test_bad_input_to_predictions() -> None:
    model, X, _, _ = fitted("binomial")
    with pytest.raises(ValueError, match="y_err"):
        model.predict(X, y_err=0.1)
    with pytest.raises(ValueError, match="counts"):
        model.predict_interval(X, counts=-1)
    with pytest.raises(ValueError, match="counts"):
        model.predict_interval(X, counts=2.5)


@pytest.mark.parametrize("likelihood", ["student_t", "binomial", "beta_binomial"])
def test_prior_draws_are_of_shares(likelihood: str) -> None:
    model, X, y, counts = fitted(likelihood, draws=200)
    data = model.to_arviz(X, y, counts, prior=True)
    assert set(data.prior.data_vars) == set(data.posterior.data_vars)
    drawn = np.asarray(data.prior_predictive["y"])[0]
    assert drawn.shape == (200, 80)
    if likelihood != "student_t":
        assert ((drawn >= 0.0) & (drawn <= 1.0)).all()
        assert_allclose(drawn * counts, np.rint(drawn * counts), atol=1e-9)


def test_the_errors_that_are_kept_are_those_of_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def kept(*arguments: Any) -> Any:
        found.append(fitting.fit(*arguments))
        return found[-1]

    monkeypatch.setattr(regressor, "fit", kept)
    X, y, counts = shares()
    Regressor(likelihood="student_t", weight_type="counts", random_state=0).fit(X, y, counts)
    # The last look at the fitted shares moves errors once more, by less than is worth a refit.
    problem = found[0].problem
    assert_allclose(np.log(problem.standard_error).sum(), problem.state.log_error, rtol=1e-12)
