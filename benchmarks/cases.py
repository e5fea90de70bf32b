"""The cases: for every target, what is measured and at which size."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import (
    adapters,
    calibration_cases,
    correlated_cases,
    feature_cases,
    group_cases,
    horseshoe_cases,
    nuts_cases,
    scaling,
    share_cases,
    sparse_cases,
    streaming_cases,
)
from .adapters import Adapter
from .data import Table, measured, one_error, phones, scattered, shares, sparse
from .fresh import import_seconds, run_probe
from .measure import Result, as_time, ratios, seconds, timed
from .sampling import horseshoe, laplace, nuts_refit

__all__ = ["CASES", "Case"]

# Sampling takes minutes at 20,000 rows: past this many seconds it is stopped, and they are a lower bound.
_SAMPLING_LIMIT = 600.0
# It is not repeated once it has taken so many seconds in all: its times differ by a few percent where the target
# is a factor of 1,000.
_SAMPLING_ENOUGH = 40.0


@dataclass(frozen=True)
class Case:
    """A measurement and its size."""

    run: Callable[..., Result]
    """From ``repeats`` and the numbers in `size` to a result."""
    size: Mapping[str, int]
    tiny: Mapping[str, int]
    """A size at which the case runs in no time and says nothing."""
    needs_pymc: bool = field(default=False, kw_only=True)


def against(make: Callable[[int, int], Table], ours: Adapter, peer: Adapter) -> Callable[..., Result]:
    """Return a case that times two adapters on one table."""

    def run(rows: int, columns: int, repeats: int) -> Result:
        table = make(rows, columns)
        return ratios(ours(table), peer(table), repeats)

    return run


def search(rows: int, columns: int, candidates: int, repeats: int) -> Result:
    table = measured(rows, columns)
    return ratios(adapters.our_search(candidates)(table), adapters.ridge_search(candidates)(table), repeats)


def prior_search(scoring: str) -> Callable[..., Result]:
    """Return a case that times a search without refits beside the 300 fits of Ridge's."""

    def run(rows: int, columns: int, candidates: int, repeats: int) -> Result:
        table = measured(rows, columns)
        ours, peer = adapters.prior_search(candidates, scoring), adapters.ridge_search(candidates)
        return ratios(ours(table), peer(table), repeats)

    return run


def intervals(rows: int, columns: int, repeats: int) -> Result:
    return seconds(adapters.intervals(measured(rows, columns)), repeats)


def memory(adapter: str, peer: str) -> Callable[..., Result]:
    """Return a case that takes the extra memory of an adapter, in columns of n float64 numbers."""

    def run(rows: int, columns: int, repeats: int) -> Result:
        # What is allocated never varies: once is enough, whatever `repeats`.
        found = run_probe("memory_probe", adapter, peer, rows, columns)
        ours, other = (found[kind] / (8.0 * rows) for kind in ("allocated", "peer"))
        resident = found["resident"]
        note = "" if resident is None else f"peak resident memory rises by {resident / (8.0 * rows):.2f}"
        return Result((ours,), f"{ours:.2f} / {other:.2f}", note)

    return run


def imports(repeats: int) -> Result:
    """Import in new processes, in turns; the first pair writes the bytecode and is discarded."""
    pairs = [
        (import_seconds("bayes_sklearn"), import_seconds("sklearn.linear_model")) for _ in range(repeats + 1)
    ][1:]
    ours, peer = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Result(tuple(a / b for a, b in pairs), f"{as_time(ours)} / {as_time(peer)}")


def sampled(sampler: str | None) -> Callable[..., Result]:
    """Return a case that times PyMC on the reference model, in a new process, over the exact fit and its draws.

    A first, short run, which leaves compiled code in PyTensor's cache, is discarded.
    """
    chosen = () if sampler is None else (sampler,)

    def run(rows: int, draws: int, tune: int, repeats: int) -> Result:
        table = phones(rows)
        ours = adapters.exact_reference(table)
        exact = adapters.reference_model().fit(table.X, table.y, sample_weight=table.weight)
        run_probe("pymc_probe", rows, 2, 2, *chosen, limit=_SAMPLING_LIMIT)
        timed(ours)
        values: list[tuple[float, float, float]] = []
        found: list[dict[str, Any]] = []
        while len(found) < repeats and sum(one["seconds"] for one in found) < _SAMPLING_ENOUGH:
            try:
                found.append(run_probe("pymc_probe", rows, draws, tune, *chosen, limit=_SAMPLING_LIMIT))
            except TimeoutError as stopped:
                own = statistics.median(timed(ours) for _ in range(repeats))
                return Result((_SAMPLING_LIMIT / own,), f"{as_time(own)} / {stopped}", is_lower_bound=True)
            # Milliseconds beside minutes: as many as it takes to be sure of them.
            own = statistics.median(timed(ours) for _ in range(repeats))
            values.append((own, found[-1]["seconds"], found[-1]["sampling"]))
        own, total, sampling = (statistics.median(times) for times in zip(*values, strict=True))
        means = np.mean([one["coef"] for one in found], axis=0)
        apart = np.max(np.abs(means - exact.coef_) / exact.coef_std_)
        return Result(
            tuple(peer / own for own, peer, _ in values),
            f"{as_time(own)} / {as_time(total)}",
            f"by {found[0]['sampler']}; compiling took {as_time(total - sampling)} of it, the ratio without it is"
            f" {sampling / own:,.0f}; posterior means agree to {apart:.2f} standard deviations",
        )

    return run


