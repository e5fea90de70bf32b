"""Hamiltonian Monte Carlo of a mixture's scales: against dense algebra, integration and plain models."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import optimize, stats
from sklearn.exceptions import ConvergenceWarning

from bayes_sklearn import Flat, Horseshoe, Laplace, Normal, StudentT, distributed
from bayes_sklearn.inference import ENGINES, choose, solve_in_turn
from bayes_sklearn.inference.exact import engine as exact
from bayes_sklearn.inference.hmc import engine
from bayes_sklearn.inference.hmc.scales import ScalesDensity
from bayes_sklearn.inference.problem import Problem
from bayes_sklearn.inference.settings import NotTrusted, SamplerSettings
from bayes_sklearn.likelihoods.noise import NOISES
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.priors import CoefficientPrior, HalfNormal, InverseGamma, Prior, ScalePrior

from data import measured
from plain import Regressor
from reference_model import monte_carlo_error

Array = NDArray[np.float64]

# Of single figures; of some 20 in a test one in 30,000 seeds is beyond.
Z_BOUND = 5.0

NU, SLAB, N_NONZERO = 5.0, 1.4, 0.6
PRIOR = Horseshoe(n_nonzero=N_NONZERO, slab_sigma=SLAB, slab_nu=NU)


def table(n: int, p: int, seed: int = 0, matter: int = 1) -> tuple[Array, Array, Array]:
    """Features, target and errors; few coefficients matter."""
    rng = np.random.default_rng(seed)
    X, error = rng.normal(size=(n, p)), rng.uniform(0.3, 0.9, n)
    coef = np.zeros(p)
    coef[:matter] = np.array([1.0, -0.8, 0.6, 0.4, 1.2, -0.5, 0.7, -0.9, 0.3, 1.1])[:matter]
    return X, X @ coef + error * rng.normal(size=n), error


def problem_of(
    X: Array,
    y: Array,
    error: Array | None,
    noise: str = "scaled",
    *,
    coef_prior: CoefficientPrior = PRIOR,
    intercept_prior: CoefficientPrior | None = None,
    noise_prior: ScalePrior | None = None,
    frequency: Array | None = None,
    standardize: bool = False,
) -> Problem:
    return Problem.build(
        Rows(X, y, frequency=frequency),
        error,
        noise=NOISES[noise],
        standardize=standardize,
        coef_prior=coef_prior,
        intercept_prior=intercept_prior,
        noise_prior=noise_prior or HalfNormal(sigma=0.8),
    )


def density_of(problem: Problem) -> ScalesDensity:
    return ScalesDensity.of(problem, exact.solve(problem.gaussian_like(), SamplerSettings(roughly=True)))


FREQUENCY = np.arange(30.0) % 3.0

PROBLEMS: dict[str, tuple[dict[str, Any], int, int]] = {
    "scaled": ({}, 30, 4),
    "no errors, an intercept": ({"intercept_prior": StudentT(3.0, 0.1, 0.5), "error": None}, 30, 4),
    "known, a flat intercept": ({"intercept_prior": Flat(), "noise": "known"}, 12, 3),
    "frequencies": ({"frequency": FREQUENCY, "intercept_prior": Laplace(0.1, 0.3)}, 30, 2),
    "more features than rows": ({"noise_prior": InverseGamma(3.0, 1.0), "intercept_prior": Normal()}, 5, 8),
}


def built(name: str) -> tuple[Problem, Array, Array, Array]:
    """A problem, and its rows as they are meant, those that count."""
    settings, n, p = PROBLEMS[name]
    X, y, error = table(n, p)
    settings = dict(settings)
    errors = settings.pop("error", error)
    problem = problem_of(X, y, errors, settings.pop("noise", "scaled"), **settings)
    times = np.repeat(
        np.arange(n), 1 if problem.rows.frequency is None else problem.rows.frequency.astype(int)
    )
    return problem, X[times], y[times], (np.ones(n) if errors is None else error)[times]


def scipy_density(prior: Prior) -> Any:
    match prior:
        case StudentT():
            return stats.t(prior.nu, prior.mu, prior.sigma)
        case Laplace():
            return stats.laplace(prior.mu, prior.b)
        case Normal():
            return stats.norm(prior.mu, prior.sigma)
        case HalfNormal():
            return stats.halfnorm(scale=prior.sigma)
        case InverseGamma():
            return stats.invgamma(prior.alpha, scale=prior.beta)
        case _:
            return stats.uniform(-1e3, 2e3)


@pytest.mark.parametrize("name", PROBLEMS)
def test_log_density_is_that_of_all_rows_by_dense_algebra(name: str) -> None:
    """Differences between points, (86): every row's covariance written out, priors of SciPy."""
    problem, X, y, error = built(name)
    density = density_of(problem)
    points = np.random.default_rng(1).uniform(-2.0, 2.0, (6, density.size))
    found, _ = density.log_density_and_slope(points)
    N, p = X.shape
    tau_unit = N_NONZERO / (p - N_NONZERO) * (N / (1.0 / error**2).sum()) ** 0.5 / N**0.5
    wanted = np.zeros(len(points))
    for i, point in enumerate(points):
        log_lam, log_tau, log_slab = point[-p - 2 : -2], point[-2], point[-1]
        s = float(np.exp(density.log_scales(point[None])[0]))
        b = float(density.intercepts(point[None])[0])
        tau, c2 = np.exp(log_tau) * tau_unit * s, np.exp(log_slab) * SLAB**2
        variances = 1.0 / (1.0 / (tau * np.exp(log_lam)) ** 2 + 1.0 / c2)
        covariance = np.diag((s * error) ** 2) + (X * variances) @ X.T
        wanted[i] = stats.multivariate_normal(np.full(N, b), covariance).logpdf(y)
        wanted[i] += stats.halfcauchy.logpdf(np.exp(point[-p - 2 : -1])).sum() + point[-p - 2 :].sum()
        wanted[i] += stats.invgamma(0.5 * NU, scale=0.5 * NU).logpdf(np.exp(log_slab))
        if problem.noise.has_scale:
            wanted[i] += scipy_density(problem.noise_prior).logpdf(s) + np.log(s)
        if problem.intercept_prior is not None:
            wanted[i] += scipy_density(problem.intercept_prior).logpdf(b)
    # The triangle is rounded to a millionth of the noise.
    assert_allclose(found - found[0], wanted - wanted[0], rtol=0.0, atol=3e-4)


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradient_is_that_of_differences(name: str) -> None:
    """(87), also where a point is far away."""
    density = density_of(built(name)[0])
    points = np.random.default_rng(2).uniform(-2.0, 2.0, (3, density.size))
    points[2, -3:] = [6.0, -9.0, 4.0]
    _, slope = density.log_density_and_slope(points)
    for point, found in zip(points, slope, strict=True):
        wanted = optimize.approx_fprime(point, lambda x: density.log_density_and_slope(x[None])[0][0], 1e-6)
        assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)
    assert_array_equal(density.slope(points), slope)


