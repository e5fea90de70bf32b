"""The exact engine's and importance sampling's posteriors are calibrated, and what is not calibrated is seen.

How probable a false alarm is: see `calibration`. NUTS has a file of its own.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from bayes_sklearn import BetaBinomialLikelihood, BetaLikelihood, Mixture, StudentTLikelihood
from bayes_sklearn.estimators.fitting import Fit
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.priors import (
    Beta,
    Exponential,
    Flat,
    Gamma,
    HalfCauchy,
    HalfNormal,
    HalfStudentT,
    Horseshoe,
    InverseGamma,
    Laplace,
    Normal,
    PoweredCorrelation,
    StudentT,
)
from bayes_sklearn.validation import simulation_based_calibration
from bayes_sklearn.validation.ranks import independent, uniformity_p_value
from bayes_sklearn.validation.simulation import Simulation

from calibration import COUNTS, FALSE_ALARM, N_ROWS, SEED, SHARES, X_COV, Y_ERR, Case, X
from plain import Regressor

MODERATE: dict[str, Any] = {"coef_prior": Normal(), "intercept_prior": Normal()}

HOURS = np.geomspace(0.3, 12.0, N_ROWS)

# Every other reading of the first feature has a limit, beyond which it is not seen.
LIMITED = np.arange(24) % 2 == 0
LIMITS = np.column_stack([np.where(LIMITED, -0.3, np.linspace(-2.0, 2.0, 24)), np.cos(np.arange(24))])
SIDES = np.column_stack([-1.0 * LIMITED, np.zeros(24)])

CASES: dict[str, dict[str, Case]] = {
    "exact": {
        "scaled": Case(),
        "no errors, the units of a target": Case(data={"y": 50.0 + 20.0 * SHARES}),
        "additive": Case({"noise": "additive", "noise_prior": HalfStudentT()}, X=X[:, :1]),
        "known, frequencies": Case(
            {"noise": "known", "coef_prior": Normal(mu=[1.0, -1.0], sigma=[0.1, 2.0])},
            {"y_err": Y_ERR, "sample_weight": np.arange(N_ROWS) % 3.0},
        ),
        "raw, no intercept, errors in a column": Case(
            {"standardize": False, "fit_intercept": False, "noise_prior": InverseGamma(), "y_err_column": 2},
            {},
            np.column_stack([X, Y_ERR]),
        ),
        "more features than rows": Case(
            {"noise_prior": HalfCauchy()},
            {"y_err": Y_ERR[:5]},
            np.column_stack([X, np.cos(X), np.sin(X)])[:5],
        ),
        "errors of shares taken as known": Case(data={"y": SHARES, "counts": COUNTS}),
        "the default": Case({"coef_prior": PoweredCorrelation(), "intercept_prior": Flat(), "noise": "auto"}),
        # The default's integral once more, whose errors are alike: fewer simulations of 0.1 s.
        "equal errors, the default": Case(
            {"coef_prior": PoweredCorrelation(), "intercept_prior": Flat(), "noise": "auto"},
            {"y_err": 0.3, "n_simulations": 400},
        ),
        "a learned scale, additive": Case({"coef_prior": Normal(sigma=HalfNormal()), "noise": "additive"}),
        "more features than rows, a learned scale": Case(
            {"coef_prior": Normal(sigma=HalfCauchy()), "intercept_prior": Flat()},
            {"y_err": Y_ERR[:5]},
            np.column_stack([X, np.cos(X), np.sin(X)])[:5],
        ),
    },
    "importance": {
        "student_t, scaled": Case({"likelihood": "student_t", "coef_prior": StudentT()}),
        "student_t, additive": Case(
            {"likelihood": StudentTLikelihood(nu=3), "noise": "additive", "noise_prior": Gamma(2.0, 2.0)},
            X=X[:, :1],
        ),
        "student_t, known": Case({"likelihood": StudentTLikelihood(nu=5), "noise": "known"}),
        "binomial": Case(
            {"likelihood": "binomial", "coef_prior": Laplace(b=0.5), "count_column": 2},
            {},
            np.column_stack([X, COUNTS]),
        ),
        "exact features, heavy-tailed priors": Case(
            {"coef_prior": Laplace(b=0.3), "intercept_prior": StudentT(), "noise_prior": HalfCauchy()}
        ),
        "exact features, a heavy-tailed prior of a learned scale, auto": Case(
            {"coef_prior": StudentT(sigma=HalfNormal()), "noise": "auto"}
        ),
        "beta_binomial": Case(
            {"likelihood": BetaBinomialLikelihood(dispersion_prior=Beta(1.0, 4.0))}, {"counts": COUNTS}
        ),
        "a feature with errors": Case(
            {"error_columns": {0: 2}}, {"y_err": Y_ERR}, np.column_stack([X, np.full(N_ROWS, 0.5)])
        ),
        "two features with errors that go together, additive": Case(
            {"noise": "additive", "coef_prior": Laplace()},
            {"y_err": 0.5, "X_cov": X_COV, "Xy_cov": [0.3 * 0.5 * 0.5, -0.2 * 4.0 * 0.5]},
        ),
        "student_t, the default": Case(
            {"likelihood": "student_t", "coef_prior": PoweredCorrelation(), "noise": "auto"}
        ),
        "beta": Case({"likelihood": BetaLikelihood(Beta(2.0, 10.0)), **MODERATE}, {}),
        "beta, a feature with errors": Case(
            {"likelihood": BetaLikelihood(Beta(2.0, 10.0)), **MODERATE, "coef_prior": Normal(sigma=0.3)},
            {"X_err": 0.5, "n_simulations": 100},
            X[:, :1],
        ),
        "poisson": Case({"likelihood": "poisson", **MODERATE}, {"exposure": HOURS}),
        "poisson, a learned scale, raw": Case(
            {"likelihood": "poisson", "coef_prior": Normal(sigma=HalfNormal(0.3)), "exposure_column": 2},
            {},
            np.column_stack([X, HOURS]),
        ),
        "negative_binomial": Case({"likelihood": "negative_binomial", **MODERATE}, {"exposure": HOURS}),
        "poisson, a feature with errors beside an exact one": Case(
            {"likelihood": "poisson", "coef_prior": Normal(sigma=0.3)},
            {"exposure": HOURS, "X_err": [0.5, 0.0], "n_simulations": 100},
        ),
        "negative_binomial, a feature with errors": Case(
            {"likelihood": "negative_binomial", "coef_prior": Normal(sigma=0.3)},
            {"exposure": HOURS, "X_err": 0.5, "n_simulations": 100},
            X[:, :1],
        ),
        "binomial, a learned scale": Case(
            {"likelihood": "binomial", "coef_prior": Laplace(b=HalfNormal())}, {"counts": COUNTS}
        ),
        "the signal of features with errors, beside an exact one": Case(
            {"coef_prior": PoweredCorrelation(), "intercept_prior": Flat(), "noise": "auto"},
            {"y_err": Y_ERR, "X_err": [0.5, 0.0]},
        ),
        # Priors that leave most log odds where counts tell something; what is not trusted, NUTS would take over.
        "binomial, a feature with errors beside an exact one": Case(
            {"likelihood": "binomial", **MODERATE},
            {"counts": COUNTS, "X_err": [0.5, 0.0]},
        ),
        "binary, two features with errors": Case(
            {"likelihood": "binomial", **MODERATE},
            {"counts": np.ones(N_ROWS), "X_err": [0.5, 4.0]},
        ),
        "beta_binomial, a feature with errors": Case(
            {"likelihood": "beta_binomial", **MODERATE},
            {"counts": COUNTS, "X_err": [0.5, 0.0]},
        ),
        "student_t, auto, errors of a feature that go with the target's": Case(
            {"likelihood": "student_t", "noise": "auto", **MODERATE},
            {"y_err": Y_ERR, "X_err": [0.5, 0.0], "Xy_cov": np.outer(Y_ERR, [0.25, 0.0])},
        ),
        "binomial, a feature that is a mixture": Case(
            {"likelihood": "binomial", "x_distribution": Mixture(n_components=2), **MODERATE},
            {"counts": COUNTS, "X_err": 0.5},
            X[:, :1],
        ),
        # Rows enough to tell wild readings from a wide true spread: else NUTS would take over.
        "readings that may be wild": Case(
            {"x_error_distribution": "outliers"},
            {"X_err": [0.7, 0.0], "n_simulations": 200},
            np.random.default_rng(0).normal(size=(60, 2)),
        ),
        "binomial, readings that may be wild": Case(
            {"likelihood": "binomial", "x_error_distribution": "outliers", **MODERATE},
            {"counts": COUNTS, "X_err": [0.5, 0.0], "n_simulations": 200},
        ),
        "Laplace's prior beside an exact feature": Case(
            {"coef_prior": Laplace()}, {"y_err": Y_ERR, "X_err": [0.5, 0.0]}
        ),
        "readings below a limit": Case(
            {"noise": "known", "coef_prior": Normal(sigma=0.5)},
            {"y_err": 0.5, "X_censored": SIDES, "n_simulations": 100},
            LIMITS,
        ),
        "binomial, readings with errors above a limit": Case(
            {"likelihood": "binomial", **MODERATE},
            {"counts": np.full(24, 4.0), "X_err": [0.5, 0.0], "X_censored": -SIDES, "n_simulations": 100},
            LIMITS,
        ),
        "a feature that is a mixture": Case(
            {"x_distribution": Mixture(n_components=2), "noise": "known"},
            {"y_err": Y_ERR[:6], "X_err": 0.4},
            X[:6, :1],
        ),
    },
    "hmc": {
        "horseshoe": Case({"coef_prior": Horseshoe(n_nonzero=1)}),
        "horseshoe, raw, other priors": Case(
            {
                "coef_prior": Horseshoe(n_nonzero=0.5, slab_sigma=2.0),
                "standardize": False,
                "intercept_prior": StudentT(),
                "noise_prior": Exponential(),
            },
            {},
            X / [1.0, 10.0],
        ),
        "horseshoe, more features than rows, known": Case(
            {"coef_prior": Horseshoe(n_nonzero=1), "intercept_prior": Flat(), "noise": "known"},
            {"y_err": Y_ERR[:5]},
            np.column_stack([X, np.cos(X), np.sin(X)])[:5],
        ),
    },
}
EACH = [(inference, name) for inference, cases in CASES.items() for name in cases]


@pytest.mark.thorough
@pytest.mark.parametrize(("inference", "name"), EACH)
def test_true_values_rank_evenly_in_posteriors(inference: str, name: str) -> None:
    found = CASES[inference][name].calibrate(inference)
    assert not found.failures
    assert found.engines == {inference: found.n_simulations}
    assert found.p_value > FALSE_ALARM, str(found)


def _changed(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Have fits of simulated rows changed: `change` gets the simulation, the rows and the fit as it should be."""
    right = Simulation.fit

    def wrong(self: Simulation, rows: Rows, *settings: Any) -> Fit:
        return change(self, rows, lambda simulation, rows: right(simulation, rows, *settings))

    monkeypatch.setattr(Simulation, "fit", wrong)


