"""New measurements whose errors go with those of the training rows.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...inference.posterior import Posterior, row_blocks
from ...likelihoods.noise import Noise
from ...measurements.checks import check_n_samples
from ...measurements.correlated.covariance import Covariance
from ..distribution import PredictiveDistribution, generator
from ..mixtures.normal import Mixture, NormalMixture

__all__ = ["ErrorsGiven", "KrigedPredictive"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorsGiven:
    """Errors of m new rows given those of the training rows, (69e)."""

    maps: Array
    """(R, m, P + 1) what is told of them of [1, x - center, y]."""
    explained: Array
    """(R, m) variance that is told, in units of the squared multiple."""
    which: NDArray[np.intp]
    """(G,) whose each node is."""
    least: Array
    """(m,) the same without any scatter: no error has less variance."""

    @classmethod
    def of(
        cls, cross: Array, covariance: Covariance, columns: Array, ratios: Array, which: NDArray[np.intp]
    ) -> ErrorsGiven:
        """Return it of a covariance with the training rows' errors, (m, n), at some scatters."""
        m = len(cross)
        square, own, of_rows = covariance.along(np.concatenate([cross.T, columns], axis=1), m)
        weights = np.reciprocal(square + np.square(np.append(ratios, 0.0))[:, None])
        maps = np.array([own.T @ (weight[:, None] * of_rows) for weight in weights[:-1]])
        explained = weights @ np.square(own)
        return cls(maps, explained[:-1], which, explained[-1])


class KrigedPredictive(PredictiveDistribution):
    """Distribution of new measurements whose errors the training rows tell something of, (69e).

    Given the training rows, errors of new rows are taken to be independent of each other.

    Parameters
    ----------
    posterior : Posterior
        On the data's scale.
    noise : Noise
    design : ndarray of shape (m, P)
        Rows of [1, x - center].
    square_error : ndarray of shape (m,)
        Squared standard errors.
    errors : ErrorsGiven
    seed, index
        As for `LinearPredictive`.
    """

    def __init__(
        self,
        posterior: Posterior,
        noise: Noise,
        design: Array,
        square_error: Array,
        errors: ErrorsGiven,
        seed: int,
        index: Any = None,
    ):
        short = square_error < errors.least * (1.0 - 1e-8)
        if short.any():
            row = int(np.flatnonzero(short)[0])
            raise ValueError(
                f"y_cov_with_train has more in common with the training rows' errors than the error of row {row}"
                f" has in all: of its variance, {square_error[row]:.3g}, they would tell {errors.least[row]:.3g}."
                " Give its y_err, and both in the same unit."
            )
        self._posterior, self._noise, self._seed, self.index = posterior, noise, seed, index
        self._design, self._square, self._errors = design, square_error, errors
        self._multiple, self._scatter = noise.parts(posterior.noise_scale, posterior.scatter)

    def __len__(self) -> int:
        return len(self._design)

    def _at(self, rows: slice) -> tuple[Array, Array, Array]:
        """Return means, variances by the coefficients and by noise at every node, (rows, G) each."""
        posterior, errors = self._posterior, self._errors
        mean, parameters, noise = np.empty((3, len(self._design[rows]), len(posterior.weights)))
        multiple = np.broadcast_to(self._multiple, posterior.weights.shape)
        scatter = np.broadcast_to(self._scatter, posterior.weights.shape)
        for i, told in enumerate(errors.maps):
            nodes = np.flatnonzero(errors.which == i)
            lines, variances = posterior.linear(self._design[rows] - told[rows, :-1])
            left = np.maximum(self._square[rows] - errors.explained[i, rows], 0.0)
            mean[:, nodes] = told[rows, -1:] + lines[:, nodes]
            parameters[:, nodes] = variances[:, nodes]
            noise[:, nodes] = np.square(multiple[nodes]) * left[:, None] + np.square(scatter[nodes])
        return mean, parameters, noise

    def _moments(self) -> Array:
        """Return means, and variances by the parameters, the target's error and scatter, (4, m)."""
        weights = self._posterior.weights
        found = np.empty((4, len(self)))
        scatter = float(weights @ np.broadcast_to(np.square(self._scatter), weights.shape))
        for rows in row_blocks(len(self), self._width):
            mean, parameters, noise = self._at(rows)
            overall = mean @ weights
            between = np.square(mean - overall[:, None])
            found[:3, rows] = overall, (parameters + between) @ weights, noise @ weights - scatter
            found[3, rows] = scatter
        return found

    def mean(self) -> Array:
        return self._moments()[0]

    def var(self) -> Array:
        return np.sum(self._moments()[1:], axis=0)

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of, as `LinearPredictive.variance_parts` has it.

        ``target_error`` is its variance given the errors of the training rows.
        """
        names = ("parameters", "target_error", "scatter")
        return {**dict(zip(names, self._moments()[1:], strict=True)), "finite_count": np.zeros(len(self))}

    def covariance(self) -> Array:
        posterior, errors = self._posterior, self._errors
        weights = posterior.weights
        mean, _, noise = self._at(slice(None))
        away = mean - (mean @ weights)[:, None]
        covariance = (away * weights) @ away.T
        for i, told in enumerate(errors.maps):
            own = np.where(errors.which == i, weights, 0.0)
            spread = posterior.covariances.root(own) @ (self._design - told[:, :-1]).T
            covariance += spread.T @ spread
        covariance[np.diag_indices_from(covariance)] += noise @ weights
        return covariance

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        n_samples = check_n_samples(n_samples)
        rng = generator(self._seed if random_state is None else random_state)
        drawn, nodes = self._posterior.draw(n_samples, rng)
        answer = np.empty((len(self), n_samples))
        for rows in row_blocks(len(self), self._width):
            noise = self._at(rows)[2][:, nodes]
            told = self._errors.maps[self._errors.which[nodes]][:, rows]
            lines = np.einsum("smp,sp->ms", self._design[rows] - told[:, :, :-1], drawn)
            answer[rows] = told[:, :, -1].T + lines + np.sqrt(noise) * rng.standard_normal(noise.shape)
        return answer

    def _mixture(self, rows: slice) -> Mixture:
        mean, parameters, noise = self._at(rows)
        return NormalMixture(self._posterior.weights, mean, np.sqrt(parameters + noise))

    @property
    def _width(self) -> int:
        return 8 * len(self._posterior.weights)
