"""What goes out to PyMC and ArviZ: the same model, the same numbers, the names that others expect."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError

from bayes_sklearn import Flat, Horseshoe, Normal
from bayes_sklearn.estimators.fitting import fit as fit_problem
from bayes_sklearn.estimators.reading import read, specify
from bayes_sklearn.inference._compat import quietly
from bayes_sklearn.inference.settings import SamplerSettings
from bayes_sklearn.priors import CoefficientPrior

from data import Measured, measured, shares
from plain import Regressor

Array = NDArray[np.float64]

# Monte Carlo errors that no test here should see: one normal variable in two million is larger.
Z = 5.0
DIMS = ("chain", "draw")


class Unknown(CoefficientPrior):
    """A prior that is Gaussian, so that it can be fitted, but that PyMC has no distribution for."""

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array]:
        return np.zeros(size), np.ones(size)


def arviz() -> Any:
    with quietly():
        import arviz
    return arviz


def groups(exported: Any) -> set[str]:
    found = exported.groups() if callable(exported.groups) else exported.groups
    return {name.strip("/") for name in found} - {""}


def values(exported: Any, group: str, name: str) -> Array:
    """One value per draw, (chain * draw, ...)."""
    array = np.asarray(exported[group][name])
    return array.reshape(-1, *array.shape[2:])


def elpd(exported: Any) -> float:
    result = arviz().loo(exported)
    return float(result.elpd_loo if hasattr(result, "elpd_loo") else result.elpd)


def z_score(drawn: Array, expected: Array) -> float:
    """The largest distance of a mean from what is expected, in Monte Carlo standard errors of independent draws."""
    return float(np.abs((drawn.mean(axis=0) - expected) / (drawn.std(axis=0) / np.sqrt(len(drawn)))).max())


N = 100
# No row of these has so large a say that ArviZ would warn of its leaving out: k-hat is 0.4.
DATA: Measured = measured(N, 2, seed=7)


@pytest.fixture(scope="module")
def exact() -> Regressor:
    return Regressor(random_state=0).fit(DATA.X, DATA.y, y_err=DATA.y_err)


@pytest.fixture(scope="module")
def nuts() -> Regressor:
    model = Regressor(inference="nuts", random_state=0)
    return model.fit(DATA.X, DATA.y, y_err=DATA.y_err)


@pytest.fixture(scope="module")
def with_prior(exact: Regressor) -> Any:
    return exact.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err, prior=True)


def test_the_container_is_that_of_the_installed_arviz(exact: Regressor) -> None:
    import xarray as xr

    exported = exact.to_arviz()
    if arviz().__version__.startswith("0."):
        assert isinstance(exported, arviz().InferenceData)
    else:
        assert isinstance(exported, xr.DataTree)


def test_groups_variables_dims_and_coordinates(exact: Regressor) -> None:
    table = pd.DataFrame(DATA.X, columns=["height", "width"], index=pd.date_range("2020-01-01", periods=N))
    model = Regressor(random_state=0, draws=30, chains=3).fit(table, DATA.y, y_err=DATA.y_err)
    assert groups(model.to_arviz()) == {"posterior"}
    exported = model.to_arviz(table, DATA.y, y_err=DATA.y_err)
    assert groups(exported) == {
        "posterior",
        "posterior_predictive",
        "log_likelihood",
        "observed_data",
        "constant_data",
    }
    expected = {
        "posterior": {"coef": (*DIMS, "feature"), "intercept": DIMS, "sigma": DIMS},
        "posterior_predictive": {"y": (*DIMS, "obs")},
        "log_likelihood": {"y": (*DIMS, "obs")},
        "observed_data": {"y": ("obs",)},
        "constant_data": {"X": ("obs", "feature"), "y_err": ("obs",)},
    }
    sizes = {"chain": 3, "draw": 30, "feature": 2, "obs": N}
    labels = {"chain": range(3), "draw": range(30), "feature": table.columns, "obs": table.index}
    for group, variables in expected.items():
        assert set(exported[group].data_vars) == set(variables)
        for name, dims in variables.items():
            array = exported[group][name]
            assert array.dims == dims
            assert array.shape == tuple(sizes[dim] for dim in dims)
            assert array.dtype == np.float64
            for dim in dims:
                assert list(array[dim].values) == list(np.asarray(labels[dim]))
    assert_array_equal(exported["constant_data"]["X"], DATA.X)
    assert_array_equal(exported["constant_data"]["y_err"], DATA.y_err)
    assert_array_equal(exported["observed_data"]["y"], DATA.y)
    # An array has no labels: positions, and scikit-learn's names of features.
    exported = exact.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err)
    assert list(exported["log_likelihood"]["obs"].values) == list(range(N))
    assert list(exported["posterior"]["feature"].values) == ["x0", "x1"]


def test_every_group_says_where_it_comes_from(exact: Regressor, nuts: Regressor) -> None:
    import bayes_sklearn

    for model in (exact, nuts):
        exported = model.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err)
        for attributes in (exported.attrs, *(exported[group].attrs for group in groups(exported))):
            assert attributes["inference_library"] == "bayes_sklearn"
            assert attributes["inference_library_version"] == bayes_sklearn.__version__
            assert attributes["inference_engine"] == model.inference_


def test_rows_keep_their_labels_whatever_the_index(exact: Regressor) -> None:
    for index, expected in (
        (pd.Index([f"row {i}" for i in range(N)]), [f"row {i}" for i in range(N)]),
        (
            pd.MultiIndex.from_product([["a", "b"], range(N // 2)]),
            [f"{a}, {i}" for a in "ab" for i in range(N // 2)],
        ),
        (pd.Index([7] * N), [7] * N),
        (
            pd.period_range("2020-01", periods=N),
            [str(day) for day in pd.period_range("2020-01", periods=N)],
        ),
    ):
        table = pd.DataFrame(DATA.X, index=index)
        exported = exact.to_arviz(table, DATA.y, y_err=DATA.y_err)
        assert exported["observed_data"]["obs"].values.tolist() == expected
        assert list(exact.to_pymc(table, DATA.y, y_err=DATA.y_err).coords["obs"]) == expected


def test_rows_of_weight_zero_are_left_out() -> None:
    weight = np.where(np.arange(N) % 4 == 1, 0.0, 2.0)
    model = Regressor(weight_type="frequency", random_state=0)
    model.fit(DATA.X, DATA.y, weight, y_err=DATA.y_err)
    exported = model.to_arviz(DATA.X, DATA.y, weight, y_err=DATA.y_err)
    used = np.flatnonzero(weight)
    assert list(exported["observed_data"]["obs"].values) == list(used)
    assert_array_equal(exported["observed_data"]["y"], DATA.y[used])
    assert_array_equal(exported["constant_data"]["X"], DATA.X[used])
    assert_array_equal(exported["constant_data"]["y_err"], DATA.y_err[used])
    assert_array_equal(exported["constant_data"]["sample_weight"], weight[used])
    # The log likelihood is of one copy of each row.
    once = model.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err)
    assert_array_equal(values(exported, "log_likelihood", "y"), values(once, "log_likelihood", "y")[:, used])
    assert "sample_weight" not in once["constant_data"]
    described = model.to_pymc(DATA.X, DATA.y, weight, y_err=DATA.y_err)
    assert list(described.coords["obs"]) == list(used)


@pytest.mark.parametrize(
    ("settings", "has_errors"),
    [
        ({"noise": "scaled"}, True),
        ({"noise": "additive"}, True),
        ({"noise": "known"}, True),
        ({"noise": "scaled"}, False),
        ({"noise": "scaled", "fit_intercept": False, "standardize": False}, True),
    ],
)
def test_exact_draws_agree_with_the_estimator(settings: dict[str, Any], has_errors: bool) -> None:
    X, y, y_err = measured(55, 2)
    given, others = ({"y_err": errors} if has_errors else {} for errors in (y_err[:40], y_err[40:]))
    model = Regressor(random_state=0, **settings).fit(X[:40], y[:40], **given)
    for features, target, errors in ((X[:40], y[:40], given), (X[40:], y[40:], others)):
        exported = model.to_arviz(features, target, **errors)
        log_density = values(exported, "log_likelihood", "y")
        distribution = model.predict_distribution(features, **errors)
        assert z_score(np.exp(log_density), distribution.pdf(target)) < Z
        drawn = values(exported, "posterior_predictive", "y")
        assert z_score(drawn, distribution.mean()) < Z
        assert z_score(np.square(drawn - distribution.mean()), distribution.var()) < Z
        for probability in (0.1, 0.8):
            below = (drawn < distribution.ppf(probability)).astype(float)
            assert z_score(below, np.full(len(target), probability)) < Z
    summary = model.summary()
    posterior = {"coef": summary.loc["x0":"x1"]}  # type: ignore[misc]
    assert ("intercept" in exported["posterior"]) == model.fit_intercept
    assert ("sigma" in exported["posterior"]) == (model.noise != "known")
    if model.fit_intercept:
        posterior["intercept"] = summary.loc[["intercept"]]
    if model.noise != "known":
        posterior["sigma"] = summary.loc[["noise_scale"]]
    for name, rows in posterior.items():
        drawn = values(exported, "posterior", name).reshape(4000, -1)
        assert z_score(drawn, rows["mean"].to_numpy()) < Z
        assert z_score(np.square(drawn - rows["mean"].to_numpy()), np.square(rows["sd"].to_numpy())) < Z
        assert z_score((drawn < rows["lower_95%"].to_numpy()).astype(float), np.full(len(rows), 0.025)) < Z


def test_exact_draws_are_continuous_and_independent(exact: Regressor) -> None:
    # The nodes of the noise scale are some thirty: no draw may fall on them.
    exported = exact.to_arviz()
    assert len(np.unique(values(exported, "posterior", "sigma"))) == 4000
    for name in ("coef", "intercept", "sigma"):
        assert (np.asarray(arviz().ess(exported)[name]) > 3000).all()
        assert (np.asarray(arviz().rhat(exported)[name]) < 1.01).all()


def test_exact_draws_are_the_same_every_time(exact: Regressor) -> None:
    first, second, bare = (
        exact.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err),
        exact.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err),
        exact.to_arviz(),
    )
    for group in groups(first):
        for name in first[group].data_vars:
            assert_array_equal(first[group][name], second[group][name])
    # Nor do data change the draws of the parameters.
    assert_array_equal(first["posterior"]["coef"], bare["posterior"]["coef"])
    other = Regressor(random_state=1).fit(DATA.X, DATA.y, y_err=DATA.y_err).to_arviz()
    assert (values(other, "posterior", "sigma") != values(bare, "posterior", "sigma")).all()


def test_draws_and_chains_are_the_estimators(exact: Regressor) -> None:
    model = Regressor(draws=7, chains=3).fit(DATA.X, DATA.y, y_err=DATA.y_err)
    assert model.to_arviz()["posterior"]["coef"].shape == (3, 7, 2)


def test_changes_to_an_export_leave_estimator_and_data_alone(nuts: Regressor) -> None:
    X, y, y_err = (array.copy() for array in DATA)
    before = nuts.summary()
    exported = nuts.to_arviz(X, y, y_err=y_err)
    for group in groups(exported):
        for array in exported[group].data_vars.values():
            array.values[...] = 1
    pd.testing.assert_frame_equal(nuts.summary(), before)
    assert nuts.summary().attrs == before.attrs
    assert all((mine == given).all() for mine, given in zip((X, y, y_err), DATA, strict=True))


def test_draws_of_nuts_are_handed_on_with_its_statistics(nuts: Regressor) -> None:
    exported = nuts.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err)
    assert {"posterior", "sample_stats", "log_likelihood"} <= groups(exported)
    assert exported["posterior"]["coef"].shape == (4, 1000, 2)
    assert_allclose(values(exported, "posterior", "coef").mean(axis=0), nuts.coef_, rtol=1e-12)
    assert_allclose(values(exported, "posterior", "intercept").mean(), nuts.intercept_, rtol=1e-12)
    assert_allclose(values(exported, "posterior", "sigma").mean(), nuts.noise_scale_, rtol=1e-12)
    for name in ("diverging", "energy", "lp"):
        assert exported["sample_stats"][name].shape == (4, 1000)
    # Every draw's density of a row, written out.
    draws = {name: values(exported, "posterior", name) for name in ("coef", "intercept", "sigma")}
    mean = draws["intercept"][:, None] + draws["coef"] @ DATA.X.T
    sd = draws["sigma"][:, None] * DATA.y_err
    density = -0.5 * ((DATA.y - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2.0 * np.pi)
    assert_allclose(values(exported, "log_likelihood", "y"), density, rtol=1e-9)
    logpdf = nuts.predict_distribution(DATA.X, y_err=DATA.y_err).logpdf(DATA.y)
    assert_allclose(np.log(np.exp(density).mean(axis=0)), logpdf, rtol=1e-9)


@pytest.mark.parametrize("standardize", [True, False])
def test_scales_of_a_mixture_are_named_as_in_the_model(nuts: Regressor, standardize: bool) -> None:
    # What NUTS gives for a horseshoe, without the time that its model takes to compile.
    import pytensor.tensor as pt

    prior, chains = Horseshoe(), nuts._fitted.posterior.chains
    assert chains is not None
    terms = prior.scales(pt.zeros(4), prior.check("coef_prior", 2), 1.0)
    scales = {name: np.ones((4, 1000, 2) if name == "local_scale" else (4, 1000)) for name in terms.named}
    model = Regressor(standardize=standardize).fit(DATA.X, DATA.y, y_err=DATA.y_err)
    posterior = replace(nuts._fitted.posterior, chains=replace(chains, scales=scales))
    model._fitted = replace(model._fitted, posterior=posterior)
    model.set_params(coef_prior=prior)
    exported = model.to_arviz()["posterior"]
    described = model.to_pymc(DATA.X, DATA.y, y_err=DATA.y_err)
    added = set(exported.data_vars) - {"coef", "intercept", "sigma"}
    assert len(added) == 3
    assert added <= set(described.named_vars)
    for name in added:
        local = name.endswith("local_scale")
        assert exported[name].dims == ((*DIMS, "feature") if local else DIMS)
        assert described.named_vars_to_dims.get(name, ()) == (("feature",) if local else ())


def test_errors_of_shares_are_those_of_the_fit() -> None:
    X, y, counts = shares()
    counts[::9] = 0.0
    for settings in (
        {},
        {"noise": "additive"},
        {"noise": "known"},
        {"error_floor": 0.02, "standardize": False},
        {"count_error": "observed", "error_floor": 0.1},
    ):
        model = Regressor(weight_type="counts", random_state=0, **settings)
        data = read(model.fit(X, y, counts), X, y, counts, {}, {})
        fitted = fit_problem(data.rows, data.errors, specify(model, data), "exact", SamplerSettings())
        exported = model.to_arviz(X, y, counts)
        used = np.flatnonzero(counts)
        assert list(exported["observed_data"]["obs"].values) == list(used)
        assert_array_equal(exported["constant_data"]["counts"], counts[used])
        assert "sample_weight" not in exported["constant_data"]
        error = np.asarray(exported["constant_data"]["y_err"])
        relative = error / np.asarray(fitted.problem.standard_error)[used] - 1.0
        # Reweighting stops where it expects the next change to be 0.1%.
        tolerance = 1e-12 if model.count_error == "observed" else 1.5e-3
        assert np.sqrt(np.mean(relative**2)) < tolerance
        # The errors are what the densities are taken with.
        density = np.exp(values(exported, "log_likelihood", "y"))
        stated = model.predict_distribution(X[used], y_err=error)
        assert z_score(density, stated.pdf(y[used])) < Z
        # The model for PyMC has them, too.
        described = model.to_pymc(X, y, counts)
        assert_allclose(described["y_err"].get_value(), error, rtol=3e-3)


def test_errors_in_columns_go_out_with_their_rows() -> None:
    X, y, counts = shares()
    columns = pd.DataFrame(X, columns=["a", "b"]).assign(messages=counts)
    weights = np.full(len(y), 2.0)
    model = Regressor(count_column="messages", random_state=0).fit(columns, y, weights)
    exported = model.to_arviz(columns, y, weights)
    assert list(exported["posterior"]["feature"].values) == ["a", "b"]
    assert_array_equal(exported["constant_data"]["X"], X)
    assert_array_equal(exported["constant_data"]["counts"], counts)
    assert_array_equal(exported["constant_data"]["sample_weight"], weights)
    model = Regressor(y_err_column="e").fit(
        pd.DataFrame(DATA.X).set_axis(["a", "b"], axis=1).assign(e=1.5), DATA.y
    )
    exported = model.to_arviz(pd.DataFrame(DATA.X).set_axis(["a", "b"], axis=1).assign(e=DATA.y_err), DATA.y)
    assert_array_equal(exported["constant_data"]["y_err"], DATA.y_err)


def test_standard_errors_may_take_the_place_of_counts() -> None:
    X, y, counts = shares()
    model = Regressor(weight_type="counts").fit(X, y, counts)
    exported = model.to_arviz(X, y, y_err=0.1)
    assert_array_equal(exported["constant_data"]["y_err"], np.full(len(y), 0.1))


def test_summaries_and_diagnostics_of_arviz(exact: Regressor, nuts: Regressor) -> None:
    az = arviz()
    for model in (exact, nuts):
        exported = model.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err)
        table = az.summary(exported)
        assert set(table.index) == {"coef[x0]", "coef[x1]", "intercept", "sigma"}
        # The tables are rounded to two or three digits.
        assert_allclose(table["mean"].astype(float)["coef[x1]"], model.coef_[1], rtol=0.02)
        for measure in (az.ess, az.rhat):
            found = measure(exported)
            assert all(np.isfinite(np.asarray(found[name])).all() for name in ("coef", "intercept", "sigma"))


@pytest.mark.filterwarnings("ignore:The data contradict coef_prior=Normal\\(sigma=0.05\\)")
def test_leave_one_out_and_comparisons_of_arviz(exact: Regressor, nuts: Regressor) -> None:
    az = arviz()
    narrow = Regressor(coef_prior=Normal(sigma=0.05), random_state=0).fit(DATA.X, DATA.y, y_err=DATA.y_err)
    models = {"exact": exact, "nuts": nuts, "narrow": narrow}
    exported = {name: model.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err) for name, model in models.items()}
    found = {name: elpd(data) for name, data in exported.items()}
    # By refits without the row; these scale anew, which changes the prior by a percent or so.
    left_out = 0.0
    for i in range(N):
        rest = np.arange(N) != i
        model = Regressor().fit(DATA.X[rest], DATA.y[rest], y_err=DATA.y_err[rest])
        row = model.predict_distribution(DATA.X[[i]], y_err=DATA.y_err[[i]])
        left_out += row.logpdf(DATA.y[[i]])[0]
    # Elpd's Monte Carlo error is about sqrt(p_loo / effective draws): 0.03 for independent draws.
    assert_allclose(found["exact"], left_out, atol=0.15)
    assert_allclose(found["nuts"], found["exact"], atol=0.25)
    with quietly():
        order = list(az.compare(exported).index)
    assert order[-1] == "narrow"
    assert found["narrow"] < found["exact"] - 1.0


def test_plots_of_arviz(nuts: Regressor) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    az, exported = arviz(), nuts.to_arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what ArviZ and matplotlib have to say to each other
        az.plot_trace(exported)
        az.plot_forest(exported)
        from matplotlib import pyplot

        pyplot.close("all")


@pytest.mark.parametrize("engine", ["exact", "nuts"])
def test_exports_go_to_files_and_back(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("h5netcdf")
    pytest.importorskip("h5py")
    import xarray as xr

    model: Regressor = request.getfixturevalue(engine)
    table = pd.DataFrame(DATA.X, index=[f"row {i}" for i in range(N)])
    exported = model.to_arviz(table, DATA.y, y_err=DATA.y_err)
    path = str(tmp_path / "exported.nc")
    if arviz().__version__.startswith("0."):
        exported.to_netcdf(path)
        again = arviz().from_netcdf(path)
    else:
        exported.to_netcdf(path, engine="h5netcdf")
        again = xr.open_datatree(path, engine="h5netcdf")
    assert groups(again) == groups(exported)
    for group in groups(exported):
        for name, array in exported[group].data_vars.items():
            assert_array_equal(again[group][name], array)
            for dim in array.dims:
                assert list(again[group][name][dim].values) == list(array[dim].values)
        assert again[group].attrs["inference_library"] == "bayes_sklearn"


def test_the_model_for_pymc_is_the_posterior_times_the_evidence(exact: Regressor) -> None:
    # p(y, B, s) / p(B, s | y) = p(y) wherever it is taken: the readable model, the exact posterior and
    # log_marginal_likelihood_ are of one model.
    described, posterior = exact.to_pymc(DATA.X, DATA.y, y_err=DATA.y_err), exact._fitted.posterior
    with quietly():
        log_joint = described.compile_logp()
    x_mean, x_sd = DATA.X.mean(axis=0), DATA.X.std(axis=0)
    y_mean, y_sd = DATA.y.mean(), DATA.y.std()
    assert posterior.log_noise_density is not None
    step = np.diff(np.sort(np.log(posterior.noise_scale)))
    assert_allclose(step, step[0])
    rng, found = np.random.default_rng(0), []
    for node in rng.choice(len(posterior.weights), size=8, p=posterior.weights):
        covariance = _covariance(posterior, int(node))
        B = rng.multivariate_normal(posterior.location[node], 3.0 * covariance)
        away = B - posterior.location[node]
        log_posterior = (
            np.log(posterior.weights[node] / step[0])
            - 0.5 * away @ np.linalg.solve(covariance, away)
            - 0.5 * np.linalg.slogdet(2.0 * np.pi * covariance)[1]
        )
        point = {
            "coef_standardized": B[1:] * x_sd / y_sd,
            "intercept_standardized": (B[0] - y_mean) / y_sd,
            "sigma_log__": np.log(posterior.noise_scale[node]),
        }
        # Densities of standardised variables, per unit of the data's.
        log_jacobian = np.log(x_sd / y_sd).sum() - np.log(y_sd)
        found.append(float(log_joint(point)) + log_jacobian - log_posterior)
    assert_allclose(posterior.center, x_mean)
    assert_allclose(found, exact.log_marginal_likelihood_, rtol=0.0, atol=1e-6)


def _covariance(posterior: Any, node: int) -> Array:
    weights = np.zeros(len(posterior.weights))
    weights[node] = 1.0
    root = posterior.covariances.root(weights)
    return np.asarray(root.T @ root)


def test_the_model_for_pymc_has_names_coordinates_and_a_graph() -> None:
    from pymc.model_graph import ModelGraph

    table = pd.DataFrame(DATA.X, columns=["a", "b"], index=[f"row {i}" for i in range(N)])
    described = Regressor().to_pymc(table, DATA.y, y_err=DATA.y_err)
    assert list(described.coords["feature"]) == ["a", "b"]
    assert list(described.coords["obs"]) == list(table.index)
    assert {"X", "y_err", "coef", "intercept", "sigma", "y"} <= set(described.named_vars)
    graph = ModelGraph(described).make_compute_graph()
    assert {"X", "y_err", "coef_standardized", "intercept_standardized", "sigma"} <= graph["y"] | {
        name for parent in graph["y"] for name in graph[parent]
    }
    plain = Regressor(standardize=False, fit_intercept=False, noise="known")
    described = plain.to_pymc(table, DATA.y, y_err=DATA.y_err)
    assert {variable.name for variable in described.free_RVs} == {"coef"}


def test_prior_draws_are_of_the_model_on_the_datas_scale(with_prior: Any, exact: Regressor) -> None:
    assert {"prior", "prior_predictive"} <= groups(with_prior)
    x_sd, y_sd, y_mean = DATA.X.std(axis=0), DATA.y.std(), DATA.y.mean()
    assert with_prior["prior"]["coef"].dims == (*DIMS, "feature")
    assert set(with_prior["prior"].data_vars) == set(with_prior["posterior"].data_vars)
    assert with_prior["prior_predictive"]["y"].shape == (1, 1000, N)
    assert list(with_prior["prior_predictive"]["y"]["obs"].values) == list(range(N))
    coef = values(with_prior, "prior", "coef")
    assert z_score(coef * x_sd / y_sd, np.zeros(2)) < Z
    assert z_score(np.square(coef * x_sd / y_sd), np.ones(2)) < Z
    sigma = values(with_prior, "prior", "sigma")[:, None]
    assert z_score(sigma, np.full(1, np.sqrt(2.0 / np.pi))) < Z
    # Intercept, coefficients and noise: variances y_sd^2 (1 + |x|^2) + e^2, with E s^2 = 1 and x standardised.
    y = values(with_prior, "prior_predictive", "y")
    x = (DATA.X - DATA.X.mean(axis=0)) / x_sd
    variance = y_sd**2 * (1.0 + np.square(x).sum(axis=1)) + DATA.y_err**2
    assert z_score(np.square(y - y_mean), variance) < Z
    # With the rest of the export as it is without.
    without = exact.to_arviz(DATA.X, DATA.y, y_err=DATA.y_err)
    assert groups(with_prior) - groups(without) == {"prior", "prior_predictive"}
    assert_array_equal(with_prior["posterior_predictive"]["y"], without["posterior_predictive"]["y"])


def test_flat_priors_cannot_be_drawn_from_and_the_message_says_which() -> None:
    X, y, y_err = DATA
    model = Regressor(coef_prior=Flat(), noise_prior=Flat(), draws=10).fit(X, y, y_err=y_err)
    model.to_arviz(X, y, y_err=y_err)
    with pytest.raises(ValueError, match=r"coef_prior=Normal\(\), noise_prior=HalfNormal\(\)"):
        model.to_arviz(X, y, y_err=y_err, prior=True)


def test_to_pymc_takes_what_fit_takes_and_refuses_what_it_refuses() -> None:
    X, y, y_err = DATA
    for model, given, message in (
        (Regressor(noise="loud"), {}, "noise"),
        (Regressor(noise="known"), {}, "noise='known' needs the errors of y"),
        (Regressor(), {"y_err": -y_err}, "y_err must be positive"),
        (Regressor(coef_prior=Normal(sigma=-1.0)), {}, "coef_prior__sigma must be positive"),
        (Regressor(coef_prior=Unknown()), {}, r"PyMC has no distribution for coef_prior=Unknown\(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.to_pymc(X, y, **given)


def test_to_arviz_says_what_is_missing(exact: Regressor) -> None:
    X, y, y_err = DATA
    with pytest.raises(NotFittedError):
        Regressor().to_arviz()
    for given, message in (
        ({"X": X}, "X is given without y"),
        ({"y": y}, "y is given without X"),
        ({"y_err": y_err}, "y_err is given without X and y"),
        ({"sample_weight": np.ones(N)}, "sample_weight is given without X and y"),
        ({"prior": True}, "prior is given without X and y"),
        ({"X": X, "y": y}, "fitted with errors of y.*give y_err"),
        ({"X": X[:, :1], "y": y, "y_err": y_err}, "features"),
        ({"X": X, "y": y[:7], "y_err": y_err}, "same number of rows"),
        ({"X": X, "y": y, "y_err": y_err[:7]}, "y_err has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            exact.to_arviz(**given)
    bare = Regressor().fit(X, y)
    bare.to_arviz(X, y)
    with pytest.raises(ValueError, match="y_err is given, but the model was fitted without errors of y"):
        bare.to_arviz(X, y, y_err=y_err)
    Regressor(noise="additive").fit(X, y).to_arviz(X, y, y_err=y_err)
    for noise in ("additive", "known"):
        with pytest.raises(ValueError, match=r"fitted with errors of y.*give y_err"):
            Regressor(noise=noise).fit(X, y, y_err=y_err).to_arviz(X, y)
    X, y, counts = shares()
    counted = Regressor(weight_type="counts").fit(X, y, counts)
    with pytest.raises(ValueError, match=r"fitted with counts of y.*give sample_weight, the counts"):
        counted.to_arviz(X, y)


def test_exports_change_nothing_in_the_estimator(exact: Regressor, with_prior: Any) -> None:
    X, y, y_err = DATA
    before = {name: id(value) for name, value in vars(exact).items()}
    exact.to_arviz(X, y, y_err=y_err)
    exact.to_pymc(X[:, :1], y, y_err=y_err)
    assert {name: id(value) for name, value in vars(exact).items()} == before
    assert exact.n_features_in_ == 2
    state = np.random.RandomState(0)
    fresh = Regressor(random_state=state)
    before = {name: id(value) for name, value in vars(fresh).items()}
    fresh.to_pymc(pd.DataFrame(X, columns=["a", "b"]), y)
    with pytest.raises(ValueError, match="y_err"):
        fresh.to_pymc(X, y, y_err=-1.0)
    assert {name: id(value) for name, value in vars(fresh).items()} == before
    assert state.randint(2**31) == np.random.RandomState(0).randint(2**31)


def test_exports_say_nothing_and_exact_ones_do_without_pymc() -> None:
    script = """
