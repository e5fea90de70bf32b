"""The density that NUTS samples with groups beside errors in X, at given points: without a compiled sampler."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logsumexp

from bayes_sklearn.inference.nuts.formulation import Draws
from bayes_sklearn.inference.nuts.mixture import sampler_model
from bayes_sklearn.inference.nuts.mixture_data import mixture_data
from bayes_sklearn.inference.posterior import Posterior
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.likelihoods import BinomialLikelihood, Likelihood, NormalLikelihood, StudentTLikelihood
from bayes_sklearn.likelihoods.noise import KNOWN, SCALED
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.feature_errors import FeatureErrors
from bayes_sklearn.measurements.groups.labels import Groupings
from bayes_sklearn.priors import HalfNormal, HalfStudentT, InverseGamma, Normal, ScalePrior

Array = NDArray[np.float64]

LIKELIHOODS: dict[str, Likelihood] = {
    "normal": NormalLikelihood(),
    "t": StudentTLikelihood(),
    "binomial": BinomialLikelihood(),
}


@dataclass(frozen=True)
class Case:
    """A table in groups, of which the last features have errors, and a model for it."""

    likelihood: str
    q: int = 1
    slopes: tuple[tuple[int, ...], ...] = ((),)
    gaps: bool = False
    intercept: bool = True
    prior: ScalePrior = HalfStudentT(nu=3.0)  # noqa: RUF009 - never changed
    n: int = 20

    @cached_property
    def problem(self) -> Problem:
        rng, n, q = np.random.default_rng(3), self.n, self.q
        sizes, likelihood = (5, 3)[: len(self.slopes)], LIKELIHOODS[self.likelihood]
        members = np.column_stack([rng.permutation(np.arange(n) % size) for size in sizes])
        levels = sum(rng.normal(size=(size, q))[own] for size, own in zip(sizes, members.T, strict=True))
        z, x = rng.normal(size=n) * 2.0 + 1.0, levels + rng.normal(size=(n, q))
        eta = 0.3 * z + x @ np.linspace(0.8, -0.5, q) + 0.5 * rng.normal(size=5)[members[:, 0]]
        sd = rng.uniform(0.4, 0.9, (n, q))
        U = sd[:, :, None] * (0.3 + 0.7 * np.eye(q)) * sd[:, None, :]
        errors = FeatureErrors(1 + np.arange(q), U)
        if self.gaps:
            errors = errors.not_measured(rng.random((n, q)) < 0.2)
        trials, error = None, rng.uniform(0.2, 0.8, n)
        if likelihood.per == "trials":
            trials = rng.integers(1, 30, n).astype(float)
            y = rng.binomial(trials.astype(int), expit(eta)) / trials
        else:
            y = eta + error * rng.normal(size=n)
        names = ("g", "h")[: len(sizes)]
        groupings = Groupings(names, tuple(np.arange(size) for size in sizes), self.slopes, names)
        problem = Problem.build(
            Rows(np.column_stack([z, x + sd * rng.normal(size=(n, q))]), y, members=members),
            None if likelihood.counted else error,
            noise=SCALED,
            standardize=True,
            coef_prior=Normal(0.2, 0.7),
            intercept_prior=Normal(0.2, 1.5) if self.intercept else None,
            noise_prior=HalfNormal(),
            likelihood=likelihood,
            trials=trials,
            feature_errors=errors,
        ).grouped(groupings, self.prior)
        return replace(problem, noise=KNOWN) if likelihood.counted else problem  # there is no other noise


class AsWritten:
    """The model in NumPy: at one draw, its parameters and the log density of these and the data."""

    def __init__(self, problem: Problem, posterior: Posterior):
        true, effects = posterior.true_features, posterior.effects
        self.problem, self.B, self.s = problem, posterior.location[0], posterior.noise_scale[0]
        self.auxiliary = {name: float(value[0]) for name, value in posterior.auxiliary.items()}
        lines = true.lines[0][:-1]  # type: ignore[union-attr]
        self.mu, self.Gamma, self.T = lines[:, 0], lines[:, 1], true.variance[0]  # type: ignore[union-attr]
        self.effects = [part[0] for part in effects.values]  # type: ignore[union-attr]
        self.scales = effects.deviations[0]  # type: ignore[union-attr]
        self.levels = [part[0] for part in effects.levels.values]  # type: ignore[union-attr]
        self.level_scales = effects.levels.deviations[0]  # type: ignore[union-attr]

    @property
    def natural(self) -> Array:
        sd = np.sqrt(np.diagonal(self.T))
        correlation = [self.T[0, 1] / sd.prod()] if len(sd) > 1 else []
        free = self.B[int(not self.problem.fit_intercept) :]
        noise = [self.s] if self.problem.has_noise_scale else []
        parts = [
            free,
            self.mu,
            self.Gamma,
            sd,
            correlation,
            noise,
            list(self.auxiliary.values()),
            self.scales,
        ]
        parts += [self.level_scales, *self.effects, *self.levels]
        return np.concatenate([np.ravel(part) for part in parts])

    def log_density(self) -> float:
        problem, scaling, q = self.problem, self.problem.scaling, len(self.mu)
        table = (np.asarray(problem.rows.X) - scaling.x_mean) / scaling.x_scale
        z, w, members, m = table[:, 0], table[:, 1:], problem.rows.members, self.B[2:]
        U = problem.feature_errors.finite / np.outer(scaling.x_scale[1:], scaling.x_scale[1:])  # type: ignore[union-attr]
        gaps = problem.feature_errors.unmeasured  # type: ignore[union-attr]
        data, total = problem.observations(), 0.0
        for i in range(len(z)):
            groups = [(k, members[i, k]) for k in range(len(self.effects))]  # type: ignore[index]
            x = self.mu + self.Gamma * z[i] + sum(self.levels[k][g] for k, g in groups)
            line = self.B[0] + self.B[1] * z[i] + m @ x
            for k, g in groups:
                line += self.effects[k][g] @ np.append(1.0, z[i])[: self.effects[k].shape[1]]
            seen = np.ones(q, dtype=bool) if gaps is None else ~gaps[i]
            S, c = (self.T + U[i])[np.ix_(seen, seen)], (self.T @ m)[seen]
            total += stats.multivariate_normal.logpdf(w[i, seen], x[seen], S) if seen.any() else 0.0
            mean = line + c @ np.linalg.solve(S, (w[i] - x)[seen])
            variance = m @ self.T @ m - c @ np.linalg.solve(S, c)
            total += self._of_target(i, mean, variance, data)
        return total + self._of_parameters(table)

    def _of_target(self, i: int, mean: float, variance: float, data: object) -> float:
        y = float(data.y[i])  # type: ignore[attr-defined]
        if not self.problem.likelihood.counted:
            noise = self.s * float(data.standard_error[i])  # type: ignore[attr-defined]
            if self.problem.likelihood.is_normal:
                return float(stats.norm.logpdf(y, mean, np.hypot(noise, np.sqrt(variance))))
        t = np.linspace(-9.0, 9.0, 1001)
        eta, weight = mean + np.sqrt(variance) * t, stats.norm.logpdf(t) + np.log(t[1] - t[0])
        if self.problem.likelihood.counted:
            count = float(data.trials[i])  # type: ignore[attr-defined]
            return float(logsumexp(weight + stats.binom.logpmf(round(y * count), count, expit(eta))))
        return float(logsumexp(weight + stats.t.logpdf(y, self.auxiliary["nu"], eta, noise)))

    def _of_parameters(self, table: Array) -> float:
        problem = self.problem
        spread, away = table.std(axis=0), table.mean(axis=0)
        total = stats.norm.logpdf(self.B[1:], 0.2, 0.7).sum()
        total += stats.norm.logpdf(self.B[0], 0.2, 1.5) if problem.fit_intercept else 0.0
        # Wide priors of the true features' distribution, in units of the measured ones' spread.
        at_mean = self.mu + self.Gamma * away[0]
        total += stats.norm.logpdf(at_mean, away[1:], 10.0 * spread[1:]).sum()
        total += stats.norm.logpdf(self.Gamma, 0.0, 10.0 * spread[1:] / spread[0]).sum()
        total += stats.t.logpdf(
            np.sqrt(np.diagonal(self.T)) / spread[1:], 4.0
        ).sum()  # evenly of correlations
        if problem.has_noise_scale:
            total += stats.norm.logpdf(self.s)
        for name, value in self.auxiliary.items():
            parameter = next(one for one in problem.auxiliary if one.name == name)
            total += parameter.prior.log_density(np.array([value - parameter.coordinate.lower]))[0]
        prior, unit = problem.group_prior
        total += prior.log_density(self.scales / unit).sum()
        total += prior.log_density((self.level_scales / spread[1:]).ravel()).sum()
        first = 0
        for own, levels, of_levels in zip(self.effects, self.levels, self.level_scales, strict=True):
            scale = self.scales[first : first + own.shape[1]]
            total += (
                stats.norm.logpdf(own, 0.0, scale).sum() + stats.norm.logpdf(levels, 0.0, of_levels).sum()
            )
            first += own.shape[1]
        return float(total)


CASES = {
    "one feature": Case("normal"),
    "two features, gaps, slopes, crossed": Case("normal", q=2, slopes=((0,), ()), gaps=True),
    "no intercept, vanishing prior": Case("normal", intercept=False, prior=InverseGamma(2.0, 1.0)),
    "t noise": Case("t", slopes=((0,),)),
    "shares": Case("binomial", q=2, gaps=True),
}


@pytest.mark.parametrize("name", CASES)
def test_density_is_that_of_the_model_as_it_is_written(name: str) -> None:
    case = CASES[name]
    problem = case.problem
    data = mixture_data(problem, 0)
    model = sampler_model(problem, data.arrays)
    names = [variable.name for variable in model.deterministics]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        density, parameters = (
            model.compile_fn(
                model.replace_rvs_by_values(outputs), inputs=model.value_vars, mode="FAST_COMPILE"
            )
            for outputs in ([model.logp(jacobian=False)], model.deterministics)
        )

    def written(u: Array) -> AsWritten:
        found = dict(zip(names, parameters({"u": u}), strict=True))
        drawn = {key: np.asarray(value)[None, None] for key, value in found.items()} | {"u": u[None, None]}
        return AsWritten(problem, data.posterior(problem, 0, Draws(drawn, {})))

    rng, differences, size = np.random.default_rng(1), [], int(model["u"].type.shape[0])
    for _ in range(3):
        u = 0.7 * rng.normal(size=size)
        slopes = np.array(
            [(written(u + h).natural - written(u - h).natural) / 2e-5 for h in 1e-5 * np.eye(size)]
        )
        assert slopes.shape == (size, size)  # every parameter, and no other, has a coordinate
        volume = np.linalg.slogdet(slopes)[1]
        differences.append(float(density({"u": u})[0]) - written(u).log_density() - volume)
    # Integrals over a line are by a rule of few nodes; where cells lack, means have a prior about likely ones.
    exact = case.likelihood == "normal" and not case.gaps
    assert_allclose(differences, differences[0], rtol=0.0, atol=1e-6 if exact else 5e-3)
