"""What is said where a fit is doubtful: figures and advice that apply to it."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.feature_selection import SequentialFeatureSelector

from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor as Regressor,
)
from bayes_sklearn import (
    BetaBinomialLikelihood,
    BinomialLikelihood,
    NormalLikelihood,
    StudentTLikelihood,
)

RNG = np.random.default_rng(0)
X_ERR, Y_ERR, XY_COV = 0.1, 0.2, 0.01
ERRORS = RNG.multivariate_normal([0.0, 0.0], [[X_ERR**2, XY_COV], [XY_COV, Y_ERR**2]], 40)
TRUE = RNG.normal(size=40)
X, Y = (TRUE + ERRORS[:, 0])[:, None], 1.0 + 2.0 * TRUE + ERRORS[:, 1]


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.1])
def test_known_errors_that_do_not_fit_warn_with_the_reduced_chi_square(features: bool, factor: float) -> None:
    # With errors of Y alone the features' are left out, and three times as large ones stand for both.
    y_err = factor * (Y_ERR if features else 0.3)
    data: dict[str, Any] = {"y_err": y_err}
    if features:
        data |= {"X_err": factor * X_ERR, "Xy_cov": factor**2 * XY_COV}
    model = Regressor(noise="known", random_state=0)
    if factor == 1.0:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(X, Y, **data)
    else:
        with pytest.warns(UserWarning, match=r"reduced chi-square \(MSWD\)"):
            model.fit(X, Y, **data)
    slope = model.coef_[0]
    variance = y_err**2
    if features:
        variance += factor**2 * (slope**2 * X_ERR**2 - 2.0 * slope * XY_COV)
    expected = np.sum((Y - model.intercept_ - slope * X[:, 0]) ** 2 / variance) / (40 - 2)
    assert model.summary().attrs["reduced_chi_square"] == pytest.approx(expected, rel=1e-9)
    model.set_params(noise="scaled", coef_prior=None).fit(X, Y, y_err=0.3)
    assert "reduced_chi_square" not in model.summary().attrs


def test_rows_of_a_frequency_count_as_often_in_the_reduced_chi_square() -> None:
    times = np.arange(40) % 3
    model = Regressor(noise="known", weight_type="frequency").fit(X, Y, times, y_err=0.3)
    repeated = Regressor(noise="known").fit(np.repeat(X, times, axis=0), np.repeat(Y, times), y_err=0.3)
    figures = [m.summary().attrs["reduced_chi_square"] for m in (model, repeated)]
    assert figures[0] == pytest.approx(figures[1], rel=1e-9)


@pytest.mark.parametrize(
    ("likelihood", "says"),
    [
        (NormalLikelihood(), "student_t"),
        (BinomialLikelihood(), "beta_binomial"),
        (BetaBinomialLikelihood(), "counts"),
        (StudentTLikelihood(), "leave them out"),
    ],
)
def test_advice_where_leave_one_out_is_not_to_be_trusted_applies_to_the_likelihood(
    likelihood: Any, says: str
) -> None:
    model = Regressor()
    model._likelihood = likelihood
    with pytest.warns(UserWarning, match=says) as caught:
        model._warn_if_not_trusted(np.array([0.1, 0.9]), 0.7)
    assert ("student_t" in str(caught[0].message)) == isinstance(likelihood, NormalLikelihood)


def test_a_likelihood_of_an_unknown_link_is_refused() -> None:
    class LogLink(StudentTLikelihood):
        link: ClassVar[Any] = "log"

    with pytest.raises(ValueError, match=r"link 'log'.*'identity' or 'logit'"):
        Regressor(likelihood=LogLink()).fit(X, Y)


def test_a_selection_of_columns_that_drops_the_counts_says_what_does() -> None:
    table = np.column_stack([X, RNG.normal(size=(40, 2)), np.full(40, 30.0)])
    shares = RNG.binomial(30, 0.4, 40) / 30
    says = r"count_column=3, but X has 1 columns.*SequentialFeatureSelector.*sample_weight"
    with pytest.raises(ValueError, match=says):
        Regressor(count_column=3).fit(table[:, :1], shares)
    with pytest.raises(ValueError, match=says.replace(".", "(.|\\n)")):
        SequentialFeatureSelector(Regressor(count_column=3), cv=2).fit(table, shares)
