"""A forest plot has the studies' own numbers, and the distributions' of what all of them say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline

from bayes_sklearn import Flat
from bayes_sklearn.displays import CalibrationDisplay, ForestDisplay, PredictionDisplay, VarianceDisplay

from dense_groups import GroupModel
from oracle import half_student_t
from plain import Regressor
from published_groups import BCG

mpl.use("Agg")
STUDIES = pd.DataFrame({"study": BCG.names, "latitude": BCG.features["latitude"]})
ALONE = STUDIES[["study"]]
Y = pd.Series(BCG.estimate, name="log relative risk")
OF_STUDIES = Regressor(group_column="study", noise="known").fit(ALONE, Y, y_err=BCG.error)


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def ends(container: Any) -> Any:
    """The limits of horizontal error bars, (rows, 2)."""
    return np.array(container[2][0].get_segments())[:, :, 0]


def test_a_forest_has_the_studies_and_what_all_of_them_say() -> None:
    display = ForestDisplay.from_estimator(OF_STUDIES, ALONE, Y, y_err=BCG.error, coverage=0.9)
    assert_allclose(display.raw_[0].get_xdata(), BCG.estimate)
    assert_allclose(ends(display.raw_), np.column_stack(stats.norm.interval(0.9, BCG.estimate, BCG.error)))
    found = OF_STUDIES.predict_distribution(ALONE, include_noise=False)
    assert_allclose(display.shrunk_[0].get_xdata(), found.mean())
    assert_allclose(ends(display.shrunk_), np.column_stack(found.interval(0.9)))
    intercept = OF_STUDIES.summary(0.9).loc["intercept"]
    corners = display.pooled_.get_xy()[:4, 0]
    assert_allclose(corners[[0, 2]], intercept[["lower_90%", "upper_90%"]])
    assert_allclose(corners[[1, 3]], intercept["mean"])
    assert_allclose(display.line_.get_xdata(), intercept["mean"])
    new = OF_STUDIES.predict_interval(pd.DataFrame({"study": [None]}), 0.9, include_noise=False)
    assert_allclose(ends(display.new_), new)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [*BCG.names, "in common", "new study"]
    assert display.ax_.yaxis_inverted()
    assert display.ax_.get_xlabel() == "log relative risk"


def test_with_features_the_effect_in_common_is_at_their_means() -> None:
    model = Regressor(group_column="study", noise="known", intercept_prior=Flat(), standardize=False)
    display = ForestDisplay.from_estimator(model.fit(STUDIES, Y, y_err=BCG.error), STUDIES, Y)
    latitude = BCG.features["latitude"].to_numpy()
    found = GroupModel(
        BCG.estimate,
        np.column_stack([np.ones(13), latitude]),
        np.array([np.inf, 1.0]),
        (np.eye(13),),
        (half_student_t(3.0, 1.0).logpdf,),
        BCG.error,
        "known",
    ).integrate()
    at_mean, none = np.array([[1.0, latitude.mean()]]), [np.zeros((1, 13))]
    common = found.predictive(at_mean, none)
    new = found.predictive(at_mean, none, [np.ones(1)])
    limits = [[line.quantile(level)[0] for level in (0.025, 0.975)] for line in (common, new)]
    assert_allclose(display.pooled, common.mean()[0], atol=1e-3)
    assert_allclose(display.pooled_interval, limits[0], atol=5e-3)
    assert_allclose(display.new_interval, limits[1], atol=5e-3)


def test_studies_that_state_no_errors_have_no_bars() -> None:
    display = ForestDisplay.from_estimator(OF_STUDIES, ALONE, BCG.estimate)
    assert np.isnan(display.intervals).all()
    assert display.ax_.get_xlabel() == "effect"
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "as stated" in texts


def test_labels_of_any_kind_and_new_studies_have_names() -> None:
    table = np.column_stack([np.arange(13.0), BCG.features["latitude"], BCG.error])
    model = Regressor(group_column=0, y_err_column=2, noise="known").fit(table, Y)
    more = np.vstack([table, [99.0, 20.0, 0.3]])
    display = ForestDisplay.from_estimator(make_pipeline("passthrough", model), more, np.append(Y, 0.1))
    assert display.names[-1] == "new"
    assert float(display.names[3]) == 3.0
    assert_allclose(np.diff(display.intervals, axis=1)[:, 0], 2.0 * stats.norm.ppf(0.975) * more[:, 2])
    assert_allclose(display.means, model.predict(more))
    twice = STUDIES.assign(decade=(BCG.features["year"] // 10 * 10).astype(str))
    model = Regressor(group_column=["study", "decade"], noise="known").fit(twice, Y, y_err=BCG.error)
    assert ForestDisplay.from_estimator(model, twice, Y).names[0] == "Aronson / 1940.0"


def test_other_displays_take_labels_in_words() -> None:
    PredictionDisplay.from_estimator(OF_STUDIES, ALONE, Y, y_err=BCG.error)
    CalibrationDisplay.from_estimator(OF_STUDIES, ALONE, Y, y_err=BCG.error)
    display = VarianceDisplay.from_estimator(OF_STUDIES, ALONE, y_err=BCG.error)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert any(label.startswith("effects of groups, ") for label in labels)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ForestDisplay.from_estimator(BayesianRidge().fit([[0.0], [1.0]], [0.0, 1.0]), [[0.0]], [0.0]),
         TypeError, "not BayesianRidge"),
        (lambda: ForestDisplay.from_estimator(Regressor().fit(STUDIES[["latitude"]], Y), STUDIES[["latitude"]], Y),
         ValueError, "without group_column"),
        (lambda: ForestDisplay.from_estimator(OF_STUDIES, ALONE, Y[:3]), ValueError, "y"),
        (lambda: ForestDisplay.from_estimator(OF_STUDIES, ALONE, Y, y_err=-1.0), ValueError, "y_err"),
        (lambda: ForestDisplay.from_estimator(OF_STUDIES, ALONE, Y, coverage=95), ValueError, "coverage"),
        (lambda: ForestDisplay(["a"], [1.0], [[0.0, 1.0, 2.0]], [1.0], [[0.0, 1.0]], 0.0, [0.0, 1.0], [0.0, 1.0]),
         ValueError, "intervals has shape"),
        (lambda: ForestDisplay(["a"], [1.0], [[0.0, 1.0]], [1.0], [[0.0, 1.0]], 0.0, [0.0], [0.0, 1.0]),
         ValueError, "pooled_interval has shape"),
    ],
)  # fmt: skip
def test_bad_input_of_forests_names_the_argument(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_forests_draw_where_they_are_told() -> None:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    display = ForestDisplay(
        ["a", "b"],
        [1.0, 2.0],
        [[0.5, 1.5], [1.0, 3.0]],
        [1.2, 1.8],
        [[0.8, 1.6], [1.1, 2.5]],
        1.5,
        [1.2, 1.8],
        [0.7, 2.3],
    )
    assert display.plot(ax).ax_ is ax
    assert display.figure_ is figure
    # Zero is far from all of it: no line there.
    assert [float(line.get_xdata()[0]) for line in ax.lines if list(line.get_ydata()) == [0, 1]] == [1.5]
