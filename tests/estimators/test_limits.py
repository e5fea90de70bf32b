"""Targets of which limits were seen: against maximum likelihood, NUTS, integrals and simulations."""

from __future__ import annotations

import warnings
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import optimize, special, stats
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Flat, Normal, StudentTLikelihood, audit_errors
from bayes_sklearn.displays import PredictionDisplay, RegressionLineDisplay
from bayes_sklearn.likelihoods.base import Observations
from bayes_sklearn.likelihoods.registry import resolve_likelihood
from bayes_sklearn.measurements.limits import resolve_limits
from bayes_sklearn.metrics import SCORERS
from bayes_sklearn.validation import simulation_based_calibration

Array = NDArray[np.float64]


def table(seed: int, n: int, limit: float = 0.28, slope: float = 1.0) -> tuple[Array, Array, Array, float]:
    """Return features, targets of which a part lies below a detection limit, on which side, and the limit."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    y = 0.5 + X @ [slope, -0.5] + rng.normal(size=n)
    at = float(np.quantile(y, limit))
    return X, np.maximum(y, at), np.where(y < at, -1, 0), at


FLAT: dict[str, Any] = {"coef_prior": Flat(), "intercept_prior": Flat()}


@pytest.mark.parametrize("likelihood", ["normal", StudentTLikelihood(nu=5)], ids=["normal", "student_t"])
def test_maximum_likelihood_agrees(likelihood: Any) -> None:
    """Of 3,000 rows under flat priors means are modes but for some hundredths of a standard error."""
    X, y, censored, _ = table(0, 3000)
    design, below = np.column_stack([np.ones(len(X)), X]), censored < 0
    noise = stats.norm() if likelihood == "normal" else stats.t(5)

    def loss(place: Array) -> float:
        z = (y - design @ place[:3]) / np.exp(place[3])
        return -float(noise.logcdf(z[below]).sum() + (noise.logpdf(z[~below]) - place[3]).sum())

    found = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-4})
    model = Regressor(likelihood=likelihood, random_state=0, **FLAT).fit(X, y, y_censored=censored)
    assert model.inference_ == "importance"
    own = np.append(model.intercept_, model.coef_)
    assert_allclose((own - found.x[:3]) / np.append(model.coef_std_[:1], model.coef_std_), 0.0, atol=0.1)
    assert_allclose(model.coef_std_, np.sqrt(np.diag(found.hess_inv))[1:3], rtol=0.08)
    assert_allclose(model.noise_scale_, np.exp(found.x[3]), rtol=0.01)
    # Left out, or taken for values, they bend the line.
    assert Regressor(likelihood=likelihood).fit(X[~below], y[~below]).coef_[0] < 0.92
    assert Regressor(likelihood=likelihood).fit(X, y).coef_[0] < 0.85


@pytest.mark.parametrize("side", [-1, 1])
def test_a_grid_has_the_posterior(side: int) -> None:
    """Of a mean alone, known errors: its posterior is an integral in one dimension."""
    y, y_err = np.array([0.2, 0.9, 1.4, 0.5, 0.5]), np.array([0.5, 0.4, 0.6, 0.5, 0.3])
    censored = np.array([0, 0, 0, side, side])
    model = Regressor(
        noise="known",
        intercept_prior=Normal(0.0, 2.0),
        coef_prior=Normal(0.0, 1e-6),
        standardize=False,
        random_state=0,
    ).fit(np.arange(5.0)[:, None], y, y_err=y_err, y_censored=censored)
    mean = np.linspace(-8.0, 8.0, 20_001)
    z = (y[:, None] - mean) / y_err[:, None]
    log = stats.norm.logpdf(mean, 0.0, 2.0) + (stats.norm.logpdf(z[:3]) - np.log(y_err[:3, None])).sum(axis=0)
    log += stats.norm.logcdf(-side * z[3:]).sum(axis=0)
    weight = np.exp(log - log.max())
    expected = weight @ mean / weight.sum()
    sd = np.sqrt(weight @ np.square(mean - expected) / weight.sum())
    row = model.summary().loc["intercept"]
    assert_allclose(row["mean"], expected, atol=0.03 * sd)
    assert_allclose(row["sd"], sd, rtol=0.03)
    evidence = np.log(weight.sum() * (mean[1] - mean[0]))
    assert_allclose(model.log_marginal_likelihood_, evidence + log.max(), atol=0.02)


def test_intervals_are_what_rounding_leaves() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 1))
    y = 1.0 + x[:, 0] + 0.3 * rng.normal(size=400)
    lower = np.floor(y)
    model = Regressor(random_state=0).fit(x, lower, y_upper=lower + 1.0)
    exact = Regressor().fit(x, y)
    assert abs(model.coef_[0] - exact.coef_[0]) < 3.0 * model.coef_std_[0]
    assert abs(model.intercept_ - exact.intercept_) < 0.06
    assert_allclose(model.noise_scale_, exact.noise_scale_, rtol=0.15)
    assert model.coef_std_[0] > exact.coef_std_[0]
    # Of no width they are measurements.
    same = Regressor().fit(x, y, y_upper=y)
    assert same.inference_ == "exact"
    assert_allclose(same.coef_, exact.coef_)


COUNTED = {
    "poisson": (lambda line, rng: rng.poisson(np.exp(line)).astype(float), {}),
    "negative_binomial": (
        lambda line, rng: rng.poisson(np.exp(line) * rng.gamma(4.0, 0.25, len(line))).astype(float),
        {},
    ),
    "binomial": (
        lambda line, rng: rng.binomial(9, special.expit(line)) / 9.0,
        {"sample_weight": np.full(1500, 9.0)},
    ),
    "beta_binomial": (
        lambda line, rng: (
            rng.binomial(9, rng.beta(9.0 * special.expit(line), 9.0 * special.expit(-line))) / 9.0
        ),
        {"sample_weight": np.full(1500, 9.0)},
    ),
}


@pytest.mark.parametrize("likelihood", COUNTED)
def test_limits_of_counts(likelihood: str) -> None:
    """Counts of two or fewer are known to be that, and some only from a count on; slopes are within 4 sds."""
    draw, given = COUNTED[likelihood]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1500, 1))
    y = draw(0.5 + 0.7 * x[:, 0], rng)
    low, high = np.quantile(y, [0.3, 0.8])
    censored = np.where(y <= low, -1, np.where(y > high, 1, 0))
    seen = np.where(censored < 0, low, np.where(censored > 0, high, y))
    kind = "counts" if given else "frequency"
    model = Regressor(likelihood=likelihood, weight_type=kind, random_state=0).fit(
        x, seen, **given, y_censored=censored
    )
    assert abs(model.coef_[0] - 0.7) < 4.0 * model.coef_std_[0]
    assert abs(model.intercept_ - 0.5) < 0.2
    assert abs(Regressor(likelihood=likelihood, weight_type=kind).fit(x, seen, **given).coef_[0] - 0.7) > 0.1


@pytest.mark.parametrize("likelihood", ["normal", "student_t", "binomial"])
def test_beside_errors_of_features(likelihood: str) -> None:
    """X_err of next to nothing gives the fit without; and of much the slope is undone of it."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=800)
    given: dict[str, Any] = {}
    if likelihood == "binomial":
        y, given = rng.binomial(12, special.expit(x)) / 12.0, {"sample_weight": np.full(800, 12.0)}
    else:
        y = 1.0 + x + 0.5 * rng.normal(size=800)
    limit = np.quantile(y, 0.3)
    censored, y = np.where(y <= limit, -1, 0), np.maximum(y, limit)
    kind = "counts" if given else "frequency"
    model = Regressor(likelihood=likelihood, weight_type=kind, random_state=0)
    exact = model.fit(x[:, None], y, **given, y_censored=censored)
    coef, sd = exact.coef_[0], exact.coef_std_[0]
    nearly = model.fit(x[:, None], y, **given, y_censored=censored, X_err=1e-4)
    assert abs(nearly.coef_[0] - coef) < 0.15 * sd
    w = x + 0.7 * rng.normal(size=800)
    noisy = model.fit(w[:, None], y, **given, y_censored=censored, X_err=0.7)
    assert abs(noisy.coef_[0] - 1.0) < 3.5 * noisy.coef_std_[0]
    assert noisy.inference_ == "importance"


