"""One-dimensional integrals of peaks anywhere and of any width, against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import norm

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn.inference.exact import noise_integrals
from bayes_sklearn.inference.numerics.quadrature import even_lattices, peak_intervals, trapezoid

Array = NDArray[np.float64]


@pytest.mark.parametrize("width", [1e-6, 1e-3, 1.0, 10.0])
@pytest.mark.parametrize("center", [-15.0, 0.3, 40.0])
def test_the_trapezoid_rule_finds_a_peak_of_any_width_anywhere(width: float, center: float) -> None:
    def log_density(u: Any) -> Any:
        return norm.logpdf(u, center, width)

    u, _, log_weights = trapezoid(log_density, peak_intervals(log_density, -200.0, 5.0, 100.0))
    weights = np.exp(log_weights)
    assert_allclose(weights.sum(), 1.0, rtol=1e-9)
    assert_allclose(weights @ u, center, atol=1e-8 * max(width, abs(center)))
    assert_allclose(weights @ (u - center) ** 2, width**2, rtol=1e-6)
    assert len(u) < 70


def test_the_trapezoid_rule_finds_both_of_two_distant_peaks() -> None:
    def log_density(u: Any) -> Any:
        return np.logaddexp(norm.logpdf(u, -5.0, 0.01), norm.logpdf(u, 5.0, 0.1))

    intervals = peak_intervals(log_density, -20.0, 20.0, 100.0)
    assert len(intervals) == 2
    assert_allclose(np.exp(trapezoid(log_density, intervals)[2]).sum(), 2.0, rtol=1e-9)


def test_even_points_hold_densities_of_any_place_and_width_at_one_go() -> None:
    """Against closed forms; of two peaks that points first pass by, none is lost."""
    place = np.array([0.3, -4.0, 4.0, 1.0])
    width = np.array([1e-5, 1.0, 0.3, 0.02])
    second = np.array([0.0, 0.0, 0.0, 1.0])  # as much mass again, 40 widths away

    def log_density(u: Array) -> Array:
        peaks = [
            -0.5 * ((u - (place + shift * width)[:, None]) / width[:, None]) ** 2 for shift in (0.0, 40.0)
        ]
        with np.errstate(divide="ignore"):
            return np.logaddexp(peaks[0], peaks[1] + np.log(second)[:, None])

    u, values, resolved = even_lattices(log_density, np.full(4, -15.0), np.full(4, 3.0), 2.0)
    assert resolved.all()
    found = np.exp(values).sum(axis=1) * (u[:, 1] - u[:, 0])
    assert_allclose(found, np.sqrt(2.0 * np.pi) * width * (1.0 + second), rtol=1e-9)


def test_what_even_points_do_not_resolve_is_said_to_be_so() -> None:
    def rough(u: Array) -> Array:
        return -0.5 * np.square(u) + np.where(np.floor(300.0 * u) % 2 == 0, 0.0, -5.0)

    _, _, resolved = even_lattices(rough, np.array([-15.0]), np.array([3.0]), 2.0)
    assert not resolved.any()


def test_an_end_that_is_found_and_lost_again_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search that went between two looks for ever sent all scatters of this fit to be taken one by one."""
    rng = np.random.default_rng(0)
    n = 50
    x = rng.normal(size=n)
    X, y = (x + 0.3 * rng.normal(size=n))[:, None], 1.0 + 2.0 * x + 0.5 * rng.normal(size=n)
    y_err, X_err = 0.3 * rng.uniform(0.5, 1.5, n), 0.3 * rng.uniform(0.5, 1.5, n)
    sizes: list[int] = []

    def watched(log_density: Any, lower: Array, *given: Any) -> Any:
        sizes.append(len(lower))
        return even_lattices(log_density, lower, *given)

    monkeypatch.setattr(noise_integrals, "even_lattices", watched)
    Regressor(random_state=0).fit(X, y, y_err=y_err, X_err=X_err)
    assert sizes
    assert min(sizes) > 1
