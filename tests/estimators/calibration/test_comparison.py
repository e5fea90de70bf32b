"""Two methods compared: published comparisons, plain integrals, and counted intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import methods
from numpy.testing import assert_allclose
from scipy import optimize, stats

from bayes_sklearn import BayesianErrorsInVariablesRegressor, MethodComparison, StudentT, compare_methods
from bayes_sklearn.estimators.calibration.method_readings import readings_of

Array = np.ndarray[Any, np.dtype[np.float64]]


def limits(table: pd.DataFrame, row: object) -> tuple[float, float]:
    low, high = (next(name for name in table if name.startswith(start)) for start in ("lower", "upper"))
    return float(table.loc[row, low]), float(table.loc[row, high])


def creatinine() -> tuple[Array, Array]:
    return methods.with_moments(methods.CREATININE_MEANS, methods.CREATININE_SQUARES, 108)


def arsenate(**params: Any) -> MethodComparison:
    return compare_methods(
        methods.ABSORPTION,
        methods.EMISSION,
        x_err=methods.ABSORPTION_ERROR,
        y_err=methods.EMISSION_ERROR,
        random_state=0,
        **params,
    )


def test_helpers_have_the_figures_of_the_packages_they_stand_for() -> None:
    """Of the tests of R's deming and mcr."""
    sen = np.array([1.0, 2, 3, 4, 10, 12, 18]), np.array([9.0, 15, 19, 20, 45, 55, 78])
    line = methods.passing_bablok(*sen, coverage=0.93)
    assert_allclose((line.intercept, line.slope, *line.slope_limits), (6.0, 4.0, 26 / 7, 35 / 8))
    noisy = methods.passing_bablok(np.arange(1.0, 7.0), np.array([2, 1.2, 4.1, 3.5, 6.3, 3]))
    assert_allclose((noisy.intercept, noisy.slope), (1 / 8, 1.05))
    line = methods.deming(*creatinine())
    assert_allclose((line.intercept, line.slope), (-0.05891341, 1.054539), rtol=1e-5)
    # And of Ripley & Thompson's table.
    assert_allclose(np.polyfit(methods.ABSORPTION, methods.EMISSION, 1), (0.845, 0.544), atol=5e-4)


def test_unknown_errors_of_one_ratio_give_deming_s_line() -> None:
    """R's mcr: -0.0589 and 1.0545, standard errors 0.0460 and 0.0353."""
    table = compare_methods(*creatinine(), ratio=1.0, random_state=0).to_frame()
    for row, estimate, error in (("slope", 1.0545, 0.0353), ("intercept", -0.0589, 0.0460)):
        low, high = limits(table, row)
        assert_allclose((table.loc[row, "median"], (high - low) / 3.92), (estimate, error), atol=2e-3)
    # Passing & Bablok's, of the same package, agree within both intervals.
    low, high = limits(table, "slope")
    assert low < 1.0880 < high
    assert 1.0 < table.loc["slope", "median"] < 1.1730
    low, high = limits(table, "intercept")
    assert low < -0.1172 < high
    assert -0.2001 < table.loc["intercept", "median"] < -0.0200


