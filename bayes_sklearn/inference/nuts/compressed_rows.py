"""The normal likelihood for a sampler: the model on the compressed rows, its coordinates, and what draws become.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ...measurements.compressed import Groups
from ...priors.base import ScaleMixture
from .._compat import quietly
from ..exact import engine as exact
from ..numerics.quadrature import Series, at, position
from ..posterior import Posterior
from ..problem import Problem
from ..settings import SamplerSettings
from .formulation import Draws, Formulation, following_nodes, nodes_of, unpacked
from .prior_coordinates import gaussian_given_scale, pilot_of, prior_coordinates
from .pymc_priors import (
    NoiseVariables,
    following_prior,
    learned_scale,
    noise_variables,
    of_role,
    over_geometries,
    prior_density,
    prior_parameters,
    priors_of,
    rows_say,
)

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Where the numbers that are sampled stand in the one vector of them."""

    sampled: int
    """Entries of B that are sampled, the first of the vector: all, or the intercept alone under a mixture."""
    noise: int
    """Coordinates of the noise that follow: the log of its scale; "auto": of its size, and the scatter's part."""
    learned: bool
    """Whether the log of the prior's scale follows."""
    mixture: int
    """Coordinates of the mixture's scales, the last."""

    @classmethod
    def of(cls, problem: Problem) -> Layout:
        prior, p = problem.coef_prior, problem.rows.n_features
        mixture = prior.n_coordinates(p) if isinstance(prior, ScaleMixture) else 0
        noise = problem.noise.has_scale + problem.noise.combined
        sampled = problem.fit_intercept + (0 if mixture else p)
        return cls(sampled, noise, prior.scale_prior is not None, mixture)

    @property
    def size(self) -> int:
        return self.sampled + self.noise + self.learned + self.mixture


# --- the model -----------------------------------------------------------------------------------


def sampler_model(problem: Problem, data: Mapping[str, Array | float]) -> pm.Model:
    """Return the model on the compressed rows, (15): all that varies from data to data is a `pm.Data`.

    Returns
    -------
    pymc.Model
        One free variable ``u`` in coordinates of about unit scale; ``B`` (entries that are sampled, under each
        geometry of their prior), ``s`` and a mixture's scales follow from it.
    """
    with quietly():
        import pymc as pm

        layout = Layout.of(problem)
        with pm.Model() as model:
            given = unpacked(data)
            u = pm.Flat("u", shape=layout.size)
            noise = noise_variables(problem, given, u[layout.sampled : layout.sampled + layout.noise])
            rows, variance, log_determinant = _rows(problem, given, noise)
            of_coefficients = _scales_integrated if layout.mixture else _following
            terms = of_coefficients(problem, given, u, noise, rows, variance)
            pm.Potential("log_posterior", sum([*noise.terms, log_determinant, *terms]))
    return model


def _following(
    problem: Problem, given: Mapping[str, Any], u: Any, noise: NoiseVariables, rows: Any, variance: Any
) -> list[Any]:
    """Return the log densities of coefficients and target, in coordinates that follow noise and prior, (18b)."""
    import pytensor.tensor as pt

    layout = Layout.of(problem)
    prior_scale, terms = learned_scale(problem, given, u[layout.sampled + layout.noise :])
    more = rows_say(problem, given, noise.values) if problem.noise.has_scale else 1.0
    placed = following_prior(problem, given, u[: layout.sampled], more, prior_scale)
    # Products with whole rows: a part of them would be copied each time.
    misfit = pt.dot(rows, pt.concatenate([placed.own, -pt.ones_like(placed.own[..., :1])], axis=-1).T)
    of_geometry = placed.log_prior - 0.5 * pt.square(misfit).sum(axis=0) / variance
    return [*terms, over_geometries(of_geometry)]


def _scales_integrated(
    problem: Problem, given: Mapping[str, Any], u: Any, noise: NoiseVariables, rows: Any, variance: Any
) -> list[Any]:
    """Return the log densities of a mixture's scales, of the intercept, and of the target given these, (18)."""
    import pymc as pm
    import pytensor.tensor as pt

    layout, target, terms = Layout.of(problem), rows[:, -1], []
    if problem.fit_intercept:
        B = pm.Deterministic("B", given["start"] + given["spread"] * u[:1])
        target = target - rows[:, 0] * B[0]
        intercept_prior = priors_of(problem)["intercept_prior"]
        terms.append(prior_density(intercept_prior, of_role(given, "intercept_prior"), B))
    unit = pt.sqrt(problem.noise.variance(noise.values, given["typical_error"]) / given["total_weight"])
    coordinates = u[layout.sampled + layout.noise :]
    mixture = problem.coef_prior.scales(coordinates, of_role(given, "coef_prior"), unit)
    for name, value in mixture.named.items():
        pm.Deterministic(name, value)
    pm.Deterministic("sd", mixture.sd)
    design = rows[:, layout.sampled : -1] * mixture.sd
    # The derivatives of a determinant and an inverse are an inverse and products; a factorisation's are many solves.
    size = target.shape[0]
    covariance = variance * pt.eye(size) + pt.dot(design, design.T)
    square = pt.dot(target, pt.dot(pt.linalg.inv(covariance), target))
    of_target = -0.5 * (square + pt.linalg.slogdet(covariance)[1] - size * pt.log(variance))
    return [*terms, mixture.log_density, of_target]


