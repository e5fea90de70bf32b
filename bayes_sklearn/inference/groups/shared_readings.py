"""Rows that share a reading of features with errors: what they say beside their means, of slopes and noise alone.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...measurements.correlated.shared_readings import Apart

__all__ = ["Within"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Within:
    """Least squares of the slopes of exact features from rows less their means, (84), those of one error together."""

    copies: Array
    """(G,) how many rows each mean is of."""
    square_error: Array
    """(H,) squares of the errors that there are."""
    counts: Array
    """(H,) degrees of freedom: rows less their means."""
    about: Array
    """(k,) slopes that the sums are about: y is less z times these."""
    gram: Array
    """(H, k, k) summed products of z, ..."""
    right: Array
    """(H, k) ... of z and y, ..."""
    square: Array
    """(H,) ... and squares of y."""
    log_constant: float
    """What the log density has beside."""

    @classmethod
    def of(cls, apart: Apart, z_unit: Array, y_unit: float, error_unit: float, *, scatters: bool) -> Self:
        """Sum over rows taken apart, in these units.

        `scatters` says that the noise is no multiple of known errors: rows of a mean then have one error.
        """
        z, y, variance = apart.exact / z_unit, apart.y / y_unit, np.square(apart.error / error_unit)
        kinds = variance if scatters else np.ones(len(y))
        weight = apart.frequency if scatters else apart.frequency / variance
        root = np.sqrt(weight)
        about = np.asarray(np.linalg.lstsq(root[:, None] * z, root * y)[0], dtype=np.float64)
        left = y - z @ about
        square_error, kind = np.unique(kinds, return_inverse=True)

        def summed(values: Array) -> Array:
            return np.asarray(np.bincount(kind, weight * values, len(square_error)), dtype=np.float64)

        k, (copies, group) = z.shape[1], (apart.copies, apart.group)
        gram, right = np.empty((len(square_error), k, k)), np.empty((len(square_error), k))
        for a in range(k):
            right[:, a] = summed(z[:, a] * left)
            for b in range(a + 1):
                gram[:, a, b] = gram[:, b, a] = summed(z[:, a] * z[:, b])
        counts = np.asarray(np.bincount(kind, apart.frequency, len(square_error)), dtype=np.float64)
        counts -= np.bincount(kind[np.unique(group, return_index=True)[1]], minlength=len(square_error))
        log_constant = -0.5 * float(np.log(copies).sum())
        if not scatters:
            log_constant -= 0.5 * float(apart.frequency @ np.log(variance))
            log_constant += 0.5 * float(np.log(copies / np.bincount(group, weight)).sum())
        square = summed(np.square(left))
        return cls(copies, square_error, counts, about, gram, right, square, log_constant)

    @property
    def n_rows(self) -> float:
        """Degrees of freedom."""
        return float(self.counts.sum())

    @property
    def tells_noise(self) -> bool:
        """Whether rows are more than slopes."""
        return self.n_rows >= len(self.about) + 1.0

    @property
    def variance(self) -> float:
        """The noise that is left of the rows; where it multiplies known errors, in multiples of these."""
        return float(self.square.sum()) / (self.n_rows - len(self.about))

    def at(self, multiple: Array, added: Array) -> tuple[Array, Array, Array, Array]:
        """Return the sums, and what else the log density has, at G points.

        Parameters
        ----------
        multiple, added : ndarray of shape (G,)
            What squares of errors are multiplied by, and what is added to them.

        Returns
        -------
        gram, right, square, log_density : ndarray of shape (G, k, k), (G, k), (G,) and (G,)
        """
        variance = multiple[:, None] * self.square_error + added[:, None]
        precision = 1.0 / variance
        constant = self.log_constant - 0.5 * (np.log(2.0 * np.pi * variance) @ self.counts)
        gram = np.tensordot(precision, self.gram, axes=1)
        return gram, precision @ self.right, precision @ self.square, constant