class Plain:
    """Errors that are the same for all samples: means and covariance say all, and integrals are sums over a grid."""

    def __init__(self, x: Array, y: Array, beside: float):
        self.n, self.units = len(x), (float(x.std()), float(y.std()))
        self.squares = self.n * np.cov(x, y, ddof=0) / np.outer(self.units, self.units)
        # The coefficients' prior is in the unit of the target's spread and error.
        self.unit = float(np.hypot(1.0, beside / self.units[1]))

    def log_density(self, m: Array, t: Array, of_x: Array | float, of_y: Array | float) -> Array:
        """Of x and y in units of their spread, and of m and t; errors are standard deviations in these units."""
        xx, xy, yy = t**2 + np.square(of_x), m * t**2, m**2 * t**2 + np.square(of_y)
        determinant = xx * yy - xy**2
        squares = self.squares
        distance = (squares[0, 0] * yy - 2.0 * squares[0, 1] * xy + squares[1, 1] * xx) / determinant
        # The true mean is Normal(0, 10), and the intercept anything.
        found = -0.5 * ((self.n - 1) * np.log(determinant) + distance + np.log(100.0 + xx / self.n))
        return found + stats.cauchy.logpdf(m * t / self.unit) + np.log(t) + stats.t(4).logpdf(t)

    def slopes(self, density: Array, m: Array) -> Array:
        """Return median and 95% limits, the density's first axis being that of m."""
        mass = density.sum(axis=(1, 2))
        below = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
        return np.interp([0.025, 0.5, 0.975], below, m.ravel()) * self.units[1] / self.units[0]


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_the_common_factor_is_integrated_as_a_plain_grid_does(ratio: float) -> None:
    """(79)"""
    rng = np.random.default_rng(1)
    true = rng.normal(50.0, 10.0, 25)
    x = true + rng.normal(0.0, 4.0 * ratio**0.25, 25)
    y = 3.0 + 1.1 * true + rng.normal(0.0, 4.0 / ratio**0.25, 25)
    # What is left beside the first principal component.
    plain = Plain(x, y, float(np.sqrt(np.linalg.eigvalsh(np.cov(x / np.sqrt(ratio), y))[0])))
    m, s, t = np.meshgrid(
        np.linspace(0.0, 3.0, 301), np.linspace(0.01, 1.0, 100), np.linspace(0.02, 2.5, 100), indexing="ij"
    )
    log_density = (
        plain.log_density(m, t, np.sqrt(ratio) * s * plain.units[1] / plain.units[0], s) - 0.5 * s**2
    )
    density = np.exp(log_density - log_density.max())
    table = compare_methods(x, y, ratio=ratio, random_state=0).to_frame()
    low, high = limits(table, "slope")
    # The heavy tail's limit differs from seed to seed by up to 4% of the width, the others by less than 1%.
    slopes = plain.slopes(density, m[:, 0, 0])
    away = np.abs(np.array([low, table.loc["slope", "median"], high]) - slopes) / (high - low)
    assert (away < (0.02, 0.02, 0.1)).all(), away
    errors = density.sum(axis=(0, 2)) @ s[0, :, 0] / density.sum() * plain.units[1]
    assert_allclose(table.loc["y_err", "median"], errors, rtol=0.04)
    assert_allclose(table.loc["x_err", "median"] / table.loc["y_err", "median"], np.sqrt(ratio))


def test_what_replicates_leave_open_is_integrated_as_a_plain_grid_does() -> None:
    """(80); 12 degrees of freedom make the slope's interval 15% wider."""
    rng = np.random.default_rng(6)
    true = rng.normal(50.0, 10.0, 12)
    x = true[:, None] + rng.normal(0.0, 6.0, (12, 2))
    y = 3.0 + 1.1 * true + rng.normal(0.0, 2.0, 12)
    comparison = compare_methods(x, y, y_err=2.0, noise="known", random_state=0)
    plain, freedom = Plain(x.mean(axis=1), y, 2.0), 12
    m, f, t = np.meshgrid(
        np.linspace(0.0, 4.0, 401), np.linspace(0.3, 3.0, 136), np.linspace(0.02, 3.0, 100), indexing="ij"
    )
    error = float(np.sqrt(x.var(axis=1, ddof=1).mean() / 2.0))
    assert_allclose(comparison.x_err, error)
    # The factor f: freedom / f^2 is chi-square.
    log_density = plain.log_density(m, t, f * error / plain.units[0], 2.0 / plain.units[1])
    log_density += stats.chi2.logpdf(freedom / f**2, freedom) - 3.0 * np.log(f)
    slopes = plain.slopes(np.exp(log_density - log_density.max()), m[:, 0, 0])
    table = comparison.to_frame()
    low, high = limits(table, "slope")
    away = np.abs(np.array([low, table.loc["slope", "median"], high]) - slopes) / (high - low)
    assert (away < (0.02, 0.02, 0.05)).all(), away
    known = BayesianErrorsInVariablesRegressor(noise="known", random_state=0)
    known.fit(comparison.x[:, None], y, X_err=error, y_err=2.0)
    assert high - low > 1.1 * np.diff(limits(known.summary(), "x0"))[0]