def _rows(problem: Problem, given: Mapping[str, Any], noise: NoiseVariables) -> tuple[Any, Any, Any]:
    """Return the rows, the variance of their noise, and what the noise's determinant gives."""
    import pytensor.tensor as pt

    scale = noise.scale
    if not problem.noise.has_scale:
        return given["factor"], 1.0, 0.0
    if problem.noise.only_multiplies:
        # The resolution of the data is noise, too: where they are fitted without error, it is all there is.
        variance = scale**2 + given["resolution"] ** 2
        return given["factor"], variance, -0.5 * given["total_weight"] * pt.log(variance)
    smallest, middle, half = given["interval"][0], given["interval"][1], given["interval"][2]
    square = scale**2 if problem.noise.only_scatters else (noise.scatter / scale) ** 2
    v = 0.5 * pt.log(square + smallest**2)
    if problem.noise.combined:
        v = v - 0.5 * pt.log1p(square / given["largest"] ** 2)
    # Where a clipped argument of the arc cosine stops: its derivative is infinite at 1.
    inside = 1.0 - 1e-9
    angle = pt.arccos(pt.clip((v - middle) / half, -inside, inside))
    basis = pt.cos(pt.arange(given["factor"].shape[0]) * angle)
    values = pt.dot(basis, given["factor"])
    width = problem.rows.n_features + 1 + problem.fit_intercept
    rows = values[:-1].reshape((width, width))
    if problem.noise.only_scatters:
        return rows, 1.0, -values[-1]
    # The rows are in units of the noise of the most precise one.
    variance = (scale**2 + given["resolution"] ** 2) * smallest**2 + noise.scatter**2
    return rows, variance, -0.5 * given["total_weight"] * pt.log(variance) - values[-1]


# --- its data ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CompressedData:
    """The compressed rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `sampler_model`."""
    series: Series | None = None
    """Noise with a scatter: the compressed rows as functions of the scatter, or of its ratio to the scale."""
    limits: tuple[float, float] = (0.0, np.inf)
    """Where the series holds."""

    def holds(self, scale: Array | None, scatter: Array | None = None) -> bool:
        """Return whether every draw of the scatter is inside the limits."""
        if scale is None:
            return True
        at = scale if scatter is None else scatter / scale
        return bool(((at >= self.limits[0]) & (at <= self.limits[1])).all())

    def rows(self, scale: Array, scatter: Array | None = None) -> Array:
        """Return the rows, divided by their noise at each scale, (G, K, columns)."""
        factor = np.asarray(self.arrays["factor"])
        if self.series is not None:
            values = self.series(scale if scatter is None else scatter / scale)[:, :-1]
            width = int(np.sqrt(values.shape[1]))
            rows = values.reshape(len(scale), width, width)
            if scatter is None:
                return rows
            return rows / np.hypot(scale * self.series.smallest, scatter)[:, None, None]
        if "resolution" in self.arrays:
            return factor / np.hypot(scale, self.arrays["resolution"])[:, None, None]
        return np.broadcast_to(factor, (len(scale), *factor.shape))


def compressed_data(
    problem: Problem, start: Posterior, groups: Groups | None = None, widening: int = 0
) -> CompressedData:
    """Return the compressed rows and the coordinates, (15), (16), (18a).

    Parameters
    ----------
    problem : Problem
    start : Posterior
        A Gaussian approximation in the model's units: it sets the coordinates, and changes no density.
    groups : Groups, default=None
        Noise with a scatter: stand for the rows where they are exact.
    widening : int, default=0
        How often the range of the scatter proved too narrow.
    """
    noise, source = problem.noise, groups if groups is not None and groups.exact else None
    arrays: dict[str, Array | float] = dict(prior_parameters(problem))
    arrays |= {"total_weight": problem.total_weight, "typical_error": problem.typical_error}
    if noise.multiplies:
        arrays["resolution"] = problem.resolution()
    arrays |= _places(problem, start)
    if not isinstance(problem.coef_prior, ScaleMixture):
        arrays |= _coordinates(problem, arrays, start, source)
    elif problem.fit_intercept:
        arrays |= {"start": float(start.mean[0]), "spread": float(np.linalg.norm(start.root[:, 0]))}
    if not noise.scatters:
        arrays["factor"] = _in_coordinates(problem, arrays, problem.factor[0])[: problem.state.n_rows]
        return CompressedData(arrays)
    ratio = start.noise_scale
    if noise.combined and start.scatter is not None:
        ratio = start.scatter / start.noise_scale
    return _interpolated(problem, arrays, ratio, source, widening)


