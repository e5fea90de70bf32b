"""One problem by both engines: what NUTS draws, beside what the exact engine integrates.

Comparisons are of the mean of a function of the draws with the number that it should be, in units of the Monte Carlo
standard error (ArviZ's effective sample size). The bound is z = 5, which a right package passes but once in 1.7
million; over the 1,100 or so comparisons of this file it fails at most once in 1,600 sets of draws (Bonferroni's
bound). The errors are about 0.7% of a posterior standard deviation, and 1% of the deviation itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import ndtr

from bayes_sklearn.inference import solve
from bayes_sklearn.inference.nuts.formulation import structure
from bayes_sklearn.inference.nuts.sampler import COMPILED
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.settings import SamplerSettings
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.priors import Flat, HalfNormal, HalfStudentT, Normal

from plain import Regressor
from reference_model import monte_carlo_error

Array = NDArray[np.float64]

Z_BOUND = 5.0
SETTINGS: dict[str, Any] = {"draws": 4000, "chains": 4, "random_state": 11}


@dataclass(frozen=True)
class Case:
    """A model, and what kind of data it is fitted to.

    Few structures (noise, types of priors, number of features, intercept), since each has to be compiled.
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    errors: str = "y_err"
    """"none", "y_err", "counts" or "small counts"."""
    weights: str = "none"
    n: int = 40
    p: int = 3

    def data(self) -> dict[str, Any]:
        """Arguments of fit: offsets, unequal scales, correlated features."""
        rng = np.random.default_rng([self.n, self.p])
        if self.errors.endswith("counts"):
            X = rng.uniform(-1.0, 1.0, size=(self.n, self.p))
            X[:, 0] += 0.5 * X[:, -1]
            counts = rng.integers(4, 40 if self.errors == "small counts" else 400, self.n)
            share = rng.beta(8.0 + 4.0 * X[:, 0], 17.0 - 4.0 * X[:, 0])
            return {"X": X, "y": rng.binomial(counts, share) / counts, "sample_weight": counts.astype(float)}
        X = (rng.normal(size=(self.n, self.p)) + 0.7 * rng.normal(size=(self.n, 1))) * 1.5 ** np.arange(
            self.p
        )
        X += 1.0
        y_err = rng.uniform(0.3, 1.5, self.n)
        y = 2.0 + X @ np.cos(1.0 + np.arange(self.p)) / np.sqrt(self.p) + y_err * rng.normal(size=self.n)
        weights = {
            "none": None,
            "integer": rng.integers(0, 4, self.n).astype(float),
            "fractional": rng.uniform(0.2, 2.0, self.n),
        }[self.weights]
        return {"X": X, "y": y, "sample_weight": weights, "y_err": y_err if self.errors == "y_err" else None}

    def new_rows(self) -> dict[str, Any]:
        """Arguments of predict: the origin, and rows near and far, with errors or counts of their own."""
        rng = np.random.default_rng(7)
        X = np.vstack([np.zeros(self.p), rng.normal(size=(3, self.p)) * np.array([[0.5], [1.0], [3.0]])])
        if self.errors.endswith("counts"):
            return {"X": X / 3.0, "counts": np.array([5.0, 20.0, 80.0, 3000.0])}
        return {"X": X, "y_err": np.array([0.2, 0.7, 1.5, 3.0])} if self.errors == "y_err" else {"X": X}

    def fitted(self, inference: str) -> Regressor:
        weight_type = "counts" if self.errors.endswith("counts") else "frequency"
        model = Regressor(inference=inference, weight_type=weight_type, **SETTINGS, **self.model)
        model.fit(**self.data())
        assert model.inference_ == inference
        return model


ARRAYS = {
    "coef_prior": Normal(mu=[0.3, -0.5, 0.1], sigma=[0.05, 0.5, 4.0]),
    "intercept_prior": Normal(mu=-0.2, sigma=0.1),
    "noise_prior": HalfNormal(sigma=0.5),
}
FLAT = {"coef_prior": Flat(), "fit_intercept": False, "noise_prior": HalfStudentT(nu=2.0, sigma=0.4)}

