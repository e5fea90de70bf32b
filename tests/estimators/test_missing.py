"""Features and targets that were not measured: against whole tables, multiple imputation and simulations."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import special, stats
from sklearn.base import clone
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next import possible
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Flat, Normal, audit_errors
from bayes_sklearn.displays import CalibrationDisplay, PITDisplay, PredictionDisplay, RegressionLineDisplay
from bayes_sklearn.metrics import neg_crps_scorer
from bayes_sklearn.validation import simulation_based_calibration

Array = NDArray[np.float64]


def table(seed: int = 0, n: int = 200, share: float = 0.3) -> tuple[Array, Array, Array]:
    """Return three features that go together, those with gaps anywhere, and the target."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) @ [[1.0, 0.5, 0.3], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]] + [1.0, 2.0, 3.0]
    y = X @ [1.5, -1.0, 0.5] + 0.7 * rng.normal(size=n)
    return X, np.where(rng.random(X.shape) < share, np.nan, X), y


def by_the_other(seed: int, n: int = 100) -> tuple[Array, Array]:
    """Return a design in which 40% lack the first feature, most of them where the second is large, and the target."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    x = 0.7 * z + np.sqrt(0.51) * rng.normal(size=n)
    y = 1.0 + x + 0.5 * z + 0.8 * rng.normal(size=n)
    return np.column_stack([np.where(rng.random(n) < special.expit(2.0 * z - 0.5), np.nan, x), z]), y


def found(model: Regressor) -> tuple[Array, Array]:
    return np.append(model.coef_, model.intercept_), np.append(model.coef_std_, model.coef_std_[:1])


def assert_agree(one: Regressor, other: Regressor, means: float = 0.02, sds: float = 0.02) -> None:
    """The means are the same, in standard deviations, and these are, relatively."""
    assert_allclose((one.coef_ - other.coef_) / other.coef_std_, 0.0, atol=means)
    assert_allclose(one.coef_std_, other.coef_std_, rtol=sds)


@pytest.mark.parametrize(
    "given", [{}, {"y_err": 0.5}, {"X_err": 0.3}, {"X_cov": 0.04 * np.eye(3) + 0.01}], ids=str
)
def test_whole_tables_are_what_they_were(given: dict[str, Any]) -> None:
    X, _, y = table()
    one, other = (Regressor(missing=how, random_state=0).fit(X, y, **given) for how in ("error", "model"))
    assert_allclose(one.coef_, other.coef_, rtol=0.0)
    assert_allclose(one.predict(X, return_std=True), other.predict(X, return_std=True), rtol=0.0)
    assert one.inference_ == other.inference_


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"likelihood": "student_t"},
        {"x_distribution": "mixture"},
        {"noise": "additive"},
        {"standardize": False},
    ],
    ids=str,
)
def test_few_gaps_are_next_to_none(params: dict[str, Any]) -> None:
    X, _, y = table(n=300)
    gaps = X.copy()
    gaps[[3, 50], 0] = gaps[[9, 50], 1] = np.nan
    kept = ~np.isnan(gaps).any(axis=1)
    given = {} if "noise" not in params else {"y_err": 0.3}
    model = Regressor(missing="model", random_state=0, **params).fit(gaps, y, **given)
    others = {name: value for name, value in params.items() if name != "x_distribution"}
    assert_agree(model, Regressor(random_state=0, **others).fit(X, y, **given), 0.25, 0.03)
    assert_agree(model, Regressor(random_state=0, **others).fit(X[kept], y[kept], **given), 0.25, 0.03)
    assert_allclose(model.reliability_, 1.0)  # what was measured was measured exactly


@pytest.mark.parametrize("params", [{}, {"likelihood": "student_t"}], ids=str)
@pytest.mark.parametrize("error", [1e3, 1e5, 1e8])
@pytest.mark.parametrize("noisy", [True, False])
def test_huge_errors_are_gaps(params: dict[str, Any], error: float, noisy: bool) -> None:
    X, gaps, y = table(share=0.27)
    cells = np.isnan(gaps)
    read = X + noisy * error * cells * np.random.default_rng(1).normal(size=X.shape)
    model = Regressor(random_state=0, **params).fit(read, y, X_err=np.where(cells, error, 0.0))
    assert_agree(model, Regressor(missing="model", random_state=0, **params).fit(gaps, y))


@pytest.mark.parametrize("error", [10.0, 100.0])
@pytest.mark.parametrize("noisy", [True, False])
def test_large_errors_are_nearly_gaps(error: float, noisy: bool) -> None:
    """Readings that hardly tell have no part in what is found before a fit, which was lost among them."""
    X, gaps, y = table(share=0.27)
    cells = np.isnan(gaps)
    read = X + noisy * error * cells * np.random.default_rng(1).normal(size=X.shape)
    model = Regressor(inference="importance").fit(read, y, X_err=np.where(cells, error, 0.0))
    assert_agree(model, Regressor(missing="model").fit(gaps, y), 0.1, 0.03)


def test_errors_in_a_part_of_the_rows_lose_no_search() -> None:
    """Where there is next to no noise digits are lost, and densities without any were higher than all others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    X[:, 1] = 0.6 * X[:, 0] + 0.8 * X[:, 1]
    y = X @ [1.5, -1.0] + 0.7 * rng.normal(size=200)
    error = np.column_stack([np.zeros(200), np.where(rng.random(200) < 0.3, 0.5, 0.0)])
    model = Regressor(inference="importance").fit(X, y, X_err=error)
    assert (np.abs(model.coef_ - [1.5, -1.0]) < 4.0 * model.coef_std_).all()
    assert (model.coef_std_ < 0.1).all()


