"""The model in PyMC: what NUTS samples, what a person reads, and what both are meant to be.

Log densities are compared at given points, so that nothing here is random but the few tests that say so. A density
that is sampled may leave out a constant; a readable one may not.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from bayes_sklearn.inference.exact import engine as exact
from bayes_sklearn.inference.node_covariances import SharedBasis
from bayes_sklearn.inference.nuts import compressed_rows
from bayes_sklearn.inference.nuts.compressed_rows import CompressedData, Layout, compressed_data
from bayes_sklearn.inference.nuts.prior_coordinates import pilot_of
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.readable.model import readable_model
from bayes_sklearn.inference.settings import SamplerSettings
from bayes_sklearn.likelihoods.noise import NOISES, SCALED
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.priors import (
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
    ScalePrior,
    StudentT,
)

from oracle import standardisation

Array = NDArray[np.float64]
Values = Mapping[str, Any]
Errors = Literal["none", "scaled", "additive", "known", "auto"]
Weights = Literal["none", "integer", "zeros", "fractional"]
Table = Literal["plain", "duplicates", "dummies", "few errors", "apart", "offset"]

# A set of draws that is right fails a comparison once in 1.7 million.
Z_BOUND = 5.0

COEF_PRIORS: dict[str, Callable[[int], CoefficientPrior]] = {
    "normal": lambda p: Normal(),
    "normal, arrays": lambda p: Normal(mu=np.linspace(-0.3, 0.4, p), sigma=np.geomspace(0.2, 4.0, p)),
    "flat": lambda p: Flat(),
    "student-t": lambda p: StudentT(nu=np.linspace(1.0, 9.0, p), mu=0.1, sigma=np.geomspace(0.3, 2.0, p)),
    "laplace": lambda p: Laplace(mu=np.linspace(-0.2, 0.2, p), b=np.geomspace(0.3, 2.0, p)),
    "horseshoe": lambda p: Horseshoe(n_nonzero=0.3 * p, slab_sigma=1.4, slab_nu=5.0),
}
HIERARCHICAL: dict[str, Callable[[int], CoefficientPrior]] = {
    "normal, learned": lambda p: Normal(mu=np.linspace(-0.3, 0.4, p), sigma=HalfCauchy(0.7)),
    "laplace, learned": lambda p: Laplace(mu=0.1, b=HalfNormal(1.4)),
    "student-t, learned": lambda p: StudentT(nu=5.0, sigma=Gamma(2.5, 1.4)),
    "g-prior, learned": lambda p: PoweredCorrelation(power=1.0),
    "powers": lambda p: PoweredCorrelation(sigma=1.3),
    "powers, learned": lambda p: PoweredCorrelation(sigma=HalfStudentT(3.0, 0.8), power=(0.0, 0.4, 1.0)),
}

INTERCEPT_PRIORS: dict[str, CoefficientPrior | None] = {
    "normal": Normal(mu=0.2, sigma=0.7),
    "flat": Flat(),
    "student-t": StudentT(nu=2.0, sigma=0.8),
    "laplace": Laplace(b=0.6),
    "none": None,
}
SCALE_PRIORS: dict[str, ScalePrior] = {
    "half-normal": HalfNormal(sigma=0.6),
    "half-t": HalfStudentT(nu=3.0, sigma=0.7),
    "half-cauchy": HalfCauchy(beta=0.5),
    "exponential": Exponential(lam=1.7),
    "inverse-gamma": InverseGamma(alpha=2.5, beta=1.2),
    "gamma": Gamma(alpha=2.5, beta=1.4),
    "flat": Flat(),
}


@dataclass(frozen=True)
class Case:
    """A data set and a model for it."""

    errors: Errors = "scaled"
    coef: str = "normal"
    intercept: str = "normal"
    scale: str = "half-normal"
    weights: Weights = "none"
    standardize: bool = True
    n: int = 50
    p: int = 3
    table: Table = "plain"

    def __str__(self) -> str:
        default = Case()
        changes = [f"{k}={v}" for k, v in vars(self).items() if k != "errors" and v != getattr(default, k)]
        return " ".join([self.errors, *changes])

    @cached_property
    def data(self) -> dict[str, Any]:
        """X, y, y_err and frequency; y_err is None where none are known."""
        n = self.n
        rng = np.random.default_rng([n, self.p])
        X = rng.normal(size=(n, self.p)) * np.geomspace(0.5, 2.0, self.p)
        X += 0.7 * rng.normal(size=(n, 1)) + 1.0
        y = 1.0 + X @ (np.array([0.5, -0.8, 0.0])[np.arange(self.p) % 3] / np.sqrt(self.p))
        y_err = rng.uniform(0.2, 1.2, n)
        y += y_err * rng.normal(size=n)
        if self.table == "duplicates":
            X = np.column_stack([X, X[:, 0], X[:, 0] - X[:, 1]])
        elif self.table == "dummies":
            X = np.column_stack([X, np.eye(3)[rng.integers(0, 3, n)]])
        elif self.table == "few errors":
            y_err = np.array([0.2, 0.4, 1.0, 2.5])[rng.integers(0, 4, n)]
        elif self.table == "apart":
            X = np.column_stack([1e6 * X[:, 0], X[:, 0] + X[:, 1], 1e-3 * X[:, 2]])
        elif self.table == "offset":
            X, y = X + 1e5, y + 1e5
        frequency = {
            "none": None,
            "integer": rng.integers(1, 5, n).astype(float),
            "zeros": rng.integers(0, 3, n).astype(float),
            "fractional": np.where(rng.random(n) < 0.2, 0.0, rng.uniform(0.2, 3.0, n)),
        }[self.weights]
        return {"X": X, "y": y, "y_err": None if self.errors == "none" else y_err, "frequency": frequency}

    @cached_property
    def problem(self) -> Problem:
        data = self.data
        return Problem.build(
            Rows(data["X"], data["y"], None, data["frequency"]),
            data["y_err"],
            noise=SCALED if self.errors == "none" else NOISES[self.errors],
            standardize=self.standardize,
            coef_prior=(COEF_PRIORS | HIERARCHICAL)[self.coef](data["X"].shape[1]),
            intercept_prior=INTERCEPT_PRIORS[self.intercept],
            noise_prior=SCALE_PRIORS[self.scale],
        )

    @property
    def tolerance(self) -> float:
        """Allowed error of a log density: a billionth a row, and a millionth for few rows."""
        return 1e-6 * max(1.0, self.problem.total_weight / 1000.0)

    def hand_made(self) -> tuple[Array, Array, Array, Array, float]:
        """Design, target, errors and frequency in the units of the priors, and the target's scale.

        Rows of frequency zero are left out; the design has a first column of ones, with or without an intercept.
        """
        X, y, e, f = (self.data[name] for name in ("X", "y", "y_err", "frequency"))
        f = np.ones(len(y)) if f is None else f
        c, S, d, S_y = np.zeros(X.shape[1]), np.ones(X.shape[1]), 0.0, 1.0
        if self.standardize:
            c, S, d, S_y = standardisation(X, y, f, self.intercept != "none")
        Z = np.column_stack([np.ones(len(y)), (X - c) / S])
        e = np.ones(len(y)) if e is None else e / S_y
        used = f > 0.0
        return Z[used], ((y - d) / S_y)[used], e[used], f[used], S_y


# --- evaluating densities ------------------------------------------------------------------------


def log_density_of(model: Any) -> Callable[[Values], float]:
    """The log density of a PyMC model's variables at values by name, no transformation's Jacobian in it."""
    density = compiled(model, [model.logp(jacobian=False)])
    names = [(free.name, model.rvs_to_values[free].name) for free in model.free_RVs]

    def log_density(values: Values) -> float:
        point = {}
        for name, transformed in names:
            point[transformed] = np.log(values[name]) if transformed.endswith("_log__") else values[name]
        return float(density(point)[0])

    return log_density


def compiled(model: Any, outputs: list[Any]) -> Callable[[Values], Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.compile_fn(
            model.replace_rvs_by_values(outputs),
            inputs=model.value_vars,
            mode="FAST_COMPILE",
            on_unused_input="ignore",
        )


@dataclass(frozen=True)
class Sampler:
    """What the engine gives to its sampler."""

    problem: Problem
    start: Posterior
    data: CompressedData

    @classmethod
    def of(cls, problem: Problem) -> "Sampler":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = exact.solve(pilot_of(problem), SamplerSettings(roughly=True))
        return cls(problem, start, compressed_data(problem, start))

    @cached_property
    def evaluate(self) -> Callable[[Array], dict[str, Any]]:
        """From a point to its log density and all that follows from it."""
        model = compressed_rows.sampler_model(self.problem, self.data.arrays)
        names = ["log_density", *(variable.name for variable in model.deterministics)]
        density = compiled(model, [model.logp(jacobian=False), *model.deterministics])
        return lambda u: dict(zip(names, density({"u": u}), strict=True))

    @property
    def layout(self) -> Layout:
        return Layout.of(self.problem)

    def points(self, count: int, width: float = 1.0) -> list[Array]:
        rng = np.random.default_rng(5)
        return [width * rng.normal(size=self.layout.size) for _ in range(count)]

    def at_scale(self, point: Array, scale: float) -> Array:
        """The point with another noise scale."""
        center, width = np.asarray(self.data.arrays["log_scale"])
        moved = point.copy()
        moved[self.layout.sampled] = (np.log(scale) - center) / width
        return moved

    def log_volume(self, point: Array, geometry: int = 0) -> float:
        """Log determinant of B's derivatives by its own coordinates, but for a constant: B is linear in them."""
        size = self.layout.sampled
        if not size:
            return 0.0
        shifted = np.vstack([point, *(point + np.eye(len(point))[:size])])
        B = np.array([np.asarray(self.evaluate(u)["B"]) for u in shifted])
        B = B[:, geometry] if B.ndim == 3 else B
        sd = np.linalg.norm(self.start.root[:, -B.shape[1] :], axis=0)
        return float(np.linalg.slogdet((B[1:] - B[0]) / sd)[1])

    def intercept_and_coef(self, found: Values, geometry: int = 0) -> tuple[float, Array]:
        first = int(self.problem.fit_intercept)
        B = np.asarray(found.get("B", np.zeros(0)))
        B = B[geometry] if B.ndim == 2 else B
        return (float(B[0]) if first else 0.0), B[first:]


