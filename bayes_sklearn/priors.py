"""Prior distributions: what the user says about coefficients, intercept, noise scale and other parameters.

Every prior is a plain scikit-learn estimator: it prints, clones, nests in a grid search and is checked at fit.
Parameter names and meanings are PyMC's. With ``standardize=True`` (the default) all of them are in units of the
standardised features and target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln, ndtr, ndtri, stdtrit, xlog1py, xlogy
from sklearn.base import clone

from .messages import shown
from .parameters import Parametrized

Array = NDArray[np.float64]

# A scatter of this share of the known errors is none to speak of.
NEGLIGIBLE_SCATTER = 0.01
# Beyond so many times its size a half-Cauchy density falls as a square.
_FAR = 1e100

__all__ = [
    "Beta",
    "CoefficientPrior",
    "Exponential",
    "Flat",
    "Gamma",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "Horseshoe",
    "InverseGamma",
    "Laplace",
    "Normal",
    "PoweredCorrelation",
    "ScaleMixture",
    "ScalePrior",
    "ScatterPrior",
    "StudentT",
    "UnitPrior",
]


class Prior(Parametrized):
    """A prior distribution and the parameters it was given."""

    _positive: ClassVar[tuple[str, ...]] = ()
    """Parameters that have to be positive; the others may be any finite number."""
    _single: ClassVar[bool] = False
    """Whether the prior is of one number, so that its parameters can't be arrays."""
    _vague: ClassVar[str] = "Flat()"
    """What says least, for messages."""

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

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array | None:
        """Return independent draws, their last axis that of the parameters; None: PyMC's distribution is taken.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            What `check` returns.
        shape : tuple of int
        rng : numpy.random.Generator
        """
        return None

    def _check_one(self, key: str, value: object, size: int, positive: bool) -> Array:
        learned: ScalePrior | None = getattr(self, "scale_prior", None)
        if learned is not None and learned is value:
            if isinstance(learned, Flat):
                raise ValueError(
                    f"{key}=Flat() can't be learned: nothing bounds it from above. Use {key}=HalfCauchy()."
                )
            learned.check(key, 1)
            value = 1.0
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{key} must be a number or an array of numbers, got {shown(value)}.")
        if array.ndim and (self._single or array.shape != (size,)):
            wanted = f"there are {size} features: give one number for all, or one a feature"
            wanted = "give one number" if size == 1 else wanted
            raise ValueError(f"{key} has shape {array.shape}; {wanted}.")
        if not np.isfinite(array).all():
            raise ValueError(
                f"{key} must be finite, got {shown(value)}. For no prior information, use {self._vague}."
            )
        if positive and not (array > 0.0).all():
            raise ValueError(
                f"{key} must be positive, got {shown(value)}. For no prior information, use {self._vague}."
            )
        return np.full(size, array, dtype=np.float64)


class CoefficientPrior(Prior):
    """A prior for coefficients or the intercept: independent, with parameters of one value or one a feature."""

    distribution: ClassVar[str | None] = None
    """PyMC's distribution with the same parameters; None: there is none."""
    _scale: ClassVar[str | None] = None
    """The parameter in which all coefficients are proportional, which may be a prior itself; None: none is."""

    @property
    def scale_prior(self) -> ScalePrior | None:
        """The prior of the scale that all coefficients share, where it is learned.

        Everything else that a prior says of itself then holds at a scale of one.
        """
        scale = None if self._scale is None else getattr(self, self._scale)
        return scale if isinstance(scale, ScalePrior) else None

    def at_scale(self, scale: float) -> CoefficientPrior:
        """Return this prior with its learned scale fixed."""
        if self._scale is None or self.scale_prior is None:
            return self
        return clone(self).set_params(**{self._scale: scale})

    def in_unit(self, unit: float) -> CoefficientPrior:
        """Return this prior where it is to follow the unit of what is explained, in multiples of the model's."""
        return self

    def at_learned_scale(self, parameters: Mapping[str, Any], scale: Any) -> dict[str, Any]:
        """Return parameters, arrays or tensors, with a learned scale in the place of one."""
        if self._scale is None or self.scale_prior is None:
            return dict(parameters)
        return {**parameters, self._scale: parameters[self._scale] * scale}

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array] | None:
        """Return mean and standard deviation, (size,) each, or None if the prior is not Gaussian.

        An infinite standard deviation stands for a flat prior.
        """
        return None

    def gaussian_like(self, argument: str, size: int) -> tuple[Array, Array]:
        """Return mean and standard deviation, (size,) each, of a Gaussian about as wide: what samplers start from."""
        exact = self.gaussian(argument, size)
        return exact if exact is not None else (np.zeros(size), np.ones(size))

    def coefficient_log_density(self, values: Array, parameters: Mapping[str, Array]) -> Array:
        """Return the log density of each coefficient, (..., size), given what `check` returns."""
        raise NotImplementedError(f"{self!r} has no density in closed form.")

    def central_interval(self, argument: str, size: int, coverage: float) -> tuple[Array, Array] | None:
        """Return the limits of equal-tailed intervals, (size,) each, or None if no formula has them."""
        return None


