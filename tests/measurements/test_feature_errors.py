"""Errors of features: in which forms they are given, and which are refused.

The engine samples, but the same numbers go into the same seed: the same errors give the same fit. Warnings are errors
in this suite.
"""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn.metrics import neg_crps_scorer

from dose import (
    FRAME,
    NAMES,
    ONE,
    ROUNDING,
    X_ERR,
    Y_ERR,
    N,
    P,
    X,
    Y,
    assert_same,
    fitted,
    monte_carlo_errors,
)
from plain import Regressor


def per_row(covariance: Any) -> np.ndarray:
    return np.broadcast_to(np.asarray(covariance, dtype=float), (N, P, P)).copy()


DIAGONAL = np.diag(ONE**2)
CELLS = np.tile(ONE, (N, 1))
FORMS: dict[str, dict[str, Any]] = {
    "a list": {"X_err": ONE.tolist()},
    "one per cell": {"X_err": CELLS},
    "a frame": {"X_err": pd.DataFrame(CELLS, columns=NAMES)},
    "a frame in another order": {"X_err": pd.DataFrame(CELLS, columns=NAMES)[NAMES[::-1]]},
    "a polars frame in another order": {"X_err": pl.DataFrame(CELLS, schema=NAMES).select(NAMES[::-1])},
    "a series in another order": {"X_err": pd.Series(ONE, NAMES)[NAMES[::-1]]},
    "a covariance": {"X_cov": DIAGONAL},
    "a covariance per row": {"X_cov": per_row(DIAGONAL)},
    "a covariance in another order": {
        "X_cov": pd.DataFrame(DIAGONAL, NAMES, NAMES).loc[NAMES[::-1], NAMES[::-1]]
    },
    "a covariance with its columns in another order": {
        "X_cov": pd.DataFrame(DIAGONAL, NAMES, NAMES)[NAMES[::-1]]
    },
    "a covariance with columns alone": {"X_cov": pd.DataFrame(DIAGONAL[::-1, ::-1], columns=NAMES[::-1])},
    "a polars covariance": {"X_cov": pl.DataFrame(DIAGONAL[::-1, ::-1], schema=NAMES[::-1])},
    "no correlation with y": {"X_err": ONE, "Xy_cov": np.zeros(P), "y_err": Y_ERR},
}


@pytest.mark.parametrize("name", FORMS)
def test_errors_are_the_same_in_every_form(name: str) -> None:
    form = dict(FORMS[name])
    given = {"y_err": Y_ERR} if "y_err" in form else {}
    assert_same(fitted(**form), fitted(X_err=ONE, **given))
    if "Xy_cov" not in form:
        model = fitted(X_err=ONE)
        assert_allclose(
            model.predict(FRAME, return_std=True, **form), model.predict(FRAME, return_std=True, X_err=ONE)
        )


@pytest.mark.parametrize(
    "form",
    [
        {"X_err": [0.5]},
        {"X_err": np.full(N, 0.5)},
        {"X_err": np.full((N, 1), 0.5)},
        {"X_cov": [[0.25]]},
        {"X_cov": np.full((N, 1, 1), 0.25)},
    ],
)
def test_errors_of_one_feature_may_be_one_number_or_one_a_row(form: dict[str, Any]) -> None:
    one = Regressor(random_state=0).fit(X[:, :1], Y, X_err=0.5)
    assert_same(Regressor(random_state=0).fit(X[:, :1], Y, **form), one)
    assert_allclose(
        one.predict(X[:, :1], return_std=True, **form), one.predict(X[:, :1], return_std=True, X_err=0.5)
    )


def test_one_number_is_the_error_of_every_feature() -> None:
    assert_same(fitted(X_err=0.3), fitted(X_err=[0.3, 0.3]))


def test_unequal_errors_align_by_name() -> None:
    errors = pd.DataFrame(X_ERR, columns=NAMES)
    assert_same(fitted(X_err=errors[NAMES[::-1]]), fitted(X_err=X_ERR))
    assert_same(fitted(X_cov=[np.diag(row**2) for row in X_ERR]), fitted(X_err=X_ERR))


