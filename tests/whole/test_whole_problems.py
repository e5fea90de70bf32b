"""Whole problems under attack: each fits and satisfies the invariants, or is refused by the name of an argument.

In a suite the examples are the same every time. ``BAYES_SKLEARN_EXAMPLES=2000`` draws so many of each property, and
others every time.
"""

from __future__ import annotations

import copy
import os
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import BayesianErrorsInVariablesRegressorCV as RegressorCV
from bayes_sklearn import Laplace, Normal, audit_errors, datasets, metrics
from bayes_sklearn.displays import (
    CalibrationDisplay,
    CoefficientDisplay,
    PITDisplay,
    PredictionDisplay,
    RegressionLineDisplay,
    VarianceDisplay,
)

from mistakes import NUMBERS, THINGS, spoilt_vectors
from outcomes import Fault, Outcome, attempt, without_sampler
from strategies import Problem, as_table, problems, requests, spoilt_again, spoilt_grids

Array = NDArray[np.float64]

_DEEP = os.environ.get("BAYES_SKLEARN_EXAMPLES")


def examples(number: int) -> Any:
    """Return settings: so many examples, the same every time, or as many new ones as the environment asks for."""
    return settings(
        max_examples=int(_DEEP or number),
        derandomize=_DEEP is None,
        database=None,
        deadline=None,  # a hang is a fault of its own
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),  # failures name what was spoilt: shrinking takes minutes
        print_blob=_DEEP is not None,
    )


EARLIER = Regressor(random_state=1).fit([[0.0], [1.0], [3.0], [4.0]], [0.1, 0.9, 3.2, 3.9])
SHARES = ("binomial", "Bernoulli", "beta_binomial")
LEVELS = np.array([0.01, 0.1, 0.4, 0.5, 0.8, 0.975])


def state(model: Any) -> dict[str, Any]:
    """Return every attribute but the parameters."""
    return {name: value for name, value in vars(model).items() if name not in model.get_params(deep=False)}


def same(first: Any, second: Any) -> bool:
    """Return whether two states are made of the same objects."""
    return first.keys() == second.keys() and all(first[name] is second[name] for name in first)


def frozen(*things: Any) -> list[bytes | None]:
    """Return what things are made of, where they can be pickled."""
    dumped: list[bytes | None] = []
    for thing in things:
        try:
            dumped.append(None if hasattr(thing, "__next__") else pickle.dumps(_plain(thing)))
        except Exception:  # generators and such
            dumped.append(None)
    return dumped


def _plain(thing: Any) -> Any:
    """Return frames by what they hold: they keep notes to themselves, too."""
    if isinstance(thing, pd.DataFrame | pd.Series):
        return thing.to_numpy(dtype=object), list(thing.index), list(getattr(thing, "columns", ()))
    if isinstance(thing, dict):
        return {key: None if hasattr(value, "__next__") else _plain(value) for key, value in thing.items()}
    return thing


def numbers(model: Any) -> Array:
    """Return what a fit found."""
    names = ("noise_scale_", "nu_", "dispersion_", "overdispersion_")
    return np.concatenate(
        [model.coef_, model.coef_std_, [model.intercept_], [getattr(model, name, 0.0) for name in names]]
    )


def fitted(problem: Problem) -> Regressor:
    """Return a sound problem's model, fitted."""
    model = clone(problem.model)
    with without_sampler():
        outcome = attempt(model.fit, problem.X, problem.y, **problem.given)
    assert outcome.answered, f"a sound problem was refused: {outcome.refusal}"
    return model


