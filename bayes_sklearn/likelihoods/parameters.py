"""A likelihood's parameters beside the regression line, and the coordinates in which they are looked for.

A coordinate gives a parameter by any real number, in which its posterior is about normal. Newton's method and
samplers move in these numbers, and likelihoods give derivatives in them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ..measurements.messages import shown
from ..priors.base import Prior, ScalePrior, UnitPrior
from .special_functions import log_expit

__all__ = [
    "Auxiliary",
    "Coordinate",
    "Derivatives",
    "FoldedLog",
    "FoldedOdds",
    "FoldedRoot",
    "Log",
    "LogOdds",
    "SamplerCoordinate",
    "given_prior",
]

Array = NDArray[np.float64]

# Coordinates whose logarithm is taken stay this far from zero.
_TINY = 1e-100


class Coordinate(ABC):
    """How a parameter is given by any real number c, in which its posterior is about normal.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods.parameters import FoldedOdds
    >>> share = FoldedOdds()  # of any number a share
    >>> share.value(share.of(np.array([0.2]))), share.log_slope(np.array([1.0])).round(2)
    (array([0.2]), array([-0.69]))
    >>> share.lower, share.unit, share.for_sampler(vanishes_at_zero=False)
    (0.0, 1.0, LogOdds())
    """

    folded: ClassVar[bool] = False
    """Whether c and -c are the same value."""

    @property
    def lower(self) -> float:
        """What values exceed."""
        return 0.0

    @property
    def unit(self) -> float:
        """The number that `SamplerCoordinate.graph` takes."""
        return 1.0

    @abstractmethod
    def value(self, coordinate: Array) -> Array:
        """Return the parameter."""

    @abstractmethod
    def of(self, value: Array) -> Array:
        """Return the coordinate of a value, where `folded` the positive one."""

    @abstractmethod
    def log_slope(self, coordinate: Array) -> Array:
        """Return the log of the derivative of the value in the coordinate's size."""

    @abstractmethod
    def for_sampler(self, *, vanishes_at_zero: bool) -> SamplerCoordinate:
        """Return the coordinate in which a sampler moves instead: one whose density has neither a wall nor a cusp.

        Parameters
        ----------
        vanishes_at_zero : bool
            Whether the prior's density does. Chains pass through zero in signed coordinates, but not there.
        """


class SamplerCoordinate(Coordinate):
    """One in which samplers move.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods.parameters import LogOdds
    >>> value, log_slope = LogOdds().graph(np.array([0.0]), unit=1.0)
    >>> value.ndim, log_slope.ndim  # in PyTensor
    (1, 1)
    """

    def for_sampler(self, *, vanishes_at_zero: bool) -> SamplerCoordinate:
        return self

    @abstractmethod
    def graph(self, coordinate: Any, unit: Any) -> tuple[Any, Any]:
        """Return what the parameter exceeds `lower` by and `log_slope`, in PyTensor; `unit` stands for its own."""


@dataclass(frozen=True)
class Log(SamplerCoordinate):
    """The value is lower + exp(c).

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods.parameters import Log
    >>> Log(lower=2.0).value(np.array([0.0])), Log(lower=2.0).signed(0.0)
    (array([3.]), (1.0, 1.0))
    """

    lower: float = 0.0

    def value(self, coordinate: Array) -> Array:
        return self.lower + np.exp(coordinate)

    def of(self, value: Array) -> Array:
        return np.log(value - self.lower)

    def log_slope(self, coordinate: Array) -> Array:
        return coordinate

    def signed(self, coordinate: float) -> tuple[float, float]:
        """Return what the value exceeds `lower` by and its derivative."""
        value = float(np.exp(coordinate))
        return value, value

    def graph(self, coordinate: Any, unit: Any) -> tuple[Any, Any]:
        import pytensor.tensor as pt

        return pt.exp(coordinate), coordinate


@dataclass(frozen=True)
class LogOdds(SamplerCoordinate):
    """The value is 1 / (1 + exp(-c)).

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods.parameters import LogOdds
    >>> LogOdds().value(np.array([0.0, 2.0])).round(2)
    array([0.5 , 0.88])
    """

    def value(self, coordinate: Array) -> Array:
        return expit(coordinate)

    def of(self, value: Array) -> Array:
        return np.log(value) - np.log1p(-value)

    def log_slope(self, coordinate: Array) -> Array:
        return log_expit(coordinate) + log_expit(-coordinate)

    def graph(self, coordinate: Any, unit: Any) -> tuple[Any, Any]:
        import pytensor.tensor as pt

        return pt.sigmoid(coordinate), -pt.softplus(coordinate) - pt.softplus(-coordinate)


