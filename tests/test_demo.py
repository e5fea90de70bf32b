"""The demo runs, says the same every time, and what it prints is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import BayesianRidge, LinearRegression, Ridge
from sklearn.model_selection import KFold, LeaveOneOut
from sklearn.utils import Bunch

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.datasets import load_seeds, make_role_modeling

HALF_A_DIGIT = {"rtol": 0.0, "atol": 5.1e-4}


def python(*arguments: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def output() -> str:
    return python("-m", "bayes_sklearn")


def table(output: str, header: str, nth: int = 0) -> dict[str, list[str]]:
    """The cells of the nth table under a header, by row."""
    starts = [match.end() for match in re.finditer(rf"^ +{header}\n", output, re.MULTILINE)]
    lines = output[starts[nth] :].split("\n\n", maxsplit=1)[0].splitlines()
    # Row labels hold single spaces; cells are set apart by at least two, and hold none.
    rows = (re.match(r"  (\S+(?: \S+)*?)\s{2,}((?:[-+\d.,%]+\s*)+)$", line) for line in lines)
    return {row.group(1): row.group(2).split() for row in rows if row}


def held_out(model: Regressor | BayesianRidge, data: Bunch, cv: KFold | LeaveOneOut) -> dict[str, float]:
    """Scores computed by hand, a fold at a time."""
    X, y, counts = (np.asarray(values) for values in (data.data, data.target, data.counts))
    mean, log_density, inside = np.empty(len(y)), np.empty(len(y)), np.empty(len(y), dtype=bool)
    for train, test in cv.split(X):
        if isinstance(model, Regressor):
            model.fit(X[train], y[train], counts[train])
            distribution = model.predict_distribution(X[test], counts=counts[test])
            mean[test], log_density[test] = distribution.mean(), distribution.logpdf(y[test])
            lower, upper = distribution.interval(0.95)
        elif isinstance(model, BayesianRidge):
            model.fit(X[train], y[train], sample_weight=counts[train] / counts.mean())
            mean[test], sd = model.predict(X[test], return_std=True)
            log_density[test] = -0.5 * (((y[test] - mean[test]) / sd) ** 2 + np.log(2.0 * np.pi * sd**2))
            lower, upper = mean[test] - 1.959964 * sd, mean[test] + 1.959964 * sd
        else:
            model.fit(X[train], y[train], sample_weight=counts[train])
            mean[test] = model.predict(X[test])
            continue
        inside[test] = (lower <= y[test]) & (y[test] <= upper)
    found = {"RMSE": float(np.sqrt(np.mean((mean - y) ** 2)))}
    if "true_share" in data:
        found["RMSE to truth"] = float(np.sqrt(np.mean((mean - data.true_share) ** 2)))
    if isinstance(model, (Regressor, BayesianRidge)):
        found |= {"log score": float(log_density.mean()), "coverage": 100.0 * float(inside.mean())}
    return found


def test_the_demo_says_the_same_every_time(output: str) -> None:
    assert python("-m", "bayes_sklearn") == output


def test_the_demo_is_readable_at_100_columns(output: str) -> None:
    assert max(map(len, output.splitlines())) <= 100


def test_the_demo_needs_no_sampler_and_no_plots() -> None:
    code = (
        "import sys, runpy; runpy.run_module('bayes_sklearn', run_name='__main__');"
        "print([name for name in ('pymc', 'arviz', 'nutpie', 'matplotlib') if name in sys.modules])"
    )
    assert python("-c", code).splitlines()[-1] == "[]"


def test_coefficients_stand_beside_the_truth(output: str) -> None:
    phones = make_role_modeling(200, random_state=0)
    limits = Regressor(weight_type="counts").fit(phones.data, phones.target, phones.counts).summary(0.95)
    shown = table(output, "truth +mean +lower_95% +upper_95%")
    assert list(shown) == ["intercept", *phones.feature_names]
    cells = np.array(list(shown.values()), dtype=float)
    assert_allclose(cells[:, 0], [phones.intercept, *phones.coef], **HALF_A_DIGIT)
    assert_allclose(cells[:, 1:], limits.iloc[: len(cells), [0, 2, 3]], **HALF_A_DIGIT)


def test_new_phones_have_limits_at_their_counts(output: str) -> None:
    phones, new = make_role_modeling(200, random_state=0), make_role_modeling(8, random_state=1)
    model = Regressor(weight_type="counts").fit(phones.data, phones.target, phones.counts)
    shown = table(output, "messages +y_pred +lower_95% +upper_95% +measured +true_share")
    cells = np.array(list(shown.values()), dtype=float)
    expected = np.column_stack(
        [
            new.counts,
            model.predict(new.data),
            model.predict_interval(new.data, 0.95, counts=new.counts),
            new.target,
            new.true_share,
        ]
    )
    assert_allclose(cells, expected, **HALF_A_DIGIT)


COMPARED = {
    "BayesianErrorsInVariablesRegressor": Regressor(weight_type="counts"),
    "BayesianRidge": BayesianRidge(),
    "Ridge": Ridge(),
    "LinearRegression": LinearRegression(),
}


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("part", ["phones", "seeds"])
def test_compared_scores_are_those_of_held_out_rows(output: str, name: str, part: str) -> None:
    if part == "phones":
        data, header = make_role_modeling(200, random_state=0), "RMSE +RMSE to truth +log score +coverage"
        cv = KFold(10, shuffle=True, random_state=0)
    else:
        data, header, cv = load_seeds(as_frame=True), "RMSE +log score +coverage", LeaveOneOut()
    cells = table(output, header)[name]
    expected = held_out(COMPARED[name], data, cv)
    shown = {key: cell for key, cell in zip(header.split(" +"), cells, strict=True) if cell != "-"}
    assert list(shown) == list(expected)
    for key, cell in shown.items():
        digit = {"log score": 0.005, "coverage": 0.05}.get(key, 0.00005)
        assert abs(float(cell.rstrip("%")) - expected[key]) < 1.02 * digit, key


def test_errors_at_observed_shares_are_seen_to_bias_the_fit(output: str) -> None:
    phones = make_role_modeling(2000, random_state=0)
    shown = table(output, "mean error +RMSE to truth")
    for label, settings in {
        "fitted, error_floor=0": {},
        "observed, error_floor=0": {"count_error": "observed"},
        "observed, error_floor=0.1": {"count_error": "observed", "error_floor": 0.1},
    }.items():
        model = Regressor(weight_type="counts", **settings).fit(phones.data, phones.target, phones.counts)
        error = model.predict(phones.data) - phones.true_share
        expected = [error.mean(), np.sqrt(np.mean(error**2))]
        assert_allclose(np.array(shown[label], dtype=float), expected, rtol=0.0, atol=5.1e-5)
    bias = {label: abs(float(cells[0])) for label, cells in shown.items()}
    assert bias["fitted, error_floor=0"] < 0.001 < 0.004 < bias["observed, error_floor=0"]


def test_the_seeds_are_summarised(output: str) -> None:
    seeds = load_seeds(as_frame=True)
    model = Regressor(weight_type="counts").fit(seeds.data, seeds.target, seeds.counts)
    shown = table(output, " mean +lower_95% +upper_95%")
    assert list(shown) == ["intercept", *seeds.feature_names]
    cells = np.array(list(shown.values()), dtype=float)
    assert_allclose(cells, model.summary(0.95).iloc[: len(cells), [0, 2, 3]], **HALF_A_DIGIT)
    assert f"overdispersion_ is {model.overdispersion_:.3f}" in output


def test_errors_in_x_and_groups_find_the_truth_that_plain_fits_miss(output: str) -> None:
    shown = table(output, " mean +lower_95% +upper_95%", 1) | table(output, " mean +lower_95% +upper_95%", 2)
    limits = {name: [float(cell) for cell in cells if cell != "-"] for name, cells in shown.items()}
    for truth, kept, missed in [
        (2.0, "X_err=0.5", "X taken as exact"),
        (0.5, "group_column='city'", "cities left out"),
    ]:
        assert limits[kept][1] < truth < limits[kept][2]
        assert not limits[missed][1] < truth < limits[missed][2]
    # An odd one out by hand: the slope of the plain fit, and of deviations from the cities' means.
    rng = np.random.default_rng(0)
    true = rng.normal(size=150)
    y = 1.0 + 2.0 * true + 0.3 * rng.normal(size=150)
    x = true + 0.5 * rng.normal(size=150)
    assert limits["X taken as exact"][0] == pytest.approx(np.polyfit(x, y, 1)[0], rel=0.01)
    assert limits["X_err=0.5"][0] == pytest.approx(np.cov(x, y)[0, 1] / (x.var(ddof=1) - 0.25), rel=0.03)
    rng = np.random.default_rng(0)
    city, level = np.repeat(np.arange(12), 8), rng.normal(size=12)
    x = level[city] + rng.normal(size=96)
    y = 0.5 * x - 1.5 * level[city] + 0.3 * rng.normal(size=96)
    within = [values - values.reshape(12, 8).mean(axis=1)[city] for values in (x, y)]
    assert limits["group_column='city'"][0] == pytest.approx(np.polyfit(*within, 1)[0], rel=0.05)


def test_the_demo_is_drawn(tmp_path: Path) -> None:
    assert python("-m", "bayes_sklearn", "--plot", str(tmp_path / "demo.png")).endswith("demo.png.\n")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
