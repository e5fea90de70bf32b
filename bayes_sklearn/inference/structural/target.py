"""What a likelihood says of rows whose features were measured, where the line given these is normal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...likelihoods.base import Likelihood, Observations
from ...likelihoods.over_line.integral import Places, log_density_over_line
from ...likelihoods.parameters import Auxiliary

Array = NDArray[np.float64]


class Parts(Protocol):
    """What the likelihood's parameters are made of at G points: (G,) noise, and coordinates of the others, (G, A)."""

    @property
    def noise_scale(self) -> Array: ...

    @property
    def scatter(self) -> Array: ...

    @property
    def auxiliary(self) -> Array: ...


@dataclass(frozen=True, eq=False)
class Target:
    """The target of a structural problem's rows under another likelihood than the normal one."""

    likelihood: Likelihood
    data: Observations
    """What the likelihood sees of the rows that count."""
    auxiliary: tuple[Auxiliary, ...]
    """Its parameters beside those of noise that is added to the line."""
    start: Array
    """(A,) coordinates of these to search from."""
    noise_start: tuple[float, float]
    """Noise scale and scatter to search from, where there are any."""
    places: Places | None = None
    """Where each row's line is, once that is known about."""

    @cached_property
    def _blocks(self) -> dict[tuple[int, int], Observations]:
        """The data of blocks of rows that were looked at."""
        return {}

    def values_at(self, parts: Parts) -> dict[str, Array]:
        """Return all of the likelihood's parameters by name, (G, 1), at points taken apart."""
        found = {}
        if self.likelihood.has_noise_scale:
            found = {"noise_scale": parts.noise_scale, "scatter": parts.scatter}
        found |= self.further(parts.auxiliary)
        return {name: value[:, None] for name, value in found.items()}

    def further(self, coordinates: Array) -> dict[str, Array]:
        """Return the parameters beside those of the noise by name, (G,) each."""
        return {
            parameter.name: parameter.coordinate.value(coordinates[:, i])
            for i, parameter in enumerate(self.auxiliary)
        }

    def log_prior(self, coordinates: Array) -> Array:
        """Return the log prior density of the further parameters, (G,)."""
        total = np.zeros(len(coordinates))
        for i, parameter in enumerate(self.auxiliary):
            total += parameter.log_prior(coordinates[:, i])
        return total

    def placed(self, mean: Array, variance: Array, values: dict[str, Array]) -> Target:
        """Return the target with its rows' lines about where one point, (1, n) and (1, 1) each, has them."""
        given = {name: value[0] for name, value in values.items()}
        return replace(self, places=Places.of(self.likelihood, mean[0], variance[0], given, self.data))

    def log_density(
        self,
        rows: slice,
        mean: Array,
        variance: Array,
        values: dict[str, Array],
        shared: tuple[Array, Array, Array] | None,
    ) -> Array:
        """Return each row's log density, (G, rows), given mean and variance of its line.

        Parameters
        ----------
        shared
            Where errors of features go with the target's: mean of the noise given what was measured, its covariance
            with the line, and its variance.
        """
        if self.places is None:
            raise AssertionError  # for the type checker: it is settled first
        places, block = self.places.take(rows), (rows.start, rows.stop)
        if block not in self._blocks:
            self._blocks[block] = self.data.take(rows)
        data = self._blocks[block]
        return log_density_over_line(self.likelihood, mean, variance, values, data, places, shared)
