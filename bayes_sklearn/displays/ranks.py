"""Ranks of true values in posteriors: what simulation-based calibration found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..measurements.messages import shown
from ..validation.calibration import simulation_based_calibration
from ..validation.ranks import uniform_band
from .drawing.axes import Display
from .drawing.inks import LINE_STYLES

__all__ = ["RankDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class RankDisplay(Display):
    """Where true values lie in their posteriors: evenly, where posteriors are calibrated.

    Intervals that are too narrow make a wave that is first above and then below the line, or a bowl of bars; too wide
    ones the opposite. Curves above the line everywhere say that posteriors lie too high.

    Parameters
    ----------
    ranks : DataFrame or array-like of shape (n_simulations, n_parameters)
        Posterior probability of less than the true value, as in
        `bayes_sklearn.validation.SimulationBasedCalibration`; rows with NaN are left out.
    names : sequence of str, optional
        Of the parameters; None: those of the columns.

    Attributes
    ----------
    ranks : ndarray of shape (n, n_parameters)
    names : list of str
    lines_ : list of Line2D
        After `plot`: one curve per parameter. Of more than six, those that leave the band have colours and names.
    outside_ : list of str
        After `plot`: the names of those that leave it.
    band_ : PolyCollection
        After `plot`: where calibrated posteriors are.

    References
    ----------
    .. [1] Säilynoja, Bürkner & Vehtari (2022), "Graphical test for discrete uniformity and its applications in
       goodness-of-fit evaluation and multiple sample comparison", Statistics and Computing 32:32.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import RankDisplay
    >>> display = RankDisplay(np.linspace(0.01, 0.99, 50), names=["slope"]).plot()
    >>> len(display.lines_)
    1
    """

    def __init__(self, ranks: ArrayLike, names: Sequence[str] | None = None):
        labels = [str(name) for name in getattr(ranks, "columns", [])]
        values = np.asarray(ranks, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim == 2:
            values = values[~np.isnan(values).any(axis=1)]
        if values.ndim != 2 or not values.size or not ((values >= 0.0) & (values <= 1.0)).all():
            raise ValueError(
                "ranks must be numbers in [0, 1], one row per simulation, one column per parameter: give those that"
                " simulation_based_calibration returns."
            )
        self.ranks = values
        self.names = list(names) if names is not None else labels or [f"x{i}" for i in range(values.shape[1])]
        if len(self.names) != values.shape[1]:
            raise ValueError(f"names has {len(self.names)} entries, but ranks {values.shape[1]} columns.")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        kind: Literal["ecdf_difference", "histogram"] = "ecdf_difference",
        ax: Axes | None = None,
        **simulation_params: Any,
    ) -> Self:
        """Simulate, fit, and draw.

        Parameters
        ----------
        estimator, X, y
            As for `bayes_sklearn.validation.simulation_based_calibration`.
        kind : {"ecdf_difference", "histogram"}, default="ecdf_difference"
            As for `plot`.
        ax : matplotlib Axes, optional
        **simulation_params
            What else that takes: ``counts``, ``y_err``, ``X_err``, ``n_simulations``, ``random_state``, ...

        Returns
        -------
        RankDisplay
            Drawn.

        Raises
        ------
        ValueError, TypeError
            For bad input, naming the argument.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import RankDisplay
        >>> model, X = BayesianErrorsInVariablesRegressor(noise="known"), np.linspace(-1.0, 1.0, 12)[:, None]
        >>> RankDisplay.from_estimator(model, X, y_err=0.3, n_simulations=20, random_state=0).names
        ['intercept', 'x0', 'prior_scale', 'log_likelihood']
        """
        found = simulation_based_calibration(estimator, X, y, **simulation_params)
        return cls(found.ranks).plot(ax, kind=kind)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["ecdf_difference", "histogram"] = "ecdf_difference",
        bins: int = 10,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: in a new figure.
        kind : {"ecdf_difference", "histogram"}, default="ecdf_difference"
            "ecdf_difference": the empirical distribution function of each parameter's ranks less the uniform one; of
            calibrated posteriors all curves are inside the band, everywhere, in at least 95% of cases.
            "histogram": simulations by bin, one outline per parameter; of calibrated posteriors all bars end in the
            band in at least 95% of cases (binomial, Bonferroni).
        bins : int, default=10
            Of the histogram.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For another kind, or less than one bin.
        """
        if kind not in ("ecdf_difference", "histogram"):
            raise ValueError(f"kind must be 'ecdf_difference' or 'histogram', got {kind!r}.")
        if bins < 1:
            raise ValueError(f"bins must be a whole number from 1, got {shown(bins)}.")
        ax = self._open(ax)
        # All curves together leave the band in 5% of cases at most.
        outside = 0.05 / len(self.names)
        if kind == "ecdf_difference":
            self._ecdf_difference(ax, outside)
        else:
            self._histogram(ax, outside, bins)
        ax.set_xlim(0.0, 1.0)
        ax.set_xlabel("rank of the true value in its posterior (share of the posterior below it)")
        self._legend(columns=3)
        return self

    def _ecdf_difference(self, ax: Any, outside: float) -> None:
        n = len(self.ranks)
        band = uniform_band(n, 1.0 - outside)
        places = np.concatenate([[0.0], band.places, [1.0]])
        lower, upper = (np.concatenate([[0.0], limit, [1.0]]) - places for limit in (band.lower, band.upper))
        self._band(ax, places, lower, upper)
        below = (self.ranks[:, :, None] <= band.places).mean(axis=0)
        away = np.maximum(band.lower - below, below - band.upper).max(axis=1)
        curves = []
        for values in self.ranks.T:
            # The difference falls and jumps at every value.
            at = np.concatenate([[0.0], np.repeat(np.sort(values), 2), [1.0]])
            curves.append((at, np.repeat(np.arange(n + 1) / n, 2) - at))
        self._curves(ax, curves, away, linewidth=1.4)
        ax.axhline(0.0, color=self._inks.grey, linewidth=0.8, linestyle="--")
        ax.set_ylabel("share of simulations below,\nless the rank")

    def _histogram(self, ax: Any, outside: float, bins: int) -> None:
        n, edges, tail = len(self.ranks), np.linspace(0.0, 1.0, bins + 1), 0.5 * outside / bins
        lower, upper = (stats.binom.ppf(q, n, 1.0 / bins) for q in (tail, 1.0 - tail))
        self._band(ax, [0.0, 1.0], lower, upper)
        heights = np.array([np.histogram(values, edges)[0] for values in self.ranks.T])
        away = np.maximum(lower - heights, heights - upper).max(axis=1)
        curves = [(edges, np.append(own, own[-1])) for own in heights]
        self._curves(ax, curves, away, drawstyle="steps-post", linewidth=1.4)
        ax.axhline(n / bins, color=self._inks.grey, linewidth=0.8, linestyle="--")
        ax.set_ylim(bottom=0.0)
        ax.set_ylabel("number of simulations")

    def _band(self, ax: Any, places: Any, lower: Any, upper: Any) -> None:
        self.band_ = ax.fill_between(
            places,
            lower,
            upper,
            color=self._inks.light,
            linewidth=0.0,
            zorder=0.5,
            label="95% of the time, if calibrated",
        )

    def _curves(self, ax: Any, curves: list[Any], away: Array, **style: Any) -> None:
        """Draw one curve per parameter; of many, those furthest outside the band (by `away`) have names."""
        most, colors, grey = 6, self._inks.cycle, self._inks.grey
        k = len(self.names)
        self.outside_ = [name for name, far in zip(self.names, away, strict=True) if far > 0.0]
        named = list(range(k)) if k <= most else [i for i in np.argsort(-away)[:most] if away[i] > 0.0]
        others = k - len(named)
        label = f"{others} others" if named else f"all {k} parameters, inside"
        if named and len(self.outside_) > len(named):
            label = f"{others} others ({len(self.outside_) - len(named)} of them outside)"
        self.lines_ = [None] * k
        for i in [j for j in range(k) if j not in named]:
            (self.lines_[i],) = ax.plot(*curves[i], color=grey, alpha=0.5, label=label, zorder=1.5, **style)
            label = "_"
        for place, i in enumerate(named):
            own = {"color": colors[place % len(colors)], "linestyle": LINE_STYLES[place % len(LINE_STYLES)]}
            (self.lines_[i],) = ax.plot(*curves[i], label=self.names[i], **own, **style)
