"""Hypothesis strategies for whole problems: data of every make, parameters, and what may be wrong with them.

A problem is drawn sound first: numbers, how they are held, priors, likelihood, engine. Then up to two of its arguments
are spoilt, each by something that a user might give, or might give by mistake. What is spoilt is not always wrong:
whether it is, is for the code under test to say.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import (
    Beta,
    BetaBinomialLikelihood,
    BinomialLikelihood,
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
    NormalLikelihood,
    StudentT,
    StudentTLikelihood,
)

Array = NDArray[np.float64]

__all__ = [
    "KINDS",
    "NUMBERS",
    "TABLES",
    "THINGS",
    "VECTORS",
    "Problem",
    "as_table",
    "as_vector",
    "problems",
    "requests",
    "spoilt_again",
    "spoilt_grids",
    "spoilt_vectors",
]


# How tables and vectors of numbers are held.

TABLES: dict[str, Callable[[Array, list[str]], Any]] = {
    "array": lambda X, _: X.copy(),
    "Fortran order": lambda X, _: np.asfortranarray(X),
    "strided": lambda X, _: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "backwards": lambda X, _: X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda X, _: _read_only(X),
    "big-endian": lambda X, _: X.astype(">f8"),
    "objects": lambda X, _: X.astype(object),
    "lists": lambda X, _: X.tolist(),
    "tuples": lambda X, _: tuple(map(tuple, X.tolist())),
    "frame": lambda X, names: pd.DataFrame(X, columns=names),
    "frame of labelled rows": lambda X, names: pd.DataFrame(
        X, columns=names, index=[f"row {i}" for i in range(len(X))]
    ),
    "frame of rows all labelled alike": lambda X, names: pd.DataFrame(X, columns=names, index=[7] * len(X)),
    "frame of rows labelled twice": lambda X, names: pd.DataFrame(
        X, columns=names, index=pd.MultiIndex.from_arrays([np.arange(len(X)) // 2, np.arange(len(X))])
    ),
    "frame of nullable numbers": lambda X, names: pd.DataFrame(X, columns=names).astype("Float64"),
    "frame of objects": lambda X, names: pd.DataFrame(X, columns=names).astype(object),
    "frame of categories": lambda X, names: pd.DataFrame(X, columns=names).astype("category"),
    "frame of numbered columns": lambda X, _: pd.DataFrame(X),
    "polars": lambda X, names: pl.DataFrame(X, schema=names),
}
# These round, or have no fractions: the numbers are others.
ROUGH_TABLES: dict[str, Callable[[Array, list[str]], Any]] = {
    "float32": lambda X, _: X.astype(np.float32),
    "float16": lambda X, _: X.astype(np.float16),
    "integers": lambda X, _: np.rint(4.0 * X).astype(int),
    "bytes": lambda X, _: np.rint(4.0 * np.abs(X)).astype(np.uint8),
    "Booleans": lambda X, _: X > 0.0,
    "frame of Booleans and integers": lambda X, names: pd.DataFrame(
        {name: X[:, i] > 0.0 if i % 2 else np.rint(X[:, i]).astype(int) for i, name in enumerate(names)}
    ),
    "long doubles": lambda X, _: X.astype(np.longdouble),
    "matrix of integers by polars": lambda X, names: pl.DataFrame(np.rint(4.0 * X).astype(int), schema=names),
}
VECTORS: dict[str, Callable[[Array], Any]] = {
    "array": lambda v: v.copy(),
    "list": lambda v: v.tolist(),
    "tuple": lambda v: tuple(v.tolist()),
    "series": lambda v: pd.Series(v),
    "series of labelled rows": lambda v: pd.Series(v, index=range(100, 100 + len(v)), name="y"),
    "series of nullable numbers": lambda v: pd.Series(v, dtype="Float64"),
    "polars": lambda v: pl.Series("y", v),
    "objects": lambda v: v.astype(object),
    "read-only": lambda v: _read_only(v),
    "strided": lambda v: np.repeat(v, 3)[::3],
    "big-endian": lambda v: v.astype(">f8"),
}


def _read_only(values: Array) -> Array:
    fixed = values.copy()
    fixed.flags.writeable = False
    return fixed


def as_table(values: Array, names: list[str], kind: str) -> Any:
    """Return a table as it may be held."""
    return (TABLES | ROUGH_TABLES)[kind](values, names)


def as_vector(values: Array, kind: str) -> Any:
    """Return a vector as it may be held."""
    return VECTORS[kind](values)


# What is given by mistake.

NUMBERS: tuple[Any, ...] = (
    None, np.nan, np.inf, -np.inf, -1, 0, 1, 0.5, -0.0, 1e200, 1e-200, 10**400, True, "1", "wide", 1j,
    [], [1.0], [1.0, 2.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], [1.0, -1.0], [1.0, np.nan], [1.0, None], [[1.0], [1.0, 2.0]],
    np.float32(0.5), np.int8(2), np.array(1.0), np.array([]), np.zeros((2, 2, 2)), pd.NA, pd.NaT,
    datetime.timedelta(1), {"a": 1.0}, {1.0}, object(), b"1", Normal(), float, pd.Series([1.0]),
)  # fmt: skip
THINGS: tuple[Any, ...] = (*NUMBERS, "", "auto", "normal", "exact", Normal, HalfNormal(), lambda: 1.0, range(3))


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
    "matrix": lambda v: np.matrix(v),
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
    "polars words": lambda X, names: pl.DataFrame(X, schema=names).with_columns(pl.lit("word").alias(names[0])),
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
    "not available": lambda X, names: pd.DataFrame(X, columns=names)
    .astype("Float64")
    .mask(lambda frame: frame == frame.iloc[0, 0]),
    "NaN": lambda X, _: np.where(np.arange(X.size).reshape(X.shape) == 1, np.nan, X),
    "infinity": lambda X, _: np.where(np.arange(X.size).reshape(X.shape) == 1, np.inf, X),
    "None inside": lambda X, _: np.where(np.arange(X.size).reshape(X.shape) == 1, None, X.astype(object)),
    "sparse": lambda X, _: sparse.csr_array(X),
    "sparse matrix": lambda X, _: sparse.csc_matrix(X),
    "sparse frame": lambda X, names: pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(X), columns=names),
    "complex": lambda X, _: X + 1j,
    "matrix": lambda X, _: np.matrix(X),
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


# Parameters.

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


def coefficient_priors(p: int) -> st.SearchStrategy[Any]:
    """Draw priors for coefficients that every engine but the sampler takes, too."""
    positive = st.sampled_from([0.5, 1.0, 3])
    several = st.one_of(positive, st.just(np.linspace(0.5, 2.0, p)), st.just(np.linspace(0.5, 2.0, p).tolist()))
    return st.one_of(
        st.none(), st.builds(Normal, mu=st.sampled_from([0.0, 0.5, -1]), sigma=several), st.just(Flat())
    )


SCALE_PRIORS = st.sampled_from(
    [None, HalfNormal(2.0), HalfStudentT(3.0, 0.7), HalfCauchy(), Exponential(2.0), InverseGamma(), Gamma(2.0, 1.0)]
)


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
            st.sampled_from(["normal", "student_t", "binomial", "beta_binomial", "poisson"]),
            st.builds(StudentTLikelihood, nu=st.one_of(spoilt_priors(), st.sampled_from(NUMBERS))),
            st.builds(StudentTLikelihood, lower=st.sampled_from(NUMBERS)),
            st.builds(BetaBinomialLikelihood, dispersion_prior=st.one_of(spoilt_priors(), st.sampled_from(NUMBERS))),
            things,
        )
    if name == "x_distribution":
        return st.one_of(st.builds(Mixture, n_components=st.sampled_from(NUMBERS)), st.just("mixture"), things)
    if name.endswith("_column"):
        return st.one_of(
            st.sampled_from(["a", "b", "messages", "Messages", "error", 0, 1, -1, 2, 99, -99, np.int64(1), ("a",)]), things
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
            st.dictionaries(st.sampled_from(["tune", "cores", "target_accept", "nuts_sampler", 1]), things, max_size=2),
            things,
        )
    if name == "inference":
        return st.one_of(st.sampled_from(["exact", "importance", "auto"]), things)
    if name == "noise":
        return st.one_of(st.sampled_from(["known", "additive", "scaled"]), things)
    if name == "weight_type":
        return st.one_of(st.sampled_from(["counts", "auto", "frequency"]), things)
    return things


SETTINGS = (
    "likelihood", "coef_prior", "intercept_prior", "noise_prior", "noise", "weight_type", "count_error", "error_floor",
    "count_column", "y_err_column", "error_columns", "x_distribution", "standardize", "fit_intercept", "inference",
    "draws", "chains", "nuts_kwargs", "random_state", "verbose",
)  # fmt: skip


# Whole problems.

KINDS = (
    "plain", "y_err", "frequency", "counts", "count_column", "y_err_column", "X_err", "X_cov", "error_columns",
    "Xy_cov", "student_t", "binomial", "Bernoulli", "beta_binomial",
)  # fmt: skip


@dataclass
class Problem:
    """An estimator's parameters, data to fit, and what is said of new rows."""

    kind: str
    parameters: dict[str, Any]
    table: Array
    """(n, k) the columns of X."""
    names: list[str]
    X: Any
    """The table as it is held."""
    y: Any
    target: Array
    """y, as an array."""
    given: dict[str, Any]
    """sample_weight, y_err, X_err, X_cov, Xy_cov."""
    stated: dict[str, Any]
    """As arrays."""
    features: list[int]
    """Positions of the features."""
    exact_copy: bool
    """Whether X holds the table's numbers to the bit."""
    names_used: bool = False
    """Whether parameters name columns."""
    spoilt: dict[str, str] = field(default_factory=dict)
    """Argument to what was done to it."""

    @property
    def model(self) -> Regressor:
        return Regressor(**self.parameters)

    @property
    def new(self) -> dict[str, Any]:
        """What can be said of the same rows in predictions."""
        named = {name: self.given[name] for name in ("y_err", "X_err", "X_cov") if name in self.given}
        if self.kind in ("counts", "binomial", "beta_binomial") and "sample_weight" in self.given:
            named["counts"] = self.given["sample_weight"]
        return named

    def some(self, number: int = 4) -> tuple[Any, dict[str, Any]]:
        """Return the first rows, and what can be said of them in predictions."""
        rows = self.table[:number]
        said = {
            name: value[:number] if np.ndim(value) and len(value) == len(self.table) else value
            for name, value in self.stated.items()
            if name in ("y_err", "X_err", "X_cov")
        }
        if "counts" in self.new:
            said["counts"] = self.stated["sample_weight"][:number]
        return (pd.DataFrame(rows, columns=self.names) if self.names_used else rows), said

    def __repr__(self) -> str:
        held = f"{type(self.X).__name__} of {np.shape(self.table)}"
        return f"Problem({self.kind}, X: {held}, {self.parameters}, given={list(self.given)}, spoilt={self.spoilt})"