def readable(case: Case, problem: Problem | None = None) -> Any:
    data = case.data
    names = [f"x{i}" for i in range(data["X"].shape[1])]
    return readable_model(problem or case.problem, names, range(len(data["y"])))


def difference(case: Case, sampler: Sampler, density: Callable[[Values], float], point: Array) -> float:
    """Log density of the sampler less that of the readable model, about the same parameters."""
    found = sampler.evaluate(point)
    suffix = "_standardized" if case.standardize else ""
    intercept, coef = sampler.intercept_and_coef(found)
    values: dict[str, Any] = {f"coef{suffix}": coef, f"intercept{suffix}": intercept}
    moved = sampler.log_volume(point)
    scale = float(found.get("s", 1.0))
    if case.errors != "known":
        # The sampler's coordinate is log s.
        values |= {"sigma": scale, f"sigma{suffix}": scale}
        moved += np.log(scale)
    if case.coef == "horseshoe":
        scales = {name: np.asarray(found[name]) for name in ("local_scale", "global_scale", "slab_variance")}
        sd, unscaled = np.asarray(found["sd"]), np.sin(1.0 + np.arange(coef_size(case)) + 9.0 * point[0])
        coef = sd * unscaled
        values |= {f"coef{suffix}_{name}": value for name, value in scales.items()}
        values[f"coef{suffix}_unscaled"] = unscaled
        # The sampler's coordinates are logs here, too, and it has integrated the coefficients out:
        # p(rest | data) = p(coef, rest | data) / p(coef | rest, data).
        moved += sum(float(np.log(value).sum()) for value in scales.values())
        moved -= float(np.log(sd).sum()) + log_conditional(case, scale, intercept, sd, coef)
    return float(found["log_density"]) - density(values) - moved


