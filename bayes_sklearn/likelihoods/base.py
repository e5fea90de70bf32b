"""What engines know of a likelihood: what it sees of the rows, and what it says of them.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ..measurements.compressed import taken
from ..measurements.limits import Limits
from ..priors.base import CoefficientPrior, Flat, ScalePrior
from ..priors.coefficients import PoweredCorrelation
from .links import IDENTITY, Link
from .noise import SCALED, Noise
from .parameters import Auxiliary, Derivatives
from .special_functions import counts_below

__all__ = ["Derivatives", "Likelihood", "Observations"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observations:
    """What a likelihood sees of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn.likelihoods import Observations, counts
    >>> shares = Observations(np.array([0.1, 0.5]), trials=np.array([10.0, 4.0]))
    >>> counts(shares.take(slice(1)))  # successes and failures of the first row
    (array([1.]), array([9.]))
    """

    y: Array
    """(n,) target, in the model's units."""
    standard_error: Array | float = 1.0
    """Known errors of the target, (n,) or one, in the model's units; 1 where none are known."""
    noise: Noise = SCALED
    trials: Array | float = 1.0
    """What counted targets are counted per, (n,) or one: the trials behind shares, the exposure behind rates."""
    resolution: float = 0.0
    """Noise scale that is added in quadrature to one that multiplies errors: below it a residual is rounding."""
    visible: float = 1.0
    """Scatter that is about the least that can be told from none, where it is added to errors."""
    limits: Limits | None = None
    """What is known of targets that were not measured, in the model's units; None: all were."""

    @cached_property
    def found(self) -> dict[str, Any]:
        """What a likelihood has found of these data alone, by its name: rows are looked at many times."""
        return {}

    def take(self, index: slice | NDArray[np.intp]) -> Observations:
        """Return these rows alone."""
        return replace(
            self,
            y=self.y[index],
            standard_error=taken(self.standard_error, index),
            trials=taken(self.trials, index),
            limits=None if self.limits is None else self.limits.take(index),
        )


