"""Errors that features and target share: what rows that state them say under a fitted model."""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Mixture, audit_errors
from bayes_sklearn.estimators.observed import drawn
from bayes_sklearn.likelihoods import StudentTLikelihood

N = 60


def table(rng: np.random.Generator, n: int = N, factor: float = 1.0) -> tuple[Any, Any, dict[str, Any]]:
    """Return rows whose errors differ and go together by 0.9, of one noisy feature beside an exact one."""
    x_err, y_err = rng.uniform(0.2, 0.6, n), rng.uniform(0.2, 0.6, n)
    common = rng.normal(size=n)
    errors = [np.sqrt(0.9) * common + np.sqrt(0.1) * rng.normal(size=n) for _ in range(2)]
    z = rng.normal(size=n)
    true = 0.5 * z + rng.normal(size=n)
    X = np.column_stack([true + x_err * errors[0], z])
    y = 1.0 + 2.0 * true - z + y_err * errors[1]
    x_err, y_err = factor * x_err, factor * y_err
    zeros = np.zeros(n)
    given = {
        "y_err": y_err,
        "X_err": np.column_stack([x_err, zeros]),
        "Xy_cov": np.column_stack([0.9 * x_err * y_err, zeros]),
    }
    return X, y, given


def log_density_by_hand(model: Regressor, X: Any, y: Any, given: dict[str, Any], draws: int) -> Any:
    """Return log p(x, y) - log p(x) of each row under each of the first draws, every matrix written out."""
    found = drawn(model)[0]
    true, answer = found.true_features, np.empty((draws, len(y)))
    x = (X - true.x_mean) / true.x_scale
    target, unit = (y - true.y_mean) / true.y_scale, true.x_scale[0]
    for g in range(draws):
        m = true.coef[g, 0]
        s = 1.0 if model.noise == "known" else found.noise_scale[g]
        t2 = 0.0 if found.scatter is None else (found.scatter[g] / true.y_scale) ** 2
        if hasattr(true, "means"):
            shares, mus = np.exp(true.log_shares[g]), true.means[g, :, 0]
            gamma, T = true.slopes[g, 0, 0], true.covariances[g, :, 0, 0]
            alpha, beta = true.line_at_zero[g]
        else:
            mu, gamma, alpha, beta = true.theta[g]
            shares, mus, T = np.ones(1), np.array([mu]), true.variance[g, :, 0]
        for i in range(len(y)):
            e, u, c = given["y_err"][i], given["X_err"][i, 0], given["Xy_cov"][i, 0]
            errors = np.array([[(u / unit) ** 2, s * c / unit / true.y_scale]] * 2)
            errors[1] = [errors[0, 1], (s * e / true.y_scale) ** 2 + t2]
            both = alone = 0.0
            for share, mean, spread in zip(shares, mus, T, strict=True):
                at = mean + gamma * x[i, 1]
                covariance = errors + spread * np.array([[1.0, m], [m, m * m]])
                place = [at, alpha + beta * x[i, 1] + m * at]
                here = [x[i, 0], target[i]]
                both += share * stats.multivariate_normal(place, covariance).pdf(here)
                alone += share * stats.norm(at, np.sqrt(covariance[0, 0])).pdf(x[i, 0])
            answer[g, i] = np.log(both / alone / true.y_scale)
    return answer


@pytest.mark.parametrize("noise", ["known", "scaled", "auto"])
@pytest.mark.parametrize("x_distribution", ["normal", "mixture"])
def test_rows_are_as_likely_as_their_errors_together_have_it(noise: str, x_distribution: str) -> None:
    X, y, given = table(np.random.default_rng(1))
    model = Regressor(noise=noise, x_distribution=x_distribution, draws=50, random_state=0)
    model.fit(X, y, **given)
    found = model.to_arviz(X, y, **given).log_likelihood["y"].to_numpy()[0, :20]
    assert_allclose(found, log_density_by_hand(model, X, y, given, 20), rtol=1e-7, atol=1e-7)