def differences_by_geometry(
    case: Case, sampler: Sampler, densities: list[Callable[[Values], float]], point: Array
) -> Array:
    """As `difference`, of coefficients that follow their prior: one for each of its geometries, whose own model has
    the density that is given."""
    found = sampler.evaluate(point)
    suffix = "_standardized" if case.standardize else ""
    scale, of_geometry = float(found.get("s", 1.0)), np.asarray(found.get("geometry", np.zeros(1)))
    values: dict[str, Any] = {"sigma": scale, f"sigma{suffix}": scale}
    moved = 0.0 if case.errors == "known" else np.log(scale)
    for name in ("prior_scale", "scatter"):
        if name in found:
            values[name] = values[f"{name}{suffix}"] = float(found[name])
            moved += np.log(values[name])
    rest = float(found["log_density"]) - np.logaddexp.reduce(of_geometry)
    answer = []
    for geometry, density in enumerate(densities):
        intercept, coef = sampler.intercept_and_coef(found, geometry)
        values |= {f"coef{suffix}": coef, f"intercept{suffix}": intercept}
        own = rest + of_geometry[geometry] - sampler.log_volume(point, geometry)
        answer.append(own - density(values) - moved)
    return np.array(answer)


def coef_size(case: Case) -> int:
    return int(case.data["X"].shape[1])