def test_points_too_far_away_are_refused_and_not_raised() -> None:
    density = density_of(built("scaled")[0])
    with np.errstate(all="ignore"):
        found, _ = density.log_density_and_slope(np.full((2, density.size), [[-200.0], [190.0]]))
    assert not np.isnan(found).any()


# --- against integration -------------------------------------------------------------------------


def scores(drawn: Array, wanted: dict[Any, float]) -> dict[Any, float]:
    """z scores of functions of draws, (chain, draw, ...), beside their integrals."""
    found = {}
    for function, integral in wanted.items():
        values = np.asarray(function(drawn), dtype=np.float64)
        found[function] = (values.mean() - integral) / monte_carlo_error(values)
    return found


@pytest.mark.parametrize("n_errors", ["unequal", "none"])
def test_posterior_of_one_coefficient_is_the_integral(n_errors: str) -> None:
    """Over the product of both Cauchy scales, whose log has the density 2 a / (pi^2 sinh a), slab and noise scale."""
    X, y, error = table(8, 1, seed=3)
    e = error if n_errors == "unequal" else np.ones(8)
    problem = problem_of(X, y, error if n_errors == "unequal" else None)
    settings = SamplerSettings(draws=4000, seed=2)
    posterior = engine.solve(problem, settings)
    assert posterior.chains is not None
    m = posterior.chains.split(posterior.location[:, 1])
    s = posterior.chains.split(posterior.noise_scale)

    a, k, log_s = np.arange(-20.0, 20.01, 0.4) + 1e-9, np.arange(-4.0, 12.0, 0.5), np.arange(-3.5, 2.0, 0.05)
    A, K, L = np.meshgrid(a, k, log_s, indexing="ij")
    scale, slab = np.exp(L), np.exp(K)
    tau_unit = N_NONZERO / (1.0 - N_NONZERO) * (8.0 / (1.0 / e**2).sum()) ** 0.5 / 8.0**0.5
    variance = 1.0 / (np.exp(-2.0 * A) / (tau_unit * scale) ** 2 + 1.0 / (SLAB**2 * slab))
    xx, xy, yy = (X[:, 0] ** 2 / e**2).sum(), (X[:, 0] * y / e**2).sum(), (y**2 / e**2).sum()
    precision = xx / scale**2 + 1.0 / variance
    mean = xy / scale**2 / precision
    log_density = (
        -8.0 * L - 0.5 * yy / scale**2 + 0.5 * mean**2 * precision - 0.5 * np.log(precision * variance)
    )
    log_density += np.log(2.0 * A / np.sinh(A)) + stats.invgamma(0.5 * NU, scale=0.5 * NU).logpdf(slab) + K
    log_density += stats.halfnorm.logpdf(scale, scale=0.8) + L
    weight = np.exp(log_density - log_density.max())
    edges = max(weight[:, :, [0, -1]].max(), weight[:, [0, -1]].max(), weight[[0, -1]].max())
    assert edges < 1e-4
    weight /= weight.sum()

    def below(limit: float) -> float:
        return float((weight * stats.norm.cdf((limit - mean) * np.sqrt(precision))).sum())

    z = scores(
        np.stack([m, s]),
        {
            lambda d: d[0]: float((weight * mean).sum()),
            lambda d: d[0] ** 2: float((weight * (mean**2 + 1.0 / precision)).sum()),
            lambda d: d[1]: float((weight * scale).sum()),
            lambda d: d[1] ** 2: float((weight * scale**2).sum()),
            lambda d: np.log(d[1]) * d[0]: float((weight * L * mean).sum()),
            **{
                lambda d, limit=limit: d[0] < limit: level
                for level in (0.1, 0.5, 0.9)
                for limit in [optimize.brentq(lambda x, level=level: below(x) - level, -3.0, 5.0, xtol=1e-4)]
            },
        },
    )
    assert np.abs(list(z.values())).max() < Z_BOUND, str(np.round(list(z.values()), 1))