def test_replicates_of_other_likelihoods_are_taken_as_they_are() -> None:
    comparison = compare_methods(methods.WRIGHT, methods.MINI_WRIGHT, likelihood="student_t", random_state=0)
    table = comparison.to_frame()
    assert_allclose(limits(table, "slope"), limits(comparison.estimator_.summary(), "x"), rtol=1e-6)
    # The person whose meters differ by 91 l/min counts for less.
    normal = compare_methods(methods.WRIGHT, methods.MINI_WRIGHT, random_state=0).to_frame()
    assert table.loc["slope", "median"] > normal.loc["slope", "median"]


def test_methods_change_places_with_the_ratio() -> None:
    """A line read the other way has the slope's inverse; priors and the distribution of true values hardly differ."""
    x, y = creatinine()
    there, back = (
        compare_methods(x, y, ratio=2.0, random_state=0),
        compare_methods(y, x, ratio=0.5, random_state=0),
    )
    low, high = limits(there.to_frame(), "slope")
    assert_allclose(limits(back.to_frame(), "slope"), (1.0 / high, 1.0 / low), atol=6e-3)


def test_stated_errors_give_ripley_and_thompson_s_line() -> None:
    """Their maximum likelihood functional relationship has the intercept 0.1064 and the slope 0.973."""

    def away(line: Array) -> Array:
        variance = methods.EMISSION_ERROR**2 + (line[1] * methods.ABSORPTION_ERROR) ** 2
        return (methods.EMISSION - line[0] - line[1] * methods.ABSORPTION) / np.sqrt(variance)

    functional = optimize.least_squares(away, (0.0, 1.0)).x
    assert_allclose(functional, (0.106448, 0.973000), atol=1e-4)
    known = arsenate(noise="known").to_frame()
    assert_allclose(known["median"], functional, atol=0.015)
    # By default waters may differ by more than both errors: then those near zero say less of the intercept.
    free = arsenate()
    assert free.estimator_.scatter_ > 0.2
    for table in (known, free.to_frame()):
        for row, figure, bablok in zip(("intercept", "slope"), functional, (0.4296, 0.8439), strict=True):
            low, high = limits(table, row)
            assert low < figure < high
            assert low < bablok < high or table is known
    line = methods.passing_bablok(methods.ABSORPTION, methods.EMISSION)
    assert_allclose((line.intercept, line.slope), (0.4296, 0.8439), atol=1e-4)
    for row, own in (("intercept", line.intercept_limits), ("slope", line.slope_limits)):
        assert own[0] < free.to_frame().loc[row, "median"] < own[1]


@pytest.mark.filterwarnings("ignore:The errors of 'x' hide it")
def test_errors_up_to_a_factor_are_the_same_in_any_unit() -> None:
    first = arsenate(errors="relative").to_frame()
    second = compare_methods(
        methods.ABSORPTION,
        methods.EMISSION,
        x_err=1e3 * methods.ABSORPTION_ERROR,
        y_err=1e3 * methods.EMISSION_ERROR,
        errors="relative",
        random_state=0,
    ).to_frame()
    assert_allclose(first, second, rtol=1e-6)
    small = compare_methods(
        1e-6 * methods.ABSORPTION,
        1e-6 * methods.EMISSION,
        x_err=methods.ABSORPTION_ERROR,
        y_err=methods.EMISSION_ERROR,
        errors="relative",
        random_state=0,
    ).to_frame()
    assert_allclose(small.iloc[0, :3], 1e-6 * first.iloc[0, :3].astype(float), rtol=1e-6)
    assert_allclose(small.iloc[1], first.iloc[1], rtol=1e-6)