def noise_sd(case: Case, scale: Any, error: Any) -> Any:
    return {"none": scale, "scaled": scale * error, "known": error, "additive": (scale**2 + error**2) ** 0.5}[
        case.errors
    ]


def log_conditional(case: Case, scale: float, intercept: float, sd: Array, coef: Array) -> float:
    """Log density of coefficients given everything else, by dense algebra on all rows."""
    Z, target, error, f, _ = case.hand_made()
    precision_of_rows = f / noise_sd(case, scale, error) ** 2
    scaled = Z[:, 1:] * sd  # of the coefficients in multiples of their scales: the prior's precision is one
    precision = np.eye(len(sd)) + scaled.T @ (precision_of_rows[:, None] * scaled)
    away = coef / sd - np.linalg.solve(precision, scaled.T @ (precision_of_rows * (target - intercept)))
    log_volume = np.linalg.slogdet(precision)[1] - len(coef) * np.log(2.0 * np.pi)
    return float(0.5 * (log_volume - away @ precision @ away) - np.log(sd).sum())


# --- what is sampled is the readable model -------------------------------------------------------

ALL_ERRORS: tuple[Errors, ...] = ("none", "scaled", "additive", "known")


def _cases() -> list[Case]:
    cases = [
        Case(errors, coef, weights=("integer", "none")[(i + j) % 2], standardize=(i + j) % 2 == 0)
        for (i, errors), (j, coef) in product(enumerate(ALL_ERRORS), enumerate(COEF_PRIORS))
    ]
    cases += [Case(errors, weights="zeros", intercept="none") for errors in ALL_ERRORS]
    cases += [Case(errors, weights="fractional", standardize=False) for errors in ALL_ERRORS]
    cases += [Case(errors, "student-t", n=2000) for errors in ALL_ERRORS]
    cases += [Case(errors, "laplace", n=8, p=12) for errors in ALL_ERRORS]
    cases += [Case(errors, "normal", p=1, intercept="none") for errors in ALL_ERRORS]
    cases += [Case("scaled", "laplace", intercept=kind) for kind in ("flat", "student-t", "laplace")]
    cases += [Case(("none", "additive")[i % 2], scale=kind) for i, kind in enumerate(SCALE_PRIORS)]
    cases += [
        Case("none", "horseshoe", n=8, p=12),
        Case("scaled", "horseshoe", intercept="student-t", weights="fractional"),
        Case("additive", "horseshoe", intercept="none", n=2000),
        Case("additive", "normal", n=2000, table="few errors"),
    ]
    return list(dict.fromkeys(cases))


@pytest.mark.parametrize("case", _cases(), ids=str)
def test_sampled_density_is_the_readable_model_s_but_for_a_constant(case: Case) -> None:
    """Jacobians of the coordinates, determinants and the integral over coefficients under a mixture included."""
    sampler, density = Sampler.of(case.problem), log_density_of(readable(case))
    points = [*sampler.points(6), *sampler.points(3, 2.0)]
    if case.errors == "additive":
        lower, upper = sampler.data.limits
        points = [p for p in points if lower <= sampler.evaluate(p)["s"] <= upper]
        assert len(points) > 5
    found = np.array([difference(case, sampler, density, point) for point in points])
    # Digits are lost of what is compared.
    size = np.array([sampler.evaluate(point)["log_density"] for point in points])
    allowed = case.tolerance * np.maximum(1.0, np.abs(size - size[0]) / 100.0)
    assert np.all(np.abs(found - found[0]) < allowed), f"{found - found[0]} beside {allowed}"


def _hierarchical_cases() -> list[Case]:
    errors: tuple[Errors, ...] = (*ALL_ERRORS, "auto")
    cases = [
        Case(
            errors[(i + j) % len(errors)],
            coef,
            intercept=("flat", "normal", "none", "student-t")[(i + j) % 4],
            weights=("integer", "none", "zeros")[(i + j) % 3],
            standardize=(i + j) % 2 == 0,
        )
        for i in (0, 3)
        for j, coef in enumerate(HIERARCHICAL)
    ]
    cases += [Case("auto", coef) for coef in ("normal", "flat", "student-t", "laplace")]
    cases += [
        Case("auto", "powers, learned", n=2000, table="few errors"),
        Case("auto", "powers", scale="inverse-gamma", n=400, intercept="flat"),
        Case("none", "powers, learned", n=8, p=12),
        Case("scaled", "powers, learned", table="duplicates", intercept="flat"),
    ]
    return list(dict.fromkeys(cases))


