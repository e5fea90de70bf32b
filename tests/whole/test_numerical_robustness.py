"""How many digits are right where the numbers are hard, against arithmetic of 100 digits; warnings where none are.

The digits asserted are those measured less about two, and in every case no more than 2.5 below what one unit in the
last place of the data leaves of the problem itself. Everything is deterministic.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mpmath import matrix, mp, mpf
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Flat, HalfCauchy, HalfNormal, Normal
from bayes_sklearn.inference import given_scale

from data import noisy_features, shares
from high_precision import Precise, Table, digits, digits_of_the_problem, solve
from plain import Regressor

Array = NDArray[np.float64]
FLAT: dict[str, Any] = {"coef_sigma": np.inf, "intercept_sigma": np.inf}
# Our own rounding may cost so many digits more than that of the data does.
MARGIN = 3.0


def rows(n: int = 30) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    y = X @ rng.normal(size=3) + 1.0 + 0.3 * rng.normal(size=n)
    return X, y, rng.uniform(0.2, 0.6, n)


X, Y, E = rows()
SCALES = 10.0 ** np.array([-12.0, 0.0, 12.0])
WIDE = 10.0 ** np.random.default_rng(5).uniform(-6.0, 6.0, 30)
PRECISE_ROWS = np.where(np.arange(30) == 7, 3e-7, np.where(np.arange(30) == 9, 3e-13, 0.3))
HEAVY = np.where(np.arange(30) == 7, 1e12, 1.0)
FEW = slice(10)  # rows, where the precise integral takes a factorisation a node


def collinear(apart: float) -> Array:
    return np.column_stack([X[:, 0], X[:, 2], X[:, 0] + apart * X[:, 1]])


def powers(degree: int) -> Array:
    return np.linspace(0.0, 1.0, 30)[:, None] ** np.arange(1, degree + 1)


def estimator(table: Table) -> Regressor:
    def prior(sigma: float) -> Any:
        return Normal(sigma=sigma) if np.isfinite(sigma) else Flat()

    return Regressor(
        noise=table.noise,
        standardize=table.standardize,
        fit_intercept=table.fit_intercept,
        weight_type="frequency",
        coef_prior=prior(table.coef_sigma),
        intercept_prior=prior(table.intercept_sigma),
    )


def found(model: Regressor, table: Table) -> dict[str, Any]:
    """All that the precise answer has, as the fitted model says it."""
    new = table.X[:3]
    mean, std = model.predict(new, return_std=True)
    answer = {
        "coef": model.coef_,
        "coef_std": model.coef_std_,
        "intercept": [model.intercept_],
        "noise_scale": [model.noise_scale_],
        "mean": mean,
        "std": std,
        "line_std": model.predict(new, return_std=True, include_noise=False)[1],
        "cdf": model.predict_distribution(new).cdf(mean + 2.0 * std),
    }
    if hasattr(model, "log_marginal_likelihood_"):
        answer["evidence"] = [model.log_marginal_likelihood_]
    if table.left_out:
        values = model.loo(table.X, table.y, table.frequency, y_err=table.y_err)
        each = np.asarray(values.elpd_i if hasattr(values, "elpd_i") else values["loo_i"])
        frequency = np.ones(len(table.y)) if table.frequency is None else table.frequency
        answer["loo"] = [each[i] / frequency[i] for i in table.left_out]
    return answer


REGIMES: dict[str, tuple[float, Table]] = {
    # name: (digits that every number has at least, data)
    "plain": (12.5, Table(X, Y, E, left_out=(0,))),
    "no errors known": (12.5, Table(X, Y, left_out=(0,))),
    "additive": (12.5, Table(X[FEW], Y[FEW], E[FEW], noise="additive")),
    "no intercept": (12.5, Table(X, Y, E, fit_intercept=False, left_out=(0,))),
    "flat": (12.5, Table(X, Y, E, **FLAT, left_out=(0,))),
    "features 1e-12 to 1e12": (12.5, Table(X * SCALES, Y, E, left_out=(0,))),
    "features 1e-12 to 1e12, flat": (12.5, Table(X * SCALES, Y, E, **FLAT)),
    "features 1e-12 to 1e12, raw": (12.5, Table(X * SCALES, Y, standardize=False, left_out=(0,))),
    "features 1e12 to 1e-12, raw": (12.5, Table(X * SCALES[::-1], Y, standardize=False)),
    "features 1e-12 to 1e12, additive": (
        12.5,
        Table(X[FEW] * SCALES, Y[FEW], E[FEW], noise="additive", standardize=False),
    ),
    "target + 1e9": (6.5, Table(X, Y + 1e9, E, left_out=(0,))),
    "target + 1e9, flat": (6.5, Table(X, Y + 1e9, **FLAT)),
    "features + 1e9": (7.5, Table(X + 1e9, Y, E, left_out=(0,))),
    "features + 1e9, flat": (7.5, Table(X + 1e9, Y, E, **FLAT)),
    "columns apart by 1e-4, flat": (9.0, Table(collinear(1e-4), Y, E, **FLAT, left_out=(0,))),
    "columns apart by 1e-8": (12.5, Table(collinear(1e-8), Y, E, left_out=(0,))),
    "columns apart by 1e-8, flat": (5.0, Table(collinear(1e-8), Y, E, **FLAT, left_out=(0,))),
    "columns apart by 1e-15": (12.0, Table(collinear(1e-15), Y, E)),
    "powers up to 10": (11.5, Table(powers(10), Y, left_out=(0,))),
    "powers up to 9, Normal(0, 1e6)": (7.0, Table(powers(9), Y, coef_sigma=1e6)),
    "powers up to 9, flat": (6.5, Table(powers(9), Y, **FLAT)),
    "weights 1e-6 to 1e6": (11.5, Table(X, Y, frequency=WIDE, left_out=(0, 1))),
    "errors 1e-6 to 1e6, known": (11.0, Table(X, Y, WIDE, noise="known", left_out=(0,))),
    "errors 1e-6 to 1e6, scaled": (11.0, Table(X, Y, WIDE, left_out=(0,))),
    "errors and features over 12 and 24 orders, known": (
        11.0,
        Table(X * SCALES, Y, WIDE, noise="known", standardize=False),
    ),
    "errors and features over 12 and 24 orders, scaled": (
        9.0,
        Table(X * SCALES, Y, WIDE, standardize=False),
    ),
    "a row of weight 1e12": (8.5, Table(X, Y, frequency=HEAVY)),
    "two rows of errors 1e-6 and 1e-12": (12.0, Table(X, Y, PRECISE_ROWS, noise="known", left_out=(0, 7))),
    "two rows of errors 1e-6 and 1e-12, scaled": (12.0, Table(X, Y, PRECISE_ROWS, left_out=(0,))),
    "no noise, errors known": (12.5, Table(X, X @ [1.0, 2.0, -1.0] + 3.0, E, noise="known", left_out=(0,))),
    "noise of 1e-6": (7.5, Table(X, X @ [1.0, 2.0, -1.0] + 1e-6 * np.sin(9.0 * Y), left_out=(0,))),
}


# Errors of twelve orders fit no rows whose noise has one size.
@pytest.mark.filterwarnings(
    "ignore:The stated errors look too small",
    "ignore:The data contradict",
    "ignore:noise='known', but the stated errors",
)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.thorough) if name == "features 1e-12 to 1e12, additive" else name
        for name in REGIMES
    ],
)
def test_digits_are_right_where_the_problem_has_them(name: str) -> None:
    least, table = REGIMES[name]
    exact = solve(table)
    ours = digits(
        found(estimator(table).fit(table.X, table.y, table.frequency, y_err=table.y_err), table), exact
    )
    assert min(ours.values()) >= least, ours
    of_problem = digits_of_the_problem(table, exact, seeds=(1,))
    for quantity, right in ours.items():
        assert right >= min(of_problem[quantity], 15.0) - MARGIN, (quantity, right, of_problem[quantity])


def streamed(table: Table, merge: bool) -> dict[str, Any]:
    """The same, of rows that come one by one in any order, or of models of a few rows each."""
    order = np.random.default_rng(0).permutation(len(table.y))
    size = 7 if merge else 1
    models, model = [], estimator(table)
    for start in range(0, len(order), size):
        index = order[start : start + size]
        model = estimator(table) if merge else model
        known = None if table.y_err is None else table.y_err[index]
        with warnings.catch_warnings():  # few rows make no fit yet
            warnings.simplefilter("ignore")
            models.append(model.partial_fit(table.X[index], table.y[index], y_err=known))
    if merge:
        models[0].merge(*models[1:])
    return found(models[0], table)


# What is kept of batches does not tell heavy rows from collinear columns.
@pytest.mark.filterwarnings("ignore:The 4 columns with a flat prior are collinear")
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize(
    ("least", "table"),
    [
        (11.5, Table(X * SCALES, Y, E, standardize=False)),
        (11.5, Table(X, Y, PRECISE_ROWS, noise="known", **FLAT)),
        (6.5, Table(X, Y + 1e9, E)),
    ],
)
def test_batches_in_any_order_keep_the_digits(least: float, table: Table, merge: bool) -> None:
    ours = digits(streamed(table, merge), solve(table))
    assert min(ours.values()) >= least, ours


def test_more_features_than_rows_on_all_scales() -> None:
    # The posterior in the dual: coef = D X' (X D X' + V)^-1 y, five rows and 500 features, in 100 digits.
    rng = np.random.default_rng(2)
    wide = rng.normal(size=(5, 500)) * 10.0 ** rng.uniform(-12.0, 12.0, 500)
    target, error = rng.normal(size=5), 10.0 ** rng.uniform(-3.0, 3.0, 5)
    model = Regressor(noise="known", standardize=False, fit_intercept=False)
    model.fit(wide, target, y_err=error)
    A = matrix([[mpf(float(v)) for v in row] for row in wide])
    K = A * A.T + mp.diag([mpf(float(v)) ** 2 for v in error])
    weight = mp.lu_solve(K, matrix([mpf(float(v)) for v in target]))
    coef = np.array([float(v) for v in A.T * weight])
    assert_allclose(model.coef_, coef, rtol=1e-10, atol=1e-14 * np.abs(coef).max())
    inverse = mp.inverse(K)
    for j in range(0, 500, 50):
        column = A[:, j]
        assert_allclose(model.coef_std_[j], float(mp.sqrt(1 - (column.T * inverse * column)[0])), rtol=1e-10)


def test_a_million_rows() -> None:
    # Whole numbers: sums of squares and products are exact, and the precise answer is that of few rows.
    rng = np.random.default_rng(3)
    n, offset = 1_000_000, 10**9
    x, noise = rng.integers(-8, 9, size=(n, 2)), rng.integers(-4, 5, size=n)
    y = 3 * x[:, 0] - x[:, 1] + noise
    model = Regressor(coef_prior=Flat(), intercept_prior=Flat(), noise_prior=HalfCauchy(), standardize=False)
    model.fit(x, y + offset)
    design = np.column_stack([np.ones(n, dtype=np.int64), x])
    gram, right = matrix((design.T @ design).tolist()), matrix((design.T @ y).tolist())
    B = mp.lu_solve(gram, right)
    assert_allclose(model.coef_, [float(B[1]), float(B[2])], rtol=1e-11)
    assert_allclose(model.intercept_, float(B[0] + offset), rtol=1e-15)
    # The noise scale: the half-Cauchy prior says next to nothing of a million rows.
    rest = mpf(int(y @ y)) - (right.T * B)[0]
    assert_allclose(model.noise_scale_, float(mp.sqrt(rest / n)), rtol=1e-5)
    deviation = [float(mp.sqrt(rest / n * mp.inverse(gram)[j, j])) for j in (1, 2)]
    assert_allclose(model.coef_std_, deviation, rtol=1e-5)


# --- warnings, and never NaN ---------------------------------------------------------------------


def finite(
    model: BayesianErrorsInVariablesRegressor, table: Array, y: Array, **given: Any
) -> BayesianErrorsInVariablesRegressor:
    """Fit, and look at every number that one can ask for."""
    model.fit(table, y, **given)
    new = table[:4]
    distribution = model.predict_distribution(new)
    mean, std = model.predict(new, return_std=True)
    outcomes = [
        model.coef_,
        model.coef_std_,
        model.intercept_,
        model.noise_scale_,
        mean,
        std,
        model.predict_interval(new, 1.0 - 1e-9),
        model.predict_quantiles(new, (1e-12, 0.5, 1.0 - 1e-12)),
        distribution.cdf(1e300),
        distribution.cdf(-1e300),
        distribution.cdf(mean),
        distribution.logpdf(y[: len(new)]),
        distribution.crps(y[: len(new)]),
        model.sample_y(new, 2),
        model.summary().to_numpy(float),
    ]
    assert all(np.isfinite(values).all() for values in outcomes), outcomes
    assert (model.coef_std_ > 0.0).all()
    assert (std > 0.0).all()
    quantiles = model.predict_quantiles(new, (1e-12, 0.5, 1.0 - 1e-12))
    assert (np.diff(quantiles, axis=1) >= 0.0).all()
    return model


NOISES = [("scaled", False), ("scaled", True), ("additive", True), ("known", True)]
MAKES = (Regressor, BayesianErrorsInVariablesRegressor)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(
    ("noise", "stated", "make"),
    [(*noise, make) for noise in NOISES for make in MAKES] + [("auto", True, MAKES[1])],
)
def test_no_table_makes_nan_or_a_warning_of_numpy(
    noise: str, stated: bool, standardize: bool, make: Callable[..., BayesianErrorsInVariablesRegressor]
) -> None:
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(5, 60))
    tables: dict[str, tuple[Array, Array]] = {
        "two rows": (X[:2], Y[:2]),
        "two rows, one value": (np.ones((2, 1)), np.zeros(2)),
        "more features than rows": (wide, Y[:5]),
        "constant target": (X, np.full(30, 0.1)),
        "no target": (X, np.zeros(30)),
        "no features": (0.0 * X, Y),
        "duplicates": (np.column_stack([X, X]), Y),
        "duplicated rows, no noise": (np.repeat(wide, 4, axis=0), np.repeat(Y[:5], 4)),
        "no noise": (np.round(8.0 * X), np.round(8.0 * X) @ [1.0, 2.0, 3.0]),
        "features 1e-140": (1e-140 * X, Y),
        "features 1e140": (1e140 * X, Y),
        "features 1e-140 and 1e140": (X * [1e-140, 1.0, 1e140], Y),
        "target 1e-140": (X, 1e-140 * Y),
        "target 1e140": (X, 1e140 * Y),
        "powers up to 40": (np.linspace(0.0, 50.0, 30)[:, None] ** np.arange(1, 41), Y),
    }
    for name, (table, y) in tables.items():
        given = {"y_err": np.full(len(y), 0.3)} if stated else {}
        model = make(noise=noise, standardize=standardize)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Ours, of doubtful results; all else, NumPy's RuntimeWarning above all, is an error.
            warnings.simplefilter("ignore", UserWarning)
            try:
                finite(model, table, y, **given)
            except Exception as error:
                raise AssertionError(f"{name}: {error!r}") from error


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("stated", [1e-90, 1e90, "1e-12 to 1e12", "1e-90 to 1e90", "one of 1e-90"])
@pytest.mark.parametrize("noise", ["scaled", "additive", "known", "auto"])
def test_no_errors_make_nan_or_a_warning_of_numpy(
    noise: str, stated: float | str, make: Callable[..., BayesianErrorsInVariablesRegressor]
) -> None:
    place = np.random.default_rng(4).uniform(-1.0, 1.0, 30)
    error = {
        "1e-12 to 1e12": 10.0 ** (12.0 * place),
        "1e-90 to 1e90": 10.0 ** (90.0 * place),
        "one of 1e-90": np.where(np.arange(30) == 3, 1e-90, 0.3),
    }.get(str(stated), np.full(30, stated if isinstance(stated, float) else np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        finite(make(noise=noise), X, Y, y_err=error)


@pytest.mark.parametrize("unit", [1e-310, 1e-160, 1e160, 1e300, 1e307])
def test_numbers_whose_squares_are_none_are_refused(unit: float) -> None:
    model = Regressor().fit(X, Y)
    before = model.coef_.copy()
    for table, y, name in ((X * unit, Y, "X"), (X, Y * unit, "y")):
        with pytest.raises(ValueError, match=f"{name} has numbers whose squares overflow or vanish"):
            model.fit(table, y)
    assert_array_equal(model.coef_, before)


@pytest.mark.parametrize(("apart", "left"), [(1e-11, 4), (1e-12, 3), (1e-13, 2)])
def test_collinear_flat_columns_are_warned_of_with_the_digits_that_are_left(apart: float, left: int) -> None:
    table = Table(collinear(apart), Y, E, **FLAT)
    model = estimator(table)
    with pytest.warns(ConvergenceWarning, match=rf"collinear but for .* about {left} digits"):
        model.fit(table.X, table.y, y_err=table.y_err)
    ours = digits({"coef": model.coef_, "coef_std": model.coef_std_}, solve(table))
    assert min(ours.values()) > left - 1.0


def test_collinear_flat_columns_without_digits_are_refused() -> None:
    table = Table(collinear(1e-15), Y, E, **FLAT)
    with pytest.raises(ValueError, match="constant or collinear"):
        estimator(table).fit(table.X, table.y, y_err=table.y_err)
    with pytest.raises(ValueError, match="constant or collinear"):
        Regressor(coef_prior=Flat()).fit(powers(25), Y)


def test_offsets_that_leave_few_digits_are_warned_of() -> None:
    for offset in (1e13, 1e15):
        with pytest.warns(UserWarning, match=r"digits? of how feature 'x1' varies, beside the offset"):
            Regressor().fit(X + np.array([0.0, offset, 0.0]), Y)
        with pytest.warns(UserWarning, match=r"2 digits of how y varies|no digits of how y varies"):
            Regressor(noise="known").fit(X, Y + offset, y_err=E)
    with (
        pytest.warns(UserWarning, match="y_err is smaller than the rounding of y"),
        pytest.warns(UserWarning, match="the stated errors do not explain"),
    ):
        Regressor(noise="known").fit(X, Y + 1e6, y_err=1e-12)
    # Warnings are errors here: neither an offset that leaves digits nor a constant column is doubtful.
    Regressor().fit(X + 1e9, Y + 1e9)
    Regressor().fit(np.column_stack([X, np.full(30, 0.1), np.full(30, 1e15)]), Y)


def test_a_noise_scale_beyond_double_precision_is_warned_of() -> None:
    model = Regressor(standardize=False, noise_prior=HalfNormal(1.0))
    with pytest.warns(ConvergenceWarning, match="can't tell how certain the noise scale is"):
        model.fit(X, 1e20 * Y)
    assert np.isfinite(model.log_marginal_likelihood_)
    with pytest.raises(ValueError, match="there is no leave-one-out"):
        model.loo(X, 1e20 * Y)


def test_leave_one_out_knows_its_rows_where_the_posterior_is_narrower_than_rounding() -> None:
    model = Regressor(weight_type="frequency").fit(X, Y, HEAVY)
    assert np.isfinite(model.loo_pit(X, Y, HEAVY)).all()
    with pytest.raises(ValueError, match="not the rows"):
        model.loo(X, Y + 1e-3 * X[:, 0], HEAVY)


# --- units ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Importance sampling is not to be trusted")
@pytest.mark.parametrize("kind", ["binomial", "beta_binomial", "student_t", "X_err"])
def test_units_that_are_powers_of_two_change_no_bit_of_importance_sampling(kind: str) -> None:
    given: dict[str, Any] = {}
    settings: dict[str, Any] = {"random_state": 0, "inference": "importance"}
    if kind == "X_err":
        table = noisy_features(60)
        features, y, given = table.X, table.y, {"X_err": table.X_err, "y_err": table.y_err}
    elif kind == "student_t":
        features, y, settings = X, Y, settings | {"likelihood": kind}
    else:
        table = shares(60)
        features, y, given = table.X, table.y, {"sample_weight": table.counts}
        settings |= {"likelihood": kind, "weight_type": "counts"}
    units = 2.0 ** np.linspace(-40.0, 40.0, features.shape[1])
    base = Regressor(**settings).fit(features, y, **given)
    if "X_err" in given:
        given["X_err"] = given["X_err"] * units
    other = Regressor(**settings).fit(features * units, y, **given)
    assert_array_equal(other.coef_ * units, base.coef_)
    assert_array_equal(other.coef_std_ * units, base.coef_std_)
    assert_array_equal(
        other.predict(features[:5] * units, return_std=True), base.predict(features[:5], return_std=True)
    )
    # And an offset of 1e6, whose rounding is 1e-10, changes next to nothing.
    if "X_err" in given:
        given["X_err"] = given["X_err"] / units
    far = Regressor(**settings).fit(features + 1e6, y, **given)
    assert_allclose(far.coef_, base.coef_, rtol=1e-7)


@pytest.mark.parametrize("likelihood", ["binomial", "beta_binomial"])
def test_counts_from_one_to_1e12(likelihood: str) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(60, 1))
    counts = np.floor(10.0 ** rng.uniform(0.0, 12.0, 60))
    p = 1.0 / (1.0 + np.exp(-(0.5 + 0.8 * x[:, 0] + 0.2 * rng.normal(size=60) * (likelihood != "binomial"))))
    y = np.rint(p * counts) / counts
    model = Regressor(likelihood=likelihood, weight_type="counts", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        model.set_params(inference="importance").fit(x, y, counts)
        mean, std = model.predict(x, return_std=True, counts=counts)
        quantiles = model.predict_quantiles(x, counts=counts)
    assert np.isfinite([*model.coef_, *model.coef_std_, *mean, *std, *quantiles.ravel()]).all()
    # Counts of 1e12 settle the binomial's line; with scatter of 0.2 sixty shares tell the slope to about 0.03.
    assert abs(model.coef_[0] - 0.8) < (1e-5 if likelihood == "binomial" else 0.15)


def test_separated_outcomes_are_refused_under_flat_priors_and_finite_under_normal_ones() -> None:
    x = np.linspace(-1.0, 1.0, 30)[:, None]
    y = (x[:, 0] > 0.0).astype(float)
    with pytest.raises(ValueError, match="separate successes from failures"):
        Regressor(likelihood="binomial", coef_prior=Flat()).fit(x, y)
    base = Regressor(likelihood="binomial", random_state=0).fit(x, y)
    assert np.isfinite([*base.coef_, *base.coef_std_]).all()
    for unit in (2.0**-40, 2.0**40):
        model = Regressor(likelihood="binomial", random_state=0).fit(x * unit, y)
        assert_array_equal(model.coef_ * unit, base.coef_)


# --- types of numbers ----------------------------------------------------------------------------


def test_types_keep_what_they_carry() -> None:
    whole = np.round(64.0 * X).astype(np.int64)
    base = Regressor().fit(whole.astype(float), Y)
    for table in (
        whole,
        whole.astype(np.int16),
        whole.astype(object),
        pd.DataFrame(whole),
        whole.astype(np.float32),
    ):
        model = Regressor().fit(table, Y)
        assert_allclose(model.coef_, base.coef_, rtol=1e-13)
        assert_allclose(model.coef_std_, base.coef_std_, rtol=1e-13)
    flags = X > 0.0
    assert_array_equal(Regressor().fit(flags, Y).coef_, Regressor().fit(flags.astype(float), Y).coef_)
    # A float32 table with an offset: differences are taken in doubles.
    single = (X + 1000.0).astype(np.float32)
    assert_allclose(
        Regressor().fit(single, Y).coef_, Regressor().fit(single.astype(float), Y).coef_, rtol=1e-13
    )
    # A float32 target, too, is what its values are in doubles.
    assert_array_equal(
        Regressor().fit(X, Y.astype(np.float32)).coef_,
        Regressor().fit(X, Y.astype(np.float32).astype(float)).coef_,
    )


def test_the_precise_answer_is_that_of_a_closed_form() -> None:
    # Flat coefficients and p(s) = 1 / s: Student's t, with the variance of least squares times (n - P) / (n - P - 2).
    table = Table(X, Y, **FLAT, log_noise_prior=lambda s: -mp.log(s))
    exact: Precise = solve(table)
    design = np.column_stack([np.ones(30), X])
    coef, rest, *_ = np.linalg.lstsq(design, Y, rcond=None)
    variance = rest[0] / (30 - 4 - 2) * np.diag(np.linalg.inv(design.T @ design))
    assert_allclose([float(v) for v in exact["coef"]], coef[1:], rtol=1e-12)
    assert_allclose([float(v) for v in exact["coef_std"]], np.sqrt(variance[1:]), rtol=1e-12)


def test_where_jacobi_does_not_converge_the_usual_decomposition_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graded = np.triu(np.random.default_rng(0).normal(size=(4, 4))) * [1.0, 1e6, 1e-6, 1.0]
    expected = given_scale._svd(graded)
    stopped = (*given_scale.dgejsv(graded, joba=2, jobp=0)[:-1], 1)
    monkeypatch.setattr(given_scale, "dgejsv", lambda *_, **__: stopped)
    left, singular, right = given_scale._svd(graded)
    np.testing.assert_allclose((left * singular) @ right, graded, atol=1e-14 * 1e6)
    assert not np.array_equal(singular, expected[1])


@pytest.mark.parametrize("weighted", [False, True])
def test_columns_that_are_nearly_collinear_keep_ten_digits(weighted: bool) -> None:
    """Powers of one feature up to the tenth, as in NIST's Filip: a hundred digits know the coefficients."""
    rng = np.random.default_rng(0)
    x = np.round(rng.uniform(-9.0, -3.0, 80), 6)
    X = np.column_stack([x**power for power in range(1, 11)])
    y = 0.8 + 0.1 * np.sin(x) + 0.003 * rng.normal(size=80)
    error = 2.0 ** rng.integers(-2, 3, 80) if weighted else np.ones(80)
    given = {"y_err": error, "sample_weight": 1.0 + np.arange(80) % 3} if weighted else {}
    with mp.workdps(100):
        weight = given.get("sample_weight", np.ones(80))
        root = np.array([mp.sqrt(mpf(value)) for value in weight]) / error
        rows = matrix((np.column_stack([np.ones(80), X]) * root[:, None]).tolist())
        expected = mp.lu_solve(rows.T * rows, rows.T * matrix((y * root).tolist()))
        expected = np.array([float(value) for value in expected])
    model = Regressor(coef_prior=Flat(), intercept_prior=Flat(), noise="scaled").fit(X, y, **given)
    assert_allclose(np.append(model.intercept_, model.coef_), expected, rtol=1e-9)


def test_wampler_s_first_polynomial_is_found_to_twelve_digits() -> None:
    """A certified regression of NIST's: all coefficients are 1 (Wampler 1970, J. Am. Stat. Assoc. 65:549-565)."""
    x = np.arange(21.0)
    X = np.column_stack([x**power for power in range(1, 6)])
    with pytest.warns(ConvergenceWarning, match="without error"):
        model = Regressor(coef_prior=Flat(), intercept_prior=Flat()).fit(X, 1.0 + X.sum(axis=1))
    assert_allclose(np.append(model.intercept_, model.coef_), 1.0, rtol=1e-12)
