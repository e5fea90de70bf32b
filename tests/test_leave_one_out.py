"""Leave-one-out: exact where the engine is, by ArviZ elsewhere, and what `az.compare` makes of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

from bayes_sklearn import Flat, HalfStudentT, Normal
from bayes_sklearn.inference import Problem, Rows, SamplerSettings, exact
from bayes_sklearn.inference._compat import quietly
from bayes_sklearn.inference.compressed import compress
from bayes_sklearn.inference.leave_one_out import leave_one_out
from bayes_sklearn.priors import HalfNormal

from data import measured

Array = NDArray[np.float64]

SETTINGS = SamplerSettings()


def arviz() -> Any:
    with quietly():
        import arviz
    return arviz


def pointwise(found: Any) -> Array:
    return np.asarray(found["loo_i" if arviz().__version__.startswith("0.") else "elpd_i"])


def elpd(found: Any) -> float:
    return float(found["elpd_loo" if arviz().__version__.startswith("0.") else "elpd"])


def effective(found: Any) -> float:
    return float(found["p_loo" if arviz().__version__.startswith("0.") else "p"])


def build(
    X: Array,
    y: Array,
    error: Array | float | None,
    frequency: Array | None = None,
    noise: str = "scaled",
    **changed: Any,
) -> Problem:
    settings = {
        "standardize": True,
        "coef_prior": Normal(),
        "intercept_prior": Normal(),
        "noise_prior": HalfNormal(),
        **changed,
    }
    return Problem.build(Rows(X, y, None, frequency), error, noise=noise, **settings)  # type: ignore[arg-type]


def found(problem: Problem) -> Array:
    posterior = exact.solve(problem, SETTINGS)
    return leave_one_out(problem, posterior.noise_scale).log_density


def refitted(problem: Problem) -> Array:
    """Fit all rows but one copy of one, in the units of all, row by row.

    The density of a whole copy given the rest is the ratio of two marginal likelihoods; where there is none, the
    predictive mixture of the others takes its place, whose tails end with their nodes.
    """
    whole = exact.solve(problem, SETTINGS).log_evidence
    rows, scaling = problem.rows, problem.scaling
    n = len(rows.y)
    frequency = np.ones(n) if rows.frequency is None else rows.frequency
    unit = 1.0 if problem.standard_error is None else problem.standard_error
    error = np.broadcast_to(unit / problem.error_unit, (n,))
    design = np.column_stack([np.ones(n), (rows.X - scaling.x_mean) / scaling.x_scale])
    y = (rows.y - scaling.y_mean) / scaling.y_scale
    values = []
    for i in np.flatnonzero(frequency):
        fewer = frequency.copy()
        fewer[i] = max(fewer[i] - 1.0, 0.0)
        others = replace(rows, frequency=fewer)
        without = replace(problem, rows=others, state=compress(others, unit))
        posterior = exact.solve(without, SETTINGS)
        if whole is not None and posterior.log_evidence is not None and frequency[i] >= 1.0:
            values.append(whole - posterior.log_evidence + np.log(scaling.y_scale))
            continue
        mean, spread = posterior.linear(design[i : i + 1])
        scale = np.square(posterior.noise_scale)
        noise = {"scaled": scale * error[i] ** 2, "additive": scale + error[i] ** 2, "known": error[i] ** 2}
        density = stats.norm(mean[0], np.sqrt(noise[problem.noise] + spread[0])).logpdf(y[i])
        values.append(logsumexp(density, b=posterior.weights))
    return np.array(values) - np.log(scaling.y_scale)


DATA = measured(40, 3)
FREQUENCY = np.resize([1.0, 2.0, 3.0, 1.0], 40)
OUTLIER = DATA.y + np.where(np.arange(40) == 7, 50.0 * DATA.y_err, 0.0)
CASES: dict[str, Problem] = {
    "scaled": build(DATA.X, DATA.y, DATA.y_err),
    "no errors": build(DATA.X, DATA.y, None),
    "additive": build(DATA.X, DATA.y, DATA.y_err, noise="additive"),
    "additive, few errors": build(DATA.X, DATA.y, np.resize([0.3, 1.0], 200)[:40], noise="additive"),
    "known": build(DATA.X, DATA.y, DATA.y_err, noise="known"),
    "scaled, weights": build(DATA.X, DATA.y, DATA.y_err, FREQUENCY),
    "additive, weights": build(DATA.X, DATA.y, DATA.y_err, FREQUENCY, noise="additive"),
    "known, weights": build(DATA.X, DATA.y, DATA.y_err, FREQUENCY, noise="known"),
    "weights of zero": build(DATA.X, DATA.y, DATA.y_err, FREQUENCY - 1.0),
    "weights below one": build(DATA.X, DATA.y, DATA.y_err, 0.4 * FREQUENCY),
    "additive, weights below one": build(DATA.X, DATA.y, DATA.y_err, 0.4 * FREQUENCY, noise="additive"),
    "scaled, outlier": build(DATA.X, OUTLIER, DATA.y_err),
    "scaled, outlier, wide prior": build(DATA.X, OUTLIER, DATA.y_err, noise_prior=HalfStudentT(3.0, 10.0)),
    "additive, outlier": build(DATA.X, OUTLIER, DATA.y_err, noise="additive"),
    "known, outlier": build(DATA.X, OUTLIER, DATA.y_err, noise="known"),
    "not standardised": build(DATA.X, DATA.y, DATA.y_err, standardize=False, coef_prior=Normal(0.0, 10.0)),
    "not standardised, outlier": build(DATA.X, OUTLIER, DATA.y_err, FREQUENCY, standardize=False),
    "no intercept": build(DATA.X, DATA.y, DATA.y_err, intercept_prior=None),
    "no intercept, weights": build(
        DATA.X, DATA.y, DATA.y_err, FREQUENCY, intercept_prior=None, standardize=False
    ),
    "flat": build(DATA.X, DATA.y, DATA.y_err, coef_prior=Flat(), intercept_prior=Flat()),
    "few rows": build(DATA.X[:5], DATA.y[:5], DATA.y_err[:5]),
    "more columns than rows": build(
        np.random.default_rng(1).normal(size=(8, 12)), DATA.y[:8], DATA.y_err[:8], coef_prior=Normal(0.0, 0.3)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_exact_leave_one_out_is_that_of_refits(name: str) -> None:
    problem = CASES[name]
    ours, theirs = found(problem), refitted(problem)
    assert_allclose(ours, theirs, rtol=1e-7, atol=1e-7)
    with_row = leave_one_out(problem, exact.solve(problem, SETTINGS).noise_scale).log_density_with
    assert (with_row > ours).any()
    assert np.abs(with_row - ours).max() > 1e-3, "leaving a row out makes a difference"
