"""Targets whose errors go together, by brute force: dense covariances, and an integral over the noise.

Nothing here is shared with the package, neither code nor route: at every noise scale s and scatter t

    y | s, t ~ Normal(A mu, A D A' + s^2 V + t^2 I),

with the priors' mean mu and covariance D, and both are integrated by Gauss-Legendre rules in their logs. It is for
small tables.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from oracle import standardisation

__all__ = ["Dense", "dense"]

Array = NDArray[np.float64]

# Standard deviations of the coefficients' and the intercept's prior, in units of the target's.
COEF_SIGMA, INTERCEPT_SIGMA = 1.0, 2.0


@dataclass(frozen=True)
class Dense:
    """A model of rows, and its nodes: noise scales and scatters, with the logs of a rule's weights times priors."""

    design: Array
    y: Array
    V: Array
    """(n, n)"""
    mu: Array
    """(P,) of the coefficients' prior, the intercept first, ..."""
    D: Array
    """... and their covariance, (P, P)."""
    s: Array
    t: Array
    log_rule: Array

    def _joint(self, design: Array, V: Array) -> tuple[Array, Array]:
        """Mean and covariance at every node of rows, in which V is what is multiplied."""
        own = np.square(self.s)[:, None, None] * V + np.square(self.t)[:, None, None] * np.eye(len(V))
        return design @ self.mu, design @ self.D @ design.T + own

    def log_density(self) -> Array:
        """Log density of y at every node."""
        mean, covariance = self._joint(self.design, self.V)
        root = np.linalg.cholesky(covariance)
        white = np.linalg.solve(root, np.broadcast_to((self.y - mean)[:, None], (len(root), len(mean), 1)))[
            ..., 0
        ]
        log_volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        return -0.5 * np.square(white).sum(axis=1) - log_volume - 0.5 * len(mean) * np.log(2.0 * np.pi)

    @property
    def log_evidence(self) -> float:
        return float(np.logaddexp.reduce(self.log_rule + self.log_density()))

    @property
    def weights(self) -> Array:
        log_weights = self.log_rule + self.log_density()
        return np.exp(log_weights - np.logaddexp.reduce(log_weights))

    def without(self, row: int) -> "Dense":
        kept = np.delete(np.arange(len(self.y)), row)
        return Dense(
            self.design[kept],
            self.y[kept],
            self.V[np.ix_(kept, kept)],
            self.mu,
            self.D,
            self.s,
            self.t,
            self.log_rule,
        )

    def coefficients(self) -> tuple[Array, Array]:
        """Posterior mean and covariance of (intercept, coef)."""
        mean, covariance = self._joint(self.design, self.V)
        gain = np.linalg.solve(
            covariance, np.broadcast_to(self.design @ self.D, (len(covariance), *self.design.shape))
        )
        means = self.mu + np.einsum("gnp,n->gp", gain, self.y - mean)
        within = self.D - np.einsum("gnp,nq->gpq", gain, self.design @ self.D)
        overall = self.weights @ means
        away = means - overall
        return overall, np.einsum("g,gpq->pq", self.weights, within + away[:, :, None] * away[:, None, :])

    def new(self, X: ArrayLike, variance: ArrayLike, cross: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of new measurements, whose errors have a covariance with those of the rows."""
        rows, cross = np.asarray(X, dtype=float), np.asarray(cross)
        design = np.column_stack([np.ones(len(rows)), rows])
        mean, covariance = self._joint(self.design, self.V)
        means, variances = np.empty((2, len(rows), len(self.s)))
        for i, row in enumerate(design):
            with_rows = self.design @ self.D @ row + np.square(self.s)[:, None] * cross[i]
            gain = np.linalg.solve(covariance, with_rows[:, :, None])[:, :, 0]
            own = (
                row @ self.D @ row
                + np.square(self.s) * np.broadcast_to(variance, len(rows))[i]
                + np.square(self.t)
            )
            means[i] = row @ self.mu + gain @ (self.y - mean)
            variances[i] = own - np.einsum("gn,gn->g", gain, with_rows)
        overall = means @ self.weights
        return overall, np.sqrt((variances + np.square(means - overall[:, None])) @ self.weights)


def _rule(low: float, high: float, panels: int, order: int = 8) -> tuple[Array, Array]:
    """Points and log weights of an integral over a positive number, in its log."""
    nodes, rule = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(low, high, panels + 1)
    half = 0.5 * np.diff(edges)[:, None]
    logs = (edges[:-1, None] + half * (1.0 + nodes)).ravel()
    return np.exp(logs), np.log((half * rule).ravel()) + logs


def dense(X: ArrayLike, y: ArrayLike, V: ArrayLike, noise: str, *, panels: int = 30) -> Dense:
    """The model of ``coef_prior=Normal(), intercept_prior=Normal(0, 2)``, standardised."""
    rows, target, V = (np.asarray(a, dtype=float) for a in (X, y, V))
    n, p = rows.shape
    center, scale, y_center, y_scale = standardisation(rows, target, np.ones(n), fit_intercept=True)
    # In the data's units: B = (intercept at zero, coefficients).
    unit = float(np.exp(0.5 * np.linalg.slogdet(V)[1] / n))  # of errors
    sigma = COEF_SIGMA * y_scale / scale
    to_zero = np.eye(p + 1)
    to_zero[0, 1:] = -center
    D = to_zero @ np.diag(np.append(INTERCEPT_SIGMA * y_scale, sigma) ** 2) @ to_zero.T
    mu = np.append(y_center, np.zeros(p))
    s, log_rule = _rule(np.log(0.02 if noise == "scaled" else 1e-7), np.log(20.0), panels)
    log_s = log_rule + stats.halfnorm.logpdf(s)
    if noise == "known":
        s, t, log_rule = np.ones(1), np.zeros(1), np.zeros(1)
    elif noise == "scaled":
        t, log_rule = np.zeros(len(s)), log_s
    elif noise == "additive":
        t, log_rule = _rule(np.log(1e-9 * y_scale), np.log(20.0 * y_scale), 2 * panels)
        s, log_rule = np.ones(len(t)), log_rule + stats.halfnorm(scale=y_scale).logpdf(t)
    else:
        t, log_t = _rule(np.log(1e-9 * unit), np.log(1e3 * unit), panels)
        halves = np.logaddexp(
            stats.halfcauchy(scale=unit).logpdf(t), stats.halfcauchy(scale=0.01 * unit).logpdf(t)
        )
        log_rule = (log_s[:, None] + log_t + halves - np.log(2.0)).ravel()
        s, t = (a.ravel() for a in np.meshgrid(s, t, indexing="ij"))
    # With next to no noise the rows have no density to speak of, nor a covariance that could be inverted.
    some = np.hypot(s * unit, t) > 1e-3 * unit
    return Dense(np.column_stack([np.ones(n), rows]), target, V, mu, D, s[some], t[some], log_rule[some])
