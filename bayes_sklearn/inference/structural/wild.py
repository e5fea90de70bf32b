"""Wild readings of features: each may be one, independently of the others, whose error is a multiple of the stated.

A row of q readings has 2^q configurations of wild and other ones, each a component of its own of what was measured,
whose errors have the covariance D U D, the diagonal of D being the factor where a reading is wild, else one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.parameters import Auxiliary, FoldedOdds, Log, given_prior
from ...measurements.messages import shown
from ...priors.base import ScalePrior, UnitPrior
from ...priors.scales import Beta, HalfStudentT
from ...priors.true_features import Outliers
from .rows import upper

Array = NDArray[np.float64]

# A wild reading's error is more than so many times the stated one. Less is errors stated too small, of which the
# share of readings and the factor would be told apart by their priors alone.
_LEAST_FACTOR = 2.0


class Configurations(NamedTuple):
    """All configurations of wild readings; NumPy's or PyTensor's arrays, with any axes in front."""

    log_shares: Any
    """(..., O)"""
    multiples: Any
    """(..., O, q) what each reading's error is multiplied by."""

    @classmethod
    def of(cls, share: Any, factor: Any, q: int, xp: Any = np) -> Configurations:
        """Return them, of shares and factors that broadcast with (..., 1)."""
        wild = np.array(list(product((0.0, 1.0), repeat=q)))
        count = wild.sum(axis=1)
        log_shares = count * xp.log(share) + (q - count) * xp.log1p(-share)
        return cls(log_shares, 1.0 + wild * (factor - 1.0)[..., None])

    @classmethod
    def at(cls, outliers: Mapping[str, Array], q: int) -> Configurations:
        """Return them at nodes with these parameters, (G,) each, by name."""
        return cls.of(outliers["outlier_share"][:, None], outliers["outlier_factor"][:, None], q)

    def of_errors(self, which: int, n_errors: int, *, shared: bool) -> Array:
        """Return what a row's U, and c where errors are shared, are multiplied by in one of them, (G, E)."""
        one, q = self.multiples[:, which], self.multiples.shape[-1]
        row, column = upper(q)
        found = np.ones((len(one), n_errors))
        found[:, : len(row)] = one[:, row] * one[:, column]
        if shared:
            found[:, len(row) : len(row) + q] = one
        return found


def not_plainly_wild(w: Array, frequency: Array | None) -> Array:
    """Return how often rows count, (n,), but for those with a reading far away from all others, if these are few.

    Moments do not bear wild readings: neither units nor a search for where the density is highest start from them.
    """
    far, of_normal = 5.0, 1.4826
    away = np.abs(w - np.median(w, axis=0))
    plain = (away <= far * of_normal * np.median(away, axis=0)).all(axis=1)
    every = np.ones(len(w)) if frequency is None else frequency
    return every * plain if plain.mean() > 0.5 else every


def parameters_of(outliers: Outliers | None) -> tuple[Auxiliary, ...]:
    """Return what is learned of wild readings, share and factor; nothing where none is wild.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter.
    """
    if outliers is None:
        return ()
    key = "x_error_distribution__{}_prior".format
    share = given_prior(
        outliers.share_prior, Beta(1.0, 10.0), UnitPrior, key("share"), "Beta(1, 10), of their share"
    )
    factor = given_prior(
        outliers.factor_prior,
        HalfStudentT(3.0, 6.0),
        ScalePrior,
        key("factor"),
        "HalfStudentT(nu=3, sigma=6)",
    )
    if factor.tail() <= 1.0:
        raise ValueError(f"{key('factor')} needs a prior that integrates to one, got {shown(factor)}.")
    return (
        Auxiliary("outlier_share", share, FoldedOdds(), 0.05),
        Auxiliary("outlier_factor", factor, Log(_LEAST_FACTOR), 5.0),
    )
