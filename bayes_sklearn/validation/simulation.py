"""Data simulated from the model that an estimator states: parameters from the priors, then features and targets.

Whatever a fit takes from its data before it has priors (means, spreads, errors of shares) is taken from one table
here and kept, so that a fit to simulated rows assumes what these were drawn from, and nothing else.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..estimators.fitting import Fit, Specification, fit
from ..estimators.reading import TrainingData
from ..inference._compat import draws_of_distribution
from ..inference.groups.effects import Layout
from ..inference.importance.engine import structural_problem
from ..inference.nuts.prior_coordinates import gaussian_given_scale, scale_is_learned
from ..inference.problem import Problem
from ..inference.settings import SamplerSettings
from ..inference.structural.mixture import COMPONENT_SCALE, SHARE_CONCENTRATION
from ..inference.structural.mixture_coordinates import contrasts_of
from ..inference.structural.model import MEAN_SCALE
from ..inference.structural.normal_equations import signal_prior
from ..inference.structural.true_covariance import drawn_root, pooled_covariance
from ..likelihoods.base import Observations
from ..likelihoods.limited import Truncated
from ..measurements.compressed import Rows
from ..measurements.feature_errors import FeatureErrors
from ..measurements.missing import filled, likely_readings
from ..priors.base import CoefficientPrior, Flat, Prior, ScaleMixture, ScalePrior, UnitPrior
from ..priors.coefficients import PoweredCorrelation

__all__ = ["Parameters", "Simulated", "Simulation"]

Array = NDArray[np.float64]


class TrueDistribution(NamedTuple):
    """How true features behind measured ones are distributed, in units of the measured features' spread."""

    mean: Array
    """(n, K, q) of the components, at the mean of the exact features."""
    slopes: Array
    """(n, q, k) in the exact features, standardised."""
    root: Array
    """(n, K, q, q) of their covariances."""
    shares: Array
    """(n, K) of the components."""

    @property
    def covariance(self) -> Array:
        """(n, q, q) over all components, at fixed exact features."""
        return pooled_covariance(self.shares, self.mean, self.root @ self.root.swapaxes(-1, -2))


@dataclass(frozen=True, eq=False)
class Parameters:
    """Draws from the priors, in the model's units."""

    B: Array
    """(n, p + 1) intercept and coefficients; the first is zero without an intercept."""
    auxiliary: Mapping[str, Array]
    """By name, (n,): noise scale, further parameters of the likelihood, the scale of the coefficients' prior."""
    true: TrueDistribution | None
    """Where features have errors."""

    def at(self, index: int | slice) -> Parameters:
        """Return one draw, without the leading axis, or some of them."""
        true = None if self.true is None else TrueDistribution(*(part[index] for part in self.true))
        return Parameters(self.B[index], {name: v[index] for name, v in self.auxiliary.items()}, true)


