"""The posteriors that NUTS samples are calibrated, under every likelihood and kind of noise.

How probable a false alarm is: see `calibration`.
"""

from __future__ import annotations

import pytest

from bayes_sklearn import BetaBinomialLikelihood, StudentTLikelihood
from bayes_sklearn.priors import Beta, Exponential, Horseshoe, Laplace, StudentT

from calibration import COUNTS, FALSE_ALARM, Y_ERR, Case, X

CASES: dict[str, Case] = {
    "scaled, heavy-tailed priors": Case(
        {"coef_prior": Laplace(), "intercept_prior": StudentT(), "noise_prior": Exponential()}
    ),
    "additive": Case({"noise": "additive", "coef_prior": Laplace()}, X=X[:, :1]),
    "known": Case({"noise": "known", "coef_prior": StudentT(nu=3)}),
    "horseshoe": Case({"coef_prior": Horseshoe(n_nonzero=1)}),
    "a feature with errors": Case({"coef_prior": Laplace()}, {"y_err": Y_ERR, "X_err": 0.5}, X[:, :1]),
    "student_t": Case({"likelihood": StudentTLikelihood(nu=4)}),
    "binomial, a feature with errors": Case(
        {"likelihood": "binomial"}, {"counts": COUNTS, "X_err": 0.5}, X[:, :1]
    ),
    "beta_binomial": Case(
        {"likelihood": BetaBinomialLikelihood(dispersion_prior=Beta(1.0, 4.0))}, {"counts": COUNTS}
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_true_values_rank_evenly_in_posteriors(name: str) -> None:
    found = CASES[name].calibrate("nuts")
    assert not found.failures
    assert found.engines == {"nuts": found.n_simulations}
    assert found.p_value > FALSE_ALARM, str(found)