def test_replicates_tell_bland_and_altman_s_figures() -> None:
    one = compare_methods(methods.WRIGHT[:, 0], methods.MINI_WRIGHT[:, 0], x_err=15.0, random_state=0)
    agreement = one.limits_of_agreement()
    # They subtract the other way, and take two standard deviations.
    assert_allclose(agreement.loc["mean_difference"], (2.1, -17.8, 22.0), atol=0.05)
    assert_allclose(agreement.attrs["std"], 38.8, atol=0.05)
    z = stats.norm.ppf(0.975)
    for row, sign, theirs in (("lower_limit", -1.0, (-110.1, -40.9)), ("upper_limit", 1.0, (45.1, 114.3))):
        assert_allclose(agreement.loc[row, "estimate"], 2.1176 + sign * z * 38.765, atol=0.01)
        # Exact intervals reach further out than theirs, which are approximate.
        assert_allclose(limits(agreement, row), theirs, atol=12.0)
    both = compare_methods(methods.WRIGHT, methods.MINI_WRIGHT, names=("wright", "mini"), random_state=0)
    assert both.estimator_.feature_names_in_.tolist() == ["wright"]
    assert_allclose(both.limits_of_agreement().attrs["std"], 37.7, atol=0.05)
    # Standard deviations of a meter's two readings are 15.3 and 19.9.
    assert_allclose((both.x_err[0], both.y_err[0]), np.array([15.3, 19.9]) / np.sqrt(2.0), rtol=2e-3)


def test_limits_of_agreement_without_replicates_are_exact() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(10.0, 2.0, 12), rng.normal(10.5, 2.0, 12)
    agreement = compare_methods(x, y, x_err=0.5, coverage=0.9, random_state=0).limits_of_agreement()
    difference, n = y - x, len(x)
    std, z = difference.std(ddof=1), stats.norm.ppf(0.95)
    exact = difference.mean() + std / np.sqrt(n) * stats.nct(n - 1, z * np.sqrt(n)).ppf([0.05, 0.95])
    assert_allclose(limits(agreement, "upper_limit"), exact, atol=2e-3 * std)
    assert_allclose(
        limits(agreement, "mean_difference"),
        stats.t(n - 1, difference.mean(), std / np.sqrt(n)).interval(0.9),
        atol=2e-3 * std,
    )


def test_bias_is_the_line_s_at_true_values() -> None:
    comparison = arsenate(levels=[0.0, 5.0])
    table = comparison.bias()
    assert table.index.tolist() == [0.0, 5.0]
    levels = np.array([[0.0], [5.0]])
    model = comparison.estimator_
    own = model.predict_distribution(pd.DataFrame(levels, columns=["x"]), X_err=0, include_noise=False)
    assert_allclose(
        np.column_stack([limits(table, at) for at in (0.0, 5.0)]), np.array(own.interval(0.95)) - levels.T
    )
    assert_allclose(table["above"], 1.0 - own.cdf(levels[:, 0]))
    assert_allclose(table.loc[5.0, "percent"], 20.0 * table.loc[5.0, "bias"])
    assert np.isnan(table.loc[0.0, "percent"])
    intercept = comparison.to_frame().loc["intercept"]
    assert_allclose(table.loc[0.0, "bias"], intercept["median"])
    assert_allclose(table.loc[0.0, "above"], intercept["above"])
    assert_allclose(comparison.bias(5.0).loc[5.0, "bias"], table.loc[5.0, "bias"])
    # Below zero a larger reading is still a positive bias, in per cent too.
    assert comparison.bias(-1.0).loc[-1.0, "percent"] == 100.0 * comparison.bias(-1.0).loc[-1.0, "bias"]


