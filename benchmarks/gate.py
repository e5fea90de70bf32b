"""What a fit does, counted: passes over the rows, blocks, matrices, points, compilations, memory. No times.

``python -m benchmarks.gate`` holds the counts against ``benchmarks/gate.csv``, as the tests do; with ``--write`` it
writes them there, which is for changes that are meant.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from sklearn.model_selection import GridSearchCV

from bayes_sklearn import BayesianErrorsInVariablesRegressor, BayesianErrorsInVariablesRegressorCV
from bayes_sklearn.inference.importance import mixture_nodes, regression_nodes, structural_nodes
from bayes_sklearn.inference.nuts import sampler
from bayes_sklearn.inference.nuts.sampler import CompiledModels
from bayes_sklearn.measurements import compressed
from bayes_sklearn.priors import Laplace

from .data import Table, measured, noisy, shares

__all__ = ["CASES", "EXPECTED", "Expected", "compare", "count", "read"]

EXPECTED = Path(__file__).with_name("gate.csv")

# Long enough for several blocks of rows; where thousands of points are tried at every row, short.
_LONG, _SHORT, _COLUMNS = 50_000, 2_000, 4
# Equal, where nothing iterates; searches and what is allocated may differ a little between versions of libraries.
_MARGINS = {"passes": 1.2, "matrices": 1.5, "points": 2.0, "allocated": 1.5, "blocks": 1.2, "compiles": 1.0}
_FEW = 10  # passes and blocks: where they are fewer, one more is no chance

Counts = dict[str, float]


@dataclass(frozen=True)
class Expected:
    """A count of the table."""

    value: float
    margin: float
    """Largest ratio, either way, of a count to this one; 1: equal."""

    def verdict(self, found: float) -> str:
        """Return what is wrong with a count; empty where nothing is."""
        if found == self.value:
            return ""
        if not found <= self.value * self.margin:  # NaN is wrong, too
            return f"{found:g}, more than {self.value:g}"
        if found < self.value / self.margin:
            return f"{found:g}, less than {self.value:g}: if that is meant, write it into {EXPECTED.name}"
        return ""


def _fit(
    make: Callable[[int, int], Table], rows: int, given: Sequence[str], **settings: Any
) -> Callable[[], Counts]:
    """Return a case that fits a table with columns of it as errors, weights or counts."""

    def run() -> Counts:
        table = make(rows, _COLUMNS)
        model = BayesianErrorsInVariablesRegressor(random_state=0, **settings)
        known = {_ARGUMENTS[name]: getattr(table, name) for name in given}
        return count(lambda: model.fit(table.X, table.y, **known), rows, table.X.nbytes)

    return run


_ARGUMENTS = {"y_err": "y_err", "weight": "sample_weight", "X_err": "X_err"}


def _one_error(rows: int, columns: int) -> Table:
    return noisy(rows, columns, 1, common=False)


def _few_errors(rows: int, columns: int) -> Table:
    """Return rows that share three errors."""
    table = measured(rows, columns)
    table.y_err[:] = np.round(table.y_err).clip(min=1.0) * 0.5
    return table


def _batches() -> Counts:
    table, parts = measured(_LONG, _COLUMNS), np.array_split(np.arange(_LONG), 10)

    def work() -> object:
        model = BayesianErrorsInVariablesRegressor()
        for part in parts:
            model.partial_fit(table.X[part], table.y[part], y_err=table.y_err[part])
        return model

    return count(work, _LONG, table.X.nbytes)


def _predict() -> Counts:
    table = measured(_LONG, _COLUMNS)
    model = BayesianErrorsInVariablesRegressor().fit(table.X[:200], table.y[:200])
    return count(lambda: model.predict(table.X, return_std=True), _LONG, table.X.nbytes)


def _search() -> Counts:
    """Search over priors by leave-one-out, without refits."""
    table = measured(_SHORT, _COLUMNS)
    grid = {"coef_prior__sigma": np.geomspace(0.1, 10.0, 10)}
    search = BayesianErrorsInVariablesRegressorCV(param_grid=grid)
    return count(lambda: search.fit(table.X, table.y, y_err=table.y_err), _SHORT, table.X.nbytes)


def _nuts_search() -> Counts:
    """Search over a sampled prior: one model is compiled for all candidates and folds."""
    table = measured(60, 2)
    model = BayesianErrorsInVariablesRegressor(
        coef_prior=Laplace(), inference="nuts", draws=50, chains=2, nuts_kwargs={"tune": 50}, random_state=0
    )
    search = GridSearchCV(model, {"coef_prior__b": [0.5, 1.0, 2.0]}, cv=2, error_score="raise")
    with _counters() as found:
        search.fit(table.X, table.y, y_err=table.y_err)
    return {"compiles": found["compiles"]}


CASES: Mapping[str, Callable[[], Counts]] = {
    "fit": _fit(measured, _LONG, ()),
    "fit frequency": _fit(measured, _LONG, ("weight",), weight_type="frequency"),
    "fit y_err": _fit(measured, _LONG, ("y_err",)),
    "fit y_err known": _fit(measured, _LONG, ("y_err",), noise="known"),
    "fit y_err additive": _fit(measured, _SHORT, ("y_err",), noise="additive"),
    "fit y_err additive, few errors": _fit(_few_errors, _LONG, ("y_err",), noise="additive"),
    "fit counts": _fit(shares, _LONG, ("weight",), weight_type="counts"),
    "fit counts observed": _fit(shares, _LONG, ("weight",), weight_type="counts", count_error="observed"),
    "fit X_err": _fit(_one_error, _SHORT, ("y_err", "X_err")),
    "fit X_err mixture": _fit(_one_error, 300, ("y_err", "X_err"), x_distribution="mixture"),
    "fit student_t": _fit(measured, _SHORT, ("y_err",), likelihood="student_t"),
    "fit binomial": _fit(shares, _SHORT, ("weight",), weight_type="counts", likelihood="binomial"),
    "fit beta_binomial": _fit(shares, _SHORT, ("weight",), weight_type="counts", likelihood="beta_binomial"),
    "partial_fit": _batches,
    "predict std": _predict,
    "search": _search,
    "search nuts": _nuts_search,
}


def count(work: Callable[[], object], rows: int, table: int) -> Counts:
    """Return what a piece of work does.

    Parameters
    ----------
    work : callable
    rows : int
        Of its table.
    table : int
        Bytes of its features.

    Returns
    -------
    dict
        ``passes`` over the rows' features; ``blocks`` of rows that are factored; ``matrices`` that NumPy factors or
        inverts; ``points`` at which importance sampling takes the density; ``allocated``, the peak in units of
        the table.
    """
    with _counters() as found:
        work()
    with _silence():
        tracemalloc.start()
        kept = work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        del kept
    of_rows = {"passes": found["passes"] / rows, "allocated": peak / table}
    return {name: float(f"{value:.3g}") for name, value in {**found, **of_rows}.items() if name != "compiles"}


@contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _counters() -> Iterator[Counts]:
    """Give counts that go on while the block runs."""
    found = dict.fromkeys(("passes", "blocks", "matrices", "points", "compiles"), 0.0)

    def counting(name: str, function: Callable[..., Any], size: Callable[..., float]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            found[name] += size(result, *arguments)
            return result

        return counted

    def sample(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(log_density: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            density = counting("points", log_density, lambda values, points: len(points))
            return function(density, *arguments, **named)

        return counted

    def compiled(self: CompiledModels, key: Any, compile_model: Callable[[], Any]) -> Any:
        return get(self, key, counting("compiles", compile_model, lambda model: 1))

    get = CompiledModels.get
    rows = compressed.Rows
    with ExitStack() as stack:
        for module in (regression_nodes, structural_nodes, mixture_nodes):
            stack.enter_context(patch.object(module, "sample", sample(module.sample)))
        for name in ("qr", "svd", "cholesky", "eigh", "inv", "lstsq"):
            # The last two axes are a matrix, those before say how many.
            counted = counting(
                "matrices", getattr(np.linalg, name), lambda result, a, *_: math.prod(np.shape(a)[:-2])
            )
            stack.enter_context(patch.object(np.linalg, name, counted))
        taken = counting("passes", rows.take, lambda block, *_: len(block))
        stack.enter_context(patch.object(rows, "take", taken))
        eliminated = counting("blocks", compressed.eliminate, lambda *_: 1)
        stack.enter_context(patch.object(compressed, "eliminate", eliminated))
        stack.enter_context(patch.object(CompiledModels, "get", compiled))
        # Models that were compiled before would hide what compiles.
        stack.enter_context(patch.object(sampler, "COMPILED", CompiledModels(4)))
        stack.enter_context(_silence())
        yield found


def read(path: Path = EXPECTED) -> dict[tuple[str, str], Expected]:
    """Read the counts that are expected, by case and measure."""
    with path.open(newline="") as file:
        return {
            (row["case"], row["measure"]): Expected(float(row["count"]), float(row["margin"]))
            for row in csv.DictReader(file)
        }


def compare(
    found: Mapping[tuple[str, str], float], expected: Mapping[tuple[str, str], Expected]
) -> list[str]:
    """Return what is wrong, over all that is on either side: what is on one alone has vanished from the other."""
    wrong = []
    for key in sorted({*found, *expected}):
        name = ": ".join(key)
        if key not in found:
            wrong.append(f"{name} has vanished: the table has it, nothing counts it")
        elif key not in expected:
            wrong.append(f"{name} is not in {EXPECTED.name}: its count is {found[key]:g}")
        elif verdict := expected[key].verdict(found[key]):
            wrong.append(f"{name} is {verdict}")
    return wrong


def _write(found: Mapping[tuple[str, str], float], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "measure", "count", "margin"])
        for (case, measure), value in found.items():
            few = measure in ("passes", "blocks") and value < _FEW
            margin = 1.0 if few or value == 0.0 else _MARGINS[measure]
            writer.writerow([case, measure, f"{value:.3g}", f"{margin:g}"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the counts into {EXPECTED.name}")
    options = parser.parse_args(arguments)
    found = {(case, measure): value for case, run in CASES.items() for measure, value in run().items()}
    for (case, measure), value in found.items():
        print(f"{case:<32} {measure:<10} {value:.3g}")
    if options.write:
        _write(found, EXPECTED)
        return 0
    wrong = compare(found, read())
    for one in wrong:
        print(one, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
