"""What must not change a fit, and what predictions must satisfy, over drawn problems."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Flat, HalfCauchy, Normal
from bayes_sklearn.priors import PoweredCorrelation

from data import measured, shares
from plain import Regressor

Array = NDArray[np.float64]
relaxed = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def problems(draw: Any) -> tuple[Regressor, Array, Array, dict[str, Any]]:
    """Draw an estimator and data: any noise, any kind of known error, any prior the engine takes."""
    n, p = draw(st.integers(4, 40)), draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["none", "y_err", "frequency", "counts"]))
    seed = draw(st.integers(0, 2**31))
    noise = draw(
        st.sampled_from(
            ["scaled", "additive"] if kind in ("none", "frequency") else ["scaled", "additive", "known"]
        )
    )
    coef_prior = draw(st.sampled_from([None, Normal(sigma=0.5)] + ([Flat()] if n > p + 3 else [])))
    model = Regressor(
        noise=noise,
        coef_prior=coef_prior,
        noise_prior=draw(st.sampled_from([None, HalfCauchy()])),
        fit_intercept=draw(st.booleans()),
        weight_type="counts" if kind == "counts" else "frequency",
        error_floor=0.01,
    )
    rng = np.random.default_rng(seed)
    if kind == "counts":
        X, y, counts = shares(n, p, seed)
        return model, X, y, {"sample_weight": counts}
    X, y, y_err = measured(n, p, seed)
    if kind == "frequency":
        return model, X, y, {"sample_weight": rng.integers(1, 4, n).astype(float)}
    return model, X, y, {"y_err": y_err} if kind == "y_err" else {}


def quietly(model: Regressor, X: Array, y: Array, given: dict[str, Any]) -> Regressor:
    """Fit without the warnings that small drawn data sets are due."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y, **given)


def found(model: Regressor) -> Array:
    return np.concatenate([model.coef_, model.coef_std_, [model.intercept_, model.noise_scale_]])


@given(problems(), st.integers(0, 1000))
@relaxed
def test_permuting_rows_changes_nothing(problem: Any, seed: int) -> None:
    model, X, y, errors = problem
    before = found(quietly(model, X, y, errors))
    order = np.random.default_rng(seed).permutation(len(y))
    after = found(quietly(model, X[order], y[order], {k: v[order] for k, v in errors.items()}))
    assert_allclose(after, before, rtol=1e-6, atol=1e-9)


@given(problems(), st.integers(0, 1000))
@relaxed
def test_shifting_and_rescaling_features_changes_only_their_units(problem: Any, seed: int) -> None:
    model, X, y, errors = problem
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-6.0, 6.0, X.shape[1])
    shift = rng.normal(size=X.shape[1]) * scale if model.fit_intercept else np.zeros(X.shape[1])
    quietly(model, X, y, errors)
    mean, std = model.predict(X, return_std=True)
    coef = model.coef_
    quietly(model, X * scale + shift, y, errors)
    assert_allclose(model.coef_ * scale, coef, rtol=1e-6, atol=1e-9)
    assert_allclose(model.predict(X * scale + shift, return_std=True), (mean, std), rtol=1e-6, atol=1e-9)


@given(problems(), st.floats(-6.0, 6.0), st.floats(-3.0, 3.0))
@relaxed
def test_rescaling_the_target_and_its_errors_changes_only_their_unit(
    problem: Any, power: float, shift: float
) -> None:
    model, X, y, errors = problem
    if model.weight_type == "counts":
        return  # a share has no unit
    scale = 10.0**power
    moved = scale * (y + (shift if model.fit_intercept else 0.0))
    scaled = {k: v * scale if k == "y_err" else v for k, v in errors.items()}
    mean, std = quietly(model, X, y, errors).predict(X, return_std=True)
    evidence = getattr(model, "log_marginal_likelihood_", np.nan)
    quietly(model, X, moved, scaled)
    new_mean, new_std = model.predict(X, return_std=True)
    offset = shift if model.fit_intercept else 0.0
    assert_allclose(new_mean / scale - offset, mean, rtol=1e-6, atol=1e-6)
    assert_allclose(new_std / scale, std, rtol=1e-6)
    n = errors.get("sample_weight", np.ones(len(y))).sum()
    assert_allclose(
        getattr(model, "log_marginal_likelihood_", np.nan), evidence - n * np.log(scale), rtol=1e-6, atol=1e-6
    )


@given(problems())
@relaxed
def test_quantiles_are_monotone_intervals_nest_and_the_cdf_inverts(problem: Any) -> None:
    model, X, y, errors = problem
    quietly(model, X, y, errors)
    probabilities = np.array([1e-6, 0.01, 0.05, 0.3, 0.5, 0.7, 0.95, 0.99, 1.0 - 1e-6])
    quantiles = model.predict_quantiles(X, probabilities)
    assert (np.diff(quantiles, axis=1) > 0.0).all()
    narrow, wide = model.predict_interval(X, 0.5), model.predict_interval(X, 0.9)
    assert (wide[:, 0] < narrow[:, 0]).all()
    assert (narrow[:, 1] < wide[:, 1]).all()
    distribution = model.predict_distribution(X)
    assert_allclose(
        distribution.cdf(quantiles.T), np.broadcast_to(probabilities[:, None], quantiles.T.shape), rtol=1e-7
    )
    assert_allclose(distribution.pdf(y), np.exp(distribution.logpdf(y)))
    assert (distribution.crps(y) > 0.0).all()


