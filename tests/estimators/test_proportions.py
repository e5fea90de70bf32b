"""Proportions whose counts nobody kept: beta regression beside statsmodels', predictions, and what is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import BetaLikelihood, Flat, HalfNormal, audit_errors
from bayes_sklearn.likelihoods import Observations

Array = NDArray[np.float64]

COEF = np.array([0.8, -0.4])


def proportions(n: int = 150, precision: float = 20.0, seed: int = 0) -> tuple[Array, Array]:
    """Return features and proportions about a line of log odds."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    mean = expit(-0.5 + X @ COEF)
    return X, rng.beta(precision * mean, precision * (1.0 - mean))


X, Y = proportions()


@pytest.mark.parametrize("precision", [5.0, 300.0])
def test_maximum_likelihood_is_statsmodels_beta_model(precision: float) -> None:
    sm = pytest.importorskip("statsmodels.api")
    betareg = pytest.importorskip("statsmodels.othermod.betareg")
    X, y = proportions(300, precision, 1)
    design = sm.add_constant(X)
    model_of_peer = betareg.BetaModel(y, design)
    peer = model_of_peer.fit(disp=0, method="newton", tol=1e-12)
    # Its precision is a log, the log odds of the dispersion are minus that.
    turned = np.array([1.0, 1.0, 1.0, -1.0])
    found = BetaLikelihood().derivatives(design @ peer.params[:3], -peer.params[3:], Observations(y))
    assert_allclose(found.value.sum(), peer.llf, rtol=1e-10)
    gradient = np.append(design.T @ found.gradient[0], found.gradient[1].sum())
    hessian = np.empty((4, 4))
    hessian[:3, :3] = design.T @ (design * found.hessian[0, 0][:, None])
    hessian[3, :3] = hessian[:3, 3] = design.T @ found.hessian[0, 1]
    hessian[3, 3] = found.hessian[1, 1].sum()
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    # A step of Newton's from there, in standard errors, and from elsewhere.
    assert (np.abs(np.linalg.solve(hessian, gradient)) < 1e-6 * errors).all()
    assert_allclose(errors, peer.bse, rtol=1e-4)
    away = peer.params + errors
    found = BetaLikelihood().derivatives(design @ away[:3], -away[3:], Observations(y))
    gradient = np.append(design.T @ found.gradient[0], found.gradient[1].sum())
    assert_allclose(turned * gradient, model_of_peer.score(away), rtol=1e-8)
    model = Regressor(likelihood="beta", random_state=0, coef_prior=Flat(), intercept_prior=Flat()).fit(X, y)
    assert_allclose([model.intercept_, *model.coef_], peer.params[:3], atol=0.1 * peer.bse[:3].min())
    assert_allclose(model.coef_std_, peer.bse[1:3], rtol=0.05)
    assert model.dispersion_ == pytest.approx(1.0 / (1.0 + np.exp(peer.params[3])), rel=0.05)


def test_predictions_are_sums_over_the_posterior() -> None:
    model = Regressor(likelihood="beta", random_state=0).fit(X, Y)
    assert model.inference_ == "importance"
    new = np.array([[-2.0, 0.0], [0.0, 0.0], [2.0, -1.0]])
    posterior = model._fitted.posterior
    mean = expit(posterior.location[:, :1] + posterior.location[:, 1:] @ (new - posterior.center).T)
    total = 1.0 / posterior.auxiliary["dispersion"][:, None] - 1.0
    given: Any = stats.beta(total * mean, total * (1.0 - mean))
    distribution = model.predict_distribution(new)
    assert_allclose(distribution.mean(), posterior.weights @ mean, rtol=1e-9)
    moments = posterior.weights @ (given.var() + np.square(mean - distribution.mean()))
    assert_allclose(distribution.var(), moments, rtol=1e-6)
    for at in (0.05, 0.3, 0.8):
        assert_allclose(distribution.cdf(at), posterior.weights @ given.cdf(at), atol=1e-3)
        assert_allclose(distribution.pdf(at), posterior.weights @ given.pdf(at), rtol=0.02, atol=1e-6)
    lower, upper = model.predict_interval(X, 0.9).T
    assert ((lower > 0.0) & (upper < 1.0)).all()
    assert 0.82 < np.mean((lower < Y) & (upper > Y)) < 0.97  # of 150
    assert stats.kstest(model.loo_pit(X, Y), "uniform").pvalue > 1e-3
    assert audit_errors(model, X, Y).verdict == "about right"
    drawn = model.to_arviz(X, Y).posterior_predictive["y"].to_numpy()
    assert 0.0 < drawn.min() < drawn.max() < 1.0


