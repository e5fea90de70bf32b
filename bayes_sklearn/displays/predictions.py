"""Predictions beside measurements, and what their uncertainty is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measurements.checks import check_coverage, check_seed, check_vector, read_target
from ..prediction.distribution import PredictiveDistribution
from ..prediction.line import NormalPredictive
from ..prediction.of_estimators import predictive_distribution
from ..validation.stated_errors import error_bars
from .axes import BLUE, GREY, ORANGE, PARTS, Display, RowWeights, measured_alone, percent

__all__ = ["PredictionDisplay", "VarianceDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class PredictionDisplay(Display):
    """Predictions with their intervals against measurements with their error bars.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n,)
        Measurements and predicted means.
    interval : ndarray of shape (n, 2)
        Limits of intervals for the measurements.
    y_err : ndarray of shape (n,), optional
        Standard errors of the measurements.
    coverage : float
        Of the intervals.
    sample_weight : array-like of shape (n,), optional
        How often each row counts in the share of rows whose interval holds the measurement; 0 leaves it out.
    censored : array-like of shape (n,), optional
        -1 where the measurement is an upper limit, 1 where it is a lower one: arrows, of which nothing is counted.

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
    ):
        rows = RowWeights.of(sample_weight, len(y_true))
        self.y_true = y_true[rows.used]
        self.y_pred = y_pred[rows.used]
        self.interval = interval[rows.used]
        self.y_err = None if y_err is None else y_err[rows.used]
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
        subsample : int or None, default=300
            How many rows to draw at most, taken at random; None: all.
        random_state : int, RandomState or None, default=0
            Of the rows drawn.
        ax : matplotlib Axes, optional
        **predict_params
            ``X_err``, ``X_cov``, ``exposure``, as for `predictive_distribution`.
        """
        stated = {name: given for name, given in (("counts", counts), ("y_err", y_err)) if given is not None}
        distribution = predictive_distribution(estimator, X, **stated, **predict_params).of_measurements()
        bars = error_bars(estimator, X, counts, y_err, **predict_params)
        display = cls._of(y, distribution, bars, coverage, sample_weight)
        return display.plot(ax, subsample=subsample, random_state=random_state)

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
        coverage, subsample, random_state, ax
            As for `from_estimator`.
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
            ax, subsample=subsample, random_state=random_state
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
        censored, mean = distribution.censored, distribution.mean()
        return cls(target, mean, interval, y_err, coverage, sample_weight=sample_weight, censored=censored)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        subsample: int | None = 300,
        random_state: int | np.random.RandomState | None = 0,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.
        subsample : int or None, default=300
            How many rows to draw at most, taken at random; None: all.
        random_state : int, RandomState or None, default=0
            Of the rows drawn.

        Returns
        -------
        self
        """
        ax = self._open(ax, (5.4, 5.4))
        from matplotlib.colors import to_rgba

        n = len(self.y_true)
        held = (self.interval[:, 0] <= self.y_true) & (self.y_true <= self.interval[:, 1])
        rows = np.arange(n)
        if subsample is not None and subsample < n:
            rows = np.sort(check_seed(random_state).choice(n, subsample, replace=False))
        known = rows[self.censored[rows] == 0.0]
        self.inside, self.outside = known[held[known]], known[~held[known]]
        self.measurement_bars_ = None
        if self.y_err is not None:
            self.measurement_bars_ = ax.errorbar(
                self.y_true[known],
                self.y_pred[known],
                xerr=self.y_err[known],
                fmt="none",
                ecolor=GREY,
                elinewidth=0.6,
                alpha=0.5,
                zorder=1,
                label="measurement \N{PLUS-MINUS SIGN} its standard error",
            )
        self.limits_ = self._draw_limits(ax, rows)
        counted = np.where(self.censored == 0.0, self.sample_weight, 0.0)
        share = round(float(counted @ held / max(counted.sum(), np.finfo(float).tiny)), 3)
        self.inside_, self.outside_ = (
            ax.errorbar(
                self.y_true[part],
                self.y_pred[part],
                yerr=np.abs(self.interval[part].T - self.y_pred[part]),
                fmt="o",
                color=color,
                markersize=3.0,
                elinewidth=0.7,
                ecolor=to_rgba(color, 0.35),
                zorder=2,
                label=label,
            )
            for part, color, label in (
                (
                    self.inside,
                    BLUE,
                    f"{percent(self.coverage)} interval holds the measurement ({percent(share)} of rows)",
                ),
                (self.outside, ORANGE, f"interval misses it ({percent(round(1.0 - share, 3))})"),
            )
        )
        ends = self.y_true.min(), self.y_true.max()
        ax.plot(ends, ends, color="black", linewidth=0.8, linestyle="--", zorder=3)
        ax.set_xlabel("measured")
        ax.set_ylabel("predicted" if len(rows) == n else f"predicted ({len(rows)} of {n} rows)")
        self._legend()
        return self

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
            ecolor=GREY,
            elinewidth=0.6,
            alpha=0.6,
            zorder=1,
            label="limit of a measurement",
        )


