"""Priors of positive numbers, and of numbers between 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln, xlog1py, xlogy

from .base import ScalePrior, UnitPrior

__all__ = [
    "Beta",
    "Exponential",
    "Gamma",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "InverseGamma",
    "ScatterPrior",
]


Array = NDArray[np.float64]

# A scatter of this share of the known errors is negligible.
NEGLIGIBLE_SCATTER = 0.01

# Beyond so many times its size a half-Cauchy density falls as a square.
_FAR = 1e100


class HalfNormal(ScalePrior):
    """Normal distribution folded at zero, for the noise scale.

    Parameters
    ----------
    sigma : float, default=1.0
        Standard deviation of the normal distribution before folding, positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import HalfNormal
    >>> np.exp(HalfNormal(sigma=2.0).log_density(np.array([0.0, 2.0]))).round(2)
    array([0.4 , 0.24])
    """

    _positive = ("sigma",)
    scale_distribution = "HalfNormal"

    def __init__(self, sigma: float = 1.0):
        self.sigma = sigma

    def log_density(self, scale: Array) -> Array:
        return 0.5 * np.log(2.0 / np.pi) - np.log(self.sigma) - 0.5 * (scale / self.sigma) ** 2

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(np.abs(rng.normal(0.0, parameters["sigma"], shape)))


class HalfStudentT(ScalePrior):
    """Student's t distribution folded at zero, for the noise scale.

    Parameters
    ----------
    nu : float, default=4.0
        Degrees of freedom, positive.
    sigma : float, default=1.0
        Scale, positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import HalfStudentT
    >>> np.exp(HalfStudentT(nu=3.0, sigma=2.0).log_density(np.array([0.0, 2.0]))).round(2)
    array([0.37, 0.21])
    """

    _positive = ("nu", "sigma")
    scale_distribution = "HalfStudentT"

    def __init__(self, nu: float = 4.0, sigma: float = 1.0):
        self.nu = nu
        self.sigma = sigma

    def log_density(self, scale: Array) -> Array:
        nu, half = self.nu, 0.5 * (self.nu + 1.0)
        constant = np.log(2.0) + gammaln(half) - gammaln(0.5 * nu) - 0.5 * np.log(nu * np.pi)
        return constant - np.log(self.sigma) - half * np.log1p((scale / self.sigma) ** 2 / nu)

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(parameters["sigma"] * np.abs(rng.standard_t(parameters["nu"], shape)))

    def tail(self) -> float:
        return self.nu + 1.0


class HalfCauchy(ScalePrior):
    """Cauchy distribution folded at zero, for the noise scale.

    Parameters
    ----------
    beta : float, default=1.0
        Scale, positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import HalfCauchy
    >>> np.exp(HalfCauchy(beta=2.0).log_density(np.array([0.0, 2.0]))).round(2)
    array([0.32, 0.16])
    """

    _positive = ("beta",)
    scale_distribution = "HalfCauchy"
    tail_power = 2.0

    def __init__(self, beta: float = 1.0):
        self.beta = beta

    def log_density(self, scale: Array) -> Array:
        return np.log(2.0 / np.pi) - np.log(self.beta) - 2.0 * np.log(np.hypot(1.0, scale / self.beta))

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(parameters["beta"] * np.abs(rng.standard_cauchy(shape)))


class InUnit(ScalePrior):
    """Another prior, of a number in another unit.

    Parameters
    ----------
    prior : ScalePrior
    unit : float
        Of the prior's numbers.
    """

    def __init__(self, prior: ScalePrior, unit: float):
        self.prior = prior
        self.unit = unit

    def log_density(self, scale: Array) -> Array:
        return np.asarray(self.prior.log_density(scale / self.unit) - np.log(self.unit))

    def check(self, argument: str, size: int) -> Mapping[str, Array]:
        return self.prior.check(argument, size)

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array | None:
        found = self.prior.drawn(parameters, shape, rng)
        return None if found is None else self.unit * found

    def tail(self) -> float:
        return self.prior.tail()


class ScatterPrior(ScalePrior):
    """Prior of a scatter beside known errors: negligible with probability 1/2.

    Even odds of a HalfCauchy as wide as the errors are, and of one a hundredth as wide, which no data can tell from
    no scatter: errors that are right cost little, and a scatter of any size is found.

    Parameters
    ----------
    beta : float, default=1.0
        Size of the known errors, positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.priors import ScatterPrior
    >>> prior = ScatterPrior(beta=0.5)
    >>> np.exp(prior.log_density(np.array([0.001, 0.5]))).round(2), prior.negligible
    (array([61.85,  0.32]), 0.005)
    """

    _positive = ("beta",)
    tail_power = 2.0

    def __init__(self, beta: float = 1.0):
        self.beta = beta

    @property
    def negligible(self) -> float:
        """Size of a scatter that is negligible, in the unit of `beta`."""
        return NEGLIGIBLE_SCATTER * self.beta

    def log_density(self, scale: Array) -> Array:
        # In units in which squares neither overflow nor vanish where a density is neither.
        away = np.asarray(scale, dtype=np.float64) / self.beta
        square = np.square(np.minimum(away, _FAR))
        densities = 1.0 / (1.0 + square) + NEGLIGIBLE_SCATTER / (NEGLIGIBLE_SCATTER**2 + square)
        beyond = -2.0 * np.log(np.maximum(away / _FAR, 1.0))
        return np.asarray(np.log(densities) + beyond - np.log(np.pi * self.beta))

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        share = np.where(rng.random(shape) < 0.5, NEGLIGIBLE_SCATTER, 1.0)
        return np.asarray(share * parameters["beta"] * np.abs(rng.standard_cauchy(shape)))


class Exponential(ScalePrior):
    """Exponential distribution, for the noise scale.

    Parameters
    ----------
    lam : float, default=1.0
        Rate, the inverse of the mean; positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import Exponential
    >>> np.exp(Exponential(lam=0.5).log_density(np.array([0.0, 2.0]))).round(2)
    array([0.5 , 0.18])
    """

    _positive = ("lam",)
    scale_distribution = "Exponential"

    def __init__(self, lam: float = 1.0):
        self.lam = lam

    def log_density(self, scale: Array) -> Array:
        return np.log(self.lam) - self.lam * scale

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(rng.exponential(1.0 / parameters["lam"], shape))


class InverseGamma(ScalePrior):
    """Inverse gamma distribution, for the noise scale (not its square).

    Parameters
    ----------
    alpha : float, default=2.0
        Shape, positive.
    beta : float, default=1.0
        Scale, positive.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import InverseGamma
    >>> np.exp(InverseGamma(alpha=2.0, beta=1.0).log_density(np.array([0.5, 2.0]))).round(2)
    array([1.08, 0.08])
    """

    _positive = ("alpha", "beta")
    scale_distribution = "InverseGamma"
    vanishes_at_zero = True

    def __init__(self, alpha: float = 2.0, beta: float = 1.0):
        self.alpha = alpha
        self.beta = beta

    def log_density(self, scale: Array) -> Array:
        constant = self.alpha * np.log(self.beta) - gammaln(self.alpha)
        return constant - (self.alpha + 1.0) * np.log(scale) - self.beta / scale

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(parameters["beta"] / rng.gamma(parameters["alpha"], 1.0, shape))

    def tail(self) -> float:
        return self.alpha + 1.0


class Gamma(ScalePrior):
    """Gamma distribution, for the degrees of freedom of heavy-tailed noise, or for the noise scale.

    Parameters
    ----------
    alpha : float, default=2.0
        Shape, positive.
    beta : float, default=0.1
        Rate, positive: the mean is alpha / beta.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import Gamma
    >>> np.exp(Gamma(alpha=2.0, beta=0.1).log_density(np.array([10.0, 30.0]))).round(3)
    array([0.037, 0.015])
    """

    _positive = ("alpha", "beta")
    scale_distribution = "Gamma"
    vanishes_at_zero = True

    def __init__(self, alpha: float = 2.0, beta: float = 0.1):
        self.alpha = alpha
        self.beta = beta

    def log_density(self, scale: Array) -> Array:
        constant = self.alpha * np.log(self.beta) - gammaln(self.alpha)
        return constant + xlogy(self.alpha - 1.0, scale) - self.beta * scale

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(rng.gamma(parameters["alpha"], 1.0 / parameters["beta"], shape))


class Beta(UnitPrior):
    """Beta distribution, for a number between 0 and 1 such as the dispersion of a beta-binomial likelihood.

    Parameters
    ----------
    alpha, beta : float, default=1.0
        Shapes, positive: the mean is alpha / (alpha + beta).

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import Beta
    >>> np.exp(Beta(alpha=2.0, beta=5.0).log_density(np.array([0.2, 0.8]))).round(2)
    array([2.46, 0.04])
    """

    _positive = ("alpha", "beta")
    unit_distribution = "Beta"

    def __init__(self, alpha: float = 1.0, beta: float = 1.0):
        self.alpha = alpha
        self.beta = beta

    def log_density(self, share: Array) -> Array:
        inside = xlogy(self.alpha - 1.0, share) + xlog1py(self.beta - 1.0, -share)
        return np.asarray(inside - betaln(self.alpha, self.beta), dtype=np.float64)

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(rng.beta(parameters["alpha"], parameters["beta"], shape))
