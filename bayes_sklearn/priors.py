"""Prior distributions: what the user says about coefficients, intercept and noise scale.

Every prior is a plain scikit-learn estimator: it prints, clones, nests in a grid search and is checked at fit.
Parameter names and meanings are PyMC's. With ``standardize=True`` (the default) all of them are in units of the
standardised features and target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from sklearn.base import BaseEstimator

Array = NDArray[np.float64]

__all__ = [
    "CoefficientPrior",
    "Exponential",
    "Flat",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "InverseGamma",
    "Normal",
    "ScalePrior",
]


class Prior(BaseEstimator):
    """A prior distribution and the parameters it was given."""

    _positive: ClassVar[tuple[str, ...]] = ()
    """Parameters that have to be positive; the others may be any finite number."""

    def check(self, argument: str, size: int) -> Mapping[str, Array]:
        """Return every parameter as an array of shape (size,).

        Parameters
        ----------
        argument : str
            The estimator's argument that holds this prior, for the message.
        size : int
            How many numbers the prior is of.

        Returns
        -------
        dict of str to ndarray of shape (size,)

        Raises
        ------
        TypeError, ValueError
            Where a parameter is not a finite real number (or, a scale, not positive), or an array of another
            length.
        """
        return {
            name: self._check_one(f"{argument}__{name}", value, size, name in self._positive)
            for name, value in vars(self).items()
        }

    def _check_one(self, key: str, value: object, size: int, positive: bool) -> Array:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{key} must be a number or an array of numbers, got {value!r}.")
        if array.ndim and (isinstance(self, ScalePrior) or array.shape != (size,)):
            wanted = f"there are {size} features: give one number for all, or one a feature"
            wanted = "give one number" if size == 1 else wanted
            raise ValueError(f"{key} has shape {array.shape}; {wanted}.")
        if not np.isfinite(array).all():
            raise ValueError(f"{key} must be finite, got {value!r}. For no prior information, use Flat().")
        if positive and not (array > 0.0).all():
            raise ValueError(f"{key} must be positive, got {value!r}. For no prior information, use Flat().")
        return np.broadcast_to(array.astype(np.float64), (size,)).copy()


class CoefficientPrior(Prior):
    """A prior for coefficients or the intercept: independent, with parameters of one value or one a feature."""

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array] | None:
        """Return mean and standard deviation, (size,) each, or None if the prior is not Gaussian.

        An infinite standard deviation stands for a flat prior.
        """
        return None


class ScalePrior(Prior, ABC):
    """A prior for a positive scale."""

    tail_power: ClassVar[float] = np.inf
    """The density falls as this power of a large scale (infinity: faster than any)."""

    @abstractmethod
    def log_density(self, scale: Array) -> Array:
        """Return the normalised log density at positive scales."""

    def tail(self) -> float:
        """Return the power of the scale with which the density falls in its upper tail."""
        return self.tail_power


class Normal(CoefficientPrior):
    """Normal prior for coefficients or the intercept.

    Parameters
    ----------
    mu : float or array of shape (n_features,), default=0.0
        Mean.
    sigma : float or array of shape (n_features,), default=1.0
        Standard deviation, positive.

    Examples
    --------
    >>> from bayes_sklearn.priors import Normal
    >>> Normal(sigma=0.5)
    Normal(sigma=0.5)
    """

    _positive = ("sigma",)

    def __init__(self, mu: float | ArrayLike = 0.0, sigma: float | ArrayLike = 1.0):
        self.mu = mu
        self.sigma = sigma

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array]:
        parameters = self.check(argument, size)
        return parameters["mu"], parameters["sigma"]


class Flat(CoefficientPrior, ScalePrior):
    """Constant (improper) density, for coefficients, the intercept or the noise scale.

    A fit whose posterior would be improper under it is refused, and no marginal likelihood is given.
    """

    tail_power = 0.0

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array]:
        return np.zeros(size), np.full(size, np.inf)

    def log_density(self, scale: Array) -> Array:
        return np.zeros_like(scale)


class HalfNormal(ScalePrior):
    """Normal distribution folded at zero, for the noise scale.

    Parameters
    ----------
    sigma : float, default=1.0
        Standard deviation of the normal distribution before folding, positive.
    """

    _positive = ("sigma",)

    def __init__(self, sigma: float = 1.0):
        self.sigma = sigma

    def log_density(self, scale: Array) -> Array:
        return 0.5 * np.log(2.0 / np.pi) - np.log(self.sigma) - 0.5 * (scale / self.sigma) ** 2


class HalfStudentT(ScalePrior):
    """Student's t distribution folded at zero, for the noise scale.

    Parameters
    ----------
    nu : float, default=4.0
        Degrees of freedom, positive.
    sigma : float, default=1.0
        Scale, positive.
    """

    _positive = ("nu", "sigma")

    def __init__(self, nu: float = 4.0, sigma: float = 1.0):
        self.nu = nu
        self.sigma = sigma

    def log_density(self, scale: Array) -> Array:
        nu, half = self.nu, 0.5 * (self.nu + 1.0)
        constant = np.log(2.0) + gammaln(half) - gammaln(0.5 * nu) - 0.5 * np.log(nu * np.pi)
        return constant - np.log(self.sigma) - half * np.log1p((scale / self.sigma) ** 2 / nu)

    def tail(self) -> float:
        return self.nu + 1.0


class HalfCauchy(ScalePrior):
    """Cauchy distribution folded at zero, for the noise scale.

    Parameters
    ----------
    beta : float, default=1.0
        Scale, positive.
    """

    _positive = ("beta",)
    tail_power = 2.0

    def __init__(self, beta: float = 1.0):
        self.beta = beta

    def log_density(self, scale: Array) -> Array:
        return np.log(2.0 / np.pi) - np.log(self.beta) - np.log1p((scale / self.beta) ** 2)


class Exponential(ScalePrior):
    """Exponential distribution, for the noise scale.

    Parameters
    ----------
    lam : float, default=1.0
        Rate, the inverse of the mean; positive.
    """

    _positive = ("lam",)

    def __init__(self, lam: float = 1.0):
        self.lam = lam

    def log_density(self, scale: Array) -> Array:
        return np.log(self.lam) - self.lam * scale


class InverseGamma(ScalePrior):
    """Inverse gamma distribution, for the noise scale (not its square).

    Parameters
    ----------
    alpha : float, default=2.0
        Shape, positive.
    beta : float, default=1.0
        Scale, positive.
    """

    _positive = ("alpha", "beta")

    def __init__(self, alpha: float = 2.0, beta: float = 1.0):
        self.alpha = alpha
        self.beta = beta

    def log_density(self, scale: Array) -> Array:
        constant = self.alpha * np.log(self.beta) - gammaln(self.alpha)
        return constant - (self.alpha + 1.0) * np.log(scale) - self.beta / scale

    def tail(self) -> float:
        return self.alpha + 1.0