def _fits(rows: int, columns: int) -> dict[str, Case]:
    size, tiny = {"rows": rows, "columns": columns}, {"rows": 50, "columns": columns}
    with_errors = against(measured, adapters.fit_y_err, adapters.linear_fit_y_err)
    scaled = against(measured, adapters.fit_y_err_scaled, adapters.linear_fit_y_err)
    with_frequencies = against(measured, adapters.fit_frequency, adapters.linear_fit_weight)
    label = f"{_short(rows)}x{columns}"
    return {
        f"fit-y-err-{label}": Case(with_errors, size, tiny),
        f"fit-y-err-scaled-{label}": Case(scaled, size, tiny),
        f"fit-frequency-{label}": Case(with_frequencies, size, tiny),
    }


def _refits(rows: int) -> dict[str, Case]:
    size, tiny = {"rows": rows, "columns": 4}, {"rows": 30, "columns": 4}
    scaled = nuts_cases.refit(measured, nuts_refit("scaled", laplace))
    additive = nuts_cases.refit(scattered, nuts_refit("additive", laplace))
    return {
        f"nuts-refit-{_short(rows)}": Case(scaled, size, tiny, needs_pymc=True),
        f"nuts-refit-additive-{_short(rows)}": Case(additive, size, tiny, needs_pymc=True),
    }


def _noisy_refits(rows: int) -> dict[str, Case]:
    work = nuts_cases.refit(one_error, nuts_refit("scaled", laplace))
    size, tiny = {"rows": rows, "columns": 4}, {"rows": 30, "columns": 4}
    return {f"nuts-refit-errors-in-x-{_short(rows)}": Case(work, size, tiny, needs_pymc=True)}


def _errors_in_x(label: str, rows: int, columns: int, with_error: int, **how: Any) -> dict[str, Case]:
    size = {"rows": rows, "columns": columns, "with_error": with_error}
    work = feature_cases.fit(**{"common": False, **how})
    return {f"errors-in-x-{label}": Case(work, size, {**size, "rows": 30})}


def _errors_in_x_under(likelihood: str, rows: int, inference: str = "auto") -> dict[str, Case]:
    work, size, sampled = feature_cases.fit_under(likelihood, inference), {"rows": rows}, inference == "nuts"
    name = f"errors-in-x-{'nuts-' * sampled}{likelihood.replace('_', '-')}-{rows}"
    return {name: Case(work, size, {"rows": 60}, needs_pymc=sampled)}


def _streams(rows: int, batches: int) -> dict[str, Case]:
    size = {"batches": batches, "rows": rows, "columns": 10}
    work, tiny = streaming_cases.against_gradients, {**size, "batches": 2}
    return {f"streaming-batches-of-{rows}": Case(work, size, tiny)}


def _short(rows: int) -> str:
    return f"{rows:.0e}".replace("e+0", "e") if rows >= 10**6 else str(rows)


_LARGE, _TINY = {"rows": 1_000_000, "columns": 4}, {"rows": 400, "columns": 4}
_STREAMED = {"batches": 100, "rows": 100_000, "columns": 10}
_STREAMED_TINY = {"batches": 3, "rows": 30, "columns": 10}
_SEARCHED = {"rows": 2_000, "columns": 10, "candidates": 60}
_SEARCHED_TINY = {"rows": 60, "columns": 2, "candidates": 2}
_SAMPLED_TINY = {"rows": 30, "draws": 20, "tune": 20}
_NUTS = {"rows": 2_000, "columns": 4, "draws": 1000, "tune": 500}
_NUTS_TINY = {"rows": 30, "columns": 4, "draws": 20, "tune": 20}