@pytest.mark.thorough
@pytest.mark.parametrize("likelihood", ["binomial", "negative_binomial", "beta"])
def test_nuts_agrees_of_counts(likelihood: str) -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(120, 1))
    line, trials = 0.5 + 0.7 * X[:, 0], rng.integers(5, 30, 120)
    given: dict[str, Any] = {}
    if likelihood == "binomial":
        y, given["sample_weight"] = rng.binomial(trials, special.expit(line)) / trials, trials
        given["y_upper"] = np.where(rng.random(120) < 0.3, np.minimum(y + 3.0 / trials, 1.0), np.nan)
    elif likelihood == "beta":
        y = rng.beta(5.0 * special.expit(line), 5.0 * special.expit(-line))
        y, given["y_censored"] = np.maximum(y, 0.3), np.where(y < 0.3, -1, 0)
    else:
        rate = np.exp(line) * (1.0 if likelihood == "poisson" else rng.gamma(2.0, 0.5, 120))
        y = rng.poisson(rate)
        y, given["y_censored"] = np.minimum(y, 4), np.where(y > 4, 1, 0)
    means, sds = [], []
    for engine in ("importance", "nuts"):
        model = Regressor(
            likelihood=likelihood, inference=engine, random_state=0, nuts_kwargs={"target_accept": 0.95}
        ).fit(X, y, **given)
        means.append(np.append(model.coef_, model.intercept_))
        sds.append(model.coef_std_[0])
    assert_allclose((means[0] - means[1]) / sds[0], 0.0, atol=0.12)
    assert_allclose(sds[0], sds[1], rtol=0.1)


