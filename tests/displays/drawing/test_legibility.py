"""Displays can be read: with many long names, on dark paper, without colours, and where targets have bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from numpy.testing import assert_allclose
from scipy.special import expit

from bayes_sklearn import Normal, audit_errors, compare_methods
from bayes_sklearn.displays import (
    AuditDisplay,
    BlandAltmanDisplay,
    CalibrationDisplay,
    CoefficientDisplay,
    ForestDisplay,
    InverseDisplay,
    MethodComparisonDisplay,
    PITDisplay,
    PredictionDisplay,
    RankDisplay,
    RegressionLineDisplay,
    VarianceDisplay,
)
from bayes_sklearn.displays.drawing.inks import PARTS, luminance

from data import measured
from plain import Regressor

mpl.use("Agg")
X, Y, E = measured(90)
MODEL = Regressor().fit(X, Y, y_err=E)
RNG = np.random.default_rng(0)
LONG = [f"mean_monthly_{a}_of_{b}_in_the_year_{c}"
        for a in ("consumption", "temperature", "precipitation", "income", "expenditure")
        for b in ("households", "schools") for c in (2019, 2020)]  # fmt: skip
MANY = pd.DataFrame(RNG.normal(size=(150, 20)) * np.geomspace(1e-2, 1e3, 20), columns=LONG)
WIDE = Regressor(coef_prior=Normal(sigma=5.0)).fit(
    MANY, MANY @ (RNG.normal(size=20) / MANY.std()) + RNG.normal(size=150)
)
DOSE = RNG.normal(size=(200, 2))
CHANCE = expit(DOSE @ [1.5, -1.0])
TRIALS = RNG.integers(1, 6, 200)
FEW = RNG.binomial(TRIALS, CHANCE) / TRIALS
OUTCOME = RNG.binomial(1, CHANCE).astype(float)
OF_OUTCOMES = Regressor(likelihood="binomial", random_state=0).fit(DOSE, OUTCOME)
OF_FEW = Regressor(likelihood="binomial", weight_type="counts", random_state=0).fit(DOSE, FEW, TRIALS)
COMPARED = compare_methods(
    np.arange(1.0, 10.0), np.arange(1.0, 10.0) + RNG.normal(size=9), x_err=0.3, random_state=0
)


def forest() -> ForestDisplay:
    low, high = np.arange(20.0) - 1.0, np.arange(20.0) + 1.0
    both = np.column_stack([low, high])
    return ForestDisplay(LONG, low + 1.0, both, low + 1.1, both, 9.0, [8.0, 10.0], [5.0, 14.0]).plot()


DRAWN: dict[str, Callable[[], Any]] = {
    "coefficients": lambda: CoefficientDisplay.from_estimator(WIDE),
    "predictions": lambda: PredictionDisplay.from_estimator(MODEL, X, Y, y_err=E),
    "means": lambda: PredictionDisplay.from_estimator(OF_OUTCOMES, DOSE, OUTCOME),
    "calibration": lambda: CalibrationDisplay.from_estimator(MODEL, X, Y, y_err=E),
    "PIT": lambda: PITDisplay.from_estimator(MODEL, X, Y, y_err=E),
    "PIT difference": lambda: PITDisplay(np.linspace(0.0, 1.0, 40)).plot(kind="ecdf_difference"),
    "ranks": lambda: RankDisplay(RNG.random((100, 3))).plot(),
    "many ranks": lambda: RankDisplay(RNG.random((100, 20)) ** 1.5, LONG).plot(),
    "rank histogram": lambda: RankDisplay(RNG.random((100, 3))).plot(kind="histogram"),
    "line": lambda: RegressionLineDisplay.from_estimator(MODEL, X, Y, 1, y_err=E),
    "line of outcomes": lambda: RegressionLineDisplay.from_estimator(OF_OUTCOMES, DOSE, OUTCOME),
    "variance": lambda: VarianceDisplay.from_estimator(MODEL, X, y_err=E),
    "variance in units": lambda: VarianceDisplay.from_estimator(MODEL, X, y_err=E, share=False),
    "audit": lambda: AuditDisplay(audit_errors(MODEL, X, Y, y_err=E)).plot(),
    "forest": forest,
    "inverse": lambda: InverseDisplay.from_estimator(Regressor().fit(X[:, [0]], X[:, 0] + 0.01 * E), [[-3], [-2.9]]),
    "agreement": lambda: BlandAltmanDisplay.from_comparison(COMPARED),
    "comparison": lambda: MethodComparisonDisplay.from_comparison(COMPARED),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def boxes(texts: Any) -> list[Any]:
    return [text.get_window_extent() for text in texts if text.get_text()]


def ticks(axis: Any) -> list[Any]:
    """The labels of an axis that are drawn: those within its limits."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]


