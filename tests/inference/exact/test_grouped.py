"""Effects of groups, and all else beside them, are what brute force finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import BayesianErrorsInVariablesRegressor, HalfCauchy, HalfStudentT, Normal

from dense_groups import GroupModel, GroupPosterior, group_sets, indicators, scatter_density
from oracle import half_normal, half_student_t
from published_groups import BCG, EIGHT_SCHOOLS, random_effects_reml

NOISE, TAU = half_normal(1.0).logpdf, half_student_t(3.0, 1.0).logpdf

# What differs by more than so many posterior standard deviations is wrong, on lattices and of weighted points.
ON_GRID, WEIGHTED = 4e-3, 4e-2


def table() -> tuple[pd.DataFrame, Any, Any]:
    rng = np.random.default_rng(3)
    school = np.array([0] * 6 + [1] * 6 + [2] * 6 + [3] * 5 + [4] * 4 + [5] * 2 + [6])
    n = len(school)
    batch, x, error = rng.integers(0, 3, n), rng.normal(size=n), rng.uniform(0.3, 1.0, n)
    y = 0.5 * x + 0.7 * rng.normal(size=7)[school] + 0.3 * rng.normal(size=3)[batch]
    y = y + error * rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "school": [f"a{i}" for i in school], "batch": batch})
    return frame, y, error


class Case:
    """A model, fitted and by brute force."""

    def __init__(self, noise: str, columns: list[str], slopes: dict[str, list[str]], sd: float = np.inf):
        frame, y, error = table()
        self.frame, self.y = frame[["x", *columns]], y
        self.given = {} if noise == "scaled" else {"y_err": error}
        self.model = BayesianErrorsInVariablesRegressor(
            group_column=columns,
            group_slopes=slopes,
            noise=noise if self.given else "auto",
            coef_prior=Normal(0.0, 1.0),
            intercept_prior=None if np.isinf(sd) else Normal(0.0, sd),
            standardize=False,
        ).fit(self.frame, y, **self.given)
        sets: list[Any] = []
        for column in columns:
            sets.append(indicators(frame[column]))
            sets += [indicators(frame[column], frame[name]) for name in slopes.get(column, [])]
        densities = {
            "known": (),
            "scaled": (NOISE,),
            "additive": (NOISE,),
            "auto": (NOISE, scatter_density(error)),
        }
        design, errors = (
            np.column_stack([np.ones(len(y)), frame["x"]]),
            error if self.given else np.ones(len(y)),
        )
        self.dense = GroupModel(
            y, design, np.array([sd, 1.0]), tuple(sets), (TAU,) * len(sets), errors, noise, densities[noise]
        )
        self.sets, self.error = sets, error

    def effects(self, values: Any, found: GroupPosterior) -> Any:
        return np.concatenate([values[found.effects(k)] for k in range(len(self.sets))])


CASES: dict[str, tuple[str, list[str], dict[str, list[str]], float]] = {
    "known": ("known", ["school"], {}, ON_GRID),
    "scaled": ("scaled", ["school"], {}, ON_GRID),
    "additive": ("additive", ["school"], {}, ON_GRID),
    "auto": ("auto", ["school"], {}, ON_GRID),
    "slopes": ("known", ["school"], {"school": ["x"]}, ON_GRID),
    "scaled slopes": ("scaled", ["school"], {"school": ["x"]}, ON_GRID),
    "crossed": ("known", ["school", "batch"], {}, ON_GRID),
    "crossed slopes": ("known", ["school", "batch"], {"school": ["x"]}, WEIGHTED),
}
SLOW = ("auto", "scaled slopes", "crossed slopes")


@pytest.mark.parametrize("name", [pytest.param(c, marks=[pytest.mark.thorough] * (c in SLOW)) for c in CASES])
def test_posterior_is_brute_force_s(name: str) -> None:
    noise, columns, slopes, close = CASES[name]
    case = Case(noise, columns, slopes)
    model, found = case.model, case.dense.integrate()
    mean, sd = found.mean(), np.sqrt(np.diag(found.covariance()))
    assert model.inference_ == "exact"
    assert_allclose(model.intercept_, mean[0], atol=close * sd[0])
    assert_allclose(model.coef_[0], mean[1], atol=close * sd[1])
    assert_allclose(model.coef_std_[0], sd[1], rtol=close)
    assert_allclose(model.log_marginal_likelihood_, found.log_evidence, atol=close)
    effects, deviation = model.group_effects_, case.effects(sd, found)
    away = (effects["mean"] - case.effects(mean, found)) / deviation
    assert np.abs(away).max() < close
    # Of a grouping of three groups the standard deviation is hardly known: its effects' tails are long.
    assert_allclose(effects["sd"], deviation, rtol=5.0 * close)
    mixture = found.coefficients()
    for level, limit in ((0.025, "lower_95%"), (0.975, "upper_95%")):
        away = (effects[limit] - case.effects(mixture.quantile(level), found)) / deviation
        assert np.abs(away).max() < 2.0 * close
    summary = model.summary()
    stds = [row for row in summary.index if row.startswith("group_std")]
    for scale in found.scales:
        row = stds[int(scale[4:])] if scale.startswith("tau") else scale
        of_scale = found.scale_moments(scale)
        assert_allclose(summary["mean"][row], of_scale[0], atol=3.0 * close * of_scale[1])
        assert_allclose(summary["sd"][row], of_scale[1], rtol=10.0 * close)
    assert_allclose(model.group_std_, summary["mean"][stds])


@pytest.mark.parametrize(
    "name", ["known", "scaled", pytest.param("auto", marks=pytest.mark.thorough), "crossed"]
)
def test_predictions_of_known_and_new_groups_are_brute_force_s(name: str) -> None:
    noise, columns, slopes, close = CASES[name]
    case = Case(noise, columns, slopes)
    found = case.dense.integrate()
    new = case.frame.iloc[[0, 20, 29, 3]].copy()
    new["school"] = new["school"].astype(object)
    new.iloc[3, new.columns.get_loc("school")] = None
    effects = [Z[[0, 20, 29, 3]].copy() for Z in case.sets]
    effects[0][3] = 0.0
    design = case.dense.design[[0, 20, 29, 3]]
    beside = [np.array([0.0, 0.0, 0.0, float(k == 0)]) for k in range(len(effects))]
    given = {"y_err": 0.4} if case.given else {}
    mixture = found.predictive(design, effects, beside, error=0.4 if given else 1.0)
    distribution = case.model.predict_distribution(new, **given)
    deviation = np.sqrt(mixture.var())
    assert_allclose(distribution.mean(), mixture.mean(), atol=(close * deviation).max())
    assert_allclose(distribution.std(), deviation, rtol=2.0 * close)
    assert_allclose(
        distribution.cdf(mixture.mean() + deviation), mixture.cdf(mixture.mean() + deviation), atol=close
    )
    parts = distribution.variance_parts
    assert_allclose(sum(parts.values()), distribution.var())
    if len(columns) == 1:
        tau = (found.weights * found.scales["tau_0"] ** 2).sum()
        assert_allclose(parts["groups"][3], tau, rtol=0.02)
    line = case.model.predict_distribution(new, include_noise=False)
    assert_allclose(line.var(), parts["parameters"] + parts["groups"])


@pytest.mark.parametrize("name", ["known", "scaled", pytest.param("crossed", marks=pytest.mark.thorough)])
def test_leave_one_out_is_that_of_integrals_without_rows(name: str) -> None:
    noise, columns, slopes, close = CASES[name]
    case = Case(noise, columns, slopes, sd=5.0)
    rows = [0, 12, 27, 29]  # the last is alone in its group
    found = case.model.loo(case.frame, case.y, **case.given)
    by_row = np.asarray(found.loo_i if hasattr(found, "elpd_loo") else found.elpd_i)
    assert_allclose(by_row[rows], case.dense.left_out([[i] for i in rows]), atol=0.2 * close)
    of_groups = case.model.loo(case.frame, case.y, leave_out="school", **case.given)
    values = np.asarray(of_groups.loo_i if hasattr(of_groups, "elpd_loo") else of_groups.elpd_i)
    assert_allclose(values, case.dense.left_out(group_sets(case.frame["school"])), atol=2.0 * close)
    transforms = case.model.loo_pit(case.frame, case.y, **case.given)
    without = case.dense.without([12]).integrate()
    left = without.predictive(
        case.dense.design[[12]], [Z[[12]] for Z in case.sets], error=case.error[[12]] if case.given else 1.0
    )
    assert_allclose(transforms[12], left.cdf(case.y[[12]])[0], atol=close)


def test_eight_schools_have_the_published_posterior() -> None:
    """posteriordb's reference draws: mu 4.4 (3.3), tau 3.6 (3.2)."""
    model = BayesianErrorsInVariablesRegressor(
        group_column="school",
        noise="known",
        group_prior=HalfCauchy(5.0),
        intercept_prior=Normal(0.0, 5.0),
        standardize=False,
    )
    frame = pd.DataFrame({"school": list("ABCDEFGH")})
    model.fit(frame, EIGHT_SCHOOLS.estimate, y_err=EIGHT_SCHOOLS.error)
    summary = model.summary()
    assert_allclose(summary.loc["intercept", ["mean", "sd"]], [4.4, 3.3], atol=0.06)
    assert_allclose(summary.loc["group_std[school]", ["mean", "sd"]], [3.6, 3.2], atol=0.06)


