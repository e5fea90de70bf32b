"""Variance functions are the sums that they say, and refuse what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import VarianceFunction


def test_parts_add_in_quadrature() -> None:
    value = np.array([-4.0, 0.0, 9.0])
    found = VarianceFunction(constant=0.5, relative=0.1, poisson=2.0).standard_error(np.square(value))
    assert_allclose(found, np.sqrt([0.25 + 8.0 + 0.16, 0.25, 0.25 + 18.0 + 0.81]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "all are 0"),
        ({"relative": -0.1}, "relative must be a number from 0"),
        ({"constant": "a"}, "constant must be a number from 0"),
        ({"poisson": np.nan}, "poisson must be a number from 0"),
        ({"relative": True}, "relative must be a number from 0"),
    ],
)
def test_what_is_no_function_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        VarianceFunction(**parameters)
