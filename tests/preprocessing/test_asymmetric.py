"""Two halves of normal distributions have the moments that are said, and lines through them no offset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.preprocessing import symmetric_errors


@pytest.mark.parametrize(("minus", "plus"), [(0.3, 0.8), (1.0, 1.0), (2.0, 0.9)])
def test_moments_are_those_of_two_halves(minus: float, plus: float) -> None:
    def density(x: float) -> float:
        return float(np.exp(-0.5 * (x / (minus if x < 0.0 else plus)) ** 2))

    total, first, second = (
        integrate.quad(lambda x, k=k: x**k * density(x), -40.0, 0.0)[0]
        + integrate.quad(lambda x, k=k: x**k * density(x), 0.0, 40.0)[0]
        for k in range(3)
    )
    found = symmetric_errors([4.2], minus, plus)
    assert_allclose(found.value[0] - 4.2, first / total, atol=1e-8)
    assert_allclose(found.error[0] ** 2, second / total - (first / total) ** 2, rtol=1e-7)


def test_lines_are_not_off_to_one_side() -> None:
    # What was measured is the mode of what the truth may be, so that truths lie mostly above.
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 10.0, 4000)
    minus, plus = 0.4, 1.0
    up = rng.random(4000) < plus / (minus + plus)
    away = np.abs(rng.normal(size=4000)) * np.where(up, plus, -minus)
    reading = 1.0 + 2.0 * x - away
    found = symmetric_errors(reading, minus, plus)
    model = BayesianErrorsInVariablesRegressor(noise="known").fit(x[:, None], found.value, y_err=found.error)
    off = model.summary().loc["intercept"]
    # 4.5 standard deviations; without the shift it is 0.48 off, 20 of them.
    assert abs(off["mean"] - 1.0) < 4.5 * off["sd"] < 0.2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: symmetric_errors([1.0], [-0.1], [0.1]), "minus must be finite and not negative"),
        (lambda: symmetric_errors([1.0], [0.1], [np.inf]), "plus must be finite"),
        (lambda: symmetric_errors(["a"], [0.1], [0.1]), "value must be real numbers"),
        (lambda: symmetric_errors([1.0, 2.0], [0.1, 0.1, 0.1], [0.1]), "minus and plus have the shapes"),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_one_sided_errors_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="differ more than threefold in 1 of 2 values"):
        symmetric_errors([1.0, 2.0], [0.1, 0.2], [0.5, 0.3])