@pytest.mark.parametrize("case", _hierarchical_cases(), ids=str)
def test_sampled_density_under_each_geometry_is_its_readable_model_s(case: Case) -> None:
    """But for one constant: geometries have the probabilities of a mixture."""
    problem = case.problem
    prior, problems = problem.coef_prior, [problem]
    if isinstance(prior, PoweredCorrelation):
        powers = np.atleast_1d(np.asarray(prior.power))
        problems = [
            replace(problem, coef_prior=PoweredCorrelation(prior.sigma, float(power))) for power in powers
        ]
    sampler, densities = Sampler.of(problem), [log_density_of(readable(case, one)) for one in problems]
    points = [*sampler.points(5), *sampler.points(2, 2.0)]
    if case.errors in ("additive", "auto"):
        points = [p for p in points if _inside(sampler, p)]
        assert len(points) > 3
    found = np.array([differences_by_geometry(case, sampler, densities, point) for point in points])
    size = np.array([sampler.evaluate(point)["log_density"] for point in points])
    allowed = case.tolerance * np.maximum(1.0, np.abs(size - size[0]) / 100.0)
    assert np.all(np.abs(found - found[0, 0]) < allowed[:, None]), f"{found - found[0, 0]} beside {allowed}"


def _inside(sampler: Sampler, point: Array) -> bool:
    found = sampler.evaluate(point)
    return sampler.data.holds(np.asarray(found["s"]), found.get("scatter"))


@pytest.mark.parametrize(
    "case", [Case("auto", "powers, learned"), Case("known", "powers", intercept="flat")], ids=str
)
def test_readable_model_of_several_geometries_is_the_mixture_of_theirs(case: Case) -> None:
    problem, prior = case.problem, case.problem.coef_prior
    assert isinstance(prior, PoweredCorrelation)
    values: dict[str, Any] = {"coef_standardized": np.array([0.5, -0.8, 0.1]), "intercept_standardized": 0.2}
    values |= {"sigma": 1.2, "scatter_standardized": 0.3, "prior_scale": 0.7}
    own = [
        log_density_of(readable(case, replace(problem, coef_prior=PoweredCorrelation(prior.sigma, float(a)))))
        for a in np.atleast_1d(np.asarray(prior.power))
    ]
    expected = np.logaddexp.reduce([density(values) for density in own]) - np.log(len(own))
    assert_allclose(log_density_of(readable(case))(values), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "case",
    [
        Case("additive", table=table, n=n, weights=weights, standardize=standardize)
        for table, n, weights, standardize in (
            ("plain", 50, "none", True),
            ("plain", 2000, "none", False),
            ("duplicates", 50, "integer", True),
            ("duplicates", 50, "none", False),
            ("dummies", 50, "none", True),
            ("dummies", 50, "fractional", False),
            ("few errors", 2000, "none", True),
        )
    ],
    ids=str,
)
def test_interpolated_rows_hold_from_no_scatter_to_far_above_the_errors(case: Case) -> None:
    sampler, density = Sampler.of(case.problem), log_density_of(readable(case))
    lower, upper = sampler.data.limits
    point = sampler.points(1)[0]
    assert lower < sampler.start.noise_scale.min()
    assert upper > sampler.start.noise_scale.max()
    assert (lower == 0.0) == (case.table != "few errors")  # whose scatter is told from the errors
    inside = np.r_[1e-12, np.geomspace(1e-5, 1.0, 14), np.linspace(0.05, 0.999, 12)]
    scales = lower + inside * (upper - lower)
    found = np.array([difference(case, sampler, density, sampler.at_scale(point, s)) for s in scales])
    assert_allclose(found, found[0], rtol=0.0, atol=case.tolerance)


def test_scatter_beyond_the_interpolated_range_is_noticed() -> None:
    sampler = Sampler.of(replace(Case("additive"), n=2000).problem)
    lower, upper = sampler.data.limits
    assert sampler.data.holds(np.linspace(lower, upper, 50))
    assert not sampler.data.holds(np.array([lower, 1.001 * upper]))
    wider = compressed_data(sampler.problem, sampler.start, widening=1)
    assert wider.limits[1] > 1.5 * upper


