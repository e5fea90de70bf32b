"""How the true values of features that were measured with error are distributed."""

from __future__ import annotations

from numbers import Integral

from sklearn.base import BaseEstimator

from ..measurements.messages import shown

__all__ = ["Mixture", "resolve_components"]


class Mixture(BaseEstimator):
    """A mixture of normal distributions, for true features that are skewed or lie in clusters.

    Given the exact features z and a component c, the true features are Normal(mu_c + Gamma z, T_c): the components
    have means and covariances of their own, and the dependence on z is common.

    Parameters
    ----------
    n_components : int, default=None
        How many components; None: as many, up to five, as the data speak for, by the marginal likelihood. One is the
        normal distribution.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, Mixture
    >>> model = BayesianErrorsInVariablesRegressor(x_distribution=Mixture(n_components=2))
    """

    def __init__(self, n_components: int | None = None):
        self.n_components = n_components


def resolve_components(x_distribution: object) -> int | None:
    """Return the number of components that the estimator's `x_distribution` asks for; None: to be chosen.

    Raises
    ------
    ValueError, TypeError
        Naming the parameter.
    """
    if isinstance(x_distribution, str):
        if x_distribution in ("normal", "mixture"):
            return 1 if x_distribution == "normal" else None
        raise ValueError(
            f"x_distribution must be 'normal', 'mixture' or a Mixture(n_components=...), got {shown(x_distribution)}."
        )
    if not isinstance(x_distribution, Mixture):
        raise TypeError(
            f"x_distribution must be 'normal', 'mixture' or a Mixture(n_components=...), got {shown(x_distribution)}."
        )
    count = x_distribution.n_components
    if count is None:
        return None
    if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
        raise ValueError(
            f"x_distribution: n_components must be a whole number from 1, or None for a choice, got {shown(count)}."
        )
    return int(count)
