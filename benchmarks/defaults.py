"""How good are the defaults: errors and coverage on simulated shares, as a markdown table.

Run ``python -m benchmarks.defaults [--replicates 200]`` from the repository. The table in ``docs/guide.md`` is
its output. The data come from `bayes_sklearn.datasets.make_role_modeling`, one seed a replicate.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
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
    warned: float
    """Share of the fits that warned that their errors did not settle."""


def scenarios() -> list[Scenario]:
    mixed = itertools.product((0.01, 0.03, 0.1, 0.3), ((2, 1000),), (0.0, 0.02), (200, 2000))
    few = itertools.product((0.01, 0.03, 0.1), ((2, 20),), (0.0, 0.02), (200, 2000))
    # From one success in twenty phones to fifty in one, however small the share.
    small = [
        (share, (round(0.05 / share), round(50.0 / share)), correlation * share, n)
        for share, correlation, n in itertools.product((1e-3, 1e-4, 1e-5), (0.0, 0.1), (200, 2000))
    ]
    return [Scenario(*settings) for settings in (*mixed, *few, *small)]


@dataclass(frozen=True)
class Outcome:
    """One model's fit of one data set."""

    square_error: float
    """Mean square error to the true share."""
    coverage: float
    """Share of the slopes' intervals that hold the truth; NaN for the baselines."""
    warned: bool


def replicate(scenario: Scenario, seed: int) -> dict[str, Outcome]:
    """Return every model's fit of one data set."""
    phones = make_role_modeling(
        scenario.n,
        mean_share=scenario.mean_share,
        messages=scenario.messages,
        overdispersion=scenario.overdispersion,
        random_state=seed,
        as_frame=False,
    )
    outcomes = {}
    for name, model in (BAYESIAN | BASELINES).items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(phones.data, phones.target, sample_weight=phones.counts)
        square_error = float(np.mean((model.predict(phones.data) - phones.true_share) ** 2))
        coverage = slope_coverage(model, phones) if name in BAYESIAN else float("nan")
        outcomes[name] = Outcome(square_error, coverage, bool(caught))
    return outcomes


def slope_coverage(model: BayesianErrorsInVariablesRegressor, phones: Bunch) -> float:
    """Return the share of a fit's slopes whose interval holds the true one."""
    limits = model.summary(COVERAGE).iloc[1:-1, -2:].to_numpy()
    return float(np.mean((limits[:, 0] <= phones.coef) & (phones.coef <= limits[:, 1])))


def run(scenario: Scenario, replicates: int) -> dict[str, Result]:
    """Return the results of the Bayesian models."""
    by_seed = [replicate(scenario, seed) for seed in range(replicates)]
    outcomes = {name: [seed[name] for seed in by_seed] for name in BAYESIAN | BASELINES}
    rmse = {name: np.sqrt(np.mean([o.square_error for o in found])) for name, found in outcomes.items()}
    best = min(rmse[name] for name in BASELINES)
    results = {}
    for name in BAYESIAN:
        coverage: Array = np.array([outcome.coverage for outcome in outcomes[name]])
        results[name] = Result(
            rmse_ratio=float(rmse[name] / best),
            coverage=float(coverage.mean()),
            coverage_error=float(coverage.std(ddof=1) / np.sqrt(replicates)),
            warned=float(np.mean([outcome.warned for outcome in outcomes[name]])),
        )
    return results


def line(scenario: Scenario, results: dict[str, Result]) -> str:
    """Return a row of the table."""
    default, observed = results["default"], results["observed"]
    cells = [
        f"{scenario.mean_share:.4g}",
        "{} to {:,}".format(*scenario.messages),
        f"{scenario.overdispersion:.4g}",
        f"{scenario.n:,}",
        f"{default.rmse_ratio:.2f}",
        f"{100.0 * default.coverage:.0f}% ± {100.0 * default.coverage_error:.1f}",
        f"{100.0 * default.warned:.0f}%",
        f"{observed.rmse_ratio:.2f}",
        f"{100.0 * observed.coverage:.0f}% ± {100.0 * observed.coverage_error:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "mean share",
    "messages",
    "over-dispersion",
    "phones",
    "RMSE ratio",
    "coverage",
    "warned",
    "observed: RMSE ratio",
    "observed: coverage",
)
HEADER = f"| {' | '.join(COLUMNS)} |\n|{' ---: |' * len(COLUMNS)}"


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