def test_slopes_are_those_of_multiple_imputation() -> None:
    """By chained equations, combined by Rubin's rules; filling in means is off by a fifth."""
    X, y = by_the_other(1, n=1500)
    model = Regressor(missing="model", coef_prior=Flat(), random_state=0).fit(X, y)
    draws, squares = [], []
    for seed in range(40):
        imputer = IterativeImputer(sample_posterior=True, random_state=seed, max_iter=15)
        whole = imputer.fit_transform(np.column_stack([X, y]))
        design = np.column_stack([whole[:, :2], np.ones(len(y))])
        coef, square, *_ = np.linalg.lstsq(design, whole[:, 2])
        draws.append(coef)
        squares.append(np.diag(np.linalg.inv(design.T @ design)) * square / (len(y) - 3))
    mean = np.mean(draws, axis=0)
    sd = np.sqrt(np.mean(squares, axis=0) + (1.0 + 1.0 / 40.0) * np.var(draws, axis=0, ddof=1))
    assert_allclose((model.coef_ - mean[:2]) / sd[:2], 0.0, atol=0.25)
    assert_allclose(model.coef_std_, sd[:2], rtol=0.15)
    filled = LinearRegression().fit(SimpleImputer().fit_transform(X), y).coef_
    assert filled[0] < 0.8 < 0.95 < model.coef_[0]


@pytest.mark.thorough
@pytest.mark.parametrize("likelihood", ["normal", "binomial"])
def test_intervals_cover_where_gaps_go_with_the_other_feature(likelihood: str) -> None:
    """Of 300 tables 90% intervals hold 86 to 94%: by chance fewer or more in one of 25; the seeds are fixed."""
    held, means, truth = [], [], np.array([1.0, 0.5])
    for seed in range(300):
        X, y = by_the_other(seed)
        given = {}
        if likelihood == "binomial":
            whole = np.random.default_rng(seed + 1000)
            z = X[:, 1]
            x = np.where(np.isnan(X[:, 0]), 0.7 * z + np.sqrt(0.51) * whole.normal(size=len(z)), X[:, 0])
            y = whole.binomial(8, special.expit(x + 0.5 * z)) / 8.0
            given = {"sample_weight": np.full(len(y), 8.0)}
        model = Regressor(missing="model", likelihood=likelihood, random_state=0).fit(X, y, **given)
        limits = model.summary(0.9).loc[["x0", "x1"], ["lower_90%", "upper_90%"]].to_numpy()
        held.append((limits[:, 0] <= truth) & (truth <= limits[:, 1]))
        means.append(model.coef_)
    assert ((np.mean(held, axis=0) >= 0.86) & (np.mean(held, axis=0) <= 0.94)).all()
    assert_allclose(np.mean(means, axis=0), truth, atol=0.05)


