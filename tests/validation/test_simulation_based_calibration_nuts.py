"""The posteriors that NUTS alone can give are calibrated: of priors with heavy tails.

Where importance sampling takes a model too, it is calibrated (the file beside this one), and the draws of NUTS are
held against it (``tests/inference/nuts``). How probable a false alarm is: see `calibration`.
"""

from __future__ import annotations

import pytest

from bayes_sklearn.priors import Exponential, Horseshoe, Laplace, StudentT

from calibration import FALSE_ALARM, Case, X

CASES: dict[str, Case] = {
    "scaled, heavy-tailed priors": Case(
        {"coef_prior": Laplace(), "intercept_prior": StudentT(), "noise_prior": Exponential()}
    ),
    "additive": Case({"noise": "additive", "coef_prior": Laplace()}, X=X[:, :1]),
    "horseshoe": Case({"coef_prior": Horseshoe(n_nonzero=1)}),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_true_values_rank_evenly_in_posteriors(name: str) -> None:
    found = CASES[name].calibrate("nuts")
    assert not found.failures
    assert found.engines == {"nuts": found.n_simulations}
    assert found.p_value > FALSE_ALARM, str(found)
