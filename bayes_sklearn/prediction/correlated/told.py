"""What a fit keeps to tell the errors of new rows by those of the training rows.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...inference.node_covariances import Factors, Joined, NodeCovariances, SharedBasis
from ...inference.posterior import Posterior
from ...inference.problem import Problem
from ...measurements.checks import as_floats
from ...measurements.correlated.covariance import Covariance, columns_of
from ...measurements.correlated.loadings import Loadings, check_loadings, shared_first
from ...measurements.target_errors import root_mean_square
from ..noise import NoiseModel
from .kriging import ErrorsGiven

__all__ = ["ToldByCovariance", "ToldBySharedErrors", "check_told", "told_by"]

Array = NDArray[np.float64]

# Numbers of a covariance up to which a fit keeps it, eight megabytes.
_KEPT = 2**20


@dataclass(frozen=True, eq=False)
class ToldBySharedErrors:
    """What the training rows tell of the errors that they share: at every node Normal given B, (69d)."""

    own_error: float
    """Root mean square of the training rows' own errors."""
    means: Array
    """(R, k, P + 1) maps from (1, B) to the shared errors' means."""
    roots: Array
    """(R, k, k) roots of their covariance, for a noise scale of one."""
    which: NDArray[np.intp]
    """(G,) which of them each node has."""

    argument = "y_shared_err"

    @classmethod
    def of(cls, posterior: Posterior, problem: Problem, noise: NoiseModel, loadings: Loadings) -> Any:
        ratios, which = _ratios(posterior, noise)
        k, own = loadings.count, problem.with_loadings
        factors = [
            own.factor if ratio == 0.0 else own.factor_at(ratio / own.scaling.y_scale) for ratio in ratios
        ]
        triangles = shared_first(np.array([factor for factor, _ in factors]), k)[:, :k]
        roots = np.asarray(np.linalg.inv(triangles[:, :, :k]), dtype=np.float64)
        maps: Array = roots @ triangles[:, :, k:]
        # From (1, B) in the data's units, the intercept about the features' mean.
        scaling = problem.scaling
        means: Array = np.concatenate([maps[:, :, -1:], -maps[:, :, :-1]], axis=2)
        means[:, :, 1] /= scaling.y_scale
        means[:, :, 2:] *= scaling.x_scale / scaling.y_scale
        means[:, :, 0] -= means[:, :, 1] * scaling.y_mean
        error = root_mean_square(problem.standard_error, problem.rows.frequency)
        return cls(error, means, roots, which)

    @property
    def count(self) -> int:
        return int(self.roots.shape[1])

    def joined(self, posterior: Posterior, multiple: Array) -> Posterior:
        """Return the posterior of the coefficients and the shared errors together.

        Parameters
        ----------
        posterior : Posterior
            On the data's scale.
        multiple : ndarray of shape (G,)
            What known errors are multiplied by at its nodes.
        """
        k, size = self.count, posterior.location.shape[1]
        means, roots = self.means[self.which], self.roots[self.which]
        of_line = means[:, :, 1:]
        shared = means[:, :, 0] + np.einsum("gkp,gp->gk", of_line, posterior.location)
        own = _factors(posterior.covariances, size)
        factors = np.zeros((len(means), size + k, own.shape[2] + k))
        factors[:, :size, : own.shape[2]] = own
        factors[:, size:, : own.shape[2]] = of_line @ own
        factors[:, size:, own.shape[2] :] = multiple[:, None, None] * roots
        return replace(
            posterior,
            location=np.concatenate([posterior.location, shared], axis=1),
            covariances=Factors(factors),
            center=np.append(posterior.center, np.zeros(k)),
        )


