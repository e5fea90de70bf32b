"""What is said where a fit is doubtful: figures and advice that apply to it."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import BetaBinomialLikelihood, BinomialLikelihood, NormalLikelihood, StudentTLikelihood

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

    def total(line: np.ndarray) -> float:
        variance = y_err**2
        if features:
            variance += factor**2 * (line[1] ** 2 * X_ERR**2 - 2.0 * line[1] * XY_COV)
        return float(np.sum((Y - line[0] - line[1] * X[:, 0]) ** 2 / variance))

    least = optimize.minimize(total, [1.0, 2.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9})
    assert model.summary().attrs["reduced_chi_square"] == pytest.approx(least.fun / (40 - 2), rel=1e-8)
    model.set_params(noise="scaled", coef_prior=None).fit(X, Y, y_err=0.3)
    assert "reduced_chi_square" not in model.summary().attrs


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_rows_of_a_frequency_count_as_often_in_the_reduced_chi_square(
    features: bool, intercept: bool
) -> None:
    times, data = np.arange(40) % 3, {"y_err": 0.3 if intercept else 2.0}
    if features:
        data |= {"X_err": X_ERR, "Xy_cov": XY_COV}
    settings: dict[str, Any] = {"noise": "known", "fit_intercept": intercept, "random_state": 0}
    model = Regressor(weight_type="frequency", **settings).fit(X, Y, times, **data)
    repeated = Regressor(**settings).fit(np.repeat(X, times, axis=0), np.repeat(Y, times), **data)
    in_two = Regressor(weight_type="frequency", **settings)
    for half in (slice(20), slice(20, None)):
        in_two.partial_fit(X[half], Y[half], times[half], **data)
    figures = [m.summary().attrs["reduced_chi_square"] for m in (model, repeated, in_two)]
    assert figures == pytest.approx([figures[0]] * 3, rel=1e-7)


@pytest.mark.parametrize("scale", [0.02, 3.0])
def test_known_errors_that_are_right_do_not_warn_where_the_prior_draws_the_line_away(scale: float) -> None:
    # Of 40 slopes whose scale is learned, of 50 rows: posterior means lay off by a reduced chi-square of 4.4.
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 40))
    y = x @ rng.normal(size=40) * scale + 0.5 * rng.normal(size=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once in 10,000
        model = Regressor(noise="known").fit(x, y, y_err=0.5)
    design = np.column_stack([np.ones(50), x])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    expected = np.square(residual / 0.5).sum() / (50 - 41)
    assert model.summary().attrs["reduced_chi_square"] == pytest.approx(expected, rel=1e-9)


def test_heavy_tails_are_no_misfit_of_known_errors() -> None:
    y = Y.copy()
    y[0] += 40.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Regressor(likelihood=StudentTLikelihood(nu=2), noise="known", random_state=0).fit(
            X, y, y_err=0.3
        )
    assert "reduced_chi_square" not in model.summary().attrs


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
    model._fitted = SimpleNamespace(likelihood=likelihood)  # type: ignore[assignment]
    with pytest.warns(UserWarning, match=says) as caught:
        model._warn_if_not_trusted(np.array([0.1, 0.9]), 0.7)
    assert ("student_t" in str(caught[0].message)) == isinstance(likelihood, NormalLikelihood)


def test_a_likelihood_whose_link_is_none_is_refused() -> None:
    class LogLink(StudentTLikelihood):
        link: ClassVar[Any] = "log"

    with pytest.raises(TypeError, match=r"link 'log': its class needs a Link.*LOG"):
        Regressor(likelihood=LogLink()).fit(X, Y)


def test_a_selection_of_columns_that_drops_the_counts_says_what_does() -> None:
    table = np.column_stack([X, RNG.normal(size=(40, 2)), np.full(40, 30.0)])
    shares = RNG.binomial(30, 0.4, 40) / 30
    says = r"count_column=3, but X has 1 columns.*SequentialFeatureSelector.*sample_weight"
    with pytest.raises(ValueError, match=says):
        Regressor(count_column=3).fit(table[:, :1], shares)
    with pytest.raises(ValueError, match=says.replace(".", "(.|\\n)")):
        SequentialFeatureSelector(Regressor(count_column=3), cv=2).fit(table, shares)


LINE = np.random.default_rng(3).normal(size=40)[:, None]


@pytest.mark.parametrize("noise", ["auto", "scaled", "known", "additive"])
def test_rows_without_noise_beside_errors_of_features_are_fitted_in_silence(noise: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Regressor(noise=noise, random_state=0).fit(LINE, 1.0 + 2.0 * LINE[:, 0], X_err=0.3, y_err=0.1)
    assert model.inference_ == "importance"
    assert model.coef_[0] == pytest.approx(2.0, abs=0.05)
    assert model.intercept_ == pytest.approx(1.0, abs=0.05)
    # The slope's error is that of features' errors of 0.3 and those of y in 40 rows, whatever the rows' residuals.
    total = np.hypot(0.3 * 2.0, 0.1)
    assert 0.8 < model.coef_std_[0] / (total / np.sqrt(40) / LINE.std()) < 1.3
    if noise == "known":
        expected = _by_integration(LINE[:, 0], 1.0 + 2.0 * LINE[:, 0], 0.3, 0.1)
        assert [model.coef_[0], model.coef_std_[0]] == pytest.approx(expected, rel=0.03)


def _by_integration(w: Any, y: Any, x_err: float, y_err: float) -> tuple[float, float]:
    """Return mean and sd of the slope by a grid over it and the true variance; the means are integrated out."""
    slopes, variances = np.linspace(1.0, 3.5, 501), np.linspace(0.02, 4.0, 400)
    m, T = slopes[:, None], variances[None, :]
    n, S = len(w), np.cov(w, y, bias=True)
    a, b, d = T + x_err**2, m * T, m * m * T + y_err**2
    determinant = a * d - b * b
    quadratic = (d * S[0, 0] - 2.0 * b * S[0, 1] + a * S[1, 1]) / determinant
    log_density = -0.5 * (n - 1) * np.log(determinant) - 0.5 * n * quadratic
    # The prior that the estimator has: half-Student of the true spread, Cauchy of the signal, in the data's spreads.
    unit_w, unit_y = w.std(), np.hypot(y.std(), y_err)
    t = np.sqrt(T) / unit_w
    log_density -= 2.5 * np.log1p(t**2 / 4.0) + 0.5 * np.log(T)
    signal = m * np.sqrt(T) / unit_y
    log_density += 0.5 * np.log(T) - np.log1p(signal**2)
    weight = np.exp(log_density - log_density.max()).sum(axis=1)
    weight /= weight.sum()
    mean = float(weight @ slopes)
    return mean, float(np.sqrt(weight @ (slopes - mean) ** 2))


@pytest.mark.parametrize("noise", ["auto", "scaled", "known"])
def test_a_constant_target_has_the_slope_zero_with_the_error_that_errors_give_it(noise: str) -> None:
    noisy = LINE[:, 0] + 0.3 * np.random.default_rng(4).normal(size=40)
    for data in ({"X_err": 0.3}, {}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = Regressor(noise=noise, random_state=0).fit(
                noisy[:, None], np.full(40, 3.0), y_err=0.1, **data
            )
        assert model.inference_ == ("importance" if data else "exact")
        assert model.coef_[0] == pytest.approx(0.0, abs=0.002)
        reliability = model.reliability_[0] if data else 1.0
        expected = 0.1 / np.sqrt(40.0 * reliability) / noisy.std()
        # That no slope is seen narrows the learned prior.
        assert 0.6 < model.coef_std_[0] / expected < 1.1
        assert model.predict([[0.0]], return_std=True)[1] == pytest.approx(0.1, rel=0.05)
        streamed = Regressor(noise=noise, random_state=0)
        for half in (slice(20), slice(20, None)):
            streamed.partial_fit(noisy[half, None], np.full(20, 3.0), y_err=0.1, **data)
        assert streamed.coef_std_ == pytest.approx(model.coef_std_, rel=1e-6 if not data else 0.05)


def test_a_constant_target_says_something_of_errors_where_there_is_no_intercept() -> None:
    model = Regressor(noise="scaled", fit_intercept=False).fit(LINE, np.full(40, 3.0), y_err=1.5)
    assert model.noise_scale_ > 1.4


@pytest.mark.parametrize("x_distribution", ["normal", "mixture"])
def test_a_constant_target_of_unknown_errors_takes_no_sampling(x_distribution: str) -> None:
    model = Regressor(random_state=0, x_distribution=x_distribution)
    stated = clone(model).fit(LINE, np.full(40, 3.0), X_err=0.3, y_err=0.1)
    assert stated.inference_ == "importance"
    assert 0.6 < stated.coef_std_[0] / (0.1 / np.sqrt(40.0) / LINE.std()) < 1.3
    model.fit(LINE, np.full(40, 3.0), X_err=0.3)
    assert model.inference_ == "importance"
    assert abs(model.coef_[0]) < 1e-8
    assert model.coef_std_[0] < 1e-7


@pytest.mark.parametrize("noise", ["auto", "scaled", "known"])
def test_a_constant_reading_takes_no_sampling_and_says_that_it_tells_nothing(noise: str) -> None:
    y = np.random.default_rng(5).normal(size=40)
    model = Regressor(noise=noise, random_state=0)
    with pytest.warns(UserWarning, match="errors of 'x0' hide it") as caught:
        model.fit(np.full((40, 1), 2.0), y, X_err=0.3, y_err=1.0)
    assert len(caught) == 1
    assert model.inference_ == "importance"
    low, high = model.summary().loc["x0"].filter(like="%")
    assert low < -0.5
    assert high > 0.5
    # The line at the reading is known.
    mean, std = model.predict([[2.0]], return_std=True)
    assert mean[0] == pytest.approx(y.mean(), abs=0.05)
    assert std[0] == pytest.approx(1.0, rel=0.35)


@pytest.mark.parametrize("likelihood", ["binomial", "beta_binomial"])
def test_advice_on_targets_that_are_no_shares_applies_under_likelihoods_of_shares(likelihood: str) -> None:
    shares, counts = RNG.binomial(30, 0.4, 40) / 30, np.full(40, 30.0)
    model = Regressor(likelihood=likelihood, weight_type="counts")
    for y, says in (
        (np.round(100.0 * shares), "percentages, divide them by 100"),
        (30.0 * shares, "by the counts"),
    ):
        with pytest.raises(
            ValueError, match=rf"With likelihood='{likelihood}', y must be shares.*{says}"
        ) as caught:
            model.fit(X, y, counts)
        assert "frequency" not in str(caught.value)
        assert "y_err" not in str(caught.value)
    with pytest.raises(
        ValueError, match=r"Effective or imputed sample sizes need not be: .*likelihood='normal'"
    ):
        model.fit(X, shares, counts + 0.5)
    # There they are taken: 1,450.5 and 1,450 say the same.
    normal = [
        Regressor(weight_type="counts").fit(X, shares, size * counts).coef_ for size in (48.35, 145.05 / 3.0)
    ]
    assert normal[0] == pytest.approx(normal[1], rel=1e-9)


def test_a_column_by_its_name_says_what_makes_frames_arrays() -> None:
    frame = pd.DataFrame({"x": X[:, 0], "n": np.full(40, 30.0)})
    shares = RNG.binomial(30, 0.4, 40) / 30
    with pytest.raises(ValueError, match=r"BaggingRegressor.*makes frames arrays"):
        BaggingRegressor(Regressor(count_column="n"), n_estimators=2).fit(frame, shares)
    by_position = BaggingRegressor(Regressor(count_column=1), n_estimators=2, random_state=0)
    assert np.isfinite(by_position.fit(frame.to_numpy(), shares).predict(frame.to_numpy())).all()


def test_a_target_that_lacks_a_value_and_a_table_without_rows_are_told_where_and_how() -> None:
    y = Y.copy()
    y[[7, 9]] = np.nan
    with pytest.raises(ValueError, match=r"y contains NaN\. The first is in row 7\. Drop these rows"):
        Regressor().fit(X, pd.Series(y))

    class Lazy:
        def collect(self) -> Any:
            return X

    with pytest.raises((TypeError, ValueError), match=r"give X\.collect\(\)"):
        Regressor().fit(Lazy(), Y)


def test_warnings_name_the_line_that_called_also_through_scikit_learn() -> None:
    known = {"y_err": 1e-3}
    model = Regressor(noise="known")
    searched = GridSearchCV(model, {"standardize": [True]}, cv=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, Y, **known)
        Pipeline([("scale", StandardScaler()), ("model", model)]).fit(X, Y, model__y_err=1e-3)
        searched.fit(X, Y, **known)
    assert len(caught) >= 5  # one each, two folds, and the best of all rows
    assert all("do not explain" in str(warning.message) for warning in caught)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("skewed", "likelihood", "how", "warned"),
    [
        (True, "binomial", "normal", True),
        (True, "binomial", "mixture", False),
        (True, "student_t", "normal", False),
        (False, "binomial", "normal", False),
    ],
)
def test_skewed_readings_warn_where_a_link_bends_the_line(
    skewed: bool, likelihood: str, how: str, warned: bool
) -> None:
    """Beside an exact feature, which explains the skewness of another one."""
    rng = np.random.default_rng(0)
    z, noise = rng.gamma(1.0, 2.0, 600), rng.gamma(2.0, 1.0, 600) if skewed else rng.normal(size=600)
    x = z + noise
    X = np.column_stack([x + 0.8 * rng.normal(size=600), z])
    share = rng.binomial(20, special.expit(0.5 * (x - z) - 1.0)) / 20
    model = Regressor(
        likelihood=likelihood,
        x_distribution=how,
        weight_type="counts" if likelihood == "binomial" else "frequency",
    )
    weight = np.full(600, 20.0) if likelihood == "binomial" else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, share, sample_weight=weight, X_err=[0.8, 0.0])
    assert any("are skewed: x0 (" in str(warning.message) for warning in caught) == warned
