"""The simulated phones follow their stated model, and the seeds are the published ones."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import stats

from bayes_sklearn.datasets import load_seeds, make_role_modeling

from star98 import load_star98

# Estimates may be this many standard errors off: of a right simulation, with other seeds, one
# comparison in 1.7 million would fail.
Z_BOUND = 5.0

LARGE = 100_000
FEATURES = ["degree_centrality", "betweenness_centrality", "message_burstiness", "reciprocity"]

# Table 3 of Crowder (1978) as printed in the SAS/STAT User's Guide, PROC MCMC, "Logistic Regression
# Random-Effects Model": germinated, seeds, type (1: 73), extract (1: cucumber), four plates a line.
# The same figures stand in the BUGS manual's example Seeds and in R's agridat (crowder.seeds) and
# aod (orob2).
CROWDER_TABLE_3 = """
    10  39  0  0    23  62  0  0    23  81  0  0    26  51  0  0
    17  39  0  0     5   6  0  1    53  74  0  1    55  72  0  1
    32  51  0  1    46  79  0  1    10  13  0  1     8  16  1  0
    10  30  1  0     8  28  1  0    23  45  1  0     0   4  1  0
     3  12  1  1    22  41  1  1    15  30  1  1    32  51  1  1
     3   7  1  1
"""


def fit_binomial(X: Any, share: Any, counts: Any) -> Any:
    """Fit a binomial GLM with a logit link to shares by statsmodels, X including its constant."""
    sm = pytest.importorskip("statsmodels.api")
    successes = np.round(share * counts)
    model = sm.GLM(np.column_stack([successes, counts - successes]), X, family=sm.families.Binomial())
    return model.fit()


# Simulated phones: the truth


@pytest.mark.parametrize("mean_share", [None, 0.01, 0.05, 0.3, 0.38])
def test_the_true_share_is_linear_and_a_share(mean_share: float | None) -> None:
    phones = make_role_modeling(LARGE, mean_share=mean_share, random_state=0)
    assert_allclose(phones.true_share, phones.intercept + phones.data @ phones.coef, rtol=1e-14)
    assert phones.true_share.min() > 0.0
    assert phones.true_share.max() < 1.0


def test_the_default_truth_is_the_documented_one() -> None:
    phones = make_role_modeling(LARGE, random_state=0)
    assert_allclose(phones.coef, [0.4, 0.0, -0.025, 0.125], rtol=1e-15)
    assert_allclose(phones.intercept, 0.04, rtol=1e-14)
    assert phones.true_share.between(0.015, 0.39).all()


@pytest.mark.parametrize("mean_share", [0.01, 0.15, 0.3])
@pytest.mark.parametrize("coef", [None, [0.01, -0.01, 0.001, 0.002]])
def test_mean_share_is_the_expected_true_share(mean_share: float, coef: list[float] | None) -> None:
    share = make_role_modeling(
        LARGE, mean_share=mean_share, coef=coef, random_state=1, as_frame=False
    ).true_share
    z = (share.mean() - mean_share) / (share.std() / np.sqrt(LARGE))
    assert abs(z) < Z_BOUND


def test_mean_share_scales_the_default_truth() -> None:
    default, scaled = (make_role_modeling(mean_share=share, random_state=0) for share in (None, 0.3))
    assert_allclose(scaled.true_share, 2.0 * default.true_share)


def test_a_given_truth_is_used() -> None:
    coef = [0.1, -0.2, 0.05, 0.3]
    phones = make_role_modeling(50, coef=coef, intercept=0.2, random_state=0, as_frame=False)
    assert_array_equal(phones.coef, coef)
    assert phones.intercept == 0.2
    assert_allclose(phones.true_share, 0.2 + phones.data @ coef)


# Simulated phones: features and counts


def test_features_have_the_documented_distributions() -> None:
    X = make_role_modeling(LARGE, random_state=2, as_frame=False).data
    low, high, mean, sd, skewness = np.array(
        [
            [0.0, 0.5, 0.1, 0.069, 0.9],
            [0.0, 0.3, 0.3 / 13.0, 0.029, 2.0],
            [-1.0, 1.0, 0.2, 0.295, -0.2],
            [0.0, 1.0, 0.6, 0.148, -0.2],
        ]
    ).T
    assert np.logical_and(low < X, high > X).all()
    assert (np.abs(X.mean(axis=0) - mean) / (X.std(axis=0) / np.sqrt(LARGE)) < Z_BOUND).all()
    # As far as the documented digits go.
    assert_allclose(X.std(axis=0), sd, rtol=0.02)
    assert_allclose(stats.skew(X), skewness, atol=0.08)


def test_betweenness_seems_to_matter_because_it_goes_with_degree() -> None:
    phones = make_role_modeling(LARGE, random_state=2, as_frame=False)
    correlation = np.corrcoef(phones.data.T)
    assert correlation[0, 1] == pytest.approx(0.75, abs=0.01)
    assert np.corrcoef(phones.data[:, 1], phones.true_share)[0, 1] > 0.5


@pytest.mark.parametrize("messages", [(2, 1000), (1, 30), (5, 5)])
def test_counts_are_log_uniform(messages: tuple[int, int]) -> None:
    fewest, most = messages
    counts = make_role_modeling(LARGE, messages=messages, random_state=3, as_frame=False).counts
    assert counts.min() >= fewest
    assert counts.max() <= most
    n = np.arange(fewest, most + 1)
    expected = LARGE * np.log((n + 1) / n) / np.log((most + 1) / fewest)
    observed = np.bincount(counts, minlength=most + 1)[fewest:]
    assert (np.abs(observed - expected) <= Z_BOUND * np.sqrt(expected)).all()
    assert stats.chisquare(observed, expected).pvalue > 1e-6 or fewest == most


# Simulated phones: the observed shares


@pytest.mark.parametrize("overdispersion", [0.0, 0.2])
def test_shares_are_whole_numbers_divided_by_counts(overdispersion: float) -> None:
    phones = make_role_modeling(LARGE, overdispersion=overdispersion, random_state=4, as_frame=False)
    on_topic = np.round(phones.target * phones.counts)
    assert_array_equal(phones.target, on_topic / phones.counts)
    assert phones.target.min() >= 0.0
    assert phones.target.max() <= 1.0
    assert np.issubdtype(phones.counts.dtype, np.integer)


def variance_of_share(phones: Any, overdispersion: float) -> NDArray[np.float64]:
    """Return each share's variance about its truth, p(1-p)/n (1 + (n-1) rho)."""
    p, n = phones.true_share, phones.counts
    return np.asarray(p * (1.0 - p) / n * (1.0 + (n - 1.0) * overdispersion))


