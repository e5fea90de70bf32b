"""Problem in, Posterior out: the one boundary that engines share.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..likelihoods.additive import NormalLikelihood
from ..likelihoods.base import Likelihood, Observations
from ..likelihoods.limited import Truncated, with_limits
from ..likelihoods.noise import SCALED, Noise
from ..likelihoods.parameters import Auxiliary
from ..measurements.compressed import Compressed, Rows
from ..measurements.feature_errors import FeatureErrors
from ..measurements.groups.labels import Groupings
from ..measurements.limits import Limits
from ..priors.base import CoefficientPrior, Flat, ScalePrior
from ..priors.coefficients import Normal
from ..priors.scales import InUnit, ScatterPrior
from .given_scale import ConditionalPrior, GivenScale
from .posterior import row_blocks
from .scaling import PriorUnits, Scaling, pooled_mean
from .under_scatters import Correlated, UnderScatters, state_of

__all__ = ["Problem"]

Array = NDArray[np.float64]

# A residual below this share of the target's spread is rounding, not noise.
RESOLUTION = 1e-8


@dataclass(frozen=True, eq=False)
class Problem(UnderScatters):
    """A regression in the model's units: data, error model and priors. Immutable; engines only read it."""

    rows: Rows
    standard_error: Array | float | None
    """Known standard errors of the target, in the data's unit; None: none are known."""
    noise: Noise
    state: Compressed
    scaling: Scaling
    coef_prior: CoefficientPrior
    intercept_prior: CoefficientPrior | None
    """None: the model has no intercept."""
    noise_prior: ScalePrior
    feature_errors: FeatureErrors | None = None
    """Known errors of features, in the data's units; None: all features are exact."""
    n_components: int = 1
    """Normal distributions whose mixture the true features behind those with errors follow."""
    outliers: tuple[Auxiliary, ...] = ()
    """Share and factor of wild readings of features with errors; empty: none is wild."""
    likelihood: Likelihood = field(default_factory=NormalLikelihood)
    trials: Array | None = None
    """(n,) what counted targets are counted per; None: one each."""
    remembered: dict[tuple[float, bool], tuple[Array, float]] | None = None
    """Of problems that differ in their priors: what `factor_at` returned; None: nothing is."""
    prior_units: PriorUnits | None = None
    """What priors are in units of; None: it follows from the rows."""
    limits: Limits | None = None
    """What is known of targets that were not measured, in the data's unit; the likelihood takes them."""
    truncation: tuple[float, float] | None = None
    """Limits, in the data's unit, between which targets lie of rows in the table; the likelihood has them."""
    average_error: float | None = None
    """Where errors are known up to a factor alone, with a root mean square of 1: that of a row of average weight; the
    noise scale is in the target's unit. None: they are known outright, or not at all."""
    correlated: Correlated | None = None
    """What known errors have in common from row to row; None: they are independent."""
    error_freedom: Array | None = None
    """(q,) degrees of freedom with which each feature's errors are known, infinite: outright; None: all are."""

    groupings: Groupings | None = None
    """How rows hang together; None: they do not."""
    group_priors: tuple[ScalePrior, ...] = ()
    """Of the standard deviation of each kind of the groups' effects, in the model's units."""

    @classmethod
    def build(
        cls,
        rows: Rows,
        standard_error: Array | float | None,
        *,
        noise: Noise,
        standardize: bool,
        coef_prior: CoefficientPrior,
        intercept_prior: CoefficientPrior | None,
        noise_prior: ScalePrior,
        feature_errors: FeatureErrors | None = None,
        likelihood: Likelihood | None = None,
        trials: Array | None = None,
        like: Problem | None = None,
        state: Compressed | None = None,
        prior_units: PriorUnits | None = None,
        relative_to: float | None = None,
        correlated: Correlated | None = None,
    ) -> Problem:
        """Compress the rows and settle the model's units.

        `like` is a problem of the same rows under other errors, whose moments are taken. `state` is given where rows
        stand for others, which were compressed before. `prior_units` are those of other rows, or None. `relative_to`
        is the root mean square of errors that are known up to a factor, which the noise scale then has in it.
        Without known errors there is nothing to scale or to add to: "scaled", "additive" and "auto" are one model.
        Counts have no known errors but what trials or exposures say.
        """
        likelihood = NormalLikelihood() if likelihood is None else likelihood
        standard_error = None if likelihood.counted else standard_error
        if standard_error is None or relative_to is not None:
            noise = SCALED
        if standard_error is not None and relative_to is not None:
            standard_error = standard_error / relative_to
            state = None if state is None else state.with_error(1.0 / relative_to)
        state = state or state_of(rows, standard_error, correlated, None if like is None else like.state)
        units = prior_units or PriorUnits.of(state, rows) or state
        scaling = Scaling.of(units, standardize, intercept_prior is not None)
        if not likelihood.link.is_identity:
            scaling = scaling.of_features()
            if standardize and likelihood.per == "exposure" and intercept_prior is not None:
                scaling = scaling.about_rate(pooled_mean(likelihood, rows, trials, prior_units))
        elif standard_error is not None and relative_to is None and state.total_weight > 0.0:
            # Readings that agree better than their errors let them would be the wrong unit.
            # A constant target has no spread, and a scale of one.
            spread = scaling.y_scale if intercept_prior is None else float(units.standard_deviation[-1])
            error = float(np.exp(state.log_error / state.total_weight))
            if noise.of_features:  # errors may be in any unit
                noise_prior = InUnit(noise_prior, (spread if standardize else 1.0) / error)
            elif standardize:
                coef_prior = coef_prior.in_unit(float(np.hypot(spread, error)) / scaling.y_scale)
        average = None if relative_to is None else float(np.sqrt(state.total_weight) / state.factor[0, 0])
        coef_prior = coef_prior if rows.n_features else Normal()  # of no coefficients no scale is learned
        return cls(
            rows,
            standard_error,
            noise,
            state,
            scaling,
            coef_prior,
            intercept_prior,
            noise_prior,
            feature_errors,
            likelihood=likelihood,
            trials=trials if likelihood.counted else None,
            prior_units=prior_units,
            average_error=average,
            correlated=correlated,
        )

    def selected(self, truncation: tuple[float, float]) -> Problem:
        """Return the problem of rows selected by their target: with errors of features, given exact ones, (33e)."""
        found, likelihood = replace(self, truncation=truncation), self.likelihood
        if self.feature_errors is None:
            likelihood = with_limits(Truncated(likelihood, *found.scaled_truncation), self.limits)
        return replace(found, likelihood=likelihood)

    def grouped(self, groupings: Groupings, prior: ScalePrior) -> Problem:
        """Return the problem of rows in groups; the prior is of standard deviations in units of the target's."""
        unit = 1.0
        if self.errors_known and not self.scaling.is_identity:
            spread = (self.prior_units or self.state).standard_deviation[-1] / self.scaling.y_scale
            unit = float(np.hypot(spread if self.fit_intercept else 1.0, self.scatter_unit))
        n_scales = sum(1 + len(slopes) for slopes in groupings.slopes)
        return replace(self, groupings=groupings, group_priors=(InUnit(prior, unit),) * n_scales)

    @property
    def group_prior(self) -> tuple[ScalePrior, float]:
        """The prior of the standard deviation of every kind of groups' effects, and the unit that it is in."""
        prior = self.group_priors[0]
        return (prior.prior, prior.unit) if isinstance(prior, InUnit) else (prior, 1.0)

    def censored(self, limits: Limits) -> Problem:
        """Return the problem of rows some of whose targets are limits, or, of a normal likelihood, not there."""
        return replace(self, likelihood=with_limits(self.likelihood, limits), limits=limits)

    @property
    def unmeasured(self) -> NDArray[np.bool_] | None:
        """(n, q + 1) which features with errors, and normal targets, were not measured; None: all were."""
        unknown = self.limits.unknown if self.limits is not None and self.likelihood.is_normal else None
        return None if self.feature_errors is None else self.feature_errors.unmeasured_beside(unknown)

    @property
    def center_and_unit(self) -> tuple[float, float]:
        """What the model subtracts from targets, and then divides them by."""
        if not self.likelihood.link.is_identity:
            return 0.0, self.rate_unit
        return float(self.rows.here(self.scaling.mean)[-1]), self.scaling.y_scale

    @property
    def scaled_truncation(self) -> tuple[float, float]:
        """Limits between which targets lie, in the model's units, of events their numbers; infinite: no limit."""
        lower, upper = self.truncation or (-np.inf, np.inf)
        center, unit = (0.0, 1.0) if self.likelihood.per == "exposure" else self.center_and_unit
        return (lower - center) / unit, (upper - center) / unit

    @property
    def feature_errors_known(self) -> bool:
        """Whether errors of features are no more and no less than stated."""
        return self.error_freedom is None and not self.noise.of_features

    @property
    def errors_known(self) -> bool:
        return self.standard_error is not None and self.average_error is None

    @property
    def has_noise_scale(self) -> bool:
        """Whether the noise has a scale that has to be found."""
        return self.noise.has_scale and self.likelihood.has_noise_scale

    @property
    def fit_intercept(self) -> bool:
        return self.intercept_prior is not None

    @property
    def total_weight(self) -> float:
        return self.state.total_weight

    @property
    def error_unit(self) -> float:
        """The unit of the model's errors: the target's, or, where none are known outright, the model's own."""
        return self.scaling.y_scale if self.errors_known else self.average_error or 1.0

    @property
    def noise_unit(self) -> float:
        """The data's value of a noise scale of one."""
        if self.errors_known and not self.noise.only_scatters:
            return 1.0
        return self.scaling.y_scale / (self.average_error or 1.0)

    @cached_property
    def auxiliary(self) -> tuple[Auxiliary, ...]:
        """The likelihood's parameters beside B, and those of wild readings."""
        unit = self.scatter_unit if self.noise.combined else 1.0
        own = self.likelihood.auxiliary(self.noise, self.visible_scatter, self.noise_prior, unit)
        return own + self.outliers

    @cached_property
    def pooled_mean(self) -> float:
        """The mean of all rows together, half a count away from the ends that it has."""
        return pooled_mean(self.likelihood, self.rows, self.trials, self.prior_units)

    @property
    def rate_unit(self) -> float:
        """The rate whose log is zero on the model's scale; one of what is no rate."""
        return float(np.exp(self.scaling.y_mean)) if self.likelihood.per == "exposure" else 1.0

    def observations(self) -> Observations:
        """Return what the likelihood sees of the rows, in the model's units."""
        error = 1.0 if self.standard_error is None else np.asarray(self.standard_error, dtype=np.float64)
        trials, (center, unit) = 1.0 if self.trials is None else self.trials, self.center_and_unit
        trials = trials * unit if self.likelihood.counted else trials
        return Observations(
            (self.rows.y - center) / unit,
            error / self.error_unit,
            self.noise,
            trials,
            self.resolution(),
            self.visible_scatter,
            None if self.limits is None else self.limits.scaled(center, unit),
        )

    @property
    def visible_scatter(self) -> float:
        """About the least scatter that can be told from none beside the known errors, in the model's units."""
        return float((2.0 / self.total_weight) ** 0.25 * self.typical_error)

    @cached_property
    def scatter_unit(self) -> float:
        """Geometric mean of the known errors, in the model's units: what the prior of a scatter beside them knows."""
        return float(np.exp(self.factor[1] / self.total_weight))

    @property
    def typical_error(self) -> float:
        """A typical known error (one over them is the triangle's first entry), in the model's units."""
        if self.correlated is not None and self.noise.scatters:
            return self.typical_correlated_error
        return float(np.sqrt(self.total_weight) / self.factor[0][0, 0])

    def design_at(self, rows: NDArray[np.intp]) -> Array:
        """Return [1, x] of some rows in the model's units."""
        x = np.asarray(self.rows.take(rows), dtype=np.float64) - self.rows.here(self.scaling.mean)[:-1]
        return np.concatenate([np.ones((len(x), 1)), x / self.scaling.x_scale], axis=1)

    def design_blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield [1, x], or x without an intercept, in the model's units, a block of rows at a time."""
        first = int(self.fit_intercept)
        center = self.rows.here(self.scaling.mean)[:-1]
        for block in row_blocks(len(self.rows.y), self.rows.n_features + first):
            x = np.asarray(self.rows.take(block), dtype=np.float64)
            design = np.ones((len(x), x.shape[1] + first))
            np.subtract(x, center, out=design[:, first:])
            design[:, first:] /= self.scaling.x_scale
            yield block, design

    @property
    def log_jacobian(self) -> float:
        """What turns a log density of the model's target into one of the data's, of counts into one of shares."""
        if self.likelihood.counted:
            rows, trials = self.rows, 1.0 if self.trials is None else self.trials
            frequency, used = np.ones(len(rows.y)) if rows.frequency is None else rows.frequency, rows.used
            data = Observations(rows.y, trials=trials, limits=self.limits).take(used)
            return float(np.sum(frequency[used] * self.likelihood.log_unit(data)))
        return -self.measured_weight * float(np.log(self.scaling.y_scale))

    @property
    def measured_weight(self) -> float:
        """The total weight of rows whose target was measured; of limits probabilities are told."""
        if self.limits is None:
            return self.total_weight
        censored, frequency = self.limits.censored, self.rows.frequency
        return self.total_weight - float(censored.sum() if frequency is None else frequency[censored].sum())

    @cached_property
    def given_scale(self) -> GivenScale | None:
        """The rows under Gaussian priors, taken apart; None where priors are others."""
        gaussian = self.gaussian_prior
        return None if gaussian is None else GivenScale.of(self.factor[0], *gaussian)

    @property
    def prior_design(self) -> Array:
        """Rows whose products are those of the centred features, (K, p): what a prior of their correlations knows."""
        given = self.prior_units
        if given is not None and given.design is not None:
            return given.design
        return np.asarray(self.factor[0][int(self.fit_intercept) :, 1:-1])

    @cached_property
    def conditional_prior(self) -> ConditionalPrior | None:
        """The priors of B's free entries as Gaussians given a scale and a geometry; None where they are not."""
        source = self.factor[0] if self.geometry_is_own else None
        return ConditionalPrior.of(
            self.coef_prior, self.intercept_prior, self.rows.n_features, self.prior_design, source
        )

    @property
    def geometry_is_own(self) -> bool:
        """Whether the features' correlations that a prior is about are those of the rows."""
        return self.prior_units is None or self.prior_units.design is None

    @property
    def scatter_prior(self) -> ScatterPrior:
        """Prior of a scatter beside known errors, in the model's units."""
        return ScatterPrior(self.scatter_unit)

    @property
    def ratio_priors(self) -> tuple[ScalePrior, ...]:
        """Of scales that are multiples of the noise scale: of the scatter beside it, and of the groups."""
        scatter = (self.scatter_prior,) if self.noise.combined else ()
        return scatter + (self.group_priors if self.noise.multiplies else ())

    def effect_unit(self, noise_scale: Array) -> Array:
        """Return what groups' effects are in multiples of, at noise scales."""
        return noise_scale if self.noise.multiplies else np.ones(len(noise_scale))

    @cached_property
    def gaussian_prior(self) -> tuple[Array, Array] | None:
        """Prior means and standard deviations of B's free entries, or None if they are not Gaussian."""
        coef = self.coef_prior.gaussian("coef_prior", self.rows.n_features)
        if self.intercept_prior is None or coef is None:
            return coef
        intercept = self.intercept_prior.gaussian("intercept_prior", 1)
        if intercept is None:
            return None
        return np.append(intercept[0], coef[0]), np.append(intercept[1], coef[1])

    def with_priors(
        self,
        coef_prior: CoefficientPrior,
        intercept_prior: CoefficientPrior | None,
        noise_prior: ScalePrior,
    ) -> Problem:
        """Return the problem of the same rows under other priors; what was made of the rows is kept."""
        if (intercept_prior is None) != (self.intercept_prior is None):
            raise ValueError("Whether there is an intercept is no matter of priors.")
        if not self.rows.n_features:
            coef_prior = self.coef_prior
        other = replace(self, coef_prior=coef_prior, intercept_prior=intercept_prior, noise_prior=noise_prior)
        kept = self.__dict__.keys() & {"factor", "groups", "errors_vary", "passed", "beside_loadings"}
        other.__dict__.update({name: self.__dict__[name] for name in kept})
        return other

    def conditional_on(self, other: Problem) -> Problem:
        """Return another problem, of fewer rows, with what priors take from these rows."""
        other.__dict__.update(conditional_prior=self.conditional_prior, scatter_unit=self.scatter_unit)
        return other

    def gaussian_like(self) -> Problem:
        """Return this problem with Gaussian priors about as wide in the place of those that are not."""

        def like(prior: CoefficientPrior, role: str, size: int) -> CoefficientPrior:
            if prior.gaussian(role, size) is not None:
                return prior
            mu, sigma = prior.gaussian_like(role, size)
            return Normal(mu, sigma)

        intercept = self.intercept_prior
        intercept = None if intercept is None else like(intercept, "intercept_prior", 1)
        coef_prior = like(self.coef_prior, "coef_prior", self.rows.n_features)
        return replace(self, coef_prior=coef_prior, intercept_prior=intercept)

    def exact_like(self) -> Problem:
        """Return a problem like this one that has a closed form: normal noise, Gaussian priors, exact features."""
        return replace(self.without_feature_errors().gaussian_like(), likelihood=NormalLikelihood())

    def without_feature_errors(self) -> Problem:
        """Return this problem with its features taken as exact."""
        without = replace(self, feature_errors=None, n_components=1, outliers=())
        return without if self.truncation is None else without.selected(self.truncation)

    @property
    def n_flat(self) -> int:
        """How many entries of B have a flat prior."""
        of_coef = isinstance(self.coef_prior, Flat) * self.rows.n_features
        return of_coef + isinstance(self.intercept_prior, Flat)

    @property
    def tail(self) -> float:
        """The power with which the posterior density of log s falls for large s, (12): limits have no part in it."""
        return self.measured_weight - float(self.n_flat) + self.noise_prior.tail() - 1.0

    @property
    def priors_proper(self) -> bool:
        """Whether there is a marginal likelihood: every prior integrates to one, a flat one of the intercept aside.

        The intercept is common to all models of the same data; a density of one (in the model's units) is its
        convention, under which they can be compared.
        """
        others = [parameter.prior for parameter in self.auxiliary]
        return not any(isinstance(prior, Flat) for prior in (self.coef_prior, *others))

    def resolution(self, factor: Array | None = None) -> float:
        """Return the noise scale below which a residual is rounding, in the model's units, given a triangle."""
        return float(self.resolutions(self.factor[0] if factor is None else factor))

    def resolutions(self, factors: Array) -> Array:
        """Return what `resolution` does for each of some triangles, (..., P + 1, P + 1)."""
        root = np.sqrt(self.total_weight)
        spread = np.linalg.norm(factors[..., 1:, -1], axis=-1) / root
        # A target of one value has no spread; its unit is what is left.
        per_row = factors[..., 0, 0] / root
        spread = np.where(spread > 0.0, spread, per_row)
        magnitude = abs(self.state.origin[-1]) / self.scaling.y_scale * per_row
        return np.maximum(RESOLUTION * spread, np.finfo(np.float64).eps * magnitude)