@dataclass(frozen=True, eq=False)
class ToldByCovariance:
    """The training rows and the covariance of their errors; of many neither."""

    covariance: Covariance | None
    columns: Array
    """(n, P + 1) of [1, x - center, y]."""
    ratios: Array
    """(R,) of the scatter to the multiple of the covariance."""
    which: NDArray[np.intp]
    """(G,) which of them each node has."""
    n: int
    """Rows of the fit."""

    argument = "y_cov"

    @classmethod
    def of(cls, posterior: Posterior, problem: Problem, noise: NoiseModel, covariance: Covariance) -> Any:
        ratios, which = _ratios(posterior, noise)
        n = len(problem.rows.y)
        if covariance.n_numbers > _KEPT:
            return cls(None, np.zeros((0, 0)), ratios, which, n)
        columns = columns_of(problem.rows, np.append(posterior.center, 0.0))
        return cls(replace(covariance), columns, ratios, which, n)

    def given(self, cross: Any, m: int) -> ErrorsGiven:
        """Return what the training rows tell of the errors of m new rows, by their covariance, (m, n).

        Raises
        ------
        TypeError, ValueError
            Naming the argument.
        """
        try:
            values = as_floats(cross)
        except TypeError as error:
            raise TypeError(f"y_cov_with_train must be an array of numbers: {error}.") from error
        if values.shape != (m, self.n):
            raise ValueError(
                f"y_cov_with_train must have a row for each of the {m} rows of X and a column for each of the"
                f" {self.n} rows of fit, ({m}, {self.n}), got an array of shape {values.shape}."
            )
        if not np.isfinite(values).all():
            raise ValueError("y_cov_with_train has NaN or infinity: give 0 where errors are independent.")
        if self.covariance is None:
            raise ValueError(
                "y_cov_with_train needs the training rows and y_cov, which a fit keeps of up to 1,024 rows whose"
                f" errors are all correlated, and this one had {self.n}. Give y_cov as a scipy.sparse matrix where"
                " errors of most rows are independent, or leave y_cov_with_train out."
            )
        return ErrorsGiven.of(values, replace(self.covariance), self.columns, self.ratios, self.which)


def told_by(posterior: Posterior, problem: Problem, noise: NoiseModel) -> Any:
    """Return what is kept of errors that rows have in common, or None."""
    if isinstance(problem.correlated, Loadings):
        return ToldBySharedErrors.of(posterior, problem, noise, problem.correlated)
    if isinstance(problem.correlated, Covariance):
        return ToldByCovariance.of(posterior, problem, noise, problem.correlated)
    return None


def check_told(told: Any, n: int, of_errors: Mapping[str, Any]) -> dict[str, Any]:
    """Return what new rows say of their errors and those of the training rows, by argument, checked.

    Raises
    ------
    TypeError, ValueError
        Where the fit knew nothing of the kind, naming the argument.
    """
    found = {name: value for name, value in of_errors.items() if value is not None}
    for name, known in (("y_shared_err", "y_shared_err"), ("y_cov_with_train", "y_cov")):
        if name in found and (told is None or told.argument != known):
            raise ValueError(f"{name} is given, but the model was fitted without {known}: leave {name} out.")
    if "y_shared_err" in found:
        return {"y_shared_err": check_loadings(found["y_shared_err"], n, told.count)}
    return {name: told.given(value, n) for name, value in found.items()}


def _ratios(posterior: Posterior, noise: NoiseModel) -> tuple[Array, NDArray[np.intp]]:
    """Return the scatters that nodes have in multiples of the noise scale, in the data's unit, and whose each is."""
    multiple, scatter = noise.noise.parts(posterior.noise_scale, posterior.scatter)
    ratio = np.broadcast_to(scatter / multiple, posterior.weights.shape)
    # Nodes of one scatter have it up to floating-point rounding.
    steps, which = np.unique(np.round(np.log(np.maximum(ratio, 1e-300)), 9), return_inverse=True)
    found = np.array([ratio[which == i][0] for i in range(len(steps))])
    return found, which.astype(np.intp)


def _factors(covariances: NodeCovariances, size: int) -> Array:
    """Return factors of the nodes' covariances, (G, P, P)."""
    if isinstance(covariances, SharedBasis):
        found = covariances.basis * np.sqrt(covariances.variances)[:, None]
    elif isinstance(covariances, Factors):
        found = covariances.factors
    elif isinstance(covariances, Joined):
        return np.concatenate([_factors(part, size) for part in covariances.parts])
    else:
        raise TypeError(f"Nodes of {type(covariances).__name__} have no factors.")
    return np.concatenate([found, np.zeros((*found.shape[:2], size - found.shape[2]))], axis=2)