@st.composite
def problems(
    draw: Any, kinds: tuple[str, ...] = KINDS, spoilt: int = 0, arguments: tuple[str, ...] | None = None
) -> Problem:
    """Draw a problem.

    Parameters
    ----------
    kinds : tuple of str
        What is known of errors, and which likelihood.
    spoilt : int
        How many arguments, at most, are spoilt.
    arguments : tuple of str, optional
        Which of them may be.
    """
    problem = _sound(draw, draw(st.sampled_from(kinds)))
    for _ in range(draw(st.integers(0, spoilt)) if spoilt else 0):
        _spoil(draw, problem, arguments)
    return problem


def _sound(draw: Any, kind: str) -> Problem:
    shares = kind in ("counts", "count_column", "binomial", "Bernoulli", "beta_binomial")
    n = draw(st.integers(8 if shares else 5, 18))
    p = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    X = np.round(rng.normal(size=(n, p)) + rng.normal(size=p), 3)
    parameters: dict[str, Any] = {"random_state": 0}
    named: dict[str, Any] = {}
    names = ["a", "b", "c"][:p]
    extra: dict[str, Array] = {}
    coef = rng.normal(size=p)
    y_err = np.round(rng.uniform(0.2, 1.0, n), 3)
    counts = rng.integers(2, 60, n).astype(float)
    if shares:
        chance = 1.0 / (1.0 + np.exp(-0.5 * (X - X.mean(axis=0)) @ coef))
        trials = np.ones(n) if kind == "Bernoulli" else counts
        y = rng.binomial(trials.astype(int), chance) / trials
    else:
        y = np.round(1.0 + X @ coef + y_err * rng.normal(size=n), 3)
    if kind in ("y_err", "Xy_cov") or (kind in ("X_err", "X_cov", "error_columns", "student_t") and draw(st.booleans())):
        named["y_err"] = y_err if draw(st.booleans()) else draw(st.sampled_from([0.3, np.float32(0.5), 1]))
    if kind == "frequency" or (kind in ("y_err", "X_err", "student_t") and draw(st.booleans())):
        named["sample_weight"] = rng.integers(1, 4, n).astype(float)
        parameters["weight_type"] = "frequency"
    if kind in ("counts", "binomial", "beta_binomial"):
        named["sample_weight"], parameters["weight_type"] = counts, "counts"
    if kind in ("student_t", "binomial", "beta_binomial") or (kind == "Bernoulli"):
        parameters["likelihood"] = {
            "student_t": draw(st.sampled_from(["student_t", StudentTLikelihood(4.0), StudentTLikelihood(lower=3.0)])),
            "binomial": draw(st.sampled_from(["binomial", BinomialLikelihood()])),
            "Bernoulli": "binomial",
            "beta_binomial": draw(st.sampled_from(["beta_binomial", BetaBinomialLikelihood(Beta(1.0, 5.0))])),
        }[kind]
    elif draw(st.booleans()):
        parameters["likelihood"] = draw(st.sampled_from(["normal", NormalLikelihood()]))
    q = draw(st.integers(1, min(p, 2)))
    if kind in ("X_err", "Xy_cov"):
        error = np.where(np.arange(p) < q, np.round(rng.uniform(0.1, 0.4, p), 3), 0.0)
        shape = draw(st.sampled_from(["scalar", "p", "n p"] if p == 1 else ["p", "n p"]))
        named["X_err"] = 0.25 if shape == "scalar" else error if shape == "p" else np.tile(error, (n, 1))
        if kind == "Xy_cov":
            named["X_err"] = error
            named["Xy_cov"] = 0.3 * error * np.min(named["y_err"])
    if kind == "X_cov":
        root = np.where(np.arange(p) < q, 0.3, 0.0)
        covariance = np.outer(root, root) * (0.5 + 0.5 * np.eye(p))
        named["X_cov"] = covariance if draw(st.booleans()) else np.tile(covariance, (n, 1, 1))
    in_frame = draw(st.booleans())
    if kind == "error_columns":
        extra["a_err"] = np.round(rng.uniform(0.1, 0.3, n), 3)
    if kind == "count_column":
        extra["messages"] = counts
    if kind == "y_err_column":
        extra["error"] = y_err
    table = np.column_stack([X, *extra.values()])
    columns = [*names, *extra]
    features = list(range(p))
    if extra and draw(st.booleans()):  # in front
        order = np.roll(np.arange(table.shape[1]), 1)
        table, columns = table[:, order], [columns[i] for i in order]
        features = [i for i, name in enumerate(columns) if name in names]
    place = {name: name if in_frame else columns.index(name) for name in columns}
    if kind == "error_columns":
        suffix = in_frame and draw(st.booleans())
        parameters["error_columns"] = "_err" if suffix else {place["a"]: place["a_err"]}
    if kind == "count_column":
        parameters["count_column"] = place["messages"]
    if kind == "y_err_column":
        parameters["y_err_column"] = place["error"]
    rough = draw(st.integers(0, 4)) == 0 and not extra
    known = "y_err" in named or kind in ("y_err_column", "counts", "count_column")
    if draw(st.booleans()):
        parameters["noise"] = draw(st.sampled_from(["scaled", "additive"] + (["known"] if known else [])))
    closed = kind not in ("student_t", "binomial", "Bernoulli", "beta_binomial")
    of_features = kind in ("X_err", "X_cov", "error_columns", "Xy_cov")
    if draw(st.booleans()):
        prior = draw(coefficient_priors(p))
        flat = isinstance(prior, Flat) and (not closed or of_features or rough)
        parameters["coef_prior"] = None if flat else prior
    if draw(st.booleans()):
        parameters["noise_prior"] = draw(SCALE_PRIORS)
    if draw(st.booleans()):
        parameters["intercept_prior"] = draw(st.sampled_from([Normal(0.5, 2.0), Normal(0, 3)]))
    if draw(st.booleans()):
        parameters["standardize"] = draw(st.booleans())
        parameters["fit_intercept"] = draw(st.booleans())
    if draw(st.booleans()):
        parameters["error_floor"] = draw(st.sampled_from([0.0, 0.01, 0.1, 0]))
        parameters["count_error"] = draw(st.sampled_from(["fitted", "observed"]))
    if of_features and draw(st.integers(0, 5)) == 0 and kind != "Xy_cov":
        parameters["x_distribution"] = Mixture(n_components=1)
    engine = "exact" if closed and not of_features else "importance"
    # "auto" might leave the last word to the sampler: drawn in problems of its own.
    parameters["inference"] = engine if engine == "importance" else draw(st.sampled_from(["auto", "exact"]))
    parameters["random_state"] = draw(st.sampled_from([0, 7, np.random.RandomState(3), np.int64(5)]))
    holders = [name for name in TABLES if not extra or (in_frame == (("frame" in name and "numbered" not in name) or name == "polars"))]
    holder = draw(st.sampled_from(list(ROUGH_TABLES) if rough else holders))
    given = {
        name: as_vector(value, draw(st.sampled_from(list(VECTORS)))) if np.ndim(value) == 1 and len(value) == n and name != "X_err" else value
        for name, value in named.items()
    }
    return Problem(
        kind, parameters, table, columns, as_table(table, columns, holder), as_vector(y, draw(st.sampled_from(list(VECTORS)))),
        y, given, named, features, not rough, bool(extra) and in_frame,
    )  # fmt: skip