def _errors_times(factor: float) -> Any:
    def change(simulation: Simulation, rows: Rows, fit: Any) -> Fit:
        errors = replace(
            simulation.data.errors, standard_error=factor * simulation.data.errors.standard_error
        )
        return fit(replace(simulation, data=simulation.data._replace(errors=errors)), rows)

    return change


def _as_wide(factor: float) -> Any:
    def change(simulation: Simulation, rows: Rows, fit: Any) -> Fit:
        found = fit(simulation, rows)
        posterior: Posterior = found.posterior
        mean, matrix = posterior.mean, factor * np.eye(len(posterior.mean))
        return found._replace(posterior=posterior.mapped(matrix, mean - matrix @ mean, 1.0, posterior.center))

    return change


def _own_units(simulation: Simulation, rows: Rows, fit: Any) -> Fit:
    return fit(replace(simulation, specification=replace(simulation.specification, prior_units=None)), rows)


def _prior(simulation: Simulation, rows: Rows, fit: Any) -> Fit:
    """A posterior of rows that say nothing."""
    return _errors_times(1e6)(simulation, rows, fit)._replace(problem=fit(simulation, rows).problem)


@pytest.mark.parametrize(
    ("change", "model"),
    [
        (_errors_times(1.25), {"noise": "known"}),
        (_errors_times(0.8), {"noise": "known"}),
        (_as_wide(0.8), {}),
        (_as_wide(1.25), {}),
        # What must not be: priors in units of each simulated table.
        (_own_units, {"coef_prior": Normal(sigma=0.3)}),
    ],
    ids=["errors too large", "errors too small", "posterior too narrow", "too wide", "own units"],
)
def test_what_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch, change: Any, model: dict[str, Any]) -> None:
    _changed(monkeypatch, change)
    assert Case(model).calibrate("exact").p_value < 1e-6


