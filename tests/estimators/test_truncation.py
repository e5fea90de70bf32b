"""Rows that are in the table because their target lies between limits: the population that they are of."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import optimize, stats
from sklearn.base import clone

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Flat, Normal, StudentTLikelihood, audit_errors
from bayes_sklearn.validation import simulation_based_calibration

Array = NDArray[np.float64]

TRUE = np.array([0.5, 1.0, -0.5])


def selected(
    rng: np.random.Generator, n: int, lower: float = 1.0, upper: float = np.inf
) -> tuple[Array, Array]:
    """Return rows of a population whose target lies between the limits."""
    X = rng.normal(size=(20 * n, 2))
    y = TRUE[0] + X @ TRUE[1:] + rng.normal(size=len(X))
    kept = np.flatnonzero((y > lower) & (y <= upper))[:n]
    return X[kept], y[kept]


def found(model: Regressor, size: int = 3) -> tuple[Array, Array]:
    """Return means and standard deviations of intercept and coefficients."""
    table = model.summary().iloc[:size]
    return table["mean"].to_numpy(), table["sd"].to_numpy()


@pytest.mark.parametrize("limits", [(1.0, None), (None, 1.2), (-0.7, 2.5)])
def test_under_flat_priors_it_is_near_the_maximum_likelihood(
    limits: tuple[float | None, float | None],
) -> None:
    lower, upper = (
        end if given is None else given for end, given in zip((-np.inf, np.inf), limits, strict=True)
    )
    X, y = selected(np.random.default_rng(0), 3000, lower, upper)
    model = Regressor(truncation=limits, coef_prior=Flat(), random_state=0).fit(X, y)
    assert model.inference_ == "importance"

    def deviance(at: Array) -> float:
        line, s = at[0] + X @ at[1:3], np.exp(at[3])
        inside = stats.norm.cdf((upper - line) / s) - stats.norm.cdf((lower - line) / s)
        return float(-(stats.norm.logpdf(y, line, s) - np.log(np.maximum(inside, 1e-300))).sum())

    start, options = np.append(TRUE, 0.0), {"xatol": 1e-6, "fatol": 1e-8, "maxiter": 4000, "maxfev": 4000}
    best = optimize.minimize(deviance, start, method="Nelder-Mead", options=options).x
    step, unit = 1e-3, np.eye(4)
    moves = [
        [step * (a * unit[i] + b * unit[j]) for a in (-1, 1) for b in (-1, 1)]
        for i in range(4)
        for j in range(4)
    ]
    curvature = [np.dot([deviance(best + move) for move in four], [1, -1, -1, 1]) for four in moves]
    expected = np.sqrt(np.diag(np.linalg.inv(np.reshape(curvature, (4, 4)) / (4.0 * step**2))))[:3]
    mean, sd = found(model)
    assert_allclose(sd, expected, rtol=0.15)
    assert (np.abs(mean - best[:3]) < 0.3 * sd).all()


def test_the_posterior_is_that_of_a_grid() -> None:
    rng, x = np.random.default_rng(1), np.linspace(-1.0, 1.0, 12)
    y = 1.0 + np.abs(rng.normal(size=12))
    model = Regressor(
        truncation=(1.0, 4.0),
        noise="known",
        coef_prior=Normal(0.0, 0.5),
        intercept_prior=Normal(0.0, 2.0),
        standardize=False,
        random_state=0,
    ).fit(x[:, None], y, y_err=0.9)
    at, slope = np.linspace(-12.0, 8.0, 1001)[:, None], np.linspace(-3.0, 3.0, 301)
    # Priors of the intercept are about the features' means, which are zero.
    log_density = stats.norm.logpdf(at, 0.0, 2.0) + stats.norm.logpdf(slope, 0.0, 0.5)
    for row in range(12):
        line = at + slope * x[row]
        inside = stats.norm.sf((1.0 - line) / 0.9) - stats.norm.sf((4.0 - line) / 0.9)
        log_density += stats.norm.logpdf(y[row], line, 0.9) - np.log(inside)
    mass = np.exp(log_density - log_density.max())
    evidence = np.log(mass.sum() * 0.02 * 0.02) + log_density.max()
    mass /= mass.sum()
    means = np.array([np.sum(mass * at), np.sum(mass * slope)])
    sds = np.sqrt([np.sum(mass * np.square(at - means[0])), np.sum(mass * np.square(slope - means[1]))])
    mean, sd = found(model, 2)
    assert (np.abs(mean - means) < 0.05 * sds).all()
    assert_allclose(sd, sds, rtol=0.05)
    assert model.log_marginal_likelihood_ == pytest.approx(evidence, abs=0.02)


@pytest.mark.parametrize("n_tables", [40])
def test_coefficients_of_the_population_are_covered_where_selection_is_ignored_they_are_not(
    n_tables: int,
) -> None:
    rng, limits = np.random.default_rng(2), (1.0, None)
    scores, covered, ignoring = np.zeros((3, n_tables, 3))
    for table in range(n_tables):
        X, y = selected(rng, 300)
        model = Regressor(truncation=limits, random_state=0).fit(X, y)
        mean, sd = found(model)
        scores[table] = (mean - TRUE) / sd
        interval = model.summary(0.9).iloc[:3]
        covered[table] = (interval["lower_90%"] <= TRUE) & (interval["upper_90%"] >= TRUE)
        mean, sd = found(Regressor().fit(X, y))
        ignoring[table] = (mean - TRUE) / sd
    # Of 150 tables 0.96, 0.97 and 0.98; standard error 0.11.
    assert (np.abs(np.sqrt(np.square(scores).mean(axis=0)) - 1.0) < 0.35).all()
    assert (covered.mean(axis=0) > 0.75).all()
    # Of the same 150 tables 20, 10 and 6.
    assert (np.sqrt(np.square(ignoring).mean(axis=0)) > 4.0).all()


@pytest.mark.parametrize("likelihood", ["binomial", "beta_binomial"])
def test_counts_that_had_to_be_seen_give_the_shares_of_all(likelihood: str) -> None:
    rng = np.random.default_rng(3)
    X, trials = rng.normal(size=(1500, 2)), rng.integers(2, 12, 1500).astype(float)
    share = 1.0 / (1.0 + np.exp(2.0 - X @ TRUE[1:]))
    y = rng.binomial(trials.astype(int), share) / trials
    some = y > 0.0
    given = X[some], y[some], trials[some]
    model = Regressor(likelihood=likelihood, weight_type="counts", truncation=(0, None), random_state=0).fit(
        *given
    )
    mean, sd = found(model)
    assert (np.abs(mean - [-2.0, *TRUE[1:]]) < 4.0 * sd).all()
    mean, sd = found(Regressor(likelihood=likelihood, weight_type="counts", random_state=0).fit(*given))
    assert mean[0] + 2.0 > 4.0 * sd[0]
    transforms = model.loo_pit(*given)
    assert transforms.mean() == pytest.approx(0.5, abs=4.0 / np.sqrt(12.0 * some.sum()))
    with pytest.raises(ValueError, match="is not between the limits"):
        model.fit(X, y, trials)


def measured(
    rng: np.random.Generator, n: int, likelihood: str = "normal"
) -> tuple[Array, Array, dict[str, Any], Array]:
    """Return rows of two features, one with an error of 0.7, that were selected; and what the truth is."""
    z = rng.normal(size=30 * n)
    x = 0.5 * z + rng.normal(size=30 * n)
    X, line = np.column_stack([x + 0.7 * rng.normal(size=30 * n), z]), 0.5 + x - 0.5 * z
    if likelihood == "binomial":
        trials = rng.integers(2, 12, 30 * n).astype(float)
        y = rng.binomial(trials.astype(int), 1.0 / (1.0 + np.exp(2.5 - line))) / trials
        kept = np.flatnonzero(y > 0.0)[:n]
        return X[kept], y[kept], {"sample_weight": trials[kept]}, TRUE - [2.5, 0.0, 0.0]
    y = line + (rng.normal(size=30 * n) if likelihood == "normal" else 0.7 * rng.standard_t(5, 30 * n))
    kept = np.flatnonzero(y > 1.0)[:n]
    return X[kept], y[kept], {}, TRUE


@pytest.mark.parametrize(
    ("likelihood", "n_tables"),
    [
        ("normal", 6),
        pytest.param("normal", 40, marks=pytest.mark.thorough),
        pytest.param("binomial", 20, marks=pytest.mark.thorough),
        pytest.param("student_t", 20, marks=pytest.mark.thorough),
    ],
)
def test_selection_and_errors_of_features_are_undone_together(likelihood: str, n_tables: int) -> None:
    rng = np.random.default_rng(11)
    scores, covered = np.zeros((3, n_tables, 3)), np.zeros((n_tables, 3))
    limits = (0.0 if likelihood == "binomial" else 1.0, None)
    for at in range(n_tables):
        X, y, given, true = measured(rng, 300, likelihood)
        weight_type = "counts" if given else "frequency"
        for which, (truncation, X_err) in enumerate(
            [(limits, [0.7, 0.0]), (None, [0.7, 0.0]), (limits, None)]
        ):
            # Of rows on one side of a limit nu is hardly known, and slopes lean on its prior.
            model = Regressor(
                likelihood=StudentTLikelihood(nu=5) if likelihood == "student_t" else likelihood,
                weight_type=weight_type,
                truncation=truncation,
                inference="importance" if X_err else "auto",
                random_state=0,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                mean, sd = found(model.fit(X, y, X_err=X_err, **given))
            scores[which, at] = (mean - true) / sd
            if which == 0:
                interval = model.summary(0.9).iloc[:3]
                covered[at] = (interval["lower_90%"] <= true) & (interval["upper_90%"] >= true)
    both, no_selection, no_errors = np.sqrt(np.square(scores).mean(axis=1))
    # Of 40 other tables 1.12, 0.92 and 0.75; of n the standard error is 0.7 by the root of n.
    assert (np.abs(both - 1.0) < 2.8 / np.sqrt(n_tables)).all()
    assert covered.mean() > 0.9 - 1.2 / np.sqrt(n_tables)
    # Of the same tables 17, 8 and 5, and of the slope of the noisy feature 2.9.
    assert (no_selection > 2.5).all()
    assert no_errors[1] > 1.7


def test_selected_rows_with_errors_of_features_are_judged_as_such() -> None:
    X, y, _, _ = measured(np.random.default_rng(4), 300)
    model = Regressor(truncation=(1.0, None), random_state=0).fit(X, y, X_err=[0.7, 0.0])
    given = {"X_err": [0.7, 0.0]}
    assert stats.kstest(model.loo_pit(X, y, **given), "uniform").pvalue > 0.01
    new = np.asarray(model.to_arviz(X, y, **given).posterior_predictive["y"])
    assert new.min() >= 1.0
    assert new.mean() == pytest.approx(y.mean(), abs=0.2)
    assert (model.sample_y(X, 50, random_state=0) < 1.0).any()
    with pytest.warns(UserWarning, match="truncation says nothing"):
        Regressor(truncation=(-100.0, None), random_state=0).fit(X, y, **given)
    with pytest.warns(UserWarning, match="degrees of freedom are learned"):
        Regressor(likelihood="student_t", truncation=(1.0, None), random_state=0).fit(X, y, **given)
    with pytest.raises(ValueError, match="is not between the limits"):
        model.loo(X, y - 1.0, **given)
    with pytest.raises(ValueError, match="selected by their targets"):
        audit_errors(model, X, y, **given)


@pytest.mark.thorough
def test_nuts_on_the_model_with_true_features_has_the_posterior_of_selected_rows() -> None:
    """PyMC's own, as `to_pymc` writes it, and ours by NUTS; means to 5 standard errors."""
    import nutpie

    X, y, _, _ = measured(np.random.default_rng(12), 120)
    given: dict[str, Any] = {"X_err": [0.7, 0.0]}
    model = Regressor(
        truncation=(1.0, None),
        coef_prior=Normal(),
        intercept_prior=Normal(0.0, 2.0),
        noise="scaled",
        inference="importance",
        random_state=0,
    ).fit(X, y, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = nutpie.compile_pymc_model(model.to_pymc(X, y, **given))
        trace = nutpie.sample(compiled, draws=2000, tune=1500, chains=4, seed=3, progress_bar=False)
        sampled = clone(model).set_params(inference="nuts").fit(X, y, **given)
    of = {
        "intercept": np.asarray(trace.posterior["intercept"]),
        "noise_scale": np.asarray(trace.posterior["sigma"]),
    }
    of |= {f"x{j}": np.asarray(trace.posterior["coef"])[..., j] for j in range(2)}
    for name, draws in of.items():
        error = 5.0 * max(draws.mean(axis=1).std(ddof=1) / 2.0, draws.std() / 20.0)
        for table in (model.summary(), sampled.summary()):
            assert_allclose(table.loc[name, "mean"], draws.mean(), atol=error)
            assert_allclose(table.loc[name, "sd"], draws.std(), rtol=0.2)


def test_observed_rows_are_of_the_table_and_predictions_of_the_population() -> None:
    X, y = selected(np.random.default_rng(4), 400)
    model = Regressor(truncation=(1.0, None), random_state=0).fit(X, y)
    mean, sd = model.predict(np.zeros((1, 2)), return_std=True)
    assert mean[0] == pytest.approx(0.5, abs=0.5)
    assert sd[0] == pytest.approx(1.0, abs=0.25)
    assert (model.sample_y(X, 50, random_state=0) < 1.0).any()
    assert stats.kstest(model.loo_pit(X, y), "uniform").pvalue > 0.01
    found = model.to_arviz(X, y)
    new = np.asarray(found.posterior_predictive["y"])
    assert new.min() >= 1.0
    # As the rows are: standard error of the observed mean 0.04.
    assert new.mean() == pytest.approx(y.mean(), abs=0.2)
    of_rows = np.asarray(found.log_likelihood["y"]).reshape(-1, len(y))
    posterior = {name: np.asarray(found.posterior[name]) for name in ("intercept", "coef", "sigma")}
    line = posterior["intercept"].reshape(-1, 1) + posterior["coef"].reshape(-1, 2) @ X.T
    scale = posterior["sigma"].reshape(-1, 1)
    expected = stats.norm.logpdf(y, line, scale) - stats.norm.logsf(1.0, line, scale)
    assert_allclose(of_rows, expected, rtol=1e-8, atol=1e-8)
    again = pickle.loads(pickle.dumps(model))
    assert_allclose(again.loo_pit(X, y), model.loo_pit(X, y))
    with pytest.raises(ValueError, match="is not between the limits"):
        model.loo(X, y - 1.0)
    with pytest.raises(ValueError, match="selected by their targets"):
        audit_errors(model, X, y)


def test_true_values_rank_evenly_where_rows_are_selected() -> None:
    X, y = selected(np.random.default_rng(5), 40)
    model = Regressor(truncation=(1.0, None), intercept_prior=Normal(0.0, 1.0), coef_prior=Normal(0.0, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # limits that say nothing of some simulated tables
        found = simulation_based_calibration(model, X, y, n_simulations=100, random_state=0)
    assert found.p_value > 1e-3


def test_limits_that_are_far_change_nothing_and_are_said_to() -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(100, 2))
    y = TRUE[0] + X @ TRUE[1:] + rng.normal(size=100)
    for limits in ((-100.0, None), (None, 1e3), (-50.0, 60.0)):
        with pytest.warns(UserWarning, match="truncation says nothing"):
            model = Regressor(truncation=limits, random_state=0).fit(X, y)
        without = Regressor(random_state=0).fit(X, y)
        assert_allclose(model.coef_, without.coef_, atol=0.01)
        assert_allclose(model.coef_std_, without.coef_std_, rtol=0.05)
    assert Regressor(truncation=(None, np.inf)).fit(X, y).inference_ == "exact"


@pytest.mark.parametrize(
    ("truncation", "error", "message"),
    [
        (1.0, TypeError, r"^truncation=1\.0: it has to be a pair"),
        ((1.0, 2.0, 3.0), TypeError, "it has to be a pair"),
        (("low", None), TypeError, "limits have to be numbers"),
        ((True, None), TypeError, "limits have to be numbers"),
        ((np.nan, None), ValueError, "the lower limit has to be below"),
        ((2.0, 1.0), ValueError, "the lower limit has to be below"),
        ((1.0, 1.0), ValueError, "the lower limit has to be below"),
        ((2.0, None), ValueError, "y of .* rows is not between the limits"),
    ],
)
def test_limits_that_are_none_are_refused(truncation: Any, error: type[Exception], message: str) -> None:
    X, y = selected(np.random.default_rng(7), 30)
    with pytest.raises(error, match=message):
        Regressor(truncation=truncation).fit(X, y)


def test_what_goes_with_no_selection_is_refused() -> None:
    X, y = selected(np.random.default_rng(8), 30)
    model = Regressor(truncation=(1.0, None))
    with pytest.raises(ValueError, match=r"takes the normal likelihood, not .* selected"):
        Regressor(truncation=(1.0, None), inference="exact").fit(X, y)
    assert not hasattr(model, "partial_fit")
    shares, counts = np.full(30, 0.5), np.full(30, 10.0)
    with pytest.raises(ValueError, match="goes with shares under likelihood='binomial'"):
        Regressor(truncation=(0.1, None), weight_type="counts").fit(X, shares, counts)
    of_shares = Regressor(
        likelihood="beta_binomial", weight_type="counts", truncation=(0.1, None), inference="nuts"
    )
    with pytest.raises(ValueError, match="no graph of how likely"):
        of_shares.fit(X, shares, counts)
    # With errors of features for NUTS, and in PyMC, where the noise is added to the line alone.
    of_shares.set_params(likelihood="binomial")
    with pytest.raises(ValueError, match="no graph of how likely"):
        of_shares.fit(X, shares, counts, X_err=0.1)
    with pytest.raises(ValueError, match="no probability of rows being selected"):
        of_shares.to_pymc(X, shares, counts, X_err=0.1)


@pytest.mark.parametrize("limits", [(1.0, None), (None, 3.0), (1.0, 3.0)])
@pytest.mark.parametrize("likelihood", ["normal", StudentTLikelihood(nu=4)])
def test_pymc_has_the_same_density(likelihood: Any, limits: tuple[float | None, float | None]) -> None:
    X, y = selected(np.random.default_rng(9), 20, 1.0, 3.0)
    model = Regressor(likelihood=likelihood, truncation=limits, standardize=False, coef_prior=Normal())
    readable = model.to_pymc(X, y)
    lower, upper = (
        end if given is None else given for end, given in zip((-np.inf, np.inf), limits, strict=True)
    )
    noise = stats.norm() if likelihood == "normal" else stats.t(4)
    (selection,) = readable.potentials
    names = {variable.name: variable for variable in readable.free_RVs}
    for intercept, coef, s in ((0.3, [0.5, -0.2], 0.8), (2.0, [1.0, 1.0], 0.3)):
        given = {names["intercept"]: intercept, names["coef"]: np.array(coef), names["sigma"]: s}
        value = selection.eval(given, mode="FAST_COMPILE")
        line = intercept + X @ np.array(coef)
        inside = noise.cdf((upper - line) / s) - noise.cdf((lower - line) / s)
        assert value == pytest.approx(-np.log(inside).sum(), rel=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("limits", [(1.0, None), (1.0, 3.5)])
def test_nuts_draws_have_the_means_and_variances_of_importance_sampling(
    limits: tuple[float, float | None],
) -> None:
    X, y = selected(np.random.default_rng(10), 200, 1.0, 3.5 if limits[1] else np.inf)
    models = [
        Regressor(truncation=limits, coef_prior=Normal(0.0, 2.0), inference=engine, random_state=0).fit(X, y)
        for engine in ("importance", "nuts")
    ]
    (mean, sd), (other, spread) = (found(model) for model in models)
    # Of 1,000 independent draws at least: standard errors 0.03 of means, 0.025 of standard deviations.
    assert (np.abs(mean - other) < 0.15 * sd).all()
    assert_allclose(spread, sd, rtol=0.15)
