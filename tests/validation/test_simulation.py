"""Data simulated from the model are what PyMC draws from it; bad input is refused.

Distributions are compared by Kolmogorov & Smirnov's test, with a p value of 1e-5 as the bound: of the 60 or so
comparisons one fails in at most one of 1,500 sets of draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayes_sklearn import Mixture, StudentTLikelihood
from bayes_sklearn.inference._compat import prior_draws
from bayes_sklearn.priors import (
    Beta,
    CoefficientPrior,
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
from bayes_sklearn.validation.calibration import _settled
from bayes_sklearn.validation.simulation import _drawn

from plain import Regressor

Array = NDArray[np.float64]

FALSE_ALARM = 1e-5
RNG = np.random.default_rng(5)
X = RNG.normal(size=(8, 3)) * [1.0, 10.0, 0.1] + [3.0, -2.0, 0.0]
Y_ERR = RNG.uniform(0.2, 1.0, 8)
COUNTS = np.array([2.0, 3.0, 5.0, 8.0, 10.0, 12.0, 30.0, 60.0])
Y = 5.0 + X[:, 0] + RNG.normal(size=8)


class Logistic(CoefficientPrior):
    """A user's own, with PyMC's name and nothing to draw by."""

    _positive = ("s",)
    distribution = "Logistic"

    def __init__(self, mu: float = 0.0, s: float = 1.0):
        self.mu = mu
        self.s = s


PRIORS: list[tuple[Any, Any]] = [
    (Normal(1.0, 2.0), stats.norm(1.0, 2.0)),
    (StudentT(nu=3.0, mu=1.0, sigma=2.0), stats.t(3.0, 1.0, 2.0)),
    (Laplace(mu=1.0, b=2.0), stats.laplace(1.0, 2.0)),
    (Logistic(1.0, 2.0), stats.logistic(1.0, 2.0)),
    (HalfNormal(2.0), stats.halfnorm(scale=2.0)),
    (HalfStudentT(nu=3.0, sigma=2.0), stats.foldcauchy(0.0)),
    (HalfCauchy(2.0), stats.halfcauchy(scale=2.0)),
    (Exponential(2.0), stats.expon(scale=0.5)),
    (InverseGamma(3.0, 2.0), stats.invgamma(3.0, scale=2.0)),
    (Gamma(3.0, 2.0), stats.gamma(3.0, scale=0.5)),
    (Beta(2.0, 3.0), stats.beta(2.0, 3.0)),
]


@pytest.mark.parametrize(("prior", "distribution"), PRIORS, ids=lambda value: type(value).__name__)
def test_priors_draw_from_their_distribution(prior: Any, distribution: Any) -> None:
    drawn = _drawn(prior, "prior", 1, 20_000, np.random.default_rng(0))
    assert drawn.shape == (20_000, 1)
    cdf = distribution.cdf
    if isinstance(prior, HalfStudentT):
        cdf = lambda value: 2.0 * stats.t(3.0, 0.0, 2.0).cdf(value) - 1.0  # noqa: E731
    assert stats.kstest(drawn[:, 0], cdf).pvalue > FALSE_ALARM


def test_every_coefficient_is_drawn_with_its_own_parameters() -> None:
    drawn = _drawn(Normal([0.0, 10.0], [1.0, 0.1]), "coef_prior", 2, 5000, np.random.default_rng(0))
    for column, distribution in zip(drawn.T, (stats.norm(0.0, 1.0), stats.norm(10.0, 0.1)), strict=True):
        assert stats.kstest(column, distribution.cdf).pvalue > FALSE_ALARM


def _of_target(y_err: Any) -> dict[str, Any]:
    return {"y_err": y_err, "exposure": None, "y_censored": None, "y_upper": None}


SIMULATED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "scaled": ({}, {"y_err": Y_ERR}),
    "horseshoe, additive": ({"coef_prior": Horseshoe(n_nonzero=1), "noise": "additive"}, {"y_err": Y_ERR}),
    "horseshoe, student_t": (
        {"coef_prior": Horseshoe(n_nonzero=1), "likelihood": StudentTLikelihood()},
        {"y_err": Y_ERR},
    ),
    "powers of the correlation, scatter": (
        {"coef_prior": PoweredCorrelation(), "noise": "auto"},
        {"y_err": Y_ERR},
    ),
    "a learned scale": ({"coef_prior": Laplace(mu=0.5, b=HalfNormal()), "noise": "known"}, {"y_err": Y_ERR}),
    "the signal of features with errors, scatter": (
        {"coef_prior": PoweredCorrelation(), "noise": "auto"},
        {"y_err": Y_ERR, "X_err": [0.5, 5.0, 0.0]},
    ),
    "the signal of a mixture": (
        {"coef_prior": PoweredCorrelation(sigma=1.5), "x_distribution": Mixture(2), "noise": "scaled"},
        {"y_err": Y_ERR, "X_err": [0.5, 0.0, 0.0]},
    ),
    "two features with errors": ({}, {"y_err": Y_ERR, "X_err": [0.5, 5.0, 0.0]}),
    "a mixture, with Xy_cov": (
        {"x_distribution": Mixture(2), "noise": "additive"},
        {"y_err": Y_ERR, "X_err": [0.5, 0.0, 0.0], "Xy_cov": np.outer(Y_ERR, [0.3, 0.0, 0.0])},
    ),
}


@pytest.mark.parametrize(("model", "data"), SIMULATED.values(), ids=SIMULATED)
def test_simulated_data_are_what_pymc_draws_from_the_model(
    model: dict[str, Any], data: dict[str, Any]
) -> None:
    n = 2000
    errors = {"X_err": None, "X_cov": None, "Xy_cov": None} | {k: v for k, v in data.items() if k[0] == "X"}
    simulation, *_ = _settled(
        Regressor(**model), X, Y, None, None, _of_target(data["y_err"]), errors, "model"
    )
    rng = np.random.default_rng(1)
    parameters = simulation.parameters(n, rng)
    noisy = [] if simulation.data.feature_errors is None else simulation.data.feature_errors.noisy.tolist()
    own: dict[str, list[Array]] = {"y": [], "X": [], "coef": []}
    for i in range(n):
        one = type(parameters)(
            parameters.B[i : i + 1],
            {name: values[i : i + 1] for name, values in parameters.auxiliary.items()},
            None
            if parameters.true is None
            else type(parameters.true)(*(v[i : i + 1] for v in parameters.true)),
        )
        drawn = simulation.simulate(one, rng)
        own["y"].append(drawn.rows.y)
        own["X"].append(np.asarray(drawn.rows.X)[:, noisy])
        own["coef"].append(simulation.on_data_scale(drawn.parameters)[1:4])
    described = Regressor(**model).to_pymc(X, Y, **data)
    names = ["y", "coef", *(["X"] if noisy else [])]
    if "Xy_cov" in data:
        names.remove("y")  # given the X that was measured, not the one that is drawn with it
    found = prior_draws(described, names, n, seed=3)
    for name in names:
        mine, theirs = np.array(own[name]), np.asarray(found[name])
        if name != "coef":  # one row alone, and what two have in common
            mine, theirs = (
                np.concatenate([part[:, :1], part[:, 1:2] - part[:, :1]], axis=1) for part in (mine, theirs)
            )
        for a, b in zip(mine.reshape(n, -1).T, theirs.reshape(n, -1).T, strict=True):
            assert stats.ks_2samp(a, b).pvalue > FALSE_ALARM, name


@pytest.mark.parametrize("nu", [None, 9.0])
def test_errors_of_features_go_with_those_of_the_target_as_stated(nu: float | None) -> None:
    """Under Student's t as the root of a row's own variance has them go together."""
    data = {"X_err": 0.5, "X_cov": None, "Xy_cov": [0.2]}
    likelihood = "normal" if nu is None else StudentTLikelihood(nu=nu)
    model = Regressor(coef_prior=Normal(sigma=1e-9), standardize=False, noise="known", likelihood=likelihood)
    root, wider = 1.0, 1.0
    if nu is not None:
        root, wider = (
            np.sqrt(0.5 * nu) * np.exp(gammaln(0.5 * (nu - 1.0)) - gammaln(0.5 * nu)),
            nu / (nu - 2.0),
        )
    simulation, *_ = _settled(model, X[:, :1], Y, None, None, _of_target(0.6), data, "model")
    rng = np.random.default_rng(0)
    parameters = simulation.parameters(1, rng).at(0)
    pairs = []
    for _ in range(1000):
        true, error = simulation._features(parameters, rng)
        assert error is not None
        line = simulation._line(parameters, true)
        pairs.append(np.stack([error[:, 0], simulation._target(parameters, line, error, rng) - line]))
    covariance = np.cov(np.concatenate(pairs, axis=1))
    # Standard errors over 8,000 pairs, six of them.
    assert np.abs(covariance - [[0.25, 0.2 * root], [0.2 * root, 0.36 * wider]]).max() < 6.0 * 0.36 * np.sqrt(
        2.0 / 8000.0
    )


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_simulated_readings_beyond_a_limit_are_seen_as_the_limit(side: float) -> None:
    sides = np.zeros((8, 3))
    sides[:5, 0] = side
    limits = np.where(sides != 0.0, 3.0, X)
    data = {"X_censored": sides, "X_err": [0.5, 0.0, 0.0]}
    simulation, *_ = _settled(
        Regressor(coef_prior=Normal()), limits, Y, None, None, _of_target(1.0), data, "model"
    )
    rng = np.random.default_rng(0)
    held = []
    for i in range(200):
        found = simulation.simulate(simulation.parameters(1, rng), np.random.default_rng([i, 1]))
        every = simulation._drawn_features(found.parameters, np.random.default_rng([i, 1]))[0][:, 0]
        errors = found.errors
        assert errors is not None
        assert errors.readings is not None
        beyond = side * (every[:5] - 3.0) > 0.0
        assert (errors.readings.side[:, 0] == np.append(side * beyond, np.zeros(3))).all()
        # What was measured stays, and likely values lie on the other side of the limit.
        assert (found.rows.X[5:, 0] == every[5:]).all()
        assert (found.rows.X[:5, 0][~beyond] == every[:5][~beyond]).all()
        assert (side * (found.rows.X[:5, 0] - 3.0) > 0.0)[beyond].all()
        held.append(beyond.mean())
    assert 0.2 < np.mean(held) < 0.8


def test_counts_and_errors_may_be_columns() -> None:
    """And the estimator's own choice of what weights mean has no say."""
    frame = pd.DataFrame({"a": X[:, 0], "n": COUNTS, "b": X[:, 1], "b_err": np.full(8, 2.0)})
    model = Regressor(likelihood="beta_binomial", count_column="n", weight_type="counts")
    found = simulation_based_calibration(model, frame[["a", "n", "b"]], n_simulations=3, random_state=0)
    assert found.ranks.columns.tolist() == ["intercept", "a", "b", "dispersion", "log_likelihood"]
    model = Regressor(error_columns="_err")
    found = simulation_based_calibration(model, frame[["a", "b", "b_err"]], n_simulations=3, random_state=0)
    assert found.ranks.columns.tolist() == ["intercept", "a", "b", "noise_scale", "log_likelihood"]
    assert found.engines.keys() <= {"importance", "nuts"}


