"""Likelihoods: how a measured target is distributed about the regression line.

Every likelihood is a plain scikit-learn estimator, as the priors are. It says what it needs (a link, further
parameters with their priors) and gives the log density of each row with its derivatives; engines know no more of it
than `Likelihood` says.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln, expit, ndtr, stdtr

from .auxiliary import Auxiliary, FoldedLog, FoldedOdds, Log
from .count_sums import log_below
from .gamma_ratios import log_rising, log_rising_graph, rising_derivatives
from .likelihood_base import Derivatives, Likelihood, Link, Noise, Observations, counts
from .log_odds import log_expit, log_one_plus
from .messages import shown
from .priors import (
    Beta,
    Gamma,
    HalfNormal,
    Normal,
    PoweredCorrelation,
    Prior,
    ScalePrior,
    ScatterPrior,
    UnitPrior,
)

Array = NDArray[np.float64]

__all__ = [
    "LIKELIHOODS",
    "BetaBinomialLikelihood",
    "BinomialLikelihood",
    "Derivatives",
    "Likelihood",
    "Noise",
    "NormalLikelihood",
    "Observations",
    "StudentTLikelihood",
    "counts",
    "resolve_likelihood",
]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))
# Numbers that are divided by, and shapes of distributions, stay this far from zero.
_TINY = 1e-100
# The log odds of a typical row. Down to shares of 1e-5 it adds less than half a success; a wider one takes rows
# without successes for rarer than their trials can tell.
_LOG_ODDS = Normal(0.0, 5.0)
# Where successes and failures are separated, data bound the coefficients' scale from below alone; with the tail of a
# HalfCauchy coefficients would have no mean.
_SLOPES = PoweredCorrelation(sigma=HalfNormal(2.5))
# Ratios of gamma functions lose all digits, and then overflow, for shares whose log is far below this.
_LEAST_LOG = -200.0


def _prior_of(prior: object, default: Prior, kind: type[Prior], key: str, fitting: str) -> Any:
    """Return a prior or the default, checked."""
    if prior is None:
        return default
    if not isinstance(prior, kind):
        raise TypeError(f"{key} must be a prior such as {fitting}, got {shown(prior)}.")
    prior.check(key, 1)
    return prior


def _noise_coordinates(noise: Noise, visible: float) -> tuple[Log | FoldedLog, ...]:
    """Return the coordinates of the noise scale and, beside it, the scatter.

    A scale that may be zero is folded there; but beside each other both are in logs, which spread out the peak near
    zero that the prior of the scatter has.
    """
    if noise == "auto":
        return Log(), Log()
    return (Log(),) if noise == "scaled" else (FoldedLog(visible),)


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
    answer[rest, rest], answer[own, rest], answer[rest, own], answer[own, own] = (
        matrix,
        column,
        column,
        corner,
    )
    return answer


class _Additive(Likelihood):
    """A likelihood of target less line, with a scale: of the noise's kind, (1)."""

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        if noise == "known":
            return ()
        scale, *scatter = _noise_coordinates(noise, visible)
        found = [Auxiliary("noise_scale", noise_prior, scale, 1.0)]
        found += [Auxiliary("scatter", ScatterPrior(scatter_unit), of, scatter_unit) for of in scatter]
        return tuple(found)

    def _scale(self, values: Mapping[str, Any], data: Observations) -> Any:
        """Return the rows' scales in PyTensor."""
        import pytensor.tensor as pt

        if data.noise == "known":
            return data.standard_error
        own, error = values["noise_scale"], data.standard_error
        if data.noise == "additive":
            return pt.sqrt(own**2 + error**2)
        if data.noise == "auto":
            return pt.sqrt((own**2 + data.resolution**2) * error**2 + values["scatter"] ** 2)
        own = (
            own
            if isinstance(data.resolution, float) and not data.resolution
            else pt.sqrt(own**2 + data.resolution**2)
        )
        return own if isinstance(error, float) and error == 1.0 else own * error

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return 1.0 / self._scale(values, data) ** 2

    def squared_scale(self, values: Mapping[str, Array], data: Observations) -> Array:
        square = np.square(np.asarray(data.standard_error))
        if data.noise == "known":
            return square
        own = np.square(values["noise_scale"])
        if data.noise == "additive":
            return own + square
        multiplied = (own + data.resolution**2) * square
        return multiplied + np.square(values["scatter"]) if data.noise == "auto" else multiplied

    def _log_variance(self, coordinates: Array, data: Observations) -> tuple[Array, Array, Array]:
        """Return the log of the rows' squared scales, and its derivatives in the coordinates of the noise.

        Returns
        -------
        log_variance : ndarray of shape (n,)
        slope : ndarray of shape (A, n)
            A is 0 for known noise, 2 for "auto", else 1.
        bend : ndarray of shape (A, A, n)
        """
        square = np.broadcast_to(np.square(np.asarray(data.standard_error)), data.y.shape)
        if data.noise == "known":
            return np.log(square), np.zeros((0, len(square))), np.zeros((0, 0, len(square)))
        of = _noise_coordinates(data.noise, data.visible)
        # Squares of the noise scale and the scatter, what multiplies them, and what is added to them.
        values, growth = np.array(
            [coordinate.signed(c) for coordinate, c in zip(of, coordinates, strict=False)]
        ).T
        one = np.ones_like(square)
        times = np.array({"scaled": [square], "additive": [one], "auto": [square, one]}[data.noise])
        fixed = square if data.noise == "additive" else data.resolution**2 * square
        variance = fixed + np.square(values) @ times
        slope = 2.0 * (values * growth)[:, None] * times / variance
        bend = -slope[:, None] * slope
        each = np.arange(len(of))
        # A value's second derivative in its coordinate is the value.
        bend[each, each] += 2.0 * (np.square(growth) + np.square(values))[:, None] * times / variance
        return np.log(variance), slope, bend


