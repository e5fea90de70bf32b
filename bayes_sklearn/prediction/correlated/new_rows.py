"""New rows of which the errors have something in common with those of the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...inference.posterior import Posterior
from ..line import LinearPredictive, LinearPredictor
from ..noise import NoiseModel
from .kriging import KrigedPredictive
from .told import ToldBySharedErrors

__all__ = ["NewRows"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NewRows:
    """New rows, and what they say of their errors."""

    posterior: Posterior
    """On the data's scale."""
    noise_model: NoiseModel
    X: NDArray[np.floating]
    features: NDArray[np.intp] | None
    y_err: object
    """As given to predict."""
    columns: Mapping[str, Array]
    """Columns of X that hold it, by the estimator's arguments."""
    seed: int
    index: Any

    def shared(self, told: ToldBySharedErrors, loadings: Array) -> LinearPredictive:
        """Return their distribution where they share errors with the training rows, as coefficients they are."""
        # A row's own error is what it states beside those that are shared.
        own = replace(self.noise_model, typical_error=told.own_error)
        stated = own.check(len(self.X), None, self.y_err, self.columns)
        multiple, _ = self.noise_model.noise.parts(self.posterior.noise_scale, self.posterior.scatter)
        posterior = told.joined(self.posterior, np.broadcast_to(multiple, self.posterior.weights.shape))
        table = np.column_stack([self._features, loadings])
        line = LinearPredictor.of(posterior, table)
        return LinearPredictive(line, own.parts(None, **stated), self.seed, self.index)

    def kriged(self, common: Mapping[str, Any]) -> KrigedPredictive:
        """Return their distribution where the covariance with the training rows' errors is known."""
        stated = self.noise_model.check(len(self.X), None, self.y_err, self.columns)
        error = np.asarray(stated.get("y_err", self.noise_model.typical_error), dtype=np.float64)
        square = np.broadcast_to(np.square(error), len(self.X))
        x = np.asarray(self._features, dtype=np.float64) - self.posterior.center
        design = np.column_stack([np.ones(len(x)), x])
        errors = common["y_cov_with_train"]
        return KrigedPredictive(
            self.posterior, self.noise_model.noise, design, square, errors, self.seed, self.index
        )

    @property
    def _features(self) -> NDArray[np.floating]:
        return self.X if self.features is None else self.X[:, self.features]
