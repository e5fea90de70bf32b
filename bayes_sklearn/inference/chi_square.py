"""How far rows lie from the line in units of their known errors, by degrees of freedom: MSWD, reduced chi-square."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from ..measurements.compressed import taken
from ..measurements.correlated.shared_readings import readings_of
from ..measurements.feature_errors import FeatureErrors
from .posterior import Posterior
from .problem import Problem

__all__ = ["ChiSquare"]

Array = NDArray[np.float64]


class ChiSquare(NamedTuple):
    """The sum of squares by degrees of freedom, and the probability of one as large where the errors are right."""

    reduced: float
    """NaN where there are no degrees of freedom."""
    probability: float

    @classmethod
    def of(cls, posterior: Posterior, problem: Problem) -> ChiSquare:
        """Return the figures of the line of the least sum of squares, whatever the priors.

        That of posterior means, which priors draw towards zero, may lie further off by more than chance. Rows of a
        frequency k count k times.

        Parameters
        ----------
        posterior : Posterior
            On the data's scale.
        problem : Problem
            Whose errors of the target are known, and normal.
        """
        state, first = problem.state, int(not problem.fit_intercept)
        factor = state.about(np.zeros(len(state.origin))) if first else state.factor
        root, z = factor[:, first:-1], factor[:, -1]
        line, _, rank, _ = np.linalg.lstsq(root, z, rcond=None)
        degrees = state.total_weight - _incomplete(problem) - int(rank)
        if degrees <= 0.0:
            return cls(float("nan"), 1.0)
        total = float(np.square(z - root @ line).sum())
        if problem.feature_errors is not None:
            rows = _MeasuredRows.of(posterior, problem, problem.feature_errors)
            if not first:  # about the place where the posterior's line is, too
                line[0] += state.origin[-1] + line[1:] @ (posterior.center - state.origin[:-1])
            total = 2.0 * min(
                optimize.least_squares(rows.distance, start, rows.derivatives, x_scale="jac").cost
                for start in (posterior.mean[first:], line)
            )
        return cls(total / degrees, float(stats.chi2.sf(total, degrees)))


def _incomplete(problem: Problem) -> float:
    """Return how many rows lack a feature or the target: these may lie anywhere."""
    if problem.unmeasured is None:
        return 0.0
    frequency = problem.rows.frequency
    lacking = problem.unmeasured.any(axis=1)
    return float(np.count_nonzero(lacking) if frequency is None else frequency[lacking].sum())


class _MeasuredRows(NamedTuple):
    """Rows whose features have errors: what they lie off a line b is ``y - x' b``, of variance ``v``.

    It is ``v = e**2 + b' U b - 2 b' c``, U being the covariance of the features' errors and c theirs with the
    target's (York et al. 2004, American Journal of Physics 72:367-375).
    """

    design: Array
    y: Array
    square_error: Array
    covariance: Array
    """(n, q, q), or (q, q) for all rows."""
    with_target: Array
    """(n, q), or (q,)."""
    noisy: NDArray[np.intp]
    """(q,) columns of the design."""
    root_frequency: Array

    @classmethod
    def of(cls, posterior: Posterior, problem: Problem, errors: FeatureErrors) -> _MeasuredRows:
        if errors.groups is not None:
            return cls._of_shared(posterior, problem, errors)
        rows, first = problem.rows, int(not problem.fit_intercept)
        used = rows.used
        if problem.unmeasured is not None:
            used = used[np.asarray(~problem.unmeasured[used].any(axis=1))]
        errors = errors.take(used)
        here = rows.here(np.append(posterior.center, 0.0))
        x = rows.take(used) - here[:-1]
        with_target = np.zeros(len(errors.noisy)) if errors.with_target is None else errors.with_target
        return cls(
            np.column_stack([np.ones(len(used)), x])[:, first:],
            rows.y[used] - here[-1],
            np.square(taken(np.asarray(problem.standard_error, dtype=np.float64), used)),
            errors.covariance,
            with_target,
            errors.noisy + 1 - first,
            np.ones(len(used)) if rows.frequency is None else np.sqrt(rows.frequency[used]),
        )

    @classmethod
    def _of_shared(cls, posterior: Posterior, problem: Problem, errors: FeatureErrors) -> _MeasuredRows:
        """Return means of rows that share a reading, and what these differ in, which has no error of features."""
        read = readings_of(problem.rows, errors, problem.standard_error)
        if read.apart is None:  # for the type checker
            raise AssertionError
        apart, copies = read.apart, read.apart.copies
        whole = replace(problem, rows=read.rows, feature_errors=read.errors)
        means = cls.of(
            posterior, replace(whole, standard_error=read.standard_error / np.sqrt(copies)), read.errors
        )
        exact = np.setdiff1d(np.arange(means.design.shape[1]), means.noisy)[int(problem.fit_intercept) :]
        away = np.zeros((len(apart.y), means.design.shape[1]))
        away[:, exact] = apart.exact
        covariance = np.broadcast_to(means.covariance, (len(copies), *means.covariance.shape[-2:]))
        return cls(
            np.concatenate([means.design, away]),
            np.append(means.y, apart.y),
            np.append(means.square_error, np.square(apart.error)),
            np.concatenate([covariance, np.zeros((len(away), *covariance.shape[1:]))]),
            means.with_target,
            means.noisy,
            np.append(means.root_frequency, np.sqrt(apart.frequency)),
        )

    def distance(self, line: Array) -> Array:
        """Return how far rows lie off, in standard deviations."""
        return self.root_frequency * (self.y - self.design @ line) / np.sqrt(self._variance(line)[0])

    def derivatives(self, line: Array) -> Array:
        variance, slopes = self._variance(line)
        found = -self.root_frequency[:, None] * self.design / np.sqrt(variance)[:, None]
        found[:, self.noisy] -= (self.distance(line) / variance)[:, None] * slopes
        return found

    def _variance(self, line: Array) -> tuple[Array, Array]:
        """Return v, (n,), and half of its derivatives by the noisy features' coefficients, (n, q) or (q,)."""
        slope = line[self.noisy]
        slopes = self.covariance @ slope - self.with_target
        variance = self.square_error + (slopes - self.with_target) @ slope
        return np.broadcast_to(variance, self.y.shape), slopes
