"""Data whose shares are k of n: simulated phones with a known truth, and a small published table.

Both come in scikit-learn's form, a :class:`~sklearn.utils.Bunch` with ``data`` and ``target``, and
with ``counts`` beside them: how many trials each share rests on, the ``sample_weight`` of a fit.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtr
from sklearn.utils import Bunch, check_scalar

from .measurements.checks import as_floats, check_n_samples, check_seed
from .measurements.messages import shown

__all__ = ["load_seeds", "make_role_modeling"]

Array = NDArray[np.float64]

Counts = NDArray[np.int64]


class _Feature(NamedTuple):
    """A simulated feature: a Beta(a, b) variable stretched from (0, 1) to (low, high)."""

    name: str
    low: float
    high: float
    a: float
    b: float

    @property
    def mean(self) -> float:
        """The feature's expected value."""
        return self.low + (self.high - self.low) * self.a / (self.a + self.b)


# Bounded on purpose: a share that is linear in unbounded features would leave [0, 1] and need
# clipping, and a clipped truth is no longer linear.
_PHONE_FEATURES = (
    _Feature("degree_centrality", 0.0, 0.5, 1.5, 6.0),
    _Feature("betweenness_centrality", 0.0, 0.3, 0.5, 6.0),
    _Feature("message_burstiness", -1.0, 1.0, 6.0, 4.0),
    _Feature("reciprocity", 0.0, 1.0, 6.0, 4.0),
)

# Correlations of the normal variables behind the features (a Gaussian copula), in their order: who
# knows many also stands between many, and answers a smaller part of them; so does who writes in
# bursts.
_PHONE_CORRELATION = (
    (1.0, 0.8, 0.0, -0.3),
    (0.8, 1.0, 0.0, -0.2),
    (0.0, 0.0, 1.0, -0.2),
    (-0.3, -0.2, -0.2, 1.0),
)

# Far beyond any intercept that gives shares.
_LARGEST = 1e9

# Crowder (1978), Table 3: germinated seeds and all seeds of each plate, by cell of the design.
_SEEDS_CELLS = (
    # seed_73, cucumber, germinated, seeds
    (0, 0, (10, 23, 23, 26, 17), (39, 62, 81, 51, 39)),
    (0, 1, (5, 53, 55, 32, 46, 10), (6, 74, 72, 51, 79, 13)),
    (1, 0, (8, 10, 8, 23, 0), (16, 30, 28, 45, 4)),
    (1, 1, (3, 22, 15, 32, 3), (12, 41, 30, 51, 7)),
)


