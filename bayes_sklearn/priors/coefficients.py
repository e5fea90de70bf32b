"""Priors of coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, gammaln, ndtr, ndtri, stdtrit

from ..measurements.messages import shown
from .base import CoefficientPrior, LogVariances, MixtureTerms, ScaleMixture, ScalePrior
from .scales import HalfCauchy

__all__ = ["Horseshoe", "Laplace", "Normal", "PoweredCorrelation", "StudentT"]

Array = NDArray[np.float64]


class Normal(CoefficientPrior):
    """Normal prior for coefficients or the intercept.

    Parameters
    ----------
    mu : float or array of shape (n_features,), default=0.0
        Mean.
    sigma : float, array of shape (n_features,) or ScalePrior, default=1.0
        Standard deviation, positive. A prior, such as ``HalfCauchy(1)``: one standard deviation for all
        coefficients, which is learned.

    Examples
    --------
    >>> from bayes_sklearn import HalfCauchy, Normal
    >>> Normal(sigma=0.5)
    Normal(sigma=0.5)
    >>> Normal(sigma=HalfCauchy(beta=1.0))  # a ridge whose penalty is learned
    Normal(sigma=HalfCauchy())
    """

    _positive = ("sigma",)
    _scale = "sigma"
    distribution = "Normal"

    def __init__(self, mu: float | ArrayLike = 0.0, sigma: float | ArrayLike | ScalePrior = 1.0):
        self.mu = mu
        self.sigma = sigma

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array] | None:
        if self.scale_prior is not None:
            return None
        return self.gaussian_like(argument, size)

    def gaussian_like(self, argument: str, size: int) -> tuple[Array, Array]:
        parameters = self.check(argument, size)
        return parameters["mu"], parameters["sigma"]

    def central_interval(self, argument: str, size: int, coverage: float) -> tuple[Array, Array]:
        parameters = self.check(argument, size)
        away = parameters["sigma"] * ndtri(0.5 * (1.0 + coverage))
        return parameters["mu"] - away, parameters["mu"] + away

    def coefficient_log_density(self, values: Array, parameters: Mapping[str, Array]) -> Array:
        sigma = parameters["sigma"]
        away = (values - parameters["mu"]) / sigma
        return -0.5 * (np.log(2.0 * np.pi) + np.square(away)) - np.log(sigma)

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(rng.normal(parameters["mu"], parameters["sigma"], shape))


class PoweredCorrelation(CoefficientPrior):
    """Normal prior whose scale is learned and whose shape follows the features' correlations, (8a): the default.

    In the principal directions of the standardised features, along which these vary by d_k (of mean square one), the
    coefficients are independent and Normal(0, sigma^2 d_k^(-2a)). With a = 0 this is a ridge, with a = 1 a g-prior,
    which no linear change of the features' basis alters: along directions in which the features hardly vary, such as
    that of a polynomial's powers, coefficients may be large. The scale sigma is learned, and the powers a are
    averaged over, each as probable as the others beforehand. Directions in which the features do not vary have the
    ridge's prior under every power.

    Where features have errors, the prior is on what features explain of the target: that of exact ones is on what
    these explain on their own, and what the true features behind the others add to it, in units of their own spread,
    has a Cauchy distribution as wide as the median of sigma's prior. It is Normal where sigma is fixed, or its prior
    has a second moment, as the ``HalfNormal(2.5)`` of shares' log odds.

    Parameters
    ----------
    sigma : float or ScalePrior, default=None
        The scale, positive; None is ``HalfCauchy(1)`` in units of what the target's measured spread and its stated
        errors, root mean square and geometric mean, make together: readings may agree better than their errors let
        them. Any other is in units of the measured spread alone.
    power : float or sequence of float, default=(0.0, 0.5, 1.0)
        The powers a, between 0 and 1.

    References
    ----------
    Krishna, Bondell & Ghosh 2009, Journal of Statistical Planning and Inference 139:2665-2674; of a = 1: Zellner &
    Siow 1980; Liang, Paulo, Molina, Clyde & Berger 2008, Journal of the American Statistical Association 103:410-423;
    of principal directions: Maruyama & George 2011, Annals of Statistics 39:2740-2765.

    Examples
    --------
    >>> from bayes_sklearn import PoweredCorrelation
    >>> PoweredCorrelation(power=1.0)  # a g-prior
    PoweredCorrelation(power=1.0)
    """

    _positive = ("sigma",)

    def __init__(
        self, sigma: float | ScalePrior | None = None, power: float | Sequence[float] = (0.0, 0.5, 1.0)
    ):
        self.sigma = sigma
        self.power = power

    @property
    def scale_prior(self) -> ScalePrior | None:
        if self.sigma is None:
            return HalfCauchy()
        return self.sigma if isinstance(self.sigma, ScalePrior) else None

    def at_scale(self, scale: float) -> PoweredCorrelation:
        return PoweredCorrelation(scale, self.power)

    def in_unit(self, unit: float) -> PoweredCorrelation:
        return self if self.sigma is not None else PoweredCorrelation(HalfCauchy(unit), self.power)

    def check(self, argument: str, size: int) -> Mapping[str, Array]:
        """Return the scale, one where it is learned, (size,), and the powers, (powers,)."""
        key = f"{argument}__power"
        power = np.atleast_1d(np.asarray(self.power))
        if power.dtype.kind not in "biuf" or power.ndim > 1 or not power.size:
            raise TypeError(f"{key} must be a number or a sequence of numbers, got {shown(self.power)}.")
        if not ((power >= 0.0) & (power <= 1.0)).all():
            raise ValueError(
                f"{key} must lie between 0 (a ridge) and 1 (a g-prior), got {shown(self.power)}."
            )
        learned = self.scale_prior
        if learned is not None and learned is not self.sigma:
            sigma = np.ones(size)
        else:
            if np.ndim(self.sigma):  # type: ignore[arg-type]
                raise ValueError(f"{argument}__sigma must be one number or a prior, got {shown(self.sigma)}.")
            sigma = self._check_one(f"{argument}__sigma", self.sigma, size, True)
        return {"sigma": sigma, "power": power.astype(np.float64)}

    def gaussian_like(self, argument: str, size: int) -> tuple[Array, Array]:
        return np.zeros(size), self.check(argument, size)["sigma"]


class StudentT(CoefficientPrior):
    """Student's t prior for coefficients or the intercept: as Normal, but lets single ones be large.

    The exact engine does not take it. Importance sampling does under any likelihood, NUTS for any model.

    Parameters
    ----------
    nu : float or array of shape (n_features,), default=4.0
        Degrees of freedom, positive.
    mu : float or array of shape (n_features,), default=0.0
        Location.
    sigma : float, array of shape (n_features,) or ScalePrior, default=1.0
        Scale, positive; a prior: one for all coefficients, which is learned.

    Examples
    --------
    >>> from bayes_sklearn import StudentT
    >>> StudentT(nu=3.0, sigma=0.5).central_interval("coef_prior", 1, coverage=0.95)[1].round(2)
    array([1.59])
    """

    _positive = ("nu", "sigma")
    _scale = "sigma"
    distribution = "StudentT"

    def __init__(
        self,
        nu: float | ArrayLike = 4.0,
        mu: float | ArrayLike = 0.0,
        sigma: float | ArrayLike | ScalePrior = 1.0,
    ):
        self.nu = nu
        self.mu = mu
        self.sigma = sigma

    def gaussian_like(self, argument: str, size: int) -> tuple[Array, Array]:
        parameters = self.check(argument, size)
        # As wide where it matters: a t distribution with few degrees of freedom has no standard deviation.
        return parameters["mu"], parameters["sigma"] * stdtrit(parameters["nu"], ndtr(1.0))

    def central_interval(self, argument: str, size: int, coverage: float) -> tuple[Array, Array]:
        parameters = self.check(argument, size)
        away = parameters["sigma"] * stdtrit(parameters["nu"], 0.5 * (1.0 + coverage))
        return parameters["mu"] - away, parameters["mu"] + away

    def coefficient_log_density(self, values: Array, parameters: Mapping[str, Array]) -> Array:
        nu, sigma = parameters["nu"], parameters["sigma"]
        half, away = 0.5 * (nu + 1.0), (values - parameters["mu"]) / sigma
        constant = gammaln(half) - gammaln(0.5 * nu) - 0.5 * np.log(nu * np.pi) - np.log(sigma)
        return constant - half * np.log1p(np.square(away) / nu)

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(parameters["mu"] + parameters["sigma"] * rng.standard_t(parameters["nu"], shape))


class Laplace(CoefficientPrior):
    """Laplace (double exponential) prior for coefficients or the intercept.

    The posterior's mode is the lasso's; its mean, which is reported, has no zeros.

    The exact engine does not take it. Importance sampling does under any likelihood, NUTS for any model.

    Parameters
    ----------
    mu : float or array of shape (n_features,), default=0.0
        Location.
    b : float, array of shape (n_features,) or ScalePrior, default=1.0
        Scale, positive: the mean distance from `mu`. A prior: one for all coefficients, which is learned.

    Examples
    --------
    >>> from bayes_sklearn import HalfCauchy, Laplace
    >>> Laplace(b=0.5).central_interval("coef_prior", 1, coverage=0.95)[1].round(2)
    array([1.5])
    >>> Laplace(b=HalfCauchy())  # whose scale is learned
    Laplace(b=HalfCauchy())
    """

    _positive = ("b",)
    _scale = "b"
    distribution = "Laplace"

    def __init__(self, mu: float | ArrayLike = 0.0, b: float | ArrayLike | ScalePrior = 1.0):
        self.mu = mu
        self.b = b

    def gaussian_like(self, argument: str, size: int) -> tuple[Array, Array]:
        parameters = self.check(argument, size)
        return parameters["mu"], np.sqrt(2.0) * parameters["b"]

    def central_interval(self, argument: str, size: int, coverage: float) -> tuple[Array, Array]:
        parameters = self.check(argument, size)
        away = -parameters["b"] * np.log1p(-coverage)
        return parameters["mu"] - away, parameters["mu"] + away

    def coefficient_log_density(self, values: Array, parameters: Mapping[str, Array]) -> Array:
        b = parameters["b"]
        return -np.abs(values - parameters["mu"]) / b - np.log(2.0 * b)

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array:
        return np.asarray(rng.laplace(parameters["mu"], parameters["b"], shape))


class Horseshoe(ScaleMixture):
    """Regularised horseshoe prior for coefficients of which few matter. HMC and NUTS take it.

    Coefficients that the rows don't support are shrunk to almost nothing, the others hardly: coefficient j is
    Normal(0, tau lambda_j c / sqrt(c^2 + tau^2 lambda_j^2)) with lambda_j ~ HalfCauchy(1), tau ~ HalfCauchy(tau_0),
    c^2 ~ InverseGamma(slab_nu / 2, slab_nu slab_sigma^2 / 2). The scale tau_0 follows from the number of
    coefficients that are expected to matter, tau_0 = n_nonzero / (p - n_nonzero) * noise / sqrt(N), with the standard
    deviation of a typical row's noise and N rows (Piironen & Vehtari 2017, Electronic Journal of Statistics
    11:5018-5051, equations 2.8 and 3.12).

    Parameters
    ----------
    n_nonzero : float, default=None
        How many coefficients are expected to matter, above 0 and below their number; None: a quarter of them.
    slab_sigma : float, default=1.0
        Scale of the coefficients that matter, positive.
    slab_nu : float, default=4.0
        Degrees of freedom of their Student's t distribution, positive.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, Horseshoe
    >>> BayesianErrorsInVariablesRegressor(coef_prior=Horseshoe(n_nonzero=3))  # of 20 features, say
    BayesianErrorsInVariablesRegressor(coef_prior=Horseshoe(n_nonzero=3))
    """

    _positive = ("n_nonzero", "slab_nu", "slab_sigma")

    def __init__(self, n_nonzero: float | None = None, slab_sigma: float = 1.0, slab_nu: float = 4.0):
        self.n_nonzero = n_nonzero
        self.slab_sigma = slab_sigma
        self.slab_nu = slab_nu

    def check(self, argument: str, size: int) -> Mapping[str, Array]:
        given = {**vars(self), "n_nonzero": size / 4.0 if self.n_nonzero is None else self.n_nonzero}
        checked = {
            name: self._check_one(f"{argument}__{name}", value, 1, True)[0] for name, value in given.items()
        }
        if not checked["n_nonzero"] < size:
            raise ValueError(
                f"{argument}__n_nonzero must lie between 0 and the number of features, which is {size}, got"
                f" {shown(self.n_nonzero)}. Where most coefficients matter, use Normal()."
            )
        return checked

    def gaussian_like(self, argument: str, size: int) -> tuple[Array, Array]:
        return np.zeros(size), np.full(size, self.check(argument, size)["slab_sigma"])

    def n_coordinates(self, size: int) -> int:
        return size + 2

    def scales(self, coordinates: Any, parameters: Mapping[str, Any], unit: Any) -> MixtureTerms:
        import pymc as pm
        import pytensor.tensor as pt

        # Everything positive is the exponential of a coordinate, about the size that it is expected to have.
        size = coordinates.shape[0] - 2
        local, overall = pt.exp(coordinates[:-2]), pt.exp(coordinates[-2])
        slab = pt.exp(coordinates[-1])
        half = 0.5 * parameters["slab_nu"]
        log_density = (
            pm.logp(pm.HalfCauchy.dist(beta=1.0), local).sum()
            + pm.logp(pm.HalfCauchy.dist(beta=1.0), overall)
            + pm.logp(pm.InverseGamma.dist(alpha=half, beta=half), slab)
            + coordinates.sum()
        )
        tau = overall * self._global_scale(parameters, size, unit)
        slab_variance = slab * parameters["slab_sigma"] ** 2
        named = {"local_scale": local, "global_scale": tau, "slab_variance": slab_variance}
        return MixtureTerms(log_density, self._sd(**named), named)

    def log_variances(
        self, coordinates: Array, parameters: Mapping[str, Any], log_unit: Array
    ) -> LogVariances:
        cauchy, log_slab = coordinates[:, :-1], coordinates[:, -1]
        size, half = cauchy.shape[1] - 1, 0.5 * parameters["slab_nu"]
        log_tau = cauchy[:, -1] + log_unit + np.log(self._global_scale(parameters, size, 1.0))
        log_slab_variance = log_slab + 2.0 * np.log(parameters["slab_sigma"])
        log_square = 2.0 * (cauchy[:, :-1] + log_tau[:, None])
        log_ratio = log_square - log_slab_variance[:, None]
        of_slab = expit(log_ratio)  # by how much the slab settles the variance
        precision = np.exp(-log_slab)
        slope = np.column_stack([-np.tanh(cauchy), half * (precision - 1.0)])

        def pulled(derivative: Array) -> tuple[Array, Array]:
            local = 2.0 * derivative * (1.0 - of_slab)
            overall, slab = local.sum(axis=1), (derivative * of_slab).sum(axis=1)
            return np.column_stack([local, overall, slab]), overall

        return LogVariances(
            -np.logaddexp(cauchy, -cauchy).sum(axis=1) - half * (log_slab + precision),
            slope,
            log_square - np.logaddexp(0.0, log_ratio),
            pulled,
            {
                "local_scale": np.exp(cauchy[:, :-1]),
                "global_scale": np.exp(log_tau),
                "slab_variance": np.exp(log_slab_variance),
            },
        )

    def likely_coordinates(self, sizes: Array, parameters: Mapping[str, Any], unit: float) -> Array:
        tau = self._global_scale(parameters, len(sizes), unit)
        return np.append(np.log(np.maximum(sizes / tau, 1.0)), [0.0, 0.0])

    def drawn_given(
        self,
        parameters: Mapping[str, Array],
        shape: tuple[int, int],
        unit: Array,
        rng: np.random.Generator,
    ) -> Array:
        half = 0.5 * parameters["slab_nu"]
        local = np.abs(rng.standard_cauchy(shape))
        overall = np.abs(rng.standard_cauchy(shape[0])) * self._global_scale(parameters, shape[1], unit)
        slab_variance = half * parameters["slab_sigma"] ** 2 / rng.gamma(half, 1.0, shape[0])
        product = overall[:, None] * local
        # As `_sd`, without squares that overflow.
        sd = product / np.hypot(1.0, product / np.sqrt(slab_variance)[:, None])
        return sd * rng.standard_normal(shape)

    def variables(self, name: str, parameters: Mapping[str, Any], unit: Any, dims: str) -> Any:
        import pymc as pm

        half = 0.5 * parameters["slab_nu"]
        local = pm.HalfCauchy(f"{name}_local_scale", beta=1.0, dims=dims)
        tau = pm.HalfCauchy(f"{name}_global_scale", beta=self._global_scale(parameters, local.shape[0], unit))
        slab = pm.InverseGamma(f"{name}_slab_variance", alpha=half, beta=half * parameters["slab_sigma"] ** 2)
        unscaled = pm.Normal(f"{name}_unscaled", 0.0, 1.0, dims=dims)
        return pm.Deterministic(name, unscaled * self._sd(local, tau, slab), dims=dims)

    @staticmethod
    def _global_scale(parameters: Mapping[str, Any], size: Any, unit: Any) -> Any:
        return parameters["n_nonzero"] / (size - parameters["n_nonzero"]) * unit

    @staticmethod
    def _sd(local_scale: Any, global_scale: Any, slab_variance: Any) -> Any:
        import pytensor.tensor as pt

        product = global_scale * local_scale
        return product / pt.sqrt(1.0 + product**2 / slab_variance)