def contrast(color: Any, paper: Any, alpha: float | None) -> float:
    """Of a colour on paper, as the Web Content Accessibility Guidelines define it."""
    share = to_rgba(color)[3] if alpha is None else alpha
    mixed = share * np.array(to_rgb(color)) + (1.0 - share) * np.array(to_rgb(paper))
    dark, light = sorted((luminance(mixed), luminance(paper)))
    return (light + 0.05) / (dark + 0.05)


def colors(artist: Any) -> list[tuple[Any, float]]:
    """What an artist is drawn in, and the least contrast that has."""
    alpha = artist.get_alpha()
    if isinstance(artist, Text):
        return [(artist.get_color(), alpha, 3.0)] if artist.get_text() else []
    if isinstance(artist, Line2D):
        drawn = artist.get_linestyle() != "None" or artist.get_marker() not in ("None", "", None)
        edge = artist.get_color() if artist.get_linestyle() != "None" else artist.get_markeredgecolor()
        return [(edge, alpha, 1.9)] if drawn and len(artist.get_xdata()) else []
    if isinstance(artist, Patch):
        return [(artist.get_facecolor(), None, 1.3)]
    own = [*artist.get_facecolors(), *(artist.get_edgecolors() if not len(artist.get_facecolors()) else [])]
    return [(color, None, 1.2) for color in own if color[3] > 0.0]


@pytest.mark.parametrize("style", ["default", "dark_background", "grayscale", "ggplot"])
@pytest.mark.parametrize("name", DRAWN)
def test_nothing_has_the_colour_of_the_paper(name: str, style: str) -> None:
    import matplotlib.pyplot as plt

    with plt.style.context(style):
        display = DRAWN[name]()
    paper, found = display.ax_.get_facecolor(), 0
    for artist in [*display.ax_.lines, *display.ax_.collections, *display.ax_.patches, *display.ax_.texts,
                   *display.ax_.get_legend().get_texts()]:  # fmt: skip
        assert isinstance(artist, Line2D | Collection | Patch | Text)
        for color, alpha, least in colors(artist):
            found += 1
            assert contrast(color, paper, alpha) >= least, (artist, color)
    assert found > 3


@pytest.mark.parametrize("name", DRAWN)
def test_labels_and_legends_are_whole_and_apart(name: str) -> None:
    display = DRAWN[name]()
    ax, figure = display.ax_, display.figure_
    ax.set_title("A title that is set afterwards")
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    labels = boxes([ax.title, ax.xaxis.label, ax.yaxis.label])
    for one, two in combinations([legend, *labels], 2):
        assert not one.overlaps(two)
    for box in [legend, *labels, *boxes(ticks(ax.yaxis)), *boxes(ax.texts)]:
        assert box.x0 >= -1.0
        assert box.y0 >= -1.0
        assert box.x1 <= figure.bbox.x1 + 1.0
        assert box.y1 <= figure.bbox.y1 + 1.0
    for axis in (ticks(ax.xaxis), ticks(ax.yaxis)):
        for one, two in zip(boxes(axis)[:-1], boxes(axis)[1:], strict=True):
            assert not one.overlaps(two), axis
    assert not any(legend.overlaps(box) for box in boxes(ticks(ax.xaxis)))
    assert ax.bbox.width > 0.4 * figure.bbox.width