def test_posterior_of_two_coefficients_is_the_integral() -> None:
    """Of collinear columns and known errors, over all four scales."""
    X, y, error = table(10, 2, seed=5)
    X[:, 1] = 0.9 * X[:, 0] + 0.3 * X[:, 1]
    posterior = engine.solve(problem_of(X, y, error, "known"), SamplerSettings(draws=4000, seed=3))
    assert posterior.chains is not None
    m, tau = posterior.chains.split(posterior.location[:, 1:]), posterior.chains.scales["global_scale"]

    step = 0.5
    a, k = np.arange(-17.0, 17.01, step), np.arange(-3.0, 9.0, step)
    x1, x2, t = np.meshgrid(a, a, a, indexing="ij")
    tau_unit = N_NONZERO / (2.0 - N_NONZERO) * (10.0 / (1.0 / error**2).sum()) ** 0.5 / 10.0**0.5
    W = X / error[:, None]
    (A, B), (_, D) = W.T @ W
    c, d = W.T @ (y / error)
    log_prior = -np.log(np.cosh(x1) * np.cosh(x2) * np.cosh(t))
    sums = np.zeros(7)
    for log_slab in k:
        v1, v2 = (
            np.exp(-2.0 * (x + t)) / tau_unit**2 + np.exp(-log_slab) / SLAB**2 for x in (x1, x2)
        )  # precisions
        p1, p2 = A + v1, D + v2
        det = p1 * p2 - B**2
        m1, m2 = (p2 * c - B * d) / det, (p1 * d - B * c) / det
        log_density = log_prior + 0.5 * (c * m1 + d * m2) - 0.5 * np.log(det) + 0.5 * np.log(v1 * v2)
        log_density += stats.invgamma(0.5 * NU, scale=0.5 * NU).logpdf(np.exp(log_slab)) + log_slab
        w = np.exp(log_density - 30.0)
        of_tau = np.tanh(t)  # some bounded function of it
        sums += [
            float((w * values).sum())
            for values in (1.0, m1, m2, m1**2 + p2 / det, m2**2 + p1 / det, m1 * m2 - B / det, of_tau)
        ]
    wanted = sums[1:] / sums[0]
    z = scores(
        np.concatenate([np.moveaxis(m, -1, 0), tau[None] / tau_unit]),
        {
            lambda d: d[0]: wanted[0],
            lambda d: d[1]: wanted[1],
            lambda d: d[0] ** 2: wanted[2],
            lambda d: d[1] ** 2: wanted[3],
            lambda d: d[0] * d[1]: wanted[4],
            lambda d: np.tanh(np.log(d[2])): wanted[5],
        },
    )
    assert np.abs(list(z.values())).max() < Z_BOUND, str(np.round(list(z.values()), 1))


