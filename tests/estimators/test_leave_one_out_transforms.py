"""Probability transforms of leave-one-out: those of refits, after every engine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logsumexp

from bayes_sklearn import Mixture, Normal
from bayes_sklearn.estimators.observed import drawn, given_draws, observed_rows
from bayes_sklearn.inference._compat import good_pareto_k, psis_weights, relative_efficiency
from bayes_sklearn.likelihoods import BetaBinomialLikelihood, BinomialLikelihood, Observations
from bayes_sklearn.metrics import pit
from bayes_sklearn.prediction.rows_given_draws import GivenDraws

from data import gentle, measured, noisy_features, shares
from plain import Regressor

Array = NDArray[np.float64]

# A transform that is right fails a comparison once in 1.7 million.
Z_BOUND = 5.0
# What distribution functions of predictions are right to where few points stand for a row's nodes (docs/maths.md).
THINNED = 1e-3


def test_the_estimator_s_transforms_are_those_of_predictions_by_others() -> None:
    """Nothing is standardised, so that a fit to the others is in the same units."""
    settings = {"standardize": False, "coef_prior": Normal(0.0, 5.0), "weight_type": "frequency"}
    X, y, y_err = measured(40)
    weight = np.resize([0.0, 1.0, 2.0, 0.5], 40)
    model = Regressor(**settings).fit(X, y, weight, y_err=y_err)
    values = model.loo_pit(X, y, weight, y_err=y_err)
    assert_array_equal(np.isnan(values), weight == 0.0)
    for i in (1, 2, 3, 7):
        one = slice(i, i + 1)
        fewer = weight - np.minimum(weight, 1.0) * (np.arange(40) == i)
        others = Regressor(**settings).fit(X, y, fewer, y_err=y_err)
        expected = pit(y[one], others.predict_distribution(X[one], y_err=y_err[one]))
        assert_allclose(values[one], expected, rtol=1e-6)


def test_transforms_of_the_estimator_are_uniform() -> None:
    table = measured(n=400)
    weight = np.append(np.ones(399), 0.0)
    model = Regressor(noise="known").fit(table.X, table.y, weight, y_err=table.y_err)
    values = model.loo_pit(table.X, table.y, weight, y_err=table.y_err)
    assert np.isnan(values[-1])
    assert stats.kstest(values[:-1], "uniform").pvalue > 1e-4


@dataclass(frozen=True)
class Case:
    """A model that is not fitted exactly, and rows."""

    settings: dict[str, Any]
    X: Array
    y: Array
    given: dict[str, Array] = field(default_factory=dict)
    """What is given to fit besides, a value per row."""

    @property
    def model(self) -> Regressor:
        settings = {"standardize": False, "random_state": 0, **self.settings}
        return Regressor(**settings).fit(self.X, self.y, **self.given)

    def without(self, i: int) -> tuple[float, float]:
        """Return the transform of a row by a fit without its target, and how many draws that fit is worth."""
        others, one = self.refit(i), slice(i, i + 1)
        row = {name: values[one] for name, values in self.given.items()}
        if "sample_weight" in row:
            weight = row.pop("sample_weight")
            row |= {"counts": weight} if self.settings.get("weight_type") == "counts" else {}
        distribution = others.predict_distribution(self.X[one], **row).of_measurements()
        worth = 1.0 / np.square(others._fitted.posterior.weights).sum()
        return float(pit(self.y[one], distribution)[0]), worth

    def refit(self, i: int) -> Regressor:
        """Return the model fitted without the target of a row."""
        if "X_err" in self.given:
            # What was measured of the row's features stays: a target of no precision says nothing.
            y_err = np.where(np.arange(len(self.y)) == i, 1e6, self.given["y_err"])
            return replace(self, given={**self.given, "y_err": y_err}).model
        rest = np.arange(len(self.y)) != i
        given = {name: values[rest] for name, values in self.given.items()}
        return replace(self, X=self.X[rest], y=self.y[rest], given=given).model


def of_draws(model: Regressor, case: Case) -> GivenDraws:
    """Return what `loo_pit` goes by: rows given each draw."""
    given = dict(case.given)
    of_features = {"X_err": given.pop("X_err", None), "X_cov": given.pop("X_cov", None)}
    weight, y_err = given.pop("sample_weight", None), given.pop("y_err", None)
    observed = observed_rows(model, case.X, case.y, weight, {"y_err": y_err}, of_features)
    return given_draws(model, observed, drawn(model)[0])


class Errors(NamedTuple):
    """Of transforms by draws, (n,) each."""

    with_row: Array
    """The transforms that draws have that are not weighted."""
    variance: Array
    """What the transform given a draw varies by."""
    worth: Array
    """Independent draws that the weighted ones are worth."""

    @classmethod
    def of(cls, given: GivenDraws) -> Errors:
        """By weights that are not smoothed."""
        parts = [given.at(rows) for rows in given.blocks()]
        log_ratios = -np.concatenate([part.log_density() for part in parts], axis=1)
        transforms = np.concatenate([part.transform() for part in parts], axis=1)
        weights = np.exp(log_ratios - logsumexp(log_ratios, axis=0))
        away = transforms - (weights * transforms).sum(axis=0)
        variance = (weights * np.square(away)).sum(axis=0)
        return cls(transforms.mean(axis=0), variance, 1.0 / np.square(weights).sum(axis=0))


ROWS = 30
LINE = gentle(ROWS)
HEAVY = LINE.y + np.where(np.arange(ROWS) % 10 == 3, 4.0, 0.0)
SHARES = shares(ROWS)
NOISY = noisy_features(ROWS)
COMMON = noisy_features(ROWS, common=True)
BY_COUNT = {"sample_weight": SHARES.counts}
IMPORTANCE = {
    "student_t": Case({"likelihood": "student_t"}, LINE.X, HEAVY, {"y_err": LINE.y_err}),
    "student_t, additive": Case(
        {"likelihood": "student_t", "noise": "additive"}, LINE.X, HEAVY, {"y_err": LINE.y_err}
    ),
    "binomial": Case({"likelihood": "binomial", "weight_type": "counts"}, SHARES.X, SHARES.y, BY_COUNT),
    "binary": Case({"likelihood": "binomial"}, SHARES.X, np.rint(SHARES.y + 0.2)),
    "beta_binomial": Case(
        {"likelihood": "beta_binomial", "weight_type": "counts"}, SHARES.X, SHARES.y, BY_COUNT
    ),
    "errors by row": Case(
        {"noise": "additive"}, NOISY.X, NOISY.y, {"y_err": NOISY.y_err, "X_err": NOISY.X_err}
    ),
    "errors in common": Case(
        {"noise": "known"}, COMMON.X, COMMON.y, {"y_err": COMMON.y_err, "X_err": COMMON.X_err}
    ),
}


def clustered(n: int) -> Case:
    """True features of two kinds."""
    rng = np.random.default_rng(2)
    x = rng.normal(np.where(np.arange(n) % 3 == 0, -2.0, 1.0), 0.4)
    X_err, y_err = np.full((n, 1), 0.5), np.full(n, 0.5)
    X, y = x[:, None] + X_err * rng.normal(size=(n, 1)), 1.0 + x + y_err * rng.normal(size=n)
    return Case({"noise": "additive", "x_distribution": Mixture(2)}, X, y, {"y_err": y_err, "X_err": X_err})


IMPORTANCE["mixture"] = clustered(ROWS)


def assert_agree(values: Array, expected: Array, errors: Errors, rows: Array, worth: Array | float) -> None:
    """Compare transforms with others, within the errors of both.

    Parameters
    ----------
    values, expected
        Of some rows.
    errors
        Of all rows' values.
    rows
        Which.
    worth
        One over the independent draws that there are but for the weights: of the values', and of those expected.
    """
    error = np.sqrt(errors.variance[rows] * (1.0 / errors.worth[rows] + worth) + THINNED**2)
    z = (values - expected) / error
    assert np.abs(z).max() < Z_BOUND, np.round(z, 1)
    own_say = (errors.with_row[rows] - expected) / error
    assert np.abs(own_say).max() > Z_BOUND, "what rows say of themselves would be seen"


@pytest.mark.parametrize("name", IMPORTANCE)
def test_transforms_after_importance_sampling_are_those_of_refits(name: str) -> None:
    case = IMPORTANCE[name]
    model = case.model
    assert model.inference_ == "importance"
    values, rows = model.loo_pit(case.X, case.y, **case.given), np.arange(0, ROWS, 2)
    without, worth = np.transpose([case.without(i) for i in rows])
    resampled = np.square(model._fitted.posterior.weights).sum()
    assert_agree(values[rows], without, Errors.of(of_draws(model, case)), rows, resampled + 1.0 / worth)


@pytest.mark.thorough
def test_transforms_after_nuts_are_those_of_refits() -> None:
    """Heavy tails and errors of features at once: one compiled model serves the refits."""
    settings = {
        "likelihood": "student_t",
        "noise": "additive",
        "inference": "nuts",
        "draws": 1000,
        "chains": 2,
        "nuts_kwargs": {"target_accept": 0.95},
    }
    heavy = NOISY.y + np.where(np.arange(ROWS) % 10 == 3, 3.0, 0.0)
    case = Case(settings, NOISY.X, heavy, {"y_err": NOISY.y_err, "X_err": NOISY.X_err})
    model, rows = case.model, np.array([0, 3, 8, 13])
    assert model.inference_ == "nuts"
    # As predictions have them but for few points that stand for a row's nodes, which are too few for such rows.
    refits = [of_draws(case.refit(i), case) for i in rows]
    without = [given.at(slice(i, i + 1)).transform().mean() for i, given in zip(rows, refits, strict=True)]
    draws = {name: np.asarray(values) for name, values in model.to_arviz().posterior.items()}
    efficiency = min(relative_efficiency(draws), 1.0)
    errors = Errors.of(of_draws(model, case))
    errors = errors._replace(worth=efficiency * errors.worth)
    values = model.loo_pit(case.X, case.y, **case.given)
    assert_agree(values[rows], np.array(without), errors, rows, 1.0 / (efficiency * 2000.0))


# --- in both -------------------------------------------------------------------------------------


def test_a_copy_of_a_row_is_left_out() -> None:
    """Rows of a frequency have the transform of one copy of theirs in a table that repeats them."""
    case = IMPORTANCE["binary"]
    frequency = np.resize([1.0, 2.0, 1.0, 3.0], ROWS)
    rows = np.repeat(np.arange(ROWS), frequency.astype(int))
    weighted = replace(case, given={"sample_weight": frequency})
    repeated = replace(case, X=case.X[rows], y=case.y[rows])
    model, other = weighted.model, repeated.model
    values = model.loo_pit(case.X, case.y, **weighted.given)
    of_copies = other.loo_pit(repeated.X, repeated.y, **repeated.given)
    every = np.arange(len(rows))
    errors = Errors.of(of_draws(other, repeated))
    worth = 1.0 / errors.worth + sum(
        np.square(fitted._fitted.posterior.weights).sum() for fitted in (model, other)
    )
    assert_agree(values[rows], of_copies, errors, every, worth)
    once = replace(case, given={"sample_weight": np.where(frequency == 3.0, 0.0, 1.0)})
    assert_array_equal(np.isnan(once.model.loo_pit(case.X, case.y, **once.given)), frequency == 3.0)
    settings = {**case.settings, "weight_type": "frequency"}
    half = replace(case, settings=settings, given={"sample_weight": 0.5 * frequency})
    with pytest.raises(ValueError, match="below one"):
        half.model.loo_pit(case.X, case.y, **half.given)


def test_transforms_have_the_weights_of_leave_one_out() -> None:
    """Those of ArviZ: with them the rows' log densities are averaged to what `loo` has, to the last digits."""
    case = IMPORTANCE["binomial"]
    model = case.model
    found = model.loo(case.X, case.y, **case.given)
    given = of_draws(model, case)
    draws = {name: np.asarray(values) for name, values in model.to_arviz().posterior.items()}
    every = given.at(slice(None))
    log_density = every.log_density().T
    weights, pareto_k = psis_weights(log_density, relative_efficiency(draws))
    values = found["loo_i" if hasattr(found, "loo_i") else "elpd_i"]
    assert_allclose(logsumexp(weights + log_density, axis=1), values, rtol=1e-11)
    assert_allclose(pareto_k, found["pareto_k"], rtol=1e-12)
    averaged = (np.exp(weights) * every.transform().T).sum(axis=1)
    assert_allclose(model.loo_pit(case.X, case.y, **case.given), averaged, rtol=1e-12)
    assert good_pareto_k(log_density.shape[1]) == found["good_k"]