@pytest.mark.thorough
@pytest.mark.parametrize(("likelihood", "x_err"), [("normal", 0.5), ("student_t", None)])
def test_nuts_agrees(likelihood: str, x_err: float | None) -> None:
    X, y, censored, _ = table(2, 150)
    upper = np.where(np.arange(150) % 5 == 0, y + 1.0, np.nan)
    upper[censored < 0] = np.nan
    errors = {} if x_err is None else {"X_err": [x_err, 0.0]}
    rows = []
    for engine in ("importance", "nuts"):
        model = Regressor(likelihood=likelihood, inference=engine, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y, y_censored=censored, y_upper=upper, **errors)
        rows.append(model.summary().loc[["intercept", "x0", "x1", "noise_scale"], ["mean", "sd"]].to_numpy())
    assert_allclose((rows[0][:, 0] - rows[1][:, 0]) / rows[0][:, 1], 0.0, atol=0.12)
    assert_allclose(rows[0][:, 1], rows[1][:, 1], rtol=0.1)


def test_the_model_in_pymc_has_the_density() -> None:
    """Differences of its log density are those of the likelihood and the priors, by SciPy."""
    X, y, censored, _ = table(4, 30)
    weight = np.where(np.arange(30) % 4 == 0, 2.0, 1.0)
    model = Regressor(noise="scaled", coef_prior=Normal(), intercept_prior=Normal(), standardize=False)
    built = model.to_pymc(X, y, weight, y_censored=censored)
    names = [variable.name for variable in built.free_RVs]
    assert set(names) == {"coef", "intercept", "sigma"}
    log_density = built.compile_logp(jacobian=False)
    found, expected = [], []
    for place in ([0.1, 0.5, -0.3, 0.8], [-0.4, 1.2, 0.2, 1.5]):
        point = {"intercept": np.array(place[0]), "coef": np.array(place[1:3])}
        point["sigma_log__"] = np.log(place[3])
        point = {value.name: point[value.name] for value in built.value_vars}
        found.append(float(log_density(point)))
        z = (y - place[0] - X @ place[1:3]) / place[3]
        rows = np.where(censored < 0, stats.norm.logcdf(z), stats.norm.logpdf(z) - np.log(place[3]))
        priors = stats.norm.logpdf(place[:3]).sum() + stats.halfnorm.logpdf(place[3])
        expected.append(weight @ rows + priors)
    assert_allclose(found[0] - found[1], expected[0] - expected[1], atol=1e-6)