def test_replicates_tell_errors_of_their_means() -> None:
    rng = np.random.default_rng(4)
    true = rng.uniform(10.0, 100.0, 4000)
    x = true[:, None] + rng.normal(size=(4000, 3)) * 2.0
    x[:2000, 2] = np.nan
    y = true[:, None] * (1.0 + rng.normal(size=(4000, 2)) * 0.05)
    pooled = compare_methods(x, true, random_state=0)
    assert_allclose(pooled.x_err[:2000], 2.0 / np.sqrt(2.0), rtol=0.03)
    assert_allclose(pooled.x_err[2000:], 2.0 / np.sqrt(3.0), rtol=0.03)
    assert pooled.y_err is None
    proportional = compare_methods(y, true, replicate_errors="proportional", random_state=0)
    assert_allclose(proportional.x_err, 0.05 / np.sqrt(2.0) * proportional.x, rtol=0.03)
    with pytest.warns(UserWarning, match="scatter more at high values"):
        readings_of(y, None, "x", "pooled")
    with pytest.warns(UserWarning, match="relatively less at high values"):
        readings_of(x, None, "x", "proportional")
    # Limits of agreement are of single readings, whatever is lost in means of four.
    four = compare_methods(
        true[:, None] + rng.normal(size=(4000, 4)) * 2.0,
        true[:, None] + rng.normal(size=(4000, 4)),
        random_state=0,
    )
    assert_allclose(four.limits_of_agreement().attrs["std"], np.sqrt(5.0), rtol=0.03)
    many = true[:100, None] + rng.normal(size=(100, 40)) * 2.0
    own = compare_methods(many, true[:100], replicate_errors="own", random_state=0)
    assert_allclose(own.x_err, many.std(axis=1, ddof=1) / np.sqrt(40.0))
    with pytest.warns(UserWarning, match="hardly tell it"):
        readings_of(y, None, "x", "own")


def test_names_come_from_series() -> None:
    x, y = creatinine()
    frame = pd.DataFrame({"serum": x, "plasma": y})
    comparison = compare_methods(frame["serum"], frame["plasma"], ratio=1.0, random_state=0)
    assert comparison.names == ("serum", "plasma")
    assert comparison.estimator_.coef_names_.tolist() == ["serum"]
    assert comparison.bias([1.0]).index.name == "serum"
    assert compare_methods(x, y, ratio=1.0, names=("a", "b"), random_state=0).names == ("a", "b")
    assert len(comparison) == 108


X = np.array([4.1, 5.0, 6.2, 7.1, 8.3, 9.0])
Y = np.array([4.4, 5.0, 6.5, 7.2, 8.8, 9.4])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Nothing says how large x's errors are"),
        ({"y_err": 0.1}, "Nothing says how large x's errors are"),
        ({"ratio": 0.0}, "ratio must be a positive number"),
        ({"ratio": "1"}, "ratio must be a positive number"),
        ({"ratio": True}, "ratio must be a positive number"),
        ({"ratio": 1.0, "x_err": 0.1}, "leave out x_err and y_err, or ratio"),
        ({"ratio": 1.0, "noise": "known"}, "noise can't be chosen"),
        ({"ratio": 1.0, "y": 2.0 * X + 1.0}, "lie on a line"),
        ({"ratio": 1.0, "y": np.full(6, 3.0)}, "which tells no errors"),
        ({"errors": "known"}, "errors must be one of"),
        ({"errors": "relative", "x_err": 0.1}, "errors='relative' is of x's and y's errors"),
        ({"errors": "relative", "x_err": 0.0, "y_err": 1.0}, "give X_err"),
        ({"replicate_errors": "all", "x_err": 0.1}, "replicate_errors must be one of"),
        ({"x": np.column_stack([X, X + 0.1]), "x_err": 0.1}, "x has replicates, which tell its errors"),
        ({"x": np.column_stack([X, X + 0.1]), "ratio": 1.0}, "x has replicates, which tell its errors"),
        ({"x": np.column_stack([X, X])}, "replicates that are all alike"),
        (
            {"x": np.column_stack([X - 5.0, X - 5.1]), "replicate_errors": "proportional"},
            "of positive values",
        ),
        (
            {"x": np.column_stack([X, [np.nan, 5, 6, 7, 8, 9]]), "replicate_errors": "own"},
            "a single reading of sample 0",
        ),
        ({"x": [1.0, np.nan, 2.0, 3.0, 4.0, 5.0], "x_err": 0.1}, "sample 1 has no reading"),
        ({"x": [1.0, np.inf, 2.0, 3.0, 4.0, 5.0], "x_err": 0.1}, "x has infinity"),
        ({"x": X[:3], "x_err": 0.1}, "a line and its errors take 4 or more"),
        ({"x": X[:5], "x_err": 0.1}, "x has 5 samples and y 6"),
        ({"x": X[None, None], "x_err": 0.1}, "x must have the shape"),
        ({"x_err": 0.1, "levels": [np.nan]}, "levels must be finite numbers"),
        ({"x_err": 0.1, "coverage": 1.5}, "coverage"),
        ({"x_err": 0.1, "names": "xy"}, "names must be two"),
        ({"x": pd.Series(X), "y": pd.Series(Y, index=range(1, 7)), "x_err": 0.1}, "other indexes"),
        ({"x_err": 0.1, "likelihood": "poisson", "y": np.arange(6.0)}, "has no line in the methods' unit"),
    ],
)
def test_bad_input_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    given = {"x": X, "y": Y, "random_state": 0, **given}
    with pytest.raises(ValueError, match=message) as refused:
        compare_methods(given.pop("x"), given.pop("y"), **given)
    assert len(str(refused.value)) <= 400


