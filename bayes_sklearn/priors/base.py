"""What engines know of a prior, none at all, and how true features and their errors are distributed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from ..measurements.messages import shown

__all__ = [
    "CoefficientPrior",
    "Flat",
    "Mixture",
    "MixtureTerms",
    "Outliers",
    "Parametrized",
    "Prior",
    "ScaleMixture",
    "ScalePrior",
    "UnitPrior",
    "resolve_components",
    "resolve_outliers",
]


Array = NDArray[np.float64]


class Parametrized(BaseEstimator):
    """What has parameters: their names are looked up once a class, not at every clone and fit."""

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        names: list[str] = super()._get_param_names()
        return names


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

    def log_variances(
        self, coordinates: Array, parameters: Mapping[str, Any], log_unit: Array
    ) -> LogVariances:
        """Return the scales at points, in NumPy, with derivatives; a prior without this is left to NUTS.

        Parameters
        ----------
        coordinates : ndarray of shape (W, n_coordinates)
            As for `scales`.
        parameters : mapping of str to float or ndarray
            What `check` returns.
        log_unit : ndarray of shape (W,)
            Log of the unit at each point.
        """
        raise NotImplementedError

    def likely_coordinates(self, sizes: Array, parameters: Mapping[str, Any], unit: float) -> Array:
        """Return a point, (n_coordinates,), under which coefficients of such sizes, (size,), are no wonder.

        By default zeros: where a walk starts.
        """
        return np.zeros(self.n_coordinates(len(sizes)))

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


class LogVariances(NamedTuple):
    """Points in the space of a mixture's scales, in NumPy."""

    log_density: Array
    """Of the coordinates, (W,), up to a constant."""
    slope: Array
    """Its gradient, (W, n_coordinates)."""
    values: Array
    """Logs of the coefficients' variances, (W, size)."""
    pulled: Callable[[Array], tuple[Array, Array]]
    """Makes of derivatives by these logs, (W, size), those by the coordinates and by the log unit, (W,)."""
    named: dict[str, Array]
    """The scales by name, (W, ...)."""


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


class Outliers(Parametrized):
    """Errors of features some of which are larger than stated: each reading may be wild, independently of the others.

    A reading is wild with a probability that is learned, and the standard deviation of its error is then the one
    stated times a factor that is learned, too: both are common to all features with errors.

    Parameters
    ----------
    share_prior : UnitPrior, default=None
        Of the probability; None is ``Beta(1, 10)``, a tenth at the most likely: where most readings are wild, errors
        are just larger than stated.
    factor_prior : ScalePrior, default=None
        Of what the factor exceeds 2 by; None is ``HalfStudentT(nu=3, sigma=6)``: the factor's median is 6.6, and one
        of a hundred is no wonder.

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