def test_errors_of_features_are_undone() -> None:
    rng = np.random.default_rng(2)
    X, y = proportions(400, 30.0, 3)
    noisy = X + [0.6, 0.0] * rng.normal(size=X.shape)
    model = Regressor(likelihood="beta", random_state=0).fit(noisy, y, X_err=[0.6, 0.0])
    blind = Regressor(likelihood="beta", random_state=0).fit(noisy, y)
    assert abs(model.coef_[0] - COEF[0]) < 3.0 * model.coef_std_[0] < 0.3
    assert blind.coef_[0] < COEF[0] - 0.15
    lower, upper = model.predict_interval(noisy, 0.9).T
    assert 0.85 < np.mean((y > lower) & (y < upper)) < 0.95


@pytest.mark.thorough
@pytest.mark.parametrize("noisy", [False, True], ids=["exact", "noisy"])
def test_intervals_hold_slopes_and_new_proportions(noisy: bool) -> None:
    """Of 200 tables: slopes are within 0.06 of 0.9 in all but one of 400 such runs."""
    slopes, new = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        X, y = proportions(60, 15.0, 1000 + seed)
        measured = X + [0.5 * noisy, 0.0] * rng.normal(size=X.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Regressor(likelihood="beta", random_state=0, inference="importance")
            model.fit(measured[:50], y[:50], **({"X_err": [0.5, 0.0]} if noisy else {}))
        table = model.summary(0.9).loc[["x0", "x1"]]
        slopes += list((table["lower_90%"] < COEF) & (table["upper_90%"] > COEF))
        lower, upper = model.predict_interval(measured[50:], 0.9).T
        new.append(np.mean((y[50:] > lower) & (y[50:] < upper)))
    assert 0.84 < np.mean(slopes) < 0.96
    assert 0.86 < np.mean(new) < 0.94


def test_zeros_and_ones_are_refused_by_row_with_a_way_out() -> None:
    for value, row in ((0.0, 7), (1.0, 3), (-0.2, 5)):
        y = Y.copy()
        y[row] = value
        with pytest.raises(
            ValueError, match=rf"got {value:g} in row {row}\..*'beta_binomial'.*\(n - 1\)"
        ) as said:
            Regressor(likelihood="beta").fit(X, y)
        assert len(str(said.value)) <= 400
        weight = np.ones(len(y))
        weight[row] = 0.0  # left out
        Regressor(likelihood="beta").fit(X, y, weight)
    with pytest.raises(ValueError, match=r"149 rows more.*divided by 100"):
        Regressor(likelihood="beta").fit(X, 100.0 * Y + 1.0)
    squeezed = (np.where(Y < 0.1, 0.0, Y) * 149.0 + 0.5) / 150.0
    Regressor(likelihood="beta").fit(X, squeezed)


def test_weights_are_how_often_rows_count_and_errors_have_no_place() -> None:
    weight = np.arange(150) % 3.0
    every = np.repeat(np.arange(150), weight.astype(int))
    one = Regressor(likelihood="beta", random_state=0).fit(X, Y, weight)
    other = Regressor(likelihood="beta", random_state=0).fit(X[every], Y[every])
    assert one.weight_type_ == "frequency"
    assert_allclose(one.coef_, other.coef_, atol=0.02 * one.coef_std_.min())
    for given in ({"y_err": 0.1}, {"exposure": 1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(given))} is given, but likelihood='beta'"):
            Regressor(likelihood="beta").fit(X, Y, **given)
    for kind in ("counts", "precision"):
        with pytest.raises(ValueError, match=f"weight_type='{kind}' is given, but likelihood='beta'"):
            Regressor(likelihood="beta", weight_type=kind).fit(X, Y, np.full(150, 1.0))
    with pytest.raises(TypeError, match="likelihood__dispersion_prior"):
        Regressor(likelihood=BetaLikelihood(HalfNormal())).fit(X, Y)  # type: ignore[arg-type]