@pytest.mark.parametrize("inference", ["exact", pytest.param("importance", marks=pytest.mark.thorough)])
def test_a_posterior_that_ignores_the_data_is_seen_by_the_likelihood_alone(
    monkeypatch: pytest.MonkeyPatch, inference: str
) -> None:
    _changed(monkeypatch, _prior)
    likelihood = "normal" if inference == "exact" else StudentTLikelihood(nu=5)
    found = Case({"noise": "known", "likelihood": likelihood}).calibrate(inference, n_simulations=300)
    assert found.p_values["log_likelihood"] < 1e-6
    assert found.p_values.drop("log_likelihood").min() > FALSE_ALARM / 3


@pytest.mark.parametrize(
    ("inference", "name"),
    [
        ("exact", "scaled"),
        ("exact", "additive"),
        ("exact", "known, frequencies"),
        ("exact", "no errors, the units of a target"),
        ("exact", "raw, no intercept, errors in a column"),
        ("importance", "student_t, additive"),
        ("importance", "beta_binomial"),
        ("importance", "poisson"),
        ("importance", "a feature with errors"),
    ],
)
def test_the_log_likelihood_is_that_of_the_model(
    monkeypatch: pytest.MonkeyPatch, inference: str, name: str
) -> None:
    """At the true values, written out by SciPy."""
    seen: list[tuple[Simulation, Rows]] = []

    def keep(simulation: Simulation, rows: Rows, fit: Any) -> Fit:
        seen.append((simulation, rows))
        return fit(simulation, rows)

    _changed(monkeypatch, keep)
    found = CASES[inference][name].calibrate(inference, n_simulations=3)
    for (simulation, rows), (_, true) in zip(seen, found.parameters.iterrows(), strict=True):
        features = np.asarray(rows.X if rows.features is None else rows.X[:, rows.features], dtype=float)
        coef = true[[column for column in true.index if column in ("x0", "x1")]].to_numpy()
        line = true.get("intercept", 0.0) + features @ coef
        error, noise = simulation.data.errors.standard_error, simulation.problem.noise
        scale = true.get("noise_scale", 1.0)
        scatter = np.hypot(error, scale) if noise.only_scatters else scale * (1.0 if error is None else error)
        if name == "poisson":
            terms = stats.poisson.logpmf(np.rint(rows.y * HOURS), HOURS * np.exp(line))
        elif "dispersion" in true:
            trials, share = simulation.data.errors.counts, special.expit(line)
            assert trials is not None
            a, b = (part * (1.0 / true["dispersion"] - 1.0) for part in (share, 1.0 - share))
            terms = stats.betabinom.logpmf(np.rint(rows.y * trials), trials, a, b) + np.log(trials)
        elif "student" in name:
            terms = stats.t.logpdf(rows.y, 3, line, scatter)
        else:
            terms = stats.norm.logpdf(rows.y, line, scatter)
        np.testing.assert_allclose(true["log_likelihood"], terms.sum(), rtol=1e-9)


