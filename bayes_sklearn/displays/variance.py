"""What the variance of predictions is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..prediction.distribution import PredictiveDistribution
from ..prediction.of_estimators import predictive_distribution
from .drawing.axes import Display, percent
from .drawing.inks import PARTS, on_fill
from .drawing.rows import RowWeights, tenths

__all__ = ["VarianceDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class VarianceDisplay(Display):
    """What the variance of each prediction is made of, stacked.

    Small parts are named with their share of the variance, where they are too thin to see.

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
    std_axis_ : SecondaryAxis or None
        After ``plot(share=False)``: standard deviations, in the target's unit, beside the variances.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import VarianceDisplay
    >>> parts = {"parameters": np.array([0.1, 0.2]), "target_error": np.array([1.0, 1.0])}
    >>> sorted(VarianceDisplay(parts, by=np.array([3.0, 4.0])).plot().bars_)
    ['parameters', 'target_error']
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
        share: bool = True,
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

        Returns
        -------
        VarianceDisplay
            Drawn.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import VarianceDisplay
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8]
        >>> model = BayesianErrorsInVariablesRegressor().fit(X, y, y_err=0.2)
        >>> sorted(VarianceDisplay.from_estimator(model, X).parts)
        ['finite_count', 'parameters', 'scatter', 'target_error']
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
        share: bool = True,
        ax: Axes | None = None,
    ) -> Self:
        """Draw for a predictive distribution.

        Parameters
        ----------
        y_pred : PredictiveDistribution
        sample_weight, by, by_name, kind, share, ax
            As for `from_estimator`.

        Returns
        -------
        VarianceDisplay
            Drawn.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import VarianceDisplay
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8]
        >>> distribution = BayesianErrorsInVariablesRegressor().fit(X, y, y_err=0.2).predict_distribution(X)
        >>> len(VarianceDisplay.from_predictions(distribution).by)
        4
        """
        n = len(y_pred)
        order, name = y_pred.mean(), "predicted value"
        if by is not None:
            order, name = np.asarray(by, dtype=np.float64), by_name or getattr(by, "name", None) or "by"
        if order.shape != (n,) or not np.isfinite(order).all():
            raise ValueError(f"by must be {n} finite numbers, one per row, got shape {order.shape}.")
        parts = y_pred.variance_parts
        if not np.isfinite(sum(parts.values())).all():
            raise ValueError("X has numbers whose squares overflow: change its unit.")
        display = cls(parts, order, name, sample_weight=sample_weight)
        return display.plot(ax, kind=kind, share=share)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["auto", "rows", "deciles"] = "auto",
        share: bool = True,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.
        kind : {"auto", "rows", "deciles"}, default="auto"
            One bar per row, or the average of each tenth of the rows; "auto": rows, where they are at most 60.
        share : bool, default=True
            Whether bars are percentages of the variance, with the standard deviations of tenths above them; False:
            variances, in squared units of the target.

        Returns
        -------
        self
        """
        most_rows_apart = 60
        if kind not in ("auto", "rows", "deciles"):
            raise ValueError(f"kind must be 'auto', 'rows' or 'deciles', got {kind!r}.")
        n = len(self.by)
        by_rows = kind == "rows" or (kind == "auto" and n <= most_rows_apart)
        order = np.argsort(self.by, kind="stable")
        groups = [order[i : i + 1] for i in range(n)] if by_rows else tenths(self.by)
        parts = {
            name: np.array([np.average(part[group], weights=self.sample_weight[group]) for group in groups])
            for name, part in self.parts.items()
        }
        total = np.sum(list(parts.values()), axis=0)
        whole = self.sample_weight @ np.sum(list(self.parts.values()), axis=0)
        ax = self._open(ax, (6.4, 4.8))
        bottom = np.zeros(len(groups))
        place = np.arange(len(groups))
        self.bars_ = {}
        for name, part in parts.items():
            if not part.any():
                continue
            height = 100.0 * part / np.where(total > 0.0, total, 1.0) if share else part
            label, color, hatch = PARTS.get(name, (name, None, ""))
            of_all = percent(float(f"{self.sample_weight @ self.parts[name] / whole:.2g}"))
            self.bars_[name] = ax.bar(
                place,
                height,
                1.0 if by_rows else 0.8,
                bottom=bottom,
                color=color,
                hatch=hatch,
                edgecolor=on_fill(color or self._inks.grey),
                linewidth=0.0,
                label=f"{label}, {of_all}",
            )
            bottom = bottom + height
        self._label_axes(ax, place, groups, total, share, by_rows)
        self._legend(columns=2)
        return self

    def _label_axes(
        self,
        ax: Any,
        place: NDArray[np.intp],
        groups: list[NDArray[np.intp]],
        total: Array,
        share: bool,
        by_rows: bool,
    ) -> None:
        """Label bars and axes, and say how large the whole is in the target's unit."""
        if by_rows:
            ax.set_xlabel(f"rows in order of {self.by_name}")
            ax.set_xticks([])
        else:
            low, high = (np.array([of(self.by[group]) for group in groups]) for of in (np.min, np.max))
            self._label_groups(low, high, self.by_name)
        self.std_axis_ = None
        if share:
            ax.set_ylabel("share of the variance of\na new measurement (%)")
            for x, variance in zip(place, total, strict=True) if not by_rows else ():
                ax.annotate(
                    f"{np.sqrt(variance):.2g}",
                    (x, 100.0),
                    (0.0, 2.0),
                    textcoords="offset points",
                    ha="center",
                    fontsize="small",
                    color=self._inks.ink,
                )
            return
        from matplotlib.ticker import MaxNLocator

        ax.set_ylabel("variance of a new measurement\n(squared unit of the target)")
        scales = (lambda variance: np.sqrt(np.maximum(variance, 0.0)), np.square)
        self.std_axis_ = ax.secondary_yaxis("right", functions=scales)
        self.std_axis_.set_ylabel("its standard deviation\n(unit of the target)")
        top = float(np.sqrt(total.max(initial=0.0)))
        # Low ones would stand on each other.
        self.std_axis_.set_yticks(
            [at for at in MaxNLocator(6).tick_values(0.0, top) if 0.3 * top <= at <= top]
        )
