"""Predictions of shares: the line is that of the log odds, and a new share may have a count behind it.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ..inference.numerics.quadrature import gauss_rule
from ..inference.posterior import Posterior, row_blocks
from ..measurements.checks import check_n_samples
from ..measurements.compressed import Rows
from ..measurements.messages import warn
from .distribution import PredictiveDistribution, generator
from .mixtures.counts import LatticeMixture
from .mixtures.few_points import bandwidth, gaussians, matched, moments, on_grid, spread_out
from .mixtures.normal import Mixture
from .mixtures.shares import LEAST_DISPERSION, BetaMixture, LogitNormalMixture, Pair, Stacked

__all__ = ["SharePredictive"]

Array = NDArray[np.float64]

# Rows of a block; what is done row by row is then not lost in calls.
_BLOCK_ROWS = 64

# The log odds' standard deviation over the noise's, up to which a row's noise counts as wide.
_RATIO = 0.7

# Points of the kernel estimate for the mean share, and for rows whose noise is narrow.
_KERNEL_POINTS, _NARROW_POINTS = 129, 65

# Where nodes are Gaussians, those for rows whose noise is narrow: so many, up to so wide, to be about beta as shares.
_NARROW_GAUSSIANS, _WIDEST = 129, 0.15

# Points of the Gauss rules for rows whose noise is wide, and of the grid that nodes are put on first.
_BINOMIAL_POINTS, _BETA_POINTS, _GRID = 12, 5, 257

# The dispersion: strata, each at its mean, where the noise is wide; points of a Gauss rule where it is narrow.
_STRATA, _DISPERSION_POINTS = 8, 2

_TINY = 1e-300


class _Components(NamedTuple):
    """Weights, mean shares, what they leave of one, and dispersions, (n, M) each."""

    weights: Array
    share: Array
    rest: Array
    dispersion: Array


class SharePredictive(PredictiveDistribution):
    """Distribution of shares whose log odds follow the regression line, under a posterior whose nodes are points.

    What it is of depends on what is given: without dispersion and counts, of the mean share of such rows; with a
    dispersion, of the share that underlies a new row, a beta distribution about the mean share; with counts n, of a
    new observed share k / n, which is discrete. A count of 0 is one that is not known: that row's distribution is of
    its underlying share.

    Means, variances and, with noise that is wide enough, densities are sums over the posterior's nodes, (40). The
    rest is of fewer points that stand for a row's nodes. Where the noise (of a finite count, and of the dispersion)
    is wider than what the posterior leaves open of the log odds, they are the points of a Gauss quadrature.
    Elsewhere, and without noise, they are Gaussians on the scale of the log odds that smooth the nodes and keep
    their mean and variance, so that densities and quantiles are smooth; where the log odds are Gaussian these are
    the logit-normal's.

    Parameters
    ----------
    posterior : Posterior
        Of the log odds.
    X : ndarray of shape (n, k)
        New rows, as given to predict.
    features : ndarray of intp or None
        Columns of X that are features; None: all.
    seed : int
        For draws where no random state is given.
    index : optional
        Row labels for `to_frame`.
    dispersion : ndarray of shape (G,), optional
        Intraclass correlation rho at the nodes, in [0, 1): an underlying share of mean mu is
        Beta(mu (1 - rho) / rho, (1 - mu) (1 - rho) / rho).
    counts : float or ndarray of shape (n,), optional
        Whole numbers behind the new shares, 0 where not known.
    feature_error : ndarray of shape (G,), optional
        Variance of the log odds that errors of the features add, at every node.
    counts_in_fit : float, optional
        The count behind every row of the fit; None: they differ.
    """

    def __init__(
        self,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None,
        seed: int,
        index: Any = None,
        *,
        dispersion: Array | None = None,
        counts: Array | float | None = None,
        feature_error: Array | None = None,
        counts_in_fit: float | None = None,
    ):
        self._counts_in_fit = counts_in_fit
        self._posterior = posterior
        self._rows = Rows(X, np.empty(0), features)
        self._seed = seed
        self.index = index
        self._dispersion = dispersion
        self._counts = np.broadcast_to(
            np.asarray(0.0 if counts is None else counts, dtype=np.float64), len(X)
        )
        self._feature_error = feature_error
        self._has_feature_error = feature_error is not None
        self._line_spread = feature_error is not None or bool(
            posterior.covariances.root(posterior.weights).any()
        )

    def __len__(self) -> int:
        return len(self._rows.X)

    def mean(self) -> Array:
        return self._moments()[0]

    def var(self) -> Array:
        return np.sum(list(self.variance_parts.values()), axis=0)

    def mean_and_std(self) -> tuple[Array, Array]:
        mean, *parts = self._moments()
        return mean, np.sqrt(np.sum(parts, axis=0))

    def pit(self, y: ArrayLike) -> Array:
        """Return the probability of less than y and half of that of y itself, where shares are discrete."""
        below = self.cdf(y)
        known = self._counts > 0.0
        if not known.any():
            return below
        of_cell = self.pdf(y) / np.maximum(self._counts, 1.0)
        return np.where(known, below - 0.5 * of_cell, below)

    def of_measurements(self) -> SharePredictive:
        """Return the distribution of observed shares, which scores are of.

        Warns
        -----
        UserWarning
            Where counts are not known: a score is then that of the underlying share.
        """
        known = self._counts > 0.0
        if (known if self.measured is None else known | ~self.measured).all():
            return self
        if self._counts_in_fit is None:
            warn(
                "Shares are scored without the counts behind them, as if they were the shares that underlie: keep the"
                " counts in a column of X (count_column), or give the scorer counts (metadata routing).",
                UserWarning,
            )
            return self
        other = copy(self)
        other._counts = np.where(known, self._counts, self._counts_in_fit)
        return other

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of: name to (n,) variances that add up to `var()`.

        ``parameters``: what the rows left open of the mean share; ``scatter``: extra-binomial variation, rho mu (1 -
        mu); ``target_error``: zero, as other likelihoods have it; ``finite_count``: the rest of the (beta-)binomial
        variance of a share of a finite count; ``feature_error``: the errors of the new row's features.
        """
        _, parameters, feature_error, scatter, finite_count = self._moments()
        parts = {"parameters": parameters}
        if self._has_feature_error:
            parts["feature_error"] = feature_error
        return parts | {
            "scatter": scatter,
            "target_error": np.zeros(len(self)),
            "finite_count": finite_count,
        }

    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n): of the mean shares, and the noise beside."""
        n, weights = len(self), self._posterior.weights
        away = np.empty((n, len(weights)))
        for rows in self._blocks():
            shares = self._node_shares(rows)[0]
            away[rows] = shares - (shares @ weights)[:, None]
        covariance = (away * weights) @ away.T
        covariance[np.diag_indices(n)] = self.var()
        return covariance

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples); each column is one draw of the line, with noise row by row.

        With ``random_state=None`` the seed is the one fixed in fit, so the draws are the same every time.
        """
        check_n_samples(n_samples)
        rng = generator(self._seed if random_state is None else random_state)
        coefficients, nodes = self._posterior.draw(n_samples, rng)
        answer = np.empty((len(self), n_samples))
        for rows in row_blocks(len(self), n_samples + coefficients.shape[1]):
            eta = self._drawn_eta(rows, coefficients, nodes, rng)
            share = expit(eta)
            if self._dispersion is not None:
                share = _drawn_beta(share, expit(-eta), self._dispersion[nodes], rng)
            counts = self._counts[rows, None]
            if counts.any():
                observed = rng.binomial(counts.astype(np.int64), share) / np.maximum(counts, 1.0)
                share = np.where(counts > 0.0, observed, share)
            answer[rows] = share
        return answer

    def _design(self, rows: slice) -> Array:
        """Return rows of (1, x - center)."""
        centred = self._rows.take(rows) - self._posterior.center
        return np.concatenate([np.ones((len(centred), 1)), centred], axis=1)

    def _eta(self, rows: slice) -> tuple[Array, Array]:
        """Return the means and variances of the log odds at every node, (rows, G) each."""
        means, variances = self._posterior.linear(self._design(rows))
        return means, variances if self._feature_error is None else variances + self._feature_error

    def _drawn_eta(
        self, rows: slice, coefficients: Array, nodes: NDArray[np.intp], rng: np.random.Generator
    ) -> Array:
        """Return draws of the log odds, (rows, draws), the coefficients at the nodes named being these."""
        eta = self._design(rows) @ coefficients.T
        if self._feature_error is not None:
            eta += np.sqrt(self._feature_error[nodes]) * rng.standard_normal(eta.shape)
        return eta

    def _points(self, rows: slice) -> tuple[Array, Array, Array | None]:
        """Return a sample of the log odds at some rows, (rows, S), weights and dispersions, (S,) each."""
        return self._spread(*self._eta(rows))

    def _spread(self, means: Array, variances: Array) -> tuple[Array, Array, Array | None]:
        weights, dispersion = self._posterior.weights, self._dispersion
        if not self._line_spread:
            return means, weights, dispersion
        points, weights, nodes = spread_out(means, np.sqrt(variances), weights)
        return points, weights, None if dispersion is None else dispersion[nodes]

    def _node_shares(self, rows: slice) -> tuple[Array, Array]:
        """Return mean and variance of the mean share at every node, (rows, G) each."""
        means, variances = self._eta(rows)
        if not self._line_spread:
            return expit(means), np.zeros((1, 1))
        points, masses, _ = spread_out(means, np.sqrt(variances), np.ones(means.shape[1]))
        points = expit(points).reshape(*means.shape, -1)
        rule = masses.reshape(means.shape[1], -1)[0]
        shares = points @ rule
        return shares, np.square(points - shares[:, :, None]) @ rule

    def _moments(self) -> tuple[Array, Array, Array, Array, Array]:
        """Return mean and variance by parameters, features' errors, dispersion and finite counts, (n,) each."""
        mean, parameters, feature_error, scatter, finite = np.empty((5, len(self)))
        weights = self._posterior.weights
        dispersed = weights * (0.0 if self._dispersion is None else self._dispersion)
        for rows in self._blocks():
            shares, within = self._node_shares(rows)
            mean[rows] = shares @ weights
            parameters[rows] = np.square(shares - mean[rows, None]) @ weights
            feature_error[rows] = within @ weights if self._line_spread else 0.0
            bernoulli = shares * (1.0 - shares) - within
            scatter[rows] = bernoulli @ dispersed
            finite[rows] = bernoulli @ (weights - dispersed)
        known = self._counts > 0.0
        finite = np.where(known, finite / np.maximum(self._counts, 1.0), 0.0)
        return mean, parameters, feature_error, scatter, finite

    def _blocks(self) -> Iterator[slice]:
        return row_blocks(len(self), len(self._posterior.weights))

    @property
    def _width(self) -> int:
        return max(1, 2**17 // _BLOCK_ROWS)

    def _mixture(self, rows: slice) -> Mixture:
        nodes, within = self._eta(rows)
        counts = self._counts[rows]
        if self._dispersion is None and not counts.any():
            return self._line(nodes, within)
        eta, weights, dispersion = self._spread(nodes, within)
        known = counts > 0.0
        inverse = np.where(known, 1.0 / np.maximum(counts, 1.0), 0.0)
        mean, sd = moments(eta, weights)
        # The noise at the share within two standard deviations at which it is least on the scale of the log odds.
        nearest = np.maximum(np.abs(mean) - 2.0 * sd, 0.0)
        width = sd * np.sqrt(expit(nearest) * expit(-nearest))
        wide = width <= _RATIO * np.sqrt(inverse + self._least_dispersion)
        parts: list[tuple[NDArray[np.intp], Mixture]] = []
        for is_known in (True, False):
            for is_wide in (True, False):
                here = np.flatnonzero((known == is_known) & (wide == is_wide))
                if not len(here):
                    continue
                if dispersion is None and not is_known:
                    parts.append((here, self._line(nodes[here], within[here])))
                    continue
                if is_wide:
                    components = self._wide(eta[here], weights, dispersion)
                else:
                    components = self._narrow(nodes[here], within[here])
                # Densities, which scores take the log of, are of all nodes where they are smooth enough by the noise.
                full = _every_node(eta[here], weights, dispersion) if is_wide else components
                if is_known:
                    every: Mixture = LatticeMixture(counts[here], *full)
                    parts.append((here, Pair(every, LatticeMixture(counts[here], *components))))
                else:
                    parts.append((here, Pair(BetaMixture(*full), BetaMixture(*components))))
        return parts[0][1] if len(parts) == 1 else Stacked(len(eta), tuple(parts))

    def _wide(self, eta: Array, weights: Array, dispersion: Array | None) -> _Components:
        """Return components for rows whose noise is wider than the log odds' distribution."""
        if dispersion is None:
            points, masses = _rule(eta, weights, _BINOMIAL_POINTS)
            return _components(masses, points, np.zeros_like(points))
        if len(weights) <= _STRATA * _BETA_POINTS:
            return _every_node(eta, weights, dispersion)
        found = []
        for nodes in self._strata:
            mass = weights[nodes].sum()
            points, masses = _rule(eta[:, nodes], weights[nodes] / mass, _BETA_POINTS)
            level = float(weights[nodes] @ dispersion[nodes]) / mass
            found.append(_components(mass * masses, points, np.full_like(points, level)))
        return _Components(*(np.concatenate(columns, axis=1) for columns in zip(*found, strict=True)))

    def _line(self, means: Array, variances: Array) -> Mixture:
        """Return the distributions of the mean shares."""
        weights = self._posterior.weights
        if self._line_spread:
            return LogitNormalMixture(*gaussians(means, variances, weights, _KERNEL_POINTS))
        return LogitNormalMixture(*_smoothed(means, weights, _KERNEL_POINTS))

    def _narrow(self, means: Array, variances: Array) -> _Components:
        """Return components for rows whose noise is narrower: smoothed as the line is."""
        weights, dispersion = self._posterior.weights, self._dispersion
        if self._line_spread:
            masses, centres, kernel = gaussians(means, variances, weights, _NARROW_GAUSSIANS, _WIDEST)
        else:
            masses, centres, kernel = _smoothed(means, weights, _NARROW_POINTS)
        # The kernel is a beta distribution with the mean and variance that a Gaussian one has as shares.
        points, rule, _ = spread_out(
            centres, np.broadcast_to(kernel, centres.shape), np.ones(centres.shape[1])
        )
        points, rule = points.reshape(*centres.shape, -1), rule.reshape(centres.shape[1], -1)[0]
        shares = expit(points)
        share, rest = shares @ rule, expit(-points) @ rule
        added = (np.square(shares - share[:, :, None]) @ rule) / np.maximum(share * rest, _TINY)
        if dispersion is None:
            return _Components(masses, share, rest, added)
        levels, parts = gauss_rule(dispersion[None], weights, _DISPERSION_POINTS)
        found = [
            (part * masses, share, rest, level + (1.0 - level) * added)
            for level, part in zip(levels[0], parts[0], strict=True)
        ]
        return _Components(*(np.concatenate(columns, axis=1) for columns in zip(*found, strict=True)))

    @cached_property
    def _least_dispersion(self) -> float:
        """A dispersion that the posterior hardly goes below."""
        if self._dispersion is None:
            return 0.0
        return float(
            np.quantile(self._dispersion, 0.05, weights=self._posterior.weights, method="inverted_cdf")
        )

    @cached_property
    def _strata(self) -> list[NDArray[np.intp]]:
        """Points of the sample in strata of the dispersion, of about equal weight."""
        _, weights, dispersion = self._points(slice(0, 0))
        if dispersion is None:
            return []
        order = np.argsort(dispersion, kind="stable")
        stratum = np.minimum(np.cumsum(weights[order]) * _STRATA, _STRATA - 1).astype(np.intp)
        found = [order[stratum == k] for k in range(_STRATA)]
        return [nodes for nodes in found if weights[nodes].any()]


def _smoothed(eta: Array, weights: Array, size: int) -> tuple[Array, Array, Array]:
    """Return weights and means, (n, size) each, and sds, (n, 1), of Gaussians that smooth the nodes."""
    mean, sd = moments(eta, weights)
    masses, centres = on_grid(eta, weights, size)
    kernel = bandwidth(weights) * sd
    centres = matched(centres, masses, mean, np.sqrt(np.square(sd) - np.square(kernel)))
    return masses, centres, kernel[:, None]


def _rule(eta: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Return points and weights, (n, size) each, of a Gauss rule of the nodes, put on a fine grid first."""
    masses, centres = on_grid(eta, weights, _GRID)
    return gauss_rule(matched(centres, masses, *moments(eta, weights)), masses, size)


def _every_node(eta: Array, weights: Array, dispersion: Array | None) -> _Components:
    """Return the nodes themselves as components."""
    levels = np.zeros(1) if dispersion is None else dispersion
    return _components(np.broadcast_to(weights, eta.shape), eta, np.broadcast_to(levels, eta.shape))


def _components(weights: Array, eta: Array, dispersion: Array) -> _Components:
    return _Components(weights, expit(eta), expit(-eta), dispersion)


def _drawn_beta(share: Array, rest: Array, dispersion: Array, rng: np.random.Generator) -> Array:
    """Return draws from beta distributions about shares; the share itself where there is no dispersion."""
    precision = (1.0 - dispersion) / np.maximum(dispersion, LEAST_DISPERSION)
    return rng.beta(np.maximum(share * precision, _TINY), np.maximum(rest * precision, _TINY))