def test_draws_that_are_taken_as_independent_are_seen() -> None:
    """Thinning is what makes ranks of chains uniform: autocorrelated draws, and a true value of the same kind."""
    rng = np.random.default_rng(1)
    carried, size = 0.99, (200, 2, 400)
    noise = rng.normal(size=size) * np.sqrt(1.0 - carried**2)
    chains = np.empty(size)
    chains[..., 0] = rng.normal(size=size[:2])
    for step in range(1, size[2]):
        chains[..., step] = carried * chains[..., step - 1] + noise[..., step]
    true, jitter = rng.normal(size=size[0]), rng.random(size[0])

    def p_value(taken: Any) -> float:
        ranks = []
        for draws, value, between in zip(chains, true, jitter, strict=True):
            kept = taken(draws[:, :, None])
            ranks.append(((kept < value).sum() + between) / (len(kept) + 1.0))
        return uniformity_p_value(np.array(ranks))

    assert p_value(independent) > FALSE_ALARM
    assert p_value(lambda draws: draws.reshape(-1, 1)) < FALSE_ALARM


def test_binomial_shares_are_fitted_with_the_errors_that_counts_give() -> None:
    """A narrow prior keeps lines between 0 and 1; counts are large enough for normal errors to be about right."""
    counts = np.full(40, 200.0)
    design = np.linspace(-1.0, 1.0, 40)[:, None]
    model = Regressor(
        standardize=False,
        coef_prior=Normal(sigma=0.1),
        intercept_prior=Normal(mu=0.4, sigma=0.1),
        noise="known",
        error_floor=0.0,
    )
    found = simulation_based_calibration(
        model, design, counts=counts, targets="binomial", n_simulations=300, random_state=SEED
    )
    assert found.p_value > FALSE_ALARM
    assert found.ranks.columns.tolist() == ["intercept", "x0"]
    assert "drawn anew" in found.notes[-1]
    # A floor that drowns what counts say is seen.
    found = simulation_based_calibration(
        model.set_params(error_floor=0.1),
        design,
        counts=counts,
        targets="binomial",
        n_simulations=300,
        random_state=0,
    )
    assert found.p_value < 1e-6


