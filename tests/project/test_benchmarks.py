"""The benchmarks run, and none of them can vanish unseen. What they measure is no test's business."""

from __future__ import annotations

import csv
import sys
import time
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# The benchmarks are part of the checkout, not of the package.
sys.path.append(str(Path(__file__).parents[2]))
from bayes_sklearn import BayesianErrorsInVariablesRegressor
from benchmarks import __main__ as command
from benchmarks import cases as benchmark_cases
from benchmarks import (
    feature_cases,
    measure,
    nuts_cases,
    sampling,
    sampling_probe,
    scaling,
    streaming_cases,
)
from benchmarks.__main__ import main, run
from benchmarks.cases import CASES, Case
from benchmarks.data import measured, noisy, phones, scattered, shares, sparse
from benchmarks.fresh import run_probe
from benchmarks.measure import Result, ratios
from benchmarks.targets import TARGETS, Target

from plain import Regressor

pytestmark = pytest.mark.thorough

DOCUMENTED = Path(__file__).parents[2] / "docs" / "benchmarks"
LARGE = {"rows": 1_000_000, "columns": 4}
SAMPLED = {"draws": 4000, "tune": 1000}
STREAMED = {"batches": 100, "rows": 100_000, "columns": 10}
SEARCHED = {"rows": 2000, "columns": 4, "draws": 1000, "tune": 500, "candidates": 20}
# What the project has set itself: size, bound, and whether the bound is a lower one.
PROMISED: dict[str, tuple[dict[str, int], float, bool]] = {
    "fit-y-err-1e6x4": (LARGE, 1.0, False),
    "fit-y-err-scaled-1e6x4": (LARGE, 0.5, False),
    "fit-frequency-1e6x4": (LARGE, 0.5, False),
    "fit-y-err-1e6x20": ({"rows": 1_000_000, "columns": 20}, 1.0, False),
    "fit-y-err-scaled-1e6x20": ({"rows": 1_000_000, "columns": 20}, 0.4, False),
    "fit-frequency-1e6x20": ({"rows": 1_000_000, "columns": 20}, 0.4, False),
    "fit-y-err-2000x10": ({"rows": 2000, "columns": 10}, 2.5, False),
    "fit-y-err-scaled-2000x10": ({"rows": 2000, "columns": 10}, 2.5, False),
    "fit-frequency-2000x10": ({"rows": 2000, "columns": 10}, 2.5, False),
    "fit-counts-1e6x4": (LARGE, 1.6, False),
    "streaming": (STREAMED, 1.2, False),
    "streaming-y-err": (STREAMED, 1.2, False),
    "streaming-distributed": (STREAMED, 1.2, False),
    "memory-streaming": (STREAMED, 300.0, False),
    "search": ({"rows": 2000, "columns": 10, "candidates": 60}, 2.5, False),
    "search-loo": ({"rows": 2000, "columns": 10, "candidates": 60}, 1.0, False),
    "search-evidence": ({"rows": 2000, "columns": 10, "candidates": 60}, 1.0, False),
    "predict-std": (LARGE, 4.0, False),
    "intervals": ({"rows": 100_000, "columns": 4}, 0.3, False),
    "memory-fit-y-err": (LARGE, 4.0, False),
    "memory-fit-frequency": (LARGE, 4.0, False),
    "memory-fit-counts": (LARGE, 4.0, False),
    "memory-predict-std": (LARGE, 4.0, False),
    "import": ({}, 1.3, False),
    "pymc-200": ({"rows": 200, **SAMPLED}, 1000.0, True),
    "pymc-20000": ({"rows": 20_000, **SAMPLED}, 1000.0, True),
    "nuts-refit-200": ({"rows": 200, "columns": 4}, 0.5, False),
    "nuts-refit-20000": ({"rows": 20_000, "columns": 4}, 0.5, False),
    "nuts-refit-1e6": (LARGE, 0.5, False),
    "nuts-refit-additive-200": ({"rows": 200, "columns": 4}, 0.5, False),
    "nuts-refit-additive-20000": ({"rows": 20_000, "columns": 4}, 0.5, False),
    "nuts-refit-additive-1e6": (LARGE, 0.5, False),
    "nuts-refit-horseshoe": ({"rows": 2000, "columns": 10}, 0.5, False),
    "horseshoe-first-10": ({"rows": 500, "columns": 10}, 1.5, False),
    "horseshoe-first-20": ({"rows": 500, "columns": 20}, 3.0, False),
    "search-priors": ({"rows": 500, "columns": 10}, 20.0, False),
    "nuts-refit-errors-in-x-1000": ({"rows": 1000, "columns": 4}, 0.5, False),
    "nuts-refit-errors-in-x-20000": ({"rows": 20_000, "columns": 4}, 0.5, False),
    "nuts-search": (SEARCHED, 10.0, True),
    "sparse-first": ({"rows": 200, "columns": 10}, 0.15, False),
    "sparse-search": ({"rows": 500, "columns": 10}, 3.0, False),
    "errors-in-x-50": ({"rows": 50, "columns": 1, "with_error": 1}, 0.05, False),
    "errors-in-x-1000": ({"rows": 1000, "columns": 1, "with_error": 1}, 0.15, False),
    "errors-in-x-20000": ({"rows": 20_000, "columns": 1, "with_error": 1}, 0.5, False),
    "errors-in-x-1e6": ({"rows": 1_000_000, "columns": 1, "with_error": 1}, 8.0, False),
    "errors-in-x-mixture-1000": ({"rows": 1000, "columns": 1, "with_error": 1}, 0.5, False),
    "errors-in-x-common-20000": ({"rows": 20_000, "columns": 1, "with_error": 1}, 0.1, False),
    "errors-in-x-q3-1000": ({"rows": 1000, "columns": 5, "with_error": 3}, 2.0, False),
    "errors-in-x-latent-1000": ({"rows": 1000, "draws": 1000, "tune": 1000}, 50.0, True),
    "errors-in-x-binomial-500": ({"rows": 500}, 0.25, False),
    "errors-in-x-binomial-5000": ({"rows": 5000}, 1.6, False),
    "errors-in-x-binomial-20000": ({"rows": 20_000}, 5.0, False),
    "errors-in-x-beta-binomial-1000": ({"rows": 1000}, 1.3, False),
    "errors-in-x-student-t-1000": ({"rows": 1000}, 1.3, False),
    "errors-in-x-nuts-binomial-1000": ({"rows": 1000}, 5.0, False),
    "errors-in-x-nuts-student-t-1000": ({"rows": 1000}, 5.0, False),
    "intervals-student-t": ({"rows": 100_000, "columns": 4, "fitted": 500}, 1.0, False),
    "intervals-binomial": ({"rows": 100_000, "columns": 4, "fitted": 500}, 1.0, False),
    "intervals-beta-binomial": ({"rows": 100_000, "columns": 4, "fitted": 500}, 1.0, False),
    "intervals-poisson": ({"rows": 100_000, "columns": 4, "fitted": 500}, 1.0, False),
    "intervals-negative-binomial": ({"rows": 100_000, "columns": 4, "fitted": 500}, 1.0, False),
    "predict-of-one-row": ({"rows": 500, "columns": 4}, 0.0003, False),
    "interval-of-one-row": ({"rows": 500, "columns": 4}, 0.0003, False),
    "score-of-one-row": ({"rows": 500, "columns": 4}, 0.0003, False),
    "interval-of-one-row-laplace": ({"rows": 500, "columns": 4}, 0.0003, False),
    "interval-of-one-row-binomial": ({"rows": 500, "columns": 4}, 0.0003, False),
    "interval-of-one-row-student-t": ({"rows": 500, "columns": 4}, 0.0003, False),
    "noisy-intervals-100000": ({"rows": 100_000, "columns": 4}, 1.0, False),
    "noisy-intervals-binomial": ({"rows": 1000, "fitted": 500}, 1.0, False),
    "noisy-intervals-beta-binomial": ({"rows": 1000, "fitted": 500}, 1.0, False),
    "noisy-intervals-student-t": ({"rows": 1000, "fitted": 500}, 1.0, False),
    "missing-features": ({"rows": 200, "columns": 3}, 0.3, False),
    "limits-1000": ({"rows": 1000, "columns": 5}, 0.15, False),
    "limits-100000": ({"rows": 100_000, "columns": 5}, 3.0, False),
    "y-cov-2000": ({"rows": 2000, "columns": 5}, 1.0, False),
    "y-cov-scatter-2000": ({"rows": 2000, "columns": 5}, 10.0, False),
    "y-shared-err-100000": ({"rows": 100_000, "columns": 5, "nights": 5}, 3.0, False),
    "inverse-1000": ({"standards": 100, "readings": 1000}, 0.3, False),
    "groups-100000": ({"rows": 100_000, "columns": 10, "groups": 1000, "slopes": 0}, 0.15, False),
    "groups-100000-slopes": ({"rows": 100_000, "columns": 10, "groups": 1000, "slopes": 1}, 0.75, False),
    "groups-1000000": ({"rows": 1_000_000, "columns": 10, "groups": 10_000, "slopes": 0}, 0.6, False),
    "groups-1000000-slopes": ({"rows": 1_000_000, "columns": 10, "groups": 10_000, "slopes": 1}, 3.0, False),
    "star98-binomial": ({"rows": 303}, 0.3, False),
    "events-poisson": ({"rows": 20_000, "columns": 10}, 1.0, False),
    "events-negative-binomial": ({"rows": 20_000, "columns": 10}, 1.0, False),
}
FOR_INFORMATION = {
    "nutpie-200", "nutpie-20000", "nuts-first", "star98-beta-binomial", "star98-sampled",
    "streaming-batches-of-1", "streaming-batches-of-100", "streaming-batches-of-1000",
    "scaling-rows", "scaling-columns",
}  # fmt: skip
SAMPLING = {name for name, case in CASES.items() if case.needs_pymc}
AGAINST_EXACT = {name for name in SAMPLING if not name.startswith(("nuts-", "errors-", "star98-"))}
REFITS = {name for name in SAMPLING if name.startswith("nuts-refit-")}
NUTS_TINY = {"rows": 30, "columns": 4, "draws": 20, "tune": 20}