@pytest.mark.parametrize("likelihood", ["normal", pytest.param("binomial", marks=pytest.mark.thorough)])
def test_simulated_tables_have_the_gaps(likelihood: str) -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(25, 2)) * [1.0, 10.0] + [3.0, -2.0]
    X[2:][rng.random((23, 2)) < 0.3] = np.nan
    given = {} if likelihood == "normal" else {"counts": rng.integers(2, 60, 25).astype(float)}
    model = Regressor(
        missing="model",
        likelihood=likelihood,
        coef_prior=Normal(),
        intercept_prior=Normal(),
        inference="importance",
    )
    ranks = simulation_based_calibration(model, X, n_simulations=120, random_state=20, **given)
    assert ranks.p_value > 1e-4


def test_frequencies_are_copies_of_rows() -> None:
    _, X, y = table(n=60)
    times = np.random.default_rng(0).integers(0, 3, 60)
    y = np.where(np.arange(60) % 7 == 0, np.nan, y)
    whole = Regressor(missing="model", random_state=0).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    assert_agree(Regressor(missing="model", random_state=0).fit(X, y, times), whole, 0.1, 0.1)


def test_what_is_stated_of_gaps_does_not_matter() -> None:
    _, X, y = table()
    gaps = np.isnan(X)
    error = np.full(X.shape, 0.4)
    frame = pd.DataFrame(np.column_stack([X, error]), columns=["a", "b", "c", "a_err", "b_err", "c_err"])
    frame = frame.mask(np.column_stack([gaps, gaps]))
    covariance, covariances = 0.16 * np.eye(3), np.tile(0.16 * np.eye(3), (len(X), 1, 1))
    covariances[gaps[:, 0], 0] = np.nan
    covariances[gaps[:, 0], :, 0] = np.nan
    plain = {"missing": "model", "random_state": 0}
    first = Regressor(**plain).fit(X, y, X_err=0.4)
    others = [
        Regressor(**plain).fit(X, y, X_err=np.where(gaps, np.nan, error)),
        Regressor(**plain).fit(X, y, X_cov=covariance),
        Regressor(**plain).fit(X, y, X_cov=covariances),
        Regressor(**plain, error_columns="_err").fit(frame, y),
    ]
    for other in others:
        assert_allclose(other.coef_, first.coef_, rtol=1e-6)
    whole = frame.fillna({"a_err": 0.4})
    whole.loc[~gaps[:, 1], "b_err"] = np.nan
    with pytest.raises(ValueError, match=r"error_columns.*NaN"):
        Regressor(**plain, error_columns="_err").fit(whole, y)


def test_errors_that_go_together_have_gaps() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=400)
    shared = rng.normal(size=400)
    y = 1.0 + 2.0 * x + 0.5 * shared
    X = np.where(rng.random(400) < 0.3, np.nan, x + 0.5 * shared)[:, None]
    given = {"y_err": 0.5, "X_err": 0.5, "Xy_cov": 0.25}
    model = Regressor(missing="model", noise="known", random_state=0).fit(X, y, **given)
    assert abs(model.coef_[0] - 2.0) < 3.0 * model.coef_std_[0] < 0.4
    rest = ~np.isnan(X[:, 0])
    alone = Regressor(noise="known", random_state=0).fit(X[rest], y[rest], **given)
    assert_agree(model, alone, 0.7, 0.15)  # rows with y alone tell next to nothing