def check_fit(model: Any) -> None:
    """Check the fitted attributes."""
    p = len(model.coef_names_)
    for name in (
        "coef_",
        "coef_std_",
        "coef_names_",
        *(["reliability_"] if hasattr(model, "reliability_") else []),
    ):
        assert getattr(model, name).shape == (p,), name
    for name, value in state(model).items():
        if (
            name.endswith("_")
            and isinstance(value, float | np.ndarray)
            and np.asarray(value).dtype.kind == "f"
        ):
            assert np.isfinite(value).all(), f"{name} is {value}"
    assert (model.coef_std_ >= 0.0).all()
    assert isinstance(model.intercept_, float)
    assert getattr(model, "noise_scale_", 0.0) >= 0.0
    assert model.inference_ in ("exact", "importance", "hmc", "nuts")
    assert model.weight_type_ in ("counts", "frequency")
    assert 0.0 <= model.overdispersion_ <= 1.0
    assert np.all(getattr(model, "reliability_", np.ones(p)) >= 0.0)
    assert np.all(getattr(model, "reliability_", np.ones(p)) <= 1.0 + 1e-12)
    table = model.summary()
    assert np.isfinite(table[["mean", "sd"]].to_numpy()).all()
    assert (table.iloc[:, 2] <= table.iloc[:, 3]).all()


def check_distribution(distribution: Any, *, discrete: bool = False, noise: bool = True) -> None:
    """Check that a predictive distribution is one."""
    n = len(distribution)
    mean, std = distribution.mean(), distribution.std()
    assert mean.shape == std.shape == (n,)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()
    assert (std > 0.0).all() or not noise
    assert_allclose(
        distribution.mean_and_std(), (mean, std), rtol=1e-6, atol=1e-12 * np.abs(mean).max(initial=0.0)
    )
    assert_allclose(sum(distribution.variance_parts.values()), distribution.var(), rtol=1e-6)
    assert all((part >= 0.0).all() for part in distribution.variance_parts.values())
    quantiles = distribution.ppf(LEVELS[:, None])
    assert quantiles.shape == (len(LEVELS), n)
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=0) >= 0.0).all()
    reached = distribution.cdf(quantiles)
    assert ((reached >= 0.0) & (reached <= 1.0 + 1e-12)).all()
    assert (np.diff(reached, axis=0) >= -1e-12).all()
    if discrete:
        assert (reached >= LEVELS[:, None] - 1e-6).all()
    elif (
        noise and np.abs(quantiles).max(initial=0.0) < 1e12
    ):  # beyond, numbers are further apart than noise is wide
        assert_allclose(reached, np.broadcast_to(LEVELS[:, None], reached.shape), rtol=1e-5, atol=1e-8)
    wide, narrow = distribution.interval(0.9), distribution.interval(0.5)
    assert (wide[0] <= narrow[0]).all()
    assert (narrow[0] <= narrow[1]).all()
    assert (narrow[1] <= wide[1]).all()
    line = getattr(distribution, "_line", None)
    if line is None or len(line.weights) < 200:  # of thousands of nodes it takes long
        assert np.isfinite(distribution.crps(mean)).all()
    assert not np.isnan(distribution.logpdf(mean)).any()


def check_predictions(model: Any, X: Any, **new: Any) -> None:
    """Check predictions of rows that a model was fitted to."""
    before, dumped = state(model), frozen(state(model))
    discrete = hasattr(model, "_fitted") and model._fitted.likelihood.counted
    for include_noise in (True, False):
        outcome = attempt(model.predict_distribution, X, include_noise=include_noise, **new)
        assert outcome.answered, outcome.refusal
        check = attempt(
            check_distribution, outcome.value, discrete=discrete and include_noise, noise=include_noise
        )
        assert check.answered, check.refusal
    mean = attempt(model.predict, X, **new).value
    for repeated in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        again, std = attempt(repeated.predict, X, return_std=True, **new).value
        assert_allclose(again, mean, rtol=1e-9, atol=1e-9 * np.abs(mean).max())
        assert (std > 0.0).all()
    draws = attempt(model.sample_y, X, 3, **new).value
    assert draws.shape == (len(mean), 3)
    assert np.isfinite(draws).all()
    assert np.array_equal(draws, attempt(model.sample_y, X, 3, **new).value)
    _, covariance = attempt(model.predict, X, return_cov=True, **new).value
    assert_allclose(np.diag(covariance), np.square(std), rtol=1e-6)
    assert same(state(model), before)
    assert frozen(state(model)) == dumped


# What the rule is worth.