ARGUMENTS = ("X", "y", "sample_weight", "y_err", "X_err", "X_cov", "Xy_cov", *SETTINGS)


def _spoil(draw: Any, problem: Problem, arguments: tuple[str, ...] | None) -> None:
    """Spoil one argument; those that the problem uses are drawn more often."""
    likely = ["X", "y", *problem.given, *problem.parameters, *problem.parameters]
    names = arguments or ARGUMENTS
    name = draw(st.one_of(st.sampled_from(names), st.sampled_from([x for x in likely if x in names] or list(names))))
    n, p = len(problem.table), len(problem.features)
    if name == "X":
        kind = draw(st.sampled_from([*SPOILT_TABLES, *ROUGH_TABLES]))
        problem.X = {**SPOILT_TABLES, **ROUGH_TABLES}[kind](problem.table, problem.names)
        problem.spoilt["X"] = kind
        return
    if name == "y":
        drawn = draw(spoilt_vectors(problem.target))
        problem.y = drawn.value
        problem.spoilt["y"] = drawn.name
        return
    if name in ("sample_weight", "y_err"):
        value = np.broadcast_to(problem.stated.get(name, np.arange(1.0, n + 1.0)), (n,)).astype(float)
        drawn = draw(spoilt_vectors(value))
    elif name == "X_err":
        drawn = draw(spoilt_errors(np.full((n, p), 0.2), problem.names))
    elif name == "Xy_cov":
        drawn = draw(spoilt_errors(np.full((n, p), 0.01), problem.names))
    elif name == "X_cov":
        drawn = draw(spoilt_covariances(n, p))
    else:
        value = draw(spoilt_parameters(name))
        problem.parameters[name] = value
        problem.spoilt[name] = repr(value)
        return
    problem.given[name] = drawn.value
    problem.spoilt[name] = drawn.name


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


