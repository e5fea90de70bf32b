"""Calibration: whether predicted probabilities come true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .. import metrics
from ..prediction.distribution import PredictiveDistribution
from ..prediction.of_estimators import distribution_of_measured
from .drawing.axes import Display
from .drawing.rows import RowWeights, measured_alone

__all__ = ["CalibrationDisplay", "PITDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

# The weights of a mixture add up to 1 within rounding only.
_ROUNDING = 1e-9


class _OfPIT(Display):
    """A display of probability integral transforms.

    Parameters
    ----------
    pit, width, sample_weight
        As for `CalibrationDisplay`.
    """

    def __init__(
        self, pit: ArrayLike, width: ArrayLike | None = None, *, sample_weight: ArrayLike | None = None
    ):
        values = np.asarray(pit, dtype=np.float64)
        # Rows of weight 0 may have no value: leave-one-out gives them none.
        rows = RowWeights.of(sample_weight, len(values) if values.ndim else 1)
        kept = values[rows.used] if values.ndim == 1 else values
        if kept.ndim != 1 or not len(kept) or not ((kept >= 0.0) & (kept <= 1.0)).all():
            raise ValueError("pit must be numbers in [0, 1], one per row: give what `metrics.pit` returns.")
        widths = np.zeros(len(values)) if width is None else np.asarray(width, dtype=np.float64)
        if widths.shape != values.shape or not (widths[rows.used] >= 0.0).all():
            raise ValueError(f"width must be {len(values)} numbers from 0, one for each value of pit.")
        self.pit = kept
        self.width = widths[rows.used]
        self.sample_weight = rows.weight
        self.total = rows.total
        self.n_effective = rows.n_effective

    def _share_below(self, levels: Array) -> Array:
        """Return the (weighted) share of rows at or below each level."""
        known = self.width == 0.0
        order = np.argsort(self.pit[known])
        up_to = np.concatenate([[0.0], np.cumsum(self.sample_weight[known][order])])
        at_points = up_to[np.searchsorted(self.pit[known][order], levels, side="right")]
        low, width, weight = (
            (self.pit - 0.5 * self.width)[~known],
            self.width[~known],
            self.sample_weight[~known],
        )
        spread = np.array([weight @ np.clip((level - low) / width, 0.0, 1.0) for level in levels])
        return (at_points + spread) / self.total

    def _binomial_limits(self, probability: Array | float) -> Array:
        """Return the limits of a share in 95% of cases, (..., 2)."""
        n = self.n_effective
        return np.stack([stats.binom.ppf(q, n, probability) / n for q in (0.025, 0.975)], axis=-1)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        ax: Axes | None = None,
        **predict_params: Any,
    ) -> Self:
        """Draw for a fitted regressor, Pipeline or search, best on rows held out.

        Parameters
        ----------
        estimator : fitted regressor
            Any whose predict takes ``return_std``.
        X : array-like of shape (n, k)
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), optional
            How often each row counts. The counts behind shares are ``counts``.
        ax : matplotlib Axes, optional
        **predict_params
            ``counts``, ``y_err``, ``X_err``, ``X_cov``, ``exposure``, as for `predictive_distribution`.

        Returns
        -------
        CalibrationDisplay or PITDisplay
            Drawn.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import PITDisplay
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8]
        >>> PITDisplay.from_estimator(BayesianErrorsInVariablesRegressor().fit(X, y), X, y).n_effective
        4
        """
        distribution = distribution_of_measured(estimator, X, y, **predict_params)
        return cls.from_predictions(y, distribution, sample_weight=sample_weight, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike | PredictiveDistribution,
        y_std: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
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
        ax : matplotlib Axes, optional

        Returns
        -------
        CalibrationDisplay or PITDisplay
            Drawn.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn.displays import CalibrationDisplay
        >>> CalibrationDisplay.from_predictions([1.0, 2.5], y_pred=[1.2, 2.0], y_std=[0.2, 0.4]).pit.round(2)
        array([0.16, 0.89])
        """
        pit = metrics.pit(y_true, y_pred, y_std)
        width = None
        if isinstance(y_pred, PredictiveDistribution):
            # PIT values of discrete distributions lie in the middle of the jump of the cdf.
            width = np.maximum(2.0 * (y_pred.cdf(np.asarray(y_true, dtype=np.float64).ravel()) - pit), 0.0)
            width[width < _ROUNDING] = 0.0
            sample_weight = measured_alone(y_pred, sample_weight)
        return cls(pit, width, sample_weight=sample_weight).plot(ax)


