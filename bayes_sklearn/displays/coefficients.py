"""Coefficients: what is known of them with the data, beside what was known without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ..estimators.reading import prior_of
from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..priors.base import CoefficientPrior
from .axes import BLUE, GREY, LIGHT, Display, percent

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

    Attributes
    ----------
    posterior_ : ErrorbarContainer
        After `plot`: posterior means and intervals.
    prior_ : BarContainer
        After `plot`: prior intervals.

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
    ):
        self.names = list(names)
        self.mean = mean
        self.interval = interval
        self.prior_interval = prior_interval
        self.coverage = coverage
        self.unit = unit

    @classmethod
    def from_estimator(
        cls,
        estimator: BayesianErrorsInVariablesRegressor,
        *,
        coverage: float = 0.95,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the coefficients of a fitted BayesianErrorsInVariablesRegressor, or of a Pipeline or search with one.

        They are drawn in the units in which their priors are stated: with ``standardize=True``, in standard
        deviations of the target per standard deviation of the feature, so that they can be compared.

        Parameters
        ----------
        estimator : fitted estimator
        coverage : float, default=0.95
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
        scaling = model._fitted.scaling
        scale = scaling.x_scale / scaling.y_scale
        p = len(model.coef_)
        table = model.summary(coverage).iloc[int(model.fit_intercept) :][:p]
        prior: CoefficientPrior = prior_of(model, "coef_prior", CoefficientPrior, p)
        target = model._fitted.likelihood.link.unit
        unit = f"{target or 'sd of target'} per sd of feature"
        if not model.standardize:
            unit = f"{target or 'unit of target'} per unit of feature"
        return cls(
            model.coef_names_,
            table["mean"].to_numpy() * scale,
            table.iloc[:, 2:4].to_numpy() * scale[:, None],
            _prior_interval(prior, p, coverage),
            coverage,
            unit,
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
        p = len(self.mean)
        ax = self._open(ax, (6.0, min(1.8 + 0.35 * p, 14.0)))
        place = np.arange(p)
        drawn = np.isfinite(self.prior_interval).all(axis=1)
        label = f"prior, {percent(self.coverage)} interval"
        self.prior_ = ax.barh(
            place[drawn],
            np.ptp(self.prior_interval[drawn], axis=1),
            left=self.prior_interval[drawn, 0],
            height=0.55,
            color=LIGHT,
            label=label if drawn.any() else "_",
        )
        self.posterior_ = ax.errorbar(
            self.mean,
            place,
            xerr=np.abs(self.interval.T - self.mean),
            fmt="o",
            color=BLUE,
            markersize=4.5,
            elinewidth=2.0,
            label=f"posterior, mean and {percent(self.coverage)} interval",
        )
        ax.use_sticky_edges = False  # a margin beside the bars
        ax.axvline(0.0, color=GREY, linewidth=0.8, zorder=0.5)
        ax.set_yticks(place, self.names)
        ax.set_ylim(p - 0.5, -0.5)  # first feature on top
        ax.set_xlabel(f"coefficient ({self.unit})")
        ax.tick_params(axis="y", length=0)
        self._legend()
        return self


def _prior_interval(prior: CoefficientPrior, size: int, coverage: float) -> Array:
    """Return the limits of equal-tailed prior intervals, (size, 2)."""
    found = None if prior.scale_prior is not None else prior.central_interval("coef_prior", size, coverage)
    return np.full((size, 2), np.nan) if found is None else np.column_stack(found)