def test_what_rows_tell_nothing_of_has_its_prior() -> None:
    """Constant features: draws beside independent ones, below 6 thresholds."""
    n, p = 12, 3
    X, y, error = np.full((n, p), 2.0), table(n, 1)[1], np.full(n, 0.7)
    problem = problem_of(X, y, error, "known", intercept_prior=Flat(), standardize=True)
    unit = problem.typical_error / np.sqrt(n)
    posterior = engine.solve(problem, SamplerSettings(draws=4000, seed=4))
    assert posterior.chains is not None
    size = 400_000
    parameters = PRIOR.check("coef_prior", p)
    defined = PRIOR.drawn_given(parameters, (size, p), np.full(size, unit), np.random.default_rng(1))[:, 0]
    drawn = posterior.chains.split(np.abs(posterior.location[:, 1]))
    z = scores(
        drawn,
        {
            lambda d, limit=limit: d < limit: level
            for level in (0.05, 0.25, 0.5, 0.75, 0.9, 0.99)
            for limit in [float(np.quantile(np.abs(defined), level))]
        },
    )
    assert np.abs(list(z.values())).max() < Z_BOUND, str(np.round(list(z.values()), 1))


# --- against NUTS on the plain model -------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(("n", "p", "matter"), [(40, 5, 1), (60, 10, 10), (8, 10, 2)])
def test_draws_are_those_of_nuts_on_the_plain_model(n: int, p: int, matter: int) -> None:
    """Sparse and dense truths, and more features than rows: means and squares of all, z < 5."""
    import nutpie
    import pymc as pm

    X, y, _ = table(n, p, seed=1, matter=matter)
    noise = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pm.Model() as model:
            s, b = pm.InverseGamma("s", 3.0, 1.0), pm.Normal("b", 0.0, 1.0)
            lam, c2 = pm.HalfCauchy("lam", 1.0, shape=p), pm.InverseGamma("c2", NU / 2.0, NU / 2.0 * SLAB**2)
            tau = pm.HalfCauchy("tau", 1.0) * (N_NONZERO / (p - N_NONZERO) * s / n**0.5)
            z = pm.Normal("z", 0.0, 1.0, shape=p)
            m = pm.Deterministic("m", z * tau * lam * pm.math.sqrt(c2 / (c2 + tau**2 * lam**2)))
            pm.Deterministic("log_tau", pm.math.log(tau))
            pm.Normal("y", X @ m + b, s, observed=y + noise)
        compiled = nutpie.compile_pymc_model(model)
        trace = nutpie.sample(
            compiled, draws=3000, tune=2000, chains=4, cores=2, seed=1, target_accept=0.98, progress_bar=False
        )
    problem = problem_of(X, y + noise, None, noise_prior=InverseGamma(3.0, 1.0), intercept_prior=Normal())
    posterior = engine.solve(problem, SamplerSettings(draws=3000, seed=2))
    assert posterior.chains is not None
    theirs = [np.asarray(trace.posterior[name])[..., None] for name in ("b", "s", "log_tau")]
    theirs = np.concatenate([*theirs, np.asarray(trace.posterior["m"])], axis=2)
    location = posterior.chains.split(posterior.location)
    log_tau = np.log(posterior.chains.scales["global_scale"])
    ours = np.stack([location[:, :, 0], posterior.chains.split(posterior.noise_scale), log_tau], axis=2)
    ours = np.concatenate([ours, location[:, :, 1:]], axis=2)
    middle = theirs.mean(axis=(0, 1))
    for power in (1, 2):
        a, b = (ours - middle) ** power, (theirs - middle) ** power
        errors = [
            np.hypot(monte_carlo_error(a[..., j]), monte_carlo_error(b[..., j])) for j in range(a.shape[2])
        ]
        z = (a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) / errors
        assert np.abs(z).max() < Z_BOUND, f"power {power}: {np.round(z, 1)}"


# --- fits ----------------------------------------------------------------------------------------

