"""Readings of features that may be wild: posteriors, predictions, coverage and warnings, each against something else.

That rows' densities, in NumPy and for samplers, are integrals over true features is held beside those of mixtures.
"""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import Beta, Flat, HalfCauchy, HalfNormal, Outliers, audit_errors
from bayes_sklearn.inference.structural.true_mixture import TrueMixture

import plain

Array = NDArray[np.float64]


def table(
    seed: int,
    n: int = 200,
    share: float = 0.05,
    times: float = 5.0,
    x_err: float = 0.65,
    noise: float = 0.3,
    fixed: bool = False,
) -> tuple[Array, Array, float]:
    """Return readings, some of which are wild, targets and the stated error; the line is 1 + 2 x."""
    rng = np.random.default_rng(seed)
    x, wild = rng.normal(size=n), rng.random(n) < share
    error = x_err * rng.normal(size=n) * np.where(wild, times, 1.0)
    if fixed:  # off by so much, to either side
        error = np.where(wild, times * x_err * rng.choice([-1.0, 1.0], n), error)
    return (x + error)[:, None], 1.0 + 2.0 * x + noise * rng.normal(size=n), x_err


def quietly_fitted(X: Array, y: Array, X_err: Any, **parameters: Any) -> Regressor:
    """Return a fit whose warnings nobody asks for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Regressor(**{"random_state": 0, **parameters}).fit(X, y, X_err=X_err)


# --- predictions ---------------------------------------------------------------------------------


def one_node(q: int, outliers: dict[str, float]) -> TrueMixture:
    """Return two components at one node."""
    rng = np.random.default_rng(3)
    roots = rng.normal(size=(1, 2, q, q)) + np.eye(q)
    return TrueMixture(
        noisy=np.arange(q),
        n_features=q + 1,
        coef=rng.normal(size=(1, q)),
        line_at_zero=np.array([[0.4, -0.3]]),
        means=rng.normal(size=(1, 2, q)),
        slopes=rng.normal(size=(1, q, 1)),
        covariances=roots @ roots.transpose(0, 1, 3, 2),
        log_shares=np.log([[0.3, 0.7]]),
        x_mean=np.full(q + 1, 0.2),
        x_scale=np.linspace(0.7, 1.6, q + 1),
        y_mean=5.0,
        y_scale=2.0,
        sharing=np.array([0.8]),
        outliers={name: np.array([value]) for name, value in outliers.items()},
    )


@pytest.mark.parametrize("q", [1, 2, 3])
def test_new_rows_predict_as_by_dense_algebra(q: int) -> None:
    """Every configuration of wild readings of each component, errors that go with the target's among them."""
    share, factor = 0.2, 4.5
    true = one_node(q, {"outlier_share": share, "outlier_factor": factor})
    rng = np.random.default_rng(4)
    X, root = rng.normal(size=(2, q + 1)), rng.normal(size=(2, q, q))
    U, c = root @ root.transpose(0, 2, 1), 0.3 * rng.normal(size=(2, q))
    found = true.line(X, np.concatenate([U, c[:, :, None]], axis=2)).components
    assert found is not None
    measured, unit = (X - true.x_mean) / true.x_scale, true.x_scale[:q]
    for row in range(2):
        expected = []
        for component in range(2):
            mu = true.means[0, component] + true.slopes[0] @ measured[row, q:]
            T, m = true.covariances[0, component], true.coef[0]
            for which in np.ndindex(*(2,) * q):
                D = np.where(which, factor, 1.0)
                S = T + np.outer(D, D) * U[row] / np.outer(unit, unit)
                to_y = T @ m + 0.8 * D * c[row] / (unit * true.y_scale)
                away = measured[row, :q] - mu
                weight = np.exp(true.log_shares[0, component]) * np.prod(np.where(which, share, 1.0 - share))
                weight *= stats.multivariate_normal.pdf(away, np.zeros(q), S)
                mean = (
                    true.line_at_zero[0] @ [1.0, measured[row, q]] + m @ mu + to_y @ np.linalg.solve(S, away)
                )
                variance = m @ T @ m - to_y @ np.linalg.solve(S, to_y)
                expected.append((weight, true.y_mean + true.y_scale * mean, true.y_scale**2 * variance))
        weights, means, variances = np.array(expected).T
        assert_allclose(found.weights[row], weights / weights.sum(), rtol=1e-9)
        assert_allclose(found.mean[row], means, rtol=1e-9)
        assert_allclose(found.variance[row], variances, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def fitted() -> tuple[Regressor, Regressor, Array, Array]:
    """Return fits that take readings as wild and as they are, and their table."""
    X, y, x_err = table(3)
    fits = [quietly_fitted(X, y, x_err, x_error_distribution=how) for how in ("outliers", "normal")]
    return fits[0], fits[1], X, y


def test_new_readings_are_predicted_better_and_covered(fitted: Any) -> None:
    X, y, x_err = table(4, n=400)
    careful, naive = (fit.predict(X, X_err=x_err, return_std=True) for fit in fitted[:2])
    # By 0.18 of 1.48 in 5,000 rows.
    assert np.sqrt(np.square(careful[0] - y).mean()) < np.sqrt(np.square(naive[0] - y).mean()) - 0.05
    limits = fitted[0].predict_interval(X[:200], 0.9, X_err=x_err)
    # 0.91 of 5,000 rows; four standard errors of 200.
    assert ((limits[:, 0] <= y[:200]) & (y[:200] <= limits[:, 1])).mean() == pytest.approx(0.9, abs=0.085)
    # A reading far away is hardly believed.
    near, far = fitted[0].predict([[1.0], [6.0]], X_err=x_err)
    assert far - near < 0.5 * (fitted[1].predict([[6.0]], X_err=x_err)[0] - 1.0)


def test_draws_and_moments_are_of_one_distribution(fitted: Any) -> None:
    predicted = fitted[0].predict_distribution([[-0.2], [2.5], [6.0]], X_err=[[0.6], [0.9], [0.3]])
    draws = predicted.sample(10_000, random_state=1)
    assert (np.abs(draws.mean(axis=1) - predicted.mean()) < 5.0 * predicted.std() / 100.0).all()
    assert_allclose(draws.var(axis=1), predicted.var(), rtol=0.12)
    assert_allclose((draws < predicted.ppf(0.9)[:, None]).mean(axis=1), 0.9, atol=5.0 * np.sqrt(0.09 / 1e4))


# --- the estimator -------------------------------------------------------------------------------


def test_share_and_factor_are_reported_wherever_parameters_are(fitted: Any) -> None:
    model, other, X, y = fitted
    summary = model.summary()
    assert list(summary.index) == ["intercept", "x0", "noise_scale", "outlier_share", "outlier_factor"]
    assert model.outlier_share_ == summary.loc["outlier_share", "mean"]
    assert model.outlier_share_ == pytest.approx(0.05, abs=0.04)
    assert 3.0 < model.outlier_factor_ < 10.0
    assert model.inference_ == "importance"
    assert not hasattr(other, "outlier_share_")
    found = model.to_arviz(X, y, X_err=0.65)
    assert np.asarray(found.posterior["outlier_share"]).mean() == pytest.approx(
        model.outlier_share_, abs=2e-3
    )
    again = pickle.loads(pickle.dumps(model))
    assert_allclose(again.predict(X[:3]), model.predict(X[:3]), rtol=0.0)
    assert not hasattr(clone(model).set_params(x_error_distribution="normal"), "outlier_share_")
    model = clone(Regressor(x_error_distribution=Outliers(share_prior=Beta(1, 20))))
    assert (
        model.set_params(x_error_distribution__share_prior__beta=30)
        .get_params()["x_error_distribution__share_prior"]
        .beta
        == 30
    )


def test_leave_one_out_prefers_what_is_right(fitted: Any) -> None:
    model, other, X, y = fitted
    found = model.loo(X, y, X_err=0.65)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        naive = other.loo(X, y, X_err=0.65)
    values = [one.elpd_loo if hasattr(one, "elpd_loo") else one.elpd for one in (found, naive)]
    assert values[0] - values[1] > 15.0
    assert stats.kstest(model.loo_pit(X, y, X_err=0.65), "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("likelihood", "given"),
    [("student_t", {}), ("binomial", {"sample_weight": np.full(400, 20.0)}), ("poisson", {})],
)
def test_slopes_under_any_likelihood_are_not_flattened(likelihood: str, given: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    reading = x + 0.65 * rng.normal(size=400) * np.where(rng.random(400) < 0.05, 5.0, 1.0)
    slope = {"student_t": 2.0, "binomial": 1.0, "poisson": 0.5}[likelihood]
    y = {
        "student_t": 1.0 + 2.0 * x + 0.3 * rng.standard_t(4, 400),
        "binomial": rng.binomial(20, 1.0 / (1.0 + np.exp(-x))) / 20.0,
        "poisson": rng.poisson(np.exp(0.5 + 0.5 * x)).astype(float),
    }[likelihood]
    scores = []
    for how in ("outliers", "normal"):
        model = Regressor(
            likelihood=likelihood,
            x_error_distribution=how,
            weight_type="counts" if given else "frequency",
            inference="importance",
            random_state=0,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(reading[:, None], y, X_err=0.65, **given)
        scores.append(float((model.coef_[0] - slope) / model.coef_std_[0]))
        assert any("are wild: x0 (" in str(warning.message) for warning in caught) == (how == "normal")
    assert abs(scores[0]) < 3.0
    assert scores[1] < -2.5


def test_several_features_beside_exact_ones_and_in_clusters() -> None:
    """Slopes of two readings, one in two clusters, of which some are wild."""
    rng = np.random.default_rng(1)
    z, wild = rng.normal(size=500), np.where(rng.random((500, 2)) < 0.05, 6.0, 1.0)
    x = np.column_stack([np.where(rng.random(500) < 0.4, -2.0, 2.0) + 0.5 * rng.normal(size=500), 0.5 * z])
    x[:, 1] += rng.normal(size=500)
    X = np.column_stack([x + 0.5 * wild * rng.normal(size=(500, 2)), z])
    y = 1.0 + x @ [1.0, -2.0] + 0.5 * z + 0.3 * rng.normal(size=500)
    model = Regressor(x_distribution="mixture", x_error_distribution="outliers", random_state=0)
    model.fit(X, y, X_err=[0.5, 0.5, 0.0])
    assert model.n_components_ == 2
    assert (np.abs(model.coef_ - [1.0, -2.0, 0.5]) < 3.5 * model.coef_std_).all()
    assert model.outlier_share_ == pytest.approx(0.05, abs=0.03)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("design", "ignoring"),
    [
        ({}, 0.3),
        ({"fixed": True}, 0.3),
        ({"x_err": 1.0}, 0.3),
        ({"share": 0.1, "times": 30.0}, 0.1),
        ({"share": 0.0}, None),
        ({"x_err": 0.33, "noise": 1.0}, 0.6),
    ],
)
def test_slopes_are_covered_where_readings_are_wild_and_where_none_is(
    design: dict[str, Any], ignoring: float | None
) -> None:
    """Of 100 other tables 0.96, 0.96, 0.95, 0.94, 0.94 and 0.88; a rate of 0.9 is below 0.8 once in 600 times."""
    covered, naive, n_tables = 0, 0, 100
    for seed in range(n_tables):
        X, y, x_err = table(seed, **design)
        for how in ("outliers", "normal"):
            found = quietly_fitted(X, y, x_err, x_error_distribution=how).summary(0.9).loc["x0"]
            holds = found["lower_90%"] <= 2.0 <= found["upper_90%"]
            covered, naive = (covered + holds, naive) if how == "outliers" else (covered, naive + holds)
    assert covered / n_tables > 0.8
    assert ignoring is None or naive / n_tables < ignoring


@pytest.mark.thorough
def test_nuts_on_the_model_with_true_features_has_the_same_posterior() -> None:
    """PyMC's own, as `to_pymc` writes it, sampled by nutpie; means to 5 standard errors."""
    import nutpie

    X, y, x_err = table(5, n=100, share=0.1)
    model = plain.Regressor(x_error_distribution="outliers", inference="importance", random_state=0)
    model.fit(X, y, X_err=x_err)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = nutpie.compile_pymc_model(model.to_pymc(X, y, X_err=x_err))
        trace = nutpie.sample(compiled, draws=2000, tune=1500, chains=4, seed=3, progress_bar=False)
        sampled = clone(model).set_params(inference="nuts").fit(X, y, X_err=x_err)
    summary, by_nuts = model.summary(), sampled.summary()
    names = {"coef": "x0", "intercept": "intercept", "sigma": "noise_scale", "outlier_share": "outlier_share"}
    for name, row in names.items():
        draws = np.asarray(trace.posterior[name]).reshape(4, -1)
        between = draws.mean(axis=1).std(ddof=1) / 2.0
        error = 5.0 * max(float(between), float(draws.std()) / np.sqrt(400.0))
        for found in (summary, by_nuts):
            assert_allclose(found.loc[row, "mean"], draws.mean(), atol=error)
            assert_allclose(found.loc[row, "sd"], draws.std(), rtol=0.2)


# --- what is said --------------------------------------------------------------------------------


def _uneven(rng: np.random.Generator, n: int) -> tuple[Array, Array, dict[str, Any]]:
    x, x_err, y_err = (
        rng.normal(size=n),
        0.5 * np.exp(0.6 * rng.normal(size=n)),
        np.exp(0.5 * rng.normal(size=n)),
    )
    y = 1.0 + 2.0 * x + 0.3 * y_err * rng.normal(size=n)
    return (x + x_err * rng.normal(size=n))[:, None], y, {"X_err": x_err[:, None], "y_err": 0.3 * y_err}


def _heavy(rng: np.random.Generator, n: int) -> tuple[Array, Array, dict[str, Any]]:
    x = rng.standard_t(3, n)
    y = 1.0 + 2.0 * x + 0.3 * rng.normal(size=n)
    return (x + 0.65 * rng.normal(size=n))[:, None], y, {"X_err": 0.65}


def _of_target(rng: np.random.Generator, n: int) -> tuple[Array, Array, dict[str, Any]]:
    x = rng.normal(size=n)
    y = (
        1.0
        + 2.0 * x
        + 0.3 * rng.normal(size=n)
        + np.where(rng.random(n) < 0.05, 8.0, 0.0) * rng.normal(size=n)
    )
    return (x + 0.65 * rng.normal(size=n))[:, None], y, {"X_err": 0.65}


def _said(X: Array, y: Array, given: dict[str, Any], **parameters: Any) -> bool:
    model = Regressor(inference="importance", random_state=0, **parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, **given)
    texts = [str(warning.message) for warning in caught]
    ways = [text for text in texts if "x_error_distribution='outliers'" in text and "'mixture'" in text]
    assert all(" are wild: x0 (kurtosis " in text and len(text) < 400 for text in ways)
    return bool(ways)


def test_wild_readings_warn_in_nearly_every_table_where_the_slope_is_missed() -> None:
    """Of 100 other tables it was missed in 93, and said in 92 of these; sizes of 30 tables."""
    missed, said = 0, 0
    for seed in range(30):
        X, y, x_err = table(seed)
        found = quietly_fitted(X, y, x_err).summary(0.9).loc["x0"]
        if not found["lower_90%"] <= 2.0 <= found["upper_90%"]:
            missed, said = missed + 1, said + _said(X, y, {"X_err": x_err})
    assert missed > 20
    assert said >= missed - 3


@pytest.mark.parametrize("kind", [_uneven, _heavy, _of_target], ids=lambda kind: kind.__name__)
def test_what_is_not_wild_readings_is_not_called_so(kind: Any) -> None:
    """Nor are readings as they are stated: of 60 tables each none, and one of 60 where targets are wild."""
    for seed in range(20):
        assert not _said(*kind(np.random.default_rng([seed, 7]), 200)), seed


def test_readings_as_stated_are_called_wild_hardly_ever() -> None:
    """For any number of rows: by the bound's own count less than once in 1,000 times."""
    rng, bound = np.random.default_rng(0), 4.0
    for n in (20, 100, 1000):
        x = rng.normal(size=(10_000_000 // n // 10, n))
        x -= x.mean(axis=1, keepdims=True)
        kurtosis = np.mean(x**4, axis=1) / np.square(np.mean(x**2, axis=1))
        # 3 to 7 of 10,000; 1,000 tables of 1,000 rows.
        assert np.mean(kurtosis > 3.0 * np.exp(bound * np.sqrt(24.0 / n) / 3.0)) < 2e-3
    assert not any(_said(*table(seed, share=0.0)[:2], {"X_err": 0.65}) for seed in range(30))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("wild", ValueError, "^x_error_distribution must be 'normal', 'outliers' or an Outliers"),
        (5, TypeError, "^x_error_distribution must be"),
        (
            Outliers(share_prior=0.1),
            TypeError,
            r"^x_error_distribution__share_prior must be a prior such as Beta",
        ),
        (Outliers(share_prior=HalfNormal()), TypeError, r"^x_error_distribution__share_prior must be"),
        (Outliers(share_prior=Beta(0.0, 1.0)), ValueError, "x_error_distribution__share_prior"),
        (Outliers(factor_prior=Flat()), ValueError, "x_error_distribution__factor_prior needs a prior that"),
    ],
)
def test_bad_distributions_are_named(value: Any, error: type[Exception], message: str) -> None:
    X, y, x_err = table(0, n=20)
    model = quietly_fitted(X, y, x_err)
    before = model.coef_.copy()
    with pytest.raises(error, match=message) as caught:
        model.set_params(x_error_distribution=value).fit(X, y, X_err=x_err)
    assert len(str(caught.value)) <= 400
    assert_allclose(model.coef_, before, rtol=0.0)


def test_batches_are_refused_by_name() -> None:
    X, y, x_err = table(0, n=20)
    with pytest.raises(ValueError, match=r"x_error_distribution='outliers' needs every row"):
        Regressor(x_error_distribution="outliers", noise="scaled").partial_fit(X, y, X_err=x_err)


def test_audits_name_wild_readings_and_find_nothing_where_they_are_allowed_for() -> None:
    X, y, x_err = table(1, n=300, share=0.03, times=8.0, x_err=0.5)
    said = []
    for how in ("normal", "outliers"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model = Regressor(noise="known", x_error_distribution=how, random_state=0)
            said.append(audit_errors(model.fit(X, y, y_err=0.3, X_err=x_err), X, y, y_err=0.3, X_err=x_err))
    assert said[0].verdict == "too small"
    assert "of readings of features, x_error_distribution='outliers'" in " ".join(str(said[0]).split())
    assert said[1].verdict == "about right"


@pytest.mark.parametrize("likelihood", ["normal", "student_t"])
@pytest.mark.parametrize("off", [[30.0, -50.0, 20.0], [1e5, -2e5, 100.0]])
def test_decimal_points_in_the_wrong_place_change_next_to_nothing(off: list[float], likelihood: str) -> None:
    """However far readings are off: units, and where a search starts, are those of readings near each other."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=100)
    w, y = x + 0.3 * rng.normal(size=100), 2.0 * x + 0.1 * rng.normal(size=100)
    without = quietly_fitted(w[3:, None], y[3:], 0.3, likelihood=likelihood, inference="importance")
    w[:3] += off
    model = quietly_fitted(
        w[:, None],
        y,
        0.3,
        likelihood=likelihood,
        inference="importance",
        x_error_distribution="outliers",
    )
    assert_allclose(model.coef_, without.coef_, atol=0.5 * without.coef_std_[0])
    assert_allclose(model.coef_std_, without.coef_std_, rtol=0.2)


def test_a_climb_past_the_range_of_numbers_ends_before_it() -> None:
    X = np.array([[-2.89], [-1.503], [-3.016], [-2.974], [-3.363], [-2.807], [-3.702]])
    y = np.array([1.876, 1.955, 3.082, 3.105, 3.882, 1.503, 2.87])
    model = Regressor(
        fit_intercept=False, x_error_distribution="outliers", inference="importance", random_state=0
    )
    # Errors as large as what there is to explain, which do not explain it: the line through the origin says so.
    with pytest.warns(ConvergenceWarning, match="not to be trusted"):
        model.set_params(noise_prior=HalfCauchy(), standardize=True).fit(
            X, y, y_err=1.0, X_err=0.356, Xy_cov=0.1068
        )
    assert np.isfinite(model.coef_).all()
