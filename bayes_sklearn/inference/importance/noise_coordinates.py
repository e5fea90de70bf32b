"""Coordinates of a regression in which its coefficients follow the noise scale and the scale of their prior.

The less the noise, the nearer are the coefficients to least squares, where rows are few for the columns, and the
narrower their prior, the nearer are they to its mean: such are funnels, whose peaks say nothing of where the mass is.
Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from ..numerics.importance_sampling import Component, find_mode
from ..numerics.peaks import Information, find_peaks
from .regression_density import RegressionDensity, climb, root_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FollowingNoise:
    """log p(u, coordinates of the others, data) with gamma as a function of u and of the two scales, (36)."""

    density: RegressionDensity
    center: Array
    """(k,) gamma at one noise scale."""
    basis: Array
    """(k, k) gamma by u there."""
    share: Array
    """(k,) the part of the precision that the rows give."""
    pull: Array
    """(k,) gradient of the rows' log density."""
    variance: float
    """The typical row's at that noise scale."""
    prior_scale: float
    """The scale of the coefficients' prior there."""
    smoothing: Array
    """(k,) as for `RegressionDensity.derivatives`."""

    @classmethod
    def at(cls, density: RegressionDensity, point: Array, smoothing: Array) -> FollowingNoise:
        """Return the coordinates that fit at a point with the mode of gamma given the rest."""
        k = density.n_coefficients
        found = density.derivatives(point, smoothing)
        _, slope, bend = density.prior_derivatives(point, smoothing)
        # Of a coefficient that is no further from its prior's mean, in the width over which the prior is averaged,
        # slope and distance are too small to be divided.
        no_distance = 1e-3
        if density.learned is not None:
            # What doesn't follow the prior's scale is taken to be the rows'. A prior that is not Gaussian stands for
            # the one with its mean and slope, so that coefficients go to that mean as the scale goes to zero.
            slope, own = density.of_coefficients(slope), density.of_coefficients(bend)
            away = density.free(point[None])[0] - density.wide[0]
            with np.errstate(all="ignore"):
                bend = np.where(np.abs(away) > no_distance * smoothing, slope / away, own)
            more = density.basis.T @ ((bend - own)[:, None] * density.basis)
            found = found.plus(more)
        root = root_of(found, k)
        if density.in_any_order:
            root = np.asarray(np.linalg.cholesky(root @ root.T))
        prior = density.basis.T @ (bend[:, None] * density.basis)
        # What is not the prior's is the rows'.
        left = np.eye(k) + root.T @ prior @ root
        left = 0.5 * (left + left.T)
        if density.in_any_order:
            # Axes that prior and rows do not tell apart are told by what is nothing beside the whole.
            left -= 1e-8 * np.diag(np.arange(k) / k)
        share, turn = np.linalg.eigh(left)
        basis = root @ turn
        if density.in_any_order:
            basis *= np.where(np.cos(np.arange(k)) @ basis < 0.0, -1.0, 1.0)
        pull = basis.T @ (found.gradient[:k] - density.basis.T @ slope)
        variance = float(density.typical_variance(point[None])[0])
        scale = float(density.prior_scale(point[None])[0])
        return cls(density, point[:k], basis, np.clip(share, 0.0, 1.0), pull, variance, scale, smoothing)

    def points(self, points: Array) -> Array:
        """Return (gamma, coordinates of the others) of (u, coordinates of the others), (G, d)."""
        k = self.density.n_coefficients
        rows, prior, kappa = self._precision(points)
        u = self.pull * (rows - prior)[:, None] / kappa + points[:, :k] / np.sqrt(kappa)
        return np.column_stack([self.center + u @ self.basis.T, points[:, k:]])

    def back(self, points: Array) -> Array:
        """Return what `points` makes (gamma, coordinates of the others) of, (G, d)."""
        k = self.density.n_coefficients
        rows, prior, kappa = self._precision(points)
        u = np.linalg.solve(self.basis, (points[:, :k] - self.center).T).T
        u = (u - self.pull * (rows - prior)[:, None] / kappa) * np.sqrt(kappa)
        return np.column_stack([u, points[:, k:]])

    def from_other(self, other: FollowingNoise, component: Component) -> Component:
        """Return a normal approximation in other coordinates in these, by points at its distance of one deviation."""
        d = len(component.center)
        away = np.sqrt(d) * component.root.T
        points = self.back(other.points(component.center + np.concatenate([away, -away])))
        center = points.mean(axis=0)
        deviation = (points - center) / np.sqrt(2.0 * d)
        return component._replace(center=center, root=np.linalg.cholesky(deviation.T @ deviation))

    def profile(self, others: Array) -> Array:
        """Return the log density where u is zero, (G,): up to a constant, about that with u integrated out."""
        points = np.column_stack([np.zeros((len(others), self.density.n_coefficients)), others])
        found, peak = self(points), self.density.priors.peak
        if not peak:
            return found
        # The more the prior says, the more is its peak above the Gaussian that stands for it.
        _, prior, kappa = self._precision(points)
        return found - peak * ((1.0 - self.share) * prior[:, None] / kappa).sum(axis=1)

    def __call__(self, points: Array) -> Array:
        return self.density(self.points(points)) + self.log_volume(points)

    def log_volume(self, points: Array) -> Array:
        """Return the log of the volume of gamma by that of u, (G,)."""
        _, _, kappa = self._precision(points)
        return float(np.linalg.slogdet(self.basis)[1]) - 0.5 * np.log(kappa).sum(axis=1)

    def _precision(self, points: Array) -> tuple[Array, Array, Array]:
        """Return how many times as much rows and prior say as there, (G,) each, and the precision of u, (G, k)."""
        with np.errstate(all="ignore"):
            rows = np.clip(self.variance / self.density.typical_variance(points), 1e-12, 1e12)
            prior = np.clip(np.square(self.prior_scale / self.density.prior_scale(points)), 1e-12, 1e12)
        kappa = 1.0 + self.share * (rows[:, None] - 1.0) + (1.0 - self.share) * (prior[:, None] - 1.0)
        return rows, prior, np.maximum(kappa, 1e-12)