def test_many_long_names_are_whole_in_small_axes_too() -> None:
    import matplotlib.pyplot as plt

    figure, (ax, _) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    display = CoefficientDisplay.from_estimator(WIDE, ax=ax)
    figure.draw_without_rendering()
    for texts in (ticks(ax.yaxis), display.values_, ax.texts):
        assert all(not one.overlaps(two) for one, two in combinations(boxes(texts), 2))
    shown = [label.get_text().replace("\n", "") for label in ticks(ax.yaxis)]
    assert shown == LONG
    names = [label.get_text() for label in ticks(DRAWN["coefficients"]().ax_.yaxis)]
    assert [name.replace("\n", "") for name in names] == LONG
    assert max(len(line) for name in names for line in name.split("\n")) <= 32


def test_names_without_a_place_to_break_are_broken() -> None:
    display = CoefficientDisplay(
        ["x" * 100, "two words", ""], np.ones(3), np.ones((3, 2)), np.full((3, 2), np.nan)
    ).plot()
    names = [label.get_text() for label in ticks(display.ax_.yaxis)]
    assert names[0].replace("\n", "") == "x" * 100
    assert names[0].count("\n") == 3
    assert names[1:] == ["two words", ""]


def test_intervals_are_wider_than_their_marks_under_wide_priors() -> None:
    display = DRAWN["coefficients"]()
    display.figure_.draw_without_rendering()
    ends = display.ax_.transData.transform(np.array(display.posterior_[2][0].get_segments()).reshape(-1, 2))[
        :, 0
    ]
    mark = display.posterior_[0]
    assert mark.get_marker() == "|"
    assert (np.diff(ends.reshape(-1, 2)) > mark.get_markeredgewidth() * display.figure_.dpi / 72.0).all()
    # The prior is cut off, and its label says so.
    assert display.prior_[0].get_width() > np.ptp(display.ax_.get_xlim())
    assert any("(cut off: -9.8 to 9.8)" in text.get_text() for text in display.ax_.get_legend().get_texts())


def test_values_beside_the_rows_are_the_summarys() -> None:
    display = DRAWN["coefficients"]()
    table = WIDE.summary().loc[LONG]
    for text, (mean, _, low, high) in zip(display.values_, table.iloc[:, :4].to_numpy(), strict=True):
        assert text.get_text() == f"{mean:.3g} [{low:.3g}, {high:.3g}]"
    per_unit = CoefficientDisplay.from_estimator(WIDE, standardized=False)
    assert_allclose(per_unit.mean, table["mean"])
    assert_allclose(per_unit.interval, table.iloc[:, 2:4])
    assert per_unit.values_ == []
    assert per_unit.ax_.get_xlabel() == "coefficient (unit of target per unit of feature)"
    assert_allclose(
        per_unit.prior_interval / per_unit.mean[:, None], display.prior_interval / display.mean[:, None]
    )


def test_parts_of_variances_can_be_told_apart_without_colours() -> None:
    beside = [part for name, part in PARTS.items() if name != "total"]  # that stands alone
    for (_, one, hatch), (_, two, other) in combinations(beside, 2):
        assert hatch != other or contrast(one, two, None) > 1.8
    display = DRAWN["variance"]()
    for name, bars in display.bars_.items():
        assert (bars[0].get_hatch() or "") == PARTS[name][2]


@pytest.mark.parametrize("likelihood", ["normal", "binomial"])
def test_error_bars_of_shares_stay_between_0_and_1(likelihood: str) -> None:
    model = Regressor(likelihood=likelihood, weight_type="counts", random_state=0)
    with nullcontext() if likelihood == "binomial" else pytest.warns(UserWarning, match="outside 0 to 1"):
        model.fit(DOSE, FEW, TRIALS)
    assert {0.0, 1.0} <= set(FEW)
    rows = PredictionDisplay.from_estimator(model, DOSE, FEW, counts=TRIALS, kind="rows")
    ends = [np.array(rows.measurement_bars_[2][0].get_segments())[:, :, 0]]
    for adjust in (True, False):
        line = RegressionLineDisplay.from_estimator(model, DOSE, FEW, counts=TRIALS, adjust=adjust)
        ends += [np.array(line.points_[2][0].get_segments())[:, :, 1], line.points_[0].get_ydata()]
        assert_allclose(line.points_[0].get_ydata()[FEW == 0.0], 0.0, atol=1e-12)
    for found in ends:
        assert found.min() >= -1e-12
        assert found.max() <= 1.0 + 1e-12
    assert all(np.ptp(found) > 0.9 for found in ends)