class CalibrationDisplay(_OfPIT):
    """How many rows predicted intervals hold, against how many they should.

    The band is where the curve of calibrated, independent predictions is at one coverage in 95% of cases (binomial).
    Weights make shares weighted ones. A row that counts k times has been measured once, so that the band is that of
    Kish's effective number of rows, ``sum(w)**2 / sum(w**2)`` [2]_: with the same weight for all rows their number,
    and not k times as many.

    Parameters
    ----------
    pit : array-like of shape (n,)
        Predictive cdf of each row at what was measured, as `bayes_sklearn.metrics.pit` returns.
    width : array-like of shape (n,), optional
        Predicted probability of exactly what was measured, where that is discrete (shares of few counts): such a row
        is spread evenly over as much about its PIT value, as in [1]_; else it would look too well predicted.
    sample_weight : array-like of shape (n,), optional
        How often each row counts; 0 leaves it out, and its PIT value may be NaN.

    Attributes
    ----------
    n_effective : int
        Of how many rows the band is; fewer than rows are given where weights differ.
    nominal, observed : ndarray of shape (99,)
        Coverage that the intervals claim, and share of rows that they hold.
    band : ndarray of shape (99, 2)
        Binomial limits of the observed coverage.
    line_ : Line2D
        After `plot`: the curve.
    band_ : PolyCollection
        After `plot`: the band.

    References
    ----------
    .. [1] Czado, Gneiting & Held (2009), "Predictive model assessment for count data", Biometrics 65, 1254-1261.
    .. [2] Kish (1965), "Survey sampling", Wiley.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import CalibrationDisplay
    >>> display = CalibrationDisplay(np.linspace(0.01, 0.99, 50)).plot()
    >>> round(float(display.observed[49]), 2)  # the share of rows that 50% intervals hold
    0.5
    """

    def __init__(
        self, pit: ArrayLike, width: ArrayLike | None = None, *, sample_weight: ArrayLike | None = None
    ):
        super().__init__(pit, width, sample_weight=sample_weight)
        self.nominal = np.arange(1, 100) / 100.0
        # An equal-tailed interval holds the rows whose PIT is at most half of its coverage away from 1/2.
        within = [self._share_below(0.5 + side * self.nominal) for side in (-0.5, 0.5)]
        self.observed = within[1] - within[0]
        self.band = self._binomial_limits(self.nominal)

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self._open(ax, (5.0, 5.2))
        inks = self._inks
        percentage = 100.0 * self.nominal
        self.band_ = ax.fill_between(
            percentage,
            *(100.0 * self.band.T),
            color=inks.light,
            linewidth=0.0,
            label=f"95% of the time, if calibrated (n = {self.n_effective})",
        )
        ax.plot([0.0, 100.0], [0.0, 100.0], color=inks.grey, linewidth=0.8, linestyle="--")
        (self.line_,) = ax.plot(
            percentage, 100.0 * self.observed, color=inks.blue, linewidth=1.8, label="observed"
        )
        ax.set(xlim=(0.0, 100.0), ylim=(0.0, 100.0), aspect="equal")
        ax.set_xlabel("coverage that predicted intervals claim (%)")
        ax.set_ylabel("measurements inside the intervals (%)")
        ax.text(96.0, 4.0, "intervals too narrow", ha="right", color=inks.grey)
        ax.text(4.0, 96.0, "intervals too wide", va="top", color=inks.grey)
        self._legend(columns=2)
        return self


