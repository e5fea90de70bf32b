"""An audit of stated errors, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from ..measurements.messages import shown
from ..validation.audit import ErrorAudit, audit_errors
from .drawing.axes import Display

__all__ = ["AuditDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class AuditDisplay(Display):
    """Dispersion by decile, with error bars; the verdict is the title.

    Parameters
    ----------
    audit : ErrorAudit

    Attributes
    ----------
    points_ : ErrorbarContainer
        After `plot`: dispersion by decile and its 95% intervals.
    overall_ : Line2D
        After `plot`: the dispersion of all rows.
    band_ : Polygon
        After `plot`: its 95% interval.
    """

    def __init__(self, audit: ErrorAudit):
        self.audit = audit

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        by: Literal["count", "stated error", "feature error", "predicted std", "prediction"] | None = None,
        ax: Axes | None = None,
        **audit_params: Any,
    ) -> Self:
        """Audit, and draw.

        Parameters
        ----------
        estimator, X, y, sample_weight
            As for `audit_errors`.
        by : {"count", "stated error", "feature error", "predicted std", "prediction"}, optional
            As for `plot`.
        ax : matplotlib Axes, optional
        **audit_params
            What else `audit_errors` takes: ``y_err``, ``X_err``, ``held_out``, ...
        """
        return cls(audit_errors(estimator, X, y, sample_weight, **audit_params)).plot(ax, by=by)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        by: Literal["count", "stated error", "feature error", "predicted std", "prediction"] | None = None,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.
        by : {"count", "stated error", "feature error", "predicted std", "prediction"}, optional
            What to group rows by; None: the first of these in which rows differ.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Where rows can't be grouped by it.
        """
        found = self.audit.by
        by = by or next(iter(found), None)  # type: ignore[arg-type]
        if by not in found:
            raise ValueError(f"by must be one of {', '.join(map(repr, found)) or 'none'}, got {shown(by)}.")
        groups = found[by]
        ax = self._open(ax, (6.4, 4.8))
        inks = self._inks
        lower, upper = self.audit.interval
        self.band_ = ax.axhspan(lower, upper, color=inks.light, linewidth=0.0, zorder=0)
        self.overall_ = ax.axhline(
            self.audit.dispersion, color=inks.grey, linewidth=1.2, label="all rows (band: 95%)", zorder=1
        )
        ax.axhline(1.0, color=inks.ink, linewidth=0.9, linestyle="--", label="errors are right", zorder=1)
        place = np.arange(len(groups.value))
        self.points_ = ax.errorbar(
            place,
            groups.value,
            yerr=[groups.value - groups.lower, groups.upper - groups.value],
            fmt="o",
            color=inks.blue,
            capsize=2.5,
            label="tenths of the rows (bars: 95%)",
        )
        ax.set_yscale("log")
        low, high = min(0.5, groups.lower.min(), lower), max(2.0, groups.upper.max(), upper)
        places = np.array([0.01, 0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 100.0])
        if high > 300.0 * low:
            decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1.0)
            places = 10.0 ** decades[decades % (1 + len(decades) // 8) == 0.0]
        ticks = places[(low <= places) & (places <= high)]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_yticks([], minor=True)
        self._label_groups(groups.low, groups.high, by)
        judged = {"predicted": "predicted standard deviations", "fitted": "standard deviations fitted"}.get(
            self.audit.kind, "stated errors"
        )
        ax.set_ylabel(f"dispersion (mean squared distance from\nthe line, in {judged})")
        verdict = self.audit.verdict
        of_size = verdict in ("about right", "too small", "too large")
        title = f"The {judged} are {verdict}" if of_size else verdict.capitalize()
        self._legend(columns=3)
        ax.set_title(title, wrap=True)
        return self
