"""Saving and loading: what is loaded predicts the same to the bit, or is not loaded."""

from __future__ import annotations

import copy
import gc
import io
import json
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning

import bayes_sklearn
from bayes_sklearn import (
    BayesianErrorsInVariablesRegressor,
    Beta,
    BetaBinomialLikelihood,
    BetaLikelihood,
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
    NegativeBinomialLikelihood,
    Normal,
    Outliers,
    PoissonLikelihood,
    StudentT,
    StudentTLikelihood,
    VarianceFunction,
    preprocessing,
)
from bayes_sklearn import BayesianErrorsInVariablesRegressorCV as Search
from bayes_sklearn.inference.groups.drawn import DrawnEffects, DrawnLevels
from bayes_sklearn.inference.groups.effects import Layout
from bayes_sklearn.persistence import TRUSTED_TYPES, OtherVersionWarning
from bayes_sklearn.priors import CoefficientPrior, PoweredCorrelation, ScatterPrior

from data import measured, noisy_features, shares
from plain import Regressor

skops = pytest.importorskip("skops.io")
# Few are drawn here.
pytestmark = pytest.mark.filterwarnings("ignore:The draws of NUTS are not to be trusted")

Array = NDArray[np.float64]
N = 97  # a number that no other size here is
M, S, E = measured(N), shares(N), noisy_features(N)
SKEWED = np.random.default_rng(0).exponential(size=N)
SKEWED_X = np.column_stack([SKEWED + 0.3 * np.random.default_rng(1).normal(size=N), E.X[:, 1]])
FRAME = pd.DataFrame({"a": S.X[:, 0], "b": S.X[:, 1], "messages": S.counts})
GROUPED = pd.DataFrame({"x": M.X[:, 0], "g": [f"g{i % 7}" for i in range(N)], "h": np.arange(N) % 4})
WITH_ERRORS = pd.DataFrame({"x": E.X[:, 0], "z": E.X[:, 1], "x_err": E.X_err[:, 0]})
GRID = {"coef_prior__sigma": [0.1, 1.0], "noise_prior": [HalfNormal(), Exponential(), Flat()]}

CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    # The model; what it is fitted to; what it predicts.
    "plain": (Regressor(), {"X": M.X, "y": M.y}, {}),
    "known errors": (Regressor(noise="known"), {"X": M.X, "y": M.y, "y_err": M.y_err}, {"y_err": 0.3}),
    "groups": (Regressor(group_column=["g", "h"]), {"X": GROUPED, "y": M.y}, {}),
    "additive": (Regressor(noise="additive"), {"X": M.X, "y": M.y, "y_err": M.y_err}, {}),
    "errors by value": (Regressor(), {"X": M.X, "y": M.y, "y_err": VarianceFunction(0.9, 0.1)}, {}),
    "shared errors": (
        Regressor(),
        {"X": M.X, "y": M.y, "y_err": M.y_err, "y_shared_err": 0.1 * np.ones(N)},
        {"y_shared_err": 0.1 * np.ones(N)},
    ),
    "covariance of errors": (
        Regressor(),
        {"X": M.X, "y": M.y, "y_cov": np.diag(M.y_err**2) + 0.01},
        {"y_cov_with_train": np.full((N, N), 0.01)},
    ),
    "kinds of errors": (
        Regressor(noise="additive", noise_prior=HalfCauchy()),
        {"X": M.X, "y": M.y, "y_err": np.resize([0.1, 0.2, 0.5], N)},
        {},
    ),
    "flat, no intercept": (
        Regressor(coef_prior=Flat(), fit_intercept=False, standardize=False),
        {"X": M.X, "y": M.y},
        {},
    ),
    "counts": (
        Regressor(weight_type="counts"),
        {"X": S.X, "y": S.y, "sample_weight": S.counts},
        {"counts": S.counts},
    ),
    "count column": (Regressor(count_column="messages"), {"X": FRAME, "y": S.y}, {}),
    "errors of features": (
        Regressor(random_state=0),
        {"X": E.X, "y": E.y, "X_err": E.X_err},
        {"X_err": E.X_err},
    ),
    "error columns": (
        Regressor(error_columns="_err", random_state=0),
        {"X": WITH_ERRORS, "y": E.y},
        {},
    ),
    "one error for all": (
        Regressor(random_state=0),
        {"X": E.X, "y": E.y, "X_err": [0.5, 0.0]},
        {},
    ),
    "mixture": (
        Regressor(x_distribution=Mixture(2), inference="importance", random_state=0),
        {"X": SKEWED_X, "y": 2.0 * SKEWED + M.y_err, "X_err": [0.3, 0.0]},
        {},
    ),
    "wild readings": (
        Regressor(x_error_distribution=Outliers(Beta(1.0, 20.0)), inference="importance", random_state=0),
        {"X": SKEWED_X, "y": 2.0 * SKEWED + M.y_err, "X_err": [0.3, 0.0]},
        {},
    ),
    "heavy tails": (
        Regressor(likelihood=StudentTLikelihood(nu=Gamma(2.0, 0.1)), coef_prior=Laplace(), random_state=0),
        {"X": M.X, "y": M.y},
        {},
    ),
    "binomial": (
        Regressor(likelihood="binomial", random_state=0),
        {"X": S.X, "y": S.y, "sample_weight": S.counts},
        {"counts": S.counts},
    ),
    "beta-binomial": (
        Regressor(likelihood=BetaBinomialLikelihood(dispersion_prior=Beta(1.0, 9.0)), random_state=0),
        {"X": S.X, "y": S.y, "sample_weight": S.counts},
        {"counts": S.counts},
    ),
    "proportions": (
        Regressor(likelihood=BetaLikelihood(), random_state=0),
        {"X": S.X, "y": 0.1 + 0.8 * S.y},
        {},
    ),
    "events": (
        Regressor(likelihood=PoissonLikelihood(), random_state=0),
        {"X": S.X, "y": np.rint(S.y * S.counts), "exposure": S.counts},
        {"exposure": 2.0},
    ),
    "events that vary": (
        Regressor(likelihood=NegativeBinomialLikelihood(), exposure_column=0, random_state=0),
        {"X": np.column_stack([S.counts, S.X]), "y": np.rint(S.y * S.counts)},
        {},
    ),
    "defaults": (
        BayesianErrorsInVariablesRegressor(),
        {"X": M.X, "y": M.y, "y_err": M.y_err},
        {"y_err": 0.3},
    ),
    "search": (Search(param_grid=GRID), {"X": M.X, "y": M.y, "y_err": M.y_err}, {}),
    "NUTS": (
        Regressor(coef_prior=Laplace(), inference="nuts", draws=50, random_state=0),
        {"X": M.X, "y": M.y},
        {},
    ),
}


@cache
def fitted(name: str) -> Any:
    model, data, _ = CASES[name]
    return clone(model).fit(**data)


def answers(name: str, model: Any) -> list[Array]:
    """All that can be asked of a model."""
    _, data, of_rows = CASES[name]
    distribution = model.predict_distribution(data["X"], **of_rows)
    named = [value for key, value in sorted(vars(model).items()) if key[0] != "_" and key[-1] == "_"]
    return [
        distribution.mean(),
        distribution.std(),
        distribution.interval(0.9),
        distribution.covariance() if name == "plain" else np.zeros(0),
        distribution.sample(3, random_state=0),
        model.summary().to_numpy(),
        *(np.asarray(value) for value in named if isinstance(value, float | np.ndarray)),
    ]


def joblibs(compress: int) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    def dump(model: Any) -> bytes:
        buffer = io.BytesIO()
        joblib.dump(model, buffer, compress=compress)
        return buffer.getvalue()

    return dump, lambda data: joblib.load(io.BytesIO(data))


