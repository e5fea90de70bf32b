"""Noise "auto", errors that are multiplied and a scatter beside them: predictions by hand, and what says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Flat, audit_errors
from bayes_sklearn.estimators.reading import read, specify
from bayes_sklearn.inference.node_covariances import SharedBasis
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.likelihoods import StudentTLikelihood
from bayes_sklearn.likelihoods.noise import AUTO
from bayes_sklearn.measurements.target_errors import CountErrors
from bayes_sklearn.prediction.line import LinearPredictive, LinearPredictor
from bayes_sklearn.prediction.noise import NoiseModel, Part
from bayes_sklearn.prediction.response import ResponsePredictive
from bayes_sklearn.priors import ScatterPrior

Array = NDArray[np.float64]

Y_ERR = np.array([0.0, 0.01, 0.3, 1.0, 2.0])
X = np.linspace(-2.0, 2.0, 5)[:, None]


def nodes(size: int = 4, spread: float = 0.2) -> Posterior:
    rng = np.random.default_rng(size)
    location = [1.0, 0.5] + spread * rng.normal(size=(size, 2))
    nowhere = SharedBasis(np.empty((2, 0)), np.empty((size, 0)))
    scale, scatter = np.exp(0.3 * rng.normal(size=size)), np.exp(-1.0 + 0.6 * rng.normal(size=size))
    return Posterior(
        rng.dirichlet(np.full(size, 5.0)), location, nowhere, scale, np.zeros(1), scatter=scatter
    )


def noise(**stated: Any) -> dict[str, Part]:
    return NoiseModel(AUTO, "standard_error", 0.7, CountErrors(0.0)).parts(**stated)


def by_hand(posterior: Posterior) -> tuple[Array, Array]:
    """Lines and standard deviations of the noise, (nodes, rows) each."""
    lines = (np.column_stack([np.ones(len(X)), X]) @ posterior.location.T).T
    sd = [np.hypot(s * Y_ERR, t) for s, t in zip(posterior.noise_scale, posterior.scatter, strict=True)]
    return lines, np.array(sd)


def test_new_measurements_are_mixtures_of_the_nodes() -> None:
    posterior = nodes()
    lines, sd = by_hand(posterior)
    found = LinearPredictive(LinearPredictor.of(posterior, X), noise(y_err=Y_ERR), 0)
    y = np.linspace(-1.0, 2.0, 5)
    assert_allclose(found.cdf(y), posterior.weights @ stats.norm.cdf(y, lines, sd), rtol=1e-10)
    assert_allclose(found.pdf(y), posterior.weights @ stats.norm.pdf(y, lines, sd), rtol=1e-10)
    mean = posterior.weights @ lines
    assert_allclose(found.var(), posterior.weights @ (np.square(lines) + np.square(sd)) - mean**2)
    parts = found.variance_parts
    assert_allclose(parts["scatter"], np.full(5, posterior.weights @ np.square(posterior.scatter)))
    assert_allclose(parts["target_error"], posterior.weights @ np.square(posterior.noise_scale) * Y_ERR**2)
    assert_allclose(sum(parts.values()), found.var(), rtol=1e-12)
    # The mean of 40,000 squares, relative sd below 2%: 4 standard errors.
    away = found.sample(40_000, 0) - mean[:, None]
    assert_allclose(np.square(away).mean(axis=1), found.var(), rtol=0.05)


@pytest.mark.parametrize(
    ("size", "spread", "atol"), [(4, 0.2, 1e-10), (2000, 0.2, 0.006), (2000, 0.02, 0.006)]
)
def test_students_noise_has_the_scatter_too(size: int, spread: float, atol: float) -> None:
    posterior = nodes(size, spread)
    lines, scale = by_hand(posterior)
    nu = 2.5 + np.random.default_rng(1).gamma(2.0, 5.0, size)
    posterior = replace(posterior, auxiliary={"nu": nu})
    line = LinearPredictor.of(posterior, X)
    found = ResponsePredictive(StudentTLikelihood(), line, 0, noise=noise(y_err=Y_ERR))
    for level in (-2.0, 0.5, 1.0, 3.0):
        y = np.full(5, level)
        expected = posterior.weights @ stats.t.cdf(y, nu[:, None], lines, scale)
        assert_allclose(found.cdf(y), expected, atol=atol)
        density = posterior.weights @ stats.t.pdf(y, nu[:, None], lines, scale)
        assert_allclose(found.pdf(y), density, rtol=1e-8)
    wider = posterior.weights * nu / (nu - 2.0)
    assert_allclose(found.variance_parts["scatter"], np.full(5, wider @ np.square(posterior.scatter)))
    assert_allclose(sum(found.variance_parts.values()), found.var(), rtol=1e-10)


def test_without_errors_of_their_own_rows_have_the_typical_error() -> None:
    assert noise() == {"target_error": Part(multiplied=0.7**2), "scatter": Part(scattered=1.0)}


def model() -> Regressor:
    """A fit whose posterior is given a scatter."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 1))
    fitted = Regressor(noise="scaled").fit(x, x[:, 0] + rng.normal(size=30), y_err=0.5)
    size = len(fitted._fitted.posterior.weights)
    posterior = replace(
        fitted._fitted.posterior,
        scatter=np.exp(0.1 * rng.normal(size=size)),
        prior_scale=np.exp(0.3 * rng.normal(size=size)),
        geometry=np.array([0.5, 0.3, 0.2]),
        log_noise_density=None,
        scale_masses={},
    )
    noise_model = replace(fitted._fitted.noise_model, noise=AUTO)
    fitted._fitted = replace(fitted._fitted, posterior=posterior, noise_model=noise_model)
    return fitted


