"""Interrupting (Ctrl-C): what was fitted before stays as it was, and nothing is left behind."""

from __future__ import annotations

import _thread
import logging
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits

import bayes_sklearn
from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import BayesianErrorsInVariablesRegressorCV as Search
from bayes_sklearn import Laplace
from bayes_sklearn.inference.nuts import sampler as nuts_sampler
from bayes_sklearn.inference.nuts.sampler import CompiledModels

from data import measured, noisy_features

Array = NDArray[np.float64]
PACKAGE = str(Path(bayes_sklearn.__file__).parent)
FIRST, SECOND = measured(40, 2, seed=0), measured(40, 2, seed=1)
NEW = measured(20, 2, seed=2).X


@pytest.fixture(autouse=True)
def _interrupts_arrive() -> Iterator[None]:
    """A process that a shell started in the background ignores Ctrl-C; what is tested here has to feel it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    # A tracer can interrupt between the body of a "with" and its end, as no signal does: NumPy's state is restored.
    with np.errstate():
        yield
    signal.signal(signal.SIGINT, before)


class Interrupted:
    """Carry out a task, and interrupt it before its k-th line of the package's own code."""

    def __init__(self, k: int):
        self.left = k

    def __call__(self, task: Callable[[], Any]) -> bool:
        """Return whether it was interrupted."""
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            task()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        # Locks of the process are held in one file: those of a "with" whose end never comes would be for good.
        file = frame.f_code.co_filename
        return self._line if file.startswith(PACKAGE) and not file.endswith("_compat.py") else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self._line


def number_of_lines(task: Callable[[], Any]) -> int:
    counter = Interrupted(10**9)
    assert not counter(task)
    return 10**9 - counter.left


def answers(model: Any) -> list[Array]:
    fitted = getattr(model, "best_estimator_", model)
    return [
        model.predict(NEW),
        fitted.predict_interval(NEW),
        fitted.summary().to_numpy(),
        fitted.coef_,
        *([model.coef_, np.float64(model.intercept_)] if isinstance(model, Search) else []),
    ]


