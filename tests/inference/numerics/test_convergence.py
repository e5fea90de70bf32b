"""R-hat and effective sample sizes, beside ArviZ."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from bayes_sklearn.inference._compat import quietly
from bayes_sklearn.inference.numerics.convergence import convergence

Array = NDArray[np.float64]


def chains(correlation: float, draws: int, seed: int = 0) -> Array:
    """Autoregressive draws of four chains: normal, Cauchy, and, one chain apart, normal."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((4, draws, 3))
    for i in range(1, draws):
        found[:, i] = correlation * found[:, i - 1] + np.sqrt(1.0 - correlation**2) * found[:, i]
    found[..., 1] = np.tan(np.arctan(found[..., 1]) * 0.99) ** 3
    found[3, :, 2] += 1.0
    return found


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("draws", [61, 1000])
def test_figures_are_those_of_arviz(correlation: float, draws: int) -> None:
    with quietly():
        import arviz as az

        values = chains(correlation, draws)
        found, each = convergence(values), [np.asarray(values[..., j]) for j in range(3)]
        assert_allclose(found.r_hat, [float(az.rhat(one)) for one in each], rtol=1e-6)
        assert_allclose(found.bulk, [float(az.ess(one)) for one in each], rtol=0.02)
        tails = [float(az.ess(one, method="tail", prob=(0.05, 0.95))) for one in each]
        assert_allclose(found.tail, tails, rtol=0.02)


def test_what_is_constant_has_no_figures_and_what_is_infinite_the_worst() -> None:
    values = chains(0.0, 50)
    values[..., 0], values[0, 0, 1] = 1.0, np.inf
    found = np.array(convergence(values))
    assert np.isnan(found[:, 0]).all()
    assert found[:, 1].tolist() == [np.inf, 0.0, 0.0]
    assert np.isfinite(found[:, 2]).all()