DATA = measured(60, 4)
FITTED = Regressor(coef_prior=Horseshoe(), random_state=0).fit(DATA.X, DATA.y, y_err=DATA.y_err)


def test_auto_takes_it_and_draws_are_worth_a_thousand() -> None:
    assert FITTED.inference_ == "hmc"
    summary = FITTED.summary()
    assert (summary["ess_bulk"] > 1000.0).all()
    assert (summary["r_hat"] < 1.01).all()
    assert summary.attrs["divergences"] <= 4


@pytest.mark.filterwarnings("ignore:Leave-one-out is not to be trusted")  # of one row
def test_draws_are_exported_and_predicted_from_as_those_of_nuts() -> None:
    exported = FITTED.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err)
    posterior = exported["posterior"]
    assert dict(posterior.sizes) == {"chain": 4, "draw": 1000, "feature": 4}
    described = FITTED.to_pymc(DATA.X, DATA.y, y_err=DATA.y_err)
    assert set(posterior.data_vars) <= set(described.named_vars)
    assert posterior["coef_standardized_local_scale"].dims == ("chain", "draw", "feature")
    assert {"diverging", "energy", "lp"} <= set(exported["sample_stats"].data_vars)
    assert_allclose(np.asarray(posterior["coef"]).mean(axis=(0, 1)), FITTED.coef_, rtol=1e-9)
    loo = FITTED.loo(DATA.X, DATA.y, y_err=DATA.y_err)
    assert np.isfinite(loo.elpd if hasattr(loo, "elpd") else loo.elpd_loo)
    again = pickle.loads(pickle.dumps(FITTED))
    assert_array_equal(again.predict(DATA.X), FITTED.predict(DATA.X))


@pytest.mark.parametrize(("draws", "chains"), [(30, 2), (500, 1), (50, 20), (1100, 3)])
def test_as_many_draws_are_kept_as_are_asked_for(draws: int, chains: int) -> None:
    """Of few, no fewer are drawn: a short chain's are as good as a long one's."""
    model = Regressor(coef_prior=Horseshoe(), random_state=0, draws=draws, chains=chains, noise="known")
    model.fit(DATA.X, DATA.y, y_err=DATA.y_err)
    kept = model._fitted.posterior.chains
    assert kept is not None
    assert kept.count == chains
    assert {values.shape[:2] for values in [*kept.scales.values(), *kept.statistics.values()]} == {
        (chains, draws)
    }
    assert model._fitted.posterior.location.shape == (draws * chains, 5)


def test_rows_in_any_order_or_blocks_give_the_same_draws() -> None:
    X, y, y_err = DATA
    order = np.random.default_rng(0).permutation(len(y))
    fit = {"coef_prior": Horseshoe(), "random_state": 0}
    permuted = Regressor(**fit).fit(X[order], y[order], y_err=y_err[order])
    streamed = Regressor(**fit)
    for rows in (slice(0, 25), slice(25, 60)):
        streamed.partial_fit(X[rows], y[rows], y_err=y_err[rows])
    batches = [{"X": X[i::3], "y": y[i::3], "y_err": y_err[i::3]} for i in range(3)]
    spread = distributed.fit(Regressor(**fit), lambda: iter(batches))
    for model in (permuted, streamed, spread):
        assert model.inference_ == "hmc"
        assert_allclose(model.coef_, FITTED.coef_, rtol=1e-8)
        assert_allclose(model.coef_std_, FITTED.coef_std_, rtol=1e-8)
        assert_allclose(model.noise_scale_, FITTED.noise_scale_, rtol=1e-8)


def test_columns_that_are_the_same_share_what_they_explain() -> None:
    X = np.column_stack([DATA.X, DATA.X[:, 1]])
    model = Regressor(coef_prior=Horseshoe(), random_state=0).fit(X, DATA.y, y_err=DATA.y_err)
    posterior = model._fitted.posterior
    assert model.inference_ == "hmc"
    assert posterior.chains is not None
    difference = posterior.chains.split(posterior.location[:, 2] - posterior.location[:, 5])
    assert abs(difference.mean()) < Z_BOUND * monte_carlo_error(difference)
    assert_allclose(model.coef_[1] + model.coef_[4], FITTED.coef_[1], atol=0.3 * FITTED.coef_std_[1])