def test_correlated_errors_align_by_name() -> None:
    covariance = np.array([[0.25, 0.06], [0.06, 0.04]])
    frame = pd.DataFrame(covariance, NAMES, NAMES)
    one = fitted(X_cov=covariance)
    assert_same(fitted(X_cov=frame.loc[NAMES[::-1], NAMES[::-1]]), one)
    assert_same(fitted(X_cov=per_row(covariance)), one)
    # And the correlation counts.
    assert monte_carlo_errors(fitted(X_err=np.sqrt(np.diag(covariance))), one).max() > 0.1


@pytest.mark.parametrize("none", [{"X_err": 0.0}, {"X_err": np.zeros((N, P))}, {"X_cov": np.zeros((P, P))}])
def test_errors_of_zero_are_none(none: dict[str, Any]) -> None:
    without, with_zero = fitted(), fitted(**none)
    assert with_zero.inference_ == "exact"
    assert vars(with_zero).keys() == vars(without).keys()
    for name, value in vars(without).items():
        if isinstance(value, np.ndarray):
            assert_array_equal(vars(with_zero)[name], value)
    assert not hasattr(with_zero, "reliability_")
    assert list(with_zero.summary()) == list(without.summary())
    assert_array_equal(
        with_zero.predict(FRAME, return_std=True, X_err=0.0), without.predict(FRAME, return_std=True)
    )


def test_a_refit_without_errors_leaves_nothing_of_them_behind() -> None:
    model = fitted(X_err=ONE)
    assert model.inference_ == "importance"
    assert not hasattr(model, "log_marginal_likelihood_")
    assert vars(model.fit(FRAME, Y)).keys() == vars(fitted()).keys()


def test_zeros_mark_exact_features() -> None:
    model = fitted(X_err=ONE)
    assert model.reliability_[1] == 1.0
    assert 0.5 < model.reliability_[0] < 0.95
    table = model.summary()
    assert list(table["reliability"].loc[NAMES]) == list(model.reliability_)
    assert table[["naive", "reliability"]].loc[["intercept", "noise_scale"]].isna().all(axis=None)
    assert_allclose(table["naive"].loc[NAMES], fitted().coef_, rtol=1e-9)
    # Attenuated is nearer to zero; here by about the reliability.
    assert table.loc["dose", "naive"] < 0.9 * table.loc["dose", "mean"]


def test_a_zero_in_some_rows_leaves_a_feature_noisy() -> None:
    errors = X_ERR.copy()
    errors[::2] = 0.0
    model = fitted(X_err=errors)
    assert model.inference_ == "importance"
    assert model.reliability_[0] < 1.0
    assert model.reliability_[1] == 1.0


def test_tiny_errors_change_nothing_but_the_engine() -> None:
    exact, tiny = fitted(), fitted(X_err=1e-6 * ONE)
    assert tiny.inference_ == "importance"
    assert monte_carlo_errors(tiny, exact).max() < 0.1
    assert_allclose(tiny.coef_std_, exact.coef_std_, rtol=0.1)
    assert_allclose(tiny.reliability_, 1.0, rtol=1e-9)


# Columns of X that hold errors.

