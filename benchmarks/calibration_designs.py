"""The designs of the gauntlet: data that a default has to be right about, whatever their scale and shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, SplineTransformer

from bayes_sklearn.datasets import make_role_modeling

from .calibration_data import NEW_ROWS, Data, Design, Draw, Rng, linear, measured_features, split

__all__ = ["DESIGNS", "GROUPS"]

Array = NDArray[np.float64]

GROUPS = ("bases", "features", "noise", "feature-errors", "shares", "phones")
"""The tables, in their order."""


def _normal(p: int, correlation: float = 0.0) -> Any:
    """Return a maker of p normal features, each two of which have the same correlation."""
    covariance = np.full((p, p), correlation) + (1.0 - correlation) * np.eye(p)
    root = np.linalg.cholesky(covariance).T
    return lambda rng, rows: rng.normal(size=(rows, p)) @ root


def _uniform(low: float, high: float, p: int = 1) -> Any:
    return lambda rng, rows: rng.uniform(low, high, size=(rows, p))


def _powers(low: float, high: float, degree: int, p: int = 1, *, interactions: bool = False) -> Any:
    powers = PolynomialFeatures(degree, include_bias=False, interaction_only=interactions)
    return lambda rng, rows: powers.fit_transform(rng.uniform(low, high, size=(rows, p)))


def _drawn(p: int, spread: float) -> Any:
    """Return a maker of p slopes that are drawn for every data set."""
    return lambda rng: spread * rng.normal(size=p)


def _lognormal_errors(size: float, spread: float = 1.0) -> Any:
    return lambda rng, rows: size * np.exp(spread * rng.normal(size=rows))


def _heavy(rng: Rng, rows: int) -> Array:
    """Return noise of standard deviation 1 with the tails of Student's t, nu = 3."""
    return rng.standard_t(3.0, rows) / np.sqrt(3.0)


def _as_they_are(rng: Rng, errors: Array) -> Array:
    return errors


def _years(rng: Rng, rows: int) -> Array:
    year = np.append(np.arange(1960.0, 2020.0), rng.uniform(1960.0, 2020.0, NEW_ROWS))
    return np.column_stack([year, year**2])


# y = 2 + 0.02 (t - 1990) + 0.0005 (t - 1990)^2
_YEARS = (0.02 - 2.0 * 1990.0 * 0.0005, 0.0005)


def _curve(n: int, knots: int, sd: float) -> Draw:
    """Return one period of a sine, which the spline of a few knots follows as far as noise allows to see."""

    def draw(rng: Rng) -> Data:
        x = np.append(np.linspace(0.0, 10.0, n), rng.uniform(0.0, 10.0, NEW_ROWS))
        X = SplineTransformer(n_knots=knots, knots="uniform").fit(x[:n, None]).transform(x[:, None])
        return split(rng, X, 5.0 + 3.0 * np.sin(2.0 * np.pi * x / 10.0), sd, None)

    return draw


def _groups(n: int, means: Array, *, drop: str | None = None, slopes_known: bool, sd: float = 1.0) -> Draw:
    """Return groups of rows as columns of zeros and ones, two rows per group at least."""

    def draw(rng: Rng) -> Data:
        levels = len(means)
        group = np.append(np.tile(np.arange(levels), 2), rng.integers(levels, size=n - 2 * levels + NEW_ROWS))
        X = OneHotEncoder(sparse_output=False, drop=drop).fit_transform(group[:, None])
        coef = means[1:] - means[0] if drop else means
        return split(rng, X, means[group], sd, coef if slopes_known else None)

    return draw


def _beside_ones(rng: Rng, rows: int) -> Array:
    return np.column_stack([np.ones(rows), rng.normal(size=(rows, 2))])


def _snr(ratio: float, n: int, p: int) -> Draw:
    """Return p features whose signal has so many times the variance of the noise."""
    return linear(n, _normal(p), np.ones(p), sd=float(np.sqrt(p / ratio)))


def _in_units(n: int, units: Any, coef: Any, unit: float, offset: float = 0.0) -> Draw:
    """Return features in units of their own, beside a target in its own, far from 0 by `offset` of its spreads."""
    scale = np.asarray(units, dtype=np.float64)
    slopes = unit * np.asarray(coef, dtype=np.float64) / scale
    return linear(
        n,
        lambda rng, rows: scale * (rng.normal(size=(rows, len(scale))) + offset),
        slopes,
        intercept=offset * unit,
        sd=unit,
    )


