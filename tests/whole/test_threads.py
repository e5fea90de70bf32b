"""Threads and processes: the same numbers as one after the other, and nobody else's settings touched."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sklearn.base import clone

from bayes_sklearn import BayesianErrorsInVariablesRegressorCV as Search
from bayes_sklearn import Laplace
from bayes_sklearn.inference._compat import quietly
from bayes_sklearn.inference.nuts import sampler as nuts_sampler
from bayes_sklearn.inference.nuts.sampler import CompiledModels

from data import measured, noisy_features, shares
from plain import Regressor

Array = NDArray[np.float64]
THREADS = 8
M, S, E = measured(200), shares(200), noisy_features(200)
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (Regressor(), {"X": M.X, "y": M.y}),
    "additive": (Regressor(noise="additive"), {"X": M.X, "y": M.y, "y_err": M.y_err}),
    "counts": (Regressor(weight_type="counts"), {"X": S.X, "y": S.y, "sample_weight": S.counts}),
    "features": (Regressor(random_state=0), {"X": E.X, "y": E.y, "X_err": E.X_err}),
    "heavy tails": (Regressor(likelihood="student_t", random_state=0), {"X": M.X, "y": M.y}),
    "search": (Search(param_grid={"coef_prior__sigma": [0.1, 1.0]}), {"X": M.X, "y": M.y}),
}


def together(tasks: list[Callable[[], Any]]) -> list[Any]:
    """What tasks return that begin at the same moment, each in a thread of its own."""
    started = threading.Barrier(len(tasks))

    def begin(task: Callable[[], Any]) -> Any:
        started.wait(60.0)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(begin, tasks))


@pytest.fixture
def hurried() -> Any:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def answers(model: Any, X: Array) -> list[Array]:
    distribution = model.predict_distribution(X)
    return [
        distribution.mean(),
        distribution.std(),
        distribution.covariance() if len(X) < 20 else np.zeros(0),
        distribution.interval(0.9),
        model.summary().to_numpy(),
    ]


def assert_same(found: list[Array], expected: list[Array]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)


@pytest.mark.thorough
@pytest.mark.usefixtures("hurried")
def test_fits_in_eight_threads_give_the_numbers_of_one() -> None:
    def fit_and_ask(name: str, of_rows: slice) -> list[Array]:
        model, data = CASES[name]
        part = {key: value[of_rows] for key, value in data.items()}
        return answers(clone(model).fit(**part), data["X"][:10])

    tasks = [(name, slice(first, None, 2)) for name in CASES for first in range(2)]
    expected = [fit_and_ask(*task) for task in tasks]
    for start in range(0, len(tasks), THREADS // 2):
        # Each twice: two threads fit the same, others other things.
        chosen = 2 * tasks[start : start + THREADS // 2]
        found = together([lambda task=task: fit_and_ask(*task) for task in chosen])  # type: ignore[misc]
        for task, one in zip(chosen, found, strict=True):
            assert_same(one, expected[tasks.index(task)])


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("name", CASES)
def test_one_model_predicts_from_eight_threads(name: str) -> None:
    model, data = CASES[name]
    model = clone(model).fit(**data)
    expected = [answers(model, data["X"][first::THREADS][:15]) for first in range(THREADS)]
    # Fresh from a file, what is computed once has not been computed yet.
    loaded = pickle.loads(pickle.dumps(model))
    found = together(
        [lambda first=first: answers(loaded, data["X"][first::THREADS][:15]) for first in range(THREADS)]  # type: ignore[misc]
    )
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.usefixtures("hurried")
def test_streams_in_eight_threads_give_the_numbers_of_one() -> None:
    def stream(seed: int) -> list[Array]:
        X, y, y_err = measured(120, 3, seed)
        model = Regressor()
        for first in range(0, 120, 20):
            rows = slice(first, first + 20)
            model = model.partial_fit(X[rows], y[rows], y_err=y_err[rows])
        return [*answers(model, X[:5]), answers(Regressor().fit(X, y, y_err=y_err).merge(model), X[:5])[0]]

    expected = [stream(seed) for seed in range(THREADS)]
    found = together([lambda seed=seed: stream(seed) for seed in range(THREADS)])  # type: ignore[misc]
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def sampled(seed: int, **settings: Any) -> Regressor:
    settings = {"inference": "nuts", **settings}
    return Regressor(coef_prior=Laplace(), draws=50, chains=2, random_state=seed, **settings)


def test_a_quiet_body_that_never_ended_keeps_no_thread_waiting() -> None:
    level = logging.getLogger("pymc").level
    # As an interrupt between a body and its end leaves it.
    left = quietly()
    left.__enter__()
    thread = threading.Thread(target=lambda: quietly().__enter__(), daemon=True)
    thread.start()
    thread.join(60.0)
    assert not thread.is_alive()
    # Its end comes with its garbage.
    del left, thread
    gc.collect()
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)
    assert logging.getLogger("pymc").level == level


@pytest.mark.filterwarnings("ignore:The draws of NUTS are not to be trusted")
def test_samplers_and_exact_fits_at_once_give_the_numbers_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(seed: int) -> Array:
        model = sampled(seed).fit(*measured(60, 2, seed)[:2])
        assert model.inference_ == "nuts"
        return model._fitted.posterior.location

    def exact(seed: int) -> Array:
        data = measured(60, 2, seed)
        return np.concatenate([Regressor().fit(data.X, data.y, y_err=data.y_err).coef_ for _ in range(20)])

    # Two at once compile the model, for both; then, compiled, it is the same.
    first = together([lambda: sample(0), lambda: sample(1)])
    assert_array_equal(first, [sample(0), sample(1)])
    expected = [exact(seed) for seed in range(4)]
    found = together(
        [lambda: sample(0), lambda: sample(1), *(lambda seed=seed: exact(seed) for seed in range(4))]  # type: ignore[misc]
    )
    assert_array_equal(found[:2], first)
    assert_array_equal(found[2:], expected)

    # A model that goes while it is in use stays good for those who use it.
    key = next(reversed(nuts_sampler.COMPILED._models))
    compiled = nuts_sampler.COMPILED.get(key, pytest.fail)
    small = CompiledModels(1)
    small.get(key, lambda: compiled)
    monkeypatch.setattr(nuts_sampler, "COMPILED", small)
    import nutpie

    start, sizes = nutpie.sample, []

    def evicting(model: Any, **arguments: Any) -> Any:
        running = start(model, **arguments)
        small.get("another", object)
        sizes.append(len(small))
        gc.collect()
        return running

    monkeypatch.setattr(nutpie, "sample", evicting)
    assert_array_equal(sample(0), first[0])
    assert sizes == [1]
    assert small.get(key, lambda: "compiled again") == "compiled again"


def test_threads_that_ask_for_one_model_wait_for_one_compilation() -> None:
    models, compiled = CompiledModels(2), []

    def compile_model() -> str:
        compiled.append("model")
        time.sleep(0.2)  # the others come meanwhile
        return "model"

    assert together(THREADS * [lambda: models.get("a", compile_model)]) == THREADS * ["model"]
    assert len(compiled) == 1


def test_the_models_of_a_process_are_bounded_and_let_go() -> None:
    class Model:
        pass

    assert nuts_sampler.COMPILED.size <= 64
    models = CompiledModels(3)
    compiled: list[weakref.ref[Model]] = []
    lock = threading.Lock()

    def compile_model() -> Model:
        model = Model()
        with lock:
            compiled.append(weakref.ref(model))
        return model

    def use(first: int) -> int:
        largest = 0
        for i in range(200):
            model = models.get((first + i) % 10, compile_model)
            assert type(model) is Model  # whoever has evicted it meanwhile
            largest = max(largest, len(models))
        return largest

    assert max(together([lambda first=first: use(first) for first in range(THREADS)])) <= 3  # type: ignore[misc]
    gc.collect()
    assert sum(model() is not None for model in compiled) == len(models) == 3


def test_the_model_unused_for_longest_goes_first() -> None:
    models, compiled = CompiledModels(3), []

    def ask(key: str) -> None:
        models.get(key, lambda: compiled.append(key) or key)  # type: ignore[func-returns-value]

    for key in "abcab":  # of a, b and c now c has been unused for longest
        ask(key)
    assert compiled == list("abc")
    ask("d")
    for key in "abd":
        ask(key)
    assert compiled == list("abcd")
    ask("c")
    assert compiled == list("abcdc")


class Steps:
    """Two threads that take their steps in turn."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}

    def _event(self, name: str) -> threading.Event:
        return self._events.setdefault(name, threading.Event())

    def reach(self, name: str) -> None:
        self._event(name).set()

    def wait_for(self, name: str) -> None:
        assert self._event(name).wait(60.0), name


