"""Without PyMC, ArviZ and nutpie all else runs; what needs them says in a sentence what to install."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import Any

import pytest
from numpy.testing import assert_allclose

# The same here, where they are, and in a process where nothing of them can be imported, as if they were not.
DATA = """
import numpy as np
import bayes_sklearn as b
Regressor = b.BayesianErrorsInVariablesRegressor
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 2))
y = 1.0 + X @ [1.0, -0.5] + 0.3 * rng.normal(size=60)
counts = rng.integers(5, 50, 60).astype(float)
share = rng.binomial(counts.astype(int), 1.0 / (1.0 + np.exp(-y))) / counts
kinds = {
    "exact": (Regressor(), (X, y), {"y_err": 0.3}),
    "binomial": (Regressor(likelihood="binomial", random_state=0), (X, share, counts), {}),
    "X_err": (Regressor(random_state=0), (X, y), {"X_err": 0.1}),
    "horseshoe": (Regressor(coef_prior=b.Horseshoe(), random_state=0), (X, y), {}),
}

def look(model, data, given):
    model.fit(*data, **given)
    found, pit = model.loo(*data, **given), model.loo_pit(*data, **given)
    worst = 0.0 if model.inference_ == "exact" else float(np.max(found["pareto_k"]))
    elpd = found["elpd"] if hasattr(found, "elpd") else found["elpd_loo"]
    return {"coef": model.coef_.tolist(), "elpd": elpd, "se": found["se"], "k": worst, "pit": pit.tolist()}
"""

PROGRAM = f"""
import importlib.abc, json, sys, warnings

GONE = {{"pymc", "arviz", "arviz_base", "arviz_stats", "nutpie", "pytensor", "numba", "xarray"}}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in GONE:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
{DATA}
out = {{name: look(*kind) for name, kind in kinds.items()}}
exact, (_, _), given = kinds["exact"]
out["printed"] = str(exact.loo(X, y, **given))
out["summary"] = kinds["horseshoe"][0].summary()["r_hat"].max()
out["audits"] = [len(str(b.audit_errors(model, *data, **given))) for model, data, given in list(kinds.values())[:3]]
search = b.BayesianErrorsInVariablesRegressorCV(
    Regressor(likelihood="binomial", random_state=0), {{"coef_prior": [b.Normal(), b.Laplace()]}}
)
out["search"] = search.fit(X, share, counts).cv_results_["score"].tolist()
refused = {{
    "to_arviz": exact.to_arviz,
    "to_pymc": lambda: exact.to_pymc(X, y, **given),
    "NUTS": lambda: Regressor(inference="nuts").fit(X, y),
    "NUTS, after others": lambda: Regressor(coef_prior=b.Horseshoe(), random_state=0).fit(X, y, y_err=0.3),
}}
for name, call in refused.items():
    try:
        call()
    except ImportError as error:
        out[name] = str(error)
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def slim() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["exact", "binomial", "X_err", "horseshoe"])
def test_fits_and_leave_one_out_are_those_beside_arviz(kind: str, slim: dict[str, Any]) -> None:
    there: dict[str, Any] = {}
    exec(DATA, there)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted, found = there["look"](*there["kinds"][kind]), slim[kind]
    assert_allclose(found["coef"], wanted["coef"], rtol=1e-9)
    # Chains' efficiency, by which ArviZ sets how many draws make the tail, is not 1 in ours.
    tolerance = {"exact": 1e-12}.get(kind, 0.01)
    assert_allclose(found["elpd"], wanted["elpd"], atol=tolerance * wanted["se"])
    assert_allclose(found["se"], wanted["se"], rtol=0.05)
    assert_allclose(found["pit"], wanted["pit"], atol=0.002)
    assert abs(found["k"] - wanted["k"]) < 0.1


def test_what_needs_none_of_them_runs(slim: dict[str, Any]) -> None:
    assert slim["printed"].startswith("Leave-one-out of 60 rows: elpd -14.4")
    assert 0.99 < slim["summary"] < 1.01
    assert min(slim["audits"]) > 500
    assert len(slim["search"]) == 2


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ("to_arviz", "to_arviz needs arviz, not installed here: pip install arviz"),
        ("to_pymc", "to_pymc needs pymc, not installed here: pip install pymc"),
        ("NUTS", "needs pymc and arviz, not installed here: pip install pymc arviz"),
        ("NUTS, after others", "needs pymc and arviz, not installed here: pip install pymc arviz"),
    ],
)
def test_what_needs_them_says_what_to_install(what: str, wanted: str, slim: dict[str, Any]) -> None:
    assert slim[what].endswith(wanted)
