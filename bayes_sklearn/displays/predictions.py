"""Predictions beside measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..measurements.checks import check_coverage, check_vector, read_target
from ..prediction.distribution import PredictiveDistribution
from ..prediction.line import NormalPredictive
from ..prediction.of_estimators import distribution_of_measured
from .drawing.axes import Display, percent
from .drawing.rows import RowWeights, drawn_rows, in_columns, measured_alone, stated_bars, tenths

__all__ = ["PredictionDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class PredictionDisplay(Display):
    """Predictions with their intervals against measurements with their error bars.

    Where a few values make up most of what was measured (outcomes 0 or 1, shares of few counts), such rows stand in
    columns that say little. Means of tenths of the rows are drawn instead, in order of what was predicted: a
    reliability diagram, with bars that say where the means of calibrated, independent predictions are [1]_.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n,)
        Measurements and predicted means; they and all but the weights are in the unit of y.
    interval : ndarray of shape (n, 2)
        Limits of intervals for the measurements.
    y_err : ndarray of shape (n,) or (2, n), optional
        Standard errors of the measurements; how far bars reach down and up, where measurements have bounds.
    coverage : float
        Of the intervals.
    sample_weight : array-like of shape (n,), optional
        How often each row counts in the share of rows whose interval holds the measurement; 0 leaves it out.
    censored : array-like of shape (n,), optional
        -1 where the measurement is an upper limit, 1 where it is a lower one: arrows, of which nothing is counted.
    y_std : ndarray of shape (n,), optional
        Standard deviations of the predictions, for the bars of means.

    Attributes
    ----------
    inside, outside : ndarray of intp
        Rows drawn whose interval holds the measurement, and those whose doesn't.
    inside_, outside_ : ErrorbarContainer
        After `plot`: predictions whose interval holds the measurement, and those whose doesn't.
    measurement_bars_ : ErrorbarContainer or None
        After `plot`: error bars of the measurements.
    limits_ : ErrorbarContainer or None
        After `plot`: limits.
    means_ : Line2D
        After ``plot(kind="deciles")``, which sets none of the former: means measured against means predicted.
    mean_bars_ : ErrorbarContainer or None
        After ``plot(kind="deciles")``: where they are, if predictions are calibrated.

    References
    ----------
    .. [1] Bröcker & Smith (2007), "Increasing the reliability of reliability diagrams", Weather and Forecasting 22,
       651-661.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import PredictionDisplay
    >>> y, mean, limits = np.array([1.0, 2.5]), np.array([1.2, 2.0]), np.array([[0.8, 1.6], [1.6, 2.4]])
    >>> display = PredictionDisplay(y, mean, limits).plot()
    >>> display.outside  # the second interval does not hold its measurement
    array([1])
    """

    def __init__(
        self,
        y_true: Array,
        y_pred: Array,
        interval: Array,
        y_err: Array | None = None,
        coverage: float = 0.95,
        *,
        sample_weight: ArrayLike | None = None,
        censored: Array | None = None,
        y_std: Array | None = None,
    ):
        rows = RowWeights.of(sample_weight, len(y_true))
        self.y_true = y_true[rows.used]
        self.y_pred = y_pred[rows.used]
        self.interval = interval[rows.used]
        self.y_err = None if y_err is None else y_err[..., rows.used]
        self.y_std = None if y_std is None else y_std[rows.used]
        self.coverage = coverage
        self.sample_weight = rows.weight
        self.censored = np.zeros(len(y_true))[rows.used] if censored is None else censored[rows.used]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        counts: ArrayLike | float | None = None,
        y_err: ArrayLike | float | None = None,
        coverage: float = 0.95,
        kind: Literal["auto", "rows", "deciles"] = "auto",
        subsample: int | None = 300,
        random_state: int | np.random.RandomState | None = 0,
        ax: Axes | None = None,
        **predict_params: Any,
    ) -> Self:
        """Draw for a fitted regressor, Pipeline or search.

        Parameters
        ----------
        estimator : fitted regressor
            Any whose predict takes ``return_std``.
        X : array-like of shape (n, k)
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), optional
            How often each row counts. The counts behind shares are ``counts``.
        counts, y_err : optional
            As for predict; error bars of the measurements are drawn where they, or columns of X, state errors.
        coverage : float, default=0.95
        kind, subsample, random_state
            As for `plot`.
        ax : matplotlib Axes, optional
        **predict_params
            ``X_err``, ``X_cov``, ``exposure``, as for `predictive_distribution`.

        Returns
        -------
        PredictionDisplay
            Drawn.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import PredictionDisplay
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8]
        >>> display = PredictionDisplay.from_estimator(BayesianErrorsInVariablesRegressor().fit(X, y), X, y)
        >>> display.interval.shape
        (4, 2)
        """
        stated = {name: given for name, given in (("counts", counts), ("y_err", y_err)) if given is not None}
        distribution = distribution_of_measured(estimator, X, y, **stated, **predict_params)
        target = read_target(y, n=len(distribution), weight=distribution.measured)
        bars = stated_bars(estimator, X, target, counts, y_err, **predict_params)
        display = cls._of(target, distribution, bars, coverage, sample_weight)
        return display.plot(ax, kind=kind, subsample=subsample, random_state=random_state)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike | PredictiveDistribution,
        y_std: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        y_err: ArrayLike | float | None = None,
        coverage: float = 0.95,
        kind: Literal["auto", "rows", "deciles"] = "auto",
        subsample: int | None = 300,
        random_state: int | np.random.RandomState | None = 0,
        ax: Axes | None = None,
    ) -> Self:
        """Draw for predictions: a distribution, or means and standard deviations.

        Parameters
        ----------
        y_true : array-like of shape (n,)
        y_pred : PredictiveDistribution, or array-like of shape (n,)
        y_std : array-like of shape (n,), optional
            With means.
        sample_weight : array-like of shape (n,), optional
            How often each row counts.
        y_err : float or array-like of shape (n,), optional
            Standard errors of the measurements, for their bars.
        coverage, kind, subsample, random_state, ax
            As for `from_estimator`.

        Returns
        -------
        PredictionDisplay
            Drawn.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn.displays import PredictionDisplay
        >>> PredictionDisplay.from_predictions([1.0, 2.5], y_pred=[1.2, 2.0], y_std=[0.2, 0.4]).interval.round(1)
        array([[0.8, 1.6],
               [1.2, 2.8]])
        """
        if isinstance(y_pred, PredictiveDistribution):
            if y_std is not None:
                raise ValueError(
                    "y_std is given, but y_pred is a distribution, which has its own: leave it out."
                )
            distribution = y_pred
        elif y_std is None:
            raise ValueError("y_std is missing: give it along with means, or a distribution as y_pred.")
        else:
            mean = np.asarray(y_pred, dtype=np.float64)
            std = np.broadcast_to(check_vector(y_std, len(mean), "y_std", positive=True), mean.shape)
            distribution = NormalPredictive(mean, std)
        n = len(distribution)
        bars = None if y_err is None else np.broadcast_to(check_vector(y_err, n, "y_err"), (n,))
        return cls._of(y_true, distribution, bars, coverage, sample_weight).plot(
            ax, kind=kind, subsample=subsample, random_state=random_state
        )

    @classmethod
    def _of(
        cls,
        y: ArrayLike,
        distribution: PredictiveDistribution,
        y_err: Array | None,
        coverage: float,
        sample_weight: ArrayLike | None,
    ) -> Self:
        check_coverage(coverage)
        target = read_target(y, n=len(distribution), weight=distribution.measured)
        sample_weight = measured_alone(distribution, sample_weight)
        interval = np.column_stack(distribution.interval(coverage))
        mean, std = distribution.mean_and_std()
        beside = {"censored": distribution.censored, "y_std": std}
        return cls(target, mean, interval, y_err, coverage, sample_weight=sample_weight, **beside)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["auto", "rows", "deciles"] = "auto",
        subsample: int | None = 300,
        random_state: int | np.random.RandomState | None = 0,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.
        kind : {"auto", "rows", "deciles"}, default="auto"
            Rows, or means of each tenth of them; "auto": means, where ten values make up more than half of what was
            measured.
        subsample : int or None, default=300
            How many rows to draw at most, taken at random; None: all. Means are of all.
        random_state : int, RandomState or None, default=0
            Of the rows drawn.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For another kind.
        """
        if kind not in ("auto", "rows", "deciles"):
            raise ValueError(f"kind must be 'auto', 'rows' or 'deciles', got {kind!r}.")
        ax = self._open(ax, (5.4, 5.4))
        known = np.flatnonzero(self.censored == 0.0)
        if len(known) and (kind == "deciles" or (kind == "auto" and in_columns(self.y_true[known]))):
            ends = self._draw_means(ax, known)
        else:
            self._draw_rows(ax, drawn_rows(len(self.y_true), subsample, random_state))
            ends = self.y_true.min(), self.y_true.max()
        ax.plot(ends, ends, color=self._inks.ink, linewidth=0.8, linestyle="--", zorder=3)
        self._legend()
        return self

    def _draw_rows(self, ax: Any, rows: NDArray[np.intp]) -> None:
        """Draw rows, with their intervals and error bars."""
        from matplotlib.colors import to_rgba

        n, inks = len(self.y_true), self._inks
        held = (self.interval[:, 0] <= self.y_true) & (self.y_true <= self.interval[:, 1])
        known = rows[self.censored[rows] == 0.0]
        self.inside, self.outside = known[held[known]], known[~held[known]]
        self.measurement_bars_ = None
        if self.y_err is not None:
            self.measurement_bars_ = ax.errorbar(
                self.y_true[known],
                self.y_pred[known],
                xerr=self.y_err[..., known],
                fmt="none",
                ecolor=inks.grey,
                elinewidth=0.6,
                alpha=0.5,
                zorder=1,
                label="measurement \N{PLUS-MINUS SIGN} its standard error",
            )
        self.limits_ = self._draw_limits(ax, rows)
        share = self._share(held)
        of_rows = f"holds the measurement ({percent(share)} of rows)"
        self.inside_, self.outside_ = (
            ax.errorbar(
                self.y_true[part],
                self.y_pred[part],
                yerr=np.abs(self.interval[part].T - self.y_pred[part]),
                fmt=marker,
                color=color,
                markersize=size,
                markeredgewidth=1.6,
                elinewidth=0.7,
                ecolor=to_rgba(color, 0.4),
                zorder=zorder,
                label=label,
            )
            for part, color, marker, size, zorder, label in (
                (self.inside, inks.blue, "o", 3.0, 2, f"{percent(self.coverage)} interval {of_rows}"),
                (
                    self.outside,
                    inks.orange,
                    "x",
                    6.0,
                    4,
                    f"interval misses it ({percent(round(1.0 - share, 3))})",
                ),
            )
        )
        ax.set_xlabel("measured")
        ax.set_ylabel("predicted" if len(rows) == n else f"predicted ({len(rows)} of {n} rows)")

    def _draw_means(self, ax: Any, known: NDArray[np.intp]) -> tuple[float, float]:
        """Draw means of tenths of the rows; return between what they are."""
        std = None if self.y_std is None else self.y_std[known]
        found = _Means.of(
            self.y_true[known], self.y_pred[known], std, self.sample_weight[known], self.coverage
        )
        inks = self._inks
        self.mean_bars_ = None
        if found.limits is not None:
            self.mean_bars_ = ax.errorbar(
                found.predicted,
                found.predicted,
                yerr=np.abs(found.limits.T - found.predicted),
                fmt="none",
                ecolor=inks.light,
                elinewidth=7.0,
                zorder=1,
                label=f"{percent(self.coverage)} of the time, if calibrated",
            )
        (self.means_,) = ax.plot(
            found.predicted,
            found.measured,
            "o",
            color=inks.blue,
            markersize=5.0,
            zorder=4,
            label="means of tenths of the rows" if len(known) >= 10 else "rows",
        )
        ax.set_xlabel(f"predicted (mean of each tenth of {len(known)} rows)")
        ax.set_ylabel("measured (mean)")
        drawn = np.concatenate([found.predicted, found.measured])
        return drawn.min(), drawn.max()

    def _share(self, held: NDArray[np.bool_]) -> float:
        """Return the share of the measured rows whose interval holds the measurement."""
        weight = np.where(self.censored == 0.0, self.sample_weight, 0.0)
        return round(float(weight @ held / max(weight.sum(), np.finfo(float).tiny)), 3)

    def _draw_limits(self, ax: Any, rows: NDArray[np.intp]) -> Any:
        """Draw arrows from the limits among rows; None: there are none."""
        rows = rows[self.censored[rows] != 0.0]
        if not len(rows):
            return None
        return ax.errorbar(
            self.y_true[rows],
            self.y_pred[rows],
            xerr=0.04 * float(np.ptp(self.y_true) or 1.0),
            yerr=np.abs(self.interval[rows].T - self.y_pred[rows]),
            fmt="none",
            xuplims=self.censored[rows] < 0.0,
            xlolims=self.censored[rows] > 0.0,
            capsize=2.0,
            ecolor=self._inks.grey,
            elinewidth=0.6,
            alpha=0.6,
            zorder=1,
            label="limit of a measurement",
        )


