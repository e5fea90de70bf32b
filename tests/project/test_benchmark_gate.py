"""What fits do, counted, is what the table of the benchmarks says. Never times."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# The benchmarks are part of the checkout, not of the package.
sys.path.append(str(Path(__file__).parents[2]))
from bayes_sklearn.estimators import fitting
from bayes_sklearn.inference import under_scatters
from bayes_sklearn.inference.importance import structural_nodes
from bayes_sklearn.inference.nuts.sampler import CompiledModels
from bayes_sklearn.measurements import compressed
from benchmarks import gate
from benchmarks.data import measured
from benchmarks.gate import CASES, Expected, compare, count, read

from plain import Regressor

TABLE = read()


def of_case(name: str) -> dict[tuple[str, str], Expected]:
    return {key: expected for key, expected in TABLE.items() if key[0] == name}


def found_by(name: str) -> dict[tuple[str, str], float]:
    return {(name, measure): value for measure, value in CASES[name]().items()}


COMPILES = pytest.param("search nuts", marks=pytest.mark.thorough)


@pytest.mark.parametrize("name", [COMPILES if name == "search nuts" else name for name in CASES])
def test_a_case_does_what_the_table_says(name: str) -> None:
    assert compare(found_by(name), of_case(name)) == []


def test_no_case_and_no_line_of_the_table_has_vanished() -> None:
    assert {case for case, _ in TABLE} == set(CASES)
    assert len(CASES) == 17
    assert len(TABLE) == 16 * 5 + 1, "five counts a case, and one of compilations"


def test_what_is_on_one_side_alone_is_wrong() -> None:
    expected = {("fit", "passes"): Expected(1.0, 1.0), ("fit", "blocks"): Expected(3.0, 1.0)}
    assert compare({("fit", "passes"): 1.0, ("fit", "blocks"): 3.0}, expected) == []
    (vanished,) = compare({("fit", "passes"): 1.0}, expected)
    assert vanished.startswith("fit: blocks has vanished")
    (new,) = compare({("fit", "passes"): 1.0, ("fit", "blocks"): 3.0, ("new", "passes"): 1.0}, expected)
    assert new.startswith("new: passes is not in gate.csv")


@pytest.mark.parametrize(
    ("found", "margin", "said"),
    [
        (3.0, 1.0, ""),
        (4.0, 1.0, "4, more than 3"),
        (2.0, 1.0, "2, less than 3"),
        (4.0, 1.5, ""),
        (5.0, 1.5, "5, more than 3"),
        (0.0, 9.0, "0, less"),
        (float("nan"), 1.5, "nan"),
    ],
)
def test_a_margin_holds_both_ways(found: float, margin: float, said: str) -> None:
    verdict = Expected(3.0, margin).verdict(found)
    assert verdict.startswith(said)
    assert bool(verdict) == bool(said)


def test_margins_leave_no_room_for_another_pass() -> None:
    for (case, measure), expected in TABLE.items():
        if measure == "passes" and expected.value < 5.0:
            assert expected.margin == 1.0, case
        assert expected.margin <= 2.0


def test_another_pass_over_the_rows_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    once = under_scatters.compress

    def twice(*arguments: Any, **named: Any) -> Any:
        once(*arguments, **named)
        return once(*arguments, **named)

    monkeypatch.setattr(under_scatters, "compress", twice)
    wrong = compare(found_by("fit frequency"), of_case("fit frequency"))
    assert any(one.startswith("fit frequency: passes is 2.87, more than 1.44") for one in wrong)
    assert any(one.startswith("fit frequency: blocks is 6, more than 3") for one in wrong)


def test_a_copy_of_the_table_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    once = fitting.fit

    def copying(rows: compressed.Rows, *arguments: Any, **named: Any) -> Any:
        copies = [np.array(rows.X) for _ in range(2)]
        result = once(rows, *arguments, **named)
        return result if copies else None

    from bayes_sklearn.estimators import regressor

    monkeypatch.setattr(regressor, "fit", copying, raising=True)
    (wrong,) = compare(found_by("fit frequency"), of_case("fit frequency"))
    assert wrong.startswith("fit frequency: allocated is")


def test_more_points_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    once = structural_nodes.sample

    def more(density: Any, starts: Any, n_points: int, *arguments: Any, **named: Any) -> Any:
        return once(density, starts, 4 * n_points, *arguments, **named)

    monkeypatch.setattr(structural_nodes, "sample", more)
    wrong = compare(found_by("fit X_err"), of_case("fit X_err"))
    assert any(one.startswith("fit X_err: points is") for one in wrong)


def test_a_model_that_is_compiled_at_every_fit_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: CompiledModels, key: Any, compile_model: Any) -> Any:
        raise RuntimeError("asked for once")

    with monkeypatch.context() as patch, gate._counters() as counts:
        model = CompiledModels(2)
        for key in (1, 1, 2):
            model.get(key, lambda: object())
        assert counts["compiles"] == 2.0
        patch.setattr(CompiledModels, "get", forgetful)
    wrong = compare({("search nuts", "compiles"): 6.0}, of_case("search nuts"))
    assert wrong == ["search nuts: compiles is 6, more than 1"]


def test_counting_leaves_everything_as_it_was() -> None:
    before = np.linalg.svd, compressed.Rows.take, structural_nodes.sample, CompiledModels.get
    table = measured(100, 2)
    found = count(lambda: Regressor().fit(table.X, table.y), 100, table.X.nbytes)
    assert found["passes"] == 2.0
    assert (np.linalg.svd, compressed.Rows.take, structural_nodes.sample, CompiledModels.get) == before