def test_quiet_work_in_one_thread_silences_no_other() -> None:
    steps = Steps()

    def quiet() -> None:
        with quietly():
            steps.reach("quiet")
            warnings.warn("unheard", UserWarning, stacklevel=1)
            steps.wait_for("warned")
            with quietly():
                warnings.warn("unheard", UserWarning, stacklevel=1)
            warnings.warn("unheard", UserWarning, stacklevel=1)

    before = list(warnings.filters)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(quiet)
        steps.wait_for("quiet")
        with pytest.raises(UserWarning, match="heard"):
            warnings.warn("heard", UserWarning, stacklevel=1)
        steps.reach("warned")
        running.result()
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)


def test_filters_that_come_and_go_in_another_thread_stay_the_users() -> None:
    before = list(warnings.filters)
    for first_in, first_out in (("quiet", "quiet"), ("quiet", "user"), ("user", "quiet"), ("user", "user")):
        steps = Steps()

        def quiet(steps: Steps = steps, first_in: str = first_in, first_out: str = first_out) -> None:
            if first_in == "user":
                steps.wait_for("user in")
            with quietly():
                steps.reach("quiet in")
                steps.wait_for("both in")
                warnings.warn("unheard", UserWarning, stacklevel=1)
                steps.reach("unheard")
                if first_out == "user":
                    steps.wait_for("user out")
            steps.reach("quiet out")

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(quiet)
            if first_in == "quiet":
                steps.wait_for("quiet in")
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                steps.reach("user in")
                steps.wait_for("quiet in")
                with pytest.raises(RuntimeWarning):
                    warnings.warn("heard", RuntimeWarning, stacklevel=1)
                steps.reach("both in")
                steps.wait_for("unheard")
                if first_out == "quiet":
                    steps.wait_for("quiet out")
            steps.reach("user out")
            running.result()
        with quietly():
            warnings.warn("unheard", UserWarning, stacklevel=1)
        assert warnings.filters == before
        with pytest.raises(UserWarning):
            warnings.warn("heard", UserWarning, stacklevel=1)