def test_leave_one_out_knows_what_errors_share() -> None:
    X, y, given = table(np.random.default_rng(1))
    model = Regressor(noise="known", random_state=0).fit(X, y, **given)
    together = model.loo(X, y, **given)
    apart = model.loo(X, y, **given | {"Xy_cov": np.zeros((N, 2))})
    elpd = [getattr(found, "elpd", None) or found["elpd_loo"] for found in (together, apart)]
    # Errors that go together by 0.9 leave much less open than independent ones.
    assert elpd[0] > elpd[1] + 10.0
    transforms = model.loo_pit(X, y, **given)
    assert stats.kstest(transforms, "uniform").pvalue > 0.01
    # By refits without the row.
    for i in (0, 7):
        rest = np.delete(np.arange(N), i)
        left = {name: value[rest] for name, value in given.items()}
        own = {name: value[i : i + 1] for name, value in given.items()}
        refit = Regressor(noise="known", random_state=0).fit(X[rest], y[rest], **left)
        expected = refit.predict_distribution(X[i : i + 1], **own).cdf(y[i : i + 1])[0]
        assert transforms[i] == pytest.approx(expected, abs=0.02)


def test_under_student_s_t_observed_rows_know_what_errors_share() -> None:
    X, y, given = table(np.random.default_rng(1))
    model = Regressor(likelihood=StudentTLikelihood(nu=4), noise="known", random_state=0, draws=500)
    model.fit(X, y, **given)
    together, apart = (model.loo(X, y, **given | changes) for changes in ({}, {"Xy_cov": np.zeros((N, 2))}))
    elpd = [getattr(found, "elpd", None) or found["elpd_loo"] for found in (together, apart)]
    assert elpd[0] > elpd[1] + 10.0
    assert stats.kstest(model.loo_pit(X, y, **given), "uniform").pvalue > 0.01
    new = np.asarray(model.to_arviz(X, y, **given).posterior_predictive["y"]).reshape(-1, N)
    # Of a few draws: they are about the line that readings and what they tell of noise give together.
    near = np.abs(y - np.median(new, axis=0)) < np.quantile(np.abs(new - np.median(new, axis=0)), 0.9, axis=0)
    assert 0.75 < near.mean() < 1.0
    counts, shares = np.full(N, 20.0), np.random.default_rng(0).binomial(20, 0.4, N) / 20.0
    of_shares = Regressor(likelihood="binomial", weight_type="counts", random_state=0)
    of_shares.fit(X, shares, counts, X_err=given["X_err"])
    features = {name: given[name] for name in ("X_err", "Xy_cov")}
    with pytest.raises(ValueError, match="Xy_cov goes with noise that is added"):
        of_shares.loo(X, shares, counts, **features)


def measurements(model: Regressor, X: Any, given: dict[str, Any], size: int) -> Any:
    """Return measurements of rows, (n, size), from true features given readings and errors together, one by one."""
    found = model._fitted.posterior
    true, rng = found.true_features, np.random.default_rng(5)
    unit = true.x_scale[0]
    answer = np.empty((len(X), size))
    for i, x in enumerate(X):
        g = rng.choice(len(found.weights), size, p=found.weights)
        z = (x[1] - true.x_mean[1]) / true.x_scale[1]
        e, u, c = given["y_err"][i], given["X_err"][i, 0], given["Xy_cov"][i, 0]
        if hasattr(true, "means"):
            spread = true.covariances[g, :, 0, 0] * unit**2
            at = true.x_mean[0] + unit * (true.means[g, :, 0] + true.slopes[g, :, 0] * z)
            shares = np.exp(true.log_shares[g]) * stats.norm.pdf(x[0], at, np.sqrt(spread + u * u))
            below = np.cumsum(shares, axis=1) / shares.sum(axis=1, keepdims=True)
            of = (rng.random((size, 1)) > below[:, :-1]).sum(axis=1)
            at, spread = at[np.arange(size), of], spread[np.arange(size), of]
            alpha, beta = true.line_at_zero[g].T
        else:
            mu, gamma, alpha, beta = true.theta[g].T
            at, spread = true.x_mean[0] + unit * (mu + gamma * z), true.variance[g, 0, 0] * unit**2
        gain = spread / (spread + u * u)
        features = at + gain * (x[0] - at) + np.sqrt(spread * (1.0 - gain)) * rng.standard_normal(size)
        # The error of the reading is known with the feature; what it tells of the normal part of t noise is scaled.
        s = 1.0 if model.noise == "known" else found.noise_scale[g]
        t = 0.0 if found.scatter is None else found.scatter[g]
        part = 1.0 / np.sqrt(rng.gamma(2.0, 0.5, size))
        own = np.sqrt((s * e) ** 2 + t**2 - (s * c / u) ** 2) * rng.standard_normal(size)
        line = true.y_mean + true.y_scale * (
            alpha + beta * z + true.coef[g, 0] * (features - true.x_mean[0]) / unit
        )
        answer[i] = line + part * (s * c / u**2 * (x[0] - features) + own)
    return answer


