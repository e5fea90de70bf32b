"""The colours of displays, on light and on dark paper.

They are Okabe & Ito's [1]_, which colour-blind people can tell apart. Without colours marks differ by line style,
marker or hatching, so that none of it is lost in print.

.. [1] Okabe & Ito (2008), "Color universal design: how to make figures and presentations that are friendly to
   colorblind people", https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

__all__ = ["LINE_STYLES", "PARTS", "Inks", "luminance", "on_fill"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_STYLES = ("-", "--", ":", "-.")

# What variances are made of: label, colour and hatching.
PARTS = {
    "parameters": ("line (parameters)", "#0072B2", ""),
    "groups": ("effects of groups", "#F0E442", "||"),
    "feature_error": ("errors of features", "#CC79A7", "\\\\"),
    "scatter": ("scatter about the line", "#E69F00", "//"),
    "target_error": ("stated errors of target", "#56B4E9", ""),
    "finite_count": ("finite counts", "#009E73", ".."),
    "total": ("total", "#888888", ""),
}


class Inks(NamedTuple):
    """Colours that can be seen on the paper of some axes."""

    paper: str
    """What is drawn on."""
    ink: str
    """As the labels."""
    grey: str
    """Between both: what is less than the main thing."""
    light: str
    """Bands behind everything."""
    blue: str
    orange: str
    green: str

    @classmethod
    def of(cls, ax: Axes) -> Self:
        """Return those of these axes, whose style made them light or dark."""
        from matplotlib.colors import to_hex, to_rgb, to_rgba

        *own, alpha = to_rgba(ax.get_facecolor())
        behind: Any = ax.figure.get_facecolor()
        paper = alpha * np.array(own) + (1.0 - alpha) * np.array(to_rgb(behind))
        ink = np.array(to_rgb(ax.xaxis.label.get_color()))
        dark = luminance(paper) < 0.2

        def between(share: float) -> str:
            return to_hex(tuple(share * float(dark) + (1.0 - share) * paper))

        accents = ("#56B4E9", "#E69F00", "#00B386") if dark else ("#0072B2", "#D55E00", "#009E73")
        return cls(
            to_hex(tuple(paper)), to_hex(tuple(ink)), between(0.6), between(0.3 if dark else 0.15), *accents
        )

    @property
    def cycle(self) -> tuple[str, ...]:
        """Colours of curves that stand beside each other."""
        return (self.blue, self.orange, self.green, "#CC79A7", self.ink)


def luminance(color: Any) -> float:
    """Return the relative luminance of a colour, as the Web Content Accessibility Guidelines define it."""
    from matplotlib.colors import to_rgb

    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def on_fill(color: Any) -> str:
    """Return what can be seen on a fill, and does not outshine it: towards black or white."""
    from matplotlib.colors import to_hex, to_rgb

    other = 0.0 if luminance(color) > 0.18 else 1.0
    return to_hex(tuple(0.4 * np.array(to_rgb(color)) + 0.6 * other))