class NormalLikelihood(_Additive):
    """Normal noise: what all of the closed forms are for."""

    name = family = "normal"
    closed_form = True

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        variance = self.squared_scale(values, data)
        return -0.5 * (np.square(data.y - eta) / variance + np.log(variance) + _LOG_TWO_PI)

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return np.asarray(ndtr((data.y - eta) / np.sqrt(self.squared_scale(values, data))))

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
    """Student's t noise, for targets some of which are wildly off.

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
    """

    name = family = "student_t"

    def __init__(self, nu: float | ScalePrior | None = None, lower: float = 2.0):
        self.nu = nu
        self.lower = lower

    def check(self, argument: str) -> None:
        lower = np.asarray(self.lower)
        if lower.ndim or lower.dtype.kind not in "iuf" or not 0.0 <= lower < np.inf:
            raise ValueError(f"{argument}__lower must be a number from 0, got {shown(self.lower)}.")
        if self.nu is None or isinstance(self.nu, Prior):
            _prior_of(self.nu, Gamma(), ScalePrior, f"{argument}__nu", "Gamma(2, 0.1), or a number")
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
        return (
            scale if prior is None else (*scale, Auxiliary("nu", prior, Log(self.lower), 10.0 + self.lower))
        )

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

    def degrees_of_freedom(self, values: Mapping[str, Array]) -> Array:
        return np.asarray(values.get("nu", self.nu), dtype=np.float64)

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

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return super().information(values, data, share) * (values["nu"] + 1.0) / (values["nu"] + 3.0)


class _OfShares(Likelihood):
    """A likelihood of counts among trials."""

    link = "logit"
    intercept_prior = _LOG_ODDS
    coef_prior = _SLOPES

    def outcome(self, data: Observations) -> Any:
        """Return the counts, rounded to whole ones: PyMC has distributions of no others."""
        return np.rint(data.y * np.asarray(data.trials)).astype(np.int64)

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return data.trials * share * (1.0 - share)


class BinomialLikelihood(_OfShares):
    """Counts among trials, each a success with the same probability: the share's log odds follow the line.

    The target is the share, k / n. Shares that are rounded, so that k is not whole, are taken as they are, with gamma
    functions for factorials.
    """

    name = family = "binomial"

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        return ()

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        successes, failures = counts(data)
        # The counts of the other outcome stand alone where the line is large: nothing cancels.
        value = np.maximum(eta, 0.0)
        value *= -failures
        value += np.minimum(eta, 0.0) * successes
        rest = log_one_plus(eta)
        rest *= successes + failures
        value -= rest
        value += _log_choose(successes, failures)
        return value

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        data = _whole(data)
        successes, failures = counts(data)
        # Of all trials no more can be had; the function has no value there.
        at_most = betainc(np.maximum(failures, 1.0), successes + 1.0, expit(-eta))
        at_most = np.where(failures == 0.0, 1.0, at_most)
        return np.maximum(at_most - 0.5 * np.exp(self.log_density(eta, values, data)), 0.0)

    def sharpness(self, values: Mapping[str, Array], data: Observations) -> Array:
        return 0.25 * np.broadcast_to(np.asarray(data.trials, dtype=np.float64), data.y.shape)

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        return _drawn_shares(expit(eta), data, rng)

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        successes, failures = counts(data)
        share, rest = expit(eta), expit(-eta)
        curvature = (successes + failures) * share * rest
        gradient = successes * rest - failures * share
        value = self.log_density(eta, {}, data)
        return Derivatives(value, gradient[None], -curvature[None, None], curvature)

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        return "Binomial", {"n": data.trials, "logit_p": eta}

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        return data.trials * (data.y * eta - pt.softplus(eta))