@pytest.mark.parametrize("overdispersion", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("band", [(2, 9), (10, 99), (100, 1000)])
def test_shares_vary_about_the_truth_as_stated(overdispersion: float, band: tuple[int, int]) -> None:
    phones = make_role_modeling(
        LARGE, messages=band, overdispersion=overdispersion, random_state=5, as_frame=False
    )
    variance = variance_of_share(phones, overdispersion)
    residual = (phones.target - phones.true_share) / np.sqrt(variance)
    for moment, expected in ((residual, 0.0), (residual**2, 1.0)):
        z = (moment.mean() - expected) / (moment.std() / np.sqrt(LARGE))
        assert abs(z) < Z_BOUND


@pytest.mark.parametrize("mean_share", [0.02, 0.15])
@pytest.mark.parametrize("overdispersion", [0.0, 0.01])
def test_count_weighted_least_squares_recovers_the_truth(mean_share: float, overdispersion: float) -> None:
    phones = make_role_modeling(
        LARGE,
        mean_share=mean_share,
        overdispersion=overdispersion,
        random_state=6,
        as_frame=False,
    )
    A = np.column_stack([np.ones(LARGE), phones.data])
    truth = np.array([phones.intercept, *phones.coef])
    # Linear in the target, so its standard error follows from the stated variances: G y, G V G'.
    G = np.linalg.solve((A.T * phones.counts) @ A, A.T * phones.counts)
    standard_error = np.sqrt((G**2) @ variance_of_share(phones, overdispersion))
    assert (np.abs(G @ phones.target - truth) < Z_BOUND * standard_error).all()
    # And there are phones enough to tell: every coefficient but the one of 0 stands out.
    assert (np.abs(truth) > 2.0 * Z_BOUND * standard_error)[[0, 1, 3, 4]].all()


def test_200_phones_show_the_strong_effects_and_not_the_missing_one() -> None:
    # Standard errors of the best linear estimate, which need no draw of the shares.
    phones = make_role_modeling(random_state=7, as_frame=False)
    A = np.column_stack([np.ones(len(phones.data)), phones.data])
    covariance = np.linalg.inv((A.T / variance_of_share(phones, 0.0)) @ A)
    z = np.abs(phones.coef) / np.sqrt(np.diag(covariance)[1:])
    assert z[0] > 6.0
    assert z[3] > 6.0
    assert 2.0 < z[2] < 6.0
    assert z[1] == 0.0


# Simulated phones: the interface


def test_a_seed_gives_the_same_phones() -> None:
    first, second = (make_role_modeling(random_state=8).frame for _ in range(2))
    assert first.equals(second)
    assert first.equals(make_role_modeling(random_state=np.random.RandomState(8)).frame)
    assert not first.equals(make_role_modeling(random_state=9).frame)


def test_features_and_counts_do_not_depend_on_the_truth() -> None:
    first = make_role_modeling(random_state=8)
    second = make_role_modeling(random_state=8, coef=[0.1, 0.1, 0.0, 0.2], intercept=0.1, overdispersion=0.1)
    assert first.data.equals(second.data)
    assert first.counts.equals(second.counts)
    assert not first.target.equals(second.target)


def test_frames_and_arrays_hold_the_same_phones() -> None:
    frames = make_role_modeling(30, random_state=0)
    arrays = make_role_modeling(30, random_state=0, as_frame=False)
    assert frames.feature_names == arrays.feature_names == FEATURES
    assert list(frames.data.columns) == FEATURES
    assert list(frames.frame.columns) == [*FEATURES, "messages", "share"]
    assert frames.frame.shape == (30, 6)
    assert arrays.frame is None
    assert arrays.data.shape == (30, 4)
    for key in ("data", "target", "counts", "true_share"):
        assert isinstance(arrays[key], np.ndarray)
        assert_array_equal(frames[key].to_numpy(), arrays[key])
    assert_array_equal(frames.frame["messages"], arrays.counts)
    assert_array_equal(frames.frame["share"], arrays.target)
    assert "Williams (1982)" in frames.DESCR


@pytest.mark.parametrize("as_frame", [True, False])
def test_return_X_y_is_data_and_target(as_frame: bool) -> None:
    bunch = make_role_modeling(30, random_state=0, as_frame=as_frame)
    X, y = make_role_modeling(30, random_state=0, as_frame=as_frame, return_X_y=True)
    assert type(X) is type(bunch.data)
    assert type(y) is type(bunch.target)
    assert_array_equal(X, bunch.data)
    assert_array_equal(y, bunch.target)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("n_samples", 0),
        ("messages", (0, 10)),
        ("messages", (10, 2)),
        ("messages", (2.0, 10.5)),
        ("messages", (2, 10, 20)),
        ("messages", 100),
        ("messages", "ab"),
        ("overdispersion", -0.1),
        ("overdispersion", 1.0),
        ("overdispersion", np.nan),
        ("mean_share", 0.0),
        ("mean_share", 1.0),
        ("mean_share", np.nan),
        ("mean_share", 0.5),  # twice some phones' share would be above 1
        ("coef", [0.1, 0.2, 0.3]),
        ("coef", 0.1),
        ("coef", [5.0, 0.0, 0.0, 0.0]),
        ("coef", [0.0, 0.0, -0.5, 0.0]),
        ("coef", [np.nan, 0.0, 0.0, 0.0]),
        ("intercept", -0.5),
        ("intercept", 0.9),
        ("intercept", np.inf),
        ("random_state", -1),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_argument(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=argument):
        make_role_modeling(**{argument: value})


@pytest.mark.parametrize("argument", ["n_samples", "overdispersion", "mean_share", "intercept"])
def test_what_is_no_number_is_an_error_that_names_the_argument(argument: str) -> None:
    with pytest.raises(TypeError, match=argument):
        make_role_modeling(**{argument: "many"})


def test_intercept_and_mean_share_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="intercept and mean_share"):
        make_role_modeling(intercept=0.1, mean_share=0.1)


