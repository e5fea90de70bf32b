"""Fits batch by batch, and merged fits, are the fit of all rows."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import learning_curve

from bayes_sklearn import Flat, HalfNormal, Laplace, Mixture, Normal, StudentT
from bayes_sklearn.measurements.compressed import Rows, compress, merge
from bayes_sklearn.measurements.grouped import Sufficient
from bayes_sklearn.priors import CoefficientPrior

from agreement import assert_same
from data import measured, shares
from plain import Regressor

# The first rows say little: nothing bounds the noise, or there is no fit yet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The features fit the target without error"),
    pytest.mark.filterwarnings("ignore:Not fitted yet"),
    pytest.mark.filterwarnings("ignore:The stated errors look too small"),
    pytest.mark.filterwarnings("ignore:The errors of 'x"),
]

RNG = np.random.default_rng(0)
N = 60
KINDS = RNG.choice([0.5, 1.0, 2.0], N)
FREQUENCY = RNG.integers(0, 4, N).astype(float)
ORDER = RNG.permutation(N)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "errors not known": ({}, {}),
    "frequencies": ({"weight_type": "frequency"}, {"sample_weight": FREQUENCY}),
    "errors": ({}, {"y_err": measured().y_err, "sample_weight": FREQUENCY}),
    "one error": ({"noise": "additive"}, {"y_err": 0.3}),
    "known": ({"noise": "known"}, {"y_err": measured().y_err}),
    "additive": ({"noise": "additive"}, {"y_err": KINDS, "sample_weight": FREQUENCY}),
    "flat": ({"coef_prior": Flat(), "intercept_prior": Flat()}, {"y_err": measured().y_err}),
    "raw": ({"standardize": False}, {"y_err": measured().y_err}),
    "no intercept": ({"fit_intercept": False, "noise": "additive"}, {"y_err": KINDS}),
}
SPLITS = {
    "one row per batch": np.arange(1, N),
    "two": np.array([31]),
    "uneven": np.array([1, 3, 4, 30, 58]),
}


def batches(rows: np.ndarray, ends: np.ndarray, *tables: Any, **by_row: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of each batch, and the arguments that have one value per row."""
    for part in np.split(rows, ends):
        of_batch = {
            name: value[part] if np.ndim(value) == 1 and len(value) == N else value
            for name, value in by_row.items()
        }
        yield *(table.iloc[part] if hasattr(table, "iloc") else table[part] for table in tables), of_batch


def streamed(
    model: Regressor, ends: np.ndarray, X: Any, y: Any, rows: np.ndarray = ORDER, **by_row: Any
) -> Regressor:
    for batch_X, batch_y, of_batch in batches(rows, ends, X, y, **by_row):
        model.partial_fit(batch_X, batch_y, **of_batch)
    return model


@pytest.mark.filterwarnings("ignore:The data contradict coef_prior")
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("case", CASES)
def test_any_split_in_any_order_gives_the_fit_of_all_rows(case: str, split: str) -> None:
    X, y, _ = measured(N)
    parameters, by_row = CASES[case]
    model = Regressor(**parameters)
    assert_same(streamed(clone(model), SPLITS[split], X, y, **by_row), model.fit(X, y, **by_row), X)


@pytest.mark.parametrize("case", ["errors not known", "errors", "additive", "flat"])
def test_an_offset_costs_no_digits(case: str) -> None:
    X, y, _ = measured(N)
    # Numbers that are not rounded by the offset: the two tables are the same.
    X = np.round(X * 2.0**20) / 2.0**20
    far, parameters, by_row = X + np.array([1e9, 0.0, -1e9]), *CASES[case]
    whole = Regressor(**parameters).fit(far, y, **by_row)
    assert_same(streamed(Regressor(**parameters), SPLITS["one row per batch"], far, y, **by_row), whole, far)
    near = streamed(Regressor(**parameters), SPLITS["uneven"], X, y, **by_row)
    assert_allclose(near.coef_, whole.coef_, rtol=1e-9)
    assert_allclose(near.coef_std_, whole.coef_std_, rtol=1e-9)


