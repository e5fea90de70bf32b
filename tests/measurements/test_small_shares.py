"""Errors of shares however small they are, and lines that leave 0 to 1."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import distributed
from bayes_sklearn.datasets import make_role_modeling

from plain import Regressor

Array = np.ndarray[Any, np.dtype[np.float64]]


def test_a_thousandth_of_the_share_of_a_thousand_times_the_count_is_as_certain() -> None:
    # Of few successes among many trials it matters how many there are, (13).
    phones = make_role_modeling(random_state=0, mean_share=0.01, messages=(20, 20_000), as_frame=False)
    for settings in ({}, {"count_error": "observed"}, {"noise": "known"}):
        model = Regressor(weight_type="counts", **settings)
        found = []
        for factor in (1.0, 1e3):
            y, counts = phones.target / factor, phones.counts * factor
            model.fit(phones.data, y, counts)
            std = model.predict(phones.data, return_std=True, counts=counts)[1]
            found.append(np.concatenate([model.coef_, model.coef_std_, std]) * factor)
        # But for 1 - p.
        assert_allclose(found[0], found[1], rtol=0.05)


@pytest.mark.parametrize("mean_share", [1e-3, 1e-5])
@pytest.mark.parametrize("overdispersion", [0.0, 0.1])
def test_intervals_of_slopes_of_small_shares_cover(mean_share: float, overdispersion: float) -> None:
    # 88.8 to 91.1% of 400 data sets; the standard error here is 1.3%. One false alarm in 1e3 runs.
    covered = []
    for seed in range(100):
        phones = make_role_modeling(
            mean_share=mean_share,
            messages=(int(0.05 / mean_share), int(50.0 / mean_share)),
            overdispersion=overdispersion * mean_share,
            random_state=seed,
            as_frame=False,
        )
        model = Regressor(weight_type="counts").fit(phones.data, phones.target, phones.counts)
        limits = model.summary(0.9).iloc[1:-1, -2:].to_numpy()
        covered.append(np.mean((limits[:, 0] <= phones.coef) & (phones.coef <= limits[:, 1])))
    assert 0.85 < np.mean(covered) < 0.95


def logistic(n: int = 300) -> tuple[Array, Array, Array]:
    """Shares whose log odds are linear, down to nothing."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    counts = rng.integers(20, 200, n).astype(np.float64)
    return X, rng.binomial(counts.astype(int), 1.0 / (1.0 + np.exp(2.0 - 2.0 * X[:, 0]))) / counts, counts


# That the line is no model of these shares shows in their errors, too, and in what readings would have to be.
TOO_SMALL = pytest.mark.filterwarnings("ignore:The stated errors look too small", "ignore:Some readings")
OUTSIDE = "The line lies outside 0 to 1 at .* likelihood='beta_binomial' or 'binomial'"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"count_error": "observed"},
        {"noise": "additive"},
        {"noise": "known"},
        {"likelihood": "student_t", "random_state": 0},
        {"error_floor": 0.01},
    ],
)
@pytest.mark.parametrize("turned", [False, True])
@TOO_SMALL
def test_a_line_that_leaves_0_to_1_warns(settings: dict[str, Any], turned: bool) -> None:
    X, y, counts = logistic()
    if turned:
        y = 1.0 - y
    model = Regressor(weight_type="counts", **settings)
    with pytest.warns(UserWarning, match=OUTSIDE) as said:
        model.fit(X, y, counts)
    (message,) = (str(one.message) for one in said if "outside 0 to 1" in str(one.message))
    assert len(message) <= 400
    n_rows, worst = (
        int(message.split("at ")[1].split()[0]),
        float(message.split("at worst at ")[1].split()[0]),
    )
    share = model.predict(X)
    # Errors settle to a thousandth.
    assert abs(n_rows - np.count_nonzero((share < 0.0) | (share > 1.0))) <= 2
    furthest = share.max() if turned else share.min()
    assert_allclose(worst, furthest, rtol=0.05)


def test_a_line_that_leaves_0_to_1_warns_over_blocks() -> None:
    X, y, counts = logistic()
    blocks = [(X[rows], y[rows], counts[rows]) for rows in (slice(0, 100), slice(100, 300))]
    for settings in ({}, {"noise": "known"}):
        with pytest.warns(UserWarning, match=OUTSIDE):
            distributed.fit(Regressor(weight_type="counts", **settings), blocks)


@TOO_SMALL
def test_with_errors_of_features_it_is_the_line_of_what_was_measured() -> None:
    X, y, counts = logistic()
    with pytest.warns(UserWarning, match=OUTSIDE):
        Regressor(weight_type="counts", random_state=0).fit(X, y, counts, X_err=[0.2, 0.0])


@pytest.mark.parametrize("count_error", ["fitted", "observed"])
def test_what_does_not_matter_does_not_warn(count_error: str) -> None:
    # Of the README's phones, of small shares, and of a line that goes to 0 no fit warns.
    rng = np.random.default_rng(0)
    model = Regressor(weight_type="counts", count_error=count_error)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mean_share in (0.15, 0.01):
            phones = make_role_modeling(random_state=0, mean_share=mean_share)
            model.fit(phones.data, phones.target, phones.counts)
        x = rng.uniform(0.0, 1.0, (400, 1))
        counts = rng.integers(2, 200, 400)
        y = rng.binomial(counts, 0.3 * x[:, 0]) / counts
        for n in (40, 400):
            model.fit(x[:n], y[:n], counts[:n])
    # A row that is left out lies where it likes.
    X, y, counts = np.vstack([x, [[-9.0]]]), np.append(y, 0.0), np.append(counts, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y, counts)
        assert model.predict(X).min() < -1.0