def _replicates(n: int) -> Draw:
    """Return means of three replicates, with their standard errors as the three say."""

    def draw(rng: Rng) -> Data:
        X = rng.normal(size=(n + NEW_ROWS, 1))
        line = 1.0 + X[:, 0]
        three = line + rng.normal(size=(3, len(X)))
        error = three.std(axis=0, ddof=1) / np.sqrt(3.0)
        return split(
            rng, X, line, np.sqrt(1.0 / 3.0), np.ones(1), stated={"y_err": error}, y=three.mean(axis=0)
        )

    return draw


def _five(rng: Rng) -> Data:
    """Return five readings that scatter by less than half of their known error, as they do once in seven times."""
    x = np.append(np.arange(5.0), rng.uniform(0.0, 4.0, NEW_ROWS))
    design = np.column_stack([np.ones(5), x[:5]])
    rest = np.eye(5) - design @ np.linalg.pinv(design)
    while True:
        data = split(
            rng, x[:, None], np.zeros(len(x)), 0.5, np.zeros(1), stated={"y_err": np.full(len(x), 0.5)}
        )
        if float(data.y @ rest @ data.y) < 3.0 * 0.25**2:
            return data


def _useless(rng: Rng) -> Data:
    """Return 30 readings with an error of 0.3, and one with an error of 100."""
    X = rng.normal(size=(31 + NEW_ROWS, 1))
    errors = np.full(len(X), 0.3)
    errors[0] = 100.0
    return split(rng, X, 1.0 + 2.0 * X[:, 0], errors, np.array([2.0]), stated={"y_err": errors})


def _useless_x(rng: Rng) -> Data:
    """Return 60 readings of a feature with an error of 0.5, and one with an error of 100."""
    X = rng.normal(size=(61 + NEW_ROWS, 1))
    errors = np.full(X.shape, 0.5)
    errors[0] = 100.0
    reading = X + errors * rng.normal(size=X.shape)
    given = {"X_err": errors[:61]}
    return split(rng, X, 1.0 + 2.0 * X[:, 0], 0.5, np.array([2.0]), reading=reading, given=given)


def _skewed(p: int) -> Any:
    return lambda rng, rows: (
        (np.exp(rng.normal(size=(rows, p))) - np.exp(0.5)) / np.sqrt(np.exp(1.0) * (np.exp(1.0) - 1.0))
    )


def _beside(correlations: Any) -> Any:
    """Return a maker of normal features with this correlation matrix's upper triangle, row by row."""
    p = round((1.0 + np.sqrt(1.0 + 8.0 * len(correlations))) / 2.0)
    covariance = np.eye(p)
    covariance[np.triu_indices(p, 1)] = correlations
    root = np.linalg.cholesky(np.maximum(covariance, covariance.T)).T
    return lambda rng, rows: rng.normal(size=(rows, p)) @ root


def _one(n: int, reliability: float, slope: float = 2.0, **more: Any) -> Draw:
    """Return one feature of variance 1, this share of whose measured variance is its own."""
    return measured_features(n, _normal(1), [slope], [_error(reliability)], **more)


def _error(reliability: float) -> float:
    return float(np.sqrt(1.0 / reliability - 1.0))


def _tiny_shares(share: float, counts: tuple[float, float], overdispersion: float = 0.0) -> Draw:
    """Return shares about `share` of counts that are spread evenly on a logarithmic scale."""

    def draw(rng: Rng) -> Data:
        X = rng.uniform(-1.0, 1.0, size=(200 + NEW_ROWS, 3))
        coef = share * np.array([0.4, -0.2, 0.0])
        line = share + X @ coef
        n = np.rint(np.exp(rng.uniform(np.log(counts[0]), np.log(counts[1]), len(X))))
        return _counted(rng, X, line, n, coef, overdispersion)

    return draw


def _phones(share: float, messages: tuple[int, int], overdispersion: float, n: int) -> Draw:
    def draw(rng: Rng) -> Data:
        phones = make_role_modeling(
            n + NEW_ROWS,
            mean_share=share,
            messages=messages,
            random_state=int(rng.integers(2**31)),
            as_frame=False,
        )
        counts = phones.counts.astype(np.float64)
        return _counted(rng, phones.data, phones.true_share, counts, phones.coef, overdispersion)

    return draw