WAYS: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "pickle": (pickle.dumps, pickle.loads),
    "old pickle": (lambda model: pickle.dumps(model, protocol=2), pickle.loads),
    "joblib": joblibs(0),
    "compressed": joblibs(3),
    "skops": (skops.dumps, lambda data: skops.loads(data, trusted=TRUSTED_TYPES)),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_loaded_answers_the_same_to_the_bit(name: str) -> None:
    model = fitted(name)
    expected = answers(name, model)
    for dump, load in WAYS.values():
        loaded = load(dump(model))
        assert loaded is not model
        for one, other in zip(answers(name, loaded), expected, strict=True):
            assert_array_equal(one, other)
        # Again: of what was loaded, after it has predicted.
        assert len(dump(loaded)) == pytest.approx(len(dump(model)), rel=0.05)


def test_what_is_loaded_goes_on_with_further_rows() -> None:
    for name in ("plain", "kinds of errors", "one error for all"):
        _, data, _ = CASES[name]
        for dump, load in WAYS.values():
            ours, loaded = (load(dump(fitted(name))) for _ in range(2))
            ours, loaded = ours.partial_fit(**data), load(dump(loaded)).partial_fit(**data)
            assert_array_equal(loaded.coef_, ours.coef_)
            assert_array_equal(loaded.predict(data["X"]), ours.predict(data["X"]))


def test_a_file_maps_into_memory(tmp_path: Path) -> None:
    model = fitted("errors of features")
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert_array_equal(loaded.predict(E.X), model.predict(E.X))


LOADING = """
import pickle, sys
import joblib, numpy as np, skops.io
from bayes_sklearn.persistence import TRUSTED_TYPES
X = np.load("X.npy")
for model in (
    pickle.load(open("model.pickle", "rb")),
    joblib.load("model.joblib"),
    skops.io.load("model.skops", trusted=TRUSTED_TYPES),
):
    assert (model.predict(X, return_std=True) == np.load("expected.npy")).all()
    model.predict_interval(X); model.summary()
assert not {"pymc", "pytensor", "nutpie", "arviz", "matplotlib"} & set(sys.modules), "heavy"
print("the same")
"""


def test_another_process_predicts_the_same_without_pymc(tmp_path: Path) -> None:
    # Not the summary of sampled fits: R-hat is ArviZ's.
    name, script = "NUTS", LOADING.replace("; model.summary()", "")
    model = fitted(name)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    joblib.dump(model, tmp_path / "model.joblib")
    skops.dump(model, tmp_path / "model.skops")
    np.save(tmp_path / "X.npy", M.X)
    np.save(tmp_path / "expected.npy", model.predict(M.X, return_std=True))
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert found.stdout == "the same\n", found.stderr


def test_skops_asks_for_the_trusted_types_and_no_others() -> None:
    asked: set[str] = set()
    every = [*map(fitted, CASES), fitted("NUTS").set_params(random_state=np.random.RandomState(0))]
    coef_priors = Horseshoe(), Normal(sigma=np.ones(3)), StudentT(), Flat(), PoweredCorrelation()
    every += [Regressor(coef_prior=prior) for prior in coef_priors]
    levels, none = DrawnLevels((), np.ones((1, 1, 1))), np.ones(0)
    every += [DrawnEffects(Layout((2,), ((),)), (), np.ones((1, 1)), none, none, 0.0, 1.0, levels)]
    noise_priors = HalfStudentT(), InverseGamma(2.0, 1.0), ScatterPrior()
    every += [Regressor(noise_prior=prior) for prior in noise_priors]
    every += [getattr(preprocessing, name)() for name in preprocessing.__all__ if name[0].isupper()]
    for model in every:
        asked |= set(skops.get_untrusted_types(data=skops.dumps(model)))
    fitted("NUTS").set_params(random_state=0)
    assert asked == set(TRUSTED_TYPES)
    assert len(set(TRUSTED_TYPES)) == len(TRUSTED_TYPES)
    assert all(name.startswith("bayes_sklearn.") for name in TRUSTED_TYPES)


