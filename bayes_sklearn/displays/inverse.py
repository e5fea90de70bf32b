"""Readings, the line, and where they cross: what the feature behind them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..estimators.calibration.inverse import Readings, inverse_predict
from ..measurements.checks import check_coverage
from ..measurements.messages import hinting
from ..prediction.inverse.distribution import Prior
from .drawing.axes import Display, percent

__all__ = ["InverseDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class InverseDisplay(Display):
    """Readings across to the line's band, and down to the distribution of the feature behind each.

    Parameters
    ----------
    grid : ndarray of shape (m,)
        Values of the feature, in its unit.
    mean : ndarray of shape (m,)
        The line there, in the unit of the target.
    band : ndarray of shape (m, 2)
        Limits of an interval for readings there.
    readings : ndarray of shape (n, k)
        Of n samples; NaN: there is none.
    found : ndarray of shape (n,)
        Where the feature behind them most likely is.
    intervals : ndarray of shape (n, 2)
        Limits of its intervals.
    densities : ndarray of shape (n, m)
        Its densities at the grid.
    coverage : float
        Of band and intervals.
    feature, target : str
        Names, for the axes.

    Attributes
    ----------
    line_ : Line2D
        After `plot`: the line.
    band_ : PolyCollection
        After `plot`: its band.
    readings_ : list of Line2D
        After `plot`: from each sample's mean reading to the line, and down.
    intervals_ : list of Line2D
        After `plot`: the intervals, along the lower edge.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import InverseDisplay
    >>> x = np.linspace(0.0, 4.0, 9)
    >>> band = np.column_stack([2.0 * x - 0.2, 2.0 * x + 0.2])
    >>> density = np.exp(-50.0 * (x - 2.5) ** 2)[None]
    >>> reading, found, interval = np.array([[5.0]]), np.array([2.5]), np.array([[2.3, 2.7]])
    >>> len(InverseDisplay(x, 2.0 * x, band, reading, found, interval, density).plot().intervals_)
    1
    """

    def __init__(
        self,
        grid: Array,
        mean: Array,
        band: Array,
        readings: Array,
        found: Array,
        intervals: Array,
        densities: Array,
        coverage: float = 0.95,
        feature: str = "feature",
        target: str = "reading",
    ):
        self.grid = grid
        self.mean = mean
        self.band = band
        self.readings = readings
        self.found = found
        self.intervals = intervals
        self.densities = densities
        self.coverage = coverage
        self.feature = feature
        self.target = target

    @classmethod
    @hinting
    def from_estimator(
        cls,
        estimator: Any,
        y: ArrayLike,
        *,
        feature: str | int | None = None,
        X: Any = None,
        y_err: ArrayLike | float | None = None,
        counts: ArrayLike | float | None = None,
        exposure: ArrayLike | float | None = None,
        prior: Prior | None = None,
        coverage: float = 0.95,
        grid_resolution: int = 400,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the readings of a few samples, whose other features are those of the first.

        Parameters
        ----------
        estimator : fitted BayesianErrorsInVariablesRegressor, or Pipeline or search that ends in one
        y, feature, X, y_err, counts, exposure, prior
            As for `inverse_predict`.
        coverage : float, default=0.95
            Of the band of readings, and of the intervals.
        grid_resolution : int, default=400
            At how many values of the feature the line is computed.
        ax : matplotlib Axes, optional

        Returns
        -------
        InverseDisplay
            Drawn.

        Raises
        ------
        ValueError, TypeError
            As `inverse_predict`; for more than 20 samples.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import InverseDisplay
        >>> dose = np.array([[0.0], [1.0], [2.0], [4.0], [8.0]])
        >>> model = BayesianErrorsInVariablesRegressor().fit(dose, [0.1, 2.1, 3.9, 8.1, 15.9])
        >>> display = InverseDisplay.from_estimator(model, [5.0])
        >>> display.intervals.shape
        (1, 2)
        """
        check_coverage(coverage)
        most = 20
        of_readings = {"y_err": y_err, "counts": counts, "exposure": exposure}
        readings = Readings(estimator, y, feature=feature, X=X, of_readings=of_readings)
        if readings.n > most:
            raise ValueError(f"y has {readings.n} samples: draw {most} at most.")
        found = inverse_predict(estimator, y, feature=feature, X=X, **of_readings, prior=prior)
        intervals = np.column_stack(found.interval(coverage))
        before = readings.default_prior if prior is None else prior
        # The middle 90% of what was known before, and all that was found.
        low, high = (float(before.ppf(q)) for q in (0.05, 0.95))
        low, high = min(low, float(intervals.min())), max(high, float(intervals.max()))
        grid = np.linspace(low - 0.05 * (high - low), high + 0.05 * (high - low), grid_resolution)
        grid = np.clip(grid, float(before.ppf(1e-6)), float(before.ppf(1.0 - 1e-6)))
        (first, *_) = readings.forward(grid, np.zeros(len(grid), dtype=np.intp))
        return cls(
            grid,
            first.mean(),
            np.column_stack(first.interval(coverage)),
            readings.y,
            found.mode(),
            intervals,
            found.pdf(grid[:, None]).T,
            coverage,
            readings.name,
            str(getattr(y, "name", None) or "reading"),
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
        inks = self._inks
        label = f"{percent(self.coverage)} interval of readings"
        self.band_ = ax.fill_between(self.grid, *self.band.T, color=inks.light, linewidth=0.0, label=label)
        (self.line_,) = ax.plot(self.grid, self.mean, color=inks.blue, linewidth=1.8, label="line", zorder=3)
        seen = np.concatenate([self.band.ravel(), self.readings[~np.isnan(self.readings)]])
        low, high = float(seen.min()), float(seen.max())
        bottom = low - 0.16 * (high - low)
        left = float(self.grid[0])
        self.readings_: list[Any] = []
        self.intervals_: list[Any] = []
        highest = self.densities.max(axis=1)
        for i, (own, place) in enumerate(zip(np.nanmean(self.readings, axis=1), self.found, strict=True)):
            style: dict[str, Any] = {"color": inks.grey, "linewidth": 0.9, "linestyle": "--", "zorder": 2}
            name = "reading, and the feature behind it" if i == 0 else None
            self.readings_ += ax.plot([left, place, place], [own, own, bottom], label=name, **style)
            every = self.readings[i][~np.isnan(self.readings[i])]
            ax.plot(np.full(len(every), left), every, ">", color=inks.grey, markersize=4.0, clip_on=False)
            shape = bottom + 0.12 * (high - low) * self.densities[i] / highest[i]
            ax.fill_between(self.grid, bottom, shape, color=inks.orange, alpha=0.3, linewidth=0.0)
            name = f"{percent(self.coverage)} interval of the feature" if i == 0 else None
            self.intervals_ += ax.plot(
                self.intervals[i],
                [bottom, bottom],
                color=inks.orange,
                linewidth=4.0,
                label=name,
                clip_on=False,
            )
        ax.set_ylim(bottom, high + 0.03 * (high - low))
        ax.set_xlim(left, float(self.grid[-1]))
        ax.set_xlabel(self.feature)
        ax.set_ylabel(self.target)
        self._legend(2)
        return self
