"""Pictures of two methods have the numbers of their comparison."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from helpers import methods
from numpy.testing import assert_allclose

from bayes_sklearn import MethodComparison, compare_methods
from bayes_sklearn.displays import BlandAltmanDisplay, MethodComparisonDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def comparison() -> MethodComparison:
    levels, names = [250.0, 450.0, 5000.0], ("Wright", "mini Wright")
    return compare_methods(
        methods.WRIGHT, methods.MINI_WRIGHT, levels=levels, coverage=0.9, names=names, random_state=0
    )


def test_differences_and_limits_are_drawn(comparison: MethodComparison) -> None:
    display = BlandAltmanDisplay.from_comparison(comparison)
    x, y = methods.WRIGHT.mean(axis=1), methods.MINI_WRIGHT.mean(axis=1)
    assert_allclose(display.points_.get_offsets(), np.column_stack([(x + y) / 2.0, y - x]))
    agreement = comparison.limits_of_agreement()
    assert_allclose([line.get_ydata()[0] for line in display.lines_], agreement["estimate"])
    for band, (low, high) in zip(
        display.bands_, agreement[["lower_90%", "upper_90%"]].to_numpy(), strict=True
    ):
        edges = band.get_path().vertices[:, 1] if hasattr(band, "get_path") else band.get_xy()[:, 1]
        transformed = band.get_patch_transform().transform(np.column_stack([0.0 * edges, edges]))[:, 1]
        assert_allclose((transformed.min(), transformed.max()), (low, high))
    assert display.ax_.get_ylabel() == "mini Wright - Wright"
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["mean difference", "90% limits of agreement", "their 90% intervals"]


def test_line_band_and_errors_are_drawn(comparison: MethodComparison) -> None:
    display = MethodComparisonDisplay.from_comparison(comparison, grid_resolution=30)
    grid = display.line_.get_xdata()
    bias = comparison.bias(grid)
    assert_allclose(display.line_.get_ydata(), grid + bias["bias"])
    assert_allclose(display.band, grid[:, None] + bias[["lower_90%", "upper_90%"]])
    assert grid[0] < comparison.x.min() < comparison.x.max() < grid[-1]
    points, _, (across, up) = display.readings_
    assert_allclose(points.get_xydata(), np.column_stack([comparison.x, comparison.y]))
    assert_allclose(
        across.get_segments()[0][:, 0], comparison.x[0] + comparison.x_err[0] * np.array([-1.0, 1.0])
    )
    assert_allclose(up.get_segments()[0][:, 1], comparison.y[0] + comparison.y_err[0] * np.array([-1.0, 1.0]))
    assert_allclose(display.identity_.get_xdata(), display.identity_.get_ydata())
    # Levels far outside the readings do not widen the picture.
    assert display.ax_.get_xlim()[1] < 1000.0


def test_errors_that_are_not_known_are_not_drawn() -> None:
    comparison = compare_methods(methods.ABSORPTION, methods.EMISSION, x_err=0.5, random_state=0)
    display = MethodComparisonDisplay.from_comparison(comparison)
    assert len(display.readings_[2]) == 1
