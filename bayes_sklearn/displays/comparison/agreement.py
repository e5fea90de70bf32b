"""Differences of two methods against their means, with limits of agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ...estimators.calibration.comparison import MethodComparison
from ..drawing.axes import Display, percent
from ..drawing.rows import MOST_DRAWN

__all__ = ["BlandAltmanDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class BlandAltmanDisplay(Display):
    """How far two methods lie apart at each sample, the mean difference, and the limits of agreement.

    Parameters
    ----------
    mean : ndarray of shape (n,)
        Of both methods, in their unit.
    difference : ndarray of shape (n,)
        The second method less the first.
    limits : ndarray of shape (3, 3)
        Of the mean difference, the lower and the upper limit of agreement: the estimate, and an interval.
    coverage : float
        Of the limits, and of the intervals.
    names : tuple of str
        The methods', for the axes.

    Attributes
    ----------
    points_ : PathCollection
        After `plot`: the samples.
    lines_ : list of Line2D
        After `plot`: mean difference and limits.
    bands_ : list of artists
        After `plot`: their intervals.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import BlandAltmanDisplay
    >>> limits = np.array([[0.3, 0.1, 0.5], [-0.1, -0.7, 0.1], [0.6, 0.5, 1.2]])
    >>> display = BlandAltmanDisplay(np.array([4.2, 5.0]), np.array([0.3, 0.0]), limits, names=("serum", "plasma"))
    >>> display.plot().ax_.get_ylabel()
    'plasma - serum'
    """

    def __init__(
        self,
        mean: Array,
        difference: Array,
        limits: Array,
        coverage: float = 0.95,
        names: tuple[str, str] = ("x", "y"),
    ):
        self.mean = mean
        self.difference = difference
        self.limits = limits
        self.coverage = coverage
        self.names = names

    @classmethod
    def from_comparison(cls, comparison: MethodComparison, *, ax: Axes | None = None) -> Self:
        """Draw a comparison.

        Parameters
        ----------
        comparison : MethodComparison
            Of replicates, points are their means, and limits those of single readings.
        ax : matplotlib Axes, optional

        Returns
        -------
        BlandAltmanDisplay
            Drawn.

        Examples
        --------
        >>> from bayes_sklearn import compare_methods
        >>> from bayes_sklearn.displays import BlandAltmanDisplay
        >>> comparison = compare_methods([4.1, 5.0, 6.2, 7.1, 8.3], [4.4, 5.0, 6.5, 7.2, 8.8], x_err=0.2)
        >>> display = BlandAltmanDisplay.from_comparison(comparison)
        >>> display.limits.shape
        (3, 3)
        """
        return cls(
            0.5 * (comparison.x + comparison.y),
            comparison.y - comparison.x,
            comparison.limits_of_agreement().to_numpy(),
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
        ax = self._open(ax)
        inks = self._inks
        ax.axhline(0.0, color=inks.grey, linewidth=0.8, linestyle=":", zorder=1)
        many = len(self.mean) > MOST_DRAWN
        dots: dict[str, Any] = {"s": 4.0, "alpha": 0.4, "zorder": 2} if many else {"s": 16.0, "zorder": 4}
        self.points_ = ax.scatter(self.mean, self.difference, color=inks.grey, linewidths=0.0, **dots)
        self.lines_: list[Any] = []
        self.bands_: list[Any] = []
        labels = ("mean difference", f"{percent(self.coverage)} limits of agreement", None)
        shades = (None, f"their {percent(self.coverage)} intervals", None)
        colors, styles = (inks.blue, inks.orange, inks.orange), ("-", "--", "--")
        for (middle, low, high), color, style, label, shade in zip(
            self.limits, colors, styles, labels, shades, strict=True
        ):
            self.lines_.append(
                ax.axhline(middle, color=color, linewidth=1.6, linestyle=style, zorder=3, label=label)
            )
            self.bands_.append(
                ax.axhspan(low, high, color=color, linewidth=0.0, alpha=0.25, zorder=0, label=shade)
            )
            ax.annotate(
                f"{middle:.3g}",
                (1.0, middle),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=color,
                fontsize="small",
            )
        first, second = self.names
        apart = "\n" if len(first + second) > 30 else " "
        ax.set_xlabel(f"mean of {first}{apart}and {second}")
        ax.set_ylabel(f"{second}{apart}- {first}")
        self._legend(3)
        return self