@dataclass(frozen=True, eq=False)
class Anchored:
    """Coordinates that follow the prior's scale from the nearest of several places."""

    parts: list[FollowingNoise]
    places: Array
    """(m,) values of the coordinate of the prior's scale, ..."""
    of_places: NDArray[np.intp]
    """... and the part that fits at each of them, (m,)."""

    def points(self, points: Array) -> Array:
        """Return (gamma, coordinates of the others), (G, d)."""
        answer = np.empty_like(points)
        for part, here in self._nearest(points):
            answer[here] = part.points(points[here])
        return answer

    def __call__(self, points: Array) -> Array:
        volume = np.empty(len(points))
        for part, here in self._nearest(points):
            volume[here] = part.log_volume(points[here])
        return self.parts[0].density(self.points(points)) + volume

    def _nearest(self, points: Array) -> Iterator[tuple[FollowingNoise, NDArray[np.bool_]]]:
        own = np.abs(points[:, -1]) if self.parts[0].density.folded[-1] else points[:, -1]
        nearest = self.of_places[np.abs(own[:, None] - self.places).argmin(axis=1)]
        for i, part in enumerate(self.parts):
            yield part, nearest == i


def anchored(coordinates: FollowingNoise, component: Component) -> FollowingNoise | Anchored:
    """Return coordinates that fit where the scale of the prior is far from the component's center, too.

    Of rows that are not Gaussian the curvature at one scale doesn't tell where the mode is at another.
    """
    density, k = coordinates.density, coordinates.density.n_coefficients
    if density.learned is None:
        return coordinates
    parts, width = [coordinates], component.scale[-1]
    found = [(float(np.abs(component.center[-1]) if density.folded[-1] else component.center[-1]), 0)]
    # Where it is looked whether coordinates follow the prior's scale, in its coordinate's standard deviations; no
    # nearer to zero than this; and the squared distance of the mode, in its own, that takes a place of its own.
    places, least_place, off_mode = (-3.0, -1.5, 1.5, 3.0, 4.5), 0.1, 0.05
    for away in places:
        at = component.center.copy()
        at[-1] = abs(at[-1]) + away * width
        if not at[-1] > least_place * width:
            continue
        found.append((float(at[-1]), 0))
        point = coordinates.points(at[None])[0]
        here = density.derivatives(point, coordinates.smoothing)
        if here.finite:
            off = root_of(here, k).T @ here.gradient[:k]
            if off @ off <= off_mode:
                continue
        point = climb(density, point, coordinates.smoothing, k).center
        found[-1] = (float(at[-1]), len(parts))
        parts.append(FollowingNoise.at(density, point, coordinates.smoothing))
    at_places, of_places = (np.array(part) for part in zip(*found, strict=True))
    return coordinates if len(parts) == 1 else Anchored(parts, at_places, of_places)