@pytest.mark.parametrize("errors", ALL_ERRORS)
@pytest.mark.parametrize("table", ["plain", "apart", "offset"])
@pytest.mark.parametrize("standardize", [True, False])
def test_coordinates_are_about_standard_normal(errors: Errors, table: Table, standardize: bool) -> None:
    """Whatever the features' units: a triangle that rounding made singular would freeze a coefficient.

    They are those at one noise scale, beside what all scales together say.
    """
    sampler = Sampler.of(Case(errors, table=table, standardize=standardize).problem)
    zero, size = np.zeros(sampler.layout.size), sampler.layout.sampled
    at = np.vstack([zero, np.eye(len(zero))[:size]])
    start, *moved = (np.asarray(sampler.evaluate(u)["B"]) for u in at)
    spread = np.transpose(moved - start)
    sd = np.sqrt(np.diag(sampler.start.covariance))
    root = sampler.start.root / sd
    whitened = np.linalg.solve(spread / sd[:, None], root.T)
    assert_allclose(whitened @ whitened.T, np.eye(len(sd)), rtol=0.0, atol=0.3)
    away = np.linalg.solve(spread / sd[:, None], (sampler.start.mean - start) / sd)
    assert np.abs(away).max() < 0.5


@pytest.mark.parametrize("errors", ALL_ERRORS)
@pytest.mark.parametrize("table", ["apart", "offset"])
def test_features_in_any_unit_keep_their_digits(errors: Errors, table: Table) -> None:
    case = Case(errors, "normal", standardize=False, table=table)
    sampler, density = Sampler.of(case.problem), log_density_of(readable(case))
    found = np.array([difference(case, sampler, density, point) for point in sampler.points(8)])
    assert_allclose(found, found[0], rtol=0.0, atol=1e-5)


# --- the readable model is the one that is meant -------------------------------------------------


def plain_model(case: Case) -> Any:
    """The model written out: features and target standardised by hand, rows of frequency k written k times."""
    import pymc as pm

    Z, target, error, f, unit = case.hand_made()
    times = np.repeat(np.arange(len(f)), f.astype(int))
    Z, target, error = Z[times, 1:], target[times], error[times]
    N, p = len(times), Z.shape[1]
    with pm.Model() as model:
        scale: Any = 1.0 if case.errors == "known" else pm.HalfNormal("s", 0.6)
        intercept: Any = 0.0 if case.intercept == "none" else pm.Normal("b", 0.2, 0.7)
        if case.coef == "horseshoe":
            # Piironen & Vehtari 2017, (2.8) and (3.12), for rows whose noise differs: N / sum(1 / sd^2) is the
            # square of a typical row's.
            typical = (N / (1.0 / error**2).sum()) ** 0.5
            tau_0 = 0.3 * p / (p - 0.3 * p) * noise_sd(case, scale, typical) / N**0.5
            lam = pm.HalfCauchy("lam", 1.0, shape=p)
            tau = pm.HalfCauchy("tau", tau_0)
            c2 = pm.InverseGamma("c2", 5.0 / 2.0, 5.0 / 2.0 * 1.4**2)
            z = pm.Normal("z", 0.0, 1.0, shape=p)
            m = z * tau * lam * pm.math.sqrt(c2 / (c2 + tau**2 * lam**2))
        elif case.coef == "student-t":
            m = pm.StudentT(
                "m", nu=np.linspace(1.0, 9.0, p), mu=0.1, sigma=np.geomspace(0.3, 2.0, p), shape=p
            )
        elif case.coef == "laplace":
            m = pm.Laplace("m", mu=np.linspace(-0.2, 0.2, p), b=np.geomspace(0.3, 2.0, p), shape=p)
        else:
            m = pm.Normal("m", 0.0, 1.0, shape=p)
        mu = unit * (pm.math.dot(Z, m) + intercept)
        pm.Normal("y", mu, unit * noise_sd(case, scale, error), observed=unit * target)
    return model