def test_rows_count_as_often_as_they_are_said_to() -> None:
    weight = np.array([2.0, 0.0, 1.0, 3.0, 0.0, 1.0, 1.0, 1.0])
    of_features = dict.fromkeys(("X_err", "X_cov", "Xy_cov"))
    simulation, *_ = _settled(Regressor(), X, None, None, weight, _of_target(Y_ERR), of_features, "model")
    places = np.repeat(np.arange(8), weight.astype(int))
    assert (X[places] == simulation.data.rows.X).all()
    assert (simulation.data.errors.standard_error == Y_ERR[places]).all()
    drawn = simulation.simulate(simulation.parameters(1, np.random.default_rng(0)), np.random.default_rng(0))
    assert len(np.unique(drawn.rows.y)) == len(places)


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no simulations": (
        Regressor(),
        {"n_simulations": 0},
        ValueError,
        "n_simulations must be a whole number from 1",
    ),
    "half a simulation": (Regressor(), {"n_simulations": 1.5}, ValueError, "n_simulations must be"),
    "too few counts": (
        Regressor(likelihood="binomial"),
        {"counts": COUNTS[:5]},
        ValueError,
        r"counts has shape \(5,\), but X has 8 rows",
    ),
    "broken counts": (
        Regressor(likelihood="binomial"),
        {"counts": COUNTS + 0.5},
        ValueError,
        "counts must be whole",
    ),
    "counts twice": (
        Regressor(likelihood="binomial", count_column=0),
        {"counts": COUNTS},
        ValueError,
        "leave counts out",
    ),
    "counts without shares": (Regressor(), {"counts": COUNTS}, ValueError, "y is needed with counts"),
    "flat coefficients": (
        Regressor(coef_prior=Flat()),
        {},
        ValueError,
        r"coef_prior=Flat\(\) can't be drawn from",
    ),
    "flat noise": (Regressor(noise_prior=Flat()), {}, ValueError, r"noise_prior=Flat\(\) can't be drawn"),
    "any number of components": (
        Regressor(x_distribution="mixture"),
        {"X_err": 0.01},
        ValueError,
        r"x_distribution=Mixture\(n_components=2\)",
    ),
    "broken frequencies": (
        Regressor(),
        {"sample_weight": np.full(8, 0.5)},
        ValueError,
        "sample_weight must be whole numbers, got 0.5 in row 0",
    ),
    "no frequencies": (
        Regressor(),
        {"sample_weight": np.eye(8)[0]},
        ValueError,
        "sample_weight leaves fewer",
    ),
    "other targets": (
        Regressor(),
        {"targets": "poisson"},
        ValueError,
        "targets must be 'model' or 'binomial'",
    ),
    "binomial without counts": (
        Regressor(),
        {"targets": "binomial"},
        ValueError,
        "targets='binomial' is for shares",
    ),
    "known errors that are not": (
        Regressor(noise="known"),
        {},
        ValueError,
        "noise='known' needs the errors of y",
    ),
    "an engine that can't": (
        Regressor(likelihood="student_t", inference="exact"),
        {},
        ValueError,
        "the exact engine can't take this model",
    ),
    "lines that are no shares": (
        Regressor(standardize=False, intercept_prior=Normal(mu=50.0)),
        {"counts": COUNTS, "targets": "binomial", "n_simulations": 2},
        ValueError,
        r"Every simulation failed, 2 of 2 so: ValueError: None of 500 lines",
    ),
    "another regressor": (
        LinearRegression(),
        {},
        TypeError,
        "got LinearRegression: it is for this regressor alone",
    ),
    "a Pipeline": (
        make_pipeline(StandardScaler(), Regressor()),
        {},
        TypeError,
        r"pipe\[:-1\]\.transform\(X\)",
    ),
    "a search": (GridSearchCV(Regressor(), {}), {}, TypeError, "best_estimator_"),
}


@pytest.mark.parametrize(("model", "params", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(
    model: Any, params: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        simulation_based_calibration(model, X, **params)