def _in_coordinates(problem: Problem, arrays: Mapping[str, Array | float], factor: Array) -> Array:
    """Return the triangle's columns of what is free in B, and the target's.

    Where B is sampled it is taken from its start, in directions along which it spreads by about one: whatever the
    features are in units of, neither a series nor a sum of squares then loses digits.
    """
    rows = factor if problem.fit_intercept else factor[:, 1:]
    if "basis" not in arrays:
        return rows
    design = rows[:, :-1]
    return np.column_stack([design @ arrays["basis"], rows[:, -1] - design @ arrays["start"]])


def _places(problem: Problem, start: Posterior) -> dict[str, Array | float]:
    """Return where the noise and the scale of the prior are, in logs, and how far they spread."""
    scale, weights = start.noise_scale, start.weights
    places: dict[str, Array | float] = {}
    if problem.noise.combined and start.scatter is not None:
        unit = problem.scatter_unit
        places["log_scale"] = place(np.log(np.hypot(scale * unit, start.scatter)), weights)
        # Beyond these ratios of scatter to multiplied errors one of them is nothing.
        places["log_ratio"] = place(np.log(np.clip(start.scatter / scale / unit, 1e-4, 1e4)), weights)
    elif problem.noise.has_scale:
        places["log_scale"] = place(np.log(scale), weights)
    if start.prior_scale is not None and problem.coef_prior.scale_prior is not None:
        # Few nodes stand for many scales.
        quantiles = np.asarray(ndtr(np.array([-1.0, 0.0, 1.0])))
        middle = np.log(start.quantiles("prior_scale", start.prior_scale, quantiles))
        places["log_prior_scale"] = place(middle, np.array([0.25, 0.5, 0.25]))
    return places


def place(values: Array, weights: Array) -> Array:
    """Return center and width of weighted logarithms, which is at most 3: a flatter one is placed like that."""
    center = float(weights @ values)
    width = float(np.sqrt(weights @ np.square(values - center)))
    return np.array([center, np.clip(width, 1e-8, 3.0)])


def _coordinates(
    problem: Problem, arrays: Mapping[str, Array | float], start: Posterior, source: Groups | None
) -> dict[str, Array | float]:
    """Return the coordinates of coefficients that follow noise and prior, from the rows at the noise's place."""
    values: dict[str, Any] = {}
    if problem.noise.has_scale:
        values["noise_scale"] = float(np.exp(np.asarray(arrays["log_scale"])[0]))
    if problem.noise.combined:
        size, ratio = values["noise_scale"], float(np.exp(np.asarray(arrays["log_ratio"])[0]))
        values["noise_scale"] = size / (problem.scatter_unit * np.hypot(1.0, ratio))
        values["scatter"] = size * ratio / np.hypot(1.0, ratio)
    multiple, scatter = problem.noise.parts(values.get("noise_scale"), values.get("scatter"))
    resolution = float(arrays.get("resolution", 0.0))
    factor = problem.factor_at(scatter / multiple, source)[0] if problem.noise.scatters else problem.factor[0]
    rows = _in_coordinates(problem, {}, factor) / np.hypot(multiple, resolution)
    first = int(not problem.fit_intercept)
    found = prior_coordinates(gaussian_given_scale(problem), rows, start.mean[first:])
    found["variance"] = float(problem.noise.variance(values, problem.typical_error, resolution))
    return found


def _interpolated(
    problem: Problem,
    arrays: dict[str, Array | float],
    scale: Array,
    source: Groups | None,
    widening: int,
) -> CompressedData:
    """Return the data with the compressed rows as a series in the scatter, or its ratio to the scale, (16)."""
    root_weight, combined = np.sqrt(problem.total_weight), problem.noise.combined

    def functions(scatter: float) -> Array:
        factor, log_error = problem.factor_at(scatter, source)
        if combined:  # in units of the noise of the most precise row, so that they never vanish
            unit = np.hypot(scatter, smallest)
            factor, log_error = factor * unit, log_error - problem.total_weight * np.log(unit)
        # The two are of like size, and as accurate as the log density has to be.
        rows = _in_coordinates(problem, arrays, factor)
        return np.append(_smooth(rows, "basis" in arrays), log_error / root_weight)

    used = slice(None) if problem.rows.frequency is None else problem.rows.frequency > 0.0
    error = np.asarray(problem.standard_error, dtype=np.float64)
    counted = (error[used] if error.ndim else error) / problem.error_unit
    smallest = float(counted.min())
    largest = 2.0 * float(counted.max()) if combined else np.inf
    # As far again to either side as the Gaussian approximation reaches.
    inner = position(np.array([scale.min(), scale.max()]), smallest, largest)
    reach = 2.0**widening * np.ptp(inner)
    ends = np.clip(inner + np.array([-reach, reach]), np.log(smallest), np.log(largest))
    lower, upper = (float(end) for end in at(ends, smallest, largest))
    series = Series.fit(functions, smallest, lower, upper, largest)
    values = series.coefficients * np.append(np.ones(series.coefficients.shape[1] - 1), root_weight)
    arrays["factor"] = values
    arrays["interval"] = np.array([series.smallest, series.middle, series.half])
    if combined:
        arrays["largest"] = largest
    return CompressedData(arrays, replace(series, coefficients=values), (lower, upper))


