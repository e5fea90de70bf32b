"""How answers are scored over many data sets, and what is asked of the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc
from scipy.stats import t as student_t

from .calibration_data import Data
from .calibration_methods import COVERAGES, Answer, Limits

__all__ = ["ALARM", "LEAST", "Figures", "Rate", "Score", "best", "figures", "missed", "score", "stack"]

Array = NDArray[np.float64]

LEAST, MOST = 0.86, 0.95
"""How many of the 90% intervals are to hold the truth; above the second, no wider than under flat priors."""
RMSE_RATIO = 1.1
"""Of the root mean square error to the truth and that of the best other method."""
BIAS = 0.05
"""Of a mean slope, as a share of the true one."""
ALARM = 0.01
"""A figure is beyond its bound where chance alone, at the bound, makes such a figure less often than this."""
_NO_WIDER = 1.02
_ALTERNATIVES = ("flat priors", "least squares", "RidgeCV", "BayesianRidge", "regression calibration")


@dataclass(frozen=True, eq=False)
class Score:
    """An answer held against the truth; with a leading axis of data sets once stacked. NaN is what is not there."""

    slopes: Array
    """(p,)"""
    slopes_inside: Array
    """(p, 2) whether intervals of each coverage hold the true slopes."""
    slope_width: Array
    """(p,) of 90% intervals."""
    line_inside: Array
    """(NEW_ROWS, 2)"""
    line_width: Array
    """(NEW_ROWS,) of 90% intervals."""
    new_inside: Array
    """(NEW_ROWS, 2)"""
    square_error: Array
    """() mean square error of the line at the new rows."""
    seconds: Array
    """()"""
    warned: Array
    """()"""


def score(answer: Answer, data: Data) -> Score:
    """Hold an answer against the truth."""
    truth = np.full(data.X.shape[1], np.nan) if data.coef is None else data.coef
    return Score(
        answer.slopes if data.coef is not None else truth,
        _inside(answer.slope_limits, truth),
        _width(answer.slope_limits, truth),
        _inside(answer.line_limits, data.line_new),
        _width(answer.line_limits, data.line_new),
        _inside(answer.new_limits, data.y_new),
        np.asarray(np.mean((answer.mean - data.line_new) ** 2)),
        np.asarray(answer.seconds),
        np.asarray(float(answer.warned)),
    )


def stack(scores: Sequence[Score]) -> Score:
    """Return the scores of all data sets as one."""
    return Score(*(np.stack(values) for values in zip(*map(astuple, scores), strict=True)))


def _inside(limits: Limits, truth: Array) -> Array:
    if not limits:
        return np.full((len(truth), len(COVERAGES)), np.nan)
    held = [(limits[c][:, 0] <= truth) & (truth <= limits[c][:, 1]) for c in COVERAGES]
    return np.where(np.isnan(truth)[:, None], np.nan, np.column_stack(held))


def _width(limits: Limits, truth: Array) -> Array:
    return np.where(np.isnan(truth), np.nan, np.diff(limits[COVERAGES[0]])[:, 0] if limits else np.nan)


@dataclass(frozen=True)
class Rate:
    """How often something was covered, and how many independent counts that is worth."""

    value: float
    counts: float

    @classmethod
    def of(cls, inside: Array) -> Rate:
        """Return the rate of a (data sets, k) table, whose rows are independent and whose columns need not be."""
        by_set = inside.mean(axis=1)
        value, spread = float(by_set.mean()), float(by_set.var(ddof=1)) if len(by_set) > 1 else 0.0
        single = value * (1.0 - value)
        per_set = np.clip(single / spread, 1.0, inside.shape[1]) if spread > 0.0 else 1.0
        return cls(value, len(by_set) * float(per_set))

    def is_below(self, bound: float, alarm: float) -> bool:
        """Return whether a rate of `bound` gives so few so rarely: the binomial's lower tail."""
        hits = self.value * self.counts
        return self.value < bound and bool(betainc(self.counts - hits, hits + 1.0, 1.0 - bound) < alarm)

    def is_above(self, bound: float, alarm: float) -> bool:
        """Return whether a rate of `bound` gives so many so rarely."""
        hits = self.value * self.counts
        return self.value > bound and bool(betainc(hits, self.counts - hits + 1.0, bound) < alarm)