class BetaBinomialLikelihood(_OfShares):
    """Counts among trials whose share itself varies from row to row: a beta distribution about the line's share.

    With mean share mu and dispersion rho, the intraclass correlation of two trials of a row, the beta distribution
    has alpha = mu (1 - rho) / rho and beta = (1 - mu) (1 - rho) / rho. Rows of one trial say nothing of rho.

    Parameters
    ----------
    dispersion_prior : UnitPrior, default=None
        Prior of the dispersion; None: ``Beta(1, 9)``.
    """

    name = family = "beta_binomial"

    def __init__(self, dispersion_prior: UnitPrior | None = None):
        self.dispersion_prior = dispersion_prior

    def check(self, argument: str) -> None:
        self._prior(f"{argument}__dispersion_prior")

    def _prior(self, key: str = "dispersion_prior") -> UnitPrior:
        prior: UnitPrior = _prior_of(self.dispersion_prior, Beta(1.0, 9.0), UnitPrior, key, "Beta(1, 9)")
        return prior

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        return (Auxiliary("dispersion", self._prior(), FoldedOdds(), 0.05),)

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        successes, failures = counts(data)
        trials = successes + failures
        dispersion = np.asarray(values["dispersion"])
        odds = dispersion / (1.0 - dispersion)
        log_share = log_expit(eta)
        log_rest = log_share - eta
        # Of shares as small as these all but the first success is the beta distribution's: the log is linear.
        below = np.minimum(log_share - _LEAST_LOG, 0.0) * (successes > 0.0)
        below += np.minimum(log_rest - _LEAST_LOG, 0.0) * (failures > 0.0)
        log_share, log_rest = np.maximum(log_share, _LEAST_LOG), np.maximum(log_rest, _LEAST_LOG)
        value = below + log_rising(odds * np.exp(-log_share), successes)
        value += log_rising(odds * np.exp(-log_rest), failures)
        value -= log_rising(odds, trials)
        log_share *= successes
        log_rest *= failures
        value += log_share
        value += log_rest
        value += _log_choose(successes, failures)
        return value

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        data = _whole(data)
        successes, failures = counts(data)
        log_density = self.log_density(eta, values, data)
        dispersion = np.broadcast_to(values["dispersion"], eta.shape)
        answer = np.empty(eta.shape)
        for row in range(len(data.y)):
            share, rest = expit(eta[..., row]), expit(-eta[..., row])
            odds = dispersion[..., row] / (1.0 - dispersion[..., row])
            # From the end that is nearer, by counts.
            k, others = int(successes[row]), int(failures[row])
            if others < k:
                below = log_below(rest, share, odds, others, k)
                answer[..., row] = 1.0 - np.exp(np.minimum(below + log_density[..., row], 0.0))
            else:
                below = log_below(share, rest, odds, k, others)
                answer[..., row] = np.exp(np.minimum(below + log_density[..., row], 0.0))
        return answer

    def sharpness(self, values: Mapping[str, Array], data: Observations) -> Array:
        trials = np.asarray(data.trials, dtype=np.float64)
        return 0.25 * trials / (1.0 + (trials - 1.0) * values["dispersion"])

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        dispersion = np.maximum(values["dispersion"], _TINY)
        precision = (1.0 - dispersion) / dispersion
        alpha, beta = (np.maximum(expit(line) * precision, _TINY) for line in (eta, -eta))
        return _drawn_shares(rng.beta(alpha, beta), data, rng)

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        successes, failures = counts(data)
        root = float(coordinates[0])
        odds = root**2
        log_share = log_expit(eta)
        log_rest = log_share - eta
        share, rest = np.exp(log_share), np.exp(log_rest)
        up = rising_derivatives(odds / share, successes)
        down = rising_derivatives(odds / rest, failures)
        both = rising_derivatives(np.full(np.shape(eta), odds), successes + failures)
        value = successes * log_share + failures * log_rest + up.value + down.value - both.value
        won, lost = successes - up.log_slope, failures - down.log_slope
        in_eta = won * rest - lost * share
        eta_eta = up.log_bend * rest**2 + down.log_bend * share**2 - share * rest * (won + lost)
        # In the odds of the dispersion, then in their root.
        in_odds = up.slope / share + down.slope / rest - both.slope
        eta_odds = down.cross * share / rest - up.cross * rest / share
        odds_odds = up.bend / share**2 + down.bend / rest**2 - both.bend
        in_root, eta_root = 2.0 * root * in_odds, 2.0 * root * eta_odds
        root_root = 2.0 * in_odds + 4.0 * odds * odds_odds
        trials = successes + failures
        correlated = 1.0 + odds * (trials - 1.0) / (1.0 + odds)
        curvature = trials * share * rest / np.maximum(correlated, 0.5)
        return Derivatives(
            value + _log_choose(successes, failures),
            np.array([in_eta, in_root]),
            np.array([[eta_eta, eta_root], [eta_root, root_root]]),
            curvature,
        )

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        import pymc as pm

        total = (1.0 - values["dispersion"]) / values["dispersion"]
        # Draws from a wide prior have log odds whose share is zero in double precision.
        alpha, beta = (pm.math.maximum(pm.math.sigmoid(line) * total, _TINY) for line in (eta, -eta))
        return "BetaBinomial", {"n": data.trials, "alpha": alpha, "beta": beta}

    def graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> Any:
        import pytensor.tensor as pt

        successes = data.trials * data.y
        failures = data.trials - successes
        odds = values["dispersion"] / (1.0 - values["dispersion"])
        log_rest = -pt.softplus(eta)
        log_share = log_rest + eta
        # One expression for the three: what it takes to compile goes with the number of operations.
        q = pt.stack([odds * pt.exp(-log_share), odds * pt.exp(-log_rest), odds + pt.zeros_like(eta)])
        rising = log_rising_graph(q, pt.stack([successes, failures, data.trials]))
        return successes * log_share + failures * log_rest + rising[0] + rising[1] - rising[2]

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        correlated = 1.0 + (data.trials - 1.0) * values["dispersion"]
        return super().information(values, data, share) / correlated


