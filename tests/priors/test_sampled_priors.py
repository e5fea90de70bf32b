"""Priors that only NUTS takes: the posteriors that they give, their parameters, and searches over them.

Means of functions of draws are compared with numerical integration in units of the Monte Carlo standard error, z < 5:
with 30 comparisons a right package fails once in 58,000 sets of draws (Bonferroni's bound).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from bayes_sklearn.inference.nuts import sampler
from bayes_sklearn.inference.nuts.sampler import CompiledModels
from bayes_sklearn.metrics import neg_crps_scorer
from bayes_sklearn.priors import CoefficientPrior, HalfNormal, Horseshoe, Laplace, Normal, StudentT

from data import measured
from plain import Regressor
from reference_model import monte_carlo_error

Array = NDArray[np.float64]

Z_BOUND = 5.0


@pytest.fixture(scope="module", autouse=True)
def compilations() -> Iterator[list[Any]]:
    """The models compiled in this file, beginning with none."""
    import nutpie

    made: list[Any] = []
    compile_model = nutpie.compile_pymc_model

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(args)
        return compile_model(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nutpie, "compile_pymc_model", counted)
        patch.setattr(sampler, "COMPILED", CompiledModels(size=32))
        yield made


# --- the posterior of one coefficient ------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One feature and no intercept: y ~ Normal(m x, e), or Normal(m x, s e) with s ~ HalfNormal(0.8)."""

    prior: CoefficientPrior
    density: Any
    """The same, of SciPy."""
    noise: Literal["known", "scaled"]
    weighted: bool = False

    def data(self) -> dict[str, Any]:
        rng = np.random.default_rng(2)
        x, e = rng.uniform(0.3, 2.0, 7), rng.uniform(0.4, 0.9, 7)
        # Two prior scales away: the tails of the prior matter.
        y = 1.4 * x + e * rng.normal(size=7)
        weight = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 1.5, 1.0]) if self.weighted else None
        return {"X": x[:, None], "y": y, "y_err": e, "sample_weight": weight}

    def fitted(self) -> Regressor:
        model = Regressor(
            coef_prior=self.prior,
            noise_prior=HalfNormal(sigma=0.8),
            noise=self.noise,
            weight_type="frequency",
            standardize=False,
            fit_intercept=False,
            draws=4000,
            random_state=4,
            inference="nuts",
        )
        model.fit(**self.data())
        assert model.inference_ == "nuts"
        return model

    def integrated(self) -> tuple[Array, Array, Array]:
        """Slopes, noise scales and their probabilities on a grid, all of shape (k,)."""
        data = self.data()
        f = np.ones(7) if data["sample_weight"] is None else data["sample_weight"]
        # The prior's location is a point of the grid, for the sake of Laplace's kink.
        m = self.density.median() + np.arange(-4000, 4001) * 1e-3
        log_s = np.linspace(-2.5, 1.8, 216) if self.noise == "scaled" else np.zeros(1)
        s = np.exp(log_s)[:, None]
        log_density = self.density.logpdf(m) + stats.halfnorm.logpdf(s, scale=0.8) + log_s[:, None]
        for x, y, e, weight in zip(data["X"][:, 0], data["y"], data["y_err"], f, strict=True):
            log_density = log_density + weight * stats.norm.logpdf(y, m * x, s * e)
        probability = np.exp(log_density - log_density.max())
        edges = probability[[0, -1]].max() if len(s) > 1 else 0.0
        assert max(edges, probability[:, [0, -1]].max()) < 1e-6
        slopes, scales = np.broadcast_arrays(m, s)
        return slopes.ravel(), scales.ravel(), probability.ravel() / probability.sum()


STUDENT_T: dict[str, float] = {"nu": 3.0, "mu": -0.2, "sigma": 0.4}
CASES = {
    "student-t, scaled": Case(StudentT(**STUDENT_T), stats.t(3.0, -0.2, 0.4), "scaled"),
    "student-t of few degrees, scaled, weighted": Case(
        StudentT(nu=1.2, sigma=0.2), stats.t(1.2, 0.0, 0.2), "scaled", True
    ),
    "laplace, known": Case(Laplace(mu=0.3, b=0.2), stats.laplace(0.3, 0.2), "known"),
    "laplace, known, weighted": Case(Laplace(b=0.1), stats.laplace(0.0, 0.1), "known", True),
}


