"""The house: imports run one way, and nothing heavy comes in unasked."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import bayes_sklearn

PACKAGE = Path(bayes_sklearn.__file__).parent
HEAVY = {"pymc", "pytensor", "nutpie", "arviz", "matplotlib", "dask", "numba"}


def imports() -> dict[str, set[str]]:
    """Module to the package's modules it imports, those inside functions counted."""
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        package = parts[:-1]
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) - node.level + 1]
                module = (*base, *(node.module.split(".") if node.module else ()))
                for name in [module] if node.module else [(*module, alias.name) for alias in node.names]:
                    is_package = (PACKAGE / Path(*name) / "__init__.py").exists()
                    found.add("/".join((*name, "__init__") if is_package else name))
        graph["/".join(parts)] = found
    return graph


def test_imports_run_one_way() -> None:
    graph = imports()
    assert graph["regressor"]  # the graph is not empty
    list(TopologicalSorter(graph).static_order())  # raises on a cycle


def test_the_engine_room_imports_nothing_above_it() -> None:
    for module, imported in imports().items():
        if module.startswith("inference/"):
            assert {name for name in imported if not name.startswith("inference/")} <= {
                "priors",
                "errors",
                "feature_errors",
                "likelihoods",
                "predictive",
            }, module


def test_importing_fitting_and_predicting_load_nothing_heavy() -> None:
    script = """
import sys
from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.datasets import make_role_modeling
import bayes_sklearn.displays
import bayes_sklearn.metrics
phones = make_role_modeling(random_state=0)
model = BayesianErrorsInVariablesRegressor(weight_type="counts").fit(phones.data, phones.target, phones.counts)
model.predict_interval(phones.data); model.summary(); model.sample_y(phones.data); model._repr_html_()
bayes_sklearn.audit_errors(model, phones.data, phones.target, phones.counts).verdict
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "bayes_sklearn" in loaded
    assert HEAVY.isdisjoint(loaded)