class ScaleMixture(CoefficientPrior):
    """A prior for coefficients that is Normal(0, sd) given scales that have a distribution of their own.

    Given the scales, coefficients are integrated out in closed form; only the scales are sampled.
    """

    @abstractmethod
    def n_coordinates(self, size: int) -> int:
        """Return how many real numbers the scales of `size` coefficients are given by."""

    @abstractmethod
    def scales(self, coordinates: Any, parameters: Mapping[str, Any], unit: Any) -> MixtureTerms:
        """Return the scales at a point, in PyTensor.

        Parameters
        ----------
        coordinates : TensorVariable of shape (n_coordinates,)
            Any real numbers.
        parameters : mapping of str to TensorVariable
            What `check` returns.
        unit : TensorVariable of shape ()
            Standard deviation of a typical row's noise, by the square root of the number of rows; one over
            the root of what all rows say of a constant line.
        """

    @abstractmethod
    def drawn_given(
        self,
        parameters: Mapping[str, Array],
        shape: tuple[int, int],
        unit: Array,
        rng: np.random.Generator,
    ) -> Array:
        """Return independent draws of coefficients, (draws, size), with the unit of each draw, (draws,)."""

    @abstractmethod
    def variables(self, name: str, parameters: Mapping[str, Any], unit: Any, dims: str) -> Any:
        """Return the coefficients as a variable of the PyMC model in hand, their scales beside them."""


class MixtureTerms(NamedTuple):
    """A point in the space of a mixture's scales, in PyTensor."""

    log_density: Any
    """Of the coordinates, ()."""
    sd: Any
    """Of the coefficients, (size,)."""
    named: dict[str, Any]
    """The scales by name."""


class ScalePrior(Prior, ABC):
    """A prior for a positive number, such as the noise scale."""

    _single = True
    scale_distribution: ClassVar[str | None] = None
    """PyMC's distribution with the same parameters; None: there is none."""
    tail_power: ClassVar[float] = np.inf
    """The density falls as this power of a large scale (infinity: faster than any)."""
    vanishes_at_zero: ClassVar[bool] = False
    """Whether the density falls to nothing at zero, so fast that a sampler had better not step across."""

    @abstractmethod
    def log_density(self, scale: Array) -> Array:
        """Return the normalised log density at positive scales."""

    def tail(self) -> float:
        """Return the power of the scale with which the density falls in its upper tail."""
        return self.tail_power


class UnitPrior(Prior, ABC):
    """A prior for a number between 0 and 1, such as an intraclass correlation."""

    _single = True
    _vague = "Beta(1, 1)"
    unit_distribution: ClassVar[str | None] = None
    """PyMC's distribution with the same parameters; None: there is none."""

    @abstractmethod
    def log_density(self, share: Array) -> Array:
        """Return the normalised log density at numbers between 0 and 1."""


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
    """Normal prior whose scale is learned and whose shape follows the features' correlations: the default.

    In the principal directions of the standardised features, along which these vary by d_k (of mean square one), the
    coefficients are independent and Normal(0, sigma^2 d_k^(-2a)). With a = 0 this is a ridge, with a = 1 a g-prior,
    which no linear change of the features' basis alters: along directions in which the features hardly vary, such as
    that of a polynomial's powers, coefficients may be large. The scale sigma is learned, and the powers a are
    averaged over, each as probable as the others beforehand. Directions in which the features do not vary have the
    ridge's prior under every power.

    Where features have errors, the prior is on what features explain of the target: that of exact ones is on what
    these explain on their own, and what the true features behind the others add to it, in units of their own spread,
    has a Cauchy distribution as wide as the median of sigma's prior (or is Normal, with a sigma that is fixed).

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

    The exact engine does not take it. Importance sampling does under other likelihoods than the normal one, and with
    errors in X for coefficients, where all features have errors; NUTS does for any model.

    Parameters
    ----------
    nu : float or array of shape (n_features,), default=4.0
        Degrees of freedom, positive.
    mu : float or array of shape (n_features,), default=0.0
        Location.
    sigma : float, array of shape (n_features,) or ScalePrior, default=1.0
        Scale, positive; a prior: one for all coefficients, which is learned.
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

    The exact engine does not take it. Importance sampling does under other likelihoods than the normal one, and with
    errors in X for coefficients, where all features have errors; NUTS does for any model.

    Parameters
    ----------
    mu : float or array of shape (n_features,), default=0.0
        Location.
    b : float, array of shape (n_features,) or ScalePrior, default=1.0
        Scale, positive: the mean distance from `mu`. A prior: one for all coefficients, which is learned.
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
    """Regularised horseshoe prior for coefficients of which few matter. NUTS alone takes it, without errors in X.

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


class Flat(CoefficientPrior, ScalePrior):
    """Constant (improper) density, for coefficients, the intercept or the noise scale.

    A fit whose posterior would be improper under it is refused, and no marginal likelihood is given.
    """

    distribution = "Flat"
    scale_distribution = "HalfFlat"
    tail_power = 0.0

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array]:
        return np.zeros(size), np.full(size, np.inf)

    def central_interval(self, argument: str, size: int, coverage: float) -> tuple[Array, Array]:
        return np.full(size, -np.inf), np.full(size, np.inf)

    def coefficient_log_density(self, values: Array, parameters: Mapping[str, Array]) -> Array:
        return np.zeros_like(values)

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


class ScatterPrior(ScalePrior):
    """Prior of a scatter beside errors that are known: as likely as not there is none to speak of.

    Even odds of a HalfCauchy as wide as the errors are, and of one a hundredth as wide, which no data can tell from
    no scatter: errors that are right cost little, and a scatter of any size is found.

    Parameters
    ----------
    beta : float, default=1.0
        Size of the known errors, positive.
    """

    _positive = ("beta",)
    tail_power = 2.0

    def __init__(self, beta: float = 1.0):
        self.beta = beta

    @property
    def negligible(self) -> float:
        """Size of a scatter that is none to speak of."""
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
