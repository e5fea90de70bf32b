"""A problem's rows under its known errors, and with a scatter added to them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..measurements.compressed import Compressed, Groups, Rows, compress, distinct, group
from ..measurements.correlated.covariance import Covariance
from ..measurements.correlated.loadings import Loadings, eliminated
from .scaling import Scaling

__all__ = ["Correlated", "UnderScatters", "state_of"]

Array = NDArray[np.float64]

Correlated = Covariance | Loadings
"""What errors of the target have in common from row to row."""

# Rows whose known errors take at most so many values are factored once a value.
_MAX_GROUPS = 64


def state_of(
    rows: Rows,
    standard_error: Array | float | None,
    correlated: Correlated | None = None,
    like: Compressed | None = None,
) -> Compressed:
    """Return rows divided by their errors, compressed; without any of one."""
    unit = 1.0 if standard_error is None else standard_error
    if isinstance(correlated, Covariance):
        return correlated.compress(rows, like)
    return compress(rows, unit, like=like) if correlated is None else correlated.compress(rows, unit)


class UnderScatters:
    """What a `Problem` says of its rows under errors."""

    rows: Rows
    standard_error: Array | float | None
    correlated: Correlated | None
    state: Compressed
    scaling: Scaling
    remembered: dict[tuple[float, bool], tuple[Array, float]] | None

    @property
    def error_unit(self) -> float:
        """The unit of the model's errors."""
        raise NotImplementedError

    @cached_property
    def factor(self) -> tuple[Array, float]:
        """The triangle of [1, x, y] and the summed log errors, in the model's units."""
        return self.in_model_units(self.state)

    def in_model_units(self, state: Compressed) -> tuple[Array, float]:
        log_error = state.log_error - state.total_weight * float(np.log(self.error_unit))
        return self.scaling.factor(state, self.error_unit), log_error

    def factor_at(self, scatter: float, source: Groups | None = None) -> tuple[Array, float]:
        """Return what `factor` does, with a scatter (in the model's units) added to every error."""
        key = float(scatter), source is None
        if self.remembered is not None and key in self.remembered:
            return self.remembered[key]
        if self.n_loadings:
            found = self.without_loadings(*self.with_loadings.factor_at(scatter, source))
        else:
            found = self.in_model_units(self._state_at(scatter * self.scaling.y_scale, source))
        most = 2**24  # numbers in the triangles that are remembered
        if self.remembered is not None and len(self.remembered) * self.state.factor.size < most:
            self.remembered[key] = found
        return found

    def _state_at(self, scatter: float, source: Groups | None) -> Compressed:
        if source is not None:
            return source.compress(scatter)
        if self.standard_error is None:
            raise ValueError("There are no known errors that a scatter could be added to.")
        if not isinstance(self.correlated, Covariance):
            return compress(self.rows, self.standard_error, scatter, self.state)
        if "turned" not in self.passed:
            self.passed["turned"] = self.correlated.turned(self.rows, self.state.origin)
        return self.passed["turned"].compress(scatter, self.state)

    @cached_property
    def errors_vary(self) -> bool:
        """Whether known errors take more values than rows are factored once for."""
        error = self.standard_error
        if isinstance(self.correlated, Covariance):
            return False
        return isinstance(error, np.ndarray) and error.ndim > 0 and distinct(error, _MAX_GROUPS) is None

    @cached_property
    def passed(self) -> dict[str, Any]:
        """What passes over the rows have found that does not depend on priors of coefficients, by its name."""
        return {}

    @cached_property
    def groups(self) -> Groups | None:
        """The rows gathered by their known error, or None where that would leave more rows than there are."""
        if isinstance(self.correlated, Covariance):
            return None
        if self.n_loadings:
            return self.with_loadings.groups
        if _MAX_GROUPS * (self.rows.n_features + 2) > len(self.rows.y):
            return None
        error = np.broadcast_to(np.asarray(self.standard_error, dtype=np.float64), self.rows.y.shape)
        return group(self.rows, error, self.state, _MAX_GROUPS)

    @property
    def n_loadings(self) -> int:
        """How many errors rows share whose loadings are known."""
        return self.correlated.count if isinstance(self.correlated, Loadings) else 0

    @property
    def with_loadings(self: Any) -> Any:
        """The problem that has the loadings of errors that rows share as further features; where none are, this."""
        return self.beside_loadings if self.n_loadings else self

    @cached_property
    def beside_loadings(self: Any) -> Any:
        """The same where there are some."""
        rows, more = self.correlated.beside(self.rows), np.ones(self.correlated.count)
        scaling = replace(
            self.scaling,
            x_mean=np.append(self.scaling.x_mean, 0.0 * more),
            x_scale=np.append(self.scaling.x_scale, self.scaling.y_scale * more),
        )
        state = compress(rows, self.standard_error)
        return replace(self, rows=rows, state=state, scaling=scaling, correlated=None, remembered=None)

    @property
    def scatter_unit(self) -> float:
        """Geometric mean of the known errors, in the model's units."""
        raise NotImplementedError

    @cached_property
    def mostly_shared(self) -> bool:
        """Whether rows' errors, what they share included, are many times as large as what they have of their own.

        A scatter then changes the rows at the size of either.
        """
        error = self.standard_error
        if self.correlated is None or error is None:
            return False
        if isinstance(self.correlated, Loadings):
            error = np.hypot(error, np.linalg.norm(self.correlated.values, axis=1))
        logs = np.log(np.broadcast_to(np.asarray(error), self.rows.y.shape))
        whole = float(np.exp(np.average(logs, weights=self.rows.frequency))) / self.error_unit
        many_times = 5.0
        return whole > many_times * self.scatter_unit

    @cached_property
    def typical_correlated_error(self) -> float:
        """One over the root of the mean eigenvalue of the inverse covariance, in the model's units."""
        if isinstance(self.correlated, Covariance):
            precision = self.correlated.mean_precision
        else:
            inverse = self.solved(np.zeros((len(self.rows.y), 0)))[1]
            precision = float(np.average(inverse, weights=self.rows.frequency))
        return 1.0 / (self.error_unit * np.sqrt(precision))

    def solved(self, columns: Array, scatter: float = 0.0) -> tuple[Array, Array]:
        """Return the inverse covariance of the errors times columns, (n, m), and its diagonal, (n,), (69c).

        Columns and scatter are in the data's units. Of rows that do not count both are zero.
        """
        if isinstance(self.correlated, Covariance):
            return self.correlated.solved(columns, scatter)
        if self.correlated is None:
            raise ValueError("Errors are independent.")
        error = np.broadcast_to(np.asarray(self.standard_error, dtype=np.float64), self.rows.y.shape)
        return self.correlated.solved(columns, error, self.rows.frequency, scatter)

    def covariance_of(self, used: NDArray[np.intp]) -> Array:
        """Return the covariance of the errors of some rows, which may be copies, in the data's unit."""
        if isinstance(self.correlated, Covariance):
            return self.correlated.dense()[np.ix_(used, used)]
        if self.correlated is None:
            raise ValueError("Errors are independent.")
        error = np.broadcast_to(np.asarray(self.standard_error, dtype=np.float64), self.rows.y.shape)
        loadings = self.correlated.values[used]
        return np.diag(np.square(error[used])) + loadings @ loadings.T

    def without_loadings(self, factors: Any, log_errors: Any) -> tuple[Any, Any]:
        """Return triangles and log errors of `with_loadings`, the shared errors eliminated, (69b)."""
        if not self.n_loadings:
            return factors, log_errors
        found, more = eliminated(factors, self.n_loadings)
        return found, log_errors + more

    def weighted(self: Any, frequency: Array) -> Any:
        """Return the problem of the same rows, each of which counts so often; units and priors stay."""
        rows, correlated = replace(self.rows, frequency=frequency), self.correlated
        if isinstance(correlated, Covariance):
            correlated = correlated.among(np.flatnonzero(frequency))
        state = state_of(rows, self.standard_error, correlated)
        return self.conditional_on(replace(self, rows=rows, correlated=correlated, state=state))