def test_trials_of_a_vaccine_agree_with_restricted_likelihood() -> None:
    model = BayesianErrorsInVariablesRegressor(
        group_column="trial", noise="known", group_prior=HalfStudentT(3.0)
    )
    frame = pd.DataFrame({"trial": np.arange(13)})
    model.fit(frame, BCG.estimate, y_err=BCG.error)
    reml = random_effects_reml(BCG)
    assert_allclose(model.intercept_, reml.mean[0], atol=0.1 * reml.error[0])
    # Its uncertainty is in the posterior, not in a restricted likelihood's errors.
    assert 1.0 < model.summary()["sd"]["intercept"] / reml.error[0] < 1.2
    new = model.predict_interval(pd.DataFrame({"trial": [None]}), include_noise=False)[0]
    assert new[0] < -1.8667
    assert new[1] > 0.4376


def test_prior_is_in_units_of_the_target_s_spread_and_error() -> None:
    """Studies that agree by chance do not make the prior of their differences narrow."""
    frame = pd.DataFrame({"trial": np.arange(13)})
    unit = np.hypot(BCG.estimate.std(), np.exp(np.log(BCG.error).mean()))
    found = []
    for standardize, sigma in ((True, 1.0), (False, unit)):
        model = BayesianErrorsInVariablesRegressor(
            group_column="trial", noise="known", standardize=standardize, group_prior=HalfStudentT(3.0, sigma)
        )
        found.append(model.fit(frame, BCG.estimate, y_err=BCG.error))
    assert_allclose(found[0].group_std_, found[1].group_std_, rtol=1e-6)
    assert_allclose(
        found[0].log_marginal_likelihood_ + np.log(BCG.estimate.std()), found[1].log_marginal_likelihood_
    )