CASES: dict[str, Case] = {
    **_fits(1_000_000, 4),
    **_fits(1_000_000, 20),
    **_fits(2_000, 10),
    "fit-counts-1e6x4": Case(against(shares, adapters.fit_counts, adapters.linear_fit_weight), _LARGE, _TINY),
    "streaming": Case(streaming_cases.against_fits(with_errors=False), _STREAMED, _STREAMED_TINY),
    "streaming-y-err": Case(streaming_cases.against_fits(with_errors=True), _STREAMED, _STREAMED_TINY),
    "streaming-distributed": Case(
        streaming_cases.distributed_against_fits(with_errors=True), _STREAMED, _STREAMED_TINY
    ),
    # Not so few rows that they find room in what the process has.
    "memory-streaming": Case(streaming_cases.memory, _STREAMED, {**_STREAMED, "batches": 2}),
    **_streams(1, 100),
    **_streams(100, 100),
    **_streams(1_000, 100),
    "scaling-rows": Case(
        scaling.against_rows, {"columns": 10, "largest": 10_000_000}, {"columns": 10, "largest": 100_000}
    ),
    "scaling-columns": Case(
        scaling.against_columns, {"rows": 20_000, "largest": 500}, {"rows": 2_000, "largest": 200}
    ),
    "search": Case(search, _SEARCHED, _SEARCHED_TINY),
    "search-loo": Case(prior_search("loo"), _SEARCHED, _SEARCHED_TINY),
    "search-evidence": Case(prior_search("marginal_likelihood"), _SEARCHED, _SEARCHED_TINY),
    "predict-std": Case(against(measured, adapters.predict_std, adapters.linear_predict), _LARGE, _TINY),
    "intervals": Case(intervals, {"rows": 100_000, "columns": 4}, _TINY),
    "memory-fit-y-err": Case(memory("fit_y_err", "linear_fit_y_err"), _LARGE, _TINY),
    "memory-fit-frequency": Case(memory("fit_frequency", "linear_fit_weight"), _LARGE, _TINY),
    "memory-fit-counts": Case(memory("fit_counts", "linear_fit_weight"), _LARGE, _TINY),
    "memory-predict-std": Case(memory("predict_std", "linear_predict"), _LARGE, _TINY),
    "import": Case(imports, {}, {}),
    "pymc-200": Case(
        sampled(None), {"rows": 200, "draws": 4000, "tune": 1000}, _SAMPLED_TINY, needs_pymc=True
    ),
    "nutpie-200": Case(
        sampled("nutpie"), {"rows": 200, "draws": 4000, "tune": 1000}, _SAMPLED_TINY, needs_pymc=True
    ),
    "pymc-20000": Case(
        sampled(None), {"rows": 20_000, "draws": 4000, "tune": 1000}, _SAMPLED_TINY, needs_pymc=True
    ),
    "nutpie-20000": Case(
        sampled("nutpie"), {"rows": 20_000, "draws": 4000, "tune": 1000}, _SAMPLED_TINY, needs_pymc=True
    ),
    "nuts-first": Case(nuts_cases.first_fit, _NUTS, _NUTS_TINY, needs_pymc=True),
    **_refits(200),
    **_refits(20_000),
    **_refits(1_000_000),
    "nuts-refit-horseshoe": Case(
        nuts_cases.refit(sparse, nuts_refit("scaled", horseshoe)),
        {"rows": 2_000, "columns": 10},
        {"rows": 30, "columns": 10},
        needs_pymc=True,
    ),
    "horseshoe-first-10": Case(
        horseshoe_cases.first_fit, {"rows": 500, "columns": 10}, {"rows": 30, "columns": 3}
    ),
    "horseshoe-first-20": Case(
        horseshoe_cases.first_fit, {"rows": 500, "columns": 20}, {"rows": 30, "columns": 3}
    ),
    "search-priors": Case(horseshoe_cases.search, {"rows": 500, "columns": 10}, {"rows": 30, "columns": 2}),
    **_noisy_refits(1_000),
    **_noisy_refits(20_000),
    "nuts-search": Case(
        nuts_cases.search, {**_NUTS, "candidates": 20}, {**_NUTS_TINY, "candidates": 2}, needs_pymc=True
    ),
    "sparse-first": Case(sparse_cases.first_fit, {"rows": 200, "columns": 10}, {"rows": 40, "columns": 3}),
    "sparse-search": Case(
        sparse_cases.first_search, {"rows": 500, "columns": 10}, {"rows": 40, "columns": 3}
    ),
    **_errors_in_x("50", 50, 1, 1),
    **_errors_in_x("1000", 1_000, 1, 1),
    **_errors_in_x("20000", 20_000, 1, 1),
    **_errors_in_x("1e6", 1_000_000, 1, 1),
    **_errors_in_x("mixture-1000", 1_000, 1, 1, components=2),
    **_errors_in_x("common-20000", 20_000, 1, 1, common=True),
    **_errors_in_x("q3-1000", 1_000, 5, 3),
    "errors-in-x-latent-1000": Case(
        feature_cases.against_latent,
        {"rows": 1_000, "draws": 1000, "tune": 1000},
        {"rows": 30, "draws": 20, "tune": 20},
        needs_pymc=True,
    ),
    **_errors_in_x_under("binomial", 500),
    **_errors_in_x_under("binomial", 5_000),
    **_errors_in_x_under("binomial", 20_000),
    **_errors_in_x_under("beta_binomial", 1_000),
    **_errors_in_x_under("student_t", 1_000),
    **_errors_in_x_under("binomial", 1_000, "nuts"),
    **_errors_in_x_under("student_t", 1_000, "nuts"),
    "noisy-intervals-100000": Case(
        feature_cases.many_intervals, {"rows": 100_000, "columns": 4}, {"rows": 5000, "columns": 2}
    ),
    **{
        f"intervals-{likelihood.replace('_', '-')}": Case(
            feature_cases.intervals_under(likelihood),
            {"rows": 100_000, "columns": 4, "fitted": 500},
            {"rows": 3000, "columns": 2, "fitted": 60},
        )
        for likelihood in ("student_t", "binomial", "beta_binomial", "poisson", "negative_binomial")
    },
    **{
        f"{name}-of-one-row{more}": Case(
            feature_cases.one_row(likelihood, ask), {"rows": 500, "columns": 4}, {"rows": 60, "columns": 2}
        )
        for name, ask, likelihood, more in (
            ("predict", feature_cases.mean, "normal", ""),
            ("interval", feature_cases.interval, "normal", ""),
            ("score", feature_cases.scores, "normal", ""),
            ("interval", feature_cases.interval, "laplace", "-laplace"),
            ("interval", feature_cases.interval, "binomial", "-binomial"),
            ("interval", feature_cases.interval, "student_t", "-student-t"),
        )
    },
    **{
        f"noisy-intervals-{likelihood.replace('_', '-')}": Case(
            feature_cases.intervals(likelihood), {"rows": 1000, "fitted": 500}, {"rows": 30, "fitted": 60}
        )
        for likelihood in ("binomial", "beta_binomial", "student_t")
    },
    "missing-features": Case(feature_cases.gaps, {"rows": 200, "columns": 3}, {"rows": 40, "columns": 2}),
    "y-cov-2000": Case(
        correlated_cases.against_least_squares("scaled"),
        {"rows": 2000, "columns": 5},
        {"rows": 40, "columns": 2},
    ),
    "y-cov-scatter-2000": Case(
        correlated_cases.against_least_squares("auto"),
        {"rows": 2000, "columns": 5},
        {"rows": 40, "columns": 2},
    ),
    "y-shared-err-100000": Case(
        correlated_cases.shared_against_independent,
        {"rows": 100_000, "columns": 5, "nights": 5},
        {"rows": 60, "columns": 2, "nights": 2},
    ),
    "inverse-1000": Case(
        calibration_cases.inverse, {"standards": 100, "readings": 1000}, {"standards": 8, "readings": 5}
    ),
    **{
        f"groups-{rows}{'-slopes' * slopes}": Case(
            group_cases.fit,
            {"rows": rows, "columns": 10, "groups": rows // 100, "slopes": slopes},
            {"rows": 80, "columns": 2, "groups": 8, "slopes": slopes},
        )
        for rows in (100_000, 1_000_000)
        for slopes in (0, 1)
    },
    "star98-binomial": Case(share_cases.fit("binomial"), {"rows": 303}, {"rows": 60}),
    "star98-beta-binomial": Case(share_cases.fit("beta_binomial"), {"rows": 303}, {"rows": 60}),
    **{
        f"events-{likelihood.replace('_', '-')}": Case(
            share_cases.events(likelihood), {"rows": 20_000, "columns": 10}, {"rows": 60, "columns": 2}
        )
        for likelihood in ("poisson", "negative_binomial")
    },
    **{
        f"limits-{rows}": Case(share_cases.limits, {"rows": rows, "columns": 5}, {"rows": 60, "columns": 2})
        for rows in (1000, 100_000)
    },
    "star98-sampled": Case(
        share_cases.against_pymc,
        {"rows": 303, "draws": 1000, "tune": 1000},
        {"rows": 60, "draws": 20, "tune": 20},
        needs_pymc=True,
    ),
}
"""Every case, by the name of its target."""