def _counted(rng: Rng, X: Array, line: Array, counts: Array, coef: Array, overdispersion: float) -> Data:
    """Return shares of counts; `overdispersion` is the intraclass correlation."""
    variance = line * (1.0 - line)
    if overdispersion:
        concentration = 1.0 / overdispersion - 1.0
        chance = rng.beta(concentration * line, concentration * (1.0 - line))
    else:
        chance = line
    share = rng.binomial(counts.astype(np.int64), chance) / counts
    sd = np.sqrt(variance * (1.0 + (counts - 1.0) * overdispersion) / counts)
    data = split(rng, X, line, sd, coef, stated={"sample_weight": counts}, y=share)
    return replace(data, given_new={"counts": data.given_new["sample_weight"]})


def _logit(n: int, likelihood_is_beta: bool) -> Draw:
    """Return shares whose log odds are linear."""

    def draw(rng: Rng) -> Data:
        X, coef = rng.normal(size=(n + NEW_ROWS, 3)), np.array([1.0, -0.5, 0.0])
        line = 1.0 / (1.0 + np.exp(1.0 - X @ coef))
        counts = rng.integers(2, 60, len(X)).astype(np.float64)
        return _counted(rng, X, line, counts, coef, 0.05 if likelihood_is_beta else 0.0)

    return draw


_ONE = _normal(1)
_MEANS = np.array([95.0, 98.0, 100.0, 103.0, 107.0])
_TWELVE = 100.0 + np.linspace(-3.0, 3.0, 12)
_TEN_SLOPES = np.linspace(1.0, -1.0, 10)
_TWO_OF_TWENTY = np.append([1.0, -1.0], np.zeros(18))