class PITDisplay(_OfPIT):
    """Where measurements lie within their predicted distributions: evenly, where predictions are calibrated.

    A hump in the middle says that they are too wide, a bowl that they are too narrow, a slope that their means are
    off. Weights weigh rows; the band is that of the effective number of rows, as in `CalibrationDisplay`.

    Parameters
    ----------
    pit : array-like of shape (n,)
        Predictive cdf of each row at what was measured, as `bayes_sklearn.metrics.pit` returns.
    width : array-like of shape (n,), optional
        Predicted probability of exactly what was measured, where that is discrete (shares of few counts): such a row
        is spread evenly over as much about its PIT value, as in [1]_; else it would look too well predicted.
    sample_weight : array-like of shape (n,), optional
        How often each row counts; 0 leaves it out, and its PIT value may be NaN.

    Attributes
    ----------
    n_effective : int
        Of how many rows the band is; fewer than rows are given where weights differ.
    bars_ : BarContainer
        After ``plot(kind="histogram")``.
    line_ : Line2D
        After ``plot(kind="ecdf_difference")``.
    band_ : PolyCollection
        After `plot`: where calibrated predictions are.

    References
    ----------
    .. [1] Czado, Gneiting & Held (2009), "Predictive model assessment for count data", Biometrics 65, 1254-1261.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import PITDisplay
    >>> display = PITDisplay(np.linspace(0.3, 0.7, 50)).plot(kind="histogram", bins=5)  # too wide
    >>> [int(bar.get_height()) for bar in display.bars_]
    [0, 13, 24, 13, 0]
    """

    def _distribution(self) -> tuple[Array, Array]:
        """Return the empirical distribution function of the values: where, and how much is below."""
        if self.width.any():
            at = np.linspace(0.0, 1.0, 501)
            return at, self._share_below(at)
        # The difference falls and jumps at every value.
        order = np.argsort(self.pit)
        at = np.concatenate([[0.0], np.repeat(self.pit[order], 2), [1.0]])
        up_to = np.concatenate([[0.0], np.cumsum(self.sample_weight[order])])
        return at, np.repeat(up_to / self.total, 2)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["histogram", "ecdf_difference"] = "histogram",
        bins: int = 10,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.
        kind : {"histogram", "ecdf_difference"}, default="histogram"
            "histogram": rows by bin; calibrated predictions have each bar in the band in 95% of cases (binomial).
            "ecdf_difference": the empirical distribution function less the uniform one; that of calibrated
            predictions is inside the band everywhere in 95% of cases (Kolmogorov & Smirnov).
        bins : int, default=10
            Of the histogram.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For another kind.
        """
        n = self.n_effective
        if kind not in ("histogram", "ecdf_difference"):
            raise ValueError(f"kind must be 'histogram' or 'ecdf_difference', got {kind!r}.")
        ax = self._open(ax)
        inks = self._inks
        if kind == "histogram":
            edges = np.linspace(0.0, 1.0, bins + 1)
            below = self._share_below(edges)
            below[0] = 0.0  # a PIT of 0 is in the first bin
            heights = self.total * np.diff(below)
            self.bars_ = ax.bar(
                edges[:-1],
                heights,
                np.diff(edges),
                align="edge",
                color=inks.blue,
                alpha=0.75,
                edgecolor=inks.paper,
                label="measurements",
            )
            lower, upper = self.total * self._binomial_limits(1.0 / bins)
            self.band_ = ax.fill_between(
                [0.0, 1.0],
                lower,
                upper,
                color=inks.grey,
                alpha=0.3,
                linewidth=0.0,
                label="95% of the time, if calibrated",
            )
            ax.axhline(self.total / bins, color=inks.grey, linewidth=0.8, linestyle="--")
            weighted = (self.sample_weight != 1.0).any()
            ax.set_ylabel("weight of measurements" if weighted else "number of measurements")
        else:
            at, steps = self._distribution()
            (self.line_,) = ax.plot(at, steps - at, color=inks.blue, linewidth=1.5, label="measurements")
            limit = stats.kstwo.ppf(0.95, n)
            self.band_ = ax.fill_between(
                [0.0, 1.0],
                -limit,
                limit,
                color=inks.light,
                linewidth=0.0,
                zorder=0.5,
                label="95% of the time, if calibrated",
            )
            ax.axhline(0.0, color=inks.grey, linewidth=0.8, linestyle="--")
            ax.set_ylabel("share of measurements below,\nless the probability predicted")
        ax.set_xlim(0.0, 1.0)
        ax.set_xlabel("predicted probability of a value below the measurement (PIT)")
        self._legend(columns=2)
        return self