def test_a_truth_is_accepted_or_refused_whatever_the_seed() -> None:
    # Only a phone of extreme degree would have a share above 1, and three phones seldom have one.
    for seed in range(20):
        with pytest.raises(ValueError, match="coef"):
            make_role_modeling(3, coef=[1.9, 0.0, 0.0, 0.0], intercept=0.1, random_state=seed)


# The seeds


def test_seeds_are_those_of_the_published_table() -> None:
    germinated, seeds, seed_73, cucumber = np.array(CROWDER_TABLE_3.split(), dtype=int).reshape(21, 4).T
    bunch = load_seeds()
    assert_array_equal(bunch.counts, seeds)
    assert_array_equal(bunch.target, germinated / seeds)
    assert_array_equal(bunch.data, np.column_stack([seed_73, cucumber, seed_73 * cucumber]))
    assert bunch.feature_names == ["seed_73", "cucumber", "seed_73_cucumber"]


def test_seeds_pool_to_the_known_fractions_of_each_combination() -> None:
    frame = load_seeds(as_frame=True).frame
    frame["germinated"] = frame["seeds"] * frame["share"]
    pooled = frame.groupby(["seed_73", "cucumber"])[["germinated", "seeds"]].sum()
    assert_allclose(pooled.to_numpy(), [[99, 272], [201, 295], [49, 123], [75, 141]])


