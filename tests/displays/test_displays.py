"""What displays draw is what the predictive distribution says; no image is compared."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.compose import make_column_transformer
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from bayes_sklearn import Flat, Horseshoe, Laplace, Normal, StudentT, audit_errors, metrics
from bayes_sklearn.displays import (
    AuditDisplay,
    CalibrationDisplay,
    CoefficientDisplay,
    PITDisplay,
    PredictionDisplay,
    RankDisplay,
    RegressionLineDisplay,
    VarianceDisplay,
)
from bayes_sklearn.displays.drawing.axes import Display

from data import measured, noisy_features, shares
from plain import Regressor

mpl.use("Agg")
X, Y, E = measured(90)
FRAME = pd.DataFrame(X, columns=["length", "mass", "age"])
MODEL = Regressor().fit(FRAME, Y, y_err=E)
COUNTED = shares(120)
OF_SHARES = Regressor(weight_type="counts").fit(COUNTED.X, COUNTED.y, COUNTED.counts)


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def segments(container: Any, bar: int = 0) -> Any:
    """The error bars of an ErrorbarContainer, (rows, 2 ends, xy)."""
    return np.array(container[2][bar].get_segments())


def texts(display: Any) -> list[str]:
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_predictions_and_intervals_are_the_distributions() -> None:
    display = PredictionDisplay.from_estimator(MODEL, FRAME, Y, y_err=E, coverage=0.8)
    distribution = MODEL.predict_distribution(FRAME, y_err=E)
    lower, upper = distribution.interval(0.8)
    held = (lower <= Y) & (upper >= Y)
    for rows, drawn in ((held, display.inside_), (~held, display.outside_)):
        assert_allclose(drawn[0].get_xdata(), Y[rows])
        assert_allclose(drawn[0].get_ydata(), distribution.mean()[rows])
        assert_allclose(segments(drawn)[:, :, 1], np.column_stack([lower, upper])[rows])
    bars = segments(display.measurement_bars_)
    assert_allclose(np.ptp(bars[:, :, 0], axis=1), 2.0 * E)
    assert display.ax_.get_xlabel() == "measured"
    assert display.ax_.get_ylabel() == "predicted"
    assert any(text.startswith("80% interval holds") for text in texts(display))


def test_bars_of_shares_are_binomial() -> None:
    display = PredictionDisplay.from_estimator(OF_SHARES, COUNTED.X, COUNTED.y, counts=COUNTED.counts)
    p = OF_SHARES.predict(COUNTED.X)
    many = COUNTED.counts > 100
    expected = np.sqrt(p * (1.0 - p) / COUNTED.counts) + OF_SHARES.error_floor
    assert display.y_err is not None
    down, up = display.y_err
    assert_allclose(up[many], np.minimum(expected, 1.0 - COUNTED.y)[many], rtol=0.05)
    assert_allclose(down[many], np.minimum(expected, COUNTED.y)[many], rtol=0.05)


def test_predictions_of_means_and_deviations() -> None:
    mean, std = BayesianRidge().fit(X, Y).predict(X, return_std=True)
    display = PredictionDisplay.from_predictions(Y, mean, std, coverage=0.9)
    assert_allclose(display.interval, np.column_stack(stats.norm.interval(0.9, mean, std)))
    assert display.measurement_bars_ is None
    same = PredictionDisplay.from_estimator(BayesianRidge().fit(X, Y), X, Y, coverage=0.9)
    assert_allclose(same.interval, display.interval)


def test_of_many_rows_some_are_drawn_and_all_counted() -> None:
    display = PredictionDisplay.from_estimator(MODEL, FRAME, Y, y_err=E, subsample=20)
    assert len(display.inside) + len(display.outside) == 20
    lower, upper = MODEL.predict_distribution(FRAME, y_err=E).interval(0.95)
    held = np.round(100.0 * np.mean((lower <= Y) & (upper >= Y)), 1)
    assert any(f"({held:g}% of rows)" in text for text in texts(display))
    assert display.ax_.get_ylabel() == "predicted (20 of 90 rows)"


def test_observed_coverage_is_that_of_the_intervals() -> None:
    display = CalibrationDisplay.from_estimator(MODEL, FRAME, Y, y_err=E)
    distribution = MODEL.predict_distribution(FRAME, y_err=E)
    for coverage in (0.2, 0.5, 0.9):
        expected = metrics.interval_coverage(Y, *distribution.interval(coverage))
        at = np.flatnonzero(np.isclose(display.nominal, coverage))[0]
        assert_allclose(display.observed[at], expected)
        assert_allclose(display.line_.get_ydata()[at], 100.0 * expected)
        assert_allclose(display.band[at], stats.binom.ppf([0.025, 0.975], 90, coverage) / 90)
    assert display.ax_.get_xlabel() == "coverage that predicted intervals claim (%)"
    assert display.ax_.get_ylabel() == "measurements inside the intervals (%)"


def test_the_binomial_band_holds_calibrated_predictions() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        display = CalibrationDisplay(rng.uniform(size=150))
        inside.append(
            (display.band[49, 0] <= display.observed[49]) & (display.observed[49] <= display.band[49, 1])
        )
    assert 200 - sum(inside) <= stats.binom.isf(1e-4, 200, 0.05)


def test_pit_histogram_counts_rows() -> None:
    display = PITDisplay.from_predictions(Y, MODEL.predict_distribution(FRAME, y_err=E))
    assert_allclose(display.pit, metrics.pit(Y, MODEL.predict_distribution(FRAME, y_err=E)))
    heights = [bar.get_height() for bar in display.bars_]
    assert_allclose(heights, np.histogram(display.pit, bins=10, range=(0.0, 1.0))[0])
    ends = display.band_.get_paths()[0].vertices[:, 1]
    assert_allclose([ends.min(), ends.max()], stats.binom.ppf([0.025, 0.975], 90, 0.1))
    assert display.ax_.get_ylabel() == "number of measurements"


def test_pit_difference_is_the_empirical_distributions_from_uniform() -> None:
    display = PITDisplay([0.2, 0.9, 0.4]).plot(kind="ecdf_difference")
    at, difference = display.line_.get_data()
    assert_allclose(at, [0.0, 0.2, 0.2, 0.4, 0.4, 0.9, 0.9, 1.0])
    assert_allclose(difference + at, [0, 0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    with pytest.raises(ValueError, match="kind must be"):
        display.plot(kind="line")  # type: ignore[arg-type]


def test_pit_of_shares_takes_counts_into_account() -> None:
    model = Regressor(likelihood="binomial", weight_type="counts", random_state=0)
    model.fit(COUNTED.X, COUNTED.y, COUNTED.counts)
    display = PITDisplay.from_estimator(model, COUNTED.X, COUNTED.y, counts=COUNTED.counts)
    distribution = model.predict_distribution(COUNTED.X, counts=COUNTED.counts)
    assert_allclose(display.pit, distribution.pit(COUNTED.y), atol=1e-12)
    assert_allclose(display.width, distribution.pdf(COUNTED.y) / COUNTED.counts, atol=1e-6)
    assert_allclose(sum(bar.get_height() for bar in display.bars_), 120)


def test_calibrated_shares_of_few_counts_look_calibrated() -> None:
    rng = np.random.default_rng(0)
    k = rng.binomial(3, 0.2, 2000)
    mass = stats.binom.pmf(k, 3, 0.2)
    display = CalibrationDisplay(stats.binom.cdf(k, 3, 0.2) - 0.5 * mass, mass)
    assert_allclose(display.observed, display.nominal, atol=0.03)
    assert np.abs(CalibrationDisplay(display.pit).observed - display.nominal).max() > 0.2
    bars = PITDisplay(display.pit, mass).plot().bars_
    assert_allclose([bar.get_height() for bar in bars], 200, atol=30)
    difference = PITDisplay(display.pit, mass).plot(kind="ecdf_difference").line_.get_ydata()
    assert np.abs(difference).max() < 0.03


WEIGHT = np.arange(90) % 3
AGAIN = np.repeat(np.arange(90), WEIGHT)


@pytest.mark.parametrize("width", [None, np.linspace(0.0, 0.2, 90)])
def test_shares_of_weighted_rows_are_those_of_repeated_rows(width: Any) -> None:
    pit = np.random.default_rng(0).uniform(0.1, 0.9, 90)
    repeated = {"width": None if width is None else width[AGAIN]}
    weighted = CalibrationDisplay(pit, width, sample_weight=WEIGHT)
    assert_allclose(weighted.observed, CalibrationDisplay(pit[AGAIN], **repeated).observed)
    bars, same = (
        display.plot().bars_
        for display in (PITDisplay(pit, width, sample_weight=WEIGHT), PITDisplay(pit[AGAIN], **repeated))
    )
    assert_allclose([bar.get_height() for bar in bars], [bar.get_height() for bar in same], atol=1e-9)
    lines = [
        display.plot(kind="ecdf_difference").line_.get_data()
        for display in (PITDisplay(pit, width, sample_weight=WEIGHT), PITDisplay(pit[AGAIN], **repeated))
    ]
    at = np.linspace(0.0005, 0.9995, 400)
    assert_allclose(*(np.interp(at, x, y + x) for x, y in lines), atol=1e-9)


def test_a_weight_of_zero_leaves_a_row_out_even_one_without_a_value() -> None:
    pit = np.random.default_rng(0).uniform(size=90)
    display = CalibrationDisplay(np.where(WEIGHT > 0, pit, np.nan), sample_weight=WEIGHT)
    kept = CalibrationDisplay(pit[WEIGHT > 0], sample_weight=WEIGHT[WEIGHT > 0])
    assert_allclose(display.observed, kept.observed)
    assert_allclose(display.band, kept.band)
    with pytest.raises(ValueError, match="pit must be numbers"):
        CalibrationDisplay(np.where(WEIGHT > 0, np.nan, pit), sample_weight=WEIGHT)


def test_bands_of_weighted_rows_hold_calibrated_predictions() -> None:
    rng = np.random.default_rng(0)
    weight = rng.geometric(0.2, 150).astype(np.float64)
    inside, within = [], []
    for _ in range(200):
        pit = rng.uniform(size=150)
        display = CalibrationDisplay(pit, sample_weight=weight)
        inside.append(display.band[49, 0] <= display.observed[49] <= display.band[49, 1])
        # The least the band could be, were k copies of a row k measurements.
        total = int(weight.sum())
        lower, upper = stats.binom.ppf([0.025, 0.975], total, 0.5) / total
        within.append(lower <= display.observed[49] <= upper)
    assert 200 - sum(inside) <= stats.binom.isf(1e-4, 200, 0.05)
    assert 200 - sum(within) > 50


def test_bands_are_of_the_effective_number_of_rows() -> None:
    pit = np.random.default_rng(0).uniform(size=90)
    once, thrice = CalibrationDisplay(pit), CalibrationDisplay(pit, sample_weight=np.full(90, 3.0))
    assert_allclose(thrice.band, once.band)
    n = round(WEIGHT.sum() ** 2 / np.square(WEIGHT).sum())
    assert 45 < n < 60
    display = CalibrationDisplay(pit, sample_weight=WEIGHT)
    assert display.n_effective == n
    assert_allclose(display.band[49], stats.binom.ppf([0.025, 0.975], n, 0.5) / n)
    histogram = PITDisplay(pit, sample_weight=WEIGHT).plot()
    ends = histogram.band_.get_paths()[0].vertices[:, 1]
    limits = 90.0 * stats.binom.ppf([0.025, 0.975], n, 0.1) / n  # the weights add up to 90
    assert_allclose([ends.min(), ends.max()], limits)
    assert histogram.ax_.get_ylabel() == "weight of measurements"
    ends = histogram.plot(kind="ecdf_difference").band_.get_paths()[0].vertices[:, 1]
    assert_allclose(ends.max(), stats.kstwo.ppf(0.95, n))


@pytest.mark.parametrize("display", [CalibrationDisplay, PITDisplay])
def test_weights_reach_displays_of_calibration(display: Any) -> None:
    distribution = MODEL.predict_distribution(FRAME, y_err=E)
    expected = display(metrics.pit(Y, distribution), sample_weight=WEIGHT)
    for drawn in (
        display.from_estimator(MODEL, FRAME, Y, sample_weight=WEIGHT, y_err=E),
        display.from_predictions(Y, distribution, sample_weight=WEIGHT),
    ):
        assert_allclose(drawn.sample_weight, WEIGHT[WEIGHT > 0])
        assert_allclose(drawn.pit, expected.pit)


def test_weights_weigh_what_other_displays_average() -> None:
    stated = {"y_err": E, "sample_weight": WEIGHT}
    display = PredictionDisplay.from_estimator(MODEL, FRAME, Y, coverage=0.5, **stated)
    lower, upper = MODEL.predict_distribution(FRAME, y_err=E).interval(0.5)
    held = np.average((lower <= Y) & (upper >= Y), weights=WEIGHT)
    assert any(f"({100.0 * round(held, 3):g}% of rows)" in text for text in texts(display))
    assert len(display.inside) + len(display.outside) == np.count_nonzero(WEIGHT)
    same = PredictionDisplay.from_predictions(
        Y, MODEL.predict_distribution(FRAME, y_err=E), coverage=0.5, sample_weight=WEIGHT
    )
    assert texts(same) == texts(display)[1:]
    line = RegressionLineDisplay.from_estimator(MODEL, FRAME, Y, "mass", **stated)
    again = RegressionLineDisplay.from_estimator(MODEL, FRAME.iloc[AGAIN], Y[AGAIN], "mass", y_err=E[AGAIN])
    assert_allclose(line.mean, again.mean)
    assert_allclose(line.points_[0].get_xdata(), X[WEIGHT > 0, 1])
    variance = VarianceDisplay.from_estimator(MODEL, FRAME, by=X[:, 0], kind="deciles", share=False, **stated)
    order = np.argsort(X[WEIGHT > 0, 0])
    total = MODEL.predict_distribution(FRAME, y_err=E).var()[WEIGHT > 0][order]
    weight = WEIGHT[WEIGHT > 0][order]
    tops = np.sum([[bar.get_height() for bar in bars] for bars in variance.bars_.values()], axis=0)
    assert_allclose(tops[0], np.average(total[:6], weights=weight[:6]))


def test_labels_are_held_at_the_most_frequent() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=40), "kind": ["a"] * 30 + ["b"] * 10})
    y = table["x"] + 5.0 * (table["kind"] == "b") + 0.1 * rng.normal(size=40)
    columns = make_column_transformer((OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough")
    pipeline = make_pipeline(columns, Regressor()).fit(table, y)
    weight = np.where(table["kind"] == "a", 1.0, 9.0)
    for given, expected in ((None, 0.0), (weight, 5.0)):
        line = RegressionLineDisplay.from_estimator(pipeline, table, y, "x", sample_weight=given)
        assert_allclose(np.interp(0.0, line.grid, line.mean), expected, atol=0.2)


def test_a_display_says_how_it_is_drawn() -> None:
    with pytest.raises(TypeError, match="plot"):
        Display()  # type: ignore[abstract]


def test_coefficients_are_in_the_units_of_their_priors() -> None:
    model = Regressor(coef_prior=Normal(mu=[0.0, 1.0, 2.0], sigma=0.5)).fit(FRAME, Y, y_err=E)
    display = CoefficientDisplay.from_estimator(model, coverage=0.9)
    scale = X.std(axis=0) / Y.std()
    table = model.summary(0.9).iloc[1:4]
    points, lines = display.posterior_[0], segments(display.posterior_)
    assert_allclose(points.get_xdata(), model.coef_ * scale)
    assert_allclose(lines[:, :, 0], table[["lower_90%", "upper_90%"]].to_numpy() * scale[:, None])
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in display.prior_]
    limits = stats.norm.interval(0.9, [0.0, 1.0, 2.0], 0.5)
    assert_allclose(bars, np.column_stack(limits))
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["length", "mass", "age"]
    assert display.ax_.get_xlabel() == "coefficient (sd of target per sd of feature)"
    assert display.ax_.yaxis_inverted()


def test_coefficients_without_standardising_are_the_datas() -> None:
    display = CoefficientDisplay.from_estimator(Regressor(standardize=False).fit(X, Y, y_err=E))
    assert_allclose(display.mean, Regressor(standardize=False).fit(X, Y, y_err=E).coef_)
    assert display.ax_.get_xlabel() == "coefficient (unit of target per unit of feature)"


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        (StudentT(nu=3, sigma=2.0), stats.t(3, scale=2.0).interval(0.95)),
        (Laplace(b=0.5), stats.laplace(scale=0.5).interval(0.95)),
        (Flat(), (-np.inf, np.inf)),
        (Horseshoe(), (np.nan, np.nan)),
    ],
)
def test_prior_intervals_are_the_priors(prior: Any, expected: tuple[float, float]) -> None:
    model = Regressor().fit(FRAME, Y, y_err=E).set_params(coef_prior=prior)
    display = CoefficientDisplay.from_estimator(model)
    assert_allclose(display.prior_interval, np.tile(expected, (3, 1)))
    assert len(display.prior_) == (3 if np.isfinite(expected).all() else 0)


def test_coefficients_are_found_in_pipelines_and_searches() -> None:
    pipeline = make_pipeline(StandardScaler(), Regressor()).fit(X, Y)
    search = GridSearchCV(Regressor(), {"standardize": [True]}).fit(X, Y)
    for estimator in (pipeline, search):
        display = CoefficientDisplay.from_estimator(estimator)
        assert_allclose(
            display.mean, CoefficientDisplay.from_estimator(Regressor().fit(X, Y)).mean, rtol=1e-6
        )
    with pytest.raises(TypeError, match="not BayesianRidge"):
        CoefficientDisplay.from_estimator(BayesianRidge().fit(X, Y))


def test_line_and_band_are_the_distributions_others_at_their_means() -> None:
    display = RegressionLineDisplay.from_estimator(
        MODEL, FRAME, pd.Series(Y, name="force"), "mass", y_err=E, coverage=0.9, grid_resolution=7
    )
    rows = pd.DataFrame(np.tile(X.mean(axis=0), (7, 1)), columns=FRAME.columns)
    rows["mass"] = np.linspace(X[:, 1].min(), X[:, 1].max(), 7)
    line = MODEL.predict_distribution(rows, include_noise=False)
    assert_allclose(display.line_.get_xdata(), rows["mass"])
    assert_allclose(display.line_.get_ydata(), line.mean())
    assert_allclose(display.interval, np.column_stack(line.interval(0.9)))
    # What the others do is taken out of y.
    others = (X - X.mean(axis=0)) @ (MODEL.coef_ * [1.0, 0.0, 1.0])
    assert_allclose(display.points_[0].get_ydata(), Y - others, rtol=1e-9)
    assert_allclose(np.ptp(segments(display.points_)[:, :, 1], axis=1), 2.0 * E)
    assert display.ax_.get_xlabel() == "mass"
    assert display.ax_.get_ylabel() == "force (other features at their means)"
    assert "90% credible band of the line" in texts(display)


def test_points_can_be_left_as_measured() -> None:
    display = RegressionLineDisplay.from_estimator(MODEL, FRAME, Y, "age", adjust=False)
    assert_allclose(display.points_.lines[0].get_ydata(), Y)
    assert display.ax_.get_ylabel() == "target"


def test_the_line_of_a_noisy_feature_is_that_of_the_true_one() -> None:
    rows = noisy_features(80)
    table = np.column_stack([rows.X, rows.X_err[:, 0], rows.y_err])
    model = Regressor(error_columns={0: 2}, y_err_column=3, random_state=0).fit(table, rows.y)
    display = RegressionLineDisplay.from_estimator(model, table, rows.y, 0)
    slope = np.polyfit(display.grid, display.mean, 1)[0]
    assert_allclose(slope, model.coef_[0], rtol=1e-6)
    assert_allclose(np.ptp(segments(display.points_, 0)[:, :, 0], axis=1), 2.0 * rows.X_err[:, 0])
    assert_allclose(np.ptp(segments(display.points_, 1)[:, :, 1], axis=1), 2.0 * rows.y_err)
    assert "line in the true feature" in texts(display)
    with pytest.raises(ValueError, match="holds errors or counts"):
        RegressionLineDisplay.from_estimator(model, table, rows.y, 2)


def test_the_line_through_pipelines_with_counts_in_a_column() -> None:
    table = pd.DataFrame(COUNTED.X, columns=["a", "b"]).assign(n=COUNTED.counts)
    plain = Regressor(count_column="n").fit(table, COUNTED.y)
    one = RegressionLineDisplay.from_estimator(plain, table, COUNTED.y, "a")
    pipeline = make_pipeline("passthrough", Regressor(count_column="n")).fit(table, COUNTED.y)
    two = RegressionLineDisplay.from_estimator(pipeline, table, COUNTED.y, "a")
    assert_allclose(one.mean, two.mean)
    assert_allclose(one.y_err, two.y_err)
    assert one.y_err is not None


def test_the_line_of_other_regressors_has_intervals_of_measurements() -> None:
    display = RegressionLineDisplay.from_estimator(BayesianRidge().fit(X, Y), X, Y, 1)
    assert "95% interval of new measurements" in texts(display)
    assert display.ax_.get_xlabel() == "x1"


@pytest.mark.parametrize("kind", ["rows", "deciles"])
def test_variance_parts_stack_up_to_the_variance(kind: Any) -> None:
    display = VarianceDisplay.from_estimator(
        OF_SHARES,
        COUNTED.X,
        counts=COUNTED.counts,
        by=COUNTED.counts,
        by_name="count",
        kind=kind,
        share=False,
    )
    distribution = OF_SHARES.predict_distribution(COUNTED.X, counts=COUNTED.counts)
    order = np.argsort(COUNTED.counts, kind="stable")
    groups = np.array_split(order, 120 if kind == "rows" else 10)
    tops = np.sum([[bar.get_height() for bar in bars] for bars in display.bars_.values()], axis=0)
    assert_allclose(tops, [distribution.var()[group].mean() for group in groups])
    assert set(display.bars_) == {
        name for name, part in distribution.variance_parts.items() if np.asarray(part).any()
    }
    bars = display.bars_["parameters"]
    expected = [distribution.variance_parts["parameters"][group].mean() for group in groups]
    assert_allclose([bar.get_height() for bar in bars], expected)
    assert "count" in display.ax_.get_xlabel()


def test_shares_of_the_variance_are_percentages() -> None:
    display = VarianceDisplay.from_estimator(MODEL, FRAME, y_err=E)
    tops = np.sum([[bar.get_height() for bar in bars] for bars in display.bars_.values()], axis=0)
    assert_allclose(tops, 100.0)
    assert display.ax_.get_ylabel() == "share of the variance of\na new measurement (%)"


def test_other_regressors_have_one_part() -> None:
    display = VarianceDisplay.from_estimator(BayesianRidge().fit(X, Y), X)
    assert list(display.bars_) == ["total"]


def test_the_audit_is_drawn_with_its_verdict() -> None:
    audit = audit_errors(OF_SHARES, COUNTED.X, COUNTED.y, COUNTED.counts)
    display = AuditDisplay.from_estimator(OF_SHARES, COUNTED.X, COUNTED.y, COUNTED.counts)
    found = audit.by["count"]
    assert_allclose(display.points_[0].get_ydata(), found.value)
    assert_allclose(segments(display.points_)[:, :, 1], np.column_stack([found.lower, found.upper]))
    assert_allclose(display.overall_.get_ydata(), audit.dispersion)
    assert display.ax_.get_title() == f"The stated errors are {audit.verdict}"
    assert display.ax_.get_xlabel().startswith("count")
    assert AuditDisplay(audit).plot(by="prediction").ax_.get_xlabel().startswith("prediction")
    with pytest.raises(ValueError, match="by must be one of 'count', 'stated error', 'prediction'"):
        display.plot(by="mass")  # type: ignore[arg-type]


def test_ranks_are_drawn_within_bands_that_all_curves_share() -> None:
    ranks = pd.DataFrame(np.random.default_rng(0).random((200, 3)), columns=["a", "b", "c"])
    ranks.iloc[7] = np.nan  # a fit that failed
    display = RankDisplay(ranks).plot()
    assert display.ranks.shape == (199, 3)
    assert texts(display)[-3:] == ["a", "b", "c"]
    assert len({line.get_color() for line in display.lines_}) == 3
    at, below = display.lines_[1].get_data()
    kept = np.sort(ranks["b"].dropna())
    assert_allclose(np.interp(0.4, at, below), (kept < 0.4).mean() - 0.4, atol=1e-12)
    # Wider than Kolmogorov & Smirnov's in the middle, and closed at the ends.
    outline = display.band_.get_paths()[0].vertices
    assert_allclose(outline[outline[:, 0] == 0.0, 1], 0.0)
    highest = outline[:, 1].max()
    assert stats.kstwo.ppf(0.95, 199) < highest < 1.4 * stats.kstwo.ppf(0.95, 199)

    display = RankDisplay(ranks.to_numpy(), ["a", "b", "c"]).plot(kind="histogram", bins=4)
    assert_allclose(display.lines_[0].get_ydata()[:4], np.histogram(ranks["a"].dropna(), 4, (0.0, 1.0))[0])
    lower, upper = (
        display.band_.get_paths()[0].vertices[:, 1].min(),
        display.band_.get_paths()[0].vertices[:, 1].max(),
    )
    # Twelve bars, 5% in all.
    assert stats.binom.cdf(lower - 1, 199, 0.25) <= 0.05 / 24 < stats.binom.cdf(lower, 199, 0.25)
    assert stats.binom.sf(upper, 199, 0.25) <= 0.05 / 24 < stats.binom.sf(upper - 1, 199, 0.25)


def test_displays_draw_where_they_are_told() -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4)
    stated = {"y_err": E}
    pit = metrics.pit(Y, MODEL.predict_distribution(FRAME, y_err=E))
    drawn = [
        CoefficientDisplay.from_estimator(MODEL, ax=axes[0, 0]),
        PredictionDisplay.from_estimator(MODEL, FRAME, Y, ax=axes[0, 1], **stated),
        CalibrationDisplay.from_estimator(MODEL, FRAME, Y, ax=axes[0, 2], **stated),
        PITDisplay(pit).plot(axes[0, 3]),
        RegressionLineDisplay.from_estimator(MODEL, FRAME, Y, ax=axes[1, 0], **stated),
        VarianceDisplay.from_estimator(MODEL, FRAME, ax=axes[1, 1], **stated),
        AuditDisplay.from_estimator(MODEL, FRAME, Y, ax=axes[1, 2], **stated),
        RankDisplay.from_estimator(MODEL, FRAME, Y, ax=axes[1, 3], n_simulations=5, **stated),
    ]
    assert [display.ax_ for display in drawn] == list(axes.flat)
    assert all(display.figure_ is figure for display in drawn)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RankDisplay([[0.5, 2.0]]), "ranks must be numbers"),
        (lambda: RankDisplay([[np.nan]]), "ranks must be numbers"),
        (lambda: RankDisplay([[0.5, 0.2]], ["a"]), "names has 1 entries, but ranks 2 columns"),
        (lambda: RankDisplay([[0.5]]).plot(kind="bars"), "kind must be 'ecdf_difference'"),  # type: ignore[arg-type]
        (lambda: RankDisplay([[0.5]]).plot(kind="histogram", bins=0), "bins must be a whole number"),
        (lambda: PITDisplay([0.5, 2.0]), "pit must be numbers"),
        (lambda: CalibrationDisplay([]), "pit must be numbers"),
        (lambda: CalibrationDisplay([0.5], [0.1, 0.2]), "width must be 1 numbers"),
        (lambda: CalibrationDisplay([0.5], sample_weight=[1.0, 2.0]), "sample_weight has shape"),
        (lambda: PITDisplay([0.5], sample_weight=[0.0]), "sample_weight is 0"),
        (lambda: PITDisplay([0.5, 0.1], sample_weight=[1.0, -1.0]), "sample_weight must"),
        (lambda: PredictionDisplay.from_predictions(Y, Y), "y_std is missing"),
        (lambda: PredictionDisplay.from_predictions(Y, Y, E[:3]), "y_std has shape"),
        (lambda: PredictionDisplay.from_predictions(Y, Y, E, coverage=95), "coverage must lie"),
        (lambda: PredictionDisplay.from_predictions(Y[:3], Y, E), "same number of rows"),
        (lambda: PredictionDisplay.from_estimator(MODEL, FRAME, Y, y_err=-E), "y_err must be positive"),
        (lambda: RegressionLineDisplay.from_estimator(MODEL, FRAME, Y, "mas"), "Did you mean 'mass'"),
        (lambda: RegressionLineDisplay.from_estimator(MODEL, FRAME, Y, 7), "X has 3 columns"),
        (lambda: RegressionLineDisplay.from_estimator(MODEL, FRAME, Y, 0, X_err=-1.0), "X_err must be"),
        (lambda: VarianceDisplay.from_estimator(MODEL, FRAME, by=[1.0]), "by must be 90 finite numbers"),
        (lambda: VarianceDisplay.from_estimator(MODEL, FRAME, kind="row"), "kind must be"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_names_the_argument(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_without_matplotlib_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return load(name, *args, **kwargs)

    display = PITDisplay([0.1, 0.5])
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install bayes_sklearn\[plot\]"):
        display.plot()


def test_limits_of_readings_are_arrows_along_x() -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 60))
    y = x - z + 0.5 * rng.normal(size=60)
    side = np.where(x < -0.7, -1.0, 0.0) + (x > 1.0)
    table, given = np.column_stack([np.clip(x, -0.7, 1.0), z]), np.column_stack([side, 0.0 * side])
    model = Regressor(random_state=0).fit(table, y, X_censored=given)
    display = RegressionLineDisplay.from_estimator(model, table, y, x_censored=side)
    drawn = display.points_.lines[0].get_xdata()
    assert_allclose(drawn, table[side == 0.0, 0])
    # Each has a caret at the end of its bar, on the side that the reading lies on, and starts at the limit.
    carets = [caps.get_xdata() for caps in display.x_limits_.lines[1] if caps.get_marker() != "|"]
    ends = np.sort(np.concatenate(carets))
    assert len(ends) == np.count_nonzero(side)
    assert (ends < -0.7).sum() == (side < 0.0).sum()
    assert (ends > 1.0).sum() == (side > 0.0).sum()
    assert "limits of x" in texts(display)
    held = PredictionDisplay.from_estimator(model, table, y, X_censored=given)
    assert_allclose(held.y_pred, model.predict(table, X_censored=given))
    whole = RegressionLineDisplay.from_estimator(model, table, y, x_censored=np.zeros(60))
    assert whole.x_limits_ is None
    with pytest.raises(ValueError, match="x_censored"):
        RegressionLineDisplay.from_estimator(model, table, y, x_censored=side[:5])


def test_errors_of_the_feature_are_given_as_in_fit_or_by_their_former_name() -> None:
    line = RegressionLineDisplay.from_estimator
    own = np.linspace(0.1, 0.5, len(Y))
    wanted = line(MODEL, FRAME, Y, 1, X_err=own).x_err
    assert_allclose(wanted, own)
    assert_allclose(line(MODEL, FRAME, Y, 1, X_err=np.column_stack([0.0 * own, own, 2.0 * own])).x_err, own)
    with pytest.warns(FutureWarning, match="x_err is called X_err now: the former name goes in version 0.2"):
        assert_allclose(line(MODEL, FRAME, Y, 1, x_err=own).x_err, own)
    with pytest.raises(TypeError, match="x_err is the former name of X_err: give X_err alone"):
        line(MODEL, FRAME, Y, 1, X_err=own, x_err=own)