@dataclass(frozen=True)
class Figures:
    """What a method came to in one design; NaN is what it does not say."""

    data_sets: int
    slopes: tuple[float, ...]
    """Coverage of 90% and 99% intervals, of all slopes together."""
    worst_slope: float
    """Coverage of 90% intervals of the slope that is covered least."""
    line: tuple[float, ...]
    new: tuple[float, ...]
    worst_fifth: float
    """Coverage of 90% intervals of new measurements, in that fifth of them by noise where it is farthest from 90%."""
    slope_width: float
    """Geometric mean of the 90% intervals' widths."""
    line_width: float
    rmse: float
    slope_ratio: float
    """Mean slope by the true one: of those that least squares knows well, the one that is farthest off."""
    slope_ratio_error: float
    """Its Monte Carlo standard error."""
    slope_is_known: bool
    """Whether least squares knows it to 5%; if it knows none so well, it is the one it knows best."""
    warned: float
    seconds: float


def figures(found: Score, truth: Sequence[Data], standard: Score) -> Figures:
    """Return what a method came to, given the scores of least squares."""
    ratios, errors = _slope_ratios(found, truth)
    relative = _relative_errors(standard, truth)
    known = relative <= BIAS
    chosen = -1
    if known.any():
        chosen = int(np.argmax(np.where(known, np.abs(ratios - 1.0), -1.0)))
    elif np.isfinite(relative).any():
        chosen = int(np.nanargmin(relative))
    return Figures(
        len(truth),
        tuple(found.slopes_inside.mean(axis=(0, 1))),
        float(found.slopes_inside[..., 0].mean(axis=0).min()),
        tuple(found.line_inside.mean(axis=(0, 1))),
        tuple(found.new_inside.mean(axis=(0, 1))),
        _worst_fifth(found.new_inside[..., 0].ravel(), np.concatenate([data.sd_new for data in truth])),
        _geometric_mean(found.slope_width),
        _geometric_mean(found.line_width),
        float(np.sqrt(found.square_error.mean())),
        float(ratios[chosen]) if chosen >= 0 else np.nan,
        float(errors[chosen]) if chosen >= 0 else np.nan,
        bool(known.any()),
        float(found.warned.mean()),
        float(np.median(found.seconds)),
    )


def missed(scores: Mapping[str, Score], truth: Sequence[Data], alarm: float = ALARM) -> list[str]:
    """Return what the defaults miss of what is wanted, in words.

    Parameters
    ----------
    scores : dict
        Stacked scores by method; those of "default" and "least squares" are there.
    truth : sequence of Data
        The data sets behind them.
    alarm : float
        How probable a false alarm may be, for each figure.
    """
    own, others = scores["default"], scores.get("flat priors", scores["least squares"])
    words = []
    for what, inside in (
        ("slopes", own.slopes_inside),
        ("line", own.line_inside),
        ("new measurements", own.new_inside),
    ):
        rate = Rate.of(inside[..., 0])
        if rate.is_below(LEAST, alarm):
            words.append(f"{what} covered {rate.value:.0%}")
    if "slopes covered" not in " ".join(words):
        single = own.slopes_inside[..., 0]
        p = single.shape[1]
        worst = min((Rate.of(single[:, [j]]) for j in range(p)), key=lambda rate: rate.value)
        if worst.is_below(LEAST, alarm / p):
            words.append(f"one slope covered {worst.value:.0%}")
    for what, inside, width, wide in (
        ("slopes", own.slopes_inside, own.slope_width, others.slope_width),
        ("line", own.line_inside, own.line_width, others.line_width),
    ):
        ratio = _geometric_mean(width) / _geometric_mean(wide)
        rate = Rate.of(inside[..., 0])
        if rate.is_above(MOST, alarm) and ratio > _NO_WIDER:
            words.append(f"{what} covered {rate.value:.0%}, {ratio:.2f} times as wide as under flat priors")
    name = best(scores, len(truth))
    excess = own.square_error - RMSE_RATIO**2 * scores[name].square_error
    if _mean_is_positive(excess, alarm):
        ratio = np.sqrt(own.square_error.mean() / scores[name].square_error.mean())
        words.append(f"RMSE {_short(ratio)} times that of {name}")
    words += _biased(own, truth, scores["least squares"], alarm)
    return words