class _Means(NamedTuple):
    """Means of tenths of the rows, in order of what was predicted."""

    predicted: Array
    """(k,)"""
    measured: Array
    """(k,)"""
    limits: Array | None
    """(k, 2) between which the measured ones are, if predictions are right and rows independent, (62a)."""

    @classmethod
    def of(cls, y: Array, mean: Array, std: Array | None, weight: Array, coverage: float) -> _Means:
        groups = tenths(mean)
        shares = [weight[group] / weight[group].sum() for group in groups]
        predicted, measured = (
            np.array([share @ of[group] for share, group in zip(shares, groups, strict=True)])
            for of in (mean, y)
        )
        if std is None:
            return cls(predicted, measured, None)
        variance = np.array(
            [np.square(share) @ np.square(std[group]) for share, group in zip(shares, groups, strict=True)]
        )
        levels = 0.5 + np.array([[-0.5], [0.5]]) * coverage
        limits = np.asarray(stats.norm.ppf(levels, predicted, np.sqrt(variance)))
        # Means of shares are shares: the beta distribution of the same mean and variance has their skewness, too.
        most = predicted * (1.0 - predicted)
        share = (y.min() >= 0.0) & (y.max() <= 1.0) & (variance > 0.0) & (variance < most)
        strength = most[share] / variance[share] - 1.0
        limits[:, share] = stats.beta.ppf(
            levels, predicted[share] * strength, (1.0 - predicted[share]) * strength
        )
        return cls(predicted, measured, limits.T)
