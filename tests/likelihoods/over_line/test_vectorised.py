"""Graphs made of products: values and slopes of the functions that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn.likelihoods.over_line.vectorised import across, exp_graph, held, log_one_plus_graph

pt = pytest.importorskip("pytensor.tensor")


@pytest.mark.parametrize(
    ("graph", "function", "slope", "ends", "error"),
    [
        (exp_graph, np.exp, np.exp, (-10.0, 10.0), 2e-14),
        (exp_graph, np.exp, np.exp, (-40.0, -10.0), 5e-8),
        (log_one_plus_graph, np.log1p, lambda x: 1.0 / (1.0 + x), (0.01, 1.0), 1e-13),
    ],
)
def test_values_and_slopes_are_those_of_the_function(
    graph: Callable[[Any], Any],
    function: Callable[[Any], Any],
    slope: Callable[[Any], Any],
    ends: tuple[float, float],
    error: float,
) -> None:
    x, at = pt.dvector("x"), np.linspace(*ends, 1001)
    value = graph(x)
    assert_allclose(value.eval({x: at}, mode="FAST_COMPILE"), function(at), rtol=error)
    assert_allclose(pt.grad(value.sum(), x).eval({x: at}, mode="FAST_COMPILE"), slope(at), rtol=error)


def test_what_is_held_has_no_slope_and_rows_lie_across() -> None:
    x, at = pt.dvector("x"), np.array([0.5, -2.0])
    product = (held(x) * x).sum()
    assert_allclose(pt.grad(product, x).eval({x: at}, mode="FAST_COMPILE"), at)
    assert_allclose(across(x).eval({x: at}, mode="FAST_COMPILE"), at[None])
    assert_allclose(pt.grad(across(x).sum(), x).eval({x: at}, mode="FAST_COMPILE"), np.ones(2))