@pytest.mark.parametrize(
    "case",
    [
        Case(errors, coef, intercept, weights=weights, standardize=standardize)
        for errors in ALL_ERRORS
        for coef, intercept, weights, standardize in (
            ("normal", "normal", "none", False),
            ("laplace", "none", "zeros", True),
            ("horseshoe", "normal", "integer", True),
        )
    ]
    + [Case("scaled", "student-t"), Case("additive", "horseshoe", "none", standardize=False)],
    ids=str,
)
def test_readable_model_is_the_one_written_out_in_plain_pymc(case: Case) -> None:
    """Also what tau_0 is: of N rows, not of the few compressed ones."""
    ours, plain = log_density_of(readable(case)), log_density_of(plain_model(case))
    rng = np.random.default_rng(8)
    p = coef_size(case)
    suffix = "_standardized" if case.standardize else ""
    for _ in range(4):
        lam, tau, c2, s = np.exp(rng.normal(size=p)), *np.exp(rng.normal(size=3))
        z, b = rng.normal(size=p), rng.normal()
        by_hand = {"lam": lam, "tau": tau, "c2": c2, "z": z, "m": z, "b": b, "s": s}
        scales = {"local_scale": lam, "global_scale": tau, "slab_variance": c2, "unscaled": z}
        values = {f"coef{suffix}_{name}": value for name, value in scales.items()}
        values |= {f"coef{suffix}": z, f"intercept{suffix}": b, f"sigma{suffix}": s, "sigma": s}
        assert_allclose(ours(values), plain(by_hand), rtol=1e-11, atol=1e-6)


@pytest.mark.parametrize("errors", ALL_ERRORS)
@pytest.mark.parametrize("intercept", ["normal", "none"])
def test_readable_model_s_derived_variables_are_on_the_data_s_scale(errors: Errors, intercept: str) -> None:
    """As the engines' posteriors are, mapped to it."""
    case = Case(errors, intercept=intercept, weights="integer")
    problem, model = case.problem, readable(case)
    b, m, s = (0.4 if problem.fit_intercept else 0.0), np.array([0.7, -0.2, 0.1]), 0.8
    point = {
        "coef_standardized": m,
        "intercept_standardized": b,
        "sigma_log__": np.log(s),
        "sigma_standardized_log__": np.log(s),
    }
    names = [variable.name for variable in model.deterministics]
    needed = {model.rvs_to_values[free].name for free in model.free_RVs}
    values = compiled(model, model.deterministics)({k: v for k, v in point.items() if k in needed})
    found = {"sigma": s, "intercept": 0.0, **dict(zip(names, values, strict=True))}
    node = Posterior(
        weights=np.ones(1),
        location=np.r_[b, m][None],
        covariances=SharedBasis(np.zeros((4, 0)), np.zeros((1, 0))),
        noise_scale=np.array([s]),
        center=np.zeros(3),
    )
    data = problem.scaling.to_data(node, problem.noise_unit)
    assert_allclose(found["coef"], data.mean[1:], rtol=1e-12)
    assert_allclose(found["intercept"], data.mean[0] - data.center @ data.mean[1:], rtol=1e-10, atol=1e-12)
    if errors != "known":
        assert_allclose(found["sigma"], data.noise_scale[0], rtol=1e-12)


# --- coefficients drawn given their scales -------------------------------------------------------


@pytest.mark.parametrize(("rows", "p"), [(5, 3), (4, 6)])
def test_coefficients_given_their_scales_have_the_gaussian_s_mean_and_covariance(rows: int, p: int) -> None:
    """45 comparisons of random draws: a right function fails once in 39,000 sets of them."""
    rng = np.random.default_rng(3)
    design, target = rng.normal(size=(rows, p)), rng.normal(size=rows) * 3.0
    sd = np.geomspace(0.01, 3.0, p)
    precision = np.diag(sd**-2.0) + design.T @ design
    covariance = np.linalg.inv(precision)
    mean = covariance @ design.T @ target

    G = 100_000
    stacked = (np.broadcast_to(a, (G, *a.shape)) for a in (design, target, sd))
    drawn = compressed_rows.given_scales(*stacked, rng)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (drawn - mean).T)
    assert np.abs(white.mean(axis=1) * np.sqrt(G)).max() < Z_BOUND
    products = np.einsum("ig,jg->ij", white, white) / G - np.eye(p)
    # The variance of a product of two standard normals is 1, of a square 2.
    assert np.abs(products * np.sqrt(G) / np.sqrt(1.0 + np.eye(p))).max() < Z_BOUND


@pytest.mark.parametrize("case", [Case("scaled", "horseshoe"), Case("additive", "horseshoe")], ids=str)
def test_rows_that_coefficients_are_drawn_from_are_those_that_are_sampled(case: Case) -> None:
    """Sums of squares and products of the whitened rows, beside those of all rows."""
    data = Sampler.of(case.problem).data
    Z, target, error, f, _ = case.hand_made()
    scale = np.array([0.2, 0.9])
    for rows, s in zip(data.rows(scale), scale, strict=True):
        full = np.column_stack([Z, target]) * (np.sqrt(f) / noise_sd(case, s, error))[:, None]
        used = slice(1, None)  # the intercept's column may be in other coordinates
        assert_allclose(
            (rows.T @ rows)[used, used][:-1, :-1], (full.T @ full)[used, used][:-1, :-1], rtol=1e-8
        )