@pytest.mark.parametrize("name", CASES)
def test_posterior_of_one_coefficient_is_the_integral(name: str) -> None:
    case = CASES[name]
    model = case.fitted()
    chains = model._fitted.posterior.chains
    slope, scale = (
        chains.split(values)
        for values in (model._fitted.posterior.location[:, 1], model._fitted.posterior.noise_scale)
    )
    m, s, probability = case.integrated()

    def compare(function: Callable[[Array, Array], Array]) -> float:
        drawn = function(slope, scale).astype(float)
        return (drawn.mean() - probability @ function(m, s)) / monte_carlo_error(drawn)

    mean = probability @ m
    order = np.argsort(m)
    tenth, median, last = m[order][np.searchsorted(np.cumsum(probability[order]), [0.1, 0.5, 0.95])]
    new = 2.5
    z = [
        compare(lambda m, s: m),
        compare(lambda m, s: (m - mean) ** 2),
        compare(lambda m, s: (m < tenth).astype(float)),
        compare(lambda m, s: (m < median).astype(float)),
        compare(lambda m, s: (m < last).astype(float)),
        compare(lambda m, s: ndtr((3.0 - new * m) / (0.5 * s))),
    ]
    if case.noise == "scaled":
        z += [compare(lambda m, s: s), compare(lambda m, s: s**2), compare(lambda m, s: np.log(s) * m)]
    assert np.abs(z).max() < Z_BOUND, f"z scores {np.round(z, 1)}"
    assert_allclose(model.coef_[0], slope.mean(), rtol=1e-12)
    below = model.predict_distribution([[new]], y_err=0.5).cdf(3.0)
    assert_allclose(below, ndtr((3.0 - new * slope) / (0.5 * scale)).mean(), rtol=1e-10)


# --- few coefficients that matter ----------------------------------------------------------------

MATTER = np.array([2, 9, 15])
TRUE = np.zeros(20)
TRUE[MATTER] = [1.0, -0.8, 0.6]


def sparse(seed: int, n: int = 60) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 20))
    return X, X @ TRUE + 0.6 * rng.normal(size=n)


@dataclass(frozen=True)
class Shrinkage:
    """What a fit makes of coefficients that are zero, and of all."""

    null: float
    """Their mean distance from zero."""
    width: float
    """Mean width of their 90% intervals."""
    error: float
    """Root mean square error of all coefficients."""

    @classmethod
    def of(cls, model: Regressor) -> "Shrinkage":
        table, null = model.summary(coverage=0.9).iloc[1:-1], TRUE == 0.0
        width = (table["upper_90%"] - table["lower_90%"]).to_numpy()[null]
        error = np.sqrt(np.mean((model.coef_ - TRUE) ** 2))
        return cls(float(np.abs(model.coef_[null]).mean()), float(width.mean()), float(error))


@pytest.mark.thorough
def test_horseshoe_finds_the_few_coefficients_that_matter_and_normal_blurs_them() -> None:
    """Means of four data sets; Horseshoe over Normal: 0.22, 0.45, 0.45 (single sets up to 0.28, 0.51, 0.65)."""
    found = []
    for seed in range(4):
        X, y = sparse(seed)
        model = Regressor(coef_prior=Horseshoe(n_nonzero=3), draws=600, chains=4, random_state=seed).fit(X, y)
        assert model.inference_ == "hmc"
        assert set(np.argsort(np.abs(model.coef_))[-3:]) == set(MATTER)
        table = model.summary(coverage=0.9).iloc[1:-1]
        assert_allclose(model.coef_[MATTER], TRUE[MATTER], atol=0.35)
        covered = (table["lower_90%"] <= TRUE) & (table["upper_90%"] >= TRUE)
        assert covered.sum() >= 15
        found.append((Shrinkage.of(model), Shrinkage.of(Regressor().fit(X, y))))
    for name, bound in (("null", 0.4), ("width", 0.65), ("error", 0.7)):
        ours, normal = (np.mean([getattr(pair[i], name) for pair in found]) for i in (0, 1))
        assert ours < bound * normal, name


