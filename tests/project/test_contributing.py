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


def waited(n: int = 120, seed: int = 3) -> tuple[Array, Array]:
    """Return a feature, and the times that were waited."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 1))
    return x, rng.exponential(np.exp(0.5 + 0.7 * x[:, 0]))


@pytest.fixture
def exponential(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of the page's likelihood, which is made by its text alone and stands in the registry."""
    section = PAGE.read_text(encoding="utf-8").split("## Add a likelihood")[1].split("\n## ")[0]
    block = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[0]
    names: dict[str, Any] = {"__name__": __name__}
    exec("".join(example.source for example in doctest.DocTestParser().get_examples(block)), names)
    monkeypatch.setitem(LIKELIHOODS, "exponential", names["ExponentialLikelihood"]())  # type: ignore[misc, arg-type]
    return "exponential"


def fitted(likelihood: str, **settings: Any) -> tuple[Any, Array, Array]:
    x, y = waited()
    model = plain.Regressor(likelihood=likelihood, random_state=0, **settings)
    return model.fit(x, y), x, y


def test_a_likelihood_that_is_added_by_the_page_predicts(exponential: str) -> None:
    sm = pytest.importorskip("statsmodels.api")
    model, x, y = fitted(exponential)
    assert model.inference_ == "importance"
    family = sm.families.Gamma(sm.families.links.Log())
    peer = sm.GLM(y, sm.add_constant(x), family=family).fit(scale=1.0)
    assert_allclose([model.intercept_, *model.coef_], peer.params, atol=0.3 * peer.bse.min())
    assert_allclose(model.coef_std_, peer.bse[1:], rtol=0.1)
    new = np.array([[-2.0], [0.0], [2.5]])
    # Given the nodes times are exponential: the truth is a sum over them.
    posterior = model._fitted.posterior
    scale = np.exp(posterior.location[:, :1] + posterior.location[:, 1:] @ (new - posterior.center).T)
    distribution, given = model.predict_distribution(new), stats.expon(scale=scale)
    assert_allclose(distribution.mean(), posterior.weights @ scale, rtol=1e-9)
    for at in (0.5, 1.5, 8.0):
        assert_allclose(distribution.cdf(at), posterior.weights @ given.cdf(at), atol=1e-4)
        assert_allclose(distribution.pdf(at), posterior.weights @ given.pdf(at), rtol=1e-3)
    lower, upper = distribution.interval(0.9)
    assert_allclose(distribution.cdf(upper) - distribution.cdf(lower), 0.9, atol=1e-6)
    one = model.predict_distribution(new[:1])
    score = integrate.quad(
        lambda t: float(one.cdf(t)[0] - (t >= 0.8)) ** 2, 0.0, 30.0, points=[0.8], limit=200
    )
    assert_allclose(one.crps(0.8), score[0], rtol=1e-4)


def test_intervals_of_its_times_hold_what_they_say(exponential: str) -> None:
    model, x, y = fitted(exponential)
    lower, upper = model.predict_interval(x, 0.9).T
    assert 0.8 < np.mean((y >= lower) & (y <= upper)) < 0.98  # of 120, by 3.6 standard errors
    draws, distribution = model.sample_y(x[:5], 4000, 1), model.predict_distribution(x[:5])
    assert (np.abs(draws.mean(axis=1) - distribution.mean()) < 5.0 * distribution.std() / np.sqrt(4000)).all()
    assert_allclose(draws.var(axis=1), distribution.var(), rtol=0.25)
    assert stats.kstest(model.loo_pit(x, y), "uniform").pvalue > 1e-3
    assert audit_errors(model, x, y).verdict == "about right"


def test_what_it_has_no_place_for_is_refused(exponential: str) -> None:
    x, y = waited()
    model = plain.Regressor(likelihood=exponential)
    with pytest.raises(ValueError, match="y_err is given, but likelihood='exponential' has no place"):
        model.fit(x, y, y_err=1.0)
    with pytest.raises(ValueError, match="exposure is given, but likelihood='exponential' takes none"):
        model.fit(x, y, exposure=1.0)


@pytest.mark.thorough
def test_nuts_takes_it_too_with_errors_of_features_and_without(exponential: str) -> None:
    model = fitted(exponential)[0]
    sampled = fitted(exponential, inference="nuts", draws=500)[0]
    assert_allclose(sampled.coef_, model.coef_, atol=4.0 * model.coef_std_[0] / np.sqrt(500))
    assert_allclose(sampled.coef_std_, model.coef_std_, rtol=0.15)
    x, y = waited()
    noisy = x + 0.3 * np.random.default_rng(0).normal(size=x.shape)
    integrated, latent = (
        plain.Regressor(likelihood=exponential, random_state=0, draws=500, inference=engine).fit(
            noisy, y, X_err=0.3
        )
        for engine in ("auto", "nuts")
    )
    assert (integrated.inference_, latent.inference_) == ("importance", "nuts")
    assert abs(latent.coef_[0] - 0.7) < 4.0 * latent.coef_std_[0]
    assert_allclose(latent.coef_, integrated.coef_, atol=4.0 * integrated.coef_std_[0] / np.sqrt(500))
    assert_allclose(latent.coef_std_, integrated.coef_std_, rtol=0.15)