# --- the priors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCALE_PRIORS)
def test_scale_prior_s_density_is_pymc_s(name: str) -> None:
    import pymc as pm

    prior = SCALE_PRIORS[name]
    s = np.array([1e-3, 0.1, 0.7, 2.0, 15.0])
    parameters = {key: value.item() for key, value in prior.check("noise_prior", 1).items()}
    theirs = pm.logp(getattr(pm, str(prior.scale_distribution)).dist(**parameters), s)
    # PyTensor takes the logarithm of a small whole number in single precision.
    assert_allclose(prior.log_density(s), theirs.eval(mode="FAST_COMPILE"), rtol=1e-10, atol=1e-7)


@pytest.mark.parametrize(
    ("prior", "density"),
    [
        (Normal(mu=[0.1, 0.2], sigma=[1.0, 0.3]), stats.norm([0.1, 0.2], [1.0, 0.3])),
        (StudentT(nu=[1.0, 5.0], mu=0.3, sigma=0.7), stats.t([1.0, 5.0], 0.3, 0.7)),
        (Laplace(mu=-0.2, b=[0.5, 2.0]), stats.laplace(-0.2, [0.5, 2.0])),
    ],
    ids=["normal", "student_t", "laplace"],
)
def test_coefficient_prior_s_density_is_pymc_s_and_scipy_s(prior: CoefficientPrior, density: Any) -> None:
    import pymc as pm

    at = np.array([[-3.0, -3.0], [0.1, 0.0], [0.7, 5.0]])
    distribution = getattr(pm, str(prior.distribution)).dist(**prior.check("coef_prior", 2))
    theirs = pm.logp(distribution, at).eval(mode="FAST_COMPILE")
    assert_allclose(theirs, density.logpdf(at), rtol=1e-6)
    ours = prior.coefficient_log_density(at, prior.check("coef_prior", 2))
    assert_allclose(ours, density.logpdf(at), rtol=1e-12)
    # The Gaussian that samplers start from: its one standard deviation holds about two thirds.
    mean, sd = prior.gaussian_like("coef_prior", 2)
    inside = density.cdf(mean + sd) - density.cdf(mean - sd)
    assert np.all((inside > 0.65) & (inside < 0.78))


def test_horseshoe_s_coefficients_are_distributed_as_its_definition_says() -> None:
    """Draws of the readable model's prior beside draws in NumPy: proportions below 8 thresholds, z < 5 each."""
    import pymc as pm

    p, N = 4, 40
    case = Case("none", "horseshoe", n=N, p=p)
    rng = np.random.default_rng(4)
    size = 400_000
    s = np.abs(0.6 * rng.normal(size=size))
    tau = np.abs(rng.standard_cauchy(size)) * (0.3 * p / (p - 0.3 * p) * s / np.sqrt(N))
    lam = np.abs(rng.standard_cauchy(size))
    slab = 1.4 * rng.standard_t(5.0, size)  # what is left where tau lam is large
    c2 = 5.0 / 2.0 * 1.4**2 / rng.gamma(5.0 / 2.0, size=size)
    defined = rng.normal(size=size) * tau * lam * np.sqrt(c2 / (c2 + tau**2 * lam**2))

    model = readable(case)
    draws = 4000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = pm.draw(model["coef_standardized"], draws, mode="FAST_COMPILE", random_seed=6)[:, 0]
    thresholds = np.quantile(np.abs(defined), [0.05, 0.25, 0.5, 0.75, 0.9, 0.99])
    level = (np.abs(defined)[:, None] < thresholds).mean(axis=0)
    error = np.sqrt(level * (1.0 - level) * (1.0 / draws + 1.0 / size))
    z = ((np.abs(drawn)[:, None] < thresholds).mean(axis=0) - level) / error
    assert np.abs(z).max() < Z_BOUND
    assert abs((drawn > 0.0).mean() - 0.5) < Z_BOUND * 0.5 / np.sqrt(draws)
    # The slab: coefficients that matter are Student's t with its degrees of freedom and scale.
    matter = np.abs(defined[tau * lam > 100.0])
    assert_allclose(np.median(matter), np.median(np.abs(slab)), rtol=0.1)
