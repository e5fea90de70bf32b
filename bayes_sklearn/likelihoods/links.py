"""Links between a target's mean and the linear predictor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

__all__ = ["IDENTITY", "LOG", "LOGIT", "Link"]

Array = NDArray[np.float64]


class Link(ABC):
    """What turns the mean of a target into the linear predictor; none has parameters.

    Methods take arrays of any shape and return arrays of that shape.

    Examples
    --------
    >>> from bayes_sklearn.likelihoods import IDENTITY, LOG, LOGIT
    >>> [(link, link.unit, link.is_identity) for link in (IDENTITY, LOG, LOGIT)]
    [(identity, '', True), (log, 'log', False), (logit, 'log odds', False)]
    """

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    """What the linear predictor is in; "": the target's own unit."""
    lower: ClassVar[float] = -np.inf
    """What means exceed."""
    upper: ClassVar[float] = np.inf
    """What they stay below."""

    def __repr__(self) -> str:
        return self.name

    @property
    def is_identity(self) -> bool:
        """Whether the linear predictor is the mean, so that the target may be centred and scaled."""
        return not self.unit

    @abstractmethod
    def mean(self, eta: Array) -> Array:
        """Return the mean at a linear predictor.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn.likelihoods import LOGIT
        >>> LOGIT.mean(np.array([0.0, 2.0])).round(2)
        array([0.5 , 0.88])
        """

    @abstractmethod
    def of(self, mean: Array) -> Array:
        """Return the linear predictor of a mean; it is infinite at `lower` and `upper`.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn.likelihoods import LOG
        >>> LOG.of(np.array([1.0, 10.0])).round(2)
        array([0. , 2.3])
        """

    @abstractmethod
    def slope(self, mean: Array) -> Array:
        """Return the derivative of the mean by the linear predictor, at a given mean.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn.likelihoods import LOGIT
        >>> LOGIT.slope(np.array([0.5]))
        array([0.25])
        """

    def log_slope(self, eta: Array) -> Array:
        """Return the log of the derivative of the mean by the linear predictor, at a given linear predictor.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn.likelihoods import LOGIT
        >>> LOGIT.log_slope(np.array([0.0])).round(2)
        array([-1.39])
        """
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.slope(self.mean(eta))))

    def pooled(self, total: Array, weight: Array) -> Array:
        """Return means of totals by weights, kept half a count away from `lower` and `upper`.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn.likelihoods import LOGIT
        >>> LOGIT.pooled(np.array([0.0]), np.array([9.0]))  # no success in nine trials
        array([0.05])
        """
        if np.isinf(self.lower):
            return total / weight
        return (total + 0.5) / (weight + float(np.isfinite(self.upper)))


class _Identity(Link):
    name = "identity"

    def mean(self, eta: Array) -> Array:
        return eta

    def of(self, mean: Array) -> Array:
        return np.asarray(mean, dtype=np.float64)

    def slope(self, mean: Array) -> Array:
        return np.ones_like(mean)


class _Logit(Link):
    name, unit, lower, upper = "logit", "log odds", 0.0, 1.0

    def mean(self, eta: Array) -> Array:
        return np.asarray(expit(eta))

    def of(self, mean: Array) -> Array:
        return np.asarray(logit(mean))

    def slope(self, mean: Array) -> Array:
        return mean * (1.0 - mean)

    def log_slope(self, eta: Array) -> Array:
        return -np.logaddexp(0.0, eta) - np.logaddexp(0.0, -eta)


class _Log(Link):
    name, unit, lower = "log", "log", 0.0

    def mean(self, eta: Array) -> Array:
        # Whatever is larger is no mean; its square, and that of its multiples, is a number.
        largest = 276.0
        return np.exp(np.minimum(eta, largest))

    def of(self, mean: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(mean))

    def slope(self, mean: Array) -> Array:
        return mean

    def log_slope(self, eta: Array) -> Array:
        return np.asarray(eta)


IDENTITY: Link = _Identity()

LOGIT: Link = _Logit()

LOG: Link = _Log()