def test_words_are_refused() -> None:
    with pytest.raises(TypeError, match="x must be real numbers"):
        compare_methods(["a"] * 6, Y, x_err=0.1)
    with pytest.raises(TypeError, match="levels must be real numbers"):
        compare_methods(X, Y, x_err=0.1, levels="all")


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:The errors of 'x' hide it")
@pytest.mark.parametrize("known", ["stated", "ratio", "replicates"])
def test_intervals_cover(known: str) -> None:
    """Of 150 comparisons, true values normal, even or skewed: a standard error of 2.4 points."""
    rng, hits = np.random.default_rng(2), []
    for _ in range(150):
        n, ratio, reliability = rng.choice([20, 40, 60]), rng.choice([0.5, 1.0, 2.0]), rng.uniform(0.8, 0.99)
        slope, intercept = rng.choice([0.9, 1.0, 1.15]), rng.choice([0.0, 3.0])
        skewed = (rng.lognormal(0.0, 0.5, n) - 1.133) / 0.604
        shapes = rng.normal(size=n), rng.uniform(-np.sqrt(3.0), np.sqrt(3.0), n), skewed
        true = 50.0 + 10.0 * shapes[rng.integers(3)]
        x_err = 10.0 * np.sqrt(1.0 / reliability - 1.0)
        y_err, m = x_err / np.sqrt(ratio), 2 if known == "replicates" else 1
        x = true[:, None] + rng.normal(size=(n, m)) * x_err * np.sqrt(m)
        y = intercept + slope * true[:, None] + rng.normal(size=(n, m)) * y_err * np.sqrt(m)
        says = {"stated": {"x_err": x_err, "y_err": y_err}, "ratio": {"ratio": ratio}, "replicates": {}}[
            known
        ]
        comparison = compare_methods(x, y, coverage=0.9, random_state=0, levels=[40.0, 65.0], **says)
        line, bias = comparison.to_frame(), comparison.bias()
        truths = [(line, "slope", slope), (line, "intercept", intercept)]
        truths += [(bias, level, intercept + (slope - 1.0) * level) for level in (40.0, 65.0)]
        hits.append([limits(table, row)[0] <= truth <= limits(table, row)[1] for table, row, truth in truths])
    # One in a thousand such counts of 90% is below 0.81.
    assert (np.mean(hits, axis=0) > 0.81).all(), np.mean(hits, axis=0)


@pytest.mark.parametrize("params", [{"noise": "common"}, {"intercept_prior": StudentT()}])
def test_replicates_beside_other_models_are_taken_as_they_are(params: dict[str, Any]) -> None:
    comparison = compare_methods(methods.WRIGHT, methods.MINI_WRIGHT, random_state=0, **params)
    assert comparison.estimator_.x_error_dof is None
    assert np.isfinite(comparison.to_frame().loc["slope", "median"])
