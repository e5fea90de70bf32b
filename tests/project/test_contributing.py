"""What the page on contributing says is enough to add a likelihood is enough."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats

from bayes_sklearn import audit_errors
from bayes_sklearn.likelihoods import LIKELIHOODS

import plain

Array = NDArray[np.float64]

PAGE = Path(__file__).parents[2] / "docs" / "contributing.md"


def rates(n: int = 120, seed: int = 3) -> tuple[Array, Array, Array]:
    """Return a feature, counts and the exposures that they are by."""
    rng = np.random.default_rng(seed)
    x, exposure = rng.normal(size=(n, 1)), rng.uniform(0.3, 20.0, n)
    return x, rng.poisson(exposure * np.exp(0.5 + 0.7 * x[:, 0])).astype(float), exposure


@pytest.fixture
def poisson(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of the page's likelihood, which is made by its text alone and stands in the registry."""
    section = PAGE.read_text(encoding="utf-8").split("## Add a likelihood")[1].split("\n## ")[0]
    block = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[0]
    names: dict[str, Any] = {"__name__": __name__}
    exec("".join(example.source for example in doctest.DocTestParser().get_examples(block)), names)
    monkeypatch.setitem(LIKELIHOODS, "poisson", names["PoissonLikelihood"]())  # type: ignore[misc, arg-type]
    return "poisson"


def fitted(likelihood: str, **settings: Any) -> tuple[Any, Array, Array, Array]:
    x, k, exposure = rates()
    model = plain.Regressor(likelihood=likelihood, weight_type="counts", random_state=0, **settings)
    return model.fit(x, k / exposure, sample_weight=exposure), x, k, exposure


def test_a_likelihood_that_is_added_by_the_page_predicts_rates_and_counts(poisson: str) -> None:
    sm = pytest.importorskip("statsmodels.api")
    model, x, k, exposure = fitted(poisson)
    assert model.inference_ == "importance"
    peer = sm.GLM(k, sm.add_constant(x), family=sm.families.Poisson(), exposure=exposure).fit()
    assert_allclose([model.intercept_, *model.coef_], peer.params, atol=0.3 * peer.bse.min())
    assert_allclose(model.coef_std_, peer.bse[1:], rtol=0.1)
    new = np.array([[-2.0], [0.0], [2.5]])
    assert_allclose(model.predict(new), np.exp(peer.params[0] + peer.params[1] * new[:, 0]), rtol=0.02)
    by = np.array([0.7, 5.0, 200.0])
    counts = model.predict_interval(new, 0.9, counts=by) * by[:, None]
    assert_allclose(counts, np.rint(counts), atol=1e-9)
    # Given the nodes counts are Poisson's: the truth is a sum over them.
    posterior = model._fitted.posterior
    lines = posterior.location[:, :1] + posterior.location[:, 1:] @ (new - posterior.center).T
    distribution = model.predict_distribution(new, counts=by)
    for at in (0.5, 1.5, 8.0):
        of = np.floor(at * by)
        expected = posterior.weights @ stats.poisson.cdf(of, np.exp(lines) * by)
        assert_allclose(distribution.cdf(of / by), expected, atol=1e-3)
        mass = posterior.weights @ stats.poisson.pmf(of, np.exp(lines) * by)
        assert_allclose(distribution.pdf(of / by) / by, mass, rtol=2e-2, atol=1e-9)
    grid = np.arange(0, 60) / 5.0
    below = model.predict_distribution(new[1:2], counts=5.0).cdf(grid[:, None])[:, 0]
    score = integrate.trapezoid(
        np.repeat((below - (grid >= 1.2 - 1e-9)) ** 2, 2), np.repeat([*grid, 12.0], 2)[1:-1]
    )
    assert_allclose(model.predict_distribution(new[1:2], counts=5.0).crps(1.2), score, rtol=1e-6)


def test_intervals_of_its_rates_and_counts_hold_what_they_say(poisson: str) -> None:
    model, x, k, exposure = fitted(poisson)
    lower, upper = model.predict_interval(x, 0.9, counts=exposure).T
    held = (k / exposure >= lower - 1e-9) & (k / exposure <= upper + 1e-9)
    assert 0.85 < held.mean() < 0.99  # of 120 discrete ones, 0.9 and somewhat more
    draws = model.sample_y(x[:5], 4000, 1, counts=exposure[:5])
    distribution = model.predict_distribution(x[:5], counts=exposure[:5])
    assert (np.abs(draws.mean(axis=1) - distribution.mean()) < 5.0 * distribution.std() / np.sqrt(4000)).all()
    assert_allclose(draws.var(axis=1), distribution.var(), rtol=0.15)
    parts = distribution.variance_parts
    assert_allclose(parts["finite_count"], model.predict(x[:5]) / exposure[:5], rtol=1e-3)
    assert not parts["scatter"].any()
    transforms = model.loo_pit(x, k / exposure, sample_weight=exposure)
    assert stats.kstest(transforms, "uniform").pvalue > 1e-3
    audit = audit_errors(model, x, k / exposure, sample_weight=exposure)
    assert 0.7 < audit.dispersion < 1.4


def test_what_is_no_rate_is_refused(poisson: str) -> None:
    x, k, exposure = rates()
    model = plain.Regressor(likelihood=poisson, weight_type="counts")
    with pytest.raises(ValueError, match=r"likelihood='poisson', y must be rates from 0, got -1"):
        model.fit(x, np.where(np.arange(120) == 4, -1.0, k / exposure), sample_weight=exposure)
    with pytest.raises(ValueError, match="y_err is given, but under likelihood='poisson'"):
        model.fit(x, k, y_err=1.0)


@pytest.mark.thorough
def test_nuts_takes_it_too_with_errors_of_features_and_without(poisson: str) -> None:
    model = fitted(poisson)[0]
    sampled = fitted(poisson, inference="nuts", draws=500)[0]
    assert_allclose(sampled.coef_, model.coef_, atol=4.0 * model.coef_std_[0] / np.sqrt(500))
    assert_allclose(sampled.coef_std_, model.coef_std_, rtol=0.15)
    x, k, exposure = rates()
    noisy = x + 0.3 * np.random.default_rng(0).normal(size=x.shape)
    integrated, latent = (
        plain.Regressor(
            likelihood=poisson, weight_type="counts", random_state=0, draws=500, inference=engine
        ).fit(noisy, k / exposure, sample_weight=exposure, X_err=0.3)
        for engine in ("auto", "nuts")
    )
    assert (integrated.inference_, latent.inference_) == ("importance", "nuts")
    assert abs(latent.coef_[0] - 0.7) < 4.0 * latent.coef_std_[0]
    assert_allclose(latent.coef_, integrated.coef_, atol=4.0 * integrated.coef_std_[0] / np.sqrt(500))
    assert_allclose(latent.coef_std_, integrated.coef_std_, rtol=0.15)
    lower, upper = latent.predict_interval(noisy, 0.9, counts=exposure).T
    held = (k / exposure >= lower - 1e-9) & (k / exposure <= upper + 1e-9)
    assert 0.8 < held.mean() < 0.99
