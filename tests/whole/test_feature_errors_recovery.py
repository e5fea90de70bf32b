"""Slopes behind noisy features are found again, at the stated rate, where least squares is off by the attenuation.

Truths are not drawn from the priors, whose pull is far below the standard errors here. Counted rates are held
against a binomial test: with `ALARM` each, and some forty of them, all of them together give a false alarm once in
2,500 choices of all seeds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.linear_model import LinearRegression

from plain import Regressor

pytestmark = pytest.mark.thorough

Array = NDArray[np.float64]

ALARM = 1e-5
SLOPES = np.array([2.0, -1.0])
RELIABILITIES = [0.5, 0.7, 0.95]


class Simulated(NamedTuple):
    """One noisy feature, of variance 1, and an exact one that it is correlated with."""

    X: Array
    y: Array
    X_err: Array
    """(n, 2)"""


def simulate(rng: np.random.Generator, n: int, reliability: float, *, by_row: bool = False) -> Simulated:
    """Return rows whose first feature has this reliability; with errors of their own `by_row`."""
    z = rng.normal(size=n)
    x = 0.5 * z + np.sqrt(0.75) * rng.normal(size=n)
    error = np.full(n, np.sqrt(1.0 / reliability - 1.0))
    if by_row:  # of the same mean square
        spread = rng.uniform(0.25, 1.75, n)
        error *= np.sqrt(spread)
    y = 3.0 + SLOPES @ [x, z] + 0.7 * rng.normal(size=n)
    return Simulated(
        np.column_stack([x + error * rng.normal(size=n), z]), y, np.column_stack([error, np.zeros(n)])
    )


def attenuated(reliability: float) -> Array:
    """Return where least squares' slopes go."""
    # What the exact feature leaves of the true one's variance is 0.75.
    error = 1.0 / reliability - 1.0
    share = 0.75 / (0.75 + error)
    return np.array([SLOPES[0] * share, SLOPES[1] + SLOPES[0] * 0.5 * (1.0 - share)])


def covered(limits: Array, truth: Array) -> NDArray[np.bool_]:
    return (limits[..., 0] < truth) & (truth < limits[..., 1])


def assert_rate(hits: NDArray[np.bool_], nominal: float, what: str) -> None:
    rate = binomtest(int(hits.sum()), hits.size, nominal)
    assert rate.pvalue > ALARM, f"{what}: {hits.mean():.3f} of {hits.size}, nominal {nominal}"


@pytest.mark.parametrize("by_row", [False, True], ids=["common", "by row"])
@pytest.mark.parametrize("reliability", RELIABILITIES)
def test_intervals_of_both_slopes_cover_at_their_rate(reliability: float, by_row: bool) -> None:
    hits = []
    for seed in range(60 if by_row else 100):
        data = simulate(np.random.default_rng([1, seed]), 200, reliability, by_row=by_row)
        errors = data.X_err if by_row else data.X_err[0]
        model = Regressor(random_state=seed).fit(data.X, data.y, X_err=errors)
        hits.append(covered(model.summary(0.9).iloc[1:3, 2:4].to_numpy(), SLOPES))
    for slope, of_slope in zip(("noisy", "exact"), np.array(hits).T, strict=True):
        assert_rate(of_slope, 0.9, f"slope of the {slope} feature")


@pytest.mark.parametrize("reliability", RELIABILITIES)
def test_slopes_are_not_attenuated(reliability: float) -> None:
    slopes, deviations, least_squares, naive, reliabilities = [], [], [], [], []
    replicates = 120 if reliability == 0.5 else 60
    for seed in range(replicates):
        data = simulate(np.random.default_rng([2, seed]), 2000, reliability)
        model = Regressor(random_state=seed).fit(data.X, data.y, X_err=data.X_err[0])
        slopes.append(model.coef_)
        deviations.append(model.coef_std_)
        least_squares.append(LinearRegression().fit(data.X, data.y).coef_)
        naive.append(model.summary()["naive"].to_numpy()[1:3])
        reliabilities.append(model.reliability_[0])
    mean, error = np.mean(slopes, axis=0), np.std(slopes, axis=0) / np.sqrt(replicates)
    # Two percent are three standard errors or more.
    assert (error < 0.0067 * np.abs(SLOPES)).all()
    np.testing.assert_allclose(mean, SLOPES, rtol=0.02)
    # The stated standard deviation is that of the estimates, to four standard errors of a standard deviation.
    np.testing.assert_allclose(
        np.mean(deviations, axis=0), np.std(slopes, axis=0), rtol=4.0 / np.sqrt(2 * replicates)
    )
    np.testing.assert_allclose(np.mean(least_squares, axis=0), attenuated(reliability), rtol=0.02)
    np.testing.assert_allclose(np.mean(naive, axis=0), attenuated(reliability), rtol=0.02)
    np.testing.assert_allclose(np.mean(reliabilities), reliability, rtol=0.02)


@pytest.mark.parametrize("by_row", [False, True], ids=["common", "by row"])
@pytest.mark.parametrize("reliability", RELIABILITIES)
def test_predictions_from_noisy_rows_are_as_good_as_least_squares_and_cover(
    reliability: float, by_row: bool
) -> None:
    squares: dict[str, list[float]] = {"ours": [], "least squares": [], "as if true": []}
    hits = []
    for seed in range(30 if by_row else 60):
        rng = np.random.default_rng([3, seed])
        data = simulate(rng, 200, reliability, by_row=by_row)
        new = simulate(rng, 60 if by_row else 2000, reliability, by_row=by_row)
        errors, new_errors = (part.X_err if by_row else part.X_err[0] for part in (data, new))
        model = Regressor(random_state=seed).fit(data.X, data.y, X_err=errors)
        predictions = {
            "ours": model.predict(new.X, X_err=new_errors),
            "least squares": LinearRegression().fit(data.X, data.y).predict(new.X),
            "as if true": model.predict(new.X, X_err=0.0),
        }
        for name, prediction in predictions.items():
            squares[name].append(float(np.mean((prediction - new.y) ** 2)))
        # Few rows a fit: they share its errors.
        few = slice(0, 20)
        of_few = new_errors[few] if by_row else new_errors
        hits.append(covered(model.predict_interval(new.X[few], X_err=of_few), new.y[few]))
    mean_square = {name: np.mean(square) for name, square in squares.items()}
    assert mean_square["ours"] < 1.01 * mean_square["least squares"], mean_square
    if reliability < 0.9:
        assert mean_square["as if true"] > 1.1 * mean_square["ours"], mean_square
    assert_rate(np.concatenate(hits), 0.95, "new rows")


@pytest.mark.parametrize("seed", [32, 59, 88, 131])
def test_half_reliable_features_are_no_trouble_to_the_engine(seed: int) -> None:
    data = simulate(np.random.default_rng([2, seed]), 2000, 0.5)
    Regressor(random_state=seed).fit(data.X, data.y, X_err=data.X_err[0])
