"""Worked examples of the literature on errors in variables, beside the figures that were published.

Those are least squares and maximum likelihood estimates, of ten and eleven rows. A posterior mean is not the same
number: it is asked to lie within half a published standard error, and its standard deviation within a third.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import Flat, Normal

from plain import Regressor


def test_corn_and_nitrogen() -> None:
    """Fuller 1987, Measurement Error Models, example 1.2.1: corn, and nitrogen in the soil with error variance 57.

    Published: least squares 0.344; corrected 67.56 + 0.4232 x, the slope's standard error 0.1745; reliability 0.813.
    """
    corn = np.array([86, 115, 90, 86, 110, 91, 99, 96, 99, 104, 96], dtype=float)
    nitrogen = np.array([70, 97, 53, 64, 95, 64, 50, 70, 94, 69, 51], dtype=float)
    assert_allclose(np.cov(nitrogen, corn), [[304.8545, 104.8818], [104.8818, 87.6727]], atol=1e-4)
    model = Regressor(intercept_prior=Flat(), coef_prior=Normal(sigma=3.0), random_state=0)
    model.fit(nitrogen[:, None], corn, X_err=np.sqrt(57.0))
    table = model.summary()
    assert_allclose(table.loc["x0", "mean"], 0.4232, atol=0.5 * 0.1745)
    assert_allclose(table.loc["x0", "sd"], 0.1745, rtol=0.33)
    assert_allclose(table.loc["intercept", "mean"], 67.56, atol=0.5 * 0.1745 * nitrogen.mean())
    assert_allclose(table.loc["x0", "naive"], 0.344, atol=0.005)
    assert_allclose(table.loc["x0", "reliability"], 0.813, atol=0.03)


@pytest.mark.parametrize("noise", ["known", "scaled"])
def test_pearson_s_data_with_york_s_weights(noise: str) -> None:
    """York 1966, Can. J. Phys. 44:1079: both variables have errors of their own in every row.

    Published (York, Evensen, Martinez Lopez & De Basabe Delgado 2004, Am. J. Phys. 72:367): 5.47991 - 0.480533 x,
    standard errors 0.2950 and 0.0576; the weighted sum of squares over its degrees of freedom is 1.4833.
    """
    x = np.array([0.0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
    y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
    x_err = np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1.0]) ** -0.5
    y_err = np.array([1.0, 1.8, 4.0, 8.0, 20.0, 20.0, 70.0, 70.0, 100.0, 500.0]) ** -0.5
    prior = Normal(sigma=10.0)
    model = Regressor(coef_prior=prior, intercept_prior=prior, noise=noise, random_state=0)
    model.fit(x[:, None], y, y_err=y_err, X_err=x_err[:, None])
    table = model.summary()
    assert_allclose(table.loc["x0", "mean"], -0.480533, atol=0.5 * 0.0576)
    assert_allclose(table.loc["intercept", "mean"], 5.47991, atol=0.5 * 0.2950)
    wider = {"known": 1.0, "scaled": np.sqrt(1.4833)}[noise]
    assert_allclose(table.loc["x0", "sd"], wider * 0.0576, rtol=0.33)
    assert_allclose(table.loc["intercept", "sd"], wider * 0.2950, rtol=0.33)