_BASES: dict[str, Draw] = {
    "cubic powers of x in 0 to 10, n 50": linear(50, _powers(0.0, 10.0, 3), [-24.0, 8.0, -0.6], sd=2.0),
    "year and its square, n 60": linear(60, _years, _YEARS, intercept=2.0 + 0.0005 * 1990.0**2, sd=0.1),
    "powers up to 5 of x in 0 to 1, n 100": linear(
        100, _powers(0.0, 1.0, 5), [20.0, -100.0, 200.0, -150.0, 30.0], sd=0.3
    ),
    "two columns, correlation 0.995, opposite slopes, n 50": linear(50, _normal(2, 0.995), [10.0, -10.0]),
    "squares and products of 3 features, n 80": linear(
        80, _powers(0.0, 10.0, 2, 3), [1.0, -2.0, 0.5, 0.1, 0.2, -0.2, 0.0, 0.1, 0.0], sd=2.0
    ),
    "products of 4 features far from 0, n 60": linear(
        60, _powers(4.0, 6.0, 2, 4, interactions=True), [1.0, -1.0, 2.0, 0.0, 0.5, -0.5, 0.0, 0.0, 0.3, 0.0]
    ),
    "spline of 10 knots, n 200": _curve(200, 10, 0.5),
    "spline of 8 knots, n 25": _curve(25, 8, 0.3),
    "5 groups of 40 rows, all their columns": _groups(40, _MEANS, slopes_known=False),
    "12 groups of 60 rows, one column dropped": _groups(60, _TWELVE, drop="first", slopes_known=True),
    "a column of ones beside two features, n 40": linear(
        40, _beside_ones, [0.0, 1.0, -1.0], intercept=50.0, slopes_known=False
    ),
}
_WITHOUT_INTERCEPT: dict[str, Draw] = {
    "5 groups about 100, no intercept, n 40": _groups(40, _MEANS, slopes_known=True),
    "a line through 0, x in 50 to 60, n 20": linear(20, _uniform(50.0, 60.0), [2.0], intercept=0.0),
}
_FEATURES: dict[str, Draw] = {
    "3 features, n 60": linear(60, _normal(3), [1.0, -0.5, 0.25]),
    "20 weak features, n 60": linear(60, _normal(20), _drawn(20, 0.1)),
    "20 features, 2 matter, n 60": linear(60, _normal(20), _TWO_OF_TWENTY),
    "nothing matters, p 4, n 40": linear(40, _normal(4), np.zeros(4)),
    "45 features, n 50": linear(50, _normal(45), _drawn(45, 0.2)),
    "6 features, correlation 0.9, n 60": linear(60, _normal(6, 0.9), [1.0, -1.0, 0.5, 0.0, 0.0, 2.0]),
    "30 strong features, n 40": linear(40, _normal(30), _drawn(30, 3.0)),
    "as many features as rows, 40": linear(40, _normal(40), _drawn(40, 0.3)),
    "60 features, n 30": linear(30, _normal(60), _drawn(60, 0.3)),
    "one feature, n 5": linear(5, _ONE, [1.0]),
    "two features, n 6": linear(6, _normal(2), [1.0, -1.0]),
    "signal to noise 1,000, one feature, n 8": _snr(1000.0, 8, 1),
    "signal to noise 1,000, p 5, n 50": _snr(1000.0, 50, 5),
    "signal to noise 0.01, p 3, n 100": _snr(0.01, 100, 3),
    "signal to noise 0.01, p 3, n 2,000": _snr(0.01, 2000, 3),
    "10 features, n 2,000": linear(2000, _normal(10), _TEN_SLOPES),
    "50 features, n 2,000": linear(2000, _normal(50), _drawn(50, 0.2)),
    "features in units of 1e-9, 1 and 1e9, y in 1e-9": _in_units(
        50, [1e-9, 1.0, 1e9], [1.0, -0.5, 2.0], 1e-9
    ),
    "all in 1e9, and 1e3 spreads from 0": _in_units(50, [1e9, 1e9], [1.0, -1.0], 1e9, 1e3),
    "skewed features, n 100": linear(100, _skewed(3), [1.0, -0.5, 0.0]),
    "features with heavy tails, n 40": linear(
        40, lambda rng, rows: rng.standard_t(2.0, (rows, 2)), [1.0, -0.5]
    ),
    "noise with heavy tails, n 40": linear(40, _normal(2), [1.0, -0.5], noise=_heavy),
}
_NOISE: dict[str, Draw] = {
    **{
        f"{name}, n {n}": linear(
            n, _ONE, [1.0], errors=_lognormal_errors(0.5), stated=stated, scatter=scatter
        )
        for name, stated, scatter in (
            ("right errors", _as_they_are, 0.0),
            ("errors 1.5 times too small", lambda rng, errors: errors / 1.5, 0.0),
            ("scatter of 0.6 beside errors about 0.5", _as_they_are, 0.6),
        )
        for n in (12, 40)
    },
    **{f"errors of three replicates, n {n}": _replicates(n) for n in (12, 40)},
    **{f"equal errors, n {n}": linear(n, _ONE, [1.0], sd=0.5, stated=_as_they_are) for n in (12, 40)},
    "small errors beside a scatter of 1, n 40": linear(
        40, _normal(2), [1.0, -1.0], errors=_lognormal_errors(0.05), stated=_as_they_are, scatter=1.0
    ),
    "errors wrong by a factor of 1.6 either way, n 40": linear(
        40,
        _ONE,
        [1.0],
        errors=_lognormal_errors(0.5),
        stated=lambda rng, errors: errors * np.exp(0.5 * rng.normal(size=len(errors))),
    ),
    "stated errors, noise with heavy tails, n 40": linear(
        40, _ONE, [1.0], errors=_lognormal_errors(0.5), stated=_as_they_are, noise=_heavy
    ),
    "one useless reading, error 100, n 31": _useless,
    "right errors, p 4, n 2,000": linear(
        2000, _normal(4), [1.0, -1.0, 0.5, 0.0], errors=_lognormal_errors(0.5), stated=_as_they_are
    ),
    "right errors, 20 weak features, n 60": linear(
        60, _normal(20), _drawn(20, 0.1), errors=_lognormal_errors(0.5), stated=_as_they_are
    ),
}
_TWO_AND_EXACT = _beside([0.9, 0.98, 0.9])
_FEATURE_ERRORS: dict[str, Draw] = {
    **{f"reliability {r:g}, n {n}": _one(n, r) for r, n in ((0.1, 50), (0.1, 200), (0.2, 50), (0.2, 200))},
    **{f"reliability {r:g}, n 50": _one(50, r) for r in (0.4, 0.7, 0.95)},
    **{f"reliability {r:g}, slope 0.3, n 50": _one(50, r, 0.3) for r in (0.4, 0.7)},
    "reliability 0.5, n 2,000": _one(2000, 0.5),
    "reliability 0.7, n 10": _one(10, 0.7),
    "reliability 0.5, errors differ by row, n 100": _one(100, 0.5, by_row=0.5),
    "reliability 0.5, errors of y stated, n 40": _one(40, 0.5, y_err=True),
    "reliability 0.5, one useless reading, n 61": _useless_x,
    "reliability 0.5, skewed feature, n 100": measured_features(100, _skewed(1), [2.0], [1.0]),
    "reliability 0.2, exact feature, correlation 0.95, n 50": measured_features(
        50, _normal(2, 0.95), [2.0, -1.0], [_error(0.2), 0.0]
    ),
    "reliability 0.7, exact feature, correlation 0.98, n 100": measured_features(
        100, _normal(2, 0.98), [2.0, -1.0], [_error(0.7), 0.0]
    ),
    "two of reliability 0.5, correlation 0.5, n 100": measured_features(
        100, _normal(2, 0.5), [1.0, -1.0], [1.0, 1.0]
    ),
    "two of reliability 0.8, correlation 0.98, n 200": measured_features(
        200, _normal(2, 0.98), [1.0, -1.0], [0.5, 0.5]
    ),
    "two of reliability 0.8, an exact one, correlations 0.9 to 0.98, n 200": measured_features(
        200, _TWO_AND_EXACT, [1.0, -1.0, 1.0], [0.5, 0.5, 0.0]
    ),
    "reliability 0.5, x and its errors in 1e-9, n 50": measured_features(
        50, lambda rng, rows: 1e-9 * rng.normal(size=(rows, 1)), [2e9], [1e-9]
    ),
}
_SHARES: dict[str, Draw] = {
    "shares of 1e-4, counts of 1,000 to 1e6": _tiny_shares(1e-4, (1e3, 1e6)),
    "shares of 1e-5, counts of 1e4 to 1e7": _tiny_shares(1e-5, (1e4, 1e7)),
    "shares of 1e-4, overdispersed": _tiny_shares(1e-4, (1e3, 1e6), 2e-5),
}
_PHONES: dict[str, Draw] = {
    f"share {share:g}, {low} to {high:,} messages, {'overdispersed, ' if over else ''}n {n:,}": _phones(
        share, (low, high), over, n
    )
    for n in (200, 2000)
    for low, high, shares in ((2, 1000, (0.01, 0.03, 0.1, 0.3)), (2, 20, (0.01, 0.03, 0.1)))
    for share in shares
    for over in (0.0, 0.02)
}
_HARDLY_VARIES = "the readings do not tell how much the feature varies"
_BEYOND = {
    f"reliability {r:g}, n {n}": _HARDLY_VARIES for r, n in ((0.1, 50), (0.1, 200), (0.2, 50))
}  # flat priors cover the line as little
_HEAVY_TAILS = linear(60, _normal(3), [1.0, -0.5, 0.0], noise=_heavy)