def _probe(*arguments: Any, **_: Any) -> dict[str, Any]:
    return {"seconds": 90.0, "sampling": 60.0, "sampler": "none", "coef": [0.0] * 4}


def _case(value: float) -> Case:
    return Case(lambda repeats: Result((value,)), {}, {})


def test_every_promise_is_a_target_with_its_bound() -> None:
    stated = {name: (target.bound, target.at_least) for name, target in TARGETS.items() if target.bound}
    assert stated == {name: (bound, at_least) for name, (_, bound, at_least) in PROMISED.items()}
    assert set(TARGETS) - set(stated) == FOR_INFORMATION


def test_every_target_is_measured_at_the_promised_size() -> None:
    assert set(CASES) == set(TARGETS)
    assert {name: dict(CASES[name].size) for name in PROMISED} == {
        name: size for name, (size, _, _) in PROMISED.items()
    }


@pytest.mark.parametrize("name", sorted(set(CASES) - SAMPLING | {"pymc-200", "nuts-refit-200"}))
def test_a_case_runs_at_a_tiny_size(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(CASES, TARGETS, [name], repeats=1, tiny=True) == []
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == name
    assert float(lines[0].split()[1].replace(",", "")) > 0.0
    verdicts = ("no target",) if name in FOR_INFORMATION else ("within", "MISSED")
    assert any(verdict in lines[0] for verdict in verdicts)


@pytest.mark.parametrize("name", sorted(AGAINST_EXACT))
def test_a_sampling_case_divides_by_the_exact_fit_and_its_draws(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_cases, "run_probe", _probe)
    monkeypatch.setattr(benchmark_cases, "timed", lambda work: 0.01)
    result = CASES[name].run(**CASES[name].tiny, repeats=3)
    assert result.values == (9000.0,), "not repeated once it has taken long"
    assert "compiling took 30 s of it, the ratio without it is 6,000" in result.note


def test_a_sampler_that_is_stopped_gives_a_lower_bound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def probe(*arguments: Any, **_: Any) -> dict[str, Any]:
        if arguments[2] == 2:  # the short first run
            return _probe()
        raise TimeoutError("stopped")

    monkeypatch.setattr(benchmark_cases, "run_probe", probe)
    monkeypatch.setattr(benchmark_cases, "timed", lambda work: 0.01)
    assert run(CASES, TARGETS, ["pymc-20000"], repeats=1, tiny=True) == []
    assert "> 60,000" in capsys.readouterr().out
    # A bound below the target decides nothing.
    monkeypatch.setattr(benchmark_cases, "timed", lambda work: 10.0)
    run(CASES, TARGETS, ["pymc-20000"], repeats=1, tiny=True)
    assert "unknown" in capsys.readouterr().out


class Refitted:
    """Stands for the estimator, and keeps what it is asked to fit."""

    def __init__(self, **parameters: Any) -> None:
        self.parameters = parameters

    def fit(self, X: Any, y: Any, *, y_err: Any, **errors: Any) -> None:
        assert len(X) == len(y) == len(y_err)
        assert all(name == "X_err" and (error[0] > 0.0) for name, error in errors.items())
        FITTED.append((float(y[0]), len(y), bool(errors), self.parameters))


FITTED: list[tuple[float, int, bool, dict[str, Any]]] = []


@pytest.mark.parametrize("name", sorted(REFITS))
def test_a_refit_has_other_rows_and_another_prior(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FITTED.clear()
    monkeypatch.setattr(sampling, "BayesianErrorsInVariablesRegressor", Refitted)
    result = CASES[name].run(**CASES[name].tiny, repeats=3)
    assert len(result.values) == 3
    first_y, rows, with_errors, parameters = zip(*FITTED, strict=True)
    assert set(rows) == {CASES[name].tiny["rows"]}
    assert all(a != b for a, b in pairwise(first_y))
    assert len({repr(one["coef_prior"]) for one in parameters}) == len(FITTED) == 4
    assert {one["noise"] for one in parameters} == {"additive" if "additive" in name else "scaled"}
    assert set(with_errors) == {"errors-in-x" in name}
    kind = "Horseshoe" if "horseshoe" in name else "Laplace"
    assert {type(one["coef_prior"]).__name__ for one in parameters} == {kind}
    assert not {"draws", "chains", "nuts_kwargs"} & set(parameters[0]), "as it comes"


def test_adapters_that_sample_fit_the_same_model() -> None:
    effort = (60, 4, 200, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = sampling_probe.sample("nuts_fit", 2, *effort)
        searched = sampling_probe.sample("nuts_search", 1, *effort, 2)
    assert len(ours["seconds"]) == 2
    assert searched["fits"] == 10
    plain = run_probe("sampling_probe", "plain_fit", 1, *effort)
    np.testing.assert_allclose(ours["coef"], plain["coef"], atol=0.5 * max(ours["coef_std"]))
    assert plain["sampler"] in {"pymc", "nutpie"}


def _sampling_probe(module: str, name: str, calls: int, rows: int, *numbers: int) -> dict[str, Any]:
    seconds = {"nuts_fit": 30.0, "nuts_search": 50.0, "plain_fit": 10.0}[name]
    fits = 5 * numbers[-1]
    found = {"coef": [0.0], "coef_std": [1.0], "sampler": "none", "fits": fits}
    return {"seconds": [90.0] * (calls > 1) + [seconds] * (calls - (calls > 1)), **found}


def test_a_first_fit_is_timed_beside_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def probe(module: str, name: str, *numbers: int) -> dict[str, Any]:
        calls.append(name)
        return _sampling_probe(module, name, *numbers)

    monkeypatch.setattr(nuts_cases, "run_probe", probe)
    result = CASES["nuts-first"].run(**NUTS_TINY, repeats=2)
    assert result.values == (3.0, 3.0)
    assert calls == ["nuts_fit", "plain_fit"] * 3
    assert "by none" in result.note


def test_a_search_is_timed_beside_as_many_plain_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nuts_cases, "run_probe", _sampling_probe)
    result = CASES["nuts-search"].run(**NUTS_TINY, candidates=20, repeats=9)
    assert result.values == (20.0,) * 3, "100 fits of 10 s, beside 50 s"
    assert result.times == "50 s / 1,000 s"
    assert "multiplied" in result.note


@pytest.mark.parametrize("gone", sorted(TARGETS))
def test_a_case_that_vanishes_fails(gone: str, capsys: pytest.CaptureFixture[str]) -> None:
    rest = {name: _case(0.0) for name in TARGETS if name != gone}
    assert run(rest, TARGETS, repeats=1) == [f"{gone}: its case has vanished."]
    assert "VANISHED" in capsys.readouterr().out


def test_a_target_that_vanishes_fails() -> None:
    rest = {name: target for name, target in TARGETS.items() if name != "search"}
    cases = {name: _case(0.0) for name in TARGETS}
    assert run(cases, rest, repeats=1) == ["search: its target has vanished."]


def test_a_case_that_crashes_fails_and_the_others_run(capsys: pytest.CaptureFixture[str]) -> None:
    cases = {name: _case(0.0) for name in TARGETS}
    cases["search"] = replace(cases["search"], run=lambda repeats: Result(1 / 0))
    (failure,) = run(cases, TARGETS, repeats=1)
    assert failure.startswith("search crashed.")
    assert "ZeroDivisionError" in failure
    assert len(capsys.readouterr().out.splitlines()) == len(TARGETS)


def test_a_missed_target_is_said_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run({"search": _case(9.0)}, {"search": TARGETS["search"]}, repeats=1) == []
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (Target("", 2.0), 2.0, "within"),
        (Target("", 2.0), 2.1, "MISSED"),
        (Target("", 2.0, at_least=True), 2.0, "within"),
        (Target("", 2.0, at_least=True), 1.9, "MISSED"),
        (Target("", None), 1.0, "no target"),
    ],
)
def test_a_bound_is_kept_from_its_own_side(target: Target, value: float, verdict: str) -> None:
    assert target.verdict(value) == verdict


