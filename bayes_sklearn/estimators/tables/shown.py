"""What a fitted estimator shows of itself: the posterior as a table, and HTML in notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .html import fit_as_html

__all__ = ["HTMLMixin", "SummaryMixin"]

if TYPE_CHECKING:
    import pandas as pd


class HTMLMixin(BaseEstimator):
    """scikit-learn's HTML of an estimator with what its fit has found, above the parameters.

    From 1.7 on scikit-learn asks every estimator for its part, so that steps of a Pipeline and the best estimator of
    a search show theirs; with 1.6 it stands below an estimator shown by itself. Before a fit nothing is added.
    """

    def _get_params_html(self, *arguments: Any, **keywords: Any) -> Any:
        params = super()._get_params_html(*arguments, **keywords)
        written, found = params._repr_html_inner, self._fit_html()
        params._repr_html_inner = lambda: found + written()
        return params

    def _get_fitted_attr_html(self, *arguments: Any, **keywords: Any) -> Any:
        # It asks for every attribute: those that are made when they are asked for are absent without `_fitted`.
        kept = object.__new__(type(self))
        kept.__dict__ = {name: value for name, value in vars(self).items() if name != "_fitted"}
        return super(HTMLMixin, kept)._get_fitted_attr_html(*arguments, **keywords)

    def _fit_html(self) -> str:
        return fit_as_html(vars(self).get("best_estimator_", self))

    if not hasattr(BaseEstimator, "_get_params_html"):  # scikit-learn 1.6

        def _repr_html_inner(self) -> str:
            return self._with_fit(super()._repr_html_inner())

        def _repr_mimebundle_(self, **keywords: Any) -> dict[str, str]:
            bundle = super()._repr_mimebundle_(**keywords)
            return {
                kind: self._with_fit(text) if kind == "text/html" else text for kind, text in bundle.items()
            }

        def _with_fit(self, page: str) -> str:
            inside, end, after = page.rpartition("</div></div>")
            return inside + self._fit_html() + end + after


class SummaryMixin(HTMLMixin):
    """`summary` of an estimator that keeps a `FittedModel`."""

    _fitted: Any
    fit_intercept: bool

    def summary(self, coverage: float = 0.95) -> pd.DataFrame:
        """Return the posterior as a table.

        Parameters
        ----------
        coverage : float, default=0.95
            Of the equal-tailed credible intervals, between 0 and 1, else ValueError; NotFittedError before `fit`.

        Returns
        -------
        pandas.DataFrame
            A row for the intercept (at x = 0), each coefficient, the noise scale and what else the noise has, on the
            data's scale, and, where it is learned, for the scale of the coefficients' prior, in that prior's units;
            columns mean, sd, and the limits. Where that prior has several geometries their posterior probabilities
            are in ``attrs["geometry"]``. After HMC and NUTS also ess_bulk, ess_tail and r_hat of draws (NaN for what
            is known), and in ``attrs`` the number of ``divergences`` and ``energy_information``, the energy's least
            fraction of missing information. With errors of features also ``naive``, the coefficient that one finds
            without taking them into account (with likely values in the place of ``X_censored``'s limits, drawn
            without y), and ``reliability``. Under ``noise="known"`` with errors of y,
            ``attrs["reduced_chi_square"]`` is the least sum of squared residuals of a line in units of their errors
            (those of features included), by degrees of freedom: the MSWD, about 1 where the errors are right.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> model.summary().round(1).loc["x0"].to_dict()
        {'mean': 1.9, 'sd': 0.4, 'lower_95%': 0.6, 'upper_95%': 2.5}
        """
        check_is_fitted(self)
        table = self._fitted.summary(coverage)
        return table if self.fit_intercept else table.drop(index="intercept")
