"""The model's units, and what priors are in units of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..likelihoods.base import Likelihood
from ..measurements.compressed import Compressed, Rows
from ..measurements.feature_errors import FeatureErrors
from ..measurements.missing import TOO_LARGE, doubtful_cells, filled
from .posterior import Posterior, in_unit

__all__ = ["PriorUnits", "Scaling", "pooled_mean", "robust_units"]


Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PriorUnits:
    """What priors are stated in units of, where that is not to follow from the rows that are fitted."""

    mean: Array
    """(p + 1,) of features and target."""
    standard_deviation: Array
    """(p + 1,)"""
    pooled_mean: float = 0.5
    """Of all rows together, under likelihoods of counts: a horseshoe's unit depends on it, and the unit of rates."""
    design: Array | None = None
    """(K, p) rows whose products are those of the centred features in these units: the features' correlations."""

    @classmethod
    def of(cls, state: Compressed, rows: Rows) -> PriorUnits | None:
        """Return those of rows of which some have limits in the place of a target; None: it is measured in all."""
        if rows.limits is None or rows.limits.say_nothing:
            return None
        mean, spread = state.mean + state.origin, state.standard_deviation.copy()
        mean[-1], spread[-1] = rows.limits.moments(rows.y, rows.frequency)
        return cls(mean, spread)


@dataclass(frozen=True, eq=False)
class Scaling:
    """The affine map between the data's units and the model's: x -> (x - mean) / scale, likewise y."""

    x_mean: Array
    x_scale: Array
    y_mean: float
    y_scale: float

    @classmethod
    def of(cls, state: Compressed | PriorUnits, standardize: bool, fit_intercept: bool) -> Scaling:
        """Return the scaling to (frequency-weighted) mean 0 and standard deviation 1, or none at all.

        Without an intercept nothing is centred, and what becomes 1 is the root mean square. A feature that is
        constant beside an intercept is centred to 0 and has no say; its scale is its size, whatever its unit.
        """
        p = len(state.mean) - 1
        if not standardize:
            return cls(np.zeros(p), np.ones(p), 0.0, 1.0)
        mean = state.mean + state.origin if isinstance(state, Compressed) else state.mean
        rounding = 10.0 * np.finfo(np.float64).eps * np.abs(mean)
        magnitude = np.hypot(mean, state.standard_deviation)
        scale = magnitude
        if fit_intercept:
            scale = np.where(state.standard_deviation > rounding, state.standard_deviation, np.abs(mean))
            scale[-1] = state.standard_deviation[-1] if state.standard_deviation[-1] > rounding[-1] else 1.0
        else:
            mean = np.zeros(p + 1)
        scale = np.where(scale > 0.0, scale, 1.0)
        return cls(mean[:-1], scale[:-1], float(mean[-1]), float(scale[-1]))

    def of_features(self) -> Scaling:
        """Return the scaling of the features alone: where the target has a link, it has its own scale."""
        return replace(self, y_mean=0.0, y_scale=1.0)

    def about_rate(self, rate: float) -> Scaling:
        """Return the scaling where the logs of rates are about that of this one."""
        return replace(self, y_mean=float(np.log(rate)))

    @property
    def mean(self) -> Array:
        """(p + 1,) what is subtracted from features and target."""
        return np.append(self.x_mean, self.y_mean)

    @property
    def is_identity(self) -> bool:
        """Whether the model's units are the data's."""
        return (
            self.y_mean == 0.0
            and self.y_scale == 1.0
            and not self.x_mean.any()
            and bool((self.x_scale == 1.0).all())
        )

    def factor(self, state: Compressed, error_unit: float) -> Array:
        """Return the triangle of [1, x, y] in the model's units, errors in multiples of `error_unit`, (7)."""
        scale = np.append(self.x_scale, self.y_scale)
        factor = state.factor.copy()
        factor[0, 1:] += factor[0, 0] * (state.origin - self.mean)
        factor[:, 1:] /= scale
        return factor * error_unit

    def to_data(self, posterior: Posterior, noise_unit: float) -> Posterior:
        """Return the posterior on the data's own scale, its intercept about the features' mean."""
        matrix = np.diag(self.y_scale / np.append(1.0, self.x_scale))
        shift = np.zeros(len(matrix))
        shift[0] = self.y_mean
        true = posterior.true_features
        if true is not None:
            true = replace(
                true, x_mean=self.x_mean, x_scale=self.x_scale, y_mean=self.y_mean, y_scale=self.y_scale
            )
        scatter = None if posterior.scatter is None else self.y_scale * posterior.scatter
        mapped = posterior.mapped(matrix, shift, noise_unit, self.x_mean)
        masses, effects = in_unit(mapped.scale_masses, "scatter", self.y_scale), posterior.effects
        if effects is not None:
            effects = effects.on_scale(self.x_mean, self.x_scale, self.y_mean, self.y_scale)
            for k, unit in enumerate(effects.units):
                masses = in_unit(masses, f"group_std_{k}", float(unit))
        return replace(mapped, true_features=true, scatter=scatter, scale_masses=masses, effects=effects)


def pooled_mean(
    likelihood: Likelihood, rows: Rows, trials: Array | None, given: PriorUnits | None = None
) -> float:
    """Return the mean of all rows together, half a count away from the ends that it has, or the one that is given."""
    if given is not None:
        return given.pooled_mean
    weight = np.broadcast_to(1.0 if trials is None else trials, rows.y.shape)
    weight = weight if rows.frequency is None else weight * rows.frequency
    return float(likelihood.link.pooled(weight @ rows.y, weight.sum()))


def robust_units(
    rows: Rows, errors: FeatureErrors | None, likelihood: Likelihood, counts: Array | None
) -> PriorUnits | None:
    """Return units in which readings with errors far beyond a feature's spread have no part; None: none has any."""
    if errors is None or not errors.uneven(TOO_LARGE):
        return None
    doubtful = doubtful_cells(errors, np.asarray(rows.take(slice(None)), dtype=np.float64), rows.frequency)
    if doubtful is None:
        return None
    likely = filled(rows, errors.noisy, doubtful, plain=True)
    table = np.column_stack([likely.take(slice(None)), rows.y])
    mean = np.average(table, axis=0, weights=rows.frequency)
    deviation = np.sqrt(np.average(np.square(table - mean), axis=0, weights=rows.frequency))
    if rows.limits is not None:
        mean[-1], deviation[-1] = rows.limits.moments(rows.y, rows.frequency)
    pooled = pooled_mean(likelihood, rows, counts) if likelihood.counted else 0.5
    return PriorUnits(mean, deviation, pooled)
