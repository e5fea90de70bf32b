"""What engines know of a prior, and none at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from .parameters import Parametrized, Prior

__all__ = [
    "CoefficientPrior",
    "Flat",
    "MixtureTerms",
    "Parametrized",
    "Prior",
    "ScaleMixture",
    "ScalePrior",
    "UnitPrior",
]


Array = NDArray[np.float64]


class CoefficientPrior(Prior):
    """A prior for coefficients or the intercept: independent, with parameters of one value or one per feature.

    Examples
    --------
    >>> from bayes_sklearn import HalfCauchy, Laplace, Normal
    >>> Normal(sigma=HalfCauchy(2.0)).scale_prior  # learned
    HalfCauchy(beta=2.0)
    >>> Laplace(b=2.0).scale_prior is None  # fixed
    True
    """

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
        """Return this prior with its learned scale fixed.

        Examples
        --------
        >>> from bayes_sklearn import HalfCauchy, Normal
        >>> Normal(sigma=HalfCauchy()).at_scale(0.5)
        Normal(sigma=0.5)
        """
        if self._scale is None or self.scale_prior is None:
            return self
        return clone(self).set_params(**{self._scale: scale})

    def in_unit(self, unit: float) -> CoefficientPrior:
        """Return this prior with its scale in units of the target's spread and errors, `unit` times the model's unit.

        A prior that does not follow these returns itself.

        Examples
        --------
        >>> from bayes_sklearn import PoweredCorrelation
        >>> PoweredCorrelation().in_unit(2.0)
        PoweredCorrelation(sigma=HalfCauchy(beta=2.0))
        """
        return self

    def at_learned_scale(self, parameters: Mapping[str, Any], scale: Any) -> dict[str, Any]:
        """Return parameters, arrays or tensors, with a learned scale in the place of one.

        Examples
        --------
        >>> from bayes_sklearn import HalfCauchy, Normal
        >>> prior = Normal(sigma=HalfCauchy())
        >>> prior.at_learned_scale(prior.check("coef_prior", 2), 0.5)["sigma"]
        array([0.5, 0.5])
        """
        if self._scale is None or self.scale_prior is None:
            return dict(parameters)
        return {**parameters, self._scale: parameters[self._scale] * scale}

    def gaussian(self, argument: str, size: int) -> tuple[Array, Array] | None:
        """Return mean and standard deviation, (size,) each, or None if the prior is not Gaussian.

        An infinite standard deviation stands for a flat prior.

        Examples
        --------
        >>> from bayes_sklearn import Laplace, Normal
        >>> Normal(sigma=2.0).gaussian("coef_prior", 2)
        (array([0., 0.]), array([2., 2.]))
        >>> Laplace(b=2.0).gaussian("coef_prior", 2) is None
        True
        """
        return None

    def gaussian_like(self, argument: str, size: int) -> tuple[Array, Array]:
        """Return mean and standard deviation, (size,) each, of a Gaussian about as wide: what samplers start from.

        Examples
        --------
        >>> from bayes_sklearn import Laplace
        >>> Laplace(b=2.0).gaussian_like("coef_prior", 2)[1].round(2)
        array([2.83, 2.83])
        """
        exact = self.gaussian(argument, size)
        return exact if exact is not None else (np.zeros(size), np.ones(size))

    def coefficient_log_density(self, values: Array, parameters: Mapping[str, Array]) -> Array:
        """Return the log density of each coefficient, (..., size), given what `check` returns.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import Laplace
        >>> prior = Laplace(b=2.0)
        >>> prior.coefficient_log_density(np.array([0.0, 4.0]), prior.check("coef_prior", 2)).round(2)
        array([-1.39, -3.39])
        """
        raise NotImplementedError(f"{self!r} has no density in closed form.")

    def central_interval(self, argument: str, size: int, coverage: float) -> tuple[Array, Array] | None:
        """Return the limits of equal-tailed intervals, (size,) each, or None if no formula has them.

        Examples
        --------
        >>> from bayes_sklearn import Normal
        >>> Normal(sigma=2.0).central_interval("coef_prior", 1, coverage=0.95)[1].round(2)
        array([3.92])
        """
        return None

    def _check_one(self, key: str, value: object, size: int, positive: bool) -> Array:
        learned = self.scale_prior
        if learned is not None and learned is value:
            if isinstance(learned, Flat):
                raise ValueError(
                    f"{key}=Flat() can't be learned: nothing bounds it from above. Use {key}=HalfCauchy()."
                )
            learned.check(key, 1)
            value = 1.0
        return super()._check_one(key, value, size, positive)


class ScaleMixture(CoefficientPrior):
    """A prior for coefficients that is Normal(0, sd) given scales that have a distribution of their own.

    Given the scales, coefficients are integrated out in closed form; only the scales are sampled.

    Examples
    --------
    >>> from bayes_sklearn.priors import Horseshoe, ScaleMixture
    >>> isinstance(Horseshoe(), ScaleMixture)
    True
    """

    @abstractmethod
    def n_coordinates(self, size: int) -> int:
        """Return how many real numbers the scales of `size` coefficients are given by.

        Examples
        --------
        >>> from bayes_sklearn import Horseshoe
        >>> Horseshoe().n_coordinates(10)  # a scale each, one of all, and the slab's
        12
        """

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
            Standard deviation of a typical row's noise, divided by the square root of the number of rows: one over
            the root of the Fisher information of a constant linear predictor.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import Horseshoe
        >>> prior = Horseshoe(n_nonzero=1)
        >>> prior.scales(np.zeros(5), prior.check("coef_prior", 3), 0.1).sd.ndim  # in PyTensor
        1
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

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import Horseshoe
        >>> prior = Horseshoe(n_nonzero=1)
        >>> found = prior.log_variances(np.zeros((1, 5)), prior.check("coef_prior", 3), np.log([0.1]))
        >>> np.exp(0.5 * found.values).round(2)
        array([[0.05, 0.05, 0.05]])
        """
        raise NotImplementedError

    def likely_coordinates(self, sizes: Array, parameters: Mapping[str, Any], unit: float) -> Array:
        """Return a point, (n_coordinates,), at which coefficients of such sizes, (size,), are likely.

        By default zeros: where a walk starts.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import Horseshoe
        >>> prior = Horseshoe(n_nonzero=1)
        >>> prior.likely_coordinates(np.array([0.0, 0.0, 1.0]), prior.check("coef_prior", 3), 0.1).round(1)
        array([0., 0., 3., 0., 0.])
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
        """Return independent draws of coefficients, (draws, size), with the unit of each draw, (draws,).

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import Horseshoe
        >>> prior, rng = Horseshoe(n_nonzero=1), np.random.default_rng(0)
        >>> prior.drawn_given(prior.check("coef_prior", 3), (1000, 3), np.full(1000, 0.1), rng).shape
        (1000, 3)
        """

    @abstractmethod
    def variables(self, name: str, parameters: Mapping[str, Any], unit: Any, dims: str) -> Any:
        """Return the coefficients as a variable of the PyMC model in hand, their scales beside them.

        Examples
        --------
        >>> import pymc as pm
        >>> from bayes_sklearn import Horseshoe
        >>> prior = Horseshoe(n_nonzero=1)
        >>> with pm.Model(coords={"feature": ["a", "b", "c"]}) as model:
        ...     coef = prior.variables("coef", prior.check("coef_prior", 3), 0.1, "feature")
        >>> [variable.name for variable in model.free_RVs]
        ['coef_local_scale', 'coef_global_scale', 'coef_slab_variance', 'coef_unscaled']
        """


class MixtureTerms(NamedTuple):
    """A point in the space of a mixture's scales, in PyTensor.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import Horseshoe
    >>> prior = Horseshoe(n_nonzero=1)
    >>> sorted(prior.scales(np.zeros(5), prior.check("coef_prior", 3), 0.1).named)
    ['global_scale', 'local_scale', 'slab_variance']
    """

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
    """A prior for a positive number, such as the noise scale.

    Examples
    --------
    >>> from bayes_sklearn import HalfStudentT
    >>> HalfStudentT(nu=3.0).vanishes_at_zero
    False
    """

    _single = True
    scale_distribution: ClassVar[str | None] = None
    """PyMC's distribution with the same parameters; None: there is none."""
    tail_power: ClassVar[float] = np.inf
    """The density falls as this power of a large scale (infinity: faster than any)."""
    vanishes_at_zero: ClassVar[bool] = False
    """Whether the density falls to nothing at zero, so fast that a sampler had better not step across."""

    @abstractmethod
    def log_density(self, scale: Array) -> Array:
        """Return the normalised log density at positive scales.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import HalfNormal
        >>> HalfNormal(sigma=2.0).log_density(np.array([0.0, 2.0])).round(2)
        array([-0.92, -1.42])
        """

    def tail(self) -> float:
        """Return the power of the scale with which the density falls in its upper tail.

        Examples
        --------
        >>> from bayes_sklearn import HalfNormal, HalfStudentT
        >>> HalfStudentT(nu=3.0).tail(), HalfNormal().tail()
        (4.0, inf)
        """
        return self.tail_power


class UnitPrior(Prior, ABC):
    """A prior for a number between 0 and 1, such as an intraclass correlation.

    Examples
    --------
    >>> from bayes_sklearn.priors import Beta, UnitPrior
    >>> isinstance(Beta(2.0, 5.0), UnitPrior)
    True
    """

    _single = True
    _vague = "Beta(1, 1)"
    unit_distribution: ClassVar[str | None] = None
    """PyMC's distribution with the same parameters; None: there is none."""

    @abstractmethod
    def log_density(self, share: Array) -> Array:
        """Return the normalised log density at numbers between 0 and 1.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import Beta
        >>> Beta(2.0, 5.0).log_density(np.array([0.2, 0.8])).round(2)
        array([ 0.9 , -3.26])
        """


class Flat(CoefficientPrior, ScalePrior):
    """Constant (improper) density, for coefficients, the intercept or the noise scale.

    A fit whose posterior would be improper under it is refused, and no marginal likelihood is given.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, Flat
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8]
    >>> BayesianErrorsInVariablesRegressor(coef_prior=Flat()).fit(X, y).coef_.round(2)  # that of least squares
    array([1.94])
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
