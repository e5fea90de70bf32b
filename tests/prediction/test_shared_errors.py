"""Errors that features and target share: what rows that state them say under a fitted model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import audit_errors
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


def test_under_student_s_t_observed_rows_know_what_errors_share_and_new_ones_do_not() -> None:
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
    with pytest.raises(ValueError, match=r"Xy_cov of rows to be predicted takes the normal likelihood"):
        model.predict(X, **given)
    typical = np.sqrt(np.square(given["X_err"]).mean(axis=0))
    assert_allclose(model.predict(X), model.predict(X, X_err=typical), rtol=1e-12)
    counts, shares = np.full(N, 20.0), np.random.default_rng(0).binomial(20, 0.4, N) / 20.0
    of_shares = Regressor(likelihood="binomial", weight_type="counts", random_state=0)
    of_shares.fit(X, shares, counts, X_err=given["X_err"])
    features = {name: given[name] for name in ("X_err", "Xy_cov")}
    with pytest.raises(ValueError, match="Xy_cov goes with noise that is added"):
        of_shares.loo(X, shares, counts, **features)


@pytest.mark.parametrize("noise", ["known", pytest.param("scaled", marks=pytest.mark.thorough)])
def test_an_audit_takes_errors_that_are_shared(noise: str) -> None:
    rng = np.random.default_rng(2)
    right, wrong, dispersions = [], [], []
    for _ in range(8):
        for factor, verdicts in ((1.0, right), (0.5, wrong)):
            X, y, given = table(rng, 100, factor)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of errors that are too small
                model = Regressor(noise=noise, random_state=0).fit(X, y, **given)
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
