"""The picture of readings that are read backwards has the numbers that `inverse_predict` returns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import BayesianErrorsInVariablesRegressor, inverse_predict
from bayes_sklearn.displays import InverseDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_what_is_drawn_is_what_was_found() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"dose": np.repeat(np.linspace(0.0, 10.0, 6), 2)})
    y = 1.0 + 2.0 * frame["dose"] + rng.normal(size=12)
    model = BayesianErrorsInVariablesRegressor().fit(frame, y)
    readings = [[8.0, 9.0], [16.0, np.nan]]
    display = InverseDisplay.from_estimator(model, readings, coverage=0.8)
    found = inverse_predict(model, readings)
    assert_allclose(display.intervals, np.column_stack(found.interval(0.8)))
    for drawn, interval in zip(display.intervals_, display.intervals, strict=True):
        assert_allclose(drawn.get_xdata(), interval)
    across = display.readings_[0]
    assert_allclose(across.get_ydata()[:2], 8.5)
    assert_allclose(across.get_xdata()[1], found.mode()[0])
    assert_allclose(display.line_.get_ydata(), model.predict(pd.DataFrame({"dose": display.grid})))
    assert_allclose(display.densities[1], [found.pdf(x)[1] for x in display.grid])
    assert display.ax_.get_xlabel() == "dose"
    with pytest.raises(ValueError, match="y has 21 samples: draw 20 at most"):
        InverseDisplay.from_estimator(model, np.full(21, 5.0))
