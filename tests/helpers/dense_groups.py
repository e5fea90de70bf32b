"""Random effects of groups by brute force: dense covariances, and a sum over a grid of all scales.

    y = design B + sum_k Z_k u_k + noise,   B_j ~ Normal(0, prior_sd_j^2),   u_k ~ Normal(0, tau_k^2 I)

Nothing here is shared with the package, neither code nor route. Given the scales (of noise, scatter, effects) the
n x n covariance of the target is written down, and all coefficients follow as a conditional normal distribution.
The scales are summed over a lattice of equal steps, halved until the sum stands.

All is in the units that it is given in: who compares standardises first. Frequency weights are rows repeated.
Coefficients under a prior whose scale is learned are effects, too, with their features as Z. Densities of scales
are those of `oracle`: ``half_normal(1.0).logpdf``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, ndimage, optimize, special, stats

__all__ = ["GroupModel", "GroupPosterior", "Mixture", "group_sets", "indicators", "scatter_density"]

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

# What lies this many nats below the largest value is left out of sums, and scales above the largest.
_DEPTH, _LARGEST = 40.0, 1e5


def scatter_density(errors: ArrayLike) -> LogDensity:
    """Even odds of HalfCauchy(e) and HalfCauchy(e / 100), e the geometric mean of the known errors."""
    size = np.exp(np.mean(np.log(errors)))
    both = stats.halfcauchy(scale=size), stats.halfcauchy(scale=size / 100.0)
    return lambda scale: np.log(0.5 * both[0].pdf(scale) + 0.5 * both[1].pdf(scale))


def indicators(labels: ArrayLike, slope: ArrayLike = 1.0) -> Array:
    """Return Z of an intercept by group, or of a slope: (n, J), groups in the order of their sorted labels."""
    labels = np.asarray(labels)
    member = labels[:, None] == np.unique(labels)
    return member * np.broadcast_to(slope, labels.shape)[:, None]


def group_sets(labels: ArrayLike) -> list[NDArray[np.intp]]:
    """Return the rows of each group, in the order of their sorted labels."""
    return [np.flatnonzero(np.asarray(labels) == label) for label in np.unique(labels)]


@dataclass(frozen=True)
class Mixture:
    """Normal distributions of m rows, mixed: means and standard deviations are (nodes, m)."""

    weights: Array
    means: Array
    deviations: Array

    def mean(self) -> Array:
        return self.weights @ self.means

    def var(self) -> Array:
        return self.weights @ (self.deviations**2 + (self.means - self.mean()) ** 2)

    def cdf(self, y: ArrayLike) -> Array:
        return self.weights @ special.ndtr((np.asarray(y) - self.means) / self.deviations)

    def logpdf(self, y: ArrayLike) -> Array:
        each = stats.norm.logpdf(np.asarray(y), self.means, self.deviations)
        return special.logsumexp(each, axis=0, b=self.weights[:, None])

    def quantile(self, level: float) -> Array:
        mean, reach = self.mean(), 60.0 * np.sqrt(self.var())
        return np.array([self._root(level, i, mean[i], reach[i]) for i in range(len(mean))])

    def _root(self, level: float, i: int, mean: float, reach: float) -> float:
        row = Mixture(self.weights, self.means[:, [i]], self.deviations[:, [i]])
        return optimize.brentq(lambda y: row.cdf(y)[0] - level, mean - reach, mean + reach)


@dataclass(frozen=True)
class GroupPosterior:
    """Nodes over the scales. Coefficients are those of the design's columns, then the effects of each Z's."""

    model: GroupModel
    log_evidence: float
    """Log density of the target; under flat priors with a density of one."""
    weights: Array
    """(nodes,), their sum is one."""
    scales: dict[str, Array]
    """(nodes,) of each: "noise_scale", "scatter", "tau_0", "tau_1", ..."""
    means: Array
    """(nodes, coefficients)"""
    covariances: Array
    """(nodes, coefficients, coefficients)"""
    marginals: dict[str, tuple[Array, Array]]
    """Of each scale: its logs, and the log density of its coordinate there."""

    def mean(self) -> Array:
        return self.weights @ self.means

    def covariance(self) -> Array:
        away = self.means - self.mean()
        return np.einsum("g,gij->ij", self.weights, self.covariances) + (self.weights * away.T) @ away

    def effects(self, k: int) -> slice:
        sizes = [self.model.design.shape[1], *(Z.shape[1] for Z in self.model.effects)]
        return slice(sum(sizes[: k + 1]), sum(sizes[: k + 2]))

    def coefficients(self) -> Mixture:
        """Return the distribution of every coefficient and effect."""
        variances = np.diagonal(self.covariances, axis1=1, axis2=2)
        return Mixture(self.weights, self.means, np.sqrt(variances))

    def scale_moments(self, name: str) -> tuple[float, float]:
        """Return mean and standard deviation of a scale."""
        mean = self.weights @ self.scales[name]
        return float(mean), float(np.sqrt(self.weights @ (self.scales[name] - mean) ** 2))

    def scale_quantile(self, name: str, level: ArrayLike) -> Array:
        """Return quantiles of a scale, from a spline through its marginal log density."""
        log_scale, log_density = self.marginals[name]
        at = np.arange(len(log_scale), dtype=float)
        fine = np.linspace(0.0, at[-1], 50 * len(at))
        density = np.exp(interpolate.CubicSpline(at, log_density)(fine))
        below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
        reached = np.interp(level, below / below[-1], fine)
        return np.exp(interpolate.CubicSpline(at, log_scale)(reached))

    def predictive(
        self,
        design: ArrayLike,
        effects: Sequence[ArrayLike],
        new: Sequence[ArrayLike] = (),
        error: ArrayLike | None = None,
    ) -> Mixture:
        """Return the distribution of m new rows' targets, each by itself.

        Parameters
        ----------
        design : (m, columns)
        effects : one (m, J_k) for each Z; rows of zeros where a group is new
        new : one (m,) for each Z
            What multiplies the effect of a new group: 1, or the feature of a slope; 0 where the group is known.
        error : (m,) or float, optional
            The measurement's known error; None: the line, without noise.
        """
        rows = np.column_stack([np.asarray(design, float), *effects])
        variance = np.einsum("mi,gij,mj->gm", rows, self.covariances, rows)
        for k, factor in enumerate(new):
            variance += np.outer(self.scales[f"tau_{k}"] ** 2, np.broadcast_to(factor, len(rows)) ** 2)
        if error is not None:
            scales = np.reshape(list(self.scales.values()), (len(self.scales), len(self.weights))).T
            variance += self.model.noise_variance(scales, np.broadcast_to(error, len(rows)))
        # Differences of covariances are nothing but rounding where noise is next to none.
        return Mixture(self.weights, self.means @ rows.T, np.sqrt(np.maximum(variance, 1e-20)))


@dataclass(frozen=True)
class GroupModel:
    """The model and the data; up to three unknown scales take seconds."""

    y: Array
    design: Array
    """(n, columns), a column of ones among them where there is an intercept."""
    prior_sd: Array
    """(columns,), inf for a flat prior."""
    effects: tuple[Array, ...]
    """One (n, J_k) for each set of effects that have a scale: intercepts, slopes, those of a second grouping."""
    effect_densities: tuple[LogDensity, ...]
    errors: Array
    """(n,); ones where there are none, with noise "scaled"."""
    noise: Literal["known", "scaled", "additive", "auto"]
    noise_densities: tuple[LogDensity, ...] = ()
    """Of the noise scale (under "additive" it is the scatter), under "auto" also of the scatter."""
    least: float = 0.01
    """A scale about which, and below, steps of the lattice get longer."""

    @property
    def names(self) -> list[str]:
        """Names of the unknown scales."""
        taus = [f"tau_{k}" for k in range(len(self.effects))]
        return ["noise_scale", "scatter"][: len(self.noise_densities)] + taus

    def noise_variance(self, scales: Array, error: Array) -> Array:
        """Return the noise's variance at nodes of all scales, (nodes, names), for each error."""
        if self.noise == "known":
            return np.tile(error**2, (len(scales), 1))
        first = scales[:, :1] ** 2
        if self.noise == "additive":
            return error**2 + first
        return first * error**2 + (scales[:, 1:2] ** 2 if self.noise == "auto" else 0.0)

    def without(self, rows: ArrayLike) -> GroupModel:
        """Return the model of the other rows. Effects of which no row is left are as their prior says."""
        kept = np.delete(np.arange(len(self.y)), rows)
        effects = tuple(Z[kept] for Z in self.effects)
        columns = {name: getattr(self, name)[kept] for name in ("y", "design", "errors")}
        return replace(self, effects=effects, **columns)

    def left_out(self, sets: Iterable[ArrayLike]) -> Array:
        """Return the log density of each set of rows (one row, those of a group), together, given all others."""
        whole = self.log_evidence()
        return np.array([whole - self.without(rows).log_evidence() for rows in sets])

    def given(self, scales: Array, moments: bool = False) -> tuple[Array, ...]:
        """Return the log density of y at nodes of all scales, (nodes, names), and the coefficients' moments."""
        n, flat = len(self.y), np.isinf(self.prior_sd)
        k, F = int(flat.sum()), self.design[:, flat]
        W = np.column_stack([self.design[:, ~flat], *self.effects])
        taus = scales[:, len(self.noise_densities) :]
        parts = [taus[:, [j]].repeat(Z.shape[1], axis=1) for j, Z in enumerate(self.effects)]
        own = np.tile(self.prior_sd[~flat], (len(scales), 1))
        D = np.concatenate([own, *parts], axis=1) ** 2
        V = np.eye(n) * self.noise_variance(scales, self.errors)[:, None, :] + (W * D[:, None, :]) @ W.T
        L = np.linalg.cholesky(V)
        white = np.linalg.solve(L, np.column_stack([self.y, F, W]))
        r, f, w = white[:, :, :1], white[:, :, 1 : k + 1], white[:, :, k + 1 :]
        Q = np.linalg.inv(_transposed(f) @ f)
        b = Q @ _transposed(f) @ r
        rest = r - f @ b
        halves = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1) - 0.5 * np.linalg.slogdet(Q)[1]
        log_density = -0.5 * (n - k) * np.log(2.0 * np.pi) - halves - 0.5 * (rest**2).sum(axis=(1, 2))
        if not moments:
            return (log_density,)
        gain = D[:, :, None] * _transposed(w)
        K = gain @ f
        inner = np.eye(D.shape[1]) * D[:, None, :] - gain @ _transposed(gain) + K @ Q @ _transposed(K)
        covariance = np.block([[Q, -Q @ _transposed(K)], [-K @ Q, inner]])
        mean = np.concatenate([b, gain @ rest], axis=1)[:, :, 0]
        place = np.concatenate([np.flatnonzero(flat), np.flatnonzero(~flat)])
        order = np.concatenate([np.argsort(place), np.arange(len(place), mean.shape[1])])
        return log_density, mean[:, order], covariance[:, order][:, :, order]

    def log_integrand(self, coordinates: Array) -> Array:
        scales = np.exp(self._log_scale(coordinates))
        log_jacobian = np.log(scales) + np.log1p(np.exp(-coordinates))
        block = max(1, 2**21 // len(self.y) ** 2)
        total = [self._log_likelihood(scales[i : i + block]) for i in range(0, len(scales), block)]
        densities = self.noise_densities + self.effect_densities
        priors = [density(scales[:, j]) for j, density in enumerate(densities)]
        return np.concatenate(total) + np.sum(priors, axis=0) + log_jacobian.sum(axis=1)

    def _log_scale(self, coordinate: Array) -> Array:
        """exp(v - exp(-v)): log steps where scales matter, few where they are next to nothing."""
        return np.log(self.least) + coordinate - np.exp(-coordinate)

    def _log_likelihood(self, scales: Array) -> Array:
        """Nothing where the covariance is singular in floating point: noise is 1e-8 of the effects."""
        try:
            return self.given(scales)[0]
        except np.linalg.LinAlgError:
            if len(scales) == 1:
                return np.array([-np.inf])
            return np.concatenate([self._log_likelihood(half) for half in np.array_split(scales, 2)])

    def lattice(self, tolerance: float) -> tuple[list[Array], Array, float]:
        """Return points of each coordinate, the log integrand on their grid, and the log of its integral."""
        d = len(self.names)
        steps, points = np.full(d, 1.0), [np.arange(-4.0, np.log(_LARGEST / self.least))] * d
        values = self._on_grid(points, np.ones([len(axis) for axis in points], dtype=bool))
        found, unsettled = float(special.logsumexp(values)), list(range(d))
        while unsettled:
            for j in list(unsettled):
                near = ndimage.maximum_filter(values, size=3) > values.max() - _DEPTH
                steps[j] /= 2.0
                points[j] = points[j][0] + steps[j] * np.arange(2 * len(points[j]) - 1)
                values = self._on_grid(points, near.take(np.arange(len(points[j])) // 2, axis=j))
                before, found = found, float(special.logsumexp(values) + np.log(steps).sum())
                if abs(found - before) < tolerance:
                    unsettled.remove(j)
                if steps[j] < 0.01:
                    raise ValueError("The sum over the scales does not settle.")
        return points, values, found

    def _on_grid(self, points: Sequence[Array], chosen: NDArray[np.bool_]) -> Array:
        at = np.nonzero(chosen)
        values = np.full(chosen.shape, -np.inf)
        values[at] = self.log_integrand(
            np.column_stack([axis[i] for axis, i in zip(points, at, strict=True)])
        )
        return values

    def log_evidence(self, tolerance: float = 1e-3) -> float:
        """Return the log density of the target: what is left of the tolerance is about its square."""
        return self.lattice(tolerance)[2] if self.names else float(self.given(np.empty((1, 0)))[0][0])

    def integrate(self, tolerance: float = 1e-3) -> GroupPosterior:
        """Sum over the scales, by steps of which a halving changes the log evidence by less than the tolerance."""
        if not self.names:
            log_density, means, covariances = self.given(np.empty((1, 0)), moments=True)
            return GroupPosterior(self, float(log_density[0]), np.ones(1), {}, means, covariances, {})
        points, values, found = self.lattice(tolerance)
        at = np.nonzero(values > values.max() - 25.0)
        scales = np.exp(
            self._log_scale(np.column_stack([axis[i] for axis, i in zip(points, at, strict=True)]))
        )
        pieces = np.array_split(scales, 1 + len(scales) // 500)
        parts = zip(*[self.given(piece, moments=True)[1:] for piece in pieces], strict=True)
        marginals = {}
        for j, name in enumerate(self.names):
            others = tuple(i for i in range(len(self.names)) if i != j)
            log_density = special.logsumexp(values, axis=others) if others else values
            floor = log_density.max() - 2.0 * _DEPTH
            marginals[name] = self._log_scale(points[j]), np.maximum(log_density, floor)
        named = dict(zip(self.names, scales.T, strict=True))
        return GroupPosterior(
            self, found, special.softmax(values[at]), named, *map(np.concatenate, parts), marginals
        )


def _transposed(a: Array) -> Array:
    return np.swapaxes(a, 1, 2)