# What is asked of a fitted model.

REQUESTS: dict[str, str | None] = {
    "predict": None,
    "predict_interval": "coverage",
    "predict_quantiles": "quantiles",
    "predict_distribution": None,
    "sample_y": "n_samples",
}


@dataclass
class Request:
    """A prediction that is asked for."""

    method: str
    X: Any
    arguments: dict[str, Any]
    spoilt: dict[str, str]

    def __repr__(self) -> str:
        return f"Request({self.method}, X: {type(self.X).__name__}, {list(self.arguments)}, spoilt={self.spoilt})"


@st.composite
def requests(draw: Any, problem: Problem, spoilt: int = 2) -> Request:
    """Draw a prediction for the rows that a problem was fitted to, with arguments spoilt."""
    method = draw(st.sampled_from(list(REQUESTS)))
    arguments = dict(problem.new)
    for name in list(arguments):
        if draw(st.booleans()) and draw(st.booleans()):
            del arguments[name]
    X, done = problem.X, {}
    own = REQUESTS[method]
    n, p = len(problem.table), len(problem.features)
    for _ in range(draw(st.integers(1, spoilt))):
        name = draw(
            st.sampled_from(
                ["X", *problem.new, *problem.new, "counts", "y_err", "X_err", "X_cov", "include_noise"]
                + ([own] if own else ["return_std"] if method == "predict" else []) * 3
            )
        )
        if name == "X":
            kind = draw(st.sampled_from([*SPOILT_TABLES, *ROUGH_TABLES]))
            X, done["X"] = {**SPOILT_TABLES, **ROUGH_TABLES}[kind](problem.table, problem.names), kind
            continue
        if name in ("counts", "y_err"):
            drawn = draw(spoilt_vectors(np.arange(1.0, n + 1.0)))
        elif name == "X_err":
            drawn = draw(spoilt_errors(np.full((n, p), 0.2), problem.names))
        elif name == "X_cov":
            drawn = draw(spoilt_covariances(n, p))
        else:
            value = draw(st.sampled_from(THINGS if name != "n_samples" else [t for t in THINGS if not _is_large(t)]))
            drawn = Labelled(repr(value), value)
        arguments[name], done[name] = drawn.value, drawn.name
    return Request(method, X, arguments, done)


