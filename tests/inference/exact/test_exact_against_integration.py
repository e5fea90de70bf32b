"""The exact engine against independent numerical integration (``oracle.py``)."""

from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats
from threadpoolctl import threadpool_limits

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.priors import Exponential, Flat, HalfCauchy, HalfNormal, HalfStudentT, InverseGamma, Normal

import plain
from oracle import (
    FlatScale,
    Integration,
    NoiseDensity,
    exponential,
    half_cauchy,
    half_normal,
    half_student_t,
    integrate_posterior,
    inverse_gamma,
)

Array = NDArray[np.float64]
Noise = Literal["scaled", "additive", "known"]
Weights = Literal["none", "integer", "zeros", "fractional", "below one"]

# What the integrals deliver is better than 1e-10; this is the promise that is tested.
RTOL = 1e-7

SCALE_PRIORS: dict[str, tuple[Any, NoiseDensity]] = {
    "half-normal": (HalfNormal(sigma=0.6), half_normal(0.6)),
    "half-t": (HalfStudentT(nu=3.0, sigma=0.7), half_student_t(3.0, 0.7)),
    "half-cauchy": (HalfCauchy(beta=0.5), half_cauchy(0.5)),
    "exponential": (Exponential(lam=1.7), exponential(1.7)),
    "inverse-gamma": (InverseGamma(alpha=2.5, beta=1.2), inverse_gamma(2.5, 1.2)),
    "flat": (Flat(), FlatScale()),
}


class NormalPrior(NamedTuple):
    """Mean and standard deviation; flat where the latter is infinite."""

    mu: float | tuple[float, ...] = 0.0
    sigma: float | tuple[float, ...] = 1.0

    @property
    def is_flat(self) -> bool:
        """Whether the standard deviation is infinite."""
        return self.sigma == np.inf

    def ours(self) -> Any:
        """Give the package's prior."""
        if self.is_flat:
            return Flat()
        return Normal(mu=_number_or_array(self.mu), sigma=_number_or_array(self.sigma))


FLAT = NormalPrior(0.0, np.inf)


@dataclass(frozen=True)
class Case:
    """One data set and one configuration."""

    noise: Noise = "scaled"
    known_errors: bool = True
    weights: Weights = "none"
    standardize: bool = True
    fit_intercept: bool = True
    n: int = 14
    p: int = 3
    coef: NormalPrior | None = None
    intercept: NormalPrior | None = None
    scale_prior: str | None = None
    constant_column: bool = False

    def __str__(self) -> str:
        default = Case()
        changes = [
            f"{name}={value}"
            for name, value in vars(self).items()
            if name != "noise" and value != getattr(default, name)
        ]
        return " ".join([self.noise, *changes])

    def data(self) -> dict[str, Any]:
        """X, y, sample_weight and y_err: offsets, unequal scales, correlated features."""
        rng = np.random.default_rng(20_240 + 100 * self.n + self.p)
        scale = np.array([2.0, 0.5, 1.0])[np.arange(self.p) % 3]
        X = (rng.normal(size=(self.n, self.p)) + 0.6 * rng.normal(size=(self.n, 1))) * scale
        X += np.array([1.0, -0.4, 0.2])[np.arange(self.p) % 3]
        if self.constant_column:
            X[:, -1] = 1.7
        y_err = rng.uniform(0.15, 0.6, self.n)
        slopes = np.array([0.4, -0.7, 0.25])[np.arange(self.p) % 3] / np.sqrt(max(1.0, self.p / 3))
        y = 0.5 + X @ slopes + y_err * rng.normal(size=self.n)
        if self.p > self.n:
            # few rows say little of s: keep it below what the package warns of
            y_err *= 2.0
        weights = {
            "none": None,
            "integer": rng.integers(1, 4, self.n).astype(float),
            "zeros": rng.integers(0, 3, self.n).astype(float),
            "fractional": np.where(rng.random(self.n) < 0.2, 0.0, rng.uniform(0.2, 3.0, self.n)),
            "below one": rng.uniform(0.2, 0.9, self.n),
        }[self.weights]
        return {
            "X": X,
            "y": y,
            "sample_weight": weights,
            "y_err": y_err if self.known_errors else None,
        }

    def new_rows(self) -> dict[str, Any]:
        """Rows to predict, measurements of them near and far, and their errors."""
        rng = np.random.default_rng(7)
        X = rng.normal(size=(5, self.p)) * 1.5
        if self.constant_column:
            X[:, -1] = 1.7
        y = 0.5 + np.array([-2.0, -0.5, 0.1, 1.0, 4.0])
        return {"X": X, "y": y, "y_err": np.array([0.05, 0.3, 0.5, 1.0, 2.0])}

    def integrated(self, order: int = 16) -> Integration:
        """Solve it with the oracle."""
        data = self.data()
        coef, intercept = self.coef or NormalPrior(), self.intercept or NormalPrior()
        return integrate_posterior(
            data["X"],
            data["y"],
            frequency=data["sample_weight"],
            y_err=data["y_err"],
            noise=self.noise,
            coef_mu=coef.mu,
            coef_sigma=coef.sigma,
            intercept_mu=float(np.asarray(intercept.mu)),
            intercept_sigma=float(np.asarray(intercept.sigma)),
            noise_density=SCALE_PRIORS[self.scale_prior][1] if self.scale_prior else None,
            standardize=self.standardize,
            fit_intercept=self.fit_intercept,
            order=order,
        )

    def fitted(self) -> BayesianErrorsInVariablesRegressor:
        """Solve it with the package."""
        model = plain.Regressor(
            coef_prior=self.coef.ours() if self.coef else None,
            intercept_prior=self.intercept.ours() if self.intercept else None,
            noise_prior=SCALE_PRIORS[self.scale_prior][0] if self.scale_prior else None,
            noise=self.noise,
            weight_type="frequency",
            standardize=self.standardize,
            fit_intercept=self.fit_intercept,
        )
        model.fit(**self.data())
        return model

    @property
    def has_evidence(self) -> bool:
        """Whether priors are proper, but for the intercept's, of which all models of the same data have one."""
        return not (self.coef is not None and self.coef.is_flat) and self.scale_prior != "flat"