CASES: dict[str, Case] = {
    # scaled, Normal priors, three features
    "without errors": Case(errors="none"),
    "without errors, on raw data": Case({"standardize": False}, errors="none", weights="integer"),
    "scaled": Case(),
    "scaled, integer weights, priors of arrays": Case(ARRAYS, weights="integer"),
    "scaled, fractional weights, on raw data": Case({"standardize": False}, weights="fractional"),
    "scaled, few rows": Case(n=9),
    "counts, fitted errors": Case(errors="counts"),
    "counts, observed errors": Case(
        {"count_error": "observed", "error_floor": 0.1, "standardize": False}, errors="small counts"
    ),
}
# Of structures of their own.
FURTHER: dict[str, Case] = {
    # additive
    "additive": Case({"noise": "additive"}),
    "additive, priors of arrays, on raw data": Case(
        {"noise": "additive", "standardize": False, **ARRAYS}, weights="integer"
    ),
    "additive, fractional weights": Case({"noise": "additive"}, weights="fractional", n=15),
    "additive, counts": Case({"noise": "additive"}, errors="counts"),
    # known
    "known": Case({"noise": "known"}),
    "known, fractional weights, on raw data": Case(
        {"noise": "known", "standardize": False}, weights="fractional"
    ),
    "known, counts": Case({"noise": "known"}, errors="small counts"),
    "one feature, no intercept, flat": Case(FLAT, p=1),
    "one feature, no intercept, flat, on raw data": Case(
        {"standardize": False, **FLAT}, weights="fractional", p=1
    ),
    "more features than rows": Case(n=8, p=12),
}


@dataclass(frozen=True)
class Fitted:
    """A case fitted by both engines."""

    case: Case
    exact: Regressor
    sampled: Regressor

    @property
    def noise(self) -> str:
        return str(self.sampled.noise)

    def chains(self, values: Array) -> Array:
        """One value per draw as (chain, draw, ...)."""
        return values.reshape(SETTINGS["chains"], SETTINGS["draws"], *values.shape[1:])

    @property
    def parameters(self) -> Array:
        """Draws of intercept, coefficients and noise scale, (chain, draw, p + 2)."""
        posterior = self.sampled._fitted.posterior
        intercept = posterior.location[:, :1] - posterior.location[:, 1:] @ posterior.center[:, None]
        scale = posterior.noise_scale[:, None]
        return self.chains(np.concatenate([intercept, posterior.location[:, 1:], scale], axis=1))

    @property
    def estimated(self) -> list[int]:
        """Which of them are not known beforehand."""
        p = self.case.p
        return list(range(0 if self.sampled.fit_intercept else 1, p + (1 if self.noise == "known" else 2)))

    def line(self, X: Array) -> Array:
        """Draws of the line, (chain, draw, rows)."""
        return self.parameters[..., :1] + self.parameters[..., 1:-1] @ X.T

    def measurement_sd(self) -> Array:
        """Draws of the noise of the new rows, (chain, draw, rows)."""
        alpha_beta = [np.add.reduce(part) for part in zip(*self._noise_parts(), strict=True)]
        return np.sqrt(alpha_beta[0] + alpha_beta[1] * self.parameters[..., -1:] ** 2)

    def _noise_parts(self) -> list[tuple[Array, Array]]:
        new = self.case.new_rows()
        rows = len(new["X"])
        distribution = self.exact.predict_distribution(**new)
        return [
            (np.broadcast_to(fixed, rows), np.broadcast_to(multiplied, rows))
            for fixed, multiplied, *_ in distribution.noise.values()
        ]


@pytest.fixture(
    scope="module", params=[*CASES, *(pytest.param(name, marks=pytest.mark.thorough) for name in FURTHER)]
)
def fitted(request: pytest.FixtureRequest) -> Fitted:
    case = {**CASES, **FURTHER}[request.param]
    return Fitted(case, case.fitted("exact"), case.fitted("nuts"))


def assert_agree(values: Array, expected: Any) -> None:
    """Compare the means of draws, (chain, draw, k), with k numbers."""
    z = z_scores(values, expected)
    assert np.all(np.abs(z) < Z_BOUND), f"z scores {np.round(z, 1)}"


