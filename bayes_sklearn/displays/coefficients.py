"""Coefficients: what is known of them with the data, beside what was known without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ..estimators.reading import prior_of
from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..priors.base import CoefficientPrior
from .drawing.axes import Display, percent

__all__ = ["CoefficientDisplay"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class CoefficientDisplay(Display):
    """Posterior of each coefficient against its prior.

    Parameters
    ----------
    names : sequence of str
        Names of the p coefficients.
    mean : ndarray of shape (p,)
        Posterior means.
    interval : ndarray of shape (p, 2)
        Limits of posterior intervals.
    prior_interval : ndarray of shape (p, 2)
        Limits of prior intervals; infinite under a flat prior, NaN where the prior has no closed form.
    coverage : float
        Of both.
    unit : str
        Of the coefficients, for the axis.
    per_unit : ndarray of shape (p,), optional
        What the coefficients of `summary()` are multiplied by to be these. Those are then written beside the rows.

    Attributes
    ----------
    posterior_ : ErrorbarContainer
        After `plot`: posterior means and intervals.
    prior_ : BarContainer
        After `plot`: prior intervals; those that would make the posteriors too small to see are cut off.
    values_ : list of Text
        After `plot`: means and intervals in the unit of `summary()`, where the axis has another one.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.displays import CoefficientDisplay
    >>> display = CoefficientDisplay(["dose"], np.array([0.4]), np.array([[0.1, 0.7]]), np.array([[-2.0, 2.0]]))
    >>> display.plot().ax_.get_xlabel()
    'coefficient (unit of target per unit of feature)'
    """

    def __init__(
        self,
        names: Any,
        mean: Array,
        interval: Array,
        prior_interval: Array,
        coverage: float = 0.95,
        unit: str = "unit of target per unit of feature",
        per_unit: Array | None = None,
    ):
        self.names = list(names)
        self.mean = mean
        self.interval = interval
        self.prior_interval = prior_interval
        self.coverage = coverage
        self.unit = unit
        self.per_unit = per_unit

    @classmethod
    def from_estimator(
        cls,
        estimator: BayesianErrorsInVariablesRegressor,
        *,
        coverage: float = 0.95,
        standardized: bool = True,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the coefficients of a fitted BayesianErrorsInVariablesRegressor, or of a Pipeline or search with one.

        With ``standardize=True`` they are drawn in the units in which their priors are stated, standard deviations of
        the target per standard deviation of the feature, so that they can be compared. Beside them stands what
        `summary()` says, per unit of each feature.

        Parameters
        ----------
        estimator : fitted estimator
        coverage : float, default=0.95
        standardized : bool, default=True
            False: they are drawn per unit of each feature, as in `summary()`.
        ax : matplotlib Axes, optional

        Returns
        -------
        CoefficientDisplay
            Drawn.

        Raises
        ------
        TypeError
            For another regressor, whose priors are not known.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.displays import CoefficientDisplay
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> CoefficientDisplay.from_estimator(model).mean.round(1)  # in standard deviations
        array([1.])
        """
        model = estimator
        while not isinstance(model, BayesianErrorsInVariablesRegressor):
            if hasattr(model, "best_estimator_"):
                model = model.best_estimator_
            elif hasattr(model, "steps"):
                model = model.steps[-1][1]
            else:
                raise TypeError(
                    f"CoefficientDisplay takes a BayesianErrorsInVariablesRegressor, not {type(model).__name__}:"
                    " what another's priors are is not known."
                )
        check_is_fitted(model)
        scaling, p = model._fitted.scaling, len(model.coef_)
        scale = np.broadcast_to(scaling.x_scale / scaling.y_scale, (p,))
        table = model.summary(coverage).iloc[int(model.fit_intercept) :][:p]
        prior: CoefficientPrior = prior_of(model, "coef_prior", CoefficientPrior, p)
        found = np.column_stack([table["mean"], table.iloc[:, 2:4]])
        before = _prior_interval(prior, p, coverage)
        target = model._fitted.likelihood.link.unit
        if standardized and model.standardize:
            unit, found, per_unit = (
                f"{target or 'sd of target'} per sd of feature",
                found * scale[:, None],
                scale,
            )
        else:
            unit, before, per_unit = (
                f"{target or 'unit of target'} per unit of feature",
                before / scale[:, None],
                None,
            )
        return cls(model.coef_names_, found[:, 0], found[:, 1:], before, coverage, unit, per_unit).plot(ax)

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
        header = self.per_unit is not None
        ax = self._open_rows(ax, self.names, 4.6 + 1.6 * header, above=1.0 * header)
        place, inks = np.arange(len(self.mean)), self._inks
        drawn = np.isfinite(self.prior_interval).all(axis=1)
        low, high = self._limits()
        widest = self.prior_interval[drawn]
        cut = drawn.any() and (widest.min() < low or widest.max() > high)
        label = f"prior, {percent(self.coverage)} interval"
        label += f" (cut off: {widest.min():.3g} to {widest.max():.3g})" if cut else ""
        self.prior_ = ax.barh(
            place[drawn],
            np.ptp(widest, axis=1),
            left=widest[:, 0],
            height=0.6,
            color=inks.light,
            label=label if drawn.any() else "_",
        )
        # Marks that are thin along the axis hide no interval, however narrow.
        self.posterior_ = ax.errorbar(
            self.mean,
            place,
            xerr=np.abs(self.interval.T - self.mean),
            fmt="|",
            color=inks.blue,
            markersize=9.0,
            markeredgewidth=1.2,
            elinewidth=3.0,
            label=f"posterior, mean and {percent(self.coverage)} interval",
        )
        ax.axvline(0.0, color=inks.grey, linewidth=0.8, zorder=0.5)
        ax.set_xlim(low, high)
        ax.set_xlabel(f"coefficient ({self.unit})")
        self.values_ = self._write_values(ax) if header else []
        self._legend()
        return self

    def _limits(self) -> tuple[float, float]:
        """Return the limits of the axis: posteriors and zero have a third of it or more, priors what they need."""
        ends = np.append(self.interval, 0.0)
        low, high = float(ends.min()), float(ends.max())
        span, margin = high - low or 1.0, 0.05 * (high - low or 1.0)
        before = self.prior_interval[np.isfinite(self.prior_interval).all(axis=1)]
        least, largest = (min(low, before.min()), max(high, before.max())) if len(before) else (low, high)
        if largest - least > 3.0 * span:
            least, largest = max(least, low - 0.5 * span), min(largest, high + 0.5 * span)
        return least - margin, largest + margin

    def _write_values(self, ax: Any) -> list[Any]:
        """Write what `summary()` says beside each row."""
        found = np.column_stack([self.mean, self.interval]) / np.asarray(self.per_unit)[:, None]
        texts = [f"{mean:.3g} [{low:.3g}, {high:.3g}]" for mean, low, high in found]
        size = ax.get_yticklabels()[0].get_fontsize()
        style: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": size}
        ax.text(1.03, -1.0, "per unit of feature", color=self._inks.grey, **style)
        return [ax.text(1.03, i, text, color=self._inks.ink, **style) for i, text in enumerate(texts)]


def _prior_interval(prior: CoefficientPrior, size: int, coverage: float) -> Array:
    """Return the limits of equal-tailed prior intervals, (size, 2)."""
    found = None if prior.scale_prior is not None else prior.central_interval("coef_prior", size, coverage)
    return np.full((size, 2), np.nan) if found is None else np.column_stack(found)
