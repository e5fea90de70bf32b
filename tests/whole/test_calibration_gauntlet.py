"""The defaults are calibrated, whatever the data: quick designs of the gauntlet, with counted false alarms.

A figure is out if chance alone makes one like it, at the bound it is held against, in 1 of 50,000 sets of seeds:
13 designs with 8 figures each give a false alarm in at most 1 of 480. What is seen in 200 data sets: slopes or a line
covered less than about 75% where 90% is said, a root mean square error 1.1 times the best other method's by more than
its Monte Carlo error, a well-known slope that is 5% off by as much.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

# The benchmarks are part of the checkout, not of the package.
sys.path.append(str(Path(__file__).parents[2]))
from benchmarks import calibration
from benchmarks.calibration_designs import DESIGNS, GROUPS
from benchmarks.calibration_methods import least_squares
from benchmarks.calibration_scores import Rate, Score, missed, score, stack

pytestmark = pytest.mark.thorough

DOCUMENTED = Path(__file__).parents[2] / "docs" / "benchmarks" / "calibration"
ALARM = 2e-5
DATA_SETS = 200
PEERS = ("least squares", "RidgeCV", "BayesianRidge")
QUICK = (
    "cubic powers of x in 0 to 10, n 50",
    "year and its square, n 60",
    "two columns, correlation 0.995, opposite slopes, n 50",
    "5 groups about 100, no intercept, n 40",
    "20 weak features, n 60",
    "nothing matters, p 4, n 40",
    "45 features, n 50",
    "features in units of 1e-9, 1 and 1e9, y in 1e-9",
    "right errors, n 40",
    "scatter of 0.6 beside errors about 0.5, n 40",
    "errors of three replicates, n 40",
    "small errors beside a scatter of 1, n 40",
    "shares of 1e-4, counts of 1,000 to 1e6",
)


@pytest.mark.parametrize("name", QUICK)
def test_the_defaults_are_calibrated(name: str) -> None:
    result = calibration.measure(DESIGNS[name], DATA_SETS, seed=15, methods=("default", *PEERS), alarm=ALARM)
    assert result.figures["default"].data_sets == DATA_SETS
    assert result.missed == [], result.figures["default"]


def scores_of_least_squares(name: str) -> tuple[Score, list[calibration.Data]]:
    truth = [DESIGNS[name].draw(np.random.default_rng([4, seed])) for seed in range(100)]
    return stack([score(least_squares(DESIGNS[name], data), data) for data in truth]), truth


def test_a_method_that_is_known_to_be_calibrated_misses_nothing_and_one_that_is_not_is_told() -> None:
    right, truth = scores_of_least_squares("10 features, n 2,000")

    def told(**changes: np.ndarray) -> str:
        own = replace(right, **changes)
        return "; ".join(missed({"default": own, "least squares": right}, truth, ALARM))

    assert told() == ""
    everywhere = (np.random.default_rng(0).random(right.slopes_inside.shape) < 0.99).astype(float)
    none_of_the_last = everywhere * (np.arange(10) < 9)[:, None]
    assert told(slopes_inside=everywhere) == ""
    assert told(slopes_inside=everywhere, slope_width=1.1 * right.slope_width).startswith(
        "slopes covered 99%, 1.10"
    )
    assert told(slopes_inside=none_of_the_last) == "one slope covered 0%"
    assert told(line_inside=0.8 * right.line_inside).startswith("line covered 7")
    assert told(new_inside=0.8 * right.new_inside).startswith("new measurements covered 7")
    assert told(square_error=1.3 * right.square_error) == "RMSE 1.14 times that of least squares"
    assert told(square_error=1.2 * right.square_error) == ""
    assert told(slopes=0.9 * right.slopes).startswith("mean slope 0.9")


@pytest.mark.parametrize(
    ("hits", "of", "bound"), [(150, 200, 0.86), (171, 200, 0.86), (40, 50, 0.86), (0, 9, 0.5)]
)
def test_a_rate_is_below_a_bound_by_the_binomial_test(hits: int, of: int, bound: float) -> None:
    rate = Rate.of((np.arange(of) < hits).astype(float)[:, None])
    assert rate.counts == pytest.approx(of)
    p = binomtest(hits, of, bound, alternative="less").pvalue
    assert rate.is_below(bound, 1.001 * p)
    assert not rate.is_below(bound, 0.999 * p)
    above = Rate.of((np.arange(of) >= hits).astype(float)[:, None])
    assert above.is_above(1.0 - bound, 1.001 * p)
    assert not above.is_above(1.0 - bound, 0.999 * p)


def test_what_hangs_together_is_counted_once() -> None:
    rng = np.random.default_rng(0)
    single = (rng.random((400, 1)) < 0.9).astype(float)
    assert Rate.of(np.repeat(single, 30, axis=1)).counts == pytest.approx(400.0, rel=0.01)
    assert Rate.of((rng.random((400, 30)) < 0.9).astype(float)).counts > 9000.0


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_what_it_says(name: str) -> None:
    first, again, other = (DESIGNS[name].draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.y, other.y)
    assert len(first.X) == len(first.y) == len(first.weight)
    assert len(first.X_new) == len(first.line_new) == len(first.y_new) == len(first.weight_new)
    assert first.coef is None or first.coef.shape == first.X.shape[1:]
    # New measurements scatter about the truth by what the design says, over many data sets.
    many = [DESIGNS[name].draw(np.random.default_rng([3, seed])) for seed in range(12)]
    squares = np.concatenate([((one.y_new - one.line_new) / one.sd_new) ** 2 for one in many])
    assert 0.4 < squares.mean() < 2.5
    if first.coef is not None and "likelihood" not in DESIGNS[name].estimator and "X_err" not in first.given:
        fitted = first.X_new @ first.coef
        np.testing.assert_allclose(
            np.diff(fitted), np.diff(first.line_new), atol=1e-6 * np.abs(first.line_new).max()
        )


def test_every_group_has_its_table_with_every_design() -> None:
    assert len(DESIGNS) >= 40
    assert {path.stem for path in DOCUMENTED.iterdir()} == {*GROUPS, "methods"}
    for group in GROUPS:
        with (DOCUMENTED / f"{group}.csv").open(encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert tuple(header) == calibration.HEADER
        assert [row[0] for row in rows] == [name for name, one in DESIGNS.items() if one.group == group]


def test_the_command_writes_what_it_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--data-sets",
        "4",
        "--designs",
        "3 features, n 60",
        "--jobs",
        "1",
        "--output",
        str(tmp_path),
    ]
    assert calibration.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("3 features, n 60 | ")
    assert "1 of 1 designs as wanted" in printed
    with (tmp_path / "features.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["verdict"] == "ok"
    with (tmp_path / "methods.csv").open(encoding="utf-8") as file:
        assert [row["method"] for row in csv.DictReader(file)] == [
            "default", "flat priors", "least squares", "RidgeCV", "BayesianRidge",
        ]  # fmt: skip


@pytest.mark.parametrize("arguments", [["--data-sets", "3"], ["--designs", "no such design"]])
def test_the_command_says_what_is_wrong(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        calibration.main(arguments)
    assert "must be 4 or more" in (said := capsys.readouterr().err) or "no design is called" in said