def z_scores(values: Array, expected: Any) -> Array:
    expected = np.broadcast_to(expected, values.shape[-1:])
    return np.array(
        [
            (values[..., i].mean() - expected[i]) / monte_carlo_error(values[..., i])
            for i in range(values.shape[-1])
        ]
    )


# --- through the estimator -----------------------------------------------------------------------


def test_attributes_are_the_draws_means_and_deviations(fitted: Fitted) -> None:
    draws = fitted.parameters.reshape(-1, fitted.case.p + 2)
    model, mean, sd = fitted.sampled, draws.mean(axis=0), draws.std(axis=0)
    assert_allclose(model.coef_, mean[1:-1], rtol=1e-9)
    assert_allclose(model.coef_std_, sd[1:-1], rtol=1e-9)
    assert_allclose(model.intercept_, mean[0], rtol=1e-8, atol=1e-12)
    assert_allclose(model.noise_scale_, mean[-1], rtol=1e-12)
    assert not hasattr(model, "log_marginal_likelihood_")


def test_parameters_have_the_exact_means_and_deviations(fitted: Fitted) -> None:
    draws, table = fitted.parameters[..., fitted.estimated], fitted.exact.summary()
    mean, sd = (table[name].to_numpy()[-(fitted.case.p + 1) :] for name in ("mean", "sd"))
    if fitted.exact.fit_intercept:
        mean, sd = (table[name].to_numpy() for name in ("mean", "sd"))
    k = draws.shape[-1]
    assert_agree(draws, mean[:k])
    assert_agree((draws - mean[:k]) ** 2, sd[:k] ** 2)
    assert fitted.noise != "known" or np.all(fitted.parameters[..., -1] == 1.0)


def test_parameters_have_the_exact_quantiles(fitted: Fitted) -> None:
    draws, table = fitted.parameters[..., fitted.estimated], fitted.exact.summary(coverage=0.9)
    for name, level in (("lower_90%", 0.05), ("upper_90%", 0.95)):
        limits = table[name].to_numpy()[: draws.shape[-1]]
        assert_agree((draws < limits).astype(float), level)


def test_lines_have_the_exact_means_deviations_and_quantiles(fitted: Fitted) -> None:
    X = fitted.case.new_rows()["X"][(0 if fitted.exact.fit_intercept else 1) :]
    mean, std = fitted.exact.predict(X, return_std=True, include_noise=False)
    line = fitted.line(X)
    assert_agree(line, mean)
    assert_agree((line - mean) ** 2, std**2)
    median = fitted.exact.predict_quantiles(X, 0.5, include_noise=False)[:, 0]
    assert_agree((line < median).astype(float), 0.5)
    ours = fitted.sampled.predict(X, return_std=True, include_noise=False)
    draws = line.reshape(-1, len(X))
    assert_allclose(ours, [draws.mean(axis=0), draws.std(axis=0)], rtol=1e-8, atol=1e-10)


def test_new_measurements_have_the_exact_means_deviations_and_limits(fitted: Fitted) -> None:
    """What predict returns, by the error that its draws leave it."""
    new = fitted.case.new_rows()
    line, sd = fitted.line(new["X"]), fitted.measurement_sd()
    mean, std = fitted.exact.predict(**new, return_std=True)
    squares = (line - mean) ** 2 + sd**2
    ours = fitted.sampled.predict(**new, return_std=True)
    error = np.array([[monte_carlo_error(v[..., i]) for i in range(len(mean))] for v in (line, squares)])
    # Without an intercept the line has no error at the origin; counts' errors follow the predicted share.
    slack = 1e-9 + 2e-3 * ("counts" in new) * std**2
    assert np.all(np.abs(ours[0] - mean) <= Z_BOUND * error[0] + 1e-9)
    assert np.all(np.abs(ours[1] ** 2 - std**2) <= Z_BOUND * error[1] + slack)

    limits = fitted.exact.predict_interval(**new, coverage=0.9)
    found = fitted.sampled.predict_distribution(**new)
    for limit, level in zip(limits.T, (0.05, 0.95), strict=True):
        below = ndtr((limit - line) / sd)
        error = np.array([monte_carlo_error(below[..., i]) for i in range(len(limit))])
        assert np.all(np.abs(found.cdf(limit) - level) <= Z_BOUND * error + 1e-9 + 1e-3 * ("counts" in new))
        assert_allclose(found.cdf(found.ppf(level)), level, atol=1e-6)