@dataclass(frozen=True, eq=False)
class Parted:
    """Coordinates of noise "auto": the log of a typical row's noise, and how it parts into scatter and errors.

    Where errors are alike, rows tell of the first alone. The volume is that of the two scales' logs.
    """

    inner: FollowingNoise | Anchored
    at: int
    """Which coordinate is the log of the noise scale; the next is that of the scatter."""
    log_error: float
    """Of a typical row."""

    @classmethod
    def of(
        cls, inner: FollowingNoise | Anchored, density: RegressionDensity
    ) -> FollowingNoise | Anchored | Parted:
        """Return these coordinates, or those given where there is no scatter."""
        names = [parameter.name for parameter in density.parameters]
        if "scatter" not in names:
            return inner
        at = density.n_coefficients + names.index("noise_scale")
        return cls(inner, at, float(np.log(density.problem.typical_error)))

    def component(self, component: Component) -> Component:
        """Return a normal approximation, in the coordinates within, in these."""
        center, root, s, t = component.center.copy(), component.root.copy(), self.at, self.at + 1
        scale, scatter = center[s], center[t] - self.log_error
        center[s], center[t] = 0.5 * np.logaddexp(2.0 * scale, 2.0 * scatter), scatter - scale
        share = expit(2.0 * center[t])
        root[s] = (1.0 - share) * component.root[s] + share * component.root[t]
        root[t] = component.root[t] - component.root[s]
        return component._replace(center=center, root=root)

    def points(self, points: Array) -> Array:
        """Return (gamma, coordinates of the others), (G, d)."""
        return self.inner.points(self._within(points))

    def __call__(self, points: Array) -> Array:
        return self.inner(self._within(points))

    def _within(self, points: Array) -> Array:
        answer, apart = points.copy(), points[:, self.at + 1]
        answer[:, self.at] += 0.5 * log_expit(-2.0 * apart)
        answer[:, self.at + 1] = points[:, self.at] + 0.5 * log_expit(2.0 * apart) + self.log_error
        return answer


def settle(density: RegressionDensity, smoothing: Array) -> tuple[FollowingNoise, Component]:
    """Return coordinates, and the normal approximation in them.

    It is looked for from least squares, which wild rows lead astray, and from the mode of all parameters together,
    which may be the peak of a funnel; the one with the larger mass is taken.
    """
    starts = [density.start]
    if density.n_climbed > density.n_coefficients:
        starts.append(climb(density, density.start, smoothing).center)
    found = [_settle_from(density, start, smoothing) for start in starts]
    return max(found, key=lambda settled: log_mass(*settled))


def log_mass(coordinates: FollowingNoise, component: Component) -> float:
    """Return the log of the normal approximation's integral, up to a constant."""
    return float(coordinates(component.center[None])[0] + np.linalg.slogdet(component.root)[1])


def all_peaks(coordinates: FollowingNoise, component: Component) -> list[tuple[FollowingNoise, Component]]:
    """Return this peak of coefficients and normal noise and others, each in coordinates that fit there, (34b).

    The one with the largest mass is the first.

    Under priors that are not Gaussian there may be some: a prior that the rows contradict has one where coefficients
    are at its mean, and the noise is large; one with heavy tails lets either of two collinear features have it all.
    """
    density = coordinates.density
    grid = noise_grid(density)
    if grid is None:
        return [(coordinates, component)]
    levels = [_information(density, others) for others in grid]
    peaks = find_peaks(levels, lambda B, width: density.priors.derivatives(B, width, None), density.wide)
    found = [(coordinates, component)]
    # What is less by so much in the log is nothing; and each of no more peaks than this has draws of its own.
    negligible, most = 12.0, 5
    for peak in peaks:
        if peak.log_mass < peaks[0].log_mass - negligible or len(found) > most:
            break
        gamma = np.linalg.solve(density.basis, peak.mean - density.offset)
        point = np.append(gamma, grid[peak.position])
        if any(_at_peak(*one, point, peak.root_variance) for one in found):
            continue
        other = _settle_from(density, point, peak.root_variance)
        center = other[0].points(other[1].center[None])[0]
        if any(_at_peak(*one, center, peak.root_variance) for one in found):
            # A shoulder: no peak with the noise free, but no part of one.
            other = _around(density, point, peak.root_variance)
        found.append(other)
    found.sort(key=lambda one: -log_mass(*one))
    return [one for one in found if log_mass(*one) > log_mass(*found[0]) - negligible]


def _information(density: RegressionDensity, others: Array) -> Information:
    """Return the rows' log density in what is free, given the coordinates of the noise, (A,)."""
    k, of, table = density.n_coefficients, density.problem.likelihood, density.table
    matrix, pull, constant = np.zeros((k, k)), np.zeros(k), table.constant
    if table.spare is not None:
        there = table.on_the_line
        constant += float(of.derivatives(there.y, others, there).value @ table.spare)
    for block, rows in table.design_blocks():
        design, weight = density.turned(rows), density.frequency(block, len(rows))
        found = of.derivatives(np.zeros(len(rows)), others, table.data.take(block))
        constant += float(found.value @ weight)
        pull += design.T @ (found.gradient[0] * weight)
        matrix += design.T @ (design * (found.curvature * weight)[:, None])
    return Information(matrix, pull, constant)


def _around(density: RegressionDensity, point: Array, width: Array) -> tuple[FollowingNoise, Component]:
    """Return a normal approximation about a point, (d,), with a guess at the noise's deviations."""
    k, root = density.n_coefficients, np.eye(density.size)
    root[k:, k:] = _guessed_root(density, point)
    return FollowingNoise.at(density, point, width), Component(np.append(np.zeros(k), point[k:]), root)


