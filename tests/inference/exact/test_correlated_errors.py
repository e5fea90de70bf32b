"""Errors of y that go together: the posterior, leave-one-out and the evidence, against dense algebra and GLS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from correlated import dense
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import sparse

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.priors import CoefficientPrior, Flat, HalfCauchy, InverseGamma, Normal, PoweredCorrelation

Array = NDArray[np.float64]

NOISES = ["known", "scaled", "additive", "auto"]

PRIORS: dict[str, CoefficientPrior | None] = {
    "default": None,
    "normal": Normal(),
    "flat": Flat(),
    "learned": Normal(sigma=HalfCauchy(1.0)),
    "g-prior": PoweredCorrelation(0.8, 1.0),
}


def table(n: int = 12, seed: int = 1) -> tuple[Array, Array, Array, Array]:
    """Features, target, standard errors, and a covariance of errors that fades with the distance of rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal([3.0, -1.0], 1.0, (n, 2))
    place, error = rng.uniform(0.0, 3.0, n), rng.uniform(0.2, 0.6, n)
    V = np.outer(error, error) * np.exp(-np.abs(place[:, None] - place))
    y = X @ [1.0, 2.0] + 3.0 + 0.5 * np.linalg.cholesky(V) @ rng.normal(size=n)
    return X, y, error, V


def loadings(n: int, k: int = 2) -> Array:
    return 0.4 * np.random.default_rng(5).normal(size=(n, k)) + 0.2


def fixed(noise: str) -> Regressor:
    return Regressor(noise=noise, coef_prior=Normal(), intercept_prior=Normal(0.0, 2.0))


def answers(model: Regressor, *, scales: bool = True) -> Array:
    """All figures of a fit, or those of the line alone: of scales few nodes that stand for many know less."""
    evidence = getattr(model, "log_marginal_likelihood_", 0.0)
    table = model.summary()
    return np.append((table if scales else table.loc["intercept":"x1"]).to_numpy().ravel(), evidence)


# What few scatters that stand for all leave under "auto", and the reference's own rule under "additive".
TOLERANCE = {"known": 1e-10, "scaled": 1e-10, "additive": 1e-7, "auto": 3e-3}


@pytest.mark.parametrize("noise", NOISES)
def test_posterior_and_evidence_are_those_of_dense_covariances(noise: str) -> None:
    X, y, _, V = table()
    model, truth = fixed(noise).fit(X, y, y_cov=V), dense(X, y, V, noise)
    mean, covariance = truth.coefficients()
    deviation, close = np.sqrt(np.diag(covariance)), TOLERANCE[noise]
    found = model.summary()
    assert_allclose((found["mean"][:3] - mean) / deviation, 0.0, atol=close)
    assert_allclose(found["sd"][:3], deviation, rtol=close)
    assert_allclose(model.log_marginal_likelihood_, truth.log_evidence, atol=max(0.1 * close, 1e-10))
    assert model.inference_ == "exact"
    if noise != "known":
        scale = truth.t if noise == "additive" else truth.s
        assert_allclose(model.noise_scale_, truth.weights @ scale, rtol=close)
    if noise == "auto":
        assert_allclose(model.scatter_, truth.weights @ truth.t, rtol=close)


@pytest.mark.parametrize("noise", NOISES)
def test_leave_one_out_is_the_ratio_of_dense_evidences(noise: str) -> None:
    X, y, error, V = table(10)
    L = loadings(10)
    for truth, given in (
        (dense(X, y, V, noise, panels=16), {"y_cov": V}),
        (dense(X, y, np.diag(error**2) + L @ L.T, noise, panels=16), {"y_err": error, "y_shared_err": L}),
    ):
        found = np.asarray(fixed(noise).fit(X, y, **given).loo(X, y, **given)["loo_i"])
        wanted = [truth.log_evidence - truth.without(row).log_evidence for row in range(len(y))]
        assert_allclose(found, wanted, atol=1e-4 if noise == "auto" else 1e-6)