@pytest.mark.parametrize(
    ("noise", "x_distribution"), [("known", "normal"), ("scaled", "mixture"), ("auto", "normal")]
)
def test_new_rows_under_student_s_t_are_what_their_errors_together_give(
    noise: str, x_distribution: Any
) -> None:
    rng = np.random.default_rng(1)
    X, y, given = table(rng)
    if x_distribution == "mixture":  # of features in two clusters
        apart = 5.0 * (rng.random(N) < 0.4)
        X, y, x_distribution = X + apart[:, None] * [1.0, 0.0], y + 2.0 * apart, Mixture(n_components=2)
    model = Regressor(
        likelihood=StudentTLikelihood(nu=4), noise=noise, x_distribution=x_distribution, random_state=0
    ).fit(X, y, **given)
    assert model.inference_ == "importance"
    rows, size = slice(0, 4), 200_000
    own = {name: value[rows] for name, value in given.items()}
    distribution = model.predict_distribution(X[rows], **own)
    drawn = measurements(model, X[rows], own, size)
    for probability in (0.01, 0.05, 0.5, 0.95, 0.99):
        found = (drawn < distribution.ppf(probability)[:, None]).mean(axis=1)
        error = np.sqrt(probability * (1.0 - probability) / size)
        # 20 of them: the largest is beyond 4.5 once in 7,000.
        assert (np.abs(found - probability) < 4.5 * error).all()
    assert_allclose(model.predict(X[rows], **own), distribution.mean())
    error = drawn.std(axis=1) / np.sqrt(size)
    assert (np.abs(drawn.mean(axis=1) - distribution.mean()) < 4.5 * error).all()
    # Squares of t with four degrees of freedom have no variance: the spread within the middle instead.
    assert (model.predict(X[rows], return_std=True, **own)[1] == distribution.std()).all()
    near = np.abs(drawn - distribution.mean()[:, None]) < 3.0 * distribution.std()[:, None]
    again = distribution.sample(size)
    also = np.abs(again - distribution.mean()[:, None]) < 3.0 * distribution.std()[:, None]
    assert (np.abs(near.mean(axis=1) - also.mean(axis=1)) < 0.0015).all()
    assert_allclose(np.std(drawn, axis=1, where=near), np.std(again, axis=1, where=also), rtol=0.02)
    # Densities from probabilities.
    step = 0.02 * distribution.std()
    for value in (y[rows], distribution.mean()):
        slope = (distribution.cdf(value + step) - distribution.cdf(value - step)) / (2.0 * step)
        assert_allclose(distribution.pdf(value), slope, rtol=0.02)
        score = np.abs(drawn - value[:, None]).mean(axis=1)
        score -= 0.5 * np.abs(drawn - np.roll(drawn, 1, axis=1)).mean(axis=1)
        assert_allclose(distribution.crps(value), score, rtol=0.02, atol=0.003)


def test_with_many_degrees_of_freedom_new_rows_are_those_of_normal_noise() -> None:
    X, y, given = table(np.random.default_rng(1))
    model = Regressor(noise="known", random_state=0).fit(X, y, **given)
    other = copy(model)
    other._fitted = replace(model._fitted, likelihood=StudentTLikelihood(nu=1e9))
    ours, theirs = (each.predict_distribution(X, **given) for each in (other, model))
    assert_allclose(ours.mean(), theirs.mean(), rtol=1e-6, atol=1e-6)
    assert_allclose(ours.std(), theirs.std(), rtol=1e-5)
    assert_allclose(ours.covariance(), theirs.covariance(), rtol=2e-3, atol=1e-4)
    assert_allclose(ours.ppf(0.1), theirs.ppf(0.1), atol=1e-3)
    assert_allclose(ours.logpdf(y), theirs.logpdf(y), atol=5e-3)
    assert_allclose(sum(ours.variance_parts.values()), ours.var())


