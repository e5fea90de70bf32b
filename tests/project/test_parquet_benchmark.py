"""The benchmark of Parquet files runs, and its lines reach as far as they say."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))
from benchmarks import parquet
from benchmarks.fresh import run_probe
from benchmarks.parquet import Run, beyond, tables, write_parts

DOCUMENTED = Path(__file__).parents[2] / "docs" / "benchmarks"


def run(rows: int, processor: float) -> Run:
    return Run("arrow", "observed", rows, 2.0 * processor, processor, 3e8)


def test_more_rows_are_told_by_the_two_largest_sizes() -> None:
    found = [run(10**6, 9.0), run(10**7, 3.0), run(10**8, 12.0)]
    assert beyond(found) == pytest.approx(12.0 + 1e-7 * (10**10 - 10**8))
    fits, growth = tables(found)
    assert [row[2:6] for row in fits[1:]][-1] == ["100,000,000", "24", "12", "300"]
    assert growth[1][3:] == ["10", "0.278"]


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["arrow", "dask", "2"])
def test_a_fit_is_measured(way: str, tmp_path: Path) -> None:
    write_parts(tmp_path, 2, 2000)
    found = run_probe("parquet_probe", way, "observed", tmp_path, 2, limit=200.0)
    assert len(found["found"]) == 8
    assert found["seconds"] > 0.0
    assert found["peak"] > 1e8
    assert ("workers" in found) == (way == "2")


def test_the_documented_tables_have_every_way_and_less_than_half_a_gigabyte() -> None:
    with (DOCUMENTED / "parquet-fits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    largest = [row for row in rows if row["n"] == "100,000,000"]
    assert {(row["fit"], row["passes"]) for row in largest} == {
        (way, passes)
        for name, way in parquet._WAYS.items()
        for passes in (["one pass"] if name.isdigit() else parquet._PASSES.values())
    }
    for row in rows:
        assert float(row["MB"]) < 500.0
    assert all(float(row["MB, a worker"] or 0.0) < 500.0 for row in largest)
    assert all(float(row["change"]) < 1e-9 for row in rows if row["change"])
    assert sum(bool(row["change"]) for row in largest) == 1