def test_the_rule_for_refusals_can_be_broken() -> None:
    def fails(error: Exception) -> None:
        raise error

    for call in (
        lambda: [][0],
        lambda: np.linalg.cholesky(-np.eye(2)),
        lambda: float("X is a word"),
        lambda: np.ones(3) + np.ones(2),
        lambda: np.broadcast_to(np.ones(3), 2),
        lambda: fails(AssertionError("X")),
        lambda: fails(ValueError("X")),  # of this file
        lambda: Regressor().fit([[0.0], [1.0]], [0.0, 1.0]).get_params(no_such_argument=1),
        lambda: np.log(np.zeros(1)),
        lambda: warnings.warn("X", UserWarning, stacklevel=1),
    ):
        with pytest.raises(Fault):
            attempt(call)
    assert attempt(Regressor().fit, [[0.0], [1.0]], [0.0, 1.0], y_err="small").refusal is not None
    assert attempt(Regressor().fit, [[0.0], [1.0]], [0.0, 1.0]).answered


# Fits.


@given(problem=problems(spoilt=2))
@examples(80)
def test_a_problem_fits_and_satisfies_the_invariants_or_is_refused(problem: Problem) -> None:
    model = copy.copy(EARLIER)
    model.__dict__.update(problem.parameters)
    parameters, before = model.get_params(deep=False), state(model)
    dumped = frozen(before, problem.parameters)
    data = frozen(problem.X, problem.y, problem.given)
    with without_sampler():
        outcome = attempt(model.fit, problem.X, problem.y, **problem.given)
    assert same(model.get_params(deep=False), parameters)
    if not isinstance(problem.parameters.get("random_state"), np.random.RandomState):
        assert frozen(problem.parameters) == dumped[1:]
    assert frozen(problem.X, problem.y, problem.given) == data
    if not outcome.answered:
        assert problem.spoilt, f"a sound problem was refused: {outcome.refusal}"
        assert same(state(model), before)
        assert frozen(state(model)) == dumped[:1]
        return
    check_fit(model)
    if not {"X", "count_column", "y_err_column", "error_columns"} & problem.spoilt.keys():
        check_predictions(model, problem.some()[0])


@given(problem=problems())
@examples(25)
def test_what_must_not_matter_does_not_matter(problem: Problem) -> None:
    model = fitted(problem)
    found = numbers(model)
    exact = model.inference_ == "exact"
    close = 0.05  # rows in another order may have other draws, and their Monte Carlo error
    rtol, atol = (1e-6, 1e-8) if exact else (close, close * max(1.0, float(np.abs(found).max())))
    n = len(problem.target)
    by_row = {
        name: (np.ndim(value) > 0 and len(value) == n and name != "X_cov") or np.ndim(value) == 3
        for name, value in problem.stated.items()
    }

    def refit(rows: Any, **other: Any) -> Array:
        X = problem.table if not problem.names_used else as_table(problem.table, problem.names, "frame")
        X = X[rows] if isinstance(X, np.ndarray) else X.iloc[rows]
        given = {k: np.asarray(v)[rows] if by_row[k] else v for k, v in problem.stated.items()} | other
        return numbers(clone(problem.model).fit(X, problem.target[rows], **given))

    with without_sampler():
        if problem.exact_copy:
            every = attempt(refit, np.arange(n)).value
            assert_allclose(every, found, rtol=1e-9 if exact else 1e-6, atol=1e-9 if exact else 1e-6)
            again = attempt(refit, np.random.default_rng(0).permutation(n)).value
            # Of few rows, draws of all that a mixture has are too far apart.
            if not {"x_error_distribution", "x_distribution"} & set(problem.parameters):
                assert_allclose(again, found, rtol=rtol, atol=atol)
            weight = problem.stated.get("sample_weight")
            if weight is not None and model.weight_type_ == "frequency" and "X_err" not in problem.stated:
                rows = np.repeat(np.arange(n), weight.astype(int))
                repeated = attempt(refit, rows, sample_weight=np.ones(len(rows))).value
                assert_allclose(repeated, found, rtol=10.0 * rtol, atol=10.0 * atol)
    refitted = attempt(fitted, problem).value
    if not isinstance(problem.parameters["random_state"], np.random.RandomState):
        assert np.array_equal(numbers(refitted), found)