@overload
def make_role_modeling(
    n_samples: int = ...,
    *,
    coef: ArrayLike | None = ...,
    intercept: float | None = ...,
    mean_share: float | None = ...,
    messages: tuple[int, int] = ...,
    overdispersion: float = ...,
    random_state: int | RandomState | None = ...,
    as_frame: bool = ...,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def make_role_modeling(
    n_samples: int = ...,
    *,
    coef: ArrayLike | None = ...,
    intercept: float | None = ...,
    mean_share: float | None = ...,
    messages: tuple[int, int] = ...,
    overdispersion: float = ...,
    random_state: int | RandomState | None = ...,
    as_frame: bool = ...,
    return_X_y: Literal[True],
) -> tuple[Any, Any]: ...


def make_role_modeling(
    n_samples: int = 200,
    *,
    coef: ArrayLike | None = None,
    intercept: float | None = None,
    mean_share: float | None = None,
    messages: tuple[int, int] = (2, 1000),
    overdispersion: float = 0.0,
    random_state: int | RandomState | None = None,
    as_frame: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Simulate phones and the share of their messages that are on topic.

    Each row is a phone. Its true share is linear in four features, exactly and for every phone, so
    the truth that a linear fit should find is known. The number of messages differs by orders of
    magnitude between phones, and with it how much an observed share says.

    ======================  =========  =====  =====  ========  ==============
    feature                 range      mean   sd     skewness  coefficient
    ======================  =========  =====  =====  ========  ==============
    degree_centrality       0 to 0.5   0.100  0.069   0.9       0.4 (strong)
    betweenness_centrality  0 to 0.3   0.023  0.029   2.0       0 (none)
    message_burstiness      -1 to 1    0.200  0.295  -0.2      -0.025 (weak)
    reciprocity             0 to 1     0.600  0.148  -0.2       0.125 (strong)
    ======================  =========  =====  =====  ========  ==============

    With the default intercept, 0.04, every share lies between 0.015 and 0.39. Degree and
    betweenness correlate at 0.75: by itself betweenness seems to matter, beside degree it does not.

    Parameters
    ----------
    n_samples : int, default=200
        Number of phones.
    coef : array-like of shape (4,), default=None
        True coefficients: change of the share per unit of the feature. None: those of the table,
        times ``mean_share / 0.15``.
    intercept : float, default=None
        True share where all features are 0. None: what makes the expected share `mean_share`.
    mean_share : float, default=None
        Expected true share of a phone. It determines the intercept, so only one of the two can be
        given. None: 0.15. With the default `coef`, any value up to 0.38 keeps all shares below 1.
    messages : tuple of two int, default=(2, 1000)
        Fewest and most messages of a phone. Counts are log-uniform between: there are about as
        many phones with 2 to 20 messages as with 20 to 200.
    overdispersion : float, default=0.0
        Intraclass correlation of a phone's messages, at least 0 and below 1. At 0 they are
        independent and the number on topic is binomial, above 0 it is beta-binomial.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same phones at every call. Their features and counts then do not depend
        on `coef`, `intercept`, `mean_share` or `overdispersion`.
    as_frame : bool, default=True
        Whether to return pandas objects instead of arrays.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` alone, without the counts.

    Returns
    -------
    bunch : Bunch
        Dictionary-like object with the attributes

        data : DataFrame or ndarray of shape (n_samples, 4)
            The features.
        target : Series or ndarray of shape (n_samples,)
            Observed share of messages on topic: a whole number divided by the count.
        counts : Series or ndarray of shape (n_samples,)
            Number of messages.
        true_share : Series or ndarray of shape (n_samples,)
            ``intercept + data @ coef``.
        coef : ndarray of shape (4,)
            True coefficients.
        intercept : float
            True intercept.
        feature_names : list of str
            Names of the features.
        frame : DataFrame of shape (n_samples, 6) or None
            With `as_frame`: the features, ``messages`` (the counts) and ``share`` (the target).
        DESCR : str
            This text.
    (data, target) : tuple if `return_X_y`

    Raises
    ------
    ValueError
        If an argument is outside its range, if `intercept` and `mean_share` are both given, or if
        a share would be 0 or below, or 1 or above, anywhere within the features' ranges.
    TypeError
        If a number is not one.

    Notes
    -----
    Given the true share p, the observed share of n messages with overdispersion rho has the
    variance ``p * (1 - p) / n * (1 + (n - 1) * rho)`` [1]_. A phone has n messages with probability
    ``log((n + 1) / n) / log((most + 1) / fewest)``.

    The features are scaled beta variables joined by a Gaussian copula. They look like what they are
    named for: normalised degree and betweenness [2]_, the burstiness (sd - mean) / (sd + mean) of
    the times between messages [3]_, and the share of contacts who write back. No network is
    simulated.

    References
    ----------
    .. [1] Williams (1982). Extra-binomial variation in logistic linear models. Applied Statistics
       31:144-148.
    .. [2] Freeman (1978). Centrality in social networks: conceptual clarification. Social Networks
       1:215-239.
    .. [3] Goh and Barabasi (2008). Burstiness and memory in complex systems. Europhysics Letters
       81:48002.

    Examples
    --------
    >>> from bayes_sklearn.datasets import make_role_modeling
    >>> phones = make_role_modeling(random_state=0)
    >>> phones.frame[["degree_centrality", "reciprocity", "messages", "share"]].head(3).round(3)
       degree_centrality  reciprocity  messages  share
    0              0.245        0.802        98  0.306
    1              0.255        0.452       184  0.168
    2              0.079        0.802         2  0.000
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    n_samples = check_n_samples(n_samples)
    fewest, most = _check_messages(messages)
    check_scalar(overdispersion, "overdispersion", Real)
    # Not a bound of check_scalar, which lets NaN pass.
    if not 0.0 <= overdispersion < 1.0:
        raise ValueError(f"overdispersion must be at least 0 and below 1, got {shown(overdispersion)}.")
    slopes, offset = _linear_truth(coef, intercept, mean_share)

    # Features and counts are drawn first, so that they do not depend on the truth.
    rng = check_seed(random_state)
    X = _phone_features(n_samples, rng)
    counts = _log_uniform_counts(n_samples, fewest, most, rng)
    true_share = offset + X @ slopes
    on_topic = _beta_binomial(counts, true_share, overdispersion, rng)

    bunch = _as_bunch(
        X,
        [feature.name for feature in _PHONE_FEATURES],
        target=("share", on_topic / counts),
        counts=("messages", counts),
        others={"true_share": true_share},
        as_frame=as_frame,
    )
    bunch.update(coef=slopes, intercept=offset, DESCR=inspect.getdoc(make_role_modeling))
    return (bunch.data, bunch.target) if return_X_y else bunch


@overload
def load_seeds(*, return_X_y: Literal[False] = ..., as_frame: bool = ...) -> Bunch: ...


@overload
def load_seeds(*, return_X_y: Literal[True], as_frame: bool = ...) -> tuple[Any, Any]: ...


def load_seeds(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load the germination of Orobanche seeds on 21 plates.

    Seeds of two types of the parasitic plant Orobanche aegyptiaca, 75 and 73, were put on plates
    with an extract of bean or of cucumber roots, and those that germinated were counted: 4 to 81
    seeds a plate, five or six plates for each of the four combinations. The plates differ by
    somewhat more than their finite numbers of seeds explain.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` alone, without the counts.
    as_frame : bool, default=False
        Whether to return pandas objects instead of arrays.

    Returns
    -------
    bunch : Bunch
        Dictionary-like object with the attributes

        data : ndarray or DataFrame of shape (21, 3)
            ``seed_73``: 1 for type 73, 0 for type 75. ``cucumber``: 1 for the extract of cucumber,
            0 for bean. ``seed_73_cucumber``: their product, the interaction.
        target : ndarray or Series of shape (21,)
            Share of the plate's seeds that germinated.
        counts : ndarray or Series of shape (21,)
            Number of seeds on the plate.
        feature_names : list of str
            Names of the features.
        frame : DataFrame of shape (21, 5) or None
            With `as_frame`: the features, ``seeds`` (the counts) and ``share`` (the target).
        DESCR : str
            This text.
    (data, target) : tuple if `return_X_y`

    Notes
    -----
    Source: Table 3 of Crowder [1]_; analysed again by Breslow and Clayton [2]_ and often reprinted
    since. Rights: the figures of the table are facts, which anyone may use, and are given here with
    their source; nothing of its text is reproduced.

    References
    ----------
    .. [1] Crowder (1978). Beta-binomial anova for proportions. Applied Statistics 27:34-37.
    .. [2] Breslow and Clayton (1993). Approximate inference in generalized linear mixed models.
       Journal of the American Statistical Association 88:9-25.

    Examples
    --------
    >>> from bayes_sklearn.datasets import load_seeds
    >>> load_seeds(as_frame=True).frame.head(3).round(3)
       seed_73  cucumber  seed_73_cucumber  seeds  share
    0      0.0       0.0               0.0     39  0.256
    1      0.0       0.0               0.0     62  0.371
    2      0.0       0.0               0.0     81  0.284
    """
    rows = [
        (seed_73, cucumber, seed_73 * cucumber, germinated, seeds)
        for seed_73, cucumber, *plates in _SEEDS_CELLS
        for germinated, seeds in zip(*plates, strict=True)
    ]
    table = np.array(rows, dtype=np.int64)
    germinated, seeds = table[:, 3], table[:, 4]
    bunch = _as_bunch(
        table[:, :3].astype(np.float64),
        ["seed_73", "cucumber", "seed_73_cucumber"],
        target=("share", germinated / seeds),
        counts=("seeds", seeds),
        as_frame=as_frame,
    )
    bunch.update(DESCR=inspect.getdoc(load_seeds))
    return (bunch.data, bunch.target) if return_X_y else bunch


def _check_messages(messages: tuple[int, int]) -> tuple[int, int]:
    """Return the fewest and the most messages, or raise."""
    try:
        fewest, most = messages
        whole = isinstance(fewest, Integral) and isinstance(most, Integral)
    except (TypeError, ValueError):
        whole = False
    if not (whole and 1 <= fewest <= most):
        raise ValueError(
            "messages must be a pair of whole numbers, the fewest (1 or more) and the most (no "
            f"fewer), got {shown(messages)}."
        )
    return fewest, most


def _linear_truth(
    coef: ArrayLike | None, intercept: float | None, mean_share: float | None
) -> tuple[Array, float]:
    """Return the true coefficients and intercept, or raise where a share could leave (0, 1)."""
    # At that mean share. Two effects that 200 phones show plainly (one standard deviation of the
    # feature moves the share by 0.027 and 0.018), a weak one (0.007), and none for betweenness, which
    # its correlation with degree makes look like one.
    phone_coef = (0.4, 0.0, -0.025, 0.125)
    phone_mean_share = 0.15
    if intercept is not None:
        check_scalar(intercept, "intercept", Real, min_val=-_LARGEST, max_val=_LARGEST)
        if mean_share is not None:
            raise ValueError("intercept and mean_share determine each other: give only one.")
    if mean_share is None:
        mean_share = phone_mean_share
    check_scalar(mean_share, "mean_share", Real, min_val=-_LARGEST, max_val=_LARGEST)

    if coef is None:
        slopes = np.array(phone_coef) * (mean_share / phone_mean_share)
    else:
        try:
            slopes = as_floats(coef).copy()
        except TypeError:
            raise TypeError(f"coef must be real numbers, got {shown(coef)}.") from None
    if slopes.shape != (len(_PHONE_FEATURES),):
        names = ", ".join(feature.name for feature in _PHONE_FEATURES)
        raise ValueError(
            f"coef must be {len(_PHONE_FEATURES)} numbers, one each for {names}; "
            f"got an array of shape {slopes.shape}."
        )
    if intercept is None:
        # The share is linear, so its mean is the share at the features' means.
        means = np.array([feature.mean for feature in _PHONE_FEATURES])
        intercept = mean_share - float(slopes @ means)

    # All that the features could be is checked, not the phones drawn: whether a truth is accepted
    # must not depend on the seed.
    reach = np.array([(feature.low, feature.high) for feature in _PHONE_FEATURES]).T * slopes
    lowest = intercept + reach.min(axis=0).sum()
    highest = intercept + reach.max(axis=0).sum()
    if not (lowest > 0.0 and highest < 1.0):
        raise ValueError(
            f"coef and intercept (or mean_share) give true shares from {lowest:.3g} to "
            f"{highest:.3g} within the features' ranges; all have to be above 0 and below 1. Make "
            "coef smaller, or change intercept or mean_share."
        )
    return slopes, float(intercept)


def _phone_features(n_samples: int, rng: RandomState) -> Array:
    """Draw the features, (n_samples, 4): correlated normals made uniform, and then beta."""
    factor = np.linalg.cholesky(np.array(_PHONE_CORRELATION))
    uniform = ndtr(rng.standard_normal((n_samples, len(factor))) @ factor.T)
    columns = [
        feature.low + (feature.high - feature.low) * betaincinv(feature.a, feature.b, u)
        for feature, u in zip(_PHONE_FEATURES, uniform.T, strict=True)
    ]
    return np.column_stack(columns)


def _log_uniform_counts(n_samples: int, fewest: int, most: int, rng: RandomState) -> Counts:
    """Draw whole numbers, n with a probability proportional to log((n + 1) / n)."""
    counts = np.floor(np.exp(rng.uniform(np.log(fewest), np.log(most + 1), n_samples)))
    # Rounding in exp(log(.)) may put a draw at an end just past it.
    return np.clip(counts, fewest, most).astype(np.int64)


def _beta_binomial(counts: Counts, share: Array, correlation: float, rng: RandomState) -> Counts:
    """Draw successes in `counts` trials, of mean `share` and the given intraclass correlation."""
    if correlation > 0.0:
        concentration = (1.0 - correlation) / correlation
        share = rng.beta(share * concentration, (1.0 - share) * concentration)
    return rng.binomial(counts, share).astype(np.int64)


def _as_bunch(
    X: Array,
    feature_names: list[str],
    *,
    target: tuple[str, Array],
    counts: tuple[str, Counts],
    as_frame: bool,
    others: Mapping[str, Array] | None = None,
) -> Bunch:
    """Return features and named columns in a Bunch, as arrays or as pandas objects."""
    columns = {"target": target, "counts": counts}
    columns |= {name: (name, values) for name, values in (others or {}).items()}
    if not as_frame:
        arrays = {key: values for key, (_, values) in columns.items()}
        return Bunch(data=X, **arrays, frame=None, feature_names=feature_names)

    import pandas as pd

    data = pd.DataFrame(X, columns=feature_names)
    series = {key: pd.Series(values, name=name) for key, (name, values) in columns.items()}
    frame = pd.concat([data, series["counts"], series["target"]], axis=1)
    return Bunch(data=data, **series, frame=frame, feature_names=feature_names)
