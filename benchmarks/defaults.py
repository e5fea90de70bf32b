"""How good are the defaults: errors and coverage on simulated shares, as a markdown table.

Run ``python -m benchmarks.defaults [--replicates 200]`` from the repository. The table in ``docs/guide.md`` is its
output. Nothing is tuned on these data: they come from `bayes_sklearn.datasets.make_role_modeling`, one seed a
replicate.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils import Bunch

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.datasets import make_role_modeling

Array = NDArray[np.float64]

COVERAGE = 0.9
BAYESIAN = {
    "default": BayesianErrorsInVariablesRegressor(weight_type="counts"),
    "observed": BayesianErrorsInVariablesRegressor(
        weight_type="counts", count_error="observed", error_floor=0.1
    ),
}
BASELINES = {"linear": LinearRegression(), "ridge": Ridge()}


@dataclass(frozen=True)
class Scenario:
    """One kind of simulated data."""

    mean_share: float
    messages: tuple[int, int]
    overdispersion: float
    n: int


@dataclass(frozen=True)
class Result:
    """Scores of one model in one scenario."""

    rmse_ratio: float
    """Root mean square error to the true share, over that of the better baseline."""
    coverage: float
    """Share of the slopes' intervals that hold the truth."""
    coverage_error: float
    """Monte Carlo standard error of the coverage, from the spread between replicates."""


def scenarios() -> list[Scenario]:
    mixed = itertools.product((0.01, 0.03, 0.1, 0.3), ((2, 1000),), (0.0, 0.02), (200, 2000))
    few = itertools.product((0.01, 0.03, 0.1), ((2, 20),), (0.0, 0.02), (200, 2000))
    return [Scenario(*settings) for settings in (*mixed, *few)]


def replicate(scenario: Scenario, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return one data set's mean square errors to the true share, and its coverages, by model."""
    phones = make_role_modeling(
        scenario.n,
        mean_share=scenario.mean_share,
        messages=scenario.messages,
        overdispersion=scenario.overdispersion,
        random_state=seed,
        as_frame=False,
    )
    square, covered = {}, {}
    for name, model in (BAYESIAN | BASELINES).items():
        model.fit(phones.data, phones.target, sample_weight=phones.counts)
        square[name] = float(np.mean((model.predict(phones.data) - phones.true_share) ** 2))
        if name in BAYESIAN:
            covered[name] = slope_coverage(model, phones)
    return square, covered


def slope_coverage(model: BayesianErrorsInVariablesRegressor, phones: Bunch) -> float:
    """Return the share of a fit's slopes whose interval holds the true one."""
    limits = model.summary(COVERAGE).iloc[1:-1, -2:].to_numpy()
    return float(np.mean((limits[:, 0] <= phones.coef) & (phones.coef <= limits[:, 1])))


def run(scenario: Scenario, replicates: int) -> dict[str, Result]:
    outcomes = [replicate(scenario, seed) for seed in range(replicates)]
    rmse = {name: np.sqrt(np.mean([square[name] for square, _ in outcomes])) for name in BAYESIAN | BASELINES}
    best = min(rmse[name] for name in BASELINES)
    results = {}
    for name in BAYESIAN:
        coverage: Array = np.array([covered[name] for _, covered in outcomes])
        error = coverage.std(ddof=1) / np.sqrt(replicates)
        results[name] = Result(float(rmse[name] / best), float(coverage.mean()), float(error))
    return results


def line(scenario: Scenario, results: dict[str, Result]) -> str:
    """Return a row of the table."""
    cells = [
        f"{scenario.mean_share:g}",
        "{} to {:,}".format(*scenario.messages),
        f"{scenario.overdispersion:g}",
        f"{scenario.n:,}",
    ]
    for result in results.values():
        cells += [
            f"{result.rmse_ratio:.2f}",
            f"{100.0 * result.coverage:.0f}% ± {100.0 * result.coverage_error:.1f}",
        ]
    return f"| {' | '.join(cells)} |"


HEADER = """\
| mean share | messages | over-dispersion | phones | RMSE ratio | coverage | observed: RMSE ratio | coverage |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200, help="data sets a row; half as many of 2,000")
    replicates = parser.parse_args().replicates
    if replicates < 4:
        parser.error("--replicates must be 4 or more, for a Monte Carlo error.")
    print(HEADER)
    for scenario in scenarios():
        count = replicates if scenario.n < 2000 else replicates // 2
        print(line(scenario, run(scenario, count)), flush=True)


if __name__ == "__main__":
    main()
