"""Noise about the line, with a scale: normal, and Student's t."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp, ndtr, stdtr

from ..measurements.messages import shown
from ..priors.base import Prior, ScalePrior
from ..priors.scales import Gamma, ScatterPrior
from .base import Derivatives, Likelihood, Observations
from .noise import KNOWN, Noise
from .over_line.vectorised import exp_graph, held
from .parameters import Auxiliary, FoldedLog, Log, given_prior
from .special_functions import log_beta_below, log_one_less, log_rising, rising_derivatives

__all__ = ["NormalLikelihood", "StudentTLikelihood"]


Array = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))

# The log density of a log precision has fallen by half of this at the ends of its rule.
_FALLEN = 72.0


def _noise_coordinates(noise: Noise, visible: float) -> tuple[Log | FoldedLog, ...]:
    """Return the coordinates of the noise scale and, beside it, the scatter.

    A scale that may be zero is folded there; but beside each other both are in logs, which spread out the peak near
    zero that the prior of the scatter has.
    """
    if noise.combined:
        return Log(), Log()
    return (Log(),) if noise.only_multiplies else (FoldedLog(visible),)


def _bordered(
    eta_eta: Array, across: Array, in_in: Array, in_variance: Array, slope: Array, bend: Array
) -> Array:
    """Return the Hessian in the line and the coordinates of the noise, by the chain rule through the log variance."""
    own = in_in * slope[:, None] * slope + in_variance * bend
    return _with_border(own, across, eta_eta, first=True)


def _with_border(matrix: Array, column: Array, corner: Array, *, first: bool = False) -> Array:
    """Return symmetric matrices, (A, A, n), with a row and a column more, at the end or at the beginning."""
    size = len(matrix)
    answer = np.empty((size + 1, size + 1, len(corner)))
    rest, own = (slice(1, None), 0) if first else (slice(0, size), size)
    answer[rest, rest], answer[own, own] = matrix, corner
    answer[own, rest] = answer[rest, own] = column
    return answer


class _Additive(Likelihood):
    """A likelihood of target less line, with a scale: of the noise's kind, (1)."""

    has_noise_scale = True

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        if not noise.has_scale:
            return ()
        scale, *scatter = _noise_coordinates(noise, visible)
        found = [Auxiliary("noise_scale", noise_prior, scale, 1.0)]
        found += [Auxiliary("scatter", ScatterPrior(scatter_unit), of, scatter_unit) for of in scatter]
        return tuple(found)

    def _scale(self, values: Mapping[str, Any], data: Observations) -> Any:
        """Return the rows' scales in PyTensor."""
        import pytensor.tensor as pt

        error, resolution = data.standard_error, data.resolution
        if data.noise.scatters:
            return pt.sqrt(data.noise.variance(values, error, resolution))
        if not data.noise.multiplies:
            return error
        scale = values["noise_scale"]
        if not isinstance(resolution, float) or resolution:
            scale = pt.sqrt(scale**2 + resolution**2)
        return scale if isinstance(error, float) and error == 1.0 else scale * error

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return 1.0 / data.noise.variance(values, data.standard_error, data.resolution)

    def squared_scale(self, values: Mapping[str, Array], data: Observations) -> Array:
        return np.asarray(data.noise.variance(values, np.asarray(data.standard_error), data.resolution))

    @abstractmethod
    def _log_below(self, z: Array, values: Mapping[str, Array]) -> Array:
        """Return the log probability of noise of scale one below negative z, (...,)."""

    def log_between(
        self, eta: Array, values: Mapping[str, Array], data: Observations, lower: Array, upper: Array
    ) -> Array:
        scale = np.sqrt(self.squared_scale(values, data))
        # Beyond there logarithms are too large for numbers.
        most = 1e150
        low, high = (np.clip((limit - eta) / scale, -most, most) for limit in (lower, upper))
        if np.isneginf(lower).all() or np.isposinf(upper).all():
            return self._log_at_most(high if np.isneginf(lower).all() else -low, values)
        width = np.minimum((upper - lower) / scale, 2.0 * most) + np.zeros_like(low)
        # In the tail that is less: noise is symmetric.
        above = low + high > 0.0
        low, high = np.where(above, -high, low), np.where(above, -low, high)
        values = {name: np.broadcast_to(value, high.shape) for name, value in values.items()}
        top = self._log_at_most(high, values)
        gap = top - self._log_at_most(low, values)
        found = top + log_one_less(gap)
        # Between limits that close differences would lose digits.
        near = (gap < 0.3) & (width > 0.0)
        if near.any():
            half, values = 0.5 * width[near], {name: value[near] for name, value in values.items()}
            found[near] = self._log_near(low[near] + half, half, values)
        return found

    def log_between_graph(
        self, eta: Any, values: Mapping[str, Any], data: Observations, lower: Any, upper: Any
    ) -> Any:
        import pymc as pm
        import pytensor.tensor as pt

        # As in `log_between`, in the tail that is less.
        above = 0.0 if lower is None or upper is None else lower + upper > 2.0 * eta
        sign = -1.0 if upper is None else 1.0 - 2.0 * above
        name, parameters = self.distribution(sign * eta, values, data)
        noise = getattr(pm, name).dist(**parameters)
        ends = [
            pm.logcdf(noise, sign * end + pt.zeros_like(eta)) for end in (lower, upper) if end is not None
        ]
        if len(ends) == 1:
            return ends[0]
        low, high = (pt.switch(above, *pair) for pair in (ends[::-1], ends))
        return high + pt.log1mexp(low - high)

    def _log_at_most(self, z: Array, values: Mapping[str, Array]) -> Array:
        log = self._log_below(-np.abs(z), values)
        return np.where(z < 0.0, log, np.log1p(-np.exp(log)))

    def _log_near(self, middle: Array, half: Array, values: Mapping[str, Array]) -> Array:
        """Return the log probability of noise of scale one about there, by Gauss and Legendre's rule."""
        points, weights = np.polynomial.legendre.leggauss(8)
        at = Observations(np.vstack([middle, middle + half * points[:, None]]), noise=KNOWN)
        log_density = self.log_density(np.zeros(()), values, at)
        return log_density[0] + np.log(half * (weights @ np.exp(log_density[1:] - log_density[0])))

    def _log_variance(self, coordinates: Array, data: Observations) -> tuple[Array, Array, Array]:
        """Return the log of the rows' squared scales, and its derivatives in the coordinates of the noise.

        Returns
        -------
        log_variance : ndarray of shape (n,)
        slope : ndarray of shape (A, n)
            A is 0 for known noise, 2 where there are both, else 1.
        bend : ndarray of shape (A, A, n)
        """
        square = np.broadcast_to(np.square(np.asarray(data.standard_error)), data.y.shape)
        if not data.noise.has_scale:
            return np.log(square), np.zeros((0, len(square))), np.zeros((0, 0, len(square)))
        of = _noise_coordinates(data.noise, data.visible)
        # The multiple and the scatter, what their squares are multiplied by, and what is added to these.
        values, growth = np.array(
            [coordinate.signed(c) for coordinate, c in zip(of, coordinates, strict=False)]
        ).T
        one = np.ones_like(square)
        times = np.array([square] * data.noise.multiplies + [one] * data.noise.scatters)
        fixed = data.resolution**2 * square if data.noise.multiplies else square
        variance = fixed + np.square(values) @ times
        slope = 2.0 * (values * growth)[:, None] * times / variance
        bend = -slope[:, None] * slope
        each = np.arange(len(of))
        # A value's second derivative in its coordinate is the value.
        bend[each, each] += 2.0 * (np.square(growth) + np.square(values))[:, None] * times / variance
        return np.log(variance), slope, bend