@pytest.mark.filterwarnings("ignore:The stated errors look too small")
@pytest.mark.parametrize("far", [4.0, 40.0])
def test_rows_far_out_are_given_the_others_too(far: float) -> None:
    X, y, _, V = table(10)
    y = y.copy()
    y[4] += far
    truth = dense(X, y, V, "scaled", panels=60)
    model = fixed("scaled")
    found = np.asarray(model.fit(X, y, y_cov=V).loo(X, y, y_cov=V)["loo_i"])
    assert_allclose(found[4], truth.log_evidence - truth.without(4).log_evidence, atol=1e-4)
    # Under the default prior far rows are fitted anew: among copies without one another's errors they are one.
    error = np.sqrt(np.diag(V))
    plain = np.asarray(Regressor().fit(X, y, y_err=error).loo(X, y, y_err=error)["loo_i"])
    given = {"y_cov": np.diag(error**2)}
    assert_allclose(Regressor().fit(X, y, **given).loo(X, y, **given)["loo_i"], plain, atol=1e-4)
    assert_allclose(
        Regressor().fit(X, y, **given).loo_pit(X, y, **given),
        Regressor().fit(X, y, y_err=error).loo_pit(X, y, y_err=error),
        atol=1e-4,
    )


@pytest.mark.parametrize("name", list(PRIORS))
@pytest.mark.parametrize("noise", NOISES)
def test_a_diagonal_covariance_is_that_of_independent_errors(noise: str, name: str) -> None:
    X, y, error, _ = table(30)
    model = Regressor(noise=noise, coef_prior=PRIORS[name])
    plain = answers(model.fit(X, y, y_err=error))
    assert_allclose(answers(model.fit(X, y, y_cov=np.diag(error**2))), plain, rtol=1e-9, atol=1e-9)
    assert_allclose(answers(model.fit(X, y, y_cov=sparse.diags(error**2))), plain, rtol=1e-9, atol=1e-9)
    nothing = np.zeros(len(y))
    assert_allclose(answers(model.fit(X, y, y_err=error, y_shared_err=nothing)), plain, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:noise='known', but the stated errors do not")  # without an intercept
@pytest.mark.parametrize("settings", [{}, {"standardize": False}, {"fit_intercept": False}])
@pytest.mark.parametrize("name", list(PRIORS))
@pytest.mark.parametrize("noise", NOISES)
def test_shared_errors_are_their_covariance(noise: str, name: str, settings: dict[str, Any]) -> None:
    X, y, error, _ = table(30)
    L = loadings(30)
    model = Regressor(noise=noise, coef_prior=PRIORS[name], **settings)
    whole = answers(model.fit(X, y, y_cov=np.diag(error**2) + L @ L.T))
    assert_allclose(answers(model.fit(X, y, y_err=error, y_shared_err=L)), whole, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("noise", ["scaled", "auto", "additive"])
def test_shared_errors_of_a_long_table_are_their_covariance(noise: str) -> None:
    """Where rows are many their errors are interpolated, and few that differ are gathered."""
    X, y, error, _ = table(700)
    L = np.column_stack([loadings(700), np.full(700, 0.3)])  # the last is the intercept's column
    for own in (error, np.where(np.arange(700) % 2, 0.3, 0.5)):
        model = Regressor(noise=noise)
        shared = answers(model.fit(X, y, y_err=own, y_shared_err=L), scales=False)
        whole = answers(model.fit(X, y, y_cov=np.diag(own**2) + L @ L.T), scales=False)
        assert_allclose(shared, whole, rtol=1e-5)


@pytest.mark.parametrize("noise", NOISES)
def test_order_of_rows_does_not_matter(noise: str) -> None:
    X, y, error, V = table(24)
    order = np.random.default_rng(0).permutation(24)
    L, model = loadings(24), Regressor(noise=noise)
    before, after = (answers(model.fit(X[i], y[i], y_cov=V[np.ix_(i, i)])) for i in (np.arange(24), order))
    assert_allclose(after, before, rtol=1e-8, atol=1e-8)
    before, after = (
        answers(model.fit(X[i], y[i], y_err=error[i], y_shared_err=L[i])) for i in (np.arange(24), order)
    )
    assert_allclose(after, before, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("noise", NOISES)
def test_blocks_in_any_order_are_one_covariance(noise: str) -> None:
    X, y, _, V = table(24)
    night = np.random.default_rng(3).integers(0, 5, 24)  # blocks of several sizes, their rows mixed
    blocks = np.where(night[:, None] == night, V, 0.0)
    model = Regressor(noise=noise)
    found = answers(model.fit(X, y, y_cov=sparse.coo_array(blocks)))
    assert_allclose(answers(model.fit(X, y, y_cov=blocks)), found, rtol=1e-10)
    # An entry of next to nothing joins all blocks.
    joined = blocks.copy()
    joined[joined == 0.0] = 1e-300
    assert_allclose(answers(model.fit(X, y, y_cov=joined)), found, rtol=1e-8, atol=1e-8)


def test_generalised_least_squares_is_the_flat_prior() -> None:
    X, y, _, V = table(40)
    known = Regressor(noise="known", coef_prior=Flat(), intercept_prior=Flat()).fit(X, y, y_cov=V)
    found = sm.GLS(y, sm.add_constant(X), sigma=V).fit()
    assert_allclose(known.summary()["mean"][:3], found.params, rtol=1e-9)
    assert_allclose(known.summary()["sd"][:3], np.sqrt(np.diag(found.normalized_cov_params)), rtol=1e-9)
    assert_allclose(known.summary().attrs["reduced_chi_square"], found.scale, rtol=1e-9)
    # Under the prior 1 / s the posterior of the coefficients is Student's t, of n - p degrees of freedom.
    scaled = Regressor(
        noise="scaled", coef_prior=Flat(), intercept_prior=Flat(), noise_prior=InverseGamma(1e-9, 1e-9)
    ).fit(X, y, y_cov=V)
    freedom = found.df_resid
    assert_allclose(scaled.summary()["mean"][:3], found.params, rtol=1e-9)
    assert_allclose(scaled.summary()["sd"][:3], found.bse * np.sqrt(freedom / (freedom - 2.0)), rtol=1e-6)
    limits = found.conf_int(0.05)
    assert_allclose(scaled.summary().iloc[:3, 2:4], limits, rtol=1e-5)


@pytest.mark.parametrize("noise", NOISES)
def test_rows_of_no_weight_are_left_out(noise: str) -> None:
    X, y, error, V = table(20)
    weight, kept = np.ones(20), np.arange(20) != 6
    weight[6] = 0.0
    model, L = Regressor(noise=noise), loadings(20)
    alone = answers(model.fit(X[kept], y[kept], y_cov=V[np.ix_(kept, kept)]))
    assert_allclose(answers(model.fit(X, y, weight, y_cov=V)), alone, rtol=1e-9, atol=1e-9)
    alone = answers(model.fit(X[kept], y[kept], y_err=error[kept], y_shared_err=L[kept]))
    found = model.fit(X, y, weight, y_err=error, y_shared_err=L)
    assert_allclose(answers(found), alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("noise", NOISES)
def test_copies_of_a_row_share_what_it_shares(noise: str) -> None:
    X, y, error, _ = table(12)
    times = np.array([2, 1, 3] * 4)
    model, L = Regressor(noise=noise, weight_type="frequency"), loadings(12)
    given = {"y_err": error, "y_shared_err": L}
    weighted = answers(model.fit(X, y, times, **given), scales=False)
    loo = np.asarray(model.loo(X, y, times, **given)["loo_i"])
    one_by_one = {name: np.repeat(values, times, axis=0) for name, values in given.items()}
    X, y = np.repeat(X, times, axis=0), np.repeat(y, times)
    assert_allclose(answers(model.fit(X, y, **one_by_one), scales=False), weighted, rtol=1e-8, atol=1e-8)
    copies = np.asarray(model.loo(X, y, **one_by_one)["loo_i"])
    assert_allclose(np.bincount(np.repeat(np.arange(12), times), copies), loo, rtol=1e-5, atol=1e-5)


def test_an_offset_common_to_all_rows_says_nothing_of_the_slopes() -> None:
    """A zero point that is not known at all is an intercept's."""
    X, y, error, _ = table(30)
    flat = Regressor(noise="known", coef_prior=Flat(), intercept_prior=Flat())
    slopes = flat.fit(X, y, y_err=error).summary().iloc[1:]
    shared = flat.fit(X, y, y_err=error, y_shared_err=np.full(30, 50.0)).summary()
    assert_allclose(shared.iloc[1:], slopes, rtol=1e-9)
    assert shared["sd"]["intercept"] > 49.0