def test_an_error_of_zero_leaves_the_line_with_its_scatter() -> None:
    fitted = model()
    posterior = fitted._fitted.posterior
    _, line = fitted.predict([[0.3]], return_std=True, include_noise=False)
    _, std = fitted.predict([[0.3]], return_std=True, y_err=0.0)
    assert_allclose(std**2 - line**2, posterior.weights @ np.square(posterior.scatter), rtol=1e-10)
    _, std = fitted.predict([[0.3], [0.3]], return_std=True, y_err=[0.0, 0.5])
    multiplied = 0.25 * posterior.weights @ np.square(posterior.noise_scale)
    assert_allclose(std[1] ** 2 - std[0] ** 2, multiplied, rtol=1e-10)


@pytest.mark.parametrize(("setting", "refused"), [("scaled", True), ("known", True), ("additive", False)])
def test_an_error_of_zero_is_refused_where_it_would_leave_no_noise(setting: str, refused: bool) -> None:
    x = np.arange(8.0)[:, None]
    fitted = Regressor(noise=setting).fit(x, x[:, 0] + 0.5 * (-1.0) ** np.arange(8), y_err=0.5)
    if refused:
        with pytest.raises(ValueError, match="y_err must be positive"):
            fitted.predict(x, return_std=True, y_err=0.0)
    else:
        assert (fitted.predict(x, return_std=True, y_err=0.0)[1] > 0.0).all()


def test_what_was_found_is_told() -> None:
    fitted = model()
    posterior, table = fitted._fitted.posterior, fitted.summary(coverage=0.8)
    assert list(table.index) == ["intercept", "x0", "noise_scale", "scatter", "prior_scale"]
    for name, values in (("scatter", posterior.scatter), ("prior_scale", posterior.prior_scale)):
        assert_allclose(table.loc[name, "mean"], posterior.weights @ values)
        below, above = (
            posterior.weights @ (values < table.loc[name, end]) for end in ("lower_80%", "upper_80%")
        )
        largest = posterior.weights.max()
        assert abs(below - 0.1) <= largest
        assert abs(above - 0.9) <= largest
    assert table.attrs["geometry"] == [0.5, 0.3, 0.2]


def test_draws_have_the_nodes_scatter() -> None:
    fitted = model()
    found = fitted.set_params(draws=50).to_arviz()["posterior"]
    pairs = {*zip(fitted._fitted.posterior.noise_scale, fitted._fitted.posterior.scatter, strict=True)}
    sigma, scatter = (np.asarray(found[name]).ravel() for name in ("sigma", "scatter"))
    assert {*zip(sigma, scatter, strict=True)} <= pairs


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({}, "scaled"),
        ({"sample_weight": [5.0] * 8}, "scaled"),
        ({"y_err": 0.1}, "auto"),
    ],
)
def test_auto_needs_stated_errors(given: dict[str, Any], setting: str) -> None:
    x, y = np.arange(8.0)[:, None], np.array([0.0, 0.2, 0.2, 0.4, 0.6, 0.6, 0.8, 1.0])
    regressor = Regressor(noise="auto")
    data = read(regressor, x, y, given.get("sample_weight"), {"y_err": given.get("y_err")}, {})
    assert specify(regressor, data).noise.name == setting
    if setting == "scaled":
        fitted = regressor.fit(x, y, **given)
        expected = Regressor(noise="scaled").fit(x, y, **given)
        assert_allclose(fitted.coef_, expected.coef_, rtol=1e-14)
        assert not hasattr(fitted, "scatter_")
        assert list(fitted.summary().index) == list(expected.summary().index)