def test_units_of_features_and_target_do_not_matter() -> None:
    unit = np.array([1.0, 1e-6, 1e6, 3.0])
    X, y = DATA.X * unit, 1e5 * DATA.y
    model = Regressor(coef_prior=Horseshoe(), random_state=0).fit(X, y, y_err=1e5 * DATA.y_err)
    assert_allclose(model.coef_ * unit / 1e5, FITTED.coef_, rtol=1e-6, atol=1e-9)


# --- gates ---------------------------------------------------------------------------------------


def test_draws_that_fail_are_left_to_nuts(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(*table(20, 3))
    monkeypatch.setattr(engine, "_DRAWS", 64)
    with pytest.raises(
        NotTrusted, match=r"Hamiltonian Monte Carlo are not to be trusted: .*effective sample size"
    ):
        engine.solve(problem, SamplerSettings(draws=16))

    class Other:
        NAME = "nuts"

        def why_not(self, problem: Problem) -> None:
            return None

        def solve(self, problem: Problem, settings: SamplerSettings) -> Any:
            return exact.solve(problem.gaussian_like(), settings)

    monkeypatch.setitem(ENGINES, "nuts", Other())
    with pytest.warns(UserWarning, match="goes on with 'nuts'"):
        assert solve_in_turn(problem, "auto", SamplerSettings(draws=16)).engine == "nuts"


def test_walkers_that_start_apart_and_stay_there_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(*table(20, 3))
    monkeypatch.setattr(engine.Walkers, "tune", lambda self, moves, accepted: setattr(self, "step", 1e-4))
    with pytest.raises(NotTrusted, match=r"R-hat is \d"):
        engine.solve(problem, SamplerSettings())


@pytest.mark.parametrize("y", [np.ones(20), table(20, 3)[0] @ [1.0, 0.0, 2.0]], ids=["constant", "no noise"])
def test_targets_without_noise_are_doubted(y: Array) -> None:
    X = table(20, 3)[0]
    model = Regressor(coef_prior=Horseshoe(), inference="hmc", random_state=0)
    with pytest.warns(ConvergenceWarning) as told:
        model.fit(X, y)
    assert any("fit the target without error" in str(one.message) for one in told)
    assert np.isfinite(model.coef_).all()


def test_engine_says_what_it_does_not_take() -> None:
    X, y, error = table(20, 3)
    problem = problem_of(X, y, error)
    assert engine.why_not(problem) is None
    assert choose(problem, "auto") == "hmc"
    for other, reason in [
        (replace(problem, coef_prior=Normal()), "priors with scales for each coefficient"),
        (problem_of(X, y, error, "additive"), "no scatter beside known errors, as noise='additive' has"),
        (problem_of(X, y, error, "auto"), "as noise='auto' has"),
        (problem_of(np.tile(X, 20), y, error), "it takes 50 features, not 60"),
    ]:
        assert reason in str(engine.why_not(other))
        with pytest.raises(ValueError, match="hmc engine can't take this"):
            engine.solve(other, SamplerSettings())
    with pytest.raises(
        ValueError, match="the hmc engine can't take this model: it takes the normal likelihood"
    ):
        Regressor(coef_prior=Horseshoe(), inference="hmc", likelihood="student_t").fit(X, y)
    with pytest.raises(ValueError, match="it takes exact features"):
        Regressor(coef_prior=Horseshoe(), inference="hmc").fit(X, y, X_err=0.1)
    with pytest.raises(ValueError, match="no effects of groups"):
        Regressor(coef_prior=Horseshoe(), inference="hmc", group_column=0).fit(X.round(), y)
    with pytest.raises(ValueError, match="independent from row to row"):
        Regressor(coef_prior=Horseshoe(), inference="hmc").fit(X, y, y_cov=np.eye(20))


def test_walkers_go_on_where_draws_are_worth_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, with smaller steps and twice as many draws, of which as many are kept as were asked for."""
    tuned: list[tuple[int, float]] = []
    tune = engine.Walkers.tune

    def counted(self: engine.Walkers, n_moves: int, accepted: float) -> None:
        tuned.append((n_moves, accepted))
        tune(self, n_moves, accepted)

    monkeypatch.setattr(engine.Walkers, "tune", counted)
    monkeypatch.setattr(engine, "_WANTED", 1e9)
    posterior = engine.solve(problem_of(*table(20, 3)), SamplerSettings())
    assert tuned == [(150, 0.8), (300, 0.95)]
    assert posterior.chains is not None
    assert len(posterior.weights) == 4000
    assert np.median(posterior.chains.statistics["acceptance_rate"].mean(axis=1)) > 0.9