def best(scores: Mapping[str, Score], data_sets: int) -> str:
    """Return the method beside the defaults with the least error, of those that answered every time."""
    errors = {
        name: float(scores[name].square_error.mean())
        for name in _ALTERNATIVES
        if name in scores and len(scores[name].square_error) == data_sets
    }
    return min(errors, key=lambda name: errors[name])


def _biased(own: Score, truth: Sequence[Data], standard: Score, alarm: float) -> list[str]:
    """Return the mean slopes that are off by more than 5%, of those that least squares knows to 5%."""
    ratios, errors = _slope_ratios(own, truth)
    known = _relative_errors(standard, truth) <= BIAS
    if not known.any():
        return []
    off = np.abs(ratios - 1.0) - BIAS
    limit = student_t.isf(alarm / known.sum(), len(truth) - 1)
    bad = known & (off > limit * errors)
    return [f"mean slope {ratios[j]:.2f} of the true one" for j in np.flatnonzero(bad)[:1]]


def _slope_ratios(found: Score, truth: Sequence[Data]) -> tuple[Array, Array]:
    """Return the slopes' regression through 0 on the true ones, mean by truth where that is fixed, and its error."""
    true = _true_slopes(truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        square = np.mean(true**2, axis=0)
        ratios = np.mean(found.slopes * true, axis=0) / square
        rest = (found.slopes - ratios * true) * true
        return ratios, rest.std(axis=0, ddof=1) / square / np.sqrt(len(truth))


def _relative_errors(standard: Score, truth: Sequence[Data]) -> Array:
    """Return the standard errors of least squares' slopes by the slopes that it finds; NaN of slopes of 0.

    Errors of features move these slopes, one by another's: all count as known no better than the worst is.
    """
    true = _true_slopes(truth)
    ratios, _ = _slope_ratios(standard, truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(ratios) * np.sqrt(np.mean(true**2, axis=0))
        # A 90% interval of t is 3.3 to 4 standard errors wide where there are data to speak of.
        relative = np.where(size > 0.0, np.mean(standard.slope_width, axis=0) / 3.3 / size, np.nan)
    if "X_err" in truth[0].given and np.isfinite(relative).any():
        relative = np.full(relative.shape, np.nanmax(relative))
    return np.where(np.any(true != 0.0, axis=0), relative, np.nan)


def _true_slopes(truth: Sequence[Data]) -> Array:
    return np.array([np.full(data.X.shape[1], np.nan) if data.coef is None else data.coef for data in truth])


def _mean_is_positive(values: Array, alarm: float) -> bool:
    mean, error = float(values.mean()), float(values.std(ddof=1)) / np.sqrt(len(values))
    return mean > student_t.isf(alarm, len(values) - 1) * error


def _worst_fifth(inside: Array, noise: Array) -> float:
    if np.ptp(noise) <= 1e-9 * noise.max():
        return np.nan
    rates = [inside[part].mean() for part in np.array_split(np.argsort(noise, kind="stable"), 5)]
    return float(max(rates, key=lambda rate: abs(rate - COVERAGES[0])))


def _geometric_mean(values: Array) -> float:
    with np.errstate(divide="ignore"):
        return float(np.exp(np.mean(np.log(values))))


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10.0 else f"{ratio:,.0f}"