def test_what_is_left_out_is_a_probability() -> None:
    """Leave-one-out of limits, from refits: the log probability of what was seen."""
    X, y, censored, _ = table(6, 40)
    model = Regressor(random_state=0).fit(X, y, y_censored=censored)
    loo = model.loo(X, y, y_censored=censored)
    values = np.asarray(loo.loo_i if hasattr(loo, "loo_i") else loo.elpd_i)
    for row in (int(np.flatnonzero(censored)[0]), int(np.flatnonzero(censored == 0)[0])):
        rest = np.arange(40) != row
        other = Regressor(random_state=0).fit(X[rest], y[rest], y_censored=censored[rest])
        there = other.predict_distribution(X[row : row + 1])
        expected = np.log(there.cdf(y[row])) if censored[row] else there.logpdf(y[row])
        assert_allclose(values[row], float(np.ravel(expected)[0]), atol=0.08)
    transforms = model.loo_pit(X, y, y_censored=censored)
    assert stats.kstest(transforms, "uniform").pvalue > 1e-3


def test_columns_are_split_and_scored_with_their_rows() -> None:
    X, y, censored, _ = table(7, 300)
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(side=censored)
    model = Regressor(y_censored_column="side").fit(frame, y)
    assert model.coef_names_.tolist() == ["a", "b"]
    assert_allclose(model.coef_, Regressor().fit(X, y, y_censored=censored).coef_, rtol=0.05)
    distribution = model.predict_distribution(frame)
    score = SCORERS["log_predictive_density"](model, frame, y)
    below = censored < 0
    expected = np.where(below, np.log(distribution.cdf(y)), distribution.logpdf(y)).mean()
    assert_allclose(score, expected, rtol=1e-9)
    known = frame[~below].assign(side=0)
    assert_allclose(model.score(frame, y), model.score(known, y[~below]), rtol=1e-12)
    assert_allclose(
        SCORERS["neg_crps"](model, frame, y), SCORERS["neg_crps"](model, known, y[~below]), rtol=1e-9
    )
    assert np.isfinite(cross_val_score(model, frame, y, cv=3)).all()


@pytest.mark.thorough
def test_coverage_on_kellys_design() -> None:
    """Linear regression of detections and 30% upper limits, both axes measured (Kelly 2007, ApJ 665:1489).

    90% intervals of the slope in 100 tables: below 79 or above 98 by chance once in a thousand.
    """
    held = []
    for seed in range(100):
        rng = np.random.default_rng([seed, 9])
        x = np.log(rng.gamma(2.0, 1.0, 100) + 0.2)
        y = 1.0 + 0.5 * x + 0.3 * rng.normal(size=100)
        x_err, y_err = (np.sqrt(0.1 * 5.0 / rng.chisquare(5.0, 100)) for _ in range(2))
        w, seen = x + x_err * rng.normal(size=100), y + y_err * rng.normal(size=100)
        limit = np.quantile(seen, 0.3)
        censored = np.where(seen < limit, -1, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Regressor(inference="importance", random_state=0).fit(
                w[:, None], np.maximum(seen, limit), y_err=y_err, X_err=x_err[:, None], y_censored=censored
            )
        row = model.summary(0.9).iloc[1]
        held.append(row.iloc[2] < 0.5 < row.iloc[3])
    assert 79 <= sum(held) <= 98


@pytest.mark.thorough
@pytest.mark.parametrize("case", ["normal", "student_t", "noisy", "binomial", "poisson"])
def test_true_values_rank_evenly(case: str) -> None:
    """One family of p values in a thousand is below 1e-3 by chance."""
    n = 12
    X = np.column_stack([np.linspace(-1.0, 1.0, n), np.cos(np.arange(n))])
    censored = np.where(np.arange(n) % 3 == 0, -1, np.where(np.arange(n) % 5 == 1, 1, 0))
    y, given = np.where(censored < 0, 0.3, 0.0), {}
    likelihood = case if case in ("student_t", "binomial", "poisson") else "normal"
    if case == "binomial":
        y, given = np.select([censored < 0, censored > 0], [2.0, 5.0], 3.0) / 7.0, {"counts": np.full(n, 7.0)}
    elif case == "poisson":
        y, given = np.where(censored < 0, 2.0, 4.0), {"exposure": 3.0}
    elif case == "noisy":
        given = {"X_err": [0.5, 0.0]}
    model = Regressor(
        likelihood=likelihood,
        coef_prior=Normal(),
        intercept_prior=Normal(),
        standardize=False,
        inference="importance",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = simulation_based_calibration(
            model, X, y=y, y_censored=censored, n_simulations=300, random_state=1, **given
        )
    assert not found.failures
    assert found.p_value > 1e-3


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"y_censored": np.full(8, 2)},
            ValueError,
            r"y_censored has to be -1 .* in 8 rows; y_censored\[0\] is 2",
        ),
        ({"y_censored": np.full(8, True)}, TypeError, "got booleans, which don't say on which side"),
        (
            {"y_censored": [0.0] * 7 + [np.nan]},
            ValueError,
            "y_censored contains NaN or infinity, first in row 7",
        ),
        ({"y_censored": [0.0] * 7}, ValueError, "y_censored has shape"),
        ({"y_upper": np.full(8, -9.0)}, ValueError, "y_upper is below y"),
        ({"y_upper": np.full(7, 9.0)}, ValueError, "y_upper must have one value per row"),
        ({"y_upper": ["a"] * 8}, TypeError, "y_upper must be numbers"),
        (
            {"y_upper": np.full(8, 9.0), "y_censored": [-1] + [0] * 7},
            ValueError,
            r"y_upper is given where y_censored is -1",
        ),
    ],
)
def test_bad_limits_are_named(given: dict[str, Any], error: type[Exception], message: str) -> None:
    X, y = np.arange(8.0)[:, None], np.arange(8.0)
    model = Regressor().fit(X, y)
    before = dict(model.__dict__)
    with pytest.raises(error, match=message) as caught:
        model.fit(X, y, **given)
    assert len(str(caught.value)) <= 400
    assert model.__dict__.keys() == before.keys()