def same(one: list[Array], other: list[Array]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


NOISY = noisy_features(40)
GRID = {"coef_prior__sigma": [0.1, 1.0], "noise": ["scaled", "additive"]}
TASKS: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
    "fit": (Regressor(), lambda model, data: model.fit(data.X, data.y, y_err=data.y_err)),
    "fit with errors of features": (
        Regressor(random_state=0),
        lambda model, data: model.fit(data.X, data.y, X_err=[0.05, 0.0]),
    ),
    "stream": (
        Regressor(),
        lambda model, data: [model.partial_fit(data.X[i::4], data.y[i::4]) for i in range(4)],
    ),
    "search": (
        Search(param_grid=GRID),
        lambda model, data: model.fit(data.X, data.y, y_err=data.y_err),
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_an_interrupt_anywhere_leaves_one_whole_fit(name: str) -> None:
    model, task = TASKS[name]
    model = clone(model)
    task(model, FIRST)
    saved = pickle.dumps(model)

    def again() -> Any:
        return pickle.loads(saved)

    # A whole fit: the one before or, where an interrupt came after its last step, the new one; of a stream, any.
    whole = [answers(again())]
    if name == "stream":
        stream = again()
        for i in range(4):
            stream.partial_fit(SECOND.X[i::4], SECOND.y[i::4])
            whole.append(answers(stream))
    else:
        done = again()
        task(done, SECOND)
        whole.append(answers(done))
    counted = again()
    lines = number_of_lines(lambda: task(counted, SECOND))
    assert lines > 200
    filters = list(warnings.filters)
    # The last lines are those that set what was fitted: all of them, and of the others some.
    chosen = np.unique(np.append(np.linspace(1, lines, 30), np.arange(lines - 30, lines + 1)).astype(int))
    kept = 0
    for k in chosen:
        interrupted = again()
        assert Interrupted(int(k))(lambda interrupted=interrupted: task(interrupted, SECOND))  # type: ignore[misc]
        found = [same(answers(interrupted), one) for one in whole]
        assert sum(found) == 1, k
        kept += found[0]
        if k % 10 == 0:
            # It can be fitted, and gives what it would have given.
            if name == "stream":
                rows = found.index(True)
                for i in range(rows, 4):
                    interrupted.partial_fit(SECOND.X[i::4], SECOND.y[i::4])
            else:
                task(interrupted, SECOND)
            assert same(answers(interrupted), whole[-1])
    assert kept > (5 if name == "stream" else 0.9 * len(chosen))
    assert warnings.filters == filters


def test_an_unfitted_model_stays_unfitted() -> None:
    counted = Regressor()
    lines = number_of_lines(lambda: counted.fit(FIRST.X, FIRST.y))
    for k in np.linspace(1, lines - 1, 50).astype(int):
        model = Regressor()
        assert Interrupted(int(k))(lambda model=model: model.fit(FIRST.X, FIRST.y))  # type: ignore[misc]
        assert vars(model) == vars(Regressor())


def test_an_interrupted_grid_search_leaves_its_best_estimator_as_it_was() -> None:
    search = GridSearchCV(Regressor(), {**GRID, "coef_prior__sigma": [1.0, 2.0]}, cv=2, error_score="raise")
    best = search.fit(FIRST.X, FIRST.y).best_estimator_
    expected = answers(best)
    counted = clone(search)
    lines = number_of_lines(lambda: counted.fit(SECOND.X, SECOND.y))
    for k in np.linspace(1, lines - 1, 20).astype(int):
        assert Interrupted(int(k))(lambda: search.fit(SECOND.X, SECOND.y))
        assert same(answers(best), expected)
    assert same(answers(search.fit(SECOND.X, SECOND.y)), answers(counted))


def sampled(**settings: Any) -> Regressor:
    return Regressor(
        **{
            "coef_prior": Laplace(),
            "draws": 50,
            "chains": 2,
            "random_state": 0,
            "inference": "nuts",
            **settings,
        }
    )


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def process() -> tuple[Any, ...]:
    """What belongs to the process."""
    names = ("pymc", "pytensor", "arviz", "numba")
    return list(warnings.filters), [logging.getLogger(name).level for name in names], blas_threads()


@pytest.mark.filterwarnings("ignore:The draws of NUTS are not to be trusted")  # few are drawn here
@threadpool_limits.wrap(limits=2, user_api="blas")
def test_an_interrupted_sampler_is_stopped_and_the_last_fit_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import nutpie

    compile_model, made = nutpie.compile_pymc_model, []

    def keeping(*arguments: Any, **settings: Any) -> Any:
        made.append(compile_model(*arguments, **settings))
        return made[-1]

    monkeypatch.setattr(nuts_sampler, "COMPILED", CompiledModels(2))
    monkeypatch.setattr(nutpie, "compile_pymc_model", keeping)
    assert set(blas_threads()) == {2}
    model = sampled().fit(FIRST.X, FIRST.y)
    expected, before = answers(model), process()
    assert set(blas_threads()) == {2}
    start = nutpie.sample
    running: list[Any] = []

    def interrupting(*arguments: Any, **settings: Any) -> Any:
        sampler = start(*arguments, **settings)
        running.append(sampler)
        # As Ctrl-C does, while the sampler is at work.
        threading.Timer(0.3, _thread.interrupt_main).start()
        return sampler

    begun = time.perf_counter()
    model.set_params(draws=10_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(nutpie, "sample", interrupting)
        with pytest.raises(KeyboardInterrupt):
            model.fit(SECOND.X, SECOND.y)
    assert time.perf_counter() - begun < 30.0
    (sampler,) = running
    # It is over: nothing goes on in the background.
    deadline = time.perf_counter() + 10.0
    while not sampler.is_finished and time.perf_counter() < deadline:
        time.sleep(0.01)
    assert sampler.is_finished
    used = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - used < 0.15
    assert same(answers(model), expected)
    assert process() == before
    again = model.set_params(draws=50).fit(SECOND.X, SECOND.y)
    assert same(answers(again), answers(sampled().fit(SECOND.X, SECOND.y)))

    # A search that samples.
    search = GridSearchCV(sampled(), {"coef_prior__b": [0.5, 1.0]}, cv=2, error_score="raise")
    expected = answers(search.fit(FIRST.X, FIRST.y))
    finished: list[Any] = []

    def third(*arguments: Any, **settings: Any) -> Any:
        finished.append(start(*arguments, **settings))
        if len(finished) == 3:
            _thread.interrupt_main()
        return finished[-1]

    with monkeypatch.context() as patch:
        patch.setattr(nutpie, "sample", third)
        with pytest.raises(KeyboardInterrupt):
            search.fit(SECOND.X, SECOND.y)
    assert len(finished) == 3
    assert same(answers(search), expected)
    assert process() == before

    # While a model is compiled: the next fit has it compiled anew, and nobody waits for ever.
    monkeypatch.setattr(nuts_sampler, "COMPILED", CompiledModels(2))
    (compiled,) = made

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nutpie, "compile_pymc_model", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(FIRST.X, FIRST.y)
    assert len(nuts_sampler.COMPILED) == 0
    assert process() == before
    monkeypatch.setattr(
        nutpie, "compile_pymc_model", lambda *arguments, **settings: compiled
    )  # spares the wait
    assert same(answers(model.fit(SECOND.X, SECOND.y)), answers(again))
    assert len(nuts_sampler.COMPILED) == 1


def test_an_interrupted_batch_can_be_given_again() -> None:
    def batches(model: Regressor, seen: int = 0) -> Regressor:
        for i in range(seen, 5):
            model.partial_fit(FIRST.X[i::5], FIRST.y[i::5])
        return model

    expected = batches(Regressor())
    model = Regressor()
    for i in range(5):
        batch = FIRST.X[i::5], FIRST.y[i::5]
        counted = pickle.loads(pickle.dumps(model))
        lines = number_of_lines(lambda counted=counted, batch=batch: counted.partial_fit(*batch))  # type: ignore[misc]
        assert Interrupted(lines // 2)(lambda batch=batch: model.partial_fit(*batch))  # type: ignore[misc]
        model.partial_fit(*batch)
    assert_array_equal(model.coef_, expected.coef_)
    assert_array_equal(model.predict(NEW), expected.predict(NEW))
