"""Readings below or above a limit: what rows say, held against integration, and what fits make of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import binom, norm
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.estimators.fitting import settle
from bayes_sklearn.estimators.reading import read, sampler_settings, specify
from bayes_sklearn.inference.importance import expanded_rows
from bayes_sklearn.inference.importance.engine import Units, row_problem
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.structural.mixture import MixtureProblem

Array = NDArray[np.float64]


def table(n: int, seed: int, below: float = 0.4) -> tuple[Array, Array, Array, Array]:
    """Return readings of a feature, their sides, targets and the feature itself."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3.0, 1.0, n)
    y = 1.0 + 2.0 * x + rng.normal(0.0, 1.0, n)
    limit = np.quantile(x, below)
    return np.maximum(x, limit)[:, None], np.where(x < limit, -1, 0)[:, None], y, x


def mixture_of(
    model: BayesianErrorsInVariablesRegressor,
    X: Array,
    y: Array,
    n_nodes: int = 128,
    *,
    weight: Any = None,
    of_target: Any = None,
    **given: Any,
) -> tuple[Problem, MixtureProblem, Units]:
    """Return the problem of a model's rows in the engine's terms, and its units."""
    data = read(model, X, y, weight, of_target or {}, given)
    settings = sampler_settings(model)
    problem = settle(data.rows, data.errors, specify(model, data), "auto", settings)
    return problem, *row_problem(problem, n_nodes, wider=1.3)


@pytest.mark.parametrize("likelihood", ["normal", "binomial"])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("error", [0.0, 0.4])
def test_density_of_rows_with_limits_is_the_integral_over_readings(
    likelihood: str, side: int, error: float
) -> None:
    """(67)"""
    X, sides, y, _ = table(12, 1)
    X, sides = side * -1.0 * X, side * -1 * sides
    y = y if likelihood == "normal" else (y > np.median(y)).astype(float)
    model = BayesianErrorsInVariablesRegressor(likelihood=likelihood, random_state=0)
    problem, mixture, units = mixture_of(model, X, y, X_censored=sides, X_err=error)
    rng = np.random.default_rng(0)
    points = 0.3 * rng.standard_normal((3, mixture.size))
    points[:, mixture.signed] = 0.8
    mixture = mixture.placed(points[0])
    found = mixture.row_log_density(points)
    parts = mixture.taken_apart(points)
    unit = units.noisy[0] * problem.scaling.x_scale[0]
    center, u = mixture.center, error / unit
    for g in range(len(points)):
        mu, T, m, line = parts.means[g, 0, 0], parts.covariances[g, 0, 0, 0], parts.m[g, 0], parts.line[g, 0]
        for i, reading in enumerate(X[:, 0]):
            w = (reading - problem.scaling.x_mean[0]) / unit - center[1][0]

            def density(
                w: float, i: int = i, g: int = g, mu: Any = mu, T: Any = T, m: Any = m, line: Any = line
            ) -> Any:
                gain = T / (T + u**2)
                mean, left = line + m * (mu + gain * (w - mu)), m**2 * T * (1.0 - gain)
                of_w = norm.pdf(w, mu, np.sqrt(T + u**2))
                if likelihood == "normal":
                    residual = (y[i] - problem.scaling.y_mean) / problem.scaling.y_scale - center[2]
                    return of_w * norm.pdf(residual, mean, np.sqrt(left + parts.noise_scale[g] ** 2))
                nodes, weights = np.polynomial.hermite_e.hermegauss(80)
                eta = mean + center[2] + np.sqrt(left) * nodes
                return (
                    of_w * (weights @ binom.pmf(y[i], 1, 1.0 / (1.0 + np.exp(-eta)))) / np.sqrt(2.0 * np.pi)
                )

            expected = density(w)
            if sides[i, 0]:
                sd = np.sqrt(T + u**2)
                ends = (min(w, mu) - 12.0 * sd, w) if sides[i, 0] < 0 else (w, max(w, mu) + 12.0 * sd)
                expected = unit * quad(density, *ends, epsabs=0.0, epsrel=1e-9, limit=200)[0]
            assert found[g, i] == pytest.approx(np.log(expected), abs=1e-6)


