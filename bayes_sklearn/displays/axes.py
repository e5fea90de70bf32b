"""What all displays share: where they draw, their colours, and matplotlib, which comes in here alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measurements.checks import check_vector
from ..prediction.distribution import PredictiveDistribution

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "LIGHT",
    "ORANGE",
    "PARTS",
    "Display",
    "RowWeights",
    "measured_alone",
    "percent",
]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

# Okabe & Ito's colours, which colour-blind people can tell apart.
BLUE, ORANGE, GREEN, GREY, LIGHT = "#0072B2", "#D55E00", "#009E73", "#666666", "#d9d9d9"

PARTS = {
    "parameters": "#0072B2",
    "groups": "#F0E442",
    "feature_error": "#CC79A7",
    "scatter": "#E69F00",
    "target_error": "#56B4E9",
    "finite_count": "#009E73",
    "total": "#666666",
}


class Display(ABC):
    """Something that can be drawn.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        After `plot`: where it was drawn.
    figure_ : matplotlib.figure.Figure
        After `plot`: the figure around it.
    """

    ax_: Any
    figure_: Any
    line_: Any

    @abstractmethod
    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.

        Returns
        -------
        self

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn.displays import PITDisplay
        >>> display = PITDisplay(np.linspace(0.01, 0.99, 50)).plot()
        >>> display.ax_.get_ylabel()
        'number of measurements'
        """

    def _open(self, ax: Axes | None, size: tuple[float, float] = (6.0, 4.5)) -> Any:
        """Return the axes to draw in: those given, or those of a new figure.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                "Displays need matplotlib, which is not installed: pip install bayes_sklearn[plot]"
            ) from error
        if ax is None:
            _, ax = plt.subplots(figsize=size, layout="constrained")
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return ax

    def _legend(self, columns: int = 1) -> None:
        """Put the legend above the axes, where it covers no data."""
        self.ax_.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, fontsize="small"
        )


class RowWeights(NamedTuple):
    """How often each row counts; rows of weight 0 are left out."""

    used: NDArray[np.bool_]
    """(rows given,) which of them count."""
    weight: Array
    """(n,) of those that do."""

    @classmethod
    def of(cls, sample_weight: ArrayLike | None, n: int) -> RowWeights:
        """Check weights; None: every row counts once.

        Raises
        ------
        TypeError, ValueError
            Where they are not n numbers from 0, of which some are positive.
        """
        if sample_weight is None:
            return cls(np.ones(n, dtype=bool), np.ones(n))
        weight = check_vector(sample_weight, n, "sample_weight", scalar=False)
        used = weight > 0.0
        if not used.any():
            raise ValueError("sample_weight is 0 (row left out) in every row: there is nothing to draw.")
        return cls(used, weight[used])

    def where(self, seen: NDArray[np.bool_]) -> RowWeights:
        """Return the weights of those of all rows, (rows given,), of which something was measured."""
        weight = np.zeros(len(seen))
        weight[self.used] = self.weight
        return RowWeights.of(np.where(seen, weight, 0.0), len(seen))

    @property
    def total(self) -> float:
        return float(self.weight.sum())

    @property
    def n_effective(self) -> int:
        """Equally weighted rows whose share scatters as much, (62)."""
        return max(round(self.total**2 / float(self.weight @ self.weight)), 1)


def measured_alone(distribution: PredictiveDistribution, sample_weight: ArrayLike | None) -> ArrayLike | None:
    """Return weights that leave out rows of which nothing was measured: their count is 0."""
    if distribution.measured is None:
        return sample_weight
    n = len(distribution)
    weight = 1.0 if sample_weight is None else check_vector(sample_weight, n, "sample_weight", scalar=False)
    return weight * distribution.measured


def percent(probability: float) -> str:
    """Return a probability as a percentage."""
    return f"{100.0 * probability:g}%"


def complete_rows(table: Any) -> NDArray[np.bool_]:
    """Return which rows lack nothing: those are drawn."""
    lacking = np.asarray(table.isna() if hasattr(table, "isna") else np.isnan(table))
    return np.asarray(~lacking.any(axis=1))