def test_errors_and_prior_scales_that_are_off_would_be_noticed() -> None:
    case = CASES["scaled"]
    data, sampled = case.data(), case.fitted("nuts")
    other = Regressor().fit(**{**data, "y_err": 1.05 * data["y_err"]})
    draws = Fitted(case, other, sampled).parameters
    assert np.abs(z_scores(draws[..., -1:], other.noise_scale_)).max() > 2 * Z_BOUND
    other = Regressor(coef_prior=Normal(sigma=0.5)).fit(**data)
    assert np.abs(z_scores(draws[..., 1:-1], other.coef_)).max() > 2 * Z_BOUND


# --- the engine itself ---------------------------------------------------------------------------


def _problem(noise: str, frequency: bool, standardize: bool) -> Problem:
    data = Case(weights="fractional" if frequency else "none").data()
    return Problem.build(
        Rows(data["X"], data["y"], None, data["sample_weight"]),
        data["y_err"],
        noise=NOISES[noise],
        standardize=standardize,
        coef_prior=Normal(sigma=[0.1, 1.0, 3.0]),
        intercept_prior=Normal(),
        noise_prior=HalfNormal(),
    )


@pytest.mark.parametrize(
    ("noise", "frequency", "standardize"),
    [
        ("scaled", True, True),
        pytest.param("additive", False, False, marks=pytest.mark.thorough),
        pytest.param("known", True, True, marks=pytest.mark.thorough),
    ],
)
def test_solved_posteriors_have_the_exact_joint_second_moments(
    noise: str, frequency: bool, standardize: bool
) -> None:
    """Correlations, too: draws are whitened by the exact covariance of (B, log s)."""
    problem = _problem(noise, frequency, standardize)
    expected = solve(problem, "exact", SamplerSettings())
    found = solve(
        problem, "nuts", SamplerSettings(draws=SETTINGS["draws"], chains=SETTINGS["chains"], seed=3)
    )
    assert_allclose(found.center, expected.center)
    mean, covariance = _joint_moments(expected)
    draws = _joint(found)
    if noise == "known":
        mean, covariance, draws = mean[:-1], covariance[:-1, :-1], draws[:, :-1]
    white = np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean).T).T
    size = len(mean)
    products = (white[:, :, None] * white[:, None, :])[:, *np.tril_indices(size)]
    assert_agree(white.reshape(4, -1, size), 0.0)
    assert_agree(products.reshape(4, -1, products.shape[1]), np.eye(size)[np.tril_indices(size)])


def _joint(posterior: Posterior) -> Array:
    return np.column_stack([posterior.location, np.log(posterior.noise_scale)])


def _joint_moments(posterior: Posterior) -> tuple[Array, Array]:
    """Mean and covariance of (B, log s) under weighted Gaussian nodes."""
    location = _joint(posterior)
    mean = posterior.weights @ location
    covariance = (location - mean).T @ (posterior.weights[:, None] * (location - mean))
    covariance[:-1, :-1] += posterior.covariances.root(posterior.weights).T @ posterior.covariances.root(
        posterior.weights
    )
    return mean, covariance


def test_one_compiled_model_serves_data_of_any_size_and_priors_of_any_numbers() -> None:
    """Every case of a structure ran on one model: there are far fewer of them than fits."""
    keys = {structure(_problem(noise, True, True)) for noise in ("scaled", "additive", "known")}
    assert len(keys) == 3
    model = Regressor(weight_type="frequency", inference="nuts", draws=1000, chains=2, random_state=0)
    model.fit(**Case().data())
    before = len(COMPILED)
    for case in (Case(n=25), Case(weights="fractional"), Case(ARRAYS, errors="none")):
        Regressor(**{**model.get_params(deep=False), **case.model}).fit(**case.data())
    assert len(COMPILED) == before