class NormalLikelihood(_Additive):
    """Normal noise, (1), for which all is integrated in closed form.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, NormalLikelihood
    >>> BayesianErrorsInVariablesRegressor(likelihood=NormalLikelihood()).fit([[0.0], [1.0]], [0.1, 1.9]).inference_
    'exact'
    """

    name = "normal"
    takes_more = ", or use likelihood='student_t'"
    is_normal = True

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        variance = self.squared_scale(values, data)
        return -0.5 * (np.square(data.y - eta) / variance + np.log(variance) + _LOG_TWO_PI)

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return np.asarray(ndtr((data.y - eta) / np.sqrt(self.squared_scale(values, data))))

    def _log_below(self, z: Array, values: Mapping[str, Array]) -> Array:
        return np.asarray(log_ndtr(z))

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return self.squared_scale(values, data) + np.zeros_like(mean)

    def normal_parts(
        self, values: Mapping[str, Array], outlying: Array, explained: Array
    ) -> Iterator[tuple[Array, Array]]:
        yield np.zeros(()), np.ones(())

    def normal_parts_graph(
        self, values: Mapping[str, Any], outlying: Any, explained: Any, count: int
    ) -> tuple[Any, Any] | None:
        return np.zeros((1, 1)), np.ones((1, 1))

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        return eta + np.sqrt(self.squared_scale(values, data)) * rng.standard_normal(eta.shape)

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        log_variance, slope, bend = self._log_variance(coordinates, data)
        precision = np.exp(-log_variance)
        pull = (data.y - eta) * precision
        square = (data.y - eta) * pull
        in_variance = 0.5 * (square - 1.0)
        gradient = np.concatenate([pull[None], in_variance * slope])
        hessian = _bordered(-precision, -pull * slope, -0.5 * square, in_variance, slope, bend)
        return Derivatives(-0.5 * (square + log_variance + _LOG_TWO_PI), gradient, hessian, precision)

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        return "Normal", {"mu": eta, "sigma": self._scale(values, data)}