@given(problem=problems(("plain", "y_err", "frequency", "counts")), seed=st.integers(0, 99))
@examples(40)
def test_the_order_of_columns_does_not_matter(problem: Problem, seed: int) -> None:
    assume(problem.exact_copy)
    order = np.random.default_rng(seed).permutation(problem.table.shape[1])
    model = fitted(problem)
    prior = problem.parameters.get("coef_prior")
    parameters = dict(problem.parameters)
    if isinstance(prior, Normal) and np.ndim(prior.sigma):
        parameters["coef_prior"] = Normal(prior.mu, np.asarray(prior.sigma)[order])
    other = attempt(
        Regressor(**parameters).fit, problem.table[:, order], problem.target, **problem.stated
    ).value
    assert_allclose(other.coef_, model.coef_[order], rtol=1e-6, atol=1e-8)
    assert_allclose(other.coef_std_, model.coef_std_[order], rtol=1e-6, atol=1e-8)
    assert_allclose(other.predict(problem.table[:, order]), model.predict(problem.X), rtol=1e-6, atol=1e-8)


# Predictions.


@given(data=st.data(), problem=problems())
@examples(120)
def test_a_prediction_is_in_order_or_is_refused(data: Any, problem: Problem) -> None:
    model = fitted(problem)
    before, dumped = state(model), frozen(state(model))
    request = data.draw(requests(problem))
    rows = frozen(request.X, request.arguments)
    outcome = attempt(getattr(model, request.method), request.X, **request.arguments)
    assert same(state(model), before)
    assert frozen(state(model)) == dumped
    assert frozen(request.X, request.arguments) == rows, request
    if not outcome.answered:
        return
    if request.method == "predict_distribution":
        if request.spoilt.get("X") == "huge":
            return  # beyond the largest number squared
        noise = bool(request.arguments.get("include_noise", True))
        check_distribution(outcome.value, discrete=problem.kind in SHARES, noise=noise)
    else:
        for answer in outcome.value if isinstance(outcome.value, tuple) else (outcome.value,):
            assert len(answer) == len(problem.table) or "X" in request.spoilt
            assert np.isfinite(answer).all() or request.method == "predict_quantiles"
    if request.method == "predict_interval":
        assert (outcome.value[:, 0] <= outcome.value[:, 1]).all()


@given(problem=problems(), with_errors=st.booleans())
@examples(25)
def test_predictions_of_every_kind_of_problem_satisfy_the_invariants(
    problem: Problem, with_errors: bool
) -> None:
    X, new = problem.some()
    check_predictions(fitted(problem), X, **(new if with_errors else {}))


# All else that takes data, or asks something of a fit.

CALLS: dict[str, Callable[[Regressor, Problem], Outcome]] = {
    "loo": lambda model, p: attempt(model.loo, p.X, p.y, **p.given),
    "loo_pit": lambda model, p: attempt(model.loo_pit, p.X, p.y, **p.given),
    "partial_fit": lambda model, p: attempt(lambda: model.partial_fit(p.X, p.y, **p.given)),
    "audit_errors": lambda model, p: attempt(audit_errors, model, p.X, p.y, **p.given),
    "to_arviz": lambda model, p: attempt(model.set_params(draws=20).to_arviz, p.X, p.y, **p.given),
    "score": lambda model, p: attempt(model.score, p.X, p.y),
}
SCORERS = ("log_predictive_density", "neg_crps", "neg_pit_error", "neg_interval_score")


@given(data=st.data(), problem=problems(), name=st.sampled_from(list(CALLS)))
@examples(80)
def test_other_calls_with_data_answer_or_refuse(data: Any, problem: Problem, name: str) -> None:
    model = fitted(problem)
    again = data.draw(spoilt_again(problem))
    if name in ("loo", "loo_pit", "audit_errors", "to_arviz"):
        again.given.pop("Xy_cov", None)
    rows = frozen(again.X, again.y, again.given)
    before = state(model)
    with without_sampler():
        outcome = CALLS[name](model, again)
    assert frozen(again.X, again.y, again.given) == rows, again
    if name != "partial_fit" or not outcome.answered:
        assert same(state(model), before)
    if not outcome.answered:
        assert (
            again.spoilt
            or outcome.sampler
            or name in ("partial_fit", "audit_errors", "score")
            or (problem.kind in ("Xy_cov", "count_column", "counts", "frequency", *SHARES))
        ), f"{name} refuses the training rows: {outcome.refusal}"
        return
    if name == "loo_pit":
        values = outcome.value[np.isfinite(outcome.value)]
        assert ((values >= 0.0) & (values <= 1.0)).all()
    if name == "partial_fit" and hasattr(model, "coef_"):
        check_fit(model)