@given(
    ends=st.lists(st.integers(1, N - 1), unique=True).map(sorted),
    rows=st.permutations(range(N)),
    case=st.sampled_from(["frequencies", "errors", "additive", "known"]),
)
@settings(max_examples=20, deadline=None)
def test_batches_make_the_same_state_as_one_pass(ends: list[int], rows: list[int], case: str) -> None:
    X, y, _ = measured(N)
    parameters, by_row = CASES[case]
    error = by_row.get("y_err")
    by_kind = parameters.get("noise") == "additive"

    def of(part: np.ndarray) -> Sufficient:
        frequency = FREQUENCY[part] if "sample_weight" in by_row else None
        return Sufficient.of(
            Rows(X[part], y[part], None, frequency), None if error is None else error[part], by_kind=by_kind
        )

    parts = [of(part) for part in np.split(np.array(rows), ends)]
    while len(parts) > 1:  # as a tree
        parts = [
            first.merged(second) for first, second in zip(parts[::2], parts[1::2], strict=False)
        ] + parts[len(parts) - len(parts) % 2 :]
    whole = of(np.arange(N))
    for found, wanted in [(parts[0].whole, whole.whole)] + [
        (parts[0].kinds[kind], state) for kind, state in (whole.kinds or {}).items()
    ]:
        expected = wanted.about(found.origin)
        gram = expected.T @ expected
        scale = np.sqrt(np.diag(gram))
        # The triangle's own first column, and the others without what the first row says of means.
        assert_allclose((found.factor.T @ found.factor - gram) / np.outer(scale, scale), 0.0, atol=1e-13)
        assert_allclose(found.mean + found.origin, wanted.mean + wanted.origin, rtol=1e-13)
        assert_allclose(found.standard_deviation, wanted.standard_deviation, rtol=1e-13)
        assert (found.total_weight, found.n_rows) == (wanted.total_weight, wanted.n_rows)
        assert_allclose(found.log_error, wanted.log_error, rtol=1e-12, atol=1e-12)


def test_ten_thousand_merges_keep_the_digits_that_exact_arithmetic_gives() -> None:
    rng = np.random.default_rng(1)
    values = np.round(rng.normal(size=(10_000, 2)) * 2.0**18) / 2.0**18
    values[:, 0] += 1e9
    state = None
    for row in values:
        one = compress(Rows(row[None, :1], row[1:]), 1.0)
        state = one if state is None else merge(state, one)
    assert state is not None
    exact = [[Fraction(value) for value in column] for column in values.T.tolist()]
    mean = [sum(column) / len(column) for column in exact]
    away = [[value - center for value in column] for column, center in zip(exact, mean, strict=True)]
    scatter = [[float(sum(a * b for a, b in zip(one, two, strict=True))) for two in away] for one in away]
    found = state.factor[1:, 1:].T @ state.factor[1:, 1:]
    assert_allclose(found, scatter, rtol=1e-11)
    assert_allclose(state.mean + state.origin, [float(center) for center in mean], rtol=1e-14)