def test_other_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in (Regressor(), fitted("plain"), Search(), fitted("search")):
        for dump, load in WAYS.values():
            data = dump(model)
            with monkeypatch.context() as patch:
                patch.setattr(bayes_sklearn, "__version__", "99.1")
                with pytest.warns(
                    InconsistentVersionWarning, match=r"saved by bayes_sklearn 0\.\d.*loaded by 99\.1"
                ) as found:
                    loaded = load(data)
                assert isinstance(found[0].message, OtherVersionWarning)
                assert found[0].message.loaded_by == "99.1"
                # What it saves from now on is its own.
                assert not any("99" in key or "version" in key for key in vars(loaded))
                load(dump(loaded))
            load(data)  # no warning
    with pytest.warns(OtherVersionWarning, match="an unknown version"):
        Regressor().__setstate__({})


DAMAGED = """
import io, json, pickle, resource, sys, warnings
import joblib, numpy as np, skops.io
from bayes_sklearn.persistence import TRUSTED_TYPES

# An altered length may ask for any amount of memory.
resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
way, positions = sys.argv[1], int(sys.argv[2])
data, X = open("model", "rb").read(), np.load("X.npy")
load = {
    "pickle": pickle.loads,
    "joblib": lambda data: joblib.load(io.BytesIO(data)),
    "compressed": lambda data: joblib.load(io.BytesIO(data)),
    "skops": lambda data: skops.io.loads(data, trusted=TRUSTED_TYPES),
}[way]
expected = load(data).predict(X, return_std=True)
rng = np.random.default_rng(0)
found = {"error": 0, "same": 0, "no model": 0, "different": 0, "half": 0}
warnings.simplefilter("ignore")

def outcome(altered):
    try:
        model = load(altered)
    except Exception:
        return "error"
    if not hasattr(model, "predict"):
        return "no model"
    try:
        predicted = model.predict(X, return_std=True)
    except Exception:
        return "half"
    return "same" if np.array_equal(predicted, expected) else "different"

for position in np.sort(rng.choice(len(data), positions, replace=False)):
    altered = bytearray(data)
    altered[position] ^= int(rng.integers(1, 256))
    found[outcome(bytes(altered))] += 1
cut = {outcome(data[:end]) for end in np.linspace(0, len(data) - 1, 200).astype(int)}
print(json.dumps([found, sorted(cut)]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="memory can't be limited")
@pytest.mark.parametrize("way", ["pickle", "joblib", "compressed", "skops"])
def test_a_damaged_file_gives_an_error_or_the_same_predictions(way: str, tmp_path: Path) -> None:
    positions = 2500 if way == "pickle" else 1000
    (tmp_path / "model").write_bytes(WAYS[way][0](fitted("plain")))
    np.save(tmp_path / "X.npy", M.X)
    result = subprocess.run(
        [sys.executable, "-c", DAMAGED, way, str(positions)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    found, cut = json.loads(result.stdout)
    assert found["half"] == found["different"] == 0
    assert found["error"] > 0.95 * positions
    assert found["no model"] <= 0.002 * positions  # pickle itself ends early
    # A compressed file may lose the end of its own checksum.
    assert set(cut) <= ({"error", "same"} if way == "compressed" else {"error"})


def test_the_error_says_what_is_wrong() -> None:
    data = pickle.dumps(fitted("plain"))
    number = np.float64(fitted("plain").intercept_).tobytes()
    (altered,) = {data.replace(form, b"\0" * 8) for form in (number, number[::-1])} - {data}
    with pytest.raises(ValueError, match=r"The saved model is damaged: .* Load another copy, or fit again"):
        pickle.loads(altered)


def reachable(value: object) -> Iterator[NDArray[Any]]:
    """All arrays that a value keeps in memory, those of which its own are views included."""
    seen: set[int] = set()
    left = [value]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            yield one
            left.append(one.base)
        left.extend(gc.get_referents(one))


# Of rows whose errors have a covariance few are kept, for new rows whose errors go with theirs.
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("NUTS", "covariance of errors")])
def test_a_fitted_model_keeps_no_rows(name: str) -> None:
    model = fitted(name)
    arrays = list(reachable(vars(model)))
    assert len(arrays) > 5
    assert not [array.shape for array in arrays if array.size % N == 0 and array.size]


@pytest.mark.parametrize("name", ["plain", "counts", "errors of features", "beta-binomial"])
def test_a_file_is_as_large_for_many_rows(name: str) -> None:
    model, data, _ = CASES[name]
    many = {
        key: np.tile(value, (30, *[1] * (value.ndim - 1))) if np.ndim(value) else value
        for key, value in data.items()
    }
    sizes = [len(pickle.dumps(one)) for one in (fitted(name), clone(model).fit(**many))]
    assert sizes[1] < 1.3 * sizes[0]


def test_a_file_grows_with_the_square_of_the_features() -> None:
    sizes = [len(pickle.dumps(Regressor().fit(*measured(300, p)[:2]))) for p in (40, 80, 160)]
    # Basis, root and triangle, and nodes of P numbers each.
    assert sizes[2] < 3 * 8 * 163**2 + 8 * 100 * 163
    assert sizes[2] - sizes[1] > 2.5 * (sizes[1] - sizes[0])


def test_predictions_leave_no_trace_in_the_file() -> None:
    for name in CASES:
        model = clone(CASES[name][0]).fit(**CASES[name][1]) if name != "NUTS" else fitted(name)
        before = pickle.dumps(model)
        answers(name, model)
        assert pickle.dumps(model) == before


class Skewed(CoefficientPrior):
    """A user's prior."""

    def __init__(self, sigma: float = 1.0):
        self.sigma = sigma

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array]:
        return np.zeros(size), np.full(size, self.sigma)


