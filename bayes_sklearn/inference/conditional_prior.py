"""The coefficients' prior given its scale: Gaussian, so that all that is linear can still be integrated out.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..priors.base import CoefficientPrior, ScalePrior
from ..priors.coefficients import Normal, PoweredCorrelation

__all__ = ["ConditionalPrior", "powered_roots", "spreads"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConditionalPrior:
    """B's free entries given the scale tau and a geometry: Normal, independent of the intercept, (8a).

    The coefficients are ``mean + tau root_a Normal(0, 1)``, a numbering the geometries, equally probable beforehand.
    """

    intercept: tuple[float, float] | None
    """Mean and standard deviation of the intercept, infinite where flat; None: there is none."""
    mean: Array
    """(p,) of the coefficients."""
    sigma: Array
    """(p,) deviations, infinite where flat; of powers of the correlation, one number p times."""
    scale_prior: ScalePrior | None
    """Of tau; None: it is one."""
    powers: Array | None = None
    """(geometries,) the powers of the correlation; None: coefficients are independent."""
    design: Array | None = None
    """(K, p) the rows whose principal directions the powers are about."""
    source: Array | None = None
    """The compressed rows that `design` is a part of, if any."""

    @property
    def n_geometries(self) -> int:
        return 1 if self.powers is None else len(self.powers)

    @property
    def distinct(self) -> ConditionalPrior:
        """The prior with geometries that differ: where there is one direction, all are the same."""
        if self.powers is None or len(self.mean) > 1:
            return self
        return replace(self, powers=self.powers[:1])

    @cached_property
    def roots(self) -> tuple[Array, ...]:
        """(p, p) each; of a flat prior, infinite."""
        if self.powers is None or self.design is None:
            return (np.diag(self.sigma),)
        return tuple(self.sigma[:, None] * root for root in powered_roots(self.design, self.powers))

    @classmethod
    def of(
        cls,
        coef_prior: CoefficientPrior,
        intercept_prior: CoefficientPrior | None,
        size: int,
        design: Array,
        source: Array | None = None,
    ) -> ConditionalPrior | None:
        """Return the priors in this form, or None where they are not Gaussian even given a scale.

        Parameters
        ----------
        coef_prior : CoefficientPrior
        intercept_prior : CoefficientPrior or None
        size : int
            p.
        design : ndarray of shape (K, p)
            Rows whose products are those of the centred features in the model's units, of any common weight.
        source : ndarray, optional
            The compressed rows that they are a part of.
        """
        intercept = None
        if intercept_prior is not None:
            found = intercept_prior.gaussian("intercept_prior", 1)
            if found is None:
                return None
            intercept = float(found[0][0]), float(found[1][0])
        learned = coef_prior.scale_prior
        if isinstance(coef_prior, PoweredCorrelation):
            parameters = coef_prior.check("coef_prior", size)
            return cls(
                intercept, np.zeros(size), parameters["sigma"], learned, parameters["power"], design, source
            )
        gaussian = coef_prior.gaussian("coef_prior", size)
        if gaussian is None and isinstance(coef_prior, Normal):
            gaussian = coef_prior.gaussian_like("coef_prior", size)
        if gaussian is not None:
            return cls(intercept, *gaussian, learned)
        return None


def powered_roots(design: Array, powers: Sequence[float] | Array) -> list[Array]:
    """Return V diag(d^-a) for each power a, V the rows' principal directions and d the `spreads` along them, (8b)."""
    size = design.shape[1]
    directions, singular = np.eye(size), np.zeros(size)
    if design.any():
        _, found, directions = np.linalg.svd(design, full_matrices=True)
        singular[: len(found)] = found
    spread = spreads(singular)
    return [directions.T * spread**-power for power in np.atleast_1d(powers)]


def spreads(singular: Array) -> Array:
    """Return singular values in units of their root mean square; one where there is no spread to speak of."""
    spread = np.ones(len(singular))
    # Directions along which features vary by no more than this share of what they do along the first are rounding:
    # they do not vary.
    no_spread = 1e-8
    varies = singular > no_spread * singular.max(initial=0.0)
    if varies.any():
        spread[varies] = singular[varies] / np.sqrt(np.square(singular[varies]).mean())
    return spread