@pytest.mark.parametrize(
    ("model", "data"),
    [({"standardize": False}, {"y_err": Y_ERR}), ({"likelihood": "binomial"}, {"counts": COUNTS})],
    ids=["normal", "binomial"],
)
def test_fits_are_those_of_the_estimator(
    monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], data: dict[str, Any]
) -> None:
    """Where the units of the priors do not depend on the target."""
    seen: list[tuple[Rows, Fit]] = []

    def keep(simulation: Simulation, rows: Rows, fit: Any) -> Fit:
        seen.append((rows, fit(simulation, rows)))
        return seen[-1][1]

    _changed(monkeypatch, keep)
    found = simulation_based_calibration(Regressor(**model), X, **data, n_simulations=3, random_state=0)
    assert len(seen) == 3
    for i, (rows, fitted) in enumerate(seen):
        given = {"sample_weight": data["counts"]} if "counts" in data else data
        weight_type = "counts" if "counts" in data else "auto"
        own = Regressor(**model, weight_type=weight_type, random_state=0).fit(rows.X, rows.y, **given)
        sd = own.coef_std_
        # Importance sampling has another seed.
        np.testing.assert_allclose(
            fitted.posterior.mean[1:], own.coef_, atol=0.1 * sd.min() if "counts" in data else 0
        )
        if "counts" not in data:
            below = own.predict_distribution(np.zeros((1, 2)), include_noise=False).cdf(
                found.parameters.intercept[i]
            )
            np.testing.assert_allclose(found.ranks.intercept[i], below[0], atol=1e-9)


def test_the_estimator_stays_as_it_is_and_seeds_say_all() -> None:
    model = Regressor(coef_prior=Normal(), random_state=0)
    before = repr(model.get_params())
    one, two, other = (
        simulation_based_calibration(
            model, X, y_err=Y_ERR, n_simulations=70, random_state=seed, n_jobs=n_jobs
        )
        for seed, n_jobs in ((1, None), (1, 2), (2, None))
    )
    assert repr(model.get_params()) == before
    assert not hasattr(model, "coef_")
    assert one.ranks.equals(two.ranks)
    assert one.parameters.equals(two.parameters)
    assert not (one.ranks == other.ranks).any(axis=None)


def test_failures_and_warnings_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def some(simulation: Simulation, rows: Rows, fit: Any) -> Fit:
        call = next(calls)
        if call % 5 == 0:
            raise ValueError("No luck.")
        if call % 5 == 1:
            warnings.warn(f"The {call} doubts: do this.", UserWarning, stacklevel=1)
        return fit(simulation, rows)

    _changed(monkeypatch, some)
    found = Case().calibrate("exact", n_simulations=50)
    assert found.failures == {"ValueError: No luck.": 10}
    assert found.warnings == {"UserWarning: The # doubts": 10}
    assert found.engines == {"exact": 40}
    assert found.ranks.isna().all(axis=1).sum() == 10
    assert not found.parameters.drop(columns="log_likelihood").isna().any(axis=None)
    assert found.parameters["log_likelihood"].isna().sum() == 10
    assert found.p_values.notna().all()
    assert "40 of 50 simulations fitted (40 exact)" in str(found)
    assert "10 x ValueError: No luck." in str(found)

    def none(simulation: Simulation, rows: Rows, fit: Any) -> Fit:
        raise ValueError("Never.")

    _changed(monkeypatch, none)
    with pytest.raises(ValueError, match=r"Every simulation failed, 5 of 5 so: ValueError: Never\."):
        Case().calibrate("exact", n_simulations=5)


def test_the_table_says_how_posteriors_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    _changed(monkeypatch, _as_wide(0.5))
    table = Case({"noise": "known"}).calibrate("exact").to_frame()
    assert table.columns.tolist() == ["p_value", "mean_rank", "coverage_50%", "coverage_90%"]
    table = table.drop(index="log_likelihood")
    # Intervals half as wide: 26% and 59% of a normal distribution; six standard errors of 1,000 simulations.
    assert (np.abs(table["coverage_50%"] - 0.264) < 6.0 * 0.014).all()
    assert (np.abs(table["coverage_90%"] - 0.589) < 6.0 * 0.016).all()
    assert (np.abs(table["mean_rank"] - 0.5) < 6.0 * 0.012).all()
