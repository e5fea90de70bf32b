"""What a sampler gets of a problem: compressed rows, in coordinates in which the posterior is about standard normal.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ...measurements.compressed import Groups
from ..numerics.interpolation import Series, at, position
from ..posterior import Posterior
from ..problem import Problem
from .prior_coordinates import gaussian_given_scale, prior_coordinates
from .pymc_priors import prior_parameters
from .readable_model import Layout, typical_unit

Array = NDArray[np.float64]

# Bits that are kept. Rounding errors, which depend on the order of the data's rows, would otherwise grow into other
# draws.
_BELOW_NOISE = 30

_BELOW_ROWS = 37
"""Below the length of a column: no fewer are kept below the noise than the column has."""

_OF_DOUBLE = 46
"""That a sum of many doubles has."""

_BELOW_LEAST = 6
"""Below a matrix' least singular value."""

_OF_PLACES = 20
"""Of what only places the coordinates."""

_FLATTEST = 3.0
"""Standard deviation of a logarithm that is placed, at most."""

_RATIOS = (1e-4, 1e4)
"""Of scatter to multiplied errors: beyond, one of them is nothing."""


@dataclass(frozen=True, eq=False)
class CompressedData:
    """The compressed rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `pymc_model.sampler_model`."""
    series: Series | None = None
    """Noise "additive" and "auto": the compressed rows as functions of the scatter, or of its ratio to the scale."""
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
    """Return the compressed rows and the coordinates, (15), (16).

    Parameters
    ----------
    problem : Problem
    start : Posterior
        A Gaussian approximation in the model's units: it sets the coordinates, and changes no density.
    groups : Groups, default=None
        Noise "additive": stand for the rows where they are exact.
    widening : int, default=0
        How often the range of the scatter proved too narrow.
    """
    layout, scale, weights = Layout.of(problem), start.noise_scale, start.weights
    arrays: dict[str, Array | float] = dict(prior_parameters(problem))
    typical, scatter = 1.0, scale
    if problem.noise.combined:
        if start.scatter is None:
            raise AssertionError  # for the type checker
        scatter = start.scatter / scale
        unit = problem.scatter_unit
        arrays["log_scale"] = place(np.log(np.hypot(scale * unit, start.scatter)), weights)
        arrays["log_ratio"] = place(np.log(np.clip(scatter / unit, *_RATIOS)), weights)
    elif layout.noise:
        spot = place(np.log(scale), weights)
        if layout.follows:  # coordinates are those at one noise scale, and then follow it
            node = int(np.abs(np.log(scale) - spot[0]).argmin())
            start = replace(start, weights=np.eye(1, len(scale), node)[0])
            spot[0] = _rounded(np.log(scale[node]), spot[1], _OF_PLACES)
        arrays["log_scale"] = spot
    if layout.noise:
        typical = float(np.exp(np.asarray(arrays["log_scale"])[0])) if problem.noise.only_multiplies else 1.0
    if layout.learned:
        if start.prior_scale is None:
            raise AssertionError  # for the type checker
        # Few nodes stand for many scales.
        middle = np.log(
            start.quantiles("prior_scale", start.prior_scale, np.asarray(ndtr(np.array([-1.0, 0.0, 1.0]))))
        )
        arrays["log_prior_scale"] = place(middle, np.array([0.25, 0.5, 0.25]))
    if layout.sampled and not layout.placed:
        free = slice(0 if problem.fit_intercept else 1, None)
        root = start.root[:, free][:, : layout.sampled]
        sd = np.linalg.norm(root, axis=0)
        _, singular, right = np.linalg.svd(root / sd)
        # The symmetric root of the correlations; rounding must not make it singular.
        bits = max(_BELOW_ROWS, _BELOW_LEAST - int(np.log2(max(singular[-1], np.finfo(np.float64).eps))))
        arrays["spread"] = _rounded(sd, sd, _OF_PLACES)[:, None] * _rounded(
            (right.T * singular) @ right, 1.0, bits
        )
        arrays["start"] = _rounded(start.mean[free][: layout.sampled], sd, bits)
    if layout.mixture:
        arrays["unit"] = float(_rounded(typical_unit(problem), typical_unit(problem), _BELOW_ROWS))
    if problem.noise.has_scale:
        arrays["total_weight"] = problem.total_weight
    if problem.noise.multiplies:
        arrays["resolution"] = float(_rounded(problem.resolution(), problem.resolution(), _OF_PLACES))
    if problem.noise.scatters:
        source = groups if groups is not None and groups.exact else None
        return _interpolated(problem, layout, arrays, scatter, source, widening)
    factor, _ = problem.factor
    if layout.placed:
        rows = _whole(problem, layout, factor)
        variance = typical**2 + float(arrays.get("resolution", 0.0)) ** 2 if layout.noise else 1.0
        arrays |= _placed(problem, layout, rows / np.sqrt(variance), rows) | {
            "variance": variance,
            "factor": rows,
        }
        return CompressedData(arrays)
    rows = _canonical(_in_coordinates(problem, layout, arrays, factor), layout, problem.state.n_rows)
    arrays["factor"] = _rounded(rows, *_sizes(rows, factor, layout, typical))
    if layout.follows:
        _follow(arrays, typical)
    return CompressedData(arrays)


