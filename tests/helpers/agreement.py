"""Whether two fits agree."""

from __future__ import annotations

from typing import Any

from numpy.testing import assert_allclose

from plain import Regressor


def assert_same(found: Regressor, whole: Regressor, X: Any, tolerance: float = 1e-9) -> None:
    """Everything that a fit says, in units of what it does not know."""
    sd = whole.coef_std_
    assert_allclose(found.coef_ / sd, whole.coef_ / sd, rtol=tolerance, atol=tolerance)
    assert_allclose(found.coef_std_, sd, rtol=tolerance)
    assert_allclose(found.noise_scale_, whole.noise_scale_, rtol=tolerance)
    if hasattr(whole, "log_marginal_likelihood_"):
        assert_allclose(found.log_marginal_likelihood_, whole.log_marginal_likelihood_, rtol=tolerance)
    mean, std = whole.predict(X, return_std=True)
    predicted = found.predict(X, return_std=True)
    assert_allclose((predicted[0] - mean) / std, 0.0, atol=tolerance)
    assert_allclose(predicted[1], std, rtol=tolerance)
    line = [model.predict(X, return_std=True, include_noise=False)[1] for model in (found, whole)]
    assert_allclose(line[0], line[1], rtol=tolerance)
    ends = [(model.predict_interval(X, 0.9) - mean[:, None]) / std[:, None] for model in (found, whole)]
    assert_allclose(ends[0], ends[1], atol=10.0 * tolerance)
    assert found.weight_type_ == whole.weight_type_
    assert found.inference_ == whole.inference_