KINDS = (
    Case(noise="scaled", known_errors=False),
    Case(noise="scaled"),
    Case(noise="additive"),
    Case(noise="known"),
)
ARRAYS = NormalPrior((0.3, -0.5, 0.1), (0.2, 1.5, 4.0))


def _cases() -> list[Case]:
    weights: tuple[Weights, ...] = ("none", "integer", "zeros", "fractional", "below one")
    cases = [
        replace(kind, weights=w, standardize=standardize, fit_intercept=fit_intercept)
        for kind, w, standardize, fit_intercept in product(KINDS, weights, (True, False), (True, False))
    ]
    for kind, standardize in product(KINDS, (True, False)):
        base = replace(kind, standardize=standardize)
        cases += [
            replace(base, coef=ARRAYS, intercept=NormalPrior(0.2, 0.7)),
            replace(base, coef=FLAT),
            replace(base, coef=FLAT, weights="fractional"),
            replace(base, intercept=FLAT),
            replace(base, coef=FLAT, intercept=FLAT),
            replace(base, coef=FLAT, fit_intercept=False),
            replace(base, n=6, p=9),
            replace(base, n=6, p=9, weights="below one"),
            replace(base, n=6, p=9, intercept=FLAT),
            replace(base, n=10, p=1),
            replace(base, n=3, p=1),
            replace(base, n=60, p=5, weights="zeros"),
        ]
    cases += [Case(noise="additive", known_errors=False, standardize=s) for s in (True, False)]
    for kind in KINDS:
        cases += [
            replace(kind, constant_column=True),
            replace(kind, constant_column=True, fit_intercept=False),
        ]
    for kind, scale_prior in product(KINDS[:3], SCALE_PRIORS):
        cases += [
            replace(kind, scale_prior=scale_prior),
            replace(kind, scale_prior=scale_prior, coef=FLAT, intercept=FLAT, standardize=False),
            replace(kind, scale_prior=scale_prior, n=8, p=9),
        ]
    return list(dict.fromkeys(cases))


@dataclass(frozen=True)
class Solved:
    """A case with both answers."""

    case: Case
    expected: Integration
    model: BayesianErrorsInVariablesRegressor
    new: dict[str, Any]

    @property
    def errors(self) -> dict[str, Any]:
        """Errors of the new rows, as the keyword that ``predict`` takes."""
        return {"y_err": self.new["y_err"]} if self.case.known_errors else {}


@pytest.fixture(scope="module", params=_cases(), ids=str)
def solved(request: pytest.FixtureRequest) -> Solved:
    case: Case = request.param
    with threadpool_limits(1, user_api="blas"):
        return Solved(case, case.integrated(), case.fitted(), case.new_rows())


# --- the package against the oracle --------------------------------------------------------------