class Likelihood(BaseEstimator, ABC):
    """How a target is distributed, given the linear predictor (through a link) and further parameters, (31) to (33b).

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import HalfNormal, StudentTLikelihood
    >>> from bayes_sklearn.likelihoods import Observations
    >>> noise, rows = StudentTLikelihood(nu=4.0), Observations(np.array([0.0, 2.0]))
    >>> [parameter.name for parameter in noise.auxiliary(rows.noise, rows.visible, HalfNormal())]
    ['noise_scale']
    >>> given = np.array([0.0, 2.0]), {"noise_scale": np.ones(1)}, rows  # linear predictor, parameters, data
    >>> noise.log_density(*given).round(2), noise.probability_of_less(*given), noise.variance(*given)
    (array([-0.98, -0.98]), array([0.5, 0.5]), array([2., 2.]))
    >>> noise.draw(*given, np.random.default_rng(0)).shape, noise.information(*given[1:], share=None).round(2)
    ((2,), array([0.71]))
    >>> noise.derivatives(np.array([1.0, 2.0]), np.zeros(1), rows).gradient.round(2)
    array([[-1.,  0.],
           [ 0., -1.]])
    >>> noise.distribution(given[0], {"noise_scale": 1.0, "nu": 4.0}, rows)[0]
    'StudentT'
    """

    name: ClassVar[str]
    link: ClassVar[Link] = IDENTITY
    """What turns the target's mean (or location) into the linear predictor."""
    per: ClassVar[Literal["trials", "exposure"] | None] = None
    """What the target is a count by: "trials", whole numbers of which it is a share, or "exposure", positive numbers
    per unit of which it is a rate; None: the target is measured."""
    has_noise_scale: ClassVar[bool] = False
    """Whether noise is added to the linear predictor, in which known errors of the target have a part."""
    is_normal: ClassVar[bool] = False
    """Whether that noise is normal given its scale: all that is linear then integrates out."""
    takes_more: ClassVar[str] = ", or leave them out"
    """What to do about rows that are badly predicted, such as another likelihood that takes them for likelier."""
    intercept_prior: ClassVar[CoefficientPrior] = Flat()
    """The default prior of the intercept."""
    coef_prior: ClassVar[CoefficientPrior] = PoweredCorrelation()
    """One for the coefficients whose scale is learned."""

    def check(self, argument: str) -> None:
        """Refuse parameters of the likelihood that are not valid.

        Parameters
        ----------
        argument : str
            The estimator's argument that holds this likelihood, for the message.

        Raises
        ------
        TypeError, ValueError
            Naming the parameter.
        """

    def checked_target(self, y: Array, seen: NDArray[np.bool_] | slice) -> Array:
        """Return the targets, (n,), those of rows that do not count replaced by any that have a density.

        Raises
        ------
        ValueError
            Where a row that counts has a target without a density; it names y, the rows, and what to do.
        """
        return y

    @property
    def counted(self) -> bool:
        """Whether the target is a count by trials or exposure, whose error follows from these."""
        return self.per is not None

    def log_unit(self, data: Observations) -> Array:
        """Return the log density of the target, per its unit, less the log probability of its count, (n,) or (1,)."""
        return np.log(data.trials) if self.per == "trials" else np.zeros(1)

    @abstractmethod
    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        """Return the parameters beside the regression line that have to be found.

        Parameters
        ----------
        noise : Noise
        visible : float
            As in `Observations`.
        noise_prior : ScalePrior
            Of the noise scale, for likelihoods that have one.
        scatter_unit : float, default=1.0
            Size of the known errors, for the prior of a scatter beside them.
        """

    @abstractmethod
    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return each row's log density (of a share: the log probability of its count).

        Parameters
        ----------
        eta : ndarray of shape (..., n) or (..., 1)
            The linear predictor.
        values : mapping of str to ndarray
            The auxiliary parameters, of a shape that broadcasts with `eta`; those that are fixed are left out.
        data : Observations

        Returns
        -------
        ndarray of shape (..., n)
        """

    def given(self, values: Mapping[str, Array], data: Observations) -> Callable[[Array], Array]:
        """Return `log_density` as a function of the linear predictor alone.

        What does not depend on the predictor is then computed once, for many calls with arrays of one shape.
        """
        return lambda eta: self.log_density(eta, values, data)

    @abstractmethod
    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        """Return a random new measurement of each row, shaped as `log_density`; of shares, trials are rounded."""

    @abstractmethod
    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return the probability of less than each row's target, plus half of the probability of the target itself.

        Arguments and shape are those of `log_density`. The second part is zero but for counts, which are discrete;
        counts that are not whole, since shares were rounded, are rounded.
        """

    def log_between(
        self, eta: Array, values: Mapping[str, Array], data: Observations, lower: Array, upper: Array
    ) -> Array:
        """Return the log probability that each row's target lies above `lower` and at most at `upper`.

        Parameters
        ----------
        eta, values, data
            As for `log_density`; the target is not looked at.
        lower, upper : ndarray of shape (n,)
            In the target's unit; either may be infinite.

        Returns
        -------
        ndarray of shape (..., n)
        """
        least = 1e-300
        with np.errstate(under="ignore"):
            (low, above_low), (high, above_high) = (
                self._sides(eta, values, data, limit) for limit in (lower, upper)
            )
            # By the tail that is less.
            between = np.where(low > 0.5, above_low - above_high, high - low)
        return np.log(np.maximum(between, least))

    def _sides(
        self, eta: Array, values: Mapping[str, Array], data: Observations, limit: Array
    ) -> tuple[Array, Array]:
        """Return the probabilities of a target of no more than this, and of more, (..., n)."""
        ends = self.link.lower, self.link.upper if self.per != "exposure" else np.inf
        # Counts may be none, or all; what is measured lies between the ends.
        none = limit < ends[0] if self.counted else limit <= ends[0]
        every = limit >= ends[1]
        limit = np.where(none | every, np.broadcast_to(data.y, np.shape(limit)), limit)
        if self.counted:
            limit = counts_below(limit, np.asarray(data.trials)) / data.trials
        at_most, more = self.tails(eta, values, replace(data, y=limit))
        return (
            np.where(none, 0.0, np.where(every, 1.0, at_most)),
            np.where(none, 1.0, np.where(every, 0.0, more)),
        )

    def tails(self, eta: Array, values: Mapping[str, Array], data: Observations) -> tuple[Array, Array]:
        """Return the probabilities of no more than a row's target and of more, with an absolute error of 1e-16 here.

        Arguments and shape are those of `log_density`.
        """
        at_most = self.probability_of_less(eta, values, data)
        if self.counted:
            at_most = at_most + 0.5 * np.exp(self.log_density(eta, values, data))
        return at_most, 1.0 - at_most

    @abstractmethod
    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        """Return each row's variance given its mean (or location); NaN where the distribution has no mean.

        Further arguments and the shape are those of `log_density`; the target is not looked at.
        """

    @property
    def underlying(self) -> Likelihood | None:
        """How the shares or rates scatter that underlie counts; None: they are the mean."""
        return None

    @property
    def given_underlying(self) -> Likelihood | None:
        """The likelihood of counts given their underlying share or rate, which has `at_most`; None: there is none."""
        return None

    def at_most(self, eta: Array, counts: Array, trials: Array) -> Array:
        """Return the probability of at most `counts`, (..., n), above -1 and below the trials, whole or not."""
        raise TypeError(f"{self!r} has no rule for counts.")

    def exceeding(self, counts: Array, trials: Array, narrow: Array) -> tuple[Array, Array] | None:
        """Return points and weights, (n, T) each, of a rule along the linear predictor; None: there is none.

        The probability of more than `counts` (of the trials or, by exposure, of events) rises with the linear
        predictor: it is a distribution function of it, of which the rule takes means. Integrands are as smooth as
        normal distributions with the standard deviations `narrow`.
        """
        return None

    def squared_scale(self, values: Mapping[str, Array], data: Observations) -> Array:
        """Return the squared scale of each row's noise, broadcasting with the linear predictor, (14).

        Of likelihoods with a noise scale; arguments are those of `log_density`.
        """
        raise TypeError(f"{self!r} has no noise that is added to the line.")

    def normal_parts(
        self, values: Mapping[str, Array], outlying: Array, explained: Array
    ) -> Iterator[tuple[Array, Array]]:
        """Yield log weights and variances, (G, 1) each, of the normal distributions that noise of scale one mixes.

        Noise that is no such mixture yields nothing: rows whose features have errors are then integrated over the
        linear predictor, (33a).

        Parameters
        ----------
        values : mapping of str to ndarray
            The auxiliary parameters, (G, 1).
        outlying, explained : ndarray of shape (G, 1)
            Largest squared distance of a target from the line, in units of its squared scale; and in units of that
            plus the variance that the features' errors cause.
        """
        yield from ()

    def drawn_parts(
        self, values: Mapping[str, Array], shape: tuple[int, int], rng: np.random.Generator
    ) -> Array:
        """Return variances, (G, n), of the normal distributions that rows' noise of scale one is drawn from."""
        none = np.zeros((shape[0], 1))
        chosen, below, found = rng.random(shape), np.zeros(shape), np.ones(shape)
        for log_weight, variance in self.normal_parts(values, none, none):
            found = np.where(below <= chosen, variance, found)
            below += np.exp(log_weight)
        return found

    def normal_parts_graph(
        self, values: Mapping[str, Any], outlying: Any, explained: Any, count: int
    ) -> tuple[Any, Any] | None:
        """Return `normal_parts` in PyTensor, (k, n) or (k, 1) with k at most `count`; None: it is no mixture.

        Parameters
        ----------
        values : mapping of str to TensorVariable or float
        outlying, explained : TensorVariable of shape (n,)
            Each row's squared distance, as there.
        count : int
        """
        return None

    @abstractmethod
    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        """Return each row's log density and its first and second derivatives.

        Parameters
        ----------
        eta : ndarray of shape (n,)
            The linear predictor.
        coordinates : ndarray of shape (A,)
            Of the auxiliary parameters, in the order of `auxiliary`.
        data : Observations
        """

    @property
    def population(self) -> Likelihood:
        """The likelihood of a population whose rows were selected by their targets; here that of the rows."""
        return self

    @property
    def structure(self) -> tuple[Any, ...]:
        """What two models have to share, as a hashable key, for one compilation to serve both."""
        return type(self), *self.constants

    @property
    def constants(self) -> Mapping[str, float]:
        """Parameters that `distribution` takes and that are fixed, by name."""
        return {}

    @abstractmethod
    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        """Return what PyMC calls this likelihood, and its parameters.

        Parameters
        ----------
        eta : TensorVariable of shape (n,)
        values : mapping of str to TensorVariable or float
            The auxiliary parameters, `constants` among them.
        data : Observations
            With tensors for arrays, or arrays.
        """

    def precision(self, values: Mapping[str, Any], dims: str) -> Any:
        """Return the precision of each row's noise, a variable of PyMC's given which it is normal; 1 at its scale.

        It is for noise that is a mixture of normal distributions, as `normal_parts` has it.
        """
        return 1.0

    def outcome(self, data: Observations) -> Any:
        """Return the values, (n,), that `distribution` is of: the target, or whole counts, as PyMC has them."""
        return np.rint(data.y * np.asarray(data.trials)).astype(np.int64) if self.counted else data.y

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        """Return each row's log density in PyTensor, shaped as eta, up to terms that depend on the data alone.

        Parameters
        ----------
        eta : TensorVariable of shape (n,) or (k, n)
        values, data
            As for `distribution`.
        """
        import pymc as pm
        import pytensor.tensor as pt

        name, parameters = self.distribution(eta, values, data)
        value = data.y * data.trials if self.counted else data.y
        return pm.logp(getattr(pm, name).dist(**parameters), value + pt.zeros_like(eta))

    def log_between_graph(
        self, eta: Any, values: Mapping[str, Any], data: Observations, lower: Any, upper: Any
    ) -> Any:
        """Return `log_between` in PyTensor, shaped as eta; None is no limit.

        Parameters
        ----------
        eta, values, data
            As for `distribution`.
        lower, upper : TensorVariable or float, optional
        """
        import pytensor.tensor as pt

        def sides(limit: Any) -> tuple[Any, Any]:
            if self.counted:
                rounding = 1e-6
                limit = pt.maximum(pt.floor(limit * data.trials + rounding), 0.0) / data.trials
            return self.tails_graph(eta, values, replace(data, y=limit))

        if lower is None or upper is None:
            between = sides(upper)[0] if lower is None else sides(lower)[1]
        else:
            (low, above_low), (high, above_high) = sides(lower), sides(upper)
            between = pt.switch(pt.gt(low, 0.5), above_low - above_high, high - low)
        least = 1e-300
        return pt.log(pt.maximum(between, least))

    def tails_graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> tuple[Any, Any]:
        """Return `tails` in PyTensor, shaped as eta."""
        raise ValueError(
            f"Under {self!r} PyMC has no probabilities of limits (y_censored, y_upper, truncation) that could be"
            " differentiated: use inference='importance'."
        )

    @abstractmethod
    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        """Return each row's Fisher information of the linear predictor, (n,), where that is constant.

        Parameters
        ----------
        values, data
            As for `distribution`.
        share : float
            The pooled share, for likelihoods of shares.
        """