def test_pairs_are_timed_in_turns_and_the_first_calls_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_SHORTEST", 0.0)
    calls: list[str] = []
    result = ratios(lambda: calls.append("A"), lambda: calls.append("B"), repeats=3)
    assert "".join(calls) == "AABB" + "AB" * 3
    assert len(result.values) == 3


def test_a_probe_past_its_limit_is_stopped() -> None:
    with pytest.raises(TimeoutError, match=r"stopped after 0\.1 s"):
        run_probe("memory_probe", "fit_y_err", "linear_fit_y_err", 1000, 4, limit=0.1)


def test_a_probe_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no_such_adapter"):
        run_probe("memory_probe", "no_such_adapter", "linear_fit_y_err", 1000, 4)


def test_only_runs_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    cases = {name: _case(0.0) for name in TARGETS}
    run(cases, TARGETS, ["pymc-200", "memory"], repeats=1)
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [name for name in TARGETS if name == "pymc-200" or name.startswith("memory")]


def test_a_name_that_is_no_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "seach"])
    assert "seach" in capsys.readouterr().err


def test_pymc_can_be_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--skip-pymc", "--only", "pymc"]) == 0
    assert capsys.readouterr().out.count("skipped") == 2


@pytest.mark.parametrize("common", [True, False])
def test_a_table_of_noisy_features_is_what_it_says(common: bool) -> None:
    table = noisy(20_000, 3, 2, common=common)
    assert (table.X_err[..., 2] == 0.0).all()
    assert (table.X_err[..., :2] > 0.0).all()
    assert table.X_err.shape == ((3,) if common else (20_000, 3))
    # The errors are in the features: their variance is that of the exact one, and the errors' more.
    more = table.X.var(axis=0) - table.X[:, 2].var()
    np.testing.assert_allclose(more, np.broadcast_to(table.X_err**2, (20_000, 3)).mean(axis=0), atol=0.06)