def test_rows_taken_block_by_block_have_the_same_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    case = IMPORTANCE["errors by row"]
    model = case.model
    values = model.loo_pit(case.X, case.y, **case.given)
    monkeypatch.setattr(GivenDraws, "blocks", lambda self: iter([slice(0, 7), slice(7, ROWS)]))
    assert_allclose(model.loo_pit(case.X, case.y, **case.given), values, rtol=1e-12)


def test_large_pareto_k_is_warned_of() -> None:
    X, y, counts = shares(30)
    y, counts = np.where(np.arange(30) == 3, 1.0, y), np.where(np.arange(30) == 3, 500.0, counts)
    model = Regressor(likelihood="binomial", weight_type="counts", random_state=0).fit(X, y, counts)
    with pytest.warns(UserWarning, match="Pareto k is above 0.7"):
        model.loo_pit(X, y, counts)


def test_transforms_need_the_covariance_that_fit_had() -> None:
    model = Regressor(noise="known", random_state=0)
    model.fit(NOISY.X, NOISY.y, y_err=NOISY.y_err, X_err=NOISY.X_err, Xy_cov=[0.05, 0.0])
    with pytest.raises(ValueError, match="give Xy_cov with X and y"):
        model.loo_pit(NOISY.X, NOISY.y, y_err=NOISY.y_err, X_err=NOISY.X_err)


