"""Means of replicates: errors held against integrals over what variances may be, and intervals against the truth."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import integrate, stats
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Normal
from bayes_sklearn.persistence import TRUSTED_TYPES
from bayes_sklearn.preprocessing import ReplicateMean, replicate_means

Array = NDArray[np.float64]


def readings(n: int, m: int, seed: int, prior: float = 6.0) -> Array:
    """Rows of m readings whose variances are scaled inverse chi-square, with a mean of 1."""
    rng = np.random.default_rng(seed)
    variance = (prior - 2.0) / rng.chisquare(prior, n)
    return rng.normal(size=(n, 1)) + np.sqrt(variance)[:, None] * rng.normal(size=(n, m))


def test_means_and_errors_are_those_of_textbooks() -> None:
    rows = readings(50, 4, 0)
    mean, own = ReplicateMean(variance="own").fit_transform(rows).T
    assert_allclose(mean, rows.mean(axis=1), rtol=1e-13)
    assert_allclose(own, stats.sem(rows, axis=1), rtol=1e-12)
    transformer = ReplicateMean(variance="pooled").fit(rows)
    # A one-way analysis of variance has the pooled one within rows.
    within = np.sum((rows - mean[:, None]) ** 2) / 150.0
    assert_allclose(transformer.variance_, [within], rtol=1e-13)
    assert_array_equal(transformer.degrees_of_freedom_, [150.0])
    assert_allclose(transformer.transform(rows)[:, 1], np.sqrt(within / 4.0), rtol=1e-13)


def test_shrunken_variances_are_the_means_given_the_readings() -> None:
    rows = readings(200, 3, 1)
    transformer = ReplicateMean().fit(rows)
    (prior,), (pooled,) = transformer.prior_degrees_of_freedom_, transformer.variance_
    assert 3.0 < prior < 30.0
    found = 3.0 * np.square(transformer.transform(rows)[:4, 1])
    # sigma^2 is scaled inverse chi-square, of mean `pooled`; the readings' sum of squares is sigma^2 chi-square.
    before = stats.invgamma(prior / 2.0, scale=pooled * (prior - 2.0) / 2.0)
    for row, variance in zip(rows[:4], found, strict=True):
        square = 2.0 * row.var(ddof=1)

        def weight(v: float, square: float = square) -> float:
            return float(before.pdf(v) * stats.chi2(2).pdf(square / v) / v)

        total = integrate.quad(weight, 0.0, np.inf, limit=200)[0]
        mean = integrate.quad(lambda v: v * weight(v), 0.0, np.inf, limit=200)[0] / total
        assert_allclose(variance, mean, rtol=1e-6)


@pytest.mark.parametrize("m", [2, 3, 5])
def test_how_much_rows_differ_is_found(m: int) -> None:
    # The rows' standard deviations have a sampling error of about 0.5%, the degrees of freedom one of 10% (m = 2).
    found = ReplicateMean().fit(readings(40_000, m, 2, prior=6.0))
    assert_allclose(found.prior_degrees_of_freedom_, 6.0, rtol=0.25)
    assert_allclose(found.variance_, 1.0, rtol=0.05)
    alike = ReplicateMean().fit(np.random.default_rng(3).normal(size=(40_000, m)))
    assert alike.prior_degrees_of_freedom_[0] > 60.0


def test_errors_follow_units_and_offsets() -> None:
    rows = readings(30, 3, 4)
    mean, error = ReplicateMean().fit_transform(rows).T
    for scale, offset in ((1e-6, 0.0), (1e6, 1e9)):
        moved = ReplicateMean().fit_transform(offset + scale * rows)
        assert_allclose(moved[:, 0], offset + scale * mean, rtol=1e-12)
        assert_allclose(moved[:, 1], scale * error, rtol=1e-6)
    same = ReplicateMean().fit_transform(np.full((4, 3), 0.1))
    assert_array_equal(same, [[0.1, 0.0]] * 4)


def test_readings_that_were_not_made() -> None:
    rows = readings(40, 3, 5)
    rows[0, 1] = rows[1, :2] = rows[2] = np.nan
    transformer = ReplicateMean().fit(rows)
    found = transformer.transform(rows)
    (pooled,), (prior,) = transformer.variance_, transformer.prior_degrees_of_freedom_
    assert transformer.degrees_of_freedom_[0] == 37 * 2 + 1
    own = rows[0, [0, 2]].var(ddof=1)
    assert_allclose(found[0, 1], np.sqrt((own + (prior - 2.0) * pooled) / (prior - 1.0) / 2.0), rtol=1e-12)
    assert_allclose(found[1], [rows[1, 2], np.sqrt(pooled)], rtol=1e-12)  # nothing but the others' scatter
    assert np.isnan(found[2]).all()


FRAME = pd.DataFrame(
    {"a1": [1.0, 2.0, 3.0], "b1": [5.0, 5.5, 6.0], "z": [0.0, 1.0, 2.0], "a2": [1.2, 2.4, 2.8]}
)
FRAME["b2"] = [5.2, 5.3, 6.5]
TWO = {"a": ["a1", "a2"], "b": ["b1", "b2"]}


def test_columns_of_several_features_have_names_of_their_own() -> None:
    names = ["a", "a_err", "b", "b_err", "z"]
    transformer = ReplicateMean(TWO)
    array = transformer.fit_transform(FRAME)
    assert list(transformer.get_feature_names_out()) == names
    assert transformer.error_columns_ == {"a": "a_err", "b": "b_err"}
    assert_array_equal(array[:, 4], FRAME["z"])
    assert_allclose(array[:, 0], [1.1, 2.2, 2.9])
    by_position = ReplicateMean({"a": [0, 3], "b": [1, -1]}).fit_transform(FRAME.to_numpy())
    assert_array_equal(by_position, array)
    for library, frame in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        found = clone(transformer).set_output(transform=library).fit_transform(FRAME)
        assert isinstance(found, frame)
        assert list(found.columns) == names
    suffixed = ReplicateMean(TWO, error_suffix="_sd").fit(FRAME)
    assert suffixed.error_columns_ == {"a": "a_sd", "b": "b_sd"}
    skops = pytest.importorskip("skops.io")
    for loaded in (
        pickle.loads(pickle.dumps(transformer)),
        skops.loads(skops.dumps(transformer), trusted=TRUSTED_TYPES),
    ):
        assert_array_equal(loaded.transform(FRAME), array)


def test_readings_in_rows_are_those_in_columns() -> None:
    rng = np.random.default_rng(0)
    rows = readings(30, 3, 6)
    label = np.array([f"s{i}" for i in rng.permutation(30)])
    long = pd.DataFrame(
        {"sample": np.repeat(label, 3), "depth": np.repeat(np.arange(30), 3), "lead": rows.ravel()}
    )
    shuffled = long.sample(frac=1.0, random_state=1)
    found = replicate_means(shuffled, by="sample").loc[label]
    assert list(found.columns) == ["depth", "lead", "lead_err"]
    assert_array_equal(found["depth"], np.arange(30))
    assert_allclose(found[["lead", "lead_err"]], ReplicateMean().fit_transform(rows), rtol=1e-10)
    assert_array_equal(replicate_means(shuffled, by="sample").index, shuffled["sample"].unique())
    # The last two samples have a single reading, one of them beside a gap.
    fewer = long.iloc[:-2].copy()
    fewer.loc[[84, 85], "lead"] = np.nan
    few = replicate_means(fewer, by="sample", variance="pooled", readings=["lead"])
    pooled = rows[:28].var(axis=1, ddof=1).mean()
    assert_allclose(few["lead_err"].iloc[-2:], np.sqrt(pooled), rtol=1e-10)


def test_replicates_of_a_feature_go_through_a_pipeline() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    rows = pd.DataFrame(x[:, None] + rng.normal(size=(200, 3)), columns=["x1", "x2", "x3"])
    rows["z"] = rng.normal(size=200)
    y = 1.0 + 2.0 * x - rows["z"] + 0.3 * rng.normal(size=200)
    means = make_column_transformer(
        (ReplicateMean({"x": ["x1", "x2", "x3"]}), ["x1", "x2", "x3"]),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    model = make_pipeline(means, Regressor(error_columns="_err")).fit(rows, y)
    assert list(model[-1].coef_names_) == ["x", "z"]
    assert np.all(np.abs(model[-1].coef_ - [2.0, -1.0]) < 3.5 * model[-1].coef_std_)
    plain = Regressor().fit(np.column_stack([rows[["x1", "x2", "x3"]].mean(axis=1), rows["z"]]), y)
    assert plain.coef_[0] < 1.7  # three quarters of it


BAD: dict[str, tuple[dict[str, Any], Any, str]] = {
    "one column": ({}, FRAME[["z"]], "n_features = 1"),
    "no two readings": ({}, [[1.0, np.nan], [np.nan, 2.0]], "no row with two readings of 'mean'"),
    "an unknown column": ({"replicates": {"a": ["a1", "a3"]}}, FRAME, "'a3' is not a column of X"),
    "a column twice": ({"replicates": {"a": ["a1", "a2"], "b": ["a2", "b1"]}}, FRAME, "names a column twice"),
    "a name twice": ({"replicates": {"z": ["a1", "a2"]}}, FRAME, "two columns would be called 'z'"),
    "no list": ({"replicates": {"a": "a1"}}, FRAME, "'a' needs a list of columns"),
    "no dict": ({"replicates": ["a1"]}, FRAME, "replicates must be a dict"),
    "a variance": ({"variance": "mine"}, FRAME, "variance must be one of shrunken, pooled, own, got 'mine'"),
    "a suffix": ({"error_suffix": ""}, FRAME, "error_suffix must be a text"),
    "a single reading": (
        {"variance": "own"},
        [[1.0, 2.0], [1.0, np.nan]],
        "row 1 has a single reading.*'shrunken' or 'pooled'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_replicates_refuse_what_is_wrong_by_name(name: str) -> None:
    settings, rows, says = BAD[name]
    with pytest.raises((TypeError, ValueError), match=says) as caught:
        ReplicateMean(**settings).fit_transform(rows)
    assert len(str(caught.value)) <= 400


LONG = pd.DataFrame({"s": ["a", "a", "b"], "v": [1.0, 2.0, 3.0], "w": ["x", "y", "x"]})


@pytest.mark.parametrize(
    ("frame", "settings", "says"),
    [
        (LONG.to_numpy(), {"by": "s"}, "frame must be a pandas data frame"),
        (LONG, {"by": "t"}, "by='t' is not one column of the frame"),
        (LONG, {"by": "s"}, "'w' holds readings.*got the text 'y' in row 1|'w' holds readings.*got the text"),
        (LONG, {"by": "s", "readings": ["v"]}, "'w' differs within a sample, and is not listed"),
        (LONG, {"by": "s", "readings": ["u"]}, "'u' is no column of the frame"),
        (LONG.iloc[1:], {"by": "s", "readings": ["v"]}, "no sample with two readings of 'v'"),
        (LONG[["s", "v"]].assign(v_err=1.0), {"by": "s"}, "has a column 'v_err'"),
        (LONG[["s", "v"]].assign(s=["a", "a", None]), {"by": "s"}, "a row has no label"),
        (LONG[["s", "v"]].assign(v=[np.inf, 1.0, 2.0]), {"by": "s"}, "'v' has an infinite reading, in row 0"),
    ],
)
def test_rows_that_are_no_readings_are_refused_by_name(frame: Any, settings: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says) as caught:
        replicate_means(frame, **settings)
    assert len(str(caught.value)) <= 400


def covered(where: str, m: int, spread: float, seed: int, **settings: Any) -> Array:
    """Whether 90% intervals of slope, line and new measurements hold the truth; errors of x, or of y."""
    rng, n = np.random.default_rng(seed), 40
    x, new = rng.normal(size=n), rng.normal(size=20)
    # Errors differ by a lognormal factor from row to row; of x they are three quarters of its spread.
    level = np.exp(spread * rng.normal(size=(n + 20, 1)) - spread**2)
    scale = level * (0.75 * np.sqrt(m) if where == "X" else 1.0)
    noise = scale * rng.normal(size=(n + 20, m))
    error = noise.mean(axis=1)[n:]
    if where == "X":
        y = 1.0 + x + 0.5 * rng.normal(size=n)
        mean, standard_error = ReplicateMean(**settings).fit_transform(x[:, None] + noise[:n]).T
        model = Regressor().fit(mean[:, None], y, X_err=standard_error[:, None])
        line = model.predict_interval(new[:, None], 0.9, include_noise=False, X_err=0.0)
        again = model.predict_interval((new + error)[:, None], 0.9)
        truth = 1.0 + new + 0.5 * rng.normal(size=20)
    else:
        readings = 1.0 + x[:, None] + noise[:n]
        mean, standard_error = ReplicateMean(**settings).fit_transform(readings).T
        model = Regressor().fit(x[:, None], mean, y_err=standard_error)
        line = model.predict_interval(new[:, None], 0.9, include_noise=False)
        again, truth = model.predict_interval(new[:, None], 0.9), 1.0 + new + error
    lower, upper = model.summary(0.9).iloc[1, 2:4]
    held = [np.mean((a[:, 0] <= t) & (t <= a[:, 1])) for a, t in ((line, 1.0 + new), (again, truth))]
    return np.array([lower <= 1.0 <= upper, *held, model.coef_[0]])


# Errors that differ from row to row look like wild readings; some of the tables hardly tell of the slope.
@pytest.mark.filterwarnings(
    "ignore:Some readings of features with errors are wild", "ignore:The errors of 'x0' hide"
)
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("where", "m", "spread"),
    [("X", 2, 0.4), ("X", 3, 0.4), ("X", 5, 0.0), ("y", 2, 0.0), ("y", 3, 0.4), ("y", 5, 0.4)],
)
def test_intervals_know_how_little_replicates_say(where: str, m: int, spread: float) -> None:
    rates = np.mean([covered(where, m, spread, seed) for seed in range(150)], axis=0)
    # By 2.7 standard errors of 150 tables: of slopes, one in 150; of the line a little less, as rows go together.
    assert 0.83 < rates[0] < 0.97
    assert ((rates[1:3] > 0.84) & (rates[1:3] < 0.96)).all(), rates


@pytest.mark.filterwarnings("ignore:Some readings of features with errors are wild")
def test_the_scatter_of_two_readings_by_itself_flattens_the_line() -> None:
    """Rows whose two readings agree by chance are taken for exact."""
    slopes = {
        how: [covered("X", 2, 0.4, s, variance=how)[3] for s in range(12)] for how in ("own", "shrunken")
    }
    # Of a slope of 1, with a standard deviation of about 0.3 a table: 0.09 in the mean.
    assert np.mean(slopes["own"]) < 0.88
    assert np.mean(slopes["shrunken"]) > 0.9


def test_true_values_of_some_rows_are_a_feature_with_gaps() -> None:
    """A validation sample: an instrument with an offset, and the truth beside it for a fifth of the rows."""
    rng = np.random.default_rng(2)
    x = rng.normal(5.0, 1.0, 500)
    rows = pd.DataFrame({"x": x, "reading": 1.0 + 0.7 * x + 0.7 * rng.normal(size=500)})
    y = 1.0 + 2.0 * x + rng.normal(size=500)
    rows.loc[100:, "x"] = np.nan
    # Given the true value a reading says nothing of y: its coefficient is 0.
    model = Regressor(missing="model", coef_prior=Normal(sigma=[2.0, 1e-3])).fit(rows, y)
    alone = Regressor().fit(rows[["x"]].iloc[:100], y[:100])
    assert abs(model.coef_[0] - 2.0) < 3.0 * model.coef_std_[0]
    assert model.coef_std_[0] < 0.9 * alone.coef_std_[0]
    assert Regressor().fit(rows[["reading"]], y).coef_[0] < 1.7


def test_degrees_of_freedom_are_those_of_the_mean_variance_where_rows_differ() -> None:
    """A variance known with d of them varies by 2 / d of its square about the rows' true mean, over tables."""
    rng = np.random.default_rng(8)
    variance = rng.lognormal(0.0, 0.8, 60)
    off, found = [], []
    for _ in range(2000):
        transformer = ReplicateMean().fit(np.sqrt(variance)[:, None] * rng.normal(size=(60, 3)))
        off.append(transformer.variance_[0] / variance.mean() - 1.0)
        found.append(transformer.error_dof_["mean"])
    # Of 2,000 tables the standard error is 3%; estimates of a ratio are somewhat off besides.
    assert_allclose(np.mean(2.0 / np.array(found)), np.mean(np.square(off)), rtol=0.15)
    assert np.mean(found) < 0.7 * 120.0  # readings less rows