@pytest.mark.parametrize("by_kind", [False, True])
def test_standing_rows_have_the_likelihood_of_all(by_kind: bool) -> None:
    X, y, _ = measured(N)
    rows = Rows(X, y, None, FREQUENCY)
    rows_of, error, state, typical = Sufficient.of(rows, KINDS, by_kind=by_kind).standing()
    assert_allclose(typical, np.sqrt(FREQUENCY @ KINDS**2 / FREQUENCY.sum()))

    def log_density(table: Rows, errors: Any, intercept: float, coef: np.ndarray, scatter: float) -> float:
        center = table.here(np.zeros(X.shape[1] + 1))
        residual = table.y - center[-1] - intercept - (table.X - center[:-1]) @ coef
        variance = np.square(np.broadcast_to(errors, len(table.y))) + scatter**2
        assert table.frequency is not None
        return float(-0.5 * table.frequency @ (np.log(variance) + residual**2 / variance))

    constant = 0.0 if by_kind else None
    for scatter in (0.0, 0.7) if by_kind else (0.0,):
        for coef in np.random.default_rng(2).normal(size=(5, X.shape[1])):
            wanted = log_density(rows, KINDS, 0.3, coef, scatter)
            found = log_density(rows_of, error, 0.3, coef, scatter)
            # Where errors are mere weights, their determinant is a constant that the state has.
            constant = wanted - found if constant is None else constant
            assert_allclose(found + constant, wanted, rtol=1e-12)
    assert state.n_rows == np.count_nonzero(FREQUENCY)


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_one_error_of_the_features_for_all_rows_streams(noise: str) -> None:
    X, y, _ = measured(N)
    model = Regressor(noise=noise, random_state=0)
    of_features = {"X_err": [0.05, 0.0, 2.0]}
    whole = clone(model).fit(X, y, y_err=KINDS, **of_features)
    found = streamed(model, SPLITS["two"], X, y, y_err=KINDS, **of_features)
    # Importance sampling finds its mode iteratively: to less than rounding.
    assert_same(found, whole, X, tolerance=1e-6)
    assert_allclose(found.reliability_, whole.reliability_, rtol=1e-6)
    assert_allclose(
        found.predict(X, X_err=[0.05, 0.0, 2.0], return_std=True),
        whole.predict(X, X_err=[0.05, 0.0, 2.0], return_std=True),
        rtol=1e-5,
    )