class Simulated(NamedTuple):
    """One table, and what it was drawn with."""

    parameters: Parameters
    rows: Rows
    tries: int
    """Parameters that were drawn for it."""
    errors: FeatureErrors | None = None
    """Of its features, with the limits that are seen in the place of readings."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """The model, with everything in it settled that a fit would take from its data."""

    data: TrainingData
    """The table whose exact features, errors and counts all simulated ones have; every row counts once."""
    specification: Specification
    """With `prior_units`."""
    binomial: bool = False
    """Whether shares are drawn from the binomial distribution about a line that is fitted by normal likelihood."""

    @cached_property
    def problem(self) -> Problem:
        """That of the table itself, of which the units, errors and priors count."""
        return self.specification.problem(self.data.rows, self.data.errors.standard_error, None)

    @property
    def ranked(self) -> tuple[str, ...]:
        """The parameters beside the coefficients that have true values."""
        learned: tuple[str, ...] = ("prior_scale",) if scale_is_learned(self.problem) else ()
        learned += tuple(f"group_std_{k}" for k in range(len(self.problem.group_priors)))
        if self.binomial:
            return learned
        return (*(parameter.name for parameter in self.problem.auxiliary), *learned)

    def check(self) -> None:
        """Refuse priors that nothing can be drawn from, and errors that are not as stated.

        Raises
        ------
        ValueError
        """
        proper = {
            "coef_prior": "Normal(0, 10)",
            "intercept_prior": "Normal(0, 10)",
            "noise_prior": "HalfNormal(10)",
        }
        problem = self.problem
        priors: dict[str, Prior | None] = {
            "coef_prior": problem.coef_prior,
            "intercept_prior": problem.intercept_prior,
        }
        if problem.has_noise_scale:
            priors["noise_prior"] = problem.noise_prior
        if problem.feature_errors is not None and not problem.feature_errors_known:
            raise ValueError("Simulated features have errors as stated: not x_error_dof, nor noise='common'.")
        for name, prior in priors.items():
            if isinstance(prior, Flat) and not (name == "intercept_prior" and self._shifts):
                raise ValueError(
                    f"{name}=Flat() can't be drawn from: calibration is about data that the model itself makes."
                    f" Use a proper prior, such as {name}={proper[name]}."
                )

    def parameters(self, n: int, rng: np.random.Generator) -> Parameters:
        """Return n draws from the priors."""
        problem, p = self.problem, self.data.rows.n_features
        auxiliary = {
            parameter.name: parameter.coordinate.lower
            + _drawn(parameter.prior, parameter.name, 1, n, rng)[:, 0]
            for parameter in problem.auxiliary
        }
        for k, own in enumerate(problem.group_priors):
            auxiliary[f"group_std_{k}"] = _drawn(own, "group_prior", 1, n, rng)[:, 0]
        B, true = np.zeros((n, p + 1)), self._true_distribution(n, rng)
        # Where the target may be shifted, ranks under a flat prior are uniform for every true intercept, (63a).
        if problem.intercept_prior is not None and not isinstance(problem.intercept_prior, Flat):
            B[:, :1] = _drawn(problem.intercept_prior, "intercept_prior", 1, n, rng)
        prior, scale = problem.coef_prior, np.ones(n)
        if prior.scale_prior is not None:
            scale = auxiliary["prior_scale"] = _drawn(prior.scale_prior, "coef_prior", 1, n, rng)[:, 0]
        if isinstance(prior, ScaleMixture):
            given = prior.check("coef_prior", p)
            B[:, 1:] = prior.drawn_given(given, (n, p), self._typical_noise(auxiliary, n), rng)
        elif isinstance(prior, PoweredCorrelation):
            B[:, 1:] = self._of_geometries(scale, true, rng)
        else:
            middle = prior.check("coef_prior", p).get("mu", 0.0)
            B[:, 1:] = middle + scale[:, None] * (_drawn(prior, "coef_prior", p, n, rng) - middle)
        return Parameters(B, auxiliary, true)

    @property
    def _shifts(self) -> bool:
        """Whether adding a number to the target does no more than to add it to the intercept."""
        return self.problem.likelihood.link.is_identity and self.problem.truncation is None

    def _of_geometries(self, scale: Array, true: TrueDistribution | None, rng: np.random.Generator) -> Array:
        """Return coefficients under `PoweredCorrelation` of given scales, (n, p), each of one power, (20a)."""
        problem, p, n = self.problem, self.data.rows.n_features, len(scale)
        standard = rng.standard_normal((n, p))
        if true is None or problem.feature_errors is None:
            roots = gaussian_given_scale(problem).roots
            geometry = rng.integers(len(roots), size=n)
            return scale[:, None] * np.einsum("nij,nj->ni", np.array(roots)[geometry], standard)
        structural, units = structural_problem(problem)
        slopes, noisy = structural.slopes, problem.feature_errors.noisy
        q, exact = len(noisy), np.setdiff1d(np.arange(p), noisy)
        signal = slopes.sd * standard[:, :q]
        if signal_prior(problem.coef_prior).cauchy:
            signal /= np.abs(rng.standard_normal((n, 1)))
        lower = np.linalg.cholesky(true.covariance)
        m = np.linalg.solve(lower.transpose(0, 2, 1), signal[:, :, None])[:, :, 0]
        own = np.linalg.inv(slopes.whiten)[rng.integers(slopes.n_geometries, size=n)]
        beta = scale[:, None] * (own @ standard[:, q:, None])[:, :, 0]
        B = np.empty((n, p))
        B[:, noisy] = m / units.noisy
        B[:, exact] = (beta - np.einsum("nq,nqk->nk", m, true.slopes)) / units.exact
        return B

    def simulate(self, parameters: Parameters, rng: np.random.Generator) -> Simulated:
        """Return a table drawn with the first of some parameters that it can be drawn with.

        Raises
        ------
        ValueError
            Where a line of shares leaves [0, 1] with all of them.
        """
        for index in range(len(parameters.B)):
            one = parameters.at(index)
            if not self.binomial:
                (measured, y), limits = self._drawn_rows(one, rng), self.data.rows.limits
                if limits is not None:  # seen of those rows alone whose targets it holds of
                    limits = limits.holding(y)
                    y = np.where(limits.censored, self.data.rows.y, y)
                return self._seen(one, replace(self.data.rows, X=measured, y=y, limits=limits), index + 1)
            measured, line, _ = self._drawn_features(one, rng)
            scaling, counts = self.problem.scaling, self.data.errors.counts
            share = scaling.y_mean + scaling.y_scale * line
            if counts is not None and share.min() >= 0.0 and share.max() <= 1.0:
                y = rng.binomial(counts.astype(np.int64), share) / np.maximum(counts, 1.0)
                return self._seen(one, replace(self.data.rows, X=measured, y=y), index + 1)
        raise ValueError(
            f"None of {len(parameters.B)} lines drawn from the priors lies in [0, 1] in all rows, as shares do. Use"
            " narrower priors (coef_prior, intercept_prior), or a likelihood of shares ('binomial',"
            " 'beta_binomial'), whose line is of log odds."
        )

    def _seen(self, one: Parameters, rows: Rows, tries: int) -> Simulated:
        """Return a table as it is seen: with limits where readings lie beyond them, and gaps."""
        errors = self.problem.feature_errors
        if errors is not None:
            errors = errors.holding(np.asarray(rows.take(slice(None))[:, errors.noisy], dtype=np.float64))
            rows = likely_readings(rows, errors, self.data.columns.feature_names.tolist())
            plain = self.problem.likelihood.link.is_identity and self.data.errors.counts is None
            rows = filled(rows, errors.noisy, errors.unmeasured, plain)
        return Simulated(one, rows, tries, errors)

    def _drawn_features(
        self, one: Parameters, rng: np.random.Generator
    ) -> tuple[NDArray[Any], Array, Array | None]:
        """Return the table with measured features, the line, and the features' errors as stated."""
        X, feature_error = self._features(one, rng)
        line = self._line(one, X) + self._of_groups(one, X, rng)
        if feature_error is None:
            return self.data.rows.X, line, None
        share, factor = (one.auxiliary.get(f"outlier_{name}", 0.0) for name in ("share", "factor"))
        multiples = np.where(rng.random(feature_error.shape) < share, factor, 1.0)
        return self._measured(X, feature_error * multiples), line, feature_error

    def _of_groups(self, one: Parameters, X: Array, rng: np.random.Generator) -> Array | float:
        """Return what effects of groups add to the line, in the model's units."""
        groupings, members, scaling = self.problem.groupings, self.data.rows.members, self.problem.scaling
        if groupings is None or members is None:
            return 0.0
        layout, line = Layout(groupings.sizes, groupings.slopes), np.zeros(len(X))
        for k, terms in enumerate(layout.terms((X - scaling.x_mean) / scaling.x_scale)):
            scales = range(layout.n_scales)[layout.scales(k)]
            sd = np.array([one.auxiliary[f"group_std_{i}"] for i in scales])
            effects = sd * rng.standard_normal((layout.sizes[k], layout.widths[k]))
            line += (terms * effects[members[:, k]]).sum(axis=1)
        return line

    def _drawn_rows(self, one: Parameters, rng: np.random.Generator) -> tuple[NDArray[Any], Array]:
        """Return the table with measured features, and targets; refuse rows that are hardly ever selected."""
        table, line, feature_error = self._drawn_features(one, rng)
        y = self._target(one, line, feature_error, rng)
        if self.problem.truncation is None or feature_error is None:
            return table, y
        cut_off = Truncated(self.problem.likelihood, *self.problem.truncation)
        data = Observations(y, trials=1.0 if self.problem.trials is None else self.problem.trials)
        tries = 5000
        for _ in range(tries):
            outside = ~cut_off.holds(y, data)
            if not outside.any():
                return table, y
            again, line, feature_error = self._drawn_features(one, rng)
            table = np.where(outside[:, None], again, table)
            y = np.where(outside, self._target(one, line, feature_error, rng), y)
        raise ValueError(
            f"Rows are not between the limits of truncation in {tries} draws. Use narrower priors (coef_prior,"
            " intercept_prior), which make such targets as there are."
        )

    def seeing(self, errors: FeatureErrors | None) -> Simulation:
        """Return the model of a table whose features' readings are limits where those of a simulated one are."""
        return replace(self, specification=replace(self.specification, feature_errors=errors))

    def fit(self, rows: Rows, inference: str, settings: SamplerSettings) -> Fit:
        """Fit simulated rows, as the estimator would."""
        return fit(rows, self.data.errors, self.specification, inference, settings)

    def on_data_scale(self, parameters: Parameters) -> Array:
        """Return intercept (at x = 0), coefficients and `ranked` parameters of one draw on the data's scale."""
        scaling = self.problem.scaling
        coef = scaling.y_scale * parameters.B[1:] / scaling.x_scale
        intercept = scaling.y_mean + scaling.y_scale * parameters.B[0] - coef @ scaling.x_mean
        unit = {"noise_scale": self.problem.noise_unit, "scatter": scaling.y_scale}
        if self.problem.groupings is not None:
            layout = Layout(self.problem.groupings.sizes, self.problem.groupings.slopes)
            of_groups = layout.units(scaling.x_scale, scaling.y_scale)
            unit |= {f"group_std_{k}": float(own) for k, own in enumerate(of_groups)}
        others = [float(parameters.auxiliary[name]) * unit.get(name, 1.0) for name in self.ranked]
        return np.concatenate([[intercept], coef, others])

    @property
    def tries(self) -> int:
        """How many parameters `simulate` may need."""
        # Parameters that are tried for a line of shares that are shares in all rows.
        tries = 500
        return tries if self.binomial else 1

    def _observations(self) -> Observations:
        return replace(self.problem.observations(), resolution=0.0)

    def _typical_noise(self, auxiliary: Mapping[str, Array], n: int) -> Array:
        """Return the unit of a horseshoe's global scale at each draw, (17)."""
        problem, data = self.problem, self._observations()
        likelihood, n_rows = problem.likelihood, len(data.y)
        if likelihood.is_normal and problem.noise.scatters:  # the typical error first, then the scatter
            return np.sqrt(problem.noise.variance(auxiliary, problem.typical_error) / n_rows)
        share = problem.pooled_mean / problem.rate_unit
        values = {name: v[:, None] for name, v in auxiliary.items()}
        of_rows = likelihood.information(values, data, share) + np.zeros((n, n_rows))
        return 1.0 / np.sqrt(of_rows.sum(axis=1))

    def _true_distribution(self, n: int, rng: np.random.Generator) -> TrueDistribution | None:
        """Return draws of how the true features are distributed."""
        errors, count = self.problem.feature_errors, self.specification.n_components or 1
        if errors is None:
            return None
        q = len(errors.noisy)
        k = self.data.rows.n_features - q
        mean = np.repeat(rng.normal(0.0, MEAN_SCALE, (n, 1, q)), count, axis=1)
        if count > 1:
            mean += np.einsum(
                "cd,ndq->ncq", contrasts_of(count), rng.normal(0.0, COMPONENT_SCALE, (n, count - 1, q))
            )
        root = drawn_root(q, (n, count), rng)
        slopes = rng.normal(0.0, MEAN_SCALE, (n, q, k))
        return TrueDistribution(mean, slopes, root, rng.dirichlet(np.full(count, SHARE_CONCENTRATION), n))

    def _features(self, one: Parameters, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Return the true features, (rows, p), and the errors of those that have any, as stated, (rows, q)."""
        rows, errors = self.data.rows, self.problem.feature_errors
        X = np.asarray(rows.take(slice(None)), dtype=np.float64)
        if errors is None or one.true is None:
            return X, None
        X, true, n = X.copy(), one.true, len(X)
        q = len(errors.noisy)
        exact = np.setdiff1d(np.arange(rows.n_features), errors.noisy)
        center, spread = self._units
        away = (X[:, exact] - center[exact]) / spread[exact]
        component = rng.choice(len(true.shares), size=n, p=true.shares)
        own = np.einsum("nij,nj->ni", true.root[component], rng.standard_normal((n, q)))
        x = true.mean[component] + away @ true.slopes.T + own + self._levels(n, q, rng)
        X[:, errors.noisy] = center[errors.noisy] + spread[errors.noisy] * x
        values, vectors = np.linalg.eigh(errors.finite)
        root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        error = np.broadcast_to(root, (n, q, q)) @ rng.standard_normal((n, q, 1))
        return X, error[..., 0]

    def _levels(self, n: int, q: int, rng: np.random.Generator) -> Array:
        """Return what groups add to true features, (n, q), in units of the measured ones' spread."""
        groupings, members, found = self.problem.groupings, self.data.rows.members, np.zeros((n, q))
        if groupings is None or members is None:
            return found
        for k, size in enumerate(groupings.sizes):
            sd = _drawn(self.problem.group_prior[0], "group_prior", 1, q, rng)[:, 0]
            found += (sd * rng.standard_normal((size, q)))[members[:, k]]
        return found

    @cached_property
    def _units(self) -> tuple[Array, Array]:
        """Mean and spread of all features, in which the priors of the true ones' distribution are, (p,) each."""
        given, scaling = self.specification.prior_units, self.problem.scaling
        if given is None:
            raise ValueError("The units of the priors are not settled.")
        noisy = self.problem.feature_errors.noisy  # type: ignore[union-attr]
        units = structural_problem(self.problem)[1]
        spread = scaling.x_scale.copy()
        spread[noisy] *= units.noisy
        spread[np.setdiff1d(np.arange(len(spread)), noisy)] *= units.exact
        return given.mean[:-1], spread

    def _measured(self, X: Array, error: Array) -> NDArray[Any]:
        """Return the table, its columns that hold no features included, with measured features."""
        rows, noisy = self.data.rows, self.problem.feature_errors.noisy  # type: ignore[union-attr]
        table = np.array(rows.X, dtype=np.float64)
        places = noisy if rows.features is None else rows.features[noisy]
        table[:, places] = X[:, noisy] + error
        return table

    def _line(self, one: Parameters, X: Array) -> Array:
        """Return the regression line, in the model's units."""
        scaling = self.problem.scaling
        return one.B[0] + ((X - scaling.x_mean) / scaling.x_scale) @ one.B[1:]

    def _target(
        self, one: Parameters, line: Array, feature_error: Array | None, rng: np.random.Generator
    ) -> Array:
        """Return new measurements of the target, on the data's scale."""
        problem, scaling = self.problem, self.problem.scaling
        errors = problem.feature_errors
        if errors is None or errors.with_target is None or feature_error is None:
            drawn = problem.likelihood.draw(line, one.auxiliary, self._observations(), rng)
            if problem.likelihood.link.is_identity:
                return scaling.y_mean + scaling.y_scale * drawn
            return drawn * problem.rate_unit
        # Given the features' errors u the target's has the mean c'U^-1 u and c'U^-1 c less of its variance, (20).
        n, c = len(line), np.asarray(errors.with_target)
        told = (np.linalg.pinv(errors.finite, hermitian=True) @ c[..., None])[..., 0]
        known = np.square(np.asarray(problem.standard_error)) - (told * c).sum(axis=-1)
        scale = float(one.auxiliary.get("noise_scale", 1.0))
        multiple, scatter = problem.noise.parts(scale, one.auxiliary.get("scatter"))
        variance = np.maximum(multiple**2 * known, 0.0) + (scaling.y_scale * float(scatter)) ** 2
        # Noise that is a mixture of normal distributions is one of them, by the root of which c is wider, too.
        values = {name: np.reshape(value, (1, 1)) for name, value in one.auxiliary.items()}
        root = np.sqrt(problem.likelihood.drawn_parts(values, (1, n), rng)[0])
        noise = multiple * (told * feature_error).sum(axis=1) + np.sqrt(variance) * rng.standard_normal(n)
        return scaling.y_mean + scaling.y_scale * line + root * noise


def _drawn(
    prior: CoefficientPrior | ScalePrior | UnitPrior,
    argument: str,
    size: int,
    n: int,
    rng: np.random.Generator,
) -> Array:
    """Return independent draws from a prior, (n, size).

    Raises
    ------
    ValueError
        Where neither the prior nor PyMC can draw.
    """
    parameters = prior.check(argument, size)
    drawn = prior.drawn(parameters, (n, size), rng)
    if drawn is not None:
        return drawn
    name = next(
        (
            getattr(prior, attribute)
            for attribute in ("distribution", "scale_distribution", "unit_distribution")
            if getattr(prior, attribute, None) is not None
        ),
        None,
    )
    if name is None:
        raise ValueError(f"{argument}={prior!r} can't be drawn from: give its class the method `drawn`.")
    return draws_of_distribution(name, parameters, (n, size), int(rng.integers(2**31)))