@given(thing=st.sampled_from(THINGS), name=st.sampled_from(["summary", "merge", "loo", "set_params"]))
@examples(60)
def test_questions_to_a_fitted_model_are_answered_or_refused(thing: Any, name: str) -> None:
    model = copy.deepcopy(EARLIER)
    before = frozen(state(model))
    call = {
        "summary": lambda: model.summary(thing),
        "merge": lambda: model.merge(thing),
        "loo": lambda: model.loo(thing, thing),
        "set_params": lambda: model.set_params(coef_prior=thing).fit([[0.0], [1.0], [3.0]], [0.0, 1.0, 3.1]),
    }[name]
    if not attempt(call).answered:
        assert frozen(state(model)) == before


@given(data=st.data(), problem=problems(("plain", "y_err", "counts", "frequency", "count_column")))
@examples(40)
def test_a_search_answers_or_refuses(data: Any, problem: Problem) -> None:
    again = data.draw(spoilt_again(problem, least=0))
    arguments = data.draw(spoilt_grids(problem))
    for name in ("X_err", "X_cov"):
        again.given.pop(name, None)
    search = RegressorCV(**arguments)
    with without_sampler():
        outcome = attempt(search.fit, again.X, again.y, **again.given)
    if not outcome.answered:
        assert not state(search)
        return
    check_fit(search.best_estimator_)
    assert np.isfinite(search.best_score_)
    assert search.best_index_ == int(np.argmax(search.cv_results_["score"]))
    assert not np.isnan(search.cv_results_["score"]).any()


@given(
    data=st.data(), problem=problems(("plain", "y_err", "counts", "student_t")), name=st.sampled_from(SCORERS)
)
@examples(60)
def test_scorers_answer_or_refuse(data: Any, problem: Problem, name: str) -> None:
    model = fitted(problem)
    scorer = metrics.make_probabilistic_scorer(name, coverage=0.9 if "interval" in name else None)
    again = data.draw(spoilt_again(problem))
    given_ = {key: again.given[key] for key in ("sample_weight", "y_err") if key in again.given}
    outcome = attempt(scorer, model, again.X, again.y, **given_)
    if outcome.answered:
        assert not np.isnan(outcome.value)


METRICS = {
    "log_predictive_density": ("y_true", "y_pred", "y_std", "sample_weight"),
    "crps": ("y_true", "y_pred", "y_std", "sample_weight"),
    "pit": ("y_true", "y_pred", "y_std"),
    "pit_error": ("pit_values", "sample_weight"),
    "interval_score": ("y_true", "y_lower", "y_upper", "coverage", "sample_weight"),
    "interval_coverage": ("y_true", "y_lower", "y_upper", "sample_weight"),
    "interval_width": ("y_lower", "y_upper", "sample_weight"),
}


@given(data=st.data(), name=st.sampled_from(list(METRICS)))
@examples(150)
def test_metrics_answer_or_refuse(data: Any, name: str) -> None:
    values = {"y_pred": 0.5, "y_lower": -1.0, "y_upper": 2.0, "y_std": 0.3, "coverage": 0.9}
    arguments: dict[str, Any] = {}
    for argument in METRICS[name]:
        usual = np.linspace(0.1, 0.9, 6) + values.get(argument, 0.0)
        arguments[argument] = np.linspace(0.1, 0.9, 6) if argument == "pit_values" else usual
    if "coverage" in arguments:
        arguments["coverage"] = 0.9
    for argument in data.draw(st.lists(st.sampled_from(METRICS[name]), min_size=1, max_size=2, unique=True)):
        one = argument == "coverage"
        arguments[argument] = data.draw(
            st.sampled_from(NUMBERS)
            if one
            else spoilt_vectors(arguments[argument]).map(lambda drawn: drawn.value)
        )
    outcome = attempt(getattr(metrics, name), **arguments)
    if outcome.answered:
        assert not np.isnan(outcome.value).any()


