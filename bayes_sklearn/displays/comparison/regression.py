"""One method against the other: readings with their errors, the line, and the line on which both agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ...estimators.calibration.comparison import MethodComparison
from ..drawing.axes import Display, percent
from ..drawing.rows import MOST_DRAWN

__all__ = ["MethodComparisonDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class MethodComparisonDisplay(Display):
    """Readings of two methods with their standard errors, the fitted line with its band, and y = x.

    Parameters
    ----------
    x, y : ndarray of shape (n,)
        Readings, in their unit.
    grid : ndarray of shape (m,)
        True values of x.
    line : ndarray of shape (m,)
        Medians of y's true value there.
    band : ndarray of shape (m, 2)
        Limits of its interval.
    x_err, y_err : ndarray of shape (n,) or None
        Standard errors.
    levels : ndarray of shape (l,), optional
        Values of x at which decisions are taken.
    coverage : float
        Of the band.
    names : tuple of str
        The methods', for the axes.

    Attributes
    ----------
    readings_ : ErrorbarContainer
        After `plot`: readings and errors; of more than 300 samples without these, which would cover each other.
    line_ : Line2D
        After `plot`: the line.
    band_ : PolyCollection
        After `plot`: its band.
    identity_ : Line2D
        After `plot`: where both methods agree.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import MethodComparisonDisplay
    >>> x, y = np.array([4.1, 5.0, 6.2]), np.array([4.4, 5.0, 6.5])
    >>> band = np.column_stack([x, x + 0.4])
    >>> display = MethodComparisonDisplay(x, y, x, x + 0.2, band, names=("serum", "plasma"))
    >>> display.plot().ax_.get_ylabel()
    'plasma'
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        grid: Array,
        line: Array,
        band: Array,
        x_err: Array | None = None,
        y_err: Array | None = None,
        levels: Array | None = None,
        coverage: float = 0.95,
        names: tuple[str, str] = ("x", "y"),
    ):
        self.x = x
        self.y = y
        self.grid = grid
        self.line = line
        self.band = band
        self.x_err = x_err
        self.y_err = y_err
        self.levels = levels
        self.coverage = coverage
        self.names = names

    @classmethod
    def from_comparison(
        cls, comparison: MethodComparison, *, grid_resolution: int = 100, ax: Axes | None = None
    ) -> Self:
        """Draw a comparison.

        Parameters
        ----------
        comparison : MethodComparison
        grid_resolution : int, default=100
            At how many values of x the line is computed.
        ax : matplotlib Axes, optional

        Returns
        -------
        MethodComparisonDisplay
            Drawn.

        Examples
        --------
        >>> from bayes_sklearn import compare_methods
        >>> from bayes_sklearn.displays import MethodComparisonDisplay
        >>> comparison = compare_methods([4.1, 5.0, 6.2, 7.1, 8.3], [4.4, 5.0, 6.5, 7.2, 8.8], x_err=0.2)
        >>> display = MethodComparisonDisplay.from_comparison(comparison)
        >>> display.band.shape
        (100, 2)
        """
        low, high = float(comparison.x.min()), float(comparison.x.max())
        wider = 0.05 * (high - low)
        grid = np.linspace(low - wider, high + wider, grid_resolution)
        line, tails = comparison.line(grid), 0.5 + np.array([-0.5, 0.5]) * comparison.coverage
        middle, *band = (line.quantile(np.full(len(grid), at)) for at in (0.5, *tails))
        return cls(
            comparison.x,
            comparison.y,
            grid,
            middle,
            np.column_stack(band),
            comparison.x_err,
            comparison.y_err,
            comparison.levels,
            comparison.coverage,
            comparison.names,
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
        ax = self._open(ax, (5.4, 5.0))
        inks = self._inks
        label = f"its {percent(self.coverage)} interval"
        ends = self.grid[[0, -1]]
        # The error bars of many rows cover each other.
        many = len(self.x) > MOST_DRAWN
        errors: dict[str, Any] = {} if many else {"xerr": self.x_err, "yerr": self.y_err}
        self.readings_ = ax.errorbar(
            self.x,
            self.y,
            **errors,
            fmt="o",
            markersize=1.5 if many else 3.5,
            color=inks.grey,
            alpha=0.4 if many else 0.7,
            elinewidth=0.8,
            zorder=2,
        )
        (self.line_,) = ax.plot(self.grid, self.line, color=inks.blue, linewidth=1.8, label="line", zorder=3)
        self.band_ = ax.fill_between(
            self.grid, *self.band.T, color=inks.light, linewidth=0.0, alpha=0.8, label=label, zorder=1
        )
        self.identity_: Any
        (self.identity_,) = ax.plot(
            ends, ends, color=inks.orange, linewidth=1.2, linestyle="--", label="both agree", zorder=3
        )
        if self.levels is not None:
            inside = self.levels[(self.levels >= ends[0]) & (self.levels <= ends[1])]
            ax.plot(
                inside,
                np.interp(inside, self.grid, self.line),
                "D",
                color=inks.blue,
                markersize=5.0,
                zorder=4,
                label="levels",
            )
        ax.set_xlim(*ends)
        ax.set_xlabel(self.names[0])
        ax.set_ylabel(self.names[1])
        self._legend(4)
        return self