@given(problems())
@relaxed
def test_predictions_do_not_depend_on_the_other_rows(problem: Any) -> None:
    model, X, y, errors = problem
    quietly(model, X, y, errors)
    together = np.column_stack([*model.predict(X, return_std=True), model.predict_interval(X)])
    alone = [
        np.concatenate([np.ravel(model.predict(row, return_std=True)), model.predict_interval(row)[0]])
        for row in X[:, None]
    ]
    assert_allclose(together, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("noise", ["scaled", "additive"])
def test_an_offset_of_1e9_on_a_feature_costs_no_digits(noise: str) -> None:
    X, y, y_err = measured(200)
    X = np.round(X * 2**10) / 2**10  # so that the offset itself rounds nothing away
    model = Regressor(noise=noise)
    near = model.fit(X, y, y_err=y_err).coef_, *model.predict(X, return_std=True)
    far_X = X + np.array([1e9, 0.0, -1e9])
    far = model.fit(far_X, y, y_err=y_err).coef_, *model.predict(far_X, return_std=True)
    for a, b in zip(near, far, strict=True):
        assert_allclose(b, a, rtol=1e-10)


def test_float32_features_give_the_fit_of_their_values_in_float64() -> None:
    X, y, y_err = measured()
    X = X.astype(np.float32)
    assert_allclose(
        found(Regressor().fit(X, y, y_err=y_err)), found(Regressor().fit(X.astype(float), y, y_err=y_err))
    )


@pytest.mark.parametrize("order", ["C", "F"])
def test_long_tables_are_compressed_like_short_ones(order: Any) -> None:
    # Many blocks against the normal equations of well-conditioned data.
    rng = np.random.default_rng(0)
    X = np.asarray(rng.normal([1.0, 2.0, 3.0], size=(300_000, 3)), order=order)
    e = rng.uniform(0.5, 2.0, len(X))
    y = X @ [1.0, -2.0, 0.5] + 3.0 + e * rng.normal(size=len(X))
    model = Regressor(coef_prior=Flat(), intercept_prior=Flat()).fit(X, y, y_err=e)
    design = np.column_stack([np.ones(len(X)), X]) / e[:, None]
    expected = np.linalg.solve(design.T @ design, design.T @ (y / e))
    assert_allclose(np.append(model.intercept_, model.coef_), expected, rtol=1e-10)


@pytest.mark.parametrize("place", [0, 20, -1])
def test_rows_of_very_different_weight_keep_their_digits(place: int) -> None:
    # Small whole numbers, so that the normal equations can be solved exactly. Two precise rows can't tell three
    # coefficients: the digits of all the others decide, and they come in other blocks.
    rng = np.random.default_rng(0)
    X, y = rng.integers(-9, 10, size=(60_000, 2)), rng.integers(-9, 10, size=60_000)
    e, precise = np.full(60_000, 8.0), [place, place - 1]
    e[precise] = 2.0**-40
    model = Regressor(noise="known", standardize=False, coef_prior=Normal(), intercept_prior=Normal())
    model.fit(X, y, y_err=e)
    rows = np.column_stack([np.ones(60_000, dtype=int), X, y])
    light = np.delete(rows, precise, axis=0)
    heavy = rows[precise]
    exact = [
        [
            Fraction(int(a), 64) + 2**80 * int(b) + (i == j)
            for j, (a, b) in enumerate(zip(light_row, heavy_row, strict=True))
        ]
        for i, (light_row, heavy_row) in enumerate(
            zip((light.T @ light)[:3], (heavy.T @ heavy)[:3], strict=True)
        )
    ]
    for i in range(3):  # Gauss-Jordan elimination
        exact[i] = [value / exact[i][i] for value in exact[i]]
        for j in range(3):
            if j != i:
                exact[j] = [a - exact[j][i] * b for a, b in zip(exact[j], exact[i], strict=True)]
    expected = [float(row[3]) for row in exact]
    assert_allclose(np.append(model.intercept_, model.coef_), expected, rtol=1e-8)


def test_constant_and_collinear_columns_are_fitted() -> None:
    X, y, y_err = measured()
    degenerate = np.column_stack([X, np.full(len(X), 0.1), X[:, 0], 1.0 - X[:, 1]])
    model = Regressor().fit(degenerate, y, y_err=y_err)
    assert np.isfinite(found(model)).all()
    # A constant column says nothing: its coefficient keeps the prior, and a copy shares with its twin.
    assert abs(model.coef_[3]) < 1e-12
    assert_allclose(model.coef_[0], model.coef_[4], rtol=1e-6)


def test_a_sample_is_of_the_distribution_and_repeats_by_its_seed() -> None:
    X, y, y_err = measured()
    model = Regressor(random_state=1).fit(X, y, y_err=y_err)
    draws = model.sample_y(X[:5], 40_000)
    assert draws.shape == (5, 40_000)
    mean, cov = model.predict(X[:5], return_cov=True)
    sd = np.sqrt(np.diag(cov))
    # z = 5 on 5 means and 15 covariances: a false alarm in 90,000 seeds.
    assert (np.abs(draws.mean(axis=1) - mean) < 5.0 * sd / 200.0).all()
    error = np.sqrt((cov**2 + np.outer(sd, sd) ** 2) / 40_000)
    assert (np.abs(np.cov(draws) - cov) < 5.5 * error).all()
    assert_allclose(model.sample_y(X[:5], 3), model.sample_y(X[:5], 3))
    assert not np.allclose(model.sample_y(X[:5], 3), model.sample_y(X[:5], 3, random_state=5))


def test_the_covariance_s_diagonal_is_the_variance() -> None:
    X, y, y_err = measured()
    model = Regressor(noise="additive").fit(X, y, y_err=y_err)
    for include_noise in (True, False):
        _, cov = model.predict(X, return_cov=True, include_noise=include_noise)
        _, std = model.predict(X, return_std=True, include_noise=include_noise)
        assert_allclose(np.diag(cov), std**2, rtol=1e-10)


def test_the_summary_agrees_with_the_attributes_and_with_draws() -> None:
    X, y, y_err = measured()
    for noise in ("scaled", "additive"):
        model = Regressor(noise=noise).fit(X, y, y_err=y_err)
        table = model.summary(coverage=0.8)
        assert_allclose(table["mean"], [model.intercept_, *model.coef_, model.noise_scale_])
        assert_allclose(table["sd"].iloc[1:-1], model.coef_std_)
        B, nodes = model._fitted.posterior.draw(200_000, np.random.default_rng(0))
        B[:, 0] -= B[:, 1:] @ model._fitted.posterior.center
        draws = np.column_stack([B, model._fitted.posterior.noise_scale[nodes]])
        below = (draws < table["lower_80%"].to_numpy()).mean(axis=0)
        above = (draws > table["upper_80%"].to_numpy()).mean(axis=0)
        # z = 5 for the coefficients; the scale's draws sit on the nodes of the quadrature rule.
        assert_allclose(below[:-1], 0.1, atol=5.0 * np.sqrt(0.09 / 200_000))
        assert_allclose(above[:-1], 0.1, atol=5.0 * np.sqrt(0.09 / 200_000))
        assert abs(below[-1] - 0.1) < 0.1
        assert (
            table.loc["noise_scale", "lower_80%"] < model.noise_scale_ < table.loc["noise_scale", "upper_80%"]
        )


def another_basis(p: int, condition: float | None, rng: np.random.Generator) -> Array:
    """An invertible map: of a given condition number, or of standard normal entries."""
    if condition is None:
        return np.asarray(rng.normal(size=(p, p)))
    left, right = (np.linalg.qr(rng.normal(size=(p, p)))[0] for _ in range(2))
    return np.asarray(left * np.geomspace(1.0, condition, p) @ right)


def moved(model: BayesianErrorsInVariablesRegressor, condition: float | None, seed: int) -> Array:
    """How far the line at 200 rows moves with the features' basis, in least squares' standard errors."""
    rng = np.random.default_rng(seed)
    p = int(rng.choice([2, 5, 10]))
    n = 11 * p
    X = rng.normal(size=(n + 200, p))
    if seed % 2:
        X = np.sqrt(0.1) * X + np.sqrt(0.9) * rng.normal(size=(n + 200, 1))
    line = X @ rng.normal(size=p)
    y = line + line.std() / np.sqrt(10.0 ** rng.uniform(-1.5, 1.5)) * rng.normal(size=n + 200)
    design = np.column_stack([np.ones(n + 200), X])
    residual = y[:n] - design[:n] @ np.linalg.lstsq(design[:n], y[:n], rcond=None)[0]
    _, triangle = np.linalg.qr(design[:n])
    leverage = np.square(np.linalg.solve(triangle.T, design[n:].T)).sum(axis=0)
    turned = X @ another_basis(p, condition, rng)
    one, other = (model.fit(table[:n], y[:n]).predict(table[n:]) for table in (X, turned))
    return np.asarray((other - one) / np.sqrt(leverage * (residual @ residual) / (n - p - 1)))


@pytest.mark.parametrize(("condition", "most"), [(None, 0.5), (10.0, 0.5), (1e4, 1.0)])
def test_the_default_hardly_moves_with_the_features_basis(condition: float | None, most: float) -> None:
    # Of 2,304 tables with n > 10 p (docs/explanation/priors.md); these 40 are among the same kinds.
    sizes = [
        np.sqrt(np.mean(moved(BayesianErrorsInVariablesRegressor(), condition, seed) ** 2))
        for seed in range(40)
    ]
    assert np.median(sizes) < 0.15
    assert max(sizes) < most


def test_a_g_prior_does_not_move_with_the_features_basis() -> None:
    model = BayesianErrorsInVariablesRegressor(coef_prior=PoweredCorrelation(power=1.0))
    for seed in range(6):
        assert np.abs(moved(model, 100.0, seed)).max() < 1e-6
