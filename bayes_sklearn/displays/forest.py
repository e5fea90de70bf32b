"""Studies: their estimates as stated, their effects given all of them, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from sklearn.utils.validation import check_is_fitted

from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..measurements.checks import read_table, read_target
from ..measurements.groups.labels import Groupings
from ..measurements.messages import hinting
from ..prediction.distribution import PredictiveDistribution
from ..prediction.of_estimators import final_regressor
from ..validation.stated_errors import error_bars
from .drawing.axes import Display, percent
from .drawing.held_columns import HeldColumns

__all__ = ["ForestDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class ForestDisplay(Display):
    """Estimates of studies beside what all studies together say of each, and of a new one.

    Parameters
    ----------
    names : sequence of str
        Names of the J studies.
    estimates : array-like of shape (J,)
        As the studies state them; this and all that follows in the unit of y.
    intervals : array-like of shape (J, 2)
        Limits of the studies' own intervals; NaN where they state no error.
    means : array-like of shape (J,)
        Posterior means of the studies' true effects, shrunk towards each other.
    mean_intervals : array-like of shape (J, 2)
        Limits of their intervals.
    pooled : float
        Posterior mean of the effect without any study's own deviation.
    pooled_interval : array-like of shape (2,)
        Limits of its interval.
    new_interval : array-like of shape (2,)
        Limits of an interval for the true effect of a new study.
    coverage : float
        Of all intervals.
    unit : str
        Of the effects, for the axis.

    Attributes
    ----------
    raw_ : ErrorbarContainer
        After `plot`: the studies' estimates with their intervals.
    shrunk_ : ErrorbarContainer
        After `plot`: their true effects.
    pooled_ : Polygon
        After `plot`: the diamond of the pooled effect, as wide as its interval.
    new_ : ErrorbarContainer
        After `plot`: the interval of a new study.
    line_ : Line2D
        After `plot`: the pooled effect beside all studies.

    Examples
    --------
    >>> from bayes_sklearn.displays import ForestDisplay
    >>> means, intervals = [0.1, 0.3], [[-0.1, 0.3], [0.1, 0.5]]
    >>> display = ForestDisplay(["A", "B"], [0.0, 0.4], intervals, means, intervals, 0.2, [0.0, 0.4], [-0.3, 0.7])
    >>> display.plot().ax_.get_xlabel()
    'effect'
    """

    def __init__(
        self,
        names: Sequence[Any],
        estimates: ArrayLike,
        intervals: ArrayLike,
        means: ArrayLike,
        mean_intervals: ArrayLike,
        pooled: float,
        pooled_interval: ArrayLike,
        new_interval: ArrayLike,
        coverage: float = 0.95,
        unit: str = "effect",
    ):
        self.names = [str(name) for name in names]
        J = len(self.names)
        self.estimates = _of_shape(estimates, "estimates", (J,))
        self.intervals = _of_shape(intervals, "intervals", (J, 2))
        self.means = _of_shape(means, "means", (J,))
        self.mean_intervals = _of_shape(mean_intervals, "mean_intervals", (J, 2))
        self.pooled = float(pooled)
        self.pooled_interval = _of_shape(pooled_interval, "pooled_interval", (2,))
        self.new_interval = _of_shape(new_interval, "new_interval", (2,))
        self.coverage = coverage
        self.unit = unit

    @classmethod
    @hinting
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        y_err: ArrayLike | float | None = None,
        coverage: float = 0.95,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the studies in some rows, each of which is one, of a fitted BayesianErrorsInVariablesRegressor.

        What is drawn of a study is its effect at its own features. The pooled effect, and that of a new study, are at
        the features' means over these rows.

        Parameters
        ----------
        estimator : fitted estimator
            With ``group_column``; a Pipeline or search with one, too.
        X : array-like of shape (J, k)
            The studies' rows, with their labels in a column, by which they are named.
        y : array-like of shape (J,)
            Their estimates.
        y_err : array-like of shape (J,) or float, optional
            Their standard errors, as they state them; a column of X may hold them, too. None: no intervals of theirs.
        coverage : float, default=0.95
        ax : matplotlib Axes, optional

        Returns
        -------
        ForestDisplay
            Drawn.

        Raises
        ------
        TypeError
            For another regressor, which knows of no groups.
        ValueError
            Where it was fitted without ``group_column``, or for bad input, naming the argument.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import ForestDisplay
        >>> studies = pd.DataFrame({"study": list("ABCDEF")})
        >>> effects, errors = np.array([0.1, 0.4, 0.3, 0.6, 0.2, 0.5]), np.array([0.2, 0.1, 0.2, 0.3, 0.1, 0.2])
        >>> model = BayesianErrorsInVariablesRegressor(group_column="study", noise="known")
        >>> model = model.fit(studies, effects, y_err=errors)
        >>> ForestDisplay.from_estimator(model, studies, effects, y_err=errors).names
        ['A', 'B', 'C', 'D', 'E', 'F']
        """
        model, table = final_regressor(estimator, X)
        if not isinstance(model, BayesianErrorsInVariablesRegressor):
            raise TypeError(
                f"ForestDisplay takes a BayesianErrorsInVariablesRegressor, not {type(model).__name__}: what another"
                " knows of groups is not known."
            )
        check_is_fitted(model)
        groupings = model._fitted.groupings
        if groupings is None:
            raise ValueError(
                "estimator was fitted without group_column: there are no studies' effects to draw. Name the column of"
                " X that holds the studies' labels in group_column, and fit again."
            )
        estimates = read_target(y, n=len(table))
        error = error_bars(model, table, None, y_err)
        error = np.full(len(estimates), np.nan) if error is None else error
        found = model.predict_distribution(table, include_noise=False)
        common, new = _beside_groups(model, groupings, table)
        reach = float(ndtri(0.5 + 0.5 * coverage)) * error
        return cls(
            _names(groupings, groupings.members(table)),
            estimates,
            np.column_stack([estimates - reach, estimates + reach]),
            found.mean(),
            np.column_stack(found.interval(coverage)),
            float(common.mean()[0]),
            np.ravel(common.interval(coverage)),
            np.ravel(new.interval(coverage)),
            coverage,
            str(getattr(y, "name", None) or "effect"),
        ).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.

        Returns
        -------
        self
        """
        J = len(self.names)
        ax = self._open_rows(ax, [*self.names, "in common", "new study"])
        inks = self._inks
        place, apart = np.arange(J, dtype=np.float64), 0.16
        interval = f"{percent(self.coverage)} interval"
        self.line_ = ax.axvline(self.pooled, color=inks.green, linewidth=1.0, linestyle=":", zorder=0.6)
        if self._holds_zero:
            ax.axvline(0.0, color=inks.grey, linewidth=0.8, zorder=0.5)
        self.raw_ = ax.errorbar(
            self.estimates,
            place - apart,
            xerr=np.abs(self.intervals.T - self.estimates),
            fmt="s",
            color=inks.grey,
            markerfacecolor=inks.paper,
            markersize=4.0,
            elinewidth=1.0,
            label=f"as stated, {interval}" if np.isfinite(self.intervals).any() else "as stated",
        )
        self.shrunk_ = ax.errorbar(
            self.means,
            place + apart,
            xerr=np.abs(self.mean_intervals.T - self.means),
            fmt="o",
            color=inks.blue,
            markersize=4.5,
            elinewidth=2.0,
            label=f"given all studies, {interval}",
        )
        low, high = self.pooled_interval
        corners = [low, self.pooled, high, self.pooled], [J, J - 0.28, J, J + 0.28]
        self.pooled_ = ax.fill(*corners, color=inks.green, label=f"in common, {interval}")[0]
        middle = self.new_interval.mean()
        self.new_ = ax.errorbar(
            [middle],
            [J + 1.0],
            xerr=[[middle - self.new_interval[0]], [self.new_interval[1] - middle]],
            fmt="none",
            color=inks.orange,
            elinewidth=2.0,
            capsize=4.0,
            label=f"a new study's effect, {interval}",
        )
        ax.axhline(J - 0.5, color=inks.grey, linewidth=0.8, zorder=0.5)
        ax.set_xlabel(self.unit)
        self._legend(columns=2)
        return self

    @property
    def _holds_zero(self) -> bool:
        """Whether zero is among what is drawn."""
        ends = np.concatenate([self.intervals.ravel(), self.estimates, self.new_interval])
        return bool(np.nanmin(ends) <= 0.0 <= np.nanmax(ends))


def _names(groupings: Groupings, members: NDArray[np.intp]) -> list[str]:
    """Return names of rows, by their labels."""
    found = []
    for row in members.tolist():
        parts = zip(row, groupings.labels, strict=True)
        found.append(" / ".join(str(labels[i]) if i < len(labels) else "new" for i, labels in parts))
    return found


def _beside_groups(
    model: BayesianErrorsInVariablesRegressor, groupings: Groupings, X: Any
) -> tuple[PredictiveDistribution, PredictiveDistribution]:
    """Return the line at the features' means without any group's effect, and in groups that are new."""
    fitted = model._fitted
    row = read_table(model, X).mean(axis=0, keepdims=True)
    row = HeldColumns.of(model, row, None).emptied(row)
    nothing = dict.fromkeys(("X_err", "X_cov", "Xy_cov", "X_censored"))
    new = np.array([groupings.sizes])
    common, anew = (
        fitted.predictive(row, None, None, nothing, include_noise=False, index=None, members=members)
        for members in (None, new)
    )
    return common, anew


def _of_shape(values: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """Return an array of floats of this shape.

    Raises
    ------
    ValueError
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != shape:
        raise ValueError(
            f"{name} has shape {found.shape}, but {shape} is expected: names has one entry a study."
        )
    return found