@dataclass(frozen=True)
class FoldedLog(SamplerCoordinate):
    """The value is unit sinh(abs(c)): linear below the unit and exponential above.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods.parameters import FoldedLog
    >>> FoldedLog(unit=2.0).value(np.array([-1.0, 1.0])).round(2), FoldedLog().signed(0.0)
    (array([2.35, 2.35]), (0.0, 1.0))
    """

    folded = True
    unit: float = 1.0

    def value(self, coordinate: Array) -> Array:
        return self.unit * np.sinh(np.maximum(np.abs(coordinate), _TINY))

    def of(self, value: Array) -> Array:
        return np.arcsinh(value / self.unit)

    def log_slope(self, coordinate: Array) -> Array:
        return np.log(self.unit * np.cosh(coordinate))

    def signed(self, coordinate: float) -> tuple[float, float]:
        """Return the value, of the coordinate's sign, and its derivative."""
        return float(self.unit * np.sinh(coordinate)), float(self.unit * np.cosh(coordinate))

    def for_sampler(self, *, vanishes_at_zero: bool) -> SamplerCoordinate:
        return Log() if vanishes_at_zero else self

    def graph(self, coordinate: Any, unit: Any) -> tuple[Any, Any]:
        import pytensor.tensor as pt

        return unit * pt.sinh(pt.abs(coordinate)), pt.log(unit) + pt.log(pt.cosh(coordinate))


@dataclass(frozen=True)
class FoldedOdds(Coordinate):
    """The value is c^2 / (1 + c^2), whose odds are c^2.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods.parameters import FoldedOdds
    >>> FoldedOdds().value(np.array([-2.0, 2.0]))
    array([0.8, 0.8])
    """

    folded = True

    def value(self, coordinate: Array) -> Array:
        size = np.maximum(np.abs(coordinate), _TINY)
        return size / (size + 1.0 / size)

    def of(self, value: Array) -> Array:
        return np.sqrt(value / (1.0 - value))

    def log_slope(self, coordinate: Array) -> Array:
        size = np.maximum(np.abs(coordinate), _TINY)
        return np.log(2.0 * size) - 2.0 * np.log1p(np.square(size))

    def for_sampler(self, *, vanishes_at_zero: bool) -> SamplerCoordinate:
        return LogOdds()


@dataclass(frozen=True)
class FoldedRoot(Coordinate):
    """The value is c^2.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods.parameters import FoldedRoot
    >>> FoldedRoot().value(np.array([-2.0, 2.0]))
    array([4., 4.])
    """

    folded = True

    def value(self, coordinate: Array) -> Array:
        return np.square(np.maximum(np.abs(coordinate), _TINY))

    def of(self, value: Array) -> Array:
        return np.sqrt(value)

    def log_slope(self, coordinate: Array) -> Array:
        return np.log(2.0 * np.maximum(np.abs(coordinate), _TINY))

    def for_sampler(self, *, vanishes_at_zero: bool) -> SamplerCoordinate:
        return Log()


class Auxiliary(NamedTuple):
    """A parameter of the likelihood beside the regression line.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import HalfNormal
    >>> from bayes_sklearn.likelihoods.parameters import Auxiliary, Log
    >>> scale = Auxiliary("noise_scale", HalfNormal(), Log(), start=1.0)
    >>> scale.for_sampler, scale.log_prior(np.array([0.0])).round(2)
    (Log(lower=0.0), array([-0.73]))
    """

    name: str
    """"noise_scale", or the key of `Posterior.auxiliary`."""
    prior: ScalePrior | UnitPrior
    """Of what it exceeds its least value by."""
    coordinate: Coordinate
    start: float
    """A value to start from."""

    @property
    def for_sampler(self) -> SamplerCoordinate:
        """The coordinate in which a sampler moves."""
        vanishes = isinstance(self.prior, ScalePrior) and self.prior.vanishes_at_zero
        return self.coordinate.for_sampler(vanishes_at_zero=vanishes)

    def log_prior(self, coordinate: Array) -> Array:
        """Return the prior's log density in the coordinate."""
        above = self.coordinate.value(coordinate) - self.coordinate.lower
        return self.prior.log_density(above) + self.coordinate.log_slope(coordinate)


class Derivatives(NamedTuple):
    """Each row's log density at one point and its derivatives in (eta, coordinates of the auxiliary parameters).

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import NormalLikelihood
    >>> from bayes_sklearn.likelihoods import Observations
    >>> found = NormalLikelihood().derivatives(np.array([0.5]), np.zeros(1), Observations(np.array([2.0])))
    >>> found.gradient.shape, found.hessian.shape, found.curvature
    ((2, 1), (2, 2, 1), array([1.]))
    """

    value: Array
    """(n,)"""
    gradient: Array
    """(1 + A, n)"""
    hessian: Array
    """(1 + A, 1 + A, n)"""
    curvature: Array
    """(n,) a positive number to take for minus the second derivative in eta where that is not."""


def given_prior(prior: object, default: Prior, kind: type[Prior], key: str, fitting: str) -> Any:
    """Return a prior or the default, checked."""
    if prior is None:
        return default
    if not isinstance(prior, kind):
        raise TypeError(f"{key} must be a prior such as {fitting}, got {shown(prior)}.")
    prior.check(key, 1)
    return prior