import sys
from bayes_sklearn import BayesianErrorsInVariablesRegressor, Normal
X, y = [[0.0], [1.0], [3.0], [4.0]], [0.1, 0.9, 3.2, 3.9]
model = BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, [1.0, 2.0, 1.0, 0.0])
assert "arviz" not in sys.modules
model.to_arviz(X, y, [1.0, 2.0, 1.0, 0.0])
assert "pymc" not in sys.modules
model.to_pymc(X, y, [1.0, 2.0, 1.0, 0.0])
model.set_params(intercept_prior=Normal()).fit(X, y, [1.0, 2.0, 1.0, 0.0])
model.to_arviz(X, y, [1.0, 2.0, 1.0, 0.0], prior=True)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_exports_build_little_besides_what_they_return() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 3)), rng.normal(size=2000)
    model = Regressor(draws=250).fit(X, y)
    model.to_arviz(X[:2], y[:2])  # imports
    tracemalloc.start()
    exported = model.to_arviz(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    returned = sum(array.nbytes for group in groups(exported) for array in exported[group].data_vars.values())
    assert returned > 2 * 8 * 1000 * 2000
    assert peak < 1.25 * returned


def test_summaries_of_nuts_say_how_far_to_trust_them(exact: Regressor, nuts: Regressor) -> None:
    az, table, exported = arviz(), nuts.summary(), nuts.to_arviz()
    assert list(table.columns) == ["mean", "sd", "lower_95%", "upper_95%", "ess_bulk", "ess_tail", "r_hat"]
    for column, found in (
        ("ess_bulk", az.ess(exported, method="bulk")),
        ("ess_tail", az.ess(exported, method="tail")),
        ("r_hat", az.rhat(exported)),
    ):
        expected = [float(found["intercept"]), *np.asarray(found["coef"]), float(found["sigma"])]
        # By ranks, in which rounding may swap neighbours.
        assert_allclose(table[column], expected, rtol=1e-3)
    chains = nuts._fitted.posterior.chains
    assert chains is not None
    assert table.attrs == {"divergences": chains.n_divergent, "energy_information": chains.energy_information}
    assert table.attrs["energy_information"] > 0.3
    # The exact posterior is not drawn from: nothing is to be diagnosed.
    assert list(exact.summary().columns) == ["mean", "sd", "lower_95%", "upper_95%"]
    assert exact.summary().attrs == {}


def test_a_noise_scale_that_is_known_has_no_diagnostics(nuts: Regressor) -> None:
    constant = replace(nuts._fitted.posterior, noise_scale=np.ones(4000))
    table = replace(nuts._fitted, posterior=constant).summary(0.9)
    assert table.loc["noise_scale", ["ess_bulk", "ess_tail", "r_hat"]].isna().all()
    assert table.drop(index="noise_scale").notna().all().all()
