"""Leave-one-out: exact where the engine is, by ArviZ elsewhere, and what `az.compare` makes of both."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

from bayes_sklearn import Flat, HalfCauchy, HalfStudentT, Normal
from bayes_sklearn.inference._compat import diagnostics, quietly
from bayes_sklearn.inference.exact import engine as exact
from bayes_sklearn.inference.exact import scatter_integrals
from bayes_sklearn.inference.exact.leave_one_out import leave_one_out
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.settings import SamplerSettings
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.measurements.compressed import Rows, compress
from bayes_sklearn.priors import HalfNormal, PoweredCorrelation

from data import gentle, measured, noisy_features, shares
from plain import Regressor

Array = NDArray[np.float64]

SETTINGS = SamplerSettings()


def arviz() -> Any:
    with quietly():
        import arviz
    return arviz


def pointwise(found: Any) -> Array:
    return np.asarray(found["loo_i" if arviz().__version__.startswith("0.") else "elpd_i"])


def elpd(found: Any) -> float:
    return float(found["elpd_loo" if arviz().__version__.startswith("0.") else "elpd"])


def effective(found: Any) -> float:
    return float(found["p_loo" if arviz().__version__.startswith("0.") else "p"])


def build(
    X: Array,
    y: Array,
    error: Array | float | None,
    frequency: Array | None = None,
    noise: str = "scaled",
    **changed: Any,
) -> Problem:
    settings = {
        "standardize": True,
        "coef_prior": Normal(),
        "intercept_prior": Normal(),
        "noise_prior": HalfNormal(),
        **changed,
    }
    return Problem.build(Rows(X, y, None, frequency), error, noise=NOISES[noise], **settings)  # type: ignore[arg-type]


class WithoutRow(NamedTuple):
    log_density: Array
    pit: Array


def found(problem: Problem) -> WithoutRow:
    posterior = exact.solve(problem, SETTINGS)
    without = leave_one_out(problem, posterior.noise_scale)
    return WithoutRow(without.log_density, without.pit)


def refitted(problem: Problem) -> WithoutRow:
    """Fit all rows but one copy of one, in the units of all, row by row.

    The density of a whole copy given the rest is the ratio of two marginal likelihoods; where there is none, the
    predictive mixture of the others takes its place, whose tails end with their nodes.
    """
    whole = exact.solve(problem, SETTINGS).log_evidence
    rows, scaling = problem.rows, problem.scaling
    n = len(rows.y)
    frequency = np.ones(n) if rows.frequency is None else rows.frequency
    unit = 1.0 if problem.standard_error is None else problem.standard_error
    error = np.broadcast_to(unit / problem.error_unit, (n,))
    design = np.column_stack([np.ones(n), (rows.X - scaling.x_mean) / scaling.x_scale])
    y = (rows.y - scaling.y_mean) / scaling.y_scale
    values, below = [], []
    for i in np.flatnonzero(frequency):
        fewer = frequency.copy()
        fewer[i] = max(fewer[i] - 1.0, 0.0)
        others = replace(rows, frequency=fewer)
        without = replace(problem, rows=others, state=compress(others, unit))
        posterior = exact.solve(without, SETTINGS)
        mean, spread = posterior.linear(design[i : i + 1])
        scale = np.square(posterior.noise_scale)
        noise = {"scaled": scale * error[i] ** 2, "additive": scale + error[i] ** 2, "known": error[i] ** 2}
        predicted = stats.norm(mean[0], np.sqrt(noise[problem.noise.name] + spread[0]))
        below.append(predicted.cdf(y[i]) @ posterior.weights)
        if whole is not None and posterior.log_evidence is not None and frequency[i] >= 1.0:
            values.append(whole - posterior.log_evidence + np.log(scaling.y_scale))
        else:
            values.append(logsumexp(predicted.logpdf(y[i]), b=posterior.weights))
    return WithoutRow(np.array(values) - np.log(scaling.y_scale), np.array(below))


def assert_agree(ours: WithoutRow, theirs: WithoutRow, rtol: float = 1e-7) -> None:
    assert_allclose(ours.log_density, theirs.log_density, rtol=rtol, atol=1e-7)
    assert_allclose(ours.pit, theirs.pit, rtol=0.0, atol=1e-7)


DATA = measured(40, 3)
FREQUENCY = np.resize([1.0, 2.0, 3.0, 1.0], 40)
OUTLIER = DATA.y + np.where(np.arange(40) == 7, 50.0 * DATA.y_err, 0.0)
CASES: dict[str, Problem] = {
    "scaled": build(DATA.X, DATA.y, DATA.y_err),
    "no errors": build(DATA.X, DATA.y, None),
    "additive": build(DATA.X, DATA.y, DATA.y_err, noise="additive"),
    "additive, few errors": build(DATA.X, DATA.y, np.resize([0.3, 1.0], 200)[:40], noise="additive"),
    "known": build(DATA.X, DATA.y, DATA.y_err, noise="known"),
    "scaled, weights": build(DATA.X, DATA.y, DATA.y_err, FREQUENCY),
    "additive, weights": build(DATA.X, DATA.y, DATA.y_err, FREQUENCY, noise="additive"),
    "known, weights": build(DATA.X, DATA.y, DATA.y_err, FREQUENCY, noise="known"),
    "weights of zero": build(DATA.X, DATA.y, DATA.y_err, FREQUENCY - 1.0),
    "weights below one": build(DATA.X, DATA.y, DATA.y_err, 0.4 * FREQUENCY),
    "additive, weights below one": build(DATA.X, DATA.y, DATA.y_err, 0.4 * FREQUENCY, noise="additive"),
    "scaled, outlier": build(DATA.X, OUTLIER, DATA.y_err),
    "scaled, outlier, wide prior": build(DATA.X, OUTLIER, DATA.y_err, noise_prior=HalfStudentT(3.0, 10.0)),
    "additive, outlier": build(DATA.X, OUTLIER, DATA.y_err, noise="additive"),
    "known, outlier": build(DATA.X, OUTLIER, DATA.y_err, noise="known"),
    "not standardised": build(DATA.X, DATA.y, DATA.y_err, standardize=False, coef_prior=Normal(0.0, 10.0)),
    "not standardised, outlier": build(DATA.X, OUTLIER, DATA.y_err, FREQUENCY, standardize=False),
    "no intercept": build(DATA.X, DATA.y, DATA.y_err, intercept_prior=None),
    "no intercept, weights": build(
        DATA.X, DATA.y, DATA.y_err, FREQUENCY, intercept_prior=None, standardize=False
    ),
    "flat": build(DATA.X, DATA.y, DATA.y_err, coef_prior=Flat(), intercept_prior=Flat()),
    "few rows": build(DATA.X[:5], DATA.y[:5], DATA.y_err[:5]),
    "more columns than rows": build(
        np.random.default_rng(1).normal(size=(8, 12)), DATA.y[:8], DATA.y_err[:8], coef_prior=Normal(0.0, 0.3)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_exact_leave_one_out_is_that_of_refits(name: str) -> None:
    problem = CASES[name]
    ours = found(problem)
    assert_agree(ours, refitted(problem))
    with_row = leave_one_out(problem, exact.solve(problem, SETTINGS).noise_scale).log_density_with
    assert (with_row > ours.log_density).any()
    assert np.abs(with_row - ours.log_density).max() > 1e-3, "leaving a row out makes a difference"


@pytest.mark.parametrize("frequency", [1.0, 2.0, 0.4])
def test_a_row_that_alone_tells_a_coefficient_is_refitted(frequency: float) -> None:
    X = np.column_stack([DATA.X, np.arange(40) == 5])
    prior = Normal(0.0, 1e6)
    problem = build(X, DATA.y, DATA.y_err, np.full(40, frequency), standardize=False, coef_prior=prior)
    ours = found(problem)
    assert_agree(ours, refitted(problem))
    if frequency <= 1.0:
        assert_allclose(ours.pit[5], 0.5, atol=1e-5)
    with pytest.raises(ValueError, match="Without row 5 of the table"):
        found(build(X, DATA.y, DATA.y_err, coef_prior=Flat(), intercept_prior=Flat()))


@pytest.mark.parametrize("offset", [1e3, 1e5, 1e8])
@pytest.mark.parametrize("noise", ["scaled", "additive"])
def test_a_row_however_far_off_has_its_value(offset: float, noise: str) -> None:
    y = DATA.y + np.where(np.arange(40) == 7, offset * DATA.y_err, 0.0)
    problem = build(DATA.X, y, DATA.y_err, noise=noise)
    assert_agree(found(problem), refitted(problem))


@pytest.mark.parametrize(
    ("n", "p", "offset"),
    [(12, 1, 300.0), pytest.param(12, 2, 300.0, marks=pytest.mark.thorough), (8, 2, 0.0)],
)
def test_scatter_and_scale_that_are_learned_are_those_without_the_row(
    monkeypatch: pytest.MonkeyPatch, n: int, p: int, offset: float
) -> None:
    """By ratios of evidences, of refits whose lattices of the scatter are finer than those of fits."""
    monkeypatch.setattr(scatter_integrals, "_AGREE", 1e-5)
    monkeypatch.setattr(scatter_integrals, "_FALLEN", 25.0)
    data = measured(n, p)
    y = data.y + np.where(np.arange(n) == 3, offset * data.y_err, 0.0)
    prior: dict[str, Any] = {"coef_prior": PoweredCorrelation(), "intercept_prior": Flat()}
    problem = build(data.X, y, data.y_err, noise="auto", **prior)
    whole, ours = exact.solve(problem, SETTINGS).log_evidence, found(problem).log_density
    assert whole is not None
    for i in range(n):
        others = replace(problem.rows, frequency=(np.arange(n) != i).astype(float))
        without = replace(problem, rows=others, state=compress(others, data.y_err))
        evidence = exact.solve(problem.conditional_on(without), SETTINGS).log_evidence
        assert evidence is not None
        assert_allclose(ours[i], whole - evidence, atol=1e-6)


def test_too_few_rows_to_leave_one_out_are_refused() -> None:
    X, y = np.array([[0.0], [1.0], [3.0]]), np.array([0.0, 1.1, 2.9])
    flat = {"coef_prior": Flat(), "intercept_prior": Flat()}
    # Three rows less two flat coefficients, and a tail that falls as s**-2: one row less has nothing to normalise.
    few = build(X, y, None, **flat, noise_prior=HalfCauchy())
    assert few.tail == 2.0
    with pytest.warns(UserWarning, match="variance of the noise is infinite"):
        values = found(few)
    assert np.isfinite(values.log_density).all()
    fewer = build(X, y, None, **flat, noise_prior=Flat())
    with pytest.raises(ValueError, match="noise_prior=HalfNormal"):
        leave_one_out(fewer, np.array([0.5, 1.0]))


def loo_of_copies(model: Regressor, X: Array, y: Array, frequency: Array, **errors: Array) -> Any:
    """Leave-one-out of a table that has every row as often as its frequency says."""
    rows = np.repeat(np.arange(len(y)), frequency.astype(int))
    errors = {name: values[rows] for name, values in errors.items()}
    return model.fit(X[rows], y[rows], **errors).loo(X[rows], y[rows], **errors), rows


@pytest.mark.parametrize("noise", ["scaled", "additive", "known"])
def test_a_weight_is_as_many_rows(noise: str) -> None:
    model = Regressor(noise=noise, weight_type="frequency")
    of_copies, rows = loo_of_copies(model, DATA.X, DATA.y, FREQUENCY, y_err=DATA.y_err)
    weighted = model.fit(DATA.X, DATA.y, FREQUENCY, y_err=DATA.y_err)
    of_weights = weighted.loo(DATA.X, DATA.y, FREQUENCY, y_err=DATA.y_err)
    assert_allclose(elpd(of_weights), elpd(of_copies), rtol=1e-9)
    assert_allclose(effective(of_weights), effective(of_copies), rtol=1e-7)
    assert_allclose(pointwise(of_weights)[rows] / FREQUENCY[rows], pointwise(of_copies), rtol=1e-8)
    unweighted = model.fit(DATA.X, DATA.y, y_err=DATA.y_err).loo(DATA.X, DATA.y, y_err=DATA.y_err)
    assert abs(elpd(unweighted) - elpd(of_weights)) > 1.0


def test_the_estimator_gives_the_values_of_its_posterior() -> None:
    """Held against the predictive distribution of refits, in which nothing is standardised."""
    X, y, y_err = DATA
    settings = {"standardize": False, "coef_prior": Normal(0.0, 5.0), "intercept_prior": Normal(0.0, 5.0)}
    model = Regressor(**settings).fit(X, y, y_err=y_err)
    values = pointwise(model.loo(X, y, y_err=y_err))
    for i in (0, 11, 39):
        rest = np.arange(40) != i
        others = Regressor(**settings).fit(X[rest], y[rest], y_err=y_err[rest])
        expected = others.predict_distribution(X[i : i + 1], y_err=y_err[i : i + 1]).logpdf(y[i : i + 1])
        assert_allclose(values[i], expected[0], rtol=1e-8)


def test_summary_figures_follow_from_the_values() -> None:
    model = Regressor().fit(DATA.X, DATA.y, y_err=DATA.y_err)
    found = model.loo(DATA.X, DATA.y, y_err=DATA.y_err)
    values = pointwise(found)
    assert_allclose(elpd(found), values.sum())
    old = arviz().__version__.startswith("0.")
    assert_allclose(found["se"], np.sqrt(40.0 * values.var(ddof=0 if old else 1)))
    assert found["n_data_points"] == 40
    assert not found["warning"]
    # Four coefficients and a noise scale, all of which the data know.
    assert 3.0 < effective(found) < 7.0


def test_shares_keep_the_errors_that_fit_settled() -> None:
    X, y, counts = shares()
    model = Regressor(weight_type="counts").fit(X, y, counts)
    values = pointwise(model.loo(X, y, counts))
    seen = model.to_arviz(X, y, counts).constant_data
    as_errors = Regressor().fit(X, y, y_err=np.asarray(seen["y_err"]))
    expected = pointwise(as_errors.loo(X, y, y_err=np.asarray(seen["y_err"])))
    # The errors that `to_arviz` has are those of fit to within 0.1%.
    assert_allclose(values, expected, atol=0.02)
    with pytest.raises(ValueError, match="give sample_weight"):
        model.loo(X, y)


def test_labels_and_columns_of_frames_are_kept() -> None:
    frame = pd.DataFrame(DATA.X, columns=["a", "b", "c"], index=[f"row {i}" for i in range(40)])
    frame["error"] = DATA.y_err
    weight = np.where(np.arange(40) == 3, 0.0, 1.0)
    model = Regressor(y_err_column="error").fit(frame, DATA.y, weight)
    found = model.loo(frame, DATA.y, weight)
    values = found["loo_i" if arviz().__version__.startswith("0.") else "elpd_i"]
    assert_array_equal(values["obs"], [f"row {i}" for i in range(40) if i != 3])
    rest = weight > 0.0
    plain = Regressor().fit(DATA.X[rest], DATA.y[rest], y_err=DATA.y_err[rest])
    assert_allclose(
        values, pointwise(plain.loo(DATA.X[rest], DATA.y[rest], y_err=DATA.y_err[rest])), rtol=1e-8
    )
    with pytest.raises(ValueError, match="feature names"):
        model.loo(frame[["b", "a", "c", "error"]], DATA.y, weight)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": DATA.y[::-1]}, "not the rows"),
        ({"X": DATA.X + 1e-2}, "not the rows"),
        ({"y": DATA.y + 0.01}, "not the rows"),
        ({"y_err": 1.01 * DATA.y_err[::-1]}, "not the rows"),
        ({"y_err": None}, "give y_err"),
        ({"X": DATA.X[:, :2]}, "features"),
    ],
)
def test_other_rows_than_those_of_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    model = Regressor().fit(DATA.X, DATA.y, y_err=DATA.y_err)
    given = {"X": DATA.X, "y": DATA.y, "y_err": DATA.y_err, **changed}
    with pytest.raises(ValueError, match=message):
        model.loo(**given)


def test_the_estimator_stays_as_it_is() -> None:
    model = Regressor().fit(DATA.X, DATA.y, y_err=DATA.y_err)
    before = dict(model.__dict__)
    model.loo(DATA.X, DATA.y, y_err=DATA.y_err)
    assert model.__dict__.keys() == before.keys()
    assert all(model.__dict__[name] is value for name, value in before.items())


GENTLE = gentle()


@pytest.fixture(scope="module")
def sampled() -> Regressor:
    """NUTS on the model that the exact engine takes, too."""
    model = Regressor(inference="nuts", draws=1000, chains=2, nuts_kwargs={"tune": 300}, random_state=0)
    return model.fit(GENTLE.X, GENTLE.y, y_err=GENTLE.y_err)


def test_draws_are_smoothed_by_arviz(sampled: Regressor) -> None:
    exact_model = Regressor().fit(GENTLE.X, GENTLE.y, y_err=GENTLE.y_err)
    ours = exact_model.loo(GENTLE.X, GENTLE.y, y_err=GENTLE.y_err)
    found = sampled.loo(GENTLE.X, GENTLE.y, y_err=GENTLE.y_err)
    with quietly():
        theirs = arviz().loo(sampled.to_arviz(GENTLE.X, GENTLE.y, y_err=GENTLE.y_err), pointwise=True)
    assert_allclose(pointwise(found), pointwise(theirs), rtol=1e-12)
    assert_allclose(effective(found), effective(theirs), rtol=1e-9)
    assert_allclose(found["se"], theirs["se"], rtol=1e-12)
    assert_array_equal(found["pareto_k"], theirs["pareto_k"])
    assert found["good_k"] == theirs["good_k"]
    assert found["n_samples"] == theirs["n_samples"] == 2000
    assert np.asarray(found["pareto_k"]).max() < 0.5
    assert_allclose(pointwise(found), pointwise(ours), atol=0.05)
    assert_allclose(elpd(found), elpd(ours), atol=0.2)


def test_transforms_of_draws_are_those_of_the_exact_engine(sampled: Regressor) -> None:
    """Within what the mean of the transform given a draw is uncertain by."""
    X, y, y_err = GENTLE
    values = sampled.loo_pit(X, y, y_err=y_err)
    expected = Regressor().fit(X, y, y_err=y_err).loo_pit(X, y, y_err=y_err)
    draws = sampled.to_arviz().posterior
    line = np.asarray(draws["intercept"])[..., None] + np.asarray(draws["coef"]) @ X.T
    given_draw = stats.norm.cdf((y - line) / (np.asarray(draws["sigma"])[..., None] * y_err))
    effective = diagnostics({"pit": given_draw})["ess_bulk"]["pit"]
    error = given_draw.std(axis=(0, 1)) / np.sqrt(effective)
    assert np.abs((values - expected) / error).max() < 5.0
    own_say = (given_draw.mean(axis=(0, 1)) - expected) / error
    assert np.abs(own_say).max() > 5.0, "what rows say of themselves would be seen"


def test_models_are_compared_by_arviz(sampled: Regressor) -> None:
    y_err = GENTLE.y_err
    full = Regressor().fit(GENTLE.X, GENTLE.y, y_err=y_err)
    less = Regressor(noise="additive").fit(GENTLE.X[:, 1:], GENTLE.y, y_err=y_err)
    models = {
        "full": full.loo(GENTLE.X, GENTLE.y, y_err=y_err),
        "less": less.loo(GENTLE.X[:, 1:], GENTLE.y, y_err=y_err),
    }
    with quietly():
        az = arviz()
    with warnings.catch_warnings():
        # Other libraries' deprecations are not about the models.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", UserWarning)
        table = az.compare(models)
        with_draws = az.compare({**models, "nuts": sampled.loo(GENTLE.X, GENTLE.y, y_err=y_err)})
    assert list(table.index) == ["full", "less"]
    assert table["weight"].sum() == pytest.approx(1.0)
    assert table["weight"].astype(float)["full"] > 0.9
    difference = abs(float(table["elpd_diff"]["less"]))
    assert difference == pytest.approx(elpd(models["full"]) - elpd(models["less"]), rel=0.2)
    assert set(with_draws.index) == {"full", "less", "nuts"}
    assert with_draws.index[-1] == "less"
    for found in models.values():
        assert "60 observations" in str(found)


def test_errors_of_features_are_integrated_out() -> None:
    data = noisy_features(60)
    given = {"X_err": data.X_err, "y_err": data.y_err}
    model = Regressor(random_state=0).fit(data.X, data.y, **given)
    assert model.inference_ == "importance"
    found = model.loo(data.X, data.y, **given)
    with quietly():
        theirs = arviz().loo(model.to_arviz(data.X, data.y, **given), pointwise=True)
    assert_allclose(pointwise(found), pointwise(theirs), rtol=1e-10)
    without = Regressor(noise="additive").fit(data.X, data.y, y_err=data.y_err)
    naive = without.loo(data.X, data.y, y_err=data.y_err)
    assert elpd(found) > elpd(naive), "errors that differ by row are told"
    assert np.asarray(found["pareto_k"]).max() < 0.7
    with pytest.raises(ValueError, match="X_err"):
        model.loo(data.X, data.y, y_err=data.y_err)


def test_weights_of_draws_multiply_the_values() -> None:
    X, y, counts = shares()
    model = Regressor(likelihood="binomial", count_column=2, random_state=0)
    table, frequency = np.column_stack([X, counts]), np.resize([1.0, 2.0], len(y))
    found = model.fit(table, y, frequency).loo(table, y, frequency)
    with quietly():
        theirs = arviz().loo(model.to_arviz(table, y, frequency), pointwise=True)
    assert_allclose(pointwise(found), frequency * pointwise(theirs))
    model.fit(table, y, 0.5 * frequency)
    with pytest.raises(ValueError, match="below one"):
        model.loo(table, y, 0.5 * frequency)


def test_large_pareto_k_is_warned_of() -> None:
    X, y, counts = shares(30)
    y, counts = y.copy(), counts.copy()
    y[3], counts[3] = 1.0, 500.0
    model = Regressor(likelihood="binomial", weight_type="counts", random_state=0).fit(X, y, counts)
    with pytest.warns(UserWarning, match="Pareto k is above 0.7"):
        found = model.loo(X, y, counts)
    assert found["warning"]


def test_leave_one_out_needs_the_covariance_that_fit_had() -> None:
    data = noisy_features(60)
    model = Regressor(noise="known", random_state=0)
    model.fit(data.X, data.y, y_err=data.y_err, X_err=data.X_err, Xy_cov=[0.05, 0.0])
    with pytest.raises(ValueError, match="give Xy_cov with X and y"):
        model.loo(data.X, data.y, y_err=data.y_err, X_err=data.X_err)


def test_what_is_printed_names_its_figures() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    y = X.sum(axis=1) + rng.normal(size=40)
    found = Regressor().fit(X, y).loo(X, y)
    lines = str(found).splitlines()
    of_elpd, of_p = (next(line for line in lines if line.startswith(name)) for name in ("elpd_loo", "p_loo"))
    assert f"{float(found['se']):.2f}" in of_elpd
    assert f"{effective(found):.2f}" in of_p