ERRORS = {"dose_err": X_ERR[:, 0]}
TABLE = FRAME.assign(**ERRORS)
COLUMNS: dict[str, Any] = {
    "names": {"dose": "dose_err"},
    "positions": {0: 2},
    "positions from the end": {0: -1},
    "a name and a position": {"dose": 2},
    "a suffix": "_err",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_errors_in_columns_of_X_are_those_of_X_err(name: str) -> None:
    model = Regressor(error_columns=COLUMNS[name], random_state=0).fit(TABLE, Y)
    given = fitted(X_err=X_ERR)
    assert_same(model, given)
    assert list(model.coef_names_) == NAMES
    assert_allclose(
        model.predict(TABLE, return_std=True),
        given.predict(FRAME, return_std=True, X_err=X_ERR),
        rtol=ROUNDING,
    )
    assert_allclose(model.score(TABLE, Y), r2_score(Y, model.predict(TABLE)))


def test_error_columns_may_stand_anywhere_beside_counts_and_y_err() -> None:
    table = pd.DataFrame(
        {"dose_err": X_ERR[:, 0], "age": X[:, 1], "error": Y_ERR, "dose": X[:, 0], "age_err": 0.2}
    )
    model = Regressor(error_columns="_err", y_err_column="error", random_state=0).fit(table, Y)
    assert list(model.coef_names_) == ["age", "dose"]
    errors = table[["age_err", "dose_err"]].to_numpy()
    given = Regressor(random_state=0).fit(table[["age", "dose"]], Y, y_err=Y_ERR, X_err=errors)
    assert_same(model, given)
    by_position = Regressor(error_columns={1: 4, 3: 0}, y_err_column=2, random_state=0)
    assert_same(by_position.fit(table.to_numpy(), Y), model)


def test_one_column_may_hold_the_error_of_several_features() -> None:
    table = FRAME.assign(error=X_ERR[:, 0])
    model = Regressor(error_columns=dict.fromkeys(NAMES, "error"), random_state=0).fit(table, Y)
    assert_same(model, fitted(X_err=X_ERR[:, [0, 0]]))


CV = KFold(3, shuffle=True, random_state=0)


def test_a_suffix_passes_over_columns_that_other_settings_name() -> None:
    table = TABLE.assign(y_err=0.3)
    model = Regressor(error_columns="_err", y_err_column="y_err", random_state=0).fit(table, Y)
    other = Regressor(error_columns="_err", random_state=0).fit(TABLE, Y, y_err=0.3)
    np.testing.assert_array_equal(model.coef_names_, other.coef_names_)
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=1e-10)


def test_error_columns_are_split_and_scored_with_their_rows() -> None:
    model = Regressor(error_columns="_err", random_state=0)
    scored = cross_validate(model, TABLE, Y, cv=CV, scoring={"r2": "r2", "crps": neg_crps_scorer})
    r2, crps = [], []
    for train, test in CV.split(X):
        by_hand = Regressor(random_state=0).fit(X[train], Y[train], X_err=X_ERR[train])
        distribution = by_hand.predict_distribution(X[test], X_err=X_ERR[test])
        r2.append(r2_score(Y[test], distribution.mean()))
        crps.append(-distribution.crps(Y[test]).mean())
    assert_allclose(scored["test_r2"], r2, rtol=ROUNDING)
    assert_allclose(scored["test_crps"], crps, rtol=ROUNDING)


def test_a_search_carries_error_columns() -> None:
    search = GridSearchCV(
        Regressor(error_columns="_err", random_state=0), {"coef_prior__sigma": [0.01, 1.0]}, cv=CV
    ).fit(TABLE, Y)
    assert search.best_params_ == {"coef_prior__sigma": 1.0}
    assert_same(search.best_estimator_, fitted(X_err=X_ERR))


def test_a_pipeline_of_frames_carries_error_columns() -> None:
    scale_exact = make_column_transformer(
        (StandardScaler(), ["age"]), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    piped = make_pipeline(scale_exact, Regressor(error_columns="_err", random_state=0)).fit(TABLE, Y)
    direct = fitted(X_err=X_ERR)
    assert list(piped[-1].coef_names_) == ["age", "dose"]
    assert_allclose(piped[-1].coef_[::-1], direct.coef_ * [1.0, X[:, 1].std()], rtol=ROUNDING)
    assert_allclose(piped.predict(TABLE), direct.predict(FRAME, X_err=X_ERR), rtol=ROUNDING)


def test_errors_are_routed_without_being_asked_for() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_validate(
            make_pipeline(Regressor(random_state=0)),
            X,
            Y,
            cv=CV,
            params={"X_err": X_ERR},
            return_estimator=True,
        )
        piped = make_pipeline(Regressor(random_state=0)).fit(X, Y, X_err=X_ERR)
        answer = piped.predict(X, X_err=X_ERR)
    for (train, test), model, score in zip(
        CV.split(X), routed["estimator"], routed["test_score"], strict=True
    ):
        by_hand = Regressor(random_state=0).fit(X[train], Y[train], X_err=X_ERR[train])
        assert_same(model[-1], by_hand)
        assert_allclose(score, by_hand.score(X[test], Y[test]), rtol=ROUNDING)
    assert_allclose(answer, fitted(X_err=X_ERR).predict(FRAME, X_err=X_ERR), rtol=ROUNDING)


def test_a_fit_with_errors_can_be_cloned_and_pickled() -> None:
    model = Regressor(error_columns="_err", random_state=0).fit(TABLE, Y)
    assert repr(clone(model).get_params()) == repr(model.get_params())
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(TABLE), model.predict(TABLE))