class StudentTLikelihood(_Additive):
    """Student's t noise, (31), for targets some of which are wildly off.

    The known errors and the noise scale are those of the distribution's scale, not of its standard deviation.

    Parameters
    ----------
    nu : float or ScalePrior, default=None
        Degrees of freedom: a positive number, or the prior of what they exceed `lower` by; None: ``Gamma(2, 0.1)``
        (Juarez & Steel 2010, Journal of Business & Economic Statistics 28:52-66).
    lower : float, default=2.0
        What degrees of freedom that are not given exceed. With 2 or less the noise has no variance, so that as soon
        as the posterior admits them standard deviations of predictions are infinite.

    Examples
    --------
    >>> from bayes_sklearn.likelihoods import StudentTLikelihood
    >>> StudentTLikelihood(nu=4)
    StudentTLikelihood(nu=4)
    >>> StudentTLikelihood().nu_prior
    Gamma()
    """

    name = "student_t"

    def __init__(self, nu: float | ScalePrior | None = None, lower: float = 2.0):
        self.nu = nu
        self.lower = lower

    def check(self, argument: str) -> None:
        lower = np.asarray(self.lower)
        if lower.ndim or lower.dtype.kind not in "iuf" or not 0.0 <= lower < np.inf:
            raise ValueError(f"{argument}__lower must be a number from 0, got {shown(self.lower)}.")
        if self.nu is None or isinstance(self.nu, Prior):
            given_prior(self.nu, Gamma(), ScalePrior, f"{argument}__nu", "Gamma(2, 0.1), or a number")
            if self.nu is not None and self.nu.tail() <= 1.0:
                raise ValueError(
                    f"{argument}__nu needs a prior that integrates to one, got {shown(self.nu)}."
                )
            return
        nu = np.asarray(self.nu)
        if nu.ndim or nu.dtype.kind not in "iuf":
            raise TypeError(
                f"{argument}__nu must be a number or a prior such as Gamma(2, 0.1), got {shown(self.nu)}."
            )
        if not (np.isfinite(nu) and nu > 0.0):
            raise ValueError(
                f"{argument}__nu must be positive and finite, got {shown(self.nu)}. For normal noise, use 'normal'."
            )

    @property
    def nu_prior(self) -> ScalePrior | None:
        """The prior of nu, None where it is fixed."""
        if self.nu is None:
            return Gamma()
        return self.nu if isinstance(self.nu, ScalePrior) else None

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        scale = super().auxiliary(noise, visible, noise_prior, scatter_unit)
        prior = self.nu_prior
        nu = () if prior is None else (Auxiliary("nu", prior, Log(self.lower), 10.0 + self.lower),)
        return *scale, *nu

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        nu = self.degrees_of_freedom(values)
        variance = self.squared_scale(values, data)
        # (33)
        constant = log_rising(2.0 / nu, 0.5) - 0.5 * _LOG_TWO_PI - 0.5 * np.log(variance)
        with np.errstate(over="ignore"):  # that far off the density is 0
            tail = np.square(data.y - eta)
        tail /= nu * variance
        np.log1p(tail, out=tail)
        tail *= -0.5 * (nu + 1.0)
        tail += constant
        return tail

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        z = (data.y - eta) / np.sqrt(self.squared_scale(values, data))
        return np.asarray(stdtr(self.degrees_of_freedom(values), z))

    def _log_below(self, z: Array, values: Mapping[str, Array]) -> Array:
        nu = self.degrees_of_freedom(values)
        with np.errstate(divide="ignore", over="ignore"):
            ratio = np.square(z / np.sqrt(nu))
            tails = log_beta_below(0.5 * nu, 0.5, -np.log1p(ratio), -np.log1p(1.0 / ratio))
        return tails - np.log(2.0)

    def degrees_of_freedom(self, values: Mapping[str, Array]) -> Array:
        """Return nu, shaped as the parameters are.

        Examples
        --------
        >>> from bayes_sklearn import StudentTLikelihood
        >>> float(StudentTLikelihood(nu=4).degrees_of_freedom({}))
        4.0
        """
        return np.asarray(values.get("nu", self.nu), dtype=np.float64)

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        nu = self.degrees_of_freedom(values)
        wider = np.where(nu > 2.0, nu / np.where(nu > 2.0, nu - 2.0, 1.0), np.inf)
        return np.where(nu > 1.0, wider, np.nan) * (self.squared_scale(values, data) + np.zeros_like(mean))

    def normal_parts(
        self, values: Mapping[str, Array], outlying: Array, explained: Array
    ) -> Iterator[tuple[Array, Array]]:
        """Yield the trapezoid rule for the log of the precision, which follows a gamma distribution.

        Closely enough spaced however small the noise is beside the uncertainty that the features' errors cause.
        """
        nu = np.broadcast_to(self.degrees_of_freedom(values), outlying.shape)
        sd = np.sqrt(2.0 / nu)
        # Rows far out are of low precisions, but of none that are less probable than what errors of features explain.
        far = np.minimum(np.log1p(outlying / nu), (_FALLEN + explained) / nu)
        lower = -np.minimum(1.0 + _FALLEN / nu, 12.0 * sd) - far
        upper = np.minimum(1.0 + np.log1p(_FALLEN / nu), 8.0 * sd)
        step = np.minimum(0.5, 0.75 * sd)
        wanted = np.ceil((upper - lower) / step)
        # Where more are wanted, or nobody knows how many, a point is far from everything: it gets no density.
        most = 2000.0
        astray = ~(wanted <= most)
        count = int(np.max(wanted, where=~astray, initial=1.0))
        log_precision = lower + step * np.arange(count + 1)
        log_weights = 0.5 * nu * (log_precision - np.exp(log_precision))
        log_weights[astray[:, 0]] = np.nan
        log_weights -= logsumexp(log_weights, axis=1, keepdims=True)
        for log_weight, log_value in zip(log_weights.T, log_precision.T, strict=True):
            yield log_weight[:, None], np.exp(-log_value[:, None])

    def normal_parts_graph(
        self, values: Mapping[str, Any], outlying: Any, explained: Any, count: int
    ) -> tuple[Any, Any] | None:
        import pytensor.tensor as pt

        # As in `normal_parts`, each row by itself, and with less left at the ends.
        fallen = 24.0
        nu = pt.as_tensor(values.get("nu", self.nu))
        sd = pt.sqrt(2.0 / nu)
        far = pt.minimum(pt.log1p(outlying / nu), (fallen + explained) / nu)
        lower = -pt.minimum(1.0 + fallen / nu, 13.0 * sd) - far
        upper = pt.minimum(1.0 + pt.log1p(fallen / nu), 6.0 * sd)
        apart = held((upper - lower) / (count - 1.0))
        log_precision = held(lower) + apart * np.arange(count)[:, None]
        precision = held(exp_graph(log_precision))
        log_weight = 0.5 * nu * (log_precision - precision) + pt.log(apart)
        log_weight += 0.5 * nu * pt.log(0.5 * nu) - pt.gammaln(0.5 * nu)
        return log_weight, 1.0 / precision

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        nu = self.degrees_of_freedom(values)
        return eta + np.sqrt(self.squared_scale(values, data)) * rng.standard_t(nu, eta.shape)

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        log_variance, slope, bend = self._log_variance(coordinates, data)
        prior = self.nu_prior
        nu = float(self.nu) if prior is None else self.lower + float(np.exp(coordinates[-1]))  # type: ignore[arg-type]
        # The slope of log nu in its coordinate.
        rise = 1.0 if prior is None else 1.0 - self.lower / nu
        precision = np.exp(-log_variance)
        residual = data.y - eta
        pull = residual * precision
        u = residual * pull
        share = nu / (nu + u)
        weight = (nu + 1.0) / (nu + u)
        tail = np.log1p(u / nu)
        rising = rising_derivatives(np.array(2.0 / nu), np.array(0.5))
        value = rising.value - 0.5 * (_LOG_TWO_PI + log_variance + (nu + 1.0) * tail)
        # In eta, in the log variance, in log nu.
        in_variance = 0.5 * (weight * u - 1.0)
        in_nu = 0.5 * (weight * u - nu * tail) - rising.log_slope
        eta_eta = -weight * precision * (2.0 * share - 1.0)
        eta_variance = -weight * pull * share
        variance_variance = -0.5 * u * weight * share
        less = share * (u - 1.0) / (nu + u)
        eta_nu, variance_nu = pull * less, 0.5 * u * less
        nu_nu = 0.5 * (u * less - nu * tail + share * u) + rising.log_bend
        nu_nu = rise * (rise * nu_nu + (1.0 - rise) * in_nu)
        in_nu, eta_nu, variance_nu = rise * in_nu, rise * eta_nu, rise * variance_nu
        gradient = np.concatenate([(weight * pull)[None], in_variance * slope])
        hessian = _bordered(eta_eta, eta_variance * slope, variance_variance, in_variance, slope, bend)
        if prior is not None:
            gradient = np.concatenate([gradient, in_nu[None]])
            with_nu = np.concatenate([eta_nu[None], variance_nu * slope])
            hessian = _with_border(hessian, with_nu, nu_nu)
        return Derivatives(value, gradient, hessian, weight * precision)

    @property
    def constants(self) -> Mapping[str, float]:
        return {} if self.nu_prior is not None else {"nu": float(self.nu)}  # type: ignore[arg-type]

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        return "StudentT", {"nu": values["nu"], "mu": eta, "sigma": self._scale(values, data)}

    def precision(self, values: Mapping[str, Any], dims: str) -> Any:
        import pymc as pm

        half = 0.5 * values["nu"]
        return pm.Gamma("precision", alpha=half, beta=half, dims=dims)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        nu = values.get("nu", self.nu)
        return super().information(values, data, share) * (nu + 1.0) / (nu + 3.0)