def test_rows_in_batches_are_fitted_without_a_scatter() -> None:
    x, y = np.arange(8.0)[:, None], np.arange(8.0) + (-1.0) ** np.arange(8)
    error = np.linspace(0.5, 1.5, 8)
    streamed = Regressor(noise="auto")
    for rows in (slice(0, 5), slice(5, 8)):
        streamed.partial_fit(x[rows], y[rows], y_err=error[rows])
    expected = Regressor(noise="scaled").fit(x, y, y_err=error)
    assert_allclose(streamed.coef_, expected.coef_, rtol=1e-10)
    assert_allclose(streamed.loo_pit(x, y, y_err=error), expected.loo_pit(x, y, y_err=error), rtol=1e-6)


@pytest.mark.parametrize("kind", ["additive", "auto"])
@pytest.mark.parametrize("zeros", [1, 6])
def test_rows_without_an_error_of_their_own_have_the_scatter(kind: str, zeros: int) -> None:
    # On a grid of both scales, for each of which lines under flat priors are least squares.
    rng = np.random.default_rng(zeros)
    x, e = rng.normal(size=24), rng.uniform(0.3, 1.0, 24)
    e[:zeros] = 0.0
    y = 1.0 + 2.0 * x + np.hypot(e, 0.4) * rng.normal(size=24)
    settings: dict[str, Any] = {"coef_prior": Flat(), "standardize": False, "noise": kind}
    model = Regressor(**settings).fit(x[:, None], y, y_err=e)
    unit = np.exp(np.log(np.where(e > 0.0, e, 1e-4 * np.exp(np.log(e[zeros:]).mean()))).mean())
    t = np.exp(np.linspace(np.log(1e-6), np.log(20.0), 500))
    s = np.exp(np.linspace(np.log(1e-3), np.log(6.0), 150)) if kind == "auto" else np.ones(1)
    t, s = (part.ravel() for part in np.meshgrid(t, s))
    design = np.column_stack([np.ones(24), x])
    weight = 1.0 / (np.square(np.outer(s, e)) + t[:, None] ** 2)
    covariance = np.linalg.inv(np.einsum("ni,gn,nj->gij", design, weight, design))
    line = np.einsum("gij,nj,gn,n->gi", covariance, design, weight, y)
    square = np.einsum("gn,gn->g", weight, np.square(y - line @ design.T))
    log_density = 0.5 * (np.log(weight).sum(axis=1) + np.linalg.slogdet(covariance)[1] - square)
    if kind == "auto":
        log_density += ScatterPrior(unit).log_density(t) - 0.5 * s**2 + np.log(t * s)
    else:
        log_density += np.log(t) - 0.5 * t**2
    mass = np.exp(log_density - log_density.max())
    mass /= mass.sum()
    mean = mass @ line[:, 1]
    sd = np.sqrt(mass @ (covariance[:, 1, 1] + np.square(line[:, 1] - mean)))
    assert model.coef_[0] == pytest.approx(mean, abs=0.02 * sd)
    assert model.coef_std_[0] == pytest.approx(sd, rel=0.01)
    scatter = model.scatter_ if kind == "auto" else model.noise_scale_
    assert scatter == pytest.approx(mass @ t, rel=0.02)
    # What is made of the rows takes them, too.
    assert np.isfinite(np.asarray(model.loo_pit(x[:, None], y, y_err=e))).all()
    assert np.isfinite(model.to_arviz(x[:, None], y, y_err=e).log_likelihood["y"]).all()
    assert audit_errors(model, x[:, None], y, y_err=e).n_rows == 24 - zeros
    mean, std = model.predict(x[:, None], return_std=True, y_err=e)
    assert (std > 0.0).all()


@pytest.mark.parametrize("kind", ["scaled", "known"])
def test_an_error_of_zero_without_scatter_says_what_takes_it(kind: str) -> None:
    x, e = np.arange(8.0)[:, None], np.ones(8)
    e[3] = 0.0
    with pytest.raises(
        ValueError, match=r"got 0 in row 3\. Where a row has no error .* noise='auto' or 'additive'"
    ):
        Regressor(noise=kind).fit(x, x[:, 0], y_err=e)
    with pytest.raises(ValueError, match="y_err must be positive in some row: leave it out"):
        Regressor().fit(x, x[:, 0], y_err=np.zeros(8))