SCRIPT = """
import sys
import numpy as np
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import GridSearchCV
from bayes_sklearn import Normal
from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.priors import CoefficientPrior

class Own(CoefficientPrior):
    def __init__(self, sigma=1.0):
        self.sigma = sigma
    def gaussian(self, argument, size):
        return np.zeros(size), np.full(size, self.sigma)

def score(model, X, y):
    assert not {"pymc", "pytensor", "nutpie", "arviz"} & set(sys.modules)
    return model.predict_distribution(X).logpdf(y).mean()

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    y = X @ [1.0, 0.0, -1.0] + rng.normal(size=90)
    grid = {"coef_prior": [Own(0.1), Own(1.0), Normal(0.0, 0.3)], "noise": ["scaled", "additive"]}
    search = GridSearchCV(Regressor(), grid, scoring=score, cv=3, error_score="raise")
    one = search.fit(X, y, y_err=np.resize([0.5, 1.0], 90)).cv_results_["mean_test_score"]
    best = search.best_estimator_.predict(X)
    with parallel_config("loky", n_jobs=2):
        two = search.fit(X, y, y_err=np.resize([0.5, 1.0], 90)).cv_results_["mean_test_score"]
        # What a fitted model is made of is mapped into the workers' memory, read-only.
        model = Regressor(random_state=0).fit(X, y, X_err=0.3)
        parts = Parallel(max_nbytes=100)(delayed(model.predict)(X[i::2], X_err=0.3) for i in range(2))
    assert np.array_equal(one, two), one - two
    assert np.array_equal(best, search.best_estimator_.predict(X))
    assert all(np.array_equal(part, model.predict(X[i::2], X_err=0.3)) for i, part in enumerate(parts))
    print("the same")
"""


def test_processes_give_the_numbers_of_one_and_never_import_pymc(tmp_path: Any) -> None:
    # A script's own priors go along, whose module the workers don't have.
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        # Workers have their share of the cores: matrix products of several threads round otherwise.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert found.stdout == "the same\n", found.stderr
