"""What is installed, and what it may do: no pickle, no code from strings, no network, and metadata that is true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import bayes_sklearn

ROOT = Path(__file__).parents[2]
PACKAGE = Path(bayes_sklearn.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
# Modules that read code or foreign objects out of bytes, start programs, or talk to other machines.
FORBIDDEN_MODULES = {
    "cloudpickle", "ctypes", "dill", "ftplib", "http", "marshal", "pickle", "pty", "requests", "runpy", "shelve",
    "socket", "ssl", "subprocess", "tempfile", "urllib", "urllib3", "xmlrpc",
}  # fmt: skip
FORBIDDEN_CALLS = {"__import__", "breakpoint", "compile", "eval", "exec", "input"}
# Readers of others' that unpickle, or fetch what looks like an address.
FORBIDDEN_METHODS = {"fetch_openml", "loadtxt", "read_csv", "read_parquet", "read_pickle", "system", "popen"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def forbidden(source: str) -> list[str]:
    """What a module's text does that none of ours may."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.partition(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            found += [node.module] if node.module.partition(".")[0] in FORBIDDEN_MODULES else []
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
                found.append(node.func.id)
            elif isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                if node.func.attr in FORBIDDEN_METHODS:
                    found.append(node.func.attr)
                if (owner, node.func.attr) in {("np", "load"), ("joblib", "load"), ("skops", "load")}:
                    found.append(f"{owner}.{node.func.attr}")
            found += [k.arg for k in node.keywords if k.arg == "allow_pickle"]
    return found


@pytest.mark.parametrize("module", MODULES)
def test_no_module_reads_pickles_runs_strings_or_opens_connections(module: str) -> None:
    assert forbidden((PACKAGE / module).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import urllib.request as fetch",
        "from socket import create_connection",
        "eval('1')",
        "np.load(path)",
        "load(path, allow_pickle=True)",
        "pandas.read_pickle(path)",
    ],
)
def test_what_is_forbidden_is_seen(source: str) -> None:
    assert len(forbidden(source)) == 1


_WATCHED = """
import sys

events = []
watched = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "pickle.find_class",
           "subprocess.Popen", "os.system", "os.exec", "ftplib.connect", "http.client.connect")
opened = []

def watch(event, arguments):
    if event in watched:
        events.append((event, *map(str, arguments)))
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        opened.append(str(arguments[0]))

import joblib, numpy, pandas, scipy.stats, sklearn  # what these do at their import is theirs
sys.addaudithook(watch)
import bayes_sklearn
from bayes_sklearn import BayesianErrorsInVariablesRegressor, datasets, displays, distributed, metrics, persistence
seeds = datasets.load_seeds()
phones = datasets.make_role_modeling(random_state=0)
for likelihood in ("normal", "student_t", "beta_binomial"):
    model = BayesianErrorsInVariablesRegressor(likelihood=likelihood, weight_type="counts")
    model.fit(phones.data, phones.target, phones.counts)
    model.predict_interval(phones.data)
    model.sample_y(phones.data)
model = BayesianErrorsInVariablesRegressor(inference="importance")
model.fit(seeds.data, seeds.target, y_err=0.1, X_err=[0.0, 0.1, 0.0])
bayes_sklearn.audit_errors(model, seeds.data, seeds.target, y_err=0.1, X_err=[0.0, 0.1, 0.0])
print(events, opened)
"""


def printed_by(script: str) -> str:
    """What a script prints in a process of its own, which writes no byte code either."""
    run = subprocess.run([sys.executable, "-B", "-c", script], check=True, capture_output=True, text=True)
    return run.stdout.strip()


def test_importing_fitting_and_predicting_connect_unpickle_start_and_write_nothing() -> None:
    assert printed_by(_WATCHED) == "[] []"


def test_the_watch_sees_what_it_is_for() -> None:
    deeds = "import pickle, socket; pickle.loads(pickle.dumps(print)); socket.gethostbyname('localhost')"
    spoilt = _WATCHED.replace("seeds = ", f"{deeds}; seeds = ", 1)
    seen = printed_by(spoilt)
    assert "pickle.find_class" in seen
    assert "socket.gethostbyname" in seen


def test_what_is_installed_is_typed_licensed_and_of_one_version() -> None:
    installed = distribution("bayes_sklearn")
    assert (PACKAGE / "py.typed").exists()
    assert installed.version == bayes_sklearn.__version__
    assert installed.metadata["License-Expression"] == PROJECT["license"] == "BSD-3-Clause"
    assert installed.metadata["Requires-Python"] == PROJECT["requires-python"]
    stated = {Requirement(text) for text in installed.requires or () if "extra ==" not in text}
    assert stated == {Requirement(text) for text in PROJECT["dependencies"]}


def test_citation_changelog_and_package_are_of_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert str(citation["version"]) == bayes_sklearn.__version__
    assert citation["license"] == PROJECT["license"]
    releases = re.findall(
        r"^## \[(\S+)\] - (?:unreleased|\d{4}-\d\d-\d\d)$",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert releases[0] == bayes_sklearn.__version__
    assert releases == sorted(releases, key=Version, reverse=True)


@pytest.mark.parametrize("text", PROJECT["dependencies"])
def test_every_dependency_has_a_lowest_version_and_no_highest(text: str) -> None:
    bounds = [(bound.operator, bound.version) for bound in Requirement(text).specifier]
    assert len(bounds) == 1
    assert bounds[0][0] == ">="


def test_the_conda_recipe_has_the_version_and_the_dependencies_of_the_package() -> None:
    recipe = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == bayes_sklearn.__version__
    assert recipe["about"]["license"] == PROJECT["license"]
    run = {name.split()[0]: name.partition(" ")[2] for name in recipe["requirements"]["run"]}
    assert run.pop("python") == PROJECT["requires-python"]
    assert run.pop("numba") == ""  # for nutpie[pymc]
    stated = map(Requirement, PROJECT["dependencies"])
    assert run == {requirement.name: str(requirement.specifier) for requirement in stated}


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda p: p.stem
)
def test_issue_templates_are_forms(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    fields = form["body"]
    assert all(field["type"] in {"input", "textarea"} and field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