def test_a_latent_case_divides_plain_pymc_by_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = {"seconds": 90.0, "sampling": 60.0, "sampler": "none", "coef": [1.0]}
    monkeypatch.setattr(feature_cases, "run_probe", lambda *arguments: probe)
    monkeypatch.setattr(feature_cases, "timed", lambda work: 0.1)
    result = CASES["errors-in-x-latent-1000"].run(**CASES["errors-in-x-latent-1000"].tiny, repeats=3)
    assert result.values == pytest.approx([900.0] * 3)
    assert "compiling took 30 s of it" in result.note


def test_the_latent_model_is_the_estimator_s() -> None:
    found = run_probe("latent_probe", 60, 300, 300)
    table = noisy(60, 1, 1, common=False)
    model = Regressor(random_state=0).fit(table.X, table.y, y_err=table.y_err, X_err=table.X_err)
    np.testing.assert_allclose(found["coef"], model.coef_, atol=0.4 * model.coef_std_[0])


def _slowly(batches: int, pause: float) -> Any:
    for table in streaming_cases.tables(batches, 50, 4):
        time.sleep(pause)
        yield table


def test_making_batches_is_not_timed() -> None:
    for one in (streaming_cases._partial_fits, streaming_cases._distributed):
        ours, peer = one(_slowly(5, 0.3), True)
        assert 0.0 < ours < 1.0, "making them takes 1.5 s"
        assert 0.0 < peer < 1.0