@pytest.mark.thorough
def test_nuts_streams() -> None:
    X, y, _ = measured(N, 2)
    model = Regressor(coef_prior=Laplace(), inference="nuts", random_state=0, draws=200, chains=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole = clone(model).fit(X, y, y_err=KINDS)
        found = streamed(model, SPLITS["two"], X, y, y_err=KINDS)
    assert found.inference_ == "nuts"
    # The sampler gets numbers that don't depend on how the rows came: the draws are the same.
    assert_allclose(found.coef_, whole.coef_, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:noise='known', but the stated errors")
@pytest.mark.parametrize("prior", [Laplace(), StudentT(nu=4), Laplace(b=HalfNormal())], ids=str)
@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_importance_sampling_streams(noise: str, prior: CoefficientPrior) -> None:
    """Its nodes are the same, up to floating-point rounding."""
    X, y, _ = measured(N)
    model = Regressor(coef_prior=prior, noise=noise, random_state=0)
    whole = clone(model).fit(X, y, y_err=KINDS)
    assert whole.inference_ == "importance"
    for split in SPLITS.values():
        found = streamed(clone(model), split, X, y, y_err=KINDS)
        assert found.inference_ == "importance"
        assert_same(found, whole, X, tolerance=1e-8)
    first, second = (clone(model).fit(X[i::2], y[i::2], y_err=KINDS[i::2]) for i in (0, 1))
    assert_same(first.merge(second), whole, X, tolerance=1e-8)


@pytest.mark.parametrize("count_column", [None, 2])
def test_errors_at_observed_shares_stream(count_column: int | None) -> None:
    X, y, counts = shares(N)
    counts[5] = 0.0
    model = Regressor(count_error="observed", error_floor=0.01, count_column=count_column)
    if count_column is None:
        model.set_params(weight_type="counts")
        by_row = {"sample_weight": counts}
    else:
        X, by_row = np.column_stack([X, counts]), {}
    whole = clone(model).fit(X, y, **by_row)
    for split in SPLITS.values():
        assert_same(streamed(clone(model), split, X, y, **by_row), whole, X)


def test_frames_stream_by_name() -> None:
    X, y, y_err = measured(N)
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(error=y_err)
    model = Regressor(y_err_column="error")
    whole = clone(model).fit(frame, y)
    found = streamed(model, SPLITS["uneven"], frame, pd.Series(y))
    assert_same(found, whole, frame)
    assert list(found.coef_names_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        found.partial_fit(frame[["b", "a", "c", "error"]], y)


def test_partial_fit_goes_on_from_fit_and_fit_begins_again() -> None:
    X, y, y_err = measured(N)
    whole = Regressor().fit(X, y, y_err=y_err)
    found = Regressor().fit(X[:20], y[:20], y_err=y_err[:20]).partial_fit(X[20:], y[20:], y_err=y_err[20:])
    assert_same(found, whole, X)
    again = found.fit(X[:20], y[:20], y_err=y_err[:20])
    assert_same(again, Regressor().fit(X[:20], y[:20], y_err=y_err[:20]), X)


@pytest.mark.filterwarnings("ignore:The data contradict coef_prior")
def test_priors_may_change_between_batches() -> None:
    X, y, _ = measured(N)
    model = Regressor(coef_prior=Normal(sigma=0.1)).partial_fit(X[:30], y[:30])
    model.set_params(coef_prior=Normal(sigma=2.0), standardize=False).partial_fit(X[30:], y[30:])
    assert_same(model, Regressor(coef_prior=Normal(sigma=2.0), standardize=False).fit(X, y), X)


def test_merged_fits_are_the_fit_of_all_rows() -> None:
    X, y, _ = measured(N)
    parts = [
        Regressor(noise="additive").fit(X[rows], y[rows], y_err=KINDS[rows])
        for rows in np.split(ORDER, [15, 40])
    ]
    before = [part.coef_.copy() for part in parts]
    found = parts[0].merge(*parts[1:])
    assert found is parts[0]
    assert_same(found, Regressor(noise="additive").fit(X, y, y_err=KINDS), X)
    assert_array_equal(parts[2].coef_, before[2])
    # And on it goes.
    found.partial_fit(X[:5], y[:5], y_err=KINDS[:5])
    rows = np.append(np.arange(N), np.arange(5))
    assert_same(found, Regressor(noise="additive").fit(X[rows], y[rows], y_err=KINDS[rows]), X)


def test_models_that_don_t_go_together_are_not_merged() -> None:
    X, y, y_err = measured(N)
    model = Regressor().fit(X, y)
    coef = model.coef_.copy()
    half = Regressor().fit(X[:, :2], y)
    errors = Regressor().fit(X, y, y_err=y_err)
    noisy = Regressor(random_state=0).fit(X, y, X_err=[0.01, 0.0, 0.0])
    for other, message in [
        (Regressor(), "model 1 to merge is not fitted"),
        (half, r"These rows have the columns \['x0', 'x1'\], those before \['x0', 'x1', 'x2'\]"),
        (errors, "no errors of y, and these come with standard errors"),
        (noisy, "errors of X are not those"),
        (Regressor(noise="additive").fit(X, y), "noise was 'additive'"),
        (Regressor(likelihood="student_t").fit(X, y), "can't be added to. .*StudentTLikelihood"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.merge(other)
        assert_array_equal(model.coef_, coef)
    with pytest.raises(TypeError, match="merge takes fitted models"):
        model.merge(1)
    with pytest.raises(ValueError, match="this model is not fitted"):
        Regressor().merge(model)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "likelihood": ({"likelihood": "student_t"}, {}, "density of every row is its own.*likelihood='normal'"),
    "fitted counts": (
        {"weight_type": "counts"},
        {"sample_weight": np.arange(2.0, 62.0)},
        "count_error='fitted'.*count_error='observed', bayes_sklearn.distributed.fit",
    ),
    "distinct errors": (
        {"noise": "additive"},
        {"y_err": np.linspace(1.0, 2.0, 80)},
        "more than 64 values.*Round y_err",
    ),
    "errors of X by row": (
        {"random_state": 0},
        {"X_err": np.linspace(0.01, 0.02, 240).reshape(80, 3)},
        "errors of X differ from row to row.*one X_err for all",
    ),
    "mixture": (
        {"x_distribution": Mixture(n_components=2), "random_state": 0},
        {"X_err": [0.05, 0.0, 0.0]},
        "x_distribution=Mixture.* needs every row",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:weight_type", "ignore:Importance", "ignore:inference")
def test_models_that_need_the_rows_themselves_say_so(case: str) -> None:
    parameters, by_row, message = REFUSED[case]
    X, y, _ = measured(80)
    by_row = {name: value[: len(y)] if name == "sample_weight" else value for name, value in by_row.items()}
    if case == "fitted counts":
        X, y, counts = shares(80)
        by_row = {"sample_weight": counts}
    model = Regressor(**parameters)
    always = case in ("likelihood", "fitted counts")
    assert hasattr(model, "partial_fit") is not always
    with pytest.raises(AttributeError if always else ValueError, match=message):
        model.partial_fit(X, y, **by_row)
    assert not hasattr(model, "n_features_in_")
    if case == "mixture":  # a fit takes seconds
        return
    fitted = clone(model).fit(X, y, **by_row)
    coef = fitted.coef_.copy()
    with pytest.raises(AttributeError, match=f"This fit can't be added to.*{message}"):
        fitted.partial_fit(X, y, **by_row)
    assert_array_equal(fitted.coef_, coef)


def test_kinds_of_errors_are_counted_over_all_batches() -> None:
    X, y, _ = measured(70)
    model = Regressor(noise="additive").partial_fit(X[:60], y[:60], y_err=np.arange(1.0, 61.0))
    coef = model.coef_.copy()
    with pytest.raises(ValueError, match="more than 64 values"):
        model.partial_fit(X[60:], y[60:], y_err=np.arange(61.0, 71.0))
    assert_array_equal(model.coef_, coef)
    model.partial_fit(X[60:], y[60:], y_err=np.arange(51.0, 61.0))
    errors = np.append(np.arange(1.0, 61.0), np.arange(51.0, 61.0))
    assert_same(model, Regressor(noise="additive").fit(X, y, y_err=errors), X)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"X": np.full((5, 3), np.nan)}, "NaN"),
        ({"X": np.ones((5, 2))}, "2 features"),
        ({"y": np.ones(4)}, "inconsistent"),
        ({"y_err": -1.0}, "y_err must be positive"),
        ({"y_err": None}, "standard errors of y, and these come with no errors"),
        ({"sample_weight": -np.ones(5)}, "sample_weight must be zero or positive"),
        ({"X_err": 0.1}, "errors of X are not those"),
        ({"X": np.full((5, 3), 1e200)}, "overflow"),
    ],
)
def test_a_batch_that_fails_leaves_everything_as_it_was(batch: dict[str, Any], message: str) -> None:
    X, y, y_err = measured(N)
    model = Regressor().partial_fit(X, y, y_err=y_err)
    before = dict(model.__dict__)
    arguments = {"X": X[:5], "y": y[:5], "y_err": 1.0, **batch}
    with pytest.raises(ValueError, match=message):
        model.partial_fit(**arguments)
    assert model.__dict__.keys() == before.keys()
    assert all(model.__dict__[name] is value for name, value in before.items())


def test_parameters_that_say_what_errors_are_may_not_change() -> None:
    X, y, _ = measured(N)
    model = Regressor().partial_fit(X, y, y_err=KINDS)
    with pytest.raises(ValueError, match=r"noise was 'scaled' for the rows seen before.*now it is 'known'"):
        model.set_params(noise="known").partial_fit(X, y, y_err=KINDS)
    model.set_params(noise="scaled").partial_fit(X, y, y_err=KINDS)


def test_auto_weights_are_settled_by_the_first_batch() -> None:
    X, y, counts = shares(N)
    model = Regressor(count_error="observed").partial_fit(X[:30], y[:30], counts[:30])
    assert model.weight_type_ == "counts"
    # All of one kind would be frequencies on their own; after counts they are counts.
    model.partial_fit(X[30:32], [0.0, 1.0], [7.0, 9.0])
    for target, weight, message in [
        (y[30:] + 2.0, counts[30:], r"y must be shares in \[0, 1\]"),
        (y[30:], counts[30:] + 0.5, "whole"),
        (y[30:], None, "came with counts, and these come without: give sample_weight"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X[30:], target, weight)
    model = Regressor(count_error="observed").partial_fit(X[:30], y[:30])
    assert model.weight_type_ == "frequency"
    with pytest.raises(ValueError, match=r"looks like counts behind shares.*settled by the first batch"):
        model.partial_fit(X[30:], y[30:], counts[30:])


def test_rows_that_can_t_be_counts_keep_later_ones_frequencies() -> None:
    X, y, _ = measured(N)
    model = Regressor().partial_fit(X, y, np.full(N, 2.0))
    # Rows that say nothing of it don't undo what others before them said.
    model.partial_fit(X[2:4], [0.0, 1.0], [1.0, 1.0])
    model.partial_fit(X[:2], [0.25, 0.5], [4.0, 8.0])
    rows = np.append(np.arange(N), [2, 3, 0, 1])
    target, weight = np.append(y, [0.0, 1.0, 0.25, 0.5]), np.append(np.full(N, 2.0), [1.0, 1.0, 4.0, 8.0])
    assert_same(model, Regressor().fit(X[rows], target, weight), X)


def test_batches_without_weight_add_nothing() -> None:
    X, y, _ = measured(N)
    nothing = np.zeros(3)
    model = Regressor(weight_type="frequency")
    with pytest.warns(UserWarning, match="Not fitted yet: of the rows so far 0 count"):
        model.partial_fit(X[:3] * 1e6, y[:3], nothing)
    model.partial_fit(X, y, np.ones(N)).partial_fit(X[:3] + 7.0, y[:3], nothing)
    assert_same(model, Regressor(weight_type="frequency").fit(X, y, np.ones(N)), X)


def test_rows_that_make_no_fit_yet_are_kept() -> None:
    X, y, _ = measured(N)
    model = Regressor(coef_prior=Flat())
    with pytest.warns(UserWarning, match="Not fitted yet: of the rows so far 1 count"):
        model.partial_fit(X[:1], y[:1])
    with pytest.warns(UserWarning, match="Not fitted yet: the posterior is improper"):
        model.partial_fit(X[1:2], y[1:2])
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.partial_fit(X[2:], y[2:])
    assert_same(model, Regressor(coef_prior=Flat()).fit(X, y), X)


def test_what_is_kept_does_not_grow_with_the_rows() -> None:
    sizes = []
    for n in (100, 10_000):
        X, y, y_err = measured(n)
        model = Regressor().partial_fit(X, y, y_err=y_err)
        fitted = Regressor(noise="additive").fit(X, y, y_err=np.resize(KINDS, n))
        sizes.append([len(pickle.dumps(one)) for one in (model, fitted)])
    # There may be twice as many nodes, not a hundred times.
    assert (np.array(sizes[1]) < 2.5 * np.array(sizes[0])).all()


def test_learning_curves_go_batch_by_batch() -> None:
    X, y, _ = measured(N)
    arguments = {"train_sizes": [0.4, 0.7, 1.0], "cv": 3}
    each = learning_curve(Regressor(), X, y, exploit_incremental_learning=True, **arguments)
    whole = learning_curve(Regressor(), X, y, **arguments)
    assert_allclose(each[2], whole[2], rtol=1e-9)