LIKELIHOODS: Mapping[str, Likelihood] = {
    likelihood.name: likelihood
    for likelihood in (
        NormalLikelihood(),
        StudentTLikelihood(),
        BinomialLikelihood(),
        BetaBinomialLikelihood(),
    )
}
"""The likelihoods with their defaults, by name."""


def resolve_likelihood(likelihood: object) -> Likelihood:
    """Return the likelihood that the estimator's argument of this name asks for, checked.

    Raises
    ------
    ValueError, TypeError
        Naming the argument.
    """
    names = ", ".join(map(repr, LIKELIHOODS))
    if isinstance(likelihood, str):
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {names}, got {shown(likelihood)}.")
        return LIKELIHOODS[likelihood]
    if not isinstance(likelihood, Likelihood):
        raise TypeError(
            f"likelihood must be one of {names}, or an object such as StudentTLikelihood(nu=4), got"
            f" {shown(likelihood)}."
        )
    if likelihood.link not in get_args(Link):
        links = " or ".join(map(repr, get_args(Link)))
        raise ValueError(
            f"likelihood={shown(likelihood)} has the link {shown(likelihood.link)}, which predictions don't know: the"
            f" line is that of the target ('identity') or of a share's log odds ('logit'). Its class needs {links}."
        )
    likelihood.check("likelihood")
    return likelihood


def _whole(data: Observations) -> Observations:
    """Return shares of whole counts."""
    trials = np.broadcast_to(np.asarray(data.trials, dtype=np.float64), data.y.shape)
    return replace(data, y=np.rint(data.y * trials) / trials, trials=trials)


def _drawn_shares(probability: Array, data: Observations, rng: np.random.Generator) -> Array:
    """Return shares of successes among the rows' trials."""
    trials = np.maximum(np.rint(data.trials), 1.0)
    return rng.binomial(trials.astype(np.int64), probability) / trials


def _log_choose(successes: Array, failures: Array) -> Array:
    """Return the log of the binomial coefficient."""
    return -betaln(successes + 1.0, failures + 1.0) - np.log1p(successes + failures)