def test_seeds_reproduce_the_published_logistic_regression() -> None:
    # K. Wright, "Example generalized linear mixed model analysis with different packages", vignette
    # of R's agridat: glm(cbind(germ, n - germ) ~ gen * extract, family = quasibinomial()), with O73
    # and bean as the baseline and the dispersion estimated by Pearson's chi-square.
    seeds = load_seeds()
    o75, cucumber = 1.0 - seeds.data[:, 0], seeds.data[:, 1]
    X = np.column_stack([np.ones(21), o75, cucumber, o75 * cucumber])
    fit = fit_binomial(X, seeds.target, seeds.counts)
    standard_error = fit.bse * np.sqrt(fit.pearson_chi2 / fit.df_resid)
    assert_allclose(fit.params, [-0.41, -0.15, 0.54, 0.78], atol=0.005)
    assert_allclose(standard_error, [0.25, 0.30, 0.34, 0.42], atol=0.005)


@pytest.mark.parametrize("as_frame", [True, False])
def test_seeds_come_as_frames_or_arrays(as_frame: bool) -> None:
    bunch = load_seeds(as_frame=as_frame)
    X, y = load_seeds(as_frame=as_frame, return_X_y=True)
    assert X.shape == (21, 3)
    assert y.shape == bunch.counts.shape == (21,)
    assert_array_equal(X, bunch.data)
    assert_array_equal(y, bunch.target)
    assert isinstance(X, np.ndarray) is not as_frame
    assert "Crowder" in bunch.DESCR
    if as_frame:
        assert list(bunch.frame.columns) == [*bunch.feature_names, "seeds", "share"]
        assert y.name == "share"
        assert bunch.counts.name == "seeds"
    else:
        assert bunch.frame is None


def test_changing_the_seeds_does_not_change_the_next_load() -> None:
    load_seeds().counts[:] = 0
    assert load_seeds().counts.sum() == 831


# The module, and the tests' own table


def test_the_module_needs_no_pandas_without_frames_nor_pymc_nor_matplotlib() -> None:
    # An import of what is None in sys.modules fails.
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('pandas', 'pymc', 'matplotlib')))\n"
        "from bayes_sklearn import datasets\n"
        "datasets.make_role_modeling(5, as_frame=False)\n"
        "datasets.load_seeds()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_star98_is_the_table_that_R_and_Stata_fitted() -> None:
    # Results of R and Stata that statsmodels' own tests hold (genmod/tests/results/results_glm.py).
    X, share, counts = load_star98()
    assert X.shape == (303, 20)
    assert (counts.min(), counts.max()) == (33, 38852)
    assert ((share > 0.0) & (share < 1.0)).all()
    fit = fit_binomial(X.assign(constant=1.0).to_numpy(), share, counts)
    assert fit.deviance == pytest.approx(4078.76541772, rel=1e-8)
    assert fit.null_deviance == pytest.approx(34345.3688931, rel=1e-8)
    assert fit.params[X.columns.get_loc("LOWINC")] == pytest.approx(-0.0168150366, rel=1e-6)