def test_coefficients_and_intercept_are_posterior_means(solved: Solved) -> None:
    std = np.sqrt(np.diag(solved.expected.covariance))
    mean = np.r_[solved.model.intercept_, solved.model.coef_]
    assert np.all(np.abs(mean - solved.expected.mean) <= RTOL * std)


def test_coefficient_standard_deviations_are_the_posterior_s(solved: Solved) -> None:
    std = np.sqrt(np.diag(solved.expected.covariance))[1:]
    assert_allclose(solved.model.coef_std_, std, rtol=RTOL)


def test_covariance_between_rows_is_the_line_s(solved: Solved) -> None:
    X = np.vstack([np.zeros((1, solved.case.p)), np.eye(solved.case.p), solved.new["X"]])
    _, covariance = solved.model.predict(X, return_cov=True, include_noise=False)
    expected = solved.expected.line_covariance(X)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.all(np.abs(covariance - expected) <= RTOL * size)


def test_noise_scale_is_the_posterior_mean(solved: Solved) -> None:
    # known errors are taken as they are: once
    expected = 1.0 if solved.case.noise == "known" else solved.expected.noise_mean
    assert_allclose(solved.model.noise_scale_, expected, rtol=RTOL)


def test_log_marginal_likelihood_is_the_log_density_of_y(solved: Solved) -> None:
    if solved.case.has_evidence:
        expected = solved.expected.log_marginal_likelihood
        assert_allclose(solved.model.log_marginal_likelihood_, expected, rtol=0.0, atol=RTOL)
    else:
        assert not hasattr(solved.model, "log_marginal_likelihood_")


@pytest.mark.parametrize("include_noise", [True, False])
def test_prediction_is_the_predictive_mean_and_deviation(solved: Solved, include_noise: bool) -> None:
    mean, std = solved.model.predict(
        solved.new["X"], return_std=True, include_noise=include_noise, **solved.errors
    )
    expected_mean, expected_std = solved.expected.predict(
        solved.new["X"], include_noise=include_noise, **solved.errors
    )
    assert_allclose(std, expected_std, rtol=RTOL)
    assert np.all(np.abs(mean - expected_mean) <= RTOL * expected_std)


def test_without_new_errors_the_training_rows_root_mean_square_is_taken(solved: Solved) -> None:
    _, std = solved.model.predict(solved.new["X"], return_std=True)
    assert_allclose(std, solved.expected.predict(solved.new["X"])[1], rtol=RTOL)


def test_predictive_distribution_function_is_the_mixture_s(solved: Solved) -> None:
    X, y = solved.new["X"], solved.new["y"]
    cdf = solved.model.predict_distribution(X, **solved.errors).cdf(y)
    assert_allclose(cdf, solved.expected.cdf(X, y, **solved.errors), rtol=0.0, atol=RTOL)


def test_predictive_log_density_is_the_mixture_s(solved: Solved) -> None:
    """Also far out, where it hangs on scales that the posterior holds for most unlikely."""
    X, y = solved.new["X"], solved.new["y"]
    logpdf = solved.model.predict_distribution(X, **solved.errors).logpdf(y)
    expected = solved.expected.logpdf(X, y, **solved.errors)
    mean, std = solved.expected.predict(X, **solved.errors)
    near = np.abs(y - mean) < 6.0 * std
    assert near.any()
    assert_allclose(logpdf[near], expected[near], rtol=0.0, atol=10 * RTOL)
    far = ~near & (expected > -30.0)
    assert_allclose(logpdf[far], expected[far], rtol=0.0, atol=1e-3)


@pytest.mark.parametrize("level", [0.025, 0.5, 0.999])
def test_predictive_quantiles_invert_the_mixture_s_distribution_function(
    solved: Solved, level: float
) -> None:
    X = solved.new["X"]
    quantiles = solved.model.predict_distribution(X, **solved.errors).ppf(level)
    reached = solved.expected.cdf(X, quantiles, **solved.errors)
    assert_allclose(reached, level, rtol=0.0, atol=RTOL)


def test_crps_is_the_integral_of_squared_differences(solved: Solved) -> None:
    rows = {name: values[1:4] for name, values in solved.new.items()}
    errors = {"y_err": rows["y_err"]} if solved.case.known_errors else {}
    crps = solved.model.predict_distribution(rows["X"], **errors).crps(rows["y"])
    assert_allclose(crps, solved.expected.crps(rows["X"], rows["y"], **errors), rtol=RTOL)


