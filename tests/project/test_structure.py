"""The house: imports run one way, and nothing heavy comes in unasked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import FunctionType

import bayes_sklearn
from bayes_sklearn import datasets, distributed, metrics, preprocessing

PACKAGE = Path(bayes_sklearn.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
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
    assert graph["estimators/regressor"]  # the graph is not empty
    list(TopologicalSorter(graph).static_order())  # raises on a cycle


def test_tests_have_the_folders_of_what_they_test_and_names_of_their_own() -> None:
    tests = Path(__file__).parents[1]

    def folders(root: Path) -> set[str]:
        return {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py")}

    assert folders(tests) - {"helpers", "project", "whole"} == folders(PACKAGE)
    names = [path.name for path in tests.rglob("test_*.py")]  # they are imported as modules of these names
    assert len(set(names)) == len(names)


# Each imports what stands after it, and nothing before.
FOLDERS = [
    "displays",
    "validation",
    "distributed",
    "estimators",
    "metrics",
    "prediction",
    "inference",
    "likelihoods",
    "preprocessing",
    "measurements",
]


def test_folders_import_downwards() -> None:
    """Priors know how values are shown in messages, which is all that they import."""
    for module, imported in imports().items():
        folder = module.partition("/")[0]
        if folder in FOLDERS:
            below = {*FOLDERS[FOLDERS.index(folder) :], "priors", "persistence", "datasets"}
            assert {name.partition("/")[0] for name in imported} <= below, module
        if folder == "priors":
            above = {name for name in imported if not name.startswith("priors/")}
            assert above <= {"measurements/messages", "measurements/checks"}, module


def test_files_and_functions_can_be_read_at_one_sitting() -> None:
    """A file has at most 450 lines, a function 60 beside its docstring, a folder 12 files."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 450, path
        assert len(list(path.parent.glob("*.py"))) <= 12, path.parent
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines, first = node.end_lineno - node.lineno + 1, node.body[0]
                documented = ast.get_docstring(node) is not None
                lines -= (first.end_lineno - first.lineno + 1) if documented else 0
                assert lines <= 60, f"{path}: {node.name} has {lines} lines"


def test_the_map_of_the_code_has_one_line_for_every_module() -> None:
    text = (DOCS / "contributing.md").read_text(encoding="utf-8")
    mapped = re.findall(r"^- `([\w/]+\.py)`: \S", text.partition("## A map of the code")[2], re.MULTILINE)
    modules = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
    assert sorted(mapped) == sorted(modules)


def test_the_reference_has_every_public_name() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    documented = set(re.findall(r"\.\. auto(?:class|function):: (\w+)", pages))
    modules = (bayes_sklearn, datasets, distributed, preprocessing)
    assert {name for module in modules for name in module.__all__} <= documented
    scores = {
        name
        for name, value in vars(metrics).items()
        if isinstance(value, type | FunctionType)
        and value.__module__.startswith(metrics.__name__)
        and name[0] != "_"
    }
    assert len(scores) > 5
    assert scores <= documented
    assert all(f"{name}_scorer" in pages for name in metrics.SCORERS)


def test_importing_fitting_and_predicting_load_nothing_heavy() -> None:
    script = """
import sys
from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.datasets import make_role_modeling
import bayes_sklearn.displays
import bayes_sklearn.distributed
import bayes_sklearn.metrics
import bayes_sklearn.preprocessing
phones = make_role_modeling(random_state=0)
model = BayesianErrorsInVariablesRegressor(weight_type="counts").fit(phones.data, phones.target, phones.counts)
model.predict_interval(phones.data); model.summary(); model.sample_y(phones.data); model._repr_html_()
bayes_sklearn.audit_errors(model, phones.data, phones.target, phones.counts).verdict
bayes_sklearn.distributed.fit(model, [(phones.data, phones.target, phones.counts)])
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "bayes_sklearn" in loaded
    assert HEAVY.isdisjoint(loaded)


def test_the_package_shows_public_names_and_modules_and_nothing_else() -> None:
    names = {name for name in dir(bayes_sklearn) if not name.startswith("__")}
    modules = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"datasets"}
    public = {module for module in modules if (DOCS / "api" / f"{module}.md").exists() or module in names}
    assert names == {*bayes_sklearn.__all__, *public}
    for name in names:
        getattr(bayes_sklearn, name)
    code = (
        "import sys, bayes_sklearn; loaded = 'bayes_sklearn.displays' in sys.modules; bayes_sklearn.displays;"
        "print(loaded, 'bayes_sklearn.displays' in sys.modules, hasattr(bayes_sklearn, 'nothing'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
