"""Where single rows say little, displays draw means and name the exceptions."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import BayesianRidge

from bayes_sklearn.displays import (
    BlandAltmanDisplay,
    PredictionDisplay,
    RankDisplay,
    RegressionLineDisplay,
    VarianceDisplay,
)

from data import measured
from plain import Regressor

mpl.use("Agg")
RNG = np.random.default_rng(0)
DOSE = RNG.normal(size=(200, 2))
CHANCE = expit(DOSE @ [1.5, -1.0])
OUTCOME = RNG.binomial(1, CHANCE).astype(float)
OF_OUTCOMES = Regressor(likelihood="binomial", random_state=0).fit(DOSE, OUTCOME)


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def texts(display: object) -> list[str]:
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]  # type: ignore[attr-defined]


def test_outcomes_are_drawn_as_a_reliability_diagram() -> None:
    display = PredictionDisplay.from_estimator(OF_OUTCOMES, DOSE, OUTCOME)
    observed, predicted = calibration_curve(
        OUTCOME, OF_OUTCOMES.predict(DOSE), n_bins=10, strategy="quantile"
    )
    assert_allclose(display.means_.get_xdata(), predicted)
    assert_allclose(display.means_.get_ydata(), observed)
    assert display.ax_.get_xlabel() == "predicted (mean of each tenth of 200 rows)"
    rows = PredictionDisplay.from_estimator(OF_OUTCOMES, DOSE, OUTCOME, kind="rows")
    assert len(rows.inside) + len(rows.outside) == 200


def test_bars_of_means_are_the_quantiles_of_means_of_outcomes() -> None:
    """Of outcomes that are drawn: rare ones, too, whose means are skewed."""
    chance = np.sort(stats.beta.rvs(0.4, 1.2, size=400, random_state=1))
    std = np.sqrt(chance * (1.0 - chance))
    display = PredictionDisplay(
        (np.arange(400) % 2).astype(float), chance, np.zeros((400, 2)), coverage=0.9, y_std=std
    ).plot()
    limits = np.array(display.mean_bars_[2][0].get_segments())[:, :, 1]
    means = (np.random.default_rng(2).random((20_000, 400)) < chance).reshape(20_000, 10, 40).mean(axis=2)
    step = 1.0 / 40
    assert_allclose(limits.T, np.quantile(means, [0.05, 0.95], axis=0), atol=step)
    held = ((means > limits[:, 0] - 0.5 * step) & (means < limits[:, 1] + 0.5 * step)).mean(axis=0)
    assert held.min() > 0.88
    assert held[4:].max() < 0.96
    assert limits.min() >= 0.0
    assert limits.max() <= 1.0


def test_bars_of_means_of_measurements_are_normal() -> None:
    X, y, error = measured(90)
    mean, std = BayesianRidge().fit(X, y).predict(X, return_std=True)
    weight = np.arange(90) % 3
    display = PredictionDisplay.from_predictions(
        y, mean, std, sample_weight=weight, y_err=error, coverage=0.8, kind="deciles"
    )
    frame = pd.DataFrame({"y": y, "mean": mean, "var": std**2, "w": weight})[weight > 0].sort_values("mean")
    first = frame.iloc[:6]
    share = first["w"] / first["w"].sum()
    assert_allclose(display.means_.get_xydata()[0], [share @ first["mean"], share @ first["y"]])
    bar = np.array(display.mean_bars_[2][0].get_segments())[0, :, 1]
    assert_allclose(bar, stats.norm.interval(0.8, share @ first["mean"], np.sqrt(share**2 @ first["var"])))
    plain = PredictionDisplay(y, mean, np.column_stack([mean, mean])).plot(kind="deciles")
    assert plain.mean_bars_ is None


@pytest.mark.parametrize(
    ("y", "columns"),
    [
        (np.linspace(0.0, 1.0, 100), False),
        (np.round(np.linspace(0.0, 1.0, 100), 1), True),
        (np.arange(15) % 2, False),
        (RNG.integers(0, 30, 300), False),
        (RNG.poisson(1.0, 300), True),
    ],
)  # fmt: skip
def test_means_are_drawn_where_few_values_make_up_most(y: np.ndarray, columns: bool) -> None:
    y = y.astype(float)
    display = PredictionDisplay.from_predictions(y, y + 0.1, 1.0)
    assert hasattr(display, "means_") == columns


def test_of_many_rows_some_are_drawn_with_means_of_all() -> None:
    X, y, error = measured(2000)
    model = Regressor().fit(X, y, y_err=error)
    display = RegressionLineDisplay.from_estimator(model, X, pd.Series(y, name="force"), 1, y_err=error)
    assert len(display.points_[0].get_xdata()) == 300
    assert display.ax_.get_ylabel().endswith("(300 of 2000 rows)")
    others = (X - X.mean(axis=0)) @ (model.coef_ * [1.0, 0.0, 1.0])
    table = pd.DataFrame({"x": X[:, 1], "y": y - others})
    expected = table.groupby(pd.qcut(table["x"], 10), observed=True).mean()
    assert_allclose(display.means_.get_xydata(), expected, rtol=1e-9)
    every = RegressionLineDisplay.from_estimator(model, X, y, 1, subsample=None)
    assert len(every.points_.lines[0].get_xdata()) == 2000
    few = RegressionLineDisplay.from_estimator(model, X[:200], y[:200], 1)
    assert few.means_ is None
    noisy = RegressionLineDisplay.from_estimator(model, X, y, 1, X_err=0.1)
    assert noisy.means_ is None  # they would not be on the line in the true feature


def test_means_of_outcomes_are_on_the_line_at_the_means_of_other_features() -> None:
    """Of outcomes as they were drawn the true line is known: 2,000 times each, their means are on it."""
    many = Regressor(likelihood="binomial", weight_type="counts", random_state=0)
    share = RNG.binomial(2000, CHANCE) / 2000
    many.fit(DOSE, share, np.full(200, 2000))
    outcomes = np.tile(DOSE, (100, 1)), (RNG.random((100, 200)) < CHANCE).astype(float).ravel()
    display = RegressionLineDisplay.from_estimator(many, *outcomes)
    own = display.points_[0].get_ydata() if hasattr(display.points_, "lines") else None
    assert set(np.unique(own)) == {0.0, 1.0}
    at, found = display.means.T
    line = np.interp(at, display.grid, display.mean)
    assert_allclose(found[1:-1], line[1:-1], atol=0.03)


def test_shares_are_moved_within_their_bounds() -> None:
    trials = np.full(200, 40)
    share = RNG.binomial(trials, CHANCE) / trials
    model = Regressor(likelihood="binomial", weight_type="counts", random_state=0).fit(DOSE, share, trials)
    own = model.predict(DOSE, counts=trials)
    at = model.predict(np.column_stack([DOSE[:, 0], np.full(200, DOSE[:, 1].mean())]), counts=trials)
    y = np.where(np.arange(200) % 4 == 0, own, share)
    y[:2] = 0.0, 1.0
    display = RegressionLineDisplay.from_estimator(model, DOSE, y, 0, counts=trials)
    found = display.points_[0].get_ydata()
    assert_allclose(found[4::4], at[4::4], rtol=1e-6)
    assert_allclose(found[:2], [0.0, 1.0], atol=1e-9)
    expected = np.interp(y[2], [0.0, own[2], 1.0], [0.0, at[2], 1.0])
    assert_allclose(found[2], expected, rtol=1e-6)


def test_rates_are_moved_by_a_factor() -> None:
    count = RNG.poisson(np.exp(DOSE @ [0.5, -0.5]))
    model = Regressor(likelihood="poisson", random_state=0).fit(DOSE, count)
    own = model.predict(DOSE)
    at = model.predict(np.column_stack([DOSE[:, 0], np.full(200, DOSE[:, 1].mean())]))
    display = RegressionLineDisplay.from_estimator(model, DOSE, count, 0)
    assert_allclose(display.points_[0].get_ydata(), count * at / own, rtol=1e-6)
    assert np.array(display.points_[2][0].get_segments())[:, :, 1].min() >= 0.0


def test_of_many_parameters_those_outside_the_band_are_named() -> None:
    ranks = np.random.default_rng(0).random((200, 20))
    names = [f"b{i}" for i in range(20)]
    for kind in ("ecdf_difference", "histogram"):
        fine = RankDisplay(ranks, names).plot(kind=kind)  # type: ignore[arg-type]
        assert texts(fine) == ["95% of the time, if calibrated", "all 20 parameters, inside"]
        assert fine.outside_ == []
        assert len(fine.lines_) == 20
        bad = ranks.copy()
        bad[:, [3, 11]] **= 2.0
        display = RankDisplay(bad, names).plot(kind=kind)  # type: ignore[arg-type]
        assert display.outside_ == ["b3", "b11"]
        assert texts(display)[1] == "18 others"
        assert set(texts(display)[2:]) == {"b3", "b11"}
        assert display.lines_[3].get_linestyle() != display.lines_[11].get_linestyle()
    worse = RankDisplay(ranks**2.0, names).plot()
    outside = [
        name
        for name, own in zip(names, (ranks**2.0).T, strict=True)
        if stats.kstest(own, "uniform").pvalue < 1e-4
    ]
    assert set(outside) <= set(worse.outside_)
    assert texts(worse)[1] == f"14 others ({len(worse.outside_) - 6} of them outside)"


def test_small_parts_of_variances_are_named_and_the_whole_is_in_the_targets_unit() -> None:
    X, y, error = measured(90)
    model = Regressor().fit(X, y, y_err=error)
    display = VarianceDisplay.from_estimator(model, X, y_err=error)
    distribution = model.predict_distribution(X, y_err=error)
    share = distribution.variance_parts["parameters"].sum() / distribution.var().sum()
    assert texts(display)[0] == f"line (parameters), {100.0 * share:.2g}%"
    order = np.array_split(np.argsort(distribution.mean()), 10)
    above = [text.get_text() for text in display.ax_.texts]
    assert above == [f"{np.sqrt(distribution.var()[own].mean()):.2g}" for own in order]
    beside = VarianceDisplay.from_estimator(model, X, y_err=error, share=False)
    ticks = beside.std_axis_.get_yticks()
    assert_allclose(beside.std_axis_._functions[0](np.square(ticks)), ticks)
    assert ticks.max() <= distribution.std().max()
    nothing = VarianceDisplay({"parameters": np.array([0.0, 1.0])}, np.arange(2.0)).plot()
    assert_allclose([bar.get_height() for bar in nothing.bars_["parameters"]], [0.0, 100.0])


def test_many_samples_are_small_dots() -> None:
    display = BlandAltmanDisplay(np.arange(400.0), np.zeros(400), np.array([[0.0, -1.0, 1.0]] * 3)).plot()
    assert (
        display.points_.get_sizes()
        < BlandAltmanDisplay(np.arange(40.0), np.zeros(40), np.array([[0.0, -1.0, 1.0]] * 3))
        .plot()
        .points_.get_sizes()
    )


def test_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be 'auto', 'rows' or 'deciles', got 'bins'"):
        PredictionDisplay.from_estimator(OF_OUTCOMES, DOSE, OUTCOME, kind="bins")  # type: ignore[arg-type]
