"""What has parameters, and how those of a prior are checked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ..measurements.messages import shown

__all__ = ["Parametrized", "Prior"]

Array = NDArray[np.float64]


class Parametrized(BaseEstimator):
    """What has parameters: their names are looked up once per class, not at every clone and fit."""

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        names: list[str] = super()._get_param_names()
        return names


class Prior(Parametrized):
    """A prior distribution and the parameters it was given.

    Examples
    --------
    >>> from bayes_sklearn import HalfNormal
    >>> HalfNormal(sigma=2.0).get_params()
    {'sigma': 2.0}
    """

    _positive: ClassVar[tuple[str, ...]] = ()
    """Parameters that have to be positive; the others may be any finite number."""
    _single: ClassVar[bool] = False
    """Whether the prior is of one number, so that its parameters can't be arrays."""
    _vague: ClassVar[str] = "Flat()"
    """What says least, for messages."""

    def check(self, argument: str, size: int) -> Mapping[str, Array]:
        """Return every parameter as an array of shape (size,).

        Parameters
        ----------
        argument : str
            The estimator's argument that holds this prior, for the message.
        size : int
            How many numbers the prior is of.

        Returns
        -------
        dict of str to ndarray of shape (size,)

        Raises
        ------
        TypeError, ValueError
            Where a parameter is not a finite real number (or, a scale, not positive), or an array of another
            length.

        Examples
        --------
        >>> from bayes_sklearn import Normal
        >>> Normal(sigma=[1.0, 2.0]).check("coef_prior", size=2)
        {'mu': array([0., 0.]), 'sigma': array([1., 2.])}
        """
        return {
            name: self._check_one(f"{argument}__{name}", value, size, name in self._positive)
            for name, value in vars(self).items()
        }

    def drawn(
        self, parameters: Mapping[str, Array], shape: tuple[int, ...], rng: np.random.Generator
    ) -> Array | None:
        """Return independent draws, their last axis that of the parameters; None: PyMC's distribution is taken.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            What `check` returns.
        shape : tuple of int
        rng : numpy.random.Generator

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import Normal
        >>> prior = Normal(sigma=2.0)
        >>> prior.drawn(prior.check("coef_prior", 3), (1000, 3), np.random.default_rng(0)).shape
        (1000, 3)
        """
        return None

    def _check_one(self, key: str, value: object, size: int, positive: bool) -> Array:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{key} must be a number or an array of numbers, got {shown(value)}.")
        if array.ndim and (self._single or array.shape != (size,)):
            wanted = f"there are {size} features: give one number for all, or one per feature"
            wanted = "give one number" if size == 1 else wanted
            raise ValueError(f"{key} has shape {array.shape}; {wanted}.")
        if not np.isfinite(array).all():
            raise ValueError(
                f"{key} must be finite, got {shown(value)}. For no prior information, use {self._vague}."
            )
        if positive and not (array > 0.0).all():
            raise ValueError(
                f"{key} must be positive, got {shown(value)}. For no prior information, use {self._vague}."
            )
        return np.full(size, array, dtype=np.float64)