def test_both_modes_of_the_noise_scale_count() -> None:
    """The data either fit closely, in conflict with the prior, or are all noise: half and half."""
    X = np.sin(1.7 * np.arange(6.0))[:, None]
    y = 6.0 + np.array([-0.05, 0.03, -0.01, 0.01, -0.03, 0.05])
    answer = integrate_posterior(
        X,
        y,
        coef_sigma=0.912,
        intercept_sigma=0.912,
        noise_density=half_cauchy(1.0),
        standardize=False,
    )
    of_close_fit = answer.weights[answer.scales < 0.6].sum()
    assert 0.2 < of_close_fit < 0.8

    model = plain.Regressor(
        coef_prior=Normal(sigma=0.912),
        intercept_prior=Normal(sigma=0.912),
        noise_prior=HalfCauchy(beta=1.0),
        standardize=False,
        weight_type="frequency",
    )
    model.fit(X, y)
    assert_allclose(np.r_[model.intercept_, model.coef_], answer.mean, rtol=RTOL)
    assert_allclose(model.coef_std_, np.sqrt(np.diag(answer.covariance))[1:], rtol=RTOL)
    assert_allclose(model.noise_scale_, answer.noise_mean, rtol=RTOL)
    new, at = np.full((6, 1), 0.3), np.array([-3.0, 0.0, 5.9, 6.0, 6.1, 9.0])
    cdf = model.predict_distribution(new).cdf(at)
    assert_allclose(cdf, answer.cdf(new, at), rtol=0.0, atol=RTOL)


# --- the oracle against other computations -------------------------------------------------------

ONE_FEATURE: dict[str, Any] = {
    "X": np.array([[-1.2], [-0.3], [0.1], [0.8], [1.7]]),
    "y": np.array([-0.5, 0.4, -0.3, 1.1, 0.6]),
    "y_err": np.array([0.3, 0.4, 0.3, 0.35, 0.5]),
}
FREQUENCY = np.array([1.0, 0.5, 2.5, 1.0, 1.2])
PRIORS: dict[str, Any] = {
    "coef_mu": -0.2,
    "coef_sigma": 0.7,
    "intercept_mu": 0.1,
    "intercept_sigma": 0.8,
    "noise_density": half_normal(0.6),
}


@pytest.mark.parametrize(("noise", "lowest_log_scale"), [("scaled", -2.5), ("additive", -20.0)])
def test_oracle_equals_a_grid_over_intercept_slope_and_scale(noise: Noise, lowest_log_scale: float) -> None:
    """The likelihood and the priors multiplied out on a grid, without any algebra."""
    x, y, e = ONE_FEATURE["X"][:, 0], ONE_FEATURE["y"], ONE_FEATURE["y_err"]
    line = np.arange(-4.5, 4.5, 0.06)
    sums = np.zeros(7)
    for u in np.arange(lowest_log_scale, 2.0, 0.1):
        a, b, s = line[:, None], line[None, :], np.exp(u)
        std = s * e if noise == "scaled" else np.hypot(s, e)
        log_density = stats.norm.logpdf(a, 0.1, 0.8) + stats.norm.logpdf(b, -0.2, 0.7)
        for i in range(len(y)):
            residual = (y[i] - a - b * x[i]) / std[i]
            log_density = log_density - FREQUENCY[i] * (
                0.5 * residual**2 + np.log(std[i] * np.sqrt(2.0 * np.pi))
            )
        density = np.exp(log_density) * stats.halfnorm.pdf(s, scale=0.6) * s
        moments = (1.0, a, b, s, a**2, a * b, b**2)
        sums += [np.sum(density * moment) for moment in moments]
    evidence = sums[0] * 0.06**2 * 0.1
    mean_a, mean_b, mean_s, *second = sums[1:] / sums[0]

    answer = integrate_posterior(**ONE_FEATURE, **PRIORS, frequency=FREQUENCY, noise=noise, standardize=False)
    covariance = answer.covariance + np.outer(answer.mean, answer.mean)
    assert_allclose(answer.log_marginal_likelihood, np.log(evidence), rtol=1e-8)
    assert_allclose(answer.mean, [mean_a, mean_b], rtol=0.0, atol=1e-9)
    assert_allclose(answer.noise_mean, mean_s, rtol=1e-8)
    assert_allclose(covariance[np.triu_indices(2)], second, rtol=1e-8)