@pytest.mark.parametrize("likelihood", ["normal", "binomial"])
def test_rows_keep_what_is_their_own(likelihood: str) -> None:
    """In another order, and without those that count nothing, densities are the same."""
    rng, n = np.random.default_rng(6), 12
    x = rng.normal(size=n)
    x[2] = x.min() - 0.1  # one limit: likely values of several depend on their order
    sides, y = np.where(np.arange(n) == 2, -1.0, 0.0), x + rng.normal(size=n)
    own: dict[str, Any] = {"X_censored": sides[:, None], "X_err": rng.uniform(0.1, 0.5, (n, 1))}
    weight, of_target = rng.integers(1, 4, n) * (np.arange(n) % 5 > 0), {"y_err": rng.uniform(0.1, 2.0, n)}
    of_target |= {"y_censored": np.where(np.arange(n) % 4 == 1, 1.0, 0.0)}
    model = BayesianErrorsInVariablesRegressor(noise="known", weight_type="frequency")
    if likelihood == "binomial":
        weight, of_target = rng.integers(1, 9, n), {}
        y = rng.binomial(weight, 0.4) / weight
        model = BayesianErrorsInVariablesRegressor(likelihood="binomial", weight_type="counts")

    def mixture_in(order: NDArray[np.intp]) -> MixtureProblem:
        given, of_y = ({name: value[order] for name, value in of.items()} for of in (own, of_target))
        return mixture_of(model, x[order, None], y[order], 32, weight=weight[order], of_target=of_y, **given)[
            1
        ]

    every = np.flatnonzero(weight)
    first = mixture_in(np.arange(n))
    points = 0.3 * np.random.default_rng(0).standard_normal((3, first.size))
    placed = first.placed(points[0])
    expected = placed.row_log_density(points) * placed.counted(slice(None))
    for order in (every, np.roll(every, 3), rng.permutation(n)):
        other = replace(mixture_in(order), about=first).placed(points[0])
        found = other.row_log_density(points) * other.counted(slice(None))
        places = [int(np.flatnonzero(every == row)[0]) for row in order if row in every]
        np.testing.assert_allclose(found, expected[:, places], rtol=1e-8)


def test_limits_that_say_nothing_are_gaps() -> None:
    _, _, y, x = table(80, 2)
    gone = np.arange(80) % 4 == 0
    far = np.where(gone, 1e3, x)[:, None]
    limited = BayesianErrorsInVariablesRegressor(random_state=0).fit(far, y, X_censored=gone[:, None] * -1)
    absent = BayesianErrorsInVariablesRegressor(missing="model", random_state=0)
    absent.fit(np.where(gone, np.nan, x)[:, None], y)
    assert limited.inference_ == "importance"
    # Of a thousand effective nodes means differ by 0.03 standard deviations.
    np.testing.assert_allclose(limited.coef_, absent.coef_, atol=0.12 * absent.coef_std_[0])
    np.testing.assert_allclose(limited.coef_std_, absent.coef_std_, rtol=0.12)
    assert limited.noise_scale_ == pytest.approx(absent.noise_scale_, rel=0.03)


def test_frequencies_are_rows_that_stand_there_several_times() -> None:
    X, sides, y, _ = table(40, 3)
    times = 1 + np.arange(40) % 3
    model = BayesianErrorsInVariablesRegressor(weight_type="frequency", random_state=0)
    weighted = model.fit(X, y, sample_weight=times, X_censored=sides).coef_
    again = np.repeat(np.arange(40), times)
    repeated = model.fit(X[again], y[again], X_censored=sides[again])
    np.testing.assert_allclose(weighted, repeated.coef_, atol=0.1 * repeated.coef_std_[0])


