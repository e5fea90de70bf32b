"""The density that NUTS samples with effects of groups, at given points: without a compiled sampler."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

from bayes_sklearn.inference.nuts.formulation import structure
from bayes_sklearn.inference.nuts.rows import likelihood_data, sampler_model
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.likelihoods import (
    BetaBinomialLikelihood,
    BetaLikelihood,
    BinomialLikelihood,
    Likelihood,
    NegativeBinomialLikelihood,
    NormalLikelihood,
    PoissonLikelihood,
    StudentTLikelihood,
)
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.groups.labels import Groupings
from bayes_sklearn.measurements.limits import Limits
from bayes_sklearn.priors import (
    CoefficientPrior,
    Gamma,
    HalfCauchy,
    HalfStudentT,
    Horseshoe,
    Laplace,
    Normal,
    ScalePrior,
)
from bayes_sklearn.priors.coefficients import PoweredCorrelation

Array = NDArray[np.float64]

LIKELIHOODS: dict[str, Likelihood] = {
    "normal": NormalLikelihood(),
    "t": StudentTLikelihood(),
    "binomial": BinomialLikelihood(),
    "beta-binomial": BetaBinomialLikelihood(),
    "poisson": PoissonLikelihood(),
    "negative binomial": NegativeBinomialLikelihood(),
    "beta": BetaLikelihood(),
}


@dataclass(frozen=True)
class Case:
    """A table in groups, and a model for it."""

    likelihood: str
    slopes: tuple[tuple[int, ...], ...] = ((),)
    coef: CoefficientPrior = Normal(0.2, 0.7)  # noqa: RUF009 - never changed
    prior: ScalePrior = HalfStudentT(nu=3.0)  # noqa: RUF009
    noise: Any = "scaled"
    intercept: bool = True
    weights: bool = False
    limits: bool = False
    """Whether some targets are limits, and all lie above one."""
    n: int = 40

    def __str__(self) -> str:
        changed = {k: v for k, v in vars(self).items() if getattr(type(self), k, None) is not v}
        return " ".join(f"{k}={v}" for k, v in changed.items())

    @cached_property
    def problem(self) -> Problem:
        rng, n, sizes = np.random.default_rng(2), self.n, (5, 3)[: len(self.slopes)]
        X = rng.normal(size=(n, 2)) * [0.5, 2.0] + 1.0
        members = np.column_stack([rng.permutation(np.arange(n) % size) for size in sizes])
        eta = (
            X @ [0.8, -0.3]
            + 0.2
            + sum(rng.normal(0.0, 0.7, size)[own] for size, own in zip(sizes, members.T, strict=True))
        )
        likelihood, trials = LIKELIHOODS[self.likelihood], None
        share = 1.0 / (1.0 + np.exp(-eta))
        if likelihood.per == "trials":
            trials = rng.integers(1, 40, n).astype(float)
            y = rng.binomial(trials.astype(int), share) / trials
        elif likelihood.per == "exposure":
            trials = rng.uniform(0.5, 20.0, n)
            y = rng.poisson(trials * np.exp(eta)) / trials
        elif self.likelihood == "beta":
            y = rng.beta(9.0 * share, 9.0 * (1.0 - share))
        else:
            y = eta + rng.uniform(0.2, 0.8, n) * rng.standard_t(4.0, n)
        frequency = rng.integers(0, 3, n).astype(float) if self.weights else None
        names = ("g", "h")[: len(sizes)]
        groupings = Groupings(names, tuple(np.arange(size) for size in sizes), self.slopes, names)
        problem = Problem.build(
            Rows(X, y, None, frequency, members=members),
            rng.uniform(0.2, 0.8, n) if likelihood.has_noise_scale else None,
            noise=NOISES[self.noise],
            standardize=True,
            coef_prior=self.coef,
            intercept_prior=Normal(0.2, 1.5) if self.intercept else None,
            noise_prior=HalfStudentT(),
            likelihood=likelihood,
            trials=trials,
        )
        problem = problem.grouped(groupings, self.prior)
        if self.limits:
            censored = np.arange(n) % 4 == 0
            upper = np.where(censored, np.inf, y)
            problem = problem.censored(Limits(censored, y, upper)).selected((float(y.min()) - 0.5, np.inf))
        return problem


CASES = [
    Case("normal"),
    Case("normal", ((0,), (1,)), noise="auto", weights=True),
    Case("normal", ((0,),), coef=PoweredCorrelation(HalfCauchy()), noise="additive"),
    Case("t", ((1, 0),), coef=Laplace(0.1, 0.5)),
    Case("binomial", ((), (0,)), coef=Horseshoe(n_nonzero=1.0)),
    Case("binomial", ((0,),), coef=Normal(sigma=HalfCauchy()), intercept=False),
    Case("beta-binomial", ((0,),), prior=Gamma(2.0, 2.0)),
    Case("poisson", ((), ()), coef=PoweredCorrelation(HalfCauchy()), weights=True),
    Case("negative binomial"),
    Case("beta", ((0,),)),
    Case("normal", ((0,),), limits=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sampled_density_with_groups_is_likelihood_times_priors(case: Case) -> None:
    """Jacobians of all coordinates included; up to a constant; under each geometry of the prior, and summed."""
    problem = case.problem
    model = sampler_model(problem, likelihood_data(problem))
    names = ["log_density", *(variable.name for variable in model.deterministics)]
    outputs = compiled(model, [model.logp(jacobian=False), *model.deterministics])
    scales = ("prior_scale", "local_scale", "global_scale", "slab_variance")
    kept = [*(parameter.name for parameter in problem.auxiliary), "group_scales", *scales]

    def evaluate(u: Array) -> dict[str, Array]:
        return dict(zip(names, outputs({"u": u}), strict=True))

    def natural(u: Array, geometry: int) -> Array:
        found = evaluate(u)
        own = [np.atleast_2d(found[name])[geometry] for name in ("B", "effects")]
        return np.concatenate([*own, *(np.ravel(found[name]) for name in kept if name in found)])

    rng, size = np.random.default_rng(3), int(model["u"].type.shape[0])
    differences = []
    for width in (0.5, 0.5, 1.0, 1.5):
        u = width * rng.normal(size=size)
        found = evaluate(u)
        expected = [
            log_density(problem, found, geometry) + volume(partial(natural, geometry=geometry), u)
            for geometry in range(len(np.atleast_2d(found["B"])))
        ]
        differences.append(float(found["log_density"]) - logsumexp(expected))
    assert_allclose(differences, differences[0], rtol=0.0, atol=2e-5)


def log_density(problem: Problem, at: dict[str, Array], geometry: int) -> float:
    """Log density of the parameters and the rows, by NumPy and SciPy, in the model's units."""
    groupings, members, rows = problem.groupings, problem.rows.members, problem.rows
    assert groupings is not None
    assert members is not None
    design = problem.design_at(np.arange(len(rows.y)))
    B, effects = (np.atleast_2d(at[name])[geometry] for name in ("B", "effects"))
    B = np.append([0.0] * (not problem.fit_intercept), B)
    eta, total, place, scale = design @ B, 0.0, 0, 0
    prior, unit = problem.group_prior
    for k, (size, slopes) in enumerate(zip(groupings.sizes, groupings.slopes, strict=True)):
        terms = design[:, [0, *(1 + j for j in slopes)]]
        width = terms.shape[1]
        own = effects[place : place + size * width].reshape(size, width)
        sd = at["group_scales"][scale : scale + width]
        eta = eta + (terms * own[members[:, k]]).sum(axis=1)
        total += stats.norm.logpdf(own, 0.0, sd).sum() + prior.log_density(sd / unit).sum()
        place, scale = place + size * width, scale + width
    values = {parameter.name: np.asarray(at[parameter.name]) for parameter in problem.auxiliary}
    for parameter in problem.auxiliary:
        total += float(parameter.prior.log_density(values[parameter.name] - parameter.coordinate.lower))
    of_rows = problem.likelihood.log_density(eta, values, problem.observations())
    total += of_rows @ (np.ones(len(rows.y)) if rows.frequency is None else rows.frequency)
    if problem.fit_intercept:
        total += stats.norm.logpdf(B[0], 0.2, 1.5)
    return float(total + of_coefficients(problem, B[1:], at, geometry))