# Bad input.

BAD: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...], type[Exception]]] = {}


def bad(
    name: str,
    data: dict[str, Any],
    *says: str,
    error: type[Exception] = ValueError,
    **parameters: Any,
) -> None:
    BAD[name] = (parameters, data, says, error)


def having(values: Any, value: float, *place: int) -> np.ndarray:
    changed = np.array(values, dtype=float)
    changed[place] = value
    return changed


for _value in (np.nan, np.inf, -np.inf):
    bad(f"X_err of {_value}", {"X_err": [_value, 0.0]}, "X_err", "Fill in")
    bad(f"one cell of X_err {_value}", {"X_err": having(X_ERR, _value, 3, 0)}, "X_err", "Fill in")
    bad(f"X_cov with {_value}", {"X_cov": having(DIAGONAL, _value, 0, 1)}, "X_cov", "Fill in")
    bad(
        f"Xy_cov with {_value}",
        {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": [_value, 0.0]},
        "Xy_cov",
        "Fill in",
    )
bad("both infinities", {"X_err": having(having(X_ERR, np.inf, 3, 0), -np.inf, 4, 0)}, "X_err", "Fill in")
bad("a negative error", {"X_err": [-0.5, 0.0]}, "X_err", "zero or positive", "mend")
bad("one negative cell", {"X_err": having(X_ERR, -0.1, 3, 0)}, "X_err", "zero or positive", r"\(3, 0\)")
bad("a negative variance", {"X_cov": np.diag([-0.25, 0.0])}, "X_cov", "negative variance", "signs")
bad("a variance a bit below zero", {"X_cov": np.diag([0.25, -1e-12])}, "X_cov", "negative variance", "signs")
bad(
    "one row's negative variance",
    {"X_cov": having(per_row(DIAGONAL), -0.1, 7, 0, 0)},
    "X_cov",
    "in row 7",
    "negative",
)
bad("correlation above one", {"X_cov": [[0.25, 0.3], [0.3, 0.25]]}, "X_cov", "negative eigenvalue", "at most")
bad("covariance of no variance", {"X_cov": [[0.25, 0.1], [0.1, 0.0]]}, "X_cov", "negative eigenvalue")
bad(
    "one row's correlation above one",
    {"X_cov": having(having(per_row(0.25 * np.eye(2)), 0.3, 5, 0, 1), 0.3, 5, 1, 0)},
    "X_cov",
    "in row 5",
    "negative eigenvalue",
)
bad("X_cov that is not symmetric", {"X_cov": [[0.25, 0.1], [-0.1, 0.25]]}, "X_cov", "symmetric", "transpose")
bad(
    "one row's X_cov that is not symmetric",
    {"X_cov": having(per_row(0.25 * np.eye(2)), 0.1, 9, 0, 1)},
    "X_cov",
    "symmetric in row 9",
)
for _shape in [(N,), (N, 1), (1, P), (P + 1,), (N, P, 1), (0,), (N - 1, P)]:
    bad(
        f"X_err of shape {_shape}",
        {"X_err": np.ones(_shape)},
        "X_err",
        re.escape(str(_shape)),
        "one per feature",
    )
for _shape in [(), (P,), (N, P), (N, P + 1, P + 1), (N - 1, P, P), (P, P, N)]:
    bad(
        f"X_cov of shape {_shape}",
        {"X_cov": np.ones(_shape)},
        "X_cov",
        re.escape(str(_shape)),
        r"\(2, 2\)",
        "X_err",
    )
for _shape in [(), (N,), (N, P, P), (P + 1,)]:
    bad(
        f"Xy_cov of shape {_shape}",
        {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": np.zeros(_shape)},
        "Xy_cov",
        re.escape(str(_shape)),
        "each feature",
    )
_KINDS: dict[str, Any] = {
    "words": "small",
    "a word a feature": ["small", "none"],
    "a complex number": [0.5j, 0.0],
    "complex objects": np.array([0.5j, 0.0], dtype=object),
    "a mapping": {"dose": 0.5},
    "ragged lists": [[0.1], [0.1, 0.2]],
    "dates": np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
    "a whole number too large": 10**400,
}
for _name, _kind in _KINDS.items():
    bad(f"X_err of {_name}", {"X_err": _kind}, "X_err", "real numbers", error=TypeError)
    bad(f"X_cov of {_name}", {"X_cov": _kind}, "X_cov", "real numbers", error=TypeError)
    bad(
        f"Xy_cov of {_name}",
        {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": _kind},
        "Xy_cov",
        "real numbers",
        error=TypeError,
    )
bad("Xy_cov without y_err", {"X_err": ONE, "Xy_cov": [0.1, 0.0]}, "Xy_cov", "give y_err")
bad("Xy_cov without X_err", {"y_err": Y_ERR, "Xy_cov": [0.1, 0.0]}, "Xy_cov", "give X_err or X_cov")
bad(
    "Xy_cov with errors of zero", {"X_err": 0.0, "y_err": Y_ERR, "Xy_cov": [0.1, 0.0]}, "Xy_cov", "give X_err"
)
bad(
    "Xy_cov of an exact feature",
    {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": [0.1, 0.1]},
    "Xy_cov",
    "'age'",
    "to 0",
)
bad("Xy_cov too large", {"X_err": ONE, "y_err": 0.2, "Xy_cov": [0.11, 0.0]}, "Xy_cov", "at most the product")
bad(
    "Xy_cov too large in one row",
    {"X_err": ONE, "y_err": having(np.full(N, 0.6), 0.1, 8), "Xy_cov": [0.2, 0.0]},
    "Xy_cov",
    "in row 8",
)
bad("X_err and X_cov", {"X_err": ONE, "X_cov": DIAGONAL}, "X_err and X_cov", "leave all but one out")
bad(
    "X_err and error_columns",
    {"X": TABLE, "X_err": ONE},
    "X_err and error_columns",
    "leave all but one out",
    error_columns="_err",
)
for _size in (1e101, 1e200, 1.7e308):
    bad(f"X_err of {_size}", {"X_err": [_size, 0.0]}, "X_err", "unit")
for _size in (1e201, 1.7e308):
    bad(f"X_cov of {_size}", {"X_cov": [[_size, 0.0], [0.0, 0.0]]}, "X_cov", "unit")
    bad(f"X_cov off by {_size}", {"X_cov": [[1.0, _size], [-_size, 1.0]]}, "X_cov", "unit")
    bad(f"Xy_cov of {_size}", {"X_err": ONE, "y_err": Y_ERR, "Xy_cov": [_size, 0.0]}, "Xy_cov", "unit")
bad("a covariance of tiny variances", {"X_cov": [[1e-250, 1e199], [1e199, 1e-250]]}, "X_cov", "eigenvalue")
bad(
    "Xy_cov of tiny errors",
    {"X_err": [1e-120, 0.0], "y_err": 1e-90, "Xy_cov": [1e199, 0.0]},
    "Xy_cov",
    "eigenvalue",
)
bad("X too large to square", {"X": FRAME * 1e200, "X_err": ONE}, r"\bX\b", "unit")
bad("X too small to square", {"X": FRAME * 1e-170, "X_err": ONE * 1e-170}, r"\bX\b", "unit")
bad("X_err with a column missing", {"X_err": FRAME[["dose"]].abs()}, "X_err", r"missing \['age'\]", "as in X")
bad(
    "X_err with other columns",
    {"X_err": FRAME.abs().rename(columns={"age": "aged"})},
    "X_err",
    r"missing \['age'\], unknown \['aged'\]",
)
bad("X_err of TABLE", {"X_err": TABLE.abs()}, "X_err", r"unknown \['dose_err'\]")
bad("X_err with a column twice", {"X_err": FRAME[["dose", "age", "age"]].abs()}, "X_err", "columns")
bad("X_cov with other columns", {"X_cov": pd.DataFrame(DIAGONAL, columns=["a", "b"])}, "X_cov", "unknown")
bad(
    "X_cov with other rows",
    {"X_cov": pd.DataFrame(DIAGONAL, ["a", "b"], NAMES)},
    "X_cov",
    "label them as its columns",
)
bad("no such engine for errors", {"X_err": ONE}, "inference='exact'", "errors in X", inference="exact")

_COLUMNS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "an error column that is missing": (
        {"dose": "dose_er"},
        TABLE,
        ("error_columns='dose_er'", "'dose_err'"),
    ),
    "a feature that is missing": ({"dos": "dose_err"}, TABLE, ("error_columns='dos'", "'dose'")),
    "an error column that was renamed": (
        {"dose": "dose_err"},
        TABLE.rename(columns={"dose_err": "remainder__dose_err"}),
        ("error_columns='dose_err'", "verbose_feature_names_out=False"),
    ),
    "a position beyond the last": ({0: 3}, TABLE, ("error_columns=3", "3 columns")),
    "a feature twice": ({"dose": "dose_err", 0: 1}, TABLE, ("error_columns", "'?dose'?.* twice|twice")),
    "an error column that is a feature": (
        {"dose": "age", "age": "dose_err"},
        TABLE,
        ("error_columns", "'age'", "no feature"),
    ),
    "a feature that is its own error": ({"dose": "dose"}, TABLE, ("error_columns", "'dose'", "no feature")),
    "names where X has none": ({"dose": "dose_err"}, TABLE.to_numpy(), ("error_columns", "data frame")),
    "a suffix where X has no names": ("_err", TABLE.to_numpy(), ("error_columns", "data frame", "positions")),
    "a suffix that no column has": ("_sd", TABLE, ("error_columns='_sd'", "no column", "dose_err")),
    "an empty suffix": ("", TABLE, ("error_columns=''", "no column")),
    "a suffix without its feature": (
        "_err",
        TABLE.rename(columns={"dose": "amount"}),
        ("error_columns='_err'", "'dose_err' has no feature 'dose'", "[Rr]ename"),
    ),
    "an error column that was centred": (
        "_err",
        TABLE.assign(dose_err=X_ERR[:, 0] - X_ERR[:, 0].mean()),
        ("error_columns", "positive", "centre"),
    ),
    "an error column too large": ("_err", TABLE.assign(dose_err=1e200), ("error_columns", "unit")),
}
for _name, (_setting, _table, _says) in _COLUMNS.items():
    bad(_name, {"X": _table}, *_says, error_columns=_setting)
bad("error_columns of a number", {"X": TABLE}, "error_columns", error=TypeError, error_columns=0.5)
bad("error_columns of a list", {"X": TABLE}, "error_columns", error=TypeError, error_columns=["dose_err"])
bad(
    "the same column for y_err",
    {"X": TABLE},
    "y_err_column and error_columns",
    "same column",
    error_columns="_err",
    y_err_column="dose_err",
)
bad("no feature left", {"X": TABLE[["dose_err"]]}, "error_columns", error_columns={0: 0})


def check_message(caught: Any, says: tuple[str, ...]) -> None:
    message = " ".join(str(caught.value).split())
    for pattern in says:
        assert re.search(pattern, message), f"{pattern!r} is not in {message!r}"


@pytest.fixture(scope="module")
def earlier() -> Regressor:
    return fitted(X_err=X_ERR)


@pytest.mark.parametrize("name", BAD)
def test_bad_errors_are_refused_with_argument_and_remedy_and_leave_an_earlier_fit_as_it_was(
    name: str, earlier: Regressor
) -> None:
    parameters, data, says, error = BAD[name]
    usual = earlier.get_params()
    before = dict(vars(earlier))
    predicted = earlier.predict(FRAME, return_std=True, X_err=X_ERR)
    earlier.set_params(**parameters)
    given = dict(vars(earlier))
    try:
        with pytest.raises(error) as caught:
            earlier.fit(**{"X": FRAME, "y": Y} | data)
        assert vars(earlier).keys() == given.keys()
        assert all(vars(earlier)[key] is given[key] for key in given)
    finally:
        earlier.set_params(**usual)
    check_message(caught, says)
    assert vars(earlier).keys() == before.keys()
    assert_array_equal(earlier.predict(FRAME, return_std=True, X_err=X_ERR), predicted)


BAD_NEW: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "errors of an exact feature": (
        {"X_err": 0.1},
        ValueError,
        ("'age'", "fitted without", "Fit with its errors"),
    ),
    "one error of an exact feature": (
        {"X_err": having(X_ERR, 0.1, 3, 1)},
        ValueError,
        ("'age'", "Fit with its errors"),
    ),
    "a covariance of an exact feature": ({"X_cov": np.eye(2)}, ValueError, ("'age'", "Fit with its errors")),
    "both": ({"X_err": ONE, "X_cov": DIAGONAL}, ValueError, ("X_err and X_cov", "leave all but one out")),
    "a negative error": ({"X_err": -ONE}, ValueError, ("X_err", "zero or positive")),
    "NaN": ({"X_err": ONE * np.nan}, ValueError, ("X_err", "Fill in")),
    "too few rows": ({"X_err": X_ERR[:-1]}, ValueError, ("X_err", "one per cell")),
    "words": ({"X_err": "_err"}, TypeError, ("X_err", "real numbers")),
    "too large": ({"X_err": ONE * 1e200}, ValueError, ("X_err", "unit")),
    "a covariance too large": ({"X_cov": DIAGONAL * 1e300}, ValueError, ("X_cov", "unit")),
    "an indefinite row": (
        {"X_cov": having(per_row(DIAGONAL), -0.2, 4, 0, 0)},
        ValueError,
        ("X_cov", "in row 4"),
    ),
    "another frame": ({"X_err": TABLE.abs()}, ValueError, ("X_err", "unknown")),
}


@pytest.mark.parametrize("name", BAD_NEW)
@pytest.mark.parametrize(
    "method", ["predict", "predict_interval", "predict_quantiles", "predict_distribution", "sample_y"]
)
def test_bad_errors_of_new_rows_are_refused_with_argument_and_remedy(
    name: str, method: str, earlier: Regressor
) -> None:
    data, error, says = BAD_NEW[name]
    before = dict(vars(earlier))
    with pytest.raises(error) as caught:
        getattr(earlier, method)(FRAME, **data)
    check_message(caught, says)
    assert vars(earlier).keys() == before.keys()
    assert all(vars(earlier)[key] is before[key] for key in before)


def test_errors_at_predict_of_a_model_fitted_without_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'dose'.*fitted without.*Fit with its errors"):
        fitted().predict(FRAME, X_err=ONE)
    model = Regressor(error_columns="_err", random_state=0).fit(TABLE, Y)
    with pytest.raises(ValueError, match="X_err and error_columns"):
        model.predict(TABLE, X_err=ONE)
    with pytest.raises(ValueError, match=r"error_columns.*positive.*centre"):
        model.predict(TABLE.assign(dose_err=-1.0))
    with pytest.raises(ValueError, match=r"dose_err"):
        model.predict(FRAME)