def test_new_rows_under_student_s_t_have_errors_as_in_fit() -> None:
    rng = np.random.default_rng(3)
    common, x = rng.normal(size=N), rng.normal(size=N)
    X, y = (x + 0.4 * common)[:, None], 2.0 * x + 0.5 * common + 0.2 * rng.normal(size=N)
    errors = {"X_err": 0.4, "y_err": np.hypot(0.5, 0.2), "Xy_cov": [0.2]}
    model = Regressor(likelihood=StudentTLikelihood(nu=3), noise="scaled", random_state=0).fit(X, y, **errors)
    new = np.array([[-1.0], [0.5]])
    stated = model.predict(new, True, **errors)
    assert_allclose(stated, model.predict(new, True), rtol=1e-9)
    apart = model.predict(new, X_err=0.4)
    assert (np.abs(stated[0] - apart) > 0.01).all()
    assert_allclose(model.predict(new, include_noise=False, **errors), apart)
    # Row by row it is the same, and where nothing is shared it is what there is without.
    by_row = errors | {"X_err": [[0.4], [0.4]], "Xy_cov": [[0.2], [0.2]]}
    assert_allclose(model.predict(new, True, **by_row), stated, rtol=1e-9)
    nothing = model.predict_distribution(new, **errors | {"Xy_cov": [0.0]})
    without = model.predict_distribution(new, X_err=0.4, y_err=errors["y_err"])
    assert_allclose(nothing.std(), without.std(), rtol=1e-6)
    assert_allclose(nothing.ppf(0.05), without.ppf(0.05), atol=2e-3)
    heavy = copy(model)
    heavy._fitted = replace(model._fitted, likelihood=StudentTLikelihood(nu=1.8))
    assert np.isinf(heavy.predict(new, True)[1]).all()
    assert np.isfinite(heavy.predict(new)).all()


@pytest.mark.parametrize(
    ("noise", "likelihood"),
    [
        ("known", "normal"),
        pytest.param("scaled", "normal", marks=pytest.mark.thorough),
        pytest.param("known", StudentTLikelihood(nu=30), marks=pytest.mark.thorough),
    ],
)
def test_an_audit_takes_errors_that_are_shared(noise: str, likelihood: Any) -> None:
    rng = np.random.default_rng(2)
    right, wrong, dispersions = [], [], []
    for _ in range(8):
        for factor, verdicts in ((1.0, right), (0.5, wrong)):
            X, y, given = table(rng, 100, factor)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of errors that are too small
                model = Regressor(likelihood=likelihood, noise=noise, random_state=0).fit(X, y, **given)
            found = audit_errors(model, X, y, **given)
            verdicts.append(found.verdict)
            if factor == 1.0:
                dispersions.append(found.dispersion)
    # One in twenty each: more than two of eight once in 170.
    assert sum(verdict != "about right" for verdict in right) <= 2
    assert sum(verdict in ("too small", "extra scatter") for verdict in wrong) >= 7
    # Standard error 0.05.
    assert np.mean(dispersions) == pytest.approx(1.0, abs=0.15)


def test_an_audit_needs_the_covariance_that_fit_had() -> None:
    X, y, given = table(np.random.default_rng(1))
    model = Regressor(noise="known", random_state=0).fit(X, y, **given)
    with pytest.raises(ValueError, match="give Xy_cov"):
        audit_errors(model, X, y, y_err=given["y_err"], X_err=given["X_err"])