def of_coefficients(problem: Problem, coef: Array, at: dict[str, Array], geometry: int) -> float:
    """Log prior density of coefficients and their scales."""
    prior = problem.coef_prior
    if isinstance(prior, Horseshoe):  # binomial
        lam, tau, c2 = (np.asarray(at[name]) for name in ("local_scale", "global_scale", "slab_variance"))
        sd = tau * lam / np.sqrt(1.0 + (tau * lam) ** 2 / c2)
        n, y = np.asarray(problem.trials), problem.rows.y
        pooled = (n @ y + 0.5) / (n.sum() + 1.0)
        unit = (n.sum() * pooled * (1.0 - pooled)) ** -0.5  # of one of two coefficients
        total = stats.norm(0.0, sd).logpdf(coef).sum() + stats.halfcauchy().logpdf(lam).sum()
        return float(
            total + stats.halfcauchy(scale=unit).logpdf(tau) + stats.invgamma(2.0, scale=2.0).logpdf(c2)
        )
    total = 0.0
    if "prior_scale" in at:
        total += float(stats.halfcauchy.logpdf(at["prior_scale"]))
    if isinstance(prior, PoweredCorrelation):
        assert problem.conditional_prior is not None
        root = at["prior_scale"] * problem.conditional_prior.roots[geometry]
        return total + float(stats.multivariate_normal(np.zeros(len(coef)), root @ root.T).logpdf(coef))
    if isinstance(prior, Laplace):
        return total + float(stats.laplace.logpdf(coef, prior.mu, prior.b).sum())
    assert isinstance(prior, Normal)
    sd = at.get("prior_scale", prior.sigma)
    return total + float(stats.norm.logpdf(coef, prior.mu, sd).sum())


def compiled(model: Any, outputs: list[Any]) -> Callable[[dict[str, Any]], list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.compile_fn(
            model.replace_rvs_by_values(outputs), inputs=model.value_vars, mode="FAST_COMPILE"
        )


def volume(function: Callable[[Array], Array], u: Array) -> float:
    """Log determinant of a function's derivatives, by differences."""
    step = 1e-5 * np.eye(len(u))
    return float(np.linalg.slogdet([(function(u + h) - function(u - h)) / 2e-5 for h in step])[1])


def test_models_of_other_groups_are_compiled_anew() -> None:
    first = Case("binomial").problem
    same = replace(first, rows=replace(first.rows, y=1.0 - first.rows.y))
    assert structure(first) == structure(same)
    for other in (Case("binomial", ((0,),)), Case("binomial", ((), ())), Case("binomial", prior=Gamma())):
        assert structure(other.problem) != structure(first)
    assert structure(replace(first, groupings=None, group_priors=())) != structure(first)