def test_what_limits_bound_on_one_side_alone_is_refused() -> None:
    """Under the flat prior of the intercept, by default; not under a normal one, nor where others were measured."""
    X, y, _, _ = table(8, 30)
    below = np.full(30, -1)
    with pytest.raises(ValueError, match=r"bound it on one side alone. Use intercept_prior=Normal"):
        Regressor().fit(X, y, y_censored=below)
    Regressor(intercept_prior=Normal(), random_state=0).fit(X, y, y_censored=below)
    sides = np.where(y < np.median(y), 1, -1)
    Regressor(random_state=0).fit(X, y, y_censored=sides)
    with pytest.raises(ValueError, match="Use coef_prior=Normal"):
        Regressor(coef_prior=Flat(), fit_intercept=False).fit(np.exp(X), y, y_censored=below)


def test_the_unit_of_priors_is_what_a_normal_target_would_have() -> None:
    """By SciPy's maximum likelihood; and limits that say nothing, however far away, change nothing."""
    _, y, censored, _ = table(9, 3000)
    limits = resolve_limits(y, censored, None, None)
    assert limits is not None
    of = stats.CensoredData.left_censored(y, censored < 0)
    assert_allclose(limits.moments(y, None), stats.norm.fit(of), rtol=2e-3)
    far = np.where(np.arange(3000) % 2 == 0, -1, 0)
    seen = resolve_limits(np.where(far < 0, 1e9, y), far, None, None)
    assert seen is not None
    assert_allclose(seen.moments(np.where(far < 0, 1e9, y), None), (y[1::2].mean(), y[1::2].std()), rtol=1e-4)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial", "beta"])
def test_tails_keep_their_digits(likelihood: str) -> None:
    """Of counts and proportions as unlikely as 1e-40 on either side, by SciPy."""
    of = resolve_likelihood(likelihood)
    eta, values = np.full(2, -2.0), {} if likelihood == "poisson" else {"dispersion": np.full(2, 0.3)}
    noise = {
        "poisson": lambda: stats.poisson(50.0 * np.exp(-2.0)),
        "negative_binomial": lambda: stats.nbinom(1.0 / 0.3, 1.0 / (1.0 + 0.3 * 50.0 * np.exp(-2.0))),
        "beta": lambda: stats.beta(*(0.7 / 0.3 * special.expit([-2.0, 2.0]))),
    }[likelihood]()
    limit, per = (0.999999, 1.0) if likelihood == "beta" else (80.0, 50.0)
    data = Observations(np.full(2, 0.5), trials=per)
    one_sided = np.array([limit / per, -np.inf]), np.array([np.inf, 1e-4 if likelihood == "beta" else 0.0])
    found = of.log_between(eta, values, data, *one_sided)
    assert_allclose(found, [noise.logsf(limit), noise.logcdf(one_sided[1][1])], rtol=1e-9)
    assert found[0] < -10.0


