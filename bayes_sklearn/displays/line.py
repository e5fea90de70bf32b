"""The regression line in one feature, among the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite

from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..measurements.checks import as_floats, check_coverage, named
from ..measurements.columns import find_column
from ..measurements.limits import Limits, resolve_reading_limits
from ..measurements.messages import deprecated_argument, hinting
from ..prediction.distribution import PredictiveDistribution
from ..prediction.of_estimators import final_regressor, predictive_distribution
from .drawing.axes import Display, percent
from .drawing.held_columns import HeldColumns, column_at, rows_at_means, table_of
from .drawing.rows import bounds_of, drawn_rows
from .drawing.targets import DrawnTarget, of_rows

__all__ = ["RegressionLineDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class RegressionLineDisplay(Display):
    """The line in one feature with its credible band, among data with their error bars.

    Where features were measured with error it is the line in the true ones (``X_err=0``), whose slope is `coef_`.
    What a reading predicts bends away from it, towards the mean: `PredictionDisplay` shows that. Limits are
    arrows, and bars where there are two.

    Parameters
    ----------
    x, y : ndarray of shape (n,)
        Data, each in its own unit; limits and standard errors are in these, too.
    grid : ndarray of shape (m,)
        Values of the feature.
    mean : ndarray of shape (m,)
        The line there.
    interval : ndarray of shape (m, 2)
        Limits of its band.
    x_err : ndarray of shape (n,), optional
        Standard errors of x.
    y_err : ndarray of shape (n,) or (2, n), optional
        Standard errors of y; how far bars reach down and up, where y has bounds.
    limits : Limits, optional
        Of targets that were not measured.
    x_censored : ndarray of shape (n,), optional
        -1 where x is an upper limit of the reading, 1 where it is a lower one.
    coverage : float
        Of the band.
    feature : str
        Name, for the axis.
    target : str
        Name, for the axis.
    of_line : bool
        Whether the band is the line's; else it is new measurements'.
    means : ndarray of shape (k, 2), optional
        Mean x and mean y of groups of rows, where single rows say little.

    Attributes
    ----------
    line_ : Line2D
        After `plot`: the line.
    band_ : PolyCollection
        After `plot`: its band.
    points_ : ErrorbarContainer
        After `plot`: the data.
    limits_ : ErrorbarContainer or None
        After `plot`: the limits of targets, ...
    x_limits_ : ErrorbarContainer or None
        ... and of readings.
    means_ : Line2D or None
        After `plot`: means of tenths of the rows, where a few values make up most of y, or not all rows are drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import RegressionLineDisplay
    >>> x, y = np.array([0.0, 1.0, 2.0]), np.array([0.1, 2.1, 3.9])
    >>> band = np.column_stack([2.0 * x - 0.2, 2.0 * x + 0.2])
    >>> RegressionLineDisplay(x, y, x, 2.0 * x, band, feature="dose").plot().ax_.get_xlabel()
    'dose'
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        grid: Array,
        mean: Array,
        interval: Array,
        *,
        x_err: Array | None = None,
        y_err: Array | None = None,
        limits: Limits | None = None,
        x_censored: Array | None = None,
        coverage: float = 0.95,
        feature: str = "feature",
        target: str = "target",
        of_line: bool = True,
        means: Array | None = None,
    ):
        self.x = x
        self.y = y
        self.grid = grid
        self.mean = mean
        self.interval = interval
        self.x_err = x_err
        self.y_err = y_err
        self.limits = limits
        self.x_censored = x_censored
        self.coverage = coverage
        self.feature = feature
        self.target = target
        self.of_line = of_line
        self.means = means

    @classmethod
    @hinting
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        feature: str | int = 0,
        *,
        sample_weight: ArrayLike | None = None,
        counts: ArrayLike | float | None = None,
        y_err: ArrayLike | float | None = None,
        X_err: ArrayLike | float | None = None,
        x_censored: ArrayLike | None = None,
        exposure: ArrayLike | float | None = None,
        y_censored: ArrayLike | None = None,
        y_upper: ArrayLike | None = None,
        coverage: float = 0.95,
        adjust: bool = True,
        grid_resolution: int = 100,
        subsample: int | None = 300,
        random_state: int | np.random.RandomState | None = 0,
        ax: Axes | None = None,
        x_err: ArrayLike | float | None = None,
    ) -> Self:
        """Draw for a fitted regressor, Pipeline or search.

        Parameters
        ----------
        estimator : fitted regressor
            Any whose predict takes ``return_std``.
        X : array-like of shape (n, k)
            Rows to draw.
        y : array-like of shape (n,)
        feature : str or int, default=0
            The column of X to draw against; the others are held at their means.
        sample_weight : array-like of shape (n,), optional
            How often each row counts in those means; 0 leaves it out. The counts behind shares are ``counts``.
        counts, y_err : optional
            As for predict, for the error bars of y, if no column of X holds them.
        X_err : float or array-like of shape (n,) or (n, p), optional
            Standard errors of this feature, or of all p as in fit, for its error bars, if no column of X holds them.
        x_censored : array-like of shape (n,), optional
            -1, 0 or 1: in which rows this feature is a limit, as in its column of ``X_censored`` in fit.
        exposure : float or array-like of shape (n,), optional
            What events were counted over, if no column of X holds it: rates are drawn.
        y_censored, y_upper : array-like of shape (n,), optional
            Which rows have a limit in the place of y, as in fit, if no column of X says it.
        coverage : float, default=0.95
            Of the band.
        adjust : bool, default=True
            Whether what the other features do, by the model, is taken out of y, so that points scatter about the
            line as they do about the model. Shares and rates are moved as far as keeps them within their bounds:
            0 stays 0.
        grid_resolution : int, default=100
            At how many values the line is computed.
        subsample, random_state
            As for `plot`.
        ax : matplotlib Axes, optional
        x_err : float or array-like of shape (n,), optional
            The former name of ``X_err``.

            .. deprecated:: 0.1
               Give ``X_err``.

        Returns
        -------
        RegressionLineDisplay
            Drawn.

        Raises
        ------
        ValueError
            Where there is no such column.

        Warns
        -----
        FutureWarning
            Where ``x_err`` is given.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import RegressionLineDisplay
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8]
        >>> model = BayesianErrorsInVariablesRegressor().fit(X, y, y_err=0.2)
        >>> RegressionLineDisplay.from_estimator(model, X, y, y_err=0.2).interval.shape
        (100, 2)
        """
        X_err = deprecated_argument("x_err", x_err, "X_err", X_err, removed="0.2")
        check_coverage(coverage)
        table = table_of(X, missing := getattr(final_regressor(estimator, X)[0], "missing", None) == "model")
        names = [str(name) for name in table.columns] if hasattr(table, "columns") else None
        place = find_column(feature, names, table.shape[1], "feature")
        held = HeldColumns.of(estimator, table, names)
        held.check_feature(place, feature)
        rows, target = held.read(table, y, sample_weight, counts, missing)
        with named("X"):
            x = as_floats(column_at(table, place))
            assert_all_finite(x[rows.used], input_name="X")
            grid = np.linspace(x[rows.used].min(), x[rows.used].max(), grid_resolution)
            at_grid = rows_at_means(table, rows, held, place, grid)
        line, of_line = _line(estimator, at_grid)
        label = _label(y, held.exposures(table, exposure))
        of_target = {"counts": counts, "y_err": y_err, "y_censored": y_censored, "y_upper": y_upper}
        points = DrawnTarget.of(estimator, table, held, target, **of_target, exposure=exposure)
        points = points._replace(x_err=held.error_of(table, place, X_err), sides=_sides(x, x_censored))
        as_given, shift = points.y, np.zeros(len(x))
        if adjust and table.shape[1] - len(held.all) > 1:
            where = held.emptied(table), rows_at_means(table, rows, held, place, x)
            own, at_means = (_line(estimator, here)[0].mean() for here in where)
            points, shift = points.moved(own, at_means, bounds_of(estimator, table, counts)), at_means - own
            label += " (other features at their means)"
        seen = points.take(rows.used)
        beside = {**seen.beside, "means": seen.means(x, as_given, shift, rows), "of_line": of_line}
        return cls(
            x[rows.used],
            seen.y,
            grid,
            line.mean(),
            np.column_stack(line.interval(coverage)),
            coverage=coverage,
            feature=names[place] if names else f"x{place}",
            target=label,
            **beside,
        ).plot(ax, subsample=subsample, random_state=random_state)

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
        ax = self._open(ax)
        inks, n = self._inks, len(self.y)
        rows = drawn_rows(n, subsample, random_state)
        bars = [
            f"{name} \N{PLUS-MINUS SIGN} standard error"
            for name, err in (("x", self.x_err), ("y", self.y_err))
            if err is not None
        ]
        limited = np.zeros(n, dtype=bool) if self.limits is None else self.limits.censored
        sides = np.zeros(n) if self.x_censored is None else self.x_censored
        shown = rows[~limited[rows] & (sides[rows] == 0.0)]
        style: dict[str, Any] = {"color": inks.grey, "elinewidth": 0.6, "alpha": 0.6, "zorder": 1}
        self.points_ = ax.errorbar(
            self.x[shown],
            self.y[shown],
            xerr=of_rows(self.x_err, shown),
            yerr=of_rows(self.y_err, shown),
            fmt="o",
            markersize=3.0,
            label=", ".join(bars) or "data",
            **style,
        )
        self.limits_ = None if self.limits is None else self._draw_limits(ax, rows[limited[rows]], style)
        of_x = rows[sides[rows] != 0.0]
        self.x_limits_ = None if self.x_censored is None else self._draw_x_limits(ax, of_x, style)
        what = "credible band of the line" if self.of_line else "interval of new measurements"
        self.band_ = ax.fill_between(
            self.grid,
            *self.interval.T,
            color=inks.blue,
            alpha=0.3,
            linewidth=0.0,
            zorder=2,
            label=f"{percent(self.coverage)} {what}",
        )
        name = "line" if self.x_err is None else "line in the true feature"
        (self.line_,) = ax.plot(self.grid, self.mean, color=inks.blue, linewidth=1.8, zorder=3, label=name)
        self.means_ = None
        if self.means is not None:
            label = "means of tenths of the rows"
            style = {
                "markerfacecolor": inks.paper,
                "markeredgecolor": inks.orange,
                "zorder": 4,
                "label": label,
            }
            (self.means_,) = ax.plot(*self.means.T, "s", markersize=6.5, markeredgewidth=1.6, **style)
        ax.set_xlabel(self.feature)
        ax.set_ylabel(self.target + (f"\n({len(rows)} of {n} rows)" if len(rows) < n else ""))
        self._legend(columns=2)
        return self

    def _draw_limits(self, ax: Any, rows: NDArray[np.intp], style: dict[str, Any]) -> Any:
        """Draw arrows from limits, and bars between two, at whose middle nothing is."""
        assert self.limits is not None
        arrow = 0.06 * float(np.ptp(self.y) or 1.0)
        lower, upper = self.limits.lower[rows], self.limits.upper[rows]
        between = np.isfinite(lower) & np.isfinite(upper)
        above = np.isfinite(lower) & ~between
        at = np.where(between, 0.5 * (lower + upper), np.where(above, lower, upper))
        return ax.errorbar(
            self.x[rows],
            at,
            xerr=of_rows(self.x_err, rows),
            yerr=np.where(between, 0.5 * (upper - lower), arrow),
            fmt="none",
            capsize=2.0,
            uplims=~above & ~between,
            lolims=above,
            label="limits",
            **style,
        )

    def _draw_x_limits(self, ax: Any, rows: NDArray[np.intp], style: dict[str, Any]) -> Any:
        """Draw arrows from limits of readings, along x."""
        assert self.x_censored is not None
        return ax.errorbar(
            self.x[rows],
            self.y[rows],
            xerr=0.04 * float(np.ptp(self.x) or 1.0),
            fmt="none",
            capsize=2.0,
            xuplims=self.x_censored[rows] < 0.0,
            xlolims=self.x_censored[rows] > 0.0,
            label="limits of x",
            **style,
        )


def _label(y: Any, exposures: Array | None) -> str:
    """Return what the target is called."""
    name = str(getattr(y, "name", None) or "target")
    return name if exposures is None else f"{name} per unit of exposure"


def _sides(x: Array, given: ArrayLike | None) -> Array | None:
    """Return on which side of x its readings lie, (n,); None: all were measured."""
    with named("x_censored"):
        found = resolve_reading_limits(x[:, None], given, ["x"])
    return None if found is None else found.side[:, 0]


def _line(estimator: Any, X: Any) -> tuple[PredictiveDistribution, bool]:
    """Return the distribution of the line at rows, and whether it is; of others, that of measurements."""
    regressor, _ = final_regressor(estimator, X)
    if hasattr(regressor, "predict_distribution"):
        ours = isinstance(regressor, BayesianErrorsInVariablesRegressor)
        # Columns of X say themselves that features are true.
        true = {"X_err": 0.0} if ours and not regressor._fitted.columns.errors else {}
        return predictive_distribution(estimator, X, include_noise=False, **true), True
    return predictive_distribution(estimator, X), False
