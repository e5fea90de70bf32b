"""Truths are found again, at the stated rate, over many simulations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.linear_model import LinearRegression, Ridge

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.datasets import make_role_modeling

from plain import Regressor

pytestmark = pytest.mark.thorough

Array = NDArray[np.float64]

# A counted coverage is out if a binomial test gives it less than this; 24 are counted so, and a false alarm
# is due once in 4,000 choices of all seeds.
ALARM = 1e-5


def covered(limits: Array, truth: Array) -> NDArray[np.bool_]:
    return (limits[:, 0] < truth) & (truth < limits[:, 1])


def assert_rate(hits: NDArray[np.bool_], nominal: float, what: str) -> None:
    rate = binomtest(int(hits.sum()), hits.size, nominal)
    assert rate.pvalue > ALARM, f"{what}: {hits.mean():.3f} of {hits.size}, nominal {nominal}"


# Where s was drawn large, or coefficients were: of a right prior, evidence says so in at most exp(-3) of tables.
@pytest.mark.filterwarnings("ignore:The stated errors look too small", "ignore:The data contradict")
@given(
    st.sampled_from(["scaled", "additive", "known"]),
    st.integers(5, 40),
    st.integers(1, 4),
    st.integers(0, 2**31),
)
@settings(max_examples=9, deadline=None, derandomize=True)
def test_intervals_cover_truths_drawn_from_the_prior(noise: str, n: int, p: int, seed: int) -> None:
    # Calibration is exact here: truth, errors and data are drawn from the model that is fitted.
    rng = np.random.default_rng(seed)
    replicates = 120 if noise == "additive" else 400
    X, e = rng.normal(size=(n, p)), rng.uniform(0.2, 2.0, n)
    model = Regressor(noise=noise, standardize=False)
    coefficient, scale, new = [], [], []
    for _ in range(replicates):
        B, s = rng.normal(size=p + 1), abs(rng.normal())
        sd = {"scaled": s * e, "additive": np.sqrt(s**2 + e**2), "known": e}[noise]
        y = B[0] + X @ B[1:] + sd * rng.normal(size=n)
        summary = model.fit(X, y, y_err=e).summary(0.9).to_numpy()[:, 2:]
        coefficient.append(covered(summary, np.append(B, s))[rng.integers(p + 1)])
        scale.append(covered(summary, np.append(B, s))[-1])
        x = rng.normal(size=(1, p))
        sd_new = {"scaled": s * 0.7, "additive": np.hypot(s, 0.7), "known": 0.7}[noise]
        measurement = B[0] + x @ B[1:] + sd_new * rng.normal()
        new.append(covered(model.predict_interval(x, 0.9, y_err=0.7), measurement)[0])
    assert_rate(np.array(coefficient), 0.9, "coefficients")
    assert_rate(np.array(new), 0.9, "new measurements")
    if noise != "known":
        assert_rate(np.array(scale), 0.9, "noise scale")


@pytest.mark.parametrize("overdispersion", [0.0, 0.02])
@pytest.mark.parametrize("mean_share", [0.03, 0.1, 0.3])
def test_slopes_of_binomial_shares_are_covered_and_the_true_share_is_found(
    mean_share: float, overdispersion: float
) -> None:
    model = BayesianErrorsInVariablesRegressor(weight_type="counts")
    hits: list[NDArray[np.bool_]] = []
    errors: dict[str, list[float]] = {"ours": [], "least squares": [], "ridge": []}
    for seed in range(150):
        phones = make_role_modeling(
            400, mean_share=mean_share, overdispersion=overdispersion, random_state=seed
        )
        X, y, counts = phones.data, phones.target, phones.counts
        model.fit(X, y, counts)
        hits.append(covered(model.summary(0.9).to_numpy()[1 : 1 + len(phones.coef), 2:], phones.coef))
        predictions = {
            "ours": model.predict(X),
            "least squares": LinearRegression().fit(X, y, counts).predict(X),
            "ridge": Ridge().fit(X, y, counts).predict(X),
        }
        for name, prediction in predictions.items():
            errors[name].append(float(np.mean((prediction - phones.true_share) ** 2)))
    # 87 to 93% is what the defaults promise; the slopes of one fit are dependent, so each seed counts once.
    rate = np.mean(hits, axis=1)
    error = rate.std() / np.sqrt(len(rate))
    assert 0.87 - 4.0 * error < rate.mean() < 0.93 + 4.0 * error, (rate.mean(), error)
    rmse = {name: np.sqrt(np.mean(squares)) for name, squares in errors.items()}
    assert rmse["ours"] < 1.1 * min(rmse["least squares"], rmse["ridge"]), rmse


def median_count_19(seed: int, n: int = 2000) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1.0, 1.0, size=(n, 4))
    share = 0.2 + X @ [0.05, -0.03, 0.02, 0.0]
    counts = np.maximum(np.rint(np.exp(rng.normal(np.log(19.0), 1.0, n))), 1.0)
    return X, rng.binomial(counts.astype(int), share) / counts, counts, share


def test_errors_at_observed_shares_bias_the_fit_and_at_fitted_shares_do_not() -> None:
    bias: dict[str, list[float]] = {"observed": [], "fitted": []}
    rmse: dict[str, list[float]] = {"observed": [], "fitted": []}
    for seed in range(20):
        X, y, counts, share = median_count_19(seed)
        for count_error in ("observed", "fitted"):
            model = Regressor(weight_type="counts", count_error=count_error, error_floor=0.005)
            error = model.fit(X, y, counts).predict(X) - share
            bias[count_error].append(float(error.mean()))
            rmse[count_error].append(float(np.sqrt(np.mean(error**2))))
    # Small shares get small errors and pull the fit down, by far more than its uncertainty.
    assert np.mean(bias["observed"]) < -0.01
    assert abs(np.mean(bias["fitted"])) < 4.0 * np.std(bias["fitted"]) / np.sqrt(20)
    assert np.mean(rmse["fitted"]) < 0.35 * np.mean(rmse["observed"])


def test_new_shares_fall_inside_their_intervals_whatever_the_count() -> None:
    inside: dict[int, list[Any]] = {5: [], 50: [], 1000: []}
    for seed in range(100):
        train = make_role_modeling(300, random_state=seed)
        test = make_role_modeling(20, random_state=10_000 + seed)
        model = BayesianErrorsInVariablesRegressor(weight_type="counts").fit(
            train.data, train.target, train.counts
        )
        rng = np.random.default_rng(seed)
        for n, hits in inside.items():
            share = rng.binomial(n, test.true_share) / n
            limits = model.predict_interval(test.data, 0.9, counts=n)
            hits.append((limits[:, 0] <= share) & (share <= limits[:, 1]))
    # A normal distribution stands for a discrete one: rows of few messages may be covered a little too often.
    for n, hits in inside.items():
        assert 0.87 < np.mean(hits) < 0.96, (n, np.mean(hits))