class VarianceDisplay(Display):
    """What the variance of each prediction is made of, stacked.

    Parameters
    ----------
    parts : dict of str to ndarray of shape (n,)
        Name to variances that add up to a prediction's.
    by : ndarray of shape (n,)
        What the rows are ordered by.
    by_name : str
        Its name, for the axis.
    sample_weight : array-like of shape (n,), optional
        How often each row counts in the averages of tenths of the rows; 0 leaves it out.

    Attributes
    ----------
    bars_ : dict of str to BarContainer
        After `plot`: the parts' bars; a part that is zero everywhere has none.
    """

    def __init__(
        self,
        parts: dict[str, Array],
        by: Array,
        by_name: str = "predicted value",
        *,
        sample_weight: ArrayLike | None = None,
    ):
        rows = RowWeights.of(sample_weight, len(by))
        self.parts = {name: part[rows.used] for name, part in parts.items()}
        self.by = by[rows.used]
        self.by_name = by_name
        self.sample_weight = rows.weight

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        sample_weight: ArrayLike | None = None,
        by: ArrayLike | None = None,
        by_name: str | None = None,
        kind: Literal["auto", "rows", "deciles"] = "auto",
        share: bool = False,
        ax: Axes | None = None,
        **predict_params: Any,
    ) -> Self:
        """Draw for a fitted regressor, Pipeline or search.

        Parameters
        ----------
        estimator : fitted regressor
            Any whose predict takes ``return_std``; others than BayesianErrorsInVariablesRegressor have one part.
        X : array-like of shape (n, k)
        sample_weight : array-like of shape (n,), optional
            How often each row counts in the averages of tenths. The counts behind shares are ``counts``.
        by : array-like of shape (n,), optional
            What to order rows by, such as their counts; None: the predicted value.
        by_name : str, optional
            Its name, for the axis.
        kind, share
            As for `plot`.
        ax : matplotlib Axes, optional
        **predict_params
            ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``exposure``, as for `predictive_distribution`.
        """
        distribution = predictive_distribution(estimator, X, **predict_params)
        return cls.from_predictions(
            distribution, sample_weight=sample_weight, by=by, by_name=by_name, kind=kind, share=share, ax=ax
        )

    @classmethod
    def from_predictions(
        cls,
        y_pred: PredictiveDistribution,
        *,
        sample_weight: ArrayLike | None = None,
        by: ArrayLike | None = None,
        by_name: str | None = None,
        kind: Literal["auto", "rows", "deciles"] = "auto",
        share: bool = False,
        ax: Axes | None = None,
    ) -> Self:
        """Draw for a predictive distribution.

        Parameters
        ----------
        y_pred : PredictiveDistribution
        sample_weight, by, by_name, kind, share, ax
            As for `from_estimator`.
        """
        n = len(y_pred)
        order, name = y_pred.mean(), "predicted value"
        if by is not None:
            order, name = np.asarray(by, dtype=np.float64), by_name or getattr(by, "name", None) or "by"
        if order.shape != (n,) or not np.isfinite(order).all():
            raise ValueError(f"by must be {n} finite numbers, one a row, got shape {order.shape}.")
        display = cls(y_pred.variance_parts, order, name, sample_weight=sample_weight)
        return display.plot(ax, kind=kind, share=share)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["auto", "rows", "deciles"] = "auto",
        share: bool = False,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.
        kind : {"auto", "rows", "deciles"}, default="auto"
            One bar a row, or the average of each tenth of the rows; "auto": rows, where they are at most 60.
        share : bool, default=False
            Whether bars are percentages of the variance instead of variances.

        Returns
        -------
        self
        """
        labels = {
            "parameters": "line (parameters)",
            "feature_error": "errors of features",
            "scatter": "scatter about the line",
            "target_error": "stated errors of target",
            "finite_count": "finite counts",
            "total": "total",
        }
        most_rows_apart = 60
        if kind not in ("auto", "rows", "deciles"):
            raise ValueError(f"kind must be 'auto', 'rows' or 'deciles', got {kind!r}.")
        n = len(self.by)
        by_rows = kind == "rows" or (kind == "auto" and n <= most_rows_apart)
        order = np.argsort(self.by, kind="stable")
        groups = [order[i : i + 1] for i in range(n)] if by_rows else np.array_split(order, min(10, n))
        parts = {
            name: np.array([np.average(part[group], weights=self.sample_weight[group]) for group in groups])
            for name, part in self.parts.items()
        }
        total = np.sum(list(parts.values()), axis=0)
        ax = self._open(ax, (6.4, 4.6))
        bottom = np.zeros(len(groups))
        place = np.arange(len(groups))
        self.bars_ = {}
        for name, part in parts.items():
            if not part.any():
                continue
            height = 100.0 * part / total if share else part
            self.bars_[name] = ax.bar(
                place,
                height,
                1.0 if by_rows else 0.8,
                bottom=bottom,
                color=PARTS.get(name),
                label=labels.get(name, name),
            )
            bottom = bottom + height
        if by_rows:
            ax.set_xlabel(f"rows in order of {self.by_name}")
            ax.set_xticks([])
        else:
            ranges = [(self.by[group].min(), self.by[group].max()) for group in groups]
            ax.set_xticks(place, [f"{low:.3g}\n{high:.3g}" for low, high in ranges], fontsize="small")
            ax.set_xlabel(f"{self.by_name}: least and largest of each tenth of the rows")
        ax.set_ylabel(
            "share of the variance (%)"
            if share
            else "variance of a new measurement\n(squared unit of the target)"
        )
        self._legend(columns=3)
        return self