def _designs() -> dict[str, Design]:
    groups: tuple[tuple[str, dict[str, Draw], dict[str, Any]], ...] = (
        ("bases", _BASES, {}),
        ("bases", _WITHOUT_INTERCEPT, {"fit_intercept": False}),
        ("features", _FEATURES, {}),
        (
            "features",
            {"noise with heavy tails, Student's t likelihood, n 60": _HEAVY_TAILS},
            {"likelihood": "student_t"},
        ),
        ("noise", _NOISE, {}),
        ("noise", {"five readings that agree too well, known errors": _five}, {"noise": "known"}),
        ("feature-errors", _FEATURE_ERRORS, {}),
        ("shares", _SHARES, {"weight_type": "counts"}),
        ("shares", {"log odds, binomial likelihood, n 100": _logit(100, False)}, {"likelihood": "binomial"}),
        (
            "shares",
            {"log odds, beta-binomial likelihood, n 100": _logit(100, True)},
            {"likelihood": "beta_binomial"},
        ),
        ("phones", _PHONES, {"weight_type": "counts"}),
    )
    return {
        name: Design(name, group, draw, estimator, _BEYOND.get(name, ""))
        for group, draws, estimator in groups
        for name, draw in draws.items()
    }


DESIGNS = _designs()
"""Every design by its name."""