def test_a_fit_of_each_batch_is_not_timed_as_the_fit_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(BayesianErrorsInVariablesRegressor):
        def fit(self, *arguments: Any, **given: Any) -> Any:
            time.sleep(0.3)

    monkeypatch.setattr(streaming_cases, "BayesianErrorsInVariablesRegressor", Slow)
    for one in (streaming_cases._partial_fits, streaming_cases._distributed):
        ours, peer = one(streaming_cases.tables(5, 50, 4), True)
        assert 0.0 < ours < 1.0
        assert peer >= 1.5


def test_memory_of_batches_is_measured_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[tuple[Any, ...]] = []

    def probe(*arguments: Any) -> dict[str, Any]:
        probes.append(arguments)
        return {"resident": None, "allocated": 2e6 * arguments[1]}

    monkeypatch.setattr(streaming_cases, "run_probe", probe)
    result = streaming_cases.memory(**STREAMED, repeats=7)
    assert result.values == (200.0,)
    assert result.note == "allocated; after 10 of 100 batches 20 MB"
    assert probes == [("streaming_probe", batches, 100_000, 10) for batches in (10, 100)]


def test_times_of_many_pieces_are_told_for_one() -> None:
    assert measure.of_pairs([(0.5, 0.25), (1.5, 0.25)], pieces=10) == Result((2.0, 6.0), "100 ms / 25 ms")