def _smooth(rows: Array, alike: bool) -> Array:
    """Return rows with the same sums of squares and products that are smooth in whatever they depend on.

    The polar factor, symmetric, has no rows whose signs or order could change. Where columns are not in units that
    are alike, each is put in its own; of those that are, the smallest may be rounding errors.
    """
    sizes = np.ones(rows.shape[1]) if alike else np.linalg.norm(rows, axis=0)
    sizes = np.append(np.where(sizes > 0.0, sizes, 1.0)[:-1], 1.0)
    _, singular, right = np.linalg.svd(rows / sizes)
    return np.asarray((right.T * singular) @ right * sizes)


# --- its draws -----------------------------------------------------------------------------------


def formulations(problem: Problem, settings: SamplerSettings) -> Iterator[Formulation]:
    """Yield the problem as a sampler gets it; again, where draws left the range of the scatter, for a wider one."""
    pilot = pilot_of(problem)
    start = exact.solve(pilot, replace(settings, roughly=True))
    groups = pilot.groups if problem.noise.scatters else None
    for widening in range(3):
        data = compressed_data(problem, start, groups, widening)
        yield Formulation(
            problem,
            data.arrays,
            sampler_model,
            partial(_posterior, problem, data, settings.seed),
            partial(_inside, data),
        )


def _inside(data: CompressedData, draws: Draws) -> bool:
    return data.holds(draws.values.get("s"), draws.values.get("scatter"))


def _posterior(problem: Problem, data: CompressedData, seed: int, draws: Draws) -> Posterior:
    """Return draws as nodes; coefficients with scales are drawn given these."""
    p, u = problem.rows.n_features, draws.flat("u")
    scale = draws.flat("s") if "s" in draws.values else np.ones(len(u))
    scatter = draws.flat("scatter") if problem.noise.combined else None
    if not isinstance(problem.coef_prior, ScaleMixture):
        return replace(following_nodes(problem, draws, seed, scale), scatter=scatter)
    location, first = np.zeros((len(u), p + 1)), int(problem.fit_intercept)
    if first:
        location[:, :1] = draws.flat("B")
    rng, sd = np.random.default_rng(seed), draws.flat("sd")
    block = max(1, 2**20 // (p + 2) ** 2)  # draws that are in hand at once
    for start in range(0, len(u), block):
        here = slice(start, start + block)
        rows = data.rows(scale[here], None if scatter is None else scatter[here])
        target = rows[:, :, -1]
        if first:
            target = target - rows[:, :, 0] * location[here, :1]
        location[here, 1:] = given_scales(rows[:, :, -1 - p : -1], target, sd[here], rng)
    return replace(
        nodes_of(location, scale, draws, draws.without("B", "s", "sd", "scatter")), scatter=scatter
    )


def given_scales(design: Array, target: Array, sd: Array, rng: np.random.Generator) -> Array:
    """Draw coefficients given noise of unit variance and their own standard deviations, (19).

    Parameters
    ----------
    design : ndarray of shape (G, K, p)
    target : ndarray of shape (G, K)
    sd : ndarray of shape (G, p)
    """
    scaled = design * sd[:, None, :]
    prior = rng.standard_normal(sd.shape)
    noise = rng.standard_normal(target.shape)
    covariance = scaled @ scaled.transpose(0, 2, 1)
    # Where coefficients explain all but rounding of the target, that is the noise.
    noise_variance = np.maximum(1.0, 1e-15 * np.trace(covariance, axis1=1, axis2=2))
    covariance += noise_variance[:, None, None] * np.eye(target.shape[1])
    misfit = target - np.einsum("gkp,gp->gk", scaled, prior) - noise
    solved = np.linalg.solve(covariance, misfit[:, :, None])[:, :, 0]
    return sd * (prior + np.einsum("gkp,gk->gp", scaled, solved))
