"""How true features and their errors are said to be distributed."""

from __future__ import annotations

from numbers import Integral

from sklearn.base import BaseEstimator

from ..measurements.messages import shown
from .base import Parametrized, ScalePrior, UnitPrior

__all__ = ["Mixture", "Outliers", "resolve_components", "resolve_outliers"]


class Mixture(BaseEstimator):
    """A mixture of normal distributions, (23), for true features that are skewed or lie in clusters.

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


class Outliers(Parametrized):
    """Errors of features some of which are larger than stated, (24a): each reading may be wild, independently.

    A reading is wild with a probability that is learned, and the standard deviation of its error is then the one
    stated times a factor that is learned, too: both are common to all features with errors.

    Parameters
    ----------
    share_prior : UnitPrior, default=None
        Of the probability; None is ``Beta(1, 10)``, a tenth at the most likely: where most readings are wild, errors
        are just larger than stated.
    factor_prior : ScalePrior, default=None
        Of what the factor exceeds 2 by; None is ``HalfStudentT(nu=3, sigma=6)``: the factor's median is 6.6, and one
        of a hundred is not excluded.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, Beta, Outliers
    >>> model = BayesianErrorsInVariablesRegressor(x_error_distribution=Outliers(share_prior=Beta(1, 50)))
    """

    def __init__(self, share_prior: UnitPrior | None = None, factor_prior: ScalePrior | None = None):
        self.share_prior = share_prior
        self.factor_prior = factor_prior


def resolve_outliers(x_error_distribution: object) -> Outliers | None:
    """Return what the estimator's `x_error_distribution` says of wild readings; None: there are none.

    Raises
    ------
    ValueError, TypeError
        Naming the parameter.
    """
    if isinstance(x_error_distribution, Outliers):
        return x_error_distribution
    said = (
        "x_error_distribution must be 'normal', 'outliers' or an Outliers(share_prior=..., factor_prior=...), got"
        f" {shown(x_error_distribution)}."
    )
    if not isinstance(x_error_distribution, str):
        raise TypeError(said)
    if x_error_distribution not in ("normal", "outliers"):
        raise ValueError(said)
    return Outliers() if x_error_distribution == "outliers" else None