@pytest.mark.parametrize("noise", ["known", "scaled"])
@pytest.mark.parametrize("x_distribution", ["normal", "mixture"])
def test_stating_the_errors_of_fit_is_stating_none(noise: str, x_distribution: str) -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(size=N)
    x = rng.normal(size=N)
    X, y = (x + 0.4 * common)[:, None], 2.0 * x + 0.5 * common + 0.2 * rng.normal(size=N)
    errors = {"X_err": 0.4, "y_err": np.hypot(0.5, 0.2), "Xy_cov": [0.2]}
    model = Regressor(noise=noise, x_distribution=x_distribution, random_state=0).fit(X, y, **errors)
    new = np.array([[-1.0], [0.5]])
    stated = model.predict(new, True, **errors)
    assert_allclose(stated, model.predict(new, True), rtol=1e-9)
    # Row by row it is the same.
    by_row = errors | {"X_err": [[0.4], [0.4]], "Xy_cov": [[0.2], [0.2]]}
    assert_allclose(model.predict(new, True, **by_row), stated, rtol=1e-9)
    differing = errors | {"X_err": [[0.4], [0.3]], "Xy_cov": [[0.2], [0.1]]}
    assert_allclose(np.array(model.predict(new, True, **differing))[:, 0], np.array(stated)[:, 0], rtol=1e-9)
    assert abs(model.predict(new, **differing)[1] - stated[0][1]) > 0.01
    # The line itself has no error to share.
    assert_allclose(
        model.predict(new, include_noise=False, **errors), model.predict(new, include_noise=False, X_err=0.4)
    )
    with pytest.raises(ValueError, match="give y_err, too"):
        model.predict(new, X_err=0.4, Xy_cov=[0.2])


@pytest.mark.parametrize("rho", [0.9, 0.99])
def test_both_multiples_of_errors_that_explain_rows_are_found_where_errors_go_together(rho: float) -> None:
    # Of y about the line in readings there is (m u)^2 + (s e)^2 - 2 rho m u s e: s = 1/3 explains what s = 1 does.
    rng, n, x_err, y_err = np.random.default_rng(1), 30, 0.3, 0.9
    common = rng.normal(size=(n, 2))
    true = rng.normal(size=n)
    w = true + x_err * common[:, 0]
    y = 1.0 + 2.0 * true + y_err * (rho * common[:, 0] + np.sqrt(1.0 - rho**2) * common[:, 1])
    covariance = rho * x_err * y_err
    model = Regressor(noise="scaled", random_state=0)
    model.fit(w[:, None], y, X_err=x_err, y_err=y_err, Xy_cov=[covariance])
    # On a grid of slope, multiple and true variance; the two means are integrated out.
    S, unit = np.cov(w, y, bias=True), (w.std(), np.hypot(y.std(), y_err))
    m = np.linspace(-1.0, 5.0, 500)[None, :, None]
    s = np.linspace(0.002, 4.0, 500)[:, None, None]
    T = np.linspace(0.05, 4.0, 90)[None, None, :]
    a, b, d = T + x_err**2, m * T + s * covariance, m * m * T + (s * y_err) ** 2
    determinant = a * d - b * b
    log_density = -0.5 * (n - 1) * np.log(determinant)
    log_density -= 0.5 * n * (d * S[0, 0] - 2.0 * b * S[0, 1] + a * S[1, 1]) / determinant
    log_density -= 2.5 * np.log1p(T / unit[0] ** 2 / 4.0) + np.log1p(m * m * T / unit[1] ** 2) + 0.5 * s * s
    mass = np.exp(log_density - log_density.max())
    mass /= mass.sum()
    posterior, of_s = model._fitted.posterior, mass.sum(axis=(1, 2))
    weights, found = posterior.weights, posterior.noise_scale
    low = s.ravel() < 0.65
    assert 0.4 < of_s[low].sum() < 0.8  # two modes
    assert weights[found < 0.65].sum() == pytest.approx(of_s[low].sum(), abs=0.04)
    assert model.noise_scale_ == pytest.approx(of_s @ s.ravel(), abs=0.03)
    assert model.coef_[0] == pytest.approx(np.einsum("smt,m->", mass, m.ravel()), abs=0.02)


def test_counts_have_no_errors_that_features_could_share() -> None:
    model = Regressor(likelihood="binomial", weight_type="counts")
    with pytest.raises(ValueError, match=r"^Xy_cov goes with noise .* has none: leave it out"):
        model.fit(np.arange(4.0)[:, None], [0.2, 0.4, 0.6, 0.8], np.full(4, 5.0), X_err=0.1, Xy_cov=[0.01])