def _placed_beside_scatter(
    problem: Problem, layout: Layout, arrays: Mapping[str, Array | float], source: Groups | None
) -> dict[str, Array | float]:
    """Return the coordinates of coefficients that follow their prior, where rows depend on the scatter."""
    unit, size = problem.scatter_unit, float(np.exp(np.asarray(arrays["log_scale"])[0]))
    scale, scatter, variance = 1.0, size, size**2 + unit**2
    if problem.noise.combined:
        scatter = unit * float(np.exp(np.asarray(arrays["log_ratio"])[0]))
        scale, variance = size / np.hypot(unit, scatter), size**2
    rows = _whole(problem, layout, problem.factor_at(scatter, source)[0]) / scale
    placed = _placed(problem, layout, rows, _whole(problem, layout, problem.factor[0]))
    return placed | {"variance": variance, "floor": unit}


def place(values: Array, weights: Array) -> Array:
    """Return center and width of weighted logarithms, rounded."""
    center = float(weights @ values)
    width = float(np.sqrt(weights @ np.square(values - center)))
    return _rounded(
        np.array([center, np.clip(width, 1e-8, _FLATTEST)]), np.clip(width, 1e-8, _FLATTEST), _OF_PLACES
    )


def _whole(problem: Problem, layout: Layout, factor: Array) -> Array:
    """Return the rows in the model's units, rounded to what sums of many doubles have."""
    rows = _canonical(factor if problem.fit_intercept else factor[:, 1:], layout, problem.state.n_rows)
    return _rounded(rows, np.linalg.norm(rows, axis=0), _OF_DOUBLE)


def _placed(problem: Problem, layout: Layout, at: Array, whole: Array) -> dict[str, Array | float]:
    """Return the coordinates of coefficients that follow their prior.

    Parameters
    ----------
    problem : Problem
    layout : Layout
    at : ndarray of shape (K, P + 1)
        Rows at the noise that the coordinates are from, in units of it.
    whole : ndarray of shape (K, P + 1)
        Those of the known errors, whose correlations the prior knows: rounded, so that their order is no matter.
    """
    first = int(problem.fit_intercept)
    design = np.asarray(np.linalg.qr(whole, mode="r"))[first:, first:-1]
    return prior_coordinates(gaussian_given_scale(problem, design), at)


def _follow(arrays: dict[str, Array | float], typical: float) -> None:
    """Turn the coordinates so that each has a mean and a deviation of its own at any other noise scale, (15a).

    The rows are rounded before: whatever basis the decomposition returns, it is the same for data in any order.
    """
    rows = np.asarray(arrays["factor"])
    design, target = rows[:, :-1], rows[:, -1]
    _, singular, right = np.linalg.svd(design, full_matrices=False)
    turned = design @ right.T
    arrays["share"] = np.minimum(np.square(singular / typical), 1.0)
    arrays["pull"] = turned.T @ target / typical**2
    arrays["spread"] = arrays["spread"] @ right.T
    arrays["factor"] = np.column_stack([turned, target])


def _in_coordinates(
    problem: Problem, layout: Layout, arrays: dict[str, Array | float], factor: Array
) -> Array:
    """Return rows of [D A, D', y - D b]: D the columns of [1, x] whose entries of B are b + A u, D' the others."""
    rows = factor if problem.fit_intercept else factor[:, 1:]
    if not layout.sampled or layout.placed:
        return rows
    design = rows[:, : layout.sampled]
    target = rows[:, -1] - design @ arrays["start"]
    return np.column_stack([design @ arrays["spread"], rows[:, layout.sampled : -1], target])


