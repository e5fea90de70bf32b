"""What was read, from readings: against evidences, brute force, classical limits and published calibrations."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    HalfNormal,
    Normal,
    detection_limits,
    inverse_predict,
)

Regressor = BayesianErrorsInVariablesRegressor

FIXED = {
    "standardize": False,
    "coef_prior": Normal(sigma=3.0),
    "intercept_prior": Normal(sigma=5.0),
    "noise_prior": HalfNormal(1.0),
}

WIDE = FIXED | {"coef_prior": Normal(sigma=1e3), "intercept_prior": Normal(sigma=1e3)}


def standards(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.repeat(np.linspace(0.0, 10.0, n // 2), 2)
    X = np.column_stack([x, rng.normal(size=n)])
    return X, 1.0 + X @ [0.7, 0.5] + 0.4 * rng.normal(size=n)


def assert_is(found: Any, row: int, grid: np.ndarray, log_density: np.ndarray, tolerance: float) -> None:
    """The density on a grid that has all but 1e-5 of it, and its moments."""
    density = np.exp(log_density - log_density.max())
    density /= integrate.simpson(density, x=grid)
    own = np.array([found.pdf(x)[row] for x in grid])
    assert_allclose(own, density, atol=tolerance * density.max())
    mean = integrate.simpson(density * grid, x=grid)
    deviation = np.sqrt(integrate.simpson(density * np.square(grid - mean), x=grid))
    assert_allclose(found.mean()[row], mean, atol=10 * tolerance * deviation)
    assert_allclose(found.std()[row], deviation, rtol=30 * tolerance)


@pytest.mark.parametrize(
    ("noise", "error"), [("known", 0.4), ("scaled", None), ("scaled", 0.3), ("additive", 0.2)]
)
@pytest.mark.parametrize("m", [1, 3])
def test_the_posterior_is_that_of_evidences(noise: str, error: float | None, m: int) -> None:
    # With a sample's readings among the rows, at a place of its feature, the evidence is how likely they are there.
    X, y = standards()
    fitted = {} if error is None else {"y_err": np.full(len(y), error)}
    readings, errors = np.array([5.1, 5.8, 5.5])[:m], np.array([0.2, 0.5, 0.3])[:m]
    prior = stats.norm(5.0, 3.0)
    model = Regressor(noise=noise, **FIXED).fit(X, y, **fitted)
    given = {} if error is None else {"y_err": errors[None, :]}
    found = model.inverse_predict(readings[None, :], feature=0, X=[[np.nan, 0.7]], prior=prior, **given)
    low, high = (float(found.ppf(q)[0]) for q in (1e-6, 1.0 - 1e-6))
    grid, logs = np.linspace(low, high, 61), []
    for x in grid:
        rows = np.vstack([X, np.tile([x, 0.7], (m, 1))])
        more = {} if error is None else {"y_err": np.append(fitted["y_err"], errors)}
        whole = Regressor(noise=noise, **FIXED).fit(rows, np.append(y, readings), **more)
        logs.append(whole.log_marginal_likelihood_ + prior.logpdf(x))
    assert_is(found, 0, grid, np.array(logs), 1e-4)


def test_a_missing_reading_is_none() -> None:
    X, y = standards()
    model = Regressor().fit(X, y)
    rows = np.array([[0.0, 0.2], [0.0, -1.0]])
    found = inverse_predict(model, [[4.0, np.nan, 4.4], [6.0, np.nan, np.nan]], feature=0, X=rows)
    assert_allclose(found.mean()[0], inverse_predict(model, [[4.0, 4.4]], feature=0, X=rows[:1]).mean()[0])
    assert_allclose(found.interval(), np.array(
        [[inverse_predict(model, [[4.0, 4.4]], feature=0, X=rows[:1]).interval()[i][0],
          inverse_predict(model, [6.0], feature=0, X=rows[1:]).interval()[i][0]] for i in (0, 1)]
    ), rtol=1e-6)  # fmt: skip


def test_curved_lines_have_several_places() -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(-3.0, 3.0, 15)[:, None]
    y = x[:, 0] ** 2 + 0.2 * rng.normal(size=15)
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), Regressor()).fit(x, y)
    found = inverse_predict(model, [4.0])
    grid = np.linspace(-12.0, 12.0, 20_001)
    logs = model[-1].predict_distribution(model[:-1].transform(grid[:, None])).logpdf(4.0)
    # The default prior is the training rows' own.
    logs = logs + stats.t(14, x.mean(), x.std() * np.sqrt(16.0 / 14.0)).logpdf(grid)
    density = np.exp(logs - logs.max())
    density /= integrate.trapezoid(density, grid)
    assert_allclose([found.pdf(x)[0] for x in grid[::50]], density[::50], atol=1e-5 * density.max())
    assert found.cdf(0.0)[0] == pytest.approx(integrate.simpson(density[:10_001], x=grid[:10_001]), abs=1e-5)


def test_other_likelihoods_and_readings_of_several_counts() -> None:
    rng = np.random.default_rng(2)
    dose = np.repeat(np.linspace(-2.0, 2.0, 9), 2)[:, None]
    counts = np.full(18, 40)
    share = rng.binomial(counts, 1.0 / (1.0 + np.exp(-dose[:, 0]))) / counts
    model = Regressor(likelihood="binomial").fit(dose, share, sample_weight=counts)
    # Successes of 20 and of 30 trials at one dose are those of 50.
    two = inverse_predict(model, [[0.35, 0.5]], counts=[[20, 30]])
    one = inverse_predict(model, [0.44], counts=50)
    assert_allclose(two.interval(), one.interval(), atol=2e-3 * one.std()[0])
    grid = np.linspace(-5.0, 5.0, 201)
    logs = model.predict_distribution(grid[:, None], counts=50).logpdf(0.44)
    logs = logs + stats.t(17, dose.mean(), dose.std() * np.sqrt(19.0 / 17.0)).logpdf(grid)
    assert_is(one, 0, grid, logs, 1e-3)


def test_readings_of_t_noise_are_those_of_draws() -> None:
    rng = np.random.default_rng(3)
    x = np.linspace(0.0, 5.0, 30)[:, None]
    y = 2.0 * x[:, 0] + 0.5 * rng.standard_t(4, size=30)
    model = Regressor(likelihood="student_t", random_state=0).fit(x, y)
    readings = np.array([4.0, 5.0])
    found = inverse_predict(model, readings[None, :], prior=stats.norm(2.5, 2.0))
    draws = model.to_arviz().posterior
    flat = {name: np.asarray(draws[name]).reshape(-1) for name in ("intercept", "sigma", "nu")}
    slope = np.asarray(draws["coef"]).reshape(-1)
    grid = np.linspace(0.5, 4.0, 120)
    logs = []
    for at in grid:
        line = flat["intercept"] + slope * at
        own = stats.t.logpdf(readings[:, None], flat["nu"], line, flat["sigma"]).sum(axis=0)
        logs.append(np.logaddexp.reduce(own) + stats.norm.logpdf(at, 2.5, 2.0))
    density = np.exp(np.array(logs) - max(logs))
    density /= integrate.simpson(density, x=grid)
    mean = integrate.simpson(density * grid, x=grid)
    deviation = np.sqrt(integrate.simpson(density * np.square(grid - mean), x=grid))
    # 4,000 draws of the line, which makes a small part of the width.
    assert_allclose(found.mean()[0], mean, atol=0.03 * deviation)
    assert_allclose(found.std()[0], deviation, rtol=0.03)


def test_rates_are_read_over_their_exposures() -> None:
    rng = np.random.default_rng(4)
    x = np.linspace(0.0, 2.0, 20)[:, None]
    exposure = rng.uniform(5.0, 20.0, 20)
    events = rng.poisson(exposure * np.exp(0.5 + x[:, 0]))
    model = Regressor(likelihood="poisson").fit(x, events, exposure=exposure)
    one = inverse_predict(model, [60.0], exposure=12.0)
    two = inverse_predict(model, [[20.0, 40.0]], exposure=[[4.0, 8.0]])
    assert_allclose(two.interval(), one.interval(), atol=2e-3 * one.std()[0])


def test_the_true_feature_is_found_where_standards_had_errors() -> None:
    rng = np.random.default_rng(5)
    true = rng.uniform(0.0, 10.0, 200)
    X = np.column_stack([true + 1.0 * rng.normal(size=200), rng.normal(size=200)])
    y = 1.0 + 2.0 * true + X[:, 1] + 0.5 * rng.normal(size=200)
    model = Regressor().fit(X, y, X_err=[1.0, 0.0])
    found = inverse_predict(model, [11.0], feature=0, X=[[0.0, 0.0]])
    assert found.mean()[0] == pytest.approx(5.0, abs=0.3)
    grid = np.linspace(2.5, 7.5, 201)
    rows = np.column_stack([grid, np.zeros(201)])
    logs = model.predict_distribution(rows, X_err=0.0).logpdf(11.0)
    assert_is(found, 0, grid, logs + stats.norm.logpdf(grid, 5.0, 2.9), 0.02)
    frame = pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "x_err": 1.0})
    named = Regressor(error_columns="_err").fit(frame, y)
    again = inverse_predict(named, [11.0], feature="x", X=pd.DataFrame({"z": [0.0], "x_err": [1.0]}))
    assert_allclose(again.interval(), found.interval(), rtol=1e-3)
    # Nor does the true one's error, which is none, go with that of another.
    held = pd.DataFrame({"x": X[:, 0], "z": X[:, 1], "x_err": 1.0, "z_err": 0.2, "both": 0.1})
    columns = {"x": "x_err", "z": "z_err", "both": ("x", "z")}
    third = Regressor(error_columns=columns).fit(held, y)
    row = pd.DataFrame({"z": [0.0], "x_err": [1.0], "z_err": [0.2], "both": [0.1]})
    assert abs(inverse_predict(third, [11.0], feature="x", X=row).mean()[0] - 5.0) < 0.5


def test_groups_are_looked_up() -> None:
    rng = np.random.default_rng(6)
    lab = np.repeat(np.arange(6), 8)
    shift = 3.0 * rng.normal(size=6)
    frame = pd.DataFrame({"dose": rng.uniform(0.0, 10.0, 48), "lab": [f"lab {i}" for i in lab]})
    y = frame["dose"] + shift[lab] + 0.2 * rng.normal(size=48)
    model = Regressor(group_column="lab").fit(frame, y)
    rows = pd.DataFrame({"lab": ["lab 0", "lab 1", "a new one"]})
    readings = 5.0 + np.array([shift[0], shift[1], 0.0])
    with pytest.warns(UserWarning, match="of 1 of 3 samples .first: 2. say little of 'dose'"):
        found = inverse_predict(model, readings, feature="dose", X=rows)
    assert_allclose(found.mean()[:2], 5.0, atol=0.6)
    assert found.std()[2] > 4.0 * found.std()[0]


def test_fieller_s_limits_where_they_are_right() -> None:
    # Of a line of known noise, a slope of 80 standard errors, and a wide prior.
    x = np.linspace(0.0, 10.0, 20)[:, None]
    rng = np.random.default_rng(7)
    y = 3.0 + 1.5 * x[:, 0] + 0.25 * rng.normal(size=20)
    model = Regressor(
        noise="known", **(FIXED | {"coef_prior": Normal(sigma=1e3), "intercept_prior": Normal(sigma=1e3)})
    )
    model.fit(x, y, y_err=0.25)
    found = inverse_predict(model, [9.0], y_err=0.25, prior=stats.norm(5.0, 300.0))
    slope = np.polyfit(x[:, 0], y, 1)[0]
    spread, z, n = np.square(x - x.mean()).sum(), stats.norm.ppf(0.975), len(x)
    g = z**2 * 0.25**2 / (slope**2 * spread)
    away = (9.0 - y.mean()) / slope
    half = z * 0.25 / slope * np.sqrt((1.0 + 1.0 / n) * (1.0 - g) + away**2 / spread)
    limits = x.mean() + (away + np.array([-1.0, 1.0]) * half) / (1.0 - g)
    assert_allclose(np.ravel(found.interval(0.95)), limits, atol=2e-3 * half)


def test_published_calibrations() -> None:
    # ISO/TS 28037:2010, 6: y = 1.867 + 1.757 x, and x = 4.913 with standard uncertainty 0.322 for y = 10.5 (0.5).
    x = np.arange(1.0, 7.0)[:, None]
    y = [3.3, 5.6, 7.1, 9.3, 10.7, 12.1]
    model = Regressor(noise="known", **WIDE).fit(x, y, y_err=0.5)
    assert_allclose([model.intercept_, model.coef_[0]], [1.867, 1.757], atol=6e-4)
    found = inverse_predict(model, [10.5], y_err=0.5, prior=stats.norm(3.5, 100.0))
    # To the first order, which leaves out (0.120 / 1.757)^2 of both.
    assert_allclose([found.ppf(0.5)[0], found.std()[0]], [4.913, 0.322], atol=0.01)
    # Miller & Miller, Statistics and Chemometrics for Analytical Chemistry, 5: the fluorescence of fluorescein, of
    # which 2.9, 13.5 and 23.0 are of 0.72, 6.21 and 11.13 pg/ml, standard deviations 0.26, 0.24 and 0.26.
    x = np.arange(0.0, 13.0, 2.0)[:, None]
    # (of one reading each), by a standard deviation about the line of 0.4329.
    model = Regressor(noise="known", **WIDE).fit(x, [2.1, 5.0, 9.0, 12.6, 17.3, 21.0, 24.7], y_err=0.4329)
    found = inverse_predict(model, [2.9, 13.5, 23.0], y_err=0.4329, prior=stats.norm(6.0, 100.0))
    assert_allclose(found.ppf(0.5), [0.72, 6.21, 11.13], atol=0.01)
    assert_allclose(found.std(), [0.26, 0.24, 0.26], atol=0.006)


@pytest.mark.thorough
@pytest.mark.parametrize("n", [6, 12, 40])
@pytest.mark.parametrize("noise", [0.2, 2.0])
def test_intervals_cover_what_was_read(n: int, noise: float) -> None:
    rng = np.random.default_rng(int(10 * noise) + n)
    inside, total = 0, 400
    for _ in range(total):
        x = rng.uniform(0.0, 10.0, n)[:, None]
        slope = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 2.0)
        y = 3.0 + slope * x[:, 0] + noise * abs(slope) * rng.normal(size=n)
        true = rng.uniform(0.0, 10.0)
        readings = 3.0 + slope * true + noise * abs(slope) * rng.normal(size=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = inverse_predict(Regressor().fit(x, y), readings[None, :])
        lower, upper = found.interval(0.9)
        inside += bool(lower[0] <= true <= upper[0])
    # 90% of 400: 3.3 standard errors are 5 per cent, missed once in a thousand.
    assert 0.85 <= inside / total <= 0.95


def test_detection_limits_are_currie_s_where_all_is_known() -> None:
    x = np.linspace(0.0, 10.0, 4000)[:, None]
    for slope in (2.0, -2.0):
        model = Regressor(noise="known").fit(x, 3.0 + slope * x[:, 0], y_err=0.2)
        found = detection_limits(model, y_err=0.2)
        one, both, ten = 1.644854, 3.289707, 10.0
        sign = np.sign(slope)
        assert_allclose(found, [3.0 + sign * one * 0.2, both * 0.1, ten * 0.1], rtol=2e-3)
    short = Regressor().fit(x[::800], 3.0 + 2.0 * x[::800, 0] + [0.2, -0.1, 0.1, -0.2, 0.15])
    assert detection_limits(short).detection > both * short.noise_scale_ / short.coef_[0]
    flat = Regressor().fit(x[::200], np.tile([1.0, 1.2, 0.9, 1.1], 5))
    assert np.isinf(detection_limits(flat).quantification)


def test_doubtful_answers_are_said() -> None:
    x = np.linspace(0.0, 1.0, 8)[:, None]
    rng = np.random.default_rng(8)
    steep = Regressor().fit(x, x[:, 0] + 0.01 * rng.normal(size=8))
    with pytest.warns(UserWarning, match="lie where the prior of 'x0' expects none"):
        inverse_predict(steep, [0.5, 3.0])
    with pytest.warns(UserWarning, match=r"readings of 1 of 1 samples \(first: 0\) say little"):
        inverse_predict(Regressor().fit(x, rng.normal(size=8)), [0.2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inverse_predict(steep, [0.1, 0.5, 0.9])


def test_what_is_wrong_is_said() -> None:
    X, y = standards()
    model, alone = Regressor().fit(X, y), Regressor().fit(X[:, :1], y)
    log = make_pipeline(FunctionTransformer(np.exp), Regressor()).fit(X[:, :1] / 5.0, y)
    for function, message in (
        (lambda: inverse_predict(model, [5.0]), "feature: the model has the columns"),
        (lambda: inverse_predict(model, [5.0], feature=0), "X: the model has other columns than 'x0'"),
        (
            lambda: inverse_predict(model, [5.0, 6.0], feature=0, X=np.zeros((3, 2))),
            "X has 3 rows, and y has 2",
        ),
        (lambda: inverse_predict(model, [5.0], feature="dose", X=[[0.0, 0.0]]), "feature"),
        (lambda: inverse_predict(alone, [np.nan]), "y: row 0 has no reading"),
        (lambda: inverse_predict(alone, [np.inf]), "y has infinity"),
        (lambda: inverse_predict(alone, "a"), "y must be real numbers"),
        (lambda: inverse_predict(alone, [[0.5, 0.6], [0.4]]), "rows of one length"),
        (lambda: inverse_predict(alone, [[[5.0]]]), r"y must have the shape \(n,\) or \(n, m\)"),
        (lambda: inverse_predict(alone, [5.0], y_err=[0.1, 0.2]), "y_err has the shape"),
        (
            lambda: inverse_predict(alone, [5.0], y_err=0.1),
            "y_err is given, but the model was fitted without",
        ),
        (lambda: inverse_predict(alone, [5.0], prior=3.0), "prior must be a frozen distribution"),
        (lambda: inverse_predict(alone, [5.0], prior=stats.norm([0.0, 1.0, 2.0], 0.0)), "prior must be one"),
        (lambda: inverse_predict(log, [5.0]), "does not tell how it was spread in fit"),
        (lambda: inverse_predict(StandardScaler().fit(X[:, :1]), [5.0]), "is read backwards"),
        (lambda: detection_limits(alone, alpha=2.0), "alpha must be a number between 0 and 1"),
    ):
        with pytest.raises((ValueError, TypeError), match=message) as caught:
            function()
        assert len(str(caught.value)) <= 400


def test_frames_and_series_keep_their_labels() -> None:
    X, y = standards()
    frame = pd.DataFrame(X, columns=["dose", "z"])
    model = Regressor().fit(frame, y)
    samples = pd.Series([4.0, 6.0], index=["a", "b"])
    table = inverse_predict(model, samples, feature="dose", X=pd.DataFrame({"z": [0.0, 0.0]})).to_frame(0.9)
    assert list(table.index) == ["a", "b"]
    assert list(table.columns) == ["dose", "std", "lower_90%", "upper_90%"]
    drawn = inverse_predict(model, samples, feature="dose", X=frame[:1]).sample(2000, random_state=0)
    # 2,000 draws: 4.5 standard errors.
    off = 4.5 / np.sqrt(2000.0)
    found = inverse_predict(model, samples, feature="dose", X=frame[:1])
    assert (np.abs(drawn.mean(axis=1) - found.mean()) < off * found.std()).all()