def _is_large(thing: Any) -> bool:
    """Return whether a thing is a number of draws that would fill the memory."""
    return isinstance(thing, int) and thing > 1000


@st.composite
def spoilt_again(draw: Any, problem: Problem, least: int = 1) -> Problem:
    """Draw the data of a problem again, with one or two of them spoilt."""
    again = replace(problem, given=dict(problem.given), parameters=dict(problem.parameters), spoilt={})
    for _ in range(draw(st.integers(least, 2))):
        _spoil(draw, again, ("X", "y", "sample_weight", "y_err", "X_err", "X_cov"))
    return again


@st.composite
def spoilt_grids(draw: Any, problem: Problem) -> dict[str, Any]:
    """Draw arguments of a search, one of which may be wrong."""
    name = draw(st.sampled_from(["coef_prior__sigma", "noise_prior__sigma", "noise", "error_floor", "coef_prior", "z"]))
    values = st.lists(st.one_of(spoilt_parameters(name.partition("__")[0]), st.sampled_from(NUMBERS)), max_size=2)
    grid = draw(
        st.one_of(
            st.just({"coef_prior__sigma": [0.1, 1.0, 3.0]}),
            st.just({"coef_prior__sigma": [0.1, 1.0], "noise_prior__sigma": [0.5, 2.0]}),
            values.map(lambda several: {name: several}),
            st.sampled_from(THINGS).map(lambda thing: {name: thing}),
            st.sampled_from(THINGS),
        )
    )
    estimator = draw(st.one_of(st.just(problem.model), st.just(problem.model), st.sampled_from(THINGS)))
    scoring = draw(st.sampled_from(["loo", "marginal_likelihood", "loo", "elpd", None]))
    return {"estimator": estimator, "param_grid": grid, "scoring": scoring}