def _interpolated(
    problem: Problem,
    layout: Layout,
    arrays: dict[str, Array | float],
    scale: Array,
    source: Groups | None,
    widening: int,
) -> CompressedData:
    """Return the data with the compressed rows as a series in the scatter, (16)."""
    root_weight = np.sqrt(problem.total_weight)
    if layout.placed:
        arrays |= _placed_beside_scatter(problem, layout, arrays, source)

    def functions(scatter: float) -> Array:
        factor, log_error = problem.factor_at(scatter, source)
        if problem.noise.combined:  # in units of the noise of the most precise row, so that they never vanish
            unit = np.hypot(scatter, smallest)
            factor, log_error = factor * unit, log_error - problem.total_weight * np.log(unit)
        rows = _canonical(_in_coordinates(problem, layout, arrays, factor), layout, len(factor))
        # The two are of like size, and as accurate as the log density has to be.
        return np.append(rows, log_error / root_weight)

    used = slice(None) if problem.rows.frequency is None else problem.rows.frequency > 0.0
    error = np.asarray(problem.standard_error, dtype=np.float64)
    counted = (error[used] if error.ndim else error) / problem.error_unit
    smallest, largest = float(counted.min()), np.inf
    if problem.noise.combined:
        largest = float(_rounded(2.0 * counted.max(), counted.max(), _OF_PLACES))
    # As far again to either side as the Gaussian approximation reaches.
    inner = position(np.array([scale.min(), scale.max()]), smallest, largest)
    reach = 2.0**widening * np.ptp(inner)
    ends = np.clip(inner + np.array([-reach, reach]), np.log(smallest), np.log(largest))
    lower, upper = (float(_rounded(end, end, _OF_PLACES)) for end in at(ends, smallest, largest))
    smallest = float(_rounded(smallest, smallest, _OF_PLACES))
    series = Series.fit(functions, smallest, lower, upper, largest)
    coefficients = series.coefficients
    width = problem.rows.n_features + 1 + problem.fit_intercept
    rows = coefficients[:, :-1].reshape(-1, width, width)
    factor = problem.factor if problem.noise.combined else problem.factor_at(float(np.median(scale)), source)
    rows = _rounded(rows, *_sizes(rows, factor[0], layout, 1.0))
    log_error = _rounded(coefficients[:, -1] * root_weight, 1.0, _BELOW_NOISE)
    values = np.column_stack([rows.reshape(len(rows), -1), log_error])
    arrays["factor"] = values
    arrays["interval"] = np.array([series.smallest, series.middle, series.half])
    if problem.noise.combined:
        arrays["largest"] = largest
    return CompressedData(arrays, replace(series, coefficients=values), (lower, upper))


def _canonical(rows: Array, layout: Layout, n_rows: int) -> Array:
    """Return rows with the same sums of squares and products that don't depend on the order of the data's, (15).

    The polar factor, symmetric, has no rows whose signs or order could differ. Under a mixture each row costs a
    factorisation's row in every step, and fewer rows than columns are left as they are.
    """
    if layout.mixture and n_rows < rows.shape[1]:
        return rows[:n_rows] * np.where(np.diag(rows[:n_rows]) < 0.0, -1.0, 1.0)[:, None]
    sizes = np.ones(rows.shape[1])
    if layout.mixture or layout.placed:  # columns that have a unit of their own
        first = 0 if layout.placed else layout.sampled
        own = np.linalg.norm(rows[:, first:-1], axis=0)
        sizes[first:-1] = np.where(own > 0.0, own, 1.0)
    _, singular, right = np.linalg.svd(rows / sizes)
    return np.asarray((right.T * singular) @ right * sizes)


def _sizes(rows: Array, factor: Array, layout: Layout, typical: float) -> tuple[Array, int]:
    """Return the magnitudes that columns are rounded against, and the bits kept below them.

    Noise of size `typical` is what the columns in the sampler's coordinates are seen against; digits that the data
    themselves don't have are dropped in any case.
    """
    if layout.placed:
        return np.linalg.norm(rows[0], axis=0), _OF_DOUBLE
    sizes = np.full(rows.shape[-1], typical * 2.0 ** (_BELOW_ROWS - _BELOW_NOISE))
    # The first row holds the target's distance from zero, which is there to more digits than its spread.
    target = np.linalg.norm(factor[1:, -1]) + 2.0 ** (_BELOW_ROWS - _OF_DOUBLE) * np.linalg.norm(
        factor[:, -1]
    )
    sizes = np.maximum(sizes, target)
    if layout.mixture:
        sizes[layout.sampled : -1] = np.linalg.norm(factor[:, 1:-1], axis=0)
    return sizes, _BELOW_ROWS


def _rounded(values: Array | float, magnitude: Array | float, bits: int) -> Array:
    """Return values rounded to so many bits below a magnitude."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.exp2(np.ceil(np.log2(magnitude)) - bits)
        return np.where((unit > 0.0) & np.isfinite(unit), np.rint(np.divide(values, unit)) * unit, values)
