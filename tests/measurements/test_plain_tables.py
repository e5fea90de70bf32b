"""Small arrays that scikit-learn would return as they are: what its checks refuse is refused all the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.measurements.checks import is_plain
from bayes_sklearn.metrics import crps

X = np.random.default_rng(0).normal(size=(40, 2))
Y = X.sum(axis=1) + 0.1 * np.arange(40)


def test_what_is_plain() -> None:
    assert is_plain(X, 2)
    assert is_plain(Y, 1)
    for other in (X.tolist(), X.astype(np.float32), X[:0], np.ma.masked_array(X), X * np.inf):
        assert not is_plain(other, 2)


def test_one_row_is_checked_as_many_are() -> None:
    model = Regressor().fit(X, Y)
    assert_array_equal(model.predict(X[:1]), model.predict(X[:1].tolist()))
    with pytest.raises(ValueError, match="X has 1 features"):
        model.predict(X[:1, :1])
    with pytest.raises(ValueError, match="X"):
        model.predict(np.array([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match="2D array"):
        model.predict(X[0])
    with pytest.raises(ValueError, match="finite"):
        crps(np.array([np.nan]), model.predict_distribution(X[:1]))
    named = Regressor().fit(pd.DataFrame(X, columns=["a", "b"]), Y)
    with pytest.warns(UserWarning, match="feature names"):
        named.predict(X[:1])


@pytest.mark.parametrize("likelihood", ["normal", "binomial", "beta_binomial", "poisson"])
def test_several_quantiles_of_few_rows_are_those_of_one_at_a_time(likelihood: str) -> None:
    rng = np.random.default_rng(1)
    levels = [0.01, 0.3, 0.5, 0.975]
    if likelihood == "normal":
        model, given = Regressor().fit(X, Y), {}
    elif likelihood == "poisson":
        model = Regressor(likelihood=likelihood, random_state=0).fit(
            X, rng.poisson(3.0, 40), exposure=np.full(40, 2.0)
        )
        given = {"exposure": 700.0}
    else:
        shares = rng.binomial(20, 0.3, 40) / 20.0
        model = Regressor(likelihood=likelihood, weight_type="counts", random_state=0)
        model, given = model.fit(X, shares, sample_weight=np.full(40, 20)), {"counts": 50}
    together = model.predict_quantiles(X[:2], levels, **given)
    apart = np.column_stack([model.predict_quantiles(X[:2], level, **given) for level in levels])
    assert_allclose(together, apart, rtol=1e-9)