@pytest.mark.parametrize("params", [{}, {"x_distribution": "mixture"}], ids=str)
def test_predictions_are_integrated_over_gaps(params: dict[str, Any]) -> None:
    """Of many rows the normal distribution of (X, y) is known: what it says given the rest."""
    X, gaps, y = table(n=4000)
    model = Regressor(missing="model", random_state=0, **params).fit(gaps, y)
    joint = np.cov(np.column_stack([X, y]).T)
    center = np.append(X.mean(axis=0), y.mean())
    for lacking in ([0], [1, 2], [0, 1, 2]):
        row = np.array([[2.0, 1.0, 4.0]])
        row[0, lacking] = np.nan
        rest = np.setdiff1d(np.arange(3), lacking)
        weight = np.linalg.solve(joint[np.ix_(rest, rest)], joint[rest, 3]) if len(rest) else np.zeros(0)
        distribution = model.predict_distribution(row)
        mean = center[3] + weight @ (row[0, rest] - center[rest])
        sd = np.sqrt(joint[3, 3] - weight @ joint[rest, 3])
        assert_allclose(distribution.mean()[0], mean, atol=0.08)
        assert_allclose(distribution.std()[0], sd, rtol=0.03)
        assert_allclose(model.predict_interval(row, 0.8)[0], stats.norm.interval(0.8, mean, sd), atol=0.1)
        parts = distribution.variance_parts
        assert parts["feature_error"][0] > 0.1
        assert_allclose(sum(parts.values()), distribution.var(), rtol=1e-8)
        drawn = distribution.sample(4000, random_state=0)
        assert_allclose([drawn.mean(), drawn.std()], [mean, sd], atol=0.1)


