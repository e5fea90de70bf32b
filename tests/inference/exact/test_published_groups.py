"""What is published of tables of groups is what our own search, and brute force, find in them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

from dense_groups import GroupModel, indicators
from oracle import half_cauchy
from published_groups import BCG, EIGHT_SCHOOLS, random_effects_reml, reaction_times


def test_bcg_has_the_restricted_likelihood_s_published_estimates() -> None:
    """metafor's ``rma(yi, vi, data=dat)``: -0.7145 (0.1798), tau^2 0.3132; a new study's -1.8667 to 0.4376."""
    found = random_effects_reml(BCG)
    assert_allclose(found.mean, -0.7145, atol=5e-5)
    assert_allclose(found.error, 0.1798, atol=5e-5)
    assert_allclose(found.tau_squared, 0.3132, atol=5e-5)
    reach = stats.norm.ppf(0.975) * np.sqrt(found.error[0] ** 2 + found.tau_squared)
    assert_allclose([found.mean[0] - reach, found.mean[0] + reach], [-1.8667, 0.4376], atol=5e-5)


def test_bcg_by_latitude_has_the_published_estimates() -> None:
    """metafor's ``rma(yi, vi, mods = ~ ablat, data=dat)``."""
    found = random_effects_reml(BCG, ("latitude",))
    assert_allclose(found.mean, [0.2515, -0.0291], atol=5e-5)
    assert_allclose(found.error, [0.2491, 0.0072], atol=5e-5)
    assert_allclose(found.tau_squared, 0.0764, atol=1e-4)


@pytest.mark.parametrize("features", [(), ("latitude",)])
def test_restricted_likelihood_is_that_under_flat_priors(features: tuple[str, ...]) -> None:
    design = np.column_stack([np.ones(13), *(BCG.features[name] for name in features)])
    flat = np.full(design.shape[1], np.inf)
    tau = half_cauchy(1.0).logpdf
    model = GroupModel(BCG.estimate, design, flat, (np.eye(13),), (tau,), BCG.error, "known")
    best = optimize.minimize_scalar(
        lambda scale: -model.given(np.array([[scale]]))[0][0], bounds=(0.01, 3.0), method="bounded"
    )
    found = random_effects_reml(BCG, features)
    assert_allclose(best.x**2, found.tau_squared, rtol=1e-3)
    _, mean, covariance = model.given(np.array([[np.sqrt(found.tau_squared)]]), moments=True)
    P = design.shape[1]
    assert_allclose(mean[0, :P], found.mean, rtol=1e-8)
    assert_allclose(np.sqrt(np.diag(covariance[0])[:P]), found.error, rtol=1e-8)


def test_eight_schools_has_the_posterior_of_posteriordb() -> None:
    """mu 4.4 (3.3), tau 3.6 (3.2), under mu ~ Normal(0, 5) and tau ~ HalfCauchy(5); of draws, to two figures."""
    model = GroupModel(
        EIGHT_SCHOOLS.estimate,
        np.ones((8, 1)),
        np.array([5.0]),
        (np.eye(8),),
        (half_cauchy(5.0).logpdf,),
        EIGHT_SCHOOLS.error,
        "known",
    )
    found = model.integrate()
    assert_allclose([found.mean()[0], np.sqrt(found.covariance()[0, 0])], [4.4, 3.3], atol=0.06)
    assert_allclose(found.scale_moments("tau_0"), [3.6, 3.2], atol=0.06)
    assert_allclose(random_effects_reml(EIGHT_SCHOOLS).tau_squared, 0.0, atol=1e-6)


def test_reaction_times_have_the_design_of_sleepstudy() -> None:
    table = reaction_times()
    assert table.shape == (180, 3)
    assert table.groupby("person").size().tolist() == [10] * 18
    lines = [np.polyfit(rows["days"], rows["time"], 1) for _, rows in table.groupby("person")]
    assert_allclose(np.mean(lines, axis=0), [10.5, 251.0], atol=12.0)
    assert indicators(table["person"], table["days"]).sum() == 45.0 * 18