@pytest.mark.parametrize("noise", ["known", "auto"])
def test_groups_that_do_not_differ_leave_the_plain_fit(noise: str) -> None:
    rng = np.random.default_rng(5)
    n = 400
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) % 40})
    y = frame["x"] + rng.normal(size=n)
    given = {"y_err": np.ones(n)} if noise == "known" else {}
    grouped = BayesianErrorsInVariablesRegressor(group_column="g", noise=noise).fit(frame, y, **given)
    plain = BayesianErrorsInVariablesRegressor(noise=noise).fit(frame[["x"]], y, **given)
    assert grouped.group_std_["g"] < 0.2
    assert_allclose(grouped.coef_, plain.coef_, atol=0.1 * plain.coef_std_[0])
    assert_allclose(grouped.coef_std_, plain.coef_std_, rtol=0.02)


def test_rows_may_come_in_any_order_and_labels_be_any() -> None:
    frame, y, error = table()
    model = BayesianErrorsInVariablesRegressor(group_column="school", group_slopes="x")
    found = model.fit(frame[["x", "school"]], y, y_err=error).summary()
    order = np.random.default_rng(0).permutation(len(y))
    other = (
        frame[["x", "school"]].iloc[order].assign(school=lambda rows: rows["school"].str[1:].astype(int) * 7)
    )
    again = model.fit(other, y[order], y_err=error[order]).summary()
    assert_allclose(again, found, rtol=1e-6, atol=1e-8)
