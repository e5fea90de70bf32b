"""Errors in X under other likelihoods against NUTS on the model with true features, in plain PyMC."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bayes_sklearn import BayesianErrorsInVariablesRegressor, HalfNormal, Normal

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """A table: one feature with errors that differ by row, beside exact ones."""

    likelihood: str
    n: int
    k: int
    reliability: float
    trials: int = 1
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.likelihood}-{self.trials}-{self.reliability}"

    def table(self) -> dict[str, Array | None]:
        rng = np.random.default_rng(self.seed)
        z = rng.standard_normal((self.n, self.k))
        x = rng.standard_normal(self.n) + (0.5 * z[:, 0] if self.k else 0.0)
        error = np.sqrt((1.0 / self.reliability - 1.0) * x.var()) * rng.uniform(0.7, 1.3, self.n)
        eta = -0.5 + x + z @ np.array([-0.5, 0.3])[: self.k]
        X = np.column_stack([x + error * rng.standard_normal(self.n), z])
        X_err = np.zeros_like(X)
        X_err[:, 0] = error
        if self.likelihood == "student_t":
            y_err = 0.3 * rng.uniform(0.5, 1.5, self.n)
            y = eta + y_err * rng.standard_normal(self.n) + 0.5 * rng.standard_t(4, self.n)
            return {"X": X, "y": y, "X_err": X_err, "y_err": y_err, "trials": None}
        trials = np.full(self.n, self.trials) if self.trials == 1 else rng.poisson(self.trials, self.n) + 1
        if self.likelihood in ("poisson", "negative_binomial"):
            hours = rng.uniform(0.1, float(self.trials), self.n)
            varied = 1.0 if self.likelihood == "poisson" else rng.gamma(2.0, 0.5, self.n)
            return {
                "X": X,
                "y": rng.poisson(hours * np.exp(eta) * varied),
                "X_err": X_err,
                "y_err": None,
                "trials": None,
                "exposure": hours,
            }
        share = 1.0 / (1.0 + np.exp(-eta))
        if self.likelihood == "beta_binomial":
            share = rng.beta(9.0 * share, 9.0 * (1.0 - share))
        return {
            "X": X,
            "y": rng.binomial(trials, share) / trials,
            "X_err": X_err,
            "y_err": None,
            "trials": trials,
        }


DESIGNS = [
    Design("binomial", 200, 1, 0.5, 1, 100),
    Design("beta_binomial", 150, 0, 0.4, 30, 300),
    Design("student_t", 200, 1, 0.8, 1, 400),
    Design("poisson", 150, 1, 0.6, 1, 500),
    Design("negative_binomial", 150, 0, 0.6, 20, 600),
]


def sampled(table: dict[str, Any], likelihood: str) -> dict[str, Array]:
    """Return chains of the coefficients and the likelihood's parameters, every true feature being sampled."""
    import pymc as pm
    import pytensor.tensor as pt

    X, y, trials = table["X"], table["y"], table["trials"]
    mean, sd = X.mean(axis=0), X.std(axis=0)
    w, z, u = (X[:, 0] - mean[0]) / sd[0], (X[:, 1:] - mean[1:]) / sd[1:], table["X_err"][:, 0] / sd[0]
    center, unit = (y.mean(), y.std()) if likelihood == "student_t" else (0.0, 1.0)
    hours = table.get("exposure")
    if hours is not None:
        center = np.log((y.sum() + 0.5) / hours.sum())
    with pm.Model():
        t = pm.HalfStudentT("t", nu=4, sigma=1)
        expected = pm.Normal("mu", 0, 10)
        if z.shape[1]:
            expected = expected + pt.dot(z, pm.Normal("Gamma", 0, 10, shape=z.shape[1]))
        x = expected + t * pm.Normal("xi", 0, 1, shape=len(w))
        pm.Normal("w", x, u, observed=w)
        slopes, intercept = pm.Normal("slopes", 0, 1, shape=X.shape[1]), pm.Normal("at_mean", 0, 5)
        eta = intercept + slopes[0] * x + (pt.dot(z, slopes[1:]) if z.shape[1] else 0.0)
        if likelihood == "student_t":
            scatter = pm.HalfNormal("scatter", 1)
            pm.Deterministic("noise_scale", unit * scatter)
            nu = pm.Deterministic("nu", 2.0 + pm.Gamma("above", 2, 0.1))
            sigma = pt.sqrt(scatter**2 + (table["y_err"] / unit) ** 2)
            pm.StudentT("y", nu=nu, mu=eta, sigma=sigma, observed=(y - center) / unit)
        elif hours is not None:
            mu = hours * pt.exp(center + eta)
            if likelihood == "poisson":
                pm.Poisson("y", mu=mu, observed=y)
            else:
                phi = pm.HalfStudentT("dispersion", nu=3, sigma=0.5)
                pm.NegativeBinomial("y", mu=mu, alpha=1.0 / phi, observed=y)
        else:
            k, p = np.rint(y * trials).astype(int), pm.math.sigmoid(eta)
            if likelihood == "binomial":
                pm.Binomial("y", n=trials, p=p, observed=k)
            else:
                rho = pm.Beta("dispersion", 1, 9)
                both = (1.0 - rho) / rho
                pm.BetaBinomial("y", n=trials, alpha=p * both, beta=(1.0 - p) * both, observed=k)
        coef = pm.Deterministic("coef", slopes * unit / sd)
        pm.Deterministic("intercept", center + intercept * unit - pt.dot(coef, mean))
        found = pm.sample(
            2000, tune=1000, chains=4, cores=1, random_seed=1, target_accept=0.9, progressbar=False
        ).posterior
    names = ["coef", "intercept", "noise_scale", "nu", "dispersion"]
    return {name: found[name].to_numpy() for name in names if name in found}