@pytest.mark.parametrize("noise", ["scaled", "additive"])
@pytest.mark.parametrize("scale_prior", [name for name in SCALE_PRIORS if name != "flat"])
def test_oracle_equals_adaptive_quadrature_of_the_marginal_density(noise: Noise, scale_prior: str) -> None:
    """On the data's own scale, with SciPy's multivariate normal and SciPy's quadrature over s."""
    case = Case(noise=noise, scale_prior=scale_prior, standardize=False)
    data = case.data()
    design = np.column_stack([np.ones(case.n), data["X"]])
    prior_density = SCALE_PRIORS[scale_prior][1]

    def density(s: float) -> float:
        v = (s * data["y_err"]) ** 2 if noise == "scaled" else s**2 + data["y_err"] ** 2
        marginal = stats.multivariate_normal(np.zeros(case.n), design @ design.T + np.diag(v))
        return float(np.exp(marginal.logpdf(data["y"]) + prior_density.logpdf(np.array(s))))

    # below, the likelihood of scaled noise is less than exp(-100)
    lowest = 0.05 if noise == "scaled" else 0.0
    edges = (lowest, 0.1, 0.3, 0.6, 1.0, 2.0, 5.0, np.inf)
    evidence = sum(integrate.quad(density, a, b, epsabs=0.0, epsrel=1e-10)[0] for a, b in pairwise(edges))
    assert_allclose(case.integrated().log_marginal_likelihood, np.log(evidence), rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_oracle_s_flat_priors_are_the_limit_of_wide_ones(kind: Case) -> None:
    flat = replace(kind, coef=FLAT, intercept=FLAT).integrated()
    wide, twice = (
        replace(kind, coef=NormalPrior(0.0, sigma), intercept=NormalPrior(0.0, sigma)).integrated()
        for sigma in (100.0, 200.0)
    )
    # the error goes as 1 / sigma^2: extrapolate
    for quantity in ("mean", "covariance", "noise_mean"):
        limit = (4.0 * getattr(twice, quantity) - getattr(wide, quantity)) / 3.0
        assert_allclose(getattr(flat, quantity), limit, rtol=1e-6)


@pytest.mark.parametrize("coef", [None, FLAT], ids=["normal", "flat"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_oracle_s_weighted_likelihood_equals_repeated_rows(kind: Case, coef: NormalPrior | None) -> None:
    case = replace(kind, weights="zeros", coef=coef)
    data = case.data()
    frequency = data.pop("sample_weight")
    data |= {"noise": case.noise, "coef_sigma": np.inf if coef else 1.0}
    repeated = integrate_posterior(**data, frequency=frequency)
    # a weight that is not whole takes the other route
    weighted = integrate_posterior(**data, frequency=frequency * (1.0 + 1e-12))
    assert_allclose(weighted.mean, repeated.mean, rtol=1e-9)
    assert_allclose(weighted.covariance, repeated.covariance, rtol=1e-9)
    assert_allclose(weighted.noise_mean, repeated.noise_mean, rtol=1e-9)
    assert_allclose(weighted.log_marginal_likelihood, repeated.log_marginal_likelihood, rtol=1e-9)


def test_oracle_s_marginal_likelihood_is_a_density_in_the_target_s_unit() -> None:
    """With y ten times as large the density of y is a tenth for each row, repeats counted."""
    case = Case(weights="fractional")
    data = case.data()
    frequency = data.pop("sample_weight")
    here = integrate_posterior(**data, frequency=frequency)
    data |= {"y": 10.0 * data["y"], "y_err": 10.0 * data["y_err"]}
    there = integrate_posterior(**data, frequency=frequency)
    assert_allclose(
        there.log_marginal_likelihood - here.log_marginal_likelihood,
        -frequency.sum() * np.log(10.0),
        rtol=1e-10,
    )


@pytest.mark.parametrize("case", _cases()[::7], ids=str)
def test_oracle_does_not_depend_on_its_number_of_nodes(case: Case) -> None:
    once, twice = case.integrated(), case.integrated(order=32)
    assert len(twice.weights) >= len(once.weights)
    assert_allclose(twice.mean, once.mean, rtol=1e-9)
    assert_allclose(twice.covariance, once.covariance, rtol=1e-9)


def test_oracle_refuses_an_improper_posterior() -> None:
    """Two rows, two flat columns and a flat scale: the posterior of s is flat out to infinity."""
    with pytest.raises(ValueError, match="does not converge"):
        integrate_posterior(
            [[0.0], [1.0]],
            [0.0, 1.0],
            coef_sigma=np.inf,
            intercept_sigma=np.inf,
            noise_density=FlatScale(),
        )


def _number_or_array(value: float | tuple[float, ...]) -> float | Array:
    return np.array(value) if isinstance(value, tuple) else value