@given(
    data=st.data(),
    names=st.lists(
        st.sampled_from(("coef", "intercept", "mean_share", "messages", "overdispersion", "random_state")),
        unique=True,
        max_size=2,
    ),
    n_samples=st.sampled_from([t for t in THINGS if not (isinstance(t, int) and t > 1000)] + [5]),
)
@examples(60)
def test_generators_of_data_answer_or_refuse(data: Any, names: list[str], n_samples: Any) -> None:
    things = st.one_of(st.sampled_from(THINGS), st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)))
    arguments = {name: data.draw(things) for name in names}
    outcome = attempt(datasets.make_role_modeling, n_samples, **arguments)
    if outcome.answered:
        shares = np.asarray(outcome.value.target)
        assert len(shares) == n_samples
        assert ((shares >= 0.0) & (shares <= 1.0)).all()


DISPLAYS = (PredictionDisplay, CalibrationDisplay, PITDisplay, VarianceDisplay)


@given(data=st.data(), problem=problems(("plain", "y_err", "counts", "X_err", "binomial")))
@examples(30)
def test_displays_are_made_or_refused(data: Any, problem: Problem) -> None:
    model = fitted(problem)
    again = data.draw(spoilt_again(problem))
    new = {name: value for name, value in again.given.items() if name in problem.new}
    kind = data.draw(st.sampled_from([*DISPLAYS, CoefficientDisplay, RegressionLineDisplay]))
    if kind is CoefficientDisplay:
        attempt(kind.from_estimator, model, coverage=data.draw(st.sampled_from(NUMBERS)))
    elif kind is RegressionLineDisplay:
        attempt(kind.from_estimator, model, again.X, again.y, feature=data.draw(st.sampled_from(NUMBERS)))
    elif kind is VarianceDisplay:
        attempt(kind.from_estimator, model, again.X, **new)
    else:
        attempt(
            kind.from_estimator,
            model,
            again.X,
            again.y,
            sample_weight=again.given.get("sample_weight"),
            **new,
        )
    plt.close("all")


# The sampler: one structure, compiled once.


@pytest.fixture(scope="module")
def sampled() -> Regressor:
    """Compile before Hypothesis looks at the recursion limit, which PyMC sets, and before a call is timed."""
    settings_ = {"draws": 20, "chains": 2, "nuts_kwargs": {"tune": 20, "cores": 1}, "random_state": 0}
    model = Regressor(inference="nuts", coef_prior=Laplace(b=0.7), **settings_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so few draws are not to be trusted
        return model.fit(np.random.default_rng(0).normal(size=(8, 2)), np.arange(8.0))


@given(data=st.data(), seed=st.integers(0, 99))
@examples(10)
def test_sampled_fits_satisfy_the_invariants_or_are_refused(sampled: Regressor, data: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(8, 2))
    model = clone(sampled)
    spoilt = data.draw(st.sampled_from(["nothing", "nothing", "nuts_kwargs", "draws", "chains"]))
    if spoilt == "nuts_kwargs":
        name = data.draw(
            st.sampled_from(["tune", "cores", "target_accept", "nuts_sampler", "no_such_setting"])
        )
        few = [value for value in NUMBERS if value is not None]
        model.set_params(nuts_kwargs={"tune": 20, "cores": 1, name: data.draw(st.sampled_from(few))})
    elif spoilt != "nothing":
        few = [value for value in NUMBERS if not (isinstance(value, int) and value > 10)]
        model.set_params(**{spoilt: data.draw(st.sampled_from(few))})
    outcome = attempt(model.fit, X, X.sum(axis=1) + 0.3 * rng.normal(size=8))
    if not outcome.answered:
        assert spoilt != "nothing", outcome.refusal
        assert not state(model)
        return
    check_fit(model)
    check_predictions(model, X[:3])