# --- the probability of less ---------------------------------------------------------------------


@pytest.mark.parametrize("trials", [1.0, 7.0, 400.0, 30_000.0])
@pytest.mark.parametrize("dispersion", [None, 1e-12, 1e-4, 0.05, 0.6])
def test_probability_of_fewer_counts_is_scipys(trials: float, dispersion: float | None) -> None:
    counts = np.unique(np.rint(trials * np.array([0.0, 0.01, 0.3, 0.5, 0.9, 1.0])))
    data = Observations(counts / trials, trials=trials)
    eta = np.repeat(np.array([-40.0, -6.0, -1.0, 0.3, 2.0, 8.0])[:, None], len(counts), axis=1)
    share, values = expit(eta), {}
    if dispersion is None:
        likelihood: Any = BinomialLikelihood()
        target: Any = stats.binom(trials, share)
    else:
        likelihood, values = BetaBinomialLikelihood(), {"dispersion": np.full((6, 1), dispersion)}
        size = (1.0 - dispersion) / dispersion
        # SciPy's own sums are of differences that lose their digits for a small dispersion.
        target = stats.binom(trials, share)
        if dispersion > 1e-6:
            target = stats.betabinom(trials, share * size, expit(-eta) * size)
    found = likelihood.probability_of_less(eta, values, data)
    assert_allclose(found, target.cdf(counts) - 0.5 * target.pmf(counts), atol=1e-8)