def test_slopes_are_powers_of_the_largest_sizes() -> None:
    # The smallest ones have other costs.
    points = [scaling.Point(n, max(1e-6 * n, 1.0), 1e-9 * n**2, 0.0) for n in (10, 10**6, 10**7, 10**8)]
    assert scaling.slopes(points) == pytest.approx((1.0, 2.0))


def test_scaling_is_written_as_tables_and_as_a_picture_that_stays_the_same(tmp_path: Path) -> None:
    times = [scaling.Point(10**k, 10.0**k, 20.0**k, 0.5**k) for k in range(1, 5)]
    memory = [scaling.Memory(10**k, 10.0**k, 20.0**k, 1e6 if k > 2 else None) for k in range(1, 5)]
    for folder in ("first", "second"):
        scaling.write(times, times, memory, tmp_path / folder)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / f).iterdir()} for f in ("first", "second")
    )
    assert first == second
    assert set(first) == {path.name for path in DOCUMENTED.iterdir() if path.is_file()} - {
        "results.csv",
        "parquet-fits.csv",
        "parquet-growth.csv",
    }
    assert first["scaling-rows.csv"].decode().splitlines()[-1] == "slopes,1.00 / 1.30"


def test_figures_are_written_without_those_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "CASES", {name: _case(1.5) for name in TARGETS})
    assert main(["--csv", str(tmp_path / "results.csv")]) == 0
    with (tmp_path / "results.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert set(rows) == {name for name, target in TARGETS.items() if target.unit != "s"}
    assert rows["streaming"]["measured"] == "1.5"
    assert rows["streaming"]["verdict"] == "MISSED"


def test_documented_figures_are_of_the_cases_and_targets_that_there_are() -> None:
    with (DOCUMENTED / "results.csv").open() as file:
        for row in csv.DictReader(file):
            target = TARGETS[row["case"]]
            assert (row["what"], row["target"]) == (target.measures, command._bound(target))


@pytest.mark.parametrize("make", [measured, scattered, sparse, shares, phones])
def test_a_table_is_what_it_says(make: Any) -> None:
    table = make(300, 4)
    assert table.X.shape == (300, 4)
    assert (table.y_err > 0.0).all()
    assert (table.weight >= 1.0).all()
    if make in (shares, phones):
        assert ((table.y >= 0.0) & (table.y <= 1.0)).all()
        np.testing.assert_allclose(table.y * table.weight, np.rint(table.y * table.weight), atol=1e-9)
