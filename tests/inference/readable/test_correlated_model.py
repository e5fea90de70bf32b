"""The model in PyMC where errors of y go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pytensor.graph.traversal import explicit_graph_inputs
from scipy import sparse, stats

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.priors import Normal

RNG = np.random.default_rng(0)
N = 7
X, ERROR, L = RNG.normal(size=(N, 2)), RNG.uniform(0.3, 0.6, N), 0.5 * RNG.normal(size=(N, 2))
Y = X @ [1.0, -2.0] + 3.0 + RNG.normal(size=N)
V = np.diag(ERROR**2) + L @ L.T
TIMES = np.array([2, 1, 0, 1, 1, 3, 1])


@pytest.mark.parametrize("noise", ["known", "scaled", "additive", "auto"])
def test_the_target_is_multivariate_normal(noise: str) -> None:
    """At a given point the density of y is SciPy's, of copies of rows, too."""
    kept, copies = np.arange(N) != 2, np.repeat(np.arange(N), TIMES)
    shared: dict[str, Any] = {"y_err": ERROR, "y_shared_err": L}
    whole = np.diag(ERROR[copies] ** 2) + L[copies] @ L[copies].T
    cases: list[tuple[dict[str, Any], Any, Any]] = [
        ({"y_cov": V}, np.arange(N), V),
        (
            {"y_cov": sparse.csr_array(V), "sample_weight": kept * 1.0},
            np.flatnonzero(kept),
            V[np.ix_(kept, kept)],
        ),
        ({**shared, "sample_weight": TIMES}, copies, whole),
    ]
    for given, used, covariance in cases:
        estimator = Regressor(
            noise=noise,
            coef_prior=Normal(),
            intercept_prior=Normal(),
            weight_type="frequency",
            standardize=False,
        )
        model = estimator.to_pymc(X, Y, **given)
        point = {"coef": np.array([0.8, -1.5]), "intercept": 2.0, "sigma": 1.3, "scatter": 0.4}
        line = X[used] @ point["coef"] + 2.0
        multiple, scatter = {
            "known": (1.0, 0.0), "scaled": (1.3, 0.0), "additive": (1.0, 1.3), "auto": (1.3, 0.4)
        }[noise]  # fmt: skip
        wanted = stats.multivariate_normal(
            line, multiple**2 * covariance + scatter**2 * np.eye(len(used))
        ).logpdf(Y[used])
        density = model.logp([model["y"]], sum=True, jacobian=False)
        needed = {
            model.rvs_to_values[variable]: np.log(point[variable.name]) if transform else point[variable.name]
            for variable, transform in model.rvs_to_transforms.items()
            if variable in model.free_RVs
            and model.rvs_to_values[variable] in explicit_graph_inputs([density])
        }
        found = density.eval({value: np.asarray(at, dtype=value.dtype) for value, at in needed.items()})
        assert_allclose(found, wanted, rtol=1e-10)