def test_rows_without_a_target_tell_of_features() -> None:
    """They tell how x goes with z, by which rows without x are read, and are otherwise predicted."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=600)
    x = 0.9 * z + 0.3 * rng.normal(size=600)
    y = 2.0 * x - z + 0.3 * rng.normal(size=600)
    y[120:] = np.nan
    X = np.column_stack([x, z])
    X[30:120, 0] = np.nan
    plain = {"missing": "model", "coef_prior": Normal(sigma=10.0), "random_state": 0}
    with_them = Regressor(**plain).fit(X, y)
    without = Regressor(**plain).fit(X[:120], y[:120])
    assert (with_them.coef_std_ < 0.9 * without.coef_std_).all()
    assert (np.abs(with_them.coef_ - [2.0, -1.0]) < 3.0 * with_them.coef_std_).all()
    # Whole features tell nothing more: such rows are left out.
    whole = np.column_stack([x, z])
    assert_allclose(
        Regressor(missing="model").fit(whole, y).coef_, Regressor().fit(whole[:120], y[:120]).coef_, rtol=1e-9
    )
    assert with_them.predict(X).shape == (600,)
    assert np.isfinite(with_them.score(X, y))
    pit = with_them.loo_pit(X, y)
    assert_allclose(np.isnan(pit), np.isnan(y))


@pytest.mark.parametrize("likelihood", ["normal", "student_t", "binomial", "poisson"])
def test_rows_of_which_nothing_is_known_say_nothing(likelihood: str) -> None:
    _, X, y = table(n=150)
    target = {"binomial": (y > y.mean()).astype(float), "poisson": np.floor(np.exp(0.4 * y))}.get(
        likelihood, y
    )
    plain = {"missing": "model", "likelihood": likelihood, "random_state": 0}
    alone = Regressor(**plain).fit(X, target)
    nothing = np.full((20, 3), np.nan)
    more = Regressor(**plain).fit(np.concatenate([X, nothing]), np.append(target, np.full(20, np.nan)))
    assert_agree(more, alone, 0.15, 0.1)


def test_what_is_refused_is_named() -> None:
    X, gaps, y = table(n=30)
    frame = pd.DataFrame(gaps, columns=["a", "b", "c"])
    model = Regressor(missing="model").fit(np.column_stack([gaps[:, :2], X[:, 2]]), y)
    before = model.__dict__.copy()
    cases: list[tuple[str, Any]] = [
        (
            r"Input X contains NaN.*column 'a'.*others in 'b', 'c'.*missing='model'",
            lambda: Regressor().fit(frame, y),
        ),
        ("no value of 'd'", lambda: model.fit(frame.assign(d=np.nan), y)),
        ("one value of 'b' alone", lambda: model.fit(frame.assign(b=frame["b"] * 0.0), y)),
        ("y is NaN in all rows", lambda: model.fit(frame, np.full(30, np.nan))),
        ("infinity.*column 'a'", lambda: model.fit(frame.assign(a=np.inf), y)),
        ("NaN in 'x2', which no row of the fit lacked", lambda: model.predict(gaps)),
        ("'a', has NaN, and missing='model' takes the rows", lambda: clone(model).partial_fit(frame, y)),
        ("y has NaN, and missing='model'", lambda: clone(model).partial_fit(X, np.append(y[1:], np.nan))),
        ("count_column contains NaN", lambda: Regressor(missing="model", count_column="a").fit(frame, y)),
        ("missing.*'error'", lambda: Regressor(missing="none").fit(X, y)),
    ]
    for message, call in cases:
        with pytest.raises((ValueError, TypeError), match=message) as refusal:
            call()
        assert len(str(refusal.value)) <= 400
    assert model.__dict__ == before
    with pytest.raises(ValueError, match="missing='model'"):
        Regressor().fit(X, y).predict(gaps)


def test_tables_with_gaps_go_everywhere() -> None:
    X, _, y = table(n=80)
    X[::4, 0] = X[1::5, 1] = np.nan
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = Regressor(missing="model", random_state=0).fit(frame, y)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(frame), model.predict(frame))
    assert (cross_val_score(Regressor(missing="model"), frame, y, cv=3) > 0.2).all()
    data = model.to_arviz(frame, y)
    assert_allclose(np.isnan(data["constant_data"]["X"].to_numpy()), np.isnan(X))
    display = RegressionLineDisplay.from_estimator(model, frame, y, feature="a")
    assert len(display.x) == int((~np.isnan(X)).all(axis=1).sum())


def test_rows_to_predict_are_left_out_of_audits_scores_and_displays() -> None:
    """All of them are what they are of the rows whose target was measured."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    rng = np.random.default_rng(9)
    X = rng.normal(size=(80, 2))
    y = X @ [1.0, -1.0] + 0.3 * rng.normal(size=80)
    X[::7, 0], y[::9] = np.nan, np.nan
    known = ~np.isnan(y)
    model = Regressor(missing="model", random_state=0).fit(X, y)
    audit, other = audit_errors(model, X, y), audit_errors(model, X[known], y[known])
    assert audit.n_rows == known.sum()
    assert_allclose(audit.residuals, other.residuals)
    assert_allclose(audit.pit, other.pit)
    assert_allclose(neg_crps_scorer(model, X, y), neg_crps_scorer(model, X[known], y[known]))
    for display in (CalibrationDisplay, PITDisplay, PredictionDisplay):
        every, some = (display.from_estimator(model, *data) for data in ((X, y), (X[known], y[known])))
        assert_allclose(
            *(np.concatenate([line.get_ydata() for line in one.ax_.lines]) for one in (every, some))
        )
    line = RegressionLineDisplay.from_estimator(model, X, y, feature=1, adjust=False)
    assert_allclose(line.y, y[known & ~np.isnan(X[:, 0])])
    pyplot.close("all")
