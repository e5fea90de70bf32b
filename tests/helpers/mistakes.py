"""What is given by mistake: for numbers, vectors, tables, errors of features, priors and other parameters."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from bayes_sklearn import (
    Beta,
    BetaBinomialLikelihood,
    Exponential,
    Flat,
    Gamma,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Horseshoe,
    InverseGamma,
    Laplace,
    Mixture,
    Normal,
    Outliers,
    StudentT,
    StudentTLikelihood,
)

Array = NDArray[np.float64]

__all__ = [
    "NUMBERS",
    "SPOILT_TABLES",
    "THINGS",
    "Labelled",
    "spoilt_covariances",
    "spoilt_errors",
    "spoilt_parameters",
    "spoilt_vectors",
]


NUMBERS: tuple[Any, ...] = (
    None, np.nan, np.inf, -np.inf, -1, 0, 1, 0.5, -0.0, 1e200, 1e-200, 10**400, True, "1", "wide", 1j,
    [], [1.0], [1.0, 2.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], [1.0, -1.0], [1.0, np.nan], [1.0, None],
    [[1.0], [1.0, 2.0]], np.float32(0.5), np.int8(2), np.array(1.0), np.array([]), np.zeros((2, 2, 2)), pd.NA, pd.NaT,
    datetime.timedelta(1), {"a": 1.0}, {1.0}, object(), b"1", Normal(), float, pd.Series([1.0]),
)  # fmt: skip
THINGS: tuple[Any, ...] = (
    *NUMBERS,
    "",
    "auto",
    "normal",
    "exact",
    Normal,
    HalfNormal(),
    lambda: 1.0,
    range(3),
)


def _drop_last(v: Any) -> Any:
    return v[:-1]


def _with(value: Any, row: int = -1) -> Callable[[Array], Any]:
    def change(v: Array) -> Any:
        held = v.copy() if isinstance(value, float) else v.astype(object)
        held[row] = value
        return held

    return change


SPOILT_VECTORS: dict[str, Callable[[Array], Any]] = {
    "too short": _drop_last,
    "too long": lambda v: np.append(v, v[-1:]),
    "empty": lambda v: v[:0],
    "a column": lambda v: v[:, None],
    "a row": lambda v: v[None, :],
    "two columns": lambda v: np.column_stack([v, v]),
    "three dimensions": lambda v: v[:, None, None],
    "a square": lambda v: np.outer(v, v),
    "frame of one column": lambda v: pd.DataFrame({"y": v}),
    "frame of two columns": lambda v: pd.DataFrame({"y": v, "z": v}),
    "polars frame": lambda v: pl.DataFrame({"y": v}),
    "words": lambda v: [f"word {i}" for i in range(len(v))],
    "numbers in words": lambda v: [str(value) for value in v],
    "array of words": lambda v: np.array([str(value) for value in v]),
    "NaN": _with(np.nan),
    "infinity": _with(np.inf),
    "both infinities": lambda v: np.r_[np.inf, -np.inf, v[2:]],
    "None": _with(None),
    "not available": lambda v: pd.Series(_with(pd.NA)(v), dtype="Float64"),
    "a word": _with("word"),
    "a list inside": lambda v: [[1.0, 2.0], *v[1:].tolist()],
    "an array inside": lambda v: _with(np.array([1.0, 2.0]))(v) if len(v) else v,
    "a huge whole number": _with(10**400),
    "negative": lambda v: -np.abs(v) - 1.0,
    "one negative": _with(-1.0, 0),
    "zeros": np.zeros_like,
    "one zero": _with(0.0, 0),
    "all but one zero": lambda v: np.r_[1.0, np.zeros(max(len(v) - 1, 0))],
    "ones": np.ones_like,
    "constant": lambda v: np.full_like(v, 0.3),
    "halves": lambda v: np.full_like(v, 2.5),
    "zeros and ones": lambda v: (np.arange(len(v)) % 2).astype(float),
    "huge": lambda v: v * 1e300,
    "large": lambda v: v * 1e12,
    "tiny": lambda v: v * 1e-12,
    "next to nothing": lambda v: v * 1e-320,
    "complex": lambda v: v + 1j,
    "Booleans": lambda v: v > 0.0,
    "integers": lambda v: np.rint(v).astype(int),
    "unsigned": lambda v: np.abs(np.rint(v)).astype(np.uint8),
    "float16": lambda v: v.astype(np.float16),
    "dates": lambda v: pd.date_range("2020-01-01", periods=len(v)),
    "intervals of time": lambda v: pd.to_timedelta(np.arange(len(v)), unit="D"),
    "categories": lambda v: pd.Series(v).astype("category"),
    "categories of words": lambda v: pd.Series([f"word {i}" for i in range(len(v))], dtype="category"),
    "masked": lambda v: np.ma.MaskedArray(v, mask=np.arange(len(v)) == 0),
    "sparse column": lambda v: sparse.csr_array(v[:, None]),
    "sparse row": lambda v: sparse.csr_matrix(v[None, :]),
    "structured": lambda v: np.array([(value, 1) for value in v], dtype=[("a", float), ("b", int)]),
    "a mapping": lambda v: dict(enumerate(v.tolist())),
    "a set": lambda v: set(v.tolist()),
    "a generator": lambda v: (value for value in v.tolist()),
    "an iterator": lambda v: iter(v.tolist()),
    "a range": lambda v: range(len(v)),
}  # fmt: skip

SPOILT_TABLES: dict[str, Callable[[Array, list[str]], Any]] = {
    "one dimension": lambda X, _: X[:, 0],
    "three dimensions": lambda X, _: X[:, :, None],
    "no rows": lambda X, _: X[:0],
    "no columns": lambda X, _: X[:, :0],
    "frame of no columns": lambda X, _: pd.DataFrame(index=range(len(X))),
    "frame of no rows": lambda X, names: pd.DataFrame(X[:0], columns=names),
    "empty list": lambda X, _: [],
    "list of empty lists": lambda X, _: [[] for _ in X],
    "one row": lambda X, _: X[:1],
    "a row less": lambda X, _: X[:-1],
    "a column less": lambda X, names: pd.DataFrame(X[:, :-1], columns=names[:-1]),
    "ragged": lambda X, _: [[1.0], *X[1:].tolist()],
    "words": lambda X, _: X.astype(str),
    "words that are none": lambda X, _: np.full(X.shape, "word"),
    "frame of words": lambda X, names: pd.DataFrame(X, columns=names).assign(**{names[0]: "word"}),
    "frame of word categories": lambda X, names: pd.DataFrame(X, columns=names).assign(
        **{names[0]: pd.Series(["word"] * len(X), dtype="category")}
    ),
    "polars words": lambda X, names: pl.DataFrame(X, schema=names).with_columns(
        pl.lit("word").alias(names[0])
    ),
    "polars nothing": lambda X, names: pl.DataFrame(X, schema=names).with_columns(
        pl.lit(None, dtype=pl.Float64).alias(names[0])
    ),
    "frame of dates": lambda X, names: pd.DataFrame(X, columns=names).assign(
        **{names[0]: pd.date_range("2020-01-01", periods=len(X))}
    ),
    "frame of lists": lambda X, names: pd.DataFrame(X, columns=names).assign(
        **{names[0]: [[1.0, 2.0] for _ in X]}
    ),
    "one name for two columns": lambda X, names: pd.DataFrame(
        np.column_stack([X, X[:, 0]]), columns=[*names, names[0]]
    ),
    "one name for all columns": lambda X, names: pd.DataFrame(X, columns=[names[0]] * len(names)),
    "names of two levels": lambda X, names: pd.DataFrame(
        X, columns=pd.MultiIndex.from_product([["top"], names])
    ),
    "names of two kinds": lambda X, names: pd.DataFrame(X, columns=[*names[:-1], 0]),
    "names that are dates": lambda X, names: pd.DataFrame(
        X, columns=pd.date_range("2020-01-01", periods=len(names))
    ),
    "other names": lambda X, names: pd.DataFrame(X, columns=[f"{name}_of_late" for name in names]),
    "names in another order": lambda X, names: pd.DataFrame(X[:, ::-1], columns=names[::-1]),
    "not available": lambda X, names: (
        pd.DataFrame(X, columns=names).astype("Float64").mask(lambda frame: frame == frame.iloc[0, 0])
    ),
    "NaN": lambda X, _: np.where(np.arange(X.size).reshape(X.shape) == 1, np.nan, X),
    "infinity": lambda X, _: np.where(np.arange(X.size).reshape(X.shape) == 1, np.inf, X),
    "None inside": lambda X, _: np.where(np.arange(X.size).reshape(X.shape) == 1, None, X.astype(object)),
    "sparse": lambda X, _: sparse.csr_array(X),
    "sparse matrix": lambda X, _: sparse.csc_matrix(X),
    "sparse frame": lambda X, names: pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(X), columns=names),
    "complex": lambda X, _: X + 1j,
    "masked": lambda X, _: np.ma.MaskedArray(X, mask=X > 1.0),
    "structured": lambda X, _: np.array([(row[0], 1) for row in X], dtype=[("a", float), ("b", int)]),
    "constant": lambda X, _: np.ones_like(X),
    "zeros": lambda X, _: np.zeros_like(X),
    "twins": lambda X, _: np.repeat(X[:, :1], X.shape[1], axis=1),
    "huge": lambda X, _: X * 1e300,
    "large": lambda X, _: X * 1e9,
    "tiny": lambda X, _: X * 1e-9,
    "series": lambda X, names: pd.Series(X[:, 0]),
    "lazy frame": lambda X, names: pl.DataFrame(X, schema=names).lazy(),
    "a mapping": lambda X, names: {name: X[:, i] for i, name in enumerate(names)},
    "a word": lambda X, _: "word",
    "a number": lambda X, _: 1.0,
    "nothing": lambda X, _: None,
    "a generator": lambda X, _: (row for row in X),
}


def spoilt_vectors(values: Array) -> st.SearchStrategy[Any]:
    """Draw something given for a vector by mistake."""
    things = [name for name in SPOILT_VECTORS if len(values) or name in ("too long", "empty", "a column")]
    return st.one_of(
        st.sampled_from(things).map(lambda name: Labelled(name, SPOILT_VECTORS[name](values))),
        st.sampled_from(NUMBERS).map(lambda value: Labelled(repr(value), value)),
    )


@dataclass(frozen=True)
class Labelled:
    """What was drawn, and what it is called."""

    name: str
    value: Any


PARAMETERS: dict[type, tuple[str, ...]] = {
    Normal: ("mu", "sigma"),
    Flat: (),
    StudentT: ("nu", "mu", "sigma"),
    Laplace: ("mu", "b"),
    Horseshoe: ("n_nonzero", "slab_sigma", "slab_nu"),
    HalfNormal: ("sigma",),
    HalfStudentT: ("nu", "sigma"),
    HalfCauchy: ("beta",),
    Exponential: ("lam",),
    InverseGamma: ("alpha", "beta"),
    Gamma: ("alpha", "beta"),
    Beta: ("alpha", "beta"),
}
PRIORS = tuple(PARAMETERS)


@st.composite
def spoilt_priors(draw: Any) -> Any:
    """Draw a prior of any kind, in a role that may not be its own, with parameters of any kind."""
    kind = draw(st.sampled_from(PRIORS))
    some = draw(st.lists(st.sampled_from(PARAMETERS[kind]), unique=True)) if PARAMETERS[kind] else []
    return kind(**{name: draw(st.sampled_from(NUMBERS)) for name in some})


def spoilt_parameters(name: str) -> st.SearchStrategy[Any]:
    """Draw something given for a parameter of the estimator by mistake."""
    things = st.sampled_from(THINGS)
    if name.endswith("_prior"):
        return st.one_of(spoilt_priors(), spoilt_priors(), things)
    if name == "likelihood":
        return st.one_of(
            st.sampled_from(["normal", "student_t", "binomial", "beta_binomial", "tweedie"]),
            st.builds(StudentTLikelihood, nu=st.one_of(spoilt_priors(), st.sampled_from(NUMBERS))),
            st.builds(StudentTLikelihood, lower=st.sampled_from(NUMBERS)),
            st.builds(
                BetaBinomialLikelihood, dispersion_prior=st.one_of(spoilt_priors(), st.sampled_from(NUMBERS))
            ),
            things,
        )
    if name == "x_distribution":
        return st.one_of(
            st.builds(Mixture, n_components=st.sampled_from(NUMBERS)), st.just("mixture"), things
        )
    if name == "x_error_distribution":
        priors = st.one_of(spoilt_priors(), st.sampled_from(NUMBERS))
        return st.one_of(
            st.builds(Outliers, share_prior=priors, factor_prior=priors), st.just("outliers"), things
        )
    if name == "truncation":
        return st.one_of(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)), things)
    if name.endswith("_column"):
        return st.one_of(
            st.sampled_from(
                ["a", "b", "messages", "Messages", "error", 0, 1, -1, 2, 99, -99, np.int64(1), ("a",)]
            ),
            things,
        )
    if name == "error_columns":
        columns = st.sampled_from(["a", "b", "a_err", "error", 0, 1, 2, -1, 99, None, 1.5, ("a",)])
        return st.one_of(
            st.dictionaries(columns, columns, max_size=3),
            st.sampled_from(["_err", "err", "b", "", "a_err"]),
            st.dictionaries(columns, things, max_size=1),
            things,
        )
    if name == "nuts_kwargs":
        return st.one_of(
            st.dictionaries(
                st.sampled_from(["tune", "cores", "target_accept", "nuts_sampler", 1]), things, max_size=2
            ),
            things,
        )
    if name == "inference":
        return st.one_of(st.sampled_from(["exact", "importance", "auto"]), things)
    if name == "noise":
        return st.one_of(st.sampled_from(["known", "additive", "scaled"]), things)
    if name == "weight_type":
        return st.one_of(st.sampled_from(["counts", "auto", "frequency"]), things)
    return things


@st.composite
def spoilt_errors(draw: Any, values: Array, names: list[str]) -> Labelled:
    """Draw something given for errors of features by mistake, or in another shape."""
    n, p = values.shape
    options: list[Any] = [
        *(Labelled(repr(thing), thing) for thing in NUMBERS),
        Labelled("(p,)", values[0]),
        Labelled("(n, p)", values),
        Labelled("(p, n)", values.T),
        Labelled("(n,)", values[:, 0]),
        Labelled("(n, 1)", values[:, :1]),
        Labelled("(n, p + 1)", np.column_stack([values, values[:, 0]])),
        Labelled("frame", pd.DataFrame(values, columns=(names * 3)[:p])),
        Labelled("frame of other names", pd.DataFrame(values, columns=["z"] * p)),
        Labelled("frame of numbered columns", pd.DataFrame(values)),
        Labelled("polars", pl.DataFrame(values, schema=[f"x{i}" for i in range(p)])),
        Labelled("series by name", pd.Series(values[0], index=(names * 3)[:p])),
        Labelled("sparse", sparse.csr_array(values)),
        Labelled("zeros", np.zeros((n, p))),
        Labelled("some rows zero", values * (np.arange(n) % 2)[:, None]),
        Labelled("one row zero", values * (np.arange(n) > 0)[:, None]),
        Labelled("negative", -values),
        Labelled("NaN", np.where(np.arange(n)[:, None] == 0, np.nan, values)),
        Labelled("words", values.astype(str)),
        Labelled("enormous", values * 1e6),
        Labelled("tiny", values * 1e-6),
        Labelled("complex", values + 1j),
        Labelled("different", values * np.linspace(0.1, 2.0, n)[:, None]),
    ]
    return draw(st.sampled_from(options))


@st.composite
def spoilt_covariances(draw: Any, n: int, p: int) -> Labelled:
    """Draw something given for covariances by mistake, or in another shape."""
    one = 0.04 * np.eye(p)
    options = [
        *(Labelled(repr(thing), thing) for thing in NUMBERS),
        Labelled("(p, p)", one),
        Labelled("(n, p, p)", np.tile(one, (n, 1, 1))),
        Labelled("(p,)", one[0]),
        Labelled("(n, p)", np.full((n, p), 0.04)),
        Labelled("(p, p, n)", np.zeros((p, p, n))),
        Labelled("asymmetric", one + np.triu(np.full((p, p), 0.03), 1)),
        Labelled("indefinite", one - 0.1),
        Labelled("negative", -one),
        Labelled("correlated", np.full((p, p), 0.04)),
        Labelled("zeros", np.zeros((p, p))),
        Labelled("some rows zero", one * (np.arange(n) % 2)[:, None, None]),
        Labelled("NaN", one * np.nan),
        Labelled("frame", pd.DataFrame(one, index=["a", "b", "c"][:p], columns=["a", "b", "c"][:p])),
        Labelled("words", one.astype(str)),
    ]
    return draw(st.sampled_from(options))
