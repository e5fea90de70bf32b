"""The regression line in one feature, among the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite

from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..measurements.checks import as_floats, check_coverage, named
from ..measurements.columns import find_column
from ..measurements.limits import Limits, resolve_limits, resolve_reading_limits
from ..measurements.messages import deprecated_argument
from ..prediction.distribution import PredictiveDistribution
from ..prediction.of_estimators import final_regressor, predictive_distribution
from ..validation.stated_errors import error_bars
from .axes import BLUE, GREY, Display, percent
from .held_columns import HeldColumns, column_at, rows_at_means, table_of

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
        Data.
    grid : ndarray of shape (m,)
        Values of the feature.
    mean : ndarray of shape (m,)
        The line there.
    interval : ndarray of shape (m, 2)
        Limits of its band.
    x_err, y_err : ndarray of shape (n,), optional
        Standard errors of the data.
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

    @classmethod
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
            line as they do about the model.
        grid_resolution : int, default=100
            At how many values the line is computed.
        ax : matplotlib Axes, optional
        x_err : float or array-like of shape (n,), optional
            The former name of ``X_err``.

            .. deprecated:: 0.1
               Give ``X_err``.

        Raises
        ------
        ValueError
            Where there is no such column.

        Warns
        -----
        FutureWarning
            Where ``x_err`` is given.
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
        points = _Points.of(estimator, table, held, target, **of_target, exposure=exposure)
        points = points._replace(x_err=held.error_of(table, place, X_err), sides=_sides(x, x_censored))
        if adjust and table.shape[1] - len(held.all) > 1:
            where = held.emptied(table), rows_at_means(table, rows, held, place, x)
            own, at_means = (_line(estimator, here)[0].mean() for here in where)
            points = points.scaled(own - at_means, np.ones(len(x)))
            label += " (other features at their means)"
        seen = points.take(rows.used)
        return cls(
            x[rows.used],
            seen.y,
            grid,
            line.mean(),
            np.column_stack(line.interval(coverage)),
            x_err=seen.x_err,
            y_err=seen.y_err,
            limits=seen.limits,
            x_censored=seen.sides,
            coverage=coverage,
            feature=names[place] if names else f"x{place}",
            target=label,
            of_line=of_line,
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
        ax = self._open(ax)
        bars = [
            f"{name} \N{PLUS-MINUS SIGN} standard error"
            for name, err in (("x", self.x_err), ("y", self.y_err))
            if err is not None
        ]
        shown = np.ones(len(self.y), dtype=bool) if self.limits is None else ~self.limits.censored
        shown &= True if self.x_censored is None else self.x_censored == 0.0
        style: dict[str, Any] = {"color": GREY, "elinewidth": 0.6, "alpha": 0.6, "zorder": 1}
        self.points_ = ax.errorbar(
            self.x[shown],
            self.y[shown],
            xerr=None if self.x_err is None else self.x_err[shown],
            yerr=None if self.y_err is None else self.y_err[shown],
            fmt="o",
            markersize=3.0,
            label=", ".join(bars) or "data",
            **style,
        )
        self.limits_ = None if self.limits is None else self._draw_limits(ax, self.limits, style)
        self.x_limits_ = None if self.x_censored is None else self._draw_x_limits(ax, self.x_censored, style)
        what = "credible band of the line" if self.of_line else "interval of new measurements"
        self.band_ = ax.fill_between(
            self.grid,
            *self.interval.T,
            color=BLUE,
            alpha=0.25,
            linewidth=0.0,
            zorder=2,
            label=f"{percent(self.coverage)} {what}",
        )
        name = "line" if self.x_err is None else "line in the true feature"
        (self.line_,) = ax.plot(self.grid, self.mean, color=BLUE, linewidth=1.8, zorder=3, label=name)
        ax.set_xlabel(self.feature)
        ax.set_ylabel(self.target)
        self._legend()
        return self

    def _draw_limits(self, ax: Any, limits: Limits, style: dict[str, Any]) -> Any:
        """Draw arrows from limits, and bars between two, at whose middle nothing is."""
        rows, arrow = limits.censored, 0.06 * float(np.ptp(self.y) or 1.0)
        lower, upper = limits.lower[rows], limits.upper[rows]
        between = np.isfinite(lower) & np.isfinite(upper)
        above = np.isfinite(lower) & ~between
        at = np.where(between, 0.5 * (lower + upper), np.where(above, lower, upper))
        return ax.errorbar(
            self.x[rows],
            at,
            xerr=None if self.x_err is None else self.x_err[rows],
            yerr=np.where(between, 0.5 * (upper - lower), arrow),
            fmt="none",
            capsize=2.0,
            uplims=~above & ~between,
            lolims=above,
            label="limits",
            **style,
        )

    def _draw_x_limits(self, ax: Any, side: Array, style: dict[str, Any]) -> Any:
        """Draw arrows from limits of readings, along x."""
        rows = side != 0.0
        return ax.errorbar(
            self.x[rows],
            self.y[rows],
            xerr=0.04 * float(np.ptp(self.x) or 1.0),
            fmt="none",
            capsize=2.0,
            xuplims=side[rows] < 0.0,
            xlolims=side[rows] > 0.0,
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


class _Points(NamedTuple):
    """What is drawn of the target."""

    y: Array
    x_err: Array | None
    y_err: Array | None
    limits: Limits | None
    sides: Array | None = None
    """Of readings."""

    @classmethod
    def of(
        cls,
        estimator: Any,
        table: Any,
        held: HeldColumns,
        y: Array,
        *,
        counts: Any,
        y_err: Any,
        y_censored: Any,
        y_upper: Any,
        exposure: Any,
    ) -> _Points:
        """Return the target, its errors and limits; of events rates."""
        bars = error_bars(estimator, table, counts, y_err, exposure=exposure)
        found = cls(y, None, bars, resolve_limits(y, y_censored, y_upper, held.sides(table)))
        over = held.exposures(table, exposure)
        return found if over is None else found.scaled(np.zeros(len(y)), over)

    def scaled(self, center: Array, unit: Array) -> _Points:
        """Return it about centers and in units, (n,) each."""
        return self._replace(
            y=(self.y - center) / unit,
            y_err=None if self.y_err is None else self.y_err / unit,
            limits=None if self.limits is None else self.limits.scaled(center, unit),
        )

    def take(self, rows: NDArray[np.bool_]) -> _Points:
        """Return that of some rows."""
        return _Points(
            self.y[rows],
            None if self.x_err is None else self.x_err[rows],
            None if self.y_err is None else self.y_err[rows],
            None if self.limits is None else self.limits.take(rows),
            None if self.sides is None else self.sides[rows],
        )


def _line(estimator: Any, X: Any) -> tuple[PredictiveDistribution, bool]:
    """Return the distribution of the line at rows, and whether it is; of others, that of measurements."""
    regressor, _ = final_regressor(estimator, X)
    if hasattr(regressor, "predict_distribution"):
        ours = isinstance(regressor, BayesianErrorsInVariablesRegressor)
        # Columns of X say themselves that features are true.
        true = {"X_err": 0.0} if ours and not regressor._fitted.columns.errors else {}
        return predictive_distribution(estimator, X, include_noise=False, **true), True
    return predictive_distribution(estimator, X), False
