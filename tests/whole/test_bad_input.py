"""Bad input is an error that names the argument and the remedy, and leaves an earlier fit as it was.

Warnings are errors in this suite, so that nothing from NumPy or LAPACK leaks out on the way either.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import BayesianErrorsInVariablesRegressorCV as RegressorCV
from bayes_sklearn.datasets import make_role_modeling
from bayes_sklearn.displays import RegressionLineDisplay
from bayes_sklearn.priors import Exponential, Flat, HalfCauchy, HalfNormal, HalfStudentT, InverseGamma, Normal

from data import shares

X, Y, COUNTS = shares(n=30)
N, P = X.shape
Y_ERR = np.full(N, 0.05)
FRAME = pd.DataFrame(X, columns=["centrality", "reciprocity"]).assign(messages=COUNTS, error=Y_ERR)


def having(values: Any, value: float, row: int = 3) -> Any:
    """Return a copy with one value replaced."""
    changed = np.array(values, dtype=np.float64)
    changed[(row,) if changed.ndim == 1 else (row, 0)] = value
    return changed


@dataclass(frozen=True)
class Bad:
    """One wrong call: what is given, and what the message has to say."""

    says: tuple[str, ...]
    """Patterns: the argument first, then the remedy."""
    parameters: dict[str, Any] = field(default_factory=dict)
    X: Any = field(default_factory=lambda: X)
    y: Any = field(default_factory=lambda: Y)
    data: dict[str, Any] = field(default_factory=dict)
    """sample_weight, y_err; at predict, counts and y_err."""
    error: type[Exception] | tuple[type[Exception], ...] = ValueError


COUNTED = {"weight_type": "counts"}
FREQUENCY = {"weight_type": "frequency"}
FINITE = r"NaN|infinity", r"[Dd]rop|[Ff]ill|impute"

LENGTHS = {
    "y too short": Bad((r"\by\b", "one .* row|same number|length"), y=Y[:-1]),
    "y of several columns": Bad(
        (r"\by\b", "two columns, .*successes and failures"), y=np.column_stack([Y, Y])
    ),
    "sample_weight too short": Bad(
        ("sample_weight", "one number per row"), data={"sample_weight": COUNTS[:-1]}
    ),
    "sample_weight of several columns": Bad(
        ("sample_weight", "one number per row"), data={"sample_weight": np.column_stack([COUNTS, COUNTS])}
    ),
    "y_err too long": Bad(("y_err", "one number per row"), data={"y_err": np.append(Y_ERR, 1.0)}),
    "y_err of several columns": Bad(("y_err", "one number per row"), data={"y_err": np.ones((N, 2))}),
    "one row": Bad((r"1 sample", "minimum of 2|2 rows"), X=X[:1], y=Y[:1]),
    "no rows": Bad((r"0 sample", "minimum of 2|2 rows"), X=X[:0], y=Y[:0]),
    "no columns": Bad((r"0 feature", "minimum of 1"), X=X[:, :0]),
    "X of one dimension": Bad((r"2D array", "[Rr]eshape"), X=X[:, 0]),
}

NOT_FINITE = {
    f"{name} has {value}": bad
    for value in (np.nan, np.inf, -np.inf)
    for name, bad in {
        "X": Bad((r"\bX\b", *FINITE), X=having(X, value)),
        "y": Bad((r"\by\b", *FINITE), y=having(Y, value)),
        "sample_weight": Bad(("sample_weight", *FINITE), data={"sample_weight": having(COUNTS, value)}),
        "counts": Bad(("sample_weight", *FINITE), COUNTED, data={"sample_weight": having(COUNTS, value)}),
        "y_err": Bad(("y_err", *FINITE), data={"y_err": having(Y_ERR, value)}),
        "y_err for all": Bad(("y_err", *FINITE), data={"y_err": value}),
        "count_column": Bad(
            (r"\bX\b|count_column", *FINITE),
            {"count_column": 2},
            X=np.column_stack([X, having(COUNTS, value)]),
        ),
        "y_err_column": Bad(
            (r"\bX\b|y_err_column", *FINITE),
            {"y_err_column": 2},
            X=np.column_stack([X, having(Y_ERR, value)]),
        ),
    }.items()
}
NOT_FINITE["sample_weight has both infinities"] = Bad(
    ("sample_weight", *FINITE), data={"sample_weight": having(having(COUNTS, np.inf), -np.inf, row=4)}
)
NOT_FINITE["y_err has both infinities"] = Bad(
    ("y_err", *FINITE), data={"y_err": having(having(Y_ERR, np.inf), -np.inf, row=4)}
)

NO_NUMBERS = {
    "sample_weight of words": Bad(
        ("sample_weight", "numbers"), data={"sample_weight": ["many"] * N}, error=TypeError
    ),
    "y_err of words": Bad(("y_err", "numbers"), data={"y_err": "small"}, error=TypeError),
    "y_err of a mapping": Bad(("y_err", "numbers"), data={"y_err": {"a": 1.0}}, error=TypeError),
    "y_err ragged": Bad(("y_err", "numbers"), data={"y_err": [[0.1], [0.1, 0.2]]}, error=TypeError),
}

WEIGHTS = {
    "a negative weight": Bad(
        ("sample_weight", "zero or positive"), FREQUENCY, data={"sample_weight": having(COUNTS, -1.0)}
    ),
    "a negative count": Bad(
        ("sample_weight", "zero or positive"), COUNTED, data={"sample_weight": having(COUNTS, -1.0)}
    ),
    "all weights zero": Bad(("sample_weight", "zero in every row"), data={"sample_weight": np.zeros(N)}),
    "one weight of zero for all": Bad(("sample_weight", "zero in every row"), data={"sample_weight": 0.0}),
    "all counts zero": Bad(
        ("sample_weight", "zero in every row"), COUNTED, data={"sample_weight": np.zeros(N)}
    ),
    "no weight where a count is": Bad(
        ("sample_weight", "positive count"),
        {"count_column": 2},
        X=np.column_stack([X, np.arange(N) % 2]),
        data={"sample_weight": 1.0 - np.arange(N) % 2},
    ),
    "all counts in a column zero": Bad(
        ("count_column", "zero in every row"), {"count_column": 2}, X=np.column_stack([X, np.zeros(N)])
    ),
    "counts with a target above 1": Bad(
        (r"weight_type='counts'.*\by\b", r"\[0, 1\].*frequency"),
        COUNTED,
        y=having(Y, 1.01),
        data={"sample_weight": COUNTS},
    ),
    "counts with a target below 0": Bad(
        (r"weight_type='counts'.*\by\b", r"\[0, 1\].*numbers of successes by the counts"),
        COUNTED,
        y=having(Y, -0.01),
        data={"sample_weight": COUNTS},
    ),
    "a count column with a target above 1": Bad(
        (r"count_column.*\by\b", r"\[0, 1\]"), {"count_column": "messages"}, X=FRAME, y=100.0 * Y
    ),
    "counts below one": Bad(
        ("weight_type='counts'", "one and more.*frequency"),
        COUNTED,
        data={"sample_weight": having(COUNTS, 0.5)},
    ),
    "a count column that was scaled": Bad(
        ("count_column", "one and more.*scaled"),
        {"count_column": 2},
        X=np.column_stack([X, COUNTS / COUNTS.max()]),
    ),
    "a count column that was centred": Bad(
        ("count_column", "positive.*(scale|centre)"),
        {"count_column": 2},
        X=np.column_stack([X, COUNTS - COUNTS.mean()]),
    ),
}

ERRORS = {
    "y_err with counts": Bad(
        ("y_err", "sample_weight.*one of them.*frequency"),
        COUNTED,
        data={"sample_weight": COUNTS, "y_err": Y_ERR},
    ),
    "y_err with a count column": Bad(
        ("y_err and count_column", "the one"), {"count_column": "messages"}, X=FRAME, data={"y_err": Y_ERR}
    ),
    "y_err with a column of it": Bad(
        ("y_err and y_err_column", "leave one out"), {"y_err_column": "error"}, X=FRAME, data={"y_err": Y_ERR}
    ),
    "both columns": Bad(
        ("y_err_column and count_column", "the one"),
        {"y_err_column": "error", "count_column": "messages"},
        X=FRAME,
    ),
    "counts with a count column": Bad(
        ("sample_weight.*count_column", "one of them.*frequency"),
        {"count_column": "messages", "weight_type": "counts"},
        X=FRAME,
        data={"sample_weight": COUNTS},
    ),
    "an error of zero": Bad(("y_err", "positive"), {"noise": "scaled"}, data={"y_err": having(Y_ERR, 0.0)}),
    "a negative error": Bad(("y_err", "positive"), data={"y_err": having(Y_ERR, -0.1)}),
    "one error of zero for all": Bad(("y_err", "positive"), data={"y_err": 0.0}),
    "an error of zero in a column": Bad(
        ("y_err_column", "positive"),
        {"y_err_column": 2, "noise": "known"},
        X=np.column_stack([X, having(Y_ERR, 0.0)]),
    ),
    "a column of errors that was centred": Bad(
        ("y_err_column", "positive.*(scale|centre)"),
        {"y_err_column": 2},
        X=np.column_stack([X, np.linspace(-1.0, 1.0, N)]),
    ),
    "noise known without errors": Bad(
        ("noise='known'", "y_err.*count.*noise='scaled'"), {"noise": "known"}, y=Y + 1.0
    ),
    "errors too small to square": Bad(("y_err", "unit|scale"), data={"y_err": having(Y_ERR, 1e-200)}),
    "errors too large to square": Bad(("y_err", "unit|scale"), data={"y_err": having(Y_ERR, 1e200)}),
}

COLUMNS = {
    "a column that is missing": Bad(
        ("count_column='mesages'", "'messages'"), {"count_column": "mesages"}, X=FRAME
    ),
    "a column of another name altogether": Bad(
        ("y_err_column='zzz'", "'centrality', 'reciprocity', 'messages', 'error'"),
        {"y_err_column": "zzz"},
        X=FRAME,
    ),
    "a column that is missing, beside one of text": Bad(
        ("count_column='mesages' is not a column", "'messages'"),
        {"count_column": "mesages"},
        X=FRAME.assign(centrality="a"),
    ),
    "a column of errors that is missing, beside one of text": Bad(
        ("error_columns='eror' is not a column", "'error'"),
        {"error_columns": {"reciprocity": "eror"}},
        X=FRAME.assign(centrality="a"),
    ),
    "a column of text, where none is missing": Bad(
        ("X must be a table of real numbers", "column 'centrality'"),
        {"count_column": "messages"},
        X=FRAME.assign(centrality="a"),
    ),
    "a column that a ColumnTransformer renamed": Bad(
        ("count_column='messages'", "'remainder__messages'.*verbose_feature_names_out=False"),
        {"count_column": "messages"},
        X=FRAME.rename(columns={"messages": "remainder__messages"}),
    ),
    "a name where columns have none": Bad(
        ("count_column='messages'", "data frame.*position"), {"count_column": "messages"}
    ),
    "a position beyond the last": Bad(("count_column=7", "2 columns"), {"count_column": 7}),
    "one column named twice": Bad(
        ("count_column and y_err_column", "same column"),
        {"count_column": "messages", "y_err_column": "messages"},
        X=FRAME,
    ),
    "one column named by name and by position": Bad(
        ("count_column and y_err_column", "same column"),
        {"count_column": "messages", "y_err_column": -2},
        X=FRAME,
    ),
    "no feature left": Bad(
        ("fit_intercept", "no features"), {"count_column": 0, "fit_intercept": False}, X=COUNTS[:, None]
    ),
}

SETTINGS = {
    f"{name}={value!r}": Bad((f"'{name}'", "must be"), {name: value})
    for name, value in [
        ("noise", "scale"),
        ("noise", None),
        ("weight_type", "count"),
        ("count_error", "fit"),
        ("inference", "mcmc"),
        ("error_floor", -0.1),
        ("error_floor", np.nan),
        ("error_floor", np.inf),
        ("error_floor", "0"),
        ("standardize", "no"),
        ("fit_intercept", "yes"),
        ("random_state", "seed"),
    ]
}

WRONG_KIND = {
    f"{name}={prior!r}": Bad((name, remedy), {name: prior}, error=TypeError)
    for name, prior, remedy in [
        ("coef_prior", HalfNormal(), r"Normal\(\) or Flat\(\)"),
        ("coef_prior", "normal", r"Normal\(\) or Flat\(\)"),
        ("coef_prior", 1.0, r"Normal\(\) or Flat\(\)"),
        ("coef_prior", Normal, r"Normal\(\)"),
        ("intercept_prior", InverseGamma(), r"Normal\(\) or Flat\(\)"),
        ("intercept_prior", Flat, r"Flat\(\)"),
        ("noise_prior", Normal(), r"HalfNormal\(\)"),
        ("noise_prior", "half-normal", r"HalfNormal\(\)"),
        ("noise_prior", HalfNormal, r"HalfNormal\(\)"),
    ]
}

PRIOR_PARAMETERS = {
    f"{role}={prior!r}": Bad((says, remedy), {role: prior}, error=error)
    for role, prior, says, remedy, error in [
        (
            "coef_prior",
            Normal(sigma=[1.0, 2.0, 3.0]),
            "coef_prior__sigma",
            "2 features.*one per feature",
            ValueError,
        ),
        ("coef_prior", Normal(mu=np.zeros((1, P))), "coef_prior__mu", "one per feature", ValueError),
        ("coef_prior", Normal(sigma=0.0), "coef_prior__sigma", "positive", ValueError),
        ("coef_prior", Normal(sigma=[1.0, -1.0]), "coef_prior__sigma", "positive", ValueError),
        ("coef_prior", Normal(sigma=np.inf), "coef_prior__sigma", r"Flat\(\)", ValueError),
        ("coef_prior", Normal(mu=np.nan), "coef_prior__mu", "finite", ValueError),
        ("coef_prior", Normal(sigma="wide"), "coef_prior__sigma", "number", TypeError),
        ("coef_prior", Normal(sigma="1.0"), "coef_prior__sigma", "number", TypeError),
        ("coef_prior", Normal(sigma=None), "coef_prior__sigma", "number|finite", (TypeError, ValueError)),
        ("intercept_prior", Normal(mu=[0.0, 0.0]), "intercept_prior__mu", "one number", ValueError),
        ("noise_prior", HalfNormal(sigma=-1.0), "noise_prior__sigma", "positive", ValueError),
        ("noise_prior", HalfNormal(sigma=[1.0, 1.0]), "noise_prior__sigma", "one number", ValueError),
        ("noise_prior", HalfNormal(sigma="1.0"), "noise_prior__sigma", "number", TypeError),
        ("noise_prior", HalfStudentT(nu=0.0), "noise_prior__nu", "positive", ValueError),
        (
            "noise_prior",
            HalfStudentT(nu=[4.0]),
            "noise_prior__nu",
            "one number|a number",
            (TypeError, ValueError),
        ),
        ("noise_prior", HalfCauchy(beta=np.inf), "noise_prior__beta", "finite", ValueError),
        ("noise_prior", Exponential(lam=0.0), "noise_prior__lam", "positive", ValueError),
        ("noise_prior", InverseGamma(alpha=-2.0), "noise_prior__alpha", "positive", ValueError),
        (
            "noise_prior",
            InverseGamma(alpha=[2.0]),
            "noise_prior__alpha",
            "one number|a number",
            (TypeError, ValueError),
        ),
    ]
}

COLLINEAR = np.column_stack([X, X.sum(axis=1)])
IMPROPER = {
    "flat coefficients of collinear columns": Bad(
        ("improper", "collinear.*(Normal|drop)"), {"coef_prior": Flat()}, X=COLLINEAR
    ),
    "flat coefficients of a constant column": Bad(
        ("improper", "constant.*(Normal|drop)"), {"coef_prior": Flat()}, X=np.column_stack([X, np.ones(N)])
    ),
    "fewer rows than flat coefficients": Bad(
        ("improper", "2 rows do not determine 4 coefficients.*Normal"),
        {"coef_prior": Flat(), "intercept_prior": Flat()},
        X=COLLINEAR[:2],
        y=Y[:2],
    ),
    "a flat noise scale with as many rows as flat coefficients": Bad(
        ("noise_prior=Flat", "HalfNormal"),
        {"coef_prior": Flat(), "intercept_prior": Flat(), "noise_prior": Flat()},
        X=X[:3],
        y=Y[:3],
    ),
}

TABLES = {
    "X of words": Bad((r"\bX\b", "table of real numbers"), X=np.full((N, P), "word")),
    "X with a column of labels": Bad(
        (r"^X must be a table of .*: the column 'city': got the text 'Graz' in row 0", "group_column"),
        X=pd.DataFrame(X, columns=[f"x{i}" for i in range(P)]).assign(city="Graz"),
    ),
    "y of percentages": Bad(
        (r"^y must be one real number per row: got the text '3.1%' in row 0. Turn it",), y=np.full(N, "3.1%")
    ),
    "y_err without those of limits": Bad(
        ("y_err", "first in row 0", "A limit .* has the error of a reading there"),
        data={"y_err": [np.nan, *Y_ERR[1:]], "y_censored": [-1] + [0] * (N - 1)},
    ),
    "X of three dimensions": Bad((r"\bX\b", "dim 3"), X=X[:, :, None]),
    "X masked": Bad((r"\bX\b", "masked.*[Dd]rop"), X=np.ma.MaskedArray(X, mask=X > 0.9)),
    "X too large a number": Bad((r"\bX\b", "real numbers"), X=np.full((N, P), 10**400, dtype=object)),
    "y of words": Bad((r"\by\b", "one real number per row"), y=np.full(N, "word")),
    "y masked": Bad((r"\by\b", "masked"), y=np.ma.MaskedArray(Y, mask=Y > 0.3)),
    "y nowhere": Bad(("requires y to be passed",), y=None),
    "sample_weight masked": Bad(
        ("sample_weight", "real numbers", r"row \d+ is masked"),
        data={"sample_weight": np.ma.MaskedArray(COUNTS, mask=COUNTS > 5)},
        error=TypeError,
    ),
    "y_err too large a number": Bad(
        ("y_err", "real numbers"), data={"y_err": [10**400] * N}, error=TypeError
    ),
    "X_err masked": Bad(
        ("X_err", "real numbers", r"row \d+ is masked"),
        data={"X_err": np.ma.MaskedArray(np.full((N, P), 0.1), mask=X > 0.9)},
        error=TypeError,
    ),
    "a column that two bear the name of": Bad(
        ("several columns.*rename|X.*unique column names",),  # the latter scikit-learn's
        {"count_column": "messages"},
        X=pd.concat([FRAME, FRAME[["messages"]]], axis=1),
    ),
    "a column that is neither name nor position": Bad(
        ("count_column", "name or its position"), {"count_column": Y_ERR}, X=FRAME, error=TypeError
    ),
    "a date among floats": Bad(
        (r"\bX\b", "column 'when'", "dates"),
        X=pd.DataFrame(X[:, :2], columns=["a", "b"]).assign(when=pd.Timestamp("2024-03-01")),
        error=TypeError,
    ),
    "a word in a column": Bad(
        (r"\bX\b", "column 'city'", "'Ulm' in row 0"), X=pd.DataFrame({"a": X[:, 0], "city": "Ulm"})
    ),
    "NaN in a column of X": Bad(
        ("X contains NaN", "row 3 of the column 'b'", "Drop"),
        X=pd.DataFrame(having(X[:, :2], np.nan), columns=["b", "a"]),
    ),
    "NaN in the column of counts": Bad(
        ("X contains NaN", r"row 3 of the column 'messages' \(count_column\)"),
        {"count_column": "messages"},
        X=FRAME.assign(messages=having(np.asarray(FRAME["messages"], dtype=float), np.nan)),
    ),
    "NaN in the column of errors": Bad(
        ("X contains NaN", r"row 3 of the column 1 \(y_err_column\)"),
        {"y_err_column": 1 - P},
        X=np.column_stack([X[:, 0], having(X[:, 1], np.nan), X[:, 2:]]),
    ),
    "sparse X": Bad(("[Ss]parse", "sparse_output=False"), X=csr_matrix(X), error=TypeError),
    "counts of 20,000 words": Bad(
        ("sample_weight", "real numbers", "the text '12' in row 0"),
        {"weight_type": "counts"},
        X=np.arange(20_000.0)[:, None],
        y=np.zeros(20_000),
        data={"sample_weight": ["12"] * 20_000},
        error=TypeError,
    ),
    "one masked of 500 errors": Bad(
        ("y_err", "real numbers", "row 77 is masked"),
        X=np.arange(500.0)[:, None],
        y=np.arange(500.0),
        data={"y_err": np.ma.MaskedArray(np.ones(500), mask=np.arange(500) == 77)},
        error=TypeError,
    ),
    "a column's name of a thousand letters": Bad(("count_column",), {"count_column": "n" * 1000}, X=FRAME),
    "no such column of a thousand": Bad(
        ("count_column", "not a column of X"),
        {"count_column": "zzz"},
        X=pd.DataFrame(
            np.tile(X[:, :1], (1, 1000)), columns=[f"a long column's name {i}" for i in range(1000)]
        ),
    ),
    "a suffix of no column of a thousand": Bad(
        ("error_columns", "ends with it"),
        {"error_columns": "_zzz"},
        X=pd.DataFrame(
            np.tile(X[:, :1], (1, 1000)), columns=[f"a long column's name {i}" for i in range(1000)]
        ),
    ),
    "a setting of a thousand letters": Bad(("noise",), {"noise": "n" * 1000}),
    "a prior of a thousand numbers": Bad(
        ("coef_prior",), {"coef_prior": Normal(sigma=[*np.ones(999), np.nan])}, X=np.tile(X[:, :1], (1, 1000))
    ),
    "a column by truth": Bad(
        ("y_err_column", "name or its position"), {"y_err_column": True}, error=TypeError
    ),
}

SIDES = np.zeros((N, P))
SIDES[:9, 0] = -1.0
LIMITS_OF_READINGS = {
    f"X_censored {name}": Bad(("X_censored", says), data={"X_censored": given}, error=error)
    for name, given, says, error in (
        ("of booleans", SIDES != 0.0, "booleans, which don't say on which side", TypeError),
        ("of words", np.full((N, P), "<"), "real numbers", TypeError),
        ("of two", 2.0 * SIDES, "it is -2 in row 0 of 'x0'", ValueError),
        ("NaN", np.where(SIDES, np.nan, 0.0), "it is nan in row 0 of 'x0'", ValueError),
        ("too short", SIDES[:-1], f"there are {N} rows and {P} features", ValueError),
        ("one per row", SIDES[:, 0], "one number per cell", ValueError),
        ("one per feature", [-1, 0], "one number per cell", ValueError),
        ("of all readings", np.ones((N, 1)) * [-1.0, 0.0], "less than two values that were meas", ValueError),
        ("of other names", pd.DataFrame(SIDES, columns=["u", "v"]), r"missing \['x0', 'x1'\]", ValueError),
    )
} | {
    "X_censored under nuts": Bad(
        ("inference='nuts'", "X_censored"), {"inference": "nuts"}, data={"X_censored": SIDES}
    ),
    "X_censored of what is NaN": Bad(
        ("X_censored", "where X is NaN: X has to be the limit"),
        {"missing": "model"},
        X=having(X, np.nan),
        data={"X_censored": SIDES},
    ),
    "X_censored of three readings of a row": Bad(
        ("X_censored", "more than two readings of row 0", "leave these rows out"),
        X=np.column_stack([X, X[:, 0] ** 2]),
        data={"X_censored": np.column_stack([SIDES, SIDES])[:, [0, 0, 0]]},
    ),
}

BAD_FITS = (
    LENGTHS
    | NOT_FINITE
    | NO_NUMBERS
    | WEIGHTS
    | ERRORS
    | COLUMNS
    | SETTINGS
    | WRONG_KIND
    | PRIOR_PARAMETERS
    | IMPROPER
    | TABLES
    | LIMITS_OF_READINGS
)


def check(bad: Bad, call: Callable[[], Any]) -> None:
    """Check that a call fails as it should."""
    with pytest.raises(bad.error) as caught:
        call()
    assert len(str(caught.value)) <= 400
    message = " ".join(str(caught.value).split())
    for pattern in bad.says:
        assert re.search(pattern, message), f"{pattern!r} is not in {message!r}"


def fitted_state(model: Regressor) -> dict[str, Any]:
    """Return every attribute but the parameters, by identity."""
    parameters = model.get_params(deep=False)
    return {name: value for name, value in vars(model).items() if name not in parameters}


def predictions(model: Regressor) -> list[np.ndarray]:
    return [
        *model.predict(X, return_std=True, counts=COUNTS),
        model.sample_y(X, 2),
        model.summary().to_numpy(),
    ]


@pytest.mark.parametrize("name", BAD_FITS)
def test_a_bad_fit_is_refused_with_argument_and_remedy_and_leaves_an_earlier_fit_as_it_was(name: str) -> None:
    bad = BAD_FITS[name]
    model = Regressor(weight_type="counts", random_state=0).fit(X, Y, COUNTS)
    usual = model.get_params()
    before, predicted = fitted_state(model), predictions(model)
    copies = {key: value.copy() for key, value in before.items() if isinstance(value, np.ndarray)}
    model.set_params(**{"weight_type": "auto"} | bad.parameters)
    given = model.get_params(deep=False)

    check(bad, lambda: model.fit(bad.X, bad.y, **bad.data))

    assert all(model.get_params(deep=False)[key] is value for key, value in given.items())
    model.set_params(**usual)
    after = fitted_state(model)
    assert after.keys() == before.keys()
    assert all(after[key] is before[key] for key in before)
    assert all(np.array_equal(after[key], copies[key]) for key in copies)
    assert all(np.array_equal(new, old) for new, old in zip(predictions(model), predicted, strict=True))


@pytest.mark.parametrize("name", ["y", "y_err", "one row", "prior"])
def test_a_bad_first_fit_leaves_the_model_unfitted(name: str) -> None:
    model = Regressor(noise_prior=Normal()) if name == "prior" else Regressor()
    rows = 1 if name == "one row" else N
    with pytest.raises((TypeError, ValueError)):
        model.fit(
            X[:rows],
            having(Y, np.nan) if name == "y" else Y[:rows],
            y_err=-1.0 if name == "y_err" else None,
        )
    assert not fitted_state(model)


# What is fitted, as (parameters, data), and what is wrong with the new rows' errors.
BY_COUNTS = ({"weight_type": "counts"}, {"sample_weight": COUNTS})
BY_ERRORS = ({}, {"y_err": Y_ERR})
SCALED = ({"noise": "scaled"}, {"y_err": Y_ERR})
WITHOUT = ({}, {})
NEW = {
    "counts where the fit had none": (
        WITHOUT,
        Bad(("counts", "weight_type='counts'"), data={"counts": COUNTS}),
    ),
    "counts where the fit had errors": (
        BY_ERRORS,
        Bad(("counts", "weight_type='counts'"), data={"counts": COUNTS}),
    ),
    "y_err where the fit had none": (WITHOUT, Bad(("y_err", "noise='additive'"), data={"y_err": Y_ERR})),
    "both": (BY_COUNTS, Bad(("counts and y_err", "one of them"), data={"counts": COUNTS, "y_err": Y_ERR})),
    "counts too short": (BY_COUNTS, Bad(("counts", "one number per row"), data={"counts": COUNTS[:-1]})),
    "counts below one": (BY_COUNTS, Bad(("counts", "one and more"), data={"counts": having(COUNTS, 0.5)})),
    "a count for all below one": (BY_COUNTS, Bad(("counts", "one and more"), data={"counts": 0.25})),
    "a negative count": (
        BY_COUNTS,
        Bad(("counts", "zero or positive"), data={"counts": having(COUNTS, -1.0)}),
    ),
    "counts of words": (
        BY_COUNTS,
        Bad(("counts", "numbers"), data={"counts": "many"}, error=TypeError),
    ),
    "an error of zero": (SCALED, Bad(("y_err", "positive"), data={"y_err": having(Y_ERR, 0.0)})),
    "a negative error": (BY_ERRORS, Bad(("y_err", "positive"), data={"y_err": -0.1})),
    "y_err too short": (BY_ERRORS, Bad(("y_err", "one number per row"), data={"y_err": Y_ERR[:-1]})),
    "a feature too many": (WITHOUT, Bad((r"\bX\b has 3 features", "expecting 2"), X=COLLINEAR)),
    "errors of a feature that had none": (WITHOUT, Bad(("X_err", "fitted without"), data={"X_err": 0.1})),
    "covariances of a feature that had none": (
        WITHOUT,
        Bad(("X_cov", "fitted without"), data={"X_cov": np.eye(P)}),
    ),
    "noise or not": (
        WITHOUT,
        Bad(("include_noise", "True or False"), data={"include_noise": pd.NA}, error=TypeError),
    ),
    "std and cov": (
        WITHOUT,
        Bad(("return_std and return_cov", "one of"), data={"return_std": True, "return_cov": True}),
    ),
}
for value in (np.nan, np.inf, -np.inf):
    NEW |= {
        f"X has {value}": (WITHOUT, Bad((r"\bX\b", *FINITE), X=having(X, value))),
        f"counts have {value}": (BY_COUNTS, Bad(("counts", *FINITE), data={"counts": having(COUNTS, value)})),
        f"y_err has {value}": (BY_ERRORS, Bad(("y_err", *FINITE), data={"y_err": having(Y_ERR, value)})),
    }


@pytest.mark.parametrize("name", NEW)
def test_a_bad_prediction_is_refused_with_argument_and_remedy_and_leaves_the_fit_as_it_was(name: str) -> None:
    (parameters, data), bad = NEW[name]
    model = Regressor(**parameters).fit(X, Y, **data)
    before, mean = fitted_state(model), model.predict(X)
    check(bad, lambda: model.predict(bad.X, **bad.data))
    if "return_cov" not in bad.data:
        check(bad, lambda: model.predict_distribution(bad.X, **bad.data))
        check(bad, lambda: model.predict_interval(bad.X, **bad.data))
    after = fitted_state(model)
    assert after.keys() == before.keys()
    assert all(after[key] is before[key] for key in before)
    assert np.array_equal(model.predict(X), mean)


@pytest.mark.parametrize("setting", ["count_column", "y_err_column"])
def test_a_special_column_and_its_argument_at_predict_are_refused(setting: str) -> None:
    column, argument = {"count_column": ("messages", "counts"), "y_err_column": ("error", "y_err")}[setting]
    frame = FRAME.drop(columns={"messages": "error", "error": "messages"}[column])
    model = Regressor(**{setting: column}).fit(frame, Y)
    with pytest.raises(ValueError, match=f"{argument} is given, but .* {setting}: leave {argument} out"):
        model.predict(frame, **{argument: FRAME[column]})
    with pytest.raises(ValueError, match=f"(?s){column}"):
        model.predict(frame.drop(columns=column))
    with pytest.raises(ValueError, match=f"{setting} must be .*positive"):
        model.predict(frame.assign(**{column: -1.0}))


ASKED = {
    "predict": [("return_std", value) for value in (np.array([True, False]), pd.NA, "yes", None)],
    "predict_interval": [
        ("coverage", value) for value in (0.0, 1.0, -0.5, 95, np.nan, "wide", None, 10**400)
    ],
    "predict_quantiles": [
        ("quantiles", value)
        for value in (-0.1, 1.1, [0.5, np.nan], "median", None, [[0.5]], [[0.1], [0.1, 0.2]])
    ],
    "summary": [("coverage", value) for value in (0.0, 1.0, 95, np.nan, "wide")],
    "sample_y": [("n_samples", value) for value in (-1, 1.5, "two", True)] + [("random_state", "seed")],
}


@pytest.mark.parametrize(
    ("method", "argument", "value"),
    [(method, argument, value) for method, cases in ASKED.items() for argument, value in cases],
)
def test_a_bad_request_of_a_fitted_model_names_its_argument(method: str, argument: str, value: Any) -> None:
    model = Regressor().fit(X, Y)
    rows = () if method == "summary" else (X,)
    with pytest.raises((TypeError, ValueError), match=f"(?i){argument}"):
        getattr(model, method)(*rows, **{argument: value})


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    "column", [np.full(N, 7.0), np.zeros(N), np.full(N, 1e9 + 0.1), X[:, 0], X.sum(axis=1)]
)
def test_constant_and_collinear_columns_are_fitted(
    noise: str, fit_intercept: bool, column: np.ndarray
) -> None:
    table = np.column_stack([X, column])
    model = Regressor(noise=noise, fit_intercept=fit_intercept, error_floor=0.05)
    model.fit(table, Y, y_err=0.3)
    mean, std = model.predict(table, return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0.0).all()
    assert np.isfinite(model.summary().to_numpy()).all()


@pytest.mark.parametrize(
    ("y", "weight", "says"),
    [(Y[:-1], None, "same number of rows"), (["a"] * N, None, r"\by\b"), (Y, -COUNTS, "sample_weight")],
)
def test_a_bad_score_names_its_argument(y: Any, weight: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        Regressor().fit(X, Y).score(X, y, weight)


@pytest.mark.parametrize("grid", [1.0, [], {"noise": []}, {"noise": "scaled"}, [1.0]])
def test_a_grid_that_is_none_is_refused_by_name(grid: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="param_grid"):
        RegressorCV(param_grid=grid).fit(X, Y)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("coef", "wide"),
        ("coef", [[1.0], [1.0, 2.0]]),
        ("random_state", "seed"),
        ("n_samples", True),
        ("intercept", 10**400),
        ("mean_share", 10**400),
    ],
)
def test_a_bad_argument_of_a_generator_is_refused_by_name(argument: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=argument):
        make_role_modeling(**{argument: value})


@pytest.mark.parametrize(
    "table", [X[:, 0], X[:0], np.full((N, P), "word"), FRAME.iloc[:, :0], FRAME.assign(centrality="word")]
)
def test_a_line_of_a_bad_table_is_refused_by_name(table: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"\bX\b|feature"):
        RegressionLineDisplay.from_estimator(Regressor().fit(X, Y), table, Y[: len(table)], feature=0)


def test_a_line_is_drawn_from_a_frame_of_polars_and_one_of_numbered_columns() -> None:
    for table in (pl.DataFrame(X, schema=["a", "b"]), pd.DataFrame(X)):
        model = Regressor().fit(table, Y)
        expected = RegressionLineDisplay.from_estimator(Regressor().fit(X, Y), X, Y, feature=0)
        found = RegressionLineDisplay.from_estimator(model, table, Y, feature=0)
        assert np.allclose(found.mean, expected.mean)
        plt.close("all")


@pytest.mark.parametrize(
    "parameters",
    [
        {"coef_prior__sigma": 2.0},
        {"noise_prior__sigma": 2.0, "intercept_prior__mu": 1.0, "coef_prior__mu": 0.5},
    ],
)
def test_parameters_of_default_priors_can_be_set(parameters: dict[str, float]) -> None:
    set_ = Regressor().set_params(**parameters).get_params()
    assert {key: set_[key] for key in parameters} == parameters


@pytest.mark.parametrize("parameters", [{"coef_prior__nu": 2.0}, {"coef_priors__sigma": 2.0}, {"sigma": 1.0}])
def test_setting_an_unknown_parameter_is_refused_and_sets_nothing(parameters: dict[str, float]) -> None:
    model = Regressor()
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(**parameters)
    assert model.coef_prior is None


@pytest.mark.parametrize("columns", [["a"], ["b", "a"], ["a", "c"]])
def test_columns_that_are_not_those_of_fit_are_said_to_be_that(columns: list[str]) -> None:
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 4.0], "b": [1.0, 0.0, 1.0, 3.0], "c": 1.0})
    model = Regressor().fit(table[["a", "b"]], [0.1, 0.9, 2.1, 3.9])
    with pytest.raises(ValueError, match=r"^X must have the columns that it had in fit: The feature names"):
        model.predict(table[columns])