def test_two_limits_in_a_row_and_an_exact_feature_beside_them() -> None:
    rng = np.random.default_rng(4)
    n = 200
    z = rng.normal(size=n)
    x = 0.5 * z[:, None] + rng.normal(size=(n, 2))
    y = 1.0 + x @ [1.0, -2.0] + z + rng.normal(0.0, 0.5, n)
    below = x < -0.6
    X = np.column_stack([np.where(below, -0.6, x), z])
    sides = np.column_stack([-1.0 * below, np.zeros(n)])
    model = BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, X_censored=sides)
    assert below.all(axis=1).any()
    # Four standard deviations are missed once in 16 000.
    assert (np.abs(model.coef_ - [1.0, -2.0, 1.0]) < 4.0 * model.coef_std_).all()
    assert (model.coef_std_ < 0.1).all()


def test_rows_of_a_fit_with_limits_are_judged_with_them() -> None:
    X, sides, y, _ = table(20, 5)
    model = BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, X_censored=sides)
    with pytest.raises(ValueError, match="fitted with X_censored"):
        model.loo(X, y)


@pytest.mark.parametrize(
    ("likelihood", "noise"), [("normal", 1e-3), pytest.param("student_t", 0.03, marks=pytest.mark.thorough)]
)
def test_nodes_go_where_a_target_with_little_noise_says_that_readings_are(
    likelihood: str, noise: float
) -> None:
    """Then rows with limits say hardly less than if they had been measured."""
    rng = np.random.default_rng(1)
    x = rng.normal(3.0, 1.0, 40)
    y = 1.0 + 2.0 * x + noise * rng.normal(size=40)
    X, sides = np.maximum(x, 2.5)[:, None], np.where(x < 2.5, -1.0, 0.0)[:, None]
    model = BayesianErrorsInVariablesRegressor(likelihood=likelihood, random_state=0)
    # No warning: all is resolved.
    limited = model.fit(X, y, X_censored=sides)
    assert abs(limited.coef_[0] - 2.0) < 4.0 * limited.coef_std_[0]
    assert limited.coef_std_[0] < noise


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_placeholders_of_limits_are_noticed(side: float) -> None:
    x = np.linspace(0.0, 1.0, 12)[:, None]
    sides = np.where(np.arange(12) == 0, side, 0.0)[:, None]
    X = np.where(sides != 0.0, side * 999.0, x)
    model = BayesianErrorsInVariablesRegressor(likelihood="normal", random_state=0)
    with pytest.warns(UserWarning, match=r"'x0' lie beyond -?999, far from all.*no placeholder") as caught:
        read(model, X, np.arange(12.0), None, {}, {"X_censored": sides})
    assert len(str(caught[0].message)) <= 400
    # A limit that says nothing is none that says much.
    read(model, -X, np.arange(12.0), None, {}, {"X_censored": sides})


def test_what_is_not_resolved_says_so_and_sends_nobody_to_nuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanded_rows, "_RESOLVED", -1.0)
    X, sides, y, _ = table(20, 5)
    with pytest.warns(ConvergenceWarning, match="X_censored says are limits are not resolved") as caught:
        BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, X_censored=sides)
    said = str(caught[0].message)
    assert "nuts" not in said.lower()
    assert said.endswith("Use the rows alone whose readings were measured.")
    assert len(said) <= 400


@pytest.mark.thorough
def test_slopes_are_those_behind_the_limits() -> None:
    slopes, errors, covered, halved = [], [], 0, []
    for seed in range(40):
        X, sides, y, _ = table(150, 100 + seed)
        model = BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, X_censored=sides)
        slopes.append(model.coef_[0])
        errors.append(model.coef_std_[0])
        covered += abs(model.coef_[0] - 2.0) < 1.645 * model.coef_std_[0]
        half = np.where(sides < 0, X / 2.0, X)
        halved.append(BayesianErrorsInVariablesRegressor().fit(half, y).coef_[0])
    standard = np.mean(errors) / np.sqrt(40)
    # Three standard errors are passed by once in 370; of 40 intervals of 90 % 31 or more hold but once in 2000.
    assert abs(np.mean(slopes) - 2.0) < 3.0 * standard
    assert abs(np.mean(halved) - 2.0) > 6.0 * standard
    assert covered >= 31
