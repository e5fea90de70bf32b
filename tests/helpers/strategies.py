"""Hypothesis strategies for whole problems: data of every make, parameters, and what may be wrong with them.

A problem is drawn sound first: numbers, how they are held, priors, likelihood, engine. Then up to two of its
arguments are spoilt, each by something that a user might give by mistake (`mistakes.py`). What is spoilt is not
always wrong: whether it is, is for the code under test to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import strategies as st
from numpy.typing import NDArray

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
    InverseGamma,
    Mixture,
    Normal,
    NormalLikelihood,
    Outliers,
    StudentTLikelihood,
)

from mistakes import (
    NUMBERS,
    SPOILT_TABLES,
    THINGS,
    Labelled,
    spoilt_covariances,
    spoilt_errors,
    spoilt_parameters,
    spoilt_vectors,
)

Array = NDArray[np.float64]

__all__ = [
    "KINDS",
    "TABLES",
    "VECTORS",
    "Problem",
    "as_table",
    "as_vector",
    "problems",
    "requests",
    "spoilt_again",
    "spoilt_grids",
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


def coefficient_priors(p: int) -> st.SearchStrategy[Any]:
    """Draw priors for coefficients that every engine but the sampler takes, too."""
    positive = st.sampled_from([0.5, 1.0, 3])
    several = st.one_of(
        positive, st.just(np.linspace(0.5, 2.0, p)), st.just(np.linspace(0.5, 2.0, p).tolist())
    )
    return st.one_of(
        st.none(), st.builds(Normal, mu=st.sampled_from([0.0, 0.5, -1]), sigma=several), st.just(Flat())
    )


SCALE_PRIORS = st.sampled_from(
    [
        None,
        HalfNormal(2.0),
        HalfStudentT(3.0, 0.7),
        HalfCauchy(),
        Exponential(2.0),
        InverseGamma(),
        Gamma(2.0, 1.0),
    ]
)

SETTINGS = (
    "likelihood", "coef_prior", "intercept_prior", "noise_prior", "noise", "weight_type", "count_error",
    "error_floor", "count_column", "y_err_column", "error_columns", "truncation", "x_distribution",
    "x_error_distribution", "standardize", "fit_intercept", "inference", "draws", "chains", "nuts_kwargs",
    "random_state", "verbose",
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
    if kind in ("y_err", "Xy_cov") or (
        kind in ("X_err", "X_cov", "error_columns", "student_t") and draw(st.booleans())
    ):
        named["y_err"] = y_err if draw(st.booleans()) else draw(st.sampled_from([0.3, np.float32(0.5), 1]))
    if kind == "frequency" or (kind in ("y_err", "X_err", "student_t") and draw(st.booleans())):
        named["sample_weight"] = rng.integers(1, 4, n).astype(float)
        parameters["weight_type"] = "frequency"
    if kind in ("counts", "binomial", "beta_binomial"):
        named["sample_weight"], parameters["weight_type"] = counts, "counts"
    if kind in ("student_t", "binomial", "beta_binomial") or (kind == "Bernoulli"):
        parameters["likelihood"] = {
            "student_t": draw(
                st.sampled_from(["student_t", StudentTLikelihood(4.0), StudentTLikelihood(lower=3.0)])
            ),
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
    if of_features and draw(st.integers(0, 5)) == 0:
        parameters["x_error_distribution"] = draw(st.sampled_from(["outliers", Outliers(Beta(1.0, 30.0))]))
    engine = "exact" if closed and not of_features else "importance"
    # "auto" might leave the last word to the sampler: drawn in problems of its own.
    parameters["inference"] = engine if engine == "importance" else draw(st.sampled_from(["auto", "exact"]))
    parameters["random_state"] = draw(st.sampled_from([0, 7, np.random.RandomState(3), np.int64(5)]))
    holders = [
        name
        for name in TABLES
        if not extra or (in_frame == (("frame" in name and "numbered" not in name) or name == "polars"))
    ]
    holder = draw(st.sampled_from(list(ROUGH_TABLES) if rough else holders))
    given = {
        name: as_vector(value, draw(st.sampled_from(list(VECTORS))))
        if np.ndim(value) == 1 and len(value) == n and name != "X_err"
        else value
        for name, value in named.items()
    }
    return Problem(
        kind,
        parameters,
        table,
        columns,
        as_table(table, columns, holder),
        as_vector(y, draw(st.sampled_from(list(VECTORS)))),
        y,
        given,
        named,
        features,
        exact_copy=not rough,
        names_used=bool(extra) and in_frame,
    )


ARGUMENTS = ("X", "y", "sample_weight", "y_err", "X_err", "X_cov", "Xy_cov", *SETTINGS)


def _spoil(draw: Any, problem: Problem, arguments: tuple[str, ...] | None) -> None:
    """Spoil one argument; those that the problem uses are drawn more often."""
    likely = ["X", "y", *problem.given, *problem.parameters, *problem.parameters]
    names = arguments or ARGUMENTS
    name = draw(
        st.one_of(st.sampled_from(names), st.sampled_from([x for x in likely if x in names] or list(names)))
    )
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
            value = draw(
                st.sampled_from(THINGS if name != "n_samples" else [t for t in THINGS if not _is_large(t)])
            )
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
    name = draw(
        st.sampled_from(
            ["coef_prior__sigma", "noise_prior__sigma", "noise", "error_floor", "coef_prior", "z"]
        )
    )
    values = st.lists(
        st.one_of(spoilt_parameters(name.partition("__")[0]), st.sampled_from(NUMBERS)), max_size=2
    )
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