class Own(BayesianErrorsInVariablesRegressor):
    """A user's estimator, with state that it doesn't save."""

    def fit(self, *args: Any, **kwargs: Any) -> Own:
        super().fit(*args, **kwargs)
        self.hook = lambda: 1
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "hook"}


def test_what_users_add_is_saved_as_they_say() -> None:
    model = Own(coef_prior=Skewed(0.5), random_state=np.random.RandomState(3)).fit(M.X, M.y)
    model.table = np.asfortranarray(M.X)
    for dump, load in (WAYS["pickle"], WAYS["joblib"]):
        loaded = load(dump(model))
        assert type(loaded) is Own
        assert loaded.table.strides == model.table.strides  # products round by them
        assert_array_equal(loaded.table, model.table)
        assert type(loaded.coef_prior) is Skewed
        assert not hasattr(loaded, "hook")
        assert loaded.random_state.randint(10**9) == copy.deepcopy(model.random_state).randint(10**9)
        assert_array_equal(loaded.predict(M.X), model.predict(M.X))


def test_copies_and_clones_are_what_they_are_elsewhere() -> None:
    model = Regressor(coef_prior=Normal(sigma=np.ones(3)), nuts_kwargs={"callback": lambda: 1}).fit(M.X, M.y)
    shallow, deep, again = copy.copy(model), copy.deepcopy(model), clone(model)
    assert shallow.coef_prior is model.coef_prior
    assert deep.coef_prior is not model.coef_prior
    assert vars(shallow) == vars(model)
    for other in (shallow, deep, again.fit(M.X, M.y)):
        assert_array_equal(other.predict(M.X), model.predict(M.X))
    deep.coef_[:] = 0.0
    assert model.coef_.all()


def test_unfitted_models_and_requests_are_saved() -> None:
    model = Regressor(likelihood=StudentTLikelihood(nu=4.0), x_distribution=Mixture(3))
    for dump, load in WAYS.values():
        loaded = load(dump(model))
        assert repr(loaded) == repr(model)
        assert not loaded.__sklearn_is_fitted__()
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
        # skops can't take any estimator's requests.
        for dump, load in (WAYS["pickle"], WAYS["joblib"]):
            assert str(load(dump(model)).get_metadata_routing()) == str(model.get_metadata_routing())


def test_saving_and_loading_warn_of_nothing() -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for dump, load in WAYS.values():
            load(dump(fitted("plain")))
    assert not [str(one.message) for one in found]
