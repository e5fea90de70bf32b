"""How NUTS runs: one compiled model a structure, in threads, workers and under interrupts, quietly, reproducibly."""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score
from threadpoolctl import threadpool_info

from bayes_sklearn import Horseshoe, Laplace, Normal, StudentT
from bayes_sklearn.inference.nuts import sampler
from bayes_sklearn.inference.nuts.sampler import CompiledModels
from bayes_sklearn.priors import CoefficientPrior

from data import measured
from plain import Regressor

pytestmark = [
    pytest.mark.filterwarnings("ignore:The draws of NUTS are not to be trusted"),  # few are drawn here
]

Array = NDArray[np.float64]
X, Y, Y_ERR = measured(60, 2)
ROWS = np.random.default_rng(3).permutation(60)


def sampled(**settings: Any) -> Regressor:
    settings = {"coef_prior": Laplace(), "draws": 50, "random_state": 0, "inference": "nuts", **settings}
    return Regressor(**settings)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Every model that is compiled, from an empty cache on; what was compiled serves the tests after."""
    import nutpie

    found: list[object] = []
    compile_model = nutpie.compile_pymc_model

    def counted(model: object, *args: Any, **kwargs: Any) -> Any:
        found.append(model)
        return compile_model(model, *args, **kwargs)

    monkeypatch.setattr(nutpie, "compile_pymc_model", counted)
    before, empty = sampler.COMPILED, CompiledModels(4)
    monkeypatch.setattr(sampler, "COMPILED", empty)
    yield found
    for key, model in empty._models.items():
        before.get(key, lambda model=model: model)  # type: ignore[misc]


def test_one_compilation_serves_other_rows_errors_weights_and_numbers_in_the_priors(
    compilations: list[object],
) -> None:
    fits = [
        sampled().fit(X, Y, y_err=Y_ERR),
        sampled(coef_prior=Laplace(mu=[0.1, -0.1], b=0.2), random_state=1).fit(X[:30], Y[:30], y_err=0.5),
        sampled(standardize=False).fit(1e3 * X, Y, np.arange(60.0) % 4, y_err=Y_ERR),
        sampled().fit(X, Y),
    ]
    threads = [threading.Thread(target=sampled(random_state=i).fit, args=(X, Y)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    search = GridSearchCV(sampled(), {"coef_prior__b": [0.1, 1.0]}, cv=3).fit(X, Y)
    assert len(compilations) == 1
    assert {model.inference_ for model in (*fits, search.best_estimator_)} == {"nuts"}


def test_two_threads_that_ask_for_one_model_compile_it_once_and_the_oldest_goes() -> None:
    models, made = CompiledModels(2), []
    started = threading.Barrier(4)

    def compile_model() -> object:
        made.append(object())
        return made[-1]

    def ask(_: int) -> object:
        started.wait()
        return models.get("a", compile_model)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(map(id, pool.map(ask, range(4))))) == 1
    assert len(made) == 1
    models.get("b", compile_model)
    models.get("a", compile_model)  # used again: "b" is now the oldest
    models.get("c", compile_model)
    assert (len(models), len(made)) == (2, 3)
    models.get("a", compile_model)
    assert len(made) == 3
    models.get("b", compile_model)
    assert len(made) == 4


def test_a_model_that_fails_to_compile_leaves_the_cache_usable() -> None:
    models = CompiledModels(2)
    with pytest.raises(RuntimeError):
        models.get("a", lambda: (_ for _ in ()).throw(RuntimeError("no")))
    assert models.get("a", lambda: 1) == 1


def test_fitted_models_hold_nothing_compiled() -> None:
    model = sampled().fit(X, Y, y_err=Y_ERR)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_array_equal(other.predict(X), model.predict(X))
    assert not hasattr(clone(model), "coef_")


def test_the_same_seed_gives_the_same_numbers_with_any_number_of_cores() -> None:
    models = [
        sampled(nuts_kwargs={"cores": cores}, random_state=seed).fit(X, Y, y_err=Y_ERR)
        for cores, seed in ((1, 0), (2, 0), (4, 0), (2, 1))
    ]
    for model in models[1:3]:
        assert_array_equal(model._fitted.posterior.location, models[0]._fitted.posterior.location)
    assert not np.array_equal(models[3].coef_, models[0].coef_)


@pytest.mark.parametrize(
    "settings", [{}, pytest.param({"noise": "additive"}, marks=pytest.mark.thorough)], ids=str
)
def test_the_order_of_rows_repeats_and_units_change_draws_by_chance_alone(settings: dict[str, Any]) -> None:
    """Units that are powers of two change no bit where the rows are no series in a scatter."""
    settings = {**settings, "draws": 200}
    model = sampled(**settings).fit(X, Y, y_err=Y_ERR)
    twice, binary, one = np.repeat(np.arange(60), 2), 2.0 ** np.array([-40.0, 40.0]), np.ones(2)
    half = sampled(**settings).fit(X[twice], Y[twice], np.full(120, 0.5), y_err=Y_ERR[twice])
    same = sampled(**settings).fit(X * binary, 2.0**30 * Y, y_err=2.0**30 * Y_ERR)
    for other, scale in (
        (sampled(**settings).fit(X[ROWS], Y[ROWS], y_err=Y_ERR[ROWS]), one),
        (sampled(**settings).fit(X, Y, np.ones(60), y_err=Y_ERR), one),
        (sampled(**settings).fit(X * [1e3, 1e-6], 1e4 * Y, y_err=1e4 * Y_ERR), np.array([10.0, 1e10])),
        (half, one),
        (same, 2.0**30 / binary),
    ):
        away = (other.coef_ / scale - model.coef_) / model.coef_std_
        assert np.abs(away).max() < 0.35  # six standard errors of a difference
        assert_allclose(other.coef_std_ / scale, model.coef_std_, rtol=0.3)
    expected = model._fitted.posterior.location[:, 1:]
    if "noise" not in settings:
        assert_allclose(same._fitted.posterior.location[:, 1:] * binary / 2.0**30, expected, rtol=1e-12)


def test_workers_and_threads_give_the_numbers_of_one_process() -> None:
    model = sampled(nuts_kwargs={"tune": 100})
    alone = cross_val_score(model, X, Y, cv=2)
    with parallel_config("threading", n_jobs=2):
        assert_array_equal(cross_val_score(model, X, Y, cv=2), alone)
    # Another process compiles anew, which may round otherwise: other draws, then, of the same posterior. It is one
    # task, for every worker that has one compiles.
    halves = ShuffleSplit(1, test_size=0.5, random_state=0)
    alone = cross_val_score(model, X, Y, cv=halves)
    with parallel_config("loky", n_jobs=2):
        assert_allclose(cross_val_score(model, X, Y, cv=halves), alone, atol=0.02)


def test_fits_that_overlap_leave_the_process_as_it_was() -> None:
    def state() -> tuple[Any, ...]:
        blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        return list(warnings.filters), logging.getLogger("pymc").level, blas

    sampled().fit(X, Y)
    before = state()
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: sampled(random_state=seed).fit(X, Y).coef_, range(4)))
    for seed, coef in enumerate(together):
        assert_array_equal(sampled(random_state=seed).fit(X, Y).coef_, coef)
    with pytest.raises(ValueError, match="nuts_kwargs"):
        sampled(nuts_kwargs={"depth": 3}).fit(X, Y)
    assert state() == before


SCRIPT = """
import numpy as np
from bayes_sklearn import BayesianErrorsInVariablesRegressor, StudentT
rng = np.random.default_rng(0)
X = rng.normal(size=(100, 2))
y = X @ [1.0, -1.0] + rng.normal(size=100)
model = BayesianErrorsInVariablesRegressor(
    coef_prior=StudentT(), inference="nuts", random_state=0, verbose={verbose}
).fit(X, y)
model.summary(); model.predict(X, return_std=True); model.to_arviz(X, y)
assert model.inference_ == "nuts"
"""


@pytest.mark.parametrize(
    "environment",
    [pytest.param({}, marks=pytest.mark.thorough), {"PATH": ""}],
    ids=["as is", "no compiler"],
)
def test_a_healthy_fit_says_nothing(environment: dict[str, str]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(verbose=False)],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, **environment},
    )
    assert (found.stdout, found.stderr, found.returncode) == ("", "", 0)


class Stopped(Exception):  # noqa: N818
    """In the place of compiling."""


class NoModels(CompiledModels):
    """A cache that compiles nothing."""

    def get(self, key: Any, compile_model: Any) -> Any:
        raise Stopped


@pytest.mark.parametrize("verbose", [False, True])
def test_who_wants_to_hear_hears_that_it_compiles(
    verbose: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sampler, "COMPILED", NoModels(1))
    with pytest.raises(Stopped):
        sampled(verbose=verbose).fit(X, Y)
    assert capsys.readouterr().out == "Compiling the model for NUTS: 10 to 30 s.\n" * verbose


class Unknown(CoefficientPrior):
    """A prior that PyMC has no distribution for."""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nuts_kwargs": {"draws": 3}}, "nuts_kwargs has 'draws': give it as the estimator's draws"),
        ({"nuts_kwargs": {"random_seed": 3}}, "the estimator's random_state"),
        ({"nuts_kwargs": {"progressbar": True}}, "the estimator's verbose"),
        (
            {"nuts_kwargs": {"tune": 0}},
            "nuts_kwargs: tune must be a whole number from 1 and below 2..31, got 0",
        ),
        ({"nuts_kwargs": {"tune": 1.5}}, "tune must be a whole number"),
        ({"nuts_kwargs": {"cores": -1}}, "cores must be a whole number"),
        ({"nuts_kwargs": {"cores": 10**30}}, "cores must be a whole number"),
        ({"nuts_kwargs": {"target_accept": 1.0}}, "target_accept must lie between 0 and 1"),
        ({"nuts_kwargs": {"target_accept": "high"}}, "target_accept must lie between 0 and 1"),
        (
            {"nuts_kwargs": {"nuts_sampler": "stan"}},
            "nuts_sampler must be one of nutpie, pymc, numpyro, blackjax",
        ),
        ({"nuts_kwargs": {"nuts_sampler": pd.Series([1.0])}}, "nuts_sampler must be one of nutpie"),
        ({"nuts_kwargs": {"not_an_option": 3}}, "not_an_option"),
        ({"nuts_kwargs": [3]}, "'nuts_kwargs' parameter"),
        ({"draws": 0}, "'draws' parameter"),
        ({"chains": 0}, "'chains' parameter"),
        ({"coef_prior": Unknown()}, "PyMC has no distribution for coef_prior"),
        (
            {"coef_prior": Horseshoe(n_nonzero=2)},
            "coef_prior__n_nonzero must lie between 0 and the number of",
        ),
        ({"coef_prior": Laplace(b=-1.0)}, "coef_prior__b must be positive"),
        ({"coef_prior": StudentT(nu=[1.0, 2.0, 3.0])}, "coef_prior__nu has shape"),
        ({"inference": "exact"}, "exact engine can't take this model"),
    ],
    ids=str,
)
def test_bad_settings_say_what_to_change(settings: dict[str, Any], message: str) -> None:
    model = sampled(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "coef_")


def test_an_intercept_has_no_horseshoe() -> None:
    with pytest.raises(TypeError, match="intercept_prior can't be Horseshoe"):
        sampled(intercept_prior=Horseshoe()).fit(X, Y)


@pytest.mark.parametrize("name", ["numpyro", "blackjax"])
def test_a_sampler_that_is_not_installed_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ImportError, match=f"nuts_sampler='{name}'.* needs {name}, not installed.*pip install"
    ):
        sampled(nuts_kwargs={"nuts_sampler": name}).fit(X, Y)


def test_a_sampler_that_pymc_can_t_call_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import pymc

    def failing(*args: Any, **kwargs: Any) -> None:
        raise TypeError("kernel() got an unexpected keyword argument.")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: True)
    monkeypatch.setattr(pymc, "sample", failing)
    with pytest.raises(
        ValueError, match=r"nuts_sampler='blackjax', as they are installed.*unexpected keyword"
    ):
        sampled(nuts_kwargs={"nuts_sampler": "blackjax"}).fit(X, Y)


def test_pymc_s_own_sampler_draws_from_the_same_posterior() -> None:
    ours = sampled(draws=1000).fit(X, Y)
    theirs = sampled(draws=500, chains=2, nuts_kwargs={"nuts_sampler": "pymc", "cores": 1}).fit(X, Y)
    assert_allclose(theirs.coef_, ours.coef_, atol=0.3 * ours.coef_std_.max())
    assert_allclose(theirs.coef_std_, ours.coef_std_, rtol=0.3)


@pytest.mark.filterwarnings("default:The draws of NUTS are not to be trusted")
def test_doubtful_draws_are_named_with_their_remedy() -> None:
    with pytest.warns(ConvergenceWarning, match=r"tail effective sample size is .*: raise draws \(now 20\)"):
        sampled(draws=20).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match=r"R-hat is .*raise draws \(now 4\) or tune"):
        sampled(draws=4, nuts_kwargs={"tune": 2}).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match=r"draws are divergent: raise target_accept"):
        sampled(nuts_kwargs={"tune": 1}).fit(X, 1e-3 * Y + X[:, 0])


@pytest.mark.parametrize(
    ("features", "target", "settings"),
    [
        (X[:2], Y[:2], {}),
        (np.column_stack([X[:, 0], X[:, 0]]), Y, {}),
        (np.column_stack([X[:, 0], np.ones(60)]), Y, {}),
        (X * [1e-12, 1e12], Y, {}),
        (X + 1e9, Y + 1e9, {}),
        (X, Y, {"standardize": False}),
        (X, np.ones(60), {"standardize": False}),
    ],
    ids=["two rows", "duplicates", "constant", "units", "offsets", "raw", "constant target"],
)
@pytest.mark.filterwarnings("ignore:The features fit the target without error")
def test_hard_data_give_finite_answers(features: Array, target: Array, settings: dict[str, Any]) -> None:
    model = sampled(**settings).fit(features, target)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict(features, return_std=True)[1]).all()


def test_exact_is_taken_where_it_can_be() -> None:
    assert sampled(coef_prior=Normal(), inference="auto").fit(X, Y).inference_ == "exact"
    with pytest.raises(ValueError, match="exact engine can't take this model"):
        sampled(coef_prior=Normal(), intercept_prior=StudentT(), inference="exact").fit(X, Y)