def effective(chains: Array) -> float:
    """Return the effective size of (chains, draws), by the spread of the means of batches."""
    batches = chains.reshape(len(chains), 20, -1).mean(axis=2).ravel()
    return float(chains.var() / batches.var() * len(batches))


@pytest.mark.thorough
@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_moments_are_those_of_the_model_with_true_features(design: Design) -> None:
    table = design.table()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chains = sampled(table, design.likelihood)
    model = BayesianErrorsInVariablesRegressor(
        likelihood=design.likelihood,
        noise="additive" if design.likelihood == "student_t" else "auto",
        coef_prior=Normal(),
        intercept_prior=Normal(0.0, 5.0),
        noise_prior=HalfNormal(),
        random_state=0,
    )
    given = {name: table[name] for name in ("y_err", "X_err", "exposure") if name in table}
    model.fit(table["X"], table["y"], table["trials"], **given)
    assert model.inference_ == "importance"
    posterior = model._fitted.posterior
    B, weights = posterior.location, posterior.weights
    ours = {f"coef{j}": B[:, 1 + j] for j in range(B.shape[1] - 1)} | dict(posterior.auxiliary)
    ours["intercept"] = B[:, 0] - B[:, 1:] @ posterior.center
    theirs = {f"coef{j}": chains["coef"][..., j] for j in range(B.shape[1] - 1)}
    theirs |= {name: chains[name] for name in chains if name != "coef"}
    if "noise_scale" in theirs:
        ours["noise_scale"] = posterior.noise_scale
    assert set(ours) == set(theirs)
    size = 1.0 / np.square(weights).sum()
    for name, values in ours.items():
        mean, sd = theirs[name].mean(), theirs[name].std()
        own = float(weights @ values)
        own_sd = float(np.sqrt(weights @ np.square(values - own)))
        # Two Monte Carlo errors of the mean; of a standard deviation of about normal draws they are less by a root of
        # two. At four of them one run of a thousand with twelve figures fails by chance.
        error = np.sqrt(1.0 / size + 1.0 / min(effective(theirs[name]), theirs[name].size))
        assert abs(own - mean) < (0.05 + 4.0 * error) * sd, name
        assert abs(own_sd / sd - 1.0) < 0.05 + 4.0 * error, name
