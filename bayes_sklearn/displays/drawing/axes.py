"""Where displays draw, and matplotlib, which comes in here alone."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .inks import Inks

__all__ = ["Display", "percent"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


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
    _inks: Inks
    _named_rows = False

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

    def _open(self, ax: Axes | None, size: tuple[float, float] = (6.0, 4.8)) -> Any:
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
        self.ax_, self.figure_, self._inks = ax, ax.figure, Inks.of(ax)
        return ax

    def _open_rows(
        self, ax: Axes | None, names: Sequence[str], width: float = 4.6, above: float = 0.0
    ) -> Any:
        """Return axes with one row per name, the first on top: long names are broken, and none meets its neighbours.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        names : sequence of str
        width : float
            Of the axes without the names, in inches, if they are new.
        above : float
            Room above the first row, in rows.
        """
        rows, below, least = len(names) + above, 1.1, 7.0  # inches for the label and the legend; points
        broken = [_broken(name) for name in names]
        lines = max(name.count("\n") for name in broken) + 1
        longest = max(len(line) for name in broken for line in name.split("\n"))
        own = (width + 0.08 * longest, min(below + max(0.2 * lines + 0.1, 0.34) * rows, 40.0))
        new, ax, self._named_rows = ax is None, self._open(ax, own), True
        room = 72.0 / 1.3 / rows * (own[1] - below if new else ax.bbox.height / self.figure_.dpi)
        if room < least * lines:  # whole they may be larger
            broken, lines = [str(name) for name in names], 1
        ax.set_yticks(np.arange(len(names)), broken)
        ax.set_ylim(len(names) - 0.5, -0.5 - above)
        ax.tick_params(axis="y", length=0)
        for label in ax.get_yticklabels():
            label.set(fontsize=max(min(label.get_fontsize(), room / lines), 3.0), multialignment="right")
        return ax

    def _label_groups(self, low: Array, high: Array, of: str) -> None:
        """Label places along x by the least and the largest value of each group of rows."""
        edges, most = np.concatenate([low, high]), 7
        apart = 0.7 * len(np.unique(edges))
        digits = next((n for n in range(3, 7) if len({f"{edge:.{n}g}" for edge in edges}) >= apart), 7)
        rounded = (
            tuple(f"{float(f'{at:.{digits}g}'):.7g}" for at in pair) for pair in zip(low, high, strict=True)
        )
        labels = ["\n".join(pair) for pair in rounded]
        long = max(len(line) for label in labels for line in label.split("\n")) > most
        ax = self.ax_
        ax.set_xticks(np.arange(len(low)), labels, fontsize="small", rotation=90.0 if long else 0.0)
        ax.set_xlabel(f"{of}: least and largest of each tenth of the rows")

    def _legend(self, columns: int = 1) -> None:
        """Put the legend below the axes, where it covers neither data nor a title, in as many columns as fit."""
        from matplotlib.transforms import ScaledTranslation

        ax, dpi_scale = self.ax_, self.figure_.dpi_scale_trans
        across, below = ax.bbox.width, ax.bbox.y0 - ax.xaxis.get_tightbbox().y0
        down = ScaledTranslation(0.0, -below / self.figure_.dpi, dpi_scale)
        style: dict[str, Any] = {
            "borderaxespad": 0.4,
            "frameon": False,
            "fontsize": "small",
            "labelcolor": self._inks.ink,
            "bbox_transform": ax.transAxes + down,
        }
        # Below long names there is room, and beside them there may be little.
        corner, end = ("upper right", 1.0) if self._named_rows else ("upper left", 0.0)
        for n in range(columns, 0, -1):
            legend = ax.legend(loc=corner, bbox_to_anchor=(end, 0.0), ncols=n, **style)
            if legend.get_window_extent().width <= across:
                break


def percent(probability: float) -> str:
    """Return a probability as a percentage."""
    return f"{100.0 * probability:g}%"


def _broken(name: str, most: int = 32) -> str:
    """Return a name in lines of at most so many characters, broken where words end if they do."""
    lines = [""]
    for word in re.findall(rf"[^\s_.:/-]{{1,{most}}}[\s_.:/-]*|[\s_.:/-]+", name):
        if lines[-1] and len(lines[-1] + word.rstrip()) > most:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip(" ") for line in lines)