def test_rows_that_say_nothing_are_no_warning_of_leave_one_out() -> None:
    """A limit far above the line is as likely as can be at every draw: its Pareto k is of rounding."""
    X, y, censored, _ = table(11, 60)
    censored[0], y[0] = -1, 30.0
    model = Regressor(random_state=0).fit(X, y, y_censored=censored)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        k = model.loo(X, y, y_censored=censored).pareto_k
    assert float(np.asarray(k)[0]) <= 0.0


@pytest.mark.thorough
def test_an_audit_draws_between_limits() -> None:
    """5% false alarms are allowed: 19 of 200 or more come by chance once in 400 times; errors too small are seen."""
    verdicts: dict[float, list[str]] = {1.0: [], 1.6: []}
    for times, found in verdicts.items():
        for seed in range(200 if times == 1.0 else 40):
            rng = np.random.default_rng(500 + seed)
            X, errors = rng.normal(size=(120, 2)), rng.uniform(0.3, 0.8, 120)
            y = 1.0 + X @ [1.0, 0.5] + times * errors * rng.normal(size=120)
            at = np.quantile(y, 0.3)
            given = {"y_err": errors, "y_censored": np.where(y < at, -1, 0)}
            y = np.maximum(y, at)
            model = Regressor(random_state=0).fit(X, y, **given)
            found.append(str(audit_errors(model, X, y, **given).verdict))
    assert 200 - verdicts[1.0].count("about right") < 19
    assert verdicts[1.6].count("about right") < 4


def test_limits_are_drawn_as_arrows() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 1))
    y = X[:, 0] + 0.3 * rng.normal(size=40)
    sides = np.select([y < -0.5, y > 1.0], [-1.0, 1.0], 0.0)
    y = np.clip(y, -0.5, 1.0)
    model = Regressor(y_censored_column=1, random_state=0).fit(np.column_stack([X, sides]), y)
    line = RegressionLineDisplay.from_estimator(model, np.column_stack([X, sides]), y)
    carets = sum(len(caps.get_xdata()) for caps in line.limits_.lines[1])
    assert carets == 2 * np.count_nonzero(sides)  # an arrow and the bar across each limit
    assert len(line.points_.lines[0].get_xdata()) == np.count_nonzero(sides == 0.0)
    of_predictions = PredictionDisplay.from_estimator(model, np.column_stack([X, sides]), y)
    drawn = np.concatenate([of_predictions.inside, of_predictions.outside])
    assert sorted(drawn) == np.flatnonzero(sides == 0.0).tolist()
    upper = np.where(sides == 1.0, 2.0, np.nan)
    between = Regressor(random_state=0).fit(X, y, y_censored=np.minimum(sides, 0.0), y_upper=upper)
    given = {"y_censored": np.minimum(sides, 0.0), "y_upper": upper}
    bars = RegressionLineDisplay.from_estimator(between, X, y, **given).limits_.lines[2][0].get_segments()
    plt.close("all")
    assert sum(np.allclose(np.sort(bar[:, 1]), [1.0, 2.0]) for bar in bars) == np.count_nonzero(sides == 1.0)


def test_where_limits_do_not_go() -> None:
    X, y, censored, _ = table(8, 30)
    with pytest.raises(ValueError, match="the exact engine can't take"):
        Regressor(inference="exact").fit(X, y, y_censored=censored)
    share = np.rint(9.0 * special.expit(y)) / 9.0
    with pytest.raises(ValueError, match=r"y_censored .* goes with shares under likelihood='binomial'"):
        Regressor(weight_type="counts").fit(X, share, np.full(30, 9.0), y_censored=censored)
    table_of = np.column_stack([X, censored])
    with pytest.raises(ValueError, match="leave y_censored out"):
        Regressor(y_censored_column=2).fit(table_of, y, y_censored=censored)
    scaled = make_pipeline(StandardScaler(), Regressor(y_censored_column=2))
    with pytest.raises(ValueError, match="y_censored_column has to be -1"):
        scaled.fit(table_of, y)