@pytest.mark.thorough
def test_horseshoe_with_more_expected_coefficients_shrinks_less() -> None:
    X, y = sparse(5)
    nulls = []
    for n_nonzero in (0.5, 15.0):
        prior = Horseshoe(n_nonzero=n_nonzero)
        model = Regressor(coef_prior=prior, draws=400, chains=4, random_state=0).fit(X, y)
        nulls.append(Shrinkage.of(model).width)
    assert nulls[0] < 0.85 * nulls[1]


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_parameters_of_one_value_a_feature_act_on_their_features() -> None:
    X, y = sparse(1)
    settings: dict[str, Any] = {"draws": 300, "chains": 2, "random_state": 1, "inference": "nuts"}
    repeated = Regressor(coef_prior=Laplace(mu=np.full(20, 0.1), b=np.full(20, 0.3)), **settings).fit(X, y)
    single = Regressor(coef_prior=Laplace(mu=0.1, b=0.3), **settings).fit(X, y)
    assert_allclose(repeated.coef_, single.coef_, rtol=1e-9)
    assert_allclose(repeated.coef_std_, single.coef_std_, rtol=1e-9)

    b, mu = np.full(20, 0.3), np.zeros(20)
    b[9], mu[4], b[4] = 1e-4, 0.7, 1e-4  # held where the prior is
    held = Regressor(coef_prior=Laplace(mu=mu, b=b), **settings).fit(X, y)
    unit = y.std() / X.std(axis=0)
    assert_allclose(held.coef_[[9, 4]], [0.0, 0.7 * unit[4]], atol=0.01)
    assert abs(held.coef_[2] - 1.0) < 0.5


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("prior", "noise", "grid"),
    [
        (Laplace(), "known", {"coef_prior__b": [0.05, 0.5, 5.0]}),
        (StudentT(), "scaled", {"coef_prior__nu": [1.0, 3.0, 30.0], "coef_prior__sigma": [0.3, 1.0]}),
    ],
    ids=["laplace", "student-t"],
)
def test_a_search_by_name_compiles_once(
    prior: CoefficientPrior, noise: str, grid: dict[str, list[float]], compilations: list[Any]
) -> None:
    X, y, y_err = measured(40, 1)
    base = Regressor(
        coef_prior=prior,
        noise=noise,
        fit_intercept=False,
        draws=150,
        chains=2,
        random_state=0,
        inference="nuts",
    )
    before = len(compilations)
    search = _search(base, grid, X, y - 4.0, y_err)
    assert len(compilations) - before <= 1
    assert set(search.best_params_) == set(grid)
    assert np.ptp(search.cv_results_["mean_test_score"]) > 0.0
    _assert_one_a_structure(compilations)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_search_over_families_compiles_once_a_family(compilations: list[Any]) -> None:
    X, y = sparse(2)
    priors = [Normal(), Laplace(), Laplace(b=0.2), Horseshoe(), Horseshoe(n_nonzero=3)]
    base = Regressor(draws=100, chains=2, random_state=0)
    before = len(compilations)
    search = GridSearchCV(base, {"coef_prior": priors}, scoring=neg_crps_scorer, cv=2).fit(X, y)
    assert not compilations[before:]  # Normal is exact, the others have engines of their own
    _assert_one_a_structure(compilations)
    assert isinstance(search.best_params_["coef_prior"], Horseshoe | Laplace)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def _search(base: Regressor, grid: dict[str, list[float]], X: Array, y: Array, y_err: Array) -> GridSearchCV:
    """Search with errors as a column of X, so that they are split with their rows."""
    search = GridSearchCV(
        clone(base).set_params(y_err_column=1), grid, scoring=neg_crps_scorer, cv=3, error_score="raise"
    )
    return search.fit(np.column_stack([X, y_err]), y)


def _assert_one_a_structure(compilations: list[Any]) -> None:
    """Every model in the cache was compiled once, and nothing else."""
    assert len(compilations) == len(sampler.COMPILED) > 0


