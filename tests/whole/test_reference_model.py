"""The reference model in PyMC, sampled by NUTS, against the exact engine.

Every comparison is of the mean of a function of the draws with the number that the package gives
for it, in units of the Monte Carlo standard error. The bound is z = 5: over the 94 comparisons of
this file, a correct package fails at most once in 18,000 sets of draws (94 times 5.7e-7, by
Bonferroni's bound), while the errors themselves are about 1% of a posterior standard deviation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import special

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Normal

from oracle import (
    FlatScale,
    NoiseDensity,
    exponential,
    half_cauchy,
    half_normal,
    half_student_t,
    inverse_gamma,
)
from plain import Regressor
from reference_model import (
    LOG_DENSITY_ARGUMENTS,
    Draws,
    log_densities,
    make_phones,
    monte_carlo_error,
    sample,
    standard_error,
)

Array = NDArray[np.float64]
Noise = Literal["scaled", "additive"]

Z_BOUND = 5.0
DRAWS = 4000
PHONES = make_phones(200, random_state=1)
NEW = make_phones(5, random_state=2)
NEW_Y_ERR = standard_error(NEW.y, NEW.messages)
# Scatter that adds to known errors is told from them only where they are small.
SMALL_Y_ERR = 0.3 * PHONES.y_err


@dataclass(frozen=True)
class Sampled:
    """NUTS draws and the exact fit of the same model."""

    noise: Noise
    y_err: Array
    draws: Draws
    model: BayesianErrorsInVariablesRegressor

    def line(self, X: Array) -> Array:
        """Draws of the regression line, shape (chain, draw, n_rows)."""
        return self.draws.coef @ X.T + self.draws.intercept[..., None]

    def spread(self, y_err: Array) -> Array:
        """Draws of the standard deviation of a new measurement, shape (chain, draw, n_rows)."""
        s = self.draws.scale[..., None]
        return s * y_err if self.noise == "scaled" else np.hypot(s, y_err)


def _reference_regressor() -> BayesianErrorsInVariablesRegressor:
    model = BayesianErrorsInVariablesRegressor(
        coef_prior=Normal(),
        intercept_prior=Normal(),
        noise="scaled",
        standardize=False,
        count_error="observed",
        error_floor=0.1,
    )
    model.fit(PHONES.X, PHONES.y, sample_weight=PHONES.messages)
    return model


@pytest.fixture(scope="session", params=["scaled", "additive"])
def sampled(request: pytest.FixtureRequest) -> Sampled:
    noise: Noise = request.param
    if noise == "scaled":
        y_err, model = PHONES.y_err, _reference_regressor()
    else:
        y_err = SMALL_Y_ERR
        model = Regressor(standardize=False, noise="additive")
        model.fit(PHONES.X, PHONES.y, y_err=y_err)
    draws = sample(PHONES.X, PHONES.y, y_err, noise, DRAWS, random_state=20_250)
    return Sampled(noise, y_err, draws, model)


def _z_scores(values: Array, expected: Any) -> Array:
    """(Mean of draws - expected) / Monte Carlo error, for each entry of the last axis."""
    values = values if values.ndim == 3 else values[..., None]
    expected = np.broadcast_to(expected, values.shape[-1:])
    return np.array(
        [
            (values[..., i].mean() - expected[i]) / monte_carlo_error(values[..., i])
            for i in range(values.shape[-1])
        ]
    )


def _assert_agree(values: Array, expected: Any) -> None:
    z = _z_scores(values, expected)
    assert np.all(np.abs(z) < Z_BOUND), f"z scores {np.round(z, 1)}"


def test_chains_are_long_enough_to_tell_a_small_difference(sampled: Sampled) -> None:
    assert sampled.draws.n_divergent == 0
    for values in (*np.moveaxis(sampled.draws.coef, -1, 0), sampled.draws.scale):
        assert monte_carlo_error(values) < 0.015 * values.std()


def test_coefficient_means_agree(sampled: Sampled) -> None:
    _assert_agree(sampled.draws.coef, sampled.model.coef_)


def test_intercept_mean_agrees(sampled: Sampled) -> None:
    _assert_agree(sampled.draws.intercept, sampled.model.intercept_)


def test_noise_scale_mean_agrees(sampled: Sampled) -> None:
    _assert_agree(sampled.draws.scale, sampled.model.noise_scale_)


def test_coefficient_variances_agree(sampled: Sampled) -> None:
    squares = (sampled.draws.coef - sampled.model.coef_) ** 2
    _assert_agree(squares, sampled.model.coef_std_**2)


def test_line_means_and_variances_agree(sampled: Sampled) -> None:
    X = np.vstack([np.zeros(4), NEW.X])
    mean, std = sampled.model.predict(X, return_std=True, include_noise=False)
    _assert_agree(sampled.line(X), mean)
    _assert_agree((sampled.line(X) - mean) ** 2, std**2)


def test_predictive_variances_agree(sampled: Sampled) -> None:
    mean, std = sampled.model.predict(NEW.X, return_std=True, y_err=NEW_Y_ERR)
    squares = (sampled.line(NEW.X) - mean) ** 2 + sampled.spread(NEW_Y_ERR) ** 2
    _assert_agree(squares, std**2)


def test_lower_and_upper_95_percent_limits_agree(sampled: Sampled) -> None:
    """Each draw says how likely a new measurement is to lie below the package's limit."""
    limits = sampled.model.predict_interval(NEW.X, coverage=0.95, y_err=NEW_Y_ERR)
    for limit, level in zip(limits.T, (0.025, 0.975), strict=True):
        below = special.ndtr((limit - sampled.line(NEW.X)) / sampled.spread(NEW_Y_ERR))
        _assert_agree(below, level)


def test_limits_cover_simulated_measurements(sampled: Sampled) -> None:
    """The reference's own way: draw new measurements, take percentiles."""
    rng = np.random.default_rng(3)
    measured = rng.normal(sampled.line(NEW.X), sampled.spread(NEW_Y_ERR))
    limits = sampled.model.predict_interval(NEW.X, coverage=0.95, y_err=NEW_Y_ERR)
    for limit, level in zip(limits.T, (0.025, 0.975), strict=True):
        _assert_agree((measured < limit).astype(float), level)


def test_reference_configuration_takes_the_weights_for_counts() -> None:
    assert _reference_regressor().weight_type_ == "counts"


def test_errors_that_are_a_tenth_off_would_be_noticed(sampled: Sampled) -> None:
    other = Regressor(standardize=False, noise=sampled.noise)
    other.fit(PHONES.X, PHONES.y, y_err=1.1 * sampled.y_err)
    assert np.all(np.abs(_z_scores(sampled.draws.scale, other.noise_scale_)) > 2 * Z_BOUND)


def test_oracle_s_scale_priors_are_pymc_s() -> None:
    s = np.array([1e-3, 0.1, 0.7, 2.0, 15.0])
    sampler_s = log_densities(s)
    ours: dict[str, Callable[..., NoiseDensity]] = {
        "HalfNormal": half_normal,
        "HalfStudentT": half_student_t,
        "HalfCauchy": half_cauchy,
        "Exponential": exponential,
        "InverseGamma": inverse_gamma,
        "HalfFlat": FlatScale,
    }
    assert set(ours) == set(sampler_s)
    for name, build in ours.items():
        expected = build(**LOG_DENSITY_ARGUMENTS[name]).logpdf(s)
        # PyTensor takes the logarithm of a small whole number in single precision
        assert_allclose(sampler_s[name], expected, rtol=1e-10, atol=1e-7, err_msg=name)