def _guessed_root(density: RegressionDensity, point: Array) -> Array:
    """Return a guess at the root of the auxiliary coordinates' covariance."""
    # Standard deviation of a logarithm, and of another coordinate by itself.
    guess, k = 0.3, density.n_coefficients
    return np.diag(np.where(density.folded[k:], guess * np.abs(point[k:]), guess))


def _at_peak(coordinates: FollowingNoise, component: Component, point: Array, width: Array) -> bool:
    """Return whether a point, (d,), is where a normal approximation is, by the coefficients."""
    density, k = coordinates.density, coordinates.density.n_coefficients
    center = coordinates.points(component.center[None])
    away = density.free(center)[0] - density.free(point[None])[0]
    root = density.basis @ coordinates.basis @ component.root[:k, :k]
    return bool((np.abs(away) < np.maximum(np.linalg.norm(root, axis=1), width)).all())


def noise_grid(density: RegressionDensity) -> Array | None:
    """Return coordinates of the noise, from the least that rows may have to all there is, (S, A); None: no need."""
    problem = density.problem
    rows_alike = problem.limits is None and problem.truncation is None
    if density.learned is not None or not (problem.likelihood.is_normal and rows_alike):
        return None
    factor, (mean, sd) = problem.factor[0], density.wide
    k, names = density.n_coefficients, [parameter.name for parameter in density.parameters]
    if not names:
        return np.zeros((1, 0))
    design, root = factor[:, -1 - k : -1], np.sqrt(problem.total_weight)
    free = np.isinf(sd)
    least, most = (
        float(np.linalg.norm(target - columns @ np.linalg.lstsq(columns, target)[0])) / root
        for columns, target in (
            (design, factor[:, -1]),
            (design[:, free], factor[:, -1] - design[:, ~free] @ mean[~free]),
        )
    )
    least = max(least, 10.0 * problem.resolution())
    # Peaks that are nearer to each other, in logs, are one.
    apart, fewest, at_most = 0.3, 5, 16
    count = int(np.clip(np.log(max(most, least) / least) / apart, fewest, at_most))
    total = np.geomspace(least, max(most, 1.5 * least), count)
    if problem.noise.only_scatters:
        total = problem.typical_error * np.sqrt(np.maximum(np.square(total) - 1.0, 0.01))
    values = {"noise_scale": total, "scatter": np.full(count, 0.01 * problem.scatter_unit)}
    return np.column_stack(
        [parameter.coordinate.of(values[parameter.name]) for parameter in density.parameters]
    )


def other_modes(coordinates: FollowingNoise, component: Component) -> list[Component]:
    """Return normal approximations about other modes of the scatter, if any: its prior has two peaks."""
    density = coordinates.density
    k, names = density.n_coefficients, [parameter.name for parameter in density.parameters]
    if "scatter" not in names:
        return []
    at, others = k + names.index("scatter"), []
    # Scatters that differ by more than this in their logarithm are modes of their own; a negligible one, of the
    # errors.
    apart, negligible = 1.0, 0.01
    for value in (negligible * density.problem.scatter_unit, density.problem.scatter_unit):
        start = component.center[k:].copy()
        start[at - k] = np.log(value)
        center, root, _ = find_mode(coordinates.profile, start, component.root[k:, k:])
        if abs(center[at - k] - component.center[at]) > apart:
            whole = np.eye(density.size)
            whole[k:, k:] = root
            others.append(Component(np.append(np.zeros(k), center), whole))
    return others


def _settle_from(
    density: RegressionDensity, point: Array, smoothing: Array
) -> tuple[FollowingNoise, Component]:
    """Find in turns gamma's mode given the auxiliary parameters, and their mode with gamma integrated out."""
    k = density.n_coefficients
    if density.size == k:
        point = climb(density, point, smoothing).center
        return FollowingNoise.at(density, point, smoothing), Component(np.zeros(k), np.eye(k))
    root = _guessed_root(density, point)
    # The coordinates are settled again where the auxiliary parameters move by more than this share of their standard
    # deviation, but no more often than this.
    moved, turns = 0.1, 6
    for _ in range(turns):
        point = climb(density, point, smoothing, k).center
        coordinates = FollowingNoise.at(density, point, smoothing)
        before = point[k:]
        center, root, _ = find_mode(coordinates.profile, before, root)
        point = np.append(coordinates.points(np.append(np.zeros(k), center)[None])[0, :k], center)
        if np.linalg.norm(np.linalg.solve(root, center - before)) < moved:
            break
    whole = np.eye(density.size)
    whole[k:, k:] = root
    return coordinates, Component(np.append(np.zeros(k), center), whole)