# --- bad parameters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "prior", "error", "message"),
    [
        ("coef_prior", Laplace(b=-1.0), ValueError, "coef_prior__b must be positive, got -1.0"),
        ("coef_prior", Laplace(b=0.0), ValueError, "coef_prior__b must be positive"),
        ("coef_prior", Laplace(b=[1.0, 0.0, 1.0]), ValueError, "coef_prior__b must be positive"),
        ("coef_prior", Laplace(b=[1.0, 2.0]), ValueError, "coef_prior__b has shape (2,); there are 3 features"),
        ("coef_prior", Laplace(mu=np.nan), ValueError, "coef_prior__mu must be finite"),
        ("coef_prior", Laplace(mu="0"), TypeError, "coef_prior__mu must be a number or an array of numbers"),
        ("coef_prior", Laplace(b=None), TypeError, "coef_prior__b must be a number"),
        ("coef_prior", StudentT(nu=0.0), ValueError, "coef_prior__nu must be positive, got 0.0"),
        ("coef_prior", StudentT(nu=np.inf), ValueError, "coef_prior__nu must be finite"),
        ("coef_prior", StudentT(sigma=-0.5), ValueError, "coef_prior__sigma must be positive"),
        ("coef_prior", StudentT(mu=[[0.0, 0.0, 0.0]]), ValueError, "coef_prior__mu has shape (1, 3)"),
        ("coef_prior", StudentT(nu="four"), TypeError, "coef_prior__nu must be a number"),
        ("coef_prior", StudentT(nu=1j), TypeError, "coef_prior__nu must be a number"),
        ("coef_prior", Horseshoe(n_nonzero=3), ValueError, "coef_prior__n_nonzero must lie between 0 and"),
        ("coef_prior", Horseshoe(n_nonzero=7.5), ValueError, "the number of features, which is 3, got 7.5"),
        ("coef_prior", Horseshoe(n_nonzero=0), ValueError, "coef_prior__n_nonzero must be positive"),
        ("coef_prior", Horseshoe(n_nonzero=np.nan), ValueError, "coef_prior__n_nonzero must be finite"),
        ("coef_prior", Horseshoe(n_nonzero="all"), TypeError, "coef_prior__n_nonzero must be a number"),
        ("coef_prior", Horseshoe(slab_sigma=[1.0, 1.0, 1.0]), ValueError, "coef_prior__slab_sigma has shape (3,)"),
        ("coef_prior", Horseshoe(slab_nu=-4.0), ValueError, "coef_prior__slab_nu must be positive"),
        ("coef_prior", HalfNormal(), TypeError, "coef_prior must be a prior for coefficients"),
        ("coef_prior", "laplace", TypeError, "coef_prior must be a prior for coefficients"),
        ("intercept_prior", StudentT(nu=-2.0), ValueError, "intercept_prior__nu must be positive"),
        ("intercept_prior", Laplace(b=[1.0, 1.0]), ValueError, "intercept_prior__b has shape (2,); give one number"),
        ("intercept_prior", Horseshoe(), TypeError, "intercept_prior can't be Horseshoe()"),
        ("noise_prior", Laplace(), TypeError, "noise_prior must be a prior for the noise scale"),
        ("noise_prior", StudentT(), TypeError, "noise_prior must be a prior for the noise scale"),
    ],
    ids=lambda value: repr(value) if isinstance(value, CoefficientPrior | str) else None,
)  # fmt: skip
def test_bad_priors_are_refused_by_the_name_of_their_argument(
    role: str, prior: Any, error: type[Exception], message: str, compilations: list[Any]
) -> None:
    X, y, y_err = measured(20, 3)
    before = len(compilations)
    with pytest.raises(error, match=re.escape(message)):
        Regressor(**{role: prior}).fit(X, y, y_err=y_err)
    assert len(compilations) == before


def test_the_exact_engine_says_that_it_does_not_take_them() -> None:
    X, y, y_err = measured(20, 3)
    for prior in (Laplace(), StudentT(), Horseshoe()):
        with pytest.raises(ValueError, match=r"inference='exact': the exact engine can't take this model"):
            Regressor(coef_prior=prior, inference="exact").fit(X, y, y_err=y_err)
